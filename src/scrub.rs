//! The scrub: hashes the whole log again, slowly and for ever, so that damage is found before somebody asks for it (R-524).
//!
//! ```text
//!  every second: the next leaves ─▶ hash ─▶ the stored nodes, at the end the root ─▶ the next second
//!                                     └─ differs ─▶ the index in an error line, only reads are served (R-523)
//! ```
//!
//! Invariants: at most so many leaves a second as the setting says; a short log is not read more than once a minute.

use std::time::Duration;

use crate::engine::{EngineError, Handle, blocking};
use crate::fsck::Rehash;

/// Leaves read at a time.
const PAGE: u64 = 512;
/// The pause between seconds of work.
const TICK: Duration = Duration::from_secs(1);
/// From the end of a pass to the next.
const PAUSE: Duration = Duration::from_secs(60);

/// Runs until it is dropped, the engine has ended, or damage was found.
pub async fn run(engine: Handle, leaves_per_second: u64) {
    let mut rehash = Rehash::default();
    loop {
        let reader = engine.clone();
        let worked = blocking(move || Ok::<_, EngineError>(work(&reader, rehash, leaves_per_second))).await;
        let Ok((next, found)) = worked else { return };
        match found {
            Err(why) => return engine.turn_read_only(why),
            Ok(true) => {
                rehash = next;
                tokio::time::sleep(TICK).await;
            }
            Ok(false) => {
                tracing::debug!(leaves = next.size(), root = %next.root(), "the whole log was hashed again");
                rehash = Rehash::default();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// One second's leaves; `true` if there are more.
fn work(engine: &Handle, mut rehash: Rehash, leaves: u64) -> (Rehash, Result<bool, crate::engine::Why>) {
    let mut left = leaves;
    while left > 0 {
        let count = usize::try_from(left.min(PAGE)).unwrap_or(usize::MAX);
        match engine.scrub(&mut rehash, count) {
            Ok(0) => return (rehash, Ok(false)),
            Ok(done) => left = left.saturating_sub(u64::try_from(done).unwrap_or(u64::MAX)),
            Err(why) => return (rehash, Err(why)),
        }
    }
    (rehash, Ok(true))
}
