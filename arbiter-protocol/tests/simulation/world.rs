//! One schedule: two parties in two exchanges with swapped roles, the arbiter, and everything between them.
//!
//! ```text
//!  party 0 ◀── net ──▶ party 1        calls ─▶ court: engine over a disk that fails ─▶ letters
//!       run(schedule) or explore(choices) ─▶ events ─▶ finish: calm, time runs out ─▶ judge
//! ```
//! Everything happens in one thread and in the order of the events: the same events give the same story.

use std::collections::{BTreeMap, VecDeque};

use arbiter_protocol::role::Input;
use arbiter_protocol::weaken::within;

use crate::bank::Errand;
use crate::calls::Letter;
use crate::choices::Choices;
use crate::common::COMPLAIN_BY;
use crate::court::Court;
use crate::event::{Broken, Event, Fate, Schedule, Setup};
use crate::oracle::Oracle;
use crate::party::Party;
use crate::rail::Rail;
use crate::signed::{CaseKey, Message, ask_again_without};
use crate::words::asks;

/// How far a party's clock is from the true time at most.
const SKEW: i64 = 20_000;
pub const NAMES: [&str; 2] = ["Ada", "Bob"];

/// What a schedule reached.
#[derive(Default)]
pub struct Tally(pub BTreeMap<String, u64>);

impl Tally {
    pub fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }
}

pub struct Packet {
    pub to: usize,
    pub message: Message,
}

pub struct World {
    pub setup: Setup,
    pub oracle: Oracle,
    pub tally: Tally,
    pub parties: [Party; 2],
    pub court: Court,
    pub rail: Rail,
    pub net: VecDeque<Packet>,
    pub calls: Vec<CaseKey>,
    pub letters: Vec<Letter>,
    /// On the way to the ledger.
    pub errands: Vec<Errand>,
    /// What got to the cheater.
    pub seen: Vec<Message>,
    /// Which agreement the verdict names that a party knows: `[exchange][party]`.
    pub ruled: [[Option<usize>; 2]; 2],
    pub now: u64,
    /// The arbiter's clock is so far from the true time.
    pub step: i64,
    /// How often the arbiter has started.
    pub starts: u32,
    /// Nothing fails any more.
    pub calm: bool,
    pub quit: bool,
    pub offer_left: [bool; 2],
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
        let fault = match setup.broken {
            Some(Broken::Rail(fault)) => Some(fault),
            _ => None,
        };
        ask_again_without(setup.weakness());
        let party = |n: usize| Party::new(n, setup.kinds, setup.skews[n]);
        let mut world = Self {
            setup,
            oracle: Oracle::new(setup.kinds, setup.poor),
            tally: Tally::default(),
            parties: [party(0), party(1)],
            court: Court::new(defect),
            rail: Rail::new(setup.poor, fault),
            net: VecDeque::new(),
            calls: Vec::new(),
            letters: Vec::new(),
            errands: Vec::new(),
            seen: Vec::new(),
            ruled: Default::default(),
            now: setup.begins(),
            step: 0,
            starts: 0,
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
        within(self.setup.weakness(), || self.choose(choices, steps))
    }

    fn choose(&mut self, choices: &mut Choices, steps: usize) -> Schedule {
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
        within(self.setup.weakness(), || {
            for event in &schedule.events {
                if self.oracle.broken.is_none() && self.is_possible(*event) {
                    self.happen(*event);
                }
            }
            self.finish(&schedule.late);
        });
        self.oracle.broken.clone()
    }

    pub fn tell(&mut self, what: impl FnOnce(&Self) -> String) {
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

    pub fn is_honest(&self, party: usize) -> bool {
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
                self.runs(party) && self.parties[party].desks[exchange].has_to_perform()
            }
            Event::Deliver { .. } => !self.net.is_empty(),
            Event::Reach(_) => !self.calls.is_empty() && self.court.is_up(),
            Event::Poll(_) | Event::HangUp(_) => self.court.serves() > 0,
            Event::Turn(_) => self.court.waiting() > 0,
            Event::Letter { .. } => !self.letters.is_empty(),
            Event::Till { party, exchange } => {
                self.runs(party) && self.next_errand(party, exchange).is_some()
            }
            Event::Bank { .. } => !self.errands.is_empty(),
            Event::Tell(_) | Event::Due => self.court.is_up(),
            Event::Strike(down) => self.rail.down != down,
            Event::Wake { party, exchange, .. } => {
                let now = self.parties[party].clock(self.now).0;
                session(party, exchange)
                    && self.parties[party].desks[exchange].alarms.iter().any(|it| *it <= now)
            }
            Event::GiveUp { party, exchange, .. } => {
                session(party, exchange) && !self.parties[party].desks[exchange].is_done()
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
            Event::Till { party, exchange } => self.till(party, exchange),
            Event::Bank { nth, delivery } => self.bank(nth, delivery),
            Event::Tell(nth) => self.tell_ledger(nth),
            Event::Due => self.decide_due(),
            Event::Strike(down) => {
                self.tell(|_| format!("the ledger is {}", if down { "out of reach" } else { "back" }));
                self.rail.down = down;
            }
            Event::HangUp(nth) => {
                let nth = nth % self.court.serves();
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
}
