//! End to end over processes: the demo plays honestly, and its judge notices what was damaged.
//!
//! CI plays every run of the demo with `make demo`. That proves little if the judge says FAIR to everything; so
//! here what the parties hold is damaged before the judge looks, in every way that it should notice.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test may stop where it likes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The demo, built beside the arbiter by every `cargo test` of the workspace.
fn demo(keep: &Path, arguments: &[&str]) -> Output {
    let built = Path::new(env!("CARGO_BIN_EXE_arbiter")).parent().unwrap();
    let (demo, fairx): (PathBuf, PathBuf) = (built.join("examples/demo"), built.join("fairx"));
    assert!(demo.is_file() && fairx.is_file(), "build the whole workspace first: make build");
    Command::new(demo).args(arguments).arg("--keep").arg(keep).env("NO_COLOR", "1").output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_judge_of_the_demo_notices_damage() {
    let folder = tempfile::tempdir().unwrap();
    let run = ["--story", "delivery", "--cheat", "honest"];
    let good = demo(folder.path(), &run);
    assert!(good.status.success(), "{}", said(&good));
    assert!(said(&good).contains("1 run, all fair"), "{}", said(&good));

    for (damage, noticed) in [
        ("file", "UNFAIR: Adler & Partner holds its due and Contoso Logistics nothing"),
        ("signature", "UNFAIR: Contoso Logistics holds its due and Adler & Partner nothing"),
        ("bundle", "the bundle adler.fxe is missing"),
        ("statement", "the bundle adler.fxe does not verify"),
        ("call", "the arbiter was called in an honest run: GetArbiterInfo 1"),
    ] {
        let bad = demo(folder.path(), &[&run, ["--sabotage", damage].as_slice()].concat());
        assert_eq!(bad.status.code(), Some(1), "{damage}: {}", said(&bad));
        assert!(said(&bad).contains(noticed), "{damage}: {}", said(&bad));
    }
}

#[test]
fn a_contract_ends_fair_although_the_arbiter_is_killed_during_the_ruling() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let output = demo(folder.path(), &["--story", "contract", "--cheat", "arbiter-killed"]);
        assert!(output.status.success(), "round {round}: {}", said(&output));
        assert!(said(&output).contains("KILLED (SIGKILL)"), "{}", said(&output));
        assert!(said(&output).contains("out of reach"), "{}", said(&output));
    }
}
