//! Whose signature on a checkpoint counts: the logs and witnesses of a tlog-policy.

use arbiter_protocol::evidence::checkpoint::{CheckpointError, SignedCheckpoint};
use arbiter_protocol::evidence::note::NoteError;
use arbiter_protocol::evidence::policy::Policy;
use thiserror::Error;

/// The log that was read is not the one to be audited. The caller named the wrong log, policy or arbiter; or somebody else
/// answers in its place.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PolicyFault {
    /// No log of the policy signed it.
    #[error("the checkpoint is not signed by a log of the policy: another log, or another key")]
    OtherLog,
    /// Leaf 0 names another arbiter or other rules.
    #[error("the log is not the one of the arbiter that is pinned: leaf 0 names another key, log or rules")]
    OtherArbiter,
}

/// A checkpoint as it was served.
pub(super) enum Checked {
    /// A log of the policy signed it.
    Signed(SignedCheckpoint),
    /// It is no checkpoint, or a signature that counts does not verify.
    Bad(CheckpointError),
}

/// Reads a checkpoint.
pub(super) fn checked(policy: &Policy, note: &str) -> Result<Checked, PolicyFault> {
    match policy.checkpoint(note) {
        Ok(signed) => Ok(Checked::Signed(signed)),
        Err(CheckpointError::Note(NoteError::SignatureUnknown) | CheckpointError::OtherOrigin) => {
            Err(PolicyFault::OtherLog)
        }
        Err(error) => Ok(Checked::Bad(error)),
    }
}
