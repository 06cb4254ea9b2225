//! What counts as progress of the peer (F4).
//!
//! ```text
//!  said or heard for the first time, bytes beyond the furthest byte ─▶ progress ─▶ patience starts again
//!  a new connection, anything once more ────────────────────────────▶ nothing
//! ```
//!
//! Invariant: in one run there are only so many news as the exchange has statements and bytes, so a peer that
//! repeats itself or reconnects for ever cannot be waited for for ever.

use std::collections::BTreeSet;

use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::statement::Envelope;
use tokio::time::Instant;

/// Knows what was said and heard in this run, and when there was last something new.
pub(super) struct News {
    last: Instant,
    /// By signer and type: a peer can sign one statement in many ways.
    statements: BTreeSet<(PublicKey, String)>,
    given: u64,
    got: u64,
}

impl News {
    pub(super) fn new() -> Self {
        Self { last: Instant::now(), statements: BTreeSet::new(), given: 0, got: 0 }
    }

    /// When there was last something new.
    pub(super) const fn last(&self) -> Instant {
        self.last
    }

    /// Something new that happens once: an end, or the decision not to wait any longer.
    pub(super) fn now(&mut self) {
        self.last = Instant::now();
    }

    /// One of the few statements of this exchange, ours as it leaves or the peer's, verified.
    pub(super) fn statement(&mut self, envelope: &Envelope) {
        if self.statements.insert((envelope.key(), envelope.payload_type().to_owned())) {
            self.now();
        }
    }

    /// Our content left up to this byte.
    pub(super) fn given(&mut self, bytes: u64) {
        if bytes > self.given {
            self.given = bytes;
            self.now();
        }
    }

    /// The peer's content arrived up to this byte.
    pub(super) fn got(&mut self, bytes: u64) {
        if bytes > self.got {
            self.got = bytes;
            self.now();
        }
    }
}
