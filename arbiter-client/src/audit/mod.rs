//! Follows a log from its tiles, as a stranger: everything that its key and its public leaves can show.
//!
//! ```text
//!  checkpoint ─▶ log key, quorum ─▶ right edge gives the root ─▶ same log as ever seen ─▶ every new leaf ─▶ Report
//!                                        │                              │                     │
//!                                    not as signed                 Charge: rewritten     Charge: leaf, or two
//! ```
//! Reading order: [`run`], [`source`] (where tiles come from), `tree` (from the root down), `pages` (leaves, by several threads),
//! `state` (what is remembered), `records` (bundles and openings that were handed over), [`report`].
//!
//! Invariants
//! - Nothing served is judged before it is known to be what the log signed (R-564).
//! - What is remembered never goes back (R-560); an audit that was interrupted anywhere goes on and reports the same.
//! - Memory: bundles in flight (8 MB), the state, and less than 64 bytes for each exchange in the log.

pub(crate) mod openings;
mod pages;
mod records;
pub mod report;
pub mod source;
mod state;
mod tree;
mod trust;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use arbiter_protocol::evidence::checkpoint::{CheckpointError, Origin, SignedCheckpoint};
use arbiter_protocol::evidence::leaf::Leaf;
use arbiter_protocol::evidence::merkle::{consistency_path, consistency_roots, inclusion_proof};
use arbiter_protocol::evidence::policy::Policy;
use arbiter_protocol::ids::{LeafIndex, PublicKey};
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::ruling::chain::{LeafFault, Walk, one, two};
use thiserror::Error;

pub use report::{Counts, Finding, Outcome, Report};
pub use source::Source;
pub use state::StateError;
pub use tree::Altered;
pub use trust::PolicyFault;

use crate::charge::{Accused, Charge, ChargeError, ChargeFile, Located, TreeHead};
use pages::{Page, Signed};
use source::FetchError;
use state::State;
use tree::{Tree, TreeFault};
use trust::{Checked, checked};

/// How an audit is made.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Which log, and whose cosignatures.
    pub policy: &'a Policy,
    /// The arbiter whose log it must be. Without one its key and rules are those that leaf 0 names.
    pub arbiter: Option<&'a ArbiterIdentity>,
    /// Where the auditor remembers. Without one nothing is compared with earlier audits.
    pub state: Option<&'a Path>,
    /// Where a proof of misbehaviour is written, if there is one to write.
    pub proofs: &'a Path,
    /// A folder with what was handed over: evidence bundles, whose rulings are made again, disclosures and openings. All of it is
    /// found in the log.
    pub records: Option<&'a Path>,
}

/// How far an audit has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Leaves that are checked.
    pub done: u64,
    /// Leaves that the checkpoint covers.
    pub total: u64,
}

/// Why there is no report. The caller is at fault, or the caller's disk.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The checkpoint is of a log that the policy does not name.
    #[error(transparent)]
    Policy(#[from] PolicyFault),
    /// The file that remembers.
    #[error(transparent)]
    State(#[from] StateError),
    /// The folder with records.
    #[error("{path}: {source}")]
    Records {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A proof of misbehaviour could not be written; nothing of it is remembered, so the next audit finds it again.
    #[error("the proof of misbehaviour cannot be written: {0}")]
    Proof(#[from] ChargeError),
}

/// Audits a log. `progress` is told after every bundle and can stop the audit; what was done is kept then.
///
/// A fault of the log, of who serves it or of the way to it is in the report, never an error.
pub fn run(
    source: &Source,
    settings: &Settings<'_>,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Report, AuditError> {
    let arbiter = settings.arbiter.cloned();
    let state = settings.state.map(|path| State::load(path, arbiter.clone())).transpose()?.flatten();
    let state = state.unwrap_or_else(|| State::new(arbiter));
    let report = Report {
        format: report::MEDIA_TYPE,
        outcome: Outcome::Good,
        source: source.to_string(),
        log: None,
        checkpoint: None,
        size: None,
        audited_before: state.audited,
        leaves: 0,
        newest: None,
        counts: Counts::default(),
        checks: Vec::new(),
        finding: None,
        shows: Vec::new(),
        does_not_show: Vec::new(),
    };
    let mut audit = Audit { source, settings, state, report, seen: None, log: None };
    audit.load_seen()?;
    let ended = audit.steps(progress);
    audit.end(ended)
}

struct Audit<'a> {
    source: &'a Source,
    settings: &'a Settings<'a>,
    state: State,
    report: Report,
    /// The largest checkpoint seen before.
    seen: Option<SignedCheckpoint>,
    /// The log, once its checkpoint is verified, and its key.
    log: Option<(Origin, PublicKey)>,
}

/// Why an audit ends before its end.
enum Stop {
    Error(AuditError),
    Tree(TreeFault),
    /// The log is at fault; nothing more is to be written.
    Violation(Box<Finding>),
    /// Stopped by the caller.
    Interrupted,
    /// A leaf of a later version.
    LaterVersion(u64),
    /// What was served is not as signed.
    Served(Box<Finding>),
}

impl From<TreeFault> for Stop {
    fn from(fault: TreeFault) -> Self {
        Self::Tree(fault)
    }
}

impl From<FetchError> for Stop {
    fn from(error: FetchError) -> Self {
        Self::Tree(TreeFault::Fetch(error))
    }
}

impl From<AuditError> for Stop {
    fn from(error: AuditError) -> Self {
        Self::Error(error)
    }
}

impl From<PolicyFault> for Stop {
    fn from(fault: PolicyFault) -> Self {
        Self::Error(fault.into())
    }
}

impl Audit<'_> {
    fn load_seen(&mut self) -> Result<(), AuditError> {
        if self.state.note.is_empty() {
            return Ok(());
        }
        let other = || StateError::OtherLog(self.settings.state.map(Path::to_owned).unwrap_or_default());
        match checked(self.settings.policy, &self.state.note) {
            Ok(Checked::Signed(seen)) => self.seen = Some(seen),
            _ => return Err(other().into()),
        }
        Ok(())
    }

    fn steps(&mut self, progress: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<(), Stop> {
        let note = self.source.checkpoint()?;
        let signed = match checked(self.settings.policy, &note)? {
            Checked::Signed(signed) => signed,
            Checked::Bad(why) => return Err(self.bad_checkpoint(&why)),
        };
        let checkpoint = signed.checkpoint().clone();
        self.report.log = Some(checkpoint.origin.to_string());
        let mut keys = self.settings.policy.logs_of(checkpoint.origin.as_str());
        let key = keys.find_map(|log| log.key.public_key());
        self.log = key.map(|key| (checkpoint.origin.clone(), key));
        self.report.checkpoint = Some(note);
        self.report.size = Some(checkpoint.size);
        let words = format!("signed by the log's key: {} leaves, root {}", checkpoint.size, checkpoint.root);
        self.report.pass("checkpoint", words);
        self.quorum(&signed)?;
        self.never_two_roots(&signed)?;
        self.never_smaller(&signed)?;

        let mut tree = Tree::open(self.source, &checkpoint)?;
        self.report.pass("tree", "the tiles at the right edge give the signed root".to_owned());
        self.same_log(&signed, &mut tree)?;
        self.remember(&signed)?;
        self.beginning(&mut tree)?;
        self.leaves(&signed, &mut tree, progress)?;
        if checkpoint.size > 0 {
            let words = format!(
                "every leaf from 0 to {} is as signed and keeps the rules",
                checkpoint.size.saturating_sub(1)
            );
            self.report.pass("leaves", words);
        }
        self.state.audited = self.state.audited.max(checkpoint.size);
        self.save()?;
        self.records(&signed, &mut tree)
    }

    fn bad_checkpoint(&mut self, why: &CheckpointError) -> Stop {
        self.report.fail("checkpoint", why.to_string());
        let place = Some(self.source.place("checkpoint"));
        Stop::Served(Box::new(finding(None, place, &why.to_string())))
    }

    fn quorum(&mut self, signed: &SignedCheckpoint) -> Result<(), Stop> {
        let quorum = self.settings.policy.quorum(signed).map_err(|why| self.bad_checkpoint(&why))?;
        for (name, time) in quorum.seen {
            self.report.pass("witness", format!("{name} cosigned, at {} by its clock", time.to_millis()));
        }
        if quorum.satisfied {
            self.report.pass("quorum", "the cosignatures are those that the policy asks for".to_owned());
        } else {
            self.report.fail("quorum", "the cosignatures are not those that the policy asks for".to_owned());
            self.report.outcome = Outcome::QuorumMissing;
        }
        Ok(())
    }

    /// R-560: same size, same root. Known before any tile is read.
    fn never_two_roots(&mut self, signed: &SignedCheckpoint) -> Result<(), Stop> {
        let Some(seen) = self.seen.clone().filter(|seen| seen.contradicts(signed)) else { return Ok(()) };
        let size = seen.checkpoint().size;
        let words =
            format!("the log signed two different trees of {size} leaves; the other one was seen before");
        self.report.fail("history", words.clone());
        let charge = Charge::of_checkpoints(&seen, signed, Vec::new());
        Err(self.violation(None, words, None, Some(charge))?)
    }

    /// R-560: an older tree is a copy that lags, or a log that was set back. The tiles of the larger tree tell, if they are there.
    fn never_smaller(&mut self, signed: &SignedCheckpoint) -> Result<(), Stop> {
        let Some(seen) = self.seen.clone() else { return Ok(()) };
        let (now, before) = (signed.checkpoint().size, seen.checkpoint().size);
        if now >= before {
            return Ok(());
        }
        match Tree::open(self.source, seen.checkpoint()) {
            Ok(mut larger) => self.joined(signed, &seen, &mut larger)?,
            Err(TreeFault::Fetch(error)) if !error.is_refusal() => return Err(error.into()),
            Err(_) => {}
        }
        let words = format!(
            "{now} leaves are shown, {before} were seen before: a copy that lags, or a log that was set back"
        );
        self.report.fail("history", words.clone());
        Err(Stop::Served(Box::new(finding(None, Some(self.source.place("checkpoint")), &words))))
    }

    /// R-560, R-563: the tree shown begins with the tree seen before.
    fn same_log(&mut self, signed: &SignedCheckpoint, tree: &mut Tree<'_>) -> Result<(), Stop> {
        let Some(seen) = self.seen.clone() else { return Ok(()) };
        let (now, before) = (signed.checkpoint().size, seen.checkpoint().size);
        if now > before {
            self.joined(&seen, signed, tree)?;
            self.report.pass("history", format!("it begins with the {before} leaves that were seen before"));
        } else if self.state.audited > 0 {
            self.report.pass("history", format!("it is the tree of {now} leaves that was seen before"));
        }
        Ok(())
    }

    /// The path between the trees of two checkpoints; if it begins with another tree, that is the proof.
    fn joined(
        &mut self,
        older: &SignedCheckpoint,
        newer: &SignedCheckpoint,
        tree: &mut Tree<'_>,
    ) -> Result<(), Stop> {
        let (old, new) = (older.checkpoint(), newer.checkpoint());
        if old.size == 0 {
            return Ok(());
        }
        let path = consistency_path(old.size, new.size, |id| tree.node(id))?;
        let root = consistency_roots(old.size, new.size, &path).map(|(old_root, _)| old_root);
        if root == Ok(old.root) {
            return Ok(());
        }
        let words = format!(
            "the log was rewritten: its tree of {} leaves does not begin with its tree of {}",
            new.size, old.size
        );
        self.report.fail("history", words.clone());
        let head = |it: &SignedCheckpoint| TreeHead::Checkpoint(it.note().to_string());
        let charge = Charge::Rewritten { older: head(older), newer: head(newer), path };
        Err(self.violation(None, words, None, Some(charge))?)
    }

    /// Remembers the checkpoint before its leaves are read: from now on the log is held to it.
    fn remember(&mut self, signed: &SignedCheckpoint) -> Result<(), Stop> {
        let size = signed.checkpoint().size;
        if self.seen.as_ref().is_none_or(|seen| seen.checkpoint().size < size) {
            self.state.note = signed.note().to_string();
            self.save()?;
        }
        Ok(())
    }

    /// Leaf 0 against the arbiter that is pinned: also if it was read before anybody was.
    fn beginning(&mut self, tree: &mut Tree<'_>) -> Result<(), Stop> {
        let Some(arbiter) = self.settings.arbiter.filter(|_| tree.size() > 0) else { return Ok(()) };
        let bytes = self.leaf_at(0, tree)?;
        let words = format!("leaf 0 names the arbiter that is pinned, and its rules {}", arbiter.rules);
        match Walk::new(Some(arbiter.clone())).read(&bytes) {
            Ok(_) => self.report.pass("arbiter", words),
            Err(LeafFault::NotKnown) => {}
            // That it is another arbiter's log is no violation of the one that is pinned.
            Err(fault) => {
                self.report.fail("arbiter", fault.to_string());
                return Err(PolicyFault::OtherArbiter.into());
            }
        }
        Ok(())
    }

    fn leaves(
        &mut self,
        signed: &SignedCheckpoint,
        tree: &mut Tree<'_>,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), Stop> {
        let size = tree.size();
        let first = self.state.walk.size();
        if first >= size {
            return Ok(());
        }
        let mut saved = first;
        let source = self.source;
        let stop = pages::each(source, first / 256, size, |page| {
            let page = page.and_then(|page| page.check(source, tree));
            let page = match page {
                Ok(page) => page,
                Err(fault) => return ControlFlow::Break(Stop::Tree(fault)),
            };
            if let Err(stop) = self.page(&page, signed, tree) {
                return ControlFlow::Break(stop);
            }
            let done = self.state.walk.size();
            // Writing the state costs as much as it has exchanges: so seldom that it is a small part of the work.
            let due = SAVE_EVERY.max(u64::try_from(self.state.walk.exchanges() / 2).unwrap_or(u64::MAX));
            if done.saturating_sub(saved) >= due {
                if let Err(error) = self.save() {
                    return ControlFlow::Break(error.into());
                }
                saved = done;
            }
            match progress(Progress { done, total: size }) {
                ControlFlow::Continue(()) => ControlFlow::Continue(()),
                ControlFlow::Break(()) => ControlFlow::Break(Stop::Interrupted),
            }
        });
        match stop {
            None => Ok(()),
            Some(stop) => Err(stop),
        }
    }

    /// The leaf at a place, as the log signed it.
    fn leaf_at(&self, index: u64, tree: &mut Tree<'_>) -> Result<Vec<u8>, Stop> {
        let page = Page::read(self.source, index / 256, tree.size())?.check(self.source, tree)?;
        let place = usize::try_from(index % 256).unwrap_or_default();
        Ok(page.leaves().nth(place).unwrap_or_default().to_vec())
    }

    fn page(&mut self, page: &Signed, signed: &SignedCheckpoint, tree: &mut Tree<'_>) -> Result<(), Stop> {
        let known = usize::try_from(self.state.walk.size().saturating_sub(page.first)).unwrap_or(usize::MAX);
        for bytes in page.leaves().skip(known) {
            let index = self.state.walk.size();
            match self.state.walk.read(bytes) {
                Ok(_) => {}
                Err(LeafFault::NotKnown) => return Err(Stop::LaterVersion(index)),
                Err(fault) => return Err(self.bad_leaf(index, bytes, fault, signed, tree)?),
            }
        }
        Ok(())
    }

    /// A leaf that the log signed breaks a rule. Alone or beside another one it convicts.
    fn bad_leaf(
        &mut self,
        index: u64,
        bytes: &[u8],
        fault: LeafFault,
        signed: &SignedCheckpoint,
        tree: &mut Tree<'_>,
    ) -> Result<Stop, Stop> {
        let there = located(index, bytes, signed, tree)?;
        let Ok(leaf) = one(bytes, LeafIndex(index)) else {
            return self.violation(
                Some(index),
                fault.to_string(),
                Some(bytes),
                Some(Charge::Leaves { first: there, second: None }),
            );
        };
        for beside in self.candidates(&leaf, tree)? {
            if two(&beside.1, &leaf).is_some() {
                let first = located(beside.1.index.0, &beside.0, signed, tree)?;
                let charge = Charge::Leaves { first, second: Some(there) };
                return self.violation(Some(index), fault.to_string(), Some(bytes), Some(charge));
            }
        }
        // Leaf 0 by itself, or what takes three leaves to see: then the whole log is the proof.
        let charge = Charge::Leaves { first: there, second: None };
        self.violation(Some(index), fault.to_string(), Some(bytes), Some(charge).filter(|_| index == 0))
    }

    /// The leaves that a bad one may contradict: the first, the one before, the one that it links to, those of its exchange.
    fn candidates(&self, leaf: &Leaf, tree: &mut Tree<'_>) -> Result<Vec<(Vec<u8>, Leaf)>, Stop> {
        let mut found: Vec<(Vec<u8>, Leaf)> = Vec::new();
        let mut next = self.state.walk.chain(&leaf.exchange.0).map(|chain| chain.last().0);
        let others = [Some(0), leaf.index.0.checked_sub(1), leaf.previous.map(|it| it.0)];
        let mut wanted: Vec<u64> = others.into_iter().flatten().collect();
        while let Some(index) = wanted.pop().or(next) {
            if Some(index) == next {
                next = None;
            }
            if index >= leaf.index.0
                || found.len() > CANDIDATES
                || found.iter().any(|(_, it)| it.index.0 == index)
            {
                continue;
            }
            let bytes = self.leaf_at(index, tree)?;
            if let Ok(other) = one(&bytes, LeafIndex(index)) {
                if other.exchange == leaf.exchange {
                    wanted.extend(other.previous.map(|it| it.0));
                }
                found.push((bytes, other));
            }
        }
        Ok(found)
    }

    /// Writes the proof and says what it proves.
    fn violation(
        &mut self,
        index: Option<u64>,
        problem: String,
        leaf: Option<&[u8]>,
        charge: Option<Charge>,
    ) -> Result<Stop, Stop> {
        let path = charge.map(|charge| self.write(charge)).transpose()?.flatten();
        Ok(Stop::Violation(Box::new(Finding {
            index,
            place: None,
            problem,
            leaf: leaf.map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
            proof: path.map(|path| path.display().to_string()),
        })))
    }

    /// The proof for others. Without a pin it names the log alone, which is all that a policy knows.
    fn write(&self, charge: Charge) -> Result<Option<PathBuf>, AuditError> {
        let accused = match (self.settings.arbiter, &self.log) {
            (Some(arbiter), _) => Some(Accused::from(arbiter)),
            (None, Some((log_origin, log_key))) => {
                Some(Accused { key: None, log_key: *log_key, log_origin: log_origin.clone(), rules: None })
            }
            (None, None) => None,
        };
        let file = accused.map(|accused| ChargeFile::new(accused, charge));
        Ok(file.map(|file| file.write_into(self.settings.proofs)).transpose()?)
    }

    fn save(&self) -> Result<(), AuditError> {
        self.settings.state.map_or(Ok(()), |path| Ok(self.state.save(path)?))
    }

    /// Fills in the rest of the report.
    fn end(mut self, ended: Result<(), Stop>) -> Result<Report, AuditError> {
        let (outcome, finding) = match ended {
            Ok(()) => (self.report.outcome, None),
            Err(Stop::Error(error)) => return Err(error),
            Err(Stop::Tree(TreeFault::Fetch(error))) => {
                let outcome = if error.is_refusal() { Outcome::NotAsSigned } else { Outcome::Unfinished };
                (outcome, Some(finding(None, Some(error.place), &error.problem.to_string())))
            }
            Err(Stop::Tree(TreeFault::NotAsSigned(Altered { place, index, problem }))) => {
                (Outcome::NotAsSigned, Some(finding(index, Some(place), problem)))
            }
            Err(Stop::Violation(finding)) => (Outcome::Violation, Some(*finding)),
            Err(Stop::Served(finding)) => (Outcome::NotAsSigned, Some(*finding)),
            Err(Stop::LaterVersion(index)) => {
                (Outcome::LaterVersion, Some(finding(Some(index), None, &LeafFault::NotKnown.to_string())))
            }
            Err(Stop::Interrupted) => (Outcome::Unfinished, None),
        };
        self.save()?;
        let (walk, tally) = (&self.state.walk, self.state.walk.tally());
        let report = &mut self.report;
        report.outcome = outcome;
        report.finding = finding;
        report.leaves = walk.size();
        report.newest = (walk.size() > 0).then(|| walk.time().to_string());
        report.counts = Counts {
            exchanges: u64::try_from(walk.exchanges()).unwrap_or(u64::MAX),
            open: tally.open,
            deposits: tally.deposits,
            aborted: tally.aborted,
            affidavits: tally.affidavits,
            replaced: tally.replaced,
            revoked: tally.revoked,
            answers: tally.answers,
            erased: tally.erased,
        };
        (report.shows, report.does_not_show) = words(outcome, self.settings);
        Ok(self.report)
    }
}

/// A leaf with its path to the signed root.
fn located(index: u64, leaf: &[u8], signed: &SignedCheckpoint, tree: &mut Tree<'_>) -> Result<Located, Stop> {
    let path = inclusion_proof(index, tree.size(), |id| tree.node(id))?;
    let head = TreeHead::Checkpoint(signed.note().to_string());
    Ok(Located { index: LeafIndex(index), leaf: leaf.to_vec(), path, head })
}

fn finding(index: Option<u64>, place: Option<String>, problem: &str) -> Finding {
    Finding { index, place, problem: problem.to_owned(), leaf: None, proof: None }
}

/// What an audit shows and what none shows.
fn words(outcome: Outcome, settings: &Settings<'_>) -> (Vec<String>, Vec<String>) {
    let good = matches!(outcome, Outcome::Good | Outcome::QuorumMissing);
    let shows = [
        (
            good,
            "All leaves that the checkpoint covers are there, form one tree, and keep the rules that public leaves can show.",
        ),
        (
            good && settings.state.is_some(),
            "Nothing that this auditor ever saw of the log was changed or taken away.",
        ),
        (
            outcome == Outcome::Violation,
            "The log broke a rule: nobody but who holds its keys can have made what shows it.",
        ),
    ];
    let mut not = vec![
        "That a verdict is right: what it rests on is sealed. A party's bundle, or records that are handed over, show that.",
        "That the arbiter logs all that it does: a ruling that nobody shows leaves no trace. A receipt without its leaf does.",
        "That deadlines were kept: the leaves name none. The times are the arbiter's own.",
    ];
    if settings.state.is_none() {
        not.push("That the log is the one of yesterday: without --state nothing is compared.");
    }
    if settings.policy.witnesses().next().is_none() {
        not.push("That others see the same log: the policy asks for no witness.");
    }
    let shows = shows.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| text.to_owned());
    (shows.collect(), not.into_iter().map(str::to_owned).collect())
}

/// The state is written at least after so many leaves.
const SAVE_EVERY: u64 = 65_536;
/// More leaves than an exchange can have, and a few.
const CANDIDATES: usize = 16;
