//! The client: one party with its key, its journal and its arbiter.
//!
//! ```text
//!  originator: offer ─▶ run ─▶ Outcome          responder: next_offer ─▶ accept ─▶ run ─▶ Outcome
//!                        └ crash ─▶ resume                                  └ crash ─▶ resume
//! ```
//!
//! Invariants
//! - The approver sees the exact statement before it is signed.
//! - Nothing leaves before the journal holds it (R-301).
//! - An exchange is carried out by one call at a time.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arbiter_protocol::crypto::{SealingSecret, Signer};
use arbiter_protocol::exchange::item::{Description, Item};
use arbiter_protocol::exchange::selection::{Role, select};
use arbiter_protocol::ids::ExchangeId;
use arbiter_protocol::message::agreement::{Acceptance, Agreement, ArbiterIdentity, Offer, Party};
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::message::verdict::Verdict;
use arbiter_protocol::role::{Phase, Session, Timing};
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::statement::{Envelope, Payload as _, Signed, Verified, digest_of};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use async_trait::async_trait;
use tokio::sync::Notify;

use crate::arbiter::counsel::{Answer, Answered, Counsel};
use crate::arbiter::{ArbiterPort, Misbehaviour, Reason, Retry};
use crate::clock::{Clock, SystemClock};
use crate::driver::Driver;
use crate::error::{Error, PeerFault, Usage};
use crate::journal::{Journal, MemoryStore, Record, RedbStore, Store};
use crate::transport::{Event, Nobody, PeerMessage, Transport, Want};
use crate::{items, random};

/// Who we are: a signing key, a sealing key and what we call ourselves.
#[derive(Clone)]
pub struct Identity {
    signer: Arc<dyn Signer>,
    sealing: Arc<SealingSecret>,
    name: String,
}

impl Identity {
    /// Puts the parts together. `name` is shown to the peer and verified by nobody.
    pub fn new(signer: Arc<dyn Signer>, sealing: SealingSecret, name: impl Into<String>) -> Self {
        Self { signer, sealing: Arc::new(sealing), name: name.into() }
    }

    /// The public part, as an agreement names it.
    pub fn party(&self) -> Party {
        Party {
            signing_key: self.signer.public_key(),
            sealing_key: self.sealing.public_key(),
            name: self.name.clone(),
        }
    }

    pub(crate) fn signer(&self) -> &dyn Signer {
        &*self.signer
    }

    pub(crate) fn sealing(&self) -> &SealingSecret {
        &self.sealing
    }
}

/// What the originator proposes. Protocol and order of sending follow from the items.
#[derive(Clone, Debug)]
pub struct OfferTerms {
    /// Who is asked.
    pub responder: Party,
    /// What we give.
    pub originator_item: Item,
    /// What we get.
    pub responder_item: Item,
    /// For protocols with a deadline: until when the first sender may complain, on the arbiter's clock.
    pub complain_by: Option<UnixMillis>,
}

/// Is asked before anything is signed: the trusted user interface.
#[async_trait]
pub trait Approver: Send + Sync {
    /// Whether the party in `role` wants to be bound by exactly this offer, which `exchange_id` names: it is
    /// the hash that is signed.
    async fn approve(&self, offer: &Offer, exchange_id: ExchangeId, role: Role) -> bool;
}

/// For programs that decide before they call: the call itself is the approval.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unattended;

#[async_trait]
impl Approver for Unattended {
    async fn approve(&self, _offer: &Offer, _exchange_id: ExchangeId, _role: Role) -> bool {
        true
    }
}

/// How an exchange ended, with everything that proves it. Every way is fair.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Neither party gets an item: the arbiter's abort token says so.
    Aborted(Evidence),
    /// The items changed hands directly.
    Completed(Evidence),
    /// The arbiter's verdict gave what the peer withheld.
    Resolved(Evidence),
}

impl Outcome {
    /// What proves it.
    pub const fn evidence(&self) -> &Evidence {
        match self {
            Self::Aborted(evidence) | Self::Completed(evidence) | Self::Resolved(evidence) => evidence,
        }
    }
}

/// Everything a party holds of an exchange.
#[derive(Clone)]
pub struct Evidence {
    /// The own role.
    pub role: Role,
    /// The offer.
    pub offer: Verified<Offer>,
    /// The acceptance, once there is one.
    pub acceptance: Option<Verified<Acceptance>>,
    /// The own transfer, once it may have left.
    pub own_transfer: Option<Verified<Transfer>>,
    /// The peer's transfer. With a signature item this is the item.
    pub peer_transfer: Option<Verified<Transfer>>,
    /// The arbiter's receipts, the oldest first, each verified when it came.
    pub receipts: Vec<Receipt>,
    /// The file that we give.
    pub own_file: Option<PathBuf>,
    /// The file that we got; it fits its description.
    pub received_file: Option<PathBuf>,
}

/// Names things; shows neither statements nor files.
impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evidence")
            .field("exchange_id", &self.exchange_id())
            .field("role", &self.role)
            .field("agreed", &self.acceptance.is_some())
            .field("own_transfer", &self.own_transfer.is_some())
            .field("peer_transfer", &self.peer_transfer.is_some())
            .field("receipts", &self.receipts.len())
            .field("received_file", &self.received_file.is_some())
            .finish()
    }
}

impl Evidence {
    /// Names the exchange.
    pub const fn exchange_id(&self) -> ExchangeId {
        self.offer.exchange_id()
    }
}

/// How far an exchange has come.
#[derive(Clone, Debug)]
pub struct Status {
    /// The phase.
    pub phase: Phase,
    /// Whether our item may have left.
    pub sent: bool,
    /// When the exchange entered the journal.
    pub since: UnixMillis,
    /// The newest remark, e.g. why an item of the peer was refused.
    pub remark: Option<String>,
    /// What we hold.
    pub evidence: Evidence,
}

/// Puts a [`Client`] together.
#[derive(Default)]
pub struct ClientBuilder {
    arbiter: Option<String>,
    arbiter_ca: Option<Vec<u8>>,
    port: Option<Arc<dyn ArbiterPort>>,
    arbiter_identity: Option<ArbiterIdentity>,
    identity: Option<Identity>,
    folder: Option<PathBuf>,
    store: Option<Arc<dyn Store>>,
    clock: Option<Arc<dyn Clock>>,
    approver: Option<Arc<dyn Approver>>,
    retry: Retry,
    settings: Settings,
}

/// How patient a party is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub patience: Duration,
    pub linger: Duration,
    pub timing: Timing,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(60),
            linger: Duration::from_secs(10),
            timing: Timing { complain_margin: DurationMillis(30_000) },
        }
    }
}

impl ClientBuilder {
    /// URL of the arbiter, `http://…` or `https://…`. It is called only if the peer misbehaves.
    #[must_use]
    pub fn arbiter(mut self, url: impl Into<String>) -> Self {
        self.arbiter = Some(url.into());
        self
    }

    /// PEM certificates of the authority that an `https://` arbiter's certificate must come from.
    #[must_use]
    pub fn arbiter_ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.arbiter_ca = Some(pem.into());
        self
    }

    /// Another way to the arbiter than gRPC.
    #[must_use]
    pub fn arbiter_port(mut self, port: Arc<dyn ArbiterPort>) -> Self {
        self.port = Some(port);
        self
    }

    /// The pinned arbiter: every offer must name exactly this one.
    #[must_use]
    pub fn arbiter_identity(mut self, identity: ArbiterIdentity) -> Self {
        self.arbiter_identity = Some(identity);
        self
    }

    /// Who we are.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// The folder for the journal and for received files; made if it is not there.
    #[must_use]
    pub fn store(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Another place for the journal than a file in the folder. Received files still need the folder.
    #[must_use]
    pub fn journal(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Another clock than the operating system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Who is asked before something is signed. Default: [`Unattended`].
    #[must_use]
    pub fn approver(mut self, approver: Arc<dyn Approver>) -> Self {
        self.approver = Some(approver);
        self
    }

    /// How long to go on asking an arbiter that is out of reach.
    #[must_use]
    pub const fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Without progress by the peer for this long, turn to the arbiter. Default 60 s.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.settings.patience = patience;
        self
    }

    /// Having completed, stay this long for a peer that lost the connection. Default 10 s.
    #[must_use]
    pub const fn linger(mut self, linger: Duration) -> Self {
        self.settings.linger = linger;
        self
    }

    /// Time kept for complaints. Default: a margin of 30 s.
    #[must_use]
    pub const fn timing(mut self, timing: Timing) -> Self {
        self.settings.timing = timing;
        self
    }

    /// Opens the journal. Connects to nobody: the arbiter is called only when it is needed.
    pub async fn build(self) -> Result<Client, Error> {
        let pinned = self.arbiter_identity.ok_or(Usage::Missing("the arbiter's identity"))?;
        let identity = self.identity.ok_or(Usage::Missing("an identity"))?;
        let folder = self.folder.ok_or(Usage::Missing("a store folder"))?;
        let port: Arc<dyn ArbiterPort> = match (self.port, self.arbiter) {
            (Some(port), _) => port,
            (None, Some(url)) => Arc::new(crate::arbiter::grpc::GrpcArbiter::new(&url, self.arbiter_ca)?),
            (None, None) => return Err(Usage::Missing("the arbiter's URL").into()),
        };
        let store = match self.store {
            Some(store) => store,
            None => Arc::new(RedbStore::open(&folder).await?),
        };
        let journal = Journal::new(store);
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let counsel = Counsel::new(port, pinned.clone(), journal.clone(), self.retry);
        Ok(Client(Arc::new(Inner {
            pinned,
            identity,
            folder,
            journal,
            clock,
            counsel,
            approver: self.approver.unwrap_or_else(|| Arc::new(Unattended)),
            settings: self.settings,
            active: Mutex::new(BTreeMap::new()),
        })))
    }

    /// Uses a journal in memory: for tests and for deals that need not survive the process.
    #[must_use]
    pub fn in_memory(self) -> Self {
        self.journal(Arc::new(MemoryStore::default()))
    }
}

/// One party. Cheap to clone; every clone is the same party.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub pinned: ArbiterIdentity,
    pub identity: Identity,
    pub folder: PathBuf,
    pub journal: Journal,
    pub clock: Arc<dyn Clock>,
    pub counsel: Counsel,
    pub settings: Settings,
    approver: Arc<dyn Approver>,
    active: Mutex<BTreeMap<ExchangeId, Arc<Notify>>>,
}

impl Client {
    /// Starts putting a client together.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Who we are.
    pub fn party(&self) -> Party {
        self.0.identity.party()
    }

    /// The pinned arbiter.
    pub fn arbiter(&self) -> &ArbiterIdentity {
        &self.0.pinned
    }

    /// Signs an offer and keeps it; nothing is sent until [`Client::run`]. `file` is the file that we give,
    /// if our item is one.
    pub async fn offer(&self, terms: OfferTerms, file: Option<&Path>) -> Result<ExchangeId, Error> {
        let selection = select(&terms.originator_item.properties, &terms.responder_item.properties)
            .map_err(Usage::Unfair)?;
        let offer = Offer {
            nonce: random::bytes()?,
            originator: self.party(),
            responder: terms.responder,
            arbiter: self.0.pinned.clone(),
            originator_item: terms.originator_item,
            responder_item: terms.responder_item,
            selection,
            complain_by: terms.complain_by,
        };
        offer.check().map_err(Usage::Terms)?;
        let own_file = self.own_file(&offer.originator_item, file).await?;
        let exchange_id = ExchangeId::from_bytes(*digest_of(&offer).as_bytes());
        if !self.0.approver.approve(&offer, exchange_id, Role::Originator).await {
            return Err(Usage::NotApproved.into());
        }
        let offer = Verified::sign(offer, self.0.identity.signer());
        // What the peer will refuse to read must not be sent: read it as the peer will.
        let offer = Signed::<Offer>::parse(offer.envelope().clone())
            .map_err(Usage::Field)?
            .verify_offer()
            .map_err(|_| Error::Bug("an offer of ours does not verify"))?;
        let step = Session::open(offer, self.0.settings.timing);
        let record = Record::new(step.next, own_file, self.0.clock.now());
        self.0.journal.put(&record).await?;
        Ok(record.session.exchange_id())
    }

    /// Checks an offer that came from somewhere: well formed, signed, by the rules, for us, and under the
    /// arbiter pinned here. Signs nothing.
    pub fn review(&self, offer: Envelope) -> Result<Verified<Offer>, Error> {
        let offer = Signed::<Offer>::parse(offer).map_err(PeerFault::from)?;
        if offer.unverified().arbiter != self.0.pinned {
            return Err(PeerFault::OtherArbiter.into());
        }
        if offer.unverified().responder != self.party() {
            return Err(PeerFault::NotForUs.into());
        }
        Ok(offer.verify_offer().map_err(PeerFault::from)?)
    }

    /// Waits for an offer on a connection, and reviews it.
    pub async fn next_offer(&self, transport: &mut dyn Transport) -> Result<Verified<Offer>, Error> {
        loop {
            match transport.next(Want::Events).await {
                Event::Closed => return Err(PeerFault::NoOffer.into()),
                Event::Message(PeerMessage::Statement(envelope))
                    if envelope.payload_type() == Offer::TYPE =>
                {
                    return self.review(envelope);
                }
                Event::Connected | Event::Lost | Event::Message(_) | Event::Room => {}
            }
        }
    }

    /// Tells the peer that its offer is not wanted. A courtesy: saying nothing is as good.
    pub async fn decline(&self, transport: &mut dyn Transport, reason: &str) {
        // Not delivered is as good as not said.
        let _ = transport.send(PeerMessage::Declined(reason.to_owned()));
        transport.close().await;
    }

    /// Signs the acceptance and keeps it; nothing is sent until [`Client::run`]. `file` is the file that we
    /// give, if our item is one. An offer accepted before is not signed again.
    pub async fn accept(&self, offer: &Verified<Offer>, file: Option<&Path>) -> Result<ExchangeId, Error> {
        let offer = self.review(offer.envelope().clone())?;
        let exchange_id = offer.exchange_id();
        if self.0.journal.find(&exchange_id).await?.is_some() {
            return Err(Usage::Known(exchange_id).into());
        }
        let own_file = self.own_file(&offer.responder_item, file).await?;
        if !self.0.approver.approve(&offer, exchange_id, Role::Responder).await {
            return Err(Usage::NotApproved.into());
        }
        let acceptance =
            Verified::sign(Acceptance { exchange_id, nonce: random::bytes()? }, self.0.identity.signer());
        let agreement = Agreement::join(offer, acceptance)
            .map_err(|_| Error::Bug("an acceptance of ours does not fit its offer"))?;
        let now = self.0.clock.now();
        let step = Session::accept(agreement, now, self.0.settings.timing).map_err(|_| PeerFault::TooLate)?;
        let mut record = Record::new(step.next, own_file, now);
        record.sign_transfer(self.0.identity.signer());
        self.0.journal.put(&record).await?;
        Ok(exchange_id)
    }

    /// Carries an exchange to its end.
    ///
    /// Waits for the peer as long as it makes progress, then turns to the arbiter. [`Error::Retry`] means that
    /// the arbiter is out of reach too; the journal keeps the place. Dropping the future is a crash: it is safe.
    pub async fn run(&self, id: ExchangeId, transport: &mut dyn Transport) -> Result<Outcome, Error> {
        let active = self.activate(id)?;
        let record = self.record(&id).await?;
        Driver::new(&self.0, record, transport, active.stop.clone()).run().await
    }

    /// Goes on after a crash, a restart or an error. The same as [`Client::run`]; a finished exchange tells
    /// the peer once more what it may have missed.
    pub async fn resume(&self, id: ExchangeId, transport: &mut dyn Transport) -> Result<Outcome, Error> {
        self.run(id, transport).await
    }

    /// Stops waiting for the peer and turns to the arbiter, without any connection to the peer.
    ///
    /// The second sender of a protocol with a deadline may not abort before it; then this waits until then.
    pub async fn complain(&self, id: ExchangeId) -> Result<Outcome, Error> {
        let active = self.activate(id)?;
        let record = self.record(&id).await?;
        active.stop.notify_one();
        Driver::new(&self.0, record, &mut Nobody, active.stop.clone()).run().await
    }

    /// Tells a call of [`Client::run`] on the same client to stop waiting for the peer. Whether there is one.
    pub fn stop_waiting(&self, id: ExchangeId) -> bool {
        let active = self.0.active();
        active.get(&id).inspect(|stop| stop.notify_one()).is_some()
    }

    /// Asks the arbiter for the verdict on an exchange, if there is one, and compares it with everything that
    /// it said before. Never causes a verdict.
    pub async fn query(&self, id: ExchangeId) -> Result<Option<Verified<Verdict>>, Error> {
        let record = self.record(&id).await?;
        match self.0.counsel.query(&record, &self.0.identity).await {
            Ok(Answer { result: Answered::Ruled(verdict, _), .. }) => Ok(Some(verdict)),
            Ok(_) => Err(Error::Bug("a query was answered by something else")),
            Err(Error::Arbiter { reason: Reason::VerdictNotFound, .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// How far an exchange has come.
    pub async fn status(&self, id: ExchangeId) -> Result<Status, Error> {
        Ok(self.record(&id).await?.status())
    }

    /// Every exchange in the journal, in order of their ids.
    pub async fn list(&self) -> Result<Vec<Status>, Error> {
        Ok(self.0.journal.list().await?.iter().map(Record::status).collect())
    }

    /// What the arbiter was caught at.
    pub async fn misbehaviours(&self) -> Result<Vec<Misbehaviour>, Error> {
        Ok(self.0.journal.misbehaviours().await?)
    }

    async fn record(&self, id: &ExchangeId) -> Result<Record, Error> {
        let record = self.0.journal.find(id).await?.ok_or(Usage::UnknownExchange(*id))?;
        Ok(record.with_timing(self.0.settings.timing))
    }

    fn activate(&self, id: ExchangeId) -> Result<Active<'_>, Error> {
        let stop = Arc::new(Notify::new());
        let mut active = self.0.active();
        if active.contains_key(&id) {
            return Err(Usage::Busy(id).into());
        }
        active.insert(id, stop.clone());
        Ok(Active { inner: &self.0, id, stop })
    }

    /// The file that we give, checked against what the offer says.
    async fn own_file(&self, item: &Item, file: Option<&Path>) -> Result<Option<PathBuf>, Error> {
        match (&item.description, file) {
            (Description::Information(described), Some(file)) => {
                items::check_file(file, described).await?;
                let absolute = std::path::absolute(file).map_err(|error| Error::file(file, error))?;
                Ok(Some(absolute))
            }
            (Description::Information(_), None) => {
                Err(Usage::Content("the item to give is a file: name it").into())
            }
            (Description::Signature(_), Some(_)) => {
                Err(Usage::Content("the item to give is a signature: there is no file to send").into())
            }
            (Description::Signature(_), None) => Ok(None),
        }
    }
}

impl Inner {
    fn active(&self) -> MutexGuard<'_, BTreeMap<ExchangeId, Arc<Notify>>> {
        // Held for single map operations that do not panic.
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks an exchange as being carried out, until dropped.
struct Active<'a> {
    inner: &'a Inner,
    id: ExchangeId,
    stop: Arc<Notify>,
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.inner.active().remove(&self.id);
    }
}
