//! The Merkle tree of the log: RFC 6962 section 2.1 (= RFC 9162 section 2.1) over SHA-256.
//!
//! ```text
//! root                  .                  7 leaves; stored: every perfect subtree, as (level, index)
//!                   /       \              not stored: the dots, they change as the tree grows
//! level 2       (2,0)         .            peaks, largest first: (2,0) (1,2) (0,6)
//!              /     \       /  \
//! level 1   (1,0)  (1,1)  (1,2)  \
//! level 0   0   1  2   3  4   5   6
//! ```
//!
//! Invariants:
//! * A perfect subtree never changes, so what [`Frontier::append`] returns is written once.
//! * A frontier has one peak for each one bit of its size.
//! * Proofs are built from perfect subtrees alone, with at most 128 reads at any size.
//! * A check takes size and root from its caller, who has both from one verified checkpoint: a
//!   proof made for one size can also fit other sizes.

use std::ops::Range;

use thiserror::Error;

use crate::ids::Digest;

/// Hash of a leaf: `SHA-256(0x00 || bytes)` (RFC 6962 section 2.1).
pub fn leaf_hash(bytes: &[u8]) -> Digest {
    Digest::of(&[&LEAF_PREFIX, bytes])
}

/// Hash of an inner node: `SHA-256(0x01 || left || right)` (RFC 6962 section 2.1).
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest::of(&[&NODE_PREFIX, left.as_bytes(), right.as_bytes()])
}

/// Root of the tree without leaves: `SHA-256("")` (RFC 6962 section 2.1).
pub fn empty_root() -> Digest {
    Digest::of(&[])
}

/// Names a perfect subtree: the leaves `index << level` up to, not including, `(index + 1) << level`.
/// Level 0 holds the leaf hashes; tlog-tiles keeps every eighth level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId {
    /// Height above the leaf hashes, 0 to 63.
    pub level: u8,
    /// Position among the nodes of this level, from 0.
    pub index: u64,
}

/// The right edge of a growing tree (RFC 6962 section 2.1): its size and the peaks of its perfect
/// subtrees, largest first. It is all that is needed to append and to compute the root.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// The tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Loads the right edge of a stored tree. `node` reads one stored perfect subtree.
    pub fn from_nodes<E>(size: u64, node: impl FnMut(NodeId) -> Result<Digest, E>) -> Result<Self, E> {
        let peaks = perfect_nodes(0..size).map(node).collect::<Result<_, E>>()?;
        Ok(Self { size, peaks })
    }

    /// The number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root `MTH` of RFC 6962 section 2.1.
    pub fn root(&self) -> Digest {
        join(&self.peaks)
    }

    /// Appends a leaf and returns every node that is now complete, the leaf's own first, for storing.
    pub fn append(&mut self, leaf_hash: Digest) -> Vec<(NodeId, Digest)> {
        let (mut id, mut hash) = (NodeId { level: 0, index: self.size }, leaf_hash);
        let mut complete = vec![(id, hash)];
        while !id.index.is_multiple_of(2) {
            let left = self.peaks.pop().expect("invariant: a right node's sibling is the last peak");
            hash = node_hash(&left, &hash);
            id = NodeId { level: id.level + 1, index: id.index / 2 };
            complete.push((id, hash));
        }
        self.peaks.push(hash);
        self.size = self.size.checked_add(1).expect("invariant: no store holds 2^64 leaves");
        complete
    }
}

/// Builds the proof that leaf `index` is in the tree of `size` leaves: `PATH(index, D[size])` of
/// RFC 6962 section 2.1.1, from the leaf's sibling up. `node` reads one stored perfect subtree.
///
/// The caller makes sure that `index < size`; otherwise the result is empty and proves nothing.
pub fn inclusion_proof<E>(
    index: u64,
    size: u64,
    mut node: impl FnMut(NodeId) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    let mut proof = Vec::new();
    let mut leaves = if index < size { 0..size } else { 0..0 };
    while let Some((left, right)) = halves(&leaves) {
        let (inside, sibling) = if left.contains(&index) { (left, right) } else { (right, left) };
        proof.push(subtree_root(sibling, &mut node)?);
        leaves = inside;
    }
    proof.reverse();
    Ok(proof)
}

/// Builds the proof that the tree of `new` leaves begins with the tree of `old` leaves:
/// `PROOF(old, D[new])` of RFC 6962 section 2.1.2. `node` reads one stored perfect subtree.
///
/// The caller makes sure that `0 < old <= new`; otherwise the result is empty and proves nothing.
pub fn consistency_proof<E>(
    old: u64,
    new: u64,
    mut node: impl FnMut(NodeId) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    let mut proof = Vec::new();
    // Out of range, the old tree itself: nothing to split, nothing to prove.
    let mut leaves = if (1..=new).contains(&old) { 0..new } else { 0..old };
    while leaves.end != old
        && let Some((left, right)) = halves(&leaves)
    {
        let (inside, sibling) = if old <= left.end { (left, right) } else { (right, left) };
        proof.push(subtree_root(sibling, &mut node)?);
        leaves = inside;
    }
    // SUBPROOF's flag: the verifier knows this subtree only if it is the whole old tree.
    if leaves.start > 0 {
        proof.push(subtree_root(leaves, &mut node)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that the leaf hash stands at `index` in the tree of `size` leaves (RFC 9162 section 2.1.3.2).
///
/// Take `size` and `root` from the same verified checkpoint: a proof for leaf 0 of 255 also fits
/// every size from 129 to 256.
pub fn verify_inclusion(
    leaf_hash: &Digest,
    index: u64,
    size: u64,
    proof: &[Digest],
    root: &Digest,
) -> Result<(), ProofError> {
    ensure(index < size, ProofError::IndexOutOfRange)?;
    let mut climb = Climb { node: index, last: size - 1 };
    let mut hash = *leaf_hash;
    for sibling in proof {
        hash = match climb.step()? {
            Side::Left => node_hash(sibling, &hash),
            Side::Right => node_hash(&hash, sibling),
        };
    }
    climb.finish()?;
    ensure(hash == *root, ProofError::RootMismatch)
}

/// Checks that the tree of `new` leaves with `new_root` begins with the tree of `old` leaves with
/// `old_root` (RFC 9162 section 2.1.4.2). `old == 0` is an error: nothing can be proved about it.
///
/// Take each size and its root from the same verified checkpoint.
pub fn verify_consistency(
    old: u64,
    new: u64,
    proof: &[Digest],
    old_root: &Digest,
    new_root: &Digest,
) -> Result<(), ProofError> {
    ensure((1..=new).contains(&old), ProofError::SizesOutOfRange)?;
    if old == new {
        ensure(proof.is_empty(), ProofError::Length)?;
        return ensure(old_root == new_root, ProofError::RootMismatch);
    }
    ensure(!proof.is_empty(), ProofError::Length)?;
    // An old tree that is one perfect subtree is its own first hash; the proof leaves it out.
    let known = old.is_power_of_two().then_some(old_root);
    let path: Vec<_> = known.into_iter().chain(proof).copied().collect();
    let roots = consistency_roots(old, new, &path)?;
    ensure(roots == (*old_root, *new_root), ProofError::RootMismatch)
}

/// The roots that a path gives for the tree of `old` leaves and for the tree of `new` leaves: the hashes of a consistency
/// proof, but the first is never left out.
///
/// Whoever signed the root of the new tree has fixed every hash below it. So a path that leads to this root shows which root the
/// old tree has in that history: if another one was signed for it, the two trees are not one log (R-563).
pub fn consistency_roots(old: u64, new: u64, path: &[Digest]) -> Result<(Digest, Digest), ProofError> {
    ensure((1..new).contains(&old), ProofError::SizesOutOfRange)?;
    let (first, rest) = path.split_first().ok_or(ProofError::Length)?;
    let perfect_levels = (old - 1).trailing_ones();
    let mut climb = Climb { node: (old - 1) >> perfect_levels, last: (new - 1) >> perfect_levels };
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in rest {
        match climb.step()? {
            Side::Left => {
                old_hash = node_hash(sibling, &old_hash);
                new_hash = node_hash(sibling, &new_hash);
            }
            Side::Right => new_hash = node_hash(&new_hash, sibling),
        }
    }
    climb.finish()?;
    Ok((old_hash, new_hash))
}

/// Builds the path that [`consistency_roots`] takes. `node` reads one stored perfect subtree.
///
/// The caller makes sure that `0 < old < new`; otherwise the result proves nothing.
pub fn consistency_path<E>(
    old: u64,
    new: u64,
    mut node: impl FnMut(NodeId) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    let mut path = Vec::new();
    if old.is_power_of_two() {
        let level = u8::try_from(old.trailing_zeros()).unwrap_or(u8::MAX);
        path.push(node(NodeId { level, index: 0 })?);
    }
    path.extend(consistency_proof(old, new, node)?);
    Ok(path)
}

/// Why a proof does not hold (RFC 9162 sections 2.1.3.2 and 2.1.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProofError {
    /// There is no such leaf in a tree of this size.
    #[error("there is no leaf with this index in a tree of this size")]
    IndexOutOfRange,
    /// The proof has more or fewer hashes than the sizes ask for.
    #[error("the proof has the wrong number of hashes")]
    Length,
    /// The hashes do not lead to the root: another leaf, another history, or an altered proof.
    #[error("the proof does not lead to the root")]
    RootMismatch,
    /// Consistency is defined for `0 < old <= new` only.
    #[error("the old size must be at least 1 and at most the new size")]
    SizesOutOfRange,
}

/// On which side of the known hash the next hash of a proof stands.
enum Side {
    Left,
    Right,
}

/// The way from a node to the root: `fn` and `sn` of RFC 9162.
struct Climb {
    node: u64,
    last: u64,
}

impl Climb {
    fn step(&mut self) -> Result<Side, ProofError> {
        ensure(self.last != 0, ProofError::Length)?;
        if self.node.is_multiple_of(2) && self.node != self.last {
            self.rise(1);
            return Ok(Side::Right);
        }
        // The last node of a level first rises to where it is a right node and has a sibling. It is
        // not node 0, since it is odd or equal to `last`, so that is less than 64 levels up.
        self.rise(self.node.trailing_zeros());
        self.rise(1);
        Ok(Side::Left)
    }

    fn rise(&mut self, levels: u32) {
        self.node >>= levels;
        self.last >>= levels;
    }

    fn finish(&self) -> Result<(), ProofError> {
        ensure(self.last == 0, ProofError::Length)
    }
}

fn ensure(holds: bool, otherwise: ProofError) -> Result<(), ProofError> {
    if holds { Ok(()) } else { Err(otherwise) }
}

/// Splits `leaves` where RFC 6962 does: the left part is the largest power of two below their number.
fn halves(leaves: &Range<u64>) -> Option<(Range<u64>, Range<u64>)> {
    let level = (leaves.end - leaves.start).checked_sub(1)?.checked_ilog2()?;
    let middle = leaves.start + (1 << level);
    Some((leaves.start..middle, middle..leaves.end))
}

/// The perfect subtrees that make up `leaves`, largest first. `leaves` comes from [`halves`], so its
/// start is a multiple of each of them, and the subtree of a level is the last whole one before its end.
fn perfect_nodes(leaves: Range<u64>) -> impl Iterator<Item = NodeId> {
    let count = leaves.end - leaves.start;
    (0..64)
        .rev()
        .filter(move |level| count & (1 << level) != 0)
        .map(move |level| NodeId { level, index: (leaves.end >> level) - 1 })
}

fn subtree_root<E>(
    leaves: Range<u64>,
    node: &mut impl FnMut(NodeId) -> Result<Digest, E>,
) -> Result<Digest, E> {
    let peaks = perfect_nodes(leaves).map(node).collect::<Result<Vec<_>, E>>()?;
    Ok(join(&peaks))
}

/// Joins peaks into a root from the right, the smallest first.
fn join(peaks: &[Digest]) -> Digest {
    let mut peaks = peaks.iter().rev();
    let Some(last) = peaks.next() else { return empty_root() };
    peaks.fold(*last, |right, left| node_hash(left, &right))
}

const LEAF_PREFIX: [u8; 1] = [0];
const NODE_PREFIX: [u8; 1] = [1];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn split(leaves: &[Digest]) -> (&[Digest], &[Digest]) {
        leaves.split_at(leaves.len().next_power_of_two() / 2)
    }

    /// MTH, PATH and SUBPROOF as RFC 6962 writes them, over leaf hashes.
    fn mth(d: &[Digest]) -> Digest {
        match d {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => node_hash(&mth(split(d).0), &mth(split(d).1)),
        }
    }

    fn path(m: usize, d: &[Digest]) -> Vec<Digest> {
        let (left, right) = split(d);
        match m {
            _ if d.len() == 1 => vec![],
            _ if m < left.len() => [path(m, left), vec![mth(right)]].concat(),
            _ => [path(m - left.len(), right), vec![mth(left)]].concat(),
        }
    }

    fn subproof(m: usize, d: &[Digest], known: bool) -> Vec<Digest> {
        let (left, right) = split(d);
        match m {
            _ if m == d.len() && known => vec![],
            _ if m == d.len() => vec![mth(d)],
            _ if m <= left.len() => [subproof(m, left, known), vec![mth(right)]].concat(),
            _ => [subproof(m - left.len(), right, false), vec![mth(left)]].concat(),
        }
    }

    /// Every proof that differs from this one in one hash altered, dropped or added.
    fn damaged(proof: &[Digest]) -> Vec<Vec<Digest>> {
        let mut result = vec![[proof, &[empty_root()]].concat()];
        for (place, hash) in proof.iter().enumerate() {
            let mut bytes = *hash.as_bytes();
            bytes[place % 32] ^= 1 << (place % 8);
            let (before, after) = (&proof[..place], &proof[place + 1..]);
            result.push([before, &[Digest::from_bytes(bytes)], after].concat());
            result.push([before, after].concat());
            result.push([before, &[*hash, *hash], after].concat());
        }
        result
    }

    /// Grows a tree and returns its leaf hashes, its root at each size, and the nodes to store.
    fn grow(size: u64) -> (Vec<Digest>, Vec<Digest>, BTreeMap<NodeId, Digest>) {
        let (mut leaves, mut roots, mut stored) = (vec![], vec![empty_root()], BTreeMap::new());
        let mut frontier = Frontier::new();
        for index in 0..size {
            leaves.push(leaf_hash(&index.to_be_bytes()));
            for (id, hash) in frontier.append(leaves[leaves.len() - 1]) {
                assert_eq!(stored.insert(id, hash), None, "a node is complete only once");
            }
            roots.push(frontier.root());
            assert_eq!((frontier.size(), frontier.root()), (index + 1, mth(&leaves)));
            let loaded = Frontier::from_nodes(index + 1, |id| stored.get(&id).copied().ok_or(id));
            assert_eq!(loaded.as_ref(), Ok(&frontier));
        }
        (leaves, roots, stored)
    }

    #[test]
    fn every_small_inclusion_proof_is_path_and_no_damaged_one_holds() {
        let (leaves, roots, stored) = grow(70);
        for ((n, size), root) in (1..=70).zip(1..=70u64).zip(&roots[1..]) {
            for (i, index) in (0..n).zip(0..size) {
                let proof = inclusion_proof(index, size, |id| stored.get(&id).copied().ok_or(id)).unwrap();
                assert_eq!(proof, path(i, &leaves[..n]));
                let check = |leaf, index, proof: &[_], root| verify_inclusion(leaf, index, size, proof, root);
                assert_eq!(check(&leaves[i], index, &proof, root), Ok(()));
                assert_eq!(check(&leaves[i], index, &proof, &roots[0]), Err(ProofError::RootMismatch));
                assert_eq!(check(&roots[0], index, &proof, root), Err(ProofError::RootMismatch));
                let holds = |index, proof: &[_]| check(&leaves[i], index, proof, root).is_ok();
                assert!(!damaged(&proof).iter().any(|bad| holds(index, bad)));
                assert!(!(0..=size).any(|other| other != index && holds(other, &proof)));
            }
        }
    }

    #[test]
    fn every_small_consistency_proof_is_subproof_and_no_damaged_one_holds() {
        let (leaves, roots, stored) = grow(70);
        for ((n, new), root) in (1..=70).zip(1..=70u64).zip(&roots[1..]) {
            for (m, old) in (1..=n).zip(1..=new) {
                let proof = consistency_proof(old, new, |id| stored.get(&id).copied().ok_or(id)).unwrap();
                assert_eq!(proof, subproof(m, &leaves[..n], true));
                let check = |old, proof: &[_], start, end| verify_consistency(old, new, proof, start, end);
                assert_eq!(check(old, &proof, &roots[m], root), Ok(()));
                assert_eq!(check(old, &proof, &roots[m], &roots[0]), Err(ProofError::RootMismatch));
                assert_eq!(check(old, &proof, &roots[0], root), Err(ProofError::RootMismatch));
                let holds = |old, proof: &[_]| check(old, proof, &roots[m], root).is_ok();
                assert!(!damaged(&proof).iter().any(|bad| holds(old, bad)));
                assert!(!(0..=new + 1).any(|other| other != old && holds(other, &proof)));
            }
        }
    }

    /// R-563: a path to the new root gives the one root that the old tree has under it.
    #[test]
    fn a_path_to_the_new_root_shows_the_root_of_the_old_tree() {
        let (_, roots, stored) = grow(40);
        for (new, root) in (1..=40u64).zip(&roots[1..]) {
            for (old, old_root) in (1..new).zip(&roots[1..]) {
                let path = consistency_path(old, new, |id| stored.get(&id).copied().ok_or(id)).unwrap();
                assert_eq!(consistency_roots(old, new, &path), Ok((*old_root, *root)));
                for bad in damaged(&path) {
                    assert!(
                        consistency_roots(old, new, &bad).is_ok_and(|(_, it)| it == *root) <= (bad == path)
                    );
                }
            }
            assert!(consistency_roots(new, new, &[*root]).is_err());
            assert!(consistency_roots(0, new, &[*root]).is_err());
        }
    }
}
