//! Tiles: how a log's hashes and leaves are cut into files that never change, C2SP tlog-tiles.
//!
//! ```text
//! tile/2/000.p/1        1 hash     of level 16 of the tree           70,000 leaves
//! tile/1/000            256 hashes of level 8                        tile/1/001.p/17
//! tile/0/000 …          256 leaf hashes each                         tile/0/273.p/112
//! tile/entries/000 …    256 leaves each: u16 length, bytes           tile/entries/273.p/112
//! ```
//!
//! Invariants:
//! * A [`TilePath`] has one text form, and nothing else parses to it (R-510).
//! * The bytes of a narrower tile are the first bytes of every wider one: [`TilePath::cut`].
//! * What is read from tiles is not trusted: compare the root with a verified checkpoint, or verify the proof.
//!
//! ```
//! use arbiter_protocol::evidence::tile::{TilePath, grown};
//!
//! let paths: Vec<_> = grown(255, 257).map(|path| path.to_string()).collect();
//! assert_eq!(paths, ["tile/entries/000", "tile/entries/001.p/1", "tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1"]);
//! assert_eq!(TilePath::parse("tile/0/x001/234.p/17")?.index(), 1_234);
//! # Ok::<(), arbiter_protocol::evidence::tile::TileError>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use thiserror::Error;

use crate::evidence::merkle::{NodeId, node_hash};
use crate::ids::Digest;
use crate::limits;

/// What a tile holds. Leaves come before hashes in the order in which a log publishes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TileKind {
    /// The leaves themselves: an entry bundle.
    Entries,
    /// The hashes of this level of tiles, 0 to 63: level `8 * n` of the tree.
    Hashes(u8),
}

/// Names what a tile server is asked for, except the checkpoint (R-510).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TilePath {
    kind: TileKind,
    index: u64,
    width: u16,
}

impl TilePath {
    /// Names a tile: `index` below 2^56 among those of its kind, `width` hashes or leaves, 1 to
    /// [`limits::TILE_WIDTH`]; a tile of the largest width is full, the others are partial.
    pub fn new(kind: TileKind, index: u64, width: u16) -> Result<Self, TileError> {
        let level_fits = !matches!(kind, TileKind::Hashes(level) if level > MAX_LEVEL);
        if level_fits && index < MAX_INDEX && (1..=limits::TILE_WIDTH).contains(&width) {
            Ok(Self { kind, index, width })
        } else {
            Err(TileError::Path)
        }
    }

    /// The tile as it stands in a tree of `size` leaves, full or partial; `None` if nothing of it is there.
    pub fn at(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        let full = Self::new(kind, index, limits::TILE_WIDTH).ok()?;
        let width = full.width_at(size);
        (width > 0).then_some(Self { width, ..full })
    }

    /// Reads what `Display` writes and nothing else (R-510), without a leading slash.
    pub fn parse(text: &str) -> Result<Self, TileError> {
        if text.len() > MAX_PATH_BYTES {
            return Err(TileError::Path);
        }
        // Read loosely, then compare: one form.
        let path = Self::parse_loosely(text).ok_or(TileError::Path)?;
        if path.to_string() == text { Ok(path) } else { Err(TileError::Path) }
    }

    fn parse_loosely(text: &str) -> Option<Self> {
        let (kind, rest) = text.strip_prefix("tile/")?.split_once('/')?;
        let kind = if kind == "entries" { TileKind::Entries } else { TileKind::Hashes(kind.parse().ok()?) };
        let (groups, width) = match rest.split_once(".p/") {
            Some((groups, width)) => (groups, width.parse().ok()?),
            None => (rest, limits::TILE_WIDTH),
        };
        let index = groups.split('/').try_fold(0_u64, |index, group| {
            let digits: u16 = group.strip_prefix('x').unwrap_or(group).parse().ok()?;
            index.checked_mul(1_000)?.checked_add(digits.into())
        })?;
        Self::new(kind, index, width).ok()
    }

    /// What it holds.
    pub const fn kind(&self) -> TileKind {
        self.kind
    }

    /// Its place among the tiles of its kind, from 0, below 2^56.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Number of hashes or leaves, 1 to [`limits::TILE_WIDTH`].
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Whether it has [`limits::TILE_WIDTH`] hashes or leaves, so that it never grows.
    pub const fn is_full(&self) -> bool {
        self.width == limits::TILE_WIDTH
    }

    /// The same tile at its full width: what is asked for when a log has dropped the partial one.
    pub const fn full(self) -> Self {
        Self { width: limits::TILE_WIDTH, ..self }
    }

    /// How many hashes or leaves of this tile, of any width, a tree of `size` leaves has: 0 to
    /// [`limits::TILE_WIDTH`].
    pub fn width_at(&self, size: u64) -> u16 {
        let there = nodes_at(self.level(), size).saturating_sub(self.index << WIDTH_BITS);
        u16::try_from(there).map_or(limits::TILE_WIDTH, |there| there.min(limits::TILE_WIDTH))
    }

    /// Whether a tree of `size` leaves has all of this tile.
    pub fn is_within(&self, size: u64) -> bool {
        self.width <= self.width_at(size)
    }

    /// The level of the tree whose nodes it holds: 0 for leaves and leaf hashes, else a multiple of 8;
    /// above 63 no tree has such a node.
    pub fn node_level(&self) -> u16 {
        u16::from(self.level()) * 8
    }

    /// The indices, in their level of the tree, of the nodes (or leaves) it holds.
    pub fn nodes(&self) -> Range<u64> {
        let first = self.index << WIDTH_BITS;
        // The last tile of all would end at 2^64; no tree fills it.
        first..first.saturating_add(self.width.into())
    }

    /// The bytes of this tile, cut from those of the same tile at this width or a larger one. For hashes
    /// these are `32 * width` bytes, for leaves the first `width` entries (R-511). So a server needs no
    /// partial files, and a client that fell back to the full tile gets what it asked for.
    pub fn cut<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], TileError> {
        let width = usize::from(self.width);
        let length = match self.kind {
            TileKind::Hashes(_) => width * HASH_BYTES,
            TileKind::Entries => {
                let mut rest = bytes;
                for _ in 0..width {
                    (_, rest) = next_entry(rest)?;
                }
                bytes.len().saturating_sub(rest.len())
            }
        };
        bytes.get(..length).ok_or(TileError::Length)
    }

    /// Level of tiles; bundles lie as level 0.
    const fn level(&self) -> u8 {
        match self.kind {
            TileKind::Entries => 0,
            TileKind::Hashes(level) => level,
        }
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Entries => f.write_str("tile/entries/")?,
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
        }
        // The highest group first, each but the last with an `x`.
        let mut unit = 1_u64;
        while self.index / unit >= 1_000 {
            unit = unit.saturating_mul(1_000);
        }
        while unit > 1 {
            write!(f, "x{:03}/", self.index / unit % 1_000)?;
            unit /= 1_000;
        }
        write!(f, "{:03}", self.index % 1_000)?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

/// What a log that grew from `old` to `new` leaves must publish, in this order, before the checkpoint of
/// `new`: entry bundles, then hashes from level 0 up; of each the tiles that are full now and, last, the
/// newest partial one. What a tree of `old` leaves had in full is not named again.
pub fn grown(old: u64, new: u64) -> impl Iterator<Item = TilePath> {
    let kinds = std::iter::once(TileKind::Entries).chain((0..LEVELS).map(TileKind::Hashes));
    kinds.flat_map(move |kind| {
        let level = if let TileKind::Hashes(level) = kind { level } else { 0 };
        let (before, now) = (nodes_at(level, old), nodes_at(level, new));
        let tiles =
            if before < now { before >> WIDTH_BITS..now.div_ceil(limits::TILE_WIDTH.into()) } else { 0..0 };
        tiles.filter_map(move |index| TilePath::at(kind, index, new))
    })
}

/// From where the hash of a perfect subtree comes in a tree of `size` leaves: the tile, as wide as it is at
/// that size, and which of its hashes lie below the subtree: a power of two of them. `None` if the tree
/// does not have the whole subtree.
pub fn node_of(id: NodeId, size: u64) -> Option<(TilePath, Range<usize>)> {
    let above = id.level % 8;
    let first = id.index.checked_mul(1 << above)?;
    let path = TilePath::at(TileKind::Hashes(id.level / 8), first >> WIDTH_BITS, size)?;
    let start = usize::try_from(first % u64::from(limits::TILE_WIDTH)).ok()?;
    let range = start..start + (1 << above);
    (range.end <= usize::from(path.width)).then_some((path, range))
}

/// Answers what [`crate::evidence::merkle`] asks for, [`NodeId`] to hash, from tiles alone.
///
/// It keeps the last tile of each level, 64 KiB at most. The hashes are as good as the tiles: whoever uses
/// them checks the root or the proof against a verified checkpoint.
pub struct TileReader<F> {
    size: u64,
    fetch: F,
    kept: BTreeMap<TileKind, (TilePath, Vec<u8>)>,
}

impl<F> TileReader<F> {
    /// Reads a log of `size` leaves. `fetch` returns exactly the bytes of the tile it is asked for; if it had
    /// to take a wider one it cuts it ([`TilePath::cut`]).
    pub const fn new(size: u64, fetch: F) -> Self {
        Self { size, fetch, kept: BTreeMap::new() }
    }

    /// The hash of one perfect subtree.
    pub fn node<E>(&mut self, id: NodeId) -> Result<Digest, ReadError<E>>
    where
        F: FnMut(TilePath) -> Result<Vec<u8>, E>,
    {
        let (path, range) = node_of(id, self.size).ok_or(TileError::Outside)?;
        let kept = self.kept.get(&path.kind).filter(|(kept, _)| *kept == path);
        if kept.is_none() {
            let bytes = (self.fetch)(path).map_err(ReadError::Fetch)?;
            hashes(&path, &bytes)?;
            self.kept.insert(path.kind, (path, bytes));
        }
        let (_, bytes) = self.kept.get(&path.kind).ok_or(TileError::Outside)?;
        let below = hashes(&path, bytes)?.get(range).ok_or(TileError::Outside)?;
        Ok(perfect_root(below))
    }
}

/// The hashes of a tile, exactly as many as its path says.
pub fn hashes<'a>(path: &TilePath, bytes: &'a [u8]) -> Result<&'a [[u8; 32]], TileError> {
    match (path.kind, bytes.as_chunks()) {
        (TileKind::Hashes(_), (hashes, [])) if hashes.len() == usize::from(path.width) => Ok(hashes),
        _ => Err(TileError::Length),
    }
}

/// Writes an entry bundle: for each leaf its length in two bytes, big endian, and its bytes (R-511).
pub fn encode_entries<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, TileError> {
    let mut bundle = Vec::new();
    for (count, entry) in entries.into_iter().enumerate() {
        let length = u16::try_from(entry.len()).map_err(|_| TileError::Entry)?;
        if count >= usize::from(limits::TILE_WIDTH) {
            return Err(TileError::Entry);
        }
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    Ok(bundle)
}

/// The leaves of an entry bundle, exactly as many as its path says and nothing after them (R-511).
pub fn entries<'a>(path: &TilePath, bytes: &'a [u8]) -> Result<Vec<&'a [u8]>, TileError> {
    if path.kind != TileKind::Entries {
        return Err(TileError::Length);
    }
    let (mut found, mut rest) = (Vec::new(), bytes);
    for _ in 0..path.width {
        let (entry, after) = next_entry(rest)?;
        found.push(entry);
        rest = after;
    }
    if rest.is_empty() { Ok(found) } else { Err(TileError::Length) }
}

/// Why a path or the bytes of a tile are not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TileError {
    /// The caller's leaves do not fit one bundle: more than [`limits::TILE_WIDTH`], or one is too long.
    #[error("a bundle has at most {} entries of at most {} bytes", limits::TILE_WIDTH, u16::MAX)]
    Entry,
    /// The server's bytes are too few, too many, or of another kind than the path says.
    #[error("the tile has not the length that its path says")]
    Length,
    /// The caller asked for a subtree that a tree of this size does not have.
    #[error("a tree of this size does not have this node")]
    Outside,
    /// The path is not one of tlog-tiles; there is nothing to serve.
    #[error("the path is not that of a tile in its one form")]
    Path,
}

/// Why a hash could not be read from tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReadError<E> {
    /// The tile could not be had: what the caller's own function said.
    #[error("a tile could not be read: {0}")]
    Fetch(E),
    /// The tile is not one.
    #[error(transparent)]
    Tile(#[from] TileError),
}

/// The number of complete nodes in a level of tiles.
fn nodes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(u32::from(level) * 8).unwrap_or(0)
}

fn next_entry(bytes: &[u8]) -> Result<(&[u8], &[u8]), TileError> {
    let (length, rest) = bytes.split_first_chunk().ok_or(TileError::Length)?;
    rest.split_at_checked(u16::from_be_bytes(*length).into()).ok_or(TileError::Length)
}

/// Joins a power of two of hashes; one is its own root.
fn perfect_root(hashes: &[[u8; 32]]) -> Digest {
    let mut level: Vec<_> = hashes.iter().copied().map(Digest::from_bytes).collect();
    while level.len() > 1 {
        level = level.as_chunks().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    level.first().copied().unwrap_or_else(crate::evidence::merkle::empty_root)
}

/// 2^8 = [`limits::TILE_WIDTH`].
const WIDTH_BITS: u32 = 8;
const _: () = assert!(1 << WIDTH_BITS == limits::TILE_WIDTH);
const HASH_BYTES: usize = 32;
/// Levels of tiles that a tree of less than 2^64 leaves can have.
const LEVELS: u8 = 8;
/// The last level that tlog-tiles allows in a path.
const MAX_LEVEL: u8 = 63;
/// One more than the last tile of leaves below 2^64.
const MAX_INDEX: u64 = 1 << 56;
/// More than the longest path has.
const MAX_PATH_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::evidence::merkle::{
        Frontier, consistency_proof, inclusion_proof, leaf_hash, verify_consistency, verify_inclusion,
    };

    /// R-510: every text near a path is another path, or refused.
    #[test]
    fn a_path_has_one_form() {
        let good = [
            "tile/0/000",
            "tile/63/x001/x234/067.p/255",
            "tile/entries/x001/000.p/1",
            "tile/entries/x072/x057/x594/x037/x927/935",
        ];
        for text in good {
            let path = TilePath::parse(text).unwrap();
            assert_eq!(path.to_string(), text);
            let insertions = ["", "0", "1", "9", "x", "/", ".", "p", "+", "-", " ", "é"];
            for (place, old) in text.char_indices().chain([(text.len(), ' ')]) {
                let (before, rest) = text.split_at(place);
                for replaced in [0, old.len_utf8().min(rest.len())] {
                    for insertion in insertions {
                        let changed = [before, insertion, &rest[replaced..]].concat();
                        let Ok(other) = TilePath::parse(&changed) else { continue };
                        assert_eq!(other.to_string(), changed);
                        assert_eq!(other == path, changed == text);
                    }
                }
            }
        }
        for bad in [
            "",
            "/tile/0/000",
            "tile/00/000",
            "tile/64/000",
            "tile/8/0",
            "tile/0/x000/001",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/data/000",
            "tile/0/x072/x057/x594/x037/x927/936",
            "checkpoint",
        ] {
            assert_eq!(TilePath::parse(bad), Err(TileError::Path), "{bad}");
        }
        let last = TilePath::new(TileKind::Entries, MAX_INDEX - 1, 256).unwrap();
        assert_eq!((last.nodes().end, last.is_within(u64::MAX)), (u64::MAX, false));
        for (kind, index, width) in
            [(TileKind::Hashes(64), 0, 1), (TileKind::Entries, MAX_INDEX, 1), (TileKind::Entries, 0, 257)]
        {
            assert_eq!(TilePath::new(kind, index, width), Err(TileError::Path));
        }
    }

    /// The tiles of a log, stored full wherever there is anything.
    fn log(size: u64) -> (BTreeMap<NodeId, Digest>, Vec<Digest>, Vec<Digest>) {
        let (mut stored, mut leaves, mut roots) = (BTreeMap::new(), vec![], vec![Frontier::new().root()]);
        let mut frontier = Frontier::new();
        for index in 0..size {
            leaves.push(leaf_hash(&index.to_be_bytes()));
            stored.extend(frontier.append(leaves[leaves.len() - 1]));
            roots.push(frontier.root());
        }
        (stored, leaves, roots)
    }

    fn bytes_of(stored: &BTreeMap<NodeId, Digest>, path: TilePath) -> Vec<u8> {
        let level = u8::try_from(path.node_level()).unwrap();
        path.nodes().flat_map(|index| stored[&NodeId { level, index }].to_vec()).collect()
    }

    #[test]
    fn proofs_and_roots_come_from_tiles_alone() {
        let (stored, leaves, roots) = log(70_000);
        for size in [1, 2, 255, 256, 257, 511, 4_099, 65_535, 65_536, 65_537, 70_000_usize] {
            let count = u64::try_from(size).unwrap();
            let published: std::collections::BTreeSet<_> = grown(0, count).collect();
            let mut reader = TileReader::new(count, |path| {
                assert!(published.contains(&path), "{path} is not published at {size}");
                Ok::<_, Infallible>(bytes_of(&stored, path))
            });
            let frontier = Frontier::from_nodes(count, |id| reader.node(id)).unwrap();
            assert_eq!(frontier.root(), roots[size]);
            for index in [0, size / 2, size - 1] {
                let place = u64::try_from(index).unwrap();
                let proof = inclusion_proof(place, count, |id| reader.node(id)).unwrap();
                assert_eq!(verify_inclusion(&leaves[index], place, count, &proof, &roots[size]), Ok(()));
                let proof = consistency_proof(place + 1, count, |id| reader.node(id)).unwrap();
                let (old, new) = (&roots[index + 1], &roots[size]);
                assert_eq!(verify_consistency(place + 1, count, &proof, old, new), Ok(()));
            }
        }
    }

    #[test]
    fn a_tile_of_another_length_and_a_failed_read_are_errors() {
        let read = |bytes: usize| {
            let mut reader = TileReader::new(3, |_| Ok::<_, Infallible>(vec![0; bytes]));
            reader.node(NodeId { level: 0, index: 0 })
        };
        assert!(read(96).is_ok());
        for bytes in [0, 32, 64, 95, 97, 128] {
            assert_eq!(read(bytes), Err(ReadError::Tile(TileError::Length)), "{bytes}");
        }
        let mut reader = TileReader::new(3, |path: TilePath| Err(path.to_string()));
        let failed = reader.node(NodeId { level: 1, index: 0 });
        assert_eq!(failed, Err(ReadError::Fetch("tile/0/000.p/3".to_owned())));
        for outside in [(0, 3), (1, 1), (2, 0), (63, 0), (255, 0), (7, u64::MAX)] {
            let id = NodeId { level: outside.0, index: outside.1 };
            assert_eq!(reader.node(id), Err(ReadError::Tile(TileError::Outside)), "{id:?}");
        }
    }

    /// Growing in any steps publishes the same full tiles, each once, and the newest partials.
    #[test]
    fn growth_names_every_tile_and_no_full_one_twice() {
        let sizes = [0, 1, 1, 255, 256, 257, 600, 65_535, 65_536, 65_537, 70_000, 131_073];
        let mut published = std::collections::BTreeSet::new();
        for pair in sizes.windows(2) {
            let step: Vec<_> = grown(pair[0], pair[1]).collect();
            assert!(step.is_sorted(), "entries, then levels");
            for path in step {
                assert!(path.is_within(pair[1]) && !path.is_within(pair[0]), "{path}");
                assert!(published.insert(path), "{path} is published twice");
            }
            // What is at the end is what growing at once gives, and what each place says.
            for path in grown(0, pair[1]) {
                assert!(published.contains(&path), "{path}");
                assert_eq!(TilePath::at(path.kind, path.index, pair[1]), Some(path));
            }
        }
        assert_eq!(grown(5, 5).count() + grown(6, 5).count(), 0);
        let last = grown(u64::MAX - 1, u64::MAX).map(|path| path.to_string()).collect::<Vec<_>>();
        assert_eq!(last.len(), 2);
        assert_eq!(last[0], "tile/entries/x072/x057/x594/x037/x927/935.p/255");
    }

    /// R-511: one form, and a narrower bundle or tile is the beginning of a wider one.
    #[test]
    fn a_bundle_has_one_form_and_is_cut_to_any_width() {
        let bundle_path = |width| TilePath::new(TileKind::Entries, 7, width).unwrap();
        let leaves: [&[u8]; 4] = [b"", b"a", &[7; 300], &[9; 65_535]];
        let bytes = encode_entries(leaves).unwrap();
        assert_eq!(&bytes[..8], b"\0\0\0\x01a\x01\x2c\x07");
        for width in 1..=4 {
            let cut = bundle_path(width).cut(&bytes).unwrap();
            assert_eq!(entries(&bundle_path(width), cut).unwrap(), leaves[..width.into()]);
            assert_eq!(bundle_path(width).cut(cut), Ok(cut));
            for other in (1..=5).filter(|other| *other != width) {
                assert_eq!(entries(&bundle_path(other), cut), Err(TileError::Length));
            }
            assert_eq!(bundle_path(width).cut(&cut[..cut.len() - 1]), Err(TileError::Length));
        }
        assert_eq!(bundle_path(5).cut(&bytes), Err(TileError::Length));
        let tile = TilePath::new(TileKind::Hashes(0), 0, 2).unwrap();
        assert_eq!(tile.cut(&[0; 96]).map(<[u8]>::len), Ok(64));
        assert_eq!(tile.cut(&[0; 63]), Err(TileError::Length));
        assert_eq!(entries(&tile, &[0; 64]), Err(TileError::Length));
        assert_eq!(hashes(&bundle_path(2), &[0; 64]), Err(TileError::Length));
        assert_eq!(encode_entries([[0; 65_536].as_slice()]), Err(TileError::Entry));
        assert!(encode_entries(vec![[].as_slice(); 256]).is_ok());
        assert_eq!(encode_entries(vec![[].as_slice(); 257]), Err(TileError::Entry));
    }
}
