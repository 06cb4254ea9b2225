//! The production code, called once for each question. States hold small numbers; these tables hold what they name.
//!
//! ```text
//!   (session, own clock, input) ──▶ Session::handle ──▶ (session, outputs)
//!   (durable, cases in a batch)  ──▶ Batch::file …   ──▶ (durable, replies)
//!   (durable, case)              ──▶ issue, Receipt::verify ──▶ verdict
//! ```

use std::collections::HashMap;

use arbiter_protocol::error::Refused;
use arbiter_protocol::exchange::kind::content::FitContent;
use arbiter_protocol::exchange::kind::signature;
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::ids::AgreementId;
use arbiter_protocol::message::payment::{PaymentAction, PaymentState};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::message::verdict::Verdict;
use arbiter_protocol::role::arbiter::payment_orders;
use arbiter_protocol::role::{Ask, Fit, Input, Output, Phase, Session, Step, Timing};
use arbiter_protocol::ruling::receipt::Ruled;
use arbiter_protocol::ruling::sequencer::{Batch, Logged, Reply, Seals};
use arbiter_protocol::statement::{Signed, Verified};
use arbiter_protocol::time::{DurationMillis, UnixMillis};

use crate::common::money::{PART, bytes, receipt};
use crate::common::{Durable, Notary, TestVeil, check_content, content_of};
use crate::stage::{MARGIN, Ordered, Stage, person, role};

pub const TIMING: Timing = Timing { complain_margin: DurationMillis(MARGIN) };

/// What is beside a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Beside {
    /// The bytes agreed, or nothing where the transfer is the item.
    Good,
    /// Other bytes.
    Bad,
    /// What the ledger once said of the sender's payment.
    Receipt(Said),
}

/// A state of a payment of which there is a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Said {
    Absent,
    Reserved,
    Posted,
    Part,
    Voided,
}

impl Said {
    pub const fn of(state: PaymentState) -> Self {
        match state {
            PaymentState::Absent => Self::Absent,
            PaymentState::Reserved => Self::Reserved,
            PaymentState::Posted(PART) => Self::Part,
            PaymentState::Posted(_) => Self::Posted,
            PaymentState::Voided => Self::Voided,
        }
    }

    const fn state(self, all: u64) -> PaymentState {
        match self {
            Self::Absent => PaymentState::Absent,
            Self::Reserved => PaymentState::Reserved,
            Self::Posted => PaymentState::Posted(all),
            Self::Part => PaymentState::Posted(PART),
            Self::Voided => PaymentState::Voided,
        }
    }
}

/// An item as it travels: for which agreement it was signed, by whom, as whose, and what is beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKey {
    pub agreement: u8,
    pub sender: Role,
    pub signer: u8,
    pub beside: Beside,
}

/// What a session is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    /// Make the offer.
    Open,
    /// An offer, and whether the money pledged beside it was set aside.
    Accept(bool),
    Accepted(u8, bool),
    Received(ItemKey),
    Fetched,
    PeerRepeats,
    GiveUp,
    Wake,
    /// The verdict with this number.
    Ruled(u16),
    Refused,
    Attested,
    Settled,
    Reversed,
    /// The own money was undone before it was set aside.
    NotReserved,
    /// The own money was undone before it was posted.
    NotPaid,
    /// The process starts again from its journal.
    Restart,
}

/// What a batch comes to.
#[derive(Clone, Debug)]
pub struct Plan {
    pub next: u16,
    pub answers: Vec<Result<Reply, Refused>>,
}

/// Who is told what, in which session, when.
type Asked = (usize, u16, u64, Told);

#[derive(Default)]
pub struct Tables {
    sessions: Vec<Session>,
    outputs: Vec<Vec<Output>>,
    steps: HashMap<Asked, Option<(u16, u16)>>,
    durables: Vec<Durable>,
    lineage: HashMap<(u16, Vec<(u16, u8)>), u16>,
    plans: HashMap<(u16, Vec<(u16, u8)>), Plan>,
    verdicts: Vec<Logged<Verdict>>,
    ruled: HashMap<u16, u16>,
    /// What the arbiter orders after a verdict, about whose payment.
    orders: HashMap<u16, Vec<(usize, Ordered)>>,
    letters: HashMap<(u16, u16), Option<u16>>,
    fits: HashMap<(usize, Role, ItemKey), Option<Fit>>,
}

/// Sessions and outputs with the number 0 are none.
fn number(index: usize) -> u16 {
    u16::try_from(index + 1).unwrap()
}

fn keep<T: PartialEq>(list: &mut Vec<T>, value: T) -> u16 {
    let found = list.iter().position(|it| *it == value);
    number(found.unwrap_or_else(|| {
        list.push(value);
        list.len() - 1
    }))
}

impl Tables {
    pub fn new() -> Self {
        Self { durables: vec![Notary::new().durable], ..Self::default() }
    }

    pub fn session(&self, id: u16) -> Option<&Session> {
        self.sessions.get(usize::from(id).checked_sub(1)?)
    }

    pub fn phase(&self, session: u16) -> Option<Phase> {
        self.session(session).map(Session::phase)
    }

    pub fn outputs(&self, id: u16) -> &[Output] {
        usize::from(id).checked_sub(1).and_then(|index| self.outputs.get(index)).map_or(&[], Vec::as_slice)
    }

    /// The outputs after the first of these.
    pub fn rest(&mut self, id: u16) -> u16 {
        let rest = self.outputs(id).get(1..).unwrap_or_default().to_vec();
        self.keep_outputs(rest)
    }

    fn keep_outputs(&mut self, outputs: Vec<Output>) -> u16 {
        if outputs.is_empty() { 0 } else { keep(&mut self.outputs, outputs) }
    }

    /// Under which agreement each party has deposited.
    pub fn deposits(&self, durable: u16, stage: &Stage) -> ByRole<Option<AgreementId>> {
        let record = self.durables[usize::from(durable)].record(&stage.offer.exchange_id());
        record.attestations.map(|_, it| it.as_ref().map(|it| it.statement.agreement_id))
    }

    pub fn verdict(&self, id: u16) -> &Logged<Verdict> {
        &self.verdicts[usize::from(id) - 1]
    }

    /// The number of the durable verdict, 0 for none.
    pub fn ruled(&mut self, durable: u16, stage: &Stage) -> u16 {
        if let Some(known) = self.ruled.get(&durable) {
            return *known;
        }
        let record = self.durables[usize::from(durable)].record(&stage.offer.exchange_id());
        let ruled = record.verdict.map_or(0, |verdict| keep(&mut self.verdicts, verdict));
        self.ruled.insert(durable, ruled);
        ruled
    }

    /// What the arbiter orders after a verdict, about whose payment, by the production code.
    pub fn orders(&mut self, verdict: u16, stage: &Stage) -> Vec<(usize, Ordered)> {
        if let Some(known) = self.orders.get(&verdict) {
            return known.clone();
        }
        let orders = payment_orders(&stage.offer, &self.verdict(verdict).statement.ruling).into_iter();
        let payers = orders.map(|(role, order)| {
            let terms = stage.terms[person(role)].as_ref().unwrap();
            assert_eq!(order.terms, *terms);
            let ordered = match order.action {
                PaymentAction::Void => Ordered::Void,
                PaymentAction::Post(units) if units == terms.payment.amount.units => Ordered::Post,
                PaymentAction::Post(_) | PaymentAction::Make => panic!("R-423: {:?}", order.action),
            };
            (person(role), ordered)
        });
        let payers: Vec<_> = payers.collect();
        self.orders.insert(verdict, payers.clone());
        payers
    }

    /// What a session does: the state after it, and what is to be performed. None if nothing changes.
    pub fn step(
        &mut self,
        stage: &Stage,
        person: usize,
        session: u16,
        clock: u64,
        told: Told,
    ) -> Option<(u16, u16)> {
        let key = (person, session, clock, told);
        if let Some(known) = self.steps.get(&key) {
            return *known;
        }
        let step = self.ask_session(stage, role(person), session, UnixMillis(clock), told);
        let step = step.map(|step| (keep(&mut self.sessions, step.next), self.keep_outputs(step.outputs)));
        let step = step.filter(|(next, outputs)| *next != session || *outputs != 0);
        self.steps.insert(key, step);
        step
    }

    fn ask_session(
        &mut self,
        stage: &Stage,
        role: Role,
        session: u16,
        now: UnixMillis,
        told: Told,
    ) -> Option<Step> {
        let Some(session) = self.session(session).cloned() else {
            return match told {
                Told::Open => Some(Session::open(stage.offer.clone(), TIMING)),
                Told::Accept(made) => {
                    let pledge = stage.pledged(0, Role::Originator, made);
                    Session::accept(stage.agreements[0].clone(), pledge, now, TIMING).ok()
                }
                _ => None,
            };
        };
        let input = match told {
            Told::Open => return None,
            Told::Accept(_) | Told::PeerRepeats => Input::PeerRepeats,
            Told::Accepted(index, made) => {
                let index = usize::from(index);
                let pledge = stage.pledged(index, Role::Responder, made).cloned();
                Input::Accepted(stage.agreements[index].clone(), pledge)
            }
            Told::Received(item) => Input::Received(self.fitting(stage, &session, item)?),
            Told::Fetched => Input::Fetched(stage.cast.fits(&stage.offer, role.peer())?),
            Told::GiveUp => Input::GiveUp,
            Told::Wake => Input::Wake,
            Told::Ruled(verdict) => Input::Ruled(self.verdict(verdict).statement.clone()),
            Told::Refused => Input::Refused,
            Told::Attested => Input::Attested,
            Told::Settled => Input::Settled,
            Told::Reversed => Input::Reversed,
            // As the driver does it (R-315): nothing of the own item is out, and nothing will be.
            Told::NotReserved => {
                let next = unsent(role, &session, Phase::Asking(Ask::Abort));
                return Some(Step { outputs: next.resume(), next });
            }
            Told::NotPaid => return Some(unsent(role, &session, Phase::Waiting).handle(now, Input::GiveUp)),
            Told::Restart => {
                let acceptance = session.agreement().map(|it| it.acceptance().clone());
                let offer = session.offer().clone();
                let parts = (session.sent(), session.phase());
                let again = Session::restore(role, offer, acceptance, parts.0, parts.1, TIMING)
                    .expect("R-301: a journal holds what a session was");
                assert_eq!(again, session, "R-301: a session is its durable parts");
                return Some(Step { outputs: again.resume(), next: again });
            }
        };
        Some(session.handle(now, input))
    }

    /// R-305 as a client does it: the transfer is verified for the agreement in hand, then the item is checked.
    fn fitting(&mut self, stage: &Stage, session: &Session, key: ItemKey) -> Option<Fit> {
        let agreement = session.agreement()?;
        let held = stage.agreements.iter().position(|it| it.id() == agreement.id())?;
        let place = (held, session.role().peer(), key);
        if let Some(known) = self.fits.get(&place) {
            return known.clone();
        }
        let fit = check_item(stage, held, place.1, key);
        self.fits.insert(place, fit.clone());
        fit
    }

    /// Files cases into one batch after what is durable.
    pub fn plan(&mut self, stage: &Stage, durable: u16, cases: &[(u16, u8)]) -> Plan {
        let key = (durable, cases.to_vec());
        if let Some(known) = self.plans.get(&key) {
            return known.clone();
        }
        let before = &self.durables[usize::from(durable)];
        let desk = stage.cast.desk();
        let mut batch = Batch::new(&desk, &TestVeil, before.head.clone());
        let (mut answers, mut changes) = (Vec::new(), Vec::new());
        for (index, instant) in cases {
            let leaves = batch.len();
            let now = stage.instants[usize::from(*instant)].0;
            answers.push(file(&mut batch, before, stage, *index, now));
            if batch.len() > leaves {
                changes.push((*index, *instant));
            }
        }
        let mut next = durable;
        if !changes.is_empty() {
            let mut after = before.clone();
            after.apply(batch.close());
            let durables = &mut self.durables;
            next = *self.lineage.entry((durable, changes)).or_insert_with(|| {
                durables.push(after);
                u16::try_from(durables.len() - 1).unwrap()
            });
        }
        let plan = Plan { next, answers };
        self.plans.insert(key, plan.clone());
        plan
    }

    /// A reply as a party that behaves takes it: a whole receipt, issued from what is durable and verified for the request
    /// that is out there (R-410, R-506). The number of the verdict in it.
    pub fn letter(&mut self, stage: &Stage, durable: u16, call: u16) -> Option<u16> {
        if let Some(known) = self.letters.get(&(durable, call)) {
            return *known;
        }
        let case = &stage.calls[usize::from(call)].case;
        let held = &self.durables[usize::from(durable)];
        let cast = &stage.cast;
        let seals = Seals { arbiter: &cast.arbiter, log: &cast.log };
        let record = held.record(&case.exchange_id());
        let request = case.request().digest();
        let receipt = record.verdict.as_ref().and_then(|logged| {
            let leaf = logged.statement.leaf_index;
            let proof = held.proof(leaf, logged.tree_size);
            seals.issue(&cast.desk(), &record, logged, request, leaf, proof).ok()
        });
        let proven = receipt.and_then(|it| it.verify(&stage.offer, Some(request)).ok());
        let proven = proven.filter(|it| matches!(it.ruled, Ruled::Verdict(_)));
        let verdict = proven.map(|_| self.ruled(durable, stage)).filter(|it| *it != 0);
        self.letters.insert((durable, call), verdict);
        verdict
    }
}

/// The same session, of which nothing left.
fn unsent(role: Role, session: &Session, phase: Phase) -> Session {
    let acceptance = session.agreement().map(|it| it.acceptance().clone());
    Session::restore(role, session.offer().clone(), acceptance, false, phase, TIMING).unwrap()
}

fn file(
    batch: &mut Batch<'_>,
    before: &Durable,
    stage: &Stage,
    index: u16,
    now: u64,
) -> Result<Reply, Refused> {
    let call = &stage.calls[usize::from(index)];
    let id = call.case.exchange_id();
    let record = batch.record(&id).cloned().unwrap_or_else(|| before.record(&id));
    let deposits = call.key.action == Action::Deposit;
    let content: Option<FitContent> = stage.cast.fits(&stage.offer, call.key.role).filter(|_| deposits);
    let held = match &content {
        Some(fit) => ByRole::only(call.key.role, (fit, content_of(call.key.role))),
        None => call.opened.map(|role, fit| fit.as_ref().map(|fit| (fit, content_of(role)))),
    };
    batch.file(&call.case, record, UnixMillis(now), held)
}

fn check_item(stage: &Stage, held: usize, sender: Role, key: ItemKey) -> Option<Fit> {
    let transfer = Transfer::new(&stage.agreements[usize::from(key.agreement)], key.sender);
    let transfer = Verified::sign(transfer, stage.cast.key(role(usize::from(key.signer))));
    let agreement = &stage.agreements[held];
    let transfer = Signed::<Transfer>::parse(transfer.envelope().clone()).ok()?;
    let transfer = transfer.verify_for(agreement, sender).ok()?;
    let item = agreement.offer().item(sender);
    if !item.description.is_content() {
        return signature::check(item, transfer).ok().map(Fit::Signature);
    }
    let content = match (key.beside, &stage.terms[person(key.sender)]) {
        (Beside::Receipt(said), Some(terms)) => {
            bytes(&receipt(terms, said.state(terms.payment.amount.units)))
        }
        (Beside::Receipt(_), None) => return None,
        (Beside::Good, _) => stage.cast.content(&stage.offer, key.sender)?,
        (Beside::Bad, _) => b"%PDF-1.7\nanother file".to_vec(),
    };
    check_content(&stage.offer, sender, &content).ok().map(Fit::Content)
}
