//! What must hold of the engine's store, seen from outside.

use std::collections::BTreeSet;

use arbiter::engine::Handle;
use arbiter::fsck;
use arbiter::store::Store as _;
use arbiter::store::mem::MemStore;
use arbiter::store::raw::Tamper as _;
use arbiter::store::schema::Family;
use arbiter_protocol::evidence::checkpoint::{Checkpoint, SignedCheckpoint};
use arbiter_protocol::evidence::merkle::verify_consistency;
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::ruling::sequencer::{ContentId, Record};

use crate::court::Court;
use crate::oracle::{Oracle, attestation};
use crate::stage::stage;

impl Court {
    /// Looks at the store; where nothing is on its way, also at the contents.
    pub fn audit(&self, oracle: &mut Oracle, contents: bool) {
        if let (Some(store), Some(engine)) = (self.store(), self.engine()) {
            oracle.audit(store, engine, contents);
        }
    }

    /// F14.
    pub fn last_check(&self, oracle: &mut Oracle) {
        let Some(store) = self.store() else { return };
        let clean = fsck::check(store, &stage().desk.arbiter, None, &mut |_| {}).fault.is_none();
        oracle.must(clean, || "F14: fsck finds a fault".to_owned());
    }
}

impl Oracle {
    /// After a start, or at the end: nothing that was ever shown or stored is lost, and of contents exactly those are
    /// there that a record names.
    fn audit(&mut self, store: &MemStore, engine: &Handle, contents: bool) {
        for (exchange, told) in &self.verdicts.clone() {
            let found = store.record(exchange).ok().and_then(|it| it.verdict).map(|it| it.statement);
            self.must(found.as_ref() == Some(told), || "F7: an acknowledged verdict was lost".to_owned());
        }
        for ((exchange, depositor), told) in &self.attestations.clone() {
            let found = store.record(exchange).ok().and_then(|it| attestation(&it, *depositor).cloned());
            self.must(found.as_ref() == Some(told), || "F7: an acknowledged attestation was lost".to_owned());
        }
        for (exchange, known) in &self.records.clone() {
            // Of an exchange whose request was let go nothing is kept.
            let found = store.record(exchange);
            let same = |it: &Record| it == known || (it.is_blank() && known.is_blank());
            self.must(found.as_ref().is_ok_and(same), || "F7: a durable record was lost".to_owned());
        }
        let leaves = store.leaves(0, self.leaves.len() + 1);
        self.must(leaves.is_ok_and(|it| it == self.leaves), || "F7: the log lost leaves".to_owned());
        if contents {
            self.contents(store);
        }
        self.consistent(engine);
    }

    fn contents(&mut self, store: &MemStore) {
        let named: BTreeSet<ContentId> =
            self.records.values().flat_map(|it| it.held.iter().filter_map(|(_, id)| *id)).collect();
        let id = |key: &[u8]| ContentId(u64::from_be_bytes(key[..8].try_into().unwrap()));
        let ids = |family| -> BTreeSet<_> { store.entries(family).iter().map(|(key, _)| id(key)).collect() };
        let (heads, chunks, unnamed) = (ids(Family::Contents), ids(Family::Chunks), ids(Family::Unnamed));
        self.must(named.is_subset(&heads) && named.is_subset(&chunks), || {
            "R-411: a content that a record names is lost".to_owned()
        });
        let left = heads.union(&chunks).chain(&unnamed).any(|it| !named.contains(it));
        self.must(!left && unnamed.is_empty(), || "R-407: a content is left that no record names".to_owned());
        for content in named {
            let whole = store.content(content).ok().flatten();
            let whole = whole.is_some_and(|it| {
                (0..it.chunks).all(|n| store.chunk(content, n).is_ok_and(|it| it.is_some()))
            });
            self.must(whole, || "R-411: a content that a record names has lost a chunk".to_owned());
        }
    }

    /// Every tree ever shown is the beginning of the newest.
    fn consistent(&mut self, engine: &Handle) {
        let key = VerifierKey::new("arbiter.test/log", stage().desk.arbiter.log_key).unwrap();
        let Ok(note) = engine.checkpoint() else { return };
        let Ok(newest) = SignedCheckpoint::verify(&note, &key) else {
            return self.must(false, || "F14: a checkpoint is not signed by the log".to_owned());
        };
        let Checkpoint { size, root, .. } = newest.checkpoint().clone();
        self.tree_shown(size, root);
        for (old, old_root) in self.roots.clone() {
            let joined = old <= size
                && engine
                    .consistency_proof(old, size)
                    .is_ok_and(|proof| verify_consistency(old, size, &proof, &old_root, &root).is_ok());
            self.must(joined, || format!("F14: no proof joins the trees of {old} and {size} leaves"));
        }
    }
}
