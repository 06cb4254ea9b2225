//! The network face: the services of `proto/arbiter/v1`, health and reflection on one listener.
//!
//! ```text
//!  TCP ─▶ room? ─▶ TLS ─▶ gate ─┬─ ArbiterService ────┬─▶ engine
//!                               ├─ EvidenceLogService ┘
//!                               ├─ LedgerService ─────────▶ ledger    in a server of its own
//!                               ├─ grpc.health.v1                     not counted by the gate, but their
//!                               └─ grpc.reflection.v1, v1alpha        connections and streams are limited
//!  TCP ─▶ room? ─▶ TLS ─▶ HTTP/1.1 or 2 ─▶ crate::publish::http       in a server of its own
//! ```
//!
//! [`Server::start`], for a ledger [`Server::start_ledger`], is all that the program, the tests and the benches need: it serves any store on any
//! listener and ends with [`Server::stop`].
//!
//! Invariants
//! - `tonic` is named in this module only, and where other services are called: `modules`.
//! - A case is verified where its request is served: a tenth of a millisecond of signatures, bounded by the
//!   sizes and counts of the gate; handing it to another thread and back costs more than it spares.
//! - Deposits, reads of the log, which may wait for a disk, and openings of escrows run on worker threads.
//! - A message larger than [`MESSAGE_BYTES`] is refused before it is read into memory.

pub mod deposit;
pub mod gate;
mod incoming;
pub mod ledger;
mod log;
mod pace;
mod service;
pub mod shutdown;
pub mod status;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::limits;
use arbiter_protocol::message::succession::SignedSuccession;
use arbiter_protocol::message::wire;
use arbiter_protocol::wire::DESCRIPTORS;
use arbiter_protocol::wire::arbiter as proto;
use arbiter_protocol::wire::arbiter::arbiter_service_server::ArbiterServiceServer;
use arbiter_protocol::wire::arbiter::evidence_log_service_server::EvidenceLogServiceServer;
use arbiter_protocol::wire::ledger::ledger_service_server::LedgerServiceServer;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::service::Routes;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::anchors::Anchors;
use crate::engine::Handle;
use crate::modules::{About, Listed, Modules, Power};
use crate::publish::Published;
use gate::Gate;
use incoming::Incoming;
use pace::Pace;

/// Largest message that is read: a case of three envelopes and two escrows, or a chunk, and room for later fields.
pub const MESSAGE_BYTES: usize = 256 * 1024;
const _: () = assert!(3 * limits::ENVELOPE_BYTES + 2 * limits::ESCROW_BYTES + 1024 < MESSAGE_BYTES);
const _: () = assert!(limits::CHUNK_BYTES < MESSAGE_BYTES);

/// Largest block of headers. Ours are a few hundred bytes.
const HEADER_BYTES: u32 = 16 * 1024;
/// A connection over which nothing comes is asked after this long whether somebody is there …
const KEEPALIVE: Duration = Duration::from_secs(60);
/// … and must answer within this, as a TLS handshake must end within it.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the API is served.
#[derive(Clone, Debug)]
pub struct Api {
    /// What the operator promises, in words.
    pub terms: String,
    /// What is declared, as the log has its hash (R-535).
    pub policy: String,
    /// Who this arbiter was before, and who goes on for it (R-537).
    pub successions: Vec<SignedSuccession>,
    /// Largest item that is taken as a deposit.
    pub max_deposit_bytes: u64,
    /// Room for all deposits and signatures out of escrow together, in bytes.
    pub max_total_deposit_bytes: u64,
    /// Connections at one time; more are closed at once.
    pub max_connections: u32,
    /// Requests served at one time.
    pub max_requests: u32,
    /// Of these, deposits on their way in, and as many on their way out.
    pub max_uploads: u32,
    /// Requests at one time on one connection.
    pub max_streams: u32,
    /// How long a request, or a pause in a deposit, may last.
    pub request_timeout: Duration,
    /// How fast a deposit must move, in or out, after a first `request_timeout`.
    pub min_bytes_per_second: u64,
    /// How long requests in flight may last while draining.
    pub drain: Duration,
    /// The payment rails that this arbiter reaches.
    pub modules: Arc<Modules>,
    /// How long a hold must outlast `complain_by`.
    pub hold_allowance: Duration,
    /// The published checkpoint, if there is one: proofs are made under it.
    pub published: Option<Published>,
    /// The time-stamps that are kept, if any can be: evidence carries them.
    pub anchors: Option<Arc<Anchors>>,
    /// TLS; without it plaintext.
    pub tls: Option<Tls>,
}

impl Default for Api {
    /// Plaintext, limits as in the default configuration.
    fn default() -> Self {
        Self {
            terms: String::new(),
            policy: String::new(),
            successions: Vec::new(),
            max_deposit_bytes: 1 << 30,
            max_total_deposit_bytes: 64 << 30,
            max_connections: 384,
            max_requests: 1024,
            max_uploads: 256,
            max_streams: 256,
            request_timeout: Duration::from_secs(30),
            min_bytes_per_second: 32 * 1024,
            drain: Duration::from_secs(10),
            modules: Arc::default(),
            hold_allowance: Duration::from_secs(60 * 60),
            published: None,
            anchors: None,
            tls: None,
        }
    }
}

/// How a server of any kind is reached.
#[derive(Clone, Debug)]
pub struct Transport {
    /// Connections at one time; more are closed at once.
    pub max_connections: u32,
    /// Requests served at one time.
    pub max_requests: u32,
    /// Requests at one time on one connection.
    pub max_streams: u32,
    /// How long a request may last.
    pub request_timeout: Duration,
    /// How long requests in flight may last while draining.
    pub drain: Duration,
    /// TLS; without it plaintext.
    pub tls: Option<Tls>,
}

impl Default for Transport {
    /// Plaintext, limits as in the default configuration.
    fn default() -> Self {
        Api::default().transport()
    }
}

impl From<Api> for Transport {
    fn from(api: Api) -> Self {
        api.transport()
    }
}

impl Api {
    /// The part that every server has.
    fn transport(&self) -> Transport {
        Transport {
            max_connections: self.max_connections,
            max_requests: self.max_requests,
            max_streams: self.max_streams,
            request_timeout: self.request_timeout,
            drain: self.drain,
            tls: self.tls.clone(),
        }
    }
}

/// TLS material as PEM. It has no `Debug` that shows the key.
#[derive(Clone)]
pub struct Tls {
    /// Certificate chain.
    pub cert: Vec<u8>,
    /// Its secret key.
    pub key: Vec<u8>,
    /// Authority that clients must show a certificate of.
    pub client_ca: Option<Vec<u8>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("client_ca", &self.client_ca.is_some()).finish_non_exhaustive()
    }
}

impl Tls {
    /// Whether a server could be started with it.
    pub fn check(&self) -> Result<(), ServeError> {
        tonic::transport::Server::builder().tls_config(self.config()).map(drop).map_err(ServeError::tls)
    }

    fn config(&self) -> ServerTlsConfig {
        let config =
            ServerTlsConfig::new().identity(Identity::from_pem(&self.cert, &self.key)).timeout(PATIENCE);
        match &self.client_ca {
            None => config,
            Some(ca) => config.client_ca_root(Certificate::from_pem(ca)),
        }
    }
}

/// Serving failed. The operator or the machine is at fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The TLS material cannot be used.
    #[error("TLS certificate, key or client CA cannot be used: {0}")]
    Tls(String),
    /// The listener failed.
    #[error("serving failed: {0}")]
    Transport(String),
}

impl ServeError {
    fn tls(error: tonic::transport::Error) -> Self {
        Self::Tls(causes(&error))
    }
}

/// What both services share. Clones are the same service.
#[derive(Clone)]
pub(crate) struct Service(Arc<Shared>);

struct Shared {
    api: Api,
    engine: Handle,
    gate: Gate,
    log_key: VerifierKey,
    /// Room for those who wait for witnesses: they must not keep others out.
    waiting: Semaphore,
    first_leaf: u64,
}

impl Service {
    fn engine(&self) -> &Handle {
        &self.0.engine
    }

    fn anchors(&self) -> Option<&Arc<Anchors>> {
        self.0.api.anchors.as_ref()
    }

    fn published(&self) -> Option<&Published> {
        self.0.api.published.as_ref()
    }

    fn verifier_key(&self) -> &VerifierKey {
        &self.0.log_key
    }

    fn waiting(&self) -> &Semaphore {
        &self.0.waiting
    }

    fn request_timeout(&self) -> Duration {
        self.0.api.request_timeout
    }

    fn max_deposit_bytes(&self) -> u64 {
        self.0.api.max_deposit_bytes
    }

    fn max_total_deposit_bytes(&self) -> u64 {
        self.0.api.max_total_deposit_bytes
    }

    fn modules(&self) -> &Modules {
        &self.0.api.modules
    }

    /// Full patience with a peer that sends or takes a deposit.
    fn pace(&self) -> Pace {
        Pace::new(self.0.api.request_timeout, self.0.api.min_bytes_per_second)
    }

    /// Who this arbiter is and what it takes.
    fn info(&self) -> proto::GetArbiterInfoResponse {
        let Shared { api, log_key, engine, .. } = &*self.0;
        let arbiter = &engine.desk().arbiter;
        proto::GetArbiterInfoResponse {
            key: arbiter.key.to_vec(),
            log_key: log_key.to_string(),
            log_origin: arbiter.log_origin.to_string(),
            rules: arbiter.rules.clone(),
            terms: api.terms.clone(),
            policy: api.policy.clone(),
            successions: api.successions.iter().map(succession).collect(),
            limits: Some(proto::Limits {
                deposit_bytes: api.max_deposit_bytes.min(api.max_total_deposit_bytes),
                chunk_bytes: u32::try_from(limits::CHUNK_BYTES).unwrap_or(u32::MAX),
                statement_bytes: u32::try_from(limits::STATEMENT_BYTES).unwrap_or(u32::MAX),
                hold_allowance_millis: u64::try_from(api.hold_allowance.as_millis()).unwrap_or(u64::MAX),
            }),
            clock: engine.now().0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            escrow_epochs: self.escrow_epochs(),
            ledgers: api.modules.keys().map(|key| key.to_vec()).collect(),
            modules: api.modules.listed().map(listed).collect(),
        }
    }

    /// R-412: every key that can open now, ascending. Signed when they were loaded.
    fn escrow_epochs(&self) -> Vec<wire::Envelope> {
        let engine = self.engine();
        engine.escrow_keys().published(engine.now()).map(|epoch| epoch.envelope().to_wire()).collect()
    }

    /// The counters of the gate, then what the engine did since the start.
    fn counters(&self) -> Vec<proto::Counter> {
        let leaves = self.engine().log_size().saturating_sub(self.0.first_leaf);
        let counted = self.engine().counters();
        let (anchors, anchors_failed) = self.anchors().map_or((0, 0), |it| it.counts());
        let more = [
            ("anchors", anchors),
            ("anchors_failed", anchors_failed),
            ("escrows_false", counted.escrows_false),
            ("escrows_opened", counted.escrows_opened),
            ("leaves", leaves),
            ("orders_answered", counted.orders_answered),
            ("read_only", u64::from(self.engine().read_only().is_some())),
            ("refused_read_only", counted.refused_read_only),
            ("scrubbed_leaves", counted.scrubbed),
        ];
        let more = more.map(|(name, value)| (name.to_owned(), value));
        let counters = self.0.gate.counters().into_iter().chain(more);
        counters.map(|(name, value)| proto::Counter { name, value }).collect()
    }
}

fn succession(it: &SignedSuccession) -> proto::Succession {
    proto::Succession { by_old: Some(it.by_old().to_wire()), by_new: Some(it.by_new().to_wire()) }
}

/// A running server.
pub struct Server {
    address: SocketAddr,
    gate: Gate,
    health: HealthReporter,
    services: &'static [&'static str],
    drain: Duration,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Server {
    /// Serves `engine` on `listener`, until [`Server::stop`]. The engine stays the caller's.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use arbiter::clock::SystemClock;
    /// use arbiter::engine::Engine;
    /// use arbiter::grpc::{Api, Server};
    /// use arbiter::keys::{Keys, Seeds};
    /// use arbiter::store::mem::MemStore;
    /// use arbiter_protocol::evidence::checkpoint::Origin;
    /// use arbiter_protocol::{ids::Digest, ruling::sequencer::Desk, time::DurationMillis};
    ///
    /// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
    /// let seed = |byte| zeroize::Zeroizing::new([byte; 32]);
    /// let keys = Keys::from_seeds(&Seeds { arbiter: seed(1), log: seed(2), veil: seed(3) });
    /// let arbiter = keys.identity(Origin::parse("arbiter.example/evidence")?);
    /// let store = Arc::new(MemStore::new(&arbiter, keys.vault())?);
    /// let desk = Desk { arbiter, build: Digest::of(&[b"build"]), clock_uncertainty: DurationMillis(1000) };
    /// let engine = Engine::start(desk, keys, store, Box::new(SystemClock))?;
    ///
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    /// let server = Server::start(Api::default(), listener, engine.clone()).await?;
    /// println!("arbiter at http://{}", server.address());
    /// server.stop().await?;
    /// engine.stop().await;
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn start(api: Api, listener: TcpListener, engine: Handle) -> Result<Self, ServeError> {
        let gate = Gate::new(api.max_requests, api.max_uploads, api.request_timeout);
        let arbiter = engine.desk().arbiter.clone();
        let log_key = VerifierKey::new(arbiter.log_origin.as_str(), arbiter.log_key)
            .expect("invariant: the log's own key and origin are well formed");
        let transport = api.transport();
        let service = Service(Arc::new(Shared {
            waiting: Semaphore::new(usize::try_from(api.max_requests / 4).unwrap_or(1)),
            log_key,
            first_leaf: engine.log_size(),
            gate: gate.clone(),
            api,
            engine,
        }));
        let parties = ArbiterServiceServer::new(service.clone()).max_decoding_message_size(MESSAGE_BYTES);
        let log = EvidenceLogServiceServer::new(service).max_decoding_message_size(MESSAGE_BYTES);
        Self::launch(transport, listener, gate, &SERVICES, Routes::new(parties).add_service(log)).await
    }

    /// Serves a ledger on `listener`, until [`Server::stop`]. The ledger stays the caller's.
    pub async fn start_ledger(
        transport: Transport,
        listener: TcpListener,
        ledger: crate::ledger::Handle,
    ) -> Result<Self, ServeError> {
        let gate = Gate::of(&ledger::METHODS, transport.max_requests, 1, transport.request_timeout);
        let service = LedgerServiceServer::new(ledger::Service::new(ledger));
        let routes = Routes::new(service.max_decoding_message_size(MESSAGE_BYTES));
        Self::launch(transport, listener, gate, &ledger::SERVICES, routes).await
    }

    /// Serves plain HTTP on `listener`, until [`Server::stop`]. The router bounds its requests by itself.
    pub async fn start_http(
        transport: Transport,
        listener: TcpListener,
        router: axum::Router,
    ) -> Result<Self, ServeError> {
        let gate = Gate::of(&[], 1, 1, transport.request_timeout);
        let (health, _) = tonic_health::server::health_reporter();
        let taken_within = Some(transport.request_timeout);
        Self::spawn(transport, listener, gate, (health, &[]), Routes::from(router), taken_within)
    }

    /// Serves `routes` behind `gate`, and beside them health and reflection of the `services` among them.
    async fn launch(
        transport: Transport,
        listener: TcpListener,
        gate: Gate,
        services: &'static [&'static str],
        routes: Routes,
    ) -> Result<Self, ServeError> {
        let failed = |error: &dyn std::error::Error| ServeError::Transport(error.to_string());
        let (health, health_service) = tonic_health::server::health_reporter();
        for name in services {
            health.set_service_status(*name, ServingStatus::Serving).await;
        }
        let routes = routes
            .add_service(health_service)
            .add_service(reflection(services).build_v1().map_err(|error| failed(&error))?)
            .add_service(reflection(services).build_v1alpha().map_err(|error| failed(&error))?);
        Self::spawn(transport, listener, gate, (health, services), routes, None)
    }

    /// Serves. With `taken_within` it is HTTP/1.1, too, and a response that is not taken within that time ends its connection.
    fn spawn(
        transport: Transport,
        listener: TcpListener,
        gate: Gate,
        (health, services): (HealthReporter, &'static [&'static str]),
        routes: Routes,
        taken_within: Option<Duration>,
    ) -> Result<Self, ServeError> {
        let address = listener.local_addr().map_err(|error| ServeError::Transport(error.to_string()))?;
        let mut builder = tonic::transport::Server::builder();
        let incoming = Incoming::new(listener, transport.max_connections, taken_within);
        let (stop, stopped) = oneshot::channel();
        let stopped = async move {
            // A dropped `Server` stops as well.
            let _ = stopped.await;
        };
        if let (Some(tls), None) = (&transport.tls, taken_within) {
            builder = builder.tls_config(tls.config()).map_err(ServeError::tls)?;
        }
        let router = builder
            .accept_http1(taken_within.is_some())
            .max_concurrent_streams(transport.max_streams)
            .http2_max_header_list_size(HEADER_BYTES)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(PATIENCE))
            .layer(gate.clone())
            .add_routes(routes);
        let task = match transport.tls.as_ref().filter(|_| taken_within.is_some()) {
            None => tokio::spawn(router.serve_with_incoming_shutdown(incoming, stopped)),
            Some(tls) => {
                let handshakes = tls::Handshakes::new(incoming, tls)?;
                tokio::spawn(router.serve_with_incoming_shutdown(handshakes, stopped))
            }
        };
        let drain = transport.drain;
        Ok(Self { address, gate, health, services, drain, stop, task })
    }

    /// Where the server listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says NOT_SERVING for rulings only: the log can still be read (R-523).
    pub async fn read_only(&self) {
        self.health.set_service_status(RULINGS, ServingStatus::NotServing).await;
    }

    /// Says NOT_SERVING and refuses new requests with reason DRAINING. Those in flight go on.
    pub async fn refuse_new(&self) {
        for name in self.services.iter().copied().chain([""]) {
            self.health.set_service_status(name, ServingStatus::NotServing).await;
        }
        self.gate.close();
    }

    /// Refuses new requests, gives those in flight their time, then closes every connection. The engine is
    /// the caller's: it is stopped after this.
    pub async fn stop(self) -> Result<(), ServeError> {
        self.refuse_new().await;
        if tokio::time::timeout(self.drain, self.gate.empty()).await.is_err() {
            tracing::warn!("requests in flight took longer than the drain time and are cut off");
        }
        let _ = self.stop.send(());
        let mut task = self.task;
        match tokio::time::timeout(FAREWELL, &mut task).await {
            Ok(Ok(served)) => served.map_err(|error| ServeError::Transport(causes(&error))),
            Ok(Err(panicked)) => Err(ServeError::Transport(panicked.to_string())),
            Err(_) => {
                // Health watches and connections cut off above: they end with the process.
                task.abort();
                Ok(())
            }
        }
    }

    /// Ends only if serving fails by itself.
    pub async fn failed(&mut self) -> ServeError {
        match (&mut self.task).await {
            Ok(Ok(())) => ServeError::Transport("the listener was closed".to_owned()),
            Ok(Err(error)) => ServeError::Transport(causes(&error)),
            Err(panicked) => ServeError::Transport(panicked.to_string()),
        }
    }
}

/// A payment module as it is published: what it said, if it is usable.
fn listed(Listed { key, kind, about }: Listed) -> proto::Module {
    let can = |power| about.as_ref().is_some_and(|about| about.can(power));
    let [can_verify, can_revoke, can_generate] = [Power::Verify, Power::Revoke, Power::Generate].map(can);
    let currencies = about.iter().flat_map(|about| &about.currencies).map(|it| proto::ModuleCurrency {
        code: it.currency.code().to_owned(),
        scale: it.currency.scale().into(),
        least_units: it.least,
        most_units: it.most,
    });
    let (key, ready, currencies) = (key.to_vec(), about.is_some(), currencies.collect());
    let (name, longest_hold_millis) =
        about.map_or_else(Default::default, |About { name, longest_hold, .. }| (name, longest_hold.0));
    proto::Module {
        key,
        kind,
        name,
        ready,
        can_verify,
        can_revoke,
        can_generate,
        currencies,
        longest_hold_millis,
    }
}

/// The services whose health is reported one by one.
const SERVICES: [&str; 2] = [RULINGS, "arbiter.v1.EvidenceLogService"];
const RULINGS: &str = "arbiter.v1.ArbiterService";

/// After draining, connections get this long to close: nothing is in flight on them any more.
const FAREWELL: Duration = Duration::from_millis(500);

/// Reflection of what is served; the descriptors hold more, such as the peers' own protocol.
fn reflection(services: &[&'static str]) -> tonic_reflection::server::Builder<'static> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    services
        .iter()
        .copied()
        .chain(["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"])
        .fold(builder, |builder, name| builder.with_service_name(name))
}

/// Runs a blocking function on a worker thread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(status::stopped()),
    }
}

/// All causes of an error in one line: the gRPC library says only "transport error" by itself.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
