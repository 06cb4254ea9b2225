//! Asking an authority over HTTP (RFC 3161 section 3.4). Bounded in time and size; the token is believed nothing here.

use std::time::Duration;

use arbiter_protocol::ids::Digest;
use thiserror::Error;
use ureq::Agent;

use super::{QUERY, REPLY_BYTES, TimestampError, granted, query};
use crate::random;

/// From the name of the host to the last byte.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why no token came.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AskError {
    /// The authority cannot be reached, is too slow or says too much. Later it may work.
    #[error("{url}: {why}")]
    Away {
        /// The authority.
        url: String,
        /// What happened.
        why: String,
    },
    /// The authority answers something else than a token for this request.
    #[error("{url}: {source}")]
    Answer {
        /// The authority.
        url: String,
        /// What is wrong with it.
        source: TimestampError,
    },
    /// The operating system.
    #[error(transparent)]
    Local(#[from] crate::Error),
}

/// A token of the authority at `url` over the text with this digest. No redirection is followed.
pub fn ask(url: &str, sha256: &Digest) -> Result<Vec<u8>, AskError> {
    let nonce = random::bytes()?.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let away = |error: ureq::Error| AskError::Away { url: url.to_owned(), why: error.to_string() };
    let config = Agent::config_builder().timeout_global(Some(PATIENCE)).max_redirects(0).build();
    let agent = Agent::from(config);
    let request = agent.post(url).header("content-type", QUERY);
    let mut response = request.send(query(sha256, nonce).as_slice()).map_err(away)?;
    if response.status() != 200 {
        let why = format!("it answers {}", response.status());
        return Err(AskError::Away { url: url.to_owned(), why });
    }
    let most = u64::try_from(REPLY_BYTES).unwrap_or(u64::MAX);
    let reply = response.body_mut().with_config().limit(most).read_to_vec().map_err(away)?;
    granted(&reply, sha256, nonce).map_err(|source| AskError::Answer { url: url.to_owned(), source })
}
