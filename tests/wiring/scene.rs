//! What the tests share: three kinds of exchange with escrow, their parties, and the judgement from outside.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use arbiter::store::raw::Tamper as _;
use arbiter::store::schema::Family;
use arbiter_client::arbiter::grpc::GrpcArbiter;
use arbiter_client::arbiter::{ArbiterPort, Deposit, Filing, PortError, Retry};
use arbiter_client::protocol::crypto::Signer as _;
use arbiter_client::protocol::escrow::{SignatureKey, Suite};
use arbiter_client::protocol::exchange::item::{Description, Information};
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::protocol::ids::{Digest, ExchangeId};
use arbiter_client::protocol::message::agreement::ArbiterIdentity;
use arbiter_client::protocol::message::escrow_epoch::EscrowEpoch;
use arbiter_client::protocol::ruling::receipt::Receipt;
use arbiter_client::protocol::statement::Verified;
use arbiter_client::protocol::time::{DurationMillis, UnixMillis};
use arbiter_client::testing::{identity, signer};
use arbiter_client::transport::grpc::{Dialer, Listener};
use arbiter_client::{Client, Give, OfferTerms, Outcome, items};
use async_trait::async_trait;
use tokio::time::timeout;

use super::common::{TestClock, World};
use super::proxy::{Fault, Proxy};

/// Nothing takes longer unless it hangs, however busy the machine is: a hundred meetings at one time take seconds on an idle one.
pub const LONG: Duration = Duration::from_secs(300);
/// Longer than any test: who waits so long was never told.
pub const FOR_EVER: Duration = Duration::from_secs(3600);
/// The end of an exchange is told again for so long, where nobody may hear it.
pub const SHORTLY: Duration = Duration::from_millis(300);
/// How long there is to complain, on the arbiter's clock.
pub const HOUR: DurationMillis = DurationMillis(3_600_000);

impl arbiter_client::clock::Clock for TestClock {
    fn now(&self) -> UnixMillis {
        arbiter::clock::Clock::now(self)
    }
}

/// What is exchanged. Every signature is a detached one, in escrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deal {
    /// P1: a signature for a signature.
    Signing,
    /// P2: the originator's file for the responder's signature.
    Delivery,
    /// P2: the responder's file for the originator's signature.
    Collection,
}

impl Deal {
    pub const ALL: [Self; 3] = [Self::Signing, Self::Delivery, Self::Collection];

    /// Who sends first.
    pub const fn first(self) -> Role {
        match self {
            Self::Signing | Self::Delivery => Role::Originator,
            Self::Collection => Role::Responder,
        }
    }

    /// How many messages carry the exchange, there and back; after them the peers only close.
    pub const fn messages(self) -> [u32; 2] {
        match self {
            // Offer or acceptance, transfer, signature.
            Self::Signing => [3, 3],
            // The file has three chunks.
            Self::Delivery => [5, 3],
            Self::Collection => [3, 5],
        }
    }
}

/// Three chunks, the last one short.
pub fn notice() -> Vec<u8> {
    b"All work and no play makes Jack a dull boy.\n".repeat(4_000)
}

fn described() -> Information {
    super::common::describe(&notice(), "text/plain")
}

/// An arbiter as its parties know it, and where everything that they write goes.
pub struct Scene {
    pub arbiter: ArbiterIdentity,
    pub epoch: Verified<EscrowEpoch>,
    pub clock: Arc<dyn arbiter_client::clock::Clock>,
    pub folder: tempfile::TempDir,
    number: AtomicU32,
}

/// What a party is like.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub patience: Duration,
    pub linger: Duration,
}

impl Scene {
    pub fn of(world: &World) -> Self {
        let epoch = world.terms.as_ref().unwrap().epoch.clone();
        Self::new(world.arbiter.clone(), epoch, Arc::new(world.clock.clone()))
    }

    pub fn new(
        arbiter: ArbiterIdentity,
        epoch: Verified<EscrowEpoch>,
        clock: Arc<dyn arbiter_client::clock::Clock>,
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("wiring").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let folder = folder.unwrap();
        std::fs::write(folder.path().join("notice.txt"), notice()).unwrap();
        Self { arbiter, epoch, clock, folder, number: AtomicU32::new(0) }
    }

    pub fn notice(&self) -> PathBuf {
        self.folder.path().join("notice.txt")
    }

    /// A party with an empty journal.
    pub async fn party(&self, name: &str, port: Arc<dyn ArbiterPort>, manner: Manner) -> Client {
        let number = self.number.fetch_add(1, Ordering::SeqCst);
        Client::builder()
            .arbiter_port(port)
            .arbiter_identity(self.arbiter.clone())
            .escrow_epoch(self.epoch.clone())
            .identity(identity(name))
            .store(self.folder.path().join(format!("{name}-{number}")))
            .clock(self.clock.clone())
            .retry(RETRY)
            .patience(manner.patience)
            .linger(manner.linger)
            .in_memory()
            .build()
            .await
            .unwrap()
    }

    pub fn terms(&self, deal: Deal) -> (OfferTerms, Give, Give) {
        let detached = |title: &str, name: &str| {
            let key = SignatureKey::ed25519(signer(name).public_key()).unwrap();
            items::detached_signature(title, "I agree.", described(), key, Vec::new())
        };
        let file = || items::file(described());
        let (originator_item, responder_item) = match deal {
            Deal::Signing => (detached("Contract", "alice"), detached("Contract", "bob")),
            Deal::Delivery => (file(), detached("Receipt", "bob")),
            Deal::Collection => (detached("Receipt", "alice"), file()),
        };
        let terms = OfferTerms {
            responder: identity("bob").party(),
            originator_item,
            responder_item,
            complain_by: (deal != Deal::Signing).then(|| self.clock.now().after(HOUR)),
            send_by: None,
            suite: Suite::FAST,
        };
        match deal {
            Deal::Signing => (terms, Give::Nothing, Give::Nothing),
            Deal::Delivery => (terms, Give::File(self.notice()), Give::Nothing),
            Deal::Collection => (terms, Give::Nothing, Give::File(self.notice())),
        }
    }
}

/// Asks often: tests have little time. Gives up never.
pub const RETRY: Retry =
    Retry { first: Duration::from_millis(20), longest: Duration::from_millis(200), total: FOR_EVER };

/// The two parties of one exchange and the line between them.
pub struct Meeting {
    pub deal: Deal,
    pub alice: Client,
    pub bob: Client,
    pub line: Proxy,
    pub id: ExchangeId,
    listener: tokio::sync::Mutex<Listener>,
    bobs_give: Give,
    accepted: AtomicBool,
}

impl Meeting {
    pub async fn arrange(
        scene: &Scene,
        deal: Deal,
        alice: Client,
        bob: Client,
        fault: Option<Fault>,
    ) -> Self {
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let line = Proxy::start(listener.local_addr(), fault).await;
        let (terms, give, bobs_give) = scene.terms(deal);
        let id = alice.offer(terms, give).await.unwrap();
        let (listener, accepted) = (tokio::sync::Mutex::new(listener), AtomicBool::new(false));
        Self { deal, alice, bob, line, id, listener, bobs_give, accepted }
    }

    /// Both parties to their ends. `ended` hears of each; a Bob who has not accepted when Alice has ended has none.
    pub async fn hold(&self, ended: impl Fn(Role) + Send + Sync) -> (Outcome, Option<Outcome>) {
        let alices = async {
            let mut dialer = Dialer::new(&self.line.url()).unwrap();
            let outcome = self.alice.run(self.id, &mut dialer).await.unwrap();
            ended(Role::Originator);
            outcome
        };
        let bobs = async {
            let mut listener = self.listener.lock().await;
            let mut peer = listener.accept().await;
            let Ok(proposal) = self.bob.next_offer(&mut peer).await else { return None };
            // Too late is an answer, too.
            let Ok(id) = self.bob.accept(&proposal, self.bobs_give.clone()).await else { return None };
            self.accepted.store(true, Ordering::SeqCst);
            let outcome = self.bob.run(id, &mut peer).await.unwrap();
            ended(Role::Responder);
            Some(outcome)
        };
        let (mut alices, mut bobs) = (std::pin::pin!(alices), std::pin::pin!(bobs));
        let (mut ours, mut theirs) = (None, None);
        loop {
            tokio::select! {
                outcome = &mut alices, if ours.is_none() => ours = Some(outcome),
                outcome = &mut bobs, if theirs.is_none() => theirs = Some(outcome),
            }
            match (ours.take(), theirs.take()) {
                (Some(ours), Some(theirs)) => return (ours, theirs),
                (Some(ours), None) if !self.accepted.load(Ordering::SeqCst) => return (ours, None),
                (ours_now, theirs_now) => (ours, theirs) = (ours_now, theirs_now),
            }
        }
    }

    /// Waits for the fault between the peers, and until what passed before has arrived; then nobody waits any longer. For
    /// faults that come when both have agreed.
    pub async fn part(&self) {
        self.line.hit().await;
        loop {
            let ours = self.alice.status(self.id).await.unwrap().evidence;
            let theirs = self.bob.status(self.id).await.ok().map(|status| status.evidence);
            let file = theirs.is_some_and(|it| it.received_file.is_some());
            if ours.acceptance.is_some() && (file || self.deal != Deal::Delivery) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.lose_patience().await;
    }

    /// Tells whoever is in the exchange to wait for its peer no longer.
    pub async fn lose_patience(&self) {
        let mut told = [false; 2];
        loop {
            for (told, client) in told.iter_mut().zip([&self.alice, &self.bob]) {
                *told |= client.stop_waiting(self.id);
            }
            if told == [true; 2] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// F1, F5: judged by what each holds, not by what it says. Whether both have the other's item.
    pub async fn judge(&self, ours: &Outcome, theirs: Option<&Outcome>) -> bool {
        let what = format!("{:?}: {ours:?} {theirs:?}", self.deal);
        let (a, b) = (has_peers_item(ours), theirs.is_some_and(has_peers_item));
        assert_eq!(a, b, "unfair: {what}");
        let named = [Some(ours), theirs].into_iter().flatten().all(|outcome| match outcome {
            Outcome::Aborted(_) => !a,
            Outcome::Abandoned(_) | Outcome::Affidavit(_) => false,
            Outcome::Completed(_) | Outcome::Resolved(_) => a,
        });
        assert!(named, "{what}");
        let verdict = self.alice.query(self.id).await.unwrap().map(|it| it.envelope().digest());
        if theirs.is_some() {
            let other = self.bob.query(self.id).await.unwrap().map(|it| it.envelope().digest());
            assert_eq!(verdict, other, "two verdicts: {what}");
        }
        for client in [&self.alice, &self.bob] {
            assert!(client.misbehaviours().await.unwrap().is_empty(), "{what}");
        }
        a
    }
}

fn has_peers_item(outcome: &Outcome) -> bool {
    let evidence = outcome.evidence();
    let peer = evidence.role.peer();
    let received = |path: &Path| std::fs::read(path).unwrap();
    match &evidence.offer.item(peer).description {
        Description::DetachedSignature(item) => {
            let bytes = evidence.signatures.of(peer);
            bytes.as_ref().is_some_and(|it| item.key.verify(item.statement.document().as_bytes(), it))
        }
        Description::Information(described) => evidence
            .received_file
            .as_deref()
            .is_some_and(|path| Digest::of(&[&received(path)]) == described.sha256),
        Description::Payment(_) => false,
        Description::Nothing | Description::Package(_) | Description::Signature(_) => {
            panic!("no such item here")
        }
    }
}

/// Hangs are failures.
pub async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(LONG, work).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

/// The production port, and how often the arbiter was out of reach.
pub struct Counted {
    inner: GrpcArbiter,
    pub failures: AtomicU32,
    pub calls: AtomicU32,
}

impl Counted {
    pub fn new(inner: GrpcArbiter) -> Arc<Self> {
        Arc::new(Self { inner, failures: AtomicU32::new(0), calls: AtomicU32::new(0) })
    }

    pub fn at(url: &str) -> Arc<Self> {
        Self::new(GrpcArbiter::new(url, None).unwrap())
    }

    fn note<T>(&self, result: Result<T, PortError>) -> Result<T, PortError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if matches!(result, Err(PortError::Unavailable { .. })) {
            self.failures.fetch_add(1, Ordering::SeqCst);
        }
        result
    }
}

#[async_trait]
impl ArbiterPort for Counted {
    async fn abort(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.note(self.inner.abort(filing).await)
    }

    async fn resolve(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.note(self.inner.resolve(filing).await)
    }

    async fn revoke(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.note(self.inner.revoke(filing).await)
    }

    async fn query(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.note(self.inner.query(filing).await)
    }

    async fn deposit(&self, filing: &Filing, content: &Path) -> Result<Receipt, PortError> {
        self.note(self.inner.deposit(filing, content).await)
    }

    async fn fetch(&self, filing: &Filing) -> Result<Deposit, PortError> {
        self.note(self.inner.fetch(filing).await)
    }

    async fn consistency(&self, old_size: u64, new_size: u64) -> Result<Vec<Digest>, PortError> {
        self.note(self.inner.consistency(old_size, new_size).await)
    }
}

/// How many chunks the arbiter's store holds, drafts included.
pub fn chunks(world: &World) -> usize {
    world.store.inner.entries(Family::Chunks).len()
}
