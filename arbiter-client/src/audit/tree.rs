//! The tree of one signed checkpoint, read from tiles that are checked from the root down before anything in them is used.
//!
//! ```text
//!  signed root ◀─ right edge: the partial tile of each level, at most eight of them, kept
//!                   └▶ hash i of level 2 ─▶ tile i of level 1 ─▶ hash j ─▶ tile j of level 0 ─▶ 256 leaf hashes
//! ```
//!
//! Invariants
//! - A hash that leaves this module is one that the signed root commits to.
//! - So a tile that is not what was signed is found by itself, before the leaves below it are looked at (R-564).

use std::collections::BTreeMap;

use arbiter_protocol::evidence::checkpoint::Checkpoint;
use arbiter_protocol::evidence::merkle::{Frontier, NodeId, empty_root, node_hash};
use arbiter_protocol::evidence::tile::{TileKind, TilePath, hashes, node_of};
use arbiter_protocol::ids::Digest;
use arbiter_protocol::limits;

use super::source::{FetchError, Source};

/// Tiles of hashes under one signed root.
pub(super) struct Tree<'a> {
    source: &'a Source,
    size: u64,
    edge: BTreeMap<u8, Vec<Digest>>,
    /// The last full tile of each level.
    kept: BTreeMap<u8, (u64, Vec<Digest>)>,
}

/// Leaf hashes as they were fetched.
pub(super) enum Fetched {
    /// Those of the partial tile: known from the right edge.
    Edge,
    /// Those of a full tile.
    Full {
        /// Which.
        index: u64,
        /// Its hashes.
        hashes: Vec<Digest>,
        /// What they join to.
        root: Digest,
    },
}

/// Why a hash cannot be had.
#[derive(Debug)]
pub(super) enum TreeFault {
    /// It could not be fetched.
    Fetch(FetchError),
    /// What was fetched is not what the log signed.
    NotAsSigned(Altered),
}

/// Something that was served is not what the log signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Altered {
    /// URL or file.
    pub place: String,
    /// The first leaf that it concerns, if that can be told.
    pub index: Option<u64>,
    /// What is wrong.
    pub problem: &'static str,
}

impl From<FetchError> for TreeFault {
    fn from(error: FetchError) -> Self {
        Self::Fetch(error)
    }
}

impl<'a> Tree<'a> {
    /// Reads the right edge and checks that it gives the signed root.
    pub(super) fn open(source: &'a Source, checkpoint: &Checkpoint) -> Result<Self, TreeFault> {
        let mut tree = Self { source, size: checkpoint.size, edge: BTreeMap::new(), kept: BTreeMap::new() };
        for level in 0..LEVELS {
            let nodes = checkpoint.size >> (u32::from(level) * 8);
            if let Some(path) = TilePath::at(TileKind::Hashes(level), nodes / WIDTH, checkpoint.size) {
                let hashes = fetch(source, &path)?;
                tree.edge.insert(level, hashes);
            }
        }
        if tree.edge_root(&tree.edge) == Some(checkpoint.root) {
            return Ok(tree);
        }
        Err(TreeFault::NotAsSigned(tree.altered_edge(checkpoint)?))
    }

    /// The number of leaves.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// One perfect subtree, as the merkle functions ask for it.
    pub(super) fn node(&mut self, id: NodeId) -> Result<Digest, TreeFault> {
        let outside = || {
            TreeFault::NotAsSigned(Altered {
                place: self.source.to_string(),
                index: None,
                problem: "the tree has no such node",
            })
        };
        let (path, range) = node_of(id, self.size).ok_or_else(outside)?;
        let TileKind::Hashes(level) = path.kind() else { return Err(outside()) };
        let below = self.tile(level, path.index())?.get(range).map(join);
        below.ok_or_else(|| self.wrong_length(&path))
    }

    /// The leaf hashes of bundle `index`, which were fetched already with the root that they give. At the right edge they are
    /// those that were checked when the tree was opened.
    pub(super) fn leaf_hashes(&mut self, fetched: Fetched) -> Result<Vec<Digest>, TreeFault> {
        let (index, hashes, root) = match fetched {
            Fetched::Edge => return Ok(self.edge.get(&0).cloned().unwrap_or_default()),
            Fetched::Full { index, hashes, root } => (index, hashes, root),
        };
        self.check_full(0, index, root)?;
        Ok(hashes)
    }

    /// The hashes of a tile as wide as it is in this tree.
    fn tile(&mut self, level: u8, index: u64) -> Result<&[Digest], TreeFault> {
        let nodes = self.size >> (u32::from(level) * 8);
        if index == nodes / WIDTH {
            return Ok(self.edge.get(&level).map_or(&[], Vec::as_slice));
        }
        if self.kept.get(&level).is_none_or(|(kept, _)| *kept != index) {
            let path = TilePath::at(TileKind::Hashes(level), index, self.size);
            let path = path.filter(TilePath::is_full).ok_or_else(|| {
                TreeFault::NotAsSigned(Altered {
                    place: self.source.to_string(),
                    index: None,
                    problem: "the tree has no such tile",
                })
            })?;
            let hashes = fetch(self.source, &path)?;
            self.check_full(level, index, join(&hashes))?;
            self.kept.insert(level, (index, hashes));
        }
        Ok(self.kept.get(&level).map_or(&[], |(_, hashes)| hashes.as_slice()))
    }

    /// A full tile gives the hash that stands for it one level up.
    fn check_full(&mut self, level: u8, index: u64, root: Digest) -> Result<(), TreeFault> {
        let place = usize::try_from(index % WIDTH).unwrap_or(usize::MAX);
        let signed = self.tile(level.saturating_add(1), index / WIDTH)?.get(place).copied();
        if signed == Some(root) {
            return Ok(());
        }
        let path = TilePath::new(TileKind::Hashes(level), index, limits::TILE_WIDTH);
        Err(TreeFault::NotAsSigned(Altered {
            place: self.source.place(&path.map(|path| path.to_string()).unwrap_or_default()),
            index: Some(first_leaf(level, index.saturating_mul(WIDTH))),
            problem: "the tile is not the one that the signed root commits to",
        }))
    }

    fn wrong_length(&self, path: &TilePath) -> TreeFault {
        wrong_length(self.source, path)
    }

    fn edge_root(&self, edge: &BTreeMap<u8, Vec<Digest>>) -> Option<Digest> {
        let node = |id: NodeId| {
            let (path, range) = node_of(id, self.size).ok_or(())?;
            let TileKind::Hashes(level) = path.kind() else { return Err(()) };
            edge.get(&level).and_then(|hashes| hashes.get(range)).map(join).ok_or(())
        };
        Frontier::from_nodes(self.size, node).ok().map(|frontier| frontier.root())
    }

    /// Which tile of the right edge is not as signed: the one whose hashes, replaced by what lies below them, give the root.
    fn altered_edge(&self, checkpoint: &Checkpoint) -> Result<Altered, TreeFault> {
        let mut mended = self.edge.clone();
        let mut first: Option<(u64, TilePath)> = None;
        for (level, hashes) in &mut mended {
            let nodes = self.size >> (u32::from(*level) * 8);
            let Some(path) = TilePath::at(TileKind::Hashes(*level), nodes / WIDTH, self.size) else {
                continue;
            };
            for (hash, node) in hashes.iter_mut().zip(path.nodes()) {
                let below = match level.checked_sub(1) {
                    Some(below) => {
                        let tile = TilePath::new(TileKind::Hashes(below), node, limits::TILE_WIDTH);
                        tile.ok().and_then(|tile| fetch(self.source, &tile).ok()).map(|all| join(&all))
                    }
                    None => None,
                };
                if let Some(below) = below.filter(|below| below != hash) {
                    *hash = below;
                    let leaf = first_leaf(*level, node);
                    if first.is_none_or(|(known, _)| leaf < known) {
                        first = Some((leaf, path));
                    }
                }
            }
        }
        // The leaves of the last bundle stand for the tile above them.
        if let Some(hashes) = mended.get_mut(&0)
            && let Some(path) = TilePath::at(TileKind::Entries, self.size / WIDTH, self.size)
        {
            let bytes = self.source.tile(&path)?;
            let leaves = super::pages::leaf_hashes(&path, &bytes);
            for ((hash, leaf), index) in hashes.iter_mut().zip(leaves).zip(path.nodes()) {
                if *hash != leaf {
                    *hash = leaf;
                    if first.is_none_or(|(known, _)| index < known) {
                        let tile = TilePath::at(TileKind::Hashes(0), self.size / WIDTH, self.size);
                        first = Some((index, tile.unwrap_or(path)));
                    }
                }
            }
        }
        let (place, index) = match first.filter(|_| self.edge_root(&mended) == Some(checkpoint.root)) {
            Some((leaf, path)) => (self.source.place(&path.to_string()), Some(leaf)),
            None => (self.source.to_string(), None),
        };
        let problem = match index {
            Some(_) => "the tile is not the one that the signed root commits to",
            None => "the tiles at the right edge do not give the root that the log signed",
        };
        Ok(Altered { place, index, problem })
    }
}

pub(super) fn fetch(source: &Source, path: &TilePath) -> Result<Vec<Digest>, TreeFault> {
    let bytes = source.tile(path)?;
    let read = hashes(path, &bytes).map(|all| all.iter().copied().map(Digest::from_bytes).collect());
    read.map_err(|_| wrong_length(source, path))
}

fn wrong_length(source: &Source, path: &TilePath) -> TreeFault {
    let level = u8::try_from(path.node_level() / 8).unwrap_or(u8::MAX);
    TreeFault::NotAsSigned(Altered {
        place: source.place(&path.to_string()),
        index: Some(first_leaf(level, path.nodes().start)),
        problem: "the tile is shorter or longer than its path says",
    })
}

/// The first leaf below a node of a level of tiles.
fn first_leaf(level: u8, node: u64) -> u64 {
    node.checked_shl(u32::from(level) * 8).unwrap_or(u64::MAX)
}

/// The root of a power of two of hashes.
pub(super) fn join(hashes: impl AsRef<[Digest]>) -> Digest {
    let mut level = hashes.as_ref().to_vec();
    while level.len() > 1 {
        level = level.as_chunks().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    level.first().copied().unwrap_or_else(empty_root)
}

const WIDTH: u64 = 256;
const LEVELS: u8 = 8;
const _: () = assert!(limits::TILE_WIDTH == 256);
