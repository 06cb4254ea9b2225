//! The screen where an item is given for nothing (T, R-210).
//!
//! ```text
//!  who gives, what the item is ─▶ what leaves at once, what the other can do with it, that nobody helps
//! ```

use super::{Section, View, words};
use crate::explain;

impl View<'_> {
    /// Everything that follows when nothing is given in return.
    pub(super) fn one_way(&self) -> Vec<Section> {
        let gives = !self.first();
        let (thing, theirs) = (self.thing(self.role), self.thing(self.role.peer()));
        let paid = self.offer.item(self.role).description.payment().is_some();
        let until = "No deadline. Either side can stop waiting at any time.".to_owned();
        let [they_stop, you_stop, bound] = match (gives, paid) {
            (true, false) => [
                format!(
                    "Before they accept: nothing leaves. After: your {thing} is sent, for nothing, all the same."
                ),
                format!("They do not get your {thing}. Nobody can make you give it."),
                format!("As soon as they accept, your {thing} is sent. It cannot be called back."),
            ],
            (true, true) => [
                "Before they accept: nothing is paid. After: the money is theirs, for nothing, all the same."
                    .to_owned(),
                "Before the ledger has your order: nothing is paid. After: the money is theirs.".to_owned(),
                "As soon as they accept, the ledger is ordered to pay. It cannot be called back.".to_owned(),
            ],
            (false, _) => [
                format!("You do not get their {theirs}, and nobody can make them give it. You owe nothing."),
                "You get nothing, unless it was sent already. You owe nothing.".to_owned(),
                format!(
                    "Your signature says that you asked for their {theirs}. It binds you to nothing else."
                ),
            ],
        };
        let nobody = "do nothing here: there is no fairness to restore, and nothing to complain about.";
        let arbiter = [vec![explain::arbiter(&self.offer.arbiter)], words(nobody)].concat();
        vec![
            Section { title: "Until when", lines: words(&until) },
            Section { title: "If they stop", lines: words(&they_stop) },
            Section { title: "If you stop", lines: words(&you_stop) },
            Section { title: "The arbiter can", lines: arbiter },
            Section { title: "Cannot be undone after this", lines: words(&bound) },
        ]
    }
}
