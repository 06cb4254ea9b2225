//! What happens with ledgers, told: orders and their answers; looks only when nothing can change any more.

use std::sync::Arc;

use arbiter_client::ledger::{LedgerError, LedgerPort, Page};
use arbiter_client::plain;
use arbiter_client::protocol::exchange::payment::Timeout;
use arbiter_client::protocol::message::payment::{PaymentAction, PaymentOrder, PaymentReceipt, PaymentTerms};
use arbiter_client::protocol::statement::{Envelope, Signed};
use async_trait::async_trait;

use super::{Teller, Tone};

/// A way to a ledger whose calls are told.
pub struct WatchedLedger {
    inner: Arc<dyn LedgerPort>,
    teller: Arc<Teller>,
}

impl WatchedLedger {
    /// Watches `inner`.
    pub const fn new(inner: Arc<dyn LedgerPort>, teller: Arc<Teller>) -> Self {
        Self { inner, teller }
    }

    fn answered(&self, terms: &PaymentTerms, answer: &Result<Envelope, LedgerError>, looks: bool) {
        let who = format!("ledger -> {}", self.teller.me);
        match answer {
            Ok(envelope) => {
                let receipt = Signed::<PaymentReceipt>::parse(envelope.clone());
                let receipt = receipt.and_then(|it| it.verify(&terms.payment.ledger));
                match receipt {
                    Ok(receipt) if looks && !receipt.is_final() => {}
                    Ok(receipt) => {
                        let text =
                            format!("{}; signature checked here", arbiter_client::explain::stands(&receipt));
                        self.teller.line(&who, &text, Tone::Good);
                    }
                    Err(_) => self.teller.line(&who, "a receipt that does NOT verify", Tone::Bad),
                }
            }
            Err(_) if looks => {}
            Err(error) => self.teller.line(&who, &plain::clip(&error.to_string(), 120), Tone::Bad),
        }
    }
}

#[async_trait]
impl LedgerPort for WatchedLedger {
    async fn order(&self, order: &Envelope) -> Result<Envelope, LedgerError> {
        let parsed = Signed::<PaymentOrder>::parse(order.clone()).map(|it| it.unverified().clone());
        if let Ok(order) = &parsed {
            let amount = &order.terms.payment.amount;
            let text = match (order.action, order.terms.payment.hold) {
                (PaymentAction::Make, Some(hold)) if hold.timeout == Timeout::Void => {
                    format!("orders {amount} to be set aside until {}", plain::time(hold.until))
                }
                (PaymentAction::Make, Some(hold)) => {
                    format!("orders {amount} to be held until {}", plain::time(hold.until))
                }
                (PaymentAction::Make, None) => format!("orders {amount} to be paid"),
                (PaymentAction::Post(_), _) => format!("gives {amount} to the payee for good"),
                (PaymentAction::Void, _) => format!("gives {amount} back"),
            };
            self.teller.line(&format!("{} -> ledger", self.teller.me), &text, Tone::Plain);
        }
        let answer = self.inner.order(order).await;
        if let Ok(order) = &parsed {
            self.answered(&order.terms, &answer, false);
        }
        answer
    }

    async fn payment(&self, terms: &PaymentTerms) -> Result<Envelope, LedgerError> {
        let answer = self.inner.payment(terms).await;
        self.answered(terms, &answer, true);
        answer
    }

    async fn order_account(&self, order: &Envelope) -> Result<Envelope, LedgerError> {
        self.inner.order_account(order).await
    }

    async fn account(&self, query: &Envelope) -> Result<Envelope, LedgerError> {
        self.inner.account(query).await
    }

    async fn payments(&self, query: &Envelope, page: &str) -> Result<Page, LedgerError> {
        self.inner.payments(query, page).await
    }
}
