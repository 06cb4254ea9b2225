//! What the arbiter decides about money, and in the protocols that came with it: the second verdict table of `SPEC.md`
//! section 6 as data, every cell tried at every time that matters. P2 with a payment is in `decisions.rs`: its rows are
//! those of P2 with a file.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

mod common;

use arbiter_protocol::error::Refused;
use arbiter_protocol::exchange::item::Description;
use arbiter_protocol::exchange::kind::content::FitContent;
use arbiter_protocol::exchange::selection::ByRole;
use arbiter_protocol::exchange::selection::Role::{self, Originator, Responder};
use arbiter_protocol::ids::{AgreementId, LeafIndex};
use arbiter_protocol::message::agreement::Agreement;
use arbiter_protocol::message::payment::{PaymentAction, PaymentTerms};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::verdict::{Replacement, Ruling};
use arbiter_protocol::role::arbiter::{Case, Decision, Known, RULES, decide, payment_orders};
use arbiter_protocol::statement::{Verified, digest_of};
use arbiter_protocol::time::UnixMillis;

use common::money::{HOLD_END, SEND_BY};
use common::rulings::{attested, ruled};
use common::{COMPLAIN_BY, Cast, EARLY, Kind};

/// The verdict table of P3 to P6. Columns after the bar say what is durable: nothing; an attestation of the item of the
/// first sender, of the second, of both under this agreement; attestations of which the second sender's is under another
/// acceptance; an abort; an abort and all deposits there can be; a replacement with its deposits; a revocation. `early` is
/// before `send_by` (P3) or `complain_by`, `between` from `send_by` on and before `complain_by`, `late` from `complain_by`
/// on, `any` is all of them. `yes`, `no`: whether the acceptance is filed. A dash is a state that the protocol does not have.
const TABLE: &str = "
 who       action  acc time    | none                 first                second               both                 elsewhere            aborted              aborted+deposit      replaced             revoked
 P3.first  abort   any any     | R-413                -                    R-413                -                    R-413                REPLAY               REPLAY               REPLAY               REPLAY
 P3.second abort   any any     | R-414                -                    ABORT_NOT_ALLOWED    -                    ABORT_NOT_ALLOWED    REPLAY               REPLAY               REPLAY               REPLAY
 P3.first  revoke  yes early   | REVOKE_TOO_EARLY     -                    R-416                -                    R-416                REPLAY               REPLAY               REPLAY               REPLAY
 P3.first  revoke  yes between | R-417                -                    R-416                -                    R-416                REPLAY               REPLAY               REPLAY               REPLAY
 P3.first  revoke  yes late    | COMPLAINT_TOO_LATE   -                    R-416                -                    R-416                REPLAY               REPLAY               REPLAY               REPLAY
 P3.first  revoke  no  any     | ACCEPTANCE_REQUIRED  -                    ACCEPTANCE_REQUIRED  -                    ACCEPTANCE_REQUIRED  REPLAY               REPLAY               REPLAY               REPLAY
 P3.second revoke  any any     | REVOKE_NOT_ALLOWED   -                    REVOKE_NOT_ALLOWED   -                    REVOKE_NOT_ALLOWED   REPLAY               REPLAY               REPLAY               REPLAY
 P3.first  resolve yes any     | RESOLVE_NOT_ALLOWED  -                    RESOLVE_NOT_ALLOWED  -                    RESOLVE_NOT_ALLOWED  REPLAY               REPLAY               REPLAY               REPLAY
 P3.second resolve yes any     | RESOLVE_NOT_ALLOWED  -                    RESOLVE_NOT_ALLOWED  -                    RESOLVE_NOT_ALLOWED  REPLAY               REPLAY               REPLAY               REPLAY
 P3.first  resolve no  any     | ACCEPTANCE_REQUIRED  -                    ACCEPTANCE_REQUIRED  -                    ACCEPTANCE_REQUIRED  REPLAY               REPLAY               REPLAY               REPLAY
 P3.second resolve no  any     | ACCEPTANCE_REQUIRED  -                    ACCEPTANCE_REQUIRED  -                    ACCEPTANCE_REQUIRED  REPLAY               REPLAY               REPLAY               REPLAY
 P3.first  deposit yes any     | DEPOSIT_NOT_ALLOWED  -                    DEPOSIT_NOT_ALLOWED  -                    DEPOSIT_NOT_ALLOWED  DEPOSIT_NOT_ALLOWED  DEPOSIT_NOT_ALLOWED  DEPOSIT_NOT_ALLOWED  DEPOSIT_NOT_ALLOWED
 P3.second deposit yes early   | R-415                -                    REPLAY-ATTESTATION   -                    ACCEPTANCE_MISMATCH  ALREADY_RULED        REPLAY-ATTESTATION   REPLAY-ATTESTATION   ALREADY_RULED
 P3.second deposit yes between | DEPOSIT_TOO_LATE     -                    REPLAY-ATTESTATION   -                    ACCEPTANCE_MISMATCH  ALREADY_RULED        REPLAY-ATTESTATION   REPLAY-ATTESTATION   ALREADY_RULED
 P3.second deposit yes late    | DEPOSIT_TOO_LATE     -                    REPLAY-ATTESTATION   -                    ACCEPTANCE_MISMATCH  ALREADY_RULED        REPLAY-ATTESTATION   REPLAY-ATTESTATION   ALREADY_RULED
 P3.first  deposit no  any     | ACCEPTANCE_REQUIRED  -                    ACCEPTANCE_REQUIRED  -                    ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED
 P3.second deposit no  any     | ACCEPTANCE_REQUIRED  -                    ACCEPTANCE_REQUIRED  -                    ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED
 P3.first  fetch   any any     | DEPOSIT_NOT_RELEASED -                    DEPOSIT_NOT_RELEASED -                    DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED RELEASE              DEPOSIT_NOT_RELEASED
 P3.second fetch   any any     | DEPOSIT_NOT_RELEASED -                    DEPOSIT_NOT_RELEASED -                    DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED
 P3.first  query   any any     | VERDICT_NOT_FOUND    -                    VERDICT_NOT_FOUND    -                    VERDICT_NOT_FOUND    REPLAY               REPLAY               REPLAY               REPLAY
 P3.second query   any any     | VERDICT_NOT_FOUND    -                    VERDICT_NOT_FOUND    -                    VERDICT_NOT_FOUND    REPLAY               REPLAY               REPLAY               REPLAY
 P4.first  abort   any early   | R-418                -                    -                    -                    -                    REPLAY               -                    -                    REPLAY
 P4.second abort   any early   | R-418                -                    -                    -                    -                    REPLAY               -                    -                    REPLAY
 P4.first  abort   any late    | R-422                -                    -                    -                    -                    REPLAY               -                    -                    REPLAY
 P4.second abort   any late    | R-422                -                    -                    -                    -                    REPLAY               -                    -                    REPLAY
 P4.first  revoke  any early   | R-418                -                    -                    -                    -                    REPLAY               -                    -                    REPLAY
 P4.second revoke  any early   | R-418                -                    -                    -                    -                    REPLAY               -                    -                    REPLAY
 P4.first  revoke  any late    | COMPLAINT_TOO_LATE   -                    -                    -                    -                    REPLAY               -                    -                    REPLAY
 P4.second revoke  any late    | COMPLAINT_TOO_LATE   -                    -                    -                    -                    REPLAY               -                    -                    REPLAY
 P4.first  resolve yes any     | RESOLVE_NOT_ALLOWED  -                    -                    -                    -                    REPLAY               -                    -                    REPLAY
 P4.second resolve yes any     | RESOLVE_NOT_ALLOWED  -                    -                    -                    -                    REPLAY               -                    -                    REPLAY
 P4.first  resolve no  any     | ACCEPTANCE_REQUIRED  -                    -                    -                    -                    REPLAY               -                    -                    REPLAY
 P4.second resolve no  any     | ACCEPTANCE_REQUIRED  -                    -                    -                    -                    REPLAY               -                    -                    REPLAY
 P4.first  deposit yes any     | DEPOSIT_NOT_ALLOWED  -                    -                    -                    -                    DEPOSIT_NOT_ALLOWED  -                    -                    DEPOSIT_NOT_ALLOWED
 P4.second deposit yes any     | DEPOSIT_NOT_ALLOWED  -                    -                    -                    -                    DEPOSIT_NOT_ALLOWED  -                    -                    DEPOSIT_NOT_ALLOWED
 P4.first  deposit no  any     | ACCEPTANCE_REQUIRED  -                    -                    -                    -                    ACCEPTANCE_REQUIRED  -                    -                    ACCEPTANCE_REQUIRED
 P4.second deposit no  any     | ACCEPTANCE_REQUIRED  -                    -                    -                    -                    ACCEPTANCE_REQUIRED  -                    -                    ACCEPTANCE_REQUIRED
 P4.first  fetch   any any     | DEPOSIT_NOT_RELEASED -                    -                    -                    -                    DEPOSIT_NOT_RELEASED -                    -                    DEPOSIT_NOT_RELEASED
 P4.second fetch   any any     | DEPOSIT_NOT_RELEASED -                    -                    -                    -                    DEPOSIT_NOT_RELEASED -                    -                    DEPOSIT_NOT_RELEASED
 P4.first  query   any any     | VERDICT_NOT_FOUND    -                    -                    -                    -                    REPLAY               -                    -                    REPLAY
 P4.second query   any any     | VERDICT_NOT_FOUND    -                    -                    -                    -                    REPLAY               -                    -                    REPLAY
 P5.first  abort   any any     | R-419                R-419                R-419                R-419                R-419                REPLAY               REPLAY               REPLAY               -
 P5.second abort   any any     | R-419                R-419                R-419                R-419                R-419                REPLAY               REPLAY               REPLAY               -
 P5.first  resolve yes any     | DEPOSIT_REQUIRED     DEPOSIT_REQUIRED     DEPOSIT_REQUIRED     R-421                DEPOSIT_REQUIRED     REPLAY               REPLAY               REPLAY               -
 P5.second resolve yes any     | DEPOSIT_REQUIRED     DEPOSIT_REQUIRED     DEPOSIT_REQUIRED     R-421                DEPOSIT_REQUIRED     REPLAY               REPLAY               REPLAY               -
 P5.first  resolve no  any     | ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  REPLAY               REPLAY               REPLAY               -
 P5.second resolve no  any     | ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  REPLAY               REPLAY               REPLAY               -
 P5.first  revoke  any any     | REVOKE_NOT_ALLOWED   REVOKE_NOT_ALLOWED   REVOKE_NOT_ALLOWED   REVOKE_NOT_ALLOWED   REVOKE_NOT_ALLOWED   REPLAY               REPLAY               REPLAY               -
 P5.second revoke  any any     | REVOKE_NOT_ALLOWED   REVOKE_NOT_ALLOWED   REVOKE_NOT_ALLOWED   REVOKE_NOT_ALLOWED   REVOKE_NOT_ALLOWED   REPLAY               REPLAY               REPLAY               -
 P5.first  deposit yes early   | R-420                REPLAY-ATTESTATION   R-420                REPLAY-ATTESTATION   REPLAY-ATTESTATION   ALREADY_RULED        REPLAY-ATTESTATION   REPLAY-ATTESTATION   -
 P5.second deposit yes early   | R-420                R-420                REPLAY-ATTESTATION   REPLAY-ATTESTATION   ACCEPTANCE_MISMATCH  ALREADY_RULED        REPLAY-ATTESTATION   REPLAY-ATTESTATION   -
 P5.first  deposit yes late    | COMPLAINT_TOO_LATE   REPLAY-ATTESTATION   COMPLAINT_TOO_LATE   REPLAY-ATTESTATION   REPLAY-ATTESTATION   ALREADY_RULED        REPLAY-ATTESTATION   REPLAY-ATTESTATION   -
 P5.second deposit yes late    | COMPLAINT_TOO_LATE   COMPLAINT_TOO_LATE   REPLAY-ATTESTATION   REPLAY-ATTESTATION   ACCEPTANCE_MISMATCH  ALREADY_RULED        REPLAY-ATTESTATION   REPLAY-ATTESTATION   -
 P5.first  deposit no  any     | ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  -
 P5.second deposit no  any     | ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  -
 P5.first  fetch   any any     | DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED RELEASE              -
 P5.second fetch   any any     | DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED RELEASE              -
 P5.first  query   any any     | VERDICT_NOT_FOUND    VERDICT_NOT_FOUND    VERDICT_NOT_FOUND    VERDICT_NOT_FOUND    VERDICT_NOT_FOUND    REPLAY               REPLAY               REPLAY               -
 P5.second query   any any     | VERDICT_NOT_FOUND    VERDICT_NOT_FOUND    VERDICT_NOT_FOUND    VERDICT_NOT_FOUND    VERDICT_NOT_FOUND    REPLAY               REPLAY               REPLAY               -
 P6.first  abort   any early   | R-427                ABORT_TOO_EARLY      ABORT_TOO_EARLY      ABORT_TOO_EARLY      ABORT_TOO_EARLY      REPLAY               -                    REPLAY               -
 P6.second abort   any early   | ABORT_TOO_EARLY      ABORT_TOO_EARLY      ABORT_TOO_EARLY      ABORT_TOO_EARLY      ABORT_TOO_EARLY      REPLAY               -                    REPLAY               -
 P6.first  abort   any late    | R-427                R-426                R-426                R-426                R-426                REPLAY               -                    REPLAY               -
 P6.second abort   any late    | R-427                R-426                R-426                R-426                R-426                REPLAY               -                    REPLAY               -
 P6.first  resolve yes early   | AFFIDAVIT_TOO_EARLY  AFFIDAVIT_TOO_EARLY  AFFIDAVIT_TOO_EARLY  R-426                R-426                REPLAY               -                    REPLAY               -
 P6.second resolve yes early   | AFFIDAVIT_TOO_EARLY  AFFIDAVIT_TOO_EARLY  AFFIDAVIT_TOO_EARLY  R-426                R-426                REPLAY               -                    REPLAY               -
 P6.first  resolve yes late    | R-426                R-426                R-426                R-426                R-426                REPLAY               -                    REPLAY               -
 P6.second resolve yes late    | R-426                R-426                R-426                R-426                R-426                REPLAY               -                    REPLAY               -
 P6.first  resolve no  any     | ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  REPLAY               -                    REPLAY               -
 P6.second resolve no  any     | ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  REPLAY               -                    REPLAY               -
 P6.first  revoke  any any     | REVOKE_NOT_ALLOWED   REVOKE_NOT_ALLOWED   REVOKE_NOT_ALLOWED   REVOKE_NOT_ALLOWED   REVOKE_NOT_ALLOWED   REPLAY               -                    REPLAY               -
 P6.second revoke  any any     | REVOKE_NOT_ALLOWED   REVOKE_NOT_ALLOWED   REVOKE_NOT_ALLOWED   REVOKE_NOT_ALLOWED   REVOKE_NOT_ALLOWED   REPLAY               -                    REPLAY               -
 P6.first  deposit yes early   | R-425                REPLAY-ATTESTATION   R-425                REPLAY-ATTESTATION   REPLAY-ATTESTATION   ALREADY_RULED        -                    REPLAY-ATTESTATION   -
 P6.second deposit yes early   | R-425                R-425                REPLAY-ATTESTATION   REPLAY-ATTESTATION   ACCEPTANCE_MISMATCH  ALREADY_RULED        -                    REPLAY-ATTESTATION   -
 P6.first  deposit yes late    | COMPLAINT_TOO_LATE   REPLAY-ATTESTATION   COMPLAINT_TOO_LATE   REPLAY-ATTESTATION   REPLAY-ATTESTATION   ALREADY_RULED        -                    REPLAY-ATTESTATION   -
 P6.second deposit yes late    | COMPLAINT_TOO_LATE   COMPLAINT_TOO_LATE   REPLAY-ATTESTATION   REPLAY-ATTESTATION   ACCEPTANCE_MISMATCH  ALREADY_RULED        -                    REPLAY-ATTESTATION   -
 P6.first  deposit no  any     | ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  -                    ACCEPTANCE_REQUIRED  -
 P6.second deposit no  any     | ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  ACCEPTANCE_REQUIRED  -                    ACCEPTANCE_REQUIRED  -
 P6.first  fetch   any any     | DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED -                    RELEASE              -
 P6.second fetch   any any     | DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED -                    RELEASE              -
 P6.first  query   any any     | VERDICT_NOT_FOUND    VERDICT_NOT_FOUND    VERDICT_NOT_FOUND    VERDICT_NOT_FOUND    VERDICT_NOT_FOUND    REPLAY               -                    REPLAY               -
 P6.second query   any any     | VERDICT_NOT_FOUND    VERDICT_NOT_FOUND    VERDICT_NOT_FOUND    VERDICT_NOT_FOUND    VERDICT_NOT_FOUND    REPLAY               -                    REPLAY               -
";

const ACTIONS: [(&str, Action); 6] = [
    ("abort", Action::Abort),
    ("deposit", Action::Deposit),
    ("fetch", Action::Fetch),
    ("query", Action::Query),
    ("resolve", Action::Resolve),
    ("revoke", Action::Revoke),
];

/// The answers of the one row that fits, in the order of the columns.
fn expected(who: &str, what: &str, filed: &str, when: &str) -> Vec<&'static str> {
    let rows = TABLE.trim().lines().skip(1).map(|line| line.split_once('|').unwrap());
    let fits = |head: &str| {
        let head: Vec<_> = head.split_whitespace().collect();
        head[..2] == [who, what] && ["any", filed].contains(&head[2]) && ["any", when].contains(&head[3])
    };
    let found: Vec<_> = rows.filter(|(head, _)| fits(head)).collect();
    let [(_, answers)] = found[..] else { panic!("{} rows for {who} {what} {filed} {when}", found.len()) };
    let answers: Vec<_> = answers.split_whitespace().collect();
    assert_eq!(answers.len(), 9, "{who} {what} {filed} {when}");
    answers
}

fn replaces(agreement: &Agreement, roles: &[Role]) -> Ruling {
    let item = |role: &Role| Replacement { role: *role, item: agreement.offer().item(*role).clone() };
    Ruling::Replaced(roles.iter().map(item).collect())
}

fn answer(decision: &Result<Decision, Refused>, kind: Kind) -> String {
    match decision {
        Ok(Decision::Rule(verdict)) => verdict.rule.clone(),
        Ok(Decision::Attest(_)) if kind.is_p6() => "R-425".to_owned(),
        Ok(Decision::Attest(_)) => {
            if matches!(kind, Kind::P5 | Kind::P5Package) { "R-420" } else { "R-415" }.to_owned()
        }
        Ok(Decision::ReplayVerdict) => "REPLAY".to_owned(),
        Ok(Decision::ReplayAttestation) => "REPLAY-ATTESTATION".to_owned(),
        Ok(Decision::Release) => "RELEASE".to_owned(),
        Err(refused) => refused.reason().to_owned(),
    }
}

/// S7, S18, S19: every cell of the table, for every kind of exchange, at every time that
/// matters.
#[test]
fn the_second_verdict_table_holds_in_every_cell() {
    let cast = Cast::new();
    let mut cells = 0;
    let strong = [Kind::P3OriginatorPays, Kind::P3ResponderPays, Kind::P3Payments, Kind::P4, Kind::P5];
    let packages = [Kind::P3Package, Kind::P5Package];
    let weak = [Kind::P6PaidForFile, Kind::P6FileForPaid, Kind::P6Payments];
    for kind in strong.into_iter().chain(packages).chain(weak) {
        let agreement = cast.agreement(kind);
        let offer = agreement.offer();
        let other = Agreement::join(offer.clone(), cast.acceptance(offer, 99)).unwrap();
        let (first, second) = (kind.first(), kind.first().peer());
        let protocol = format!("P{}", offer.selection.protocol.number());
        let here = Role::BOTH.map(|role| attested(&agreement, role));
        let there = attested(&other, second);
        let with = |roles: &[Role]| {
            let mut all = ByRole::default();
            for deposit in here.iter().filter(|it| roles.contains(&it.depositor)) {
                *all.of_mut(deposit.depositor) = Some((deposit, digest_of(deposit)));
            }
            all
        };
        let elsewhere = || {
            let both = matches!(kind, Kind::P5 | Kind::P5Package) || kind.is_p6();
            let mut all = if both { with(&[first]) } else { ByRole::default() };
            *all.of_mut(second) = Some((&there, digest_of(&there)));
            all
        };
        let depositors: Vec<_> = Role::BOTH.into_iter().filter(|role| kind.is_depositable(*role)).collect();
        let aborted = ruled(&agreement, Ruling::Aborted);
        let replaced = ruled(&agreement, replaces(&agreement, &depositors));
        let revoked = ruled(&agreement, Ruling::Revoked(vec![first]));
        let states = [
            Known::default(),
            Known { verdict: None, attestations: with(&[first]) },
            Known { verdict: None, attestations: with(&[second]) },
            Known { verdict: None, attestations: with(&Role::BOTH) },
            Known { verdict: None, attestations: elsewhere() },
            Known { verdict: Some(&aborted), attestations: ByRole::default() },
            Known { verdict: Some(&aborted), attestations: with(&depositors) },
            Known { verdict: Some(&replaced), attestations: with(&depositors) },
            Known { verdict: Some(&revoked), attestations: ByRole::default() },
        ];
        let times = [EARLY, SEND_BY - 1, SEND_BY, SEND_BY + 1, COMPLAIN_BY - 1, COMPLAIN_BY, HOLD_END + 1];
        for (role, place) in [(first, "first"), (second, "second")] {
            for (what, action) in ACTIONS {
                for filed in [true, false] {
                    let acceptance = filed.then(|| agreement.acceptance());
                    let case = cast.admit(offer, acceptance, role, action).unwrap();
                    let content = cast.fits(offer, role);
                    let held = content.as_ref().filter(|_| action == Action::Deposit);
                    let held = held.map_or_else(ByRole::default, |fit| ByRole::only(role, fit));
                    for now in times {
                        let when = match now {
                            _ if now >= COMPLAIN_BY => "late",
                            _ if now >= SEND_BY && kind.is_p3() => "between",
                            _ => "early",
                        };
                        let who = format!("{protocol}.{place}");
                        let answers = expected(&who, what, if filed { "yes" } else { "no" }, when);
                        for (known, expected) in states.iter().zip(&answers).filter(|(_, it)| **it != "-") {
                            // What is still to be received is decided in the same way.
                            for held in [held, ByRole::default()] {
                                let decision = decide(&case, *known, UnixMillis(now), LeafIndex(9), held);
                                let place = format!("{kind:?} {place} {what} {filed} at {now}");
                                assert_eq!(answer(&decision, kind), *expected, "{place}");
                                cells += 1;
                                check_statement(&case, decision, *known, now);
                            }
                        }
                    }
                }
            }
        }
    }
    assert_eq!(cells, 4 * 2_352 + 1_008 + 2 * 2_688 + 3 * 2_352);
}

/// R4: a verdict says everything that decided it.
fn check_statement(case: &Case, decision: Result<Decision, Refused>, known: Known<'_>, now: u64) {
    let offer = case.offer();
    let (first, second) = (offer.selection.first_sender, offer.selection.first_sender.peer());
    let filed = case.agreement().map(Agreement::id);
    match decision {
        Ok(Decision::Rule(verdict)) => {
            let deposited = known.attestations.map(|_, it| it.map(|(it, _)| it.agreement_id));
            let here: Vec<_> = Role::BOTH.into_iter().filter(|role| deposited.of(*role).is_some()).collect();
            let (ruling, relied): (Ruling, &[Role]) = match verdict.rule.as_str() {
                "R-413" | "R-419" | "R-422" | "R-427" => (Ruling::Aborted, &[]),
                "R-426" if here.len() == 2 => {
                    let item = |role| Replacement { role, item: offer.item(role).clone() };
                    (Ruling::Replaced(Role::BOTH.map(item).to_vec()), &here)
                }
                "R-426" => (Ruling::Affidavit(here.clone()), &here),
                "R-414" | "R-417" => (Ruling::Revoked(vec![first]), &[]),
                "R-416" => (replaces(case.agreement().unwrap(), &[second]), &[second]),
                "R-418" => (Ruling::Revoked(vec![Originator, Responder]), &[]),
                "R-421" => (replaces(case.agreement().unwrap(), &Role::BOTH), &Role::BOTH),
                other => panic!("{other}"),
            };
            assert_eq!(verdict.ruling, ruling);
            // whichever acceptance the deposit rests on.
            let named: Option<AgreementId> = match verdict.rule.as_str() {
                "R-416" => *deposited.of(second),
                "R-426" => deposited.responder.or(deposited.originator).or(filed),
                _ => filed,
            };
            assert_eq!(verdict.agreement_id, named);
            let deposits = relied.iter().map(|role| known.attestations.of(*role).map(|(_, digest)| digest));
            let acceptance = case.agreement().map(|it| it.acceptance().digest());
            let evidence = [Some(offer.digest()), acceptance].into_iter().chain(deposits).flatten();
            assert_eq!(verdict.evidence, evidence.collect::<Vec<_>>());
            assert_eq!(verdict.exchange_id, offer.exchange_id());
            assert_eq!((verdict.rules.as_str(), verdict.leaf_index), (RULES, LeafIndex(9)));
            assert_eq!(
                (verdict.requested_by, verdict.request),
                (case.request().role, case.request().digest())
            );
            assert_eq!(verdict.time, UnixMillis(now));
        }
        Ok(Decision::Attest(it)) => {
            let role = case.request().role;
            assert_eq!((it.depositor, it.item), (role, offer.item(role).digest()));
            assert_eq!(Some(it.agreement_id), filed);
            assert_eq!((it.request, it.leaf_index), (case.request().digest(), LeafIndex(9)));
        }
        _ => {}
    }
}

/// content that fits another description, or is a payment of another exchange, is never attested.
#[test]
fn what_is_deposited_is_the_item_of_this_exchange() {
    let cast = Cast::new();
    for kind in [Kind::P2Payment, Kind::P3OriginatorPays, Kind::P3ResponderPays, Kind::P3Payments, Kind::P5] {
        let agreement = cast.agreement(kind);
        let elsewhere = cast.offer(kind, 98);
        for role in Role::BOTH.into_iter().filter(|role| kind.is_depositable(*role)) {
            let case = cast.case(&agreement, role, Action::Deposit);
            let decide = |fit: &FitContent| {
                decide(&case, Known::default(), UnixMillis(EARLY), LeafIndex(1), ByRole::only(role, fit))
            };
            assert!(matches!(decide(&cast.fits(agreement.offer(), role).unwrap()), Ok(Decision::Attest(_))));
            let other = common::fit_of(b"%PDF-1.7\nsomething else");
            assert_eq!(decide(&other), Err(Refused::DepositNotAllowed), "{kind:?}");
            // A file is a file in every exchange; a payment is for one.
            let of_another = decide(&cast.fits(&elsewhere, role).unwrap());
            let is_money = agreement.offer().item(role).description.payment().is_some();
            let expected = if is_money { Err(Refused::DepositNotAllowed) } else { Ok(()) };
            assert_eq!(of_another.map(drop), expected, "{kind:?} {role}");
        }
    }
}

/// what ledgers are told follows from offer and verdict alone, and names the payment of this exchange.
#[test]
fn the_orders_of_a_verdict_are_to_void_what_it_revokes() {
    let cast = Cast::new();
    for kind in Kind::MONEY {
        let offer = cast.offer(kind, 21);
        let agreement = Agreement::join(offer.clone(), cast.acceptance(&offer, 22)).unwrap();
        for ruling in [Ruling::Aborted, replaces(&agreement, &[kind.first().peer()])] {
            assert_eq!(payment_orders(&offer, &ruling), []);
        }
        for roles in [&[Originator][..], &[Responder], &Role::BOTH] {
            let orders = payment_orders(&offer, &Ruling::Revoked(roles.to_vec()));
            let held = |role: &Role| match &offer.item(*role).description {
                Description::Payment(payment) => payment.hold.is_some(),
                _ => false,
            };
            let expected: Vec<_> = roles.iter().copied().filter(held).collect();
            assert_eq!(orders.iter().map(|(role, _)| *role).collect::<Vec<_>>(), expected, "{kind:?}");
            for (role, order) in orders {
                assert_eq!(order.action, PaymentAction::Void);
                assert_eq!(Some(&order.terms), PaymentTerms::of(&offer, role).as_ref());
                // The arbiter may give it, and so may who would be paid; the payer may not.
                let key = |it: &dyn arbiter_protocol::crypto::Signer| it.public_key();
                assert!(order.may_be_signed_by(&key(&cast.arbiter)));
                assert!(order.may_be_signed_by(&key(&common::money::account(role.peer()))));
                assert!(!order.may_be_signed_by(&key(&common::money::account(role))));
                let signed = Verified::sign(order.clone(), &cast.arbiter);
                assert_eq!(
                    common::unverified(&signed).verify(&key(&cast.arbiter)).map(|it| (*it).clone()),
                    Ok(order)
                );
            }
        }
    }
}
