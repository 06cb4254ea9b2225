//! How one item of the journal becomes bytes.
//!
//! ```text
//!  "ajrn" │ length, 4 bytes │ CRC-32C of length and body, 4 bytes │ body: one item as protobuf      (big endian)
//! ```
//!
//! Invariants: one encoding an item; a frame that is not exactly what was written is no item.

use std::collections::BTreeMap;

use arbiter_protocol::evidence::leaf::Pseudonym;
use arbiter_protocol::ids::{Digest, ExchangeId, LeafIndex};
use arbiter_protocol::ruling::notice::Erased;
use arbiter_protocol::ruling::sequencer::{ContentId, Record};
use crc::{CRC_32_ISCSI, Crc, Table};
use prost::Message as _;

use crate::keys::vault::Vault;
use crate::store::schema::{self, SealedRecord};
use crate::store::{Commit, ContentHead, StoredHead};

/// What every frame begins with.
pub(super) const MARK: [u8; 4] = *b"ajrn";
/// Mark, length and checksum.
pub(super) const FRAME_BYTES: usize = 12;
/// A longer item cannot be: a commit of 1024 records with every statement and escrow is below half of it.
pub(super) const ITEM_BYTES: usize = 1 << 30;

static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// What the journal holds.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// What a file begins with.
    Base(Base),
    /// One commit, without the nodes, which follow from the leaves.
    Commit(Box<Commit>),
    /// A sealed chunk of a content that no record names yet.
    Chunk(ContentId, u64, Vec<u8>),
    /// The head of such a content.
    Content(ContentId, ContentHead),
}

/// Where the commits of a file begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    /// Whose journal: the fingerprint of the arbiter.
    pub(super) arbiter: String,
    /// The number of the file.
    pub(super) number: u64,
    /// The head of the store that the first commit of the file follows.
    pub(super) head: Option<StoredHead>,
}

/// What has to be known of an item to find it again: a start reads hundreds of megabytes, and rarely needs a record.
#[derive(Clone, Debug)]
pub(super) enum Outline {
    /// What a file begins with.
    Base(Base),
    /// A commit: what it follows, and what comes of it.
    Commit(Option<StoredHead>, StoredHead),
    /// A chunk of a content.
    Chunk(ContentId, u64),
    /// The head of a content.
    Content(ContentId),
}

/// Why bytes are no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// They end in the middle of a frame.
    Cut,
    /// They are not what was written.
    Altered(&'static str),
}

pub(super) fn base(base: &Base) -> Vec<u8> {
    let base = StoredBase {
        version: schema::FORMAT,
        arbiter: base.arbiter.clone(),
        number: base.number,
        head: base.head.as_ref().map(schema::encode_head),
    };
    frame(&StoredItem { base: Some(base), ..StoredItem::default() })
}

/// Records are sealed in the journal as they are in the store (R-531).
pub(super) fn commit(commit: &Commit, vault: &Vault) -> Vec<u8> {
    let change = |(exchange, record): (&ExchangeId, &Record)| {
        let sealed = (!record.is_blank()).then(|| schema::seal_record(vault, exchange, record));
        let (key, record) = sealed.map(|it| (it.key, it.record)).unzip();
        StoredChange { exchange: exchange.to_vec(), key, record }
    };
    let erased = |it: &Erased| StoredErased {
        exchange: it.exchange.map(|exchange| exchange.to_vec()),
        pseudonym: it.pseudonym.0.to_vec(),
        leaf: it.leaf.0,
        contents: it.contents.iter().map(|content| content.0).collect(),
    };
    let commit = StoredCommit {
        expected: commit.expected.as_ref().map(schema::encode_head),
        head: schema::encode_head(&commit.head),
        records: commit.records.iter().map(change).collect(),
        decided: commit.decided.iter().map(schema::standing_key).collect(),
        leaves: commit.leaves.clone(),
        erased: commit.erased.iter().map(erased).collect(),
        policy: commit.policy.map(|policy| policy.to_vec()),
    };
    frame(&StoredItem { commit: Some(commit), ..StoredItem::default() })
}

pub(super) fn chunk(content: ContentId, chunk: u64, sealed: &[u8]) -> Vec<u8> {
    let chunk = StoredChunk { content: content.0, chunk, sealed: sealed.to_vec() };
    frame(&StoredItem { chunk: Some(chunk), ..StoredItem::default() })
}

pub(super) fn content(content: ContentId, head: &ContentHead) -> Vec<u8> {
    let content = StoredContent { content: content.0, head: schema::encode_content(head) };
    frame(&StoredItem { content: Some(content), ..StoredItem::default() })
}

fn frame(item: &StoredItem) -> Vec<u8> {
    let body = item.encode_to_vec();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&MARK[..], &length, &checksum(length, &body).to_be_bytes(), &body].concat()
}

fn checksum(length: [u8; 4], body: &[u8]) -> u32 {
    let mut digest = CRC32C.digest();
    digest.update(&length);
    digest.update(body);
    digest.finalize()
}

/// The body of the frame that `bytes` begin with.
pub(super) fn body(bytes: &[u8]) -> Result<&[u8], Broken> {
    let Some((mark, rest)) = bytes.split_first_chunk::<4>() else { return Err(Broken::Cut) };
    if *mark != MARK {
        return Err(Broken::Altered("is not the begin of an item"));
    }
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(Broken::Cut)?;
    let (check, rest) = rest.split_first_chunk::<4>().ok_or(Broken::Cut)?;
    let bytes = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if bytes > ITEM_BYTES {
        return Err(Broken::Altered("begins an item that is longer than any"));
    }
    let body = rest.get(..bytes).ok_or(Broken::Cut)?;
    if checksum(*length, body) == u32::from_be_bytes(*check) {
        Ok(body)
    } else {
        Err(Broken::Altered("begins an item whose checksum does not fit"))
    }
}

/// Reads what this module writes, and nothing else.
pub(super) fn item(body: &[u8], vault: &Vault) -> Result<Item, &'static str> {
    let malformed = "begins an item that this program did not write";
    let stored = StoredItem::decode(body).map_err(|_| malformed)?;
    if stored.encode_to_vec() != body {
        return Err(malformed);
    }
    match stored {
        StoredItem { base: Some(base), commit: None, chunk: None, content: None } => load_base(base),
        StoredItem { base: None, commit: Some(commit), chunk: None, content: None } => {
            load_commit(&commit, vault)
        }
        StoredItem { base: None, commit: None, chunk: Some(it), content: None } => {
            Some(Item::Chunk(ContentId(it.content), it.chunk, it.sealed))
        }
        StoredItem { base: None, commit: None, chunk: None, content: Some(it) } => {
            schema::decode_content(&it.head).map(|head| Item::Content(ContentId(it.content), head))
        }
        _ => None,
    }
    .ok_or(malformed)
}

/// Reads what [`item`] reads, without what is in records. The checksum says that it is as it was written.
pub(super) fn outline(body: &[u8]) -> Result<Outline, &'static str> {
    let malformed = "begins an item that this program did not write";
    let stored = StoredItem::decode(body).map_err(|_| malformed)?;
    match stored {
        StoredItem { base: Some(base), .. } => match load_base(base) {
            Some(Item::Base(base)) => Some(Outline::Base(base)),
            _ => None,
        },
        StoredItem { commit: Some(commit), .. } => heads(&commit).map(|(from, to)| Outline::Commit(from, to)),
        StoredItem { chunk: Some(it), .. } => Some(Outline::Chunk(ContentId(it.content), it.chunk)),
        StoredItem { content: Some(it), .. } => Some(Outline::Content(ContentId(it.content))),
        StoredItem { base: None, commit: None, chunk: None, content: None } => None,
    }
    .ok_or(malformed)
}

fn heads(stored: &StoredCommit) -> Option<(Option<StoredHead>, StoredHead)> {
    let expected = match &stored.expected {
        None => None,
        Some(bytes) => Some(schema::decode_head(bytes)?),
    };
    Some((expected, schema::decode_head(&stored.head)?))
}

fn load_base(stored: StoredBase) -> Option<Item> {
    let head = match stored.head {
        None => None,
        Some(bytes) => Some(schema::decode_head(&bytes)?),
    };
    let known = stored.version == schema::FORMAT;
    known.then_some(Item::Base(Base { arbiter: stored.arbiter, number: stored.number, head }))
}

fn load_commit(stored: &StoredCommit, vault: &Vault) -> Option<Item> {
    let (expected, head) = heads(stored)?;
    let mut records = BTreeMap::new();
    for change in &stored.records {
        let exchange = ExchangeId::parse(&change.exchange, "exchange_id").ok()?;
        let record = match (change.key.clone(), change.record.clone()) {
            (None, None) => Record::default(),
            (Some(key), Some(record)) => {
                schema::open_record(vault, &exchange, &SealedRecord { key, record }).ok()?
            }
            _ => return None,
        };
        records.insert(exchange, record);
    }
    let decided = stored.decided.iter().map(|key| schema::decode_standing_key(key));
    let erased = |it: &StoredErased| {
        Some(Erased {
            exchange: it.exchange.as_ref().map(|id| ExchangeId::parse(id, "exchange_id")).transpose().ok()?,
            pseudonym: Pseudonym(it.pseudonym.as_slice().try_into().ok()?),
            leaf: LeafIndex(it.leaf),
            contents: it.contents.iter().map(|content| ContentId(*content)).collect(),
        })
    };
    let policy = stored.policy.as_ref().map(|bytes| Digest::parse(bytes, "policy")).transpose().ok()?;
    Some(Item::Commit(Box::new(Commit {
        expected,
        head,
        records,
        decided: decided.collect::<Option<_>>()?,
        erased: stored.erased.iter().map(erased).collect::<Option<_>>()?,
        policy,
        leaves: stored.leaves.clone(),
        nodes: Vec::new(),
        lost: Vec::new(),
    })))
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredItem {
    #[prost(message, optional, tag = "1")]
    base: Option<StoredBase>,
    #[prost(message, optional, tag = "2")]
    commit: Option<StoredCommit>,
    #[prost(message, optional, tag = "3")]
    chunk: Option<StoredChunk>,
    #[prost(message, optional, tag = "4")]
    content: Option<StoredContent>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredBase {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(string, tag = "2")]
    arbiter: String,
    #[prost(uint64, tag = "3")]
    number: u64,
    #[prost(bytes = "vec", optional, tag = "4")]
    head: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredCommit {
    #[prost(bytes = "vec", optional, tag = "1")]
    expected: Option<Vec<u8>>,
    #[prost(bytes = "vec", tag = "2")]
    head: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<StoredChange>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    decided: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "5")]
    leaves: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "6")]
    erased: Vec<StoredErased>,
    #[prost(bytes = "vec", optional, tag = "7")]
    policy: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredErased {
    #[prost(bytes = "vec", optional, tag = "1")]
    exchange: Option<Vec<u8>>,
    #[prost(bytes = "vec", tag = "2")]
    pseudonym: Vec<u8>,
    #[prost(uint64, tag = "3")]
    leaf: u64,
    #[prost(uint64, repeated, tag = "4")]
    contents: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredChange {
    #[prost(bytes = "vec", tag = "1")]
    exchange: Vec<u8>,
    /// Absent, and the key too: the record was let go.
    #[prost(bytes = "vec", optional, tag = "2")]
    record: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    key: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredChunk {
    #[prost(uint64, tag = "1")]
    content: u64,
    #[prost(uint64, tag = "2")]
    chunk: u64,
    #[prost(bytes = "vec", tag = "3")]
    sealed: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredContent {
    #[prost(uint64, tag = "1")]
    content: u64,
    #[prost(bytes = "vec", tag = "2")]
    head: Vec<u8>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail")]
mod tests {
    use super::*;

    fn vault() -> Vault {
        Vault::new(&zeroize::Zeroizing::new([1; 32]))
    }

    /// R-520: whatever byte is changed, the frame is no item any more; whatever is cut off is noticed.
    #[test]
    fn a_frame_is_read_only_as_it_was_written() {
        let written = chunk(ContentId(7), 3, b"sealed bytes");
        let read = item(body(&written).unwrap(), &vault()).unwrap();
        assert!(matches!(read, Item::Chunk(ContentId(7), 3, bytes) if bytes == b"sealed bytes"));
        for position in 0..written.len() {
            for flip in [1, 0x40, 0x80] {
                let mut altered = written.clone();
                *altered.get_mut(position).unwrap() ^= flip;
                assert!(body(&altered).is_err(), "byte {position}");
            }
            assert_eq!(body(written.get(..position).unwrap()), Err(Broken::Cut), "cut at {position}");
        }
        // The checksum of RFC 3720.
        assert_eq!(CRC32C.checksum(b"123456789"), 0xe306_9283);
        assert!(item(&[0x0a, 0x00, 0x12, 0x00], &vault()).is_err(), "two items in one");
        assert!(item(&[], &vault()).is_err());
    }
}
