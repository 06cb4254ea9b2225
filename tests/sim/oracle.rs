//! What must hold, written from `SPEC.md` sections 5 to 7 and 10. It looks at what travelled, what became durable, what the
//! arbiter answered and what parties report; never into a session or `decide`. The first thing that does not hold ends
//! the schedule.

use std::collections::{BTreeMap, BTreeSet};

use arbiter::engine::Handle;
use arbiter::store::Store;
use arbiter::store::mem::MemStore;
use arbiter::store::raw::Tamper;
use arbiter::store::schema::Family;
use arbiter_protocol::evidence::checkpoint::{Checkpoint, SignedCheckpoint};
use arbiter_protocol::evidence::merkle::verify_consistency;
use arbiter_protocol::evidence::note::{Note, VerifierKey};
use arbiter_protocol::exchange::selection::Role::{self, Originator, Responder};
use arbiter_protocol::ids::{Digest, ExchangeId};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::verdict::{Attestation, Ruling, Verdict};
use arbiter_protocol::role::Outcome;
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::ruling::sequencer::{ContentId, Logged, Record};
use arbiter_protocol::statement::Signed;

use crate::common::{COMPLAIN_BY, Kind};
use crate::court::{case_of, request_of};
use crate::disk::Witnessed;
use crate::stage::{CaseKey, role_in, stage};

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
}

pub struct Oracle {
    kinds: [Kind; 2],
    /// `[exchange][party]`.
    pub facts: [[Facts; 2]; 2],
    /// What is on the disk.
    records: BTreeMap<ExchangeId, Record>,
    leaves: Vec<Vec<u8>>,
    /// The latest time on record.
    time: u64,
    /// All of the first receipt, by the digest of the request that it answers (F6).
    shown: BTreeMap<Digest, Digest>,
    /// Statements shown, by exchange: F5 and what may never be lost.
    verdicts: BTreeMap<ExchangeId, Verdict>,
    attestations: BTreeMap<ExchangeId, Attestation>,
    /// Roots of the trees shown, by size.
    roots: BTreeMap<u64, Digest>,
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
    pub fn new(kinds: [Kind; 2]) -> Self {
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
            broken: None,
        }
    }

    /// Notes what does not hold, if it is the first.
    pub fn must(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some(what());
        }
    }

    fn id(&self, exchange: usize) -> ExchangeId {
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

    /// F5, F8: what the store was asked to commit, and the calls that were being served then.
    pub fn committed(&mut self, witnessed: Vec<Witnessed>, served: &[CaseKey]) {
        for Witnessed { commit, stored } in witnessed {
            if !stored {
                continue;
            }
            for (exchange, record) in commit.records {
                self.recorded(exchange, &record, served);
                self.records.insert(exchange, record);
            }
            let (known, now) = (self.leaves.len(), usize::try_from(commit.head.size).unwrap());
            self.must(known <= now, || format!("F7: of {known} durable leaves {now} are left"));
            let (before, after) = (self.time, commit.head.time.0);
            self.must(before <= after, || "R-409: the arbiter's time went back".to_owned());
            self.time = after;
            self.leaves.extend(commit.leaves);
            let (size, root) = (u64::try_from(self.leaves.len()).unwrap(), tree_hash(&self.leaves));
            self.must(size == commit.head.size && root == commit.head.root, || {
                format!("R-505: the head says {} leaves and another root", commit.head.size)
            });
        }
    }

    fn recorded(&mut self, exchange: ExchangeId, record: &Record, served: &[CaseKey]) {
        self.attested(exchange, record, served);
        let Some(logged) = &record.verdict else { return };
        let verdict = &logged.statement;
        let before = self.records.get(&exchange).and_then(|it| it.verdict.as_ref());
        if let Some(before) = before.map(|it| it.statement.clone()) {
            self.must(before == *verdict, || format!("F5: a second verdict: {before:?}, {verdict:?}"));
            return;
        }
        match served.iter().find(|key| request_of(**key) == Some(verdict.request)) {
            Some(cause) => {
                let earliest = self.time;
                self.must(earliest <= verdict.time.0, || "R-409: ruled before the latest time".to_owned());
                let deposit = attestation(record).map(|it| &it.statement);
                let deposited = deposit.map(|it| (it.depositor, Some(it.agreement_id)));
                let entitled = self.entitled(verdict, *cause, deposited);
                self.must(entitled.is_ok(), || format!("F8: {}", entitled.unwrap_err()));
            }
            None => self.must(false, || "F8: a verdict that nobody has asked for".to_owned()),
        }
    }

    /// F5, F8 and R-409 of an attestation: the first sender of P2 alone, in time, before any verdict, and once.
    fn attested(&mut self, exchange: ExchangeId, record: &Record, served: &[CaseKey]) {
        let Some(attested) = attestation(record).map(|it| &it.statement) else { return };
        let time = self.time;
        let before = self.records.get(&exchange).cloned().unwrap_or_default();
        if let Some(before) = attestation(&before) {
            return self.must(before.statement == *attested, || "F5: a second attestation".to_owned());
        }
        let (depositor, agreement) = (attested.depositor, Some(attested.agreement_id));
        let caused = served.iter().any(|key| {
            let kind = self.kinds[key.exchange];
            let template = stage().template(key.exchange, kind);
            let under = key.agreement.map(|it| template.agreements[it].id());
            key.action == Action::Deposit
                && template.offer.exchange_id() == exchange
                && key.role == role_in(key.exchange, key.signer)
                && !kind.is_p1()
                && (key.role, under) == (depositor, agreement)
                && key.role == kind.first()
        });
        let in_time = attested.time.0 < COMPLAIN_BY && time <= attested.time.0;
        self.must(caused && in_time && before.verdict.is_none(), || {
            "F8: a deposit was attested that nobody was entitled to make".to_owned()
        });
        self.must(record.held.of(depositor).is_some(), || "R-407: attested, and nothing is held".to_owned());
    }

    /// F8: the table of section 6, read as "who may have caused this".
    fn entitled(
        &self,
        verdict: &Verdict,
        key: CaseKey,
        deposit: Option<(Role, Option<arbiter_protocol::ids::AgreementId>)>,
    ) -> Result<(), &'static str> {
        let kind = self.kinds[key.exchange];
        let first = kind.first();
        let in_time = verdict.time.0 < COMPLAIN_BY;
        let replaced: Vec<Role> = match &verdict.ruling {
            Ruling::Aborted => Vec::new(),
            Ruling::Affidavit(_) | Ruling::Revoked(_) => return Err("a ruling that P1 and P2 do not have"),
            Ruling::Replaced(list) => list.iter().map(|it| it.role).collect(),
        };
        let ok = |holds: bool, what| if holds { Ok(()) } else { Err(what) };
        ok(key.role == role_in(key.exchange, key.signer), "caused by who does not hold the role")?;
        ok(verdict.requested_by == key.role && key.filed == key.exchange, "names another cause")?;
        match (kind.is_p1(), key.action) {
            (true, Action::Abort) => {
                let key_is_over = kind == Kind::P1Escrow && !in_time;
                ok(key.role == Originator || key_is_over, "P1: aborted by the responder")?;
                ok(replaced.is_empty(), "P1: an abort that replaces")
            }
            (true, Action::Resolve) => {
                ok(verdict.agreement_id.is_some(), "P1: resolved without an agreement")?;
                ok(kind != Kind::P1Escrow || in_time, "P1: opened with a key that is over")?;
                ok(replaced == [Originator, Responder], "P1: not both items are replaced")
            }
            (false, Action::Abort) => {
                ok(key.role == first || !in_time, "P2: the second sender aborted before complain_by")?;
                ok(replaced.is_empty(), "P2: an abort that replaces")
            }
            (false, Action::Resolve) => {
                ok(key.role == first && in_time, "P2: a complaint by the second sender, or too late")?;
                ok(deposit == Some((first, verdict.agreement_id)), "P2: a complaint without its deposit")?;
                ok(replaced == [first.peer()], "P2: not the second sender's item is replaced")
            }
            _ => Err("an action that rules nothing"),
        }
    }

    /// F6, F7, F14 on a receipt as it leaves the arbiter. `fully`: it is verified as a party would.
    pub fn receipt(&mut self, key: CaseKey, receipt: &Receipt, fully: bool) {
        let case = case_of(key);
        let Ok(case) = case.as_ref() else {
            return self.must(false, || "F8: a rejected case was answered".to_owned());
        };
        let (exchange, request) = (case.exchange_id(), case.request().digest());
        let durable = self.records.get(&exchange).cloned().unwrap_or_default();
        if receipt.statement.holds::<Verdict>() {
            let verdict = Signed::<Verdict>::parse(receipt.statement.clone()).unwrap().unverified().clone();
            let stored = durable.verdict.as_ref().map(|it| &it.statement);
            self.must(stored == Some(&verdict), || "F7: a verdict was shown that is not durable".to_owned());
            let first = self.verdicts.entry(exchange).or_insert_with(|| verdict.clone()).clone();
            self.must(first == verdict, || "F5: two verdicts were shown".to_owned());
            self.placed(receipt, verdict.leaf_index.0);
        } else {
            let shown = Signed::<Attestation>::parse(receipt.statement.clone()).unwrap().unverified().clone();
            let stored = attestation(&durable).map(|it| &it.statement);
            self.must(stored == Some(&shown), || {
                "F7: an attestation was shown that is not durable".to_owned()
            });
            let first = self.attestations.entry(exchange).or_insert_with(|| shown.clone()).clone();
            self.must(first == shown, || "F5: two attestations were shown".to_owned());
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

    /// The leaf is where the statement says, in the tree that the checkpoint says.
    fn placed(&mut self, receipt: &Receipt, leaf: u64) {
        let there = self.leaves.get(usize::try_from(leaf).unwrap());
        self.must(there == Some(&receipt.leaf), || format!("F7: leaf {leaf} is not the durable one"));
        let note = Note::parse(&receipt.checkpoint).unwrap();
        let Checkpoint { size, root, .. } = Checkpoint::parse(note.text()).unwrap();
        self.tree_shown(size, root);
    }

    fn tree_shown(&mut self, size: u64, root: Digest) {
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
        let template = stage().template(key.exchange, kind);
        let signature = *template.signatures.of(owner);
        let file = (!kind.is_p1() && owner == kind.first()).then_some(crate::common::CONTENT);
        let expected = signature.or(file);
        self.must(expected.is_some(), || format!("R-408: there is nothing to hold of the {}", owner.name()));
        self.must(plain == expected, || "F12: what was held is not the item of the peer".to_owned());
    }

    /// After a start, or at the end: nothing that was ever shown or stored is lost, and of contents exactly those are
    /// there that a record names.
    pub fn audit(&mut self, store: &MemStore, engine: &Handle, contents: bool) {
        for (exchange, told) in &self.verdicts.clone() {
            let found = store.record(exchange).ok().and_then(|it| it.verdict).map(|it| it.statement);
            self.must(found.as_ref() == Some(told), || "F7: an acknowledged verdict was lost".to_owned());
        }
        for (exchange, told) in &self.attestations.clone() {
            let found =
                store.record(exchange).ok().and_then(|it| attestation(&it).map(|it| it.statement.clone()));
            self.must(found.as_ref() == Some(told), || "F7: an acknowledged attestation was lost".to_owned());
        }
        for (exchange, known) in &self.records.clone() {
            let found = store.record(exchange);
            self.must(found.as_ref().is_ok_and(|it| it == known), || {
                "F7: a durable record was lost".to_owned()
            });
        }
        let leaves = store.leaves(0, self.leaves.len() + 1);
        self.must(leaves.is_ok_and(|it| it == self.leaves), || "F7: the log lost leaves".to_owned());
        if contents {
            self.contents(store);
        }
        self.consistent(engine);
    }

    fn contents(&mut self, store: &MemStore) {
        let named: BTreeSet<ContentId> =
            self.records.values().flat_map(|it| it.held.iter().filter_map(|(_, id)| *id)).collect();
        let id = |key: &[u8]| ContentId(u64::from_be_bytes(key[..8].try_into().unwrap()));
        let ids = |family| -> BTreeSet<_> { store.entries(family).iter().map(|(key, _)| id(key)).collect() };
        let (heads, chunks, unnamed) = (ids(Family::Contents), ids(Family::Chunks), ids(Family::Unnamed));
        self.must(named.is_subset(&heads) && named.is_subset(&chunks), || {
            "R-411: a content that a record names is lost".to_owned()
        });
        let left = heads.union(&chunks).chain(&unnamed).any(|it| !named.contains(it));
        self.must(!left && unnamed.is_empty(), || "R-407: a content is left that no record names".to_owned());
        for content in named {
            let whole = store.content(content).ok().flatten();
            let whole = whole.is_some_and(|it| {
                (0..it.chunks).all(|n| store.chunk(content, n).is_ok_and(|it| it.is_some()))
            });
            self.must(whole, || "R-411: a content that a record names has lost a chunk".to_owned());
        }
    }

    /// Every tree ever shown is the beginning of the newest.
    fn consistent(&mut self, engine: &Handle) {
        let key = VerifierKey::new("arbiter.test/log", stage().desk.arbiter.log_key).unwrap();
        let Ok(note) = engine.checkpoint() else { return };
        let Ok(newest) = SignedCheckpoint::verify(&note, &key) else {
            return self.must(false, || "F14: a checkpoint is not signed by the log".to_owned());
        };
        let Checkpoint { size, root, .. } = newest.checkpoint().clone();
        self.tree_shown(size, root);
        for (old, old_root) in self.roots.clone() {
            let joined = old <= size
                && engine
                    .consistency_proof(old, size)
                    .is_ok_and(|proof| verify_consistency(old, size, &proof, &old_root, &root).is_ok());
            self.must(joined, || format!("F14: no proof joins the trees of {old} and {size} leaves"));
        }
    }

    /// Whether the party can end with the peer's item, its replacement, or a deposit to fetch.
    fn has(&self, exchange: usize, party: usize) -> bool {
        let facts = self.facts[exchange][party];
        facts.received || facts.fetched || self.replaced(exchange, role_in(exchange, party).peer())
    }

    /// Whether the party's item may be in the hands of the peer, by any way.
    fn gave(&self, exchange: usize, party: usize) -> bool {
        let role = role_in(exchange, party);
        let facts = self.facts[exchange][party];
        // In P2 the first sender's deposit is there to fetch as soon as the verdict replaces.
        let deposited = !self.kinds[exchange].is_p1()
            && role == self.kinds[exchange].first()
            && matches!(self.verdict(exchange).map(|it| &it.ruling), Some(Ruling::Replaced(_)));
        facts.item_left || deposited || self.replaced(exchange, role)
    }

    fn replaced(&self, exchange: usize, role: Role) -> bool {
        match self.verdict(exchange).map(|it| &it.ruling) {
            Some(Ruling::Replaced(list)) => list.iter().any(|it| it.role == role),
            _ => false,
        }
    }

    /// F1 and F4, at the end of time, for one party that behaved.
    pub fn judge(&mut self, exchange: usize, party: usize) -> Option<Outcome> {
        let facts = self.facts[exchange][party];
        let fair = !self.gave(exchange, party) || self.has(exchange, party);
        self.must(fair, || {
            format!("F1: the peer has the item of party {party} in exchange {exchange}, and gave nothing")
        });
        if !facts.engaged {
            return None;
        }
        let Some(outcome) = facts.ended else {
            self.must(false, || format!("F4: party {party} did not end exchange {exchange}"));
            return None;
        };
        let peer = role_in(exchange, party).peer();
        let in_escrow = self.kinds[exchange].is_detached(peer);
        let ruling = self.verdict(exchange).map(|it| it.ruling.clone());
        let (holds, what) = match outcome {
            Outcome::Abandoned => (false, "abandoned, which only a transfer for nothing can be"),
            Outcome::Affidavit => (false, "ended with an affidavit, which P1 and P2 do not have"),
            Outcome::Completed => (facts.received, "completed without the item"),
            Outcome::Resolved if in_escrow => (facts.fetched, "resolved without the signature in hand"),
            Outcome::Resolved => (facts.fetched || self.replaced(exchange, peer), "resolved without an item"),
            Outcome::Aborted if facts.item_left => (false, "aborted after the item left"),
            Outcome::Aborted => (ruling == Some(Ruling::Aborted), "aborted without an abort token"),
        };
        self.must(holds, || format!("F1: party {party} {what} in exchange {exchange}"));
        Some(outcome)
    }

    /// How it ended, in words that name the ways worth reaching.
    pub fn ending(&self, exchange: usize, party: usize, outcome: Outcome) -> String {
        let kind = self.kinds[exchange];
        let order = if role_in(exchange, party) == kind.first() { "first" } else { "second" };
        let protocol = match (kind.is_p1(), Kind::ESCROW.contains(&kind)) {
            (true, false) => "P1",
            (true, true) => "P1e",
            (false, false) => "P2",
            (false, true) => "P2e",
        };
        let by = match self.verdict(exchange) {
            Some(verdict) if outcome != Outcome::Completed => {
                let who = if verdict.requested_by == kind.first() { "first" } else { "second" };
                format!(" by {who} ({})", verdict.rule)
            }
            _ => String::new(),
        };
        let fetched = outcome == Outcome::Resolved && self.facts[exchange][party].fetched;
        format!("{protocol} {order} {outcome:?}{by}{}", if fetched { ", fetched" } else { "" })
    }
}

/// In P1 and P2 there is at most one.
pub fn attestation(record: &Record) -> Option<&Logged<Attestation>> {
    record.attestations.iter().find_map(|(_, it)| it.as_ref())
}
