//! Evidence bundles: good ones of every outcome verify; every altered one fails, at the check that it breaks.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

mod fixture;

use arbiter_client::bundle::{BUNDLE_BYTES, Bundle, BundleError, Claim};
use arbiter_client::consent::Screen;
use arbiter_client::explain;
use arbiter_client::fingerprint::Fingerprint;
use arbiter_client::verify::{FileFacts, Report, Status, Trust, statements, verify};
use arbiter_protocol::crypto::Signer as _;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::ids::{Digest, LeafIndex};
use arbiter_protocol::message::agreement::{Acceptance, Offer};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::message::verdict::{Answer, Replacement, Ruling, Verdict};
use arbiter_protocol::statement::{Envelope, Signed, Verified};
use arbiter_protocol::time::UnixMillis;
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
        path => match path
            .trim_start_matches("receipts/")
            .trim_start_matches(|c: char| c.is_ascii_digit() || c == '/')
        {
            "statement" => &["-signature", "receipts.statement"],
            "answer" => &["-answer", "receipts.answer"],
            // Fields that are the arbiter's own to choose are caught by the tree.
            "leaf" => &["-leaf", "-record", "-inclusion", "receipts.leaf"],
            "checkpoint" => &["-log", "receipts.checkpoint"],
            "request" | "acceptance" | "attestation" => {
                &["-rule", "receipts.request", "receipts.acceptance", "receipts.attestation"]
            }
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
            for position in (0..text.len()).step_by(7).chain([text.len() - 1]) {
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
                assert_eq!(failed(&report), ["outcome"], "{name}");
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
            assert!(failed(&check(&none)).contains(&"outcome"), "{name}: no receipt");
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

/// R17, F13: an arbiter that signs a verdict which its rules do not give is caught, whatever field it bends.
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

/// Signatures are checked, not only ids: an envelope under a stranger's key is no offer of Alice's.
#[test]
fn an_offer_signed_by_somebody_else_is_caught() {
    let offer = Verified::sign(offer(file(), signature("Receipt")), &key(66));
    let envelope: Envelope = offer.envelope().clone();
    let report = check(&Bundle::new(envelope, None, [None, None], vec![]));
    assert_eq!(failed(&report), ["offer-signature"]);
    assert!(report.proves.is_empty() && report.outcome.is_none());
}
