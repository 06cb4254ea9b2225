//! What both stores share: the [`Store`] contract written once over raw keys and values.
//!
//! ```text
//!  Store ◀── impl for every Raw ── schema (encoding, check bytes)
//!              Raw ◀── RocksStore, MemStore: get, scan, write
//! ```
//! A store below only has to keep bytes; what they mean, and when they are damaged, is decided here.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use arbiter_protocol::evidence::leaf::Pseudonym;
use arbiter_protocol::evidence::merkle::NodeId;
use arbiter_protocol::ids::{Digest, ExchangeId, LeafIndex};
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::ruling::sequencer::{ContentId, Record};

use super::schema::{self, Family, SealedRecord, Write, damaged};
use super::{By, Commit, ContentHead, Due, OpenOrder, Store, StoreError, StoredHead};
use crate::keys::vault::Vault;

/// Whether a write must survive power loss when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// Durable with the next write that is.
    Later,
    /// Durable on return, together with everything written before.
    Now,
}

/// An entry as it is stored.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// Keeps bytes under keys, in order.
pub(super) trait Raw: Send + Sync + 'static {
    /// The stored bytes of one entry.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Entries in key order from `from` on, at most `count`.
    fn scan(&self, family: Family, from: &[u8], count: usize) -> Result<Vec<Pair>, StoreError>;
    /// Makes all changes or none.
    fn write(&self, writes: Vec<Write>, durability: Durability) -> Result<(), StoreError>;
    /// The one writer at a time.
    fn turn(&self) -> &Turn;
    /// Wraps the keys of exchanges.
    fn vault(&self) -> &Arc<Vault>;
    /// Lets go of every byte that was removed or written over.
    fn forget(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Serialises commits. The lock owns whether an earlier commit failed: then nobody knows what is stored, and
/// nothing is written any more (R-505).
#[derive(Debug, Default)]
pub(super) struct Turn(Mutex<bool>);

/// Whether a folder may be new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// It must hold a log.
    Existing,
    /// It may be empty.
    NewOrExisting,
}

/// Checks that the bytes below are ours and of this arbiter, or makes them so.
pub(super) fn prepare(raw: &impl Raw, arbiter: &ArbiterIdentity, expect: Expect) -> Result<(), StoreError> {
    let expected = schema::fingerprint(arbiter);
    match format_version(raw)? {
        Some(schema::FORMAT) => {}
        Some(found) => return Err(StoreError::Format { found, known: schema::FORMAT }),
        None => {
            for family in Family::ALL {
                if let Some((key, _)) = raw.scan(family, &[], 1)?.first() {
                    return Err(damaged(family, key, "there, but the folder has no format version"));
                }
            }
            if expect == Expect::Existing {
                return Err(StoreError::Empty);
            }
            let version = Write::Put {
                family: Family::Meta,
                key: schema::FORMAT_KEY.to_vec(),
                value: schema::FORMAT.to_be_bytes().to_vec(),
            };
            let identity = Write::put(Family::Meta, schema::IDENTITY_KEY.to_vec(), expected.as_bytes());
            let vault = Write::put(Family::Meta, schema::VAULT_KEY.to_vec(), &Raw::vault(raw).fingerprint());
            raw.write(vec![version, identity, vault], Durability::Now)?;
        }
    }
    let found = value(raw, Family::Meta, schema::IDENTITY_KEY)?
        .ok_or_else(|| damaged(Family::Meta, schema::IDENTITY_KEY, "missing"))?;
    if found != expected.as_bytes() {
        let found = String::from_utf8_lossy(&found).into_owned();
        return Err(StoreError::OtherArbiter { found, expected });
    }
    if value(raw, Family::Meta, schema::VAULT_KEY)?.as_deref() != Some(&Raw::vault(raw).fingerprint()) {
        return Err(StoreError::OtherVault);
    }
    Ok(())
}

/// The format version, readable in every version.
fn format_version(raw: &impl Raw) -> Result<Option<u32>, StoreError> {
    raw.get(Family::Meta, schema::FORMAT_KEY)?.map(read_format).transpose()
}

/// Reads the value of the format version.
pub(super) fn read_format(bytes: Vec<u8>) -> Result<u32, StoreError> {
    let bytes = bytes.try_into().map_err(|_| damaged(Family::Meta, schema::FORMAT_KEY, "not 4 bytes"))?;
    Ok(u32::from_be_bytes(bytes))
}

/// Contents whose deposit was cut off by a crash.
fn remove_garbage(raw: &impl Raw) -> Result<(), StoreError> {
    let mut removed = 0u64;
    loop {
        let found = raw.scan(Family::Unnamed, &[], PAGE)?;
        if found.is_empty() {
            break;
        }
        let mut writes = Vec::new();
        for (key, _) in found {
            let id = key.as_slice().try_into().map(u64::from_be_bytes);
            let id = id.map_err(|_| damaged(Family::Unnamed, &key, "its key is not 8 bytes"))?;
            writes.extend(schema::removal(ContentId(id)));
            removed = removed.saturating_add(1);
        }
        raw.write(writes, Durability::Now)?;
    }
    if removed > 0 {
        tracing::info!(removed, "removed contents that no ruling names");
    }
    Ok(())
}

/// One entry without its check bytes.
fn value(raw: &impl Raw, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    raw.get(family, key)?.map(|stored| schema::unprotect(family, key, stored)).transpose()
}

impl<R: Raw> Store for R {
    fn head(&self) -> Result<Option<StoredHead>, StoreError> {
        let Some(bytes) = value(self, Family::Meta, schema::HEAD_KEY)? else { return Ok(None) };
        let head = schema::decode_head(&bytes);
        head.map(Some).ok_or_else(|| damaged(Family::Meta, schema::HEAD_KEY, "not a head"))
    }

    fn record(&self, exchange: &ExchangeId) -> Result<Record, StoreError> {
        let part = |family| value(self, family, exchange.as_bytes());
        let missing = |family| Err(damaged(family, exchange.as_bytes(), "missing"));
        match (part(Family::Keys)?, part(Family::Records)?) {
            (None, None) => Ok(Record::default()),
            (Some(key), Some(record)) => {
                schema::open_record(Raw::vault(self), exchange, &SealedRecord { key, record })
            }
            (None, Some(_)) => missing(Family::Keys),
            (Some(_), None) => missing(Family::Records),
        }
    }

    fn node(&self, node: NodeId) -> Result<Option<Digest>, StoreError> {
        let key = schema::node_key(node);
        let Some(bytes) = value(self, Family::Nodes, &key)? else { return Ok(None) };
        let hash = Digest::parse(&bytes, "node");
        hash.map(Some).map_err(|_| damaged(Family::Nodes, &key, "not 32 bytes"))
    }

    fn leaves(&self, first: u64, count: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let size = self.head()?.map_or(0, |head| head.size);
        let available = usize::try_from(size.saturating_sub(first)).unwrap_or(usize::MAX);
        let count = count.min(available);
        let mut found = self.scan(Family::Leaves, &schema::leaf_key(first), count)?.into_iter();
        let mut leaves = Vec::new();
        for index in (first..).take(count) {
            let key = schema::leaf_key(index);
            let pair = found.next().filter(|(found, _)| *found == key);
            let (_, stored) = pair.ok_or_else(|| damaged(Family::Leaves, &key, "missing"))?;
            leaves.push(schema::unprotect(Family::Leaves, &key, stored)?);
        }
        Ok(leaves)
    }

    fn hashes(&self, level: u8, first: u64, count: usize) -> Result<Vec<Digest>, StoreError> {
        let start = schema::node_key(NodeId { level, index: first });
        let mut found = self.scan(Family::Nodes, &start, count)?.into_iter();
        let mut hashes = Vec::new();
        for index in (first..).take(count) {
            let key = schema::node_key(NodeId { level, index });
            let pair = found.next().filter(|(found, _)| *found == key);
            let (_, stored) = pair.ok_or_else(|| damaged(Family::Nodes, &key, "missing"))?;
            let hash = Digest::parse(&schema::unprotect(Family::Nodes, &key, stored)?, "node");
            hashes.push(hash.map_err(|_| damaged(Family::Nodes, &key, "not 32 bytes"))?);
        }
        Ok(hashes)
    }

    fn indexed(&self, by: By, first: u64, count: usize) -> Result<Vec<u64>, StoreError> {
        let mut indices = Vec::new();
        for (key, stored) in self.scan(by.family(), &by.key(first), count)? {
            // What comes after the last of ours is found by something else.
            let Some(index) = by.index(&key) else { break };
            schema::unprotect(by.family(), &key, stored)?;
            indices.push(index);
        }
        Ok(indices)
    }

    fn index_entries(&self) -> Result<u64, StoreError> {
        let mut entries = 0u64;
        for family in [Family::ByEvent, Family::ByExchange] {
            let mut from = Vec::new();
            loop {
                let page = self.scan(family, &from, PAGE)?;
                let Some((last, _)) = page.last() else { break };
                from = next(last);
                entries = entries.saturating_add(u64::try_from(page.len()).unwrap_or(u64::MAX));
            }
        }
        Ok(entries)
    }

    fn published(&self) -> Result<Option<String>, StoreError> {
        let Some(bytes) = value(self, Family::Meta, schema::PUBLISHED_KEY)? else { return Ok(None) };
        let note = String::from_utf8(bytes);
        note.map(Some).map_err(|_| damaged(Family::Meta, schema::PUBLISHED_KEY, "not a note"))
    }

    fn publish(&self, note: &str) -> Result<(), StoreError> {
        let mut failed = self.turn().0.lock().unwrap_or_else(PoisonError::into_inner);
        if *failed {
            return Err(StoreError::Io(String::from("an earlier commit failed; start again")));
        }
        let write = Write::put(Family::Meta, schema::PUBLISHED_KEY.to_vec(), note.as_bytes());
        let result = self.write(vec![write], Durability::Now);
        *failed = result.is_err();
        result
    }

    fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        let mut failed = self.turn().0.lock().unwrap_or_else(PoisonError::into_inner);
        if *failed {
            return Err(StoreError::Io(String::from("an earlier commit failed; start again")));
        }
        if self.head()? != commit.expected {
            return Err(StoreError::HeadMoved);
        }
        let before = commit.expected.as_ref().map_or(0, |head| head.commits);
        assert!(commit.head.commits > before, "invariant: commits are counted");
        let result = self.write(schema::writes(commit, Raw::vault(self)), Durability::Now);
        *failed = result.is_err();
        result
    }

    fn exchanges(&self, after: Option<ExchangeId>, count: usize) -> Result<Vec<ExchangeId>, StoreError> {
        let from = after.map_or_else(Vec::new, |after| next(after.as_bytes()));
        let id = |family, key: &[u8]| {
            ExchangeId::parse(key, "exchange_id").map_err(|_| damaged(family, key, "its key is not 32 bytes"))
        };
        // Whoever reads a record without its key, or a key without its record, finds it damaged.
        let mut exchanges = BTreeSet::new();
        for family in [Family::Keys, Family::Records] {
            for (key, _) in self.scan(family, &from, count)? {
                exchanges.insert(id(family, &key)?);
            }
        }
        Ok(exchanges.into_iter().take(count).collect())
    }

    fn erased(&self, pseudonym: &Pseudonym) -> Result<Option<LeafIndex>, StoreError> {
        let Some(bytes) = value(self, Family::Erased, &pseudonym.0)? else { return Ok(None) };
        let erased = schema::decode_erased(&pseudonym.0, &bytes);
        let (_, leaf) =
            erased.ok_or_else(|| damaged(Family::Erased, &pseudonym.0, "not the index of a leaf"))?;
        Ok(Some(leaf))
    }

    fn erasures(
        &self,
        after: Option<Pseudonym>,
        count: usize,
    ) -> Result<Vec<(Pseudonym, LeafIndex)>, StoreError> {
        let from = after.map_or_else(Vec::new, |after| next(&after.0));
        let read = |(key, stored): Pair| {
            let value = schema::unprotect(Family::Erased, &key, stored)?;
            schema::decode_erased(&key, &value).ok_or_else(|| damaged(Family::Erased, &key, "not an erasure"))
        };
        self.scan(Family::Erased, &from, count)?.into_iter().map(read).collect()
    }

    fn declared_policy(&self) -> Result<Option<Digest>, StoreError> {
        let Some(bytes) = value(self, Family::Meta, schema::POLICY_KEY)? else { return Ok(None) };
        let digest = Digest::parse(&bytes, "policy");
        digest.map(Some).map_err(|_| damaged(Family::Meta, schema::POLICY_KEY, "not 32 bytes"))
    }

    fn forget_history(&self) -> Result<(), StoreError> {
        self.forget()
    }

    fn open_orders(&self, after: Option<&OpenOrder>, count: usize) -> Result<Vec<OpenOrder>, StoreError> {
        let from = after.map_or_else(Vec::new, |after| next(&schema::order_key(after)));
        keys(Family::Orders, self.scan(Family::Orders, &from, count)?, schema::decode_order_key)
    }

    fn standing(&self, after: Option<&Due>, count: usize) -> Result<Vec<Due>, StoreError> {
        let from = after.map_or_else(Vec::new, |after| next(&schema::standing_key(after)));
        keys(Family::Standing, self.scan(Family::Standing, &from, count)?, schema::decode_standing_key)
    }

    fn lost(&self, exchange: &Pseudonym) -> Result<Option<LeafIndex>, StoreError> {
        let Some(bytes) = value(self, Family::Lost, &exchange.0)? else { return Ok(None) };
        let lost = schema::decode_lost(&exchange.0, &bytes);
        lost.map(|(_, leaf)| Some(leaf)).ok_or_else(|| damaged(Family::Lost, &exchange.0, "not an index"))
    }

    fn all_lost(&self) -> Result<Vec<(Pseudonym, LeafIndex)>, StoreError> {
        let read = |(key, stored): Pair| {
            let value = schema::unprotect(Family::Lost, &key, stored)?;
            schema::decode_lost(&key, &value).ok_or_else(|| damaged(Family::Lost, &key, "not an index"))
        };
        self.scan(Family::Lost, &[], usize::MAX)?.into_iter().map(read).collect()
    }

    fn put_chunk(&self, content: ContentId, chunk: u64, sealed: &[u8]) -> Result<(), StoreError> {
        let mark = Write::put(Family::Unnamed, schema::content_key(content), &[]);
        let chunk = Write::put(Family::Chunks, schema::chunk_key(content, chunk), sealed);
        self.write(vec![mark, chunk], Durability::Later)
    }

    fn put_content(&self, content: ContentId, head: &ContentHead) -> Result<(), StoreError> {
        let key = schema::content_key(content);
        let mark = Write::put(Family::Unnamed, key.clone(), &[]);
        let head = Write::put(Family::Contents, key, &schema::encode_content(head));
        self.write(vec![mark, head], Durability::Later)
    }

    fn content(&self, content: ContentId) -> Result<Option<ContentHead>, StoreError> {
        let key = schema::content_key(content);
        let Some(bytes) = value(self, Family::Contents, &key)? else { return Ok(None) };
        let head = schema::decode_content(&bytes);
        head.map(Some).ok_or_else(|| damaged(Family::Contents, &key, "not the head of a content"))
    }

    fn content_chunks(&self) -> Result<u64, StoreError> {
        let (mut chunks, mut from) = (0u64, Vec::new());
        loop {
            let page = self.scan(Family::Contents, &from, PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(chunks) };
            from = next(last);
            for (key, stored) in page {
                let value = schema::unprotect(Family::Contents, &key, stored);
                let head = value.ok().as_deref().and_then(schema::decode_content);
                chunks = chunks.saturating_add(head.map_or(0, |head| head.chunks));
            }
        }
    }

    fn chunk(&self, content: ContentId, chunk: u64) -> Result<Option<Vec<u8>>, StoreError> {
        value(self, Family::Chunks, &schema::chunk_key(content, chunk))
    }

    fn remove_content(&self, content: ContentId) -> Result<(), StoreError> {
        self.write(schema::removal(content).to_vec(), Durability::Later)
    }
}

const PAGE: usize = 1000;

/// A store that was opened without removing what no record names: a journal may still name it.
pub trait Unswept: Store {
    /// Removes every content that no record names.
    fn sweep(&self) -> Result<(), StoreError>;
    /// What wraps the keys of exchanges.
    fn vault(&self) -> &Arc<Vault>;
}

impl<R: Raw> Unswept for R {
    fn sweep(&self) -> Result<(), StoreError> {
        remove_garbage(self)
    }

    fn vault(&self) -> &Arc<Vault> {
        Raw::vault(self)
    }
}

/// Access below the contract, for tests that damage a store.
#[cfg(any(test, feature = "testing"))]
pub trait Tamper {
    /// Every entry of a family, as stored.
    fn entries(&self, family: Family) -> Vec<(Vec<u8>, Vec<u8>)>;
    /// Replaces or removes the stored bytes of an entry, durably.
    fn replace(&self, family: Family, key: &[u8], stored: Option<Vec<u8>>);
}

#[cfg(any(test, feature = "testing"))]
impl<R: Raw> Tamper for R {
    fn entries(&self, family: Family) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.scan(family, &[], usize::MAX).expect("invariant: a test's store can be read")
    }

    fn replace(&self, family: Family, key: &[u8], stored: Option<Vec<u8>>) {
        let key = key.to_vec();
        let write = match stored {
            Some(value) => Write::Put { family, key, value },
            None => Write::Remove { family, key },
        };
        self.write(vec![write], Durability::Now).expect("invariant: a test's store can be written");
    }
}

/// The least key above this one: it, followed by a zero byte.
fn next(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// What the keys of a family say, where the values are empty.
fn keys<T>(
    family: Family,
    found: Vec<Pair>,
    decode: impl Fn(&[u8]) -> Option<T>,
) -> Result<Vec<T>, StoreError> {
    let read = |(key, stored): Pair| {
        schema::unprotect(family, &key, stored)?;
        decode(&key).ok_or_else(|| damaged(family, &key, "its key is not one"))
    };
    found.into_iter().map(read).collect()
}
