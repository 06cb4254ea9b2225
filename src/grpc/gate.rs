//! The gate in front of both services: counts, limits, refuses while draining, and gives every error a reason.
//!
//! ```text
//!  request ─▶ count ─▶ draining? ─▶ room? ─▶ service (within its time) ─▶ error without a reason? ─▶ reply
//!                                     └ uploads and fetches: room of their own, too
//! ```
//!
//! Invariants
//! - Every call of a method is counted before anything else happens to it.
//! - At most `maximum` requests are in the service at one time. A request leaves when its reply has been
//!   made and, for streams, sent: see [`Permit`].
//! - At most `transfers` of them are uploads and as many are fetches, the two that last as long as bytes move:
//!   however many are stuck, rulings are answered.
//! - Health and reflection pass: an arbiter that is overloaded or draining can still say so.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

use super::status;

/// Every method that is counted.
const METHODS: [&str; 15] = [
    "/arbiter.v1.ArbiterService/AbortExchange",
    FETCH,
    "/arbiter.v1.ArbiterService/GenerateItem",
    "/arbiter.v1.ArbiterService/GetArbiterInfo",
    "/arbiter.v1.ArbiterService/GetCounters",
    "/arbiter.v1.ArbiterService/GetEvidence",
    "/arbiter.v1.ArbiterService/GetVerdict",
    "/arbiter.v1.ArbiterService/RevokeTransfer",
    UPLOAD,
    "/arbiter.v1.EvidenceLogService/GetCheckpoint",
    "/arbiter.v1.EvidenceLogService/GetConsistencyProof",
    "/arbiter.v1.EvidenceLogService/GetEntry",
    "/arbiter.v1.EvidenceLogService/GetInclusionProof",
    "/arbiter.v1.EvidenceLogService/GetProof",
    "/arbiter.v1.EvidenceLogService/ListEntries",
];

/// The one method that may last as long as bytes arrive; it watches the pauses itself.
const UPLOAD: &str = "/arbiter.v1.ArbiterService/VerifyTransfer";

/// The method whose reply lasts as long as bytes are taken.
const FETCH: &str = "/arbiter.v1.ArbiterService/FetchDeposit";

/// Room for one request. A service that streams its reply keeps it until the stream ends.
#[derive(Clone, Debug)]
pub struct Permit {
    _room: Arc<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>)>,
}

/// The gate. Clones share the counters.
#[derive(Clone, Debug)]
pub struct Gate(Arc<State>);

#[derive(Debug)]
struct State {
    calls: BTreeMap<&'static str, AtomicU64>,
    room: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    fetches: Arc<Semaphore>,
    maximum: u32,
    timeout: Duration,
    draining: AtomicBool,
}

impl Gate {
    /// A gate for at most `maximum` requests at one time, each at most `timeout` long; of these at most
    /// `transfers` uploads and as many fetches.
    pub fn new(maximum: u32, transfers: u32, timeout: Duration) -> Self {
        Self::of(&METHODS, maximum, transfers, timeout)
    }

    /// The same for other methods than the arbiter's: these are counted.
    pub fn of(methods: &[&'static str], maximum: u32, transfers: u32, timeout: Duration) -> Self {
        let room = |count| Arc::new(Semaphore::new(usize::try_from(count).unwrap_or(Semaphore::MAX_PERMITS)));
        Self(Arc::new(State {
            calls: methods.iter().map(|path| (*path, AtomicU64::new(0))).collect(),
            room: room(maximum),
            uploads: room(transfers),
            fetches: room(transfers),
            maximum,
            timeout,
            draining: AtomicBool::new(false),
        }))
    }

    /// `calls/<Method>` and how often it was called, in the order of names.
    pub fn counters(&self) -> Vec<(String, u64)> {
        let mut counters: Vec<_> = self
            .0
            .calls
            .iter()
            .map(|(path, calls)| {
                let method = path.rsplit('/').next().unwrap_or(path);
                (format!("calls/{method}"), calls.load(Ordering::Relaxed))
            })
            .collect();
        counters.sort();
        counters
    }

    /// From now on every call is refused with reason DRAINING.
    pub fn close(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
    }

    /// Waits until no request is in the service any more. Ends only after [`Gate::close`].
    pub async fn empty(&self) {
        // An error would mean a closed semaphore; this one never is.
        let _all = self.0.room.acquire_many(self.0.maximum).await;
    }

    /// Counts a call and lets it in, if there is room.
    fn enter(&self, path: &str) -> Result<Permit, Status> {
        if let Some(calls) = self.0.calls.get(path) {
            calls.fetch_add(1, Ordering::Relaxed);
        }
        let room = self.room(path).ok_or_else(status::overloaded);
        // Asked after the room was taken: `close`, then `empty`, leaves nobody between the two.
        if self.0.draining.load(Ordering::SeqCst) {
            return Err(status::draining());
        }
        Ok(Permit { _room: Arc::new(room?) })
    }

    fn room(&self, path: &str) -> Option<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>)> {
        let enter = |room: &Arc<Semaphore>| Arc::clone(room).try_acquire_owned().ok();
        let transfer = match path {
            UPLOAD => Some(enter(&self.0.uploads)?),
            FETCH => Some(enter(&self.0.fetches)?),
            _ => None,
        };
        Some((enter(&self.0.room)?, transfer))
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { gate: self.clone(), inner }
    }
}

/// A service behind the gate.
#[derive(Clone, Debug)]
pub struct Gated<S> {
    gate: Gate,
    inner: S,
}

impl<S> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        if !path.starts_with("/arbiter.") {
            return Box::pin(self.inner.call(request));
        }
        let upload = path == UPLOAD;
        let permit = match self.gate.enter(path) {
            Ok(permit) => permit,
            Err(status) => return Box::pin(std::future::ready(Ok(status.into_http()))),
        };
        request.extensions_mut().insert(permit.clone());
        let reply = self.inner.call(request);
        let timeout = self.gate.0.timeout;
        Box::pin(async move {
            let _permit = permit;
            let response = if upload {
                reply.await?
            } else {
                match tokio::time::timeout(timeout, reply).await {
                    Ok(response) => response?,
                    Err(_) => status::timed_out(timeout.as_secs()).into_http(),
                }
            };
            let reasoned = match response.extensions().get::<Status>() {
                Some(status) => status::enrich(status),
                // The router's own answer for a path that it does not know.
                None => Status::from_header_map(response.headers()).as_ref().and_then(status::enrich),
            };
            Ok(reasoned.map_or(response, Status::into_http))
        })
    }
}
