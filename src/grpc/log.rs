//! `EvidenceLogService`: read access to the log for auditors. Nothing here is secret.
//!
//! ```text
//!  GetCheckpoint ─▶ newest signed note      ListEntries ─▶ page, token ─▶ page, token ─▶ … ─▶ page, ""
//! ```
//!
//! Invariants
//! - Only leaves that a signed checkpoint covers are shown.
//! - Paging (AIP-158): negative sizes are refused, large ones coerced; a token is opaque; only an empty
//!   `next_page_token` ends a listing.

use arbiter_protocol::ids::Digest;
use arbiter_protocol::wire::arbiter as proto;
use arbiter_protocol::wire::arbiter::evidence_log_service_server::EvidenceLogService;
use tonic::{Code, Request, Response, Status};

use super::status::{self, Problem, reason};
use super::{Service, blocking};
use crate::engine::{EngineError, Handle};

/// Entries in a page if the caller does not say.
const PAGE_DEFAULT: u64 = 100;
/// Entries in the largest page: with 1 KiB a leaf it stays below the 4 MiB that clients take.
const PAGE_MAXIMUM: u64 = 1000;
/// What a page token starts with; a change of its meaning changes it.
const TOKEN_PREFIX: &[u8] = b"entries/1/";

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
        let size = self.engine().log_size();
        let first = parse_token(&request.page_token, size)?;
        let entries = self.entries(first, count.min(size.saturating_sub(first))).await?;
        let next = first.saturating_add(u64::try_from(entries.len()).unwrap_or(u64::MAX));
        let next_page_token = if next < size { token(next) } else { String::new() };
        Ok(Response::new(proto::ListEntriesResponse { entries, next_page_token }))
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

impl Service {
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

fn token(next: u64) -> String {
    hex::encode([TOKEN_PREFIX, &next.to_be_bytes()].concat())
}

/// The first index of a page. An index beyond the log was never handed out.
fn parse_token(text: &str, size: u64) -> Result<u64, Status> {
    if text.is_empty() {
        return Ok(0);
    }
    let parse = || {
        let bytes = hex::decode(text).ok()?;
        let index = u64::from_be_bytes(bytes.strip_prefix(TOKEN_PREFIX)?.try_into().ok()?);
        (index <= size && token(index) == text).then_some(index)
    };
    parse().ok_or_else(|| {
        let message = "page_token is not one that this arbiter gave; start again without one";
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

    #[test]
    fn only_own_tokens_are_taken() {
        assert_eq!(parse_token("", 0).unwrap(), 0);
        assert_eq!(parse_token(&token(7), 7).unwrap(), 7);
        assert!(parse_token(&token(8), 7).is_err());
        for bad in ["7", "zz", &token(7).to_uppercase(), &token(7)[2..], &format!("{}00", token(7))] {
            assert_eq!(parse_token(bad, 100).unwrap_err().code(), Code::InvalidArgument, "{bad}");
        }
    }
}
