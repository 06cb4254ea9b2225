//! The trusted screen: what a person sees before anything is signed.
//!
//! ```text
//!  the exact statement to be signed ─▶ Screen ─▶ You give / You get / Until when / If they stop / If you stop /
//!                                                The arbiter can / Cannot be undone after this / fingerprint
//! ```
//!
//! Invariants
//! - Everything shown is derived here from the statement that will be signed; no text of the peer or of another
//!   program is shown as ours. The peer's words stand behind a `|` mark (rule 1).
//! - Consequences, not fields (rule 3). The fingerprint is of the exchange id, which is the hash that is signed
//!   and is the same on both screens, in the acceptance and in every verdict (rule 4).
//! - What could mislead is pointed out: mixed alphabets, statements that differ, a file nobody checked (rules 7, 8).
//! - Approval is the first word of the fingerprint, typed (rule 5); it is never Enter.

use std::fmt;

use arbiter_protocol::exchange::item::{Description, Information, Item};
use arbiter_protocol::exchange::selection::{Protocol, Role};
use arbiter_protocol::ids::ExchangeId;
use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::statement::digest_of;
use arbiter_protocol::time::{DurationMillis, UnixMillis};

use crate::fingerprint::Fingerprint;
use crate::verify::{FileFacts, described};
use crate::{explain, plain};

/// One heading with its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The heading, e.g. `You give`.
    pub title: &'static str,
    /// The lines below it, ready to print.
    pub lines: Vec<String>,
}

/// What a person must see before signing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screen {
    /// The exchange: the hash that is signed.
    pub exchange_id: ExchangeId,
    /// What both parties can compare.
    pub fingerprint: Fingerprint,
    /// The consequences.
    pub sections: Vec<Section>,
    /// What could mislead.
    pub warnings: Vec<String>,
    act: &'static str,
}

impl Screen {
    /// The screen for the party in `role` before it signs this offer or the acceptance of it. `files` are files
    /// that were read on this computer; `now` is its clock.
    pub fn new(offer: &Offer, role: Role, files: &[FileFacts], now: UnixMillis) -> Self {
        let view = View { offer, role, files, now };
        let exchange_id = ExchangeId::from_bytes(*digest_of(offer).as_bytes());
        let act = match role {
            Role::Originator => "MAKE THIS OFFER",
            Role::Responder => "ACCEPT THIS OFFER",
        };
        Self {
            exchange_id,
            fingerprint: Fingerprint::of(exchange_id.as_bytes()),
            sections: view.sections(),
            warnings: view.warnings(),
            act,
        }
    }

    /// The word to type.
    pub fn word(&self) -> &'static str {
        self.fingerprint.first_word()
    }

    /// Whether what was typed approves: the word, nothing more than space and case around it.
    pub fn approves(&self, typed: &str) -> bool {
        typed.trim().eq_ignore_ascii_case(self.word())
    }
}

impl fmt::Display for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = "=".repeat(COLUMNS + 4);
        writeln!(f, "{rule}\n  fairx · you are asked to {}\n{rule}", self.act)?;
        for section in &self.sections {
            writeln!(f, "  {}", section.title)?;
            for line in &section.lines {
                writeln!(f, "      {line}")?;
            }
        }
        for warning in &self.warnings {
            let mut lines = plain::wrap(warning, COLUMNS - 4).into_iter();
            writeln!(f, "  !!  {}", lines.next().unwrap_or_default())?;
            for line in lines {
                writeln!(f, "      {line}")?;
            }
        }
        writeln!(f, "  What is signed (the same on both screens and in every verdict)")?;
        writeln!(f, "      {}", self.fingerprint.groups())?;
        writeln!(f, "      {}", self.fingerprint.words().join("-"))?;
        writeln!(f, "      {}\n{rule}", self.exchange_id)
    }
}

struct View<'a> {
    offer: &'a Offer,
    role: Role,
    files: &'a [FileFacts],
    now: UnixMillis,
}

impl View<'_> {
    fn sections(&self) -> Vec<Section> {
        let peer = self.offer.party(self.role.peer());
        let section = |title, lines: Vec<String>| Section { title, lines };
        vec![
            section("You are", vec![explain::who(self.offer.party(self.role))]),
            section(
                "The other party",
                vec![explain::who(peer), "Nobody has verified this name: only the key.".into()],
            ),
            section("You give", self.item(self.role)),
            section("You get", self.item(self.role.peer())),
            section("Until when", words(&self.until())),
            section("If they stop", words(self.if_they_stop())),
            section("If you stop", words(self.if_you_stop())),
            section("The arbiter can", self.arbiter_can()),
            section("Cannot be undone after this", words(self.not_undone())),
        ]
    }

    fn first(&self) -> bool {
        self.offer.selection.first_sender == self.role
    }

    fn signing(&self) -> bool {
        self.offer.selection.protocol == Protocol::ContractSigning
    }

    fn item(&self, role: Role) -> Vec<String> {
        let mut lines = Vec::new();
        match &self.offer.item(role).description {
            Description::Information(it) => {
                lines.push("this file:".to_owned());
                lines.extend(self.file(it));
            }
            Description::Signature(it) => {
                let whose = if role == self.role { "your" } else { "their" };
                lines.push(format!("{whose} signature on this statement:"));
                lines.extend(plain::wrap(&it.title, COLUMNS - 4).into_iter().map(|line| format!("| {line}")));
                if !it.text.is_empty() {
                    lines.push("|".to_owned());
                    lines.extend(
                        plain::wrap(&it.text, COLUMNS - 4).into_iter().map(|line| format!("| {line}")),
                    );
                }
                lines.push("about this file:".to_owned());
                lines.extend(self.file(&it.subject));
            }
        }
        lines
    }

    fn file(&self, described: &Information) -> Vec<String> {
        let mut lines = plain::file(described).map(|line| format!("  {line}")).to_vec();
        let checked = self.files.iter().find(|file| file.is(described));
        if let Some(file) = checked {
            lines.push(format!("  = {}, read on this computer", file.label));
        }
        lines
    }

    fn until(&self) -> String {
        match self.offer.complain_by {
            None => "No deadline. Either side can turn to the arbiter at any time.".to_owned(),
            Some(by) if by <= self.now => {
                format!("{} on the arbiter's clock. THIS HAS PASSED on your clock.", plain::time(by))
            }
            Some(by) => format!(
                "{} on the arbiter's clock, in {} on yours. {}",
                plain::time(by),
                plain::span(DurationMillis(by.0.saturating_sub(self.now.0))),
                if self.first() {
                    "Until then you can complain; keep this program running."
                } else {
                    "Until then they can complain; after it you can have the exchange ended."
                }
            ),
        }
    }

    const fn if_they_stop(&self) -> &'static str {
        match (self.offer.selection.protocol, self.role) {
            (Protocol::ContractSigning, Role::Originator) => {
                "Before they accept: the arbiter ends it for good, and your signature can never be replaced. After: \
                 the arbiter's verdict stands for their signature."
            }
            (Protocol::ContractSigning, Role::Responder) => {
                "The arbiter's verdict stands for their signature; or, if they ended it before you, nobody is bound."
            }
            (Protocol::VerifyThenGenerate, role) if is(self.offer.selection.first_sender, role) => {
                "If the file was sent and nothing comes back, this program gives the file to the arbiter in time, and \
                 the arbiter's verdict stands for their signature."
            }
            (Protocol::VerifyThenGenerate, _) => {
                "If the file does not come, you give nothing; after the deadline the arbiter ends the exchange for \
                 good, and your signature can never be replaced."
            }
        }
    }

    const fn if_you_stop(&self) -> &'static str {
        match (self.offer.selection.protocol, self.role) {
            (Protocol::ContractSigning, Role::Originator) => {
                "Once they have accepted, they can get a verdict that stands for your signature, even if you send \
                 nothing more."
            }
            (Protocol::ContractSigning, Role::Responder) => {
                "They can get a verdict that stands for your signature, even if you send nothing more."
            }
            (Protocol::VerifyThenGenerate, role) if is(self.offer.selection.first_sender, role) => {
                "Before the file is sent: nobody gets anything. After: they have the file, and if this program does \
                 not complain before the deadline you may be left without their signature."
            }
            (Protocol::VerifyThenGenerate, _) => {
                "They give the file to the arbiter, whose verdict then stands for your signature; you can fetch the \
                 file there."
            }
        }
    }

    fn arbiter_can(&self) -> Vec<String> {
        let mut lines = vec![explain::arbiter(&self.offer.arbiter)];
        let power = if self.signing() {
            "declare by a signed, logged verdict that both signatures count as given, or that neither does. Nothing \
             else. It learns the statement above, not the file. It is asked only if somebody stops."
        } else {
            "check the file against its description, keep it for the receiver, and declare by a signed, logged verdict \
             that the signature counts as given; or end the exchange. Nothing else. It sees the file only if somebody \
             complains."
        };
        lines.extend(words(power));
        lines
    }

    const fn not_undone(&self) -> &'static str {
        match (self.offer.selection.protocol, self.role) {
            (Protocol::ContractSigning, Role::Originator) => {
                "When they accept, you are bound to the statement unless the arbiter ended the exchange before."
            }
            (Protocol::ContractSigning, Role::Responder) => {
                "When you accept, you are bound to the statement as soon as they, or the arbiter for them, sign too."
            }
            (Protocol::VerifyThenGenerate, role) if is(self.offer.selection.first_sender, role) => {
                "When the file is sent they can read it. It cannot be called back."
            }
            (Protocol::VerifyThenGenerate, _) => {
                "When you accept, your signature counts as given as soon as you, or the arbiter for you, can have the \
                 file."
            }
        }
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let items = [&self.offer.originator_item, &self.offer.responder_item];
        match items.map(|item| &item.description) {
            [Description::Signature(one), Description::Signature(other)] if one != other => {
                warnings.push("You and they sign DIFFERENT statements. Read both.".to_owned());
            }
            [Description::Information(file), Description::Signature(it)]
            | [Description::Signature(it), Description::Information(file)]
                if it.subject != *file =>
            {
                warnings
                    .push("The signature is about ANOTHER file than the one that is handed over.".to_owned());
            }
            _ => {}
        }
        for file in self.to_be_read() {
            if !self.files.iter().any(|facts| facts.is(&file)) {
                warnings.push(format!(
                    "You sign about {}, but this program has not seen the file. Name it with --file, or compare its \
                     SHA-256 yourself.",
                    plain::clip(&file.name, 60)
                ));
            }
        }
        let mut mixed = plain::mixed_scripts(&self.offer.party(self.role.peer()).name);
        mixed.extend(items.into_iter().flat_map(texts).flat_map(|text| plain::mixed_scripts(&text)));
        mixed.dedup();
        if !mixed.is_empty() {
            warnings.push(format!(
                "These words mix alphabets and may not be what they look like: {}",
                mixed.join(", ")
            ));
        }
        warnings
    }

    /// Files that this party's own signature is about, unless it is about to receive them.
    fn to_be_read(&self) -> Vec<Information> {
        let arriving = match &self.offer.item(self.role.peer()).description {
            Description::Information(it) => Some(it),
            Description::Signature(_) => None,
        };
        match &self.offer.item(self.role).description {
            Description::Signature(it) if arriving != Some(&it.subject) => {
                described(self.offer).into_iter().filter(|file| *file == it.subject).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Role equality in const context.
const fn is(one: Role, other: Role) -> bool {
    matches!((one, other), (Role::Originator, Role::Originator) | (Role::Responder, Role::Responder))
}

fn texts(item: &Item) -> Vec<String> {
    match &item.description {
        Description::Information(it) => vec![it.name.clone()],
        Description::Signature(it) => vec![it.title.clone(), it.text.clone(), it.subject.name.clone()],
    }
}

fn words(text: &str) -> Vec<String> {
    plain::wrap(text, COLUMNS)
}

/// Width of the text, so that a screen of 80 columns holds it with its margins.
const COLUMNS: usize = 72;
