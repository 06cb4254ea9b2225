//! Starting: the stored log is rebuilt and compared before anything may be signed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use arbiter_protocol::evidence::leaf::{Event, Leaf};
use arbiter_protocol::evidence::merkle::{Frontier, NodeId, leaf_hash};
use arbiter_protocol::ids::Digest;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::ruling::sequencer::{Batch, Desk, Head, genesis_token};
use arbiter_protocol::time::UnixMillis;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

use super::contents::Contents;
use super::marks::{self, HighWater};
use super::opening::Benches;
use super::release::Alarm;
use super::writer::Writer;
use super::{Handle, Published, QUEUE, Shared, State, Tally};
use crate::clock::{Clock, NeverBack, is_far_ahead};
use crate::keys::Keys;
use crate::store::{Store, StoreError, StoredHead};

/// Why an engine does not start. Nothing was signed; except for the last, nothing was written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The stored root is not the root of the stored nodes.
    #[error(
        "the log is damaged: its {size} leaves have root {computed}, but the stored head says {stored}; \
         run arbiter fsck, restore a copy"
    )]
    RootMismatch {
        /// Number of leaves.
        size: u64,
        /// What the head says.
        stored: Digest,
        /// What the nodes give.
        computed: Digest,
    },
    /// A leaf is not what its node commits to.
    #[error("the log is damaged: leaf {index} {problem}; run arbiter fsck, restore a copy")]
    Leaf {
        /// The leaf.
        index: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// The clock of the machine is far ahead of the log. Time never goes back: signed once, it stays.
    #[error(
        "the clock of this machine says {clock}, more than a year after the newest time in the log, {latest}; the \
         arbiter's time could never go back again. Set the clock, or start once with --accept-clock if it is right"
    )]
    ClockFarAhead {
        /// What the machine says.
        clock: UnixMillis,
        /// The newest time in the log.
        latest: UnixMillis,
    },
    /// A high-water mark cannot be used: the operator named a wrong one, or it is damaged.
    #[error("{mark}: {problem}; put it right, or take its setting away to start without it")]
    Mark {
        /// Which.
        mark: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The keys are not those that the desk names.
    #[error("the key file holds other keys than those of this arbiter")]
    OtherKeys,
    /// The first leaf belongs to another arbiter.
    #[error("the log was begun by an arbiter with other keys, another origin or other rules")]
    OtherArbiter,
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gives no thread.
    #[error("cannot start the writer: {0}")]
    Thread(std::io::Error),
}

/// Refuses a clock that is so far ahead of a log that it is more likely wrong than right.
pub(super) fn check_clock(store: &dyn Store, clock: &dyn Clock) -> Result<(), StartError> {
    let Some(head) = store.head()? else { return Ok(()) };
    let (clock, latest) = (clock.now(), head.time);
    if is_far_ahead(clock, latest) {
        return Err(StartError::ClockFarAhead { clock, latest });
    }
    Ok(())
}

/// How many of the newest leaves are hashed again at every start; `fsck` does all.
const RECHECKED: u64 = 256;

pub(super) fn start(
    desk: Desk,
    keys: Keys,
    store: Arc<dyn Store>,
    clock: Box<dyn Clock>,
    marks: &[&dyn HighWater],
) -> Result<Handle, StartError> {
    let (writer, handle) = prepare(desk, keys, store, clock, marks)?;
    if handle.read_only().is_some() {
        return Ok(handle);
    }
    let state = handle.shared.state.clone();
    std::thread::Builder::new()
        .name(String::from("writer"))
        .spawn(move || {
            let _alarm = Alarm(&state);
            let ended = writer.run();
            // By now the writer has let go of the store.
            state.send_replace(State::Ended(ended));
        })
        .map_err(StartError::Thread)?;
    Ok(handle)
}

/// Everything but the thread.
pub(super) fn prepare(
    desk: Desk,
    keys: Keys,
    store: Arc<dyn Store>,
    clock: Box<dyn Clock>,
    marks: &[&dyn HighWater],
) -> Result<(Writer, Handle), StartError> {
    if keys.identity(desk.arbiter.log_origin.clone()) != desk.arbiter {
        return Err(StartError::OtherKeys);
    }
    let stored = store.head()?;
    refuse_more(&*store, stored.as_ref().map_or(0, |head| head.size))?;
    let frontier = match &stored {
        None => Frontier::new(),
        Some(head) => recheck(&*store, head, &desk.arbiter)?,
    };
    // before anything is signed.
    let found = marks::compare(&*store, stored.as_ref(), marks)?;
    let latest = stored.as_ref().map_or(UnixMillis(0), |head| head.time);
    let clock = NeverBack::new(clock, latest, desk.clock_uncertainty);
    let head = Head { frontier, time: clock.now() };
    let contents = Contents::kept(store.content_chunks()?);
    let published = Published { commits: 0, size: head.frontier.size(), root: head.frontier.root() };
    let has_lost = !store.all_lost()?.is_empty();
    let (queue, receiver) = mpsc::channel(QUEUE);
    let escrow = Mutex::new(Arc::clone(keys.escrow()));
    let shared = Arc::new(Shared {
        desk,
        keys,
        store,
        clock,
        state: watch::Sender::new(if found.is_some() { State::ReadOnly } else { State::Running }),
        has_lost,
        writerless: found.is_some(),
        read_only: found.map(OnceLock::from).unwrap_or_default(),
        tally: Tally::default(),
        published: Mutex::new(published),
        contents: Mutex::new(contents),
        escrow,
        orders: watch::Sender::new(0),
        standing: watch::Sender::new(0),
        grown: watch::Sender::new(published.size),
        benches: Benches::default(),
        checkpoints: Mutex::new(None),
        stored_tree: Mutex::new(None),
    });
    let mut writer = Writer { shared: Arc::clone(&shared), queue: receiver, head, stored };
    let handle = Handle { shared, queue };
    if let Some(read_only) = handle.read_only() {
        tracing::error!(why = %read_only.why, rule = "R-523", "ALARM: only reads are served");
        return Ok((writer, handle));
    }
    first_commit(&mut writer)?;
    tracing::info!(leaves = writer.head.frontier.size(), root = %writer.head.frontier.root(), "log is good");
    Ok((writer, handle))
}

/// One commit of this process covers everything that it will replay (decision D8). A new log begins.
fn first_commit(writer: &mut Writer) -> Result<(), StartError> {
    let shared = Arc::clone(&writer.shared);
    let mut batch = Batch::new(&shared.desk, shared.keys.veil(), writer.head.clone());
    if writer.head.frontier.size() == 0 {
        batch.genesis(writer.head.time);
    }
    writer.commit(batch.close(), &BTreeMap::new())?;
    Ok(())
}

/// A tree that goes on after the end of the log is what is left of a commit that was cut: there may be rulings that the
/// head does not know.
fn refuse_more(store: &dyn Store, size: u64) -> Result<(), StartError> {
    match store.node(NodeId { level: 0, index: size })? {
        None => Ok(()),
        Some(_) => Err(StartError::Leaf { index: size, problem: "is there, but the head does not know it" }),
    }
}

/// Rebuilds the right edge and compares: root with head, newest leaves with their nodes, leaf 0 with us.
fn recheck(store: &dyn Store, head: &StoredHead, arbiter: &ArbiterIdentity) -> Result<Frontier, StartError> {
    let frontier = Frontier::from_nodes(head.size, |node| store.required_node(node))?;
    let computed = frontier.root();
    if computed != head.root {
        return Err(StartError::RootMismatch { size: head.size, stored: head.root, computed });
    }
    if head.size == 0 {
        return Ok(frontier);
    }
    let newest = head.size.saturating_sub(RECHECKED);
    recheck_leaves(store, newest, head.size)?;
    recheck_leaves(store, 0, 1)?;
    let first = store.leaves(0, 1)?.pop().and_then(|bytes| Leaf::decode(&bytes).ok());
    match first {
        Some(leaf) if leaf.event == Event::Genesis && leaf.token == genesis_token(arbiter) => Ok(frontier),
        _ => Err(StartError::OtherArbiter),
    }
}

fn recheck_leaves(store: &dyn Store, first: u64, end: u64) -> Result<(), StartError> {
    let count = usize::try_from(end.saturating_sub(first)).unwrap_or(usize::MAX);
    for (index, bytes) in (first..end).zip(store.leaves(first, count)?) {
        let problem = |problem| StartError::Leaf { index, problem };
        let leaf = Leaf::decode(&bytes).map_err(|_| problem("does not decode"))?;
        if leaf.index.0 != index {
            return Err(problem("is at another place than it says"));
        }
        if store.required_node(NodeId { level: 0, index })? != leaf_hash(&bytes) {
            return Err(problem("is not the one that was hashed into the tree"));
        }
    }
    Ok(())
}
