//! One model of the real code: every interleaving of the role machines, the ruling and the driver's contract, with a
//! network and a peer that do anything (F1, F4-F6, F8, F9, F13, F16). `SPEC.md` section 12 says what comes out.
//!
//! ```text
//!   stage    what can be signed      tables   production code, asked once for each question
//!   world    states and steps        laws     what must hold       runs   searches, counts, attacks       story   traces
//! ```
//! What is abstract: time is six instants; the network and the arbiter's inbox are sets that only grow; silent steps are
//! taken at once; instants on one side of the deadline are one for the arbiter. Each merges states that behave alike.

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
#[path = "model/laws.rs"]
mod laws;
#[path = "model_money/only.rs"]
mod only;
#[path = "model/runs.rs"]
mod runs;
#[path = "model/stage.rs"]
mod stage;
#[path = "model/story.rs"]
mod story;
#[path = "model/tables.rs"]
mod tables;
#[path = "model/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::time::Instant;

use arbiter_protocol::weaken::Countermeasure;
use only::OF_MONEY;
use runs::{ATTACKS, ONE, Run, TWO};
use stateright::{Checker, Expectation, HasDiscoveries, Model};
use world::Search;

/// Where a search is stopped: one that grows so far has lost an abstraction.
const TOO_MANY: usize = 12_000_000;

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
            (Expectation::Sometimes, None) => panic!("{}: never reached: {}", run.name, property.name),
            (Expectation::Always, Some(path)) => {
                let story = story::tell(checker.model(), path.clone(), property.name);
                panic!("{}: {} is broken\n{story}", run.name, property.name);
            }
            _ => {}
        }
    }
    assert!(transitions < TOO_MANY, "{}: not finished", run.name);
    let early = checker.model().exits.longest_before_the_deadline(checker.model());
    assert_eq!(early, 0, "{}: F4: before the deadline who may act need not wait", run.name);
    let same = (states, transitions, wait) == (run.states, run.transitions, run.wait);
    (!same).then(|| format!("{}: {states}, {transitions}, {wait}", run.name))
}

fn explore_all(runs: &[Run]) {
    let changed: Vec<_> = runs.iter().filter_map(explore).collect();
    assert!(
        changed.is_empty(),
        "the searches have other sizes than runs.rs and SPEC.md say:\n{}",
        changed.join("\n")
    );
}

/// S1 to S9, S18 to S20: all of these at once, in every order.
#[test]
fn one_exchange_is_fair_whatever_happens() {
    explore_all(&ONE);
}

/// F9, S10 to S12: what is said in one exchange means nothing in another.
#[test]
fn two_exchanges_are_fair_whatever_happens() {
    explore_all(&TWO);
}

/// Without a countermeasure the attack behind it is found, as a story; with it `explore` finds nothing.
#[test]
fn every_countermeasure_is_needed() {
    let tried: BTreeSet<_> = ATTACKS.iter().map(|(weakness, _, _)| *weakness).collect();
    let shown = tried.len() + OF_MONEY.len();
    assert_eq!(shown, Countermeasure::ALL.len(), "a countermeasure that no attack shows to be needed");
    assert!(OF_MONEY.iter().all(|it| !tried.contains(it)));
    let mut missed = Vec::new();
    for (weakness, name, law) in ATTACKS {
        let run = ONE.iter().chain(&TWO).find(|run| run.name == name).expect("a search of runs.rs");
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

/// A number as the specification writes it.
fn spaced(number: usize) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|it| std::str::from_utf8(it).unwrap());
    groups.collect::<Vec<_>>().join(" ")
}

/// The tables of `SPEC.md` section 12 are those of `runs.rs`, which the tests above pin.
#[test]
fn the_specification_says_what_the_model_found() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../SPEC.md");
    let spec = std::fs::read_to_string(path).expect("SPEC.md");
    let (_, section) = spec.split_once("## 12 Model").expect("section 12");
    let rows: BTreeSet<&str> = section.lines().filter(|line| line.starts_with('|')).collect();
    let has = |row: &str| assert!(rows.contains(row), "SPEC.md section 12 has no row\n{row}");
    for run in ONE.iter().chain(&TWO) {
        has(&format!(
            "| {} | {} | {} | {} |",
            run.name,
            spaced(run.states),
            spaced(run.transitions),
            run.wait
        ));
    }
    let sum = |runs: &mut dyn Iterator<Item = &Run>| spaced(runs.map(|it| it.states).sum());
    let of = |protocol: &str, escrow: bool| {
        let is_escrow = |it: &&Run| it.name.contains("escrow") || it.name.contains("mixed");
        sum(&mut ONE.iter().filter(|it| it.name.starts_with(protocol) && is_escrow(it) == escrow))
    };
    let states = [of("P1", false), of("P1", true), of("P2", false), of("P2", true), sum(&mut TWO.iter())];
    has(&format!("| states | {} |", states.join(" | ")));
    for law in laws::ALWAYS {
        has(&format!("| {law} | holds | holds | holds | holds | holds |"));
    }
    for (weakness, name, law) in ATTACKS {
        let start = format!("| {weakness:?} | ");
        let end = format!(" | {name} | {law} |");
        let found = rows.iter().any(|row| row.starts_with(&start) && row.ends_with(&end));
        assert!(found, "SPEC.md section 12 has no row {start}…{end}");
    }
    // What is said to hold is what every search asks.
    let search = Search::new(stage::Setup::one(common::Kind::P1, None));
    let asked: BTreeSet<_> = search.properties().into_iter().map(|it| it.name).collect();
    assert!(laws::ALWAYS.iter().all(|law| asked.contains(law)));
}

/// F4: an alarm that rings too early, as it does when a clock was stepped back, is set again: nothing else would wake a
/// second sender whose offer nobody answers.
#[test]
fn an_alarm_that_rings_early_is_set_again() {
    use arbiter_protocol::role::{Input, Output, Session};
    let mut set = 0;
    for kind in common::Kind::ALL {
        let search = Search::new(stage::Setup::one(kind, None));
        let template = &search.stage.templates[0];
        let offered = Session::open(template.offer.clone(), tables::TIMING);
        let escrow = template.escrowed[0].originator.as_ref();
        let now = arbiter_protocol::time::UnixMillis(stage::INSTANTS[0]);
        let accepted = Session::accept(template.agreements[0].clone(), escrow, now, tables::TIMING).unwrap();
        for step in [offered, accepted] {
            let alarms = |list: &[Output]| -> Vec<Output> {
                list.iter().filter(|it| matches!(it, Output::WakeAt(_))).cloned().collect()
            };
            let before = alarms(&step.outputs);
            let again = step.next.handle(now, Input::Wake);
            assert_eq!(again.next, step.next);
            assert_eq!(alarms(&again.outputs), before, "{kind:?} {:?}", step.next.role());
            set += before.len();
        }
    }
    assert_eq!(set, 12, "all but P1 without escrow have a deadline");
}
