//! What the demo prints: 110 columns, and readable in a log without colours.
//!
//! ```text
//!   04:47:01.123  Northwind  ▶ Tailspin   offer: …          what a process sent
//!   04:47:01.130  Tailspin   ◀ Northwind  offer: …          what a process received and checked
//!  !04:47:01.130  Tailspin     …                            the peer that cheats
//! ```

use std::io::IsTerminal as _;
use std::time::Duration;

use arbiter_client::clock::{Clock as _, SystemClock};
use arbiter_client::plain;
use tokio::sync::mpsc::UnboundedSender;

use crate::Rows;
use crate::judge::Findings;
use crate::process::Said;
use crate::runs::Run;

/// Columns of a terminal.
const WIDTH: usize = 110;
/// Columns before the text of an event.
const MARGIN: usize = 41;

/// What a run sends to be printed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Printed {
    /// An event with its time of day. Several processes tell them: they come nearly in order.
    Event(String, String),
    /// Anything else.
    Line(String),
}

/// Where the lines of one run go.
#[derive(Clone)]
pub struct Paper {
    lines: Option<UnboundedSender<Printed>>,
    colour: bool,
}

/// Who acts.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The full name, as in the agreement.
    pub name: &'static str,
    /// The name in event lines.
    pub short: &'static str,
    /// Whether it cheats.
    pub cheats: bool,
}

/// How a text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Bad,
    Bold,
    Dim,
    Good,
    Plain,
    Warning,
}

impl Paper {
    /// Prints through a channel.
    pub fn new(lines: UnboundedSender<Printed>) -> Self {
        Self { lines: Some(lines), ..Self::to_terminal() }
    }

    /// Only makes lines.
    pub fn to_terminal() -> Self {
        let forced = std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| value != "0");
        let colour = std::env::var_os("NO_COLOR").is_none() && (forced || std::io::stdout().is_terminal());
        Self { lines: None, colour }
    }

    /// A line as it is.
    pub fn line(&self, text: impl Into<String>) {
        self.print(Printed::Line(text.into()));
    }

    fn print(&self, printed: Printed) {
        if let Some(lines) = &self.lines {
            // The demo is ending: nobody reads any more.
            let _ = lines.send(printed);
        }
    }

    /// How to read it.
    pub fn legend(&self) -> String {
        format!(
            " {}  ▶ sent   ◀ received and checked by who is named first   {} the party that cheats",
            self.paint(Tone::Dim, "UTC"),
            self.paint(Tone::Bad, "!")
        )
    }

    /// The head of a run.
    pub fn head(&self, run: &Run) {
        let title = format!("{} · {}", run.story, run.cheat);
        let rule = "━".repeat(WIDTH.saturating_sub(title.chars().count() + 5));
        self.line("");
        self.line(self.paint(Tone::Bold, &format!("━━ {title} {rule}")));
        for line in plain::wrap(run.plot, WIDTH - 4) {
            self.line(format!("   {line}"));
        }
        self.line("");
    }

    /// A part of a run that has several.
    pub fn part(&self, title: &str) {
        self.line(format!("   {}", self.paint(Tone::Bold, title)));
    }

    /// What `fairx` or a cheater said, if it is an event; who says it, and who may be named in it.
    pub fn said(&self, by: &Actor, known: &[Actor], said: &Said) {
        if said.failure {
            return self.failed(by, &said.text);
        }
        if let Some(outcome) = said.text.strip_prefix(" outcome  ") {
            let tone = if outcome.starts_with("aborted") { Tone::Warning } else { Tone::Good };
            return self.event(&now(), by, None, outcome, tone);
        }
        let Some((clock, rest)) = event_parts(&said.text) else { return };
        let (direction, text) = directed(rest, by, known);
        let bad = ["refused", "NOT", "not verify", "lost", "out of reach", "OFFER_"];
        let tone = if bad.iter().any(|word| text.contains(word)) {
            Tone::Bad
        } else if text.contains("checked here") {
            Tone::Good
        } else {
            Tone::Plain
        };
        self.event(clock, by, direction.as_ref().map(|(arrow, peer)| (*arrow, peer.as_str())), text, tone);
    }

    /// Errors, and warnings of the client: what a peer sent that was refused or ignored.
    fn failed(&self, by: &Actor, line: &str) {
        if let Some(text) = line.strip_prefix("fairx: ") {
            return self.event(&now(), by, None, &files_named(text), Tone::Bad);
        }
        if let Some(text) = line.strip_prefix("  what to do: ") {
            return self.event(&now(), by, None, &format!("({text})"), Tone::Plain);
        }
        let warned = logged_parts(line).and_then(|(clock, level, rest)| {
            let (_, text) = rest.split_once("arbiter_client::").filter(|_| level == "WARN")?;
            Some((clock, text.split_once(": ")?.1))
        });
        match warned {
            // Told by the event line of the call already.
            Some((_, text)) if text.contains("out of reach") => {}
            Some((clock, text)) => {
                self.event(clock, by, None, &text.replace(" reason=", ": ").replace('"', ""), Tone::Bad);
            }
            None => {}
        }
    }

    /// What the arbiter logged, if it is a ruling; and its start, if it was started again.
    pub fn logged(&self, by: &Actor, again: bool, said: &Said) {
        let Some((clock, _, rest)) = logged_parts(&said.text) else { return };
        let field = |name: &str| {
            let (_, value) = rest.split_once(&format!(" {name}="))?;
            Some(value.split(' ').next()?.trim_matches('"').to_owned())
        };
        let (rule, leaf, leaves) = (field("rule"), field("leaf"), field("leaves"));
        let text = match (rule, leaf, leaves) {
            (Some(rule), Some(leaf), _) if rest.contains(": attested ") => {
                format!("keeps the file for its recipient, {rule}: durable as log #{leaf}")
            }
            (Some(rule), Some(leaf), _) => format!("rules, {rule}: durable as log #{leaf}"),
            (_, _, Some(leaves)) if again => format!("its log is good: {leaves} leaves"),
            _ => return,
        };
        self.event(clock, by, None, &text, Tone::Good);
    }

    /// Something that the demo itself does, now.
    pub fn act(&self, who: &Actor, text: &str) {
        self.event(&now(), who, None, text, Tone::Warning);
    }

    fn event(&self, clock: &str, by: &Actor, direction: Option<(char, &str)>, text: &str, tone: Tone) {
        let mark = if by.cheats { self.paint(Tone::Bad, "!") } else { " ".to_owned() };
        let who = format!("{:<10}", by.short);
        let who = self.paint(if by.cheats { Tone::Bad } else { Tone::Bold }, &who);
        let direction = direction.map_or(" ".repeat(12), |(arrow, peer)| format!("{arrow} {peer:<10}"));
        let mut lines = plain::wrap(&shorter(text), WIDTH - MARGIN).into_iter();
        let first = self.paint(tone, &lines.next().unwrap_or_default());
        let mut text = format!(" {mark}{}  {who} {direction} {first}", self.paint(Tone::Dim, clock));
        for line in lines {
            text.push_str(&format!("\n{}{}", " ".repeat(MARGIN), self.paint(tone, &line)));
        }
        self.print(Printed::Event(clock.to_owned(), text));
    }

    /// One fact of the judge.
    pub fn fact(&self, label: &str, text: &str, tone: Tone) {
        let mut lines = plain::wrap(text, WIDTH - 22).into_iter();
        let first = lines.next().unwrap_or_default();
        self.line(format!("   {:<18} {}", label, self.paint(tone, &first)));
        for line in lines {
            self.line(format!("{}{}", " ".repeat(22), self.paint(tone, &line)));
        }
    }

    /// The verdict of the judge.
    pub fn judgement(&self, findings: &Findings) {
        match &findings.fault {
            None => self.line(format!("   {}", self.paint(Tone::Good, "FAIR"))),
            Some(fault) => {
                for line in plain::wrap(&format!("UNFAIR: {fault}"), WIDTH - 4) {
                    self.line(format!("   {}", self.paint(Tone::Bad, &line)));
                }
            }
        }
    }

    /// A row of `--list`.
    pub fn listed(&self, run: &Run) -> String {
        let mut lines = plain::wrap(run.plot, WIDTH - 30).into_iter();
        let first = lines.next().unwrap_or_default();
        let name = self.paint(Tone::Bold, &format!(" {:<9} {:<17}", run.story, run.cheat));
        let rest: String = lines.map(|line| format!("\n{}{line}", " ".repeat(30))).collect();
        format!("{name}   {first}{rest}")
    }

    /// The table at the end.
    pub fn summary(&self, rows: &Rows, took: Duration) -> Vec<String> {
        let head = format!(
            " {:<9} {:<17} {:<24} {:<41} {:>6}  judge",
            "story", "cheat", "hold the other's item", "arbiter calls", "time"
        );
        let mut lines = vec![String::new(), self.paint(Tone::Bold, &head)];
        for (run, findings) in rows {
            let (tone, word) =
                if findings.fault.is_none() { (Tone::Good, "FAIR") } else { (Tone::Bad, "UNFAIR") };
            lines.push(format!(
                " {:<9} {:<17} {:<24} {:<41} {:>4.1} s  {}",
                run.story,
                run.cheat,
                plain::clip(&findings.holders, 24),
                plain::clip(&findings.calls, 41),
                findings.took.as_secs_f64(),
                self.paint(tone, word)
            ));
        }
        for (run, findings) in rows {
            if let Some(fault) = &findings.fault {
                let fault = format!("{} {}: {fault}", run.story, run.cheat);
                lines.extend(
                    plain::wrap(&fault, WIDTH - 4)
                        .iter()
                        .map(|line| format!("   {}", self.paint(Tone::Bad, line))),
                );
            }
        }
        let unfair = rows.iter().filter(|(_, findings)| findings.fault.is_some()).count();
        let told = match unfair {
            0 => self.paint(Tone::Good, "all fair"),
            _ => self.paint(Tone::Bad, &format!("{unfair} UNFAIR")),
        };
        lines.push(String::new());
        let runs = if rows.len() == 1 { "run" } else { "runs" };
        lines.push(format!(" {} {runs}, {told}, in {:.1} s", rows.len(), took.as_secs_f64()));
        lines
    }

    fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Bad => "31",
            Tone::Bold => "1",
            Tone::Dim => "2",
            Tone::Good => "32",
            Tone::Plain => return text.to_owned(),
            Tone::Warning => "33",
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// The time of day, as `fairx` prints it.
pub fn now() -> String {
    let now = SystemClock.now().to_string();
    now.get(11..23).unwrap_or(&now).to_owned()
}

/// Time and rest of a line ` 12:00:01.123 UTC  …`; `None` for a line that is no event.
fn event_parts(line: &str) -> Option<(&str, &str)> {
    let (clock, rest) = line.strip_prefix(' ')?.split_at_checked(12)?;
    let digits = clock.chars().all(|c| c.is_ascii_digit() || c == ':' || c == '.');
    Some((clock, rest.strip_prefix(" UTC  ").filter(|_| digits)?))
}

/// Time of day, level and rest of a log line `2026-11-20T12:00:01.123456Z  WARN …`.
fn logged_parts(line: &str) -> Option<(&str, &str, &str)> {
    let (time, rest) = line.split_once('Z')?;
    let (level, rest) = rest.trim_start().split_once(' ')?;
    Some((time.get(11..23)?, level, rest))
}

/// Long hashes by their start.
fn shorter(text: &str) -> String {
    let short = |word: &str| match word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit()) {
        true => format!("{}…", word.get(..16).unwrap_or(word)),
        false => word.to_owned(),
    };
    text.split(' ').map(short).collect::<Vec<_>>().join(" ")
}

/// Files by their names: the folders are long and say nothing here.
fn files_named(text: &str) -> String {
    let named = |word: &str| match word.starts_with('/') {
        true => word.rsplit('/').next().unwrap_or(word).to_owned(),
        false => word.to_owned(),
    };
    text.split(' ').map(named).collect::<Vec<_>>().join(" ")
}

/// Splits `A -> B text`, told by A or by B, into direction and text.
fn directed<'a>(rest: &'a str, by: &Actor, known: &[Actor]) -> (Option<(char, String)>, &'a str) {
    let others = known.iter().map(|actor| (actor.name, actor.short)).chain([("peer", "peer")]);
    for (name, short) in others {
        let away = rest.strip_prefix(&format!("{} -> {name}", by.name));
        let here = rest.strip_prefix(&format!("{name} -> {}", by.name));
        if let Some((arrow, text)) = away.map(|text| ('▶', text)).or(here.map(|text| ('◀', text))) {
            return (Some((arrow, short.to_owned())), text.trim_start());
        }
    }
    (None, rest.strip_prefix(by.name).unwrap_or(rest).trim_start())
}
