//! F8: who may have caused what became durable. The tables of `SPEC.md` section 6, read backwards.

use arbiter_protocol::exchange::selection::Role::{self, Originator, Responder};
use arbiter_protocol::ids::ExchangeId;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::verdict::{Ruling, Verdict};
use arbiter_protocol::ruling::sequencer::Record;

use crate::common::money::SEND_BY;
use crate::common::{COMPLAIN_BY, Kind};
use crate::oracle::{Oracle, attestation};
use crate::signed::{CaseKey, Filed};
use crate::stage::{role_in, stage};

impl Oracle {
    /// F5, F8 and R-409 of an attestation: by who may deposit, in time, before any verdict, and once.
    pub fn attested(
        &mut self,
        exchange: ExchangeId,
        role: Role,
        before: &Record,
        record: &Record,
        served: &[CaseKey],
    ) {
        let Some(attested) = attestation(record, role) else { return };
        if let Some(before) = attestation(before, role) {
            return self.must(before == attested, || "F5: a second attestation".to_owned());
        }
        let agreement = Some(attested.agreement_id);
        // the whole item was brought. A ledger's receipt is always the one there is.
        let fits = |key: &CaseKey| {
            let paid = stage().template(key.exchange, self.kinds[key.exchange]).terms.of(role).is_some();
            paid || matches!(key.escrows, Filed::Good | Filed::HollowPeer)
        };
        let caused = served.iter().find(|key| {
            let template = stage().template(key.exchange, self.kinds[key.exchange]);
            let under = key.agreement.map(|it| template.agreements[it].id());
            key.action == Action::Deposit
                && template.offer.exchange_id() == exchange
                && key.role == role_in(key.exchange, key.signer)
                && (key.role, under) == (attested.depositor, agreement)
                && fits(key)
        });
        let in_time = caused.is_some_and(|key| {
            let kind = self.kinds[key.exchange];
            let by = if kind.is_p3() { SEND_BY } else { COMPLAIN_BY };
            let may = match kind {
                _ if kind.is_p5() => true,
                _ if kind == Kind::P4 || kind.is_one_way() => false,
                _ if Kind::WEAK.contains(&kind) => kind.is_depositable(role),
                _ if kind.is_p3() => role != kind.first(),
                _ => !kind.is_p1() && role == kind.first(),
            };
            may && attested.time.0 < by
        });
        let in_time = in_time && self.time <= attested.time.0 && attested.depositor == role;
        self.must(in_time && before.verdict.is_none(), || {
            "F8: a deposit was attested that nobody was entitled to make".to_owned()
        });
        self.must(record.held.of(role).is_some(), || "R-407: attested, and nothing is held".to_owned());
    }

    /// F8: the tables of section 6, read as "who may have caused this".
    pub fn entitled(&self, verdict: &Verdict, key: CaseKey, record: &Record) -> Result<(), &'static str> {
        let kind = self.kinds[key.exchange];
        let (first, both) = (kind.first(), vec![Originator, Responder]);
        let in_time = verdict.time.0 < COMPLAIN_BY;
        let attested = |role| attestation(record, role);
        let here = |role| attested(role).is_some_and(|it| Some(it.agreement_id) == verdict.agreement_id);
        let ok = |holds: bool, what| if holds { Ok(()) } else { Err(what) };
        ok(key.role == role_in(key.exchange, key.signer), "caused by who does not hold the role")?;
        ok(verdict.requested_by == key.role && key.filed == key.exchange, "names another cause")?;
        let (from_first, did) = (key.role == first, Did::of(&verdict.ruling));
        match key.action {
            Action::Abort | Action::Resolve | Action::Revoke => {}
            Action::Deposit | Action::Fetch | Action::Query => return Err("an action that rules nothing"),
        }
        if let Ruling::Replaced(list) = &verdict.ruling {
            let mut money = list.iter().filter_map(|it| stage().reserved(key.exchange, kind, it.role));
            ok(money.all(|it| self.book.made(it)), "R-428: money is given out that was never set aside")?;
        }
        match (kind, key.action) {
            _ if kind.is_one_way() => Err("R-429: a ruling on an item for nothing"),
            (_, Action::Abort) if kind.is_p1() => {
                let is_over = kind.has_deadline() && !in_time;
                ok(key.role == Originator || is_over, "P1: aborted by the responder")?;
                ok(did == Did::Aborted, "P1: an abort that does more")
            }
            (_, Action::Resolve) if kind.is_p1() => {
                ok(verdict.agreement_id.is_some(), "P1: resolved without an agreement")?;
                ok(!kind.has_deadline() || in_time, "P1: resolved when a key or a hold is over")?;
                ok(did == Did::Replaced(both), "P1: not both items are replaced")
            }
            (_, Action::Abort) if kind.is_p3() && from_first => {
                ok(did == Did::Aborted, "P3: the first sender's abort does more")
            }
            (_, Action::Abort) if kind.is_p3() => {
                ok(attested(key.role).is_none(), "P3: undone by who has deposited")?;
                ok(did == Did::Revoked(vec![first]), "P3: not the first sender's payment is undone")
            }
            (_, Action::Revoke) if kind.is_p3() => {
                ok(from_first && key.agreement.is_some(), "P3: revoked by the second sender")?;
                match attested(first.peer()) {
                    Some(deposit) => {
                        ok(
                            did == Did::Replaced(vec![first.peer()]),
                            "P3: revoked although it was deposited",
                        )?;
                        ok(verdict.agreement_id == Some(deposit.agreement_id), "P3: another agreement")
                    }
                    None => {
                        ok(SEND_BY <= verdict.time.0 && in_time, "P3: revoked at the wrong time")?;
                        ok(did == Did::Revoked(vec![first]), "P3: not the first sender's payment is undone")
                    }
                }
            }
            (Kind::P4, Action::Abort) if !in_time => ok(did == Did::Aborted, "P4: undone too late"),
            (Kind::P4, Action::Abort | Action::Revoke) => {
                ok(in_time, "P4: undone too late")?;
                ok(did == Did::Revoked(both), "P4: not both payments are undone")
            }
            (_, Action::Abort) if kind.is_p5() => ok(did == Did::Aborted, "P5: an abort that does more"),
            (_, Action::Resolve) if kind.is_p5() => {
                ok(here(Originator) && here(Responder), "P5: given out before both are there")?;
                ok(did == Did::Replaced(both), "P5: not both items are given out")
            }
            (Kind::P6PaidForFile | Kind::P6SignatureForHeld, Action::Abort | Action::Resolve) => {
                if key.action == Action::Abort && attested(Originator).or(attested(Responder)).is_none() {
                    ok(from_first || !in_time, "P6: the second sender aborted before complain_by")?;
                    return ok(did == Did::Aborted, "P6: an abort that does more");
                }
                ok(
                    key.action == Action::Resolve || !in_time,
                    "P6: an abort before complain_by that ends it",
                )?;
                // Whichever acceptances the deposits rest on: the responder's names the agreement.
                let [ours, theirs] = Role::BOTH.map(&attested);
                let named = theirs.or(ours).map(|deposit| deposit.agreement_id);
                ok(verdict.agreement_id.is_some(), "P6: resolved without an agreement")?;
                ok(named.is_none() || verdict.agreement_id == named, "P6: another agreement")?;
                if ours.is_some() && theirs.is_some() {
                    return ok(did == Did::Replaced(both), "P6: not both items are given out");
                }
                let list = both.into_iter().filter(|role| attested(*role).is_some()).collect();
                ok(!in_time && did == Did::Attested(list), "P6: a false affidavit, or an early one")
            }
            (_, Action::Abort) => {
                ok(from_first || !in_time, "P2: the second sender aborted before complain_by")?;
                ok(did == Did::Aborted, "P2: an abort that does more")
            }
            (_, Action::Resolve) => {
                ok(from_first && in_time, "P2: a complaint by the second sender, or too late")?;
                ok(here(first), "P2: a complaint without its deposit")?;
                ok(did == Did::Replaced(vec![first.peer()]), "P2: not the second sender's item is replaced")
            }
            _ => Err("a ruling that the protocol does not have"),
        }
    }
}

/// What a ruling does with items.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Did {
    Aborted,
    Attested(Vec<Role>),
    Replaced(Vec<Role>),
    Revoked(Vec<Role>),
}

impl Did {
    fn of(ruling: &Ruling) -> Self {
        match ruling {
            Ruling::Aborted => Self::Aborted,
            Ruling::Affidavit(list) => Self::Attested(list.clone()),
            Ruling::Replaced(list) => Self::Replaced(list.iter().map(|it| it.role).collect()),
            Ruling::Revoked(list) => Self::Revoked(list.clone()),
        }
    }
}
