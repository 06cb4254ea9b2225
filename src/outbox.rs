//! Ruling and acting are two steps (D6): orders to ledgers are durable with the verdict, and told until they are heard.
//!
//! ```text
//!  verdict, open orders ──one commit──▶ store ──▶ sign ──▶ ledger ──▶ receipt, verified ──▶ engine.hear: leaf, order closed
//!                                         ▲                  │ out of reach, or not final yet
//!                                         └──── back-off ◀───┘
//! ```
//!
//! Invariants
//! - An order follows from a durable verdict alone, so it is the same bytes each time, and the ledger answers it once (R-423).
//! - "Already gone" is a normal answer: whatever final state the ledger states is logged, and closes the order.
//! - Each ledger has a task of its own: one that hangs or lies holds up nobody else's orders. What it says counts only under
//!   its own key, for exactly the payment ordered.
//! - Nothing is given up: after a restart the store says what is open.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::ids::{ExchangeId, PublicKey};
use arbiter_protocol::message::payment::{PaymentAction, PaymentOrder, PaymentReceipt};
use arbiter_protocol::statement::{Envelope, Verified};
use thiserror::Error;
use tokio::task::JoinSet;

use crate::engine::{EngineError, Handle, blocking};
use crate::modules::{ModuleError, PaymentModule, check_receipt};
use crate::store::OpenOrder;

/// Why an order is not closed. It is told again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Unheard {
    /// The engine could not read the order, or file the answer.
    #[error("the order cannot be read or its answer not filed: {0}")]
    Engine(#[from] EngineError),
    /// The module of the ledger gave nothing that counts.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// The payment is not final after the order.
    #[error("the ledger has not carried the order out: the payment is neither posted nor voided")]
    NotFinal,
}

/// Tells ledgers what follows from verdicts.
pub struct Outbox {
    engine: Handle,
    ledgers: BTreeMap<PublicKey, Arc<dyn PaymentModule>>,
    pause: Pause,
}

/// How long to wait between tries.
#[derive(Clone, Copy, Debug)]
pub struct Pause {
    /// After the first failure; doubled each time.
    pub first: Duration,
    /// At most.
    pub longest: Duration,
    /// How long one order may take.
    pub patience: Duration,
}

impl Default for Pause {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(250),
            longest: Duration::from_secs(30),
            patience: Duration::from_secs(10),
        }
    }
}

/// Orders read at a time, and how many of them are on their way at once.
const PAGE: usize = 64;

impl Outbox {
    /// An outbox for these ledgers.
    pub fn new(engine: Handle, ledgers: BTreeMap<PublicKey, Arc<dyn PaymentModule>>, pause: Pause) -> Self {
        Self { engine, ledgers, pause }
    }

    /// Runs until it is dropped or the engine has ended. One task a ledger.
    pub async fn run(self) {
        self.report_unknown();
        let mut tasks = JoinSet::new();
        for (key, ledger) in self.ledgers {
            let engine = self.engine.clone();
            tasks.spawn(Arc::new(Teller { engine, key, ledger, pause: self.pause }).run());
        }
        self.engine.ended().await;
        tasks.shutdown().await;
    }

    /// Orders for ledgers that are not in the configuration stay open: only the operator can help.
    fn report_unknown(&self) {
        let mut after = None;
        loop {
            let page = match self.engine.open_orders(after.as_ref(), 1) {
                Ok(page) => page,
                Err(error) => return tracing::error!(%error, "open orders to ledgers cannot be read"),
            };
            let Some(open) = page.first() else { return };
            if !self.ledgers.contains_key(&open.ledger) {
                let ledger = open.ledger;
                tracing::error!(
                    %ledger,
                    "ALARM: orders to a ledger that is not in the configuration are open: add it to [[ledgers]] or [[adapters]]"
                );
            }
            after = Some(last_of(open.ledger));
        }
    }
}

/// Before every order for `ledger`, and behind every one. No exchange has either id: they are SHA-256 hashes.
const fn before(ledger: PublicKey) -> OpenOrder {
    OpenOrder { ledger, exchange: ExchangeId::from_bytes([0; 32]), role: Role::Originator, leaf: 0 }
}

const fn last_of(ledger: PublicKey) -> OpenOrder {
    OpenOrder { ledger, exchange: ExchangeId::from_bytes([0xff; 32]), role: Role::Responder, leaf: u8::MAX }
}

/// Tells one ledger.
struct Teller {
    engine: Handle,
    key: PublicKey,
    ledger: Arc<dyn PaymentModule>,
    pause: Pause,
}

impl Teller {
    async fn run(self: Arc<Self>) {
        let mut changed = self.engine.new_orders();
        let mut wait = self.pause.first;
        loop {
            if self.engine.read_only().is_some() {
                return;
            }
            changed.mark_unchanged();
            let unheard = match Arc::clone(&self).pass().await {
                Ok(unheard) => unheard,
                Err(EngineError::ReadOnly | EngineError::Stopped) => return,
                Err(error) => {
                    tracing::error!(ledger = %self.key, %error, "an order to a ledger cannot be given");
                    1
                }
            };
            if unheard == 0 {
                wait = self.pause.first;
                if changed.changed().await.is_err() {
                    return;
                }
            } else {
                tokio::time::sleep(wait).await;
                wait = wait.saturating_mul(2).min(self.pause.longest);
            }
        }
    }

    /// Gives every open order once; returns how many are still open. Ends early where the ledger is out of reach.
    async fn pass(self: Arc<Self>) -> Result<usize, EngineError> {
        let mut after = before(self.key);
        let mut unheard = 0usize;
        loop {
            let engine = self.engine.clone();
            let page = blocking(move || engine.open_orders(Some(&after), PAGE)).await?;
            let mine: Vec<_> = page.into_iter().filter(|open| open.ledger == self.key).collect();
            let Some(last) = mine.last().copied() else { return Ok(unheard) };
            let more = mine.len() == PAGE;
            let mut on_their_way = JoinSet::new();
            for open in mine {
                on_their_way.spawn(Arc::clone(&self).tell(open));
            }
            let failed = on_their_way.join_all().await.into_iter().filter(|told| !told).count();
            unheard = unheard.saturating_add(failed);
            if !more || failed == PAGE {
                return Ok(unheard);
            }
            // The same key again is answered or still open: either way the next page begins after it.
            after = last;
        }
    }

    /// Gives one order; whether it is closed now.
    async fn tell(self: Arc<Self>, open: OpenOrder) -> bool {
        let OpenOrder { exchange, role, ledger, leaf: _ } = open;
        match self.ask(open).await {
            Ok(true) => true,
            Ok(false) => {
                tracing::warn!(%exchange, %role, %ledger, "a ledger's answer was not counted");
                false
            }
            Err(error) => {
                tracing::warn!(%exchange, %role, %ledger, %error, "an order is told again");
                false
            }
        }
    }

    async fn ask(&self, open: OpenOrder) -> Result<bool, Unheard> {
        let engine = self.engine.clone();
        let order = blocking(move || engine.payment_order(&open)).await?;
        let Some(order) = order else { return Ok(true) };
        let answer = tokio::time::timeout(self.pause.patience, self.give(&order)).await;
        let slow = |_| ModuleError::Unreachable(String::from("no answer in time"));
        let receipt = check(&self.key, &order, answer.map_err(slow)??)?;
        Ok(self.engine.hear(open.exchange, open.role, receipt).await?)
    }

    async fn give(&self, order: &Verified<PaymentOrder>) -> Result<Envelope, ModuleError> {
        match order.action {
            PaymentAction::Void => self.ledger.revoke(order).await,
            PaymentAction::Post(_) => self.ledger.generate(order).await,
            PaymentAction::Make => {
                Err(ModuleError::Refused(String::from("an arbiter makes no payment: a bug of ours")))
            }
        }
    }
}

/// What the ledger says counts only under its key, for this payment, and once it is final.
fn check(
    ledger: &PublicKey,
    order: &PaymentOrder,
    envelope: Envelope,
) -> Result<Verified<PaymentReceipt>, Unheard> {
    let receipt = check_receipt(ledger, &order.terms, envelope)?;
    if receipt.is_final() { Ok(receipt) } else { Err(Unheard::NotFinal) }
}
