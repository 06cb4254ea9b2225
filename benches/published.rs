//! How old the published checkpoint is under load, and what witnesses cost (T9).
//!
//! Questions, while 64 callers append as fast as they can: how long is it from a durable leaf to a published checkpoint that
//! covers it, and to one with a quorum of two of three witnesses on this machine; how fast is a leaf answered while the
//! witnesses are there, and after all of them have gone. The bounds: a checkpoint is published every second, so the mean of the
//! first cannot be below half a second; and no answer waits for a witness, so the last two must be the same.

#![allow(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark may fail"
)]
#![allow(missing_docs, reason = "a program")]

mod beside;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arbiter::clock::SystemClock;
use arbiter::engine::Handle;
use arbiter::grpc::{Server, Transport};
use arbiter::keys::witness_file::WitnessKeys;
use arbiter::publish::witnesses::Witnesses;
use arbiter::publish::{Pace, Published, Publisher};
use arbiter::witness::logs::Logs;
use arbiter::witness::mark::Mark;
use arbiter::witness::names::Names;
use arbiter::witness::store::Store;
use arbiter::witness::{Handle as Witness, Options, http};
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::evidence::policy::Policy;
use arbiter_protocol::ids::Digest;
use beside::ours::seed;
use beside::{load, ours, percentile};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const CALLERS: usize = 64;
const WITNESSES: u8 = 3;
/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A witness of this log, over HTTP.
async fn witness(folder: &Path, number: u8, log: &VerifierKey) -> (Server, Witness, String) {
    let keys = WitnessKeys::from_seeds(
        &seed(0x20 + number),
        #[cfg(feature = "ml-dsa")]
        None,
    );
    let names = Names::of(&format!("witness.example/w{number}"), &keys).unwrap();
    let key = names.keys().next().unwrap().clone();
    let (data, mark) = (folder.join(format!("w{number}")), folder.join(format!("m{number}")));
    Store::create(&data, names.id()).unwrap();
    Mark::create(&mark, names.id()).unwrap();
    let (store, mark) = (Store::open(&data, names.id()).unwrap(), Mark::open(&mark, names.id()).unwrap());
    let logs = Logs::parse(&format!("log {log}\n")).unwrap();
    let witness =
        Witness::start(names, keys, logs, store, mark, Options::default(), Box::new(SystemClock)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bounds = http::Bounds { max_requests: 64, request_timeout: Duration::from_secs(10) };
    let router = http::router(witness.clone(), "", bounds);
    let server = Server::start_http(Transport::default(), listener, router).await.unwrap();
    let line = format!("witness w{number} {key} http://{}\n", server.address());
    (server, witness, line)
}

/// What one leaf waited for.
struct Probe {
    answered: Duration,
    published: Duration,
    quorum: Option<Duration>,
}

/// Load for so long, and a leaf that is looked after every so often. Appended leaves a second, and the probes.
async fn under_load(
    engine: &Handle,
    published: &Published,
    time: Duration,
    quorum: bool,
) -> (f64, Vec<Probe>) {
    static TOKENS: AtomicU64 = AtomicU64::new(0);
    let token = || Digest::of(&[&TOKENS.fetch_add(1, Ordering::Relaxed).to_be_bytes()]);
    let stop = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    let (started, first) = (Instant::now(), engine.log_size());
    for _ in 0..CALLERS {
        let (engine, stop) = (engine.clone(), Arc::clone(&stop));
        load.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                engine.anchor(token()).await.unwrap();
            }
        });
    }
    let mut probes = JoinSet::new();
    while started.elapsed() < time {
        let (engine, published) = (engine.clone(), published.clone());
        probes.spawn(async move {
            let asked = Instant::now();
            let leaf = engine.anchor(token()).await.unwrap();
            let durable = Instant::now();
            let (_, found) = published.covering(leaf.0, PATIENCE, |_| true).await;
            assert!(found, "leaf {} is not published", leaf.0);
            let seen = durable.elapsed();
            if quorum {
                let (_, found) = published.covering(leaf.0, PATIENCE, |it| published.quorum(it)).await;
                assert!(found, "leaf {} has no quorum", leaf.0);
            }
            let quorum = quorum.then(|| durable.elapsed());
            Probe { answered: durable - asked, published: seen, quorum }
        });
        tokio::time::sleep(Duration::from_millis(37)).await;
    }
    stop.store(true, Ordering::Relaxed);
    load.join_all().await;
    let rate = (engine.log_size() - first) as f64 / started.elapsed().as_secs_f64();
    (rate, probes.join_all().await)
}

fn line(what: &str, times: impl Iterator<Item = Duration>) {
    let mut times: Vec<_> = times.collect();
    times.sort();
    let ms = |hundredths| percentile(&times, hundredths).as_secs_f64() * 1e3;
    println!("  {what:<44} p50 {:>7.1} ms   p95 {:>7.1} ms   worst {:>7.1} ms", ms(50), ms(95), ms(100));
}

async fn measure(folder: &Path, time: Duration) {
    let engine = ours::engine(ours::keys(), ours::store(folder), Box::new(SystemClock));
    let arbiter = engine.desk().arbiter.clone();
    let log = VerifierKey::new(arbiter.log_origin.as_str(), arbiter.log_key).unwrap();
    let (mut servers, mut policy) = (Vec::new(), format!("log {log}\n"));
    for number in 0..WITNESSES {
        let (server, witness, line) = witness(folder, number, &log).await;
        servers.push((server, witness));
        policy.push_str(&line);
    }
    policy.push_str("group all 2 w0 w1 w2\nquorum all\n");
    let policy = Policy::parse(&policy).unwrap();
    let witnesses = Witnesses::start(policy, arbiter.log_origin.clone(), log, None).unwrap();
    let started = Publisher::start(engine.clone(), Arc::new(witnesses), Pace::default(), None).await;
    let (publisher, published) = started.unwrap();

    println!("\npublishing while {CALLERS} callers append; load of the machine: {}", load());
    let (rate, probes) = under_load(&engine, &published, time, true).await;
    println!("with {WITNESSES} witnesses, {rate:.0} leaves/s:");
    line("from durable to published", probes.iter().map(|it| it.published));
    line("from durable to a quorum of 2", probes.iter().filter_map(|it| it.quorum));
    line("answer to a leaf", probes.iter().map(|it| it.answered));
    println!("  the published checkpoint has {} bytes", published.newest().note().to_string().len());
    for (server, witness) in servers {
        server.stop().await.unwrap();
        witness.stop().await;
    }
    let (alone, probes) = under_load(&engine, &published, time, false).await;
    println!("after all witnesses have gone, {alone:.0} leaves/s, {:.2} times as many:", alone / rate);
    line("from durable to published", probes.iter().map(|it| it.published));
    line("answer to a leaf", probes.iter().map(|it| it.answered));
    println!("load of the machine at the end: {}", load());
    publisher.stop().await.unwrap();
    engine.stop().await;
}

fn main() {
    // `cargo test` runs benches too, without arguments that say so: then a moment shows that it works.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let time = Duration::from_secs(if quick { 1 } else { 20 });
    let target = env!("CARGO_TARGET_TMPDIR");
    let folder = tempfile::Builder::new().prefix("published-bench").tempdir_in(target).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(measure(folder.path(), time));
}
