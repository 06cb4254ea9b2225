//! What the client reads back from files of its own or of an operator, and shows nobody: doors for fuzz targets. Each takes any bytes,
//! and returns them as they are written again; `None` if they are refused.

use crate::journal::record::{Record, decode_misbehaviour, encode_misbehaviour};

/// An exchange in the journal.
pub fn journal_exchange(bytes: &[u8]) -> Option<Vec<u8>> {
    Record::decode(bytes).ok().map(|it| it.encode().to_vec())
}

/// A proof against an arbiter in the journal.
pub fn journal_misbehaviour(bytes: &[u8]) -> Option<Vec<u8>> {
    decode_misbehaviour(bytes).ok().map(|it| encode_misbehaviour(&it))
}

/// Openings as `arbiter open --field` writes them: how many fields are opened.
#[cfg(feature = "audit")]
pub fn openings(bytes: &[u8]) -> Option<usize> {
    let leaves = crate::audit::openings::parse(bytes).ok()?;
    Some(leaves.iter().map(|it| it.openings.len()).sum())
}
