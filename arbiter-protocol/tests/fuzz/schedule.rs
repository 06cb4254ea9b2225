//! Schedules of the simulation (`tests/simulation`) as bytes: first its rules, then every choice.

use crate::common::{Chooser, Kind};
use crate::world::{Rules, World};

/// F1, F3 to F8: the oracle of the simulation panics if one does not hold.
pub fn schedule(bytes: &[u8]) -> bool {
    let mut chooser = Chooser::of(bytes);
    let rules = Rules {
        kinds: [chooser.pick(&Kind::ALL), chooser.pick(&Kind::ALL)],
        cheater: chooser.pick(&[None, Some(0), Some(1)]),
        loss: chooser.one_in(2),
        crashes: chooser.one_in(2),
        outages: chooser.one_in(2),
        impatience: chooser.one_in(2),
        steps: 1 + chooser.below(256),
        receipts: chooser.below(16) == 1,
    };
    let mut world = World::new(chooser, rules);
    world.run();
    let facts = world.oracle.facts.as_flattened();
    facts.iter().filter(|it| it.ended.is_some()).count() > 1
}
