//! Verifying, explaining and describing: commands that only read files.

use std::io::Write as _;
use std::path::Path;

use arbiter_client::bundle::Bundle;
use arbiter_client::identity::ArbiterPin;
use arbiter_client::verify::{Check, FileFacts, Report, Status, Trust, statements};
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
    let bundle = Bundle::read(&arguments.file)?;
    let report = verification::verify(&bundle, trust(&bundle, pin.as_ref()), &files);
    let text = if arguments.json {
        let json = serde_json::to_string_pretty(&report);
        json.map_err(|error| Failure::bad(format!("the report cannot be written: {error}")))? + "\n"
    } else {
        shown(&report)
    };
    print(&text);
    Ok(u8::from(!report.good))
}

/// `fairx explain`.
pub fn explain(home: &Home, file: &Path, arbiter: Option<&str>) -> Result<u8, Failure> {
    let pin = pinned(home, arbiter)?;
    let bundle = Bundle::read(file)?;
    let trust = trust(&bundle, pin.as_ref());
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
fn trust<'a>(bundle: &Bundle, pin: Option<&'a (ArbiterPin, bool)>) -> Trust<'a> {
    match pin {
        Some((pin, named)) if *named || verification::names(bundle, &pin.identity) => {
            Trust::Pinned(&pin.identity)
        }
        _ => Trust::BundleOnly,
    }
}

/// Prints a report. A reader that closes the pipe early has seen enough; the exit code still counts.
pub fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// A check as a line.
pub fn line(check: &Check) -> String {
    let mark = match check.status {
        Status::Passed => "ok  ",
        Status::Failed => "BAD ",
        Status::Skipped => "--  ",
    };
    format!(" {mark} {:<22} {}", check.name, check.detail)
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
    list("This proves", &report.proves, &mut lines);
    list("This does not prove", &report.does_not_prove, &mut lines);
    lines.push(match (report.good, report.outcome) {
        (true, Some(outcome)) if report.warnings.is_empty() => format!("GOOD: {outcome}"),
        (true, Some(outcome)) => format!("GOOD: {outcome}, but read the warnings marked !!"),
        _ => "BAD: do not rely on this bundle".to_owned(),
    });
    lines.join("\n") + "\n"
}
