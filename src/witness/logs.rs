//! The logs that a witness cosigns, and their keys. A log that is not here is answered with 404 (R-550).
//!
//! ```text
//!  log VERIFIER-KEY [URL]            one line for each key, as in a tlog-policy; # begins a comment
//!  or: logs/v0, vkey …, origin …     as the public witness network publishes them
//! ```
//!
//! Invariants
//! - A log is known by its origin, which is the name of its keys, as the standard recommends. Several keys are all trusted.
//! - A list has at most [`LOGS`] logs with [`KEYS`] keys each.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::evidence::note::{KeyKind, VerifierKey};
use arbiter_protocol::ids::Digest;
use thiserror::Error;

/// Most logs of one witness.
pub const LOGS: usize = 100_000;
/// Most keys of one log.
pub const KEYS: usize = 16;
/// Largest list.
const LIST_BYTES: u64 = 64 << 20;
/// First line of a list as the public witness network publishes them.
const NETWORK: &str = "logs/v0";

/// Why a list of logs cannot be used. The operator is at fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogsError {
    /// A key that is no verifier key, or of a type that cannot sign checkpoints here.
    #[error("{place}: {key:?} is not a verifier key that can be used: {problem}")]
    Key {
        /// Where it stands.
        place: String,
        /// The text.
        key: String,
        /// Why not.
        problem: String,
    },
    /// A line of another form.
    #[error("{place}: {problem}")]
    Line {
        /// Where it stands.
        place: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The system.
    #[error("cannot read the list of logs {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// More than is taken.
    #[error("{place}: more than {LOGS} logs or {KEYS} keys of one log")]
    TooMany {
        /// Where it was noticed.
        place: String,
    },
}

/// Known logs.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    keys: BTreeMap<Origin, Vec<VerifierKey>>,
    by_hash: BTreeMap<String, Origin>,
}

impl Logs {
    /// Reads a list. One that is not there is an error; an empty one is not.
    pub fn load(list: &Path) -> Result<Self, LogsError> {
        let failed = |source| LogsError::Read { path: list.to_owned(), source };
        let about = fs::metadata(list).map_err(failed)?;
        if !about.is_file() || about.len() > LIST_BYTES {
            return Err(failed(std::io::Error::other("it is not a file of at most 64 MiB")));
        }
        let text = fs::read_to_string(list).map_err(failed)?;
        let mut logs = Self::default();
        logs.read(&text, &list.display().to_string())?;
        Ok(logs)
    }

    /// Reads the text of a list.
    pub fn parse(text: &str) -> Result<Self, LogsError> {
        let mut logs = Self::default();
        logs.read(text, "list of logs")?;
        Ok(logs)
    }

    /// Whether a text is a list as the public witness network publishes them.
    pub fn is_network(text: &str) -> bool {
        let mut lines = text.lines().map(str::trim);
        lines.find(|line| !line.is_empty() && !line.starts_with('#')) == Some(NETWORK)
    }

    /// The keys of a log.
    pub fn keys(&self, origin: &Origin) -> Option<&[VerifierKey]> {
        self.keys.get(origin).map(Vec::as_slice)
    }

    /// The log with this hash of its origin, in lower-case hexadecimal digits.
    pub fn by_hash(&self, hash: &str) -> Option<&Origin> {
        self.by_hash.get(hash)
    }

    /// All logs and their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Origin, &[VerifierKey])> {
        self.keys.iter().map(|(origin, keys)| (origin, keys.as_slice()))
    }

    /// How many logs.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    fn add(&mut self, key: &str, place: &str) -> Result<(), LogsError> {
        let wrong = |problem: &dyn ToString| LogsError::Key {
            place: place.to_owned(),
            key: key.chars().take(300).collect(),
            problem: problem.to_string(),
        };
        let key = VerifierKey::parse(key).map_err(|error| wrong(&error))?;
        if key.kind() != KeyKind::Note {
            return Err(wrong(&"logs sign with keys of type 1; this one is a cosigner's"));
        }
        let origin = Origin::parse(key.name()).map_err(|error| wrong(&error))?;
        let too_many = || LogsError::TooMany { place: place.to_owned() };
        let keys = self.keys.entry(origin.clone()).or_default();
        if keys.contains(&key) {
            return Ok(());
        }
        if keys.len() >= KEYS {
            return Err(too_many());
        }
        keys.push(key);
        self.by_hash.insert(origin_hash(&origin), origin);
        if self.keys.len() > LOGS { Err(too_many()) } else { Ok(()) }
    }

    fn read(&mut self, text: &str, name: &str) -> Result<(), LogsError> {
        let lines = text.lines().enumerate().map(|(at, line)| (at.saturating_add(1), line.trim()));
        let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).peekable();
        if lines.next_if(|(_, line)| *line == NETWORK).is_some() {
            return self.read_network(lines, name);
        }
        for (number, line) in lines {
            let place = format!("{name} line {number}");
            let mut words = line.split_ascii_whitespace();
            let (Some("log"), Some(key), _, None) = (words.next(), words.next(), words.next(), words.next())
            else {
                let problem = "a line is: log VERIFIER-KEY [URL]";
                return Err(LogsError::Line { place, problem });
            };
            self.add(key, &place)?;
        }
        Ok(())
    }

    /// `vkey` begins a log, `origin` names it, and what is not known is passed over.
    fn read_network<'a>(
        &mut self,
        lines: impl Iterator<Item = (usize, &'a str)>,
        name: &str,
    ) -> Result<(), LogsError> {
        let mut open: Option<(String, &str, Option<&str>)> = None;
        for (number, line) in lines {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match (word, &mut open) {
                ("vkey", _) => {
                    self.close(open.take())?;
                    open = Some((format!("{name} line {number}"), rest.trim(), None));
                }
                ("origin", Some((_, _, origin))) => *origin = Some(rest.trim()),
                (_, Some(_)) => {}
                (_, None) => {
                    let place = format!("{name} line {number}");
                    return Err(LogsError::Line { place, problem: "a log begins with: vkey VERIFIER-KEY" });
                }
            }
        }
        self.close(open)
    }

    /// The list was made by others: what cannot be used here is named and left out.
    fn close(&mut self, open: Option<(String, &str, Option<&str>)>) -> Result<(), LogsError> {
        let Some((place, key, origin)) = open else { return Ok(()) };
        let name = key.split('+').next();
        let added = match origin {
            Some(origin) if Some(origin) != name => {
                Err(LogsError::Line { place, problem: "the log has another name than its key" })
            }
            _ => self.add(key, &place),
        };
        match added {
            Err(error @ (LogsError::Key { .. } | LogsError::Line { .. })) => {
                tracing::warn!(%error, "a log of the list is left out");
                Ok(())
            }
            other => other,
        }
    }
}

/// How monitors ask for a log.
pub fn origin_hash(origin: &Origin) -> String {
    Digest::of(&[origin.as_str().as_bytes()]).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "arbiter.example/evidence+fa13fc67+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
    const TWO: &str = "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562\
                       +5202289b+Af/cLU2Y5BJNP+r3iMDC+av9eWCD0fBJVDfzAux5zxAP";

    /// R-550: known logs and their keys.
    #[test]
    fn both_forms_of_a_list_are_read() {
        let list = format!("# ours\nlog {ONE} https://log.example/\n\n  log {TWO}\nlog {ONE}\n");
        let logs = Logs::parse(&list).unwrap();
        assert_eq!(logs.len(), 2);
        let origin = Origin::parse("arbiter.example/evidence").unwrap();
        assert_eq!(logs.keys(&origin).unwrap().len(), 1);
        let hash = "8fb7b0201bda7601a21e78350712bfd9be8d22e54d3ac12633fca6fb3c5babc7"; // by sha256sum
        assert_eq!(logs.by_hash(hash), Some(&origin));

        let network = format!(
            "# x\nlogs/v0\n\nvkey {ONE}\nqpd 24\norigin arbiter.example/evidence\nunknown\nvkey broken+00+AA\n\
             vkey {TWO}\nvkey {}\norigin log.example/renamed\n",
            ONE.replace("arbiter.example/evidence", "other")
        );
        let logs = Logs::parse(&network).unwrap();
        assert_eq!(logs.len(), 2);
        assert_eq!(logs.keys(&origin).unwrap()[0].to_string(), ONE);
        assert!(Logs::parse("").unwrap().is_empty());
    }

    #[test]
    fn other_lines_are_refused() {
        for bad in [
            "lag x",
            "log",
            "log x",
            &format!("log {ONE} url more"),
            &format!("log {}", ONE.replace("fa13", "fa14")),
            "logs/v0\nqpd 3\n",
            "witness w x",
            // A cosigner's key.
            "log witness.example/w1+20324abe+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X",
        ] {
            assert!(Logs::parse(bad).is_err(), "{bad}");
        }
    }
}
