//! What the arbiter logs beside rulings: that it destroyed something, and what it says of itself.
//!
//! ```text
//!  exchange that is over ── erase(reason) ──▶ leaf `erasure`, the last of its chain    R-533
//!  Notice ──────────────── note ───────────▶ leaf of the log itself                    R-535, R-536, R-537
//! ```
//! Such leaves commit to an empty record: event, rule and token say everything. Tokens are digests of what others sign or
//! the operator publishes, or follow from a closed set.

use thiserror::Error;

use crate::evidence::leaf::{Event, Pseudonym};
use crate::ids::{Digest, ExchangeId, LeafIndex};
use crate::ruling::sequencer::ContentId;
use crate::time::{DurationMillis, UnixMillis};

/// Why what is kept about an exchange is destroyed: the operator's word, from a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErasureReason {
    /// A court or authority ordered it.
    Order,
    /// A person whose data it is asked for it.
    Request,
    /// The time for which records are kept is over.
    Retention,
}

impl ErasureReason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Order, Self::Request, Self::Retention];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Request => "request",
            Self::Retention => "retention",
        }
    }

    /// The token of the erasure leaf (R-533): whoever tries the reasons finds the one that was given.
    pub fn token(self, exchange: &Pseudonym) -> Digest {
        Digest::of(&[b"arbiter erasure v1\0", &exchange.0, self.name().as_bytes()])
    }
}

/// An exchange that a batch erases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erased {
    /// Which; `None` if only its leaves came back from an export (R-525), which name nobody.
    pub exchange: Option<ExchangeId>,
    /// What is left of its name.
    pub pseudonym: Pseudonym,
    /// Its last leaf, the erasure.
    pub leaf: LeafIndex,
    /// What was held for its parties.
    pub contents: Vec<ContentId>,
}

/// Why an exchange cannot be erased. The operator has to wait, or names the wrong one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotErasable {
    /// Nothing is recorded about it.
    #[error("nothing is recorded about this exchange")]
    Unknown,
    /// It is not over.
    #[error("the exchange has no verdict yet and may still get one: erase it after {after}")]
    NotOver {
        /// From when it counts as over.
        after: UnixMillis,
    },
    /// A request waits for its time.
    #[error("a request about this exchange waits for its time: let `serve` decide it first")]
    Standing,
    /// A ledger has not answered an order.
    #[error("a ledger has not answered an order about this exchange: let `serve` tell it first")]
    OrderOpen,
}

/// How long after its deadline an exchange without a verdict counts as over (R-533): 90 days.
pub const OVER_AFTER: DurationMillis = DurationMillis(90 * 24 * 3_600_000);

/// What the arbiter logs about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Digest of what somebody else signed about the log, such as an RFC 3161 token over a checkpoint (R-536).
    Anchor(Digest),
    /// Digest of the statement that names the successor (R-537).
    KeyRotation(Digest),
    /// Digest of what the operator declares from now on (R-535).
    PolicyChange(Digest),
}

impl Notice {
    pub(super) const fn parts(self) -> (Event, &'static str, Digest) {
        match self {
            Self::Anchor(token) => (Event::Anchor, "R-536", token),
            Self::KeyRotation(token) => (Event::KeyRotation, "R-537", token),
            Self::PolicyChange(token) => (Event::PolicyChange, "R-535", token),
        }
    }
}
