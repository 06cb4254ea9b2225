//! Both stores keep the contract, and RocksDB refuses every folder that it must not touch.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;

use arbiter::keys::vault::Vault;
use arbiter::store::mem::{Fault, MemStore};
use arbiter::store::raw::Tamper;
use arbiter::store::rocks::RocksStore;
use arbiter::store::schema::{self, Family};
use arbiter::store::suite::{self, Bench};
use arbiter::store::{Store, StoreError};
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::role::arbiter::RULES;
use arbiter_protocol::ruling::sequencer::ContentId;
use zeroize::Zeroizing;

fn arbiter(byte: u8) -> ArbiterIdentity {
    ArbiterIdentity {
        key: PublicKey::from_bytes([byte; 32]),
        log_key: PublicKey::from_bytes([byte + 1; 32]),
        log_origin: Origin::parse("arbiter.test/log").unwrap(),
        rules: RULES.to_owned(),
    }
}

fn vault() -> Arc<Vault> {
    Arc::new(Vault::new(&Zeroizing::new([7; 32])))
}

/// Power loss: what no commit covers is gone.
struct Memory;

impl Bench for Memory {
    type Store = MemStore;

    fn open(&self) -> MemStore {
        MemStore::new(&arbiter(1), &vault()).unwrap()
    }

    fn reopen(&self, store: MemStore) -> MemStore {
        store.disk().crash();
        MemStore::open(store.disk(), &arbiter(1), &vault()).unwrap()
    }
}

/// The end of the process: what was written but never named is removed on open.
struct Restarted;

impl Bench for Restarted {
    type Store = MemStore;

    fn open(&self) -> MemStore {
        Memory.open()
    }

    fn reopen(&self, store: MemStore) -> MemStore {
        MemStore::open(store.disk(), &arbiter(1), &vault()).unwrap()
    }
}

struct Rocks {
    folders: tempfile::TempDir,
    count: Cell<u32>,
    newest: RefCell<Option<std::path::PathBuf>>,
}

impl Bench for Rocks {
    type Store = RocksStore;

    fn open(&self) -> RocksStore {
        self.count.set(self.count.get() + 1);
        let path = self.folders.path().join(self.count.get().to_string());
        *self.newest.borrow_mut() = Some(path.clone());
        RocksStore::open(&path, &arbiter(1), &vault()).unwrap()
    }

    fn reopen(&self, store: RocksStore) -> RocksStore {
        drop(store);
        let path = self.newest.borrow().clone().unwrap();
        RocksStore::open(&path, &arbiter(1), &vault()).unwrap()
    }
}

#[test]
fn memory_keeps_the_contract() {
    suite::run(&Memory);
    suite::run(&Restarted);
}

#[test]
fn rocksdb_keeps_the_contract() {
    let folders = tempfile::tempdir().unwrap();
    suite::run(&Rocks { folders, count: Cell::new(0), newest: RefCell::new(None) });
}

fn open(path: &Path) -> Result<RocksStore, StoreError> {
    RocksStore::open(path, &arbiter(1), &vault())
}

/// The model loses exactly what no commit covers.
#[test]
fn a_crash_of_the_model_drops_pending_chunks_only() {
    let store = MemStore::new(&arbiter(1), &vault()).unwrap();
    store.put_chunk(ContentId(1), 0, b"covered").unwrap();
    store.commit(&suite::commit(None, &[b"leaf"])).unwrap();
    store.put_chunk(ContentId(2), 0, b"not covered").unwrap();
    store.remove_content(ContentId(1)).unwrap();
    assert_eq!(store.chunk(ContentId(1), 0).unwrap(), None);
    assert!(store.chunk(ContentId(2), 0).unwrap().is_some());
    store.disk().crash();
    assert!(store.chunk(ContentId(1), 0).unwrap().is_some());
    assert_eq!(store.chunk(ContentId(2), 0).unwrap(), None);
}

/// R-505, S33: after a failed commit nothing more is written, whatever is on the disk.
#[test]
fn after_a_failed_commit_the_store_takes_no_more() {
    for (fault, stored) in [(Fault::Lost, false), (Fault::Unheard, true)] {
        let store = MemStore::new(&arbiter(1), &vault()).unwrap();
        let first = suite::commit(None, &[b"leaf"]);
        store.disk().fail_next_commit(fault);
        assert!(matches!(store.commit(&first), Err(StoreError::Io(_))));
        let next = if stored { suite::commit(Some(&first.head), &[]) } else { first.clone() };
        assert!(matches!(store.commit(&next), Err(StoreError::Io(_))));
        store.disk().crash();
        let store = MemStore::open(store.disk(), &arbiter(1), &vault()).unwrap();
        assert_eq!(store.head().unwrap().is_some(), stored);
        store.commit(&next).unwrap();
    }
}

/// S35: a second process finds the folder taken.
#[test]
fn a_folder_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    assert!(matches!(open(folder.path()), Err(StoreError::InUse)));
    assert!(matches!(
        RocksStore::open_existing(folder.path(), &arbiter(1), &vault()),
        Err(StoreError::InUse)
    ));
    drop(store);
    assert!(open(folder.path()).is_ok());
}

#[test]
fn a_folder_of_another_arbiter_or_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let error = RocksStore::open(folder.path(), &arbiter(2), &vault()).err().unwrap();
    let StoreError::OtherArbiter { found, expected } = error else { panic!("{error}") };
    assert_eq!(found, schema::fingerprint(&arbiter(1)));
    assert_eq!(expected, schema::fingerprint(&arbiter(2)));

    let store = open(folder.path()).unwrap();
    store.replace(Family::Meta, schema::FORMAT_KEY, Some(5u32.to_be_bytes().to_vec()));
    drop(store);
    for _ in 0..2 {
        let error = open(folder.path()).err().unwrap();
        assert!(matches!(error, StoreError::Format { found: 5, known: 4 }), "{error}");
        assert!(error.to_string().ends_with("upgrade arbiter"), "{error}");
    }
}

/// Version 3 kept records in the clear: they would be read wrongly.
#[test]
fn a_folder_of_the_version_before_is_refused_and_left_alone() {
    let store = MemStore::new(&arbiter(1), &vault()).unwrap();
    store.replace(Family::Meta, schema::FORMAT_KEY, Some(3u32.to_be_bytes().to_vec()));
    let disk = store.disk().clone();
    for _ in 0..2 {
        let error = MemStore::open(&disk, &arbiter(1), &vault()).err().unwrap();
        assert!(matches!(error, StoreError::Format { found: 3, known: 4 }), "{error}");
        assert!(error.to_string().contains("older arbiter"), "{error}");
    }
}

#[test]
fn a_place_that_cannot_be_a_data_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "not a folder").unwrap();
    for path in [file.clone(), file.join("below"), folder.path().to_owned()] {
        assert!(matches!(open(&path), Err(StoreError::Io(_))), "{}", path.display());
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was made beside the file");
    // What is wrong, without the folder, which the caller names.
    let message = |path: &Path| open(path).err().unwrap().to_string();
    assert!(message(folder.path()).contains("it is not empty and holds no log"));
    assert!(!message(&file.join("below")).contains("below"), "{}", message(&file.join("below")));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(RocksStore::open_existing(empty.path(), &arbiter(1), &vault()), Err(StoreError::Empty)));
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0, "nothing was made");
    let absent = folder.path().join("absent");
    assert!(matches!(RocksStore::open_existing(&absent, &arbiter(1), &vault()), Err(StoreError::Io(_))));
    assert!(!absent.exists());
}

/// A small file system of its own, as only root can make one.
struct Disk(tempfile::TempDir);

impl Disk {
    /// `None` where nothing can be mounted; CI must be able to.
    fn new() -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        let mounted = disk.mount("size=24m");
        if mounted.is_none() {
            let skipped = "a full and a read-only disk need the right to mount a tmpfs (root, CAP_SYS_ADMIN)";
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "not tested: {skipped}");
            eprintln!("skipped: {skipped}");
        }
        mounted.map(|()| disk)
    }

    fn mount(&self, options: &str) -> Option<()> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "none"]).arg(self.0.path()).stderr(Stdio::null());
        mount.status().ok().filter(ExitStatus::success).map(drop)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// S33: a full disk: the commit fails and says why; with space again everything acknowledged is there.
#[test]
fn a_full_disk_fails_the_commit_and_loses_nothing() {
    let Some(disk) = Disk::new() else { return };
    let (ballast, path) = (disk.0.path().join("ballast"), disk.0.path().join("data"));
    fs::write(&ballast, vec![0; 8 << 20]).unwrap();
    let store = open(&path).unwrap();
    let leaf = vec![7; 256 << 10];
    let mut head = None;
    let error = loop {
        let next = suite::commit(head.as_ref(), &[&leaf]);
        match store.commit(&next) {
            Ok(()) => head = Some(next.head),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("No space left on device"), "{error}");
    assert!(store.commit(&suite::commit(head.as_ref(), &[])).is_err(), "nothing more is written");
    drop(store);
    fs::remove_file(&ballast).unwrap();
    let store = open(&path).unwrap();
    let found = store.head().unwrap();
    let acknowledged = head.as_ref().unwrap();
    let unheard = suite::commit(head.as_ref(), &[&leaf]).head;
    assert!(found.as_ref() == Some(acknowledged) || found == Some(unheard), "{found:?}");
    let size = found.as_ref().unwrap().size;
    assert!(acknowledged.size > 5, "some commits fitted");
    for index in 0..size {
        assert_eq!(store.leaves(index, 1).unwrap(), std::slice::from_ref(&leaf));
    }
    store.commit(&suite::commit(found.as_ref(), &[])).unwrap();
}

/// A read-only disk is refused with the reason of the system.
#[test]
fn a_read_only_disk_is_refused() {
    let Some(disk) = Disk::new() else { return };
    let path = disk.0.path().join("data");
    drop(open(&path).unwrap());
    disk.mount("remount,ro").unwrap();
    for path in [path, disk.0.path().join("another")] {
        let error = open(&path).err().unwrap();
        assert!(matches!(error, StoreError::Io(_)), "{error}");
        assert!(error.to_string().contains("Read-only file system"), "{error}");
    }
}

/// S33: a value that was altered or moved is an error that names the entry, never another value.
#[test]
fn damaged_values_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let first = suite::commit(None, &[b"zero", b"one"]);
    store.commit(&first).unwrap();
    let message = |result: Result<(), StoreError>| {
        let error = result.unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }));
        error.to_string()
    };
    let [(zero, _), (one, value)] = &store.entries(Family::Leaves)[..] else { panic!("two leaves") };
    // Moved: leaf 1 in the place of leaf 0.
    store.replace(Family::Leaves, zero, Some(value.clone()));
    let found = message(store.leaves(0, 2).map(drop));
    assert_eq!(found, "stored leaf is damaged: 0: altered: its check bytes do not fit");
    assert!(store.leaves(1, 1).is_ok());
    // Removed.
    store.replace(Family::Leaves, one, None);
    assert_eq!(message(store.leaves(1, 1).map(drop)), "stored leaf is damaged: 1: missing");
    // Every byte of the head.
    let head = store.entries(Family::Meta).into_iter().find(|(key, _)| key == schema::HEAD_KEY).unwrap().1;
    for position in 0..head.len() {
        let mut altered = head.clone();
        altered[position] ^= 0x10;
        store.replace(Family::Meta, schema::HEAD_KEY, Some(altered));
        assert!(message(store.head().map(drop)).starts_with("stored entry is damaged: head"));
    }
    store.replace(Family::Meta, schema::HEAD_KEY, Some(head[..5].to_vec()));
    assert_eq!(message(store.head().map(drop)), "stored entry is damaged: head: too short");
}

/// A record decodes only from exactly the bytes that encode it.
#[test]
fn records_have_one_encoding() {
    use arbiter_protocol::exchange::selection::ByRole;
    use arbiter_protocol::ids::{ExchangeId, LeafIndex};
    use arbiter_protocol::ruling::sequencer::Record;
    let exchange = ExchangeId::from_bytes([3; 32]);
    let held = ByRole { originator: Some(ContentId(0)), responder: Some(ContentId(u64::MAX)) };
    let record = Record { held, leaves: 3, last_leaf: Some(LeafIndex(0)), ..Record::default() };
    let bytes = schema::encode_record(&record);
    assert_eq!(schema::decode_record(&exchange, &bytes).unwrap(), record);
    let trailing = [&bytes[..], &[0x50, 1]].concat();
    let doubled = [&bytes[..], &bytes[..]].concat();
    for bad in [&bytes[1..], &bytes[..bytes.len() - 1], &trailing, &doubled, &[], &[0x08, 3], &[0x08, 5]] {
        let error = schema::decode_record(&exchange, bad).unwrap_err();
        assert!(error.to_string().starts_with("stored record is damaged: 0303"), "{error}");
    }
}
