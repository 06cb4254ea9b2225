//! The production code, called once for each question. States hold small numbers; these tables hold what they name.
//!
//! ```text
//!   (session, own clock, input) ──▶ Session::handle ──▶ (session, outputs)
//!   (durable, cases in a batch)  ──▶ Batch::file …   ──▶ (durable, replies)
//!   (durable, case, who asks)    ──▶ issue, Receipt::verify ──▶ verdict
//! ```

use std::collections::HashMap;

use arbiter_protocol::error::Refused;
use arbiter_protocol::exchange::item::Description;
use arbiter_protocol::exchange::kind::content::{ContentCheck, FitContent};
use arbiter_protocol::exchange::kind::signature;
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::ids::Digest;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::message::verdict::{Attestation, Verdict};
use arbiter_protocol::role::{Fit, Input, Output, Phase, Session, Step, Timing};
use arbiter_protocol::ruling::receipt::{Receipt, Ruled};
use arbiter_protocol::ruling::sequencer::{Batch, ContentId, Logged, Reply, Seals};
use arbiter_protocol::statement::{Signed, Verified};
use arbiter_protocol::time::{DurationMillis, UnixMillis};

use crate::common::{CONTENT, Durable, Notary, TestVeil, content_of, described, fit};
use crate::stage::{MARGIN, Stage, person};

pub const TIMING: Timing = Timing { complain_margin: DurationMillis(MARGIN) };
const DEPOSIT: ContentId = ContentId(7);

/// An item as it travels: for which agreement of which exchange it was signed, by whom, as whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKey {
    pub exchange: u8,
    pub agreement: u8,
    pub sender: Role,
    pub signer: u8,
    /// The bytes after it, if there are any, are the ones agreed.
    pub good: bool,
}

/// What a session is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    /// Make the offer.
    Open,
    /// An offer, and whether the escrow beside it passes the check.
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
    /// The process starts again from its journal.
    Restart,
}

/// What a batch comes to.
#[derive(Clone, Debug)]
pub struct Plan {
    pub next: u16,
    pub answers: Vec<Result<Reply, Refused>>,
}

type Ask = (usize, usize, u16, u64, Told);

#[derive(Default)]
pub struct Tables {
    sessions: Vec<Session>,
    outputs: Vec<Vec<Output>>,
    steps: HashMap<Ask, Option<(u16, u16)>>,
    durables: Vec<Durable>,
    lineage: HashMap<(u16, Vec<(u16, u8)>), u16>,
    plans: HashMap<(u16, Vec<(u16, u8)>), Plan>,
    verdicts: Vec<Logged<Verdict>>,
    ruled: HashMap<(u16, usize), u16>,
    letters: HashMap<(u16, u16, usize, u16), Option<u16>>,
    fits: HashMap<(usize, usize, Role, ItemKey), Option<Fit>>,
}

/// Sessions and outputs with the number 0 are none.
fn number(index: usize) -> u16 {
    u16::try_from(index + 1).unwrap()
}

impl Tables {
    pub fn new() -> Self {
        Self { durables: vec![Notary::new().durable], ..Self::default() }
    }

    pub fn session(&self, id: u16) -> Option<&Session> {
        self.sessions.get(usize::from(id).checked_sub(1)?)
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
        if outputs.is_empty() {
            return 0;
        }
        let found = self.outputs.iter().position(|it| *it == outputs);
        number(found.unwrap_or_else(|| {
            self.outputs.push(outputs);
            self.outputs.len() - 1
        }))
    }

    fn keep_session(&mut self, session: Session) -> u16 {
        let found = self.sessions.iter().position(|it| *it == session);
        number(found.unwrap_or_else(|| {
            self.sessions.push(session);
            self.sessions.len() - 1
        }))
    }

    /// The deposit of an exchange, and the tree it is proved in.
    pub fn deposit(
        &self,
        durable: u16,
        stage: &Stage,
        exchange: usize,
    ) -> Option<(&Attestation, u64, Digest)> {
        let id = stage.templates[exchange].offer.exchange_id();
        let record = self.durables[usize::from(durable)].records.get(&id)?;
        let logged = record.attestations.of(stage.templates[exchange].kind.first()).as_ref()?;
        Some((&logged.statement, logged.tree_size, logged.root))
    }

    pub fn verdict(&self, id: u16) -> &Logged<Verdict> {
        &self.verdicts[usize::from(id) - 1]
    }

    /// The number of the durable verdict of an exchange, 0 for none.
    pub fn ruled(&mut self, durable: u16, stage: &Stage, exchange: usize) -> u16 {
        if let Some(known) = self.ruled.get(&(durable, exchange)) {
            return *known;
        }
        let ruled = self.find_verdict(durable, stage, exchange);
        self.ruled.insert((durable, exchange), ruled);
        ruled
    }

    fn find_verdict(&mut self, durable: u16, stage: &Stage, exchange: usize) -> u16 {
        let id = stage.templates[exchange].offer.exchange_id();
        let Some(verdict) =
            self.durables[usize::from(durable)].records.get(&id).and_then(|it| it.verdict.as_ref())
        else {
            return 0;
        };
        let found = self.verdicts.iter().position(|it| it == verdict);
        let verdict = verdict.clone();
        number(found.unwrap_or_else(|| {
            self.verdicts.push(verdict);
            self.verdicts.len() - 1
        }))
    }

    /// What a session does: the state after it, and what is to be performed. None if nothing changes.
    pub fn step(
        &mut self,
        stage: &Stage,
        (exchange, role): (usize, Role),
        session: u16,
        clock: u64,
        told: Told,
    ) -> Option<(u16, u16)> {
        let key = (exchange, usize::from(role == Role::Originator), session, clock, told);
        if let Some(known) = self.steps.get(&key) {
            return *known;
        }
        let step = self.ask_session(stage, (exchange, role), session, UnixMillis(clock), told);
        let step = step.map(|step| (self.keep_session(step.next), self.keep_outputs(step.outputs)));
        let step = step.filter(|(next, outputs)| *next != session || *outputs != 0);
        self.steps.insert(key, step);
        step
    }

    fn ask_session(
        &mut self,
        stage: &Stage,
        (exchange, role): (usize, Role),
        session: u16,
        now: UnixMillis,
        told: Told,
    ) -> Option<Step> {
        let template = &stage.templates[exchange];
        let Some(session) = self.session(session).cloned() else {
            return match told {
                Told::Open => Some(Session::open(template.offer.clone(), TIMING)),
                Told::Accept(passes) => {
                    let escrow = template.escrowed[0].originator.as_ref().filter(|_| passes);
                    Session::accept(template.agreements[0].clone(), escrow, now, TIMING).ok()
                }
                _ => None,
            };
        };
        let input = match told {
            Told::Open => return None,
            Told::Accept(_) | Told::PeerRepeats => Input::PeerRepeats,
            Told::Accepted(index, passes) => {
                let index = usize::from(index);
                let escrow = template.escrowed[index].responder.clone().filter(|_| passes);
                Input::Accepted(template.agreements[index].clone(), escrow)
            }
            Told::Received(item) => Input::Received(self.fitting(stage, exchange, &session, item)?),
            Told::Fetched => Input::Fetched(peers_content(stage, exchange, role)?),
            Told::GiveUp => Input::GiveUp,
            Told::Wake => Input::Wake,
            Told::Ruled(verdict) => Input::Ruled(self.verdict(verdict).statement.clone()),
            Told::Refused => Input::Refused,
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
    fn fitting(&mut self, stage: &Stage, exchange: usize, session: &Session, key: ItemKey) -> Option<Fit> {
        let agreement = session.agreement()?;
        let held = stage.templates[exchange].agreements.iter().position(|it| it.id() == agreement.id())?;
        let place = (exchange, held, session.role().peer(), key);
        if let Some(known) = self.fits.get(&place) {
            return known.clone();
        }
        let fit = check_item(stage, exchange, held, place.2, key);
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
        let desk = stage.templates[0].cast.desk();
        let mut batch = Batch::new(&desk, &TestVeil, before.head.clone());
        let (mut answers, mut changes) = (Vec::new(), Vec::new());
        for (index, instant) in cases {
            let leaves = batch.len();
            answers.push(file(
                &mut batch,
                before,
                stage,
                *index,
                crate::stage::INSTANTS[stage.setup.instants[usize::from(*instant)]],
            ));
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

    /// A reply as a party that behaves takes it: a whole receipt, issued from what is durable to `caller`, verified by
    /// `exchange`'s offer for the request that is out there (R-410, R-506). The number of the verdict in it.
    pub fn letter(
        &mut self,
        stage: &Stage,
        durable: u16,
        caller: u16,
        exchange: usize,
        own: u16,
    ) -> Option<u16> {
        let key = (durable, caller, exchange, own);
        if let Some(known) = self.letters.get(&key) {
            return *known;
        }
        let call = &stage.calls[usize::from(caller)];
        let receipt = self.receipt(stage, durable, caller);
        let request = stage.calls[usize::from(own)].case.request().digest();
        let offer = &stage.templates[exchange].offer;
        let mut proven = receipt.as_ref().and_then(|it| it.verify(offer, Some(request)).ok());
        if crate::world::off(stage, arbiter_protocol::weaken::Countermeasure::AnswerForThisRequest) {
            // A client that only asks whether the arbiter said this, to anybody.
            proven = receipt.as_ref().and_then(|it| it.verify(call.case.offer(), Some(request)).ok());
        }
        let verdict = proven.filter(|it| matches!(it.ruled, Ruled::Verdict(_)));
        let filed = call.key.filed;
        let verdict = verdict.map(|_| self.ruled(durable, stage, filed)).filter(|it| *it != 0);
        self.letters.insert(key, verdict);
        verdict
    }

    fn receipt(&self, stage: &Stage, durable: u16, caller: u16) -> Option<Receipt> {
        let (durable, call) = (&self.durables[usize::from(durable)], &stage.calls[usize::from(caller)]);
        let cast = &stage.templates[0].cast;
        let seals = Seals { arbiter: &cast.arbiter, log: &cast.log };
        let record = durable.records.get(&call.case.exchange_id())?;
        let logged = record.verdict.as_ref()?;
        let leaf = logged.statement.leaf_index;
        let proof = durable.proof(leaf, logged.tree_size);
        let request: Digest = call.case.request().digest();
        seals.issue(&cast.desk(), record, logged, request, leaf, proof).ok()
    }

    pub fn phase(&self, session: u16) -> Option<Phase> {
        self.session(session).map(Session::phase)
    }
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
    let file = fit();
    let opened = match (&call.opened, record.verdict.is_some()) {
        (_, true) => ByRole::default(), // R-411: nothing is opened for a replay.
        (Err(refused), false) => return Err(*refused),
        (Ok(opened), false) => opened.clone(),
    };
    let held = if call.key.action == Action::Deposit {
        ByRole::only(call.key.role, (&file, DEPOSIT))
    } else {
        opened.map(|role, fit| fit.as_ref().map(|fit| (fit, content_of(role))))
    };
    // A verdict that is written again, which only a weakness allows, needs what the first one opened.
    let opened = call.opened.clone().unwrap_or_default();
    let again = opened.map(|role, fit| fit.as_ref().map(|fit| (fit, content_of(role))));
    let overwrites = crate::world::off(stage, arbiter_protocol::weaken::Countermeasure::OneVerdict);
    let held = if overwrites && call.key.action == Action::Resolve { again } else { held };
    batch.file(&call.case, record, UnixMillis(now), held)
}

fn check_item(stage: &Stage, exchange: usize, held: usize, sender: Role, key: ItemKey) -> Option<Fit> {
    let from = &stage.templates[usize::from(key.exchange)];
    let transfer = Transfer::new(&from.agreements[usize::from(key.agreement)], key.sender);
    let transfer = Verified::sign(transfer, &person(usize::from(key.signer)));
    let agreement = &stage.templates[exchange].agreements[held];
    let transfer = Signed::<Transfer>::parse(transfer.envelope().clone()).ok()?;
    let transfer = transfer.verify_for(agreement, sender).ok()?;
    let item = agreement.offer().item(sender);
    let mut content = from.content(key.sender).unwrap_or_default();
    if !key.good {
        content.iter_mut().for_each(|byte| *byte ^= 1);
    }
    let mut check = match &item.description {
        Description::Signature(_) => return signature::check(item, transfer).ok().map(Fit::Signature),
        Description::Information(_) => ContentCheck::file(described(CONTENT)),
        Description::Nothing | Description::Package(_) | Description::Payment(_) => {
            unreachable!("neither is in this world")
        }
        Description::DetachedSignature(it) => {
            let escrow = stage.templates[exchange].escrowed[held].of(sender);
            ContentCheck::signature(it.clone(), escrow.as_ref().and_then(|it| it.escrow().cloned()))
        }
    };
    check.update(&content).ok()?;
    check.finish().ok().map(Fit::Content)
}

/// What the arbiter holds of the peer's item, opened by who may.
fn peers_content(stage: &Stage, exchange: usize, role: Role) -> Option<FitContent> {
    let template = &stage.templates[exchange];
    let item = template.offer.item(role.peer());
    let mut check = match &item.description {
        Description::Signature(_) => return None,
        Description::Information(_) => ContentCheck::file(described(CONTENT)),
        Description::Nothing | Description::Package(_) | Description::Payment(_) => {
            unreachable!("neither is in this world")
        }
        Description::DetachedSignature(it) => ContentCheck::signature(it.clone(), None),
    };
    check.update(&template.content(role.peer())?).ok()?;
    check.finish().ok()
}
