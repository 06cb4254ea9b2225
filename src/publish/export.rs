//! A static copy of the log as plain files: what any web server serves as the tile API, and what survives us (R-543).
//!
//! ```text
//!  source ─▶ right edge ─▶ is it the root in the checkpoint? ─▶ does it begin with what is here?
//!                                                        │ yes, both
//!  tile by tile, each against the hash above it ◀────────┘
//!     └─▶ temporary file ─▶ fsync ─▶ link, never over another ─▶ … ─▶ fsync of folders ─▶ checkpoint, renamed into place
//! ```
//!
//! Invariants
//! - Nothing is written that the signed checkpoint does not commit to, whoever gave it.
//! - A tile that is there is never written again. One that differs is an alarm: something altered it, or there are two logs.
//! - The checkpoint comes last, so at every moment everything that it covers is there, and durable.
//! - Cut off anywhere and run again, it ends as if it had not been cut off. A partial tile goes when the full one is there.
//! - It never goes back: another log's checkpoint, a smaller one, or one that does not begin with what is here is refused.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use arbiter_protocol::evidence::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::evidence::tile::TilePath;
use thiserror::Error;

use super::walk::{self, Source};
use crate::engine::Handle;

/// The file that says how far the export is.
const CHECKPOINT: &str = "checkpoint";
/// Where files are made. Nothing in it counts.
const TEMPORARY: &str = ".tmp";
/// A checkpoint that contradicts the one here is kept under this name: it convicts the log.
const CONTRADICTION: &str = "contradicting-checkpoint";

/// Why nothing was exported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The export is of more leaves than the log has: the log was rolled back.
    #[error(
        "the export in {} has {exported} leaves, but the log only {size}: it is older than its own export. It was rolled \
         back, or a cache gave an old checkpoint; nothing is written", folder.display()
    )]
    Ahead {
        /// The export.
        folder: PathBuf,
        /// Leaves in it.
        exported: u64,
        /// Leaves of the log.
        size: u64,
    },
    /// A file is there with other bytes than the log has.
    #[error(
        "ALARM: {} is there already and differs from the log: the export was altered, or there are two logs. Nothing is \
         overwritten; keep both and find out", path.display()
    )]
    Differs {
        /// The file.
        path: PathBuf,
    },
    /// The log does not begin with what was exported.
    #[error(
        "ALARM: the log of {size} leaves does not begin with the {exported} leaves of the export in {}: history was \
         rewritten. Nothing of it is written; its checkpoint, if there is one, is kept there as \
         `contradicting-checkpoint`", folder.display()
    )]
    Forked {
        /// The export.
        folder: PathBuf,
        /// Leaves in it.
        exported: u64,
        /// Leaves of the log.
        size: u64,
    },
    /// A file or folder.
    #[error("cannot {verb} {}: {source}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The folder holds something else.
    #[error("the checkpoint in {} is not of this log: {source}; name another folder", folder.display())]
    OtherLog {
        /// The export.
        folder: PathBuf,
        /// What is wrong.
        source: CheckpointError,
    },
    /// The log cannot be read, or what it gives is not what its checkpoint commits to.
    #[error(transparent)]
    Walk(#[from] walk::WalkError),
}

/// Something that is called before every change of a file: a test lets it fail, as if the process had been killed there.
pub type Step = Box<dyn FnMut() -> io::Result<()> + Send>;

/// An export in a folder.
pub struct Folder {
    root: PathBuf,
    checkpoint: Option<SignedCheckpoint>,
    /// Folders that have new names in them, not durable yet.
    touched: BTreeSet<PathBuf>,
    made: u64,
    step: Step,
}

impl Folder {
    /// Opens an export of the log with this key, or begins one.
    pub fn open(root: &Path, key: &VerifierKey) -> Result<Self, ExportError> {
        let mut folder = Self {
            root: root.to_path_buf(),
            checkpoint: None,
            touched: BTreeSet::new(),
            made: 0,
            step: Box::new(|| Ok(())),
        };
        let temporary = root.join(TEMPORARY);
        match fs::remove_dir_all(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &temporary)(error));
            }
            _ => {}
        }
        folder.make_folders(&temporary)?;
        let path = root.join(CHECKPOINT);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("read", &path)(error)),
            Ok(note) => {
                let other = |source| ExportError::OtherLog { folder: root.to_path_buf(), source };
                folder.checkpoint = Some(SignedCheckpoint::verify(&note, key).map_err(other)?);
            }
        }
        Ok(folder)
    }

    /// The same, but `step` is called before every change of a file.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn with_step(self, step: Step) -> Self {
        Self { step, ..self }
    }

    /// Up to where everything is here.
    pub const fn checkpoint(&self) -> Option<&SignedCheckpoint> {
        self.checkpoint.as_ref()
    }

    /// Refuses a log that is behind this export, or does not begin with it: it was rolled back, or is another one.
    pub fn check(&self, engine: &Handle) -> Result<(), ExportError> {
        let Some(Checkpoint { size: exported, root, .. }) =
            self.checkpoint.as_ref().map(|it| it.checkpoint())
        else {
            return Ok(());
        };
        let (folder, exported, size) = (self.root.clone(), *exported, engine.log_size());
        if exported > size {
            return Err(ExportError::Ahead { folder, exported, size });
        }
        let ours = engine.root(exported).map_err(|error| walk::WalkError::Source(error.into()))?;
        if ours == *root { Ok(()) } else { Err(ExportError::Forked { folder, exported, size }) }
    }

    /// Writes what a checkpoint covers and is not here yet, then the checkpoint. `progress` is told how many leaves are
    /// done.
    pub fn export(
        &mut self,
        checkpoint: &SignedCheckpoint,
        source: &mut dyn Source,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), ExportError> {
        let old = self.checkpoint.as_ref().map(|it| it.checkpoint().clone());
        let new = checkpoint.checkpoint().clone();
        let exported = old.as_ref().map_or(0, |old| old.size);
        let folder = self.root.clone();
        if exported > new.size {
            return Err(ExportError::Ahead { folder, exported, size: new.size });
        }
        if old.as_ref().is_none_or(|old| *old != new) {
            match walk::walk(old.as_ref(), &new, source, self, progress) {
                Err(walk::Stopped::Forked) => {
                    self.replace(CONTRADICTION, &checkpoint.note().to_string())?;
                    return Err(ExportError::Forked { folder, exported, size: new.size });
                }
                Err(walk::Stopped::Walk(error)) => return Err(error.into()),
                Err(walk::Stopped::Export(error)) => return Err(error),
                Ok(()) => {}
            }
            self.sync()?;
        }
        let kept = self.checkpoint.as_ref().map(|it| it.note());
        if kept != Some(checkpoint.note()) {
            self.replace(CHECKPOINT, &checkpoint.note().to_string())?;
            self.checkpoint = Some(checkpoint.clone());
        }
        Ok(())
    }

    /// A tile as it is here; `None` if it is not.
    pub(super) fn tile(&self, path: TilePath) -> Result<Option<Vec<u8>>, ExportError> {
        let path = self.root.join(path.to_string());
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    /// The alarm about a tile that is here and is not what the log has.
    pub(super) fn differs(&self, path: TilePath) -> ExportError {
        ExportError::Differs { path: self.root.join(path.to_string()) }
    }

    /// Puts a tile; one that is here already must be the same.
    pub(super) fn put(&mut self, tile: TilePath, bytes: &[u8]) -> Result<(), ExportError> {
        let path = self.root.join(tile.to_string());
        if !path.exists() {
            if let Some(parent) = path.parent() {
                self.make_folders(parent)?;
            }
            let temporary = self.temporary(bytes)?;
            (self.step)().map_err(failed("write", &path))?;
            match fs::hard_link(&temporary, &path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed("write", &path)(error));
                }
                _ => {}
            }
            (self.step)().map_err(failed("remove", &temporary))?;
            fs::remove_file(&temporary).map_err(failed("remove", &temporary))?;
        }
        if self.tile(tile)?.as_deref() != Some(bytes) {
            return Err(self.differs(tile));
        }
        // Also if it was there: it may be what is left of a run that was cut off before it was durable.
        self.touched.extend(path.parent().map(Path::to_path_buf));
        Ok(())
    }

    /// The partial forms of a tile whose full form is here. Who asks for one takes the full one (tlog-tiles).
    pub(super) fn drop_partials(&mut self, full: TilePath) -> Result<(), ExportError> {
        let partials = self.root.join(format!("{full}.p"));
        if partials.exists() {
            self.sync()?;
            (self.step)().map_err(failed("remove", &partials))?;
            fs::remove_dir_all(&partials).map_err(failed("remove", &partials))?;
            self.touched.retain(|folder| *folder != partials);
        }
        Ok(())
    }

    /// A new file with these bytes, durable, without a name that counts.
    fn temporary(&mut self, bytes: &[u8]) -> Result<PathBuf, ExportError> {
        self.made = self.made.saturating_add(1);
        let path = self.root.join(TEMPORARY).join(format!("{}-{}", std::process::id(), self.made));
        let wrong = || failed("write", &path);
        (self.step)().map_err(wrong())?;
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(wrong())?;
        file.write_all(bytes).map_err(wrong())?;
        (self.step)().map_err(wrong())?;
        file.sync_all().map_err(wrong())?;
        Ok(path)
    }

    /// Puts a file in the place of another, at once.
    fn replace(&mut self, name: &str, text: &str) -> Result<(), ExportError> {
        let (temporary, path) = (self.temporary(text.as_bytes())?, self.root.join(name));
        (self.step)().map_err(failed("write", &path))?;
        fs::rename(&temporary, &path).map_err(failed("write", &path))?;
        self.touched.insert(self.root.clone());
        self.sync()
    }

    /// Makes a folder and those above it. Their names are not durable yet.
    fn make_folders(&mut self, path: &Path) -> Result<(), ExportError> {
        let mut missing: Vec<_> =
            path.ancestors().take_while(|it| !it.as_os_str().is_empty() && !it.exists()).collect();
        while let Some(folder) = missing.pop() {
            (self.step)().map_err(failed("make", folder))?;
            match fs::create_dir(folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed("make", folder)(error));
                }
                _ => {}
            }
            let parent = folder.parent().filter(|it| !it.as_os_str().is_empty());
            self.touched.insert(parent.unwrap_or(Path::new(".")).to_path_buf());
        }
        Ok(())
    }

    /// Makes every new name durable.
    fn sync(&mut self) -> Result<(), ExportError> {
        while let Some(folder) = self.touched.first().cloned() {
            (self.step)().map_err(failed("sync", &folder))?;
            File::open(&folder).and_then(|it| it.sync_all()).map_err(failed("sync", &folder))?;
            self.touched.remove(&folder);
        }
        Ok(())
    }
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ExportError {
    let path = path.to_path_buf();
    move |source| ExportError::Io { verb, path, source }
}
