//! The indices of the log: every leaf is found by its event and by its exchange, and nothing else is found.

use arbiter_protocol::evidence::leaf::Leaf;

use super::log::Good;
use super::{Problem, Report};
use crate::store::{By, Store, StoreError};

const PAGE: usize = 512;

/// Checks the indices of all good leaves. If the whole log is good: that there are no others, too.
pub(super) fn check(store: &dyn Store, good: &Good, report: &mut Report) {
    let mut done = 0u64;
    while done < good.leaves {
        let left = usize::try_from(good.leaves.saturating_sub(done)).unwrap_or(usize::MAX);
        let page = match store.leaves(done, PAGE.min(left)) {
            Ok(page) => page,
            Err(error) => return report.found(Some(done), None, error.into()),
        };
        for bytes in page {
            match is_found(store, done, &bytes) {
                Ok(true) => {}
                Ok(false) => return report.found(Some(done), None, Problem::Indices),
                Err(error) => return report.found(Some(done), None, error.into()),
            }
            done = done.saturating_add(1);
        }
    }
    if good.leaves < good.stored {
        return; // What the rest must be found by cannot be told.
    }
    match store.index_entries() {
        Ok(entries) if Some(entries) == good.leaves.checked_mul(2) => {}
        Ok(_) => report.found(None, None, Problem::Indices),
        Err(error) => report.found(None, None, error.into()),
    }
}

fn is_found(store: &dyn Store, index: u64, bytes: &[u8]) -> Result<bool, StoreError> {
    let Ok(leaf) = Leaf::decode(bytes) else { return Ok(false) };
    for by in By::both(&leaf) {
        if store.indexed(by, index, 1)? != [index] {
            return Ok(false);
        }
    }
    Ok(true)
}
