//! The one thread that writes to the journal.
//!
//! ```text
//!  put_chunk ─┐                       ┌─ append
//!  commit ────┴─▶ queue, in order ─▶ thread ─ append, fdatasync ─▶ answer
//! ```
//!
//! Invariants: after the first error nothing is written any more, and no sync is tried again; a chunk that was put before a
//! commit is on the disk with it.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
#[cfg(any(test, feature = "testing"))]
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::files::Pen;
use crate::store::{StoreError, StoredHead};

/// Chunks that may wait; then who puts the next one waits for the disk.
const QUEUE: usize = 64;

/// What to do.
enum Order {
    /// Append.
    Keep(Vec<u8>),
    /// Append and sync: the commit that ends in this head.
    Commit(Vec<u8>, StoredHead, SyncSender<Result<(), StoreError>>),
    /// Keep nothing of what was committed.
    Forget(SyncSender<Result<(), StoreError>>),
}

/// How the next commit fails on purpose.
#[cfg(any(test, feature = "testing"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written.
    Lost,
    /// Half of it is.
    Torn,
    /// All of it is, but it is reported as failed.
    Unheard,
}

/// The queue of the thread. Dropping it ends the thread, after what is queued.
pub(super) struct Writer {
    queue: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
    #[cfg(any(test, feature = "testing"))]
    fault: Arc<Mutex<Option<Fault>>>,
}

/// An answer on its way.
pub(super) struct Answer(Option<Receiver<Result<(), StoreError>>>);

impl Answer {
    pub(super) fn wait(self) -> Result<(), StoreError> {
        self.0.and_then(|answer| answer.recv().ok()).unwrap_or_else(|| Err(ended()))
    }
}

fn ended() -> StoreError {
    StoreError::Io(String::from("the journal has failed before; start again"))
}

impl Writer {
    pub(super) fn start(pen: Pen, head: Option<StoredHead>) -> Result<Self, StoreError> {
        let (queue, orders) = sync_channel(QUEUE);
        #[cfg(any(test, feature = "testing"))]
        let fault = Arc::new(Mutex::new(None));
        let desk = Desk {
            pen,
            head,
            #[cfg(any(test, feature = "testing"))]
            fault: Arc::clone(&fault),
        };
        let thread =
            std::thread::Builder::new().name(String::from("journal")).spawn(move || desk.run(&orders));
        let thread = thread.map_err(|error| StoreError::Io(format!("no thread for the journal: {error}")))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            #[cfg(any(test, feature = "testing"))]
            fault,
        })
    }

    fn give(&self, order: Order) -> Result<(), StoreError> {
        self.queue.as_ref().and_then(|queue| queue.send(order).ok()).ok_or_else(ended)
    }

    pub(super) fn keep(&self, frame: Vec<u8>) -> Result<(), StoreError> {
        self.give(Order::Keep(frame))
    }

    pub(super) fn commit(&self, frame: Vec<u8>, head: StoredHead) -> Answer {
        let (reply, answer) = sync_channel(1);
        Answer(self.give(Order::Commit(frame, head, reply)).ok().map(|()| answer))
    }

    pub(super) fn forget(&self) -> Answer {
        let (reply, answer) = sync_channel(1);
        Answer(self.give(Order::Forget(reply)).ok().map(|()| answer))
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn fail_next_commit(&self, fault: Fault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        // A thread that panicked has said so; there is nothing to add.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Desk {
    pen: Pen,
    head: Option<StoredHead>,
    #[cfg(any(test, feature = "testing"))]
    fault: Arc<Mutex<Option<Fault>>>,
}

impl Desk {
    fn run(mut self, orders: &Receiver<Order>) {
        while let Ok(order) = orders.recv() {
            let (done, reply) = match order {
                Order::Keep(frame) => (self.pen.write(&frame), None),
                Order::Commit(frame, head, reply) => (self.commit(&frame, head), Some(reply)),
                Order::Forget(reply) => (self.pen.forget(self.head.as_ref()), Some(reply)),
            };
            let failed = done.as_ref().err().map(ToString::to_string);
            if let Some(reply) = reply {
                // Who asked may be gone, with the whole store.
                let _ = reply.send(done);
            }
            if let Some(error) = failed {
                tracing::error!(error, "the journal failed: nothing more is committed");
                return;
            }
        }
    }

    fn commit(&mut self, frame: &[u8], head: StoredHead) -> Result<(), StoreError> {
        if self.pen.is_full() {
            self.pen.next(self.head.as_ref())?;
        }
        #[cfg(any(test, feature = "testing"))]
        if let Some(fault) = self.fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let part = match fault {
                Fault::Lost => 0,
                Fault::Torn => frame.len() / 2,
                Fault::Unheard => frame.len(),
            };
            self.pen.write(frame.get(..part).unwrap_or_default())?;
            self.pen.sync()?;
            return Err(StoreError::Io(String::from("Input/output error")));
        }
        self.pen.write(frame)?;
        self.pen.sync()?;
        self.head = Some(head);
        Ok(())
    }
}
