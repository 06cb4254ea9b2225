//! Names of things, each its own type so that one cannot be passed for another.
//!
//! Every id is 32 bytes of SHA-256 or a 32-byte Ed25519 key and prints as lower-case hex.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::error::Invalid;

/// A SHA-256 digest (FIPS 180-4), 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// SHA-256 of the concatenation of `parts`.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }
}

/// Names an exchange: SHA-256 of the PAE of its offer (decision D3). 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId([u8; 32]);

/// Names an agreement, i.e. one acceptance of one offer: SHA-256 of the PAE of the acceptance.
/// It fixes both nonces, because the acceptance carries the exchange id (attacks K1-K3). 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgreementId([u8; 32]);

/// Names a payment: SHA-256 over a domain tag and its terms. 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaymentId([u8; 32]);

/// An Ed25519 public key as its 32 canonical bytes. Also the signer's name in an envelope.
/// Not checked to be a curve point until it verifies a signature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// An X25519 public key (RFC 7748) to which deposits and transfers are sealed. 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SealingKey([u8; 32]);

/// Position of a leaf in the evidence log, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LeafIndex(pub u64);

macro_rules! bytes32 {
    ($($name:ident),*) => {$(
        impl $name {
            /// Wraps 32 bytes as they are.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self { Self(bytes) }

            /// Takes exactly 32 bytes; `field` names the place in the error.
            pub fn parse(bytes: &[u8], field: &'static str) -> Result<Self, Invalid> {
                bytes.try_into().map(Self).map_err(|_| Invalid::FieldLength { field })
            }

            /// Takes exactly 64 hexadecimal digits.
            pub fn parse_hex(text: &str, field: &'static str) -> Result<Self, Invalid> {
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes).map_err(|error| match error {
                    hex::FromHexError::InvalidStringLength => Invalid::FieldLength { field },
                    _ => Invalid::FieldValue { field },
                })?;
                Ok(Self(bytes))
            }

            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] { &self.0 }

            /// The 32 bytes as a vector, as the wire types want them.
            pub fn to_vec(&self) -> Vec<u8> { self.0.to_vec() }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; 64];
                hex::encode_to_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    )*};
}

bytes32!(Digest, ExchangeId, AgreementId, PaymentId, PublicKey, SealingKey);

impl fmt::Display for LeafIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_exactly_32_bytes_and_round_trips_through_hex() {
        assert!(Digest::parse(&[0; 31], "d").is_err());
        assert!(Digest::parse(&[0; 33], "d").is_err());
        let digest = Digest::of(&[b"abc"]);
        assert_eq!(Digest::parse_hex(&digest.to_string(), "d"), Ok(digest));
        assert_eq!(digest, Digest::of(&[b"a", b"bc"]));
        assert!(digest.to_string().starts_with("ba7816bf8f01cfea"));
        assert_eq!(LeafIndex(17).to_string(), "#17");
    }
}
