//! What a log, its witnesses and its verifiers tell each other, against the vectors that were made with other
//! implementations (Go's `crypto/mldsa` and torchwood's litewitness, `proofbundle`).

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::evidence::cosignature::{self, Cosignature, PosixSeconds};
use arbiter_protocol::evidence::note::{KeyKind, NoteError, VerifierKey};
use arbiter_protocol::evidence::policy::Policy;
use arbiter_protocol::evidence::tile::{self, TileKind, TilePath, grown};
use arbiter_protocol::evidence::tlog_proof::{TlogProof, TlogProofError};
use arbiter_protocol::evidence::witness::{self, AddCheckpoint};
use arbiter_protocol::ids::{Digest, LeafIndex, PublicKey};
use arbiter_protocol::time::UnixMillis;
use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/evidence-log.json")).expect("the vectors are JSON")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn seed(value: &Value) -> [u8; 32] {
    *Digest::parse_hex(text(value), "seed").expect("a seed").as_bytes()
}

/// The checkpoint of the vectors, size 8, with the cosignature of the witness.
fn cosigned() -> SignedCheckpoint {
    let note = &vectors()["note"];
    let log = VerifierKey::parse(text(&note["log_vkey"])).unwrap();
    SignedCheckpoint::verify(text(&note["cosigned_checkpoint"]), &log).unwrap()
}

///
#[test]
fn tile_paths_are_those_of_the_vectors() {
    let vectors = &vectors()["tiles"];
    for (index, path) in vectors["index_paths"].as_object().unwrap() {
        let index: u64 = index.parse().unwrap();
        let tile = TilePath::new(TileKind::Hashes(3), index, 256).unwrap();
        assert_eq!(tile.to_string(), format!("tile/3/{}", text(path)));
        assert_eq!(TilePath::parse(&tile.to_string()), Ok(tile));
    }
    for (size, paths) in vectors["rightmost_tiles_for_size"].as_object().unwrap() {
        let size = size.parse().unwrap();
        let published: Vec<_> = grown(0, size).collect();
        for path in paths.as_array().unwrap() {
            let path = TilePath::parse(text(path)).unwrap();
            assert!(published.contains(&path), "{path} of {size}");
            let TileKind::Hashes(level) = path.kind() else { panic!("{path}") };
            let next = TilePath::at(TileKind::Hashes(level), path.index() + 1, size);
            assert!(next.is_none_or(|next| paths.as_array().unwrap().contains(&next.to_string().into())));
        }
    }
}

///
#[test]
fn the_witness_key_cosigns_the_checkpoint_of_the_vector_byte_for_byte() {
    let (note, cosigned) = (&vectors()["note"], cosigned());
    let secret = SigningKey::from_bytes(&seed(&note["witness_seed_hex"]));
    let public = PublicKey::from_bytes(secret.verifying_key().to_bytes());
    let key = VerifierKey::cosigner("witness.example/w1", public).unwrap();
    assert_eq!(key.to_string(), text(&note["witness_vkey"]));
    assert_eq!(VerifierKey::parse(text(&note["witness_vkey"])), Ok(key.clone()));
    assert_eq!((key.kind(), key.key_id(), key.public_key()), (KeyKind::Cosigner, 0x2032_4abe, None));

    let [found] = &cosigned.cosignatures(std::slice::from_ref(&key)).unwrap()[..] else { panic!("one") };
    assert_eq!((found.key(), found.time().seconds()), (&key, 1_700_000_000));
    let message = cosignature::message(&key, found.time(), cosigned.checkpoint()).unwrap();
    assert_eq!(String::from_utf8(message.clone()).unwrap(), text(&note["cosigned_message"]));
    let line = cosignature::line(&key, found.time(), &secret.sign(&message).to_bytes()).unwrap();
    let log = VerifierKey::parse(text(&note["log_vkey"])).unwrap();
    let alone = SignedCheckpoint::verify(text(&note["checkpoint"]), &log).unwrap();
    assert_eq!(alone.cosignatures(std::slice::from_ref(&key)), Ok(vec![]));
    let rebuilt = alone.with_lines(&[line]).unwrap();
    assert_eq!(rebuilt.note().to_string(), text(&note["cosigned_checkpoint"]));
}

/// a time in milliseconds is the second that has begun, and comes back in milliseconds as far as they reach.
#[test]
fn times_of_cosignatures_are_whole_seconds() {
    for (millis, seconds) in
        [(999, None), (1000, Some(1)), (1999, Some(1)), (1_700_000_000_999, Some(1_700_000_000))]
    {
        assert_eq!(PosixSeconds::at(UnixMillis(millis)).ok().map(PosixSeconds::seconds), seconds);
    }
    let millis = |seconds| PosixSeconds::new(seconds).unwrap().to_millis();
    assert_eq!((millis(1), millis(i64::MAX.unsigned_abs())), (UnixMillis(1000), UnixMillis(u64::MAX)));
}

/// what is longer than any key is refused before it is decoded.
#[test]
fn a_verifier_key_has_a_limit() {
    let key = text(&vectors()["note"]["log_vkey"]).to_owned();
    let (_, rest) = key.split_once('+').unwrap();
    let named = |bytes: usize| VerifierKey::parse(&format!("{}+{rest}", "n".repeat(bytes - rest.len() - 1)));
    assert_eq!(named(2048), Err(NoteError::NameMalformed));
    assert_eq!(named(2049), Err(NoteError::KeyMalformed));
}

///
#[cfg(feature = "ml-dsa")]
#[test]
fn the_ml_dsa_key_cosigns_as_that_of_go_byte_for_byte() {
    let (vectors, cosigned) = (&vectors()["mldsa44"], cosigned());
    let secret = zeroize::Zeroizing::new(seed(&vectors["seed_hex"]));
    let signer = cosignature::MlDsaSigner::from_seed(&secret);
    let key = signer.verifier_key(text(&vectors["name"])).unwrap();
    assert_eq!(format!("{:08x}", key.key_id()), text(&vectors["key_id"]));
    assert_eq!(Digest::of(&[key.key_bytes()]).to_string(), text(&vectors["pk_sha256"]));
    assert_eq!(VerifierKey::parse(&key.to_string()), Ok(key.clone()));

    let time = PosixSeconds::new(vectors["timestamp"].as_u64().unwrap()).unwrap();
    let message = cosignature::message(&key, time, cosigned.checkpoint()).unwrap();
    assert_eq!(hex::encode(&message), text(&vectors["cosigned_message_hex"]));
    let signature = signer.sign(&message).unwrap();
    assert_eq!(Digest::of(&[&signature]).to_string(), text(&vectors["deterministic_sig_sha256"]));
    let line = cosignature::line(&key, time, &signature).unwrap();
    // The vector counts the key id.
    let length = u64::try_from(line.signature().len() + 4).unwrap();
    assert_eq!(length, vectors["note_signature_bytes"].as_u64().unwrap());
    assert_eq!(Cosignature::verify(&key, cosigned.checkpoint(), &line).unwrap().time(), time);
}

/// Without the feature such a key is one of an unknown type.
#[cfg(not(feature = "ml-dsa"))]
#[test]
fn without_the_feature_ml_dsa_keys_are_not_supported() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text = format!("w+00000000+{}", STANDARD.encode([[6].as_slice(), &[0; 1312]].concat()));
    assert_eq!(VerifierKey::parse(&text), Err(NoteError::KeyUnsupported));
}

///
#[test]
fn the_request_to_a_witness_of_the_vector_is_accepted() {
    let vectors = vectors();
    let body = text(&vectors["add_checkpoint"]["request_3_to_8"]);
    let request = AddCheckpoint::parse(body).unwrap();
    assert_eq!((request.old(), request.to_string().as_str()), (3, body));
    let log = VerifierKey::parse(text(&vectors["note"]["log_vkey"])).unwrap();
    let signed = SignedCheckpoint::verify(text(&vectors["note"]["checkpoint"]), &log).unwrap();
    let built = AddCheckpoint::new(3, request.proof().to_vec(), &signed).unwrap();
    assert_eq!(built.to_string(), body);
    let root = |size: &str| Digest::parse_hex(text(&vectors["rfc6962"]["roots"][size]), "root").unwrap();
    let keys = [log];
    let accepted = witness::judge(Some((3, root("3"))), &request, &keys).unwrap();
    assert!(accepted.grows() && accepted.checkpoint() == &signed);
    for (latest, status) in
        [(Some((3, root("4"))), 422), (Some((4, root("4"))), 409), (Some((8, root("8"))), 409), (None, 409)]
    {
        assert_eq!(witness::judge(latest, &request, &keys).unwrap_err().status(), status);
    }
}

/// the proof that `proofbundle` accepted.
#[test]
fn the_tlog_proof_of_the_vector_holds_for_its_leaf() {
    let note = &vectors()["note"];
    let proof = TlogProof::parse(text(&note["tlog_proof_leaf5"])).unwrap();
    assert_eq!(proof.to_string(), text(&note["tlog_proof_leaf5"]));
    let leaf = hex::decode(text(&note["leaf5_hex"])).unwrap();
    let (log, witness) = (text(&note["log_vkey"]), text(&note["witness_vkey"]));
    let policy =
        |quorum: &str| Policy::parse(&format!("log {log}\nwitness w1 {witness}\nquorum {quorum}\n")).unwrap();
    let proved = proof.verify(&leaf, &policy("w1")).unwrap();
    assert_eq!((proved.index.0, proved.checkpoint.checkpoint().size), (5, 8));
    let time = PosixSeconds::new(1_700_000_000).unwrap();
    assert_eq!(proved.quorum.seen, [("w1".to_owned(), time)]);
    assert!(proof.verify(b"another leaf", &policy("w1")).is_err());

    // Without the line of the witness only a policy that asks for none is satisfied.
    let [own, _] = proof.note().signatures() else { panic!("two lines") };
    let alone =
        SignedCheckpoint::verify(text(&note["checkpoint"]), &VerifierKey::parse(log).unwrap()).unwrap();
    assert_eq!(alone.note().signatures(), std::slice::from_ref(own));
    let alone = proof.with_checkpoint(&alone).unwrap();
    assert_eq!(alone.verify(&leaf, &policy("w1")), Err(TlogProofError::Quorum));
    assert!(alone.verify(&leaf, &policy("none")).is_ok());
}

fn cases() -> ProptestConfig {
    ProptestConfig { rng_seed: RngSeed::Fixed(5), failure_persistence: None, ..ProptestConfig::default() }
}

/// what is printed is read again as the same, whatever is in it.
#[test]
fn every_value_survives_printing() {
    let hashes = prop::collection::vec(any::<[u8; 32]>().prop_map(Digest::from_bytes), 0..=63);
    let level = prop_oneof![Just(TileKind::Entries), (0..=63_u8).prop_map(TileKind::Hashes)];
    let bundle = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..=256);
    let extra = prop::option::of(prop::collection::vec(any::<u8>(), 1..100));
    let signed = cosigned();
    let strategy = (level, 0..1_u64 << 56, 1..=256_u16, hashes, any::<u64>(), bundle, extra);
    proptest!(cases(), |((kind, index, width, hashes, number, leaves, extra) in strategy)| {
        let path = TilePath::new(kind, index, width).unwrap();
        prop_assert_eq!(TilePath::parse(&path.to_string()), Ok(path));
        let request = AddCheckpoint::new(number, hashes.clone(), &signed).unwrap();
        prop_assert_eq!(AddCheckpoint::parse(&request.to_string()), Ok(request));
        let proof = TlogProof::new(LeafIndex(number), hashes, &signed, extra).unwrap();
        prop_assert_eq!(TlogProof::parse(&proof.to_string()), Ok(proof));
        let bytes = tile::encode_entries(leaves.iter().map(Vec::as_slice)).unwrap();
        let path = TilePath::new(TileKind::Entries, index, u16::try_from(leaves.len()).unwrap()).unwrap();
        prop_assert_eq!(tile::entries(&path, &bytes).unwrap(), leaves);
    });
}
