//! Our till: the keys of our purses, and the ledgers that we reach.
//!
//! ```text
//!  Offer, role ─▶ PaymentTerms ─┬─ pay ──▶ MAKE, again until there is an answer, only while it may leave ─▶ receipt
//!                               ├─ post ─▶ POST of the whole amount
//!                               └─ look ─▶ how it stands now
//! ```
//!
//! Invariants
//! - A receipt is used only if the ledger in the agreement signed it, for exactly the terms asked about.
//! - An order to pay leaves only while the session lets the own item leave (R-304), asked right before each attempt.
//! - That a payment was refused for good is said only if no order of it can still be on its way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arbiter_protocol::crypto::Signer;
use arbiter_protocol::error::{Invalid, Rejected};
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::message::payment::{PaymentAction, PaymentOrder, PaymentReceipt, PaymentTerms};
use arbiter_protocol::role::Session;
use arbiter_protocol::statement::{Envelope, Signed, Verified};
use backon::ExponentialBackoff;
use tokio::time::sleep;

use crate::arbiter::Retry;
use crate::clock::Clock;
use crate::error::MoneyFault;
use crate::ledger::{LedgerError, LedgerPort};

/// Keys and ways. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Till {
    ledgers: Arc<BTreeMap<PublicKey, Arc<dyn LedgerPort>>>,
    keys: Arc<BTreeMap<PublicKey, Arc<dyn Signer>>>,
    /// The ledgers that the arbiter reaches, if that is known.
    reached: Option<Arc<Vec<PublicKey>>>,
}

/// What came of an order to pay.
pub(crate) enum Paid {
    /// The payment took effect.
    Done(Verified<PaymentReceipt>),
    /// Nothing was paid, and nothing will be.
    Refused(LedgerError),
    /// The item may not leave any more. An order may be on its way, or not.
    TooLate,
}

impl Till {
    pub(crate) fn new(
        ledgers: BTreeMap<PublicKey, Arc<dyn LedgerPort>>,
        keys: BTreeMap<PublicKey, Arc<dyn Signer>>,
        reached: Option<Vec<PublicKey>>,
    ) -> Self {
        Self { ledgers: Arc::new(ledgers), keys: Arc::new(keys), reached: reached.map(Arc::new) }
    }

    /// Whether the party in `role` can carry out the payments of this offer: it reaches the ledgers, pays from an account
    /// of its own and is paid into one.
    pub(crate) fn check(&self, offer: &Offer, role: Role) -> Result<(), MoneyFault> {
        for (giver, payment) in
            Role::BOTH.into_iter().filter_map(|it| Some((it, offer.item(it).description.payment()?)))
        {
            if !self.ledgers.contains_key(&payment.ledger) {
                return Err(MoneyFault::UnknownLedger(payment.ledger));
            }
            let reached = self.reached.as_ref().is_none_or(|list| list.contains(&payment.ledger));
            if payment.hold.is_some() && !reached {
                return Err(MoneyFault::ArbiterCannotReach(payment.ledger));
            }
            let (account, fault) = if giver == role {
                (payment.payer, MoneyFault::NotOurPurse(payment.payer))
            } else {
                (payment.payee, MoneyFault::NotOurAccount(payment.payee))
            };
            if !self.keys.contains_key(&account) {
                return Err(fault);
            }
        }
        Ok(())
    }

    /// Orders the payment until there is an answer. `maybe_ordered`: an order of it may have left before.
    pub(crate) async fn pay(
        self,
        terms: PaymentTerms,
        session: Session,
        clock: Arc<dyn Clock>,
        retry: Retry,
        mut maybe_ordered: bool,
    ) -> Paid {
        let mut delays = retry.delays();
        loop {
            if !session.may_send_item(clock.now()) {
                return Paid::TooLate;
            }
            let error = match self.order(&terms, PaymentAction::Make).await {
                Ok(receipt) if receipt.is_effective() => return Paid::Done(receipt),
                // Undone before it was done: a verdict has forbidden it, whatever is still on its way.
                Ok(_) => return Paid::Refused(not_effective()),
                Err(error @ LedgerError::Refused { .. }) if !maybe_ordered => return Paid::Refused(error),
                // Refusals are not signed, and an order may be on its way: only a receipt says that nothing can come of it.
                Err(error @ LedgerError::Refused { .. }) => match self.look(&terms).await {
                    Ok(receipt) if receipt.is_effective() => return Paid::Done(receipt),
                    Ok(receipt) if never_will_be(&receipt) => return Paid::Refused(not_effective()),
                    Ok(_) | Err(_) => error,
                },
                Err(error) => error,
            };
            maybe_ordered |= !matches!(error, LedgerError::Refused { .. });
            tracing::warn!(reason = error.reason(), "the ledger did not take the payment, ordering again");
            sleep(pause(&mut delays, &error, retry)).await;
        }
    }

    /// Posts the whole amount until the ledger has heard it. `None`: it refuses, or it cannot be reached any more.
    pub(crate) async fn post(self, terms: PaymentTerms, retry: Retry) -> Option<Verified<PaymentReceipt>> {
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
    pub(crate) async fn look(&self, terms: &PaymentTerms) -> Result<Verified<PaymentReceipt>, LedgerError> {
        receipt(self.port(&terms.payment.ledger)?.payment(terms).await?, terms)
    }

    /// Signs an order of the payer and hands it to the ledger, once.
    async fn order(
        &self,
        terms: &PaymentTerms,
        action: PaymentAction,
    ) -> Result<Verified<PaymentReceipt>, LedgerError> {
        let port = self.port(&terms.payment.ledger)?;
        let key = self
            .keys
            .get(&terms.payment.payer)
            .ok_or_else(|| here("PURSE_UNKNOWN", "no purse here has this account"))?;
        let order = Verified::sign(PaymentOrder { terms: terms.clone(), action }, &**key);
        receipt(port.order(order.envelope()).await?, terms)
    }

    fn port(&self, ledger: &PublicKey) -> Result<&dyn LedgerPort, LedgerError> {
        let port = self.ledgers.get(ledger).map(|port| &**port);
        port.ok_or_else(|| here("LEDGER_UNKNOWN", "no way to this ledger is known here"))
    }
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
fn pause(delays: &mut ExponentialBackoff, error: &LedgerError, retry: Retry) -> Duration {
    let asked = match error {
        LedgerError::Unavailable { retry_after, .. } => retry_after.unwrap_or_default(),
        LedgerError::Malformed(_) | LedgerError::Refused { .. } => Duration::ZERO,
    };
    delays.next().unwrap_or(retry.longest).max(asked)
}

/// Whether an order to make this payment can have no effect any more: it has ended, or its hold has (R-603, R-604).
fn never_will_be(receipt: &PaymentReceipt) -> bool {
    let over = receipt.terms.payment.hold.is_some_and(|hold| hold.until <= receipt.time);
    receipt.is_final() || over
}

fn not_effective() -> LedgerError {
    here("PAYMENT_NOT_EFFECTIVE", "the payment was undone before it took effect")
}

/// A refusal that needs no ledger.
fn here(reason: &str, message: &str) -> LedgerError {
    LedgerError::Refused { reason: reason.to_owned(), message: message.to_owned(), metadata: BTreeMap::new() }
}
