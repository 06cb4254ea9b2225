//! An engine without threads: a simulation takes the writer's turns itself, so that a schedule is the same each time.
//!
//! ```text
//!  Engine::start_by_hand ─▶ (Handle, Turner)      turn() = what the writer's thread does with what is queued
//! ```
//! Decide, commit and release are the code that serves; only who calls it, and when, is another. For tests only.

use std::sync::Arc;

use super::writer::{Turn, Writer};
use super::{Ended, Engine, Handle, StartError, State, start};
use crate::clock::Clock;
use crate::keys::Keys;
use crate::store::Store;
use arbiter_protocol::ruling::sequencer::Desk;

/// The writer of one engine.
pub struct Turner(Writer);

impl Engine {
    /// [`Engine::start`], but nothing is decided before [`Turner::turn`], and escrows are opened by who polls
    /// [`Handle::resolve`].
    pub fn start_by_hand(
        desk: Desk,
        keys: Keys,
        store: Arc<dyn Store>,
        clock: Box<dyn Clock>,
    ) -> Result<(Handle, Turner), StartError> {
        let (writer, handle) = start::prepare(desk, keys, store, clock, &[])?;
        handle.shared.benches.by_hand();
        Ok((handle, Turner(writer)))
    }
}

impl Turner {
    /// Decides all that is queued, commits once, and answers. `Some` when the engine has ended.
    pub fn turn(&mut self) -> Option<Ended> {
        let first = self.0.queue.try_recv().ok()?;
        let Turn::Ended(ended) = self.0.turn(first) else { return None };
        self.0.shared.state.send_replace(State::Ended(ended));
        Some(ended)
    }

    /// How many cases wait for the next turn.
    pub fn waiting(&self) -> usize {
        self.0.queue.len()
    }
}
