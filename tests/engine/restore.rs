//! An old data folder gets its leaves back from an export and the journal, and goes on: no verdict is lost or made twice.
//!
//! ```text
//!  log of 13 ─ copy of the store after each ruling ─▶ put back ─▶ only read ─▶ restore ─▶ goes on
//!                                                          before the copy: as it was │ after it: RULING_LOST, or rescued
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arbiter::clock::ManualClock;
use arbiter::engine::{Engine, EngineError, Handle, Precheck, Why};
use arbiter::export_folder::ExportError;
use arbiter::fsck::{self, Problem};
use arbiter::high_water::ExportMark;
use arbiter::restore::{self, RestoreError, Restored};
use arbiter::scrub;
use arbiter::store::Store;
use arbiter::store::journal::{Journaled, Remains};
use arbiter::store::mem::{Disk, MemStore};
use arbiter::store::raw::Tamper;
use arbiter::store::schema::{self, Family};
use arbiter_protocol::error::Refused;
use arbiter_protocol::evidence::leaf::{Event, Leaf};
use arbiter_protocol::evidence::merkle::NodeId;
use arbiter_protocol::exchange::selection::Role::{self, Originator, Responder};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::time::UnixMillis;

use crate::damage::{Random, trials};
use crate::fixture::{Exchange, Kind, START, arbiter, desk, keys, receipt};
use crate::journal::{Image, Pair, abort, copy_folder, small};

/// Writes a static export of what an engine serves.
fn export(engine: &Handle, folder: &Path) {
    let leaves = engine.entries(0, usize::MAX).unwrap();
    crate::export::write(&leaves, &engine.checkpoint().unwrap(), folder);
}

fn put_back(pair: &Pair, with_journal: bool, from: &Path) -> Result<Restored, RestoreError> {
    let store = MemStore::open_unswept(&pair.disk, &arbiter(), keys().vault()).unwrap();
    let journal =
        with_journal.then(|| Remains::read(pair.journal.path(), &arbiter(), keys().vault()).unwrap());
    restore::restore(&store, journal, &desk(), keys().veil(), from, UnixMillis(START))
}

fn forget_journal(pair: &Pair) {
    pair.files().iter().for_each(|file| fs::remove_file(file).unwrap());
}

/// A log of 13 leaves, and the store before each of its rulings.
struct Story {
    pair: Pair,
    exports: tempfile::TempDir,
    images: Vec<Image>,
    receipts: Vec<(Exchange, Role, Action, Receipt)>,
    journal: tempfile::TempDir,
}

impl Story {
    async fn new() -> Self {
        let pair = Pair::forgetful();
        let engine = pair.start();
        let (mut images, mut receipts) = (Vec::new(), Vec::new());
        let deposited: Vec<_> = (0..4).map(|n| Exchange::new(Kind::P2, 20 + n)).collect();
        let mut steps: Vec<(Exchange, Role, Action)> = Vec::new();
        steps.extend((0..4).map(|n| (Exchange::new(Kind::P2, 20 + n), Originator, Action::Deposit)));
        steps.extend(deposited.into_iter().map(|it| (it, Originator, Action::Resolve)));
        steps.extend((0..4).map(|n| (small(n), Originator, Action::Abort)));
        for (exchange, role, action) in steps {
            images.push(pair.image());
            let receipt = exchange.file(&engine, role, action).await.unwrap();
            receipts.push((exchange, role, action, receipt));
        }
        let exports = tempfile::tempdir().unwrap();
        export(&engine, exports.path());
        engine.stop().await;
        drop(engine);
        let journal = tempfile::tempdir().unwrap();
        copy_folder(pair.journal.path(), journal.path());
        Self { pair, exports, images, receipts, journal }
    }

    /// The store of the time when `n` rulings were made, with the journal of the end or none.
    fn rewind(&mut self, n: usize, with_journal: bool) {
        self.pair.put_back(&self.images[n]);
        forget_journal(&self.pair);
        if with_journal {
            copy_folder(self.journal.path(), self.pair.journal.path());
        }
    }
}

/// R-525, R-526, T5: after a restore nothing is decided twice, nothing that the store still had is lost, and the log goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_goes_on_and_never_rules_twice() {
    let mut story = Story::new().await;
    let (mut replayed, mut lost) = (0, 0);
    for (made, with_journal) in (0..12).map(|n| (n, false)).chain((0..9).map(|n| (n, true))) {
        story.rewind(made, with_journal);
        let mark = ExportMark::new(story.exports.path(), &arbiter());
        let engine = story.pair.start_below(&[&mark]);
        assert!(matches!(engine.read_only().unwrap().why, Why::RolledBack { known: 13, .. }), "{made}");
        engine.stop().await;
        drop(engine);
        let had = u64::try_from(made).unwrap() + 1;
        let done = put_back(&story.pair, with_journal, story.exports.path()).unwrap();
        assert_eq!((done.before, done.leaves), (had, 14));
        // The newest three commits are in the journal, with their records.
        let rescued = if with_journal { 3 } else { 0 };
        assert_eq!(done.records, rescued);
        let ruled_after: BTreeSet<_> =
            story.receipts[made..12 - usize::try_from(rescued).unwrap()].iter().map(|it| it.0.id()).collect();
        assert_eq!(done.lost, u64::try_from(ruled_after.len()).unwrap());
        let report = story.pair.clean();
        assert_eq!((report.leaves, report.lost), (14, done.lost));

        for round in 0..2 {
            let engine = story.pair.start_below(&[&mark]);
            assert!(engine.read_only().is_none(), "{made} {:?}", engine.read_only());
            for (exchange, role, action, before) in &story.receipts {
                let again = exchange.file(&engine, *role, *action).await;
                if ruled_after.contains(&exchange.id()) {
                    let Err(EngineError::RulingLost { leaf }) = again else {
                        panic!("ruled again: {again:?}")
                    };
                    let leaf = Leaf::decode(&engine.entry(leaf).unwrap()).unwrap();
                    assert!(leaf.event.is_verdict(), "the log shows the ruling");
                    for role in Role::BOTH {
                        for action in [Action::Abort, Action::Resolve, Action::Query, Action::Deposit] {
                            let refused = engine.precheck(&exchange.case(role, action));
                            assert!(
                                matches!(refused, Err(EngineError::RulingLost { .. })),
                                "{role} {action:?}"
                            );
                        }
                    }
                    lost += 1;
                } else {
                    assert_eq!(again.as_ref(), Ok(before), "an answer that was kept has changed");
                    replayed += 1;
                }
            }
            // The log goes on, and what was signed before is its beginning.
            let new = small(100 + round);
            abort(&engine, &new).await;
            assert_eq!(engine.log_size(), 15 + round);
            let leaf = Leaf::decode(&engine.entry(13).unwrap()).unwrap();
            assert_eq!((leaf.event, leaf.reason), (Event::Restore, "R-525"));
            engine.stop().await;
            drop(engine);
            assert_eq!(story.pair.clean().leaves, 15 + round);
        }
        assert!(matches!(
            put_back(&story.pair, with_journal, story.exports.path()),
            Err(RestoreError::Nothing { .. })
        ));
    }
    assert!(replayed > 100 && lost > 100, "{replayed} {lost}");
}

/// R-525: what the export does not have yet comes from the journal; if there is a gap between them nothing is put back.
#[tokio::test(flavor = "multi_thread")]
async fn the_journal_goes_on_where_the_export_ends() {
    let mut pair = Pair::forgetful();
    let engine = pair.start();
    let (mut exports, mut receipts) = (Vec::new(), Vec::new());
    let mut images = Vec::new();
    for n in 0..9 {
        images.push(pair.image());
        receipts.push(abort(&engine, &small(n)).await);
        let folder = tempfile::tempdir().unwrap();
        export(&engine, folder.path());
        exports.push(folder);
    }
    engine.stop().await;
    drop(engine);
    let journal = tempfile::tempdir().unwrap();
    copy_folder(pair.journal.path(), journal.path());
    for (made, folder) in exports.iter().enumerate() {
        pair.put_back(&images[0]);
        forget_journal(&pair);
        copy_folder(journal.path(), pair.journal.path());
        let done = put_back(&pair, true, folder.path());
        // The journal has the commits of the rulings 6, 7 and 8.
        if made < 5 {
            let from = u64::try_from(made).unwrap() + 2;
            assert!(
                matches!(done, Err(RestoreError::Unreachable { known: 10, from: found }) if found == from),
                "{done:?}"
            );
            assert_eq!(pair.image(), images[0], "nothing was written");
            continue;
        }
        assert_eq!(done.unwrap(), Restored { before: 1, leaves: 11, records: 3, lost: 6 });
        let engine = pair.start();
        assert!(engine.read_only().is_none());
        for n in 0..9 {
            let again = small(n).file(&engine, Originator, Action::Abort).await;
            let index = usize::try_from(n).unwrap();
            if n < 6 {
                assert_eq!(again, Err(EngineError::RulingLost { leaf: n + 1 }));
            } else {
                assert_eq!(again.as_ref(), Ok(&receipts[index]));
            }
        }
        engine.stop().await;
        drop(engine);
        pair.clean();
    }
}

/// R-526: a record that is older than its exchange's leaves is as good as none; what stood in it stands no longer, and orders
/// to ledgers are told but not logged twice.
#[tokio::test(flavor = "multi_thread")]
async fn stale_records_decide_nothing() {
    let mut pair = Pair::new();
    let engine = pair.start();
    let early = Exchange::new(Kind::P2, 1);
    let paid = Exchange::new(Kind::P3, 2);
    let too_early = early.file(&engine, Responder, Action::Abort).await;
    assert!(matches!(too_early, Err(EngineError::Refused(Refused::AbortTooEarly { .. }))));
    paid.file(&engine, Originator, Action::Revoke).await.unwrap_err();
    let image = pair.image();
    assert_eq!(engine.standing(None, 9).unwrap().len(), 2, "both wait for their time");
    early.file(&engine, Originator, Action::Abort).await.unwrap();
    let exports = tempfile::tempdir().unwrap();
    export(&engine, exports.path());
    engine.stop().await;
    drop(engine);
    pair.put_back(&image);
    forget_journal(&pair);
    assert_eq!(put_back(&pair, false, exports.path()).unwrap().lost, 1);
    let engine = pair.start();
    assert_eq!(engine.standing(None, 9).unwrap().len(), 1, "only the one that can still be decided");
    let lost = EngineError::RulingLost { leaf: 1 };
    assert_eq!(early.file(&engine, Responder, Action::Abort).await, Err(lost));
    assert_eq!(engine.precheck(&paid.case(Responder, Action::Abort)), Ok(Precheck::Answered));
    let terms =
        arbiter_protocol::message::payment::PaymentTerms::of(paid.agreement.offer(), Originator).unwrap();
    let said = receipt(terms, arbiter_protocol::message::payment::PaymentState::Voided);
    assert_eq!(engine.hear(early.id(), Originator, said.clone()).await, Ok(true), "told is told");
    assert_eq!(engine.hear(paid.id(), Originator, said).await, Ok(false), "there was no order");
    engine.stop().await;
    drop(engine);
    pair.clean();
}

/// R-525: an export that is not this log's, or not whole, or of another history, changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_not_good_changes_nothing() {
    let mut story = Story::new().await;
    story.rewind(5, false);
    let image = story.pair.image();
    let refused = |pair: &Pair, folder: &Path| put_back(pair, false, folder).unwrap_err();
    let absent = refused(&story.pair, &story.exports.path().join("absent"));
    assert!(matches!(absent, RestoreError::Export(ExportError::File { .. })), "{absent}");
    let files = [story.exports.path().join("checkpoint"), story.exports.path().join("tile/entries/000.p/13")];
    let mut random = Random(5);
    for file in &files {
        let good = fs::read(file).unwrap();
        for _ in 0..trials(200) / 2 {
            let mut bad = good.clone();
            let position = random.below(bad.len());
            bad[position] ^= u8::try_from(1 + random.below(255)).unwrap();
            fs::write(file, &bad).unwrap();
            let error = refused(&story.pair, story.exports.path());
            assert!(
                matches!(
                    error,
                    RestoreError::Export(_) | RestoreError::Root { .. } | RestoreError::Differs { .. }
                ),
                "byte {position}: {error}"
            );
        }
        fs::remove_file(file).unwrap();
        assert!(matches!(
            refused(&story.pair, story.exports.path()),
            RestoreError::Export(ExportError::File { .. })
        ));
        fs::write(file, &good).unwrap();
    }
    assert_eq!(story.pair.image(), image, "nothing was written");
    // Another history of the same arbiter.
    let other = Pair::new();
    let engine = other.start();
    for n in 0..20 {
        abort(&engine, &small(500 + n)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    export(&engine, folder.path());
    engine.stop().await;
    let differs = refused(&story.pair, folder.path());
    assert!(matches!(differs, RestoreError::Differs { index: 1, with: "export" }), "{differs}");
    assert_eq!(story.pair.image(), image, "nothing was written");
    put_back(&story.pair, false, story.exports.path()).unwrap();
}

/// R-527, T7: every change of one byte in the export is found; in a tile or an entry with the leaf that it is about.
#[tokio::test(flavor = "multi_thread")]
async fn one_byte_changed_in_the_export_or_the_journal_is_found() {
    let pair = Pair::new();
    let engine = pair.start();
    for n in 0..12 {
        abort(&engine, &small(n)).await;
    }
    let exports = tempfile::tempdir().unwrap();
    export(&engine, exports.path());
    abort(&engine, &small(12)).await;
    engine.stop().await;
    drop(engine);
    let store = MemStore::open(&pair.disk, &arbiter(), keys().vault()).unwrap();
    let check = || fsck::check_export(&store, exports.path(), &arbiter());
    assert_eq!(check().unwrap(), 13);
    let [entries, hashes] = ["tile/entries/000.p/13", "tile/0/000.p/13"].map(|it| exports.path().join(it));
    // From where in the bundle each leaf is.
    let starts: Vec<usize> = (0..13)
        .scan(0, |at, index| {
            let start = *at;
            *at += 2 + store.leaves(index, 1).unwrap()[0].len();
            Some(start)
        })
        .collect();
    let mut random = Random(11);
    for round in 0..trials(300) {
        let file = [&entries, &hashes][usize::try_from(round % 2).unwrap()];
        let good = fs::read(file).unwrap();
        let position = random.below(good.len());
        let mut bad = good.clone();
        bad[position] ^= u8::try_from(1 + random.below(255)).unwrap();
        fs::write(file, &bad).unwrap();
        let fault = check().expect_err("not found");
        let leaf =
            if file == &hashes { position / 32 } else { starts.partition_point(|at| *at <= position) - 1 };
        assert_eq!(fault.index, Some(u64::try_from(leaf).unwrap()), "byte {position}: {fault}");
        fs::write(file, &good).unwrap();
    }
    let checkpoint = exports.path().join("checkpoint");
    let good = fs::read(&checkpoint).unwrap();
    for position in 0..good.len() {
        let mut bad = good.clone();
        bad[position] ^= 1;
        fs::write(&checkpoint, bad).unwrap();
        assert!(check().is_err(), "byte {position}");
    }
    fs::write(&checkpoint, good).unwrap();
    // A tile that belongs to no tree of this log, and one that is cut short.
    let stray = exports.path().join("tile/0/007");
    fs::write(&stray, [0; 8192]).unwrap();
    assert!(matches!(check().unwrap_err().problem, Problem::Tile { .. }));
    fs::remove_file(stray).unwrap();
    fs::write(&hashes, &fs::read(&hashes).unwrap()[..400]).unwrap();
    assert!(check().is_err());

    // The journal: all but the newest two commits, which a crash could have torn.
    let check = || fsck::check_journal(&store, pair.journal.path(), &arbiter(), keys().vault());
    assert_eq!(check().unwrap(), 14);
    let file = &pair.files()[0];
    let good = fs::read(file).unwrap();
    let end = good.len() - good.len() * 2 / 13 - 200;
    for _ in 0..trials(200) {
        let position = random.below(end);
        let mut bad = good.clone();
        bad[position] ^= u8::try_from(1 + random.below(255)).unwrap();
        fs::write(file, &bad).unwrap();
        let fault = check().expect_err("not found");
        assert!(fault.to_string().contains(".journal: byte "), "byte {position}: {fault}");
    }
    fs::write(file, &good).unwrap();
    // The leaf in the store is another than the journal's.
    let key = schema::leaf_key(3);
    let stored = store.entries(Family::Leaves).into_iter().find(|(found, _)| *found == key).unwrap().1;
    let other = schema::protect(Family::Leaves, &key, &store.leaves(4, 1).unwrap()[0]);
    store.replace(Family::Leaves, &key, Some(other));
    let fault = check().unwrap_err();
    assert!(fault.index == Some(3) && matches!(fault.problem, Problem::Beside { .. }), "{fault}");
    store.replace(Family::Leaves, &key, Some(stored));
    // An older store: reported, not repaired.
    let older = Disk::default();
    let empty = MemStore::open(&older, &arbiter(), keys().vault()).unwrap();
    assert!(matches!(
        fsck::check_export(&empty, exports.path(), &arbiter()).unwrap_err().problem,
        Problem::RolledBack { place: "export", known: 13 }
    ));
}

/// R-524, R-523: damage below a running engine is found, its index is named, and only reads go on.
#[tokio::test(flavor = "multi_thread")]
async fn the_scrub_finds_damage_and_names_its_index() {
    type Spoil = fn(&MemStore) -> u64;
    let spoilers: [Spoil; 4] = [
        |_| u64::MAX,
        |store| {
            let key = schema::leaf_key(17);
            let mut value = store.entries(Family::Leaves)[17].1.clone();
            value[40] ^= 1;
            store.replace(Family::Leaves, &key, Some(value));
            17
        },
        |store| {
            let key = schema::node_key(NodeId { level: 2, index: 3 });
            let value = schema::protect(Family::Nodes, &key, &[9; 32]);
            store.replace(Family::Nodes, &key, Some(value));
            15
        },
        |store| {
            // Another leaf, with good check bytes.
            let key = schema::leaf_key(20);
            let other = store.leaves(21, 1).unwrap().remove(0);
            store.replace(Family::Leaves, &key, Some(schema::protect(Family::Leaves, &key, &other)));
            20
        },
    ];
    for spoil in spoilers {
        let disk = Disk::default();
        let store = Arc::new(MemStore::open(&disk, &arbiter(), keys().vault()).unwrap());
        let clock = Box::new(ManualClock::new(UnixMillis(START)));
        let engine = Engine::start(desk(), keys(), store, clock).unwrap();
        for n in 0..25 {
            abort(&engine, &small(n)).await;
        }
        let note = engine.checkpoint().unwrap();
        let index = spoil(&MemStore::open(&disk, &arbiter(), keys().vault()).unwrap());
        let scrub = tokio::spawn(scrub::run(engine.clone(), 1_000));
        if index == u64::MAX {
            while engine.counters().scrubbed < 26 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(engine.read_only().is_none());
            scrub.abort();
        } else {
            let found =
                tokio::time::timeout(Duration::from_secs(20), engine.turned_read_only()).await.unwrap();
            let Why::Damaged { index: named, .. } = &found.why else { panic!("{}", found.why) };
            assert_eq!(*named, index, "{}", found.why);
            assert_eq!(small(99).file(&engine, Originator, Action::Abort).await, Err(EngineError::ReadOnly));
            assert_eq!(engine.checkpoint(), Ok(note));
            scrub.await.unwrap();
        }
        engine.stop().await;
    }
}

/// R-525, R-520: the journal begins anew at what was restored, so that the same store is good from then on.
#[tokio::test(flavor = "multi_thread")]
async fn the_journal_begins_anew_after_a_restore() {
    let mut story = Story::new().await;
    story.rewind(2, true);
    let before = story.pair.files().len();
    put_back(&story.pair, true, story.exports.path()).unwrap();
    assert_eq!(story.pair.files().len(), before + 1);
    // As if it had been cut off between the two: the store has more than the journal knows, and begins with it.
    fs::remove_file(story.pair.files().pop().unwrap()).unwrap();
    let opened: Journaled<MemStore> = story.pair.open().unwrap();
    assert!(opened.fits());
    assert_eq!(opened.head().unwrap().unwrap().size, 14);
}
