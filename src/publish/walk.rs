//! Walks a tree from its root to its leaves, and writes only what was verified on the way.
//!
//! ```text
//!  checkpoint ◀── root of ── right edge: the partial tile of each level
//!                               │ each of its hashes is the root of ── a full tile one level below
//!                               │                                        │ …
//!                               │                                        └ leaf hash of ── a leaf in a bundle
//! ```
//!
//! At any time it holds one tile of each level, 64 KiB. Invariants
//! - A tile is used only after its hashes lead to one that is used already, and so to the checkpoint.
//! - Before anything is written it is sure that the tree goes on from the one that is there.
//! - A bundle is written before the tile over it, and that before the tile over this one.

use std::collections::BTreeMap;

use arbiter_protocol::evidence::checkpoint::Checkpoint;
use arbiter_protocol::evidence::merkle::{Frontier, NodeId, leaf_hash};
use arbiter_protocol::evidence::tile::{self, ReadError, TileError, TileKind, TilePath, TileReader};
use arbiter_protocol::ids::Digest;
use arbiter_protocol::limits;
use thiserror::Error;

use super::export::{ExportError, Folder};
use crate::engine::{EngineError, Handle};

/// Where tiles come from. They are verified by who asks.
pub trait Source {
    /// The bytes of one tile, of exactly its width.
    fn tile(&mut self, path: TilePath) -> Result<Vec<u8>, SourceError>;
}

impl Source for Handle {
    fn tile(&mut self, path: TilePath) -> Result<Vec<u8>, SourceError> {
        Ok(Handle::tile(self, path)?)
    }
}

/// A tile could not be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// From the own log.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// From another place: where, and what went wrong.
    #[error("{url}: {problem}")]
    Remote {
        /// What was asked for.
        url: String,
        /// Why there is no answer that counts.
        problem: String,
    },
}

/// The tree could not be walked. Who serves it is at fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WalkError {
    /// A tile could not be had.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A tile is malformed or not the one that the checkpoint commits to.
    #[error("{path}, from leaf {index} on, is not what the checkpoint commits to: {problem}")]
    Tile {
        /// Which.
        path: TilePath,
        /// The first leaf that it covers.
        index: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// The right edge does not give the root.
    #[error("the tiles of the right edge do not give the root of the checkpoint of {size} leaves")]
    Root {
        /// Size of the tree.
        size: u64,
    },
}

/// Why a walk ended early.
pub(super) enum Stopped {
    Export(ExportError),
    Forked,
    Walk(WalkError),
}

impl From<ExportError> for Stopped {
    fn from(error: ExportError) -> Self {
        Self::Export(error)
    }
}

impl From<WalkError> for Stopped {
    fn from(error: WalkError) -> Self {
        Self::Walk(error)
    }
}

type Hashes = Vec<Digest>;

struct Walk<'a> {
    old: u64,
    new: u64,
    source: &'a mut dyn Source,
    folder: &'a mut Folder,
    progress: &'a mut dyn FnMut(u64),
    /// Verified tiles: the right edge, and the way to the old one.
    known: BTreeMap<TilePath, Vec<u8>>,
}

/// Brings `folder` from the tree `old` to the tree `new`.
pub(super) fn walk(
    old: Option<&Checkpoint>,
    new: &Checkpoint,
    source: &mut dyn Source,
    folder: &mut Folder,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Stopped> {
    let old_size = old.map_or(0, |old| old.size);
    let mut walk = Walk { old: old_size, new: new.size, source, folder, progress, known: BTreeMap::new() };
    let edge = walk.edge(new)?;
    if let Some(old) = old {
        let frontier = Frontier::from_nodes(old.size, |id| walk.node(id))?;
        if frontier.root() != old.root {
            return Err(Stopped::Forked);
        }
    }
    for path in edge.iter().rev() {
        let hashes = walk.hashes(*path)?;
        walk.below(*path, &hashes)?;
    }
    for path in edge {
        let bytes = walk.verified(path)?;
        walk.folder.put(path, &bytes)?;
    }
    Ok(())
}

impl Walk<'_> {
    /// The partial tile of each level, from level 0 up: together they are the root.
    fn edge(&mut self, new: &Checkpoint) -> Result<Vec<TilePath>, Stopped> {
        let mut edge = Vec::new();
        for level in 0..LEVELS {
            let count = new.size.checked_shr(u32::from(level) * 8).unwrap_or(0);
            let path = TilePath::at(TileKind::Hashes(level), count / WIDTH, new.size);
            // Where the last tile is full, there is no other after it.
            edge.extend(path.filter(|path| !path.is_full()));
        }
        let mut bytes = BTreeMap::new();
        for path in &edge {
            bytes.insert(*path, self.fetch(*path)?);
        }
        let root = |tiles: &BTreeMap<TilePath, Vec<u8>>| {
            let mut reader =
                TileReader::new(new.size, |path| tiles.get(&path).cloned().ok_or(TileError::Outside));
            Frontier::from_nodes(new.size, |id| reader.node(id)).map(|it| it.root())
        };
        if root(&bytes) != Ok(new.root) {
            return Err(WalkError::Root { size: new.size }.into());
        }
        self.known.extend(bytes);
        Ok(edge)
    }

    /// One node of the new tree, verified.
    fn node(&mut self, id: NodeId) -> Result<Digest, Stopped> {
        let (path, _) = tile::node_of(id, self.new).ok_or(WalkError::Root { size: self.new })?;
        let bytes = self.verified(path)?;
        let mut reader = TileReader::new(self.new, |_| Ok::<_, TileError>(bytes.clone()));
        reader
            .node(id)
            .map_err(|_: ReadError<TileError>| wrong(path, "it has not the length that it must have").into())
    }

    /// A tile of the new tree: of the right edge, or full and under a verified one.
    fn verified(&mut self, path: TilePath) -> Result<Vec<u8>, Stopped> {
        if let Some(known) = self.known.get(&path) {
            return Ok(known.clone());
        }
        let TileKind::Hashes(level) = path.kind() else {
            return Err(wrong(path, "it is no tile of hashes").into());
        };
        let parent = TilePath::at(TileKind::Hashes(level.saturating_add(1)), path.index() / WIDTH, self.new);
        let parent = parent.ok_or(WalkError::Root { size: self.new })?;
        let hashes = self.hashes(parent)?;
        let place = usize::try_from(path.index() % WIDTH).unwrap_or(usize::MAX);
        let expected = hashes.get(place).ok_or_else(|| wrong(path, "nothing is over it"))?;
        let bytes = self.full(path, *expected)?;
        self.known.insert(path, bytes.clone());
        Ok(bytes)
    }

    fn hashes(&mut self, path: TilePath) -> Result<Hashes, Stopped> {
        let bytes = self.verified(path)?;
        Ok(split(path, &bytes)?)
    }

    /// Everything under a verified tile that is not here yet.
    fn below(&mut self, path: TilePath, hashes: &[Digest]) -> Result<(), Stopped> {
        let TileKind::Hashes(level) = path.kind() else { return Ok(()) };
        let Some(under) = level.checked_sub(1) else { return self.bundle(path, hashes) };
        for (index, hash) in path.nodes().zip(hashes) {
            let full = TilePath::new(TileKind::Hashes(under), index, limits::TILE_WIDTH);
            let full = full.map_err(|_| wrong(path, "nothing can be under it"))?;
            // The leaves of `full` end where `index + 1` nodes of the level of `path` end.
            if index.saturating_add(1).saturating_mul(leaves_under(path)) <= self.old {
                continue;
            }
            let bytes = self.full(full, *hash)?;
            let its = split(full, &bytes)?;
            self.below(full, &its)?;
            self.folder.put(full, &bytes)?;
            self.folder.drop_partials(full)?;
        }
        Ok(())
    }

    /// The bytes of a full tile with this root: those that are here, else those that the source gives.
    fn full(&mut self, path: TilePath, expected: Digest) -> Result<Vec<u8>, Stopped> {
        let is_right = |bytes: &[u8]| split(path, bytes).is_ok_and(|hashes| root(&hashes) == expected);
        match self.folder.tile(path)? {
            Some(bytes) if is_right(&bytes) => Ok(bytes),
            Some(_) => Err(self.folder.differs(path).into()),
            None => {
                let bytes = self.fetch(path)?;
                if is_right(&bytes) {
                    Ok(bytes)
                } else {
                    Err(wrong(path, "its hashes lead elsewhere").into())
                }
            }
        }
    }

    /// The leaves under a verified tile of level 0.
    fn bundle(&mut self, over: TilePath, hashes: &[Digest]) -> Result<(), Stopped> {
        let path = TilePath::new(TileKind::Entries, over.index(), over.width());
        let path = path.map_err(|_| wrong(over, "nothing can be under it"))?;
        let is_right = |bytes: &[u8]| {
            let leaves = tile::entries(&path, bytes).unwrap_or_default();
            leaves.iter().map(|leaf| leaf_hash(leaf)).eq(hashes.iter().copied())
        };
        let bytes = match self.folder.tile(path)? {
            Some(bytes) if is_right(&bytes) => bytes,
            Some(_) => return Err(self.folder.differs(path).into()),
            None => self.fetch(path)?,
        };
        if !is_right(&bytes) {
            return Err(wrong(path, "its leaves have other hashes").into());
        }
        self.folder.put(path, &bytes)?;
        if path.is_full() {
            self.folder.drop_partials(path)?;
        }
        (self.progress)(path.nodes().end);
        Ok(())
    }

    fn fetch(&mut self, path: TilePath) -> Result<Vec<u8>, Stopped> {
        Ok(self.source.tile(path).map_err(WalkError::from)?)
    }
}

fn wrong(path: TilePath, problem: &'static str) -> WalkError {
    WalkError::Tile { path, index: path.nodes().start.saturating_mul(leaves_under(path)), problem }
}

/// How many leaves one hash of a tile stands for.
fn leaves_under(path: TilePath) -> u64 {
    1_u64.checked_shl(path.node_level().into()).unwrap_or(u64::MAX)
}

fn split(path: TilePath, bytes: &[u8]) -> Result<Hashes, WalkError> {
    let hashes =
        tile::hashes(&path, bytes).map_err(|_| wrong(path, "it has not the length that it must have"))?;
    Ok(hashes.iter().copied().map(Digest::from_bytes).collect())
}

/// The root over the hashes of a full tile.
fn root(hashes: &[Digest]) -> Digest {
    let mut frontier = Frontier::new();
    for hash in hashes {
        let _ = frontier.append(*hash);
    }
    frontier.root()
}

/// Levels of tiles that a tree of less than 2^64 leaves can have.
const LEVELS: u8 = 8;
const WIDTH: u64 = 256;
