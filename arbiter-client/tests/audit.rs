//! Audits of published logs: an honest one is found good however it is read; everything that a log, a tile server or a
//! disk can do wrong is found where it is (R-560 to R-564, issue 5 part 7).
#![cfg(feature = "audit")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

mod fixture;
mod published;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use arbiter_client::audit::{AuditError, Outcome, PolicyFault, Report, Settings, Source, StateError, run};
use arbiter_client::bundle::Bundle;
use arbiter_client::charge::{ChargeFile, Finding, Offence};
use arbiter_client::disclosure::Disclosure;
use arbiter_client::pin::ArbiterPin;
use arbiter_client::verify::Status;
use arbiter_protocol::evidence::checkpoint::{Checkpoint, Origin};
use arbiter_protocol::evidence::leaf::{Event, Leaf};
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::evidence::policy::Policy;
use arbiter_protocol::evidence::tile::{TileKind, TilePath, entries};
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::ids::{Digest, LeafIndex};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::time::UnixMillis;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use published::{Chooser, Log, identity, note, policy, signer};
use tempfile::TempDir;

use arbiter_protocol::crypto::Signer as _;

/// A published log and an auditor beside it.
struct Scene {
    folder: TempDir,
    policy: Policy,
    pinned: bool,
}

impl Scene {
    fn new(log: &Log) -> Self {
        let scene = Self { folder: tempfile::tempdir().unwrap(), policy: policy(0), pinned: true };
        scene.publish(log);
        scene
    }

    fn export(&self) -> PathBuf {
        self.folder.path().join("export")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn publish(&self, log: &Log) {
        fs::create_dir_all(self.export()).unwrap();
        log.publish(&self.export(), &[]);
    }

    /// Nothing of an earlier export is left.
    fn publish_anew(&self, log: &Log) {
        fs::remove_dir_all(self.export()).unwrap();
        self.publish(log);
    }

    fn try_audit(
        &self,
        place: &str,
        state: Option<&Path>,
        stop_after: Option<usize>,
    ) -> Result<Report, AuditError> {
        let arbiter = identity();
        let settings = Settings {
            policy: &self.policy,
            arbiter: self.pinned.then_some(&arbiter),
            state,
            proofs: self.folder.path(),
            records: None,
        };
        let mut pages = 0;
        run(&Source::open(place), &settings, &mut |progress| {
            assert!(progress.done <= progress.total);
            pages += 1;
            if Some(pages) == stop_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    }

    fn audit(&self) -> Report {
        self.try_audit(self.export().to_str().unwrap(), None, None).unwrap()
    }

    fn audit_again(&self) -> Report {
        self.try_audit(self.export().to_str().unwrap(), Some(&self.state()), None).unwrap()
    }
}

/// The proof that a report names convicts.
fn convicts(report: &Report) -> Offence {
    let path = report.finding.as_ref().and_then(|it| it.proof.as_ref()).expect("a proof");
    let file = ChargeFile::read(Path::new(path)).unwrap();
    assert!(file.accused.may_be(&identity()));
    match file.charge.judge(&identity()).finding {
        Finding::Guilty(offence) => offence,
        other => panic!("{other:?}"),
    }
}

/// logs of all sizes around the widths of tiles, audited in one go and as they grow.
#[test]
fn an_honest_log_is_good_at_every_size() {
    let whole = Log::honest(70_000, 1);
    let grown = Scene::new(&Log { leaves: whole.leaves[..1].to_vec() });
    let mut before = 0;
    for size in [1, 2, 255, 256, 257, 511, 512, 700, 65_535, 65_536, 65_537, 70_000] {
        let log = Log { leaves: whole.leaves[..size].to_vec() };
        let size = u64::try_from(size).unwrap();
        let alone = Scene::new(&log).audit();
        assert_eq!((alone.outcome, alone.leaves, alone.size), (Outcome::Good, size, Some(size)), "{alone}");
        grown.publish(&log);
        let again = grown.audit_again();
        assert_eq!(
            (again.outcome, again.leaves, again.audited_before),
            (Outcome::Good, size, before),
            "{again}"
        );
        assert_eq!(again.counts, alone.counts);
        let same = grown.audit_again();
        assert_eq!((same.outcome, same.counts, same.audited_before), (Outcome::Good, alone.counts, size));
        before = size;
    }
    // What is counted is what is in the leaves.
    let is = |event| whole.leaves.iter().filter(|leaf| Leaf::decode(leaf).unwrap().event == event).count();
    let counts = grown.audit_again().counts;
    let number = |value: u64| usize::try_from(value).unwrap();
    assert_eq!(number(counts.deposits), is(Event::DepositAccepted));
    assert_eq!(number(counts.aborted), is(Event::VerdictAborted));
    assert_eq!(number(counts.replaced), is(Event::VerdictReplaced));
    assert_eq!(number(counts.revoked), is(Event::VerdictRevoked));
    assert_eq!(number(counts.affidavits), is(Event::VerdictAffidavit));
    assert_eq!(number(counts.erased), is(Event::Erasure));
    assert_eq!(number(counts.answers), is(Event::PaymentPosted) + is(Event::PaymentVoided));
    let state = fs::metadata(grown.state()).unwrap().len();
    assert!(state < 32 * counts.exchanges + 1_000, "32 bytes an exchange: {state}");
}

/// An empty log is no fault.
#[test]
fn a_log_without_leaves_is_good() {
    let scene = Scene::new(&Log { leaves: Vec::new() });
    assert_eq!(scene.audit_again().outcome, Outcome::Good);
    scene.publish(&Log::honest(3, 1));
    assert_eq!(scene.audit_again().outcome, Outcome::Good);
}

/// stopped after any bundle and started again, with the log growing meanwhile or not, the report is the same.
#[test]
fn an_audit_goes_on_where_it_was_stopped() {
    let log = Log::honest(1_500, 2);
    let place = |scene: &Scene| scene.export().to_str().unwrap().to_owned();
    let whole = Scene::new(&log);
    let mut expected = whole.try_audit(&place(&whole), Some(&whole.state()), None).unwrap();
    for stop in 1..=6 {
        let scene = Scene::new(&log);
        let first = scene.try_audit(&place(&scene), Some(&scene.state()), Some(stop)).unwrap();
        let done = u64::try_from(stop * 256).unwrap().min(1_500);
        assert_eq!((first.outcome, first.leaves), (Outcome::Unfinished, done));
        let second = scene.audit_again();
        expected.source = second.source.clone();
        assert_eq!(second, expected);
    }
    // Every page a run of its own, and the log grows in between.
    let scene = Scene::new(&Log { leaves: log.leaves[..700].to_vec() });
    for _ in 0..2 {
        let part = scene.try_audit(&place(&scene), Some(&scene.state()), Some(1)).unwrap();
        assert_eq!(part.outcome, Outcome::Unfinished);
    }
    scene.publish(&log);
    let rest = scene.audit_again();
    assert_eq!((rest.outcome, rest.leaves, rest.counts), (Outcome::Good, 1_500, expected.counts));
}

/// what the log itself does wrong is found with its index, and convicts.
#[test]
fn every_violation_is_found_with_its_index_and_convicts() {
    let honest = Log::honest(900, 3);
    let verdict = honest.find(300, |leaf| leaf.event.is_verdict() && leaf.sequence == 1);
    let later = honest.find(verdict + 20, |leaf| leaf.sequence == 0 && leaf.event == Event::VerdictAborted);
    let ruled = honest.leaf(verdict);
    let erased = honest.find(200, |leaf| leaf.event == Event::Erasure);
    let own = honest.find(later, |leaf| leaf.event == Event::PolicyChange);
    let gone = honest.leaf(erased);
    let after = honest.find(erased + 1, |leaf| leaf.sequence == 0 && leaf.event == Event::VerdictAborted);
    type Change<'a> = (&'a str, usize, Box<dyn Fn(&mut Leaf)>);
    let changes: [Change<'_>; 14] = [
        ("after the erasure", after, {
            Box::new(move |it| {
                (it.event, it.reason, it.exchange) = (Event::DepositAccepted, "R-407", gone.exchange);
                (it.sequence, it.previous) = (gone.sequence + 1, Some(gone.index));
            })
        }),
        ("erasure for no reason", erased, Box::new(|it| it.token = Digest::of(&[b"x"]))),
        ("a policy about an exchange", own, Box::new(|it| it.exchange.0[0] = 1)),
        ("a verdict that hides in no exchange", own, {
            Box::new(|it| (it.event, it.reason) = (Event::VerdictAborted, "R-406"))
        }),
        ("second verdict", later, {
            let ruled = ruled.clone();
            Box::new(move |it| {
                it.exchange = ruled.exchange;
                (it.sequence, it.previous) = (ruled.sequence + 1, Some(ruled.index));
            })
        }),
        ("after the verdict", later, {
            let ruled = ruled.clone();
            Box::new(move |it| {
                (it.event, it.reason, it.exchange) = (Event::DepositAccepted, "R-407", ruled.exchange);
                (it.sequence, it.previous) = (ruled.sequence + 1, Some(ruled.index));
            })
        }),
        ("broken link", verdict, Box::new(|it| it.previous = Some(LeafIndex(7)))),
        ("missing leaf", verdict, Box::new(|it| it.sequence += 1)),
        ("hidden leaf", verdict, Box::new(|it| (it.sequence, it.previous) = (0, None))),
        ("time back", later, Box::new(|it| it.time = UnixMillis(1_800_000_000_000))),
        ("another place", later, Box::new(|it| it.index.0 += 1)),
        ("unfit reason", later, Box::new(|it| it.reason = "R-404")),
        ("second genesis", later, Box::new(|it| (it.event, it.reason) = (Event::Genesis, "R-502"))),
        ("another key", later, Box::new(|it| it.issuer = [1; 4])),
    ];
    for pinned in [true, false] {
        for (name, index, change) in &changes {
            let mut log = honest.clone();
            log.change(*index, change);
            let scene = Scene { pinned, ..Scene::new(&log) };
            let report = scene.audit_again();
            assert_eq!(report.outcome, Outcome::Violation, "{name}: {report}");
            let finding = report.finding.clone().unwrap();
            assert_eq!(finding.index, Some(u64::try_from(*index).unwrap()), "{name}: {report}");
            assert!(finding.leaf.is_some_and(|leaf| leaf.as_bytes() == log.leaves[*index]));
            assert!(matches!(convicts(&report), Offence::BadLog(_)), "{name}");
            assert_eq!(scene.audit_again(), report, "{name}: found again, from the state");
        }
    }
    // No leaf at all: still a leaf of the log, and its fault.
    let mut log = honest.clone();
    log.leaves[500] = b"anything".to_vec();
    let scene = Scene::new(&log);
    let report = scene.audit();
    assert_eq!((report.outcome, report.finding.clone().unwrap().index), (Outcome::Violation, Some(500)));
    assert!(matches!(convicts(&report), Offence::BadLog(_)));
}

/// a history that changed between two audits convicts, whether the log grew, shrank or stayed as long.
#[test]
fn a_rewritten_history_convicts() {
    let old = Log::honest(700, 4);
    for (size, changed) in [(1_000, 699), (1_000, 0), (1_000, 300), (701, 512), (700, 5), (600, 5)] {
        let scene = Scene::new(&old);
        assert_eq!(scene.audit_again().outcome, Outcome::Good);
        let mut new = Log::honest(size, 4);
        new.change(changed, |leaf| leaf.clock_uncertainty.0 += 1);
        scene.publish_anew(&new);
        if size < 700 {
            // The tiles of the larger tree are on the server still: a log that went back.
            let log = Log { leaves: old.leaves.clone() };
            log.publish(&scene.export(), &[]);
            fs::write(scene.export().join("checkpoint"), note(&new.checkpoint(), &[])).unwrap();
        }
        let report = scene.audit_again();
        assert_eq!(report.outcome, Outcome::Violation, "{size} {changed}: {report}");
        match convicts(&report) {
            Offence::Rewritten { size: convicted } => {
                assert_eq!(convicted, 700.min(u64::try_from(size).unwrap()))
            }
            Offence::TwoRoots { size: convicted } => assert_eq!((convicted, size), (700, 700)),
            other => panic!("{other:?}"),
        }
        // The auditor does not forget what it saw first.
        scene.publish_anew(&old);
        assert_eq!(scene.audit_again().outcome, Outcome::Good);
    }
    // An honest copy that lags is no violation, and changes nothing in the memory.
    let scene = Scene::new(&old);
    scene.audit_again();
    let lagging = Log { leaves: old.leaves[..500].to_vec() };
    for both in [false, true] {
        scene.publish_anew(&lagging);
        if both {
            old.publish(&scene.export(), &[]);
            fs::write(scene.export().join("checkpoint"), note(&lagging.checkpoint(), &[])).unwrap();
        }
        let report = scene.audit_again();
        assert_eq!(report.outcome, Outcome::NotAsSigned, "{report}");
        assert!(report.finding.unwrap().problem.contains("lags"));
    }
}

/// one changed byte, anywhere in an export, is found in the file that it is in and, in a bundle, at its leaf.
#[test]
fn every_changed_byte_is_found_where_it_is() {
    let trials = std::env::var("AUDIT_TRIALS").ok().and_then(|it| it.parse().ok()).unwrap_or(250);
    for (size, trials) in [(700, trials), (66_000, trials / 25)] {
        let log = Log::honest(size, 5);
        let scene = Scene::new(&log);
        let mut files = Vec::new();
        collect(&scene.export(), &mut files);
        let mut chooser = Chooser(u64::try_from(trials).unwrap());
        for trial in 0..trials {
            // Every file as often as every other: most bytes are in bundles.
            let file = &files[chooser.below(files.len())];
            let good = fs::read(file).unwrap();
            let mut bytes = good.clone();
            let place = chooser.below(bytes.len());
            bytes[place] ^= u8::try_from(1 + chooser.below(255)).unwrap();
            fs::write(file, &bytes).unwrap();
            let path = file.strip_prefix(scene.export()).unwrap().to_str().unwrap();
            let told = scene.try_audit(scene.export().to_str().unwrap(), None, None);
            let context = format!("trial {trial}: byte {place} of {path}");
            match (TilePath::parse(path), told) {
                // Another origin or key name is a log that the policy does not name.
                (Err(_), Err(AuditError::Policy(PolicyFault::OtherLog))) => {}
                (_, Err(error)) => panic!("{context}: {error}"),
                (tile, Ok(report)) => {
                    assert_eq!(report.outcome, Outcome::NotAsSigned, "{context}: {report}");
                    let finding = report.finding.clone().unwrap();
                    assert_eq!(finding.place.as_deref(), file.to_str(), "{context}: {report}");
                    if let Ok(tile) = tile {
                        assert_eq!(finding.index, Some(expected(&tile, &good, place)), "{context}: {report}");
                    }
                }
            }
            fs::write(file, &good).unwrap();
        }
        assert_eq!(scene.audit().outcome, Outcome::Good);
    }
}

/// The leaf that a byte belongs to: in a bundle its own; in a full tile the first below it, in a partial one the first
/// below the hash.
fn expected(tile: &TilePath, bytes: &[u8], place: usize) -> u64 {
    let nodes = tile.nodes();
    let span = |level: u8| 1_u64 << (u32::from(level) * 8);
    match tile.kind() {
        TileKind::Entries => {
            let mut end = 0;
            let leaves = entries(tile, bytes).unwrap();
            let at = leaves.iter().position(|leaf| {
                end += 2 + leaf.len();
                place < end
            });
            nodes.start + u64::try_from(at.unwrap()).unwrap()
        }
        TileKind::Hashes(level) if tile.is_full() => nodes.start * span(level),
        TileKind::Hashes(level) => (nodes.start + u64::try_from(place / 32).unwrap()) * span(level),
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()) {
        if entry.is_dir() { collect(&entry, files) } else { files.push(entry) }
    }
    files.sort();
}

/// what is missing, cut off, or signed wrongly.
#[test]
fn what_is_not_served_as_signed_is_named() {
    let log = Log::honest(700, 6);
    let export = |scene: &Scene, path: &str| scene.export().join(path);
    for path in ["tile/entries/000", "tile/entries/001", "tile/0/001", "tile/0/002.p/188", "tile/1/000.p/2"] {
        let scene = Scene::new(&log);
        fs::remove_file(export(&scene, path)).unwrap();
        let report = scene.audit();
        let finding = report.finding.clone().unwrap();
        assert_eq!(report.outcome, Outcome::NotAsSigned, "{report}");
        assert!(finding.place.unwrap().ends_with(path) && finding.problem.contains("not there"), "{report}");
        let bytes = b"x".repeat(2_000_000);
        fs::write(export(&scene, path), bytes).unwrap();
        let report = scene.audit();
        assert!(report.finding.clone().unwrap().problem.contains("longer than it can be"), "{report}");
    }
    // A partial tile may be gone once the full one is there.
    let scene = Scene::new(&log);
    Log::honest(1_024, 6).publish(&scene.export(), &[]);
    fs::remove_file(export(&scene, "tile/0/002.p/188")).unwrap();
    fs::remove_file(export(&scene, "tile/entries/002.p/188")).unwrap();
    fs::write(export(&scene, "checkpoint"), note(&log.checkpoint(), &[])).unwrap();
    assert_eq!(scene.audit().outcome, Outcome::Good);

    // A root that the leaves do not give, signed all the same.
    let scene = Scene::new(&log);
    let wrong = Checkpoint { root: Digest::of(&[b"wrong"]), ..log.checkpoint() };
    fs::write(export(&scene, "checkpoint"), note(&wrong, &[])).unwrap();
    let report = scene.audit();
    assert_eq!(report.outcome, Outcome::NotAsSigned);
    assert!(report.finding.clone().unwrap().problem.contains("do not give the root"), "{report}");

    // Another log, another key, another arbiter.
    let other = |scene: &Scene| scene.try_audit(scene.export().to_str().unwrap(), Some(&scene.state()), None);
    let origin = Checkpoint { origin: Origin::parse("arbiter.test/other").unwrap(), ..log.checkpoint() };
    fs::write(export(&scene, "checkpoint"), note(&origin, &[])).unwrap();
    assert!(matches!(other(&scene), Err(AuditError::Policy(PolicyFault::OtherLog))));
    let text = policy(0).to_string();
    let key = VerifierKey::new("arbiter.test/evidence", signer(9).public_key());
    let mut scene = Scene::new(&log);
    scene.policy = Policy::parse(&format!("log {}\nquorum none\n", key.unwrap())).unwrap();
    assert!(matches!(other(&scene), Err(AuditError::Policy(PolicyFault::OtherLog))));
    scene.policy = Policy::parse(&text).unwrap();
    let mut foreign = log.clone();
    foreign.change(0, |leaf| leaf.token = Digest::of(&[b"another arbiter"]));
    scene.publish_anew(&foreign);
    assert!(matches!(other(&scene), Err(AuditError::Policy(PolicyFault::OtherArbiter))));
    scene.pinned = false;
    assert_eq!(scene.audit().outcome, Outcome::Good, "who pins nobody cannot know");
}

/// a quorum that is missing is said so, and everything else is checked all the same.
#[test]
fn a_missing_quorum_is_not_a_violation() {
    let log = Log::honest(300, 7);
    for (cosigned, wanted, outcome) in [
        (&[][..], 1, Outcome::QuorumMissing),
        (&[31], 1, Outcome::Good),
        (&[31], 2, Outcome::QuorumMissing),
        (&[31, 32], 2, Outcome::Good),
    ] {
        let mut scene = Scene::new(&log);
        scene.policy = policy(wanted);
        log.publish(&scene.export(), cosigned);
        let report = scene.audit();
        assert_eq!((report.outcome, report.leaves), (outcome, 300), "{report}");
        let witnesses = report.checks.iter().filter(|check| check.name == "witness").count();
        assert_eq!(witnesses, cosigned.len());
    }
    let mut scene = Scene::new(&log);
    scene.policy = policy(1);
    let note = note(&log.checkpoint(), &[31]);
    let (before, last) = note.trim_end().rsplit_once(' ').unwrap();
    let mut line = last.to_owned();
    line.replace_range(20..21, if &last[20..21] == "A" { "B" } else { "A" });
    fs::write(scene.export().join("checkpoint"), format!("{before} {line}\n")).unwrap();
    assert_eq!(scene.audit().outcome, Outcome::NotAsSigned, "a cosignature that does not verify");
}

/// a leaf of a later version ends what this program can judge; it is nobody's fault.
#[test]
fn a_later_version_is_named_and_the_rest_waits_for_a_newer_program() {
    let mut log = Log::honest(700, 8);
    let text = String::from_utf8(log.leaves[400].clone()).unwrap();
    log.leaves[400] = text.replacen("v1", "v2", 1).into_bytes();
    let report = Scene::new(&log).audit_again();
    assert_eq!((report.outcome, report.leaves), (Outcome::LaterVersion, 400));
    assert_eq!(report.finding.unwrap().index, Some(400));
}

/// F13, issue 5 part 7: records that are handed over are decided again, and found in the log by their leaves.
#[test]
fn records_that_are_handed_over_are_found_in_the_log() {
    let (log, bundles) = recorded();
    let mut scene = Scene::new(&log);
    scene.policy = fixture_policy();
    log.publish_as(&scene.export(), &fixture::arbiter(), &fixture::key(4));
    let handed = scene.folder.path().join("handed");
    fs::create_dir(&handed).unwrap();
    for (name, bundle) in &bundles {
        bundle.write(&handed.join(format!("{name}.fxe"))).unwrap();
    }
    let arbiter = fixture::arbiter();
    let audit = |scene: &Scene| {
        let settings = Settings {
            policy: &scene.policy,
            arbiter: Some(&arbiter),
            state: None,
            proofs: scene.folder.path(),
            records: Some(&handed),
        };
        let place = scene.export();
        run(&Source::open(place.to_str().unwrap()), &settings, &mut |_| ControlFlow::Continue(())).unwrap()
    };
    let report = audit(&scene);
    assert_eq!(report.outcome, Outcome::Good, "{report}");
    let count = |name: &str| report.checks.iter().filter(|check| check.name == name).count();
    assert_eq!((count("record-leaf"), count("record-tree")), (2, 2), "{report}");
    assert_eq!(count("verdict-rule"), 2, "the rules were applied again: {report}");

    // Single fields: as a party discloses them, and as the operator opens them.
    let (_, bundle) = &bundles[1];
    let (receipt, fields) = (&bundle.receipts[0], ["request".to_owned(), "statement".to_owned()]);
    let shown = Disclosure::new(&bundle.offer, receipt, &fields).unwrap();
    let (disclosed, opened) = (handed.join("resolved.fxd"), handed.join("opened.json"));
    shown.write(&disclosed).unwrap();
    let openings = |salt: &str| {
        let opening = receipt.open(&bundle.offer, "request").unwrap();
        let path: Vec<_> = opening.path.iter().map(ToString::to_string).collect();
        let leaf = String::from_utf8(receipt.leaf.clone()).unwrap();
        let salt = if salt.is_empty() { hex::encode(opening.salt) } else { salt.to_owned() };
        let opened = serde_json::json!({ "field": opening.name, "index": opening.index, "fields": opening.fields,
            "salt": salt, "value": STANDARD.encode(&opening.value), "path": path });
        let format = "application/vnd.arbiter.openings.v1+json";
        serde_json::json!([{ "format": format, "leaf": leaf, "openings": [opened] }]).to_string()
    };
    fs::write(&opened, openings("")).unwrap();
    let report = audit(&scene);
    assert_eq!(report.outcome, Outcome::Good, "{report}");
    let count = |name: &str| report.checks.iter().filter(|check| check.name == name).count();
    assert_eq!((count("record-leaf"), count("record-tree"), count("record-field")), (4, 3, 1), "{report}");
    assert_eq!(count("field-statement-signature"), 1, "{report}");
    let failed = |report: &arbiter_client::audit::Report, name: &str, file: &str| {
        let fits = |check: &arbiter_client::verify::Check| {
            check.name == name && check.detail.starts_with(file) && check.status == Status::Failed
        };
        report.outcome == Outcome::RecordBad && report.checks.iter().any(fits)
    };
    // Another salt, a field or a leaf that is not what it was, and what is no opening.
    fs::write(&opened, openings(&"0".repeat(32))).unwrap();
    let report = audit(&scene);
    assert!(failed(&report, "record-field", "opened.json"), "{report}");
    fs::write(&opened, openings("").replacen("clock 500", "clock 501", 1)).unwrap();
    let report = audit(&scene);
    assert!(failed(&report, "record-leaf", "opened.json"), "{report}");
    fs::write(&opened, openings("").replacen("openings.v1", "openings.v2", 1)).unwrap();
    let report = audit(&scene);
    assert!(failed(&report, "record", "opened.json"), "{report}");
    fs::remove_file(&opened).unwrap();
    let text = fs::read_to_string(&disclosed).unwrap();
    let salt = hex::encode(shown.fields[0].opening.salt);
    fs::write(&disclosed, text.replacen(&salt, &"0".repeat(32), 1)).unwrap();
    let report = audit(&scene);
    assert!(failed(&report, "field-request", "resolved.fxd"), "{report}");
    fs::write(&disclosed, text).unwrap();

    // One bundle damaged: said so, with its name; the others are judged all the same.
    let damaged = handed.join("aborted.fxe");
    let text = fs::read_to_string(&damaged).unwrap();
    fs::write(&damaged, text.replacen("\"outcome\": \"aborted\"", "\"outcome\": \"resolved\"", 1)).unwrap();
    let report = audit(&scene);
    assert_eq!(report.outcome, Outcome::RecordBad, "{report}");
    assert!(
        report.checks.iter().any(|check| check.detail.starts_with("aborted.fxe") && check.name == "outcome")
    );
    fs::write(&damaged, text).unwrap();

    // The log holds another leaf where the arbiter proved this one: that convicts it.
    let mut other = log.clone();
    other.change(6, |leaf| leaf.clock_uncertainty.0 += 1);
    other.publish_as(&scene.export(), &arbiter, &fixture::key(4));
    let report = audit(&scene);
    assert_eq!(report.outcome, Outcome::Violation, "{report}");
    let file = ChargeFile::read(Path::new(report.finding.unwrap().proof.as_ref().unwrap())).unwrap();
    assert!(matches!(file.charge.judge(&arbiter).finding, Finding::Guilty(Offence::TwoLeaves(LeafIndex(6)))));
}

/// Two exchanges that an arbiter ruled, as bundles, and its log.
fn recorded() -> (Log, Vec<(&'static str, Bundle)>) {
    let mut arbiter = fixture::Arbiter::new();
    let mut bundles = Vec::new();
    for (name, action) in [("aborted", Action::Abort), ("resolved", Action::Resolve)] {
        let items = (fixture::signature(name), fixture::signature("counterpart"));
        let deal = fixture::Deal::new(fixture::offer(items.0, items.1));
        let case = deal.case(Role::Originator, action, true);
        let receipt = arbiter.rule(&case, UnixMillis(1_000_002));
        bundles.push((name, deal.bundle(true, [false, false], vec![receipt])));
    }
    (Log { leaves: arbiter.leaves() }, bundles)
}

fn fixture_policy() -> Policy {
    let arbiter = fixture::arbiter();
    let key = VerifierKey::new(arbiter.log_origin.as_str(), arbiter.log_key).unwrap();
    Policy::parse(&format!("log {key}\nquorum none\n")).unwrap()
}

/// a state that is damaged or of another log is refused, and not overwritten.
#[test]
fn a_damaged_memory_is_refused() {
    let log = Log::honest(600, 9);
    let scene = Scene::new(&log);
    scene.audit_again();
    let good = fs::read(scene.state()).unwrap();
    let audit = || scene.try_audit(scene.export().to_str().unwrap(), Some(&scene.state()), None);
    for place in (0..good.len()).step_by(97).chain([good.len() - 1]) {
        let mut bytes = good.clone();
        bytes[place] ^= 4;
        fs::write(scene.state(), &bytes).unwrap();
        assert!(matches!(audit(), Err(AuditError::State(StateError::Damaged(_)))), "byte {place}");
        fs::write(scene.state(), &good[..place]).unwrap();
        assert!(matches!(audit(), Err(AuditError::State(StateError::Damaged(_)))), "cut at {place}");
        assert_eq!(fs::read(scene.state()).unwrap(), good[..place]);
    }
    fs::write(scene.state(), &good).unwrap();
    let other = Policy::parse(&policy(0).to_string().replacen("log arbiter", "# log arbiter", 1)).unwrap();
    let scene = Scene { policy: other, ..scene };
    let told = scene.try_audit(scene.export().to_str().unwrap(), Some(&scene.state()), None);
    assert!(matches!(told, Err(AuditError::State(StateError::OtherLog(_)))), "{told:?}");
}

/// How a server misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Good,
    Gzip,
    Truncated,
    Endless,
    Bomb,
    BadGzip,
    Redirect,
    Error,
    Gone,
}

/// Serves a folder over HTTP/1.1; everything but the checkpoint in its manner. Ends with the process.
fn serve(folder: PathBuf, manner: Manner) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, folder) = (stream.unwrap(), folder.clone());
            thread::spawn(move || {
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    request.push(byte[0]);
                }
                let text = String::from_utf8_lossy(&request).into_owned();
                let path = text.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
                let manner = if path == "checkpoint" { Manner::Good } else { manner };
                let body = fs::read(folder.join(&path));
                let gzip = |bytes: &[u8]| {
                    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
                    encoder.write_all(bytes).unwrap();
                    encoder.finish().unwrap()
                };
                let (status, header, body) = match (manner, body) {
                    (Manner::Gone, _) | (_, Err(_)) => ("404 Not Found", "", Vec::new()),
                    (Manner::Redirect, _) => ("302 Found", "Location: /checkpoint\r\n", Vec::new()),
                    (Manner::Error, _) => ("503 Service Unavailable", "", Vec::new()),
                    (Manner::Gzip, Ok(body)) => ("200 OK", "Content-Encoding: gzip\r\n", gzip(&body)),
                    (Manner::Bomb, _) => ("200 OK", "Content-Encoding: gzip\r\n", gzip(&vec![0; 64 << 20])),
                    (Manner::BadGzip, Ok(body)) => ("200 OK", "Content-Encoding: gzip\r\n", body),
                    (Manner::Endless, _) => ("200 OK", "", vec![0; 64 << 20]),
                    (Manner::Good | Manner::Truncated, Ok(body)) => ("200 OK", "", body),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\n{header}Content-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let body = if manner == Manner::Truncated { &body[..body.len() / 2] } else { &body[..] };
                // The auditor hangs up when it has enough.
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
            });
        }
    });
    url
}

/// whatever a tile server does, the audit ends and names the URL.
#[test]
fn a_bad_server_only_yields_errors() {
    let log = Log::honest(700, 10);
    let scene = Scene::new(&log);
    let local = scene.audit();
    for (manner, outcome, words) in [
        (Manner::Good, Outcome::Good, ""),
        (Manner::Gzip, Outcome::Good, ""),
        (Manner::Truncated, Outcome::Unfinished, "out of reach"),
        (Manner::Endless, Outcome::NotAsSigned, "longer than it can be"),
        (Manner::Bomb, Outcome::NotAsSigned, "longer than it can be"),
        (Manner::BadGzip, Outcome::NotAsSigned, "not well compressed"),
        (Manner::Redirect, Outcome::NotAsSigned, "redirects"),
        (Manner::Error, Outcome::Unfinished, "status 503"),
        (Manner::Gone, Outcome::NotAsSigned, "not there"),
    ] {
        let url = serve(scene.export(), manner);
        let mut report = scene.try_audit(&url, None, None).unwrap();
        assert_eq!(report.outcome, outcome, "{manner:?}: {report}");
        match &report.finding {
            None => {
                report.source.clone_from(&local.source);
                assert_eq!(report, local, "the way does not matter");
            }
            Some(finding) => {
                assert!(finding.place.as_ref().is_some_and(|place| place.starts_with(&url)), "{report}");
                assert!(finding.problem.contains(words), "{manner:?}: {report}");
            }
        }
    }
    // Nobody there at all: the way there is at fault.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let report = scene.try_audit(&format!("http://{nobody}"), None, None).unwrap();
    assert_eq!(report.outcome, Outcome::Unfinished);
}

/// The program: exit codes, report files, and that `fairx verify` takes the proof that `fairx audit` wrote.
#[test]
fn the_program_says_it_by_its_exit_code() {
    let honest = Log::honest(600, 11);
    let scene = Scene::new(&honest);
    let folder = scene.folder.path().to_owned();
    fs::write(folder.join("policy"), policy(0).to_string()).unwrap();
    fs::write(folder.join("quorum"), policy(1).to_string()).unwrap();
    ArbiterPin::new(identity(), "http://127.0.0.1:9").unwrap().create(&folder.join("pin")).unwrap();
    let fairx = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairx"));
        command.args(arguments.split(' ')).current_dir(&folder).env("FAIRX_HOME", folder.join("home"));
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, _) = fairx("audit export --policy policy --state memory --report report.json");
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("GOOD") && out.contains("leaves   600 of 600"), "{out}");
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("report.json")).unwrap()).unwrap();
    assert_eq!((json["outcome"].as_str(), json["leaves"].as_u64()), (Some("good"), Some(600)));
    assert_eq!(fs::read_to_string(folder.join("report.txt")).unwrap(), out);
    assert_eq!(fairx("audit export --arbiter pin").0, Some(0));
    assert_eq!(fairx("audit export --policy quorum").0, Some(4));
    assert_eq!(fairx("audit export").0, Some(2));
    assert_eq!(fairx("audit export --policy nothing").0, Some(2));
    assert_eq!(fairx("audit http://127.0.0.1:1 --policy policy").0, Some(3));
    assert_eq!(fairx("audit elsewhere --policy policy").0, Some(5));

    let mut log = honest;
    log.change(433, |leaf| leaf.time = UnixMillis(1_800_000_000_000));
    scene.publish_anew(&log);
    let (code, out, _) = fairx("audit export --policy policy --json");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, json["finding"]["index"].as_u64()), (Some(1), Some(433)), "{out}");
    let proof = json["finding"]["proof"].as_str().unwrap();
    let (code, out, _) = fairx(&format!("verify {proof} --arbiter pin"));
    assert_eq!(code, Some(10), "{out}");
    assert!(out.contains("GUILTY: its log holds a leaf that no honest log holds"), "{out}");
    assert_eq!(out.lines().filter(|line| line.starts_with(" ok ")).count(), 8, "{out}");
    assert_eq!(fairx(&format!("verify {proof}")).0, Some(1), "no pin, no verdict");
}
