//! The decision: one pure function.
//!
//! | action | P1 | P2 | P3 | P4 | P5 |
//! | --- | --- | --- | --- | --- | --- |
//! | Abort | originator: R-403; responder: once nothing can be generated any more | first: R-405; second: from `complain_by` on | first: R-413; second: revokes, R-414 | revokes both, R-418; later R-422 | either: R-419 |
//! | Resolve | either, in time: R-404 | first, deposited, in time: R-406 | – | – | both deposited: R-421 |
//! | Revoke | – | – | first: R-416 or R-417 | either, in time: both, R-418 | – |
//! | Deposit | – | first, in time: R-407 | second, before `send_by`: R-415 | – | either, in time: R-420 |
//! | Fetch | what is held of the peer's item, after a verdict that replaces: R-408 | the same | the same | – | the same |
//!
//! P6 is weak: either party may deposit in time; at the deadline, or as soon as both have, the arbiter gives out both
//! items or signs an affidavit of what it had; an abort is for who has nothing to lose. In T, an item for
//! nothing, every request is refused: there is no fairness to restore.
//!
//! Once there is a verdict every Abort, Query, Resolve and Revoke gets it, whatever the table says.

use super::{Case, Decision, Known, RULES, generated};
use crate::error::Refused;
use crate::exchange::kind::content::FitContent;
use crate::exchange::kind::pledge;
use crate::exchange::selection::{ByRole, Protocol, Role};
use crate::ids::{AgreementId, Digest, LeafIndex};
use crate::message::agreement::Agreement;
use crate::message::request::Action;
use crate::message::verdict::{Attestation, Replacement, Ruling, Verdict};
use crate::time::UnixMillis;
use crate::weaken::{Countermeasure, off};

/// A ruling, and what it rests on.
struct Found {
    ruling: Ruling,
    rule: &'static str,
    attestations: ByRole<Option<Digest>>,
    /// The agreement that the verdict names.
    agreement: Option<AgreementId>,
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
    let written = known.verdict.filter(|_| !off(Countermeasure::OneVerdict));
    let found = match (case.request.action, written) {
        (Action::Abort | Action::Query | Action::Resolve | Action::Revoke, Some(_)) => {
            return Ok(Decision::ReplayVerdict);
        }
        (Action::Deposit, _) => return deposit(case, known, now, next_leaf, *held.of(case.request.role)),
        (Action::Fetch, _) => return fetch(case, known),
        (Action::Query, None) => return Err(Refused::VerdictNotFound),
        (Action::Abort, None) => abort(case, known, now)?,
        (Action::Resolve, None) => resolve(case, known, now, held)?,
        (Action::Revoke, None) => revoke(case, known, now)?,
    };
    Ok(Decision::Rule(Verdict {
        exchange_id: case.exchange_id(),
        agreement_id: found.agreement,
        originator: case.offer().originator.signing_key,
        responder: case.offer().responder.signing_key,
        originator_item: case.offer().originator_item.digest(),
        responder_item: case.offer().responder_item.digest(),
        ruling: found.ruling,
        rule: String::from(found.rule),
        rules: RULES.to_owned(),
        requested_by: case.request.role,
        request: case.request.digest(),
        evidence: case.evidence(found.attestations),
        leaf_index: next_leaf,
        time: now,
    }))
}

impl Found {
    /// A ruling that rests on nothing but what was filed.
    fn plain(case: &Case, ruling: Ruling, rule: &'static str) -> Self {
        let agreement = case.agreement().map(Agreement::id);
        Self { ruling, rule, attestations: ByRole::default(), agreement }
    }
}

/// an end without items.
fn abort(case: &Case, known: Known<'_>, now: UnixMillis) -> Result<Found, Refused> {
    let aborted = |rule| Ok(Found::plain(case, Ruling::Aborted, rule));
    let offer = case.offer();
    match offer.selection.protocol {
        Protocol::ContractSigning
            if case.request.role == Role::Originator && !off(Countermeasure::AbortByTheOriginator) =>
        {
            aborted("R-403")
        }
        Protocol::ContractSigning if off(Countermeasure::AbortOnlyAfterTheDeadline) => aborted("R-403"),
        // Nothing can be generated any more: now the responder, too, may have the end in writing.
        Protocol::ContractSigning => match offer.deadline() {
            Some(over) if now >= over => aborted("R-403"),
            Some(over) => Err(Refused::AbortTooEarly { complain_by: over }),
            None => Err(Refused::AbortNotAllowed),
        },
        Protocol::VerifyThenGenerate if case.is_first_sender() => aborted("R-405"),
        Protocol::VerifyThenGenerate => match offer.complain_by {
            Some(complain_by) if now < complain_by && !off(Countermeasure::AbortOnlyAfterTheDeadline) => {
                Err(Refused::AbortTooEarly { complain_by })
            }
            _ => aborted("R-405"),
        },
        Protocol::RevokeOnSilence if case.is_first_sender() => aborted("R-413"),
        // Who will not give its item gives back what it got; but not after the first sender can have the item here.
        Protocol::RevokeOnSilence if known.attestations.of(case.request.role).is_some() => {
            Err(Refused::AbortNotAllowed)
        }
        Protocol::RevokeOnSilence => {
            Ok(Found::plain(case, Ruling::Revoked(vec![offer.selection.first_sender]), "R-414"))
        }
        // Both payments stand, or nothing was paid: whoever asks has the end in writing.
        Protocol::MutualRollback if in_time(case, now).is_err() => aborted("R-422"),
        Protocol::MutualRollback => roll_back(case, now),
        Protocol::BothDeposited => aborted("R-419"),
        Protocol::Affidavit => abort_or_attest(case, known, now),
        Protocol::Transfer => Err(Refused::AbortNotAllowed),
    }
}

/// an abort must not keep the peer from an affidavit, and who has nothing to lose must not wait for it for ever.
fn abort_or_attest(case: &Case, known: Known<'_>, now: UnixMillis) -> Result<Found, Refused> {
    let deposited = known.attestations.iter().any(|(_, it)| it.is_some());
    let deposited = deposited && !off(Countermeasure::DepositBlocksAbort);
    let waits = deposited || !case.is_first_sender();
    let early = case.offer().complain_by.filter(|by| now < *by && waits);
    match early {
        Some(complain_by) if deposited || !off(Countermeasure::AbortOnlyAfterTheDeadline) => {
            Err(Refused::AbortTooEarly { complain_by })
        }
        _ if deposited && off(Countermeasure::AffidavitForWhoAborts) => Err(Refused::AbortNotAllowed),
        _ if deposited => attest_what_is_here(case, known, now),
        _ => Ok(Found::plain(case, Ruling::Aborted, "R-427")),
    }
}

/// the arbiter produces or gives out what is withheld.
fn resolve(
    case: &Case,
    known: Known<'_>,
    now: UnixMillis,
    held: ByRole<Option<&FitContent>>,
) -> Result<Found, Refused> {
    let agreement = case.agreement().ok_or(Refused::AcceptanceRequired)?.id();
    let (rule, attestations) = match case.offer().selection.protocol {
        Protocol::ContractSigning => {
            in_time(case, now)
                .or_else(|late| if off(Countermeasure::ResolveInTime) { Ok(()) } else { Err(late) })?;
            ("R-404", ByRole::default())
        }
        Protocol::VerifyThenGenerate => ("R-406", may_complain(case, known, now)?),
        Protocol::BothDeposited => return give_out(case, agreement, known),
        Protocol::Affidavit => return attest_what_is_here(case, known, now),
        Protocol::MutualRollback | Protocol::RevokeOnSilence | Protocol::Transfer => {
            return Err(Refused::ResolveNotAllowed);
        }
    };
    let replacements = generated(case.offer(), case.request.role, case.request.action)
        .into_iter()
        .map(|role| generate(case, role, now, held))
        .collect::<Result<_, _>>()?;
    Ok(Found { ruling: Ruling::Replaced(replacements), rule, attestations, agreement: Some(agreement) })
}

/// the arbiter undoes, unless it can give out what was withheld.
fn revoke(case: &Case, known: Known<'_>, now: UnixMillis) -> Result<Found, Refused> {
    let offer = case.offer();
    match offer.selection.protocol {
        Protocol::MutualRollback => roll_back(case, now),
        Protocol::RevokeOnSilence if case.is_first_sender() => {
            if case.agreement().is_none() {
                return Err(Refused::AcceptanceRequired);
            }
            let second = offer.selection.first_sender.peer();
            // Whichever acceptance the deposit rests on: the items are in the offer (attack K1).
            let all_count = !off(Countermeasure::DepositBlocksRevocation);
            let deposit = known.attestations.of(second);
            if let Some((deposit, digest)) = deposit.filter(|(it, _)| all_count || case.agrees_with(it)) {
                let item = Replacement { role: second, item: offer.item(second).clone() };
                return Ok(Found {
                    ruling: Ruling::Replaced(vec![item]),
                    rule: "R-416",
                    attestations: ByRole::only(second, digest),
                    agreement: Some(deposit.agreement_id),
                });
            }
            if let Some(send_by) = offer.send_by.filter(|send_by| now < *send_by)
                && !off(Countermeasure::RevokeOnlyAfterSendBy)
            {
                return Err(Refused::RevokeTooEarly { send_by });
            }
            in_time(case, now)?;
            Ok(Found::plain(case, Ruling::Revoked(vec![offer.selection.first_sender]), "R-417"))
        }
        _ => Err(Refused::RevokeNotAllowed),
    }
}

/// either party of P4 can have both transfers undone, in time, and never only one of them.
fn roll_back(case: &Case, now: UnixMillis) -> Result<Found, Refused> {
    in_time(case, now)
        .or_else(|late| if off(Countermeasure::RollBackInTime) { Ok(()) } else { Err(late) })?;
    let roles = if off(Countermeasure::RollBackBoth) { vec![case.request.role] } else { Role::BOTH.to_vec() };
    Ok(Found::plain(case, Ruling::Revoked(roles), "R-418"))
}

/// both items, or at the deadline an affidavit of which of them were here. Whichever acceptance a deposit rests on:
/// the items are in the offer (attack K1). The responder alone can have signed two; so its own deposit names the agreement,
/// which is the one that the originator opens it under.
fn attest_what_is_here(case: &Case, known: Known<'_>, now: UnixMillis) -> Result<Found, Refused> {
    let filed = case.agreement().map(Agreement::id);
    let here = known.attestations;
    let rests_on = [here.responder, here.originator].into_iter().flatten().next();
    let agreement = rests_on.map(|(deposit, _)| deposit.agreement_id).or(filed);
    let attestations = here.map(|_, it| it.map(|(_, digest)| digest));
    let found = |ruling| Found { ruling, rule: "R-426", attestations, agreement };
    let all_count = !off(Countermeasure::EveryDepositCounts);
    let counts = |(deposit, _): (&Attestation, _)| all_count || case.agrees_with(deposit);
    let any = off(Countermeasure::BothBeforeGivingOut) && rests_on.is_some();
    if any || here.iter().all(|(_, it)| it.is_some_and(counts)) {
        return Ok(found(Ruling::Replaced(both_items(case))));
    }
    match case.offer().complain_by.filter(|by| now < *by) {
        Some(complain_by) if !off(Countermeasure::AffidavitAtTheDeadline) => {
            Err(Refused::AffidavitTooEarly { complain_by })
        }
        _ => {
            let performed = here.iter().filter(|(_, it)| it.is_some()).map(|(role, _)| role);
            Ok(found(Ruling::Affidavit(performed.collect())))
        }
    }
}

/// both items are here, under the same agreement.
fn give_out(case: &Case, agreement: AgreementId, known: Known<'_>) -> Result<Found, Refused> {
    let here = known.attestations.map(|_, it| it.filter(|(deposit, _)| case.agrees_with(deposit)));
    let any = off(Countermeasure::BothBeforeGivingOut) && here.iter().any(|(_, it)| it.is_some());
    if here.iter().any(|(_, it)| it.is_none()) && !any {
        return Err(Refused::DepositRequired);
    }
    Ok(Found {
        ruling: Ruling::Replaced(both_items(case)),
        rule: "R-421",
        attestations: here.map(|_, it| it.map(|(_, digest)| digest)),
        agreement: Some(agreement),
    })
}

fn both_items(case: &Case) -> Vec<Replacement> {
    Role::BOTH.map(|role| Replacement { role, item: case.offer().item(role).clone() }).to_vec()
}

/// what the verdict says about `role`'s item. A replacement is in the verdict itself; a
/// signature that was in escrow is kept for the peer, money that was reserved is posted by the ledger, and the verdict only
/// names them.
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
    if pledge::is_owed(case.offer(), role) && case.escrows.of(role).is_none() {
        return Err(pledge::missing(case.offer(), role));
    }
    if !item.description.detached_leaves().is_empty() {
        let signer = role.name();
        let terms = case.offer().escrow.as_ref().ok_or(Refused::EscrowTermsMismatch)?;
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

/// the first sender, in time, with its item deposited under this agreement.
fn may_complain(case: &Case, known: Known<'_>, now: UnixMillis) -> Result<ByRole<Option<Digest>>, Refused> {
    if !case.is_first_sender() {
        return Err(Refused::ResolveNotAllowed);
    }
    in_time(case, now)?;
    match *known.attestations.of(case.request.role) {
        Some((deposit, digest)) if case.agrees_with(deposit) => Ok(ByRole::only(case.request.role, digest)),
        _ if off(Countermeasure::DepositBeforeComplaint) => Ok(ByRole::default()),
        _ => Err(Refused::DepositRequired),
    }
}

/// what is held of the peer's item, once a verdict has given it out.
fn fetch(case: &Case, known: Known<'_>) -> Result<Decision, Refused> {
    let owner = case.fetches();
    let list = match known.verdict.map(|verdict| &verdict.ruling) {
        Some(Ruling::Replaced(list)) => list.as_slice(),
        _ if off(Countermeasure::FetchAfterAVerdict) => &[],
        _ => return Err(Refused::DepositNotReleased),
    };
    let deposited = known.attestations.of(owner).is_some();
    let opened = list.iter().any(|it| it.role == owner && !it.item.description.detached_leaves().is_empty());
    if deposited || opened { Ok(Decision::Release) } else { Err(Refused::DepositNotReleased) }
}

/// one deposit a party, by who may, in time, before any verdict, and fitting.
fn deposit(
    case: &Case,
    known: Known<'_>,
    now: UnixMillis,
    next_leaf: LeafIndex,
    content: Option<&FitContent>,
) -> Result<Decision, Refused> {
    let agreement = case.agreement().ok_or(Refused::AcceptanceRequired)?;
    let role = case.request.role;
    let item = case.offer().item(role);
    let allowed = match case.offer().selection.protocol {
        Protocol::VerifyThenGenerate => case.is_first_sender(),
        Protocol::RevokeOnSilence => !case.is_first_sender(),
        Protocol::Affidavit | Protocol::BothDeposited => true,
        Protocol::ContractSigning | Protocol::MutualRollback | Protocol::Transfer => false,
    };
    if !allowed || !item.description.is_depositable() {
        return Err(Refused::DepositNotAllowed);
    }
    if let Some((deposit, _)) = known.attestations.of(role) {
        let same = case.agrees_with(deposit);
        return if same { Ok(Decision::ReplayAttestation) } else { Err(Refused::AcceptanceMismatch) };
    }
    if known.verdict.is_some() {
        return Err(Refused::AlreadyRuled);
    }
    in_time_to_deposit(case, now)?;
    if content.is_some_and(|content| !content.fits(case.offer(), role)) {
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

fn in_time_to_deposit(case: &Case, now: UnixMillis) -> Result<(), Refused> {
    match case.offer().send_by {
        Some(send_by) if now >= send_by => Err(Refused::DepositTooLate { now, send_by }),
        Some(_) => Ok(()),
        None => in_time(case, now),
    }
}

fn in_time(case: &Case, now: UnixMillis) -> Result<(), Refused> {
    match case.offer().complain_by {
        Some(complain_by) if now >= complain_by => Err(Refused::ComplaintTooLate { now, complain_by }),
        _ => Ok(()),
    }
}
