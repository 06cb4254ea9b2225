//! What a story says.

use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::verdict::Ruling;
use arbiter_protocol::ruling::sequencer::Record;

use crate::calls::Answer;
use crate::common::Kind;
use crate::signed::{CaseKey, Filed, Message};

pub fn name(message: &Message) -> &'static str {
    match message {
        Message::Statement(envelope, _) if envelope.holds::<Offer>() => "an offer",
        Message::Statement(..) => "an acceptance",
        Message::Item(..) => "an item",
        Message::Declined(_) => "\"I will not go on\"",
        Message::Hello(_) => "a hello",
    }
}

/// How tallies name the protocol, and what is special about the items.
pub fn family(kind: Kind) -> &'static str {
    match kind {
        Kind::P1 => "P1",
        Kind::P1Escrow | Kind::P1Mixed => "P1e",
        Kind::P1Package => "P1 package",
        Kind::P1OriginatorReserves | Kind::P1ResponderReserves | Kind::P1Reservations => "P1 reserved",
        Kind::P2OriginatorFirst | Kind::P2ResponderFirst => "P2",
        Kind::P2OriginatorFirstEscrow | Kind::P2ResponderFirstEscrow => "P2e",
        Kind::P2Payment | Kind::P2PaymentEscrow => "P2 money",
        Kind::P2Package => "P2 package",
        Kind::P2OriginatorReserves | Kind::P2ResponderReserves => "P2 reserved",
        Kind::P3OriginatorPays | Kind::P3ResponderPays => "P3",
        Kind::P3Payments => "P3 money",
        Kind::P3Package => "P3 package",
        Kind::P4 => "P4",
        Kind::P5 => "P5",
        Kind::P5Package => "P5 package",
        Kind::P6PaidForFile | Kind::P6SignatureForHeld => "P6",
        Kind::TFile | Kind::TDetached | Kind::TSignature => "T",
        Kind::TPayment => "T money",
        Kind::TPackage => "T package",
        other => unreachable!("{other:?} is not in this world"),
    }
}

pub fn asks(key: CaseKey) -> String {
    let mut text = format!(
        "{} {} in exchange {}",
        key.role.name(),
        format!("{:?}", key.action).to_lowercase(),
        key.exchange
    );
    if key.filed != key.exchange {
        text += ", filed with another offer";
    }
    if key.agreement == Some(1) {
        text += ", under the second acceptance";
    }
    if matches!(key.action, Action::Deposit | Action::Resolve) && key.escrows != Filed::Good {
        text += &format!(", with something {:?}", key.escrows);
    }
    text
}

pub fn answered(answer: &Answer) -> String {
    match answer {
        Answer::Attested => "an attestation".to_owned(),
        Answer::Content(_) => "what is held".to_owned(),
        Answer::Refused(refused) => refused.reason().to_owned(),
        Answer::Rejected(rejected) => rejected.reason().to_owned(),
        Answer::Trouble(error) => error.clone(),
        Answer::Unfit => "that it does not fit".to_owned(),
        Answer::Verdict(verdict) => format!("a verdict, {}", said(&verdict.ruling)),
    }
}

const fn said(ruling: &Ruling) -> &'static str {
    match ruling {
        Ruling::Aborted => "aborted",
        Ruling::Affidavit(_) => "attested to",
        Ruling::Replaced(_) => "replaced",
        Ruling::Revoked(_) => "revoked",
    }
}

pub fn ruling(record: &Record) -> String {
    if let Some(verdict) = &record.verdict {
        let it = &verdict.statement;
        return format!("{} for the {} ({})", said(&it.ruling), it.requested_by.name(), it.rule);
    }
    let attested = record.attestations.iter().filter_map(|(role, it)| it.as_ref().map(|_| role.name()));
    let attested: Vec<_> = attested.collect();
    if attested.is_empty() {
        "a request that waits".to_owned()
    } else {
        format!("attested for {}", attested.join(", "))
    }
}
