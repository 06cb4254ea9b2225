//! Money that is set aside first (R-315): before a party says anything, and what it shows of it.
//!
//! ```text
//!  SendOffer, SendAcceptance ─▶ own money is to be set aside ─▶ till: Make ─┬─ receipt, durable ─▶ said, and it beside
//!                                                                           ├─ undone before ─▶ nothing is said: abort
//!                                                                           └─ refused, away ─▶ again, until patience is over
//! ```

use std::sync::Arc;

use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::ledger::LedgerRefused;
use arbiter_protocol::message::payment::{PaymentReceipt, PaymentState};
use arbiter_protocol::role::{Output, Phase};
use arbiter_protocol::statement::Verified;

use crate::event::Broken;
use crate::rail::Answer;
use crate::signed::{Beside, Ordered};
use crate::stage::{role_in, stage};
use crate::world::{NAMES, World};

impl World {
    /// Whether the item of `role` is money that is set aside first.
    pub fn reserves(&self, exchange: usize, role: Role) -> bool {
        stage().reserved(exchange, self.setup.kinds[exchange], role).is_some()
    }

    /// Whether a party's own money is to be set aside, and is not.
    pub fn owes_pledge(&self, party: usize, exchange: usize) -> bool {
        let speaks = self.setup.broken == Some(Broken::SpeaksFirst);
        let known = self.parties[party].desks[exchange].purse.pledge.is_some();
        self.reserves(exchange, role_in(exchange, party)) && !known && !speaks
    }

    /// How a party pays: what is set aside already is posted.
    pub fn pays_by(&self, party: usize, exchange: usize) -> Ordered {
        if self.reserves(exchange, role_in(exchange, party)) { Ordered::PostAll } else { Ordered::Make }
    }

    /// Before anything is said the own money is set aside. True if that has to be waited for.
    pub fn must_reserve_first(&mut self, party: usize, exchange: usize) -> bool {
        let owes = self.owes_pledge(party, exchange);
        let desk = &mut self.parties[party].desks[exchange];
        let speaks = matches!(desk.outputs.front(), Some(Output::SendOffer | Output::SendAcceptance));
        let open = matches!(desk.phase(), Some(Phase::Offered | Phase::Waiting));
        if owes && speaks && open && !desk.till.silent && !desk.till.reserving {
            desk.till.reserving = true;
            desk.purse.ordered = true;
            self.tell(|_| format!("{} has its money set aside first in exchange {exchange}", NAMES[party]));
        }
        self.parties[party].desks[exchange].till.reserving
    }

    /// What the ledger said to the order to set the own money aside.
    pub fn set_aside(&mut self, party: usize, exchange: usize, answer: Answer) {
        let desk = &mut self.parties[party].desks[exchange];
        match answer {
            Ok(receipt) if receipt.state == PaymentState::Reserved => {
                desk.purse.pledge = Some(Arc::new(receipt));
                desk.till.reserving = false;
                self.tally.count("money was set aside first");
            }
            // Undone before it was said: the arbiter has ruled, or the peer wants no money.
            Ok(_) | Err(LedgerRefused::PaymentVoided) => {
                desk.reservation_undone();
                self.tally.count("not set aside: undone before");
                self.tell(|_| {
                    format!("{}'s money is not to be set aside in exchange {exchange}", NAMES[party])
                });
            }
            // A later run goes on here.
            Err(refused) => self.tally.count(format!("not set aside: {}", refused.reason())),
        }
    }

    /// What a person shows with its offer or acceptance. `passes`: what it should, as far as it has that; else what it likes.
    pub fn beside(&mut self, person: usize, exchange: usize, passes: bool) -> Beside {
        let (kind, role) = (self.setup.kinds[exchange], role_in(exchange, person));
        let own = self.parties[person].desks[exchange].purse.pledge.clone();
        let Some(terms) = stage().reserved(exchange, kind, role) else { return Beside::Escrow(passes) };
        if self.is_honest(person) {
            let set_aside = self.oracle.book.made(terms);
            self.oracle.must(set_aside, || "R-315: said before the money was set aside".to_owned());
            return own.map_or(Beside::Escrow(false), Beside::Receipt);
        }
        let found =
            if passes { self.word_of(exchange, role) } else { self.word_of(1 - exchange, role.peer()) };
        found.map_or(Beside::Escrow(false), Beside::Receipt)
    }

    /// What the ledger has said of money that is set aside first: that it is, if it ever was, or how it stands.
    fn word_of(&mut self, exchange: usize, payer: Role) -> Option<Arc<Verified<PaymentReceipt>>> {
        let terms = stage().reserved(exchange, self.setup.kinds[exchange], payer)?;
        if let Some(receipt) = self.rail.set_aside(terms) {
            return Some(Arc::new(receipt.clone()));
        }
        self.look(exchange, payer)?.ok().map(Arc::new)
    }

    /// A party goes on because of what `owner` showed.
    pub fn relies(&mut self, party: usize, exchange: usize, owner: Role, passes: bool) {
        let Some(terms) = stage().reserved(exchange, self.setup.kinds[exchange], owner) else { return };
        if self.is_honest(party) && passes {
            let set_aside = self.oracle.book.made(terms);
            self.oracle.must(set_aside, || "R-310: relied on money that was never set aside".to_owned());
            self.tally.count("relied on money that is set aside");
        }
    }

    /// Of which roles' money who files for `exchange` has the ledger's word that it is set aside.
    pub fn words_at_hand(&self, party: usize, exchange: usize) -> [bool; 2] {
        let own = role_in(exchange, party);
        Role::BOTH.map(|role| role != own || !self.owes_pledge(party, exchange))
    }

    /// The same of a cheater: whatever the ledger ever said.
    pub fn words_said(&self, exchange: usize) -> [bool; 2] {
        let kind = self.setup.kinds[exchange];
        let said =
            |role| stage().reserved(exchange, kind, role).is_none_or(|it| self.rail.set_aside(it).is_some());
        Role::BOTH.map(said)
    }
}
