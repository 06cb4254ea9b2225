//! Whom a verifier trusts: the logs, the witnesses and the quorum of a C2SP tlog-policy.
//!
//! ```text
//! log arbiter.example/evidence+fa13fc67+AQOhB7…          any of the logs may have signed
//! witness X1 witness.example/w1+20324abe+BCms… https://witness.example/w1
//! witness X2 …
//! group X any X1 X2                                      any, all, or a number of the members
//! quorum X                                               none: no witness is asked for
//! ```
//!
//! Invariants:
//! * Names are defined once and before they are used, each is a member of one group at most: so a witness
//!   counts once, and no group holds itself (R-516).
//! * Printing and parsing gives the same policy. Comments, empty lines and spacing are not kept.
//! * A URL is kept as text; nothing here knows what it means.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use crate::evidence::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::evidence::cosignature::PosixSeconds;
use crate::evidence::note::{KeyKind, Note, NoteError, VerifierKey};
use crate::evidence::text;
use crate::limits;

/// A log of a policy: its key is named as its origin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyLog {
    /// The key.
    pub key: VerifierKey,
    /// Where it is, e.g. for its tiles; not needed to verify.
    pub url: Option<String>,
}

/// A witness of a policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyWitness {
    /// Its name within the policy.
    pub name: String,
    /// Its key, of a type that cosigns.
    pub key: VerifierKey,
    /// Where it takes checkpoints; not needed to verify.
    pub url: Option<String>,
}

/// Which checkpoints are believed (R-516).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    members: Vec<(String, Member)>,
    quorum: Option<String>,
}

/// What has a name in a policy, in the order of definition.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Member {
    Witness(PolicyWitness),
    Group { threshold: usize, members: Vec<String> },
}

/// What the witnesses of a policy say about a checkpoint (R-517).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quorum {
    /// Whether they are enough.
    pub satisfied: bool,
    /// The witnesses that cosigned, by their names in the policy, in its order, each with the latest time
    /// it stated.
    pub seen: Vec<(String, PosixSeconds)>,
}

impl Policy {
    /// Reads a policy.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > limits::POLICY_BYTES {
            return Err(PolicyError::TooLong);
        }
        if !text.ends_with('\n') || text.chars().any(|c| c.is_ascii_control() && !matches!(c, '\t' | '\n')) {
            return Err(PolicyError::Text);
        }
        let mut reader = Reader::default();
        for (number, line) in text.split_terminator('\n').enumerate() {
            let words: Vec<_> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
            let fault = |fault| PolicyError::Line { line: number.saturating_add(1), fault };
            reader.line(&words).map_err(fault)?;
        }
        let quorum = reader.quorum.ok_or(PolicyError::NoQuorum)?;
        Ok(Self { logs: reader.logs, members: reader.members, quorum })
    }

    /// The logs, any of which may have signed.
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The logs of this origin; more than one if it has several keys.
    pub fn logs_of<'a>(&'a self, origin: &'a str) -> impl Iterator<Item = &'a PolicyLog> {
        self.logs.iter().filter(move |log| log.key.name() == origin)
    }

    /// The witnesses, in the order of the policy.
    pub fn witnesses(&self) -> impl Iterator<Item = &PolicyWitness> {
        self.members.iter().filter_map(|(_, member)| match member {
            Member::Witness(witness) => Some(witness),
            Member::Group { .. } => None,
        })
    }

    /// Reads a note and checks that a log of this policy signed it. The quorum is asked for on its own.
    pub fn checkpoint(&self, note_text: &str) -> Result<SignedCheckpoint, CheckpointError> {
        let keys: Vec<_> = self.logs.iter().map(|log| log.key.clone()).collect();
        SignedCheckpoint::verify_any(Note::parse(note_text)?, &keys)
    }

    /// Which witnesses cosigned, and whether they are enough (R-517). A line by a witness of the policy that
    /// does not verify rejects the note.
    pub fn quorum(&self, checkpoint: &SignedCheckpoint) -> Result<Quorum, CheckpointError> {
        let keys: Vec<_> = self.witnesses().map(|witness| witness.key.clone()).collect();
        let cosignatures = checkpoint.cosignatures(&keys)?;
        let mut seen = Vec::new();
        let mut witnessed: BTreeMap<&str, bool> = BTreeMap::new();
        for (name, member) in &self.members {
            let there = match member {
                Member::Witness(witness) => {
                    let own = cosignatures.iter().filter(|it| *it.key() == witness.key);
                    let latest = own.map(|it| it.time()).max();
                    seen.extend(latest.map(|time| (name.clone(), time)));
                    latest.is_some()
                }
                // Members are defined before, so what they are is known.
                Member::Group { threshold, members } => {
                    let there = |name: &&String| witnessed.get(name.as_str()).copied().unwrap_or(false);
                    members.iter().filter(there).count() >= *threshold
                }
            };
            witnessed.insert(name, there);
        }
        let satisfied = match &self.quorum {
            None => true,
            Some(name) => witnessed.get(name.as_str()).copied().unwrap_or(false),
        };
        Ok(Quorum { satisfied, seen })
    }
}

/// A line for each log, witness and group, and the quorum: the form without comments.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = |url: &Option<String>| url.as_ref().map_or(String::new(), |url| format!(" {url}"));
        for log in &self.logs {
            writeln!(f, "log {}{}", log.key, url(&log.url))?;
        }
        for (name, member) in &self.members {
            match member {
                Member::Witness(witness) => {
                    writeln!(f, "witness {name} {}{}", witness.key, url(&witness.url))?;
                }
                Member::Group { threshold, members } => {
                    let threshold = match *threshold {
                        all if all == members.len() => "all".to_owned(),
                        1 => "any".to_owned(),
                        number => number.to_string(),
                    };
                    writeln!(f, "group {name} {threshold} {}", members.join(" "))?;
                }
            }
        }
        writeln!(f, "quorum {}", self.quorum.as_deref().unwrap_or(NONE))
    }
}

/// Why a text is not a policy: the fault of who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A line breaks a rule.
    #[error("line {line}: {fault}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// The rule.
        fault: LineFault,
    },
    /// There is no `quorum` line.
    #[error("the policy names no quorum; `quorum none` asks for no witness")]
    NoQuorum,
    /// A control character other than tab and newline, or no newline at the end.
    #[error("the policy does not end with a newline or has control characters")]
    Text,
    /// The text is longer than [`limits::POLICY_BYTES`].
    #[error("the policy is longer than {} bytes", limits::POLICY_BYTES)]
    TooLong,
}

/// What is wrong with a line of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LineFault {
    /// The key was given before, perhaps under another name.
    #[error("this key is in the policy already")]
    DuplicateKey,
    /// The key is not a verifier key.
    #[error(transparent)]
    Key(NoteError),
    /// A witness needs a key that cosigns.
    #[error("the key of a witness must be of type 4 or 6")]
    KeyKind,
    /// The member is in a group already.
    #[error("a witness or group can be in one group only")]
    MemberTwice,
    /// The name was given before, or it is `none`.
    #[error("this name is taken")]
    NameTaken,
    /// The name was not defined on a line before.
    #[error("this name is not defined on a line before")]
    NameUnknown,
    /// There is one quorum only.
    #[error("there is a quorum line already")]
    SecondQuorum,
    /// The words are not those of a line of a policy.
    #[error(
        "expected: log <vkey> [<url>], witness <name> <vkey> [<url>], group <name> all|any|<k> <member>..., quorum <name>"
    )]
    Syntax,
    /// Not `any`, `all` or a number from 1 to that of the members.
    #[error("the number of a group is any, all, or 1 to the number of its members")]
    Threshold,
    /// More than [`limits::POLICY_ENTRIES`] logs, witnesses or groups.
    #[error("a policy has at most {} logs, witnesses and groups each", limits::POLICY_ENTRIES)]
    TooMany,
}

/// A policy while it is read.
#[derive(Default)]
struct Reader {
    logs: Vec<PolicyLog>,
    members: Vec<(String, Member)>,
    grouped: Vec<String>,
    quorum: Option<Option<String>>,
}

impl Reader {
    fn line(&mut self, words: &[&str]) -> Result<(), LineFault> {
        match words {
            [] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["log", key] => self.log(key, None),
            ["log", key, url] => self.log(key, Some(url)),
            ["witness", name, key] => self.witness(name, key, None),
            ["witness", name, key, url] => self.witness(name, key, Some(url)),
            ["group", name, threshold, members @ ..] => self.group(name, threshold, members),
            ["quorum", name] => self.set_quorum(name),
            _ => Err(LineFault::Syntax),
        }
    }

    fn log(&mut self, key: &str, url: Option<&str>) -> Result<(), LineFault> {
        let key = VerifierKey::parse(key).map_err(LineFault::Key)?;
        ensure(self.logs.len() < limits::POLICY_ENTRIES, LineFault::TooMany)?;
        let known = self.logs.iter().any(|log| log.key.key_bytes() == key.key_bytes());
        ensure(!known, LineFault::DuplicateKey)?;
        self.logs.push(PolicyLog { key, url: url.map(str::to_owned) });
        Ok(())
    }

    fn witness(&mut self, name: &str, key: &str, url: Option<&str>) -> Result<(), LineFault> {
        let key = VerifierKey::parse(key).map_err(LineFault::Key)?;
        ensure(key.kind() != KeyKind::Note, LineFault::KeyKind)?;
        let witnesses = self.members.iter().filter_map(|(_, member)| match member {
            Member::Witness(witness) => Some(witness),
            Member::Group { .. } => None,
        });
        ensure(witnesses.clone().count() < limits::POLICY_ENTRIES, LineFault::TooMany)?;
        let known = witnesses.clone().any(|witness| witness.key.key_bytes() == key.key_bytes());
        ensure(!known, LineFault::DuplicateKey)?;
        let witness = PolicyWitness { name: name.to_owned(), key, url: url.map(str::to_owned) };
        self.define(name, Member::Witness(witness))
    }

    fn group(&mut self, name: &str, threshold: &str, members: &[&str]) -> Result<(), LineFault> {
        let groups = self.members.iter().filter(|(_, member)| matches!(member, Member::Group { .. }));
        ensure(groups.count() < limits::POLICY_ENTRIES, LineFault::TooMany)?;
        ensure(!members.is_empty(), LineFault::Syntax)?;
        for member in members {
            ensure(self.is_defined(member), LineFault::NameUnknown)?;
            ensure(!self.grouped.iter().any(|it| it == member), LineFault::MemberTwice)?;
            self.grouped.push((*member).to_owned());
        }
        let threshold = match threshold {
            "any" => 1,
            "all" => members.len(),
            number => {
                let number = text::decimal(number).and_then(|number| usize::try_from(number).ok());
                number.filter(|number| (1..=members.len()).contains(number)).ok_or(LineFault::Threshold)?
            }
        };
        let members = members.iter().map(|it| (*it).to_owned()).collect();
        self.define(name, Member::Group { threshold, members })
    }

    fn set_quorum(&mut self, name: &str) -> Result<(), LineFault> {
        ensure(self.quorum.is_none(), LineFault::SecondQuorum)?;
        ensure(name == NONE || self.is_defined(name), LineFault::NameUnknown)?;
        self.quorum = Some((name != NONE).then(|| name.to_owned()));
        Ok(())
    }

    fn define(&mut self, name: &str, member: Member) -> Result<(), LineFault> {
        ensure(name != NONE && !self.is_defined(name), LineFault::NameTaken)?;
        self.members.push((name.to_owned(), member));
        Ok(())
    }

    fn is_defined(&self, name: &str) -> bool {
        self.members.iter().any(|(known, _)| known == name)
    }
}

fn ensure(holds: bool, otherwise: LineFault) -> Result<(), LineFault> {
    if holds { Ok(()) } else { Err(otherwise) }
}

/// The quorum without witnesses.
const NONE: &str = "none";

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;
    use crate::evidence::checkpoint::{Checkpoint, Origin};
    use crate::evidence::cosignature;
    use crate::evidence::merkle::leaf_hash;
    use crate::evidence::note::signature_line;
    use crate::ids::PublicKey;

    const LOG: &str = "log.example/a";

    fn secret(seed: u8) -> (SigningKey, PublicKey) {
        let secret = SigningKey::from_bytes(&[seed; 32]);
        let public = PublicKey::from_bytes(secret.verifying_key().to_bytes());
        (secret, public)
    }

    fn log(seed: u8) -> VerifierKey {
        VerifierKey::new(LOG, secret(seed).1).unwrap()
    }

    fn witness(seed: u8) -> VerifierKey {
        VerifierKey::cosigner(&format!("w{seed}.example"), secret(seed).1).unwrap()
    }

    /// A checkpoint signed by the log and cosigned by these, each at the time of its seed.
    fn cosigned(seeds: &[u8]) -> SignedCheckpoint {
        let head = Checkpoint { origin: Origin::parse(LOG).unwrap(), size: 1, root: leaf_hash(b"x") };
        let own = signature_line(&log(1), secret(1).0.sign(head.text().as_bytes()).to_bytes());
        let lines = seeds.iter().map(|seed| {
            let time = PosixSeconds::new(u64::from(*seed)).unwrap();
            let message = cosignature::message(&witness(*seed), time, &head).unwrap();
            cosignature::line(&witness(*seed), time, &secret(*seed).0.sign(&message).to_bytes()).unwrap()
        });
        let note = Note::new(head.text(), std::iter::once(own).chain(lines).collect()).unwrap();
        SignedCheckpoint::verify(&note.to_string(), &log(1)).unwrap()
    }

    /// The example of tlog-policy: two of three and one of three.
    fn example() -> String {
        let mut text = format!("log {} https://log.example/\n\n# witnesses\n", log(1));
        for seed in 11..=13 {
            text += &format!("\twitness X{seed}  {}\thttps://w.example/{seed} \n", witness(seed));
        }
        text += "group X 2 X11 X12 X13\n";
        for seed in 21..=23 {
            text += &format!("witness Y{seed} {}\n", witness(seed));
        }
        text + " # all of\tthem\ngroup Y any Y21 Y22 Y23\ngroup XY all X Y\nquorum XY\n"
    }

    /// R-517: every subset of the witnesses of the example.
    #[test]
    fn a_quorum_is_reached_by_who_is_asked_for() {
        let policy = Policy::parse(&example()).unwrap();
        let all = [11, 12, 13, 21, 22, 23];
        for subset in 0_u8..64 {
            let bits = all.iter().enumerate().filter(|(bit, _)| subset & (1 << bit) != 0);
            let seeds: Vec<u8> = bits.map(|(_, seed)| *seed).collect();
            let quorum = policy.quorum(&cosigned(&seeds)).unwrap();
            let (x, y) =
                (seeds.iter().filter(|it| **it < 20).count(), seeds.iter().filter(|it| **it > 20).count());
            assert_eq!(quorum.satisfied, x >= 2 && y >= 1, "{seeds:?}");
            let name = |seed: &u8| format!("{}{seed}", if *seed < 20 { 'X' } else { 'Y' });
            let time = |seed: &u8| PosixSeconds::new(u64::from(*seed)).unwrap();
            let expected: Vec<_> = seeds.iter().map(|seed| (name(seed), time(seed))).collect();
            assert_eq!(quorum.seen, expected);
        }
        let strangers = policy.quorum(&cosigned(&[31, 32])).unwrap();
        assert_eq!((strangers.satisfied, strangers.seen), (false, vec![]));
        for (quorum, seeds, satisfied) in
            [("none", &[][..], true), ("Y22", &[22], true), ("Y22", &[21, 23], false), ("X", &[11, 13], true)]
        {
            let policy = Policy::parse(&example().replace("quorum XY", &format!("quorum {quorum}"))).unwrap();
            assert_eq!(policy.quorum(&cosigned(seeds)).unwrap().satisfied, satisfied, "{quorum} {seeds:?}");
        }
    }

    /// R-517: a witness that cosigned twice counts once; one that lies rejects the note.
    #[test]
    fn a_witness_counts_once_and_a_bad_line_rejects() {
        let policy = Policy::parse(&example()).unwrap();
        let (one, later) = (cosigned(&[11, 21]), PosixSeconds::new(99).unwrap());
        let message = cosignature::message(&witness(11), later, one.checkpoint()).unwrap();
        let sign = |message: &[u8]| {
            cosignature::line(&witness(11), later, &secret(11).0.sign(message).to_bytes()).unwrap()
        };
        let twice = policy.quorum(&one.with_lines(&[sign(&message)]).unwrap()).unwrap();
        assert!(!twice.satisfied);
        assert_eq!(twice.seen[0], ("X11".to_owned(), later));
        let bad = one.with_lines(&[sign(b"another message")]).unwrap();
        assert_eq!(policy.quorum(&bad), Err(CheckpointError::Note(NoteError::SignatureInvalid)));
        assert!(policy.checkpoint(&bad.note().to_string()).is_ok());
        let other = Policy::parse(&example().replace(&log(1).to_string(), &log(2).to_string())).unwrap();
        let unknown = Err(CheckpointError::Note(NoteError::SignatureUnknown));
        assert_eq!(other.checkpoint(&one.note().to_string()), unknown);
        assert_eq!((policy.logs_of(LOG).count(), policy.logs_of("log.example/b").count()), (1, 0));
    }

    /// R-516.
    #[test]
    fn a_policy_prints_in_one_form() {
        let policy = Policy::parse(&example()).unwrap();
        let canonical = policy.to_string();
        assert_eq!(Policy::parse(&canonical), Ok(policy.clone()));
        assert!(canonical.lines().count() == 11 && !canonical.contains(['#', '\t']));
        assert!(canonical.ends_with("\ngroup Y any Y21 Y22 Y23\ngroup XY all X Y\nquorum XY\n"));
        assert!(canonical.contains("\ngroup X 2 X11 X12 X13\n"));
        assert_eq!(policy.logs()[0].url.as_deref(), Some("https://log.example/"));
        let names: Vec<_> = policy.witnesses().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["X11", "X12", "X13", "Y21", "Y22", "Y23"]);
        // Every other text near it is another policy, the same with other spacing, or refused.
        for (place, old) in canonical.char_indices() {
            let (before, rest) = canonical.split_at(place);
            for replaced in [0, old.len_utf8()] {
                for insertion in ["", " ", "\n", "#", "1", "X", "é", "\r", "\0"] {
                    let changed = [before, insertion, &rest[replaced..]].concat();
                    let Ok(other) = Policy::parse(&changed) else { continue };
                    assert_eq!(Policy::parse(&other.to_string()), Ok(other.clone()));
                    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
                    let commented = changed.lines().any(|line| line.starts_with('#'));
                    assert_eq!(
                        other == policy,
                        words(&changed) == words(&canonical) && !commented,
                        "{changed}"
                    );
                }
            }
        }
    }

    /// R-516: each rule broken, by the line that breaks it.
    #[test]
    fn every_rule_of_a_policy_is_kept() {
        use LineFault::*;
        let (a, b) = (witness(11), witness(12));
        let renamed = VerifierKey::cosigner("else.example", secret(11).1).unwrap();
        let base = format!("witness a {a}\nwitness b {b}\n");
        for (lines, fault) in [
            (format!("log {}\nlog {}\n", log(1), log(1)), DuplicateKey),
            (format!("witness c {renamed}\n"), DuplicateKey),
            (format!("witness a {}\n", witness(13)), NameTaken),
            (format!("witness none {}\n", witness(13)), NameTaken),
            (format!("witness c {}\n", log(1)), KeyKind),
            ("witness c nonsense\n".to_owned(), Key(NoteError::KeyMalformed)),
            ("log nonsense\n".to_owned(), Key(NoteError::KeyMalformed)),
            ("group g any c\n".to_owned(), NameUnknown),
            ("group g any g\n".to_owned(), NameUnknown),
            ("group g any none\n".to_owned(), NameUnknown),
            ("group g any a a\n".to_owned(), MemberTwice),
            ("group g any a\ngroup h any a\n".to_owned(), MemberTwice),
            ("group a any b\n".to_owned(), NameTaken),
            ("group g any\n".to_owned(), Syntax),
            ("group g 0 a\n".to_owned(), Threshold),
            ("group g 2 a\n".to_owned(), Threshold),
            ("group g 01 a\n".to_owned(), Threshold),
            ("group g +1 a\n".to_owned(), Threshold),
            ("group g some a\n".to_owned(), Threshold),
            ("quorum c\n".to_owned(), NameUnknown),
            ("quorum a\nquorum a\n".to_owned(), SecondQuorum),
            ("quorum\n".to_owned(), Syntax),
            ("quorum a b\n".to_owned(), Syntax),
            ("log\n".to_owned(), Syntax),
            ("Log x\n".to_owned(), Syntax),
            ("\u{a0}quorum a\n".to_owned(), Syntax),
        ] {
            let line = 2 + lines.lines().count();
            assert_eq!(
                Policy::parse(&(base.clone() + &lines)),
                Err(PolicyError::Line { line, fault }),
                "{lines}"
            );
        }
        assert!(Policy::parse(&format!("{base}group g any a b\nquorum a\n")).is_ok());
        assert_eq!(Policy::parse(&base), Err(PolicyError::NoQuorum));
        for text in ["", "quorum none", "quorum none\r\n", "quorum\0none\n", "# \u{7f}\nquorum none\n"] {
            assert_eq!(Policy::parse(text), Err(PolicyError::Text), "{text:?}");
        }
        let long = |bytes| Policy::parse(&"\n".repeat(bytes));
        assert_eq!(long(limits::POLICY_BYTES + 1), Err(PolicyError::TooLong));
        assert_eq!(long(limits::POLICY_BYTES), Err(PolicyError::NoQuorum));
    }

    /// R-516: 32 of each are supported, as tlog-policy asks, and the limit holds.
    #[test]
    fn limits_of_a_policy_hold_at_the_limit_and_not_beyond() {
        let most = u8::try_from(limits::POLICY_ENTRIES).unwrap();
        assert!(most >= 32);
        let with = |logs: u8, witnesses: u8, groups: u8| {
            let mut text = String::new();
            for seed in 0..logs {
                text += &format!("log {}\n", log(seed));
            }
            for seed in 0..witnesses {
                text += &format!("witness w{seed} {}\n", witness(seed));
            }
            for seed in 0..groups {
                text += &format!("group g{seed} any w{seed}\n");
            }
            Policy::parse(&(text + "quorum none\n"))
        };
        assert!(with(most, most, most).is_ok());
        for (logs, witnesses, groups) in [(most + 1, 0, 0), (0, most + 1, 0)] {
            let line = usize::from(most) + 1;
            let fault = LineFault::TooMany;
            assert_eq!(with(logs, witnesses, groups), Err(PolicyError::Line { line, fault }));
        }
        let nested = (1..most).fold(format!("witness w {}\ngroup g0 any w\n", witness(1)), |text, group| {
            text + &format!("group g{group} all g{}\n", group - 1)
        });
        let deep = Policy::parse(&format!("{nested}quorum g{}\n", most - 1)).unwrap();
        assert!(deep.quorum(&cosigned(&[1])).unwrap().satisfied);
        assert!(!deep.quorum(&cosigned(&[])).unwrap().satisfied);
        let too_deep = Policy::parse(&format!("{nested}group more all g{}\nquorum more\n", most - 1));
        let line = usize::from(most) + 2;
        assert_eq!(too_deep, Err(PolicyError::Line { line, fault: LineFault::TooMany }));
    }
}
