//! Why an escrow, a statement or a key is refused. One reason for each fault, so that a test can name it.

use thiserror::Error;

/// What is wrong with a point of the curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointFault {
    /// Not the one canonical encoding of a point.
    Encoding,
    /// One of the eight points of small order, the neutral element among them.
    SmallOrder,
    /// A point with a component of small order (attack K23).
    Torsion,
}

/// Why an escrow is refused. None of these carries a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EscrowError {
    /// More bytes than any escrow has.
    #[error("the escrow has {got} bytes, more than any escrow: the sender must send a single escrow")]
    TooLarge {
        /// Bytes received.
        got: usize,
    },
    /// Fewer bytes than its header announces.
    #[error("the escrow is cut off: it needs {need} bytes and has {got}; ask the sender for all of it")]
    Truncated {
        /// Bytes that the header announces.
        need: usize,
        /// Bytes received.
        got: usize,
    },
    /// Bytes after the end.
    #[error("the escrow has {extra} bytes after its end: the sender must remove them")]
    Trailing {
        /// Bytes too many.
        extra: usize,
    },
    /// More tree nodes than the hidden set needs.
    #[error("the escrow has {extra} tree nodes that its hidden set does not need")]
    ExtraNodes {
        /// Nodes too many.
        extra: usize,
    },
    /// What should be the escrows of a package is not two or more of them, each after its length.
    #[error("these are not the escrows of a package, each after its length")]
    Package,
    /// A version that this program does not know.
    #[error("escrow version {0} is unknown: update this program, or ask for version 1")]
    Version(u8),
    /// A suite that does not exist.
    #[error("escrow suite {0} does not exist")]
    UnknownSuite(u8),
    /// A kind of statement that does not exist.
    #[error("escrow kind {0} does not exist")]
    UnknownKind(u8),
    /// The escrow uses another suite than the label demands.
    #[error("the escrow uses another suite than the label: the sender must use the agreed one")]
    WrongSuite,
    /// The escrow holds another kind of signature than the statement.
    #[error("the escrow holds another kind of signature than was agreed")]
    WrongKind,
    /// The label names another arbiter than the key.
    #[error("the label names another arbiter than the escrow key")]
    WrongArbiter,
    /// The label names another epoch of the arbiter's key.
    #[error("the label names epoch {label} of the arbiter's key, not {key}")]
    WrongEpoch {
        /// Epoch in the label.
        label: u64,
        /// Epoch of the key.
        key: u64,
    },
    /// The arbiter's escrow key is not the canonical encoding of a Ristretto element, or is the identity.
    #[error("the arbiter's escrow key is no usable Ristretto element")]
    ArbiterKey,
    /// The escrow was made for another label, statement or arbiter key.
    #[error("the escrow was made for another label, statement or arbiter key")]
    Context,
    /// A public key of the signer that must not be used.
    #[error("the signer's public key is refused: {0:?}")]
    Key(PointFault),
    /// A nonce point R that must not be used.
    #[error("the signature's nonce point is refused: {0:?}")]
    Nonce(PointFault),
    /// The point V = R + cA is the neutral element.
    #[error("the statement is trivial: V is the neutral element")]
    Trivial,
    /// A response that is not below the order of its group, or is zero where zero is not allowed.
    #[error("response {position} is not in its canonical range")]
    Response {
        /// Position among the hidden instances, from 0.
        position: usize,
    },
    /// A response that shares a factor with the modulus.
    #[error("a response shares a factor with the modulus")]
    ResponseFactor,
    /// A ciphertext whose point is not a canonical Ristretto element, or is the identity.
    #[error("the ciphertext of hidden instance {position} has no usable point")]
    Ciphertext {
        /// Position among the hidden instances, from 0.
        position: usize,
    },
    /// The instances do not give the challenge: the proof is false.
    #[error("the escrow proof is false: do not send your item, the sender cheats or the bytes were changed")]
    Challenge,
    /// The modulus has not between 2048 and 8192 bits, or its encoding starts with a zero byte.
    #[error("the RSA modulus has {bits} bits; 2048 to 8192 are supported, without leading zero bytes")]
    ModulusSize {
        /// Bits of the modulus.
        bits: usize,
    },
    /// The modulus is even.
    #[error("the RSA modulus is even")]
    ModulusEven,
    /// The public exponent is even or less than 3.
    #[error("the RSA exponent {0} is not an odd number of at least 3")]
    Exponent(u64),
    /// The public exponent is 2^32 or more: checking would be too costly.
    #[error("the RSA exponent is 2^32 or more")]
    ExponentSize,
    /// The width of the escrow's responses is not that of the modulus.
    #[error("the escrow has responses of {got} bytes, the modulus has {need}")]
    ModulusWidth {
        /// Bytes of the modulus.
        need: usize,
        /// Bytes of each response.
        got: usize,
    },
    /// A PSS salt that does not fit the modulus, or a salt in a PKCS#1 v1.5 escrow.
    #[error("a salt of {got} bytes is not possible here")]
    SaltSize {
        /// Bytes of the salt.
        got: usize,
    },
    /// The encoded message is not a unit below the modulus: the key is not an RSA key, or it can be factored.
    #[error("the encoded message is not invertible modulo n")]
    EncodedMessage,
    /// What should be escrowed is not a valid signature of the statement.
    #[error("this is not a valid signature by this key on this message: nothing was escrowed")]
    Signature,
    /// No hidden instance gives a valid signature. Never says why: the answer must not help a forger.
    #[error("the escrow cannot be opened")]
    Unopenable,
    /// Two signatures on different messages share their nonce: anybody can compute the signer's key.
    #[error("the nonce of this signature was used for another message: the signer's key is exposed")]
    NonceReused,
}

impl EscrowError {
    /// The stable reason for programs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::ArbiterKey => "ESCROW_KEY_INVALID",
            Self::Challenge => "ESCROW_FALSE",
            Self::Ciphertext { .. } | Self::Response { .. } | Self::ResponseFactor => "ESCROW_NOT_CANONICAL",
            Self::Context => "ESCROW_OF_SOMETHING_ELSE",
            Self::EncodedMessage
            | Self::Exponent(_)
            | Self::ExponentSize
            | Self::Key(_)
            | Self::ModulusEven
            | Self::ModulusSize { .. }
            | Self::Trivial => "SIGNATURE_KEY_INVALID",
            Self::ExtraNodes { .. }
            | Self::Package
            | Self::TooLarge { .. }
            | Self::Trailing { .. }
            | Self::Truncated { .. } => "ESCROW_SIZE_INVALID",
            Self::ModulusWidth { .. } | Self::WrongKind => "ESCROW_KIND_MISMATCH",
            Self::Nonce(_) | Self::SaltSize { .. } => "ESCROW_SIGNATURE_INVALID",
            Self::NonceReused => "SIGNATURE_NONCE_REUSED",
            Self::Signature => "SIGNATURE_NOT_VALID",
            Self::Unopenable => "ESCROW_UNOPENABLE",
            Self::UnknownKind(_) | Self::UnknownSuite(_) | Self::Version(_) => "ESCROW_VERSION_UNSUPPORTED",
            Self::WrongArbiter => "ESCROW_ARBITER_MISMATCH",
            Self::WrongEpoch { .. } => "ESCROW_EPOCH_MISMATCH",
            Self::WrongSuite => "ESCROW_SUITE_MISMATCH",
        }
    }
}
