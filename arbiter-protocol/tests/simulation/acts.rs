//! What a party's driver does: opens, hands inputs to its session, and performs what that says (R-301).
//!
//! ```text
//!  input ─▶ session ─▶ durable, or a crash ─▶ outputs ─perform─▶ message │ call to the arbiter │ order to the ledger │ alarm │ end
//! ```

use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::role::{Ask, Input, Outcome, Output, Phase, Session};

use crate::event::Broken;
use crate::party::{Cut, TIMING};
use crate::signed::{Content, Message, TransferKey, opening, transfer};
use crate::stage::{role_in, stage};
use crate::world::{NAMES, World};

impl World {
    pub fn open(&mut self, party: usize, cut: Cut) {
        self.tell(|_| format!("{} opens exchange {party}", NAMES[party]));
        let step = Session::open(stage().template(party, self.setup.kinds[party]).offer.clone(), TIMING);
        self.parties[party].desks[party].take(step, cut);
        self.engaged_or_crashed(party, party, cut);
    }

    pub fn engaged_or_crashed(&mut self, exchange: usize, party: usize, cut: Cut) {
        if cut != Cut::BeforePersist {
            self.oracle.facts[exchange][party].engaged = true;
        }
        if cut != Cut::None {
            let when = if cut == Cut::BeforePersist { "before" } else { "after" };
            self.tell(|_| format!("{} crashes {when} that is durable", NAMES[party]));
            self.tally.count("crash inside a step");
            self.parties[party].restart();
        }
    }

    pub fn input(&mut self, party: usize, exchange: usize, input: Input, cut: Cut) {
        let cut = if self.calm { Cut::None } else { cut };
        let now = self.parties[party].clock(self.now);
        let desk = &mut self.parties[party].desks[exchange];
        if input == Input::GiveUp {
            desk.stop_reserving();
        }
        let asked = desk.asks();
        let received = matches!(input, Input::Received(_));
        let fetched = matches!(input, Input::Fetched(_));
        let was = desk.phase();
        let crashed = desk.handle(now, input, cut);
        let is = desk.phase();
        if was != is {
            // What ended a session is what it holds; what it ignored, or lost in a crash, it does not.
            let facts = &mut self.oracle.facts[exchange][party];
            let taken = [Some(Phase::Done(Outcome::Completed)), Some(Phase::Settling)].contains(&is);
            facts.received |= received && taken;
            facts.fetched |= fetched && is == Some(Phase::Done(Outcome::Resolved));
            if received && let Some(ask) = asked {
                self.tally.count(format!("late completion while asking {ask:?}"));
            }
            if asked == Some(Ask::Complain) && is == Some(Phase::Asking(Ask::Abort)) {
                self.tally.count("complaint given up");
            }
            if let Some(is) = is {
                self.tell(|_| format!("{} is {is:?} in exchange {exchange}", NAMES[party]));
            }
        }
        if crashed {
            self.engaged_or_crashed(exchange, party, cut);
        }
    }

    /// Performs what there is, as far as nothing has to be waited for.
    pub fn perform_all(&mut self, party: usize, exchange: usize) {
        while self.parties[party].desks[exchange].has_to_perform() {
            self.perform(party, exchange);
        }
    }

    pub fn perform(&mut self, party: usize, exchange: usize) {
        if self.must_reserve_first(party, exchange) {
            return;
        }
        let now = self.parties[party].clock(self.now);
        let desk = &mut self.parties[party].desks[exchange];
        let Some(output) = desk.outputs.pop_front() else { return };
        let agreement = desk.agreement();
        let template = desk.template();
        // R-304: the driver asks again right before the item leaves.
        let may_send = desk.session().is_some_and(|session| session.may_send_item(now));
        let may_send = may_send || self.setup.broken == Some(Broken::SendsLate);
        let to = 1 - party;
        match output {
            // R-315: who was stopped before its money was set aside says nothing.
            Output::SendOffer | Output::SendAcceptance if self.owes_pledge(party, exchange) => {}
            Output::SendOffer => {
                self.offer_left[exchange] = true;
                let beside = self.beside(party, exchange, true);
                self.send(to, Message::Statement(opening(template, 0), beside), "its offer");
            }
            Output::SendAcceptance => {
                let which = 1 + agreement.expect("accepted");
                let beside = self.beside(party, exchange, true);
                self.send(to, Message::Statement(opening(template, which), beside), "its acceptance");
            }
            Output::SendItem
                if may_send
                    && self.setup.broken == Some(Broken::KeepsGifts)
                    && self.gives(party, exchange) => {}
            Output::SendItem if may_send => self.give(party, exchange),
            Output::SendItem => self.tally.count("an item not sent: too late to complain"),
            Output::Ask(ask) => {
                // Whether an order of it took effect shows when the arbiter's verdict is carried out.
                self.parties[party].desks[exchange].till.paying = false;
                let action = match ask {
                    Ask::Abort => Action::Abort,
                    Ask::Complain | Ask::Deposit => Action::Deposit,
                    Ask::Fetch => Action::Fetch,
                    Ask::Resolve => Action::Resolve,
                    Ask::Revoke => Action::Revoke,
                };
                self.call(party, exchange, action);
                if self.setup.broken == Some(Broken::SendsAfterAbort)
                    && ask == Ask::Abort
                    && agreement.is_some()
                {
                    self.send_item(party, exchange);
                }
            }
            Output::Observe => self.parties[party].desks[exchange].till.watching = true,
            Output::Release => self.release(party, exchange),
            Output::WakeAt(time) => self.parties[party].desks[exchange].alarms.push(time.0),
            Output::Done(outcome) => {
                let desk = &mut self.parties[party].desks[exchange];
                desk.till.watching = false;
                // Who has the peer's item still owes its own.
                desk.till.paying &= outcome == Outcome::Completed;
                desk.unsaid = Some(outcome);
                self.say_end(party, exchange);
            }
        }
    }

    /// Reports how an exchange ended, unless the own payment is still owed.
    pub fn say_end(&mut self, party: usize, exchange: usize) {
        let desk = &mut self.parties[party].desks[exchange];
        if desk.till.paying {
            return;
        }
        let Some(outcome) = desk.unsaid.take() else { return };
        self.tell(|_| format!("{} reports {outcome:?} in exchange {exchange}", NAMES[party]));
        if self.is_honest(party) {
            self.oracle.ended(exchange, party, outcome);
        }
    }

    /// Whether a party gives its item for nothing.
    pub fn gives(&self, party: usize, exchange: usize) -> bool {
        let kind = self.setup.kinds[exchange];
        kind.is_one_way() && role_in(exchange, party) != kind.first()
    }

    /// The own item leaves, or is paid first.
    fn give(&mut self, party: usize, exchange: usize) {
        let desk = &self.parties[party].desks[exchange];
        let role = role_in(exchange, party);
        if desk.template().terms.of(role).is_some() && desk.purse.receipt.is_none() {
            self.pay(party, exchange);
        } else {
            self.send_item(party, exchange);
        }
    }

    pub fn send_item(&mut self, party: usize, exchange: usize) {
        let agreement =
            self.parties[party].desks[exchange].agreement().expect("R-303: sent without an agreement");
        let kind = self.setup.kinds[exchange];
        let sender = role_in(exchange, party);
        let receipt = self.parties[party].desks[exchange].purse.receipt.as_ref();
        let content = match receipt {
            Some((bytes, _)) => Some(Content::Receipt(bytes.clone())),
            None => self.content(exchange, sender),
        };
        let key = TransferKey { exchange, kind, agreement, sender, signer: party, altered: false };
        if self.is_honest(party) {
            self.oracle.facts[exchange][party].item_left = true;
        }
        self.items_sent += 1;
        self.send(1 - party, Message::Item(transfer(key), content), "its item");
    }

    /// What follows the transfer of `sender`, unless it is a receipt.
    pub fn content(&self, exchange: usize, sender: Role) -> Option<Content> {
        let template = stage().template(exchange, self.setup.kinds[exchange]);
        template.contents.of(sender).map(Content::Known)
    }

    pub fn wake(&mut self, party: usize, exchange: usize, cut: Cut) {
        if !self.runs(party) {
            return;
        }
        let now = self.parties[party].clock(self.now).0;
        let alarms = &mut self.parties[party].desks[exchange].alarms;
        let Some(index) = alarms.iter().position(|time| *time <= now) else { return };
        alarms.swap_remove(index);
        self.input(party, exchange, Input::Wake, cut);
    }
}
