//! How many instances are made (`total`, N) and how many of them stay hidden (`hidden`, n).
//!
//! A cheat succeeds for one guess of the challenge in C(N, n); every suite has C(N, n) ≥ 2^128.

use super::emsa::RsaPadding;
use super::error::EscrowError;
use super::signature_key::{Kind, SignatureKey};

/// A named pair (N, n). The name is part of the label, so nobody can change it later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suite {
    id: u8,
    total: u16,
    hidden: u16,
}

impl Suite {
    /// 132 instances, 64 hidden: least work, largest escrow. C(132, 64) = 2^128.06.
    pub const FAST: Self = Self { id: 1, total: 132, hidden: 64 };
    /// 247 instances, 30 hidden. C(247, 30) = 2^128.09.
    pub const BALANCED: Self = Self { id: 2, total: 247, hidden: 30 };
    /// 711 instances, 20 hidden: smallest escrow, most work. C(711, 20) = 2^128.01.
    pub const COMPACT: Self = Self { id: 3, total: 711, hidden: 20 };
    /// Every suite, in the order of its number.
    pub const ALL: [Self; 3] = [Self::FAST, Self::BALANCED, Self::COMPACT];
    /// What a party uses that has no reason for another: see the measurements in `docs/escrow.md`.
    pub const DEFAULT: Self = Self::BALANCED;
    /// C(6, 3) = 20: only for the tests that must see cheats succeed.
    #[cfg(test)]
    pub(crate) const TOY: Self = Self { id: 255, total: 6, hidden: 3 };

    /// The suite of a number.
    pub fn from_id(id: u8) -> Result<Self, EscrowError> {
        #[cfg(test)]
        if id == Self::TOY.id {
            return Ok(Self::TOY);
        }
        Self::ALL.into_iter().find(|suite| suite.id == id).ok_or(EscrowError::UnknownSuite(id))
    }

    /// Its number in encodings.
    pub fn id(self) -> u8 {
        self.id
    }

    /// Instances made: N.
    pub fn total(self) -> u16 {
        self.total
    }

    /// Instances that stay hidden: n.
    pub fn hidden(self) -> u16 {
        self.hidden
    }

    /// The most bytes that an escrow of a signature by this key can have (section 11.6).
    pub fn most_bytes(self, key: &SignatureKey) -> usize {
        let (public, response) = match key.kind() {
            Kind::Ed25519(_) => (32, 32),
            // Two lengths, and a salt of any length that fits.
            Kind::Rsa { modulus, padding: RsaPadding::Pss, .. } => (4 + modulus.len(), modulus.len()),
            Kind::Rsa { modulus, padding: RsaPadding::Pkcs1, .. } => (4, modulus.len()),
        };
        let hidden = usize::from(self.hidden);
        // On each level of the tree a node of the cover stands beside one above a hidden leaf.
        let levels = usize::BITS - usize::from(2 * self.total - 1).leading_zeros() - 1;
        let nodes: usize = (0..levels).map(|level| hidden.min(1 << level)).sum();
        3 + public + 3 * 32 + 16 * nodes + hidden * (response + 32 + 16)
    }

    /// A short name: `132/64`.
    pub fn name(self) -> String {
        format!("{}/{}", self.total, self.hidden)
    }
}
