//! The second model of the real code: money, and the protocols that came with it (P1 and P2 with
//! reserved money, P2 with a payment, P3 to P6). Every interleaving of the role machines, the ruling, the driver's contract
//! and a ledger, with a network and a peer that do anything (F1, F2, F4-F6, F8, F9, F13, F16). `SPEC.md` section 12 says what comes out.
//!
//! ```text
//!   stage    what can be signed      tables   production code, asked once for each question
//!   world    states and steps        laws     what must hold       runs   searches, counts, attacks       story   traces
//! ```
//! What is abstract: time is six to nine instants around send_by, complain_by and the end of the holds; the network and
//! the arbiter's inbox are sets that only grow; silent steps are taken at once; instants between two deadlines are one for
//! the arbiter; any part of an amount is as good as one unit. Each merges states that behave alike.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]
#![allow(
    clippy::disallowed_types,
    reason = "tables in which something is looked up, and nothing depends on their order"
)]

mod common;
#[path = "model_money/laws.rs"]
mod laws;
#[path = "model_money/only.rs"]
mod only;
#[path = "model_money/pairs.rs"]
mod pairs;
#[path = "model_money/runs.rs"]
mod runs;
#[path = "model_money/stage.rs"]
mod stage;
#[path = "model_money/story.rs"]
mod story;
#[path = "model_money/tables.rs"]
mod tables;
#[path = "model_money/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::time::Instant;

use arbiter_protocol::weaken::within;
use runs::{ATTACKS, RUNS, Run};
use stateright::{Checker, Expectation, HasDiscoveries, Model};
use world::Search;

/// Where a search is stopped: one that grows so far has lost an abstraction.
const TOO_MANY: usize = 20_000_000;

/// Searches everything. Returns what differs from what is pinned.
#[expect(clippy::disallowed_methods, reason = "printed for SPEC.md, compared with nothing")]
fn explore(run: &Run) -> Option<String> {
    let started = Instant::now();
    let checker = Search::new((run.setup)())
        .checker()
        .threads(1)
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(TOO_MANY)
        .spawn_bfs()
        .join();
    let (states, transitions) = (checker.unique_state_count(), checker.state_count());
    let wait = checker.model().exits.longest();
    let seconds = started.elapsed().as_secs_f64();
    println!("| {} | {states} | {transitions} | {wait} | {seconds:.1} s", run.name);
    let found = checker.discoveries();
    for property in checker.model().properties() {
        match (property.expectation, found.get(property.name)) {
            (Expectation::Always, Some(path)) => {
                let story = story::tell(checker.model(), path.clone(), property.name);
                panic!("{}: {} is broken\n{story}", run.name, property.name);
            }
            (Expectation::Sometimes, None) => panic!("{}: never reached: {}", run.name, property.name),
            _ => {}
        }
    }
    assert!(transitions < TOO_MANY, "{}: not finished", run.name);
    let early = checker.model().exits.longest_of_who_may_act(checker.model());
    assert_eq!(early, 0, "{}: F4: in time, who may act need not wait", run.name);
    let same = (states, transitions, wait) == (run.states, run.transitions, run.wait);
    (!same).then(|| format!("{}: {states}, {transitions}, {wait}", run.name))
}

fn explore_all(protocol: &str) {
    let changed: Vec<_> =
        RUNS.iter().filter(|run| run.name.starts_with(protocol)).filter_map(explore).collect();
    assert!(
        changed.is_empty(),
        "the searches have other sizes than runs.rs and SPEC.md say:\n{}",
        changed.join("\n")
    );
}

/// R-315, R-423: money is set aside before anything is said, and posted or voided as the verdict says.
#[test]
fn a_contract_for_reserved_money_is_fair_whatever_happens() {
    explore_all("P1");
}

#[test]
fn an_exchange_with_a_payment_first_is_fair_whatever_happens() {
    explore_all("P2 payment");
}

/// R-428: the same in P2, where the second sender reserves.
#[test]
fn a_delivery_for_reserved_money_is_fair_whatever_happens() {
    explore_all("P2 O reserves");
    explore_all("P2 R reserves");
}

#[test]
fn an_exchange_that_can_be_revoked_is_fair_whatever_happens() {
    explore_all("P3");
}

#[test]
fn an_exchange_that_can_be_rolled_back_is_fair_whatever_happens() {
    explore_all("P4");
}

#[test]
fn an_exchange_through_the_arbiter_is_fair_whatever_happens() {
    explore_all("P5");
}

#[test]
fn an_exchange_with_an_affidavit_is_weakly_fair_whatever_happens() {
    explore_all("P6");
}

/// Without a countermeasure the attack behind it is found, as a story; with it `explore` finds nothing.
#[test]
fn every_countermeasure_for_money_is_needed() {
    let tried: BTreeSet<_> = ATTACKS.iter().map(|(weakness, _, _)| *weakness).collect();
    let shown = |it| tried.contains(it) || pairs::NEEDED.contains(it);
    assert!(only::OF_MONEY.iter().all(shown), "one that no attack shows to be needed");
    let mut missed = Vec::new();
    for (weakness, name, law) in ATTACKS {
        let run = RUNS.iter().find(|run| run.name == name).expect("a search of runs.rs");
        let checker = Search::new((run.setup)().without(Some(weakness)))
            .checker()
            .threads(1)
            .finish_when(HasDiscoveries::AllOf(BTreeSet::from([law])))
            .target_state_count(TOO_MANY)
            .spawn_bfs()
            .join();
        match checker.discovery(law) {
            Some(path) => {
                let story = story::tell(checker.model(), path, law);
                let states = checker.unique_state_count();
                println!("\nwithout {weakness:?}: {law} is broken in {name} after {states} states\n{story}");
            }
            None => missed.push(format!("{weakness:?} in {name}: {law}")),
        }
    }
    assert!(missed.is_empty(), "no attack found:\n{}", missed.join("\n"));
}

/// F9, S10 to S13, K2, K3, K8, K9: every kind of exchange beside another of its kind and of the next, roles as they are and swapped.
#[test]
fn what_is_said_in_one_exchange_means_nothing_in_another() {
    let next = pairs::kinds().cycle().skip(1);
    for (kind, next) in pairs::kinds().zip(next) {
        for (other, swapped) in [(kind, false), (kind, true), (next, false), (next, true)] {
            let taken = pairs::taken(kind, other, swapped);
            assert!(taken.is_empty(), "{kind:?}, then {other:?}, swapped {swapped}:\n{}", taken.join("\n"));
        }
    }
}

/// Without what keeps two exchanges apart, something of one is taken in the other.
#[test]
fn every_countermeasure_against_another_exchange_is_needed() {
    for weakness in pairs::NEEDED {
        let taken = |kind| within(Some(weakness), || pairs::taken(kind, kind, false));
        let found = pairs::kinds().map(|kind| (kind, taken(kind))).find(|(_, taken)| !taken.is_empty());
        let (kind, taken) = found.unwrap_or_else(|| panic!("no attack found: {weakness:?}"));
        println!("\nwithout {weakness:?}, of one exchange ({kind:?}) in another:\n  {}", taken.join("\n  "));
    }
}

/// A number as the specification writes it.
fn spaced(number: usize) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|it| std::str::from_utf8(it).unwrap());
    groups.collect::<Vec<_>>().join(" ")
}

/// The tables of `SPEC.md` section 12 are those of `runs.rs`, which the tests above pin.
#[test]
fn the_specification_says_what_the_model_of_money_found() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../SPEC.md");
    let spec = std::fs::read_to_string(path).expect("SPEC.md");
    let (_, section) = spec.split_once("## 12 Model").expect("section 12");
    let rows: BTreeSet<&str> = section.lines().filter(|line| line.starts_with('|')).collect();
    let has = |row: &str| assert!(rows.contains(row), "SPEC.md section 12 has no row\n{row}");
    for run in &RUNS {
        let (states, transitions) = (spaced(run.states), spaced(run.transitions));
        has(&format!("| {} | {states} | {transitions} | {} |", run.name, run.wait));
    }
    let of = |protocol: &str| {
        let runs = RUNS.iter().filter(|run| run.name.starts_with(protocol));
        spaced(runs.map(|run| run.states).sum())
    };
    has(&format!("| states | {} |", ["P1", "P2", "P3", "P4", "P5", "P6"].map(of).join(" | ")));
    for law in laws::ALWAYS {
        let of_p6 = if law == laws::FAIR { "second sender" } else { "holds" };
        has(&format!("| {law} | holds | holds | holds | holds | holds | {of_p6} |"));
    }
    for (weakness, name, law) in ATTACKS {
        let (start, end) = (format!("| {weakness:?} | "), format!(" | {name} | {law} |"));
        let found = rows.iter().any(|row| row.starts_with(&start) && row.ends_with(&end));
        assert!(found, "SPEC.md section 12 has no row {start}…{end}");
    }
    for weakness in pairs::NEEDED {
        let start = format!("| {weakness:?} | ");
        assert!(rows.iter().any(|row| row.starts_with(&start)), "SPEC.md section 12 has no row {start}…");
    }
    // What is said to hold is what every search asks.
    let search = Search::new((RUNS[0].setup)());
    let asked: BTreeSet<_> = search.properties().into_iter().map(|it| it.name).collect();
    assert!(laws::ALWAYS.iter().all(|law| asked.contains(law)));
}
