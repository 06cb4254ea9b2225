//! Numbers and hashes as the text formats of C2SP write them: one form each.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::ids::Digest;

/// Reads a decimal number below 2^64 without sign and leading zeroes.
pub(super) fn decimal(text: &str) -> Option<u64> {
    // `parse` also takes `+8` and `08`.
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

/// Reads the canonical base64 of 32 bytes.
pub(super) fn hash(text: &str) -> Option<Digest> {
    Digest::parse(&STANDARD.decode(text).ok()?, "hash").ok()
}

/// Writes what [`hash`] reads.
pub(super) fn print_hash(hash: &Digest) -> String {
    STANDARD.encode(hash.as_bytes())
}

/// Writes a proof, a hash on each line.
pub(super) fn print_hashes(hashes: &[Digest]) -> String {
    hashes.iter().map(|hash| print_hash(hash) + "\n").collect()
}
