//! The writer: the only one that moves heads. It takes what is queued, commits once, moves the mark, then answers.
//!
//! ```text
//!  queue ─▶ judge again ─▶ heads, at most one a log ─▶ commit ─▶ mark ─▶ read back ─▶ answers
//!             └ refused: answered at once
//! ```
//!
//! Invariants
//! - Comparing with the newest head and replacing it are one transaction (R-551).
//! - What is answered, and then signed, is what was read back from the store after commit and mark.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use arbiter_protocol::evidence::cosignature::PosixSeconds;
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::evidence::witness::{AddCheckpoint, Refusal, judge};
use arbiter_protocol::time::UnixMillis;
use thiserror::Error;
use tokio::sync::{oneshot, watch};

use super::mark::{Mark, MarkError};
use super::store::{Batch, Head, Store, StoreError};
use super::{Cosigned, Ended, Released};
use crate::clock::NeverBack;

/// Checkpoints in one batch at most.
const BATCH: usize = 256;

/// One checkpoint that was good when it came.
pub(super) struct Job {
    pub(super) request: AddCheckpoint,
    pub(super) keys: Vec<VerifierKey>,
    pub(super) answer: oneshot::Sender<Result<Arc<Cosigned>, Refusal>>,
}

/// What stands in the queue.
pub(super) enum Message {
    /// A checkpoint.
    Job(Job),
    /// Nothing comes after this.
    Stop,
}

/// Why a batch failed: nobody knows what is durable.
#[derive(Debug, Error)]
enum Failed {
    #[error(transparent)]
    Mark(#[from] MarkError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The data and everything that changes it.
pub(super) struct Writer {
    pub(super) store: Store,
    pub(super) mark: Mark,
    pub(super) clock: Arc<NeverBack>,
    pub(super) released: Arc<Released>,
    pub(super) queue: Receiver<Message>,
    pub(super) state: watch::Sender<Option<Ended>>,
}

impl Writer {
    /// Runs until it is told to stop, every handle is gone, or a commit fails.
    pub(super) fn run(mut self) {
        let alarm = Alarm(self.state.clone());
        let ended = self.serve();
        // Let go of the files before anybody is told.
        let Self { store, mark, queue, .. } = self;
        drop((store, mark, queue));
        alarm.0.send_replace(Some(ended));
    }

    fn serve(&mut self) -> Ended {
        let mut waiting = VecDeque::new();
        let mut stop = false;
        loop {
            if waiting.is_empty() {
                if stop {
                    return Ended::Stopped;
                }
                match self.queue.recv() {
                    Ok(Message::Job(job)) => waiting.push_back(job),
                    Ok(Message::Stop) | Err(_) => return Ended::Stopped,
                }
            }
            while waiting.len() < BATCH && !stop {
                match self.queue.try_recv() {
                    Ok(Message::Job(job)) => waiting.push_back(job),
                    Ok(Message::Stop) => stop = true,
                    Err(_) => break,
                }
            }
            if let Err(error) = self.turn(&mut waiting) {
                tracing::error!(%error, "the data cannot be written: nothing more is signed; start the witness again");
                return Ended::Failed;
            }
        }
    }

    /// One batch, at most one checkpoint of each log; the rest goes on waiting.
    fn turn(&mut self, waiting: &mut VecDeque<Job>) -> Result<(), Failed> {
        let mut batch = self.store.batch()?;
        let (mut origins, mut later, mut good) = (BTreeSet::new(), VecDeque::new(), Vec::new());
        for job in waiting.drain(..) {
            if origins.contains(&job.request.claimed().origin) {
                later.push_back(job);
                continue;
            }
            match self.judge(&mut batch, &job)? {
                Ok(head) => {
                    origins.insert(head.checkpoint.origin.clone());
                    good.push((head, job.answer));
                }
                // A caller that went away can ask again.
                Err(refusal) => drop(job.answer.send(Err(refusal))),
            }
        }
        *waiting = later;
        if good.is_empty() {
            return Ok(());
        }
        let commits = batch.commit()?;
        self.mark.set(commits)?;
        for (head, answer) in good {
            let origin = &head.checkpoint.origin;
            let durable = self.store.head(origin)?;
            assert_eq!(durable.as_ref(), Some(&head), "invariant R-551: only what is durable is signed");
            let cosigned = self.released.put(head);
            let _ = answer.send(Ok(cosigned));
        }
        Ok(())
    }

    /// Never before the first second: a time of zero is none.
    fn now(&self) -> PosixSeconds {
        let now = self.clock.now().max(UnixMillis(1000));
        PosixSeconds::at(now).expect("invariant: milliseconds divided by 1000 stay below 2^63")
    }

    fn judge(&self, batch: &mut Batch, job: &Job) -> Result<Result<Head, Refusal>, StoreError> {
        let before = batch.head(&job.request.claimed().origin)?;
        let latest = before.as_ref().map(|head| (head.checkpoint.size, head.checkpoint.root));
        let accepted = match judge(latest, &job.request, &job.keys) {
            Ok(accepted) => accepted,
            Err(refusal) => return Ok(Err(refusal)),
        };
        // A time before the one that is signed already would be a false statement.
        let now = self.now();
        let time = before.map_or(now, |head| head.time.max(now));
        let head = Head::new(accepted.checkpoint(), &job.keys, time);
        batch.put(&head)?;
        Ok(Ok(head))
    }
}

/// Says that the writer has ended, even if it panicked.
struct Alarm(watch::Sender<Option<Ended>>);

impl Drop for Alarm {
    fn drop(&mut self) {
        self.0.send_if_modified(|state| state.is_none() && state.replace(Ended::Failed).is_none());
    }
}
