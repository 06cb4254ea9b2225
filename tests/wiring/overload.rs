//! Ten times more callers than places, idle connections, false escrows, unknown exchanges, uploads that stand still: and honest
//! work among them.
//!
//! ```text
//!  80 callers that come back at once ─┬─▶ 8 places ─▶ answered, refused, or OVERLOADED with RetryInfo, which changes nothing
//!  honest parties that wait as told ──┘
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arbiter_client::Outcome;
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::role::arbiter::Escrows;
use arbiter_protocol::wire::arbiter as proto;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::arbiter_link::parting;
use super::common::{Cast, Parties, describe, falsified, first, query, reason, resolve};
use super::program::Home;
use super::scene::{Counted, Deal, FOR_EVER, LONG, Manner, Meeting, SHORTLY, in_time};

const PLACES: usize = 8;
const CALLERS: usize = 10 * PLACES;
/// Connections that never say anything.
const IDLE: usize = 100;
/// Of `PLACES` for uploads.
const UPLOADS: usize = 2;
/// How many times an honest party is sent away at most before it has its due: tries, not time.
const TRIES: u32 = 400;
/// When to come back, as the arbiter says.
const TOLD: Duration = Duration::from_millis(250);
/// A process that kept something for each of these calls would grow by more.
const GROWTH_KIB: u64 = 160 * 1024;

/// What the flood did and heard.
#[derive(Debug, Default)]
struct Flood {
    over: AtomicBool,
    calls: AtomicU64,
    ruled: AtomicU64,
    shed: AtomicU64,
    unopenable: AtomicU64,
    unknown: AtomicU64,
    stuck: AtomicU64,
}

impl Flood {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Sorts an answer. Whether it was sent away.
    fn hear<T>(&self, answer: Result<T, Status>) -> bool {
        let Err(status) = answer else {
            self.ruled.fetch_add(1, Ordering::SeqCst);
            return false;
        };
        let counter = match reason(&status) {
            (Code::ResourceExhausted, reason) if reason == "OVERLOADED" => {
                let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
                assert_eq!(delay, Some(TOLD), "when to come back: {status:?}");
                &self.shed
            }
            (Code::FailedPrecondition, reason) if reason == "ESCROW_UNOPENABLE" => &self.unopenable,
            (Code::NotFound, reason) if reason == "VERDICT_NOT_FOUND" => &self.unknown,
            (Code::DeadlineExceeded, reason) if ["TIMED_OUT", "TOO_SLOW"].contains(&reason.as_str()) => {
                &self.stuck
            }
            _ => panic!("{status:?}"),
        };
        counter.fetch_add(1, Ordering::SeqCst);
        std::ptr::eq(counter, &self.shed)
    }
}

/// Escrows of both parties, in order, out of which nothing opens.
fn false_case(cast: &Cast) -> proto::Case {
    let agreement = cast.signing();
    let escrows = cast.escrows(&agreement, Role::Originator);
    let escrows: Escrows = ByRole {
        originator: escrows
            .originator
            .as_ref()
            .and_then(arbiter_protocol::exchange::kind::pledge::Pledge::escrow)
            .map(|it| falsified(it, 32).into()),
        responder: escrows
            .responder
            .as_ref()
            .and_then(arbiter_protocol::exchange::kind::pledge::Pledge::escrow)
            .map(|it| falsified(it, 32).into()),
    };
    cast.case_with(&agreement, Role::Originator, Action::Resolve, &escrows)
}

/// One caller until the flood is over. Cases that were sent away and never came back.
async fn caller(
    number: usize,
    mut parties: Parties,
    cast: Arc<Cast>,
    flood: Arc<Flood>,
    bad: Arc<Vec<proto::Case>>,
) -> Vec<proto::Case> {
    let mut given_up = Vec::new();
    while !flood.is_over() {
        flood.calls.fetch_add(1, Ordering::SeqCst);
        let shed = match number % 10 {
            0..3 => {
                let agreement = cast.contract();
                let case = cast.case(&agreement, Role::Originator, Action::Resolve);
                let shed = flood.hear(resolve(&mut parties, case).await);
                if shed && given_up.len() < 5 {
                    given_up.push(cast.case(&agreement, Role::Responder, Action::Query));
                }
                shed
            }
            3..6 => {
                let case = cast.case(&cast.contract(), Role::Responder, Action::Query);
                flood.hear(query(&mut parties, case).await)
            }
            6..9 => flood.hear(resolve(&mut parties, bad[number % bad.len()].clone()).await),
            _ => {
                let file = describe(&number.to_be_bytes(), "application/octet-stream");
                let deadline = arbiter_client::clock::Clock::now(&arbiter_client::clock::SystemClock);
                let agreement = cast.delivery(&file, deadline.after(super::scene::HOUR));
                let (sender, receiver) = mpsc::channel(1);
                sender.send(first(cast.case(&agreement, Role::Originator, Action::Deposit))).await.unwrap();
                let stands_still = flood.hear(parties.verify_transfer(ReceiverStream::new(receiver)).await);
                drop(sender);
                // There are few places for uploads, and each is taken for a second: these callers wait as they are told.
                tokio::time::sleep(TOLD).await;
                stands_still
            }
        };
        if shed {
            tokio::time::sleep(TOLD / 5).await;
        }
    }
    given_up
}

async fn counters(parties: &mut Parties) -> BTreeMap<String, u64> {
    let counters = parties.get_counters(proto::GetCountersRequest {}).await.unwrap().into_inner().counters;
    counters.into_iter().map(|counter| (counter.name, counter.value)).collect()
}

/// S40, R-105, R-411, K18, F1, F17: the flood is counted, sent away with a time to come back, and leaves nothing: no leaf, no
/// memory. Honest parties that wait as told all get their verdicts after a bounded number of tries.
#[tokio::test(flavor = "multi_thread")]
async fn honest_work_gets_through_ten_times_overload() {
    let home = Home::new().await;
    let (places, uploads) = (PLACES.to_string(), UPLOADS.to_string());
    let limits = ["--max-requests", &places, "--max-uploads", &uploads, "--request-timeout-seconds", "1"];
    let server = home.serve(&limits).await;
    let (scene, cast) = (Arc::new(server.scene().await), Arc::new(server.cast().await));
    let mut own = server.parties().await;

    // Honest exchanges that have come to where both parties need the arbiter.
    let mut honest = JoinSet::new();
    let (begin, mut ready) = (tokio::sync::watch::Sender::new(false), Vec::new());
    let calls = Arc::new(AtomicU32::new(0));
    let deals = [Deal::Signing, Deal::Delivery, Deal::Signing, Deal::Delivery];
    for deal in deals {
        let ports = [Counted::at(&server.url()), Counted::at(&server.url())];
        let manner = Manner { patience: FOR_EVER, linger: SHORTLY };
        let alice = scene.party("alice", ports[0].clone(), manner).await;
        let bob = scene.party("bob", ports[1].clone(), manner).await;
        let meeting = Arc::new(Meeting::arrange(&scene, deal, alice, bob, Some(parting(deal))).await);
        ready.push(Arc::clone(&meeting));
        let (mut begin, calls) = (begin.subscribe(), Arc::clone(&calls));
        honest.spawn(async move {
            let part = async {
                begin.wait_for(|begin| *begin).await.unwrap();
                meeting.part().await;
                std::future::pending::<()>().await;
            };
            let (ours, theirs) = tokio::select! {
                ended = meeting.hold(|_| {}) => ended,
                () = part => unreachable!(),
            };
            assert!(matches!(ours, Outcome::Resolved(_)), "{deal:?}: {ours:?}");
            assert!(meeting.judge(&ours, theirs.as_ref()).await, "{deal:?}");
            let tries = ports.each_ref().map(|port| port.failures.load(Ordering::SeqCst));
            assert!(tries.iter().all(|tries| *tries <= TRIES), "{deal:?}: sent away too often: {tries:?}");
            calls.fetch_add(
                ports.iter().map(|port| port.calls.load(Ordering::SeqCst)).sum(),
                Ordering::SeqCst,
            );
            tries
        });
    }
    for meeting in &ready {
        in_time("an exchange", meeting.line.hit()).await;
    }

    let before = counters(&mut own).await;
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    let flood = Arc::new(Flood::default());
    let bad: Arc<Vec<_>> = Arc::new((0..4).map(|_| false_case(&cast)).collect());
    let mut callers = JoinSet::new();
    for connection in 0..10 {
        let parties = server.parties().await;
        for number in 0..CALLERS / 10 {
            let number = connection * (CALLERS / 10) + number;
            callers.spawn(caller(number, parties.clone(), cast.clone(), flood.clone(), bad.clone()));
        }
    }
    // The flood is in full flow, and has filled what it fills, before the honest come.
    in_time("the flood", async {
        while flood.shed.load(Ordering::SeqCst) < 200 || flood.stuck.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let (warm, _) = server.memory();
    begin.send_replace(true);
    let tries = tokio::time::timeout(LONG / 2, honest.join_all())
        .await
        .unwrap_or_else(|_| panic!("starved: {flood:?}"));
    flood.over.store(true, Ordering::SeqCst);
    let given_up: Vec<_> = in_time("the flood", callers.join_all()).await.into_iter().flatten().collect();

    let after = counters(&mut own).await;
    let grew = |name: &str| after[name] - before[name];
    let number = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    println!(
        "{} calls: {} ruled, {} unknown, {} false, {} stood still, {} sent away; honest sent away {tries:?} times",
        number(&flood.calls),
        number(&flood.ruled),
        number(&flood.unknown),
        number(&flood.unopenable),
        number(&flood.stuck),
        number(&flood.shed)
    );
    for (kind, counter) in [
        ("shed", &flood.shed),
        ("ruled", &flood.ruled),
        ("false", &flood.unopenable),
        ("unknown", &flood.unknown),
    ] {
        assert!(number(counter) > 0, "no {kind}: this was no flood");
    }
    // Every call is counted, those sent away too, and the one that asks.
    let all: u64 = after.keys().filter(|name| name.starts_with("calls/")).map(|name| grew(name)).sum();
    assert_eq!(all, number(&flood.calls) + u64::from(calls.load(Ordering::SeqCst)) + 1);
    assert_eq!(grew("escrows_false"), number(&flood.unopenable));
    // Who was sent away changed nothing: a leaf for every ruling, two where there was a deposit, and no other.
    assert_eq!(grew("leaves"), number(&flood.ruled) + 1 + 2 + 1 + 2);
    for case in given_up {
        let answer = query(&mut own, case).await;
        assert_eq!(reason(&answer.unwrap_err()).1, "VERDICT_NOT_FOUND", "sent away, and yet ruled");
    }
    let (_, most) = server.memory();
    println!("memory: {warm} KiB in the flood, {most} KiB at most");
    assert!(most < warm + GROWTH_KIB, "memory grew from {warm} to {most} KiB");
    drop(idle);
    server.terminate();
    assert_eq!(server.end().await, Some(0));
}
