//! How the originator opens: it offers, and hears an acceptance.
//!
//! ```text
//!  offer ──▶ Offered ──acceptance──▶ (first sender) SendItem, Waiting   or   (second sender) Waiting
//!              │ silence                                    └ P2: too late to complain later ─▶ Asking(Abort)
//!              ▼
//!           P1, P2 first: Asking(Abort)      P2 second: wait for complain_by, then Asking(Abort)
//! ```

use crate::message::agreement::{Agreement, Offer};
use crate::role::session::{Opening, Phase, Session, Step, Timing};
use crate::statement::Verified;
use crate::time::UnixMillis;

use crate::exchange::kind::pledge::Pledged;
use crate::exchange::selection::Role;

impl Session {
    /// The originator's session for an offer it has signed.
    pub fn open(offer: Verified<Offer>, timing: Timing) -> Step {
        let next = Self {
            role: Role::Originator,
            opening: Opening::Offer(offer),
            sent: false,
            phase: Phase::Offered,
            timing,
        };
        let outputs = next.resume();
        Step { next, outputs }
    }

    /// The first acceptance of our offer makes the agreement; any other is ignored (attack K1), and so is one without the
    /// pledge that it owes (R-310).
    pub(super) fn accepted(&self, now: UnixMillis, agreement: Agreement, pledge: Option<&Pledged>) -> Step {
        if agreement.offer() != self.offer() || !self.is_safe_with(&agreement, pledge) {
            return self.stay([]);
        }
        self.agreed(now, agreement)
    }
}
