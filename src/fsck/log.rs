//! The log by itself: every leaf, every node, the root, the head.

use std::collections::BTreeMap;

use arbiter_protocol::evidence::leaf::{Event, Leaf, issuer_id};
use arbiter_protocol::evidence::merkle::{Frontier, leaf_hash};
use arbiter_protocol::ids::{Digest, LeafIndex};
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::role::arbiter::RULES;
use arbiter_protocol::ruling::sequencer::{genesis_token, restore_token};
use arbiter_protocol::time::UnixMillis;

use super::{Problem, Progress, Report};
use crate::store::{Store, StoreError, StoredHead};

/// The part of the log that is good: all leaves before the first fault.
pub(super) struct Good {
    /// How many leaves are good.
    pub(super) leaves: u64,
    /// How many leaves the head says there are.
    pub(super) stored: u64,
    /// Whether leaves were put back once.
    pub(super) restored: bool,
    /// The leaves of each exchange, by its pseudonym.
    pub(super) exchanges: BTreeMap<[u8; 16], Chain>,
}

/// The leaves of one exchange.
#[derive(Default)]
pub(super) struct Chain {
    /// The first of them.
    pub(super) first: u64,
    last: Option<LeafIndex>,
    count: u32,
    verdict: Option<Event>,
    attestations: u32,
    answers: u32,
}

struct Walk<'a> {
    arbiter: &'a ArbiterIdentity,
    rehash: Rehash,
    time: UnixMillis,
    good: Good,
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
    let good = Good { leaves: 0, stored: head.size, restored: false, exchanges: BTreeMap::new() };
    let mut walk = Walk { arbiter, rehash: Rehash::default(), time: UnixMillis(0), good };
    while walk.good.leaves < head.size {
        let first = walk.good.leaves;
        let page = match page(store, first, PAGE) {
            Ok(page) => page,
            Err(error) => {
                report.found(Some(first), None, error.into());
                return walk.good;
            }
        };
        for bytes in page {
            if let Err(problem) = walk.leaf(store, &bytes) {
                report.found(Some(walk.good.leaves), None, problem);
                return walk.good;
            }
            walk.good.leaves = walk.good.leaves.saturating_add(1);
        }
        progress(Progress::Leaves { done: walk.good.leaves, total: head.size });
    }
    let root = walk.rehash.frontier.root();
    report.root = Some(root);
    if head.size == 0 {
        report.found(None, None, Problem::Genesis);
    }
    if root != head.root {
        report.found(None, None, Problem::Head { what: "a root" });
    }
    if walk.time > head.time {
        report.found(None, None, Problem::Head { what: "a time" });
    }
    walk.good
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
        for bytes in &page {
            self.leaf(store, bytes)?;
        }
        Ok(page.len())
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

impl Walk<'_> {
    fn leaf(&mut self, store: &dyn Store, bytes: &[u8]) -> Result<(), Problem> {
        let index = self.good.leaves;
        let leaf = Leaf::decode(bytes).map_err(Problem::Leaf)?;
        if leaf.index.0 != index {
            return Err(Problem::Place { says: leaf.index.0 });
        }
        let restores = leaf.event == Event::Restore;
        let restored = restores.then(|| restore_token(self.arbiter, &self.rehash.frontier));
        self.rehash.leaf(store, bytes)?;
        if leaf.time < self.time {
            return Err(Problem::Time);
        }
        self.time = leaf.time;
        let rules = Digest::of(&[RULES.as_bytes()]);
        if leaf.issuer != issuer_id(&self.arbiter.key) || leaf.policy != rules {
            return Err(Problem::Issuer);
        }
        let begins = leaf.event == Event::Genesis;
        if begins != (index == 0) || (begins && leaf.token != genesis_token(self.arbiter)) {
            return Err(Problem::Genesis);
        }
        if let Some(token) = restored {
            self.good.restored = true;
            return if leaf.token == token { Ok(()) } else { Err(Problem::Restore) };
        }
        if begins { Ok(()) } else { self.chain(&leaf) }
    }

    /// at most one verdict, and one attestation of each who may deposit, linked to each other; R-423: answers of
    /// ledgers only to a verdict that revokes.
    fn chain(&mut self, leaf: &Leaf) -> Result<(), Problem> {
        let new = Chain { first: leaf.index.0, ..Chain::default() };
        let chain = self.good.exchanges.entry(leaf.exchange.0).or_insert(new);
        if leaf.sequence != chain.count || leaf.previous != chain.last {
            return Err(Problem::Chain);
        }
        let answers = matches!(leaf.event, Event::PaymentPosted | Event::PaymentVoided);
        if chain.verdict.is_some() && !leaf.event.is_verdict() && !answers {
            return Err(Problem::AfterVerdict);
        }
        if answers {
            if chain.verdict != Some(Event::VerdictRevoked) {
                return Err(Problem::BeforeVerdict);
            }
            chain.answers = chain.answers.saturating_add(1);
        } else if leaf.event.is_verdict() {
            if chain.verdict.replace(leaf.event).is_some() {
                return Err(Problem::Again { what: "verdict" });
            }
        } else {
            chain.attestations = chain.attestations.saturating_add(1);
        }
        let depositors = if matches!(leaf.reason, "R-420" | "R-425") { 2 } else { 1 };
        if chain.attestations > depositors && leaf.event == Event::DepositAccepted {
            return Err(Problem::Again { what: "attestation" });
        }
        if chain.answers > 2 {
            return Err(Problem::Again { what: "answer of a ledger" });
        }
        chain.count = chain.count.saturating_add(1);
        chain.last = Some(leaf.index);
        Ok(())
    }
}
