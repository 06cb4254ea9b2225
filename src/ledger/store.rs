//! The book on disk: one redb file, one durable transaction a batch. The only file here that names `redb`.
//!
//! ```text
//!  meta       format, ledger        who wrote this
//!  journal    number ▶ entry        the book itself; everything below follows from it
//!  accounts   name ▶ account        as they are now
//!  payments   id ▶ made, ended      entries, 0 for none
//!  open       id                    the payments whose money is reserved
//!  history    key, entry ▶ id       the payments of an account, in the order in which they were made
//! ```
//!
//! Invariants
//! - A batch is committed whole or not at all; [`Batch::commit`] returns after the file was synced (R-608).
//! - One process has the file open.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arbiter_protocol::ids::{PaymentId, PublicKey};
use arbiter_protocol::ledger::{AccountName, Archive, Change, Damage, Entry, Kept, PaymentRecord};
use arbiter_protocol::time::UnixMillis;
use redb::backends::InMemoryBackend;
use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase as _, ReadableTable,
    ReadableTableMetadata as _, TableDefinition, WriteTransaction,
};
use thiserror::Error;

use super::schema;
use crate::keys::file::sync_folder;

type Bytes = &'static [u8];
type Id = &'static [u8; 32];

const META: TableDefinition<'static, &'static str, Bytes> = TableDefinition::new("meta");
const JOURNAL: TableDefinition<'static, u64, Bytes> = TableDefinition::new("journal");
const ACCOUNTS: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new("accounts");
const PAYMENTS: TableDefinition<'static, Id, (u64, u64)> = TableDefinition::new("payments");
const OPEN: TableDefinition<'static, Id, ()> = TableDefinition::new("open");
const HISTORY: TableDefinition<'static, (Id, u64), Id> = TableDefinition::new("history");

const FORMAT: &[u8] = b"arbiter/ledger/v1";

/// Why the book cannot be read or written. The operator or the machine is at fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// What is stored is not what this program writes.
    #[error("the book is damaged: {0}; run arbiter ledger fsck, restore a copy")]
    Damaged(#[from] Damage),
    /// There is no book.
    #[error("there is no book {}: this ledger has never served, or its data is lost", path.display())]
    Empty {
        /// Where one was looked for.
        path: PathBuf,
    },
    /// The file is no book of this version.
    #[error("the file is no book of this version")]
    Format,
    /// Another process has it open.
    #[error("another process has the book open: stop that one first")]
    InUse,
    /// The system.
    #[error("the file cannot be used: {0}")]
    Io(std::io::Error),
    /// The book of another ledger.
    #[error("the book belongs to the ledger with key {found}, not to {expected}")]
    OtherLedger {
        /// The key of this ledger.
        expected: PublicKey,
        /// The key in the file.
        found: PublicKey,
    },
    /// The storage engine.
    #[error("the storage engine failed: {0}")]
    Engine(Box<redb::Error>),
}

fn failed(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Engine(Box::new(error.into()))
}

/// A book. Clones are the same book.
#[derive(Clone)]
pub struct Store(Arc<Database>);

impl Store {
    /// Opens the book of `ledger`; makes it if there is none.
    pub fn open(path: &Path, ledger: PublicKey) -> Result<Self, StoreError> {
        if path.symlink_metadata().is_ok() {
            return Self::open_existing(path, ledger);
        }
        // What people have is nobody else's business.
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(StoreError::Io)?;
        let store = Self::prepare(Database::create(path).map_err(opening)?, ledger)?;
        sync_folder(path).map_err(StoreError::Io)?;
        Ok(store)
    }

    /// Opens a book that must be there.
    pub fn open_existing(path: &Path, ledger: PublicKey) -> Result<Self, StoreError> {
        if path.symlink_metadata().is_err() {
            return Err(StoreError::Empty { path: path.to_owned() });
        }
        Self::prepare(Database::create(path).map_err(opening)?, ledger)
    }

    /// A book in memory, gone with the last clone.
    pub fn in_memory(ledger: PublicKey) -> Result<Self, StoreError> {
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).map_err(opening)?;
        Self::prepare(database, ledger)
    }

    fn prepare(database: Database, ledger: PublicKey) -> Result<Self, StoreError> {
        let write = database.begin_write().map_err(failed)?;
        {
            let mut meta = write.open_table(META).map_err(failed)?;
            let format = meta.get("format").map_err(failed)?.map(|it| it.value().to_vec());
            match format.as_deref() {
                None => {
                    meta.insert("format", FORMAT).map_err(failed)?;
                    meta.insert("ledger", ledger.as_bytes().as_slice()).map_err(failed)?;
                }
                Some(FORMAT) => {
                    let found = meta.get("ledger").map_err(failed)?.ok_or(StoreError::Format)?;
                    let found = PublicKey::parse(found.value(), "ledger").map_err(|_| StoreError::Format)?;
                    if found != ledger {
                        return Err(StoreError::OtherLedger { expected: ledger, found });
                    }
                }
                Some(_) => return Err(StoreError::Format),
            }
            write.open_table(JOURNAL).map_err(failed)?;
            write.open_table(ACCOUNTS).map_err(failed)?;
            write.open_table(PAYMENTS).map_err(failed)?;
            write.open_table(OPEN).map_err(failed)?;
            write.open_table(HISTORY).map_err(failed)?;
        }
        write.commit().map_err(failed)?;
        Ok(Self(Arc::new(database)))
    }

    /// What the books are restored from.
    pub fn kept(&self) -> Result<Kept, StoreError> {
        let view = self.view()?;
        let (entries, time) = match view.last_entry()? {
            None => (0, UnixMillis(0)),
            Some(entry) => (entry.number, entry.time),
        };
        if view.read.open_table(JOURNAL).map_err(failed)?.len().map_err(failed)? != entries {
            return Err(Damage::Gap { entry: entries }.into());
        }
        let open = view.open_payments()?.into_iter().map(|id| {
            // Named as open, but not there.
            view.find(&id)?.ok_or(StoreError::Damaged(Damage::Payment { payment: id }))
        });
        let open = open.collect::<Result<_, _>>()?;
        Ok(Kept { entries, time, accounts: view.accounts()?, open })
    }

    /// What is committed now; later commits do not change it.
    pub fn view(&self) -> Result<View, StoreError> {
        Ok(View { read: self.0.begin_read().map_err(failed)? })
    }

    /// The next batch.
    pub fn batch(&self) -> Result<Batch<'_>, StoreError> {
        Ok(Batch { store: self, view: self.view()?, write: None })
    }
}

fn opening(error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse,
        other => failed(other),
    }
}

/// The book as it was at one moment.
pub struct View {
    read: ReadTransaction,
}

impl View {
    /// One entry of the journal.
    pub fn entry(&self, number: u64) -> Result<Entry, StoreError> {
        entry(&self.read.open_table(JOURNAL).map_err(failed)?, number)
    }

    /// The newest entry.
    pub fn last_entry(&self) -> Result<Option<Entry>, StoreError> {
        let journal = self.read.open_table(JOURNAL).map_err(failed)?;
        let Some((number, bytes)) = journal.last().map_err(failed)? else { return Ok(None) };
        Ok(Some(Entry::decode(number.value(), bytes.value())?))
    }

    /// All accounts.
    pub fn accounts(&self) -> Result<Vec<(AccountName, arbiter_protocol::ledger::Account)>, StoreError> {
        let accounts = self.read.open_table(ACCOUNTS).map_err(failed)?;
        let read = |(name, account): (&[u8], &[u8])| {
            Some((schema::decode_name(name)?, schema::decode_account(account)?))
        };
        let pairs = accounts.iter().map_err(failed)?.map(|pair| {
            let (name, account) = pair.map_err(failed)?;
            read((name.value(), account.value())).ok_or(StoreError::Format)
        });
        pairs.collect()
    }

    /// The ids of the open reservations, ascending.
    pub fn open_payments(&self) -> Result<Vec<PaymentId>, StoreError> {
        let open = self.read.open_table(OPEN).map_err(failed)?;
        let ids = open.iter().map_err(failed)?.map(|pair| {
            let (id, ()) = pair.map(|(id, unit)| (id, unit.value())).map_err(failed)?;
            Ok(PaymentId::from_bytes(*id.value()))
        });
        ids.collect()
    }

    /// How many payments there are.
    pub fn payment_count(&self) -> Result<u64, StoreError> {
        self.read.open_table(PAYMENTS).map_err(failed)?.len().map_err(failed)
    }

    /// How many lines the histories of all accounts have together.
    pub fn history_count(&self) -> Result<u64, StoreError> {
        self.read.open_table(HISTORY).map_err(failed)?.len().map_err(failed)
    }

    /// Payments of an account that were made before the entry `before`, newest first: the entry and the payment.
    pub fn history(
        &self,
        account: &PublicKey,
        before: u64,
        count: usize,
    ) -> Result<Vec<(u64, PaymentId)>, StoreError> {
        let history = self.read.open_table(HISTORY).map_err(failed)?;
        let range = history.range((account.as_bytes(), 0)..(account.as_bytes(), before)).map_err(failed)?;
        let lines = range.rev().take(count).map(|pair| {
            let (place, id) = pair.map_err(failed)?;
            Ok((place.value().1, PaymentId::from_bytes(*id.value())))
        });
        lines.collect()
    }
}

impl Archive for View {
    type Error = StoreError;

    fn find(&self, id: &PaymentId) -> Result<Option<PaymentRecord>, StoreError> {
        let payments = self.read.open_table(PAYMENTS).map_err(failed)?;
        find(&payments, &self.read.open_table(JOURNAL).map_err(failed)?, id)
    }
}

/// Changes that become durable together. Nothing is written before the first change.
pub struct Batch<'a> {
    store: &'a Store,
    view: View,
    write: Option<WriteTransaction>,
}

impl Batch<'_> {
    /// Adds a change.
    pub fn put(&mut self, change: &Change) -> Result<(), StoreError> {
        let write = match &mut self.write {
            Some(write) => write,
            none => none.insert(self.store.0.begin_write().map_err(failed)?),
        };
        let Change { entry, accounts, payment } = change;
        let mut journal = write.open_table(JOURNAL).map_err(failed)?;
        let before = journal.insert(entry.number, entry.encode().as_slice()).map_err(failed)?.is_some();
        assert!(!before, "invariant: an entry is written once");
        let mut table = write.open_table(ACCOUNTS).map_err(failed)?;
        for (name, account) in accounts {
            let (name, account) = (schema::encode_name(name), schema::encode_account(account));
            table.insert(name.as_slice(), account.as_slice()).map_err(failed)?;
        }
        let Some(record) = payment else { return Ok(()) };
        let id = record.terms.id();
        let made = record.made.map_or(0, |made| made.mark.entry);
        let ended = record.ended.map_or(0, |ended| ended.by.mark.entry);
        write.open_table(PAYMENTS).map_err(failed)?.insert(id.as_bytes(), (made, ended)).map_err(failed)?;
        let mut open = write.open_table(OPEN).map_err(failed)?;
        if record.is_open() {
            open.insert(id.as_bytes(), ()).map_err(failed)?;
        } else {
            open.remove(id.as_bytes()).map_err(failed)?;
        }
        if made == entry.number {
            let mut history = write.open_table(HISTORY).map_err(failed)?;
            for key in [record.terms.payment.payer, record.terms.payment.payee] {
                history.insert((key.as_bytes(), made), id.as_bytes()).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Makes everything durable. After an error nobody knows what is: the process must end.
    pub fn commit(self) -> Result<(), StoreError> {
        // The view goes first: pages that only it needs are free then.
        drop(self.view);
        self.write.map_or(Ok(()), |write| write.commit().map_err(failed))
    }
}

impl Archive for Batch<'_> {
    type Error = StoreError;

    /// As changed by this batch.
    fn find(&self, id: &PaymentId) -> Result<Option<PaymentRecord>, StoreError> {
        let Some(write) = &self.write else { return self.view.find(id) };
        let payments = write.open_table(PAYMENTS).map_err(failed)?;
        find(&payments, &write.open_table(JOURNAL).map_err(failed)?, id)
    }
}

fn find(
    payments: &impl ReadableTable<Id, (u64, u64)>,
    journal: &impl ReadableTable<u64, Bytes>,
    id: &PaymentId,
) -> Result<Option<PaymentRecord>, StoreError> {
    let Some(marks) = payments.get(id.as_bytes()).map_err(failed)? else { return Ok(None) };
    let (made, ended) = marks.value();
    let read = |number: u64| (number > 0).then(|| entry(journal, number)).transpose();
    let record = PaymentRecord::read(read(made)?.as_ref(), read(ended)?.as_ref())?;
    if record.terms.id() != *id {
        return Err(Damage::Index { entry: made.max(ended) }.into());
    }
    Ok(Some(record))
}

fn entry(journal: &impl ReadableTable<u64, Bytes>, number: u64) -> Result<Entry, StoreError> {
    let bytes = journal.get(number).map_err(failed)?.ok_or(Damage::Gap { entry: number })?;
    Ok(Entry::decode(number, bytes.value())?)
}
