//! What verification found, for people and as JSON.

use serde::Serialize;

use crate::bundle::Claim;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It failed: the bundle is bad.
    Failed,
    /// It was made and passed.
    Passed,
    /// It could not be made, because what it needs failed.
    Skipped,
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
    /// Whether every check passed.
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
    /// The checks in the order made.
    pub checks: Vec<Check>,
    /// What a good bundle proves; empty in a bad one.
    pub proves: Vec<String>,
    /// What no bundle, or not this one, proves.
    pub does_not_prove: Vec<String>,
    /// What the reader must know before relying on it.
    pub warnings: Vec<String>,
}
