//! Proof that an arbiter did what an honest one never does (F13, F14, scenario S38).

use std::fmt;

use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::ids::{Digest, ExchangeId, PublicKey};
use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::ruling::charge::Charge;
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::statement::Verified;

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
    /// What the arbiter gave as proof that the two checkpoints are one log, and is none.
    pub shown: Vec<Digest>,
}

impl Misbehaviour {
    /// What convicts the arbiter in the eyes of others, or makes it answer. `None`: the offence lies in something that the arbiter
    /// did not sign, such as a receipt that does not fit; who asked knows, and nobody else can.
    pub fn charge(&self, offer: &Verified<Offer>) -> Option<Charge> {
        if let [one, other] = self.receipts.as_slice() {
            let (proven, again) = (one.verify(offer, None).ok()?, other.verify(offer, None).ok()?);
            return Charge::of_receipts((one, &proven), (other, &again));
        }
        if let [one, other] = self.checkpoints.as_slice() {
            let key = VerifierKey::new(offer.arbiter.log_origin.as_str(), offer.arbiter.log_key).ok()?;
            let (one, other) =
                (SignedCheckpoint::verify(one, &key).ok()?, SignedCheckpoint::verify(other, &key).ok()?);
            let grew = one.checkpoint().size <= other.checkpoint().size;
            let (older, newer) = if grew { (&one, &other) } else { (&other, &one) };
            return Some(Charge::of_checkpoints(older, newer, self.shown.clone()));
        }
        self.receipts.iter().find_map(|receipt| Charge::of_receipt(receipt, offer))
    }
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
