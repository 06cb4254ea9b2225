//! `fairx verify` of a proof of misbehaviour: every check on its own line, then GUILTY or not.

use std::io::Read as _;
use std::path::Path;

use arbiter_client::charge::{CHARGE_BYTES, ChargeFile, Finding, Judgement};
use arbiter_client::explain;
use arbiter_client::identity::ArbiterPin;
use arbiter_client::verify::{Check, Status};

use crate::failure::Failure;
use crate::report::{line, list, print};

/// The exit code when a file convicts the arbiter that is pinned.
pub const GUILTY: u8 = 10;

/// Reads a file if it says that it is a proof of misbehaviour.
pub fn read(path: &Path) -> Result<Option<ChargeFile>, Failure> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(CHARGE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let read = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|error| Failure::file(path, &error))?;
    if ChargeFile::is_one(&bytes) { Ok(Some(ChargeFile::parse(&bytes)?)) } else { Ok(None) }
}

/// Judges it: against the arbiter that the user names, or the one pinned in the home if the file is about that one.
pub fn verify(file: &ChargeFile, pin: Option<&(ArbiterPin, bool)>, json: bool) -> Result<u8, Failure> {
    let pinned =
        pin.filter(|(pin, named)| *named || file.accused.may_be(&pin.identity)).map(|(pin, _)| &pin.identity);
    let claimed = file.accused.identity();
    let Some(arbiter) = pinned.or(claimed.as_ref()) else {
        return Err(Failure::bad("the file does not say all about the arbiter that it accuses")
            .next("name the arbiter that you know with --arbiter"));
    };
    let judgement = file.charge.judge(arbiter);
    let code = match judgement.finding {
        Finding::Guilty(_) if pinned.is_some() => GUILTY,
        _ => 1,
    };
    let text =
        if json { as_json(&judgement, pinned.is_some())? } else { shown(file, &judgement, pinned.is_some()) };
    print(&text);
    Ok(code)
}

fn checks(judgement: &Judgement) -> Vec<Check> {
    let status = |passed| if passed { Status::Passed } else { Status::Failed };
    let steps = judgement.steps.iter();
    steps
        .map(|it| Check { name: it.name.to_owned(), status: status(it.passed), detail: it.detail.clone() })
        .collect()
}

const fn word(judgement: &Judgement) -> &'static str {
    match judgement.finding {
        Finding::Guilty(_) => "guilty",
        Finding::Claim => "claim",
        _ => "not-proven",
    }
}

const WARNING: &str = "THE ARBITER'S KEYS WERE TAKEN FROM THE FILE ITSELF. Whoever made the file could have made those keys. Verify \
                       again with --arbiter and a pin that you got from the arbiter.";

fn as_json(judgement: &Judgement, pinned: bool) -> Result<String, Failure> {
    let report = serde_json::json!({
        "finding": word(judgement),
        "arbiter_pinned": pinned,
        "checks": checks(judgement),
        "meaning": explain::judgement(judgement),
        "warnings": if pinned { vec![] } else { vec![WARNING] },
    });
    let json = serde_json::to_string_pretty(&report);
    json.map(|json| json + "\n")
        .map_err(|error| Failure::bad(format!("the report cannot be written: {error}")))
}

fn shown(file: &ChargeFile, judgement: &Judgement, pinned: bool) -> String {
    let mut lines = vec![format!("against the arbiter that keeps the log {}", file.accused.log_origin)];
    lines.extend(checks(judgement).iter().map(line));
    if !pinned {
        lines.push(format!(" !!   {WARNING}"));
    }
    list("This means", &explain::judgement(judgement), &mut lines);
    lines.push(match (&judgement.finding, pinned) {
        (Finding::Guilty(offence), true) => format!("GUILTY: {offence}"),
        (Finding::Guilty(offence), false) => format!("GUILTY, if those are the arbiter's keys: {offence}"),
        (Finding::Claim, _) => "NOT PROVEN: a claim that the arbiter has to answer".to_owned(),
        _ => "NOT PROVEN: this convicts nobody".to_owned(),
    });
    lines.join("\n") + "\n"
}
