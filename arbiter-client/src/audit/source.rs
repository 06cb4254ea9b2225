//! Where the tiles of a log come from: a server that speaks tlog-tiles, or a folder with the same files.
//!
//! ```text
//!  https://log.example/prefix ─┐
//!                              ├─▶ checkpoint, tile/…, anchor/…, at most so many bytes ─▶ caller, who believes none of it
//!  /srv/export ────────────────┘
//! ```
//!
//! Invariants
//! - However the server behaves (endless, slow, compressed a thousandfold, redirecting) a call ends, in bounded memory.
//! - Every error names the URL or the file.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use arbiter_protocol::evidence::anchor::Anchor;
use arbiter_protocol::evidence::tile::{TileKind, TilePath};
use arbiter_protocol::ids::LeafIndex;
use arbiter_protocol::limits;
use flate2::read::MultiGzDecoder;
use thiserror::Error;
use ureq::Agent;

/// Largest checkpoint: a text and 16 signatures, of which some may be ML-DSA.
const CHECKPOINT_BYTES: u64 = 64 * 1024;
/// Largest tile of hashes: 256 of 32 bytes.
const HASHES_BYTES: u64 = 8_192;
/// Largest bundle of leaves: four times what 256 leaves of R-501 can have, for leaves of later versions.
const ENTRIES_BYTES: u64 = 256 * (2 + 4_096);
/// One request in all, however slowly the server sends.
const REQUEST: Duration = Duration::from_secs(60);
/// Connecting.
const CONNECT: Duration = Duration::from_secs(10);
/// Times between attempts when the server is out of reach.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(2)];

/// A log to read. Clones share connections.
#[derive(Clone, Debug)]
pub struct Source(Place);

#[derive(Clone, Debug)]
enum Place {
    Folder(PathBuf),
    Server { agent: Agent, prefix: String },
}

/// Something of the log could not be had. The server is at fault, or the way to it.
#[derive(Debug, Error)]
#[error("{place}: {problem}")]
pub struct FetchError {
    /// URL or file.
    pub place: String,
    /// Why.
    pub problem: FetchProblem,
}

/// Why something could not be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FetchProblem {
    /// The server cannot be reached, is too slow or broken. Try again later.
    #[error("out of reach: {0}")]
    Unreachable(String),
    /// It is not there, though a signed checkpoint covers it.
    #[error("it is not there")]
    NotThere,
    /// What came is not text, not well compressed, or longer than it can be.
    #[error("{0}")]
    Unusable(&'static str),
}

impl FetchError {
    /// Whether the server answered and has not what it must have. Otherwise trying again may help.
    pub const fn is_refusal(&self) -> bool {
        matches!(self.problem, FetchProblem::NotThere | FetchProblem::Unusable(_))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Folder(folder) => folder.display().fmt(f),
            Place::Server { prefix, .. } => f.write_str(prefix),
        }
    }
}

impl Source {
    /// An `http://` or `https://` URL is a server, everything else a folder.
    pub fn open(place: &str) -> Self {
        if !place.starts_with("http://") && !place.starts_with("https://") {
            return Self(Place::Folder(PathBuf::from(place)));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(REQUEST))
            .timeout_connect(Some(CONNECT))
            .user_agent("fairx-audit")
            .accept_encoding("gzip")
            .build();
        let prefix = place.trim_end_matches('/').to_owned();
        Self(Place::Server { agent: config.into(), prefix })
    }

    /// The newest checkpoint that is published, as the text of a signed note.
    pub fn checkpoint(&self) -> Result<String, FetchError> {
        let bytes = self.patiently("checkpoint", CHECKPOINT_BYTES)?;
        String::from_utf8(bytes)
            .map_err(|_| self.error("checkpoint", FetchProblem::Unusable("it is not text")))
    }

    /// A tile or a bundle, as wide as its path says. A log may have dropped a partial one once the full one is there.
    pub fn tile(&self, path: &TilePath) -> Result<Vec<u8>, FetchError> {
        let most = if path.kind() == TileKind::Entries { ENTRIES_BYTES } else { HASHES_BYTES };
        match self.patiently(&path.to_string(), most) {
            Err(FetchError { problem: FetchProblem::NotThere, .. }) if !path.is_full() => {
                let full = path.full().to_string();
                let bytes = self.patiently(&full, most).map_err(|error| match error.problem {
                    FetchProblem::NotThere => self.error(&path.to_string(), FetchProblem::NotThere),
                    _ => error,
                })?;
                let cut = path.cut(&bytes).map(<[u8]>::to_vec);
                cut.map_err(|_| {
                    self.error(&full, FetchProblem::Unusable("it is shorter than its full width"))
                })
            }
            other => other,
        }
    }

    /// What the leaf `anchor` at this place names, if it is kept there (R-546). Nothing of it is verified.
    pub fn anchor(&self, index: LeafIndex) -> Result<Option<Anchor>, FetchError> {
        let path = Anchor::path(index);
        let most = u64::try_from(limits::ANCHOR_BYTES).unwrap_or(u64::MAX);
        let bytes = match self.patiently(&path, most) {
            Err(FetchError { problem: FetchProblem::NotThere, .. }) => return Ok(None),
            other => other?,
        };
        let anchor = String::from_utf8(bytes).ok().and_then(|text| Anchor::parse(&text).ok());
        anchor.map(Some).ok_or_else(|| self.error(&path, FetchProblem::Unusable("it is no anchor")))
    }

    /// What a resource is called in errors.
    pub fn place(&self, path: &str) -> String {
        match &self.0 {
            Place::Folder(folder) => folder.join(path).display().to_string(),
            Place::Server { prefix, .. } => format!("{prefix}/{path}"),
        }
    }

    fn error(&self, path: &str, problem: FetchProblem) -> FetchError {
        FetchError { place: self.place(path), problem }
    }

    fn patiently(&self, path: &str, most: u64) -> Result<Vec<u8>, FetchError> {
        let mut pauses = PAUSES.into_iter();
        loop {
            match self.once(path, most) {
                Err(FetchProblem::Unreachable(why)) => match pauses.next() {
                    Some(pause) if matches!(self.0, Place::Server { .. }) => sleep(pause),
                    _ => return Err(self.error(path, FetchProblem::Unreachable(why))),
                },
                other => return other.map_err(|problem| self.error(path, problem)),
            }
        }
    }

    fn once(&self, path: &str, most: u64) -> Result<Vec<u8>, FetchProblem> {
        match &self.0 {
            Place::Folder(folder) => read_file(&folder.join(path), most),
            Place::Server { agent, prefix } => get(agent, &format!("{prefix}/{path}"), most),
        }
    }
}

fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, FetchProblem> {
    let file = std::fs::File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => FetchProblem::NotThere,
        _ => FetchProblem::Unreachable(error.to_string()),
    })?;
    bounded(file, most).map_err(|error| FetchProblem::Unreachable(error.to_string()))?
}

fn get(agent: &Agent, url: &str, most: u64) -> Result<Vec<u8>, FetchProblem> {
    let unreachable = |why: String| FetchProblem::Unreachable(why);
    let mut response = agent.get(url).call().map_err(|error| unreachable(error.to_string()))?;
    match response.status().as_u16() {
        200 => {}
        404 | 410 => return Err(FetchProblem::NotThere),
        300..=399 => {
            return Err(FetchProblem::Unusable("it redirects elsewhere, which a log has no reason to do"));
        }
        status => return Err(unreachable(format!("status {status}"))),
    }
    let encoding = response.headers().get("content-encoding").map(|value| value.as_bytes().to_vec());
    // What does not compress, such as hashes, is a little longer when it is.
    let body = response.body_mut().as_reader().take(most.saturating_add(most / 64).saturating_add(1_024));
    let read = match encoding.as_deref() {
        None | Some(b"" | b"identity") => bounded(body, most),
        Some(b"gzip" | b"x-gzip") => bounded(MultiGzDecoder::new(body), most),
        Some(_) => return Err(FetchProblem::Unusable("its content encoding is not gzip")),
    };
    read.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            FetchProblem::Unusable("it is not well compressed")
        }
        _ => unreachable(error.to_string()),
    })?
}

/// Reads no more than `most` bytes, and says if there are more.
fn bounded(reader: impl Read, most: u64) -> io::Result<Result<Vec<u8>, FetchProblem>> {
    let mut bytes = Vec::new();
    reader.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    let fits = u64::try_from(bytes.len()).is_ok_and(|length| length <= most);
    Ok(if fits { Ok(bytes) } else { Err(FetchProblem::Unusable("it is longer than it can be")) })
}
