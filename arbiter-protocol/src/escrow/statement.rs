//! What a signature in escrow must be: which key, which algorithm, which message.
//!
//! A party builds the statement from the agreement that it holds, never from what its peer sent along with the
//! escrow. The escrow itself carries only what the signature adds: the nonce point R, or the PSS salt.

use sha2::{Digest as _, Sha512};

use super::ed25519::Ed25519;
use super::emsa::{RsaHash, RsaPadding};
use super::encoding::PublicPart;
use super::error::EscrowError;
use super::rsa::Rsa;

/// The key, algorithm and message of the signature in escrow.
#[derive(Clone)]
pub struct Statement<'a>(Kind<'a>);

#[derive(Clone)]
pub(super) enum Kind<'a> {
    Ed25519(Ed25519<'a>),
    Rsa(Rsa<'a>),
}

impl<'a> Statement<'a> {
    /// Pure Ed25519 (RFC 8032, neither `ctx` nor `ph`). Refuses keys of small order or with torsion.
    pub fn ed25519(key: [u8; 32], message: &'a [u8]) -> Result<Self, EscrowError> {
        Ok(Self(Kind::Ed25519(Ed25519::new(key, message)?)))
    }

    /// RSA with a modulus of 2048 to 8192 bits and an odd exponent from 3 to 2^32 - 1, both big endian without
    /// leading zero bytes.
    pub fn rsa(
        modulus: &'a [u8],
        exponent: &[u8],
        padding: RsaPadding,
        hash: RsaHash,
        message: &[u8],
    ) -> Result<Self, EscrowError> {
        Ok(Self(Kind::Rsa(Rsa::new(modulus, exponent, padding, hash, message)?)))
    }

    /// Whether `signature` is a valid signature of this statement, by the strictest rules.
    pub fn is_signed_by(&self, signature: &[u8]) -> bool {
        match &self.0 {
            Kind::Ed25519(it) => it.split(signature).is_some(),
            Kind::Rsa(it) => it.split(signature).is_some(),
        }
    }

    pub(super) fn kind(&self) -> &Kind<'a> {
        &self.0
    }

    /// The one encoding of the statement with the public part of its signature, for the context hash.
    pub(super) fn encode(&self, public: &PublicPart) -> Vec<u8> {
        let mut out = Vec::new();
        match (&self.0, public) {
            (Kind::Ed25519(it), PublicPart::Ed25519 { nonce }) => {
                out.push(1);
                out.extend(it.key);
                out.extend(nonce);
                out.extend(Sha512::digest(it.message));
            }
            (Kind::Rsa(it), PublicPart::Rsa { salt, .. }) => {
                out.push(if it.padding == RsaPadding::Pkcs1 { 2 } else { 3 });
                out.push(it.hash.id());
                out.extend(u16::try_from(it.width()).unwrap_or(u16::MAX).to_be_bytes());
                out.extend(it.modulus);
                out.extend(it.exponent.to_be_bytes());
                out.extend(it.digest.iter().chain(salt));
            }
            // Callers have refused an escrow of another kind.
            _ => {}
        }
        out
    }
}
