//! Detached signatures: in escrow first, then sent, or taken out by the arbiter. Scenarios S21 to S31 where a party can
//! meet them, and F12: nobody can tell from the signature whether there was a dispute.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbiter_client::arbiter::{ArbiterPort, Deposit, Filing, PortError, Reason};
use arbiter_client::error::{PeerFault, Usage};
use arbiter_client::journal::{MemoryStore, Shelf, Store as _};
use arbiter_client::protocol::crypto::Signer as _;
use arbiter_client::protocol::escrow::{Escrow, RsaHash, RsaPadding, SignatureKey, Suite};
use arbiter_client::protocol::exchange::item::Item;
use arbiter_client::protocol::exchange::kind::detached::Place;
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::protocol::ids::Digest;
use arbiter_client::protocol::message::agreement::{Acceptance, Agreement, Offer};
use arbiter_client::protocol::message::escrow_epoch::EscrowEpoch;
use arbiter_client::protocol::message::request::{Action, Request};
use arbiter_client::protocol::role::Phase;
use arbiter_client::protocol::role::arbiter::Escrows;
use arbiter_client::protocol::ruling::receipt::Receipt;
use arbiter_client::protocol::statement::{Payload as _, Signed, Verified};
use arbiter_client::protocol::time::DurationMillis;
use arbiter_client::testing::{Bench, Cheat, Cheater, identity, signer};
use arbiter_client::transport::memory::{End, Fault, Memory, Wire};
use arbiter_client::transport::{Event, Nobody, PeerMessage, Transport as _, Want};
use arbiter_client::{Client, Error, Give, OfferTerms, Outcome, items};
use async_trait::async_trait;
use common::{
    Deal, ESCROW_DEALS, Setting, arbiter_gave, described, has_peers_item, offer_of, review, setting,
};
use curve25519_dalek::EdwardsPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use sha2::{Digest as _, Sha512};

const LONG: Duration = Duration::from_secs(10_000);

async fn build(bench: &Bench, name: &str) -> Client {
    bench.builder(name).build().await.unwrap()
}

/// Both honest, over this wire.
async fn play(alice: &Client, bob: &Client, wire: &Wire, setting: Setting) -> (Outcome, Outcome) {
    let id = alice.offer(setting.terms, setting.originator).await.unwrap();
    let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
    let responder = async {
        let offer = bob.next_offer(&mut b).await?;
        let id = bob.accept(&offer, setting.responder).await?;
        bob.run(id, &mut b).await
    };
    let (ours, theirs) = tokio::join!(alice.run(id, &mut a), responder);
    (ours.unwrap(), theirs.unwrap())
}

/// Alice's contract for bob's, with these items and suite.
fn contract(ours: Item, theirs: Item, suite: Suite, give: [Give; 2]) -> Setting {
    let responder = identity("bob").party();
    let [originator, responder_gives] = give;
    Setting {
        terms: OfferTerms {
            responder,
            originator_item: ours,
            responder_item: theirs,
            complain_by: None,
            send_by: None,
            suite,
        },
        originator,
        responder: responder_gives,
        originator_file: None,
        responder_file: None,
    }
}

fn by(name: &str, text: &str) -> Item {
    let key = SignatureKey::ed25519(signer(name).public_key()).unwrap();
    items::detached_signature("Contract", text, described(), key, Vec::new())
}

fn document(item: &Item) -> String {
    item.description.detached().unwrap().statement.document()
}

/// What an honest party of this name signs: Ed25519 is deterministic.
fn honest(name: &str, item: &Item) -> Vec<u8> {
    signer(name).sign(document(item).as_bytes()).to_vec()
}

/// Another valid signature of the same party: with a nonce of our choice.
fn with_nonce(name: &str, nonce: u64, item: &Item) -> Vec<u8> {
    let seed = Digest::of(&[b"test ", b"sign ", name.as_bytes()]);
    let hash: [u8; 64] = Sha512::digest(seed.as_bytes()).into();
    let secret = Scalar::from_bytes_mod_order(clamp_integer(hash[..32].try_into().unwrap()));
    let key = signer(name).public_key();
    assert_eq!(EdwardsPoint::mul_base(&secret).compress().to_bytes(), *key.as_bytes());
    let nonce = Scalar::from(nonce);
    let point = EdwardsPoint::mul_base(&nonce).compress().to_bytes();
    let hash = Sha512::new().chain_update(point).chain_update(key.as_bytes());
    let hash = hash.chain_update(document(item).as_bytes()).finalize();
    let s = nonce + Scalar::from_bytes_mod_order_wide(&hash.into()) * secret;
    let signature = [point, s.to_bytes()].concat();
    assert!(item.description.detached().unwrap().key.verify(document(item).as_bytes(), &signature));
    signature
}

fn signature(bytes: Vec<u8>) -> Give {
    Give::Signature(bytes.into())
}

fn received(outcome: &Outcome) -> Vec<u8> {
    std::fs::read(outcome.evidence().received_file.as_ref().expect("a file")).unwrap()
}

/// F12, R-311: released or recovered, the file has the same name and the same bytes, in every suite, for both parties.
#[tokio::test(start_paused = true)]
async fn nobody_can_tell_that_there_was_a_dispute() {
    for suite in Suite::ALL {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        let mut files = Vec::new();
        // The offer is message 0, the acceptance 1: later ones are lost for good.
        for faults in [None, Some((2, Fault::Down))] {
            let (alice, bob) = (build(&bench, "alice").await, build(&bench, "bob").await);
            let items = [by("alice", "A"), by("bob", "B")];
            let [ours, theirs] = items.clone();
            let setting = contract(ours, theirs, suite, [Give::Nothing, Give::Nothing]);
            let (a, b) = play(&alice, &bob, &Wire::with_faults(faults), setting).await;
            match faults {
                None => {
                    assert!(matches!((&a, &b), (Outcome::Completed(_), Outcome::Completed(_))));
                    assert_eq!(bench.arbiter.calls(), 0);
                }
                Some(_) => assert!(matches!((&a, &b), (Outcome::Resolved(_), Outcome::Resolved(_)))),
            }
            assert_eq!(received(&a), honest("bob", &items[1]));
            assert_eq!(received(&b), honest("alice", &items[0]));
            let name =
                |it: &Outcome| it.evidence().received_file.as_ref().unwrap().file_name().unwrap().to_owned();
            files.push([(name(&a), received(&a)), (name(&b), received(&b))]);
            assert_eq!(a.evidence().signatures, b.evidence().signatures);
            assert_eq!(a.evidence().escrows, b.evidence().escrows);
        }
        assert_eq!(files[0], files[1], "{suite:?}");
    }
}

/// every escrow that is not good, by either party, is found before anything of value leaves.
#[tokio::test(start_paused = true)]
async fn a_bad_escrow_is_silence() {
    let mut played = 0;
    for deal in ESCROW_DEALS {
        for role in Role::BOTH {
            for cheat in Cheat::ESCROW {
                if deal.is_detached(role) && cheat != Cheat::OtherSignature {
                    bad_escrow(deal, role, cheat).await;
                    played += 1;
                }
            }
        }
    }
    assert_eq!(played, 24);
}

async fn bad_escrow(deal: Deal, role: Role, cheat: Cheat) {
    let what = format!("{deal:?}, {cheat:?} by the {role}");
    let reason = match cheat {
        Cheat::EscrowGarbage => "ESCROW_",
        Cheat::EscrowMissing => "ESCROW_REQUIRED",
        Cheat::EscrowOfOther => "ESCROW_OF_SOMETHING_ELSE",
        _ => "ESCROW_FALSE",
    };
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let setting = setting(&bench, deal, folder.path());
    let wire = Wire::default();
    let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
    let cheater = |name: &str, file| Cheater::new(identity(name), cheat, file).for_time(LONG);
    match role {
        Role::Originator => {
            let bob = build(&bench, "bob").await;
            let offer = offer_of(&bench, setting.terms, 7);
            let cheater = cheater("alice", setting.originator_file).for_time(Duration::from_secs(5));
            let (fault, loot) = tokio::join!(bob.next_offer(&mut b), cheater.originate(offer, &mut a));
            let Err(Error::Peer(fault)) = fault else { panic!("{what}: {fault:?}") };
            assert!(fault.reason().starts_with(reason), "{what}: {fault}");
            assert!(bob.list().await.unwrap().is_empty() && !loot.unwrap().has_item(), "{what}");
        }
        Role::Responder => {
            let alice = build(&bench, "alice").await;
            let id = alice.offer(setting.terms, setting.originator).await.unwrap();
            let cheater = cheater("bob", setting.responder_file);
            let (outcome, loot) = tokio::join!(alice.run(id, &mut a), cheater.respond(&mut b));
            // Who sends second waits for the deadline first: it may not abort before.
            assert!(matches!(outcome.unwrap(), Outcome::Aborted(_)), "{what}");
            let status = alice.status(id).await.unwrap();
            assert!(status.remark.as_ref().is_some_and(|it| it.starts_with(reason)), "{what}: {status:?}");
            assert!(!status.sent && status.evidence.acceptance.is_none(), "{what}");
            assert!(!loot.unwrap().has_item() && !arbiter_gave(&bench, &id), "{what}");
        }
    }
}

/// R-311, S27: the peer sends another valid signature than the one in escrow. It does not count; the arbiter gives the one
/// that was agreed. And if the peer takes ours and says nothing more, the same.
#[tokio::test(start_paused = true)]
async fn only_the_signature_in_escrow_counts() {
    for deal in [Deal::Detached, Deal::SignatureForDetached, Deal::FileForDetached] {
        for cheat in [Cheat::OtherSignature, Cheat::AlteredItem, Cheat::QuietAfterReceiving] {
            let what = format!("{deal:?} {cheat:?}");
            let folder = tempfile::tempdir().unwrap();
            let bench = Bench::new(folder.path());
            let setting = setting(&bench, deal, folder.path());
            let item = setting.terms.responder_item.clone();
            let (escrowed, other) = (with_nonce("bob", 1, &item), with_nonce("bob", 2, &item));
            let sent = if cheat == Cheat::OtherSignature { &other } else { &escrowed };
            let wire = Wire::default();
            let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
            let alice = build(&bench, "alice").await;
            let id = alice.offer(setting.terms, setting.originator).await.unwrap();
            let cheater = Cheater::new(identity("bob"), cheat, None)
                .with_signatures(escrowed.clone(), sent.clone())
                .for_time(LONG);
            let watch = async {
                tokio::time::sleep(Duration::from_secs(30)).await;
                alice.status(id).await.unwrap()
            };
            let (outcome, loot, status) = tokio::join!(alice.run(id, &mut a), cheater.respond(&mut b), watch);
            let remark = match cheat {
                Cheat::OtherSignature => Some("ITEM_NOT_THE_ONE_IN_ESCROW"),
                Cheat::AlteredItem => Some("ITEM_SIGNATURE_INVALID"),
                _ => None,
            };
            assert_eq!(status.remark.as_deref(), remark, "{what}");
            assert_eq!(status.evidence.signatures, Default::default(), "{what}: still open");
            let outcome = outcome.unwrap();
            assert!(
                matches!(outcome, Outcome::Resolved(_)) && has_peers_item(&outcome),
                "{what}: {outcome:?}"
            );
            assert!(loot.unwrap().has_item(), "{what}");
            assert_eq!(received(&outcome), escrowed, "{what}");
        }
    }
}

/// An honest responder whose originator cheats gets the signature that was in escrow.
#[tokio::test(start_paused = true)]
async fn a_responder_gets_what_was_in_escrow() {
    for cheat in [Cheat::WithholdItem, Cheat::OtherSignature, Cheat::AlteredItem] {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        let setting = setting(&bench, Deal::Detached, folder.path());
        let item = setting.terms.originator_item.clone();
        let (escrowed, other) = (with_nonce("alice", 1, &item), with_nonce("alice", 2, &item));
        let wire = Wire::default();
        let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
        let bob = build(&bench, "bob").await;
        let honest = async {
            let offer = bob.next_offer(&mut b).await?;
            assert_eq!(offer.pledge().and_then(|it| Some(it.escrow()?.suite())), Some(Suite::FAST));
            let id = bob.accept(&offer, setting.responder).await?;
            bob.run(id, &mut b).await
        };
        let cheater = Cheater::new(identity("alice"), cheat, None)
            .with_signatures(escrowed.clone(), other)
            .for_time(LONG);
        let offer = offer_of(&bench, setting.terms, 7);
        let (outcome, _) = tokio::join!(honest, cheater.originate(offer, &mut a));
        let outcome = outcome.unwrap();
        assert!(matches!(outcome, Outcome::Resolved(_)) && has_peers_item(&outcome), "{cheat:?} {outcome:?}");
        assert_eq!(received(&outcome), escrowed, "{cheat:?}");
    }
}

/// Our signature is in the journal, or a restart could not go on; it is nowhere else while it is a secret, and nowhere at
/// all once it will never leave.
#[tokio::test(start_paused = true)]
async fn our_signature_is_a_secret_until_it_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let store = Arc::new(MemoryStore::default());
    let holds = |what: &[u8]| {
        let all = store.all(Shelf::Exchanges).unwrap();
        all.iter().any(|entry| entry.windows(what.len()).any(|window| window == what))
    };
    let alice = bench.builder("alice").journal(store.clone()).build().await.unwrap();
    let terms = setting(&bench, Deal::Detached, folder.path()).terms;
    let secret = honest("alice", &terms.originator_item);
    let id = alice.offer(terms, Give::Nothing).await.unwrap();
    assert!(holds(&secret));
    let shown = |evidence: &arbiter_client::Evidence| {
        assert_eq!(evidence.signatures, Default::default());
        assert!(evidence.escrows.originator.is_some());
        let text = format!("{evidence:?}");
        let decimal = format!("{}, {}, {}", secret[32], secret[33], secret[34]);
        assert!(!text.contains(&hex::encode(&secret[32..40])) && !text.contains(&decimal), "{text}");
    };
    shown(&alice.status(id).await.unwrap().evidence);
    let outcome = alice.complain(id).await.unwrap();
    assert!(matches!(outcome, Outcome::Aborted(_)));
    shown(outcome.evidence());
    assert!(!holds(&secret) && !holds(&secret[32..]), "wiped");
    let give = format!("{:?}", signature(secret.clone()));
    assert_eq!(give, "Signature(64 bytes)");
}

/// The same bytes leave after a restart: the escrow is not made anew.
#[tokio::test(start_paused = true)]
async fn an_escrow_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let store = Arc::new(MemoryStore::default());
    let mut seen = Vec::new();
    let terms = setting(&bench, Deal::Detached, folder.path()).terms;
    let first = bench.builder("alice").journal(store.clone()).build().await.unwrap();
    let id = first.offer(terms, Give::Nothing).await.unwrap();
    drop(first);
    for _ in 0..2 {
        let alice = bench.builder("alice").journal(store.clone()).build().await.unwrap();
        let wire = Wire::default();
        let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
        let message = tokio::select! {
            outcome = alice.run(id, &mut a) => panic!("{outcome:?}"),
            message = heard(&mut b) => message,
        };
        let PeerMessage::Statement(_, Some(escrow)) = message else { panic!("an offer with its escrow") };
        seen.push(escrow);
    }
    assert_eq!(seen[0], seen[1]);
    let kept = bench.builder("alice").journal(store).build().await.unwrap().status(id).await.unwrap();
    assert_eq!(kept.evidence.escrows.originator.unwrap().to_bytes(), seen[0]);
}

async fn heard(end: &mut Memory) -> PeerMessage {
    loop {
        if let Event::Message(message) = end.next(Want::Events).await {
            return message;
        }
    }
}

async fn say(end: &mut Memory, message: PeerMessage) {
    while end.next(Want::Room).await != Event::Room {}
    end.send(message).unwrap();
}

/// R-310, S40: a check costs time, so a peer gets only so many: the same bytes are checked once, and after eight that
/// are bad nothing is.
#[tokio::test(start_paused = true)]
async fn bad_escrows_cannot_burn_our_time() {
    for (distinct, repeats, accepted) in
        [(0, 0, true), (2, 1, true), (7, 1, true), (1, 40, true), (8, 1, false)]
    {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        let setting = setting(&bench, Deal::Detached, folder.path());
        let wire = Wire::default();
        let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
        let alice = build(&bench, "alice").await;
        let id = alice.offer(setting.terms, Give::Nothing).await.unwrap();
        let bob = async {
            let PeerMessage::Statement(offer, _) = heard(&mut b).await else { panic!("the offer") };
            assert_eq!(offer.payload_type(), Offer::TYPE);
            let offer = Signed::<Offer>::parse(offer).unwrap().verify_offer().unwrap();
            let acceptance = Acceptance { exchange_id: offer.exchange_id(), nonce: [1; 32] };
            let acceptance = Verified::sign(acceptance, &signer("bob"));
            let agreement = Agreement::join(offer.clone(), acceptance.clone()).unwrap();
            let place = Place::responder(&offer, agreement.id());
            let good = place.put(&honest("bob", &offer.responder_item), &[3; 32].into()).unwrap().to_bytes();
            for number in 0..distinct {
                // The hash of the proof, its last bytes, or no escrow at all.
                let mut bad = good.clone();
                let at = if number % 2 == 0 { bad.len() - 1 - number } else { 0 };
                bad[at] ^= u8::try_from(number + 1).unwrap();
                for _ in 0..repeats {
                    say(&mut b, PeerMessage::Statement(acceptance.envelope().clone(), Some(bad.clone())))
                        .await;
                }
            }
            if distinct == 2 {
                // The first one again: its reason does not come back, so nobody has looked at it.
                let mut first = good.clone();
                *first.last_mut().unwrap() ^= 1;
                say(&mut b, PeerMessage::Statement(acceptance.envelope().clone(), Some(first))).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
                let remark = alice.status(id).await.unwrap().remark;
                assert_eq!(remark.as_deref(), Some("ESCROW_VERSION_UNSUPPORTED"));
            }
            say(&mut b, PeerMessage::Statement(acceptance.envelope().clone(), Some(good))).await;
            let _ = tokio::time::timeout(Duration::from_secs(20), heard(&mut b)).await;
            let phase = alice.status(id).await.unwrap().phase;
            wire.set_down(true);
            phase
        };
        let (outcome, phase) = tokio::join!(alice.run(id, &mut a), bob);
        let what = format!("{distinct} bad ones, {repeats} times each");
        assert_eq!(phase == Phase::Waiting, accepted, "{what}: {phase:?}");
        assert_eq!(matches!(outcome.unwrap(), Outcome::Resolved(_)), accepted, "{what}");
    }
}

/// R-310, S29: whoever has two signatures with one nonce on two texts has the key, so the second one is refused, in
/// every exchange of the journal and after a restart. The same text twice is no reuse.
#[tokio::test(start_paused = true)]
async fn a_reused_nonce_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let store = Arc::new(MemoryStore::default());
    // Bob has forgotten what he did: his journal is new every time.
    let exchange = async |text: &str, nonce: u64| {
        let alice = bench.builder("alice").journal(store.clone()).build().await.unwrap();
        let bob = build(&bench, "bob").await;
        let item = by("bob", text);
        let give = [Give::Nothing, signature(with_nonce("bob", nonce, &item))];
        let setting = contract(by("alice", "same text"), item, Suite::FAST, give);
        let id = alice.offer(setting.terms.clone(), Give::Nothing).await.unwrap();
        let wire = Wire::default();
        let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
        let responder = async {
            let offer = bob.next_offer(&mut b).await.unwrap();
            let id = bob.accept(&offer, setting.responder).await.unwrap();
            bob.run(id, &mut b).await
        };
        // Patience is longer: nobody has turned to the arbiter by then.
        let watch = async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            alice.status(id).await.unwrap().remark
        };
        let (ours, _, remark) = tokio::join!(alice.run(id, &mut a), responder, watch);
        (ours.unwrap(), remark)
    };
    for (text, nonce, good) in
        [("A", 5, true), ("A", 5, true), ("B", 5, false), ("B", 6, true), ("B", 5, false)]
    {
        let (outcome, remark) = exchange(text, nonce).await;
        assert_eq!(matches!(outcome, Outcome::Completed(_)), good, "{text} {nonce}: {outcome:?}");
        let reason = (!good).then_some("SIGNATURE_NONCE_REUSED");
        assert_eq!(remark.as_deref(), reason, "{text} {nonce}");
    }

    // Bob as originator, to the same alice.
    let alice = bench.builder("alice").journal(store.clone()).build().await.unwrap();
    let to_alice = async |text: &str, nonce: u64| {
        let bob = build(&bench, "bob").await;
        let item = by("bob", text);
        let give = signature(with_nonce("bob", nonce, &item));
        let mut terms =
            contract(item, by("alice", "same text"), Suite::FAST, [Give::Nothing, Give::Nothing]).terms;
        terms.responder = identity("alice").party();
        let id = bob.offer(terms, give).await.unwrap();
        review(&alice, &bob.status(id).await.unwrap().evidence).await
    };
    let refused = to_alice("C", 5).await;
    assert!(matches!(refused, Err(Error::Peer(PeerFault::NonceReused))), "{refused:?}");
    // Both are new when they are reviewed; only one can be accepted.
    let (one, two) = (to_alice("C", 7).await.unwrap(), to_alice("D", 7).await.unwrap());
    alice.accept(&one, Give::Nothing).await.unwrap();
    let refused = alice.accept(&two, Give::Nothing).await;
    assert!(matches!(refused, Err(Error::Peer(PeerFault::NonceReused))), "{refused:?}");
    assert!(
        alice.list().await.unwrap().iter().all(|it| it.evidence.exchange_id() != two.offer().exchange_id())
    );
}

/// S29, our own side: a signing tool that repeats a nonce would expose our key, so nothing is put into escrow.
#[tokio::test(start_paused = true)]
async fn our_own_reused_nonce_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let alice = build(&bench, "alice").await;
    for (text, nonce, good) in [("A", 5, true), ("A", 5, true), ("B", 5, false), ("B", 6, true)] {
        let before = alice.list().await.unwrap().len();
        let item = by("alice", text);
        let give = signature(with_nonce("alice", nonce, &item));
        let terms = contract(item, by("bob", text), Suite::FAST, [Give::Nothing, Give::Nothing]).terms;
        match alice.offer(terms, give).await {
            Ok(_) => assert!(good),
            Err(error) => {
                assert!(!good && matches!(error, Error::Usage(Usage::NonceReused)), "{error}");
                assert_eq!(alice.list().await.unwrap().len(), before);
            }
        }
    }
}

/// What is given must be what the item says, and an escrow needs a key of the pinned arbiter.
#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_refused_before_anything_is_signed() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let alice = build(&bench, "alice").await;
    let terms =
        |ours: Item| contract(ours, by("bob", "B"), Suite::FAST, [Give::Nothing, Give::Nothing]).terms;
    let (ours, other) = (by("alice", "A"), by("carol", "A"));
    let mut altered = honest("alice", &ours);
    altered[40] ^= 1;
    // S17: s + L, which lax verifiers take.
    let malleable = {
        let signature = honest("alice", &ours);
        let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
        let mut carry = 0;
        let s = signature[32..].iter().zip(&order).map(|(a, b)| {
            let sum = u16::from(*a) + u16::from(*b) + carry;
            carry = sum >> 8;
            u8::try_from(sum & 0xff).unwrap()
        });
        [&signature[..32], &s.collect::<Vec<_>>()].concat()
    };
    let other_text = honest("alice", &by("alice", "B"));
    let long = [honest("alice", &ours), vec![0]].concat();
    for bad in [Vec::new(), altered, malleable, other_text, long, honest("carol", &other)] {
        let error = alice.offer(terms(ours.clone()), signature(bad)).await.unwrap_err();
        assert!(matches!(error, Error::Usage(Usage::SignatureUnfit)), "{error}");
    }
    let error = alice.offer(terms(other.clone()), Give::Nothing).await.unwrap_err();
    assert!(matches!(error, Error::Usage(Usage::SignatureNeeded)), "{error}");
    let file = folder.path().join("x");
    std::fs::write(&file, "x").unwrap();
    for (item, give) in [
        (ours.clone(), Give::File(file.clone())),
        (items::signature("T", "", described()), Give::File(file)),
        (items::signature("T", "", described()), signature(honest("alice", &ours))),
        (items::file(described()), Give::Nothing),
    ] {
        let error = alice.offer(terms(item), give).await.unwrap_err();
        assert!(matches!(error, Error::Usage(Usage::Content(_))), "{error}");
    }
    // A key that is not ours, with a signature made there, is as good.
    alice.offer(terms(other.clone()), signature(honest("carol", &other))).await.unwrap();
    assert_eq!(alice.list().await.unwrap().len(), 1);

    let no_key = Client::builder()
        .arbiter_port(Arc::new(bench.arbiter.clone()))
        .arbiter_identity(bench.arbiter.identity())
        .identity(identity("alice"))
        .store(folder.path())
        .clock(bench.clock.clone())
        .in_memory();
    let error = no_key.build().await.unwrap().offer(terms(ours), Give::Nothing).await.unwrap_err();
    assert!(matches!(error, Error::Usage(Usage::NoEscrowKey)), "{error}");
    let epoch: EscrowEpoch = (*bench.arbiter.escrow_epoch()).clone();
    let foreign =
        bench.builder("alice").escrow_epoch(Verified::sign(epoch, &signer("mallory"))).build().await;
    assert!(matches!(foreign.map(|_| ()), Err(Error::Usage(Usage::EscrowKeyOfOther))));
}

/// R-312, S14: what cannot be opened in time is neither offered nor accepted, and P1 with escrow does not wait for a
/// peer longer than until then.
#[tokio::test(start_paused = true)]
async fn the_end_of_the_escrow_key_is_a_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let epoch =
        |seconds: u64| bench.arbiter.begin_epoch(bench.clock.now().after(DurationMillis(seconds * 1000)));
    let alice = async |seconds| {
        let builder = bench.builder("alice").patience(Duration::from_secs(1_000_000));
        builder.escrow_epoch(epoch(seconds)).build().await.unwrap()
    };
    let terms = || setting(&bench, Deal::Detached, folder.path()).terms;
    let late = alice(59).await.offer(terms(), Give::Nothing).await;
    assert!(matches!(late, Err(Error::Usage(Usage::EscrowEndsTooSoon(60)))), "{late:?}");

    let just = alice(60).await;
    let id = just.offer(terms(), Give::Nothing).await.unwrap();
    let bob = build(&bench, "bob").await;
    let proposal = review(&bob, &just.status(id).await.unwrap().evidence).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let late = bob.accept(&proposal, Give::Nothing).await;
    assert!(matches!(late, Err(Error::Peer(PeerFault::EscrowEndsTooSoon))), "{late:?}");
    assert!(bob.list().await.unwrap().is_empty());

    // A patient party, and a quiet peer: the arbiter is asked while it still can open.
    for away in [false, true] {
        let alice = alice(3_600).await;
        let until = bench.arbiter.escrow_epoch().until;
        let id = alice.offer(terms(), Give::Nothing).await.unwrap();
        let wire = Wire::default();
        let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
        let cheater = Cheater::new(identity("bob"), Cheat::QuietAfterReceiving, None).for_time(LONG);
        bench.arbiter.set_down(away);
        let (outcome, _) = tokio::join!(alice.run(id, &mut a), async {
            let _ = tokio::time::timeout(Duration::from_secs(3_590), cheater.respond(&mut b)).await;
        });
        if !away {
            let outcome = outcome.unwrap();
            assert!(matches!(outcome, Outcome::Resolved(_)) && has_peers_item(&outcome), "{outcome:?}");
            assert!(bench.clock.now() < until);
            continue;
        }
        // The arbiter was away all the time: this is what the deadline costs.
        assert!(outcome.is_err_and(|error| error.is_retryable()));
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        bench.arbiter.set_down(false);
        let outcome = alice.complain(id).await;
        assert!(
            matches!(outcome, Err(Error::Arbiter { reason: Reason::EscrowKeyRetired, .. })),
            "{outcome:?}"
        );
    }
}

/// the arbiter has a newer key meanwhile, and opens what was agreed under the older one.
#[tokio::test(start_paused = true)]
async fn an_older_epoch_still_opens() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let alice = build(&bench, "alice").await;
    let terms = setting(&bench, Deal::Detached, folder.path()).terms;
    let id = alice.offer(terms, Give::Nothing).await.unwrap();
    let newer = bench.arbiter.begin_epoch(bench.clock.now().after(DurationMillis(1_000_000_000)));
    assert_eq!(newer.epoch, 2);
    // Bob has pinned the newer one: the offer brings its own.
    let bob = build(&bench, "bob").await;
    let proposal = review(&bob, &alice.status(id).await.unwrap().evidence).await.unwrap();
    bob.accept(&proposal, Give::Nothing).await.unwrap();
    let outcome = bob.complain(id).await.unwrap();
    assert!(matches!(outcome, Outcome::Resolved(_)) && has_peers_item(&outcome));
    let outcome = alice.complain(id).await.unwrap();
    assert!(matches!(outcome, Outcome::Resolved(_)) && has_peers_item(&outcome), "learnt from the verdict");
}

/// the peer resolves first, with another escrow of its own than the one it gave us, in which another valid
/// signature is. The one that the verdict names counts, so the arbiter is not accused of what the peer did.
#[tokio::test(start_paused = true)]
async fn the_escrow_that_the_verdict_names_counts() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let setting = setting(&bench, Deal::Detached, folder.path());
    let item = setting.terms.responder_item.clone();
    let (given, filed) = (with_nonce("bob", 1, &item), with_nonce("bob", 2, &item));
    let alice = build(&bench, "alice").await;
    let id = alice.offer(setting.terms, Give::Nothing).await.unwrap();
    let wire = Wire::default();
    let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
    let bob = async {
        let PeerMessage::Statement(offer, Some(theirs)) = heard(&mut b).await else { panic!("the offer") };
        let offer = Signed::<Offer>::parse(offer).unwrap().verify_offer().unwrap();
        let acceptance = Acceptance { exchange_id: offer.exchange_id(), nonce: [1; 32] };
        let acceptance = Verified::sign(acceptance, &signer("bob"));
        let agreement = Agreement::join(offer.clone(), acceptance.clone()).unwrap();
        let place = Place::responder(&offer, agreement.id());
        let put = |bytes: &[u8]| place.put(bytes, &[3; 32].into()).unwrap();
        let first = Some(put(&given).to_bytes());
        say(&mut b, PeerMessage::Statement(acceptance.envelope().clone(), first)).await;
        let request = Request {
            exchange_id: offer.exchange_id(),
            agreement_id: Some(agreement.id()),
            role: Role::Responder,
            action: Action::Resolve,
        };
        let filing = Filing {
            request: Verified::sign(request, &signer("bob")),
            offer: offer.clone(),
            acceptance: Some(acceptance),
            escrows: Escrows {
                originator: Some(Escrow::from_bytes(&theirs).unwrap().into()),
                responder: Some(put(&filed).into()),
            },
        };
        bench.arbiter.resolve(&filing).await.unwrap();
        std::future::pending::<()>().await;
    };
    let outcome = tokio::select! {
        outcome = alice.run(id, &mut a) => outcome.unwrap(),
        () = bob => unreachable!(),
    };
    assert!(matches!(outcome, Outcome::Resolved(_)) && has_peers_item(&outcome), "{outcome:?}");
    assert_eq!(received(&outcome), filed);
    assert!(alice.misbehaviours().await.unwrap().is_empty());
}

/// Notes which escrows were filed with what.
struct Watched(arbiter_client::testing::TestArbiter, Mutex<Vec<(Action, [bool; 2])>>);

impl Watched {
    fn note(&self, filing: &Filing) {
        let escrows = [filing.escrows.originator.is_some(), filing.escrows.responder.is_some()];
        self.1.lock().unwrap().push((filing.request.action, escrows));
    }
}

#[async_trait]
impl ArbiterPort for Watched {
    async fn abort(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.note(filing);
        self.0.abort(filing).await
    }
    async fn resolve(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.note(filing);
        self.0.resolve(filing).await
    }
    async fn revoke(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.note(filing);
        self.0.revoke(filing).await
    }
    async fn query(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.note(filing);
        self.0.query(filing).await
    }
    async fn deposit(&self, filing: &Filing, content: &Path) -> Result<Receipt, PortError> {
        self.note(filing);
        self.0.deposit(filing, content).await
    }
    async fn fetch(&self, filing: &Filing) -> Result<Deposit, PortError> {
        self.note(filing);
        self.0.fetch(filing).await
    }
    async fn consistency(&self, old_size: u64, new_size: u64) -> Result<Vec<Digest>, PortError> {
        self.0.consistency(old_size, new_size).await
    }
}

/// a party files the escrows that are to be opened, and no others.
#[tokio::test(start_paused = true)]
async fn only_what_is_opened_is_filed() {
    use Action::{Abort, Deposit, Fetch, Resolve};
    for (deal, filed) in [
        (Deal::Contract, vec![(Resolve, [false, false])]),
        (Deal::Detached, vec![(Resolve, [true, true]), (Fetch, [false, false])]),
        (Deal::DetachedForSignature, vec![(Resolve, [true, false])]),
        (Deal::SignatureForDetached, vec![(Resolve, [false, true]), (Fetch, [false, false])]),
        (
            Deal::FileForDetached,
            vec![(Deposit, [false, false]), (Resolve, [false, true]), (Fetch, [false, false])],
        ),
        (Deal::DetachedForFile, vec![(Abort, [false, false])]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        let port = Arc::new(Watched(bench.arbiter.clone(), Mutex::default()));
        let alice = bench.builder("alice").arbiter_port(port.clone()).build().await.unwrap();
        let setting = setting(&bench, deal, folder.path());
        let id = alice.offer(setting.terms, setting.originator).await.unwrap();
        let wire = Wire::default();
        let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
        let cheater = Cheater::new(identity("bob"), Cheat::WithholdItem, None).for_time(LONG);
        let (outcome, _) = tokio::join!(alice.run(id, &mut a), cheater.respond(&mut b));
        outcome.unwrap();
        assert_eq!(*port.1.lock().unwrap(), filed, "{deal:?}");
    }
}

/// S12, S25: two exchanges with the same text at the same time: their escrows differ, and neither serves for the other.
#[tokio::test(start_paused = true)]
async fn the_same_text_twice_is_two_exchanges() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let (alice, bob) = (build(&bench, "alice").await, build(&bench, "bob").await);
    let terms = setting(&bench, Deal::Detached, folder.path()).terms;
    let mut offers = Vec::new();
    for _ in 0..2 {
        let id = alice.offer(terms.clone(), Give::Nothing).await.unwrap();
        offers.push(alice.status(id).await.unwrap().evidence);
    }
    let escrow = |at: usize| offers[at].escrows.originator.as_ref().unwrap().to_bytes();
    assert_ne!(escrow(0), escrow(1));
    for (offer, escrow, good) in [(0, 1, false), (1, 0, false), (0, 0, true), (1, 1, true)] {
        let reviewed =
            bob.review(offers[offer].offer.envelope().clone(), Some(self::bytes(&offers[escrow]))).await;
        match reviewed {
            Ok(_) => assert!(good),
            Err(Error::Peer(fault)) => {
                assert!(!good && fault.reason() == "ESCROW_OF_SOMETHING_ELSE", "{fault}")
            }
            Err(other) => panic!("{other}"),
        }
    }
    // An escrow that nobody agreed on is refused as well.
    let plain = setting(&bench, Deal::Contract, folder.path()).terms;
    let id = alice.offer(plain, Give::Nothing).await.unwrap();
    let offer = alice.status(id).await.unwrap().evidence.offer;
    let refused = bob.review(offer.envelope().clone(), Some(escrow(0))).await;
    assert!(matches!(refused, Err(Error::Peer(fault)) if fault.reason() == "ESCROW_NOT_AGREED"));
    for evidence in offers {
        let proposal = review(&bob, &evidence).await.unwrap();
        let id = bob.accept(&proposal, Give::Nothing).await.unwrap();
        let outcome = bob.complain(id).await.unwrap();
        assert!(has_peers_item(&outcome), "{outcome:?}");
    }
    let mut nobody = Nobody;
    for status in alice.list().await.unwrap() {
        alice.resume(status.evidence.exchange_id(), &mut nobody).await.unwrap();
    }
}

fn bytes(evidence: &arbiter_client::Evidence) -> Vec<u8> {
    evidence.escrows.originator.as_ref().unwrap().to_bytes()
}

fn openssl(folder: &Path, line: &str) -> Vec<u8> {
    let output = Command::new("openssl").args(line.split_whitespace()).current_dir(folder).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {line}: {err}");
    output.stdout
}

fn openssl_is_here() -> bool {
    let found = Command::new("openssl").args(["pkeyutl", "-help"]).output();
    let found = found.is_ok_and(|it| String::from_utf8_lossy(&it.stderr).contains("-rawin"));
    let ci = std::env::var("CI").is_ok_and(|it| it == "true");
    assert!(found || !ci, "CI needs the program openssl, version 1.1.1 or later");
    if !found {
        eprintln!("SKIPPED: no openssl program, signatures of OpenSSL were not exchanged");
    }
    found
}

/// R-108, F12: keys and signatures of OpenSSL, which knows nothing of escrow; it verifies the released and the recovered
/// file alike.
#[tokio::test(start_paused = true)]
async fn signatures_made_by_openssl_are_exchanged() {
    if !openssl_is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    openssl(folder, "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem");
    openssl(folder, "pkey -in rsa.pem -pubout -out rsa-public.pem");
    openssl(folder, "genpkey -algorithm ed25519 -out ed.pem");
    openssl(folder, "pkey -in ed.pem -pubout -out ed-public.pem");
    let modulus =
        String::from_utf8(openssl(folder, "rsa -pubin -in rsa-public.pem -noout -modulus")).unwrap();
    let modulus = hex::decode(modulus.trim().strip_prefix("Modulus=").unwrap()).unwrap();
    let der = openssl(folder, "pkey -in ed.pem -pubout -outform DER");
    let ed = arbiter_client::protocol::ids::PublicKey::from_bytes(*der.last_chunk().unwrap());
    let pss = "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1";
    for (padding, hash, options) in [
        (RsaPadding::Pkcs1, RsaHash::Sha256, "-sha256".to_owned()),
        (RsaPadding::Pss, RsaHash::Sha512, format!("-sha512 {pss}")),
    ] {
        let rsa = SignatureKey::rsa(modulus.clone(), 65537, padding, hash).unwrap();
        let item = |key| items::detached_signature("Sale", "One bicycle.", described(), key, Vec::new());
        let (ours, theirs) = (item(rsa), item(SignatureKey::ed25519(ed).unwrap()));
        assert_eq!(document(&ours), document(&theirs), "they sign the same text");
        std::fs::write(folder.join("document"), document(&ours)).unwrap();
        openssl(folder, &format!("dgst {options} -sign rsa.pem -out rsa.sig document"));
        openssl(folder, "pkeyutl -sign -inkey ed.pem -rawin -in document -out ed.sig");
        let [rsa_sig, ed_sig] = ["rsa.sig", "ed.sig"].map(|name| std::fs::read(folder.join(name)).unwrap());
        for faults in [None, Some((2, Fault::Down)), Some((4, Fault::Down))] {
            let bench = Bench::new(folder);
            let (alice, bob) = (build(&bench, "alice").await, build(&bench, "bob").await);
            let give = [signature(rsa_sig.clone()), signature(ed_sig.clone())];
            let setting = contract(ours.clone(), theirs.clone(), Suite::FAST, give);
            let (a, b) = play(&alice, &bob, &Wire::with_faults(faults), setting).await;
            assert_eq!(matches!(a, Outcome::Completed(_)), faults.is_none(), "{a:?}");
            assert_eq!((received(&b), received(&a)), (rsa_sig.clone(), ed_sig.clone()));
            std::fs::write(folder.join("got-rsa.sig"), received(&b)).unwrap();
            std::fs::write(folder.join("got-ed.sig"), received(&a)).unwrap();
            openssl(
                folder,
                &format!("dgst {options} -verify rsa-public.pem -signature got-rsa.sig document"),
            );
            openssl(
                folder,
                "pkeyutl -verify -pubin -inkey ed-public.pem -rawin -in document -sigfile got-ed.sig",
            );
        }
    }
}
