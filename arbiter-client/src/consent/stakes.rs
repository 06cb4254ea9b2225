//! What the arbiter does about an item, in words: for us, for them, and not any more after an abort.

use arbiter_protocol::exchange::item::Description;

use super::View;

impl View<'_> {
    /// What the arbiter does for us.
    pub(super) fn got(&self) -> &'static str {
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
            Description::Nothing => "you get nothing", // Nobody sets money aside for a gift.
        }
    }

    /// What the arbiter does for them.
    pub(super) fn given(&self) -> &'static str {
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

    /// How we stand when the arbiter has ended the exchange.
    pub(super) fn never(&self) -> &'static str {
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
}
