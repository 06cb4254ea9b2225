//! What an arbiter may have said before, made by hand.

use arbiter_protocol::error::Refused;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::ids::{Digest, LeafIndex};
use arbiter_protocol::message::agreement::Agreement;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::verdict::{Attestation, Ruling, Verdict};
use arbiter_protocol::role::arbiter::{Decision, RULES};
use arbiter_protocol::time::UnixMillis;

use super::EARLY;

/// An action by its name in the tables of SPEC section 6.
pub fn action(name: &str) -> Action {
    match name {
        "abort" => Action::Abort,
        "resolve" => Action::Resolve,
        "deposit" => Action::Deposit,
        "fetch" => Action::Fetch,
        "query" => Action::Query,
        "revoke" => Action::Revoke,
        other => panic!("{other}"),
    }
}

/// What an arbiter does, in the words of those tables where every deposit is by R-407.
pub fn answer(decision: &Result<Decision, Refused>) -> String {
    match decision {
        Ok(Decision::Rule(verdict)) => verdict.rule.clone(),
        Ok(Decision::Attest(_)) => "R-407".to_owned(),
        Ok(Decision::ReplayVerdict) => "REPLAY".to_owned(),
        Ok(Decision::ReplayAttestation) => "REPLAY-ATTESTATION".to_owned(),
        Ok(Decision::Release) => "RELEASE".to_owned(),
        Err(refused) => refused.reason().to_owned(),
    }
}

/// What an arbiter says of a deposit.
pub fn attested(agreement: &Agreement, depositor: Role) -> Attestation {
    Attestation {
        exchange_id: agreement.exchange_id(),
        agreement_id: agreement.id(),
        depositor,
        item: agreement.offer().item(depositor).digest(),
        request: Digest::of(&[b"deposit"]),
        leaf_index: LeafIndex(3),
        time: UnixMillis(EARLY),
        rules: RULES.to_owned(),
    }
}

/// A verdict with this ruling, by whatever rule.
pub fn ruled(agreement: &Agreement, ruling: Ruling) -> Verdict {
    let offer = agreement.offer();
    Verdict {
        exchange_id: agreement.exchange_id(),
        agreement_id: Some(agreement.id()),
        originator: offer.originator.signing_key,
        responder: offer.responder.signing_key,
        originator_item: offer.originator_item.digest(),
        responder_item: offer.responder_item.digest(),
        ruling,
        rule: "R-403".to_owned(),
        rules: RULES.to_owned(),
        requested_by: Role::Originator,
        request: Digest::of(&[b"request"]),
        evidence: Vec::new(),
        leaf_index: LeafIndex(4),
        time: UnixMillis(EARLY),
    }
}
