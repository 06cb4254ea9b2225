//! Charges: an arbiter that contradicts itself or breaks a rule of its log is convicted by its signatures alone; one that
//! does not cannot be framed, whatever is presented (R-561, R-562, R-563, F13, F14).

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

mod common;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use arbiter_protocol::crypto::Signer as _;
use arbiter_protocol::error::Invalid;
use arbiter_protocol::evidence::checkpoint::{Checkpoint, SignedCheckpoint};
use arbiter_protocol::evidence::leaf::{Event, Leaf, Pseudonym, REASONS};
use arbiter_protocol::evidence::merkle::{
    Frontier, NodeId, consistency_path, consistency_proof, inclusion_proof, leaf_hash,
};
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::evidence::record::record_root;
use arbiter_protocol::exchange::selection::ByRole;
use arbiter_protocol::exchange::selection::Role::{self, Originator};
use arbiter_protocol::ids::{AgreementId, Digest, ExchangeId, LeafIndex};
use arbiter_protocol::message::agreement::{ArbiterIdentity, Offer};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::verdict::Attestation;
use arbiter_protocol::role::arbiter::RULES;
use arbiter_protocol::ruling::chain::{LeafFault, Walk, one, two};
use arbiter_protocol::ruling::charge::{Charge, Finding, Located, Offence, TreeHead};
use arbiter_protocol::ruling::receipt::{Evidence, Receipt, Ruled, contradict};
use arbiter_protocol::statement::{Envelope, Verified};
use arbiter_protocol::time::UnixMillis;
use common::{Cast, EARLY, Kind, Notary};

fn finding(cast: &Cast, charge: &Charge) -> Finding {
    let judgement = charge.judge(&cast.identity());
    let failed = judgement.steps.iter().filter(|step| !step.passed).count();
    let convicted = !matches!(judgement.finding, Finding::NotProven);
    assert_eq!(failed, usize::from(!convicted), "it ends at the first step that fails: {judgement:?}");
    assert!(judgement.steps.last().is_none_or(|step| step.passed == convicted));
    judgement.finding
}

/// A case filed with a new notary: its receipt.
fn filed(kind: Kind, steps: &[(Role, Action)], at: u64) -> (Verified<Offer>, Vec<Receipt>, Notary) {
    let mut notary = Notary::new();
    let agreement = notary.cast.agreement(kind);
    let mut receipts = Vec::new();
    for ((role, action), now) in steps.iter().zip(at..) {
        let case = notary.cast.case(&agreement, *role, *action);
        receipts.push(notary.file(&case, now).unwrap().unwrap());
    }
    (agreement.offer().clone(), receipts, notary)
}

/// F14, S38: whatever of two receipts contradicts makes a charge that convicts, against this arbiter and no other.
#[test]
fn receipts_that_contradict_each_other_convict() {
    let cast = Cast::new();
    let abort = [(Originator, Action::Abort)];
    let resolve = [(Originator, Action::Resolve)];
    let deposit = [(Originator, Action::Deposit)];
    let (p1, p2) = (Kind::P1, Kind::P2OriginatorFirst);
    let cases = [
        (filed(p1, &abort, EARLY), filed(p1, &resolve, EARLY), "two verdicts"),
        (filed(p2, &deposit, EARLY), filed(p2, &deposit, EARLY + 1), "two attestations"),
        (filed(p1, &abort, EARLY), filed(p2, &abort, EARLY), "two different logs"),
    ];
    for ((offer, one, _), (other_offer, other, _), words) in cases {
        let (one, other) = (&one[0], &other[0]);
        let proven = (one.verify(&offer, None).unwrap(), other.verify(&other_offer, None).unwrap());
        assert!(contradict(&proven.0, &proven.1));
        let charge = Charge::of_receipts((one, &proven.0), (other, &proven.1)).unwrap();
        let Finding::Guilty(offence) = finding(&cast, &charge) else { panic!("{words}: not guilty") };
        assert!(offence.to_string().contains(words), "{offence}");
        assert!(Charge::of_receipts((one, &proven.0), (one, &proven.0)).is_none());
        let mut foreign = cast.identity();
        foreign.key = foreign.log_key;
        foreign.log_key = cast.arbiter.public_key();
        assert_eq!(charge.judge(&foreign).finding, Finding::NotProven, "another arbiter");
    }
}

/// receipts of one honest log make no charge, the attestations of both parties of one exchange among them.
#[test]
fn receipts_of_an_honest_arbiter_contradict_nothing() {
    let mut notary = Notary::new();
    let mut all = Vec::new();
    for kind in Kind::ALL.into_iter().chain(Kind::MONEY) {
        let (agreement, first) = (notary.cast.agreement(kind), kind.first());
        for (role, action) in [
            (first, Action::Deposit),
            (first.peer(), Action::Deposit),
            (first, Action::Resolve),
            (first, Action::Abort),
        ] {
            let case = notary.cast.case(&agreement, role, action);
            if let Ok(Some(receipt)) = notary.file(&case, EARLY) {
                let proven = receipt.verify(agreement.offer(), None).unwrap();
                all.push((receipt, proven));
            }
        }
    }
    let mut both = 0;
    for (one, proven) in &all {
        for (other, again) in &all {
            assert!(!contradict(proven, again));
            assert_eq!(Charge::of_receipts((one, proven), (other, again)), None);
            if let (Ruled::Attestation(a), Ruled::Attestation(b)) = (&proven.ruled, &again.ruled) {
                both += usize::from(a.exchange_id == b.exchange_id && a.depositor != b.depositor);
            }
        }
    }
    assert!(both > 0, "no exchange in which both deposited");
}

/// Leaves and trees of the same keys, and how to point at them.
struct Log<'a> {
    cast: &'a Cast,
    leaves: Vec<Vec<u8>>,
    nodes: BTreeMap<NodeId, Digest>,
    frontier: Frontier,
}

impl<'a> Log<'a> {
    fn of(cast: &'a Cast, leaves: &[Vec<u8>]) -> Self {
        let mut log =
            Self { cast, leaves: leaves.to_vec(), nodes: BTreeMap::new(), frontier: Frontier::new() };
        for leaf in leaves {
            log.nodes.extend(log.frontier.append(leaf_hash(leaf)));
        }
        log
    }

    fn size(&self) -> u64 {
        self.frontier.size()
    }

    fn node(&self, id: NodeId) -> Result<Digest, NodeId> {
        self.nodes.get(&id).copied().ok_or(id)
    }

    fn note(&self) -> String {
        let notary = Notary::of(Cast::new());
        let origin = self.cast.identity().log_origin;
        let checkpoint = Checkpoint { origin, size: self.size(), root: self.frontier.root() };
        notary.seals().checkpoint(&checkpoint).unwrap()
    }

    fn head(&self) -> TreeHead {
        TreeHead::Checkpoint(self.note())
    }

    fn signed(&self) -> SignedCheckpoint {
        let identity = self.cast.identity();
        let key = VerifierKey::new(identity.log_origin.as_str(), identity.log_key).unwrap();
        SignedCheckpoint::verify(&self.note(), &key).unwrap()
    }

    fn located(&self, index: u64) -> Located {
        Located {
            index: LeafIndex(index),
            leaf: self.leaves[usize::try_from(index).unwrap()].clone(),
            path: inclusion_proof(index, self.size(), |id| self.node(id)).unwrap(),
            head: self.head(),
        }
    }
}

/// The honest log of a few exchanges of every kind.
fn honest_leaves() -> Vec<Vec<u8>> {
    static LEAVES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    LEAVES.get_or_init(make_leaves).clone()
}

fn make_leaves() -> Vec<Vec<u8>> {
    let mut notary = Notary::new();
    for (kind, now) in
        Kind::ALL.into_iter().chain(Kind::MONEY).chain(Kind::RESERVED).zip((EARLY..).step_by(10))
    {
        let agreement = notary.cast.agreement(kind);
        for (role, action) in [
            (kind.first(), Action::Deposit),
            (kind.first().peer(), Action::Deposit),
            (kind.first(), Action::Resolve),
            (kind.first(), Action::Revoke),
        ] {
            let case = notary.cast.case(&agreement, role, action);
            let _ = notary.file(&case, now); // Refused in most: what is logged is what counts here.
        }
    }
    notary.durable.leaves
}

/// S36, R-563: two trees that are not one log convict whatever their sizes are; a missing proof is only a claim.
#[test]
fn a_rewritten_history_convicts_and_a_missing_proof_does_not() {
    let cast = Cast::new();
    let leaves = honest_leaves();
    let all = Log::of(&cast, &leaves);
    for size in 1..leaves.len() {
        let old = Log::of(&cast, &leaves[..size]);
        let proof = consistency_proof(old.size(), all.size(), |id| all.node(id)).unwrap();
        let path = consistency_path(old.size(), all.size(), |id| all.node(id)).unwrap();
        let (older, newer) = (old.signed(), all.signed());
        // Honest: no charge, whatever is said to be missing.
        assert_eq!(finding(&cast, &Charge::of_checkpoints(&older, &newer, proof)), Finding::NotProven);
        let honest = Charge::Rewritten { older: old.head(), newer: all.head(), path: path.clone() };
        assert_eq!(finding(&cast, &honest), Finding::NotProven);
        assert_eq!(finding(&cast, &Charge::of_checkpoints(&older, &newer, Vec::new())), Finding::Claim);

        let mut other = leaves[..size].to_vec();
        other[size / 2].push(b' ');
        let forked = Log::of(&cast, &other);
        let charge = Charge::Rewritten { older: forked.head(), newer: all.head(), path: path.clone() };
        let rewritten = Finding::Guilty(Offence::Rewritten { size: forked.size() });
        assert_eq!(finding(&cast, &charge), rewritten);
        let same = Charge::of_checkpoints(&older, &forked.signed(), Vec::new());
        assert_eq!(
            finding(&cast, &same),
            Finding::Guilty(Offence::TwoRoots { size: older.checkpoint().size })
        );
        // What the arbiter itself shows as a proof can be the proof against it.
        let shown = Charge::of_checkpoints(&forked.signed(), &newer, path.clone());
        assert_eq!(finding(&cast, &shown), rewritten);
        for place in 0..path.len() {
            let mut bad = path.clone();
            bad[place] = Digest::of(&[b"altered"]);
            let charge = Charge::Rewritten { older: forked.head(), newer: all.head(), path: bad.clone() };
            assert_eq!(finding(&cast, &charge), Finding::NotProven);
            let shown = Charge::of_checkpoints(&forked.signed(), &newer, bad);
            assert_eq!(finding(&cast, &shown), Finding::Claim, "what leads nowhere is no proof");
        }
    }
    // One place, two leaves; a place that an answer names, and another leaf there.
    let (_, receipts, notary) = filed(Kind::P1, &[(Originator, Action::Abort)], EARLY);
    let ruled = Log::of(&cast, &notary.durable.leaves);
    let charge = Charge::Leaves { first: ruled.located(1), second: Some(all.located(1)) };
    assert_eq!(finding(&cast, &charge), Finding::Guilty(Offence::TwoLeaves(LeafIndex(1))));
    let charge = Charge::OtherLeaf { answer: receipts[0].answer.clone(), there: all.located(1) };
    assert_eq!(finding(&cast, &charge), Finding::Guilty(Offence::OtherLeaf(LeafIndex(1))));
    let charge = Charge::OtherLeaf { answer: receipts[0].answer.clone(), there: ruled.located(1) };
    assert_eq!(finding(&cast, &charge), Finding::NotProven);
    let unsigned = all.note().replacen("arbiter.test", "arbiter.tess", 1);
    let charge = Charge::TwoRoots { first: TreeHead::Checkpoint(unsigned), second: all.head() };
    assert_eq!(finding(&cast, &charge), Finding::NotProven);
}

fn read_all(leaves: &[Vec<u8>], cast: Option<&Cast>) -> (Walk, Option<LeafFault>) {
    let mut walk = Walk::new(cast.map(Cast::identity));
    for leaf in leaves {
        if let Err(fault) = walk.read(leaf) {
            return (walk, Some(fault));
        }
    }
    (walk, None)
}

/// what is kept between two runs is exactly what reading on needs, in one form.
#[test]
fn a_walk_goes_on_from_its_state() {
    let cast = Cast::new();
    let leaves = honest_leaves();
    for arbiter in [None, Some(&cast)] {
        let (whole, fault) = read_all(&leaves, arbiter);
        assert_eq!(fault, None);
        assert_eq!(whole.encode().len(), 56 + 32 * whole.exchanges());
        for cut in 0..=leaves.len() {
            let (part, _) = read_all(&leaves[..cut], arbiter);
            let bytes = part.encode();
            let mut again = Walk::decode(&bytes, arbiter.map(Cast::identity)).unwrap();
            assert_eq!(again, part);
            for leaf in &leaves[cut..] {
                again.read(leaf).unwrap();
            }
            assert_eq!(again, whole);
        }
        let bytes = whole.encode();
        // Begun without the arbiter's identity and gone on with it. Another arbiter's log is another walk.
        for cut in [0, 1, leaves.len()] {
            let state = read_all(&leaves[..cut], arbiter).0.encode();
            let mut again = Walk::decode(&state, Some(cast.identity())).unwrap();
            for leaf in &leaves[cut..] {
                again.read(leaf).unwrap();
            }
            assert_eq!(again.encode(), bytes);
            let foreign = ArbiterIdentity { key: cast.identity().log_key, ..cast.identity() };
            assert_eq!(Walk::decode(&state, Some(foreign)).is_ok(), cut == 0);
        }
        for position in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[position] ^= 0x80;
            let again = Walk::decode(&altered, arbiter.map(Cast::identity));
            assert!(
                again.is_err() || again.is_ok_and(|it| it != whole && it.encode() == altered),
                "{position}"
            );
            assert!(Walk::decode(&bytes[..position], None).is_err() || position % 32 == 24);
        }
    }
}

/// Changes leaf `index` and finds the fault there, and nowhere before; a charge from one or two leaves convicts.
fn planted(index: usize, change: impl Fn(&mut Leaf), expected: LeafFault, beside: Option<u64>) {
    let cast = Cast::new();
    let mut leaves = honest_leaves();
    let mut leaf = Leaf::decode(&leaves[index]).unwrap();
    change(&mut leaf);
    leaves[index] = leaf.encode();
    let (walk, fault) = read_all(&leaves, Some(&cast));
    assert_eq!((walk.size(), fault), (u64::try_from(index).unwrap(), Some(expected)));
    let log = Log::of(&cast, &leaves);
    let (there, beside) = (log.located(walk.size()), beside.map(|it| log.located(it)));
    let charge = match beside {
        None => Charge::Leaves { first: there, second: None },
        Some(beside) => Charge::Leaves { first: beside, second: Some(there) },
    };
    assert_eq!(finding(&cast, &charge), Finding::Guilty(Offence::BadLog(expected)));
}

/// The first leaf with this event in the honest log, and after it.
fn first(event: Event, after: usize) -> usize {
    let leaves = honest_leaves();
    let is = |leaf: &Vec<u8>| Leaf::decode(leaf).unwrap().event == event;
    after + leaves[after..].iter().position(is).unwrap()
}

/// every rule of the public leaves, broken at a known place.
#[test]
fn every_violation_is_found_where_it_is_and_convicts() {
    let (deposit, verdict) = (first(Event::DepositAccepted, 1), first(Event::VerdictReplaced, 1));
    let relied = first(Event::VerdictReplaced, deposit);
    let leaf = |index: usize| Leaf::decode(&honest_leaves()[index]).unwrap();
    let index = |index: usize| Some(u64::try_from(index).unwrap());
    let unfit = |event: &'static str, reason| LeafFault::Reason { event, reason };
    planted(0, |it| it.token = Digest::of(&[b"x"]), LeafFault::Genesis, None);
    planted(0, |it| it.issuer[0] ^= 1, LeafFault::Issuer, None);
    planted(verdict, |it| it.issuer[0] ^= 1, LeafFault::Issuer, None);
    planted(verdict, |it| it.policy = Digest::of(&[b"x"]), LeafFault::Issuer, index(0));
    planted(verdict, |it| it.policy = Digest::of(&[b"x"]), LeafFault::Issuer, None);
    planted(verdict, |it| it.index.0 += 1, LeafFault::Place { says: index(verdict + 1).unwrap() }, None);
    planted(verdict, |it| it.time = UnixMillis(EARLY - 2), LeafFault::Time, index(0));
    planted(verdict, |it| (it.event, it.reason) = (Event::Genesis, "R-502"), LeafFault::Genesis, None);
    planted(verdict, |it| it.reason = "R-403", unfit("verdict-replaced", "R-403"), None);
    planted(verdict, |it| it.reason = "R-406", unfit("verdict-replaced", "R-406"), None);
    planted(
        verdict,
        |it| it.event = Event::PaymentVoided,
        unfit("payment-voided", leaf(verdict).reason),
        None,
    );
    planted(
        verdict,
        |it| (it.event, it.reason) = (Event::PaymentVoided, "R-423"),
        LeafFault::BeforeVerdict,
        None,
    );
    planted(verdict, |it| it.sequence = 1, LeafFault::Chain, None);
    planted(relied, |it| it.previous = Some(it.index), LeafFault::Chain, None);
    planted(relied, |it| it.sequence += 1, LeafFault::Chain, index(deposit));
    planted(relied, |it| it.previous = Some(LeafIndex(1)), LeafFault::Chain, index(1));
    planted(relied, |it| it.reason = "R-416", unfit("verdict-replaced", "R-416"), index(deposit));
    let again = |what| LeafFault::Again { what };
    let of = leaf(deposit);
    let second = |it: &mut Leaf| (it.event, it.reason) = (of.event, of.reason);
    planted(relied, second, again("attestation"), index(deposit));
    let other = |it: &mut Leaf| (it.event, it.reason) = (of.event, "R-420");
    planted(relied, other, unfit("deposit-accepted", "R-420"), index(deposit));
    // The next exchange's first leaf, made to follow the ruled one.
    let follow = |verdict: usize, event: Event, reason: &'static str| {
        let ruled = leaf(verdict);
        move |it: &mut Leaf| {
            (it.event, it.reason, it.exchange) = (event, reason, ruled.exchange);
            (it.sequence, it.previous) = (ruled.sequence + 1, Some(ruled.index));
        }
    };
    let after = |event, reason| follow(verdict, event, reason);
    let next = verdict + 1;
    planted(next, after(Event::VerdictAborted, "R-403"), again("verdict"), index(verdict));
    planted(next, after(Event::DepositAccepted, "R-407"), LeafFault::AfterVerdict, index(verdict));
    // R-416 replaces and orders nothing.
    let given = (1..).find(|it| leaf(*it).reason == "R-416").unwrap();
    let voided = follow(given, Event::PaymentVoided, "R-423");
    planted(given + 1, voided, LeafFault::BeforeVerdict, index(given));
    let unknown = LeafFault::Leaf(Invalid::FieldValue { field: "reason" });
    planted(next, after(Event::VerdictReplaced, "R-401"), unknown, None);
}

/// a leaf about the log names no exchange and no record, and is in no chain; none of the five may be left out.
#[test]
fn a_leaf_about_the_log_is_bare() {
    let cast = Cast::new();
    let leaves = honest_leaves();
    let last = Leaf::decode(leaves.last().unwrap()).unwrap();
    let bare = Leaf {
        index: LeafIndex(last.index.0 + 1),
        exchange: Pseudonym([0; 16]),
        sequence: 0,
        previous: None,
        record: record_root(&[]),
        ..last.clone()
    };
    for (event, reason) in [
        (Event::Anchor, "R-536"),
        (Event::KeyRotation, "R-537"),
        (Event::PolicyChange, "R-535"),
        (Event::Restore, "R-525"),
    ] {
        let good = Leaf { event, reason, ..bare.clone() };
        assert_eq!((one(&good.encode(), good.index), two(&last, &good)), (Ok(good.clone()), None));
        let (mut walk, fault) = read_all(&leaves, Some(&cast));
        let exchanges = walk.exchanges();
        assert_eq!((fault, walk.read(&good.encode()), walk.exchanges()), (None, Ok(good.clone()), exchanges));
        for bad in [
            Leaf { exchange: last.exchange, ..good.clone() },
            Leaf { sequence: 1, ..good.clone() },
            Leaf { previous: Some(last.index), ..good.clone() },
            Leaf { record: last.record, ..good.clone() },
            Leaf { reason: last.reason, ..good.clone() },
        ] {
            assert_eq!(one(&bad.encode(), bad.index), Err(LeafFault::OfTheLog), "{bad:?}");
        }
    }
    planted(0, |it| it.exchange = last.exchange, LeafFault::OfTheLog, None);
}

/// a leaf of a later version is named as such; it convicts nobody, and what is no version is no leaf.
#[test]
fn a_later_version_is_no_violation() {
    let cast = Cast::new();
    let mut leaves = honest_leaves();
    let text = String::from_utf8(leaves[3].clone()).unwrap();
    for (header, expected) in
        [("v2", true), ("v10", true), ("v01", false), ("v", false), ("vx", false), ("v1x", false)]
    {
        leaves[3] = text.replacen("v1", header, 1).into_bytes();
        let (walk, fault) = read_all(&leaves, Some(&cast));
        assert_eq!((walk.size(), fault == Some(LeafFault::NotKnown)), (3, expected), "{header}");
        let charge = Charge::Leaves { first: Log::of(&cast, &leaves).located(3), second: None };
        assert_eq!(finding(&cast, &charge) == Finding::NotProven, expected, "{header}");
    }
}

/// of all leaves of an honest log, no pair excludes each other; every event has a reason and no reason fits all.
#[test]
fn an_honest_log_cannot_be_charged() {
    let cast = Cast::new();
    let leaves = honest_leaves();
    let log = Log::of(&cast, &leaves);
    let decoded: Vec<_> = leaves.iter().map(|leaf| Leaf::decode(leaf).unwrap()).collect();
    for (at, earlier) in decoded.iter().enumerate() {
        assert_eq!(one(&leaves[at], earlier.index).as_ref(), Ok(earlier));
        for later in &decoded[at + 1..] {
            assert_eq!(two(earlier, later), None, "{earlier:?} {later:?}");
            let (first, second) = (log.located(earlier.index.0), log.located(later.index.0));
            let moved = Located { index: later.index, ..first.clone() };
            for (first, second) in [
                (first.clone(), Some(second.clone())),
                (second.clone(), Some(first.clone())),
                (moved, Some(second.clone())),
                (second.clone(), None),
            ] {
                assert_eq!(finding(&cast, &Charge::Leaves { first, second }), Finding::NotProven);
            }
        }
    }
    for reason in REASONS {
        let leaf = Leaf { reason, exchange: Pseudonym([1; 16]), ..decoded[1].clone() };
        let fits = one(&leaf.encode(), leaf.index).is_ok();
        assert_eq!(fits, leaf.event == decoded[1].event && ["R-404"].contains(&reason), "{reason}");
    }
}

/// F13, R-563: an attestation that the rules do not give convicts, if it names exactly the evidence that is here.
#[test]
fn an_attestation_against_the_rules_convicts() {
    let cast = Cast::new();
    let agreement = cast.agreement(Kind::P2OriginatorFirstEscrow);
    let offer = agreement.offer();
    // Only the first sender deposits in P2.
    let request = cast.request(offer.exchange_id(), Some(agreement.id()), Role::Responder, Action::Deposit);
    let attested = Attestation {
        exchange_id: offer.exchange_id(),
        agreement_id: agreement.id(),
        depositor: Role::Responder,
        item: offer.item(Role::Responder).digest(),
        request: request.digest(),
        leaf_index: LeafIndex(1),
        time: UnixMillis(EARLY),
        rules: RULES.to_owned(),
    };
    let evidence = Evidence {
        request: request.envelope().clone(),
        acceptance: Some(agreement.acceptance().envelope().clone()),
        attestations: ByRole::default(),
        escrows: ByRole::default(),
    };
    let judged = |attested: &Attestation, evidence: &Evidence| {
        let statement = Verified::sign(attested.clone(), &cast.arbiter).envelope().clone();
        let (offer, evidence) = (offer.envelope().clone(), Box::new(evidence.clone()));
        finding(&cast, &Charge::Ruling { offer, statement, evidence })
    };
    let guilty = Finding::Guilty(Offence::RuleBroken(offer.exchange_id()));
    assert_eq!(judged(&attested, &evidence), guilty);
    // It could rest on something else.
    for other in [
        Attestation { exchange_id: ExchangeId::from_bytes([9; 32]), ..attested.clone() },
        Attestation { agreement_id: AgreementId::from_bytes([9; 32]), ..attested.clone() },
        Attestation { request: Digest::of(&[b"another"]), ..attested.clone() },
    ] {
        assert_eq!(judged(&other, &evidence), Finding::NotProven, "{other:?}");
    }
    let statement = Verified::sign(attested.clone(), &cast.arbiter).envelope().clone();
    let escrow = cast.pledge(&agreement, Role::Responder);
    for other in [
        Evidence { acceptance: None, ..evidence.clone() },
        Evidence { attestations: ByRole::only(Role::Responder, statement), ..evidence.clone() },
        Evidence { escrows: ByRole { originator: None, responder: escrow }, ..evidence.clone() },
    ] {
        assert_eq!(judged(&attested, &other), Finding::NotProven, "{other:?}");
    }
}

/// an honest arbiter's receipts in any order, with anything that a presenter can leave out, add, move or damage, do
/// not convict it.
#[test]
fn nobody_frames_an_honest_arbiter() {
    let cast = Cast::new();
    let mut notary = Notary::new();
    let mut all: Vec<(Verified<Offer>, Receipt)> = Vec::new();
    for kind in Kind::ALL {
        let agreement = notary.cast.agreement(kind);
        for action in [Action::Deposit, Action::Resolve, Action::Abort] {
            let case = notary.cast.case(&agreement, kind.first(), action);
            if let Ok(Some(receipt)) = notary.file(&case, EARLY) {
                all.push((agreement.offer().clone(), receipt));
            }
        }
    }
    assert!(all.len() > 12);
    let mut tried = 0;
    let mut innocent = |charge: Charge| {
        tried += 1;
        let judgement = charge.judge(&cast.identity());
        assert!(
            matches!(judgement.finding, Finding::NotProven | Finding::Claim),
            "{charge:?}\n{judgement:?}"
        );
    };
    let damaged = |envelope: &Envelope| {
        let mut bytes = envelope.encode();
        *bytes.last_mut().unwrap() ^= 1;
        Envelope::decode(&bytes).unwrap()
    };
    let head = |receipt: &Receipt| TreeHead::Checkpoint(receipt.checkpoint.clone());
    let said = |receipt: &Receipt| TreeHead::Answer(receipt.answer.clone());
    let located = |receipt: &Receipt, head: TreeHead| Located {
        index: Leaf::decode(&receipt.leaf).unwrap().index,
        leaf: receipt.leaf.clone(),
        path: receipt.inclusion_proof.clone(),
        head,
    };
    for (offer, one) in &all {
        assert_eq!(Charge::of_receipt(one, offer), None);
        for (_, other) in &all {
            innocent(Charge::Statements { first: one.statement.clone(), second: other.statement.clone() });
            for (first, second) in
                [(head(one), head(other)), (said(one), head(other)), (said(one), said(other))]
            {
                innocent(Charge::TwoRoots { first: first.clone(), second: second.clone() });
                let path = one.inclusion_proof.clone();
                innocent(Charge::Rewritten {
                    older: first.clone(),
                    newer: second.clone(),
                    path: path.clone(),
                });
                innocent(Charge::Unjoined { older: first, newer: second, shown: path });
            }
            for there in [located(other, head(other)), located(other, said(other)), located(other, head(one))]
            {
                innocent(Charge::OtherLeaf { answer: one.answer.clone(), there: there.clone() });
                let second = Some(located(one, head(one)));
                innocent(Charge::Leaves { first: there, second });
            }
            // Evidence of one case beside the statement of another, piece by piece.
            let (mine, theirs) = (&one.evidence, &other.evidence);
            let turned = ByRole {
                originator: mine.attestations.responder.clone(),
                responder: mine.attestations.originator.clone(),
            };
            let escrows = ByRole {
                originator: mine.escrows.responder.clone(),
                responder: mine.escrows.originator.clone(),
            };
            let mut set = vec![mine.clone(), theirs.clone()];
            set.push(arbiter_protocol::ruling::receipt::Evidence { attestations: turned, ..mine.clone() });
            set.push(arbiter_protocol::ruling::receipt::Evidence { escrows, ..mine.clone() });
            let mut with = |change: &dyn Fn(&mut arbiter_protocol::ruling::receipt::Evidence)| {
                let mut evidence = mine.clone();
                change(&mut evidence);
                set.push(evidence);
            };
            with(&|it| it.request = theirs.request.clone());
            with(&|it| it.request = damaged(&mine.request));
            with(&|it| it.acceptance = None);
            with(&|it| it.acceptance = theirs.acceptance.clone());
            with(&|it| it.acceptance = mine.acceptance.as_ref().map(damaged));
            with(&|it| it.attestations = theirs.attestations.clone());
            with(&|it| it.attestations = mine.attestations.map(|_, it| it.as_ref().map(damaged)));
            with(&|it| it.attestations = ByRole::default());
            with(&|it| it.escrows = theirs.escrows.clone());
            with(&|it| it.escrows = ByRole::default());
            with(&|it| {
                it.escrows = mine
                    .escrows
                    .map(|_, it| it.as_ref().and_then(|it| Some(common::hollow(it.escrow()?).into())))
            });
            for evidence in set {
                for offer in [offer.envelope().clone(), damaged(offer.envelope())] {
                    let evidence = Box::new(evidence.clone());
                    innocent(Charge::Ruling { offer, statement: one.statement.clone(), evidence });
                }
            }
        }
    }
    assert!(tried > 1_000);
}
