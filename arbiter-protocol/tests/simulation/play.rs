//! Plays seeds, and says what does not hold by the shortest story of it.

use std::ops::Range;

use arbiter_protocol::role::Outcome;

use crate::choices::Choices;
use crate::common::Kind;
use crate::event::{Broken, Delivery, Event, Schedule, Setup};
use crate::party::Cut;
use crate::shrink;
use crate::stage::PLAYED;
use crate::world::{Tally, World};

/// The schedule of a seed, played.
pub fn explore(seed: u64, broken: Option<Broken>) -> (World, Schedule) {
    explore_among(seed, broken, &PLAYED)
}

/// The same, of some kinds of exchange only.
fn explore_among(seed: u64, broken: Option<Broken>, kinds: &[Kind]) -> (World, Schedule) {
    let mut choices = Choices::Seed(seed);
    let setup = Setup { broken, ..Setup::draw(&mut choices) };
    let setup = match kinds.len() < PLAYED.len() {
        true => Setup { kinds: [choices.pick(kinds), choices.pick(kinds)], ..setup },
        false => setup,
    };
    let steps = 40 + choices.below(160);
    let mut world = World::new(setup);
    let schedule = world.explore(&mut choices, steps);
    (world, schedule)
}

/// Plays a seed; if something does not hold, tells the shortest story of it.
fn check(seed: u64, kinds: &[Kind]) -> World {
    let (world, schedule) = explore_among(seed, None, kinds);
    if let Some(broken) = &world.oracle.broken {
        let short = shrink::shrink(&schedule);
        panic!("seed {seed}: {broken}\n{:?}\n{}", short.setup, shrink::story(&short).join("\n"));
    }
    world
}

/// Plays many, and says what they reached.
pub fn check_all(seeds: Range<u64>) -> Tally {
    check_all_among(seeds, &PLAYED)
}

fn check_all_among(seeds: Range<u64>, kinds: &[Kind]) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        for (what, count) in check(seed, kinds).tally.0 {
            *tally.0.entry(what).or_default() += count;
        }
    }
    for (what, count) in &tally.0 {
        println!("{count:>9}  {what}");
    }
    tally
}

/// SEEDS=n: so many schedules with other seeds than those of CI. SEED=n: the story of one. KINDS=Package: only of those kinds.
pub fn simulate(setting: impl Fn(&str) -> Option<String>) {
    let number = |name| setting(name).and_then(|it| it.parse::<u64>().ok());
    let named = setting("KINDS").unwrap_or_default();
    let kinds: Vec<_> = PLAYED.into_iter().filter(|it| format!("{it:?}").contains(&named)).collect();
    let Some(seed) = number("SEED") else {
        let seeds = number("SEEDS").unwrap_or(100_000);
        check_all_among(1_000_000..1_000_000 + seeds, &kinds);
        return;
    };
    let (_, schedule) = explore_among(seed, None, &kinds);
    println!("{:?}\n{}", schedule.setup, shrink::story(&schedule).join("\n"));
    check(seed, &kinds);
}

/// A world without one of its rules is found out, by the shortest story of it; with the rule it is fair.
pub fn find(broken: Broken, seeds: u64) -> Vec<String> {
    find_among(broken, &PLAYED, seeds)
}

/// The same, in exchanges of some kinds.
pub fn find_among(broken: Broken, kinds: &[Kind], seeds: u64) -> Vec<String> {
    let found = (0..seeds).find_map(|seed| {
        let (world, schedule) = explore_among(seed, Some(broken), kinds);
        world.oracle.broken.is_some().then_some((seed, schedule))
    });
    let (seed, schedule) = found.unwrap_or_else(|| panic!("{broken:?} is not found"));
    let short = shrink::shrink(&schedule);
    let story = shrink::story(&short);
    println!("{broken:?}, seed {seed}, {} events:\n{}\n", schedule.events.len(), story.join("\n"));
    let repaired = Schedule { setup: Setup { broken: None, ..short.setup }, ..short };
    assert_eq!(shrink::failure(&repaired), None, "it is the broken rule that breaks it");
    story
}

/// F3: two who behave and a network that loses nothing: both complete, each item crosses once, and nobody calls the arbiter;
/// but P4 waits for the holds, and in P5 both call.
pub fn is_quiet(seed: u64, kind: Kind) {
    let mut choices = Choices::Seed(seed);
    let mut world = World::new(Setup::quiet([kind; 2]));
    for _ in 0..5_000 {
        let (party, exchange, cut) = (choices.below(2), choices.below(2), Cut::None);
        let event = match choices.below(5) {
            0 => Event::Open { party, cut },
            1 => Event::Deliver { nth: 0, delivery: Delivery::Once, cut },
            2 => Event::Till { party, exchange },
            3 => Event::Bank { nth: 0, delivery: Delivery::Once },
            _ => Event::Perform { party, exchange },
        };
        if world.is_possible(event) {
            world.happen(event);
        }
    }
    assert_eq!(world.oracle.broken, None, "seed {seed} {kind:?}");
    let ended = world.oracle.facts.as_flattened().iter().map(|it| it.ended);
    match kind {
        Kind::P4 => assert_eq!((world.calls_made, world.items_sent), (0, 4), "F3: seed {seed}"),
        _ if kind.is_p5() => assert!(world.calls_made > 0 && world.items_sent == 0, "seed {seed}"),
        _ => {
            let items = if kind.is_one_way() { 2 } else { 4 };
            assert!(ended.eq([Some(Outcome::Completed); 4]), "F3: seed {seed} {kind:?}");
            assert_eq!((world.calls_made, world.items_sent), (0, items), "F3: seed {seed} {kind:?}");
        }
    }
}
