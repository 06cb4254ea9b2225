//! A path through the model, told so that a person can follow it.

use stateright::{Model, Path};

use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::role::Output;

use crate::stage::INSTANT_NAMES;
use crate::tables::ItemKey;
use crate::world::{Act, Search, World};

fn name(search: &Search, person: usize) -> String {
    let name = ["Ada", "Bob"][person];
    if search.setup().honest(person) { name.to_owned() } else { format!("{name} (cheating)") }
}

fn exchange(search: &Search, exchange: usize) -> String {
    let kind = search.stage.templates[exchange].kind;
    if search.exchanges() == 1 {
        format!("{kind:?}")
    } else {
        format!("exchange {} ({kind:?})", exchange + 1)
    }
}

fn agreement(index: usize) -> &'static str {
    if index == 0 { "the first acceptance" } else { "a second acceptance" }
}

fn item(search: &Search, it: ItemKey) -> String {
    let bytes = if it.good { "" } else { ", with wrong bytes" };
    let signer = name(search, usize::from(it.signer));
    let of = exchange(search, usize::from(it.exchange));
    format!("{signer}'s item as {} in {of} under {}{bytes}", it.sender, agreement(usize::from(it.agreement)))
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
    let whole = path.into_vec();
    let start = whole[0].0.clone();
    let mut steps = whole;
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

/// One line for each step, with the state of who behaves when it changed.
pub fn tell(search: &Search, path: Path<World, Act>, law: &str) -> String {
    let steps = shorten(search, path, law);
    let mut lines = Vec::new();
    for (index, (world, act)) in steps.iter().enumerate() {
        let Some(act) = act else { continue };
        let mut line = format!("{:>3}. {}", index + 1, sentence(search, world, *act));
        let after = steps.get(index + 1).map(|(it, _)| it);
        for (e, person) in search.honest() {
            let (was, is) =
                (search.phase(world, e, person), after.and_then(|it| search.phase(it, e, person)));
            if was != is
                && let Some(phase) = is
            {
                let of = exchange(search, e);
                line += &format!("  [{} in {of}: {phase:?}]", name(search, person));
            }
        }
        lines.push(line);
    }
    lines.join("\n")
}

fn sentence(search: &Search, world: &World, act: Act) -> String {
    let who = |person| name(search, person);
    let of = |e| exchange(search, e);
    let to = |e, role| name(search, search.setup().person(e, role));
    match act {
        Act::Open(e) => format!("{} makes the offer of {}", to(e, Role::Originator), of(e)),
        Act::OfferArrives(e, passes) => {
            let escrow = if passes { "" } else { ", with an escrow that holds nothing" };
            format!("the offer of {} reaches {}{escrow}", of(e), to(e, Role::Responder))
        }
        Act::AcceptanceArrives(e, index, passes) => {
            let escrow = if passes { "" } else { ", with an escrow that holds nothing" };
            let acceptance = agreement(usize::from(index));
            format!("{acceptance} of {} reaches {}{escrow}", of(e), to(e, Role::Originator))
        }
        Act::ItemArrives(e, person, it) => {
            format!("{} reaches {} in {}", item(search, it), who(person), of(e))
        }
        Act::PeerIsBack(e, person) => format!("{} hears from the peer again in {}", who(person), of(e)),
        Act::GiveUp(e, person) => format!("{} loses patience in {}", who(person), of(e)),
        Act::Wake(e, person) => format!("{}'s alarm rings in {}", who(person), of(e)),
        Act::ForgedRefusal(e, person) => format!("a forged refusal reaches {} in {}", who(person), of(e)),
        Act::OldAnswer(from, e, person) => {
            format!(
                "the arbiter's answer in {} is brought to {}, who asks in {}",
                of(from),
                who(person),
                of(e)
            )
        }
        Act::Perform(e, person) => {
            let outputs = world.sides[e][person].outputs;
            let output = search.tables.lock().unwrap().outputs(outputs).first().cloned();
            let what = match output {
                Some(Output::SendOffer) => "sends the offer".to_owned(),
                Some(Output::SendAcceptance) => "sends the acceptance".to_owned(),
                Some(Output::SendItem) => "sends its item".to_owned(),
                Some(Output::Ask(ask)) => format!("asks the arbiter: {ask:?}"),
                other => format!("{other:?}"),
            };
            format!("{} {what} in {}", who(person), of(e))
        }
        Act::Persist(e, person) => format!("{} writes its state in {} to disk", who(person), of(e)),
        Act::Crash(person) => format!("{}'s process dies and starts again", who(person)),
        Act::File(call) => {
            let key = search.stage.calls[usize::from(call)].key;
            let verb = match key.action {
                Action::Abort => "an abort",
                Action::Resolve => "a resolution",
                Action::Deposit => "a deposit",
                Action::Fetch => "what is held",
                Action::Query => "the verdict",
                Action::Revoke => "a revocation",
            };
            let with = key.agreement.map_or("no acceptance", agreement);
            let signed = name(search, key.signer);
            let other = if key.exchange == key.filed {
                String::new()
            } else {
                format!(" beside the offer of {}", of(key.filed))
            };
            format!(
                "the arbiter takes {signed}'s request for {verb} as {} in {}{other}, with {with}",
                key.role,
                of(key.exchange)
            )
        }
        Act::FileSham => {
            "the cheater files Ada's escrow in an exchange with an accomplice; the arbiter opens it"
                .to_owned()
        }
        Act::Commit => "the arbiter commits".to_owned(),
        Act::Reply(index) => format!("the arbiter answers request {}", index + 1),
        Act::ArbiterCrash => "the arbiter's process dies and starts again".to_owned(),
        Act::Tick => {
            let next = search.setup().instants[usize::from(world.now) + 1];
            format!("time passes: {}", INSTANT_NAMES[next])
        }
    }
}
