//! `EvidenceLogService`: read access to the log for auditors. Nothing here is secret.
//!
//! ```text
//!  GetCheckpoint ─▶ newest signed note      ListEntries ─▶ page, token ─▶ page, token ─▶ … ─▶ page, ""
//! ```
//!
//! Invariants
//! - Only leaves that a signed checkpoint covers are shown.
//! - Paging (AIP-158): negative sizes are refused, large ones coerced; a token is opaque and bound to the question; only an
//!   empty `next_page_token` ends a listing. One call looks at a bounded number of leaves, however few of them match.
//! - Who waits for witnesses waits a bounded time, in a room of its own, and then gets what there is (R-545).

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arbiter_protocol::error::Invalid;
use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::evidence::leaf::{Event, Leaf, Pseudonym};
use arbiter_protocol::evidence::tlog_proof::TlogProof;
use arbiter_protocol::ids::{Digest, LeafIndex};
use arbiter_protocol::time::UnixMillis;
use arbiter_protocol::wire::arbiter as proto;
use arbiter_protocol::wire::arbiter::evidence_log_service_server::EvidenceLogService;
use tonic::{Code, Request, Response, Status};

use super::status::{self, Problem, reason};
use super::{Service, blocking};
use crate::engine::{EngineError, Handle};
use crate::store::By;

/// Entries in a page if the caller does not say.
const PAGE_DEFAULT: u64 = 100;
/// Entries in the largest page: with 1 KiB a leaf it stays below the 4 MiB that clients take.
const PAGE_MAXIMUM: u64 = 1000;
/// Leaves that one call of a listing looks at, however few of them match.
const LOOKED_AT: u64 = 2000;
/// What a page token starts with; a change of its meaning changes it.
const TOKEN_PREFIX: &[u8] = b"entries/2/";
/// How long a call waits for witnesses if it does not say.
pub(super) const WAIT_DEFAULT: Duration = Duration::from_secs(5);
/// The longest wait.
const WAIT_MAXIMUM: Duration = Duration::from_secs(20);

#[tonic::async_trait]
impl EvidenceLogService for Service {
    async fn get_checkpoint(
        &self,
        _request: Request<proto::GetCheckpointRequest>,
    ) -> Result<Response<proto::GetCheckpointResponse>, Status> {
        let engine = self.engine().clone();
        let checkpoint = blocking(move || engine.checkpoint()).await?;
        let checkpoint = checkpoint.map_err(|error| status::engine(&error))?;
        Ok(Response::new(proto::GetCheckpointResponse { checkpoint }))
    }

    async fn get_entry(
        &self,
        request: Request<proto::GetEntryRequest>,
    ) -> Result<Response<proto::GetEntryResponse>, Status> {
        let index = request.into_inner().index;
        let size = self.engine().log_size();
        if index >= size {
            let message = format!("there is no entry {index}: the log has {size} entries");
            return Err(Problem::new(Code::NotFound, reason::ENTRY_NOT_FOUND, message)
                .with("index", index)
                .with("size", size)
                .status());
        }
        let entry = self.entries(index, 1).await?.into_iter().next();
        Ok(Response::new(proto::GetEntryResponse { entry }))
    }

    async fn list_entries(
        &self,
        request: Request<proto::ListEntriesRequest>,
    ) -> Result<Response<proto::ListEntriesResponse>, Status> {
        let request = request.into_inner();
        let count = page_size(request.page_size)?;
        let question = Question::parse(&request)?;
        let size = self.engine().log_size();
        let first = parse_token(&request.page_token, &question, size)?;
        let engine = self.engine().clone();
        let asked = question.clone();
        let page = blocking(move || asked.page(&engine, first, count, size)).await?;
        let (found, next) = page.map_err(|error| status::engine(&error))?;
        let entries = found.into_iter().map(|(index, leaf)| proto::Entry { index, leaf }).collect();
        let next_page_token = next.map(|next| token(&question, next)).unwrap_or_default();
        Ok(Response::new(proto::ListEntriesResponse { entries, next_page_token }))
    }

    async fn get_proof(
        &self,
        request: Request<proto::GetProofRequest>,
    ) -> Result<Response<proto::GetProofResponse>, Status> {
        let proto::GetProofRequest { index, assurance, wait_millis } = request.into_inner();
        let size = self.engine().log_size();
        if index >= size {
            return Err(status::engine(&EngineError::OutOfRange { size }));
        }
        let (checkpoint, assured) = match is_witnessed(assurance)? {
            false => (self.covering(index).await?, true),
            true => self.witnessed(index, wait(wait_millis)).await?,
        };
        let tlog_proof = self.tlog_proof(index, checkpoint).await?;
        Ok(Response::new(proto::GetProofResponse { tlog_proof, assured }))
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<proto::GetInclusionProofRequest>,
    ) -> Result<Response<proto::GetInclusionProofResponse>, Status> {
        let proto::GetInclusionProofRequest { index, tree_size } = request.into_inner();
        let size = self.engine().log_size();
        if tree_size > size || index >= tree_size {
            let message = format!(
                "index {index} in a tree of {tree_size}: the index must be below the tree size, and that at most {size}"
            );
            return Err(Problem::new(Code::OutOfRange, reason::RANGE_INVALID, message)
                .with("index", index)
                .with("tree_size", tree_size)
                .with("size", size)
                .status());
        }
        let hashes = self.hashes(move |engine| engine.inclusion_proof(index, tree_size)).await?;
        Ok(Response::new(proto::GetInclusionProofResponse { hashes }))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<proto::GetConsistencyProofRequest>,
    ) -> Result<Response<proto::GetConsistencyProofResponse>, Status> {
        let proto::GetConsistencyProofRequest { old_size, new_size } = request.into_inner();
        let size = self.engine().log_size();
        if old_size == 0 || old_size > new_size || new_size > size {
            let message =
                format!("sizes {old_size} and {new_size}: it must be 1 <= old_size <= new_size <= {size}");
            return Err(Problem::new(Code::OutOfRange, reason::RANGE_INVALID, message)
                .with("old_size", old_size)
                .with("new_size", new_size)
                .with("size", size)
                .status());
        }
        let hashes = self.hashes(move |engine| engine.consistency_proof(old_size, new_size)).await?;
        Ok(Response::new(proto::GetConsistencyProofResponse { hashes }))
    }
}

/// How long a call waits, as it asks.
pub(super) fn wait(millis: u32) -> Duration {
    match millis {
        0 => WAIT_DEFAULT,
        millis => Duration::from_millis(millis.into()).min(WAIT_MAXIMUM),
    }
}

/// Whether more is asked for than the log's own signature.
pub(super) fn is_witnessed(assurance: i32) -> Result<bool, Status> {
    match proto::Assurance::try_from(assurance) {
        Ok(proto::Assurance::Unspecified | proto::Assurance::Logged) => Ok(false),
        Ok(proto::Assurance::Witnessed) => Ok(true),
        Err(_) => Err(status::invalid(&Invalid::FieldValue { field: "assurance" })),
    }
}

impl Service {
    /// Waits for a published checkpoint that covers a leaf and has the cosignatures that the operator's policy asks for.
    pub(super) async fn witnessed(
        &self,
        index: u64,
        patience: Duration,
    ) -> Result<(Arc<SignedCheckpoint>, bool), Status> {
        let published = self.published().cloned();
        let quorum = move |it: &SignedCheckpoint| published.as_ref().is_some_and(|all| all.quorum(it));
        self.awaited(index, patience, quorum).await
    }

    /// A checkpoint that covers a leaf: the published one, or else, and if nothing is published here, the log's own.
    pub(super) async fn covering(&self, index: u64) -> Result<Arc<SignedCheckpoint>, Status> {
        let newest = self.published().map(super::Published::newest);
        if let Some(newest) = newest.filter(|it| it.checkpoint().size > index) {
            return Ok(newest);
        }
        let (engine, key) = (self.engine().clone(), self.verifier_key().clone());
        let own = blocking(move || engine.checkpoint()).await?.map_err(|error| status::engine(&error))?;
        let own = SignedCheckpoint::verify(&own, &key).map_err(|_| status::unexpected("a checkpoint"))?;
        Ok(Arc::new(own))
    }

    /// Waits for a published checkpoint that covers a leaf and that `enough` accepts; when the time, or the room for those
    /// who wait, is over, one that covers it (R-545).
    pub(super) async fn awaited(
        &self,
        index: u64,
        patience: Duration,
        enough: impl Fn(&SignedCheckpoint) -> bool,
    ) -> Result<(Arc<SignedCheckpoint>, bool), Status> {
        let Some(published) = self.published() else { return Ok((self.covering(index).await?, false)) };
        let room = self.waiting().try_acquire();
        let patience = if room.is_ok() { patience.min(self.request_timeout() / 2) } else { Duration::ZERO };
        match published.covering(index, patience, enough).await {
            (found, true) => Ok((found, true)),
            _ => Ok((self.covering(index).await?, false)),
        }
    }

    /// The proof of a leaf under a checkpoint that covers it (C2SP tlog-proof).
    pub(super) async fn tlog_proof(
        &self,
        index: u64,
        checkpoint: Arc<SignedCheckpoint>,
    ) -> Result<String, Status> {
        let (engine, size) = (self.engine().clone(), checkpoint.checkpoint().size);
        let hashes = blocking(move || engine.inclusion_proof(index, size)).await?;
        let hashes = hashes.map_err(|error| status::engine(&error))?;
        let proof = TlogProof::new(LeafIndex(index), hashes, &checkpoint, None);
        proof.map(|it| it.to_string()).map_err(|_| status::unexpected("a proof"))
    }

    /// A proof as it travels.
    async fn hashes(
        &self,
        prove: impl FnOnce(&Handle) -> Result<Vec<Digest>, EngineError> + Send + 'static,
    ) -> Result<Vec<Vec<u8>>, Status> {
        let engine = self.engine().clone();
        let hashes = blocking(move || prove(&engine)).await?.map_err(|error| status::engine(&error))?;
        Ok(hashes.iter().map(|hash| hash.to_vec()).collect())
    }

    /// Leaves from `first` on, at most `count`.
    async fn entries(&self, first: u64, count: u64) -> Result<Vec<proto::Entry>, Status> {
        let engine = self.engine().clone();
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let leaves = blocking(move || engine.entries(first, count)).await?;
        let leaves = leaves.map_err(|error| status::engine(&error))?;
        Ok((first..).zip(leaves).map(|(index, leaf)| proto::Entry { index, leaf }).collect())
    }
}

pub(super) fn page_size(asked: i32) -> Result<u64, Status> {
    match u64::try_from(asked) {
        Ok(0) => Ok(PAGE_DEFAULT),
        Ok(count) => Ok(count.min(PAGE_MAXIMUM)),
        Err(_) => {
            let message = format!("page_size is {asked}: it must not be negative; 0 means {PAGE_DEFAULT}");
            let problem = Problem::new(Code::InvalidArgument, reason::PAGE_SIZE_INVALID, message);
            Err(problem.with("page_size", asked).field("page_size").status())
        }
    }
}

/// Which leaves are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    exchange: Option<Pseudonym>,
    event: Option<Event>,
    from: UnixMillis,
    until: Option<UnixMillis>,
}

/// Leaves with their places, and where the next page begins.
type Page = (Vec<(u64, Vec<u8>)>, Option<u64>);

impl Question {
    fn parse(request: &proto::ListEntriesRequest) -> Result<Self, Status> {
        let wrong = |field| status::invalid(&Invalid::FieldValue { field });
        let exchange = match request.exchange.as_slice() {
            [] => None,
            bytes => Some(Pseudonym(bytes.try_into().map_err(|_| wrong("exchange"))?)),
        };
        let event = match request.event.as_str() {
            "" => None,
            name => Some(Event::named(name).ok_or_else(|| wrong("event"))?),
        };
        let until = Some(UnixMillis(request.until_millis)).filter(|until| until.0 > 0);
        Ok(Self { exchange, event, from: UnixMillis(request.from_millis), until })
    }

    /// Whether it is about every leaf.
    fn is_all(&self) -> bool {
        *self == Self { exchange: None, event: None, from: UnixMillis(0), until: None }
    }

    /// At most `count` leaves from `first` on, of the first `size` of the log.
    fn page(&self, engine: &Handle, first: u64, count: u64, size: u64) -> Result<Page, EngineError> {
        let span = self.span(engine, size)?;
        let first = first.max(span.start);
        // A page of all leaves is one read.
        let most = if self.is_all() { count } else { LOOKED_AT };
        let (mut found, mut looked_at, mut next) = (Vec::new(), 0_u64, first);
        while next < span.end && looked_at < most && found.len() < limit(count) {
            let step = STEP.min(span.end.saturating_sub(next)).min(most.saturating_sub(looked_at));
            let places = self.places(engine, next..span.end, limit(step))?;
            let Some(last) = places.last().copied() else {
                next = span.end;
                break;
            };
            for (place, bytes) in read(engine, &places)? {
                next = place.saturating_add(1);
                if self.is_about(&bytes)? {
                    found.push((place, bytes));
                }
                if found.len() >= limit(count) {
                    return Ok((found, (next < span.end).then_some(next)));
                }
            }
            looked_at = looked_at.saturating_add(u64::try_from(places.len()).unwrap_or(u64::MAX));
            next = last.saturating_add(1);
        }
        Ok((found, (next < span.end).then_some(next)))
    }

    /// Candidates in this range, at most `count`, by the index that leaves the fewest.
    fn places(&self, engine: &Handle, range: Range<u64>, count: usize) -> Result<Vec<u64>, EngineError> {
        let by = match (self.exchange, self.event) {
            (Some(exchange), _) => By::Exchange(exchange),
            (None, Some(event)) => By::Event(event),
            (None, None) => return Ok(range.take(count).collect()),
        };
        let mut places = engine.indexed(by, range.start, count)?;
        places.retain(|place| *place < range.end);
        Ok(places)
    }

    /// What was asked for and no index tells.
    fn is_about(&self, bytes: &[u8]) -> Result<bool, EngineError> {
        if self.is_all() {
            return Ok(true);
        }
        let leaf = decode(bytes)?;
        Ok(self.exchange.is_none_or(|it| it == leaf.exchange) && self.event.is_none_or(|it| it == leaf.event))
    }

    /// The leaves of the time asked for. Time never goes back in a log (R-409), so they are in one place.
    fn span(&self, engine: &Handle, size: u64) -> Result<Range<u64>, EngineError> {
        let start = if self.from.0 == 0 { 0 } else { first_at(engine, self.from, size)? };
        let end = self.until.map_or(Ok(size), |until| first_at(engine, until, size))?;
        Ok(start..end.max(start))
    }

    /// Two questions with the same digest are the same.
    fn digest(&self) -> Digest {
        let exchange = self.exchange.map(|it| it.0.to_vec()).unwrap_or_default();
        let event = self.event.map_or("", |event| event.name());
        // Only the first has a length that is not fixed before it, and that is 0 or 16.
        let length = if exchange.is_empty() { 0_u8 } else { 1 };
        let until = self.until.map_or(0, |until| until.0);
        let times = [self.from.0.to_be_bytes(), until.to_be_bytes()].concat();
        Digest::of(&[&[length], &exchange, &times, event.as_bytes()])
    }
}

/// Leaves read at a time.
const STEP: u64 = 250;

/// The leaves at these places, which ascend: one read for each run of neighbours.
fn read(engine: &Handle, places: &[u64]) -> Result<Vec<(u64, Vec<u8>)>, EngineError> {
    let mut found = Vec::with_capacity(places.len());
    for run in places.chunk_by(|one, next| one.checked_add(1) == Some(*next)) {
        let Some(first) = run.first() else { continue };
        let leaves = engine.entries(*first, run.len())?;
        found.extend((*first..).zip(leaves));
    }
    Ok(found)
}

/// The first leaf at or after a time, by halving.
fn first_at(engine: &Handle, time: UnixMillis, size: u64) -> Result<u64, EngineError> {
    let mut range = 0..size;
    while range.start < range.end {
        let middle = range.start.saturating_add(range.end.saturating_sub(range.start) / 2);
        let leaf = decode(&engine.entry(middle)?)?;
        range = if leaf.time < time { middle.saturating_add(1)..range.end } else { range.start..middle };
    }
    Ok(range.start)
}

fn decode(bytes: &[u8]) -> Result<Leaf, EngineError> {
    Leaf::decode(bytes).map_err(|error| {
        tracing::error!(%error, "a stored leaf does not decode; run arbiter fsck");
        EngineError::Damaged
    })
}

fn limit(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn token(question: &Question, next: u64) -> String {
    hex::encode([TOKEN_PREFIX, question.digest().as_bytes(), &next.to_be_bytes()].concat())
}

/// The first index of a page. An index beyond the log was never handed out, nor a token for another question.
fn parse_token(text: &str, question: &Question, size: u64) -> Result<u64, Status> {
    if text.is_empty() {
        return Ok(0);
    }
    let parse = || {
        let bytes = hex::decode(text).ok()?;
        let index = u64::from_be_bytes(*bytes.last_chunk()?);
        (index <= size && token(question, index) == text).then_some(index)
    };
    parse().ok_or_else(|| {
        let message =
            "page_token is not one that this arbiter gave for this question; start again without one";
        Problem::new(Code::InvalidArgument, reason::PAGE_TOKEN_INVALID, message).field("page_token").status()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_sizes_are_coerced_or_refused() {
        assert_eq!(page_size(0).unwrap(), 100);
        assert_eq!(page_size(1).unwrap(), 1);
        assert_eq!(page_size(1000).unwrap(), 1000);
        assert_eq!(page_size(1001).unwrap(), 1000);
        assert_eq!(page_size(i32::MAX).unwrap(), 1000);
        assert_eq!(page_size(-1).unwrap_err().code(), Code::InvalidArgument);
    }

    /// R-544: a token is for one question.
    #[test]
    fn only_own_tokens_are_taken() {
        let all = Question { exchange: None, event: None, from: UnixMillis(0), until: None };
        let questions = [
            all.clone(),
            Question { exchange: Some(Pseudonym([0; 16])), ..all.clone() },
            Question { exchange: Some(Pseudonym([1; 16])), ..all.clone() },
            Question { event: Some(Event::Genesis), ..all.clone() },
            Question { from: UnixMillis(1), ..all.clone() },
            Question { until: Some(UnixMillis(1)), ..all.clone() },
        ];
        for question in &questions {
            assert_eq!(parse_token("", question, 0).unwrap(), 0);
            let good = token(question, 7);
            assert_eq!(parse_token(&good, question, 7).unwrap(), 7);
            assert!(parse_token(&token(question, 8), question, 7).is_err());
            for other in questions.iter().filter(|it| *it != question) {
                assert!(parse_token(&good, other, 100).is_err(), "{question:?} {other:?}");
            }
            for bad in ["7", "zz", &good.to_uppercase(), &good[2..], &format!("{good}00")] {
                assert_eq!(
                    parse_token(bad, question, 100).unwrap_err().code(),
                    Code::InvalidArgument,
                    "{bad}"
                );
            }
        }
    }

    #[test]
    fn waits_are_coerced() {
        assert_eq!(wait(0), Duration::from_secs(5));
        assert_eq!(wait(1), Duration::from_millis(1));
        assert_eq!(wait(u32::MAX), Duration::from_secs(20));
    }
}
