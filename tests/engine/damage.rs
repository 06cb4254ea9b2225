//! `fsck` finds every damage and names the leaf: one byte changed anywhere, and values made consistent again.

use std::collections::BTreeMap;

use arbiter::fsck::{self, Fault, Problem};
use arbiter::store::Store;
use arbiter::store::raw::Tamper;
use arbiter::store::schema::{self, Family};
use arbiter_protocol::evidence::merkle::NodeId;
use arbiter_protocol::exchange::selection::Role::{Originator, Responder};
use arbiter_protocol::ids::{Digest, ExchangeId, LeafIndex};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::ruling::sequencer::{ContentId, Record};
use arbiter_protocol::time::UnixMillis;

use crate::fixture::{Exchange, Kind, Place, arbiter, folder, keys, memory, start};

/// A log with every kind of statement: leaves 1 to 18.
async fn fill(place: &impl Place) {
    let world = start(place);
    for n in 0..3 {
        let [p1, aborted, swapped] = [(Kind::P1, 0), (Kind::P2, 10), (Kind::P2Swapped, 20)]
            .map(|(kind, base)| Exchange::new(kind, base + n));
        let engine = &world.engine;
        p1.file(engine, Responder, Action::Resolve).await.unwrap();
        swapped.file(engine, Responder, Action::Deposit).await.unwrap();
        aborted.file(engine, Originator, Action::Abort).await.unwrap();
        swapped.file(engine, Responder, Action::Resolve).await.unwrap();
        let signed = Exchange::new(Kind::P1Escrow, 30 + n);
        signed.file(engine, Originator, Action::Resolve).await.unwrap();
        let aborted = Exchange::new(Kind::P1Escrow, 40 + n);
        aborted.file(engine, Originator, Action::Abort).await.unwrap();
    }
    assert_eq!(world.engine.log_size(), 19);
    world.engine.stop().await;
}

fn find(store: &dyn Store) -> Option<Fault> {
    fsck::check(store, &arbiter(), Some(keys().veil()), &mut |_| {}).fault
}

/// A record as its own key seals it: only who has the key file can lie so.
fn resealed(exchange: &ExchangeId, record: &Record) -> Vec<u8> {
    let sealed = schema::seal_record(keys().vault(), exchange, record);
    schema::protect(Family::Records, exchange.as_bytes(), &sealed.record)
}

/// The leaf that a fault in this entry concerns.
fn leaf_of(store: &dyn Store, family: Family, key: &[u8]) -> Option<u64> {
    let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
    let of_record = |record: &Record| {
        let attested = record.attestations.iter().find_map(|(_, it)| it.as_ref());
        let attested = attested.map(|it| it.statement.leaf_index.0);
        attested.or(record.verdict.as_ref().map(|it| it.statement.leaf_index.0))
    };
    match family {
        Family::Leaves => Some(number(key)),
        Family::ByEvent | Family::ByExchange => Some(number(&key[key.len() - 8..])),
        // The leaf that completed the node.
        Family::Nodes => Some(((number(&key[1..]) + 1) << key[0]) - 1),
        Family::Keys | Family::Records => {
            of_record(&store.record(&ExchangeId::parse(key, "key").unwrap()).unwrap())
        }
        Family::Contents | Family::Chunks => {
            let ids = store.exchanges(None, 1000).unwrap();
            let records = ids.iter().map(|id| store.record(id).unwrap());
            let named = Some(ContentId(number(&key[..8])));
            records
                .filter(|record| record.held.iter().any(|(_, held)| *held == named))
                .find_map(|record| of_record(&record))
        }
        Family::Erased
        | Family::Lost
        | Family::Meta
        | Family::Orders
        | Family::Standing
        | Family::Unnamed => None,
    }
}

/// SplitMix64 with a pinned seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(end).unwrap()).unwrap()
    }
}

/// How many trials: so many, or what the environment asks for; 10,000 is a long check.
pub fn trials(usual: u64) -> u64 {
    std::env::var("ARBITER_TRIALS").ok().and_then(|it| it.parse().ok()).unwrap_or(usual)
}

/// One byte changed in a stored value, in any family: found, and the right leaf named.
async fn single_bytes(place: &impl Place<Store: Tamper>, rounds: u64) {
    fill(place).await;
    let store = place.open();
    assert!(find(&store).is_none());
    let families = [
        Family::ByEvent,
        Family::ByExchange,
        Family::Chunks,
        Family::Contents,
        Family::Keys,
        Family::Leaves,
        Family::Nodes,
        Family::Records,
    ];
    let mut entries = Vec::new();
    for family in families {
        let found = store.entries(family);
        assert!(!found.is_empty());
        entries.extend(found.into_iter().map(|(key, value)| (family, key, value)));
    }
    let head = store.entries(Family::Meta).into_iter().find(|(key, _)| key == schema::HEAD_KEY).unwrap();
    entries.push((Family::Meta, head.0, head.1));
    let places: Vec<_> = entries.iter().map(|(family, key, _)| leaf_of(&store, *family, key)).collect();
    let mut random = Random(20_261_120);
    let mut hit = BTreeMap::new();
    for _ in 0..rounds {
        let n = random.below(entries.len());
        let (family, key, value) = &entries[n];
        let mut altered = value.clone();
        let position = random.below(altered.len());
        altered[position] ^= u8::try_from(1 + random.below(255)).unwrap();
        store.replace(*family, key, Some(altered));
        let fault = find(&store).unwrap_or_else(|| panic!("{family:?} {key:?} byte {position} not found"));
        assert_eq!(fault.index, places[n], "{family:?} byte {position}: {fault}");
        store.replace(*family, key, Some(value.clone()));
        *hit.entry(*family).or_insert(0) += 1;
    }
    assert_eq!(hit.len(), 9, "every family is hit: {hit:?}");
    assert!(find(&store).is_none(), "all was put back");
}

/// S33: and the leaf is named.
#[tokio::test]
async fn one_byte_changed_anywhere_in_memory_is_found() {
    single_bytes(&memory(), trials(400)).await;
}

/// R-505, S33: and the leaf is named.
#[tokio::test]
async fn one_byte_changed_anywhere_in_rocksdb_is_found() {
    single_bytes(&folder(), trials(150)).await;
}

/// what was published is of this log, or it is a fault.
#[tokio::test]
async fn a_published_checkpoint_is_one_of_the_log() {
    let place = memory();
    fill(&place).await;
    let world = start(&place);
    let own = world.engine.checkpoint().unwrap();
    world.engine.publish(&own).unwrap();
    world.engine.stop().await;
    let store = place.open();
    assert!(find(&store).is_none());
    // Another size or root than what was signed, or no note at all.
    let root = own.lines().nth(2).unwrap();
    for bad in [own.replace("\n19\n", "\n18\n"), own.replace(root, &"A".repeat(43)), String::from("note")] {
        store.publish(&bad).unwrap();
        let fault = find(&store).expect("a fault");
        assert!(matches!(fault.problem, Problem::Published), "{fault}");
    }
    store.publish(&own).unwrap();
    assert!(find(&store).is_none());
    let (key, stored) =
        store.entries(Family::Meta).into_iter().find(|(key, _)| key == schema::PUBLISHED_KEY).unwrap();
    let mut altered = stored.clone();
    *altered.last_mut().unwrap() ^= 1;
    store.replace(Family::Meta, &key, Some(altered));
    assert!(find(&store).is_some());
}

/// an entry of an index that is gone, or one too many, is found.
#[tokio::test]
async fn an_index_is_what_the_leaves_give() {
    let place = memory();
    fill(&place).await;
    let store = place.open();
    for family in [Family::ByEvent, Family::ByExchange] {
        let entries = store.entries(family);
        assert_eq!(entries.len(), 19, "{family:?}");
        for (key, value) in &entries {
            let leaf = leaf_of(&store, family, key);
            store.replace(family, key, None);
            let fault = find(&store).expect("a fault");
            assert_eq!(fault.index, leaf, "{family:?}: {fault}");
            assert!(matches!(fault.problem, Problem::Indices), "{fault}");
            store.replace(family, key, Some(value.clone()));
        }
        let (key, _) = &entries[0];
        let beyond = [&key[..key.len() - 8], &77u64.to_be_bytes()].concat();
        store.replace(family, &beyond, Some(schema::protect(family, &beyond, &[])));
        let fault = find(&store).expect("a fault");
        assert!(matches!(fault.problem, Problem::Indices) && fault.index.is_none(), "{fault}");
        store.replace(family, &beyond, None);
    }
    assert!(find(&store).is_none());
}

/// S33: an entry that is gone is found, too.
#[tokio::test]
async fn a_missing_entry_is_found() {
    let place = memory();
    fill(&place).await;
    let store = place.open();
    for family in
        [Family::Chunks, Family::Contents, Family::Keys, Family::Leaves, Family::Nodes, Family::Records]
    {
        for (key, value) in store.entries(family) {
            let leaf = leaf_of(&store, family, &key);
            store.replace(family, &key, None);
            let fault = find(&store).expect("a fault");
            assert_eq!(fault.index, leaf, "{family:?}: {fault}");
            store.replace(family, &key, Some(value));
        }
    }
    assert!(find(&store).is_none());
}

/// One byte changed below the check bytes, which are made good again: now the evidence itself must tell.
#[tokio::test]
async fn changed_values_with_good_check_bytes_are_found_by_the_evidence() {
    let place = memory();
    fill(&place).await;
    let store = place.open();
    let mut random = Random(7);
    for family in [Family::Keys, Family::Leaves, Family::Nodes, Family::Records] {
        let entries = store.entries(family);
        for _ in 0..150 {
            let (key, stored) = &entries[random.below(entries.len())];
            let leaf = leaf_of(&store, family, key);
            let mut value = schema::unprotect(family, key, stored.clone()).unwrap();
            let position = random.below(value.len());
            value[position] ^= u8::try_from(1 + random.below(255)).unwrap();
            store.replace(family, key, Some(schema::protect(family, key, &value)));
            let fault = find(&store).unwrap_or_else(|| panic!("{family:?} byte {position} not found"));
            // In a record with two statements either can be hit.
            let near = fault.index == leaf
                || ([Family::Keys, Family::Records].contains(&family) && fault.index > leaf);
            assert!(near, "{family:?} byte {position}, leaf {leaf:?}: {fault}");
            store.replace(family, key, Some(stored.clone()));
        }
    }
    assert!(find(&store).is_none());
}

/// Records that decode and are well formed, but are not what happened: each with the problem that it must give.
#[tokio::test]
async fn a_lie_in_a_record_is_called_by_its_name() {
    type Lie = (&'static str, fn(&mut Record), fn(&Problem) -> bool);
    let place = memory();
    fill(&place).await;
    let store = place.open();
    let exchange = Exchange::new(Kind::P2Swapped, 20).id();
    let key = exchange.to_vec();
    let stored = store.entries(Family::Records).into_iter().find(|(found, _)| *found == key).unwrap().1;
    let truth = store.record(&exchange).unwrap();
    let lies: [Lie; 12] = [
        (
            "time",
            |r| r.verdict.as_mut().unwrap().statement.time.0 += 1,
            |p| matches!(p, Problem::LeafMismatch),
        ),
        (
            "place",
            |r| r.verdict.as_mut().unwrap().statement.leaf_index = LeafIndex(3),
            |p| matches!(p, Problem::LeafMismatch),
        ),
        (
            "rule",
            |r| r.verdict.as_mut().unwrap().statement.rule = "R-404".into(),
            |p| matches!(p, Problem::Decision),
        ),
        (
            "item",
            |r| r.attestations.responder.as_mut().unwrap().statement.item = Digest::of(&[]),
            |p| matches!(p, Problem::Decision),
        ),
        ("tree size", |r| r.verdict.as_mut().unwrap().tree_size += 1, |p| matches!(p, Problem::Tree)),
        (
            "tree before the leaf",
            |r| r.verdict.as_mut().unwrap().tree_size = 2,
            |p| matches!(p, Problem::Tree),
        ),
        (
            "no acceptance",
            |r| r.verdict.as_mut().unwrap().acceptance = None,
            |p| matches!(p, Problem::Evidence(_)),
        ),
        (
            "another content",
            |r| r.held.responder = Some(ContentId(99)),
            |p| matches!(p, Problem::Content { .. }),
        ),
        ("no content", |r| r.held.responder = None, |p| matches!(p, Problem::Content { .. })),
        ("count", |r| r.leaves = 1, |p| matches!(p, Problem::Count)),
        ("last leaf", |r| r.last_leaf = None, |p| matches!(p, Problem::Count)),
        (
            "no verdict",
            |r| (r.verdict, r.leaves, r.last_leaf) = (None, 1, Some(LeafIndex(2))),
            |p| matches!(p, Problem::Unclaimed),
        ),
    ];
    for (name, lie, expected) in lies {
        let mut record = truth.clone();
        lie(&mut record);
        assert_ne!(record, truth, "{name}");
        let value = resealed(&exchange, &record);
        store.replace(Family::Records, &key, Some(value));
        let fault = find(&store).unwrap_or_else(|| panic!("{name} not found"));
        assert!(expected(&fault.problem), "{name}: {fault}");
        assert!(fault.index.is_some(), "{name}: {fault}");
        store.replace(Family::Records, &key, Some(stored.clone()));
    }
    // Under another exchange.
    let other = [9; 32];
    let sealed = schema::seal_record(keys().vault(), &ExchangeId::from_bytes(other), &truth);
    for (family, value) in [(Family::Keys, &sealed.key), (Family::Records, &sealed.record)] {
        store.replace(family, &other, Some(schema::protect(family, &other, value)));
    }
    assert!(matches!(find(&store).unwrap().problem, Problem::OtherExchange));
    for family in [Family::Keys, Family::Records] {
        store.replace(family, &other, None);
    }
    assert!(find(&store).is_none());
}

/// what a verdict took out of escrow is held, and the escrows are its evidence.
#[tokio::test]
async fn a_lie_about_an_escrow_is_called_by_its_name() {
    type Lie = (&'static str, fn(&mut Record), fn(&Problem) -> bool);
    let place = memory();
    fill(&place).await;
    let store = place.open();
    let resolved = Exchange::new(Kind::P1Escrow, 30).id();
    let aborted = Exchange::new(Kind::P1Escrow, 40).id();
    let lies: [(ExchangeId, Lie); 8] = [
        (resolved, ("nothing held", |r| r.held.originator = None, |p| matches!(p, Problem::Content { .. }))),
        (
            resolved,
            (
                "another held",
                |r| r.held.responder = Some(ContentId(99)),
                |p| matches!(p, Problem::Content { .. }),
            ),
        ),
        (
            resolved,
            (
                "one for both",
                |r| r.held.responder = r.held.originator,
                |p| matches!(p, Problem::Content { .. }),
            ),
        ),
        (
            resolved,
            (
                "no escrow",
                |r| r.verdict.as_mut().unwrap().escrows.responder = None,
                |p| matches!(p, Problem::Decision),
            ),
        ),
        (
            resolved,
            (
                "in the other's place",
                |r| {
                    let escrows = &mut r.verdict.as_mut().unwrap().escrows;
                    std::mem::swap(&mut escrows.originator, &mut escrows.responder);
                },
                |p| matches!(p, Problem::Evidence(_)),
            ),
        ),
        (
            resolved,
            (
                "another escrow of the same signature",
                |r| {
                    let bytes = r.verdict.as_ref().unwrap().escrows.originator.as_ref().unwrap().to_bytes();
                    let last = bytes.len() - 1;
                    let bytes: Vec<_> =
                        bytes.iter().enumerate().map(|(n, b)| if n == last { b ^ 1 } else { *b }).collect();
                    let other = arbiter_protocol::exchange::kind::pledge::Pledge::from_bytes(&bytes).unwrap();
                    r.verdict.as_mut().unwrap().escrows.originator = Some(other);
                },
                |p| matches!(p, Problem::Decision),
            ),
        ),
        (
            resolved,
            (
                "another signature than the item's",
                |r| r.verdict.as_mut().unwrap().statement.evidence.truncate(2),
                |p| matches!(p, Problem::Decision),
            ),
        ),
        (
            aborted,
            (
                "held for nothing",
                |r| r.held.originator = Some(ContentId(7)),
                |p| matches!(p, Problem::Content { .. }),
            ),
        ),
    ];
    for (exchange, (name, lie, expected)) in lies {
        let key = exchange.to_vec();
        let stored = store.entries(Family::Records).into_iter().find(|(found, _)| *found == key).unwrap().1;
        let mut record = store.record(&exchange).unwrap();
        lie(&mut record);
        let value = resealed(&exchange, &record);
        assert_ne!(value, stored, "{name}");
        store.replace(Family::Records, &key, Some(value));
        let fault = find(&store).unwrap_or_else(|| panic!("{name} not found"));
        assert!(expected(&fault.problem), "{name}: {fault}");
        assert!(fault.index.is_some(), "{name}: {fault}");
        store.replace(Family::Records, &key, Some(stored));
    }
    // A sealed signature of another length than its key's.
    let held = store.record(&resolved).unwrap().held.originator.unwrap();
    let chunk = schema::chunk_key(held, 0);
    let stored = store.entries(Family::Chunks).into_iter().find(|(key, _)| *key == chunk).unwrap().1;
    let sealed = schema::unprotect(Family::Chunks, &chunk, stored.clone()).unwrap();
    assert_eq!(sealed.len(), 64 + 16, "an Ed25519 signature and its tag");
    store.replace(Family::Chunks, &chunk, Some(schema::protect(Family::Chunks, &chunk, &sealed[1..])));
    assert!(matches!(find(&store).unwrap().problem, Problem::Content { .. }));
    store.replace(Family::Chunks, &chunk, Some(stored));
    assert!(find(&store).is_none());
}

/// The head must be the end of the leaves.
#[tokio::test]
async fn a_head_that_the_leaves_do_not_give_is_found() {
    let place = memory();
    fill(&place).await;
    let store = place.open();
    let head = store.head().unwrap().unwrap();
    let set = |head: &arbiter::store::StoredHead| {
        let value = schema::protect(Family::Meta, schema::HEAD_KEY, &schema::encode_head(head));
        store.replace(Family::Meta, schema::HEAD_KEY, Some(value));
        find(&store)
    };
    let mut longer = head.clone();
    longer.size += 1;
    assert_eq!(set(&longer).unwrap().index, Some(19));
    let mut shorter = head.clone();
    shorter.size -= 1;
    // The root is another; and the last verdict's leaf is beyond the end.
    assert!(matches!(
        set(&shorter).unwrap().problem,
        Problem::Head { what: "a root" } | Problem::LeafMismatch
    ));
    let mut older = head.clone();
    older.time = UnixMillis(1);
    assert!(matches!(set(&older).unwrap().problem, Problem::Head { what: "a time" }));
    assert!(set(&head).is_none());
    let node = schema::node_key(NodeId { level: 3, index: 0 });
    store.replace(Family::Nodes, &node, None);
    assert_eq!(find(&store).unwrap().index, Some(7));
}
