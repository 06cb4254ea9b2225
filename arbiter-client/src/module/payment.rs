//! A purse on a ledger, as a module.

use std::path::Path;
use std::sync::Arc;

use arbiter_protocol::crypto::Signer;
use arbiter_protocol::exchange::item::{Description, Item};
use arbiter_protocol::exchange::payment::{Amount, Currency, Hold, Payment, Timeout};
use arbiter_protocol::exchange::property::Properties;
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::message::payment::{PaymentOrder, PaymentTerms};
use arbiter_protocol::statement::{Envelope, Verified};
use arbiter_protocol::time::UnixMillis;
use async_trait::async_trait;

use super::capability::{Capability, Means};
use super::{Given, Module, ModuleError, Order};
use crate::ledger::{LedgerPort, Powers};

/// An account of ours on a ledger: signs the payer's orders with its key, and asks the ledger how payments stand.
#[derive(Clone)]
pub struct LedgerPurse {
    name: String,
    ledger: PublicKey,
    url: String,
    port: Arc<dyn LedgerPort>,
    key: Arc<dyn Signer>,
    currency: Option<Currency>,
    largest: Option<u64>,
    powers: Powers,
    open: bool,
}

impl LedgerPurse {
    /// The account of `key` on `ledger`, which `port` reaches. Any currency, no limit.
    pub fn new(
        name: impl Into<String>,
        ledger: PublicKey,
        port: Arc<dyn LedgerPort>,
        key: Arc<dyn Signer>,
    ) -> Self {
        let (currency, largest, url) = (None, None, String::new());
        Self {
            name: name.into(),
            ledger,
            url,
            port,
            key,
            currency,
            largest,
            powers: Powers::all(ledger),
            open: true,
        }
    }

    /// Where the ledger is, for the peer.
    #[must_use]
    pub fn at(self, url: impl Into<String>) -> Self {
        Self { url: url.into(), ..self }
    }

    /// Only this currency, and no payment of more units than `largest`.
    #[must_use]
    pub fn only(self, currency: Currency, largest: Option<u64>) -> Self {
        Self { currency: Some(currency), largest, ..self }
    }

    /// What the arbiter can do there. Default: everything.
    #[must_use]
    pub const fn reached(mut self, powers: Powers) -> Self {
        self.powers = powers;
        self
    }

    /// Closed: what is under way is carried out, and nothing new is agreed to.
    #[must_use]
    pub const fn closed(mut self) -> Self {
        self.open = false;
        self
    }
}

/// What an arbiter can do with a payment that is held so, or paid at once: the kind says so.
pub fn payment_properties(hold: Option<Hold>) -> Properties {
    let key = |byte| PublicKey::from_bytes([byte; 32]);
    let Ok(currency) = Currency::new("EUR", 2) else { return Properties::default() };
    let amount = Amount { units: 1, currency };
    Payment { ledger: key(0), payer: key(1), payee: key(2), amount, hold }.properties()
}

#[async_trait]
impl Module for LedgerPurse {
    fn name(&self) -> &str {
        &self.name
    }

    fn capability(&self) -> Capability {
        let means = Means::Payment {
            ledger: self.ledger,
            account: self.key.public_key(),
            url: self.url.clone(),
            currency: self.currency.clone(),
            largest: self.largest,
        };
        let held =
            [Timeout::Post, Timeout::Void].map(|timeout| Hold { until: UnixMillis(u64::MAX), timeout });
        let held = held.into_iter().filter(|hold| self.powers.can_end(*hold)).map(Some);
        let kinds: Vec<_> = held.chain([None]).map(payment_properties).collect();
        let properties = Properties::new(kinds.iter().flat_map(Properties::iter));
        Capability { gives: self.open, takes: self.open, properties, means }
    }

    /// Asks nobody: what is in the account may be another sum when the payment is due, and the ledger says so then.
    async fn prepare(&self, item: &Item, source: Option<&Path>) -> Result<(), ModuleError> {
        match (&item.description, source) {
            (Description::Payment(_), None) => Ok(()),
            _ => Err(ModuleError::refused("NO_PAYMENT", "a purse gives payments")),
        }
    }

    async fn give(&self, order: &Order) -> Result<Given, ModuleError> {
        match order {
            Order::Payment { terms, action } if self.is_payer(terms) => {
                let order = PaymentOrder { terms: terms.clone(), action: *action };
                let order = Verified::sign(order, &*self.key);
                Ok(Given::Receipt(self.port.order(order.envelope()).await?))
            }
            Order::Payment { .. } => {
                Err(ModuleError::refused("OTHER_ACCOUNT", "this purse is not the account that pays"))
            }
            _ => Err(ModuleError::refused("NO_PAYMENT", "a purse gives payments")),
        }
    }

    async fn watch(&self, terms: &PaymentTerms) -> Result<Envelope, ModuleError> {
        if terms.payment.ledger != self.ledger {
            return Err(ModuleError::refused("OTHER_LEDGER", "this purse is on another ledger"));
        }
        Ok(self.port.payment(terms).await?)
    }
}

impl LedgerPurse {
    fn is_payer(&self, terms: &PaymentTerms) -> bool {
        terms.payment.ledger == self.ledger && terms.payment.payer == self.key.public_key()
    }
}
