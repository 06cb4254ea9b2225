//! The network between the two: what travels, and what a party makes of what arrives.
//!
//! ```text
//!  send ─▶ packets ─▶ once │ again and again │ never ─▶ a statement and its pledge │ an item │ "I am back"
//!                                                          └─ verified and checked (R-305, R-310) ─▶ session
//! ```

use std::sync::Arc;

use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::kind::pledge::{Pledge, Pledged};
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::role::{Fit, Input, Session};
use arbiter_protocol::statement::{Envelope, Signed};

use crate::event::{Broken, Delivery};
use crate::party::{Cut, TIMING};
use crate::signed::{Beside, Content, Message, agreed, fitting};
use crate::stage::{Template, role_in, stage};
use crate::words::{family, name};
use crate::world::{NAMES, Packet, World};

impl World {
    pub fn send(&mut self, to: usize, message: Message, what: &str) {
        self.tell(|_| format!("{} sends {what}", NAMES[1 - to]));
        if self.setup.cheater == Some(to) && self.seen.len() < 40 {
            self.seen.push(message.clone());
        }
        self.net.push_back(Packet { to, message });
    }

    pub fn deliver(&mut self, nth: usize, delivery: Delivery, cut: Cut) {
        let nth = nth % self.net.len();
        let packet = match delivery {
            Delivery::Repeated => {
                self.net.get(nth).map(|it| Packet { to: it.to, message: it.message.clone() })
            }
            Delivery::Once | Delivery::Dropped => self.net.remove(nth),
        };
        let Some(Packet { to, message }) = packet else { return };
        if delivery == Delivery::Dropped || !self.runs(to) {
            self.tell(|_| format!("{} to {} is lost", name(&message), NAMES[to]));
            return;
        }
        self.tell(|_| format!("{} gets to {}", name(&message), NAMES[to]));
        self.receive(to, message, cut);
    }

    fn receive(&mut self, party: usize, message: Message, cut: Cut) {
        match message {
            Message::Statement(envelope, beside) if envelope.holds::<Offer>() => {
                self.offered(party, &envelope, &beside, cut);
            }
            Message::Statement(envelope, beside) => {
                let template = self.parties[party].desks[party].template();
                if let Some(which) = agreed(&envelope, template) {
                    self.accepted(party, which, &beside, cut);
                }
            }
            Message::Item(envelope, content) => {
                for exchange in 0..2 {
                    self.handed(party, exchange, &envelope, content.as_ref(), cut);
                }
            }
            Message::Declined(exchange) => self.hear(party, exchange, Input::GiveUp, cut),
            Message::Hello(exchange) => self.hear(party, exchange, Input::PeerRepeats, cut),
        }
    }

    /// An offer to the responder, or the same again.
    fn offered(&mut self, party: usize, envelope: &Envelope, beside: &Beside, cut: Cut) {
        let exchange = 1 - party;
        let template = self.parties[party].desks[exchange].template();
        if *envelope != *template.offer.envelope() {
            return; // Not an offer to this party: its own offer, reflected.
        }
        if self.parties[party].desks[exchange].session().is_some() {
            return self.hear(party, exchange, Input::PeerRepeats, cut);
        }
        let now = self.parties[party].clock(self.now);
        let (pledged, passes) = self.shown(exchange, template, 0, Role::Originator, beside);
        if let Ok(step) = Session::accept(template.agreements[0].clone(), pledged.as_ref(), now, TIMING) {
            self.tell(|_| format!("{} accepts in exchange {exchange}", NAMES[party]));
            self.relies(party, exchange, Role::Originator, passes);
            let cut = if self.calm { Cut::None } else { cut };
            self.parties[party].desks[exchange].pledge_passed = passes;
            self.parties[party].desks[exchange].take(step, cut);
            self.engaged_or_crashed(exchange, party, cut);
        }
    }

    /// An acceptance of the originator's offer.
    fn accepted(&mut self, party: usize, which: usize, beside: &Beside, cut: Cut) {
        let exchange = party;
        let template = self.parties[party].desks[exchange].template();
        if self.parties[party].desks[exchange].till.reserving {
            return; // It has said nothing yet.
        }
        let (pledged, passes) = self.shown(exchange, template, which, Role::Responder, beside);
        let before = self.parties[party].desks[exchange].agreement();
        self.input(party, exchange, Input::Accepted(template.agreements[which].clone(), pledged), cut);
        let desk = &mut self.parties[party].desks[exchange];
        if before.is_none() && desk.agreement().is_some() {
            desk.pledge_passed = passes;
            self.relies(party, exchange, Role::Responder, passes);
        }
    }

    /// R-310: what stands beside the statement of `owner`, checked; and whether it passes, or nothing is owed.
    fn shown(
        &mut self,
        exchange: usize,
        template: &'static Template,
        which: usize,
        owner: Role,
        beside: &Beside,
    ) -> (Option<Pledged>, bool) {
        let Some(owed) = template.escrowed[which].of(owner) else { return (None, true) };
        let reserved = owed.escrow().is_none();
        let checked = match beside {
            Beside::Escrow(passes) => (*passes && !reserved).then(|| owed.clone()),
            Beside::Receipt(receipt) => {
                let place = Place::of(&template.offer, owner, template.agreements[which].id());
                place.check(Pledge::Reservation(receipt.envelope().clone())).ok()
            }
        };
        let passes = checked.is_some();
        if !passes {
            let what = if owner == Role::Originator { "offer" } else { "acceptance" };
            let beside = match (reserved, beside) {
                (false, _) => "with a false escrow",
                (true, Beside::Escrow(_)) => "without the money that is owed",
                (true, Beside::Receipt(_)) => "with a receipt that is no pledge",
            };
            self.tally.count(format!("cheat: {what} {beside}"));
            self.tell(|_| format!("what stands beside that {what} in exchange {exchange} does not pass"));
        }
        let trusts = self.setup.broken == Some(Broken::TrustsPledges);
        (checked.or_else(|| trusts.then(|| owed.clone())), passes)
    }

    /// An item arrives: which exchange it is for shows when it fits.
    fn handed(
        &mut self,
        party: usize,
        exchange: usize,
        envelope: &Arc<Envelope>,
        content: Option<&Content>,
        cut: Cut,
    ) {
        let desk = &self.parties[party].desks[exchange];
        let template = desk.template();
        let Some(agreement) = desk.agreement().map(|index| &template.agreements[index]) else { return };
        let sender = role_in(exchange, 1 - party);
        // What a party does that looks at the first file of a package only.
        let looks = self.setup.broken == Some(Broken::TakesParts);
        let good = template.contents.of(sender).map(Content::Known).filter(|_| looks);
        let believed = good.filter(|good| content.is_some_and(|it| begins_alike(it.bytes(), good.bytes())));
        let fit: Option<Fit> = fitting(envelope, believed.as_ref().or(content), agreement, sender);
        let Some(fit) = fit.filter(|_| self.still_stands(exchange, sender)) else {
            return self.count_silence(party, exchange, envelope);
        };
        if self.is_honest(party) {
            self.oracle.handed(exchange, sender, envelope, content.map(Content::bytes));
        }
        self.hear(party, exchange, Input::Received(fit), cut);
    }

    /// What came for this exchange and counts as silence.
    fn count_silence(&mut self, party: usize, exchange: usize, envelope: &Envelope) {
        let kind = self.setup.kinds[exchange];
        let transfer = Signed::<Transfer>::parse(envelope.clone()).ok();
        let id = stage().template(exchange, kind).offer.exchange_id();
        if self.is_honest(party) && transfer.is_some_and(|it| it.unverified().exchange_id == id) {
            self.tally.count(format!("{}: an item that does not count", family(kind)));
        }
    }

    /// What comes from the peer while somebody listens: not while money is being set aside.
    pub fn hear(&mut self, party: usize, exchange: usize, input: Input, cut: Cut) {
        let desk = &self.parties[party].desks[exchange];
        if !desk.is_closed() && !desk.till.reserving {
            self.input(party, exchange, input, cut);
        }
    }
}

/// Whether the first half of both is the same.
fn begins_alike(one: &[u8], other: &[u8]) -> bool {
    let half = other.len() / 2;
    one.get(..half) == other.get(..half)
}
