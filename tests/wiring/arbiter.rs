//! Faults between a party and its arbiter: at every message of a complaint, and calls with a deadline of their own.
//!
//! ```text
//!  P1   resolve ─▶ receipt, fetch ─▶ signature
//!  P2   deposit, in chunks ─▶ receipt, resolve ─▶ receipt, consistency ─▶ proof, fetch ─▶ signature
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arbiter::grpc::Api;
use arbiter_client::Outcome;
use arbiter_client::arbiter::grpc::GrpcArbiter;
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_protocol::limits;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::wire::arbiter as proto;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::common::{
    START, World, abort, assert_reason, chunk, content, deposit, describe, first, prove, query, resolve,
    until, upload,
};
use super::proxy::Way::{Back, There};
use super::proxy::{Fault, Place, Proxy, SILENCE, Way, What};
use super::scene::{Counted, Deal, FOR_EVER, HOUR, Manner, Meeting, SHORTLY, Scene, chunks, in_time};

/// How many deadlines are tried.
const DEADLINES: u64 = 24;

/// Where the peers lose each other, so that Alice complains: in P1 she has the acceptance, in P2 she has sent her file.
pub const fn parting(deal: Deal) -> Fault {
    match deal {
        Deal::Signing | Deal::Collection => Fault { way: Back, place: Place::After(1), what: SILENCE },
        Deal::Delivery => Fault { way: There, place: Place::After(5), what: SILENCE },
    }
}

/// How many messages such a complaint takes: case or chunk each way, answers the other. Counted by a run without faults.
pub const fn messages(deal: Deal) -> [u32; 2] {
    match deal {
        // Resolve and fetch; receipt, then the key and the signature.
        Deal::Signing | Deal::Collection => [2, 3],
        // Case and three chunks, resolve, consistency, fetch; two receipts, proof, key, signature.
        Deal::Delivery => [7, 5],
    }
}

/// Every place in a complaint.
pub fn places(deal: Deal) -> impl Iterator<Item = (Way, Place)> {
    let [there, back] = messages(deal);
    [(There, there), (Back, back)].into_iter().flat_map(|(way, count)| {
        let after = (0..count).map(Place::After);
        after.chain((1..=count).map(Place::Within)).map(move |place| (way, place))
    })
}

/// One exchange that Alice complains about over a faulty line. The outcomes, and how often she found no arbiter.
async fn complain(
    scene: &Scene,
    deal: Deal,
    server: std::net::SocketAddr,
    fault: Option<Fault>,
) -> (Outcome, u32, Proxy) {
    let what = format!("{deal:?} {fault:?}");
    let line = Proxy::start(server, fault).await;
    let manner = Manner { patience: FOR_EVER, linger: SHORTLY };
    let arbiter = GrpcArbiter::new(&line.url(), None).unwrap();
    // Without an answer for so long the arbiter is out of reach, and is asked again.
    let silent = matches!(fault, Some(Fault { what: What::Hold { .. }, .. }));
    let arbiter = if silent { arbiter.answer_within(Duration::from_millis(400)) } else { arbiter };
    let arbiter = Counted::new(arbiter);
    let alice = scene.party("alice", arbiter.clone(), manner).await;
    let bob = scene.party("bob", Counted::at(&format!("http://{server}")), manner).await;
    let meeting = Meeting::arrange(scene, deal, alice, bob, Some(parting(deal))).await;
    let part = async {
        meeting.part().await;
        std::future::pending::<()>().await;
    };
    let heal = async {
        line.hit().await;
        // Healed when she has given up waiting at least once: the same request is sent again.
        while silent && arbiter.failures.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        line.heal();
        std::future::pending::<()>().await;
    };
    let (ours, theirs) = tokio::select! {
        ended = in_time(&what, meeting.hold(|_| {})) => ended,
        () = part => unreachable!(),
        () = heal => unreachable!(),
    };
    assert!(meeting.judge(&ours, theirs.as_ref()).await, "{what}: both have agreed, and one has complained");
    let failures = arbiter.failures.load(Ordering::SeqCst);
    (ours, failures, line)
}

/// F1, F5, F6, R-401, R-407, R-408: the line to the arbiter is cut, or falls silent, at every message of a complaint, in the
/// middle of it or after it. The client asks again, the exchange is resolved, and of broken uploads nothing is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_complaint_survives_a_fault_at_every_message() {
    let world = World::new().await;
    let scene = Arc::new(Scene::of(&world));
    let server = world.server.address();
    let mut cases = JoinSet::new();
    let mut expected = 0;
    for deal in [Deal::Signing, Deal::Delivery] {
        // Otherwise the places below are not where they say.
        let (outcome, failures, line) = complain(&scene, deal, server, None).await;
        assert!(matches!(outcome, Outcome::Resolved(_)) && failures == 0, "{outcome:?}");
        // The query of the judgement is one more.
        let [there, back] = messages(deal);
        assert!(line.messages(There) >= there && line.messages(Back) >= back, "{deal:?}");
        let mut count = 1;
        for (way, place) in places(deal) {
            let mut whats = vec![What::Reset(0)];
            if let Place::After(_) = place {
                whats.extend([What::Fin, What::Reset(1), SILENCE, What::Hold { there: false, back: true }]);
            }
            for what in whats {
                let (scene, fault) = (Arc::clone(&scene), Fault { way, place, what });
                count += 1;
                cases.spawn(async move {
                    let (outcome, failures, line) = complain(&scene, deal, server, Some(fault)).await;
                    assert!(matches!(outcome, Outcome::Resolved(_)), "{deal:?} {fault:?}: {outcome:?}");
                    assert!(line.was_hit(), "{deal:?} {fault:?}");
                    failures
                });
            }
        }
        // P1 takes both signatures out of escrow; P2 one, and holds a file of three chunks.
        expected += if deal == Deal::Signing { 2 * count } else { 4 * count };
    }
    let failures = cases.join_all().await;
    println!("{} faults, {} times out of reach", failures.len(), failures.iter().sum::<u32>());
    until("only what verdicts and attestations name is left", || chunks(&world) == expected).await;
}

/// R-401, R-407: an arbiter that accepts connections and says nothing. The client's own bound ends the wait, and the same filing
/// succeeds when the line is there.
#[tokio::test(flavor = "multi_thread")]
async fn an_arbiter_that_only_accepts_connections_is_out_of_reach() {
    let world = World::new().await;
    let line = Proxy::start(world.server.address(), None).await;
    line.hold(true, true);
    let arbiter = GrpcArbiter::new(&line.url(), None).unwrap().answer_within(Duration::from_millis(200));
    for _ in 0..2 {
        let error = in_time("a silent arbiter", arbiter.info()).await.unwrap_err();
        assert!(error.to_string().contains("does not answer in time"), "{error}");
    }
    assert_eq!(line.connections(), 1);
    line.heal();
    let patient = GrpcArbiter::new(&line.url(), None).unwrap();
    assert_eq!(in_time("healed", patient.info()).await.unwrap().identity, world.arbiter);
}

/// S40, R-407: a depositor that vanishes without a word in the middle of its upload, again and again, while the line stays open.
/// Its place and its room come back, and nothing is left of what it sent.
#[tokio::test(flavor = "multi_thread")]
async fn who_vanishes_during_an_upload_leaves_its_place_and_its_room() {
    const ROOM: u64 = 4 * 64 * 1024;
    let api = Api {
        max_requests: 4,
        max_uploads: 1,
        max_total_deposit_bytes: ROOM,
        request_timeout: Duration::from_secs(1),
        ..Api::default()
    };
    let world = World::with(api).await;
    let bytes = content(3 * limits::CHUNK_BYTES);
    for _ in 0..2 {
        let line = Proxy::start(world.server.address(), None).await;
        let agreement = world.delivery(&describe(&bytes, "application/octet-stream"), START.after(HOUR));
        let channel = tonic::transport::Endpoint::from_shared(line.url()).unwrap().connect().await.unwrap();
        let mut parties = super::common::Parties::new(channel);
        let (sender, receiver) = mpsc::channel(4);
        sender.send(first(world.case(&agreement, Role::Originator, Action::Deposit))).await.unwrap();
        sender.send(chunk(&bytes[..limits::CHUNK_BYTES])).await.unwrap();
        let call =
            tokio::spawn(
                async move { parties.verify_transfer(ReceiverStream::new(receiver)).await.map(drop) },
            );
        until("half an upload", || chunks(&world) == 1).await;
        // The arbiter's connection stays open, and nothing comes over it any more.
        line.hold(true, true);
        call.abort();
        drop(sender);
        until("the draft is removed", || chunks(&world) == 0).await;
        std::mem::forget(line);
    }
    let agreement = world.delivery(&describe(&bytes, "application/octet-stream"), START.after(HOUR));
    let mut parties = world.parties().await;
    let case = world.case(&agreement, Role::Originator, Action::Deposit);
    // One place and room for one: only if both are free again.
    let mut tries = 0;
    while let Err(status) = deposit(&mut parties, upload(case.clone(), &bytes, limits::CHUNK_BYTES)).await {
        assert!(["OVERLOADED", "QUOTA_EXCEEDED"].contains(&super::common::reason(&status).1.as_str()));
        tries += 1;
        assert!(tries < 1000, "the place never comes back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(chunks(&world), 3);
}

/// F5, F6, R-401: calls with deadlines from nothing to plenty. Each is answered or ends with its deadline, whatever the arbiter
/// has done by then; the same request then gets the one verdict, and an answer that came comes again byte for byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_of_a_call_decides_nothing() {
    let world = World::new().await;
    let parties = world.parties().await;
    // A call takes at least a tenth of a second over this one.
    let line = Proxy::start(world.server.address(), None).await;
    line.slow_down(There, 64 * 1024);
    line.slow_down(Back, 64 * 1024);
    let channel = tonic::transport::Endpoint::from_shared(line.url()).unwrap().connect().await.unwrap();
    let slow = super::common::Parties::new(channel);
    let (mut answered, mut ended) = (0, 0);
    let mut verdicts = BTreeSet::new();
    for number in 0..DEADLINES {
        let agreement = world.contract();
        let case = world.case(&agreement, Role::Responder, Action::Resolve);
        let other = world.case(&agreement, Role::Originator, Action::Abort);
        let mut request = tonic::Request::new(proto::GenerateItemRequest { case: Some(case.clone()) });
        // From none over some that end on the way there or back to a minute.
        let last = number + 1 == DEADLINES;
        request.set_timeout(if last { Duration::from_secs(60) } else { Duration::from_millis(number * 8) });
        let (mut one, mut two, mut three) = (slow.clone(), parties.clone(), parties.clone());
        let (hurried, aborted) = tokio::join!(one.generate_item(request), abort(&mut two, other.clone()));
        let aborted = aborted.unwrap();
        let resolved = resolve(&mut three, case.clone()).await.unwrap();
        match hurried {
            Ok(reply) => {
                answered += 1;
                assert_eq!(reply.into_inner().receipt.unwrap(), resolved, "the same request, another answer");
            }
            Err(status) => {
                ended += 1;
                assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
            }
        }
        assert_eq!(aborted.statement, resolved.statement, "two verdicts");
        prove(aborted, &agreement, &other);
        verdicts.insert(prove(resolved, &agreement, &case).ruled.verdict().unwrap().envelope().digest());
    }
    println!("{answered} answered, {ended} ended by their deadline");
    assert!(answered > 0 && ended > 0, "both must occur");
    assert_eq!(verdicts.len(), usize::try_from(DEADLINES).unwrap());
    assert_eq!(world.engine.log_size(), 1 + DEADLINES, "one leaf for each verdict, and the beginning");
}

/// F5, F6: the ruling is made and its answer held back until the caller's deadline is over. The same request gets it.
#[tokio::test(flavor = "multi_thread")]
async fn a_ruling_whose_answer_was_lost_is_the_answer() {
    let world = World::new().await;
    let held = Fault { way: There, place: Place::After(1), what: What::Hold { there: false, back: true } };
    let line = Proxy::start(world.server.address(), Some(held)).await;
    let channel = tonic::transport::Endpoint::from_shared(line.url()).unwrap().connect().await.unwrap();
    let mut parties = super::common::Parties::new(channel);
    let agreement = world.signing();
    let case = world.case(&agreement, Role::Originator, Action::Resolve);
    let mut request = tonic::Request::new(proto::GenerateItemRequest { case: Some(case.clone()) });
    request.set_timeout(Duration::from_millis(300));
    let status = in_time("a call with a deadline", parties.generate_item(request)).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    assert!(line.was_hit());
    line.heal();
    let mut other = world.parties().await;
    let receipt = query(&mut other, world.case(&agreement, Role::Responder, Action::Query)).await;
    let again = resolve(&mut parties, case.clone()).await.unwrap();
    // The deadline may have ended the call before the ruling was made; then this one made it.
    if let Ok(receipt) = receipt {
        assert_eq!(receipt.statement, again.statement);
    } else {
        assert_reason(receipt, Code::NotFound, "VERDICT_NOT_FOUND");
    }
    assert_eq!(resolve(&mut other, case.clone()).await.unwrap(), again, "the same request, the same bytes");
    prove(again, &agreement, &case);
    assert_eq!(world.engine.log_size(), 2);
}
