//! A charge: statements of the arbiter that an honest one never makes together, in one piece that convicts it (F13, F14).
//!
//! ```text
//!  two statements on one matter ──┐
//!  a ruling against the rules ────┤
//!  two roots of one size ─────────┼── judge(pinned identity) ──▶ steps, each passed or failed ──▶ Guilty | Claim | NotProven
//!  a history that was rewritten ──┤
//!  leaves that exclude each other ┤
//!  no proof was given ────────────┘   (a claim: the log can still clear itself)
//! ```
//! Only the arbiter's identity is needed: no network, no policy, no clock.
//!
//! Invariants
//! - Guilty only if everything that counts was signed by the arbiter's key or its log's key, or is fixed by a hash in what was
//!   signed. Who presents a charge can leave out, reorder and alter everything else, and must not gain by it (R-563).
//! - The judge never takes a key, an index or a size from the charge that a signature or a tree does not fix.

use std::fmt;

use crate::error::Rejected;
use crate::evidence::checkpoint::SignedCheckpoint;
use crate::evidence::leaf::{Leaf, issuer_id};
use crate::evidence::merkle::{consistency_roots, leaf_hash, verify_consistency, verify_inclusion};
use crate::evidence::note::VerifierKey;
use crate::exchange::kind::pledge::Pledge;
use crate::exchange::selection::{ByRole, Role};
use crate::ids::{Digest, ExchangeId, LeafIndex};
use crate::message::agreement::{Acceptance, ArbiterIdentity, Offer};
use crate::message::payment::PaymentReceipt;
use crate::message::request::Request;
use crate::message::verdict::{Answer, Attestation, Verdict};
use crate::ruling::chain::{LeafFault, Walk, one, two};
use crate::ruling::receipt::{Evidence, Proven, Receipt, Ruled, Unproven, decided_again};
use crate::statement::{Envelope, Payload, Signed, Verified};

/// Something that the arbiter signed about its log: how many leaves, and their root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeHead {
    /// An answer to a request, signed by the arbiter's key (R-410).
    Answer(Envelope),
    /// A checkpoint as a signed note, with whoever else signed it.
    Checkpoint(String),
}

/// A leaf with its proof that it is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Its place.
    pub index: LeafIndex,
    /// Exactly as hashed, at most [`crate::limits::LEAF_BYTES`] if it is one of ours.
    pub leaf: Vec<u8>,
    /// From the leaf's sibling to the root's child, at most [`crate::limits::PROOF_HASHES`].
    pub path: Vec<Digest>,
    /// The tree that it is in.
    pub head: TreeHead,
}

/// What the arbiter is accused of, with all that shows it. Nothing in it was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charge {
    /// Two leaves of its log that exclude each other, or one that no log of it may hold.
    Leaves {
        /// The leaf, or the earlier one.
        first: Located,
        /// The later one.
        second: Option<Located>,
    },
    /// At the place that an answer names, its log holds a leaf of another statement.
    OtherLeaf {
        /// The answer.
        answer: Envelope,
        /// What is there.
        there: Located,
    },
    /// Two trees of different size, and a path that shows that the larger one does not begin with the smaller one.
    Rewritten {
        /// The smaller tree.
        older: TreeHead,
        /// The larger tree.
        newer: TreeHead,
        /// As [`consistency_roots`] takes it.
        path: Vec<Digest>,
    },
    /// A verdict or attestation that the rules do not give for the evidence that it names (F13).
    Ruling {
        /// The offer.
        offer: Envelope,
        /// The verdict or attestation.
        statement: Envelope,
        /// Everything that it names.
        evidence: Box<Evidence>,
    },
    /// Two verdicts on one exchange, or two attestations of one depositor in it (F14).
    Statements {
        /// One.
        first: Envelope,
        /// Another.
        second: Envelope,
    },
    /// Two roots for one size.
    TwoRoots {
        /// One.
        first: TreeHead,
        /// Another.
        second: TreeHead,
    },
    /// Two trees of different size, and no proof that joins them. Not proof by itself.
    Unjoined {
        /// The smaller tree.
        older: TreeHead,
        /// The larger tree.
        newer: TreeHead,
        /// What was given as a proof, and is none; empty if none was given.
        shown: Vec<Digest>,
    },
}

/// What comes of judging a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// The arbiter did what an honest one never does. Anybody can see it from the charge alone.
    Guilty(Offence),
    /// Something is there to answer for, and the arbiter can still clear itself.
    Claim,
    /// The charge shows nothing against this arbiter.
    NotProven,
}

/// What the arbiter did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Offence {
    /// Its log holds leaves that no honest log holds.
    BadLog(LeafFault),
    /// It says that one statement is logged where its log holds another.
    OtherLeaf(LeafIndex),
    /// It rewrote its log.
    Rewritten {
        /// So many leaves are not what they were.
        size: u64,
    },
    /// It ruled against the rules.
    RuleBroken(ExchangeId),
    /// It holds two leaves at one place.
    TwoLeaves(LeafIndex),
    /// It signed two roots for one size.
    TwoRoots {
        /// The size.
        size: u64,
    },
    /// It attested one party's deposit twice.
    TwoAttestations(ExchangeId, Role),
    /// It ruled one exchange twice.
    TwoVerdicts(ExchangeId),
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadLog(fault) => write!(f, "its log holds a leaf that no honest log holds: {fault}"),
            Self::OtherLeaf(index) => {
                write!(f, "it says that a statement is logged as leaf {index}, where its log holds another")
            }
            Self::Rewritten { size } => {
                write!(f, "it rewrote its log: the first {size} leaves are not those that it signed before")
            }
            Self::RuleBroken(exchange) => {
                write!(
                    f,
                    "in exchange {exchange} it signed what its own rules do not give for the evidence named"
                )
            }
            Self::TwoLeaves(index) => write!(f, "its log has two different leaves {index}"),
            Self::TwoRoots { size } => write!(f, "it signed two different logs of {size} leaves"),
            Self::TwoAttestations(exchange, role) => {
                write!(f, "in exchange {exchange} it signed two attestations of the {role}'s deposit")
            }
            Self::TwoVerdicts(exchange) => write!(f, "it signed two verdicts on exchange {exchange}"),
        }
    }
}

/// One check of a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Stable name, e.g. `first-signature`.
    pub name: &'static str,
    /// Whether it holds.
    pub passed: bool,
    /// What was checked, or why it does not hold.
    pub detail: String,
}

/// A judged charge: the checks in the order made, up to the first that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The checks.
    pub steps: Vec<Step>,
    /// What they amount to.
    pub finding: Finding,
}

impl Charge {
    /// Judges the charge against the arbiter that the caller pinned (R-563).
    pub fn judge(&self, arbiter: &ArbiterIdentity) -> Judgement {
        let mut court = Court { arbiter, steps: Vec::new() };
        let finding = match self {
            Self::Leaves { first, second } => court.leaves(first, second.as_ref()),
            Self::OtherLeaf { answer, there } => court.other_leaf(answer, there),
            Self::Rewritten { older, newer, path } => court.rewritten(older, newer, path),
            Self::Ruling { offer, statement, evidence } => court.ruling(offer, statement, evidence),
            Self::Statements { first, second } => court.statements(first, second),
            Self::TwoRoots { first, second } => court.two_roots(first, second),
            Self::Unjoined { older, newer, shown } => court.unjoined(older, newer, shown),
        };
        Judgement { steps: court.steps, finding: finding.unwrap_or(Finding::NotProven) }
    }

    /// The charge that two verified receipts make, if they contradict each other ([`super::receipt::contradict`]).
    pub fn of_receipts(one: (&Receipt, &Proven), other: (&Receipt, &Proven)) -> Option<Self> {
        let ((one, proven), (other, again)) = (one, other);
        let same_kind = match (&proven.ruled, &again.ruled) {
            (Ruled::Verdict(a), Ruled::Verdict(b)) => a.exchange_id == b.exchange_id,
            (Ruled::Attestation(a), Ruled::Attestation(b)) => {
                a.exchange_id == b.exchange_id && a.depositor == b.depositor
            }
            _ => false,
        };
        if same_kind && one.statement.digest() != other.statement.digest() {
            let (first, second) = (one.statement.clone(), other.statement.clone());
            return Some(Self::Statements { first, second });
        }
        let head = |receipt: &Receipt| TreeHead::Checkpoint(receipt.checkpoint.clone());
        if proven.checkpoint.contradicts(&again.checkpoint) {
            return Some(Self::TwoRoots { first: head(one), second: head(other) });
        }
        let located = |receipt: &Receipt, proven: &Proven| Located {
            index: proven.leaf.index,
            leaf: receipt.leaf.clone(),
            path: receipt.inclusion_proof.clone(),
            head: head(receipt),
        };
        let two = proven.leaf.index == again.leaf.index && one.leaf != other.leaf;
        two.then(|| Self::Leaves { first: located(one, proven), second: Some(located(other, again)) })
    }

    /// The charge that a receipt makes which does not verify, if its signed parts alone convict the arbiter. The rest is a
    /// matter between who asked and the arbiter.
    pub fn of_receipt(receipt: &Receipt, offer: &Verified<Offer>) -> Option<Self> {
        let ruling = Self::Ruling {
            offer: offer.envelope().clone(),
            statement: receipt.statement.clone(),
            evidence: Box::new(receipt.evidence.clone()),
        };
        let head = TreeHead::Answer(receipt.answer.clone());
        let index = Signed::<Answer>::parse(receipt.answer.clone()).ok()?.unverified().leaf_index;
        let there =
            Located { index, leaf: receipt.leaf.clone(), path: receipt.inclusion_proof.clone(), head };
        let checkpoint = TreeHead::Checkpoint(receipt.checkpoint.clone());
        let charges = [
            ruling,
            Self::OtherLeaf { answer: receipt.answer.clone(), there },
            Self::TwoRoots { first: TreeHead::Answer(receipt.answer.clone()), second: checkpoint },
        ];
        charges.into_iter().find(|charge| charge.judge(&offer.arbiter).is_guilty())
    }

    /// The charge that two checkpoints make which are not known to be one log, the smaller one first, with what was given as
    /// a proof that they are.
    pub fn of_checkpoints(older: &SignedCheckpoint, newer: &SignedCheckpoint, shown: Vec<Digest>) -> Self {
        let head = |it: &SignedCheckpoint| TreeHead::Checkpoint(it.note().to_string());
        let (old, new) = (older.checkpoint(), newer.checkpoint());
        let (first, second) = (head(older), head(newer));
        if old.size == new.size {
            return Self::TwoRoots { first, second };
        }
        // What was shown leads to the new tree, but from another old one: that is the proof.
        let roots = consistency_roots(old.size, new.size, &shown);
        match roots {
            Ok((old_root, new_root)) if new_root == new.root && old_root != old.root => {
                Self::Rewritten { older: first, newer: second, path: shown }
            }
            _ => Self::Unjoined { older: first, newer: second, shown },
        }
    }
}

impl Judgement {
    /// Whether the arbiter is convicted.
    pub const fn is_guilty(&self) -> bool {
        matches!(self.finding, Finding::Guilty(_))
    }
}

/// A tree head that was signed.
struct Tree {
    size: u64,
    root: Digest,
}

struct Court<'a> {
    arbiter: &'a ArbiterIdentity,
    steps: Vec<Step>,
}

impl Court<'_> {
    fn statements(&mut self, first: &Envelope, second: &Envelope) -> Option<Finding> {
        if first.holds::<Attestation>() {
            let one = self.signed::<Attestation>("first-signature", first)?;
            let other = self.signed::<Attestation>("second-signature", second)?;
            let same = one.exchange_id == other.exchange_id && one.depositor == other.depositor;
            self.check("same-matter", same, || {
                "both attest the deposit of one party in one exchange".into()
            })?;
            self.differ(&one.digest(), &other.digest())?;
            return Some(Finding::Guilty(Offence::TwoAttestations(one.exchange_id, one.depositor)));
        }
        let one = self.signed::<Verdict>("first-signature", first)?;
        let other = self.signed::<Verdict>("second-signature", second)?;
        let same = one.exchange_id == other.exchange_id;
        self.check("same-matter", same, || format!("both rule exchange {}", one.exchange_id))?;
        self.differ(&one.digest(), &other.digest())?;
        Some(Finding::Guilty(Offence::TwoVerdicts(one.exchange_id)))
    }

    fn two_roots(&mut self, first: &TreeHead, second: &TreeHead) -> Option<Finding> {
        let (one, other) = (self.head("first-head", first)?, self.head("second-head", second)?);
        self.check("same-size", one.size == other.size, || format!("both are of {} leaves", one.size))?;
        self.differ(&one.root, &other.root)?;
        Some(Finding::Guilty(Offence::TwoRoots { size: one.size }))
    }

    fn rewritten(&mut self, older: &TreeHead, newer: &TreeHead, path: &[Digest]) -> Option<Finding> {
        let (old, new) = (self.head("older-head", older)?, self.head("newer-head", newer)?);
        let roots = consistency_roots(old.size, new.size, path);
        let (old_root, new_root) = self.take("path", roots.map_err(|why| why.to_string()), |_| {
            format!("the path is one from a tree of {} leaves to one of {}", old.size, new.size)
        })?;
        let leads = new_root == new.root;
        self.check("path-to-newer", leads, || "it leads to the root signed for the newer tree".into())?;
        self.check("path-from-older", old_root != old.root, || {
            format!("it begins with a tree of {} leaves that is NOT the one signed before", old.size)
        })?;
        Some(Finding::Guilty(Offence::Rewritten { size: old.size }))
    }

    fn unjoined(&mut self, older: &TreeHead, newer: &TreeHead, shown: &[Digest]) -> Option<Finding> {
        let (old, new) = (self.head("older-head", older)?, self.head("newer-head", newer)?);
        let sizes = (1..new.size).contains(&old.size);
        self.check("sizes", sizes, || format!("of {} and of {} leaves", old.size, new.size))?;
        let joined = verify_consistency(old.size, new.size, shown, &old.root, &new.root).is_ok();
        self.check("no-proof", !joined, || {
            "nothing here joins the two trees. That alone convicts nobody: a log that is honest clears itself by showing the \
             proof. Audit the log (fairx audit) to get it, or to get proof that there is none"
                .into()
        })?;
        Some(Finding::Claim)
    }

    fn leaves(&mut self, first: &Located, second: Option<&Located>) -> Option<Finding> {
        self.located("first-leaf", first)?;
        let Some(second) = second else {
            let fault = self.fault(first)?;
            self.check("rule", true, || format!("leaf {}: {fault}", first.index))?;
            return Some(Finding::Guilty(Offence::BadLog(fault)));
        };
        self.located("second-leaf", second)?;
        let order = first.index.cmp(&second.index);
        if order.is_eq() {
            self.check("same-place", true, || format!("both are leaf {}", first.index))?;
            self.differ(&leaf_hash(&first.leaf), &leaf_hash(&second.leaf))?;
            return Some(Finding::Guilty(Offence::TwoLeaves(first.index)));
        }
        let read = |located: &Located| one(&located.leaf, located.index).map_err(|why| why.to_string());
        let earlier: Leaf = self.take("first-form", read(first), |_| "the first is a leaf".into())?;
        let later: Leaf = self.take("second-form", read(second), |_| "the second is a leaf".into())?;
        self.check("order", order.is_lt(), || format!("{} stands before {}", earlier.index, later.index))?;
        let fault =
            two(&earlier, &later).ok_or_else(|| "the two leaves can both be in an honest log".to_owned());
        let fault = self.take("rule", fault, |fault| {
            format!("leaf {}, beside leaf {}: {fault}", later.index, earlier.index)
        })?;
        Some(Finding::Guilty(Offence::BadLog(fault)))
    }

    /// What is wrong with one leaf by itself.
    fn fault(&mut self, located: &Located) -> Option<LeafFault> {
        let good = "the leaf can be in an honest log".to_owned();
        let fault = match one(&located.leaf, located.index) {
            Err(LeafFault::NotKnown) => Err(LeafFault::NotKnown.to_string()),
            Err(fault) => Ok(fault),
            Ok(_) if located.index.0 == 0 => {
                Walk::new(Some(self.arbiter.clone())).read(&located.leaf).err().ok_or(good)
            }
            Ok(leaf) if leaf.issuer != issuer_id(&self.arbiter.key) => Ok(LeafFault::Issuer),
            Ok(leaf) if leaf.policy != Digest::of(&[self.arbiter.rules.as_bytes()]) => Ok(LeafFault::Issuer),
            Ok(_) => Err(good),
        };
        self.take("rule", fault, |fault| format!("leaf {}: {fault}", located.index))
    }

    fn other_leaf(&mut self, answer: &Envelope, there: &Located) -> Option<Finding> {
        let answer = self.signed::<Answer>("answer-signature", answer)?;
        self.located("leaf", there)?;
        let same = answer.leaf_index == there.index;
        self.check("same-place", same, || format!("the answer names leaf {}", there.index))?;
        let token = Leaf::decode(&there.leaf).ok().map(|leaf| leaf.token);
        self.check("other-statement", token != Some(answer.statement), || {
            "the leaf there is not of the statement that the answer names".into()
        })?;
        Some(Finding::Guilty(Offence::OtherLeaf(there.index)))
    }

    /// R-563: signatures are checked before anything is held against the arbiter, and what it rested on is exactly what it
    /// names by digest. Then a decision that the rules do not give is its own.
    fn ruling(&mut self, offer: &Envelope, statement: &Envelope, evidence: &Evidence) -> Option<Finding> {
        let offer = Signed::<Offer>::parse(offer.clone()).and_then(|signed| {
            let key = signed.unverified().originator.signing_key;
            signed.verify(&key)
        });
        let offer = self.take("offer-signature", offer.map_err(|why| why.to_string()), |_| {
            "the originator signed the offer".into()
        })?;
        self.check("offer-arbiter", offer.arbiter == *self.arbiter, || {
            "the offer names this arbiter".into()
        })?;
        let parties = signatures(&offer, evidence, self.arbiter).map_err(|why| why.to_string());
        self.take("evidence-signatures", parties, |()| {
            "each piece of evidence is signed by whose it is".into()
        })?;
        // Where a piece stands in the charge is the presenter's choice: every place it can have is tried.
        let places = arranged(evidence);
        let named: Vec<_> = if statement.holds::<Attestation>() {
            let stated = self.signed::<Attestation>("statement-signature", statement)?;
            let fits = |it: &Evidence| is_named_by_attestation(&stated, &offer, it);
            places.into_iter().filter(fits).collect()
        } else {
            let stated = self.signed::<Verdict>("statement-signature", statement)?;
            let fits = |it: &Evidence| is_named_by_verdict(&stated, &offer, it);
            places.into_iter().filter(fits).collect()
        };
        self.check("evidence-named", !named.is_empty(), || {
            "the statement names this request and this evidence, and nothing else".into()
        })?;
        let again = named.iter().map(|it| decided_again(statement, it, &offer).err());
        let again: Option<Vec<_>> = again.collect();
        let again = again
            .and_then(|all| all.into_iter().next())
            .ok_or_else(|| "the rules give this very statement for this evidence".to_owned());
        self.take("rule", again, |why: &Unproven| {
            format!("the rules, applied to the same evidence, do not give it: {why}")
        })?;
        Some(Finding::Guilty(Offence::RuleBroken(offer.exchange_id())))
    }

    fn head(&mut self, name: &'static str, head: &TreeHead) -> Option<Tree> {
        let arbiter = self.arbiter;
        let tree = match head {
            TreeHead::Answer(envelope) => Signed::<Answer>::parse(envelope.clone())
                .and_then(|signed| signed.verify(&arbiter.key))
                .map(|answer| Tree { size: answer.tree_size, root: answer.root })
                .map_err(|why| why.to_string()),
            TreeHead::Checkpoint(note) => log_key(arbiter)
                .and_then(|key| SignedCheckpoint::verify(note, &key).map_err(|why| why.to_string()))
                .map(|signed| Tree { size: signed.checkpoint().size, root: signed.checkpoint().root }),
        };
        let by = match head {
            TreeHead::Answer(_) => "the arbiter",
            TreeHead::Checkpoint(_) => "its log",
        };
        self.take(name, tree, |tree| {
            format!("{by} signed a tree of {} leaves with root {}", tree.size, tree.root)
        })
    }

    fn located(&mut self, name: &'static str, located: &Located) -> Option<()> {
        let tree = self.head(name, &located.head)?;
        let hash = leaf_hash(&located.leaf);
        let included = verify_inclusion(&hash, located.index.0, tree.size, &located.path, &tree.root);
        self.take(name, included.map_err(|why| why.to_string()), |()| {
            format!("leaf {} is in that tree", located.index)
        })
    }

    fn signed<T: Payload>(&mut self, name: &'static str, envelope: &Envelope) -> Option<Verified<T>> {
        let verified =
            Signed::<T>::parse(envelope.clone()).and_then(|signed| signed.verify(&self.arbiter.key));
        self.take(name, verified.map_err(|why| why.to_string()), |it| {
            format!("the arbiter signed {} {}", T::NAME, it.digest())
        })
    }

    fn differ(&mut self, one: &Digest, other: &Digest) -> Option<()> {
        self.check("differ", one != other, || format!("they differ: {one}, {other}"))
    }

    fn check(&mut self, name: &'static str, holds: bool, what: impl FnOnce() -> String) -> Option<()> {
        let result = if holds { Ok(()) } else { Err("this is not so".to_owned()) };
        let what = what();
        self.take(name, result.map_err(|not| format!("{what}: {not}")), |()| what.clone())
    }

    fn take<T>(
        &mut self,
        name: &'static str,
        result: Result<T, String>,
        detail: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let (passed, text, value) = match result {
            Ok(value) => (true, detail(&value), Some(value)),
            Err(why) => (false, why, None),
        };
        self.steps.push(Step { name, passed, detail: text });
        value
    }
}

/// The evidence with its attestations where their depositors say, and its escrows both ways round.
fn arranged(evidence: &Evidence) -> Vec<Evidence> {
    let mut attestations = ByRole::<Option<Envelope>>::default();
    for (_, envelope) in evidence.attestations.iter() {
        let Some(envelope) = envelope else { continue };
        let Ok(signed) = Signed::<Attestation>::parse(envelope.clone()) else { return Vec::new() };
        if attestations.of_mut(signed.unverified().depositor).replace(envelope.clone()).is_some() {
            return Vec::new();
        }
    }
    let ByRole { originator, responder } = evidence.escrows.clone();
    let turned = ByRole { originator: responder, responder: originator };
    [evidence.escrows.clone(), turned]
        .map(|escrows| Evidence { attestations: attestations.clone(), escrows, ..evidence.clone() })
        .to_vec()
}

fn is_named_by_attestation(stated: &Attestation, offer: &Verified<Offer>, evidence: &Evidence) -> bool {
    let acceptance = evidence.acceptance.as_ref().map(Envelope::digest);
    stated.exchange_id == offer.exchange_id()
        && stated.request == evidence.request.digest()
        && acceptance.is_some_and(|it| it.as_bytes() == stated.agreement_id.as_bytes())
        && evidence.attestations.iter().all(|(_, it)| it.is_none())
        && evidence.escrows.iter().all(|(_, it)| it.is_none())
}

fn is_named_by_verdict(stated: &Verdict, offer: &Verified<Offer>, evidence: &Evidence) -> bool {
    let mut here = vec![offer.digest()];
    here.extend(evidence.acceptance.as_ref().map(Envelope::digest));
    here.extend(evidence.attestations.iter().filter_map(|(_, it)| it.as_ref()).map(Envelope::digest));
    here.extend(evidence.escrows.iter().filter_map(|(_, it)| it.as_ref()).map(Pledge::digest));
    stated.exchange_id == offer.exchange_id()
        && stated.request == evidence.request.digest()
        && stated.evidence == here
}

fn log_key(arbiter: &ArbiterIdentity) -> Result<VerifierKey, String> {
    VerifierKey::new(arbiter.log_origin.as_str(), arbiter.log_key).map_err(|why| why.to_string())
}

/// Every piece of evidence is signed by whose it is. Digests do not cover signatures, so who presents a charge could have
/// damaged one: that is not the arbiter's fault.
fn signatures(
    offer: &Verified<Offer>,
    evidence: &Evidence,
    arbiter: &ArbiterIdentity,
) -> Result<(), Rejected> {
    let request = Signed::<Request>::parse(evidence.request.clone())?;
    let key = offer.party(request.unverified().role).signing_key;
    request.verify(&key)?;
    if let Some(acceptance) = &evidence.acceptance {
        Signed::<Acceptance>::parse(acceptance.clone())?.verify(&offer.responder.signing_key)?;
    }
    for (_, attestation) in evidence.attestations.iter() {
        let Some(attestation) = attestation else { continue };
        Signed::<Attestation>::parse(attestation.clone())?.verify(&arbiter.key)?;
    }
    for (role, pledge) in evidence.escrows.iter() {
        let Some(Pledge::Reservation(receipt)) = pledge else { continue };
        let Some(payment) = offer.item(role).description.payment() else { continue };
        Signed::<PaymentReceipt>::parse(receipt.clone())?.verify(&payment.ledger)?;
    }
    Ok(())
}
