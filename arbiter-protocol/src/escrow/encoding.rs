//! The bytes of an escrow. Every escrow has exactly one encoding.
//!
//! ```text
//!   version 1 · kind 1 · suite 1 · public part · context 32 · salt 32 · challenge 32
//!   · cover nodes, 16 each · per hidden instance, ascending: response w · point 32 · sealed seed 16
//!
//!   kind 1, Ed25519:  public part = R (32),                            w = 32
//!   kind 2, RSA:      public part = w (2) · salt length (2) · PSS salt, w = bytes of the modulus
//! ```
//!
//! There are no counts: the challenge says how many nodes there are, suite and kind say the rest. So the length
//! is known from the header, and is compared before anything is allocated.

use super::error::EscrowError;
use super::suite::Suite;
use super::transcript::hidden_set;
use super::{VERSION, tree};
use crate::limits::{self, ESCROW_BYTES};

/// Smallest and largest RSA modulus, in bytes.
pub(super) const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=limits::MODULUS_BYTES;

const ED25519: u8 = 1;
const RSA: u8 = 2;

/// The part of a finished signature that is not secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PublicPart {
    /// The nonce point.
    Ed25519 { nonce: [u8; 32] },
    /// Bytes of the modulus, and the PSS salt: empty for PKCS#1 v1.5.
    Rsa { width: usize, salt: Vec<u8> },
}

impl PublicPart {
    pub(super) fn response_bytes(&self) -> usize {
        match self {
            Self::Ed25519 { .. } => 32,
            Self::Rsa { width, .. } => *width,
        }
    }
}

/// One hidden instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hidden {
    pub(super) response: Vec<u8>,
    pub(super) point: [u8; 32],
    pub(super) sealed: [u8; 16],
}

/// A signature, encrypted to an arbiter, with the proof that it is inside. It has no secret that is not encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escrow {
    pub(super) suite: Suite,
    pub(super) public: PublicPart,
    pub(super) context: [u8; 32],
    pub(super) salt: [u8; 32],
    pub(super) challenge: [u8; 32],
    pub(super) nodes: Vec<[u8; 16]>,
    pub(super) hidden: Vec<Hidden>,
}

impl Escrow {
    /// The suite that it claims.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The one encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        match &self.public {
            PublicPart::Ed25519 { nonce } => {
                out.extend([ED25519, self.suite.id()]);
                out.extend(nonce);
            }
            PublicPart::Rsa { width, salt } => {
                out.extend([RSA, self.suite.id()]);
                for length in [*width, salt.len()] {
                    out.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
                }
                out.extend(salt);
            }
        }
        out.extend(self.context.iter().chain(&self.salt).chain(&self.challenge));
        out.extend(self.nodes.as_flattened());
        for hidden in &self.hidden {
            out.extend(hidden.response.iter().chain(&hidden.point).chain(&hidden.sealed));
        }
        out
    }

    /// Reads an escrow. It is well formed then, and nothing more: see [`super::check`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EscrowError> {
        if bytes.len() > ESCROW_BYTES {
            return Err(EscrowError::TooLarge { got: bytes.len() });
        }
        let mut reader = Reader { rest: bytes, total: bytes.len() };
        let [version] = reader.array()?;
        if version != VERSION {
            return Err(EscrowError::Version(version));
        }
        let [kind, suite] = reader.array()?;
        if !matches!(kind, ED25519 | RSA) {
            return Err(EscrowError::UnknownKind(kind));
        }
        let suite = Suite::from_id(suite)?;
        let public =
            if kind == ED25519 { PublicPart::Ed25519 { nonce: reader.array()? } } else { rsa(&mut reader)? };
        let (context, salt, challenge) = (reader.array()?, reader.array()?, reader.array()?);
        let node_count = tree::cover(&hidden_set(&challenge, suite), suite).len();
        let each = public.response_bytes() + 32 + 16;
        let need = 16 * node_count + each * usize::from(suite.hidden());
        match reader.rest.len().checked_sub(need) {
            Some(0) => {}
            Some(extra) if extra % 16 == 0 => return Err(EscrowError::ExtraNodes { extra: extra / 16 }),
            Some(extra) => return Err(EscrowError::Trailing { extra }),
            None => return Err(reader.truncated(need)),
        }
        let mut nodes = Vec::with_capacity(node_count);
        for _ in 0..node_count {
            nodes.push(reader.array()?);
        }
        let mut hidden = Vec::with_capacity(suite.hidden().into());
        for _ in 0..suite.hidden() {
            let response = reader.take(public.response_bytes())?.to_vec();
            hidden.push(Hidden { response, point: reader.array()?, sealed: reader.array()? });
        }
        Ok(Self { suite, public, context, salt, challenge, nodes, hidden })
    }
}

fn rsa(reader: &mut Reader<'_>) -> Result<PublicPart, EscrowError> {
    let width = usize::from(u16::from_be_bytes(reader.array()?));
    let salt = usize::from(u16::from_be_bytes(reader.array()?));
    if !MODULUS_BYTES.contains(&width) {
        return Err(EscrowError::ModulusSize { bits: 8 * width });
    }
    if salt >= width {
        return Err(EscrowError::SaltSize { got: salt });
    }
    Ok(PublicPart::Rsa { width, salt: reader.take(salt)?.to_vec() })
}

struct Reader<'a> {
    rest: &'a [u8],
    total: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], EscrowError> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.truncated(length))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], EscrowError> {
        let head = self.take(LEN)?;
        head.try_into().map_err(|_| self.truncated(LEN))
    }

    fn truncated(&self, need: usize) -> EscrowError {
        EscrowError::Truncated { need: self.total - self.rest.len() + need, got: self.total }
    }
}
