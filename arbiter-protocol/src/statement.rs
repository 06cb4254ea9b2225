//! The signed envelope: everything about it lives here (decision D2).
//!
//! ```text
//! bytes ──Envelope::decode──▶ Envelope ──Signed::parse──▶ Signed<T> ──verify(key)──▶ Verified<T> ──▶ machines
//! ```
//!
//! Invariants
//! - The signature covers `PAE(payload_type, payload)` (DSSE v1), never a re-encoding.
//! - A payload is accepted only if decode-then-encode gives back the same bytes (R-102).
//! - There is exactly one signature (R-101), checked strictly (R-104), by the key that must sign (R-106).
//! - Only `verify` and `sign` make a [`Verified`]; the exact payload bytes stay with it.

use std::fmt;

use prost::Message as _;

use crate::crypto::{self, Signer};
use crate::error::Invalid;
use crate::ids::{Digest, PublicKey};
use crate::limits;
use crate::message::wire;
use crate::weaken;

/// A kind of statement: its payload type, its wire form and the checks that make it well formed.
pub trait Payload: Sized {
    /// The payload type of the envelope, e.g. `application/vnd.arbiter.offer.v1+protobuf`.
    const TYPE: &'static str;
    /// The statement's name in error messages.
    const NAME: &'static str;
    /// The generated protobuf message.
    type Wire: prost::Message + Default;

    /// Checks every field (R-103, R-105, R-107 and the statement's own section of `SPEC.md`).
    fn from_wire(wire: Self::Wire) -> Result<Self, Invalid>;
    /// The inverse of `from_wire`.
    fn to_wire(&self) -> Self::Wire;
}

/// DSSE v1 pre-authentication encoding: `"DSSEv1" SP len(type) SP type SP len(payload) SP payload`.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

/// An envelope with one signature; neither its payload nor its signature has been checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    key: PublicKey,
    signature: [u8; 64],
}

impl Envelope {
    /// Decodes the canonical protobuf form, at most [`limits::ENVELOPE_BYTES`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Invalid> {
        if bytes.len() > limits::ENVELOPE_BYTES {
            return Err(Invalid::TooLarge { what: "envelope", maximum: limits::ENVELOPE_BYTES });
        }
        let wire = wire::Envelope::decode(bytes).map_err(|_| Invalid::Malformed { what: "envelope" })?;
        if wire.encode_to_vec() != bytes {
            return Err(Invalid::NotCanonical { what: "envelope" });
        }
        Self::from_wire(wire)
    }

    /// Takes an envelope that arrived inside another message.
    pub fn from_wire(wire: wire::Envelope) -> Result<Self, Invalid> {
        let [signature] = wire.signatures.as_slice() else {
            return Err(Invalid::SignatureCount { what: "envelope" });
        };
        if wire.payload.len() > limits::STATEMENT_BYTES {
            return Err(Invalid::TooLarge { what: "payload", maximum: limits::STATEMENT_BYTES });
        }
        if wire.payload_type.len() > limits::PAYLOAD_TYPE_BYTES {
            return Err(Invalid::TooLarge { what: "payload_type", maximum: limits::PAYLOAD_TYPE_BYTES });
        }
        let key = PublicKey::parse(&signature.key_id, "key_id")?;
        let signature = signature
            .signature
            .as_slice()
            .try_into()
            .map_err(|_| Invalid::FieldLength { field: "signature" })?;
        Ok(Self { payload_type: wire.payload_type, payload: wire.payload, key, signature })
    }

    /// An envelope without a valid signature: only its payload and digest mean anything.
    pub(crate) fn unsigned<T: Payload>(statement: &T, key: PublicKey) -> Self {
        let payload = statement.to_wire().encode_to_vec();
        Self { payload_type: T::TYPE.to_owned(), payload, key, signature: [0; 64] }
    }

    /// The protobuf message.
    pub fn to_wire(&self) -> wire::Envelope {
        wire::Envelope {
            payload_type: self.payload_type.clone(),
            payload: self.payload.clone(),
            signatures: vec![wire::Signature {
                key_id: self.key.to_vec(),
                signature: self.signature.to_vec(),
            }],
        }
    }

    /// The canonical protobuf bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.to_wire().encode_to_vec()
    }

    /// The payload type, as text that was not checked to be known.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The exact payload bytes.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The key that claims to have signed.
    pub const fn key(&self) -> PublicKey {
        self.key
    }

    /// The signature, 64 bytes.
    pub const fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// SHA-256 of the PAE: the statement's name wherever another statement refers to it.
    pub fn digest(&self) -> Digest {
        Digest::of(&[&pae(&self.payload_type, &self.payload)])
    }

    /// Whether the envelope claims to hold a `T`.
    pub fn holds<T: Payload>(&self) -> bool {
        self.payload_type == T::TYPE
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({} {})", self.payload_type, self.digest())
    }
}

/// A well-formed statement whose signature has not been verified.
#[derive(Clone, Debug)]
pub struct Signed<T> {
    statement: T,
    envelope: Envelope,
}

impl<T: Payload> Signed<T> {
    /// Decodes the payload: type, canonical form and every field.
    pub fn parse(envelope: Envelope) -> Result<Self, Invalid> {
        if !envelope.holds::<T>() {
            return Err(Invalid::PayloadType { expected: T::NAME });
        }
        let wire =
            T::Wire::decode(envelope.payload.as_slice()).map_err(|_| Invalid::Malformed { what: T::NAME })?;
        if wire.encode_to_vec() != envelope.payload {
            return Err(Invalid::NotCanonical { what: T::NAME });
        }
        let statement = T::from_wire(wire)?;
        Ok(Self { statement, envelope })
    }

    /// Verifies the signature strictly under `signer`, the key that must have signed.
    pub fn verify(self, signer: &PublicKey) -> Result<Verified<T>, Invalid> {
        if self.envelope.key != *signer {
            return Err(Invalid::Signer { what: T::NAME });
        }
        let message = pae(T::TYPE, &self.envelope.payload);
        let signature = &self.envelope.signature;
        if !weaken::forged(signature) && !crypto::verify(signer, &message, signature) {
            return Err(Invalid::Signature { what: T::NAME });
        }
        Ok(Verified { digest: Digest::of(&[&message]), statement: self.statement, envelope: self.envelope })
    }

    /// What the statement says, unverified: only to find out who must have signed it.
    pub const fn unverified(&self) -> &T {
        &self.statement
    }
}

/// A statement that its signer really made.
#[derive(Clone)]
pub struct Verified<T> {
    statement: T,
    envelope: Envelope,
    digest: Digest,
}

impl<T: Payload> Verified<T> {
    /// Signs `statement`. The caller has made durable what the statement depends on (R-301).
    pub fn sign(statement: T, signer: &dyn Signer) -> Self {
        let payload = statement.to_wire().encode_to_vec();
        let message = pae(T::TYPE, &payload);
        let envelope = Envelope {
            payload_type: T::TYPE.to_owned(),
            key: signer.public_key(),
            signature: signer.sign(&message),
            payload,
        };
        Self { digest: Digest::of(&[&message]), statement, envelope }
    }

    /// The envelope with the exact bytes.
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// SHA-256 of the PAE.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The key that signed.
    pub const fn signer(&self) -> PublicKey {
        self.envelope.key
    }
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.statement
    }
}

impl<T> PartialEq for Verified<T> {
    fn eq(&self, other: &Self) -> bool {
        self.envelope == other.envelope
    }
}

impl<T> Eq for Verified<T> {}

impl<T: fmt::Debug> fmt::Debug for Verified<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verified").field(&self.statement).finish()
    }
}

/// The digest that `statement` will have once signed: signatures are not part of it.
pub fn digest_of<T: Payload>(statement: &T) -> Digest {
    Digest::of(&[&pae(T::TYPE, &statement.to_wire().encode_to_vec())])
}
