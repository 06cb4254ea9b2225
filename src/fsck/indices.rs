//! The indices of the log: every leaf is found by its event and by its exchange, and nothing else is found.

use std::collections::BTreeMap;

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
        if are_found(store, done, &page) {
            done = done.saturating_add(u64::try_from(page.len()).unwrap_or(u64::MAX));
            continue;
        }
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

/// Whether every leaf of a page is found, read by event and by exchange and not leaf by leaf. If not, [`is_found`] says which.
fn are_found(store: &dyn Store, first: u64, page: &[Vec<u8>]) -> bool {
    let mut expected: BTreeMap<Vec<u8>, (By, Vec<u64>)> = BTreeMap::new();
    for (index, bytes) in (first..).zip(page) {
        let Ok(leaf) = Leaf::decode(bytes) else { return false };
        for by in By::both(&leaf) {
            // The key of leaf 0 names what it is found by.
            expected.entry(by.key(0)).or_insert_with(|| (by, Vec::new())).1.push(index);
        }
    }
    expected.values().all(|(by, indices)| {
        let start = indices.first().copied().unwrap_or_default();
        store.indexed(*by, start, indices.len()).is_ok_and(|found| found == *indices)
    })
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
