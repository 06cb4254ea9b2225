//! The arbiter's escrow key: an element of the Ristretto group (no cofactor, K23) with the epoch it is for.

use std::fmt;
use std::sync::{Arc, OnceLock};

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoBasepointTable, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity as _;
use zeroize::Zeroizing;

use super::error::EscrowError;
use super::transcript::Hash;

/// The public half: signatures are encrypted to it.
///
/// Keep it and its clones: the first escrow computes a table of its multiples, which the others share.
#[derive(Clone)]
pub struct EscrowKey {
    arbiter: [u8; 32],
    epoch: u64,
    bytes: [u8; 32],
    point: RistrettoPoint,
    table: Arc<OnceLock<RistrettoBasepointTable>>,
}

impl PartialEq for EscrowKey {
    fn eq(&self, other: &Self) -> bool {
        (self.arbiter, self.epoch, self.bytes) == (other.arbiter, other.epoch, other.bytes)
    }
}

impl Eq for EscrowKey {}

impl fmt::Debug for EscrowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arbiter, epoch, bytes, .. } = self;
        let (arbiter, bytes) = (hex::encode(arbiter), hex::encode(bytes));
        f.debug_struct("EscrowKey")
            .field("arbiter", &arbiter)
            .field("epoch", epoch)
            .field("bytes", &bytes)
            .finish()
    }
}

impl EscrowKey {
    /// Reads the key of an arbiter (its identity key) for an epoch. Refuses the identity and second encodings.
    pub fn from_bytes(arbiter: [u8; 32], epoch: u64, bytes: [u8; 32]) -> Result<Self, EscrowError> {
        let point = element(&bytes).ok_or(EscrowError::ArbiterKey)?;
        Ok(Self { arbiter, epoch, bytes, point, table: Arc::default() })
    }

    /// The encoding of the element.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The arbiter's identity key.
    pub fn arbiter(&self) -> &[u8; 32] {
        &self.arbiter
    }

    /// The epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Multiples of the key, for many multiplications by it.
    pub(super) fn table(&self) -> &RistrettoBasepointTable {
        self.table.get_or_init(|| RistrettoBasepointTable::create(&self.point))
    }
}

/// A canonical encoding of an element that is not the identity.
pub(super) fn element(bytes: &[u8; 32]) -> Option<RistrettoPoint> {
    CompressedRistretto(*bytes).decompress().filter(|point| !point.is_identity())
}

/// The secret half. It wipes itself and has no `Debug` and no `Clone`.
pub struct EscrowSecret {
    scalar: Zeroizing<Scalar>,
    public: EscrowKey,
}

impl EscrowSecret {
    /// Makes the key of an arbiter for an epoch from 32 secret bytes: d = H("arbiter-key"; seed, arbiter, epoch).
    ///
    /// Arbiter and epoch go into d, so one seed gives unrelated keys for different epochs.
    pub fn from_seed(seed: &Zeroizing<[u8; 32]>, arbiter: [u8; 32], epoch: u64) -> Result<Self, EscrowError> {
        let hash = Hash::new("arbiter-key").part(&**seed).part(&arbiter).part(&epoch.to_be_bytes());
        let scalar = hash.scalar();
        let bytes = RistrettoPoint::mul_base(&scalar).compress().to_bytes();
        Ok(Self { scalar, public: EscrowKey::from_bytes(arbiter, epoch, bytes)? })
    }

    /// The public half.
    pub fn public(&self) -> &EscrowKey {
        &self.public
    }

    /// d·E, in constant time.
    pub(super) fn agree(&self, point: &RistrettoPoint) -> Zeroizing<[u8; 32]> {
        Zeroizing::new((point * *self.scalar).compress().to_bytes())
    }
}
