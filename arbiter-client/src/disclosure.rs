//! A disclosure (`.fxd`): some fields of the sealed record behind one leaf, for a court, without the rest of the bundle (R-566).
//!
//! ```text
//!  { format, note, arbiter { key, log_key, log_origin, rules },
//!    leaf, inclusion_proof [ ], checkpoint, tlog_proof?, timestamps?,             the event in the log
//!    record_fields, fields [ { name, place, salt, path [ ], envelope | value } ] } what is shown of its record
//! ```
//! A statement is shown with the signature that the arbiter had (its envelope); an escrow is shown as it is.
//!
//! Invariants
//! - Nothing of the other fields is in it: the path has only hashes of salted values.
//! - `arbiter` is a claim like everything here: it counts only if it is the one that the reader pinned.
//! - Parsing proves nothing; [`crate::verify::Verifier::disclosed`] says what it proves.

use std::path::Path;

use arbiter_protocol::crypto;
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::evidence::record::{FIELDS, Opening};
use arbiter_protocol::exchange::item::check_line;
use arbiter_protocol::ids::{Digest, LeafIndex, PublicKey};
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::{ArbiterIdentity, Offer};
use arbiter_protocol::statement::{Envelope, Signed};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::bundle::{self, BundleError, BundledReceipt};
use crate::durable;
use crate::texts::{decoded, hashes, lower_hex, optional};

/// The media type of a disclosure, also its `format` field.
pub const MEDIA_TYPE: &str = "application/vnd.arbiter.disclosure.v1+json";
/// The extension of such files.
pub const EXTENSION: &str = "fxd";

const NOTE: &str = "Some fields of one record. Only `fairx verify` says what this file proves.";
/// Hashes in the path of a field: a record has at most [`limits::RECORD_FIELDS`] fields.
const PATH_HASHES: usize = 4;

/// Some fields of one record, and the leaf that commits to it. Nothing in it was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disclosure {
    /// The arbiter, by the file's own word.
    pub arbiter: ArbiterIdentity,
    /// The leaf, exactly as hashed.
    pub leaf: Vec<u8>,
    /// From the leaf's sibling to the root's child.
    pub inclusion_proof: Vec<Digest>,
    /// Signed note.
    pub checkpoint: String,
    /// As in a bundle.
    pub tlog_proof: Option<String>,
    /// As in a bundle.
    pub timestamps: Vec<Vec<u8>>,
    /// What is shown, at least one field.
    pub fields: Vec<Disclosed>,
}

/// One field that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disclosed {
    /// The field and its path.
    pub opening: Opening,
    /// Of a statement, the whole envelope: its payload is the value.
    pub envelope: Option<Envelope>,
}

impl Disclosure {
    /// Shows these fields of the record behind a receipt that was verified with this offer. `None` if the record has no such
    /// field, or none is named.
    pub fn new(offer: &Envelope, receipt: &BundledReceipt, names: &[String]) -> Option<Self> {
        let arbiter = Signed::<Offer>::parse(offer.clone()).ok()?.unverified().arbiter.clone();
        let mut names = names.to_vec();
        names.sort();
        names.dedup();
        let show = |name: &String| {
            let opening = receipt.open(offer, name).ok()?;
            Some(Disclosed { opening, envelope: envelope_of(offer, receipt, name) })
        };
        let mut fields = names.iter().map(show).collect::<Option<Vec<_>>>()?;
        fields.sort_by_key(|it| it.opening.index);
        (!fields.is_empty()).then(|| Self {
            arbiter,
            leaf: receipt.leaf.clone(),
            inclusion_proof: receipt.inclusion_proof.clone(),
            checkpoint: receipt.checkpoint.clone(),
            tlog_proof: receipt.tlog_proof.clone(),
            timestamps: receipt.timestamps.clone(),
            fields,
        })
    }

    /// The names of the fields that the record behind a receipt has.
    pub fn names(receipt: &BundledReceipt, offer: &Envelope) -> Vec<&'static str> {
        FIELDS.into_iter().filter(|name| receipt.open(offer, name).is_ok()).collect()
    }

    /// Reads the JSON form.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        let file: File = bundle::from_json(bytes)?;
        if file.format != MEDIA_TYPE {
            return Err(BundleError::Format);
        }
        if file.note != NOTE {
            return Err(BundleError::Field("note"));
        }
        if file.leaf.len() > limits::LEAF_BYTES {
            return Err(BundleError::Field("leaf"));
        }
        if file.checkpoint.len() > bundle::CHECKPOINT_BYTES {
            return Err(BundleError::Field("checkpoint"));
        }
        if file.fields.is_empty() || file.fields.len() > limits::RECORD_FIELDS {
            return Err(BundleError::Field("fields"));
        }
        let index = leaf_index(&file.leaf).ok_or(BundleError::Field("leaf"))?;
        let count = file.record_fields;
        let fields = file.fields.into_iter().map(|it| it.read(index, count)).collect::<Result<_, _>>()?;
        Ok(Self {
            arbiter: file.arbiter.read()?,
            leaf: file.leaf.into_bytes(),
            inclusion_proof: hashes(&file.inclusion_proof, limits::PROOF_HASHES, "inclusion_proof")?,
            checkpoint: file.checkpoint,
            tlog_proof: bundle::tlog_proof(file.tlog_proof, "tlog_proof")?,
            timestamps: bundle::timestamps(&file.timestamps, "timestamps")?,
            fields,
        })
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, BundleError> {
        Self::parse(&bundle::read_file(path)?)
    }

    /// The JSON form.
    pub fn to_json(&self) -> Vec<u8> {
        let hash = |it: &Digest| it.to_string();
        let field = |it: &Disclosed| FieldFile {
            name: it.opening.name.clone(),
            place: it.opening.index,
            salt: hex::encode(it.opening.salt),
            path: it.opening.path.iter().map(hash).collect(),
            envelope: it.envelope.as_ref().map(|it| STANDARD.encode(it.encode())),
            value: it.envelope.is_none().then(|| STANDARD.encode(&it.opening.value)),
        };
        let file = File {
            format: MEDIA_TYPE.to_owned(),
            note: NOTE.to_owned(),
            arbiter: ArbiterFile {
                key: self.arbiter.key.to_string(),
                log_key: self.arbiter.log_key.to_string(),
                log_origin: self.arbiter.log_origin.to_string(),
                rules: self.arbiter.rules.clone(),
            },
            leaf: String::from_utf8_lossy(&self.leaf).into_owned(),
            inclusion_proof: self.inclusion_proof.iter().map(hash).collect(),
            checkpoint: self.checkpoint.clone(),
            tlog_proof: self.tlog_proof.clone(),
            timestamps: self.timestamps.iter().map(|it| STANDARD.encode(it)).collect(),
            record_fields: self.fields.first().map_or(0, |it| it.opening.fields),
            fields: self.fields.iter().map(field).collect(),
        };
        bundle::json(&file)
    }

    /// Writes the file: after a crash there is the old one or the new one.
    pub fn write(&self, path: &Path) -> Result<(), BundleError> {
        let io = |source| BundleError::Io { path: path.to_owned(), source };
        durable::replace(path, &self.to_json(), 0o666).map_err(io)
    }
}

/// The statement that is the value of a field, with its signature.
fn envelope_of(offer: &Envelope, receipt: &BundledReceipt, name: &str) -> Option<Envelope> {
    let evidence = &receipt.evidence;
    match name {
        "request" => Some(evidence.request.clone()),
        "offer" => Some(offer.clone()),
        "acceptance" => evidence.acceptance.clone(),
        "originator-attestation" => evidence.attestations.originator.clone(),
        "responder-attestation" => evidence.attestations.responder.clone(),
        "statement" => Some(receipt.statement.clone()),
        _ => None,
    }
}

/// What the leaf says about its place; the whole leaf is read by who verifies.
fn leaf_index(leaf: &str) -> Option<LeafIndex> {
    leaf.lines().nth(1)?.strip_prefix("id ")?.parse().ok().map(LeafIndex)
}

/// The JSON form. Field order is the order in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    note: String,
    arbiter: ArbiterFile,
    leaf: String,
    inclusion_proof: Vec<String>,
    checkpoint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tlog_proof: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    timestamps: Vec<String>,
    record_fields: u64,
    fields: Vec<FieldFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ArbiterFile {
    key: String,
    log_key: String,
    log_origin: String,
    rules: String,
}

impl ArbiterFile {
    fn read(self) -> Result<ArbiterIdentity, BundleError> {
        let place = "arbiter";
        let key = |text: &str| {
            let key = PublicKey::from_bytes(lower_hex(text, place)?);
            crypto::check_key(&key, "key").map_err(|_| BundleError::Field(place))?;
            Ok::<_, BundleError>(key)
        };
        let line = check_line(&self.rules, limits::NAME_BYTES, "rules");
        line.map_err(|_| BundleError::Field(place))?;
        Ok(ArbiterIdentity {
            key: key(&self.key)?,
            log_key: key(&self.log_key)?,
            log_origin: Origin::parse(&self.log_origin).map_err(|_| BundleError::Field(place))?,
            rules: self.rules,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldFile {
    name: String,
    place: u64,
    salt: String,
    path: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    envelope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

impl FieldFile {
    fn read(self, leaf: LeafIndex, fields: u64) -> Result<Disclosed, BundleError> {
        let envelope = optional(self.envelope.as_deref(), "fields.envelope")?;
        let value = match (&envelope, &self.value) {
            (Some(envelope), None) => envelope.payload().to_vec(),
            (None, Some(value)) => decoded(value, limits::ESCROW_BYTES, "fields.value")?,
            _ => return Err(BundleError::Field("fields.value")),
        };
        if !FIELDS.contains(&self.name.as_str()) {
            return Err(BundleError::Field("fields.name"));
        }
        let opening = Opening {
            leaf,
            index: self.place,
            fields,
            name: self.name,
            salt: lower_hex(&self.salt, "fields.salt")?,
            value,
            path: hashes(&self.path, PATH_HASHES, "fields.path")?,
        };
        Ok(Disclosed { opening, envelope })
    }
}
