//! The journal: what must survive a crash, durable before anything of it is sent (R-301).
//!
//! ```text
//!  Record (one exchange) ─┐
//!  newest checkpoint      ├─ versioned protobuf ─▶ Store (redb | memory) ─▶ fsync ─▶ then, and only then, send
//!  misbehaviour           │
//!  nonce of a signature   ┘
//! ```
//!
//! Invariants
//! - [`Store::put`] returns after the entry is durable, and replaces an entry whole.
//! - Statements are kept as their exact signed bytes and are verified again when read.
//! - An entry of another version is refused, never guessed at.
//!
//! It holds secrets: a detached signature of ours that has not left. So its file is for its owner only.
//! The journal is trusted: who can change it can make its owner forget what it signed.

pub(crate) mod record;
mod redb_store;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arbiter_protocol::escrow::NonceUse;
use arbiter_protocol::ids::ExchangeId;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use zeroize::Zeroizing;

pub(crate) use record::Record;
pub use redb_store::RedbStore;

use crate::arbiter::Misbehaviour;
use crate::error::StoreError;

/// The kinds of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shelf {
    /// Newest checkpoint seen of each log.
    Checkpoints,
    /// One record for each exchange.
    Exchanges,
    /// Proofs against arbiters.
    Misbehaviours,
    /// For each key and nonce of an Ed25519 signature, the hash of the message (S29).
    Nonces,
}

impl Shelf {
    /// Every shelf.
    pub const ALL: [Self; 4] = [Self::Checkpoints, Self::Exchanges, Self::Misbehaviours, Self::Nonces];
}

/// A durable map of bytes. Blocking; the client calls it from threads that may block.
pub trait Store: Send + Sync {
    /// Writes one entry, durable on return.
    fn put(&self, shelf: Shelf, key: &[u8], value: &[u8]) -> Result<(), StoreError>;
    /// Reads one entry.
    fn get(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Reads all entries of a shelf in order of their keys.
    fn all(&self, shelf: Shelf) -> Result<Vec<Vec<u8>>, StoreError>;
}

type Entries = BTreeMap<(Shelf, Vec<u8>), Vec<u8>>;

/// Keeps everything in memory: gone with the process.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Entries>);

impl Store for MemoryStore {
    fn put(&self, shelf: Shelf, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.insert((shelf, key.to_vec()), value.to_vec());
        Ok(())
    }

    fn get(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(map.get(&(shelf, key.to_vec())).cloned())
    }

    fn all(&self, shelf: Shelf) -> Result<Vec<Vec<u8>>, StoreError> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(map.iter().filter(|((of, _), _)| *of == shelf).map(|(_, value)| value.clone()).collect())
    }
}

/// Typed access to a [`Store`], off the async threads.
#[derive(Clone)]
pub(crate) struct Journal {
    store: Arc<dyn Store>,
    /// Two exchanges must not both find the same nonce new.
    nonces: Arc<Mutex<()>>,
}

impl Journal {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, nonces: Arc::default() }
    }

    pub(crate) async fn put(&self, record: &Record) -> Result<(), StoreError> {
        let (key, value) = (record.session.exchange_id(), record.encode());
        self.blocking(move |store| store.put(Shelf::Exchanges, key.as_bytes(), &value)).await
    }

    pub(crate) async fn find(&self, id: &ExchangeId) -> Result<Option<Record>, StoreError> {
        let bytes = self.read(Shelf::Exchanges, id.to_vec()).await?;
        bytes.map(|bytes| Record::decode(&Zeroizing::new(bytes))).transpose()
    }

    pub(crate) async fn list(&self) -> Result<Vec<Record>, StoreError> {
        let all = self.blocking(|store| store.all(Shelf::Exchanges)).await?;
        all.into_iter().map(|bytes| Record::decode(&Zeroizing::new(bytes))).collect()
    }

    /// Whether none of these nonces was ever seen with another message (S29). Changes nothing.
    pub(crate) async fn nonces_are_new(&self, used: &[NonceUse]) -> Result<bool, StoreError> {
        for used in used {
            let known = self.read(Shelf::Nonces, used.place().to_vec()).await?;
            if known.is_some_and(|message| message != used.message()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes note of nonces, durable on return. Whether none of them was ever seen with another message (S29); if one was,
    /// what is known stays.
    pub(crate) async fn observe_nonces(&self, used: Vec<NonceUse>) -> Result<bool, StoreError> {
        let nonces = self.nonces.clone();
        self.blocking(move |store| {
            let _alone = nonces.lock().unwrap_or_else(PoisonError::into_inner);
            for used in &used {
                match store.get(Shelf::Nonces, &used.place())? {
                    Some(message) if message != used.message() => return Ok(false),
                    Some(_) => {}
                    None => store.put(Shelf::Nonces, &used.place(), used.message())?,
                }
            }
            Ok(true)
        })
        .await
    }

    /// The newest checkpoint seen of an arbiter's log, as the signed note.
    pub(crate) async fn newest_checkpoint(
        &self,
        arbiter: &ArbiterIdentity,
    ) -> Result<Option<String>, StoreError> {
        let bytes = self.read(Shelf::Checkpoints, log_name(arbiter)).await?;
        bytes
            .map(|bytes| String::from_utf8(bytes).map_err(|_| StoreError::Damaged("checkpoint".to_owned())))
            .transpose()
    }

    pub(crate) async fn keep_checkpoint(
        &self,
        arbiter: &ArbiterIdentity,
        note: &str,
    ) -> Result<(), StoreError> {
        self.write(Shelf::Checkpoints, log_name(arbiter), note.as_bytes().to_vec()).await
    }

    pub(crate) async fn keep_misbehaviour(&self, proof: &Misbehaviour) -> Result<(), StoreError> {
        let value = record::encode_misbehaviour(proof);
        // The same offence noticed again is the same entry.
        let key = arbiter_protocol::ids::Digest::of(&[&value]).to_vec();
        self.write(Shelf::Misbehaviours, key, value).await
    }

    pub(crate) async fn misbehaviours(&self) -> Result<Vec<Misbehaviour>, StoreError> {
        let all = self.blocking(|store| store.all(Shelf::Misbehaviours)).await?;
        all.iter().map(|bytes| record::decode_misbehaviour(bytes)).collect()
    }

    async fn write(&self, shelf: Shelf, key: Vec<u8>, value: Vec<u8>) -> Result<(), StoreError> {
        self.blocking(move |store| store.put(shelf, &key, &value)).await
    }

    async fn read(&self, shelf: Shelf, key: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        self.blocking(move |store| store.get(shelf, &key)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || work(&*store))
            .await
            .map_err(|_| StoreError::Io("the journal's thread stopped".to_owned()))?
    }
}

/// Origin and key: another key is another log.
fn log_name(arbiter: &ArbiterIdentity) -> Vec<u8> {
    [arbiter.log_key.as_bytes(), arbiter.log_origin.as_str().as_bytes()].concat()
}
