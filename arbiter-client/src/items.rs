//! The party's side of the kinds of items: describing, sending and receiving files in bounded memory.
//!
//! ```text
//!  own file ──read, check──▶ seal ──64 KiB──▶ peer ──open, check──▶ part file ──fsync, rename──▶ received file
//! ```
//!
//! Invariants
//! - A received file has its name only after every byte of it was checked and is durable.
//! - A file of ours that is no longer what was agreed is never sent whole.

use std::path::{Path, PathBuf};

use arbiter_protocol::crypto::{Opener, Sealer, SealingSecret};
use arbiter_protocol::error::Invalid;
use arbiter_protocol::exchange::item::{Description, Information, Item, Statement};
use arbiter_protocol::exchange::kind::Unfit;
use arbiter_protocol::exchange::kind::information::{ContentCheck, FitContent};
use arbiter_protocol::ids::{Digest, ExchangeId, SealingKey};
use arbiter_protocol::limits;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::error::Error;
use crate::random;
use crate::transport::Content;

/// Describes a file. Without `media_type`, the type is the one that its first bytes show, or
/// `application/octet-stream`.
pub async fn describe(path: &Path, media_type: Option<&str>) -> Result<Information, Error> {
    let (mut hasher, mut head, mut size_bytes) = (Sha256::new(), Vec::new(), 0u64);
    read_all(path, |bytes| {
        if head.is_empty() {
            head = bytes.to_vec();
        }
        hasher.update(bytes);
        size_bytes = size_bytes.saturating_add(length(bytes));
        Ok(())
    })
    .await?;
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Error::file(path, "the file's name is not text"))?;
    let shown = infer::get(&head).map_or("application/octet-stream", |kind| kind.mime_type());
    Ok(Information {
        sha256: Digest::from_bytes(hasher.finalize().into()),
        size_bytes,
        media_type: media_type.unwrap_or(shown).to_owned(),
        name: name.to_owned(),
    })
}

/// The item "this file".
pub fn file(described: Information) -> Item {
    Item::new(Description::Information(described))
}

/// The item "a signature over this title and text about this file".
pub fn signature(title: impl Into<String>, text: impl Into<String>, subject: Information) -> Item {
    Item::new(Description::Signature(Statement { title: title.into(), text: text.into(), subject }))
}

/// Checks that a file of ours is what an agreement says (R-305).
pub async fn check_file(path: &Path, described: &Information) -> Result<(), Error> {
    let mut check = ContentCheck::new(described.clone());
    read_all(path, |bytes| check.update(bytes).map_err(|unfit| Error::file(path, unfit))).await?;
    check.finish().map_err(|unfit| Error::file(path, unfit))?;
    Ok(())
}

async fn read_all(path: &Path, mut take: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
    let mut file = File::open(path).await.map_err(|error| Error::file(path, error))?;
    let mut buffer = Vec::with_capacity(limits::CHUNK_BYTES);
    while fill(&mut file, &mut buffer).await.map_err(|error| Error::file(path, error))? {
        take(&buffer)?;
    }
    Ok(())
}

/// Reads one full chunk, or what is left. Whether there was anything.
async fn fill(file: &mut File, buffer: &mut Vec<u8>) -> std::io::Result<bool> {
    buffer.clear();
    file.take(length_limit()).read_to_end(buffer).await?;
    Ok(!buffer.is_empty())
}

fn length_limit() -> u64 {
    u64::try_from(limits::CHUNK_BYTES).unwrap_or(u64::MAX)
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// A file on its way to the peer.
pub(crate) struct Outgoing {
    path: PathBuf,
    file: File,
    size: u64,
    check: Option<ContentCheck>,
    sealer: Sealer,
    first: bool,
    sent: u64,
}

impl Outgoing {
    pub(crate) async fn open(
        path: &Path,
        described: &Information,
        recipient: &SealingKey,
        context: &[u8],
    ) -> Result<Self, Error> {
        let file = File::open(path).await.map_err(|error| Error::file(path, error))?;
        let sealer = Sealer::new(recipient, context, &random::secret()?)
            .map_err(|_| Error::Bug("a sealing key of a verified offer is weak"))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            size: described.size_bytes,
            check: Some(ContentCheck::new(described.clone())),
            sealer,
            first: true,
            sent: 0,
        })
    }

    /// How many bytes of the file were taken.
    pub(crate) const fn sent(&self) -> u64 {
        self.sent
    }

    /// The next piece; none after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Content>, Error> {
        let Some(mut check) = self.check.take() else { return Ok(None) };
        let mut chunk = Vec::with_capacity(limits::CHUNK_BYTES);
        fill(&mut self.file, &mut chunk).await.map_err(|error| Error::file(&self.path, error))?;
        check.update(&chunk).map_err(|unfit| Error::file(&self.path, unfit))?;
        self.sent = check.found();
        let last = check.found() >= self.size || chunk.is_empty();
        if last {
            check.finish().map_err(|unfit| Error::file(&self.path, unfit))?;
        } else {
            self.check = Some(check);
        }
        let sealed = self.sealer.seal(&chunk, last).map_err(|_| Error::Bug("a chunk cannot be sealed"))?;
        let encapsulated = self.first.then(|| self.sealer.encapsulated().to_vec());
        self.first = false;
        Ok(Some(Content { encapsulated, sealed, last }))
    }
}

/// Why a file that arrives is not accepted.
#[derive(Debug, Error)]
pub(crate) enum NotReceived {
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error(transparent)]
    Sealed(#[from] Invalid),
    #[error(transparent)]
    Here(#[from] Error),
}

/// Where a file comes from: each source has its own part file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Arbiter,
    Peer,
}

/// A file that arrives: opened, checked and written while it does.
pub(crate) struct Incoming {
    check: ContentCheck,
    opener: Opener,
    file: File,
    part: PathBuf,
    whole: PathBuf,
}

impl Incoming {
    pub(crate) async fn begin(
        folder: &Path,
        exchange_id: ExchangeId,
        source: Source,
        described: &Information,
        (secret, context, encapsulated): (&SealingSecret, &[u8], &[u8]),
    ) -> Result<Self, NotReceived> {
        let opener = Opener::new(secret, context, encapsulated)?;
        let folder = folder.join("received").join(exchange_id.to_string());
        fs::create_dir_all(&folder).await.map_err(|error| Error::file(&folder, error))?;
        // Names in offers never begin with a dot, so no received file can have this name.
        let part = folder.join(match source {
            Source::Arbiter => ".arbiter.part",
            Source::Peer => ".peer.part",
        });
        let file = File::create(&part).await.map_err(|error| Error::file(&part, error))?;
        let whole = folder.join(&described.name);
        Ok(Self { check: ContentCheck::new(described.clone()), opener, file, part, whole })
    }

    pub(crate) async fn write(&mut self, sealed: &[u8], last: bool) -> Result<(), NotReceived> {
        let chunk = self.opener.open(sealed, last)?;
        self.check.update(&chunk)?;
        Ok(self.file.write_all(&chunk).await.map_err(|error| Error::file(&self.part, error))?)
    }

    /// How many bytes of the file are here.
    pub(crate) const fn got(&self) -> u64 {
        self.check.found()
    }

    /// The file fits: make it durable under its name.
    pub(crate) async fn finish(mut self) -> Result<(FitContent, PathBuf), NotReceived> {
        let fit = self.check.finish()?;
        let durable = async {
            self.file.flush().await?;
            self.file.sync_all().await?;
            fs::rename(&self.part, &self.whole).await?;
            let folder = self.whole.parent().unwrap_or(Path::new("."));
            File::open(folder).await?.sync_all().await
        };
        durable.await.map_err(|error| Error::file(&self.whole, error))?;
        Ok((fit, self.whole))
    }
}
