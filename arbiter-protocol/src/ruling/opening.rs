//! What the leaves of an exchange commit to, field by field, so that one can be shown without the rest (R-532).
//!
//! ```text
//!  arbiter: Record ──commitments──▶ Commitment { leaf, fields } ──open(name)──▶ Opening ──verify(leaf)──▶ a court
//!  party:   Receipt ──open(offer, name)───────────────────────────────────────▶
//! ```

use std::borrow::Cow;

use crate::error::Invalid;
use crate::evidence::leaf::Leaf;
use crate::evidence::record::{Opening, OpeningError, RecordField};
use crate::exchange::selection::ByRole;
use crate::ids::PublicKey;
use crate::ruling::receipt::{Evidence, Receipt, record_values};
use crate::ruling::sequencer::{Logged, Record};
use crate::statement::{Envelope, Payload, digest_of};

/// A leaf and the fields of the record that it commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitment<'a> {
    /// The leaf.
    pub leaf: Leaf,
    /// The fields in schema order.
    pub fields: Vec<RecordField<'a>>,
}

impl Commitment<'_> {
    /// Opens one field.
    pub fn open(&self, name: &str) -> Result<Opening, OpeningError> {
        Opening::new(self.leaf.index, &self.fields, name)
    }
}

/// Everything that the leaves of an exchange commit to, in the order of the leaves. A stored leaf that does not decode is the
/// error.
pub fn commitments(record: &Record) -> Result<Vec<Commitment<'static>>, Invalid> {
    let mut commitments = Vec::new();
    for (_, logged) in record.attestations.iter() {
        if let Some(logged) = logged {
            commitments.push(commitment(record, logged, ByRole::default())?);
        }
    }
    if let Some(logged) = &record.verdict {
        let relied_on = record.attestations.map(|_, it| {
            let deposit = it.as_ref().map(|it| &it.statement);
            let named = deposit.filter(|it| logged.statement.evidence.contains(&digest_of(*it)));
            named.map(unsigned)
        });
        commitments.push(commitment(record, logged, relied_on)?);
    }
    for answer in record.answers.iter().flat_map(|(_, answers)| answers) {
        let Some(key) = &record.key else { continue };
        let leaf = Leaf::decode(&answer.leaf)?;
        let value = Cow::Owned(answer.receipt.payload().to_vec());
        let fields = key.fields(&leaf.token, [("receipt", value)]);
        commitments.push(Commitment { leaf, fields });
    }
    commitments.sort_by_key(|it| it.leaf.index);
    Ok(commitments)
}

fn commitment<T: Payload>(
    record: &Record,
    logged: &Logged<T>,
    attestations: ByRole<Option<Envelope>>,
) -> Result<Commitment<'static>, Invalid> {
    let leaf = Leaf::decode(&logged.leaf)?;
    let evidence = Evidence {
        request: logged.request.clone(),
        acceptance: logged.acceptance.clone(),
        attestations,
        escrows: logged.escrows.clone(),
    };
    let statement = unsigned(&logged.statement);
    let values = record_values(&logged.offer, &evidence, &statement);
    let values = values.into_iter().map(|(name, value)| (name, Cow::Owned(value.into_owned())));
    let fields = record.key.as_ref().map(|key| key.fields(&leaf.token, values)).unwrap_or_default();
    Ok(Commitment { leaf, fields })
}

/// Only its payload means anything.
fn unsigned<T: Payload>(statement: &T) -> Envelope {
    Envelope::unsigned(statement, PublicKey::from_bytes([0; 32]))
}

impl Receipt {
    /// Opens one field of the record behind this receipt, which was verified against `offer`.
    pub fn open(&self, offer: &Envelope, name: &str) -> Result<Opening, OpeningError> {
        let leaf = Leaf::decode(&self.leaf).map_err(|_| OpeningError::Form)?;
        let values = record_values(offer, &self.evidence, &self.statement);
        let fields = values.into_iter().zip(&self.record_salts);
        let fields: Vec<_> =
            fields.map(|((name, value), salt)| RecordField { name, salt: *salt, value }).collect();
        Opening::new(leaf.index, &fields, name)
    }
}
