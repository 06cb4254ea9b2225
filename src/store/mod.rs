//! Durable state: one writer, one atomic batch, one head (decision D8).
//!
//! # Contract
//! - [`Store::commit`] is all or nothing and durable when it returns `Ok`: everything in the batch, and every
//!   content chunk put before, survives power loss. It compares the head first: if another writer moved it,
//!   nothing changes and the result is [`StoreError::HeadMoved`].
//! - After an `Err` from `commit` the outcome is unknown. The caller stops the process and starts again.
//! - Reads see every commit that returned.
//! - Chunks of content are not durable before the next commit; content no record names is garbage after a
//!   restart and is removed on open.
//!
//! # What each part is trusted for
//! Records, leaves, nodes and head are trusted for availability only: at start the root is rebuilt and a
//! mismatch refuses to sign; `fsck` recomputes everything. Contents are sealed to their recipient, records under a key of
//! each exchange that opens with the key file only: whoever reads the store without it learns how many exchanges there
//! are, their ids, sizes and times. With it one learns the statements and escrows that parties filed, never a deposited
//! item or a signature that was in escrow.

pub mod journal;
pub mod mem;
pub mod raw;
pub mod rocks;
pub mod schema;
#[cfg(any(test, feature = "testing"))]
pub mod suite;
pub mod tiles;

use std::collections::BTreeMap;
use std::path::PathBuf;

use arbiter_protocol::evidence::leaf::Pseudonym;
use arbiter_protocol::evidence::merkle::NodeId;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::ids::{Digest, ExchangeId, LeafIndex, PublicKey};
use arbiter_protocol::ruling::notice::Erased;
use arbiter_protocol::ruling::sequencer::{ContentId, Record};
use arbiter_protocol::time::UnixMillis;
use thiserror::Error;

pub use schema::By;

/// The stored end of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHead {
    /// How often the store was committed: the value that is compared and set.
    pub commits: u64,
    /// Number of leaves.
    pub size: u64,
    /// Root of the tree.
    pub root: Digest,
    /// The latest time ever used.
    pub time: UnixMillis,
}

/// What one commit changes.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The head that the writer saw; `None` for the first commit of a new store.
    pub expected: Option<StoredHead>,
    /// The head afterwards; `commits` is one more.
    pub head: StoredHead,
    /// Records that changed.
    pub records: BTreeMap<ExchangeId, Record>,
    /// Requests that stood and are decided now.
    pub decided: Vec<Due>,
    /// Exchanges that are erased now; none of them is in `records`.
    pub erased: Vec<Erased>,
    /// The policy that is declared from now on, if it changed.
    pub policy: Option<Digest>,
    /// New leaves: their indices end at `head.size - 1`.
    pub leaves: Vec<Vec<u8>>,
    /// Tree nodes that became complete.
    pub nodes: Vec<(NodeId, Digest)>,
    /// Exchanges whose leaves came back without their records, and the leaf of each that tells of its ruling.
    pub lost: Vec<(Pseudonym, LeafIndex)>,
}

/// Sealed content: what opens it, then its chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentHead {
    /// HPKE encapsulated key.
    pub encapsulated: [u8; 32],
    /// Number of sealed chunks.
    pub chunks: u64,
}

/// A request that waits for its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When it can be decided.
    pub at: UnixMillis,
    /// Which exchange.
    pub exchange: ExchangeId,
    /// Who asked.
    pub role: Role,
}

/// An order to a ledger that follows from a verdict and was not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpenOrder {
    /// Whom it is for.
    pub ledger: PublicKey,
    /// Which exchange.
    pub exchange: ExchangeId,
    /// Whose payment.
    pub role: Role,
    /// Which of its payments, from 0: others than 0 are in packages.
    pub leaf: u8,
}

/// Something is wrong with the store, never with a party. Who shows it says which data folder it is about.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another writer committed in between.
    #[error("another process has written to it")]
    HeadMoved,
    /// The side journal is not what was written to it.
    #[error(
        "journal {}: byte {offset} {problem}; check the data folder with arbiter fsck, then move the journal away and start \
         again: the arbiter goes on from its data folder alone", file.display()
    )]
    Journal {
        /// The file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        problem: &'static str,
    },
    /// Another process has the data folder open.
    #[error("it is in use by another process")]
    InUse,
    /// The bytes of a key or value cannot be what we wrote.
    #[error("stored {what} is damaged: {detail}")]
    Damaged {
        /// Which kind of entry.
        what: &'static str,
        /// Which entry and how.
        detail: String,
    },
    /// There is no log, and nothing else either.
    #[error("it holds no log")]
    Empty,
    /// The data folder was made by another version, or by something else.
    #[error("it has format version {found}, this program reads version {known}: {}", format_advice(*found, *known))]
    Format {
        /// Version found.
        found: u32,
        /// Version known.
        known: u32,
    },
    /// The data folder belongs to another arbiter's keys.
    #[error("it belongs to another arbiter: its log is {found}, the configuration says {expected}")]
    OtherArbiter {
        /// Identity in the store.
        found: String,
        /// Identity configured.
        expected: String,
    },
    /// The folder was made with another veil seed: no record would open, and pseudonyms would not be the same.
    #[error("it was made with another key file: veil_seed is another; use the key file that belongs to it")]
    OtherVault,
    /// The engine below failed: full disk, read-only, IO error.
    #[error("storage failed: {0}")]
    Io(String),
}

/// What to do about a folder of another version.
const fn format_advice(found: u32, known: u32) -> &'static str {
    if found > known {
        "upgrade arbiter"
    } else {
        "serve it with the older arbiter that made it, or name another folder"
    }
}

/// Durable state behind the one writer. Reads may come from any thread.
pub trait Store: Send + Sync + 'static {
    /// The head, `None` if nothing was ever committed.
    fn head(&self) -> Result<Option<StoredHead>, StoreError>;
    /// The record of an exchange; an unknown exchange has the default record.
    fn record(&self, exchange: &ExchangeId) -> Result<Record, StoreError>;
    /// A complete tree node.
    fn node(&self, node: NodeId) -> Result<Option<Digest>, StoreError>;
    /// A tree node that must be there.
    fn required_node(&self, node: NodeId) -> Result<Digest, StoreError> {
        let missing = || schema::damaged(schema::Family::Nodes, &schema::node_key(node), "missing");
        self.node(node)?.ok_or_else(missing)
    }
    /// Hashes of the perfect subtrees of a `level` from `first` on; all `count` must be there.
    fn hashes(&self, level: u8, first: u64, count: usize) -> Result<Vec<Digest>, StoreError>;
    /// Leaves from `first` on, at most `count`; fewer only where the log ends.
    fn leaves(&self, first: u64, count: usize) -> Result<Vec<Vec<u8>>, StoreError>;
    /// Indices of the leaves that are found `by` something, from `first` on, ascending; at most `count`.
    fn indexed(&self, by: By, first: u64, count: usize) -> Result<Vec<u64>, StoreError>;
    /// How many entries the indices have together: two for each leaf.
    fn index_entries(&self) -> Result<u64, StoreError>;
    /// The newest published checkpoint, as a note; `None` if none was published.
    fn published(&self) -> Result<Option<String>, StoreError>;
    /// Keeps the newest published checkpoint, durable on return. After an `Err` nothing is committed any more.
    fn publish(&self, note: &str) -> Result<(), StoreError>;
    /// Makes a batch durable, if the head is still the expected one.
    fn commit(&self, commit: &Commit) -> Result<(), StoreError>;
    /// Every exchange with a record, in id order, from the one after `after`; at most `count`. For fsck,
    /// which reads each record by itself, so that a damaged one does not hide the others.
    fn exchanges(&self, after: Option<ExchangeId>, count: usize) -> Result<Vec<ExchangeId>, StoreError>;

    /// Where the log says that an exchange was erased, if it was.
    fn erased(&self, pseudonym: &Pseudonym) -> Result<Option<LeafIndex>, StoreError>;
    /// Every exchange that was erased and its erasure leaf, in the order of pseudonyms, from the one after `after`; at most
    /// `count`.
    fn erasures(
        &self,
        after: Option<Pseudonym>,
        count: usize,
    ) -> Result<Vec<(Pseudonym, LeafIndex)>, StoreError>;
    /// The policy declared last.
    fn declared_policy(&self) -> Result<Option<Digest>, StoreError>;
    /// Lets go of every byte that commits have removed or written over, here and in every journal: after it no file holds
    /// what was erased. Takes as long as rewriting all records. Nothing else changes.
    fn forget_history(&self) -> Result<(), StoreError>;

    /// Orders to ledgers that are open, in the order of their ledgers, from the one after `after`; at most `count`.
    fn open_orders(&self, after: Option<&OpenOrder>, count: usize) -> Result<Vec<OpenOrder>, StoreError>;

    /// The requests that wait for their time, the earliest first, from the one after `after`; at most `count`.
    fn standing(&self, after: Option<&Due>, count: usize) -> Result<Vec<Due>, StoreError>;

    /// Whether the record of an exchange was lost while its leaves came back, and which leaf tells of it.
    fn lost(&self, _exchange: &Pseudonym) -> Result<Option<LeafIndex>, StoreError> {
        Ok(None)
    }
    /// Every such exchange, in the order of the pseudonyms.
    fn all_lost(&self) -> Result<Vec<(Pseudonym, LeafIndex)>, StoreError> {
        Ok(Vec::new())
    }

    /// Puts one sealed chunk of content that no record names yet.
    fn put_chunk(&self, content: ContentId, chunk: u64, sealed: &[u8]) -> Result<(), StoreError>;
    /// Completes content that no record names yet.
    fn put_content(&self, content: ContentId, head: &ContentHead) -> Result<(), StoreError>;
    /// The head of a content.
    fn content(&self, content: ContentId) -> Result<Option<ContentHead>, StoreError>;
    /// How many chunks the complete contents have together. One that cannot be read counts nothing: it is found
    /// by who fetches it, and by `fsck`.
    fn content_chunks(&self) -> Result<u64, StoreError>;
    /// One sealed chunk.
    fn chunk(&self, content: ContentId, chunk: u64) -> Result<Option<Vec<u8>>, StoreError>;
    /// Forgets content that no record will name.
    fn remove_content(&self, content: ContentId) -> Result<(), StoreError>;
}
