//! The evidence log against vectors that others made or checked: the tree of transparency-dev, the
//! example of signed-note, a 70,000-leaf log that Tessera's fsck accepted, and a tlog-proof that
//! `proofbundle` accepted. Then proofs in trees larger than the unit tests can search.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::slice;

use arbiter_protocol::evidence::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use arbiter_protocol::evidence::merkle::{
    Frontier, NodeId, ProofError, consistency_proof, empty_root, inclusion_proof, leaf_hash, node_hash,
    verify_consistency, verify_inclusion,
};
use arbiter_protocol::evidence::note::{Note, NoteError, VerifierKey, signature_line};
use arbiter_protocol::ids::{Digest, PublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::Value;

/// A tree with every root it had and all the nodes that a log would store.
struct Tree {
    leaves: Vec<Digest>,
    roots: Vec<Digest>,
    stored: BTreeMap<NodeId, Digest>,
}

impl Tree {
    fn of(leaves: impl IntoIterator<Item = Digest>) -> Self {
        let mut frontier = Frontier::new();
        let mut tree = Self { leaves: vec![], roots: vec![frontier.root()], stored: BTreeMap::new() };
        for leaf in leaves {
            tree.leaves.push(leaf);
            tree.stored.extend(frontier.append(leaf));
            tree.roots.push(frontier.root());
        }
        tree
    }

    /// The tree whose leaf `i` is the decimal number `i`.
    fn decimal(size: u64) -> Self {
        Self::of((0..size).map(|index| leaf_hash(index.to_string().as_bytes())))
    }

    fn node(&self, id: NodeId) -> Result<Digest, NodeId> {
        self.stored.get(&id).copied().ok_or(id)
    }

    /// The bytes of a tile: `count` nodes from the start of a level.
    fn tile_bytes(&self, level: u8, count: u64) -> Vec<u8> {
        let node = |index| self.node(NodeId { level, index }).expect("the tile is within the tree").to_vec();
        (0..count).flat_map(node).collect()
    }
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/evidence-log.json")).expect("the vectors are JSON")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn digest(value: &Value) -> Digest {
    // The tile hashes carry a remark after the digits.
    let digits = text(value).split(' ').next().expect("digits");
    Digest::parse_hex(digits, "vector").expect("a digest in hexadecimal")
}

fn digests(value: &Value) -> Vec<Digest> {
    list(value).iter().map(digest).collect()
}

fn base64_digest(line: &str) -> Digest {
    let bytes = STANDARD.decode(line).expect("base64");
    Digest::parse(&bytes, "vector").expect("a digest in base64")
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("a 64-bit machine")
}

fn secret_key(seed_hex: &Value) -> SigningKey {
    let seed = digest(seed_hex);
    SigningKey::from_bytes(seed.as_bytes())
}

fn public_key(secret: &SigningKey) -> PublicKey {
    PublicKey::from_bytes(secret.verifying_key().to_bytes())
}

/// The proof with its last hash dropped, one added, and the hash at `place` altered.
fn damaged(proof: &[Digest], place: usize) -> Vec<Vec<Digest>> {
    let mut result = vec![[proof, &[empty_root()]].concat()];
    if let Some((_, shorter)) = proof.split_last() {
        result.push(shorter.to_vec());
        let mut altered = proof.to_vec();
        if let Some(hash) = altered.get_mut(place % proof.len()) {
            *hash = leaf_hash(hash.as_bytes());
        }
        result.push(altered);
    }
    result
}

const EQUAL_LEAF: &[u8] = b"same";

fn fixed_seed() -> ProptestConfig {
    ProptestConfig { rng_seed: RngSeed::Fixed(6962), failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn hashes_and_roots_are_those_of_transparency_dev() {
    let vectors = &vectors()["rfc6962"];
    let leaves = list(&vectors["leaves_hex"]).iter().map(|leaf| hex::decode(text(leaf)).unwrap());
    let tree = Tree::of(leaves.map(|leaf| leaf_hash(&leaf)));
    assert_eq!(tree.leaves, digests(&vectors["leaf_hashes"]));
    for (size, root) in tree.roots.iter().enumerate() {
        assert_eq!(*root, digest(&vectors["roots"][size.to_string()]), "root of {size}");
    }
    assert_eq!(tree.roots.len(), 9);
    assert_eq!(tree.roots[0], empty_root());
    let leaf = "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56";
    assert_eq!(leaf_hash(b"L123456").to_string(), leaf);
}

#[test]
fn proofs_are_those_of_transparency_dev() {
    let vectors = &vectors()["rfc6962"];
    let tree = Tree::of(digests(&vectors["leaf_hashes"]));
    let inclusion = list(&vectors["inclusion"]);
    for vector in inclusion {
        let (leaf, size) = (number(&vector["index"]), number(&vector["size"]));
        let proof = digests(&vector["proof"]);
        assert_eq!(inclusion_proof(leaf, size, |id| tree.node(id)).as_ref(), Ok(&proof), "{vector}");
        let (hash, root) = (&tree.leaves[index(leaf)], &tree.roots[index(size)]);
        assert_eq!(verify_inclusion(hash, leaf, size, &proof, root), Ok(()), "{vector}");
    }
    let consistency = list(&vectors["consistency"]);
    for vector in consistency {
        let (old, new) = (number(&vector["from"]), number(&vector["to"]));
        let proof = digests(&vector["proof"]);
        assert_eq!(consistency_proof(old, new, |id| tree.node(id)).as_ref(), Ok(&proof), "{vector}");
        let (old_root, new_root) = (&tree.roots[index(old)], &tree.roots[index(new)]);
        assert_eq!(verify_consistency(old, new, &proof, old_root, new_root), Ok(()), "{vector}");
    }
    // All (i, n) and (m, n) up to 8.
    assert_eq!((inclusion.len(), consistency.len()), (36, 36));
}

#[test]
fn roots_and_tiles_of_a_large_tree_are_those_that_tessera_accepted() {
    let vectors = &vectors()["decimal_leaves"];
    let tree = Tree::decimal(70_000);
    for (size, vector) in vectors.as_object().unwrap() {
        let size = size.parse().unwrap();
        assert_eq!(tree.roots[index(size)], digest(&vector["root"]), "root of {size}");
        let loaded = Frontier::from_nodes(size, |id| tree.node(id)).unwrap();
        assert_eq!((loaded.size(), loaded.root()), (size, tree.roots[index(size)]));
    }
    let tiles = &vectors["70000"];
    assert_eq!(Digest::of(&[&tree.tile_bytes(0, 256)]), digest(&tiles["tile/0/000"]));
    assert_eq!(Digest::of(&[&tree.tile_bytes(8, 256)]), digest(&tiles["tile/1/000"]));
    assert_eq!(tree.tile_bytes(16, 1), digest(&tiles["tile/2/000.p/1"]).to_vec());
}

#[test]
fn the_example_of_signed_note_verifies() {
    let example = &vectors()["note"]["spec_example"];
    let key = VerifierKey::parse(text(&example["vkey"])).unwrap();
    assert_eq!((key.name(), key.key_id()), ("example.com/foo", 0x530d_903a));
    assert_eq!(key.to_string(), text(&example["vkey"]));
    let note = Note::parse(text(&example["note"])).unwrap();
    assert_eq!(note.text(), "This is an example message.\n");
    assert_eq!(note.to_string(), text(&example["note"]));
    assert_eq!(note.verify(&[key]), Ok(()));
    assert_eq!(note.verify(&[]), Err(NoteError::SignatureUnknown));
}

#[test]
fn the_log_key_signs_the_checkpoint_of_the_vector_byte_for_byte() {
    let vectors = &vectors();
    let note = &vectors["note"];
    let secret = secret_key(&note["log_seed_hex"]);
    let key = VerifierKey::new("arbiter.example/evidence", public_key(&secret)).unwrap();
    assert_eq!(key.to_string(), text(&note["log_vkey"]));
    assert_eq!(VerifierKey::parse(text(&note["log_vkey"])), Ok(key.clone()));

    let signed = SignedCheckpoint::verify(text(&note["checkpoint"]), &key).unwrap();
    let Checkpoint { origin, size, root } = signed.checkpoint();
    assert_eq!((origin.as_str(), *size), ("arbiter.example/evidence", 8));
    assert_eq!(*root, digest(&vectors["rfc6962"]["roots"]["8"]));

    let body = signed.checkpoint().text();
    let line = signature_line(&key, secret.sign(body.as_bytes()).to_bytes());
    let rebuilt = Note::new(body, vec![line]).unwrap().to_string();
    assert_eq!(rebuilt, text(&note["checkpoint"]));
    assert_eq!(Digest::of(&[rebuilt.as_bytes()]), digest(&note["checkpoint_sha256"]));
}

#[test]
fn a_witness_line_is_kept_and_not_taken_for_a_log_signature() {
    let note = &vectors()["note"];
    let key = VerifierKey::parse(text(&note["log_vkey"])).unwrap();
    let cosigned = text(&note["cosigned_checkpoint"]);
    let signed = SignedCheckpoint::verify(cosigned, &key).unwrap();
    assert_eq!(signed.note().to_string(), cosigned);
    let [_, witness] = signed.note().signatures() else { panic!("two signatures") };
    // The key id and the length (8 bytes of time, 64 of signature) of type 0x04.
    assert_eq!((witness.name(), witness.key_id()), ("witness.example/w1", 0x2032_4abe));
    assert_eq!(witness.signature().len(), 72);
    // The same Ed25519 key under type 0x01 has another key id: its line is unknown.
    let secret = secret_key(&note["witness_seed_hex"]);
    let as_log = VerifierKey::new("witness.example/w1", public_key(&secret)).unwrap();
    let unknown = Err(CheckpointError::Note(NoteError::SignatureUnknown));
    assert_eq!(SignedCheckpoint::verify(cosigned, &as_log), unknown);
}

#[test]
fn the_tlog_proof_and_the_witness_request_hold() {
    let vectors = &vectors();
    let key = VerifierKey::parse(text(&vectors["note"]["log_vkey"])).unwrap();

    let (head, note) = text(&vectors["note"]["tlog_proof_leaf5"]).split_once("\n\n").unwrap();
    let signed = SignedCheckpoint::verify(note, &key).unwrap();
    let Checkpoint { size, root, .. } = signed.checkpoint();
    let proof: Vec<_> = head.lines().skip(2).map(base64_digest).collect();
    let leaf = leaf_hash(&hex::decode(text(&vectors["note"]["leaf5_hex"])).unwrap());
    assert!(head.contains("\nindex 5\n"));
    assert_eq!(verify_inclusion(&leaf, 5, *size, &proof, root), Ok(()));
    assert_eq!(verify_inclusion(&leaf, 4, *size, &proof, root), Err(ProofError::RootMismatch));

    let (head, note) = text(&vectors["add_checkpoint"]["request_3_to_8"]).split_once("\n\n").unwrap();
    let signed = SignedCheckpoint::verify(note, &key).unwrap();
    let Checkpoint { size, root, .. } = signed.checkpoint();
    let proof: Vec<_> = head.lines().skip(1).map(base64_digest).collect();
    let old_root = digest(&vectors["rfc6962"]["roots"]["3"]);
    assert!(head.starts_with("old 3\n"));
    assert_eq!(verify_consistency(3, *size, &proof, &old_root, root), Ok(()));
}

#[test]
fn sizes_and_indices_out_of_range_are_errors_and_make_empty_proofs() {
    let unread = |id| Err(id);
    assert_eq!(inclusion_proof(8, 8, unread), Ok(vec![]));
    assert_eq!(consistency_proof(0, 8, unread), Ok(vec![]));
    assert_eq!(consistency_proof(8, 7, unread), Ok(vec![]));
    assert_eq!(inclusion_proof(0, 2, unread), Err(NodeId { level: 0, index: 1 }));
    let root = &empty_root();
    for (leaf, size) in [(8, 8), (0, 0)] {
        assert_eq!(verify_inclusion(root, leaf, size, &[], root), Err(ProofError::IndexOutOfRange));
    }
    // `size1 = 0` of transparency-dev: an error even where both trees are empty.
    for (old, new) in [(0, 8), (0, 0), (9, 8)] {
        let outside = Err(ProofError::SizesOutOfRange);
        assert_eq!(verify_consistency(old, new, &[], root, root), outside);
    }
}

#[test]
fn an_inclusion_proof_alone_does_not_fix_the_size() {
    let tree = Tree::decimal(255);
    let proof = inclusion_proof(0, 255, |id| tree.node(id)).unwrap();
    let fits = |size: &u64| verify_inclusion(&tree.leaves[0], 0, *size, &proof, &tree.roots[255]).is_ok();
    assert_eq!((0..1_000).filter(fits).collect::<Vec<_>>(), (129..=256).collect::<Vec<_>>());
}

#[test]
fn proofs_hold_between_random_sizes_of_a_large_tree() {
    let tree = Tree::decimal(70_000);
    let size = 1..=70_000u64;
    proptest!(fixed_seed(), |(a in size.clone(), b in size, leaf in any::<u64>(), other in any::<u64>())| {
        let (old, new) = (a.min(b), a.max(b));
        let (leaf, other) = (leaf % new, other % new);
        let (old_root, new_root) = (&tree.roots[index(old)], &tree.roots[index(new)]);

        let proof = inclusion_proof(leaf, new, |id| tree.node(id)).unwrap();
        let included =
            |at, proof: &[_]| verify_inclusion(&tree.leaves[index(leaf)], at, new, proof, new_root).is_ok();
        prop_assert!(included(leaf, &proof));
        prop_assert_eq!(included(other, &proof), other == leaf);
        prop_assert!(!damaged(&proof, index(other)).iter().any(|bad| included(leaf, bad)));

        let proof = consistency_proof(old, new, |id| tree.node(id)).unwrap();
        let consistent = |proof: &[_]| verify_consistency(old, new, proof, old_root, new_root).is_ok();
        prop_assert!(consistent(&proof));
        prop_assert!(!damaged(&proof, index(other)).iter().any(|bad| consistent(bad)));
    });
}

/// Builds and checks proofs in a tree whose leaves are all equal. All perfect subtrees of a level are
/// then equal too, `levels` holds them, and no tree need be stored.
fn check_equal_leaves(levels: &[Digest], old: u64, new: u64, at: u64) {
    let reads = Cell::new(0);
    let node = |id: NodeId| {
        reads.set(reads.get() + 1);
        assert!(id.index < new >> id.level, "every subtree read lies inside the tree");
        levels.get(usize::from(id.level)).copied().ok_or(id)
    };
    let root = |size| Frontier::from_nodes(size, node).expect("levels below 64").root();
    let (leaf, old_root, new_root) = (leaf_hash(EQUAL_LEAF), root(old), root(new));

    reads.set(0);
    let proof = inclusion_proof(at, new, node).expect("levels below 64");
    assert!(reads.get() <= 128 && proof.len() <= 64, "leaf {at} of {new}");
    let included = |proof: &[_]| verify_inclusion(&leaf, at, new, proof, &new_root).is_ok();
    assert!(included(&proof), "leaf {at} of {new}");
    assert!(!damaged(&proof, index(at)).iter().any(|bad| included(bad)), "leaf {at} of {new}");

    reads.set(0);
    let proof = consistency_proof(old, new, node).expect("levels below 64");
    assert!(reads.get() <= 128 && proof.len() <= 65, "{old} to {new}");
    let consistent = |proof: &[_]| verify_consistency(old, new, proof, &old_root, &new_root).is_ok();
    assert!(consistent(&proof), "{old} to {new}");
    assert!(!damaged(&proof, index(at)).iter().any(|bad| consistent(bad)), "{old} to {new}");
}

#[test]
fn proofs_hold_at_any_size_below_2_64_with_at_most_128_reads() {
    let parent = |hash: &Digest| Some(node_hash(hash, hash));
    let levels: Vec<_> = std::iter::successors(Some(leaf_hash(EQUAL_LEAF)), parent).take(64).collect();
    let powers = (1..64).map(|bit| 1u64 << bit);
    let edges: Vec<_> = powers.flat_map(|power| [power - 1, power, power + 1]).chain([u64::MAX]).collect();
    for new in &edges {
        for old in edges.iter().filter(|old| *old <= new) {
            check_equal_leaves(&levels, *old, *new, old - 1);
        }
    }
    proptest!(fixed_seed(), |(a in 1..=u64::MAX, b in 1..=u64::MAX, place in any::<u64>())| {
        check_equal_leaves(&levels, a.min(b), a.max(b), place % a.max(b));
    });
}

/// S36: two roots for one size convict the log.
#[test]
fn a_log_that_signs_two_roots_for_one_size_contradicts_itself() {
    let note = &vectors()["note"];
    let secret = secret_key(&note["log_seed_hex"]);
    let key = VerifierKey::parse(text(&note["log_vkey"])).unwrap();
    let honest = SignedCheckpoint::verify(text(&note["checkpoint"]), &key).unwrap();
    let body = Checkpoint { root: empty_root(), ..honest.checkpoint().clone() }.text();
    let line = signature_line(&key, secret.sign(body.as_bytes()).to_bytes());
    let forked = Note::new(body, vec![line]).unwrap();
    assert_eq!(forked.verify(slice::from_ref(&key)), Ok(()));
    let forked = SignedCheckpoint::verify(&forked.to_string(), &key).unwrap();
    assert!(honest.contradicts(&forked) && forked.contradicts(&honest));
    assert!(!honest.contradicts(&honest));
}
