//! The engine over both stores: one durable verdict, replayed for ever, whatever fails in between.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "engine/canary.rs"]
mod canary;
#[path = "engine/damage.rs"]
mod damage;
#[path = "engine/escrow.rs"]
mod escrow;
#[path = "common/export.rs"]
mod export;
#[path = "engine/fixture.rs"]
mod fixture;
#[path = "common/front.rs"]
mod front;
#[path = "engine/gate.rs"]
mod gate;
#[path = "engine/journal.rs"]
mod journal;
#[path = "engine/money.rs"]
mod money;
#[path = "engine/restore.rs"]
mod restore;
#[path = "engine/sealed.rs"]
mod sealed;
#[path = "engine/wal.rs"]
mod wal;

use std::sync::Arc;

use arbiter::clock::ManualClock;
use arbiter::engine::{Ended, Engine, EngineError, Filed, Held, Precheck, StartError};
use arbiter::fsck;
use arbiter::keys::{Keys, Seeds};
use arbiter::store::mem::{Fault, MemStore};
use arbiter::store::raw::Tamper;
use arbiter::store::rocks::RocksStore;
use arbiter::store::schema::{self, By, Family};
use arbiter::store::{Store, StoreError};
use arbiter_protocol::error::Refused;
use arbiter_protocol::evidence::checkpoint::{Origin, SignedCheckpoint};
use arbiter_protocol::evidence::leaf::Event;
use arbiter_protocol::evidence::merkle::{self, leaf_hash};
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::evidence::tile::{TileKind, TilePath};
use arbiter_protocol::exchange::selection::Role::{Originator, Responder};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::verdict::{Attestation, Verdict};
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::ruling::sequencer::Veil as _;
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use fixture::{
    DEADLINE, Exchange, Kind, Place, START, World, arbiter, desk, folder, keys, memory, start, statement,
    try_start,
};
use zeroize::Zeroizing;

/// Ends an engine as `kill` would, as far as its store can tell: no handle is left and nothing more is written.
async fn end(world: World) {
    world.engine.stop().await;
}

fn clean(store: &dyn Store) -> fsck::Report {
    let report = fsck::check(store, &arbiter(), Some(keys().veil()), &mut |_| {});
    assert!(report.fault.is_none(), "{}", report.fault.unwrap());
    report
}

/// R-401, F6: many callers at once; every receipt verifies; the same question gets the same bytes, also from
/// another process.
async fn concurrent_callers_and_replays(place: &impl Place) {
    const CALLERS: u64 = 64;
    let world = start(place);
    let mut tasks = Vec::new();
    for n in 0..CALLERS {
        let engine = world.engine.clone();
        tasks.push(tokio::spawn(async move {
            let exchange = Exchange::with_content(Kind::P1, n, b"contract".to_vec());
            let action = if n % 2 == 0 { Action::Abort } else { Action::Resolve };
            let receipt = exchange.file(&engine, Originator, action).await.unwrap();
            (exchange, action, receipt)
        }));
    }
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.unwrap());
    }
    let counters = world.engine.counters();
    assert_eq!(counters.leaves, CALLERS + 1);
    assert_eq!((counters.verdicts_aborted, counters.verdicts_replaced), (CALLERS / 2, CALLERS / 2));
    assert_eq!((counters.replays, counters.refused), (0, 0));
    for (exchange, action, receipt) in &done {
        assert_eq!(exchange.file(&world.engine, Originator, *action).await.as_ref(), Ok(receipt));
    }
    assert_eq!(world.engine.counters().replays, CALLERS);
    assert_eq!(world.engine.log_size(), CALLERS + 1, "replays add nothing");
    end(world).await;

    clean(&place.open());
    let world = start(place);
    assert_eq!(world.engine.log_size(), CALLERS + 1, "a start adds nothing");
    for (exchange, action, receipt) in &done {
        assert_eq!(exchange.file(&world.engine, Originator, *action).await.as_ref(), Ok(receipt));
        // The peer asks something else and gets the same verdict, bound to its own request.
        let other = exchange.file(&world.engine, Responder, Action::Resolve).await.unwrap();
        assert_eq!(other.statement, receipt.statement);
        assert_ne!(other.answer, receipt.answer);
    }
    end(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_callers_and_replays_in_memory() {
    concurrent_callers_and_replays(&memory()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_callers_and_replays_in_rocksdb() {
    concurrent_callers_and_replays(&folder()).await;
}

/// Attack K1: abort and resolve race; whoever asks afterwards learns the one verdict.
async fn a_race_has_one_winner(place: &impl Place) {
    let world = start(place);
    for n in 0..24 {
        let exchange = Arc::new(Exchange::with_content(Kind::P1, n, b"contract".to_vec()));
        let racers =
            [(Originator, Action::Abort), (Responder, Action::Resolve), (Originator, Action::Resolve)];
        let tasks: Vec<_> = racers
            .map(|(role, action)| {
                let (engine, exchange) = (world.engine.clone(), Arc::clone(&exchange));
                tokio::spawn(async move { exchange.file(&engine, role, action).await.unwrap() })
            })
            .into_iter()
            .collect();
        let mut verdicts = Vec::new();
        for task in tasks {
            verdicts.push(task.await.unwrap().statement);
        }
        verdicts.push(exchange.file(&world.engine, Responder, Action::Query).await.unwrap().statement);
        assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]));
        assert_eq!(world.engine.log_size(), n + 2, "one leaf an exchange");
    }
    end(world).await;
    assert_eq!(clean(&place.open()).verdicts, 24);
}

/// R-401, S5, S6: whoever asks afterwards learns the one verdict.
#[tokio::test(flavor = "multi_thread")]
async fn a_race_has_one_winner_in_memory() {
    a_race_has_one_winner(&memory()).await;
}

/// R-401, S5, S6: whoever asks afterwards learns the one verdict.
#[tokio::test(flavor = "multi_thread")]
async fn a_race_has_one_winner_in_rocksdb() {
    a_race_has_one_winner(&folder()).await;
}

/// deposit, complaint, fetch; a second upload is dropped; all of it survives.
async fn deposit_complain_fetch(place: &impl Place, kind: Kind) {
    let world = start(place);
    let exchange = Exchange::new(kind, 7);
    let (first, second) = (exchange.first(), exchange.first().peer());
    let deposit = exchange.case(first, Action::Deposit);
    assert_eq!(world.engine.precheck(&deposit), Ok(Precheck::ContentWanted));
    let refused = |refused| Err(EngineError::Refused(refused));
    assert_eq!(exchange.file(&world.engine, first, Action::Resolve).await, refused(Refused::DepositRequired));
    // Two uploads of the same deposit at once: one is kept.
    let ids = [exchange.upload(&world.engine, first), exchange.upload(&world.engine, first)];
    assert_ne!(ids[0], ids[1]);
    let mut attested = Vec::new();
    for id in ids {
        let Filed::Receipt(receipt) =
            world.engine.file(deposit.clone(), Held::only(first, (exchange.fit(first), id))).await.unwrap()
        else {
            panic!("no receipt")
        };
        attested.push(statement::<Attestation>(&receipt));
    }
    assert_eq!(attested[0], attested[1]);
    assert!(world.engine.content(ids[0]).is_ok());
    assert_eq!(world.engine.content(ids[1]), Err(EngineError::Damaged), "the second upload is gone");
    assert_eq!(world.engine.chunk(ids[1], 0), Err(EngineError::Damaged));
    assert_eq!(world.engine.precheck(&deposit), Ok(Precheck::Answered));
    let fetch = exchange.case(second, Action::Fetch);
    let early = world.engine.file(fetch.clone(), Held::default()).await;
    assert_eq!(early, Err(EngineError::Refused(Refused::DepositNotReleased)));

    let resolved = exchange.file(&world.engine, first, Action::Resolve).await.unwrap();
    let fetched = world.engine.file(fetch.clone(), Held::default()).await;
    assert_eq!(fetched, Ok(Filed::Content(ids[0])));
    let head = world.engine.content(ids[0]).unwrap();
    let chunks: Vec<_> = (0..head.chunks).map(|n| world.engine.chunk(ids[0], n).unwrap()).collect();
    assert!(chunks.len() > 1, "the fixture has more than one chunk");
    end(world).await;

    let report = clean(&place.open());
    assert_eq!((report.verdicts, report.attestations), (1, 1));
    let world = start(place);
    assert_eq!(exchange.file(&world.engine, first, Action::Resolve).await, Ok(resolved));
    assert_eq!(world.engine.file(fetch, Held::default()).await, Ok(Filed::Content(ids[0])));
    assert_eq!(world.engine.content(ids[0]), Ok(head));
    for (n, chunk) in (0..).zip(chunks) {
        assert_eq!(world.engine.chunk(ids[0], n), Ok(chunk));
    }
    let next = world.engine.new_content_id(1, u64::MAX).unwrap();
    assert!(!ids.contains(&next), "content ids are not used again after a restart");
    end(world).await;
}

/// S20: what was deposited is fetched later, after a restart as well.
#[tokio::test]
async fn deposit_complain_fetch_in_memory() {
    deposit_complain_fetch(&memory(), Kind::P2).await;
    deposit_complain_fetch(&memory(), Kind::P2Swapped).await;
}

/// S20: what was deposited is fetched later, after a restart as well.
#[tokio::test]
async fn deposit_complain_fetch_in_rocksdb() {
    deposit_complain_fetch(&folder(), Kind::P2).await;
    deposit_complain_fetch(&folder(), Kind::P2Swapped).await;
}

/// S19: one tick before the deadline, at it; and a clock that steps back changes nothing.
#[tokio::test]
async fn the_deadline_is_a_tick_and_time_never_goes_back() {
    let place = memory();
    let world = start(&place);
    let [late, early, other] = [1, 2, 3].map(|n| Exchange::new(Kind::P2, n));
    for exchange in [&late, &early] {
        exchange.file(&world.engine, Originator, Action::Deposit).await.unwrap();
    }
    world.clock.set(UnixMillis(DEADLINE - 1));
    let complain_by = UnixMillis(DEADLINE);
    let too_early = EngineError::Refused(Refused::AbortTooEarly { complain_by });
    assert_eq!(late.file(&world.engine, Responder, Action::Abort).await, Err(too_early));
    early.file(&world.engine, Originator, Action::Resolve).await.unwrap();
    world.clock.set(UnixMillis(DEADLINE));
    let too_late = EngineError::Refused(Refused::ComplaintTooLate { now: complain_by, complain_by });
    assert_eq!(late.file(&world.engine, Originator, Action::Resolve).await, Err(too_late));
    assert_eq!(world.engine.precheck(&other.case(Originator, Action::Deposit)), Err(too_late));
    world.clock.set(UnixMillis(START));
    assert_eq!(world.engine.now(), complain_by);
    assert_eq!(late.file(&world.engine, Originator, Action::Resolve).await, Err(too_late));
    late.file(&world.engine, Responder, Action::Abort).await.unwrap();
    end(world).await;
    // The clock of the machine is wrong after the restart, too.
    let world = start(&place);
    assert_eq!(world.engine.now(), complain_by);
    let other = other.file(&world.engine, Originator, Action::Deposit).await;
    assert_eq!(other, Err(too_late));
    end(world).await;
}

/// S32: a failed commit gives no answer to anybody; after the restart there is one verdict, the same for
/// all, whether the lost commit was on the disk or not.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_commit_gives_no_answer_and_the_restart_is_consistent() {
    for fault in [Fault::Lost, Fault::Unheard] {
        let place = memory();
        let world = start(&place);
        let exchange = Exchange::new(Kind::P1, 1);
        let before = Exchange::new(Kind::P1, 2);
        let kept = before.file(&world.engine, Originator, Action::Abort).await.unwrap();
        place.0.fail_next_commit(fault);
        let answer = exchange.file(&world.engine, Originator, Action::Abort).await;
        assert_eq!(answer, Err(EngineError::Stopped));
        assert_eq!(world.engine.ended().await, Ended::Failed);
        assert_eq!(world.engine.stop().await, Ended::Failed);
        for exchange in [&exchange, &before] {
            let after = exchange.file(&world.engine, Responder, Action::Resolve).await;
            assert_eq!(after, Err(EngineError::Stopped));
        }
        assert_eq!(world.engine.log_size(), 2, "nothing of it is shown");
        drop(world);

        clean(&place.open());
        let world = start(&place);
        // Now the other party asks for the opposite first.
        let after = exchange.file(&world.engine, Responder, Action::Resolve).await.unwrap();
        let again = exchange.file(&world.engine, Originator, Action::Abort).await.unwrap();
        assert_eq!(statement::<Verdict>(&after), statement::<Verdict>(&again));
        let aborted = exchange.prove(&again, &exchange.case(Originator, Action::Abort));
        let ruling = &aborted.ruled.verdict().unwrap().ruling;
        let was_stored = *ruling == arbiter_protocol::message::verdict::Ruling::Aborted;
        assert_eq!(was_stored, fault == Fault::Unheard);
        assert_eq!(before.file(&world.engine, Originator, Action::Abort).await, Ok(kept));
        end(world).await;
        assert_eq!(clean(&place.open()).verdicts, 2);
    }
}

/// D8: what a process replays is covered by a commit of its own, which moves the time but adds no leaf.
#[tokio::test]
async fn every_start_commits_once() {
    let place = folder();
    for start_number in 1..4 {
        let store = place.open();
        let world = try_start(store, START + start_number).unwrap();
        assert_eq!((world.engine.counters().commits, world.engine.log_size()), (1, 1));
        end(world).await;
        let head = place.open().head().unwrap().unwrap();
        assert_eq!((head.commits, head.size, head.time), (start_number, 1, UnixMillis(START + start_number)));
    }
}

/// A failed first commit is a failed start, and the next start is as if nothing had been.
#[tokio::test]
async fn a_failed_start_can_be_repeated() {
    for fault in [Fault::Lost, Fault::Unheard] {
        let place = memory();
        let store = place.open();
        place.0.fail_next_commit(fault);
        assert!(matches!(try_start(store, START), Err(StartError::Store(StoreError::Io(_)))));
        let world = start(&place);
        assert_eq!(world.engine.log_size(), 1);
        end(world).await;
        clean(&place.open());
    }
}

/// What is queued before `stop` is answered, what comes after is not.
#[tokio::test]
async fn stopping_finishes_what_is_queued() {
    let place = memory();
    let world = start(&place);
    let exchanges: Vec<_> =
        (0..32).map(|n| Exchange::with_content(Kind::P1, n, b"contract".to_vec())).collect();
    let filed: Vec<_> = exchanges
        .iter()
        .map(|exchange| {
            let (engine, case) = (world.engine.clone(), exchange.case(Originator, Action::Abort));
            tokio::spawn(async move { engine.file(case, Held::default()).await })
        })
        .collect();
    // Each task runs up to where it waits for the writer: this runtime has one thread.
    tokio::task::yield_now().await;
    assert_eq!(world.engine.stop().await, Ended::Stopped);
    for task in filed {
        assert!(task.await.unwrap().is_ok());
    }
    let after = exchanges[0].file(&world.engine, Originator, Action::Abort).await;
    assert_eq!(after, Err(EngineError::Stopped));
    drop(world);
    assert_eq!(clean(&place.open()).verdicts, 32);
}

/// a content that nobody filed is gone when it is removed, and its room is free again.
#[tokio::test]
async fn a_removed_content_leaves_nothing() {
    let world = start(&memory());
    let (engine, most) = (&world.engine, 64 * 1024);
    let content = engine.new_content_id(1, most).unwrap();
    engine.put_chunk(content, 0, b"sealed").unwrap();
    assert!(matches!(engine.new_content_id(1, most), Err(EngineError::Full { .. })));
    engine.remove_content(content).unwrap();
    assert_eq!(engine.chunk(content, 0), Err(EngineError::Damaged));
    assert!(engine.new_content_id(1, most).is_ok());
    end(world).await;
}

/// What auditors read: every leaf is proven in the signed tree, and every older tree is its beginning.
#[tokio::test]
async fn the_log_proves_itself_to_auditors() {
    let place = folder();
    let world = start(&place);
    let engine = &world.engine;
    let key = VerifierKey::new("arbiter.test/log", arbiter().log_key).unwrap();
    let mut checkpoints = Vec::new();
    for n in 0..12 {
        let note = engine.checkpoint().unwrap();
        checkpoints.push(SignedCheckpoint::verify(&note, &key).unwrap().checkpoint().clone());
        let exchange = Exchange::with_content(Kind::P1, n, b"contract".to_vec());
        exchange.file(engine, Originator, Action::Abort).await.unwrap();
    }
    let note = engine.checkpoint().unwrap();
    checkpoints.push(SignedCheckpoint::verify(&note, &key).unwrap().checkpoint().clone());
    let [.., older, newest] = &checkpoints[..] else { panic!("two checkpoints") };
    assert_eq!((older.size, newest.size), (12, 13));
    let leaves = engine.entries(0, 1000).unwrap();
    assert_eq!(leaves.len(), 13);
    assert_eq!(engine.entries(5, 3).unwrap(), leaves[5..8]);
    assert_eq!(engine.entries(13, 3).unwrap(), Vec::<Vec<u8>>::new());
    for tree in [older, newest] {
        for index in 0..tree.size {
            let leaf = engine.entry(index).unwrap();
            let proof = engine.inclusion_proof(index, tree.size).unwrap();
            merkle::verify_inclusion(&leaf_hash(&leaf), index, tree.size, &proof, &tree.root).unwrap();
        }
    }
    for old in &checkpoints {
        let proof = engine.consistency_proof(old.size, newest.size).unwrap();
        merkle::verify_consistency(old.size, newest.size, &proof, &old.root, &newest.root).unwrap();
    }
    let outside = Err(EngineError::OutOfRange { size: 13 });
    assert_eq!(engine.inclusion_proof(12, 12), outside);
    assert_eq!(engine.inclusion_proof(0, 14), outside);
    assert_eq!(engine.inclusion_proof(0, 0), outside);
    assert_eq!(engine.consistency_proof(0, 5), outside);
    assert_eq!(engine.consistency_proof(6, 5), outside);
    assert_eq!(engine.consistency_proof(5, 14), outside);
    assert_eq!(engine.entry(13), Err(EngineError::OutOfRange { size: 13 }));
    end(world).await;
}

/// A clock that stops the thread that asks it, once it is told to.
struct Broken(Arc<std::sync::atomic::AtomicBool>);

impl arbiter::clock::Clock for Broken {
    fn now(&self) -> UnixMillis {
        assert!(!self.0.load(std::sync::atomic::Ordering::SeqCst), "the clock is broken");
        UnixMillis(START)
    }
}

/// a writer that panics is an engine that has failed, and everybody hears of it.
#[tokio::test]
async fn a_writer_that_panics_has_failed() {
    let broken = Arc::<std::sync::atomic::AtomicBool>::default();
    let store = memory().open();
    let engine =
        Engine::start(desk(), keys(), Arc::new(store), Box::new(Broken(Arc::clone(&broken)))).unwrap();
    let exchange = Exchange::new(Kind::P1, 1);
    exchange.file(&engine, Originator, Action::Abort).await.unwrap();
    broken.store(true, std::sync::atomic::Ordering::SeqCst);
    let case = Exchange::new(Kind::P1, 2).case(Originator, Action::Abort);
    assert_eq!(engine.file(case, Held::default()).await, Err(EngineError::Stopped));
    assert_eq!(engine.ended().await, Ended::Failed);
}

/// who waits for a longer log hears when it has grown, and who waits for requests that stand when one was kept.
#[tokio::test]
async fn each_hears_what_it_waits_for() {
    let place = memory();
    let world = start(&place);
    let (mut grown, mut standing) = (world.engine.grown(), world.engine.new_standing());
    let mut heard = |grows, stands| {
        assert_eq!((grown.has_changed().unwrap(), standing.has_changed().unwrap()), (grows, stands));
        grown.mark_unchanged();
        standing.mark_unchanged();
    };
    heard(false, false);
    let early = Exchange::new(Kind::P3, 1).file(&world.engine, Originator, Action::Revoke).await;
    assert!(matches!(early, Err(EngineError::Refused(Refused::RevokeTooEarly { .. }))), "{early:?}");
    heard(false, true);
    Exchange::new(Kind::P1, 2).file(&world.engine, Originator, Action::Abort).await.unwrap();
    heard(true, false);
    end(world).await;
}

/// what servers read of the log, and of an exchange for its parties, is what was logged; what was
/// published is known after a restart.
#[tokio::test]
async fn what_servers_read_is_what_was_logged() {
    let place = memory();
    let world = start(&place);
    let engine = &world.engine;
    let [one, two] = [1, 2].map(|n| Exchange::new(Kind::P2, n));
    for exchange in [&one, &two] {
        exchange.file(engine, Originator, Action::Deposit).await.unwrap();
    }
    one.file(engine, Originator, Action::Resolve).await.unwrap();
    assert_eq!(engine.counters().attestations, 2, "each is counted when it is made");
    let query = one.case(Originator, Action::Query);
    let receipts = engine.evidence(&query).unwrap();
    assert_eq!(receipts.iter().map(|(index, _)| index.0).collect::<Vec<_>>(), [1, 3]);
    for (_, receipt) in &receipts {
        one.prove(receipt, &query);
    }
    let unknown = Exchange::new(Kind::P2, 3).case(Originator, Action::Query);
    assert_eq!(engine.evidence(&unknown), Err(Refused::VerdictNotFound.into()));

    let tile = engine.tile(TilePath::new(TileKind::Hashes(0), 0, 4).unwrap()).unwrap();
    let leaves = engine.entries(0, 9).unwrap();
    assert_eq!(tile, leaves.iter().flat_map(|leaf| leaf_hash(leaf).to_vec()).collect::<Vec<_>>());
    let found = |by, first, count| engine.indexed(by, first, count).unwrap();
    let deposits = By::Event(Event::DepositAccepted);
    assert_eq!((found(deposits, 0, 9), found(deposits, 2, 9)), (vec![1, 2], vec![2]));
    assert_eq!(found(deposits, 0, 1), [1]);
    assert_eq!(found(By::Exchange(keys().veil().pseudonym(&one.id())), 0, 9), [1, 3]);

    assert_eq!(engine.published(), Ok(None));
    let note = engine.checkpoint().unwrap();
    engine.publish(&note).unwrap();
    end(world).await;
    let world = start(&place);
    assert_eq!(world.engine.published(), Ok(Some(note)));
    end(world).await;
}

/// A record that cannot be read is the answer to who asks for it, and nobody else notices.
#[tokio::test]
async fn a_damaged_record_harms_only_its_own_exchange() {
    let place = memory();
    let world = start(&place);
    let [bad, good] = [1, 2].map(|n| Exchange::new(Kind::P2, n));
    for exchange in [&bad, &good] {
        exchange.file(&world.engine, Originator, Action::Abort).await.unwrap();
    }
    end(world).await;
    let store = place.open();
    let entries = store.entries(Family::Records);
    let (key, mut value) = entries.into_iter().find(|(key, _)| key == bad.id().as_bytes()).unwrap();
    value[100] ^= 1;
    store.replace(Family::Records, &key, Some(value));
    let world = try_start(store, START).unwrap();
    let damaged = Err(EngineError::Damaged);
    assert_eq!(bad.file(&world.engine, Originator, Action::Abort).await, damaged);
    assert_eq!(world.engine.precheck(&bad.case(Responder, Action::Query)), Err(EngineError::Damaged));
    // A deposit that meets it leaves nothing behind.
    let id = bad.upload(&world.engine, Originator);
    assert!(world.engine.content(id).is_ok());
    let deposit = bad.case(Originator, Action::Deposit);
    assert_eq!(
        world.engine.file(deposit, Held::only(Originator, (bad.fit(Originator), id))).await,
        Err(EngineError::Damaged)
    );
    assert_eq!(world.engine.content(id), Err(EngineError::Damaged), "removed");
    assert!(good.file(&world.engine, Originator, Action::Abort).await.is_ok());
    end(world).await;
}

/// R-505, S33: nothing is signed over a log that is not what it was.
#[tokio::test]
async fn a_start_over_a_damaged_log_is_refused_and_says_why() {
    let place = memory();
    let world = start(&place);
    for n in 0..5 {
        let exchange = Exchange::with_content(Kind::P1, n, b"contract".to_vec());
        exchange.file(&world.engine, Originator, Action::Abort).await.unwrap();
    }
    end(world).await;
    let refused = |family, key: Vec<u8>, change: &dyn Fn(&mut Vec<u8>)| {
        let store = place.open();
        let stored = store.entries(family).into_iter().find(|(found, _)| *found == key).unwrap().1;
        let mut value = schema::unprotect(family, &key, stored.clone()).unwrap();
        change(&mut value);
        store.replace(family, &key, Some(schema::protect(family, &key, &value)));
        let before = store.entries(Family::Meta);
        let Err(error) = try_start(store, START) else { panic!("started") };
        let store = place.open();
        assert_eq!(store.entries(Family::Meta), before, "a refused start writes nothing");
        store.replace(family, &key, Some(stored));
        error
    };
    // The root in the head; a node of the right edge; the newest leaf; the first leaf.
    let error = refused(Family::Meta, schema::HEAD_KEY.to_vec(), &|head| head[20] ^= 1);
    assert!(matches!(error, StartError::RootMismatch { size: 6, .. }), "{error}");
    let peak = merkle::NodeId { level: 2, index: 0 };
    let error = refused(Family::Nodes, schema::node_key(peak), &|hash| hash[0] ^= 1);
    assert!(matches!(error, StartError::RootMismatch { size: 6, .. }), "{error}");
    for index in [5, 3, 0] {
        let error = refused(Family::Leaves, schema::leaf_key(index), &|leaf| {
            let last = leaf.len() - 2;
            leaf[last] = if leaf[last] == b'0' { b'1' } else { b'0' };
        });
        assert!(matches!(error, StartError::Leaf { index: found, .. } if found == index), "{error}");
    }
    let error = refused(Family::Leaves, schema::leaf_key(2), &|leaf| leaf.truncate(9));
    assert!(matches!(error, StartError::Leaf { index: 2, .. }), "{error}");
    // Damage below the check bytes.
    let store = place.open();
    let key = schema::leaf_key(4);
    let stored = store.entries(Family::Leaves).into_iter().find(|(found, _)| *found == key).unwrap().1;
    let mut altered = stored.clone();
    altered[50] ^= 4;
    store.replace(Family::Leaves, &key, Some(altered));
    let Err(error) = try_start(place.open(), START) else { panic!("started") };
    assert_eq!(error.to_string(), "stored leaf is damaged: 4: altered: its check bytes do not fit");
    // A missing leaf.
    store.replace(Family::Leaves, &key, None);
    let Err(error) = try_start(place.open(), START) else { panic!("started") };
    assert_eq!(error.to_string(), "stored leaf is damaged: 4: missing");
    store.replace(Family::Leaves, &key, Some(stored));
    end(start(&place)).await;
}

/// the keys, the desk, the folder and the log must all be of one arbiter.
#[tokio::test]
async fn keys_or_logs_of_another_arbiter_are_refused() {
    let place = folder();
    end(start(&place)).await;
    let seed = |byte| Zeroizing::new([byte; 32]);
    let others = || Keys::from_seeds(&Seeds { arbiter: seed(1), log: seed(102), veil: seed(103) });
    let other = others().identity(arbiter().log_origin);
    let clock = || Box::new(ManualClock::new(UnixMillis(START)));
    let started = Engine::start(desk(), others(), Arc::new(place.open()), clock());
    assert!(matches!(started, Err(StartError::OtherKeys)));
    assert!(matches!(
        RocksStore::open(place.0.path(), &other, others().vault()),
        Err(StoreError::OtherArbiter { .. })
    ));
    let renamed = keys().identity(Origin::parse("another.test/log").unwrap());
    assert!(matches!(
        RocksStore::open(place.0.path(), &renamed, keys().vault()),
        Err(StoreError::OtherArbiter { .. })
    ));
    // Even if the folder's fingerprint was forged, the first leaf tells.
    let store = place.open();
    let forged = schema::protect(Family::Meta, schema::IDENTITY_KEY, schema::fingerprint(&other).as_bytes());
    store.replace(Family::Meta, schema::IDENTITY_KEY, Some(forged));
    drop(store);
    let store = Arc::new(RocksStore::open(place.0.path(), &other, others().vault()).unwrap());
    let desk = arbiter_protocol::ruling::sequencer::Desk { arbiter: other, ..desk() };
    let started = Engine::start(desk, others(), store, clock());
    assert!(matches!(started, Err(StartError::OtherArbiter)));
}

/// The guard signs only what the store holds, whatever the engine believes.
#[tokio::test]
async fn the_guard_signs_only_what_is_durable() {
    use arbiter::keys::guard::{CheckpointGuard, Durable, StatementGuard, Tree};
    use arbiter_protocol::crypto::Signer;
    use arbiter_protocol::evidence::checkpoint::Checkpoint;
    use arbiter_protocol::message::verdict::Answer;
    use arbiter_protocol::statement::{Payload, Signed, Verified, pae};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    let place = memory();
    let world = start(&place);
    let exchange = Exchange::new(Kind::P2, 1);
    let attested: Receipt = exchange.file(&world.engine, Originator, Action::Deposit).await.unwrap();
    let resolved: Receipt = exchange.file(&world.engine, Originator, Action::Resolve).await.unwrap();
    end(world).await;
    let (store, keys) = (place.open(), keys());
    // What the store holds about the deposit, and about the verdict.
    let durable = |receipt: &Receipt| {
        let answer: Answer = open(&receipt.answer);
        let tree = Tree::read(&store, answer.tree_size).unwrap();
        Durable::read(&store, &exchange.id(), answer.leaf_index, tree).unwrap()
    };
    let (of_deposit, of_verdict) = (durable(&attested), durable(&resolved));
    let deposits = StatementGuard::new(keys.arbiter(), &of_deposit);
    let statements = StatementGuard::new(keys.arbiter(), &of_verdict);
    let signs =
        |guard: &dyn Signer, message: &[u8]| catch_unwind(AssertUnwindSafe(|| guard.sign(message))).is_ok();
    let same =
        |envelope: &arbiter_protocol::statement::Envelope| pae(envelope.payload_type(), envelope.payload());
    let of_both = [(&deposits, &attested), (&statements, &resolved)];
    for (guard, envelope) in
        of_both.iter().flat_map(|(guard, it)| [(guard, &it.statement), (guard, &it.answer)])
    {
        let message = same(envelope);
        assert!(signs(*guard, &message));
        assert_eq!(guard.sign(&message), *envelope.signature());
        let mut other = message.clone();
        *other.last_mut().unwrap() ^= 1;
        assert!(!signs(*guard, &other), "{}", envelope.payload_type());
    }
    assert!(!signs(&statements, &same(&attested.answer)), "the answer about another leaf");
    fn open<T: Payload + Clone>(envelope: &arbiter_protocol::statement::Envelope) -> T {
        Signed::<T>::parse(envelope.clone()).unwrap().unverified().clone()
    }
    fn message<T: Payload>(statement: T) -> Vec<u8> {
        let signed = Verified::sign(statement, fixture::keys().arbiter());
        pae(T::TYPE, signed.envelope().payload())
    }
    let verdict: Verdict = open(&resolved.statement);
    let later = UnixMillis(verdict.time.0 + 1);
    assert!(!signs(&statements, &message(Verdict { time: later, ..verdict.clone() })));
    let aborted = arbiter_protocol::message::verdict::Ruling::Aborted;
    assert!(!signs(&statements, &message(Verdict { ruling: aborted, ..verdict })));
    let attestation: Attestation = open(&attested.statement);
    assert!(!signs(&statements, &message(Attestation { time: later, ..attestation })));
    let answer: Answer = open(&resolved.answer);
    assert!(!signs(&statements, &message(Answer { tree_size: answer.tree_size + 1, ..answer.clone() })));
    assert!(!signs(&statements, &message(Answer { statement: answer.request, ..answer.clone() })));
    // No other kind of statement, and no free text.
    assert!(!signs(&statements, &same(exchange.agreement.offer().envelope())));
    // an epoch of the escrow key is signed where keys are loaded, never because somebody asks.
    let epoch = keys.escrow().epochs().last().unwrap();
    assert_eq!(epoch.signer(), keys.arbiter().public_key());
    assert!(!signs(&statements, &same(epoch.envelope())));
    assert!(!signs(&statements, b"hello"));
    let head = store.head().unwrap().unwrap();
    let origin = arbiter().log_origin;
    let good = Checkpoint { origin, size: head.size, root: head.root };
    let tree = Durable::only(Tree::read(&store, head.size).unwrap());
    assert_eq!(Tree::read(&store, head.size + 1).unwrap(), None);
    let log = CheckpointGuard::new(keys.log(), &tree);
    assert!(signs(&log, good.text().as_bytes()));
    for bad in [
        Checkpoint { size: head.size + 1, ..good.clone() },
        Checkpoint { size: head.size - 1, ..good.clone() },
        Checkpoint { root: answer.request, ..good.clone() },
    ] {
        assert!(!signs(&log, bad.text().as_bytes()));
    }
    assert!(!signs(&log, b"hello"));
}

/// a clock far ahead of the log is refused before it is used; the operator can vouch for it.
#[tokio::test]
async fn a_clock_that_is_a_year_ahead_is_refused() {
    const YEAR: u64 = 365 * 24 * 60 * 60 * 1000;
    let place = memory();
    let clock = |now| ManualClock::new(UnixMillis(now));
    assert!(Engine::check_clock(&place.open(), &clock(u64::MAX)).is_ok(), "a new log has no time");
    end(start(&place)).await;
    let store = place.open();
    for good in [1, START, START + YEAR] {
        assert!(Engine::check_clock(&store, &clock(good)).is_ok());
    }
    let refused = Engine::check_clock(&store, &clock(START + YEAR + 1)).unwrap_err();
    let StartError::ClockFarAhead { clock, latest } = refused else { panic!("{refused}") };
    assert_eq!((clock, latest), (UnixMillis(START + YEAR + 1), UnixMillis(START)));
}

/// The clock's declared uncertainty and the build are in every leaf.
#[tokio::test]
async fn leaves_say_what_the_desk_declares() {
    let world = try_start(MemStore::new(&arbiter(), keys().vault()).unwrap(), START).unwrap();
    let leaf = arbiter_protocol::evidence::leaf::Leaf::decode(&world.engine.entry(0).unwrap()).unwrap();
    assert_eq!((leaf.clock_uncertainty, leaf.build), (DurationMillis(500), desk().build));
    assert_eq!(leaf.time, UnixMillis(START));
    end(world).await;
}
