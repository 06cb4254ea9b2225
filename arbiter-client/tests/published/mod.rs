//! Logs as an arbiter publishes them, for tests and benches: leaves of many exchanges, a static folder of tiles, signed
//! checkpoints, cosignatures. Nothing of the auditor is used to make them.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use arbiter_protocol::crypto::{MemorySigner, Signer as _};
use arbiter_protocol::evidence::checkpoint::{Checkpoint, Origin};
use arbiter_protocol::evidence::cosignature::{self, PosixSeconds};
use arbiter_protocol::evidence::leaf::{Event, Leaf, Pseudonym, issuer_id};
use arbiter_protocol::evidence::merkle::{Frontier, NodeId, leaf_hash};
use arbiter_protocol::evidence::note::{Note, VerifierKey, signature_line};
use arbiter_protocol::evidence::policy::Policy;
use arbiter_protocol::evidence::record::record_root;
use arbiter_protocol::evidence::tile::{TileKind, TilePath, encode_entries, grown};
use arbiter_protocol::ids::{Digest, LeafIndex};
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::role::arbiter::RULES;
use arbiter_protocol::ruling::notice::ErasureReason;
use arbiter_protocol::ruling::sequencer::genesis_token;
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use zeroize::Zeroizing;

/// What an exchange can leave in the log.
const STORIES: [&[(Event, &str)]; 10] = [
    &[(Event::VerdictAborted, "R-403")],
    &[(Event::VerdictReplaced, "R-404")],
    &[(Event::DepositAccepted, "R-407"), (Event::VerdictReplaced, "R-406")],
    &[(Event::DepositAccepted, "R-407"), (Event::VerdictAborted, "R-405")],
    &[(Event::DepositAccepted, "R-415"), (Event::VerdictReplaced, "R-416")],
    &[(Event::VerdictRevoked, "R-418"), (Event::PaymentVoided, "R-423"), (Event::PaymentPosted, "R-423")],
    &[
        (Event::DepositAccepted, "R-420"),
        (Event::DepositAccepted, "R-420"),
        (Event::VerdictReplaced, "R-421"),
    ],
    &[(Event::DepositAccepted, "R-425"), (Event::VerdictAffidavit, "R-426")],
    &[(Event::DepositAccepted, "R-420")],
    &[(Event::VerdictReplaced, "R-404"), (Event::Erasure, "R-533")],
];

pub fn signer(byte: u8) -> MemorySigner {
    MemorySigner::from_seed(&Zeroizing::new([byte; 32]))
}

pub fn identity() -> ArbiterIdentity {
    ArbiterIdentity {
        key: signer(3).public_key(),
        log_key: signer(4).public_key(),
        log_origin: Origin::parse("arbiter.test/evidence").unwrap(),
        rules: RULES.to_owned(),
    }
}

fn log_key() -> VerifierKey {
    VerifierKey::new("arbiter.test/evidence", signer(4).public_key()).unwrap()
}

fn witness(byte: u8) -> VerifierKey {
    VerifierKey::cosigner(&format!("witness.test/w{byte}"), signer(byte).public_key()).unwrap()
}

/// A policy with this log; with witnesses, so many of the two named must have cosigned.
pub fn policy(witnesses: usize) -> Policy {
    let mut text = format!("log {}\n", log_key());
    if witnesses > 0 {
        for byte in [31, 32] {
            text.push_str(&format!("witness w{byte} {}\n", witness(byte)));
        }
        text.push_str(&format!("group both {witnesses} w31 w32\nquorum both\n"));
    } else {
        text.push_str("quorum none\n");
    }
    Policy::parse(&text).unwrap()
}

/// The same numbers for the same seed (splitmix64).
pub struct Chooser(pub u64);

impl Chooser {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

struct Running {
    exchange: Pseudonym,
    left: &'static [(Event, &'static str)],
    sequence: u32,
    previous: Option<LeafIndex>,
}

/// A log in memory.
#[derive(Clone)]
pub struct Log {
    pub leaves: Vec<Vec<u8>>,
}

impl Log {
    /// The log of an honest arbiter, with exchanges of all kinds that go on side by side.
    pub fn honest(size: usize, seed: u64) -> Self {
        let arbiter = identity();
        let mut chooser = Chooser(seed);
        let mut running: Vec<Running> = Vec::new();
        let mut leaves = Vec::with_capacity(size);
        for number in 0..size {
            let index = LeafIndex(u64::try_from(number).unwrap());
            let base = Leaf {
                index,
                event: Event::Genesis,
                reason: "R-502",
                time: UnixMillis(1_800_000_000_000 + 7 * index.0),
                clock_uncertainty: DurationMillis(500),
                exchange: Pseudonym([0; 16]),
                sequence: 0,
                previous: None,
                policy: Digest::of(&[RULES.as_bytes()]),
                build: Digest::of(&[b"build"]),
                issuer: issuer_id(&arbiter.key),
                token: genesis_token(&arbiter),
                record: record_root(&[]),
            };
            if number == 0 {
                leaves.push(base.encode());
                continue;
            }
            if chooser.below(50) == 0 {
                let own = [(Event::PolicyChange, "R-535"), (Event::Anchor, "R-536")];
                let (event, reason) = own[chooser.below(2)];
                let token = Digest::of(&[b"declared", &index.0.to_be_bytes()]);
                leaves.push(Leaf { event, reason, token, ..base }.encode());
                continue;
            }
            if running.is_empty() || chooser.below(3) > 0 {
                let id = Digest::of(&[&seed.to_be_bytes(), &index.0.to_be_bytes()]);
                let exchange = Pseudonym(id.as_bytes()[..16].try_into().unwrap());
                let left = STORIES[chooser.below(STORIES.len())];
                running.push(Running { exchange, left, sequence: 0, previous: None });
            }
            let place = chooser.below(running.len());
            let it = &mut running[place];
            let ((event, reason), rest) = it.left.split_first().unwrap();
            let leaf = Leaf {
                event: *event,
                reason,
                exchange: it.exchange,
                sequence: it.sequence,
                previous: it.previous,
                token: match event {
                    Event::Erasure => ErasureReason::Retention.token(&it.exchange),
                    _ => Digest::of(&[b"token", &index.0.to_be_bytes()]),
                },
                record: match event {
                    Event::Erasure => record_root(&[]),
                    _ => Digest::of(&[b"record", &index.0.to_be_bytes()]),
                },
                ..base
            };
            leaves.push(leaf.encode());
            (it.left, it.sequence, it.previous) = (rest, it.sequence + 1, Some(index));
            if it.left.is_empty() {
                running.swap_remove(place);
            }
        }
        Self { leaves }
    }

    pub fn leaf(&self, index: usize) -> Leaf {
        Leaf::decode(&self.leaves[index]).unwrap()
    }

    /// Changes one leaf, whatever follows from it.
    pub fn change(&mut self, index: usize, change: impl FnOnce(&mut Leaf)) {
        let mut leaf = self.leaf(index);
        change(&mut leaf);
        self.leaves[index] = leaf.encode();
    }

    /// The first leaf from `from` on that is so.
    pub fn find(&self, from: usize, is: impl Fn(&Leaf) -> bool) -> usize {
        (from..self.leaves.len()).find(|index| is(&self.leaf(*index))).unwrap()
    }

    pub fn tree(&self) -> (Frontier, BTreeMap<NodeId, Digest>) {
        let (mut frontier, mut nodes) = (Frontier::new(), BTreeMap::new());
        for leaf in &self.leaves {
            nodes.extend(frontier.append(leaf_hash(leaf)));
        }
        (frontier, nodes)
    }

    pub fn checkpoint(&self) -> Checkpoint {
        let (frontier, _) = self.tree();
        Checkpoint { origin: identity().log_origin, size: frontier.size(), root: frontier.root() }
    }

    /// Writes everything that a tile server would serve at this size, beside what is there.
    pub fn publish(&self, folder: &Path, cosigned_by: &[u8]) {
        self.publish_tiles(folder);
        fs::write(folder.join("checkpoint"), note(&self.checkpoint(), cosigned_by)).unwrap();
    }

    /// The same for the log of another arbiter.
    pub fn publish_as(&self, folder: &Path, arbiter: &ArbiterIdentity, log_signer: &MemorySigner) {
        self.publish_tiles(folder);
        let checkpoint = Checkpoint { origin: arbiter.log_origin.clone(), ..self.checkpoint() };
        let key = VerifierKey::new(arbiter.log_origin.as_str(), arbiter.log_key).unwrap();
        let line = signature_line(&key, log_signer.sign(checkpoint.text().as_bytes()));
        let note = Note::new(checkpoint.text(), vec![line]).unwrap().to_string();
        fs::write(folder.join("checkpoint"), note).unwrap();
    }

    fn publish_tiles(&self, folder: &Path) {
        let (frontier, nodes) = self.tree();
        for path in grown(0, frontier.size()) {
            let range = path.nodes();
            let bytes = match path.kind() {
                TileKind::Entries => {
                    let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                    encode_entries(self.leaves[range].iter().map(Vec::as_slice)).unwrap()
                }
                TileKind::Hashes(level) => {
                    range.flat_map(|index| *nodes[&NodeId { level: level * 8, index }].as_bytes()).collect()
                }
            };
            write(folder, &path, &bytes);
        }
    }
}

pub fn write(folder: &Path, path: &TilePath, bytes: &[u8]) {
    let file = folder.join(path.to_string());
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, bytes).unwrap();
}

/// A checkpoint signed by the log, and by these witnesses.
pub fn note(checkpoint: &Checkpoint, cosigned_by: &[u8]) -> String {
    let text = checkpoint.text();
    let mut lines = vec![signature_line(&log_key(), signer(4).sign(text.as_bytes()))];
    for byte in cosigned_by {
        let (key, time) = (witness(*byte), PosixSeconds::new(1_900_000_000).unwrap());
        let message = cosignature::message(&key, time, checkpoint).unwrap();
        lines.push(cosignature::line(&key, time, &signer(*byte).sign(&message)).unwrap());
    }
    Note::new(text, lines).unwrap().to_string()
}
