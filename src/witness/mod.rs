//! A witness (C2SP tlog-witness): it cosigns checkpoints of logs that it knows, each only if it is consistent with the one
//! before. A log that shows two histories needs two sets of witnesses.
//!
//! ```text
//!  POST add-checkpoint ─▶ judge ─▶ queue ─▶ writer: judge, commit, mark ─▶ sign ─▶ cosignatures
//!                           └ refused: 400, 403, 404, 409, 422
//!  GET <hash of origin>/checkpoint ─▶ the newest one, with the signatures of log and witness
//! ```
//! It serves any log of the standard; nothing here knows of arbiters. `docs/witness.md` tells how to run one.
//!
//! Invariants
//! - No two roots for one size, no smaller size after a larger one, no earlier time after a later one (R-551).
//! - Nothing is signed before it is durable in the data and counted in the mark; what is signed was read back (R-551).
//! - Data that is older than the mark is not served; there is no start without data (R-552).
//! - Only log keys of the list count (R-550). Strangers cost one signature check at most.

pub mod http;
pub mod logs;
pub mod mark;
pub mod names;
pub mod store;
mod writer;

use std::collections::BTreeMap;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use arbiter_protocol::evidence::checkpoint::{Checkpoint, Origin};
use arbiter_protocol::evidence::merkle::ProofError;
use arbiter_protocol::evidence::witness::{AddCheckpoint, Refusal, judge};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use thiserror::Error;
use tokio::sync::{oneshot, watch};

use crate::clock::{Clock, NeverBack, is_far_ahead};
use crate::keys::witness_file::WitnessKeys;
use logs::Logs;
use mark::{Mark, MarkError};
use names::Names;
use store::{Head, Store, StoreError};
use writer::{Job, Message, Writer};

/// Checkpoints that may wait at one time.
const QUEUE: usize = 4096;
/// How far the clock may be behind what was signed before an operator hears of it.
const UNCERTAINTY: DurationMillis = DurationMillis(1000);
const SECOND: Duration = Duration::from_secs(1);

/// How a witness is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Start even if the clock is more than a year ahead of the newest cosignature.
    pub accept_clock: bool,
    /// Cosignatures for one log in a second.
    pub max_per_second: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { accept_clock: false, max_per_second: 100 }
    }
}

/// Why a witness does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The clock is most likely wrong.
    #[error(
        "the clock of this machine says {clock}, more than a year after the newest cosignature, {latest}: a time that is \
         signed stays. Set the clock, or start once with --accept-clock if it is right"
    )]
    ClockFarAhead {
        /// What the machine says.
        clock: UnixMillis,
        /// The newest cosignature.
        latest: UnixMillis,
    },
    /// The mark.
    #[error(transparent)]
    Mark(#[from] MarkError),
    /// The data is older than what was signed.
    #[error(
        "the data has {data} batches, but {mark} were signed: it is an old copy, and this witness could sign another history. \
         Bring the newest data back, or make a new witness with a new key"
    )]
    RolledBack {
        /// Batches in the data.
        data: u64,
        /// Batches that were signed.
        mark: u64,
    },
    /// The data.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gives no thread.
    #[error("cannot start the writer: {0}")]
    Thread(std::io::Error),
}

/// Why a checkpoint is not cosigned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// More wait than may.
    #[error("too many checkpoints wait: send it again")]
    Overloaded,
    /// The request breaks a rule of the standard.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The witness has ended.
    #[error("the witness has stopped: send it again when it is back")]
    Stopped,
    /// More checkpoints of one log than the operator allows.
    #[error("too many checkpoints of this log in one second: send it again")]
    TooMany,
}

/// How a witness ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// The data could not be written.
    Failed,
}

/// A checkpoint that is durable and counted; the signatures follow from it.
pub struct Cosigned {
    /// What is cosigned.
    pub head: Head,
    lines: OnceLock<String>,
}

/// The newest cosigned checkpoint of each log.
#[derive(Default)]
struct Released(RwLock<BTreeMap<Origin, Arc<Cosigned>>>);

impl Released {
    fn put(&self, head: Head) -> Arc<Cosigned> {
        let origin = head.checkpoint.origin.clone();
        let cosigned = Arc::new(Cosigned { head, lines: OnceLock::new() });
        let mut heads = self.0.write().unwrap_or_else(PoisonError::into_inner);
        heads.insert(origin, Arc::clone(&cosigned));
        cosigned
    }

    fn find(&self, origin: &Origin) -> Option<Arc<Cosigned>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(origin).cloned()
    }
}

/// A running witness. Clones are the same one.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    queue: SyncSender<Message>,
}

struct Shared {
    names: Names,
    keys: WitnessKeys,
    logs: RwLock<Arc<Logs>>,
    options: Options,
    released: Arc<Released>,
    /// When the second of a log began, and how many checkpoints came in it.
    pace: Mutex<BTreeMap<Origin, (Instant, u32)>>,
    state: watch::Receiver<Option<Ended>>,
}

impl Handle {
    /// Compares data and mark, and starts the writer.
    pub fn start(
        names: Names,
        keys: WitnessKeys,
        logs: Logs,
        store: Store,
        mut mark: Mark,
        options: Options,
        clock: Box<dyn Clock>,
    ) -> Result<Self, StartError> {
        let data = store.commits()?;
        if data < mark.value() {
            return Err(StartError::RolledBack { data, mark: mark.value() });
        }
        let released = Arc::new(Released::default());
        let heads = store.heads()?;
        let latest = heads.iter().map(|head| head.time.to_millis()).max().unwrap_or(UnixMillis(0));
        let shown = clock.now();
        if !heads.is_empty() && is_far_ahead(shown, latest) && !options.accept_clock {
            return Err(StartError::ClockFarAhead { clock: shown, latest });
        }
        // What was committed and not counted was not signed. It is from now on.
        mark.set(data)?;
        heads.into_iter().for_each(|head| drop(released.put(head)));
        let clock = Arc::new(NeverBack::new(clock, latest, UNCERTAINTY));
        let (queue, waiting) = sync_channel(QUEUE);
        let (state, ended) = watch::channel(None);
        let writer = Writer { store, mark, clock, released: Arc::clone(&released), queue: waiting, state };
        let thread = std::thread::Builder::new().name(String::from("witness"));
        thread.spawn(move || writer.run()).map_err(StartError::Thread)?;
        let (logs, pace) = (RwLock::new(Arc::new(logs)), Mutex::default());
        let shared = Shared { names, keys, logs, options, released, pace, state: ended };
        Ok(Self { shared: Arc::new(shared), queue })
    }

    /// The names of the keys.
    pub fn names(&self) -> &Names {
        &self.shared.names
    }

    /// The logs that are cosigned.
    pub fn logs(&self) -> Arc<Logs> {
        Arc::clone(&self.shared.logs.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on these logs are cosigned. What was signed for others is kept.
    pub fn set_logs(&self, logs: Logs) {
        *self.shared.logs.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(logs);
    }

    /// Cosigns a checkpoint (R-550, R-551): the signature lines, each with its newline.
    pub async fn add_checkpoint(&self, request: AddCheckpoint) -> Result<String, WitnessError> {
        let logs = self.logs();
        let origin = &request.claimed().origin;
        let keys = logs.keys(origin).ok_or(Refusal::UnknownOrigin)?;
        // Judged twice: here, so that nobody else waits for what is refused anyway, and where nothing comes in between.
        let known = self.shared.released.find(origin);
        let latest = known.as_ref().map(|it| (it.head.checkpoint.size, it.head.checkpoint.root));
        if let Err(refusal) = judge(latest, &request, keys) {
            self.watch(&request, known.as_deref(), &refusal);
            return Err(refusal.into());
        }
        if !self.has_room(origin) {
            return Err(WitnessError::TooMany);
        }
        let (answer, answered) = oneshot::channel();
        let job = Job { request, keys: keys.to_vec(), answer };
        self.queue.try_send(Message::Job(job)).map_err(|error| match error {
            TrySendError::Full(_) => WitnessError::Overloaded,
            TrySendError::Disconnected(_) => WitnessError::Stopped,
        })?;
        let cosigned = answered.await.map_err(|_| WitnessError::Stopped)??;
        Ok(self.lines(&cosigned).to_owned())
    }

    /// The newest cosigned checkpoint of a known log, with the signatures of the log and of this witness. `hash` is SHA-256 of
    /// the origin, in lower-case hexadecimal digits.
    pub fn checkpoint(&self, hash: &str) -> Option<String> {
        let logs = self.logs();
        let cosigned = self.shared.released.find(logs.by_hash(hash)?)?;
        Some(format!("{}{}", cosigned.head.note, self.lines(&cosigned)))
    }

    /// What is queued is answered, then the witness ends and lets go of its files.
    pub async fn stop(self) -> Ended {
        let mut message = Message::Stop;
        while let Err(TrySendError::Full(back)) = self.queue.try_send(message) {
            message = back;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.ended().await
    }

    /// Waits until the witness has ended.
    pub async fn ended(&self) -> Ended {
        let mut state = self.shared.state.clone();
        let ended = state.wait_for(Option::is_some).await;
        ended.ok().and_then(|state| *state).unwrap_or(Ended::Failed)
    }

    /// The cosignatures of a checkpoint: made when they are first asked for.
    fn lines<'a>(&self, cosigned: &'a Cosigned) -> &'a str {
        cosigned.lines.get_or_init(|| self.shared.names.cosign(&self.shared.keys, &cosigned.head))
    }

    /// Counts one checkpoint of a log; false if there were too many within the second.
    fn has_room(&self, origin: &Origin) -> bool {
        let now = Instant::now();
        let mut pace = self.shared.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = pace.entry(origin.clone()).or_insert((now, 0));
        if now.duration_since(*since) >= SECOND {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= self.shared.options.max_per_second
    }

    /// What an operator must hear of. Strangers cannot cause it: the log's signature is checked before.
    fn watch(&self, request: &AddCheckpoint, known: Option<&Cosigned>, refusal: &Refusal) {
        let Checkpoint { origin, size, .. } = request.claimed();
        let (latest, old) = (known.map_or(0, |it| it.head.checkpoint.size), request.old());
        match refusal {
            Refusal::Proof(ProofError::RootMismatch) if old == *size => {
                let cosigned = known.map(|it| it.head.note.to_string()).unwrap_or_default();
                let other = request.note().to_string();
                tracing::error!(
                    %origin, size, cosigned, other,
                    "ALARM: the log signed two roots for one size: the two notes in this line convict it, keep them"
                );
            }
            Refusal::Conflict { .. } if old > latest => {
                tracing::warn!(
                    %origin, latest, old,
                    "somebody believes that more of this log was cosigned than is stored here: if that is so, this witness was \
                     rolled back and must end"
                );
            }
            _ => tracing::debug!(%origin, %refusal, "not cosigned"),
        }
    }
}
