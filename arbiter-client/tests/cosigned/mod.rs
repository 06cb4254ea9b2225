//! The log of the test arbiter as it is published later: larger, cosigned by witnesses, with tiles.
#![allow(dead_code)] // Each test program uses a part.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

use std::collections::BTreeMap;
use std::convert::Infallible;

use arbiter_client::bundle::Bundle;
use arbiter_client::bundle::upgrade::{Upgrade, upgrade};
use arbiter_protocol::crypto::Signer as _;
use arbiter_protocol::evidence::checkpoint::Checkpoint;
use arbiter_protocol::evidence::cosignature::{self, PosixSeconds};
use arbiter_protocol::evidence::merkle::{Frontier, NodeId, node_hash};
use arbiter_protocol::evidence::note::{Note, VerifierKey, signature_line};
use arbiter_protocol::evidence::tile::{TileKind, TilePath};
use arbiter_protocol::ids::Digest;

use super::fixture::{Arbiter, arbiter, key};

/// When the first witness saw the checkpoint; the others a second later each.
pub const SEEN: u64 = 1_700_000_000;

/// The key of a witness; the seeds 51, 52, 53 are those of [`POLICY`].
pub fn witness(seed: u8) -> VerifierKey {
    VerifierKey::cosigner(&format!("witness.example/w{seed}"), key(seed).public_key()).unwrap()
}

/// Two of three witnesses.
pub fn policy() -> String {
    let log = VerifierKey::new(arbiter().log_origin.as_str(), arbiter().log_key).unwrap();
    let [one, two, three] = [51, 52, 53].map(witness);
    format!(
        "# whom we trust\nlog {log}\nwitness one {one}\nwitness two {two}\nwitness three {three}\n\
         group enough 2 one two three\nquorum enough\n"
    )
}

/// A log that has grown. What came after the rulings is made up: subtrees with random roots.
pub struct Published {
    nodes: BTreeMap<(u8, u64), Digest>,
    ruled: u64,
    pub size: u64,
    /// The note, as it is published.
    pub checkpoint: String,
}

impl Published {
    /// With `size` leaves, cosigned by these witnesses.
    pub fn new(arbiter: &Arbiter, size: u64, witnesses: &[u8]) -> Self {
        let (nodes, ruled) = arbiter.tree();
        let mut this = Self { nodes: nodes.clone(), ruled, size, checkpoint: String::new() };
        this.sign(witnesses);
        this
    }

    /// The same with other leaves before the rulings: the log shows somebody else another history.
    pub fn forked(mut self, index: u64, witnesses: &[u8]) -> Self {
        let changed = |(level, node): (u8, u64)| index >> level == node;
        self.nodes.retain(|id, _| !changed(*id));
        self.nodes.insert((0, index), Digest::of(&[b"another leaf"]));
        self.sign(witnesses);
        self
    }

    fn sign(&mut self, witnesses: &[u8]) {
        let node = |id| Ok::<_, Infallible>(self.node(id));
        let root = Frontier::from_nodes(self.size, node).unwrap().root();
        let origin = super::fixture::arbiter().log_origin;
        let checkpoint = Checkpoint { origin: origin.clone(), size: self.size, root };
        let log = VerifierKey::new(origin.as_str(), super::fixture::arbiter().log_key).unwrap();
        let mut lines = vec![signature_line(&log, key(4).sign(checkpoint.text().as_bytes()))];
        for (seed, at) in witnesses.iter().zip(SEEN..) {
            let (witness, at) = (witness(*seed), PosixSeconds::new(at).unwrap());
            let message = cosignature::message(&witness, at, &checkpoint).unwrap();
            lines.push(cosignature::line(&witness, at, &key(*seed).sign(&message)).unwrap());
        }
        self.checkpoint = Note::new(checkpoint.text(), lines).unwrap().to_string();
    }

    fn node(&self, id: NodeId) -> Digest {
        if let Some(hash) = self.nodes.get(&(id.level, id.index)) {
            return *hash;
        }
        // Only what a tile holds is made up: the levels between follow from it.
        let in_a_tile = id.level.is_multiple_of(8);
        if id.level == 0 || in_a_tile && id.index << id.level >= self.ruled {
            return Digest::of(&[b"later", &[id.level], &id.index.to_be_bytes()]);
        }
        let child = |index| self.node(NodeId { level: id.level - 1, index });
        node_hash(&child(id.index * 2), &child(id.index * 2 + 1))
    }

    /// The bytes of a tile of hashes.
    pub fn tile(&self, path: TilePath) -> Vec<u8> {
        let TileKind::Hashes(level) = path.kind() else { panic!("only hashes are asked for") };
        assert!(path.is_within(self.size), "{path}");
        let node = |index| *self.node(NodeId { level: level * 8, index }).as_bytes();
        path.nodes().flat_map(node).collect()
    }

    /// The bundle with proofs from here.
    pub fn upgraded(&self, bundle: &Bundle) -> Bundle {
        let mut bundle = bundle.clone();
        let told =
            upgrade(&mut bundle, &self.checkpoint, |path| Ok::<_, Infallible>(self.tile(path))).unwrap();
        assert!(told.iter().all(|it| matches!(it, Upgrade::Added { .. })), "{told:?}");
        bundle
    }

    /// As a folder that was exported, with every tile that a proof of the first leaves needs.
    pub fn export(&self, folder: &std::path::Path) {
        std::fs::write(folder.join("checkpoint"), &self.checkpoint).unwrap();
        for level in 0..8 {
            let last = (self.size >> (8 * u32::from(level))) / 256;
            for index in [0, last] {
                let Some(path) = TilePath::at(TileKind::Hashes(level), index, self.size) else { continue };
                let file = folder.join(path.to_string());
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, self.tile(path)).unwrap();
            }
        }
    }
}
