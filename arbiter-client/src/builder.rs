//! Putting a client together, and its settings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbiter_protocol::crypto::Signer;
use arbiter_protocol::exchange::selection::{Protocol, Role};
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::{ArbiterIdentity, Offer};
use arbiter_protocol::message::escrow_epoch::EscrowEpoch;
use arbiter_protocol::role::{Ask, Session, Timing};
use arbiter_protocol::statement::Verified;
use arbiter_protocol::time::{DurationMillis, UnixMillis};

use crate::arbiter::counsel::Counsel;
use crate::arbiter::{ArbiterPort, Retry, upload_time};
use crate::client::{Approver, Client, Identity, Inner, Unattended};
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, MoneyFault, PeerFault, Usage};
use crate::journal::{Journal, MemoryStore, RedbStore, Store};
use crate::ledger::till::Till;
use crate::ledger::{LedgerPort, Powers};
use crate::module::manager::Managers;
use crate::module::{Detached, Files, LedgerPurse, Module, Replacement, Service};
use crate::signing::Algorithm;

/// Largest deposit of an arbiter that says nothing else: the default of the service, 1 GiB.
pub const DEPOSIT_LIMIT: u64 = 1 << 30;

/// Puts a [`Client`] together.
#[derive(Default)]
pub struct ClientBuilder {
    arbiter: Option<String>,
    arbiter_ca: Option<Vec<u8>>,
    port: Option<Arc<dyn ArbiterPort>>,
    arbiter_identity: Option<ArbiterIdentity>,
    epoch: Option<Verified<EscrowEpoch>>,
    identity: Option<Identity>,
    folder: Option<PathBuf>,
    store: Option<Arc<dyn Store>>,
    clock: Option<Arc<dyn Clock>>,
    approver: Option<Arc<dyn Approver>>,
    reached: Option<Vec<Powers>>,
    ledgers: BTreeMap<PublicKey, Arc<dyn LedgerPort>>,
    accounts: BTreeMap<PublicKey, Arc<dyn Signer>>,
    modules: Vec<Arc<dyn Module>>,
    only: BTreeSet<Service>,
    retry: Retry,
    settings: Settings,
}

/// How patient a party is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub patience: Duration,
    pub linger: Duration,
    pub timing: Timing,
    pub deposit_limit: u64,
    pub hold_allowance: DurationMillis,
    pub ledger_retry: Retry,
    pub module_time: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(60),
            linger: Duration::from_secs(10),
            timing: Timing { complain_margin: DurationMillis(30_000) },
            deposit_limit: DEPOSIT_LIMIT,
            hold_allowance: limits::HOLD_MARGIN,
            ledger_retry: Retry::default(),
            module_time: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// The timing of the party in `role`: who may have to deposit a file keeps the time to upload it as well.
    pub(crate) fn timing_for(&self, offer: &Offer, role: Role) -> Timing {
        let upload = upload_time(deposit(offer, role).unwrap_or(0));
        let margin = self.timing.complain_margin.0.saturating_add(upload.0);
        Timing { complain_margin: DurationMillis(margin) }
    }

    /// When a claim is too late for certain, also by a clock that differs.
    pub(crate) fn claim_over(&self, session: &Session, ask: Ask) -> Option<UnixMillis> {
        let margin = self.timing_for(session.offer(), session.role()).complain_margin;
        let by = match ask {
            Ask::Complain | Ask::Revoke => session.offer().complain_by,
            Ask::Deposit => session.offer().send_by,
            // P1 with reserved money.
            Ask::Resolve if session.protocol() == Protocol::ContractSigning => session.offer().complain_by,
            Ask::Abort | Ask::Fetch | Ask::Resolve => None,
        };
        by.map(|by| by.after(margin))
    }

    /// R5: a hold outlasts the arbiter's last decision by what its orders need to reach the ledger.
    pub(crate) fn check_holds(&self, offer: &Offer) -> Result<(), MoneyFault> {
        let payments = Role::BOTH.into_iter().flat_map(|role| offer.item(role).description.payments());
        for (hold, decide_by) in payments.filter_map(|payment| payment.hold.zip(offer.complain_by)) {
            if hold.until < decide_by.after(self.hold_allowance) {
                let (until, allowance_ms) = (hold.until, self.hold_allowance.0);
                return Err(MoneyFault::HoldTooShort { until, decide_by, allowance_ms });
            }
        }
        Ok(())
    }

    /// Refuses to offer what we send first so late that it could never leave.
    pub(crate) fn check_deadline(&self, offer: &Offer, role: Role, now: UnixMillis) -> Result<(), Usage> {
        let Some(seconds) = self.time_missing(offer, role, now) else { return Ok(()) };
        match offer.complain_by {
            _ if offer.selection.first_sender != role && !in_time_too(offer) => Ok(()),
            Some(_) => Err(Usage::DeadlineTooClose(seconds)),
            None => Err(Usage::EscrowEndsTooSoon(seconds)),
        }
    }

    /// Refuses to accept so late that there would be no time to turn to the arbiter.
    pub(crate) fn has_time(&self, offer: &Offer, role: Role, now: UnixMillis) -> Result<(), PeerFault> {
        match self.time_missing(offer, role, now) {
            Some(_) => Err(PeerFault::too_late(offer)),
            None => Ok(()),
        }
    }

    /// How many seconds must be left until the deadline that comes first, if there are fewer.
    fn time_missing(&self, offer: &Offer, role: Role, now: UnixMillis) -> Option<u64> {
        let margin = self.timing_for(offer, role).complain_margin;
        let late =
            offer.send_by.or_else(|| offer.deadline()).is_some_and(|by| now.after(margin).after(margin) > by);
        late.then(|| margin.0.saturating_mul(2).div_ceil(1000))
    }

    /// Refuses to be bound to give a file that the arbiter would not take: without a deposit there is no
    /// complaint, and the file would be given for nothing (F2).
    pub(crate) fn check_deposit(&self, offer: &Offer, role: Role) -> Result<(), Usage> {
        match deposit(offer, role) {
            Some(size) if size > self.deposit_limit => {
                Err(Usage::TooLargeToComplain { size, limit: self.deposit_limit })
            }
            _ => Ok(()),
        }
    }
}

/// Whether who sends second, too, needs time: to protect itself after it has sent, or to deposit.
const fn in_time_too(offer: &Offer) -> bool {
    !matches!(
        offer.selection.protocol,
        Protocol::Affidavit | Protocol::ContractSigning | Protocol::VerifyThenGenerate
    )
}

/// Size of the file that the party in `role` must deposit in order to be safe, if it may have to.
fn deposit(offer: &Offer, role: Role) -> Option<u64> {
    let first = offer.selection.first_sender == role;
    let deposits = match offer.selection.protocol {
        Protocol::Affidavit | Protocol::VerifyThenGenerate => first,
        Protocol::RevokeOnSilence => !first,
        Protocol::BothDeposited => true,
        Protocol::ContractSigning | Protocol::MutualRollback | Protocol::Transfer => false,
    };
    offer.item(role).description.content_bytes().filter(|_| deposits)
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

    /// The pinned arbiter's newest escrow key, which new offers name. Only who offers an exchange of detached
    /// signatures needs it: an offer that comes brings its own.
    #[must_use]
    pub fn escrow_epoch(mut self, epoch: Verified<EscrowEpoch>) -> Self {
        self.epoch = Some(epoch);
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

    /// Time kept for complaints, beside the time to upload the file that is deposited at
    /// [`UPLOAD_BYTES_PER_SECOND`](crate::arbiter::UPLOAD_BYTES_PER_SECOND). Default: a margin of 30 s.
    #[must_use]
    pub const fn timing(mut self, timing: Timing) -> Self {
        self.settings.timing = timing;
        self
    }

    /// Largest deposit that the arbiter takes: its operator's word, kept with the pin. Default
    /// [`DEPOSIT_LIMIT`]. A larger file of ours is not offered and not accepted where we would send it first:
    /// we could not complain.
    #[must_use]
    pub const fn deposit_limit(mut self, bytes: u64) -> Self {
        self.settings.deposit_limit = bytes;
        self
    }

    /// How long a hold must outlast the last decision: the arbiter's word, kept with the pin. Default
    /// [`limits::HOLD_MARGIN`]. An offer with a shorter hold is neither made nor accepted (R5).
    #[must_use]
    pub const fn hold_allowance(mut self, allowance: DurationMillis) -> Self {
        self.settings.hold_allowance = allowance;
        self
    }

    /// The ledgers that the arbiter reaches, and what it can do there: its word, kept with the pin. Payments that it might have
    /// to undo or to complete and could not are neither offered nor accepted. Default: not known, and not checked.
    #[must_use]
    pub fn arbiter_reaches(mut self, ledgers: Vec<Powers>) -> Self {
        self.reached = Some(ledgers);
        self
    }

    /// A way to the ledger with this key. Without one, no payment there is agreed to.
    #[must_use]
    pub fn ledger(mut self, key: PublicKey, port: Arc<dyn LedgerPort>) -> Self {
        self.ledgers.insert(key, port);
        self
    }

    /// The key of an account of ours: we pay from it, and are paid into it.
    #[must_use]
    pub fn account(mut self, key: Arc<dyn Signer>) -> Self {
        self.accounts.insert(key.public_key(), key);
        self
    }

    /// A module of our own, liked less than those added before and better than those built in. Its limits hold for every
    /// item that is offered or accepted.
    #[must_use]
    pub fn module(mut self, module: Arc<dyn Module>) -> Self {
        self.modules.push(module);
        self
    }

    /// No built-in modules of this service: only those added with [`ClientBuilder::module`]. For who wants to take less
    /// than every file and every format of signatures.
    #[must_use]
    pub fn only_own_modules(mut self, service: Service) -> Self {
        self.only.insert(service);
        self
    }

    /// How long a module may take for one answer, beside the time to read a file. Default 30 s.
    #[must_use]
    pub const fn module_time(mut self, time: Duration) -> Self {
        self.settings.module_time = time;
        self
    }

    /// The built-in modules: accounts on ledgers, the identity's key, and everything that can be taken.
    fn built_in(&self, identity: &Identity) -> Vec<Arc<dyn Module>> {
        let mut all: Vec<Arc<dyn Module>> = Vec::new();
        for (ledger, port) in &self.ledgers {
            let powers = Powers::on(*ledger, self.reached.as_deref());
            for (account, key) in &self.accounts {
                let purse =
                    LedgerPurse::new(format!("account {account}"), *ledger, port.clone(), key.clone());
                all.push(Arc::new(purse.reached(powers)));
            }
        }
        // A key with torsion signs no detached signatures; that it is no honest one is said where it matters.
        let own = Detached::with_signer("identity", identity.shared_signer()).ok();
        let others = Algorithm::ALL.into_iter().filter(|it| own.is_none() || *it != Algorithm::Ed25519);
        let others: Vec<_> = others.map(Detached::takes).collect();
        all.extend(own.into_iter().chain(others).map(|it| -> Arc<dyn Module> { Arc::new(it) }));
        all.push(Arc::new(Replacement));
        all.push(Arc::new(Files::default()));
        all.retain(|it| !self.only.contains(&it.capability().service()));
        all
    }

    /// Opens the journal. Connects to nobody: the arbiter is called only when it is needed.
    pub async fn build(mut self) -> Result<Client, Error> {
        self.settings.ledger_retry = self.retry;
        let pinned = self.arbiter_identity.take().ok_or(Usage::Missing("the arbiter's identity"))?;
        if self.epoch.as_ref().is_some_and(|epoch| epoch.signer() != pinned.key) {
            return Err(Usage::EscrowKeyOfOther.into());
        }
        let identity = self.identity.take().ok_or(Usage::Missing("an identity"))?;
        let own = std::mem::take(&mut self.modules);
        let managers = Managers::new(own, self.built_in(&identity), self.settings.module_time);
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
        let till = Till::new(&managers, self.reached);
        let counsel =
            Counsel::new(port, till.clone(), pinned.clone(), journal.clone(), self.retry, clock.clone());
        Ok(Client(Arc::new(Inner {
            pinned,
            epoch: self.epoch,
            identity,
            folder,
            journal,
            clock,
            counsel,
            till,
            managers,
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
