//! The names of signature schemes.

use std::fmt;
use std::str::FromStr;

use arbiter_protocol::escrow::signature_key::Kind;
use arbiter_protocol::escrow::{RsaHash, RsaPadding, SignatureKey};

use super::error::KeyError;

/// How a key signs. As text: `ed25519`, `rsa-pkcs1-sha256`, `rsa-pss-sha512` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Pure Ed25519 (RFC 8032).
    Ed25519,
    /// RSA (RFC 8017).
    Rsa(RsaPadding, RsaHash),
}

impl Algorithm {
    /// What an RSA key does unless asked otherwise: `openssl dgst -sha256 -verify` accepts it without options.
    pub const RSA_DEFAULT: Self = Self::Rsa(RsaPadding::Pkcs1, RsaHash::Sha256);

    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Ed25519,
        Self::Rsa(RsaPadding::Pkcs1, RsaHash::Sha256),
        Self::Rsa(RsaPadding::Pkcs1, RsaHash::Sha384),
        Self::Rsa(RsaPadding::Pkcs1, RsaHash::Sha512),
        Self::Rsa(RsaPadding::Pss, RsaHash::Sha256),
        Self::Rsa(RsaPadding::Pss, RsaHash::Sha384),
        Self::Rsa(RsaPadding::Pss, RsaHash::Sha512),
    ];

    /// The algorithm of a key.
    pub const fn of(key: &SignatureKey) -> Self {
        match key.kind() {
            Kind::Ed25519(_) => Self::Ed25519,
            Kind::Rsa { padding, hash, .. } => Self::Rsa(*padding, *hash),
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Rsa(RsaPadding::Pkcs1, RsaHash::Sha256) => "rsa-pkcs1-sha256",
            Self::Rsa(RsaPadding::Pkcs1, RsaHash::Sha384) => "rsa-pkcs1-sha384",
            Self::Rsa(RsaPadding::Pkcs1, RsaHash::Sha512) => "rsa-pkcs1-sha512",
            Self::Rsa(RsaPadding::Pss, RsaHash::Sha256) => "rsa-pss-sha256",
            Self::Rsa(RsaPadding::Pss, RsaHash::Sha384) => "rsa-pss-sha384",
            Self::Rsa(RsaPadding::Pss, RsaHash::Sha512) => "rsa-pss-sha512",
        }
    }

    /// For an Ed25519 key: nothing else may have been asked for.
    pub(super) fn only_ed25519(asked: Option<Self>) -> Result<(), KeyError> {
        match asked {
            None | Some(Self::Ed25519) => Ok(()),
            Some(asked) => Err(KeyError::Mismatch { key: "an Ed25519 key", asked }),
        }
    }

    /// For an RSA key: what was asked for, or the default.
    pub(super) fn rsa(asked: Option<Self>) -> Result<(RsaPadding, RsaHash), KeyError> {
        match asked.unwrap_or(Self::RSA_DEFAULT) {
            Self::Rsa(padding, hash) => Ok((padding, hash)),
            asked => Err(KeyError::Mismatch { key: "an RSA key", asked }),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::ALL.into_iter().find(|it| it.name() == text).ok_or(KeyError::UnknownAlgorithm)
    }
}
