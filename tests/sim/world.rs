//! One schedule: two parties in two exchanges with swapped roles, the arbiter, and everything between them.
//!
//! ```text
//!  party 0 ◀── net ──▶ party 1        calls ─▶ court: engine over a disk that fails ─▶ letters
//!       run(schedule) or explore(choices) ─▶ events ─▶ finish: calm, time runs out ─▶ judge
//! ```
//! Everything happens in one thread and in the order of the events: the same events give the same story.

use std::collections::{BTreeMap, VecDeque};

use arbiter::engine::EngineError;
use arbiter_protocol::crypto::Opener;
use arbiter_protocol::error::Refused;
use arbiter_protocol::exchange::item::Description;
use arbiter_protocol::exchange::kind::content::{ContentCheck, FitContent};
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::verdict::{Ruling, Verdict};
use arbiter_protocol::role::{Ask, Input, Outcome, Output, Phase, Session};
use arbiter_protocol::statement::Signed;

use crate::choices::Choices;
use crate::common::{COMPLAIN_BY, CONTENT, described, sealing};
use crate::court::{Answer, Court, request_of};
use crate::disk::Fate;
use crate::event::{Broken, Cheat, Delivery, Event, Leap, Schedule, Setup, Stuff};
use crate::oracle::Oracle;
use crate::party::{Cut, MARGIN, Party, TIMING};
use crate::stage::{
    CaseKey, Filed, Message, OTHER_CONTENT, TransferKey, agreed, fitting, opening, role_in, stage, transfer,
};

/// When a first sender with the slowest clock has started to complain and the assumption behind the margin
/// begins to count: from here to the deadline its calls take effect. Clocks differ by at most [`SKEW`], and the arbiter's
/// steps ahead by 3 s.
const LAST_CHANCE: u64 = COMPLAIN_BY - 25_000;
/// How far a party's clock is from the true time at most.
const SKEW: i64 = 20_000;
const NAMES: [&str; 2] = ["Ada", "Bob"];

/// What a schedule reached.
#[derive(Default)]
pub struct Tally(pub BTreeMap<String, u64>);

impl Tally {
    pub fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }
}

struct Packet {
    to: usize,
    message: Message,
}

struct Letter {
    key: CaseKey,
    answer: Answer,
}

pub struct World {
    pub setup: Setup,
    pub oracle: Oracle,
    pub tally: Tally,
    pub parties: [Party; 2],
    pub court: Court,
    net: VecDeque<Packet>,
    calls: Vec<CaseKey>,
    letters: Vec<Letter>,
    /// What got to the cheater.
    seen: Vec<Message>,
    /// Which agreement the verdict names that a party knows: `[exchange][party]`.
    ruled: [[Option<usize>; 2]; 2],
    pub now: u64,
    /// The arbiter's clock is so far from the true time.
    step: i64,
    /// Nothing fails any more.
    calm: bool,
    quit: bool,
    offer_left: [bool; 2],
    pub calls_made: u64,
    pub items_sent: u64,
    /// What happened, if it is told.
    story: Option<Vec<String>>,
}

impl World {
    pub fn new(setup: Setup) -> Self {
        let defect = match setup.broken {
            Some(Broken::Disk(defect)) => Some(defect),
            _ => None,
        };
        let party = |n: usize| Party::new(n, setup.kinds, setup.skews[n]);
        let mut world = Self {
            setup,
            oracle: Oracle::new(setup.kinds),
            tally: Tally::default(),
            parties: [party(0), party(1)],
            court: Court::new(defect),
            net: VecDeque::new(),
            calls: Vec::new(),
            letters: Vec::new(),
            seen: Vec::new(),
            ruled: Default::default(),
            now: COMPLAIN_BY - 600_000,
            step: 0,
            calm: false,
            quit: false,
            offer_left: [false; 2],
            calls_made: 0,
            items_sent: 0,
            story: None,
        };
        world.boot(Fate::Stored);
        world
    }

    /// The same, and it is told.
    pub fn told(setup: Setup) -> Self {
        Self { story: Some(Vec::new()), ..Self::new(setup) }
    }

    pub fn story(&self) -> &[String] {
        self.story.as_deref().unwrap_or_default()
    }

    /// Lets `choices` make a schedule of at most `steps` events, to the end of time.
    pub fn explore(&mut self, choices: &mut Choices, steps: usize) -> Schedule {
        let mut events = Vec::new();
        while events.len() < steps && self.oracle.broken.is_none() && choices.has_more() {
            let mut event = Event::draw(&self.setup, self.now, choices);
            for _ in 0..6 {
                if self.is_possible(event) {
                    break;
                }
                event = Event::draw(&self.setup, self.now, choices);
            }
            if self.is_possible(event) {
                events.push(event);
                self.happen(event);
            } else if !choices.has_more() {
                break;
            }
        }
        let late: Vec<_> = (0..8).map(|_| Event::draw_late(choices)).collect();
        self.finish(&late);
        Schedule { setup: self.setup, events, late }
    }

    /// Plays a schedule to the end of time: what did not hold, if anything.
    pub fn play(&mut self, schedule: &Schedule) -> Option<String> {
        for event in &schedule.events {
            if self.oracle.broken.is_some() {
                break;
            }
            if self.is_possible(*event) {
                self.happen(*event);
            }
        }
        self.finish(&schedule.late);
        self.oracle.broken.clone()
    }

    fn tell(&mut self, what: impl FnOnce(&Self) -> String) {
        if self.story.is_none() {
            return;
        }
        let line = what(self);
        let (sign, away) = if self.now < COMPLAIN_BY {
            ('-', COMPLAIN_BY - self.now)
        } else {
            ('+', self.now - COMPLAIN_BY)
        };
        let line = format!("{:>11}  {line}", format!("{sign}{}.{:03} s", away / 1_000, away % 1_000));
        self.story.iter_mut().for_each(|story| story.push(line.clone()));
    }

    pub fn runs(&self, party: usize) -> bool {
        let stopped = self.setup.cheater == Some(party) && (self.calm || self.quit);
        !stopped && !self.parties[party].asleep
    }

    fn is_honest(&self, party: usize) -> bool {
        self.setup.cheater != Some(party)
    }

    /// Whether an event can happen now; others change nothing.
    pub fn is_possible(&self, event: Event) -> bool {
        let session = |party: usize, exchange: usize| {
            self.runs(party) && self.parties[party].desks[exchange].session().is_some()
        };
        match event {
            Event::Open { party, .. } => {
                self.runs(party) && self.parties[party].desks[party].session().is_none()
            }
            Event::Perform { party, exchange } => {
                self.runs(party) && !self.parties[party].desks[exchange].outputs.is_empty()
            }
            Event::Deliver { .. } => !self.net.is_empty(),
            Event::Reach(_) => !self.calls.is_empty() && self.court.is_up(),
            Event::Poll(_) | Event::HangUp(_) => !self.court.served.is_empty(),
            Event::Turn(_) => self.court.waiting() > 0,
            Event::Letter { .. } => !self.letters.is_empty(),
            Event::Wake { party, exchange, .. } => {
                let now = self.parties[party].clock(self.now).0;
                session(party, exchange)
                    && self.parties[party].desks[exchange].alarms.iter().any(|it| *it <= now)
            }
            Event::GiveUp { party, exchange, .. } => {
                let done = matches!(self.parties[party].desks[exchange].phase(), Some(Phase::Done(_)));
                session(party, exchange) && !done
            }
            Event::Hello { party, .. } => self.runs(party),
            Event::Time(_) | Event::Step(_) | Event::Drift { .. } => true,
            Event::Sleep(party) => self.runs(party),
            Event::Restart(party) => self.runs(party) || self.parties[party].asleep,
            Event::Kill { .. } | Event::Blind(_) => self.court.is_up(),
            Event::Boot(_) => !self.court.is_up(),
            Event::Quit => self.setup.cheater.is_some() && !self.quit,
            Event::Cheat { .. } => self.setup.cheater.is_some(),
        }
    }

    /// Something happens.
    pub fn happen(&mut self, event: Event) {
        match event {
            Event::Open { party, cut } => self.open(party, cut),
            Event::Perform { party, exchange } => self.perform(party, exchange),
            Event::Deliver { nth, delivery, cut } => self.deliver(nth, delivery, cut),
            Event::Reach(nth) => self.reach(nth),
            Event::Poll(nth) => self.poll(nth),
            Event::Turn(fate) => self.turn(fate),
            Event::Letter { nth, cut } => self.letter(nth, cut),
            Event::HangUp(nth) => {
                let nth = nth % self.court.served.len();
                let key = self.court.hang_up(nth);
                self.tell(|_| format!("{}'s connection breaks: {}", NAMES[key.signer], asks(key)));
                self.tally.count("a connection broke");
                self.repeat(key);
            }
            Event::Wake { party, exchange, cut } => self.wake(party, exchange, cut),
            Event::Time(leap) => self.pass(leap),
            Event::Step(step) => {
                self.step = step;
                self.tell(|_| format!("the arbiter's clock is {step} ms off"));
            }
            Event::Drift { party, by } => {
                let skew = &mut self.parties[party].skew;
                *skew = (*skew + by).clamp(-SKEW, SKEW);
                let skew = *skew;
                self.tell(|_| format!("{}'s clock is {skew} ms off", NAMES[party]));
            }
            Event::GiveUp { party, exchange, cut } => {
                self.tell(|_| format!("{} loses patience in exchange {exchange}", NAMES[party]));
                self.input(party, exchange, Input::GiveUp, cut);
            }
            Event::Hello { party, exchange } => self.send(1 - party, Message::Hello(exchange), "hello"),
            Event::Sleep(party) => {
                self.tell(|_| format!("{} goes to sleep", NAMES[party]));
                self.parties[party].asleep = true;
            }
            Event::Restart(party) => {
                self.tell(|_| format!("{} starts again from the journal", NAMES[party]));
                self.tally.count("a party started again");
                self.parties[party].restart();
            }
            Event::Kill { power } => self.kill(power),
            Event::Boot(fate) => self.boot(fate),
            Event::Blind(more) => {
                self.tell(|_| format!("the disk will fail once, after {more} accesses"));
                self.court.go_blind(Some(more));
            }
            Event::Quit => self.quit = true,
            Event::Cheat { exchange, cheat } => self.cheat(exchange, cheat),
        }
    }

    /// How many messages, calls and answers are on their way.
    pub fn on_the_way(&self) -> [usize; 3] {
        [self.net.len(), self.calls.len(), self.letters.len()]
    }

    // ---- parties ----

    fn open(&mut self, party: usize, cut: Cut) {
        self.tell(|_| format!("{} opens exchange {party}", NAMES[party]));
        let step = Session::open(stage().template(party, self.setup.kinds[party]).offer.clone(), TIMING);
        self.parties[party].desks[party].take(step, cut);
        self.engaged_or_crashed(party, party, cut);
    }

    fn engaged_or_crashed(&mut self, exchange: usize, party: usize, cut: Cut) {
        if cut != Cut::BeforePersist {
            self.oracle.facts[exchange][party].engaged = true;
        }
        if cut != Cut::None {
            let when = if cut == Cut::BeforePersist { "before" } else { "after" };
            self.tell(|_| format!("{} crashes {when} that is durable", NAMES[party]));
            self.tally.count("crash inside a step");
            self.parties[party].restart();
        }
    }

    fn input(&mut self, party: usize, exchange: usize, input: Input, cut: Cut) {
        let cut = if self.calm { Cut::None } else { cut };
        let now = self.parties[party].clock(self.now);
        let desk = &mut self.parties[party].desks[exchange];
        let asked = desk.asks();
        let received = matches!(input, Input::Received(_));
        let fetched = matches!(input, Input::Fetched(_));
        let was = desk.phase();
        let crashed = desk.handle(now, input, cut);
        let is = desk.phase();
        if was != is {
            // What ended a session is what it holds; what it ignored, or lost in a crash, it does not.
            let facts = &mut self.oracle.facts[exchange][party];
            facts.received |= received && is == Some(Phase::Done(Outcome::Completed));
            facts.fetched |= fetched && is == Some(Phase::Done(Outcome::Resolved));
            if received && let Some(ask) = asked {
                self.tally.count(format!("late completion while asking {ask:?}"));
            }
            if asked == Some(Ask::Complain) && is == Some(Phase::Asking(Ask::Abort)) {
                self.tally.count("complaint given up");
            }
            if let Some(is) = is {
                self.tell(|_| format!("{} is {is:?} in exchange {exchange}", NAMES[party]));
            }
        }
        if crashed {
            self.engaged_or_crashed(exchange, party, cut);
        }
    }

    fn perform(&mut self, party: usize, exchange: usize) {
        let now = self.parties[party].clock(self.now);
        let desk = &mut self.parties[party].desks[exchange];
        let Some(output) = desk.outputs.pop_front() else { return };
        let agreement = desk.agreement();
        let template = desk.template();
        // R-304: the driver asks again right before the item leaves.
        let may_send = desk.session().is_some_and(|session| session.may_send_item(now));
        let may_send = may_send || self.setup.broken == Some(Broken::SendsLate);
        let to = 1 - party;
        match output {
            Output::SendOffer => {
                self.offer_left[exchange] = true;
                self.send(to, Message::Statement(opening(template, 0), true), "its offer");
            }
            Output::SendAcceptance => {
                let which = 1 + agreement.expect("accepted");
                self.send(to, Message::Statement(opening(template, which), true), "its acceptance");
            }
            Output::SendItem if may_send => self.send_item(party, exchange),
            Output::SendItem => self.tally.count("an item not sent: too late to complain"),
            Output::Ask(ask) => {
                let action = match ask {
                    Ask::Abort => Action::Abort,
                    Ask::Complain | Ask::Deposit => Action::Deposit,
                    Ask::Fetch => Action::Fetch,
                    Ask::Resolve => Action::Resolve,
                    Ask::Revoke => Action::Revoke,
                };
                self.call(party, exchange, action);
                if self.setup.broken == Some(Broken::SendsAfterAbort)
                    && ask == Ask::Abort
                    && agreement.is_some()
                {
                    self.send_item(party, exchange);
                }
            }
            Output::Observe | Output::Release => panic!("there is no money here"),
            Output::WakeAt(time) => self.parties[party].desks[exchange].alarms.push(time.0),
            Output::Done(outcome) => {
                self.tell(|_| format!("{} reports {outcome:?} in exchange {exchange}", NAMES[party]));
                if self.is_honest(party) {
                    self.oracle.ended(exchange, party, outcome);
                }
            }
        }
    }

    fn send_item(&mut self, party: usize, exchange: usize) {
        let agreement =
            self.parties[party].desks[exchange].agreement().expect("R-303: sent without an agreement");
        let kind = self.setup.kinds[exchange];
        let sender = role_in(exchange, party);
        let content = self.content(exchange, sender);
        let key = TransferKey { exchange, kind, agreement, sender, signer: party };
        if self.is_honest(party) {
            self.oracle.facts[exchange][party].item_left = true;
        }
        self.items_sent += 1;
        self.send(1 - party, Message::Item(transfer(key), content), "its item");
    }

    /// What follows the transfer of `sender`.
    fn content(&self, exchange: usize, sender: Role) -> Option<&'static [u8]> {
        let kind = self.setup.kinds[exchange];
        let file = (!kind.is_p1() && sender == kind.first()).then_some(CONTENT);
        (*stage().template(exchange, kind).signatures.of(sender)).or(file)
    }

    fn wake(&mut self, party: usize, exchange: usize, cut: Cut) {
        if !self.runs(party) {
            return;
        }
        let now = self.parties[party].clock(self.now).0;
        let alarms = &mut self.parties[party].desks[exchange].alarms;
        let Some(index) = alarms.iter().position(|time| *time <= now) else { return };
        alarms.swap_remove(index);
        self.input(party, exchange, Input::Wake, cut);
    }

    // ---- the network between them ----

    fn send(&mut self, to: usize, message: Message, what: &str) {
        self.tell(|_| format!("{} sends {what}", NAMES[1 - to]));
        if self.setup.cheater == Some(to) && self.seen.len() < 40 {
            self.seen.push(message.clone());
        }
        self.net.push_back(Packet { to, message });
    }

    fn deliver(&mut self, nth: usize, delivery: Delivery, cut: Cut) {
        let nth = nth % self.net.len();
        let packet = match delivery {
            Delivery::Repeated => {
                self.net.get(nth).map(|it| Packet { to: it.to, message: it.message.clone() })
            }
            Delivery::Once | Delivery::Dropped => self.net.remove(nth),
        };
        let Some(Packet { to, message }) = packet else { return };
        if delivery == Delivery::Dropped || !self.runs(to) {
            self.tell(|_| format!("{} to {} is lost", name(&message), NAMES[to]));
            return;
        }
        self.tell(|_| format!("{} gets to {}", name(&message), NAMES[to]));
        self.receive(to, message, cut);
    }

    fn receive(&mut self, party: usize, message: Message, cut: Cut) {
        match message {
            Message::Statement(envelope, escrow_passes) if envelope.holds::<Offer>() => {
                let exchange = 1 - party;
                let desk = &self.parties[party].desks[exchange];
                if *envelope != *desk.template().offer.envelope() {
                    return; // Not an offer to this party: an acceptance reflected, or its own offer.
                }
                if desk.session().is_some() {
                    self.input(party, exchange, Input::PeerRepeats, cut);
                    return;
                }
                let now = self.parties[party].clock(self.now);
                let agreement = desk.template().agreements[0].clone();
                let owed = desk.template().escrowed[0].originator.as_ref();
                if owed.is_some() && !escrow_passes {
                    self.tally.count("cheat: offer with a false escrow");
                }
                let trusts = escrow_passes || self.setup.broken == Some(Broken::TrustsEscrows);
                if let Ok(step) = Session::accept(agreement, owed.filter(|_| trusts), now, TIMING) {
                    self.tell(|_| format!("{} accepts in exchange {exchange}", NAMES[party]));
                    let cut = if self.calm { Cut::None } else { cut };
                    self.parties[party].desks[exchange].escrow_passed = escrow_passes;
                    self.parties[party].desks[exchange].take(step, cut);
                    self.engaged_or_crashed(exchange, party, cut);
                }
            }
            Message::Statement(envelope, escrow_passes) => {
                let template = self.parties[party].desks[party].template();
                let Some(which) = agreed(&envelope, template) else { return };
                let owed = template.escrowed[which].responder.clone();
                if !escrow_passes && owed.is_some() {
                    self.tally.count("cheat: acceptance with a false escrow");
                }
                let trusts = escrow_passes || self.setup.broken == Some(Broken::TrustsEscrows);
                let before = self.parties[party].desks[party].agreement();
                let input = Input::Accepted(template.agreements[which].clone(), owed.filter(|_| trusts));
                self.input(party, party, input, cut);
                let desk = &mut self.parties[party].desks[party];
                if before.is_none() && desk.agreement().is_some() {
                    desk.escrow_passed = escrow_passes;
                }
            }
            Message::Item(envelope, content) => {
                for exchange in 0..2 {
                    let desk = &self.parties[party].desks[exchange];
                    let agreement = desk.agreement().map(|index| &desk.template().agreements[index]);
                    let Some(agreement) = agreement else { continue };
                    let sender = role_in(exchange, 1 - party);
                    if let Some(fit) = fitting(&envelope, content, agreement, sender) {
                        self.input(party, exchange, Input::Received(fit), cut);
                    }
                }
            }
            Message::Declined(exchange) => self.input(party, exchange, Input::GiveUp, cut),
            Message::Hello(exchange) => self.input(party, exchange, Input::PeerRepeats, cut),
        }
    }

    // ---- calls to the arbiter ----

    fn call(&mut self, party: usize, exchange: usize, action: Action) {
        let desk = &self.parties[party].desks[exchange];
        let escrows = if desk.escrow_passed { Filed::Good } else { Filed::HollowPeer };
        let (kinds, agreement, role) = (self.setup.kinds, desk.agreement(), role_in(exchange, party));
        self.file(CaseKey {
            kinds,
            exchange,
            filed: exchange,
            agreement,
            role,
            action,
            signer: party,
            escrows,
        });
    }

    fn file(&mut self, key: CaseKey) {
        self.calls_made += 1;
        self.tell(|_| format!("{} calls the arbiter: {}", NAMES[key.signer], asks(key)));
        self.repeat(key);
    }

    /// The same request again until it is answered (section 8).
    fn repeat(&mut self, key: CaseKey) {
        if !self.calls.contains(&key) {
            self.calls.push(key);
        }
    }

    fn reach(&mut self, nth: usize) {
        let key = self.calls.remove(nth % self.calls.len());
        self.court.reach(key);
        self.poll(self.court.served.len() - 1);
    }

    fn poll(&mut self, nth: usize) {
        self.set_court_clock();
        let nth = nth % self.court.served.len();
        let Some((key, answer)) = self.court.poll(nth) else { return };
        match &answer {
            Answer::Receipt(receipt) => self.oracle.receipt(key, receipt, self.setup.fully),
            Answer::Content(head, chunks) => {
                let plain = self.open_content(key, &head.encapsulated, chunks);
                self.oracle.content(key, plain.as_deref());
            }
            Answer::Refused(_) | Answer::Rejected(_) => {}
            Answer::Trouble(error) => {
                let known = matches!(error, EngineError::Damaged | EngineError::Stopped);
                self.oracle.must(known, || format!("F4: an answer is in trouble: {error}"));
                self.tally.count(format!("trouble: {error:?}"));
                self.tell(|_| format!("the arbiter cannot answer {}: {error}", NAMES[key.signer]));
                self.repeat(key);
                return;
            }
        }
        self.letters.push(Letter { key, answer });
    }

    /// What a party finds in a content: sealed under the agreement that the verdict names (R-309).
    fn open_content(&self, key: CaseKey, encapsulated: &[u8], chunks: &[Vec<u8>]) -> Option<Vec<u8>> {
        let template = stage().template(key.exchange, key.kinds[key.exchange]);
        let named = self.oracle.verdict(key.exchange)?.agreement_id;
        let agreement = template.agreements.iter().find(|it| Some(it.id()) == named)?;
        let secret = sealing(if key.role == Role::Originator { 11 } else { 12 });
        let mut opener = Opener::new(&secret, &agreement.seal_context(key.role.peer()), encapsulated).ok()?;
        let mut plain = Vec::new();
        for (n, sealed) in chunks.iter().enumerate() {
            plain.extend(opener.open(sealed, n + 1 == chunks.len()).ok()?);
        }
        Some(plain)
    }

    fn set_court_clock(&self) {
        let step = if self.calm { 0 } else { self.step };
        self.court.set_clock(self.now.saturating_add_signed(step));
    }

    fn turn(&mut self, fate: Fate) {
        self.set_court_clock();
        let fate = if self.calm { Fate::Stored } else { fate };
        let failed = self.court.turn(fate);
        self.witness();
        if fate != Fate::Stored {
            self.tell(|_| format!("the arbiter's commit fails, {fate:?}"));
        }
        if failed {
            // R-505: the process ends.
            self.tally.count(format!("a commit failed: {fate:?}"));
            self.kill(false);
        }
    }

    fn witness(&mut self) {
        let witnessed = self.court.witnessed();
        for it in witnessed.iter().filter(|it| it.stored) {
            let rulings: Vec<_> = it.commit.records.values().map(ruling).collect();
            if !rulings.is_empty() {
                let (at, leaves) = (it.commit.head.commits, it.commit.head.size);
                let line = format!("the arbiter commits ({at}, {leaves} leaves): {}", rulings.join("; "));
                self.tell(|_| line);
            }
        }
        self.oracle.committed(witnessed, &self.court.reached);
    }

    fn kill(&mut self, power: bool) {
        let how = if power { "loses power" } else { "ends" };
        self.tell(|_| format!("the arbiter's process {how}"));
        self.tally.count(if power { "the arbiter lost power" } else { "the arbiter's process ended" });
        for key in self.court.kill(power) {
            self.repeat(key);
        }
    }

    fn boot(&mut self, fate: Fate) {
        self.set_court_clock();
        let fate = if self.calm { Fate::Stored } else { fate };
        let booted = self.court.boot(fate);
        self.witness();
        match booted {
            Ok(()) => {
                self.tell(|_| "the arbiter starts".to_owned());
                self.audit(true);
            }
            Err(error) => {
                self.tell(|_| format!("the arbiter does not start: {error}"));
                self.tally.count("a start failed");
                self.oracle.must(fate != Fate::Stored, || format!("R-505: a good log is refused: {error}"));
            }
        }
    }

    /// Looks at the store from outside; where nothing is on its way, also at the contents.
    fn audit(&mut self, contents: bool) {
        self.court.go_blind(None);
        if let (Some(store), Some(engine)) = (self.court.store(), self.court.engine()) {
            self.oracle.audit(store, engine, contents);
        }
    }

    fn letter(&mut self, nth: usize, cut: Cut) {
        let Letter { key, answer } = self.letters.remove(nth % self.letters.len());
        let (party, exchange) = (key.signer, key.exchange);
        self.tell(|_| format!("{} is answered: {} to {}", NAMES[party], answered(&answer), asks(key)));
        if !self.is_honest(party) && self.note_cheaters_letter(key, &answer) {
            return;
        }
        let desk = &self.parties[party].desks[exchange];
        if self.parties[party].asleep || desk.session().is_none() {
            return; // The caller is gone; after its restart it asks again.
        }
        let complains = desk.asks() == Some(Ask::Complain);
        match answer {
            Answer::Receipt(receipt) if receipt.statement.holds::<Verdict>() => {
                let verdict = Signed::<Verdict>::parse(receipt.statement).unwrap().unverified().clone();
                self.ruled(key, verdict, cut);
            }
            Answer::Receipt(_) if complains => self.call(party, exchange, Action::Resolve),
            Answer::Receipt(_) => {}
            Answer::Content(head, chunks) => {
                let plain = self.open_content(key, &head.encapsulated, &chunks);
                match plain.and_then(|plain| self.fit(key, &plain)) {
                    Some(fit) => self.input(party, exchange, Input::Fetched(fit), cut),
                    None => self.oracle.must(false, || "F12: what was held does not fit".to_owned()),
                }
            }
            // The verdict is there: ask for it (section 8).
            Answer::Refused(Refused::AlreadyRuled) => self.call(party, exchange, Action::Resolve),
            Answer::Refused(refused) => {
                if self.is_honest(party) {
                    // Who behaves is refused only because a clock differs or an outage was long.
                    let expected = matches!(
                        refused,
                        Refused::AbortTooEarly { .. }
                            | Refused::ComplaintTooLate { .. }
                            | Refused::EscrowKeyRetired { .. }
                    );
                    self.oracle.must(expected, || format!("F4: an honest request was refused: {refused}"));
                    self.tally.count(format!("honest refused: {}", refused.reason()));
                }
                self.input(party, exchange, Input::Refused, cut);
            }
            Answer::Rejected(rejected) => {
                self.oracle.must(false, || format!("F4: an honest case was rejected: {rejected}"));
            }
            Answer::Trouble(_) => {}
        }
    }

    fn ruled(&mut self, key: CaseKey, verdict: Verdict, cut: Cut) {
        let (party, exchange) = (key.signer, key.exchange);
        let agreements = &self.parties[party].desks[exchange].template().agreements;
        let named = agreements.iter().position(|it| Some(it.id()) == verdict.agreement_id);
        self.ruled[exchange][party] = named;
        self.tally.count("verdicts delivered");
        if verdict.requested_by != key.role || Some(verdict.request) != request_of(key) {
            self.tally.count("verdicts replayed to another request");
        }
        if named == Some(1) {
            self.tally.count("verdicts on a second acceptance");
        }
        self.input(party, exchange, Input::Ruled(verdict), cut);
    }

    /// R-311: the one in escrow, or the file agreed.
    fn fit(&self, key: CaseKey, plain: &[u8]) -> Option<FitContent> {
        let (exchange, owner) = (key.exchange, key.role.peer());
        let template = stage().template(exchange, key.kinds[exchange]);
        let mut check = match &template.offer.item(owner).description {
            Description::DetachedSignature(item) => {
                let named = self.ruled[exchange][key.signer]?;
                let escrow = template.escrowed[named].of(owner).as_ref()?.escrow()?.clone();
                ContentCheck::signature(item.clone(), Some(escrow))
            }
            _ => ContentCheck::file(described(CONTENT)),
        };
        check.update(plain).ok()?;
        check.finish().ok()
    }

    /// Counts what a cheater got. True if no machine of its waits for it.
    fn note_cheaters_letter(&mut self, key: CaseKey, answer: &Answer) -> bool {
        match answer {
            Answer::Rejected(rejected) => self.tally.count(format!("cheat rejected: {}", rejected.reason())),
            Answer::Refused(refused) => self.tally.count(format!("cheat refused: {}", refused.reason())),
            _ => self.tally.count(format!("cheat answered: {:?}", key.action)),
        }
        !self.runs(key.signer) || matches!(answer, Answer::Rejected(_) | Answer::Content(..))
    }

    // ---- time ----

    /// Time passes, but an honest first sender whose item left gets its complaint through in time: that is
    /// the assumption behind the complaint margin (section 10, A2).
    fn pass(&mut self, leap: Leap) {
        self.advance(match leap {
            Leap::By(span) => self.now + span,
            Leap::To(time) => time,
        });
    }

    fn advance(&mut self, to: u64) {
        if to >= LAST_CHANCE && self.now < COMPLAIN_BY {
            for exchange in 0..2 {
                for party in 0..2 {
                    self.let_complain(party, exchange);
                }
            }
        }
        self.now = self.now.max(to);
    }

    fn owes_complaint(&self, party: usize, exchange: usize) -> bool {
        let kind = self.setup.kinds[exchange];
        let facts = self.oracle.facts[exchange][party];
        let done = matches!(self.parties[party].desks[exchange].phase(), Some(Phase::Done(_)));
        kind.has_deadline() && role_in(exchange, party) == kind.first() && facts.item_left && !done
    }

    fn let_complain(&mut self, party: usize, exchange: usize) {
        if !self.owes_complaint(party, exchange) || self.oracle.broken.is_some() {
            return;
        }
        self.now = self.now.max(LAST_CHANCE);
        self.tell(|_| format!("{} must get its complaint through now (A2)", NAMES[party]));
        let was_calm = std::mem::replace(&mut self.calm, true);
        if self.parties[party].asleep {
            self.parties[party].restart();
        }
        for _ in 0..60 {
            if !self.owes_complaint(party, exchange) {
                break;
            }
            self.wake(party, exchange, Cut::None);
            while !self.parties[party].desks[exchange].outputs.is_empty() {
                self.perform(party, exchange);
            }
            self.serve();
            self.now += 300;
        }
        self.calm = was_calm;
        let owes = self.owes_complaint(party, exchange);
        self.oracle
            .must(!owes, || format!("F4: a complaint of party {party} in time was not answered in time"));
        self.tally.count("complaints in the last minute");
    }

    /// The arbiter works off everything that is there.
    fn serve(&mut self) {
        if !self.court.is_up() {
            self.boot(Fate::Stored);
        }
        for _ in 0..100 {
            if self.calls.is_empty() && self.court.served.is_empty() || self.oracle.broken.is_some() {
                break;
            }
            self.court.go_blind(None);
            while !self.calls.is_empty() {
                self.reach(0);
            }
            for nth in (0..self.court.served.len()).rev() {
                self.poll(nth);
            }
            if self.court.waiting() > 0 {
                self.turn(Fate::Stored);
            }
        }
        let idle = self.calls.is_empty() && self.court.served.is_empty();
        self.oracle.must(idle, || "F4: the arbiter does not come to an end".to_owned());
        while !self.letters.is_empty() {
            self.letter(0, Cut::None);
        }
    }

    /// Everybody loses patience, the network calms down, and time passes until all who behave have ended. Then the arbiter
    /// loses its power once more, and the oracle judges.
    pub fn finish(&mut self, late: &[Event]) {
        self.calm = true;
        for round in 0..60 {
            if self.oracle.broken.is_some() {
                return;
            }
            self.calm_round(round);
            if let Some(event) = late.get(round).filter(|it| self.is_possible(**it)) {
                self.happen(*event);
            }
            self.serve();
            if round > late.len() && self.is_over() {
                break;
            }
            let span = if round < 4 { 500 } else { MARGIN };
            self.advance(self.now + span);
        }
        self.last_judgement();
    }

    fn calm_round(&mut self, round: usize) {
        for party in 0..2 {
            if self.parties[party].asleep {
                self.parties[party].restart();
            }
            for exchange in 0..2 {
                self.wake(party, exchange, Cut::None);
                if self.runs(party) && round > 1 {
                    self.input(party, exchange, Input::GiveUp, Cut::None);
                }
                while self.runs(party) && !self.parties[party].desks[exchange].outputs.is_empty() {
                    self.perform(party, exchange);
                }
            }
        }
        for _ in 0..self.net.len() {
            self.deliver(0, Delivery::Once, Cut::None);
        }
    }

    fn is_over(&self) -> bool {
        let waits = |party: usize| {
            let desks = self.parties[party].desks.iter();
            let mut open = desks.filter(|it| it.session().is_some());
            self.is_honest(party) && open.any(|desk| !matches!(desk.phase(), Some(Phase::Done(_))))
        };
        let busy = |party: usize| {
            self.runs(party) && self.parties[party].desks.iter().any(|it| !it.outputs.is_empty())
        };
        !waits(0) && !waits(1) && !busy(0) && !busy(1)
    }

    fn last_judgement(&mut self) {
        // What could not be removed because the disk failed stays until the next start.
        let whole = !self.court.was_blind();
        self.audit(whole);
        self.kill(true);
        self.boot(Fate::Stored);
        for exchange in 0..2 {
            for party in 0..2 {
                if self.is_honest(party)
                    && let Some(outcome) = self.oracle.judge(exchange, party)
                {
                    let ending = self.oracle.ending(exchange, party, outcome);
                    self.tally.count(ending);
                }
            }
        }
        if self.setup.fully
            && let Some(store) = self.court.store()
        {
            let clean = arbiter::fsck::check(store, &stage().desk.arbiter, None, &mut |_| {}).fault.is_none();
            self.oracle.must(clean, || "F14: fsck finds a fault".to_owned());
        }
    }

    // ---- the cheater ----

    fn cheat(&mut self, exchange: usize, cheat: Cheat) {
        let Some(cheater) = self.setup.cheater else { return };
        let kind = self.setup.kinds[exchange];
        let template = stage().template(exchange, kind);
        let (own, victim) = (role_in(exchange, cheater), 1 - cheater);
        if own == Role::Responder && !self.offer_left[exchange] {
            return; // It cannot sign about an offer that it has never seen.
        }
        match cheat {
            Cheat::Opening { second, passes } => {
                let which = match own {
                    Role::Originator => 0,
                    Role::Responder => 1 + usize::from(second),
                };
                let what = ["its offer", "an acceptance", "a second acceptance"][which];
                let beside = if passes { "" } else { " with a false escrow" };
                self.tally.count(format!("cheat: {what} sent"));
                self.send(
                    victim,
                    Message::Statement(opening(template, which), passes),
                    &format!("{what}{beside}"),
                );
            }
            Cheat::Item { agreement, in_own_role, content } => {
                let sender = if in_own_role { own } else { own.peer() };
                let good = self.content(exchange, sender);
                let content = match content {
                    Stuff::Good => good,
                    Stuff::OfTheOther => self.content(exchange, sender.peer()).or(Some(OTHER_CONTENT)),
                    Stuff::Wrong => Some(OTHER_CONTENT),
                    Stuff::Nothing => None,
                };
                let what = if content == good { "an item" } else { "an item that does not fit" };
                let key = TransferKey { exchange, kind, agreement, sender, signer: cheater };
                self.send(victim, Message::Item(transfer(key), content), what);
            }
            Cheat::Decline => self.send(victim, Message::Declined(exchange), "\"I will not go on\""),
            Cheat::Reflect(_) if self.seen.is_empty() => {}
            Cheat::Reflect(nth) => {
                let message = self.seen[nth % self.seen.len()].clone();
                self.send(victim, message, "something back");
            }
            Cheat::ForgeRefusal => {
                self.letters.retain(|it| it.key.signer != victim || it.key.exchange != exchange);
                if self.runs(victim) && self.parties[victim].desks[exchange].asks().is_some() {
                    self.tally.count("cheat: forged refusal");
                    self.tell(|_| format!("{} forges a refusal to {}", NAMES[cheater], NAMES[victim]));
                    self.input(victim, exchange, Input::Refused, Cut::None);
                }
            }
            Cheat::Call { action, agreement, in_own_role, other_offer, escrows } => {
                let role = if in_own_role { own } else { own.peer() };
                let mix = other_offer && self.offer_left[0] && self.offer_left[1];
                let filed = if mix { 1 - exchange } else { exchange };
                // Only a responder can make a second acceptance, and only who has the first can file it.
                let accepted = self.parties[victim].desks[exchange].agreement().is_some();
                let known = own == Role::Responder || accepted;
                let agreement =
                    agreement.filter(|which| if *which == 1 { own == Role::Responder } else { known });
                let kinds = self.setup.kinds;
                self.file(CaseKey {
                    kinds,
                    exchange,
                    filed,
                    agreement,
                    role,
                    action,
                    signer: cheater,
                    escrows,
                });
            }
        }
    }
}

fn name(message: &Message) -> &'static str {
    match message {
        Message::Statement(envelope, _) if envelope.holds::<Offer>() => "an offer",
        Message::Statement(..) => "an acceptance",
        Message::Item(..) => "an item",
        Message::Declined(_) => "\"I will not go on\"",
        Message::Hello(_) => "a hello",
    }
}

fn asks(key: CaseKey) -> String {
    let mut text = format!(
        "{} {} in exchange {}",
        key.role.name(),
        format!("{:?}", key.action).to_lowercase(),
        key.exchange
    );
    if key.filed != key.exchange {
        text += ", filed with another offer";
    }
    if key.agreement == Some(1) {
        text += ", under the second acceptance";
    }
    if key.action == Action::Resolve && key.escrows != Filed::Good {
        text += &format!(", escrows {:?}", key.escrows);
    }
    text
}

fn answered(answer: &Answer) -> String {
    match answer {
        Answer::Receipt(receipt) => match Signed::<Verdict>::parse(receipt.statement.clone()) {
            Ok(verdict) => format!("a verdict, {}", said(&verdict.unverified().ruling)),
            Err(_) => "an attestation".to_owned(),
        },
        Answer::Content(..) => "what is held".to_owned(),
        Answer::Refused(refused) => refused.reason().to_owned(),
        Answer::Rejected(rejected) => rejected.reason().to_owned(),
        Answer::Trouble(error) => error.to_string(),
    }
}

const fn said(ruling: &Ruling) -> &'static str {
    match ruling {
        Ruling::Aborted => "aborted",
        Ruling::Affidavit(_) => "attested to",
        Ruling::Replaced(_) => "replaced",
        Ruling::Revoked(_) => "revoked",
    }
}

fn ruling(record: &arbiter_protocol::ruling::sequencer::Record) -> String {
    match (&record.verdict, crate::oracle::attestation(record)) {
        (Some(verdict), _) => {
            let it = &verdict.statement;
            format!("{} for the {} ({})", said(&it.ruling), it.requested_by.name(), it.rule)
        }
        (None, Some(it)) => format!("attested for the {}", it.statement.depositor.name()),
        (None, None) => "nothing".to_owned(),
    }
}
