//! Reading a static export of a log in tile form: a checkpoint, and the tiles that it covers.
//!
//! ```text
//!  DIR/checkpoint                 signed by the log: nothing else is believed
//!  DIR/tile/entries/000 …         leaves                    narrower by cutting the full one, where the partial is gone
//!  DIR/tile/0/000 …               hashes
//! ```
//!
//! Invariant: what is read is not trusted; who reads compares leaves or hashes with the root of the checkpoint.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use arbiter_protocol::evidence::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::evidence::tile::{self, TileError, TileKind, TilePath};
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use thiserror::Error;

/// Why an export cannot be used. The export is at fault, or the folder is another one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The checkpoint is not one of this log.
    #[error("{}: {source}; it must be an export of this arbiter's log", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: CheckpointError,
    },
    /// A file is missing or cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is no tile.
    #[error("{}: {source}", path.display())]
    Tile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: TileError,
    },
}

/// An export whose checkpoint is one of ours.
#[derive(Debug)]
pub struct ExportFolder {
    folder: PathBuf,
    signed: SignedCheckpoint,
}

/// The key that checkpoints of this log are signed with.
pub(crate) fn log_key(arbiter: &ArbiterIdentity) -> VerifierKey {
    VerifierKey::new(arbiter.log_origin.as_str(), arbiter.log_key)
        .expect("invariant: the log's own key and origin are well formed")
}

impl ExportFolder {
    /// Reads the checkpoint of the export in `folder` and checks that this arbiter signed it.
    pub fn open(folder: &Path, arbiter: &ArbiterIdentity) -> Result<Self, ExportError> {
        let path = folder.join("checkpoint");
        let note =
            fs::read_to_string(&path).map_err(|source| ExportError::File { path: path.clone(), source })?;
        let signed = SignedCheckpoint::verify(&note, &log_key(arbiter))
            .map_err(|source| ExportError::Checkpoint { path, source })?;
        Ok(Self { folder: folder.to_owned(), signed })
    }

    /// What it is an export of.
    pub const fn checkpoint(&self) -> &Checkpoint {
        self.signed.checkpoint()
    }

    /// Where a tile is, or would be.
    pub fn path(&self, tile: TilePath) -> PathBuf {
        self.folder.join(tile.to_string())
    }

    /// The bytes of a tile; cut from the full one, where the partial one is gone.
    pub fn tile(&self, tile: TilePath) -> Result<Vec<u8>, ExportError> {
        match fs::read(self.path(tile)) {
            Ok(bytes) => Ok(bytes),
            Err(source) if source.kind() == io::ErrorKind::NotFound && !tile.is_full() => {
                let path = self.path(tile.full());
                let full =
                    fs::read(&path).map_err(|source| ExportError::File { path: path.clone(), source })?;
                let cut = tile.cut(&full).map_err(|source| ExportError::Tile { path, source })?;
                Ok(cut.to_vec())
            }
            Err(source) => Err(ExportError::File { path: self.path(tile), source }),
        }
    }

    /// The leaves of the bundle with this index, as far as the checkpoint covers it; `None` after the last.
    pub fn leaves(&self, bundle: u64) -> Result<Option<Vec<Vec<u8>>>, ExportError> {
        let Some(path) = TilePath::at(TileKind::Entries, bundle, self.checkpoint().size) else {
            return Ok(None);
        };
        let bytes = self.tile(path)?;
        let entries = tile::entries(&path, &bytes)
            .map_err(|source| ExportError::Tile { path: self.path(path), source })?;
        Ok(Some(entries.into_iter().map(<[u8]>::to_vec).collect()))
    }
}

/// Leaves in a full bundle.
pub(crate) const BUNDLE: u64 = 256;
const _: () = assert!(limits::TILE_WIDTH == 256);
