//! Receipts: what an honest arbiter gives verifies; what was altered, and what an arbiter lies about while
//! signing and logging it perfectly, does not (R-506, F13, F14).

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

mod common;

use arbiter_protocol::crypto::{MemorySigner, Signer as _};
use arbiter_protocol::error::Refused;
use arbiter_protocol::evidence::checkpoint::Checkpoint;
use arbiter_protocol::evidence::leaf::{Event, Leaf, Pseudonym, issuer_id};
use arbiter_protocol::evidence::merkle::{leaf_hash, node_hash};
use arbiter_protocol::evidence::record::{RecordField, record_root};
use arbiter_protocol::exchange::selection::ByRole;
use arbiter_protocol::exchange::selection::Role::{self, Originator, Responder};
use arbiter_protocol::ids::{AgreementId, Digest, LeafIndex};
use arbiter_protocol::message::agreement::{Acceptance, Agreement, Offer};
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::message::verdict::{Answer, Attestation, Replacement, Ruling, Verdict};
use arbiter_protocol::role::arbiter::RULES;
use arbiter_protocol::ruling::charge::Charge;
use arbiter_protocol::ruling::opening::commitments;
use arbiter_protocol::ruling::receipt::{Evidence, Receipt, Ruled, Unproven, contradict, record_values};
use arbiter_protocol::ruling::sequencer::Seals;
use arbiter_protocol::statement::{Envelope, Payload, Signed, Verified};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use common::{COMPLAIN_BY, Cast, EARLY, Kind, Notary, signature};

/// Every statement that an arbiter can make, with its receipt, as (name, agreement, request digest, receipt).
fn honest() -> Vec<(&'static str, Agreement, Digest, Receipt)> {
    let mut made = Vec::new();
    let mut file = |name, kind, early: &[(Role, Action, u64)], role, action, now| {
        let mut notary = Notary::new();
        let agreement = notary.cast.agreement(kind);
        for (role, action, now) in early {
            let case = notary.cast.case(&agreement, *role, *action);
            notary.file(&case, *now).unwrap();
        }
        let case = notary.cast.case(&agreement, role, action);
        let receipt = notary.file(&case, now).unwrap().unwrap();
        made.push((name, agreement, case.request().digest(), receipt));
    };
    let (first, second) = (Kind::P2OriginatorFirst, Kind::P2ResponderFirst);
    file("P1 abort", Kind::P1, &[], Originator, Action::Abort, EARLY);
    file("P1 resolve by originator", Kind::P1, &[], Originator, Action::Resolve, EARLY);
    file("P1 resolve by responder", Kind::P1, &[], Responder, Action::Resolve, EARLY);
    file("deposit by originator", first, &[], Originator, Action::Deposit, EARLY);
    file("deposit by responder", second, &[], Responder, Action::Deposit, COMPLAIN_BY - 1);
    let deposited = [(Originator, Action::Deposit, EARLY)];
    file("complaint", first, &deposited, Originator, Action::Resolve, COMPLAIN_BY - 1);
    let deposited = [(Responder, Action::Deposit, EARLY)];
    file("complaint by responder", second, &deposited, Responder, Action::Resolve, EARLY);
    file("abort by first sender", first, &deposited[..0], Originator, Action::Abort, EARLY);
    let deposited = [(Originator, Action::Deposit, EARLY)];
    file("abort after the deposit", first, &deposited, Originator, Action::Abort, EARLY + 1);
    let complained = [(Originator, Action::Deposit, EARLY), (Originator, Action::Resolve, EARLY + 1)];
    file("deposit, asked for again", first, &complained, Originator, Action::Deposit, EARLY + 2);
    file("expiry", first, &[], Responder, Action::Abort, COMPLAIN_BY);
    let replayed = [(Responder, Action::Resolve, EARLY)];
    file("replay to the other party", Kind::P1, &replayed, Originator, Action::Abort, EARLY + 5);
    file("P1 escrows opened", Kind::P1Escrow, &[], Originator, Action::Resolve, EARLY);
    file("P1 escrow and replacement", Kind::P1Mixed, &[], Responder, Action::Resolve, EARLY);
    file("P1 end of the key", Kind::P1Escrow, &[], Responder, Action::Abort, COMPLAIN_BY);
    let deposited = [(Originator, Action::Deposit, EARLY)];
    let escrow = Kind::P2OriginatorFirstEscrow;
    file("complaint, escrow opened", escrow, &deposited, Originator, Action::Resolve, EARLY);
    let deposited = [(Responder, Action::Deposit, EARLY)];
    let escrow = Kind::P2ResponderFirstEscrow;
    file("complaint by responder, escrow opened", escrow, &deposited, Responder, Action::Resolve, EARLY);
    file("P1 money posted", Kind::P1ResponderReserves, &[], Originator, Action::Resolve, EARLY);
    file(
        "P1 money posted, escrow opened",
        Kind::P1OriginatorReserves,
        &[],
        Responder,
        Action::Resolve,
        EARLY,
    );
    file("P1 money given back", Kind::P1Reservations, &[], Responder, Action::Abort, COMPLAIN_BY);
    let deposited = [(Originator, Action::Deposit, EARLY)];
    let posted = Kind::P2ResponderReserves;
    file("complaint, money posted", posted, &deposited, Originator, Action::Resolve, EARLY);
    made
}

#[test]
fn what_an_honest_arbiter_gives_verifies_and_names_its_request() {
    for (name, agreement, request, receipt) in honest() {
        let proven =
            receipt.verify(agreement.offer(), Some(request)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(proven.request, request);
        assert_eq!(proven.agreement.as_ref(), Some(&agreement), "{name}");
        assert_eq!(proven.ruled.leaf_index(), proven.leaf.index);
        assert!(receipt.verify(agreement.offer(), None).is_ok());
        // R-410, attack K3: the same receipt is no answer to another request.
        let other = receipt.verify(agreement.offer(), Some(Digest::of(&[b"another request"])));
        assert!(matches!(other, Err(Unproven::OtherRequest)), "{name}");
    }
}

/// An abort before any acceptance has no agreement, and verifies without one.
#[test]
fn an_abort_without_acceptance_verifies() {
    let mut notary = Notary::new();
    for kind in [Kind::P1, Kind::P2OriginatorFirst] {
        let offer = notary.cast.offer(kind, 77);
        let case = notary.cast.admit(&offer, None, Originator, Action::Abort).unwrap();
        let receipt = notary.file(&case, EARLY).unwrap().unwrap();
        let proven = receipt.verify(&offer, Some(case.request().digest())).unwrap();
        assert_eq!(proven.agreement, None);
        assert!(matches!(proven.ruled, Ruled::Verdict(verdict) if verdict.ruling == Ruling::Aborted));
    }
}

/// A short name for the check that failed.
fn check(error: &Unproven) -> &'static str {
    match error {
        Unproven::OtherRequest => "request",
        Unproven::AnswerMismatch => "answer",
        Unproven::Statement(rejected) => rejected.reason(),
        Unproven::RuleNotFollowed => "rule",
        Unproven::LeafMismatch => "leaf",
        Unproven::RecordMismatch => "record",
        Unproven::Checkpoint(_) => "checkpoint",
        Unproven::Inclusion(_) => "inclusion",
        _ => "unknown",
    }
}

fn altered(bytes: &[u8], position: usize) -> Vec<u8> {
    let mut copy = bytes.to_vec();
    copy[position] ^= 1;
    copy
}

/// The envelope with one byte of its signature flipped.
fn unsealed(envelope: &Envelope) -> Envelope {
    let mut wire = envelope.to_wire();
    wire.signatures[0].signature[10] ^= 1;
    Envelope::from_wire(wire).unwrap()
}

/// Every part of a receipt altered on its own, with the check that must notice: statement, answer, leaf,
/// sealed record, proof and checkpoint.
#[test]
fn every_part_of_a_receipt_is_checked() {
    type Alter = fn(&mut Receipt);
    let alterations: [(&str, &str, Alter); 17] = [
        ("statement signature", "SIGNATURE_INVALID", |r| r.statement = unsealed(&r.statement)),
        ("statement replaced by the answer", "answer", |r| r.statement = r.answer.clone()),
        ("answer signature", "SIGNATURE_INVALID", |r| r.answer = unsealed(&r.answer)),
        ("answer replaced by the statement", "PAYLOAD_TYPE_UNEXPECTED", |r| r.answer = r.statement.clone()),
        ("leaf clock", "inclusion", |r| r.leaf = replaced(&r.leaf, "clock 500", "clock 499")),
        ("leaf build", "inclusion", |r| r.leaf = flip_value(&r.leaf, "build ")),
        ("leaf pseudonym", "inclusion", |r| r.leaf = flip_value(&r.leaf, "exchange ")),
        ("leaf sequence", "inclusion", |r| {
            let text = String::from_utf8(r.leaf.clone()).unwrap();
            let seq = text.lines().find(|line| line.starts_with("seq ")).unwrap().to_owned();
            r.leaf = text.replace(&seq, "seq 7").into_bytes();
        }),
        ("leaf token", "leaf", |r| r.leaf = flip_value(&r.leaf, "token ")),
        ("leaf issuer", "leaf", |r| r.leaf = flip_value(&r.leaf, "issuer ")),
        ("leaf policy", "leaf", |r| r.leaf = flip_value(&r.leaf, "policy ")),
        ("leaf record", "record", |r| r.leaf = flip_value(&r.leaf, "record ")),
        ("leaf is no leaf", "STATEMENT_MALFORMED", |r| r.leaf = altered(&r.leaf, 0)),
        ("inclusion proof longer", "inclusion", |r| r.inclusion_proof.push(Digest::of(&[b"x"]))),
        ("checkpoint text", "checkpoint", |r| {
            r.checkpoint = r.checkpoint.replacen("arbiter.test", "arbiter.tesu", 1)
        }),
        ("one salt fewer", "record", |r| r.record_salts.truncate(1)),
        ("a salt", "record", |r| r.record_salts[0][3] ^= 1),
    ];
    for (name, agreement, request, receipt) in honest() {
        for (part, expected, alter) in alterations {
            let mut copy = receipt.clone();
            alter(&mut copy);
            let error = copy.verify(agreement.offer(), Some(request)).expect_err(part);
            assert_eq!(check(&error), expected, "{name}: {part}: {error}");
        }
        for place in 0..receipt.inclusion_proof.len() {
            let mut copy = receipt.clone();
            copy.inclusion_proof[place] = Digest::of(&[b"x"]);
            assert_eq!(check(&copy.verify(agreement.offer(), None).unwrap_err()), "inclusion");
        }
        // The evidence: each piece missing, or another one in its place.
        let cast = Cast::new();
        let mut copy = receipt.clone();
        copy.evidence.acceptance = None;
        assert_eq!(check(&copy.verify(agreement.offer(), None).unwrap_err()), "ACCEPTANCE_MISMATCH");
        let mut copy = receipt.clone();
        copy.evidence.acceptance = Some(cast.acceptance(agreement.offer(), 55).envelope().clone());
        assert_eq!(check(&copy.verify(agreement.offer(), None).unwrap_err()), "ACCEPTANCE_MISMATCH");
        let mut copy = receipt.clone();
        let role = Originator;
        let other = cast.request(agreement.exchange_id(), Some(agreement.id()), role, Action::Query);
        copy.evidence.request = other.envelope().clone();
        assert!(copy.verify(agreement.offer(), None).is_err());
        for (role, attestation) in receipt.evidence.attestations.iter() {
            let Some(attestation) = attestation else { continue };
            let mut copy = receipt.clone();
            *copy.evidence.attestations.of_mut(role) = None;
            assert_eq!(check(&copy.verify(agreement.offer(), None).unwrap_err()), "DEPOSIT_REQUIRED");
            *copy.evidence.attestations.of_mut(role) = Some(unsealed(attestation));
            assert_eq!(check(&copy.verify(agreement.offer(), None).unwrap_err()), "SIGNATURE_INVALID");
        }
        // Another exchange of the same parties, and the same one with another arbiter.
        let other = cast.offer(Kind::P1, 90);
        assert!(receipt.verify(&other, None).is_err());
        let terms = Offer {
            arbiter: Cast { arbiter: common::signer(60), ..Cast::new() }.identity(),
            ..(**agreement.offer()).clone()
        };
        let elsewhere = Verified::sign(terms, &cast.originator);
        assert_eq!(check(&receipt.verify(&elsewhere, None).unwrap_err()), "SIGNER_NOT_ENTITLED");
    }
}

fn replaced(leaf: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(leaf.to_vec()).unwrap();
    assert!(text.contains(from));
    text.replace(from, to).into_bytes()
}

/// Changes the first hexadecimal digit of a line's value.
fn flip_value(leaf: &[u8], key: &str) -> Vec<u8> {
    let text = String::from_utf8(leaf.to_vec()).unwrap();
    let at = text.find(&format!("\n{key}")).unwrap() + 1 + key.len();
    let mut copy = leaf.to_vec();
    copy[at] = if copy[at] == b'0' { b'1' } else { b'0' };
    copy
}

/// every byte of the answer's payload, of the statement's payload and of the leaf.
#[test]
fn no_altered_byte_verifies() {
    for (name, agreement, request, receipt) in honest().into_iter().step_by(3) {
        for part in 0..3 {
            let length =
                [receipt.answer.payload().len(), receipt.statement.payload().len(), receipt.leaf.len()][part];
            for position in 0..length {
                let mut copy = receipt.clone();
                let change = |envelope: &Envelope| {
                    let mut wire = envelope.to_wire();
                    wire.payload[position] ^= 1;
                    Envelope::from_wire(wire).unwrap()
                };
                match part {
                    0 => copy.answer = change(&receipt.answer),
                    1 => copy.statement = change(&receipt.statement),
                    _ => copy.leaf = altered(&receipt.leaf, position),
                }
                assert!(copy.verify(agreement.offer(), Some(request)).is_err(), "{name} {part} {position}");
            }
        }
    }
}

/// A receipt for anything at all, signed by the arbiter, logged and sealed without a fault.
struct Forger<'a> {
    cast: &'a Cast,
    offer: &'a Verified<Offer>,
    evidence: Evidence,
    event: Event,
    reason: &'static str,
}

impl Forger<'_> {
    fn receipt<T: Payload + Clone>(&self, statement: T, time: UnixMillis) -> Receipt {
        let statement = Verified::sign(statement, &self.cast.arbiter);
        let salts =
            vec![[1; 16]; record_values(self.offer.envelope(), &self.evidence, statement.envelope()).len()];
        let fields: Vec<_> = record_values(self.offer.envelope(), &self.evidence, statement.envelope())
            .into_iter()
            .zip(&salts)
            .map(|((name, value), salt)| RecordField { name, salt: *salt, value })
            .collect();
        let leaf = Leaf {
            index: LeafIndex(1),
            event: self.event,
            reason: self.reason,
            time,
            clock_uncertainty: DurationMillis(500),
            exchange: Pseudonym([1; 16]),
            sequence: 0,
            previous: None,
            policy: Digest::of(&[self.offer.arbiter.rules.as_bytes()]),
            build: Digest::of(&[b"b"]),
            issuer: issuer_id(&self.cast.arbiter.public_key()),
            token: statement.digest(),
            record: record_root(&fields),
        }
        .encode();
        let sibling = leaf_hash(b"the leaf before it");
        let root = node_hash(&sibling, &leaf_hash(&leaf));
        let answer = Answer {
            request: Digest::of(&[b"request"]),
            statement: statement.digest(),
            leaf_index: LeafIndex(1),
            tree_size: 2,
            root,
        };
        let seals = Seals { arbiter: &self.cast.arbiter, log: &self.cast.log };
        let checkpoint = Checkpoint { origin: self.offer.arbiter.log_origin.clone(), size: 2, root };
        Receipt {
            statement: statement.envelope().clone(),
            answer: Verified::sign(answer, &self.cast.arbiter).envelope().clone(),
            leaf,
            inclusion_proof: vec![sibling],
            checkpoint: seals.checkpoint(&checkpoint).unwrap(),
            evidence: self.evidence.clone(),
            record_salts: salts,
        }
    }
}

/// A lie: the verdict that the rules would give, and the change that makes it one they would not.
struct Lie {
    kind: Kind,
    asks: (Role, Action),
    with_acceptance: bool,
    deposit: Option<fn(&mut Attestation)>,
    change: fn(&mut Verdict),
    expected: &'static str,
}

impl Lie {
    /// What a verifier says, and whether what is signed convicts the liar.
    fn told(&self, cast: &Cast) -> (Result<(), Unproven>, bool) {
        let offer = cast.offer(self.kind, 21);
        let acceptance = cast.acceptance(&offer, 22);
        let id = AgreementId::from_bytes(*acceptance.digest().as_bytes());
        let agreed = self.with_acceptance.then_some(id);
        let request = cast.request(offer.exchange_id(), agreed, self.asks.0, self.asks.1);
        let deposit = self.deposit.map(|change| {
            let mut attestation = Attestation {
                exchange_id: offer.exchange_id(),
                agreement_id: id,
                depositor: self.kind.first(),
                item: offer.item(self.kind.first()).digest(),
                request: Digest::of(&[b"deposit request"]),
                leaf_index: LeafIndex(0),
                time: UnixMillis(EARLY - 1),
                rules: RULES.to_owned(),
            };
            change(&mut attestation);
            Verified::sign(attestation, &cast.arbiter)
        });
        let replace = |role: Role| Replacement { role, item: offer.item(role).clone() };
        let (ruling, event, reason) = match (self.asks.1, self.kind) {
            (Action::Abort, Kind::P1) => (Ruling::Aborted, Event::VerdictAborted, "R-403"),
            (Action::Abort, _) => (Ruling::Aborted, Event::VerdictAborted, "R-405"),
            (_, Kind::P1) => {
                let both = vec![replace(Originator), replace(Responder)];
                (Ruling::Replaced(both), Event::VerdictReplaced, "R-404")
            }
            _ => {
                let peer = vec![replace(self.kind.first().peer())];
                (Ruling::Replaced(peer), Event::VerdictReplaced, "R-406")
            }
        };
        let evidence = [
            Some(offer.digest()),
            agreed.map(|_| acceptance.digest()),
            deposit.as_ref().map(Verified::digest),
        ];
        let mut verdict = Verdict {
            exchange_id: offer.exchange_id(),
            agreement_id: agreed,
            originator: offer.originator.signing_key,
            responder: offer.responder.signing_key,
            originator_item: offer.originator_item.digest(),
            responder_item: offer.responder_item.digest(),
            ruling,
            rule: reason.to_owned(),
            rules: RULES.to_owned(),
            requested_by: self.asks.0,
            request: request.digest(),
            evidence: evidence.into_iter().flatten().collect(),
            leaf_index: LeafIndex(1),
            time: UnixMillis(EARLY),
        };
        (self.change)(&mut verdict);
        let time = verdict.time;
        let mut attestations = ByRole::default();
        if let Some(deposit) = deposit {
            *attestations.of_mut(deposit.depositor) = Some(deposit.envelope().clone());
        }
        let evidence = Evidence {
            request: request.envelope().clone(),
            acceptance: agreed.map(|_| acceptance.envelope().clone()),
            attestations,
            escrows: Default::default(),
        };
        let forger = Forger { cast, offer: &offer, evidence, event, reason };
        let receipt = forger.receipt(verdict, time);
        let charge = Charge::of_receipt(&receipt, &offer);
        (
            receipt.verify(&offer, None).map(drop),
            charge.is_some_and(|it| it.judge(&cast.identity()).is_guilty()),
        )
    }
}

fn none(_: &mut Verdict) {}
fn kept(_: &mut Attestation) {}

/// F13, S38: the arbiter signs, logs and proves what the rules do not give. Every such
/// receipt is refused.
#[test]
fn an_arbiter_that_lies_is_refused() {
    let cast = Cast::new();
    let p1 = |asks, change: fn(&mut Verdict), expected| Lie {
        kind: Kind::P1,
        asks,
        with_acceptance: true,
        deposit: None,
        change,
        expected,
    };
    let p2 = |deposit: Option<fn(&mut Attestation)>, change: fn(&mut Verdict), expected| Lie {
        kind: Kind::P2OriginatorFirst,
        asks: (Originator, Action::Resolve),
        with_acceptance: true,
        deposit,
        change,
        expected,
    };
    let expire = |change: fn(&mut Verdict), expected| Lie {
        asks: (Responder, Action::Abort),
        deposit: None,
        ..p2(None, change, expected)
    };
    let (abort, resolve) = ((Originator, Action::Abort), (Originator, Action::Resolve));
    let lies = [
        // The forger itself is not what fails: without a lie these verify.
        p1(abort, none, "ok"),
        p1(resolve, none, "ok"),
        p1((Responder, Action::Resolve), none, "ok"),
        p2(Some(kept), none, "ok"),
        expire(|v| v.time = UnixMillis(COMPLAIN_BY), "ok"),
        // Not entitled, not agreed, not in time, not deposited.
        p1((Responder, Action::Abort), none, "ABORT_NOT_ALLOWED"),
        Lie { with_acceptance: false, ..p1(resolve, none, "ACCEPTANCE_REQUIRED") },
        Lie { with_acceptance: false, ..p2(Some(kept), none, "ACCEPTANCE_REQUIRED") },
        Lie { asks: (Responder, Action::Resolve), ..p2(Some(kept), none, "RESOLVE_NOT_ALLOWED") },
        p2(Some(kept), |v| v.time = UnixMillis(COMPLAIN_BY), "COMPLAINT_TOO_LATE"),
        expire(|v| v.time = UnixMillis(COMPLAIN_BY - 1), "ABORT_TOO_EARLY"),
        p2(None, none, "DEPOSIT_REQUIRED"),
        p1((Originator, Action::Query), none, "VERDICT_NOT_FOUND"),
        // Deposits that never were, or were another's.
        p2(Some(|a| a.agreement_id = AgreementId::from_bytes([9; 32])), none, "DEPOSIT_REQUIRED"),
        p2(
            Some(|a| a.exchange_id = arbiter_protocol::ids::ExchangeId::from_bytes([9; 32])),
            none,
            "OTHER_EXCHANGE",
        ),
        p2(Some(|a| a.depositor = Responder), none, "rule"),
        p2(Some(|a| a.item = Digest::of(&[b"another item"])), none, "rule"),
        p2(Some(|a| a.time = UnixMillis(EARLY + 1)), none, "rule"),
        p2(Some(|a| a.leaf_index = LeafIndex(1)), none, "rule"),
        p2(Some(|a| a.rules = "arbiter/rules/v0".to_owned()), none, "rule"),
        // Another ruling than the request asks for, or the right one about something else.
        p1(abort, |v| v.requested_by = Responder, "rule"),
        p1(abort, |v| v.rule = "R-405".to_owned(), "rule"),
        p1(abort, |v| v.rules = "arbiter/rules/v0".to_owned(), "rule"),
        p1(abort, |v| v.agreement_id = None, "rule"),
        p1(abort, |v| v.exchange_id = arbiter_protocol::ids::ExchangeId::from_bytes([9; 32]), "rule"),
        p1(abort, |v| v.originator = v.responder, "rule"),
        p1(abort, |v| v.responder = v.originator, "rule"),
        p1(abort, |v| v.originator_item = v.responder_item, "rule"),
        p1(abort, |v| v.responder_item = v.originator_item, "rule"),
        p1(abort, |v| v.request = Digest::of(&[b"x"]), "rule"),
        p1(abort, |v| v.evidence = Vec::new(), "rule"),
        p1(abort, |v| v.evidence.reverse(), "rule"),
        p1(resolve, |v| v.ruling = Ruling::Aborted, "rule"),
        p1(resolve, keep_one, "rule"),
        p1(resolve, other_item, "rule"),
        p2(Some(kept), |v| v.evidence.truncate(2), "rule"),
        p2(Some(kept), other_item, "rule"),
    ];
    let mut not_convicted = 0;
    for (number, lie) in lies.iter().enumerate() {
        let (told, convicted) = lie.told(&cast);
        let told = match told {
            Ok(()) => "ok",
            Err(error) => check(&error),
        };
        assert_eq!(told, lie.expected, "lie {number}");
        assert!(told != "ok" || !convicted, "R-563: an honest statement convicts nobody");
        not_convicted += usize::from(told != "ok" && !convicted);
    }
    // a verdict that names other evidence than is here could rest on that. All other lies convict.
    assert_eq!(not_convicted, 5);
}

fn keep_one(verdict: &mut Verdict) {
    if let Ruling::Replaced(list) = &mut verdict.ruling {
        list.truncate(1);
    }
}

fn other_item(verdict: &mut Verdict) {
    if let Ruling::Replaced(list) = &mut verdict.ruling {
        list[0].item = signature("I owe you everything");
    }
}

/// everything that the leaves of an exchange commit to opens field by field, for the arbiter and from a receipt.
#[test]
fn every_field_behind_a_leaf_opens_alone() {
    for kind in Kind::ALL.into_iter().chain(Kind::ESCROW).chain(Kind::RESERVED) {
        let mut notary = Notary::new();
        let agreement = notary.cast.agreement(kind);
        let offer = agreement.offer();
        let mut receipts = Vec::new();
        for (role, action) in [
            (kind.first(), Action::Deposit),
            (kind.first().peer(), Action::Deposit),
            (kind.first(), Action::Resolve),
            (kind.first(), Action::Abort),
        ] {
            let case = notary.cast.case(&agreement, role, action);
            receipts.extend(notary.file(&case, EARLY).ok().flatten());
        }
        let record = notary.durable.record(&offer.exchange_id());
        let all = commitments(&record).unwrap();
        let leaves: Vec<_> = all.iter().map(|it| it.leaf.encode()).collect();
        assert_eq!(leaves, notary.durable.leaves[1..], "{kind:?}");
        for commitment in &all {
            let of_leaf = |it: &&Receipt| it.leaf == commitment.leaf.encode();
            let receipt = receipts.iter().find(of_leaf).unwrap();
            assert_eq!(commitment.fields.len(), receipt.record_salts.len(), "{kind:?}");
            for field in &commitment.fields {
                let opening = commitment.open(field.name).unwrap();
                assert_eq!((opening.verify(&commitment.leaf), &opening.value[..]), (Ok(()), &*field.value));
                assert_eq!(receipt.open(offer.envelope(), field.name), Ok(opening));
            }
        }
    }
}

/// a statement that the arbiter's key did not sign is nobody's verdict, whoever else signed it.
#[test]
fn a_verdict_by_another_key_is_refused() {
    for key in [common::signer(1), common::signer(4), common::signer(5)] {
        for (name, agreement, request, receipt) in honest() {
            let resign = |envelope: &Envelope| resigned(envelope, &key);
            let mut copy = receipt.clone();
            copy.statement = resign(&receipt.statement);
            let error = copy.verify(agreement.offer(), Some(request)).unwrap_err();
            assert_eq!(check(&error), "SIGNER_NOT_ENTITLED", "{name}");
            let mut copy = receipt.clone();
            copy.answer = resign(&receipt.answer);
            assert_eq!(check(&copy.verify(agreement.offer(), None).unwrap_err()), "SIGNER_NOT_ENTITLED");
        }
    }
}

fn resigned(envelope: &Envelope, key: &MemorySigner) -> Envelope {
    let mut wire = envelope.to_wire();
    let message = arbiter_protocol::statement::pae(envelope.payload_type(), envelope.payload());
    wire.signatures[0].key_id = key.public_key().to_vec();
    wire.signatures[0].signature = key.sign(&message).to_vec();
    Envelope::from_wire(wire).unwrap()
}

/// F6, S13: asking again gives the same statement and the same proof, byte for byte.
#[test]
fn replays_are_byte_identical() {
    let mut notary = Notary::new();
    let agreement = notary.cast.agreement(Kind::P1);
    let abort = notary.cast.case(&agreement, Originator, Action::Abort);
    let first = notary.file(&abort, EARLY).unwrap();
    // Other business grows the log in between.
    for nonce in 30..35 {
        let offer = notary.cast.offer(Kind::P1, nonce);
        let case = notary.cast.admit(&offer, None, Originator, Action::Abort).unwrap();
        notary.file(&case, EARLY + 1).unwrap();
        assert_eq!(notary.file(&abort, EARLY + 2).unwrap(), first);
    }
    // The other party gets the same verdict in an answer of its own.
    let resolve = notary.cast.case(&agreement, Responder, Action::Resolve);
    let other = notary.file(&resolve, EARLY + 3).unwrap().unwrap();
    let first = first.unwrap();
    assert_eq!((&other.statement, &other.leaf), (&first.statement, &first.leaf));
    assert_ne!(other.answer, first.answer);
}

/// S34, S36, S38: an arbiter that forgets and rules again, or shows two logs, is convicted by its own receipts.
#[test]
fn two_verdicts_two_deposits_or_two_logs_contradict() {
    let prove = |notary: &mut Notary, agreement: &Agreement, role, action| {
        let case = notary.cast.case(agreement, role, action);
        notary.file(&case, EARLY).unwrap().unwrap().verify(agreement.offer(), None).unwrap()
    };
    let (mut one, mut other) = (Notary::new(), Notary::new());
    let agreement = one.cast.agreement(Kind::P1);
    let aborted = prove(&mut one, &agreement, Originator, Action::Abort);
    let resolved = prove(&mut other, &agreement, Responder, Action::Resolve);
    assert!(contradict(&aborted, &resolved) && contradict(&resolved, &aborted));
    assert!(!contradict(&aborted, &aborted));
    let replay = prove(&mut one, &agreement, Responder, Action::Resolve);
    assert!(!contradict(&aborted, &replay), "a replay is no contradiction");

    // At another place of a log of another size: the two verdicts alone convict.
    let mut longer = Notary::new();
    let before = longer.cast.offer(Kind::P1, 93);
    let before = longer.cast.admit(&before, None, Originator, Action::Abort).unwrap();
    longer.file(&before, EARLY).unwrap();
    let again = prove(&mut longer, &agreement, Responder, Action::Resolve);
    assert_ne!(again.leaf.index, aborted.leaf.index);
    assert_ne!(again.checkpoint.checkpoint().size, aborted.checkpoint.checkpoint().size);
    assert!(contradict(&aborted, &again) && contradict(&again, &aborted), "two verdicts on one exchange");

    // Different exchanges, same size, different roots: two logs.
    let second = Kind::P2OriginatorFirst;
    let (mut one, mut other) = (Notary::new(), Notary::new());
    let elsewhere = one.cast.agreement(second);
    let deposit = prove(&mut one, &elsewhere, Originator, Action::Deposit);
    let unrelated = prove(&mut other, &agreement, Originator, Action::Abort);
    assert!(contradict(&deposit, &unrelated));

    // One log after the other: nothing wrong.
    let mut honest = Notary::new();
    let first = prove(&mut honest, &agreement, Originator, Action::Abort);
    let later = prove(&mut honest, &elsewhere, Originator, Action::Deposit);
    let ruled = prove(&mut honest, &elsewhere, Originator, Action::Resolve);
    let third = honest.cast.agreement(Kind::P2ResponderFirst);
    let another = prove(&mut honest, &third, Responder, Action::Deposit);
    let all = [&first, &later, &ruled, &another];
    for (a, b) in all.iter().flat_map(|a| all.iter().map(move |b| (a, b))) {
        assert!(!contradict(a, b));
    }

    // Two attestations of one exchange, and two leaves at one place, in trees of different size.
    let mut longer = Notary::new();
    prove(&mut longer, &agreement, Originator, Action::Abort);
    let again = prove(&mut longer, &elsewhere, Originator, Action::Deposit);
    assert_ne!(again.checkpoint.checkpoint().size, deposit.checkpoint.checkpoint().size);
    assert!(contradict(&deposit, &again), "two attestations of one exchange");
    let mut forked = Notary::new();
    let offer = forked.cast.offer(Kind::P1, 91);
    let acceptance: Verified<Acceptance> = forked.cast.acceptance(&offer, 1);
    let other = Agreement::join(offer, acceptance).unwrap();
    let (case, unseen) =
        (forked.cast.case(&other, Originator, Action::Abort), forked.cast.offer(Kind::P1, 92));
    let more = forked.cast.admit(&unseen, None, Originator, Action::Abort).unwrap();
    let two = forked.file_together(&[&case, &more], EARLY).remove(0).verify(other.offer(), None).unwrap();
    assert_eq!(two.leaf.index, first.leaf.index);
    assert_ne!(two.checkpoint.checkpoint().size, first.checkpoint.checkpoint().size);
    assert!(contradict(&two, &first), "two leaves at one place of one log");
}

/// the answer is signed too, and names the very leaf and tree that are proved; each alone is checked.
#[test]
fn an_answer_about_another_tree_is_refused() {
    type Change = fn(&mut Answer);
    let changes: [(&str, &str, Change); 4] = [
        ("answer", "size", |it| it.tree_size += 1),
        ("answer", "root", |it| it.root = Digest::of(&[b"x"])),
        ("answer", "statement", |it| it.statement = Digest::of(&[b"x"])),
        ("leaf", "leaf", |it| it.leaf_index = LeafIndex(it.leaf_index.0 + 1)),
    ];
    let cast = Cast::new();
    for (name, agreement, request, receipt) in honest() {
        for (expected, part, change) in changes {
            let signed = Signed::<Answer>::parse(receipt.answer.clone()).unwrap();
            let mut answer = signed.unverified().clone();
            change(&mut answer);
            let mut copy = receipt.clone();
            copy.answer = Verified::sign(answer, &cast.arbiter).envelope().clone();
            let error = copy.verify(agreement.offer(), Some(request)).unwrap_err();
            assert_eq!(check(&error), expected, "{name}: {part}: {error}");
        }
    }
}

/// the request beside a statement must be one that its role signed (F8).
#[test]
fn a_request_that_its_role_did_not_sign_is_no_evidence() {
    for (name, agreement, request, receipt) in honest() {
        let mut copy = receipt.clone();
        copy.evidence.request = resigned(&receipt.evidence.request, &common::signer(5));
        let error = copy.verify(agreement.offer(), Some(request)).unwrap_err();
        assert!(
            matches!(error, Unproven::Statement(r) if r.reason() == Refused::NotAParty.reason()),
            "{name}"
        );
        let wire = Request {
            exchange_id: agreement.exchange_id(),
            agreement_id: None,
            role: Originator,
            action: Action::Abort,
        };
        copy.evidence.request = Verified::sign(wire, &common::signer(2)).envelope().clone();
        assert!(copy.verify(agreement.offer(), Some(request)).is_err());
    }
}

/// what a party files arrives at the arbiter as it was filed, or not at all.
#[cfg(feature = "wire")]
#[test]
fn a_case_on_the_wire_survives() {
    use arbiter_protocol::wire::arbiter as proto;
    let cast = Cast::new();
    for kind in Kind::ALL.into_iter().chain(Kind::PACKAGES) {
        let agreement = cast.agreement(kind);
        let case = cast.case(&agreement, kind.first(), Action::Resolve);
        let (request, offer) = (case.request(), case.offer());
        let wire = proto::Case::file(request, offer, Some(agreement.acceptance()), case.escrows());
        let admitted = wire.clone().admit(&cast.identity()).unwrap();
        assert_eq!((admitted.request(), admitted.offer()), (request, offer));
        assert_eq!((admitted.agreement(), admitted.escrows()), (Some(&agreement), case.escrows()));
        let changes: [fn(&mut proto::Case); 2] = [|it| it.request = None, |it| it.offer = None];
        for change in changes {
            let mut copy = wire.clone();
            change(&mut copy);
            assert_eq!(copy.admit(&cast.identity()).unwrap_err().reason(), "FIELD_MISSING");
        }
    }
}

/// what arrives over gRPC is counted before it is parsed, and is the receipt that was sent.
#[cfg(feature = "wire")]
#[test]
fn a_receipt_on_the_wire_is_bounded_and_survives() {
    use arbiter_protocol::limits;
    use arbiter_protocol::wire::arbiter as proto;
    for (name, _, _, receipt) in honest() {
        let wire = proto::Receipt::from(&receipt);
        assert_eq!(Receipt::try_from(wire.clone()).unwrap(), receipt, "{name}");
        let reason = |change: fn(&mut proto::Receipt)| {
            let mut copy = wire.clone();
            change(&mut copy);
            Receipt::try_from(copy).map_or_else(|rejected| rejected.reason(), |_| "read")
        };
        assert_eq!(reason(|r| r.inclusion_proof = vec![vec![0; 32]; limits::PROOF_HASHES]), "read");
        let longer = reason(|r| r.inclusion_proof = vec![vec![0; 32]; limits::PROOF_HASHES + 1]);
        assert_eq!(longer, "FIELD_LENGTH_INVALID");
        assert_eq!(reason(|r| r.inclusion_proof = vec![vec![0; 31]]), "FIELD_LENGTH_INVALID");
        assert_eq!(reason(|r| r.record_salts[0].truncate(15)), "FIELD_LENGTH_INVALID");
        assert_eq!(reason(|r| r.statement = None), "FIELD_MISSING");
        assert_eq!(reason(|r| r.answer = None), "FIELD_MISSING");
        assert_eq!(reason(|r| r.evidence.clear()), "FIELD_MISSING");
        assert_eq!(reason(|r| r.evidence.push(r.evidence[0].clone())), "FIELD_VALUE_INVALID");
        assert_eq!(reason(|r| r.evidence.push(r.answer.clone().unwrap())), "PAYLOAD_TYPE_UNEXPECTED");
        let many = reason(|r| r.evidence = vec![r.evidence[0].clone(); limits::EVIDENCE_HASHES + 1]);
        assert_eq!(many, "FIELD_LENGTH_INVALID");
    }
}
