//! Standard keys and signatures: Ed25519 and RSA as other programs write them, detached signature files that other
//! programs accept.
//!
//! ```text
//!  PRIVATE KEY (PKCS#8 PEM) ──▶ PrivateKey ──sign──▶ detached signature ──▶ `openssl dgst -verify`, `pkeyutl -verify`
//!  PUBLIC KEY (SPKI PEM) ────┐
//!  CERTIFICATE (PEM, DER) ───┴▶ read_public ──▶ SignatureKey ──▶ public_pem, openssl_verify_command
//! ```
//!
//! A [`SignatureKey`] is the public key of `arbiter_protocol::escrow` together with its [`Algorithm`]: everything that
//! can be signed here can be put into escrow. RSA signs with PKCS#1 v1.5 and SHA-256 unless asked otherwise, since
//! `openssl dgst -sha256 -verify` accepts that without further options.
//!
//! Invariants
//! - Arbitrary bytes give an error, never a panic; no input is larger than a fixed limit.
//! - A public key is taken only in the one canonical form that [`public_pem`] writes.
//! - A private key file that others can use is refused. Secrets are wiped after use, but for RSA keys inside of `ring`,
//!   which does not wipe them.
//! - A signature leaves only after it was verified.
//! - RSA signs with `ring`, in constant time. The crate `rsa` has an open advisory (RUSTSEC-2023-0071) about its timing.

mod algorithm;
mod certificate;
mod error;
mod openssl;
mod pem;
mod private;
mod public;

pub use algorithm::Algorithm;
pub use arbiter_protocol::escrow::SignatureKey;
pub use certificate::Certificate;
pub use error::KeyError;
pub use openssl::{openssl_public_key_command, openssl_verify_command};
pub use private::PrivateKey;
pub use public::{Public, public_der, public_pem, read_public};
pub(crate) use public::{element, from_spki, integer};

#[cfg(test)]
mod tests;
