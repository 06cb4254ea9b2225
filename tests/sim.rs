//! The simulator: two parties with the sessions that ship and the arbiter's engine that ships, in one thread.
//!
//! ```text
//!  seed │ bytes │ enumeration ─▶ choices ─▶ events ─▶ world ─▶ oracle (written from SPEC.md)
//!                                             ▲                  │ something does not hold
//!                                             └── shrink ◀───────┴─▶ story
//! ```
//! What fails here: the network between the peers, their processes and clocks; the arbiter's process, disk, power and
//! clock; connections; the way to the ledger; and one party cheats. Every protocol is played, with every kind of item. `make sim SEEDS=n` plays more, `make sim SEED=n` tells one.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

#[path = "../arbiter-protocol/tests/simulation/acts.rs"]
mod acts;
#[path = "sim/audit.rs"]
mod audit;
#[path = "../arbiter-protocol/tests/simulation/bank.rs"]
mod bank;
#[path = "../arbiter-protocol/tests/simulation/book.rs"]
mod book;
#[path = "../arbiter-protocol/tests/simulation/calls.rs"]
mod calls;
#[path = "../arbiter-protocol/tests/simulation/cheats.rs"]
mod cheats;
#[path = "../arbiter-protocol/tests/simulation/choices.rs"]
mod choices;
#[path = "../arbiter-protocol/tests/common/mod.rs"]
mod common;
#[path = "sim/court.rs"]
mod court;
#[path = "sim/disk.rs"]
mod disk;
#[path = "../arbiter-protocol/tests/simulation/ending.rs"]
mod ending;
#[path = "../arbiter-protocol/tests/simulation/entitled.rs"]
mod entitled;
#[path = "../arbiter-protocol/tests/simulation/event.rs"]
mod event;
#[path = "common/front.rs"]
mod front;
#[path = "../arbiter-protocol/tests/simulation/judge.rs"]
mod judge;
#[path = "../arbiter-protocol/tests/simulation/net.rs"]
mod net;
#[path = "../arbiter-protocol/tests/simulation/oracle.rs"]
mod oracle;
#[path = "../arbiter-protocol/tests/simulation/party.rs"]
mod party;
#[path = "../arbiter-protocol/tests/simulation/play.rs"]
mod play;
#[path = "../arbiter-protocol/tests/simulation/pledge.rs"]
mod pledge;
#[path = "../arbiter-protocol/tests/simulation/rail.rs"]
mod rail;
#[path = "sim/reached.rs"]
mod reached;
#[path = "../arbiter-protocol/tests/simulation/shrink.rs"]
mod shrink;
#[path = "../arbiter-protocol/tests/simulation/signed.rs"]
mod signed;
#[allow(dead_code, reason = "a part of it is for the simulation of the core alone")]
#[path = "../arbiter-protocol/tests/simulation/stage.rs"]
mod stage;
#[path = "sim/tiny.rs"]
mod tiny;
#[path = "sim/torn.rs"]
mod torn;
#[path = "../arbiter-protocol/tests/simulation/words.rs"]
mod words;
#[path = "../arbiter-protocol/tests/simulation/world.rs"]
mod world;

use std::collections::BTreeSet;

use arbiter::store::schema::Family;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::weaken::Countermeasure;

use cheats::Cheat;
use choices::{Choices, Odometer};
use common::{COMPLAIN_BY, Kind};
use disk::Plan;
use event::{Broken, Defect, Delivery, Event, Fate, Leap, Setup};
use party::{Cut, MARGIN};
use play::{check_all, explore, find};
use rail::Fault;
use reached::REACHED;
use signed::{Filed, Ordered};
use stage::PLAYED;
use tiny::Tiny;
use torn::Cuts;
use world::World;

/// F1, F4 to F8, F12 and F14 over 20,000 pinned schedules.
#[test]
fn every_schedule_ends_fair() {
    let tally = check_all(0..20_000);
    let missing: Vec<_> = REACHED.into_iter().filter(|it| !tally.0.contains_key(*it)).collect();
    assert!(missing.is_empty(), "never reached: {missing:#?}");
    // Each kind of exchange has its share.
    for kind in PLAYED {
        let played = tally.0.get(&format!("played: {kind:?}")).copied().unwrap_or_default();
        assert!(played >= 1_000, "{kind:?} was played {played} times");
    }
}

/// F3, in every protocol.
#[test]
fn honest_parties_never_call_the_arbiter() {
    for (seed, kind) in (0..).zip(PLAYED.into_iter().cycle().take(320)) {
        play::is_quiet(seed, kind);
    }
}

/// The same seed gives the same story, word by word, and so does its schedule when it is played again.
#[test]
fn the_same_seed_gives_the_same_story() {
    let mut stories = BTreeSet::new();
    for seed in 0..300 {
        let (_, schedule) = explore(seed, None);
        assert_eq!(explore(seed, None).1, schedule, "seed {seed}");
        let story = shrink::story(&schedule);
        assert_eq!(shrink::story(&schedule), story, "seed {seed}");
        stories.insert(story);
    }
    assert!(stories.len() > 290, "schedules differ");
}

/// A rule broken on purpose is found, and its story is short enough to be read. More of them are in the simulation of the
/// core.
#[test]
fn a_broken_rule_is_found_and_told() {
    for (broken, rules) in [
        // In P6 nobody is promised more than an affidavit.
        (Broken::SendsAfterAbort, &["F1", "F2"][..]),
        (Broken::SendsLate, &["F1", "F2", "F4"]),
        (Broken::TrustsPledges, &["F4"]),
        (Broken::Disk(Defect::Unsynced), &["F7"]),
        (Broken::Disk(Defect::Hoards), &["R-407"]),
        // Whichever is looked at first: what it signed, or what became of the money.
        (Broken::Rail(Fault::Deaf), &["F1", "R-423", "R-602", "R-603"]),
        (Broken::Rail(Fault::Forgets), &["F1", "R-423", "R-602", "R-603"]),
        (Broken::Rail(Fault::Unsynced), &["F1", "R-423", "R-602", "R-603"]),
        (Broken::Without(Countermeasure::RollBackBoth), &["F8"]),
    ] {
        let story = find(broken, 20_000);
        assert!(story.len() <= 35, "a story of {} lines is too long", story.len());
        let told =
            story.last().is_some_and(|it| rules.iter().any(|rule| it.contains(&format!("=>  {rule}:"))));
        assert!(told, "{broken:?}: {:?}", story.last());
    }
}

/// Schedules of bytes, as a fuzzer makes them: any bytes are a schedule.
#[test]
fn any_bytes_are_a_schedule() {
    let mut lengths = BTreeSet::new();
    for seed in 0..500 {
        let mut random = Choices::Seed(seed);
        let bytes = (0..random.below(800)).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
        let mut choices = Choices::Bytes(bytes);
        let mut world = World::new(Setup::draw(&mut choices));
        let schedule = world.explore(&mut choices, 300);
        assert_eq!(world.oracle.broken, None, "seed {seed}\n{}", shrink::story(&schedule).join("\n"));
        lengths.insert(schedule.events.len());
    }
    assert!(lengths.len() > 50, "{lengths:?}");
}

/// An odometer visits every path once.
#[test]
fn an_enumeration_visits_every_path() {
    let mut paths = BTreeSet::new();
    let mut next = Some(Odometer::default());
    while let Some(path) = next {
        let mut choices = Choices::Path(path);
        let first = choices.below(3);
        // How much there is to choose depends on what was chosen.
        let rest: Vec<_> = (0..first).map(|_| choices.below(2)).collect();
        assert!(paths.insert((first, rest)));
        let Choices::Path(path) = choices else { unreachable!() };
        next = path.next();
    }
    assert_eq!(paths.len(), 1 + 2 + 4);
}

/// Ada offers, Bob accepts, and everything is delivered that is named.
fn begin(delivered: usize) -> Vec<Event> {
    let deliver = Event::Deliver { nth: 0, delivery: Delivery::Once, cut: Cut::None };
    [vec![Event::Open { party: 0, cut: Cut::None }], vec![deliver; delivered]].concat()
}

fn give_up(party: usize) -> Event {
    Event::GiveUp { party, exchange: 0, cut: Cut::None }
}

/// A call by the cheater, with everything that belongs to it.
fn call(action: Action, agreement: Option<usize>) -> Event {
    let cheat =
        Cheat::Call { action, agreement, in_own_role: true, other_offer: false, escrows: Filed::Good };
    Event::Cheat { exchange: 0, cheat }
}

const LOSES_POWER: Event = Event::Kill { power: true };
const ENDS: Event = Event::Kill { power: false };

fn at(time: u64) -> Event {
    Event::Time(Leap::To(time))
}

/// Every order of the events around abort, resolve and deadline in small worlds. The numbers are pinned: a world that
/// shrinks or grows by accident is noticed.
#[test]
fn every_order_in_tiny_worlds_ends_fair() {
    let quiet = |kind| Setup::quiet([kind, Kind::P1]);
    let cheated = |kind, cheater| Setup { cheater: Some(cheater), ..quiet(kind) };
    let mut worlds = Vec::new();
    let mut world = |name, setup, prelude, menu, schedules| {
        worlds.push((Tiny { name, setup, prelude, menu }, schedules));
    };
    let with = |prelude: Vec<Event>, event| [prelude, vec![event]].concat();
    let (near, over) = (at(COMPLAIN_BY - MARGIN), at(COMPLAIN_BY));
    let both = || vec![give_up(0), give_up(1)];
    world("P1: abort against resolve", quiet(Kind::P1), begin(1), both(), 393);
    world(
        "P1: one gives up, the arbiter loses power",
        quiet(Kind::P1),
        begin(1),
        vec![give_up(1), LOSES_POWER],
        132,
    );
    world("P1: both resolve, the arbiter ends", quiet(Kind::P1), begin(2), with(both(), ENDS), 2839);
    let calls = vec![call(Action::Abort, None), call(Action::Resolve, Some(1))];
    world(
        "P1: the responder has two acceptances",
        cheated(Kind::P1, 1),
        with(begin(1), Event::Quit),
        calls,
        350,
    );
    let calls = vec![call(Action::Abort, None), call(Action::Resolve, Some(0))];
    world(
        "P1: the originator aborts and resolves",
        cheated(Kind::P1, 0),
        with(begin(1), Event::Quit),
        calls,
        92,
    );
    let kind = Kind::P1Escrow;
    world("P1e: one resolves, the key ends", quiet(kind), begin(2), vec![give_up(1), over], 85);
    world(
        "P1e: one resolves, the arbiter loses power",
        quiet(kind),
        begin(2),
        vec![give_up(0), LOSES_POWER],
        169,
    );
    let kind = Kind::P2OriginatorFirst;
    world("P2: the complaint, the deadline", quiet(kind), begin(2), vec![near, over], 942);
    world("P2: complaint and power", quiet(kind), begin(2), vec![give_up(0), LOSES_POWER], 169);
    let calls = vec![call(Action::Abort, Some(0)), over, give_up(0)];
    world("P2: the second sender aborts", cheated(kind, 1), with(begin(2), Event::Quit), calls, 1378);
    let kind = Kind::P2ResponderFirst;
    world("P2r: abort against complaint", quiet(kind), begin(1), vec![give_up(1), over], 2758);
    let calls = vec![call(Action::Abort, None), over];
    world("P2r: the second sender aborts", cheated(kind, 0), with(begin(1), Event::Quit), calls, 92);
    let kind = Kind::P2OriginatorFirstEscrow;
    world("P2e: the complaint, the deadline", quiet(kind), begin(2), vec![near, over], 1013);
    let kind = Kind::P1ResponderReserves;
    world("P1r: abort against resolve", quiet(kind), begin(1), both(), 997);
    let kind = Kind::P1OriginatorReserves;
    world("P1r: stopped while money is set aside", quiet(kind), begin(0), vec![give_up(0), LOSES_POWER], 390);
    let void = Cheat::Order { payer: Role::Originator, ordered: Ordered::Void };
    let calls = vec![call(Action::Resolve, Some(0)), Event::Cheat { exchange: 0, cheat: void }];
    world("P1r: the payee voids and resolves", cheated(kind, 1), with(begin(0), Event::Quit), calls, 69);
    world("T: nobody waits", quiet(Kind::TFile), begin(0), both(), 8);
    world("T: money, and nobody waits", quiet(Kind::TPayment), begin(0), both(), 15);
    let calls = vec![call(Action::Abort, Some(0)), call(Action::Revoke, Some(0)), give_up(1)];
    world("T: who gets asks the arbiter", cheated(Kind::TPackage, 0), begin(1), calls, 700);
    let (mut all, mut wrong) = (0, Vec::new());
    for (tiny, schedules) in worlds {
        let explored = tiny.explore();
        println!("{:>7}  {}", explored.schedules, tiny.name);
        for (ending, count) in &explored.endings {
            println!("{count:>9}  {ending}");
        }
        all += explored.schedules;
        wrong.extend((explored.schedules != schedules).then_some(tiny.name));
    }
    println!("{all:>7}  schedules in all");
    assert_eq!(wrong, [""; 0], "other numbers than before");
}

/// Crash-point enumeration: a start never goes on from the beginning of a commit. If a single write of it is lost, it
/// refuses, or `fsck` names it: what a start does not look at is listed here.
#[test]
fn a_commit_that_is_cut_is_refused_or_all_or_nothing() {
    let (mut prefixes, mut omissions, mut commits) = (Cuts::default(), Cuts::default(), 0);
    for seed in 0..60 {
        let mut choices = Choices::Seed(seed);
        let setup = Setup { faults: true, ..Setup::draw(&mut choices) };
        let mut world = World::new(setup);
        let plan = Plan::default();
        world.court.plan = Some(plan.clone());
        world.happen(ENDS);
        world.happen(Event::Boot(Fate::Stored));
        world.explore(&mut choices, 150);
        assert_eq!(world.oracle.broken, None);
        for (before, commit) in plan.lock().unwrap().iter().filter(|(_, it)| !it.leaves.is_empty()) {
            commits += 1;
            for cut in torn::prefixes(commit) {
                prefixes.try_start(before, commit, &cut, None);
            }
            for (family, cut) in torn::omissions(commit) {
                omissions.try_start(before, commit, &cut, Some(family));
            }
        }
    }
    let unseen: BTreeSet<_> = omissions.unseen.iter().collect();
    println!("{commits} commits. cut short: {prefixes:?}");
    println!(
        "one left out: {} refused, {} of {unseen:?} seen by fsck only",
        omissions.refused,
        omissions.unseen.len()
    );
    assert!(commits > 50 && prefixes.refused > 300 && omissions.refused > 200);
    assert_eq!((prefixes.nothing, prefixes.everything), (commits, commits), "of the empty and of the whole");
    assert_eq!(prefixes.unseen, []);
    assert_eq!(
        unseen.into_iter().copied().collect::<Vec<_>>(),
        [
            Family::ByEvent,
            Family::ByExchange,
            Family::Keys,
            Family::Nodes,
            Family::Orders,
            Family::Records,
            Family::Standing,
            Family::Unnamed
        ]
    );
}

/// `make sim SEEDS=n`: so many schedules with other seeds than those of CI. `make sim SEED=n`: the story of one.
#[test]
#[ignore = "a tool for people"]
fn simulate() {
    play::simulate(|name| std::env::var(name).ok());
}
