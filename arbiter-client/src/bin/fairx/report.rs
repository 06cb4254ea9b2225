//! Verifying, explaining and describing: commands that only read files.

use std::io::Write as _;
use std::path::Path;

use arbiter_client::bundle::{self, Bundle};
use arbiter_client::disclosure::{self, Disclosure};
use arbiter_client::identity::ArbiterPin;
use arbiter_client::protocol::evidence::policy::Policy;
use arbiter_client::protocol::message::agreement::ArbiterIdentity;
use arbiter_client::timestamp::{Authorities, read_authorities};
use arbiter_client::verify::{Check, Clock, FileFacts, Finding, Report, Trust, Verifier, statements};
use arbiter_client::{explain as words, items, plain, verify as verification};

use crate::args::Verify;
use crate::charges;
use crate::failure::Failure;
use crate::home::Home;
use crate::out::say;

/// `fairx verify`.
pub fn verify(home: &Home, arguments: &Verify) -> Result<u8, Failure> {
    let pin = pinned(home, arguments.arbiter.as_deref())?;
    if let Some(charge) = charges::read(&arguments.file)? {
        return charges::verify(&charge, pin.as_ref(), arguments.json);
    }
    let mut files = Vec::new();
    for path in &arguments.files {
        let read =
            std::fs::File::open(path).and_then(|file| FileFacts::read(&path.display().to_string(), file));
        files.push(read.map_err(|error| Failure::file(path, &error))?);
    }
    let policy = arguments.policy.as_deref().map(policy).transpose()?;
    let authorities = arguments.tsa_ca.as_deref().map(authorities).transpose()?;
    let bytes = bundle::read_file(&arguments.file)?;
    let verifier = Verifier {
        files: &files,
        policy: policy.as_ref(),
        authorities: authorities.as_ref(),
        ..Verifier::new(Trust::BundleOnly)
    };
    let report = if bundle::format_of(&bytes).is_ok_and(|it| it == disclosure::MEDIA_TYPE) {
        let disclosure = Disclosure::parse(&bytes)?;
        let trust = trust(pin.as_ref(), |pin| *pin == disclosure.arbiter);
        Verifier { trust, ..verifier }.disclosed(&disclosure)
    } else {
        let bundle = Bundle::parse(&bytes)?;
        let trust = trust(pin.as_ref(), |pin| verification::names(&bundle, pin));
        Verifier { trust, ..verifier }.verify(&bundle)
    };
    let text = if arguments.json {
        let json = serde_json::to_string_pretty(&report);
        json.map_err(|error| Failure::bad(format!("the report cannot be written: {error}")))? + "\n"
    } else {
        shown(&report)
    };
    print(&text);
    Ok(match report.finding {
        Finding::Good => 0,
        Finding::Incomplete => INCOMPLETE,
        _ => 1,
    })
}

/// `fairx explain`.
pub fn explain(home: &Home, file: &Path, arbiter: Option<&str>) -> Result<u8, Failure> {
    let pin = pinned(home, arbiter)?;
    let bundle = Bundle::read(file)?;
    let trust = trust(pin.as_ref(), |pin| verification::names(&bundle, pin));
    let Some(verified) = statements(&bundle, trust) else {
        return Err(Failure::bad("this bundle does not verify: there is nothing in it to explain")
            .next(format!("`fairx verify {}` says what is wrong", file.display())));
    };
    words::account(&verified).iter().for_each(|line| say!("{line}"));
    say!("WHAT THIS DOES NOT PROVE");
    words::does_not_prove(&verified, &[]).iter().for_each(|line| say!("    {line}"));
    if matches!(trust, Trust::BundleOnly) {
        say!("    Anything about the arbiter: its key was taken from the bundle. Use --arbiter.");
    }
    Ok(0)
}

/// `fairx describe`.
pub async fn describe(file: &Path, media_type: Option<&str>) -> Result<u8, Failure> {
    let it = items::describe(file, media_type).await?;
    say!("sha256:{},{},{},{}", it.sha256, it.size_bytes, it.media_type, it.name);
    Ok(0)
}

/// The arbiter that the user names; or the one pinned in the home, if there is a home.
fn pinned(home: &Home, named: Option<&str>) -> Result<Option<(ArbiterPin, bool)>, Failure> {
    match named {
        Some(text) => Ok(Some((ArbiterPin::line_or_file(text)?, true))),
        None => Ok(home.arbiter().ok().map(|pin| (pin, false))),
    }
}

/// A pin that the user named must fit. The home's own counts only if the bundle is about that arbiter: a
/// bundle about another one is not bad, it is only not backed by a pin.
fn trust<'a>(
    pin: Option<&'a (ArbiterPin, bool)>,
    named_there: impl Fn(&ArbiterIdentity) -> bool,
) -> Trust<'a> {
    match pin {
        Some((pin, named)) if *named || named_there(&pin.identity) => Trust::Pinned(&pin.identity),
        _ => Trust::BundleOnly,
    }
}

/// The user's policy.
fn policy(path: &Path) -> Result<Policy, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    Policy::parse(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// The authorities that the user trusts.
fn authorities(path: &Path) -> Result<Authorities, Failure> {
    read_authorities(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// Prints a report. A reader that closes the pipe early has seen enough; the exit code still counts.
pub fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// A check as a line.
pub fn line(check: &Check) -> String {
    format!(" {} {:<22} {}", check.status.mark(), check.name, check.detail)
}

/// A list under a title, wrapped for a screen.
pub fn list(title: &str, list: &[String], lines: &mut Vec<String>) {
    if !list.is_empty() {
        lines.push(title.to_owned());
        for text in list {
            let mut wrapped = plain::wrap(text, 90).into_iter();
            lines.push(format!("  - {}", wrapped.next().unwrap_or_default()));
            lines.extend(wrapped.map(|line| format!("    {line}")));
        }
    }
}

fn shown(report: &Report) -> String {
    let mut lines = Vec::new();
    if let Some(id) = &report.exchange_id {
        lines.push(format!("exchange {id}"));
    }
    if let Some(fingerprint) = &report.fingerprint {
        lines.push(format!("         {fingerprint}"));
    }
    lines.extend(report.checks.iter().map(line));
    for warning in &report.warnings {
        lines.push(format!(" !!   {warning}"));
    }
    if let Some(rules) = &report.rules_applied {
        lines.push(format!("Rules {rules}, applied again to the evidence of every ruling, gave the same."));
    }
    if !report.times.is_empty() {
        lines.push("When, by whose clock".to_owned());
    }
    for time in &report.times {
        let clock = match time.clock {
            Clock::Arbiter => "the arbiter's own",
            Clock::Authority => "time-stamping authority",
            _ => "witness",
        };
        let off = time.uncertainty_millis.map_or_else(String::new, |it| format!(", +-{it} ms by its word"));
        lines.push(format!("  - {} {}: {clock}, {}{off}", time.time, time.of, plain::clip(&time.who, 60)));
    }
    list("This proves", &report.proves, &mut lines);
    list("This does not prove", &report.does_not_prove, &mut lines);
    let what = report.outcome.map_or_else(|| "the fields shown".to_owned(), |it| it.to_string());
    lines.push(match report.finding {
        Finding::Good if report.warnings.is_empty() => format!("GOOD: {what}"),
        Finding::Good => format!("GOOD: {what}, but read the warnings marked !!"),
        Finding::Incomplete => {
            format!("INCOMPLETE: {what}; nothing is wrong, but what you asked for, marked ??, is not there")
        }
        _ => "BAD: do not rely on this bundle".to_owned(),
    });
    lines.join("\n") + "\n"
}

/// Exit code when nothing is wrong, but cosignatures or time-stamps that were asked for are not there.
const INCOMPLETE: u8 = 5;
