//! The arbiter in the simulation of the core: the real `admit`, `decide`, sequencer and receipts over a durable half in memory.
//!
//! ```text
//!  reach ─▶ new ─poll─▶ queued ─turn─▶ one batch, one commit ─▶ answered ─poll─▶ answer        kill: only the durable half is left
//! ```

use std::collections::BTreeMap;

use arbiter_protocol::error::{Refused, Rejected};
use arbiter_protocol::exchange::kind::content::FitContent;
use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::ids::ExchangeId;
use arbiter_protocol::message::payment::{PaymentOrder, PaymentReceipt};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::role::arbiter::{Case, Escrows};
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::ruling::sequencer::{Batch, ContentId, Record, Reply, Seals};
use arbiter_protocol::statement::{Signed, Verified};
use arbiter_protocol::time::UnixMillis;

use crate::calls::Answer;
use crate::common::{Durable, Notary, check_content};
use crate::event::{Defect, Fate};
use crate::oracle::{Oracle, Witnessed};
use crate::signed::{CaseKey, Content, admitted};
use crate::stage::stage;

/// A call that the arbiter works on.
struct Served {
    key: CaseKey,
    content: Option<Content>,
    /// Nobody waits for the answer any more.
    orphan: bool,
    state: State,
}

enum State {
    New,
    Queued,
    Answered(Result<Reply, Rejected>),
}

/// What fits, and its bytes, by whose item it is.
type Brought = ByRole<Option<(FitContent, Vec<u8>)>>;

/// What the arbiter does of itself.
enum Own {
    Decide(Box<Case>),
    Hear(ExchangeId, Role, Box<Verified<PaymentReceipt>>),
}

pub struct Court {
    durable: Durable,
    /// Before the newest commit, if that is not durable although it was said to be.
    unsynced: Option<Durable>,
    defect: Option<Defect>,
    up: bool,
    now: u64,
    served: Vec<Served>,
    own: Vec<Own>,
    contents: BTreeMap<ContentId, Vec<u8>>,
    /// Every call that this process has seen.
    pub reached: Vec<CaseKey>,
    witnessed: Vec<Witnessed>,
}

impl Court {
    pub fn new(defect: Option<Defect>) -> Self {
        thread_local! {
            static GENESIS: Durable = Notary::new().durable;
        }
        let durable = GENESIS.with(Clone::clone);
        let (size, root) = (durable.head.frontier.size(), durable.head.frontier.root());
        let first = Witnessed {
            records: BTreeMap::new(),
            leaves: durable.leaves.clone(),
            size,
            root,
            time: durable.head.time.0,
            stored: true,
        };
        Self {
            durable,
            unsynced: None,
            defect,
            up: false,
            now: 0,
            served: Vec::new(),
            own: Vec::new(),
            contents: BTreeMap::new(),
            reached: Vec::new(),
            witnessed: vec![first],
        }
    }

    pub const fn is_up(&self) -> bool {
        self.up
    }

    pub fn set_clock(&mut self, now: u64) {
        self.now = now;
    }

    /// A new process on the same durable half.
    pub fn boot(&mut self, fate: Fate) -> Result<(), String> {
        self.reached.clear();
        self.up = fate == Fate::Stored;
        if self.up { Ok(()) } else { Err("the disk fails".to_owned()) }
    }

    /// The process ends: what was not committed never was. The callers will ask again.
    pub fn kill(&mut self, power: bool) -> Vec<CaseKey> {
        self.up = false;
        self.own.clear();
        if let Some(before) = self.unsynced.take().filter(|_| power) {
            self.durable = before;
        }
        self.served.drain(..).filter(|it| !it.orphan).map(|it| it.key).collect()
    }

    pub fn witnessed(&mut self) -> Vec<Witnessed> {
        std::mem::take(&mut self.witnessed)
    }

    /// This one has no disk whose accesses could fail.
    pub const fn was_blind(&self) -> bool {
        false
    }

    pub const fn go_blind(&self, _more: Option<u32>) {}

    pub fn serves(&self) -> usize {
        self.served.len()
    }

    pub fn reach(&mut self, key: CaseKey, content: Option<Content>) {
        if self.up {
            self.reached.push(key);
            self.served.push(Served { key, content, orphan: false, state: State::New });
        }
    }

    /// Works on one call; its answer, when there is one and somebody waits. The oracle sees it as it leaves.
    pub fn poll(&mut self, nth: usize, oracle: &mut Oracle, fully: bool) -> Option<(CaseKey, Answer)> {
        let served = self.served.get_mut(nth)?;
        match served.state {
            State::New => {
                served.state = State::Queued;
                return None;
            }
            State::Queued => return None,
            State::Answered(_) => {}
        }
        let Served { key, orphan, state, .. } = self.served.remove(nth);
        let State::Answered(answer) = state else { return None };
        (!orphan).then(|| (key, self.release(key, answer, oracle, fully)))
    }

    fn release(
        &self,
        key: CaseKey,
        answer: Result<Reply, Rejected>,
        oracle: &mut Oracle,
        fully: bool,
    ) -> Answer {
        let reply = match answer {
            Ok(reply) => reply,
            Err(Rejected::Refused(refused)) if admitted(key).is_ok() => return Answer::Refused(refused),
            Err(rejected) => return Answer::Rejected(rejected),
        };
        let case = admitted(key);
        let Ok(case) = case.as_ref() else { return Answer::Unfit };
        let id = case.exchange_id();
        let record = self.durable.record(&id);
        if fully && let Some(receipt) = self.receipt(case, &record, reply) {
            oracle.receipt(key, &receipt, true);
        }
        match reply {
            Reply::Verdict => {
                let verdict = record.verdict.expect("F7: a reply without its record").statement;
                oracle.shown_verdict(id, &verdict);
                Answer::Verdict(Box::new(verdict))
            }
            Reply::Attestation(depositor) => {
                let logged = record.attestations.of(depositor).as_ref();
                oracle.shown_attestation(id, &logged.expect("F7: a reply without its record").statement);
                Answer::Attested
            }
            Reply::Content(content) => {
                let plain = self.contents.get(&content).cloned();
                oracle.content(key, plain.as_deref());
                Answer::Content(plain)
            }
        }
    }

    /// The caller's connection breaks.
    pub fn hang_up(&mut self, nth: usize) -> CaseKey {
        self.served[nth].orphan = true;
        self.served[nth].key
    }

    /// How much waits for the next turn.
    pub fn waiting(&self) -> usize {
        self.served.iter().filter(|it| matches!(it.state, State::Queued)).count() + self.own.len()
    }

    /// Decides all that is queued and commits once. True if the process has to end.
    pub fn turn(&mut self, fate: Fate) -> bool {
        if !self.up || self.waiting() == 0 {
            return false;
        }
        let durable = self.durable.clone();
        let mut batch = Batch::new(&stage().desk, stage().veil(), durable.head.clone());
        let now = UnixMillis(self.now);
        let mut answers = Vec::new();
        for nth in 0..self.served.len() {
            if matches!(self.served[nth].state, State::Queued) {
                let answer = self.decide(nth, &mut batch, &durable, now);
                answers.push((nth, answer));
            }
        }
        for own in std::mem::take(&mut self.own) {
            match own {
                Own::Decide(case) => {
                    let _ = batch.file(&case, durable.record(&case.exchange_id()), now, ByRole::default());
                }
                Own::Hear(exchange, payer, receipt) => {
                    batch.hear(exchange, durable.record(&exchange), payer, &receipt, now);
                }
            }
        }
        if !batch.is_empty() && self.commit(batch, fate, durable) {
            return true;
        }
        for (nth, answer) in answers {
            self.served[nth].state = State::Answered(answer);
        }
        false
    }

    fn commit(&mut self, batch: Batch<'_>, fate: Fate, before: Durable) -> bool {
        let closed = batch.close();
        self.witnessed.push(Witnessed {
            records: closed.records.clone(),
            leaves: closed.leaves.clone(),
            size: closed.head.frontier.size(),
            root: closed.head.frontier.root(),
            time: closed.head.time.0,
            stored: fate != Fate::Lost,
        });
        let unsynced = self.defect == Some(Defect::Unsynced) && !closed.records.is_empty();
        if fate != Fate::Lost {
            self.durable.apply(closed);
            self.unsynced = unsynced.then_some(before);
        }
        fate != Fate::Stored
    }

    fn decide(
        &mut self,
        nth: usize,
        batch: &mut Batch<'_>,
        durable: &Durable,
        now: UnixMillis,
    ) -> Result<Reply, Rejected> {
        let Served { key, content, .. } = &self.served[nth];
        let (key, admitted) = (*key, admitted(*key));
        let case = match admitted.as_ref() {
            Ok(case) => case,
            Err(rejected) => return Err(*rejected),
        };
        let record = batch.record(&case.exchange_id()).cloned();
        let record = record.unwrap_or_else(|| durable.record(&case.exchange_id()));
        let role = case.request().role;
        let brought: Brought = if case.request().action == Action::Deposit {
            let bytes = content.as_ref().map(Content::bytes).unwrap_or_default();
            let fit = check_content(case.offer(), role, bytes).ok();
            fit.map_or_else(ByRole::default, |fit| ByRole::only(role, (fit, bytes.to_vec())))
        } else {
            open(case, key, &record)?
        };
        let brought = brought.map(|_, it| {
            let (fit, bytes) = it.as_ref()?;
            let id = ContentId(u64::try_from(self.contents.len()).unwrap());
            self.contents.insert(id, bytes.clone());
            Some((fit.clone(), id))
        });
        let held = brought.map(|_, it| it.as_ref().map(|(fit, id)| (fit, *id)));
        batch.file(case, record, now, held).map_err(Rejected::Refused)
    }

    pub fn open_orders(&self) -> Vec<(ExchangeId, Role, Verified<PaymentOrder>)> {
        let arbiter = &stage().casts[0].arbiter;
        let open = self.durable.records.iter().filter(|_| self.up);
        let orders = |(id, record): (&ExchangeId, &Record)| {
            let id = *id;
            let open = record.open_orders().into_iter();
            open.map(move |(role, order)| (id, role, Verified::sign(order, arbiter))).collect::<Vec<_>>()
        };
        open.flat_map(orders).collect()
    }

    pub fn hear(&mut self, exchange: ExchangeId, payer: Role, receipt: Verified<PaymentReceipt>) {
        self.own.push(Own::Hear(exchange, payer, Box::new(receipt)));
    }

    /// Files what has waited for its time (R-424); how much.
    pub fn file_due(&mut self) -> usize {
        let due: Vec<_> = self.due().collect();
        let count = due.len();
        self.own.extend(due.into_iter().map(|case| Own::Decide(Box::new(case))));
        count
    }

    pub fn overdue(&self) -> usize {
        self.due().count()
    }

    fn due(&self) -> impl Iterator<Item = Case> {
        let now = self.durable.head.time.max(UnixMillis(self.now));
        let records = self.durable.records.values().filter(|_| self.up);
        let standing = records.flat_map(|it| it.standing.iter().filter_map(|(_, it)| it.as_ref()));
        standing.filter(move |it| it.at <= now).map(|it| {
            let request = Signed::parse(it.request.clone()).expect("it was admitted");
            let offer = Signed::parse(it.offer.clone()).expect("it was admitted");
            let acceptance = it.acceptance.clone().map(|it| Signed::parse(it).expect("it was admitted"));
            let arbiter = stage().casts[0].identity();
            Case::admit(&arbiter, request, offer, acceptance, Escrows::default()).expect("it was admitted")
        })
    }

    /// It never waits.
    pub const fn settle_own(&mut self) {}

    /// F7: what is durable is what was made durable.
    pub fn audit(&self, oracle: &mut Oracle, _contents: bool) {
        let lost = oracle.records.iter().any(|(id, known)| self.durable.record(id) != *known);
        oracle.must(!lost, || "F7: a durable record was lost".to_owned());
        let same = self.durable.leaves == oracle.leaves;
        oracle.must(same, || "F7: the log lost leaves".to_owned());
    }

    pub const fn last_check(&self, _oracle: &mut Oracle) {}

    /// A receipt from the durable half alone (R-504).
    fn receipt(&self, case: &Case, record: &Record, reply: Reply) -> Option<Receipt> {
        let cast = &stage().casts[0];
        let seals = Seals { arbiter: &cast.arbiter, log: &cast.log };
        let request = case.request().digest();
        macro_rules! issue {
            ($logged:expr) => {{
                let logged = $logged.as_ref()?;
                let leaf = logged.statement.leaf_index;
                let proof = self.durable.proof(leaf, logged.tree_size);
                seals.issue(&stage().desk, record, logged, request, leaf, proof).ok()
            }};
        }
        match reply {
            Reply::Attestation(depositor) => issue!(record.attestations.of(depositor)),
            Reply::Verdict => issue!(record.verdict),
            Reply::Content(_) => None,
        }
    }
}

/// Opens what the case needs, unless there is a verdict to be replayed (R-411).
fn open(case: &Case, key: CaseKey, record: &Record) -> Result<Brought, Rejected> {
    let mut opened = ByRole::default();
    let template = stage().template(key.filed, key.kinds[key.filed]);
    for role in case.to_open().into_iter().filter(|_| record.verdict.is_none()) {
        let Some(escrow) = case.escrows().of(role).as_ref().and_then(Pledge::escrow) else { continue };
        let good = key.agreement.and_then(|index| template.escrowed[index].of(role).as_ref());
        // The good ones open: the stage has seen it. The others are really tried.
        let fit = if good.is_some_and(|good| good.escrow() == Some(escrow)) {
            template.opened(role).expect("a good escrow opens")
        } else {
            let agreement = case.agreement().expect("admitted").id();
            match Place::of(case.offer(), role, agreement).open(escrow, &stage().casts[0].escrow_secret()) {
                Ok((fit, _)) => fit,
                Err(Rejected::Refused(refused @ Refused::EscrowUnopenable { .. })) => {
                    return Err(refused.into());
                }
                Err(other) => return Err(other),
            }
        };
        let bytes = template.contents.of(role).expect("a detached signature is content");
        *opened.of_mut(role) = Some((fit, bytes.to_vec()));
    }
    Ok(opened)
}
