//! What the party that cheats does.

use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::role::Input;

use crate::bank::{Asked, Errand, Sender};
use crate::choices::Choices;
use crate::party::Cut;
use crate::signed::{
    CaseKey, Content, Filed, Message, OrderKey, Ordered, TransferKey, opening, order, transfer,
};
use crate::stage::{OTHER_CONTENT, role_in, stage};
use crate::words::family;
use crate::world::{NAMES, World};

/// What a cheater does: everything it can sign, everything it has seen, any request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cheat {
    /// Its offer, or one of its two acceptances; and whether the pledge beside it passes the check, if it can.
    Opening {
        second: bool,
        passes: bool,
    },
    /// A transfer in a role, with some content.
    Item {
        agreement: usize,
        in_own_role: bool,
        content: Stuff,
    },
    Decline,
    /// Something that it has received, back to where it came from.
    Reflect(usize),
    /// Refusals are not signed: whoever sits on the line can make one, and eat the real answer.
    ForgeRefusal,
    Call {
        action: Action,
        agreement: Option<usize>,
        in_own_role: bool,
        other_offer: bool,
        escrows: Filed,
    },
    /// About the payment of a role, from its own account.
    Order {
        payer: Role,
        ordered: Ordered,
    },
}

/// What is in an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuff {
    Good,
    /// Another file, or of a package or a signature one leaf.
    Almost,
    /// A leaf, or a byte, is missing.
    Short,
    OfTheOther,
    Wrong,
    Nothing,
}

impl Cheat {
    pub fn draw(choices: &mut Choices) -> Self {
        let passes = |choices: &mut Choices| !choices.one_in(3);
        match choices.below(16) {
            0 | 1 => Self::Opening { second: choices.one_in(2), passes: passes(choices) },
            2..=4 => Self::Item {
                agreement: choices.below(2),
                in_own_role: !choices.one_in(6),
                content: choices.pick(&[
                    Stuff::Good,
                    Stuff::Good,
                    Stuff::Good,
                    Stuff::Almost,
                    Stuff::Short,
                    Stuff::OfTheOther,
                    Stuff::Wrong,
                    Stuff::Nothing,
                ]),
            },
            5 => Self::Decline,
            6 => Self::Reflect(choices.below(64)),
            7 => Self::ForgeRefusal,
            8..=10 => Self::Order {
                payer: choices.pick(&Role::BOTH),
                ordered: choices.pick(&[
                    Ordered::Make,
                    Ordered::Make,
                    Ordered::PostAll,
                    Ordered::PostPart,
                    Ordered::Void,
                ]),
            },
            _ => Self::Call {
                action: choices.pick(&[
                    Action::Abort,
                    Action::Resolve,
                    Action::Deposit,
                    Action::Fetch,
                    Action::Query,
                    Action::Revoke,
                ]),
                agreement: choices.pick(&[None, Some(0), Some(0), Some(1)]),
                in_own_role: !choices.one_in(10),
                other_offer: choices.one_in(10),
                escrows: choices.pick(&[
                    Filed::Good,
                    Filed::Good,
                    Filed::Hollow,
                    Filed::Missing,
                    Filed::Strange,
                ]),
            },
        }
    }
}

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
                let with = if passes { "" } else { " with a false pledge" };
                self.tally.count(format!("cheat: {what} sent"));
                let beside = self.beside(cheater, exchange, passes);
                let message = Message::Statement(opening(template, which), beside);
                self.send(victim, message, &format!("{what}{with}"));
            }
            Cheat::Item { agreement, in_own_role, content } => {
                let sender = if in_own_role { own } else { own.peer() };
                let paid = template.terms.of(sender).is_some();
                let good = match paid {
                    true => self.receipt_of(cheater, exchange, sender),
                    false => self.content(exchange, sender),
                };
                let wrong = Some(Content::Known(OTHER_CONTENT));
                let spoilt = template.spoilt.of(sender).map(|it| it.map(Content::Known));
                let [almost, short] = spoilt.map_or([good.clone(), good.clone()], |it| it.map(Some));
                // What is a signature in itself differs in itself.
                let altered = good.is_none() && matches!(content, Stuff::Almost | Stuff::Short);
                let content = match content {
                    Stuff::Good => good.clone(),
                    Stuff::Almost => almost,
                    Stuff::Short => short,
                    Stuff::OfTheOther => self.content(exchange, sender.peer()).or(wrong),
                    // As it stands now.
                    Stuff::Wrong if paid => self.receipt_now(exchange, sender),
                    Stuff::Wrong => wrong,
                    Stuff::Nothing => None,
                };
                let fits = content == good && !altered;
                let what = if fits { "an item" } else { "an item that does not fit" };
                self.tally.count(format!("{} cheat: {what} sent", family(kind)));
                let key = TransferKey { exchange, kind, agreement, sender, signer: cheater, altered };
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
                let (kinds, set_aside) = (self.setup.kinds, self.words_said(filed));
                self.file(CaseKey {
                    kinds,
                    exchange,
                    filed,
                    agreement,
                    role,
                    action,
                    signer: cheater,
                    escrows,
                    set_aside,
                });
            }
        }
    }
}
