//! What the arbiter decides: the verdict table of `SPEC.md` section 6 as data, every cell tried; then what
//! admission refuses before there is anything to decide; then what one batch may hold.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

mod common;

use arbiter_protocol::crypto::Signer as _;
use arbiter_protocol::error::Refused;
use arbiter_protocol::escrow::{Escrow, EscrowSecret};
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::evidence::leaf::{Event, Leaf};
use arbiter_protocol::exchange::kind::content::FitContent;
use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::exchange::selection::Role::{self, Originator, Responder};
use arbiter_protocol::exchange::selection::{ByRole, Selection};
use arbiter_protocol::ids::{AgreementId, Digest, LeafIndex};
use arbiter_protocol::message::agreement::{Acceptance, Agreement, ArbiterIdentity, Offer};
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::message::verdict::{Replacement, Ruling};
use arbiter_protocol::role::arbiter::{Case, Decision, Escrows, Known, RULES, decide};
use arbiter_protocol::ruling::sequencer::{Batch, ContentId, Reply, genesis_token};
use arbiter_protocol::statement::{Verified, digest_of};
use arbiter_protocol::time::UnixMillis;
use zeroize::Zeroizing;

use common::rulings::{action, answer, attested, ruled};
use common::{COMPLAIN_BY, Cast, EARLY, Kind, Notary, TestVeil, content_of, fit, fit_of, hollow, unverified};

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
 P1.first  revoke  any any   | REVOKE_NOT_ALLOWED   -                     -                    REPLAY               -                    REPLAY
 P1.second revoke  any any   | REVOKE_NOT_ALLOWED   -                     -                    REPLAY               -                    REPLAY
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
 P2.first  revoke  any any   | REVOKE_NOT_ALLOWED   REVOKE_NOT_ALLOWED    REVOKE_NOT_ALLOWED   REPLAY               REPLAY               REPLAY
 P2.second revoke  any any   | REVOKE_NOT_ALLOWED   REVOKE_NOT_ALLOWED    REVOKE_NOT_ALLOWED   REPLAY               REPLAY               REPLAY
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

/// What differs where a detached signature is to be had from escrow: `late` is from the end of the escrow key on. All other
/// rows are those above.
const ESCROW_TABLE: &str = "
 who       action  acc time  | none                 attested              elsewhere            aborted              aborted+deposit      replaced
 P1e.second abort  any early | ABORT_TOO_EARLY      -                     -                    REPLAY               -                    REPLAY
 P1e.second abort  any late  | R-403                -                     -                    REPLAY               -                    REPLAY
 P1e.first  resolve yes late | ESCROW_KEY_RETIRED   -                     -                    REPLAY               -                    REPLAY
 P1e.second resolve yes late | ESCROW_KEY_RETIRED   -                     -                    REPLAY               -                    REPLAY
 P1e.first  fetch  any any   | DEPOSIT_NOT_RELEASED -                     -                    DEPOSIT_NOT_RELEASED -                    RELEASE
 P1e.second fetch  any any   | DEPOSIT_NOT_RELEASED -                     -                    DEPOSIT_NOT_RELEASED -                    RELEASE
 P2e.first  fetch  any any   | DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED  DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED RELEASE
";

struct Row<'a> {
    who: &'a str,
    what: &'a str,
    filed: &'a str,
    when: &'a str,
    answers: Vec<&'a str>,
}

fn rows(table: &str) -> Vec<Row<'_>> {
    table
        .trim()
        .lines()
        .skip(1)
        .map(|line| {
            let (head, answers) = line.split_once('|').unwrap();
            let head: Vec<_> = head.split_whitespace().collect();
            let answers: Vec<_> = answers.split_whitespace().collect();
            let ([who, what, filed, when], 6) = (&head[..], answers.len()) else {
                panic!("a row has four words, a bar and six answers: {line}");
            };
            Row { who, what, filed, when, answers }
        })
        .collect()
}

/// The answers to one filing at one time: the row for escrow if there is one, else the general one.
fn expected(kind: Kind, position: &str, what: &str, filed: bool, late: bool) -> Vec<&'static str> {
    let find = |table: &'static str, protocol: &str| {
        let fits = |row: &Row<'_>| {
            row.who == format!("{protocol}.{position}")
                && row.what == what
                && (row.filed == "any" || (row.filed == "yes") == filed)
                && (row.when == "any" || (row.when == "late") == late)
        };
        let found: Vec<_> = rows(table).into_iter().filter(fits).map(|row| row.answers).collect();
        assert!(found.len() < 2, "two rows for {kind:?} {position} {what} {filed} {late}");
        found.into_iter().next()
    };
    let protocol = if kind.is_p1() { "P1" } else { "P2" };
    let with_escrow = kind != Kind::P1Mixed && Role::BOTH.into_iter().any(|role| kind.is_detached(role));
    with_escrow
        .then(|| find(ESCROW_TABLE, &format!("{protocol}e")))
        .flatten()
        .or_else(|| find(TABLE, protocol))
        .expect("every combination has a row")
}

/// S7, S8, S18, S19, S44: every cell of the tables, for every kind of exchange, at every time
/// that matters.
#[test]
fn the_verdict_table_holds_in_every_cell() {
    let cast = Cast::new();
    let mut cells = 0;
    let mixed = Kind::P1Mixed; // Two methods in one exchange have a test of their own.
    let others = [Kind::P2Payment, Kind::P2PaymentEscrow, Kind::P1Package, Kind::P2Package];
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != mixed).chain(others) {
        let agreement = cast.agreement(kind);
        let other =
            Agreement::join(agreement.offer().clone(), cast.acceptance(agreement.offer(), 99)).unwrap();
        let (here, elsewhere) = (attested(&agreement, kind.first()), attested(&other, kind.first()));
        let replace = |role: Role| Replacement { role, item: agreement.offer().item(role).clone() };
        let replaced = if kind.is_p1() {
            vec![replace(Originator), replace(Responder)]
        } else {
            vec![replace(kind.first().peer())]
        };
        let aborted = ruled(&agreement, Ruling::Aborted);
        let replaced = ruled(&agreement, Ruling::Replaced(replaced));
        let deposit = |it| ByRole::only(kind.first(), (it, digest_of(it)));
        let in_p2 = |it| if kind.is_p1() { ByRole::default() } else { deposit(it) };
        let states = [
            Known::default(),
            Known { verdict: None, attestations: deposit(&here) },
            Known { verdict: None, attestations: deposit(&elsewhere) },
            Known { verdict: Some(&aborted), attestations: ByRole::default() },
            Known { verdict: Some(&aborted), attestations: deposit(&here) },
            Known { verdict: Some(&replaced), attestations: in_p2(&here) },
        ];
        for position in ["first", "second"] {
            let role = if position == "first" { kind.first() } else { kind.first().peer() };
            for what in ["abort", "resolve", "revoke", "deposit", "fetch", "query"] {
                for filed in [true, false] {
                    let acceptance = filed.then(|| agreement.acceptance());
                    let case = cast.admit(agreement.offer(), acceptance, role, action(what)).unwrap();
                    let fit = cast.fits(agreement.offer(), role).unwrap_or_else(fit);
                    let opened = cast.opened(&case);
                    let held = match case.request().action {
                        Action::Deposit => ByRole::only(role, &fit),
                        _ => opened.map(|_, fit| fit.as_ref()),
                    };
                    for now in
                        [EARLY, COMPLAIN_BY - 1, COMPLAIN_BY, COMPLAIN_BY + 1, COMPLAIN_BY + 1_000_000_000]
                    {
                        let late = now >= COMPLAIN_BY;
                        let answers = expected(kind, position, what, filed, late);
                        for (known, expected) in states.iter().zip(&answers).filter(|(_, it)| **it != "-") {
                            // What is still to be received or opened is decided in the same way.
                            for held in [held, ByRole::default()] {
                                let decision = decide(&case, *known, UnixMillis(now), LeafIndex(9), held);
                                let place = format!("{kind:?} {position} {what} {filed} at {now}");
                                assert_eq!(answer(&decision), *expected, "{place}");
                                cells += 1;
                                check_statement(&case, decision, *known, now);
                            }
                        }
                    }
                }
            }
        }
    }
    assert_eq!(cells, 2 * (3 * 360 + 7 * 720));
}

/// one item in escrow, one replaced; each comes by its own method.
#[test]
fn methods_can_differ_between_the_items() {
    let mut notary = Notary::new();
    let agreement = notary.cast.agreement(Kind::P1Mixed);
    let resolve = notary.cast.case(&agreement, Responder, Action::Resolve);
    assert_eq!(resolve.to_open(), [Originator]);
    notary.file(&resolve, EARLY).unwrap();
    let record = notary.durable.record(&agreement.exchange_id());
    assert_eq!(record.held, ByRole::only(Originator, content_of(Originator)));
    let fetch = |role| notary.cast.case(&agreement, role, Action::Fetch);
    let fetched = |case: &Case, notary: &Notary| {
        let mut batch = Batch::new(&notary.desk, &TestVeil, notary.durable.head.clone());
        batch.file(case, record.clone(), UnixMillis(EARLY), ByRole::default())
    };
    let (by_originator, by_responder) = (fetch(Originator), fetch(Responder));
    assert_eq!(fetched(&by_responder, &notary), Ok(Reply::Content(content_of(Originator))));
    assert_eq!(fetched(&by_originator, &notary), Err(Refused::DepositNotReleased));
}

/// which escrows a case needs, and what is refused about them. One fault each (S25, S26, S27, S30).
#[test]
fn escrows_are_filed_for_this_agreement_and_no_other() {
    let cast = Cast::new();
    for kind in Kind::ESCROW {
        let agreement = cast.agreement(kind);
        let offer = agreement.offer();
        let asks = if kind.is_p1() { Responder } else { kind.first() };
        let request = cast.request(agreement.exchange_id(), Some(agreement.id()), asks, Action::Resolve);
        let admit = |request: &Verified<Request>, escrows: &Escrows| {
            let acceptance = Some(unverified(agreement.acceptance()));
            Case::admit(&cast.identity(), unverified(request), unverified(offer), acceptance, escrows.clone())
        };
        let good = cast.escrows(&agreement, asks, Action::Resolve);
        let case = admit(&request, &good).unwrap();
        let attestation = attested(&agreement, agreement.offer().selection.first_sender);
        let deposit = ByRole::only(kind.first(), (&attestation, digest_of(&attestation)));
        let known =
            Known { verdict: None, attestations: if kind.is_p1() { ByRole::default() } else { deposit } };
        let decide = |case: &Case, held: ByRole<Option<&FitContent>>| {
            decide(case, known, UnixMillis(EARLY), LeafIndex(9), held)
        };
        let Ok(Decision::Rule(verdict)) = decide(&case, ByRole::default()) else { panic!("{kind:?}") };
        let digests = Role::BOTH.map(|role| good.of(role).as_ref().map(|it| Digest::of(&[&it.to_bytes()])));
        let digests: Vec<_> = digests.into_iter().flatten().collect();
        assert!(verdict.evidence.ends_with(&digests) && !digests.is_empty(), "{kind:?}: named as evidence");
        for role in case.to_open() {
            // Missing: there is a case, but no verdict.
            let mut missing = good.clone();
            *missing.of_mut(role) = None;
            let refused = decide(&admit(&request, &missing).unwrap(), ByRole::default()).unwrap_err();
            assert_eq!(refused.reason(), "ESCROW_REQUIRED", "{kind:?}");
            // Opened to something else than the item: the arbiter's own mistake makes no verdict.
            let other = cast.opened(&case).of(role.peer()).clone().unwrap_or_else(fit);
            assert!(decide(&case, ByRole::only(role, &other)).is_err(), "{kind:?}");
            // Of another exchange, of another acceptance, of the other role, of another message.
            let elsewhere = cast.offer(kind, 77);
            let elsewhere = Agreement::join(elsewhere.clone(), cast.acceptance(&elsewhere, 22)).unwrap();
            let again = Agreement::join(offer.clone(), cast.acceptance(offer, 99)).unwrap();
            let mut strange = vec![cast.pledge(&elsewhere, role), cast.pledge(&agreement, role.peer())];
            if role == Responder {
                strange.push(cast.pledge(&again, role));
            } else {
                // The originator's is bound to the offer: it serves every acceptance of it (K1).
                assert_eq!(cast.escrow(&again, role), cast.escrow(&agreement, role));
            }
            for escrow in strange.into_iter().flatten() {
                let mut wrong = good.clone();
                *wrong.of_mut(role) = Some(escrow);
                assert_eq!(reason(admit(&request, &wrong)), "ESCROW_OF_SOMETHING_ELSE", "{kind:?} {role}");
            }
        }
        // Filed where nothing is opened.
        for action in [Action::Abort, Action::Query, Action::Fetch, Action::Deposit] {
            let request = cast.request(agreement.exchange_id(), Some(agreement.id()), asks, action);
            assert_eq!(reason(admit(&request, &good)), "ESCROW_NOT_AGREED", "{kind:?} {action:?}");
        }
        let second = kind.first();
        if !kind.is_p1() {
            let extra = ByRole::only(second.peer(), cast.pledge(&agreement, second.peer()).unwrap());
            let by_peer =
                cast.request(agreement.exchange_id(), Some(agreement.id()), second.peer(), Action::Resolve);
            assert_eq!(reason(admit(&by_peer, &extra)), "ESCROW_NOT_AGREED", "{kind:?}");
        }
    }
    // Nothing is in escrow in this exchange.
    let plain = cast.agreement(Kind::P1);
    let foreign = ByRole::only(Originator, cast.pledge(&cast.agreement(Kind::P1Escrow), Originator).unwrap());
    let request = cast.request(plain.exchange_id(), Some(plain.id()), Originator, Action::Resolve);
    let acceptance = Some(unverified(plain.acceptance()));
    let refused =
        Case::admit(&cast.identity(), unverified(&request), unverified(plain.offer()), acceptance, foreign);
    assert_eq!(reason(refused), "ESCROW_NOT_AGREED");
}

/// what the arbiter opens is the finished signature; a false escrow opens to nothing, and a lost key is a lost key.
#[test]
fn an_escrow_opens_to_the_very_signature_or_to_nothing() {
    let cast = Cast::new();
    for kind in Kind::ESCROW {
        let agreement = cast.agreement(kind);
        let offer = agreement.offer();
        for role in Role::BOTH.into_iter().filter(|role| kind.is_detached(*role)) {
            let place = Place::of(offer, role, agreement.id());
            let escrow = cast.escrow(&agreement, role).unwrap();
            let (fit, signature) = place.open(&escrow, &cast.escrow_secret()).unwrap();
            assert_eq!(Some(&signature[..]), cast.finished(offer, role).as_ref().map(|it| &it[..]), "F12");
            assert_eq!(fit.description(), &offer.item(role).description);
            // Every ciphertext of the hidden instances replaced: it belongs here, but nothing is in it.
            let hollow = hollow(&escrow);
            assert_eq!(place.belongs(&hollow.clone().into()), Ok(()));
            assert_eq!(reason(place.check(hollow.clone())), "ESCROW_FALSE");
            assert_eq!(reason(place.open(&hollow, &cast.escrow_secret())), "ESCROW_UNOPENABLE");
            // One ciphertext that decrypts is enough, although the proof is false.
            let mut bytes = hollow.to_bytes();
            let hidden = usize::from(offer.escrow.as_ref().unwrap().suite.hidden());
            let start = bytes.len() - 80 * hidden;
            bytes[start + 64] ^= 1;
            let one = Escrow::from_bytes(&bytes).unwrap();
            assert_eq!(place.open(&one, &cast.escrow_secret()).map(|(_, it)| it), Ok(signature));
            assert_eq!(reason(place.check(one)), "ESCROW_FALSE");
            // S30: the arbiter holds another key for the epoch.
            let arbiter = *offer.arbiter.key.as_bytes();
            for (seed, epoch) in [(0x63, 3), (0x61, 4)] {
                let other = EscrowSecret::from_seed(&Zeroizing::new([seed; 32]), arbiter, epoch).unwrap();
                assert_eq!(reason(place.open(&escrow, &other)), "ESCROW_KEY_UNKNOWN");
            }
        }
    }
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
            let first = *known.attestations.of(offer.selection.first_sender);
            let deposit = first.filter(|_| verdict.rule == "R-406").map(|(_, digest)| digest);
            let acceptance = case.agreement().map(|it| it.acceptance().digest());
            let escrows = Role::BOTH.map(|role| case.escrows().of(role).as_ref().map(Pledge::digest));
            let [originator, responder] = escrows;
            let evidence = [Some(offer.digest()), acceptance, deposit, originator, responder];
            assert_eq!(verdict.evidence, evidence.into_iter().flatten().collect::<Vec<_>>());
            let replaced: Vec<_> = match &verdict.ruling {
                Ruling::Aborted | Ruling::Affidavit(_) | Ruling::Revoked(_) => Vec::new(),
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
        let decide = |held| decide(&case, Known::default(), UnixMillis(EARLY), LeafIndex(1), held);
        assert_eq!(decide(ByRole::only(kind.first(), &other)), Err(Refused::DepositNotAllowed));
        assert!(
            matches!(decide(ByRole::default()), Ok(Decision::Attest(_))),
            "before the upload: would be attested"
        );
    }
}

fn none() -> Escrows {
    Escrows::default()
}

fn reason<T: std::fmt::Debug>(result: Result<T, arbiter_protocol::error::Rejected>) -> &'static str {
    result.expect_err("admitted").reason()
}

/// S9, S14, S15, S44: what is refused before there is a case. One fault each.
#[test]
fn admission_names_the_fault() {
    let cast = Cast::new();
    let this = cast.identity();
    for kind in Kind::ALL.into_iter().chain(Kind::MONEY) {
        let agreement = cast.agreement(kind);
        let (offer, acceptance) = (agreement.offer(), agreement.acceptance());
        let (exchange, id) = (agreement.exchange_id(), Some(agreement.id()));
        let request = |role, action| cast.request(exchange, id, role, action);
        let admit = |this: &ArbiterIdentity,
                     request: &Verified<Request>,
                     acceptance: Option<&Verified<Acceptance>>| {
            let acceptance = acceptance.map(unverified);
            Case::admit(this, unverified(request), unverified(offer), acceptance, Escrows::default())
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
        let forged = Case::admit(
            &this,
            unverified(&good),
            unverified(&forged),
            Some(unverified(acceptance)),
            Escrows::default(),
        );
        assert_eq!(reason(forged), "SIGNER_NOT_ENTITLED");
        // Signatures with one bit flipped.
        let flip = |envelope: &arbiter_protocol::statement::Envelope| {
            let mut wire = envelope.to_wire();
            wire.signatures[0].signature[40] ^= 4;
            arbiter_protocol::statement::Envelope::from_wire(wire).unwrap()
        };
        let parse = arbiter_protocol::statement::Signed::parse;
        let bad = Case::admit(&this, parse(flip(good.envelope())).unwrap(), unverified(offer), None, none());
        assert_eq!(reason(bad), "SIGNATURE_INVALID");
        let parse = arbiter_protocol::statement::Signed::parse;
        let bad = Case::admit(&this, unverified(&good), parse(flip(offer.envelope())).unwrap(), None, none());
        assert_eq!(reason(bad), "SIGNATURE_INVALID");
        let parse = arbiter_protocol::statement::Signed::parse;
        let bad = parse(flip(acceptance.envelope())).unwrap();
        assert_eq!(
            reason(Case::admit(&this, unverified(&good), unverified(offer), Some(bad), none())),
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

/// R-407, S40: without content there is nothing to attest; a refusal leaves no trace in the batch.
#[test]
fn refusals_change_nothing() {
    let notary = Notary::new();
    let agreement = notary.cast.agreement(Kind::P2OriginatorFirst);
    let mut batch = Batch::new(&notary.desk, &TestVeil, notary.durable.head.clone());
    let deposit = notary.cast.case(&agreement, Originator, Action::Deposit);
    let (now, blank) = (UnixMillis(EARLY), || common::unrecorded(&agreement.exchange_id()));
    assert_eq!(batch.file(&deposit, blank(), now, ByRole::default()), Err(Refused::DepositRequired));
    assert!(batch.is_empty() && batch.record(&agreement.exchange_id()).is_none());
    // what is only too early stands until its time; nothing is logged, and nothing else is kept.
    let early = notary.cast.case(&agreement, Responder, Action::Abort);
    assert!(batch.file(&early, blank(), now, ByRole::default()).is_err());
    let mut record = batch.record(&agreement.exchange_id()).cloned().unwrap();
    let standing = record.standing.responder.take().unwrap();
    assert_eq!((standing.at, &standing.request), (UnixMillis(COMPLAIN_BY), early.request().envelope()));
    assert_eq!((batch.len(), record), (0, blank()));
    let (fit, id) = (fit(), ContentId(1));
    assert_eq!(
        batch.file(&deposit, blank(), now, ByRole::only(Originator, (&fit, id))),
        Ok(Reply::Attestation(Originator))
    );
    assert_eq!((batch.len(), batch.is_empty()), (1, false));
    let record = batch.record(&agreement.exchange_id()).unwrap();
    assert_eq!((record.leaves, record.held), (1, ByRole::only(Originator, id)));
    let resolve = notary.cast.case(&agreement, Originator, Action::Resolve);
    assert_eq!(batch.file(&resolve, blank(), now, ByRole::default()), Ok(Reply::Verdict));
    assert_eq!(batch.len(), 2);
}

/// after the verdict that replaces its item, the second sender fetches the very content that was attested.
#[test]
fn what_was_deposited_is_what_is_released() {
    for kind in [Kind::P2OriginatorFirst, Kind::P2ResponderFirst] {
        let mut notary = Notary::new();
        let agreement = notary.cast.agreement(kind);
        for action in [Action::Deposit, Action::Resolve] {
            let case = notary.cast.case(&agreement, kind.first(), action);
            notary.file(&case, EARLY).unwrap();
        }
        let fetched = |role| {
            let fetch = notary.cast.case(&agreement, role, Action::Fetch);
            let mut batch = Batch::new(&notary.desk, &TestVeil, notary.durable.head.clone());
            let record = notary.durable.record(&agreement.exchange_id());
            batch.file(&fetch, record, UnixMillis(EARLY), ByRole::default())
        };
        assert_eq!(fetched(kind.first().peer()), Ok(Reply::Content(ContentId(7))));
        assert_eq!(fetched(kind.first()), Err(Refused::DepositNotReleased));
    }
}

/// protocol and order each refuse a deposit on their own. No offer that was checked is like these, and the
/// arbiter's power does not rest on that check.
#[test]
fn a_deposit_needs_the_protocol_and_the_order() {
    let cast = Cast::new();
    let p1 = cast.terms(Kind::P1, 1).selection;
    let p2 = cast.terms(Kind::P2OriginatorFirst, 1).selection;
    let second = Selection { first_sender: Responder, ..p2 };
    for (selection, allowed) in [(p2, true), (p1, false), (second, false)] {
        let terms = Offer { selection, ..cast.terms(Kind::P2OriginatorFirst, 21) };
        let offer = Verified::sign(terms, &cast.originator);
        let acceptance = cast.acceptance(&offer, 22);
        let agreement = Some(AgreementId::from_bytes(*acceptance.digest().as_bytes()));
        let request = cast.request(offer.exchange_id(), agreement, Originator, Action::Deposit);
        let case = Case::reopen(unverified(&request), offer, Some(unverified(&acceptance)), none()).unwrap();
        let decision = decide(&case, Known::default(), UnixMillis(EARLY), LeafIndex(1), ByRole::default());
        assert_eq!(answer(&decision), if allowed { "R-407" } else { "DEPOSIT_NOT_ALLOWED" }, "{selection:?}");
    }
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
