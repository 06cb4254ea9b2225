//! The writer's loop: take what is queued, decide it, commit once, release.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arbiter_protocol::ids::{ExchangeId, LeafIndex};
use arbiter_protocol::message::verdict::Ruling;
use arbiter_protocol::ruling::sequencer::{Batch, Closed, ContentId, Head, Record, Reply};
use tokio::sync::{mpsc, oneshot};

use super::release::lock;
use super::{BATCH, Ended, EngineError, Entry, Granted, Heard, Job, Message, Published, Shared, Wanted};
use crate::keys::fresh_exchange_key;
use crate::store::{Commit, StoreError, StoredHead, schema};

/// The only one that commits.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: mpsc::Receiver<Message>,
    /// The end of the log as the next batch sees it.
    pub(super) head: Head,
    /// The same as the store has it.
    pub(super) stored: Option<StoredHead>,
}

/// How a turn of the writer ended.
pub(super) enum Turn {
    /// Everything is answered.
    Over,
    /// Nothing is decided any more.
    Ended(Ended),
}

/// A decided case that waits for the commit.
struct Waiting {
    exchange: ExchangeId,
    durable: Arc<Record>,
    decided: Result<Reply, EngineError>,
    brought: Vec<ContentId>,
    reply: oneshot::Sender<Result<Granted, EngineError>>,
}

impl Writer {
    /// Runs until it is told to stop, every handle is gone, or a commit fails.
    pub(super) fn run(mut self) -> Ended {
        while let Some(first) = self.queue.blocking_recv() {
            if let Turn::Ended(ended) = self.turn(first) {
                return ended;
            }
        }
        Ended::Stopped
    }

    /// One batch: what is queued now, after `first`.
    pub(super) fn turn(&mut self, first: Message) -> Turn {
        let (mut jobs, mut heard, mut entries) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(message) = next.take() {
            match message {
                Message::File(job) => jobs.push(*job),
                Message::Hear(it) => heard.push(*it),
                Message::Log(entry) => entries.push(entry),
                // What is queued before this still gets its answer; nothing comes after.
                Message::Stop => self.queue.close(),
            }
            if jobs.len().saturating_add(heard.len()).saturating_add(entries.len()) < BATCH {
                next = self.queue.try_recv().ok();
            }
        }
        if self.shared.writable().is_err() {
            // What was brought is removed at the next start: nothing is written here any more.
            jobs.into_iter().for_each(|job| drop(job.reply.send(Err(EngineError::ReadOnly))));
            for entry in entries {
                let _ = entry.reply.send(Err(EngineError::ReadOnly));
            }
            return Turn::Over;
        }
        if let Err(error) = self.decide_and_commit(jobs, heard, entries) {
            tracing::error!(%error, "a commit failed: nothing more is signed; start the arbiter again");
            // Waiters see their channel close and are told that the engine has stopped.
            self.queue.close();
            return Turn::Ended(Ended::Failed);
        }
        Turn::Over
    }

    /// Decides and commits; answers only after the commit has returned.
    fn decide_and_commit(
        &mut self,
        jobs: Vec<Job>,
        heard: Vec<Heard>,
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let mut batch = Batch::new(&shared.desk, shared.keys.veil(), self.head.clone());
        let first_new = self.head.frontier.size();
        let mut waiting = Vec::with_capacity(jobs.len());
        let mut seen: BTreeMap<ExchangeId, Arc<Record>> = BTreeMap::new();
        for job in jobs {
            waiting.extend(decide(&shared, &mut batch, &mut seen, job));
        }
        let heard: Vec<_> = heard.into_iter().filter_map(|it| hear(&shared, &mut batch, it)).collect();
        let rulings = batch.len();
        // Last: what is decided in this batch is seen by what is erased in it.
        let entries: Vec<_> = entries.into_iter().map(|it| log(&shared, &mut batch, it)).collect();
        let changed = if batch.is_empty() {
            BTreeMap::new()
        } else {
            self.commit(batch.close(), &seen)?
                .into_iter()
                .map(|(id, record)| (id, Arc::new(record)))
                .collect()
        };
        self.count(&changed, (first_new, rulings), &waiting);
        for waiter in waiting {
            let record = changed.get(&waiter.exchange).unwrap_or(&waiter.durable);
            self.keep_or_drop(&waiter.brought, record);
            let granted = waiter.decided.map(|reply| Granted { reply, record: Arc::clone(record) });
            // A caller that went away can ask again and gets the same.
            let _ = waiter.reply.send(granted);
        }
        for (reply, counted) in heard {
            shared.tally.orders_answered.fetch_add(u64::from(counted), Ordering::Relaxed);
            let _ = reply.send(counted);
        }
        for (reply, logged) in entries {
            let _ = reply.send(logged);
        }
        Ok(())
    }

    /// Makes a batch durable and shows it to readers of the log.
    /// `before` has the records as they were.
    pub(super) fn commit(
        &mut self,
        closed: Closed,
        before: &BTreeMap<ExchangeId, Arc<Record>>,
    ) -> Result<BTreeMap<ExchangeId, Record>, StoreError> {
        let (size, root) = (closed.head.frontier.size(), closed.head.frontier.root());
        let commits = self.stored.as_ref().map_or(0, |head| head.commits).saturating_add(1);
        let decided = closed.records.iter().flat_map(|(exchange, record)| {
            let now = schema::due(exchange, record);
            let stood = before.get(exchange).map(|it| schema::due(exchange, it)).unwrap_or_default();
            stood.into_iter().filter(move |due| !now.contains(due))
        });
        let decided: Vec<_> = decided.collect();
        let stands = closed.records.iter().any(|(exchange, it)| !schema::due(exchange, it).is_empty());
        let commit = Commit {
            expected: self.stored.clone(),
            decided,
            head: StoredHead { commits, size, root, time: closed.head.time },
            records: closed.records,
            erased: closed.erased,
            policy: closed.policy,
            leaves: closed.leaves,
            nodes: closed.nodes,
            lost: Vec::new(),
        };
        self.shared.store.commit(&commit)?;
        self.head = closed.head;
        self.stored = Some(commit.head);
        *lock(&self.shared.published) = Published { commits, size, root };
        self.shared.tally.commits.fetch_add(1, Ordering::Relaxed);
        let erased = u64::try_from(commit.erased.len()).unwrap_or(u64::MAX);
        self.shared.tally.erased.fetch_add(erased, Ordering::Relaxed);
        self.shared.grown.send_if_modified(|known| std::mem::replace(known, size) != size);
        if stands {
            self.shared.standing.send_modify(|count| *count = count.wrapping_add(1));
        }
        Ok(commit.records)
    }

    /// A deposit that came too late, twice, or was refused leaves content that nobody will fetch; so does an escrow that
    /// was opened while somebody else was faster.
    fn keep_or_drop(&self, brought: &[ContentId], record: &Record) {
        for content in brought {
            if record.held.iter().any(|(_, held)| *held == Some(*content)) {
                lock(&self.shared.contents).keep(*content);
            } else {
                remove_unused(&self.shared, *content);
            }
        }
    }

    /// `first_new` is the index of the batch's first leaf, `new` the number of its rulings.
    fn count(
        &self,
        changed: &BTreeMap<ExchangeId, Arc<Record>>,
        (first_new, new): (u64, usize),
        waiting: &[Waiting],
    ) {
        let tally = &self.shared.tally;
        for (exchange, record) in changed {
            let verdict = record.verdict.as_ref().filter(|it| it.statement.leaf_index.0 >= first_new);
            if let Some(logged) = verdict {
                let verdict = &logged.statement;
                let count = match verdict.ruling {
                    Ruling::Aborted => &tally.verdicts_aborted,
                    Ruling::Affidavit(_) => &tally.affidavits,
                    Ruling::Replaced(_) => &tally.verdicts_replaced,
                    Ruling::Revoked(_) => &tally.verdicts_revoked,
                };
                count.fetch_add(1, Ordering::Relaxed);
                if !record.open_orders().is_empty() {
                    self.shared.orders.send_modify(|count| *count = count.wrapping_add(1));
                }
                let (rule, leaf) = (&verdict.rule, verdict.leaf_index.0);
                tracing::info!(%exchange, rule, leaf, requested_by = %verdict.requested_by, "ruled");
            }
            for (_, attestation) in record.attestations.iter() {
                let new = attestation.as_ref().filter(|it| it.statement.leaf_index.0 >= first_new);
                let Some(logged) = new else { continue };
                tally.attestations.fetch_add(1, Ordering::Relaxed);
                let (leaf, role) = (logged.statement.leaf_index.0, logged.statement.depositor);
                tracing::info!(%exchange, leaf, requested_by = %role, "attested");
            }
        }
        let mut answered = 0u64;
        for waiter in waiting {
            match &waiter.decided {
                Ok(Reply::Attestation(_) | Reply::Verdict) => answered = answered.saturating_add(1),
                Err(EngineError::Refused(refused)) => {
                    tally.refused.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(exchange = %waiter.exchange, reason = refused.reason(), "refused");
                }
                Ok(Reply::Content(_)) | Err(_) => {}
            }
        }
        let new = u64::try_from(new).unwrap_or(u64::MAX);
        tally.replays.fetch_add(answered.saturating_sub(new), Ordering::Relaxed);
    }
}

fn remove_unused(shared: &Shared, content: ContentId) {
    if let Err(error) = shared.remove_content(content) {
        tracing::warn!(%error, content = content.0, "unused content stays until the next start");
    }
}

/// Decides one case into the batch. A record that cannot be read is that caller's answer, not the others'.
fn decide(
    shared: &Shared,
    batch: &mut Batch<'_>,
    seen: &mut BTreeMap<ExchangeId, Arc<Record>>,
    job: Job,
) -> Option<Waiting> {
    let Job { case, held, reply } = job;
    let brought: Vec<_> = held.iter().filter_map(|(_, it)| it.as_ref().map(|(_, id)| *id)).collect();
    let exchange = case.exchange_id();
    let durable = match seen.get(&exchange) {
        Some(record) => Arc::clone(record),
        None => match recorded(shared, &exchange) {
            Ok(record) => Arc::new(record),
            Err(error) => {
                brought.into_iter().for_each(|id| remove_unused(shared, id));
                let _ = reply.send(Err(error));
                return None;
            }
        },
    };
    seen.entry(exchange).or_insert_with(|| Arc::clone(&durable));
    let fits = held.map(|_, it| it.as_ref().map(|(fit, id)| (fit, *id)));
    let decided = batch.file(&case, Record::clone(&durable), shared.clock.now(), fits);
    Some(Waiting { exchange, durable, decided: decided.map_err(EngineError::Refused), brought, reply })
}

/// The record of an exchange; a new exchange gets its key here.
fn recorded(shared: &Shared, exchange: &ExchangeId) -> Result<Record, EngineError> {
    let record = shared.record(exchange)?;
    if record.key.is_some() {
        return Ok(record);
    }
    fresh_exchange_key().map(Record::new).map_err(|error| {
        tracing::error!(%error, "a new exchange cannot be given a key");
        EngineError::Unsealed
    })
}

type Answered = (oneshot::Sender<Result<LeafIndex, EngineError>>, Result<LeafIndex, EngineError>);

/// Logs what the operator wants logged.
fn log(shared: &Shared, batch: &mut Batch<'_>, entry: Entry) -> Answered {
    let now = shared.clock.now();
    let logged = match entry.what {
        Wanted::Note(notice) => Ok(batch.note(notice, now)),
        Wanted::Erase(exchange, reason) => shared.read(shared.store.record(&exchange)).and_then(|record| {
            let leaf = batch.erase(exchange, record, reason, now)?;
            tracing::info!(%exchange, leaf = leaf.0, reason = reason.name(), rule = "R-533", "erased");
            Ok(leaf)
        }),
    };
    (entry.reply, logged)
}

/// Logs what a ledger said. A record that cannot be read fails this answer only: it is told again.
fn hear(shared: &Shared, batch: &mut Batch<'_>, heard: Heard) -> Option<(oneshot::Sender<bool>, bool)> {
    let Heard { exchange, role, receipt, reply } = heard;
    if shared.not_lost(&exchange).is_err() {
        // What the ledger said before is in the log, or cannot be added to it: told is told.
        let _ = reply.send(true);
        return None;
    }
    let record = shared.read(shared.store.record(&exchange)).ok()?;
    let counted = batch.hear(exchange, record, role, &receipt, shared.clock.now());
    if counted {
        let (entry, payment) = (receipt.entry, receipt.terms.id());
        tracing::info!(%exchange, %role, %payment, state = ?receipt.state, entry, rule = "R-423", "a ledger answered");
    }
    Some((reply, counted))
}
