//! What a story says.

use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::verdict::Ruling;
use arbiter_protocol::ruling::sequencer::Record;

use crate::calls::Answer;
use crate::stage::{CaseKey, Filed, Message};

pub fn name(message: &Message) -> &'static str {
    match message {
        Message::Statement(envelope, _) if envelope.holds::<Offer>() => "an offer",
        Message::Statement(..) => "an acceptance",
        Message::Item(..) => "an item",
        Message::Declined(_) => "\"I will not go on\"",
        Message::Hello(_) => "a hello",
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
    if key.action == Action::Resolve && key.escrows != Filed::Good {
        text += &format!(", escrows {:?}", key.escrows);
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
