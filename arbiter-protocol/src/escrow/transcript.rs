//! The one hash function of the scheme and what is drawn from it.
//!
//! ```text
//!   H(tag; p1, …, pk) = SHA-512( len8(D) ‖ D ‖ len64(p1) ‖ p1 ‖ … ‖ len64(pk) ‖ pk ),  D = "arbiter-escrow-v1/" ‖ tag
//! ```
//!
//! Every use has its own tag and every part its length, so no two different inputs hash the same bytes.

use curve25519_dalek::scalar::Scalar;
use sha2::{Digest as _, Sha512};
use zeroize::Zeroizing;

use super::suite::Suite;

/// One run of H.
pub(super) struct Hash(Sha512);

impl Hash {
    pub(super) fn new(tag: &str) -> Self {
        let mut hash = Sha512::new();
        let domain = "arbiter-escrow-v1/";
        let length = u8::try_from(domain.len() + tag.len()).unwrap_or(u8::MAX);
        hash.update([length]);
        hash.update(domain);
        hash.update(tag);
        Self(hash)
    }

    pub(super) fn part(mut self, bytes: &[u8]) -> Self {
        self.0.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// A part that is a number: 4 bytes, big endian.
    pub(super) fn number(self, value: u32) -> Self {
        self.part(&value.to_be_bytes())
    }

    /// All 64 bytes. The caller's buffer wipes itself: most results are secret.
    pub(super) fn wide(self) -> Zeroizing<[u8; 64]> {
        let mut out = Zeroizing::new([0; 64]);
        self.0.finalize_into((&mut *out).into());
        out
    }

    /// The first `LEN` bytes, at most 64.
    pub(super) fn short<const LEN: usize>(self) -> Zeroizing<[u8; LEN]> {
        let wide = self.wide();
        let mut out = Zeroizing::new([0; LEN]);
        for (to, from) in out.iter_mut().zip(wide.iter()) {
            *to = *from;
        }
        out
    }

    /// A scalar modulo ℓ whose distance from uniform is below 2^-250.
    pub(super) fn scalar(self) -> Zeroizing<Scalar> {
        Zeroizing::new(Scalar::from_bytes_mod_order_wide(&self.wide()))
    }
}

/// The challenge, of which the hidden set is a function.
pub(super) fn challenge<'a>(session: &[u8; 32], instances: impl Iterator<Item = &'a [u8; 64]>) -> [u8; 32] {
    let hash = instances.fold(Hash::new("challenge").part(session), |hash, digest| hash.part(digest));
    *hash.short()
}

/// The n indices out of 0..N that stay hidden, ascending: every subset is equally likely.
///
/// Two bytes at a time from H("subset"; challenge, 0), H("subset"; challenge, 1), …: values of at least the
/// largest multiple of N are thrown away, then indices that are already in the set.
pub(super) fn hidden_set(challenge: &[u8; 32], suite: Suite) -> Vec<u16> {
    let limit = u16::MAX - u16::MAX % suite.total();
    let mut hidden = Vec::with_capacity(suite.hidden().into());
    for block in 0..u32::MAX {
        let bytes = Hash::new("subset").part(challenge).number(block).wide();
        for pair in bytes.as_chunks::<2>().0 {
            let value = u16::from_be_bytes(*pair);
            let index = value % suite.total();
            if value >= limit || hidden.contains(&index) {
                continue;
            }
            hidden.push(index);
            if hidden.len() == usize::from(suite.hidden()) {
                hidden.sort_unstable();
                return hidden;
            }
        }
    }
    hidden
}
