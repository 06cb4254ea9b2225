//! Escrows opened by the engine: over both stores, through crashes, restarts and callers that go away.

use std::time::Duration;

use arbiter_protocol::escrow::Escrow;
use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::verdict::Ruling;
use arbiter_protocol::ruling::sequencer::ContentId;

use super::*;

/// What `role` fetches: the content's name, after it was opened and compared with the very signature (F12).
async fn fetched(world: &World, exchange: &Exchange, role: Role) -> ContentId {
    let filed = world.engine.file(exchange.case(role, Action::Fetch), Held::default()).await.unwrap();
    let Filed::Content(content) = filed else { panic!("no content") };
    assert!(exchange.unseal(&world.engine, role, content) == exchange.detached(role.peer()).unwrap());
    content
}

/// opened, held, released, replayed; over restarts.
async fn resolve_and_fetch(place: &impl Place<Store: Tamper>) {
    let world = start(place);
    let signing = Exchange::new(Kind::P1Escrow, 1);
    let delivery = Exchange::new(Kind::P2SwappedEscrow, 2);
    let case = signing.case(Responder, Action::Resolve);
    assert_eq!(world.engine.precheck(&case), Ok(Precheck::EscrowsWanted));
    let unopened = world.engine.file(case.clone(), Held::default()).await;
    let required = Refused::EscrowRequired { signer: "originator" };
    assert_eq!(unopened, Err(EngineError::Refused(required)), "no verdict without what it releases");
    let receipt = signing.file(&world.engine, Responder, Action::Resolve).await.unwrap();
    assert_eq!(world.engine.precheck(&case), Ok(Precheck::Answered));
    delivery.file(&world.engine, Responder, Action::Deposit).await.unwrap();
    delivery.file(&world.engine, Responder, Action::Resolve).await.unwrap();
    let ids = [fetched(&world, &signing, Originator).await, fetched(&world, &signing, Responder).await];
    assert_ne!(ids[0], ids[1]);
    fetched(&world, &delivery, Responder).await;
    assert_eq!(world.engine.counters().escrows_opened, 3);
    end(world).await;

    clean(&place.open());
    assert_eq!(place.open().entries(Family::Unnamed), [], "named in the same commit as the verdict");
    let world = start(place);
    assert_eq!(
        ids,
        [fetched(&world, &signing, Originator).await, fetched(&world, &signing, Responder).await]
    );
    assert_eq!(signing.file(&world.engine, Responder, Action::Resolve).await, Ok(receipt));
    assert_eq!(world.engine.counters().escrows_opened, 0, "nothing is opened twice");
    end(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resolve_and_fetch_in_memory() {
    resolve_and_fetch(&memory()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resolve_and_fetch_in_rocksdb() {
    resolve_and_fetch(&folder()).await;
}

/// the signatures of a package are opened in one verdict and one commit, and held as one content; if
/// one escrow is false, or one is missing, none is opened.
async fn a_package_is_opened_whole_or_not_at_all(place: &impl Place<Store: Tamper>) {
    let world = start(place);
    let (good, bad) = (Exchange::new(Kind::P1Package, 1), Exchange::new(Kind::P1Package, 2));
    let mut escrows = bad.escrows(Originator);
    let Some(Pledge::Escrows(all)) = &mut escrows.responder else { panic!("escrows") };
    // Every ciphertext of the second is changed: it belongs here, and nothing in it opens.
    let mut bytes = all[1].to_bytes();
    let start_of = bytes.len() - 80 * usize::from(all[1].suite().hidden());
    bytes[start_of..].chunks_mut(80).for_each(|instance| instance[64] ^= 1);
    all[1] = Escrow::from_bytes(&bytes).unwrap();
    let refused = world.engine.resolve(bad.case_with(Originator, Action::Resolve, escrows)).await;
    let unopenable = Refused::EscrowUnopenable { signer: "responder" };
    assert_eq!(refused, Err(EngineError::Refused(unopenable)));
    let mut bare = bad.escrows(Originator);
    bare.originator = None;
    let refused = world.engine.resolve(bad.case_with(Originator, Action::Resolve, bare)).await;
    assert_eq!(refused, Err(EngineError::Refused(Refused::EscrowRequired { signer: "originator" })));
    let counters = world.engine.counters();
    assert_eq!((counters.escrows_false, world.engine.log_size()), (1, 1), "nothing is ruled");

    let receipt = good.file(&world.engine, Responder, Action::Resolve).await.unwrap();
    let ids = [fetched(&world, &good, Originator).await, fetched(&world, &good, Responder).await];
    assert_ne!(ids[0], ids[1]);
    bad.file(&world.engine, Originator, Action::Abort).await.unwrap();
    end(world).await;
    let store = place.open();
    let report = clean(&store);
    assert_eq!(report.verdicts, 2);
    assert_eq!((store.entries(Family::Contents).len(), store.entries(Family::Unnamed)), (2, Vec::new()));
    drop(store);
    let world = start(place);
    assert_eq!(good.file(&world.engine, Responder, Action::Resolve).await, Ok(receipt));
    assert_eq!(ids, [fetched(&world, &good, Originator).await, fetched(&world, &good, Responder).await]);
    end(world).await;
    // Content of another size than the signatures have together is found.
    let store = place.open();
    let (key, head) = store.entries(Family::Contents).remove(0);
    store.replace(Family::Contents, &key, None);
    let report = fsck::check(&store, &arbiter(), Some(keys().veil()), &mut |_| {});
    assert!(report.fault.is_some(), "a content that a verdict names is missing");
    store.replace(Family::Contents, &key, Some(head));
    clean(&store);
}

/// as above.
#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_opened_whole_or_not_at_all_in_memory() {
    a_package_is_opened_whole_or_not_at_all(&memory()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_opened_whole_or_not_at_all_in_rocksdb() {
    a_package_is_opened_whole_or_not_at_all(&folder()).await;
}

/// S6: resolves of both parties and an abort race, over and over; what is held is what is named.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_openings_only_the_named_are_kept() {
    let place = folder();
    let world = start(&place);
    let mut replaced = 0;
    for n in 0..16 {
        let exchange = Arc::new(Exchange::with_content(Kind::P1Escrow, n, b"contract".to_vec()));
        let mut racers = vec![(Originator, Action::Resolve), (Responder, Action::Resolve)];
        if n % 2 == 0 {
            racers.insert(usize::try_from(n).unwrap() % 3, (Originator, Action::Abort));
        }
        let tasks: Vec<_> = racers
            .into_iter()
            .map(|(role, action)| {
                let (engine, exchange) = (world.engine.clone(), Arc::clone(&exchange));
                tokio::spawn(async move { exchange.file(&engine, role, action).await.unwrap() })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let verdict = exchange.file(&world.engine, Responder, Action::Query).await.unwrap();
        let proven = exchange.prove(&verdict, &exchange.case(Responder, Action::Query));
        if matches!(proven.ruled.verdict().unwrap().ruling, Ruling::Replaced(_)) {
            replaced += 1;
            fetched(&world, &exchange, Originator).await;
            fetched(&world, &exchange, Responder).await;
        }
    }
    assert!(replaced >= 8, "where nobody aborts it is resolved");
    end(world).await;
    let store = place.open();
    clean(&store);
    assert_eq!(store.entries(Family::Contents).len(), 2 * replaced);
    assert_eq!(store.entries(Family::Chunks).len(), 2 * replaced);
}

/// S32: a caller that goes away at any time leaves nothing, or a verdict with all that it names.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_leaves_all_or_nothing() {
    let place = memory();
    let world = start(&place);
    for n in 0..40 {
        let kind = if n % 2 == 0 { Kind::P1Escrow } else { Kind::P1Package };
        let exchange = Exchange::with_content(kind, n, b"contract".to_vec());
        let (engine, case) = (world.engine.clone(), exchange.case(Originator, Action::Resolve));
        let call = tokio::spawn(async move { engine.resolve(case).await });
        tokio::time::sleep(Duration::from_micros(n * 100)).await;
        call.abort();
        let _ = call.await;
    }
    // Whatever was on its way is through when the writer has ended.
    world.engine.stop().await;
    drop(world);
    let store = place.open();
    let report = clean(&store);
    let held = usize::try_from(report.verdicts).unwrap() * 2;
    assert_eq!((store.entries(Family::Contents).len(), store.entries(Family::Chunks).len()), (held, held));
}

/// S32: a lost commit holds nothing; one that was stored but not heard of holds what its verdict names.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_commit_holds_all_or_nothing() {
    let kinds = [Kind::P1Escrow, Kind::P1Package];
    for (fault, kind) in [Fault::Lost, Fault::Unheard].into_iter().flat_map(|it| kinds.map(|kind| (it, kind)))
    {
        let place = memory();
        let world = start(&place);
        let exchange = Exchange::new(kind, 1);
        place.0.fail_next_commit(fault);
        let answer = exchange.file(&world.engine, Originator, Action::Resolve).await;
        assert_eq!(answer, Err(EngineError::Stopped));
        assert_eq!(world.engine.ended().await, Ended::Failed);
        drop(world);
        let stored = if fault == Fault::Unheard { 2 } else { 0 };
        let store = place.open();
        assert_eq!(store.entries(Family::Contents).len(), stored);
        clean(&store);
        drop(store);
        let world = start(&place);
        exchange.file(&world.engine, Responder, Action::Resolve).await.unwrap();
        fetched(&world, &exchange, Originator).await;
        fetched(&world, &exchange, Responder).await;
        let signatures = if kind == Kind::P1Package { 4 } else { 2 };
        assert_eq!(world.engine.counters().escrows_opened, if stored == 0 { signatures } else { 0 });
        end(world).await;
        clean(&place.open());
    }
}

/// A record that cannot be read is that caller's answer; nothing is opened for it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_opened_for_a_record_that_cannot_be_read() {
    let place = memory();
    let world = start(&place);
    let exchange = Exchange::new(Kind::P1Escrow, 1);
    exchange.file(&world.engine, Originator, Action::Resolve).await.unwrap();
    end(world).await;
    let store = place.open();
    let (key, mut value) = store.entries(Family::Records).remove(0);
    value[20] ^= 1;
    store.replace(Family::Records, &key, Some(value));
    drop(store);
    let world = start(&place);
    let answer = exchange.file(&world.engine, Responder, Action::Resolve).await;
    assert_eq!(answer, Err(EngineError::Damaged));
    assert_eq!(world.engine.counters().escrows_opened, 0);
    end(world).await;
}
