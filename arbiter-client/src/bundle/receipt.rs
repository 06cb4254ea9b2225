//! A receipt in a bundle: what the arbiter answered, and what others said later about the log that holds it.
//!
//! ```text
//!  { statement, answer, leaf, inclusion_proof, checkpoint, request, acceptance?, attestations?, escrows?, record_salts,   the arbiter's
//!    tlog_proof?,       C2SP tlog-proof, verbatim: the same leaf in a newer checkpoint with cosignatures of witnesses
//!    timestamps [ ] }   RFC 3161 tokens over the text of the receipt's checkpoint, or over that of `tlog_proof`
//! ```
//!
//! Invariants
//! - What witnesses and time-stamping authorities add never changes what the arbiter answered; a bundle without it is
//!   the same bundle with fewer proofs.
//! - Everything is bounded before it is decoded. Nothing here is verified: [`crate::verify`] does that.

use std::ops::Deref;

use arbiter_protocol::ids::Digest;
use arbiter_protocol::limits;
use arbiter_protocol::ruling::receipt::{Evidence, Receipt};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::BundleError;
use crate::texts::{Pair, base64_bytes, decoded, envelope, hashes, hexes, optional, pledge, text};

/// Most time-stamp tokens of one receipt: several authorities, or newer ones before an algorithm ages.
pub const TIMESTAMPS: usize = 4;

/// A receipt with what was added to it after the arbiter gave it. Nothing in it was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundledReceipt {
    /// What the arbiter answered.
    pub receipt: Receipt,
    /// The leaf in a newer, cosigned checkpoint: C2SP tlog-proof, exactly as it came, at most [`limits::TLOG_PROOF_BYTES`].
    pub tlog_proof: Option<String>,
    /// RFC 3161 time-stamp tokens (DER), at most [`TIMESTAMPS`] of at most [`limits::TIMESTAMP_BYTES`] each.
    pub timestamps: Vec<Vec<u8>>,
}

impl From<Receipt> for BundledReceipt {
    fn from(receipt: Receipt) -> Self {
        Self { receipt, tlog_proof: None, timestamps: Vec::new() }
    }
}

impl Deref for BundledReceipt {
    type Target = Receipt;

    fn deref(&self) -> &Receipt {
        &self.receipt
    }
}

/// The JSON form. Field order is the order in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReceiptFile {
    statement: String,
    answer: String,
    leaf: String,
    inclusion_proof: Vec<String>,
    checkpoint: String,
    request: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acceptance: Option<String>,
    #[serde(default, skip_serializing_if = "Pair::is_empty")]
    attestations: Pair,
    #[serde(default, skip_serializing_if = "Pair::is_empty")]
    escrows: Pair,
    record_salts: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tlog_proof: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    timestamps: Vec<String>,
}

impl From<&BundledReceipt> for ReceiptFile {
    fn from(receipt: &BundledReceipt) -> Self {
        Self {
            statement: text(&receipt.statement),
            answer: text(&receipt.answer),
            // A leaf is ASCII (R-501); one that is not would not verify either way.
            leaf: String::from_utf8_lossy(&receipt.leaf).into_owned(),
            inclusion_proof: receipt.inclusion_proof.iter().map(Digest::to_string).collect(),
            checkpoint: receipt.checkpoint.clone(),
            request: text(&receipt.evidence.request),
            acceptance: receipt.evidence.acceptance.as_ref().map(text),
            attestations: Pair::envelopes(&receipt.evidence.attestations),
            escrows: Pair::pledges(&receipt.evidence.escrows),
            record_salts: receipt.record_salts.iter().map(hex::encode).collect(),
            tlog_proof: receipt.tlog_proof.clone(),
            timestamps: receipt.timestamps.iter().map(|token| STANDARD.encode(token)).collect(),
        }
    }
}

impl TryFrom<ReceiptFile> for BundledReceipt {
    type Error = BundleError;

    fn try_from(file: ReceiptFile) -> Result<Self, BundleError> {
        if file.leaf.len() > limits::LEAF_BYTES {
            return Err(BundleError::Field("receipts.leaf"));
        }
        if file.checkpoint.len() > CHECKPOINT_BYTES {
            return Err(BundleError::Field("receipts.checkpoint"));
        }
        let tlog_proof = tlog_proof(file.tlog_proof, "receipts.tlog_proof")?;
        let timestamps = timestamps(&file.timestamps, "receipts.timestamps")?;
        let receipt = Receipt {
            statement: envelope(&file.statement, "receipts.statement")?,
            answer: envelope(&file.answer, "receipts.answer")?,
            leaf: file.leaf.into_bytes(),
            inclusion_proof: hashes(&file.inclusion_proof, limits::PROOF_HASHES, "receipts.inclusion_proof")?,
            checkpoint: file.checkpoint,
            evidence: Evidence {
                request: envelope(&file.request, "receipts.request")?,
                acceptance: optional(file.acceptance.as_deref(), "receipts.acceptance")?,
                attestations: file.attestations.read(
                    ["receipts.attestations.originator", "receipts.attestations.responder"],
                    envelope,
                )?,
                escrows: file
                    .escrows
                    .read(["receipts.escrows.originator", "receipts.escrows.responder"], pledge)?,
            },
            record_salts: hexes(&file.record_salts, limits::RECORD_FIELDS, "receipts.record_salts")?,
        };
        Ok(Self { receipt, tlog_proof, timestamps })
    }
}

/// Bounded; read by who verifies it.
pub(crate) fn tlog_proof(text: Option<String>, place: &'static str) -> Result<Option<String>, BundleError> {
    if text.as_ref().is_some_and(|it| it.len() > limits::TLOG_PROOF_BYTES) {
        return Err(BundleError::Field(place));
    }
    Ok(text)
}

pub(crate) fn timestamps(texts: &[String], place: &'static str) -> Result<Vec<Vec<u8>>, BundleError> {
    if texts.len() > TIMESTAMPS {
        return Err(BundleError::Field(place));
    }
    texts.iter().map(|text| Ok(decoded(text, limits::TIMESTAMP_BYTES, place)?)).collect()
}

/// Longest checkpoint note: three lines and a few signatures.
pub(crate) const CHECKPOINT_BYTES: usize = 8 * 1024;
/// The most that one receipt needs in a file: six statements, two escrows, leaf, proof, checkpoint and salts, and what others add.
/// A line of a tlog-proof ends with two bytes in JSON.
pub(super) const RECEIPT_BYTES: usize = 6 * base64_bytes(limits::ENVELOPE_BYTES)
    + 2 * base64_bytes(limits::ESCROW_BYTES)
    + limits::LEAF_BYTES
    + limits::PROOF_HASHES * 80
    + CHECKPOINT_BYTES
    + limits::RECORD_FIELDS * 48
    + limits::TLOG_PROOF_BYTES
    + 1024
    + TIMESTAMPS * base64_bytes(limits::TIMESTAMP_BYTES);
