//! The seed tree: one root makes all seeds, a few nodes make all but the hidden ones.
//!
//! ```text
//!            1              nodes are numbered like a heap: the children of v are 2v and 2v+1,
//!        2       3          1..N-1 are inner nodes, N..2N-1 are leaves, leaf i is node N+i
//!      4   5   6   7
//!     8 9                   seed(2v) ‖ seed(2v+1) = first 32 bytes of H("node"; session, v, seed(v))
//! ```
//!
//! The cover of a hidden set is the set of nodes without a hidden leaf below whose parent has one, ascending.
//! It is unique and smallest, so an escrow has one encoding.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::suite::Suite;
use super::transcript::Hash;

/// A secret of 16 bytes.
pub(super) type Seed = Zeroizing<[u8; 16]>;

/// Every node of a tree, for the party that made the root.
pub(super) struct Tree {
    suite: Suite,
    /// Node v is at position v - 1.
    nodes: Vec<Seed>,
}

impl Tree {
    pub(super) fn grow(session: &[u8; 32], root: &Seed, suite: Suite) -> Self {
        let total = usize::from(suite.total());
        // Reserved at once: growing would leave copies of secrets behind.
        let mut nodes = Vec::with_capacity(2 * total);
        nodes.push(root.clone());
        for node in 1..u32::from(suite.total()) {
            let Some(seed) = nodes.get(position(node)) else { break };
            nodes.extend(children(session, node, seed));
        }
        Self { suite, nodes }
    }

    /// The seeds with their indices, in order.
    pub(super) fn leaves(&self) -> Vec<(u16, Seed)> {
        let first = position(self.suite.total().into());
        (0..).zip(self.nodes.iter().skip(first).cloned()).collect()
    }

    /// What the verifier gets.
    pub(super) fn cover(&self, hidden: &[u16]) -> Vec<[u8; 16]> {
        let nodes = cover(hidden, self.suite);
        nodes.iter().filter_map(|node| self.nodes.get(position(*node))).map(|seed| **seed).collect()
    }
}

fn position(node: u32) -> usize {
    usize::try_from(node).unwrap_or(usize::MAX).saturating_sub(1)
}

fn children(session: &[u8; 32], node: u32, seed: &Seed) -> [Seed; 2] {
    let both = Hash::new("node").part(session).number(node).part(&**seed).short::<32>();
    let (mut left, mut right) = (Seed::default(), Seed::default());
    for (to, from) in left.iter_mut().chain(right.iter_mut()).zip(both.iter()) {
        *to = *from;
    }
    [left, right]
}

/// The numbers of the nodes that cover every leaf but the hidden ones.
pub(super) fn cover(hidden: &[u16], suite: Suite) -> Vec<u32> {
    let total = u32::from(suite.total());
    let mut marked = BTreeSet::new();
    for index in hidden {
        let mut node = total + u32::from(*index);
        while node > 0 && marked.insert(node) {
            node /= 2;
        }
    }
    let inner = marked.iter().filter(|node| **node < total);
    let below: BTreeSet<u32> = inner.flat_map(|node| [2 * node, 2 * node + 1]).collect();
    below.difference(&marked).copied().collect()
}

/// The opened seeds with their indices, ascending.
pub(super) fn regrow(
    session: &[u8; 32],
    hidden: &[u16],
    cover_seeds: &[[u8; 16]],
    suite: Suite,
) -> Vec<(u16, Seed)> {
    let total = u32::from(suite.total());
    let mut leaves = Vec::with_capacity(suite.total().into());
    let seeds = cover_seeds.iter().map(|seed| Zeroizing::new(*seed));
    let mut open: Vec<(u32, Seed)> = cover(hidden, suite).into_iter().zip(seeds).collect();
    while let Some((node, seed)) = open.pop() {
        if let Some(index) = node.checked_sub(total) {
            leaves.push((u16::try_from(index).unwrap_or(u16::MAX), seed));
        } else {
            let [left, right] = children(session, node, &seed);
            open.extend([(2 * node, left), (2 * node + 1, right)]);
        }
    }
    leaves.sort_unstable_by_key(|(index, _)| *index);
    leaves
}
