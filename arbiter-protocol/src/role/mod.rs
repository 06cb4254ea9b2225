//! The three roles as pure state machines. `SPEC.md` section 5 draws them.
//!
//! ```text
//!             Input (verified)                    Output (in order)
//!   peer ───────▶ ┌───────────┐ ──▶ SendOffer, SendAcceptance, SendItem
//!   arbiter ────▶ │  Session  │ ──▶ Ask(Abort | Resolve | Complain | Deposit | Revoke | Fetch)
//!   ledger ─────▶ │           │ ──▶ Observe, Release
//!   clock ──────▶ └───────────┘ ──▶ WakeAt, Done
//! ```
//!
//! # The driver's contract (R-301)
//!
//! > **Make `next` durable, then perform `outputs` in order. After a restart perform [`Session::resume`].**
//!
//! Every output may be performed more than once and every input may arrive more than once. The machine holds
//! no key, reads no clock and makes no randomness; the driver signs what the outputs name.

pub mod arbiter;
mod deadlines;
pub mod originator;
pub mod responder;
pub mod session;

pub use session::{Ask, Fit, Input, Outcome, Output, Phase, Session, Step, Timing};
