//! A static export of a log, made from its leaves and its checkpoint alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use arbiter_protocol::evidence::merkle::{Frontier, NodeId, leaf_hash};
use arbiter_protocol::evidence::tile::{self, TileKind};

/// Writes `checkpoint`, and every tile that a log of these leaves must publish.
pub fn write(leaves: &[Vec<u8>], checkpoint: &str, folder: &Path) {
    let mut nodes = BTreeMap::new();
    let mut frontier = Frontier::new();
    for leaf in leaves {
        nodes.extend(frontier.append(leaf_hash(leaf)));
    }
    for path in tile::grown(0, u64::try_from(leaves.len()).unwrap()) {
        let bytes = match path.kind() {
            TileKind::Entries => {
                let range = path.nodes();
                let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                tile::encode_entries(leaves[range].iter().map(Vec::as_slice)).unwrap()
            }
            TileKind::Hashes(_) => {
                let level = u8::try_from(path.node_level()).unwrap();
                path.nodes().flat_map(|index| nodes[&NodeId { level, index }].to_vec()).collect()
            }
        };
        let file = folder.join(path.to_string());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
    fs::write(folder.join("checkpoint"), checkpoint).unwrap();
}
