//! What one more leaf costs, and whether it costs more when there are many already.
//!
//! Questions, for logs of growing size in one run: appended leaves a second for 1 and 256 callers, each of whom waits until its
//! leaf is durable in store and side journal; processor time of a leaf; how long an inclusion proof takes; how long a start
//! takes; how many leaves a second and core the scrub (every leaf and node hashed again) and `fsck` (everything) check, beside
//! the bare SHA-256 of leaf and node. For the smallest and the largest size, in turns: an fsync after another, and a PostgreSQL
//! table of rows with as many bytes, one committed insert a row, default durability, as many clients.
//!
//! The bound of one caller is one fsync a leaf (store and journal sync at the same time); of many it is the cores: a batch
//! shares its fsync. `LOG_SIZES=1000,100000` chooses the sizes, the default ends at a million leaves; ten million need 7 GB.

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
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arbiter::clock::SystemClock;
use arbiter::engine::Handle;
use arbiter::store::Store;
use arbiter::{fsck, scrub};
use arbiter_protocol::evidence::merkle::{leaf_hash, node_hash};
use arbiter_protocol::ids::Digest;
use beside::{Postgres, folder_bytes, fsyncs, load, median, ours, percentile, processor};

/// Callers at the same time: one, and as many as the design's target names.
const CALLERS: [usize; 2] = [1, 256];
/// Bytes of a leaf, roughly, with its node and index entries.
const ROW_BYTES: usize = 600;
/// Turns of a comparison.
const ROUNDS: usize = 7;
/// Lets go of the log without an answer for so long: the writer's thread ends a moment after the engine.
const A_MOMENT: Duration = Duration::from_millis(200);

fn open(folder: &Path) -> (Handle, Arc<dyn Store>) {
    let store = ours::store(folder);
    (ours::engine(ours::keys(), Arc::clone(&store), Box::new(SystemClock)), store)
}

/// Appends until the log has `size` leaves, with so many callers; leaves a second.
async fn append(engine: &Handle, size: u64, callers: usize) -> f64 {
    let first = engine.log_size();
    let next = Arc::new(AtomicU64::new(first));
    let started = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..callers {
        let (engine, next) = (engine.clone(), Arc::clone(&next));
        tasks.push(tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= size {
                    return;
                }
                engine.anchor(Digest::of(&[&number.to_be_bytes()])).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    engine.log_size().saturating_sub(first) as f64 / started.elapsed().as_secs_f64()
}

struct Row {
    size: u64,
    appended: f64,
    /// Processor time of one appended leaf, in microseconds.
    work: f64,
    proof: [Duration; 2],
    open: Duration,
    /// Leaves a second and core.
    scrubbed: f64,
    checked: f64,
    bytes: f64,
}

/// What one and many callers get, each in turns with an fsync and PostgreSQL: leaves, fsyncs, inserts a second.
struct Beside {
    size: u64,
    one: Vec<[f64; 3]>,
    many: Vec<[f64; 3]>,
}

/// One size: fills up to it, then measures.
fn measure(folder: &Path, size: u64, some: u64, postgres: Option<&Postgres>) -> (Row, Option<Beside>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (engine, store) = open(folder);
    runtime.block_on(append(&engine, size, 1024));
    let mut rates = Vec::new();
    let (before, first) = (processor(), engine.log_size());
    for _ in 0..ROUNDS {
        let size = engine.log_size() + some;
        rates.push(runtime.block_on(append(&engine, size, CALLERS[1])));
    }
    let work = (processor() - before).as_secs_f64() * 1e6 / (engine.log_size() - first) as f64;
    let beside = postgres.map(|postgres| {
        let turns = |callers: usize, leaves: u64| {
            let turn = || {
                let leaves = runtime.block_on(append(&engine, engine.log_size() + leaves, callers));
                let inserts = postgres
                    .inserts(ROW_BYTES, callers, if callers == 1 { 2 } else { 5 })
                    .unwrap_or(f64::NAN);
                [leaves, fsyncs(folder, ROW_BYTES, 200), inserts]
            };
            (0..ROUNDS).map(|_| turn()).collect()
        };
        Beside { size, one: turns(CALLERS[0], some / 20), many: turns(CALLERS[1], some) }
    });
    let now = engine.log_size();
    let mut times: Vec<_> = (0..some.min(2000))
        .map(|number| {
            let index = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % now;
            let started = Instant::now();
            std::hint::black_box(engine.inclusion_proof(index, now).unwrap());
            started.elapsed()
        })
        .collect();
    times.sort();
    let proof = [percentile(&times, 50), percentile(&times, 99)];
    runtime.block_on(engine.stop());
    drop((engine, store));

    std::thread::sleep(A_MOMENT);
    let started = Instant::now();
    let (engine, store) = open(folder);
    let open = started.elapsed();
    let per_core = |before: Duration| now as f64 / (processor() - before).as_secs_f64().max(0.01);
    let before = processor();
    let scrub = runtime.spawn(scrub::run(engine.clone(), u64::MAX));
    while engine.counters().scrubbed < now {
        assert!(engine.read_only().is_none(), "the scrub found damage");
        std::thread::sleep(Duration::from_millis(5));
    }
    let scrubbed = per_core(before);
    scrub.abort();
    runtime.block_on(engine.stop());
    let before = processor();
    let report = fsck::check(&*store, &ours::arbiter(), None, &mut |_| {});
    assert!(report.fault.is_none(), "{:?}", report.fault);
    let checked = per_core(before);
    drop((engine, store));
    std::thread::sleep(A_MOMENT);
    let bytes = folder_bytes(&folder.join("data")) as f64 / now as f64;
    (Row { size, appended: median(rates), work, proof, open, scrubbed, checked, bytes }, beside)
}

/// Leaves a second and core if nothing were done but what no implementation could leave out: a hash of the leaf, one of a node.
fn hashed(rounds: u32) -> f64 {
    let (leaf, node) = ([b'a'; 520], Digest::of(&[b"node"]));
    let started = processor();
    for _ in 0..rounds {
        std::hint::black_box(leaf_hash(std::hint::black_box(&leaf)));
        std::hint::black_box(node_hash(std::hint::black_box(&node), &node));
    }
    f64::from(rounds) / (processor() - started).as_secs_f64().max(0.01)
}

fn print_beside(Beside { size, one, many }: &Beside) {
    let ratio = |turns: &[[f64; 3]], of: usize| median(turns.iter().map(|it| it[0] / it[of]).collect());
    let spread = |turns: &[[f64; 3]], of: usize| {
        let mut ratios: Vec<_> = turns.iter().map(|it| it[0] / it[of]).collect();
        ratios.sort_by(f64::total_cmp);
        format!("{:.2} to {:.2}", ratios[0], ratios[ratios.len() - 1])
    };
    println!("beside, with {size} leaves, in {ROUNDS} turns, medians of the ratios (and their range):");
    println!("  1 caller     {:>6.2} of one fsync after another ({})", ratio(one, 1), spread(one, 1));
    println!("  1 caller     {:>6.2} of PostgreSQL with 1 client ({})", ratio(one, 2), spread(one, 2));
    println!("  256 callers  {:>6.2} of one fsync after another ({})", ratio(many, 1), spread(many, 1));
    println!("  256 callers  {:>6.2} of PostgreSQL with 256 clients ({})", ratio(many, 2), spread(many, 2));
}

fn main() {
    // `cargo test` runs benches too, without arguments that say so: then a short log shows that it works.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let asked = std::env::var("LOG_SIZES").ok();
    let default = if quick { "300" } else { "1000,10000,100000,1000000" };
    let sizes: Vec<u64> =
        asked.as_deref().unwrap_or(default).split(',').map(|size| size.trim().parse().unwrap()).collect();
    let some = if quick { 50 } else { 10_000 };
    let folder =
        tempfile::Builder::new().prefix("log-bench").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = folder.path().join("log");
    std::fs::create_dir(&log).unwrap();
    let postgres = if quick { None } else { Postgres::start() };
    let (mut rows, mut besides) = (Vec::new(), Vec::new());
    for (number, size) in sizes.iter().enumerate() {
        let compared = postgres.as_ref().filter(|_| number == 0 || number + 1 == sizes.len());
        let (row, beside) = measure(&log, *size, some, compared);
        rows.push(row);
        besides.extend(beside);
    }
    let bound = hashed(if quick { 1000 } else { 500_000 });

    println!("\nevidence log with its side journal: each leaf durable in both before its caller goes on");
    println!("load of the machine at the end: {}", load());
    println!(
        "\n    leaves  256 callers/s  work/leaf   proof p50    p99     start   scrub/s/core   fsck/s/core  bytes/leaf"
    );
    for Row { size, appended, work, proof: [p50, p99], open, scrubbed, checked, bytes } in &rows {
        println!(
            "{size:>10} {appended:>14.0} {work:>7.1} us {:>8.0} us {:>4.0} us {:>6.2} s {scrubbed:>14.0} {checked:>13.0} {bytes:>11.0}",
            p50.as_secs_f64() * 1e6,
            p99.as_secs_f64() * 1e6,
            open.as_secs_f64(),
        );
    }
    let (first, last) = (&rows[0], &rows[rows.len() - 1]);
    println!(
        "\nwith {} leaves a leaf takes {:.2} times the processor time that it takes with {}; 256 callers get {:.2} times the rate",
        last.size,
        last.work / first.work,
        first.size,
        last.appended / first.appended
    );
    println!(
        "hashing alone: {bound:.0} leaves/s/core; with {} leaves the scrub reaches {:.0} % of it, fsck {:.0} %",
        last.size,
        last.scrubbed / bound * 100.0,
        last.checked / bound * 100.0
    );
    besides.iter().for_each(print_beside);
    if postgres.is_none() && !quick {
        println!("PostgreSQL: not compared (needs the Debian package postgresql, and root)");
    }
}
