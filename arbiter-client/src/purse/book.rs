//! The file of purses, and what is done with them.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arbiter_protocol::crypto::{self, MemorySigner, Signer as _};
use arbiter_protocol::exchange::item::check_line;
use arbiter_protocol::exchange::payment::Currency;
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::limits;
use arbiter_protocol::message::account::{AccountAction, AccountOrder, AccountQuery, AccountStatement};
use arbiter_protocol::message::payment::{PaymentAction, PaymentOrder, PaymentReceipt, PaymentTerms};
use arbiter_protocol::statement::{Envelope, Signed, Verified};
use arbiter_protocol::time::UnixMillis;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::{AccountLine, Choice, Purse, PurseError};
use crate::builder::ClientBuilder;
use crate::ledger::{LedgerError, LedgerPort, Powers, till};
use crate::module::LedgerPurse;
use crate::{durable, plain, random};

const WHAT: &str = "the purses file";
/// More purses than anybody has.
const PURSES: usize = 1000;
const FILE_BYTES: usize = 1 << 20;
/// Pages of a history: 100 payments each.
const PAGES: usize = 1000;

/// All purses of one party.
#[derive(Debug)]
pub struct PurseBook {
    path: PathBuf,
    purses: Vec<Purse>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    purse: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    ledger: String,
    url: String,
    currency: String,
    scale: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    preferred: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    closed: bool,
    seed: String,
}

impl Drop for Row {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

impl PurseBook {
    /// Reads the file; none is no purses. Refuses one that others can use.
    pub fn load(path: &Path) -> Result<Self, PurseError> {
        let io = |source| PurseError::Io { path: path.to_owned(), source };
        let malformed = |why| PurseError::Malformed { what: WHAT, why };
        let mut file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { path: path.to_owned(), purses: Vec::new() });
            }
            Err(error) => return Err(io(error)),
        };
        let mode = file.metadata().map_err(io)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(PurseError::Exposed { path: path.to_owned(), mode });
        }
        // Large enough that the buffer never moves and leaves no copy behind.
        let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES + 1));
        let limit = u64::try_from(FILE_BYTES).unwrap_or(u64::MAX);
        (&mut file).take(limit).read_to_string(&mut text).map_err(io)?;
        if text.len() >= FILE_BYTES {
            return Err(malformed("it is too long"));
        }
        let file: File = toml::from_str(&text).map_err(|_| malformed("it is no TOML of purses"))?;
        if file.version != 1 || file.purse.len() > PURSES {
            return Err(malformed("its version is not 1, or there are too many purses"));
        }
        let purses = file.purse.iter().map(purse).collect::<Result<Vec<_>, _>>()?;
        let book = Self { path: path.to_owned(), purses };
        let twice =
            |a: &Purse| book.purses.iter().filter(|b| a.name == b.name || a.account == b.account).count();
        if book.purses.iter().any(|it| twice(it) != 1) {
            return Err(malformed("two purses have one name or one key"));
        }
        Ok(book)
    }

    /// Every purse, in the order made.
    pub fn purses(&self) -> &[Purse] {
        &self.purses
    }

    /// The purse of this name.
    pub fn find(&self, name: &str) -> Result<&Purse, PurseError> {
        self.purses
            .iter()
            .find(|it| it.name == name)
            .ok_or_else(|| PurseError::Unknown(plain::clip(name, 60)))
    }

    /// The purse with this account.
    pub fn of_account(&self, account: &PublicKey) -> Option<&Purse> {
        self.purses.iter().find(|it| it.account == *account)
    }

    /// The purse that is meant: the named one, or the first that fits, preferred ones first.
    pub fn pick(&self, choice: &Choice<'_>) -> Result<&Purse, PurseError> {
        let elsewhere = |it: &Purse| choice.ledger.is_some_and(|ledger| ledger != it.ledger);
        let none = || PurseError::NoneFits {
            currency: choice.currency.to_string(),
            ledger: choice
                .ledger
                .map_or_else(|| "(any)".to_owned(), |key| key.to_string().chars().take(16).collect()),
        };
        let fits = |it: &Purse| {
            if it.closed {
                return Err(PurseError::Closed(it.name.clone()));
            }
            if elsewhere(it) {
                return Err(none());
            }
            let amount = arbiter_protocol::exchange::payment::Amount {
                units: choice.pays.unwrap_or(1),
                currency: choice.currency.clone(),
            };
            match choice.pays {
                Some(_) => it.may_give(&amount),
                None if it.currency == *choice.currency => Ok(()),
                None => it.may_give(&amount),
            }
        };
        if let Some(name) = choice.name {
            let purse = self.find(name)?;
            return fits(purse).map(|()| purse);
        }
        let mut all: Vec<_> = self.purses.iter().filter(|it| fits(it).is_ok()).collect();
        all.sort_by_key(|it| !it.preferred);
        all.first().copied().ok_or_else(|| {
            // One that fits but for its limit says so.
            let why =
                self.purses.iter().filter(|it| !it.closed && !elsewhere(it)).find_map(|it| fits(it).err());
            match why {
                Some(limit @ PurseError::AboveLimit { .. }) => limit,
                _ => none(),
            }
        })
    }

    /// Makes a key, opens an account with it, and keeps both. The key is durable before the ledger hears of it.
    pub async fn create(
        &mut self,
        name: &str,
        at: (PublicKey, &str, &dyn LedgerPort),
        currency: Currency,
    ) -> Result<AccountStatement, PurseError> {
        let (ledger, url, port) = at;
        check_name(name)?;
        if self.purses.len() >= PURSES || self.purses.iter().any(|it| it.name == name) {
            return Err(PurseError::Exists(name.to_owned()));
        }
        let seed = random::secret()
            .map_err(|_| PurseError::Malformed { what: "randomness", why: "there is none" })?;
        let account = MemorySigner::from_seed(&seed).public_key();
        self.purses.push(Purse {
            name: name.to_owned(),
            ledger,
            url: url.to_owned(),
            currency,
            limit: None,
            preferred: false,
            closed: false,
            seed,
            account,
        });
        self.save()?;
        match self.open(name, port).await {
            Ok(statement) => Ok(statement),
            // The ledger will never open it: forget the key again.
            Err(error @ PurseError::Ledger(LedgerError::Refused { .. })) => {
                self.purses.retain(|it| it.account != account);
                self.save()?;
                Err(error)
            }
            Err(other) => Err(other),
        }
    }

    /// Opens the account of a purse; again after a failure: the same order has the same answer.
    pub async fn open(&self, name: &str, port: &dyn LedgerPort) -> Result<AccountStatement, PurseError> {
        self.order(self.find(name)?, AccountAction::Open, port).await
    }

    /// Closes the account, which must be empty, for ever.
    pub async fn close(&mut self, name: &str, port: &dyn LedgerPort) -> Result<(), PurseError> {
        let purse = self.find(name)?;
        let account = purse.account;
        self.order(purse, AccountAction::Close, port).await?;
        self.purses.iter_mut().filter(|it| it.account == account).for_each(|it| it.closed = true);
        self.save()
    }

    /// Renames, limits or prefers. `limit`: units, 0 for none.
    pub fn configure(
        &mut self,
        name: &str,
        rename: Option<&str>,
        limit: Option<u64>,
        preferred: Option<bool>,
    ) -> Result<(), PurseError> {
        let account = self.find(name)?.account;
        if let Some(new) = rename {
            check_name(new)?;
            if new != name && self.purses.iter().any(|it| it.name == new) {
                return Err(PurseError::Exists(new.to_owned()));
            }
        }
        for purse in self.purses.iter_mut().filter(|it| it.account == account) {
            if let Some(new) = rename {
                purse.name = new.to_owned();
            }
            if let Some(units) = limit {
                purse.limit = (units > 0).then_some(units);
            }
            purse.preferred = preferred.unwrap_or(purse.preferred);
        }
        self.save()
    }

    /// What is in the account, by the ledger's word.
    pub async fn balance(
        &self,
        purse: &Purse,
        now: UnixMillis,
        port: &dyn LedgerPort,
    ) -> Result<AccountStatement, PurseError> {
        let query = self.query(purse, now);
        statement(port.account(query.envelope()).await?, purse)
    }

    /// Every payment of the account, newest first, by the ledger's word.
    pub async fn payments(
        &self,
        purse: &Purse,
        now: UnixMillis,
        port: &dyn LedgerPort,
    ) -> Result<Vec<Verified<PaymentReceipt>>, PurseError> {
        let (query, mut all, mut page) = (self.query(purse, now), Vec::new(), String::new());
        for _ in 0..PAGES {
            let answer = port.payments(query.envelope(), &page).await?;
            for envelope in answer.receipts {
                let receipt =
                    Signed::<PaymentReceipt>::parse(envelope).and_then(|it| it.verify(&purse.ledger));
                all.push(receipt.map_err(|why| LedgerError::Malformed(why.into()))?);
            }
            match answer.next {
                Some(next) => page = next,
                None => break,
            }
        }
        Ok(all)
    }

    /// Gives an incoming payment back that is still held.
    pub async fn void(
        &self,
        purse: &Purse,
        terms: &PaymentTerms,
        port: &dyn LedgerPort,
    ) -> Result<Verified<PaymentReceipt>, PurseError> {
        let order = PaymentOrder { terms: terms.clone(), action: PaymentAction::Void };
        let order = Verified::sign(order, &MemorySigner::from_seed(&purse.seed));
        Ok(till::receipt(port.order(order.envelope()).await?, terms)?)
    }

    /// Every purse as a module of a client, preferred ones first, each within its limit. `port` makes the way to a ledger.
    /// `reached`: the ledgers that the arbiter reaches, if that is known.
    pub fn into_builder<E>(
        &self,
        mut builder: ClientBuilder,
        reached: Option<&[Powers]>,
        mut port: impl FnMut(&Purse) -> Result<Arc<dyn LedgerPort>, E>,
    ) -> Result<ClientBuilder, E> {
        let mut purses: Vec<_> = self.purses.iter().collect();
        purses.sort_by_key(|it| !it.preferred);
        for purse in purses {
            let key = Arc::new(MemorySigner::from_seed(&purse.seed));
            let module = LedgerPurse::new(format!("purse {}", purse.name), purse.ledger, port(purse)?, key)
                .at(&purse.url)
                .only(purse.currency.clone(), purse.limit)
                .reached(Powers::on(purse.ledger, reached));
            builder = builder.module(Arc::new(if purse.closed { module.closed() } else { module }));
        }
        Ok(builder)
    }

    /// The line by which others name the account.
    pub fn line(&self, purse: &Purse) -> AccountLine {
        AccountLine {
            ledger: purse.ledger,
            account: purse.account,
            currency: purse.currency.clone(),
            url: purse.url.clone(),
        }
    }

    fn query(&self, purse: &Purse, time: UnixMillis) -> Verified<AccountQuery> {
        let query = AccountQuery { ledger: purse.ledger, account: purse.account, time };
        Verified::sign(query, &MemorySigner::from_seed(&purse.seed))
    }

    async fn order(
        &self,
        purse: &Purse,
        action: AccountAction,
        port: &dyn LedgerPort,
    ) -> Result<AccountStatement, PurseError> {
        let (ledger, account, currency) = (purse.ledger, purse.account, purse.currency.clone());
        let order = AccountOrder { ledger, account, currency, action };
        let order = Verified::sign(order, &MemorySigner::from_seed(&purse.seed));
        statement(port.order_account(order.envelope()).await?, purse)
    }

    fn save(&self) -> Result<(), PurseError> {
        let row = |it: &Purse| Row {
            name: it.name.clone(),
            ledger: it.ledger.to_string(),
            url: it.url.clone(),
            currency: it.currency.code().to_owned(),
            scale: it.currency.scale(),
            limit: it.limit,
            preferred: it.preferred,
            closed: it.closed,
            seed: hex::encode(it.seed.as_slice()),
        };
        let file = File { version: 1, purse: self.purses.iter().map(row).collect() };
        let text = toml::to_string(&file).map(Zeroizing::new);
        let text = text.map_err(|_| PurseError::Malformed { what: WHAT, why: "it cannot be written" })?;
        let head = "# Purses. Who has this file can spend what is in them: keep it, never share it.\n";
        let text = Zeroizing::new([head, &text].concat());
        let io = |source| PurseError::Io { path: self.path.clone(), source };
        durable::replace(&self.path, text.as_bytes(), 0o600).map_err(io)
    }
}

fn purse(row: &Row) -> Result<Purse, PurseError> {
    let field = |source| PurseError::Field { what: WHAT, source };
    let malformed = |why| PurseError::Malformed { what: WHAT, why };
    check_name(&row.name)?;
    let mut seed = Zeroizing::new([0u8; 32]);
    hex::decode_to_slice(&row.seed, seed.as_mut_slice())
        .map_err(|_| malformed("a seed is not 64 hex digits"))?;
    let mut key = [0u8; 32];
    hex::decode_to_slice(&row.ledger, &mut key).map_err(|_| malformed("a ledger is not 64 hex digits"))?;
    let ledger = PublicKey::from_bytes(key);
    crypto::check_key(&ledger, "ledger").map_err(field)?;
    check_line(&row.url, limits::NAME_BYTES, "url").map_err(field)?;
    let account = MemorySigner::from_seed(&seed).public_key();
    Ok(Purse {
        name: row.name.clone(),
        ledger,
        url: row.url.clone(),
        currency: Currency::new(&row.currency, row.scale).map_err(field)?,
        limit: row.limit,
        preferred: row.preferred,
        closed: row.closed,
        seed,
        account,
    })
}

/// A short name that can stand anywhere.
fn check_name(name: &str) -> Result<(), PurseError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 40 || !name.chars().all(fine) {
        let why = "a purse's name is 1 to 40 letters, digits, dots, hyphens or underscores";
        return Err(PurseError::Malformed { what: "the name", why });
    }
    Ok(())
}

/// The ledger's word on this purse.
fn statement(envelope: Envelope, purse: &Purse) -> Result<AccountStatement, PurseError> {
    let malformed = |why: arbiter_protocol::error::Invalid| LedgerError::Malformed(why.into());
    let statement = Signed::<AccountStatement>::parse(envelope).and_then(|it| it.verify(&purse.ledger));
    let statement = statement.map_err(malformed)?;
    if statement.account != purse.account || statement.ledger != purse.ledger {
        return Err(malformed(arbiter_protocol::error::Invalid::FieldValue { field: "account" }).into());
    }
    Ok((*statement).clone())
}
