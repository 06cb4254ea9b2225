//! The arbiter's disk: the store in memory with faults on demand, and a witness of what really became durable.
//!
//! ```text
//!  engine ─▶ Faulty ─▶ MemStore ─▶ Disk        commit: stored │ lost │ stored and reported as failed
//!              └─▶ Witness: every commit, and whether it is on the disk
//! ```

use std::sync::{Arc, Mutex, MutexGuard};

use arbiter::store::mem::MemStore;
use arbiter::store::raw::Tamper;
use arbiter::store::schema::Family;
use arbiter::store::{Commit, Store as _, StoreError};
use arbiter_protocol::ruling::sequencer::ContentId;

use crate::event::{Defect, Fate};
use crate::front::{Front, Fronted};

/// A commit that the store was asked to make.
pub struct Witnessed {
    pub commit: Commit,
    pub stored: bool,
}

/// What is stored, as bytes.
pub type Snapshot = Vec<(Family, Vec<(Vec<u8>, Vec<u8>)>)>;

/// Every commit, and what was stored before it.
pub type Plan = Arc<Mutex<Vec<(Snapshot, Commit)>>>;

#[derive(Default)]
struct State {
    fate: Fate,
    /// The process is gone: nothing that still runs in this thread may touch the disk.
    dead: bool,
    /// After so many more accesses one fails.
    blind: Option<u32>,
    was_blind: bool,
    witnessed: Vec<Witnessed>,
    /// Before the newest commit, if that is not durable although it was said to be.
    unsynced: Option<Snapshot>,
}

/// A store in which things fail.
pub struct Faulty {
    inner: MemStore,
    defect: Option<Defect>,
    plan: Option<Plan>,
    state: Mutex<State>,
}

fn failed(what: &str) -> StoreError {
    StoreError::Io(what.to_owned())
}

impl Faulty {
    pub fn new(inner: MemStore, defect: Option<Defect>, plan: Option<Plan>) -> Arc<Fronted<Self>> {
        Arc::new(Fronted(Self { inner, defect, plan, state: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What happens to the next commit, if there is one.
    pub fn next_commit(&self, fate: Fate) {
        self.state().fate = fate;
    }

    /// After `more` accesses one fails, or none.
    pub fn go_blind(&self, more: Option<u32>) {
        self.state().blind = more;
    }

    pub fn was_blind(&self) -> bool {
        self.state().was_blind
    }

    /// The process ends.
    pub fn die(&self, power: bool) {
        let mut state = self.state();
        state.dead = true;
        if power && let Some(before) = state.unsynced.take() {
            restore(&self.inner, &before);
        }
        if power {
            self.inner.disk().crash();
        }
    }

    pub fn witnessed(&self) -> Vec<Witnessed> {
        std::mem::take(&mut self.state().witnessed)
    }

    /// The store without faults, for who looks at it from outside.
    pub fn inner(&self) -> &MemStore {
        &self.inner
    }
}

pub fn snapshot(store: &MemStore) -> Snapshot {
    Family::ALL.into_iter().map(|family| (family, store.entries(family))).collect()
}

pub fn restore(store: &MemStore, before: &Snapshot) {
    for (family, entries) in before {
        for (key, _) in store.entries(*family) {
            store.replace(*family, &key, None);
        }
        for (key, value) in entries {
            store.replace(*family, key, Some(value.clone()));
        }
    }
}

impl Front for Faulty {
    /// An access that may fail.
    fn store(&self) -> Result<&MemStore, StoreError> {
        let mut state = self.state();
        if state.dead {
            return Err(failed("the process is gone"));
        }
        state.blind = match state.blind {
            Some(0) => {
                (state.blind, state.was_blind) = (None, true);
                return Err(failed("Input/output error"));
            }
            left => left.map(|it| it - 1),
        };
        Ok(&self.inner)
    }

    fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        let fate = std::mem::take(&mut self.state().fate);
        if self.state().dead {
            return Err(failed("the process is gone"));
        }
        if let Some(plan) = &self.plan {
            plan.lock().unwrap().push((snapshot(&self.inner), commit.clone()));
        }
        let unsynced = self.defect == Some(Defect::Unsynced) && !commit.records.is_empty();
        let before = unsynced.then(|| snapshot(&self.inner));
        let done = if fate == Fate::Lost {
            Err(failed("No space left on device"))
        } else {
            self.inner.commit(commit)
        };
        let mut state = self.state();
        // The next one that is synced covers it.
        state.unsynced = before;
        state.witnessed.push(Witnessed { commit: commit.clone(), stored: done.is_ok() });
        done?;
        if fate == Fate::Unheard { Err(failed("Input/output error")) } else { Ok(()) }
    }

    fn remove_content(&self, content: ContentId) -> Result<(), StoreError> {
        let store = self.store()?;
        if self.defect == Some(Defect::Hoards) { Ok(()) } else { store.remove_content(content) }
    }
}
