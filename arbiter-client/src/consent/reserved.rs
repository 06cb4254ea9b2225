//! The screen where money is set aside first: P1 and P2 with a reserved payment.
//!
//! ```text
//!  what is set aside, who can have it paid, when it goes back ─▶ the same headings as everywhere
//! ```

use arbiter_protocol::exchange::item::Description;
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

    /// What the arbiter does for us.
    fn wins(&self) -> &'static str {
        let item = &self.offer.item(self.role.peer()).description;
        match item {
            Description::Payment(_) => {
                "the arbiter orders the ledger to pay you the money that they have set aside"
            }
            Description::DetachedSignature(_) => {
                "the arbiter opens their sealed signature and gives it to you"
            }
            several if !several.detached_leaves().is_empty() => {
                "the arbiter opens their sealed signatures and gives them to you"
            }
            Description::Package(_) if item.is_content() => {
                "the arbiter gives you the files that they left with it"
            }
            Description::Package(_) => "the arbiter's verdict stands for their signatures",
            Description::Information(_) => "the arbiter gives you the file that they left with it",
            Description::Signature(_) => "the arbiter's verdict stands for their signature",
            Description::Nothing => "you get nothing", // Nobody sets money aside for a gift (R-210).
        }
    }

    /// What the arbiter does for them.
    fn loses(&self) -> &'static str {
        let item = &self.offer.item(self.role).description;
        match item {
            Description::Payment(_) => "the arbiter can have the money that you have set aside paid to them",
            Description::DetachedSignature(_) => {
                "the arbiter can open your sealed signature and give it to them"
            }
            several if !several.detached_leaves().is_empty() => {
                "the arbiter can open your sealed signatures and give them to them"
            }
            Description::Package(_) if item.is_content() => "they have your files",
            Description::Package(_) => "they can get a verdict that stands for your signatures",
            Description::Information(_) => "they have your file",
            Description::Signature(_) => "they can get a verdict that stands for your signature",
            Description::Nothing => "they get nothing",
        }
    }

    /// How we stand when the exchange is ended.
    fn keeps(&self) -> &'static str {
        let item = &self.offer.item(self.role).description;
        match item {
            Description::Payment(_) => "all your money is yours again",
            Description::DetachedSignature(_) => "your sealed signature is never opened",
            several if !several.detached_leaves().is_empty() => "your sealed signatures are never opened",
            Description::Package(_) if item.is_content() => "your files are given to nobody",
            Description::Package(_) => "your signatures can never be replaced",
            Description::Information(_) => "your file is given to nobody",
            Description::Signature(_) => "your signature can never be replaced",
            Description::Nothing => "you keep what you have",
        }
    }

    pub(super) fn reserved_if_they_stop(&self) -> String {
        let (wins, keeps) = (self.wins(), self.keeps());
        match (self.offer.selection.protocol, self.role, self.first()) {
            (Protocol::ContractSigning, Role::Originator, _) => {
                format!(
                    "Before they accept: this program has the exchange ended, and {keeps}. After: {wins}."
                )
            }
            (Protocol::ContractSigning, Role::Responder, _) => {
                format!("Then {wins}; or, if they ended it before you, nobody is bound and {keeps}.")
            }
            (_, _, true) => format!(
                "If the file was sent and no money comes, this program gives the file to the arbiter in time, and {wins}."
            ),
            (_, _, false) => format!(
                "If the file does not come, you pay nothing; after the deadline the arbiter ends the exchange for good, and \
                 {keeps}."
            ),
        }
    }

    pub(super) fn reserved_if_you_stop(&self) -> String {
        let loses = self.loses();
        match (self.offer.selection.protocol, self.role, self.first()) {
            (Protocol::ContractSigning, Role::Originator, _) => {
                format!("Once they have accepted, {loses}, even if you send nothing more.")
            }
            (Protocol::ContractSigning, Role::Responder, _) => {
                format!("Once you have accepted, {loses}, even if you send nothing more.")
            }
            (_, _, true) => {
                "Before the file is sent: nobody gets anything. After: they have the file, and if this \
                             program does not complain before the deadline you may be left without the money."
                    .to_owned()
            }
            (_, _, false) => {
                format!("They give the file to the arbiter, and then {loses}; you can fetch the file there.")
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
