//! A proof of misbehaviour as a file (`.fxp`): what convicts an arbiter, in one piece, for anybody who pins its identity.
//!
//! ```text
//!  { format, note, arbiter { key?, log_key, log_origin, rules? }, summary, charge { kind, … } }
//!
//!  kinds: two-statements · ruling · two-roots · rewritten · leaves · other-leaf · unjoined (a claim)
//! ```
//!
//! JSON as bundles are; statements, leaves and escrows are exact bytes in base64, checkpoints the exact notes. Media type
//! [`MEDIA_TYPE`].
//!
//! Invariants
//! - Sizes and counts are checked before anything is decoded; unknown fields are refused.
//! - Parsing proves nothing: [`Charge::judge`] does, against an identity that comes from elsewhere. `arbiter` and `summary` in
//!   the file are never believed.

use std::io::Read as _;
use std::path::Path;

use arbiter_protocol::error::Invalid;
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::ids::{Digest, LeafIndex, PublicKey};
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::ruling::receipt::Evidence;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use arbiter_protocol::ruling::charge::{Charge, Finding, Judgement, Located, Offence, Step, TreeHead};

use crate::texts::{Pair, Unread, decoded, envelope, hashes, lower_hex, pledge, text};
use crate::{durable, explain};

/// The media type of a proof of misbehaviour, also its `format` field.
pub const MEDIA_TYPE: &str = "application/vnd.arbiter.misbehaviour-proof.v1+json";
/// The extension of its files.
pub const EXTENSION: &str = "fxp";
/// Largest file: six envelopes of at most 43.4 KB in base64, two escrows of at most 98.3 KB, or two leaves and notes.
pub const CHARGE_BYTES: usize = 1024 * 1024;

const NOTE: &str =
    "Nothing in here is believed. Only `fairx verify` with the arbiter's own pin says what this file proves.";
/// Longest note of a checkpoint.
const CHECKPOINT_BYTES: usize = 64 * 1024;
/// Longest leaf that tlog-tiles can hold: also one that is no leaf of ours convicts.
const LEAF_BYTES: usize = 65_535;
const SUMMARY_BYTES: usize = 16 * 1024;

/// Why a file is not a proof of misbehaviour. Nothing was judged yet; who made the file is at fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChargeError {
    /// Larger than [`CHARGE_BYTES`].
    #[error("the file is larger than {CHARGE_BYTES} bytes: it is no proof of misbehaviour")]
    TooLarge,
    /// Not JSON, or not these fields.
    #[error("the file is no proof of misbehaviour: {0}")]
    Json(#[from] serde_json::Error),
    /// Another format, or another version of it.
    #[error("the file is not in format {MEDIA_TYPE}; a newer fairx may read it")]
    Format,
    /// A field does not have its one form.
    #[error("field {0} is too long, too many, or not in its one form: the file was altered")]
    Field(&'static str),
    /// A statement in it is malformed.
    #[error("{place}: {source}")]
    Statement {
        /// Where in the file.
        place: &'static str,
        /// What is wrong.
        source: Invalid,
    },
    /// The file system.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl From<Unread> for ChargeError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Field(place) | Unread::Escrow(place, _) => Self::Field(place),
            Unread::Statement(place, source) => Self::Statement { place, source },
        }
    }
}

/// Who is accused, as the file says it. A hint which pin to take; never believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accused {
    /// The arbiter's key, if who made the file knew it.
    pub key: Option<PublicKey>,
    /// Its log's key.
    pub log_key: PublicKey,
    /// Its log.
    pub log_origin: Origin,
    /// Its rules, if known.
    pub rules: Option<String>,
}

impl Accused {
    /// All of it, if it is all there.
    pub fn identity(&self) -> Option<ArbiterIdentity> {
        Some(ArbiterIdentity {
            key: self.key?,
            log_key: self.log_key,
            log_origin: self.log_origin.clone(),
            rules: self.rules.clone()?,
        })
    }

    /// Whether this may be that arbiter. Only to choose a pin.
    pub fn may_be(&self, arbiter: &ArbiterIdentity) -> bool {
        self.log_key == arbiter.log_key
            && self.log_origin == arbiter.log_origin
            && self.key.is_none_or(|key| key == arbiter.key)
    }
}

impl From<&ArbiterIdentity> for Accused {
    fn from(arbiter: &ArbiterIdentity) -> Self {
        Self {
            key: Some(arbiter.key),
            log_key: arbiter.log_key,
            log_origin: arbiter.log_origin.clone(),
            rules: Some(arbiter.rules.clone()),
        }
    }
}

/// A charge with what the file says about it. Nothing in it was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargeFile {
    /// Who is accused.
    pub accused: Accused,
    /// For people; not authenticated.
    pub summary: Vec<String>,
    /// What shows it.
    pub charge: Charge,
}

impl ChargeFile {
    /// A file with this charge, summed up as far as it can be judged.
    pub fn new(accused: Accused, charge: Charge) -> Self {
        let finding = accused.identity().map(|arbiter| charge.judge(&arbiter).finding);
        let summary = explain::charge(&accused.log_origin, &charge, finding.as_ref());
        Self { accused, summary, charge }
    }

    /// Whether bytes say that they are such a file. Proves nothing.
    pub fn is_one(bytes: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Head {
            format: String,
        }
        bytes.len() <= CHARGE_BYTES
            && serde_json::from_slice::<Head>(bytes).is_ok_and(|it| it.format == MEDIA_TYPE)
    }

    /// Reads the JSON form.
    pub fn parse(bytes: &[u8]) -> Result<Self, ChargeError> {
        if bytes.len() > CHARGE_BYTES {
            return Err(ChargeError::TooLarge);
        }
        let file: File = serde_json::from_slice(bytes)?;
        if file.format != MEDIA_TYPE {
            return Err(ChargeError::Format);
        }
        if file.note != NOTE {
            return Err(ChargeError::Field("note"));
        }
        if file.summary.iter().map(String::len).sum::<usize>() > SUMMARY_BYTES {
            return Err(ChargeError::Field("summary"));
        }
        let rules = file.arbiter.rules;
        if rules.as_ref().is_some_and(|rules| rules.len() > limits::NAME_BYTES) {
            return Err(ChargeError::Field("arbiter.rules"));
        }
        let key = |text: &str, place| lower_hex(text, place).map(PublicKey::from_bytes);
        let accused = Accused {
            key: file.arbiter.key.map(|text| key(&text, "arbiter.key")).transpose()?,
            log_key: key(&file.arbiter.log_key, "arbiter.log_key")?,
            log_origin: Origin::parse(&file.arbiter.log_origin)
                .map_err(|_| ChargeError::Field("arbiter.log_origin"))?,
            rules,
        };
        Ok(Self { accused, summary: file.summary, charge: file.charge.try_into()? })
    }

    /// The JSON form.
    pub fn to_json(&self) -> Vec<u8> {
        let file = File {
            format: MEDIA_TYPE.to_owned(),
            note: NOTE.to_owned(),
            arbiter: AccusedFile {
                key: self.accused.key.map(|key| key.to_string()),
                log_key: self.accused.log_key.to_string(),
                log_origin: self.accused.log_origin.to_string(),
                rules: self.accused.rules.clone(),
            },
            summary: self.summary.clone(),
            charge: Kind::from(&self.charge),
        };
        let mut json =
            serde_json::to_vec_pretty(&file).expect("invariant: strings and lists always serialize");
        json.push(b'\n');
        json
    }

    /// Reads a file, never more than [`CHARGE_BYTES`] of it.
    pub fn read(path: &Path) -> Result<Self, ChargeError> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(CHARGE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
        Self::parse(&bytes)
    }

    /// Writes the file into a folder, under a name that the same charge always has; durable on return.
    pub fn write_into(&self, folder: &Path) -> Result<std::path::PathBuf, ChargeError> {
        let json = self.to_json();
        let name = Digest::of(&[&json]).to_string();
        let path = folder.join(format!("misbehaviour-{}.{EXTENSION}", name.get(..16).unwrap_or(&name)));
        durable::replace(&path, &json, 0o666)?;
        Ok(path)
    }
}

/// The JSON form. Field order is the order in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    note: String,
    arbiter: AccusedFile,
    summary: Vec<String>,
    charge: Kind,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccusedFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    log_key: String,
    log_origin: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rules: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum Kind {
    Leaves {
        first: LocatedFile,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        second: Option<LocatedFile>,
    },
    OtherLeaf {
        answer: String,
        there: LocatedFile,
    },
    Rewritten {
        older: HeadFile,
        newer: HeadFile,
        path: Vec<String>,
    },
    Ruling {
        offer: String,
        statement: String,
        request: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        acceptance: Option<String>,
        #[serde(default, skip_serializing_if = "Pair::is_empty")]
        attestations: Pair,
        #[serde(default, skip_serializing_if = "Pair::is_empty")]
        escrows: Pair,
    },
    TwoRoots {
        first: HeadFile,
        second: HeadFile,
    },
    TwoStatements {
        first: String,
        second: String,
    },
    Unjoined {
        older: HeadFile,
        newer: HeadFile,
        shown: Vec<String>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum HeadFile {
    Answer(String),
    Checkpoint(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LocatedFile {
    index: u64,
    leaf: String,
    path: Vec<String>,
    head: HeadFile,
}

impl From<&Charge> for Kind {
    fn from(charge: &Charge) -> Self {
        let hashes = |path: &[Digest]| path.iter().map(Digest::to_string).collect();
        match charge {
            Charge::Leaves { first, second } => {
                Self::Leaves { first: first.into(), second: second.as_ref().map(LocatedFile::from) }
            }
            Charge::OtherLeaf { answer, there } => {
                Self::OtherLeaf { answer: text(answer), there: there.into() }
            }
            Charge::Rewritten { older, newer, path } => {
                Self::Rewritten { older: older.into(), newer: newer.into(), path: hashes(path) }
            }
            Charge::Ruling { offer, statement, evidence } => Self::Ruling {
                offer: text(offer),
                statement: text(statement),
                request: text(&evidence.request),
                acceptance: evidence.acceptance.as_ref().map(text),
                attestations: Pair::envelopes(&evidence.attestations),
                escrows: Pair::pledges(&evidence.escrows),
            },
            Charge::Statements { first, second } => {
                Self::TwoStatements { first: text(first), second: text(second) }
            }
            Charge::TwoRoots { first, second } => {
                Self::TwoRoots { first: first.into(), second: second.into() }
            }
            Charge::Unjoined { older, newer, shown } => {
                Self::Unjoined { older: older.into(), newer: newer.into(), shown: hashes(shown) }
            }
        }
    }
}

impl TryFrom<Kind> for Charge {
    type Error = ChargeError;

    fn try_from(kind: Kind) -> Result<Self, ChargeError> {
        Ok(match kind {
            Kind::Leaves { first, second } => {
                Self::Leaves { first: first.read()?, second: second.map(LocatedFile::read).transpose()? }
            }
            Kind::OtherLeaf { answer, there } => {
                Self::OtherLeaf { answer: envelope(&answer, "answer")?, there: there.read()? }
            }
            Kind::Rewritten { older, newer, path } => {
                Self::Rewritten { older: older.read()?, newer: newer.read()?, path: path_of(&path)? }
            }
            Kind::Ruling { offer, statement, request, acceptance, attestations, escrows } => Self::Ruling {
                offer: envelope(&offer, "offer")?,
                statement: envelope(&statement, "statement")?,
                evidence: Box::new(Evidence {
                    request: envelope(&request, "request")?,
                    acceptance: acceptance.map(|it| envelope(&it, "acceptance")).transpose()?,
                    attestations: attestations.read(["attestations"; 2], envelope)?,
                    escrows: escrows.read(["escrows"; 2], pledge)?,
                }),
            },
            Kind::TwoRoots { first, second } => {
                Self::TwoRoots { first: first.read()?, second: second.read()? }
            }
            Kind::TwoStatements { first, second } => {
                Self::Statements { first: envelope(&first, "first")?, second: envelope(&second, "second")? }
            }
            Kind::Unjoined { older, newer, shown } => {
                Self::Unjoined { older: older.read()?, newer: newer.read()?, shown: path_of(&shown)? }
            }
        })
    }
}

impl From<&TreeHead> for HeadFile {
    fn from(head: &TreeHead) -> Self {
        match head {
            TreeHead::Answer(envelope) => Self::Answer(text(envelope)),
            TreeHead::Checkpoint(note) => Self::Checkpoint(note.clone()),
        }
    }
}

impl HeadFile {
    fn read(self) -> Result<TreeHead, ChargeError> {
        match self {
            Self::Answer(text) => Ok(TreeHead::Answer(envelope(&text, "answer")?)),
            Self::Checkpoint(note) if note.len() <= CHECKPOINT_BYTES => Ok(TreeHead::Checkpoint(note)),
            Self::Checkpoint(_) => Err(ChargeError::Field("checkpoint")),
        }
    }
}

impl From<&Located> for LocatedFile {
    fn from(located: &Located) -> Self {
        Self {
            index: located.index.0,
            leaf: STANDARD.encode(&located.leaf),
            path: located.path.iter().map(Digest::to_string).collect(),
            head: HeadFile::from(&located.head),
        }
    }
}

impl LocatedFile {
    fn read(self) -> Result<Located, ChargeError> {
        Ok(Located {
            index: LeafIndex(self.index),
            leaf: decoded(&self.leaf, LEAF_BYTES, "leaf")?,
            path: path_of(&self.path)?,
            head: self.head.read()?,
        })
    }
}

fn path_of(path: &[String]) -> Result<Vec<Digest>, ChargeError> {
    // One more than a proof: the first hash of a path is never left out.
    Ok(hashes(path, limits::PROOF_HASHES.saturating_add(1), "path")?)
}
