//! The formats of the log's neighbours: tiles, cosignatures, requests to witnesses, proofs, policies. Each
//! has one form; what holds, holds for one leaf, one checkpoint, one history. Notes are signed here, so that what
//! is behind the signature is reached.

use std::str;

use arbiter_protocol::crypto::Signer;
use arbiter_protocol::evidence::anchor::Anchor;
use arbiter_protocol::evidence::checkpoint::{Checkpoint, SignedCheckpoint};
use arbiter_protocol::evidence::cosignature::{self, Cosignature, PosixSeconds};
use arbiter_protocol::evidence::note::{Note, VerifierKey, signature_line};
use arbiter_protocol::evidence::policy::Policy;
use arbiter_protocol::evidence::tile::{self, TileKind, TilePath};
use arbiter_protocol::evidence::tlog_proof::TlogProof;
use arbiter_protocol::evidence::witness::{self, AddCheckpoint};
use arbiter_protocol::ids::Digest;
use arbiter_protocol::limits;

use crate::common::signer;

/// The checkpoint, signed by a log of its origin, and the key of that log.
fn signed(checkpoint: &Checkpoint) -> (SignedCheckpoint, VerifierKey) {
    let text = checkpoint.text();
    let key = VerifierKey::new(checkpoint.origin.as_str(), signer(4).public_key()).expect("a good key");
    let line = signature_line(&key, signer(4).sign(text.as_bytes()));
    let note = Note::new(text, vec![line]).expect("a checkpoint is the text of a note").to_string();
    (SignedCheckpoint::verify(&note, &key).expect("signed"), key)
}

pub fn tile_path(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Ok(path) = TilePath::parse(text) else { return false };
    assert_eq!(path.to_string(), text, "a path has one form");
    assert_eq!(TilePath::new(path.kind(), path.index(), path.width()), Ok(path));
    assert!(path.full().is_full() && path.full().nodes().start == path.nodes().start);
    for size in [0, path.nodes().end, u64::MAX] {
        assert_eq!(path.is_within(size), path.width() <= path.width_at(size));
        let there = TilePath::at(path.kind(), path.index(), size);
        assert_eq!(there.map_or(0, |it| it.width()), path.width_at(size));
    }
    true
}

/// The width less one, then a bundle.
pub fn entry_bundle(bytes: &[u8]) -> bool {
    let Some((width, bundle)) = bytes.split_first() else { return false };
    let path = |width| TilePath::new(TileKind::Entries, 0, width).expect("a width");
    let width = u16::from(*width) + 1;
    if let Ok(cut) = path(width).cut(bundle) {
        assert!(bundle.starts_with(cut) && tile::entries(&path(width), cut).is_ok());
    }
    let Ok(entries) = tile::entries(&path(width), bundle) else { return false };
    assert_eq!(entries.len(), usize::from(width));
    assert_eq!(tile::encode_entries(entries.iter().copied()).as_deref(), Ok(bundle), "a bundle has one form");
    let half = width.div_ceil(2);
    let cut = path(half).cut(bundle).expect("the beginning of a bundle");
    assert_eq!(tile::entries(&path(half), cut).as_deref(), Ok(&entries[..half.into()]));
    true
}

/// A time, big endian, then the text of a checkpoint; cosigned here, or a note with a line of this witness.
pub fn cosigned(bytes: &[u8]) -> bool {
    let Some((time, text)) = bytes.split_first_chunk() else { return false };
    let Ok(text) = str::from_utf8(text) else { return false };
    let key = VerifierKey::cosigner("witness.test/w1", signer(3).public_key()).expect("a good key");
    if let Ok(note) = Note::parse(text) {
        // The fuzzer has no key: what it writes is not of the witness.
        let _ = note.verify(std::slice::from_ref(&key));
    }
    let (Ok(time), Ok(checkpoint)) = (PosixSeconds::new(u64::from_be_bytes(*time)), Checkpoint::parse(text))
    else {
        return false;
    };
    let message = cosignature::message(&key, time, &checkpoint).expect("a cosigner");
    let line = cosignature::line(&key, time, &signer(3).sign(&message)).expect("64 bytes");
    let with = signed(&checkpoint).0.with_lines(std::slice::from_ref(&line)).expect("two lines");
    let found = with.cosignatures(std::slice::from_ref(&key)).expect("signed");
    assert_eq!(found.iter().map(Cosignature::time).collect::<Vec<_>>(), [time]);
    let other = Checkpoint { size: checkpoint.size ^ 1, ..checkpoint };
    assert!(Cosignature::verify(&key, &other, &line).is_err());
    true
}

/// Judged as signed by the log, by witnesses that have the tree of three leaves of the vectors, or nothing.
pub fn add_checkpoint(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let _ = witness::parse_conflict(text);
    let Ok(request) = AddCheckpoint::parse(text) else { return false };
    assert_eq!(request.to_string(), text, "a request has one form");
    assert!(text.len() <= limits::ADD_CHECKPOINT_BYTES);
    let (checkpoint, key) = signed(request.claimed());
    let request =
        AddCheckpoint::new(request.old(), request.proof().to_vec(), &checkpoint).expect("as before");
    let three = "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77";
    let three = Digest::parse_hex(three, "root").expect("a root");
    let mut accepted = false;
    for latest in [None, Some((3, three)), Some((request.old(), request.claimed().root))] {
        match witness::judge(latest, &request, std::slice::from_ref(&key)) {
            Ok(verdict) => {
                let (size, root) = latest.unwrap_or((0, arbiter_protocol::evidence::merkle::empty_root()));
                let new = verdict.checkpoint().checkpoint();
                assert!(new.size >= size && request.old() == size);
                assert!(new.size > size || new.root == root, "two roots for one size");
                accepted = true;
            }
            Err(refusal) => assert!(matches!(refusal.status(), 400 | 409 | 422), "signed by a known log"),
        }
    }
    accepted
}

/// Verified as signed by the log, for the leaf of the vectors.
/// A token beside the checkpoint that it is over.
pub fn anchor(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Ok(anchor) = Anchor::parse(text) else { return false };
    assert_eq!(anchor.to_string(), text, "an anchor has one form");
    let again = Anchor::new(anchor.token().to_vec(), anchor.note().clone());
    assert_eq!(again.as_ref(), Ok(&anchor));
    assert_eq!(anchor.digest(), Digest::of(&[anchor.token()]));
    true
}

pub fn tlog_proof(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Ok(proof) = TlogProof::parse(text) else { return false };
    assert_eq!(proof.to_string(), text, "a proof has one form");
    let Ok(checkpoint) = Checkpoint::parse(proof.note().text()) else { return false };
    let (checkpoint, key) = signed(&checkpoint);
    let proof = proof.with_checkpoint(&checkpoint).expect("the same text");
    let policy = Policy::parse(&format!("log {key}\nquorum none\n")).expect("a policy");
    let Ok(proved) = proof.verify(b"@ABC", &policy) else { return false };
    assert!(proved.index.0 < proved.checkpoint.checkpoint().size);
    assert!(proof.verify(b"@ABD", &policy).is_err(), "a proof is for one leaf");
    true
}

pub fn policy(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Ok(policy) = Policy::parse(text) else { return false };
    let printed = policy.to_string();
    assert_eq!(Policy::parse(&printed).as_ref(), Ok(&policy), "a policy survives printing");
    assert!(policy.logs().len() <= limits::POLICY_ENTRIES);
    let text = "arbiter.test/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    let (nobody, _) = signed(&Checkpoint::parse(text).expect("a checkpoint"));
    let quorum = policy.quorum(&nobody).expect("no line of a witness");
    assert_eq!(quorum.satisfied, printed.ends_with("\nquorum none\n") || printed == "quorum none\n");
    assert!(quorum.seen.is_empty());
    true
}
