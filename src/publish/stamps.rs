//! Time-stamps over the published checkpoint: the arbiter asks an authority by itself (RFC 3161), and logs what it says (R-547).
//!
//! ```text
//!  log grew, interval over ─▶ published checkpoint ─▶ authority ─▶ token, verified ─▶ kept ─▶ leaf `anchor`
//!        ▲                    (with a quorum, if one comes soon)      │
//!        └──────────── away, refuses, lies: wait 1 s, doubled up to 10 min, counted and told
//! ```
//!
//! Invariants
//! - Nothing waits for it: it reads what is published, and asks on a thread of its own.
//! - A token is kept and logged only if it is over the checkpoint asked about, answers this very request, and leads to the
//!   certificates that the operator trusts.
//! - A log with nothing new but its own anchors is left alone.

mod authority;

use std::sync::Arc;
use std::time::Duration;

use arbiter_protocol::evidence::anchor::{Anchor, AnchorError};
use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::evidence::leaf::{Event, Leaf};
use arbiter_protocol::ids::LeafIndex;
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use arbiter_protocol::timestamp::Stamped;
use thiserror::Error;
use tokio::time::{Instant, sleep_until};

use super::Published;
use crate::anchors::{Anchors, AnchorsError};
use crate::engine::{EngineError, Handle, blocking};
use crate::store::By;
use authority::Failure;

pub use authority::Authority;

/// After a first failure the authority is left alone for so long; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// At most.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// How long a quorum of witnesses is waited for before a checkpoint without one is stamped.
const QUORUM_WITHIN: Duration = Duration::from_secs(10);
/// Authorities count whole seconds.
const TICK: DurationMillis = DurationMillis(1000);

/// Why there is no anchor. It is tried again.
#[derive(Debug, Error)]
enum Trouble {
    #[error("{0}")]
    Authority(#[from] Failure),
    #[error("the token does not fit: {0}")]
    Form(#[from] AnchorError),
    #[error("{0}")]
    Kept(#[from] AnchorsError),
    #[error("{0}")]
    Engine(#[from] EngineError),
}

/// Asks for time-stamps, as long as there is something to stamp.
pub struct Stamper {
    engine: Handle,
    published: Published,
    anchors: Arc<Anchors>,
    authority: Arc<Authority>,
    /// At least this long from one time-stamp to the next.
    interval: Duration,
    /// What of the log needs no time-stamp any more: leaves before this one have one, or are anchors.
    covered: u64,
    pause: Duration,
    /// The trouble that was told last: each is one line, not one a try.
    told: Option<String>,
}

impl Stamper {
    /// Nothing is asked before [`Stamper::run`].
    pub const fn new(
        engine: Handle,
        published: Published,
        anchors: Arc<Anchors>,
        authority: Arc<Authority>,
        interval: Duration,
    ) -> Self {
        let (covered, pause, told) = (0, FIRST_PAUSE, None);
        Self { engine, published, anchors, authority, interval, covered, pause, told }
    }

    /// Until nothing is published any more, or can be logged any more.
    pub async fn run(mut self) {
        let (engine, anchors) = (self.engine.clone(), Arc::clone(&self.anchors));
        let newest = blocking(move || newest(&engine, &anchors)).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the last time-stamp cannot be found: a new one is asked for");
            None
        });
        let mut next = Instant::now();
        if let Some((covered, time)) = newest {
            self.covered = covered;
            let age = Duration::from_millis(self.engine.now().0.saturating_sub(time.0));
            next += self.interval.saturating_sub(age);
        }
        while self.engine.read_only().is_none() && self.published.covers(self.covered).await {
            sleep_until(next).await;
            let quorum = |it: &SignedCheckpoint| self.published.quorum(it);
            let (checkpoint, _) = self.published.covering(self.covered, QUORUM_WITHIN, quorum).await;
            match self.stamp(&checkpoint).await {
                Ok(()) => next = Instant::now() + self.interval,
                Err(Trouble::Engine(EngineError::Stopped | EngineError::ReadOnly)) => return,
                Err(trouble) => {
                    self.away(&trouble);
                    next = Instant::now() + self.pause;
                    self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn stamp(&mut self, checkpoint: &SignedCheckpoint) -> Result<(), Trouble> {
        let (authority, asked) = (Arc::clone(&self.authority), checkpoint.clone());
        let before = self.engine.now();
        let stamped = tokio::task::spawn_blocking(move || authority.stamp(&asked)).await;
        let (token, said) = stamped.map_err(|_| EngineError::Stopped)??;
        self.compare(before, &said);
        let anchor = Anchor::new(token, checkpoint.note().clone())?;
        let (anchors, digest) = (Arc::clone(&self.anchors), anchor.digest());
        let kept = tokio::task::spawn_blocking(move || anchors.keep(&anchor)).await;
        kept.map_err(|_| EngineError::Stopped)??;
        let leaf = self.engine.anchor(digest).await?;
        let size = checkpoint.checkpoint().size;
        self.covered = covered(size, leaf);
        self.anchors.count(true);
        self.told = None;
        self.pause = FIRST_PAUSE;
        let (time, authority) = (said.time.to_string(), &said.authority);
        tracing::info!(size, leaf = leaf.0, time, authority, rule = "R-547", "the log has a time-stamp");
        Ok(())
    }

    /// Two clocks that do not agree: the token is logged as it is, for it shows that, and the operator hears of it.
    fn compare(&self, before: UnixMillis, said: &Stamped) {
        let (after, off) = (self.engine.now(), self.engine.desk().clock_uncertainty);
        let slack =
            DurationMillis(off.0.saturating_add(said.accuracy_millis.unwrap_or(0)).saturating_add(TICK.0));
        if said.time.after(slack) < before || said.time.before(slack) > after {
            let (theirs, ours) = (said.time.to_string(), after.to_string());
            tracing::error!(
                url = self.authority.url(),
                theirs,
                ours,
                "ALARM: the time-stamping authority has another time: one of the two clocks is wrong"
            );
        }
    }

    fn away(&mut self, trouble: &Trouble) {
        self.anchors.count(false);
        let (url, text) = (self.authority.url(), trouble.to_string());
        match trouble {
            Trouble::Authority(failure) if failure.is_lie() => {
                // Each time: somebody answers in its place, or its certificate has changed.
                tracing::error!(
                    url,
                    problem = text,
                    "ALARM: the time-stamping authority does not say what it must"
                );
            }
            // When it has lasted, it is said each time.
            _ if self.told.as_ref() == Some(&text) && self.pause < LONGEST_PAUSE => {}
            _ => tracing::warn!(url, problem = text, "no time-stamp; the log goes on without it"),
        }
        self.told = Some(text);
    }
}

/// What needs no time-stamp after one over so many leaves was logged: if nothing came between, nor does its own leaf.
fn covered(size: u64, leaf: LeafIndex) -> u64 {
    if leaf.0 == size { size.saturating_add(1) } else { size }
}

/// What the newest anchor covers, and when it was logged.
fn newest(engine: &Handle, anchors: &Anchors) -> Result<Option<(u64, UnixMillis)>, EngineError> {
    let size = engine.log_size();
    let mut reach = 1024;
    loop {
        let first = size.saturating_sub(reach);
        if let Some(last) = engine.indexed(By::Event(Event::Anchor), first, usize::MAX)?.pop() {
            let leaf = Leaf::decode(&engine.entry(last)?).map_err(|_| EngineError::Damaged)?;
            let found = anchors.at(engine, leaf.index)?;
            let size = found.map(|it| it.checkpoint.checkpoint().size);
            return Ok(size.map(|size| (covered(size, leaf.index), leaf.time)));
        }
        if first == 0 {
            return Ok(None);
        }
        reach = reach.saturating_mul(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-547: an anchor alone is nothing new; what came between the checkpoint and its leaf is.
    #[test]
    fn an_idle_log_is_left_alone() {
        assert_eq!(covered(7, LeafIndex(7)), 8);
        assert_eq!(covered(7, LeafIndex(8)), 7);
        assert_eq!(covered(7, LeafIndex(900)), 7);
    }
}
