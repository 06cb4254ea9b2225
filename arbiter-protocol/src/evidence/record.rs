//! The sealed record: what a leaf commits to without showing it, and how one field is shown (R-503, R-530, R-532).
//!
//! ```text
//!  ExchangeKey ─ salt(statement, name) ─┐
//!                        name, value ───┴─▶ RecordField ─▶ RFC 6962 tree ─▶ `record` in the leaf
//!                                               └── Opening: one field and its path ──▶ verify(leaf)
//! ```
//!
//! Invariants
//! - Salts follow from the exchange's own key alone: whoever destroys that key leaves a commitment that nobody can
//!   open or test a guess against (R-533).
//! - A field is hashed with its name and its exact bytes; what an opening shows is what was logged, or it is refused.

use std::borrow::Cow;
use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::evidence::leaf::Leaf;
use crate::evidence::merkle::{self, Frontier, NodeId, ProofError};
use crate::ids::{Digest, LeafIndex};
use crate::limits;

/// The secret of one exchange, 32 random bytes: its salts follow from it, and its stored record is encrypted under it.
/// It is drawn when the exchange is first recorded, and destroyed when the exchange is erased.
#[derive(Clone, PartialEq, Eq)]
pub struct ExchangeKey(Zeroizing<[u8; 32]>);

impl ExchangeKey {
    /// Takes 32 random bytes that are used for nothing else.
    pub const fn new(random: Zeroizing<[u8; 32]>) -> Self {
        Self(random)
    }

    /// The secret, to wrap it or to derive from it.
    pub const fn secret(&self) -> &Zeroizing<[u8; 32]> {
        &self.0
    }

    /// The salt of one field of the record of one statement: the first 16 bytes of
    /// `HMAC-SHA256(key, "arbiter salt v1" 00 ‖ digest of the statement ‖ name)`.
    pub fn salt(&self, statement: &Digest, name: &str) -> [u8; 16] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.0.as_slice()).expect("invariant: HMAC takes any key");
        // The digest has a fixed length, so digest and name cannot run into each other.
        [b"arbiter salt v1\0", &statement.as_bytes()[..], name.as_bytes()]
            .iter()
            .for_each(|part| mac.update(part));
        let mut salt = [0; 16];
        salt.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(to, from)| *to = from);
        salt
    }

    /// Salts the fields of the record of a statement.
    pub fn fields<'a>(
        &self,
        statement: &Digest,
        values: impl IntoIterator<Item = (&'static str, Cow<'a, [u8]>)>,
    ) -> Vec<RecordField<'a>> {
        let field = |(name, value)| RecordField { name, salt: self.salt(statement, name), value };
        values.into_iter().map(field).collect()
    }
}

impl fmt::Debug for ExchangeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExchangeKey(..)")
    }
}

/// The names of fields, in the order of the schema: of a party's pledge one or the other. The last stands alone in the
/// record of a ledger's answer.
pub const FIELDS: [&str; limits::RECORD_FIELDS] = [
    "request",
    "offer",
    "acceptance",
    "originator-attestation",
    "responder-attestation",
    "originator-escrow",
    "originator-reservation",
    "responder-escrow",
    "responder-reservation",
    "statement",
    "receipt",
];

/// One salted field of a sealed record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordField<'a> {
    /// The field's name: one of [`FIELDS`].
    pub name: &'static str,
    /// 16 bytes that nobody else can guess.
    pub salt: [u8; 16],
    /// The exact stored bytes.
    pub value: Cow<'a, [u8]>,
}

/// Root of a sealed record (R-503): RFC 6962 over `salt || name || 0x00 || value`, fields in schema order.
/// Binding, hiding, and one field can be opened without the rest.
pub fn record_root(fields: &[RecordField<'_>]) -> Digest {
    let mut tree = Frontier::new();
    for field in fields {
        let _ = tree.append(field_hash(&field.salt, field.name, &field.value));
    }
    tree.root()
}

/// One field of a sealed record, shown to somebody who has the leaf (R-532).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The leaf that commits to the record.
    pub leaf: LeafIndex,
    /// The place of the field in the record, from 0.
    pub index: u64,
    /// How many fields the record has, 1 to [`limits::RECORD_FIELDS`].
    pub fields: u64,
    /// The field's name: one of [`FIELDS`].
    pub name: String,
    /// Its salt.
    pub salt: [u8; 16],
    /// Its bytes: of a statement the payload, of an escrow the encoding. At most [`limits::ESCROW_BYTES`].
    pub value: Vec<u8>,
    /// From the field's sibling to the root's child.
    pub path: Vec<Digest>,
}

/// Why an opening shows nothing. Who made it, or passed it on, is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpeningError {
    /// The record has no such field.
    #[error("the record has no such field")]
    NoSuchField,
    /// It is about another leaf.
    #[error("the opening is of leaf {says}, not of leaf {leaf}")]
    OtherLeaf {
        /// What it says.
        says: u64,
        /// The leaf given.
        leaf: u64,
    },
    /// A name, size or count that no opening has.
    #[error("the opening has a name, size or count that no record has")]
    Form,
    /// The field is not in the record.
    #[error("the field is not in the record that the leaf commits to: {0}")]
    Path(#[from] ProofError),
}

impl Opening {
    /// Opens one field of the record of `leaf`.
    pub fn new(leaf: LeafIndex, fields: &[RecordField<'_>], name: &str) -> Result<Self, OpeningError> {
        let place = fields.iter().position(|field| field.name == name);
        let field = place.and_then(|place| fields.get(place)).ok_or(OpeningError::NoSuchField)?;
        let mut tree = Frontier::new();
        let mut nodes: Vec<(NodeId, Digest)> = Vec::new();
        for field in fields {
            nodes.extend(tree.append(field_hash(&field.salt, field.name, &field.value)));
        }
        let index = place.and_then(|place| u64::try_from(place).ok()).ok_or(OpeningError::NoSuchField)?;
        let node = |id: NodeId| {
            let found = nodes.iter().find(|(known, _)| *known == id);
            found.map(|(_, hash)| *hash).ok_or(OpeningError::Form)
        };
        let path = merkle::inclusion_proof(index, tree.size(), node)?;
        let (salt, value) = (field.salt, field.value.to_vec());
        Ok(Self { leaf, index, fields: tree.size(), name: name.to_owned(), salt, value, path })
    }

    /// Verifies that the field is in the record that `leaf` commits to. The leaf itself is proven by the log.
    pub fn verify(&self, leaf: &Leaf) -> Result<(), OpeningError> {
        if leaf.index != self.leaf {
            return Err(OpeningError::OtherLeaf { says: self.leaf.0, leaf: leaf.index.0 });
        }
        let most = u64::try_from(limits::RECORD_FIELDS).unwrap_or(u64::MAX);
        let known = FIELDS.contains(&self.name.as_str());
        if !known || self.fields > most || self.value.len() > limits::ESCROW_BYTES {
            return Err(OpeningError::Form);
        }
        let hash = field_hash(&self.salt, &self.name, &self.value);
        merkle::verify_inclusion(&hash, self.index, self.fields, &self.path, &leaf.record)?;
        Ok(())
    }
}

fn field_hash(salt: &[u8; 16], name: &str, value: &[u8]) -> Digest {
    merkle::leaf_hash(&[&salt[..], name.as_bytes(), &[0], value].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> ExchangeKey {
        ExchangeKey::new(Zeroizing::new([byte; 32]))
    }

    fn fields(count: usize) -> Vec<RecordField<'static>> {
        let value = |name: &&'static str| (*name, Cow::Borrowed(name.as_bytes()));
        key(1).fields(&Digest::of(&[b"statement"]), FIELDS.iter().take(count).map(value))
    }

    /// R-503: every name, value and salt is bound.
    #[test]
    fn the_record_root_binds_every_field() {
        let root = |name, salt, value| {
            record_root(&[
                RecordField { name, salt, value: Cow::Borrowed(value) },
                RecordField { name: "z", salt: [9; 16], value: Cow::Borrowed(b"z") },
            ])
        };
        let base = root("a", [1; 16], b"v");
        assert_ne!(base, root("b", [1; 16], b"v"));
        assert_ne!(base, root("a", [2; 16], b"v"));
        assert_ne!(base, root("a", [1; 16], b"w"));
    }

    /// R-530: the documented function; expected value computed with Python's `hmac` and `hashlib`.
    #[test]
    fn salts_follow_from_the_key_the_statement_and_the_name() {
        let digest = Digest::from_bytes([3; 32]);
        assert_eq!(hex::encode(key(1).salt(&digest, "offer")), "4b9e07909f969ab8af9b5704e483c51c");
        assert_ne!(key(1).salt(&digest, "offer"), key(1).salt(&digest, "request"));
        assert_ne!(key(1).salt(&digest, "offer"), key(2).salt(&digest, "offer"));
        assert_ne!(key(1).salt(&digest, "offer"), key(1).salt(&Digest::from_bytes([4; 32]), "offer"));
        assert_eq!(format!("{:?}", key(1)), "ExchangeKey(..)");
        assert_eq!(**key(7).secret(), [7; 32]);
    }

    /// R-532: every field of records of every size opens, and no part of an opening can be changed.
    #[test]
    fn one_field_opens_without_the_rest() {
        for count in 1..=FIELDS.len() {
            let fields = fields(count);
            let leaf = leaf(record_root(&fields));
            for name in FIELDS.iter().take(count) {
                let good = Opening::new(leaf.index, &fields, name).unwrap();
                assert_eq!(good.verify(&leaf), Ok(()));
                assert_eq!(good.value, name.as_bytes());
                let mut changed = vec![good.clone(); 6];
                changed[0].value.push(0);
                changed[1].salt[15] ^= 1;
                changed[2].name = FIELDS[(count + 1) % FIELDS.len()].to_owned();
                changed[3].index = good.fields;
                changed[4].path.push(Digest::from_bytes([0; 32]));
                changed[5].leaf = LeafIndex(leaf.index.0 + 1);
                changed.retain(|it| *it != good);
                assert!(changed.iter().all(|bad| bad.verify(&leaf).is_err()), "{name} of {count}");
                assert!(good.verify(&self::leaf(Digest::of(&[b"another record"]))).is_err());
            }
            let absent = Opening::new(leaf.index, &fields, "price");
            assert_eq!(absent, Err(OpeningError::NoSuchField));
        }
    }

    /// R-105: what no record has is refused before it is hashed.
    #[test]
    fn limits_hold_for_openings() {
        let fields = fields(2);
        let leaf = leaf(record_root(&fields));
        let good = Opening::new(leaf.index, &fields, "offer").unwrap();
        let with = |bytes| Opening { value: vec![0; bytes], ..good.clone() };
        let big = with(limits::ESCROW_BYTES + 1);
        assert!(matches!(with(limits::ESCROW_BYTES).verify(&leaf), Err(OpeningError::Path(_))));
        let many = Opening { fields: u64::try_from(limits::RECORD_FIELDS).unwrap() + 1, ..good.clone() };
        let other = Opening { name: "price".to_owned(), ..good };
        for bad in [big, many, other] {
            assert_eq!(bad.verify(&leaf), Err(OpeningError::Form));
        }
    }

    fn leaf(record: Digest) -> Leaf {
        use crate::evidence::leaf::{Event, Pseudonym};
        use crate::time::{DurationMillis, UnixMillis};
        Leaf {
            index: LeafIndex(17),
            event: Event::VerdictReplaced,
            reason: "R-404",
            time: UnixMillis(1),
            clock_uncertainty: DurationMillis(0),
            exchange: Pseudonym([3; 16]),
            sequence: 0,
            previous: None,
            policy: Digest::of(&[b"p"]),
            build: Digest::of(&[b"b"]),
            issuer: [1, 2, 3, 4],
            token: Digest::of(&[b"t"]),
            record,
        }
    }
}
