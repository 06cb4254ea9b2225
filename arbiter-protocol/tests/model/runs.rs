//! Which searches there are, what each comes to, and which attack each weakness lets through.

use arbiter_protocol::weaken::Countermeasure::{self, *};

use crate::common::Kind;
use crate::laws;
use crate::stage::Setup;

/// A search, and how many states it has: one that shrinks or grows by accident is noticed.
pub struct Run {
    pub name: &'static str,
    pub setup: fn() -> Setup,
    pub states: usize,
    pub transitions: usize,
    /// How many instants a party may have to wait, at most, until it has ended without its peer.
    pub wait: u8,
}

const fn run(name: &'static str, setup: fn() -> Setup, states: usize, transitions: usize, wait: u8) -> Run {
    Run { name, setup, states, transitions, wait }
}

/// One exchange: nobody cheats, the originator cheats, the responder cheats.
pub const ONE: [Run; 21] = [
    run("P1, network", || Setup::one(Kind::P1, None), 454, 2_000, 0),
    run("P1, originator", || Setup::one(Kind::P1, Some(0)), 600, 3_141, 0),
    run("P1, responder", || Setup::one(Kind::P1, Some(1)), 1_306, 7_719, 0),
    run("P1 escrow, network", || Setup::one(Kind::P1Escrow, None), 86_865, 547_031, 1),
    run("P1 escrow, originator", || Setup::one(Kind::P1Escrow, Some(0)), 35_026, 215_581, 1),
    run("P1 escrow, responder", || Setup::one(Kind::P1Escrow, Some(1)), 262_640, 1_846_738, 1),
    run("P1 mixed, network", || Setup::one(Kind::P1Mixed, None), 52_759, 325_461, 1),
    run("P1 mixed, originator", || Setup::one(Kind::P1Mixed, Some(0)), 31_114, 191_565, 1),
    run("P1 mixed, responder", || Setup::one(Kind::P1Mixed, Some(1)), 170_272, 1_248_960, 1),
    run("P2 O first, network", || Setup::one(Kind::P2OriginatorFirst, None), 18_256, 99_405, 5),
    run("P2 O first, originator", || Setup::one(Kind::P2OriginatorFirst, Some(0)), 22_866, 118_137, 5),
    run("P2 O first, responder", || Setup::one(Kind::P2OriginatorFirst, Some(1)), 104_606, 680_042, 1),
    run("P2 O first escrow, network", || Setup::one(Kind::P2OriginatorFirstEscrow, None), 24_428, 135_428, 5),
    run(
        "P2 O first escrow, originator",
        || Setup::one(Kind::P2OriginatorFirstEscrow, Some(0)),
        31_466,
        177_393,
        5,
    ),
    run(
        "P2 O first escrow, responder",
        || Setup::one(Kind::P2OriginatorFirstEscrow, Some(1)),
        117_318,
        716_062,
        1,
    ),
    run("P2 R first, network", || Setup::one(Kind::P2ResponderFirst, None), 26_949, 153_580, 5),
    run("P2 R first, originator", || Setup::one(Kind::P2ResponderFirst, Some(0)), 27_625, 170_663, 1),
    run("P2 R first, responder", || Setup::one(Kind::P2ResponderFirst, Some(1)), 173_290, 1_001_206, 5),
    run("P2 R first escrow, network", || Setup::one(Kind::P2ResponderFirstEscrow, None), 37_521, 216_677, 5),
    run(
        "P2 R first escrow, originator",
        || Setup::one(Kind::P2ResponderFirstEscrow, Some(0)),
        32_259,
        190_881,
        1,
    ),
    run(
        "P2 R first escrow, responder",
        || Setup::one(Kind::P2ResponderFirstEscrow, Some(1)),
        265_726,
        1_750_008,
        5,
    ),
];

/// Two exchanges between the same people. Swapped: each is originator once.
pub const TWO: [Run; 5] = [
    run("P1 and P1, Bob", || Setup::two([(Kind::P1, false), (Kind::P1, false)], Some(1)), 64_628, 553_749, 0),
    run("P1 and P1, Ada", || Setup::two([(Kind::P1, false), (Kind::P1, false)], Some(0)), 27_324, 198_669, 0),
    run(
        "P1 and P1 swapped, Bob",
        || Setup::two([(Kind::P1, false), (Kind::P1, true)], Some(1)),
        42_024,
        332_607,
        0,
    ),
    run(
        "P1 and P2 swapped, Bob",
        || Setup::two([(Kind::P1, false), (Kind::P2OriginatorFirst, true)], Some(1)),
        287_778,
        2_193_945,
        2,
    ),
    run(
        "P1 and P2 swapped, Ada",
        || Setup::two([(Kind::P1, false), (Kind::P2OriginatorFirst, true)], Some(0)),
        601_504,
        4_981_182,
        0,
    ),
];

/// Without which countermeasure which search finds which law broken. The same search with it finds nothing: it is one of
/// those above.
pub const ATTACKS: [(Countermeasure, &str, &str); 22] = [
    (AbortOnlyAfterTheDeadline, "P1, responder", laws::FAIR),
    (AbortOnlyAfterTheDeadline, "P2 O first, responder", laws::FAIR),
    (AbortByTheOriginator, "P1, responder", laws::TIMELY),
    (AgreementInTransfer, "P1, responder", laws::BOUND),
    (AnswerForThisRequest, "P1 and P1, Bob", laws::FAIR),
    (DepositBeforeComplaint, "P2 O first, originator", laws::TIMELY),
    (EscrowCheck, "P1 escrow, responder", laws::FAIR),
    (EscrowContext, "P1 escrow, responder", laws::FAIR),
    (EscrowKeyEnds, "P1 escrow, responder", laws::ENTITLED),
    (ExchangeInTransfer, "P1 and P1, Ada", laws::FAIR),
    (ExchangeInRequest, "P1 and P1, Bob", laws::FAIR),
    (FetchByThePeer, "P2 O first, originator", laws::TIMELY),
    (FetchAfterAVerdict, "P2 O first, responder", laws::RELEASED),
    (NothingAfterAnAbort, "P1, responder", laws::FAIR),
    (OneVerdict, "P1, responder", laws::FAIR),
    (PersistBeforeReply, "P1, responder", laws::FAIR),
    (PersistBeforeSending, "P1, responder", laws::FAIR),
    (RefusalsAreNotTrusted, "P2 O first, responder", laws::FAIR),
    (RequestBySigner, "P1, responder", laws::FAIR),
    (SecondSendsSecond, "P2 O first, originator", laws::FAIR),
    (SendOnlyInTime, "P2 O first, responder", laws::FAIR),
    (VerdictOnAnyAcceptance, "P1, responder", laws::TIMELY),
];
