//! The public key of a signature that can be put into escrow, with its algorithm: an owned [`Statement`] without
//! the message.

use super::emsa::{RsaHash, RsaPadding};
use super::error::EscrowError;
use super::statement::Statement;
use crate::ids::PublicKey;

/// Which key makes a signature, and how. Only [`SignatureKey::ed25519`] and [`SignatureKey::rsa`] make one, so it is
/// always a key that [`Statement`] takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureKey(Kind);

/// The parts of a [`SignatureKey`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pure Ed25519 (RFC 8032).
    Ed25519(PublicKey),
    /// RSA (RFC 8017): PKCS#1 v1.5 or PSS.
    Rsa {
        /// 256 to 1024 bytes, big endian, no leading zero byte.
        modulus: Vec<u8>,
        /// Odd, from 3 to 2^32 - 1.
        exponent: u32,
        /// The padding.
        padding: RsaPadding,
        /// The hash of the message, and of the masks in PSS.
        hash: RsaHash,
    },
}

impl SignatureKey {
    /// An Ed25519 key. Refuses keys of small order or with torsion.
    pub fn ed25519(key: PublicKey) -> Result<Self, EscrowError> {
        Statement::ed25519(*key.as_bytes(), b"")?;
        Ok(Self(Kind::Ed25519(key)))
    }

    /// An RSA key: modulus of 2048 to 8192 bits, big endian without leading zero bytes; odd exponent of at least 3.
    pub fn rsa(
        modulus: Vec<u8>,
        exponent: u32,
        padding: RsaPadding,
        hash: RsaHash,
    ) -> Result<Self, EscrowError> {
        let kind = Kind::Rsa { modulus, exponent, padding, hash };
        statement(&kind, b"")?;
        Ok(Self(kind))
    }

    /// The parts.
    pub const fn kind(&self) -> &Kind {
        &self.0
    }

    /// Bytes of every signature by this key: 64, or as many as the modulus has.
    pub const fn signature_bytes(&self) -> usize {
        match &self.0 {
            Kind::Ed25519(_) => 64,
            Kind::Rsa { modulus, .. } => modulus.len(),
        }
    }

    /// The statement that this key signs `message`.
    pub fn statement<'a>(&'a self, message: &'a [u8]) -> Result<Statement<'a>, EscrowError> {
        statement(&self.0, message)
    }

    /// Whether `signature` is this key's on `message`. Strict: what passes here passes everywhere.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.statement(message).is_ok_and(|statement| statement.is_signed_by(signature))
    }
}

fn statement<'a>(kind: &'a Kind, message: &'a [u8]) -> Result<Statement<'a>, EscrowError> {
    match kind {
        Kind::Ed25519(key) => Statement::ed25519(*key.as_bytes(), message),
        Kind::Rsa { modulus, exponent, padding, hash } => {
            let exponent = exponent.to_be_bytes();
            let zeros = exponent.iter().take_while(|byte| **byte == 0).count();
            let exponent = exponent.get(zeros..).unwrap_or_default();
            Statement::rsa(modulus, exponent, *padding, *hash, message)
        }
    }
}
