//! Records that an auditor is handed for chosen exchanges: the rulings are made again, and found in the log by their leaves.
//!
//! ```text
//!  DIR/*.fxe ─▶ every check of `fairx verify`, the rule applied again ─▶ each leaf: the same bytes in the audited tree
//!                                                                     └▶ each checkpoint: a tree that this one begins with
//! ```
//!
//! Invariants
//! - Every check has its own line, with the file before it; a record that cannot be read is a check that failed.
//! - A record that verifies and is not in the log is the arbiter's fault, and makes a charge; one that does not verify may be the
//!   fault of who handed it over.

use std::path::{Path, PathBuf};

use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::ids::LeafIndex;

use super::report::Outcome;
use super::tree::Tree;
use super::{Audit, AuditError, Located, Stop, located};
use crate::bundle::{Bundle, EXTENSION};
use crate::charge::{Charge, TreeHead};
use crate::plain;
use crate::verify::{self, Check, Status, Trust};

/// Most bundles in one audit: who has more audits twice.
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

    /// Whether one bundle verifies and its leaves are in the log.
    fn record(&mut self, path: &Path, signed: &SignedCheckpoint, tree: &mut Tree<'_>) -> Result<bool, Stop> {
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let file = plain::clip(&file, 60);
        let bundle = match Bundle::read(path) {
            Ok(bundle) => bundle,
            Err(error) => {
                self.report.fail("record", format!("{file}: {error}"));
                return Ok(false);
            }
        };
        let trust = self.settings.arbiter.map_or(Trust::BundleOnly, Trust::Pinned);
        let verified = verify::verify(&bundle, trust, &[]);
        self.report.checks.extend(
            verified
                .checks
                .into_iter()
                .map(|check| Check { detail: format!("{file}: {}", check.detail), ..check }),
        );
        let Some(statements) = verify::statements(&bundle, trust).filter(|_| verified.good) else {
            return Ok(false);
        };
        if bundle.receipts.is_empty() {
            self.report.add("record", Status::Skipped, format!("{file}: the arbiter said nothing in it"));
        }
        for (receipt, proven) in bundle.receipts.iter().zip(&statements.proven) {
            let index = proven.leaf.index.0;
            let then = proven.checkpoint.checkpoint();
            if then.origin != signed.checkpoint().origin {
                self.report.fail(
                    "record-log",
                    format!("{file}: leaf {index} is in the log {}, not in this one", then.origin),
                );
                return Ok(false);
            }
            if index >= tree.size() || then.size > tree.size() {
                let words = format!(
                    "{file}: leaf {index} is in a tree of {} leaves; so many are not shown",
                    then.size
                );
                self.report.fail("record-log", words);
                return Ok(false);
            }
            let there = self.leaf_at(index, tree)?;
            if there != receipt.leaf {
                let words =
                    format!("{file}: leaf {index} of the log is another one than the one proven to be there");
                self.report.fail("record-leaf", words.clone());
                let head = TreeHead::Checkpoint(receipt.checkpoint.clone());
                let (leaf, path) = (receipt.leaf.clone(), receipt.inclusion_proof.clone());
                let first = Located { index: LeafIndex(index), leaf, path, head };
                let second = Some(located(index, &there, signed, tree)?);
                return Err(self.violation(
                    Some(index),
                    words,
                    Some(&there),
                    Some(Charge::Leaves { first, second }),
                )?);
            }
            self.report.pass("record-leaf", format!("{file}: leaf {index} is in the log, byte for byte"));
            if then.size < tree.size() {
                self.joined(&proven.checkpoint, signed, tree)?;
            }
            let words =
                format!("{file}: the log begins with the tree of {} leaves that proves it", then.size);
            self.report.pass("record-tree", words);
        }
        Ok(true)
    }
}

/// The bundles in a folder, by name.
fn list(folder: &Path) -> Result<Vec<PathBuf>, AuditError> {
    let io = |source| AuditError::Records { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|it| it == EXTENSION) {
            found.push(path);
        }
        if found.len() > RECORDS {
            return Err(io(std::io::Error::other(format!(
                "more than {RECORDS} bundles: audit them in parts"
            ))));
        }
    }
    found.sort();
    Ok(found)
}
