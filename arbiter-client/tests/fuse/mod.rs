//! A party that is stopped at a step with a number: at every journal write, before and after it is durable, at every
//! message, and at every call of the arbiter and of the ledger.
#![allow(dead_code)] // Each test program uses a part.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arbiter_client::arbiter::{ArbiterPort, Deposit, Filing, PortError};
use arbiter_client::error::{PeerFault, StoreError};
use arbiter_client::journal::{MemoryStore, Shelf, Store};
use arbiter_client::ledger::{LedgerError, LedgerPort, Page};
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::protocol::ids::Digest;
use arbiter_client::protocol::message::payment::PaymentTerms;
use arbiter_client::protocol::ruling::receipt::Receipt;
use arbiter_client::protocol::statement::Envelope;
use arbiter_client::testing::Bench;
use arbiter_client::transport::memory::{End, Wire};
use arbiter_client::transport::{Event, NotSent, PeerMessage, Transport, Want};
use arbiter_client::{Client, Error, Outcome};
use async_trait::async_trait;
use tokio::sync::Notify;

use super::common::Setting;

const NO_OFFER: Duration = Duration::from_secs(50_000);
const FOR_EVER: Duration = Duration::from_secs(500_000);

/// Stops everything at the step with this number; steps are counted over all parts of a party.
#[derive(Clone)]
pub struct Fuse(Arc<(AtomicU64, u64, Notify)>);

impl Fuse {
    pub fn at(step: u64) -> Self {
        Self(Arc::new((AtomicU64::new(0), step, Notify::new())))
    }

    /// Counts a step. Whether it is the last.
    fn burns(&self) -> bool {
        let (steps, last, blown) = &*self.0;
        let now = steps.fetch_add(1, Ordering::SeqCst) == *last;
        if now {
            blown.notify_one();
        }
        now
    }

    pub fn blown(&self) -> bool {
        self.0.0.load(Ordering::SeqCst) > self.0.1
    }

    async fn wait(&self) {
        self.0.2.notified().await;
    }

    /// A call of the arbiter or of the ledger: one step before it, one after it.
    async fn around<T>(&self, call: impl Future<Output = T>) -> T {
        if self.burns() {
            pending::<()>().await;
        }
        let answer = call.await;
        if self.burns() {
            pending::<()>().await;
        }
        answer
    }
}

pub struct FusedStore(Arc<MemoryStore>, Fuse);

impl Store for FusedStore {
    fn put(&self, shelf: Shelf, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if self.1.burns() {
            return Err(StoreError::Io("stopped before the write".into()));
        }
        self.0.put(shelf, key, value)?;
        if self.1.burns() { Err(StoreError::Io("stopped after the write".into())) } else { Ok(()) }
    }

    fn get(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(shelf, key)
    }

    fn all(&self, shelf: Shelf) -> Result<Vec<Vec<u8>>, StoreError> {
        self.0.all(shelf)
    }
}

pub struct FusedTransport<T>(T, Fuse);

#[async_trait]
impl<T: Transport> Transport for FusedTransport<T> {
    async fn next(&mut self, want: Want) -> Event {
        if self.1.blown() {
            pending::<()>().await;
        }
        self.0.next(want).await
    }

    fn is_connected(&self) -> bool {
        self.0.is_connected()
    }

    fn send(&mut self, message: PeerMessage) -> Result<(), NotSent> {
        if self.1.burns() {
            return Err(NotSent);
        }
        let sent = self.0.send(message);
        // After the message left: whatever follows is not heard any more.
        self.1.burns();
        sent
    }

    async fn close(&mut self) {
        if self.1.burns() {
            pending::<()>().await;
        }
        self.0.close().await;
    }
}

pub struct FusedPort(Arc<dyn ArbiterPort>, Fuse);

#[async_trait]
impl ArbiterPort for FusedPort {
    async fn abort(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.1.around(self.0.abort(filing)).await
    }
    async fn resolve(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.1.around(self.0.resolve(filing)).await
    }
    async fn revoke(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.1.around(self.0.revoke(filing)).await
    }
    async fn query(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.1.around(self.0.query(filing)).await
    }
    async fn deposit(&self, filing: &Filing, content: &Path) -> Result<Receipt, PortError> {
        self.1.around(self.0.deposit(filing, content)).await
    }
    async fn fetch(&self, filing: &Filing) -> Result<Deposit, PortError> {
        self.1.around(self.0.fetch(filing)).await
    }
    async fn consistency(&self, old_size: u64, new_size: u64) -> Result<Vec<Digest>, PortError> {
        self.1.around(self.0.consistency(old_size, new_size)).await
    }
}

pub struct FusedLedger(Arc<dyn LedgerPort>, Fuse);

#[async_trait]
impl LedgerPort for FusedLedger {
    async fn order(&self, order: &Envelope) -> Result<Envelope, LedgerError> {
        self.1.around(self.0.order(order)).await
    }
    async fn payment(&self, terms: &PaymentTerms) -> Result<Envelope, LedgerError> {
        self.1.around(self.0.payment(terms)).await
    }
    async fn order_account(&self, order: &Envelope) -> Result<Envelope, LedgerError> {
        self.1.around(self.0.order_account(order)).await
    }
    async fn account(&self, query: &Envelope) -> Result<Envelope, LedgerError> {
        self.1.around(self.0.account(query)).await
    }
    async fn payments(&self, query: &Envelope, page: &str) -> Result<Page, LedgerError> {
        self.1.around(self.0.payments(query, page)).await
    }
}

/// One party over its lives: the journal lives on, everything else begins anew.
pub struct Party<'a> {
    pub bench: &'a Bench,
    pub setting: &'a Setting,
    pub role: Role,
    pub journal: Arc<MemoryStore>,
    pub wire: Wire,
}

impl Party<'_> {
    async fn build(&self, fuse: &Fuse) -> Client {
        let name = if self.role == Role::Originator { "alice" } else { "bob" };
        let arbiter = Arc::new(self.bench.arbiter.clone());
        let builder = self.bench.builder(name);
        let builder = builder.journal(Arc::new(FusedStore(self.journal.clone(), fuse.clone())));
        let ledger = Arc::new(FusedLedger(Arc::new(self.bench.ledger.clone()), fuse.clone()));
        let builder = builder.ledger(self.bench.ledger.key(), ledger);
        builder.arbiter_port(Arc::new(FusedPort(arbiter, fuse.clone()))).build().await.unwrap()
    }

    /// One life, from whatever the journal holds.
    async fn live(&self, fuse: &Fuse) -> Result<Outcome, Error> {
        let client = self.build(fuse).await;
        let known = client.list().await?.first().map(|status| status.evidence.exchange_id());
        let end = if self.role == Role::Originator { End::First } else { End::Second };
        let mut transport = FusedTransport(self.wire.end(end), fuse.clone());
        let id = match (known, self.role) {
            (Some(id), _) => id,
            (None, Role::Originator) => {
                client.offer(self.setting.terms.clone(), self.setting.originator.clone()).await?
            }
            (None, Role::Responder) => {
                // An offer that never comes, or is withdrawn, leaves a responder that signed nothing.
                let wait = tokio::time::timeout(NO_OFFER, client.next_offer(&mut transport));
                let offer = wait.await.unwrap_or(Err(PeerFault::NoOffer.into()))?;
                client.accept(&offer, self.setting.responder.clone()).await?
            }
        };
        client.run(id, &mut transport).await
    }

    /// Lives until the fuse burns through, and then, after a pause, to the end. A responder that never accepted
    /// may come back to find the offer gone.
    pub async fn live_twice(&self, fuse: Fuse, pause: Duration) -> Option<Outcome> {
        tokio::select! {
            biased;
            () = fuse.wait() => {}
            outcome = self.live(&fuse) => match outcome {
                Ok(outcome) => return Some(outcome),
                Err(Error::Peer(PeerFault::NoOffer)) => return self.nothing_signed(),
                Err(error) => assert!(fuse.blown(), "{error}"),
            },
        }
        tokio::time::sleep(pause).await;
        match self.live(&Fuse::at(u64::MAX)).await {
            Ok(outcome) => Some(outcome),
            Err(Error::Peer(PeerFault::NoOffer)) => self.nothing_signed(),
            Err(error) => panic!("after the crash: {error}"),
        }
    }

    fn nothing_signed(&self) -> Option<Outcome> {
        assert!(self.journal.all(Shelf::Exchanges).unwrap().is_empty());
        None
    }
}

/// Both parties, one of them stopped at this step: how it ends for each, and whether the step was reached.
pub async fn both_live(
    bench: &Bench,
    setting: &Setting,
    crashing: Role,
    step: u64,
    pause: Duration,
) -> (Option<Outcome>, Option<Outcome>, bool) {
    let wire = Wire::default();
    let party = |role| Party { bench, setting, role, journal: Arc::default(), wire: wire.clone() };
    let (alice, bob) = (party(Role::Originator), party(Role::Responder));
    let fuse = |role| Fuse::at(if role == crashing { step } else { u64::MAX });
    let (a, b) = (fuse(Role::Originator), fuse(Role::Responder));
    let both = async { tokio::join!(alice.live_twice(a.clone(), pause), bob.live_twice(b.clone(), pause)) };
    let (ours, theirs) = tokio::time::timeout(FOR_EVER, both).await.expect("it ends");
    (ours, theirs, a.blown() || b.blown())
}
