//! The evidence bundle: one file (`.fxe`) with every signed statement that one party holds of one exchange.
//!
//! ```text
//!  { format, note, outcome, summary,
//!    offer, acceptance?, transfers { originator?, responder? },
//!    escrows { originator?, responder? }?, signatures { originator?, responder? }?, payments { originator?, responder? }?,
//!    receipts [ { statement, answer, leaf, inclusion_proof, checkpoint, request, acceptance?,
//!                 attestations { originator?, responder? }?, escrows { originator?, responder? }?, salts } ] }
//! ```
//!
//! JSON, so that any tool can open it in twenty years; the statements inside are the exact signed bytes
//! (base64), never a re-encoding; escrows (in their place also receipts of reservations) and detached signatures are base64 too. Media type [`MEDIA_TYPE`]. Bundles
//! from before there were escrows read as they are: they have none.
//!
//! Invariants
//! - Sizes and counts are checked before anything is decoded; unknown fields are refused.
//! - Every value has one form: base64 is canonical, hex is lower case, absent is absent.
//! - Parsing proves nothing. Only [`crate::verify`] says what a bundle proves.
//! - `outcome` is a claim that verification checks; `summary` is for people and is never checked.
//! - A detached signature stands only in the bundle of an exchange that was completed or resolved: before that, and
//!   after an abort, it must not be shown to anybody.

mod receipt;
pub mod upgrade;

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use arbiter_protocol::error::Invalid;
use arbiter_protocol::escrow::EscrowError;
use arbiter_protocol::exchange::item::Description;
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::message::verdict::{Ruling, Verdict};
use arbiter_protocol::role::arbiter::Escrows;
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::statement::{Envelope, Signed, Verified};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::durable;
use crate::texts::{Pair, Unread, base64_bytes, decoded, envelope, optional, pledge, receipts, text};

use receipt::ReceiptFile;
pub use receipt::{BundledReceipt, TIMESTAMPS};
pub(crate) use receipt::{CHECKPOINT_BYTES, timestamps, tlog_proof};

/// The media type of a bundle, also its `format` field.
pub const MEDIA_TYPE: &str = "application/vnd.arbiter.evidence-bundle.v1+json";
/// The extension of bundle files.
pub const EXTENSION: &str = "fxe";
/// Largest bundle file: 18 envelopes of at most 43.4 KB in base64, six escrows of at most 98.3 KB in base64, two
/// signatures, proofs, tokens and the small parts make 1.9 MB (computed below); the rest is room for the white space of
/// other tools.
pub const BUNDLE_BYTES: usize = 2 * 1024 * 1024;
/// Most receipts in a bundle: one attestation, one verdict.
pub const RECEIPTS: usize = 2;
/// Longest summary.
const SUMMARY_BYTES: usize = 16 * 1024;

const NOTE: &str = "The summary is not authenticated. Only `fairx verify` says what this file proves.";

/// Why a file is not a bundle. Nothing was verified yet.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Larger than [`BUNDLE_BYTES`]: no honest bundle is.
    #[error("the file is larger than {BUNDLE_BYTES} bytes: it is not an evidence bundle")]
    TooLarge,
    /// Empty or cut off.
    #[error("the file ends too early (line {line}): it was cut off; get the bundle again from who made it")]
    CutOff {
        /// Where it ends.
        line: usize,
    },
    /// Not JSON, or not these fields.
    #[error("the file is not an evidence bundle: {0}")]
    Json(serde_json::Error),
    /// Another format, or another version of it.
    #[error("the file is not in format {MEDIA_TYPE}; a newer fairx may read it")]
    Format,
    /// A field does not have its one form.
    #[error("field {0} is too long, too many, or not in its one form: the file was altered")]
    Field(&'static str),
    /// An escrow in it is malformed.
    #[error("{place}: {source}")]
    Escrow {
        /// Where in the file.
        place: &'static str,
        /// What is wrong.
        source: EscrowError,
    },
    /// A statement in it is malformed.
    #[error("{place}: {source}")]
    Statement {
        /// Where in the file.
        place: &'static str,
        /// What is wrong.
        source: Invalid,
    },
    /// The file system.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl From<Unread> for BundleError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Field(place) => Self::Field(place),
            Unread::Escrow(place, source) => Self::Escrow { place, source },
            Unread::Statement(place, source) => Self::Statement { place, source },
        }
    }
}

/// How the exchange ended, as the statements in a bundle show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Claim {
    /// The arbiter's abort token.
    Aborted,
    /// The arbiter's affidavit of what it had.
    Affidavit,
    /// Both transfers, with every detached signature that they announce; no verdict.
    Completed,
    /// Neither a verdict nor everything that was to change hands: the exchange is under way, or nothing came of it.
    Open,
    /// The arbiter's verdict replaces what was withheld.
    Resolved,
    /// The arbiter's verdict returns money that was held.
    Revoked,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aborted => "aborted",
            Self::Affidavit => "affidavit",
            Self::Completed => "completed",
            Self::Open => "open",
            Self::Resolved => "resolved",
            Self::Revoked => "revoked",
        })
    }
}

/// The statements of one exchange that one party holds. Nothing in it was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// What the file says about the outcome.
    pub outcome: Claim,
    /// The file's words for people; not authenticated.
    pub summary: Vec<String>,
    /// The originator's offer.
    pub offer: Envelope,
    /// The responder's acceptance.
    pub acceptance: Option<Envelope>,
    /// The originator's transfer.
    pub originator_transfer: Option<Envelope>,
    /// The responder's transfer.
    pub responder_transfer: Option<Envelope>,
    /// The pledges: signatures in escrow, which show nothing of what is in them, and reservations, by whose item it is.
    pub escrows: Escrows,
    /// The detached signatures, by signer: exactly as a file of them has them.
    pub signatures: ByRole<Option<Vec<u8>>>,
    /// The ledgers' newest receipts, by who pays.
    pub payments: ByRole<Vec<Envelope>>,
    /// What the arbiter said: an attestation, then a verdict, as far as there are.
    pub receipts: Vec<BundledReceipt>,
}

impl Bundle {
    /// A bundle of these statements; the claim is what they show, the summary is `fairx explain`'s.
    pub fn new(
        offer: Envelope,
        acceptance: Option<Envelope>,
        transfers: [Option<Envelope>; 2],
        receipts: Vec<Receipt>,
    ) -> Self {
        let receipts = receipts.into_iter().map(BundledReceipt::from).collect();
        Self::made(offer, acceptance, transfers, receipts)
    }

    fn made(
        offer: Envelope,
        acceptance: Option<Envelope>,
        transfers: [Option<Envelope>; 2],
        receipts: Vec<BundledReceipt>,
    ) -> Self {
        let [originator_transfer, responder_transfer] = transfers;
        let bundle = Self {
            outcome: Claim::Open,
            summary: Vec::new(),
            offer,
            acceptance,
            originator_transfer,
            responder_transfer,
            escrows: Escrows::default(),
            signatures: ByRole::default(),
            payments: ByRole::default(),
            receipts,
        };
        bundle.told()
    }

    /// With the ledgers' receipts for payments.
    #[must_use]
    pub fn with_payments(self, payments: ByRole<Vec<Envelope>>) -> Self {
        Self { payments, ..self }.told()
    }

    /// With the signatures in escrow, and the detached signatures themselves. Signatures that must not be shown yet
    /// are left out.
    #[must_use]
    pub fn with_signatures(self, escrows: Escrows, signatures: ByRole<Option<Vec<u8>>>) -> Self {
        let mut bundle = Self { escrows, signatures, ..self };
        if !bundle.may_show_signatures() {
            bundle.signatures = ByRole::default();
        }
        bundle.told()
    }

    /// With the claim that the statements show, and the summary that goes with it.
    fn told(mut self) -> Self {
        self.outcome = self.shown();
        self.summary = crate::explain::summary(&self);
        self
    }

    /// Whether the exchange is one whose detached signatures may be shown.
    pub(crate) fn may_show_signatures(&self) -> bool {
        matches!(self.shown(), Claim::Completed | Claim::Resolved)
    }

    /// Everything that a party holds of an exchange.
    pub fn of(evidence: &crate::outcome::Evidence) -> Self {
        let envelope = |transfer: &Verified<Transfer>| transfer.envelope().clone();
        let own = evidence.own_transfer.as_ref().map(envelope);
        let peer = evidence.peer_transfer.as_ref().map(envelope);
        let transfers = match evidence.role {
            Role::Originator => [own, peer],
            Role::Responder => [peer, own],
        };
        // A repeated question is answered by a second receipt for the same statement: one is enough.
        let newest = |verdict: bool| {
            let fits = |receipt: &&BundledReceipt| receipt.statement.holds::<Verdict>() == verdict;
            evidence.receipts.iter().rev().find(fits).cloned()
        };
        Self::made(
            evidence.offer.envelope().clone(),
            evidence.acceptance.as_ref().map(|acceptance| acceptance.envelope().clone()),
            transfers,
            [newest(false), newest(true)].into_iter().flatten().collect(),
        )
        .with_payments(evidence.payments.map(|_, all| all.iter().map(|it| it.envelope().clone()).collect()))
        .with_signatures(evidence.escrows.clone(), evidence.signatures.clone())
    }

    /// The transfer by the party in a role.
    pub const fn transfer(&self, sender: Role) -> Option<&Envelope> {
        match sender {
            Role::Originator => self.originator_transfer.as_ref(),
            Role::Responder => self.responder_transfer.as_ref(),
        }
    }

    /// The receipt for a verdict.
    pub fn verdict(&self) -> Option<&BundledReceipt> {
        self.receipts.iter().find(|receipt| receipt.statement.holds::<Verdict>())
    }

    /// The outcome that the statements show, if all of them are genuine.
    pub fn shown(&self) -> Claim {
        let verdict =
            self.verdict().and_then(|receipt| Signed::<Verdict>::parse(receipt.statement.clone()).ok());
        let ruling = verdict.as_ref().map(|verdict| &verdict.unverified().ruling);
        match ruling {
            Some(Ruling::Aborted) => Claim::Aborted,
            Some(Ruling::Affidavit(_)) => Claim::Affidavit,
            Some(Ruling::Replaced(_)) => Claim::Resolved,
            Some(Ruling::Revoked(_)) => Claim::Revoked,
            None if self.has_everything() => Claim::Completed,
            None => Claim::Open,
        }
    }

    /// Whether all that was to be given is here: the transfers, and the detached signatures and receipts that follow them.
    fn has_everything(&self) -> bool {
        let Ok(offer) = Signed::<Offer>::parse(self.offer.clone()) else { return false };
        Role::BOTH.into_iter().all(|role| match &offer.unverified().item(role).description {
            signed if !signed.detached_leaves().is_empty() => {
                self.transfer(role).is_some() && self.signatures.of(role).is_some()
            }
            Description::Nothing => true,
            paid => self.transfer(role).is_some() && self.payments.of(role).len() == paid.payments().len(),
        })
    }

    /// Reads the JSON form.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        let file: File = from_json(bytes)?;
        if file.format != MEDIA_TYPE {
            return Err(BundleError::Format);
        }
        if file.note != NOTE {
            return Err(BundleError::Field("note"));
        }
        if file.summary.iter().map(String::len).sum::<usize>() > SUMMARY_BYTES {
            return Err(BundleError::Field("summary"));
        }
        if file.receipts.len() > RECEIPTS {
            return Err(BundleError::Field("receipts"));
        }
        let transfers = file.transfers.read(["transfers.originator", "transfers.responder"], envelope)?;
        Ok(Self {
            outcome: file.outcome,
            summary: file.summary,
            offer: envelope(&file.offer, "offer")?,
            acceptance: optional(file.acceptance.as_deref(), "acceptance")?,
            originator_transfer: transfers.originator,
            responder_transfer: transfers.responder,
            escrows: file.escrows.read(["escrows.originator", "escrows.responder"], pledge)?,
            signatures: file.signatures.read(["signatures.originator", "signatures.responder"], signature)?,
            payments: file
                .payments
                .read(["payments.originator", "payments.responder"], receipts)?
                .map(|_, it| it.clone().unwrap_or_default()),
            receipts: file.receipts.into_iter().map(BundledReceipt::try_from).collect::<Result<_, _>>()?,
        })
    }

    /// The JSON form.
    pub fn to_json(&self) -> Vec<u8> {
        let file = File {
            format: MEDIA_TYPE.to_owned(),
            note: NOTE.to_owned(),
            outcome: self.outcome,
            summary: self.summary.clone(),
            offer: text(&self.offer),
            acceptance: self.acceptance.as_ref().map(text),
            transfers: Pair::of(ByRole {
                originator: self.originator_transfer.as_ref().map(text),
                responder: self.responder_transfer.as_ref().map(text),
            }),
            escrows: Pair::pledges(&self.escrows),
            signatures: Pair::of(
                self.signatures.map(|_, bytes| bytes.as_ref().map(|it| STANDARD.encode(it))),
            ),
            payments: Pair::receipts(&self.payments),
            receipts: self.receipts.iter().map(ReceiptFile::from).collect(),
        };
        json(&file)
    }

    /// Reads a bundle file, never more than [`BUNDLE_BYTES`] of it.
    pub fn read(path: &Path) -> Result<Self, BundleError> {
        Self::parse(&read_file(path)?)
    }

    /// Writes the bundle: after a crash there is the old file or the new one, never half of one.
    pub fn write(&self, path: &Path) -> Result<(), BundleError> {
        let io = |source| BundleError::Io { path: path.to_owned(), source };
        durable::replace(path, &self.to_json(), 0o666).map_err(io)
    }
}

/// A file of evidence of whatever kind, never more than [`BUNDLE_BYTES`] and one byte of it.
pub fn read_file(path: &Path) -> Result<Vec<u8>, BundleError> {
    let io = |source| BundleError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let limit = u64::try_from(BUNDLE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path).map_err(io)?.take(limit).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// The `format` that a file of evidence names, whatever else is in it.
pub fn format_of(bytes: &[u8]) -> Result<String, BundleError> {
    #[derive(Deserialize)]
    struct Named {
        format: String,
    }
    from_json(bytes).map(|it: Named| it.format)
}

/// Reads JSON of bounded size, and says what is wrong with it.
pub(crate) fn from_json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, BundleError> {
    if bytes.len() > BUNDLE_BYTES {
        return Err(BundleError::TooLarge);
    }
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Eof => BundleError::CutOff { line: error.line() },
        _ => BundleError::Json(error),
    })
}

/// Writes JSON as people can read it.
pub(crate) fn json(file: &impl Serialize) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(file).expect("invariant: strings and lists always serialize");
    json.push(b'\n');
    json
}

/// The JSON form. Field order is the order in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    note: String,
    outcome: Claim,
    summary: Vec<String>,
    offer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acceptance: Option<String>,
    transfers: Pair,
    #[serde(default, skip_serializing_if = "Pair::is_empty")]
    escrows: Pair,
    #[serde(default, skip_serializing_if = "Pair::is_empty")]
    signatures: Pair,
    #[serde(default, skip_serializing_if = "Pair::is_empty")]
    payments: Pair,
    receipts: Vec<ReceiptFile>,
}

fn signature(text: &str, place: &'static str) -> Result<Vec<u8>, Unread> {
    decoded(text, SIGNATURE_BYTES, place)
}

/// The most that the signatures of a package have.
const SIGNATURE_BYTES: usize = limits::PACKAGE_LEAVES * (limits::FRAME_BYTES + limits::MODULUS_BYTES);

/// Offer, acceptance, two transfers, two receipts of payments; two escrows, two signatures; receipts, summary and the
/// punctuation of JSON.
const _: () = assert!(
    6 * base64_bytes(limits::ENVELOPE_BYTES)
        + 2 * base64_bytes(limits::ESCROW_BYTES)
        + 2 * base64_bytes(SIGNATURE_BYTES)
        + RECEIPTS * receipt::RECEIPT_BYTES
        + SUMMARY_BYTES
        + 16 * 1024
        < BUNDLE_BYTES
);
