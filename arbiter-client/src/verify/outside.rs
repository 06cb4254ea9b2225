//! What others say about the log that holds a ruling: cosignatures of witnesses (R-565) and time-stamps (R-567).
//!
//! ```text
//!  tlog-proof ─▶ the log signed it? ─▶ the same leaf in it? ─▶ same history as the receipt's? ─▶ witnesses ─▶ quorum
//!  time-stamp ─▶ over one of the two checkpoints? ─▶ signature, certificate, chain ─▶ time
//! ```
//!
//! Invariants
//! - Size and root come from the checkpoint that the log signed, never from the proof.
//! - A witness or authority that the caller does not name counts for nothing, and is said to be unchecked.

use std::collections::BTreeMap;

use arbiter_protocol::evidence::checkpoint::{Checkpoint, SignedCheckpoint};
use arbiter_protocol::evidence::leaf::Leaf;
use arbiter_protocol::evidence::merkle;
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::evidence::tlog_proof::TlogProof;
use arbiter_protocol::ids::Digest;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::message::verdict::Attestation;
use arbiter_protocol::ruling::receipt::Proven;

use super::{Clock, Desk, Status, Time};
use crate::bundle::BundledReceipt;
use crate::plain;
use crate::timestamp::Token;

/// A leaf that is proven to be in the log, and what was added to it.
pub(super) struct Logged<'a> {
    /// What to call it in the report.
    pub(super) of: &'a str,
    pub(super) leaf: &'a Leaf,
    /// The leaf as it is hashed.
    pub(super) bytes: &'a [u8],
    /// The proof that came with it, and the checkpoint that it leads to.
    pub(super) path: &'a [Digest],
    pub(super) checkpoint: &'a SignedCheckpoint,
    pub(super) tlog_proof: Option<&'a str>,
    pub(super) timestamps: &'a [Vec<u8>],
    pub(super) arbiter: &'a ArbiterIdentity,
}

impl Desk<'_> {
    pub(super) fn outside(&mut self, receipt: &BundledReceipt, proven: &Proven, arbiter: &ArbiterIdentity) {
        self.logged(&Logged {
            of: if receipt.statement.holds::<Attestation>() { "attestation" } else { "verdict" },
            leaf: &proven.leaf,
            bytes: &receipt.leaf,
            path: &receipt.inclusion_proof,
            checkpoint: &proven.checkpoint,
            tlog_proof: receipt.tlog_proof.as_deref(),
            timestamps: &receipt.timestamps,
            arbiter,
        });
    }

    /// The times of a logged event, witnesses and time-stamps.
    pub(super) fn logged(&mut self, logged: &Logged<'_>) {
        self.times.push(Time {
            of: logged.of.to_owned(),
            clock: Clock::Arbiter,
            who: logged.arbiter.log_origin.to_string(),
            time: logged.leaf.time.to_string(),
            uncertainty_millis: Some(logged.leaf.clock_uncertainty.0),
        });
        let later = match logged.tlog_proof {
            Some(text) => match self.later(logged, text) {
                Some(later) => Some(later),
                None => return,
            },
            None => None,
        };
        self.policy_log(logged);
        match &later {
            Some(later) => self.witnesses(logged, later),
            None if self.verifier.policy.is_some() => {
                let detail = "the bundle has no tlog-proof for this leaf: `fairx bundle upgrade` adds one";
                self.add(&format!("{}-quorum", logged.of), Status::Missing, detail.to_owned());
            }
            None => {}
        }
        self.timestamps(logged, later.as_ref());
    }

    /// R-565: the newer checkpoint, signed by the log, with the same leaf in it and nothing that contradicts the receipt.
    fn later(&mut self, logged: &Logged<'_>, text: &str) -> Option<SignedCheckpoint> {
        let name = format!("{}-tlog-proof", logged.of);
        let proof = self.parsed(&name, TlogProof::parse(text))?;
        let key = VerifierKey::new(logged.arbiter.log_origin.as_str(), logged.arbiter.log_key);
        let key = self.parsed(&name, key)?;
        let signed = self.parsed(&name, SignedCheckpoint::verify(&proof.note().to_string(), &key))?;
        let (checkpoint, earlier) = (signed.checkpoint(), logged.checkpoint.checkpoint());
        if proof.index() != logged.leaf.index {
            self.fail(&name, format!("it is about leaf {}, not {}", proof.index(), logged.leaf.index));
            return None;
        }
        let hash = merkle::leaf_hash(logged.bytes);
        let included = merkle::verify_inclusion(
            &hash,
            proof.index().0,
            checkpoint.size,
            proof.hashes(),
            &checkpoint.root,
        );
        self.parsed(&name, included)?;
        self.pass(
            &name,
            format!(
                "the same leaf is in the tree of size {} too, which the log's key signed",
                checkpoint.size
            ),
        );
        let name = format!("{}-history", logged.of);
        let compared = shared(logged.leaf.index.0, earlier, logged.path, checkpoint, proof.hashes());
        match compared {
            Some(_) if checkpoint.size < earlier.size => {
                self.fail(&name, "the tlog-proof is older than the receipt: it adds nothing".to_owned());
                return None;
            }
            Some(count) => self.pass(
                &name,
                format!(
                    "nothing in it contradicts the receipt's checkpoint; {count} hashes of both were compared"
                ),
            ),
            None => {
                self.fail(
                    &name,
                    "THE LOG SHOWS ANOTHER HISTORY than the receipt's checkpoint: keep both, they convict the arbiter"
                        .to_owned(),
                );
                return None;
            }
        }
        Some(signed)
    }

    fn parsed<T, E: std::fmt::Display>(&mut self, name: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.fail(name, error.to_string())).ok()
    }

    /// The policy must name this very log: another key could cosign another history.
    fn policy_log(&mut self, logged: &Logged<'_>) {
        let Some(policy) = self.verifier.policy else { return };
        let name = format!("{}-policy-log", logged.of);
        let origin = logged.arbiter.log_origin.as_str();
        if policy.logs_of(origin).any(|log| log.key.key_bytes() == logged.arbiter.log_key.as_bytes()) {
            self.pass(&name, format!("your policy names log {origin} with the key in the agreement"));
        } else {
            self.fail(&name, format!("your policy does not name log {origin} with the key in the agreement"));
        }
    }

    fn witnesses(&mut self, logged: &Logged<'_>, later: &SignedCheckpoint) {
        let of = logged.of;
        let others = later.note().signatures().len().saturating_sub(1);
        let Some(policy) = self.verifier.policy else {
            if others > 0 {
                let detail =
                    format!("{others} more signatures are on the checkpoint; they count only with --policy");
                self.add(&format!("{of}-witnesses"), Status::Unchecked, detail);
            }
            return;
        };
        let Some(quorum) = self.parsed(&format!("{of}-witnesses"), policy.quorum(later)) else { return };
        let size = later.checkpoint().size;
        let mut names = Vec::new();
        for (witness, time) in &quorum.seen {
            let time = time.to_millis();
            let who = plain::clip(witness, 60);
            self.pass(
                &format!("{of}-witness"),
                format!("{who} cosigned this tree of size {size} at {} on its clock", plain::time(time)),
            );
            self.times.push(Time {
                of: of.to_owned(),
                clock: Clock::Witness,
                who: who.clone(),
                time: time.to_string(),
                uncertainty_millis: None,
            });
            names.push(format!("{who} at {}", plain::time(time)));
        }
        let name = format!("{of}-quorum");
        if quorum.satisfied {
            self.pass(&name, format!("the quorum of your policy, with {} of its witnesses", names.len()));
            if !names.is_empty() {
                self.proves.push(format!(
                    "Witnesses that your policy names have seen the log with the leaf of this {of} in it, each by its own \
                     clock: {}. The log cannot show them another history.",
                    names.join("; ")
                ));
            }
        } else {
            let detail = format!(
                "{} witnesses are not the quorum of your policy: `fairx bundle upgrade` may bring more",
                names.len()
            );
            self.add(&name, Status::Missing, detail);
        }
    }

    fn timestamps(&mut self, logged: &Logged<'_>, later: Option<&SignedCheckpoint>) {
        let name = format!("{}-timestamp", logged.of);
        if logged.timestamps.is_empty() && self.verifier.authorities.is_some() {
            let detail = "the bundle has no time-stamp for this leaf: `fairx bundle timestamp` adds one";
            self.add(&name, Status::Missing, detail.to_owned());
        }
        let texts: Vec<_> =
            [Some(logged.checkpoint), later].into_iter().flatten().map(|it| it.note().text()).collect();
        for der in logged.timestamps {
            let Some(token) = self.parsed(&name, Token::parse(der)) else { continue };
            let Some(text) = texts.iter().find(|text| token.is_over(text.as_bytes())) else {
                self.fail(
                    &name,
                    "the time-stamp is over another text than a checkpoint of this leaf".to_owned(),
                );
                continue;
            };
            let Some(authorities) = self.verifier.authorities else {
                let detail = format!(
                    "a time-stamp is there; it says {} and counts only with --tsa-ca",
                    plain::time(token.claimed_time())
                );
                self.add(&name, Status::Unchecked, detail);
                continue;
            };
            let Some(said) = self.parsed(&name, token.verify(text.as_bytes(), authorities)) else { continue };
            let (time, who) = (plain::time(said.time), plain::clip(&said.authority, 80));
            self.pass(&name, format!("{who} stamped a checkpoint with this leaf at {time}"));
            self.proves.push(format!(
                "The leaf of this {} was in the log at {time}, by the clock of the time-stamping authority {who}, whose \
                 certificates you trust.",
                logged.of
            ));
            if said.time.after(arbiter_protocol::time::DurationMillis(said.accuracy_millis.unwrap_or(0)))
                < logged.leaf.time.before(logged.leaf.clock_uncertainty)
            {
                self.warnings.push(format!(
                    "By the authority's clock the leaf of this {} was in the log before the arbiter's clock says that it was \
                     made: one of the two clocks is wrong.",
                    logged.of
                ));
            }
            self.times.push(Time {
                of: logged.of.to_owned(),
                clock: Clock::Authority,
                who,
                time: said.time.to_string(),
                uncertainty_millis: said.accuracy_millis,
            });
        }
    }
}

/// How many hashes of subtrees two proofs of one leaf share; `None` if two that must be the same differ.
///
/// A proof for one tree and a proof for a larger one have siblings over the same leaves: those never change. Two
/// whole trees of one size are compared by their roots.
fn shared(
    index: u64,
    one: &Checkpoint,
    path: &[Digest],
    other: &Checkpoint,
    longer: &[Digest],
) -> Option<usize> {
    let whole = |it: &Checkpoint| ((0, it.size), it.root);
    let mut known: BTreeMap<(u64, u64), Digest> =
        siblings(index, one.size).into_iter().zip(path.iter().copied()).collect();
    known.extend([whole(one)]);
    let mut count = 0usize;
    for (range, hash) in
        siblings(index, other.size).into_iter().zip(longer.iter().copied()).chain([whole(other)])
    {
        match known.get(&range) {
            Some(same) if *same == hash => count = count.saturating_add(1),
            Some(_) => return None,
            None => {}
        }
    }
    Some(count)
}

/// The leaves (first, one after the last) below each hash of an inclusion proof, from the leaf's sibling up.
fn siblings(index: u64, size: u64) -> Vec<(u64, u64)> {
    let (mut first, mut end) = (0, size);
    let mut ranges = Vec::new();
    while index < size && end.saturating_sub(first) > 1 {
        // The largest power of two below the number of leaves.
        let half = 1u64 << (end - first - 1).ilog2();
        let middle = first.saturating_add(half);
        if index < middle {
            ranges.push((middle, end));
            end = middle;
        } else {
            ranges.push((first, middle));
            first = middle;
        }
    }
    ranges.reverse();
    ranges
}

#[cfg(test)]
mod tests {
    use arbiter_protocol::evidence::checkpoint::Origin;
    use arbiter_protocol::evidence::merkle::{Frontier, NodeId, inclusion_proof};

    use super::*;

    /// A log of leaves: its checkpoint at a size, and the proof of a leaf.
    fn tree(leaves: &[Digest], index: u64) -> (Checkpoint, Vec<Digest>) {
        let (mut frontier, mut nodes) = (Frontier::new(), BTreeMap::new());
        for leaf in leaves {
            nodes.extend(frontier.append(*leaf));
        }
        let size = frontier.size();
        let proof = inclusion_proof(index, size, |id: NodeId| Ok::<_, ()>(nodes[&id])).unwrap();
        (Checkpoint { origin: Origin::parse("log").unwrap(), size, root: frontier.root() }, proof)
    }

    /// R-565: an honest log never differs; one that swaps a neighbour of the leaf, and proves the leaf all the same, is seen.
    #[test]
    fn two_proofs_of_one_leaf_are_compared_as_far_as_they_go() {
        let honest: Vec<_> = (0..40_u8).map(|it| Digest::of(&[&[it]])).collect();
        for index in 0..20 {
            for (small, large) in [(20, 20), (20, 21), (20, 32), (20, 40)] {
                let (one, path) = tree(&honest[..small], index);
                let (other, longer) = tree(&honest[..large], index);
                assert_eq!(siblings(index, one.size).len(), path.len());
                assert!(shared(index, &one, &path, &other, &longer).unwrap() > 0);
                let neighbour = usize::try_from(index ^ 1).unwrap();
                let mut forked = honest.clone();
                forked[neighbour] = Digest::of(&[b"another"]);
                let (other, longer) = tree(&forked[..large], index);
                assert_eq!(shared(index, &one, &path, &other, &longer), None, "{index} {small} {large}");
            }
        }
    }
}
