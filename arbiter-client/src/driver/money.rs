//! Money in an exchange: our payment is made, the peer's is watched, ours is posted when nothing can come of holding it.
//!
//! ```text
//!  start ─▶ our payment is to be reserved: order ─▶ receipt ─▶ journal ─▶ only then offer or acceptance, and it beside
//!  SendItem ─▶ order (durable that one may leave) ─▶ pay ─┬─ receipt ─▶ journal ─▶ transfer, receipt ─▶ peer
//!              to make, or to post what is reserved       └─ refused for good ─▶ nothing left: give up the fair way
//!  Observe ──▶ look, again and again ─▶ final ─▶ Settled | Reversed
//!  Release ──▶ post
//! ```
//!
//! Invariants
//! - The ledger is asked beside everything else: neither a slow ledger nor one that is away delays a deadline.
//! - A payment is ordered again after a crash: the same order has the same answer.
//! - An item counts as never sent only if no order of it can be on its way.
//! - Nothing is said to the peer before our reservation is in the journal: who crashes on the way to it owes nothing, and its
//!   money comes back when the hold ends, or when the arbiter is asked to abort.

use std::pin::Pin;
use std::time::Duration;

use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::exchange::selection::{Protocol, Role};
use arbiter_protocol::message::payment::{PaymentReceipt, PaymentTerms};
use arbiter_protocol::role::{self, Ask, Input, Phase, Session};
use arbiter_protocol::statement::Verified;
use tokio::time::{sleep, timeout};

use crate::driver::Driver;
use crate::error::{Error, MoneyFault, Usage};
use crate::ledger::till::{Paid, Till};
use crate::module::ModuleError;

/// Work with a ledger that is under way.
pub(super) type Work<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The first look at the peer's payment comes after this time; the time between looks doubles.
const FIRST_LOOK: Duration = Duration::from_millis(200);
/// No longer than this between two looks.
const LAST_LOOK: Duration = Duration::from_secs(15);
/// How long a look before the own item leaves may take: it is prudence, not fairness (see [`crate::ledger`]).
const PRUDENT: Duration = Duration::from_secs(3);

/// What is under way with ledgers.
#[derive(Default)]
pub(super) struct Money<'a> {
    pub paying: Option<Work<'a, Paid>>,
    pub watching: Option<Work<'a, Result<Vec<Verified<PaymentReceipt>>, Error>>>,
    pub releasing: Option<Work<'a, Option<Vec<Verified<PaymentReceipt>>>>>,
}

/// What a ledger has said.
pub(super) enum Told {
    Paid(Paid),
    Final(Result<Vec<Verified<PaymentReceipt>>, Error>),
    Released(Option<Vec<Verified<PaymentReceipt>>>),
}

impl Money<'_> {
    /// Waits for what is under way; for ever if nothing is.
    pub(super) async fn told(&mut self) -> Told {
        tokio::select! {
            biased;
            paid = of(&mut self.paying) => { self.paying = None; Told::Paid(paid) }
            last = of(&mut self.watching) => { self.watching = None; Told::Final(last) }
            posted = of(&mut self.releasing) => { self.releasing = None; Told::Released(posted) }
        }
    }
}

async fn of<T>(work: &mut Option<Work<'_, T>>) -> T {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

impl Driver<'_> {
    /// R-315: has our payment reserved, if it is to be and is not, before anything is said. A ledger that refuses or is away ends
    /// the run, not the exchange: a later run goes on here. Who wants it to end does not wait for the ledger.
    pub(super) async fn reserve(&mut self) -> Result<(), Error> {
        let session = &self.record.session;
        let role = session.role();
        let open = matches!(session.phase(), Phase::Offered | Phase::Waiting);
        let owed = session.offer().item(role).description.reservation().is_some();
        if !owed || !open || self.record.own.pledge.is_some() {
            return Ok(());
        }
        let terms = PaymentTerms::of(self.record.session.offer(), role);
        let terms = terms.ok_or(Error::Bug("several payments are reserved"))?;
        if !self.record.own.ordered {
            self.record.own.ordered = true;
            self.inner.journal.put(&self.record).await?;
        }
        let (till, retry) = (self.inner.till.clone(), self.inner.settings.ledger_retry);
        let reserved = tokio::select! {
            biased;
            () = self.stop.notified() => {
                self.stop.notify_one();
                return Ok(());
            }
            reserved = till.reserve(&terms, retry) => reserved,
        };
        let receipt = match reserved {
            Ok(receipt) => receipt,
            // Undone before it was said: the arbiter has ruled, or the peer wants no money.
            Err(error) if error.reason() == "PAYMENT_VOIDED" => {
                self.record.remark = Some(format!("not reserved: {}", error.reason()));
                self.record.session = self.elsewhere(false, Phase::Asking(Ask::Abort))?;
                return Ok(self.inner.journal.put(&self.record).await?);
            }
            Err(error) if error.is_final() => return Err(Usage::Money(MoneyFault::NotReserved(error)).into()),
            Err(error) => {
                return Err(Error::Retry { after: self.inner.settings.patience, what: error.to_string() });
            }
        };
        tracing::info!(entry = receipt.entry, "the payment is reserved");
        self.record.own.pledge = Some(Pledge::Reservation(receipt.envelope().clone()));
        self.inner.journal.put(&self.record).await?;
        // The peer is waited for from here on: it has had nothing to answer.
        self.news.now();
        Ok(())
    }

    /// The terms of the payments that the party in `role` makes.
    pub(super) fn terms(&self, role: Role) -> Result<Vec<PaymentTerms>, Error> {
        let terms = PaymentTerms::all(self.record.session.offer(), role);
        if terms.is_empty() { Err(Error::Bug("no payment is agreed there")) } else { Ok(terms) }
    }

    /// Begins to make our payments, unless they are made or being made. Paid whether or not the peer is connected: the session
    /// counts it as sent from now on, and a claim on the arbiter rests on it.
    pub(super) async fn pay(&mut self) -> Result<(), Error> {
        if self.money.paying.is_some() || !self.record.own.receipts.is_empty() {
            return Ok(());
        }
        let session = self.record.session.clone();
        let terms = self.terms(session.role())?;
        let maybe_ordered = self.record.own.ordered;
        if !maybe_ordered {
            self.record.own.ordered = true;
            self.inner.journal.put(&self.record).await?;
        }
        let (till, clock, retry) =
            (self.inner.till.clone(), self.inner.clock.clone(), self.inner.settings.ledger_retry);
        self.money.paying = Some(Box::pin(till.pay(terms, session, clock, retry, maybe_ordered)));
        Ok(())
    }

    /// Begins to watch the peer's payment.
    pub(super) fn observe(&mut self) -> Result<(), Error> {
        let terms = self.terms(self.record.session.role().peer())?;
        let (till, retry) = (self.inner.till.clone(), self.inner.settings.ledger_retry);
        let ends = terms.iter().filter_map(|terms| terms.payment.hold).map(|hold| hold.until).max();
        let clock = self.inner.clock.clone();
        let given_up = move || {
            let total = u64::try_from(retry.total.as_millis()).unwrap_or(u64::MAX);
            ends.is_none_or(|end| clock.now().0 > end.0.saturating_add(total))
        };
        self.money.watching = Some(Box::pin(watch(till, terms, given_up)));
        Ok(())
    }

    /// Looks again at once, if the peer's payment is being watched: something has happened.
    pub(super) fn look_now(&mut self) -> Result<(), Error> {
        if self.money.watching.is_some() { self.observe() } else { Ok(()) }
    }

    /// Begins to post our payment, unless it is posted.
    pub(super) fn release(&mut self) -> Result<(), Error> {
        let terms = self.terms(self.record.session.role())?;
        let receipts = &self.record.own.receipts;
        if receipts.iter().any(|receipt| !receipt.is_final()) {
            let (till, retry) = (self.inner.till.clone(), self.inner.settings.ledger_retry);
            self.money.releasing = Some(Box::pin(till.post(terms, retry)));
        }
        Ok(())
    }

    pub(super) async fn told(&mut self, told: Told) -> Result<(), Error> {
        match told {
            Told::Paid(Paid::Done(receipts)) => {
                for receipt in &receipts {
                    tracing::info!(entry = receipt.entry, "the payment took effect");
                }
                self.record.own.receipts = receipts;
                self.inner.journal.put(&self.record).await?;
                self.news.now();
                self.send_item().await?;
                // A second sender that had ended: it holds for nothing from here on.
                if self.ended().is_some() && self.record.session.may_release() {
                    self.release()?;
                }
                Ok(())
            }
            Told::Paid(Paid::Refused { why, partly }) => self.not_paid(&why, partly).await,
            Told::Paid(Paid::TooLate) => Ok(()),
            Told::Final(last) => {
                let receipts = last?;
                let effective = receipts.iter().all(|receipt| receipt.is_effective());
                let input = if effective { Input::Settled } else { Input::Reversed };
                if !effective && self.record.session.protocol().generates() {
                    self.record.remark = Some("ruled to be paid, and the ledger says voided".to_owned());
                }
                self.record.peer_receipts = receipts;
                let step = self.record.session.handle(self.inner.clock.now(), input);
                self.commit(step, true).await
            }
            Told::Released(receipts) => {
                if let Some(receipts) = receipts.filter(|all| all.iter().all(|it| it.is_effective())) {
                    self.record.own.receipts = receipts;
                    self.inner.journal.put(&self.record).await?;
                }
                Ok(())
            }
        }
    }

    /// Nothing of ours left and nothing will: the exchange is given up as before anything was sent. In P4 both payments are
    /// rolled back (R-418); elsewhere an abort ends it, and gives back what the peer paid (R-405, R-413, R-414). What was
    /// `partly` paid counts as sent, for an abort would leave it with the peer: it is revoked in time (R-317, R-417).
    async fn not_paid(&mut self, why: &ModuleError, partly: bool) -> Result<(), Error> {
        tracing::warn!(reason = why.reason(), "the ledger refuses the payment for good");
        self.record.remark = Some(format!("not paid: {}", why.reason()));
        let protocol = self.record.session.protocol();
        if self.ended().is_some() {
            // What has ended stays as it ended: the peer's item is here, or the peer itself had the money given back.
            if protocol == Protocol::Transfer {
                // R-316: but for a gift, which was not given.
                self.record.session = self.elsewhere(false, Phase::Done(role::Outcome::Abandoned))?;
                self.record.own_transfer = None;
            }
            return Ok(self.inner.journal.put(&self.record).await?);
        }
        self.money.watching = None;
        let sent = partly || protocol == Protocol::MutualRollback;
        let unsent = self.elsewhere(sent, Phase::Waiting)?;
        if !partly {
            self.record.own_transfer = None;
        }
        let step = unsent.handle(self.inner.clock.now(), Input::GiveUp);
        self.commit(step, true).await
    }

    /// The same session in another phase.
    fn elsewhere(&self, sent: bool, phase: Phase) -> Result<Session, Error> {
        let session = &self.record.session;
        let (role, offer, acceptance) = (session.role(), session.offer().clone(), self.record.acceptance());
        let timing = self.inner.settings.timing_for(&offer, role);
        Session::restore(role, offer, acceptance, sent, phase, timing)
            .map_err(|_| Error::Bug("an agreement cannot be given up"))
    }

    /// Whether the peer's payment, whose receipt has just arrived, still stands, as far as the ledger says so at once.
    pub(super) async fn still_stands(&mut self) -> Result<bool, Error> {
        let terms = self.terms(self.record.session.role().peer())?;
        let till = &self.inner.till;
        let stand = async {
            for terms in &terms {
                if till.look(terms).await.is_ok_and(|receipt| !receipt.is_effective()) {
                    return false;
                }
            }
            true
        };
        Ok(timeout(PRUDENT, stand).await.unwrap_or(true))
    }
}

/// Looks until every payment is final. A ledger that is still away long after the hold has ended is out of reach.
async fn watch(
    till: Till,
    terms: Vec<PaymentTerms>,
    given_up: impl Fn() -> bool + Send,
) -> Result<Vec<Verified<PaymentReceipt>>, Error> {
    let mut delay = FIRST_LOOK;
    let mut receipts = Vec::new();
    loop {
        let Some(next) = terms.get(receipts.len()) else { return Ok(receipts) };
        match till.look(next).await {
            Ok(receipt) if receipt.is_final() => {
                receipts.push(receipt);
                continue;
            }
            Ok(_) => {}
            Err(error) if given_up() => {
                return Err(Error::Retry { after: LAST_LOOK, what: error.to_string() });
            }
            Err(error) => {
                tracing::debug!(reason = error.reason(), "the ledger does not say how the payment stands")
            }
        }
        sleep(delay).await;
        delay = (delay * 2).min(LAST_LOOK);
    }
}
