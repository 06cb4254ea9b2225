//! A store in memory that can crash: the model that tests and simulations run on.
//!
//! ```text
//!  put_chunk ──▶ pending ──commit──▶ durable         crash() drops pending
//! ```
//! It keeps the same bytes under the same keys as RocksDB and shares all code above them; the suite in
//! `store::suite` ties the two together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arbiter_protocol::message::agreement::ArbiterIdentity;

use super::StoreError;
use super::raw::{Durability, Expect, Pair, Raw, Turn, Unswept as _, prepare};
use super::schema::{Family, Write};
use crate::keys::vault::Vault;

/// A store in memory.
pub struct MemStore {
    disk: Disk,
    turn: Turn,
    vault: Arc<Vault>,
}

/// What is left of a [`MemStore`] when its process ends. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<Plates>>);

/// How a commit fails on purpose.
#[cfg(any(test, feature = "testing"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is stored.
    Lost,
    /// Everything is stored, but the caller is told that it failed.
    Unheard,
}

type Key = (Family, Vec<u8>);

/// The lock owns both halves, so that a crash is atomic.
#[derive(Debug, Default)]
struct Plates {
    durable: BTreeMap<Key, Vec<u8>>,
    /// `None` is a removal.
    pending: BTreeMap<Key, Option<Vec<u8>>>,
    #[cfg(any(test, feature = "testing"))]
    fault: Option<Fault>,
}

impl Disk {
    /// Drops everything that no durable write covers: power loss.
    pub fn crash(&self) {
        self.plates().pending.clear();
    }

    /// Lets the next durable write fail.
    #[cfg(any(test, feature = "testing"))]
    pub fn fail_next_commit(&self, fault: Fault) {
        self.plates().fault = Some(fault);
    }

    fn plates(&self) -> MutexGuard<'_, Plates> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemStore {
    /// An empty store of this arbiter.
    pub fn new(arbiter: &ArbiterIdentity, vault: &Arc<Vault>) -> Result<Self, StoreError> {
        Self::open(&Disk::default(), arbiter, vault)
    }

    /// Opens what a disk holds, as after a restart. Contents that no record names are removed.
    pub fn open(disk: &Disk, arbiter: &ArbiterIdentity, vault: &Arc<Vault>) -> Result<Self, StoreError> {
        let store = Self::open_unswept(disk, arbiter, vault)?;
        store.sweep()?;
        Ok(store)
    }

    /// The same, but nothing is removed.
    pub fn open_unswept(
        disk: &Disk,
        arbiter: &ArbiterIdentity,
        vault: &Arc<Vault>,
    ) -> Result<Self, StoreError> {
        let store = Self { disk: disk.clone(), turn: Turn::default(), vault: Arc::clone(vault) };
        prepare(&store, arbiter, Expect::NewOrExisting)?;
        Ok(store)
    }

    /// The disk.
    pub const fn disk(&self) -> &Disk {
        &self.disk
    }
}

impl Raw for MemStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let plates = self.disk.plates();
        let key = (family, key.to_vec());
        let pending = plates.pending.get(&key);
        Ok(pending.cloned().unwrap_or_else(|| plates.durable.get(&key).cloned()))
    }

    fn scan(&self, family: Family, from: &[u8], count: usize) -> Result<Vec<Pair>, StoreError> {
        let plates = self.disk.plates();
        let start = (family, from.to_vec());
        let in_family = |key: &Key| key.0 == family;
        let mut pending =
            plates.pending.range(start.clone()..).take_while(|(key, _)| in_family(key)).peekable();
        let mut durable = plates.durable.range(start..).take_while(|(key, _)| in_family(key)).peekable();
        let mut found = Vec::new();
        while found.len() < count {
            // The lesser key is next; on a tie the pending change hides the durable value.
            let change = match (pending.peek(), durable.peek()) {
                (None, None) => break,
                (Some((ours, _)), Some((theirs, _))) => ours <= theirs,
                (ours, _) => ours.is_some(),
            };
            if change {
                let Some((key, value)) = pending.next() else { break };
                durable.next_if(|(theirs, _)| *theirs == key);
                found.extend(value.as_ref().map(|value| (key.1.clone(), value.clone())));
            } else {
                found.extend(durable.next().map(|(key, value)| (key.1.clone(), value.clone())));
            }
        }
        Ok(found)
    }

    fn write(&self, writes: Vec<Write>, durability: Durability) -> Result<(), StoreError> {
        let mut plates = self.disk.plates();
        #[cfg(any(test, feature = "testing"))]
        let fault = if durability == Durability::Now { plates.fault.take() } else { None };
        #[cfg(any(test, feature = "testing"))]
        if fault == Some(Fault::Lost) {
            return Err(StoreError::Io(String::from("No space left on device")));
        }
        plates.change(writes);
        if durability == Durability::Now {
            plates.settle();
        }
        #[cfg(any(test, feature = "testing"))]
        if fault == Some(Fault::Unheard) {
            return Err(StoreError::Io(String::from("Input/output error")));
        }
        Ok(())
    }

    fn turn(&self) -> &Turn {
        &self.turn
    }

    fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }
}

impl Plates {
    fn change(&mut self, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::Put { family, key, value } => {
                    self.pending.insert((family, key), Some(value));
                }
                Write::Remove { family, key } => {
                    self.pending.insert((family, key), None);
                }
                Write::RemoveAll { family, start } => {
                    let from = (family, start.clone());
                    let hit = |key: &Key| key.0 == family && key.1.starts_with(&start);
                    let stored = self.durable.range(from.clone()..).map(|(key, _)| key);
                    let waiting = self.pending.range(from..).map(|(key, _)| key);
                    let keys: Vec<Key> = stored
                        .take_while(|key| hit(key))
                        .chain(waiting.take_while(|key| hit(key)))
                        .cloned()
                        .collect();
                    self.pending.extend(keys.into_iter().map(|key| (key, None)));
                }
            }
        }
    }

    fn settle(&mut self) {
        for (key, value) in std::mem::take(&mut self.pending) {
            match value {
                Some(value) => drop(self.durable.insert(key, value)),
                None => drop(self.durable.remove(&key)),
            }
        }
    }
}
