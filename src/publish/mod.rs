//! The published checkpoint: what the world sees of the log, with the cosignatures of witnesses.
//!
//! ```text
//!  log grew, or 10 minutes ─▶ newest durable tree ─▶ signed ─▶ witnesses (at most 0.9 s) ─▶ merged ─▶ durable
//!                                                                                                  │
//!                  tiles, proofs, whoever waits for a quorum ◀── Published ◀────────────────────────┤
//!                       time-stamping authority ◀── export folder ◀────────────────────────────────┘
//! ```
//!
//! A ruling carries the checkpoint of its own batch and never waits for this one. Invariants
//! - The published checkpoint never goes back, over restarts too: it is durable before anybody sees it (R-540).
//! - Witnesses are asked after the checkpoint is signed; slow ones, lost ones and those that lie hold up nothing but
//!   this task, and that by a bounded time (R-541).
//! - It has at most 16 signatures, the log's own first.

mod agent;
pub mod export;
pub mod http;
pub mod remote;
pub mod stamps;
mod task;
pub mod walk;
pub mod witnesses;

use std::sync::Arc;
use std::time::Duration;

use arbiter_protocol::evidence::checkpoint::{CheckpointError, SignedCheckpoint};
use arbiter_protocol::evidence::note::NoteSignature;
use arbiter_protocol::ids::Digest;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::engine::{EngineError, Handle};

/// Proves to a witness that the checkpoint in hand goes on from the tree of so many leaves, at least 1.
/// It reads the store: call it where blocking is allowed.
pub type Prove = Arc<dyn Fn(u64) -> Result<Vec<Digest>, EngineError> + Send + Sync>;

/// Witnesses, as the publisher sees them.
#[async_trait::async_trait]
pub trait Cosigners: Send + Sync + 'static {
    /// Asks every witness at the same time to cosign, and sends each cosignature that verifies to `found` as soon as it is
    /// there. The checkpoint has the log's own signature only. The publisher stops listening after [`PATIENCE`] and drops
    /// what is still under way; what a witness answers must never be an error for others.
    async fn cosign(&self, checkpoint: &SignedCheckpoint, prove: Prove, found: mpsc::Sender<NoteSignature>);

    /// Whether the cosignatures on a checkpoint are those that the operator's policy asks for.
    fn quorum(&self, checkpoint: &SignedCheckpoint) -> bool;
}

/// No witnesses are configured: nothing is missing.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

#[async_trait::async_trait]
impl Cosigners for Alone {
    async fn cosign(&self, _: &SignedCheckpoint, _: Prove, _: mpsc::Sender<NoteSignature>) {}

    fn quorum(&self, _: &SignedCheckpoint) -> bool {
        true
    }
}

/// Takes what was published, one after the other; a slow one gets only the newest.
pub trait Sink: Send + 'static {
    /// Called where blocking is allowed.
    fn take(&mut self, published: &SignedCheckpoint);
}

/// How often it is published.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// At least this long from one checkpoint to the next.
    pub interval: Duration,
    /// A log that does not grow is signed and cosigned again after this: cosignatures carry the time.
    pub refresh: Duration,
    /// The same while a quorum is missing.
    pub retry: Duration,
}

impl Pace {
    /// Every `interval` at most; 10 minutes when idle.
    pub const fn every(interval: Duration) -> Self {
        Self { interval, refresh: Duration::from_secs(600), retry: Duration::from_secs(10) }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::every(Duration::from_secs(1))
    }
}

/// How long witnesses are listened to. With an interval of 1 s the published checkpoint is less than 2 s old under load,
/// however slow they are.
pub const PATIENCE: Duration = Duration::from_millis(900);

/// Why nothing can be published.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The log is not the one that was published: it was rolled back, or another one was put in its place.
    #[error(
        "a checkpoint of {published} leaves was published, and the log, of {size} leaves, does not begin with them: it \
         was rolled back or replaced. Restore the newest copy; nothing may be published from this one"
    )]
    RolledBack {
        /// Leaves of the published checkpoint.
        published: u64,
        /// Leaves of the log.
        size: u64,
    },
    /// The stored note is not one of ours.
    #[error("the published checkpoint in the store is not one of this log: {0}; run arbiter fsck")]
    NotOurs(CheckpointError),
    /// The store or the keys.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The published checkpoint. Clones see the same.
#[derive(Clone)]
pub struct Published {
    newest: watch::Receiver<Arc<SignedCheckpoint>>,
    cosigners: Arc<dyn Cosigners>,
}

impl std::fmt::Debug for Published {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Published").field("size", &self.newest().checkpoint().size).finish_non_exhaustive()
    }
}

impl Published {
    /// The newest.
    pub fn newest(&self) -> Arc<SignedCheckpoint> {
        Arc::clone(&self.newest.borrow())
    }

    /// Whether a checkpoint has the cosignatures that the operator's policy asks for.
    pub fn quorum(&self, checkpoint: &SignedCheckpoint) -> bool {
        self.cosigners.quorum(checkpoint)
    }

    /// Waits until it covers leaf `index`; `false` if nothing is published any more.
    pub async fn covers(&self, index: u64) -> bool {
        let mut newest = self.newest.clone();
        newest.wait_for(|it| it.checkpoint().size > index).await.is_ok()
    }

    /// Waits, at most `patience`, for a published checkpoint that covers leaf `index` and that `enough` accepts. When time
    /// is over, the newest as it is: who waits in vain is told so, and never blocked (R-541).
    pub async fn covering(
        &self,
        index: u64,
        patience: Duration,
        enough: impl Fn(&SignedCheckpoint) -> bool,
    ) -> (Arc<SignedCheckpoint>, bool) {
        let mut newest = self.newest.clone();
        let good = |it: &Arc<SignedCheckpoint>| it.checkpoint().size > index && enough(it);
        let found = tokio::time::timeout(patience, newest.wait_for(good)).await;
        if let Ok(Ok(found)) = found {
            return (Arc::clone(&found), true);
        }
        (self.newest(), false)
    }
}

/// The task that publishes.
pub struct Publisher {
    task: JoinHandle<Result<(), PublishError>>,
    stop: oneshot::Sender<()>,
}

impl Publisher {
    /// Publishes what the log is now, and goes on by itself until the engine ends or [`Publisher::stop`].
    pub async fn start(
        engine: Handle,
        cosigners: Arc<dyn Cosigners>,
        pace: Pace,
        sink: Option<Box<dyn Sink>>,
    ) -> Result<(Self, Published), PublishError> {
        let (task, published) = task::begin(engine, cosigners, pace, sink).await?;
        let (stop, stopped) = oneshot::channel();
        Ok((Self { task: tokio::spawn(task.run(stopped)), stop }, published))
    }

    /// Ends only if publishing failed: then nobody knows what is stored, and the process must end (R-505).
    pub async fn failed(&mut self) -> PublishError {
        match (&mut self.task).await {
            Ok(Err(error)) => error,
            // The engine has ended, which is told by itself.
            Ok(Ok(())) | Err(_) => std::future::pending().await,
        }
    }

    /// Publishes what is newest once more, then no more. Call it before the engine is stopped.
    pub async fn stop(mut self) -> Result<(), PublishError> {
        if self.task.is_finished() {
            return Ok(());
        }
        let _ = self.stop.send(());
        (&mut self.task).await.unwrap_or(Ok(()))
    }
}
