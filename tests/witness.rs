//! The witness over real HTTP: every status of tlog-witness, races, restarts, old copies of its data, the real program. And
//! the log that asks it: witnesses that come and go, witnesses that lie, a log that was rolled back.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may fail")]

#[path = "witness/client.rs"]
mod client;
mod common;
#[path = "witness/liars.rs"]
mod liars;
#[path = "witness/program.rs"]
mod program;
#[path = "witness/reference.rs"]
mod reference;
#[path = "witness/support.rs"]
mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arbiter::clock::ManualClock;
use arbiter::grpc::Transport;
use arbiter::witness::logs::{Logs, origin_hash};
use arbiter::witness::{Options, StartError};
use arbiter_protocol::evidence::checkpoint::{Origin, SignedCheckpoint};
use arbiter_protocol::evidence::merkle::empty_root;
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::ids::Digest;
use arbiter_protocol::limits::ADD_CHECKPOINT_BYTES as BODY_BYTES;
use arbiter_protocol::time::UnixMillis;
use support::*;

const ORIGIN: &str = "log.example/a";

/// The cosignatures in an answer, verified; their times.
#[track_caller]
fn times(checkpoint: &str, lines: &str, log: &VerifierKey, witness: &[VerifierKey]) -> Vec<u64> {
    let note = format!("{checkpoint}{lines}");
    let signed = SignedCheckpoint::verify(&note, log).unwrap();
    let cosignatures = signed.cosignatures(witness).unwrap();
    assert_eq!(cosignatures.len(), witness.len(), "{note}");
    cosignatures.iter().map(|it| it.time().seconds()).collect()
}

/// the table of tlog-witness, row by row.
#[test]
fn every_status_of_the_standard() {
    let folder = tempfile::tempdir().unwrap();
    let (log, other) = (Log::grown(ORIGIN, 1, 12), Log::grown("log.example/b", 2, 12));
    let served = Made::new(folder.path(), &[&log]).serve();
    let post = |body: &str| served.caller.post(body);

    // 404: an unknown log, whatever else is wrong.
    post(&other.request(0, 3)).expect(404);
    post(&body(9, &[], &other.checkpoint(3))).expect(404);
    // 403: no signature by a trusted key; a line of a trusted key that fails.
    let stranger = Log::grown(ORIGIN, 9, 12);
    post(&stranger.request(0, 3)).expect(403);
    let forged = log.checkpoint(3).replace(&format!("{ORIGIN}\n3\n"), &format!("{ORIGIN}\n4\n"));
    post(&body(0, &[], &forged)).expect(403);
    // 400: malformed, or an old size above the size.
    for malformed in [
        String::new(),
        "old 0".to_owned(),
        "old 0\n".to_owned(),
        log.checkpoint(3),
        format!("old  0\n\n{}", log.checkpoint(3)),
        format!("old 00\n\n{}", log.checkpoint(3)),
        format!("old -1\n\n{}", log.checkpoint(3)),
        format!("old 18446744073709551616\n\n{}", log.checkpoint(3)),
        format!("old 0\nAAAA\n\n{}", log.checkpoint(3)),
        format!("old 0\n{}", log.checkpoint(3)),
        format!("old 0\r\n\r\n{}", log.checkpoint(3)),
        body(0, &[log.root(1); 64], &log.checkpoint(3)),
        body(0, &[], &log.sign(format!("{}extension\n", log.text(3, log.root(3))))),
        body(0, &[], &log.sign(log.text(3, log.root(3)).replace("\n3\n", "\n03\n"))),
        body(4, &[], &log.checkpoint(3)),
    ] {
        assert_eq!(post(&malformed).status, 400, "{malformed:?}");
    }
    // 422 before anything is known: size 0 with another root, old 0 with a proof.
    post(&body(0, &[], &log.sign(log.text(0, log.root(1))))).expect(422);
    post(&body(0, &[], &log.sign(log.text(0, Digest::from_bytes([0; 32]))))).expect(422);
    post(&body(0, &[log.root(1)], &log.checkpoint(0))).expect(422);
    post(&body(0, &[log.root(1)], &log.checkpoint(3))).expect(422);
    // 409: nothing is known yet, so the newest size is 0.
    post(&log.request(2, 3)).expect_size(0);
    // 200, also for the empty tree, and again.
    assert_eq!(log.root(0), empty_root());
    for _ in 0..2 {
        times(&log.checkpoint(0), post(&log.request(0, 0)).expect(200), &log.key(), &served.keys);
    }
    times(&log.checkpoint(3), post(&log.request(0, 3)).expect(200), &log.key(), &served.keys);
    // 409: old 0 asks for the size. So does an older and a newer size.
    for (old, new) in [(0, 3), (0, 8), (2, 8), (5, 8), (8, 8)] {
        post(&log.request(old, new)).expect_size(3);
    }
    // 422: wrong proofs, and another root at the same size.
    let proof = log.proof(3, 8);
    for wrong in [vec![], proof[1..].to_vec(), [proof.clone(), vec![log.root(1)]].concat(), {
        let mut swapped = proof.clone();
        swapped.swap(0, 1);
        swapped
    }] {
        post(&body(3, &wrong, &log.checkpoint(8))).expect(422);
    }
    post(&body(3, &proof, &log.sign(log.text(8, log.root(7))))).expect(422);
    post(&body(3, &[], &log.sign(log.text(3, log.root(4))))).expect(422);
    post(&body(3, &[log.root(1)], &log.checkpoint(3))).expect(422);
    // 400 still comes before 409.
    post(&body(3, &[], &log.checkpoint(2))).expect(400);
    // None of these moved anything.
    times(&log.checkpoint(3), post(&log.request(3, 3)).expect(200), &log.key(), &served.keys);
    let answer = post(&log.request(3, 8));
    assert_eq!(answer.media_type, "text/plain; charset=utf-8");
    times(&log.checkpoint(8), answer.expect(200), &log.key(), &served.keys);
    post(&log.request(3, 8)).expect_size(8);
    served.stop();
}

/// what a monitor gets, and every other path and method.
#[test]
fn monitors_get_the_newest_checkpoint_with_both_signatures() {
    let folder = tempfile::tempdir().unwrap();
    let (log, silent) = (Log::grown(ORIGIN, 1, 12), Log::grown("log.example/silent", 2, 1));
    let mut made = Made::new(folder.path(), &[&log, &silent]);
    made.prefix = "/witness/v1";
    let served = made.serve();
    let path = |origin: &str| format!("/{}/checkpoint", origin_hash(&Origin::parse(origin).unwrap()));
    served.caller.get(&path(ORIGIN)).expect(404);
    // Signatures of strangers are not passed on.
    let stranger = Log::new("stranger.example", 7);
    let text = log.text(3, log.root(3));
    let [ours, foreign] = [log.sign(text.clone()), stranger.sign(text.clone())];
    let line = foreign.lines().last().unwrap();
    let lines = served.caller.post(&body(0, &[], &format!("{ours}{line}\n"))).expect(200).to_owned();
    let note = served.caller.get(&path(ORIGIN));
    assert_eq!(note.expect(200), format!("{ours}{lines}"));
    assert_eq!(note.media_type, "text/plain; charset=utf-8");
    let lines = served.caller.post(&log.request(3, 8)).expect(200).to_owned();
    assert_eq!(served.caller.get(&path(ORIGIN)).body, format!("{}{lines}", log.checkpoint(8)));
    served.caller.get(&path("log.example/silent")).expect(404);
    served.caller.get("/nothing/checkpoint").expect(404);
    served.caller.get(&path(ORIGIN).to_uppercase().replace("CHECKPOINT", "checkpoint")).expect(404);
    served.caller.get("/add-checkpoint").expect(405);
    let root = Caller::new(&format!("http://{}", served.address()));
    assert!(root.get("/").expect(200).contains(NAME));
    root.post(&log.request(8, 9)).expect(404);
    served.stop();

    // After a restart the same bytes: the head says everything.
    let served = made.serve();
    assert_eq!(served.caller.get(&path(ORIGIN)).body, format!("{}{lines}", log.checkpoint(8)));
    served.stop();
}

/// several keys of one log, a key of another name, and a list that is taken again.
#[test]
fn keys_of_a_log_are_those_of_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new, late) = (Log::grown(ORIGIN, 1, 9), Log::grown(ORIGIN, 2, 9), Log::grown("late", 3, 9));
    let served = Made::new(folder.path(), &[&old, &new]).serve();
    served.caller.post(&old.request(0, 3)).expect(200);
    served.caller.post(&new.request(3, 5)).expect(200);
    served.caller.post(&late.request(0, 5)).expect(404);
    let network = format!("logs/v0\nvkey {}\norigin late\nvkey {}\n", late.key(), new.key());
    served.handle.set_logs(Logs::parse(&network).unwrap());
    served.caller.post(&late.request(0, 5)).expect(200);
    served.caller.post(&old.request(5, 6)).expect(403);
    served.caller.post(&new.request(5, 6)).expect(200);
    // A log cannot be signed for by the key of another one.
    let text = new.text(7, new.root(7));
    served.caller.post(&body(6, &new.proof(6, 7), &late.sign(text))).expect(403);
    served.handle.set_logs(Logs::default());
    served.caller.post(&new.request(6, 7)).expect(404);
    served.handle.set_logs(Logs::parse(&network).unwrap());
    served.caller.post(&new.request(0, 7)).expect_size(6);
    served.stop();
}

/// the newest size moves by comparing and replacing at once, however many ask.
#[test]
fn one_of_many_that_ask_at_once_moves_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::grown(ORIGIN, 1, 400);
    let served = Made::new(folder.path(), &[&log]).serve();
    served.caller.post(&log.request(0, 1)).expect(200);
    let base = format!("http://{}", served.address());
    let mut newest = 1;
    for round in 1..40_u64 {
        let winners = AtomicU64::new(0);
        let sizes: Vec<u64> = (0..8).map(|number| newest + 1 + (round * 7 + number * 5) % 9).collect();
        std::thread::scope(|scope| {
            for &size in &sizes {
                scope.spawn({
                    let (log, base, winners) = (&log, &base, &winners);
                    move || {
                        let answer = Caller::new(base).post(&log.request(newest, size));
                        match answer.status {
                            200 => assert_eq!(winners.swap(size, Ordering::SeqCst), 0, "two moved one head"),
                            _ => assert_eq!(answer.status, 409, "{answer:?}"),
                        }
                    }
                });
            }
        });
        newest = winners.into_inner();
        served.caller.post(&log.request(0, newest)).expect_size(newest);
    }
    served.stop();
}

/// no time before one that was signed, whatever the clock does; never zero.
#[test]
fn time_in_cosignatures_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::grown(ORIGIN, 1, 20);
    let clock = ManualClock::new(UnixMillis(0));
    let mut made = Made::new(folder.path(), &[&log]);
    made.clock = Some(clock.clone());
    let served = made.serve();
    let cosign = |served: &Served, old, new| {
        let lines = served.caller.post(&log.request(old, new)).expect(200).to_owned();
        let times = times(&log.checkpoint(new), &lines, &log.key(), &served.keys);
        assert!(times.iter().all(|time| *time == times[0]));
        times[0]
    };
    assert_eq!(cosign(&served, 0, 1), 1);
    clock.set(NOW);
    assert_eq!(cosign(&served, 1, 2), NOW.0 / 1000);
    clock.set(UnixMillis(NOW.0 - 1_000_000));
    assert_eq!(cosign(&served, 2, 3), NOW.0 / 1000);
    assert_eq!(cosign(&served, 3, 3), NOW.0 / 1000);
    served.stop();
    let served = made.serve();
    assert_eq!(cosign(&served, 3, 4), NOW.0 / 1000);
    clock.set(UnixMillis(NOW.0 + 5_000));
    assert_eq!(cosign(&served, 4, 4), NOW.0 / 1000 + 5);
    served.stop();
    clock.set(UnixMillis(NOW.0 + 366 * 24 * 60 * 60 * 1000 + 5_000));
    let Err(error) = made.start() else { panic!("started on a clock that jumped") };
    assert!(matches!(error, StartError::ClockFarAhead { .. }), "{error}");
    made.options = Options { accept_clock: true, ..made.options };
    made.serve().stop();
}

/// an old copy of the data is not served, nor none, nor another's; one batch that was not counted is.
#[test]
fn data_that_is_older_than_what_was_signed_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::grown(ORIGIN, 1, 20);
    let made = Made::new(folder.path(), &[&log]);
    let [data, mark, copy, old_mark] = ["data", "mark", "copy", "old"].map(|name| folder.path().join(name));
    let served = made.serve();
    served.caller.post(&log.request(0, 3)).expect(200);
    served.stop();
    fs::copy(&data, &copy).unwrap();
    fs::copy(&mark, &old_mark).unwrap();
    let served = made.serve();
    served.caller.post(&log.request(3, 8)).expect(200);
    served.stop();

    // The mark was not moved after the commit: nothing was signed, and all is well.
    let newest = fs::read(&mark).unwrap();
    fs::copy(&old_mark, &mark).unwrap();
    let served = made.serve();
    served.caller.post(&log.request(0, 8)).expect_size(8);
    served.stop();
    assert_eq!(fs::read(&mark).unwrap(), newest);

    let good = fs::read(&data).unwrap();
    fs::copy(&copy, &data).unwrap();
    let Err(error) = made.start() else { panic!("served an old copy") };
    assert!(matches!(error, StartError::RolledBack { data: 1, mark: 2 }), "{error}");
    fs::remove_file(&mark).unwrap();
    assert!(matches!(made.start(), Err(StartError::Mark(_))));
    fs::write(&mark, newest).unwrap();
    fs::write(&data, good).unwrap();
    made.serve().stop();
}

/// limits: a request that is too large, too many of one log, too many connections, and slow ones.
#[test]
fn limits_hold() {
    let folder = tempfile::tempdir().unwrap();
    let (log, other) = (Log::grown(ORIGIN, 1, 60), Log::grown("log.example/b", 2, 60));
    let mut made = Made::new(folder.path(), &[&log, &other]);
    made.options.max_per_second = 5;
    made.transport = Transport {
        max_connections: 3,
        max_requests: 2,
        request_timeout: Duration::from_millis(500),
        drain: Duration::from_secs(1),
        ..Transport::default()
    };
    let served = made.serve();
    served.caller.post(&format!("{}{}", log.request(0, 3), "x".repeat(BODY_BYTES))).expect(413);
    // Exactly the limit is read, and malformed.
    let request = log.request(0, 3);
    let padding = "\n".repeat(BODY_BYTES - request.len());
    served.caller.post(&format!("{request}{padding}")).expect(400);

    let began = Instant::now();
    let answers: Vec<_> = (0..40).map(|size| served.caller.post(&log.request(size, size + 1))).collect();
    let good = answers.iter().take_while(|answer| answer.status == 200).count();
    if began.elapsed() < Duration::from_secs(1) {
        assert_eq!((good, answers[good].status), (5, 429));
    }
    // Not the business of another log.
    served.caller.post(&other.request(0, 3)).expect(200);

    // Headers come, the body does not: the time of a request ends it, and its place is free again.
    let slow = || {
        let mut stream = TcpStream::connect(served.address()).unwrap();
        stream
            .write_all(b"POST /add-checkpoint HTTP/1.1\r\nhost: w\r\ncontent-length: 100\r\n\r\nold")
            .unwrap();
        stream
    };
    let (mut first, second) = (slow(), slow());
    std::thread::sleep(Duration::from_millis(150));
    let busy = served.caller.try_post(&other.request(3, 4));
    assert_eq!(busy.unwrap().status, 503);
    // A fourth connection is closed at once.
    let mut fourth = TcpStream::connect(served.address()).unwrap();
    fourth.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert!(matches!(fourth.read(&mut [0]), Ok(0) | Err(_)));
    let mut answer = String::new();
    first.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let _ = first.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    drop(second);
    std::thread::sleep(Duration::from_millis(600));
    served.caller.post(&other.request(3, 4)).expect(200);
    served.stop();
}
