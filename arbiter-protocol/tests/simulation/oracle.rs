//! What must hold, written from `SPEC.md` sections 5 to 7, 10 and 13. It looks at what travelled, what became durable, what the
//! arbiter and the ledger answered and what parties report; never into a session, `decide` or the books. The first thing that
//! does not hold ends the schedule.

use std::collections::BTreeMap;

use arbiter_protocol::evidence::checkpoint::Checkpoint;
use arbiter_protocol::evidence::note::Note;
use arbiter_protocol::exchange::item::Description;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::ids::{AgreementId, Digest, ExchangeId};
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::message::verdict::{Attestation, Ruling, Verdict};
use arbiter_protocol::role::Outcome;
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::ruling::sequencer::Record;
use arbiter_protocol::statement::{Envelope, Signed};

use crate::book::Book;
use crate::common::Kind;
use crate::signed::{CaseKey, Ordered, admitted};
use crate::stage::stage;

/// What the arbiter was to make durable.
pub struct Witnessed {
    pub records: BTreeMap<ExchangeId, Record>,
    pub leaves: Vec<Vec<u8>>,
    pub size: u64,
    pub root: Digest,
    pub time: u64,
    /// And did.
    pub stored: bool,
}

/// What really happened to one party's side of one exchange.
#[derive(Clone, Copy, Default)]
pub struct Facts {
    /// The party took part: it offered or accepted.
    pub engaged: bool,
    /// Its item was put on the network, so that the peer may have it.
    pub item_left: bool,
    /// The peer's item reached it and fits.
    pub received: bool,
    /// What the arbiter held for it reached it and fits.
    pub fetched: bool,
    /// How it says that the exchange ended.
    pub ended: Option<Outcome>,
    /// It ended, and its ledger never said whether it has paid.
    pub owes: bool,
}

pub struct Oracle {
    pub kinds: [Kind; 2],
    /// `[exchange][party]`.
    pub facts: [[Facts; 2]; 2],
    /// What is on the disk.
    pub records: BTreeMap<ExchangeId, Record>,
    pub leaves: Vec<Vec<u8>>,
    /// The latest time on record.
    pub time: u64,
    /// All of the first receipt, by the digest of the request that it answers (F6).
    shown: BTreeMap<Digest, Digest>,
    /// Statements shown, by exchange: F5 and what may never be lost.
    pub verdicts: BTreeMap<ExchangeId, Verdict>,
    pub attestations: BTreeMap<(ExchangeId, Role), Attestation>,
    /// Roots of the trees shown, by size.
    pub roots: BTreeMap<u64, Digest>,
    /// Every call that ever reached the arbiter.
    filed: Vec<CaseKey>,
    pub book: Book,
    /// The first thing that did not hold.
    pub broken: Option<String>,
}

/// RFC 6962 section 2.1, as it stands there.
fn tree_hash(leaves: &[Vec<u8>]) -> Digest {
    match leaves {
        [] => Digest::of(&[]),
        [leaf] => Digest::of(&[&[0], leaf]),
        _ => {
            let half = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(half);
            Digest::of(&[&[1], tree_hash(left).as_bytes(), tree_hash(right).as_bytes()])
        }
    }
}

/// Everything in a receipt.
fn digest_of(receipt: &Receipt) -> Digest {
    let evidence = &receipt.evidence;
    let mut all = vec![receipt.statement.encode(), receipt.answer.encode(), receipt.leaf.clone()];
    all.extend(receipt.inclusion_proof.iter().map(|it| it.to_vec()));
    all.extend([receipt.checkpoint.clone().into_bytes(), evidence.request.encode()]);
    all.extend(evidence.acceptance.iter().map(|it| it.encode()));
    all.extend(evidence.attestations.iter().filter_map(|(_, it)| it.as_ref()).map(|it| it.encode()));
    all.extend(evidence.escrows.iter().filter_map(|(_, it)| it.as_ref()).map(|it| it.to_bytes()));
    all.extend(receipt.record_salts.iter().map(|it| it.to_vec()));
    let parts: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    Digest::of(&parts)
}

impl Oracle {
    pub fn new(kinds: [Kind; 2], poor: bool) -> Self {
        Self {
            kinds,
            facts: Default::default(),
            records: BTreeMap::new(),
            leaves: Vec::new(),
            time: 0,
            shown: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            attestations: BTreeMap::new(),
            roots: BTreeMap::new(),
            filed: Vec::new(),
            book: Book::new(poor),
            broken: None,
        }
    }

    /// Notes what does not hold, if it is the first.
    pub fn must(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some(what());
        }
    }

    pub fn id(&self, exchange: usize) -> ExchangeId {
        stage().template(exchange, self.kinds[exchange]).offer.exchange_id()
    }

    /// The verdict on an exchange that is durable.
    pub fn verdict(&self, exchange: usize) -> Option<&Verdict> {
        self.records.get(&self.id(exchange))?.verdict.as_ref().map(|it| &it.statement)
    }

    pub fn ended(&mut self, exchange: usize, party: usize, outcome: Outcome) {
        let before = self.facts[exchange][party].ended;
        self.must(before.is_none_or(|it| it == outcome), || {
            format!("F4: party {party} ended exchange {exchange} as {before:?} and then as {outcome:?}")
        });
        self.facts[exchange][party].ended = Some(outcome);
    }

    /// F5, F8: what the store was asked to commit, and the calls that this process has seen.
    pub fn committed(&mut self, witnessed: Vec<Witnessed>, served: &[CaseKey]) {
        for key in served {
            if !self.filed.contains(key) {
                self.filed.push(*key);
            }
        }
        for Witnessed { records, leaves, size, root, time, .. } in
            witnessed.into_iter().filter(|it| it.stored)
        {
            for (exchange, record) in records {
                self.recorded(exchange, &record, served);
                self.records.insert(exchange, record);
            }
            let (known, now) = (self.leaves.len(), usize::try_from(size).unwrap());
            self.must(known <= now, || format!("F7: of {known} durable leaves {now} are left"));
            let before = self.time;
            self.must(before <= time, || "R-409: the arbiter's time went back".to_owned());
            self.time = time;
            self.leaves.extend(leaves);
            let all = (u64::try_from(self.leaves.len()).unwrap(), tree_hash(&self.leaves));
            self.must(all == (size, root), || format!("R-505: the head says {size} leaves and another root"));
        }
    }

    fn recorded(&mut self, exchange: ExchangeId, record: &Record, served: &[CaseKey]) {
        let gift = (0..2).any(|it| self.kinds[it].is_one_way() && self.id(it) == exchange);
        self.must(!gift || record.is_blank(), || {
            "R-429: something durable about an item for nothing".to_owned()
        });
        let before = self.records.get(&exchange).cloned().unwrap_or_default();
        for role in Role::BOTH {
            self.attested(exchange, role, &before, record, served);
        }
        self.answered(&before, record);
        let Some(logged) = &record.verdict else { return };
        let verdict = &logged.statement;
        if let Some(before) = before.verdict.as_ref().map(|it| it.statement.clone()) {
            self.must(before == *verdict, || format!("F5: a second verdict: {before:?}, {verdict:?}"));
            return;
        }
        let asked = |key: &&CaseKey| request_of(**key) == Some(verdict.request);
        // what has waited for its time is asked again then.
        let mut waited = before.standing.iter().filter_map(|(_, it)| it.as_ref());
        let waited = waited.any(|it| it.request.digest() == verdict.request);
        let cause = served.iter().find(asked).or_else(|| self.filed.iter().filter(|_| waited).find(asked));
        match cause.copied() {
            Some(cause) => {
                let earliest = self.time;
                self.must(earliest <= verdict.time.0, || "R-409: ruled before the latest time".to_owned());
                let entitled = self.entitled(verdict, cause, record);
                self.must(entitled.is_ok(), || format!("F8: {}", entitled.unwrap_err()));
            }
            None => self.must(false, || "F8: a verdict that nobody has asked for".to_owned()),
        }
    }

    /// what a ledger said about an order is kept once, is final, and is what the book says.
    fn answered(&mut self, before: &Record, record: &Record) {
        for role in Role::BOTH {
            let Some(answer) = record.answers.of(role).first() else { continue };
            self.must(record.answers.of(role).len() == 1, || "R-423: two answers to one order".to_owned());
            if let Some(before) = before.answers.of(role).first() {
                self.must(before == answer, || "R-423: a second answer of a ledger".to_owned());
                continue;
            }
            let receipt = Signed::parse(answer.receipt.clone()).ok();
            let stands = receipt.map(|it| self.book.stands(it.unverified()));
            self.must(stands == Some(true), || {
                "R-423: an answer that the ledger's book does not bear".to_owned()
            });
        }
    }

    /// F6, F7, F14 on a receipt as it leaves the arbiter. `fully`: it is verified as a party would.
    pub fn receipt(&mut self, key: CaseKey, receipt: &Receipt, fully: bool) {
        let case = admitted(key);
        let Ok(case) = case.as_ref() else {
            return self.must(false, || "F8: a rejected case was answered".to_owned());
        };
        let (exchange, request) = (case.exchange_id(), case.request().digest());
        if receipt.statement.holds::<Verdict>() {
            let verdict = Signed::<Verdict>::parse(receipt.statement.clone()).unwrap().unverified().clone();
            self.shown_verdict(exchange, &verdict);
            self.placed(receipt, verdict.leaf_index.0);
        } else {
            let shown = Signed::<Attestation>::parse(receipt.statement.clone()).unwrap().unverified().clone();
            self.shown_attestation(exchange, &shown);
            self.placed(receipt, shown.leaf_index.0);
        }
        let bytes = digest_of(receipt);
        let earlier = *self.shown.entry(request).or_insert(bytes);
        self.must(earlier == bytes, || format!("F6: {:?} was answered in two ways", key.action));
        if fully {
            let proven = receipt.verify(case.offer(), Some(request));
            self.must(proven.is_ok(), || format!("F14: a receipt does not verify: {}", proven.unwrap_err()));
        }
    }

    /// F5, F7.
    pub fn shown_verdict(&mut self, exchange: ExchangeId, verdict: &Verdict) {
        let stored = self.records.get(&exchange).and_then(|it| it.verdict.as_ref());
        let durable = stored.is_some_and(|it| it.statement == *verdict);
        self.must(durable, || "F7: a verdict was shown that is not durable".to_owned());
        let same = *self.verdicts.entry(exchange).or_insert_with(|| verdict.clone()) == *verdict;
        self.must(same, || "F5: two verdicts were shown".to_owned());
    }

    /// F5, F7.
    pub fn shown_attestation(&mut self, exchange: ExchangeId, shown: &Attestation) {
        let stored = self.records.get(&exchange).and_then(|it| attestation(it, shown.depositor));
        let durable = stored == Some(shown);
        self.must(durable, || "F7: an attestation was shown that is not durable".to_owned());
        let place = (exchange, shown.depositor);
        let same = *self.attestations.entry(place).or_insert_with(|| shown.clone()) == *shown;
        self.must(same, || "F5: two attestations were shown".to_owned());
    }

    /// The leaf is where the statement says, in the tree that the checkpoint says.
    fn placed(&mut self, receipt: &Receipt, leaf: u64) {
        let there = self.leaves.get(usize::try_from(leaf).unwrap());
        self.must(there == Some(&receipt.leaf), || format!("F7: leaf {leaf} is not the durable one"));
        let note = Note::parse(&receipt.checkpoint).unwrap();
        let Checkpoint { size, root, .. } = Checkpoint::parse(note.text()).unwrap();
        self.tree_shown(size, root);
    }

    pub fn tree_shown(&mut self, size: u64, root: Digest) {
        let durable = self.leaves.get(..usize::try_from(size).unwrap()).map(tree_hash);
        self.must(durable == Some(root), || {
            format!("F14: a tree of {size} leaves was shown that is not the log")
        });
        let first = *self.roots.entry(size).or_insert(root);
        self.must(first == root, || format!("F14: two trees of {size} leaves were shown"));
    }

    /// what is given out, and to whom. `plain` is what the party finds in it.
    pub fn content(&mut self, key: CaseKey, plain: Option<&[u8]>) {
        let owner = key.role.peer();
        let kind = self.kinds[key.exchange];
        let verdict = self.verdict(key.exchange).map(|it| it.ruling.clone());
        self.must(matches!(verdict, Some(Ruling::Replaced(_))), || {
            "R-408: a content was given out without a verdict that replaces".to_owned()
        });
        // K1: who signed two acceptances must open what rests on the other one under that. Who did not never has to.
        let rests_on = self.deposit(key.exchange, owner);
        if rests_on.is_some() && rests_on != self.verdict(key.exchange).and_then(|it| it.agreement_id) {
            let two = key.role == Role::Responder && Kind::WEAK.contains(&kind);
            return self
                .must(two, || "R-408: a content rests on another acceptance than the verdict".to_owned());
        }
        // A ledger's receipt is what it says, and was checked when it was deposited.
        let template = stage().template(key.exchange, kind);
        let paid = template.terms.of(owner).is_some() && self.is_attested(key.exchange, owner);
        let known = *template.contents.of(owner);
        let expected = if paid { plain } else { known };
        self.must(expected.is_some(), || format!("R-408: there is nothing to hold of the {}", owner.name()));
        self.must(plain == expected, || "F12: what was held is not the item of the peer".to_owned());
    }

    /// what a durable verdict orders about the payment of `payer`.
    pub fn ordered(&self, exchange: usize, payer: Role) -> Option<Ordered> {
        let reserved = stage().reserved(exchange, self.kinds[exchange], payer).is_some();
        match &self.verdict(exchange)?.ruling {
            Ruling::Aborted => reserved.then_some(Ordered::Void),
            Ruling::Affidavit(_) => None,
            Ruling::Replaced(list) => {
                (reserved && list.iter().any(|it| it.role == payer)).then_some(Ordered::PostAll)
            }
            Ruling::Revoked(list) => list.contains(&payer).then_some(Ordered::Void),
        }
    }

    /// whether the ledger's answer to everything that a verdict orders is durable.
    pub fn is_answered(&self, exchange: usize) -> bool {
        let record = self.records.get(&self.id(exchange));
        let heard = |role: Role| record.is_some_and(|it| !it.answers.of(role).is_empty());
        Role::BOTH.into_iter().all(|role| self.ordered(exchange, role).is_none() || heard(role))
    }

    /// what is taken for the item of `sender`: its transfer names exactly that item, and the content is all of it,
    /// unless it is a ledger's receipt.
    pub fn handed(&mut self, exchange: usize, sender: Role, transfer: &Envelope, content: Option<&[u8]>) {
        let template = stage().template(exchange, self.kinds[exchange]);
        let item = template.offer.item(sender);
        let named = Signed::<Transfer>::parse(transfer.clone()).is_ok_and(|it| it.unverified().item == *item);
        let whole = template.contents.of(sender).is_none_or(|good| content == Some(good));
        let rule = if matches!(item.description, Description::Package(_)) { "R-320" } else { "R-305" };
        self.must(named && whole, || format!("{rule}: something else than the whole item was taken for it"));
    }

    pub fn is_attested(&self, exchange: usize, role: Role) -> bool {
        self.deposit(exchange, role).is_some()
    }

    /// The agreement that the deposit of `role` rests on.
    fn deposit(&self, exchange: usize, role: Role) -> Option<AgreementId> {
        let record = self.records.get(&self.id(exchange))?;
        attestation(record, role).map(|it| it.agreement_id)
    }
}

pub fn attestation(record: &Record, role: Role) -> Option<&Attestation> {
    record.attestations.of(role).as_ref().map(|it| &it.statement)
}

/// The digest of the request of a call that was admitted.
pub fn request_of(key: CaseKey) -> Option<Digest> {
    admitted(key).as_ref().as_ref().ok().map(|case| case.request().digest())
}
