//! What an auditor remembers between two runs, in one file.
//!
//! ```text
//!  fairx audit state v1 \n │ length, newest checkpoint seen │ size at the last full audit │ the walk: 32 bytes an exchange │ SHA-256
//! ```
//!
//! Invariants
//! - The file is replaced whole: after a crash there is the old one or the new one.
//! - The checkpoint in it never goes back, and what it says was verified before (R-560).
//! - It is the auditor's own memory: who can change it can make the auditor forget.

use std::io;
use std::path::{Path, PathBuf};

use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::ruling::chain::Walk;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::durable;

const MAGIC: &[u8] = b"fairx audit state v1\n";
const HASH_BYTES: usize = 32;

/// How far an audit has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The largest checkpoint ever seen, verified; empty before the first.
    pub(super) note: String,
    /// How many leaves the log had when it was last found good.
    pub(super) audited: u64,
    /// The leaves read so far.
    pub(super) walk: Walk,
}

/// The state file cannot be used. Whoever keeps it is at fault, or its disk.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StateError {
    /// Not such a file, cut off, or altered.
    #[error("{0}: it is damaged, or no state of an audit; move it away to begin at leaf 0 again")]
    Damaged(PathBuf),
    /// The file system.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is about another log.
    #[error("{0}: it is the state of an audit of another log or another arbiter")]
    OtherLog(PathBuf),
}

impl State {
    pub(super) fn new(arbiter: Option<ArbiterIdentity>) -> Self {
        Self { note: String::new(), audited: 0, walk: Walk::new(arbiter) }
    }

    /// Reads the file; `None` if there is none.
    pub(super) fn load(path: &Path, arbiter: Option<ArbiterIdentity>) -> Result<Option<Self>, StateError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError::Io { path: path.to_owned(), source }),
        };
        let damaged = || StateError::Damaged(path.to_owned());
        let (note, audited, walk) = split(&bytes).ok_or_else(damaged)?;
        match Walk::decode(walk, arbiter.clone()) {
            Ok(walk) => Ok(Some(Self { note, audited, walk })),
            Err(_) if arbiter.is_some() && Walk::decode(walk, None).is_ok() => {
                Err(StateError::OtherLog(path.to_owned()))
            }
            Err(_) => Err(damaged()),
        }
    }

    /// Writes the file, durable on return.
    pub(super) fn save(&self, path: &Path) -> Result<(), StateError> {
        let note = u32::try_from(self.note.len()).unwrap_or(u32::MAX);
        let mut bytes =
            [MAGIC, &note.to_be_bytes(), self.note.as_bytes(), &self.audited.to_be_bytes()].concat();
        bytes.extend(self.walk.encode());
        let hash = Sha256::digest(&bytes);
        bytes.extend_from_slice(&hash);
        let written = durable::replace(path, &bytes, 0o666);
        written.map_err(|source| StateError::Io { path: path.to_owned(), source })
    }
}

fn split(bytes: &[u8]) -> Option<(String, u64, &[u8])> {
    let (bytes, hash) = bytes.split_at_checked(bytes.len().checked_sub(HASH_BYTES)?)?;
    if Sha256::digest(bytes)[..] != *hash {
        return None;
    }
    let (length, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk()?;
    let (note, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let (audited, walk) = rest.split_first_chunk()?;
    Some((String::from_utf8(note.to_vec()).ok()?, u64::from_be_bytes(*audited), walk))
}
