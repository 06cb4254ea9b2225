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
#[path = "simulation/event.rs"]
mod event;
mod fuzz;
#[path = "simulation/oracle.rs"]
mod oracle;
#[path = "simulation/party.rs"]
mod party;
#[path = "simulation/rail.rs"]
mod rail;
#[path = "simulation/shrink.rs"]
mod shrink;
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

/// The targets are tried by somebody, and no folder belongs to no target.
#[test]
fn every_folder_has_a_target() {
    let client = [
        "bundle",
        "capabilities",
        "certificate",
        "charge",
        "disclosure",
        "fairx-arbiter",
        "fairx-id",
        "identity-file",
        "offer-shown",
        "pin-file",
    ];
    let client = client.into_iter().chain(["private-key", "public-key", "timestamp"]);
    let known: BTreeSet<_> = fuzz::ALL.iter().map(|it| it.0).chain(client).map(str::to_owned).collect();
    let folders = fs::read_dir(corpus()).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    assert_eq!(folders.collect::<BTreeSet<_>>(), known);
}

/// The oracles have teeth: with a countermeasure switched off, inputs of the corpus break a property.
#[cfg(feature = "weaken")]
#[test]
fn the_corpus_finds_what_is_switched_off() {
    use arbiter_protocol::weaken::{Countermeasure, within};
    let weaknesses = [
        Countermeasure::AbortOnlyAfterTheDeadline,
        Countermeasure::AnswerForThisRequest,
        Countermeasure::EscrowKeyEnds,
        Countermeasure::ExchangeInRequest,
        Countermeasure::FetchAfterAVerdict,
        Countermeasure::FetchByThePeer,
        Countermeasure::OneVerdict,
        Countermeasure::RequestBySigner,
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
        let forging = ["dispute", "receipt", "receipt-forged", "schedule"];
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
