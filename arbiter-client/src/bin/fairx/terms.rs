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
use arbiter_client::module::{Format, Means, What};
use arbiter_client::protocol::escrow::Suite;
use arbiter_client::protocol::exchange::item::{
    Description, Information, Item, Statement, check_line, check_text,
};
use arbiter_client::protocol::exchange::property::Properties;
use arbiter_client::protocol::ids::{Digest, PublicKey};
use arbiter_client::protocol::limits;
use arbiter_client::protocol::message::agreement::Party;
use arbiter_client::protocol::time::{DurationMillis, UnixMillis};
use arbiter_client::{Give, OfferTerms, items};

use crate::args::{Document, DocumentKind, Seal, SigningKey, SuiteName, Template, TheirKey, Weak, Words};
use crate::capabilities::Both;
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
    let both = wallet.both.as_ref();
    match template {
        Template::Change {
            amount, want, to_account, from_account, purse, into, reserve, deadline, ..
        } => {
            let times = wallet.times(deadline, &Weak::default(), reserve)?;
            let given = wallet.we_pay(amount, to_account.as_deref(), purse.purse.as_deref(), times.hold)?;
            let back = times.hold.filter(|_| reserve.reserve);
            let got = wallet.they_pay(want, from_account.as_deref(), into.as_deref(), back)?;
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
            let subjects = describe(file, words.media_type.as_deref()).await?;
            let sealed = Sealed::new(seal, &SigningKey::default(), theirs, both)?;
            let got =
                sealed.their_signatures(statements(DocumentKind::Payment, words, subjects)?, theirs, to)?;
            let by = later(deadline.complain_by)?;
            let hold = reserve.reserve.then(|| wallet.aside(by));
            let given = wallet.we_pay(amount, to_account.as_deref(), purse.purse.as_deref(), hold)?;
            let terms = terms(to, [given, got], Some(by), sealed);
            Ok(Proposed { terms, give: Give::Nothing, weak: false, read: file.clone() })
        }
        Template::Purchase { want, price, to_account, purse, weak, reserve, deadline, .. } => {
            let times = wallet.times(deadline, weak, reserve)?;
            let given = wallet.we_pay_all(price, to_account, purse.purse.as_deref(), times.hold)?;
            let got = files_together(all_wanted(want)?)?;
            Ok(Proposed {
                terms: money::terms(to, [given, got], times),
                give: Give::Nothing,
                weak: weak.affidavit,
                read: Vec::new(),
            })
        }
        Template::Sale { file, media_type, price, from_account, purse, weak, reserve, deadline, .. } => {
            let times = wallet.times(deadline, weak, reserve)?;
            let given = files_together(describe(file, media_type.as_deref()).await?)?;
            let got = wallet.they_pay(price, from_account.as_deref(), purse.purse.as_deref(), times.hold)?;
            let terms = money::terms(to, [given, got], times);
            let (give, read) = (keys::given(file), file.clone());
            Ok(Proposed { terms, give, weak: weak.affidavit, read })
        }
        Template::Swap { file, media_type, want, deadline, .. } => {
            let given = files_together(describe(file, media_type.as_deref()).await?)?;
            let got = files_together(all_wanted(want)?)?;
            let by = Some(later(deadline.complain_by)?);
            let sealed = Sealed { replacement: false, suite: Suite::DEFAULT, both: None };
            let terms = terms(to, [given, got], by, sealed);
            Ok(Proposed { terms, give: keys::given(file), weak: false, read: file.clone() })
        }
        Template::Transfer { file, sign, amount, to_account, purse, words, ours, .. } => {
            let sealed = Sealed { replacement: false, suite: Suite::DEFAULT, both };
            let given = |item, give, read| {
                let terms = terms(to, [item, items::nothing()], None, sealed);
                Proposed { terms, give, weak: false, read }
            };
            if file.is_empty() {
                let (amount, to_account) = (amount.as_deref().unwrap_or_default(), to_account.as_deref());
                let paid = wallet.we_pay(amount, to_account, purse.purse.as_deref(), None)?;
                return Ok(given(paid, Give::Nothing, Vec::new()));
            }
            let subjects = describe(file, words.media_type.as_deref()).await?;
            let (item, give) = if *sign {
                let statements = statements(DocumentKind::Transfer, words, subjects)?;
                sealed.our_signatures(statements, ours, identity)?
            } else {
                (files_together(subjects)?, keys::given(file))
            };
            Ok(given(item, give, file.clone()))
        }
        Template::Contract { file, words, ours, theirs, seal, .. } => {
            let subjects = describe(file, words.media_type.as_deref()).await?;
            let statements = statements(DocumentKind::Contract, words, subjects)?;
            let sealed = Sealed::new(seal, ours, theirs, both)?;
            let (originator_item, give) = sealed.our_signatures(statements.clone(), ours, identity)?;
            let responder_item = sealed.their_signatures(statements, theirs, to)?;
            let terms = terms(to, [originator_item, responder_item], None, sealed);
            Ok(Proposed { terms, give, weak: false, read: file.clone() })
        }
        Template::Delivery { file, words, deadline, theirs, seal, .. } => {
            let subjects = describe(file, words.media_type.as_deref()).await?;
            let receipts = statements(DocumentKind::Delivery, words, subjects.clone())?;
            let sealed = Sealed::new(seal, &SigningKey::default(), theirs, both)?;
            let responder_item = sealed.their_signatures(receipts, theirs, to)?;
            let by = Some(later(deadline.complain_by)?);
            let terms = terms(to, [files_together(subjects)?, responder_item], by, sealed);
            Ok(Proposed { terms, give: keys::given(file), weak: false, read: file.clone() })
        }
        Template::Request { want, words, deadline, ours, seal, .. } => {
            let subjects = all_wanted(want)?;
            let receipts = statements(DocumentKind::Request, words, subjects.clone())?;
            let sealed = Sealed::new(seal, ours, &TheirKey::default(), both)?;
            let (originator_item, give) = sealed.our_signatures(receipts, ours, identity)?;
            let by = Some(later(deadline.complain_by)?);
            let terms = terms(to, [originator_item, files_together(subjects)?], by, sealed);
            Ok(Proposed { terms, give, weak: false, read: Vec::new() })
        }
    }
}

fn terms(
    to: &Party,
    [originator, responder]: [Item; 2],
    by: Option<UnixMillis>,
    sealed: Sealed<'_>,
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
struct Sealed<'a> {
    replacement: bool,
    suite: Suite,
    both: Option<&'a Both>,
}

impl<'a> Sealed<'a> {
    fn new(
        seal: &Seal,
        ours: &SigningKey,
        theirs: &TheirKey,
        both: Option<&'a Both>,
    ) -> Result<Self, Failure> {
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
        Ok(Self { replacement: seal.replacement, suite, both })
    }

    fn our_signatures(
        self,
        statements: Vec<Statement>,
        ours: &SigningKey,
        identity: PublicKey,
    ) -> Result<(Item, Give), Failure> {
        if self.replacement {
            return Ok((together(statements.into_iter().map(replaceable))?, Give::Nothing));
        }
        if let (false, Some(both)) = (ours.is_named(), self.both) {
            return Ok((self.negotiated(both, true, statements)?, Give::Nothing));
        }
        let (named, source) = keys::ours(ours, identity)?;
        let documents: Vec<_> = statements.iter().map(Statement::document).collect();
        let give = source.sign_all(&named.key, &documents)?;
        Ok((all_detached(statements, &named)?, give))
    }

    fn their_signatures(
        self,
        statements: Vec<Statement>,
        theirs: &TheirKey,
        to: &Party,
    ) -> Result<Item, Failure> {
        if self.replacement {
            return together(statements.into_iter().map(replaceable));
        }
        if let (None, Some(both)) = (&theirs.their_key, self.both) {
            return self.negotiated(both, false, statements);
        }
        all_detached(statements, &keys::theirs(theirs, to.signing_key)?)
    }

    /// The signatures that both lists lead to.
    fn negotiated(self, both: &Both, we_give: bool, statements: Vec<Statement>) -> Result<Item, Failure> {
        let pair = both.choose(we_give, What::Signature(None), Properties::default())?;
        match &pair.giver.means {
            Means::Signature { format: Format::Replacement, .. } => {
                together(statements.into_iter().map(replaceable))
            }
            Means::Signature { key: Some(key), certificate, .. } => {
                all_detached(statements, &Named { key: key.clone(), certificate: certificate.clone() })
            }
            _ => Err(Failure::bad("the list names no key for the signature that is to be given")),
        }
    }
}

/// One item, or a package of several: all of them or none.
fn together(items: impl Iterator<Item = Item>) -> Result<Item, Failure> {
    let mut items: Vec<_> = items.collect();
    match (items.pop(), items.is_empty()) {
        (Some(item), true) => Ok(item),
        (last, _) => {
            items.extend(last);
            items::package(items).map_err(|why| {
                Failure::usage(why.to_string())
                    .next("offer fewer or other items together, or one exchange for each")
            })
        }
    }
}

fn files_together(files: Vec<Information>) -> Result<Item, Failure> {
    together(files.into_iter().map(items::file))
}

/// Reads and describes each of these files.
async fn describe(files: &[PathBuf], media_type: Option<&str>) -> Result<Vec<Information>, Failure> {
    if files.len() > 1 && media_type.is_some() {
        return Err(Failure::usage("--type is for one file: the types of several are those that they show"));
    }
    let mut described = Vec::with_capacity(files.len());
    for file in files {
        described.push(items::describe(file, media_type).await?);
    }
    Ok(described)
}

fn all_wanted(texts: &[String]) -> Result<Vec<Information>, Failure> {
    texts.iter().map(|text| wanted(text)).collect()
}

fn replaceable(statement: Statement) -> Item {
    Item::new(Description::Signature(statement))
}

/// Signatures by one key: of several a package.
fn all_detached(statements: Vec<Statement>, named: &Named) -> Result<Item, Failure> {
    together(statements.into_iter().map(|Statement { title, text, subject }| {
        items::detached_signature(title, text, subject, named.key.clone(), named.certificate.clone())
    }))
}

/// The same words about each file.
fn statements(
    kind: DocumentKind,
    words: &Words,
    subjects: Vec<Information>,
) -> Result<Vec<Statement>, Failure> {
    subjects.into_iter().map(|subject| statement(kind, words, subject)).collect()
}

/// The statement to sign: our words where the user gave none.
fn statement(kind: DocumentKind, words: &Words, subject: Information) -> Result<Statement, Failure> {
    let (title, default) = match kind {
        DocumentKind::Contract => ("Contract", "I agree to what this file says."),
        DocumentKind::Delivery | DocumentKind::Request => ("Receipt", "I have received this file."),
        DocumentKind::Payment => ("Receipt", "I have been paid for what this file says."),
        DocumentKind::Transfer => ("Statement", "I stand by what this file says."),
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
