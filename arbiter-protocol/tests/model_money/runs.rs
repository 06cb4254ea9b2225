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
pub const RUNS: [Run; 46] = [
    run("P2 payment, network", || Setup::new(Kind::P2Payment, None), 6_698, 30_980, 5),
    run("P2 payment, originator", || Setup::new(Kind::P2Payment, Some(0)), 5_726, 30_421, 5),
    run("P2 payment, responder", || Setup::new(Kind::P2Payment, Some(1)), 13_682, 94_085, 5),
    run("P2 payment by R, network", || Setup::new(Kind::P2ResponderPays, None), 6_271, 29_600, 5),
    run("P2 payment by R, originator", || Setup::new(Kind::P2ResponderPays, Some(0)), 3_725, 20_984, 5),
    run("P2 payment by R, responder", || Setup::new(Kind::P2ResponderPays, Some(1)), 27_352, 178_459, 5),
    run("P3 O pays, network", || Setup::new(Kind::P3OriginatorPays, None), 52_521, 304_106, 5),
    run("P3 O pays, originator", || Setup::new(Kind::P3OriginatorPays, Some(0)), 88_295, 632_627, 4),
    run("P3 O pays, responder", || Setup::new(Kind::P3OriginatorPays, Some(1)), 178_408, 1_342_079, 5),
    run("P3 R pays, network", || Setup::new(Kind::P3ResponderPays, None), 53_879, 314_140, 5),
    run("P3 R pays, originator", || Setup::new(Kind::P3ResponderPays, Some(0)), 43_620, 281_478, 5),
    run("P3 R pays, responder", || Setup::new(Kind::P3ResponderPays, Some(1)), 293_372, 2_418_919, 4),
    run("P3 payments, network", || Setup::new(Kind::P3Payments, None), 44_692, 253_029, 8),
    run("P3 payments, originator", || Setup::new(Kind::P3Payments, Some(0)), 122_382, 875_422, 8),
    run("P3 payments, responder", || Setup::new(Kind::P3Payments, Some(1)), 406_066, 3_398_123, 5),
    run("P3 short, responder", || Setup::new(Kind::P3OriginatorPays, Some(1)).short(), 45_996, 353_536, 0),
    run("P4, network", || Setup::new(Kind::P4, None), 63_705, 412_688, 6),
    run("P4, originator", || Setup::new(Kind::P4, Some(0)), 90_732, 696_756, 6),
    run("P4, responder", || Setup::new(Kind::P4, Some(1)), 598_918, 5_623_169, 6),
    run("P5, network", || Setup::new(Kind::P5, None), 91_136, 531_223, 4),
    run("P5, originator", || Setup::new(Kind::P5, Some(0)), 30_462, 172_326, 4),
    run("P5, responder", || Setup::new(Kind::P5, Some(1)), 133_034, 903_882, 4),
    run("P6 paid for file, network", || Setup::new(Kind::P6PaidForFile, None), 7_698, 37_272, 5),
    run("P6 paid for file, originator", || Setup::new(Kind::P6PaidForFile, Some(0)), 4_686, 25_316, 5),
    run("P6 paid for file, responder", || Setup::new(Kind::P6PaidForFile, Some(1)), 123_910, 820_991, 5),
    run("P6 file for paid, network", || Setup::new(Kind::P6FileForPaid, None), 9_986, 49_849, 5),
    run("P6 file for paid, originator", || Setup::new(Kind::P6FileForPaid, Some(0)), 6_134, 34_515, 5),
    run("P6 file for paid, responder", || Setup::new(Kind::P6FileForPaid, Some(1)), 204_720, 1_375_645, 4),
    run("P6 payments, network", || Setup::new(Kind::P6Payments, None), 7_698, 37_272, 5),
    run("P6 payments, originator", || Setup::new(Kind::P6Payments, Some(0)), 8_618, 50_707, 5),
    run("P6 payments, responder", || Setup::new(Kind::P6Payments, Some(1)), 139_508, 944_289, 5),
    run("P6 file for word, network", || Setup::new(Kind::P6FileForWord, None), 9_986, 49_849, 5),
    run("P6 file for word, originator", || Setup::new(Kind::P6FileForWord, Some(0)), 3_444, 17_841, 5),
    run("P6 file for word, responder", || Setup::new(Kind::P6FileForWord, Some(1)), 23_938, 170_300, 4),
    run("P6 word for file, network", || Setup::new(Kind::P6WordForFile, None), 12_349, 65_020, 5),
    run("P6 word for file, originator", || Setup::new(Kind::P6WordForFile, Some(0)), 7_228, 44_947, 4),
    run("P6 word for file, responder", || Setup::new(Kind::P6WordForFile, Some(1)), 16_788, 107_795, 5),
    run("P6 word for paid, network", || Setup::new(Kind::P6WordForPaid, None), 7_773, 38_988, 5),
    run("P6 word for paid, originator", || Setup::new(Kind::P6WordForPaid, Some(0)), 5_472, 32_727, 5),
    run("P6 word for paid, responder", || Setup::new(Kind::P6WordForPaid, Some(1)), 21_192, 142_067, 5),
    run("P6 signature for held, network", || Setup::new(Kind::P6SignatureForHeld, None), 8_203, 39_443, 5),
    run(
        "P6 signature for held, originator",
        || Setup::new(Kind::P6SignatureForHeld, Some(0)),
        6_482,
        39_136,
        5,
    ),
    run(
        "P6 signature for held, responder",
        || Setup::new(Kind::P6SignatureForHeld, Some(1)),
        102_190,
        741_116,
        4,
    ),
    run("P6 held for signature, network", || Setup::new(Kind::P6HeldForSignature, None), 11_427, 58_145, 5),
    run(
        "P6 held for signature, originator",
        || Setup::new(Kind::P6HeldForSignature, Some(0)),
        10_179,
        61_789,
        5,
    ),
    run(
        "P6 held for signature, responder",
        || Setup::new(Kind::P6HeldForSignature, Some(1)),
        50_534,
        375_579,
        5,
    ),
];

/// Without which countermeasure which search finds which law broken. The same search with it finds nothing: it is one of
/// those above.
pub const ATTACKS: [(Countermeasure, &str, &str); 27] = [
    (BothBeforeGivingOut, "P5, originator", laws::TIMELY),
    (DepositBlocksRevocation, "P3 R pays, responder", laws::FAIR),
    (FetchAfterAVerdict, "P3 O pays, originator", laws::RELEASED),
    (FetchByThePeer, "P5, originator", laws::TIMELY),
    (PayerPostsAll, "P3 O pays, originator", laws::FAIR),
    (RefusalsAreNotTrusted, "P3 O pays, responder", laws::FAIR),
    (RevokeOnlyAfterSendBy, "P3 O pays, originator", laws::FAIR),
    (RollBackBoth, "P4, responder", laws::FAIR),
    (RollBackInTime, "P4, originator", laws::FAIR),
    (SecondSendsSecond, "P3 O pays, originator", laws::FAIR),
    (SendOnlyInTime, "P3 O pays, originator", laws::FAIR),
    (TimeToRevoke, "P3 short, responder", laws::FAIR),
    (VerdictOnAnyAcceptance, "P3 O pays, responder", laws::TIMELY),
    (VoidBeforeMake, "P4, originator", laws::FAIR),
    (AbortOnlyAfterTheDeadline, "P6 paid for file, responder", laws::WEAKLY_FAIR),
    (AffidavitAtTheDeadline, "P6 paid for file, responder", laws::WEAKLY_FAIR),
    (AffidavitForWhoAborts, "P6 paid for file, network", laws::TIMELY),
    (BothBeforeGivingOut, "P6 paid for file, network", laws::TIMELY),
    (DepositBlocksAbort, "P6 paid for file, responder", laws::WEAKLY_FAIR),
    (EveryDepositCounts, "P6 paid for file, responder", laws::WEAKLY_FAIR),
    (FetchAfterAVerdict, "P6 file for paid, responder", laws::RELEASED),
    (FetchByThePeer, "P6 paid for file, responder", laws::TIMELY),
    (OneVerdict, "P6 word for paid, originator", laws::WEAKLY_FAIR),
    (RefusalsAreNotTrusted, "P6 paid for file, responder", laws::WEAKLY_FAIR),
    (SecondSendsSecond, "P6 word for file, responder", laws::FAIR),
    (SendOnlyInTime, "P6 paid for file, responder", laws::WEAKLY_FAIR),
    (VerdictOnAnyAcceptance, "P6 file for word, responder", laws::TIMELY),
];
