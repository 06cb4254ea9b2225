//! A party as a driver runs it: a durable and a volatile half, outputs performed one by one, crashes anywhere.

use std::collections::VecDeque;

use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::role::{Ask, Input, Output, Phase, Session, Step, Timing};
use arbiter_protocol::time::{DurationMillis, UnixMillis};

use crate::common::Kind;
use crate::stage::{Template, role_in, stage};

pub const MARGIN: u64 = 60_000;
pub const TIMING: Timing = Timing { complain_margin: DurationMillis(MARGIN) };

/// What the journal holds of one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Journal {
    agreement: Option<usize>,
    sent: bool,
    phase: Phase,
}

/// One party's side of one exchange.
pub struct Desk {
    role: Role,
    template: &'static Template,
    journal: Option<Journal>,
    session: Option<Session>,
    pub outputs: VecDeque<Output>,
    pub alarms: Vec<u64>,
    /// The escrow on which the session rests passed the check, or none was owed.
    pub escrow_passed: bool,
}

pub struct Party {
    /// How far its clock is from the arbiter's, in milliseconds.
    pub skew: i64,
    pub desks: [Desk; 2],
    /// The process is not running.
    pub asleep: bool,
}

/// Where a step was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Not at all.
    None,
    /// Before the new state was durable.
    BeforePersist,
    /// After that, before any output.
    AfterPersist,
}

impl Party {
    pub fn new(party: usize, kinds: [Kind; 2], skew: i64) -> Self {
        let desk = |exchange: usize| Desk {
            role: role_in(exchange, party),
            template: stage().template(exchange, kinds[exchange]),
            journal: None,
            session: None,
            outputs: VecDeque::new(),
            alarms: Vec::new(),
            escrow_passed: true,
        };
        Self { skew, desks: [desk(0), desk(1)], asleep: false }
    }

    pub fn clock(&self, now: u64) -> UnixMillis {
        UnixMillis(now.saturating_add_signed(self.skew))
    }

    /// The process ends; the next one starts from the journal.
    pub fn restart(&mut self) {
        self.asleep = false;
        for desk in &mut self.desks {
            desk.restart();
        }
    }
}

impl Desk {
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    pub fn phase(&self) -> Option<Phase> {
        self.session.as_ref().map(Session::phase)
    }

    pub fn asks(&self) -> Option<Ask> {
        match self.phase() {
            Some(Phase::Asking(ask)) => Some(ask),
            _ => None,
        }
    }

    pub const fn template(&self) -> &'static Template {
        self.template
    }

    /// Which of the template's agreements the session rests on.
    pub fn agreement(&self) -> Option<usize> {
        let agreement = self.session.as_ref()?.agreement()?;
        self.template.agreements.iter().position(|it| it.id() == agreement.id())
    }

    /// Takes a step as a driver must: durable first, then outputs. Returns whether it was cut short.
    pub fn take(&mut self, step: Step, cut: Cut) -> bool {
        if cut == Cut::BeforePersist {
            return true;
        }
        self.session = Some(step.next);
        self.journal = self.session.as_ref().map(|session| Journal {
            agreement: self.agreement(),
            sent: session.sent(),
            phase: session.phase(),
        });
        if cut == Cut::AfterPersist {
            return true;
        }
        self.outputs.extend(step.outputs);
        false
    }

    pub fn handle(&mut self, now: UnixMillis, input: Input, cut: Cut) -> bool {
        let Some(session) = &self.session else { return false };
        let step = session.handle(now, input);
        self.take(step, cut)
    }

    fn restart(&mut self) {
        self.outputs.clear();
        self.alarms.clear();
        self.session = self.journal.map(|journal| {
            let acceptance =
                journal.agreement.map(|index| self.template.agreements[index].acceptance().clone());
            let offer = self.template.offer.clone();
            Session::restore(self.role, offer, acceptance, journal.sent, journal.phase, TIMING)
                .expect("a journal holds what a session was")
        });
        if let Some(session) = &self.session {
            self.outputs.extend(session.resume());
        }
    }
}
