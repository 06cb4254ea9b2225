//! The log by itself: every leaf, every node, the root, the head.

use std::collections::BTreeMap;
use std::ops::Range;

use arbiter_protocol::evidence::leaf::{Event, Leaf};
use arbiter_protocol::evidence::merkle::{Frontier, leaf_hash};
use arbiter_protocol::ids::{Digest, LeafIndex};
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::ruling::chain::Walk;
use arbiter_protocol::ruling::sequencer::restore_token;

use super::{Problem, Progress, Report, indices};
use crate::store::{Store, StoreError, StoredHead};

/// The part of the log that is good: all leaves before the first fault.
pub(super) struct Good {
    /// How many leaves are good.
    pub(super) leaves: u64,
    /// How many leaves the head says there are.
    pub(super) stored: u64,
    /// Whether leaves were put back once.
    pub(super) restored: bool,
    /// What is known of each exchange, by its pseudonym.
    pub(super) exchanges: BTreeMap<[u8; 16], Chain>,
    /// The leaves about the log itself: no record has their statements.
    pub(super) of_the_log: Vec<Range<u64>>,
    /// The policy that the newest such leaf names.
    policy: Option<Digest>,
}

impl Good {
    /// Whether the exchange of this leaf was erased: no record has to hold its statement.
    pub(super) fn is_erased(&self, leaf: &Leaf) -> bool {
        self.exchanges.get(&leaf.exchange.0).is_some_and(|chain| chain.erased.is_some())
    }
}

/// The leaves of one exchange.
pub(super) struct Chain {
    /// The first of them.
    pub(super) first: u64,
    /// The leaf that erases it.
    pub(super) erased: Option<LeafIndex>,
}

struct Reading<'a> {
    arbiter: &'a ArbiterIdentity,
    walk: Walk,
    rehash: Rehash,
    good: Good,
    /// Whether the indices have found all leaves so far.
    found: bool,
}

const PAGE: usize = 512;

/// Checks leaf after leaf up to the first fault.
pub(super) fn check(
    store: &dyn Store,
    head: &StoredHead,
    arbiter: &ArbiterIdentity,
    report: &mut Report,
    progress: &mut dyn FnMut(Progress),
) -> Good {
    let good = Good {
        leaves: 0,
        stored: head.size,
        restored: false,
        exchanges: BTreeMap::new(),
        of_the_log: Vec::new(),
        policy: None,
    };
    let walk = Walk::new(Some(arbiter.clone()));
    let mut reading = Reading { arbiter, walk, rehash: Rehash::default(), good, found: true };
    while reading.good.leaves < head.size {
        let first = reading.good.leaves;
        let page = match page(store, first, PAGE) {
            Ok(page) => page,
            Err(error) => {
                report.found(Some(first), None, error.into());
                return reading.good;
            }
        };
        if let Err(problem) = reading.page(store, &page, report) {
            report.found(Some(reading.good.leaves), None, problem);
            return reading.good;
        }
        progress(Progress::Leaves { done: reading.good.leaves, total: head.size });
    }
    let root = reading.rehash.root();
    report.root = Some(root);
    if head.size == 0 {
        report.found(None, None, Problem::Genesis);
    }
    if root != head.root {
        report.found(None, None, Problem::Head { what: "a root" });
    }
    match store.declared_policy() {
        Ok(declared) if declared == reading.good.policy => {}
        Ok(_) => report.found(None, None, Problem::Policy),
        Err(error) => report.found(None, None, error.into()),
    }
    if reading.walk.time() > head.time {
        report.found(None, None, Problem::Head { what: "a time" });
    }
    reading.good
}

/// Leaves from `first` on. A damaged one hides its page: then one by one, to find out which.
fn page(store: &dyn Store, first: u64, count: usize) -> Result<Vec<Vec<u8>>, StoreError> {
    store.leaves(first, count).or_else(|_| store.leaves(first, 1))
}

/// Hashes the leaves again, one after the other, and compares every node that they complete: what `fsck` and the scrub
/// share.
#[derive(Debug, Default)]
pub(crate) struct Rehash {
    frontier: Frontier,
}

impl Rehash {
    /// How many leaves are good.
    pub(crate) const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The root of the good leaves.
    pub(crate) fn root(&self) -> Digest {
        self.frontier.root()
    }

    /// The next leaves, at most `count` and not beyond `end`; how many there were. On an error [`Rehash::size`] is the
    /// index of the leaf at fault.
    pub(crate) fn advance(&mut self, store: &dyn Store, count: usize, end: u64) -> Result<usize, Problem> {
        let left = usize::try_from(end.saturating_sub(self.size())).unwrap_or(usize::MAX);
        let page = page(store, self.size(), count.min(left))?;
        if !self.page(store, &page) {
            page.iter().try_for_each(|bytes| self.leaf(store, bytes))?;
        }
        Ok(page.len())
    }

    /// Takes a page of leaves at once: what they complete is read level by level, which costs a tenth of reading node by node.
    /// If anything differs nothing is taken, and `false` is returned: then [`Rehash::leaf`] finds out where.
    fn page(&mut self, store: &dyn Store, page: &[Vec<u8>]) -> bool {
        let mut with = self.frontier.clone();
        let mut levels: BTreeMap<u8, (u64, Vec<Digest>)> = BTreeMap::new();
        for (node, hash) in page.iter().flat_map(|bytes| with.append(leaf_hash(bytes))) {
            levels.entry(node.level).or_insert((node.index, Vec::new())).1.push(hash);
        }
        let stored = |level: u8, first, hashes: &[Digest]| {
            store.hashes(level, first, hashes.len()).is_ok_and(|found| found == hashes)
        };
        let good = levels.iter().all(|(level, (first, hashes))| stored(*level, *first, hashes));
        if good {
            self.frontier = with;
        }
        good
    }

    fn leaf(&mut self, store: &dyn Store, bytes: &[u8]) -> Result<(), Problem> {
        let mut with = self.frontier.clone();
        for (node, hash) in with.append(leaf_hash(bytes)) {
            if store.required_node(node)? != hash {
                return Err(Problem::Node { level: node.level, index: node.index });
            }
        }
        self.frontier = with;
        Ok(())
    }
}

impl Reading<'_> {
    /// Checks a page of leaves up to the first fault, and that the indices find those before it.
    fn page(&mut self, store: &dyn Store, page: &[Vec<u8>], report: &mut Report) -> Result<(), Problem> {
        // What a restore leaf must name is the tree right before it.
        let restores =
            page.iter().any(|bytes| bytes.split(|it| *it == b'\n').nth(2) == Some(b"event restore"));
        let hashed = !restores && self.rehash.page(store, page);
        let (first, mut leaves, mut read) = (self.good.leaves, Vec::with_capacity(page.len()), Ok(()));
        for bytes in page {
            match self.leaf(store, bytes, hashed) {
                Ok(leaf) => leaves.push(leaf),
                Err(problem) => {
                    read = Err(problem);
                    break;
                }
            }
            self.good.leaves = self.good.leaves.saturating_add(1);
        }
        if self.found
            && let Some((index, problem)) = indices::unfound(store, first, &leaves)
        {
            self.found = false;
            report.found(Some(index), None, problem);
        }
        read
    }

    fn leaf(&mut self, store: &dyn Store, bytes: &[u8], hashed: bool) -> Result<Leaf, Problem> {
        let leaf = self.walk.read(bytes)?;
        let restored =
            leaf.event == Event::Restore && leaf.token == restore_token(self.arbiter, &self.rehash.frontier);
        if !hashed {
            self.rehash.leaf(store, bytes)?;
        }
        match leaf.event {
            Event::PolicyChange => self.good.policy = Some(leaf.token),
            Event::Restore if restored => self.good.restored = true,
            Event::Restore => return Err(Problem::Restore),
            _ => {}
        }
        let index = leaf.index.0;
        if leaf.event.is_of_the_log() {
            match self.good.of_the_log.last_mut() {
                Some(range) if range.end == index => range.end = index.saturating_add(1),
                _ => self.good.of_the_log.push(index..index.saturating_add(1)),
            }
        } else {
            let chain = self.good.exchanges.entry(leaf.exchange.0);
            let chain = chain.or_insert(Chain { first: index, erased: None });
            chain.erased = Some(leaf.index).filter(|_| leaf.event == Event::Erasure);
        }
        Ok(leaf)
    }
}
