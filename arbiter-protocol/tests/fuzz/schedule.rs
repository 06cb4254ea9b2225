//! Schedules of the simulation (`tests/simulation`) as bytes: first its setup, then every choice.

use std::collections::VecDeque;

use crate::choices::Choices;
use crate::event::Setup;
use crate::shrink;
use crate::world::World;

/// No schedule is longer.
const STEPS: usize = 256;

/// F1 to F8, F12 and F14 of every protocol, and the rules of the ledger: the oracle of the simulation.
pub fn schedule(bytes: &[u8]) -> bool {
    let facts = play(bytes).oracle.facts;
    facts.as_flattened().iter().filter(|it| it.ended.is_some()).count() > 1
}

/// The world at its end.
pub fn play(bytes: &[u8]) -> World {
    let mut choices = Choices::Bytes(VecDeque::from(bytes.to_vec()));
    let mut world = World::new(Setup::draw(&mut choices));
    let schedule = world.explore(&mut choices, STEPS);
    if let Some(broken) = &world.oracle.broken {
        panic!("{broken}\n{}", shrink::story(&shrink::shrink(&schedule)).join("\n"));
    }
    world
}
