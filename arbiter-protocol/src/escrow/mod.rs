//! Verifiable escrow: a finished standard signature, encrypted to an arbiter, with a proof of what is inside.
//!
//! ```text
//!   signer    make(signature, statement, label, arbiter key) ──▶ Escrow ──▶ peer
//!   peer      check(escrow, statement, label, arbiter key)   ──▶ Verified: an arbiter can give me the signature
//!   arbiter   open(escrow, statement, label, secret)         ──▶ the signature, byte for byte
//! ```
//!
//! The signature may come from any signer: a key file, a hardware token, OpenSSL. Nobody needs the signing key.
//! What the arbiter opens is the very signature that was escrowed, so nobody can tell that there was a dispute.
//!
//! Invariants:
//! - an escrow is valid for one label, one statement and one epoch of one arbiter's key, and has one encoding;
//! - a false escrow passes [`check`] with probability 2^-128 per attempt of a forger;
//! - all randomness is an argument, secrets wipe themselves, and work with them takes constant time.
//!
//! `SPEC.md` section 11 is the specification, with the security argument and what was not reviewed.

mod ed25519;
mod emsa;
mod encoding;
mod error;
mod key;
mod label;
mod nonce;
mod proof;
mod rsa;
pub mod signature_key;
mod statement;
mod suite;
mod transcript;
mod tree;

#[cfg(test)]
mod tests;

use zeroize::Zeroizing;

pub use emsa::{RsaHash, RsaPadding};
pub use encoding::Escrow;
pub use error::{EscrowError, PointFault};
pub use key::{EscrowKey, EscrowSecret};
pub use label::{Label, Side};
pub use nonce::{NonceRegister, NonceUse};
pub use signature_key::SignatureKey;
pub use statement::Statement;
pub use suite::Suite;

use encoding::PublicPart;
use proof::{Homomorphism, Session};
use statement::Kind;
use transcript::Hash;

/// The version of encoding, transcript and scheme: variant A, seeds encrypted with separate coins.
pub const VERSION: u8 = 1;

/// An escrow that passed [`check`]. There is no other way to make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    escrow: Escrow,
    nonce: Option<NonceUse>,
}

impl Verified {
    /// The escrow.
    pub fn escrow(&self) -> &Escrow {
        &self.escrow
    }

    /// What the escrow was checked for: a hash of label, statement and arbiter key. Keep state under the
    /// exchange id and never under this, since one signature has many escrows.
    pub fn context(&self) -> &[u8; 32] {
        &self.escrow.context
    }
}

/// Puts a finished signature into escrow. Refuses a signature that is not valid for the statement.
///
/// `randomness` must be 32 fresh secret bytes. The signature and the context go into everything drawn from it,
/// so that even a repeated value cannot make two different escrows share a secret (K21).
pub fn make(
    signature: &[u8],
    statement: &Statement<'_>,
    label: &Label,
    key: &EscrowKey,
    randomness: &Zeroizing<[u8; 32]>,
) -> Result<Escrow, EscrowError> {
    same_key(label, key)?;
    match statement.kind() {
        Kind::Ed25519(it) => {
            let (nonce, s) = it.split(signature).ok_or(EscrowError::Signature)?;
            let map = it.with_nonce(nonce)?;
            Ok(make_any(&map, PublicPart::Ed25519 { nonce }, &s, statement, label, key, randomness))
        }
        Kind::Rsa(it) => {
            let (salt, sigma) = it.split(signature).ok_or(EscrowError::Signature)?;
            let map = it.with_salt(&salt)?;
            let public = PublicPart::Rsa { width: it.width(), salt };
            Ok(make_any(&map, public, &sigma, statement, label, key, randomness))
        }
    }
}

/// Checks that the arbiter can open the escrow to the signature of the statement, under this label.
pub fn check(
    escrow: Escrow,
    statement: &Statement<'_>,
    label: &Label,
    key: &EscrowKey,
) -> Result<Verified, EscrowError> {
    same_suite_and_key(&escrow, label, key)?;
    match (statement.kind(), &escrow.public) {
        (Kind::Ed25519(it), PublicPart::Ed25519 { nonce }) => {
            let map = it.with_nonce(*nonce)?;
            let session = session(&map, &escrow, statement, label, key)?;
            proof::verify(&map, &session, key, &escrow.challenge, &escrow.nodes, &escrow.hidden)?;
            let nonce = Some(NonceUse::new(it, *nonce));
            Ok(Verified { escrow, nonce })
        }
        (Kind::Rsa(it), PublicPart::Rsa { width, salt }) => {
            let map = rsa_map(it, *width, salt)?;
            let session = session(&map, &escrow, statement, label, key)?;
            proof::verify(&map, &session, key, &escrow.challenge, &escrow.nodes, &escrow.hidden)?;
            Ok(Verified { escrow, nonce: None })
        }
        _ => Err(EscrowError::WrongKind),
    }
}

/// Whether the escrow was made for this statement, label and key: no proof is checked, so a forger can pass. A few
/// hashes and one multiplication.
pub fn belongs(
    escrow: &Escrow,
    statement: &Statement<'_>,
    label: &Label,
    key: &EscrowKey,
) -> Result<(), EscrowError> {
    same_suite_and_key(escrow, label, key)?;
    match (statement.kind(), &escrow.public) {
        (Kind::Ed25519(it), PublicPart::Ed25519 { nonce }) => {
            session(&it.with_nonce(*nonce)?, escrow, statement, label, key)?;
        }
        (Kind::Rsa(it), PublicPart::Rsa { width, salt }) => {
            session(&rsa_map(it, *width, salt)?, escrow, statement, label, key)?;
        }
        _ => return Err(EscrowError::WrongKind),
    }
    Ok(())
}

/// Whether `signature`, which is valid for the statement, is the one that the escrow holds: its public part is the same.
///
/// There is one Ed25519 signature for a nonce point and one RSA signature for a salt, so equal public parts mean equal
/// bytes (F12). The only exception is an RSA key that its owner made badly: there the bytes may differ, both valid.
pub fn holds(escrow: &Escrow, signature: &[u8], statement: &Statement<'_>) -> bool {
    match (statement.kind(), &escrow.public) {
        (Kind::Ed25519(it), PublicPart::Ed25519 { nonce }) => {
            it.split(signature).is_some_and(|(found, _)| found == *nonce)
        }
        (Kind::Rsa(it), PublicPart::Rsa { width, salt }) => {
            *width == it.width() && it.split(signature).is_some_and(|(found, _)| found == *salt)
        }
        _ => false,
    }
}

/// Opens an escrow. One instance that decrypts is enough, for the signature is checked at the end.
///
/// The proof is not checked: after [`EscrowError::Unopenable`], [`check`] says whether the peer accepted a false
/// escrow (its own fault) or a true one (then the soundness of the scheme is broken). Before an arbiter calls this
/// it must find that `label` is that of the agreement which it resolves.
pub fn open(
    escrow: &Escrow,
    statement: &Statement<'_>,
    label: &Label,
    secret: &EscrowSecret,
) -> Result<Zeroizing<Vec<u8>>, EscrowError> {
    same_suite_and_key(escrow, label, secret.public())?;
    let opened = match (statement.kind(), &escrow.public) {
        (Kind::Ed25519(it), PublicPart::Ed25519 { nonce }) => {
            let map = it.with_nonce(*nonce)?;
            let session = session(&map, escrow, statement, label, secret.public())?;
            proof::open(&map, &session, secret, &escrow.challenge, &escrow.hidden)
        }
        (Kind::Rsa(it), PublicPart::Rsa { width, salt }) => {
            let map = rsa_map(it, *width, salt)?;
            let session = session(&map, escrow, statement, label, secret.public())?;
            proof::open(&map, &session, secret, &escrow.challenge, &escrow.hidden)
        }
        _ => return Err(EscrowError::WrongKind),
    };
    opened.ok_or(EscrowError::Unopenable)
}

fn rsa_map<'a>(statement: &'a rsa::Rsa<'a>, got: usize, salt: &[u8]) -> Result<rsa::Power<'a>, EscrowError> {
    let need = statement.width();
    if got != need {
        return Err(EscrowError::ModulusWidth { need, got });
    }
    statement.with_salt(salt)
}

fn make_any<H: Homomorphism>(
    map: &H,
    public: PublicPart,
    witness: &H::Element,
    statement: &Statement<'_>,
    label: &Label,
    key: &EscrowKey,
    randomness: &Zeroizing<[u8; 32]>,
) -> Escrow {
    let context = context(map, &public, statement, label, key);
    let witness_bytes = map.encode(witness);
    let draw = |tag| Hash::new(tag).part(&**randomness).part(&context).part(&witness_bytes);
    let salt = *draw("salt").short();
    let session = Session::new(&context, &salt, label.suite);
    let (challenge, nodes, hidden) = proof::prove(map, &session, key, &draw("root").short(), witness);
    Escrow { suite: label.suite, public, context, salt, challenge, nodes, hidden }
}

/// The session of an escrow that was made for this context. Two hashes: a foreign escrow costs no more.
fn session<H: Homomorphism>(
    map: &H,
    escrow: &Escrow,
    statement: &Statement<'_>,
    label: &Label,
    key: &EscrowKey,
) -> Result<Session, EscrowError> {
    if escrow.context != context(map, &escrow.public, statement, label, key) {
        return Err(EscrowError::Context);
    }
    Ok(Session::new(&escrow.context, &escrow.salt, escrow.suite))
}

fn same_suite_and_key(escrow: &Escrow, label: &Label, key: &EscrowKey) -> Result<(), EscrowError> {
    if escrow.suite != label.suite {
        return Err(EscrowError::WrongSuite);
    }
    same_key(label, key)
}

fn same_key(label: &Label, key: &EscrowKey) -> Result<(), EscrowError> {
    if label.arbiter != *key.arbiter() {
        return Err(EscrowError::WrongArbiter);
    }
    if label.epoch != key.epoch() {
        return Err(EscrowError::WrongEpoch { label: label.epoch, key: key.epoch() });
    }
    Ok(())
}

fn context<H: Homomorphism>(
    map: &H,
    public: &PublicPart,
    statement: &Statement<'_>,
    label: &Label,
    key: &EscrowKey,
) -> [u8; 32] {
    let hash = Hash::new("context").part(&label.to_bytes()).part(&statement.encode(public));
    *hash.part(&map.statement()).part(key.as_bytes()).short()
}
