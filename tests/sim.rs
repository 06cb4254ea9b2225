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
#[path = "../arbiter-protocol/tests/simulation/event.rs"]
mod event;
#[path = "common/front.rs"]
mod front;
#[path = "../arbiter-protocol/tests/simulation/oracle.rs"]
mod oracle;
#[path = "../arbiter-protocol/tests/simulation/party.rs"]
mod party;
#[path = "../arbiter-protocol/tests/simulation/play.rs"]
mod play;
#[path = "../arbiter-protocol/tests/simulation/rail.rs"]
mod rail;
#[path = "../arbiter-protocol/tests/simulation/shrink.rs"]
mod shrink;
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
use arbiter_protocol::message::request::Action;
use arbiter_protocol::weaken::Countermeasure;

use choices::{Choices, Odometer};
use common::{COMPLAIN_BY, Kind};
use disk::Plan;
use event::{Broken, Cheat, Defect, Delivery, Event, Fate, Leap, Setup};
use party::{Cut, MARGIN};
use play::{check, check_all, explore, find};
use rail::Fault;
use stage::{Filed, PLAYED};
use tiny::Tiny;
use torn::Cuts;
use world::World;

/// The endings and troubles that a suite without teeth would miss. Each must be reached.
const REACHED: [&str; 159] = [
    "P1 first Aborted by first (R-403)",
    "P1 first Completed",
    "P1 first Resolved by first (R-404)",
    "P1 first Resolved by second (R-404)",
    "P1 second Aborted by first (R-403)",
    "P1 second Completed",
    "P1 second Resolved by first (R-404)",
    "P1 second Resolved by second (R-404)",
    "P1e first Aborted by first (R-403)",
    "P1e first Aborted by second (R-403)",
    "P1e first Completed",
    "P1e first Resolved by first (R-404)",
    "P1e first Resolved by first (R-404), fetched",
    "P1e first Resolved by second (R-404)",
    "P1e first Resolved by second (R-404), fetched",
    "P1e second Aborted by first (R-403)",
    "P1e second Aborted by second (R-403)",
    "P1e second Completed",
    "P1e second Resolved by first (R-404), fetched",
    "P1e second Resolved by second (R-404), fetched",
    "P2 first Aborted by first (R-405)",
    "P2 first Aborted by second (R-405)",
    "P2 first Completed",
    "P2 first Resolved by first (R-406)",
    "P2 money first Aborted by first (R-405)",
    "P2 money first Aborted by second (R-405)",
    "P2 money first Completed",
    "P2 money first Resolved by first (R-406)",
    "P2 money first Resolved by first (R-406), fetched",
    "P2 money second Aborted by first (R-405)",
    "P2 money second Aborted by second (R-405)",
    "P2 money second Completed",
    "P2 money second Resolved by first (R-406), fetched",
    "P2 second Aborted by first (R-405)",
    "P2 second Aborted by second (R-405)",
    "P2 second Completed",
    "P2 second Resolved by first (R-406), fetched",
    "P2e first Aborted by first (R-405)",
    "P2e first Aborted by second (R-405)",
    "P2e first Completed",
    "P2e first Resolved by first (R-406), fetched",
    "P2e second Aborted by first (R-405)",
    "P2e second Aborted by second (R-405)",
    "P2e second Completed",
    "P2e second Resolved by first (R-406), fetched",
    "P3 first Aborted by first (R-413)",
    "P3 first Aborted by first (R-417)",
    "P3 first Aborted by second (R-414)",
    "P3 first Completed",
    "P3 first Resolved by first (R-416), fetched",
    "P3 money first Aborted by first (R-413)",
    "P3 money first Aborted by first (R-417)",
    "P3 money first Aborted by second (R-414)",
    "P3 money first Completed",
    "P3 money second Aborted by first (R-413)",
    "P3 money second Aborted by first (R-417)",
    "P3 money second Aborted by second (R-414)",
    "P3 money second Completed",
    "P3 second Aborted by first (R-413)",
    "P3 second Aborted by first (R-417)",
    "P3 second Aborted by second (R-414)",
    "P3 second Completed",
    "P4 first Aborted by first (R-418)",
    "P4 first Aborted by first (R-422)",
    "P4 first Aborted by second (R-418)",
    "P4 first Aborted by second (R-422)",
    "P4 first Completed",
    "P4 second Aborted by first (R-418)",
    "P4 second Aborted by first (R-422)",
    "P4 second Aborted by second (R-418)",
    "P4 second Aborted by second (R-422)",
    "P4 second Completed",
    "P5 first Aborted by first (R-419)",
    "P5 first Aborted by second (R-419)",
    "P5 first Resolved by first (R-421), fetched",
    "P5 first Resolved by second (R-421), fetched",
    "P5 second Aborted by first (R-419)",
    "P5 second Aborted by second (R-419)",
    "P5 second Resolved by first (R-421), fetched",
    "P5 second Resolved by second (R-421), fetched",
    "P6 first Aborted by first (R-427)",
    "P6 first Aborted by second (R-427)",
    "P6 first Affidavit by first (R-426)",
    "P6 first Affidavit by second (R-426)",
    "P6 first Completed",
    "P6 first Resolved by first (R-426), fetched",
    "P6 second Aborted by first (R-427)",
    "P6 second Aborted by second (R-427)",
    "P6 second Affidavit by first (R-426)",
    "P6 second Completed",
    "a commit failed: Lost",
    "a commit failed: Unheard",
    "a connection broke",
    "a party started again",
    "a request was decided in its time",
    "a start failed",
    "an item not sent: too late to complain",
    "cheat refused: ABORT_NOT_ALLOWED",
    "cheat refused: ABORT_TOO_EARLY",
    "cheat refused: ACCEPTANCE_MISMATCH",
    "cheat refused: ACCEPTANCE_REQUIRED",
    "cheat refused: AFFIDAVIT_TOO_EARLY",
    "cheat refused: ALREADY_RULED",
    "cheat refused: COMPLAINT_TOO_LATE",
    "cheat refused: DEPOSIT_NOT_ALLOWED",
    "cheat refused: DEPOSIT_NOT_RELEASED",
    "cheat refused: DEPOSIT_REQUIRED",
    "cheat refused: DEPOSIT_TOO_LATE",
    "cheat refused: ESCROW_KEY_RETIRED",
    "cheat refused: ESCROW_REQUIRED",
    "cheat refused: ESCROW_UNOPENABLE",
    "cheat refused: RESOLVE_NOT_ALLOWED",
    "cheat refused: REVOKE_NOT_ALLOWED",
    "cheat refused: REVOKE_TOO_EARLY",
    "cheat refused: VERDICT_NOT_FOUND",
    "cheat rejected: ESCROW_OF_SOMETHING_ELSE",
    "cheat rejected: NOT_A_PARTY",
    "cheat rejected: OTHER_EXCHANGE",
    "cheat: a second acceptance sent",
    "cheat: acceptance with a false escrow",
    "cheat: an acceptance sent",
    "cheat: forged refusal",
    "cheat: its offer sent",
    "cheat: offer with a false escrow",
    "claims in the last minute",
    "complaint given up",
    "crash inside a step",
    "ended, and still owes its payment",
    "ended, and the ledger refuses the payment",
    "gave up: the ledger refuses the payment",
    "honest refused: ABORT_TOO_EARLY",
    "honest refused: AFFIDAVIT_TOO_EARLY",
    "honest refused: COMPLAINT_TOO_LATE",
    "honest refused: DEPOSIT_REQUIRED",
    "honest refused: DEPOSIT_TOO_LATE",
    "honest refused: ESCROW_KEY_RETIRED",
    "late completion while asking Abort",
    "late completion while asking Complain",
    "late completion while asking Fetch",
    "late completion while asking Resolve",
    "late completion while asking Revoke",
    "not paid: too late",
    "nothing to deposit: nothing was paid",
    "saw that it was posted",
    "saw that it went back",
    "the arbiter lost power",
    "the arbiter's process ended",
    "the ledger did Make",
    "the ledger did PostAll",
    "the ledger did Void",
    "the ledger refused: HOLD_OVER",
    "the ledger refused: INSUFFICIENT_FUNDS",
    "the ledger refused: PAYMENT_ABSENT",
    "the ledger refused: PAYMENT_POSTED",
    "the ledger refused: PAYMENT_VOIDED",
    "trouble: a stored entry cannot be read or a key is damaged; the operator has been told",
    "verdicts delivered",
    "verdicts on a second acceptance",
    "verdicts replayed to another request",
];

/// F1, F4 to F8, F12 and F14 over 20,000 pinned schedules.
#[test]
fn every_schedule_ends_fair() {
    let tally = check_all(0..20_000);
    for what in REACHED {
        assert!(tally.0.contains_key(what), "never reached: {what}");
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
        (Broken::TrustsEscrows, &["F4"]),
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
    let number = |name| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    let Some(seed) = number("SEED") else {
        let seeds = number("SEEDS").unwrap_or(100_000);
        check_all(1_000_000..1_000_000 + seeds);
        return;
    };
    let (_, schedule) = explore(seed, None);
    println!("{:?}\n{}", schedule.setup, shrink::story(&schedule).join("\n"));
    check(seed);
}
