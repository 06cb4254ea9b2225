//! The anchors that this arbiter has: tokens of a time-stamping authority over its checkpoints, a file each (R-546).
//!
//! ```text
//!  ask ─▶ token ─▶ FOLDER/<SHA-256 of the token> ─▶ leaf `anchor` that names it
//!                        │
//!                        └─▶ `GetEvidence`, `GET /anchor/<leaf>`: the same leaf in a tree that the token is over
//! ```
//! Nothing here is secret, and nothing rests on it but what can be shown: without a file there is a leaf whose token is gone.
//!
//! Invariants
//! - A file is durable before the leaf that names it is logged, and never written again.
//! - What is read is used only if its digest is the one asked for, the log signed its checkpoint and the token is over that.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use arbiter_protocol::evidence::anchor::Anchor;
use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::evidence::leaf::{Event, Leaf};
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::ids::{Digest, LeafIndex};
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::timestamp::Token;
use thiserror::Error;

use crate::engine::{EngineError, Handle};
use crate::export_folder::log_key;
use crate::store::By;

/// How many anchors after a leaf are looked at for one that will do.
const LOOKED_AT: usize = 16;

/// A file of the folder. The disk is at fault, or somebody who wrote to it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AnchorsError {
    /// It is not what was written.
    #[error("{} is not the anchor that it was: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
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
}

/// An anchor whose checkpoint this log signed, with a token that is over it. Who signed the token is for its reader to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchored {
    /// As it is kept.
    pub anchor: Anchor,
    /// Its checkpoint.
    pub checkpoint: SignedCheckpoint,
}

/// The folder, and how often an authority was asked since the start.
#[derive(Debug)]
pub struct Anchors {
    folder: PathBuf,
    key: VerifierKey,
    logged: AtomicU64,
    failed: AtomicU64,
}

impl Anchors {
    /// The anchors of this arbiter's log in `folder`, which need not exist.
    pub fn new(folder: &Path, arbiter: &ArbiterIdentity) -> Self {
        let (logged, failed) = Default::default();
        Self { folder: folder.to_owned(), key: log_key(arbiter), logged, failed }
    }

    /// Keeps an anchor; durable on return.
    pub fn keep(&self, anchor: &Anchor) -> Result<(), AnchorsError> {
        let path = self.path(&anchor.digest());
        if self.read(&anchor.digest())?.is_some() {
            return Ok(());
        }
        let failed = |verb, path: &Path| {
            let path = path.to_owned();
            move |source| AnchorsError::Io { verb, path, source }
        };
        fs::create_dir_all(&self.folder).map_err(failed("make", &self.folder))?;
        let temporary = path.with_extension("new");
        let written = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary);
        let written = written.and_then(|mut file| {
            file.write_all(anchor.to_string().as_bytes())?;
            file.sync_all()
        });
        written.and_then(|()| fs::rename(&temporary, &path)).map_err(failed("write", &path))?;
        let parent = self.folder.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        for folder in [&self.folder, parent] {
            File::open(folder).and_then(|it| it.sync_all()).map_err(failed("sync", folder))?;
        }
        Ok(())
    }

    /// The anchor whose token has this digest; `None` if it is not here.
    pub fn read(&self, token: &Digest) -> Result<Option<Anchored>, AnchorsError> {
        let path = self.path(token);
        let mut text = String::new();
        let most = u64::try_from(limits::ANCHOR_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        match File::open(&path).and_then(|file| file.take(most).read_to_string(&mut text)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) if source.kind() != io::ErrorKind::InvalidData => {
                return Err(AnchorsError::Io { verb: "read", path, source });
            }
            // What is no text is no anchor either.
            _ => {}
        }
        let checked = self.check(token, &text);
        checked.map(Some).map_err(|problem| AnchorsError::Damaged { path, problem })
    }

    fn check(&self, token: &Digest, text: &str) -> Result<Anchored, String> {
        let anchor = Anchor::parse(text).map_err(|error| error.to_string())?;
        if anchor.digest() != *token {
            return Err("its token is another one".to_owned());
        }
        let checkpoint = SignedCheckpoint::verify(&anchor.note().to_string(), &self.key);
        let checkpoint = checkpoint.map_err(|error| error.to_string())?;
        let parsed = Token::parse(anchor.token()).map_err(|error| error.to_string())?;
        if !parsed.is_over(checkpoint.note().text().as_bytes()) {
            return Err("its token is over another text than its checkpoint".to_owned());
        }
        Ok(Anchored { anchor, checkpoint })
    }

    /// Every token that there is a file for, in order.
    pub fn tokens(&self) -> Result<Vec<Digest>, AnchorsError> {
        let failed = |source| AnchorsError::Io { verb: "read", path: self.folder.clone(), source };
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            found.extend(name.to_str().and_then(|name| Digest::parse_hex(name, "token").ok()));
        }
        found.sort();
        Ok(found)
    }

    /// The anchor that the leaf at `index` names; `None` if it names none, or the file is gone or damaged, which the operator
    /// is told.
    pub fn at(&self, engine: &Handle, index: LeafIndex) -> Result<Option<Anchored>, EngineError> {
        let Some(bytes) = engine.entries(index.0, 1)?.pop() else { return Ok(None) };
        let leaf = Leaf::decode(&bytes).map_err(|_| EngineError::Damaged)?;
        if leaf.event != Event::Anchor {
            return Ok(None);
        }
        Ok(self.read(&leaf.token).unwrap_or_else(|error| {
            tracing::error!(leaf = index.0, %error, "the time-stamp that a leaf names is lost");
            None
        }))
    }

    /// The earliest anchor over a tree with the leaf at `index`, and with a checkpoint that is `enough`.
    pub fn covering(
        &self,
        engine: &Handle,
        index: LeafIndex,
        enough: impl Fn(&SignedCheckpoint) -> bool,
    ) -> Result<Option<Anchored>, EngineError> {
        for place in engine.indexed(By::Event(Event::Anchor), index.0.saturating_add(1), LOOKED_AT)? {
            let found = self.at(engine, LeafIndex(place))?;
            let good = |it: &Anchored| it.checkpoint.checkpoint().size > index.0 && enough(&it.checkpoint);
            if let Some(found) = found.filter(good) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// How many anchors were logged since the start, and how often none came.
    pub fn counts(&self) -> (u64, u64) {
        (self.logged.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    pub(crate) fn count(&self, logged: bool) {
        let count = if logged { &self.logged } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn path(&self, token: &Digest) -> PathBuf {
        self.folder.join(token.to_string())
    }
}
