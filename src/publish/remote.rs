//! A log somewhere else, read over its tile API. Nothing that it says is believed.
//!
//! ```text
//!  GET <prefix>/checkpoint ─▶ note          GET <prefix>/tile/… ─▶ bytes; a partial one that is gone: the full one, cut
//! ```
//!
//! Invariants
//! - An answer is read up to the size that a good one can have, unpacked or not, and within a time.
//! - Redirects are not followed: who runs a log says where it is.

use std::io::Read as _;
use std::time::Duration;

use arbiter_protocol::evidence::tile::{TileKind, TilePath};
use arbiter_protocol::limits;
use flate2::read::GzDecoder;
use ureq::Agent;

use super::agent::{agent, roots};
use super::walk::{Source, SourceError};

/// For one answer, from connecting to its last byte.
const PATIENCE: Duration = Duration::from_secs(30);
/// A checkpoint with 16 ML-DSA cosignatures has 60 KB.
const NOTE_BYTES: u64 = 128 * 1024;
/// 256 entries of 65,535 bytes with their lengths.
const BUNDLE_BYTES: u64 = 256 * 65_537;

/// A log at a URL.
pub struct Remote {
    agent: Agent,
    prefix: String,
}

impl Remote {
    /// `prefix` begins with `http://` or `https://`. `ca` is the authority of its certificate (PEM), if it is not a public one.
    pub fn new(prefix: &str, ca: Option<&[u8]>) -> Result<Self, SourceError> {
        let prefix = prefix.trim_end_matches('/').to_owned();
        let failed = |problem: String| SourceError::Remote { url: prefix.clone(), problem };
        if !["http://", "https://"].iter().any(|scheme| prefix.starts_with(scheme)) {
            return Err(failed("the address must begin with http:// or https://".to_owned()));
        }
        let agent = agent(PATIENCE, roots(ca).map_err(failed)?);
        Ok(Self { agent, prefix })
    }

    /// Where it is.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The checkpoint as it is, not verified.
    pub fn checkpoint(&self) -> Result<String, SourceError> {
        let url = format!("{}/checkpoint", self.prefix);
        let bytes = self.get(&url, NOTE_BYTES)?.ok_or_else(|| remote(&url, "there is none: status 404"))?;
        String::from_utf8(bytes).map_err(|_| remote(&url, "it is not a note"))
    }

    /// `None` if it is not there.
    fn get(&self, url: &str, most: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let request = self.agent.get(url).header("accept-encoding", "gzip");
        let mut response = request.call().map_err(|error| remote(url, &error.to_string()))?;
        match response.status().as_u16() {
            200 => {}
            404 | 410 => return Ok(None),
            status => return Err(remote(url, &format!("status {status}"))),
        }
        let zipped = response.headers().get("content-encoding").map(|it| it.as_bytes().to_vec());
        // A body that reaches the limit counts as too large.
        let body = response.body_mut().with_config().limit(most.saturating_add(1)).read_to_vec();
        let body = body.map_err(|error| remote(url, &error.to_string()))?;
        match zipped.as_deref() {
            None | Some(b"identity") => Ok(Some(body)),
            Some(b"gzip") => {
                let mut bytes = Vec::new();
                let read =
                    GzDecoder::new(body.as_slice()).take(most.saturating_add(1)).read_to_end(&mut bytes);
                read.map_err(|error| remote(url, &format!("it is not gzip: {error}")))?;
                let fits = u64::try_from(bytes.len()).is_ok_and(|length| length <= most);
                if fits { Ok(Some(bytes)) } else { Err(remote(url, "it is too large when it is unpacked")) }
            }
            Some(_) => Err(remote(url, "its content encoding is not known")),
        }
    }
}

impl Source for Remote {
    fn tile(&mut self, path: TilePath) -> Result<Vec<u8>, SourceError> {
        let most = |path: TilePath| match path.kind() {
            TileKind::Entries => BUNDLE_BYTES,
            TileKind::Hashes(_) => u64::from(path.width()).saturating_mul(32),
        };
        let url = |path: TilePath| format!("{}/{path}", self.prefix);
        if let Some(bytes) = self.get(&url(path), most(path))? {
            return Ok(bytes);
        }
        let url = url(path.full());
        let full = if path.is_full() { None } else { self.get(&url, most(path.full()))? };
        let full = full.ok_or_else(|| remote(&url, "there is no such tile: status 404"))?;
        path.cut(&full).map(<[u8]>::to_vec).map_err(|error| remote(&url, &error.to_string()))
    }
}

const _: () = assert!(BUNDLE_BYTES == 65_537 * 256 && limits::TILE_WIDTH == 256);

fn remote(url: &str, problem: &str) -> SourceError {
    SourceError::Remote { url: url.to_owned(), problem: problem.to_owned() }
}
