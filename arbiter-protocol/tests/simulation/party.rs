//! A party as a driver runs it: a durable and a volatile half, outputs performed one by one, crashes anywhere.

use std::collections::VecDeque;
use std::sync::Arc;

use arbiter_protocol::exchange::selection::{Protocol, Role};
use arbiter_protocol::message::payment::PaymentReceipt;
use arbiter_protocol::role::{Ask, Input, Outcome, Output, Phase, Session, Step, Timing};
use arbiter_protocol::statement::Verified;
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

/// What a party does with ledgers. Gone when its process ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Till {
    /// Has its own money set aside until there is an answer; nothing else is done meanwhile.
    pub reserving: bool,
    /// Was stopped while it did: it says nothing to the peer.
    pub silent: bool,
    /// Orders its own payment until there is an answer.
    pub paying: bool,
    /// An order of it may have left without an answer having come.
    pub maybe_ordered: bool,
    /// Looks at the peer's payment until it is final.
    pub watching: bool,
    /// Posts its own payment until the ledger has heard it.
    pub releasing: bool,
}

/// What a party knows of its own payment. Durable.
#[derive(Clone, Default)]
pub struct Purse {
    pub ordered: bool,
    /// The ledger's word that it is set aside, if it is to be.
    pub pledge: Option<Arc<Verified<PaymentReceipt>>>,
    pub receipt: Option<(Arc<Vec<u8>>, Verified<PaymentReceipt>)>,
}

/// One party's side of one exchange.
pub struct Desk {
    role: Role,
    template: &'static Template,
    journal: Option<Journal>,
    session: Option<Session>,
    pub outputs: VecDeque<Output>,
    pub alarms: Vec<u64>,
    /// The pledge on which the session rests passed the check, or none was owed.
    pub pledge_passed: bool,
    pub till: Till,
    pub purse: Purse,
    /// How it ended, while its own payment is still owed.
    pub unsaid: Option<Outcome>,
}

pub struct Party {
    /// How far its clock is from the arbiter's, in milliseconds.
    pub skew: i64,
    pub desks: [Desk; 2],
    /// The process is not running.
    pub asleep: bool,
    /// How often the process has started: an answer to an earlier one is heard by nobody.
    pub life: u32,
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
            pledge_passed: true,
            till: Till::default(),
            purse: Purse::default(),
            unsaid: None,
        };
        Self { skew, desks: [desk(0), desk(1)], asleep: false, life: 0 }
    }

    pub fn clock(&self, now: u64) -> UnixMillis {
        UnixMillis(now.saturating_add_signed(self.skew))
    }

    /// The process ends; the next one starts from the journal.
    pub fn restart(&mut self) {
        self.asleep = false;
        self.life += 1;
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

    pub fn is_done(&self) -> bool {
        matches!(self.phase(), Some(Phase::Done(_)))
    }

    /// Ended, and nobody runs it any more: only a second sender that completed stays for a peer that may have missed its item.
    pub fn is_closed(&self) -> bool {
        let stays = self.phase() == Some(Phase::Done(Outcome::Completed))
            && self.session.as_ref().is_some_and(|it| !it.is_first());
        let busy = self.till.paying || self.till.releasing || !self.outputs.is_empty();
        self.is_done() && !stays && !busy
    }

    /// Whether something is to be performed that has to wait for nothing.
    pub fn has_to_perform(&self) -> bool {
        !self.outputs.is_empty() && !self.till.reserving
    }

    /// Who loses patience does not wait for its ledger.
    pub fn stop_reserving(&mut self) {
        self.till.silent |= std::mem::take(&mut self.till.reserving);
    }

    /// Its money was forbidden before it was set aside: the exchange is given up, and nothing was said.
    pub fn reservation_undone(&mut self) {
        self.till.reserving = false;
        self.outputs.clear();
        if let Some(next) = self.with(false, Phase::Asking(Ask::Abort)) {
            let outputs = next.resume();
            self.take(Step { next, outputs }, Cut::None);
        }
    }

    /// The own session, elsewhere.
    fn with(&self, sent: bool, phase: Phase) -> Option<Session> {
        let session = self.session.as_ref()?;
        let acceptance = session.agreement().map(|it| it.acceptance().clone());
        let offer = session.offer().clone();
        let next = Session::restore(self.role, offer, acceptance, sent, phase, TIMING);
        Some(next.expect("an agreement can be given up"))
    }

    /// Nothing of its own left, and nothing will: given up as before anything was sent. In P4 both payments are rolled back.
    pub fn not_paid(&mut self, now: UnixMillis) {
        let Some(session) = &self.session else { return };
        let sent = session.protocol() == Protocol::MutualRollback;
        let Some(unsent) = self.with(sent, Phase::Waiting) else { return };
        let step = unsent.handle(now, Input::GiveUp);
        self.till.watching = false;
        self.unsaid = None;
        self.take(step, Cut::None);
    }

    /// the ledger refuses the gift: nothing was given.
    pub fn not_given(&mut self) {
        let gift = self.session.as_ref().is_some_and(|it| it.protocol() == Protocol::Transfer);
        if let Some(next) = self.with(false, Phase::Done(Outcome::Abandoned)).filter(|_| gift) {
            self.unsaid = Some(Outcome::Abandoned);
            self.take(Step { next, outputs: Vec::new() }, Cut::None);
        }
    }

    fn restart(&mut self) {
        self.outputs.clear();
        self.alarms.clear();
        self.till = Till { maybe_ordered: self.purse.ordered, ..Till::default() };
        self.unsaid = None;
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
