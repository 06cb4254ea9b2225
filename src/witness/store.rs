//! What was cosigned: one redb file, one durable transaction a batch. Beside the ledger's book the only file here that
//! names `redb`.
//!
//! ```text
//!  meta   format, witness, commits            who wrote this, and how often: compared with the mark
//!  heads  origin ▶ size, root, time, note     the newest checkpoint of each log, as the log signed it, and when it was cosigned
//! ```
//!
//! Invariants
//! - A head and the count are committed together; [`Batch::commit`] returns after the file was synced (R-551).
//! - A head follows the one before: [`Batch::put`] panics on a smaller size, another root at the same size, or an older time.
//! - One process has the file open.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arbiter_protocol::evidence::checkpoint::{Checkpoint, Origin, SignedCheckpoint};
use arbiter_protocol::evidence::cosignature::PosixSeconds;
use arbiter_protocol::evidence::note::{Note, VerifierKey};
use arbiter_protocol::ids::{Digest, PublicKey};
use redb::{
    Database, DatabaseError, ReadableDatabase as _, ReadableTable, TableDefinition, WriteTransaction,
};
use thiserror::Error;

use crate::keys::file::sync_folder;

type Row = (u64, &'static [u8; 32], u64, &'static str);

const META: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("meta");
const HEADS: TableDefinition<'static, &'static str, Row> = TableDefinition::new("heads");
const COUNT: TableDefinition<'static, (), u64> = TableDefinition::new("commits");

const FORMAT: &[u8] = b"arbiter/witness/v1";

/// Why the data cannot be read or written. The operator or the machine is at fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// What is stored is not what this program writes.
    #[error("what is stored for {origin} is damaged: make a new witness with a new key")]
    Damaged {
        /// Whose row.
        origin: String,
    },
    /// The storage engine.
    #[error("the storage engine failed: {0}")]
    Engine(Box<redb::Error>),
    /// The file is of another kind or version.
    #[error("the file is not the data of a witness of this version")]
    Format,
    /// Another process has it open.
    #[error("another process has the data open: stop that one first")]
    InUse,
    /// The system.
    #[error("the file cannot be used: {0}")]
    Io(std::io::Error),
    /// There is no data.
    #[error(
        "there is no file {}: a witness that has forgotten what it signed must not go on; make a new one with a new key: \
         arbiter witness init",
        path.display()
    )]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The data of another witness.
    #[error("the data belongs to the witness with key {found}, not to {expected}")]
    OtherWitness {
        /// The key of this witness.
        expected: PublicKey,
        /// The key in the file.
        found: PublicKey,
    },
}

fn failed(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Engine(Box::new(error.into()))
}

/// The newest cosigned checkpoint of a log. With the keys it says everything: signatures are deterministic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What was cosigned.
    pub checkpoint: Checkpoint,
    /// The time in the cosignature.
    pub time: PosixSeconds,
    /// The checkpoint with the signatures of the log, and no others.
    pub note: Note,
}

impl Head {
    /// What is kept of a checkpoint that one of these keys signed.
    pub(super) fn new(signed: &SignedCheckpoint, keys: &[VerifierKey], time: PosixSeconds) -> Self {
        let lines = signed.note().signatures().iter().filter(|line| keys.iter().any(|key| key.made(line)));
        let note = Note::new(signed.note().text().to_owned(), lines.cloned().collect());
        let note = note.expect("invariant: part of a note that has a signature of a known key is a note");
        Self { checkpoint: signed.checkpoint().clone(), time, note }
    }
}

/// The data of a witness. Clones are the same.
#[derive(Clone)]
pub struct Store(Arc<Database>);

impl Store {
    /// Makes the data of a new witness. The file must not exist.
    pub fn create(path: &Path, witness: PublicKey) -> Result<Self, StoreError> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(StoreError::Io)?;
        let database = Database::create(path).map_err(opening)?;
        let write = database.begin_write().map_err(failed)?;
        {
            let mut meta = write.open_table(META).map_err(failed)?;
            meta.insert("format", FORMAT).map_err(failed)?;
            meta.insert("witness", witness.as_bytes().as_slice()).map_err(failed)?;
            write.open_table(COUNT).map_err(failed)?.insert((), 0).map_err(failed)?;
            write.open_table(HEADS).map_err(failed)?;
        }
        write.commit().map_err(failed)?;
        sync_folder(path).map_err(StoreError::Io)?;
        Ok(Self(Arc::new(database)))
    }

    /// Opens the data of `witness`, which must be there: a witness does not begin again with the same key (R-552).
    pub fn open(path: &Path, witness: PublicKey) -> Result<Self, StoreError> {
        if path.symlink_metadata().is_err() {
            return Err(StoreError::Missing { path: path.to_owned() });
        }
        // `open` refuses an empty file, which `create` would fill.
        let store = Self(Arc::new(Database::open(path).map_err(opening)?));
        let read = store.0.begin_read().map_err(failed)?;
        let meta = read.open_table(META).map_err(|_| StoreError::Format)?;
        let value = |name| Ok(meta.get(name).map_err(failed)?.map(|it| it.value().to_vec()));
        if value("format")?.as_deref() != Some(FORMAT) {
            return Err(StoreError::Format);
        }
        let found = value("witness")?.ok_or(StoreError::Format)?;
        let found = PublicKey::parse(&found, "witness").map_err(|_| StoreError::Format)?;
        if found != witness {
            return Err(StoreError::OtherWitness { expected: witness, found });
        }
        drop((meta, read));
        Ok(store)
    }

    /// How many batches were committed.
    pub fn commits(&self) -> Result<u64, StoreError> {
        let read = self.0.begin_read().map_err(failed)?;
        let count = read.open_table(COUNT).map_err(failed)?;
        Ok(count.get(()).map_err(failed)?.ok_or(StoreError::Format)?.value())
    }

    /// The newest cosigned checkpoint of a log.
    pub fn head(&self, origin: &Origin) -> Result<Option<Head>, StoreError> {
        let read = self.0.begin_read().map_err(failed)?;
        head(&read.open_table(HEADS).map_err(failed)?, origin)
    }

    /// The newest cosigned checkpoints of all logs. Every row is checked.
    pub fn heads(&self) -> Result<Vec<Head>, StoreError> {
        let read = self.0.begin_read().map_err(failed)?;
        let heads = read.open_table(HEADS).map_err(failed)?;
        let rows = heads.iter().map_err(failed)?.map(|row| {
            let (origin, row) = row.map_err(failed)?;
            decode(origin.value(), row.value())
        });
        rows.collect()
    }

    /// The next batch.
    pub fn batch(&self) -> Result<Batch, StoreError> {
        Ok(Batch { write: self.0.begin_write().map_err(failed)? })
    }
}

/// Heads that become durable together.
pub struct Batch {
    write: WriteTransaction,
}

impl Batch {
    /// The newest head of a log, changes of this batch included.
    pub fn head(&self, origin: &Origin) -> Result<Option<Head>, StoreError> {
        head(&self.write.open_table(HEADS).map_err(failed)?, origin)
    }

    /// Replaces a head by one that follows it.
    pub fn put(&mut self, next: &Head) -> Result<(), StoreError> {
        let Head { checkpoint: Checkpoint { origin, size, root }, time, note } = next;
        let mut heads = self.write.open_table(HEADS).map_err(failed)?;
        if let Some(before) = head(&heads, origin)? {
            let same_root = before.checkpoint.size < *size || before.checkpoint.root == *root;
            let grows = before.checkpoint.size <= *size && before.time <= *time;
            assert!(grows && same_root, "invariant R-551: a witness never goes back");
        }
        let note = note.to_string();
        heads
            .insert(origin.as_str(), (*size, root.as_bytes(), time.seconds(), note.as_str()))
            .map_err(failed)?;
        Ok(())
    }

    /// Makes everything durable and gives the new count. After an error nobody knows what is: the process must end.
    pub fn commit(self) -> Result<u64, StoreError> {
        let commits = {
            let mut count = self.write.open_table(COUNT).map_err(failed)?;
            let before = count.get(()).map_err(failed)?.ok_or(StoreError::Format)?.value();
            let commits = before.saturating_add(1);
            count.insert((), commits).map_err(failed)?;
            commits
        };
        self.write.commit().map_err(failed)?;
        Ok(commits)
    }
}

fn head(heads: &impl ReadableTable<&'static str, Row>, origin: &Origin) -> Result<Option<Head>, StoreError> {
    let row = heads.get(origin.as_str()).map_err(failed)?;
    row.map(|row| decode(origin.as_str(), row.value())).transpose()
}

/// The columns must say what the note says.
fn decode(origin: &str, row: (u64, &[u8; 32], u64, &str)) -> Result<Head, StoreError> {
    let (size, root, time, note) = row;
    let read = || {
        let note = Note::parse(note).ok()?;
        let checkpoint = Checkpoint::parse(note.text()).ok()?;
        let (root, time) = (Digest::from_bytes(*root), PosixSeconds::new(time).ok()?);
        let same = checkpoint.origin.as_str() == origin && checkpoint.size == size && checkpoint.root == root;
        same.then_some(Head { checkpoint, time, note })
    };
    read().ok_or_else(|| StoreError::Damaged { origin: origin.to_owned() })
}

fn opening(error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse,
        other => failed(other),
    }
}

#[cfg(test)]
mod tests {
    use arbiter_protocol::evidence::note::NoteSignature;

    use super::*;

    const KEY: PublicKey = PublicKey::from_bytes([7; 32]);

    fn at(size: u64, root: u8, time: u64) -> Head {
        let (origin, root) = (Origin::parse("log.example").unwrap(), Digest::from_bytes([root; 32]));
        let checkpoint = Checkpoint { origin, size, root };
        let signature = NoteSignature::parse("\u{2014} log.example AAAAAAAA").unwrap();
        let note = Note::new(checkpoint.text(), vec![signature]).unwrap();
        Head { checkpoint, time: PosixSeconds::new(time).unwrap(), note }
    }

    /// R-551, R-552.
    #[test]
    fn heads_come_back_and_data_is_made_once_for_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        assert!(matches!(Store::open(&path, KEY), Err(StoreError::Missing { .. })));
        let store = Store::create(&path, KEY).unwrap();
        assert!(matches!(Store::open(&path, KEY), Err(StoreError::InUse)));
        let origin = at(0, 0, 1).checkpoint.origin;
        assert_eq!((store.commits().unwrap(), store.head(&origin).unwrap()), (0, None));
        for (count, next) in [at(3, 3, 10), at(3, 3, 10), at(3, 3, 11), at(5, 5, 11)].into_iter().enumerate()
        {
            let mut batch = store.batch().unwrap();
            batch.put(&next).unwrap();
            assert_eq!(batch.head(&origin).unwrap().as_ref(), Some(&next));
            assert_eq!(batch.commit().unwrap(), u64::try_from(count + 1).unwrap());
            assert_eq!(store.head(&origin).unwrap(), Some(next));
        }
        drop(store);
        assert!(matches!(Store::create(&path, KEY), Err(StoreError::Io(_))));
        let other = PublicKey::from_bytes([8; 32]);
        assert!(matches!(Store::open(&path, other), Err(StoreError::OtherWitness { .. })));
        let store = Store::open(&path, KEY).unwrap();
        assert_eq!((store.commits().unwrap(), store.heads().unwrap()), (4, vec![at(5, 5, 11)]));
        assert_eq!(store.head(&origin).unwrap(), Some(at(5, 5, 11)));
        std::fs::write(folder.path().join("empty"), "").unwrap();
        assert!(Store::open(&folder.path().join("empty"), KEY).is_err());
    }

    /// R-551.
    #[test]
    fn going_back_is_a_bug_that_ends_the_process() {
        for bad in [at(2, 2, 10), at(3, 4, 10), at(3, 3, 9), at(4, 4, 9)] {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::create(&folder.path().join("data"), KEY).unwrap();
            let mut batch = store.batch().unwrap();
            batch.put(&at(3, 3, 10)).unwrap();
            let put = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| batch.put(&bad)));
            assert!(put.is_err(), "{bad:?}");
        }
    }
}
