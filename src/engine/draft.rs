//! A content that no record names yet.
//!
//! ```text
//!  Draft::begin ─▶ put chunks, finish ─▶ filed ─┬─ keep: the engine removes it if no record names it
//!                                               └─ dropped, at any time: removed
//! ```

use arbiter_protocol::ruling::sequencer::ContentId;

use super::{EngineError, Handle};
use crate::store::ContentHead;

/// Stored content that no record names yet. Dropping it removes it.
pub struct Draft {
    engine: Handle,
    content: ContentId,
    kept: bool,
}

impl Draft {
    /// A new content with room for `size_bytes`, if everything that is held takes at most `most_bytes` then.
    pub fn begin(engine: Handle, size_bytes: u64, most_bytes: u64) -> Result<Self, EngineError> {
        let content = engine.new_content_id(size_bytes, most_bytes)?;
        Ok(Self { engine, content, kept: false })
    }

    /// Names the content.
    pub const fn content(&self) -> ContentId {
        self.content
    }

    /// Puts one sealed chunk.
    pub fn put(&self, chunk: u64, sealed: &[u8]) -> Result<(), EngineError> {
        self.engine.put_chunk(self.content, chunk, sealed)
    }

    /// Completes the content.
    pub fn finish(&self, head: &ContentHead) -> Result<(), EngineError> {
        self.engine.put_content(self.content, head)
    }

    /// The engine looks after the content from now on.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let (engine, content) = (self.engine.clone(), self.content);
        let remove = move || {
            if let Err(error) = engine.remove_content(content) {
                // The store removes it when it is opened again.
                tracing::warn!(%error, "could not remove a content that nobody will fetch");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}
