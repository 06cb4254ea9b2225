//! Drives the state machine of one party through one exchange.
//!
//! ```text
//!        ┌─────────────── what happens: peer, arbiter, ledger, clock, patience, user ◀──────┐
//!        ▼                                                                                  │
//!  verify ─▶ Session::handle ─▶ journal `next` (fsync) ─▶ outputs in order ─▶ outbox, ask, pay, alarm
//! ```
//!
//! Invariants
//! - R-301: `next` is durable before an output is performed; every output may be performed again.
//! - Nothing that the peer sends ends the exchange: what cannot be used is reported and ignored.
//! - Nothing waits for the peer alone: patience, deadlines and the arbiter's answer are always heard first.
//! - A peer is waited for only as long as it brings news (F4): repeating and reconnecting are none.
//! - A peer's pledge is fully checked before its acceptance counts, off the async threads, once for the same bytes and
//!   only a few times in a run (R-310). One that is not good is silence.
//! - What is sent goes through the outbox in order; a lost connection empties it, a new one fills it again.

mod money;
mod news;
mod peer;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arbiter_protocol::exchange::item::Description;
use arbiter_protocol::exchange::kind::pledge::{self, Pledge};
use arbiter_protocol::exchange::selection::Protocol;
use arbiter_protocol::ids::Digest;
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::role::{self, Ask, Input, Output, Phase, Step};
use arbiter_protocol::statement::{Envelope, Verified};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument as _;

use crate::arbiter::Reason;
use crate::arbiter::counsel::{Answer, Answered};
use crate::client::Inner;
use crate::driver::money::{Money, Told, Work};
use crate::driver::news::News;
use crate::error::Error;
use crate::items::{Incoming, Outgoing};
use crate::journal::Record;
use crate::outcome::Outcome;
use crate::transport::{Event, Transport, Want};

/// Alarms look at the clock this often: a computer that slept must not sleep through a deadline.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(5);

/// What depends on the peer is asked again after this time; it doubles,
const FIRST_AGAIN: DurationMillis = DurationMillis(500);
/// up to this, well within the margin that a party keeps for its deadlines.
const LAST_AGAIN: DurationMillis = DurationMillis(10_000);

/// A question to the arbiter that is out.
type Asking<'a> = Work<'a, Result<Answer, Error>>;

/// One run of one exchange.
pub(crate) struct Driver<'a> {
    inner: &'a Inner,
    record: Record,
    transport: &'a mut dyn Transport,
    stop: Arc<Notify>,
    connected: bool,
    /// The peer closed: it waits for nothing.
    peer_done: bool,
    outbox: VecDeque<Out>,
    incoming: Option<Arriving>,
    asking: Option<Asking<'a>>,
    money: Money<'a>,
    alarm: Option<UnixMillis>,
    /// How long to wait before asking again for what depends on the peer; grows.
    patient: DurationMillis,
    /// When the peer last did something new, or we could last tell it something new.
    news: News,
    answered: Option<Instant>,
    /// Acceptances with a pledge that is not good: the hash of both.
    refused: BTreeSet<Digest>,
}

/// What is to be sent.
enum Out {
    Content(Box<Outgoing>),
    /// With the pledge beside it.
    Statement(Envelope, Option<Vec<u8>>),
}

/// A transfer that announced content, and the content so far.
struct Arriving {
    transfer: Verified<Transfer>,
    content: Option<Box<Incoming>>,
}

/// What woke the driver.
enum Happening {
    Alarm,
    Answered(Result<Answer, Error>),
    Impatient,
    Ledger(Told),
    Peer(Event),
    Stopped,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(
        inner: &'a Inner,
        record: Record,
        transport: &'a mut dyn Transport,
        stop: Arc<Notify>,
    ) -> Self {
        Self {
            inner,
            record,
            transport,
            stop,
            connected: false,
            peer_done: false,
            outbox: VecDeque::new(),
            incoming: None,
            asking: None,
            money: Money::default(),
            alarm: None,
            patient: FIRST_AGAIN,
            news: News::new(),
            answered: None,
            refused: BTreeSet::new(),
        }
    }

    /// Runs to the end of the exchange.
    pub(crate) async fn run(self) -> Result<Outcome, Error> {
        let span = tracing::info_span!(
            "exchange",
            id = %self.record.session.exchange_id(),
            role = %self.record.session.role(),
        );
        self.run_here().instrument(span).await
    }

    async fn run_here(mut self) -> Result<Outcome, Error> {
        self.reserve().await?;
        // The offer may have come over this very connection.
        self.connected = self.transport.is_connected();
        self.greet();
        for output in self.record.session.resume() {
            self.perform(output).await?;
        }
        // In P5 the deposit comes at once, and the peer must hear of the acceptance all the same.
        if self.record.session.protocol() == Protocol::BothDeposited {
            self.input(Input::PeerRepeats).await?;
        }
        while !self.finished() {
            match self.happening().await {
                Happening::Alarm => {
                    self.alarm = None;
                    self.input(Input::Wake).await?;
                }
                Happening::Answered(answer) => {
                    self.asking = None;
                    self.answered(answer?).await?;
                }
                Happening::Impatient if self.ended().is_some() => break,
                Happening::Impatient | Happening::Stopped => {
                    tracing::info!("no longer waiting for the peer");
                    self.news.now();
                    self.input(Input::GiveUp).await?;
                }
                Happening::Ledger(told) => self.told(told).await?,
                Happening::Peer(event) => self.peer(event).await?,
            }
        }
        self.close().await;
        if self.money.paying.is_some() {
            let what = "the own payment is owed, and its ledger has not confirmed it".to_owned();
            return Err(Error::Retry { after: self.inner.settings.patience, what });
        }
        let evidence = self.record.evidence();
        match self.ended() {
            Some(role::Outcome::Abandoned) => Ok(Outcome::Abandoned(evidence)),
            Some(role::Outcome::Aborted) => Ok(Outcome::Aborted(evidence)),
            Some(role::Outcome::Affidavit) => Ok(Outcome::Affidavit(evidence)),
            Some(role::Outcome::Completed) => Ok(Outcome::Completed(evidence)),
            Some(role::Outcome::Resolved) => Ok(Outcome::Resolved(evidence)),
            None => Err(Error::Bug("the driver stopped before the exchange ended")),
        }
    }

    const fn ended(&self) -> Option<role::Outcome> {
        match self.record.session.phase() {
            Phase::Done(outcome) => Some(outcome),
            Phase::Asking(_) | Phase::Offered | Phase::Settling | Phase::Waiting => None,
        }
    }

    /// Ended, and the peer can still miss nothing: only a second sender that completed owes patience, and who holds money
    /// that it owes.
    fn finished(&self) -> bool {
        match self.ended() {
            Some(_) if self.money.paying.is_some() || self.money.releasing.is_some() => false,
            Some(role::Outcome::Completed) => self.peer_done || self.record.session.is_first(),
            Some(_) => true,
            None => false,
        }
    }

    /// Waits for the next thing to happen. Deadlines and the arbiter come before a talkative peer.
    async fn happening(&mut self) -> Happening {
        let now = Instant::now();
        let settings = self.inner.settings;
        let patience = match self.record.session.phase() {
            Phase::Offered | Phase::Waiting => Some(self.news.last() + settings.patience),
            Phase::Done(_) if self.money.paying.is_some() => Some(self.news.last() + settings.patience),
            Phase::Done(_) => Some(self.news.last() + settings.linger),
            // Only the ledger and the deadline count, not what the peer says.
            Phase::Asking(_) | Phase::Settling => None,
        };
        let want = if self.outbox.is_empty() || !self.connected { Want::Events } else { Want::Room };
        loop {
            let clock = self.inner.clock.now();
            let alarm = self.alarm.map(|time| Duration::from_millis(time.0.saturating_sub(clock.0)));
            if alarm.is_some_and(|left| left.is_zero()) {
                return Happening::Alarm;
            }
            let look = alarm.map(|left| now.max(Instant::now()) + left.min(LOOK_AT_CLOCK));
            tokio::select! {
                biased;
                () = self.stop.notified() => return Happening::Stopped,
                () = until(look) => {}
                answer = answer_of(&mut self.asking) => return Happening::Answered(answer),
                told = self.money.told() => return Happening::Ledger(told),
                () = until(patience) => return Happening::Impatient,
                event = self.transport.next(want) => return Happening::Peer(event),
            }
        }
    }

    async fn input(&mut self, input: Input) -> Result<(), Error> {
        let step = self.record.session.handle(self.inner.clock.now(), input);
        self.commit(step, false).await
    }

    /// R-301: `next` durable, then the outputs in order. `learned`: the record changed beside the session.
    async fn commit(&mut self, step: Step, learned: bool) -> Result<(), Error> {
        if step.next != self.record.session || learned {
            if step.next.phase() != self.record.session.phase() {
                tracing::info!(phase = ?step.next.phase(), "new phase");
            }
            self.record.session = step.next;
            self.record.sign_transfer(self.inner.identity.signer());
            self.record.forget_if_aborted();
            self.inner.journal.put(&self.record).await?;
        }
        for output in step.outputs {
            self.perform(output).await?;
        }
        Ok(())
    }

    async fn perform(&mut self, output: Output) -> Result<(), Error> {
        let session = &self.record.session;
        match output {
            // R-315: without what is to be beside it nothing is said, also by who was stopped before the money was set aside.
            Output::SendOffer | Output::SendAcceptance if self.owes_pledge() => {}
            Output::SendOffer => self.tell(session.offer().envelope().clone(), self.own_pledge()),
            Output::SendAcceptance => {
                let acceptance = self.record.acceptance().ok_or(Error::Bug("no acceptance to send"))?;
                self.tell(acceptance.envelope().clone(), self.own_pledge());
            }
            Output::SendItem => self.send_item().await?,
            Output::Ask(ask) => self.ask(ask),
            Output::Observe => self.observe()?,
            Output::Release => self.release()?,
            Output::WakeAt(time) => self.alarm = Some(time),
            Output::Done(outcome) => {
                self.asking = None;
                self.alarm = None;
                // Who has the peer's item still owes its own.
                self.money.paying = self.money.paying.take().filter(|_| outcome == role::Outcome::Completed);
                self.money.watching = None;
                self.news.now();
            }
        }
        Ok(())
    }

    /// Queues a statement, once. Without a connection there is nobody to tell; the next one is told all.
    fn tell(&mut self, envelope: Envelope, escrow: Option<Vec<u8>>) {
        let queued = self.outbox.iter().any(|out| matches!(out, Out::Statement(it, _) if *it == envelope));
        if self.connected && !queued {
            self.outbox.push_back(Out::Statement(envelope, escrow));
        }
    }

    fn owes_pledge(&self) -> bool {
        let session = &self.record.session;
        pledge::is_owed(session.offer(), session.role()) && self.record.own.pledge.is_none()
    }

    /// Our pledge: beside our offer or acceptance, whenever it is said.
    fn own_pledge(&self) -> Option<Vec<u8>> {
        self.record.own.pledge.as_ref().map(Pledge::to_bytes)
    }

    async fn send_item(&mut self) -> Result<(), Error> {
        let session = &self.record.session;
        let (role, agreement) = (session.role(), session.agreement());
        let agreement = agreement.ok_or(Error::Bug("an item is to be sent without an agreement"))?.clone();
        let pays = !agreement.offer().item(role).description.payments().is_empty();
        if pays && self.record.own.receipts.is_empty() {
            return self.pay().await;
        }
        let transfer = self.record.own_transfer.clone().ok_or(Error::Bug("an item leaves unsigned"))?;
        if !self.connected || self.outbox.iter().any(|out| matches!(out, Out::Content(_))) {
            return Ok(());
        }
        self.tell(transfer.envelope().clone(), None);
        let (recipient, context) =
            (agreement.offer().party(role.peer()).sealing_key, agreement.seal_context(role));
        let (own, seal) = (&self.record.own, (&recipient, context.as_slice()));
        let offer = agreement.offer();
        let outgoing = match &offer.item(role).description {
            Description::Package(_) | Description::Payment(_) if pays => {
                Outgoing::receipts(&own.receipts, offer, role, seal)?
            }
            signed if !signed.detached_leaves().is_empty() => {
                let signature = own.signature.as_ref().ok_or(Error::Bug("no signature to send"))?;
                Outgoing::signature(signature, offer, role, own.pledge.as_ref(), seal)?
            }
            Description::Package(_) if own.files.is_empty() => return Ok(()),
            Description::DetachedSignature(_)
            | Description::Nothing
            | Description::Payment(_)
            | Description::Signature(_) => return Ok(()),
            Description::Information(described) => {
                let path = own.files.first().ok_or(Error::Bug("no file to send"))?;
                Outgoing::file(path, described, seal).await?
            }
            Description::Package(items) => Outgoing::package(&own.files, items, seal)?,
        };
        self.outbox.push_back(Out::Content(Box::new(outgoing)));
        Ok(())
    }

    fn ask(&mut self, ask: Ask) {
        tracing::info!(?ask, "asking the arbiter");
        self.alarm = None;
        // Whether an order of it took effect shows when the arbiter's verdict is carried out.
        self.money.paying = None;
        let session = &self.record.session;
        let claim = self.inner.settings.claim_over(session, ask);
        let counsel = self.inner.counsel.clone().at_least_until(claim);
        let (identity, folder) = (self.inner.identity.clone(), self.inner.folder.clone());
        self.asking = Some(Box::pin(counsel.ask(ask, self.record.clone(), identity, folder)));
    }

    /// The arbiter's answer, verified. Receipts are kept whatever else it means.
    async fn answered(&mut self, answer: Answer) -> Result<(), Error> {
        let learned = self.record.keep(answer.receipts);
        let now = self.inner.clock.now();
        match answer.result {
            Answered::Fetched(received) => {
                let step = self.record.session.handle(now, Input::Fetched(received.fit));
                self.record.received_file = Some(received.path);
                self.record.got(received.bytes);
                self.commit(step, true).await
            }
            Answered::Attested => {
                let step = self.record.session.handle(now, Input::Attested);
                self.commit(step, true).await
            }
            Answered::Refused(reason) => {
                tracing::info!(%reason, "the arbiter refused");
                self.record.remark = Some(reason.to_string());
                let step = self.record.session.handle(now, Input::Refused);
                self.commit(step, true).await?;
                if matches!(reason, Reason::AffidavitTooEarly | Reason::DepositRequired | Reason::ItemNotPaid)
                {
                    // The peer must act first, the ledger, or time: asking twice a second helps nobody.
                    self.alarm = self.alarm.map(|time| time.max(now.after(self.patient)));
                    self.patient = DurationMillis(self.patient.0.saturating_mul(2)).min(LAST_AGAIN);
                }
                Ok(())
            }
            Answered::Ruled(verdict, agreement) => {
                // A party that never saw the acceptance learns it from the verdict's evidence.
                if let Some(agreement) = agreement {
                    self.record.adopt(&agreement);
                }
                let step = self.record.session.handle(now, Input::Ruled((*verdict).clone()));
                self.commit(step, learned).await
            }
        }
    }
}

/// Waits for a time; without one, for ever.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Waits for the arbiter's answer; if nothing is asked, for ever.
async fn answer_of(asking: &mut Option<Asking<'_>>) -> Result<Answer, Error> {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}
