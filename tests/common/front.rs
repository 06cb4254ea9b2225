//! A store in front of the one in memory: what a test does before an access, or in its place.

use std::ops::Deref;

use arbiter::store::mem::MemStore;
use arbiter::store::{By, Commit, ContentHead, Due, OpenOrder, Store, StoreError, StoredHead};
use arbiter_protocol::evidence::leaf::Pseudonym;
use arbiter_protocol::evidence::merkle::NodeId;
use arbiter_protocol::ids::{Digest, ExchangeId, LeafIndex};
use arbiter_protocol::ruling::sequencer::{ContentId, Record};

/// What a test changes about a store.
pub trait Front: Send + Sync + 'static {
    /// Before every access: the store, or why it cannot be reached.
    fn store(&self) -> Result<&MemStore, StoreError>;

    fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        self.store()?.commit(commit)
    }

    fn publish(&self, note: &str) -> Result<(), StoreError> {
        self.store()?.publish(note)
    }

    fn remove_content(&self, content: ContentId) -> Result<(), StoreError> {
        self.store()?.remove_content(content)
    }
}

/// The store that an engine gets.
pub struct Fronted<T>(pub T);

impl<T> Deref for Fronted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Front> Store for Fronted<T> {
    fn head(&self) -> Result<Option<StoredHead>, StoreError> {
        self.store()?.head()
    }
    fn record(&self, exchange: &ExchangeId) -> Result<Record, StoreError> {
        self.store()?.record(exchange)
    }
    fn node(&self, node: NodeId) -> Result<Option<Digest>, StoreError> {
        self.store()?.node(node)
    }
    fn leaves(&self, first: u64, count: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        self.store()?.leaves(first, count)
    }
    fn hashes(&self, level: u8, first: u64, count: usize) -> Result<Vec<Digest>, StoreError> {
        self.store()?.hashes(level, first, count)
    }
    fn indexed(&self, by: By, first: u64, count: usize) -> Result<Vec<u64>, StoreError> {
        self.store()?.indexed(by, first, count)
    }
    fn index_entries(&self) -> Result<u64, StoreError> {
        self.store()?.index_entries()
    }
    fn published(&self) -> Result<Option<String>, StoreError> {
        self.store()?.published()
    }
    fn publish(&self, note: &str) -> Result<(), StoreError> {
        self.0.publish(note)
    }
    fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        self.0.commit(commit)
    }
    fn exchanges(&self, after: Option<ExchangeId>, count: usize) -> Result<Vec<ExchangeId>, StoreError> {
        self.store()?.exchanges(after, count)
    }
    fn erased(&self, pseudonym: &Pseudonym) -> Result<Option<LeafIndex>, StoreError> {
        self.store()?.erased(pseudonym)
    }
    fn erasures(
        &self,
        after: Option<Pseudonym>,
        count: usize,
    ) -> Result<Vec<(Pseudonym, LeafIndex)>, StoreError> {
        self.store()?.erasures(after, count)
    }
    fn declared_policy(&self) -> Result<Option<Digest>, StoreError> {
        self.store()?.declared_policy()
    }
    fn forget_history(&self) -> Result<(), StoreError> {
        self.store()?.forget_history()
    }
    fn open_orders(&self, after: Option<&OpenOrder>, count: usize) -> Result<Vec<OpenOrder>, StoreError> {
        self.store()?.open_orders(after, count)
    }
    fn standing(&self, after: Option<&Due>, count: usize) -> Result<Vec<Due>, StoreError> {
        self.store()?.standing(after, count)
    }
    fn put_chunk(&self, content: ContentId, chunk: u64, sealed: &[u8]) -> Result<(), StoreError> {
        self.store()?.put_chunk(content, chunk, sealed)
    }
    fn put_content(&self, content: ContentId, head: &ContentHead) -> Result<(), StoreError> {
        self.store()?.put_content(content, head)
    }
    fn content(&self, content: ContentId) -> Result<Option<ContentHead>, StoreError> {
        self.store()?.content(content)
    }
    fn content_chunks(&self) -> Result<u64, StoreError> {
        self.store()?.content_chunks()
    }
    fn chunk(&self, content: ContentId, chunk: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.store()?.chunk(content, chunk)
    }
    fn remove_content(&self, content: ContentId) -> Result<(), StoreError> {
        self.0.remove_content(content)
    }
}
