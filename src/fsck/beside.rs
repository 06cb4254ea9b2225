//! What lies beside the store: the side journal, a static export and time-stamps, every byte compared with the store (R-527).
//!
//! ```text
//!  journal ─▶ form, checksums, order ─▶ each leaf is the store's ─▶ the store goes on from it
//!  export ──▶ checkpoint of ours ─▶ every tile that must be there, and every other that is ─▶ the store's leaves and nodes
//!  anchors ─▶ the token that its name says, over a checkpoint of ours ─▶ a tree of the store
//! ```
//!
//! Invariants: nothing is written; the fault names the first leaf that differs, where it is about a leaf.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arbiter_protocol::evidence::leaf::{Event, Leaf};
use arbiter_protocol::evidence::merkle::{Frontier, NodeId};
use arbiter_protocol::evidence::tile::{self, TileKind, TilePath};
use arbiter_protocol::message::agreement::ArbiterIdentity;

use super::{Fault, Problem};
use crate::anchors::Anchors;
use crate::export_folder::{ExportError, ExportFolder};
use crate::keys::vault::Vault;
use crate::store::journal::Remains;
use crate::store::{By, Store, StoreError};

fn fault(index: Option<u64>, problem: Problem) -> Fault {
    Fault { index, exchange: None, problem }
}

/// Checks the journal in `folder`: the first fault, else how many commits it has.
pub fn check_journal(
    store: &dyn Store,
    folder: &Path,
    arbiter: &ArbiterIdentity,
    vault: &Arc<Vault>,
) -> Result<u64, Fault> {
    let failed = |error: StoreError| fault(None, error.into());
    let journal = Remains::read(folder, arbiter, vault).map_err(failed)?;
    let size = store.head().map_err(failed)?.map_or(0, |head| head.size);
    let mut commits = 0u64;
    for commit in journal.commits() {
        let commit = commit.map_err(failed)?;
        let first = commit.expected.as_ref().map_or(0, |head| head.size);
        for (index, leaf) in (first..size).zip(&commit.leaves) {
            let ours = store.leaves(index, 1).map_err(|error| fault(Some(index), error.into()))?;
            if ours.first() != Some(leaf) {
                return Err(fault(Some(index), Problem::Beside { place: "journal" }));
            }
        }
        commits = commits.saturating_add(1);
    }
    if journal.fits(store).map_err(failed)? {
        return Ok(commits);
    }
    let known = journal.head().map_or(0, |head| head.size);
    Err(fault(None, Problem::RolledBack { place: "journal", known }))
}

/// Checks the export in `folder`: the first fault, else how many leaves it has.
pub fn check_export(store: &dyn Store, folder: &Path, arbiter: &ArbiterIdentity) -> Result<u64, Fault> {
    let failed = |error: ExportError| fault(None, error.into());
    let export = ExportFolder::open(folder, arbiter).map_err(failed)?;
    let size = store.head().map_err(|error| fault(None, error.into()))?.map_or(0, |head| head.size);
    let covered = export.checkpoint().size;
    if covered > size {
        return Err(fault(None, Problem::RolledBack { place: "export", known: covered }));
    }
    let mut first: Option<Fault> = None;
    let mut keep = |found: Fault| {
        let place = |fault: &Fault| fault.index.unwrap_or(u64::MAX);
        if first.as_ref().is_none_or(|known| place(&found) < place(known)) {
            first = Some(found);
        }
    };
    let mut paths: BTreeSet<TilePath> = tile::grown(0, covered).collect();
    paths.extend(present(folder).map_err(|(path, source)| failed(ExportError::File { path, source }))?);
    for path in paths {
        let checked = match export.tile(path) {
            // What was published before the newest checkpoint; nobody needs it any more, and it is not of this tree.
            Ok(_) if !path.is_within(covered) => Err(fault(None, Problem::Tile { file: path.to_string() })),
            Ok(bytes) => compare(store, path, &bytes),
            Err(error) => Err(fault(Some(path.nodes().start), error.into())),
        };
        checked.unwrap_or_else(&mut keep);
    }
    let root = Frontier::from_nodes(covered, |node| store.required_node(node));
    match root.map(|frontier| frontier.root()) {
        Ok(root) if root == export.checkpoint().root => {}
        Ok(_) => keep(fault(None, Problem::Head { what: "a root, in the export's checkpoint," })),
        Err(error) => keep(fault(None, error.into())),
    }
    first.map_or(Ok(covered), Err)
}

/// Checks the time-stamps in `folder`: the first fault, else how many there are, and how many are gone that leaves name (R-546).
pub fn check_anchors(
    store: &dyn Store,
    folder: &Path,
    arbiter: &ArbiterIdentity,
) -> Result<(usize, usize), Fault> {
    let failed = |index| move |error: StoreError| fault(index, error.into());
    let size = store.head().map_err(failed(None))?.map_or(0, |head| head.size);
    let mut named = BTreeMap::new();
    for index in store.indexed(By::Event(Event::Anchor), 0, usize::MAX).map_err(failed(None))? {
        let leaf = store.leaves(index, 1).map_err(failed(Some(index)))?.pop();
        // What is no leaf was found before.
        named.extend(leaf.and_then(|leaf| Leaf::decode(&leaf).ok()).map(|leaf| (leaf.token, index)));
    }
    let anchors = Anchors::new(folder, arbiter);
    let there = anchors.tokens().map_err(|error| fault(None, error.into()))?;
    for token in &there {
        let index = named.remove(token);
        let Some(found) = anchors.read(token).map_err(|error| fault(index, error.into()))? else { continue };
        let checkpoint = found.checkpoint.checkpoint();
        let root = if checkpoint.size > size {
            None
        } else {
            let frontier = Frontier::from_nodes(checkpoint.size, |node| store.required_node(node));
            Some(frontier.map_err(failed(index))?.root())
        };
        if root != Some(checkpoint.root) {
            return Err(fault(index, Problem::AnchorTree));
        }
    }
    Ok((there.len(), named.len()))
}

/// One tile: the first leaf that differs, or whose node does.
fn compare(store: &dyn Store, path: TilePath, bytes: &[u8]) -> Result<(), Fault> {
    let differs = |index| fault(Some(index), Problem::Tile { file: path.to_string() });
    match path.kind() {
        TileKind::Entries => {
            // A length that was altered makes all that follows another leaf: the first that differs is found below.
            let mut rest = bytes;
            for index in path.nodes() {
                let ours = store.leaves(index, 1).map_err(|error| fault(Some(index), error.into()))?;
                let ours = ours.first().map(Vec::as_slice).unwrap_or_default();
                let ours = tile::encode_entries([ours]).map_err(|_| differs(index))?;
                rest = rest.strip_prefix(ours.as_slice()).ok_or_else(|| differs(index))?;
            }
            if rest.is_empty() { Ok(()) } else { Err(differs(path.nodes().end.saturating_sub(1))) }
        }
        TileKind::Hashes(_) => {
            let level = u8::try_from(path.node_level()).map_err(|_| differs(0))?;
            // The leaf that completed the node.
            let leaf = |index: u64| {
                let end = index.saturating_add(1).checked_shl(u32::from(level)).unwrap_or(u64::MAX);
                end.saturating_sub(1)
            };
            let mut rest = bytes;
            for index in path.nodes() {
                let node = store.required_node(NodeId { level, index });
                let node = node.map_err(|error| fault(Some(leaf(index)), error.into()))?;
                rest = rest.strip_prefix(node.as_bytes().as_slice()).ok_or_else(|| differs(leaf(index)))?;
            }
            if rest.is_empty() { Ok(()) } else { Err(differs(leaf(path.nodes().end.saturating_sub(1)))) }
        }
    }
}

/// Every file below `tile/` whose name is one of a tile.
fn present(folder: &Path) -> Result<Vec<TilePath>, (PathBuf, std::io::Error)> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.join("tile"), 0u32)];
    while let Some((path, depth)) = folders.pop() {
        let failed = |error| (path.clone(), error);
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_dir() {
                // Level, groups of digits, `.p`: no tile is deeper.
                if depth < DEPTH {
                    folders.push((entry.path(), depth.saturating_add(1)));
                }
                continue;
            }
            let path = entry.path();
            let name = path.strip_prefix(folder).ok().and_then(Path::to_str);
            found.extend(name.and_then(|name| TilePath::parse(name).ok()));
        }
    }
    Ok(found)
}

const DEPTH: u32 = 10;
