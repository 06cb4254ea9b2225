//! What one more leaf costs, and whether it costs more when there are many already.
//!
//! Questions, for logs of growing size, each row in one run on one machine: appended leaves a second for 1 and 256 callers, each of
//! whom waits until its leaf is durable, with the side journal; how long an inclusion proof takes; how long a start takes; how
//! many leaves a second `fsck` and the scrub hash again. Beside it what this machine can do at all: one fsync after another, and
//! a PostgreSQL table of rows with as many bytes, one committed insert a row, default durability, as many clients.
//!
//! The bound of one caller is one fsync a leaf (store and journal sync at the same time); of many it is the cores: a batch
//! shares its fsync. `LOG_SIZES=1000,100000` chooses the sizes, the default ends at a million leaves.

#![allow(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark may fail"
)]
#![allow(missing_docs, reason = "a program")]

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arbiter::clock::SystemClock;
use arbiter::engine::{Engine, Handle};
use arbiter::fsck;
use arbiter::keys::{Keys, Seeds};
use arbiter::store::Store;
use arbiter::store::journal::Journaled;
use arbiter::store::rocks::RocksStore;
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::ids::Digest;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::ruling::sequencer::Desk;
use arbiter_protocol::time::DurationMillis;
use zeroize::Zeroizing;

/// Callers at the same time: one, and as many as the design's target names.
const CALLERS: [usize; 2] = [1, 256];
/// Bytes of a leaf, roughly, with its node and index entries.
const ROW_BYTES: usize = 600;

fn keys() -> Keys {
    let seed = |byte| Zeroizing::new([byte; 32]);
    Keys::from_seeds(&Seeds { arbiter: seed(1), log: seed(2), veil: seed(3) })
}

fn arbiter() -> ArbiterIdentity {
    keys().identity(Origin::parse("bench.example/log").unwrap())
}

fn open(folder: &Path) -> (Handle, Arc<dyn Store>) {
    let (keys, arbiter) = (keys(), arbiter());
    let store = RocksStore::open_unswept(&folder.join("data"), &arbiter, keys.vault()).unwrap();
    let store: Arc<dyn Store> = Arc::new(Journaled::open(store, &folder.join("journal"), &arbiter).unwrap());
    let clock_uncertainty = DurationMillis(500);
    let desk = Desk { arbiter, build: Digest::of(&[b"bench"]), clock_uncertainty };
    let engine = Engine::start(desk, keys, Arc::clone(&store), Box::new(SystemClock)).unwrap();
    (engine, store)
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
    appended: [f64; 2],
    proof: [Duration; 2],
    open: Duration,
    hashed: f64,
    bytes: f64,
}

/// One size: fills up to it, then measures.
fn measure(folder: &Path, size: u64, some: u64) -> Row {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (engine, store) = open(folder);
    runtime.block_on(append(&engine, size, 1024));
    let appended = CALLERS.map(|callers| {
        let more = if callers == 1 { some / 10 } else { some };
        runtime.block_on(append(&engine, engine.log_size() + more.max(2), callers))
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
    let proof = [times[times.len() / 2], times[times.len() * 99 / 100]];
    runtime.block_on(engine.stop());
    drop((engine, store));

    let started = Instant::now();
    let (engine, store) = reopened(folder);
    let open = started.elapsed();
    runtime.block_on(engine.stop());
    let started = Instant::now();
    let report = fsck::check(&*store, &arbiter(), None, &mut |_| {});
    assert!(report.fault.is_none(), "{:?}", report.fault);
    let hashed = now as f64 / started.elapsed().as_secs_f64();
    drop((engine, store));
    let bytes = folder_bytes(&folder.join("data")) as f64 / now as f64;
    Row { size, appended, proof, open, hashed, bytes }
}

/// The writer's thread lets go of the store a moment after it has ended.
fn reopened(folder: &Path) -> (Handle, Arc<dyn Store>) {
    std::thread::sleep(Duration::from_millis(200));
    open(folder)
}

fn folder_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| entry.metadata().map_or(0, |about| about.len())).sum()
}

/// One fsync after another of as many bytes.
fn fsyncs(folder: &Path, rounds: u32) -> f64 {
    let mut file = std::fs::File::create(folder.join("fsync")).unwrap();
    let started = Instant::now();
    for _ in 0..rounds {
        file.write_all(&[9; ROW_BYTES]).unwrap();
        file.sync_data().unwrap();
    }
    f64::from(rounds) / started.elapsed().as_secs_f64()
}

/// Committed inserts a second into a PostgreSQL of its own, for each number of clients; `None` if it is not installed.
fn postgres(seconds: u32) -> Option<[f64; 2]> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let bin: PathBuf = versions.filter_map(Result::ok).map(|it| it.path().join("bin")).max()?;
    // Its user can read no folder of ours.
    let folder = tempfile::Builder::new().prefix("log-bench").tempdir().ok()?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).ok()?;
    let home = folder.path().join("postgres");
    std::fs::create_dir(&home).ok()?;
    let data = home.join("data").display().to_string();
    // It refuses to run as root.
    let run = |program: &str, arguments: &[&str]| {
        let program = bin.join(program);
        let output = Command::new("runuser")
            .args(["-u", "postgres", "--"])
            .arg(program)
            .args(arguments)
            .current_dir(&home)
            .output()
            .ok()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(said)
    };
    Command::new("chown").arg("postgres").arg(&home).status().ok()?;
    let sockets = home.display().to_string();
    run("initdb", &["-D", &data, "-A", "trust"])?;
    let options = format!("-k {sockets} -c listen_addresses= -c max_connections=300");
    run("pg_ctl", &["-D", &data, "-w", "-o", &options, "-l", "log", "start"])?;
    let table = "create table leaf (id bigserial primary key, bytes bytea not null)";
    let made = run("psql", &["-h", &sockets, "-c", table]);
    let script = home.join("insert.sql").display().to_string();
    let insert = format!("insert into leaf (bytes) values (decode(repeat('ab', {ROW_BYTES}), 'hex'));\n");
    let measured = made.and_then(|_| {
        std::fs::write(&script, insert).ok()?;
        let (mut rates, seconds) = ([0.0; 2], seconds.to_string());
        for (rate, clients) in rates.iter_mut().zip(CALLERS) {
            let clients = clients.to_string();
            let bench = ["-h", &sockets, "-n", "-T", &seconds, "-c", &clients, "-j", "2", "-f", &script];
            let said = run("pgbench", &[&bench[..], &["postgres"]].concat())?;
            let tps = said.lines().find_map(|line| line.strip_prefix("tps = "))?;
            *rate = tps.split(' ').next()?.parse().ok()?;
        }
        Some(rates)
    });
    run("pg_ctl", &["-D", &data, "-m", "fast", "stop"]);
    measured
}

fn main() {
    // `cargo test` runs benches too, without arguments that say so: then a short log shows that it works.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let asked = std::env::var("LOG_SIZES").ok();
    let default = if quick { "300" } else { "1000,10000,100000,1000000" };
    let sizes: Vec<u64> =
        asked.as_deref().unwrap_or(default).split(',').map(|size| size.trim().parse().unwrap()).collect();
    let some = if quick { 50 } else { 20_000 };
    let folder =
        tempfile::Builder::new().prefix("log-bench").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let fsync = fsyncs(folder.path(), if quick { 20 } else { 1000 });
    let log = folder.path().join("log");
    std::fs::create_dir(&log).unwrap();
    let rows: Vec<_> = sizes.iter().map(|size| measure(&log, *size, some)).collect();
    let postgres = if quick { None } else { postgres(5) };

    println!("evidence log: leaves a second, each durable in store and journal before its caller goes on");
    println!(
        "\n    leaves   1 caller  256 callers   proof p50    p99     start   fsck, leaves/s   bytes/leaf"
    );
    for Row { size, appended: [one, many], proof: [p50, p99], open, hashed, bytes } in &rows {
        println!(
            "{size:>10} {one:>10.0} {many:>12.0} {:>8.0} us {:>4.0} us {:>6.2} s {hashed:>16.0} {bytes:>12.0}",
            p50.as_secs_f64() * 1e6,
            p99.as_secs_f64() * 1e6,
            open.as_secs_f64(),
        );
    }
    let (first, last) = (&rows[0], &rows[rows.len() - 1]);
    let flat = last.appended[1] / first.appended[1] * 100.0;
    println!(
        "\nbound of 1 caller: one fsync a leaf, {fsync:.0}/s here: {:.0} % of it",
        last.appended[0] / fsync * 100.0
    );
    println!("with {} leaves 256 callers get {flat:.0} % of what they get with {}", last.size, first.size);
    match postgres {
        Some([one, many]) => println!(
            "PostgreSQL, a row of {ROW_BYTES} bytes, one committed insert each: {one:.0}/s with 1 client, {many:.0}/s with 256 \
             (no Merkle tree, no proof): ours is {:.1} and {:.1} times that",
            last.appended[0] / one,
            last.appended[1] / many
        ),
        None => println!("PostgreSQL: not compared (needs the Debian package postgresql, and root)"),
    }
}
