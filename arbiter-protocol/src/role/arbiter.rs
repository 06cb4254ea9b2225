//! The arbiter's decision: the whole of its power in one pure function.
//!
//! ```text
//!  request, offer, acceptance ──Case::admit──▶ Case ──decide(known, now)──▶ Replay | Rule | Attest | Release
//! ```
//!
//! | action | P1 | P2, first sender | P2, second sender |
//! | --- | --- | --- | --- |
//! | Abort | originator: R-403; responder: refused | any time: R-405 | from `complain_by` on: R-405 |
//! | Resolve | either, with the agreement: R-404 | deposited and before `complain_by`: R-406 | refused |
//! | Deposit | refused | before `complain_by`: R-407 | refused |
//! | Fetch | refused | refused | after a verdict that replaces: R-408 |
//!
//! Once there is a verdict every Abort, Resolve and Query gets it, whatever the table says (R-401). The caller
//! makes the decision durable before anything of it leaves, and never lets `now` go back (R-409).

use crate::error::{Invalid, Refused, Rejected};
use crate::exchange::item::Description;
use crate::exchange::kind::information::FitContent;
use crate::exchange::kind::signature;
use crate::exchange::selection::{Protocol, Role};
use crate::ids::{AgreementId, Digest, ExchangeId, LeafIndex};
use crate::message::agreement::{Acceptance, Agreement, ArbiterIdentity, Offer};
use crate::message::request::{Action, Request};
use crate::message::verdict::{Attestation, Replacement, Ruling, Verdict};
use crate::statement::{Signed, Verified};
use crate::time::UnixMillis;

/// The version of the rules below. A verdict names it; an agreement fixes it.
pub const RULES: &str = "arbiter/rules/v1";

/// What a party filed: verified, and about one exchange of this arbiter.
#[derive(Clone, Debug)]
pub struct Case {
    request: Verified<Request>,
    terms: Terms,
}

#[derive(Clone, Debug)]
enum Terms {
    Offered(Verified<Offer>),
    Agreed(Agreement),
}

impl Case {
    /// Verifies what a party filed. Cheap checks come before signatures.
    pub fn admit(
        this: &ArbiterIdentity,
        request: Signed<Request>,
        offer: Signed<Offer>,
        acceptance: Option<Signed<Acceptance>>,
    ) -> Result<Self, Rejected> {
        if offer.unverified().arbiter != *this {
            return Err(Refused::OtherArbiter.into()); // R-204
        }
        let request = verify_request(request, offer.unverified())?;
        Self::assemble(request, offer.verify_offer()?, acceptance)
    }

    /// As [`Case::admit`], for who holds the verified offer already.
    pub fn reopen(
        request: Signed<Request>,
        offer: Verified<Offer>,
        acceptance: Option<Signed<Acceptance>>,
    ) -> Result<Self, Rejected> {
        Self::assemble(verify_request(request, &offer)?, offer, acceptance)
    }

    fn assemble(
        request: Verified<Request>,
        offer: Verified<Offer>,
        acceptance: Option<Signed<Acceptance>>,
    ) -> Result<Self, Rejected> {
        if request.exchange_id != offer.exchange_id() {
            return Err(Refused::OtherExchange.into());
        }
        let terms = match acceptance {
            None => Terms::Offered(offer),
            Some(acceptance) => Terms::Agreed(Agreement::new(offer, acceptance)?),
        };
        let case = Self { request, terms };
        if case.request.agreement_id != case.agreement().map(Agreement::id) {
            return Err(Refused::AcceptanceMismatch.into()); // R-205
        }
        Ok(case)
    }

    /// The request.
    pub const fn request(&self) -> &Verified<Request> {
        &self.request
    }

    /// The offer.
    pub const fn offer(&self) -> &Verified<Offer> {
        match &self.terms {
            Terms::Offered(offer) => offer,
            Terms::Agreed(agreement) => agreement.offer(),
        }
    }

    /// The agreement, if the requester filed the acceptance.
    pub const fn agreement(&self) -> Option<&Agreement> {
        match &self.terms {
            Terms::Offered(_) => None,
            Terms::Agreed(agreement) => Some(agreement),
        }
    }

    /// The exchange.
    pub const fn exchange_id(&self) -> ExchangeId {
        self.offer().exchange_id()
    }

    fn is_first_sender(&self) -> bool {
        self.request.role == self.offer().selection.first_sender
    }

    fn evidence(&self, attestation: Option<Digest>) -> Vec<Digest> {
        let acceptance = self.agreement().map(|agreement| agreement.acceptance().digest());
        [Some(self.offer().digest()), acceptance, attestation].into_iter().flatten().collect()
    }
}

/// R-402: the party whose role the request names has signed it.
fn verify_request(request: Signed<Request>, offer: &Offer) -> Result<Verified<Request>, Rejected> {
    let party = offer.party(request.unverified().role).signing_key;
    request.verify(&party).map_err(|invalid| match invalid {
        Invalid::Signer { .. } => Refused::NotAParty.into(),
        other => other.into(),
    })
}

/// What is durable about an exchange.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Its verdict.
    pub verdict: Option<&'a Verdict>,
    /// Its attested deposit and the attestation's digest.
    pub attestation: Option<(&'a Attestation, Digest)>,
}

/// What the arbiter does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Make this attestation durable, log it, and answer with it.
    Attest(Attestation),
    /// Answer with the durable attestation.
    ReplayAttestation,
    /// Answer with the durable verdict.
    ReplayVerdict,
    /// Give the deposit to the requester.
    Release,
    /// Make this verdict durable, log it, and answer with it.
    Rule(Verdict),
}

/// Decides a case. `next_leaf` is where a new statement would be logged; `content` is the proof that a
/// deposit fits, absent while it is still to be received.
pub fn decide(
    case: &Case,
    known: Known<'_>,
    now: UnixMillis,
    next_leaf: LeafIndex,
    content: Option<&FitContent>,
) -> Result<Decision, Refused> {
    let verdict = |ruling, rule, attestation| {
        Ok(Decision::Rule(Verdict {
            exchange_id: case.exchange_id(),
            agreement_id: case.agreement().map(Agreement::id),
            originator: case.offer().originator.signing_key,
            responder: case.offer().responder.signing_key,
            originator_item: case.offer().originator_item.digest(),
            responder_item: case.offer().responder_item.digest(),
            ruling,
            rule: String::from(rule),
            rules: RULES.to_owned(),
            requested_by: case.request.role,
            request: case.request.digest(),
            evidence: case.evidence(attestation),
            leaf_index: next_leaf,
            time: now,
        }))
    };
    let protocol = case.offer().selection.protocol;
    match (case.request.action, known.verdict) {
        (Action::Abort | Action::Query | Action::Resolve, Some(_)) => Ok(Decision::ReplayVerdict), // R-401
        (Action::Query, None) => Err(Refused::VerdictNotFound),
        (Action::Abort, None) => {
            let rule = may_abort(case, protocol, now)?;
            verdict(Ruling::Aborted, rule, None)
        }
        (Action::Resolve, None) => {
            let agreement = case.agreement().ok_or(Refused::AcceptanceRequired)?;
            let (replaced, rule, attestation) = match protocol {
                Protocol::ContractSigning => (vec![Role::Originator, Role::Responder], "R-404", None),
                Protocol::VerifyThenGenerate => {
                    let attestation = may_complain(case, agreement.id(), known, now)?;
                    (vec![case.request.role.peer()], "R-406", Some(attestation))
                }
            };
            let replacements = replaced
                .into_iter()
                .map(|role| signature::replace(role, case.offer().item(role)))
                .collect::<Option<Vec<Replacement>>>()
                .ok_or(Refused::ItemNotGeneratable)?;
            verdict(Ruling::Replaced(replacements), rule, attestation)
        }
        (Action::Deposit, _) => decide_deposit(case, known, now, next_leaf, content),
        (Action::Fetch, ruled) => {
            let replaced = matches!(ruled.map(|verdict| &verdict.ruling), Some(Ruling::Replaced(_)));
            let from_peer =
                known.attestation.is_some_and(|(deposit, _)| deposit.depositor == case.request.role.peer());
            if replaced && from_peer { Ok(Decision::Release) } else { Err(Refused::DepositNotReleased) } // R-408
        }
    }
}

/// R-403 and R-405.
fn may_abort(case: &Case, protocol: Protocol, now: UnixMillis) -> Result<&'static str, Refused> {
    match (protocol, case.offer().complain_by) {
        (Protocol::ContractSigning, _) if case.request.role == Role::Originator => Ok("R-403"),
        (Protocol::ContractSigning, _) => Err(Refused::AbortNotAllowed),
        (Protocol::VerifyThenGenerate, _) if case.is_first_sender() => Ok("R-405"),
        (Protocol::VerifyThenGenerate, Some(complain_by)) if now < complain_by => {
            Err(Refused::AbortTooEarly { complain_by })
        }
        (Protocol::VerifyThenGenerate, _) => Ok("R-405"),
    }
}

/// R-406: the first sender, in time, with its item deposited under this agreement.
fn may_complain(
    case: &Case,
    agreement: AgreementId,
    known: Known<'_>,
    now: UnixMillis,
) -> Result<Digest, Refused> {
    if !case.is_first_sender() {
        return Err(Refused::ResolveNotAllowed);
    }
    in_time(case, now)?;
    match known.attestation {
        Some((deposit, digest)) if deposit.agreement_id == agreement => Ok(digest),
        _ => Err(Refused::DepositRequired),
    }
}

/// R-407: one deposit an exchange, by the first sender of P2, in time, before any verdict, and fitting.
fn decide_deposit(
    case: &Case,
    known: Known<'_>,
    now: UnixMillis,
    next_leaf: LeafIndex,
    content: Option<&FitContent>,
) -> Result<Decision, Refused> {
    let agreement = case.agreement().ok_or(Refused::AcceptanceRequired)?;
    let role = case.request.role;
    let item = case.offer().item(role);
    let Description::Information(described) = &item.description else {
        return Err(Refused::DepositNotAllowed);
    };
    if case.offer().selection.protocol != Protocol::VerifyThenGenerate || !case.is_first_sender() {
        return Err(Refused::DepositNotAllowed);
    }
    if let Some((deposit, _)) = known.attestation {
        let same = deposit.agreement_id == agreement.id();
        return if same { Ok(Decision::ReplayAttestation) } else { Err(Refused::AcceptanceMismatch) };
    }
    if known.verdict.is_some() {
        return Err(Refused::AlreadyRuled);
    }
    in_time(case, now)?;
    if content.is_some_and(|content| content.description() != described) {
        return Err(Refused::DepositNotAllowed);
    }
    Ok(Decision::Attest(Attestation {
        exchange_id: case.exchange_id(),
        agreement_id: agreement.id(),
        depositor: role,
        item: item.digest(),
        request: case.request.digest(),
        leaf_index: next_leaf,
        time: now,
        rules: RULES.to_owned(),
    }))
}

fn in_time(case: &Case, now: UnixMillis) -> Result<(), Refused> {
    match case.offer().complain_by {
        Some(complain_by) if now >= complain_by => Err(Refused::ComplaintTooLate { now, complain_by }),
        _ => Ok(()),
    }
}
