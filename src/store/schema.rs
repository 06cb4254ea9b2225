//! How state becomes bytes: families, keys, values, and the format version.
//!
//! | family | key (big endian) | value | trusted for |
//! | --- | --- | --- | --- |
//! | `meta` | `format` | version, 4 bytes, never protected so that every version can read it | refusing to guess |
//! | `meta` | `identity` | fingerprint of the arbiter, hexadecimal text | refusing another arbiter's folder |
//! | `meta` | `head` | commits, size, root, time | availability: the root is rebuilt at start |
//! | `meta` | `vault` | fingerprint of what wraps the keys | refusing another key file |
//! | `meta` | `policy` | SHA-256 of the policy declared last; absent before the first | knowing a change: `fsck` compares |
//! | `meta` | `published` | the newest published checkpoint, a note with cosignatures | going on from it: compared with the tree at start |
//! | `records` | exchange id | nonce and [`Record`] as protobuf, sealed under the exchange's key | availability: `fsck` decides it again |
//! | `keys` | exchange id | nonce and the exchange's key, wrapped (`crate::keys::vault`) | confidentiality: gone, the record and its salts are |
//! | `erased` | pseudonym | index of the erasure leaf, 8 bytes | refusing a second verdict: `fsck` compares |
//! | `leaves` | index | the leaf exactly as hashed | availability: the root commits to it |
//! | `nodes` | level, index | 32-byte hash | availability: the root commits to it |
//! | `contents` | content id | encapsulated key, number of chunks | availability: sealed to the recipient |
//! | `chunks` | content id, chunk | sealed bytes | availability: sealed to the recipient |
//! | `orders` | ledger, exchange id, role | empty; there while a ledger has not answered the arbiter's order | finding what is open: `fsck` compares |
//! | `standing` | time, exchange id, role | empty; there while a request waits for that time | finding what is due: `fsck` compares |
//! | `lost` | pseudonym | index of the leaf that tells of it; there while leaves came back without their record | refusing a second verdict |
//! | `unnamed` | content id | empty; there while no record names the content | removing garbage |
//! | `by_event` | name of the event, 0, index | empty; one for each leaf | finding leaves: `fsck` compares |
//! | `by_exchange` | pseudonym, index | empty; one for each leaf | finding leaves: `fsck` compares |
//!
//! Every value but `format` starts with 8 check bytes of SHA-256 over family, key and value, so that a value
//! that was altered or moved is noticed when it is read, before anything is signed. They stop accidents;
//! against an attacker with write access stand the signed tree and `fsck`.
//!
//! A record and its key are written, and removed, in one commit.
//!
//! Invariants: one encoding a value (decode-then-encode gives the same bytes); a damaged value is an error
//! that names the entry, never a default.

use arbiter_protocol::evidence::leaf::{Event, Leaf, Pseudonym};
use arbiter_protocol::evidence::merkle::NodeId;
use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::ids::{Digest, ExchangeId, LeafIndex, PublicKey};
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::message::payment::PaymentOrder;
use arbiter_protocol::message::wire;
use arbiter_protocol::ruling::notice::Erased;
use arbiter_protocol::ruling::sequencer::{ContentId, LedgerAnswer, Logged, Record, Standing, genesis_token};
use arbiter_protocol::statement::{Envelope, Payload, Signed};
use arbiter_protocol::time::UnixMillis;
use prost::Message as _;
use zeroize::Zeroizing;

use super::{Commit, ContentHead, Due, OpenOrder, StoreError, StoredHead};
use crate::keys::vault::{self, Place, Vault};

/// The version of everything in this module. 1 had no escrows, 2 no payments, 3 kept records in the clear, had no indices of the
/// log and no lost rulings.
pub const FORMAT: u32 = 4;

/// A column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Leaves by what happened.
    ByEvent,
    /// Leaves by the pseudonym of their exchange.
    ByExchange,
    /// Sealed bytes.
    Chunks,
    /// What opens sealed bytes.
    Contents,
    /// Exchanges that were erased.
    Erased,
    /// Keys of exchanges, wrapped.
    Keys,
    /// Leaves as hashed.
    Leaves,
    /// Exchanges whose leaves came back, but not their records.
    Lost,
    /// Version, identity, head.
    Meta,
    /// Complete tree nodes.
    Nodes,
    /// Orders to ledgers that are open.
    Orders,
    /// Records of exchanges.
    Records,
    /// Requests that wait for their time.
    Standing,
    /// Contents that no record names.
    Unnamed,
}

impl Family {
    /// Every family of this version.
    pub const ALL: [Self; 14] = [
        Self::ByEvent,
        Self::ByExchange,
        Self::Chunks,
        Self::Contents,
        Self::Erased,
        Self::Keys,
        Self::Leaves,
        Self::Lost,
        Self::Meta,
        Self::Nodes,
        Self::Orders,
        Self::Records,
        Self::Standing,
        Self::Unnamed,
    ];

    /// The name on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ByEvent => "by_event",
            Self::ByExchange => "by_exchange",
            Self::Chunks => "chunks",
            Self::Contents => "contents",
            Self::Erased => "erased",
            Self::Keys => "keys",
            Self::Leaves => "leaves",
            Self::Lost => "lost",
            Self::Meta => "meta",
            Self::Nodes => "nodes",
            Self::Orders => "orders",
            Self::Records => "records",
            Self::Standing => "standing",
            Self::Unnamed => "unnamed",
        }
    }
}

/// The key of the format version.
pub const FORMAT_KEY: &[u8] = b"format";
/// The key of the arbiter's fingerprint.
pub const IDENTITY_KEY: &[u8] = b"identity";
/// The key of the fingerprint of the vault.
pub const VAULT_KEY: &[u8] = b"vault";
/// The key of the policy declared last.
pub const POLICY_KEY: &[u8] = b"policy";
/// The key of the head.
pub const HEAD_KEY: &[u8] = b"head";
/// The key of the newest published checkpoint.
pub const PUBLISHED_KEY: &[u8] = b"published";

/// By what leaves can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// What happened.
    Event(Event),
    /// Which exchange.
    Exchange(Pseudonym),
}

impl By {
    /// Where the index is.
    pub const fn family(self) -> Family {
        match self {
            Self::Event(_) => Family::ByEvent,
            Self::Exchange(_) => Family::ByExchange,
        }
    }

    /// Key of the leaf at `index`.
    pub fn key(self, index: u64) -> Vec<u8> {
        let index = index.to_be_bytes();
        match self {
            // No name holds a zero byte, so none is the start of another.
            Self::Event(event) => [event.name().as_bytes(), &[0], &index].concat(),
            Self::Exchange(pseudonym) => [&pseudonym.0[..], &index].concat(),
        }
    }

    /// The leaf that a key is of; `None` if it is another's.
    pub fn index(self, key: &[u8]) -> Option<u64> {
        let index = u64::from_be_bytes(*key.last_chunk()?);
        (self.key(index) == key).then_some(index)
    }

    /// What finds this leaf.
    pub const fn both(leaf: &Leaf) -> [Self; 2] {
        [Self::Event(leaf.event), Self::Exchange(leaf.exchange)]
    }
}

/// What a data folder calls its owner: everything that an agreement names about an arbiter, hashed.
pub fn fingerprint(arbiter: &ArbiterIdentity) -> String {
    genesis_token(arbiter).to_string()
}

/// Key of a leaf.
pub fn leaf_key(index: u64) -> Vec<u8> {
    index.to_be_bytes().to_vec()
}

/// Key of a node.
pub fn node_key(node: NodeId) -> Vec<u8> {
    [&[node.level][..], &node.index.to_be_bytes()].concat()
}

/// Key of a content, and the start of the keys of its chunks.
pub fn content_key(content: ContentId) -> Vec<u8> {
    content.0.to_be_bytes().to_vec()
}

/// Key of a chunk.
pub fn chunk_key(content: ContentId, chunk: u64) -> Vec<u8> {
    [content.0.to_be_bytes(), chunk.to_be_bytes()].concat()
}

/// Key of an open order.
pub fn order_key(order: &OpenOrder) -> Vec<u8> {
    let mut key = party_key(order.ledger.as_bytes(), &order.exchange, order.role);
    // A lone payment's key is as before there were packages of payments.
    key.extend((order.leaf > 0).then_some(order.leaf));
    key
}

/// Key of a standing request.
pub fn standing_key(due: &Due) -> Vec<u8> {
    party_key(&due.at.0.to_be_bytes(), &due.exchange, due.role)
}

/// Bytes of a key of a ledger, an exchange and a role.
const PARTY_KEY: usize = 32 + 32 + 1;

/// A key that ends in a party of an exchange.
fn party_key(start: &[u8], exchange: &ExchangeId, role: Role) -> Vec<u8> {
    [start, exchange.as_bytes(), &[u8::from(role == Role::Responder)]].concat()
}

/// Reads what [`party_key`] writes; the start is of `N` bytes.
fn decode_party_key<const N: usize>(key: &[u8]) -> Option<([u8; N], ExchangeId, Role)> {
    let (start, rest) = key.split_first_chunk()?;
    let (exchange, role) = rest.split_first_chunk()?;
    let role = match role {
        [0] => Role::Originator,
        [1] => Role::Responder,
        _ => return None,
    };
    Some((*start, ExchangeId::from_bytes(*exchange), role))
}

/// Reads what [`standing_key`] writes.
pub fn decode_standing_key(key: &[u8]) -> Option<Due> {
    let (at, exchange, role) = decode_party_key(key)?;
    Some(Due { at: UnixMillis(u64::from_be_bytes(at)), exchange, role })
}

/// Reads what [`order_key`] writes.
pub fn decode_order_key(key: &[u8]) -> Option<OpenOrder> {
    let (key, leaf) = match key.split_at_checked(PARTY_KEY)? {
        (key, []) => (key, 0),
        (key, [leaf]) if *leaf > 0 => (key, *leaf),
        _ => return None,
    };
    let (ledger, exchange, role) = decode_party_key(key)?;
    Some(OpenOrder { ledger: PublicKey::from_bytes(ledger), exchange, role, leaf })
}

/// Puts the check bytes before a value.
pub fn protect(family: Family, key: &[u8], value: &[u8]) -> Vec<u8> {
    [&check(family, key, value)[..], value].concat()
}

/// Takes the check bytes off a value, if they are right.
pub fn unprotect(family: Family, key: &[u8], stored: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    let mut value = stored;
    let Some(value_start) = value.get(CHECK_BYTES..) else {
        return Err(damaged(family, key, "too short"));
    };
    if value.get(..CHECK_BYTES) != Some(&check(family, key, value_start)[..]) {
        return Err(damaged(family, key, "altered: its check bytes do not fit"));
    }
    value.drain(..CHECK_BYTES);
    Ok(value)
}

/// The error for an entry whose bytes cannot be what was written.
pub fn damaged(family: Family, key: &[u8], how: &str) -> StoreError {
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes).unwrap_or_default();
    let entry = match family {
        Family::Leaves | Family::Contents | Family::Unnamed => number(key).to_string(),
        Family::Chunks => {
            let (content, chunk) = key.split_at_checked(8).unwrap_or_default();
            format!("{} of content {}", number(chunk), number(content))
        }
        Family::Meta => String::from_utf8_lossy(key).into_owned(),
        Family::Nodes => {
            let (level, index) = key.split_at_checked(1).unwrap_or_default();
            format!("{} of level {}", number(index), level.first().copied().unwrap_or_default())
        }
        Family::ByEvent
        | Family::ByExchange
        | Family::Erased
        | Family::Keys
        | Family::Lost
        | Family::Orders
        | Family::Records
        | Family::Standing => hex::encode(key),
    };
    StoreError::Damaged { what: family.one(), detail: format!("{entry}: {how}") }
}

impl Family {
    /// What one entry is called in errors.
    const fn one(self) -> &'static str {
        match self {
            Self::ByEvent => "index entry of an event",
            Self::ByExchange => "index entry of an exchange",
            Self::Chunks => "chunk",
            Self::Contents => "content",
            Self::Erased => "erasure",
            Self::Keys => "key of an exchange",
            Self::Leaves => "leaf",
            Self::Lost => "mark of a lost ruling",
            Self::Meta => "entry",
            Self::Nodes => "node",
            Self::Orders => "open order",
            Self::Records => "record",
            Self::Standing => "standing request",
            Self::Unnamed => "mark of unnamed content",
        }
    }
}

/// One change.
#[derive(Clone, Debug)]
pub enum Write {
    /// Sets an entry.
    Put {
        /// Where.
        family: Family,
        /// Which entry.
        key: Vec<u8>,
        /// The protected value.
        value: Vec<u8>,
    },
    /// Removes an entry, if it is there.
    Remove {
        /// Where.
        family: Family,
        /// Which entry.
        key: Vec<u8>,
    },
    /// Removes every entry whose key starts like this.
    RemoveAll {
        /// Where.
        family: Family,
        /// How the keys start.
        start: Vec<u8>,
    },
}

impl Write {
    /// Sets an entry.
    pub fn put(family: Family, key: Vec<u8>, value: &[u8]) -> Self {
        let value = protect(family, &key, value);
        Self::Put { family, key, value }
    }
}

/// Everything that a commit writes, at once. The tree comes first and the head last: if a file system breaks its word and
/// only the beginning is there, the tree is longer than the head says, and the next start refuses.
pub fn writes(commit: &Commit, vault: &Vault) -> Vec<Write> {
    let count = u64::try_from(commit.leaves.len()).expect("invariant: a batch has few leaves");
    let first = commit.head.size.checked_sub(count).expect("invariant: new leaves end at the new size");
    let mut writes = Vec::new();
    for (node, hash) in &commit.nodes {
        writes.push(Write::put(Family::Nodes, node_key(*node), hash.as_bytes()));
    }
    for (index, leaf) in (first..).zip(&commit.leaves) {
        writes.push(Write::put(Family::Leaves, leaf_key(index), leaf));
        writes.extend(indexed(index, leaf));
    }
    for (exchange, record) in &commit.records {
        writes.extend(match record.is_blank() {
            // A request stood, and was let go.
            true => forgotten(exchange),
            false => kept(vault, exchange, record),
        });
        writes.extend(named(record));
        writes.extend(orders(exchange, record));
        writes.extend(standing(exchange, record));
    }
    for (exchange, leaf) in &commit.lost {
        writes.push(Write::put(Family::Lost, exchange.0.to_vec(), &leaf.0.to_be_bytes()));
    }
    for due in &commit.decided {
        writes.push(Write::Remove { family: Family::Standing, key: standing_key(due) });
    }
    for erased in &commit.erased {
        writes.extend(erasure(erased));
    }
    if let Some(policy) = &commit.policy {
        writes.push(Write::put(Family::Meta, POLICY_KEY.to_vec(), policy.as_bytes()));
    }
    writes.push(Write::put(Family::Meta, HEAD_KEY.to_vec(), &encode_head(&commit.head)));
    writes
}

/// A record as it is kept, here and in every journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRecord {
    /// The key of the exchange, wrapped: the value in family `keys`.
    pub key: Vec<u8>,
    /// The record, sealed under it: the value in family `records`.
    pub record: Vec<u8>,
}

/// Seals a record that is not blank.
pub fn seal_record(vault: &Vault, exchange: &ExchangeId, record: &Record) -> SealedRecord {
    let key = record.key.as_ref().expect("invariant R-530: a record that is kept has its key");
    let plain = Zeroizing::new(encode_record(record));
    let sealed = vault::seal_record(key, place(Family::Records, exchange), &plain);
    SealedRecord { key: vault.wrap(place(Family::Keys, exchange), key), record: sealed }
}

fn kept(vault: &Vault, exchange: &ExchangeId, record: &Record) -> [Write; 2] {
    let SealedRecord { key, record } = seal_record(vault, exchange, record);
    [
        Write::put(Family::Keys, exchange.to_vec(), &key),
        Write::put(Family::Records, exchange.to_vec(), &record),
    ]
}

/// Opens what [`seal_record`] sealed.
pub fn open_record(
    vault: &Vault,
    exchange: &ExchangeId,
    sealed: &SealedRecord,
) -> Result<Record, StoreError> {
    let closed = |family| damaged(family, exchange.as_bytes(), "does not open with this key file");
    let key = vault.unwrap(place(Family::Keys, exchange), &sealed.key).ok_or_else(|| closed(Family::Keys))?;
    let plain = vault::open_record(&key, place(Family::Records, exchange), &sealed.record);
    let record = decode_record(exchange, &plain.ok_or_else(|| closed(Family::Records))?)?;
    Ok(Record { key: Some(key), ..record })
}

const fn place(family: Family, exchange: &ExchangeId) -> Place<'_> {
    Place { family: family.name(), key: exchange.as_bytes() }
}

fn forgotten(exchange: &ExchangeId) -> [Write; 2] {
    [Family::Keys, Family::Records].map(|family| Write::Remove { family, key: exchange.to_vec() })
}

/// key, record and contents go; what is left says that there was something, and when it went.
fn erasure(erased: &Erased) -> impl Iterator<Item = Write> {
    let mark = Write::put(Family::Erased, erased.pseudonym.0.to_vec(), &erased.leaf.0.to_be_bytes());
    let contents = erased.contents.iter().flat_map(|content| removal(*content));
    erased.exchange.iter().flat_map(forgotten).chain(contents).chain([mark])
}

/// Reads an entry of [`Family::Erased`].
pub fn decode_erased(key: &[u8], value: &[u8]) -> Option<(Pseudonym, LeafIndex)> {
    let leaf = u64::from_be_bytes(value.try_into().ok()?);
    Some((Pseudonym(key.try_into().ok()?), LeafIndex(leaf)))
}

/// Removes a content with its chunks.
pub fn removal(content: ContentId) -> [Write; 3] {
    let key = content_key(content);
    [
        Write::RemoveAll { family: Family::Chunks, start: key.clone() },
        Write::Remove { family: Family::Contents, key: key.clone() },
        Write::Remove { family: Family::Unnamed, key },
    ]
}

/// By what the leaf at `index` is found.
fn indexed(index: u64, leaf: &[u8]) -> impl Iterator<Item = Write> {
    let leaf = Leaf::decode(leaf).ok();
    leaf.into_iter()
        .flat_map(|leaf| By::both(&leaf))
        .map(move |by| Write::put(by.family(), by.key(index), &[]))
}

/// A content that a record names is no garbage any more.
fn named(record: &Record) -> impl Iterator<Item = Write> {
    let held = record.held.iter().filter_map(|(_, content)| *content);
    held.map(|content| Write::Remove { family: Family::Unnamed, key: content_key(content) })
}

/// What is open follows from the record: orders that the verdict gives, less those that a ledger has answered.
fn orders(exchange: &ExchangeId, record: &Record) -> impl Iterator<Item = Write> {
    open_orders(exchange, record, false).into_iter().map(|(key, open)| match open {
        true => Write::put(Family::Orders, order_key(&key), &[]),
        false => Write::Remove { family: Family::Orders, key: order_key(&key) },
    })
}

/// The orders of a record, and whether each is open; with `only_open` no others.
pub fn open_orders(exchange: &ExchangeId, record: &Record, only_open: bool) -> Vec<(OpenOrder, bool)> {
    let mut seen = ByRole { originator: 0u8, responder: 0u8 };
    let place = |(role, order): (Role, PaymentOrder)| {
        let next = seen.of_mut(role);
        let leaf = *next;
        *next = next.saturating_add(1);
        let open = !record.answers.of(role).iter().any(|it| it.is_about(&order.terms));
        (OpenOrder { ledger: order.terms.payment.ledger, exchange: *exchange, role, leaf }, open)
    };
    record.orders().into_iter().map(place).filter(|(_, open)| *open || !only_open).collect()
}

/// What waits for its time.
fn standing(exchange: &ExchangeId, record: &Record) -> impl Iterator<Item = Write> {
    due(exchange, record).into_iter().map(|due| Write::put(Family::Standing, standing_key(&due), &[]))
}

/// When the requests that stand in a record are due.
pub fn due(exchange: &ExchangeId, record: &Record) -> Vec<Due> {
    let due = |(role, standing): (Role, &Option<Standing>)| {
        standing.as_ref().map(|it| Due { at: it.at, exchange: *exchange, role })
    };
    record.standing.iter().filter_map(due).collect()
}

/// The value of the head: commits, size, root, time.
pub fn encode_head(head: &StoredHead) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&head.commits.to_be_bytes());
    bytes.extend_from_slice(&head.size.to_be_bytes());
    bytes.extend_from_slice(head.root.as_bytes());
    bytes.extend_from_slice(&head.time.0.to_be_bytes());
    bytes
}

/// Reads what [`encode_head`] writes.
pub fn decode_head(bytes: &[u8]) -> Option<StoredHead> {
    let (commits, rest) = bytes.split_first_chunk()?;
    let (size, rest) = rest.split_first_chunk()?;
    let (root, time) = rest.split_first_chunk()?;
    Some(StoredHead {
        commits: u64::from_be_bytes(*commits),
        size: u64::from_be_bytes(*size),
        root: Digest::from_bytes(*root),
        time: UnixMillis(u64::from_be_bytes(time.try_into().ok()?)),
    })
}

/// Reads an entry of the family `lost`.
pub fn decode_lost(key: &[u8], value: &[u8]) -> Option<(Pseudonym, LeafIndex)> {
    let leaf = LeafIndex(u64::from_be_bytes(value.try_into().ok()?));
    Some((Pseudonym(key.try_into().ok()?), leaf))
}

/// The value of a content.
pub fn encode_content(head: &ContentHead) -> Vec<u8> {
    [&head.encapsulated[..], &head.chunks.to_be_bytes()].concat()
}

/// Reads what [`encode_content`] writes.
pub fn decode_content(bytes: &[u8]) -> Option<ContentHead> {
    let (encapsulated, chunks) = bytes.split_first_chunk()?;
    Some(ContentHead { encapsulated: *encapsulated, chunks: u64::from_be_bytes(chunks.try_into().ok()?) })
}

/// A record before it is sealed; its key is not in it.
pub fn encode_record(record: &Record) -> Vec<u8> {
    StoredRecord {
        version: FORMAT,
        verdict: record.verdict.as_ref().map(store_logged),
        originator_attestation: record.attestations.originator.as_ref().map(store_logged),
        responder_attestation: record.attestations.responder.as_ref().map(store_logged),
        originator_answers: record.answers.originator.iter().map(store_answer).collect(),
        responder_answers: record.answers.responder.iter().map(store_answer).collect(),
        originator_held: record.held.originator.map(|content| content.0),
        responder_held: record.held.responder.map(|content| content.0),
        originator_standing: record.standing.originator.as_ref().map(store_standing),
        responder_standing: record.standing.responder.as_ref().map(store_standing),
        leaves: record.leaves,
        last_leaf: record.last_leaf.map(|index| index.0),
    }
    .encode_to_vec()
}

/// Reads what [`encode_record`] writes, and nothing else.
pub fn decode_record(exchange: &ExchangeId, bytes: &[u8]) -> Result<Record, StoreError> {
    let damaged = |how: &str| damaged(Family::Records, exchange.as_bytes(), how);
    let stored = StoredRecord::decode(bytes).map_err(|_| damaged("not a record"))?;
    if stored.version != FORMAT || stored.encode_to_vec() != bytes {
        return Err(damaged("of another version or not in canonical form"));
    }
    let verdict = stored.verdict.map(load_logged).transpose().map_err(damaged)?;
    let attestation = |it: Option<StoredStatement>| it.map(load_logged).transpose().map_err(damaged);
    let answers =
        |it: Vec<StoredAnswer>| it.into_iter().map(load_answer).collect::<Result<_, _>>().map_err(damaged);
    Ok(Record {
        key: None,
        verdict,
        attestations: ByRole {
            originator: attestation(stored.originator_attestation)?,
            responder: attestation(stored.responder_attestation)?,
        },
        answers: ByRole {
            originator: answers(stored.originator_answers)?,
            responder: answers(stored.responder_answers)?,
        },
        standing: ByRole {
            originator: stored.originator_standing.map(load_standing).transpose().map_err(damaged)?,
            responder: stored.responder_standing.map(load_standing).transpose().map_err(damaged)?,
        },
        held: ByRole {
            originator: stored.originator_held.map(ContentId),
            responder: stored.responder_held.map(ContentId),
        },
        leaves: stored.leaves,
        last_leaf: stored.last_leaf.map(LeafIndex),
    })
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredRecord {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(message, optional, tag = "2")]
    verdict: Option<StoredStatement>,
    #[prost(message, optional, tag = "3")]
    originator_attestation: Option<StoredStatement>,
    #[prost(message, optional, tag = "8")]
    responder_attestation: Option<StoredStatement>,
    /// What ledgers said, by whose payment it is: of a lone payment the same bytes as a field that is there once.
    #[prost(message, repeated, tag = "9")]
    originator_answers: Vec<StoredAnswer>,
    #[prost(message, repeated, tag = "10")]
    responder_answers: Vec<StoredAnswer>,
    /// Contents held for the peer, by the role whose item it is.
    #[prost(uint64, optional, tag = "4")]
    originator_held: Option<u64>,
    #[prost(uint64, optional, tag = "7")]
    responder_held: Option<u64>,
    #[prost(message, optional, tag = "11")]
    originator_standing: Option<StoredStanding>,
    #[prost(message, optional, tag = "12")]
    responder_standing: Option<StoredStanding>,
    #[prost(uint32, tag = "5")]
    leaves: u32,
    #[prost(uint64, optional, tag = "6")]
    last_leaf: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredAnswer {
    /// The envelope of the ledger's receipt.
    #[prost(bytes = "vec", tag = "1")]
    receipt: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    leaf: Vec<u8>,
}

fn store_answer(answer: &LedgerAnswer) -> StoredAnswer {
    StoredAnswer { receipt: answer.receipt.encode(), leaf: answer.leaf.clone() }
}

fn load_answer(stored: StoredAnswer) -> Result<LedgerAnswer, &'static str> {
    let receipt = Envelope::decode(&stored.receipt).map_err(|_| "a ledger's receipt does not decode")?;
    Ok(LedgerAnswer { receipt, leaf: stored.leaf })
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredStanding {
    #[prost(uint64, tag = "1")]
    at: u64,
    #[prost(bytes = "vec", tag = "2")]
    request: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    offer: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "4")]
    acceptance: Option<Vec<u8>>,
}

fn store_standing(standing: &Standing) -> StoredStanding {
    StoredStanding {
        at: standing.at.0,
        request: standing.request.encode(),
        offer: standing.offer.encode(),
        acceptance: standing.acceptance.as_ref().map(Envelope::encode),
    }
}

fn load_standing(stored: StoredStanding) -> Result<Standing, &'static str> {
    let envelope = |bytes: &[u8]| Envelope::decode(bytes).map_err(|_| "a standing request does not decode");
    Ok(Standing {
        at: UnixMillis(stored.at),
        request: envelope(&stored.request)?,
        offer: envelope(&stored.offer)?,
        acceptance: stored.acceptance.as_deref().map(envelope).transpose()?,
    })
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredStatement {
    /// The payload of the statement; the signature is made again when needed.
    #[prost(bytes = "vec", tag = "1")]
    payload: Vec<u8>,
    /// Envelopes of the parties, with their signatures.
    #[prost(bytes = "vec", tag = "2")]
    offer: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    request: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "4")]
    acceptance: Option<Vec<u8>>,
    #[prost(bytes = "vec", tag = "5")]
    leaf: Vec<u8>,
    #[prost(uint64, tag = "6")]
    tree_size: u64,
    #[prost(bytes = "vec", tag = "7")]
    root: Vec<u8>,
    /// The pledges that were used, as they were filed: escrows, and in their place receipts of reservations.
    #[prost(bytes = "vec", optional, tag = "8")]
    originator_escrow: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "9")]
    responder_escrow: Option<Vec<u8>>,
}

fn store_logged<T: Payload>(logged: &Logged<T>) -> StoredStatement {
    StoredStatement {
        payload: logged.statement.to_wire().encode_to_vec(),
        offer: logged.offer.encode(),
        request: logged.request.encode(),
        acceptance: logged.acceptance.as_ref().map(Envelope::encode),
        leaf: logged.leaf.clone(),
        tree_size: logged.tree_size,
        root: logged.root.to_vec(),
        originator_escrow: logged.escrows.originator.as_ref().map(Pledge::to_bytes),
        responder_escrow: logged.escrows.responder.as_ref().map(Pledge::to_bytes),
    }
}

fn load_logged<T: Payload + Clone>(stored: StoredStatement) -> Result<Logged<T>, &'static str> {
    let envelope = |bytes: &[u8]| Envelope::decode(bytes).map_err(|_| "a party's statement does not decode");
    let pledge = |bytes: &[u8]| Pledge::from_bytes(bytes).map_err(|_| "a pledge does not decode");
    let unsigned = unsigned::<T>(stored.payload).ok_or("its statement is too large")?;
    let statement = Signed::<T>::parse(unsigned).map_err(|_| "its statement does not decode")?;
    Ok(Logged {
        statement: statement.unverified().clone(),
        offer: envelope(&stored.offer)?,
        request: envelope(&stored.request)?,
        acceptance: stored.acceptance.as_deref().map(envelope).transpose()?,
        escrows: ByRole {
            originator: stored.originator_escrow.as_deref().map(pledge).transpose()?,
            responder: stored.responder_escrow.as_deref().map(pledge).transpose()?,
        },
        leaf: stored.leaf,
        tree_size: stored.tree_size,
        root: Digest::parse(&stored.root, "root").map_err(|_| "its root is not 32 bytes")?,
    })
}

/// An envelope around a payload whose signature nobody may look at.
pub(crate) fn unsigned<T: Payload>(payload: Vec<u8>) -> Option<Envelope> {
    let signature =
        wire::Signature { key_id: PublicKey::from_bytes([0; 32]).to_vec(), signature: vec![0; 64] };
    let envelope = wire::Envelope { payload_type: T::TYPE.to_owned(), payload, signatures: vec![signature] };
    Envelope::from_wire(envelope).ok()
}

const CHECK_BYTES: usize = 8;

fn check(family: Family, key: &[u8], value: &[u8]) -> [u8; CHECK_BYTES] {
    // No family name holds a zero byte, and all keys of a family have one length, are fixed names, or begin with one that
    // ends in a zero byte.
    let digest = Digest::of(&[family.name().as_bytes(), &[0], key, &[0], value]);
    let mut check = [0; CHECK_BYTES];
    check.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
    check
}
