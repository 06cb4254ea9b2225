//! A path through the model, told so that a person can follow it.

use arbiter_protocol::role::Output;
use stateright::{Model, Path};

use crate::stage::role;
use crate::world::{Act, Search, World};

fn name(search: &Search, person: usize) -> String {
    let name = role(person).name();
    if search.setup().honest(person) { name.to_owned() } else { format!("{name} (cheating)") }
}

const fn agreement(index: usize) -> &'static str {
    if index == 0 { "the first acceptance" } else { "a second acceptance" }
}

/// Replays some steps; steps that change nothing fall out. Ends as soon as the law is broken, if it ever is.
fn replay(search: &Search, start: &World, acts: &[Act], law: &str) -> Option<Vec<(World, Option<Act>)>> {
    let holds = search.properties().into_iter().find(|it| it.name == law)?.condition;
    let (mut world, mut steps) = (start.clone(), Vec::new());
    for act in acts {
        if !holds(search, &world) {
            break;
        }
        let mut possible = Vec::new();
        search.actions(&world, &mut possible);
        let Some(next) = possible.contains(act).then(|| search.next_state(&world, *act)).flatten() else {
            continue;
        };
        steps.push((world, Some(*act)));
        world = next;
    }
    let broken = !holds(search, &world);
    steps.push((world, None));
    broken.then_some(steps)
}

/// A path to a broken law, without the steps that it does not need.
fn shorten(search: &Search, path: Path<World, Act>, law: &str) -> Vec<(World, Option<Act>)> {
    let mut steps = path.into_vec();
    let start = steps[0].0.clone();
    let mut index = 0;
    while index + 1 < steps.len() {
        let mut acts: Vec<Act> = steps.iter().filter_map(|(_, act)| *act).collect();
        acts.remove(index);
        match replay(search, &start, &acts, law) {
            Some(fewer) if fewer.len() < steps.len() => (steps, index) = (fewer, 0),
            _ => index += 1,
        }
    }
    steps
}

/// One line for each step, with the state of who behaves and of the ledger when it changed.
pub fn tell(search: &Search, path: Path<World, Act>, law: &str) -> String {
    let steps = shorten(search, path, law);
    let mut lines = Vec::new();
    for (index, (world, act)) in steps.iter().enumerate() {
        let Some(act) = act else { continue };
        let mut line = format!("{:>3}. {}", index + 1, sentence(search, world, *act));
        let Some((after, _)) = steps.get(index + 1) else { continue };
        for person in search.honest() {
            let (was, is) = (search.phase(world, person), search.phase(after, person));
            if let Some(phase) = is.filter(|_| was != is) {
                line += &format!("  [{}: {phase:?}]", name(search, person));
            }
        }
        for payer in (0..2).filter(|payer| world.ledger[*payer] != after.ledger[*payer]) {
            line += &format!("  [money of the {}: {:?}]", role(payer), after.ledger[payer]);
        }
        lines.push(line);
    }
    lines.join("\n")
}

fn sentence(search: &Search, world: &World, act: Act) -> String {
    let who = |person| name(search, person);
    match act {
        Act::Open => format!("{} makes the offer", who(0)),
        Act::OfferArrives => format!("the offer reaches {}", who(1)),
        Act::AcceptanceArrives(index) => format!("{} reaches {}", agreement(usize::from(index)), who(0)),
        Act::ItemArrives(person, it) => {
            let of = agreement(usize::from(it.agreement));
            format!("the item of the {} under {of}, {:?}, reaches {}", it.sender, it.beside, who(person))
        }
        Act::PeerIsBack(person) => format!("{} hears from the peer again", who(person)),
        Act::GiveUp(person) => format!("{} loses patience", who(person)),
        Act::Wake(person) => format!("the alarm of {} rings", who(person)),
        Act::ForgedRefusal(person) => format!("a forged refusal reaches {}", who(person)),
        Act::Look(person) => format!("{} looks at the peer's payment", who(person)),
        Act::Perform(person) => {
            let outputs = world.sides[person].outputs;
            let output = search.tables.lock().unwrap().outputs(outputs).first().cloned();
            let what = match output {
                Some(Output::SendOffer) => "sends the offer".to_owned(),
                Some(Output::SendAcceptance) => "sends the acceptance".to_owned(),
                Some(Output::SendItem) if search.stage.pays(person) => {
                    "pays, and sends the receipt".to_owned()
                }
                Some(Output::SendItem) => "sends its item".to_owned(),
                Some(Output::Ask(ask)) => format!("asks the arbiter: {ask:?}"),
                Some(Output::Release) => "releases its money".to_owned(),
                other => format!("{other:?}"),
            };
            format!("{} {what}", who(person))
        }
        Act::Crash(person) => format!("the process of {} dies and starts again", who(person)),
        Act::File(call) => {
            let key = search.stage.calls[usize::from(call)].key;
            let with = key.agreement.map_or("no acceptance", agreement);
            format!("the arbiter takes the request of {}: {:?}, with {with}", who(key.signer), key.action)
        }
        Act::Commit => "the arbiter commits".to_owned(),
        Act::Reply => "the arbiter answers".to_owned(),
        Act::ArbiterCrash => "the arbiter's process dies and starts again".to_owned(),
        Act::OrderArrives(payer) => {
            format!("the arbiter's order about the money of the {} reaches the ledger", role(payer))
        }
        Act::Order(payer, kind) => {
            format!("the cheater orders about the money of the {}: {kind:?}", role(payer))
        }
        Act::Tick => {
            let (_, name) = search.stage.instants[usize::from(world.now) + 1];
            format!("time passes: {name}")
        }
    }
}
