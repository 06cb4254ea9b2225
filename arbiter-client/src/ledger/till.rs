//! Our till: what the payment manager does with its modules while an exchange is carried out.
//!
//! ```text
//!  Offer, role ─▶ PaymentTerms ─┬─ reserve ▶ MAKE, before anything is said ─▶ receipt
//!                               ├─ pay ──▶ MAKE, or POST of what is reserved, again until there is an answer, only while it
//!                               │          may leave ─▶ receipt
//!                               ├─ post ─▶ POST of the whole amount
//!                               └─ look ─▶ how it stands now
//! ```
//!
//! Invariants
//! - A receipt is used only if the ledger in the agreement signed it, for exactly the terms asked about.
//! - An order to pay leaves only while the session lets the own item leave (R-304), asked right before each attempt.
//! - That a payment was refused for good is said only if no order of it can still be on its way.

use std::sync::Arc;
use std::time::Duration;

use arbiter_protocol::error::{Invalid, Rejected};
use arbiter_protocol::exchange::kind::package;
use arbiter_protocol::exchange::payment::Payment;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::message::payment::{PaymentAction, PaymentReceipt, PaymentState, PaymentTerms};
use arbiter_protocol::role::Session;
use arbiter_protocol::statement::{Envelope, Signed, Verified};
use backon::ExponentialBackoff;
use tokio::time::{Instant, sleep};

use crate::arbiter::Retry;
use crate::clock::Clock;
use crate::error::MoneyFault;
use crate::ledger::{LedgerError, Powers};
use crate::module::manager::{Manager, Managers};
use crate::module::{Given, ModuleError, Order, ask};

/// The payment manager at work. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Till {
    modules: Manager,
    /// No module is waited for longer.
    time: Duration,
    /// The ledgers that the arbiter reaches, if that is known.
    reached: Option<Arc<Vec<Powers>>>,
}

/// What came of an order to pay.
pub(crate) enum Paid {
    /// Every payment took effect: their receipts, in the order of the leaves.
    Done(Vec<Verified<PaymentReceipt>>),
    /// Not all was paid, and never will be. `partly`: one of several payments may have been made, and comes back only by a
    /// verdict that revokes.
    Refused { why: ModuleError, partly: bool },
    /// The item may not leave any more. An order may be on its way, or not.
    TooLate,
}

impl Till {
    /// `reached`: the ledgers that the arbiter reaches, if that is known.
    pub(crate) fn new(managers: &Managers, reached: Option<Vec<Powers>>) -> Self {
        let (modules, time) = (managers.payment.clone(), managers.time());
        Self { modules, time, reached: reached.map(Arc::new) }
    }

    /// Whether the party in `role` can carry out the payments of this offer: it reaches the ledgers, pays from an account
    /// of its own and is paid into one.
    pub(crate) fn check(&self, offer: &Offer, role: Role) -> Result<(), MoneyFault> {
        let payments =
            |giver| offer.item(giver).description.payments().into_iter().map(move |it| (giver, it));
        for (giver, payment) in Role::BOTH.into_iter().flat_map(payments) {
            if self.modules.on(payment.ledger, None).is_none() {
                return Err(MoneyFault::UnknownLedger(payment.ledger));
            }
            let known = self.reached.as_deref().map(Vec::as_slice);
            let powers = Powers::on(payment.ledger, known);
            if payment.hold.is_some_and(|hold| !powers.can_end(hold)) {
                let reached = known.is_some_and(|list| list.iter().any(|it| it.ledger == payment.ledger));
                let fault =
                    if reached { MoneyFault::ArbiterCannotEnd } else { MoneyFault::ArbiterCannotReach };
                return Err(fault(payment.ledger));
            }
            let (account, fault) = if giver == role {
                (payment.payer, MoneyFault::NotOurPurse(payment.payer))
            } else {
                (payment.payee, MoneyFault::NotOurAccount(payment.payee))
            };
            if self.modules.on(payment.ledger, Some(account)).is_none() {
                return Err(fault);
            }
        }
        Ok(())
    }

    /// Has the payment set aside, until the ledger has heard it or the time for retries is over. An order that was carried
    /// out before is answered with the receipt of that time.
    pub(crate) async fn reserve(
        &self,
        terms: &PaymentTerms,
        retry: Retry,
    ) -> Result<Verified<PaymentReceipt>, ModuleError> {
        let started = Instant::now();
        let mut delays = retry.delays();
        loop {
            let error = match self.order(terms, PaymentAction::Make).await {
                Ok(receipt) if receipt.state == PaymentState::Reserved => return Ok(receipt),
                // A verdict has forbidden it before it was made.
                Ok(_) => return Err(undone()),
                Err(error) => error,
            };
            let delay = pause(&mut delays, &error, retry);
            if error.is_final() || started.elapsed() + delay > retry.total {
                return Err(error);
            }
            sleep(delay).await;
        }
    }

    /// Pays one after the other, each only when the one before it took effect. What was paid before a crash is ordered again:
    /// the same order has the same answer. `maybe_ordered`: an order of one may have left before.
    pub(crate) async fn pay(
        self,
        terms: Vec<PaymentTerms>,
        session: Session,
        clock: Arc<dyn Clock>,
        retry: Retry,
        maybe_ordered: bool,
    ) -> Paid {
        let several = terms.len() > 1;
        let mut receipts = Vec::new();
        for terms in terms {
            match self.pay_one(terms, &session, &*clock, retry, maybe_ordered).await {
                One::Done(receipt) => receipts.push(receipt),
                One::Refused(why) => {
                    let partly = several && (maybe_ordered || !receipts.is_empty());
                    return Paid::Refused { why, partly };
                }
                One::TooLate => return Paid::TooLate,
            }
        }
        Paid::Done(receipts)
    }

    /// Orders a payment, or has posted what is reserved, until there is an answer.
    async fn pay_one(
        &self,
        terms: PaymentTerms,
        session: &Session,
        clock: &dyn Clock,
        retry: Retry,
        mut maybe_ordered: bool,
    ) -> One {
        let mut delays = retry.delays();
        let action = match terms.payment.is_generatable() {
            true => PaymentAction::Post(terms.payment.amount.units),
            false => PaymentAction::Make,
        };
        // What the ledger says of a reservation that it signed is final, whatever was ordered before.
        maybe_ordered &= action == PaymentAction::Make;
        loop {
            if !session.may_send_item(clock.now()) {
                return One::TooLate;
            }
            let error = match self.order(&terms, action).await {
                Ok(receipt) if receipt.is_effective() => return One::Done(receipt),
                // Undone before it was done: a verdict has forbidden it, whatever is still on its way.
                Ok(_) => return One::Refused(not_effective()),
                Err(error) if error.is_refusal() && !maybe_ordered => return One::Refused(error),
                // Refusals are not signed, and an order may be on its way: only a receipt says that nothing can come of it.
                Err(error) if error.is_refusal() => match self.look(&terms).await {
                    Ok(receipt) if receipt.is_effective() => return One::Done(receipt),
                    Ok(receipt) if never_will_be(&receipt) => return One::Refused(not_effective()),
                    Ok(_) | Err(_) => error,
                },
                Err(error) => error,
            };
            maybe_ordered |= action == PaymentAction::Make && !error.is_refusal();
            tracing::warn!(reason = error.reason(), "the ledger did not take the payment, ordering again");
            sleep(pause(&mut delays, &error, retry)).await;
        }
    }

    /// Posts every payment. `None`: not all are posted.
    pub(crate) async fn post(
        self,
        terms: Vec<PaymentTerms>,
        retry: Retry,
    ) -> Option<Vec<Verified<PaymentReceipt>>> {
        let mut receipts = Vec::new();
        for terms in terms {
            receipts.push(self.post_one(terms, retry).await);
        }
        receipts.into_iter().collect()
    }

    /// Posts the whole amount until the ledger has heard it. `None`: it refuses, or it cannot be reached any more.
    async fn post_one(&self, terms: PaymentTerms, retry: Retry) -> Option<Verified<PaymentReceipt>> {
        let action = PaymentAction::Post(terms.payment.amount.units);
        let mut delays = retry.delays();
        loop {
            match self.order(&terms, action).await {
                Ok(receipt) => return Some(receipt),
                Err(error) if error.is_final() => {
                    tracing::info!(reason = error.reason(), "the ledger did not post the payment");
                    return None;
                }
                Err(error) => sleep(pause(&mut delays, &error, retry)).await,
            }
        }
    }

    /// How the payment stands, asked once.
    pub(crate) async fn look(&self, terms: &PaymentTerms) -> Result<Verified<PaymentReceipt>, ModuleError> {
        let Payment { ledger, payer, payee, .. } = terms.payment;
        let ours = [Some(payer), Some(payee), None].into_iter().find_map(|it| self.modules.on(ledger, it));
        let entry = ours
            .ok_or_else(|| ModuleError::refused("LEDGER_UNKNOWN", "no way to this ledger is known here"))?;
        let (module, asked) = (entry.module.clone(), terms.clone());
        let envelope = ask(self.time, async move { module.watch(&asked).await }).await??;
        Ok(receipt(envelope, terms)?)
    }

    /// Hands an order of the payer to the module whose account pays, once.
    async fn order(
        &self,
        terms: &PaymentTerms,
        action: PaymentAction,
    ) -> Result<Verified<PaymentReceipt>, ModuleError> {
        let payment = &terms.payment;
        let entry = self.modules.on(payment.ledger, Some(payment.payer));
        let entry =
            entry.ok_or_else(|| ModuleError::refused("PURSE_UNKNOWN", "no purse here has this account"))?;
        match entry.ask_to_give(Order::Payment { terms: terms.clone(), action }, self.time).await? {
            Given::Receipt(envelope) => Ok(receipt(envelope, terms)?),
            _ => Err(ModuleError::Wrong("something else than a receipt".to_owned())),
        }
    }
}

/// What came of an order of one payment, as in [`Paid`].
enum One {
    Done(Verified<PaymentReceipt>),
    Refused(ModuleError),
    TooLate,
}

/// The content of an item that is money: the receipt, or of a package those of its payments (R-320). Nothing of nothing.
pub(crate) fn content(receipts: &[Verified<PaymentReceipt>]) -> Vec<u8> {
    package::joined(&receipts.iter().map(|receipt| receipt.envelope().encode()).collect::<Vec<_>>())
}

/// Reads what [`content`] writes, as the ledgers' word on all these terms in their order.
pub(crate) fn receipts(bytes: &[u8], terms: &[PaymentTerms]) -> Option<Vec<Verified<PaymentReceipt>>> {
    let read = |(part, terms): (&[u8], &PaymentTerms)| receipt(Envelope::decode(part).ok()?, terms).ok();
    package::split(bytes, terms.len())?.into_iter().zip(terms).map(read).collect()
}

/// Reads a receipt as the ledger's word on these terms.
pub(crate) fn receipt(
    envelope: Envelope,
    terms: &PaymentTerms,
) -> Result<Verified<PaymentReceipt>, LedgerError> {
    let malformed = |why: Invalid| LedgerError::Malformed(Rejected::Invalid(why));
    let receipt = Signed::<PaymentReceipt>::parse(envelope).map_err(malformed)?;
    let receipt = receipt.verify(&terms.payment.ledger).map_err(malformed)?;
    if receipt.terms == *terms { Ok(receipt) } else { Err(malformed(Invalid::FieldValue { field: "terms" })) }
}

/// Waits longer and longer, and at least as long as the ledger says.
fn pause(delays: &mut ExponentialBackoff, error: &ModuleError, retry: Retry) -> Duration {
    delays.next().unwrap_or(retry.longest).max(error.retry_after())
}

fn undone() -> ModuleError {
    ModuleError::refused("PAYMENT_VOIDED", "the payment was undone before it was made")
}

/// Whether an order to make this payment can have no effect any more: it has ended, or its hold has (R-603, R-604).
fn never_will_be(receipt: &PaymentReceipt) -> bool {
    let over = receipt.terms.payment.hold.is_some_and(|hold| hold.until <= receipt.time);
    receipt.is_final() || over
}

fn not_effective() -> ModuleError {
    ModuleError::refused("PAYMENT_NOT_EFFECTIVE", "the payment was undone before it took effect")
}
