//! A first sender in a protocol with a deadline: it promises no file that it could not deposit, keeps the time for
//! the upload, does not give up before the deadline is over, and hears of a verdict that is there already.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

mod common;

use std::sync::Arc;
use std::time::Duration;

use arbiter_client::arbiter::{ArbiterPort as _, Filing, Retry, UPLOAD_BYTES_PER_SECOND};
use arbiter_client::bundle::Bundle;
use arbiter_client::clock::Clock;
use arbiter_client::error::{PeerFault, Usage};
use arbiter_client::protocol::escrow::Suite;
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::protocol::message::agreement::Agreement;
use arbiter_client::protocol::message::request::{Action, Request};
use arbiter_client::protocol::role::arbiter::Escrows;
use arbiter_client::protocol::statement::Verified;
use arbiter_client::protocol::time::{DurationMillis, UnixMillis};
use arbiter_client::testing::{Bench, Cheat, Cheater, identity, signer};
use arbiter_client::transport::memory::{End, Wire};
use arbiter_client::{Error, Give, OfferTerms, Outcome, items};
use common::{Deal, content, has_peers_item, review, setting};

/// The arbiter takes deposits of one byte less than the file, or just the file.
#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_deposited_is_not_promised() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let size = u64::try_from(content().len()).unwrap();
    for limit in [size - 1, size] {
        let refused = |error: Error| {
            assert_eq!(error.to_string(), Usage::TooLargeToComplain { size, limit }.to_string())
        };
        let alice = bench.builder("alice").deposit_limit(limit).build().await.unwrap();
        let bob = bench.builder("bob").deposit_limit(limit).build().await.unwrap();

        // The file is the originator's.
        let deal = setting(&bench, Deal::FileForSignature, folder.path());
        match alice.offer(deal.terms.clone(), deal.originator.clone()).await {
            Ok(_) => assert_eq!(limit, size),
            Err(error) => refused(error),
        }
        assert_eq!(alice.list().await.unwrap().len(), usize::from(limit == size), "nothing was signed");
        // Who only receives it need not care.
        let other = bench.builder("alice").build().await.unwrap();
        let id = other.offer(deal.terms, deal.originator.clone()).await.unwrap();
        let offer = review(&bob, &other.status(id).await.unwrap().evidence).await.unwrap();
        bob.accept(&offer, Give::Nothing).await.unwrap();

        // The file is the responder's.
        let deal = setting(&bench, Deal::SignatureForFile, folder.path());
        let id = alice.offer(deal.terms, Give::Nothing).await.unwrap();
        let offer = review(&bob, &alice.status(id).await.unwrap().evidence).await.unwrap();
        match bob.accept(&offer, deal.responder.clone()).await {
            Ok(_) => assert_eq!(limit, size),
            Err(error) => refused(error),
        }
    }
}

/// twice the base margin remains, but not the time to upload the file: too late to begin, for either role.
#[tokio::test(start_paused = true)]
async fn the_margin_holds_the_upload() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let large = folder.path().join("large.bin");
    std::fs::File::create(&large).unwrap().set_len(20 * UPLOAD_BYTES_PER_SECOND).unwrap();
    let described = items::describe(&large, None).await.unwrap();
    let receipt = items::signature("Receipt", "", described.clone());
    let terms = |gives: bool, seconds: u64| OfferTerms {
        responder: identity("bob").party(),
        originator_item: if gives { items::file(described.clone()) } else { receipt.clone() },
        responder_item: if gives { receipt.clone() } else { items::file(described.clone()) },
        complain_by: Some(bench.clock.now().after(DurationMillis(seconds * 1000))),
        send_by: None,
        suite: Suite::DEFAULT,
    };
    let alice = bench.builder("alice").build().await.unwrap();
    let bob = bench.builder("bob").build().await.unwrap();

    // 30 s of margin and 20 s of upload, twice.
    let late = alice.offer(terms(true, 99), Give::File(large.clone())).await;
    assert!(matches!(late, Err(Error::Usage(Usage::DeadlineTooClose(100)))), "{late:?}");
    alice.offer(terms(true, 100), Give::File(large.clone())).await.unwrap();

    for (seconds, in_time) in [(99, false), (100, true)] {
        let id = alice.offer(terms(false, seconds), Give::Nothing).await.unwrap();
        let offer = review(&bob, &alice.status(id).await.unwrap().evidence).await.unwrap();
        match bob.accept(&offer, Give::File(large.clone())).await {
            Ok(_) => assert!(in_time),
            Err(error) => assert!(!in_time && matches!(error, Error::Peer(PeerFault::TooLate)), "{error}"),
        }
    }
}

/// R-308, R12, S2: the arbiter is away until just before the deadline. However short the time for retries is, a party
/// whose file has left goes on asking: giving up earlier would cost it the file.
#[tokio::test(start_paused = true)]
async fn a_complaint_is_not_given_up_before_its_deadline() {
    let retry = Retry { total: Duration::from_secs(1), ..Retry::default() };
    for (back_after, resolved) in [(3_580, true), (4_000, false)] {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        let setting = setting(&bench, Deal::FileForSignature, folder.path());
        let wire = Wire::default();
        let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
        let alice = bench.builder("alice").retry(retry).build().await.unwrap();
        let id = alice.offer(setting.terms, setting.originator.clone()).await.unwrap();
        bench.arbiter.set_down(true);
        let back = async {
            tokio::time::sleep(Duration::from_secs(back_after)).await;
            bench.arbiter.set_down(false);
        };
        let cheater = Cheater::new(identity("bob"), Cheat::WithholdItem, None);
        let cheats = cheater.for_time(Duration::from_secs(9_000));
        let started = bench.clock.now();
        let run = async { (alice.run(id, &mut a).await, bench.clock.now().0 - started.0) };
        let ((outcome, after), _) = tokio::select! {
            both = async { tokio::join!(run, back) } => both,
            loot = cheats.respond(&mut b) => panic!("the cheater left first: {loot:?}"),
        };
        if resolved {
            let outcome = outcome.unwrap();
            assert!(matches!(outcome, Outcome::Resolved(_)) && has_peers_item(&outcome), "{outcome:?}");
        } else {
            // Over for certain: the deadline and the margin for clocks that differ have passed.
            assert!(outcome.is_err_and(|error| error.is_retryable()));
            assert!(after >= 3_630_000, "gave up after {after} ms");
        }
    }
}

/// A clock that is slow by more than the margin.
struct Slow(Arc<dyn Clock>);

impl Clock for Slow {
    fn now(&self) -> UnixMillis {
        self.0.now().before(DurationMillis(100_000))
    }
}

/// S19: the party's clock is so slow that the peer could abort before its complaint. The arbiter refuses the deposit
/// because there is a verdict; the party asks for that at once, and does not upload again and again.
#[tokio::test(start_paused = true)]
async fn a_refused_deposit_asks_for_the_verdict_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let setting = setting(&bench, Deal::FileForSignature, folder.path());
    let deadline = setting.terms.complain_by.unwrap();
    let wire = Wire::default();
    let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
    let slow = Arc::new(Slow(bench.clock.clone()));
    let patience = Duration::from_secs(100_000);
    let alice = bench.builder("alice").clock(slow).patience(patience).build().await.unwrap();
    let id = alice.offer(setting.terms, setting.originator.clone()).await.unwrap();
    let aborts = async {
        while bench.clock.now() <= deadline {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let evidence = alice.status(id).await.unwrap().evidence;
        let agreement =
            Agreement::join(evidence.offer.clone(), evidence.acceptance.clone().unwrap()).unwrap();
        let request = Request {
            exchange_id: id,
            agreement_id: Some(agreement.id()),
            role: Role::Responder,
            action: Action::Abort,
        };
        let request = Verified::sign(request, &signer("bob"));
        let filing = Filing {
            request,
            offer: evidence.offer,
            acceptance: evidence.acceptance,
            escrows: Escrows::default(),
        };
        bench.arbiter.abort(&filing).await.unwrap();
    };
    let cheater = Cheater::new(identity("bob"), Cheat::WithholdItem, None).for_time(2 * patience);
    let (outcome, ()) = tokio::select! {
        both = async { tokio::join!(alice.run(id, &mut a), aborts) } => both,
        loot = cheater.respond(&mut b) => panic!("the cheater left first: {loot:?}"),
    };
    let outcome = outcome.unwrap();
    assert!(matches!(outcome, Outcome::Aborted(_)), "{outcome:?}");
    let calls = bench.arbiter.counters();
    assert_eq!((calls.get("VerifyTransfer"), calls.get("GetVerdict")), (Some(&1), Some(&1)), "{calls:?}");
    // The only abort that was asked for is the peer's.
    assert_eq!(calls.get("AbortExchange"), Some(&1));
}

/// The journal is lost; the bundle that was written before is enough for justice, in every kind of exchange and for
/// either party. The peer of each is silent.
#[tokio::test(start_paused = true)]
async fn a_bundle_is_enough_to_complain() {
    for deal in common::DEALS {
        for role in [Role::Originator, Role::Responder] {
            let folder = tempfile::tempdir().unwrap();
            let bench = Bench::new(folder.path());
            let setting = setting(&bench, deal, folder.path());
            let alice = bench.builder("alice").build().await.unwrap();
            let bob = bench.builder("bob").build().await.unwrap();
            let id = alice.offer(setting.terms, setting.originator.clone()).await.unwrap();
            let offer = review(&bob, &alice.status(id).await.unwrap().evidence).await.unwrap();
            bob.accept(&offer, setting.responder.clone()).await.unwrap();
            let bundle = Bundle::of(&bob.status(id).await.unwrap().evidence);
            let open = Bundle::of(&alice.status(id).await.unwrap().evidence);
            let (name, file) = match role {
                Role::Originator => ("alice", setting.originator_file),
                Role::Responder => ("bob", setting.responder_file),
            };

            let carol = bench.builder("carol").build().await.unwrap();
            let stranger = carol.import(&bundle, &[]).await;
            assert!(matches!(stranger, Err(Error::Usage(Usage::NotAParty))), "{stranger:?}");
            let anew = bench.builder(name).build().await.unwrap();
            let early = anew.import(&open, file.as_slice()).await;
            assert!(matches!(early, Err(Error::Usage(Usage::NotAgreed))), "{early:?}");
            if file.is_some() {
                let nothing = anew.import(&bundle, &[]).await;
                assert!(matches!(nothing, Err(Error::Usage(Usage::Content(_)))), "{nothing:?}");
            }
            assert_eq!(anew.import(&bundle, file.as_slice()).await.unwrap(), id);
            let again = anew.import(&bundle, file.as_slice()).await;
            assert!(matches!(again, Err(Error::Usage(Usage::Known(_)))), "{again:?}");

            let first = deal == Deal::SignatureForFile;
            let first = if first { Role::Responder } else { Role::Originator };
            let outcome = anew.complain(id).await.unwrap();
            if deal == Deal::Contract || role == first {
                assert!(matches!(outcome, Outcome::Resolved(_)), "{deal:?} {role}: {outcome:?}");
                assert!(has_peers_item(&outcome), "{deal:?} {role}");
            } else {
                // Who would have sent second waited for the deadline, and nobody complained.
                assert!(matches!(outcome, Outcome::Aborted(_)), "{deal:?} {role}: {outcome:?}");
            }
            // Another journal was lost meanwhile: the bundle of a ruled exchange is imported too.
            let ruled = Bundle::of(outcome.evidence());
            let later = bench.builder(name).build().await.unwrap();
            later.import(&ruled, file.as_slice()).await.unwrap();
            assert!(!later.status(id).await.unwrap().evidence.receipts.is_empty());
        }
    }
}
