//! Everything that can be signed in one search: the exchange, every request, and who cheats.

use std::collections::HashMap;

use arbiter_protocol::exchange::kind::content::FitContent;
use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::kind::pledge::{Pledge, Pledged};
use arbiter_protocol::exchange::payment::Timeout;
use arbiter_protocol::exchange::selection::{ByRole, Protocol, Role};
use arbiter_protocol::message::agreement::{Agreement, Offer};
use arbiter_protocol::message::payment::{PaymentAction, PaymentOrder, PaymentState, PaymentTerms};
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::role::arbiter::Case;
use arbiter_protocol::statement::{Signed, Verified};
use arbiter_protocol::time::UnixMillis;
use arbiter_protocol::weaken::Countermeasure;

use crate::common::money::{HOLD_END, PART, SEND_BY, account, order, receipt};
use crate::common::{COMPLAIN_BY, Cast, Kind};

/// The complaint margin of everybody who behaves.
pub const MARGIN: u64 = 60_000;
/// How far a clock may be off (A2: less than the margin).
pub const SKEW: u64 = 20_000;

/// An instant that a clock can show, on the arbiter's clock, with its name in a story. Each lies between two of the times
/// that rules name, by the own clock of who is exact, fast or slow.
pub type Instant = (u64, &'static str);

const AROUND_SEND_BY: [Instant; 6] = [
    (SEND_BY - 600_000, "long before send_by"),
    (SEND_BY - 2 * MARGIN + SKEW / 2, "less than two margins before send_by"),
    (SEND_BY - MARGIN + SKEW / 2, "less than a margin before send_by"),
    (SEND_BY - 1, "the last moment before send_by"),
    (SEND_BY, "send_by"),
    (SEND_BY + MARGIN + SKEW + 1, "more than a margin after send_by"),
];
const BEFORE_COMPLAIN_BY: [Instant; 4] = [
    (COMPLAIN_BY - 600_000, "long before complain_by"),
    (COMPLAIN_BY - 2 * MARGIN + SKEW / 2, "less than two margins before complain_by"),
    (COMPLAIN_BY - MARGIN + SKEW / 2, "less than a margin before complain_by"),
    (COMPLAIN_BY - 1, "the last moment before complain_by"),
];
const FROM_COMPLAIN_BY: [Instant; 2] =
    [(COMPLAIN_BY, "complain_by"), (COMPLAIN_BY + MARGIN + SKEW + 1, "more than a margin after complain_by")];
const HOLDS_END: [Instant; 1] = [(HOLD_END, "the end of the holds")];

/// A `send_by` that leaves no time to revoke.
pub const SHORT: u64 = COMPLAIN_BY - MARGIN / 2;

/// The instants of a search.
pub fn instants(kind: Kind, short: bool) -> Vec<Instant> {
    match kind {
        _ if kind.is_p3() && short => {
            let moved = |(at, name): Instant| (at + (SHORT - SEND_BY), name);
            let before: Vec<_> = AROUND_SEND_BY[..5].iter().copied().map(moved).collect();
            [&before[..], &FROM_COMPLAIN_BY, &HOLDS_END].concat()
        }
        _ if kind.is_p3() => [&AROUND_SEND_BY[..], &FROM_COMPLAIN_BY, &HOLDS_END].concat(),
        Kind::P4 | Kind::P6SignatureForHeld | Kind::P6HeldForSignature => {
            [&BEFORE_COMPLAIN_BY[..], &FROM_COMPLAIN_BY, &HOLDS_END].concat()
        }
        _ if Kind::RESERVED.contains(&kind) => {
            [&BEFORE_COMPLAIN_BY[..], &FROM_COMPLAIN_BY, &HOLDS_END].concat()
        }
        // No claim depends on the last moment.
        Kind::P5 => [&BEFORE_COMPLAIN_BY[..3], &FROM_COMPLAIN_BY].concat(),
        _ => [&BEFORE_COMPLAIN_BY[..], &FROM_COMPLAIN_BY].concat(),
    }
}

/// One search. The originator is person 0, the responder person 1.
#[derive(Clone, Debug)]
pub struct Setup {
    pub kind: Kind,
    pub cheater: Option<usize>,
    /// `complain_by` follows `send_by` at once.
    pub short: bool,
    /// What is switched off.
    pub weakness: Option<Countermeasure>,
}

impl Setup {
    pub const fn new(kind: Kind, cheater: Option<usize>) -> Self {
        Self { kind, cheater, short: false, weakness: None }
    }

    pub fn short(self) -> Self {
        Self { short: true, ..self }
    }

    pub fn without(self, weakness: Option<Countermeasure>) -> Self {
        Self { weakness, ..self }
    }

    pub fn honest(&self, person: usize) -> bool {
        self.cheater != Some(person)
    }
}

pub const fn role(person: usize) -> Role {
    if person == 0 { Role::Originator } else { Role::Responder }
}

pub fn person(role: Role) -> usize {
    usize::from(role == Role::Responder)
}

/// A request as somebody can sign it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey {
    pub agreement: Option<usize>,
    pub role: Role,
    pub action: Action,
    pub signer: usize,
}

pub struct Call {
    pub key: CallKey,
    pub case: Case,
    /// What the arbiter takes out of the escrows filed.
    pub opened: ByRole<Option<FitContent>>,
}

const ACTIONS: [Action; 6] =
    [Action::Abort, Action::Deposit, Action::Fetch, Action::Query, Action::Resolve, Action::Revoke];

/// One exchange, with two acceptances, of which an honest responder signs the first.
pub struct Stage {
    pub setup: Setup,
    pub cast: Cast,
    pub instants: Vec<Instant>,
    pub skews: Vec<i64>,
    pub offer: Verified<Offer>,
    pub agreements: [Agreement; 2],
    pub calls: Vec<Call>,
    /// Indexes of the calls that the cheater can make of its own.
    pub cheats: Vec<u16>,
    pub terms: [Option<PaymentTerms>; 2],
    /// What is shown beside the offer or acceptance and passes the check: before the money is set aside, and after.
    pledged: HashMap<(usize, Role, bool), Pledged>,
    orders: HashMap<(usize, Ordered, Orderer), Verified<PaymentOrder>>,
}

/// What is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ordered {
    Make,
    Post,
    PostPart,
    Void,
}

impl Ordered {
    pub const ALL: [Self; 4] = [Self::Make, Self::Post, Self::PostPart, Self::Void];
}

/// Who signs an order: the account of a person, or the arbiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Orderer {
    Account(usize),
    Arbiter,
}

fn signed_orders(
    cast: &Cast,
    terms: &[Option<PaymentTerms>; 2],
) -> HashMap<(usize, Ordered, Orderer), Verified<PaymentOrder>> {
    let mut orders = HashMap::new();
    for (payer, terms) in terms.iter().enumerate() {
        let Some(terms) = terms else { continue };
        for ordered in Ordered::ALL {
            let action = match ordered {
                Ordered::Make => PaymentAction::Make,
                Ordered::Post => PaymentAction::Post(terms.payment.amount.units),
                Ordered::PostPart => PaymentAction::Post(PART),
                Ordered::Void => PaymentAction::Void,
            };
            for by in 0..2 {
                orders
                    .insert((payer, ordered, Orderer::Account(by)), order(terms, action, &account(role(by))));
            }
            orders.insert((payer, ordered, Orderer::Arbiter), order(terms, action, &cast.arbiter));
        }
    }
    orders
}

impl Stage {
    pub fn new(setup: Setup) -> Self {
        let cast = Cast::new();
        let mut terms = cast.terms(setup.kind, 31);
        if setup.short {
            terms.send_by = Some(UnixMillis(SHORT));
        }
        let offer = Verified::sign(terms, &cast.originator);
        assert_eq!(offer.check(), Ok(()));
        let agree = |nonce| Agreement::join(offer.clone(), cast.acceptance(&offer, nonce)).unwrap();
        let agreements = [agree(1), agree(2)];
        let terms = Role::BOTH.map(|role| PaymentTerms::of(&offer, role));
        let skew = i64::try_from(SKEW).unwrap();
        let orders = signed_orders(&cast, &terms);
        let mut stage = Self {
            instants: instants(setup.kind, setup.short),
            skews: vec![0, skew, -skew],
            setup,
            cast,
            offer,
            agreements,
            calls: Vec::new(),
            cheats: Vec::new(),
            pledged: HashMap::new(),
            terms,
            orders,
        };
        stage.pledged = stage.check_pledges();
        for signer in 0..2 {
            for role in Role::BOTH {
                for action in ACTIONS {
                    for agreement in [None, Some(0), Some(1)] {
                        stage.add(CallKey { agreement, role, action, signer });
                    }
                }
            }
        }
        stage
    }

    /// What is rejected on admission changes nothing and is left out; who behaves asks in its own role.
    fn add(&mut self, key: CallKey) {
        let honest = self.setup.honest(key.signer);
        if honest && key.role != role(key.signer) {
            return;
        }
        let Some(case) = self.admit(key) else { return };
        let opened = self.cast.opened(&case);
        self.calls.push(Call { key, case, opened });
        if !honest && key.action != Action::Query {
            self.cheats.push(u16::try_from(self.calls.len() - 1).unwrap());
        }
    }

    fn admit(&self, key: CallKey) -> Option<Case> {
        let agreement = key.agreement.map(|index| &self.agreements[index]);
        let request = Request {
            exchange_id: self.offer.exchange_id(),
            agreement_id: agreement.map(Agreement::id),
            role: key.role,
            action: key.action,
        };
        let request = Verified::sign(request, self.cast.key(role(key.signer)));
        let acceptance = agreement.map(|it| Signed::parse(it.acceptance().envelope().clone()).unwrap());
        Case::admit(
            &self.cast.identity(),
            Signed::parse(request.envelope().clone()).unwrap(),
            Signed::parse(self.offer.envelope().clone()).unwrap(),
            acceptance,
            agreement.map(|it| self.cast.escrows(it, key.role, key.action)).unwrap_or_default(),
        )
        .ok()
    }

    /// R-310, as a client does it: a receipt that the ledger signed of the payment, or the escrow.
    fn check_pledges(&self) -> HashMap<(usize, Role, bool), Pledged> {
        let mut pledged = HashMap::new();
        for (index, agreement) in self.agreements.iter().enumerate() {
            for role in Role::BOTH {
                let place = Place::of(&self.offer, role, agreement.id());
                let escrow = self.cast.escrow(agreement, role);
                for made in [false, true] {
                    let state = if made { PaymentState::Reserved } else { PaymentState::Absent };
                    let shown = match &self.terms[person(role)] {
                        Some(terms) => Pledge::Reservation(receipt(terms, state).envelope().clone()),
                        None => match &escrow {
                            Some(escrow) => escrow.clone().into(),
                            None => continue,
                        },
                    };
                    pledged.extend(place.check(shown).ok().map(|it| ((index, role, made), it)));
                }
            }
        }
        pledged
    }

    /// What `role` shows under an agreement, as its peer knows it after the check.
    pub fn pledged(&self, agreement: usize, role: Role, made: bool) -> Option<&Pledged> {
        self.pledged.get(&(agreement, role, made))
    }

    /// Whether the item of a person is money that is set aside first.
    pub fn reserves(&self, person: usize) -> bool {
        self.offer.item(role(person)).description.reservation().is_some()
    }

    /// What becomes of a person's money when its hold ends.
    pub fn timeout(&self, person: usize) -> Timeout {
        let hold = self.terms[person].as_ref().and_then(|it| it.payment.hold);
        hold.map_or(Timeout::Post, |it| it.timeout)
    }

    pub fn call_of(&self, key: CallKey) -> Option<u16> {
        u16::try_from(self.calls.iter().position(|call| call.key == key)?).ok()
    }

    pub fn protocol(&self) -> Protocol {
        self.offer.selection.protocol
    }

    pub fn first(&self) -> usize {
        person(self.offer.selection.first_sender)
    }

    /// Whether the item of a person is money.
    pub fn pays(&self, person: usize) -> bool {
        self.terms[person].is_some()
    }

    /// An order about the payment of a person, as somebody signs it.
    pub fn order(&self, payer: usize, action: Ordered, by: Orderer) -> Option<&Verified<PaymentOrder>> {
        self.orders.get(&(payer, action, by))
    }

    /// The times that rules name.
    pub fn deadlines(&self) -> impl Iterator<Item = u64> {
        [self.offer.send_by, self.offer.complain_by].into_iter().flatten().map(|it| it.0)
    }
}
