//! Bundles with cosignatures and time-stamps, and disclosures of single fields: what they prove, and that no altered one
//! proves anything.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

mod authority;
mod cosigned;
mod fixture;
mod reader;

use std::convert::Infallible;

use arbiter_client::bundle::upgrade::{Upgrade, UpgradeError, upgrade};
use arbiter_client::bundle::{Bundle, TIMESTAMPS};
use arbiter_client::disclosure::Disclosure;
use arbiter_client::timestamp::{Authorities, granted, query};
use arbiter_client::verify::{Clock, Finding, Report, Status, Trust, Verifier};
use arbiter_protocol::crypto::Signer as _;
use arbiter_protocol::evidence::anchor::Anchor;
use arbiter_protocol::evidence::leaf::{Event, Leaf};
use arbiter_protocol::evidence::note::Note;
use arbiter_protocol::evidence::policy::Policy;
use arbiter_protocol::evidence::tile::encode_entries;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::ids::{Digest, LeafIndex};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::time::UnixMillis;
use authority::{Authority, Kind};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cosigned::{Published, SEEN, policy};
use fixture::*;

/// A delivery that the arbiter resolved: an attestation and a verdict; and the arbiter.
fn delivered() -> (Arbiter, Bundle) {
    let deal = Deal::new(offer(file(), signature("Receipt")));
    let mut arbiter = Arbiter::new();
    let attested = arbiter.rule(&deal.case(Role::Originator, Action::Deposit, true), UnixMillis(1_000_002));
    let ruled = arbiter.rule(&deal.case(Role::Originator, Action::Resolve, true), UnixMillis(1_000_003));
    (arbiter, deal.bundle(true, [true, false], vec![attested, ruled]))
}

fn check(bundle: &Bundle, policy: Option<&str>) -> Report {
    let policy = policy.map(|text| Policy::parse(text).unwrap());
    let identity = arbiter();
    Verifier { policy: policy.as_ref(), ..Verifier::new(Trust::Pinned(&identity)) }.verify(bundle)
}

fn named(report: &Report, status: Status) -> Vec<&str> {
    report.checks.iter().filter(|it| it.status == status).map(|it| it.name.as_str()).collect()
}

/// with a policy every witness is told by name and time; without one they are there and count for nothing.
#[test]
fn cosignatures_count_by_policy_and_only_by_policy() {
    let (arbiter, plain) = delivered();
    let bundle = Published::new(&arbiter, 300, &[51, 52, 53, 60]).upgraded(&plain);
    assert_eq!(Bundle::parse(&bundle.to_json()).unwrap(), bundle);

    let report = check(&bundle, None);
    assert_eq!(report.finding, Finding::Good);
    assert_eq!(named(&report, Status::Unchecked), ["attestation-witnesses", "verdict-witnesses"]);
    assert!(report.times.iter().all(|it| it.clock == Clock::Arbiter), "{:?}", report.times);
    assert!(!report.proves.join("\n").contains("Witnesses"));

    let report = check(&bundle, Some(&policy()));
    assert_eq!(report.finding, Finding::Good, "{:#?}", report.checks);
    for of in ["attestation", "verdict"] {
        for name in ["tlog-proof", "history", "policy-log", "witness", "quorum"] {
            assert!(named(&report, Status::Passed).contains(&format!("{of}-{name}").as_str()), "{name}");
        }
    }
    let seen: Vec<_> =
        report.times.iter().filter(|it| it.clock == Clock::Witness && it.of == "verdict").collect();
    assert_eq!(seen.iter().map(|it| it.who.as_str()).collect::<Vec<_>>(), ["one", "two", "three"]);
    assert_eq!(seen[0].time, UnixMillis(SEEN * 1000).to_string());
    assert!(report.proves.iter().any(|it| it.contains("Witnesses") && it.contains("three at 2023-11-14")));
    assert_eq!(report.rules_applied.as_deref(), Some("arbiter/rules/v1"));
    assert_eq!(report.format, "arbiter/verification-report/v1");
}

/// what was asked for and is not there is neither good nor bad.
#[test]
fn missing_cosignatures_are_missing_and_bad_ones_are_bad() {
    let (arbiter, plain) = delivered();
    let quorum = ["attestation-quorum", "verdict-quorum"];
    let report = check(&plain, Some(&policy()));
    assert_eq!((report.finding, named(&report, Status::Missing)), (Finding::Incomplete, quorum.to_vec()));
    assert!(!report.good && !report.proves.is_empty() && report.outcome.is_some());
    for witnesses in [&[][..], &[52], &[52, 60, 61]] {
        let bundle = Published::new(&arbiter, 300, witnesses).upgraded(&plain);
        let report = check(&bundle, Some(&policy()));
        assert_eq!((report.finding, named(&report, Status::Missing)), (Finding::Incomplete, quorum.to_vec()));
    }
    // A policy without witnesses asks for none, but for this log.
    let none = policy().replace("quorum enough", "quorum none");
    let bundle = Published::new(&arbiter, 300, &[]).upgraded(&plain);
    assert_eq!(check(&bundle, Some(&none)).finding, Finding::Good);
    let log =
        arbiter_protocol::evidence::note::VerifierKey::new("arbiter.example/evidence", key(77).public_key());
    let other = format!("log {}\nquorum none\n", log.unwrap());
    let report = check(&bundle, Some(&other));
    assert_eq!(named(&report, Status::Failed), ["attestation-policy-log", "verdict-policy-log"]);

    // A bundle without any ruling has nothing in the log.
    let deal = Deal::new(offer(signature("Contract"), signature("Contract")));
    assert_eq!(check(&deal.bundle(true, [true, true], vec![]), Some(&policy())).finding, Finding::Good);
}

/// a log that shows the witnesses another history than the parties is found out, though it signs both.
#[test]
fn another_history_convicts() {
    let (arbiter, plain) = delivered();
    let verdict = arbiter.tree().1 - 1;
    for index in [verdict ^ 1, 0] {
        let forked = Published::new(&arbiter, 300, &[]).forked(index, &[51, 52, 53]);
        let mut bundle = plain.clone();
        bundle.receipts.remove(0);
        let bundle = forked.upgraded(&bundle);
        let report = check(&bundle, Some(&policy()));
        assert_eq!(report.finding, Finding::Bad);
        assert_eq!(named(&report, Status::Failed), ["verdict-history"], "{index}");
    }
    // Older than the receipt: it adds nothing.
    let published = Published::new(&arbiter, verdict + 1, &[51]);
    let mut later = published.upgraded(&plain);
    assert_eq!(check(&later, None).finding, Finding::Good);
    later.receipts[1].tlog_proof = later.receipts[0].tlog_proof.clone();
    assert_eq!(named(&check(&later, None), Status::Failed), ["verdict-tlog-proof"]);
}

/// no altered tlog-proof counts, by our reading and by the second reader's.
#[test]
fn altered_tlog_proofs_prove_nothing() {
    let (arbiter, mut plain) = delivered();
    plain.receipts.remove(0); // The verdict is enough.
    let good = Published::new(&arbiter, 300, &[51, 52]).upgraded(&plain);
    let text = good.receipts[0].tlog_proof.clone().unwrap();
    let mut altered = vec![good.clone()];
    for (place, old) in text.char_indices() {
        for new in ["", "A", "\n"] {
            let changed = [&text[..place], new, &text[place + old.len_utf8()..]].concat();
            if changed == text {
                continue;
            }
            let mut bundle = good.clone();
            bundle.receipts[0].tlog_proof = Some(changed);
            altered.push(bundle);
        }
    }
    let judged: Vec<_> = altered.iter().map(|it| check(it, Some(&policy())).finding).collect();
    assert_eq!(
        judged.iter().filter(|it| **it == Finding::Good).count(),
        1,
        "only the first, which is not altered"
    );
    assert!(judged.len() > 2_000);
    if reader::there() {
        let files: Vec<_> = altered.iter().map(Bundle::to_json).collect();
        let (codes, _) = reader::judge(&files, Some(fixture::arbiter().key), Some(&policy()));
        for ((finding, code), bundle) in judged.iter().zip(codes).zip(&altered) {
            let expected = match finding {
                Finding::Good => 0,
                Finding::Incomplete => 5,
                _ => 1,
            };
            assert_eq!(code, expected, "{:?}", bundle.receipts[0].tlog_proof);
        }
    }
}

/// what an upgrade refuses, and what it keeps.
#[test]
fn an_upgrade_takes_only_what_it_can_prove() {
    let (arbiter, plain) = delivered();
    let fetch = |published: Published| move |path| Ok::<_, Infallible>(published.tile(path));
    let early = Published::new(&arbiter, arbiter.tree().1 - 1, &[51]);
    let refused = upgrade(&mut plain.clone(), &early.checkpoint.clone(), fetch(early));
    assert!(matches!(refused, Err(UpgradeError::TooEarly { .. })), "{refused:?}");
    let published = Published::new(&arbiter, 300, &[51]);
    let lying = |path| {
        let mut bytes = published.tile(path);
        bytes[40] ^= 1;
        Ok::<_, Infallible>(bytes)
    };
    let mut bundle = plain.clone();
    assert!(matches!(upgrade(&mut bundle, &published.checkpoint, lying), Err(UpgradeError::Unproven(_))));
    assert_eq!(bundle, plain, "nothing half done");
    let unsigned = published.checkpoint.replace("300", "301");
    let refused = upgrade(&mut bundle, &unsigned, |path| Ok::<_, Infallible>(published.tile(path)));
    assert!(matches!(refused, Err(UpgradeError::Checkpoint(_))));

    // Cosignatures of one checkpoint add up; a newer one with fewer does not replace them.
    let bundle = published.upgraded(&plain);
    let mut bundle = Published::new(&arbiter, 300, &[52]).upgraded(&bundle);
    assert_eq!(check(&bundle, Some(&policy())).finding, Finding::Good);
    let fewer = Published::new(&arbiter, 400, &[53]);
    let told = upgrade(&mut bundle, &fewer.checkpoint.clone(), fetch(fewer)).unwrap();
    assert_eq!(told, [Upgrade::Kept, Upgrade::Kept]);
    let more = Published::new(&arbiter, 400, &[51, 52, 53]);
    assert!(matches!(
        upgrade(&mut bundle, &more.checkpoint.clone(), fetch(more)).unwrap()[..],
        [Upgrade::Added { size: 400, cosignatures: 3 }, _]
    ));
    assert_eq!(check(&bundle, Some(&policy())).finding, Finding::Good);
}

/// T10: what three witnesses cost in a bundle, at ten million leaves.
#[test]
fn three_witnesses_add_less_than_8_kib_at_ten_million_leaves() {
    let (arbiter, plain) = delivered();
    let bundle = Published::new(&arbiter, 10_000_000, &[51, 52, 53]).upgraded(&plain);
    assert_eq!(check(&bundle, Some(&policy())).finding, Finding::Good);
    let (before, after) = (plain.to_json().len(), bundle.to_json().len());
    println!("a bundle of two rulings has {before} bytes, with cosignatures at 10 M leaves {after}");
    assert!(after - before <= 8 * 1024, "{before} {after}");
    // And a proof of the first tree costs as much as ever: bundles from before read as they are.
    assert!(!String::from_utf8(plain.to_json()).unwrap().contains("tlog_proof"));
}

fn stamp(authority: &Authority, note: &str) -> Vec<u8> {
    let digest = Digest::of(&[Note::parse(note).unwrap().text().as_bytes()]);
    granted(&authority.reply(&query(&digest, 7)), &digest, 7).unwrap()
}

/// a token over either checkpoint counts, for whoever trusts its authority; a token over anything else is bad.
#[test]
fn time_stamps_count_for_who_trusts_the_authority() {
    let (arbiter, plain) = delivered();
    let authority = Authority::new(Kind::P256);
    let published = Published::new(&arbiter, 300, &[51, 52]);
    let mut bundle = published.upgraded(&plain);
    let own = bundle.receipts[0].checkpoint.clone();
    bundle.receipts[0].timestamps = vec![stamp(&authority, &own)];
    bundle.receipts[1].timestamps = vec![stamp(&authority, &published.checkpoint)];
    assert_eq!(Bundle::parse(&bundle.to_json()).unwrap(), bundle);
    let identity = fixture::arbiter();
    let trusted = Authorities::parse(&authority.root()).unwrap();
    let with = |bundle: &Bundle, trusted: Option<&Authorities>| {
        Verifier { authorities: trusted, ..Verifier::new(Trust::Pinned(&identity)) }.verify(bundle)
    };
    let report = with(&bundle, None);
    assert_eq!(report.finding, Finding::Good);
    assert!(named(&report, Status::Unchecked).contains(&"verdict-timestamp"));
    let report = with(&bundle, Some(&trusted));
    assert_eq!(report.finding, Finding::Good, "{:#?}", report.checks);
    assert_eq!(
        report.times.iter().filter(|it| it.clock == Clock::Authority && it.who == "CN=tsa").count(),
        2
    );
    assert!(report.proves.iter().any(|it| it.contains("time-stamping authority CN=tsa")));
    let stranger = Authorities::parse(&Authority::new(Kind::P256).root()).unwrap();
    assert_eq!(
        named(&with(&bundle, Some(&stranger)), Status::Failed),
        ["attestation-timestamp", "verdict-timestamp"]
    );
    assert_eq!(with(&plain, Some(&trusted)).finding, Finding::Incomplete);

    // Swapped: the receipt has another checkpoint, and so has its proof.
    let mut swapped = bundle.clone();
    swapped.receipts[1].timestamps = vec![stamp(&authority, &own)];
    assert_eq!(named(&with(&swapped, None), Status::Failed), ["verdict-timestamp"]);
    // A newer proof would leave the token without its text.
    let more = Published::new(&arbiter, 400, &[51, 52, 53]);
    let told = upgrade(&mut bundle, &more.checkpoint, |path| Ok::<_, Infallible>(more.tile(path))).unwrap();
    assert_eq!(told, [Upgrade::Added { size: 400, cosignatures: 3 }, Upgrade::Stamped]);
    assert_eq!(with(&bundle, Some(&trusted)).finding, Finding::Good);
    let mut many = bundle.clone();
    many.receipts[0].timestamps = vec![vec![0]; TIMESTAMPS + 1];
    assert!(Bundle::parse(&many.to_json()).is_err());
}

fn disclosed(disclosure: &Disclosure, policy: Option<&str>) -> Report {
    let policy = policy.map(|text| Policy::parse(text).unwrap());
    let identity = arbiter();
    Verifier { policy: policy.as_ref(), ..Verifier::new(Trust::Pinned(&identity)) }.disclosed(disclosure)
}

/// every field of every ruling can be shown alone; the file has nothing of the others.
#[test]
fn every_field_can_be_shown_without_the_rest() {
    let mut shown = 0;
    for (name, bundle) in bundles() {
        for receipt in &bundle.receipts {
            let names = Disclosure::names(receipt, &bundle.offer);
            assert!(names.len() >= 3, "{name}: {names:?}");
            for field in &names {
                let one = Disclosure::new(&bundle.offer, receipt, &[(*field).to_owned()]).unwrap();
                let json = one.to_json();
                assert_eq!(Disclosure::parse(&json).unwrap(), one);
                let report = disclosed(&one, None);
                assert_eq!(report.finding, Finding::Good, "{name}, {field}: {:#?}", report.checks);
                assert!(report.proves.iter().any(|it| it.contains(field)), "{:?}", report.proves);
                assert!(report.does_not_prove.iter().any(|it| it.contains("other fields")));
                let text = String::from_utf8(json).unwrap();
                for (other, salt) in names.iter().zip(&receipt.record_salts).filter(|(it, _)| *it != field) {
                    assert!(!text.contains(&hex::encode(salt)), "{name}: the salt of {other} is shown");
                }
                let offer = STANDARD.encode(bundle.offer.encode());
                assert_eq!(text.contains(&offer), *field == "offer", "{name}, {field}");
                shown += 1;
            }
            let all: Vec<_> = names.iter().rev().map(|it| (*it).to_owned()).collect();
            let all = Disclosure::new(&bundle.offer, receipt, &all).unwrap();
            let report = disclosed(&all, None);
            assert_eq!(report.finding, Finding::Good, "{name}: {:#?}", report.checks);
            assert_eq!(report.exchange_id, Some(bundle.offer.digest().to_string()));
            assert!(report.proves.iter().any(|it| it.contains("signed by the originator")));
            assert!(Disclosure::new(&bundle.offer, receipt, &["price".to_owned()]).is_none());
            assert!(Disclosure::new(&bundle.offer, receipt, &[]).is_none());
        }
    }
    assert!(shown > 40, "{shown}");
}

/// no altered, moved or foreign field counts.
#[test]
fn altered_disclosures_prove_nothing() {
    let (arbiter, plain) = delivered();
    let bundle = Published::new(&arbiter, 300, &[51, 52]).upgraded(&plain);
    let names = ["acceptance".to_owned(), "statement".to_owned()];
    let good = Disclosure::new(&bundle.offer, &bundle.receipts[1], &names).unwrap();
    let report = disclosed(&good, Some(&policy()));
    assert_eq!(report.finding, Finding::Good, "{:#?}", report.checks);
    assert!(report.times.iter().any(|it| it.clock == Clock::Witness));

    let json = good.to_json();
    let text = String::from_utf8(json).unwrap();
    let mut tried = 0;
    for (place, old) in text.char_indices().filter(|(place, _)| place % 3 == 0) {
        for new in ["A", "1", ""] {
            let changed = [&text[..place], new, &text[place + old.len_utf8()..]].concat();
            // White space is nobody's.
            let same = serde_json::from_str::<serde_json::Value>(&changed).ok()
                == serde_json::from_str::<serde_json::Value>(&text).ok();
            if same {
                continue;
            }
            let Ok(parsed) = Disclosure::parse(changed.as_bytes()) else { continue };
            assert_ne!(disclosed(&parsed, Some(&policy())).finding, Finding::Good, "{changed}");
            tried += 1;
        }
    }
    assert!(tried > 1_000, "{tried}");

    let failed = |alter: &dyn Fn(&mut Disclosure)| {
        let mut bad = good.clone();
        alter(&mut bad);
        named(&disclosed(&bad, None), Status::Failed).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let other = Disclosure::new(&bundle.offer, &bundle.receipts[0], &names).unwrap();
    assert_eq!(failed(&|it| it.fields[1] = other.fields[1].clone()), ["field-statement"]);
    assert_eq!(failed(&|it| it.fields.swap(0, 1)), ["fields"]);
    assert_eq!(failed(&|it| it.fields[1] = it.fields[0].clone()), ["fields"]);
    assert_eq!(failed(&|it| it.arbiter.key = key(77).public_key()), ["arbiter-pinned", "leaf-issuer"]);
    assert_eq!(failed(&|it| it.leaf = other.leaf.clone()), ["inclusion"]);
}

fn fairx(arguments: &[&str], path: &std::path::Path) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_fairx"));
    let output = command.args(["--home", "/nonexistent"]).args(arguments).current_dir(path).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// the program, from a plain bundle to one that stands alone, and what a court gets; every exit code.
#[test]
fn the_program_upgrades_stamps_discloses_and_verifies() {
    let (arbiter, plain) = delivered();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let write = |name: &str, bytes: &[u8]| std::fs::write(path.join(name), bytes).unwrap();
    plain.write(&path.join("b.fxe")).unwrap();
    let pin = arbiter_client::pin::ArbiterPin::new(fixture::arbiter(), "http://127.0.0.1:1").unwrap();
    let pin = pin.to_string();
    let authority = std::sync::Arc::new(Authority::new(Kind::P256));
    write("policy", policy().as_bytes());
    write("tsa.pem", &authority.root());
    let log = path.join("log");
    std::fs::create_dir(&log).unwrap();
    Published::new(&arbiter, 70_000, &[51, 52, 53]).export(&log);
    let verify = |file: &str, more: &[&str]| {
        fairx(&[&["verify", file, "--arbiter", &pin, "--rerun"], more].concat(), path)
    };
    let all = ["--policy", "policy", "--tsa-ca", "tsa.pem"];

    let (code, said) = verify("b.fxe", &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Rules arbiter/rules/v1, applied again"), "{said}");
    let (code, said) = verify("b.fxe", &all);
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("INCOMPLETE") && said.contains("??   verdict-quorum"), "{said}");

    let (code, said) = fairx(&["bundle", "upgrade", "b.fxe", "--from", "log"], path);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("tree of 70000 leaves, with 3 cosignatures"), "{said}");
    // With the time-stamp that the arbiter had made of its log, if there is one beside the tiles.
    let beside = path.join("beside");
    let published = Published::new(&arbiter, 70_000, &[51, 52, 53]);
    std::fs::create_dir(&beside).unwrap();
    published.export(&beside);
    let token = stamp(&authority, &published.checkpoint);
    let anchor = Anchor::new(token.clone(), Note::parse(&published.checkpoint).unwrap()).unwrap();
    let leaf = Leaf::decode(&plain.receipts[1].leaf).unwrap();
    let leaf =
        Leaf { index: LeafIndex(20), event: Event::Anchor, reason: "R-536", token: anchor.digest(), ..leaf };
    let leaves: Vec<_> = (0..256).map(|n| if n == 20 { leaf.encode() } else { vec![b'x'] }).collect();
    let leaves = encode_entries(leaves.iter().map(Vec::as_slice)).unwrap();
    for (name, bytes) in [("tile/entries/000", leaves), ("anchor/20", anchor.to_string().into_bytes())] {
        std::fs::create_dir_all(beside.join(name).parent().unwrap()).unwrap();
        std::fs::write(beside.join(name), bytes).unwrap();
    }
    plain.write(&path.join("a.fxe")).unwrap();
    for _ in 0..2 {
        let (code, said) = fairx(&["bundle", "upgrade", "a.fxe", "--from", "beside"], path);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("with the time-stamp that the arbiter had made"), "{said}");
        let anchored = Bundle::read(&path.join("a.fxe")).unwrap();
        assert!(anchored.receipts.iter().all(|it| it.timestamps == [token.clone()]));
    }
    let (code, said) = verify("a.fxe", &all);
    assert_eq!(code, Some(0), "{said}");
    // One that is damaged is left alone.
    let damaged = anchor.to_string().replacen("70000", "70001", 1);
    std::fs::write(beside.join("anchor/20"), damaged).unwrap();
    plain.write(&path.join("a.fxe")).unwrap();
    let (code, said) = fairx(&["bundle", "upgrade", "a.fxe", "--from", "beside"], path);
    assert!(code == Some(0) && !said.contains("time-stamp"), "{said}");
    assert!(Bundle::read(&path.join("a.fxe")).unwrap().receipts[1].timestamps.is_empty());

    let url = authority.clone().serve();
    let (code, said) = fairx(&["bundle", "timestamp", "b.fxe", "--tsa", &url, "--out", "s.fxe"], path);
    assert_eq!(code, Some(0), "{said}");
    let stamped = Bundle::read(&path.join("s.fxe")).unwrap();
    for receipt in &stamped.receipts {
        let note = Note::parse(&receipt.checkpoint).unwrap();
        assert!(authority.openssl_verifies(&receipt.timestamps[0], note.text()), "OpenSSL agrees");
    }
    let (code, said) = verify("s.fxe", &all);
    assert_eq!(code, Some(0), "{said}");
    for part in [
        "ok   verdict-witness",
        "two cosigned",
        "verdict-timestamp",
        "When, by whose clock",
        "GOOD: resolved",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (code, said) = verify("s.fxe", &[&all[..], &["--json"]].concat());
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (code, report["finding"].as_str(), report["good"].as_bool()),
        (Some(0), Some("good"), Some(true))
    );
    assert_eq!(report["format"], "arbiter/verification-report/v1");
    for clock in ["arbiter", "witness", "authority"] {
        assert!(report["times"].as_array().unwrap().iter().any(|it| it["clock"] == clock), "{clock}: {said}");
    }

    let disclose = ["disclose", "s.fxe", "--field", "statement", "--field", "offer", "--out", "d.fxd"];
    assert_eq!(fairx(&disclose, path).0, Some(0));
    let (code, said) = verify("d.fxd", &all);
    assert_eq!(code, Some(0), "{said}");
    for part in ["GOOD: the fields shown", "holds this offer, signed by the originator", "other fields"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (code, said) = fairx(&["disclose", "s.fxe", "--field", "price", "--out", "x.fxd"], path);
    assert!(code == Some(2) && said.contains("request, offer, acceptance"), "{said}");

    // What is bad, what is wrong usage, what is out of reach.
    let text = std::fs::read_to_string(path.join("s.fxe")).unwrap();
    write("bad.fxe", text.replace("index 7", "index 6").as_bytes());
    assert_eq!(verify("bad.fxe", &all).0, Some(1));
    write("cut.fxd", &std::fs::read(path.join("d.fxd")).unwrap()[..500]);
    assert_eq!(verify("cut.fxd", &[]).0, Some(1));
    write("nonsense", b"quorum nobody\n");
    assert_eq!(verify("s.fxe", &["--policy", "nonsense"]).0, Some(2));
    assert_eq!(verify("s.fxe", &["--tsa-ca", "policy"]).0, Some(2));
    assert_eq!(fairx(&["bundle", "upgrade", "b.fxe", "--from", "http://127.0.0.1:1"], path).0, Some(4));
    assert_eq!(fairx(&["bundle", "timestamp", "b.fxe", "--tsa", "http://127.0.0.1:1"], path).0, Some(4));
    let contract = Deal::new(offer(signature("Contract"), signature("Contract")));
    contract.bundle(true, [true, true], vec![]).write(&path.join("c.fxe")).unwrap();
    assert_eq!(fairx(&["bundle", "upgrade", "c.fxe", "--from", "log"], path).0, Some(2));
}
