//! What an offer proposes, and the exact text of each signature in it: from the command line alone.
//!
//! ```text
//!  Template, keys ─▶ propose ─▶ OfferTerms, what we give, files to be read on the screen
//!  fairx document ─▶ the same title, text and file ─▶ the same bytes
//! ```
//!
//! Signatures are detached, and change hands in escrow, unless `--replacement` asks for the other kind.

mod money;

use std::io::Write as _;
use std::path::PathBuf;

use arbiter_client::clock::{Clock as _, SystemClock};
use arbiter_client::protocol::escrow::Suite;
use arbiter_client::protocol::exchange::item::{
    Description, Information, Item, Statement, check_line, check_text,
};
use arbiter_client::protocol::ids::{Digest, PublicKey};
use arbiter_client::protocol::limits;
use arbiter_client::protocol::message::agreement::Party;
use arbiter_client::protocol::time::{DurationMillis, UnixMillis};
use arbiter_client::{Give, OfferTerms, items};

use crate::args::{Document, DocumentKind, Seal, SigningKey, SuiteName, Template, TheirKey, Weak, Words};
use crate::failure::Failure;
use crate::files;
use crate::keys::{self, Named};

pub use money::{Wallet, uses};

/// An offer before it is shown and signed.
pub struct Proposed {
    /// What is proposed.
    pub terms: OfferTerms,
    /// What we give to it.
    pub give: Give,
    /// Whether it is weak, by name (P6).
    pub weak: bool,
    /// Files that we have here, for the screen.
    pub read: Vec<PathBuf>,
}

/// Reads files and keys. A signature with a key of ours is made in memory; it is wiped if the offer is refused.
pub async fn propose(
    template: &Template,
    identity: PublicKey,
    to: &Party,
    wallet: &Wallet,
) -> Result<Proposed, Failure> {
    match template {
        Template::Change {
            amount, want, to_account, from_account, purse, into, reserve, deadline, ..
        } => {
            let times = wallet.times(deadline, &Weak::default(), reserve)?;
            let given = wallet.we_pay(amount, to_account, purse.purse.as_deref(), times.hold)?;
            let back = times.hold.filter(|_| reserve.reserve);
            let got = wallet.they_pay(want, from_account, into.as_deref(), back)?;
            Ok(Proposed {
                terms: money::terms(to, [given, got], times),
                give: Give::Nothing,
                weak: false,
                read: Vec::new(),
            })
        }
        Template::Payment {
            file, amount, to_account, purse, reserve, words, deadline, theirs, seal, ..
        } => {
            let subject = items::describe(file, words.media_type.as_deref()).await?;
            let receipt = statement(DocumentKind::Payment, words, subject)?;
            let sealed = Sealed::new(seal, &SigningKey::default(), theirs)?;
            let got = sealed.their_signature(receipt, theirs, to)?;
            let by = later(deadline.complain_by)?;
            let hold = reserve.reserve.then(|| wallet.aside(by));
            let given = wallet.we_pay(amount, to_account, purse.purse.as_deref(), hold)?;
            let terms = terms(to, [given, got], Some(by), sealed);
            Ok(Proposed { terms, give: Give::Nothing, weak: false, read: vec![file.clone()] })
        }
        Template::Purchase { want, price, to_account, purse, weak, reserve, deadline, .. } => {
            let times = wallet.times(deadline, weak, reserve)?;
            let given = wallet.we_pay(price, to_account, purse.purse.as_deref(), times.hold)?;
            let got = items::file(wanted(want)?);
            Ok(Proposed {
                terms: money::terms(to, [given, got], times),
                give: Give::Nothing,
                weak: weak.affidavit,
                read: Vec::new(),
            })
        }
        Template::Sale { file, media_type, price, from_account, purse, weak, reserve, deadline, .. } => {
            let times = wallet.times(deadline, weak, reserve)?;
            let given = items::file(items::describe(file, media_type.as_deref()).await?);
            let got = wallet.they_pay(price, from_account, purse.purse.as_deref(), times.hold)?;
            let terms = money::terms(to, [given, got], times);
            let (give, read) = (Give::File(file.clone()), vec![file.clone()]);
            Ok(Proposed { terms, give, weak: weak.affidavit, read })
        }
        Template::Swap { file, media_type, want, deadline, .. } => {
            let given = items::file(items::describe(file, media_type.as_deref()).await?);
            let got = items::file(wanted(want)?);
            let by = Some(later(deadline.complain_by)?);
            let sealed = Sealed { replacement: false, suite: Suite::DEFAULT };
            let terms = terms(to, [given, got], by, sealed);
            Ok(Proposed { terms, give: Give::File(file.clone()), weak: false, read: vec![file.clone()] })
        }
        Template::Contract { file, words, ours, theirs, seal, .. } => {
            let subject = items::describe(file, words.media_type.as_deref()).await?;
            let statement = statement(DocumentKind::Contract, words, subject)?;
            let sealed = Sealed::new(seal, ours, theirs)?;
            let (originator_item, give) = sealed.our_signature(statement.clone(), ours, identity)?;
            let responder_item = sealed.their_signature(statement, theirs, to)?;
            let terms = terms(to, [originator_item, responder_item], None, sealed);
            Ok(Proposed { terms, give, weak: false, read: vec![file.clone()] })
        }
        Template::Delivery { file, words, deadline, theirs, seal, .. } => {
            let subject = items::describe(file, words.media_type.as_deref()).await?;
            let receipt = statement(DocumentKind::Delivery, words, subject.clone())?;
            let sealed = Sealed::new(seal, &SigningKey::default(), theirs)?;
            let responder_item = sealed.their_signature(receipt, theirs, to)?;
            let by = Some(later(deadline.complain_by)?);
            let terms = terms(to, [items::file(subject), responder_item], by, sealed);
            Ok(Proposed { terms, give: Give::File(file.clone()), weak: false, read: vec![file.clone()] })
        }
        Template::Request { want, words, deadline, ours, seal, .. } => {
            let subject = wanted(want)?;
            let receipt = statement(DocumentKind::Request, words, subject.clone())?;
            let sealed = Sealed::new(seal, ours, &TheirKey::default())?;
            let (originator_item, give) = sealed.our_signature(receipt, ours, identity)?;
            let by = Some(later(deadline.complain_by)?);
            let terms = terms(to, [originator_item, items::file(subject)], by, sealed);
            Ok(Proposed { terms, give, weak: false, read: Vec::new() })
        }
    }
}

fn terms(
    to: &Party,
    [originator, responder]: [Item; 2],
    by: Option<UnixMillis>,
    sealed: Sealed,
) -> OfferTerms {
    OfferTerms {
        responder: to.clone(),
        originator_item: originator,
        responder_item: responder,
        complain_by: by,
        send_by: None,
        suite: sealed.suite,
    }
}

/// How the signatures of an offer are made safe.
#[derive(Clone, Copy)]
struct Sealed {
    replacement: bool,
    suite: Suite,
}

impl Sealed {
    fn new(seal: &Seal, ours: &SigningKey, theirs: &TheirKey) -> Result<Self, Failure> {
        let named = ours.is_named() || theirs.their_key.is_some();
        if seal.replacement && named {
            return Err(Failure::usage(
                "--replacement needs no key: the arbiter's verdict stands for the signature",
            )
            .next("leave out --replacement, or every option about keys"));
        }
        let suite = match seal.suite {
            SuiteName::Fast => Suite::FAST,
            SuiteName::Balanced => Suite::BALANCED,
            SuiteName::Compact => Suite::COMPACT,
        };
        Ok(Self { replacement: seal.replacement, suite })
    }

    fn our_signature(
        self,
        statement: Statement,
        ours: &SigningKey,
        identity: PublicKey,
    ) -> Result<(Item, Give), Failure> {
        if self.replacement {
            return Ok((replaceable(statement), Give::Nothing));
        }
        let (named, source) = keys::ours(ours, identity)?;
        let give = source.sign(&named.key, &statement.document())?;
        Ok((detached(statement, named), give))
    }

    fn their_signature(self, statement: Statement, theirs: &TheirKey, to: &Party) -> Result<Item, Failure> {
        if self.replacement {
            return Ok(replaceable(statement));
        }
        Ok(detached(statement, keys::theirs(theirs, to.signing_key)?))
    }
}

fn replaceable(statement: Statement) -> Item {
    Item::new(Description::Signature(statement))
}

fn detached(statement: Statement, named: Named) -> Item {
    let Statement { title, text, subject } = statement;
    items::detached_signature(title, text, subject, named.key, named.certificate)
}

/// The statement to sign: our words where the user gave none.
fn statement(kind: DocumentKind, words: &Words, subject: Information) -> Result<Statement, Failure> {
    let (title, default) = match kind {
        DocumentKind::Contract => ("Contract", "I agree to what this file says."),
        DocumentKind::Delivery | DocumentKind::Request => ("Receipt", "I have received this file."),
        DocumentKind::Payment => ("Receipt", "I have been paid for what this file says."),
    };
    let title = words.title.clone().unwrap_or_else(|| title.to_owned());
    let text = match (&words.text, &words.text_file) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?,
        (None, None) => default.to_owned(),
    };
    Ok(Statement { title, text, subject })
}

/// `fairx document`.
pub async fn document(document: &Document) -> Result<u8, Failure> {
    let subject = match (&document.file, &document.want) {
        (Some(file), _) => items::describe(file, document.words.media_type.as_deref()).await?,
        (None, Some(want)) => wanted(want)?,
        (None, None) => {
            return Err(Failure::usage("say which file it is about: --file FILE, or --want DESCRIPTION"));
        }
    };
    let statement = statement(document.kind, &document.words, subject)?;
    // What an offer could not hold must not be signed elsewhere either.
    let check = check_line(&statement.title, limits::TITLE_BYTES, "title")
        .and_then(|()| check_text(&statement.text, limits::TEXT_BYTES, "text"))
        .and_then(|()| check_line(&statement.subject.name, limits::NAME_BYTES, "name"));
    check.map_err(|error| Failure::usage(format!("this cannot be signed: {error}")))?;
    let text = statement.document();
    match &document.out {
        Some(path) => files::write_new(path, text.as_bytes())?,
        None => {
            // A reader that closes the pipe early has seen enough.
            let _ = std::io::stdout().write_all(text.as_bytes());
        }
    }
    Ok(0)
}

/// Reads `sha256:HEX,SIZE,TYPE,NAME`; the name may hold commas.
fn wanted(text: &str) -> Result<Information, Failure> {
    let mut parts = text.splitn(4, ',');
    let mut part = || parts.next();
    let information = (|| {
        Some(Information {
            sha256: Digest::parse_hex(part()?.strip_prefix("sha256:")?, "sha256").ok()?,
            size_bytes: part()?.parse().ok()?,
            media_type: part()?.to_owned(),
            name: part()?.to_owned(),
        })
    })();
    information.ok_or_else(|| {
        Failure::usage("--want must be sha256:HEX,SIZE,TYPE,NAME")
            .next("the other party prints this line with `fairx describe FILE`")
    })
}

fn later(span: std::time::Duration) -> Result<UnixMillis, Failure> {
    let span =
        u64::try_from(span.as_millis()).map_err(|_| Failure::usage("--complain-by is too far away"))?;
    Ok(SystemClock.now().after(DurationMillis(span)))
}
