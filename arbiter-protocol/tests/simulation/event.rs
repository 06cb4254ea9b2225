//! What can happen in a schedule. A schedule is a list of these, so that it can be cut down and told.

use arbiter_protocol::weaken::Countermeasure;

use crate::cheats::Cheat;
use crate::choices::Choices;
use crate::common::money::{HOLD_END, SEND_BY};
use crate::common::{COMPLAIN_BY, Kind};
use crate::party::{Cut, MARGIN};
use crate::rail::Fault;
use crate::stage::PLAYED;

/// What happens to a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    #[default]
    Stored,
    /// Nothing is stored, and the writer is told.
    Lost,
    /// Everything is stored, but the writer is told that it failed.
    Unheard,
}

/// What a store does wrong on purpose, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// It says that a commit with a ruling is durable before it is.
    Unsynced,
    /// It never removes a content.
    Hoards,
}

/// What is the same all through a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    pub kinds: [Kind; 2],
    pub cheater: Option<usize>,
    /// How far each party's clock is from the true time at first.
    pub skews: [i64; 2],
    /// The network drops, repeats and reorders.
    pub loss: bool,
    /// Parties crash.
    pub crashes: bool,
    /// Parties are away for long.
    pub outages: bool,
    pub impatience: bool,
    /// The arbiter's process, disk and clock fail, and ledgers are out of reach.
    pub faults: bool,
    /// Everybody has enough for one payment only.
    pub poor: bool,
    /// Every receipt is verified in full, and the store checked by `fsck`.
    pub fully: bool,
    pub broken: Option<Broken>,
}

/// A rule that the world breaks on purpose, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// who has asked for an abort sends its item.
    SendsAfterAbort,
    /// nobody asks whether an item may still leave.
    SendsLate,
    /// whatever stands beside a message is taken for a pledge.
    TrustsPledges,
    /// what is said does not wait until the own money is set aside.
    SpeaksFirst,
    /// who gives for nothing says that it has given, and keeps it.
    KeepsGifts,
    /// a package is taken for good because of its first half.
    TakesParts,
    /// the arbiter's disk.
    Disk(Defect),
    /// Section 13: the ledger.
    Rail(Fault),
    /// Everybody's rules, without one of them.
    Without(Countermeasure),
}

/// What happens to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Once,
    /// And it stays on the way.
    Repeated,
    Dropped,
}

/// How time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leap {
    By(u64),
    To(u64),
}

/// One thing that happens. Numbers name things by their place; they are taken modulo how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Open {
        party: usize,
        cut: Cut,
    },
    Perform {
        party: usize,
        exchange: usize,
    },
    Deliver {
        nth: usize,
        delivery: Delivery,
        cut: Cut,
    },
    /// A call gets to the arbiter.
    Reach(usize),
    /// The arbiter works on a call.
    Poll(usize),
    /// The arbiter's writer decides and commits.
    Turn(Fate),
    /// An answer gets to the party.
    Letter {
        nth: usize,
        cut: Cut,
    },
    /// The connection of a caller breaks.
    HangUp(usize),
    /// A party does what it has to do with its ledger.
    Till {
        party: usize,
        exchange: usize,
    },
    /// What was said to the ledger gets there, and the answer back; repeated: the answer does not.
    Bank {
        nth: usize,
        delivery: Delivery,
    },
    /// The arbiter tells the ledger an order that is open.
    Tell(usize),
    /// The arbiter decides what has waited for its time.
    Due,
    /// The ledger is out of reach from now on, or not any more.
    Strike(bool),
    Wake {
        party: usize,
        exchange: usize,
        cut: Cut,
    },
    Time(Leap),
    /// The arbiter's clock steps to so far from the true time.
    Step(i64),
    /// A party's clock drifts.
    Drift {
        party: usize,
        by: i64,
    },
    GiveUp {
        party: usize,
        exchange: usize,
        cut: Cut,
    },
    Hello {
        party: usize,
        exchange: usize,
    },
    Sleep(usize),
    /// A party's process ends, or had ended, and starts.
    Restart(usize),
    Kill {
        power: bool,
    },
    Boot(Fate),
    /// After so many more accesses the store fails once.
    Blind(u32),
    /// The cheater's machine stops; what it does from now on it does by hand.
    Quit,
    Cheat {
        exchange: usize,
        cheat: Cheat,
    },
}

/// A whole schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub setup: Setup,
    pub events: Vec<Event>,
    /// What the cheater does while time runs out, one thing a round.
    pub late: Vec<Event>,
}

impl Setup {
    /// Nobody cheats, nothing fails.
    pub fn quiet(kinds: [Kind; 2]) -> Self {
        Self {
            kinds,
            cheater: None,
            skews: [0, 0],
            loss: false,
            crashes: false,
            outages: false,
            impatience: false,
            faults: false,
            poor: false,
            fully: false,
            broken: None,
        }
    }

    /// When it begins: ten minutes before the first deadline.
    pub fn begins(&self) -> u64 {
        let p3 = self.kinds.iter().any(|kind| kind.is_p3());
        (if p3 { SEND_BY } else { COMPLAIN_BY }) - 600_000
    }

    /// The rule that nobody keeps.
    pub const fn weakness(&self) -> Option<Countermeasure> {
        match self.broken {
            Some(Broken::Without(countermeasure)) => Some(countermeasure),
            _ => None,
        }
    }

    pub fn draw(choices: &mut Choices) -> Self {
        let mut skew = || i64::try_from(choices.below(40_001)).unwrap() - 20_000;
        let skews = [skew(), skew()];
        Self {
            kinds: [choices.pick(&PLAYED), choices.pick(&PLAYED)],
            cheater: choices.pick(&[None, Some(0), Some(1), Some(0), Some(1)]),
            skews,
            loss: !choices.one_in(4),
            crashes: !choices.one_in(3),
            outages: choices.one_in(2),
            impatience: !choices.one_in(4),
            faults: !choices.one_in(4),
            poor: choices.one_in(4),
            fully: choices.one_in(50),
            broken: None,
        }
    }
}

impl Event {
    /// Any event that the setup allows.
    pub fn draw(setup: &Setup, now: u64, choices: &mut Choices) -> Self {
        let (party, exchange) = (choices.below(2), choices.below(2));
        let nth = |choices: &mut Choices| choices.below(64);
        let cut = |choices: &mut Choices| {
            if !setup.crashes || !choices.one_in(25) {
                return Cut::None;
            }
            choices.pick(&[Cut::BeforePersist, Cut::AfterPersist])
        };
        match choices.below(159) {
            0..=9 => Self::Open { party, cut: cut(choices) },
            10..=34 => Self::Perform { party, exchange },
            35..=54 => {
                let (nth, delivery) = match setup.loss {
                    true => (nth(choices), choices.below(10)),
                    false => (0, 9),
                };
                let delivery = [Delivery::Dropped, Delivery::Repeated].get(delivery).copied();
                Self::Deliver { nth, delivery: delivery.unwrap_or(Delivery::Once), cut: cut(choices) }
            }
            55..=60 => Self::Reach(nth(choices)),
            61..=72 => Self::Poll(nth(choices)),
            73..=80 => Self::Turn(match setup.faults && choices.one_in(12) {
                true => choices.pick(&[Fate::Lost, Fate::Unheard]),
                false => Fate::Stored,
            }),
            81..=87 => Self::Letter { nth: nth(choices), cut: cut(choices) },
            88 => Self::HangUp(nth(choices)),
            89..=92 => Self::Wake { party, exchange, cut: cut(choices) },
            93..=95 => Self::Time(leap(setup, now, choices)),
            96 if choices.one_in(2) => {
                Self::Drift { party, by: choices.pick(&[-15_000, -1_000, 1_000, 15_000]) }
            }
            96 if setup.faults => Self::Step(choices.pick(&[0, -5_000, -300, 3_000])),
            97 if setup.impatience => Self::GiveUp { party, exchange, cut: cut(choices) },
            98 if setup.outages => Self::Sleep(party),
            99 if setup.crashes || setup.outages => Self::Restart(party),
            100 if setup.faults => Self::Kill { power: choices.one_in(2) },
            101..=104 => Self::Boot(match setup.faults && choices.one_in(6) {
                true => choices.pick(&[Fate::Lost, Fate::Unheard]),
                false => Fate::Stored,
            }),
            105 if setup.faults => Self::Blind(u32::try_from(choices.below(24)).unwrap()),
            106 if choices.one_in(2) => Self::Quit,
            107..=116 => Self::Till { party, exchange },
            117..=128 => {
                let (nth, delivery) = (nth(choices), choices.below(10));
                let delivery = [Delivery::Dropped, Delivery::Repeated].get(delivery).copied();
                let delivery = delivery.filter(|_| setup.loss).unwrap_or(Delivery::Once);
                Self::Bank { nth, delivery }
            }
            129..=132 => Self::Tell(nth(choices)),
            133 => Self::Due,
            134 if setup.faults => Self::Strike(choices.one_in(2)),
            135.. => Self::Cheat { exchange, cheat: Cheat::draw(choices) },
            _ => Self::Hello { party, exchange },
        }
    }

    /// What the cheater does at the end.
    pub fn draw_late(choices: &mut Choices) -> Self {
        Self::Cheat { exchange: choices.below(2), cheat: Cheat::draw(choices) }
    }

    /// The same with less trouble, for a shorter story: from least to less.
    pub fn simpler(self) -> Vec<Self> {
        let mut list = Vec::new();
        match self {
            Self::Open { party, cut } if cut != Cut::None => list.push(Self::Open { party, cut: Cut::None }),
            Self::Deliver { nth, delivery, cut } => {
                if cut != Cut::None || delivery == Delivery::Repeated {
                    list.push(Self::Deliver { nth, delivery: Delivery::Once, cut: Cut::None });
                }
                if nth != 0 {
                    list.push(Self::Deliver { nth: 0, delivery, cut });
                }
            }
            Self::Bank { nth, delivery } if nth != 0 || delivery == Delivery::Repeated => {
                list.push(Self::Bank { nth, delivery: Delivery::Once });
                list.push(Self::Bank { nth: 0, delivery });
            }
            Self::Letter { nth, cut } if cut != Cut::None => list.push(Self::Letter { nth, cut: Cut::None }),
            Self::Wake { party, exchange, cut } if cut != Cut::None => {
                list.push(Self::Wake { party, exchange, cut: Cut::None });
            }
            Self::GiveUp { party, exchange, cut } if cut != Cut::None => {
                list.push(Self::GiveUp { party, exchange, cut: Cut::None });
            }
            Self::Turn(Fate::Lost | Fate::Unheard) => list.push(Self::Turn(Fate::Stored)),
            Self::Boot(Fate::Lost | Fate::Unheard) => list.push(Self::Boot(Fate::Stored)),
            Self::Kill { power: true } => list.push(Self::Kill { power: false }),
            _ => {}
        }
        list
    }
}

fn leap(setup: &Setup, now: u64, choices: &mut Choices) -> Leap {
    if !choices.one_in(4) {
        return Leap::By(choices.pick(&[200, 1_000, 20_000, 60_000, 200_000]));
    }
    let deadline = if setup.begins() < SEND_BY && now < SEND_BY + 2 { SEND_BY } else { COMPLAIN_BY };
    let targets = [
        deadline - 1,
        deadline,
        deadline + 1,
        deadline - MARGIN,
        deadline - 2 * MARGIN,
        if now >= COMPLAIN_BY { HOLD_END } else { deadline },
    ];
    Leap::To(choices.pick(&targets).max(now))
}
