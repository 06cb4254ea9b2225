//! A charge in plain words.

use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::ruling::charge::{Charge, Finding, Judgement};

use crate::plain;

/// What a file with this charge says about itself.
pub fn charge(log: &Origin, charge: &Charge, finding: Option<&Finding>) -> Vec<String> {
    let log = plain::clip(log.as_str(), 60);
    let what = match charge {
        Charge::Leaves { second: None, .. } => "a leaf of the log that no honest log holds",
        Charge::Leaves { .. } => "two leaves of the log that exclude each other",
        Charge::OtherLeaf { .. } => "an answer, and another leaf at the place that it names",
        Charge::Rewritten { .. } => {
            "two signed trees, and the path that shows that one does not begin with the other"
        }
        Charge::Ruling { .. } => "a statement that the rules do not give for the evidence that it names",
        Charge::Statements { .. } => "two signed statements on one matter",
        Charge::TwoRoots { .. } => "two signed roots for one size of the log",
        Charge::Unjoined { .. } => "two signed trees that nothing joins",
    };
    let mut lines = vec![format!("Against the arbiter that keeps the log {log}: {what}.")];
    lines.extend(match finding {
        Some(Finding::Guilty(offence)) => Some(format!("It convicts: {offence}.")),
        Some(Finding::Claim) => Some(CLAIM.to_owned()),
        _ => None,
    });
    lines
}

/// What a judged charge means, for who relies on it.
pub fn judgement(judgement: &Judgement) -> Vec<String> {
    match &judgement.finding {
        Finding::Guilty(offence) => vec![
            format!("The arbiter is guilty: {offence}."),
            "Only who holds the arbiter's keys can have made this. An honest arbiter never does it, whatever it is asked or \
             told."
                .to_owned(),
            "Do not use this arbiter any more. Show this file to whoever trusts it: it needs nothing else.".to_owned(),
        ],
        Finding::Claim => vec![
            CLAIM.to_owned(),
            "Keep this file. Ask the arbiter, in front of others, for the proof that joins the two; a complete audit of its log \
             (`fairx audit`, with these checkpoints in its state) shows either."
                .to_owned(),
        ],
        _ => vec!["This shows nothing against the arbiter that is pinned.".to_owned()],
    }
}

const CLAIM: &str = "This is a claim, no proof: no proof was given that the two trees are one log, and an honest log can still \
                     give it.";
