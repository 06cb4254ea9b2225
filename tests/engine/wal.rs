//! RocksDB's write-ahead log cut off anywhere: with the journal nothing that was answered is lost; without it only a mark
//! from outside tells.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arbiter::clock::ManualClock;
use arbiter::engine::{Engine, Handle, HighWater, Why};
use arbiter::fsck;
use arbiter::high_water::ExportMark;
use arbiter::store::Store;
use arbiter::store::journal::Journaled;
use arbiter::store::rocks::RocksStore;
use arbiter_protocol::exchange::selection::Role::Originator;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::time::UnixMillis;

use crate::damage::trials;
use crate::fixture::{Exchange, Kind, START, arbiter, desk, keys};
use crate::journal::{abort, copy_folder, small};

fn engine(store: Arc<dyn Store>, marks: &[&dyn HighWater]) -> Handle {
    let clock = Box::new(ManualClock::new(UnixMillis(START)));
    Engine::start_below(desk(), keys(), store, clock, marks).unwrap()
}

fn journaled(folder: &Path) -> Arc<dyn Store> {
    let store = RocksStore::open_unswept(&folder.join("data"), &arbiter(), keys().vault()).unwrap();
    Arc::new(Journaled::open(store, &folder.join("journal"), &arbiter()).unwrap())
}

/// The log that is written to.
fn newest_log(data: &Path) -> PathBuf {
    let logs = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    logs.filter(|path| path.extension().is_some_and(|it| it == "log")).max().unwrap()
}

/// A fresh copy whose log is cut off after so many bytes.
fn cut(template: &Path, folder: &Path, bytes: u64) {
    let _ = fs::remove_dir_all(folder);
    copy_folder(&template.join("data"), &folder.join("data"));
    copy_folder(&template.join("journal"), &folder.join("journal"));
    let log = newest_log(&folder.join("data"));
    fs::OpenOptions::new().write(true).open(log).unwrap().set_len(bytes).unwrap();
}

/// T4: the last 64 KiB, byte by byte if `ARBITER_TRIALS` asks for so many, else some of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_cut_off_anywhere_loses_nothing_that_was_answered() {
    let place = tempfile::tempdir().unwrap();
    let (template, folder) = (place.path().join("template"), place.path().join("cut"));
    fs::create_dir_all(&template).unwrap();
    let running = engine(journaled(&template), &[]);
    let goods = Exchange::with_content(Kind::P2, 50, vec![7; 9_000]);
    let mut receipts: Vec<Receipt> = Vec::new();
    for n in 0..6 {
        receipts.push(abort(&running, &small(n)).await);
    }
    let attested = goods.file(&running, Originator, Action::Deposit).await.unwrap();
    for n in 6..9 {
        receipts.push(abort(&running, &small(n)).await);
    }
    let exports = place.path().join("export");
    fs::create_dir_all(&exports).unwrap();
    fs::write(exports.join("checkpoint"), running.checkpoint().unwrap()).unwrap();
    running.stop().await;
    drop(running);
    let whole = fs::metadata(newest_log(&template.join("data"))).unwrap().len();
    assert!(whole > 20_000, "the log holds what was written: {whole} bytes");

    let reach = whole.min(64 * 1024);
    let step = (reach / trials(24)).max(1);
    let (mut lost, mut all) = (0, 0);
    for from_end in (1..=reach).step_by(usize::try_from(step).unwrap()).chain([1, 2, 7]) {
        // With the journal: everything is there, as it was.
        cut(&template, &folder, whole - from_end);
        let running = engine(journaled(&folder), &[]);
        assert!(running.read_only().is_none());
        for (n, before) in (0..).zip(&receipts) {
            assert_eq!(abort(&running, &small(n)).await, *before, "{from_end} bytes cut off");
        }
        assert_eq!(goods.file(&running, Originator, Action::Deposit).await.as_ref(), Ok(&attested));
        running.stop().await;
        drop(running);
        let store = RocksStore::open_existing(&folder.join("data"), &arbiter(), keys().vault()).unwrap();
        let report = fsck::check(&store, &arbiter(), Some(keys().veil()), &mut |_| {});
        assert!(report.fault.is_none() && report.leaves == 11, "{from_end}: {:?}", report.fault);
        drop(store);
        // Without it: a shorter log that fits together, and only the mark knows better.
        cut(&template, &folder, whole - from_end);
        let store = RocksStore::open(&folder.join("data"), &arbiter(), keys().vault()).unwrap();
        let had = store.head().unwrap().map_or(0, |head| head.size);
        let running = engine(Arc::new(store), &[&ExportMark::new(&exports, &arbiter())]);
        match running.read_only() {
            Some(read_only) => {
                let Why::RolledBack { known: 11, size, .. } = read_only.why else {
                    panic!("{}", read_only.why)
                };
                assert_eq!(size, had);
                lost += 1;
            }
            None => assert_eq!(running.log_size(), 11),
        }
        running.stop().await;
        all += 1;
    }
    assert!(lost > all / 2, "cutting takes rulings away: {lost} of {all}");
}
