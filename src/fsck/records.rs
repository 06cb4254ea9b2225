//! The records: every statement is decided again from what the parties signed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use arbiter_protocol::evidence::leaf::{Event, Leaf, Pseudonym};
use arbiter_protocol::evidence::record::{ExchangeKey, record_root};
use arbiter_protocol::exchange::kind::content::FitContent;
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::ids::{Digest, ExchangeId, LeafIndex};
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::{Acceptance, ArbiterIdentity, Offer};
use arbiter_protocol::message::payment::{PaymentReceipt, PaymentState};
use arbiter_protocol::message::request::Request;
use arbiter_protocol::message::verdict::{Attestation, Ruling, Verdict};
use arbiter_protocol::role::arbiter::{Case, Decision, Known, decide};
use arbiter_protocol::ruling::chain::LeafFault;
use arbiter_protocol::ruling::receipt::{Evidence, Ruled, deposit_rule, record_values};
use arbiter_protocol::ruling::sequencer::{ContentId, LedgerAnswer, Logged, Record, Veil};
use arbiter_protocol::statement::{Envelope, Payload, Signed, digest_of};
use arbiter_protocol::time::UnixMillis;
use prost::Message as _;

use super::log::Good;
use super::{Problem, Progress, Report};
use crate::keys::guard::durable_root;
use crate::store::schema::{self, unsigned};
use crate::store::{Due, OpenOrder, Store};

struct Walk<'a> {
    store: &'a dyn Store,
    arbiter: &'a ArbiterIdentity,
    veil: Option<&'a dyn Veil>,
    good: &'a Good,
    /// Leaves whose statement was found.
    claimed: BTreeSet<u64>,
    contents: BTreeSet<ContentId>,
    /// Orders to ledgers that the records say are open.
    open: BTreeSet<OpenOrder>,
    /// Requests that the records say wait for their time.
    due: BTreeSet<Due>,
    /// Of the tree whose root was computed last: most records of a batch name the same.
    tree: Option<(u64, Digest)>,
}

/// What is held is sealed to a party: it is asked whether it is there and whole, not what it is.
const UNSEEN: ByRole<Option<&FitContent>> = ByRole { originator: None, responder: None };

/// What a statement's leaf must say.
struct Expected {
    index: LeafIndex,
    event: Event,
    rule: String,
    time: UnixMillis,
}

const PAGE: usize = 256;

/// Checks every record, as far as its leaves are good, and that no good leaf is without one.
pub(super) fn check(
    store: &dyn Store,
    arbiter: &ArbiterIdentity,
    veil: Option<&dyn Veil>,
    good: &Good,
    report: &mut Report,
    progress: &mut dyn FnMut(Progress),
) {
    let (claimed, contents, open) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut walk =
        Walk { store, arbiter, veil, good, claimed, contents, open, due: BTreeSet::new(), tree: None };
    let (mut after, mut done) = (None, 0u64);
    loop {
        let page = match store.exchanges(after, PAGE) {
            Ok(page) => page,
            Err(error) => return report.found(None, None, error.into()),
        };
        let Some(last) = page.last() else { break };
        after = Some(*last);
        for exchange in page {
            walk.record(exchange, report);
            done = done.saturating_add(1);
        }
        progress(Progress::Records { done });
    }
    match store.open_orders(None, usize::MAX) {
        Ok(listed) if listed.iter().eq(&walk.open) => {}
        Ok(listed) => {
            report.found(None, one_that_differs(listed, &walk.open).map(|it| it.exchange), Problem::Orders);
        }
        Err(error) => return report.found(None, None, error.into()),
    }
    match store.standing(None, usize::MAX) {
        Ok(listed) if listed.iter().eq(&walk.due) => {}
        Ok(listed) => {
            report.found(None, one_that_differs(listed, &walk.due).map(|it| it.exchange), Problem::Standing);
        }
        Err(error) => return report.found(None, None, error.into()),
    }
    let lost: BTreeMap<_, _> = match store.all_lost() {
        Ok(lost) => lost.into_iter().map(|(exchange, leaf)| (exchange.0, leaf)).collect(),
        Err(error) => return report.found(None, None, error.into()),
    };
    walk.unclaimed(&lost, report);
    walk.erasures(report);
}

/// The first that is expected and not listed, else the first that is listed and not expected.
fn one_that_differs<T: Ord + Copy>(listed: Vec<T>, expected: &BTreeSet<T>) -> Option<T> {
    let listed: BTreeSet<T> = listed.into_iter().collect();
    expected.difference(&listed).chain(listed.difference(expected)).next().copied()
}

impl Walk<'_> {
    /// Every leaf of an exchange has its statement, or the exchange was erased or is marked as lost.
    fn unclaimed(&self, lost: &BTreeMap<[u8; 16], LeafIndex>, report: &mut Report) {
        report.lost = u64::try_from(lost.len()).unwrap_or(u64::MAX);
        let known = |leaf: &Leaf| self.good.is_erased(leaf) || lost.contains_key(&leaf.exchange.0);
        let mut of_the_log = self.good.of_the_log.iter().cloned().flatten().peekable();
        for index in 0..self.good.leaves {
            if of_the_log.next_if_eq(&index).is_some() || self.claimed.contains(&index) {
                continue;
            }
            let stored = self.store.leaves(index, 1).map(|mut leaves| leaves.pop());
            let leaf = stored.ok().flatten().and_then(|bytes| Leaf::decode(&bytes).ok());
            if !leaf.as_ref().is_some_and(known) {
                return report.found(Some(index), None, Problem::Unclaimed);
            }
        }
        for (exchange, leaf) in lost {
            let chain = self.good.exchanges.get(exchange);
            let within = chain.is_some_and(|chain| leaf.0 >= chain.first && leaf.0 < self.good.leaves);
            if self.good.leaves == self.good.stored && !(within && self.good.restored) {
                return report.found(None, None, Problem::Lost);
            }
        }
    }

    /// the exchanges kept as erased are those whose chain ends so.
    fn erasures(&self, report: &mut Report) {
        let chains = self.good.exchanges.iter();
        let mut logged: BTreeMap<[u8; 16], u64> =
            chains.filter_map(|(name, chain)| Some((*name, chain.erased?.0))).collect();
        let mut after = None;
        loop {
            let page = match self.store.erasures(after, PAGE) {
                Ok(page) => page,
                Err(error) => return report.found(None, None, error.into()),
            };
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (Pseudonym(name), leaf) in page {
                if logged.remove(&name) == Some(leaf.0) {
                    report.erased = report.erased.saturating_add(1);
                } else if leaf.0 < self.good.leaves || leaf.0 >= self.good.stored {
                    let place = (leaf.0 < self.good.leaves).then_some(leaf.0);
                    return report.found(place, None, Problem::Erased);
                }
            }
        }
        if let Some(leaf) = logged.values().min() {
            report.found(Some(*leaf), None, Problem::Erased);
        }
    }

    fn record(&mut self, exchange: ExchangeId, report: &mut Report) {
        let chain = self.veil.and_then(|veil| self.good.exchanges.get(&veil.pseudonym(&exchange).0));
        let first = chain.map(|chain| chain.first);
        let record = match self.store.record(&exchange) {
            Ok(record) => record,
            Err(error) => return report.found(first, Some(exchange), error.into()),
        };
        if let Some(erased) = chain.and_then(|chain| chain.erased) {
            return report.found(Some(erased.0), Some(exchange), Problem::Erased);
        }
        self.open.extend(schema::open_orders(&exchange, &record, true).into_iter().map(|(order, _)| order));
        self.due.extend(schema::due(&exchange, &record));
        for (role, standing) in record.standing.iter() {
            let Some(standing) = standing else { continue };
            let case = standing.case(self.arbiter);
            let good =
                case.as_ref().is_ok_and(|it| it.exchange_id() == exchange && it.request().role == role);
            if !good || record.verdict.is_some() {
                return report.found(first, Some(exchange), Problem::Standing);
            }
        }
        let mut checks = Vec::new();
        for (_, attestation) in record.attestations.iter() {
            let Some(logged) = attestation else { continue };
            checks.push((logged.statement.leaf_index.0, self.attestation(exchange, &record, logged)));
        }
        if let Some(logged) = &record.verdict {
            checks.push((logged.statement.leaf_index.0, self.verdict(exchange, &record, logged)));
        }
        let heard = record.answers.iter().flat_map(|(role, all)| all.iter().map(move |it| (role, it)));
        for (role, answer) in heard {
            let index = Leaf::decode(&answer.leaf).map_or(u64::MAX, |leaf| leaf.index.0);
            checks.push((index, self.answer(exchange, &record, role, answer)));
        }
        let mut indices = Vec::new();
        for (index, checked) in checks {
            indices.push(index);
            if let Err(problem) = checked {
                // What stands where the log is damaged cannot be told apart from that damage.
                if index < self.good.leaves || index >= self.good.stored {
                    let place = (index < self.good.leaves).then_some(index).or(first);
                    report.found(place, Some(exchange), problem);
                }
                return;
            }
        }
        for (role, attestation) in record.attestations.iter() {
            report.attestations = report.attestations.saturating_add(u64::from(attestation.is_some()));
            let answered = u64::try_from(record.answers.of(role).len()).unwrap_or(u64::MAX);
            report.answers = report.answers.saturating_add(answered);
        }
        report.verdicts = report.verdicts.saturating_add(u64::from(record.verdict.is_some()));
        let place = indices.iter().min().copied().or(first);
        if indices.is_empty() && record.standing == ByRole::default() {
            return report.found(place, Some(exchange), Problem::RecordEmpty);
        }
        let counted = usize::try_from(record.leaves).ok() == Some(indices.len());
        if !counted || record.last_leaf.map(|leaf| leaf.0) != indices.iter().max().copied() {
            report.found(place, Some(exchange), Problem::Count);
        }
        for (role, _) in record.held.iter().filter(|(_, content)| content.is_some()) {
            if !accounted_for(&record, role) {
                let problem = "no attestation and no opened escrow accounts for it";
                report.found(place, Some(exchange), Problem::Content { problem });
            }
        }
    }

    fn attestation(
        &mut self,
        exchange: ExchangeId,
        record: &Record,
        logged: &Logged<Attestation>,
    ) -> Result<(), Problem> {
        let statement = &logged.statement;
        let case = self.admit(exchange, logged)?;
        let again = decide(&case, Known::default(), statement.time, statement.leaf_index, UNSEEN);
        if again != Ok(Decision::Attest(statement.clone())) {
            return Err(Problem::Decision);
        }
        let expected = Expected {
            index: statement.leaf_index,
            event: Event::DepositAccepted,
            rule: deposit_rule(case.offer().selection.protocol).to_owned(),
            time: statement.time,
        };
        self.logged((exchange, record), logged, ByRole::default(), &expected)?;
        let depositor = statement.depositor;
        let held = *record.held.of(depositor);
        let described = &case.offer().item(depositor).description;
        if !described.is_depositable() {
            return Err(Problem::Decision);
        }
        self.content(described.content_bytes(), held)
    }

    /// the receipt is the ledger's, final, and for an order that follows from the verdict.
    fn answer(
        &mut self,
        exchange: ExchangeId,
        record: &Record,
        role: Role,
        answer: &LedgerAnswer,
    ) -> Result<(), Problem> {
        let leaf = Leaf::decode(&answer.leaf).map_err(LeafFault::from)?;
        if self.store.leaves(leaf.index.0, 1)?.first() != Some(&answer.leaf) {
            return Err(Problem::LeafMismatch);
        }
        let invalid = |invalid: arbiter_protocol::error::Invalid| Problem::Evidence(invalid.into());
        let mut orders = record.orders().into_iter().filter(|(whose, _)| *whose == role);
        let order = orders.find(|(_, order)| answer.is_about(&order.terms));
        let (_, order) = order.ok_or(Problem::Decision)?;
        let twice = record.answers.of(role).iter().filter(|it| it.is_about(&order.terms)).count() > 1;
        let receipt = Signed::<PaymentReceipt>::parse(answer.receipt.clone()).map_err(invalid)?;
        let receipt = receipt.verify(&order.terms.payment.ledger).map_err(invalid)?;
        if twice || receipt.terms != order.terms || !receipt.is_final() {
            return Err(Problem::Decision);
        }
        let event = match receipt.state {
            PaymentState::Posted(_) => Event::PaymentPosted,
            _ => Event::PaymentVoided,
        };
        if leaf.event != event || leaf.reason != "R-423" || leaf.token != receipt.digest() {
            return Err(Problem::LeafMismatch);
        }
        if self.veil.is_some_and(|veil| leaf.exchange != veil.pseudonym(&exchange)) {
            return Err(Problem::LeafMismatch);
        }
        let key = record.key.as_ref().ok_or(Problem::SealedRecord)?;
        let value = Cow::Borrowed(receipt.envelope().payload());
        if record_root(&key.fields(&leaf.token, [("receipt", value)])) != leaf.record {
            return Err(Problem::SealedRecord);
        }
        match self.claimed.insert(leaf.index.0) {
            true => Ok(()),
            false => Err(LeafFault::Again { what: "statement of this leaf" }.into()),
        }
    }

    fn verdict(
        &mut self,
        exchange: ExchangeId,
        record: &Record,
        logged: &Logged<Verdict>,
    ) -> Result<(), Problem> {
        let statement = &logged.statement;
        let case = self.admit(exchange, logged)?;
        let known = Known { verdict: None, ..record.known() };
        let again = decide(&case, known, statement.time, statement.leaf_index, UNSEEN);
        if again != Ok(Decision::Rule(statement.clone())) {
            return Err(Problem::Decision);
        }
        let event = Ruled::event_of(statement);
        let relied_on = record.attestations.map(|_, it| {
            it.as_ref().filter(|deposit| statement.evidence.contains(&digest_of(&deposit.statement)))
        });
        let expected = Expected {
            index: statement.leaf_index,
            event,
            rule: statement.rule.clone(),
            time: statement.time,
        };
        self.logged((exchange, record), logged, relied_on, &expected)?;
        // a verdict that opened an escrow names the signature, sealed to the signer's peer.
        for role in case.to_open() {
            let item = &case.offer().item(role).description;
            let leaves = item.detached_leaves();
            let sizes = leaves.iter().map(|it| it.key.signature_bytes());
            let frames = if leaves.len() > 1 { leaves.len().saturating_mul(limits::FRAME_BYTES) } else { 0 };
            let size = sizes.fold(frames, usize::saturating_add);
            self.content(Some(u64::try_from(size).unwrap_or(u64::MAX)), *record.held.of(role))?;
        }
        Ok(())
    }

    /// Verifies what the parties signed.
    fn admit<T>(&self, exchange: ExchangeId, logged: &Logged<T>) -> Result<Case, Problem> {
        let invalid = |invalid: arbiter_protocol::error::Invalid| Problem::Evidence(invalid.into());
        let request = Signed::<Request>::parse(logged.request.clone()).map_err(invalid)?;
        let offer = Signed::<Offer>::parse(logged.offer.clone()).map_err(invalid)?;
        let acceptance = logged.acceptance.clone().map(Signed::<Acceptance>::parse);
        let acceptance = acceptance.transpose().map_err(invalid)?;
        let case = Case::admit(self.arbiter, request, offer, acceptance, logged.escrows.clone());
        let case = case.map_err(Problem::Evidence)?;
        if case.exchange_id() == exchange { Ok(case) } else { Err(Problem::OtherExchange) }
    }

    /// The leaf in the log is the one of this statement, and the tree in the record holds it.
    fn logged<T: Payload>(
        &mut self,
        (exchange, record): (ExchangeId, &Record),
        logged: &Logged<T>,
        relied_on: ByRole<Option<&Logged<Attestation>>>,
        expected: &Expected,
    ) -> Result<(), Problem> {
        let index = expected.index.0;
        let stored = self.store.leaves(index, 1)?;
        if stored.first() != Some(&logged.leaf) {
            return Err(Problem::LeafMismatch);
        }
        let leaf = Leaf::decode(&logged.leaf).map_err(LeafFault::from)?;
        let token = digest_of(&logged.statement);
        let fits = leaf.index == expected.index
            && leaf.event == expected.event
            && leaf.reason == expected.rule
            && leaf.time == expected.time
            && leaf.token == token;
        if !fits {
            return Err(Problem::LeafMismatch);
        }
        if !self.holds(logged, index)? {
            return Err(Problem::Tree);
        }
        if self.veil.is_some_and(|veil| leaf.exchange != veil.pseudonym(&exchange)) {
            return Err(Problem::LeafMismatch);
        }
        let key = record.key.as_ref().ok_or(Problem::SealedRecord)?;
        if sealed_record(key, &token, logged, relied_on) != Some(leaf.record) {
            return Err(Problem::SealedRecord);
        }
        if self.claimed.insert(index) {
            Ok(())
        } else {
            Err(LeafFault::Again { what: "statement of this leaf" }.into())
        }
    }

    /// Whether the tree that a record names is one of this log, and after the leaf.
    fn holds<T>(&mut self, logged: &Logged<T>, index: u64) -> Result<bool, Problem> {
        let size = logged.tree_size;
        if size <= index || size > self.good.stored {
            return Ok(false);
        }
        // A tree that reaches into damage cannot be computed; the damage is reported by itself.
        if size > self.good.leaves {
            return Ok(true);
        }
        let known = self.tree.filter(|(known, _)| *known == size);
        let root = match known {
            Some((_, root)) => Some(root),
            None => durable_root(self.store, size)?,
        };
        self.tree = root.map(|root| (size, root));
        Ok(root == Some(logged.root))
    }

    /// A content of `size_bytes` plain bytes is there, whole, and nobody else's; without a size, one of less than a chunk.
    fn content(&mut self, size_bytes: Option<u64>, content: Option<ContentId>) -> Result<(), Problem> {
        let incomplete = |problem| Problem::Content { problem };
        let content = content.ok_or(incomplete("the record names none"))?;
        if !self.contents.insert(content) {
            return Err(incomplete("another record names the same"));
        }
        let head = self.store.content(content)?.ok_or(incomplete("its head is missing"))?;
        let chunk_bytes = u64::try_from(limits::CHUNK_BYTES).unwrap_or(u64::MAX);
        let Some(size_bytes) = size_bytes else {
            let one = head.chunks == 1 && self.store.chunk(content, 0)?.is_some();
            return if one { Ok(()) } else { Err(incomplete("it is not the one chunk of a receipt")) };
        };
        if head.chunks != size_bytes.div_ceil(chunk_bytes) {
            return Err(incomplete("it has another number of chunks than its size asks for"));
        }
        let tag_bytes = limits::SEALED_CHUNK_BYTES.saturating_sub(limits::CHUNK_BYTES);
        let mut left = size_bytes;
        for chunk in 0..head.chunks {
            let sealed = self.store.chunk(content, chunk)?.ok_or(incomplete("a chunk is missing"))?;
            let plain = left.min(chunk_bytes);
            if sealed.len().checked_sub(tag_bytes).and_then(|it| u64::try_from(it).ok()) != Some(plain) {
                return Err(incomplete("a chunk has another length than it must have"));
            }
            left = left.saturating_sub(plain);
        }
        Ok(())
    }
}

/// Whether an attestation, or a verdict that took it out of escrow, is the reason why `role`'s item is held.
fn accounted_for(record: &Record, role: Role) -> bool {
    let attested = record.attestations.of(role).is_some();
    let opened = record.verdict.as_ref().is_some_and(|logged| match &logged.statement.ruling {
        Ruling::Aborted | Ruling::Affidavit(_) | Ruling::Revoked(_) => false,
        Ruling::Replaced(list) => {
            list.iter().any(|it| it.role == role && !it.item.description.detached_leaves().is_empty())
        }
    });
    attested || opened
}

/// The commitment that the leaf must hold, computed from the record.
fn sealed_record<T: Payload>(
    key: &ExchangeKey,
    token: &Digest,
    logged: &Logged<T>,
    relied_on: ByRole<Option<&Logged<Attestation>>>,
) -> Option<Digest> {
    let evidence = Evidence {
        request: logged.request.clone(),
        acceptance: logged.acceptance.clone(),
        attestations: relied_on.map(|_, it| it.and_then(|deposit| envelope(&deposit.statement))),
        escrows: logged.escrows.clone(),
    };
    let statement = envelope(&logged.statement)?;
    let values = record_values(&logged.offer, &evidence, &statement);
    Some(record_root(&key.fields(token, values)))
}

/// Only its payload means anything.
fn envelope<T: Payload>(statement: &T) -> Option<Envelope> {
    unsigned::<T>(statement.to_wire().encode_to_vec())
}
