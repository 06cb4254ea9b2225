//! The single writer: everything that is decided goes through here, in order (decision D6).
//!
//! ```text
//!  file(case) ─▶ queue ─▶ writer thread:  decide all that is queued ─▶ one commit ─▶ release
//!                                                                                    │
//!  Receipt ◀── sign, prove (in the task of the caller, after the commit) ◀───────────┘
//!
//!  resolve(case) ─▶ open escrows, seal to the peers ─▶ file
//!  verdict ─▶ open orders, durable with it ─▶ payment_order, signed ─▶ ledger ─▶ hear(receipt)      (crate::outbox)
//! ```
//!
//! A batch is what queued up while the commit before it ran; there is no timer. Invariants
//! - Nothing decided in a batch, not even a refusal, is told before the commit of that batch has returned.
//! - A start commits once, so every replay is covered by a commit of this process (decision D8).
//! - A failed commit ends the engine: every waiter gets [`EngineError::Stopped`], nothing is signed (R-505).
//! - Time never goes back, for refusals too (R-409).

#[cfg(any(test, feature = "testing"))]
mod by_hand;
mod contents;
mod draft;
mod marks;
mod opening;
mod read_only;
mod release;
mod start;
mod writer;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use arbiter_protocol::error::Refused;
use arbiter_protocol::evidence::checkpoint::Checkpoint;
use arbiter_protocol::evidence::merkle;
use arbiter_protocol::evidence::tile::TilePath;
use arbiter_protocol::exchange::kind::content::FitContent;
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::ids::{Digest, ExchangeId, LeafIndex};
use arbiter_protocol::message::payment::{PaymentOrder, PaymentReceipt};
use arbiter_protocol::role::arbiter::{Case, Decision, decide};
use arbiter_protocol::ruling::notice::{ErasureReason, NotErasable, Notice};
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::ruling::sequencer::{ContentId, Desk, Record, Reply};
use arbiter_protocol::statement::Verified;
use arbiter_protocol::time::UnixMillis;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::{Clock, NeverBack};
use crate::keys::Keys;
use crate::keys::escrow::EscrowKeys;
use crate::keys::guard::{Tree, durable_root};
use crate::store::{By, ContentHead, Due, OpenOrder, Store, tiles};
use contents::Contents;
use opening::Benches;
use release::lock;

#[cfg(any(test, feature = "testing"))]
pub use by_hand::Turner;
pub use draft::Draft;
pub use marks::{HighWater, Mark, MarkError};
pub use read_only::{ReadOnly, Why};
pub use start::StartError;

/// What is held for parties with a case, by the role whose item it is: the proof that it fits, and where its sealed
/// chunks are.
pub type Held = ByRole<Option<(FitContent, ContentId)>>;

/// Cases that may wait for the writer; one more is told to come back.
pub const QUEUE: usize = 4096;
/// Cases that one commit may hold.
pub const BATCH: usize = 1024;

/// Starts engines.
#[derive(Debug)]
pub struct Engine;

impl Engine {
    /// Checks the stored log, commits once, and starts the writer on its own thread.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use arbiter::{clock::SystemClock, engine::Engine, keys::{Keys, Seeds}, store::mem::MemStore};
    /// use arbiter_protocol::evidence::checkpoint::Origin;
    /// use arbiter_protocol::{ids::Digest, ruling::sequencer::Desk, time::DurationMillis};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let seed = |byte| zeroize::Zeroizing::new([byte; 32]);
    /// let keys = Keys::from_seeds(&Seeds { arbiter: seed(1), log: seed(2), veil: seed(3) });
    /// let arbiter = keys.identity(Origin::parse("arbiter.example/evidence")?);
    /// let store = Arc::new(MemStore::new(&arbiter, keys.vault())?);
    /// let desk = Desk { arbiter, build: Digest::of(&[b"build"]), clock_uncertainty: DurationMillis(500) };
    ///
    /// let engine = Engine::start(desk, keys, store, Box::new(SystemClock))?;
    /// assert_eq!(engine.log_size(), 1); // leaf 0 begins the log
    /// assert!(engine.checkpoint()?.starts_with("arbiter.example/evidence\n1\n"));
    /// engine.stop().await;
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start(
        desk: Desk,
        keys: Keys,
        store: Arc<dyn Store>,
        clock: Box<dyn Clock>,
    ) -> Result<Handle, StartError> {
        Self::start_below(desk, keys, store, clock, &[])
    }

    /// The same, after a comparison with what is known elsewhere of how far this log was. If the store is older than a
    /// mark, or holds another history, nothing is signed: the engine can only be read, and [`Handle::read_only`] says
    /// why (R-522, R-523).
    pub fn start_below(
        desk: Desk,
        keys: Keys,
        store: Arc<dyn Store>,
        clock: Box<dyn Clock>,
        marks: &[&dyn HighWater],
    ) -> Result<Handle, StartError> {
        start::start(desk, keys, store, clock, marks)
    }

    /// Refuses a clock that is more than a year ahead of the newest time in the log: once used, that time
    /// stays for ever (R-409). Called before [`Engine::start`], unless the operator vouches for the clock.
    pub fn check_clock(store: &dyn Store, clock: &dyn Clock) -> Result<(), StartError> {
        start::check_clock(store, clock)
    }
}

/// Access to a running engine. Clones are cheap and mean the same engine.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Message>,
}

/// What the arbiter answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filed {
    /// A deposited content, to be read with [`Handle::content`] and [`Handle::chunk`].
    Content(ContentId),
    /// A verdict or an attestation.
    Receipt(Box<Receipt>),
}

/// What a case needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precheck {
    /// The answer exists already: no content is needed, just file the case.
    Answered,
    /// Receive the content, then file the case with it.
    ContentWanted,
    /// Open the escrows, then file the case with what they hold.
    EscrowsWanted,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EngineError {
    /// A stored entry cannot be read, or a good escrow cannot be opened. Nothing was decided; the operator has to
    /// read the log and run `fsck`.
    #[error("a stored entry cannot be read or a key is damaged; the operator has been told")]
    Damaged,
    /// An exchange cannot be erased.
    #[error(transparent)]
    NotErasable(#[from] NotErasable),
    /// Everything that is held for parties takes the room that there is. Nothing was received or opened.
    #[error(
        "the item has {size_bytes} bytes, and what is held for parties takes {held} of {maximum} bytes already: choose \
         another arbiter, or ask the operator for more room"
    )]
    Full {
        /// The size agreed.
        size_bytes: u64,
        /// What everything held takes.
        held: u64,
        /// What it may take.
        maximum: u64,
    },
    /// A proof was asked for a tree that is not there (yet).
    #[error("there is no such leaf or tree: the log has {size} leaves")]
    OutOfRange {
        /// The current size of the log.
        size: u64,
    },
    /// The store is damaged, or older than what was signed before. Nothing is decided and nothing is signed (R-523).
    #[error(
        "the arbiter can only be read: its data folder is damaged or older than what it has published; its operator has \
         been told"
    )]
    ReadOnly,
    /// Too many cases wait. Nothing was decided; ask again later.
    #[error("too many cases are waiting; ask again later")]
    Overloaded,
    /// A rule forbids it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The record of the exchange was lost, and only the leaf that tells of its ruling came back (R-526). Nothing can be
    /// decided again; the operator is at fault.
    #[error(
        "the arbiter lost what it held about this exchange: leaf {leaf} of its log shows that it ruled, and when. It must \
         not rule again; ask its operator, who is at fault"
    )]
    RulingLost {
        /// The leaf that tells of the ruling.
        leaf: u64,
    },
    /// A signature out of escrow could not be sealed, or a new exchange could not be given a key. Nothing was decided; the
    /// operator has been told.
    #[error("the arbiter cannot seal what it would keep; the operator has been told")]
    Unsealed,
    /// The engine has stopped. Whether the case was decided is known after the next start: ask again.
    #[error("the arbiter is stopping; ask again")]
    Stopped,
}

/// How an engine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A commit failed or an invariant broke: the process must exit with an error.
    Failed,
    /// It was asked to stop, and has finished everything that was queued.
    Stopped,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// New affidavits.
    pub affidavits: u64,
    /// New attestations.
    pub attestations: u64,
    /// Commits, the one at the start included.
    pub commits: u64,
    /// Exchanges erased.
    pub erased: u64,
    /// Escrows found to be false.
    pub escrows_false: u64,
    /// Signatures taken out of escrow.
    pub escrows_opened: u64,
    /// Leaves in the log, those of earlier runs included.
    pub leaves: u64,
    /// Cases refused by a rule.
    pub refused: u64,
    /// Requests refused because the engine can only be read.
    pub refused_read_only: u64,
    /// Cases answered with a statement that was there already.
    pub replays: u64,
    /// Leaves hashed again by the scrub.
    pub scrubbed: u64,
    /// Final answers of ledgers to orders.
    pub orders_answered: u64,
    /// New verdicts that abort.
    pub verdicts_aborted: u64,
    /// New verdicts that replace.
    pub verdicts_replaced: u64,
    /// New verdicts that revoke.
    pub verdicts_revoked: u64,
}

/// What all handles and the writer share.
struct Shared {
    desk: Desk,
    keys: Keys,
    store: Arc<dyn Store>,
    clock: NeverBack,
    state: watch::Sender<State>,
    /// Why only reads are served; set before the state says so.
    read_only: OnceLock<ReadOnly>,
    /// Whether there are exchanges whose records were lost.
    has_lost: bool,
    /// Only reads were served from the start on.
    writerless: bool,
    tally: Tally,
    /// Owns the newest tree that a returned commit holds: what the log shows to the world.
    published: Mutex<Published>,
    /// Owns the names and the room of contents.
    contents: Mutex<Contents>,
    /// Opens escrows. Replaced whole when there are other epochs.
    escrow: Mutex<Arc<EscrowKeys>>,
    /// Wakes who tells ledgers.
    orders: watch::Sender<u64>,
    /// Wakes who decides requests when their time has come.
    standing: watch::Sender<u64>,
    /// The size of the log. Wakes who publishes it.
    grown: watch::Sender<u64>,
    benches: Benches,
    /// The newest signed checkpoint, so that a batch signs one only once.
    checkpoints: Mutex<Option<(Vec<u8>, [u8; 64])>>,
    /// The tree that was last found in the store before a signature: a batch looks once.
    stored_tree: Mutex<Option<Tree>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// Reads are served; nothing is decided, committed or signed (R-523).
    ReadOnly,
    Ended(Ended),
}

#[derive(Clone, Copy, Debug)]
struct Published {
    commits: u64,
    size: u64,
    root: Digest,
}

#[derive(Debug, Default)]
struct Tally {
    affidavits: AtomicU64,
    attestations: AtomicU64,
    commits: AtomicU64,
    erased: AtomicU64,
    escrows_false: AtomicU64,
    escrows_opened: AtomicU64,
    orders_answered: AtomicU64,
    refused: AtomicU64,
    refused_read_only: AtomicU64,
    replays: AtomicU64,
    scrubbed: AtomicU64,
    verdicts_aborted: AtomicU64,
    verdicts_replaced: AtomicU64,
    verdicts_revoked: AtomicU64,
}

enum Message {
    File(Box<Job>),
    Hear(Box<Heard>),
    Log(Entry),
    Stop,
}

/// What the operator has logged.
struct Entry {
    what: Wanted,
    reply: oneshot::Sender<Result<LeafIndex, EngineError>>,
}

#[derive(Clone, Copy, Debug)]
enum Wanted {
    Erase(ExchangeId, ErasureReason),
    Note(Notice),
}

/// What a ledger said.
struct Heard {
    exchange: ExchangeId,
    role: Role,
    receipt: Verified<PaymentReceipt>,
    reply: oneshot::Sender<bool>,
}

struct Job {
    case: Case,
    held: Held,
    reply: oneshot::Sender<Result<Granted, EngineError>>,
}

/// A decision that is durable: from here on it may be signed.
struct Granted {
    reply: Reply,
    record: Arc<Record>,
}

impl Handle {
    /// Files a case and waits for the durable answer. `held` is a deposit, or what was in escrow. The engine removes
    /// the contents if no record names them, except after [`EngineError::Overloaded`]: then it never saw the case.
    pub async fn file(&self, case: Case, held: Held) -> Result<Filed, EngineError> {
        self.shared.writable()?;
        let request = case.request().digest();
        let (reply, granted) = oneshot::channel();
        let job = Box::new(Job { case, held, reply });
        self.queue.try_send(Message::File(job)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => EngineError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => EngineError::Stopped,
        })?;
        let granted = granted.await.map_err(|_| EngineError::Stopped)??;
        self.shared.release(&granted, request)
    }

    /// Files what a ledger said to an order (R-423); `false` if it is no final answer to an open order. Durable on return.
    pub async fn hear(
        &self,
        exchange: ExchangeId,
        role: Role,
        receipt: Verified<PaymentReceipt>,
    ) -> Result<bool, EngineError> {
        self.shared.writable()?;
        let (reply, heard) = oneshot::channel();
        let message = Message::Hear(Box::new(Heard { exchange, role, receipt, reply }));
        self.queue.send(message).await.map_err(|_| EngineError::Stopped)?;
        heard.await.map_err(|_| EngineError::Stopped)
    }

    /// Logs that somebody else confirmed a time or a state of the log (R-536): `token` is the digest of what they signed,
    /// such as the bytes of an RFC 3161 token over a checkpoint. Durable on return.
    pub async fn anchor(&self, token: Digest) -> Result<LeafIndex, EngineError> {
        self.log(Wanted::Note(Notice::Anchor(token))).await
    }

    /// Logs the digest of what the operator declares, if it is another than the one logged last (R-535). Durable on return.
    pub async fn declare(&self, policy: Digest) -> Result<Option<LeafIndex>, EngineError> {
        if self.shared.read(self.shared.store.declared_policy())? == Some(policy) {
            return Ok(None);
        }
        self.log(Wanted::Note(Notice::PolicyChange(policy))).await.map(Some)
    }

    /// Logs the digest of the statement that names the successor (R-537). Durable on return.
    pub async fn rotate(&self, succession: Digest) -> Result<LeafIndex, EngineError> {
        self.log(Wanted::Note(Notice::KeyRotation(succession))).await
    }

    /// Destroys what is kept about an exchange that is over (R-533), and logs that. On return it is gone from every read;
    /// [`Store::forget_history`] has it gone from the files.
    pub async fn erase(&self, exchange: ExchangeId, reason: ErasureReason) -> Result<LeafIndex, EngineError> {
        self.log(Wanted::Erase(exchange, reason)).await
    }

    /// What was stated about an exchange, each as the receipt for the request that caused it: attestations, then the verdict.
    pub fn receipts(&self, exchange: &ExchangeId) -> Result<Vec<Receipt>, EngineError> {
        let receipts = self.shared.receipts(exchange, None)?;
        Ok(receipts.into_iter().map(|(_, receipt)| receipt).collect())
    }

    async fn log(&self, what: Wanted) -> Result<LeafIndex, EngineError> {
        let (reply, logged) = oneshot::channel();
        let message = Message::Log(Entry { what, reply });
        self.queue.send(message).await.map_err(|_| EngineError::Stopped)?;
        logged.await.map_err(|_| EngineError::Stopped)?
    }

    /// Orders to ledgers that are open, in the order of their ledgers, from the one after `after`; at most `count`.
    pub fn open_orders(
        &self,
        after: Option<&OpenOrder>,
        count: usize,
    ) -> Result<Vec<OpenOrder>, EngineError> {
        self.shared.read(self.shared.store.open_orders(after, count))
    }

    /// The order as the ledger is told it: read from the durable record and signed, the same bytes each time. `None` if it
    /// was answered meanwhile.
    pub fn payment_order(&self, open: &OpenOrder) -> Result<Option<Verified<PaymentOrder>>, EngineError> {
        self.shared.payment_order(open)
    }

    /// Changes whenever a verdict has given new orders to ledgers.
    pub fn new_orders(&self) -> watch::Receiver<u64> {
        self.shared.orders.subscribe()
    }

    /// The size of the log; changes whenever it has grown.
    pub fn grown(&self) -> watch::Receiver<u64> {
        self.shared.grown.subscribe()
    }

    /// Changes whenever a request was kept that waits for its time.
    pub fn new_standing(&self) -> watch::Receiver<u64> {
        self.shared.standing.subscribe()
    }

    /// The requests that wait for their time, the earliest first, from the one after `after`; at most `count` (R-424).
    pub fn standing(&self, after: Option<&Due>, count: usize) -> Result<Vec<Due>, EngineError> {
        self.shared.read(self.shared.store.standing(after, count))
    }

    /// The case of a request that waits for its time; `None` if it was decided meanwhile.
    pub fn standing_case(&self, due: &Due) -> Result<Option<Case>, EngineError> {
        let record = self.shared.read(self.shared.store.record(&due.exchange))?;
        let Some(standing) = record.standing.of(due.role) else { return Ok(None) };
        let case = standing.case(&self.desk().arbiter).map_err(|rejected| {
            tracing::error!(exchange = %due.exchange, %rejected, "a standing request does not verify; run arbiter fsck");
            EngineError::Damaged
        })?;
        Ok(Some(case))
    }

    /// Whether a deposit would be accepted now, before a byte of it is received; whether escrows would have to be
    /// opened, before any is. Not a promise.
    pub fn precheck(&self, case: &Case) -> Result<Precheck, EngineError> {
        let shared = &self.shared;
        shared.writable()?;
        let record = shared.record(&case.exchange_id())?;
        let next = LeafIndex(self.log_size());
        match decide(case, record.known(), self.now(), next, ByRole::default())? {
            Decision::Attest(_) => Ok(Precheck::ContentWanted),
            Decision::Rule(_) if !case.to_open().is_empty() => Ok(Precheck::EscrowsWanted),
            _ => Ok(Precheck::Answered),
        }
    }

    /// Every receipt of an exchange, in the order of the log, as the answer to this query of a party. Nothing is decided.
    pub fn evidence(&self, case: &Case) -> Result<Vec<(LeafIndex, Receipt)>, EngineError> {
        let receipts = self.shared.receipts(&case.exchange_id(), Some(case.request().digest()))?;
        if receipts.is_empty() { Err(Refused::VerdictNotFound.into()) } else { Ok(receipts) }
    }

    /// The arbiter's time; never goes back.
    pub fn now(&self) -> UnixMillis {
        self.shared.clock.now()
    }

    /// Who this arbiter is.
    pub fn desk(&self) -> &Desk {
        &self.shared.desk
    }

    /// What opens escrows.
    pub fn escrow_keys(&self) -> Arc<EscrowKeys> {
        Arc::clone(&lock(&self.shared.escrow))
    }

    /// From now on these open escrows (R-412). They were signed where they were loaded.
    pub fn replace_escrow_keys(&self, keys: Arc<EscrowKeys>) {
        *lock(&self.shared.escrow) = keys;
    }

    /// A name for a new content that no other content has or had, and room for its `size_bytes`, if all
    /// deposits together take at most `most_bytes` then. [`Handle::remove_content`] gives the room back.
    pub fn new_content_id(&self, size_bytes: u64, most_bytes: u64) -> Result<ContentId, EngineError> {
        self.shared.writable()?;
        let commits = self.shared.published().commits;
        lock(&self.shared.contents).begin(commits, size_bytes, most_bytes)
    }

    /// Puts one sealed chunk of a deposit that is being received.
    pub fn put_chunk(&self, content: ContentId, chunk: u64, sealed: &[u8]) -> Result<(), EngineError> {
        self.shared.read(self.shared.store.put_chunk(content, chunk, sealed))
    }

    /// Completes a deposit that was received.
    pub fn put_content(&self, content: ContentId, head: &ContentHead) -> Result<(), EngineError> {
        self.shared.read(self.shared.store.put_content(content, head))
    }

    /// Forgets a content that was never filed.
    pub fn remove_content(&self, content: ContentId) -> Result<(), EngineError> {
        self.shared.read(self.shared.remove_content(content))
    }

    /// What opens a content, and how many chunks it has.
    pub fn content(&self, content: ContentId) -> Result<ContentHead, EngineError> {
        let head = self.shared.read(self.shared.store.content(content))?;
        head.ok_or_else(|| self.shared.missing("content", content.0))
    }

    /// One sealed chunk.
    pub fn chunk(&self, content: ContentId, chunk: u64) -> Result<Vec<u8>, EngineError> {
        let sealed = self.shared.read(self.shared.store.chunk(content, chunk))?;
        sealed.ok_or_else(|| self.shared.missing("chunk of content", content.0))
    }

    /// How many leaves the log has.
    pub fn log_size(&self) -> u64 {
        self.shared.published().size
    }

    /// The newest checkpoint as a signed note. Where only reads are served it is the newest one that is known, which may be
    /// of a larger tree than the store has.
    pub fn checkpoint(&self) -> Result<String, EngineError> {
        if let Some(read_only) = self.read_only() {
            return read_only.note.clone().ok_or(EngineError::ReadOnly);
        }
        let Published { size, root, .. } = self.shared.published();
        let origin = self.desk().arbiter.log_origin.clone();
        self.shared.checkpoint(&Checkpoint { origin, size, root })
    }

    /// The newest published checkpoint as it was kept, a note; `None` if none was published.
    pub fn published(&self) -> Result<Option<String>, EngineError> {
        self.shared.read(self.shared.store.published())
    }

    /// Keeps the newest published checkpoint, durable on return (R-540). If that fails the next commit fails too (R-505).
    pub fn publish(&self, note: &str) -> Result<(), EngineError> {
        self.shared.writable()?;
        self.shared.read(self.shared.store.publish(note))
    }

    /// The root of the first `size` leaves, from stored nodes.
    pub fn root(&self, size: u64) -> Result<Digest, EngineError> {
        let root = self.shared.read(durable_root(&*self.shared.store, size))?;
        root.ok_or(EngineError::OutOfRange { size: self.log_size() })
    }

    /// The bytes of a tile (R-542). All of it must be in the log: that is the caller's affair, what is missing counts as
    /// damage.
    pub fn tile(&self, path: TilePath) -> Result<Vec<u8>, EngineError> {
        self.shared.read(tiles::read(&*self.shared.store, path))
    }

    /// Indices of leaves that are found `by` something, from `first` on, ascending; at most `count` (R-544).
    pub fn indexed(&self, by: By, first: u64, count: usize) -> Result<Vec<u64>, EngineError> {
        self.shared.read(self.shared.store.indexed(by, first, count))
    }

    /// One leaf.
    pub fn entry(&self, index: u64) -> Result<Vec<u8>, EngineError> {
        let leaf = self.entries(index, 1)?.pop();
        leaf.ok_or(EngineError::OutOfRange { size: self.log_size() })
    }

    /// Leaves from `first` on, at most `count`; none where the log ends.
    pub fn entries(&self, first: u64, count: usize) -> Result<Vec<Vec<u8>>, EngineError> {
        let left = self.log_size().saturating_sub(first);
        let count = count.min(usize::try_from(left).unwrap_or(usize::MAX));
        self.shared.read(self.shared.store.leaves(first, count))
    }

    /// Proves that leaf `index` is in the tree of the first `size` leaves.
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Digest>, EngineError> {
        let known = self.log_size();
        if index >= size || size > known {
            return Err(EngineError::OutOfRange { size: known });
        }
        self.shared.prove(index, size)
    }

    /// Proves that the tree of `new` leaves begins with the tree of `old` leaves.
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Digest>, EngineError> {
        let known = self.log_size();
        if old == 0 || old > new || new > known {
            return Err(EngineError::OutOfRange { size: known });
        }
        let store = &self.shared.store;
        self.shared.read(merkle::consistency_proof(old, new, |node| store.required_node(node)))
    }

    /// Counts since the start.
    pub fn counters(&self) -> Counters {
        let tally = &self.shared.tally;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counters {
            affidavits: read(&tally.affidavits),
            attestations: read(&tally.attestations),
            commits: read(&tally.commits),
            erased: read(&tally.erased),
            escrows_false: read(&tally.escrows_false),
            escrows_opened: read(&tally.escrows_opened),
            leaves: self.log_size(),
            refused: read(&tally.refused),
            refused_read_only: read(&tally.refused_read_only),
            orders_answered: read(&tally.orders_answered),
            replays: read(&tally.replays),
            scrubbed: read(&tally.scrubbed),
            verdicts_aborted: read(&tally.verdicts_aborted),
            verdicts_replaced: read(&tally.verdicts_replaced),
            verdicts_revoked: read(&tally.verdicts_revoked),
        }
    }

    /// Takes no more cases, finishes those that wait, and returns when the writer has ended.
    pub async fn stop(&self) -> Ended {
        // An error means that the writer has ended already, or never was.
        let _ = self.queue.send(Message::Stop).await;
        self.shared.end_without_writer();
        self.ended().await
    }

    /// Waits for the end of the writer, however it comes.
    pub async fn ended(&self) -> Ended {
        let mut state = self.shared.state.subscribe();
        loop {
            if let State::Ended(ended) = *state.borrow_and_update() {
                return ended;
            }
            if state.changed().await.is_err() {
                return Ended::Failed;
            }
        }
    }
}

/// Runs what reads the store on a worker thread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| EngineError::Stopped)?
}
