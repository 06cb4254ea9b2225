//! Tiles cut from a store: what the tile server and the exporter give out (R-542).
//!
//! ```text
//!  tile/0/000.p/17 ─▶ hashes of level 0, 0 to 16       tile/entries/000 ─▶ leaves 0 to 255, each with its length
//! ```

use arbiter_protocol::evidence::tile::{TileKind, TilePath, encode_entries};

use super::schema::{self, Family};
use super::{Store, StoreError};

/// The bytes of a tile. The log must have all of it: what is missing counts as damage.
pub fn read(store: &dyn Store, path: TilePath) -> Result<Vec<u8>, StoreError> {
    let (first, width) = (path.nodes().start, usize::from(path.width()));
    match path.kind() {
        TileKind::Hashes(_) => {
            // A tree of less than 2^64 leaves has no higher level: nothing is found there.
            let level = u8::try_from(path.node_level()).unwrap_or(u8::MAX);
            let hashes = store.hashes(level, first, width)?;
            Ok(hashes.iter().flat_map(|hash| *hash.as_bytes()).collect())
        }
        TileKind::Entries => {
            let damaged = |how| schema::damaged(Family::Leaves, &schema::leaf_key(first), how);
            let leaves = store.leaves(first, width)?;
            if leaves.len() != width {
                return Err(damaged("the log ends before the last leaf of its bundle"));
            }
            let bundle = encode_entries(leaves.iter().map(Vec::as_slice));
            bundle.map_err(|_| damaged("it, or one of its bundle, is too long for one"))
        }
    }
}
