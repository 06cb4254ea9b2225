//! One question to a time-stamping authority over HTTP (RFC 3161 section 3.4). What it answers counts only if it verifies.

use std::time::Duration;

use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::ids::Digest;
use arbiter_protocol::timestamp::{
    Authorities, QUERY, REPLY_BYTES, Stamped, TimestampError, Token, granted, query,
};
use thiserror::Error;
use ureq::Agent;
use ureq::tls::RootCerts;

use crate::publish::agent::agent;

/// For one answer, from connecting to its last byte.
const PATIENCE: Duration = Duration::from_secs(30);

/// No token that counts. The authority, its operator or the network is at fault.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// Nothing came, or too much, or too late.
    #[error("it cannot be reached: {0}")]
    Away(String),
    /// Something else came than a token for this request by a trusted authority.
    #[error("its answer does not count: {0}")]
    Answer(#[from] TimestampError),
    /// No randomness for the request.
    #[error("the system gives no randomness: {0}")]
    Randomness(getrandom::Error),
    /// Any other status.
    #[error("it answers with status {0}")]
    Status(u16),
}

impl Failure {
    /// Whether it says what is not so, rather than nothing.
    pub(super) const fn is_lie(&self) -> bool {
        matches!(self, Self::Answer(error) if !matches!(error, TimestampError::Refused { .. }))
    }
}

/// An authority at a URL, and the certificates that its tokens must lead to.
pub struct Authority {
    url: String,
    trusted: Authorities,
    agent: Agent,
}

impl Authority {
    /// `url` begins with `http://` or `https://`: the token is signed, so that either will do.
    pub fn new(url: &str, trusted: Authorities) -> Self {
        Self { url: url.to_owned(), trusted, agent: agent(PATIENCE, RootCerts::WebPki) }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// A token over the text of a checkpoint, verified, and what it says.
    pub(super) fn stamp(&self, checkpoint: &SignedCheckpoint) -> Result<(Vec<u8>, Stamped), Failure> {
        let text = checkpoint.note().text().as_bytes();
        let digest = Digest::of(&[text]);
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(Failure::Randomness)?;
        let nonce = u64::from_be_bytes(nonce);
        let away = |error: ureq::Error| Failure::Away(error.to_string());
        let request = self.agent.post(&self.url).content_type(QUERY);
        let mut response = request.send(query(&digest, nonce).as_slice()).map_err(away)?;
        match response.status().as_u16() {
            200 => {}
            status => return Err(Failure::Status(status)),
        }
        let most = u64::try_from(REPLY_BYTES).unwrap_or(u64::MAX);
        let reply = response.body_mut().with_config().limit(most).read_to_vec().map_err(away)?;
        let token = granted(&reply, &digest, nonce)?;
        let said = Token::parse(&token)?.verify(text, &self.trusted)?;
        Ok((token, said))
    }
}
