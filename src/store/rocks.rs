//! Durable state in RocksDB: the only file that names it.
//!
//! ```text
//!  commit ──one WriteBatch, sync──▶ write-ahead log ──▶ column families
//! ```
//!
//! Settings that the contract rests on
//! - A commit is one batch over all families, written with `sync`: atomic, and on the disk before it returns.
//! - Chunks go through the same write-ahead log without `sync`: the sync of the commit covers them.
//! - A torn last record after power loss is dropped (it was never acknowledged); anything else refuses to open.
//! - Log files are not recycled, so an old record is never read as a new one. Paranoid checks are on.
//! - Nothing is compressed: hashes, signatures and sealed bytes do not get smaller.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use arbiter_protocol::message::agreement::ArbiterIdentity;
use rocksdb::{
    BottommostLevelCompaction, ColumnFamily, ColumnFamilyDescriptor, CompactOptions, DB, DBCompressionType,
    DBRecoveryMode, Direction, FlushOptions, IteratorMode, LogLevel, Options, WaitForCompactOptions,
    WriteBatch, WriteOptions,
};

use super::StoreError;
use super::raw::{Durability, Expect, Pair, Raw, Turn, Unswept as _, prepare, read_format};
use super::schema::{FORMAT, FORMAT_KEY, Family, Write};
use crate::keys::vault::Vault;

/// A data folder.
pub struct RocksStore {
    db: DB,
    turn: Turn,
    vault: Arc<Vault>,
}

impl RocksStore {
    /// Opens the data folder of this arbiter; makes it if it is not there. Contents that no record names are removed.
    pub fn open(path: &Path, arbiter: &ArbiterIdentity, vault: &Arc<Vault>) -> Result<Self, StoreError> {
        let store = Self::open_unswept(path, arbiter, vault)?;
        store.sweep()?;
        Ok(store)
    }

    /// The same, but nothing is removed: for [`Journaled`](super::journal::Journaled), which does it later.
    pub fn open_unswept(
        path: &Path,
        arbiter: &ArbiterIdentity,
        vault: &Arc<Vault>,
    ) -> Result<Self, StoreError> {
        Self::open_as(path, arbiter, vault, Expect::NewOrExisting)
    }

    /// Opens a data folder that must hold a log already. Nothing is removed.
    pub fn open_existing(
        path: &Path,
        arbiter: &ArbiterIdentity,
        vault: &Arc<Vault>,
    ) -> Result<Self, StoreError> {
        Self::open_as(path, arbiter, vault, Expect::Existing)
    }

    fn open_as(
        path: &Path,
        arbiter: &ArbiterIdentity,
        vault: &Arc<Vault>,
        expect: Expect,
    ) -> Result<Self, StoreError> {
        let failed = |error: std::io::Error| StoreError::Io(error.to_string());
        let other = || StoreError::Io(String::from("it is not empty and holds no log: name another folder"));
        let used = path.join("CURRENT").exists();
        if !used {
            if expect == Expect::Existing {
                return Err(if is_fresh(path).map_err(failed)? { StoreError::Empty } else { other() });
            }
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
            if !is_fresh(path).map_err(failed)? {
                return Err(other());
            }
        }
        let store = Self { db: open_db(path, used)?, turn: Turn::default(), vault: Arc::clone(vault) };
        prepare(&store, arbiter, expect)?;
        Ok(store)
    }

    fn family(&self, family: Family) -> Result<&ColumnFamily, StoreError> {
        let missing = || StoreError::Damaged { what: "data folder", detail: format!("no {}", family.name()) };
        self.db.cf_handle(family.name()).ok_or_else(missing)
    }
}

impl Raw for RocksStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.get_cf(self.family(family)?, key).map_err(failed)
    }

    fn scan(&self, family: Family, from: &[u8], count: usize) -> Result<Vec<Pair>, StoreError> {
        let mode = IteratorMode::From(from, Direction::Forward);
        let found = self.db.iterator_cf(self.family(family)?, mode).take(count);
        found
            .map(|pair| pair.map(|(key, value)| (key.into_vec(), value.into_vec())).map_err(failed))
            .collect()
    }

    fn write(&self, writes: Vec<Write>, durability: Durability) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for write in &writes {
            match write {
                Write::Put { family, key, value } => batch.put_cf(self.family(*family)?, key, value),
                Write::Remove { family, key } => batch.delete_cf(self.family(*family)?, key),
                Write::RemoveAll { family, start } => {
                    // Keys are a few bytes: this is above every key that starts like `start`.
                    let end = [start.as_slice(), &[0xff; 16]].concat();
                    batch.delete_range_cf(self.family(*family)?, start, &end);
                }
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Now);
        self.db.write_opt(batch, &options).map_err(failed)
    }

    fn turn(&self) -> &Turn {
        &self.turn
    }

    fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// Removed values are in old log files until every family is flushed, and in old tables until they are compacted.
    fn forget(&self) -> Result<(), StoreError> {
        let families = Family::ALL.iter().map(|it| self.family(*it)).collect::<Result<Vec<_>, _>>()?;
        let mut flush = FlushOptions::default();
        flush.set_wait(true);
        self.db.flush_cfs_opt(&families, &flush).map_err(failed)?;
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        options.set_exclusive_manual_compaction(true);
        // Nothing is ever removed from the log itself, which may be large.
        let public = [Family::Leaves, Family::Meta, Family::Nodes];
        for family in Family::ALL.into_iter().filter(|it| !public.contains(it)) {
            self.db.compact_range_cf_opt(self.family(family)?, None::<&[u8]>, None::<&[u8]>, &options);
        }
        self.db.wait_for_compact(&WaitForCompactOptions::default()).map_err(failed)
    }
}

/// Whether a folder without a database has nothing in it but what RocksDB leaves when it is cut off early.
fn is_fresh(path: &Path) -> std::io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let ours = ["LOCK", "LOG", "IDENTITY", "MANIFEST-", "OPTIONS-"];
        if !ours.iter().any(|start| name.starts_with(start)) && !name.ends_with(".dbtmp") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Opens every family there is. A folder of a newer version is left exactly as it is.
fn open_db(path: &Path, used: bool) -> Result<DB, StoreError> {
    let mut present = if used { DB::list_cf(&options(), path).map_err(failed)? } else { Vec::new() };
    let missing: Vec<_> =
        Family::ALL.iter().map(|it| it.name().to_owned()).filter(|it| !present.contains(it)).collect();
    if missing.is_empty() {
        return open_families(&options(), path, &present);
    }
    if used && present.iter().any(|name| name == Family::Meta.name()) {
        // Either we were cut off while making the folder, or another version made it.
        let db = open_families(&options(), path, &present)?;
        let meta = db.cf_handle(Family::Meta.name()).map(|meta| db.get_cf(meta, FORMAT_KEY).map_err(failed));
        match meta.transpose()?.flatten().map(read_format).transpose()? {
            None => {}
            Some(FORMAT) => {
                let detail = format!("no {}", missing.join(", no "));
                return Err(StoreError::Damaged { what: "data folder", detail });
            }
            Some(found) => return Err(StoreError::Format { found, known: FORMAT }),
        }
    }
    let mut create = options();
    create.create_if_missing(true);
    create.create_missing_column_families(true);
    present.extend(missing);
    open_families(&create, path, &present)
}

fn open_families(options: &Options, path: &Path, names: &[String]) -> Result<DB, StoreError> {
    let families = names.iter().map(|name| ColumnFamilyDescriptor::new(name, family_options()));
    DB::open_cf_descriptors(options, path, families).map_err(failed)
}

fn options() -> Options {
    let mut options = family_options();
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_paranoid_checks(true);
    options.set_recycle_log_file_num(0);
    // Bounds what is read again at start.
    options.set_max_total_wal_size(128 * 1024 * 1024);
    options.set_max_open_files(512);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(3);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

fn family_options() -> Options {
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(32 * 1024 * 1024);
    options
}

/// RocksDB tells errors apart only by their text.
fn failed(error: rocksdb::Error) -> StoreError {
    let text = error.into_string();
    let locked = text.contains("lock hold by current process") || text.contains("While lock file");
    if locked { StoreError::InUse } else { StoreError::Io(text) }
}
