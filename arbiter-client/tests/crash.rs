//! A party is stopped at every journal write, before and after it is durable, at every message and at every call
//! of the arbiter, and goes on from its journal: the exchange still ends fair for both, and alone it still ends.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

mod common;

use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arbiter_client::arbiter::{ArbiterPort, Deposit, Filing, PortError};
use arbiter_client::error::{PeerFault, StoreError};
use arbiter_client::journal::{MemoryStore, Shelf, Store};
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::protocol::ids::Digest;
use arbiter_client::protocol::ruling::receipt::Receipt;
use arbiter_client::testing::{Bench, Cheat, Cheater, identity};
use arbiter_client::transport::memory::{End, Wire};
use arbiter_client::transport::{Event, NotSent, PeerMessage, Transport, Want};
use arbiter_client::{Client, Error, Outcome};
use async_trait::async_trait;
use common::{Deal, Setting, all_deals, arbiter_gave, has_peers_item, setting};
use tokio::sync::Notify;

const NO_OFFER: Duration = Duration::from_secs(50_000);
const FOR_EVER: Duration = Duration::from_secs(500_000);

/// Stops everything at the step with this number; steps are counted over all parts of a party.
#[derive(Clone)]
struct Fuse(Arc<(AtomicU64, u64, Notify)>);

impl Fuse {
    fn at(step: u64) -> Self {
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

    fn blown(&self) -> bool {
        self.0.0.load(Ordering::SeqCst) > self.0.1
    }

    async fn wait(&self) {
        self.0.2.notified().await;
    }
}

struct FusedStore(Arc<MemoryStore>, Fuse);

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

struct FusedTransport<T>(T, Fuse);

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

struct FusedPort(Arc<dyn ArbiterPort>, Fuse);

impl FusedPort {
    async fn around<T>(&self, call: impl Future<Output = Result<T, PortError>>) -> Result<T, PortError> {
        if self.1.burns() {
            pending::<()>().await;
        }
        let answer = call.await;
        if self.1.burns() {
            pending::<()>().await;
        }
        answer
    }
}

#[async_trait]
impl ArbiterPort for FusedPort {
    async fn abort(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.around(self.0.abort(filing)).await
    }
    async fn resolve(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.around(self.0.resolve(filing)).await
    }
    async fn revoke(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.around(self.0.revoke(filing)).await
    }
    async fn query(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.around(self.0.query(filing)).await
    }
    async fn deposit(&self, filing: &Filing, content: &Path) -> Result<Receipt, PortError> {
        self.around(self.0.deposit(filing, content)).await
    }
    async fn fetch(&self, filing: &Filing) -> Result<Deposit, PortError> {
        self.around(self.0.fetch(filing)).await
    }
    async fn consistency(&self, old_size: u64, new_size: u64) -> Result<Vec<Digest>, PortError> {
        self.around(self.0.consistency(old_size, new_size)).await
    }
}

/// One party over its lives: the journal lives on, everything else begins anew.
struct Party<'a> {
    bench: &'a Bench,
    setting: &'a Setting,
    role: Role,
    journal: Arc<MemoryStore>,
    wire: Wire,
}

impl Party<'_> {
    async fn build(&self, fuse: &Fuse) -> Client {
        let name = if self.role == Role::Originator { "alice" } else { "bob" };
        let arbiter = Arc::new(self.bench.arbiter.clone());
        let builder = self.bench.builder(name);
        let builder = builder.journal(Arc::new(FusedStore(self.journal.clone(), fuse.clone())));
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
    async fn live_twice(&self, fuse: Fuse, pause: Duration) -> Option<Outcome> {
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

/// R-301, S4, S20: both parties honest, one of them stopped once, back at once or after its peer lost patience.
#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_ends_fair_for_both() {
    let mut crashes = 0;
    for deal in all_deals() {
        for crashing in [Role::Originator, Role::Responder] {
            let first = deal.has_file().then(|| deal.first());
            for pause in [0, 70, 2_000, 4_000].map(Duration::from_secs) {
                if first == Some(crashing) && pause > Duration::from_secs(3_600) {
                    continue; // Who sends first and stays away over the deadline has given up its claim.
                }
                for step in 0.. {
                    let folder = tempfile::tempdir().unwrap();
                    let bench = Bench::new(folder.path());
                    let setting = setting(&bench, deal, folder.path());
                    let wire = Wire::default();
                    let party = |role| Party {
                        bench: &bench,
                        setting: &setting,
                        role,
                        journal: Arc::default(),
                        wire: wire.clone(),
                    };
                    let (alice, bob) = (party(Role::Originator), party(Role::Responder));
                    let fuse = |role| Fuse::at(if role == crashing { step } else { u64::MAX });
                    let (a, b) = (fuse(Role::Originator), fuse(Role::Responder));
                    let both = async {
                        tokio::join!(alice.live_twice(a.clone(), pause), bob.live_twice(b.clone(), pause))
                    };
                    let (ours, theirs) = tokio::time::timeout(FOR_EVER, both).await.expect("it ends");
                    let what = format!("{deal:?}, {crashing} stopped at step {step} for {pause:?}");
                    let burnt = a.blown() || b.blown();
                    let has = |outcome: &Option<Outcome>| outcome.as_ref().is_some_and(has_peers_item);
                    let (ours_has, theirs_has) = (has(&ours), has(&theirs));
                    assert_eq!(ours_has, theirs_has, "{what}: {ours:?} {theirs:?}");
                    if pause.is_zero() {
                        assert!(ours_has, "{what}: nobody lost patience: {ours:?} {theirs:?}");
                        assert_eq!(bench.arbiter.calls(), 0, "{what}");
                    }
                    if !burnt {
                        break;
                    }
                    crashes += 1;
                }
            }
        }
    }
    assert!(crashes > 300, "{crashes} crashes");
}

/// R-301, S4, S37: the peer takes the item and goes quiet; the honest party is stopped at every step on its way to the
/// ruling.
#[tokio::test(start_paused = true)]
async fn a_crash_on_the_way_to_the_arbiter_ends_fair() {
    let mut crashes = 0;
    for (deal, cheat) in [
        (Deal::Contract, Cheat::QuietAfterReceiving),
        (Deal::FileForSignature, Cheat::QuietAfterReceiving),
        (Deal::SignatureForFile, Cheat::SecondAcceptance),
        (Deal::SignatureForFile, Cheat::WithholdItem),
        (Deal::Detached, Cheat::QuietAfterReceiving),
        (Deal::Detached, Cheat::SecondAcceptance),
        (Deal::DetachedForSignature, Cheat::WithholdItem),
        (Deal::SignatureForDetached, Cheat::WithholdItem),
        (Deal::FileForDetached, Cheat::QuietAfterReceiving),
        (Deal::DetachedForFile, Cheat::SecondAcceptance),
    ] {
        for step in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let bench = Bench::new(folder.path());
            let setting = setting(&bench, deal, folder.path());
            let wire = Wire::default();
            let alice = Party {
                bench: &bench,
                setting: &setting,
                role: Role::Originator,
                journal: Arc::default(),
                wire: wire.clone(),
            };
            let fuse = Fuse::at(step);
            let cheater = Cheater::new(identity("bob"), cheat, setting.responder_file.clone())
                .with_arbiter(Arc::new(bench.arbiter.clone()))
                .for_time(Duration::from_secs(20_000));
            let mut end = wire.end(End::Second);
            let cheater = cheater.respond(&mut end);
            let (outcome, loot) = tokio::join!(alice.live_twice(fuse.clone(), Duration::ZERO), cheater);
            let (outcome, loot) = (outcome.expect("an originator has its offer"), loot.unwrap());
            let what = format!("{deal:?} {cheat:?}, stopped at step {step}: {outcome:?}");
            let id = outcome.evidence().exchange_id();
            let gains = loot.has_item() || arbiter_gave(&bench, &id);
            assert!(!gains || has_peers_item(&outcome), "{what}");
            assert!(!matches!(outcome, Outcome::Completed(_)), "{what}");
            if !fuse.blown() {
                break;
            }
            crashes += 1;
        }
    }
    assert!(crashes > 80, "{crashes} crashes");
}
