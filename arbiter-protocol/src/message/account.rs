//! Accounts of a ledger: what their holders order and ask, and what the ledger signs about them.
//!
//! ```text
//! holder ──AccountOrder (open, close)──▶ ledger ──AccountStatement──▶ holder
//!        ──AccountQuery (five minutes)─▶
//! ```
//! An account is named by the key that signs for it, so nobody else opens it, closes it or reads what is in it. A query
//! names its time: who records one cannot use it for long.

use crate::error::Invalid;
use crate::exchange::payment::Currency;
use crate::ids::PublicKey;
use crate::limits;
use crate::message::{VERSION, check_version, time_from_wire, wire};
use crate::statement::Payload;
use crate::time::UnixMillis;

/// What is to be done with an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountAction {
    /// Open it, once.
    Open,
    /// Close it, for ever.
    Close,
}

/// An order about an account, signed by its key. No nonce and no time: both happen at most once (R-601).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountOrder {
    /// The ledger.
    pub ledger: PublicKey,
    /// Names the account; the ledger's own key names the account of the currency's issue.
    pub account: PublicKey,
    /// The one currency that is in it.
    pub currency: Currency,
    /// What is to be done.
    pub action: AccountAction,
}

/// "How does my account stand", signed by its key (R-610).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountQuery {
    /// The ledger.
    pub ledger: PublicKey,
    /// Names the account.
    pub account: PublicKey,
    /// When it was signed.
    pub time: UnixMillis,
}

/// Whether an account can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountState {
    /// It can pay and be paid.
    Open,
    /// It was emptied and closed for ever.
    Closed,
}

/// "So does this account stand", signed by the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountStatement {
    /// The ledger.
    pub ledger: PublicKey,
    /// Names the account.
    pub account: PublicKey,
    /// What the units are.
    pub currency: Currency,
    /// Whether it can be used.
    pub state: AccountState,
    /// What it can pay with; below zero only in the account of an issue.
    pub available: i64,
    /// Set aside in it for others.
    pub reserved: u64,
    /// Set aside in others for it.
    pub incoming: u64,
    /// The newest entry that changed it.
    pub entry: u64,
    /// When it stood so, on the ledger's clock.
    pub time: UnixMillis,
}

fn currency(code: &str, scale: u32) -> Result<Currency, Invalid> {
    let scale = u8::try_from(scale).map_err(|_| Invalid::FieldValue { field: "scale" })?;
    Currency::new(code, scale)
}

impl Payload for AccountOrder {
    const TYPE: &'static str = "application/vnd.arbiter.account-order.v1+protobuf";
    const NAME: &'static str = "account order";
    type Wire = wire::AccountOrder;

    fn from_wire(wire: wire::AccountOrder) -> Result<Self, Invalid> {
        check_version(wire.version, Self::NAME)?;
        let action = match wire::AccountAction::try_from(wire.action) {
            Ok(wire::AccountAction::Open) => AccountAction::Open,
            Ok(wire::AccountAction::Close) => AccountAction::Close,
            Ok(wire::AccountAction::Unspecified) | Err(_) => {
                return Err(Invalid::FieldValue { field: "action" });
            }
        };
        Ok(Self {
            ledger: PublicKey::parse(&wire.ledger, "ledger")?,
            account: PublicKey::parse(&wire.account, "account")?,
            currency: currency(&wire.currency, wire.scale)?,
            action,
        })
    }

    fn to_wire(&self) -> wire::AccountOrder {
        let action = match self.action {
            AccountAction::Open => wire::AccountAction::Open,
            AccountAction::Close => wire::AccountAction::Close,
        };
        wire::AccountOrder {
            version: VERSION,
            ledger: self.ledger.to_vec(),
            account: self.account.to_vec(),
            currency: self.currency.code().to_owned(),
            scale: self.currency.scale().into(),
            action: action.into(),
        }
    }
}

impl Payload for AccountQuery {
    const TYPE: &'static str = "application/vnd.arbiter.account-query.v1+protobuf";
    const NAME: &'static str = "account query";
    type Wire = wire::AccountQuery;

    fn from_wire(wire: wire::AccountQuery) -> Result<Self, Invalid> {
        check_version(wire.version, Self::NAME)?;
        Ok(Self {
            ledger: PublicKey::parse(&wire.ledger, "ledger")?,
            account: PublicKey::parse(&wire.account, "account")?,
            time: time_from_wire(wire.time, "time")?,
        })
    }

    fn to_wire(&self) -> wire::AccountQuery {
        wire::AccountQuery {
            version: VERSION,
            ledger: self.ledger.to_vec(),
            account: self.account.to_vec(),
            time: self.time.0,
        }
    }
}

impl Payload for AccountStatement {
    const TYPE: &'static str = "application/vnd.arbiter.account-statement.v1+protobuf";
    const NAME: &'static str = "account statement";
    type Wire = wire::AccountStatement;

    fn from_wire(wire: wire::AccountStatement) -> Result<Self, Invalid> {
        check_version(wire.version, Self::NAME)?;
        let state = match wire::AccountState::try_from(wire.state) {
            Ok(wire::AccountState::Open) => AccountState::Open,
            Ok(wire::AccountState::Closed) => AccountState::Closed,
            Ok(wire::AccountState::Unspecified) | Err(_) => {
                return Err(Invalid::FieldValue { field: "state" });
            }
        };
        let wire::AccountStatement { available, reserved, incoming, .. } = wire;
        let (ledger, account) =
            (PublicKey::parse(&wire.ledger, "ledger")?, PublicKey::parse(&wire.account, "account")?);
        let empty = available == 0 && reserved == 0 && incoming == 0;
        let below_zero = available < 0 && account != ledger;
        let fits = |units: u64| units <= limits::CIRCULATION_UNITS;
        for (field, good) in [
            ("available", !below_zero && fits(available.unsigned_abs())),
            ("reserved", fits(reserved)),
            ("incoming", fits(incoming)),
            ("state", state == AccountState::Open || empty),
            ("entry", wire.entry > 0),
        ] {
            if !good {
                return Err(Invalid::FieldValue { field });
            }
        }
        Ok(Self {
            ledger,
            account,
            currency: currency(&wire.currency, wire.scale)?,
            state,
            available,
            reserved,
            incoming,
            entry: wire.entry,
            time: time_from_wire(wire.time, "time")?,
        })
    }

    fn to_wire(&self) -> wire::AccountStatement {
        let state = match self.state {
            AccountState::Open => wire::AccountState::Open,
            AccountState::Closed => wire::AccountState::Closed,
        };
        wire::AccountStatement {
            version: VERSION,
            ledger: self.ledger.to_vec(),
            account: self.account.to_vec(),
            currency: self.currency.code().to_owned(),
            scale: self.currency.scale().into(),
            state: state.into(),
            available: self.available,
            reserved: self.reserved,
            incoming: self.incoming,
            entry: self.entry,
            time: self.time.0,
        }
    }
}
