//! Payment modules: which rail serves which payment, and that no rail can harm what others serve (decision D7).
//!
//! ```text
//!  PaymentTerms ── key ──▶ Modules ──▶ seat ──▶ PaymentModule ─┬─ GrpcLedger    proto/arbiter/ledger/v1
//!                    │       └ its own calls and time          └─ GrpcAdapter   proto/arbiter/adapter/v1: card, bank, mint …
//!                    └─ nobody? RAIL_UNKNOWN
//!  VerifyTransfer ─▶ observe ─▶ verify ─▶ receipt, checked ─▶ filed as a deposit          (reads only, before the decision: D6)
//!  verdict ─▶ outbox ─▶ revoke, generate ─▶ receipt, checked ─▶ logged
//! ```
//! The other kinds of items need no outside module: a file and a signature are checked against their description where they
//! arrive, and escrows are opened with the arbiter's own keys.
//!
//! Invariants
//! - A module is known by the key that signs its receipts. What it says counts only under this key, for exactly the payment
//!   asked about (R-701).
//! - A question takes one of the module's own places, for its own time (R-708). Orders have a task of their own a module.
//! - What a module says about itself is shown, and decides nothing but whether it is asked at all (R-707).

mod about;
mod adapter;
mod ledger;
mod reach;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::message::payment::{PaymentOrder, PaymentReceipt, PaymentTerms};
use arbiter_protocol::statement::{Envelope, Signed, Verified};
use thiserror::Error;
use tokio::sync::Semaphore;

pub use about::{About, Accepts, CURRENCIES, KIND_BYTES, PROTOCOL_VERSION, Power, Unserved};
pub use adapter::GrpcAdapter;
pub use ledger::GrpcLedger;
pub use reach::{MESSAGE_BYTES, Reach};

/// A payment rail as the arbiter needs it: it can say what it is, and see, undo and complete payments. An order has one effect,
/// however often it is told (R-703), and none unless who signed it may give it (R-706).
#[async_trait::async_trait]
pub trait PaymentModule: Send + Sync {
    /// What the module says about itself, checked as far as it can be: key and version are the expected ones.
    async fn about(&self) -> Result<About, ModuleError>;

    /// How a payment stands. Changes nothing; a payment that is not known is absent (R-702).
    async fn verify(&self, terms: &PaymentTerms) -> Result<Envelope, ModuleError>;

    /// Has a payment voided, and returns how it stands then: an order that comes too late is answered with the final state
    /// that is there (R-704, R-705).
    async fn revoke(&self, order: &Verified<PaymentOrder>) -> Result<Envelope, ModuleError>;

    /// Has a held payment posted, and returns how it stands then, as [`PaymentModule::revoke`] does.
    async fn generate(&self, order: &Verified<PaymentOrder>) -> Result<Envelope, ModuleError>;
}

/// Why a module gave nothing that counts. Ask again: that it cannot be heard now says nothing about the payment.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// It, or who answers in its place, says what cannot be its answer.
    #[error("the module's answer cannot be used: {0}")]
    Nonsense(String),
    /// It does not do what it is told, in its own words.
    #[error("the module refuses: {0}")]
    Refused(String),
    /// It is not the module that the configuration names.
    #[error("not the module in the configuration: {0}")]
    Unfit(String),
    /// It is out of reach, or too slow.
    #[error("the module is out of reach: {0}")]
    Unreachable(String),
}

/// A receipt counts only under the module's key, for exactly these terms (R-701).
pub fn check_receipt(
    module: &PublicKey,
    terms: &PaymentTerms,
    envelope: Envelope,
) -> Result<Verified<PaymentReceipt>, ModuleError> {
    let nonsense = |error: arbiter_protocol::error::Invalid| ModuleError::Nonsense(error.to_string());
    let receipt = Signed::<PaymentReceipt>::parse(envelope).map_err(nonsense)?;
    let receipt = receipt.verify(module).map_err(nonsense)?;
    if receipt.terms == *terms {
        Ok(receipt)
    } else {
        Err(ModuleError::Nonsense(String::from("a receipt for another payment")))
    }
}

/// A module, and how much of the arbiter it may take.
pub struct Entry {
    /// Signs its receipts.
    pub key: PublicKey,
    /// What sort of rail it is, for people.
    pub kind: String,
    /// The module.
    pub module: Arc<dyn PaymentModule>,
    /// Questions of parties at one time.
    pub calls: usize,
    /// How long one question may take, from start to end.
    pub timeout: Duration,
}

/// Why a payment was not observed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unobserved {
    /// Its module is asked by as many as may already.
    #[error("the payment's rail is being asked by too many")]
    Busy,
    /// Its module could not be heard.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// No module of this arbiter has this key.
    #[error("this arbiter does not reach the payment's ledger")]
    Unknown,
    /// Its module does not serve such payments.
    #[error(transparent)]
    Unserved(#[from] Unserved),
}

/// The manager: every module of this arbiter, found by the key that agreements name as the ledger.
pub struct Modules {
    seats: BTreeMap<PublicKey, Seat>,
    together: Semaphore,
}

/// None at all.
impl Default for Modules {
    fn default() -> Self {
        Self::new([], 1)
    }
}

struct Seat {
    kind: String,
    module: Arc<dyn PaymentModule>,
    calls: Semaphore,
    timeout: Duration,
    /// What it said when it was last asked.
    heard: Mutex<Option<Result<About, ModuleError>>>,
}

impl Seat {
    fn heard(&self) -> Option<Result<About, ModuleError>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what was said; returns what was said before.
    fn keep(&self, said: Result<About, ModuleError>) -> Option<Result<About, ModuleError>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).replace(said)
    }
}

/// A module as it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Signs its receipts.
    pub key: PublicKey,
    /// What sort of rail it is, by the configuration.
    pub kind: String,
    /// What it said, if it answered when it was last asked.
    pub about: Option<About>,
}

impl Modules {
    /// These modules, asked at most `together` questions at one time. A module with the key of an earlier one replaces it.
    pub fn new(entries: impl IntoIterator<Item = Entry>, together: usize) -> Self {
        let seat = |Entry { key, kind, module, calls, timeout }| {
            let calls = Semaphore::new(calls.clamp(1, together.max(1)));
            (key, Seat { kind, module, calls, timeout, heard: Mutex::new(None) })
        };
        let together = Semaphore::new(together.clamp(1, Semaphore::MAX_PERMITS));
        Self { seats: entries.into_iter().map(seat).collect(), together }
    }

    /// Every module, by key: for who gives them orders.
    pub fn all(&self) -> BTreeMap<PublicKey, Arc<dyn PaymentModule>> {
        self.seats.iter().map(|(key, seat)| (*key, Arc::clone(&seat.module))).collect()
    }

    /// The keys, ascending.
    pub fn keys(&self) -> impl Iterator<Item = PublicKey> + '_ {
        self.seats.keys().copied()
    }

    /// What is published about each, in the order of the keys.
    pub fn listed(&self) -> impl Iterator<Item = Listed> + '_ {
        self.seats.iter().map(|(key, seat)| Listed {
            key: *key,
            kind: seat.kind.clone(),
            about: seat.heard().and_then(Result::ok),
        })
    }

    /// Asks the rail how a payment stands (R-709). Bounded in time, number and size: a module that hangs takes its own
    /// places, and nobody waits for one of them.
    pub async fn observe(&self, terms: &PaymentTerms) -> Result<Verified<PaymentReceipt>, Unobserved> {
        let key = terms.payment.ledger;
        let seat = self.seats.get(&key).ok_or(Unobserved::Unknown)?;
        if let Some(Ok(about)) = seat.heard() {
            about.serves(&terms.payment)?;
        }
        let (Ok(_place), Ok(_common)) = (seat.calls.try_acquire(), self.together.try_acquire()) else {
            return Err(Unobserved::Busy);
        };
        let asked = tokio::time::timeout(seat.timeout, seat.module.verify(terms)).await;
        let answer = asked.unwrap_or_else(|_| Err(too_slow()));
        let receipt = answer.and_then(|envelope| check_receipt(&key, terms, envelope));
        receipt.map_err(|error| {
            tracing::warn!(module = %key, kind = %seat.kind, %error, "a payment was not observed");
            error.into()
        })
    }
}

impl fmt::Debug for Modules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.seats.iter().map(|(key, seat)| (key, &seat.kind))).finish()
    }
}

fn too_slow() -> ModuleError {
    ModuleError::Unreachable(String::from("no answer in time"))
}
