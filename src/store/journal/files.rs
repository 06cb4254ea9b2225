//! The files of a journal: reading all of them, and the one that is written to.
//!
//! ```text
//!  00000000000000000004.journal   base │ item │ item │ …          full: synced, never written again
//!  00000000000000000005.journal   base │ item │ item │ torn tail  the newest: cut back at the next start
//! ```
//!
//! Invariants
//! - Files are numbered without gaps. Each begins with the head that its first commit follows.
//! - What is broken is a torn tail only in the newest file, and only if at most one commit comes after it: the next one is
//!   written only when the one before is on the disk. Everything else is damage, and is named with file and offset.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use arbiter_protocol::ruling::sequencer::ContentId;

use super::Bounds;
use super::entry::{self, Base, Broken, FRAME_BYTES, Item, MARK, Outline};
use crate::keys::vault::Vault;
use crate::store::{StoreError, StoredHead};

/// Where an item is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    file: PathBuf,
    offset: u64,
    bytes: u64,
}

/// A commit in the journal.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// What it follows.
    pub(super) expected: Option<StoredHead>,
    pub(super) place: Place,
}

/// A file of the journal, as far as it is good.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) bytes: u64,
}

/// Everything that is in a journal.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) segments: Vec<Segment>,
    /// The newest head; `None` if there is no file, or nothing was ever committed.
    pub(super) head: Option<StoredHead>,
    /// The commits since the newest base that does not follow the commit before it, each after the one before.
    pub(super) links: Vec<Link>,
    pub(super) chunks: BTreeMap<(ContentId, u64), Place>,
    pub(super) contents: BTreeMap<ContentId, Place>,
}

fn failed(file: &Path, error: &io::Error) -> StoreError {
    StoreError::Io(format!("journal {}: {error}", file.display()))
}

fn file_name(number: u64) -> String {
    format!("{number:020}.journal")
}

fn parse_name(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".journal")?.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

/// The numbers of all files, in order.
fn numbers(folder: &Path) -> Result<Vec<u64>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(folder, &error)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| failed(folder, &error))?.file_name();
        numbers.extend(name.to_str().and_then(parse_name));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

impl Found {
    /// Reads every file. Nothing is changed.
    pub(super) fn read(folder: &Path, arbiter: &str) -> Result<Self, StoreError> {
        let mut found = Self::default();
        let numbers = numbers(folder)?;
        for (number, next) in numbers.iter().zip(numbers.iter().skip(1)) {
            if number.checked_add(1) != Some(*next) {
                let file = folder.join(file_name(number.saturating_add(1)));
                return Err(StoreError::Journal {
                    file,
                    offset: 0,
                    problem: "is missing: the whole file is",
                });
            }
        }
        for number in &numbers {
            let newest = numbers.last() == Some(number);
            found.file(folder.join(file_name(*number)), *number, newest, arbiter)?;
        }
        Ok(found)
    }

    fn file(&mut self, file: PathBuf, number: u64, newest: bool, arbiter: &str) -> Result<(), StoreError> {
        let bytes = fs::read(&file).map_err(|error| failed(&file, &error))?;
        let mut rest = bytes.as_slice();
        let mut offset = 0u64;
        let damaged = |offset, problem| StoreError::Journal { file: file.clone(), offset, problem };
        while !rest.is_empty() {
            let body = match entry::body(rest) {
                Ok(body) => body,
                Err(_) if newest && commits_after(rest) <= 1 => break,
                Err(Broken::Cut) => return Err(damaged(offset, "begins an item that is cut off")),
                Err(Broken::Altered(problem)) => return Err(damaged(offset, problem)),
            };
            let item = entry::outline(body).map_err(|problem| damaged(offset, problem))?;
            let length = FRAME_BYTES.saturating_add(body.len());
            let bytes = u64::try_from(length).unwrap_or(u64::MAX);
            let place = Place { file: file.clone(), offset, bytes };
            self.item(item, place, number, arbiter).map_err(|problem| match problem {
                Problem::Other(found) => StoreError::OtherArbiter { found, expected: arbiter.to_owned() },
                Problem::Wrong(problem) => damaged(offset, problem),
            })?;
            offset = offset.saturating_add(bytes);
            rest = rest.get(length..).unwrap_or_default();
        }
        // A file whose base is torn was never used.
        if offset > 0 {
            self.segments.push(Segment { number, bytes: offset });
        } else if !newest {
            return Err(damaged(0, "should begin the file, which is empty"));
        }
        Ok(())
    }

    fn item(&mut self, item: Outline, place: Place, number: u64, arbiter: &str) -> Result<(), Problem> {
        if (place.offset == 0) != matches!(item, Outline::Base(_)) {
            return Err(Problem::Wrong("begins an item that does not belong there"));
        }
        match item {
            Outline::Base(base) => {
                if base.arbiter != arbiter {
                    return Err(Problem::Other(base.arbiter));
                }
                if base.number != number {
                    return Err(Problem::Wrong("says that the file has another number"));
                }
                if base.head != self.head {
                    self.links.clear();
                    self.head = base.head;
                }
            }
            Outline::Commit(expected, head) => {
                if expected != self.head {
                    return Err(Problem::Wrong("begins a commit that does not follow the one before"));
                }
                self.head = Some(head);
                self.links.push(Link { expected, place });
            }
            Outline::Chunk(content, chunk) => drop(self.chunks.insert((content, chunk), place)),
            Outline::Content(content) => drop(self.contents.insert(content, place)),
        }
        Ok(())
    }
}

enum Problem {
    Other(String),
    Wrong(&'static str),
}

/// How many whole commits there are after a broken item.
fn commits_after(broken: &[u8]) -> usize {
    let mut commits = 0usize;
    let mut rest = broken;
    while let Some(at) = rest.windows(MARK.len()).skip(1).position(|it| it == MARK) {
        rest = rest.get(at.saturating_add(1)..).unwrap_or_default();
        while let Ok(body) = entry::body(rest) {
            commits =
                commits.saturating_add(usize::from(matches!(entry::outline(body), Ok(Outline::Commit(..)))));
            rest = rest.get(FRAME_BYTES.saturating_add(body.len())..).unwrap_or_default();
        }
        if commits > 1 {
            break;
        }
    }
    commits
}

/// Reads one item again.
pub(super) fn read(place: &Place, vault: &Vault) -> Result<Item, StoreError> {
    let Place { file, offset, bytes } = place;
    let mut frame = Vec::new();
    let mut open = || {
        let mut opened = File::open(file)?;
        opened.seek(SeekFrom::Start(*offset))?;
        opened.take(*bytes).read_to_end(&mut frame)
    };
    open().map_err(|error| failed(file, &error))?;
    let changed = "is not what was there a moment ago";
    let item = entry::body(&frame).ok().and_then(|body| entry::item(body, vault).ok());
    item.ok_or_else(|| StoreError::Journal { file: file.clone(), offset: *offset, problem: changed })
}

/// Makes the folder; private, for it holds what parties filed.
pub(super) fn make_folder(folder: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| failed(folder, &error))
}

/// The newest file, to which items are appended.
#[derive(Debug)]
pub(super) struct Pen {
    folder: PathBuf,
    arbiter: String,
    bounds: Bounds,
    segments: Vec<Segment>,
    file: File,
}

impl Pen {
    /// Goes on after what was found, or begins with `head` if that is not where the journal ends.
    pub(super) fn new(
        folder: &Path,
        arbiter: &str,
        bounds: Bounds,
        found: &Found,
        head: Option<&StoredHead>,
    ) -> Result<Self, StoreError> {
        let mut segments = found.segments.clone();
        let (folder, arbiter) = (folder.to_owned(), arbiter.to_owned());
        let newest = segments.last().map(|newest| trim(&folder, *newest)).transpose()?;
        let file = match newest.filter(|_| found.head.as_ref() == head) {
            Some(file) => file,
            None => {
                let number = segments.last().map_or(0, |it| it.number.saturating_add(1));
                let base = Base { arbiter: arbiter.clone(), number, head: head.cloned() };
                let (file, bytes) = create(&folder, &base)?;
                segments.push(Segment { number, bytes });
                file
            }
        };
        Ok(Self { folder, arbiter, bounds, segments, file })
    }

    fn path(&self) -> PathBuf {
        self.folder.join(file_name(self.segments.last().map_or(0, |it| it.number)))
    }

    /// Appends; on the disk with the next [`Pen::sync`].
    pub(super) fn write(&mut self, frame: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(frame).map_err(|error| failed(&self.path(), &error))?;
        if let Some(newest) = self.segments.last_mut() {
            newest.bytes = newest.bytes.saturating_add(u64::try_from(frame.len()).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    /// Everything written is on the disk when this returns.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|error| failed(&self.path(), &error))
    }

    /// Whether it is time for the next file.
    pub(super) fn is_full(&self) -> bool {
        self.segments.last().is_some_and(|it| it.bytes >= self.bounds.file_bytes)
    }

    /// Begins the next file after `head`, and removes all others: nothing of what was committed before is here any more (R-533).
    pub(super) fn forget(&mut self, head: Option<&StoredHead>) -> Result<(), StoreError> {
        self.next(head)?;
        while self.segments.len() > 1 {
            self.remove_oldest()?;
        }
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| failed(&self.folder, &error))
    }

    fn remove_oldest(&mut self) -> Result<(), StoreError> {
        let Some(oldest) = self.segments.first() else { return Ok(()) };
        let path = self.folder.join(file_name(oldest.number));
        fs::remove_file(&path).map_err(|error| failed(&path, &error))?;
        self.segments.remove(0);
        Ok(())
    }

    /// Begins the next file after `head`, and removes files that are not needed any more.
    pub(super) fn next(&mut self, head: Option<&StoredHead>) -> Result<(), StoreError> {
        // Chunks that no commit has covered yet.
        self.sync()?;
        let number = self.segments.last().map_or(0, |it| it.number.saturating_add(1));
        let base = Base { arbiter: self.arbiter.clone(), number, head: head.cloned() };
        let (file, bytes) = create(&self.folder, &base)?;
        self.file = file;
        self.segments.push(Segment { number, bytes });
        while let Some((_, others)) = self.segments.split_first() {
            let kept = others.iter().fold(0u64, |sum, it| sum.saturating_add(it.bytes));
            // The newest has hardly anything in it: two full ones beside it stay whatever their size.
            if others.len() < 3 || kept < self.bounds.keep_bytes {
                break;
            }
            self.remove_oldest()?;
        }
        Ok(())
    }
}

/// Opens the newest file without its torn tail, and removes a file after it that was made and never used.
fn trim(folder: &Path, newest: Segment) -> Result<File, StoreError> {
    let path = folder.join(file_name(newest.number));
    let open = || {
        let unused = folder.join(file_name(newest.number.saturating_add(1)));
        if unused.exists() {
            fs::remove_file(unused)?;
            File::open(folder)?.sync_all()?;
        }
        let file = OpenOptions::new().append(true).open(&path)?;
        file.set_len(newest.bytes)?;
        file.sync_all()?;
        Ok(file)
    };
    open().map_err(|error: io::Error| failed(&path, &error))
}

fn create(folder: &Path, base: &Base) -> Result<(File, u64), StoreError> {
    let path = folder.join(file_name(base.number));
    let frame = entry::base(base);
    let make = || {
        // A file of this number is one whose base was torn.
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(&frame)?;
        file.sync_all()?;
        File::open(folder)?.sync_all()?;
        Ok(file)
    };
    let file = make().map_err(|error: io::Error| failed(&path, &error))?;
    Ok((file, u64::try_from(frame.len()).unwrap_or(u64::MAX)))
}
