//! What verification found, for people and as JSON.
//!
//! The JSON has `format` [`FORMAT`]. Fields and values may be added to it; what is there keeps its name and meaning.

use serde::Serialize;

use crate::bundle::Claim;

/// The `format` of a report.
pub const FORMAT: &str = "arbiter/verification-report/v1";

/// What all checks together say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// A check failed: do not rely on it.
    Bad,
    /// Every check passed.
    Good,
    /// Nothing is wrong, but the caller asked for more than is there: cosignatures or a time-stamp are missing.
    Incomplete,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It failed: the bundle is bad.
    Failed,
    /// The caller asked for it, and what it needs is not in the bundle.
    Missing,
    /// It was made and passed.
    Passed,
    /// It could not be made, because what it needs failed.
    Skipped,
    /// What it would check is there, but the caller has not said whom to trust. It counts for nothing.
    Unchecked,
}

impl Status {
    /// Four characters for the beginning of a line.
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Failed => "BAD ",
            Self::Missing => "??  ",
            Self::Passed => "ok  ",
            Self::Skipped | Self::Unchecked => "--  ",
        }
    }
}

/// Whose clock a time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// The arbiter's own, as its leaf states it.
    Arbiter,
    /// That of a time-stamping authority (RFC 3161).
    Authority,
    /// That of a witness of the log.
    Witness,
}

/// A time that a statement rests on. Times of different clocks are never mixed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Time {
    /// What it is about: `attestation` or `verdict`, or the name of the event of a disclosed leaf.
    pub of: String,
    /// Whose clock.
    pub clock: Clock,
    /// Log origin, name of the witness in the policy, or subject of the authority's certificate.
    pub who: String,
    /// RFC 3339, UTC.
    pub time: String,
    /// How far it may be off by the word of who states it, in milliseconds; absent if not said.
    pub uncertainty_millis: Option<u64>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Stable name, e.g. `offer-signature`, `verdict-rule`.
    pub name: String,
    /// How it ended.
    pub status: Status,
    /// What was checked, or what is wrong.
    pub detail: String,
}

/// A detached signature that the agreement is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignatureReport {
    /// Whose signature: `originator` or `responder`.
    pub signer: String,
    /// Kind of key and way of signing.
    pub algorithm: String,
    /// SHA-256 of the public key in its standard encoding (SPKI, DER).
    pub key_sha256: String,
    /// Whom the certificate names, if one is shown; its issuer was not checked.
    pub certificate_subject: Option<String>,
    /// Whether it was sealed so that the arbiter could open it, and the whole proof of that passed.
    pub sealed: bool,
    /// SHA-256 of the signature file, if the signature is in the bundle and passed.
    pub signature_sha256: Option<String>,
    /// Whether a verdict in the bundle says that the arbiter opened it.
    pub opened: bool,
}

/// A payment that the agreement is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PaymentReport {
    /// Who pays: `originator` or `responder`.
    pub payer: String,
    /// How much, e.g. `12.34 EUR`.
    pub amount: String,
    /// The key of the ledger.
    pub ledger: String,
    /// The account that pays.
    pub from_account: String,
    /// The account that is paid.
    pub to_account: String,
    /// How it stands by the receipt in the bundle: `absent`, `reserved`, `posted` or `voided`; absent without one.
    pub state: Option<String>,
    /// The entry in the ledger's book.
    pub entry: Option<u64>,
}

/// Everything that verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: &'static str,
    /// What all checks together say.
    pub finding: Finding,
    /// Whether it is [`Finding::Good`].
    pub good: bool,
    /// The exchange, 64 hex digits; absent if not even the offer could be read.
    pub exchange_id: Option<String>,
    /// The exchange's fingerprint, as both parties saw it on their screens.
    pub fingerprint: Option<String>,
    /// The outcome shown by verified statements; absent in a bad bundle.
    pub outcome: Option<Claim>,
    /// Whether the arbiter was pinned by the caller.
    pub arbiter_pinned: bool,
    /// The detached signatures that the agreement is about; empty in a bundle that could not be read so far.
    pub signatures: Vec<SignatureReport>,
    /// The payments that the agreement is about; empty in a bundle that could not be read so far.
    pub payments: Vec<PaymentReport>,
    /// The version of the rules that was applied again to the evidence of each ruling, and gave the same; absent without
    /// a ruling that is proven.
    pub rules_applied: Option<String>,
    /// When things happened, by whose clock: only what was checked.
    pub times: Vec<Time>,
    /// The checks in the order made.
    pub checks: Vec<Check>,
    /// What a good bundle proves; empty in a bad one.
    pub proves: Vec<String>,
    /// What no bundle, or not this one, proves.
    pub does_not_prove: Vec<String>,
    /// What the reader must know before relying on it.
    pub warnings: Vec<String>,
}
