//! The screen where money changes hands, or the arbiter sees both items: P3, P4, P5, and P2 with a payment.
//!
//! ```text
//!  amount, accounts, hold ─▶ what leaves, what can come back, until when, on whose word
//! ```
//!
//! Invariant: an amount is shown as it is signed, with every digit, and never rounded or converted.

use arbiter_protocol::exchange::payment::Payment;
use arbiter_protocol::exchange::selection::{Protocol, Role};

use super::View;
use crate::plain;

impl View<'_> {
    /// What a payment is, what can come back, and until when.
    pub(super) fn payment(&self, role: Role, it: &Payment) -> Vec<String> {
        let ours = role == self.role;
        let (your, their) = if ours { ("your", "their") } else { ("their", "your") };
        let mut lines = vec![
            format!("{}, exactly this amount", it.amount),
            format!("from {your} account {}", it.payer),
            format!("to {their} account {}", it.payee),
            format!("on ledger {}", it.ledger),
        ];
        let back = match (it.hold, self.offer.selection.protocol) {
            (None, _) => "Paid at once. Nothing of it can come back.".to_owned(),
            (Some(hold), _) if it.is_generatable() => Self::set_aside(ours, hold),
            (Some(hold), Protocol::RevokeOnSilence | Protocol::MutualRollback) => format!(
                "Held on the ledger first. All of it can come back to {} until {}; then it is final. Never a part of it.",
                if ours { "you" } else { "them" },
                plain::time(hold.until)
            ),
            (Some(hold), _) => format!(
                "Held on the ledger until {}, then final. No verdict of this exchange returns it.",
                plain::time(hold.until)
            ),
        };
        lines.extend(super::words(&back));
        lines
    }

    fn is_payment(&self, role: Role) -> bool {
        !self.offer.item(role).description.payments().is_empty()
    }

    /// What somebody gives, in a word or two.
    pub(super) fn thing(&self, role: Role) -> &'static str {
        plain::thing(self.offer.item(role))
    }

    pub(super) fn is_package(&self, role: Role) -> bool {
        self.offer.item(role).leaves().len() > 1
    }

    fn send_by(&self) -> String {
        self.offer.send_by.map_or_else(|| "the deadline".to_owned(), plain::time)
    }

    fn held_until(&self, role: Role) -> String {
        let payments = self.offer.item(role).description.payments();
        let hold = payments.iter().filter_map(|it| it.hold).max_by_key(|hold| hold.until);
        hold.map_or_else(|| "the end of the hold".to_owned(), |hold| plain::time(hold.until))
    }

    /// When things are due, beside the deadline itself.
    pub(super) fn due(&self) -> String {
        match (self.offer.selection.protocol, self.first()) {
            (Protocol::RevokeOnSilence, true) => format!(
                "Their {} is due before {}. Then you can have your money back; keep this program running.",
                self.thing(self.role.peer()),
                self.send_by()
            ),
            (Protocol::RevokeOnSilence, false) => format!(
                "Your {} must be with them or with the arbiter before {}; keep this program running until their money is \
                 yours.",
                self.thing(self.role),
                self.send_by()
            ),
            (Protocol::MutualRollback, _) => {
                "Until then either side can have both payments returned. Only after the holds have ended is anything \
                 final; keep this program running."
                    .to_owned()
            }
            (Protocol::Affidavit, true) => {
                "Then the arbiter signs what it has; keep this program running until then.".to_owned()
            }
            (Protocol::Affidavit, false) => {
                "If nothing has come by then, this program has the exchange ended.".to_owned()
            }
            _ => "Until then everything must be with the arbiter; keep this program running.".to_owned(),
        }
    }

    pub(super) fn money_if_they_stop(&self) -> String {
        if self.is_reserved() {
            return self.reserved_if_they_stop();
        }
        let (ours, theirs) = (self.thing(self.role), self.thing(self.role.peer()));
        match (self.offer.selection.protocol, self.first()) {
            (Protocol::VerifyThenGenerate, true) => format!(
                "If the money was paid and nothing comes back, this program gives the ledger's receipt to the arbiter in \
                 time, and {}.",
                self.got()
            ),
            (Protocol::VerifyThenGenerate, false) => format!(
                "If the money does not come, you give nothing; after the deadline the arbiter ends the exchange for good, \
                 and {}.",
                self.never()
            ),
            (Protocol::RevokeOnSilence, true) => format!(
                "If their {theirs} does not come in time, this program asks the arbiter. You get their {theirs} from it, if \
                 they left it there; if not, it orders the ledger to return all your money."
            ),
            (Protocol::RevokeOnSilence, false) => format!(
                "If no money is held for you, you give nothing. If you have given your {ours} and the money is not yours \
                 yet, this program leaves the {ours} with the arbiter in time, and then nobody can take the money back."
            ),
            (Protocol::MutualRollback, _) => {
                "If their money is not held for you in time, this program has both payments returned."
                    .to_owned()
            }
            (Protocol::Affidavit, true) => format!(
                "NOTHING BRINGS YOU THEIR {}. You get a statement signed by the arbiter that it had your {ours} in time, and \
                 not theirs. Agree only if that is enough for you, or for a court.",
                theirs.to_uppercase()
            ),
            (Protocol::Affidavit, false) => {
                format!(
                    "If their {theirs} does not come, you give nothing, and after the deadline the exchange is ended."
                )
            }
            _ => format!(
                "If they leave no {theirs} with the arbiter before the deadline, the exchange is ended and your {ours} is \
                 given to nobody."
            ),
        }
    }

    pub(super) fn money_if_you_stop(&self) -> String {
        if self.is_reserved() {
            return self.reserved_if_you_stop();
        }
        let ours = self.thing(self.role);
        match (self.offer.selection.protocol, self.first()) {
            (Protocol::VerifyThenGenerate, true) => {
                format!(
                    "Before the money is paid: nobody gets anything. After: they have the money, and if this program does \
                     not complain before the deadline you may be left without their {}.",
                    self.thing(self.role.peer())
                )
            }
            (Protocol::VerifyThenGenerate, false) => {
                format!("They show the ledger's receipt to the arbiter, and then {}.", self.given())
            }
            (Protocol::RevokeOnSilence, true) => format!(
                "Before the money is held: nobody gets anything. After: it goes to them on {}, unless this program asks \
                 the arbiter for it before, whether or not you got anything.",
                self.held_until(self.role)
            ),
            (Protocol::RevokeOnSilence, false) => format!(
                "They get their money back after {}. If they have your {ours} then and this program did not leave it with \
                 the arbiter as well, you may be left without the money.",
                self.send_by()
            ),
            (Protocol::MutualRollback, _) => format!(
                "They can have both payments returned before the deadline. After it yours goes to them on {}, and theirs \
                 to you.",
                self.held_until(self.role)
            ),
            (Protocol::Affidavit, true) => {
                format!(
                    "Before your {ours} is out: nobody gets anything. After: they have it, and you have no proof."
                )
            }
            (Protocol::Affidavit, false) => {
                "They may have it signed by the arbiter that it had their item and not yours.".to_owned()
            }
            _ => format!(
                "If your {ours} is not with the arbiter before the deadline, the exchange is ended and nobody gets anything."
            ),
        }
    }

    pub(super) fn money_arbiter_can(&self) -> &'static str {
        if self.is_reserved() {
            return self.reserved_arbiter_can();
        }
        match (self.offer.selection.protocol, self.sealed(self.role.peer()), self.sealed(self.role)) {
            (Protocol::VerifyThenGenerate, None, None) => {
                "check the ledger's receipt against what was agreed, and declare by a signed, logged verdict that the \
                 signature counts as given; or end the exchange. Nothing else. It cannot return the money. It sees amount \
                 and accounts only if somebody complains."
            }
            (Protocol::VerifyThenGenerate, _, _) => {
                "check the ledger's receipt against what was agreed, and open the sealed signature, with a signed, logged \
                 verdict; or end the exchange. Nothing else. It cannot return the money. It sees amount and accounts only \
                 if somebody complains."
            }
            (Protocol::RevokeOnSilence, _, _) => {
                "by a signed, logged verdict: order the ledger to return the money that is held, all of it and only to the \
                 account it came from; or give out what was left with it, and then the money stands. Nothing else. It can \
                 never pay anybody. It is asked only if somebody stops, and sees only then what is exchanged."
            }
            (Protocol::MutualRollback, _, _) => {
                "by a signed, logged verdict: order the ledgers to return both payments, never only one, each to the account \
                 it came from. Nothing else. It can never pay anybody. It is asked only if somebody stops."
            }
            (Protocol::Affidavit, _, _) => {
                "take what each leaves with it, check it against its description, and either give out both or sign at the \
                 deadline which of them it had. IT CANNOT RESTORE FAIRNESS. It sees what is left with it."
            }
            _ if Role::BOTH.into_iter().any(|role| self.is_package(role)) => {
                "THE ARBITER SEES EVERY FILE: this exchange goes through it. It checks each against its description, and gives \
                 out all by a signed, logged verdict, or none. Nothing else. It keeps them sealed to the receiver."
            }
            _ => {
                "THE ARBITER SEES BOTH FILES: this exchange goes through it. It checks each against its description, and \
                 gives out both by a signed, logged verdict, or neither. Nothing else. It keeps them sealed to the receiver."
            }
        }
    }

    pub(super) fn money_not_undone(&self) -> String {
        if self.is_reserved() {
            return self.reserved_not_undone();
        }
        match (self.offer.selection.protocol, self.first()) {
            (Protocol::VerifyThenGenerate, true) => {
                "When the money is paid it is theirs. Only their signature can be had for it.".to_owned()
            }
            (Protocol::VerifyThenGenerate, false) => {
                "When you accept, your signature counts as given as soon as you, or the arbiter for you, can see that you \
                 were paid."
                    .to_owned()
            }
            (Protocol::RevokeOnSilence, true) => format!(
                "When the money is held you cannot use it. When their {} is here, this program gives the money to them for \
                 good.",
                self.thing(self.role.peer())
            ),
            (Protocol::RevokeOnSilence, false) => {
                let thing = self.thing(self.role);
                if self.is_payment(self.role) {
                    "When you have paid, your money is theirs; theirs is yours as soon as it is final.".to_owned()
                } else {
                    format!("When your {thing} is sent they can read it. It cannot be called back.")
                }
            }
            (Protocol::MutualRollback, _) => "When your money is held you cannot use it until this is decided.".to_owned(),
            (Protocol::Affidavit, _) => {
                format!("When your {} is out it is theirs, whatever they do.", self.thing(self.role))
            }
            _ => format!(
                "When your {} is with the arbiter, the arbiter has read it. It cannot be called back there.",
                self.thing(self.role)
            ),
        }
    }

    /// Whether the words for money apply, or for both items going through the arbiter.
    pub(super) fn is_about_money(&self) -> bool {
        !self.offer.selection.protocol.generates() || Role::BOTH.into_iter().any(|role| self.is_payment(role))
    }
}
