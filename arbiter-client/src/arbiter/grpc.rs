//! The arbiter over gRPC. The only file that names its generated client.
//!
//! ```text
//!  connect 5 s ─▶ call ─┬─ answer, whole, within `call`          the line: a ping every 10 s,
//!                       └─ parts sent and fetched, each within `part`      dead after 20 s without pong
//! ```
//!
//! Invariant: no call waits for ever. An arbiter that vanishes, or that only accepts connections, is out of
//! reach; `Counsel` asks again.

use std::collections::VecDeque;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arbiter_protocol::error::{Invalid, Rejected};
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::evidence::policy::Policy;
use arbiter_protocol::evidence::tlog_proof::TlogProof;
use arbiter_protocol::ids::{Digest, PublicKey};
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::message::escrow_epoch::EscrowEpoch;
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::statement::{Envelope, Signed, Verified};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use arbiter_protocol::wire::arbiter as proto;
use arbiter_protocol::wire::arbiter::arbiter_service_client::ArbiterServiceClient;
use arbiter_protocol::wire::arbiter::evidence_log_service_client::EvidenceLogServiceClient;
use async_trait::async_trait;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::arbiter::{ArbiterPort, Deposit, Filing, PortError, Reason, upload_time};
use crate::endpoint::endpoint;
use crate::error::Error;
use crate::ledger::Powers;

/// How long an arbiter may take.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// For a whole call that should take milliseconds.
    call: Duration,
    /// For each part of a deposit, to be taken or to be given.
    part: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { call: Duration::from_secs(20), part: Duration::from_secs(30) }
    }
}

/// Asks a silent line whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(10);
/// A line without an answer to that is dead.
const PONG_WITHIN: Duration = Duration::from_secs(20);
/// A receipt is two statements, evidence with two escrows, and a proof.
const MESSAGE_BYTES: usize = 1 << 19;
const _: () = assert!(2 * limits::ESCROW_BYTES + 6 * limits::ENVELOPE_BYTES < MESSAGE_BYTES);
/// More keys than an arbiter that changes its key every month for a century has.
const ESCROW_EPOCHS: usize = 1200;
/// More ledgers than an arbiter reaches.
const LEDGERS: usize = 1000;
/// Proofs that are kept for who asks for them.
const PROOFS: usize = 1024;
/// Window of a stream: several chunks, so that a deposit does not wait for every acknowledgement.
const WINDOW_BYTES: u32 = 1 << 20;

/// An arbiter at a URL. Connects when first used, and again after a loss.
#[derive(Clone, Debug)]
pub struct GrpcArbiter {
    channel: Channel,
    bounds: Bounds,
    witnessed: Option<Arc<Witnessed>>,
}

/// What the witnesses of a policy vouch for.
#[derive(Debug)]
struct Witnessed {
    policy: Policy,
    /// Verified proofs by leaf, the newest [`PROOFS`].
    proofs: Mutex<VecDeque<(Vec<u8>, String)>>,
}

/// What an arbiter says about itself. To be pinned only after a look at it: nobody vouches for it yet.
#[derive(Clone, Debug)]
pub struct ArbiterInfo {
    /// What agreements name.
    pub identity: ArbiterIdentity,
    /// What the operator promises, in words.
    pub terms: String,
    /// Its clock.
    pub clock: UnixMillis,
    /// Its software.
    pub version: String,
    /// Largest deposit that it takes.
    pub deposit_bytes: u64,
    /// How long a hold on a ledger must outlast `complain_by`: the time that it takes to reach ledgers.
    pub hold_allowance: DurationMillis,
    /// The ledgers that it reaches, and what it can do there. Payments on others it cannot undo.
    pub ledgers: Vec<Powers>,
    /// Every escrow key with which it can open, ascending, each signed by its key. New agreements name the last.
    pub escrow_epochs: Vec<Verified<EscrowEpoch>>,
}

impl GrpcArbiter {
    /// For `http://…`, or `https://…` with the authority (PEM) that the certificate must come from.
    pub fn new(url: &str, ca: Option<Vec<u8>>) -> Result<Self, Error> {
        let endpoint = endpoint(url, ca)?
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_WITHIN)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES);
        Ok(Self { channel: endpoint.connect_lazy(), bounds: Bounds::default(), witnessed: None })
    }

    /// Waits at most this long for any answer, or part of a deposit. Default 20 s, and 30 s for a part. A deposit is
    /// answered after it is durable: its answer gets the time to write it as well.
    #[must_use]
    pub fn answer_within(self, most: Duration) -> Self {
        Self { bounds: Bounds { call: most, part: most }, ..self }
    }

    /// Asks for every ruling to be under a checkpoint that the witnesses of this policy have cosigned. Replies may take some seconds
    /// longer; without witnesses they come all the same. [`ArbiterPort::proof`] has the proof of each of the newest 1,024 that came with one,
    /// and a client keeps it with its evidence.
    #[must_use]
    pub fn witnessed_by(self, policy: Policy) -> Self {
        Self { witnessed: Some(Arc::new(Witnessed { policy, proofs: Mutex::default() })), ..self }
    }

    /// A case, with the assurance that is wanted.
    fn case(&self, filing: &Filing) -> proto::Case {
        let wanted = if self.witnessed.is_some() {
            proto::Assurance::Witnessed
        } else {
            proto::Assurance::Unspecified
        };
        proto::Case { assurance: wanted.into(), ..case(filing) }
    }

    /// A receipt and the proof beside it. A proof that does not verify is no reason to doubt the receipt, which is checked by
    /// itself: it is only left away.
    fn receipt(&self, wire: Option<proto::Receipt>, proof: String) -> Result<Receipt, PortError> {
        let receipt = receipt(wire)?;
        let Some(witnessed) = self.witnessed.as_ref().filter(|_| !proof.is_empty()) else {
            return Ok(receipt);
        };
        let good =
            TlogProof::parse(&proof).is_ok_and(|it| it.verify(&receipt.leaf, &witnessed.policy).is_ok());
        if good {
            let mut proofs = witnessed.proofs.lock().unwrap_or_else(PoisonError::into_inner);
            proofs.retain(|(leaf, _)| *leaf != receipt.leaf);
            proofs.push_back((receipt.leaf.clone(), proof));
            if proofs.len() > PROOFS {
                proofs.pop_front();
            }
        }
        Ok(receipt)
    }

    /// Asks the arbiter who it is, once. What it says is to be compared with its operator's word by another way,
    /// and pinned.
    pub async fn info(&self) -> Result<ArbiterInfo, PortError> {
        let mut service = self.service();
        let wire = self.call(service.get_arbiter_info(proto::GetArbiterInfoRequest {})).await?;
        let field = |field| PortError::Malformed(Invalid::FieldValue { field }.into());
        let log = VerifierKey::parse(&wire.log_key).map_err(|_| field("log_key"))?;
        let key = PublicKey::parse(&wire.key, "key").map_err(|why| PortError::Malformed(why.into()))?;
        Ok(ArbiterInfo {
            escrow_epochs: epochs(wire.escrow_epochs.into_iter().map(Envelope::from_wire), &key)
                .map_err(PortError::Malformed)?,
            identity: ArbiterIdentity {
                key,
                log_key: log.public_key().ok_or_else(|| field("log_key"))?,
                log_origin: Origin::parse(&wire.log_origin).map_err(|_| field("log_origin"))?,
                rules: wire.rules,
            },
            terms: wire.terms,
            clock: UnixMillis(wire.clock),
            version: wire.version,
            deposit_bytes: wire.limits.as_ref().map_or(0, |limits| limits.deposit_bytes),
            hold_allowance: DurationMillis(wire.limits.map_or(0, |limits| limits.hold_allowance_millis)),
            ledgers: ledgers(&wire.ledgers, &wire.modules).map_err(PortError::Malformed)?,
        })
    }

    /// The arbiter's own counters since it started, by name.
    pub async fn counters(&self) -> Result<Vec<(String, u64)>, PortError> {
        let mut service = self.service();
        let answer = self.call(service.get_counters(proto::GetCountersRequest {})).await?;
        Ok(answer.counters.into_iter().map(|counter| (counter.name, counter.value)).collect())
    }

    fn service(&self) -> ArbiterServiceClient<Channel> {
        ArbiterServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES)
    }

    /// A call with one answer, which must be whole in time.
    async fn call<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, PortError> {
        Ok(within(self.bounds.call, call).await?.map_err(port_error)?.into_inner())
    }
}

#[async_trait]
impl ArbiterPort for GrpcArbiter {
    async fn abort(&self, filing: &Filing) -> Result<Receipt, PortError> {
        let request = proto::AbortExchangeRequest { case: Some(self.case(filing)) };
        let answer = self.call(self.service().abort_exchange(request)).await?;
        self.receipt(answer.receipt, answer.tlog_proof)
    }

    async fn resolve(&self, filing: &Filing) -> Result<Receipt, PortError> {
        let request = proto::GenerateItemRequest { case: Some(self.case(filing)) };
        let answer = self.call(self.service().generate_item(request)).await?;
        self.receipt(answer.receipt, answer.tlog_proof)
    }

    async fn query(&self, filing: &Filing) -> Result<Receipt, PortError> {
        let request = proto::GetVerdictRequest { case: Some(self.case(filing)) };
        let answer = self.call(self.service().get_verdict(request)).await?;
        self.receipt(answer.receipt, answer.tlog_proof)
    }

    async fn revoke(&self, filing: &Filing) -> Result<Receipt, PortError> {
        let request = proto::RevokeTransferRequest { case: Some(self.case(filing)) };
        let answer = self.call(self.service().revoke_transfer(request)).await?;
        self.receipt(answer.receipt, answer.tlog_proof)
    }

    async fn deposit(&self, filing: &Filing, content: &Path) -> Result<Receipt, PortError> {
        let (parts, outgoing) = mpsc::channel(4);
        let mut service = self.service();
        let mut call = pin!(service.verify_transfer(ReceiverStream::new(outgoing)));
        let size = filing.offer.item(filing.request.role).description.content_bytes();
        let written = size.map_or(Duration::ZERO, |size| Duration::from_millis(upload_time(size).0));
        let reading = read(content, self.case(filing), parts, self.bounds.part);
        let answer = tokio::select! {
            biased;
            read = reading => {
                // A file that broke off explains a refusal better than the arbiter can.
                read?;
                within(self.bounds.call + written, call).await?
            }
            // Refused before it had heard everything.
            answer = &mut call => answer,
        };
        let answer = answer.map_err(port_error)?.into_inner();
        self.receipt(answer.receipt, answer.tlog_proof)
    }

    async fn fetch(&self, filing: &Filing) -> Result<Deposit, PortError> {
        let request = proto::FetchDepositRequest { case: Some(case(filing)) };
        let mut parts = self.call(self.service().fetch_deposit(request)).await?;
        let missing = || malformed("encapsulated_key");
        let bound = self.bounds.part;
        let first = within(bound, parts.message()).await?.map_err(port_error)?.ok_or_else(missing)?;
        let Some(proto::fetch_deposit_response::Part::EncapsulatedKey(encapsulated)) = first.part else {
            return Err(missing());
        };
        let chunks =
            parts.timeout(bound).map(|part| match part.map_err(|_| too_slow())?.map_err(port_error)?.part {
                Some(proto::fetch_deposit_response::Part::SealedChunk(chunk)) => Ok(chunk),
                _ => Err(malformed("sealed_chunk")),
            });
        Ok(Deposit { encapsulated, chunks: Box::pin(chunks) })
    }

    async fn consistency(&self, old_size: u64, new_size: u64) -> Result<Vec<Digest>, PortError> {
        let request = proto::GetConsistencyProofRequest { old_size, new_size };
        let mut log = EvidenceLogServiceClient::new(self.channel.clone());
        let hashes = self.call(log.get_consistency_proof(request)).await?.hashes;
        if hashes.len() > limits::PROOF_HASHES {
            return Err(malformed("hashes"));
        }
        let parse =
            |hash: &Vec<u8>| Digest::parse(hash, "hashes").map_err(|why| PortError::Malformed(why.into()));
        hashes.iter().map(parse).collect()
    }

    fn proof(&self, receipt: &Receipt) -> Option<String> {
        let proofs = self.witnessed.as_ref()?.proofs.lock().unwrap_or_else(PoisonError::into_inner);
        proofs.iter().find(|(leaf, _)| *leaf == receipt.leaf).map(|(_, proof)| proof.clone())
    }
}

/// The ledgers, and of those behind adapters what these said they can do. A ledger of SPEC section 13 can do everything, also
/// while it does not answer.
fn ledgers(wire: &[Vec<u8>], modules: &[proto::Module]) -> Result<Vec<Powers>, Rejected> {
    if wire.len() > LEDGERS || modules.len() > LEDGERS {
        return Err(Invalid::FieldLength { field: "ledgers" }.into());
    }
    let powers = |key: &Vec<u8>| {
        let whole = Powers::all(PublicKey::parse(key, "ledgers")?);
        let module = modules.iter().find(|it| it.key == *key && it.kind != "ledger");
        Ok(module.map_or(whole, |it| Powers {
            revokes: it.ready && it.can_revoke,
            generates: it.ready && it.can_generate,
            ..whole
        }))
    };
    wire.iter().map(powers).collect()
}

/// R-412: each signed by the arbiter, one after the other.
fn epochs(
    wire: impl ExactSizeIterator<Item = Result<Envelope, Invalid>>,
    key: &PublicKey,
) -> Result<Vec<Verified<EscrowEpoch>>, Rejected> {
    if wire.len() > ESCROW_EPOCHS {
        return Err(Invalid::FieldLength { field: "escrow_epochs" }.into());
    }
    let mut epochs: Vec<Verified<EscrowEpoch>> = Vec::with_capacity(wire.len());
    for envelope in wire {
        let epoch = Signed::<EscrowEpoch>::parse(envelope?)?.verify(key)?;
        if epochs.last().is_some_and(|earlier| earlier.epoch >= epoch.epoch) {
            return Err(Invalid::FieldValue { field: "escrow_epochs" }.into());
        }
        epochs.push(epoch);
    }
    Ok(epochs)
}

/// Sends the case and then the file. Ends early if the arbiter stops listening.
async fn read(
    path: &Path,
    case: proto::Case,
    parts: mpsc::Sender<proto::VerifyTransferRequest>,
    bound: Duration,
) -> Result<(), PortError> {
    let unreadable = |why: std::io::Error| PortError::Content(why.to_string());
    let mut file = File::open(path).await.map_err(unreadable)?;
    let mut part = proto::verify_transfer_request::Part::Case(case);
    while within(bound, parts.send(proto::VerifyTransferRequest { part: Some(part) })).await?.is_ok() {
        let mut chunk = Vec::with_capacity(limits::CHUNK_BYTES);
        let most = u64::try_from(limits::CHUNK_BYTES).unwrap_or(u64::MAX);
        (&mut file).take(most).read_to_end(&mut chunk).await.map_err(unreadable)?;
        if chunk.is_empty() {
            break;
        }
        part = proto::verify_transfer_request::Part::Chunk(chunk);
    }
    Ok(())
}

fn case(filing: &Filing) -> proto::Case {
    proto::Case::file(&filing.request, &filing.offer, filing.acceptance.as_ref(), &filing.escrows)
}

/// What does not come in time is out of reach: the same request may succeed later.
async fn within<T>(bound: Duration, work: impl Future<Output = T>) -> Result<T, PortError> {
    timeout(bound, work).await.map_err(|_| too_slow())
}

fn too_slow() -> PortError {
    PortError::Unavailable { message: "the arbiter does not answer in time".to_owned(), retry_after: None }
}

fn receipt(wire: Option<proto::Receipt>) -> Result<Receipt, PortError> {
    let wire = wire.ok_or_else(|| malformed("receipt"))?;
    Receipt::try_from(wire).map_err(PortError::Malformed)
}

fn malformed(field: &'static str) -> PortError {
    PortError::Malformed(Rejected::Invalid(Invalid::FieldMissing { field }))
}

/// Out of reach is what the codes for it say, and every failure that did not come from the arbiter at all.
fn port_error(status: Status) -> PortError {
    let message = status.message().to_owned();
    let local = std::error::Error::source(&status).is_some();
    let transient = matches!(
        status.code(),
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Cancelled
    );
    let info = status.get_details_error_info();
    if transient || (local && info.is_none()) {
        let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        return PortError::Unavailable { message, retry_after };
    }
    let (reason, metadata) = match info {
        Some(info) => (Reason::parse(&info.reason), info.metadata.into_iter().collect()),
        None => (Reason::Unknown(format!("{:?}", status.code())), std::collections::BTreeMap::new()),
    };
    PortError::Refused { reason, message, metadata }
}
