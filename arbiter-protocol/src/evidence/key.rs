//! Keys that sign notes, in the text form of C2SP signed-note, "Verifier keys".
//!
//! ```text
//! name  +  first 4 bytes of SHA-256(name || 0x0A || type || key), hex  +  base64(type || key)
//!
//! type 1   Ed25519 over the text of a note             logs
//! type 4   Ed25519, a cosignature with a time          witnesses
//! type 6   ML-DSA-44, a cosignature with a time        witnesses and logs (feature `ml-dsa`)
//! ```
//!
//! Invariants:
//! * A [`VerifierKey`] holds a usable key: of Ed25519 a curve point that is not of small order.
//! * The type is part of the key: a cosigner's key never verifies a plain signature, nor the other way round (R-512).

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, VerifyingKey};

use crate::evidence::cosignature::{self, PosixSeconds};
use crate::evidence::note::{NoteError, NoteSignature, parse_name};
use crate::ids::{Digest, PublicKey};

/// What a key signs, and how: the signature types of signed-note.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum KeyKind {
    /// Ed25519 over the text of a note, type 1.
    Note,
    /// Ed25519 cosignatures of checkpoints, type 4.
    Cosigner,
    /// ML-DSA-44 cosignatures of checkpoints, type 6.
    MlDsaCosigner,
}

/// A key that signs notes: a name and a key of a type (signed-note, "Verifier keys").
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifierKey {
    name: String,
    key: Key,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Key {
    Note(VerifyingKey),
    Cosigner(VerifyingKey),
    #[cfg(feature = "ml-dsa")]
    MlDsa(Box<cosignature::MlDsaKey>),
}

impl VerifierKey {
    /// Names an Ed25519 key that signs notes (type 1). The name is not empty and has no spaces, control
    /// characters or `+`.
    pub fn new(name: &str, key: PublicKey) -> Result<Self, NoteError> {
        Ok(Self { name: parse_name(name)?, key: Key::Note(usable(key)?) })
    }

    /// Names an Ed25519 key that cosigns checkpoints (type 4). It must not be any other cosigner's key: what it
    /// signs does not hold its name.
    pub fn cosigner(name: &str, key: PublicKey) -> Result<Self, NoteError> {
        Ok(Self { name: parse_name(name)?, key: Key::Cosigner(usable(key)?) })
    }

    /// Names an ML-DSA-44 key that cosigns checkpoints (type 6).
    #[cfg(feature = "ml-dsa")]
    pub fn ml_dsa_cosigner(name: &str, key: cosignature::MlDsaKey) -> Result<Self, NoteError> {
        Ok(Self { name: parse_name(name)?, key: Key::MlDsa(Box::new(key)) })
    }

    /// Reads `<name>+<key id, 8 lower-case hex digits>+<base64 of type and key>`.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(NoteError::KeyMalformed);
        }
        // Base64 may contain `+`: only the first two separate.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(key_id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::KeyMalformed);
        };
        let bytes = STANDARD.decode(encoded).map_err(|_| NoteError::KeyMalformed)?;
        let (kind, key) = bytes.split_first().ok_or(NoteError::KeyMalformed)?;
        let ed25519 = || PublicKey::parse(key, "key").map_err(|_| NoteError::KeyMalformed);
        let parsed = match *kind {
            NOTE => Self::new(name, ed25519()?),
            COSIGNER => Self::cosigner(name, ed25519()?),
            #[cfg(feature = "ml-dsa")]
            ML_DSA => {
                let key = key.try_into().map_err(|_| NoteError::KeyMalformed)?;
                Self::ml_dsa_cosigner(name, key)
            }
            _ => Err(NoteError::KeyUnsupported),
        }?;
        if key_id == format!("{:08x}", parsed.key_id()) { Ok(parsed) } else { Err(NoteError::KeyMalformed) }
    }

    /// The name of the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    pub const fn kind(&self) -> KeyKind {
        match self.key {
            Key::Note(_) => KeyKind::Note,
            Key::Cosigner(_) => KeyKind::Cosigner,
            #[cfg(feature = "ml-dsa")]
            Key::MlDsa(_) => KeyKind::MlDsaCosigner,
        }
    }

    /// The Ed25519 key of a key of type 1; the others sign cosignatures only.
    pub fn public_key(&self) -> Option<PublicKey> {
        match &self.key {
            Key::Note(key) => Some(PublicKey::from_bytes(key.to_bytes())),
            _ => None,
        }
    }

    /// The bytes of the key, without name and type: 32, or 1,312 of ML-DSA-44. Two keys with the same bytes
    /// belong to one holder, whatever they are called.
    pub fn key_bytes(&self) -> &[u8] {
        match &self.key {
            Key::Note(key) | Key::Cosigner(key) => key.as_bytes(),
            #[cfg(feature = "ml-dsa")]
            Key::MlDsa(key) => key.as_slice(),
        }
    }

    /// `SHA-256(name || 0x0A || type || key)[..4]`, big endian. Tells keys apart, proves nothing.
    pub fn key_id(&self) -> u32 {
        let hash = Digest::of(&[self.name.as_bytes(), b"\n", &[self.type_byte()], self.key_bytes()]);
        let [a, b, c, d, ..] = *hash.as_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    /// Whether the signature claims to be of this key: name and key id are its own.
    pub fn made(&self, signature: &NoteSignature) -> bool {
        self.name == signature.name() && self.key_id() == signature.key_id()
    }

    /// Whether the signature is good for this text. A cosignature is, if the text is that of a checkpoint.
    pub(super) fn verifies(&self, text: &str, signature: &NoteSignature) -> bool {
        match &self.key {
            Key::Note(key) => ed25519_verifies(key, text.as_bytes(), signature.signature()),
            _ => cosignature::verify_text(self, text, signature).is_ok(),
        }
    }

    /// Whether these signature bytes, without the time, are good for the message of a cosignature.
    pub(super) fn verifies_cosigned(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            Key::Note(_) => false,
            Key::Cosigner(key) => ed25519_verifies(key, message, signature),
            #[cfg(feature = "ml-dsa")]
            Key::MlDsa(key) => cosignature::ml_dsa_verifies(key, message, signature),
        }
    }

    /// The line for a cosignature by this key: key id, time, signature.
    pub(super) fn cosigned_line(&self, time: PosixSeconds, signature: &[u8]) -> NoteSignature {
        let bytes = [time.seconds().to_be_bytes().as_slice(), signature].concat();
        NoteSignature::of(self, bytes)
    }

    const fn type_byte(&self) -> u8 {
        match self.kind() {
            KeyKind::Note => NOTE,
            KeyKind::Cosigner => COSIGNER,
            KeyKind::MlDsaCosigner => ML_DSA,
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[self.type_byte()], self.key_bytes()].concat();
        write!(f, "{}+{:08x}+{}", self.name, self.key_id(), STANDARD.encode(bytes))
    }
}

fn usable(key: PublicKey) -> Result<VerifyingKey, NoteError> {
    let key = VerifyingKey::from_bytes(key.as_bytes()).map_err(|_| NoteError::KeyWeak)?;
    if key.is_weak() { Err(NoteError::KeyWeak) } else { Ok(key) }
}

fn ed25519_verifies(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    Signature::from_slice(signature).is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
}

const NOTE: u8 = 1;
const COSIGNER: u8 = 4;
const ML_DSA: u8 = 6;
/// A name, a key id, and the base64 of an ML-DSA-44 key, which has 1,752 characters.
const MAX_TEXT_BYTES: usize = 2_048;
