//! High-water marks: what others remember of how far the log was (R-522).
//!
//! ```text
//!  journal ──┐                         ┌─ none is larger, each is a beginning of ours ─▶ go on
//!  export ───┼─ size, root ─▶ compare ─┤
//!  witness ──┘                         └─ larger, or another root ─▶ only reads are served
//! ```
//!
//! A data folder that was put back from an old copy fits together in itself. Only somebody who saw more can tell.
//!
//! Invariants: a mark is asked before anything is signed; one that is out of reach is a warning, one that is not ours or
//! cannot be read refuses the start: it was configured, and silence would look like consent.

use arbiter_protocol::evidence::merkle::Frontier;
use arbiter_protocol::ids::Digest;
use thiserror::Error;

use super::read_only::{ReadOnly, Why};
use super::start::StartError;
use crate::store::{Store, StoreError, StoredHead};

/// Somebody or something that remembers how far the log was.
pub trait HighWater {
    /// What it is called in errors and log lines, e.g. `the export folder /var/log/arbiter`.
    fn name(&self) -> String;
    /// The newest it knows; `None` if it knows nothing yet. The text of a note is verified by the implementation.
    fn newest(&self) -> Result<Option<Mark>, MarkError>;
}

/// How far the log was, at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Leaves.
    pub size: u64,
    /// Root of these leaves, where it is known.
    pub root: Option<Digest>,
    /// How often the store had been committed, where that is known.
    pub commits: Option<u64>,
    /// The signed note that says so, where there is one.
    pub note: Option<String>,
}

/// Why a mark says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MarkError {
    /// It cannot be reached now. The start goes on without it.
    #[error("it cannot be reached: {0}")]
    Away(String),
    /// It is not one of this log, or cannot be read. The start is refused.
    #[error("it cannot be used: {0}")]
    Unusable(String),
}

/// Compares the store with every mark; `Some` if nothing may be signed.
pub(super) fn compare(
    store: &dyn Store,
    head: Option<&StoredHead>,
    marks: &[&dyn HighWater],
) -> Result<Option<ReadOnly>, StartError> {
    let (mut found, mut newest): (Option<Why>, Option<Mark>) = (None, None);
    for mark in marks {
        let name = mark.name();
        let known = match mark.newest() {
            Ok(None) => continue,
            Ok(Some(known)) => known,
            Err(MarkError::Away(problem)) => {
                tracing::warn!(mark = name, problem, rule = "R-522", "a high-water mark is out of reach");
                continue;
            }
            Err(error @ MarkError::Unusable(_)) => {
                return Err(StartError::Mark { mark: name, problem: error.to_string() });
            }
        };
        found = found.or(against(store, head, name, &known)?);
        let larger = newest.as_ref().is_none_or(|it| it.size < known.size);
        if known.note.is_some() && larger {
            newest = Some(known);
        }
    }
    Ok(found.map(|why| ReadOnly { why, note: newest.and_then(|it| it.note) }))
}

/// What speaks against going on, by one mark.
fn against(
    store: &dyn Store,
    head: Option<&StoredHead>,
    mark: String,
    known: &Mark,
) -> Result<Option<Why>, StoreError> {
    let (size, commits) = head.map_or((0, 0), |head| (head.size, head.commits));
    if known.size > size || known.commits.is_some_and(|known| known > commits) {
        return Ok(Some(Why::RolledBack { mark, known: known.size, size }));
    }
    let Some(claimed) = known.root else { return Ok(None) };
    let root = Frontier::from_nodes(known.size, |node| store.required_node(node))?.root();
    let other = root != claimed;
    Ok(other.then_some(Why::Forked { mark, size: known.size, known: claimed, root }))
}
