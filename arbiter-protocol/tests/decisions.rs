//! What the arbiter decides: the verdict table of `SPEC.md` section 6 as data, every cell tried; then what
//! admission refuses before there is anything to decide; then what one batch may hold.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

mod common;

use std::collections::BTreeSet;

use arbiter_protocol::crypto::Signer as _;
use arbiter_protocol::error::Refused;
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::evidence::leaf::{Event, Leaf};
use arbiter_protocol::exchange::selection::Role::{self, Originator, Responder};
use arbiter_protocol::ids::{AgreementId, Digest, LeafIndex};
use arbiter_protocol::message::agreement::{Acceptance, Agreement, ArbiterIdentity};
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::message::verdict::{Attestation, Replacement, Ruling, Verdict};
use arbiter_protocol::role::arbiter::{Case, Decision, Known, RULES, decide};
use arbiter_protocol::ruling::sequencer::{Batch, ContentId, Record, Reply, genesis_token};
use arbiter_protocol::statement::{Verified, digest_of};
use arbiter_protocol::time::UnixMillis;
use common::{COMPLAIN_BY, Cast, EARLY, Kind, Notary, TestVeil, fit, fit_of, unverified};

/// The verdict table. Columns after the bar say what is durable: nothing; a deposit attested under this
/// agreement; one attested under another acceptance; an abort; an abort and a deposit; a replacement (in P2
/// with its deposit). `early` is before `complain_by`, `late` from `complain_by` on, `any` is both.
/// `yes`, `no`: whether the acceptance is filed. A dash is a state that the protocol does not have.
const TABLE: &str = "
 who       action  acc time  | none                 attested              elsewhere            aborted              aborted+deposit      replaced
 P1.first  abort   any any   | R-403                -                     -                    REPLAY               -                    REPLAY
 P1.second abort   any any   | ABORT_NOT_ALLOWED    -                     -                    REPLAY               -                    REPLAY
 P1.first  resolve yes any   | R-404                -                     -                    REPLAY               -                    REPLAY
 P1.second resolve yes any   | R-404                -                     -                    REPLAY               -                    REPLAY
 P1.first  resolve no  any   | ACCEPTANCE_REQUIRED  -                     -                    REPLAY               -                    REPLAY
 P1.second resolve no  any   | ACCEPTANCE_REQUIRED  -                     -                    REPLAY               -                    REPLAY
 P1.first  deposit yes any   | DEPOSIT_NOT_ALLOWED  -                     -                    DEPOSIT_NOT_ALLOWED  -                    DEPOSIT_NOT_ALLOWED
 P1.second deposit yes any   | DEPOSIT_NOT_ALLOWED  -                     -                    DEPOSIT_NOT_ALLOWED  -                    DEPOSIT_NOT_ALLOWED
 P1.first  deposit no  any   | ACCEPTANCE_REQUIRED  -                     -                    ACCEPTANCE_REQUIRED  -                    ACCEPTANCE_REQUIRED
 P1.second deposit no  any   | ACCEPTANCE_REQUIRED  -                     -                    ACCEPTANCE_REQUIRED  -                    ACCEPTANCE_REQUIRED
 P1.first  fetch   any any   | DEPOSIT_NOT_RELEASED -                     -                    DEPOSIT_NOT_RELEASED -                    DEPOSIT_NOT_RELEASED
 P1.second fetch   any any   | DEPOSIT_NOT_RELEASED -                     -                    DEPOSIT_NOT_RELEASED -                    DEPOSIT_NOT_RELEASED
 P1.first  query   any any   | VERDICT_NOT_FOUND    -                     -                    REPLAY               -                    REPLAY
 P1.second query   any any   | VERDICT_NOT_FOUND    -                     -                    REPLAY               -                    REPLAY
 P2.first  abort   any any   | R-405                R-405                 R-405                REPLAY               REPLAY               REPLAY
 P2.second abort   any early | ABORT_TOO_EARLY      ABORT_TOO_EARLY       ABORT_TOO_EARLY      REPLAY               REPLAY               REPLAY
 P2.second abort   any late  | R-405                R-405                 R-405                REPLAY               REPLAY               REPLAY
 P2.first  resolve yes early | DEPOSIT_REQUIRED     R-406                 DEPOSIT_REQUIRED     REPLAY               REPLAY               REPLAY
 P2.first  resolve yes late  | COMPLAINT_TOO_LATE   COMPLAINT_TOO_LATE    COMPLAINT_TOO_LATE   REPLAY               REPLAY               REPLAY
 P2.first  resolve no  any   | ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED   ACCEPTANCE_REQUIRED  REPLAY               REPLAY               REPLAY
 P2.second resolve yes any   | RESOLVE_NOT_ALLOWED  RESOLVE_NOT_ALLOWED   RESOLVE_NOT_ALLOWED  REPLAY               REPLAY               REPLAY
 P2.second resolve no  any   | ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED   ACCEPTANCE_REQUIRED  REPLAY               REPLAY               REPLAY
 P2.first  deposit yes early | R-407                REPLAY-ATTESTATION    ACCEPTANCE_MISMATCH  ALREADY_RULED        REPLAY-ATTESTATION   REPLAY-ATTESTATION
 P2.first  deposit yes late  | COMPLAINT_TOO_LATE   REPLAY-ATTESTATION    ACCEPTANCE_MISMATCH  ALREADY_RULED        REPLAY-ATTESTATION   REPLAY-ATTESTATION
 P2.first  deposit no  any   | ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED   ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED
 P2.second deposit yes any   | DEPOSIT_NOT_ALLOWED  DEPOSIT_NOT_ALLOWED   DEPOSIT_NOT_ALLOWED  DEPOSIT_NOT_ALLOWED  DEPOSIT_NOT_ALLOWED  DEPOSIT_NOT_ALLOWED
 P2.second deposit no  any   | ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED   ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED
 P2.first  fetch   any any   | DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED  DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED
 P2.second fetch   any any   | DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED  DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED RELEASE
 P2.first  query   any any   | VERDICT_NOT_FOUND    VERDICT_NOT_FOUND     VERDICT_NOT_FOUND    REPLAY               REPLAY               REPLAY
 P2.second query   any any   | VERDICT_NOT_FOUND    VERDICT_NOT_FOUND     VERDICT_NOT_FOUND    REPLAY               REPLAY               REPLAY
";

fn action(name: &str) -> Action {
    match name {
        "abort" => Action::Abort,
        "resolve" => Action::Resolve,
        "deposit" => Action::Deposit,
        "fetch" => Action::Fetch,
        "query" => Action::Query,
        other => panic!("{other}"),
    }
}

fn attested(agreement: &Agreement) -> Attestation {
    let first = agreement.offer().selection.first_sender;
    Attestation {
        exchange_id: agreement.exchange_id(),
        agreement_id: agreement.id(),
        depositor: first,
        item: agreement.offer().item(first).digest(),
        request: Digest::of(&[b"deposit"]),
        leaf_index: LeafIndex(3),
        time: UnixMillis(EARLY),
        rules: RULES.to_owned(),
    }
}

fn ruled(agreement: &Agreement, ruling: Ruling) -> Verdict {
    let offer = agreement.offer();
    Verdict {
        exchange_id: agreement.exchange_id(),
        agreement_id: Some(agreement.id()),
        originator: offer.originator.signing_key,
        responder: offer.responder.signing_key,
        originator_item: offer.originator_item.digest(),
        responder_item: offer.responder_item.digest(),
        ruling,
        rule: "R-403".to_owned(),
        rules: RULES.to_owned(),
        requested_by: Originator,
        request: Digest::of(&[b"request"]),
        evidence: Vec::new(),
        leaf_index: LeafIndex(4),
        time: UnixMillis(EARLY),
    }
}

fn answer(decision: &Result<Decision, Refused>) -> String {
    match decision {
        Ok(Decision::Rule(verdict)) => verdict.rule.clone(),
        Ok(Decision::Attest(_)) => "R-407".to_owned(),
        Ok(Decision::ReplayVerdict) => "REPLAY".to_owned(),
        Ok(Decision::ReplayAttestation) => "REPLAY-ATTESTATION".to_owned(),
        Ok(Decision::Release) => "RELEASE".to_owned(),
        Err(refused) => refused.reason().to_owned(),
    }
}

/// every cell of the table, in both orientations of P2, at every time that matters.
#[test]
fn the_verdict_table_holds_in_every_cell() {
    let cast = Cast::new();
    let (mut cells, mut seen) = (0, BTreeSet::new());
    for row in TABLE.trim().lines().skip(1) {
        let (head, answers) = row.split_once('|').unwrap();
        let head: Vec<_> = head.split_whitespace().collect();
        let answers: Vec<_> = answers.split_whitespace().collect();
        let ([who, what, filed, when], 6) = (&head[..], answers.len()) else {
            panic!("a row has four words, a bar and six answers: {row}");
        };
        let (protocol, position) = who.split_once('.').unwrap();
        let kinds: &[Kind] =
            if protocol == "P1" { &[Kind::P1] } else { &[Kind::P2OriginatorFirst, Kind::P2ResponderFirst] };
        let times: &[u64] = match *when {
            "early" => &[EARLY, COMPLAIN_BY - 1],
            "late" => &[COMPLAIN_BY, COMPLAIN_BY + 1, COMPLAIN_BY + 1_000_000_000],
            _ => &[EARLY, COMPLAIN_BY - 1, COMPLAIN_BY, COMPLAIN_BY + 1],
        };
        let filings: &[bool] = match *filed {
            "yes" => &[true],
            "no" => &[false],
            _ => &[true, false],
        };
        for kind in kinds {
            let role = if position == "first" { kind.first() } else { kind.first().peer() };
            let agreement = cast.agreement(*kind);
            let other =
                Agreement::join(agreement.offer().clone(), cast.acceptance(agreement.offer(), 99)).unwrap();
            let (here, elsewhere) = (attested(&agreement), attested(&other));
            let replace = |role: Role| Replacement { role, item: agreement.offer().item(role).clone() };
            let replaced = match kind {
                Kind::P1 => vec![replace(Originator), replace(Responder)],
                _ => vec![replace(kind.first().peer())],
            };
            let aborted = ruled(&agreement, Ruling::Aborted);
            let replaced = ruled(&agreement, Ruling::Replaced(replaced));
            let deposit = |it| Some((it, digest_of(it)));
            let in_p2 = |it| if *kind == Kind::P1 { None } else { deposit(it) };
            let states = [
                Known::default(),
                Known { verdict: None, attestation: deposit(&here) },
                Known { verdict: None, attestation: deposit(&elsewhere) },
                Known { verdict: Some(&aborted), attestation: None },
                Known { verdict: Some(&aborted), attestation: deposit(&here) },
                Known { verdict: Some(&replaced), attestation: in_p2(&here) },
            ];
            for with in filings {
                let acceptance = with.then(|| agreement.acceptance());
                let case = cast.admit(agreement.offer(), acceptance, role, action(what)).unwrap();
                for now in times {
                    for (known, expected) in states.iter().zip(&answers).filter(|(_, it)| **it != "-") {
                        let decision = decide(&case, *known, UnixMillis(*now), LeafIndex(9), Some(&fit()));
                        assert_eq!(answer(&decision), *expected, "{kind:?} {row} at {now}");
                        seen.insert((*kind, role, (*what).to_owned(), *with, *now));
                        cells += 1;
                        check_statement(&case, decision, *known, *now);
                    }
                }
            }
        }
    }
    // 3 agreements x 2 roles x 5 actions x with and without acceptance: no combination is missing.
    let combinations: BTreeSet<_> =
        seen.iter().map(|(kind, role, what, with, _)| (kind, role, what, with)).collect();
    assert_eq!((combinations.len(), cells), (60, 1_248));
}

/// R4: a verdict says everything that decided it.
fn check_statement(case: &Case, decision: Result<Decision, Refused>, known: Known<'_>, now: u64) {
    let offer = case.offer();
    match decision {
        Ok(Decision::Rule(verdict)) => {
            assert_eq!(verdict.exchange_id, offer.exchange_id());
            assert_eq!(verdict.agreement_id, case.agreement().map(Agreement::id));
            assert_eq!(verdict.originator, offer.originator.signing_key);
            assert_eq!(verdict.responder, offer.responder.signing_key);
            assert_eq!(verdict.originator_item, offer.originator_item.digest());
            assert_eq!(verdict.responder_item, offer.responder_item.digest());
            assert_eq!((verdict.rules.as_str(), verdict.leaf_index), (RULES, LeafIndex(9)));
            assert_eq!(verdict.requested_by, case.request().role);
            assert_eq!(verdict.request, case.request().digest());
            assert_eq!(verdict.time, UnixMillis(now));
            let deposit = known.attestation.filter(|_| verdict.rule == "R-406").map(|(_, digest)| digest);
            let acceptance = case.agreement().map(|it| it.acceptance().digest());
            let evidence: Vec<_> =
                [Some(offer.digest()), acceptance, deposit].into_iter().flatten().collect();
            assert_eq!(verdict.evidence, evidence);
            let replaced: Vec<_> = match &verdict.ruling {
                Ruling::Aborted => Vec::new(),
                Ruling::Replaced(list) => list.iter().map(|it| (it.role, it.item.clone())).collect(),
            };
            let roles: &[Role] = match (verdict.rule.as_str(), offer.selection.first_sender) {
                ("R-404", _) => &[Originator, Responder],
                ("R-406", Originator) => &[Responder],
                ("R-406", Responder) => &[Originator],
                _ => &[],
            };
            let expected: Vec<_> = roles.iter().map(|role| (*role, offer.item(*role).clone())).collect();
            assert_eq!(replaced, expected);
        }
        Ok(Decision::Attest(attestation)) => {
            let first = offer.selection.first_sender;
            assert_eq!(attestation.depositor, first);
            assert_eq!(attestation.item, offer.item(first).digest());
            assert_eq!(Some(attestation.agreement_id), case.agreement().map(Agreement::id));
            assert_eq!(attestation.request, case.request().digest());
            assert_eq!((attestation.leaf_index, attestation.time), (LeafIndex(9), UnixMillis(now)));
        }
        _ => {}
    }
}

/// content that fits another description is never attested, whatever it was checked against.
#[test]
fn content_of_another_description_is_not_attested() {
    let cast = Cast::new();
    for kind in [Kind::P2OriginatorFirst, Kind::P2ResponderFirst] {
        let case = cast.case(&cast.agreement(kind), kind.first(), Action::Deposit);
        let other = fit_of(b"%PDF-1.7\nsomething else");
        let decide = |content| decide(&case, Known::default(), UnixMillis(EARLY), LeafIndex(1), content);
        assert_eq!(decide(Some(&other)), Err(Refused::DepositNotAllowed));
        assert!(matches!(decide(None), Ok(Decision::Attest(_))), "before the upload: would be attested");
    }
}

fn reason<T: std::fmt::Debug>(result: Result<T, arbiter_protocol::error::Rejected>) -> &'static str {
    result.expect_err("admitted").reason()
}

/// what is refused before there is a case. One fault each.
#[test]
fn admission_names_the_fault() {
    let cast = Cast::new();
    let this = cast.identity();
    for kind in Kind::ALL {
        let agreement = cast.agreement(kind);
        let (offer, acceptance) = (agreement.offer(), agreement.acceptance());
        let (exchange, id) = (agreement.exchange_id(), Some(agreement.id()));
        let request = |role, action| cast.request(exchange, id, role, action);
        let admit = |this: &ArbiterIdentity,
                     request: &Verified<Request>,
                     acceptance: Option<&Verified<Acceptance>>| {
            Case::admit(this, unverified(request), unverified(offer), acceptance.map(unverified))
        };
        let good = request(Originator, Action::Abort);
        assert!(admit(&this, &good, Some(acceptance)).is_ok());

        // A stranger, the peer under the wrong role, and the arbiter itself.
        for signer in [&cast.stranger, &cast.responder, &cast.arbiter, &cast.log] {
            let forged = Verified::sign((*good).clone(), signer);
            assert_eq!(reason(admit(&this, &forged, Some(acceptance))), "NOT_A_PARTY");
        }
        // Another arbiter: by key, by log key, by origin, by rules.
        let other_arbiters = [
            ArbiterIdentity { key: cast.stranger.public_key(), ..this.clone() },
            ArbiterIdentity { log_key: cast.stranger.public_key(), ..this.clone() },
            ArbiterIdentity { log_origin: Origin::parse("other.test/log").unwrap(), ..this.clone() },
            ArbiterIdentity { rules: "arbiter/rules/v0".to_owned(), ..this.clone() },
        ];
        for other in &other_arbiters {
            assert_eq!(reason(admit(other, &good, Some(acceptance))), "OTHER_ARBITER");
        }
        // Another exchange, of the same parties (S10) and with swapped roles (S11).
        let second = cast.offer(kind, 40);
        let elsewhere = cast.request(second.exchange_id(), id, Originator, Action::Abort);
        assert_eq!(reason(admit(&this, &elsewhere, Some(acceptance))), "OTHER_EXCHANGE");
        let swapped = Cast::swapped().agreement(kind);
        let reflected =
            Cast::swapped().request(swapped.exchange_id(), Some(swapped.id()), Responder, Action::Abort);
        assert_eq!(reason(admit(&this, &reflected, Some(acceptance))), "NOT_A_PARTY");
        // The acceptance of another offer, of another signer, or another one than the request names.
        let mixed = cast.acceptance(&second, 22);
        assert_eq!(reason(admit(&this, &good, Some(&mixed))), "ACCEPTANCE_MISMATCH");
        let mixed_id = AgreementId::from_bytes(*mixed.digest().as_bytes());
        let names_it = cast.request(exchange, Some(mixed_id), Originator, Action::Resolve);
        assert_eq!(reason(admit(&this, &names_it, Some(&mixed))), "ACCEPTANCE_MISMATCH");
        let again = cast.acceptance(offer, 23);
        assert_eq!(reason(admit(&this, &good, Some(&again))), "ACCEPTANCE_MISMATCH");
        assert_eq!(reason(admit(&this, &good, None)), "ACCEPTANCE_MISMATCH");
        let unnamed = cast.request(exchange, None, Originator, Action::Abort);
        assert_eq!(reason(admit(&this, &unnamed, Some(acceptance))), "ACCEPTANCE_MISMATCH");
        let forged = Verified::sign((**acceptance).clone(), &cast.originator);
        assert_eq!(reason(admit(&this, &good, Some(&forged))), "SIGNER_NOT_ENTITLED");
        let named = AgreementId::from_bytes([7; 32]);
        let other = cast.request(exchange, Some(named), Originator, Action::Abort);
        assert_eq!(reason(admit(&this, &other, Some(acceptance))), "ACCEPTANCE_MISMATCH");
        // An offer that the originator did not sign.
        let forged = Verified::sign((**offer).clone(), &cast.responder);
        let forged = Case::admit(&this, unverified(&good), unverified(&forged), Some(unverified(acceptance)));
        assert_eq!(reason(forged), "SIGNER_NOT_ENTITLED");
        // Signatures with one bit flipped.
        let flip = |envelope: &arbiter_protocol::statement::Envelope| {
            let mut wire = envelope.to_wire();
            wire.signatures[0].signature[40] ^= 4;
            arbiter_protocol::statement::Envelope::from_wire(wire).unwrap()
        };
        let parse = arbiter_protocol::statement::Signed::parse;
        let bad = Case::admit(&this, parse(flip(good.envelope())).unwrap(), unverified(offer), None);
        assert_eq!(reason(bad), "SIGNATURE_INVALID");
        let parse = arbiter_protocol::statement::Signed::parse;
        let bad = Case::admit(&this, unverified(&good), parse(flip(offer.envelope())).unwrap(), None);
        assert_eq!(reason(bad), "SIGNATURE_INVALID");
        let parse = arbiter_protocol::statement::Signed::parse;
        let bad = parse(flip(acceptance.envelope())).unwrap();
        assert_eq!(
            reason(Case::admit(&this, unverified(&good), unverified(offer), Some(bad))),
            "SIGNATURE_INVALID"
        );
    }
}

/// inside one batch, too: of an abort and a resolve that arrive together the first decides (S6).
#[test]
fn one_batch_holds_one_verdict_an_exchange() {
    for abort_first in [true, false] {
        let mut notary = Notary::new();
        let agreement = notary.cast.agreement(Kind::P1);
        let abort = notary.cast.case(&agreement, Originator, Action::Abort);
        let resolve = notary.cast.case(&agreement, Responder, Action::Resolve);
        let order = if abort_first { [&abort, &resolve] } else { [&resolve, &abort] };
        let receipts = notary.file_together(&order, EARLY);
        assert_eq!(receipts[0].statement, receipts[1].statement);
        assert_eq!(notary.durable.leaves.len(), 2, "genesis and one verdict");
        let verdict = notary.durable.record(&agreement.exchange_id()).verdict.unwrap().statement;
        assert_eq!(verdict.ruling == Ruling::Aborted, abort_first);
    }
}

/// the arbiter's time never goes back, so a complaint that was too late stays too late once a later
/// ruling is on record.
#[test]
fn time_does_not_go_back() {
    let mut notary = Notary::new();
    let unrelated = notary.cast.offer(Kind::P1, 80);
    let late = notary.cast.admit(&unrelated, None, Originator, Action::Abort).unwrap();
    notary.file(&late, COMPLAIN_BY).unwrap();
    let agreement = notary.cast.agreement(Kind::P2OriginatorFirst);
    let deposit = notary.cast.case(&agreement, Originator, Action::Deposit);
    let refused = notary.file(&deposit, COMPLAIN_BY - 5_000).unwrap_err();
    assert_eq!(
        refused,
        Refused::ComplaintTooLate { now: UnixMillis(COMPLAIN_BY), complain_by: UnixMillis(COMPLAIN_BY) }
    );
    let expiry = notary.cast.case(&agreement, Responder, Action::Abort);
    notary.file(&expiry, COMPLAIN_BY - 5_000).unwrap();
    let verdict = notary.durable.record(&agreement.exchange_id()).verdict.unwrap().statement;
    assert_eq!(verdict.time, UnixMillis(COMPLAIN_BY));
    let batch = Batch::new(&notary.desk, &TestVeil, notary.durable.head.clone());
    assert_eq!(batch.clamp(UnixMillis(1)), UnixMillis(COMPLAIN_BY));
    assert_eq!(batch.clamp(UnixMillis(COMPLAIN_BY + 7)), UnixMillis(COMPLAIN_BY + 7));
}

/// without content there is nothing to attest; a refusal leaves no trace in the batch.
#[test]
fn refusals_change_nothing() {
    let notary = Notary::new();
    let agreement = notary.cast.agreement(Kind::P2OriginatorFirst);
    let mut batch = Batch::new(&notary.desk, &TestVeil, notary.durable.head.clone());
    let deposit = notary.cast.case(&agreement, Originator, Action::Deposit);
    let now = UnixMillis(EARLY);
    assert_eq!(batch.file(&deposit, Record::default(), now, None), Err(Refused::DepositRequired));
    let early = notary.cast.case(&agreement, Responder, Action::Abort);
    assert!(batch.file(&early, Record::default(), now, None).is_err());
    assert!(batch.is_empty() && batch.record(&agreement.exchange_id()).is_none());
    let (fit, id) = (fit(), ContentId(1));
    assert_eq!(batch.file(&deposit, Record::default(), now, Some((&fit, id))), Ok(Reply::Attestation));
    assert_eq!(batch.len(), 1);
}

/// leaf 0 names the log; the leaves of an exchange are chained; none names a party.
#[test]
fn leaves_are_chained_and_name_nobody() {
    let mut notary = Notary::new();
    let agreement = notary.cast.agreement(Kind::P2OriginatorFirst);
    for (action, now) in [(Action::Deposit, EARLY), (Action::Resolve, EARLY + 1)] {
        let case = notary.cast.case(&agreement, Originator, action);
        notary.file(&case, now).unwrap();
    }
    let leaves: Vec<_> = notary.durable.leaves.iter().map(|it| Leaf::decode(it).unwrap()).collect();
    let events: Vec<_> = leaves.iter().map(|it| it.event).collect();
    assert_eq!(events, [Event::Genesis, Event::DepositAccepted, Event::VerdictReplaced]);
    assert_eq!(leaves[0].token, genesis_token(&notary.cast.identity()));
    let reasons: Vec<_> = leaves.iter().map(|it| it.reason).collect();
    assert_eq!(reasons, ["R-502", "R-407", "R-406"]);
    assert_eq!((leaves[1].sequence, leaves[1].previous), (0, None));
    assert_eq!((leaves[2].sequence, leaves[2].previous), (1, Some(LeafIndex(1))));
    assert_eq!(leaves[1].exchange, leaves[2].exchange);
    for (index, leaf) in leaves.iter().enumerate() {
        assert_eq!(leaf.index, LeafIndex(u64::try_from(index).unwrap()));
    }
    let log = String::from_utf8(notary.durable.leaves.concat()).unwrap();
    let offer = agreement.offer();
    for secret in [
        offer.originator.signing_key.to_string(),
        offer.responder.signing_key.to_string(),
        offer.exchange_id().to_string(),
        agreement.id().to_string(),
        offer.originator_item.digest().to_string(),
        Digest::of(&[common::CONTENT]).to_string(),
        "Ada".to_owned(),
        "goods".to_owned(),
    ] {
        assert!(!log.contains(&secret), "the public log holds {secret}");
    }
}
