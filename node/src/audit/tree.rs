//! The Merkle tree of RFC 6962 §2.1: hashing, the right edge, inclusion and consistency proofs.

use serde::{Deserialize, Serialize};

use crate::id::Digest;

/// Hash of a leaf: `SHA-256(0x00 ‖ leaf)`.
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    Digest::of_parts(&[&[0], leaf])
}

/// Hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)`.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest::of_parts(&[&[1], &left.0, &right.0])
}

/// The right edge of the tree: the roots of its perfect subtrees, largest first. It suffices to
/// append leaves and compute the root, and has at most 64 digests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    size: u64,
    edge: Vec<Digest>,
}

impl Tree {
    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root; of the empty tree SHA-256 of nothing.
    pub fn root(&self) -> Digest {
        let mut subtrees = self.edge.iter().rev();
        let Some(last) = subtrees.next() else { return Digest::of(&[]) };
        subtrees.fold(*last, |right, left| node_hash(left, &right))
    }

    /// Appends the hash of a leaf.
    pub fn append(&mut self, leaf: Digest) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.edge.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.edge.push(node);
        self.size += 1;
    }
}

/// Digests of a proof, nearest first.
pub type Proof = Vec<Digest>;

/// Root over leaf hashes.
fn root_of(leaves: &[Digest]) -> Digest {
    let mut tree = Tree::default();
    leaves.iter().for_each(|leaf| tree.append(*leaf));
    tree.root()
}

/// Largest power of two below `size`, where RFC 6962 splits a tree of at least two leaves.
fn split(size: usize) -> usize {
    size.next_power_of_two() / 2
}

/// Audit path of leaf `index` in the tree over `leaves` (RFC 6962 §2.1.1); empty for an index
/// beyond them.
pub fn inclusion_path(index: usize, leaves: &[Digest]) -> Proof {
    if leaves.len() < 2 || index >= leaves.len() {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut path, other) = if index < left.len() {
        (inclusion_path(index, left), root_of(right))
    } else {
        (inclusion_path(index - left.len(), right), root_of(left))
    };
    path.push(other);
    path
}

/// Consistency proof between the tree over the first `old` leaves and that over all (RFC 6962
/// §2.1.2).
pub fn consistency_path(old: usize, leaves: &[Digest]) -> Proof {
    if old == 0 || old >= leaves.len() {
        return Vec::new();
    }
    subproof(old, leaves, true)
}

fn subproof(old: usize, leaves: &[Digest], whole: bool) -> Proof {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![root_of(leaves)] };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut path, other) = if old <= left.len() {
        (subproof(old, left, whole), root_of(right))
    } else {
        (subproof(old - left.len(), right, false), root_of(left))
    };
    path.push(other);
    path
}

/// Checks an audit path (RFC 9162 §2.1.3.2).
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &Digest,
    path: &[Digest],
    root: &Digest,
) -> bool {
    if index >= size {
        return false;
    }
    let (mut position, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if position & 1 == 1 || position == last {
            hash = node_hash(sibling, &hash);
            while position & 1 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Checks a consistency proof (RFC 9162 §2.1.4.2).
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &Digest,
    new_root: &Digest,
    path: &[Digest],
) -> bool {
    if old == new {
        return path.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return path.is_empty();
    }
    if old > new {
        return false;
    }
    let mut path = path.iter();
    let start = if old.is_power_of_two() { Some(old_root) } else { path.next() };
    let Some(start) = start else { return false };
    let (mut position, mut last) = (old - 1, new - 1);
    while position & 1 == 1 {
        position >>= 1;
        last >>= 1;
    }
    let (mut first, mut second) = (*start, *start);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if position & 1 == 1 || position == last {
            first = node_hash(sibling, &first);
            second = node_hash(sibling, &second);
            while position & 1 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            second = node_hash(&second, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    last == 0 && first == *old_root && second == *new_root
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used)]

    use super::*;

    fn leaves(count: usize) -> Vec<Digest> {
        (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
    }

    fn tree(leaves: &[Digest]) -> Tree {
        let mut tree = Tree::default();
        leaves.iter().for_each(|leaf| tree.append(*leaf));
        tree
    }

    #[test]
    fn roots_are_those_of_another_implementation() {
        let mut other =
            ct_merkle::mem_backed_tree::MemoryBackedTree::<sha2::Sha256, [u8; 8]>::new();
        assert_eq!(tree(&[]).root().0, other.root().as_bytes().as_slice());
        for n in 0..70usize {
            other.push(n.to_be_bytes());
            assert_eq!(tree(&leaves(n + 1)).root().0, other.root().as_bytes().as_slice(), "{n}");
        }
    }

    #[test]
    fn every_leaf_is_shown_to_be_included_and_no_other() {
        for size in 1..34 {
            let all = leaves(size);
            let root = tree(&all).root();
            for index in 0..size {
                let path = inclusion_path(index, &all);
                let check = |leaf, at| verify_inclusion(at, size as u64, leaf, &path, &root);
                assert!(check(&all[index], index as u64), "{index} of {size}");
                let other = leaf_hash(b"other");
                assert!(!check(&other, index as u64));
                assert!(!check(&all[index], index as u64 + 1));
            }
        }
    }

    #[test]
    fn every_tree_is_shown_to_extend_its_beginnings_and_no_other() {
        for new in 1..34 {
            let all = leaves(new);
            let root = tree(&all).root();
            for old in 1..=new {
                let path = consistency_path(old, &all);
                let before = tree(&all[..old]).root();
                let check =
                    |before| verify_consistency(old as u64, new as u64, before, &root, &path);
                assert!(check(&before), "{old} to {new}");
                assert!(!check(&leaf_hash(b"other")));
            }
        }
    }
}
