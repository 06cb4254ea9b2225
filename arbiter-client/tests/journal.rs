//! The journal: what is written is read, by another process too, and damage is noticed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

mod common;

use std::sync::Arc;

use arbiter_client::error::StoreError;
use arbiter_client::journal::{MemoryStore, RedbStore, Shelf, Store};
use arbiter_client::protocol::role::Phase;
use arbiter_client::testing::Bench;
use arbiter_client::{Error, Give};
use common::{Deal, setting};

/// The same claims for every store.
fn suite(store: &dyn Store) {
    for shelf in Shelf::ALL {
        assert_eq!(store.get(shelf, b"b").unwrap(), None);
        store.put(shelf, b"b", b"two").unwrap();
        store.put(shelf, b"a", b"").unwrap();
        assert_eq!(store.get(shelf, b"b").unwrap().as_deref(), Some(&b"two"[..]));
        store.put(shelf, b"b", b"three").unwrap();
        assert_eq!(store.all(shelf).unwrap(), [b"".to_vec(), b"three".to_vec()]);
    }
    store.put(Shelf::Exchanges, b"c", &[7; 100_000]).unwrap();
    assert_eq!(store.all(Shelf::Exchanges).unwrap().len(), 3);
    assert_eq!(store.all(Shelf::Checkpoints).unwrap().len(), 2);
}

#[tokio::test]
async fn both_stores_keep_what_they_are_given() {
    suite(&MemoryStore::default());
    let folder = tempfile::tempdir().unwrap();
    let store = RedbStore::open(folder.path()).await.unwrap();
    suite(&store);
    let held = RedbStore::open(folder.path()).await;
    assert!(matches!(held, Err(Error::Store(StoreError::InUse(_)))), "one process at a time");
    drop(store);
    let again = RedbStore::open(folder.path()).await.unwrap();
    assert_eq!(again.get(Shelf::Exchanges, b"c").unwrap(), Some(vec![7; 100_000]));
}

/// Any cut and any changed byte of a record gives an error or the very same state, never another one.
#[tokio::test(start_paused = true)]
async fn damage_is_noticed() {
    for deal in [Deal::Contract, Deal::Detached] {
        damaged(deal).await;
    }
}

async fn damaged(deal: Deal) {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let store = Arc::new(MemoryStore::default());
    let alice = bench.builder("alice").journal(store.clone()).build().await.unwrap();
    let terms = setting(&bench, deal, folder.path()).terms;
    let id = alice.offer(terms, Give::Nothing).await.unwrap();
    let good = store.get(Shelf::Exchanges, id.as_bytes()).unwrap().unwrap();
    let mut refused = 0;
    // An escrow is long, and all of it is under one hash.
    let step = good.len().div_ceil(2_000);
    for position in (0..good.len()).step_by(step) {
        let mut bad = good.clone();
        bad[position] ^= 0x55;
        store.put(Shelf::Exchanges, id.as_bytes(), &bad).unwrap();
        match alice.status(id).await {
            Err(Error::Store(StoreError::Damaged(_))) => refused += 1,
            Err(other) => panic!("byte {position}: {other}"),
            // Times and remarks are not signed; what decides is.
            Ok(status) => assert_eq!((status.evidence.exchange_id(), status.sent), (id, false), "{position}"),
        }
    }
    assert!(refused > good.len() / step * 9 / 10, "{refused} of {}", good.len());
    store.put(Shelf::Exchanges, id.as_bytes(), &good).unwrap();
    assert_eq!(alice.status(id).await.unwrap().phase, Phase::Offered);
}

/// Records from before there were detached signatures, or payments, are read as they are; those of a later version never.
#[tokio::test(start_paused = true)]
async fn older_records_are_read_and_newer_ones_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let store = Arc::new(MemoryStore::default());
    let alice = bench.builder("alice").journal(store.clone()).build().await.unwrap();
    let terms = setting(&bench, Deal::Contract, folder.path()).terms;
    let id = alice.offer(terms, Give::Nothing).await.unwrap();
    let mut entry = store.get(Shelf::Exchanges, id.as_bytes()).unwrap().unwrap();
    assert_eq!(entry[..2], [0x08, 4], "the version is the first field");
    for (version, good) in [(0, false), (1, true), (2, true), (3, true), (4, true), (5, false)] {
        entry[1] = version;
        store.put(Shelf::Exchanges, id.as_bytes(), &entry).unwrap();
        assert_eq!(alice.status(id).await.is_ok(), good, "version {version}");
    }
}

/// The journal holds signatures that have not left yet.
#[tokio::test]
async fn the_journal_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    drop(RedbStore::open(folder.path()).await.unwrap());
    let path = folder.path().join("journal.redb");
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(RedbStore::open(folder.path()).await.unwrap());
    assert_eq!(mode(), 0o600);
}
