//! The side journal: every commit a second time, in an append-only file beside the store, ideally on another disk (R-520).
//!
//! ```text
//!              ┌─▶ store: one batch, synced ─────────────┐
//!  commit ─────┤                                         ├─▶ returns after both
//!              └─▶ thread: append, fdatasync ─▶ journal ─┘
//!
//!  open: journal and store compared ─┬─ the same ─▶ good
//!                                    ├─ journal ahead, next to next ─▶ the missing commits are carried out again
//!                                    ├─ journal behind ─▶ it begins anew after the store's head
//!                                    └─ anything else ─▶ nothing is committed: a high-water mark for the engine (R-522)
//! ```
//!
//! Why: a store that loses the newest part of its write-ahead log to a bad disk or a wrong restore opens without an error.
//! Its head and its tree fit together; they are only older than what was answered.
//!
//! Invariants
//! - A commit returns only when store and journal are on the disk. After an error in either nothing is written (R-505).
//! - Chunks are written here too, so a record that is carried out again finds the deposit that it names.
//! - What RocksDB keeps in its write-ahead log alone is less than what the journal keeps.

mod entry;
mod files;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arbiter_protocol::evidence::leaf::Pseudonym;
use arbiter_protocol::evidence::merkle::{Frontier, NodeId, leaf_hash};
use arbiter_protocol::ids::{Digest, ExchangeId, LeafIndex};
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::ruling::sequencer::{ContentId, Record};

use super::raw::Unswept;
use super::schema;
use super::{By, Commit, ContentHead, Due, OpenOrder, Store, StoreError, StoredHead};
use crate::keys::vault::Vault;
use entry::Item;
use files::{Found, Link, Pen, Place};
use writer::Writer;

#[cfg(any(test, feature = "testing"))]
pub use writer::Fault;

/// How much a journal keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// A file that has so many bytes gets no further commit.
    pub file_bytes: u64,
    /// The oldest file is removed if the others have so many bytes together, and are at least three.
    pub keep_bytes: u64,
}

impl Default for Bounds {
    /// Twice what RocksDB keeps in its write-ahead log alone: what is older is in files of its own, synced.
    fn default() -> Self {
        Self { file_bytes: 64 << 20, keep_bytes: 256 << 20 }
    }
}

/// A store with a journal.
pub struct Journaled<S> {
    inner: S,
    vault: Arc<Vault>,
    /// `None`: the two do not fit together, and nothing is committed.
    writer: Option<Writer>,
    /// Owns the turn of who commits, so that journal and store see commits in one order, and whether one failed: then
    /// nothing is written any more.
    turn: Mutex<bool>,
    remembered: Option<StoredHead>,
    fits: bool,
}

/// How a journal stands to a store.
enum Standing {
    /// There is none.
    Absent,
    /// It has commits that the store has not, from this link on, each after the one before.
    Ahead(usize),
    /// It ends so many commits before the store does.
    Behind(u64),
    /// The store is older than the journal, or another one.
    Conflict,
    /// They end in the same head.
    Same,
}

impl<S: Unswept> Journaled<S> {
    /// Puts the journal in `folder` beside a store that was opened without removing contents. If the store lost commits that
    /// the journal has, they are carried out again. If the two do not fit together nothing is changed, and the store can
    /// only be read: see [`Journaled::fits`].
    pub fn open(inner: S, folder: &Path, arbiter: &ArbiterIdentity) -> Result<Self, StoreError> {
        Self::open_within(inner, folder, arbiter, Bounds::default())
    }

    /// The same with files of another size.
    pub fn open_within(
        inner: S,
        folder: &Path,
        arbiter: &ArbiterIdentity,
        bounds: Bounds,
    ) -> Result<Self, StoreError> {
        let arbiter = schema::fingerprint(arbiter);
        files::make_folder(folder)?;
        let found = Found::read(folder, &arbiter)?;
        let remembered = found.head.clone();
        let fits = reconcile(&inner, &found, inner.vault())?;
        let head = inner.head()?;
        let writer = if fits {
            inner.sweep()?;
            let pen = Pen::new(folder, &arbiter, bounds, &found, head.as_ref())?;
            Some(Writer::start(pen, head)?)
        } else {
            None
        };
        Ok(Self { vault: Arc::clone(inner.vault()), inner, writer, turn: Mutex::default(), remembered, fits })
    }
}

impl<S: Store> Journaled<S> {
    /// Whether store and journal fit together. If not, the store was rolled back or is another one.
    pub const fn fits(&self) -> bool {
        self.fits
    }

    /// The newest head in the journal when it was opened.
    pub const fn remembered(&self) -> Option<&StoredHead> {
        self.remembered.as_ref()
    }

    /// Lets the next commit to the journal fail.
    #[cfg(any(test, feature = "testing"))]
    pub fn fail_next_commit(&self, fault: Fault) {
        if let Some(writer) = &self.writer {
            writer.fail_next_commit(fault);
        }
    }

    fn writer(&self) -> Result<&Writer, StoreError> {
        let unfit = || StoreError::Io(String::from("store and journal do not fit together"));
        self.writer.as_ref().ok_or_else(unfit)
    }
}

/// Compares the two (R-521). Nothing is changed.
fn compare(store: &dyn Store, found: &Found) -> Result<Standing, StoreError> {
    let head = store.head()?;
    if found.segments.is_empty() {
        return Ok(Standing::Absent);
    }
    if found.head == head {
        return Ok(Standing::Same);
    }
    let commits = |head: Option<&StoredHead>| head.map_or(0, |head| head.commits);
    let (ours, theirs) = (commits(head.as_ref()), commits(found.head.as_ref()));
    if theirs > ours {
        let from = found.links.iter().position(|link| link.expected == head);
        return Ok(from.map_or(Standing::Conflict, Standing::Ahead));
    }
    // Behind, or of the same age: then it must be a beginning of what the store has.
    let begins = match &found.head {
        None => true,
        Some(older) => {
            older.size <= head.as_ref().map_or(0, |head| head.size)
                && Frontier::from_nodes(older.size, |node| store.required_node(node))?.root() == older.root
        }
    };
    if !begins {
        return Ok(Standing::Conflict);
    }
    if ours == theirs {
        let detail =
            format!("its commit {ours} is another than that of the data folder, with the same leaves");
        return Err(StoreError::Damaged { what: "journal", detail });
    }
    Ok(Standing::Behind(ours.saturating_sub(theirs)))
}

/// Compares, and carries out again what the store has lost; whether the two fit together now.
fn reconcile(store: &dyn Store, found: &Found, vault: &Vault) -> Result<bool, StoreError> {
    match compare(store, found)? {
        Standing::Conflict => return Ok(false),
        Standing::Same | Standing::Behind(1) => {}
        Standing::Behind(commits) => tracing::warn!(
            commits,
            "the journal is older than the data folder: it was away, or lost; it begins anew after the newest commit"
        ),
        Standing::Absent => {
            if let Some(head) = store.head()? {
                tracing::warn!(
                    size = head.size,
                    "there is no journal: it begins here; what this data folder lost before cannot be told from it"
                );
            }
        }
        Standing::Ahead(from) => {
            let missing = found.links.get(from..).unwrap_or_default();
            if missing.len() == 1 {
                tracing::warn!(
                    "the newest commit is in the journal only: it was cut off, or lost by the data folder"
                );
            } else {
                tracing::error!(
                    commits = missing.len(),
                    "the data folder has lost commits that were answered; they are carried out again from the journal. \
                     Check its disk"
                );
            }
            missing.iter().try_for_each(|link| again(store, found, link, vault))?;
        }
    }
    Ok(true)
}

/// Carries out one commit of the journal, with the contents that it names.
fn again(store: &dyn Store, found: &Found, link: &Link, vault: &Vault) -> Result<(), StoreError> {
    let Item::Commit(mut commit) = files::read(&link.place, vault)? else {
        return Err(StoreError::Io(String::from("the journal changes while it is read")));
    };
    let before = commit.expected.as_ref().map_or(0, |head| head.size);
    let mut frontier = Frontier::from_nodes(before, |node| store.required_node(node))?;
    for leaf in &commit.leaves {
        commit.nodes.extend(frontier.append(leaf_hash(leaf)));
    }
    if (frontier.size(), frontier.root()) != (commit.head.size, commit.head.root) {
        let detail = format!("commit {} has leaves that do not give its root", commit.head.commits);
        return Err(StoreError::Damaged { what: "journal", detail });
    }
    for record in commit.records.values() {
        for (_, content) in record.held.iter() {
            content.map_or(Ok(()), |content| put_again(store, found, content, vault))?;
        }
    }
    let StoredHead { commits, size, .. } = commit.head;
    store.commit(&commit)?;
    tracing::warn!(commit = commits, leaves = commit.leaves.len(), size, "carried out again");
    Ok(())
}

/// Puts those parts of a content that the store has not.
fn put_again(store: &dyn Store, found: &Found, content: ContentId, vault: &Vault) -> Result<(), StoreError> {
    let head = store.content(content)?;
    if let (None, Some(place)) = (&head, found.contents.get(&content))
        && let Item::Content(read, head) = files::read(place, vault)?
        && read == content
    {
        store.put_content(content, &head)?;
    }
    let Some(head) = store.content(content)? else {
        tracing::error!(content = content.0, "a content is neither in the data folder nor in the journal");
        return Ok(());
    };
    for chunk in 0..head.chunks {
        let place: Option<&Place> = found.chunks.get(&(content, chunk));
        if let (None, Some(place)) = (store.chunk(content, chunk)?, place)
            && let Item::Chunk(read, number, sealed) = files::read(place, vault)?
            && (read, number) == (content, chunk)
        {
            store.put_chunk(content, chunk, &sealed)?;
        }
    }
    Ok(())
}

impl<S: Store> Store for Journaled<S> {
    fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        let mut failed = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = self.writer()?;
        if *failed {
            return Err(StoreError::Io(String::from("an earlier commit failed; start again")));
        }
        // What the store would refuse must not be in the journal.
        if self.inner.head()? != commit.expected {
            return Err(StoreError::HeadMoved);
        }
        let journaled = writer.commit(entry::commit(commit, &self.vault), commit.head.clone());
        let stored = self.inner.commit(commit);
        let done = journaled.wait().and(stored);
        *failed = done.is_err();
        done
    }

    fn publish(&self, note: &str) -> Result<(), StoreError> {
        let mut failed = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.writer()?;
        if *failed {
            return Err(StoreError::Io(String::from("an earlier commit failed; start again")));
        }
        // Not in the journal: it was published, and others have it.
        let done = self.inner.publish(note);
        *failed = done.is_err();
        done
    }

    fn put_chunk(&self, content: ContentId, chunk: u64, sealed: &[u8]) -> Result<(), StoreError> {
        self.writer()?.keep(entry::chunk(content, chunk, sealed))?;
        self.inner.put_chunk(content, chunk, sealed)
    }

    fn put_content(&self, content: ContentId, head: &ContentHead) -> Result<(), StoreError> {
        self.writer()?.keep(entry::content(content, head))?;
        self.inner.put_content(content, head)
    }

    fn head(&self) -> Result<Option<StoredHead>, StoreError> {
        self.inner.head()
    }

    fn record(&self, exchange: &ExchangeId) -> Result<Record, StoreError> {
        self.inner.record(exchange)
    }

    fn node(&self, node: NodeId) -> Result<Option<Digest>, StoreError> {
        self.inner.node(node)
    }

    fn leaves(&self, first: u64, count: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        self.inner.leaves(first, count)
    }

    fn hashes(&self, level: u8, first: u64, count: usize) -> Result<Vec<Digest>, StoreError> {
        self.inner.hashes(level, first, count)
    }

    fn indexed(&self, by: By, first: u64, count: usize) -> Result<Vec<u64>, StoreError> {
        self.inner.indexed(by, first, count)
    }

    fn index_entries(&self) -> Result<u64, StoreError> {
        self.inner.index_entries()
    }

    fn published(&self) -> Result<Option<String>, StoreError> {
        self.inner.published()
    }

    fn exchanges(&self, after: Option<ExchangeId>, count: usize) -> Result<Vec<ExchangeId>, StoreError> {
        self.inner.exchanges(after, count)
    }

    fn open_orders(&self, after: Option<&OpenOrder>, count: usize) -> Result<Vec<OpenOrder>, StoreError> {
        self.inner.open_orders(after, count)
    }

    fn standing(&self, after: Option<&Due>, count: usize) -> Result<Vec<Due>, StoreError> {
        self.inner.standing(after, count)
    }

    fn erased(&self, pseudonym: &Pseudonym) -> Result<Option<LeafIndex>, StoreError> {
        self.inner.erased(pseudonym)
    }

    fn erasures(
        &self,
        after: Option<Pseudonym>,
        count: usize,
    ) -> Result<Vec<(Pseudonym, LeafIndex)>, StoreError> {
        self.inner.erasures(after, count)
    }

    fn declared_policy(&self) -> Result<Option<Digest>, StoreError> {
        self.inner.declared_policy()
    }

    fn forget_history(&self) -> Result<(), StoreError> {
        let mut failed = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.writer()?.forget().wait().and_then(|()| self.inner.forget_history());
        *failed |= done.is_err();
        done
    }

    fn lost(&self, exchange: &Pseudonym) -> Result<Option<LeafIndex>, StoreError> {
        self.inner.lost(exchange)
    }

    fn all_lost(&self) -> Result<Vec<(Pseudonym, LeafIndex)>, StoreError> {
        self.inner.all_lost()
    }

    fn content(&self, content: ContentId) -> Result<Option<ContentHead>, StoreError> {
        self.inner.content(content)
    }

    fn content_chunks(&self) -> Result<u64, StoreError> {
        self.inner.content_chunks()
    }

    fn chunk(&self, content: ContentId, chunk: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.chunk(content, chunk)
    }

    fn remove_content(&self, content: ContentId) -> Result<(), StoreError> {
        self.inner.remove_content(content)
    }
}

/// What is in a journal that nobody writes to: for `fsck`, and for what puts leaves back.
pub struct Remains {
    found: Found,
    folder: PathBuf,
    arbiter: String,
    vault: Arc<Vault>,
}

impl Remains {
    /// Reads and checks every item: form, checksum, that each commit follows the one before. Nothing is changed.
    pub fn read(folder: &Path, arbiter: &ArbiterIdentity, vault: &Arc<Vault>) -> Result<Self, StoreError> {
        let arbiter = schema::fingerprint(arbiter);
        let (found, vault) = (Found::read(folder, &arbiter)?, Arc::clone(vault));
        Ok(Self { found, folder: folder.to_owned(), arbiter, vault })
    }

    /// The head after the newest commit.
    pub const fn head(&self) -> Option<&StoredHead> {
        self.found.head.as_ref()
    }

    /// The commits that follow each other up to the newest, without their nodes.
    pub fn commits(&self) -> impl Iterator<Item = Result<Box<Commit>, StoreError>> {
        self.found.links.iter().map(|link| match files::read(&link.place, &self.vault)? {
            Item::Commit(commit) => Ok(commit),
            _ => Err(StoreError::Io(String::from("the journal changes while it is read"))),
        })
    }

    /// Whether a store goes on from it, or will when it is served from again: what is missing is carried out then.
    pub fn fits(&self, store: &dyn Store) -> Result<bool, StoreError> {
        Ok(!matches!(compare(store, &self.found)?, Standing::Conflict))
    }

    /// Puts what a record names and the store has not.
    pub fn put_contents(&self, store: &dyn Store, record: &Record) -> Result<(), StoreError> {
        let held = record.held.iter().filter_map(|(_, content)| *content);
        held.into_iter().try_for_each(|content| put_again(store, &self.found, content, &self.vault))
    }

    /// From now on the journal begins after `head`, whatever it remembers.
    pub fn begin_again(self, head: &StoredHead) -> Result<(), StoreError> {
        files::make_folder(&self.folder)?;
        Pen::new(&self.folder, &self.arbiter, Bounds::default(), &self.found, Some(head)).map(drop)
    }
}
