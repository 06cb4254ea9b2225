//! Scenarios of `docs/scenarios.md` that a whole party meets, one a test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbiter_client::error::{PeerFault, Usage};
use arbiter_client::journal::MemoryStore;
use arbiter_client::protocol::crypto::Signer as _;
use arbiter_client::protocol::escrow::Suite;
use arbiter_client::protocol::evidence::checkpoint::Origin;
use arbiter_client::protocol::exchange::kind::detached::Place;
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::protocol::message::agreement::{ArbiterIdentity, Offer};
use arbiter_client::protocol::message::transfer::Transfer;
use arbiter_client::protocol::statement::{Payload as _, Verified};
use arbiter_client::protocol::time::DurationMillis;
use arbiter_client::testing::{Bench, identity, signer};
use arbiter_client::transport::memory::{End, Memory, Wire};
use arbiter_client::transport::{Event, NotSent, PeerMessage, Transport, Want};
use arbiter_client::{Client, Error, Give, OfferTerms, Outcome, items};
use async_trait::async_trait;
use common::{Deal, all_deals, arbiter_gave, has_peers_item, offer_of, setting};

/// Keeps a copy of everything that leaves through it.
struct Taped(Memory, Arc<Mutex<Vec<PeerMessage>>>);

#[async_trait]
impl Transport for Taped {
    async fn next(&mut self, want: Want) -> Event {
        self.0.next(want).await
    }

    fn is_connected(&self) -> bool {
        self.0.is_connected()
    }

    fn send(&mut self, message: PeerMessage) -> Result<(), NotSent> {
        self.0.send(message.clone())?;
        self.1.lock().unwrap().push(message);
        Ok(())
    }

    async fn close(&mut self) {
        self.0.close().await;
    }
}

/// Says what is on the tape, and then nothing more, until the connection ends.
async fn play_back(tape: Vec<PeerMessage>, mut end: Memory) {
    let mut rest = tape.into_iter().peekable();
    loop {
        let want = if rest.peek().is_some() { Want::Room } else { Want::Events };
        match end.next(want).await {
            Event::Room => rest.next().into_iter().for_each(|message| end.send(message).unwrap()),
            Event::Closed => break,
            Event::Connected | Event::Lost | Event::Message(_) => {}
        }
    }
}

fn is_item(message: &PeerMessage) -> bool {
    match message {
        PeerMessage::Statement(envelope, _) => envelope.payload_type() == Transfer::TYPE,
        PeerMessage::Content(_) => true,
        PeerMessage::Declined(_) => false,
    }
}

/// S13, R-305 (K2): everything that the originator said in an exchange that is over is said again to the responder,
/// by somebody who is not the originator. With its journal the responder signs nothing. Without, it may accept again: then
/// the old transfer is none under the new agreement, so nothing is given for it, and the arbiter gives what it would have
/// given the first time: it is the same exchange. (A file that leaves again is sealed to the originator.)
#[tokio::test(start_paused = true)]
async fn an_old_run_said_again_brings_nothing() {
    let mut played = 0;
    for deal in all_deals() {
        for forgetful in [false, true] {
            let what = format!("{deal:?}, without journal: {forgetful}");
            let folder = tempfile::tempdir().unwrap();
            let bench = Bench::new(folder.path());
            let setting = setting(&bench, deal, folder.path());
            let journal = Arc::new(MemoryStore::default());
            let alice = bench.builder("alice").build().await.unwrap();
            let bob = bench.builder("bob").journal(journal.clone()).build().await.unwrap();
            let wire = Wire::default();
            let tape = Arc::new(Mutex::new(Vec::new()));
            let mut a = Taped(wire.end(End::First), tape.clone());
            let mut b = wire.end(End::Second);
            let id = alice.offer(setting.terms, setting.originator).await.unwrap();
            let honest = async {
                let offer = bob.next_offer(&mut b).await?;
                let id = bob.accept(&offer, setting.responder.clone()).await?;
                bob.run(id, &mut b).await
            };
            let (ours, theirs) = tokio::join!(alice.run(id, &mut a), honest);
            assert!(
                matches!((ours, theirs), (Ok(Outcome::Completed(_)), Ok(Outcome::Completed(_)))),
                "{what}"
            );
            drop(bob);

            let tape = tape.lock().unwrap().clone();
            assert!(tape.iter().any(is_item), "{what}");
            let journal = if forgetful { Arc::default() } else { journal };
            let bob = bench.builder("bob").journal(journal).build().await.unwrap();
            let wire = Wire::default();
            let mut b = wire.end(End::Second);
            let replay = tokio::spawn(play_back(tape, wire.end(End::First)));
            let offer = bob.next_offer(&mut b).await.unwrap();
            assert_eq!(offer.offer().exchange_id(), id, "the same exchange, whoever says it");
            let accepted = bob.accept(&offer, setting.responder).await;
            if !forgetful {
                assert!(matches!(accepted, Err(Error::Usage(Usage::Known(known))) if known == id), "{what}");
                drop(b);
                assert_eq!(bob.list().await.unwrap().len(), 1);
                assert_eq!(bench.arbiter.calls(), 0, "{what}");
                replay.abort();
                played += 1;
                continue;
            }
            let outcome = bob.run(accepted.unwrap(), &mut b).await.unwrap();
            drop(b);
            replay.abort();
            assert!(!matches!(outcome, Outcome::Completed(_)), "{what}: an old item was taken for a new one");
            assert_eq!(arbiter_gave(&bench, &id), has_peers_item(&outcome), "{what}: {outcome:?}");
            if deal.first() == Role::Originator {
                assert!(
                    !bob.status(id).await.unwrap().sent,
                    "{what}: the second sender waits for a new item"
                );
            }
            played += 1;
        }
    }
    assert_eq!(played, 2 * all_deals().count());
}

/// S14, R-204, R-106: an offer under another arbiter is refused before anything is shown, whatever it is that differs; and
/// an escrow key that the pinned arbiter did not sign is no key of it.
#[tokio::test(start_paused = true)]
async fn another_arbiter_is_noticed_by_every_field() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let bob = bench.builder("bob").build().await.unwrap();
    let alice = signer("alice");
    let review = async |offer: Offer| {
        let offer = Verified::sign(offer, &alice);
        let escrow = offer.originator_item.description.detached().map(|item| {
            let signature = alice.sign(item.statement.document().as_bytes());
            Place::originator(&offer).put(&signature, &[3; 32].into()).unwrap().to_bytes()
        });
        bob.review(offer.envelope().clone(), escrow).await
    };
    let mallory = signer("mallory").public_key();
    for deal in [Deal::Contract, Deal::FileForSignature, Deal::Detached] {
        let good = offer_of(&bench, setting(&bench, deal, folder.path()).terms, 7);
        review(good.clone()).await.unwrap();
        let here = bench.arbiter.identity();
        let others = [
            ArbiterIdentity { key: mallory, ..here.clone() },
            ArbiterIdentity { log_key: mallory, ..here.clone() },
            ArbiterIdentity { log_origin: Origin::parse("arbiter.test/evidence2").unwrap(), ..here.clone() },
            ArbiterIdentity { rules: "arbiter/rules/v0".into(), ..here },
        ];
        for arbiter in others {
            // The escrow key is one of the arbiter that is named.
            let mut offer = Offer { arbiter, ..good.clone() };
            if let Some(terms) = &mut offer.escrow
                && offer.arbiter.key == mallory
            {
                terms.epoch = Verified::sign((*terms.epoch).clone(), &signer("mallory"));
            }
            let refused = bob.review(Verified::sign(offer, &alice).envelope().clone(), None).await;
            assert!(matches!(refused, Err(Error::Peer(PeerFault::OtherArbiter))), "{deal:?}: {refused:?}");
        }
    }
    let mut offer = offer_of(&bench, setting(&bench, Deal::Detached, folder.path()).terms, 7);
    let terms = offer.escrow.as_mut().unwrap();
    terms.epoch = Verified::sign((*terms.epoch).clone(), &signer("mallory"));
    let refused = bob.review(Verified::sign(offer, &alice).envelope().clone(), None).await;
    assert!(
        matches!(&refused, Err(Error::Peer(fault)) if fault.reason() == "SIGNER_NOT_ENTITLED"),
        "{refused:?}"
    );
    assert!(bob.list().await.unwrap().is_empty());
}

/// The most memory that this process has had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

/// S45: a file of 1 GiB crosses between two parties in one process, which never has more than a small part of it.
#[tokio::test(start_paused = true)]
async fn a_large_file_is_never_in_memory() {
    const SIZE: u64 = 1 << 30;
    // Other tests run in this process, too.
    const MOST: u64 = 128 << 20;
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let large = folder.path().join("large.bin");
    std::fs::File::create(&large).unwrap().set_len(SIZE).unwrap();
    let before = peak();
    let described = items::describe(&large, None).await.unwrap();
    let deadline = bench.clock.now().after(DurationMillis(30 * 86_400_000));
    let terms = OfferTerms {
        responder: identity("bob").party(),
        originator_item: items::file(described.clone()),
        responder_item: items::signature("Receipt", "", described),
        complain_by: Some(deadline),
        send_by: None,
        suite: Suite::DEFAULT,
    };
    let build = async |name: &str| -> Client {
        bench.builder(name).patience(Duration::from_secs(1_000_000)).build().await.unwrap()
    };
    let (alice, bob) = (build("alice").await, build("bob").await);
    let wire = Wire::default();
    let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
    let id = alice.offer(terms, Give::File(large)).await.unwrap();
    let responder = async {
        let offer = bob.next_offer(&mut b).await?;
        let id = bob.accept(&offer, Give::Nothing).await?;
        bob.run(id, &mut b).await
    };
    let (ours, theirs) = tokio::join!(alice.run(id, &mut a), responder);
    let (Ok(Outcome::Completed(_)), Ok(Outcome::Completed(theirs))) = (&ours, &theirs) else {
        panic!("{ours:?} {theirs:?}")
    };
    let received = theirs.received_file.as_ref().unwrap();
    assert_eq!(std::fs::metadata(received).unwrap().len(), SIZE);
    let grown = peak() - before;
    assert!(grown < MOST, "{grown} bytes more for {SIZE}");
    assert_eq!(bench.arbiter.calls(), 0);
}
