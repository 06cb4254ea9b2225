//! The screen where money is set aside first: P1 and P2 with a reserved payment.
//!
//! ```text
//!  what is set aside, who can have it paid, when it goes back ─▶ the same headings as everywhere
//! ```

use arbiter_protocol::exchange::payment::Hold;
use arbiter_protocol::exchange::selection::{Protocol, Role};

use super::View;
use crate::plain;

impl View<'_> {
    /// Whether money is set aside before anything is handed over.
    pub(super) fn is_reserved(&self) -> bool {
        Role::BOTH.into_iter().any(|role| self.reserves(role))
    }

    fn reserves(&self, role: Role) -> bool {
        self.offer.item(role).description.reservation().is_some()
    }

    /// What becomes of money that is set aside.
    pub(super) fn set_aside(ours: bool, hold: Hold) -> String {
        let (who, whose) = if ours { ("you", "yours") } else { ("they", "theirs") };
        format!(
            "Set aside on the ledger before anything is handed over. Paid, all of it, when {who} hand it over or when the \
             arbiter orders it. If neither happens it is {whose} again, on {} at the latest.",
            plain::time(hold.until)
        )
    }

    pub(super) fn reserved_if_they_stop(&self) -> String {
        let (got, never) = (self.got(), self.never());
        match (self.offer.selection.protocol, self.role, self.first()) {
            (Protocol::ContractSigning, Role::Originator, _) => {
                format!("Before they accept: this program has the exchange ended, and {never}. After: {got}.")
            }
            (Protocol::ContractSigning, Role::Responder, _) => {
                format!("Then {got}; or, if they ended it before you, nobody is bound and {never}.")
            }
            (_, _, true) => format!(
                "If the file was sent and no money comes, this program gives the file to the arbiter in time, and {got}."
            ),
            (_, _, false) => format!(
                "If the file does not come, you pay nothing; after the deadline the arbiter ends the exchange for good, and \
                 {never}."
            ),
        }
    }

    pub(super) fn reserved_if_you_stop(&self) -> String {
        let given = self.given();
        match (self.offer.selection.protocol, self.role, self.first()) {
            (Protocol::ContractSigning, Role::Originator, _) => {
                format!("Once they have accepted, {given}, even if you send nothing more.")
            }
            (Protocol::ContractSigning, Role::Responder, _) => {
                format!("Once you have accepted, {given}, even if you send nothing more.")
            }
            (_, _, true) => {
                "Before the file is sent: nobody gets anything. After: they have the file, and if this \
                             program does not complain before the deadline you may be left without the money."
                    .to_owned()
            }
            (_, _, false) => {
                format!("They give the file to the arbiter, and then {given}; you can fetch the file there.")
            }
        }
    }

    pub(super) fn reserved_arbiter_can(&self) -> &'static str {
        match self.offer.selection.protocol {
            Protocol::ContractSigning => {
                "by a signed, logged verdict: order the ledger to pay the money that is set aside, all of it and only to \
                 the account above, and give out or declare what is given for it; or end the exchange, and order the ledger \
                 to return the money to the account it came from. Nothing else. It is asked only if somebody stops, and \
                 sees only then what is exchanged."
            }
            _ => {
                "check the file against its description, keep it for the receiver, and by a signed, logged verdict order \
                 the ledger to pay the money that is set aside, all of it and only to the account above; or end the \
                 exchange, and order the ledger to return it to the account it came from. Nothing else. It sees the file \
                 only if somebody complains."
            }
        }
    }

    pub(super) fn reserved_not_undone(&self) -> String {
        let bound = match (self.offer.selection.protocol, self.role, self.first()) {
            (Protocol::ContractSigning, Role::Originator, _) => {
                "When they accept, you are bound unless the arbiter ended the exchange before."
            }
            (Protocol::ContractSigning, Role::Responder, _) => {
                "When you accept, you are bound as soon as they, or the arbiter for them, have given what is theirs."
            }
            (_, _, true) => "When the file is sent they can read it. It cannot be called back.",
            (_, _, false) => "When the file is with you, or the arbiter has it for you, the money is theirs.",
        };
        let aside = if self.reserves(self.role) {
            " Your money is set aside before anything else: you cannot use it until this is decided."
        } else {
            ""
        };
        format!("{bound}{aside}")
    }
}
