//! What must hold, written from `SPEC.md` sections 6 and 10 and sharing no code with the machines.
//!
//! *Fair* is asked of every state in which a party has ended. *Timely* is asked of every state: from here, with the
//! peer and its network gone for ever, the party and the arbiter alone come to an end, and the end is fair.

use std::collections::HashMap;
use std::sync::Mutex;

use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::verdict::Ruling;
use arbiter_protocol::role::{Ask, Outcome, Phase};
use arbiter_protocol::ruling::sequencer::{ContentId, Reply};
use arbiter_protocol::weaken::within;
use stateright::Property;

use crate::common::{COMPLAIN_BY, Kind, content_of};
use crate::stage::CallKey;
use crate::world::{ACCEPTANCE, Act, ITEM, OFFER, Received, Search, Side, World, bit};

/// A verdict is one for ever.
pub const F5: u8 = 1;
/// The same request gets the same answer.
pub const F6: u8 = 2;
/// Only who is entitled causes a verdict.
pub const F8: u8 = 4;
/// Nobody's word is invented.
pub const F13: u8 = 8;
/// What is held is given to whom it is for, after a verdict that replaces.
pub const F16: u8 = 16;

pub const FAIR: &str = "F1 fair";
pub const TIMELY: &str = "F4 timely";
pub const ONE_VERDICT: &str = "F5 one verdict";
pub const SAME_ANSWER: &str = "F6 same answer";
pub const ENTITLED: &str = "F8 entitled";
pub const BOUND: &str = "F9 bound";
pub const NOT_FRAMED: &str = "F13 not framed";
pub const RELEASED: &str = "F16 released to whom it is for";
/// The safety properties, in the order of the table in `SPEC.md`.
pub const ALWAYS: [&str; 8] = [FAIR, TIMELY, ONE_VERDICT, SAME_ANSWER, ENTITLED, BOUND, NOT_FRAMED, RELEASED];
pub const DECIDES: &str = "K5 the cheater can show that it decides";
pub const SILENT: &str = "F3 both complete and the arbiter knows nothing";

const ENDINGS: [(&str, Role, Outcome); 6] = [
    ("the originator completes", Role::Originator, Outcome::Completed),
    ("the originator aborts", Role::Originator, Outcome::Aborted),
    ("the originator resolves", Role::Originator, Outcome::Resolved),
    ("the responder completes", Role::Responder, Outcome::Completed),
    ("the responder aborts", Role::Responder, Outcome::Aborted),
    ("the responder resolves", Role::Responder, Outcome::Resolved),
];

pub fn properties(search: &Search) -> Vec<Property<Search>> {
    let mut list = vec![
        Property::always(FAIR, |search: &Search, world: &World| {
            search.honest().all(|(e, person)| is_fair(search, world, e, person))
        }),
        Property::always(TIMELY, |search: &Search, world: &World| {
            search.honest().all(|(e, person)| search.exits.from(search, world, e, person).is_some())
        }),
        Property::always(ONE_VERDICT, |_, world: &World| world.broken & F5 == 0),
        Property::always(SAME_ANSWER, |_, world: &World| world.broken & F6 == 0),
        Property::always(ENTITLED, |_, world: &World| world.broken & F8 == 0),
        Property::always(BOUND, |search: &Search, world: &World| {
            search.honest().all(|(e, person)| world.sides[e][person].received != Received::Foreign)
        }),
        Property::always(NOT_FRAMED, |search: &Search, world: &World| {
            let sent = |e: usize, person: usize| world.sides[e][person].left & ITEM != 0;
            let got = |e: usize, person: usize| world.sides[e][person].received != Received::Nothing;
            let invented =
                |(e, person)| search.setup().honest(1 - person) && got(e, person) && !sent(e, 1 - person);
            world.broken & F13 == 0 && !search.honest().any(invented)
        }),
        Property::always(RELEASED, |_, world: &World| world.broken & F16 == 0),
    ];
    for (name, role, outcome) in ENDINGS {
        if !search.setup().honest(search.setup().person(0, role)) {
            continue;
        }
        let reached = match (role, outcome) {
            (Role::Originator, Outcome::Completed) => ended::<0, 0>,
            (Role::Originator, Outcome::Aborted) => ended::<0, 1>,
            (Role::Originator, Outcome::Resolved) => ended::<0, 2>,
            (Role::Responder, Outcome::Completed) => ended::<1, 0>,
            (Role::Responder, Outcome::Aborted) => ended::<1, 1>,
            (Role::Responder, Outcome::Resolved) => ended::<1, 2>,
            (_, Outcome::Abandoned) => unreachable!("nobody gives for nothing in this world"),
            (_, Outcome::Affidavit) => unreachable!("P6 is not in this world"),
        };
        list.push(Property::sometimes(name, reached));
    }
    if search.setup().cheater.is_some() {
        if can_decide(search) {
            list.push(Property::sometimes(DECIDES, decides));
        } else {
            list.push(Property::always(DECIDES, |search, world| !decides(search, world)));
        }
    } else {
        list.push(Property::sometimes(SILENT, |search: &Search, world: &World| {
            let done = |(e, person)| search.phase(world, e, person) == Some(Phase::Done(Outcome::Completed));
            world.durable == 0
                && world.sides.iter().flatten().all(|it| it.asked == 0)
                && search.honest().all(done)
        }));
    }
    list
}

/// Whether a person ended so in the first exchange; `ROLE` 0 is the originator, `OUTCOME` 0 completed, 1 aborted.
fn ended<const ROLE: usize, const OUTCOME: usize>(search: &Search, world: &World) -> bool {
    let person = search.setup().person(0, Role::BOTH[ROLE]);
    let outcome = [Outcome::Completed, Outcome::Aborted, Outcome::Resolved][OUTCOME];
    search.phase(world, 0, person) == Some(Phase::Done(outcome))
}

/// What a verdict says, in short: whose items it replaces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Aborted,
    Replaced { originator: bool, responder: bool },
}

impl Said {
    fn of(ruling: &Ruling) -> Self {
        let Ruling::Replaced(list) = ruling else { return Self::Aborted };
        let has = |role| list.iter().any(|it| it.role == role);
        Self::Replaced { originator: has(Role::Originator), responder: has(Role::Responder) }
    }

    fn replaces(self, role: Role) -> bool {
        match self {
            Self::Aborted => false,
            Self::Replaced { originator, responder } => {
                [responder, originator][usize::from(role == Role::Originator)]
            }
        }
    }
}

fn ruling(search: &Search, verdict: u16) -> Option<Said> {
    let tables = search.tables.lock().unwrap();
    (verdict != 0).then(|| Said::of(&tables.verdict(verdict).statement.ruling))
}

fn durable_ruling(search: &Search, world: &World, exchange: usize) -> Option<Said> {
    let verdict = search.tables.lock().unwrap().ruled(world.durable, &search.stage, exchange);
    ruling(search, verdict)
}

/// F1 for a party that has ended: if the peer has its item, by any way, it has the peer's.
pub fn is_fair(search: &Search, world: &World, exchange: usize, person: usize) -> bool {
    let side = &world.sides[exchange][person];
    let Some(Phase::Done(outcome)) = search.phase(world, exchange, person) else { return true };
    let role = search.setup().role(exchange, person);
    let kind = search.stage.templates[exchange].kind;
    let rulings = [durable_ruling(search, world, exchange), ruling(search, world.shown[exchange])];
    let replaced = |role| rulings.iter().flatten().any(|it| it.replaces(role));
    let deposited = !kind.is_p1() && role == kind.first() && replaced(role.peer());
    let gave = side.left & ITEM != 0 || side.leaked || deposited || replaced(role);
    let is_content = kind.is_detached(role.peer()) || (!kind.is_p1() && role.peer() == kind.first());
    let has = match outcome {
        Outcome::Completed => side.received == Received::Own,
        Outcome::Resolved if is_content => side.fetched,
        Outcome::Resolved => replaced(role.peer()),
        Outcome::Abandoned | Outcome::Aborted | Outcome::Affidavit => false,
    };
    let token =
        !matches!(outcome, Outcome::Aborted | Outcome::Affidavit) || rulings.contains(&Some(Said::Aborted));
    // What ended as completed or resolved without an item is no end at all, whatever was given.
    token && (has || (!gave && outcome == Outcome::Aborted))
}

/// F5, F8, F13: a batch is about to become durable.
pub fn committed(search: &Search, world: &mut World, next: u16, batch: &[(u16, u8)]) {
    for exchange in 0..search.exchanges() {
        let mut tables = search.tables.lock().unwrap();
        let [was, is] = [world.durable, next].map(|it| tables.ruled(it, &search.stage, exchange));
        let [old, new] = [world.durable, next].map(|it| tables.deposit(it, &search.stage, exchange));
        if (was != 0 && was != is) || (old.is_some() && old != new) {
            world.broken |= F5;
        }
        if was != 0 || is == 0 {
            continue;
        }
        let deposit = new.map(|(it, _, _)| (it.depositor, Some(it.agreement_id)));
        let verdict = tables.verdict(is).statement.clone();
        drop(tables);
        let cause = batch.iter().map(|(call, _)| &search.stage.calls[usize::from(*call)]);
        let cause = cause.into_iter().find(|it| it.case.request().digest() == verdict.request);
        let key = cause.expect("F8: a verdict without a cause").key;
        let deposited = deposit == Some((key.role, verdict.agreement_id));
        if !is_entitled(search, exchange, &key, verdict.time.0 < COMPLAIN_BY, deposited) {
            world.broken |= F8;
        }
        let signed = |role: Role| {
            let person = search.setup().person(exchange, role);
            let side = &world.sides[exchange][person];
            let left = side.left & (OFFER | ACCEPTANCE) != 0;
            let own = search.agreement(world, exchange, person).is_none_or(|index| {
                let own = search.stage.templates[exchange].agreements[index].id();
                role == Role::Originator || verdict.agreement_id == Some(own)
            });
            !search.setup().honest(person) || (left && own)
        };
        let asked = |side: &Side| side.asked & bit(key.action, key.agreement) != 0;
        let speaker = search.setup().person(exchange, verdict.requested_by);
        let said = !search.setup().honest(speaker) || asked(&world.sides[exchange][speaker]);
        let replaced = |role: &Role| Said::of(&verdict.ruling).replaces(*role);
        if !said || !Role::BOTH.iter().filter(|role| replaced(role)).all(|role| signed(*role)) {
            world.broken |= F13;
        }
    }
}

/// F8: the verdict table of section 6, read as "who may have caused this".
fn is_entitled(search: &Search, exchange: usize, key: &CallKey, in_time: bool, deposited: bool) -> bool {
    let kind = search.stage.templates[exchange].kind;
    let role = search.setup().role(exchange, key.signer);
    let escrow = Kind::ESCROW.contains(&kind);
    let holds_role = role == key.role && key.exchange == exchange && key.filed == exchange;
    holds_role
        && match (kind.is_p1(), key.action) {
            (true, Action::Abort) => role == Role::Originator || (escrow && !in_time),
            (true, Action::Resolve) => key.agreement.is_some() && (in_time || !escrow),
            (false, Action::Abort) => role == kind.first() || !in_time,
            (false, Action::Resolve) => role == kind.first() && in_time && deposited,
            (_, Action::Deposit | Action::Fetch | Action::Query | Action::Revoke) => false,
        }
}

/// Whether what is released is for who asked.
pub fn entitled_to(search: &Search, key: &CallKey, reply: Reply) -> bool {
    let (kind, peer) = (search.stage.templates[key.filed].kind, key.role.peer());
    let held = if kind.is_detached(peer) { content_of(peer) } else { ContentId(7) };
    let has_content = kind.is_detached(peer) || (!kind.is_p1() && peer == kind.first());
    has_content && reply == Reply::Content(held)
}

/// F5, F6, F16: an answer leaves the arbiter.
pub fn shown(search: &Search, world: &mut World, key: &CallKey, reply: Reply, durable: u16) {
    let exchange = key.filed;
    match reply {
        Reply::Attestation(_) => {}
        Reply::Content(_) => {
            let after = matches!(durable_ruling(search, world, exchange), Some(Said::Replaced { .. }));
            if !after || !entitled_to(search, key, reply) {
                world.broken |= F16;
            }
        }
        Reply::Verdict => {
            let mut tables = search.tables.lock().unwrap();
            let (was, is) = (world.shown[exchange], tables.ruled(durable, &search.stage, exchange));
            if was != 0 && was != is {
                let same = tables.verdict(was).statement == tables.verdict(is).statement;
                world.broken |= if same { F6 } else { F5 };
            }
            world.shown[exchange] = is;
        }
    }
}

type Place = (Side, u16, u16, u8, u8, usize, usize);

/// F4. How many instants a party must wait from a state on until it has ended, if it can.
#[derive(Default)]
pub struct Exits(Mutex<HashMap<Place, Option<u8>>>);

impl Exits {
    pub fn from(&self, search: &Search, world: &World, exchange: usize, person: usize) -> Option<u8> {
        let side = world.sides[exchange][person];
        if side.session == 0 && side.left == 0 {
            return Some(0); // It never took part, or its peer never heard of it.
        }
        let shown = world.shown[exchange];
        let key = (side, world.durable, shown, world.now, world.skews[person], exchange, person);
        if let Some(known) = self.0.lock().unwrap().get(&key) {
            return *known;
        }
        let exit = within(search.setup().weakness, || exit(search, world.clone(), exchange, person));
        self.0.lock().unwrap().insert(key, exit);
        exit
    }

    /// The longest wait of all states seen.
    pub fn longest(&self) -> u8 {
        self.0.lock().unwrap().values().copied().flatten().max().unwrap_or(0)
    }

    /// The longest wait before the deadline of who need not wait for it: of all but the second sender of P2.
    pub fn longest_before_the_deadline(&self, search: &Search) -> u8 {
        let known = self.0.lock().unwrap();
        let free = known.iter().filter(|((_, _, _, now, _, e, person), _)| {
            let kind = search.stage.templates[*e].kind;
            let may_act = kind.is_p1() || search.setup().role(*e, *person) == kind.first();
            may_act && search.time(*now) < COMPLAIN_BY
        });
        free.filter_map(|(_, wait)| *wait).max().unwrap_or(0)
    }
}

/// The peer is gone; the arbiter has restarted and loses nothing any more; patience is over.
fn exit(search: &Search, mut world: World, e: usize, person: usize) -> Option<u8> {
    let started = world.now;
    (world.batch, world.replies) = ([None; 2], [None; 2]);
    for _ in 0..120 {
        if search.apply(&mut world, Act::Perform(e, person)).is_some() {
            continue;
        }
        let Some(phase) = search.phase(&world, e, person) else { return Some(0) };
        if let Phase::Done(_) = phase {
            return is_fair(search, &world, e, person).then_some(world.now - started);
        }
        let before = world.clone();
        if let Phase::Asking(ask) = phase {
            let actions: &[Action] = match ask {
                Ask::Abort => &[Action::Abort],
                Ask::Deposit | Ask::Revoke => unreachable!("no money is in this world"),
                Ask::Complain => &[Action::Deposit, Action::Resolve],
                Ask::Fetch => &[Action::Fetch],
                Ask::Resolve => &[Action::Resolve],
            };
            for action in actions {
                ask_arbiter(search, &mut world, e, person, *action);
            }
        }
        if world != before {
            continue;
        }
        let due = world.sides[e][person].alarms & ((2 << world.now) - 1) != 0;
        if due && search.apply(&mut world, Act::Wake(e, person)).is_some() && world != before {
            let progress = world.sides[e][person].session != before.sides[e][person].session;
            if progress {
                continue;
            }
        }
        let _ = search.apply(&mut world, Act::GiveUp(e, person));
        // Asked and refused: the refusal is an input.
        if matches!(phase, Phase::Asking(_)) {
            let _ = search.apply(&mut world, Act::ForgedRefusal(e, person));
        }
        while search.apply(&mut world, Act::Perform(e, person)).is_some() {}
        if world.sides[e][person].session == before.sides[e][person].session {
            let last = usize::from(world.now) + 1 >= search.setup().instants.len();
            let blocked = search.time(world.now) < COMPLAIN_BY
                && !last
                && search.time(world.now + 1) >= COMPLAIN_BY
                && search.owes_claim(&world, e, person);
            if last || blocked {
                return None;
            }
            world.now += 1;
        }
    }
    None
}

fn ask_arbiter(search: &Search, world: &mut World, e: usize, person: usize, action: Action) {
    let Some(call) = search.own_call(world, e, person, action) else { return };
    if !search.can_file(world, &search.stage.calls[usize::from(call)].key) {
        return;
    }
    let _ = search.apply(world, Act::File(call));
    if world.batch[0].is_some() {
        let _ = search.apply(world, Act::Commit);
        let _ = search.apply(world, Act::Reply(0));
    }
}

/// Whether section 12 says that this cheater can decide alone: everybody but the second sender of P2.
fn can_decide(search: &Search) -> bool {
    let cheater = search.setup().cheater.unwrap_or_default();
    (0..search.exchanges()).any(|e| {
        let kind = search.stage.templates[e].kind;
        kind.is_p1() || search.setup().role(e, cheater) == kind.first()
    })
}

/// K5: the cheater holds the other's signed commitment and can now bring about either end, whatever the other does.
fn decides(search: &Search, world: &World) -> bool {
    let Some(cheater) = search.setup().cheater else { return false };
    (0..search.exchanges()).any(|e| {
        let side = &world.sides[e][1 - cheater];
        if side.left & (OFFER | ACCEPTANCE) == 0 || durable_ruling(search, world, e).is_some() {
            return false;
        }
        let could = |wanted: fn(Said) -> bool| {
            search.stage.cheats.iter().any(|index| {
                let call = &search.stage.calls[usize::from(*index)];
                let next = (call.key.filed == e && search.can_file(world, &call.key)).then(|| {
                    within(search.setup().weakness, || {
                        search.plan(world.durable, &[(*index, search.arbiters_instant(world))]).next
                    })
                });
                let after = next.map(|durable| World { durable, ..world.clone() });
                after.and_then(|it| durable_ruling(search, &it, e)).is_some_and(wanted)
            })
        };
        let open = search.setup().role(e, cheater) == Role::Responder
            && search.agreement(world, e, 1 - cheater).is_none();
        could(|it| it != Said::Aborted) && (open || could(|it| it == Said::Aborted))
    })
}
