//! The trusted screen: what a person sees before anything is signed.
//!
//! ```text
//!  the exact statement to be signed ─▶ Screen ─▶ You give / You get / Until when / If they stop / If you stop /
//!                                                The arbiter can / Decided by / Cannot be undone after this / fingerprint
//! ```
//!
//! Invariants
//! - Everything shown is derived here from the statement that will be signed; no text of the peer or of another
//!   program is shown as ours. The peer's words stand behind a `|` mark (rule 1).
//! - Consequences, not fields (rule 3). The fingerprint is of the exchange id, which is the hash that is signed
//!   and is the same on both screens, in the acceptance and in every verdict (rule 4).
//! - What could mislead is pointed out: mixed alphabets, statements that differ, a file nobody checked (rules 7, 8),
//!   certificates that are not valid now, a peer that signed with another key before.
//! - Beside a certificate that is not of the key that signs, nothing is approved.
//! - The exact text of each detached signature can be read before it is signed.
//! - Approval is the first word of the fingerprint, typed (rule 5); it is never Enter.

mod money;
mod one_way;
mod reserved;
mod stakes;

use std::fmt;

use arbiter_protocol::escrow::SignatureKey;
use arbiter_protocol::escrow::signature_key::Kind as KeyKind;
use arbiter_protocol::exchange::item::{Description, DetachedSignature, Information, Item, Statement};
use arbiter_protocol::exchange::selection::{Protocol, Role};
use arbiter_protocol::ids::{ExchangeId, PublicKey};
use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::statement::digest_of;
use arbiter_protocol::time::{DurationMillis, UnixMillis};

use crate::explain::{self, keys};
use crate::fingerprint::Fingerprint;
use crate::plain;
use crate::verify::{FileFacts, described};

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
    /// Why nobody may approve this, if so.
    pub refusal: Option<String>,
    /// The exact texts that detached signatures sign, ours first; each once.
    pub documents: Vec<String>,
    act: &'static str,
}

impl Screen {
    /// The screen for the party in `role` before it signs this offer or the acceptance of it. `files` are files
    /// that were read on this computer; `now` is its clock.
    pub fn new(offer: &Offer, role: Role, files: &[FileFacts], now: UnixMillis) -> Self {
        Self::knowing(offer, role, files, &[], now)
    }

    /// The same for who remembers with which keys other parties signed in earlier exchanges.
    pub fn knowing(
        offer: &Offer,
        role: Role,
        files: &[FileFacts],
        known: &[(PublicKey, SignatureKey)],
        now: UnixMillis,
    ) -> Self {
        let view = View { offer, role, files, known, now };
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
            refusal: view.refusal(),
            documents: view.documents(),
            act,
        }
    }

    /// The word to type.
    pub fn word(&self) -> &'static str {
        self.fingerprint.first_word()
    }

    /// Whether what was typed approves: the word, nothing more than space and case around it.
    pub fn approves(&self, typed: &str) -> bool {
        self.refusal.is_none() && typed.trim().eq_ignore_ascii_case(self.word())
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
        if let Some(refusal) = &self.refusal {
            writeln!(f, "  THIS CANNOT BE APPROVED")?;
            for line in plain::wrap(refusal, COLUMNS) {
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
    known: &'a [(PublicKey, SignatureKey)],
    now: UnixMillis,
}

impl View<'_> {
    fn sections(&self) -> Vec<Section> {
        let peer = self.offer.party(self.role.peer());
        let section = |title, lines: Vec<String>| Section { title, lines };
        let mut sections = vec![
            section("You are", vec![explain::who(self.offer.party(self.role))]),
            section(
                "The other party",
                vec![explain::who(peer), "Nobody has verified this name: only the key.".into()],
            ),
            section("You give", self.item(self.role)),
            section("You get", self.item(self.role.peer())),
        ];
        if self.offer.selection.protocol == Protocol::Transfer {
            sections.extend(self.one_way());
            return sections;
        }
        sections.extend([
            section("Until when", words(&self.until())),
            section("If they stop", words(&self.if_they_stop())),
            section("If you stop", words(&self.if_you_stop())),
            section("The arbiter can", self.arbiter_can()),
            section("Decided by", words(&self.decided_by())),
            section("Cannot be undone after this", words(&self.not_undone())),
        ]);
        sections.into_iter().filter(|section| !section.lines.is_empty()).collect()
    }

    fn first(&self) -> bool {
        self.offer.selection.first_sender == self.role
    }

    fn signing(&self) -> bool {
        self.offer.selection.protocol == Protocol::ContractSigning
    }

    fn item(&self, role: Role) -> Vec<String> {
        let leaves = self.offer.item(role).leaves();
        if let [alone] = leaves.as_slice() {
            return self.leaf(role, alone);
        }
        let mut lines = vec![format!("{} items together, all of them or none:", leaves.len())];
        for (place, leaf) in leaves.iter().enumerate() {
            lines.push(format!("{} of {}", place.saturating_add(1), leaves.len()));
            lines.extend(self.leaf(role, leaf));
        }
        lines
    }

    fn leaf(&self, role: Role, item: &Item) -> Vec<String> {
        let mut lines = Vec::new();
        match &item.description {
            Description::Information(it) => {
                lines.push("this file:".to_owned());
                lines.extend(self.file(it));
            }
            Description::DetachedSignature(it) => {
                lines.extend(self.statement(role, &it.statement));
                lines.extend(self.key(role, it));
            }
            Description::Nothing => lines.push("nothing".to_owned()),
            Description::Package(_) => {}
            Description::Payment(it) => lines.extend(self.payment(role, it)),
            Description::Signature(it) => lines.extend(self.statement(role, it)),
        }
        lines
    }

    fn statement(&self, role: Role, it: &Statement) -> Vec<String> {
        let whose = if role == self.role { "your" } else { "their" };
        let quoted = |text: &str| plain::wrap(text, COLUMNS - 4).into_iter().map(|line| format!("| {line}"));
        let mut lines = vec![format!("{whose} signature on this statement:")];
        lines.extend(quoted(&it.title));
        if !it.text.is_empty() {
            lines.push("|".to_owned());
            lines.extend(quoted(&it.text));
        }
        lines.push("about this file:".to_owned());
        lines.extend(self.file(&it.subject));
        lines
    }

    fn documents(&self) -> Vec<String> {
        let roles = [self.role, self.role.peer()];
        let items = roles.into_iter().flat_map(|role| self.detached(role));
        let mut documents: Vec<_> = items.map(|it| it.statement.document()).collect();
        documents.dedup();
        documents
    }

    fn key(&self, role: Role, it: &DetachedSignature) -> Vec<String> {
        let mut lines = keys::lines(it);
        let ours = role == self.role;
        lines.push(
            match (*it.key.kind() == KeyKind::Ed25519(self.offer.party(role).signing_key), ours) {
                (true, true) => "This is the key of your fairx identity.",
                (true, false) => "This is the key of their fairx identity.",
                (false, true) => "This is another key than that of your fairx identity.",
                (false, false) => "This is another key than that of their fairx identity.",
            }
            .to_owned(),
        );
        lines.push("It is an ordinary signature: any program can check it, for ever.".to_owned());
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

    fn detached(&self, role: Role) -> Vec<&DetachedSignature> {
        self.offer.item(role).description.detached_leaves()
    }

    /// What a party gives sealed first: how it is called, and called after.
    fn sealed(&self, role: Role) -> Option<(&'static str, &'static str)> {
        match self.detached(role).len() {
            0 => None,
            1 => Some(("sealed signature", "it")),
            _ => Some(("sealed signatures", "them")),
        }
    }

    fn until(&self) -> String {
        let key_ends = self.offer.escrow.as_ref().map(|terms| terms.epoch.until);
        match (self.offer.complain_by, key_ends) {
            (None, None) => "No deadline. Either side can turn to the arbiter at any time.".to_owned(),
            (None, Some(until)) => format!(
                "{} Until then either side can turn to the arbiter; afterwards it can open no sealed signature any \
                 more. Keep this program running.",
                self.span(until)
            ),
            (Some(by), _) if by <= self.now => self.span(by),
            (Some(by), _) if !self.signing() && !self.delivers() => {
                format!("{} {}", self.span(by), self.due())
            }
            (Some(by), _) => format!(
                "{} {}",
                self.span(by),
                if self.signing() {
                    "Until then either side can turn to the arbiter; keep this program running."
                } else if self.first() {
                    "Until then you can complain; keep this program running."
                } else {
                    "Until then they can complain; after it you can have the exchange ended."
                }
            ),
        }
    }

    /// Whether it is P2.
    fn delivers(&self) -> bool {
        self.offer.selection.protocol == Protocol::VerifyThenGenerate
    }

    /// When nothing is open any more (R5).
    fn decided_by(&self) -> String {
        self.offer.complain_by.map_or_else(String::new, |by| {
            format!(
                "{}: no decision of the arbiter that gives or returns anything comes later.",
                plain::time(by)
            )
        })
    }

    fn span(&self, end: UnixMillis) -> String {
        let time = plain::time(end);
        if end <= self.now {
            return format!("{time} on the arbiter's clock. THIS HAS PASSED on your clock.");
        }
        let left = plain::span(DurationMillis(end.0.saturating_sub(self.now.0)));
        format!("{time} on the arbiter's clock, in {left} on yours.")
    }

    fn if_they_stop(&self) -> String {
        if self.is_about_money() {
            return self.money_if_they_stop();
        }
        let (got, never) = (self.got(), self.never());
        let file = self.thing(self.offer.selection.first_sender);
        match (self.offer.selection.protocol, self.role) {
            (Protocol::ContractSigning, Role::Originator) => {
                format!("Before they accept: the arbiter ends it for good, and {never}. After: {got}.")
            }
            (Protocol::ContractSigning, Role::Responder) => {
                format!("Then {got}; or, if they ended it before you, nobody is bound.")
            }
            (_, role) if self.offer.selection.first_sender == role => format!(
                "If the {file} was sent and nothing comes back, this program gives the {file} to the arbiter in time, and \
                 {got}."
            ),
            (_, _) => format!(
                "If the {file} does not come, you give nothing; after the deadline the arbiter ends the exchange for \
                 good, and {never}."
            ),
        }
    }

    fn if_you_stop(&self) -> String {
        if self.is_about_money() {
            return self.money_if_you_stop();
        }
        let given = self.given();
        let (file, theirs) = (self.thing(self.offer.selection.first_sender), self.thing(self.role.peer()));
        match (self.offer.selection.protocol, self.role) {
            (Protocol::ContractSigning, Role::Originator) => {
                format!("Once they have accepted, {given}, even if you send nothing more.")
            }
            (Protocol::ContractSigning, Role::Responder) => {
                format!("Once you have accepted, {given}, even if you send nothing more.")
            }
            (_, role) if self.offer.selection.first_sender == role => {
                format!(
                    "Before the {file} is sent: nobody gets anything. After: they have the {file}, and if this program does \
                     not complain before the deadline you may be left without their {theirs}."
                )
            }
            (_, _) => {
                format!(
                    "They give the {file} to the arbiter, and then {given}; you can fetch the {file} there."
                )
            }
        }
    }

    fn arbiter_can(&self) -> Vec<String> {
        let sealed = Role::BOTH.into_iter().filter(|role| self.sealed(*role).is_some()).count();
        let packages = Role::BOTH.into_iter().any(|role| self.is_package(role));
        let power = match (self.signing(), sealed) {
            (true, 0) if packages => {
                "declare by a signed, logged verdict that every signature above counts as given, or that none does. \
                 Nothing else. It learns the statements above, not the files. It is asked only if somebody stops."
            }
            (false, 0) if packages && !self.is_about_money() => {
                "check every file against its description, keep them for the receiver, and declare by a signed, logged \
                 verdict that every signature above counts as given; or end the exchange. Nothing else, and never a part of \
                 it. It sees the files only if somebody complains."
            }
            (false, _) if packages && !self.is_about_money() => {
                "check every file against its description, keep them for the receiver, and open what is sealed, with \
                 a signed, logged verdict; or end the exchange. Nothing else, and never a part of it. It sees the files only \
                 if somebody complains."
            }
            _ if self.is_about_money() => self.money_arbiter_can(),
            (true, 0) => {
                "declare by a signed, logged verdict that both signatures count as given, or that neither does. \
                 Nothing else. It learns the statement above, not the file. It is asked only if somebody stops."
            }
            (true, 2) if packages => {
                "open all sealed signatures, yours for them and theirs for you, with a signed, logged verdict; or end \
                 the exchange, so that none is ever opened. Nothing else, and never a part of it. It learns the statements above \
                 and what it opens, not the files. It is asked only if somebody stops."
            }
            (true, 2) => {
                "open both sealed signatures, yours for them and theirs for you, with a signed, logged verdict; or end \
                 the exchange, so that neither is ever opened. Nothing else. It learns the statement above and what \
                 it opens, not the file. It is asked only if somebody stops."
            }
            (true, _) if packages => {
                "open the sealed signatures and declare that the others count as given, by a signed, logged verdict; or \
                 that none does. Nothing else, and never a part of it. It learns the statements above, not the files. It is \
                 asked only if somebody stops."
            }
            (true, _) => {
                "open the sealed signature and declare that the other one counts as given, by a signed, logged \
                 verdict; or that neither does. Nothing else. It learns the statement above, not the file. It is asked \
                 only if somebody stops."
            }
            (false, 0) => {
                "check the file against its description, keep it for the receiver, and declare by a signed, logged \
                 verdict that the signature counts as given; or end the exchange. Nothing else. It sees the file only \
                 if somebody complains."
            }
            (false, _) => {
                "check the file against its description, keep it for the receiver, and open the sealed signature, with \
                 a signed, logged verdict; or end the exchange. Nothing else. It sees the file only if somebody \
                 complains."
            }
        };
        let mut lines = vec![explain::arbiter(&self.offer.arbiter)];
        lines.extend(words(power));
        if let Some(terms) = &self.offer.escrow {
            let end = plain::time(terms.epoch.until);
            lines.extend(words(&format!(
                "Sealed signatures are for its key {}, which it destroys on {end}.",
                terms.epoch.epoch
            )));
        }
        lines
    }

    fn not_undone(&self) -> String {
        let sealed = match self.sealed(self.role) {
            Some(_) => {
                " Your signature leaves sealed: they can check that it is inside, and only the arbiter can open it. An \
                 opened signature is the same file as one that you send: nobody can tell that there was a dispute."
            }
            None => "",
        };
        if self.is_about_money() {
            return format!("{}{sealed}", self.money_not_undone());
        }
        let statement = if self.is_package(self.role) { "every statement" } else { "the statement" };
        let (file, ours) = (self.thing(self.offer.selection.first_sender), self.thing(self.role));
        let bound = match (self.offer.selection.protocol, self.role) {
            (Protocol::ContractSigning, Role::Originator) => {
                format!(
                    "When they accept, you are bound to {statement} unless the arbiter ended the exchange before."
                )
            }
            (Protocol::ContractSigning, Role::Responder) => format!(
                "When you accept, you are bound to {statement} as soon as they, or the arbiter for them, sign too."
            ),
            (_, role) if self.offer.selection.first_sender == role => {
                format!("When the {file} is sent they can read it. It cannot be called back.")
            }
            (_, _) => format!(
                "When you accept, your {ours} counts as given as soon as you, or the arbiter for you, can have the {file}."
            ),
        };
        format!("{bound}{sealed}")
    }

    /// Certificates that must not be believed: nothing is approved beside one.
    fn refusal(&self) -> Option<String> {
        let all =
            Role::BOTH.into_iter().flat_map(|role| self.detached(role).into_iter().map(move |it| (role, it)));
        let faults = all.filter_map(|(role, it)| {
            let whose = if role == self.role { "Yours" } else { "Theirs" };
            let why = keys::certificate(it).err()?;
            Some(format!("{whose}: {why}."))
        });
        let faults: Vec<_> = faults.collect();
        (!faults.is_empty()).then(|| faults.join(" "))
    }

    fn certificate_warnings(&self) -> Vec<String> {
        let roles = [(self.role, "Your"), (self.role.peer(), "Their")];
        let mut warnings = Vec::new();
        for (role, whose) in roles {
            for item in self.detached(role) {
                if let Ok(Some(certificate)) = keys::certificate(item) {
                    warnings.extend(keys::doubts(whose, &certificate, self.now));
                }
            }
        }
        warnings
    }

    /// The peer signed with another key before.
    fn other_key(&self) -> Option<String> {
        let peer = self.role.peer();
        let (party, items) = (self.offer.party(peer), self.detached(peer));
        let before: Vec<_> = self.known.iter().filter(|(signer, _)| *signer == party.signing_key).collect();
        let is_new = |it: &&DetachedSignature| !before.iter().any(|(_, key)| *key == it.key);
        let changed = !before.is_empty() && items.iter().any(is_new);
        changed.then(|| {
            "They signed with ANOTHER key in earlier exchanges with you. Ask them by another channel whether this one \
             is theirs."
                .to_owned()
        })
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let items = [&self.offer.originator_item, &self.offer.responder_item];
        let [ours, theirs] = items.map(plain::signed);
        let files = items.map(plain::files).concat();
        let subjects: Vec<_> = ours.iter().chain(&theirs).map(|it| &it.subject).collect();
        if !ours.is_empty() && !theirs.is_empty() && ours != theirs {
            warnings.push("You and they sign DIFFERENT statements. Read both.".to_owned());
        }
        if !files.is_empty() && subjects.iter().any(|subject| !files.contains(subject)) {
            warnings.push("The signature is about ANOTHER file than the one that is handed over.".to_owned());
        } else if !subjects.is_empty() && files.iter().any(|file| !subjects.contains(file)) {
            warnings
                .push("NOBODY SIGNS about one of the files that are handed over. Compare them.".to_owned());
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
        warnings.extend(self.certificate_warnings());
        warnings.extend(self.other_key());
        warnings
    }

    /// Files that this party's own signature is about, unless it is about to receive them.
    fn to_be_read(&self) -> Vec<Information> {
        let arriving = plain::files(self.offer.item(self.role.peer()));
        let signed = plain::signed(self.offer.item(self.role));
        let about = |file: &Information| signed.iter().any(|it| it.subject == *file);
        described(self.offer).into_iter().filter(|file| about(file) && !arriving.contains(&file)).collect()
    }
}

fn texts(item: &Item) -> Vec<String> {
    let signed = plain::signed(item).into_iter();
    let mut texts: Vec<_> = signed.flat_map(|it| [&it.title, &it.text, &it.subject.name]).cloned().collect();
    texts.extend(plain::files(item).into_iter().map(|file| file.name.clone()));
    let leaves = item.description.detached_leaves().into_iter();
    let certificates = leaves.filter_map(|it| keys::certificate(it).ok().flatten());
    texts.extend(certificates.map(|it| it.subject().to_owned()));
    texts
}

fn words(text: &str) -> Vec<String> {
    plain::wrap(text, COLUMNS)
}

/// Width of the text, so that a screen of 80 columns holds it with its margins.
const COLUMNS: usize = 72;
