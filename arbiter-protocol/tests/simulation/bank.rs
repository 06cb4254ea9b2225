//! Money: what parties and the arbiter say to the ledger, and what they make of its answers.
//!
//! ```text
//!  session ─▶ till: pay, look, post ──▶ errand ─┬─▶ rail ─▶ answer, or it is lost on its way
//!  verdict ─▶ open order ─▶ tell ───────────────┘              └─▶ session │ the arbiter hears it
//! ```

use std::sync::Arc;

use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::payment::PaymentReceipt;
use arbiter_protocol::role::Input;

use crate::event::Delivery;
use crate::party::Cut;
use crate::rail::Answer;
use crate::signed::{Content, OrderKey, Ordered, order};
use crate::stage::{role_in, stage};
use crate::world::{NAMES, World};

/// Who has said something, and in which of its lives: an answer to an earlier one is heard by nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    Arbiter(u32),
    Party(usize, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Look,
    Order(Ordered),
}

/// Something on its way to the ledger, about the payment of `payer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errand {
    pub from: Sender,
    pub exchange: usize,
    pub payer: Role,
    pub asked: Asked,
    pub sent: u64,
}

/// Who behaves gives up a call after this time: it has arrived by then, or never will (A2).
const CALL: u64 = 10_000;

impl World {
    /// What a party has to say to its ledger now, and is not saying already.
    pub fn next_errand(&self, party: usize, exchange: usize) -> Option<Errand> {
        let (till, role) = (self.parties[party].desks[exchange].till, role_in(exchange, party));
        let from = Sender::Party(party, self.parties[party].life);
        let errand = |payer, asked| Errand { from, exchange, payer, asked, sent: self.now };
        let wanted = [
            (till.reserving, errand(role, Asked::Order(Ordered::Make))),
            (till.paying, errand(role, Asked::Order(self.pays_by(party, exchange)))),
            (till.releasing, errand(role, Asked::Order(Ordered::PostAll))),
            (till.watching, errand(role.peer(), Asked::Look)),
        ];
        let idle = |it: &Errand| !self.errands.iter().any(|other| Errand { sent: it.sent, ..*other } == *it);
        wanted.into_iter().find(|(wanted, it)| *wanted && idle(it)).map(|(_, it)| it)
    }

    pub fn till(&mut self, party: usize, exchange: usize) {
        let Some(errand) = self.next_errand(party, exchange) else { return };
        let now = self.parties[party].clock(self.now);
        let desk = &mut self.parties[party].desks[exchange];
        if desk.till.paying && !desk.session().is_some_and(|it| it.may_send_item(now)) {
            // R-304: asked right before each attempt.
            desk.till.paying = false;
            self.tally.count("not paid: too late");
            return self.say_end(party, exchange);
        }
        if errand.asked != Asked::Look {
            self.tell(|_| format!("{} orders {:?} in exchange {exchange}", NAMES[party], errand.asked));
        }
        self.errands.push(errand);
    }

    /// Begins to pay, unless it is paid or being paid.
    pub fn pay(&mut self, party: usize, exchange: usize) {
        let desk = &mut self.parties[party].desks[exchange];
        if !desk.till.paying {
            desk.till.paying = true;
            desk.till.maybe_ordered |= desk.purse.ordered;
            desk.purse.ordered = true;
        }
    }

    pub fn release(&mut self, party: usize, exchange: usize) {
        let desk = &mut self.parties[party].desks[exchange];
        desk.till.releasing = desk.purse.receipt.as_ref().is_some_and(|(_, it)| !it.is_final());
    }

    pub fn bank(&mut self, nth: usize, delivery: Delivery) {
        let nth = nth % self.errands.len();
        let errand = self.errands[nth];
        if delivery != Delivery::Repeated {
            self.errands.remove(nth);
        }
        let heard = delivery == Delivery::Once && !self.rail.down;
        if let (false, Sender::Party(party, _)) = (heard, errand.from) {
            self.parties[party].desks[errand.exchange].till.maybe_ordered = true;
        }
        if delivery == Delivery::Dropped || self.rail.down {
            return self.tell(|_| format!("{:?} does not reach the ledger", errand.asked));
        }
        let answer = self.carry_out(&errand);
        let said = match &answer {
            Ok(receipt) => format!("{:?}", receipt.state),
            Err(refused) => refused.reason().to_owned(),
        };
        let (exchange, payer) = (errand.exchange, errand.payer.name());
        let lost = if heard { "" } else { ", and nobody hears it" };
        self.tell(|_| {
            format!("the ledger to {:?} for the {payer} in {exchange}: {said}{lost}", errand.asked)
        });
        if heard {
            self.answered(errand, answer);
        }
    }

    fn carry_out(&mut self, errand: &Errand) -> Answer {
        let (exchange, payer, now) = (errand.exchange, errand.payer, self.now);
        let kind = self.setup.kinds[exchange];
        let answer = match errand.asked {
            Asked::Look => {
                let terms = stage().template(exchange, kind).terms.of(payer).as_ref();
                self.rail.look(terms.expect("looked at because it is agreed"), now)
            }
            Asked::Order(ordered) => {
                let signer = match errand.from {
                    Sender::Arbiter(_) => None,
                    Sender::Party(party, _) => Some(party),
                };
                let key = OrderKey { exchange, kind, payer, ordered, signer };
                let answer = self.rail.order(&order(key).expect("can be ordered"), now);
                self.tally.count(match &answer {
                    Ok(_) => format!("the ledger did {ordered:?}"),
                    Err(refused) => format!("the ledger refused: {}", refused.reason()),
                });
                if answer.is_ok() && signer.is_none() {
                    self.tally.count(format!("the arbiter had the ledger do {ordered:?}"));
                }
                answer
            }
        };
        self.booked(errand.asked == Asked::Order(Ordered::Make), &answer);
        answer
    }

    /// What the ledger has done is seen by the oracle.
    fn booked(&mut self, make: bool, answer: &Answer) {
        let entries = self.rail.entries();
        self.oracle.book.entered(&entries);
        let receipt = answer.as_ref().ok().map(|it| (&**it, make));
        let wrong = self.oracle.book.differs(&self.rail, receipt);
        self.oracle.must(wrong.is_none(), || wrong.unwrap_or_default());
    }

    /// Looks at a payment now, for who may be told (R-611).
    pub fn look(&mut self, exchange: usize, payer: Role) -> Option<Answer> {
        let terms = stage().template(exchange, self.setup.kinds[exchange]).terms.of(payer).as_ref()?;
        let answer = self.rail.look(terms, self.now);
        self.booked(false, &answer);
        Some(answer)
    }

    /// R-607: holds that have run out end.
    pub fn settle_holds(&mut self) {
        self.rail.settle(self.now);
        let entries = self.rail.entries();
        self.oracle.book.entered(&entries);
    }

    fn answered(&mut self, errand: Errand, answer: Answer) {
        let Errand { from, exchange, payer, asked, .. } = errand;
        match from {
            Sender::Arbiter(start) => {
                // "Already gone" is an answer like any other (R-423).
                let now = answer.ok().filter(|it| it.is_final()).map(Ok);
                let last = now.or_else(|| self.look(exchange, payer));
                let Some(Ok(receipt)) = last.filter(|it| it.as_ref().is_ok_and(|it| it.is_final())) else {
                    return;
                };
                if self.court.is_up() && self.starts == start {
                    let id = stage().template(exchange, self.setup.kinds[exchange]).offer.exchange_id();
                    self.set_court_clock();
                    self.court.hear(id, payer, receipt);
                }
            }
            Sender::Party(party, life) => {
                if self.parties[party].asleep || self.parties[party].life != life {
                    return;
                }
                // A ledger's answer is heard when everything before it is done.
                self.perform_all(party, exchange);
                let pays_by = self.pays_by(party, exchange);
                let own = payer == role_in(exchange, party);
                let till = &mut self.parties[party].desks[exchange].till;
                match asked {
                    Asked::Order(Ordered::Make) if own && till.reserving => {
                        self.set_aside(party, exchange, answer)
                    }
                    Asked::Order(order) if own && till.paying && order == pays_by => {
                        self.paid(party, exchange, answer);
                    }
                    Asked::Order(Ordered::PostAll) if own && till.releasing => {
                        till.releasing = false;
                        if let Ok(receipt) = answer {
                            let bytes = Arc::new(receipt.envelope().encode());
                            self.parties[party].desks[exchange].purse.receipt = Some((bytes, receipt));
                        }
                    }
                    Asked::Look if !own && till.watching => {
                        let Some(receipt) = answer.ok().filter(|it| it.is_final()) else { return };
                        till.watching = false;
                        let here = receipt.is_effective();
                        self.tally.count(if here {
                            "saw that it was posted"
                        } else {
                            "saw that it went back"
                        });
                        let input = if here { Input::Settled } else { Input::Reversed };
                        self.input(party, exchange, input, Cut::None);
                    }
                    _ => {}
                }
            }
        }
    }

    fn paid(&mut self, party: usize, exchange: usize, answer: Answer) {
        // What the ledger says of money that it has set aside is final.
        let maybe_ordered = self.parties[party].desks[exchange].till.maybe_ordered
            && self.pays_by(party, exchange) == Ordered::Make;
        // An order may be on its way: only what is final says that nothing can come of it.
        let answer = match answer {
            Err(refused) if maybe_ordered => {
                let look = self.look(exchange, role_in(exchange, party));
                let over =
                    |it: &PaymentReceipt| it.terms.payment.hold.is_some_and(|hold| hold.until <= it.time);
                let settled = |it: &PaymentReceipt| it.is_final() || it.is_effective() || over(it);
                let last = look.and_then(Result::ok).filter(|it| settled(it));
                last.ok_or(refused)
            }
            other => other,
        };
        let now = self.parties[party].clock(self.now);
        let desk = &mut self.parties[party].desks[exchange];
        match answer {
            Ok(receipt) if receipt.is_effective() => {
                desk.purse.receipt = Some((Arc::new(receipt.envelope().encode()), receipt));
                desk.till.paying = false;
                let session = desk.session().expect("who pays has a session");
                let (may_send, release) =
                    (session.may_send_item(now), desk.is_done() && session.may_release());
                if may_send {
                    self.send_item(party, exchange);
                }
                if release {
                    self.release(party, exchange);
                }
                self.say_end(party, exchange);
            }
            Err(_) if maybe_ordered => {} // Told again.
            // Nothing is paid, and nothing will be. What has ended stays as it ended, but for a gift: nothing was given.
            _ if desk.is_done() => {
                desk.till.paying = false;
                desk.not_given();
                self.tally.count("ended, and the ledger refuses the payment");
                self.say_end(party, exchange);
            }
            _ => {
                desk.till.paying = false;
                desk.not_paid(now);
                self.tally.count("gave up: the ledger refuses the payment");
                self.tell(|_| format!("{} cannot pay in exchange {exchange}, and gives up", NAMES[party]));
            }
        }
    }

    /// Whether a payment whose receipt has just arrived still stands, as far as the ledger says so at once.
    pub fn still_stands(&mut self, exchange: usize, payer: Role) -> bool {
        if self.rail.down {
            return true;
        }
        let look = self.look(exchange, payer);
        look.is_none_or(|answer| answer.is_ok_and(|it| it.is_effective()))
    }

    /// The receipt that a person has of a payment: who cheats shows any that the ledger ever signed.
    pub fn receipt_of(&mut self, person: usize, exchange: usize, payer: Role) -> Option<Content> {
        let own = self.parties[person].desks[exchange].purse.receipt.as_ref();
        if let (true, Some((bytes, _))) = (self.is_honest(person), own) {
            return Some(Content::Receipt(Arc::clone(bytes)));
        }
        let terms = stage().template(exchange, self.setup.kinds[exchange]).terms.of(payer).as_ref()?;
        match self.rail.effective(terms) {
            Some(receipt) => Some(Content::Receipt(Arc::new(receipt.envelope().encode()))),
            None => self.receipt_now(exchange, payer),
        }
    }

    pub fn receipt_now(&mut self, exchange: usize, payer: Role) -> Option<Content> {
        let receipt = self.look(exchange, payer)?.ok()?;
        Some(Content::Receipt(Arc::new(receipt.envelope().encode())))
    }

    /// Whether a party has what it deposits: a payment is deposited as its receipt.
    pub fn has_paid(&mut self, party: usize, exchange: usize) -> bool {
        let known = self.parties[party].desks[exchange].purse.receipt.is_some();
        // An order may have left without its answer having come.
        known
            || self
                .look(exchange, role_in(exchange, party))
                .is_none_or(|it| it.is_ok_and(|it| it.is_effective()))
    }

    // ---- the arbiter's side ----

    pub fn tell_ledger(&mut self, nth: usize) {
        let open = self.court.open_orders();
        let Some((id, payer, given)) = open.get(nth % open.len().max(1)) else { return };
        let (kinds, payer) = (self.setup.kinds, *payer);
        let found = (0..2).find(|it| stage().template(*it, kinds[*it]).offer.exchange_id() == *id);
        let exchange = found.expect("an exchange of this world");
        let ordered = self.oracle.ordered(exchange, payer);
        let key = |ordered| OrderKey { exchange, kind: kinds[exchange], payer, ordered, signer: None };
        let expected =
            ordered.and_then(|it| order(key(it))).is_some_and(|it| it.envelope() == given.envelope());
        self.oracle.must(expected, || "R-423: an order that no durable verdict gives".to_owned());
        let Some(ordered) = ordered else { return };
        let (from, asked) = (Sender::Arbiter(self.starts), Asked::Order(ordered));
        let errand = Errand { from, exchange, payer, asked, sent: self.now };
        if !self.errands.iter().any(|it| Errand { sent: self.now, ..*it } == errand) {
            self.tell(|_| format!("the arbiter tells the ledger: {ordered:?}, in exchange {exchange}"));
            self.errands.push(errand);
        }
    }

    /// R-424.
    pub fn decide_due(&mut self) {
        self.set_court_clock();
        let decided = self.court.file_due();
        if decided > 0 {
            self.tally.count("a request was decided in its time");
        }
    }

    // ---- when nothing fails ----

    /// One party says what it has to say, and is answered.
    pub fn bank_calmly(&mut self, party: usize, exchange: usize) {
        for _ in 0..4 {
            let Some(errand) = self.next_errand(party, exchange) else { return };
            self.till(party, exchange);
            if let Some(nth) = self.errands.iter().position(|it| *it == errand) {
                self.bank(nth, Delivery::Once);
            }
            if errand.asked == Asked::Look {
                return;
            }
        }
    }

    /// A4: the ledger hears every order that is open.
    pub fn tell_all(&mut self) {
        for nth in 0..self.court.open_orders().len() {
            self.tell_ledger(nth);
        }
        while let Some(nth) = self.errands.iter().position(|it| matches!(it.from, Sender::Arbiter(_))) {
            self.bank(nth, Delivery::Once);
        }
    }

    /// What is on its way for too long never arrives, but for what a cheater has kept.
    pub fn lose_old_errands(&mut self, now: u64) {
        let cheater = self.setup.cheater;
        let kept = |it: &Errand| match it.from {
            Sender::Party(party, _) if Some(party) == cheater => true,
            _ => now <= it.sent + CALL,
        };
        for lost in self.errands.iter().filter(|it| !kept(it)) {
            if let Sender::Party(party, _) = lost.from {
                self.parties[party].desks[lost.exchange].till.maybe_ordered = true;
            }
        }
        self.errands.retain(kept);
    }
}
