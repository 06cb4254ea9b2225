//! The log by itself: every leaf, every node, the root, the head.

use std::collections::BTreeMap;

use arbiter_protocol::evidence::leaf::{Event, Leaf, Pseudonym, issuer_id};
use arbiter_protocol::evidence::merkle::{Frontier, leaf_hash};
use arbiter_protocol::evidence::record::record_root;
use arbiter_protocol::ids::{Digest, LeafIndex};
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::role::arbiter::RULES;
use arbiter_protocol::ruling::notice::ErasureReason;
use arbiter_protocol::ruling::sequencer::genesis_token;
use arbiter_protocol::time::UnixMillis;

use super::{Problem, Progress, Report};
use crate::store::{Store, StoredHead};

/// The part of the log that is good: all leaves before the first fault.
pub(super) struct Good {
    /// How many leaves are good.
    pub(super) leaves: u64,
    /// How many leaves the head says there are.
    pub(super) stored: u64,
    /// The leaves of each exchange, by its pseudonym.
    pub(super) exchanges: BTreeMap<[u8; 16], Chain>,
    /// The policy that the newest such leaf names.
    policy: Option<Digest>,
}

impl Good {
    /// Whether no record has to hold the statement of this leaf: it is about the log itself, or its exchange was erased.
    pub(super) fn needs_no_record(&self, leaf: &Leaf) -> bool {
        let erased = |chain: &Chain| chain.erased.is_some();
        leaf.event.is_of_the_log() || self.exchanges.get(&leaf.exchange.0).is_some_and(erased)
    }
}

/// The leaves of one exchange.
#[derive(Default)]
pub(super) struct Chain {
    /// The first of them.
    pub(super) first: u64,
    /// The leaf that erases it.
    pub(super) erased: Option<LeafIndex>,
    last: Option<LeafIndex>,
    count: u32,
    verdict: Option<Event>,
    attestations: u32,
    answers: u32,
}

struct Walk<'a> {
    arbiter: &'a ArbiterIdentity,
    frontier: Frontier,
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
    let good = Good { leaves: 0, stored: head.size, exchanges: BTreeMap::new(), policy: None };
    let mut walk = Walk { arbiter, frontier: Frontier::new(), time: UnixMillis(0), good };
    while walk.good.leaves < head.size {
        let first = walk.good.leaves;
        // A damaged leaf hides the page: then one by one, to find out which.
        let page = store.leaves(first, PAGE).or_else(|_| store.leaves(first, 1));
        let page = match page {
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
    let root = walk.frontier.root();
    report.root = Some(root);
    if head.size == 0 {
        report.found(None, None, Problem::Genesis);
    }
    if root != head.root {
        report.found(None, None, Problem::Head { what: "a root" });
    }
    match store.declared_policy() {
        Ok(declared) if declared == walk.good.policy => {}
        Ok(_) => report.found(None, None, Problem::Policy),
        Err(error) => report.found(None, None, error.into()),
    }
    if walk.time > head.time {
        report.found(None, None, Problem::Head { what: "a time" });
    }
    walk.good
}

impl Walk<'_> {
    fn leaf(&mut self, store: &dyn Store, bytes: &[u8]) -> Result<(), Problem> {
        let index = self.good.leaves;
        let leaf = Leaf::decode(bytes).map_err(Problem::Leaf)?;
        if leaf.index.0 != index {
            return Err(Problem::Place { says: leaf.index.0 });
        }
        for (node, hash) in self.frontier.append(leaf_hash(bytes)) {
            if store.required_node(node)? != hash {
                return Err(Problem::Node { level: node.level, index: node.index });
            }
        }
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
        if leaf.event.is_of_the_log() { self.of_the_log(&leaf) } else { self.chain(&leaf) }
    }

    /// a leaf about the log itself is in no chain and commits to no record.
    fn of_the_log(&mut self, leaf: &Leaf) -> Result<(), Problem> {
        let rule = match leaf.event {
            Event::Anchor => "R-536",
            Event::KeyRotation => "R-537",
            Event::PolicyChange => "R-535",
            _ => "R-502",
        };
        let bare = leaf.exchange == Pseudonym([0; 16]) && leaf.sequence == 0 && leaf.previous.is_none();
        if !bare || leaf.reason != rule || leaf.record != record_root(&[]) {
            return Err(Problem::OfTheLog);
        }
        if leaf.event == Event::PolicyChange {
            self.good.policy = Some(leaf.token);
        }
        Ok(())
    }

    /// at most one verdict, and one attestation of each who may deposit, linked to each other; R-423: answers of
    /// ledgers only to a verdict that revokes.
    fn chain(&mut self, leaf: &Leaf) -> Result<(), Problem> {
        let new = Chain { first: leaf.index.0, ..Chain::default() };
        let chain = self.good.exchanges.entry(leaf.exchange.0).or_insert(new);
        if leaf.sequence != chain.count || leaf.previous != chain.last {
            return Err(Problem::Chain);
        }
        if chain.erased.is_some() || (leaf.event == Event::Erasure && chain.count == 0) {
            return Err(Problem::AfterErasure);
        }
        if leaf.event == Event::Erasure {
            let reason = ErasureReason::ALL.into_iter().find(|it| it.token(&leaf.exchange) == leaf.token);
            if leaf.reason != "R-533" || reason.is_none() || leaf.record != record_root(&[]) {
                return Err(Problem::LeafMismatch);
            }
            chain.erased = Some(leaf.index);
        }
        let answers = matches!(leaf.event, Event::PaymentPosted | Event::PaymentVoided);
        if chain.erased.is_some() {
            return Ok(());
        }
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
