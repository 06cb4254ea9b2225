//! The world as a model: who behaves runs the production machines by the driver's contract; the network, and a peer that
//! cheats, do anything at any moment with what they know.
//!
//! ```text
//!   party    input ─▶ [durable] ─▶ perform one output after the other          crash: outputs are lost, resume
//!   network  what was ever sent may arrive, any number of times, in any order, or never
//!   cheater  sends what it can sign, says anything that is not signed, files what it likes
//!   arbiter  case ─▶ batch ─▶ [commit] ─▶ reply one by one                     crash: batch and replies are lost
//! ```

use std::sync::Mutex;

use arbiter_protocol::error::Refused;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::request;
use arbiter_protocol::role::{Ask, Outcome, Output, Phase};
use arbiter_protocol::ruling::sequencer::Reply;
use arbiter_protocol::weaken::{Countermeasure, within};
use stateright::{Model, Property};

use crate::common::COMPLAIN_BY;
use crate::laws;
use crate::stage::{CallKey, Filed, INSTANTS, MARGIN, Setup, Stage};
use crate::tables::{ItemKey, Tables, Told};

/// One person's side of one exchange, if the person behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Side {
    /// The running session; 0 is none.
    pub session: u16,
    /// The durable one.
    pub journal: u16,
    /// What is still to be performed.
    pub outputs: u16,
    /// At which instants it wants to be woken, as bits.
    pub alarms: u8,
    /// What has left, ever.
    pub left: u8,
    /// Which requests have left, ever: a bit for each action and agreement.
    pub asked: u16,
    /// The peer's escrow did not pass the check.
    pub unchecked: bool,
    /// What the peer's item was that ended it.
    pub received: Received,
    /// What the arbiter held is here.
    pub fetched: bool,
    /// Somebody had this party's signature taken out of escrow elsewhere.
    pub leaked: bool,
}

pub const OFFER: u8 = 1;
pub const ACCEPTANCE: u8 = 2;
pub const ITEM: u8 = 4;
/// The item left when it was too late to complain: A2 promises nothing.
pub const LATE: u8 = 8;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Received {
    #[default]
    Nothing,
    Own,
    /// An item of another agreement or exchange.
    Foreign,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// Index into the setup's instants.
    pub now: u8,
    /// Index into the setup's skews, for each person.
    pub skews: [u8; 2],
    /// `[exchange][person]`.
    pub sides: [[Side; 2]; 2],
    /// What the arbiter has on disk.
    pub durable: u16,
    /// Cases decided, not committed, with their instants.
    pub batch: [Option<(u16, u8)>; 2],
    /// Who is still to be answered after a commit.
    pub replies: [Option<u16>; 2],
    /// The verdict of each exchange that anybody was shown; 0 is none.
    pub shown: [u16; 2],
    /// Which laws an action broke, as bits.
    pub broken: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    Open(usize),
    OfferArrives(usize, bool),
    AcceptanceArrives(usize, u8, bool),
    ItemArrives(usize, usize, ItemKey),
    PeerIsBack(usize, usize),
    GiveUp(usize, usize),
    Wake(usize, usize),
    ForgedRefusal(usize, usize),
    /// An answer that was given in the first exchange is shown to a person in the second.
    OldAnswer(usize, usize, usize),
    Perform(usize, usize),
    Persist(usize, usize),
    Crash(usize),
    File(u16),
    FileSham,
    Commit,
    Reply(usize),
    ArbiterCrash,
    Tick,
}

/// The search over one setup.
pub struct Search {
    pub stage: Stage,
    pub tables: Mutex<Tables>,
    pub exits: laws::Exits,
}

/// Whether a setup has switched a countermeasure off.
pub fn off(stage: &Stage, countermeasure: Countermeasure) -> bool {
    stage.setup.weakness == Some(countermeasure)
}

impl Search {
    pub fn new(setup: Setup) -> Self {
        let stage = within(setup.weakness, || Stage::new(setup.clone()));
        Self { stage, tables: Mutex::new(Tables::new()), exits: laws::Exits::default() }
    }

    pub fn setup(&self) -> &Setup {
        &self.stage.setup
    }

    pub fn exchanges(&self) -> usize {
        self.stage.templates.len()
    }

    pub fn phase(&self, world: &World, exchange: usize, person: usize) -> Option<Phase> {
        self.tables.lock().unwrap().phase(world.sides[exchange][person].session)
    }

    /// What a person's clock shows.
    pub fn clock(&self, world: &World, person: usize, instant: u8) -> u64 {
        let skew = self.setup().skews[usize::from(world.skews[person])];
        self.time(instant).saturating_add_signed(skew)
    }

    pub fn time(&self, instant: u8) -> u64 {
        INSTANTS[self.setup().instants[usize::from(instant)]]
    }

    /// Everybody who behaves, in every exchange.
    pub fn honest(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let all = (0..self.exchanges()).flat_map(|exchange| [0, 1].map(|person| (exchange, person)));
        all.filter(|(_, person)| self.setup().honest(*person))
    }

    pub fn agreement(&self, world: &World, exchange: usize, person: usize) -> Option<usize> {
        let tables = self.tables.lock().unwrap();
        let agreement = tables.session(world.sides[exchange][person].session)?.agreement()?.id();
        self.stage.templates[exchange].agreements.iter().position(|it| it.id() == agreement)
    }

    fn is_idle(&self, side: &Side) -> bool {
        side.outputs == 0 && side.session == side.journal
    }

    /// Which acceptances of an exchange the cheater has.
    fn knows(&self, world: &World, exchange: usize, agreement: usize) -> bool {
        let responder = self.setup().person(exchange, Role::Responder);
        if self.setup().honest(responder) {
            return agreement == 0 && world.sides[exchange][responder].left & ACCEPTANCE != 0;
        }
        self.knows_offer(world, exchange)
    }

    fn knows_offer(&self, world: &World, exchange: usize) -> bool {
        let originator = self.setup().person(exchange, Role::Originator);
        !self.setup().honest(originator) || world.sides[exchange][originator].left & OFFER != 0
    }

    /// What can arrive at `exchange`, whoever it is from: everything on the network, and what the cheater signs.
    fn items(&self, world: &World) -> Vec<ItemKey> {
        let mut items = Vec::new();
        for exchange in 0..self.exchanges() {
            for person in 0..2 {
                let sender = self.setup().role(exchange, person);
                let side = &world.sides[exchange][person];
                let honest = self.setup().honest(person);
                for agreement in 0..2 {
                    let sent =
                        side.left & ITEM != 0 && self.agreement(world, exchange, person) == Some(agreement);
                    let forged = !honest && self.knows(world, exchange, agreement);
                    for good in [true, false] {
                        if (honest && sent && good) || forged {
                            items.push(ItemKey {
                                exchange: u8::try_from(exchange).unwrap(),
                                agreement: u8::try_from(agreement).unwrap(),
                                sender,
                                signer: u8::try_from(person).unwrap(),
                                good,
                            });
                        }
                    }
                }
            }
        }
        items
    }

    /// Whether a case can be filed by now.
    pub fn can_file(&self, world: &World, key: &CallKey) -> bool {
        let known = key.agreement.is_none_or(|index| self.knows(world, key.filed, index));
        if self.setup().honest(key.signer) {
            let asked = world.sides[key.exchange][key.signer].asked & bit(key.action, key.agreement) != 0;
            let own = key.exchange == key.filed;
            let checked =
                world.sides[key.exchange][key.signer].unchecked == (key.escrows == Filed::HollowPeer);
            return asked && if own { checked } else { known && self.knows_offer(world, key.filed) };
        }
        known && self.knows_offer(world, key.filed)
    }

    fn tell(&self, world: &mut World, exchange: usize, person: usize, told: Told) -> Option<()> {
        let side = world.sides[exchange][person];
        let place = (exchange, self.setup().role(exchange, person));
        let clock = self.clock(world, person, world.now);
        let mut tables = self.tables.lock().unwrap();
        let (session, outputs) = tables.step(&self.stage, place, side.session, clock, told)?;
        let (was, is) = (tables.phase(side.session), tables.phase(session));
        let side = &mut world.sides[exchange][person];
        (side.session, side.outputs) = (session, outputs);
        if !off(&self.stage, Countermeasure::PersistBeforeSending) {
            side.journal = session; // R-301
        }
        if was != is {
            match (told, is) {
                (Told::Received(item), Some(Phase::Done(Outcome::Completed))) => {
                    let own = usize::from(item.exchange) == exchange;
                    let held = tables.session(session).and_then(|it| it.agreement()).map(|it| it.id());
                    let of = &self.stage.templates[usize::from(item.exchange)];
                    let meant = of.agreements[usize::from(item.agreement)].id();
                    let own = own && held == Some(meant);
                    side.received = if own { Received::Own } else { Received::Foreign };
                }
                (Told::Fetched, Some(Phase::Done(_))) => side.fetched = true,
                _ => {}
            }
        }
        if let (Told::Accept(false) | Told::Accepted(_, false), Some(Phase::Waiting)) = (told, is)
            && was != is
        {
            let peer = self.setup().role(exchange, person).peer();
            side.unchecked = self.stage.templates[exchange].kind.is_detached(peer);
        }
        Some(())
    }

    fn perform(&self, world: &mut World, exchange: usize, person: usize) -> Option<()> {
        let side = world.sides[exchange][person];
        let clock = self.clock(world, person, world.now);
        let mut tables = self.tables.lock().unwrap();
        let output = tables.outputs(side.outputs).first()?.clone();
        let rest = tables.rest(side.outputs);
        let session = tables.session(side.session)?.clone();
        drop(tables);
        let (now, instants) = (world.now, u8::try_from(self.setup().instants.len()).unwrap());
        let due = (now..instants).find(|it| match output {
            Output::WakeAt(at) => self.clock(world, person, *it) >= at.0 || at.0 == clock + 500,
            _ => false,
        });
        let side = &mut world.sides[exchange][person];
        side.outputs = rest;
        match output {
            Output::SendOffer => side.left |= OFFER,
            Output::SendAcceptance => side.left |= ACCEPTANCE,
            // R-304: asked again right before the item leaves.
            Output::SendItem if session.may_send_item(arbiter_protocol::time::UnixMillis(clock)) => {
                let first = self.stage.templates[exchange].kind.first();
                let late = self.stage.templates[exchange].kind != crate::common::Kind::P1
                    && self.setup().role(exchange, person) == first
                    && clock + MARGIN >= COMPLAIN_BY
                    && side.left & ITEM == 0;
                side.left |= ITEM | if late { LATE } else { 0 };
            }
            Output::SendItem => {}
            Output::Ask(ask) => {
                let agreement = session.agreement().map(|it| it.id());
                let list = &self.stage.templates[exchange].agreements;
                let agreement = list.iter().position(|it| Some(it.id()) == agreement);
                side.asked |= bit(action_of(ask), agreement);
            }
            Output::Observe | Output::Release => unreachable!("no money is in this world"),
            Output::WakeAt(_) => side.alarms |= due.map_or(0, |it| 1 << it),
            Output::Done(_) => {}
        }
        Some(())
    }

    /// Performs at once what nobody can see: what was said before, alarms, and the end. Only what leaves for the first
    /// time is a step of its own; any other order of these leads to the same states.
    fn settle(&self, world: &mut World, exchange: usize, person: usize) {
        loop {
            let mut after = world.clone();
            let said =
                |world: &World| (world.sides[exchange][person].left, world.sides[exchange][person].asked);
            if self.perform(&mut after, exchange, person).is_none() || said(&after) != said(world) {
                break;
            }
            *world = after;
        }
        let side = &mut world.sides[exchange][person];
        let due = (2_u8 << world.now) - 1;
        if side.alarms & due != 0 {
            side.alarms = (side.alarms & !due) | (1 << world.now); // Too late is too late, whenever it was.
        }
        if matches!(self.tables.lock().unwrap().phase(side.session), Some(Phase::Done(_))) {
            side.alarms = 0;
        }
    }

    /// The rules of the arbiter know two times: before the deadline, and from it on. So all instants of a kind are one,
    /// and records that differ in nothing else are one record.
    pub fn arbiters_instant(&self, world: &World) -> u8 {
        let late = self.time(world.now) >= COMPLAIN_BY;
        let first = (0..=world.now).find(|it| (self.time(*it) >= COMPLAIN_BY) == late);
        first.unwrap_or(world.now)
    }

    fn crash(&self, world: &mut World, person: usize) -> Option<()> {
        let before = world.clone();
        for exchange in 0..self.exchanges() {
            let side = &mut world.sides[exchange][person];
            (side.session, side.outputs, side.alarms) = (side.journal, 0, 0);
            if side.session == 0 {
                continue;
            }
            let session = side.session;
            let place = (exchange, self.setup().role(exchange, person));
            let step = self.tables.lock().unwrap().step(&self.stage, place, session, 0, Told::Restart);
            let side = &mut world.sides[exchange][person];
            side.outputs = step.map_or(0, |(_, outputs)| outputs);
        }
        (*world != before).then_some(())
    }

    /// The call that a person has out now, by its phase.
    pub fn own_call(
        &self,
        world: &World,
        exchange: usize,
        person: usize,
        action: request::Action,
    ) -> Option<u16> {
        let side = &world.sides[exchange][person];
        let agreement = self.agreement(world, exchange, person);
        let unchecked = side.unchecked && action == request::Action::Resolve;
        self.stage.call_of(CallKey {
            exchange,
            filed: exchange,
            agreement,
            role: self.setup().role(exchange, person),
            action,
            signer: person,
            escrows: if unchecked { Filed::HollowPeer } else { Filed::Good },
        })
    }

    pub fn plan(&self, durable: u16, batch: &[(u16, u8)]) -> crate::tables::Plan {
        self.tables.lock().unwrap().plan(&self.stage, durable, batch)
    }

    fn file(&self, world: &mut World, call: u16) -> Option<()> {
        let mut batch: Vec<_> = world.batch.iter().flatten().copied().collect();
        let alone = batch.is_empty();
        let instant = self.arbiters_instant(world);
        batch.push((call, instant));
        let plan = self.plan(world.durable, &batch);
        match plan.answers.last()? {
            // Section 8: the verdict is there, so it is asked for. Any other refusal is one that a stranger could forge.
            Err(Refused::AlreadyRuled) => {
                let key = &self.stage.calls[usize::from(call)].key;
                let side = &mut world.sides[key.exchange][key.signer];
                let more = bit(request::Action::Resolve, key.agreement);
                let changes = self.setup().honest(key.signer) && side.asked & more == 0;
                side.asked |= more;
                changes.then_some(())
            }
            Err(_) => None,
            Ok(reply) if alone && plan.next == world.durable => {
                self.answer(world, call, *reply, world.durable)
            }
            Ok(_) => {
                let free = world.batch.iter().take(self.setup().batch).position(Option::is_none)?;
                if world.batch.iter().flatten().any(|(it, _)| *it == call) {
                    return None;
                }
                world.batch[free] = Some((call, instant));
                Some(())
            }
        }
    }

    fn commit(&self, world: &mut World) -> Option<()> {
        let batch: Vec<_> = world.batch.iter().flatten().copied().collect();
        let plan = self.plan(world.durable, &batch);
        laws::committed(self, world, plan.next, &batch);
        world.durable = plan.next;
        world.batch = [None; 2];
        world.replies = [batch.first().map(|it| it.0), batch.get(1).map(|it| it.0)];
        Some(())
    }

    /// The answer to a call leaves the arbiter, and arrives or is lost.
    fn answer(&self, world: &mut World, call: u16, reply: Reply, durable: u16) -> Option<()> {
        let before = world.clone();
        let key = self.stage.calls[usize::from(call)].key;
        laws::shown(self, world, &key, reply, durable);
        let (exchange, person) = (key.exchange, key.signer);
        if self.setup().honest(person)
            && key.filed == exchange
            && self.is_idle(&world.sides[exchange][person])
            && let Some(Phase::Asking(ask)) = self.phase(world, exchange, person)
        {
            match reply {
                Reply::Attestation(_) if ask == Ask::Complain => {
                    let agreement = self.agreement(world, exchange, person);
                    world.sides[exchange][person].asked |= bit(request::Action::Resolve, agreement);
                }
                Reply::Attestation(_) => {}
                Reply::Content(_) => {
                    if laws::entitled_to(self, &key, reply) {
                        self.tell(world, exchange, person, Told::Fetched);
                    }
                }
                Reply::Verdict => {
                    let letter =
                        self.tables.lock().unwrap().letter(&self.stage, durable, call, exchange, call);
                    let verdict = letter.expect("R-506: an honest receipt is verified");
                    self.tell(world, exchange, person, Told::Ruled(verdict));
                }
            }
        }
        (*world != before).then_some(())
    }

    fn reply(&self, world: &mut World, index: usize) -> Option<()> {
        // Only a weakness answers before the commit.
        let early = world.replies[index].is_none();
        let call = world.replies[index].or(world.batch[index].map(|it| it.0))?;
        let (durable, reply) = if early {
            let batch: Vec<_> = world.batch.iter().flatten().copied().collect();
            let plan = self.plan(world.durable, &batch);
            (plan.next, plan.answers[index].ok()?)
        } else {
            world.replies[index] = None;
            let plan = self.plan(world.durable, &[(call, self.arbiters_instant(world))]);
            (world.durable, plan.answers[0].ok()?)
        };
        let gone = !early;
        self.answer(world, call, reply, durable).or(gone.then_some(()))
    }

    /// An answer of one exchange is brought to a person who asks in the other.
    fn old_answer(&self, world: &mut World, from: usize, exchange: usize, person: usize) -> Option<()> {
        let shown = world.shown[from];
        let mut tables = self.tables.lock().unwrap();
        let cause = (shown != 0).then(|| tables.verdict(shown).statement.request)?;
        let caller = self.stage.calls.iter().position(|it| it.case.request().digest() == cause)?;
        let Some(Phase::Asking(ask)) = tables.phase(world.sides[exchange][person].session) else {
            return None;
        };
        drop(tables);
        let own = self.own_call(world, exchange, person, action_of(ask))?;
        tables = self.tables.lock().unwrap();
        let caller = u16::try_from(caller).unwrap();
        let verdict = tables.letter(&self.stage, world.durable, caller, exchange, own)?;
        drop(tables);
        self.tell(world, exchange, person, Told::Ruled(verdict))
    }

    fn file_sham(&self, world: &mut World) -> Option<()> {
        let (case, opened) = self.stage.sham.as_ref()?;
        let opened = opened.map(|role, fit| fit.as_ref().map(|fit| (fit, crate::common::content_of(role))));
        let desk = self.stage.templates[0].cast.desk();
        let head = crate::common::Notary::new().durable.head;
        let mut batch =
            arbiter_protocol::ruling::sequencer::Batch::new(&desk, &crate::common::TestVeil, head);
        let now = arbiter_protocol::time::UnixMillis(self.time(world.now));
        batch.file(case, crate::common::unrecorded(&case.exchange_id()), now, opened).ok()?;
        world.sides[0][0].leaked = true;
        Some(())
    }

    /// A2: a first sender whose item left in time gets its claim through in time.
    pub fn may_tick(&self, world: &World) -> bool {
        let next = world.now + 1;
        if usize::from(next) >= self.setup().instants.len() {
            return false;
        }
        let passes_deadline = self.time(world.now) < COMPLAIN_BY && self.time(next) >= COMPLAIN_BY;
        !passes_deadline || !self.honest().any(|(exchange, person)| self.owes_claim(world, exchange, person))
    }

    pub fn owes_claim(&self, world: &World, exchange: usize, person: usize) -> bool {
        let (side, kind) = (&world.sides[exchange][person], self.stage.templates[exchange].kind);
        let in_time = side.left & ITEM != 0 && side.left & LATE == 0;
        let first = self.setup().role(exchange, person) == kind.first();
        let mut tables = self.tables.lock().unwrap();
        let done = matches!(tables.phase(side.session), Some(Phase::Done(_)));
        kind != crate::common::Kind::P1
            && first
            && in_time
            && !done
            && !side.unchecked // what nobody can open is refused at once, and A2 promises no more than an answer
            && tables.ruled(world.durable, &self.stage, exchange) == 0
    }

    pub fn apply(&self, world: &mut World, act: Act) -> Option<()> {
        match act {
            Act::Open(e) => self.tell(world, e, self.setup().person(e, Role::Originator), Told::Open),
            Act::OfferArrives(e, passes) => {
                self.tell(world, e, self.setup().person(e, Role::Responder), Told::Accept(passes))
            }
            Act::AcceptanceArrives(e, agreement, passes) => {
                let originator = self.setup().person(e, Role::Originator);
                self.tell(world, e, originator, Told::Accepted(agreement, passes))
            }
            Act::ItemArrives(e, person, item) => self.tell(world, e, person, Told::Received(item)),
            Act::PeerIsBack(e, person) => self.tell(world, e, person, Told::PeerRepeats),
            Act::GiveUp(e, person) => self.tell(world, e, person, Told::GiveUp),
            Act::Wake(e, person) => {
                let due = world.sides[e][person].alarms & ((2 << world.now) - 1);
                world.sides[e][person].alarms &= !due;
                self.tell(world, e, person, Told::Wake).or((due != 0).then_some(()))
            }
            Act::ForgedRefusal(e, person) => self.tell(world, e, person, Told::Refused),
            Act::OldAnswer(from, e, person) => self.old_answer(world, from, e, person),
            Act::Perform(e, person) => self.perform(world, e, person),
            Act::Persist(e, person) => {
                let side = &mut world.sides[e][person];
                side.journal = side.session;
                Some(())
            }
            Act::Crash(person) => self.crash(world, person),
            Act::File(call) => self.file(world, call),
            Act::FileSham => self.file_sham(world),
            Act::Commit => self.commit(world),
            Act::Reply(index) => self.reply(world, index),
            Act::ArbiterCrash => {
                (world.batch, world.replies) = ([None; 2], [None; 2]);
                Some(())
            }
            Act::Tick => {
                world.now += 1;
                Some(())
            }
        }
    }

    fn acts_of_party(&self, world: &World, e: usize, person: usize, acts: &mut Vec<Act>) {
        let side = &world.sides[e][person];
        if side.outputs != 0 {
            acts.push(Act::Perform(e, person));
        }
        if side.session != side.journal {
            acts.push(Act::Persist(e, person));
        }
        if side.outputs != 0 {
            return; // The outputs of a step are performed before the next input is taken.
        }
        if side.session == 0 {
            if self.setup().role(e, person) == Role::Originator {
                acts.push(Act::Open(e));
            }
        } else {
            acts.extend([Act::GiveUp(e, person), Act::ForgedRefusal(e, person)]);
            if self.setup().crashes {
                acts.push(Act::PeerIsBack(e, person));
            }
            if side.alarms & ((2 << world.now) - 1) != 0 {
                acts.push(Act::Wake(e, person));
            }
        }
        self.arrivals(world, e, person, acts);
    }

    fn arrivals(&self, world: &World, e: usize, person: usize, acts: &mut Vec<Act>) {
        let role = self.setup().role(e, person);
        let peer_cheats = !self.setup().honest(1 - person);
        let owed = self.stage.templates[e].kind.is_detached(role.peer());
        let passes: &[bool] = if peer_cheats && owed { &[true, false] } else { &[true] };
        for passes in passes {
            if role == Role::Responder && self.knows_offer(world, e) {
                acts.push(Act::OfferArrives(e, *passes));
            }
            for agreement in 0..2_u8 {
                let known = self.knows(world, e, usize::from(agreement));
                if role == Role::Originator && known && world.sides[e][person].session != 0 {
                    acts.push(Act::AcceptanceArrives(e, agreement, *passes));
                }
            }
        }
        if world.sides[e][person].session != 0 {
            acts.extend(self.items(world).into_iter().map(|item| Act::ItemArrives(e, person, item)));
        }
        if self.exchanges() == 2 {
            acts.push(Act::OldAnswer(1 - e, e, person));
        }
    }

    fn acts_of_arbiter(&self, world: &World, acts: &mut Vec<Act>) {
        for (index, call) in self.stage.calls.iter().enumerate() {
            let index = u16::try_from(index).unwrap();
            let own = self.setup().honest(call.key.signer) && call.key.exchange == call.key.filed;
            if (own || self.stage.cheats.contains(&index)) && self.can_file(world, &call.key) {
                acts.push(Act::File(index));
            }
        }
        let originator = &world.sides[0][0];
        if self.stage.sham.is_some() && originator.left & OFFER != 0 && !originator.leaked {
            acts.push(Act::FileSham);
        }
        let early = off(&self.stage, Countermeasure::PersistBeforeReply);
        for index in 0..2 {
            if world.replies[index].is_some() || (early && world.batch[index].is_some()) {
                acts.push(Act::Reply(index));
            }
        }
        if world.batch[0].is_some() && world.replies == [None; 2] {
            acts.push(Act::Commit);
        }
        if world.batch[0].is_some() || world.replies != [None; 2] {
            acts.push(Act::ArbiterCrash);
        }
    }
}

/// Where a request is kept among those that left.
pub fn bit(action: request::Action, agreement: Option<usize>) -> u16 {
    let action = match action {
        request::Action::Abort => 0,
        request::Action::Resolve => 1,
        request::Action::Deposit => 2,
        request::Action::Fetch => 3,
        request::Action::Query => 4,
        request::Action::Revoke => unreachable!("nothing in this world is revoked"),
    };
    1 << (action * 3 + agreement.map_or(0, |index| index + 1))
}

pub fn action_of(ask: Ask) -> request::Action {
    match ask {
        Ask::Abort => request::Action::Abort,
        Ask::Complain | Ask::Deposit => request::Action::Deposit,
        Ask::Fetch => request::Action::Fetch,
        Ask::Resolve => request::Action::Resolve,
        Ask::Revoke => request::Action::Revoke,
    }
}

impl Model for Search {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        let number = u8::try_from(self.setup().skews.len()).unwrap();
        let world = World {
            now: 0,
            skews: [0; 2],
            sides: [[Side::default(); 2]; 2],
            durable: 0,
            batch: [None; 2],
            replies: [None; 2],
            shown: [0; 2],
            broken: 0,
        };
        // Whose clock nobody asks stays exact. If both behave, both are exact, or one is fast and the other slow.
        let skews = |person| if self.setup().honest(person) { number } else { 1 };
        (0..skews(0))
            .flat_map(|ada| (0..skews(1)).map(move |bob| [ada, bob]))
            .filter(|[ada, bob]| self.setup().cheater.is_some() || (ada + bob) % number == 0)
            .map(|skews| World { skews, ..world.clone() })
            .collect()
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        if world.broken != 0 && self.setup().weakness.is_none() {
            return; // A law is broken: what comes after tells nothing.
        }
        for (exchange, person) in self.honest() {
            self.acts_of_party(world, exchange, person, acts);
        }
        let crashes =
            self.setup().crashes || self.setup().weakness == Some(Countermeasure::PersistBeforeSending);
        for person in (0..2).filter(|person| crashes && self.setup().honest(*person)) {
            acts.push(Act::Crash(person));
        }
        self.acts_of_arbiter(world, acts);
        if self.may_tick(world) {
            acts.push(Act::Tick);
        }
    }

    fn next_state(&self, world: &World, act: Act) -> Option<World> {
        within(self.setup().weakness, || {
            let mut next = world.clone();
            self.apply(&mut next, act)?;
            for (exchange, person) in self.honest() {
                self.settle(&mut next, exchange, person);
            }
            (next != *world).then_some(next)
        })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        laws::properties(self)
    }
}
