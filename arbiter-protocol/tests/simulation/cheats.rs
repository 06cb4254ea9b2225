//! What the party that cheats does.

use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::role::Input;

use crate::bank::{Asked, Errand, Sender};
use crate::event::{Cheat, Stuff};
use crate::party::Cut;
use crate::stage::{
    CaseKey, Content, Message, OTHER_CONTENT, OrderKey, TransferKey, opening, order, role_in, stage, transfer,
};
use crate::world::{NAMES, World};

impl World {
    pub fn cheat(&mut self, exchange: usize, cheat: Cheat) {
        let Some(cheater) = self.setup.cheater else { return };
        let kind = self.setup.kinds[exchange];
        let template = stage().template(exchange, kind);
        let (own, victim) = (role_in(exchange, cheater), 1 - cheater);
        if own == Role::Responder && !self.offer_left[exchange] {
            return; // It cannot sign about an offer that it has never seen.
        }
        match cheat {
            Cheat::Opening { second, passes } => {
                let which = match own {
                    Role::Originator => 0,
                    Role::Responder => 1 + usize::from(second),
                };
                let what = ["its offer", "an acceptance", "a second acceptance"][which];
                let beside = if passes { "" } else { " with a false escrow" };
                self.tally.count(format!("cheat: {what} sent"));
                self.send(
                    victim,
                    Message::Statement(opening(template, which), passes),
                    &format!("{what}{beside}"),
                );
            }
            Cheat::Item { agreement, in_own_role, content } => {
                let sender = if in_own_role { own } else { own.peer() };
                let paid = template.terms.of(sender).is_some();
                let good = match paid {
                    true => self.receipt_of(cheater, exchange, sender),
                    false => self.content(exchange, sender),
                };
                let wrong = Some(Content::Known(OTHER_CONTENT));
                let content = match content {
                    Stuff::Good => good.clone(),
                    Stuff::OfTheOther => self.content(exchange, sender.peer()).or(wrong),
                    // As it stands now.
                    Stuff::Wrong if paid => self.receipt_now(exchange, sender),
                    Stuff::Wrong => wrong,
                    Stuff::Nothing => None,
                };
                let what = if content == good { "an item" } else { "an item that does not fit" };
                let key = TransferKey { exchange, kind, agreement, sender, signer: cheater };
                self.send(victim, Message::Item(transfer(key), content), what);
            }
            Cheat::Order { payer, ordered } => {
                let key = OrderKey { exchange, kind, payer, ordered, signer: Some(cheater) };
                if order(key).is_some() {
                    self.tell(|_| {
                        format!("{} orders {ordered:?} of the {}'s payment", NAMES[cheater], payer.name())
                    });
                    let from = Sender::Party(cheater, self.parties[cheater].life);
                    let (asked, sent) = (Asked::Order(ordered), self.now);
                    self.errands.push(Errand { from, exchange, payer, asked, sent });
                }
            }
            Cheat::Decline => self.send(victim, Message::Declined(exchange), "\"I will not go on\""),
            Cheat::Reflect(_) if self.seen.is_empty() => {}
            Cheat::Reflect(nth) => {
                let message = self.seen[nth % self.seen.len()].clone();
                self.send(victim, message, "something back");
            }
            Cheat::ForgeRefusal => {
                self.letters.retain(|it| it.key.signer != victim || it.key.exchange != exchange);
                if self.runs(victim) && self.parties[victim].desks[exchange].asks().is_some() {
                    self.tally.count("cheat: forged refusal");
                    self.tell(|_| format!("{} forges a refusal to {}", NAMES[cheater], NAMES[victim]));
                    self.input(victim, exchange, Input::Refused, Cut::None);
                }
            }
            Cheat::Call { action, agreement, in_own_role, other_offer, escrows } => {
                let role = if in_own_role { own } else { own.peer() };
                let mix = other_offer && self.offer_left[0] && self.offer_left[1];
                let filed = if mix { 1 - exchange } else { exchange };
                // Only a responder can make a second acceptance, and only who has the first can file it.
                let accepted = self.parties[victim].desks[exchange].agreement().is_some();
                let known = own == Role::Responder || accepted;
                let agreement =
                    agreement.filter(|which| if *which == 1 { own == Role::Responder } else { known });
                let kinds = self.setup.kinds;
                self.file(CaseKey {
                    kinds,
                    exchange,
                    filed,
                    agreement,
                    role,
                    action,
                    signer: cheater,
                    escrows,
                });
            }
        }
    }
}
