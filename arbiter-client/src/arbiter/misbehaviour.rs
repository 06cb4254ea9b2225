//! Proof that an arbiter did what an honest one never does (F13, F14, scenario S38).

use std::fmt;

use arbiter_protocol::ids::{Digest, ExchangeId, PublicKey};
use arbiter_protocol::ruling::receipt::Receipt;

/// An offence with the signed statements that show it. Kept in the journal for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misbehaviour {
    /// The arbiter's key.
    pub arbiter: PublicKey,
    /// The exchange in which it was noticed.
    pub exchange_id: ExchangeId,
    /// Digest of the request that was answered.
    pub request: Digest,
    /// What it did.
    pub offence: Offence,
    /// The receipts that show it, the earlier one first.
    pub receipts: Vec<Receipt>,
    /// Signed checkpoints that show it, the earlier one first.
    pub checkpoints: Vec<String>,
}

/// What the arbiter did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Offence {
    /// Two checkpoints of its log for which no consistency proof holds. If their sizes are equal, the two
    /// alone convict it; else it can clear itself by a proof that holds.
    InconsistentLog,
    /// Two verdicts on one exchange, both signed.
    TwoVerdicts,
    /// An answer that does not verify; the text says which check failed.
    Unproven(String),
}

impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.offence {
            Offence::InconsistentLog => f.write_str("its log was rewritten: two checkpoints do not agree"),
            Offence::TwoVerdicts => f.write_str("it signed two verdicts on one exchange"),
            Offence::Unproven(why) => write!(f, "its answer does not verify: {why}"),
        }
    }
}
