//! Evidence bundles: good ones of every outcome verify; every altered one fails, at the check that it breaks.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

mod fixture;

use arbiter_client::bundle::{BUNDLE_BYTES, Bundle, BundleError, Claim};
use arbiter_client::consent::Screen;
use arbiter_client::explain;
use arbiter_client::fingerprint::Fingerprint;
use arbiter_client::verify::{FileFacts, Report, Status, Trust, statements, verify};
use arbiter_protocol::crypto::Signer as _;
use arbiter_protocol::escrow::SignatureKey;
use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::ids::{Digest, LeafIndex};
use arbiter_protocol::message::agreement::{Acceptance, Offer};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::message::verdict::{Answer, Replacement, Ruling, Verdict};
use arbiter_protocol::statement::{Envelope, Signed, Verified};
use arbiter_protocol::time::UnixMillis;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use fixture::*;
use serde_json::Value;

fn check(bundle: &Bundle) -> Report {
    verify(bundle, Trust::Pinned(&arbiter()), &[])
}

fn failed(report: &Report) -> Vec<&str> {
    report.checks.iter().filter(|it| it.status == Status::Failed).map(|it| it.name.as_str()).collect()
}

fn content(bytes: &[u8]) -> FileFacts {
    FileFacts::read("notice.pdf", bytes).unwrap()
}

#[test]
fn good_bundles_of_every_outcome_read_back_and_verify() {
    for (name, bundle) in bundles() {
        let json = bundle.to_json();
        assert!(json.len() < BUNDLE_BYTES / 2);
        assert_eq!(Bundle::parse(&json).unwrap(), bundle, "{name}");
        let report = check(&bundle);
        assert!(report.good, "{name}: {:?}", failed(&report));
        assert!(report.arbiter_pinned && report.warnings.is_empty(), "{name}: {:?}", report.warnings);
        assert_eq!(report.outcome, Some(bundle.outcome));
        assert!(!report.proves.is_empty() && report.does_not_prove.len() >= 4, "{name}");
        assert!(name.contains(&bundle.outcome.to_string()) || bundle.outcome == Claim::Open, "{name}");
        let story = explain::account(&statements(&bundle, Trust::Pinned(&arbiter())).unwrap()).join("\n");
        for part in ["WHO AND WHAT", "Alice", "Bob", "WHAT EACH HOLDS", "STILL DO"] {
            assert!(story.contains(part), "{name}: {part}\n{story}");
        }
    }
}

/// Which check, or which place in the file, an altered field must be caught at.
fn expected(path: &str) -> &'static [&'static str] {
    match path.trim_start_matches(|c: char| c == '/' || c.is_ascii_digit()) {
        "format" => &["format"],
        "note" => &["note"],
        "outcome" => &["outcome"],
        "offer" => &["offer"],
        "acceptance" => &["acceptance"],
        "transfers/originator" => &["transfer-originator", "transfers.originator"],
        "transfers/responder" => &["transfer-responder", "transfers.responder"],
        "escrows/originator" => &["escrow-originator", "escrows.originator"],
        "escrows/responder" => &["escrow-responder", "escrows.responder"],
        "signatures/originator" => &["signature-originator", "signatures.originator"],
        "signatures/responder" => &["signature-responder", "signatures.responder"],
        path => match path
            .trim_start_matches("receipts/")
            .trim_start_matches(|c: char| c.is_ascii_digit() || c == '/')
        {
            "statement" => &["-signature", "receipts.statement"],
            "answer" => &["-answer", "receipts.answer"],
            // Fields that are the arbiter's own to choose are caught by the tree.
            "leaf" => &["-leaf", "-record", "-inclusion", "receipts.leaf"],
            "checkpoint" => &["-log", "receipts.checkpoint"],
            "request" | "acceptance" | "attestations/originator" | "attestations/responder" => {
                &["-rule", "receipts.request", "receipts.acceptance", "receipts.attestations"]
            }
            // The verdict names the hashes of the escrows, so the arbiter's decision does not come out any more.
            "escrows/originator" | "escrows/responder" => &["-rule", "receipts.escrows"],
            path if path.starts_with("inclusion_proof") => &["-inclusion", "receipts.inclusion_proof"],
            path if path.starts_with("record_salts") => &["-record", "receipts.record_salts"],
            other => panic!("no expectation for {other}"),
        },
    }
}

/// Where an altered file was caught: the error's text, or the names of failed checks; `None` if it passed.
fn caught(value: &Value) -> Option<Vec<String>> {
    match Bundle::parse(&serde_json::to_vec(value).unwrap()) {
        Err(error) => Some(vec![error.to_string()]),
        Ok(bundle) => {
            let report = check(&bundle);
            (!report.good).then(|| failed(&report).into_iter().map(str::to_owned).collect())
        }
    }
}

fn leaves(value: &Value, path: String, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, it)| leaves(it, format!("{path}/{key}"), out)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, it)| leaves(it, format!("{path}/{i}"), out))
        }
        _ => out.push(path),
    }
}

/// Every string of every bundle, altered at many places, is caught at the check that it belongs to.
#[test]
fn every_altered_field_is_caught_at_its_own_check() {
    let mut tried = 0;
    for (name, bundle) in bundles() {
        let good: Value = serde_json::from_slice(&bundle.to_json()).unwrap();
        let mut paths = Vec::new();
        leaves(&good, String::new(), &mut paths);
        for path in paths.iter().filter(|path| !path.starts_with("/summary")) {
            let text = good.pointer(path).unwrap().as_str().unwrap().to_owned();
            // Escrows are long, and each of their checks takes milliseconds.
            let step = if path.contains("escrows") { text.len() / 24 } else { 7 };
            for position in (0..text.len()).step_by(step).chain([text.len() - 1]) {
                let Some(old) = text.get(position..=position) else { continue };
                for new in ["A", "b", "7", "/"].into_iter().filter(|new| *new != old).take(2) {
                    let mut altered = text.clone();
                    altered.replace_range(position..=position, new);
                    let mut bad = good.clone();
                    *bad.pointer_mut(path).unwrap() = Value::String(altered);
                    let at = caught(&bad).unwrap_or_else(|| panic!("{name}: {path} at {position} passed"));
                    let fits = |at: &String| {
                        expected(path).iter().any(|name| at.contains(name)) || at.contains("not in format")
                    };
                    assert!(path == "/outcome" || at.iter().any(fits), "{name}: {path} caught at {at:?}");
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 10_000, "{tried}");
}

#[test]
fn the_summary_is_never_taken_for_evidence() {
    let (_, mut bundle) = bundles().swap_remove(0);
    bundle.summary = vec!["Bob owes Alice a million.".into()];
    let report = check(&bundle);
    assert!(report.good);
    let shown = serde_json::to_string(&report).unwrap();
    let story = explain::account(&statements(&bundle, Trust::BundleOnly).unwrap()).join("\n");
    assert!(!shown.contains("million") && !story.contains("million"));
}

/// A field removed or doubled: refused, or the bundle proves strictly less and claims nothing more.
#[test]
fn removed_doubled_and_unknown_fields() {
    for (name, bundle) in bundles() {
        let good: Value = serde_json::from_slice(&bundle.to_json()).unwrap();
        let mut unknown = good.clone();
        unknown["extra"] = Value::Bool(true);
        assert!(caught(&unknown).is_some(), "{name}");
        for field in ["format", "note", "outcome", "summary", "offer", "transfers", "receipts"] {
            let mut bad = good.clone();
            bad.as_object_mut().unwrap().remove(field);
            assert!(caught(&bad).is_some(), "{name}: {field} removed");
        }
        let proved = check(&bundle).proves;
        let transferred = |role| bundle.transfer(role).is_some();
        for role in [Role::Originator, Role::Responder].into_iter().filter(|role| transferred(*role)) {
            let mut less = bundle.clone();
            match role {
                Role::Originator => less.originator_transfer = None,
                Role::Responder => less.responder_transfer = None,
            }
            let report = check(&less);
            if bundle.outcome == Claim::Completed {
                let sealed = bundle.signatures.iter().any(|(_, it)| it.is_some());
                let first = failed(&report)[0].to_owned();
                assert_eq!(failed(&report).len(), 1, "{name}");
                assert!(
                    if sealed { first.starts_with("signature-") } else { first == "outcome" },
                    "{name}: {first}"
                );
            } else {
                assert!(report.good && report.proves.len() < proved.len(), "{name}");
                assert!(report.proves.iter().all(|line| proved.contains(line)), "{name}");
            }
        }
        if bundle.acceptance.is_some() {
            let mut less = bundle.clone();
            less.acceptance = None;
            assert!(!check(&less).good, "{name}: no acceptance");
        }
        if let Some(receipt) = bundle.receipts.last().cloned() {
            let mut none = bundle.clone();
            none.receipts.clear();
            // Without the verdict, a signature must not be shown.
            let at = failed(&check(&none))[0].to_owned();
            assert!(at == "outcome" || at.starts_with("signature-"), "{name}: no receipt: {at}");
            let mut twice = bundle.clone();
            twice.receipts = vec![receipt.clone(), receipt];
            assert_eq!(failed(&check(&twice)), ["receipts-agree"], "{name}: twice");
            let mut reversed = bundle.clone();
            reversed.receipts.reverse();
            assert_eq!(check(&reversed).good, bundle.receipts.len() == 1, "{name}: reversed");
            for (field, value) in [("inclusion_proof", "00".repeat(32)), ("record_salts", "00".repeat(16))] {
                let list = format!("/receipts/0/{field}");
                for alter in [0, 1, 2] {
                    let mut bad = good.clone();
                    let list = bad.pointer_mut(&list).unwrap().as_array_mut().unwrap();
                    match alter {
                        0 => drop(list.pop()),
                        1 => list.push(Value::String(value.clone())),
                        _ => list.reverse(),
                    }
                    assert!(caught(&bad).is_some(), "{name}: {field} {alter}");
                }
            }
        }
    }
}

/// An honest statement in the wrong place proves nothing.
#[test]
fn statements_of_another_exchange_role_or_signer_are_caught() {
    let deal = Deal::new(offer(signature("Contract"), signature("Contract")));
    let other = Deal::new(Offer { nonce: [9; 32], ..offer(signature("Contract"), signature("Contract")) });
    let good = deal.bundle(true, [true, true], vec![]);
    let with = |alter: &dyn Fn(&mut Bundle)| {
        let mut bundle = good.clone();
        alter(&mut bundle);
        let report = check(&bundle);
        assert!(!report.good);
        failed(&report).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let acceptance = other.agreement.acceptance().envelope().clone();
    assert_eq!(with(&|it| it.acceptance = Some(acceptance.clone())), ["acceptance-binding"]);
    assert_eq!(with(&|it| it.offer = other.offer.envelope().clone()), ["acceptance-binding"]);
    let foreign = other.transfer(Role::Originator);
    assert_eq!(with(&|it| it.originator_transfer = Some(foreign.clone())), ["transfer-originator"]);
    assert_eq!(
        with(&|it| std::mem::swap(&mut it.originator_transfer, &mut it.responder_transfer)),
        ["transfer-originator"]
    );
    assert_eq!(with(&|it| it.originator_transfer = it.acceptance.clone()), ["transfer-originator"]);
    let mallory = |statement: Transfer| Some(Verified::sign(statement, &key(66)).envelope().clone());
    let own = Transfer::new(&deal.agreement, Role::Originator);
    assert_eq!(with(&|it| it.originator_transfer = mallory(own.clone())), ["transfer-originator"]);
    let swapped = Transfer { item: signature("Another contract"), ..own };
    let swapped = Verified::sign(swapped, &key(1)).envelope().clone();
    assert_eq!(with(&|it| it.originator_transfer = Some(swapped.clone())), ["item-originator"]);
    let stranger = Acceptance { exchange_id: deal.offer.exchange_id(), nonce: [6; 32] };
    let stranger = Verified::sign(stranger, &key(66)).envelope().clone();
    assert_eq!(with(&|it| it.acceptance = Some(stranger.clone())), ["acceptance-signature"]);
}

/// R-506, F13, R17: an arbiter that signs a verdict which its rules do not give is caught, whatever field it bends.
#[test]
fn a_verdict_that_the_rules_do_not_give_is_caught_although_the_arbiter_signed_it() {
    let deal = Deal::new(offer(signature("Contract"), signature("Contract")));
    let receipt =
        Arbiter::new().rule(&deal.case(Role::Originator, Action::Resolve, true), UnixMillis(1_500_000));
    let verdict = Signed::<Verdict>::parse(receipt.statement.clone()).unwrap().unverified().clone();
    let zero = Digest::from_bytes([0; 32]);
    let bend: Vec<(&str, Verdict)> = vec![
        ("agreement", Verdict { agreement_id: None, ..verdict.clone() }),
        ("originator", Verdict { originator: key(66).public_key(), ..verdict.clone() }),
        ("responder", Verdict { responder: key(66).public_key(), ..verdict.clone() }),
        ("originator_item", Verdict { originator_item: zero, ..verdict.clone() }),
        ("responder_item", Verdict { responder_item: zero, ..verdict.clone() }),
        ("ruling", Verdict { ruling: Ruling::Aborted, ..verdict.clone() }),
        (
            "replacement",
            Verdict {
                ruling: Ruling::Replaced(vec![Replacement {
                    role: Role::Responder,
                    item: signature("More"),
                }]),
                ..verdict.clone()
            },
        ),
        ("rule", Verdict { rule: "R-403".into(), ..verdict.clone() }),
        ("rules", Verdict { rules: "arbiter/rules/v2".into(), ..verdict.clone() }),
        ("requested_by", Verdict { requested_by: Role::Responder, ..verdict.clone() }),
        ("request", Verdict { request: zero, ..verdict.clone() }),
        ("evidence", Verdict { evidence: vec![], ..verdict.clone() }),
        ("leaf_index", Verdict { leaf_index: LeafIndex(0), ..verdict.clone() }),
        ("time", Verdict { time: UnixMillis(1_500_001), ..verdict.clone() }),
    ];
    for (field, bent) in bend {
        let mut bad = receipt.clone();
        let statement = Verified::sign(bent, &key(3));
        let answer = Signed::<Answer>::parse(receipt.answer.clone()).unwrap().unverified().clone();
        bad.statement = statement.envelope().clone();
        bad.answer =
            Verified::sign(Answer { statement: statement.digest(), ..answer }, &key(3)).envelope().clone();
        let report = check(&deal.bundle(true, [false, false], vec![bad]));
        let at = failed(&report);
        // Time and place are the arbiter's own to say; then the leaf in the log gives the lie away.
        let right = if matches!(field, "leaf_index" | "time") { "verdict-leaf" } else { "verdict-rule" };
        assert!(at.contains(&right), "{field}: {at:?}");
    }
}

#[test]
fn the_arbiter_must_be_the_one_pinned_and_otherwise_the_report_says_so_loudly() {
    let all = bundles();
    let (_, resolved) = all.iter().find(|(name, _)| *name == "contract resolved").unwrap();
    let mut other = arbiter();
    other.log_key = key(77).public_key();
    assert_eq!(failed(&verify(resolved, Trust::Pinned(&other), &[])), ["arbiter-pinned"]);
    let report = verify(resolved, Trust::BundleOnly, &[]);
    assert!(report.good && !report.arbiter_pinned);
    assert!(report.warnings[0].contains("TAKEN FROM THE BUNDLE ITSELF"), "{:?}", report.warnings);
    assert!(statements(resolved, Trust::Pinned(&other)).is_none());
}

#[test]
fn a_file_beside_the_bundle_is_compared_with_the_description() {
    let (_, bundle) = bundles().swap_remove(6);
    let report = verify(&bundle, Trust::Pinned(&arbiter()), &[content(CONTENT)]);
    assert!(report.good);
    assert!(report.proves.iter().any(|line| line.contains("byte for byte")));
    let mut altered = CONTENT.to_vec();
    altered[20] ^= 1;
    for bad in [&altered[..], &CONTENT[1..], b"", &[CONTENT, b"x"].concat()] {
        let report = verify(&bundle, Trust::Pinned(&arbiter()), &[content(bad)]);
        assert_eq!(failed(&report), ["file"]);
        assert!(report.proves.is_empty());
    }
}

#[test]
fn cut_off_oversized_and_garbage_files_are_named_for_what_they_are() {
    let (_, bundle) = bundles().swap_remove(7);
    let json = bundle.to_json();
    let end = json.len() - 2;
    for cut in (1..end).step_by(97) {
        assert!(matches!(Bundle::parse(&json[..cut]), Err(BundleError::CutOff { .. })), "cut at {cut}");
    }
    let large = vec![b' '; BUNDLE_BYTES + 1];
    assert!(matches!(Bundle::parse(&large), Err(BundleError::TooLarge)));
    assert!(matches!(Bundle::parse(&large[1..]), Err(BundleError::CutOff { .. })));
    for garbage in [&b"%PDF-1.7"[..], b"[]", b"{}", b"null", b"\xff\xfe", &[b'['; 10_000]] {
        assert!(Bundle::parse(garbage).is_err());
    }
    let mut value: Value = serde_json::from_slice(&json).unwrap();
    value["receipts"] = Value::Array(vec![value["receipts"][0].clone(); 3]);
    assert!(matches!(
        Bundle::parse(&serde_json::to_vec(&value).unwrap()),
        Err(BundleError::Field("receipts"))
    ));
    let trailing = [&json[..], b"{}"].concat();
    assert!(Bundle::parse(&trailing).is_err());
}

#[test]
fn writing_replaces_the_file_whole_and_reading_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.fxe");
    let (_, bundle) = bundles().swap_remove(0);
    std::fs::write(&path, "old").unwrap();
    bundle.write(&path).unwrap();
    assert_eq!(Bundle::read(&path).unwrap(), bundle);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no part is left");
    assert!(bundle.write(&folder.path().join("none/x.fxe")).is_err());
    assert!(matches!(Bundle::read(&folder.path().join("none")), Err(BundleError::Io { .. })));
}

/// Rule 4: one fingerprint, on both screens, and it is of the hash that is signed and ruled on.
#[test]
fn both_screens_show_the_fingerprint_of_what_is_signed() {
    for (name, bundle) in bundles() {
        let signed = Signed::<Offer>::parse(bundle.offer.clone()).unwrap();
        let offer = signed.unverified();
        let screens = [Role::Originator, Role::Responder]
            .map(|role| Screen::new(offer, role, &[], UnixMillis(1_000_000)));
        let [one, other] = &screens;
        assert_eq!(one.exchange_id, other.exchange_id);
        assert_eq!(one.exchange_id.as_bytes(), bundle.offer.digest().as_bytes(), "{name}");
        let fingerprint = Fingerprint::of(bundle.offer.digest().as_bytes());
        assert_eq!(check(&bundle).fingerprint, Some(fingerprint.to_string()));
        if let Some(receipt) = bundle.verdict() {
            let verdict = Signed::<Verdict>::parse(receipt.statement.clone()).unwrap();
            assert_eq!(Fingerprint::of(verdict.unverified().exchange_id.as_bytes()), fingerprint);
        }
        for screen in &screens {
            let text = screen.to_string();
            for part in
                [&fingerprint.groups(), &fingerprint.words().join("-"), &screen.exchange_id.to_string()]
            {
                assert!(text.contains(part.as_str()), "{name}: {part}");
            }
            for title in [
                "You give",
                "You get",
                "Until when",
                "If they stop",
                "If you stop",
                "The arbiter can",
                "Cannot be undone after this",
            ] {
                assert!(text.contains(title), "{name}: {title}");
            }
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{name}:\n{text}");
            assert!(screen.approves(&format!(" {}\n", screen.word().to_uppercase())));
            for no in ["", "\n", "y", "yes", " ", screen.fingerprint.words()[1]] {
                assert!(no == screen.word() || !screen.approves(no), "{no:?} approves");
            }
        }
    }
}

/// What a screen says depends on every field that is signed.
#[test]
fn a_different_offer_is_a_different_screen() {
    let base = offer(file(), signature("Receipt"));
    let word = |offer: &Offer| Screen::new(offer, Role::Responder, &[], UnixMillis(1)).fingerprint;
    let mut others = vec![
        Offer { nonce: [8; 32], ..base.clone() },
        Offer { originator: party(9, "Alice"), ..base.clone() },
        Offer { responder: party(9, "Bob"), ..base.clone() },
        Offer { complain_by: Some(UnixMillis(2_000_001)), ..base.clone() },
        Offer { responder_item: signature("Receipt."), ..base.clone() },
        offer(signature("Receipt"), file()),
    ];
    let mut arbiter = base.clone();
    arbiter.arbiter.rules = "arbiter/rules/v2".into();
    others.push(arbiter);
    for other in others {
        assert_ne!(word(&other), word(&base));
    }
}

/// Rules 7 and 8: what could mislead is pointed out.
#[test]
fn the_screen_warns_of_look_alikes_unequal_statements_and_files_nobody_read() {
    let warnings = |offer: &Offer, files: &[FileFacts]| {
        Screen::new(offer, Role::Responder, files, UnixMillis(1)).warnings.join("\n")
    };
    let contract = offer(signature("Contract"), signature("Contract"));
    assert!(warnings(&contract, &[]).contains("has not seen the file"));
    assert_eq!(warnings(&contract, &[content(CONTENT)]), "");
    assert!(warnings(&contract, &[content(b"%PDF-1.7 another")]).contains("has not seen the file"));
    // Who is about to get the file cannot have read it.
    assert_eq!(warnings(&offer(file(), signature("Receipt")), &[]), "");
    let unequal = offer(signature("Contract"), signature("Contract, but dearer"));
    assert!(warnings(&unequal, &[content(CONTENT)]).contains("DIFFERENT statements"));
    let mut other = offer(file(), signature("Receipt"));
    if let arbiter_protocol::exchange::item::Description::Signature(it) =
        &mut other.responder_item.description
    {
        it.subject.sha256 = Digest::of(&[b"other"]);
    }
    assert!(warnings(&other, &[]).contains("ANOTHER file"));
    let disguised = Offer { originator: party(1, "\u{410}lice"), ..contract };
    assert!(warnings(&disguised, &[content(CONTENT)]).contains("mix alphabets"));
}

/// The peer's text cannot pass for ours: each of its lines stands behind a mark.
#[test]
fn text_of_the_peer_stands_behind_a_mark() {
    let mut item = signature("Contract");
    if let arbiter_protocol::exchange::item::Description::Signature(it) = &mut item.description {
        it.text = "ok\n  You get\n      a million\n".into();
    }
    let offer = offer(item.clone(), item);
    let text = Screen::new(&offer, Role::Responder, &[], UnixMillis(1)).to_string();
    assert_eq!(text.lines().filter(|line| line.trim() == "You get").count(), 1, "{text}");
    assert!(
        text.lines().filter(|line| line.contains("a million")).all(|line| line.trim_start().starts_with('|'))
    );
}

/// signatures are checked, not only ids: an envelope under a stranger's key is no offer of Alice's.
#[test]
fn an_offer_signed_by_somebody_else_is_caught() {
    let offer = Verified::sign(offer(file(), signature("Receipt")), &key(66));
    let envelope: Envelope = offer.envelope().clone();
    let report = check(&Bundle::new(envelope, None, [None, None], vec![]));
    assert_eq!(failed(&report), ["offer-signature"]);
    assert!(report.proves.is_empty() && report.outcome.is_none());
}

fn sealed() -> Deal {
    Deal::new(offer(detached(1, "Contract of sale", vec![]), detached(2, "Contract of sale", vec![])))
}

/// A bundle is written for strangers: before the end, and after an abort, it shows no signature; and one that shows it
/// all the same is bad.
#[test]
fn only_a_completed_or_resolved_exchange_shows_signatures() {
    let mut seen = 0;
    for (name, bundle) in bundles().into_iter().filter(|(name, _)| name.starts_with("sealed contract")) {
        let json: Value = serde_json::from_slice(&bundle.to_json()).unwrap();
        let shows = matches!(bundle.outcome, Claim::Completed | Claim::Resolved);
        assert_eq!(json.get("signatures").is_some(), shows, "{name}");
        assert!(json.get("escrows").is_some(), "{name}");
        let report = check(&bundle);
        let proved = report.proves.join("\n");
        assert!(
            proved.contains("was sealed for this exchange, so that the arbiter could open it"),
            "{name}: {proved}"
        );
        assert_eq!(proved.contains("an ordinary one that any program can check"), shows, "{name}: {proved}");
        assert!(
            report.does_not_prove.iter().any(|line| line.contains("From a signature file alone")),
            "{name}"
        );
        assert_eq!(report.signatures.len(), 2, "{name}");
        let opened = bundle.outcome == Claim::Resolved;
        assert!(report.signatures.iter().all(|it| it.opened == opened), "{name}");
        assert!(report.signatures.iter().all(|it| it.signature_sha256.is_some() == shows), "{name}");
        assert_eq!(proved.contains("it opened the seal of a signature"), opened, "{name}: {proved}");
        if !shows {
            let mut forged = bundle;
            forged.signatures = sealed().signatures();
            // Both transfers and both signatures would be a completed exchange: it is not.
            assert_eq!(failed(&check(&forged)), ["signature-originator"], "{name}");
        }
        seen += 1;
    }
    assert_eq!(seen, 5);
    // Bundles from before there were escrows have none of the new fields.
    let (_, old) = bundles().swap_remove(0);
    let old = String::from_utf8(old.to_json()).unwrap();
    assert!(!old.contains("escrows") && !old.contains("signatures\""));
}

/// each escrow and each signature is of its place, its signer and its text, and the signature is the one
/// that was sealed.
#[test]
fn escrows_and_signatures_of_something_else_are_caught() {
    let deal = sealed();
    let other = Deal::new(Offer {
        nonce: [9; 32],
        ..offer(detached(1, "Contract of sale", vec![]), detached(2, "Contract of sale", vec![]))
    });
    let good = deal.bundle(true, [true, true], vec![]);
    assert!(check(&good).good);
    let with = |alter: &dyn Fn(&mut Bundle)| {
        let mut bundle = good.clone();
        alter(&mut bundle);
        let report = check(&bundle);
        assert!(!report.good && report.proves.is_empty());
        failed(&report).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(with(&|it| it.escrows.originator = other.escrow(Role::Originator, 1)), ["escrow-originator"]);
    assert_eq!(with(&|it| it.escrows.responder = other.escrow(Role::Responder, 1)), ["escrow-responder"]);
    assert_eq!(
        with(&|it| std::mem::swap(&mut it.escrows.originator, &mut it.escrows.responder)),
        ["escrow-originator"]
    );
    assert_eq!(
        with(&|it| std::mem::swap(&mut it.signatures.originator, &mut it.signatures.responder)),
        ["signature-originator"]
    );
    let unrelated = key(2).sign(b"another text").to_vec();
    assert_eq!(with(&|it| it.signatures.responder = Some(unrelated.clone())), ["signature-responder"]);
    for bad in [vec![], vec![0; 64], vec![0; 63], vec![0; 65]] {
        assert_eq!(with(&|it| it.signatures.responder = Some(bad.clone())), ["signature-responder"]);
    }
    // Items that are no detached signature have neither.
    let plain =
        Deal::new(offer(signature("Contract"), signature("Contract"))).bundle(true, [true, true], vec![]);
    let mut bad = plain.clone();
    bad.escrows.originator = good.escrows.originator.clone();
    assert_eq!(failed(&check(&bad)), ["escrow-originator"]);
    let mut bad = plain;
    bad.signatures.originator = good.signatures.originator.clone();
    assert_eq!(failed(&check(&bad)), ["signature-originator"]);
    // Without an acceptance there is no place for the responder's.
    let mut bad = deal.bundle(false, [false, false], vec![]);
    bad.escrows.responder = deal.escrow(Role::Responder, 1);
    assert_eq!(failed(&check(&bad)), ["escrow-responder"]);
}

/// The arbiter may have opened another escrow of the same signature; one whose proof is false is pointed out.
#[test]
fn what_the_arbiter_opened_is_checked_as_well() {
    let deal = sealed();
    let receipt =
        Arbiter::new().rule(&deal.case(Role::Originator, Action::Resolve, true), UnixMillis(1_500_000));
    let mut bundle = deal.bundle(true, [false, false], vec![receipt]);
    let of = |report: &Report| {
        let check = report.checks.iter().find(|it| it.name == "verdict-escrow-responder").unwrap();
        check.detail.clone()
    };
    assert!(of(&check(&bundle)).contains("escrow in this bundle"));
    bundle.escrows.responder = deal.escrow(Role::Responder, 7);
    let report = check(&bundle);
    assert!(report.good && of(&report).contains("whole proof checked"), "{:?}", report.checks);
    assert!(report.warnings.is_empty());

    // A cheat's escrow: one hidden instance still decrypts, the proof is false. The verdict stands, with a warning.
    let mut bytes = deal.escrow(Role::Responder, 1).unwrap().to_bytes();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let false_escrow = Pledge::from_bytes(&bytes).unwrap();
    let case = deal.case_with(
        Role::Originator,
        ByRole { originator: deal.escrow(Role::Originator, 1), responder: Some(false_escrow) },
    );
    let receipt = Arbiter::new().rule(&case, UnixMillis(1_500_000));
    let report = check(&deal.bundle(true, [false, false], vec![receipt]));
    assert!(report.good, "{:?}", failed(&report));
    assert!(report.warnings[0].contains("Only the arbiter's word"), "{:?}", report.warnings);
}

/// `--file`: the text, the signature, and a valid signature that is another one.
#[test]
fn a_signature_file_beside_the_bundle_is_compared() {
    let deal = sealed();
    let bundle = deal.bundle(true, [true, true], vec![]);
    let text = deal.offer.item(Role::Originator).description.detached().unwrap().statement.document();
    let look = |bundle: &Bundle, bytes: &[u8]| {
        let report = verify(bundle, Trust::Pinned(&arbiter()), &[content(bytes)]);
        (report.good, report.checks.last().unwrap().detail.clone())
    };
    let own = deal.signature(Role::Originator).unwrap();
    assert!(look(&bundle, &own).1.contains("byte for byte, the originator's signature in this bundle"));
    assert!(look(&bundle, text.as_bytes()).1.contains("the text that the originator signs"));
    assert!(look(&bundle, CONTENT).0);
    let open = deal.bundle(true, [true, false], vec![]);
    let (good, said) = look(&open, &own);
    assert!(good && said.contains("valid signature by the originator's key"), "{said}");
    let mut altered = own;
    altered[3] ^= 1;
    assert!(!look(&bundle, &altered).0 && !look(&open, &altered).0);
    assert!(!look(&bundle, &text.as_bytes()[1..]).0);
}

/// Makes a certificate for the key of party `byte`, signed by itself, with OpenSSL.
fn certificate(byte: u8, name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let prefix = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let der = STANDARD.encode([&prefix[..], &[byte; 32]].concat());
    std::fs::write(&path, format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n"))
        .unwrap();
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-new",
            "-subj",
            &format!("/CN={name}"),
            "-days",
            "30",
            "-outform",
            "DER",
            "-key",
        ])
        .arg(&path)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    made.stdout
}

/// A certificate is shown and compared with the key; one of another key makes a bundle bad and a screen unapprovable.
#[test]
fn certificates_are_shown_and_must_be_of_the_key_that_signs() {
    let good = offer(detached(1, "Contract", certificate(1, "Alice Ltd")), detached(2, "Contract", vec![]));
    let bundle = Deal::new(good.clone()).bundle(true, [true, true], vec![]);
    let report = check(&bundle);
    assert!(report.good, "{:?}", failed(&report));
    assert_eq!(report.signatures[0].certificate_subject.as_deref(), Some("CN=Alice Ltd"));
    assert!(report.does_not_prove.iter().any(|line| line.contains("issuer was not checked")));
    let now = UnixMillis(u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap());
    let screen = |offer: &Offer, now| Screen::new(offer, Role::Responder, &[content(CONTENT)], now);
    let shown = screen(&good, now);
    assert!(shown.refusal.is_none() && shown.approves(shown.word()));
    for part in ["not checked against any authority", "| for   CN=Alice Ltd", "| valid 20"] {
        assert!(shown.to_string().contains(part), "{part}: {shown}");
    }
    assert!(shown.warnings.iter().any(|it| it.contains("signed by itself")), "{shown}");
    assert!(!shown.to_string().contains("EXPIRED"));
    assert!(screen(&good, UnixMillis(1)).to_string().contains("NOT YET VALID"));
    assert!(screen(&good, UnixMillis(now.0 + 40 * 86_400_000)).to_string().contains("HAS EXPIRED"));

    for (bad, says) in [(certificate(1, "Alice Ltd"), "ANOTHER key"), (vec![0x30; 40], "cannot be read")] {
        let lying = offer(detached(1, "Contract", vec![]), detached(2, "Contract", bad));
        let bundle = Deal::new(lying.clone()).bundle(true, [true, true], vec![]);
        assert_eq!(failed(&check(&bundle)), ["certificate-responder"]);
        for role in Role::BOTH {
            let shown = Screen::new(&lying, role, &[], now);
            assert!(shown.refusal.as_ref().unwrap().contains(says), "{shown}");
            assert!(shown.to_string().contains("THIS CANNOT BE APPROVED") && !shown.approves(shown.word()));
            assert!(shown.to_string().lines().all(|line| line.chars().count() <= 80), "{shown}");
        }
    }
}

/// What the arbiter can do with sealed signatures, and until when, is on the screen of both.
#[test]
fn the_screen_tells_what_is_sealed_and_until_when() {
    let contract = sealed().offer;
    for role in Role::BOTH {
        let text = Screen::new(&contract, role, &[], UnixMillis(1_000_000)).to_string();
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "the arbiter opens their sealed signature and gives it to you",
            "the arbiter can open your sealed signature and give it to them",
            "1970-01-01 02:30:00 UTC on the arbiter's clock, in 2 h 13 min on yours",
            "open both sealed signatures",
            "nobody can tell that there was a dispute",
            "This is the key of your fairx identity.",
            "by this key: Ed25519",
        ] {
            assert!(flat.contains(part), "{role}: {part}: {text}");
        }
        assert!(!flat.contains("stands for"), "{text}");
        let screen = Screen::new(&contract, role, &[], UnixMillis(1_000_000));
        let [document] = &screen.documents[..] else { panic!("one text for both") };
        assert!(document.starts_with("arbiter/signed-statement/v1\ntitle Contract of sale\n"), "{document}");
        let late = Screen::new(&contract, role, &[], ESCROW_UNTIL).to_string();
        assert!(late.contains("THIS HAS PASSED"), "{late}");
        // Another key than last time.
        let peer = contract.party(role.peer()).signing_key;
        let known = |key_of: u8| [(peer, SignatureKey::ed25519(key(key_of).public_key()).unwrap())];
        let told = |key_of| {
            let screen = Screen::knowing(&contract, role, &[], &known(key_of), UnixMillis(1_000_000));
            screen.warnings.iter().any(|it| it.contains("ANOTHER key in earlier"))
        };
        let now = if role == Role::Originator { 2 } else { 1 };
        assert!(!told(now) && told(50));
    }
}
