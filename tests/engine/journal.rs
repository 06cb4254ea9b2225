//! Store and side journal together: whatever either of them loses, nothing that was answered is lost or changed, and a data
//! folder that is older than what others know is only read.
//!
//! ```text
//!  answered A │ B: store {kept, lost, unheard} × journal {kept, lost, torn, unheard} │ start again: A as it was, B once
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use arbiter::clock::ManualClock;
use arbiter::engine::{
    Ended, Engine, EngineError, Handle, Held, HighWater, Mark, MarkError, StartError, Why,
};
use arbiter::fsck;
use arbiter::high_water::{ExportMark, JournalMark};
use arbiter::store::journal::{self, Bounds, Journaled};
use arbiter::store::mem::{self, Disk, MemStore};
use arbiter::store::raw::Tamper;
use arbiter::store::rocks::RocksStore;
use arbiter::store::schema::{self, Family};
use arbiter::store::{Store, StoreError};
use arbiter_protocol::exchange::selection::Role::{Originator, Responder};
use arbiter_protocol::ids::Digest;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::verdict::Verdict;
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::time::UnixMillis;

use crate::fixture::{Exchange, Kind, START, arbiter, desk, keys, statement};

/// A disk with a store, and a folder with its journal.
pub struct Pair {
    pub disk: Disk,
    pub journal: tempfile::TempDir,
    pub bounds: Bounds,
}

/// What was on a disk.
pub type Image = BTreeMap<Family, Vec<(Vec<u8>, Vec<u8>)>>;

impl Pair {
    pub fn new() -> Self {
        let journal = tempfile::tempdir().unwrap();
        Self { disk: Disk::default(), journal, bounds: Bounds::default() }
    }

    /// With files so small that every commit begins one, and only three of them.
    pub fn forgetful() -> Self {
        Self { bounds: Bounds { file_bytes: 1, keep_bytes: 1 }, ..Self::new() }
    }

    pub fn open(&self) -> Result<Journaled<MemStore>, StoreError> {
        self.disk.crash();
        let store = MemStore::open_unswept(&self.disk, &arbiter(), keys().vault())?;
        Journaled::open_within(store, self.journal.path(), &arbiter(), self.bounds)
    }

    pub fn start(&self) -> Handle {
        self.start_below(&[])
    }

    /// With the journal and these as marks.
    pub fn start_below(&self, more: &[&dyn HighWater]) -> Handle {
        let store = self.open().unwrap();
        let mark = JournalMark::new(self.journal.path(), &store);
        let marks: Vec<&dyn HighWater> =
            std::iter::once::<&dyn HighWater>(&mark).chain(more.iter().copied()).collect();
        let clock = Box::new(ManualClock::new(UnixMillis(START)));
        Engine::start_below(desk(), keys(), std::sync::Arc::new(store), clock, &marks).unwrap()
    }

    pub fn image(&self) -> Image {
        self.disk.crash();
        let store = MemStore::open_unswept(&self.disk, &arbiter(), keys().vault()).unwrap();
        Family::ALL.into_iter().map(|family| (family, store.entries(family))).collect()
    }

    /// Puts an earlier state of the store back.
    pub fn put_back(&mut self, image: &Image) {
        self.disk = Disk::default();
        let store = MemStore::open_unswept(&self.disk, &arbiter(), keys().vault()).unwrap();
        for (family, entries) in image {
            for (key, value) in entries {
                store.replace(*family, key, Some(value.clone()));
            }
        }
    }

    pub fn check(&self) -> fsck::Report {
        self.disk.crash();
        let store = MemStore::open_unswept(&self.disk, &arbiter(), keys().vault()).unwrap();
        fsck::check(&store, &arbiter(), Some(keys().veil()), &mut |_| {})
    }

    pub fn clean(&self) -> fsck::Report {
        let report = self.check();
        assert!(report.fault.is_none(), "{}", report.fault.unwrap());
        report
    }

    /// The files of the journal, in order.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            fs::read_dir(self.journal.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    fn newest(&self) -> PathBuf {
        self.files().pop().unwrap()
    }
}

pub fn small(n: u64) -> Exchange {
    Exchange::with_content(Kind::P1, n, b"contract".to_vec())
}

pub async fn abort(engine: &Handle, exchange: &Exchange) -> Receipt {
    exchange.file(engine, Originator, Action::Abort).await.unwrap()
}

/// R-520, R-505, S32: every combination of what store and journal do with a commit.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_store_and_journal_keep_of_a_commit_answers_stay_and_verdicts_are_one() {
    let stores = [None, Some(mem::Fault::Lost), Some(mem::Fault::Unheard)];
    let journals =
        [None, Some(journal::Fault::Lost), Some(journal::Fault::Torn), Some(journal::Fault::Unheard)];
    let (mut tried, mut carried_out) = (0, 0);
    for in_store in stores {
        for in_journal in journals {
            let pair = Pair::new();
            let (answered, cut) = (Exchange::new(Kind::P2, 1), Exchange::new(Kind::P2, 2));
            let store = std::sync::Arc::new(pair.open().unwrap());
            let clock = Box::new(ManualClock::new(UnixMillis(START)));
            let engine = Engine::start(desk(), keys(), store.clone(), clock).unwrap();
            let attested = answered.file(&engine, Originator, Action::Deposit).await.unwrap();
            let resolved = answered.file(&engine, Originator, Action::Resolve).await.unwrap();
            in_store.into_iter().for_each(|fault| pair.disk.fail_next_commit(fault));
            in_journal.into_iter().for_each(|fault| store.fail_next_commit(fault));
            let filed = cut.file(&engine, Originator, Action::Abort).await;
            let good = in_store.is_none() && in_journal.is_none();
            assert_eq!(filed.is_ok(), good, "{in_store:?} {in_journal:?}");
            if !good {
                assert_eq!(filed, Err(EngineError::Stopped));
                assert_eq!(engine.ended().await, Ended::Failed);
                assert!(
                    store
                        .commit(&arbiter::store::suite::commit(store.head().unwrap().as_ref(), &[]))
                        .is_err()
                );
            }
            engine.stop().await;
            drop((engine, store));

            let engine = pair.start();
            assert!(engine.read_only().is_none());
            assert_eq!(answered.file(&engine, Originator, Action::Deposit).await, Ok(attested));
            assert_eq!(answered.file(&engine, Originator, Action::Resolve).await, Ok(resolved));
            // The other party asks first now, for the opposite of what may have been decided.
            let deposited = cut.file(&engine, Originator, Action::Deposit).await;
            let kept = in_store != Some(mem::Fault::Lost)
                || matches!(in_journal, None | Some(journal::Fault::Unheard));
            assert_eq!(deposited.is_err(), kept, "{in_store:?} {in_journal:?}");
            let verdict = cut.file(&engine, Responder, Action::Query).await;
            if kept {
                let again = abort(&engine, &cut).await;
                assert_eq!(statement::<Verdict>(&again), statement::<Verdict>(&verdict.unwrap()));
                carried_out += usize::from(in_store == Some(mem::Fault::Lost));
            } else {
                assert!(verdict.is_err(), "there is none");
            }
            engine.stop().await;
            drop(engine);
            pair.clean();
            tried += 1;
        }
    }
    assert_eq!((tried, carried_out), (12, 2));
}

/// R-520, R-521: a store that lies about what it keeps: commits and deposits that were answered come back from the journal.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_lost_after_it_was_answered_is_carried_out_again() {
    for lost in 1..=5 {
        let mut pair = Pair::new();
        let engine = pair.start();
        let mut images = Vec::new();
        let goods = Exchange::new(Kind::P2, 1);
        let signed = Exchange::new(Kind::P1Escrow, 2);
        images.push(pair.image());
        abort(&engine, &small(3)).await;
        images.push(pair.image());
        let attested = goods.file(&engine, Originator, Action::Deposit).await.unwrap();
        images.push(pair.image());
        let opened = signed.file(&engine, Originator, Action::Resolve).await.unwrap();
        images.push(pair.image());
        let resolved = goods.file(&engine, Originator, Action::Resolve).await.unwrap();
        images.push(pair.image());
        let last = abort(&engine, &small(4)).await;
        engine.stop().await;
        drop(engine);

        pair.put_back(&images[images.len() - lost]);
        let engine = pair.start();
        assert!(engine.read_only().is_none(), "{lost} lost");
        assert_eq!(engine.log_size(), 6);
        assert_eq!(goods.file(&engine, Originator, Action::Deposit).await, Ok(attested));
        assert_eq!(goods.file(&engine, Originator, Action::Resolve).await, Ok(resolved));
        assert_eq!(signed.file(&engine, Originator, Action::Resolve).await, Ok(opened));
        assert_eq!(abort(&engine, &small(4)).await, last);
        for (exchange, role) in [(&goods, Responder), (&signed, Originator), (&signed, Responder)] {
            let filed = engine.file(exchange.case(role, Action::Fetch), Held::default()).await.unwrap();
            let arbiter::engine::Filed::Content(content) = filed else { panic!("no content") };
            let plain = exchange.unseal(&engine, role, content);
            let expected = exchange.detached(role.peer()).unwrap_or_else(|| exchange.content.clone());
            assert_eq!(plain, expected, "{lost} lost");
        }
        engine.stop().await;
        drop(engine);
        assert_eq!(pair.clean().leaves, 6);
    }
}

/// R-520: a tail that is torn at any byte is dropped, and what the store has of it stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_is_dropped_at_every_byte() {
    let mut pair = Pair::new();
    let engine = pair.start();
    abort(&engine, &small(1)).await;
    let before = pair.image();
    let whole = fs::metadata(pair.newest()).unwrap().len();
    let receipt = abort(&engine, &small(2)).await;
    engine.stop().await;
    drop(engine);
    let (file, after) = (pair.newest(), pair.image());
    let written = fs::read(&file).unwrap();
    let end = u64::try_from(written.len()).unwrap();
    assert!(end > whole + 1000);
    // Every byte if `ARBITER_TRIALS` is set, else some.
    let step = if std::env::var_os("ARBITER_TRIALS").is_some() { 1 } else { 97 };
    for cut in (whole..end).step_by(step).chain([whole, end - 1]) {
        let at = usize::try_from(cut).unwrap();
        let mut zeroed = written.clone();
        zeroed[at..].fill(0);
        for torn in [&written[..at], &zeroed] {
            // The store has it: it stays, and the journal begins anew.
            pair.put_back(&after);
            fs::write(&file, torn).unwrap();
            let engine = pair.start();
            assert!(engine.read_only().is_none());
            assert_eq!(abort(&engine, &small(2)).await, receipt, "cut at {cut}");
            engine.stop().await;
            drop(engine);
            pair.clean();
            assert_eq!(pair.files().len(), 2);
            fs::remove_file(pair.newest()).unwrap();
            // The store has not: it was never answered.
            pair.put_back(&before);
            fs::write(&file, torn).unwrap();
            let engine = pair.start();
            assert_eq!(engine.log_size(), 2);
            engine.stop().await;
            drop(engine);
            assert_eq!(pair.files().len(), 1, "cut back and written on");
            pair.clean();
        }
    }
}

/// R-520: damage that no crash explains is named with file and offset.
#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_journal_is_named() {
    let pair = Pair::new();
    let engine = pair.start();
    let mut ends = vec![0];
    for n in 0..4 {
        ends.push(fs::metadata(pair.newest()).unwrap().len());
        abort(&engine, &small(n)).await;
    }
    engine.stop().await;
    drop(engine);
    let file = pair.newest();
    let written = fs::read(&file).unwrap();
    // The last two commits could be torn; everything before has two commits after it.
    let sure = usize::try_from(ends[3]).unwrap();
    for position in (0..sure).step_by(41) {
        let mut altered = written.clone();
        altered[position] ^= 0x24;
        fs::write(&file, &altered).unwrap();
        let Err(StoreError::Journal { file: named, offset, .. }) = pair.open().map(drop) else {
            panic!("byte {position} is not found")
        };
        let item = ends.iter().rev().find(|end| **end <= u64::try_from(position).unwrap()).unwrap();
        assert_eq!(named, file);
        assert!(offset >= *item && offset <= u64::try_from(position).unwrap(), "byte {position}: {offset}");
    }
    fs::write(&file, &written).unwrap();
    assert!(pair.open().unwrap().fits());
}

/// R-520: files are bounded, old ones go, and the rest still carries out again what it can.
#[tokio::test(flavor = "multi_thread")]
async fn old_files_are_removed_and_the_newest_stay() {
    let mut pair = Pair::forgetful();
    let engine = pair.start();
    let mut images = Vec::new();
    for n in 0..12 {
        images.push(pair.image());
        abort(&engine, &small(n)).await;
    }
    engine.stop().await;
    drop(engine);
    let names: Vec<_> =
        pair.files().iter().map(|it| it.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(names[2], "00000000000000000013.journal");
    let kept: Vec<_> = pair.files().iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect();
    // Three commits are in them.
    for (lost, good) in [(1, true), (3, true), (4, false)] {
        pair.put_back(&images[images.len() - lost]);
        pair.files().iter().for_each(|file| fs::remove_file(file).unwrap());
        kept.iter().for_each(|(file, bytes)| fs::write(file, bytes).unwrap());
        let engine = pair.start();
        assert_eq!(engine.read_only().is_none(), good, "{lost} lost");
        engine.stop().await;
        drop(engine);
        if good {
            assert_eq!(pair.clean().leaves, 13);
        }
    }
    // A file in the middle that is gone.
    fs::remove_file(&pair.files()[1]).unwrap();
    assert!(matches!(pair.open().map(drop), Err(StoreError::Journal { .. })));
}

/// R-520: a journal that is missing or was away is begun anew; one of another arbiter is left alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_away_is_begun_anew() {
    let pair = Pair::new();
    let engine = pair.start();
    abort(&engine, &small(1)).await;
    engine.stop().await;
    drop(engine);
    let kept = fs::read(pair.newest()).unwrap();
    let file = pair.newest();
    // Away for a few commits, then back.
    fs::remove_file(&file).unwrap();
    for n in 2..5 {
        let engine = pair.start();
        assert!(engine.read_only().is_none());
        abort(&engine, &small(n)).await;
        engine.stop().await;
    }
    pair.files().iter().for_each(|file| fs::remove_file(file).unwrap());
    fs::write(&file, &kept).unwrap();
    let engine = pair.start();
    assert!(engine.read_only().is_none(), "older than the store, and its beginning");
    abort(&engine, &small(5)).await;
    engine.stop().await;
    drop(engine);
    assert_eq!(pair.files().len(), 2);
    assert_eq!(pair.clean().leaves, 6);

    let other =
        keys().identity(arbiter_protocol::evidence::checkpoint::Origin::parse("other.test/log").unwrap());
    let before: Vec<_> = pair.files().iter().map(|file| fs::read(file).unwrap()).collect();
    let opened = Journaled::open(MemStore::new(&other, keys().vault()).unwrap(), pair.journal.path(), &other);
    assert!(matches!(opened.map(drop), Err(StoreError::OtherArbiter { .. })));
    let after: Vec<_> = pair.files().iter().map(|file| fs::read(file).unwrap()).collect();
    assert_eq!(before, after);
}

/// A mark in memory.
struct Said(Result<Option<Mark>, MarkError>);

impl HighWater for Said {
    fn name(&self) -> String {
        String::from("the test")
    }

    fn newest(&self) -> Result<Option<Mark>, MarkError> {
        self.0.clone()
    }
}

fn export(folder: &Path, note: &str) -> ExportMark {
    fs::write(folder.join("checkpoint"), note).unwrap();
    ExportMark::new(folder, &arbiter())
}

/// Nothing is decided or signed, and reads go on.
async fn only_reads(engine: &Handle, known: &Exchange, leaves: u64, note: Option<&String>) {
    let refused = Err(EngineError::ReadOnly);
    for action in [Action::Abort, Action::Resolve, Action::Query] {
        assert_eq!(known.file(engine, Originator, action).await, refused);
    }
    let new = Exchange::new(Kind::P2, 99);
    assert_eq!(new.file(engine, Originator, Action::Deposit).await, refused);
    assert_eq!(engine.new_content_id(1, u64::MAX), Err(EngineError::ReadOnly));
    assert_eq!(engine.checkpoint().as_ref().ok(), note);
    assert_eq!(engine.log_size(), leaves);
    assert_eq!(engine.entries(0, 100).unwrap().len(), usize::try_from(leaves).unwrap());
    assert!(engine.inclusion_proof(0, leaves).is_ok());
    assert!(engine.counters().refused_read_only >= 5);
    assert_eq!(engine.counters().commits, 0, "not even the first commit was made");
}

/// R-522, R-523, T5: an old copy of the store is refused whenever journal or export is there, always; and nothing is
/// written.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_the_store_is_only_read() {
    let mut pair = Pair::forgetful();
    let exports = tempfile::tempdir().unwrap();
    let engine = pair.start();
    let (mut images, mut notes) = (Vec::new(), Vec::new());
    for n in 0..8 {
        images.push(pair.image());
        notes.push(engine.checkpoint().unwrap());
        abort(&engine, &small(n)).await;
    }
    let newest = engine.checkpoint().unwrap();
    engine.stop().await;
    drop(engine);
    let journal: Vec<_> = pair.files().iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect();
    for (n, image) in images.iter().enumerate() {
        let leaves = u64::try_from(n).unwrap() + 1;
        // Without the journal: the export alone tells.
        pair.put_back(image);
        pair.files().iter().for_each(|file| fs::remove_file(file).unwrap());
        let mark = export(exports.path(), &newest);
        let engine = pair.start_below(&[&mark]);
        let Why::RolledBack { known, size, .. } = engine.read_only().unwrap().why else {
            panic!("no rollback")
        };
        assert_eq!((known, size), (9, leaves));
        only_reads(&engine, &small(0), leaves, Some(&newest)).await;
        assert_eq!(engine.stop().await, Ended::Stopped);
        drop(engine);
        // Without the export: the journal alone tells, but for what it can carry out again.
        pair.put_back(image);
        pair.files().iter().for_each(|file| fs::remove_file(file).unwrap());
        journal.iter().for_each(|(file, bytes)| fs::write(file, bytes).unwrap());
        let engine = pair.start();
        if leaves < 6 {
            assert!(matches!(engine.read_only().unwrap().why, Why::RolledBack { known: 9, .. }), "{leaves}");
            only_reads(&engine, &small(0), leaves, None).await;
            engine.stop().await;
            drop(engine);
            assert_eq!(pair.image(), *image, "nothing was written");
        } else {
            assert!(engine.read_only().is_none());
            assert_eq!(engine.log_size(), 9);
            engine.stop().await;
        }
    }
    // A mark that is older, or the same, is good.
    let engine = pair.start_below(&[&export(exports.path(), &notes[3])]);
    assert!(engine.read_only().is_none());
    engine.stop().await;
}

/// R-522: another history is told apart from an older one; marks that cannot be used refuse the start, those away do not.
#[tokio::test(flavor = "multi_thread")]
async fn a_fork_and_marks_that_are_no_use() {
    let pair = Pair::new();
    let engine = pair.start();
    for n in 0..3 {
        abort(&engine, &small(n)).await;
    }
    engine.stop().await;
    drop(engine);
    let mark = |size, root, commits| Said(Ok(Some(Mark { size, root: Some(root), commits, note: None })));
    for size in 1..=4 {
        let engine = pair.start_below(&[&mark(size, Digest::of(&[b"another"]), None)]);
        assert!(matches!(engine.read_only().unwrap().why, Why::Forked { size: found, .. } if found == size));
        engine.stop().await;
    }
    let root = Digest::of(&[]);
    let engine = pair.start_below(&[&mark(0, root, Some(1000))]);
    assert!(
        matches!(engine.read_only().unwrap().why, Why::RolledBack { .. }),
        "commits without leaves count"
    );
    engine.stop().await;
    drop(engine);
    let engine = pair.start_below(&[
        &Said(Err(MarkError::Away("asleep".into()))),
        &Said(Ok(None)),
        &mark(0, root, None),
    ]);
    assert!(engine.read_only().is_none());
    engine.stop().await;
    drop(engine);
    // A witness may know the size alone.
    let sized = |size| Said(Ok(Some(Mark { size, root: None, commits: None, note: None })));
    for (size, good) in [(4, true), (5, false)] {
        let engine = pair.start_below(&[&sized(size)]);
        assert_eq!(engine.read_only().is_none(), good);
        engine.stop().await;
    }
    // Of several, the note of the largest tree is shown; of two of one size the first.
    let noted = |size, note: &str| {
        Said(Ok(Some(Mark { size, root: None, commits: None, note: Some(String::from(note)) })))
    };
    let (five, nine, again) = (noted(5, "five"), noted(9, "nine"), noted(9, "nine again"));
    for marks in [[&five, &nine, &again], [&nine, &five, &again], [&nine, &again, &five]] {
        let engine = pair.start_below(&marks.map(|it| -> &dyn HighWater { it }));
        assert_eq!(engine.checkpoint().as_deref(), Ok("nine"));
        engine.stop().await;
    }
    // An export of another log, and one that is no note.
    let exports = tempfile::tempdir().unwrap();
    let started = |mark: &dyn HighWater| {
        let clock = Box::new(ManualClock::new(UnixMillis(START)));
        let store = std::sync::Arc::new(MemStore::new(&arbiter(), keys().vault()).unwrap());
        Engine::start_below(desk(), keys(), store, clock, &[mark]).map(drop)
    };
    let note = "arbiter.example/evidence\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n\n\
        — arbiter.example/evidence +hP8Z08IZCZHcG5nh8PbtoazduHT7GYpOVmPTA8ZFDkZganfg95FMEMXObo3Tgp8TSILSvEEhwcRn1rlwEHvlNZXQQw=\n";
    for bad in [note, "", "hello"] {
        let refused = started(&export(exports.path(), bad));
        assert!(matches!(refused, Err(StartError::Mark { .. })), "{bad:?}");
    }
    fs::remove_file(exports.path().join("checkpoint")).unwrap();
    assert!(started(&ExportMark::new(exports.path(), &arbiter())).is_ok(), "nothing was exported yet");
    assert!(started(&ExportMark::new(&exports.path().join("absent"), &arbiter())).is_ok(), "a warning");
}

/// R-523: an engine that is running turns to reads only, shows the newest signed note, and stays so.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_engine_turns_to_reads_only() {
    let pair = Pair::new();
    let engine = pair.start();
    let receipt = abort(&engine, &small(1)).await;
    let why = Why::Damaged { index: 1, problem: String::from("a test says so") };
    engine.turn_read_only(why.clone());
    assert_eq!(engine.turned_read_only().await.why, why);
    assert_eq!(engine.checkpoint(), Ok(receipt.checkpoint));
    assert_eq!(small(1).file(&engine, Originator, Action::Abort).await, Err(EngineError::ReadOnly));
    assert_eq!(small(2).file(&engine, Originator, Action::Abort).await, Err(EngineError::ReadOnly));
    assert_eq!(engine.log_size(), 2);
    engine.turn_read_only(Why::Damaged { index: 0, problem: String::from("later") });
    assert_eq!(engine.read_only().unwrap().why, why, "the first reason stays");
    assert_eq!(engine.stop().await, Ended::Stopped);
    drop(engine);
    pair.clean();
}

/// R-520: the same over RocksDB: a data folder that is put back is brought up to date by the journal.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_a_data_folder_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let (data, copy, side) =
        (folder.path().join("data"), folder.path().join("copy"), folder.path().join("journal"));
    let start = || {
        let store = RocksStore::open_unswept(&data, &arbiter(), keys().vault()).unwrap();
        let store = Journaled::open(store, &side, &arbiter()).unwrap();
        let clock = Box::new(ManualClock::new(UnixMillis(START)));
        Engine::start(desk(), keys(), std::sync::Arc::new(store), clock).unwrap()
    };
    let engine = start();
    abort(&engine, &small(1)).await;
    engine.stop().await;
    drop(engine);
    copy_folder(&data, &copy);
    let engine = start();
    let goods = Exchange::new(Kind::P2, 2);
    let attested = goods.file(&engine, Originator, Action::Deposit).await.unwrap();
    let receipts = [abort(&engine, &small(3)).await, abort(&engine, &small(4)).await];
    engine.stop().await;
    drop(engine);
    fs::remove_dir_all(&data).unwrap();
    copy_folder(&copy, &data);
    let engine = start();
    assert_eq!([abort(&engine, &small(3)).await, abort(&engine, &small(4)).await], receipts);
    assert_eq!(goods.file(&engine, Originator, Action::Deposit).await, Ok(attested));
    engine.stop().await;
    drop(engine);
    // The data folder is gone altogether: the journal, which begins with the log, makes it again.
    fs::remove_dir_all(&data).unwrap();
    let engine = start();
    assert_eq!([abort(&engine, &small(3)).await, abort(&engine, &small(4)).await], receipts);
    engine.stop().await;
    drop(engine);
    let store = RocksStore::open(&data, &arbiter(), keys().vault()).unwrap();
    let report = fsck::check(&store, &arbiter(), Some(keys().veil()), &mut |_| {});
    assert!(report.fault.is_none(), "{}", report.fault.unwrap());
    assert_eq!(store.entries(Family::Meta).iter().filter(|(key, _)| key == schema::HEAD_KEY).count(), 1);
}

pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_name() != "LOCK" {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
