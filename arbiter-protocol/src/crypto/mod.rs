//! Suite v1: Ed25519 (RFC 8032, strict), SHA-256, and HPKE for sealing.
//!
//! Keys enter here and nowhere else in this crate; no state machine holds one.

mod seal;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

pub use seal::{Opener, Sealer, SealingSecret};

use crate::error::Invalid;
use crate::ids::{PublicKey, SealingKey};

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
    // The sign bit of a point with x = 0 has two forms too; both such points are of small order.
    let point = VerifyingKey::from_bytes(key.as_bytes()).map_err(|_| weak)?;
    if point.is_weak() || !is_reduced(key.as_bytes()) { Err(weak) } else { Ok(()) }
}

/// Whether the low 255 bits, little endian, are less than the field's prime 2^255 - 19.
fn is_reduced(bytes: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = bytes;
    !(high & 0x7f == 0x7f && *low >= 0xed && middle.iter().all(|byte| *byte == 0xff))
}

/// Refuses an X25519 key to which nothing can be sealed: of small order, or not in canonical form.
///
/// Without this a responder could name a key to which neither peer nor arbiter can seal the first item.
pub fn check_sealing_key(key: &SealingKey, field: &'static str) -> Result<(), Invalid> {
    let bytes = key.as_bytes();
    let [.., high] = bytes;
    let canonical = *high <= 0x7f && is_reduced(bytes);
    if !canonical || SMALL_ORDER.contains(bytes) { Err(Invalid::WeakKey { field }) } else { Ok(()) }
}

/// The reduced u-coordinates of small order on Curve25519 and its twist (RFC 7748 section 7, cr.yp.to/ecdh.html).
const SMALL_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04,
        0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    /// every key to which sealing fails is refused when the offer is read, and so is every second form of a key.
    #[test]
    fn a_key_to_which_nothing_can_be_sealed_is_weak() {
        let no_seal = |key| Sealer::new(&key, b"", &Zeroizing::new([4; 32])).is_err();
        for bytes in SMALL_ORDER {
            let key = SealingKey::from_bytes(bytes);
            assert!(no_seal(key) && check_sealing_key(&key, "k").is_err(), "{key}");
            let mut high = bytes;
            high[31] |= 0x80;
            assert!(check_sealing_key(&SealingKey::from_bytes(high), "k").is_err(), "{key}");
        }
        for low in 0xe0..=0xff {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, 0x7f);
            let key = SealingKey::from_bytes(bytes);
            assert_eq!(check_sealing_key(&key, "k").is_err(), low >= 0xec, "{key}");
            assert!(!no_seal(key) || check_sealing_key(&key, "k").is_err());
        }
        for seed in 0..50 {
            let key = SealingSecret::from_seed(&Zeroizing::new([seed; 32])).public_key();
            assert_eq!(check_sealing_key(&key, "k"), Ok(()));
        }
    }

    /// R-104, S17, K23: all eight torsion points and the non-canonical forms of them.
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

    /// a point in a form that is not reduced is refused though it is no weak key; a large reduced one is not.
    #[test]
    fn a_key_has_one_form() {
        let forms = |high: u8, lows: std::ops::RangeInclusive<u8>| {
            let keys = lows.map(move |low| {
                let mut bytes = [0xff; 32];
                (bytes[0], bytes[31]) = (low, high);
                PublicKey::from_bytes(bytes)
            });
            keys.filter(|key| VerifyingKey::from_bytes(key.as_bytes()).is_ok_and(|point| !point.is_weak()))
        };
        for high in [0x7f, 0xff] {
            assert!(forms(high, 0xed..=0xff).count() > 0, "points that only this check refuses");
            assert!(forms(high, 0xed..=0xff).all(|key| check_key(&key, "k").is_err()));
            assert!(forms(high, 0xe0..=0xec).any(|key| check_key(&key, "k").is_ok()));
        }
        for high in [0x30, 0xb0] {
            assert!(forms(high, 0xed..=0xff).count() > 0);
            assert!(forms(high, 0xed..=0xff).all(|key| check_key(&key, "k").is_ok()));
        }
    }

    /// R-104, S17: a signature that only lax verifiers take (s + L) is refused.
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
