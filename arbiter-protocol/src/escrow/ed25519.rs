//! Ed25519: V = R + cA with c = SHA-512(R ‖ A ‖ M) mod ℓ, ψ(s) = s·B, and s completes the signature R ‖ s.
//!
//! A and R must be canonical and free of torsion. Then V is in the subgroup of order ℓ, s is the only number below
//! ℓ with s·B = V, and verifiers with and without the cofactor agree about it (K23, "Taming the many EdDSAs").
//! c is computed here from the exact bytes and the key that the caller expects, never from a sender's key (K22).

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity as _;
use sha2::{Digest as _, Sha512};
use zeroize::{Zeroize as _, Zeroizing};

use super::error::{EscrowError, PointFault};
use super::proof::Homomorphism;
use super::transcript::Hash;
use super::tree::Seed;
use crate::ids::PublicKey;

/// Which key signs which message.
#[derive(Clone, Copy)]
pub(super) struct Ed25519<'a> {
    pub(super) key: [u8; 32],
    pub(super) message: &'a [u8],
    point: EdwardsPoint,
}

impl<'a> Ed25519<'a> {
    pub(super) fn new(key: [u8; 32], message: &'a [u8]) -> Result<Self, EscrowError> {
        let point = prime_order(&key).map_err(EscrowError::Key)?;
        Ok(Self { key, message, point })
    }

    /// The statement that belongs to a nonce point.
    pub(super) fn with_nonce(self, nonce: [u8; 32]) -> Result<Opening<'a>, EscrowError> {
        let hash = Sha512::new().chain_update(nonce).chain_update(self.key).chain_update(self.message);
        self.with_challenge(nonce, &Scalar::from_bytes_mod_order_wide(&hash.finalize().into()))
    }

    /// The same for a c of the caller's choice: V = 0 takes R = -cA, which nobody can find while c is a hash of R.
    pub(super) fn with_challenge(self, nonce: [u8; 32], c: &Scalar) -> Result<Opening<'a>, EscrowError> {
        let point = prime_order(&nonce).map_err(EscrowError::Nonce)?;
        let target = point + self.point * c;
        if target.is_identity() {
            return Err(EscrowError::Trivial);
        }
        Ok(Opening { statement: self, nonce, target })
    }

    /// R and s of a finished signature, when it is one.
    pub(super) fn split(&self, signature: &[u8]) -> Option<([u8; 32], Secret)> {
        let bytes: &[u8; 64] = signature.try_into().ok()?;
        let (nonce, s) = bytes.split_first_chunk::<32>()?;
        if !crate::crypto::verify(&PublicKey::from_bytes(self.key), self.message, bytes) {
            return None;
        }
        let mut s = Zeroizing::new(<[u8; 32]>::try_from(s).ok()?);
        let scalar = Option::from(Scalar::from_canonical_bytes(*s)).map(Zeroizing::new);
        s.zeroize();
        Some((*nonce, scalar?))
    }
}

/// A point in canonical form without torsion, not the neutral element.
fn prime_order(bytes: &[u8; 32]) -> Result<EdwardsPoint, PointFault> {
    let point = CompressedEdwardsY(*bytes).decompress().ok_or(PointFault::Encoding)?;
    if point.compress().as_bytes() != bytes {
        return Err(PointFault::Encoding);
    }
    if point.is_small_order() {
        return Err(PointFault::SmallOrder);
    }
    if point.is_torsion_free() { Ok(point) } else { Err(PointFault::Torsion) }
}

/// A scalar that wipes itself.
pub(super) type Secret = Zeroizing<Scalar>;

/// The statement V of one signature.
pub(super) struct Opening<'a> {
    statement: Ed25519<'a>,
    nonce: [u8; 32],
    target: EdwardsPoint,
}

impl Homomorphism for Opening<'_> {
    type Element = Secret;
    /// V.
    type Divisor = EdwardsPoint;

    fn statement(&self) -> Vec<u8> {
        self.target.compress().to_bytes().to_vec()
    }

    fn mask(&self, session: &[u8; 32], index: u16, seed: &Seed) -> Secret {
        Hash::new("mask").part(session).number(index.into()).part(&**seed).scalar()
    }

    fn images(&self, masks: &[Secret]) -> Vec<Vec<u8>> {
        let points: Vec<_> = masks.iter().map(|mask| EdwardsPoint::mul_base(mask)).collect();
        encode(&points)
    }

    fn blind<'a>(&self, masks: impl Iterator<Item = &'a Secret>, witness: &Secret) -> Vec<Vec<u8>>
    where
        Self: 'a,
    {
        masks.map(|mask| (**mask + **witness).to_bytes().to_vec()).collect()
    }

    fn encode(&self, witness: &Secret) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(witness.as_bytes().to_vec())
    }

    fn response(&self, bytes: &[u8]) -> Option<Secret> {
        Option::from(Scalar::from_canonical_bytes(bytes.try_into().ok()?)).map(Zeroizing::new)
    }

    fn divisor(&self, _: &[Secret]) -> Result<EdwardsPoint, EscrowError> {
        Ok(self.target)
    }

    fn hidden_images(&self, responses: &[Secret], divisor: &EdwardsPoint) -> Vec<Vec<u8>> {
        let points: Vec<_> = responses.iter().map(|z| EdwardsPoint::mul_base(z) - divisor).collect();
        encode(&points)
    }

    fn finish(&self, response: &Secret, mask: &Secret) -> Option<Zeroizing<Vec<u8>>> {
        let s = Zeroizing::new(**response - **mask);
        let mut signature = Zeroizing::new([0; 64]);
        for (to, from) in signature.iter_mut().zip(self.nonce.iter().chain(s.as_bytes())) {
            *to = *from;
        }
        let key = PublicKey::from_bytes(self.statement.key);
        let valid = EdwardsPoint::mul_base(&s) == self.target
            && crate::crypto::verify(&key, self.statement.message, &signature);
        valid.then(|| Zeroizing::new(signature.to_vec()))
    }
}

fn encode(points: &[EdwardsPoint]) -> Vec<Vec<u8>> {
    EdwardsPoint::compress_batch_alloc(points).iter().map(|it| it.as_bytes().to_vec()).collect()
}
