//! Time-stamps of others: RFC 3161 tokens over the text of a checkpoint, checked offline.
//!
//! ```text
//!  checkpoint text ── SHA-2 ──▶ imprint ─┐                              Authorities (CA file)
//!                                TSTInfo { imprint, time, … }                  ▲ chain, at the time stated
//!                     digest ──▶ signed attributes ◀── signature ── certificate: only for timeStamping
//! ```
//!
//! A token says: at this time this text was there, says this authority. The text has the root of the log, so with
//! it the leaf was there, and with the leaf the ruling. How the authority's own time compares with the arbiter's and with that
//! of witnesses is for the reader to see.
//!
//! Invariants
//! - Whom to trust comes from the caller; a certificate in a token is only material for a chain.
//! - Everything that the token rests on is signed or checked; parts that nobody signs and that are not needed
//!   (unsigned attributes, revocation lists) are refused.
//! - The chain is checked for the time in the token. Whether a certificate was withdrawn later nobody here can know.
//!
//! Source: RFC 3161, RFC 5816, RFC 5652. X.509 paths are built and checked by `rustls-webpki`.

pub mod der;
mod request;
mod token;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor};

use crate::time::UnixMillis;

pub use request::{QUERY, REPLY, REPLY_BYTES, granted, query};
pub use token::Token;

/// id-sha256.
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];

/// The certificate authorities whose time-stamps are believed.
#[derive(Clone, Debug)]
pub struct Authorities(Vec<TrustAnchor<'static>>);

impl Authorities {
    /// Reads the text of a file of certificates (PEM): at least one, each usable as an authority.
    pub fn parse(pem: &[u8]) -> Result<Self, TimestampError> {
        let anchors = CertificateDer::pem_slice_iter(pem).map(|certificate| {
            let certificate = certificate.map_err(|_| TimestampError::Authorities)?;
            let anchor = webpki::anchor_from_trusted_cert(&certificate);
            anchor.map(|it| it.to_owned()).map_err(|_| TimestampError::Authorities)
        });
        let anchors = anchors.collect::<Result<Vec<_>, _>>()?;
        if anchors.is_empty() { Err(TimestampError::Authorities) } else { Ok(Self(anchors)) }
    }
}

/// What a verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// The authority's time; fractions of a millisecond are cut off.
    pub time: UnixMillis,
    /// How far it may be off, in milliseconds and rounded up, if the authority says so.
    pub accuracy_millis: Option<u64>,
    /// The subject of the authority's certificate.
    pub authority: String,
}

/// Why a token is not accepted, or not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampError {
    /// The file of trusted certificates. Its owner's fault.
    #[error("the file holds no certificates (PEM) that can be trusted as authorities")]
    Authorities,
    /// The bytes are no token in DER, or have parts that nobody signs.
    #[error("the time-stamp token is malformed, or has parts that are not taken here")]
    Malformed,
    /// A kind of key or hash that is not taken, or not known here.
    #[error(
        "the time-stamp token uses an algorithm that is not known here; `openssl ts -verify` may know it"
    )]
    Unsupported,
    /// The token was altered, or was never a token of this authority.
    #[error("the signature of the time-stamp token does not verify")]
    Signature,
    /// The token is over another text.
    #[error("the time-stamp is over another text than this checkpoint")]
    OtherText,
    /// The answer is to another request. The authority's fault, or somebody replays.
    #[error("the time-stamp answers another request")]
    OtherRequest,
    /// The authority refused.
    #[error("the authority refused to stamp (status {status}); ask its operator")]
    Refused {
        /// PKIStatus of RFC 3161.
        status: u64,
    },
    /// The certificate is not one of a time-stamping authority.
    #[error("the certificate that signed is not for time-stamping alone, as RFC 3161 asks")]
    NotAnAuthority,
    /// No chain to the trusted certificates, at the time stated.
    #[error("no chain of certificates leads from the token to those that are trusted: {0}")]
    Chain(webpki::Error),
}

impl From<der::Malformed> for TimestampError {
    fn from(_: der::Malformed) -> Self {
        Self::Malformed
    }
}
