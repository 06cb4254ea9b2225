//! Crash points: every way to cut a commit short, as if a store did not keep its word that a commit is all or nothing.
//!
//! ```text
//!  commit = w1 w2 … wn      the first k of them, for every k      all but one, for each
//!     ─▶ start: refused │ nothing of it is there │ all of it is there │ accepted although torn: then fsck says so
//! ```

use std::sync::Arc;

use arbiter::clock::ManualClock;
use arbiter::engine::Engine;
use arbiter::fsck;
use arbiter::store::mem::{Disk, MemStore};
use arbiter::store::raw::Tamper;
use arbiter::store::schema::{self, Family, Write};
use arbiter::store::{Commit, Store};
use arbiter_protocol::time::UnixMillis;

use crate::common::COMPLAIN_BY;
use crate::court::keys;
use crate::disk::{Snapshot, restore, snapshot};
use crate::stage::stage;

/// What became of the starts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    pub refused: usize,
    pub nothing: usize,
    pub everything: usize,
    /// Started, and only `fsck` knows that something is missing: of what family.
    pub unseen: Vec<Family>,
}

/// A disk with what was there before and some writes of a commit.
fn disk(before: &Snapshot, writes: &[Write]) -> Disk {
    let store = MemStore::new(&stage().desk.arbiter, keys().vault()).unwrap();
    restore(&store, before);
    for write in writes {
        match write {
            Write::Put { family, key, value } => store.replace(*family, key, Some(value.clone())),
            Write::Remove { family, key } => store.replace(*family, key, None),
            Write::RemoveAll { .. } => unreachable!("a commit removes no content"),
        }
    }
    store.disk().clone()
}

fn family(write: &Write) -> Family {
    match write {
        Write::Put { family, .. } | Write::Remove { family, .. } | Write::RemoveAll { family, .. } => *family,
    }
}

/// Everything but the head, after garbage was removed.
fn view(disk: &Disk) -> Snapshot {
    let store = MemStore::open(disk, &stage().desk.arbiter, keys().vault()).unwrap();
    snapshot(&store).into_iter().filter(|(family, _)| *family != Family::Meta).collect()
}

/// Every prefix of the writes of a commit, and then every one that is left out.
pub fn prefixes(commit: &Commit) -> Vec<Vec<Write>> {
    let writes = schema::writes(commit, keys().vault());
    (0..=writes.len()).map(|end| writes[..end].to_vec()).collect()
}

/// All writes but one, with the family of that one.
pub fn omissions(commit: &Commit) -> Vec<(Family, Vec<Write>)> {
    let writes = schema::writes(commit, keys().vault());
    let without = |left_out: usize| {
        let kept = writes.iter().enumerate().filter(|(at, _)| *at != left_out);
        (family(&writes[left_out]), kept.map(|(_, it)| it.clone()).collect())
    };
    (0..writes.len()).map(without).collect()
}

impl Cuts {
    /// Starts on a cut commit. `left_out`: of what family, if it is a single one.
    pub fn try_start(&mut self, before: &Snapshot, commit: &Commit, cut: &[Write], left_out: Option<Family>) {
        let nothing = view(&disk(before, &[]));
        let everything = view(&disk(before, &schema::writes(commit, keys().vault())));
        let disk = disk(before, cut);
        let arbiter = &stage().desk.arbiter;
        let Ok(store) = MemStore::open(&disk, arbiter, keys().vault()) else {
            self.refused += 1;
            return;
        };
        let store = Arc::new(store);
        let clock = Box::new(ManualClock::new(UnixMillis(COMPLAIN_BY)));
        let as_store: Arc<dyn Store> = store.clone();
        if Engine::start_by_hand(stage().desk.clone(), keys(), as_store, clock).is_err() {
            self.refused += 1;
            return;
        }
        let now = view(&disk);
        let is_new = |it: &Snapshot| it.iter().all(|(_, entries)| entries.is_empty());
        if now == everything {
            self.everything += 1;
        } else if now == nothing
            || (is_new(&nothing)
                && commit.expected.is_none()
                && store.head().unwrap().is_some_and(|it| it.size == 1))
        {
            // A new log begins again where nothing was there.
            self.nothing += 1;
        } else {
            let found = fsck::check(&*store, arbiter, Some(keys().veil()), &mut |_| {}).fault.is_some();
            assert!(found, "a commit without {left_out:?} is started on, and fsck finds nothing");
            self.unseen.push(left_out.expect("the beginning of a commit is never started on"));
        }
    }
}
