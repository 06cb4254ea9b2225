//! Names and room for contents: deposits, and signatures out of escrow.
//!
//! ```text
//!  begin ──▶ draft (its room is taken) ─┬─ a record names it ──▶ kept: the room stays taken
//!                                       └─ anything else ──────▶ removed: the room is free again
//! ```
//!
//! Invariants
//! - Names are `commits << 24 | n`: a start commits once, so no two runs share a number of commits.
//! - Room is counted in whole chunks, for drafts and for what is kept alike, before a byte is received.
//! - A draft whose removal failed keeps its room until the next start, which removes it.

use std::collections::BTreeMap;

use arbiter_protocol::limits;
use arbiter_protocol::ruling::sequencer::ContentId;

use super::EngineError;

/// Names between two commits.
const NAMES: u64 = 1 << 24;

/// The room that deposits take, and the names given since the newest commit.
#[derive(Debug, Default)]
pub(super) struct Contents {
    commits: u64,
    used: u64,
    /// Bytes taken by everything that is stored or on its way.
    held: u64,
    /// Of that, what each draft takes.
    drafts: BTreeMap<ContentId, u64>,
}

impl Contents {
    /// What a start finds: `chunks` are kept, nothing is on its way.
    pub(super) fn kept(chunks: u64) -> Self {
        Self { held: chunks.saturating_mul(CHUNK), ..Self::default() }
    }

    /// A new name, and room for `size_bytes` if all content together takes at most `most_bytes` then.
    pub(super) fn begin(
        &mut self,
        commits: u64,
        size_bytes: u64,
        most_bytes: u64,
    ) -> Result<ContentId, EngineError> {
        if self.commits < commits {
            (self.commits, self.used) = (commits, 0);
        }
        // Uploads that are cut off never commit: whoever begins that many waits for the next ruling.
        if self.used >= NAMES {
            return Err(EngineError::Overloaded);
        }
        let room = size_bytes.div_ceil(CHUNK).max(1).saturating_mul(CHUNK);
        let held = self.held.saturating_add(room);
        if held > most_bytes {
            return Err(EngineError::Full { size_bytes, held: self.held, maximum: most_bytes });
        }
        let id = self.commits.checked_mul(NAMES).and_then(|base| base.checked_add(self.used));
        let id = ContentId(id.expect("invariant: fewer than 2^40 commits"));
        self.used = self.used.saturating_add(1);
        self.held = held;
        self.drafts.insert(id, room);
        Ok(id)
    }

    /// A record names it.
    pub(super) fn keep(&mut self, content: ContentId) {
        self.drafts.remove(&content);
    }

    /// It is gone from the store.
    pub(super) fn removed(&mut self, content: ContentId) {
        let room = self.drafts.remove(&content).unwrap_or_default();
        self.held = self.held.saturating_sub(room);
    }
}

/// 64 KiB: what one chunk counts.
const CHUNK: u64 = 65_536;
const _: () = assert!(limits::CHUNK_BYTES == 65_536);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail")]
mod tests {
    use super::*;

    #[test]
    fn names_end_with_an_error_and_come_back_with_a_commit() {
        let mut contents = Contents { commits: 3, used: NAMES - 1, ..Contents::default() };
        let mut begin = |commits| contents.begin(commits, 1, u64::MAX);
        assert_eq!(begin(3), Ok(ContentId((4 << 24) - 1)));
        for _ in 0..3 {
            assert_eq!(begin(3), Err(EngineError::Overloaded));
        }
        assert_eq!(begin(4), Ok(ContentId(4 << 24)));
        assert_eq!(begin(4), Ok(ContentId((4 << 24) + 1)));
        // A commit that another thread saw earlier changes nothing.
        assert_eq!(begin(3), Ok(ContentId((4 << 24) + 2)));
    }

    #[test]
    fn room_is_taken_in_whole_chunks_and_given_back_once() {
        let mut contents = Contents::kept(2);
        let most = 4 * CHUNK;
        let one = contents.begin(1, 1, most).unwrap();
        let two = contents.begin(1, CHUNK, most).unwrap();
        let full = |size_bytes| Err(EngineError::Full { size_bytes, held: most, maximum: most });
        assert_eq!(contents.begin(1, 1, most), full(1));
        assert_eq!(contents.begin(1, u64::MAX, most), full(u64::MAX));
        contents.keep(one);
        contents.removed(one);
        assert_eq!(contents.begin(1, 1, most), full(1), "what is kept keeps its room");
        contents.removed(two);
        contents.removed(two);
        assert!(contents.begin(1, CHUNK + 1, most).is_err());
        assert!(contents.begin(1, CHUNK, most).is_ok());
        assert_eq!(contents.begin(1, 1, most), full(1));
    }
}
