//! The contract of [`Store`] as tests that any store must pass.
//!
//! ```text
//!  run(&bench)   bench.open() ─▶ store ─▶ … ─▶ bench.reopen(store) ─▶ what was committed is still there
//! ```

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "these are tests")]

mod beside;

use std::collections::BTreeMap;

use arbiter_protocol::evidence::leaf::{Event, Leaf, Pseudonym};
use arbiter_protocol::evidence::merkle::NodeId;
use arbiter_protocol::evidence::record::ExchangeKey;
use arbiter_protocol::exchange::selection::ByRole;
use arbiter_protocol::ids::{Digest, ExchangeId, LeafIndex};
use arbiter_protocol::ruling::sequencer::{ContentId, Record};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use zeroize::Zeroizing;

use super::{By, Commit, ContentHead, Store, StoreError, StoredHead};

/// Makes stores of one kind and lets them crash.
pub trait Bench {
    /// The kind of store.
    type Store: Store;
    /// An empty store.
    fn open(&self) -> Self::Store;
    /// What is there after the end of the process that had `store` open.
    fn reopen(&self, store: Self::Store) -> Self::Store;
}

/// Runs every test of the contract.
pub fn run(bench: &impl Bench) {
    a_new_store_is_empty(bench);
    a_commit_is_read_back_and_survives(bench);
    only_the_expected_head_can_be_replaced(bench);
    leaves_come_in_order_and_end_with_the_log(bench);
    exchanges_are_paged_in_order(bench);
    content_lives_exactly_if_a_record_names_it(bench);
    both_contents_of_a_record_live(bench);
    removed_content_leaves_its_neighbours(bench);
    chunks_of_all_contents_are_counted(bench);
    many_commits_survive(bench);
    leaves_are_found_by_event_and_by_exchange(bench);
    hashes_are_read_in_one_run(bench);
    what_is_published_survives(bench);
    beside::standing_requests_are_paged_in_the_order_of_their_times(bench);
    beside::erased_exchanges_leave_their_pseudonyms(bench);
    beside::lost_records_and_the_policy_survive(bench);
    beside::open_orders_are_paged_in_the_order_of_their_ledgers(bench);
}

/// A commit after `before` with `leaves` and their hashes as nodes.
pub fn commit(before: Option<&StoredHead>, leaves: &[&[u8]]) -> Commit {
    let (commits, size) = before.map_or((0, 0), |head| (head.commits, head.size));
    let nodes = (size..).zip(leaves).map(|(index, leaf)| (NodeId { level: 0, index }, Digest::of(&[leaf])));
    Commit {
        decided: Vec::new(),
        erased: Vec::new(),
        policy: None,
        expected: before.cloned(),
        head: StoredHead {
            commits: commits + 1,
            size: size + u64::try_from(leaves.len()).unwrap(),
            root: Digest::of(&[b"root", &commits.to_be_bytes()]),
            time: UnixMillis(commits + 7),
        },
        records: BTreeMap::new(),
        nodes: nodes.collect(),
        leaves: leaves.iter().map(|leaf| leaf.to_vec()).collect(),
        lost: Vec::new(),
    }
}

fn exchange(byte: u8) -> ExchangeId {
    ExchangeId::from_bytes([byte; 32])
}

fn record(content: Option<ContentId>) -> Record {
    let held = ByRole { originator: content, responder: None };
    let key = ExchangeKey::new(Zeroizing::new([9; 32]));
    Record { held, leaves: 2, last_leaf: Some(LeafIndex(0)), ..Record::new(key) }
}

fn a_new_store_is_empty(bench: &impl Bench) {
    let store = bench.open();
    assert_eq!(store.head().unwrap(), None);
    assert_eq!(store.record(&exchange(1)).unwrap(), Record::default());
    assert_eq!(store.node(NodeId { level: 0, index: 0 }).unwrap(), None);
    assert!(store.required_node(NodeId { level: 0, index: 0 }).is_err());
    assert_eq!(store.leaves(0, 10).unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(store.exchanges(None, 10).unwrap(), []);
    assert_eq!(store.content(ContentId(0)).unwrap(), None);
    assert_eq!(store.chunk(ContentId(0), 0).unwrap(), None);
    let store = bench.reopen(store);
    assert_eq!(store.head().unwrap(), None);
}

fn a_commit_is_read_back_and_survives(bench: &impl Bench) {
    let store = bench.open();
    let mut first = commit(None, &[b"zero", b"one"]);
    first.records.insert(exchange(1), record(None));
    first.nodes.push((NodeId { level: 1, index: 0 }, Digest::of(&[b"inner"])));
    store.commit(&first).unwrap();
    let check = |store: &dyn Store| {
        assert_eq!(store.head().unwrap().as_ref(), Some(&first.head));
        assert_eq!(store.record(&exchange(1)).unwrap(), record(None));
        assert_eq!(store.record(&exchange(2)).unwrap(), Record::default());
        assert_eq!(store.leaves(0, 10).unwrap(), [b"zero".to_vec(), b"one".to_vec()]);
        for (node, hash) in &first.nodes {
            assert_eq!(store.node(*node).unwrap(), Some(*hash));
        }
    };
    check(&store);
    let store = bench.reopen(store);
    check(&store);
    // Without leaves and records, as at every start.
    let mut second = commit(Some(&first.head), &[]);
    second.head.root = first.head.root;
    store.commit(&second).unwrap();
    assert_eq!(bench.reopen(store).head().unwrap(), Some(second.head));
}

fn only_the_expected_head_can_be_replaced(bench: &impl Bench) {
    let store = bench.open();
    let first = commit(None, &[b"zero"]);
    store.commit(&first).unwrap();
    let good = commit(Some(&first.head), &[b"one"]);
    let moved = |change: &dyn Fn(&mut StoredHead)| {
        let mut head = first.head.clone();
        change(&mut head);
        let mut bad = commit(Some(&first.head), &[b"other"]);
        bad.records.insert(exchange(9), record(None));
        bad.head.commits = head.commits + 1;
        bad.expected = Some(head);
        assert!(matches!(store.commit(&bad), Err(StoreError::HeadMoved)));
    };
    moved(&|head| head.commits += 1);
    moved(&|head| head.size += 1);
    moved(&|head| head.time.0 += 1);
    moved(&|head| head.root = Digest::of(&[b"another"]));
    assert!(matches!(store.commit(&first), Err(StoreError::HeadMoved)));
    // Nothing of it is there, and the right one still goes.
    assert_eq!(store.head().unwrap().as_ref(), Some(&first.head));
    assert_eq!(store.record(&exchange(9)).unwrap(), Record::default());
    assert_eq!(store.leaves(0, 9).unwrap(), [b"zero".to_vec()]);
    store.commit(&good).unwrap();
    assert!(matches!(store.commit(&good), Err(StoreError::HeadMoved)));
    let store = bench.reopen(store);
    assert_eq!(store.head().unwrap(), Some(good.head));
    assert_eq!(store.exchanges(None, 9).unwrap(), []);
}

fn leaves_come_in_order_and_end_with_the_log(bench: &impl Bench) {
    let store = bench.open();
    // More than one byte of index, so that the order of keys is tested.
    let leaves: Vec<Vec<u8>> = (0..600u32).map(|index| index.to_be_bytes().to_vec()).collect();
    let slices: Vec<&[u8]> = leaves.iter().map(Vec::as_slice).collect();
    store.commit(&commit(None, &slices)).unwrap();
    assert_eq!(store.leaves(0, usize::MAX).unwrap(), leaves);
    assert_eq!(store.leaves(250, 10).unwrap(), leaves[250..260]);
    assert_eq!(store.leaves(599, 10).unwrap(), leaves[599..]);
    assert_eq!(store.leaves(600, 10).unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(store.leaves(u64::MAX, 10).unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(store.leaves(3, 0).unwrap(), Vec::<Vec<u8>>::new());
}

fn exchanges_are_paged_in_order(bench: &impl Bench) {
    let store = bench.open();
    let mut first = commit(None, &[b"zero"]);
    for byte in [7, 1, 255, 0, 3] {
        first.records.insert(exchange(byte), record(None));
    }
    store.commit(&first).unwrap();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.exchanges(after, 2).unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(*last);
        found.extend(page);
    }
    assert_eq!(found, [0, 1, 3, 7, 255].map(exchange));
}

fn content_lives_exactly_if_a_record_names_it(bench: &impl Bench) {
    let store = bench.open();
    let head = ContentHead { encapsulated: [5; 32], chunks: 2 };
    let [named, unnamed, cut_off] = [ContentId(1), ContentId(2), ContentId(1 << 40)];
    for content in [named, unnamed] {
        store.put_chunk(content, 0, b"first").unwrap();
        store.put_chunk(content, 1, b"").unwrap();
        store.put_content(content, &head).unwrap();
    }
    store.put_chunk(cut_off, 0, b"only").unwrap();
    assert_eq!(store.content(cut_off).unwrap(), None);
    assert_eq!(store.chunk(cut_off, 0).unwrap(), Some(b"only".to_vec()));
    let mut first = commit(None, &[b"zero"]);
    first.records.insert(exchange(1), record(Some(named)));
    store.commit(&first).unwrap();
    // A later commit of the same record, without the deposit, changes nothing about it.
    let mut second = commit(Some(&first.head), &[b"one"]);
    second.records.insert(exchange(1), record(Some(named)));
    store.commit(&second).unwrap();
    assert_eq!(store.content(unnamed).unwrap(), Some(head.clone()));
    assert_eq!(store.content_chunks().unwrap(), 4, "named or not, but complete");

    let store = bench.reopen(store);
    assert_eq!(store.content(named).unwrap(), Some(head));
    assert_eq!(store.content_chunks().unwrap(), 2);
    assert_eq!(store.chunk(named, 0).unwrap(), Some(b"first".to_vec()));
    assert_eq!(store.chunk(named, 1).unwrap(), Some(Vec::new()));
    assert_eq!(store.chunk(named, 2).unwrap(), None);
    for garbage in [unnamed, cut_off] {
        assert_eq!(store.content(garbage).unwrap(), None);
        assert_eq!(store.chunk(garbage, 0).unwrap(), None);
    }
    // Never named and never committed: gone either way.
    store.put_chunk(cut_off, 0, b"again").unwrap();
    let store = bench.reopen(store);
    assert_eq!(store.chunk(cut_off, 0).unwrap(), None);
    assert_eq!(store.head().unwrap(), Some(second.head));
}

/// R-411: both signatures of an exchange may have been in escrow.
fn both_contents_of_a_record_live(bench: &impl Bench) {
    let store = bench.open();
    let head = ContentHead { encapsulated: [6; 32], chunks: 1 };
    let ids = [ContentId(8), ContentId(9), ContentId(10)];
    for content in ids {
        store.put_chunk(content, 0, b"sealed").unwrap();
        store.put_content(content, &head).unwrap();
    }
    let held = ByRole { originator: Some(ids[0]), responder: Some(ids[2]) };
    let mut first = commit(None, &[b"zero"]);
    let named = Record { held, ..record(None) };
    first.records.insert(exchange(1), named.clone());
    store.commit(&first).unwrap();
    let store = bench.reopen(store);
    assert_eq!(store.record(&exchange(1)).unwrap(), named);
    for (content, there) in ids.into_iter().zip([true, false, true]) {
        assert_eq!(store.content(content).unwrap().is_some(), there, "{content:?}");
        assert_eq!(store.chunk(content, 0).unwrap().is_some(), there, "{content:?}");
    }
}

fn removed_content_leaves_its_neighbours(bench: &impl Bench) {
    let store = bench.open();
    let ids = [ContentId(0), ContentId(1), ContentId(2), ContentId(u64::MAX)];
    for content in ids {
        for chunk in [0, 1, 255, u64::MAX] {
            store.put_chunk(content, chunk, b"sealed").unwrap();
        }
        store.put_content(content, &ContentHead { encapsulated: [0; 32], chunks: 4 }).unwrap();
    }
    for removed in [ContentId(1), ContentId(u64::MAX), ContentId(77)] {
        store.remove_content(removed).unwrap();
    }
    for content in ids {
        let there = [0, 2].contains(&content.0);
        assert_eq!(store.content(content).unwrap().is_some(), there);
        for chunk in [0, 1, 255, u64::MAX] {
            assert_eq!(store.chunk(content, chunk).unwrap().is_some(), there, "{content:?} {chunk}");
        }
    }
}

/// More than one page of them.
fn chunks_of_all_contents_are_counted(bench: &impl Bench) {
    let store = bench.open();
    assert_eq!(store.content_chunks().unwrap(), 0);
    for id in 0..1001 {
        let head = ContentHead { encapsulated: [0; 32], chunks: 1 + id % 2 };
        store.put_content(ContentId(id << 20), &head).unwrap();
    }
    assert_eq!(store.content_chunks().unwrap(), 1501);
}

fn many_commits_survive(bench: &impl Bench) {
    let mut store = bench.open();
    let mut head = None;
    for round in 0..30u8 {
        let next = commit(head.as_ref(), &[&[round], &[round, round]]);
        store.commit(&next).unwrap();
        if round % 7 == 3 {
            let lost = ContentId(u64::from(round));
            store.put_chunk(lost, 0, b"lost").unwrap();
            assert_eq!(store.chunk(lost, 0).unwrap(), Some(b"lost".to_vec()));
            store = bench.reopen(store);
            assert_eq!(store.chunk(lost, 0).unwrap(), None);
        }
        head = Some(next.head);
    }
    let store = bench.reopen(store);
    assert_eq!(store.head().unwrap(), head);
    assert_eq!(store.leaves(0, 99).unwrap().len(), 60);
}

/// R-544: each leaf by both, in order, from where it is asked.
fn leaves_are_found_by_event_and_by_exchange(bench: &impl Bench) {
    let leaf = |index: u64, event: Event, exchange: u8| Leaf {
        index: LeafIndex(index),
        event,
        reason: "R-404",
        time: UnixMillis(index),
        clock_uncertainty: DurationMillis(1),
        exchange: Pseudonym([exchange; 16]),
        sequence: 0,
        previous: None,
        policy: Digest::of(&[]),
        build: Digest::of(&[]),
        issuer: [0; 4],
        token: Digest::of(&[]),
        record: Digest::of(&[]),
    };
    use Event::{Genesis, VerdictAborted, VerdictReplaced};
    let all = [
        (Genesis, 0),
        (VerdictAborted, 1),
        (VerdictReplaced, 255),
        (VerdictAborted, 255),
        (VerdictAborted, 1),
    ];
    let leaves: Vec<_> = (0..).zip(all).map(|(index, (event, by))| leaf(index, event, by).encode()).collect();
    let store = bench.open();
    let first = commit(None, &[&leaves[0], &leaves[1], &leaves[2]]);
    store.commit(&first).unwrap();
    let second = commit(Some(&first.head), &[&leaves[3], &leaves[4]]);
    store.commit(&second).unwrap();
    let store = bench.reopen(store);
    let found = |by, first, count| store.indexed(by, first, count).unwrap();
    assert_eq!(found(By::Event(VerdictAborted), 0, 9), [1, 3, 4]);
    assert_eq!(found(By::Event(VerdictAborted), 2, 1), [3]);
    assert_eq!(found(By::Event(VerdictAborted), 5, 9), [0; 0]);
    assert_eq!(found(By::Event(VerdictReplaced), 0, 9), [2]);
    assert_eq!(found(By::Exchange(Pseudonym([1; 16])), 0, 9), [1, 4]);
    assert_eq!(found(By::Exchange(Pseudonym([255; 16])), 3, 9), [3]);
    assert_eq!(found(By::Exchange(Pseudonym([9; 16])), 0, 9), [0; 0]);
    assert_eq!(store.index_entries().unwrap(), 10);
}

fn hashes_are_read_in_one_run(bench: &impl Bench) {
    let store = bench.open();
    let first = commit(None, &[b"a", b"b", b"c"]);
    store.commit(&first).unwrap();
    let all: Vec<_> = first.nodes.iter().map(|(_, hash)| *hash).collect();
    assert_eq!(store.hashes(0, 0, 3).unwrap(), all);
    assert_eq!(store.hashes(0, 1, 1).unwrap(), all[1..2]);
    assert_eq!(store.hashes(0, 3, 0).unwrap(), []);
    for (level, index, count) in [(0, 0, 4), (0, 3, 1), (1, 0, 1), (255, 0, 1)] {
        let missing = store.hashes(level, index, count);
        assert!(matches!(missing, Err(StoreError::Damaged { .. })), "{level} {index} {count}");
    }
}

/// R-540
fn what_is_published_survives(bench: &impl Bench) {
    let store = bench.open();
    assert_eq!(store.published().unwrap(), None);
    store.publish("first").unwrap();
    store.publish("second").unwrap();
    let store = bench.reopen(store);
    assert_eq!(store.published().unwrap().as_deref(), Some("second"));
    assert_eq!(store.head().unwrap(), None, "it is not part of the log");
}
