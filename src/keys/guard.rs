//! The last look before a signature: what is signed must be what is durable (R-504).
//!
//! ```text
//!  store ── read again ──▶ Durable ──▶ guard ◀── message
//!    │ unreadable? error               │  same? sign          differs? panic
//! ```
//! The engine signs only after its commit. The guard checks that from the other side: it knows what was read
//! from the store, not the engine's memory. What cannot be read is an error, found before anything is signed. A
//! difference is a bug of ours and ends the process before the signature exists.

use std::sync::{Mutex, PoisonError};

use arbiter_protocol::crypto::Signer;
use arbiter_protocol::evidence::checkpoint::Checkpoint;
use arbiter_protocol::evidence::leaf::Leaf;
use arbiter_protocol::evidence::merkle::Frontier;
use arbiter_protocol::ids::{Digest, ExchangeId, LeafIndex, PublicKey};
use arbiter_protocol::message::payment::PaymentOrder;
use arbiter_protocol::message::verdict::{Answer, Attestation, Verdict};
use arbiter_protocol::ruling::sequencer::{Logged, Record};
use arbiter_protocol::statement::{Payload, pae};
use prost::Message as _;

use crate::store::schema::{self, Family};
use crate::store::{OpenOrder, Store, StoreError};

/// The first leaves of the log, as the store has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    /// How many.
    pub size: u64,
    /// Their root.
    pub root: Digest,
}

impl Tree {
    /// Reads the tree of the first `size` leaves; `None` if the store has not that many.
    pub fn read(store: &dyn Store, size: u64) -> Result<Option<Self>, StoreError> {
        Ok(durable_root(store, size)?.map(|root| Self { size, root }))
    }
}

/// What the store holds about one answer.
#[derive(Debug, Default)]
pub struct Durable {
    record: Record,
    leaf: Option<Leaf>,
    tree: Option<Tree>,
}

impl Durable {
    /// Reads the record of an exchange and the leaf at `index`. `tree` was read before: many answers share one.
    pub fn read(
        store: &dyn Store,
        exchange: &ExchangeId,
        index: LeafIndex,
        tree: Option<Tree>,
    ) -> Result<Self, StoreError> {
        let record = store.record(exchange)?;
        let not_a_leaf = |_| schema::damaged(Family::Leaves, &schema::leaf_key(index.0), "not a leaf");
        let stored = store.leaves(index.0, 1)?.pop();
        let leaf = stored.map(|bytes| Leaf::decode(&bytes).map_err(not_a_leaf)).transpose()?;
        Ok(Self { record, leaf, tree })
    }

    /// Reads the record of an exchange: orders that follow from its verdict can be signed.
    pub fn record_of(store: &dyn Store, exchange: &ExchangeId) -> Result<Self, StoreError> {
        Ok(Self { record: store.record(exchange)?, ..Self::default() })
    }

    /// The order, if no ledger has answered it yet.
    pub fn open_order(&self, open: &OpenOrder) -> Option<PaymentOrder> {
        let mut orders = self.record.orders().into_iter().filter(|(role, _)| *role == open.role);
        let (role, order) = orders.nth(open.leaf.into())?;
        let answered = self.record.answers.of(role).iter().any(|it| it.is_about(&order.terms));
        (!answered).then_some(order)
    }

    /// Only a tree: nothing but checkpoints can be signed.
    pub fn only(tree: Option<Tree>) -> Self {
        Self { tree, ..Self::default() }
    }

    fn holds_statement(&self, message: &[u8]) -> bool {
        if statement::<Verdict>(message).is_some() {
            return is_same(self.record.verdict.as_ref(), message);
        }
        if statement::<Attestation>(message).is_some() {
            return self.record.attestations.iter().any(|(_, it)| is_same(it.as_ref(), message));
        }
        if let Some(order) = statement::<PaymentOrder>(message) {
            return self.record.orders().into_iter().any(|(_, it)| it == order);
        }
        let Some(answer) = statement::<Answer>(message) else { return false };
        let leaf = self.leaf.as_ref();
        leaf.is_some_and(|leaf| leaf.index == answer.leaf_index && leaf.token == answer.statement)
            && self.tree == Some(Tree { size: answer.tree_size, root: answer.root })
    }

    fn holds_checkpoint(&self, message: &[u8]) -> bool {
        let text = std::str::from_utf8(message).ok();
        let checkpoint = text.and_then(|text| Checkpoint::parse(text).ok());
        checkpoint.is_some_and(|it| self.tree == Some(Tree { size: it.size, root: it.root }))
    }
}

/// Signs verdicts, attestations and answers, if the store holds what they say, and orders to ledgers, if they follow from
/// a verdict that it holds.
pub struct StatementGuard<'a> {
    signer: &'a dyn Signer,
    durable: &'a Durable,
}

impl<'a> StatementGuard<'a> {
    /// Guards `signer` with what was read.
    pub const fn new(signer: &'a dyn Signer, durable: &'a Durable) -> Self {
        Self { signer, durable }
    }
}

impl Signer for StatementGuard<'_> {
    fn public_key(&self) -> PublicKey {
        self.signer.public_key()
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        let durable = self.durable.holds_statement(message);
        assert!(durable, "invariant R-504: only a statement that the store holds is signed");
        self.signer.sign(message)
    }
}

/// Signs checkpoints, if the store holds a tree with that root.
pub struct CheckpointGuard<'a> {
    signer: &'a dyn Signer,
    durable: &'a Durable,
}

impl<'a> CheckpointGuard<'a> {
    /// Guards `signer` with what was read.
    pub const fn new(signer: &'a dyn Signer, durable: &'a Durable) -> Self {
        Self { signer, durable }
    }
}

impl Signer for CheckpointGuard<'_> {
    fn public_key(&self) -> PublicKey {
        self.signer.public_key()
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        let durable = self.durable.holds_checkpoint(message);
        assert!(durable, "invariant R-504: only a tree that the store holds is signed");
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
