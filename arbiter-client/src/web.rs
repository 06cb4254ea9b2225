//! Small things over HTTP: a log's tiles, an authority's time-stamps. Bounded in time and size; nothing that comes is believed.

use std::time::Duration;

use thiserror::Error;
pub use ureq::Agent;

/// For one request, from the name of the host to the last byte.
const PATIENCE: Duration = Duration::from_secs(30);

/// Nothing usable came. The server or the network is at fault; it may be there later.
#[derive(Debug, Error)]
#[error("{url}: {why}")]
pub struct WebError {
    /// What was asked for.
    pub url: String,
    /// What happened.
    pub why: String,
}

/// The agent for some requests: follows no redirection, so that what answers is what was named.
pub fn agent() -> Agent {
    Agent::config_builder().timeout_global(Some(PATIENCE)).max_redirects(0).build().into()
}

/// At most `most` bytes from a URL.
pub fn get(agent: &Agent, url: &str, most: usize) -> Result<Vec<u8>, WebError> {
    answered(agent.get(url).call(), url, most)
}

/// At most `most` bytes of the answer to this body.
pub fn post(
    agent: &Agent,
    url: &str,
    media_type: &str,
    body: &[u8],
    most: usize,
) -> Result<Vec<u8>, WebError> {
    answered(agent.post(url).header("content-type", media_type).send(body), url, most)
}

fn answered(
    response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    url: &str,
    most: usize,
) -> Result<Vec<u8>, WebError> {
    let failed = |why: String| WebError { url: url.to_owned(), why };
    let mut response = response.map_err(|error| failed(error.to_string()))?;
    if response.status() != 200 {
        return Err(failed(format!("the server answers {}", response.status())));
    }
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    response.body_mut().with_config().limit(most).read_to_vec().map_err(|error| failed(error.to_string()))
}
