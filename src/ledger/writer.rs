//! The writer: the only one that has the books. It takes what is queued, commits once, then answers.
//!
//! ```text
//!  queue ─▶ holds that have run out ─▶ jobs, in order ─▶ one commit ─▶ answers
//!             ▲ also by itself, when the next hold ends
//! ```

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use arbiter_protocol::ledger::LedgerRefused;
use arbiter_protocol::ledger::{Books, Cause, Change, Step};
use arbiter_protocol::time::UnixMillis;
use tokio::sync::watch;

use super::Ended;
use super::store::{Batch, Store, StoreError};
use crate::clock::NeverBack;

/// Orders in one batch at most.
const BATCH: usize = 512;
/// How often the clock is looked at while a hold is open: it may be set at any time.
const GLANCE: Duration = Duration::from_millis(200);

/// What a job has to say once everything is durable.
pub(super) type Reply = Box<dyn FnOnce() + Send>;

/// One order or question.
pub(super) type Job = Box<dyn FnOnce(&mut Turn<'_>) -> Result<Reply, StoreError> + Send>;

/// What stands in the queue.
pub(super) enum Message {
    /// Something to do.
    Job(Job),
    /// Nothing comes after this.
    Stop,
}

/// What a job works with.
pub(super) struct Turn<'a> {
    pub(super) books: &'a mut Books,
    pub(super) batch: Batch<'a>,
    pub(super) now: UnixMillis,
}

impl Turn<'_> {
    /// Puts the changes of a step into the batch; what is left is its answer.
    pub(super) fn keep<T>(&mut self, step: Step<T>) -> Result<Result<T, LedgerRefused>, StoreError> {
        let Step { changes, answer } = step;
        self.put(&changes)?;
        Ok(answer)
    }

    fn put(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        for change in changes {
            self.batch.put(change)?;
            let entry = change.entry.number;
            if let Cause::TimeOut(payment) = &change.entry.cause {
                tracing::info!(%payment, entry, "a hold has run out");
            }
        }
        Ok(())
    }
}

/// The books and everything that changes them.
pub(super) struct Writer {
    pub(super) books: Books,
    pub(super) store: Store,
    pub(super) clock: Arc<NeverBack>,
    pub(super) queue: Receiver<Message>,
    pub(super) state: watch::Sender<Option<Ended>>,
}

impl Writer {
    /// Runs until it is told to stop, every handle is gone, or a commit fails.
    pub(super) fn run(mut self) {
        let alarm = Alarm(self.state.clone());
        let ended = self.serve();
        // Let go of the file before anybody is told.
        let Self { store, queue, .. } = self;
        drop((store, queue));
        alarm.0.send_replace(Some(ended));
    }

    fn serve(&mut self) -> Ended {
        loop {
            let message = match self.patience() {
                None => self.queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(patience) => self.queue.recv_timeout(patience),
            };
            let message = match message {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) if self.is_due() => None,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return Ended::Stopped,
            };
            match self.turn(message) {
                Ok(false) => {}
                Ok(true) => return Ended::Stopped,
                Err(error) => {
                    tracing::error!(%error, "the book cannot be written: nothing more is signed; start the ledger again");
                    return Ended::Failed;
                }
            }
        }
    }

    /// How long to wait for an order; for ever if no hold is open, for only an order opens one.
    fn patience(&self) -> Option<Duration> {
        let due = self.books.next_due()?;
        Some(GLANCE.min(Duration::from_millis(due.0.saturating_sub(self.clock.now().0))))
    }

    fn is_due(&self) -> bool {
        self.books.next_due().is_some_and(|due| due <= self.clock.now())
    }

    /// One batch; true if it was the last. Answers are given only after the commit has returned (R-608).
    fn turn(&mut self, first: Option<Message>) -> Result<bool, StoreError> {
        let mut replies = Vec::new();
        let mut stop = false;
        let (batch, now) = (self.store.batch()?, self.clock.now());
        let mut turn = Turn { books: &mut self.books, batch, now };
        let changes = turn.books.settle(now);
        turn.put(&changes)?;
        let mut next = first;
        while let Some(message) = next.take() {
            match message {
                Message::Job(job) => {
                    turn.now = self.clock.now();
                    replies.push(job(&mut turn)?);
                }
                Message::Stop => stop = true,
            }
            if !stop && replies.len() < BATCH {
                next = self.queue.try_recv().ok();
            }
        }
        turn.batch.commit()?;
        replies.into_iter().for_each(|reply| reply());
        Ok(stop)
    }
}

/// Says that the writer has ended, even if it panicked.
struct Alarm(watch::Sender<Option<Ended>>);

impl Drop for Alarm {
    fn drop(&mut self) {
        self.0.send_if_modified(|state| state.is_none() && state.replace(Ended::Failed).is_none());
    }
}
