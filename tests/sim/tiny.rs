//! Tiny worlds, to exhaustion: one exchange, no loss, and every order in which a few things can happen.
//!
//! ```text
//!  prelude ─▶ menu: each thing once, in every order, between deliveries, calls, turns and answers ─▶ finish ─▶ judge
//! ```
//! Parties perform, wake, read answers and order their ledger at once; a call is worked on until it waits for the writer or is
//! answered. What is left to choose is the order in which messages, calls and orders arrive, what the writer takes together, and the menu.

use std::collections::BTreeMap;

use crate::bank::Asked;
use crate::choices::{Choices, Odometer};
use crate::event::{Delivery, Event, Fate, Setup};
use crate::party::Cut;
use crate::world::World;

/// A tiny world.
pub struct Tiny {
    pub name: &'static str,
    pub setup: Setup,
    /// What has happened already.
    pub prelude: Vec<Event>,
    /// What happens once, at any time from then on.
    pub menu: Vec<Event>,
}

/// What all orders of a tiny world came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Explored {
    pub schedules: usize,
    pub endings: BTreeMap<String, u64>,
}

impl Tiny {
    /// Plays every order. Panics with the order that breaks something.
    pub fn explore(&self) -> Explored {
        let (mut schedules, mut endings) = (0, BTreeMap::new());
        let mut next = Some(Odometer::default());
        while let Some(path) = next {
            let mut choices = Choices::Path(path);
            let mut world = World::new(self.setup);
            self.play(&mut world, &mut choices);
            let Choices::Path(path) = choices else { unreachable!() };
            if let Some(broken) = &world.oracle.broken {
                let mut again = World::told(self.setup);
                self.play(&mut again, &mut Choices::Path(path.again()));
                panic!("{}: {broken}\n{}", self.name, again.story().join("\n"));
            }
            schedules += 1;
            for (what, count) in world.tally.0 {
                if [" first ", " second ", " gets ", " gives "].iter().any(|it| what.contains(it)) {
                    *endings.entry(what).or_default() += count;
                }
            }
            next = path.next();
        }
        Explored { schedules, endings }
    }

    fn play(&self, world: &mut World, choices: &mut Choices) {
        for event in &self.prelude {
            settle(world);
            assert!(world.is_possible(*event), "{}: {event:?} in the prelude", self.name);
            act(world, *event);
        }
        settle(world);
        let mut menu = self.menu.clone();
        while world.oracle.broken.is_none() {
            let mut enabled: Vec<_> = menu.iter().copied().filter(|it| world.is_possible(*it)).collect();
            let from_menu = enabled.len();
            enabled.extend(others(world));
            if enabled.is_empty() {
                break;
            }
            let chosen = choices.below(enabled.len());
            if chosen < from_menu {
                let at = menu.iter().position(|it| *it == enabled[chosen]);
                menu.remove(at.expect("on the menu"));
            }
            act(world, enabled[chosen]);
            settle(world);
        }
        world.finish(&[]);
    }
}

/// What can happen beside the menu.
fn others(world: &World) -> Vec<Event> {
    let [packets, calls, _] = world.on_the_way();
    let cut = Cut::None;
    let deliver = |nth| Event::Deliver { nth, delivery: Delivery::Once, cut };
    let mut list: Vec<_> = (0..packets).map(deliver).collect();
    list.extend((0..calls).map(Event::Reach));
    let orders = world.errands.iter().enumerate().filter(|(_, it)| it.asked != Asked::Look);
    list.extend(orders.map(|(nth, _)| Event::Bank { nth, delivery: Delivery::Once }));
    list.push(Event::Turn(Fate::Stored));
    list.retain(|it| world.is_possible(*it));
    list
}

/// One thing, and what surely follows in the same machine.
fn act(world: &mut World, event: Event) {
    world.happen(event);
    match event {
        Event::Kill { .. } => world.happen(Event::Boot(Fate::Stored)),
        Event::Reach(_) | Event::Turn(_) => {
            // Until it waits for the writer, or is answered.
            for _ in 0..4 {
                for nth in (0..world.court.serves()).rev() {
                    world.happen(Event::Poll(nth));
                }
            }
        }
        _ => {}
    }
}

/// Parties do at once what they have to do: perform, read answers, and wake.
fn settle(world: &mut World) {
    let cut = Cut::None;
    loop {
        let mut next = vec![Event::Letter { nth: 0, cut }];
        for party in 0..2 {
            next.push(Event::Wake { party, exchange: 0, cut });
            next.extend((0..2).map(|exchange| Event::Perform { party, exchange }));
            // Looks change nothing.
            let orders =
                |exchange| world.next_errand(party, exchange).is_some_and(|it| it.asked != Asked::Look);
            next.extend((0..2).filter(|it| orders(*it)).map(|exchange| Event::Till { party, exchange }));
        }
        let Some(event) = next.into_iter().find(|it| world.is_possible(*it)) else { return };
        world.happen(event);
    }
}
