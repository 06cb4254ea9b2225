//! Every input that fuzzing kept is tried again: `fuzz/corpus`, one folder for each target. A corpus that is missing, or
//! in which nothing gets all the way, tests nothing and fails. `fuzz/README.md` says how to look for more.

#![cfg(feature = "wire")]
#![allow(
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    reason = "a test may fail by panicking, and uses a part of the simulation"
)]

#[path = "simulation/acts.rs"]
mod acts;
#[path = "simulation/bank.rs"]
mod bank;
#[path = "simulation/book.rs"]
mod book;
#[path = "simulation/calls.rs"]
mod calls;
#[path = "simulation/cheats.rs"]
mod cheats;
#[path = "simulation/choices.rs"]
mod choices;
mod common;
#[path = "simulation/court.rs"]
mod court;
#[path = "simulation/ending.rs"]
mod ending;
#[path = "simulation/entitled.rs"]
mod entitled;
#[path = "simulation/event.rs"]
mod event;
mod fuzz;
#[path = "simulation/judge.rs"]
mod judge;
#[path = "simulation/net.rs"]
mod net;
#[path = "simulation/oracle.rs"]
mod oracle;
#[path = "simulation/party.rs"]
mod party;
#[path = "simulation/pledge.rs"]
mod pledge;
#[path = "simulation/rail.rs"]
mod rail;
#[path = "simulation/shrink.rs"]
mod shrink;
#[path = "simulation/signed.rs"]
mod signed;
#[path = "simulation/stage.rs"]
mod stage;
#[path = "simulation/words.rs"]
mod words;
#[path = "simulation/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fuzz/corpus")
}

#[test]
fn every_kept_input_is_harmless() {
    let mut problems = Vec::new();
    for (name, target) in fuzz::ALL {
        let folder = corpus().join(name);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let files: BTreeSet<_> = files.map(|it| it.unwrap().path()).collect();
        let mut accepted = 0;
        for file in &files {
            let bytes = fs::read(file).unwrap();
            match catch_unwind(AssertUnwindSafe(|| target(&bytes))) {
                Ok(all_the_way) => accepted += usize::from(all_the_way),
                Err(_) => problems.push(file.display().to_string()),
            }
        }
        println!("{name}: {} inputs, {accepted} accepted", files.len());
        if accepted == 0 || accepted == files.len() {
            problems.push(format!("{name}: {accepted} of {} inputs are accepted", files.len()));
        }
    }
    assert!(
        problems.is_empty(),
        "inputs that break something, and targets whose corpus tests nothing:\n{}",
        problems.join("\n")
    );
}

/// Schedules of bytes play every kind of exchange, and get far in those that came last.
#[test]
fn the_kept_schedules_play_every_kind() {
    let mut reached = BTreeSet::new();
    for file in fs::read_dir(corpus().join("schedule")).unwrap() {
        let world = fuzz::schedule::play(&fs::read(file.unwrap().path()).unwrap());
        reached.extend(world.tally.0.into_keys());
    }
    let played = stage::PLAYED.map(|kind| format!("played: {kind:?}"));
    let wanted = [
        "P1 reserved first Resolved by first (R-404), fetched",
        "P1 reserved cheat rejected: RESERVATION_STATE_MISMATCH",
        "P2 reserved first Resolved by first (R-406)",
        "P2 reserved cheat rejected: RESERVATION_OF_OTHER_PAYMENT",
        "cheat: acceptance without the money that is owed",
        "P1 package first Resolved by first (R-404)",
        "P2 package cheat: an item that does not fit sent",
        "P3 package second Completed",
        "P5 package first Resolved by second (R-421), fetched",
        "T gets Completed",
        "T money gives Completed",
        "T package cheat refused: RESOLVE_NOT_ALLOWED",
    ];
    let all = wanted.into_iter().map(str::to_owned).chain(played);
    let missing: Vec<_> = all.filter(|it| !reached.contains(it)).collect();
    assert!(missing.is_empty(), "no kept schedule reaches {missing:#?}");
}

/// What `fuzz/README.md` says in a table: the first two columns of its rows.
fn table(heading: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(corpus().with_file_name("README.md")).unwrap();
    let (_, after) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = after.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let rows = rows.map(|(first, rest)| (first.replace('`', ""), rest.trim_end_matches(" |").to_owned()));
    rows.filter(|(first, _)| !first.starts_with("---")).skip(1).collect()
}

fn folders() -> BTreeSet<String> {
    fs::read_dir(corpus()).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect()
}

/// Every target is described, and has a corpus; no corpus is of no target.
#[test]
fn every_folder_has_a_target() {
    let rows = table("Targets");
    let described: BTreeSet<_> =
        rows.iter().flat_map(|(names, _)| names.split(", ")).map(str::to_owned).collect();
    assert_eq!(folders(), described);
    let ours: BTreeSet<_> = fuzz::ALL.iter().map(|it| it.0.to_owned()).collect();
    let client = fs::read_to_string(corpus().join("../../arbiter-client/tests/fuzz/mod.rs")).unwrap();
    let without = described.difference(&ours).filter(|name| !client.contains(&format!("(\"{name}\", ")));
    assert_eq!(without.collect::<Vec<_>>(), Vec::<&String>::new(), "described, and no target");
    assert!(ours.is_subset(&described));
}

/// A file that decodes something names its targets in `fuzz/README.md`, or says why there is none.
#[test]
fn every_decoder_has_a_target() {
    let rows = table("Decoders");
    let folders = folders();
    for (place, targets) in &rows {
        let (names, why) = targets.split_once([':', ';']).unwrap_or((targets, ""));
        let good =
            if names == "none" { !why.is_empty() } else { names.split(", ").all(|it| folders.contains(it)) };
        assert!(good, "{place}: {targets}");
        assert!(corpus().join("../..").join(place).exists(), "{place} is gone");
    }
    let root = corpus().parent().unwrap().parent().unwrap().to_owned();
    let mut missing = Vec::new();
    let mut open: Vec<_> =
        ["arbiter-protocol/src", "arbiter-client/src", "src"].map(|it| root.join(it)).into();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|it| it.unwrap().path()));
            continue;
        }
        let place = path.strip_prefix(&root).unwrap().display().to_string();
        let listed = rows.iter().any(|(it, _)| place == *it || place.starts_with(&format!("{it}/")));
        let helps = ["/gen/", "/tests/", "/testing/"].iter().any(|it| place.contains(it));
        if !listed && !helps && place.ends_with(".rs") && decodes(&fs::read_to_string(&path).unwrap()) {
            missing.push(place);
        }
    }
    assert!(missing.is_empty(), "decoders that fuzz/README.md does not list: {missing:?}");
}

/// Whether a source defines a function that is named as our decoders are.
fn decodes(source: &str) -> bool {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    let names = ["decode", "from_bytes", "from_pem", "from_str", "from_wire", "parse"];
    let functions = source.split("fn ").skip(1).filter_map(|it| it.split(['(', '<']).next());
    functions
        .into_iter()
        .any(|it| names.iter().any(|name| it == *name || it.starts_with(&format!("{name}_"))))
}

/// The oracles have teeth: with a countermeasure switched off, inputs of the corpus break a property.
#[cfg(feature = "weaken")]
#[test]
fn the_corpus_finds_what_is_switched_off() {
    use arbiter_protocol::weaken::{Countermeasure, within};
    let weaknesses = [
        Countermeasure::AbortOnlyAfterTheDeadline,
        Countermeasure::AffidavitAtTheDeadline,
        Countermeasure::AnswerForThisRequest,
        Countermeasure::BothBeforeGivingOut,
        Countermeasure::DepositBeforeComplaint,
        Countermeasure::DepositBlocksAbort,
        Countermeasure::DepositBlocksRevocation,
        Countermeasure::EscrowKeyEnds,
        Countermeasure::EveryDepositCounts,
        Countermeasure::ExchangeInRequest,
        Countermeasure::FetchAfterAVerdict,
        Countermeasure::FetchByThePeer,
        Countermeasure::OneVerdict,
        Countermeasure::RequestBySigner,
        Countermeasure::RevokeOnlyAfterSendBy,
        Countermeasure::RollBackBoth,
        Countermeasure::RollBackInTime,
    ];
    let _ = stage::stage(); // Prepared with everything switched on.
    let missed: Vec<_> =
        weaknesses.into_iter().filter(|it| !finds(|input| within(Some(*it), input))).collect();
    assert!(missed.is_empty(), "nothing in the corpus finds {missed:?}");
    assert!(!finds(|input| within(None, input)), "with everything switched on nothing is found");
}

/// Whether an input of a dispute, a receipt, a lie or a schedule breaks a property.
#[cfg(feature = "weaken")]
fn finds(run: impl Fn(&mut dyn FnMut()) + Sync) -> bool {
    // In a thread of its own: what was admitted under one weakness is not kept for the next.
    let search = || {
        let forging = ["dispute", "dispute-forged", "receipt", "receipt-forged", "schedule"];
        fuzz::ALL.iter().filter(|(name, _)| forging.contains(name)).any(|(name, target)| {
            let mut files: Vec<_> =
                fs::read_dir(corpus().join(name)).unwrap().map(|it| it.unwrap().path()).collect();
            files.sort();
            files.iter().any(|file| {
                let bytes = fs::read(file).unwrap();
                catch_unwind(AssertUnwindSafe(|| {
                    run(&mut || {
                        target(&bytes);
                    })
                }))
                .is_err()
            })
        })
    };
    std::thread::scope(|scope| scope.spawn(search).join().unwrap())
}
