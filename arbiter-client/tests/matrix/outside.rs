//! Modules of an application, in front of the built-in ones: a till, a token, a store of contents. They give the same items by
//! other means, and count how often.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arbiter_client::ClientBuilder;
use arbiter_client::ledger::LedgerPort as _;
use arbiter_client::module::{
    Capability, Format, Given, Means, Module, ModuleError, Order, payment_properties,
};
use arbiter_client::protocol::crypto::{MemorySigner, Signer as _};
use arbiter_client::protocol::escrow::SignatureKey;
use arbiter_client::protocol::exchange::item::{Description, Item};
use arbiter_client::protocol::exchange::payment::{Hold, Timeout};
use arbiter_client::protocol::exchange::property::{Properties, Property};
use arbiter_client::protocol::message::payment::{PaymentOrder, PaymentTerms};
use arbiter_client::protocol::statement::{Envelope, Verified};
use arbiter_client::protocol::time::UnixMillis;
use arbiter_client::signing::Algorithm;
use arbiter_client::testing::{Bench, TestLedger, purse, signer};
use async_trait::async_trait;
use zeroize::Zeroizing;

/// The client of somebody who pays, signs and keeps files by means of its own; and how often these gave something.
pub fn party(bench: &Bench, name: &str) -> (ClientBuilder, Arc<AtomicU64>) {
    let gave = Arc::new(AtomicU64::new(0));
    let means: [Arc<dyn Module>; 3] = [
        Arc::new(Counter { key: purse(name), ledger: bench.ledger.clone(), gave: gave.clone() }),
        Arc::new(Token { key: signer(name), gave: gave.clone() }),
        Arc::new(Archive { gave: gave.clone() }),
    ];
    (means.into_iter().fold(bench.builder(name), ClientBuilder::module), gave)
}

fn other(what: &'static str) -> ModuleError {
    ModuleError::refused("NOT_OF_THIS_KIND", what)
}

/// Signs orders for one account, and takes them to the ledger by itself.
struct Counter {
    key: MemorySigner,
    ledger: TestLedger,
    gave: Arc<AtomicU64>,
}

#[async_trait]
impl Module for Counter {
    fn name(&self) -> &'static str {
        "counter"
    }

    fn capability(&self) -> Capability {
        let until = UnixMillis(u64::MAX);
        let holds = [Timeout::Post, Timeout::Void].map(|timeout| Some(Hold { until, timeout }));
        let kinds: Vec<_> = holds.into_iter().chain([None]).map(payment_properties).collect();
        let means = Means::Payment {
            ledger: self.ledger.key(),
            account: self.key.public_key(),
            url: String::new(),
            currency: None,
            largest: None,
        };
        let properties = Properties::new(kinds.iter().flat_map(Properties::iter));
        Capability { gives: true, takes: true, properties, means }
    }

    async fn prepare(&self, item: &Item, _: Option<&Path>) -> Result<(), ModuleError> {
        item.description.payment().map(|_| ()).ok_or(other("no payment"))
    }

    async fn give(&self, order: &Order) -> Result<Given, ModuleError> {
        let Order::Payment { terms, action } = order else { return Err(other("no payment")) };
        let order = PaymentOrder { terms: terms.clone(), action: *action };
        let receipt = self.ledger.order(Verified::sign(order, &self.key).envelope()).await?;
        self.gave.fetch_add(1, Ordering::Relaxed);
        Ok(Given::Receipt(receipt))
    }

    async fn watch(&self, terms: &PaymentTerms) -> Result<Envelope, ModuleError> {
        Ok(self.ledger.payment(terms).await?)
    }
}

/// Keeps a key to itself.
struct Token {
    key: MemorySigner,
    gave: Arc<AtomicU64>,
}

#[async_trait]
impl Module for Token {
    fn name(&self) -> &'static str {
        "token"
    }

    fn capability(&self) -> Capability {
        Capability {
            gives: true,
            takes: false,
            properties: Properties::new([Property::GeneratableByEscrow]),
            means: Means::Signature {
                format: Format::Detached(Algorithm::Ed25519),
                key: Some(SignatureKey::ed25519(self.key.public_key()).unwrap()),
                certificate: Vec::new(),
            },
        }
    }

    async fn prepare(&self, item: &Item, _: Option<&Path>) -> Result<(), ModuleError> {
        item.description.detached().map(|_| ()).ok_or(other("no detached signature"))
    }

    async fn give(&self, order: &Order) -> Result<Given, ModuleError> {
        let Order::Signature(item) = order else { return Err(other("no detached signature")) };
        let signature = self.key.sign(item.statement.document().as_bytes());
        self.gave.fetch_add(1, Ordering::Relaxed);
        Ok(Given::Signature(Zeroizing::new(signature.to_vec())))
    }
}

/// Hands contents over as they are read, never a file.
struct Archive {
    gave: Arc<AtomicU64>,
}

#[async_trait]
impl Module for Archive {
    fn name(&self) -> &'static str {
        "archive"
    }

    fn capability(&self) -> Capability {
        let means = Means::Information { largest: None, media_types: Vec::new() };
        Capability { gives: true, takes: true, properties: Properties::new([Property::Resendable]), means }
    }

    async fn prepare(&self, item: &Item, source: Option<&Path>) -> Result<(), ModuleError> {
        let file = matches!(item.description, Description::Information(_)) && source.is_some();
        if file { Ok(()) } else { Err(other("no content")) }
    }

    async fn give(&self, order: &Order) -> Result<Given, ModuleError> {
        let Order::Content { source: Some(path), .. } = order else { return Err(other("no content")) };
        let content = std::fs::read(path).map_err(|error| ModuleError::unavailable(error.to_string()))?;
        self.gave.fetch_add(1, Ordering::Relaxed);
        Ok(Given::Content(Box::new(Cursor::new(content))))
    }
}
