//! A ledger in the process: the real books, over tokio's clock, that is away or cheats on request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arbiter_protocol::crypto::{MemorySigner, Signer};
use arbiter_protocol::exchange::payment::Amount;
use arbiter_protocol::ids::{Digest, PublicKey};
use arbiter_protocol::ledger::{LedgerRejected, MemoryLedger};
use arbiter_protocol::message::payment::{PaymentAction, PaymentOrder, PaymentState, PaymentTerms};
use arbiter_protocol::statement::{Envelope, Signed, Verified};
use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::ledger::{LedgerError, LedgerPort};

/// What is done with a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LedgerCall {
    /// A payment is made.
    Make,
    /// A payment is posted.
    Post,
    /// A payment is voided.
    Void,
    /// Somebody looks how a payment stands.
    Look,
    /// Something with an account.
    Account,
}

/// A ledger in the process. Clones are the same ledger.
#[derive(Clone)]
pub struct TestLedger(Arc<Inner>);

struct Inner {
    key: PublicKey,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    books: MemoryLedger,
    down: Vec<LedgerCall>,
    lose_answers: bool,
    calls: BTreeMap<LedgerCall, u64>,
    issued: u64,
}

impl TestLedger {
    /// An empty ledger whose key follows from its name.
    pub fn new(name: &str, clock: Arc<dyn Clock>) -> Self {
        let seed = Digest::of(&[b"test ledger ", name.as_bytes()]);
        let signer = MemorySigner::from_seed(&Zeroizing::new(*seed.as_bytes()));
        let key = signer.public_key();
        let books = MemoryLedger::new(Box::new(signer));
        let state = State { books, down: Vec::new(), lose_answers: false, calls: BTreeMap::new(), issued: 0 };
        Self(Arc::new(Inner { key, clock, state: Mutex::new(state) }))
    }

    /// Signs the receipts.
    pub fn key(&self) -> PublicKey {
        self.0.key
    }

    /// Opens an account with this much in it.
    pub fn open(&self, holder: &dyn Signer, amount: &str) -> Result<(), LedgerRejected> {
        let now = self.0.clock.now();
        let amount = Amount::parse(amount)?;
        let mut state = self.state();
        state.books.open(holder, &amount.currency, now)?;
        state.issued += 1;
        let reference = Digest::of(&[&state.issued.to_be_bytes()]);
        state.books.issue(holder.public_key(), amount, reference, now)?;
        Ok(())
    }

    /// Opens an empty account in the currency of `amount`.
    pub fn open_empty(&self, holder: &dyn Signer, amount: &str) -> Result<(), LedgerRejected> {
        let amount = Amount::parse(amount)?;
        self.state().books.open(holder, &amount.currency, self.0.clock.now())?;
        Ok(())
    }

    /// What an account can pay with now.
    pub fn available(&self, account: &PublicKey) -> i128 {
        let mut state = self.state();
        state.books.settle(self.0.clock.now());
        let accounts = state.books.books().accounts();
        let ledger = self.0.key;
        let mut found = accounts.filter(|(name, _)| name.key(&ledger) == *account);
        found.next().map_or(0, |(_, account)| account.available)
    }

    /// How a payment stands now.
    pub fn stands(&self, terms: &PaymentTerms) -> PaymentState {
        let receipt = self.state().books.payment(terms, self.0.clock.now());
        receipt.map_or(PaymentState::Absent, |receipt| receipt.state)
    }

    /// Whether money was lost or made: it never may be.
    pub fn is_sound(&self) -> bool {
        self.state().books.books().check().is_ok()
    }

    /// Does not answer these calls from now on; `&[]` answers all again.
    pub fn set_down(&self, calls: &[LedgerCall]) {
        self.state().down = calls.to_vec();
    }

    /// Carries orders out and loses its answers.
    pub fn lose_answers(&self, lose: bool) {
        self.state().lose_answers = lose;
    }

    /// How often a call was made.
    pub fn calls(&self, call: LedgerCall) -> u64 {
        self.state().calls.get(&call).copied().unwrap_or(0)
    }

    /// An order of the arbiter: not counted, lost if the ledger is down.
    pub(super) fn told_by_arbiter(&self, order: &Envelope) {
        let mut state = self.state();
        if !state.down.contains(&LedgerCall::Void) {
            // An order for another ledger, or one carried out before: nothing to do.
            let _ = state.books.order_payment(order.clone(), self.0.clock.now());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, call: LedgerCall) -> Result<MutexGuard<'_, State>, LedgerError> {
        let mut state = self.state();
        *state.calls.entry(call).or_default() += 1;
        if state.down.contains(&call) { Err(away()) } else { Ok(state) }
    }
}

#[async_trait]
impl LedgerPort for TestLedger {
    async fn order(&self, order: &Envelope) -> Result<Envelope, LedgerError> {
        let action = Signed::<PaymentOrder>::parse(order.clone()).map(|it| it.unverified().action);
        let mut state = self.count(match action {
            Ok(PaymentAction::Post(_)) => LedgerCall::Post,
            Ok(PaymentAction::Void) => LedgerCall::Void,
            Ok(PaymentAction::Make) | Err(_) => LedgerCall::Make,
        })?;
        let receipt = state.books.order_payment(order.clone(), self.0.clock.now());
        if state.lose_answers { Err(away()) } else { answer(receipt) }
    }

    async fn payment(&self, terms: &PaymentTerms) -> Result<Envelope, LedgerError> {
        let mut state = self.count(LedgerCall::Look)?;
        answer(state.books.payment(terms, self.0.clock.now()))
    }

    async fn order_account(&self, order: &Envelope) -> Result<Envelope, LedgerError> {
        let mut state = self.count(LedgerCall::Account)?;
        answer(state.books.order_account(order.clone(), self.0.clock.now()))
    }

    async fn account(&self, query: &Envelope) -> Result<Envelope, LedgerError> {
        let mut state = self.count(LedgerCall::Account)?;
        answer(state.books.account(query.clone(), self.0.clock.now()))
    }
}

fn away() -> LedgerError {
    let message = "switched off".to_owned();
    LedgerError::Unavailable { message, retry_after: Some(Duration::from_millis(50)) }
}

fn answer<T>(statement: Result<Verified<T>, LedgerRejected>) -> Result<Envelope, LedgerError>
where
    T: arbiter_protocol::statement::Payload,
{
    statement.map(|it| it.envelope().clone()).map_err(|why| LedgerError::Refused {
        reason: why.reason().to_owned(),
        message: why.to_string(),
        metadata: BTreeMap::new(),
    })
}
