//! Whole exchanges in memory, on virtual time: honest ones never call the arbiter; no cheat and no fault of the
//! network makes one end unfair.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

mod common;

use std::sync::Arc;
use std::time::Duration;

use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::testing::{Bench, Cheat, Cheater, identity};
use arbiter_client::transport::memory::{End, Fault, Wire};
use arbiter_client::{Client, Error, Give, Outcome};
use common::{Deal, all_deals, arbiter_gave, has_peers_item, offer_of, review, setting};

async fn both(bench: &Bench, deal: Deal, wire: &Wire, folder: &std::path::Path) -> (Outcome, Outcome) {
    let (alice, bob) = parties(bench).await;
    let setting = setting(bench, deal, folder);
    let id = alice.offer(setting.terms, setting.originator.clone()).await.unwrap();
    let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
    let originator = alice.run(id, &mut a);
    let responder = async {
        let offer = bob.next_offer(&mut b).await?;
        let id = bob.accept(&offer, setting.responder.clone()).await?;
        bob.run(id, &mut b).await
    };
    let (ours, theirs) = tokio::join!(originator, responder);
    (ours.unwrap(), theirs.unwrap())
}

async fn parties(bench: &Bench) -> (Client, Client) {
    let build = async |name| bench.builder(name).build().await.unwrap();
    (build("alice").await, build("bob").await)
}

/// F1, F2: both get what was agreed, and the arbiter hears nothing.
#[tokio::test(start_paused = true)]
async fn honest_exchanges_complete_without_the_arbiter() {
    for deal in all_deals() {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        let (ours, theirs) = both(&bench, deal, &Wire::default(), folder.path()).await;
        for outcome in [&ours, &theirs] {
            assert!(matches!(outcome, Outcome::Completed(_)), "{deal:?}: {outcome:?}");
            assert!(has_peers_item(outcome), "{deal:?}");
            assert!(outcome.evidence().receipts.is_empty());
        }
        assert_eq!(bench.arbiter.calls(), 0, "{deal:?}");
        let waited = bench.clock.now().0 - 1_795_000_000_000;
        assert!(waited < 1_000, "{deal:?}: nobody waits for anything, {waited} ms passed");
    }
}

/// S1, S3: a connection that breaks, or repeats, at any message still gives both everything, without the arbiter.
#[tokio::test(start_paused = true)]
async fn broken_connections_and_repeated_messages_do_not_need_the_arbiter() {
    for deal in all_deals() {
        let mut number = 0;
        loop {
            let mut reached = false;
            for fault in [Fault::Cut, Fault::Duplicate] {
                let folder = tempfile::tempdir().unwrap();
                let bench = Bench::new(folder.path());
                let wire = Wire::with_faults([(number, fault)]);
                let (ours, theirs) = both(&bench, deal, &wire, folder.path()).await;
                for outcome in [&ours, &theirs] {
                    assert!(
                        matches!(outcome, Outcome::Completed(_)),
                        "{deal:?} {fault:?} {number}: {outcome:?}"
                    );
                    assert!(has_peers_item(outcome), "{deal:?} {fault:?} {number}");
                }
                assert_eq!(bench.arbiter.calls(), 0, "{deal:?} {fault:?} at message {number}");
                reached |= wire.sent() > number;
            }
            number += 1;
            if !reached {
                break;
            }
        }
        assert!(number > 3, "{deal:?}: faults were placed at {number} messages");
    }
}

/// S3: messages in the wrong order, or lost for good, may need the arbiter, but end fair for both.
#[tokio::test(start_paused = true)]
async fn swapped_messages_end_fair() {
    for deal in all_deals() {
        for number in 0..8 {
            let folder = tempfile::tempdir().unwrap();
            let bench = Bench::new(folder.path());
            let wire = Wire::with_faults([(number, Fault::Swap)]);
            if number == 0 {
                continue; // The offer is followed by nothing that could overtake it: bob never hears of it.
            }
            let (ours, theirs) = both(&bench, deal, &wire, folder.path()).await;
            assert_eq!(
                has_peers_item(&ours),
                has_peers_item(&theirs),
                "{deal:?} {number}: {ours:?} {theirs:?}"
            );
        }
    }
}

/// S1: both parties vanish from each other for good, at any message: the arbiter makes it fair.
#[tokio::test(start_paused = true)]
async fn a_connection_that_stays_down_ends_fair() {
    for deal in all_deals() {
        for number in 1..8 {
            let folder = tempfile::tempdir().unwrap();
            let bench = Bench::new(folder.path());
            let wire = Wire::with_faults([(number, Fault::Down)]);
            let (ours, theirs) = both(&bench, deal, &wire, folder.path()).await;
            assert_eq!(
                has_peers_item(&ours),
                has_peers_item(&theirs),
                "{deal:?} {number}: {ours:?} {theirs:?}"
            );
        }
    }
}

/// S7, S11: every cheat that the occasion allows, by either party, in every deal.
#[tokio::test(start_paused = true)]
async fn no_cheat_pays() {
    let mut played = 0;
    for deal in all_deals() {
        for cheat in Cheat::ALL {
            for role in [Role::Originator, Role::Responder] {
                if cheat.suits(role, role == deal.first()) {
                    one_cheat(deal, cheat, role).await;
                    played += 1;
                }
            }
        }
    }
    assert_eq!(played, 156, "every pair of deal and cheat that makes sense");
}

async fn one_cheat(deal: Deal, cheat: Cheat, role: Role) {
    let what = format!("{deal:?}, {cheat:?} by the {role}");
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let setting = setting(&bench, deal, folder.path());
    let wire = Wire::default();
    let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
    let cheater = |name: &str, file| {
        Cheater::new(identity(name), cheat, file)
            .with_arbiter(Arc::new(bench.arbiter.clone()))
            .for_time(Duration::from_secs(10_000))
    };
    let (outcome, loot) = match role {
        Role::Originator => {
            let bob = bench.builder("bob").build().await.unwrap();
            let honest = async {
                let offer = bob.next_offer(&mut b).await?;
                let id = bob.accept(&offer, setting.responder.clone()).await?;
                bob.run(id, &mut b).await
            };
            let offer = offer_of(&bench, setting.terms.clone(), 7);
            let cheater = cheater("alice", setting.originator_file.clone());
            tokio::join!(honest, cheater.originate(offer, &mut a))
        }
        Role::Responder => {
            let alice = bench.builder("alice").build().await.unwrap();
            let terms = setting.terms.clone();
            let id = alice.offer(terms, setting.originator.clone()).await.unwrap();
            let cheater = cheater("bob", setting.responder_file.clone());
            tokio::join!(alice.run(id, &mut a), cheater.respond(&mut b))
        }
    };
    let (outcome, loot) = (outcome.unwrap_or_else(|why| panic!("{what}: {why}")), loot.unwrap());
    let id = outcome.evidence().exchange_id();
    let cheater_gains = loot.has_item() || arbiter_gave(&bench, &id);
    assert!(!cheater_gains || has_peers_item(&outcome), "{what} paid: {outcome:?}");
    assert!(!matches!(outcome, Outcome::Completed(_)), "{what} is no honest exchange");
    match outcome {
        Outcome::Aborted(_) => assert!(!arbiter_gave(&bench, &id), "{what}"),
        _ => assert!(has_peers_item(&outcome), "{what}"),
    }
}

/// F4: a peer that has what it wants and then only repeats itself, or only reconnects, is not waited for.
#[tokio::test(start_paused = true)]
async fn a_peer_that_only_repeats_itself_does_not_hold_us() {
    for (deal, role) in [
        (Deal::Contract, Role::Responder),
        (Deal::Contract, Role::Originator),
        (Deal::FileForSignature, Role::Responder),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        let setting = setting(&bench, deal, folder.path());
        let wire = Wire::default();
        let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
        let cheater = |name: &str, file| {
            Cheater::new(identity(name), Cheat::RepeatsForever, file).for_time(Duration::from_secs(3_000))
        };
        let reconnects = async {
            for _ in 0..30 {
                tokio::time::sleep(Duration::from_secs(40)).await;
                wire.disconnect();
            }
        };
        let outcome = match role {
            Role::Responder => {
                let alice = bench.builder("alice").build().await.unwrap();
                let id = alice.offer(setting.terms, setting.originator.clone()).await.unwrap();
                let cheater = cheater("bob", setting.responder_file);
                tokio::select! {
                    outcome = alice.run(id, &mut a) => outcome,
                    _ = async { tokio::join!(cheater.respond(&mut b), reconnects) } => panic!("{deal:?}: held"),
                }
            }
            Role::Originator => {
                let bob = bench.builder("bob").build().await.unwrap();
                let honest = async {
                    let offer = bob.next_offer(&mut b).await?;
                    let id = bob.accept(&offer, Give::Nothing).await?;
                    bob.run(id, &mut b).await
                };
                let cheater = cheater("alice", None);
                let offer = offer_of(&bench, setting.terms, 7);
                tokio::select! {
                    outcome = honest => outcome,
                    _ = async { tokio::join!(cheater.originate(offer, &mut a), reconnects) } => {
                        panic!("{deal:?}: held")
                    }
                }
            }
        };
        let outcome = outcome.unwrap();
        assert!(matches!(outcome, Outcome::Resolved(_)), "{deal:?} {role}: {outcome:?}");
        assert!(has_peers_item(&outcome), "{deal:?} {role}");
    }
}

/// The user need not wait for patience to end.
#[tokio::test(start_paused = true)]
async fn a_user_can_stop_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let alice = bench.builder("alice").patience(Duration::from_secs(9_000)).build().await.unwrap();
    let id = alice.offer(setting(&bench, Deal::Contract, folder.path()).terms, Give::Nothing).await.unwrap();
    assert!(!alice.stop_waiting(id), "nobody waits yet");
    let started = bench.clock.now();
    let stop = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(alice.stop_waiting(id));
    };
    let mut nobody = arbiter_client::transport::Nobody;
    let (outcome, ()) = tokio::join!(alice.run(id, &mut nobody), stop);
    assert!(matches!(outcome.unwrap(), Outcome::Aborted(_)));
    assert!(bench.clock.now().0 - started.0 < 10_000);
}

/// R-305, S16: the reason of a refusal is kept for the status.
#[tokio::test(start_paused = true)]
async fn the_status_says_why_an_item_was_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let setting = setting(&bench, Deal::SignatureForFile, folder.path());
    let wire = Wire::default();
    let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
    let alice = bench.builder("alice").build().await.unwrap();
    let id = alice.offer(setting.terms, Give::Nothing).await.unwrap();
    let cheater = Cheater::new(identity("bob"), Cheat::AlteredItem, setting.responder_file);
    let watch = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        alice.status(id).await.unwrap().remark
    };
    let (outcome, _, remark) = tokio::join!(alice.run(id, &mut a), cheater.respond(&mut b), watch);
    assert_eq!(remark.as_deref(), Some("ITEM_HASH_MISMATCH"));
    assert!(matches!(outcome.unwrap(), Outcome::Aborted(_)));
    let received = bench.folder("alice").join("received").join(id.to_string()).join("notice.txt");
    assert!(!received.exists(), "what does not fit never gets the file's name");
}

/// S37: the arbiter is away when it is needed: asked again until it is back, and the exchange ends fair.
#[tokio::test(start_paused = true)]
async fn an_arbiter_that_is_down_for_a_while_is_asked_again() {
    for deal in all_deals() {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        let setting = setting(&bench, deal, folder.path());
        let wire = Wire::default();
        let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
        let alice = bench.builder("alice").build().await.unwrap();
        let id = alice.offer(setting.terms, setting.originator.clone()).await.unwrap();
        let cheater = Cheater::new(identity("bob"), Cheat::WithholdItem, setting.responder_file);
        bench.arbiter.set_down(true);
        let back = async {
            tokio::time::sleep(Duration::from_secs(3_700)).await;
            bench.arbiter.set_down(false);
        };
        let patient = async {
            loop {
                match alice.resume(id, &mut a).await {
                    Err(error) if error.is_retryable() => {
                        assert!(bench.clock.now().0 > 1_795_000_000_000 + 60_000);
                    }
                    other => return other,
                }
            }
        };
        let cheats = cheater.for_time(Duration::from_secs(9_000));
        let (outcome, loot, ()) = tokio::join!(patient, cheats.respond(&mut b), back);
        let outcome = outcome.unwrap();
        match (deal.has_file(), deal.first()) {
            (false, _) => assert!(matches!(outcome, Outcome::Resolved(_)), "{outcome:?}"),
            (true, Role::Responder) => assert!(matches!(outcome, Outcome::Aborted(_)), "{outcome:?}"),
            // The arbiter was away over the whole complaint time: this is what the deadline costs (SPEC 7).
            (true, Role::Originator) => {
                assert!(matches!(outcome, Outcome::Aborted(_)), "{outcome:?}");
                assert!(loot.unwrap().has_item());
            }
        }
    }
}

/// The approver sees exactly what is signed, and its no is final.
#[tokio::test(start_paused = true)]
async fn nothing_is_signed_without_approval() {
    struct Nay(std::sync::Mutex<Vec<arbiter_client::protocol::ids::ExchangeId>>);
    #[async_trait::async_trait]
    impl arbiter_client::Approver for Nay {
        async fn approve(
            &self,
            _offer: &arbiter_client::protocol::message::agreement::Offer,
            id: arbiter_client::protocol::ids::ExchangeId,
            _role: Role,
        ) -> bool {
            self.0.lock().unwrap().push(id);
            false
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let nay = Arc::new(Nay(std::sync::Mutex::default()));
    let bob = bench.builder("bob").approver(nay.clone()).build().await.unwrap();
    let alice = bench.builder("alice").build().await.unwrap();
    let setting = setting(&bench, Deal::Contract, folder.path());
    let id = alice.offer(setting.terms.clone(), Give::Nothing).await.unwrap();
    let offer = review(&bob, &alice.status(id).await.unwrap().evidence).await.unwrap();
    let refused = bob.accept(&offer, Give::Nothing).await;
    assert!(matches!(refused, Err(Error::Usage(arbiter_client::error::Usage::NotApproved))));
    assert_eq!(*nay.0.lock().unwrap(), [id]);
    assert!(bob.list().await.unwrap().is_empty());
}

/// an offer under another arbiter, for somebody else, or altered is refused before anything is shown to approve.
#[tokio::test(start_paused = true)]
async fn review_refuses_offers_that_are_not_for_us() {
    use arbiter_client::error::PeerFault;
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let (alice, bob) = parties(&bench).await;
    let carol = bench.builder("carol").build().await.unwrap();
    let setting = setting(&bench, Deal::Contract, folder.path());
    let id = alice.offer(setting.terms.clone(), Give::Nothing).await.unwrap();
    let offer = alice.status(id).await.unwrap().evidence.offer;
    assert!(bob.review(offer.envelope().clone(), None).await.is_ok());
    assert!(matches!(
        carol.review(offer.envelope().clone(), None).await,
        Err(Error::Peer(PeerFault::NotForUs))
    ));
    let mut other = offer_of(&bench, setting.terms, 1);
    other.arbiter.rules = "arbiter/rules/v0".into();
    let signer = arbiter_client::protocol::crypto::MemorySigner::from_seed(&[1; 32].into());
    let forged = arbiter_client::protocol::statement::Verified::sign(other, &signer);
    assert!(matches!(
        bob.review(forged.envelope().clone(), None).await,
        Err(Error::Peer(PeerFault::OtherArbiter))
    ));
    let forged = arbiter_client::protocol::statement::Verified::sign((*offer).clone(), &signer);
    assert!(matches!(
        bob.review(forged.envelope().clone(), None).await,
        Err(Error::Peer(PeerFault::Rejected(_)))
    ));
}
