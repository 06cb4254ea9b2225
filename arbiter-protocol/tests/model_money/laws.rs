//! What must hold, written from `SPEC.md` sections 6 and 10 and sharing no code with the machines.
//!
//! *Fair* is asked of every state in which a party has ended. *Timely* is asked of every state: from here, with the
//! peer and its network gone for ever, the party, the arbiter and the ledger alone come to an end, and the end is fair.
//! Money is *had* when nothing that anybody may still do takes it away, and *given* when somebody may still take it.

use std::collections::HashMap;
use std::sync::Mutex;

use arbiter_protocol::exchange::selection::{Protocol, Role};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::verdict::{Ruling, Verdict};
use arbiter_protocol::role::{Ask, Outcome, Phase};
use arbiter_protocol::ruling::sequencer::Reply;
use arbiter_protocol::weaken::within;
use stateright::Property;

use crate::common::money::Stand;
use crate::common::{COMPLAIN_BY, content_of};
use crate::stage::{CallKey, Ordered, person, role};
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
pub const WEAKLY_FAIR: &str = "F2 weakly fair";
pub const TIMELY: &str = "F4 timely";
pub const ONE_VERDICT: &str = "F5 one verdict";
pub const SAME_ANSWER: &str = "F6 same answer";
pub const ENTITLED: &str = "F8 entitled";
pub const BOUND: &str = "F9 bound";
pub const NOT_FRAMED: &str = "F13 not framed";
pub const RELEASED: &str = "F16 released to whom it is for";
/// The safety properties, in the order of the table in `SPEC.md`.
pub const ALWAYS: [&str; 9] =
    [FAIR, WEAKLY_FAIR, TIMELY, ONE_VERDICT, SAME_ANSWER, ENTITLED, BOUND, NOT_FRAMED, RELEASED];
pub const ONLY_WEAK: &str = "P6 is weak: the first sender has given, and has an affidavit only";
pub const DECIDES: &str = "K5 the cheater can show that it decides";
pub const SILENT: &str = "F3 both complete and the arbiter knows nothing";

pub fn properties(search: &Search) -> Vec<Property<Search>> {
    let mut list = vec![
        Property::always(FAIR, |search: &Search, world: &World| {
            search.honest().filter(|it| is_promised(search, *it)).all(|it| is_fair(search, world, it))
        }),
        Property::always(WEAKLY_FAIR, |search: &Search, world: &World| {
            search.honest().all(|person| ends_well(search, world, person))
        }),
        Property::always(TIMELY, |search: &Search, world: &World| {
            search.honest().all(|person| search.exits.from(search, world, person).is_some())
        }),
        Property::always(ONE_VERDICT, |_, world: &World| world.broken & F5 == 0),
        Property::always(SAME_ANSWER, |_, world: &World| world.broken & F6 == 0),
        Property::always(ENTITLED, |_, world: &World| world.broken & F8 == 0),
        Property::always(BOUND, |search: &Search, world: &World| {
            search.honest().all(|person| world.sides[person].received != Received::Foreign)
        }),
        Property::always(NOT_FRAMED, |search: &Search, world: &World| {
            let invented = |person: usize| {
                search.setup().honest(1 - person)
                    && world.sides[person].received != Received::Nothing
                    && world.sides[1 - person].left & ITEM == 0
            };
            world.broken & F13 == 0 && !search.honest().any(invented)
        }),
        Property::always(RELEASED, |_, world: &World| world.broken & F16 == 0),
    ];
    for (person, name, outcome) in endings(search) {
        if search.setup().honest(person) {
            let reached = match (person, outcome) {
                (0, Outcome::Completed) => ended::<0, 0>,
                (0, Outcome::Aborted) => ended::<0, 1>,
                (0, Outcome::Resolved) => ended::<0, 2>,
                (0, Outcome::Affidavit) => ended::<0, 3>,
                (_, Outcome::Completed) => ended::<1, 0>,
                (_, Outcome::Aborted) => ended::<1, 1>,
                (_, Outcome::Resolved) => ended::<1, 2>,
                (_, Outcome::Abandoned) => unreachable!("nobody gives for nothing in this world"),
                (_, Outcome::Affidavit) => ended::<1, 3>,
            };
            list.push(Property::sometimes(name, reached));
        }
    }
    if search.setup().cheater.is_none() && search.stage.protocol() != Protocol::BothDeposited {
        list.push(Property::sometimes(SILENT, |search: &Search, world: &World| {
            let done = |person| search.phase(world, person) == Some(Phase::Done(Outcome::Completed));
            world.durable == 0 && world.sides.iter().all(|it| it.asked == 0) && search.honest().all(done)
        }));
    }
    if let Some(cheater) = search.setup().cheater {
        list.push(if can_decide(search, cheater) {
            Property::sometimes(DECIDES, decides)
        } else {
            Property::always(DECIDES, |search, world| !decides(search, world))
        });
    }
    let first = search.stage.first();
    if !is_promised(search, first) && search.setup().honest(first) {
        list.push(Property::sometimes(ONLY_WEAK, |search: &Search, world: &World| {
            let first = search.stage.first();
            ends_well(search, world, first) && !is_fair(search, world, first)
        }));
    }
    list
}

/// Whether F1 is promised to a party: to all but the first sender of P6.
fn is_promised(search: &Search, person: usize) -> bool {
    search.stage.protocol() != Protocol::Affidavit || search.stage.first() != person
}

/// How a party can end: what the protocol has no way to end in is not in the list, and is asserted never to happen.
fn endings(search: &Search) -> Vec<(usize, &'static str, Outcome)> {
    let names = [
        [
            "the originator completes",
            "the originator aborts",
            "the originator resolves",
            "the originator has an affidavit",
        ],
        [
            "the responder completes",
            "the responder aborts",
            "the responder resolves",
            "the responder has an affidavit",
        ],
    ];
    let all = (0..2).flat_map(|person| (0..OUTCOMES.len()).map(move |index| (person, index)));
    all.filter(|(person, index)| can_end(search, *person, OUTCOMES[*index]))
        .map(|(person, index)| (person, names[person][index], OUTCOMES[index]))
        .collect()
}

const OUTCOMES: [Outcome; 4] = [Outcome::Completed, Outcome::Aborted, Outcome::Resolved, Outcome::Affidavit];

fn can_end(search: &Search, person: usize, outcome: Outcome) -> bool {
    let first = search.stage.first() == person;
    match (search.stage.protocol(), outcome) {
        (_, Outcome::Abandoned) => false,
        (protocol, Outcome::Affidavit) => protocol == Protocol::Affidavit,
        (_, Outcome::Aborted) => true,
        // nothing is paid.
        _ if search.setup().short && search.setup().weakness.is_none() => false,
        (Protocol::BothDeposited, it) => it == Outcome::Resolved,
        (_, Outcome::Completed) => true,
        // The second sender of P3 has nothing that it could be owed by a verdict; P4 gives nothing out.
        (protocol, Outcome::Resolved) => match protocol {
            Protocol::RevokeOnSilence => first,
            Protocol::MutualRollback => false,
            // Who waits for the first item deposits nothing; so only a peer that need not have can have both given out.
            Protocol::Affidavit => {
                let both = Role::BOTH.into_iter().all(|role| search.setup().kind.is_depositable(role));
                first && both && search.setup().cheater.is_some()
            }
            _ => true,
        },
    }
}

/// Whether a person ended so; `OUTCOME` is the place in `OUTCOMES`.
fn ended<const PERSON: usize, const OUTCOME: usize>(search: &Search, world: &World) -> bool {
    search.phase(world, PERSON) == Some(Phase::Done(OUTCOMES[OUTCOME]))
}

/// What a verdict says, in short: whose items it gives out, and whose payments it takes back.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Says {
    replaces: [bool; 2],
    revokes: [bool; 2],
    /// Of an affidavit: whose items were there.
    performed: Option<[bool; 2]>,
}

impl Says {
    fn of(ruling: &Ruling) -> Self {
        let mut says = Self::default();
        match ruling {
            Ruling::Aborted => {}
            Ruling::Affidavit(roles) => {
                says.performed = Some(Role::BOTH.map(|role| roles.contains(&role)));
            }
            Ruling::Replaced(list) => list.iter().for_each(|it| says.replaces[person(it.role)] = true),
            Ruling::Revoked(roles) => roles.iter().for_each(|role| says.revokes[person(*role)] = true),
        }
        says
    }

    fn gives_out(self) -> bool {
        self.replaces != [false; 2]
    }
}

fn says(search: &Search, verdict: u16) -> Option<Says> {
    let tables = search.tables.lock().unwrap();
    (verdict != 0).then(|| Says::of(&tables.verdict(verdict).statement.ruling))
}

/// What becomes of a payment if nobody does anything that needs a choice. What is reserved and not ordered back is bound: the
/// payer is promised that an abort gives it back at once (section 6.1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    GoesBack,
    /// An order of the arbiter races the end of the hold.
    Open,
}

fn fate(search: &Search, world: &World, payer: usize) -> Fate {
    match world.ledger[payer] {
        Stand::Posted => Fate::Stays,
        Stand::Absent | Stand::Voided | Stand::Never => Fate::GoesBack,
        Stand::Part => Fate::Open, // Neither has it all.
        Stand::Reserved => match search.pending(world).iter().find(|(it, _, _)| *it == payer) {
            None if search.stage.reserves(payer) => Fate::Open, // The payer may post, and the arbiter may still rule.
            None => Fate::Stays,
            Some((_, Ordered::Void, _)) if search.stage.reserves(payer) => Fate::GoesBack, // So does the end of the hold.
            Some((_, Ordered::Void, ruled)) if *ruled < COMPLAIN_BY => Fate::GoesBack,     // A2
            Some((_, Ordered::Post, ruled)) if *ruled < COMPLAIN_BY => Fate::Stays,        // A2
            Some(_) => Fate::Open,
        },
    }
}

/// F1 for a party that has ended: if the peer has its item, by any way, it has the peer's.
pub fn is_fair(search: &Search, world: &World, person: usize) -> bool {
    let side = &world.sides[person];
    let Some(Phase::Done(outcome)) = search.phase(world, person) else { return true };
    if !can_end(search, person, outcome) {
        return false;
    }
    let peer = 1 - person;
    let rulings = [says(search, search.ruled(world)), says(search, world.shown)];
    let replaced = |person: usize| rulings.iter().flatten().any(|it| it.replaces[person]);
    let (pays, paid) = (search.stage.pays(person), search.stage.pays(peer));
    // A file that is in the peer's hands, or at the arbiter for the peer.
    let deposited = search.stage.protocol() == Protocol::VerifyThenGenerate && replaced(peer);
    let gave = match pays {
        true => fate(search, world, person) != Fate::GoesBack,
        false => side.left & ITEM != 0 || replaced(person) || (deposited && search.stage.first() == person),
    };
    let peers_item = &search.stage.offer.item(role(peer)).description;
    let has = match (paid, outcome) {
        (true, _) => fate(search, world, peer) == Fate::Stays,
        (false, Outcome::Completed) => side.received == Received::Own,
        (false, Outcome::Resolved) if peers_item.is_content() => side.fetched,
        (false, Outcome::Resolved) => replaced(peer),
        (false, Outcome::Abandoned | Outcome::Aborted | Outcome::Affidavit) => false,
    };
    let token = rulings.iter().flatten().any(|it| !it.gives_out() && it.performed.is_none());
    let affidavit = rulings.iter().flatten().any(|it| it.performed.is_some());
    match outcome {
        Outcome::Abandoned => false,
        Outcome::Affidavit => affidavit && (has || !gave),
        Outcome::Aborted => token && (has || !gave),
        // What ended as completed or resolved without an item is no end at all, whatever was given.
        Outcome::Completed | Outcome::Resolved => has,
    }
}

/// F2: a party that has ended so that it is no end at all, or that gave and has neither the item nor what P6 promises for it:
/// an affidavit that it had given and the peer had not. Promised to a first sender whose item can be deposited; who gives
/// something else agrees to get no more than an end.
pub fn ends_well(search: &Search, world: &World, person: usize) -> bool {
    if is_promised(search, person) || is_fair(search, world, person) {
        return is_fair(search, world, person);
    }
    let side = &world.sides[person];
    let Some(Phase::Done(outcome)) = search.phase(world, person) else { return true };
    let rulings = [says(search, search.ruled(world)), says(search, world.shown)];
    let mut ends = rulings.iter().flatten().map(|it| (it.performed, it.gives_out()));
    let only_it = Some([person == 0, person == 1]);
    let claim = search.setup().kind.is_depositable(role(person)) && side.left & ITEM != 0;
    match outcome {
        Outcome::Abandoned => false,
        Outcome::Affidavit if claim => ends.any(|(performed, _)| performed == only_it),
        Outcome::Affidavit => ends.any(|(performed, _)| performed.is_some()),
        Outcome::Aborted => !claim && ends.any(|end| end == (None, false)),
        Outcome::Completed | Outcome::Resolved => false,
    }
}

/// F5, F8, F13: a batch is about to become durable.
pub fn committed(search: &Search, world: &mut World, next: u16, batch: &[(u16, u8)]) {
    let mut tables = search.tables.lock().unwrap();
    let [was, is] = [world.durable, next].map(|it| tables.ruled(it, &search.stage));
    let [old, new] = [world.durable, next].map(|it| tables.deposits(it, &search.stage));
    let changed = Role::BOTH.iter().any(|role| old.of(*role).is_some() && old.of(*role) != new.of(*role));
    if (was != 0 && was != is) || changed {
        world.broken |= F5;
    }
    if was != 0 || is == 0 {
        return;
    }
    let verdict = tables.verdict(is).statement.clone();
    drop(tables);
    let cause = batch.iter().map(|(call, _)| &search.stage.calls[usize::from(*call)]);
    let cause = cause.into_iter().find(|it| it.case.request().digest() == verdict.request);
    let key = cause.expect("F8: a verdict without a cause").key;
    let deposits = Role::BOTH.map(|role| *new.of(role));
    let agreement = |id| search.stage.agreements.iter().position(|it| Some(it.id()) == id);
    let deposits = deposits.map(agreement);
    if !is_entitled(search, &key, &verdict, deposits) {
        world.broken |= F8;
    }
    let named = agreement(verdict.agreement_id);
    let signed = |person: usize| {
        let left = world.sides[person].left & (OFFER | ACCEPTANCE) != 0;
        let own = search.agreement(world, person).is_none_or(|own| person == 0 || named == Some(own));
        !search.setup().honest(person) || (left && own)
    };
    let speaker = person(verdict.requested_by);
    let asked = world.sides[speaker].asked & bit(key.action, key.agreement) != 0;
    let said = !search.setup().honest(speaker) || asked;
    let says = Says::of(&verdict.ruling);
    let performed = says.performed.unwrap_or_default();
    let gave = |person: usize| {
        let agreement = search.agreement(world, person);
        !search.setup().honest(person) || world.sides[person].asked & bit(Action::Deposit, agreement) != 0
    };
    let invented =
        |person| (says.replaces[person] && !signed(person)) || (performed[person] && !gave(person));
    if !said || (0..2).any(invented) {
        world.broken |= F13;
    }
}

/// F8: the verdict tables of section 6, read as "who may have caused this, and with which end".
fn is_entitled(search: &Search, key: &CallKey, verdict: &Verdict, deposits: [Option<usize>; 2]) -> bool {
    let first = search.stage.first();
    let asker = person(key.role);
    let (second, is_first, says) = (1 - first, asker == first, Says::of(&verdict.ruling));
    let only = |person: usize| [person == 0, person == 1];
    let nothing = says == Says::default();
    let revokes = |which: [bool; 2]| says == Says { revokes: which, ..Says::default() };
    let gives_out = |which: [bool; 2]| says == Says { replaces: which, ..Says::default() };
    let (in_time, sent_by) = (verdict.time.0 < COMPLAIN_BY, Some(verdict.time) >= search.stage.offer.send_by);
    let agreed = key.agreement.is_some();
    key.role == role(key.signer)
        && match (search.stage.protocol(), key.action) {
            (Protocol::ContractSigning, Action::Abort) => nothing && (asker == 0 || !in_time),
            (Protocol::ContractSigning, Action::Resolve) => gives_out([true; 2]) && agreed && in_time,
            (Protocol::VerifyThenGenerate, Action::Abort) => nothing && (is_first || !in_time),
            (Protocol::VerifyThenGenerate, Action::Resolve) => {
                let deposited = agreed && deposits[first] == key.agreement;
                gives_out(only(second)) && is_first && in_time && deposited
            }
            (Protocol::RevokeOnSilence, Action::Abort) if is_first => nothing,
            (Protocol::RevokeOnSilence, Action::Abort) => revokes(only(first)) && deposits[second].is_none(),
            (Protocol::RevokeOnSilence, Action::Revoke) if deposits[second].is_some() => {
                gives_out(only(second)) && is_first && agreed
            }
            (Protocol::RevokeOnSilence, Action::Revoke) => {
                revokes(only(first)) && is_first && agreed && in_time && sent_by
            }
            (Protocol::MutualRollback, Action::Abort) if !in_time => nothing,
            (Protocol::MutualRollback, Action::Abort | Action::Revoke) => revokes([true; 2]) && in_time,
            (Protocol::BothDeposited, Action::Abort) => nothing,
            (Protocol::BothDeposited, Action::Resolve) => {
                gives_out([true; 2]) && agreed && deposits == [key.agreement; 2]
            }
            (Protocol::Affidavit, Action::Abort) if deposits == [None; 2] => {
                nothing && (is_first || !in_time)
            }
            (Protocol::Affidavit, Action::Abort | Action::Resolve) => {
                let here = deposits.map(|it| it.is_some());
                let attests = says == Says { performed: Some(here), ..Says::default() };
                let due = if here == [true; 2] { gives_out(here) } else { attests && !in_time };
                due && (if key.action == Action::Abort { !in_time } else { agreed })
            }
            _ => false,
        }
}

/// Whether what is released is for who asked: the peer's deposit, or its signature out of escrow.
pub fn entitled_to(search: &Search, key: &CallKey, reply: Reply) -> bool {
    let peer = key.role.peer();
    let kind = search.setup().kind;
    (kind.is_depositable(peer) || kind.is_detached(peer)) && reply == Reply::Content(content_of(peer))
}

/// F5, F6, F16: an answer leaves the arbiter.
pub fn shown(search: &Search, world: &mut World, key: &CallKey, reply: Reply, durable: u16) {
    match reply {
        Reply::Attestation(_) => {}
        Reply::Content(_) => {
            let after = says(search, search.ruled(world)).is_some_and(Says::gives_out);
            if !after || !entitled_to(search, key, reply) {
                world.broken |= F16;
            }
        }
        Reply::Verdict => {
            let mut tables = search.tables.lock().unwrap();
            let (was, is) = (world.shown, tables.ruled(durable, &search.stage));
            if was != 0 && was != is {
                let same = tables.verdict(was).statement == tables.verdict(is).statement;
                world.broken |= if same { F6 } else { F5 };
            }
            world.shown = is;
        }
    }
}

type Place = (Side, [Stand; 2], u8, u16, u16, u8, u8, usize);

/// Whether a cheater decides, where it was asked before: what is durable, when, what was paid, and what the peer has said.
pub type Choices = Mutex<HashMap<(u16, u8, [Stand; 2], u8, u16), bool>>;

/// F4. How many instants a party must wait from a state on until it has ended, if it can.
#[derive(Default)]
pub struct Exits(Mutex<HashMap<Place, Option<u8>>>);

impl Exits {
    pub fn from(&self, search: &Search, world: &World, person: usize) -> Option<u8> {
        let side = world.sides[person];
        if side.session == 0 && side.left == 0 {
            return Some(0); // It never took part, or its peer never heard of it.
        }
        let places = (world.ledger, world.told, world.durable, world.shown, world.now, world.skews[person]);
        let key = (side, places.0, places.1, places.2, places.3, places.4, places.5, person);
        if let Some(known) = self.0.lock().unwrap().get(&key) {
            return *known;
        }
        let exit = within(search.setup().weakness, || exit(search, world.clone(), person));
        self.0.lock().unwrap().insert(key, exit);
        exit
    }

    /// The longest wait of all states seen.
    pub fn longest(&self) -> u8 {
        self.0.lock().unwrap().values().copied().flatten().max().unwrap_or(0)
    }

    /// The longest wait of who can turn to the arbiter at once, while there is time: the first sender of P2, the second of
    /// P3, in P4 whoever has not both payments before it, and in P1 either, once its money is set aside. Who was stopped after it had decided to pay, and before it
    /// paid, has nothing to deposit and is not among them.
    pub fn longest_of_who_may_act(&self, search: &Search) -> u8 {
        let known = self.0.lock().unwrap();
        let tables = search.tables.lock().unwrap();
        let may_act = |side: &Side, person: usize| {
            let first = search.stage.first() == person;
            let decided = tables.session(side.session).is_some_and(arbiter_protocol::role::Session::sent);
            if search.stage.pays(person) && decided && side.left & ITEM == 0 {
                return false;
            }
            match search.stage.protocol() {
                Protocol::ContractSigning => first || side.left & ACCEPTANCE != 0,
                Protocol::VerifyThenGenerate => first,
                Protocol::RevokeOnSilence => !first,
                Protocol::MutualRollback => tables.phase(side.session) != Some(Phase::Settling),
                _ => false,
            }
        };
        let free =
            known.iter().filter(|((side, _, _, _, _, now, _, person), _)| *now < 2 && may_act(side, *person));
        free.filter_map(|(_, wait)| *wait).max().unwrap_or(0)
    }
}

/// The peer is gone; arbiter and ledger have restarted and lose nothing any more; patience is over.
fn exit(search: &Search, mut world: World, person: usize) -> Option<u8> {
    let started = world.now;
    (world.batch, world.reply) = (None, None);
    let mut seen = Vec::new(); // A party that goes round in circles waits.
    for _ in 0..200 {
        if search.apply(&mut world, Act::Perform(person)).is_some() {
            continue;
        }
        for payer in 0..2 {
            let _ = search.order_arrives(&mut world, payer);
        }
        let Some(phase) = search.phase(&world, person) else { return Some(0) };
        if let Phase::Done(_) = phase {
            return ends_well(search, &world, person).then_some(world.now - started);
        }
        let before = world.clone();
        let moved = |now: &World, before: &World, seen: &[u16]| {
            let session = now.sides[person].session;
            session != before.sides[person].session && !seen.contains(&session)
        };
        if let Phase::Asking(ask) = phase {
            let actions: &[Action] = match ask {
                Ask::Abort => &[Action::Abort],
                Ask::Complain => &[Action::Deposit, Action::Resolve, Action::Query],
                Ask::Deposit => &[Action::Deposit, Action::Query],
                Ask::Fetch => &[Action::Fetch],
                Ask::Resolve => &[Action::Resolve],
                Ask::Revoke => &[Action::Revoke],
            };
            for action in actions {
                ask_arbiter(search, &mut world, person, *action);
            }
        }
        if world.sides[person].observes {
            let _ = search.apply(&mut world, Act::Look(person));
        }
        if world != before {
            continue;
        }
        let due = world.sides[person].alarms & ((2 << world.now) - 1) != 0;
        if due && search.apply(&mut world, Act::Wake(person)).is_some() && moved(&world, &before, &seen) {
            seen.push(before.sides[person].session);
            continue;
        }
        let _ = search.apply(&mut world, Act::GiveUp(person));
        // Asked and refused: the refusal is an input.
        if matches!(phase, Phase::Asking(_)) {
            let _ = search.apply(&mut world, Act::ForgedRefusal(person));
        }
        while search.apply(&mut world, Act::Perform(person)).is_some() {}
        if moved(&world, &before, &seen) {
            seen.push(before.sides[person].session);
        } else if search.may_pass(&world, &|it| it == person) {
            search.tick(&mut world);
            seen.clear();
        } else {
            return None;
        }
    }
    None
}

fn ask_arbiter(search: &Search, world: &mut World, person: usize, action: Action) {
    let Some(call) = search.own_call(world, person, action) else { return };
    if !search.can_file(world, &search.stage.calls[usize::from(call)].key) {
        return;
    }
    let _ = search.apply(world, Act::File(call));
    if world.batch.is_some() {
        let _ = search.apply(world, Act::Commit);
        let _ = search.apply(world, Act::Reply);
    }
}

/// Whether section 12.1 says that this cheater can decide alone.
fn can_decide(search: &Search, cheater: usize) -> bool {
    match search.stage.protocol() {
        // The responder has agreed or not before it can ask for anything.
        Protocol::ContractSigning => cheater == person(Role::Originator),
        Protocol::BothDeposited => true,
        Protocol::VerifyThenGenerate => search.stage.first() == cheater,
        Protocol::RevokeOnSilence => !search.setup().short,
        Protocol::Affidavit | Protocol::MutualRollback | Protocol::Transfer => false,
    }
}

/// K5: the cheater holds the other's signed commitment, and one request of it brings about either end: one verdict that gives out,
/// or a deposit after which the other's money cannot go back any more; and one that gives nothing, or takes it back.
fn decides(search: &Search, world: &World) -> bool {
    let Some(cheater) = search.setup().cheater else { return false };
    let peer = world.sides[1 - cheater];
    if peer.left & (OFFER | ACCEPTANCE) == 0 || search.ruled(world) != 0 {
        return false;
    }
    let place = (world.durable, search.arbiters_instant(world), world.ledger, peer.left, peer.session);
    if let Some(known) = search.choices.lock().unwrap().get(&place) {
        return *known;
    }
    let can_file = |index: &&u16| search.can_file(world, &search.stage.calls[usize::from(**index)].key);
    let ends = search.stage.cheats.iter().filter(can_file).filter_map(|index| {
        let plan = within(search.setup().weakness, || search.plan(world.durable, &[(*index, place.1)]));
        end_after(search, &World { durable: plan.next, ..world.clone() }, cheater)
    });
    let ends: Vec<_> = ends.collect();
    let both = ends.contains(&true) && ends.contains(&false);
    search.choices.lock().unwrap().insert(place, both);
    both
}

/// Whether what is durable gives out (true) or gives nothing (false), if it is an end.
fn end_after(search: &Search, world: &World, cheater: usize) -> Option<bool> {
    if let Some(says) = says(search, search.ruled(world)) {
        return Some(says.gives_out());
    }
    let tables = search.tables.lock().unwrap();
    let deposited = tables.deposits(world.durable, &search.stage).of(role(cheater)).is_some();
    let paid = matches!(world.ledger[1 - cheater], Stand::Reserved | Stand::Posted);
    let second = search.stage.first() != cheater;
    let bound = search.stage.protocol() == Protocol::RevokeOnSilence && second && deposited && paid;
    bound.then_some(true)
}
