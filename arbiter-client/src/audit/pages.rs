//! Entry bundles and the tiles above them, fetched and hashed by several threads, handed over in order.
//!
//! ```text
//!  thread 0: bundle 0, 8, 16 …  ─▶ one waiting ─┐
//!  thread 1: bundle 1, 9, 17 …  ─▶ one waiting ─┼─▶ in order ─▶ who judges the leaves
//!  …                                            ┘
//! ```
//!
//! Invariants
//! - At most three bundles of each thread are in memory.
//! - Nothing is judged here: a page is what the server gave, hashed.

use std::ops::{ControlFlow, Range};
use std::sync::mpsc::sync_channel;
use std::thread::scope;

use arbiter_protocol::evidence::merkle::leaf_hash;
use arbiter_protocol::evidence::tile::{TileKind, TilePath};
use arbiter_protocol::ids::Digest;
use arbiter_protocol::limits;

use super::source::Source;
use super::tree::{Altered, Fetched, Tree, TreeFault, fetch, join};

/// How many bundles are fetched at a time.
const THREADS: u64 = 8;

/// One bundle as it was served.
pub(super) struct Page {
    path: TilePath,
    bytes: Vec<u8>,
    leaves: Vec<Range<usize>>,
    hashes: Vec<Digest>,
    tile: Fetched,
}

/// Leaves that the signed root commits to.
pub(super) struct Signed {
    /// The first leaf's place.
    pub(super) first: u64,
    bytes: Vec<u8>,
    leaves: Vec<Range<usize>>,
}

impl Signed {
    /// The leaves in order.
    pub(super) fn leaves(&self) -> impl Iterator<Item = &[u8]> {
        self.leaves.iter().map(|range| self.bytes.get(range.clone()).unwrap_or_default())
    }
}

impl Page {
    /// Reads bundle `index` of a tree of `size` leaves and the tile above it.
    pub(super) fn read(source: &Source, index: u64, size: u64) -> Result<Self, TreeFault> {
        let path = TilePath::at(TileKind::Entries, index, size).ok_or_else(|| {
            TreeFault::NotAsSigned(Altered {
                place: source.to_string(),
                index: None,
                problem: "the tree has no such bundle",
            })
        })?;
        let bytes = source.tile(&path)?;
        let leaves = ranges(&path, &bytes);
        let hashes = leaves.iter().filter_map(|range| bytes.get(range.clone())).map(leaf_hash).collect();
        let tile = match TilePath::new(TileKind::Hashes(0), index, limits::TILE_WIDTH) {
            Ok(tile) if path.is_full() => {
                let hashes = fetch(source, &tile)?;
                let root = join(&hashes);
                Fetched::Full { index, hashes, root }
            }
            _ => Fetched::Edge,
        };
        Ok(Self { path, bytes, leaves, hashes, tile })
    }

    /// The leaves, if they are those that the log signed; else the first that is not.
    pub(super) fn check(self, source: &Source, tree: &mut Tree<'_>) -> Result<Signed, TreeFault> {
        let signed = tree.leaf_hashes(self.tile)?;
        let first = self.path.nodes().start;
        let end = self.leaves.last().map_or(0, |last| last.end);
        let differs = (first..).zip(&signed).zip(self.hashes.iter().map(Some).chain(std::iter::repeat(None)));
        let index = differs.into_iter().find(|((_, signed), served)| Some(*signed) != *served);
        let (index, problem) = match index {
            Some(((index, _), Some(_))) => {
                (index, "the leaf in the bundle is not the one that the log signed")
            }
            Some(((index, _), None)) => (index, "the bundle ends, or cannot be read on, before this leaf"),
            None if end != self.bytes.len() => {
                (self.path.nodes().end.saturating_sub(1), "the bundle has bytes after its last leaf")
            }
            None => return Ok(Signed { first, bytes: self.bytes, leaves: self.leaves }),
        };
        let place = source.place(&self.path.to_string());
        Err(TreeFault::NotAsSigned(Altered { place, index: Some(index), problem }))
    }
}

/// Where the leaves of a bundle are, as far as it can be read.
fn ranges(path: &TilePath, bytes: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0_usize;
    while found.len() < usize::from(path.width())
        && let Some((length, rest)) = bytes.get(at..).and_then(<[u8]>::split_first_chunk)
    {
        let length = usize::from(u16::from_be_bytes(*length));
        let start = at.saturating_add(2);
        if rest.len() < length {
            break;
        }
        at = start.saturating_add(length);
        found.push(start..at);
    }
    found
}

/// The hashes of the leaves of a bundle, as far as it can be read.
pub(super) fn leaf_hashes(path: &TilePath, bytes: &[u8]) -> Vec<Digest> {
    ranges(path, bytes).into_iter().filter_map(|range| bytes.get(range)).map(leaf_hash).collect()
}

/// Reads the bundles of `size` leaves from `first` on, until the end, or `take` has enough.
pub(super) fn each<T>(
    source: &Source,
    first: u64,
    size: u64,
    mut take: impl FnMut(Result<Page, TreeFault>) -> ControlFlow<T>,
) -> Option<T> {
    let bundles = size.div_ceil(limits::TILE_WIDTH.into());
    scope(|scope| {
        let receivers: Vec<_> = (0..THREADS.min(bundles.saturating_sub(first)))
            .map(|thread| {
                let (sender, receiver) = sync_channel(1);
                scope.spawn(move || {
                    let mut bundle = first.saturating_add(thread);
                    // Nobody receives any more once there is an answer.
                    while bundle < bundles && sender.send(Page::read(source, bundle, size)).is_ok() {
                        bundle = bundle.saturating_add(THREADS);
                    }
                });
                receiver
            })
            .collect();
        for receiver in receivers.iter().cycle().take(usize::try_from(bundles.saturating_sub(first)).ok()?) {
            let page = receiver.recv().ok()?;
            if let ControlFlow::Break(answer) = take(page) {
                return Some(answer);
            }
        }
        None
    })
}
