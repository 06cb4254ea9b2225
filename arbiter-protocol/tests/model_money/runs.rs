//! Which searches there are, what each comes to, and which attack each weakness lets through.

use arbiter_protocol::weaken::Countermeasure::{self, *};

use crate::common::Kind;
use crate::laws;

/// A search, and how many states it has: one that shrinks or grows by accident is noticed.
pub struct Run {
    pub name: &'static str,
    pub kind: Kind,
    pub cheater: Option<usize>,
    pub states: usize,
    pub transitions: usize,
    /// How many instants a party may have to wait, at most, until it has ended without its peer.
    pub wait: u8,
}

const fn run(
    name: &'static str,
    kind: Kind,
    cheater: Option<usize>,
    (states, transitions, wait): (usize, usize, u8),
) -> Run {
    Run { name, kind, cheater, states, transitions, wait }
}

/// One exchange: nobody cheats, the originator cheats, the responder cheats.
pub const RUNS: [Run; 18] = [
    run("P2 payment, network", Kind::P2Payment, None, (0, 0, 0)),
    run("P2 payment, originator", Kind::P2Payment, Some(0), (0, 0, 0)),
    run("P2 payment, responder", Kind::P2Payment, Some(1), (0, 0, 0)),
    run("P3 O pays, network", Kind::P3OriginatorPays, None, (0, 0, 0)),
    run("P3 O pays, originator", Kind::P3OriginatorPays, Some(0), (0, 0, 0)),
    run("P3 O pays, responder", Kind::P3OriginatorPays, Some(1), (0, 0, 0)),
    run("P3 R pays, network", Kind::P3ResponderPays, None, (0, 0, 0)),
    run("P3 R pays, originator", Kind::P3ResponderPays, Some(0), (0, 0, 0)),
    run("P3 R pays, responder", Kind::P3ResponderPays, Some(1), (0, 0, 0)),
    run("P3 payments, network", Kind::P3Payments, None, (0, 0, 0)),
    run("P3 payments, originator", Kind::P3Payments, Some(0), (0, 0, 0)),
    run("P3 payments, responder", Kind::P3Payments, Some(1), (0, 0, 0)),
    run("P4, network", Kind::P4, None, (0, 0, 0)),
    run("P4, originator", Kind::P4, Some(0), (0, 0, 0)),
    run("P4, responder", Kind::P4, Some(1), (0, 0, 0)),
    run("P5, network", Kind::P5, None, (0, 0, 0)),
    run("P5, originator", Kind::P5, Some(0), (0, 0, 0)),
    run("P5, responder", Kind::P5, Some(1), (0, 0, 0)),
];

/// Without which countermeasure which search finds which law broken. The same search with it finds nothing: it is one of
/// those above.
pub const ATTACKS: [(Countermeasure, &str, &str); 2] = [
    (RevokeOnlyAfterSendBy, "P3 O pays, originator", laws::FAIR),
    (RollBackBoth, "P4, responder", laws::FAIR),
];
