//! How the responder opens: it accepts an offer, or does nothing at all.
//!
//! ```text
//!  offer ──accept──▶ SendAcceptance ──▶ (first sender) SendItem, Waiting   or   (second sender) Waiting
//! ```
//! A responder that does not accept owes nothing and needs nothing: it never aborts.

use crate::error::Refused;
use crate::exchange::kind::pledge::{self, Pledged};
use crate::exchange::selection::Role;
use crate::message::agreement::Agreement;
use crate::role::session::{Opening, Phase, Session, Step, Timing};
use crate::time::UnixMillis;

impl Session {
    /// The responder's session for an acceptance it has signed.
    ///
    /// Refused if too little time is left for the deadline that protects the first sender (R-304, R-312), or if the
    /// originator's item is not pledged although it should be (R-310); then the acceptance must not leave.
    pub fn accept(
        agreement: Agreement,
        pledge: Option<&Pledged>,
        now: UnixMillis,
        timing: Timing,
    ) -> Result<Step, Refused> {
        let opened = Self {
            role: Role::Responder,
            opening: Opening::Agreement(agreement.clone()),
            sent: false,
            phase: Phase::Waiting,
            timing,
        };
        if !opened.has_time_to_complain(now) {
            return Err(Refused::DeadlineMismatch);
        }
        if !opened.is_safe_with(&agreement, pledge) {
            return Err(pledge::missing(agreement.offer(), Role::Originator));
        }
        Ok(opened.agreed(now, agreement))
    }
}
