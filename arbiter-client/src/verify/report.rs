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
    /// The checks in the order made.
    pub checks: Vec<Check>,
    /// What a good bundle proves; empty in a bad one.
    pub proves: Vec<String>,
    /// What no bundle, or not this one, proves.
    pub does_not_prove: Vec<String>,
    /// What the reader must know before relying on it.
    pub warnings: Vec<String>,
}
