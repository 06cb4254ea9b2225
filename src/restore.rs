//! Putting leaves back that the store has lost, from a static export and from what the journal still knows (R-525).
//!
//! ```text
//!  export: checkpoint of ours ─▶ all its leaves give its root ─▶ the store's leaves are their beginning ┐
//!  journal: newer leaves, whole records ──────────────────────────────────────────────────────────────┴─▶ one commit:
//!      the missing leaves and nodes │ a restore leaf │ records that the journal has │ marks of those that are lost
//! ```
//!
//! Invariants
//! - Nothing is written before all of it has been compared; what is written is one commit.
//! - An exchange whose leaves came back without its whole record is marked and never decided again (R-526): its verdict may
//!   have been answered, and another one would be the fraud that the log exists to show.

use std::collections::BTreeMap;
use std::path::Path;

use arbiter_protocol::error::Invalid;
use arbiter_protocol::evidence::leaf::{Event, Leaf, Pseudonym};
use arbiter_protocol::evidence::merkle::{Frontier, leaf_hash};
use arbiter_protocol::exchange::selection::ByRole;
use arbiter_protocol::ids::{Digest, ExchangeId, LeafIndex};
use arbiter_protocol::ruling::notice::Erased;
use arbiter_protocol::ruling::sequencer::{Batch, Desk, Head, Record, Veil};
use arbiter_protocol::time::UnixMillis;
use thiserror::Error;

use crate::export_folder::{BUNDLE, ExportError, ExportFolder};
use crate::store::journal::Remains;
use crate::store::raw::Unswept;
use crate::store::{Commit, Due, Store, StoreError, StoredHead, schema};

/// What was put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Leaves that the store had before.
    pub before: u64,
    /// Leaves of the log now, the restore leaf included.
    pub leaves: u64,
    /// Exchanges whose newest records the journal had.
    pub records: u64,
    /// Exchanges that are marked as lost by this.
    pub lost: u64,
}

/// Why nothing was put back. Nothing was written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The store has another leaf than the export.
    #[error(
        "leaf {index} of the data folder is not the one of the {with}: these are two histories, or one of them is damaged. \
         Run arbiter fsck; never go on with the wrong one"
    )]
    Differs {
        /// The first leaf that differs.
        index: u64,
        /// `export` or `journal`.
        with: &'static str,
    },
    /// The export cannot be used.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A leaf of the export is no leaf.
    #[error("leaf {index} of the export is not a leaf of this log: {problem}")]
    Leaf {
        /// Which.
        index: u64,
        /// Why not.
        problem: Invalid,
    },
    /// Nothing is missing.
    #[error("nothing is missing: the data folder has {size} leaves, the export {export}")]
    Nothing {
        /// Leaves in the store.
        size: u64,
        /// Leaves in the export.
        export: u64,
    },
    /// The leaves of the export do not give the root that was signed.
    #[error(
        "the leaves of the export have root {computed}, but its checkpoint says {signed}: the export is damaged"
    )]
    Root {
        /// What the leaves give.
        computed: Digest,
        /// What was signed.
        signed: Digest,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal knows more leaves than the export, but not from where the export ends.
    #[error(
        "the journal knows {known} leaves, and neither it nor the export has those from {from} on: find a newer export, or \
         move the journal away if the rest is lost for good"
    )]
    Unreachable {
        /// How many the journal knows.
        known: u64,
        /// Where the gap begins.
        from: u64,
    },
}

/// Puts back what the store lacks. The store is one that nobody serves from; `journal` is its journal, if it has one.
pub fn restore(
    store: &impl Unswept,
    journal: Option<Remains>,
    desk: &Desk,
    veil: &dyn Veil,
    export: &Path,
    now: UnixMillis,
) -> Result<Restored, RestoreError> {
    let export = ExportFolder::open(export, &desk.arbiter)?;
    let head = store.head()?;
    let size = head.as_ref().map_or(0, |head| head.size);
    let mut missing = Missing { from: size, frontier: Frontier::new(), leaves: Vec::new() };
    missing.add_export(store, &export)?;
    let known = journal.as_ref().map(|journal| missing.add_journal(store, journal)).transpose()?;
    if missing.leaves.is_empty() {
        return Err(RestoreError::Nothing { size, export: export.checkpoint().size });
    }
    let stored = Frontier::from_nodes(size, |node| store.required_node(node))?;
    let time = head.as_ref().map_or(UnixMillis(0), |head| head.time);
    let mut lost = told(&missing)?;
    let mut records = known.unwrap_or_default();
    records.retain(|exchange, record| match lost.get(&veil.pseudonym(exchange).0) {
        None => true,
        Some((newest, _)) => record.last_leaf == Some(*newest),
    });
    for exchange in records.keys() {
        lost.remove(&veil.pseudonym(exchange).0);
    }
    let rescued = u64::try_from(records.len()).unwrap_or(u64::MAX);
    let mut erased = missing.erasures()?;
    lost.retain(|exchange, _| !erased.contains_key(exchange));
    let decided = let_go(store, veil, &lost, &mut erased, &mut records)?;
    let count = u64::try_from(lost.len()).unwrap_or(u64::MAX);
    let policy = missing.policy()?;

    let mut batch = Batch::new(desk, veil, Head { frontier: stored, time });
    let added = batch.restore(missing.leaves, now);
    added.map_err(|problem| RestoreError::Leaf { index: size, problem })?;
    let closed = batch.close();
    let newest = journal.as_ref().and_then(|journal| journal.head()).map_or(0, |head| head.commits);
    let commits = head.as_ref().map_or(0, |head| head.commits).max(newest).saturating_add(1);
    let (leaves, root) = (closed.head.frontier.size(), closed.head.frontier.root());
    if let Some(journal) = &journal {
        records.values().try_for_each(|record| journal.put_contents(store, record))?;
    }
    let commit = Commit {
        expected: head,
        head: StoredHead { commits, size: leaves, root, time: closed.head.time },
        records,
        decided,
        erased: erased.into_values().collect(),
        policy,
        leaves: closed.leaves,
        nodes: closed.nodes,
        lost: lost.into_iter().map(|(exchange, (_, leaf))| (Pseudonym(exchange), leaf)).collect(),
    };
    store.commit(&commit)?;
    store.sweep()?;
    if let Some(journal) = journal {
        journal.begin_again(&commit.head)?;
    }
    Ok(Restored { before: size, leaves, records: rescued, lost: count })
}

/// The leaves that the store has not.
struct Missing {
    from: u64,
    /// Of all leaves, those of the store included.
    frontier: Frontier,
    leaves: Vec<Vec<u8>>,
}

impl Missing {
    fn add(&mut self, leaf: Vec<u8>) {
        let index = self.frontier.size();
        let _ = self.frontier.append(leaf_hash(&leaf));
        if index >= self.from {
            self.leaves.push(leaf);
        }
    }

    /// All leaves of the export, compared with its checkpoint and with the store.
    fn add_export(&mut self, store: &dyn Store, export: &ExportFolder) -> Result<(), RestoreError> {
        for bundle in 0.. {
            let Some(leaves) = export.leaves(bundle)? else { break };
            let first = bundle.saturating_mul(BUNDLE);
            let ours = store.leaves(first, leaves.len())?;
            for (index, (leaf, ours)) in (first..).zip(leaves.iter().zip(&ours)) {
                if leaf != ours {
                    return Err(RestoreError::Differs { index, with: "export" });
                }
            }
            leaves.into_iter().for_each(|leaf| self.add(leaf));
        }
        let signed = export.checkpoint().root;
        let computed = self.frontier.root();
        if computed != signed {
            return Err(RestoreError::Root { computed, signed });
        }
        // The store may have more: the journal can only add to that.
        while self.frontier.size() < self.from {
            let more = store.leaves(self.frontier.size(), PAGE)?;
            more.into_iter().for_each(|leaf| self.add(leaf));
        }
        Ok(())
    }

    /// What the journal has after that, and every record in it.
    fn add_journal(
        &mut self,
        store: &dyn Store,
        journal: &Remains,
    ) -> Result<BTreeMap<ExchangeId, Record>, RestoreError> {
        let mut records = BTreeMap::new();
        for commit in journal.commits() {
            let mut commit = commit?;
            let first = commit.expected.as_ref().map_or(0, |head| head.size);
            for (index, leaf) in (first..).zip(commit.leaves) {
                let have = self.frontier.size();
                if index > have {
                    let known = journal.head().map_or(0, |head| head.size);
                    return Err(RestoreError::Unreachable { known, from: have });
                }
                if index == have {
                    self.add(leaf);
                    continue;
                }
                let at = index.checked_sub(self.from).and_then(|at| usize::try_from(at).ok());
                let same = match at {
                    Some(at) => self.leaves.get(at) == Some(&leaf),
                    None => store.leaves(index, 1)?.first() == Some(&leaf),
                };
                if !same {
                    return Err(RestoreError::Differs { index, with: "journal" });
                }
            }
            if self.frontier.size() == commit.head.size && self.frontier.root() != commit.head.root {
                return Err(RestoreError::Differs { index: first, with: "journal" });
            }
            records.append(&mut commit.records);
        }
        // A base that no commit follows.
        match journal.head() {
            Some(head) if head.size > self.frontier.size() => {
                Err(RestoreError::Unreachable { known: head.size, from: self.frontier.size() })
            }
            _ => Ok(records),
        }
    }
}

impl Missing {
    fn decoded(&self) -> impl Iterator<Item = Result<Leaf, RestoreError>> {
        (self.from..).zip(&self.leaves).map(|(index, bytes)| {
            Leaf::decode(bytes).map_err(|problem| RestoreError::Leaf { index, problem })
        })
    }

    /// The exchanges that the missing leaves erase (R-533): what the store still has of them goes with this commit.
    fn erasures(&self) -> Result<BTreeMap<[u8; 16], Erased>, RestoreError> {
        let mut erased = BTreeMap::new();
        for leaf in self.decoded() {
            let Leaf { index, event, exchange: pseudonym, .. } = leaf?;
            if event == Event::Erasure {
                let gone = Erased { exchange: None, pseudonym, leaf: index, contents: Vec::new() };
                erased.insert(pseudonym.0, gone);
            }
        }
        Ok(erased)
    }

    /// The policy declared last (R-535), if the missing leaves tell of one.
    fn policy(&self) -> Result<Option<Digest>, RestoreError> {
        let mut policy = None;
        for leaf in self.decoded() {
            let leaf = leaf?;
            if leaf.event == Event::PolicyChange {
                policy = Some(leaf.token);
            }
        }
        Ok(policy)
    }
}

/// What the missing leaves tell: of each exchange its newest leaf, and the one that tells of its ruling.
fn told(missing: &Missing) -> Result<BTreeMap<[u8; 16], (LeafIndex, LeafIndex)>, RestoreError> {
    let mut told = BTreeMap::new();
    for leaf in missing.decoded() {
        let leaf = leaf?;
        if leaf.event.is_of_the_log() {
            continue;
        }
        let (newest, ruling) = told.entry(leaf.exchange.0).or_insert((leaf.index, leaf.index));
        *newest = leaf.index;
        // A verdict is the ruling; a deposit before it, or a ledger's answer after it, is not.
        if leaf.event.is_verdict() {
            *ruling = leaf.index;
        }
    }
    Ok(told)
}

/// Requests that stood in records which are stale now are let go: they can never be decided. Those of records that are
/// replaced wait as the new record says.
fn let_go(
    store: &dyn Store,
    veil: &dyn Veil,
    lost: &BTreeMap<[u8; 16], (LeafIndex, LeafIndex)>,
    erased: &mut BTreeMap<[u8; 16], Erased>,
    records: &mut BTreeMap<ExchangeId, Record>,
) -> Result<Vec<Due>, StoreError> {
    let mut decided = Vec::new();
    let mut after = None;
    loop {
        let page = store.exchanges(after, PAGE)?;
        let Some(last) = page.last() else { return Ok(decided) };
        after = Some(*last);
        for exchange in page {
            let pseudonym = veil.pseudonym(&exchange).0;
            if let Some(gone) = erased.get_mut(&pseudonym) {
                let record = store.record(&exchange)?;
                gone.exchange = Some(exchange);
                gone.contents = record.held.iter().filter_map(|(_, content)| *content).collect();
                decided.extend(schema::due(&exchange, &record));
                records.remove(&exchange);
                continue;
            }
            let stale = lost.contains_key(&pseudonym);
            if !stale && !records.contains_key(&exchange) {
                continue;
            }
            let record = store.record(&exchange)?;
            let stood = schema::due(&exchange, &record);
            if stale && !stood.is_empty() {
                records.insert(exchange, Record { standing: ByRole::default(), ..record });
            }
            let now = records.get(&exchange).map(|it| schema::due(&exchange, it)).unwrap_or_default();
            let kept = |due: &Due| now.contains(due) || (stale && !records.contains_key(&exchange));
            decided.extend(stood.into_iter().filter(|due| !kept(due)));
        }
    }
}

const PAGE: usize = 512;
