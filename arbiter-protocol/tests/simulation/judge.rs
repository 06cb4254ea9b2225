//! The end of time: whether what a party has, gave and says is fair (F1, F2, F4; `SPEC.md` sections 5, 10 and 13).

use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::payment::PaymentState;
use arbiter_protocol::message::verdict::Ruling;
use arbiter_protocol::role::Outcome;

use crate::common::Kind;
use crate::oracle::Oracle;
use crate::rail::Rail;
use crate::stage::{role_in, stage};
use crate::words::family;

impl Oracle {
    /// Whether the party ends with the peer's item, its replacement, or a deposit to fetch. Money counts when it is in the
    /// account.
    fn has(&self, exchange: usize, party: usize, rail: &Rail) -> bool {
        let (facts, peer) = (self.facts[exchange][party], role_in(exchange, party).peer());
        match self.paid(exchange, peer, rail) {
            Some(paid) => paid == Paid::All,
            None => facts.received || facts.fetched || self.replaced(exchange, peer),
        }
    }

    /// Whether the party's item may be in the hands of the peer, by any way.
    fn gave(&self, exchange: usize, party: usize, rail: &Rail) -> bool {
        let role = role_in(exchange, party);
        if let Some(paid) = self.paid(exchange, role, rail) {
            return paid != Paid::Nothing;
        }
        // What is attested is there to fetch as soon as the verdict replaces.
        let deposited = self.is_attested(exchange, role)
            && matches!(self.verdict(exchange).map(|it| &it.ruling), Some(Ruling::Replaced(_)));
        self.facts[exchange][party].item_left || deposited || self.replaced(exchange, role)
    }

    /// What became of the payment of a role, if its item is one: asked of the ledger after every hold has ended.
    fn paid(&self, exchange: usize, payer: Role, rail: &Rail) -> Option<Paid> {
        let terms = stage().template(exchange, self.kinds[exchange]).terms.of(payer).as_ref()?;
        Some(match rail.state(terms) {
            PaymentState::Posted(units) if units == terms.payment.amount.units => Paid::All,
            PaymentState::Posted(_) | PaymentState::Reserved => Paid::Part,
            PaymentState::Absent | PaymentState::Voided => Paid::Nothing,
        })
    }

    fn replaced(&self, exchange: usize, role: Role) -> bool {
        match self.verdict(exchange).map(|it| &it.ruling) {
            Some(Ruling::Replaced(list)) => list.iter().any(|it| it.role == role),
            _ => false,
        }
    }

    /// F1, F2 and F4, at the end of time, for one party that behaved.
    pub fn judge(&mut self, exchange: usize, party: usize, rail: &Rail) -> Option<Outcome> {
        let (facts, kind) = (self.facts[exchange][party], self.kinds[exchange]);
        let role = role_in(exchange, party);
        // Nothing is promised to who gives for nothing.
        let gift = kind.is_one_way() && role != kind.first();
        let weak = Kind::WEAK.contains(&kind);
        let fair = gift || !self.gave(exchange, party, rail) || self.has(exchange, party, rail);
        self.must(fair || weak, || {
            format!("F1: the peer has the item of party {party} in exchange {exchange}, and gave nothing")
        });
        let ruling = self.verdict(exchange).map(|it| it.ruling.clone());
        let unproven = weak && !kind.is_depositable(role);
        if !fair && !unproven {
            // P6: an affidavit is all there is, for an item that can be deposited.
            let named = matches!(&ruling, Some(Ruling::Affidavit(list)) if list.contains(&role));
            self.must(named && facts.ended == Some(Outcome::Affidavit), || {
                format!(
                    "F2: party {party} gave, got nothing in exchange {exchange}, and has no affidavit of it"
                )
            });
        }
        if !facts.engaged {
            return None;
        }
        let Some(outcome) = facts.ended else {
            self.must(false, || format!("F4: party {party} did not end exchange {exchange}"));
            return None;
        };
        if kind.is_one_way() {
            self.judge_gift(exchange, party, outcome, rail);
            return Some(outcome);
        }
        let peer = role.peer();
        let in_escrow = kind.is_detached(peer);
        let money = stage().template(exchange, kind).terms.of(peer).is_some();
        let has = self.has(exchange, party, rail);
        let (holds, what) = match outcome {
            Outcome::Affidavit => (weak && matches!(ruling, Some(Ruling::Affidavit(_))), "has no affidavit"),
            Outcome::Completed if money => (has, "completed without the money"),
            Outcome::Completed => (facts.received, "completed without the item"),
            Outcome::Resolved if in_escrow => (facts.fetched, "resolved without the signature in hand"),
            Outcome::Resolved => (has, "resolved without an item"),
            Outcome::Aborted if kind == Kind::P4 => (fair, "aborted, and paid alone"),
            // F2 promises nothing for an item that cannot be deposited: who has it may have aborted.
            Outcome::Aborted if unproven => {
                (ruling == Some(Ruling::Aborted), "aborted without an abort token")
            }
            Outcome::Abandoned => (false, "abandoned, which only a transfer for nothing can be"),
            Outcome::Aborted if self.gave(exchange, party, rail) => (false, "aborted after the item left"),
            Outcome::Aborted => {
                let undone = matches!(ruling, Some(Ruling::Aborted | Ruling::Revoked(_)));
                (undone, "aborted without a verdict")
            }
        };
        self.must(holds, || format!("F1: party {party} {what} in exchange {exchange}"));
        Some(outcome)
    }

    /// who gives has given if it says so, and nobody says that it has what it has not.
    fn judge_gift(&mut self, exchange: usize, party: usize, outcome: Outcome, rail: &Rail) {
        let (facts, gives) =
            (self.facts[exchange][party], role_in(exchange, party) != self.kinds[exchange].first());
        let gave = self.gave(exchange, party, rail);
        let holds = match (outcome, gives) {
            (Outcome::Completed, true) => gave || facts.owes,
            (Outcome::Completed, false) => self.has(exchange, party, rail),
            (Outcome::Abandoned, _) => !gave,
            (Outcome::Aborted | Outcome::Affidavit | Outcome::Resolved, _) => false,
        };
        self.must(holds, || {
            format!("R-316: party {party} says {outcome:?} of the item for nothing in exchange {exchange}")
        });
    }

    /// F1 of two who behave: both have what the other gives, or neither.
    pub fn judge_both(&mut self, exchange: usize, rail: &Rail) {
        let [ours, theirs] = [0, 1].map(|party| self.has(exchange, party, rail));
        let kind = self.kinds[exchange];
        let weak = Kind::WEAK.contains(&kind) || kind.is_one_way();
        self.must(ours == theirs || weak, || {
            format!("F1: of two who behave only one has the other's item in exchange {exchange}")
        });
    }

    /// How it ended, in words that name the ways worth reaching.
    pub fn ending(&self, exchange: usize, party: usize, outcome: Outcome) -> String {
        let kind = self.kinds[exchange];
        let first = role_in(exchange, party) == kind.first();
        let order = match (kind.is_one_way(), first) {
            (false, true) => "first",
            (false, false) => "second",
            (true, true) => "gets",
            (true, false) => "gives",
        };
        let family = family(kind);
        let by = match self.verdict(exchange) {
            Some(verdict) if outcome != Outcome::Completed => {
                let who = if verdict.requested_by == kind.first() { "first" } else { "second" };
                format!(" by {who} ({})", verdict.rule)
            }
            _ => String::new(),
        };
        let fetched = outcome == Outcome::Resolved && self.facts[exchange][party].fetched;
        format!("{family} {order} {outcome:?}{by}{}", if fetched { ", fetched" } else { "" })
    }
}

/// What a payee has of a payment in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Paid {
    All,
    Nothing,
    Part,
}
