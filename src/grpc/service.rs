//! `ArbiterService`: what the two peers ask. Decode, verify, engine, encode; no rule is decided here.
//!
//! ```text
//!  Case ─▶ verified ─▶ is it the action of this method? ─▶ engine ─▶ Receipt
//!  VerifyTransfer: Case ─▶ … ─▶ precheck ─▶ chunks ─▶ Upload ─▶ engine ─▶ Receipt
//!                  of a payment, no chunks: the rail's receipt ─▲
//!  GenerateItem:   Case ─▶ … ─▶ engine, which opens escrows first ─▶ Receipt
//!  FetchDeposit:   Case ─▶ … ─▶ engine ─▶ encapsulated key, sealed chunks
//! ```
//!
//! Invariants
//! - Who may ask is decided by the signature inside the case, never by the connection.
//! - A deposit that cannot be taken is refused before its content is read.
//! - A peer that sends or takes a deposit too slowly is told so and loses its place: see [`Pace`].
//! - Once a deposit was filed its outcome is awaited, even if the caller is gone: content that a record
//!   names is never removed, content that none names always is.
//! - One log line a ruling, with ids and rules, never with items or keys.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arbiter_protocol::error::Invalid;
use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::evidence::leaf::Leaf;
use arbiter_protocol::exchange::kind::content::{ContentCheck, FitContent};
use arbiter_protocol::exchange::selection::ByRole;
use arbiter_protocol::ids::LeafIndex;
use arbiter_protocol::limits;
use arbiter_protocol::message::payment::PaymentTerms;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::role::arbiter::Case;
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::ruling::sequencer::ContentId;
use arbiter_protocol::wire::arbiter as proto;
use arbiter_protocol::wire::arbiter::arbiter_service_server::ArbiterService;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::deposit::{Size, Upload};
use super::gate::Permit;
use super::pace::Pace;
use super::{Service, blocking, status};
use crate::anchors::Anchored;
use crate::engine::{Draft, EngineError, Filed, Precheck};

#[tonic::async_trait]
impl ArbiterService for Service {
    async fn get_arbiter_info(
        &self,
        _request: Request<proto::GetArbiterInfoRequest>,
    ) -> Result<Response<proto::GetArbiterInfoResponse>, Status> {
        Ok(Response::new(self.info()))
    }

    async fn verify_transfer(
        &self,
        request: Request<Streaming<proto::VerifyTransferRequest>>,
    ) -> Result<Response<proto::VerifyTransferResponse>, Status> {
        let arrived = Arrived::new(&request);
        let mut parts = request.into_inner();
        let mut pace = self.pace();
        let first = next_part(&mut parts, &mut pace, 0).await?;
        let Some(proto::verify_transfer_request::Part::Case(case)) = first else {
            return Err(status::invalid(&Invalid::FieldMissing { field: "case" }));
        };
        let wanted = arrived.wants(Some(&case))?;
        let case = self.admit("VerifyTransfer", Action::Deposit, Some(case))?;
        let about = About::new(&case);
        let (engine, asked) = (self.engine().clone(), case.clone());
        let receipt = match blocking(move || engine.precheck(&asked)).await? {
            Ok(Precheck::Answered | Precheck::EscrowsWanted) => self.file(case).await?,
            Ok(Precheck::ContentWanted) => self.deposit(case, &mut parts, pace).await?,
            Err(error) => return Err(about.refuse(&error)),
        };
        let tlog_proof = self.proof_of(&receipt, wanted).await;
        Ok(Response::new(proto::VerifyTransferResponse { receipt: Some((&*receipt).into()), tlog_proof }))
    }

    async fn generate_item(
        &self,
        request: Request<proto::GenerateItemRequest>,
    ) -> Result<Response<proto::GenerateItemResponse>, Status> {
        let arrived = Arrived::new(&request);
        let case = request.into_inner().case;
        let wanted = arrived.wants(case.as_ref())?;
        let case = self.admit("GenerateItem", Action::Resolve, case)?;
        let about = About::new(&case);
        let receipt = about.answer(self.engine().resolve(case).await)?;
        let tlog_proof = self.proof_of(&receipt, wanted).await;
        Ok(Response::new(proto::GenerateItemResponse { receipt: Some((&*receipt).into()), tlog_proof }))
    }

    async fn revoke_transfer(
        &self,
        request: Request<proto::RevokeTransferRequest>,
    ) -> Result<Response<proto::RevokeTransferResponse>, Status> {
        let arrived = Arrived::new(&request);
        let (receipt, tlog_proof) =
            self.rule("RevokeTransfer", Action::Revoke, request.into_inner().case, arrived).await?;
        Ok(Response::new(proto::RevokeTransferResponse { receipt: Some((&*receipt).into()), tlog_proof }))
    }

    async fn abort_exchange(
        &self,
        request: Request<proto::AbortExchangeRequest>,
    ) -> Result<Response<proto::AbortExchangeResponse>, Status> {
        let arrived = Arrived::new(&request);
        let (receipt, tlog_proof) =
            self.rule("AbortExchange", Action::Abort, request.into_inner().case, arrived).await?;
        Ok(Response::new(proto::AbortExchangeResponse { receipt: Some((&*receipt).into()), tlog_proof }))
    }

    async fn get_verdict(
        &self,
        request: Request<proto::GetVerdictRequest>,
    ) -> Result<Response<proto::GetVerdictResponse>, Status> {
        let arrived = Arrived::new(&request);
        let (receipt, tlog_proof) =
            self.rule("GetVerdict", Action::Query, request.into_inner().case, arrived).await?;
        Ok(Response::new(proto::GetVerdictResponse { receipt: Some((&*receipt).into()), tlog_proof }))
    }

    async fn get_evidence(
        &self,
        request: Request<proto::GetEvidenceRequest>,
    ) -> Result<Response<proto::GetEvidenceResponse>, Status> {
        let proto::GetEvidenceRequest { case, min_witnesses, wait_millis } = request.into_inner();
        let case = self.admit("GetEvidence", Action::Query, case)?;
        let about = About::new(&case);
        let engine = self.engine().clone();
        let receipts = blocking(move || engine.evidence(&case)).await?;
        let receipts = receipts.map_err(|error| about.refuse(&error))?;
        let newest = receipts.iter().map(|(index, _)| index.0).max().unwrap_or_default();
        let wanted = usize::try_from(min_witnesses).unwrap_or(usize::MAX);
        let enough = move |it: &SignedCheckpoint| witnesses(it) >= wanted;
        let (mut timestamps, mut witnessed) = (Vec::new(), true);
        let checkpoint = match self.stamped(LeafIndex(newest), enough).await? {
            Some(found) => {
                timestamps.push(found.anchor.token().to_vec());
                Arc::new(found.checkpoint)
            }
            None if wanted == 0 => self.covering(newest).await?,
            None => {
                let found;
                (found, witnessed) = self.awaited(newest, super::log::wait(wait_millis), enough).await?;
                found
            }
        };
        let mut evidence = Vec::with_capacity(receipts.len());
        for (index, receipt) in &receipts {
            let tlog_proof = self.tlog_proof(index.0, Arc::clone(&checkpoint)).await?;
            let timestamps = timestamps.clone();
            evidence.push(proto::Evidence { receipt: Some(receipt.into()), tlog_proof, timestamps });
        }
        Ok(Response::new(proto::GetEvidenceResponse { evidence, witnessed }))
    }

    type FetchDepositStream =
        Pin<Box<dyn Stream<Item = Result<proto::FetchDepositResponse, Status>> + Send + 'static>>;

    async fn fetch_deposit(
        &self,
        request: Request<proto::FetchDepositRequest>,
    ) -> Result<Response<Self::FetchDepositStream>, Status> {
        let permit = request.extensions().get::<Permit>().cloned();
        let case = self.admit("FetchDeposit", Action::Fetch, request.into_inner().case)?;
        let exchange = case.exchange_id();
        let role = case.request().role;
        let about = About::new(&case);
        let content = match self.engine().file(case, ByRole::default()).await {
            Ok(Filed::Content(content)) => content,
            Ok(Filed::Receipt(_)) => return Err(status::unexpected("FetchDeposit")),
            Err(error) => return Err(about.refuse(&error)),
        };
        tracing::info!(%exchange, requested_by = %role, rule = "R-408", content = content.0, "content released");
        // Two parts on their way, and the last word.
        let (sender, receiver) = mpsc::channel(3);
        tokio::spawn(self.clone().send_deposit(content, sender, permit));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn get_counters(
        &self,
        _request: Request<proto::GetCountersRequest>,
    ) -> Result<Response<proto::GetCountersResponse>, Status> {
        Ok(Response::new(proto::GetCountersResponse { counters: self.counters() }))
    }
}

impl Service {
    /// Verifies a case and that it asks for what the method does.
    fn admit(&self, method: &'static str, action: Action, case: Option<proto::Case>) -> Result<Case, Status> {
        let case = case.ok_or_else(|| status::invalid(&Invalid::FieldMissing { field: "case" }))?;
        let arbiter = &self.engine().desk().arbiter;
        let case = case.admit(arbiter).map_err(|rejected| status::rejected(&rejected))?;
        if case.request().action != action {
            return Err(status::action_mismatch(method));
        }
        Ok(case)
    }

    /// The methods that take a case and give a receipt.
    async fn rule(
        &self,
        method: &'static str,
        action: Action,
        case: Option<proto::Case>,
        arrived: Arrived,
    ) -> Result<(Box<Receipt>, String), Status> {
        let wanted = arrived.wants(case.as_ref())?;
        let case = self.admit(method, action, case)?;
        let receipt = self.file(case).await?;
        let tlog_proof = self.proof_of(&receipt, wanted).await;
        Ok((receipt, tlog_proof))
    }

    /// The proof under a checkpoint that witnesses have cosigned, if one is wanted and comes in time. Whatever goes wrong, the
    /// ruling is given (R-555).
    async fn proof_of(&self, receipt: &Receipt, until: Option<Instant>) -> String {
        let (Some(until), Ok(leaf)) = (until, Leaf::decode(&receipt.leaf)) else { return String::new() };
        let (index, patience) = (leaf.index.0, until.saturating_duration_since(Instant::now()));
        let proof = match self.witnessed(index, patience).await {
            Ok((checkpoint, true)) => self.tlog_proof(index, checkpoint).await,
            Ok((_, false)) => return String::new(),
            Err(status) => Err(status),
        };
        proof.unwrap_or_else(|status| {
            tracing::warn!(
                index,
                problem = status.message(),
                "no proof of a leaf for a caller that wants one"
            );
            String::new()
        })
    }

    /// The earliest time-stamp over a tree with this leaf, whose checkpoint is `enough` (R-546).
    async fn stamped(
        &self,
        index: LeafIndex,
        enough: impl Fn(&SignedCheckpoint) -> bool + Send + 'static,
    ) -> Result<Option<Anchored>, Status> {
        let Some(anchors) = self.anchors().cloned() else { return Ok(None) };
        let engine = self.engine().clone();
        let found = blocking(move || anchors.covering(&engine, index, enough)).await?;
        found.map_err(|error| status::engine(&error))
    }

    /// Files a case that has no content.
    async fn file(&self, case: Case) -> Result<Box<Receipt>, Status> {
        let about = About::new(&case);
        about.answer(self.engine().file(case, ByRole::default()).await)
    }

    /// Takes the content of a deposit that the engine would attest, and files it.
    async fn deposit(
        &self,
        case: Case,
        parts: &mut Streaming<proto::VerifyTransferRequest>,
        mut pace: Pace,
    ) -> Result<Box<Receipt>, Status> {
        let mut upload = self.begin(&case)?;
        loop {
            let (found, agreed) = upload.progress();
            // Whatever ends the stream early, nothing of the upload is kept.
            let part = next_part(parts, &mut pace, found).await.map_err(|error| match error.code() {
                tonic::Code::InvalidArgument | tonic::Code::DeadlineExceeded => error,
                _ => status::incomplete(found, agreed),
            })?;
            let bytes = match part {
                // Of a payment nothing was brought: the arbiter looks for itself (R-709).
                None if found == 0 => {
                    let Some(receipt) = self.observed(&case).await? else { break };
                    let taken = blocking(move || upload.take(receipt).map(|()| upload)).await?;
                    upload = taken.map_err(|error| error.status())?;
                    break;
                }
                None => break,
                Some(proto::verify_transfer_request::Part::Chunk(bytes)) => bytes,
                Some(proto::verify_transfer_request::Part::Case(_)) => {
                    return Err(status::invalid(&Invalid::FieldValue { field: "part" }));
                }
            };
            upload = blocking(move || upload.take(bytes).map(|()| upload))
                .await?
                .map_err(|error| error.status())?;
        }
        let (fit, draft) = blocking(move || upload.finish()).await?.map_err(|error| error.status())?;
        // A task of its own: a caller that goes away now must not decide what becomes of the content.
        tokio::spawn(self.clone().settle(case, fit, draft)).await.map_err(|_| status::stopped())?
    }

    /// The receipt of the payment that is deposited, from its rail; `None` if the item is none. Reads only, before the
    /// decision (D6), and is checked as one that the depositor brought.
    async fn observed(&self, case: &Case) -> Result<Option<Vec<u8>>, Status> {
        let Some(terms) = PaymentTerms::of(case.offer(), case.request().role) else { return Ok(None) };
        let receipt = self.modules().observe(&terms).await;
        let receipt = receipt.map_err(|unobserved| status::unobserved(&unobserved))?;
        Ok(Some(receipt.envelope().encode()))
    }

    fn begin(&self, case: &Case) -> Result<Upload, Status> {
        let agreement = case.agreement().ok_or_else(|| status::unexpected("VerifyTransfer"))?;
        let role = case.request().role;
        let offer = case.offer();
        let description = &offer.item(role).description;
        let check = ContentCheck::of(offer, role, None).filter(|_| description.is_depositable());
        let check = check.ok_or_else(|| status::unexpected("VerifyTransfer"))?;
        let size = description.content_bytes().map_or(Size::AtMost(RECEIPT_BYTES), Size::Exactly);
        let maximum = self.max_deposit_bytes();
        if let Size::Exactly(bytes) = size
            && bytes > maximum
        {
            return Err(status::quota(bytes, maximum));
        }
        let most = self.max_total_deposit_bytes();
        Upload::begin(self.engine().clone(), agreement, role, check, size, most)
            .map_err(|error| error.status())
    }

    /// Files a complete deposit.
    async fn settle(self, case: Case, fit: FitContent, draft: Draft) -> Result<Box<Receipt>, Status> {
        let about = About::new(&case);
        let held = ByRole::only(about.role, (fit, draft.content()));
        let filed = self.engine().file(case, held).await;
        match filed {
            // Never queued: the engine does not know of the content.
            Err(EngineError::Overloaded) => drop(draft),
            // The engine removes what no record names, now or at the next start.
            _ => draft.keep(),
        }
        about.answer(filed)
    }

    /// Streams a deposit, or a signature out of escrow. The permit is held as long as the stream; a reader that is too slow loses it.
    async fn send_deposit(
        self,
        content: ContentId,
        sender: mpsc::Sender<Result<proto::FetchDepositResponse, Status>>,
        permit: Option<Permit>,
    ) {
        let _permit = permit;
        // Kept for the last word: a stream that just ended would look complete.
        let Ok(last_word) = sender.clone().reserve_owned().await else { return };
        if let Err(status) = self.send_parts(content, &sender).await {
            last_word.send(Err(status));
        }
    }

    async fn send_parts(
        &self,
        content: ContentId,
        sender: &mpsc::Sender<Result<proto::FetchDepositResponse, Status>>,
    ) -> Result<(), Status> {
        use proto::fetch_deposit_response::Part;
        let (mut pace, mut moved) = (self.pace(), 0u64);
        let mut send = async |part: Part, moved: u64| {
            let message = proto::FetchDepositResponse { part: Some(part) };
            // An error is a reader that has gone: what it is told does not matter any more.
            pace.wait(moved, sender.send(Ok(message)))
                .await?
                .map_err(|_| Status::cancelled("the reader left"))
        };
        let engine = self.engine().clone();
        let head = flat(blocking(move || engine.content(content)).await)?;
        send(Part::EncapsulatedKey(head.encapsulated.to_vec()), moved).await?;
        for index in 0..head.chunks {
            let engine = self.engine().clone();
            let sealed = flat(blocking(move || engine.chunk(content, index)).await)?;
            let size = u64::try_from(sealed.len()).unwrap_or(u64::MAX);
            send(Part::SealedChunk(sealed), moved).await?;
            moved = moved.saturating_add(size);
        }
        Ok(())
    }
}

/// The next part of an upload that has brought `found` bytes so far.
async fn next_part(
    parts: &mut Streaming<proto::VerifyTransferRequest>,
    pace: &mut Pace,
    found: u64,
) -> Result<Option<proto::verify_transfer_request::Part>, Status> {
    match pace.wait(found, parts.message()).await? {
        Ok(None) => Ok(None),
        Ok(Some(proto::VerifyTransferRequest { part: Some(part) })) => Ok(Some(part)),
        Ok(Some(_)) => Err(status::invalid(&Invalid::FieldMissing { field: "part" })),
        Err(error) => Err(status::enrich_upload(error)),
    }
}

fn flat<T>(read: Result<Result<T, EngineError>, Status>) -> Result<T, Status> {
    read?.map_err(|error| status::engine(&error))
}

/// The longest receipt of a payment: less than one chunk.
const RECEIPT_BYTES: u64 = 33_280;
const _: () = assert!(limits::ENVELOPE_BYTES == 33_280 && limits::ENVELOPE_BYTES < limits::CHUNK_BYTES);

/// How many others than the log have signed. The publisher takes verified cosignatures only.
fn witnesses(checkpoint: &SignedCheckpoint) -> usize {
    let origin = checkpoint.checkpoint().origin.as_str();
    checkpoint.note().signatures().iter().filter(|it| it.name() != origin).count()
}

/// When a call arrived, and how long it may take.
#[derive(Clone, Copy)]
struct Arrived {
    at: Instant,
    deadline: Option<Duration>,
}

impl Arrived {
    fn new<T>(request: &Request<T>) -> Self {
        let deadline = request.metadata().get("grpc-timeout").and_then(|it| it.to_str().ok());
        Self { at: Instant::now(), deadline: deadline.and_then(parse_timeout) }
    }

    /// Until when the reply waits for witnesses; `None` if the case does not ask for them (R-555). A quarter of the call's time
    /// is left for the reply: a ruling must not be lost by waiting.
    fn wants(self, case: Option<&proto::Case>) -> Result<Option<Instant>, Status> {
        if !super::log::is_witnessed(case.map_or(0, |case| case.assurance))? {
            return Ok(None);
        }
        let most = super::log::WAIT_DEFAULT;
        let patience = self.deadline.map_or(most, |deadline| most.min(deadline.saturating_mul(3) / 4));
        Ok(self.at.checked_add(patience))
    }
}

/// Reads the header `grpc-timeout`: at most 8 digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(number.saturating_mul(3600)),
        "M" => Duration::from_secs(number.saturating_mul(60)),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// What a log line says about a case.
struct About {
    exchange: arbiter_protocol::ids::ExchangeId,
    role: arbiter_protocol::exchange::selection::Role,
    action: Action,
}

impl About {
    fn new(case: &Case) -> Self {
        let request = case.request();
        Self { exchange: case.exchange_id(), role: request.role, action: request.action }
    }

    /// Passes an answer of the engine on and leaves a line about it.
    fn answer(&self, filed: Result<Filed, EngineError>) -> Result<Box<Receipt>, Status> {
        match filed {
            Ok(Filed::Receipt(receipt)) => {
                self.log(&receipt);
                Ok(receipt)
            }
            Ok(Filed::Content(_)) => Err(status::unexpected("a ruling")),
            Err(error) => Err(self.refuse(&error)),
        }
    }

    /// The engine writes the line about a new ruling; this one is about who got it, replays included.
    fn log(&self, receipt: &Receipt) {
        let Self { exchange, role, action } = self;
        // Always decodes: the leaf is our own.
        let Ok(leaf) = Leaf::decode(&receipt.leaf) else { return };
        let (event, rule, leaf) = (leaf.event, leaf.reason, leaf.index.0);
        tracing::debug!(%exchange, %role, ?action, ?event, rule, leaf, "answered");
    }

    fn refuse(&self, error: &EngineError) -> Status {
        let Self { exchange, role, action } = self;
        let status = status::engine(error);
        tracing::debug!(%exchange, %role, ?action, %error, "refused");
        status
    }
}
