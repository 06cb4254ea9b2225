//! what an export writes, and what it refuses.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arbiter::publish::export::{ExportError, Folder};
use arbiter::publish::walk::WalkError;
use arbiter_protocol::evidence::checkpoint::{Checkpoint, SignedCheckpoint};
use arbiter_protocol::evidence::tile::{TileKind, TilePath, grown};
use arbiter_protocol::ids::Digest;

use crate::decimal::{Log, ROOTS, files, read_back};

fn open(folder: &Path, log: &Log) -> Folder {
    Folder::open(folder, &log.key()).unwrap()
}

fn export(folder: &Path, log: &mut Log, to: &SignedCheckpoint) -> Result<(), ExportError> {
    open(folder, log).export(to, log, &mut |_| {})
}

fn sha256(bytes: &[u8]) -> String {
    Digest::of(&[bytes]).to_string()
}

/// each size at once, and all of them one after the other: an independent reader finds in both exactly what it computes.
#[test]
fn every_size_is_what_an_independent_reader_expects() {
    let (mut log, grown_folder) = (Log::new(), tempfile::tempdir().unwrap());
    for (size, root) in ROOTS.into_iter().chain([(511, ""), (512, "")]).collect::<BTreeSet<_>>() {
        let checkpoint = log.grow(size);
        assert!(root.is_empty() || checkpoint.checkpoint().root.to_string() == root, "{size}");
        let at_once = tempfile::tempdir().unwrap();
        export(at_once.path(), &mut log, &checkpoint).unwrap();
        let expected: BTreeSet<_> = grown(0, size).map(|path| path.to_string()).collect();
        let mut there: BTreeSet<_> = files(at_once.path()).into_keys().collect();
        assert!(there.remove("checkpoint"));
        assert_eq!(there, expected, "{size}");
        export(grown_folder.path(), &mut log, &checkpoint).unwrap();
        for folder in [at_once.path(), grown_folder.path()] {
            let Some(read) = read_back(folder) else { continue };
            assert_eq!((read.0, read.1), (size, checkpoint.checkpoint().root.to_string()));
        }
    }
    // The shared vectors of the tree of 70,000.
    let files = files(grown_folder.path());
    let of = |path: &str| &files[path];
    for (path, digest) in [
        ("tile/1/000", "ea7b038bc73489c89c31a27ac355aaca65a4ed73f0dd7484e68deb29d30f10a2"),
        ("tile/0/000", "b9704a8bfbee2c61185ceb38904a49f3f703c81e194b5b2ccdc254c2bdaaa62b"),
        ("tile/entries/000", "94693d5c6d6a0355ec07bac8214516c1ce6a5100b0588f226fd95f26571157d7"),
        ("tile/entries/273.p/112", "36c3ec44895d1b8098dbe8523078d6750bf09e0f12cd64671ebfe165b7647405"),
    ] {
        assert_eq!(sha256(of(path)), digest, "{path}");
    }
    assert_eq!(hex::encode(of("tile/2/000.p/1")), ROOTS[7].1);
    // Partial tiles go when the full one is there, and stay until then.
    let partial = |path: &str| files.keys().any(|it| it.starts_with(path));
    assert!(!partial("tile/0/000.p") && !partial("tile/entries/255.p") && !partial("tile/1/000.p"));
    assert!(partial("tile/2/000.p/1") && partial("tile/1/001.p/17"));
}

/// T8: a million leaves, read back by the Python reader, which computes every tile, and by `tlog_tiles`, which follows every leaf to
/// the signed root.
#[test]
#[ignore = "takes minutes"]
fn a_million_leaves_are_read_by_programs_of_others() {
    let (mut log, folder) = (Log::new(), tempfile::tempdir().unwrap());
    let mut checkpoint = log.grow(65_536);
    for size in (100_000..=1_000_000).step_by(100_000) {
        checkpoint = log.grow(size);
    }
    export(folder.path(), &mut log, &checkpoint).unwrap();
    let (size, root) = (checkpoint.checkpoint().size, checkpoint.checkpoint().root);
    let read = read_back(folder.path()).expect("python3");
    assert_eq!((read.0, read.1), (size, root.to_string()));
    let files = Files(folder.path());
    let tree = tlog_tiles::TileHashReader::new(size, tlog_tiles::Hash(*root.as_bytes()), &files);
    for bundle in 0..size.div_ceil(256) {
        let path = TilePath::at(TileKind::Entries, bundle, size).unwrap();
        let bytes = fs::read(folder.path().join(path.to_string())).unwrap();
        let (mut rest, mut theirs, mut indexes) = (bytes.as_slice(), Vec::new(), Vec::new());
        for index in bundle * 256..size.min((bundle + 1) * 256) {
            let (length, leaf) = rest.split_at(2);
            let (leaf, after) = leaf.split_at(usize::from(u16::from_be_bytes(length.try_into().unwrap())));
            assert_eq!(leaf, index.to_string().as_bytes());
            theirs.push(tlog_tiles::record_hash(leaf));
            indexes.push(tlog_tiles::stored_hash_index(0, index));
            rest = after;
        }
        assert!(rest.is_empty());
        assert!(files.proven(&tree, bundle, &indexes).unwrap() == theirs, "bundle {bundle}");
    }
    // And it sees what is wrong.
    let tile = folder.path().join("tile/0/x001/234");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[100] ^= 1;
    fs::write(&tile, bytes).unwrap();
    let altered = [tlog_tiles::stored_hash_index(0, 1234 * 256 + 3)];
    assert!(files.proven(&tree, 1234, &altered).is_err());
}

/// The tiles of a folder, as `tlog_tiles` asks for them.
struct Files<'a>(&'a Path);

impl Files<'_> {
    /// Hashes of leaves of a bundle, followed to the root. `tlog_tiles` 0.2 does not check the first tiles that it reads beside the right
    /// edge, as many as the tree has subtrees beyond those at the edge: so tiles from elsewhere are asked for before.
    fn proven(
        &self,
        tree: &tlog_tiles::TileHashReader<'_>,
        bundle: u64,
        indexes: &[u64],
    ) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        let elsewhere = u64::from(bundle < 256) * 65_536;
        let before = (0..16).map(|n| tlog_tiles::stored_hash_index(0, elsewhere + n * 256));
        let all: Vec<_> = before.chain(indexes.iter().copied()).collect();
        Ok(tlog_tiles::HashReader::read_hashes(tree, &all)?.split_off(16))
    }
}

impl tlog_tiles::TileReader for Files<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |tile: &tlog_tiles::Tile| {
            let width = u16::try_from(tile.width()).unwrap();
            let path = TilePath::new(TileKind::Hashes(tile.level()), tile.level_index(), width).unwrap();
            fs::read(self.0.join(path.to_string())).unwrap()
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

/// killed before any change of a file, of all that there are in the first three exports: run again, the folder is the same.
#[test]
fn cut_off_anywhere_it_ends_the_same() {
    let mut log = Log::new();
    // Each size has another right edge.
    let checkpoints = [5, 260, 600].map(|size| log.grow(size));
    let steps = Arc::new(AtomicUsize::new(0));
    // The number of steps that are allowed; after them every change fails, as when the process is gone.
    let run = |folder: &Path, log: &mut Log, allowed: usize| -> Result<(), ExportError> {
        steps.store(0, Ordering::SeqCst);
        for checkpoint in &checkpoints {
            let steps = Arc::clone(&steps);
            let step = move || match steps.fetch_add(1, Ordering::SeqCst) < allowed {
                true => Ok(()),
                false => Err(io::Error::other("killed")),
            };
            let mut folder = open(folder, log).with_step(Box::new(step));
            let done =
                folder.checkpoint().is_some_and(|it| it.checkpoint().size > checkpoint.checkpoint().size);
            if !done {
                folder.export(checkpoint, log, &mut |_| {})?;
            }
        }
        Ok(())
    };
    let good = tempfile::tempdir().unwrap();
    run(good.path(), &mut log, usize::MAX).unwrap();
    let (all, expected) = (steps.load(Ordering::SeqCst), files(good.path()));
    assert!(all > 50, "{all}");
    for allowed in 0..all {
        let folder = tempfile::tempdir().unwrap();
        let cut = run(folder.path(), &mut log, allowed);
        assert!(matches!(cut, Err(ExportError::Io { .. })), "{allowed}");
        // What the checkpoint covers is whole at every moment.
        if folder.path().join("checkpoint").exists() {
            read_whole(folder.path(), &log);
        }
        run(folder.path(), &mut log, usize::MAX).unwrap();
        assert_eq!(files(folder.path()), expected, "cut off before change {allowed}");
    }
}

/// Everything that the checkpoint of a folder covers is there: whoever reads may ask for the full tile instead.
fn read_whole(folder: &Path, log: &Log) {
    let size = open(folder, log).checkpoint().unwrap().checkpoint().size;
    for path in grown(0, size) {
        let is = |name: String| folder.join(name).exists();
        assert!(is(path.to_string()) || is(path.full().to_string()), "{path} at {size}");
    }
}

///
#[test]
fn what_is_there_is_never_written_again() {
    let mut log = Log::new();
    let (first, second) = (log.grow(300), log.grow(600));
    for path in grown(300, 600) {
        let folder = tempfile::tempdir().unwrap();
        export(folder.path(), &mut log, &first).unwrap();
        let altered = folder.path().join(path.to_string());
        fs::create_dir_all(altered.parent().unwrap()).unwrap();
        fs::write(&altered, b"something else").unwrap();
        let refused = export(folder.path(), &mut log, &second).unwrap_err();
        assert!(matches!(&refused, ExportError::Differs { path } if *path == altered), "{path}: {refused}");
        assert!(refused.to_string().contains("ALARM"), "{refused}");
        assert_eq!(fs::read(&altered).unwrap(), b"something else");
        assert_eq!(open(folder.path(), &log).checkpoint().unwrap(), &first);
    }
}

/// an export is the high-water mark of its log.
#[test]
fn a_log_that_went_back_or_rewrote_its_history_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::new();
    let (early, newest) = (log.grow(300), log.grow(600));
    export(folder.path(), &mut log, &newest).unwrap();
    let before = files(folder.path());
    let refused = export(folder.path(), &mut log, &early).unwrap_err();
    assert!(matches!(refused, ExportError::Ahead { exported: 600, size: 300, .. }), "{refused}");
    assert_eq!(files(folder.path()), before);
    for (other_from, size) in [(0, 600), (599, 600), (599, 601), (0, 700), (256, 70_000), (511, 612)] {
        let mut other = Log::that_differs_from(other_from);
        let rewritten = other.grow(size);
        let refused = export(folder.path(), &mut other, &rewritten).unwrap_err();
        assert!(matches!(refused, ExportError::Forked { exported: 600, .. }), "{other_from}: {refused}");
        let mut after = files(folder.path());
        let kept = after.remove("contradicting-checkpoint").unwrap();
        assert_eq!(String::from_utf8(kept).unwrap(), rewritten.note().to_string());
        assert_eq!(after, before);
    }
    let other = Log::new();
    let key = arbiter_protocol::evidence::note::VerifierKey::new(
        "other.example/log",
        other.key().public_key().unwrap(),
    );
    let refused = Folder::open(folder.path(), &key.unwrap()).err().unwrap();
    assert!(matches!(refused, ExportError::OtherLog { .. }), "{refused}");
}

/// a source that lies about any tile: the tile is named, and what was written is right.
#[test]
fn what_the_checkpoint_does_not_commit_to_is_not_written() {
    let mut log = Log::new();
    let (first, second) = (log.grow(200), log.grow(3_000));
    let good = tempfile::tempdir().unwrap();
    export(good.path(), &mut log, &second).unwrap();
    let good = files(good.path());
    let start = tempfile::tempdir().unwrap();
    export(start.path(), &mut log, &first).unwrap();
    let paths: Vec<_> = grown(200, 3_000).collect();
    let mut tried = 0;
    for path in &paths {
        let folder = tempfile::tempdir().unwrap();
        export(folder.path(), &mut log, &first).unwrap();
        log.falsified = Some((*path, usize::try_from(path.index()).unwrap() * 31 + 7));
        let refused = export(folder.path(), &mut log, &second).unwrap_err();
        log.falsified = None;
        match refused {
            ExportError::Walk(WalkError::Tile { path: named, .. }) => assert_eq!(named, *path),
            ExportError::Walk(WalkError::Root { size: 3_000 }) => assert!(!path.is_full(), "{path}"),
            other => panic!("{path}: {other}"),
        }
        assert_eq!(open(folder.path(), &log).checkpoint().unwrap(), &first);
        for (name, bytes) in files(folder.path()) {
            let kept = name == "checkpoint" || name.contains(".p/");
            assert!(kept || good[&name] == bytes, "{name} was written and is wrong");
        }
        // What was written is taken up, and not asked for again.
        log.asked.clear();
        export(folder.path(), &mut log, &second).unwrap();
        let again: Vec<_> = log.asked.iter().filter(|asked| asked.is_full()).collect();
        assert!(again.len() < paths.len(), "{} asked again", again.len());
        tried += 1;
    }
    assert_eq!(tried, 12 + 12 + 1);
}

/// A checkpoint that the tiles do not give, signed or not.
#[test]
fn a_root_that_the_tiles_do_not_give_is_refused() {
    let mut log = Log::new();
    let newest = log.grow(300).checkpoint().clone();
    let folder = tempfile::tempdir().unwrap();
    let false_root = log.sign(Checkpoint { root: Digest::of(&[b"x"]), ..newest });
    let refused = export(folder.path(), &mut log, &false_root).unwrap_err();
    assert!(matches!(refused, ExportError::Walk(WalkError::Root { size: 300 })), "{refused}");
    assert!(files(folder.path()).is_empty());
}
