//! Finds two signatures with one nonce (S29).
//!
//! Ed25519 signatures on different messages with the same R give s1 - s2 = (c1 - c2)·a: whoever holds both knows the
//! signer's key. An honest signer never makes them, so a party that sees the second one must refuse it.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha512};

use super::Verified;
use super::ed25519::Ed25519;
use super::error::EscrowError;
use super::statement::{Kind, Statement};

/// One use of a nonce: for which message a key used it. For registers that must be durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonceUse {
    key: [u8; 32],
    nonce: [u8; 32],
    message: [u8; 64],
}

impl NonceUse {
    /// The use that a finished signature makes: none if it is RSA, or not valid for the statement.
    pub fn of(signature: &[u8], statement: &Statement<'_>) -> Option<Self> {
        match statement.kind() {
            Kind::Ed25519(it) => it.split(signature).map(|(nonce, _)| Self::new(it, nonce)),
            Kind::Rsa(_) => None,
        }
    }

    pub(super) fn new(statement: &Ed25519<'_>, nonce: [u8; 32]) -> Self {
        Self { key: statement.key, nonce, message: Sha512::digest(statement.message).into() }
    }

    /// Key and nonce point: what must never be seen with two messages.
    pub fn place(&self) -> [u8; 64] {
        let mut place = [0; 64];
        place.iter_mut().zip(self.key.iter().chain(&self.nonce)).for_each(|(to, from)| *to = *from);
        place
    }

    /// SHA-512 of the message.
    pub const fn message(&self) -> &[u8; 64] {
        &self.message
    }
}

impl Verified {
    /// Which nonce the signature in it uses: none if it is RSA.
    pub const fn nonce_use(&self) -> Option<&NonceUse> {
        self.nonce.as_ref()
    }

    /// Whether both escrows hold signatures by one key with one nonce on different messages.
    pub fn reuses_nonce_of(&self, other: &Self) -> bool {
        match (&self.nonce, &other.nonce) {
            (Some(a), Some(b)) => a.key == b.key && a.nonce == b.nonce && a.message != b.message,
            _ => false,
        }
    }
}

/// Remembers nonces, to refuse a second use. RSA escrows have none and always pass.
#[derive(Clone, Debug, Default)]
pub struct NonceRegister(BTreeMap<([u8; 32], [u8; 32]), [u8; 64]>);

impl NonceRegister {
    /// Takes note of an escrow. The same message again is no reuse: a signature may be escrowed twice.
    pub fn observe(&mut self, verified: &Verified) -> Result<(), EscrowError> {
        let Some(NonceUse { key, nonce, message }) = &verified.nonce else { return Ok(()) };
        let known = self.0.entry((*key, *nonce)).or_insert(*message);
        if known == message { Ok(()) } else { Err(EscrowError::NonceReused) }
    }
}
