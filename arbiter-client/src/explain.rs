//! A bundle or an offer in plain words, for people who settle disputes: who, what, when, which rule, what each
//! party holds, what each could still do.
//!
//! ```text
//!  Bundle ──verify──▶ Statements ──account──▶ text      only from verified statements
//!  Bundle ─────────────────────────summary──▶ lines     unverified, for the file's own `summary` field
//! ```
//! Nothing here judges: an account of a bundle that does not verify says only that.

use arbiter_protocol::exchange::item::{Description, DetachedSignature, Item, Statement};
use arbiter_protocol::exchange::selection::{Protocol, Role, Selection};
use arbiter_protocol::message::agreement::{ArbiterIdentity, Offer, Party};
use arbiter_protocol::message::verdict::{Ruling, Verdict};
use arbiter_protocol::ruling::receipt::{Proven, Ruled};
use arbiter_protocol::statement::{Signed, digest_of};

mod charge;
pub mod keys;
mod money;

pub use charge::{charge, judgement};
pub use money::{stands, state};

use crate::bundle::{Bundle, Claim};
use crate::fingerprint::Fingerprint;
use crate::plain;
use crate::verify::{FileFacts, Statements};

/// A party: what it calls itself, and the start of its key.
pub fn who(party: &Party) -> String {
    let key: String = party.signing_key.to_string().chars().take(16).collect();
    format!("\"{}\" (key {key}...)", plain::clip(&party.name, 60))
}

/// An arbiter: the log it keeps, and the start of its key.
pub fn arbiter(arbiter: &ArbiterIdentity) -> String {
    let key: String = arbiter.key.to_string().chars().take(16).collect();
    format!(
        "{} (key {key}..., rules {})",
        plain::clip(arbiter.log_origin.as_str(), 60),
        plain::clip(&arbiter.rules, 40)
    )
}

/// What an offer says, before anybody accepted it.
pub fn offer(offer: &Offer) -> Vec<String> {
    let id = digest_of(offer);
    let mut lines = vec![
        format!("Exchange {id}"),
        format!("Fingerprint {}", Fingerprint::of(id.as_bytes())),
        format!("{} offers to {}:", who(&offer.originator), who(&offer.responder)),
    ];
    for role in [Role::Originator, Role::Responder] {
        lines.push(format!("the {role} gives"));
        lines.extend(item(offer.item(role)).into_iter().map(|line| format!("    {line}")));
    }
    let Selection { protocol, first_sender } = offer.selection;
    if protocol == Protocol::Transfer {
        lines.push(format!("Protocol {protocol}; no arbiter has a part in it."));
        return lines;
    }
    lines.push(format!("Protocol {protocol}; the {first_sender} sends first."));
    lines.extend(money::deadlines(offer));
    if let Some(terms) = &offer.escrow {
        lines.push(format!(
            "Signatures change hands sealed first; the arbiter can open them before {}.",
            plain::time(terms.epoch.until)
        ));
    }
    lines.push(format!("If one of them stops, {} decides.", arbiter(&offer.arbiter)));
    lines
}

/// An item with everything that its description says.
pub fn item(item: &Item) -> Vec<String> {
    match &item.description {
        Description::Information(it) => plain::file(it).to_vec(),
        Description::Nothing => vec!["nothing".to_owned()],
        Description::Package(_) => package(item),
        Description::DetachedSignature(it) => [statement(&it.statement), keys::lines(it)].concat(),
        Description::Payment(it) => money::lines(it),
        Description::Signature(it) => statement(it),
    }
}

/// Each item of a package. How they are nested means nothing to who reads: it is all of them or none.
fn package(it: &Item) -> Vec<String> {
    let leaves = it.leaves();
    let mut lines = vec![format!("{} items together, all of them or none:", leaves.len())];
    for (place, leaf) in leaves.iter().enumerate() {
        lines.push(format!("{} of {}", place.saturating_add(1), leaves.len()));
        lines.extend(item(leaf));
    }
    lines
}

fn statement(it: &Statement) -> Vec<String> {
    let mut lines = vec![format!("a signature on: {}", plain::clip(&it.title, 100))];
    if !it.text.is_empty() {
        lines.extend(plain::wrap(&it.text, 72).into_iter().map(|line| format!("| {line}")));
    }
    lines.push("about".to_owned());
    lines.extend(plain::file(&it.subject));
    lines
}

/// The account of verified statements.
pub fn account(statements: &Statements) -> Vec<String> {
    let offer_ = &statements.offer;
    let mut lines = vec!["WHO AND WHAT".to_owned()];
    lines.extend(indent(offer(offer_)));
    lines.push("WHAT HAPPENED".to_owned());
    lines.extend(indent(happened(statements)));
    lines.push("WHAT EACH HOLDS, as far as these statements show".to_owned());
    for role in [Role::Originator, Role::Responder] {
        lines.extend(indent(vec![format!(
            "the {role}, {}: {}",
            who(offer_.party(role)),
            holds(statements, role)
        )]));
    }
    lines.push("WHAT EACH COULD STILL DO".to_owned());
    lines.extend(indent(still(statements)));
    lines
}

/// Lines for the bundle's own summary. Made from statements that were not verified.
pub fn summary(bundle: &Bundle) -> Vec<String> {
    let Ok(offer) = Signed::<Offer>::parse(bundle.offer.clone()) else {
        return vec!["The offer cannot be read.".to_owned()];
    };
    let offer = offer.unverified();
    let mut lines = vec![format!(
        "{} offered {} to {} for {}.",
        who(&offer.originator),
        plain::item(&offer.originator_item),
        who(&offer.responder),
        plain::item(&offer.responder_item),
    )];
    lines.push(match bundle.outcome {
        Claim::Aborted => "The arbiter ended the exchange: neither item counts as given.".to_owned(),
        Claim::Affidavit => "The arbiter signed which of the items it had at the deadline.".to_owned(),
        Claim::Completed if offer.selection.protocol == Protocol::Transfer => {
            "It was handed over.".to_owned()
        }
        Claim::Completed => "Both handed over their items; no arbiter was needed.".to_owned(),
        Claim::Open => "The exchange did not end, as far as this bundle shows.".to_owned(),
        Claim::Revoked => "The arbiter had the money that was held returned.".to_owned(),
        Claim::Resolved
            if matches!(offer.selection.protocol, Protocol::Affidavit | Protocol::BothDeposited) =>
        {
            "Both items went through the arbiter, which gave out both.".to_owned()
        }
        Claim::Resolved if offer.selection.protocol == Protocol::RevokeOnSilence => {
            "The arbiter gave out the item that was left with it; the money stands.".to_owned()
        }
        Claim::Resolved if offer.escrow.is_some() => {
            "The arbiter opened the sealed signature that was withheld.".to_owned()
        }
        Claim::Resolved => "The arbiter's verdict stands for what was withheld.".to_owned(),
    });
    let verdict =
        bundle.verdict().and_then(|receipt| Signed::<Verdict>::parse(receipt.statement.clone()).ok());
    if let Some(verdict) = verdict {
        let verdict = verdict.unverified();
        lines.push(format!("Ruled by {} at {}.", verdict.rule, plain::time(verdict.time)));
    }
    lines
}

/// What a good bundle proves.
pub fn proves(statements: &Statements, files: &[FileFacts]) -> Vec<String> {
    let offer = &statements.offer;
    let mut lines = vec![format!(
        "The holder of key {} made this offer to key {}.",
        offer.originator.signing_key, offer.responder.signing_key
    )];
    if statements.agreement.is_some() {
        lines.push("The holder of the responder's key accepted exactly this offer.".to_owned());
    }
    for role in Role::BOTH {
        for item in offer.item(role).description.detached_leaves() {
            lines.extend(sealed_or_signed(statements, role, item));
        }
    }
    for role in [Role::Originator, Role::Responder] {
        if !statements.transferred(role) {
            continue;
        }
        let party = who(offer.party(role));
        lines.extend(offer.item(role).leaves().into_iter().map(|leaf| match &leaf.description {
            Description::Information(it) => {
                format!("{party} declared under signature to hand over the file with SHA-256 {}.", it.sha256)
            }
            Description::Nothing => format!("{party} declared under signature to hand over nothing."),
            Description::Payment(it) => {
                format!("{party} declared under signature to pay {}.", it.amount)
            }
            Description::DetachedSignature(it) => format!(
                "{party} declared under signature to hand over its signature on \"{}\".",
                plain::clip(&it.statement.title, 60),
            ),
            Description::Package(_) => format!("{party} declared under signature to hand over a package."),
            Description::Signature(it) => format!(
                "{party} signed \"{}\" about the file with SHA-256 {}.",
                plain::clip(&it.title, 60),
                it.subject.sha256
            ),
        }));
    }
    let receipts = statements.paid.iter().flat_map(|(role, all)| all.iter().map(move |it| (role, it)));
    for (role, receipt) in receipts {
        lines.push(format!(
            "The ledger with key {} signed about the payment of {}: {}.",
            receipt.terms.payment.ledger,
            who(offer.party(role)),
            stands(receipt)
        ));
    }
    for proven in &statements.proven {
        lines.extend(ruling(statements, proven));
    }
    for file in files {
        lines.push(format!("{} is, byte for byte, a file that the agreement describes.", file.label));
    }
    lines
}

/// What is known of a detached signature of a party.
fn sealed_or_signed(statements: &Statements, role: Role, item: &DetachedSignature) -> Vec<String> {
    let (offer, mut lines) = (&statements.offer, Vec::new());
    if *statements.sealed.of(role)
        && let Some(terms) = &offer.escrow
    {
        lines.push(format!(
            "The finished signature of {} on \"{}\" was sealed for this exchange, so that the arbiter could open it \
             before {}: the whole proof of that was checked here.",
            who(offer.party(role)),
            plain::clip(&item.statement.title, 60),
            plain::time(terms.epoch.until)
        ));
    }
    if *statements.signed.of(role) {
        lines.push(format!(
            "The key that the agreement names for {} ({}; SHA-256 of the public key {}) signed \"{}\" about the file \
             with SHA-256 {}. That signature is in the bundle; it is an ordinary one that any program can check.",
            who(offer.party(role)),
            plain::key(&item.key),
            keys::fingerprint(&item.key),
            plain::clip(&item.statement.title, 60),
            item.statement.subject.sha256
        ));
    }
    lines
}

/// What a good bundle does not prove.
pub fn does_not_prove(statements: &Statements, files: &[FileFacts]) -> Vec<String> {
    let offer = &statements.offer;
    let mut lines = vec![
        "That the content of any file is true, lawful or of any quality.".to_owned(),
        "Which person or company is behind a key: names are what the parties call themselves.".to_owned(),
        "That anybody read or understood what was signed.".to_owned(),
    ];
    if statements.proven.is_empty() {
        lines.push("When it happened: statements of the parties carry no time.".to_owned());
        lines.push("That the arbiter has not ruled on this exchange: ask it, or the other party.".to_owned());
    } else {
        lines.push(
            "The time, other than as the arbiter states it: its clock is declared, not measured by others."
                .to_owned(),
        );
        lines.push(
            "That the arbiter shows everybody the same log: compare its checkpoint with others or with a witness."
                .to_owned(),
        );
    }
    let detached: Vec<_> =
        Role::BOTH.iter().flat_map(|role| offer.item(*role).description.detached_leaves()).collect();
    if !detached.is_empty() {
        lines.push(
            "From a signature file alone: that there was this exchange, or a dispute. One that was sent and one that the \
             arbiter opened are the same bytes."
                .to_owned(),
        );
    }
    if detached.iter().any(|it| !it.certificate.is_empty()) {
        lines.push(
            "That a certificate is genuine or was valid: its issuer was not checked, only that it is of the key that signs."
                .to_owned(),
        );
    }
    if Role::BOTH.iter().any(|role| !offer.item(*role).description.payments().is_empty()) {
        lines.push(
            "Who runs the ledger, or that its money is worth anything: its key is the one that both parties agreed on."
                .to_owned(),
        );
    }
    if statements.paid.iter().any(|(_, all)| all.iter().any(|it| !it.is_final())) {
        lines.push(
            "How a held payment ended: its receipt here is from before. Ask the ledger, which tells everybody who has it."
                .to_owned(),
        );
    }
    let information = Role::BOTH.into_iter().any(|role| !plain::files(offer.item(role)).is_empty());
    if information && files.is_empty() {
        lines.push("What is in the file: it is not in the bundle. Check a copy with --file.".to_owned());
    }
    lines
}

/// Whose money is set aside before anything is handed over.
fn reserves(offer: &Offer) -> impl Iterator<Item = Role> {
    Role::BOTH.into_iter().filter(|role| offer.item(*role).description.reservation().is_some())
}

fn ruling(statements: &Statements, proven: &Proven) -> Vec<String> {
    let arbiter = arbiter(&statements.offer.arbiter);
    let checkpoint = proven.checkpoint.checkpoint();
    let mut lines = match &proven.ruled {
        Ruled::Attestation(it) => vec![format!(
            "{arbiter} held the {}'s {} at {}, and it fitted its description.",
            it.depositor,
            deposited(&statements.offer, it.depositor),
            plain::time(it.time)
        )],
        Ruled::Verdict(verdict) => {
            let by = format!("{arbiter} ruled at {} by {}", plain::time(verdict.time), verdict.rule);
            match &verdict.ruling {
                Ruling::Aborted if reserves(&statements.offer).next().is_some() => {
                    vec![format!(
                        "{by}: the exchange is void; the ledger is ordered to return all money that was set aside."
                    )]
                }
                Ruling::Aborted => {
                    vec![format!("{by}: neither item will ever be replaced; the exchange is void.")]
                }
                Ruling::Affidavit(performed) => Role::BOTH
                    .into_iter()
                    .map(|role| {
                        let party = who(statements.offer.party(role));
                        let item = plain::item(statements.offer.item(role));
                        let had = if performed.contains(&role) { "had" } else { "did not have" };
                        format!(
                            "{by}: before the deadline it {had} {item} by {party}. What went directly to the other party it \
                             cannot say."
                        )
                    })
                    .collect(),
                Ruling::Revoked(roles) => roles
                    .iter()
                    .map(|role| {
                        let party = who(statements.offer.party(*role));
                        format!(
                            "{by}: {} by {party} is undone; the ledger is ordered to return all of it.",
                            plain::item(statements.offer.item(*role))
                        )
                    })
                    .collect(),
                Ruling::Replaced(list) => list
                    .iter()
                    .map(|it| {
                        let party = who(statements.offer.party(it.role));
                        if it.item.description.reservation().is_some() {
                            let item = plain::item(&it.item);
                            return format!(
                                "{by}: the ledger is ordered to pay {item} by {party}, which was set aside, all of it."
                            );
                        }
                        if !it.item.description.detached_leaves().is_empty() {
                            let which = if *statements.signed.of(it.role) {
                                "what came out is in this bundle: the very signature that had been put there"
                            } else {
                                "what came out is for the other party alone, and not in this bundle"
                            };
                            return format!(
                                "{by}: it opened the seal of {} by {party}; {which}.",
                                plain::item(&it.item)
                            );
                        }
                        if !statements.offer.selection.protocol.generates() {
                            let item = plain::item(&it.item);
                            return format!("{by}: it gives {item} by {party}, which was left with it, to the other party.");
                        }
                        format!(
                            "{by}: the verdict counts as {} by {party}, as both agreed.",
                            plain::item(&it.item)
                        )
                    })
                    .collect(),
            }
        }
    };
    lines.push(format!(
        "This is leaf {} of log {}, whose key signed a tree of {} leaves that holds it.",
        proven.leaf.index, checkpoint.origin, checkpoint.size
    ));
    lines
}

/// What a deposit of this party is.
fn deposited(offer: &Offer, role: Role) -> &'static str {
    match plain::thing(offer.item(role)) {
        "money" => "receipt of its payment",
        thing => thing,
    }
}

fn happened(statements: &Statements) -> Vec<String> {
    let offer = &statements.offer;
    let mut lines = vec![format!("The originator, {}, signed the offer.", who(&offer.originator))];
    lines.push(match &statements.agreement {
        Some(_) => format!("The responder, {}, accepted it.", who(&offer.responder)),
        None => "There is no acceptance here: no agreement is shown.".to_owned(),
    });
    let first = offer.selection.first_sender;
    for role in [first, first.peer()] {
        if statements.transferred(role) {
            lines.push(format!("The {role} handed over {}.", plain::item(offer.item(role))));
        }
    }
    for proven in &statements.proven {
        if let Ruled::Verdict(verdict) = &proven.ruled {
            lines.push(format!("The {} turned to the arbiter.", verdict.requested_by));
        }
        lines.extend(ruling(statements, proven));
    }
    if statements.proven.is_empty() {
        lines.push("The arbiter was not needed, as far as these statements show.".to_owned());
    }
    lines
}

/// What the party in `role` got.
fn holds(statements: &Statements, role: Role) -> String {
    let offer = &statements.offer;
    let got = plain::item(offer.item(role.peer()));
    let replaced = statements.verdict().map(|(verdict, _)| match &verdict.ruling {
        Ruling::Aborted | Ruling::Revoked(_) => Err(()),
        Ruling::Affidavit(_) => Ok(false),
        Ruling::Replaced(list) => Ok(list.iter().any(|it| it.role == role.peer())),
    });
    let posted = statements.paid.of(role.peer()).iter().any(|it| it.is_effective());
    let revoked = statements.verdict().is_some_and(|(verdict, _)| match &verdict.ruling {
        Ruling::Revoked(roles) => roles.contains(&role.peer()),
        Ruling::Aborted => !posted && reserves(offer).any(|it| it == role.peer()),
        Ruling::Affidavit(_) | Ruling::Replaced(_) => false,
    });
    if let Some(money) = money::holds(statements, role, revoked) {
        return money;
    }
    let one_way = offer.selection.protocol == Protocol::Transfer;
    if one_way && offer.selection.first_sender != role {
        return "nothing; nothing was agreed".to_owned();
    }
    let file = !plain::files(offer.item(role.peer())).is_empty();
    let detached = !offer.item(role.peer()).description.detached_leaves().is_empty();
    match (replaced, statements.transferred(role.peer())) {
        (Some(Err(())), true) if file => {
            format!("perhaps {got}, sent before the end; the arbiter's abort token says that nothing counts")
        }
        (Some(Err(())), _) => "nothing that counts; the arbiter's abort token says so".to_owned(),
        (Some(Ok(_)), _) if file && offer.selection.protocol != Protocol::VerifyThenGenerate => {
            format!("{got}, which the arbiter keeps for it to fetch")
        }
        (Some(Ok(true)), _) if detached => format!("{got}, which the arbiter took out of its seal"),
        (Some(Ok(true)), _) => format!("{got}, in the form of the arbiter's verdict"),
        (Some(Ok(false)), _) if file => format!("{got}, which the arbiter keeps for it to fetch"),
        (_, true) if detached && !statements.signed.of(role.peer()) => {
            format!("{got}, perhaps: the sender says it was sent")
        }
        (_, true) if file && (one_way || !statements.transferred(role)) => {
            format!("{got}, perhaps: the sender says it was sent")
        }
        (_, true) => got,
        (_, false) => "nothing yet".to_owned(),
    }
}

fn still(statements: &Statements) -> Vec<String> {
    let offer = &statements.offer;
    if statements.verdict().is_some() {
        return vec![
            "Nothing changes any more: an exchange has one verdict for ever. Each can ask for a copy."
                .to_owned(),
        ];
    }
    let here = |role: Role| {
        let detached = !offer.item(role).description.detached_leaves().is_empty();
        let payments = offer.item(role).description.payments().len();
        let nothing = offer.item(role).description == Description::Nothing;
        (nothing || statements.transferred(role))
            && (!detached || *statements.signed.of(role))
            && statements.paid.of(role).len() == payments
    };
    if Role::BOTH.into_iter().all(here) {
        return vec!["Nothing is owed any more. Each can keep this bundle as proof.".to_owned()];
    }
    let sealed = offer.escrow.is_some();
    match (offer.selection.protocol, offer.complain_by) {
        (Protocol::ContractSigning | Protocol::VerifyThenGenerate, Some(by))
            if statements.agreement.is_some() && reserves(offer).next().is_some() =>
        {
            money::still_reserved(offer, &plain::time(by))
        }
        (Protocol::VerifyThenGenerate, Some(by)) => {
            let (first, by) = (offer.selection.first_sender, plain::time(by));
            let done = if sealed { "opened" } else { "replaced" };
            vec![
                format!(
                    "The {first} can deposit its {} and have the signature {done}, before {by}; or abort.",
                    deposited(offer, first)
                ),
                format!("The {} can have the exchange ended from {by} on.", first.peer()),
            ]
        }
        (
            Protocol::Affidavit
            | Protocol::RevokeOnSilence
            | Protocol::MutualRollback
            | Protocol::BothDeposited,
            _,
        ) if statements.agreement.is_some() => money::still(statements),
        (Protocol::Transfer, _) => {
            vec!["The giver can give what was agreed, or not: nothing was given for it.".to_owned()]
        }
        _ if statements.agreement.is_some() => vec![
            match &offer.escrow {
                Some(terms) => format!(
                    "Each can have both sealed signatures opened by the arbiter, before {}.",
                    plain::time(terms.epoch.until)
                ),
                None => "Each can have both signatures replaced by the arbiter's verdict.".to_owned(),
            },
            "The originator can have it aborted instead; whoever asks first decides.".to_owned(),
        ],
        _ => vec!["The originator can have it aborted. The responder can accept, or do nothing.".to_owned()],
    }
}

fn indent(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().map(|line| format!("    {line}")).collect()
}
