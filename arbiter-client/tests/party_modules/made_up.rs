//! Modules that an application could write: a store of contents, a signing token, a rail of vouchers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use arbiter_client::clock::Clock;
use arbiter_client::module::{
    Capability, Format, Given, Means, Module, ModuleError, Order, payment_properties,
};
use arbiter_client::protocol::crypto::{MemorySigner, Signer as _};
use arbiter_client::protocol::escrow::SignatureKey;
use arbiter_client::protocol::exchange::item::{Description, Item};
use arbiter_client::protocol::exchange::payment::Currency;
use arbiter_client::protocol::exchange::property::{Properties, Property};
use arbiter_client::protocol::ids::{Digest, PaymentId, PublicKey};
use arbiter_client::protocol::message::payment::{PaymentAction, PaymentReceipt, PaymentState, PaymentTerms};
use arbiter_client::protocol::statement::{Envelope, Verified};
use arbiter_client::signing::Algorithm;
use arbiter_client::testing::signer;
use async_trait::async_trait;
use zeroize::Zeroizing;

/// Contents by their hash, which never were files.
#[derive(Clone, Default)]
pub struct Vault(BTreeMap<Digest, Vec<u8>>);

impl Vault {
    pub fn with(content: Vec<u8>) -> Self {
        Self([(Digest::of(&[&content]), content)].into())
    }
}

#[async_trait]
impl Module for Vault {
    fn name(&self) -> &'static str {
        "vault"
    }

    fn capability(&self) -> Capability {
        Capability {
            gives: true,
            takes: false,
            properties: Properties::new([Property::Resendable]),
            means: Means::Information { largest: Some(1 << 20), media_types: vec!["text/plain".to_owned()] },
        }
    }

    async fn prepare(&self, item: &Item, _source: Option<&Path>) -> Result<(), ModuleError> {
        match &item.description {
            Description::Information(it) if self.0.contains_key(&it.sha256) => Ok(()),
            _ => Err(ModuleError::refused("NOT_IN_VAULT", "there is nothing with this hash")),
        }
    }

    async fn give(&self, order: &Order) -> Result<Given, ModuleError> {
        match order {
            Order::Content { described, .. } if self.0.contains_key(&described.sha256) => {
                Ok(Given::Content(Box::new(std::io::Cursor::new(self.0[&described.sha256].clone()))))
            }
            _ => Err(ModuleError::refused("NOT_IN_VAULT", "there is nothing with this hash")),
        }
    }
}

/// A token that keeps its key to itself.
pub struct Token(MemorySigner);

impl Token {
    pub fn of(name: &str) -> Self {
        Self(signer(&format!("token of {name}")))
    }

    pub fn key(&self) -> SignatureKey {
        SignatureKey::ed25519(self.0.public_key()).unwrap()
    }
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
                key: Some(self.key()),
                certificate: Vec::new(),
            },
        }
    }

    async fn prepare(&self, item: &Item, _source: Option<&Path>) -> Result<(), ModuleError> {
        match &item.description {
            Description::DetachedSignature(it) if it.key == self.key() => Ok(()),
            _ => Err(ModuleError::refused("OTHER_KEY", "the token has one key")),
        }
    }

    async fn give(&self, order: &Order) -> Result<Given, ModuleError> {
        match order {
            Order::Signature(it) if it.key == self.key() => {
                let signature = self.0.sign(it.statement.document().as_bytes());
                Ok(Given::Signature(Zeroizing::new(signature.to_vec())))
            }
            _ => Err(ModuleError::refused("OTHER_KEY", "the token has one key")),
        }
    }
}

/// A rail of its own: a shop's vouchers, paid at once and never back. It signs its receipts as every rail does.
#[derive(Clone)]
pub struct Shop(Arc<Mutex<Till>>);

struct Till {
    key: MemorySigner,
    clock: Arc<dyn Clock>,
    left: BTreeMap<PublicKey, u64>,
    told: BTreeMap<PaymentId, Envelope>,
}

impl Shop {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let (left, told) = (BTreeMap::new(), BTreeMap::new());
        Self(Arc::new(Mutex::new(Till { key: signer("shop"), clock, left, told })))
    }

    pub fn key(&self) -> PublicKey {
        self.0.lock().unwrap().key.public_key()
    }

    pub fn issue(&self, account: PublicKey, units: u64) {
        self.0.lock().unwrap().left.insert(account, units);
    }

    pub fn left(&self, account: PublicKey) -> u64 {
        self.0.lock().unwrap().left.get(&account).copied().unwrap_or_default()
    }

    /// The vouchers of one holder.
    pub fn vouchers(&self, holder: PublicKey, largest: u64) -> Vouchers {
        Vouchers { shop: self.clone(), holder, largest }
    }
}

impl Till {
    fn receipt(&self, terms: &PaymentTerms, state: PaymentState) -> Envelope {
        let absent = state == PaymentState::Absent;
        let receipt = PaymentReceipt {
            terms: terms.clone(),
            state,
            entry: if absent { 0 } else { u64::try_from(self.told.len()).unwrap() + 1 },
            time: self.clock.now(),
            order: (!absent).then(|| Digest::of(&[b"over the counter", terms.id().as_bytes()])),
        };
        Verified::sign(receipt, &self.key).envelope().clone()
    }
}

/// What somebody holds of them, as a module.
#[derive(Clone)]
pub struct Vouchers {
    shop: Shop,
    holder: PublicKey,
    largest: u64,
}

#[async_trait]
impl Module for Vouchers {
    fn name(&self) -> &'static str {
        "vouchers"
    }

    fn capability(&self) -> Capability {
        Capability {
            gives: true,
            takes: true,
            properties: payment_properties(None),
            means: Means::Payment {
                ledger: self.shop.key(),
                account: self.holder,
                url: String::new(),
                currency: Some(Currency::new("VOUCHER", 0).unwrap()),
                largest: Some(self.largest),
            },
        }
    }

    async fn prepare(&self, _item: &Item, _source: Option<&Path>) -> Result<(), ModuleError> {
        Ok(())
    }

    async fn give(&self, order: &Order) -> Result<Given, ModuleError> {
        let Order::Payment { terms, action: PaymentAction::Make } = order else {
            return Err(ModuleError::refused("NOT_SOLD_HERE", "vouchers are paid at once"));
        };
        let mut till = self.shop.0.lock().unwrap();
        if let Some(told) = till.told.get(&terms.id()) {
            return Ok(Given::Receipt(told.clone()));
        }
        let (units, payment) = (terms.payment.amount.units, &terms.payment);
        let left = till.left.get(&self.holder).copied().unwrap_or_default();
        if payment.payer != self.holder || payment.hold.is_some() || left < units {
            return Err(ModuleError::refused("NOT_ENOUGH_VOUCHERS", "not this holder's, or not so many"));
        }
        till.left.insert(self.holder, left - units);
        *till.left.entry(payment.payee).or_default() += units;
        let receipt = till.receipt(terms, PaymentState::Posted(units));
        till.told.insert(terms.id(), receipt.clone());
        Ok(Given::Receipt(receipt))
    }

    async fn watch(&self, terms: &PaymentTerms) -> Result<Envelope, ModuleError> {
        let till = self.shop.0.lock().unwrap();
        let told = till.told.get(&terms.id()).cloned();
        Ok(told.unwrap_or_else(|| till.receipt(terms, PaymentState::Absent)))
    }
}
