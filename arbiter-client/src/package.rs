//! The files of a package on this computer: given as one stream, kept as one folder.
//!
//! ```text
//!  our files ──Frames──▶ length, bytes, length, bytes, … ──▶ peer, arbiter
//!  peer, arbiter ──▶ … ──Folder──▶ part folder, a file for each leaf ──fsync, one rename──▶ received folder
//! ```
//!
//! Invariants
//! - A received package has its name only after every byte of every file was checked and is durable: all files or none. What
//!   does not fit, or breaks off, goes.
//! - Names in a package differ, also where upper and lower case do not (R-220): no file takes the place of another.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use arbiter_protocol::exchange::item::{Description, Information, Item};
use arbiter_protocol::exchange::kind::Unfit;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::limits;
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::error::{Error, Usage};
use crate::{items, plain};

/// The files of a package, in the order of its leaves.
fn files(items: &[Item]) -> Vec<&Information> {
    items.iter().flat_map(plain::files).collect()
}

/// What is kept in a folder when it arrives, of a package of files or of detached signatures: the name and size of each leaf, in
/// their order.
pub(crate) fn kept(item: &Item, sender: Role) -> Option<Vec<(String, u64)>> {
    let Description::Package(_) = &item.description else { return None };
    let kept = |(place, leaf): (usize, &Item)| match &leaf.description {
        Description::Information(it) => Some((it.name.clone(), it.size_bytes)),
        Description::DetachedSignature(it) => {
            let name = format!("{}.{sender}.sig", items::signed_about(place, it));
            Some((name, u64::try_from(it.key.signature_bytes()).unwrap_or(u64::MAX)))
        }
        _ => None,
    };
    item.leaves().into_iter().enumerate().map(kept).collect()
}

/// Finds out which of these files of ours is which leaf, whatever their order: each is read and checked (R-305).
pub(crate) async fn arrange(items: &[Item], given: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let (mut left, mut arranged) = (given.to_vec(), Vec::new());
    for described in files(items) {
        let mut unfit = Usage::Content("a file of the package is not among those that are given").into();
        let mut found = None;
        for (place, path) in left.iter().enumerate() {
            let size = fs::metadata(path).await.map_err(|error| Error::file(path, error))?.len();
            if size != described.size_bytes {
                continue;
            }
            match items::check_file(path, described).await {
                Ok(()) => {
                    found = Some(place);
                    break;
                }
                Err(error) => unfit = error,
            }
        }
        let Some(place) = found else { return Err(unfit) };
        let path = left.remove(place);
        arranged.push(std::path::absolute(&path).map_err(|error| Error::file(&path, error))?);
    }
    match left.first() {
        None => Ok(arranged),
        Some(_) => Err(Usage::Content("more files are given than the package has").into()),
    }
}

/// Reads the files of a package as its content (R-320).
pub(crate) struct Frames {
    paths: Vec<PathBuf>,
    rest: VecDeque<(PathBuf, u64)>,
    /// What is still to be said of the length of the file that is open.
    length: Vec<u8>,
    open: Option<(PathBuf, File)>,
}

impl Frames {
    /// The paths are those of the leaves, in their order.
    pub(crate) fn new(items: &[Item], paths: &[PathBuf]) -> Self {
        let sizes = files(items).into_iter().map(|file| file.size_bytes);
        let rest = paths.iter().cloned().zip(sizes).collect();
        Self { paths: paths.to_vec(), rest, length: Vec::new(), open: None }
    }

    /// Reads one full chunk, or what is left.
    pub(crate) async fn fill(&mut self, buffer: &mut Vec<u8>) -> Result<(), Error> {
        buffer.clear();
        loop {
            let room = limits::CHUNK_BYTES.saturating_sub(buffer.len());
            let length = room.min(self.length.len());
            buffer.extend(self.length.drain(..length));
            let room = u64::try_from(room.saturating_sub(length)).unwrap_or(u64::MAX);
            if room == 0 {
                return Ok(());
            }
            if let Some((path, file)) = &mut self.open {
                let read = file.take(room).read_to_end(buffer).await;
                if read.map_err(|error| Error::file(path, error))? == 0 {
                    self.open = None;
                }
                continue;
            }
            let Some((path, size)) = self.rest.pop_front() else { return Ok(()) };
            let file = File::open(&path).await.map_err(|error| Error::file(&path, error))?;
            self.length = size.to_be_bytes().to_vec();
            self.open = Some((path, file));
        }
    }

    /// The file at fault.
    pub(crate) fn is_unfit(&self, unfit: Unfit) -> Error {
        let place = if let Unfit::InPackage { place, .. } = unfit { place } else { 0 };
        Error::file(self.paths.get(place).map_or(Path::new("package"), PathBuf::as_path), unfit)
    }
}

/// Writes the content of a package of ours into one file, to be deposited.
pub(crate) async fn pack(items: &[Item], paths: &[PathBuf], to: &Path) -> Result<(), Error> {
    let io = |error| Error::file(to, error);
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).await.map_err(io)?;
    }
    let (mut file, mut frames) = (File::create(to).await.map_err(io)?, Frames::new(items, paths));
    let mut chunk = Vec::with_capacity(limits::CHUNK_BYTES);
    loop {
        frames.fill(&mut chunk).await?;
        if chunk.is_empty() {
            return file.flush().await.map_err(io);
        }
        file.write_all(&chunk).await.map_err(io)?;
    }
}

/// Takes the content of a package, which was checked up to there, into a folder with a file for each leaf.
pub(crate) struct Folder {
    path: PathBuf,
    rest: VecDeque<(PathBuf, u64)>,
    /// Bytes of the next length that are still to come.
    skip: usize,
    open: Option<(PathBuf, File, u64)>,
}

impl Folder {
    /// Begins an empty folder; what a stream that broke off has left there goes.
    pub(crate) async fn begin(path: &Path, leaves: Vec<(String, u64)>) -> Result<Self, Error> {
        discard(path).await?;
        fs::create_dir_all(path).await.map_err(|error| Error::file(path, error))?;
        let rest = leaves.into_iter().map(|(name, size)| (path.join(name), size));
        Ok(Self { path: path.to_owned(), rest: rest.collect(), skip: 0, open: None })
    }

    /// The lengths that were checked are those agreed, so these decide where a file ends.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let Some((path, file, left)) = &mut self.open else {
                let Some((path, size)) = self.rest.pop_front() else { return Ok(()) };
                let file = File::create(&path).await.map_err(|error| Error::file(&path, error))?;
                (self.open, self.skip) = (Some((path, file, size)), limits::FRAME_BYTES);
                continue;
            };
            let io = |error| Error::file(path, error);
            let (skipped, later) = bytes.split_at(self.skip.min(bytes.len()));
            self.skip = self.skip.saturating_sub(skipped.len());
            let most = usize::try_from(*left).unwrap_or(usize::MAX).min(later.len());
            let (now, later) = later.split_at(most);
            file.write_all(now).await.map_err(io)?;
            *left = left.saturating_sub(u64::try_from(now.len()).unwrap_or(u64::MAX));
            if *left == 0 && self.skip == 0 {
                file.flush().await.map_err(io)?;
                file.sync_all().await.map_err(io)?;
                self.open = None;
            }
            bytes = later;
        }
        Ok(())
    }

    /// Gives the folder its name: from now on all files are there, also after a crash.
    pub(crate) async fn finish(self, name: &Path) -> Result<(), Error> {
        discard(name).await?;
        let durable = async {
            File::open(&self.path).await?.sync_all().await?;
            fs::rename(&self.path, name).await?;
            File::open(name.parent().unwrap_or(Path::new("."))).await?.sync_all().await
        };
        durable.await.map_err(|error| Error::file(name, error))
    }
}

/// Files of a package that does not fit, or that broke off, are of no use; a failure to remove them changes nothing.
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Removes what was received and is not ours to keep: a file, or the folder of a package. Nothing there is as good.
pub(crate) async fn discard(path: &Path) -> Result<(), Error> {
    let removed = match fs::symlink_metadata(path).await {
        Ok(there) if there.is_dir() => fs::remove_dir_all(path).await,
        Ok(_) => fs::remove_file(path).await,
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file(path, error)),
        _ => Ok(()),
    }
}
