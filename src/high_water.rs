//! The high-water marks that are files: the side journal and an export folder (R-522).
//!
//! ```text
//!  journal folder ─▶ head of its newest commit ─┐
//!  export folder ──▶ `checkpoint`, signed ──────┴─▶ engine::marks
//! ```
//!
//! Invariants: a note counts only under the key of this log; a folder without a checkpoint knows nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::message::agreement::ArbiterIdentity;

use crate::engine::{HighWater, Mark, MarkError};
use crate::export_folder::log_key;
use crate::store::journal::Journaled;
use crate::store::{Store, StoredHead};

/// The newest commit of the side journal.
#[derive(Clone, Debug)]
pub struct JournalMark {
    folder: PathBuf,
    head: Option<StoredHead>,
}

impl JournalMark {
    /// What the journal in `folder` knew when it was opened.
    pub fn new<S: Store>(folder: &Path, journaled: &Journaled<S>) -> Self {
        Self { folder: folder.to_owned(), head: journaled.remembered().cloned() }
    }
}

impl HighWater for JournalMark {
    fn name(&self) -> String {
        format!("the journal {}", self.folder.display())
    }

    fn newest(&self) -> Result<Option<Mark>, MarkError> {
        let mark = |head: &StoredHead| Mark {
            size: head.size,
            root: Some(head.root),
            commits: Some(head.commits),
            note: None,
        };
        Ok(self.head.as_ref().map(mark))
    }
}

/// The checkpoint of a static export of this log.
#[derive(Clone, Debug)]
pub struct ExportMark {
    folder: PathBuf,
    key: VerifierKey,
}

impl ExportMark {
    /// The export in `folder`, of the log of `arbiter`.
    pub fn new(folder: &Path, arbiter: &ArbiterIdentity) -> Self {
        let key = log_key(arbiter);
        Self { folder: folder.to_owned(), key }
    }
}

impl HighWater for ExportMark {
    fn name(&self) -> String {
        format!("the export folder {}", self.folder.display())
    }

    fn newest(&self) -> Result<Option<Mark>, MarkError> {
        if !self.folder.is_dir() {
            return Err(MarkError::Away(String::from("there is no such folder")));
        }
        let path = self.folder.join("checkpoint");
        let note = match fs::read_to_string(&path) {
            Ok(note) => note,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(MarkError::Unusable(format!("checkpoint: {error}"))),
        };
        let signed = SignedCheckpoint::verify(&note, &self.key)
            .map_err(|error| MarkError::Unusable(format!("checkpoint: {error}")))?;
        let checkpoint = signed.checkpoint();
        Ok(Some(Mark { size: checkpoint.size, root: Some(checkpoint.root), commits: None, note: Some(note) }))
    }
}
