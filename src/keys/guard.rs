//! The last look before a signature: what is signed must be what is durable (R-504).
//!
//! ```text
//!  message ──▶ guard ── read again ──▶ store
//!                │  same? sign          differs? panic
//! ```
//! The engine signs only after its commit. The guard checks that from the other side: it reads the store,
//! not the engine's memory. A difference is a bug of ours and ends the process before the signature exists.

use std::sync::{Mutex, PoisonError};

use arbiter_protocol::crypto::Signer;
use arbiter_protocol::evidence::checkpoint::Checkpoint;
use arbiter_protocol::evidence::leaf::Leaf;
use arbiter_protocol::evidence::merkle::Frontier;
use arbiter_protocol::ids::{Digest, PublicKey};
use arbiter_protocol::message::verdict::{Answer, Attestation, Verdict};
use arbiter_protocol::ruling::sequencer::Logged;
use arbiter_protocol::statement::{Payload, pae};
use prost::Message as _;

use crate::store::{Store, StoreError};

/// Signs verdicts, attestations and answers, if the store holds what they say.
pub struct StatementGuard<'a> {
    signer: &'a dyn Signer,
    store: &'a dyn Store,
}

impl<'a> StatementGuard<'a> {
    /// Guards `signer` with `store`.
    pub const fn new(signer: &'a dyn Signer, store: &'a dyn Store) -> Self {
        Self { signer, store }
    }

    fn is_durable(&self, message: &[u8]) -> Option<bool> {
        if let Some(verdict) = statement::<Verdict>(message) {
            let record = self.store.record(&verdict.exchange_id).ok()?;
            return Some(is_same(record.verdict.as_ref(), message));
        }
        if let Some(attestation) = statement::<Attestation>(message) {
            let record = self.store.record(&attestation.exchange_id).ok()?;
            return Some(is_same(record.attestation.as_ref(), message));
        }
        let answer = statement::<Answer>(message)?;
        let stored = self.store.leaves(answer.leaf_index.0, 1).ok()?;
        let leaf = Leaf::decode(stored.first()?).ok()?;
        let root = durable_root(self.store, answer.tree_size).ok()?;
        Some(leaf.token == answer.statement && root == Some(answer.root))
    }
}

impl Signer for StatementGuard<'_> {
    fn public_key(&self) -> PublicKey {
        self.signer.public_key()
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        assert_eq!(
            self.is_durable(message),
            Some(true),
            "invariant R-504: only a statement that the store holds is signed"
        );
        self.signer.sign(message)
    }
}

/// Signs checkpoints, if the store holds a tree with that root.
pub struct CheckpointGuard<'a> {
    signer: &'a dyn Signer,
    store: &'a dyn Store,
}

impl<'a> CheckpointGuard<'a> {
    /// Guards `signer` with `store`.
    pub const fn new(signer: &'a dyn Signer, store: &'a dyn Store) -> Self {
        Self { signer, store }
    }

    fn is_durable(&self, message: &[u8]) -> Option<bool> {
        let checkpoint = Checkpoint::parse(std::str::from_utf8(message).ok()?).ok()?;
        let root = durable_root(self.store, checkpoint.size).ok()?;
        Some(root == Some(checkpoint.root))
    }
}

impl Signer for CheckpointGuard<'_> {
    fn public_key(&self) -> PublicKey {
        self.signer.public_key()
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        assert_eq!(
            self.is_durable(message),
            Some(true),
            "invariant R-504: only a tree that the store holds is signed"
        );
        self.signer.sign(message)
    }
}

/// The root of the first `size` leaves, from stored nodes; `None` if the store has not that many.
pub fn durable_root(store: &dyn Store, size: u64) -> Result<Option<Digest>, StoreError> {
    if store.head()?.is_none_or(|head| size > head.size) {
        return Ok(None);
    }
    let frontier = Frontier::from_nodes(size, |node| store.required_node(node))?;
    Ok(Some(frontier.root()))
}

fn is_same<T: Payload>(durable: Option<&Logged<T>>, message: &[u8]) -> bool {
    durable.is_some_and(|logged| pae(T::TYPE, &logged.statement.to_wire().encode_to_vec()) == message)
}

/// The statement inside a pre-authentication encoding, if it is a `T`.
fn statement<T: Payload>(message: &[u8]) -> Option<T> {
    let start = format!("DSSEv1 {} {} ", T::TYPE.len(), T::TYPE);
    let rest = message.strip_prefix(start.as_bytes())?;
    let space = rest.iter().position(|byte| *byte == b' ')?;
    let payload = rest.get(space.checked_add(1)?..)?;
    // Only the one encoding of the one payload counts.
    if pae(T::TYPE, payload) != message {
        return None;
    }
    T::from_wire(T::Wire::decode(payload).ok()?).ok()
}

/// Signs a message again without a signature if it is the one before: signatures are deterministic, and
/// every receipt of a batch carries the same checkpoint.
pub struct Remembering<'a> {
    signer: &'a dyn Signer,
    newest: &'a Mutex<Option<(Vec<u8>, [u8; 64])>>,
}

impl<'a> Remembering<'a> {
    /// Remembers in `newest`, which outlives this.
    pub const fn new(signer: &'a dyn Signer, newest: &'a Mutex<Option<(Vec<u8>, [u8; 64])>>) -> Self {
        Self { signer, newest }
    }
}

impl Signer for Remembering<'_> {
    fn public_key(&self) -> PublicKey {
        self.signer.public_key()
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*newest {
            Some((signed, signature)) if signed == message => *signature,
            _ => {
                let signature = self.signer.sign(message);
                *newest = Some((message.to_vec(), signature));
                signature
            }
        }
    }
}
