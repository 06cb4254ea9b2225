//! Cuts a failing schedule down to what it needs to fail in the same way, and tells it.

use crate::event::{Schedule, Setup};
use crate::world::World;

/// The rule that a message names: what comes before the colon.
pub fn rule(message: &str) -> &str {
    message.split(':').next().unwrap_or_default()
}

/// What does not hold in a schedule.
pub fn failure(schedule: &Schedule) -> Option<String> {
    World::new(schedule.setup).play(schedule)
}

/// How long the story of a schedule is, if it breaks `rule`.
fn length(schedule: &Schedule, rule: &str) -> Option<usize> {
    let mut world = World::told(schedule.setup);
    let broken = world.play(schedule)?;
    (self::rule(&broken) == rule).then(|| once(world.story()).len())
}

/// The shortest story found that breaks the same rule.
pub fn shrink(schedule: &Schedule) -> Schedule {
    let broken = failure(schedule).expect("a failing schedule fails when it is played again");
    let rule = rule(&broken).to_owned();
    let mut best = schedule.clone();
    // First as few events as can be, then as few lines.
    for most in [usize::MAX, 0] {
        loop {
            let before = best.clone();
            let most = if most == 0 { length(&best, &rule).unwrap_or_default() } else { most };
            let fails = |it: &Schedule| length(it, &rule).is_some_and(|now| now <= most);
            calm_down(&mut best, &fails);
            cut(&mut best, |it| &mut it.events, &fails);
            cut(&mut best, |it| &mut it.late, &fails);
            simplify(&mut best, &fails);
            if best == before {
                break;
            }
        }
    }
    best
}

/// Without trouble that is not needed.
fn calm_down(best: &mut Schedule, fails: &dyn Fn(&Schedule) -> bool) {
    let changes: [fn(&mut Setup); 5] = [
        |it| it.cheater = None,
        |it| it.skews = [0, 0],
        |it| it.fully = false,
        |it| it.kinds[0] = crate::common::Kind::P1,
        |it| it.kinds[1] = crate::common::Kind::P1,
    ];
    for change in changes {
        let mut calmer = best.clone();
        change(&mut calmer.setup);
        if fails(&calmer) {
            *best = calmer;
        }
    }
}

/// Leaves out runs of events, long ones first.
fn cut<T: Clone>(
    best: &mut Schedule,
    list: impl Fn(&mut Schedule) -> &mut Vec<T>,
    fails: &dyn Fn(&Schedule) -> bool,
) {
    let mut length = list(best).len().next_power_of_two();
    while length > 0 {
        let mut at = 0;
        while at < list(best).len() {
            let mut shorter = best.clone();
            let events = list(&mut shorter);
            let end = (at + length).min(events.len());
            events.drain(at..end);
            if fails(&shorter) {
                *best = shorter;
            } else {
                at += length;
            }
        }
        length /= 2;
    }
}

fn simplify(best: &mut Schedule, fails: &dyn Fn(&Schedule) -> bool) {
    for at in 0..best.events.len() {
        for event in best.events[at].simpler() {
            let mut simpler = best.clone();
            simpler.events[at] = event;
            if fails(&simpler) {
                *best = simpler;
                break;
            }
        }
    }
}

/// What is repeated right away, later or not, is told once.
fn once(story: &[String]) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    let said = |line: &str| line.split_once(" s  ").map(|(_, what)| what.to_owned());
    for line in story {
        if !told.iter().rev().take(3).any(|before| said(before) == said(line)) {
            told.push(line.clone());
        }
    }
    told
}

/// What happens in a schedule, in words, and what does not hold in the end.
pub fn story(schedule: &Schedule) -> Vec<String> {
    let mut world = World::told(schedule.setup);
    let broken = world.play(schedule);
    let mut story = once(world.story());
    story.extend(broken.map(|it| format!("{:>11}  {it}", "=>")));
    story
}
