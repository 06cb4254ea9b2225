//! Asking a time-stamping authority (RFC 3161 sections 2.4 and 3.4): the request and what to make of the response.
//!
//! ```text
//!  SHA-256 of the text, nonce ──query──▶ POST application/timestamp-query ──▶ authority
//!                              token ◀──granted── application/timestamp-reply
//! ```

use super::der::{BOOLEAN, INTEGER, NULL, OCTETS, OID, Reader, SEQUENCE, element, integer};
use super::{SHA256, TimestampError, Token};
use crate::ids::Digest;
use crate::limits;

/// Media type of a request.
pub const QUERY: &str = "application/timestamp-query";
/// Media type of a response.
pub const REPLY: &str = "application/timestamp-reply";
/// Longest response that is read.
pub const REPLY_BYTES: usize = limits::TIMESTAMP_BYTES + 1024;

/// The request for a token over this digest, with the authority's certificates in it. `nonce` is fresh randomness.
pub fn query(sha256: &Digest, nonce: u64) -> Vec<u8> {
    let algorithm = element(SEQUENCE, &[element(OID, SHA256), element(NULL, &[])].concat());
    let imprint = element(SEQUENCE, &[algorithm, element(OCTETS, sha256.as_bytes())].concat());
    let fields = [integer(&[1]), imprint, integer(&nonce.to_be_bytes()), element(BOOLEAN, &[0xff])].concat();
    element(SEQUENCE, &fields)
}

/// The token in a response, if it was granted for this very request. Its signature is not checked yet.
pub fn granted(reply: &[u8], sha256: &Digest, nonce: u64) -> Result<Vec<u8>, TimestampError> {
    let mut fields = Reader::only(reply, SEQUENCE)?;
    let status = fields.enter(SEQUENCE)?.number(INTEGER)?;
    // 0 granted, 1 granted with modifications.
    if status > 1 {
        return Err(TimestampError::Refused { status });
    }
    let token = fields.any()?.whole;
    fields.end()?;
    let parsed = Token::parse(token)?;
    if !parsed.covers(sha256) {
        return Err(TimestampError::OtherText);
    }
    if parsed.nonce() != Some(nonce) {
        return Err(TimestampError::OtherRequest);
    }
    Ok(token.to_vec())
}
