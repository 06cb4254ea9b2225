//! The published checkpoint: signed by this log, and of its first leaves.

use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::message::agreement::ArbiterIdentity;

use super::log::Good;
use super::{Problem, Report};
use crate::keys::guard::durable_root;
use crate::store::Store;

/// Checks it as far as the log is good.
pub(super) fn check(store: &dyn Store, arbiter: &ArbiterIdentity, good: &Good, report: &mut Report) {
    let note = match store.published() {
        Ok(None) => return,
        Ok(Some(note)) => note,
        Err(error) => return report.found(None, None, error.into()),
    };
    let key = VerifierKey::new(arbiter.log_origin.as_str(), arbiter.log_key).ok();
    let signed = key.and_then(|key| SignedCheckpoint::verify(&note, &key).ok());
    let Some(signed) = signed else { return report.found(None, None, Problem::Published) };
    let checkpoint = signed.checkpoint();
    if checkpoint.size <= good.stored && checkpoint.size > good.leaves {
        return; // Where the log is damaged its roots cannot be told.
    }
    match durable_root(store, checkpoint.size) {
        Ok(Some(root)) if root == checkpoint.root => {}
        Ok(_) => report.found(None, None, Problem::Published),
        Err(error) => report.found(None, None, error.into()),
    }
}
