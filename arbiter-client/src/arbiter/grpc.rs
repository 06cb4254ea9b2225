//! The arbiter over gRPC. The only file that names its generated client.

use std::path::{Path, PathBuf};
use std::time::Duration;

use arbiter_protocol::error::{Invalid, Rejected};
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::ids::{Digest, PublicKey};
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::time::UnixMillis;
use arbiter_protocol::wire::arbiter as proto;
use arbiter_protocol::wire::arbiter::arbiter_service_client::ArbiterServiceClient;
use arbiter_protocol::wire::arbiter::evidence_log_service_client::EvidenceLogServiceClient;
use async_trait::async_trait;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::arbiter::{ArbiterPort, Deposit, Filing, PortError, Reason};
use crate::error::{Error, Usage};

/// A call that should take milliseconds is asked again after this time.
const CALL: Duration = Duration::from_secs(20);
/// A receipt is two statements, evidence and a proof.
const MESSAGE_BYTES: usize = 1 << 18;
/// Window of a stream: several chunks, so that a deposit does not wait for every acknowledgement.
const WINDOW_BYTES: u32 = 1 << 20;

/// An arbiter at a URL. Connects when first used, and again after a loss.
#[derive(Clone, Debug)]
pub struct GrpcArbiter(Channel);

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
}

/// Asks the arbiter at a URL who it is, once. What it says is to be compared with its operator's word by
/// another way, and pinned.
pub async fn identify(url: &str, ca: Option<Vec<u8>>) -> Result<ArbiterIdentity, Error> {
    Ok(GrpcArbiter::new(url, ca)?.info().await?.identity)
}

impl GrpcArbiter {
    /// For `http://…`, or `https://…` with the authority (PEM) that the certificate must come from.
    pub fn new(url: &str, ca: Option<Vec<u8>>) -> Result<Self, Error> {
        let unusable = |why: tonic::transport::Error| Usage::Url(why.to_string());
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(unusable)?;
        let endpoint = endpoint
            .connect_timeout(Duration::from_secs(5))
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES);
        #[cfg(feature = "tls")]
        let endpoint = match ca {
            Some(ca) => {
                let ca = tonic::transport::Certificate::from_pem(ca);
                let tls = tonic::transport::ClientTlsConfig::new().ca_certificate(ca);
                endpoint.tls_config(tls).map_err(unusable)?
            }
            None => endpoint,
        };
        #[cfg(not(feature = "tls"))]
        if ca.is_some() {
            return Err(Usage::Url("this build has no TLS".to_owned()).into());
        }
        Ok(Self(endpoint.connect_lazy()))
    }

    /// Asks the arbiter who it is.
    pub async fn info(&self) -> Result<ArbiterInfo, PortError> {
        let answer = self.service().get_arbiter_info(timed(proto::GetArbiterInfoRequest {})).await;
        let wire = answer.map_err(port_error)?.into_inner();
        let field = |field| PortError::Malformed(Invalid::FieldValue { field }.into());
        let log = VerifierKey::parse(&wire.log_key).map_err(|_| field("log_key"))?;
        Ok(ArbiterInfo {
            identity: ArbiterIdentity {
                key: PublicKey::parse(&wire.key, "key").map_err(|why| PortError::Malformed(why.into()))?,
                log_key: log.public_key(),
                log_origin: Origin::parse(&wire.log_origin).map_err(|_| field("log_origin"))?,
                rules: wire.rules,
            },
            terms: wire.terms,
            clock: UnixMillis(wire.clock),
            version: wire.version,
            deposit_bytes: wire.limits.map_or(0, |limits| limits.deposit_bytes),
        })
    }

    /// The arbiter's own counters since it started, by name.
    pub async fn counters(&self) -> Result<Vec<(String, u64)>, PortError> {
        let answer = self.service().get_counters(timed(proto::GetCountersRequest {})).await;
        let counters = answer.map_err(port_error)?.into_inner().counters;
        Ok(counters.into_iter().map(|counter| (counter.name, counter.value)).collect())
    }

    fn service(&self) -> ArbiterServiceClient<Channel> {
        ArbiterServiceClient::new(self.0.clone()).max_decoding_message_size(MESSAGE_BYTES)
    }
}

#[async_trait]
impl ArbiterPort for GrpcArbiter {
    async fn abort(&self, filing: &Filing) -> Result<Receipt, PortError> {
        let request = proto::AbortExchangeRequest { case: Some(case(filing)) };
        let answer = self.service().abort_exchange(timed(request)).await.map_err(port_error)?;
        receipt(answer.into_inner().receipt)
    }

    async fn resolve(&self, filing: &Filing) -> Result<Receipt, PortError> {
        let request = proto::GenerateItemRequest { case: Some(case(filing)) };
        let answer = self.service().generate_item(timed(request)).await.map_err(port_error)?;
        receipt(answer.into_inner().receipt)
    }

    async fn query(&self, filing: &Filing) -> Result<Receipt, PortError> {
        let request = proto::GetVerdictRequest { case: Some(case(filing)) };
        let answer = self.service().get_verdict(timed(request)).await.map_err(port_error)?;
        receipt(answer.into_inner().receipt)
    }

    async fn deposit(&self, filing: &Filing, content: &Path) -> Result<Receipt, PortError> {
        let (parts, outgoing) = mpsc::channel(4);
        let reader = tokio::spawn(read(content.to_owned(), case(filing), parts));
        let answer = self.service().verify_transfer(ReceiverStream::new(outgoing)).await;
        // A file that broke off explains a refusal better than the arbiter can.
        if let Ok(Err(why)) = reader.await {
            return Err(PortError::Content(why.to_string()));
        }
        receipt(answer.map_err(port_error)?.into_inner().receipt)
    }

    async fn fetch(&self, filing: &Filing) -> Result<Deposit, PortError> {
        let request = proto::FetchDepositRequest { case: Some(case(filing)) };
        let answer = self.service().fetch_deposit(request).await.map_err(port_error)?;
        let mut parts = answer.into_inner();
        let missing = || malformed("encapsulated_key");
        let first = parts.message().await.map_err(port_error)?.ok_or_else(missing)?;
        let Some(proto::fetch_deposit_response::Part::EncapsulatedKey(encapsulated)) = first.part else {
            return Err(missing());
        };
        let chunks = parts.map(|part| match part.map_err(port_error)?.part {
            Some(proto::fetch_deposit_response::Part::SealedChunk(chunk)) => Ok(chunk),
            _ => Err(malformed("sealed_chunk")),
        });
        Ok(Deposit { encapsulated, chunks: Box::pin(chunks) })
    }

    async fn consistency(&self, old_size: u64, new_size: u64) -> Result<Vec<Digest>, PortError> {
        let request = proto::GetConsistencyProofRequest { old_size, new_size };
        let mut log = EvidenceLogServiceClient::new(self.0.clone());
        let answer = log.get_consistency_proof(timed(request)).await.map_err(port_error)?;
        let hashes = answer.into_inner().hashes;
        if hashes.len() > limits::PROOF_HASHES {
            return Err(malformed("hashes"));
        }
        let parse =
            |hash: &Vec<u8>| Digest::parse(hash, "hashes").map_err(|why| PortError::Malformed(why.into()));
        hashes.iter().map(parse).collect()
    }
}

/// Sends the case and then the file. Ends early if the arbiter stops listening.
async fn read(
    path: PathBuf,
    case: proto::Case,
    parts: mpsc::Sender<proto::VerifyTransferRequest>,
) -> std::io::Result<()> {
    let mut file = File::open(&path).await?;
    let mut part = proto::verify_transfer_request::Part::Case(case);
    while parts.send(proto::VerifyTransferRequest { part: Some(part) }).await.is_ok() {
        let mut chunk = Vec::with_capacity(limits::CHUNK_BYTES);
        let most = u64::try_from(limits::CHUNK_BYTES).unwrap_or(u64::MAX);
        (&mut file).take(most).read_to_end(&mut chunk).await?;
        if chunk.is_empty() {
            break;
        }
        part = proto::verify_transfer_request::Part::Chunk(chunk);
    }
    Ok(())
}

fn case(filing: &Filing) -> proto::Case {
    proto::Case::file(&filing.request, &filing.offer, filing.acceptance.as_ref())
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL);
    request
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
