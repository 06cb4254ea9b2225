//! Records that an auditor is handed for chosen exchanges: the rulings are made again, and found in the log by their leaves.
//!
//! ```text
//!  DIR/*.fxe ─▶ every check of `fairx verify`, the rule applied again ─┬▶ each leaf: the same bytes in the audited tree
//!  DIR/*.fxd ─▶ every check of `fairx verify`: single fields opened ───┘▶ each checkpoint: a tree that this one begins with
//!  DIR/*.json ─▶ fields that `arbiter open` opened ─▶ each leaf: the same bytes in the audited tree
//! ```
//!
//! Invariants
//! - Every check has its own line, with the file before it; a record that cannot be read is a check that failed.
//! - A record that verifies and is not in the log is the arbiter's fault, and makes a charge; one that does not verify may be the
//!   fault of who handed it over.

use std::path::{Path, PathBuf};

use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::evidence::leaf::Leaf;
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::ids::{Digest, LeafIndex};

use super::openings::{self, Opened};
use super::report::Outcome;
use super::tree::Tree;
use super::{Audit, AuditError, Located, Stop, located};
use crate::bundle::{self, Bundle, BundleError};
use crate::charge::{Charge, TreeHead};
use crate::disclosure::{self, Disclosure};
use crate::plain;
use crate::verify::{self, Check, Status, Trust, Verifier};

/// Most files in one audit: who has more audits twice.
const RECORDS: usize = 10_000;

impl Audit<'_> {
    pub(super) fn records(&mut self, signed: &SignedCheckpoint, tree: &mut Tree<'_>) -> Result<(), Stop> {
        let Some(folder) = self.settings.records else { return Ok(()) };
        let mut bad = false;
        for path in list(folder)? {
            bad |= !self.record(&path, signed, tree)?;
        }
        if bad && self.report.outcome == Outcome::Good {
            self.report.outcome = Outcome::RecordBad;
        }
        Ok(())
    }

    /// Whether one file verifies and its leaves are in the log.
    fn record(&mut self, path: &Path, signed: &SignedCheckpoint, tree: &mut Tree<'_>) -> Result<bool, Stop> {
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let file = plain::clip(&file, 60);
        if is(path, openings::EXTENSION) {
            return self.opened(&file, openings::read(path), tree);
        }
        let read = if is(path, disclosure::EXTENSION) {
            Disclosure::read(path).map(|it| self.disclosed(&file, &it))
        } else {
            Bundle::read(path).map(|it| self.bundled(&file, &it))
        };
        let leaves = match read {
            Ok(Some(leaves)) => leaves,
            Ok(None) => return Ok(false),
            Err(error) => {
                self.report.fail("record", format!("{file}: {error}"));
                return Ok(false);
            }
        };
        for leaf in leaves {
            if !self.shown(&file, leaf, signed, tree)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn trust(&self) -> Trust<'_> {
        self.settings.arbiter.map_or(Trust::BundleOnly, Trust::Pinned)
    }

    /// The leaves of a bundle whose rulings follow from its evidence; `None` if something in it is bad.
    fn bundled(&mut self, file: &str, bundle: &Bundle) -> Option<Vec<Shown>> {
        let trust = self.settings.arbiter.map_or(Trust::BundleOnly, Trust::Pinned);
        let verified = verify::verify(bundle, trust, &[]);
        self.checked(file, verified.checks);
        let statements = verify::statements(bundle, trust).filter(|_| verified.good)?;
        if bundle.receipts.is_empty() {
            self.report.add("record", Status::Skipped, format!("{file}: the arbiter said nothing in it"));
        }
        let both = bundle.receipts.iter().zip(statements.proven);
        let shown = both.map(|(receipt, proven)| Shown {
            leaf: receipt.leaf.clone(),
            index: proven.leaf.index,
            path: receipt.inclusion_proof.clone(),
            checkpoint: proven.checkpoint,
        });
        Some(shown.collect())
    }

    /// The leaf of a disclosure whose fields are those of its record; `None` if something in it is bad.
    fn disclosed(&mut self, file: &str, disclosure: &Disclosure) -> Option<Vec<Shown>> {
        let report = Verifier::new(self.trust()).disclosed(disclosure);
        self.checked(file, report.checks);
        let (arbiter, leaf) = (&disclosure.arbiter, Leaf::decode(&disclosure.leaf).ok()?);
        let key = VerifierKey::new(arbiter.log_origin.as_str(), arbiter.log_key).ok()?;
        let checkpoint = SignedCheckpoint::verify(&disclosure.checkpoint, &key).ok()?;
        let (index, path) = (leaf.index, disclosure.inclusion_proof.clone());
        report.good.then(|| vec![Shown { leaf: disclosure.leaf.clone(), index, path, checkpoint }])
    }

    /// Fields that the operator opened: nothing signed is beside them, so what does not fit is nobody's proof.
    fn opened(
        &mut self,
        file: &str,
        read: Result<Vec<Opened>, BundleError>,
        tree: &mut Tree<'_>,
    ) -> Result<bool, Stop> {
        let opened = match read {
            Ok(opened) => opened,
            Err(error) => {
                self.report.fail("record", format!("{file}: {error}"));
                return Ok(false);
            }
        };
        let mut good = true;
        for Opened { bytes, leaf, openings } in opened {
            let index = leaf.index.0;
            if index >= tree.size() || self.leaf_at(index, tree)? != bytes {
                self.report.fail("record-leaf", format!("{file}: leaf {index} of the log is another one"));
                return Ok(false);
            }
            self.report.pass("record-leaf", format!("{file}: leaf {index} is in the log, byte for byte"));
            for opening in openings {
                let (name, bytes) = (&opening.name, opening.value.len());
                match opening.verify(&leaf) {
                    Ok(()) => self.report.pass(
                        "record-field",
                        format!("{file}: the record of leaf {index} has these {bytes} bytes as {name}"),
                    ),
                    Err(error) => {
                        self.report.fail("record-field", format!("{file}: {name}: {error}"));
                        good = false;
                    }
                }
            }
        }
        Ok(good)
    }

    fn checked(&mut self, file: &str, checks: Vec<Check>) {
        let named = |check: Check| Check { detail: format!("{file}: {}", check.detail), ..check };
        self.report.checks.extend(checks.into_iter().map(named));
    }

    /// Whether a leaf that is proven to be in a tree of the log is in the one that is audited.
    fn shown(
        &mut self,
        file: &str,
        shown: Shown,
        signed: &SignedCheckpoint,
        tree: &mut Tree<'_>,
    ) -> Result<bool, Stop> {
        let index = shown.index.0;
        let then = shown.checkpoint.checkpoint();
        // Without a pin a disclosure names its log and key itself.
        let of_log = self.log.as_ref().is_some_and(|(_, key)| {
            VerifierKey::new(then.origin.as_str(), *key)
                .is_ok_and(|key| shown.checkpoint.note().verify(&[key]).is_ok())
        });
        if then.origin != signed.checkpoint().origin || !of_log {
            self.report.fail(
                "record-log",
                format!("{file}: leaf {index} is in the log {}, not in this one", then.origin),
            );
            return Ok(false);
        }
        if index >= tree.size() || then.size > tree.size() {
            let words =
                format!("{file}: leaf {index} is in a tree of {} leaves; so many are not shown", then.size);
            self.report.fail("record-log", words);
            return Ok(false);
        }
        let there = self.leaf_at(index, tree)?;
        if there != shown.leaf {
            let words =
                format!("{file}: leaf {index} of the log is another one than the one proven to be there");
            self.report.fail("record-leaf", words.clone());
            let head = TreeHead::Checkpoint(shown.checkpoint.note().to_string());
            let first = Located { index: shown.index, leaf: shown.leaf, path: shown.path, head };
            let second = Some(located(index, &there, signed, tree)?);
            let charge = Some(Charge::Leaves { first, second });
            return Err(self.violation(Some(index), words, Some(&there), charge)?);
        }
        self.report.pass("record-leaf", format!("{file}: leaf {index} is in the log, byte for byte"));
        if then.size < tree.size() {
            self.joined(&shown.checkpoint, signed, tree)?;
        }
        let words = format!("{file}: the log begins with the tree of {} leaves that proves it", then.size);
        self.report.pass("record-tree", words);
        Ok(true)
    }
}

/// A leaf that a file proves to be in a tree of the log.
struct Shown {
    leaf: Vec<u8>,
    index: LeafIndex,
    path: Vec<Digest>,
    checkpoint: SignedCheckpoint,
}

fn is(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|it| it == extension)
}

/// The bundles, disclosures and openings in a folder, by name.
fn list(folder: &Path) -> Result<Vec<PathBuf>, AuditError> {
    let io = |source| AuditError::Records { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if is(&path, bundle::EXTENSION) || is(&path, disclosure::EXTENSION) || is(&path, openings::EXTENSION)
        {
            found.push(path);
        }
        if found.len() > RECORDS {
            return Err(io(std::io::Error::other(format!("more than {RECORDS} files: audit them in parts"))));
        }
    }
    found.sort();
    Ok(found)
}
