//! Scenarios of `docs/scenarios.md` that concern several modules at once, one a test.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

mod common;

use arbiter_protocol::crypto::{Opener, Sealer};
use arbiter_protocol::error::Refused;
use arbiter_protocol::escrow::{RsaHash, RsaPadding, SignatureKey};
use arbiter_protocol::evidence::merkle::{consistency_proof, verify_consistency};
use arbiter_protocol::exchange::item::{Description, DetachedSignature};
use arbiter_protocol::exchange::kind::content::ContentCheck;
use arbiter_protocol::exchange::kind::signature;
use arbiter_protocol::exchange::selection::Role::{Originator, Responder};
use arbiter_protocol::limits::CHUNK_BYTES;
use arbiter_protocol::message::agreement::Agreement;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::message::verdict::Ruling;
use arbiter_protocol::role::arbiter::Case;
use arbiter_protocol::role::{Ask, Fit, Input, Outcome, Output, Phase, Session, Timing};
use arbiter_protocol::ruling::receipt::{Proven, contradict};
use arbiter_protocol::statement::Verified;
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use common::{COMPLAIN_BY, CONTENT, Cast, EARLY, Kind, Notary, described, sealing};
use zeroize::Zeroizing;

const TIMING: Timing = Timing { complain_margin: DurationMillis(60_000) };

fn prove(notary: &mut Notary, case: &Case, now: u64) -> Proven {
    let receipt = notary.file(case, now).unwrap().expect("a statement");
    receipt.verify(case.offer(), Some(case.request().digest())).unwrap()
}

fn ruling(proven: &Proven) -> &Ruling {
    &proven.ruled.verdict().expect("a verdict").ruling
}

/// S9, R-403, R-405: an offer is aborted before the responder has seen it. Who accepts it afterwards gives nothing, and
/// gets the same end in writing.
#[test]
fn an_offer_aborted_before_it_arrives_stays_aborted() {
    let mut aborted_early = 0;
    for kind in Kind::ALL {
        let mut notary = Notary::new();
        let cast = Cast::new();
        let agreement = cast.agreement(kind);
        let abort = cast.admit(agreement.offer(), None, Originator, Action::Abort).unwrap();
        if kind.first() == Responder {
            // Not the originator's right before the deadline: the responder may have sent its file by then.
            let refused = notary.file(&abort, EARLY).unwrap_err();
            assert_eq!(refused.reason(), "ABORT_TOO_EARLY", "{kind:?}");
            assert!(notary.durable.record(&agreement.exchange_id()).verdict.is_none());
            continue;
        }
        let token = prove(&mut notary, &abort, EARLY);
        assert_eq!((ruling(&token), &token.agreement), (&Ruling::Aborted, &None));

        // Now the offer arrives.
        let escrow = cast.escrowed(&agreement, Originator);
        let step = Session::accept(agreement.clone(), escrow.as_ref(), UnixMillis(EARLY), TIMING).unwrap();
        assert!(!step.outputs.contains(&Output::SendItem), "{kind:?}: the second sender waits");
        let (now, asks, action) = if kind.is_p1() {
            (EARLY + 1, Ask::Resolve, Action::Resolve)
        } else {
            (COMPLAIN_BY, Ask::Abort, Action::Abort)
        };
        let step = step.next.handle(UnixMillis(now), Input::GiveUp);
        assert_eq!(step.next.phase(), Phase::Asking(asks), "{kind:?}");
        let heard = prove(&mut notary, &cast.case(&agreement, Responder, action), now);
        let verdict = heard.ruled.verdict().unwrap();
        assert_eq!(verdict.digest(), token.ruled.verdict().unwrap().digest(), "{kind:?}");
        let step = step.next.handle(UnixMillis(now), Input::Ruled((**verdict).clone()));
        assert_eq!(step.next.phase(), Phase::Done(Outcome::Aborted), "{kind:?}");
        assert!(!step.outputs.contains(&Output::SendItem), "{kind:?}");
        let fetch = cast.case(&agreement, Responder, Action::Fetch);
        assert_eq!(notary.file(&fetch, now), Err(Refused::DepositNotReleased), "{kind:?}");
        aborted_early += 1;
    }
    assert_eq!(aborted_early, 5);
}

/// S2, R-303: the second sender's item leaves for the first sender's, never before it, and then however late that is.
#[test]
fn the_second_item_leaves_for_the_first_however_late() {
    let cast = Cast::new();
    for kind in Kind::ALL {
        let agreement = cast.agreement(kind);
        let (first, second) = (kind.first(), kind.first().peer());
        let waiting = |acceptance: &Agreement| {
            let (offer, acceptance) = (acceptance.offer().clone(), acceptance.acceptance().clone());
            Session::restore(second, offer, Some(acceptance), false, Phase::Waiting, TIMING).unwrap()
        };
        let item = |agreement: &Agreement| {
            let item = agreement.offer().item(first);
            let content = match &item.description {
                Description::Signature(_) => {
                    let transfer = Verified::sign(Transfer::new(agreement, first), cast.key(first));
                    return Input::Received(Fit::Signature(signature::check(item, transfer).unwrap()));
                }
                Description::Information(_) => CONTENT.to_vec(),
                Description::Nothing | Description::Package(_) | Description::Payment(_) => {
                    unreachable!("not in these kinds")
                }
                Description::DetachedSignature(_) => {
                    cast.finished(agreement.offer(), first).unwrap().to_vec()
                }
            };
            let mut check = match &item.description {
                Description::DetachedSignature(it) => ContentCheck::signature(it.clone(), None),
                _ => ContentCheck::file(described(CONTENT)),
            };
            check.update(&content).unwrap();
            Input::Received(Fit::Content(check.finish().unwrap()))
        };
        for now in [EARLY, COMPLAIN_BY - 1, COMPLAIN_BY, COMPLAIN_BY + 1_000_000_000].map(UnixMillis) {
            let session = waiting(&agreement);
            let before = [Input::PeerRepeats, Input::GiveUp, Input::Wake, Input::Refused];
            for input in before {
                let step = session.handle(now, input);
                assert!(!step.outputs.contains(&Output::SendItem) && !step.next.sent(), "{kind:?} {now}");
            }
            assert!(!session.resume().contains(&Output::SendItem), "{kind:?} {now}");
            let step = session.handle(now, item(&agreement));
            assert!(step.next.sent() && step.outputs.contains(&Output::SendItem), "{kind:?} {now}");
            assert_eq!(step.next.phase(), Phase::Done(Outcome::Completed), "{kind:?} {now}");
            assert!(step.next.may_send_item(now), "{kind:?} {now}: asked again right before it leaves");
        }
    }
}

/// S12, R-401: two exchanges with the same text between the same peers: one is aborted, the other replaced, and neither
/// verdict touches the other.
#[test]
fn the_same_text_twice_has_two_verdicts() {
    for kind in Kind::ALL {
        let mut notary = Notary::new();
        let cast = Cast::new();
        let agree = |nonce| {
            let offer = cast.offer(kind, nonce);
            Agreement::join(offer.clone(), cast.acceptance(&offer, 22)).unwrap()
        };
        let (one, two) = (agree(31), agree(32));
        assert_eq!(one.offer().originator_item, two.offer().originator_item);
        assert_eq!(one.offer().responder_item, two.offer().responder_item);
        let first = kind.first();
        let aborted = prove(&mut notary, &cast.case(&one, first, Action::Abort), EARLY);
        let query = |agreement, role| cast.case(agreement, role, Action::Query);
        assert_eq!(notary.file(&query(&two, first), EARLY), Err(Refused::VerdictNotFound), "{kind:?}");
        if !kind.is_p1() {
            notary.file(&cast.case(&two, first, Action::Deposit), EARLY).unwrap();
        }
        let replaced = prove(&mut notary, &cast.case(&two, first, Action::Resolve), EARLY);
        assert!(matches!(ruling(&replaced), Ruling::Replaced(_)), "{kind:?}");
        for role in [Originator, Responder] {
            let (a, b) = (query(&one, role), query(&two, role));
            assert_eq!(ruling(&prove(&mut notary, &a, EARLY)), ruling(&aborted), "{kind:?}");
            assert_eq!(ruling(&prove(&mut notary, &b, EARLY)), ruling(&replaced), "{kind:?}");
        }
        assert!(!contradict(&aborted, &replaced), "{kind:?}: two exchanges, two verdicts");
    }
}

/// The product of two numbers, least significant byte first.
fn times(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut columns = vec![0u64; a.len() + b.len()];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            columns[i + j] += u64::from(*x) * u64::from(*y);
        }
    }
    let mut carry = 0;
    columns
        .into_iter()
        .map(|column| {
            carry += column;
            let byte = u8::try_from(carry & 0xff).unwrap();
            carry >>= 8;
            byte
        })
        .collect()
}

/// The largest number of 88 bytes whose cube is at most this one of 256 bytes. Least significant byte first.
fn cube_root(limit: &[u8; 256]) -> Vec<u8> {
    let mut root = vec![0u8; 88];
    for bit in (0..8 * root.len()).rev() {
        root[bit / 8] |= 1 << (bit % 8);
        let cube = times(&times(&root, &root), &root);
        let above = cube[256..].iter().any(|byte| *byte != 0);
        if above || cube[..256].iter().rev().gt(limit.iter().rev()) {
            root[bit / 8] &= !(1 << (bit % 8));
        }
    }
    root
}

/// S17, R-104, R-311: a PKCS#1 signature with rubbish after the hash. With e = 3 anybody can make one that a verifier
/// takes which stops reading there. The key is a real one, of OpenSSL, and its own signature counts.
#[test]
fn a_signature_with_rubbish_behind_the_hash_does_not_fit() {
    use sha2::{Digest as _, Sha256};
    let all: serde_json::Value =
        serde_json::from_str(include_str!("vectors/escrow/rsa-signatures.json")).unwrap();
    let all = all.as_array().or_else(|| all["signatures"].as_array()).expect("a list of signatures");
    let it = all.iter().find(|it| it["name"] == "rsa-2048 e=3 pkcs1 sha256").unwrap();
    let field = |name: &str| hex::decode(it[name].as_str().unwrap()).unwrap();
    let key = SignatureKey::rsa(field("modulus"), 3, RsaPadding::Pkcs1, RsaHash::Sha256).unwrap();
    assert!(key.verify(&field("message"), &field("signature")), "the key's own signature");

    let Description::Signature(statement) = common::signature("I owe you everything").description else {
        panic!("a statement")
    };
    let document = statement.document();
    let info = hex::decode("3031300d060960864801650304020105000420").unwrap();
    let hash = Sha256::digest(document.as_bytes());
    let start = [&[0, 1][..], &[0xff; 8], &[0], &info, &hash].concat();
    let mut limit = [0xff; 256];
    limit[..start.len()].copy_from_slice(&start);
    limit.reverse();
    let root = cube_root(&limit);
    let mut cube = times(&times(&root, &root), &root);
    cube.truncate(256);
    cube.reverse();
    assert_eq!(cube[..start.len()], start, "the forgery is what a careless verifier looks for");
    let mut forged = root;
    forged.resize(256, 0);
    forged.reverse();
    assert!(!key.verify(document.as_bytes(), &forged));
    let item = DetachedSignature { statement, key, certificate: Vec::new() };
    let mut check = ContentCheck::signature(item, None);
    let fit = check.update(&forged).and_then(|()| check.finish());
    assert_eq!(fit.unwrap_err().reason(), "ITEM_SIGNATURE_INVALID");
}

/// S34, F14: the arbiter is restored from an old copy. What the copy holds it answers as before; what it rules anew
/// contradicts what it ruled before, and its log does not continue the newer one that somebody has seen.
#[test]
fn an_arbiter_restored_from_an_old_copy_convicts_itself() {
    let mut notary = Notary::new();
    let cast = Cast::new();
    let agreement = cast.agreement(Kind::P1);
    let [abort, resolve] = [(Originator, Action::Abort), (Responder, Action::Resolve)]
        .map(|(role, action)| cast.case(&agreement, role, action));
    let other = |nonce| cast.admit(&cast.offer(Kind::P1, nonce), None, Originator, Action::Abort).unwrap();
    let kept = notary.file(&other(50), EARLY).unwrap();
    let copy = notary.durable.clone();
    let aborted = prove(&mut notary, &abort, EARLY + 1);
    let seen = aborted.checkpoint.checkpoint().clone();

    notary.durable = copy;
    assert_eq!(notary.file(&other(50), EARLY + 2).unwrap(), kept, "F6 for what the copy holds");
    // The old request to resolve arrives, and is decided as if nothing had been.
    let resolved = prove(&mut notary, &resolve, EARLY + 2);
    assert_ne!(ruling(&aborted), ruling(&resolved));
    assert!(contradict(&aborted, &resolved) && contradict(&resolved, &aborted));
    // Who asks about another exchange, and has seen the newer log: another root at its size, and no way on from it.
    let newer = resolved.checkpoint.checkpoint();
    assert_eq!(newer.size, seen.size);
    assert_ne!(newer.root, seen.root);
    for nonce in 51..56 {
        let later = prove(&mut notary, &other(nonce), EARLY + 3);
        let newer = later.checkpoint.checkpoint();
        let node = |node| notary.durable.nodes.get(&node).copied().ok_or(node);
        let proof = consistency_proof(seen.size, newer.size, node).unwrap();
        assert!(verify_consistency(seen.size, newer.size, &proof, &seen.root, &newer.root).is_err());
        let own = resolved.checkpoint.checkpoint();
        verify_consistency(own.size, newer.size, &proof, &own.root, &newer.root).unwrap();
    }
}

/// S43, R-305: one byte wrong in any chunk of a file is found, wherever it is, plain or sealed; sealed at that chunk.
#[test]
fn one_corrupted_chunk_is_found_wherever_it_is() {
    let file: Vec<u8> = (0..4 * CHUNK_BYTES + 100).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let agreed = arbiter_protocol::exchange::item::Information {
        media_type: "application/octet-stream".to_owned(),
        ..described(&file)
    };
    let reason = |chunks: &[Vec<u8>]| {
        let mut check = ContentCheck::file(agreed.clone());
        let fed = chunks.iter().try_for_each(|chunk| check.update(chunk));
        fed.and_then(|()| check.finish()).map_or_else(|unfit| unfit.reason(), |_| "fits")
    };
    let plain: Vec<_> = file.chunks(CHUNK_BYTES).map(<[u8]>::to_vec).collect();
    assert_eq!((plain.len(), reason(&plain)), (5, "fits"));

    let secret = sealing(1);
    let mut sealer = Sealer::new(&secret.public_key(), b"context", &Zeroizing::new([3; 32])).unwrap();
    let seal = |(at, chunk): (usize, &Vec<u8>)| sealer.seal(chunk, at == 4).unwrap();
    let sealed: Vec<_> = plain.iter().enumerate().map(seal).collect();
    // How many chunks open before one does not.
    let opens = |sealed: &[Vec<u8>]| {
        let mut opener = Opener::new(&secret, b"context", sealer.encapsulated()).unwrap();
        let opened = sealed.iter().enumerate().map(|(at, chunk)| opener.open(chunk, at + 1 == sealed.len()));
        opened.take_while(Result::is_ok).count()
    };
    assert_eq!(opens(&sealed), 5);

    for at in 0..5 {
        for part in 0..3 {
            let place = |chunk: &[u8]| [0, chunk.len() / 2, chunk.len() - 1][part];
            let mut bad = plain.clone();
            let byte = place(&bad[at]);
            bad[at][byte] ^= 0x40;
            assert_eq!(reason(&bad), "ITEM_HASH_MISMATCH", "chunk {at} byte {byte}");
            let mut bad = sealed.clone();
            let byte = place(&bad[at]);
            bad[at][byte] ^= 0x40;
            assert_eq!(opens(&bad), at, "sealed chunk {at} byte {byte}");
        }
        let mut missing = plain.clone();
        missing.remove(at);
        assert_eq!(reason(&missing), "ITEM_SIZE_MISMATCH", "chunk {at} missing");
        let mut missing = sealed.clone();
        missing.remove(at);
        // Without the last one, the one before it should have said that it is the last.
        assert_eq!(opens(&missing), at.min(3), "sealed chunk {at} missing");
        let mut doubled = sealed.clone();
        doubled.insert(at, sealed[at].clone());
        assert_eq!(opens(&doubled), if at == 4 { 4 } else { at + 1 }, "sealed chunk {at} twice");
    }
    for at in 0..4 {
        let (mut one, mut other) = (plain.clone(), sealed.clone());
        one.swap(at, at + 1);
        other.swap(at, at + 1);
        assert_eq!((reason(&one), opens(&other)), ("ITEM_HASH_MISMATCH", at), "chunks {at} and the next");
    }
}
