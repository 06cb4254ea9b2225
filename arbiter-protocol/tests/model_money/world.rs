//! The world as a model: who behaves runs the production machines by the driver's contract; the network, and a peer that
//! cheats, do anything at any moment with what they know; the ledger does what it is ordered.
//!
//! ```text
//!   party    input ─▶ [durable] ─▶ perform one output after the other          crash: outputs are lost, resume
//!   network  what was ever sent may arrive, any number of times, in any order, or never
//!   cheater  sends what it can sign, files what it likes, orders what its account allows
//!   arbiter  case ─▶ batch ─▶ [commit] ─▶ reply one by one, orders to the ledger at any time later, none lost
//!   ledger   make, post, void; when a hold ends its money goes to the payee, or back if it was reserved
//! ```

use std::sync::Mutex;

use arbiter_protocol::error::Refused;
use arbiter_protocol::exchange::selection::Protocol;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::role::{Ask, Outcome, Output, Phase};
use arbiter_protocol::ruling::sequencer::Reply;
use arbiter_protocol::time::UnixMillis;
use arbiter_protocol::weaken::{Countermeasure, within};
use stateright::{Model, Property};

use crate::common::COMPLAIN_BY;
use crate::common::money::{HOLD_END, Stand};
use crate::laws;
use crate::stage::{CallKey, MARGIN, Ordered, Orderer, Setup, Stage, person, role};
use crate::tables::{Beside, ItemKey, Said, Tables, Told};

/// One party's side, if it behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Side {
    /// The running session; 0 is none.
    pub session: u16,
    /// The durable one.
    pub journal: u16,
    /// What is still to be performed.
    pub outputs: u16,
    /// At which instants it wants to be woken, as bits.
    pub alarms: u16,
    /// What has left, ever.
    pub left: u8,
    /// Which requests have left, ever: a bit for each action and agreement.
    pub asked: u32,
    /// It watches the peer's payment.
    pub observes: bool,
    /// What the peer's item was that it took.
    pub received: Received,
    /// What the arbiter held is here.
    pub fetched: bool,
}

pub const OFFER: u8 = 1;
pub const ACCEPTANCE: u8 = 2;
pub const ITEM: u8 = 4;
/// The item left when it was too late to turn to the arbiter: A2 promises nothing.
pub const LATE: u8 = 8;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Received {
    #[default]
    Nothing,
    Own,
    /// An item of another agreement.
    Foreign,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// Index into the stage's instants.
    pub now: u8,
    /// Index into the stage's skews, for each person.
    pub skews: [u8; 2],
    pub sides: [Side; 2],
    /// Where each person's payment stands.
    pub ledger: [Stand; 2],
    /// Which payments the ledger has heard the arbiter's order about, as bits.
    pub told: u8,
    /// What the arbiter has on disk.
    pub durable: u16,
    /// A case decided, not committed, with its instant.
    pub batch: Option<(u16, u8)>,
    /// Who is still to be answered after a commit.
    pub reply: Option<u16>,
    /// The verdict that anybody was shown; 0 is none.
    pub shown: u16,
    /// Which laws an action broke, as bits.
    pub broken: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    Open,
    OfferArrives,
    AcceptanceArrives(u8),
    ItemArrives(usize, ItemKey),
    PeerIsBack(usize),
    GiveUp(usize),
    Wake(usize),
    ForgedRefusal(usize),
    /// A person looks at the peer's payment.
    Look(usize),
    Perform(usize),
    Crash(usize),
    File(u16),
    Commit,
    Reply,
    ArbiterCrash,
    /// The arbiter's order about a payment reaches the ledger.
    OrderArrives(usize),
    /// The cheater orders something about a person's payment.
    Order(usize, Ordered),
    Tick,
}

/// The search over one setup.
pub struct Search {
    pub stage: Stage,
    pub tables: Mutex<Tables>,
    pub exits: laws::Exits,
    pub choices: laws::Choices,
}

impl Search {
    pub fn new(setup: Setup) -> Self {
        let stage = within(setup.weakness, || Stage::new(setup.clone()));
        Self {
            stage,
            tables: Mutex::new(Tables::new()),
            exits: laws::Exits::default(),
            choices: laws::Choices::default(),
        }
    }

    pub fn setup(&self) -> &Setup {
        &self.stage.setup
    }

    fn off(&self, countermeasure: Countermeasure) -> bool {
        self.setup().weakness == Some(countermeasure)
    }

    pub fn phase(&self, world: &World, person: usize) -> Option<Phase> {
        self.tables.lock().unwrap().phase(world.sides[person].session)
    }

    pub fn time(&self, instant: u8) -> u64 {
        self.stage.instants[usize::from(instant)].0
    }

    /// What a person's clock shows.
    fn clock(&self, world: &World, person: usize, instant: u8) -> u64 {
        self.time(instant).saturating_add_signed(self.stage.skews[usize::from(world.skews[person])])
    }

    /// Everybody who behaves.
    pub fn honest(&self) -> impl Iterator<Item = usize> + '_ {
        (0..2).filter(|person| self.setup().honest(*person))
    }

    pub fn agreement(&self, world: &World, person: usize) -> Option<usize> {
        let tables = self.tables.lock().unwrap();
        let agreement = tables.session(world.sides[person].session)?.agreement()?.id();
        self.stage.agreements.iter().position(|it| it.id() == agreement)
    }

    /// Whether the cheater has an acceptance.
    fn knows(&self, world: &World, agreement: usize) -> bool {
        if self.setup().honest(1) {
            return agreement == 0 && world.sides[1].left & ACCEPTANCE != 0;
        }
        self.knows_offer(world)
    }

    fn knows_offer(&self, world: &World) -> bool {
        !self.setup().honest(0) || world.sides[0].left & OFFER != 0
    }

    /// What can stand beside a transfer of `sender` now.
    fn beside(&self, world: &World, sender: usize) -> Vec<Beside> {
        match &self.stage.terms[sender] {
            None => vec![Beside::Good],
            Some(terms) => {
                let states = world.ledger[sender].receipts(terms).into_iter();
                states.map(|it| Beside::Receipt(Said::of(it))).collect()
            }
        }
    }

    /// What can arrive: everything on the network, and what the cheater signs.
    fn items(&self, world: &World) -> Vec<ItemKey> {
        let mut items = Vec::new();
        for signer in 0..2 {
            let honest = self.setup().honest(signer);
            let left = world.sides[signer].left & ITEM != 0;
            for agreement in 0..2_u8 {
                let index = usize::from(agreement);
                let sent = honest && left && self.agreement(world, signer) == Some(index);
                let forged = !honest && self.knows(world, index);
                let mut beside = if sent || forged { self.beside(world, signer) } else { Vec::new() };
                if forged {
                    beside.push(Beside::Bad);
                }
                let sender = role(signer);
                let signer = u8::try_from(signer).unwrap();
                items.extend(beside.into_iter().map(|beside| ItemKey { agreement, sender, signer, beside }));
            }
        }
        items
    }

    /// Whether a case can be filed by now. A deposit of money needs a receipt that it took effect.
    pub fn can_file(&self, world: &World, key: &CallKey) -> bool {
        let payer = person(key.role);
        if key.action == Action::Deposit && self.stage.pays(payer) && !world.ledger[payer].was_made() {
            return false;
        }
        let pledged = |person| !self.stage.reserves(person) || world.ledger[person].was_made();
        if key.action == Action::Resolve && !(0..2).all(pledged) {
            return false; // R-428: refused without the receipts, and nothing else passes for them.
        }
        if self.setup().honest(key.signer) {
            return world.sides[key.signer].asked & bit(key.action, key.agreement) != 0;
        }
        self.knows_offer(world) && key.agreement.is_none_or(|index| self.knows(world, index))
    }

    fn tell(&self, world: &mut World, person: usize, told: Told) -> Option<()> {
        let side = world.sides[person];
        let clock = self.clock(world, person, world.now);
        let mut tables = self.tables.lock().unwrap();
        let (session, outputs) = tables.step(&self.stage, person, side.session, clock, told)?;
        let (was, is) = (tables.phase(side.session), tables.phase(session));
        let held = tables.session(session).and_then(|it| it.agreement()).map(|it| it.id());
        let side = &mut world.sides[person];
        (side.session, side.journal, side.outputs) = (session, session, outputs); // R-301
        if was != is {
            match (told, is) {
                (Told::Received(item), Some(Phase::Done(Outcome::Completed) | Phase::Settling)) => {
                    let meant = self.stage.agreements[usize::from(item.agreement)].id();
                    side.received = if held == Some(meant) { Received::Own } else { Received::Foreign };
                }
                (Told::Fetched, Some(Phase::Done(_))) => side.fetched = true,
                _ => {}
            }
        }
        if !matches!(is, Some(Phase::Settling | Phase::Asking(Ask::Deposit))) {
            side.observes = false;
        }
        Some(())
    }

    /// An order that somebody signed reaches the ledger.
    fn order(&self, world: &mut World, payer: usize, action: Ordered, by: Orderer) {
        let Some(order) = self.stage.order(payer, action, by) else { return };
        if action == Ordered::Make && self.time(world.now) >= HOLD_END {
            return; // The hold would be over before it begins.
        }
        let tombstone = !self.off(Countermeasure::VoidBeforeMake);
        let after = world.ledger[payer].after(order).filter(|it| tombstone || *it != Stand::Never);
        world.ledger[payer] = after.unwrap_or(world.ledger[payer]);
    }

    fn perform(&self, world: &mut World, person: usize) -> Option<()> {
        let side = world.sides[person];
        let clock = self.clock(world, person, world.now);
        let mut tables = self.tables.lock().unwrap();
        let output = tables.outputs(side.outputs).first()?.clone();
        let rest = tables.rest(side.outputs);
        let session = tables.session(side.session)?.clone();
        drop(tables);
        let instants = u8::try_from(self.stage.instants.len()).unwrap();
        world.sides[person].outputs = rest;
        match output {
            Output::SendOffer | Output::SendAcceptance
                if self.stage.reserves(person) && !world.ledger[person].was_made() =>
            {
                self.reserve(world, person, side.outputs);
            }
            Output::SendOffer => world.sides[person].left |= OFFER,
            Output::SendAcceptance => world.sides[person].left |= ACCEPTANCE,
            // R-304: asked again right before the item leaves.
            Output::SendItem if session.may_send_item(UnixMillis(clock)) => {
                self.send_item(world, person, clock);
            }
            Output::SendItem => {}
            Output::Ask(ask) => {
                let agreement = self.agreement(world, person);
                world.sides[person].asked |= bit(action_of(ask), agreement);
            }
            Output::WakeAt(at) => {
                let due = (world.now..instants)
                    .find(|it| self.clock(world, person, *it) >= at.0 || at.0 == clock + 500);
                world.sides[person].alarms |= due.map_or(0, |it| 1 << it);
            }
            Output::Observe => world.sides[person].observes = true,
            // What is reserved is posted when it is sent, or never by its payer (R-315).
            Output::Release if self.stage.reserves(person) => {}
            Output::Release => self.order(world, person, Ordered::Post, Orderer::Account(person)),
            Output::Done(_) => {}
        }
        Some(())
    }

    /// R-315: set aside before anything is said. What was undone before is given up, and what is too late is not said.
    fn reserve(&self, world: &mut World, person: usize, outputs: u16) {
        self.order(world, person, Ordered::Make, Orderer::Account(person));
        match world.ledger[person] {
            Stand::Never => {
                let _ = self.tell(world, person, Told::NotReserved);
            }
            Stand::Absent => {}
            _ => world.sides[person].outputs = outputs,
        }
    }

    /// Money leaves by being paid, and its receipt follows; what cannot be paid does not leave.
    fn send_item(&self, world: &mut World, person: usize, clock: u64) {
        if self.stage.reserves(person) {
            self.order(world, person, Ordered::Post, Orderer::Account(person));
            if world.ledger[person] != Stand::Posted {
                if !matches!(self.phase(world, person), Some(Phase::Done(_))) {
                    let _ = self.tell(world, person, Told::NotPaid);
                }
                return;
            }
        } else if self.stage.pays(person) {
            self.order(world, person, Ordered::Make, Orderer::Account(person));
            if matches!(world.ledger[person], Stand::Absent | Stand::Never) {
                return;
            }
        }
        let side = &mut world.sides[person];
        let by = self.deadline_of(person);
        let late = by.is_some_and(|by| clock + MARGIN >= by) && side.left & ITEM == 0;
        side.left |= ITEM | if late { LATE } else { 0 };
    }

    /// Before which time on the arbiter's clock a person that has sent has a claim: none if it needs none.
    fn deadline_of(&self, person: usize) -> Option<u64> {
        let first = self.stage.first() == person;
        let by = match self.stage.protocol() {
            Protocol::RevokeOnSilence => self.stage.offer.send_by,
            Protocol::Affidavit | Protocol::ContractSigning | Protocol::VerifyThenGenerate if !first => None,
            Protocol::BothDeposited | Protocol::Transfer => None,
            Protocol::Affidavit
            | Protocol::ContractSigning
            | Protocol::VerifyThenGenerate
            | Protocol::MutualRollback => self.stage.offer.complain_by,
        };
        by.map(|it| it.0)
    }

    /// Performs at once what nobody can see: what was said before, alarms, and the end. Only what leaves for the first
    /// time is a step of its own; any other order of these leads to the same states.
    fn settle(&self, world: &mut World, person: usize) {
        let said = |world: &World| (world.sides[person].left, world.sides[person].asked, world.ledger);
        loop {
            let mut after = world.clone();
            if self.perform(&mut after, person).is_none() || said(&after) != said(world) {
                break;
            }
            *world = after;
        }
        let side = &mut world.sides[person];
        let due = (2_u16 << world.now) - 1;
        if side.alarms & due != 0 {
            side.alarms = (side.alarms & !due) | (1 << world.now); // Too late is too late, whenever it was.
        }
        if matches!(self.tables.lock().unwrap().phase(side.session), Some(Phase::Done(_))) {
            side.alarms = 0;
        }
    }

    /// The rules of the arbiter know only the times in the offer: all instants between two of them are one.
    pub fn arbiters_instant(&self, world: &World) -> u8 {
        let passed = |instant: u8| self.stage.deadlines().filter(|by| self.time(instant) >= *by).count();
        (0..=world.now).find(|it| passed(*it) == passed(world.now)).unwrap_or(world.now)
    }

    fn crash(&self, world: &mut World, person: usize) -> Option<()> {
        let before = world.clone();
        let side = &mut world.sides[person];
        (side.session, side.outputs, side.alarms, side.observes) = (side.journal, 0, 0, false);
        if side.session != 0 {
            let step = self.tables.lock().unwrap().step(&self.stage, person, side.session, 0, Told::Restart);
            side.outputs = step.map_or(0, |(_, outputs)| outputs);
        }
        (*world != before).then_some(())
    }

    /// The call that a person has out now, by its phase.
    pub fn own_call(&self, world: &World, person: usize, action: Action) -> Option<u16> {
        let agreement = self.agreement(world, person);
        self.stage.call_of(CallKey { agreement, role: role(person), action, signer: person })
    }

    pub fn plan(&self, durable: u16, batch: &[(u16, u8)]) -> crate::tables::Plan {
        self.tables.lock().unwrap().plan(&self.stage, durable, batch)
    }

    /// The durable verdict's number, 0 for none.
    pub fn ruled(&self, world: &World) -> u16 {
        self.tables.lock().unwrap().ruled(world.durable, &self.stage)
    }

    fn file(&self, world: &mut World, call: u16) -> Option<()> {
        let mut batch: Vec<_> = world.batch.into_iter().collect();
        let alone = batch.is_empty();
        let instant = self.arbiters_instant(world);
        batch.push((call, instant));
        let plan = self.plan(world.durable, &batch);
        match plan.answers.last()? {
            // Section 8: the verdict is there, so it is asked for. Any other refusal is one that a stranger could forge.
            Err(Refused::AlreadyRuled) => {
                let key = &self.stage.calls[usize::from(call)].key;
                let side = &mut world.sides[key.signer];
                let more = bit(Action::Query, key.agreement);
                let changes = self.setup().honest(key.signer) && side.asked & more == 0;
                side.asked |= more;
                changes.then_some(())
            }
            Err(_) => None,
            Ok(reply) if alone && plan.next == world.durable => {
                self.answer(world, call, *reply, world.durable)
            }
            Ok(_) => {
                // One case a commit: what two do in one is tried in `model.rs` and `decisions.rs`.
                alone.then(|| world.batch = Some((call, instant)))
            }
        }
    }

    fn commit(&self, world: &mut World) -> Option<()> {
        let batch: Vec<_> = world.batch.take().into_iter().collect();
        let plan = self.plan(world.durable, &batch);
        laws::committed(self, world, plan.next, &batch);
        world.durable = plan.next;
        world.reply = batch.first().map(|it| it.0);
        Some(())
    }

    /// The answer to a call leaves the arbiter, and arrives or is lost.
    fn answer(&self, world: &mut World, call: u16, reply: Reply, durable: u16) -> Option<()> {
        let before = world.clone();
        let key = self.stage.calls[usize::from(call)].key;
        laws::shown(self, world, &key, reply, durable);
        let person = key.signer;
        if self.setup().honest(person)
            && world.sides[person].outputs == 0
            && let Some(Phase::Asking(ask)) = self.phase(world, person)
        {
            match (reply, ask) {
                (Reply::Attestation(_), Ask::Complain) => {
                    let agreement = self.agreement(world, person);
                    world.sides[person].asked |= bit(Action::Resolve, agreement);
                }
                (Reply::Attestation(_), Ask::Deposit) => {
                    self.tell(world, person, Told::Attested);
                }
                (Reply::Attestation(_), _) => {}
                (Reply::Content(_), _) => {
                    if laws::entitled_to(self, &key, reply) {
                        self.tell(world, person, Told::Fetched);
                    }
                }
                (Reply::Verdict, _) => {
                    let letter = self.tables.lock().unwrap().letter(&self.stage, durable, call);
                    let verdict = letter.expect("R-506: an honest receipt is verified");
                    self.tell(world, person, Told::Ruled(verdict));
                }
            }
        }
        (*world != before).then_some(())
    }

    fn reply(&self, world: &mut World) -> Option<()> {
        let call = world.reply.take()?;
        let plan = self.plan(world.durable, &[(call, self.arbiters_instant(world))]);
        let reply = plan.answers[0].ok()?;
        self.answer(world, call, reply, world.durable).or(Some(()))
    }

    /// What the arbiter still has to order about whose payment, with the time of the verdict.
    pub fn pending(&self, world: &World) -> Vec<(usize, Ordered, u64)> {
        let mut tables = self.tables.lock().unwrap();
        let ruled = tables.ruled(world.durable, &self.stage);
        if ruled == 0 {
            return Vec::new();
        }
        let orders = tables.orders(ruled, &self.stage).into_iter();
        let time = tables.verdict(ruled).statement.time.0;
        let open = orders.filter(|(payer, _)| world.told & (1 << payer) == 0);
        open.map(|(payer, ordered)| (payer, ordered, time)).collect()
    }

    pub fn order_arrives(&self, world: &mut World, payer: usize) -> Option<()> {
        let (_, ordered, _) = self.pending(world).into_iter().find(|(it, _, _)| *it == payer)?;
        self.order(world, payer, ordered, Orderer::Arbiter);
        world.told |= 1 << payer;
        Some(())
    }

    fn cheat_at_ledger(&self, world: &mut World, payer: usize, action: Ordered) -> Option<()> {
        let (cheater, before) = (self.setup().cheater?, world.ledger);
        self.order(world, payer, action, Orderer::Account(cheater));
        (world.ledger != before).then_some(())
    }

    /// Who watches learns that the payment has come to an end.
    fn look(&self, world: &mut World, person: usize) -> Option<()> {
        match world.ledger[1 - person] {
            Stand::Absent | Stand::Reserved => None,
            Stand::Posted => self.tell(world, person, Told::Settled),
            Stand::Part | Stand::Voided | Stand::Never => self.tell(world, person, Told::Reversed),
        }
    }

    /// A2: a claim that was possible in time gets through in time; and an order of the arbiter reaches the ledger before
    /// the hold ends, if the verdict came before `complain_by`. Of reserved money that counts from the decision: what was decided
    /// is committed by then, or lost.
    pub fn may_tick(&self, world: &World) -> bool {
        self.may_pass(world, &|person| self.setup().honest(person))
    }

    /// Whether time may pass as far as the claims of some are concerned.
    pub fn may_pass(&self, world: &World, counts: &dyn Fn(usize) -> bool) -> bool {
        let next = world.now + 1;
        if usize::from(next) >= self.stage.instants.len() {
            return false;
        }
        let (from, to) = (self.time(world.now), self.time(next));
        let passed = |by: &u64| from < *by && to >= *by;
        let owed = self
            .stage
            .deadlines()
            .filter(passed)
            .any(|by| (0..2).any(|person| counts(person) && self.owes_claim(world, person, by)));
        let owes_order =
            passed(&HOLD_END) && self.pending(world).iter().any(|(_, _, ruled)| *ruled < COMPLAIN_BY);
        let reserved = (0..2).any(|person| self.stage.reserves(person));
        let owes_commit = passed(&HOLD_END) && reserved && world.batch.is_some();
        !owed && !owes_order && !owes_commit
    }

    /// Whether a person must have been heard by the arbiter before this time, for A2 to hold.
    fn owes_claim(&self, world: &World, person: usize, by: u64) -> bool {
        let side = &world.sides[person];
        let in_time = side.left & ITEM != 0 && side.left & LATE == 0;
        let first = self.stage.first() == person;
        let offer = &self.stage.offer;
        let is = |deadline: Option<UnixMillis>| deadline.is_some_and(|it| it.0 == by);
        let mut tables = self.tables.lock().unwrap();
        let phase = tables.phase(side.session);
        let open = match (self.stage.protocol(), first) {
            (Protocol::ContractSigning | Protocol::VerifyThenGenerate, true) => is(offer.complain_by),
            // A2 is about claims for which there is time.
            (Protocol::RevokeOnSilence, true) => {
                let window = offer.send_by.zip(offer.complain_by).map(|(from, to)| to.0 - from.0);
                is(offer.complain_by) && window >= Some(2 * MARGIN)
            }
            (Protocol::RevokeOnSilence, false) => {
                let deposited = tables.deposits(world.durable, &self.stage).of(role(person)).is_some();
                is(offer.send_by) && !deposited
            }
            (Protocol::MutualRollback, _) => is(offer.complain_by) && phase != Some(Phase::Settling),
            (Protocol::Affidavit, true) => {
                let deposited = tables.deposits(world.durable, &self.stage).of(role(person)).is_some();
                let pursued = phase != Some(Phase::Asking(Ask::Resolve)); // A2 is about requests that are sent again.
                let claim = self.setup().kind.is_depositable(role(person)) && pursued;
                is(offer.complain_by) && claim && !deposited
            }
            _ => false,
        };
        let done = matches!(phase, Some(Phase::Done(_)));
        open && in_time && !done && tables.ruled(world.durable, &self.stage) == 0
    }

    /// Time passes.
    pub fn tick(&self, world: &mut World) {
        world.now += 1;
        if self.time(world.now) >= HOLD_END {
            world.ledger = [0, 1].map(|payer| world.ledger[payer].timed_out(self.stage.timeout(payer)));
        }
    }

    pub fn apply(&self, world: &mut World, act: Act) -> Option<()> {
        match act {
            Act::Open => self.tell(world, 0, Told::Open),
            Act::OfferArrives => {
                let made = world.ledger[0].was_made();
                self.tell(world, 1, Told::Accept(made))
            }
            Act::AcceptanceArrives(agreement) => {
                let made = world.ledger[1].was_made();
                self.tell(world, 0, Told::Accepted(agreement, made))
            }
            Act::ItemArrives(person, item) => self.tell(world, person, Told::Received(item)),
            Act::PeerIsBack(person) => self.tell(world, person, Told::PeerRepeats),
            Act::GiveUp(person) => self.tell(world, person, Told::GiveUp),
            Act::Wake(person) => {
                let due = world.sides[person].alarms & ((2 << world.now) - 1);
                world.sides[person].alarms &= !due;
                self.tell(world, person, Told::Wake).or((due != 0).then_some(()))
            }
            Act::ForgedRefusal(person) => self.tell(world, person, Told::Refused),
            Act::Look(person) => self.look(world, person),
            Act::Perform(person) => self.perform(world, person),
            Act::Crash(person) => self.crash(world, person),
            Act::File(call) => self.file(world, call),
            Act::Commit => self.commit(world),
            Act::Reply => self.reply(world),
            Act::ArbiterCrash => {
                (world.batch, world.reply) = (None, None);
                Some(())
            }
            Act::OrderArrives(payer) => self.order_arrives(world, payer),
            Act::Order(payer, kind) => self.cheat_at_ledger(world, payer, kind),
            Act::Tick => {
                self.tick(world);
                Some(())
            }
        }
    }

    fn acts_of_party(&self, world: &World, person: usize, acts: &mut Vec<Act>) {
        let side = &world.sides[person];
        if side.outputs != 0 {
            acts.push(Act::Perform(person));
            return; // The outputs of a step are performed before the next input is taken.
        }
        if side.session == 0 {
            acts.extend((person == 0).then_some(Act::Open));
        } else {
            acts.extend([Act::GiveUp(person), Act::ForgedRefusal(person), Act::PeerIsBack(person)]);
            if side.alarms & ((2 << world.now) - 1) != 0 {
                acts.push(Act::Wake(person));
            }
            if side.observes {
                acts.push(Act::Look(person));
            }
            acts.extend(self.items(world).into_iter().map(|item| Act::ItemArrives(person, item)));
        }
        if person == 1 && self.knows_offer(world) {
            acts.push(Act::OfferArrives);
        }
        for agreement in 0..2_u8 {
            if person == 0 && side.session != 0 && self.knows(world, usize::from(agreement)) {
                acts.push(Act::AcceptanceArrives(agreement));
            }
        }
    }

    fn acts_of_arbiter(&self, world: &World, acts: &mut Vec<Act>) {
        for (index, call) in self.stage.calls.iter().enumerate() {
            let index = u16::try_from(index).unwrap();
            let may = self.setup().honest(call.key.signer) || self.stage.cheats.contains(&index);
            if may && self.can_file(world, &call.key) {
                acts.push(Act::File(index));
            }
        }
        acts.extend(world.reply.map(|_| Act::Reply));
        acts.extend(world.batch.filter(|_| world.reply.is_none()).map(|_| Act::Commit));
        if world.batch.is_some() || world.reply.is_some() {
            acts.push(Act::ArbiterCrash);
        }
        acts.extend(self.pending(world).into_iter().map(|(payer, _, _)| Act::OrderArrives(payer)));
    }
}

/// Where a request is kept among those that left.
pub fn bit(action: Action, agreement: Option<usize>) -> u32 {
    let action = match action {
        Action::Abort => 0,
        Action::Resolve => 1,
        Action::Deposit => 2,
        Action::Fetch => 3,
        Action::Query => 4,
        Action::Revoke => 5,
    };
    1 << (action * 3 + agreement.map_or(0, |index| index + 1))
}

pub const fn action_of(ask: Ask) -> Action {
    match ask {
        Ask::Abort => Action::Abort,
        Ask::Complain | Ask::Deposit => Action::Deposit,
        Ask::Fetch => Action::Fetch,
        Ask::Resolve => Action::Resolve,
        Ask::Revoke => Action::Revoke,
    }
}

impl Model for Search {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        let number = u8::try_from(self.stage.skews.len()).unwrap();
        let world = World {
            now: 0,
            skews: [0; 2],
            sides: [Side::default(); 2],
            ledger: [Stand::Absent; 2],
            told: 0,
            durable: 0,
            batch: None,
            reply: None,
            shown: 0,
            broken: 0,
        };
        // Whose clock nobody asks stays exact. If both behave, both are exact, or one is fast and the other slow.
        let skews = |person| if self.setup().honest(person) { number } else { 1 };
        (0..skews(0))
            .flat_map(|one| (0..skews(1)).map(move |other| [one, other]))
            .filter(|[one, other]| self.setup().cheater.is_some() || (one + other) % number == 0)
            .map(|skews| World { skews, ..world.clone() })
            .collect()
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        if world.broken != 0 && self.setup().weakness.is_none() {
            return; // A law is broken: what comes after tells nothing.
        }
        for person in self.honest() {
            self.acts_of_party(world, person, acts);
            acts.push(Act::Crash(person));
        }
        self.acts_of_arbiter(world, acts);
        if self.setup().cheater.is_some() && self.knows_offer(world) {
            for payer in (0..2).filter(|payer| self.stage.pays(*payer)) {
                acts.extend(Ordered::ALL.map(|action| Act::Order(payer, action)));
            }
        }
        if self.may_tick(world) {
            acts.push(Act::Tick);
        }
    }

    fn next_state(&self, world: &World, act: Act) -> Option<World> {
        within(self.setup().weakness, || {
            let mut next = world.clone();
            self.apply(&mut next, act)?;
            for person in self.honest() {
                self.settle(&mut next, person);
            }
            (next != *world).then_some(next)
        })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        laws::properties(self)
    }
}
