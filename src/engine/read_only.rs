//! Only reads: what is left when the store is not what was signed before (R-523).
//!
//! ```text
//!  Running ─┬─ a mark knows more, at the start ─┐
//!           └─ the scrub finds damage ──────────┴─▶ ReadOnly ─▶ Ended
//! ```
//!
//! Invariants: there is no way back to Running in this process; nothing is decided, committed or signed; the reason is told
//! again every minute by who serves.

use std::sync::atomic::Ordering;

use arbiter_protocol::evidence::note::{Note, VerifierKey, signature_line};
use arbiter_protocol::ids::Digest;
use thiserror::Error;

use super::release::lock;
use super::{Ended, EngineError, Handle, Published, Shared, State};
use crate::fsck::Rehash;

/// Why only reads are served, and what readers are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOnly {
    /// Why.
    pub why: Why,
    /// The newest signed note that is known.
    pub note: Option<String>,
}

/// Why nothing may be signed. The operator has to act: `docs/durability.md`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Why {
    /// A stored leaf or node is not what was hashed.
    #[error(
        "leaf {index} of the log is damaged: {problem}. Stop, check the disk and run arbiter fsck; then put the data folder \
         back from a copy, and let the journal or arbiter restore bring it up to date"
    )]
    Damaged {
        /// The first leaf that is damaged, or whose node is.
        index: u64,
        /// How.
        problem: String,
    },
    /// Others saw another history of this log.
    #[error(
        "the log was forked: by {mark} its first {size} leaves have root {known}, here they have {root}. Never go on with \
         this data folder: find the right one"
    )]
    Forked {
        /// Who knows.
        mark: String,
        /// Of how many leaves.
        size: u64,
        /// The root that is known.
        known: Digest,
        /// The root here.
        root: Digest,
    },
    /// Others saw more of this log than there is.
    #[error(
        "the log was rolled back: {mark} knows {known} leaves, here are {size}. Find the newest data folder, or put the \
         missing leaves back with arbiter restore"
    )]
    RolledBack {
        /// Who knows.
        mark: String,
        /// How many.
        known: u64,
        /// How many there are.
        size: u64,
    },
}

impl Handle {
    /// Hashes the next leaves of the log again; at most `count`, none at the end of the log. `Err`: what is damaged.
    pub(crate) fn scrub(&self, rehash: &mut Rehash, count: usize) -> Result<usize, Why> {
        let Published { size, root, .. } = self.shared.published();
        let damaged = |rehash: &Rehash, problem: String| Why::Damaged { index: rehash.size(), problem };
        let done = rehash.advance(&*self.shared.store, count, size);
        let done = done.map_err(|problem| damaged(rehash, problem.to_string()))?;
        self.shared.tally.scrubbed.fetch_add(u64::try_from(done).unwrap_or(u64::MAX), Ordering::Relaxed);
        if rehash.size() == size && rehash.root() != root {
            return Err(damaged(
                rehash,
                String::from("the leaves before it do not give the root that was signed"),
            ));
        }
        Ok(done)
    }

    /// Why only reads are served, if so.
    pub fn read_only(&self) -> Option<&ReadOnly> {
        self.shared.read_only.get()
    }

    /// Waits until only reads are served; for ever, if that never comes.
    pub async fn turned_read_only(&self) -> &ReadOnly {
        let mut state = self.shared.state.subscribe();
        loop {
            if let Some(read_only) = self.read_only() {
                return read_only;
            }
            if state.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// From now on only reads are served. What is being committed still is; it is not answered any more.
    pub fn turn_read_only(&self, why: Why) {
        let shared = &self.shared;
        tracing::error!(%why, rule = "R-523", "ALARM: only reads are served from now on");
        // The first reason stays.
        let _ = shared.read_only.set(ReadOnly { why, note: shared.newest_note() });
        shared.state.send_if_modified(|state| {
            let running = *state == State::Running;
            if running {
                *state = State::ReadOnly;
            }
            running
        });
    }
}

impl Shared {
    /// Whether anything may be decided or signed.
    pub(super) fn writable(&self) -> Result<(), EngineError> {
        if self.read_only.get().is_some() {
            self.tally.refused_read_only.fetch_add(1, Ordering::Relaxed);
            return Err(EngineError::ReadOnly);
        }
        Ok(())
    }

    /// An engine that could only be read from the start has no writer that could say that it has ended.
    pub(super) fn end_without_writer(&self) {
        if self.writerless {
            self.state.send_replace(State::Ended(Ended::Stopped));
        }
    }

    /// The checkpoint that was signed last: the same text and signature again.
    fn newest_note(&self) -> Option<String> {
        let (text, signature) = lock(&self.checkpoints).clone()?;
        let key = VerifierKey::new(self.desk.arbiter.log_origin.as_str(), self.desk.arbiter.log_key).ok()?;
        let note = Note::new(String::from_utf8(text).ok()?, vec![signature_line(&key, signature)]);
        note.ok().map(|note| note.to_string())
    }
}
