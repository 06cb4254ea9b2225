//! The indices of the log: every leaf is found by its event and by its exchange, and nothing else is found.

use std::collections::BTreeMap;

use arbiter_protocol::evidence::leaf::Leaf;

use super::log::Good;
use super::{Problem, Report};
use crate::store::{By, Store, StoreError};

/// The first of these leaves, which begin at `first`, that an index does not find.
pub(super) fn unfound(store: &dyn Store, first: u64, leaves: &[Leaf]) -> Option<(u64, Problem)> {
    if are_found(store, first, leaves) {
        return None;
    }
    (first..).zip(leaves).find_map(|(index, leaf)| match is_found(store, index, leaf) {
        Ok(true) => None,
        Ok(false) => Some((index, Problem::Indices)),
        Err(error) => Some((index, error.into())),
    })
}

/// If the whole log is good: that the indices find nothing else.
pub(super) fn check_count(store: &dyn Store, good: &Good, report: &mut Report) {
    if good.leaves < good.stored {
        return; // What the rest must be found by cannot be told.
    }
    match store.index_entries() {
        Ok(entries) if Some(entries) == good.leaves.checked_mul(2) => {}
        Ok(_) => report.found(None, None, Problem::Indices),
        Err(error) => report.found(None, None, error.into()),
    }
}

/// Whether all are found, read by event and by exchange and not leaf by leaf.
fn are_found(store: &dyn Store, first: u64, leaves: &[Leaf]) -> bool {
    let mut expected: BTreeMap<Vec<u8>, (By, Vec<u64>)> = BTreeMap::new();
    for (index, leaf) in (first..).zip(leaves) {
        for by in By::both(leaf) {
            // The key of leaf 0 names what it is found by.
            expected.entry(by.key(0)).or_insert_with(|| (by, Vec::new())).1.push(index);
        }
    }
    expected.values().all(|(by, indices)| {
        let start = indices.first().copied().unwrap_or_default();
        store.indexed(*by, start, indices.len()).is_ok_and(|found| found == *indices)
    })
}

fn is_found(store: &dyn Store, index: u64, leaf: &Leaf) -> Result<bool, StoreError> {
    for by in By::both(leaf) {
        if store.indexed(by, index, 1)? != [index] {
            return Ok(false);
        }
    }
    Ok(true)
}
