//! How exact bytes stand in the JSON files of evidence: each value has one form, and its size is checked before any work.
//!
//! ```text
//!  bytes ─▶ base64, padded, no stray bits      digests, keys, salts ─▶ hex, lower case      by role ─▶ { originator?, responder? }
//! ```

use arbiter_protocol::error::Invalid;
use arbiter_protocol::escrow::EscrowError;
use arbiter_protocol::exchange::kind::package;
use arbiter_protocol::exchange::kind::pledge::{Malformed, Pledge};
use arbiter_protocol::exchange::selection::ByRole;
use arbiter_protocol::ids::Digest;
use arbiter_protocol::limits;
use arbiter_protocol::role::arbiter::Escrows;
use arbiter_protocol::statement::Envelope;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// What is wrong with a text, and where it stands. Each kind of file says it in its own words.
pub(crate) enum Unread {
    /// Too long, too many, or not in the one form.
    Field(&'static str),
    /// The bytes are no escrow.
    Escrow(&'static str, EscrowError),
    /// The bytes are no envelope.
    Statement(&'static str, Invalid),
}

/// One text for each party, as far as there is one.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pair {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    originator: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    responder: Option<String>,
}

impl Pair {
    pub(crate) fn of(texts: ByRole<Option<String>>) -> Self {
        Self { originator: texts.originator, responder: texts.responder }
    }

    /// Of envelopes.
    pub(crate) fn envelopes(envelopes: &ByRole<Option<Envelope>>) -> Self {
        Self::of(envelopes.map(|_, it| it.as_ref().map(text)))
    }

    /// Of the receipts of payments: of a package all of them, as its content has them (R-320).
    pub(crate) fn receipts(receipts: &ByRole<Vec<Envelope>>) -> Self {
        Self::of(receipts.map(|_, all| {
            let parts: Vec<_> = all.iter().map(Envelope::encode).collect();
            (!parts.is_empty()).then(|| STANDARD.encode(package::joined(&parts)))
        }))
    }

    /// Of pledges.
    pub(crate) fn pledges(pledges: &Escrows) -> Self {
        Self::of(pledges.map(|_, it| it.as_ref().map(|it| STANDARD.encode(it.to_bytes()))))
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.originator.is_none() && self.responder.is_none()
    }

    /// `places` name the originator's and the responder's text in errors.
    pub(crate) fn read<T>(
        &self,
        places: [&'static str; 2],
        read: impl Fn(&str, &'static str) -> Result<T, Unread>,
    ) -> Result<ByRole<Option<T>>, Unread> {
        let [originator, responder] = places;
        let one = |text: &Option<String>, place| text.as_deref().map(|text| read(text, place)).transpose();
        Ok(ByRole {
            originator: one(&self.originator, originator)?,
            responder: one(&self.responder, responder)?,
        })
    }
}

/// The text of an envelope.
pub(crate) fn text(envelope: &Envelope) -> String {
    STANDARD.encode(envelope.encode())
}

pub(crate) fn envelope(text: &str, place: &'static str) -> Result<Envelope, Unread> {
    let bytes = decoded(text, limits::ENVELOPE_BYTES, place)?;
    Envelope::decode(&bytes).map_err(|source| Unread::Statement(place, source))
}

/// A receipt for a payment has fewer bytes, so those of a whole package have fewer than one envelope may have.
const PAYMENT_RECEIPT_BYTES: usize = 2048;
const _: () =
    assert!(limits::PACKAGE_LEAVES * (limits::FRAME_BYTES + PAYMENT_RECEIPT_BYTES) < limits::ENVELOPE_BYTES);

/// Reads what [`Pair::receipts`] writes.
pub(crate) fn receipts(text: &str, place: &'static str) -> Result<Vec<Envelope>, Unread> {
    let bytes = decoded(text, limits::ENVELOPE_BYTES, place)?;
    // A length begins with zero; an envelope never does.
    let parts = if bytes.first() == Some(&0) { package::parts(&bytes) } else { Some(vec![bytes.as_slice()]) };
    let parts = parts.ok_or(Unread::Field(place))?;
    let read = |part| Envelope::decode(part).map_err(|source| Unread::Statement(place, source));
    parts.into_iter().map(read).collect()
}

pub(crate) fn optional(text: Option<&str>, place: &'static str) -> Result<Option<Envelope>, Unread> {
    text.map(|text| envelope(text, place)).transpose()
}

pub(crate) fn pledge(text: &str, place: &'static str) -> Result<Pledge, Unread> {
    let bytes = decoded(text, limits::ESCROW_BYTES, place)?;
    Pledge::from_bytes(&bytes).map_err(|malformed| match malformed {
        Malformed::Escrow(source) => Unread::Escrow(place, source),
        Malformed::Receipt(source) => Unread::Statement(place, source),
    })
}

/// At most `most` bytes, and no work for more.
pub(crate) fn decoded(text: &str, most: usize, place: &'static str) -> Result<Vec<u8>, Unread> {
    if text.len() > base64_bytes(most) {
        return Err(Unread::Field(place));
    }
    // The standard engine takes only the canonical form: padded, no stray bits.
    let bytes = STANDARD.decode(text).map_err(|_| Unread::Field(place))?;
    if bytes.len() > most { Err(Unread::Field(place)) } else { Ok(bytes) }
}

pub(crate) fn lower_hex<const N: usize>(text: &str, place: &'static str) -> Result<[u8; N], Unread> {
    let bytes: Option<[u8; N]> = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.filter(|bytes| hex::encode(bytes) == text).ok_or(Unread::Field(place))
}

/// At most `most` values of `N` bytes each.
pub(crate) fn hexes<const N: usize>(
    texts: &[String],
    most: usize,
    place: &'static str,
) -> Result<Vec<[u8; N]>, Unread> {
    if texts.len() > most {
        return Err(Unread::Field(place));
    }
    texts.iter().map(|text| lower_hex(text, place)).collect()
}

/// At most `most` digests.
pub(crate) fn hashes(texts: &[String], most: usize, place: &'static str) -> Result<Vec<Digest>, Unread> {
    Ok(hexes(texts, most, place)?.into_iter().map(Digest::from_bytes).collect())
}

/// Base64 of so many bytes.
pub(crate) const fn base64_bytes(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}
