//! Checks a whole store again, from the evidence up, and names the first fault.
//!
//! ```text
//!  leaves ─▶ form, place, time, chain of each exchange ─▶ tree ─▶ every node, root, head       (fsck::log)
//!  records ─▶ party signatures ─▶ rules decide again ─▶ same statement ─▶ same leaf, same tree
//!          └▶ held contents are whole                                                        (fsck::records)
//!  published checkpoint ─▶ our signature, root of the first leaves                          (fsck::published)
//!  leaves ─▶ found by event and by exchange, and nothing else is                             (fsck::indices)
//!  journal, export, anchors ─▶ every file, compared with the store                                     (fsck::beside)
//! ```
//!
//! Nothing is written and nothing is signed. Invariants
//! - The fault reported is the one with the lowest leaf index; faults without an index come last.
//! - Every leaf but those about the log itself belongs to exactly one statement of one record, and the other way round;
//!   but for exchanges that were erased (R-533) or whose records were lost (R-526), which are counted.
//! - A check of what is stored never trusts another stored value that the tree does not commit to.

mod beside;
mod indices;
mod log;
mod published;
mod records;

use std::fmt;

pub use beside::{check_anchors, check_export, check_journal};
pub(crate) use log::Rehash;

use arbiter_protocol::error::Rejected;
use arbiter_protocol::ids::{Digest, ExchangeId};
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::ruling::chain::LeafFault;
use arbiter_protocol::ruling::sequencer::Veil;
use thiserror::Error;

use crate::anchors::AnchorsError;
use crate::export_folder::ExportError;
use crate::store::{Store, StoreError};

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// Leaves in the log.
    pub leaves: u64,
    /// Root of the tree that the leaves give; absent if they give none.
    pub root: Option<Digest>,
    /// Attestations checked and good.
    pub attestations: u64,
    /// Answers of ledgers to orders.
    pub answers: u64,
    /// Exchanges that were erased.
    pub erased: u64,
    /// Verdicts checked and good.
    pub verdicts: u64,
    /// Exchanges whose leaves came back, but not their records (R-526).
    pub lost: u64,
    /// The first fault.
    pub fault: Option<Fault>,
}

/// Something that cannot be as an honest, undamaged arbiter leaves it.
#[derive(Debug)]
pub struct Fault {
    /// The leaf at fault, or of the statement at fault. `None` if it cannot be told, or concerns no leaf.
    pub index: Option<u64>,
    /// The exchange, where it is known.
    pub exchange: Option<ExchangeId>,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "leaf {index}")?,
            None => f.write_str("store")?,
        }
        if let Some(exchange) = self.exchange {
            write!(f, " (exchange {exchange})")?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// How far a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many leaves are checked.
    Leaves {
        /// Checked.
        done: u64,
        /// In the log.
        total: u64,
    },
    /// So many records are checked.
    Records {
        /// Checked.
        done: u64,
    },
}

/// What can be wrong.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Problem {
    /// A time-stamp cannot be read.
    #[error(transparent)]
    Anchor(#[from] AnchorsError),
    /// A time-stamp is over a tree that is none of this log.
    #[error("the time-stamp is over a tree that is not one of this log (R-546)")]
    AnchorTree,
    /// A deposit, or a signature out of escrow, is not whole.
    #[error("the content held for a party is not whole: {problem}")]
    Content {
        /// What is missing.
        problem: &'static str,
    },
    /// A record counts other leaves than it has.
    #[error("the record counts other leaves than it has statements")]
    Count,
    /// The journal or the export has another leaf.
    #[error("the {place} has another leaf here")]
    Beside {
        /// `journal` or `export`.
        place: &'static str,
    },
    /// The rules decide otherwise.
    #[error("the rules give another decision for this evidence (F13)")]
    Decision,
    /// A statement of a party does not verify.
    #[error("a party's statement in the record: {0}")]
    Evidence(Rejected),
    /// The list of erased exchanges is not what the leaves give, or one of them still has a record.
    #[error("the erased exchanges are not those that the leaves name, or one still has a record (R-533)")]
    Erased,
    /// Leaf 0 is not the beginning of this arbiter's log, or the beginning is elsewhere.
    #[error("the log does not begin, or begins again, for this arbiter here (R-502)")]
    Genesis,
    /// The export cannot be read.
    #[error("export: {0}")]
    Export(#[from] ExportError),
    /// The head cannot be right.
    #[error("the head says {what} that the leaves do not give")]
    Head {
        /// `a root` or `a time`.
        what: &'static str,
    },
    /// The policy kept is not the one that the newest such leaf names.
    #[error("the policy declared last is not the one that the leaves give (R-535)")]
    Policy,
    /// The indices of the log are not what the leaves give.
    #[error("the indices of the log, by event and by exchange, are not what the leaves give (R-544)")]
    Indices,
    /// A leaf breaks a rule of the log.
    #[error(transparent)]
    Leaf(#[from] LeafFault),
    /// A record's copy of a leaf is not the logged leaf, or the leaf does not describe the statement.
    #[error("the leaf does not describe the statement in the record")]
    LeafMismatch,
    /// A tree node is not what the leaves give.
    #[error("tree node {index} of level {level} is not what the leaves give")]
    Node {
        /// Height.
        level: u8,
        /// Position.
        index: u64,
    },
    /// A mark of a lost ruling that the log does not explain.
    #[error("an exchange is marked as one whose ruling was lost, and the log does not say so (R-526)")]
    Lost,
    /// The list of open orders to ledgers is not what the records give.
    #[error("the open orders to ledgers are not those that the records give (R-423)")]
    Orders,
    /// A record is kept under another exchange than it is about.
    #[error("the record is kept under another exchange than it is about")]
    OtherExchange,
    /// The published checkpoint is not one of this log.
    #[error("the published checkpoint is not one of this log (R-540)")]
    Published,
    /// A record without any statement.
    #[error("the record holds no statement")]
    RecordEmpty,
    /// A restore leaf does not commit to the leaves before it.
    #[error("it does not name the checkpoint of the leaves before it (R-525)")]
    Restore,
    /// The salted record does not give the commitment in the leaf.
    #[error("the record does not give the commitment in the leaf")]
    SealedRecord,
    /// A request that waits for its time is not what the records give, or does not verify.
    #[error("the requests that wait for their time are not those that the records give (R-424)")]
    Standing,
    /// The store could not give an entry.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal or the export knows more than the store.
    #[error("the {place} knows {known} leaves: the data folder is older; do not serve from it (R-522)")]
    RolledBack {
        /// `journal` or `export`.
        place: &'static str,
        /// How many.
        known: u64,
    },
    /// A tile of the export is not what the store gives.
    #[error("the export's file {file} is not what the leaves give")]
    Tile {
        /// The tile.
        file: String,
    },
    /// The tree named in a record is not a tree of this log that holds the leaf.
    #[error("the tree that the record names is not one of this log that holds the leaf")]
    Tree,
    /// A leaf whose statement is nowhere.
    #[error("no record holds the statement of this leaf")]
    Unclaimed,
}

/// Checks everything. With `veil`, pseudonyms too.
pub fn check(
    store: &dyn Store,
    arbiter: &ArbiterIdentity,
    veil: Option<&dyn Veil>,
    progress: &mut dyn FnMut(Progress),
) -> Report {
    let mut report = Report::default();
    match store.head() {
        Err(error) => report.found(None, None, error.into()),
        Ok(None) => report.found(None, None, Problem::Genesis),
        Ok(Some(head)) => {
            report.leaves = head.size;
            let good = log::check(store, &head, arbiter, &mut report, progress);
            records::check(store, arbiter, veil, &good, &mut report, progress);
            indices::check_count(store, &good, &mut report);
            published::check(store, arbiter, &good, &mut report);
        }
    }
    report
}

impl Report {
    /// Keeps the fault with the lowest index; of two with the same, the first found.
    fn found(&mut self, index: Option<u64>, exchange: Option<ExchangeId>, problem: Problem) {
        let place = |index: Option<u64>| index.unwrap_or(u64::MAX);
        if self.fault.as_ref().is_none_or(|known| place(index) < place(known.index)) {
            self.fault = Some(Fault { index, exchange, problem });
        }
    }
}
