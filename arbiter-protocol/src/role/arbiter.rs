//! The arbiter's decision: the whole of its power in one pure function.
//!
//! ```text
//!  request, offer, acceptance, escrows ──Case::admit──▶ Case ──decide(known, now)──▶ Replay | Rule | Attest | Release
//! ```
//!
//! | action | P1 | P2, first sender | P2, second sender |
//! | --- | --- | --- | --- |
//! | Abort | originator: R-403; responder: once the escrow key is over | any time: R-405 | from `complain_by` on: R-405 |
//! | Resolve | either, with the agreement: R-404 | deposited and before `complain_by`: R-406 | refused |
//! | Deposit | refused | before `complain_by`: R-407 | refused |
//! | Fetch | what is held of the peer's item, after a verdict that replaces: R-408 | the same | the same |
//!
//! Once there is a verdict every Abort, Resolve and Query gets it, whatever the table says (R-401). The caller
//! makes the decision durable before anything of it leaves, and never lets `now` go back (R-409).

use crate::error::{Invalid, Refused, Rejected};
use crate::escrow::Escrow;
use crate::exchange::item::Description;
use crate::exchange::kind::content::FitContent;
use crate::exchange::kind::detached::Place;
use crate::exchange::selection::{ByRole, Protocol, Role};
use crate::ids::{AgreementId, Digest, ExchangeId, LeafIndex};
use crate::message::agreement::{Acceptance, Agreement, ArbiterIdentity, Offer};
use crate::message::request::{Action, Request};
use crate::message::verdict::{Attestation, Replacement, Ruling, Verdict};
use crate::statement::{Signed, Verified};
use crate::time::UnixMillis;
use crate::weaken::{Countermeasure, off};

/// The version of the rules below. A verdict names it; an agreement fixes it.
pub const RULES: &str = "arbiter/rules/v1";

/// What a party filed: verified, and about one exchange of this arbiter.
#[derive(Clone, Debug)]
pub struct Case {
    request: Verified<Request>,
    terms: Terms,
    escrows: Escrows,
}

/// The escrows filed with a case, by the role whose signature is in it.
pub type Escrows = ByRole<Option<Escrow>>;

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
        escrows: Escrows,
    ) -> Result<Self, Rejected> {
        if offer.unverified().arbiter != *this {
            return Err(Refused::OtherArbiter.into()); // R-204
        }
        let request = verify_request(request, offer.unverified())?;
        Self::assemble(request, offer.verify_offer()?, acceptance, escrows)
    }

    /// As [`Case::admit`], for who holds the verified offer already.
    pub fn reopen(
        request: Signed<Request>,
        offer: Verified<Offer>,
        acceptance: Option<Signed<Acceptance>>,
        escrows: Escrows,
    ) -> Result<Self, Rejected> {
        Self::assemble(verify_request(request, &offer)?, offer, acceptance, escrows)
    }

    fn assemble(
        request: Verified<Request>,
        offer: Verified<Offer>,
        acceptance: Option<Signed<Acceptance>>,
        escrows: Escrows,
    ) -> Result<Self, Rejected> {
        if request.exchange_id != offer.exchange_id() && !off(Countermeasure::ExchangeInRequest) {
            return Err(Refused::OtherExchange.into());
        }
        let terms = match acceptance {
            None => Terms::Offered(offer),
            Some(acceptance) => Terms::Agreed(Agreement::new(offer, acceptance)?),
        };
        let case = Self { request, terms, escrows };
        if case.request.agreement_id != case.agreement().map(Agreement::id) {
            return Err(Refused::AcceptanceMismatch.into()); // R-205
        }
        case.check_escrows()?;
        Ok(case)
    }

    /// R-411: an escrow is filed only to be opened, and only one of this agreement.
    fn check_escrows(&self) -> Result<(), Rejected> {
        let to_open = self.to_open();
        for (role, escrow) in self.escrows.iter() {
            match (escrow, self.agreement()) {
                (None, _) => {}
                (Some(escrow), Some(agreement)) if to_open.contains(&role) => {
                    Place::of(self.offer(), role, agreement.id()).belongs(escrow)?;
                }
                (Some(_), _) => return Err(Refused::EscrowNotAgreed.into()),
            }
        }
        Ok(())
    }

    /// Whose signatures a verdict on this case takes out of escrow.
    pub fn to_open(&self) -> Vec<Role> {
        to_open(self.offer(), self.request.role, self.request.action)
    }

    /// Whose content a request to fetch asks for: the peer's (R-408).
    pub fn fetches(&self) -> Role {
        let role = self.request.role;
        if off(Countermeasure::FetchByThePeer) { role } else { role.peer() }
    }

    /// The escrows.
    pub const fn escrows(&self) -> &Escrows {
        &self.escrows
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
        let escrow = |role| self.escrows.of(role).as_ref().map(|escrow| Digest::of(&[&escrow.to_bytes()]));
        let [originator, responder] = Role::BOTH.map(escrow);
        let all = [Some(self.offer().digest()), acceptance, attestation, originator, responder];
        all.into_iter().flatten().collect()
    }
}

/// R-402: the party whose role the request names has signed it.
fn verify_request(request: Signed<Request>, offer: &Offer) -> Result<Verified<Request>, Rejected> {
    let role = request.unverified().role;
    if off(Countermeasure::RequestBySigner)
        && let Ok(by_the_peer) = request.clone().verify(&offer.party(role.peer()).signing_key)
    {
        return Ok(by_the_peer);
    }
    let party = offer.party(role).signing_key;
    request.verify(&party).map_err(|invalid| match invalid {
        Invalid::Signer { .. } => Refused::NotAParty.into(),
        other => other.into(),
    })
}

/// R-411: whose signatures a verdict takes out of escrow if `requester` asks for `action`: what is to be filed with the
/// request, and nothing else.
pub fn to_open(offer: &Offer, requester: Role, action: Action) -> Vec<Role> {
    let in_escrow = |role: &Role| offer.item(*role).description.detached().is_some();
    generated(offer, requester, action).into_iter().filter(in_escrow).collect()
}

/// Whose items a verdict produces if `requester` asks for `action`.
fn generated(offer: &Offer, requester: Role, action: Action) -> Vec<Role> {
    match (action, offer.selection.protocol) {
        (Action::Resolve, Protocol::ContractSigning) => Role::BOTH.to_vec(),
        (Action::Resolve, Protocol::VerifyThenGenerate) => vec![requester.peer()],
        (Action::Abort | Action::Deposit | Action::Fetch | Action::Query, _) => Vec::new(),
    }
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

/// Decides a case. `next_leaf` is where a new statement would be logged; `held` is the proof, by the role whose item it
/// is, that a deposit fits or that an escrow was opened: absent while it is still to be received or opened.
pub fn decide(
    case: &Case,
    known: Known<'_>,
    now: UnixMillis,
    next_leaf: LeafIndex,
    held: ByRole<Option<&FitContent>>,
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
    let written = known.verdict.filter(|_| !off(Countermeasure::OneVerdict));
    match (case.request.action, written) {
        (Action::Abort | Action::Query | Action::Resolve, Some(_)) => Ok(Decision::ReplayVerdict), // R-401
        (Action::Query, None) => Err(Refused::VerdictNotFound),
        (Action::Abort, None) => {
            let rule = may_abort(case, protocol, now)?;
            verdict(Ruling::Aborted, rule, None)
        }
        (Action::Resolve, None) => {
            let agreement = case.agreement().ok_or(Refused::AcceptanceRequired)?;
            let (rule, attestation) = match protocol {
                Protocol::ContractSigning => ("R-404", None),
                Protocol::VerifyThenGenerate => {
                    ("R-406", Some(may_complain(case, agreement.id(), known, now)?))
                }
            };
            let replacements = generated(case.offer(), case.request.role, case.request.action)
                .into_iter()
                .map(|role| generate(case, role, now, held))
                .collect::<Result<_, _>>()?;
            verdict(Ruling::Replaced(replacements), rule, attestation)
        }
        (Action::Deposit, _) => decide_deposit(case, known, now, next_leaf, *held.of(case.request.role)),
        (Action::Fetch, _) => {
            let owner = case.fetches();
            let list = match known.verdict.map(|verdict| &verdict.ruling) {
                Some(Ruling::Replaced(list)) => list.as_slice(),
                _ if off(Countermeasure::FetchAfterAVerdict) => &[],
                _ => return Err(Refused::DepositNotReleased), // R-408
            };
            let deposited = known.attestation.is_some_and(|(deposit, _)| deposit.depositor == owner);
            let opened = list.iter().any(|it| it.role == owner && it.item.description.detached().is_some());
            if deposited || opened { Ok(Decision::Release) } else { Err(Refused::DepositNotReleased) }
        }
    }
}

/// R-404, R-406, R-411: what the verdict says about `role`'s item. A replacement is in the verdict itself; a signature
/// that was in escrow is kept for the peer, and the verdict only names it.
fn generate(
    case: &Case,
    role: Role,
    now: UnixMillis,
    held: ByRole<Option<&FitContent>>,
) -> Result<Replacement, Refused> {
    let item = case.offer().item(role);
    if !item.properties.generatable() {
        return Err(Refused::ItemNotGeneratable);
    }
    if item.description.detached().is_some() {
        let signer = role.name();
        let terms = case.offer().escrow.as_ref().ok_or(Refused::EscrowTermsMismatch)?;
        if case.escrows.of(role).is_none() {
            return Err(Refused::EscrowRequired { signer });
        }
        let until = terms.epoch.until;
        if now >= until && !off(Countermeasure::EscrowKeyEnds) {
            return Err(Refused::EscrowKeyRetired { now, until });
        }
        if held.of(role).is_some_and(|opened| *opened.description() != item.description) {
            return Err(Refused::EscrowRequired { signer });
        }
    }
    Ok(Replacement { role, item: item.clone() })
}

/// R-403 and R-405.
fn may_abort(case: &Case, protocol: Protocol, now: UnixMillis) -> Result<&'static str, Refused> {
    match (protocol, case.offer().complain_by) {
        (Protocol::ContractSigning, _)
            if case.request.role == Role::Originator && !off(Countermeasure::AbortByTheOriginator) =>
        {
            Ok("R-403")
        }
        // Nothing can be generated any more: now the responder, too, may have the end in writing.
        (Protocol::ContractSigning, _) => match &case.offer().escrow {
            Some(terms) if now >= terms.epoch.until => Ok("R-403"),
            Some(terms) => Err(Refused::AbortTooEarly { complain_by: terms.epoch.until }),
            None => Err(Refused::AbortNotAllowed),
        },
        (Protocol::VerifyThenGenerate, _) if case.is_first_sender() => Ok("R-405"),
        (Protocol::VerifyThenGenerate, Some(complain_by))
            if now < complain_by && !off(Countermeasure::AbortOnlyAfterTheDeadline) =>
        {
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
    if !matches!(item.description, Description::Information(_)) {
        return Err(Refused::DepositNotAllowed);
    }
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
    if content.is_some_and(|content| *content.description() != item.description) {
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
