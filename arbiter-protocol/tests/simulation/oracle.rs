//! What must hold, written from `SPEC.md` sections 6 and 10. It looks at what travelled, what was committed and
//! what parties report, never into a session or `decide`.

use std::collections::BTreeMap;

use arbiter_protocol::exchange::selection::Role::{self, Originator, Responder};
use arbiter_protocol::ids::ExchangeId;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::verdict::{Ruling, Verdict};
use arbiter_protocol::role::Outcome;
use arbiter_protocol::ruling::sequencer::{Closed, ContentId, Reply};

use crate::common::{COMPLAIN_BY, Kind, content_of};
use crate::court::{Answer, Call, case_of};
use crate::stage::{role_in, stage};

/// What really happened to one party's side of one exchange.
#[derive(Clone, Copy, Default)]
pub struct Facts {
    /// The party took part: it offered or accepted.
    pub engaged: bool,
    /// Its item was put on the network, so that the peer may have it.
    pub item_left: bool,
    /// The peer's item reached it and fits.
    pub received: bool,
    /// The peer's deposit reached it and fits.
    pub fetched: bool,
    /// How it says that the exchange ended.
    pub ended: Option<Outcome>,
}

pub struct Oracle {
    kinds: [Kind; 2],
    /// `[exchange][party]`.
    pub facts: [[Facts; 2]; 2],
    verdicts: BTreeMap<ExchangeId, Verdict>,
    /// First reply to each request, as text: it must be the last, too (F6).
    replies: BTreeMap<[u8; 32], String>,
}

impl Oracle {
    pub fn new(kinds: [Kind; 2]) -> Self {
        Self { kinds, facts: Default::default(), verdicts: BTreeMap::new(), replies: BTreeMap::new() }
    }

    pub fn verdict(&self, exchange: usize) -> Option<&Verdict> {
        self.verdicts.get(&stage().template(exchange, self.kinds[exchange]).offer.exchange_id())
    }

    pub fn ended(&mut self, exchange: usize, party: usize, outcome: Outcome) {
        let facts = &mut self.facts[exchange][party];
        assert!(facts.ended.is_none_or(|it| it == outcome), "an exchange ends in one way: {outcome:?}");
        facts.ended = Some(outcome);
    }

    /// F5, F8: what a batch commits, and which calls it was for.
    pub fn committed(&mut self, closed: &Closed, calls: &[(Call, Answer)]) {
        for (exchange, record) in &closed.records {
            let Some(logged) = &record.verdict else { continue };
            let verdict = &logged.statement;
            if let Some(earlier) = self.verdicts.get(exchange) {
                assert_eq!(earlier, verdict, "F5: a second verdict on one exchange");
                continue;
            }
            let cause = calls
                .iter()
                .find(|(call, _)| {
                    let case = case_of(*call);
                    case.as_ref().as_ref().is_ok_and(|case| case.request().digest() == verdict.request)
                })
                .expect("F7: a verdict without a request in its batch");
            let deposit = record.attestations.of(self.kinds[cause.0.key.exchange].first()).as_ref();
            let deposit = deposit.map(|it| &it.statement);
            let deposited = deposit.map(|it| (it.depositor, Some(it.agreement_id)));
            self.entitled(verdict, cause.0, deposited);
            self.verdicts.insert(*exchange, verdict.clone());
        }
    }

    /// F8: the table of section 6, read as "who may have caused this".
    fn entitled(
        &self,
        verdict: &Verdict,
        cause: Call,
        deposit: Option<(Role, Option<arbiter_protocol::ids::AgreementId>)>,
    ) {
        let key = cause.key;
        let kind = self.kinds[key.exchange];
        let first = kind.first();
        assert_eq!(key.role, role_in(key.exchange, key.signer), "F8: caused by who does not hold the role");
        assert_eq!((verdict.requested_by, key.filed), (key.role, key.exchange), "F8");
        let in_time = verdict.time.0 < COMPLAIN_BY;
        let replaced: Vec<Role> = match &verdict.ruling {
            Ruling::Aborted => Vec::new(),
            Ruling::Replaced(list) => list.iter().map(|it| it.role).collect(),
            Ruling::Affidavit(_) | Ruling::Revoked(_) => panic!("F8: no ruling of P1 and P2"),
        };
        match (kind, key.action) {
            (kind, Action::Abort) if kind.is_p1() => {
                let key_is_over = kind == Kind::P1Escrow && !in_time;
                assert!(key.role == Originator || key_is_over, "F8: P1 abort");
                assert_eq!(replaced, []);
            }
            (kind, Action::Resolve) if kind.is_p1() => {
                assert!(verdict.agreement_id.is_some(), "F8: resolved without agreement");
                assert!(kind != Kind::P1Escrow || in_time, "F8: opened with a key that is over");
                assert_eq!(replaced, [Originator, Responder]);
            }
            (_, Action::Abort) => {
                assert!(key.role == first || !in_time, "F8: the second sender aborted before complain_by");
                assert_eq!(replaced, []);
            }
            (_, Action::Resolve) => {
                assert!(key.role == first && in_time, "F8: complaint by the second sender or too late");
                assert_eq!(deposit, Some((first, verdict.agreement_id)), "F8: complaint without deposit");
                assert_eq!(replaced, [first.peer()]);
            }
            other => panic!("F8: {other:?} caused a verdict"),
        }
    }

    /// F6, F7: an answer as it leaves the arbiter. `durable` is what the arbiter would still have after a
    /// crash at this moment.
    pub fn released(&mut self, call: Call, answer: Answer, court: &crate::court::Court) {
        let Answer::Reply(reply) = answer else { return };
        let case = case_of(call);
        let Ok(case) = case.as_ref() else { panic!("F8: a rejected case was answered") };
        let record = court.durable.records.get(&case.exchange_id());
        let shown = match reply {
            Reply::Verdict => {
                let verdict = record.and_then(|it| it.verdict.as_ref()).expect("F7: verdict before commit");
                assert_eq!(self.verdicts.get(&case.exchange_id()), Some(&verdict.statement), "F5");
                format!("{:?} {:?} {}", verdict.statement, verdict.leaf, verdict.root)
            }
            Reply::Attestation(depositor) => {
                let logged = record.and_then(|it| it.attestations.of(depositor).as_ref());
                let logged = logged.expect("F7: attestation before commit");
                format!("{:?} {:?} {}", logged.statement, logged.leaf, logged.root)
            }
            Reply::Content(_) => {
                let verdict = self.verdicts.get(&case.exchange_id()).map(|it| &it.ruling);
                assert!(matches!(verdict, Some(Ruling::Replaced(_))), "R-408: a deposit without a verdict");
                let kind = self.kinds[call.key.exchange];
                let owner = call.key.role.peer();
                let held = record.and_then(|it| *it.held.of(owner)).expect("F7: content before commit");
                assert_eq!(reply, Reply::Content(held), "R-408: the own item given back");
                let expected = if kind.is_detached(owner) {
                    content_of(owner)
                } else {
                    assert_eq!(owner, kind.first(), "R-408: a deposit for its own depositor");
                    assert!(!kind.is_p1(), "R-408: nothing is deposited in P1");
                    ContentId(7)
                };
                assert_eq!(held, expected);
                "content".to_owned()
            }
        };
        let request = *case.request().digest().as_bytes();
        let earlier = self.replies.entry(request).or_insert_with(|| shown.clone());
        assert_eq!(*earlier, shown, "F6: the same request got another answer");
    }

    /// F6 to the byte, and R-506, for the receipts that are made.
    pub fn receipt(&mut self, call: Call, reply: Reply, court: &crate::court::Court) {
        let case = case_of(call);
        let Ok(case) = case.as_ref() else { return };
        let Some(receipt) = court.receipt(case, reply) else { return };
        let mut tag = *case.request().digest().as_bytes();
        tag[0] ^= 0xff;
        let shown = format!("{:?}", digest_of_receipt(&receipt));
        let proven = receipt.verify(case.offer(), Some(case.request().digest())).expect("a receipt verifies");
        assert_eq!(proven.request, case.request().digest());
        let earlier = self.replies.entry(tag).or_insert_with(|| shown.clone());
        assert_eq!(*earlier, shown, "F6: the same request got another receipt");
    }

    /// Whether the party can end with the peer's item, its replacement, or a deposit to fetch.
    fn has(&self, exchange: usize, party: usize) -> bool {
        let facts = self.facts[exchange][party];
        facts.received || facts.fetched || self.replaced(exchange, role_in(exchange, party).peer())
    }

    /// Whether the party's item may be in the hands of the peer, by any way.
    fn gave(&self, exchange: usize, party: usize) -> bool {
        let role = role_in(exchange, party);
        let facts = self.facts[exchange][party];
        // In P2 the first sender's deposit is there to fetch as soon as the verdict replaces.
        let deposited = !self.kinds[exchange].is_p1()
            && role == self.kinds[exchange].first()
            && matches!(self.verdict(exchange).map(|it| &it.ruling), Some(Ruling::Replaced(_)));
        facts.item_left || deposited || self.replaced(exchange, role)
    }

    fn replaced(&self, exchange: usize, role: Role) -> bool {
        match self.verdict(exchange).map(|it| &it.ruling) {
            Some(Ruling::Replaced(list)) => list.iter().any(|it| it.role == role),
            _ => false,
        }
    }

    /// F1 and F4, at the end of time, for one party that behaved.
    pub fn judge(&self, exchange: usize, party: usize) -> Option<Outcome> {
        let facts = self.facts[exchange][party];
        assert!(
            !self.gave(exchange, party) || self.has(exchange, party),
            "F1: the peer has the item of party {party} in exchange {exchange}, and gave nothing"
        );
        if !facts.engaged {
            return None;
        }
        let outcome = facts.ended.expect("F4: an honest party did not end");
        let role = role_in(exchange, party);
        match outcome {
            Outcome::Completed => assert!(facts.received, "completed without the item"),
            Outcome::Resolved => {
                let replaced = self.replaced(exchange, role.peer());
                assert!(replaced || facts.fetched, "resolved without an item");
                let in_escrow = self.kinds[exchange].is_detached(role.peer());
                assert!(!in_escrow || facts.fetched, "resolved without the signature in hand");
            }
            Outcome::Abandoned | Outcome::Affidavit => panic!("neither T nor P6 is in this world"),
            Outcome::Aborted => {
                let ruling = self.verdict(exchange).map(|it| &it.ruling);
                assert_eq!(ruling, Some(&Ruling::Aborted), "aborted without an abort token");
                assert!(!facts.item_left, "F1: aborted after the item left");
            }
        }
        Some(outcome)
    }

    /// How it ended, in words that name the ways worth reaching.
    pub fn ending(&self, exchange: usize, party: usize, outcome: Outcome) -> String {
        let kind = self.kinds[exchange];
        let role = role_in(exchange, party);
        let order = if role == kind.first() { "first" } else { "second" };
        let protocol = match (kind.is_p1(), Kind::ESCROW.contains(&kind)) {
            (true, false) => "P1",
            (true, true) => "P1e",
            (false, false) => "P2",
            (false, true) => "P2e",
        };
        let by = match self.verdict(exchange) {
            Some(verdict) if outcome != Outcome::Completed => {
                let who = if verdict.requested_by == kind.first() { "first" } else { "second" };
                format!(" by {who} ({})", verdict.rule)
            }
            _ => String::new(),
        };
        let fetched = if outcome == Outcome::Resolved && self.facts[exchange][party].fetched {
            ", fetched"
        } else {
            ""
        };
        format!("{protocol} {order} {outcome:?}{by}{fetched}")
    }
}

fn digest_of_receipt(
    receipt: &arbiter_protocol::ruling::receipt::Receipt,
) -> (String, Vec<u8>, Vec<u8>, String) {
    let proof = receipt.inclusion_proof.iter().flat_map(|it| it.to_vec()).collect();
    let envelopes = [receipt.statement.encode(), receipt.answer.encode()].concat();
    (hex::encode(envelopes), receipt.leaf.clone(), proof, receipt.checkpoint.clone())
}
