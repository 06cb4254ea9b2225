//! Releasing: what is durable is read again, signed and proved, in the task of the caller.
//!
//! ```text
//!  Granted ─▶ read record, leaf, tree again ─┬─ cannot be read ─▶ Damaged: the operator is told, others go on
//!                                            ├─ differs ─▶ panic before the signature exists (R-504)
//!                                            └─ the same ─▶ sign, prove ─▶ Receipt
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arbiter_protocol::error::Refused;
use arbiter_protocol::evidence::checkpoint::Checkpoint;
use arbiter_protocol::evidence::merkle;
use arbiter_protocol::ids::{Digest, ExchangeId, LeafIndex};
use arbiter_protocol::message::payment::PaymentOrder;
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::ruling::sequencer::{ContentId, Logged, Record, Reply, Seals, Veil as _};
use arbiter_protocol::statement::{Payload, Verified};
use tokio::sync::watch;

use super::{Ended, EngineError, Filed, Granted, Published, Shared, State};
use crate::keys::guard::{CheckpointGuard, Durable, Remembering, StatementGuard, Tree};
use crate::store::{OpenOrder, StoreError};

impl Shared {
    pub(super) fn published(&self) -> Published {
        *lock(&self.published)
    }

    /// Makes the receipt for a durable answer.
    pub(super) fn release(&self, granted: &Granted, request: Digest) -> Result<Filed, EngineError> {
        let record = &granted.record;
        match granted.reply {
            Reply::Content(content) => Ok(Filed::Content(content)),
            Reply::Attestation(depositor) => {
                let logged = record.attestations.of(depositor).as_ref().ok_or(EngineError::Damaged)?;
                self.receipt(
                    record,
                    logged,
                    request,
                    logged.statement.exchange_id,
                    logged.statement.leaf_index,
                )
            }
            Reply::Verdict => {
                let logged = record.verdict.as_ref().ok_or(EngineError::Damaged)?;
                self.receipt(
                    record,
                    logged,
                    request,
                    logged.statement.exchange_id,
                    logged.statement.leaf_index,
                )
            }
        }
    }

    /// What was stated about an exchange, in the order of the log: each as the answer to `request`, or, without one, to the
    /// request that caused it.
    pub(super) fn receipts(
        &self,
        exchange: &ExchangeId,
        request: Option<Digest>,
    ) -> Result<Vec<(LeafIndex, Receipt)>, EngineError> {
        let record = Arc::new(self.record(exchange)?);
        let attested = record.attestations.iter().filter_map(|(role, it)| {
            it.as_ref().map(|it| (it.statement.leaf_index, Reply::Attestation(role), it.request.digest()))
        });
        let ruled = record.verdict.as_ref();
        let ruled = ruled.map(|it| (it.statement.leaf_index, Reply::Verdict, it.request.digest()));
        let mut stated: Vec<_> = attested.chain(ruled).collect();
        stated.sort_by_key(|(index, ..)| *index);
        let mut receipts = Vec::new();
        for (index, reply, caused) in stated {
            let granted = Granted { reply, record: Arc::clone(&record) };
            if let Filed::Receipt(receipt) = self.release(&granted, request.unwrap_or(caused))? {
                receipts.push((index, *receipt));
            }
        }
        Ok(receipts)
    }

    fn receipt<T: Payload + Clone>(
        &self,
        record: &Record,
        logged: &Logged<T>,
        request: Digest,
        exchange: ExchangeId,
        index: LeafIndex,
    ) -> Result<Filed, EngineError> {
        let proof = self.prove(index.0, logged.tree_size)?;
        let tree = self.stored_tree(logged.tree_size)?;
        let durable = self.read(Durable::read(&*self.store, &exchange, index, tree))?;
        let receipt =
            self.sealed(&durable, |seals| seals.issue(&self.desk, record, logged, request, index, proof))?;
        Ok(Filed::Receipt(Box::new(receipt)))
    }

    /// Signs an order to a ledger, if the store still holds it open (R-423).
    pub(super) fn payment_order(
        &self,
        open: &OpenOrder,
    ) -> Result<Option<Verified<PaymentOrder>>, EngineError> {
        let durable = self.read(Durable::record_of(&*self.store, &open.exchange))?;
        let Some(order) = durable.open_order(open) else { return Ok(None) };
        self.sealed(&durable, |seals| Ok::<_, std::convert::Infallible>(Verified::sign(order, seals.arbiter)))
            .map(Some)
    }

    /// Signs a checkpoint of the log.
    pub(super) fn checkpoint(&self, checkpoint: &Checkpoint) -> Result<String, EngineError> {
        let durable = Durable::only(self.stored_tree(checkpoint.size)?);
        self.sealed(&durable, |seals| seals.checkpoint(checkpoint))
    }

    /// The tree of the first `size` leaves as the store has it. A tree of one size never changes.
    fn stored_tree(&self, size: u64) -> Result<Option<Tree>, EngineError> {
        let mut known = lock(&self.stored_tree);
        if known.as_ref().is_none_or(|tree| tree.size != size) {
            let found = self.read(Tree::read(&*self.store, size))?;
            if found.is_none() {
                return Ok(None);
            }
            *known = found;
        }
        Ok(*known)
    }

    pub(super) fn prove(&self, index: u64, size: u64) -> Result<Vec<Digest>, EngineError> {
        self.read(merkle::inclusion_proof(index, size, |node| self.store.required_node(node)))
    }

    /// Lends the keys to `make`, guarded by what is durable. A guard that refuses is a bug of ours: the engine
    /// ends (R-504).
    fn sealed<T, E: std::fmt::Display>(
        &self,
        durable: &Durable,
        make: impl FnOnce(Seals<'_>) -> Result<T, E>,
    ) -> Result<T, EngineError> {
        let _alarm = Alarm(&self.state);
        if *self.state.borrow() == State::Ended(Ended::Failed) {
            return Err(EngineError::Stopped); // R-505
        }
        self.writable()?; // R-523
        let arbiter = StatementGuard::new(self.keys.arbiter(), durable);
        let log = CheckpointGuard::new(self.keys.log(), durable);
        let log = Remembering::new(&log, &self.checkpoints);
        make(Seals { arbiter: &arbiter, log: &log }).map_err(|error| {
            tracing::error!(%error, "a receipt could not be made");
            EngineError::Damaged
        })
    }

    /// What is kept about an exchange, to decide a case; nothing is decided about one that was erased (R-533).
    pub(super) fn record(&self, exchange: &ExchangeId) -> Result<Record, EngineError> {
        self.not_lost(exchange)?;
        let record = self.read(self.store.record(exchange))?;
        if record.key.is_none()
            && self.read(self.store.erased(&self.keys.veil().pseudonym(exchange)))?.is_some()
        {
            return Err(Refused::Erased.into());
        }
        Ok(record)
    }

    /// Removes content that no record names, and frees its room.
    pub(super) fn remove_content(&self, content: ContentId) -> Result<(), StoreError> {
        self.store.remove_content(content)?;
        lock(&self.contents).removed(content);
        Ok(())
    }

    /// Turns a failure of the store into what the caller may know; the operator gets the rest.
    pub(super) fn read<T>(&self, result: Result<T, StoreError>) -> Result<T, EngineError> {
        result.map_err(|error| {
            tracing::error!(%error, "the store failed; run arbiter fsck");
            EngineError::Damaged
        })
    }

    /// R-526: an exchange whose record was lost is never decided again.
    pub(super) fn not_lost(&self, exchange: &ExchangeId) -> Result<(), EngineError> {
        if !self.has_lost {
            return Ok(());
        }
        match self.read(self.store.lost(&self.keys.veil().pseudonym(exchange)))? {
            None => Ok(()),
            Some(leaf) => Err(EngineError::RulingLost { leaf: leaf.0 }),
        }
    }

    pub(super) fn missing(&self, what: &str, id: u64) -> EngineError {
        tracing::error!(what, id, "the store lost an entry; run arbiter fsck");
        EngineError::Damaged
    }
}

/// Tells everybody that the engine has failed, if the thread that holds it panics.
pub(super) struct Alarm<'a>(pub(super) &'a watch::Sender<State>);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.send_replace(State::Ended(Ended::Failed));
        }
    }
}

/// A poisoned lock is taken as it is: every value behind one is replaced whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
