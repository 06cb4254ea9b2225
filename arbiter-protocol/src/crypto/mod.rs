//! Suite v1: Ed25519 (RFC 8032, strict), SHA-256, and HPKE for sealing.
//!
//! Keys enter here and nowhere else in this crate; no state machine holds one.

mod seal;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

pub use seal::{Opener, Sealer, SealingSecret};

use crate::error::Invalid;
use crate::ids::PublicKey;

/// Makes signatures without showing the key: a file today, a hardware module tomorrow.
pub trait Signer: Send + Sync {
    /// The public key of every signature.
    fn public_key(&self) -> PublicKey;
    /// An Ed25519 signature over `message`; deterministic (RFC 8032), 64 bytes.
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

/// An Ed25519 key in memory, wiped when dropped. It has no `Debug` and no `Clone`.
pub struct MemorySigner(SigningKey);

impl MemorySigner {
    /// Makes the key from its 32-byte seed.
    pub fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Self {
        Self(SigningKey::from_bytes(seed))
    }
}

impl Signer for MemorySigner {
    fn public_key(&self) -> PublicKey {
        PublicKey::from_bytes(self.0.verifying_key().to_bytes())
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

/// Strict verification: canonical scalar and points, no small-order key or nonce, no cofactor.
pub fn verify(key: &PublicKey, message: &[u8], signature: &[u8; 64]) -> bool {
    let Ok(key) = VerifyingKey::from_bytes(key.as_bytes()) else { return false };
    key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
}

/// Refuses a key that is no curve point, not in canonical form, or of small order (attack K23).
pub fn check_key(key: &PublicKey, field: &'static str) -> Result<(), Invalid> {
    let weak = Invalid::WeakKey { field };
    let point = VerifyingKey::from_bytes(key.as_bytes()).map_err(|_| weak)?;
    let canonical = point.to_edwards().compress().to_bytes() == *key.as_bytes();
    if point.is_weak() || !canonical { Err(weak) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attack K23: all eight torsion points and the non-canonical forms of them.
    #[test]
    fn small_order_and_non_canonical_keys_are_weak() {
        let torsion = [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        ];
        for hex in torsion {
            let key = PublicKey::parse_hex(hex, "k").unwrap();
            assert!(check_key(&key, "k").is_err(), "{hex}");
            assert!(!verify(&key, b"", &[0; 64]), "{hex}");
        }
        let good = MemorySigner::from_seed(&Zeroizing::new([7; 32])).public_key();
        assert_eq!(check_key(&good, "k"), Ok(()));
    }

    /// Scenario S17: a signature that only lax verifiers take (s + L) is refused.
    #[test]
    fn a_non_canonical_scalar_is_refused() {
        let signer = MemorySigner::from_seed(&Zeroizing::new([7; 32]));
        let good = signer.sign(b"message");
        assert!(verify(&signer.public_key(), b"message", &good));
        let order: [u8; 32] = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
            .unwrap()
            .try_into()
            .unwrap();
        let mut bad = good;
        let mut carry = 0u16;
        for i in 0..32 {
            let sum = u16::from(bad[32 + i]) + u16::from(order[i]) + carry;
            bad[32 + i] = u8::try_from(sum & 0xff).unwrap();
            carry = sum >> 8;
        }
        assert!(!verify(&signer.public_key(), b"message", &bad));
    }
}
