//! `escrow-key`: the keys that open escrows, one for each epoch (R-412).
//!
//! ```text
//!  rotate ─▶ next epoch, ten years ─▶ SIGHUP or restart of `serve` ─▶ GetArbiterInfo names it
//!  retire ─▶ seeds of epochs that have ended are overwritten
//! ```

use std::io::Write;

use arbiter_protocol::time::{DurationMillis, UnixMillis};

use super::{CliError, load_identity, print};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Settings;
use crate::keys::epoch_file::{self, EpochFile};

/// How long a key opens if the operator does not say: longer than most agreements matter.
pub(super) const TEN_YEARS: &str = "3650d";
/// The same, parsed.
pub(super) const OPENS_FOR: DurationMillis = DurationMillis(3650 * DAY);

const DAY: u64 = 24 * 60 * 60 * 1000;
/// A century: what is longer is a slip of the hand.
const LONGEST: u64 = 36_500 * DAY;

pub(super) fn rotate(
    settings: &Settings,
    opens_for: DurationMillis,
    number: Option<u64>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let (_, arbiter) = load_identity(settings)?;
    let now = SystemClock.now();
    let made = epoch_file::create(&settings.key_file, &arbiter.key, now, opens_for, number)?;
    let EpochFile { path, epoch, key, from, until, .. } = &made;
    let path = path.display();
    print(
        out,
        &format!(
            "made     {path}\nepoch    {epoch}\nkey      {key}\nfrom     {from}\nuntil    {until}\n\
             next     keep a copy of the file offline; then send SIGHUP to arbiter serve, or restart it\n"
        ),
    )
}

pub(super) fn list(settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let (_, arbiter) = load_identity(settings)?;
    let files = epoch_file::list(&settings.key_file, &arbiter.key)?;
    let now = SystemClock.now();
    let mut lines: Vec<_> = files.iter().map(|file| (file.epoch, line(file, now))).collect();
    let missing = epoch_file::missing(&files).into_iter();
    lines.extend(missing.map(|epoch| {
        (epoch, format!("epoch {epoch}  missing: nothing that names it can be opened; restore its file\n"))
    }));
    lines.sort();
    if lines.is_empty() {
        return print(out, "no epochs: run arbiter escrow-key rotate\n");
    }
    print(out, &lines.into_iter().map(|(_, line)| line).collect::<String>())
}

fn line(file: &EpochFile, now: UnixMillis) -> String {
    let EpochFile { epoch, key, from, until, .. } = file;
    let state = match (file.is_destroyed(), now < *until) {
        (true, _) => "destroyed",
        (false, true) => "opens",
        (false, false) => "ended, run arbiter escrow-key retire",
    };
    format!("epoch {epoch}  from {from}  until {until}  key {key}  {state}\n")
}

pub(super) fn retire(settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let (_, arbiter) = load_identity(settings)?;
    let retired = epoch_file::retire(&settings.key_file, &arbiter.key, SystemClock.now())?;
    if retired.is_empty() {
        return print(out, "nothing to destroy: no epoch has ended whose seed is there\n");
    }
    for EpochFile { path, epoch, until, .. } in retired {
        print(out, &format!("destroyed epoch {epoch}, which ended {until}: {}\n", path.display()))?;
    }
    print(
        out,
        "The seed was overwritten in its file. Disks, snapshots and backups may keep older bytes: destroy your copies.\n",
    )
}

/// Reads `3650d`, `12h`, `30m` or `5s`.
pub(super) fn parse_duration(text: &str) -> Result<DurationMillis, String> {
    let units = [("d", DAY), ("h", 60 * 60 * 1000), ("m", 60 * 1000), ("s", 1000)];
    let parsed = units.into_iter().find_map(|(unit, millis)| {
        let number = text.strip_suffix(unit)?.parse::<u64>().ok()?;
        number.checked_mul(millis).filter(|it| (1..=LONGEST).contains(it))
    });
    let expected = "it must be a number and a unit (d, h, m, s), such as 3650d, and at most 36500d";
    parsed.map(DurationMillis).ok_or_else(|| expected.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(parse_duration(TEN_YEARS), Ok(OPENS_FOR));
        assert_eq!(parse_duration("5s"), Ok(DurationMillis(5000)));
        assert_eq!(parse_duration("36500d"), Ok(DurationMillis(LONGEST)));
        for bad in ["", "d", "1", "-1d", "1 d", "1w", "0d", "36501d", "18446744073709551615d", "1.5d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
