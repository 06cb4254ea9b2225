//! A log of any size in memory, whose leaf `i` is the text of `i`: the one of the shared vectors.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arbiter::keys::vault::Vault;
use arbiter::publish::walk::{Source, SourceError};
use arbiter::store::mem::MemStore;
use arbiter::store::{Commit, Store as _, StoredHead, tiles};
use arbiter_protocol::crypto::{MemorySigner, Signer as _};
use arbiter_protocol::evidence::checkpoint::{Checkpoint, Origin, SignedCheckpoint};
use arbiter_protocol::evidence::merkle::{Frontier, leaf_hash};
use arbiter_protocol::evidence::note::{Note, VerifierKey, signature_line};
use arbiter_protocol::evidence::tile::TilePath;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::time::UnixMillis;
use zeroize::Zeroizing;

/// Roots of the shared vectors (`evidence-log.json`, `decimal_leaves`).
pub const ROOTS: [(u64, &str); 10] = [
    (1, "db3426e878068d28d269b6c87172322ce5372b65756d0789001d34835f601c03"),
    (2, "cb00989d94a569c0a678ae042b63dcd4625db96440517f37a6eb7976ea24ed4b"),
    (255, "32f85bcaa87d7bcd05728f09e9aeba350ba6a2f733830087f0597682848be5cb"),
    (256, "828515d033c19d8c901f37eccb8aed919667703486f8d2fff1cf7040321c5db1"),
    (257, "1eda049a4351d86f76252bd7ec0b7746ad75b7fa0316ad5f541dbda458a312c4"),
    (1000, "638afa98022925bacfddadb15ef22fd0199c1ac99c2973b6158243d13fce05c2"),
    (65_535, "74f13a0e1a75689372efb990cf68c664e44c763d9304844955b2eaff624e8df1"),
    (65_536, "f025d06ed804859fd274a1bdacadd6e48ea87634aa91e1edb20143f9498cd02b"),
    (65_537, "dc8795a25fd4bd52a0b84f639fd3139ba160824023d188e428eb5db0f3ce221a"),
    (70_000, "1a4cdfcb66374a0c0dcbef49acbd4976d13ee864fb3cb241fc943cad04f02f7e"),
];

/// A log that grows. What it serves can be falsified.
pub struct Log {
    store: MemStore,
    head: Option<StoredHead>,
    frontier: Frontier,
    signer: MemorySigner,
    /// Where this log differs from the usual one.
    other_from: u64,
    /// What was asked for.
    pub asked: BTreeSet<TilePath>,
    /// The tile that is served with a bit changed, and which byte of it.
    pub falsified: Option<(TilePath, usize)>,
}

impl Log {
    pub fn new() -> Self {
        Self::that_differs_from(u64::MAX)
    }

    /// The same log up to this leaf, then another.
    pub fn that_differs_from(other_from: u64) -> Self {
        let signer = MemorySigner::from_seed(&Zeroizing::new([9; 32]));
        let key = signer.public_key();
        let log_origin = origin();
        let arbiter = ArbiterIdentity { key, log_key: key, log_origin, rules: String::from("none") };
        let (asked, falsified) = (BTreeSet::new(), None);
        let store = MemStore::new(&arbiter, &Arc::new(Vault::new(&Zeroizing::new([9; 32])))).unwrap();
        Self { store, head: None, frontier: Frontier::new(), signer, other_from, asked, falsified }
    }

    pub fn key(&self) -> VerifierKey {
        VerifierKey::new(origin().as_str(), self.signer.public_key()).unwrap()
    }

    /// Grows to this size and signs.
    pub fn grow(&mut self, size: u64) -> SignedCheckpoint {
        let (mut leaves, mut nodes) = (Vec::new(), Vec::new());
        for index in self.frontier.size()..size {
            let other = if index >= self.other_from { "other " } else { "" };
            let leaf = format!("{other}{index}").into_bytes();
            nodes.extend(self.frontier.append(leaf_hash(&leaf)));
            leaves.push(leaf);
        }
        let commits = self.head.as_ref().map_or(0, |head| head.commits) + 1;
        let head = StoredHead { commits, size, root: self.frontier.root(), time: UnixMillis(1) };
        let (expected, records) = (self.head.replace(head.clone()), BTreeMap::new());
        let (decided, erased, policy) = (Vec::new(), Vec::new(), None);
        let lost = Vec::new();
        let commit = Commit { expected, head, records, decided, erased, policy, leaves, nodes, lost };
        self.store.commit(&commit).unwrap();
        self.sign(Checkpoint { origin: origin(), size, root: self.frontier.root() })
    }

    pub fn sign(&self, checkpoint: Checkpoint) -> SignedCheckpoint {
        let text = checkpoint.text();
        let line = signature_line(&self.key(), self.signer.sign(text.as_bytes()));
        let note = Note::new(text, vec![line]).unwrap();
        SignedCheckpoint::verify(&note.to_string(), &self.key()).unwrap()
    }
}

impl Source for Log {
    fn tile(&mut self, path: TilePath) -> Result<Vec<u8>, SourceError> {
        self.asked.insert(path);
        let mut bytes = tiles::read(&self.store, path).unwrap();
        if let Some((falsified, at)) = self.falsified
            && falsified == path
        {
            let at = at % bytes.len();
            bytes[at] ^= 0x10;
        }
        Ok(bytes)
    }
}

fn origin() -> Origin {
    Origin::parse("decimal.example/log").unwrap()
}

/// What the independent reader says about a folder: size, root, number of files. `None` without Python, which CI has.
pub fn read_back(folder: &Path) -> Option<(u64, String, usize)> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/publish/reader.py");
    let output = match Command::new("python3").arg(script).arg(folder).output() {
        Ok(output) => output,
        Err(error) => {
            assert!(std::env::var("CI").is_err(), "CI needs python3: {error}");
            eprintln!("SKIPPED: no python3, so nothing was read back");
            return None;
        }
    };
    let (said, wrong) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{wrong}");
    let words: Vec<_> = said.split_whitespace().collect();
    Some((words[0].parse().unwrap(), words[1].to_owned(), words[2].parse().unwrap()))
}

/// Every file of a folder and what is in it.
pub fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}
