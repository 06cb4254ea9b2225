//! Time, the claims that it ends, and the end.

use arbiter_protocol::role::{Input, Phase};

use crate::common::money::{HOLD_END, SEND_BY};
use crate::common::{COMPLAIN_BY, Kind};
use crate::event::{Delivery, Event, Fate, Leap};
use crate::party::{Cut, Desk, MARGIN};
use crate::stage::{role_in, stage};
use crate::world::{NAMES, World};

/// So long before its deadline who has the slowest clock has started to make its claim, and the assumption behind the
/// margin begins to count: from here to the deadline its calls take effect. Clocks differ by at most 20 s, and the
/// arbiter's steps ahead by 3 s.
const LAST_CHANCE: u64 = 25_000;

impl World {
    /// Time passes, but who behaves and has given gets its claim through in time: that is the assumption behind the margin
    /// (section 10, A2); and a ledger hears the arbiter before holds end (A4).
    pub fn pass(&mut self, leap: Leap) {
        self.advance(match leap {
            Leap::By(span) => self.now + span,
            Leap::To(time) => time,
        });
    }

    fn advance(&mut self, to: u64) {
        for deadline in [SEND_BY, COMPLAIN_BY] {
            if to >= deadline - LAST_CHANCE && self.now < deadline {
                for (exchange, party) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                    self.let_claim(party, exchange, deadline);
                }
            }
        }
        if to >= HOLD_END - LAST_CHANCE && self.now < HOLD_END {
            self.now = self.now.max(HOLD_END - LAST_CHANCE);
            self.calmly(Self::serve);
        }
        self.lose_old_errands(to);
        self.now = self.now.max(to);
        self.settle_holds();
    }

    fn calmly(&mut self, what: impl FnOnce(&mut Self)) {
        let (was_calm, was_down) = (std::mem::replace(&mut self.calm, true), self.rail.down);
        self.rail.down = false;
        what(self);
        (self.calm, self.rail.down) = (was_calm, was_down);
    }

    /// By when a party that has given must have turned to the arbiter, if it must.
    fn claim(&self, party: usize, exchange: usize) -> Option<u64> {
        let (kind, role) = (self.setup.kinds[exchange], role_in(exchange, party));
        let desk = &self.parties[party].desks[exchange];
        let first = role == kind.first();
        let gave = match stage().template(exchange, kind).terms.of(role) {
            Some(terms) => self.rail.effective(terms).is_some(),
            None => self.oracle.facts[exchange][party].item_left,
        };
        if !gave || desk.is_done() || !self.is_honest(party) {
            return None;
        }
        match kind {
            _ if kind.is_p5() || kind.is_one_way() || (kind.is_p1() && !kind.has_deadline()) => None,
            // The arbiter has ruled, and its order waits for nobody.
            _ if Kind::RESERVED.contains(&kind) && desk.phase() == Some(Phase::Settling) => None,
            _ if kind.is_p3() => Some(if first { COMPLAIN_BY } else { SEND_BY }),
            Kind::P4 => (desk.phase() != Some(Phase::Settling)).then_some(COMPLAIN_BY),
            _ if Kind::WEAK.contains(&kind) => {
                let open = kind.is_depositable(role) && !self.oracle.is_attested(exchange, role);
                (first && open).then_some(COMPLAIN_BY)
            }
            _ => first.then_some(COMPLAIN_BY),
        }
    }

    fn let_claim(&mut self, party: usize, exchange: usize, deadline: u64) {
        let owes = |world: &Self| world.claim(party, exchange) == Some(deadline);
        if !owes(self) || self.oracle.broken.is_some() {
            return;
        }
        self.now = self.now.max(deadline - LAST_CHANCE);
        self.tell(|_| format!("{} must get its claim through now (A2)", NAMES[party]));
        self.calmly(|world| {
            if world.parties[party].asleep {
                world.parties[party].restart();
            }
            for _ in 0..60 {
                if !owes(world) {
                    break;
                }
                world.wake(party, exchange, Cut::None);
                world.perform_all(party, exchange);
                world.bank_calmly(party, exchange);
                world.serve();
                world.now += 300;
            }
        });
        let (owes, phase) = (owes(self), self.parties[party].desks[exchange].phase());
        // In P3 who is asked for its item waits until it may revoke; a claim that settled is none.
        self.oracle.must(!owes, || {
            format!("F4: a claim of party {party} in time was not answered in time ({phase:?})")
        });
        self.tally.count("claims in the last minute");
    }

    /// The arbiter works off everything that is there.
    pub fn serve(&mut self) {
        if !self.court.is_up() {
            self.boot(Fate::Stored);
        }
        self.court.go_blind(None);
        self.decide_due();
        self.tell_all();
        for _ in 0..100 {
            let idle = self.calls.is_empty() && self.court.serves() == 0 && self.court.waiting() == 0;
            if idle || self.oracle.broken.is_some() {
                break;
            }
            self.court.go_blind(None);
            while !self.calls.is_empty() {
                self.reach(0);
            }
            for nth in (0..self.court.serves()).rev() {
                self.poll(nth);
            }
            if self.court.waiting() > 0 {
                self.turn(Fate::Stored);
            }
        }
        let idle = self.calls.is_empty() && self.court.serves() == 0;
        self.oracle.must(idle, || "F4: the arbiter does not come to an end".to_owned());
        while !self.letters.is_empty() {
            self.letter(0, Cut::None);
        }
    }

    /// Everybody loses patience, the network calms down, and time passes until all who behave have ended. Then the arbiter
    /// loses its power once more, and the oracle judges.
    pub fn finish(&mut self, late: &[Event]) {
        (self.calm, self.rail.down) = (true, false);
        for round in 0..60 {
            if self.oracle.broken.is_some() {
                return;
            }
            self.calm_round(round);
            if let Some(event) = late.get(round).filter(|it| self.is_possible(**it)) {
                self.happen(*event);
            }
            self.serve();
            if round > late.len() && self.is_over() {
                break;
            }
            let span = if round < 4 { 500 } else { MARGIN };
            self.advance(self.now + span);
        }
        self.last_judgement();
    }

    fn calm_round(&mut self, round: usize) {
        for party in 0..2 {
            if self.parties[party].asleep {
                self.parties[party].restart();
            }
            for exchange in 0..2 {
                self.wake(party, exchange, Cut::None);
                if self.runs(party) && round > 1 {
                    self.input(party, exchange, Input::GiveUp, Cut::None);
                }
                if self.runs(party) {
                    self.perform_all(party, exchange);
                    self.bank_calmly(party, exchange);
                }
                let desk = &mut self.parties[party].desks[exchange];
                if round > 9 && desk.is_done() && desk.till.paying {
                    // What is owed and cannot be paid keeps nobody longer than patience.
                    desk.till.paying = false;
                    self.oracle.facts[exchange][party].owes = true;
                    self.tally.count("ended, and still owes its payment");
                    self.say_end(party, exchange);
                }
            }
        }
        for _ in 0..self.net.len() {
            self.deliver(0, Delivery::Once, Cut::None);
        }
    }

    fn is_over(&self) -> bool {
        let waits = |party: usize| {
            let desks = self.parties[party].desks.iter();
            let mut open = desks.filter(|it| it.session().is_some());
            self.is_honest(party)
                && open.any(|desk| !desk.is_done() || desk.till.paying || desk.till.releasing)
        };
        let busy =
            |party: usize| self.runs(party) && self.parties[party].desks.iter().any(Desk::has_to_perform);
        !waits(0) && !waits(1) && !busy(0) && !busy(1)
    }

    fn last_judgement(&mut self) {
        // What cheaters keep for last, and the end of every hold.
        while !self.errands.is_empty() {
            self.bank(0, Delivery::Once);
        }
        self.serve();
        // What waits for its time is decided then.
        for time in [SEND_BY, COMPLAIN_BY, HOLD_END + 1] {
            self.advance(time.max(self.now));
            self.serve();
        }
        // What could not be removed because the disk failed stays until the next start.
        let whole = !self.court.was_blind();
        self.audit(whole);
        self.kill(true);
        self.boot(Fate::Stored);
        let kinds = self.setup.kinds;
        kinds.into_iter().for_each(|kind| self.tally.count(format!("played: {kind:?}")));
        for exchange in 0..2 {
            for party in 0..2 {
                if self.is_honest(party)
                    && let Some(outcome) = self.oracle.judge(exchange, party, &self.rail)
                {
                    let ending = self.oracle.ending(exchange, party, outcome);
                    self.tally.count(ending);
                }
            }
        }
        if self.setup.cheater.is_none() {
            (0..2).for_each(|exchange| self.oracle.judge_both(exchange, &self.rail));
        }
        let standing = self.court.overdue();
        self.oracle.must(standing == 0, || "R-424: a request was not decided in its time".to_owned());
        let told = (0..2).all(|exchange| self.oracle.is_answered(exchange));
        self.oracle.must(told, || "R-423: what a verdict orders was not done, or not logged".to_owned());
        let open = self.court.open_orders().len();
        self.oracle.must(open == 0, || "R-423: an order was never answered".to_owned());
        if self.setup.fully {
            self.court.last_check(&mut self.oracle);
        }
    }
}
