//! What an audit found, for people and as JSON.

use std::fmt;

use serde::Serialize;

use crate::plain;
use crate::verify::{Check, Status};

/// The media type of a report, also its `format` field.
pub const MEDIA_TYPE: &str = "application/vnd.arbiter.audit-report.v1+json";

/// How an audit ended. The discriminant is the exit code of `fairx audit`; 2 is wrong usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// Everything that could be checked is good.
    Good,
    /// The log is at fault, and what it signed proves it.
    Violation,
    /// The log, or the way to it, is out of reach; or the audit was stopped. Nothing is lost.
    Unfinished,
    /// All is good but the checkpoint has not the cosignatures that the policy asks for.
    QuorumMissing,
    /// What was served is not what the log signed. Another copy of the log may be good.
    NotAsSigned,
    /// Good up to a leaf that only a newer program knows.
    LaterVersion,
    /// The log is good; a record that was handed over is not, or is not in it.
    RecordBad,
}

impl Outcome {
    /// The exit code of `fairx audit`.
    pub const fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Violation => 1,
            Self::Unfinished => 3,
            Self::QuorumMissing => 4,
            Self::NotAsSigned => 5,
            Self::LaterVersion => 6,
            Self::RecordBad => 7,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Good => "GOOD: the log is what it says, as far as its public leaves show",
            Self::Violation => "VIOLATION: the log is at fault, and its own signatures prove it",
            Self::Unfinished => "NOT FINISHED: run the same command again, it goes on where it stopped",
            Self::QuorumMissing => {
                "QUORUM MISSING: the log is good, but too few witnesses of the policy have cosigned it"
            }
            Self::NotAsSigned => {
                "NOT AS SIGNED: what was served is not what the log signed; try another copy of it"
            }
            Self::RecordBad => {
                "RECORD BAD: the log is good, but a record that was handed over does not verify or is not in it"
            }
            Self::LaterVersion => {
                "NOT KNOWN: good up to a leaf that this program is too old for; get a newer one"
            }
        }
    }
}

/// The first fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The leaf, if one is concerned.
    pub index: Option<u64>,
    /// URL or file, if what was served is not as signed, or could not be had.
    pub place: Option<String>,
    /// What is wrong.
    pub problem: String,
    /// The leaf's text, if the log signed it.
    pub leaf: Option<String>,
    /// The file that proves it to others.
    pub proof: Option<String>,
}

/// What the leaves tell of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Exchanges in the log.
    pub exchanges: u64,
    /// Of them without a verdict.
    pub open: u64,
    /// Deposits attested.
    pub deposits: u64,
    /// Verdicts: abort tokens.
    pub aborted: u64,
    /// Verdicts: affidavits.
    pub affidavits: u64,
    /// Verdicts: items replaced.
    pub replaced: u64,
    /// Verdicts: payments revoked.
    pub revoked: u64,
    /// Answers of ledgers to orders.
    pub answers: u64,
    /// Exchanges whose records were erased.
    pub erased: u64,
}

/// A whole report. The same log and the same memory give the same report, however often the audit was interrupted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// [`MEDIA_TYPE`].
    pub format: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What was read: URL or folder.
    pub source: String,
    /// The log's name.
    pub log: Option<String>,
    /// The checkpoint that was audited, as the note that was served.
    pub checkpoint: Option<String>,
    /// Leaves that it covers.
    pub size: Option<u64>,
    /// Leaves that the log had when it was last found good by this auditor; 0 the first time.
    pub audited_before: u64,
    /// Leaves whose rules were checked, this time and before.
    pub leaves: u64,
    /// The time of the newest of them, by the arbiter's clock.
    pub newest: Option<String>,
    /// What they tell of.
    pub counts: Counts,
    /// The checks in the order made.
    pub checks: Vec<Check>,
    /// The first fault.
    pub finding: Option<Finding>,
    /// What this audit shows.
    pub shows: Vec<String>,
    /// What no audit, or not this one, shows.
    pub does_not_show: Vec<String>,
}

impl Report {
    /// The JSON form.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    pub(super) fn pass(&mut self, name: &str, detail: String) {
        self.add(name, Status::Passed, detail);
    }

    pub(super) fn fail(&mut self, name: &str, detail: String) {
        self.add(name, Status::Failed, detail);
    }

    pub(super) fn add(&mut self, name: &str, status: Status, detail: String) {
        self.checks.push(Check { name: name.to_owned(), status, detail });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "log      {}", plain::clip(self.log.as_deref().unwrap_or("unknown"), 120))?;
        writeln!(f, "read at  {}", plain::clip(&self.source, 200))?;
        for check in &self.checks {
            writeln!(f, " {} {:<20} {}", check.status.mark(), check.name, check.detail)?;
        }
        let it = self.counts;
        writeln!(
            f,
            "leaves   {} of {}, the newest of {}",
            self.leaves,
            self.size.map_or_else(|| "?".to_owned(), |size| size.to_string()),
            self.newest.as_deref().unwrap_or("-")
        )?;
        writeln!(
            f,
            "exchanges {}: {} open, {} aborted, {} replaced, {} revoked, {} with an affidavit; {} deposits, {} answers of ledgers, {} erased",
            it.exchanges,
            it.open,
            it.aborted,
            it.replaced,
            it.revoked,
            it.affidavits,
            it.deposits,
            it.answers,
            it.erased
        )?;
        if let Some(finding) = &self.finding {
            let index = finding.index.map_or_else(String::new, |index| format!("leaf {index}: "));
            let place = finding
                .place
                .as_ref()
                .map_or_else(String::new, |place| format!("{}: ", plain::clip(place, 300)));
            writeln!(f, "FIRST FAULT  {index}{place}{}", finding.problem)?;
            for line in finding.leaf.iter().flat_map(|leaf| leaf.lines()) {
                writeln!(f, "    {}", plain::clip(line, 120))?;
            }
            if let Some(proof) = &finding.proof {
                writeln!(f, "    proof for others: {proof} (fairx verify it)")?;
            }
        }
        for (title, list) in [("This shows", &self.shows), ("This does not show", &self.does_not_show)] {
            if !list.is_empty() {
                writeln!(f, "{title}")?;
            }
            for text in list {
                let mut wrapped = plain::wrap(text, 90).into_iter();
                writeln!(f, "  - {}", wrapped.next().unwrap_or_default())?;
                wrapped.try_for_each(|line| writeln!(f, "    {line}"))?;
            }
        }
        writeln!(f, "{}", self.outcome.words())
    }
}
