//! Why a key, a certificate or a file of them is refused, and what to do about it.

use std::path::{Path, PathBuf};

use arbiter_protocol::escrow::EscrowError;
use thiserror::Error;

use super::algorithm::Algorithm;

/// Why a key is refused. None of these carries a secret.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Which file it is about.
    #[error("{path}: {reason}")]
    In {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: Box<KeyError>,
    },
    /// The file system.
    #[error("{0}")]
    Io(std::io::Error),
    /// Others can read or write a private key.
    #[error(
        "this private key can be used by others (mode {mode:o}); if it never left your control: chmod 600 FILE"
    )]
    Exposed {
        /// Its permission bits.
        mode: u32,
    },
    /// More bytes than a key or certificate may have.
    #[error("it has more than {most} bytes: this is no key or certificate that can be used here")]
    TooLong {
        /// The limit.
        most: usize,
    },
    /// No PEM block in it.
    #[error(
        "there is no PEM block (-----BEGIN ...) in it; if it is a key in DER: openssl pkey -inform DER -in FILE -out KEY.pem, with -pubin -pubout for a public key"
    )]
    NoPem,
    /// A PEM block that is cut off or altered.
    #[error("its PEM block is cut off or altered: copy the file again")]
    BadPem,
    /// More than one PEM block.
    #[error("it has {count} PEM blocks; keep only the one that is meant (of a chain: the own certificate)")]
    ManyBlocks {
        /// Blocks found.
        count: usize,
    },
    /// A private key under a password.
    #[error("the private key is encrypted; decrypt it: (umask 077; openssl pkey -in FILE -out PLAIN.pem)")]
    Encrypted,
    /// RSA in the old form.
    #[error(
        "this is PKCS#1, not PKCS#8; convert it: (umask 077; openssl pkcs8 -topk8 -nocrypt -in FILE -out KEY.pem)"
    )]
    Pkcs1Private,
    /// An RSA public key in the old form.
    #[error("this is PKCS#1; convert it: openssl rsa -RSAPublicKey_in -in FILE -pubout -out KEY.pem")]
    Pkcs1Public,
    /// OpenSSH's own form.
    #[error(
        "this is a key in OpenSSH's own form; make one for signing: (umask 077; openssl genpkey -algorithm ed25519 -out KEY.pem)"
    )]
    OpenSsh,
    /// A private key where a public one belongs.
    #[error("this is a private key; take out the public half: openssl pkey -in FILE -pubout -out PUBLIC.pem")]
    NotPublic,
    /// A public key or certificate where a private key belongs.
    #[error(
        "this is a public key or certificate; the private key is needed here (-----BEGIN PRIVATE KEY-----)"
    )]
    NotPrivate,
    /// A PEM block of something else.
    #[error("this is no key or certificate that is known here; expected is {expected}")]
    OtherPem {
        /// The label that belongs there.
        expected: &'static str,
    },
    /// An elliptic-curve key other than Ed25519.
    #[error("this is an elliptic-curve (ECDSA) key: this kind of key has no escrow, use --replacement")]
    Elliptic,
    /// An RSA key that is bound to PSS.
    #[error(
        "this key is marked as RSASSA-PSS only, which is not supported; make an ordinary RSA key, it can do PSS too: (umask 077; openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out KEY.pem)"
    )]
    PssOnly,
    /// Another kind of key.
    #[error("this kind of key has no escrow; use an Ed25519 or RSA key, or --replacement")]
    OtherKind,
    /// Not the one DER encoding of it.
    #[error("{what} is not in its standard encoding (DER): it is damaged, or write it anew with openssl")]
    Malformed {
        /// What was read.
        what: &'static str,
    },
    /// The two halves of a private key are not of one pair.
    #[error("the private key file names a public key that is not its own: it is damaged or forged")]
    Halves,
    /// No scheme of that name.
    #[error(
        "no such algorithm; there are ed25519, and rsa-pkcs1- or rsa-pss- with sha256, sha384 or sha512, e.g. rsa-pss-sha256"
    )]
    UnknownAlgorithm,
    /// A scheme that does not belong to the key.
    #[error("this is {key}, it cannot do {asked}")]
    Mismatch {
        /// What kind of key.
        key: &'static str,
        /// What was asked for.
        asked: Algorithm,
    },
    /// A key that must not or cannot be used.
    #[error(transparent)]
    Refused(#[from] EscrowError),
    /// An RSA key that signs elsewhere only.
    #[error(
        "RSA keys of {bits} bits cannot sign here (2048 to 4096 can): sign elsewhere and use --signature-from"
    )]
    SignElsewhere {
        /// Bits of the modulus.
        bits: usize,
    },
    /// An RSA key that `ring` refuses.
    #[error(
        "this RSA key cannot sign here ({reason}): it is damaged, or has an unusual form. Sign with the program that made it and use --signature-from"
    )]
    RsaRefused {
        /// What `ring` says.
        reason: String,
    },
    /// Signing failed: the parts of the key contradict each other, or there is no randomness.
    #[error(
        "signing failed: the parts of the private key do not fit together, or the system has no randomness"
    )]
    Signing,
}

impl KeyError {
    pub(super) fn at(self, path: &Path) -> Self {
        Self::In { path: path.to_owned(), reason: Box::new(self) }
    }
}
