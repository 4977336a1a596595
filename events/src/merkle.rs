//! The Merkle tree of RFC 6962 (section 2.1) over event hashes: one root stands for the whole log,
//! and a short proof shows that one event is in it.

use sha2::{Digest as _, Sha256 as Hasher};

use crate::digest::Sha256;

/// The root of the tree over `leaves`, which are hashed as they stand.
pub fn root<L: AsRef<[u8]>>(leaves: &[L]) -> Sha256 {
    let mut tree = Tree::default();
    for leaf in leaves {
        tree.push(leaf.as_ref());
    }
    tree.root()
}

/// A tree that grows by one leaf at a time and keeps only what its root needs: one hash for each
/// one in the binary form of its size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// The roots of the full subtrees, the largest first.
    peaks: Vec<Sha256>,
}

impl Tree {
    /// Adds a leaf at the end.
    pub fn push(&mut self, leaf: &[u8]) {
        let mut hash = leaf_hash(leaf);
        // As in counting: each trailing one of the size is a full subtree to join with.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root; that of no leaves is the hash of nothing.
    pub fn root(&self) -> Sha256 {
        let mut peaks = self.peaks.iter().rev().copied();
        match peaks.next() {
            None => Sha256::of(b""),
            Some(last) => peaks.fold(last, |right, left| node_hash(&left, &right)),
        }
    }
}

/// The proof that the leaf at `index` is in the tree over `leaves`: the hashes beside its way to the
/// root, from the leaf up. Nothing if there is no such leaf.
pub fn inclusion_proof<L: AsRef<[u8]>>(leaves: &[L], index: usize) -> Option<Vec<Sha256>> {
    if index >= leaves.len() {
        return None;
    }
    let mut proof = Vec::new();
    let (mut leaves, mut index) = (leaves, index);
    while leaves.len() > 1 {
        let (left, right) = leaves.split_at(split(leaves.len()));
        if index < left.len() {
            proof.push(root(right));
            leaves = left;
        } else {
            proof.push(root(left));
            index -= left.len();
            leaves = right;
        }
    }
    proof.reverse();
    Some(proof)
}

/// Whether `proof` shows that `leaf` stands at `index` in the tree of `size` leaves with this
/// `root` (RFC 9162, section 2.1.3.2).
pub fn verify_inclusion(
    root: &Sha256,
    size: u64,
    index: u64,
    leaf: &[u8],
    proof: &[Sha256],
) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last) = (index, size - 1);
    let mut hash = leaf_hash(leaf);
    for beside in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(beside, &hash);
            // The last node of an odd level climbs without a partner.
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, beside);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// The largest power of two below `count`, which is at least two.
fn split(count: usize) -> usize {
    1 << (count - 1).ilog2()
}

fn leaf_hash(leaf: &[u8]) -> Sha256 {
    let mut hasher = Hasher::new();
    hasher.update([0]);
    hasher.update(leaf);
    Sha256(hasher.finalize().into())
}

fn node_hash(left: &Sha256, right: &Sha256) -> Sha256 {
    let mut hasher = Hasher::new();
    hasher.update([1]);
    hasher.update(left.as_bytes());
    hasher.update(right.as_bytes());
    Sha256(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The leaves that Certificate Transparency's reference tests use, and the root after each.
    const LEAVES: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn leaves() -> Vec<Vec<u8>> {
        LEAVES.iter().map(|leaf| hex::decode(leaf).unwrap()).collect()
    }

    #[test]
    fn the_roots_are_those_of_certificate_transparency() {
        let leaves = leaves();
        for (count, expected) in (1..).zip(ROOTS) {
            assert_eq!(root(&leaves[..count]).to_string(), expected, "{count} leaves");
        }
        let none: [&[u8]; 0] = [];
        assert_eq!(root(&none), Sha256::of(b""));
    }

    #[test]
    fn the_proofs_are_those_of_certificate_transparency() {
        let leaves = leaves();
        let told = |size: usize, index: usize| -> Vec<String> {
            let proof = inclusion_proof(&leaves[..size], index).unwrap();
            proof.iter().map(ToString::to_string).collect()
        };
        assert_eq!(told(1, 0), Vec::<String>::new());
        assert_eq!(
            told(8, 0),
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ]
        );
        assert_eq!(
            told(8, 5),
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
        assert_eq!(
            told(3, 2),
            ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]
        );
        assert_eq!(inclusion_proof(&leaves, 8), None);
    }

    #[test]
    fn each_leaf_of_each_tree_is_proved_and_nothing_else_is() {
        let leaves: Vec<[u8; 2]> = (0..70u16).map(u16::to_be_bytes).collect();
        for size in 1..=leaves.len() {
            let tree = root(&leaves[..size]);
            let size_u64 = size as u64;
            for index in 0..size {
                let proof = inclusion_proof(&leaves[..size], index).unwrap();
                let at = index as u64;
                let holds = |at, leaf: &[u8], proof: &[Sha256]| {
                    verify_inclusion(&tree, size_u64, at, leaf, proof)
                };
                assert!(holds(at, &leaves[index], &proof), "{index} of {size}");
                assert!(!holds(at, b"other", &proof));
                assert!(!holds(at + 1, &leaves[index], &proof));
                assert!(!holds(size_u64, &leaves[index], &proof));
                assert!(!holds(at, &leaves[index], &[proof.clone(), vec![tree]].concat()));
                if let Some((_, shorter)) = proof.split_last() {
                    assert!(!holds(at, &leaves[index], shorter));
                    let mut wrong = proof.clone();
                    wrong[0].0[0] ^= 1;
                    assert!(!holds(at, &leaves[index], &wrong));
                }
            }
        }
    }
}
