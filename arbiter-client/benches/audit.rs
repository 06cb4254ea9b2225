//! How fast is an audit, and what does it remember? Leaves per second and core, beside plain SHA-256 of the same bytes on the
//! same core in the same run. The log lies in a folder in memory or on the disk of the machine; every leaf is hashed, compared with
//! its tile, every tile with the root, and every chain is kept.
//! And a bundle of two rulings: its bytes with three witnesses in a log of ten million leaves, and how long it is verified.
//!
//! `make bench`, or `cargo bench --profile dev -p arbiter-client --bench audit`; LEAVES=1000000 audits a longer log.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a bench may stop where it likes"
)]

#[path = "../tests/cosigned/mod.rs"]
mod cosigned;
#[path = "../tests/fixture/mod.rs"]
mod fixture;
#[path = "../tests/published/mod.rs"]
mod published;

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Instant;

use arbiter_client::audit::{Outcome, Settings, Source, run};
use arbiter_client::bundle::Bundle;
use arbiter_client::verify::{Finding, Trust, Verifier};
use arbiter_protocol::evidence::policy::Policy;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::time::UnixMillis;
use published::{Log, identity, policy};
use sha2::{Digest as _, Sha256};

/// Processor time of this process in milliseconds, all threads: fields 14 and 15 of `/proc/self/stat`, in hundredths.
fn processor_ms() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let fields: Vec<u64> = after.split(' ').skip(11).take(2).filter_map(|it| it.parse().ok()).collect();
    fields.iter().sum::<u64>() * 10
}

fn per_second(count: usize, millis: u64) -> u64 {
    u64::try_from(count).unwrap() * 1_000 / millis.max(1)
}

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let quick = std::env::args().any(|it| it == "--test") || !std::env::args().any(|it| it == "--bench");
    let leaves = std::env::var("LEAVES").ok().and_then(|it| it.parse().ok());
    let leaves = leaves.unwrap_or(if quick { 1_000 } else { 200_000 });
    let log = Log::honest(leaves, 1);
    let bytes: usize = log.leaves.iter().map(Vec::len).sum();
    let folder = tempfile::tempdir().unwrap();
    let export = folder.path().join("export");
    std::fs::create_dir(&export).unwrap();
    log.publish(&export, &[]);

    // As often as its processor time can be told from nothing: it is counted in hundredths of a second.
    let (processor, turns) = (processor_ms(), 20);
    for leaf in log.leaves.iter().cycle().take(leaves * turns) {
        black_box(Sha256::digest(black_box(leaf)));
    }
    let plain_ms = ((processor_ms() - processor) / turns as u64).max(1);

    let (arbiter, policy, state) = (identity(), policy(0), folder.path().join("state"));
    let settings = Settings {
        policy: &policy,
        arbiter: Some(&arbiter),
        state: Some(&state),
        proofs: folder.path(),
        records: None,
    };
    let source = Source::open(export.to_str().unwrap());
    let (begun, processor) = (Instant::now(), processor_ms());
    let report = run(&source, &settings, &mut |_| ControlFlow::Continue(())).unwrap();
    let wall_ms = u64::try_from(begun.elapsed().as_millis()).unwrap().max(1);
    let processor_ms = (processor_ms() - processor).max(1);
    assert_eq!(report.outcome, Outcome::Good, "{report}");

    let begun = Instant::now();
    let again = run(&source, &settings, &mut |_| ControlFlow::Continue(())).unwrap();
    let again_ms = begun.elapsed().as_millis();
    assert_eq!(again.outcome, Outcome::Good);

    let state = std::fs::metadata(&state).unwrap().len();
    let exchanges = report.counts.exchanges.max(1);
    println!("audit of {leaves} leaves ({bytes} bytes) of {exchanges} exchanges, from a folder");
    println!("  SHA-256 of the leaves alone    {:>9} leaves/s on one core", per_second(leaves, plain_ms));
    println!(
        "  audit                          {:>9} leaves/s for each core used",
        per_second(leaves, processor_ms)
    );
    println!("  audit                          {:>9} leaves/s by the clock", per_second(leaves, wall_ms));
    println!(
        "  ratio                          {:>9} % of plain SHA-256, by core",
        plain_ms * 100 / processor_ms
    );
    println!("  state                          {state:>9} bytes, {} for each exchange", state / exchanges);
    println!("  audit again, nothing new       {again_ms:>9} ms");
    bundles(if quick { 3 } else { 300 });
}

/// T10: a contract that was resolved, one ruling; a delivery that was, an attestation and a verdict.
fn bundles(rounds: usize) {
    let signature = || fixture::signature("Contract of sale");
    let contract = fixture::Deal::new(fixture::offer(signature(), signature()));
    let delivery = fixture::Deal::new(fixture::offer(fixture::file(), fixture::signature("Receipt")));
    let (resolve, at) =
        (|deal: &fixture::Deal| deal.case(Role::Originator, Action::Resolve, true), UnixMillis(9));
    let mut arbiter = fixture::Arbiter::new();
    let ruled = arbiter.rule(&resolve(&contract), at);
    bundle("one ruling", &arbiter, &contract.bundle(true, [true, false], vec![ruled]), rounds);
    let mut arbiter = fixture::Arbiter::new();
    let attested = arbiter.rule(&delivery.case(Role::Originator, Action::Deposit, true), at);
    let ruled = arbiter.rule(&resolve(&delivery), at);
    bundle("two rulings", &arbiter, &delivery.bundle(true, [true, false], vec![attested, ruled]), rounds);
}

fn bundle(what: &str, arbiter: &fixture::Arbiter, plain: &Bundle, rounds: usize) {
    let bundle = cosigned::Published::new(arbiter, 10_000_000, &[51, 52, 53]).upgraded(plain);
    let (identity, policy) = (fixture::arbiter(), Policy::parse(&cosigned::policy()).unwrap());
    let verifier = Verifier { policy: Some(&policy), ..Verifier::new(Trust::Pinned(&identity)) };
    let processor = processor_ms();
    for _ in 0..rounds {
        assert_eq!(black_box(verifier.verify(black_box(&bundle))).finding, Finding::Good);
    }
    let millis = (processor_ms() - processor) as f64 / rounds as f64;
    let (before, after) = (plain.to_json().len(), bundle.to_json().len());
    println!("bundle of {what}, three Ed25519 witnesses, ten million leaves");
    println!(
        "  size                           {after:>9} bytes, {} more than without witnesses",
        after - before
    );
    println!("  verified                       {millis:>9.2} ms of one core");
}
