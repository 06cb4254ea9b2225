//! The ledger as a service: the books of `arbiter-protocol::ledger` with a clock, a key and a file.
//!
//! ```text
//!  callers ──verified orders──▶ queue ─▶ writer ─▶ Books ─▶ Store   one durable transaction a batch
//!     ▲                                    │
//!     └────── signature ◀── answers ◀──────┘   only after the commit
//! ```
//! [`Handle`] is the whole ledger for a caller in the same process; `grpc::ledger` serves it to others.
//!
//! Invariants
//! - Signatures are verified before anything is queued, and made after the commit that they are about (R-608).
//! - A failed commit ends the ledger; what happened is found out by starting again (R-608).
//! - Time never goes back, over restarts too (R-609).
//! - After a start no hold ends by itself for the grace (R-607): orders that could not come still count.

pub mod fsck;
pub mod schema;
pub mod store;
mod writer;

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use arbiter_protocol::crypto::Signer;
use arbiter_protocol::error::Invalid;
use arbiter_protocol::exchange::payment::Currency;
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::ledger::{
    Archive as _, Books, Damage, LedgerRefused, admit_account, admit_payment, admit_query,
};
use arbiter_protocol::message::account::{AccountAction, AccountOrder, AccountStatement};
use arbiter_protocol::message::payment::{PaymentReceipt, PaymentTerms};
use arbiter_protocol::statement::{Envelope, Payload, Verified};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use thiserror::Error;
use tokio::sync::{oneshot, watch};

use crate::clock::{Clock, NeverBack, is_far_ahead};
use store::{Store, StoreError};
use writer::{Message, Reply, Turn, Writer};

/// Orders that may wait at one time.
const QUEUE: usize = 4096;
/// How far the clock may be behind what was told before an operator hears of it.
const UNCERTAINTY: DurationMillis = DurationMillis(1000);

/// How a ledger is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the operator calls it; verified by nobody.
    pub name: String,
    /// What the operator promises, in words.
    pub terms: String,
    /// The currencies that are issued.
    pub currencies: Vec<Currency>,
    /// No hold may end later than this from now.
    pub longest_hold: DurationMillis,
    /// After a start no hold ends by itself for so long.
    pub grace: DurationMillis,
    /// Start even if the clock is more than a year ahead of the newest entry.
    pub accept_clock: bool,
}

/// Why a ledger does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The clock is most likely wrong.
    #[error(
        "the clock of this machine says {clock}, more than a year after the newest entry, {latest}: every hold would end. \
         Set the clock, or start once with --accept-clock if it is right"
    )]
    ClockFarAhead {
        /// What the machine says.
        clock: UnixMillis,
        /// The newest entry.
        latest: UnixMillis,
    },
    /// A currency cannot be opened.
    #[error("currency {currency}: {refused}")]
    Currency {
        /// Which.
        currency: Currency,
        /// Why not.
        refused: LedgerRefused,
    },
    /// The book.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gives no thread.
    #[error("cannot start the writer: {0}")]
    Thread(std::io::Error),
}

impl From<Damage> for StartError {
    fn from(damage: Damage) -> Self {
        Self::Store(damage.into())
    }
}

/// Why an order or question has no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The caller's bytes.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// More waits than may.
    #[error("the ledger has more orders than it can take: send the same one again")]
    Overloaded,
    /// A rule.
    #[error(transparent)]
    Refused(#[from] LedgerRefused),
    /// The ledger has ended. Whether the order counts is known after a start.
    #[error("the ledger has stopped: send the same order again when it is back")]
    Stopped,
    /// The book cannot be read.
    #[error("the ledger cannot read its book; its operator must look at the log and run fsck")]
    Unreadable,
}

/// How a ledger ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// The book could not be written.
    Failed,
}

/// Payments of an account.
#[derive(Debug)]
pub struct Page {
    /// How each stands, newest first.
    pub receipts: Vec<Verified<PaymentReceipt>>,
    /// Where the next page begins; `None` on the last.
    pub before: Option<u64>,
}

/// A running ledger. Clones are the same one.
///
/// ```
/// use arbiter::clock::SystemClock;
/// use arbiter::ledger::{Handle, Options, store::Store};
/// use arbiter_protocol::crypto::{MemorySigner, Signer as _};
/// use arbiter_protocol::exchange::payment::Currency;
/// use arbiter_protocol::message::account::{AccountAction, AccountOrder, AccountState};
/// use arbiter_protocol::statement::Verified;
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let key = |byte| MemorySigner::from_seed(&zeroize::Zeroizing::new([byte; 32]));
/// let (signer, alice, currency) = (key(1), key(2), Currency::new("EUR", 2)?);
/// let store = Store::in_memory(signer.public_key())?;
/// let options = Options { currencies: vec![currency.clone()], ..Options::default() };
/// let ledger = Handle::start(Box::new(signer), store, options, Box::new(SystemClock))?;
///
/// let (account, action) = (alice.public_key(), AccountAction::Open);
/// let order = AccountOrder { ledger: ledger.key(), account, currency, action };
/// let order = Verified::sign(order, &alice).envelope().clone();
/// assert_eq!(ledger.order_account(order).await?.state, AccountState::Open);
/// ledger.stop().await;
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    queue: SyncSender<Message>,
}

struct Shared {
    options: Options,
    signer: Box<dyn Signer>,
    store: Store,
    clock: Arc<NeverBack>,
    entries: u64,
    state: watch::Receiver<Option<Ended>>,
}

impl Default for Options {
    /// Holds of a year, a minute of grace, no currency.
    fn default() -> Self {
        Self {
            name: String::new(),
            terms: String::new(),
            currencies: Vec::new(),
            longest_hold: DurationMillis(366 * 24 * 60 * 60 * 1000),
            grace: DurationMillis(60 * 1000),
            accept_clock: false,
        }
    }
}

impl Handle {
    /// Checks the book, opens the currencies that are not open, and starts the writer.
    pub fn start(
        signer: Box<dyn Signer>,
        store: Store,
        options: Options,
        clock: Box<dyn Clock>,
    ) -> Result<Self, StartError> {
        let kept = store.kept()?;
        let (latest, shown) = (kept.time, clock.now());
        // A clock that jumped would end every hold.
        if kept.entries > 0 && is_far_ahead(shown, latest) && !options.accept_clock {
            return Err(StartError::ClockFarAhead { clock: shown, latest });
        }
        let mut books = Books::restore(signer.public_key(), options.longest_hold, kept)?;
        let clock = Arc::new(NeverBack::new(clock, latest, UNCERTAINTY));
        let now = clock.now();
        books.give_grace(now.after(options.grace));
        open_currencies(&mut books, &store, &*signer, &options.currencies, now)?;
        let (queue, waiting) = sync_channel(QUEUE);
        let (state, ended) = watch::channel(None);
        let shared = Shared {
            entries: books.entries(),
            store: store.clone(),
            clock: Arc::clone(&clock),
            state: ended,
            options,
            signer,
        };
        let writer = Writer { books, store, clock, queue: waiting, state };
        let thread = std::thread::Builder::new().name(String::from("ledger"));
        thread.spawn(move || writer.run()).map_err(StartError::Thread)?;
        Ok(Self { shared: Arc::new(shared), queue })
    }

    /// Signs receipts and statements.
    pub fn key(&self) -> PublicKey {
        self.shared.signer.public_key()
    }

    /// How it is run.
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// How many entries the journal had at the start.
    pub fn entries_at_start(&self) -> u64 {
        self.shared.entries
    }

    /// The ledger's time.
    pub fn now(&self) -> UnixMillis {
        self.shared.clock.now()
    }

    /// Makes, posts or voids a payment, by a signed order (R-603 to R-606).
    pub async fn order_payment(&self, order: Envelope) -> Result<Verified<PaymentReceipt>, LedgerError> {
        let order = admit_payment(order)?;
        let receipt = self.ask(move |turn| {
            let step = turn.books.pay(&order, &turn.batch, turn.now)?;
            turn.keep(step)
        });
        Ok(self.sign(receipt.await?))
    }

    /// How a payment stands (R-611).
    pub async fn payment(&self, terms: PaymentTerms) -> Result<Verified<PaymentReceipt>, LedgerError> {
        let receipt = self.ask(move |turn| {
            let step = turn.books.payment(&terms, &turn.batch, turn.now)?;
            turn.keep(step)
        });
        Ok(self.sign(receipt.await?))
    }

    /// Opens or closes an account, by a signed order (R-601).
    pub async fn order_account(&self, order: Envelope) -> Result<Verified<AccountStatement>, LedgerError> {
        let order = admit_account(order)?;
        let statement = self.ask(move |turn| {
            let step = turn.books.order_account(&order, turn.now);
            turn.keep(step)
        });
        Ok(self.sign(statement.await?))
    }

    /// How an account stands, for a signed query (R-610).
    pub async fn account(&self, query: Envelope) -> Result<Verified<AccountStatement>, LedgerError> {
        let query = admit_query(query)?;
        let statement = self.ask(move |turn| {
            let step = turn.books.account(&query, turn.now);
            turn.keep(step)
        });
        Ok(self.sign(statement.await?))
    }

    /// The payments of an account, for a signed query: those made before the entry `before`, at most `count` (R-610).
    pub async fn payments(&self, query: Envelope, before: u64, count: usize) -> Result<Page, LedgerError> {
        let query = admit_query(query)?;
        let account = query.account;
        // The writer says whether it may be told, and ends what has run out; reading disturbs nobody.
        self.ask(move |turn| {
            let step = turn.books.query(&query, turn.now);
            turn.keep(step)
        })
        .await?;
        let this = self.clone();
        let read = tokio::task::spawn_blocking(move || this.read_page(&account, before, count)).await;
        let read = read.map_err(|_| LedgerError::Stopped)?;
        read.map_err(|error| {
            tracing::error!(%error, "the book cannot be read");
            LedgerError::Unreadable
        })
    }

    fn read_page(&self, account: &PublicKey, before: u64, count: usize) -> Result<Page, StoreError> {
        let view = self.shared.store.view()?;
        let mut lines = view.history(account, before, count.saturating_add(1))?;
        let more = lines.len() > count;
        lines.truncate(count);
        let before = lines.last().filter(|_| more).map(|(entry, _)| *entry);
        let receipts = lines.into_iter().map(|(entry, id)| {
            let record = view.find(&id)?.ok_or(Damage::Index { entry })?;
            Ok(self.sign(record.receipt()))
        });
        Ok(Page { receipts: receipts.collect::<Result<_, StoreError>>()?, before })
    }

    /// What is queued is answered, then the ledger ends and lets go of its file once every handle is gone.
    pub async fn stop(self) -> Ended {
        let mut message = Message::Stop;
        while let Err(TrySendError::Full(back)) = self.queue.try_send(message) {
            message = back;
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        self.ended().await
    }

    /// Waits until the ledger has ended.
    pub async fn ended(&self) -> Ended {
        let mut state = self.shared.state.clone();
        let ended = state.wait_for(Option::is_some).await.ok().and_then(|state| *state);
        ended.unwrap_or(Ended::Failed)
    }

    fn sign<T: Payload>(&self, statement: T) -> Verified<T> {
        Verified::sign(statement, &*self.shared.signer)
    }

    /// Has the writer do something; the answer comes when everything is durable.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Turn<'_>) -> Result<Result<T, LedgerRefused>, StoreError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move |turn: &mut Turn<'_>| {
            let done = work(turn)?;
            // A caller that went away can ask again and gets the same.
            let reply: Reply = Box::new(move || drop(answer.send(done)));
            Ok(reply)
        });
        self.queue.try_send(Message::Job(job)).map_err(|error| match error {
            TrySendError::Full(_) => LedgerError::Overloaded,
            TrySendError::Disconnected(_) => LedgerError::Stopped,
        })?;
        Ok(answered.await.map_err(|_| LedgerError::Stopped)??)
    }
}

/// The issue of each currency that is not open yet, by the ledger's own order.
fn open_currencies(
    books: &mut Books,
    store: &Store,
    signer: &dyn Signer,
    currencies: &[Currency],
    now: UnixMillis,
) -> Result<(), StartError> {
    let mut batch = store.batch()?;
    for currency in currencies {
        let (key, action) = (signer.public_key(), AccountAction::Open);
        let order = AccountOrder { ledger: key, account: key, currency: currency.clone(), action };
        let step = books.order_account(&Verified::sign(order, signer), now);
        step.answer.map_err(|refused| StartError::Currency { currency: currency.clone(), refused })?;
        for change in &step.changes {
            batch.put(change)?;
        }
    }
    Ok(batch.commit()?)
}
