//! Money: an amount that goes from one account of a ledger to another, at once or after a hold.
//!
//! ```text
//!            ┌─ no hold ─────────────────────────────▶ posted
//!  make ─────┤                ┌─ post (payer, authority), or time-out `post` ─▶ posted
//!            └─ hold ▶ reserved                              (a part only by the authority)
//!                             └─ void (payee, authority), or time-out `void` ─▶ voided
//! ```
//! Amounts are integers of the smallest unit: nothing is ever rounded. `message::payment` has what ledgers sign.

use std::fmt;

use crate::error::Invalid;
use crate::exchange::property::{Properties, Property};
use crate::ids::PublicKey;
use crate::limits;
use crate::message::{time_from_wire, wire};
use crate::time::UnixMillis;

/// An amount of money: `units` of 10^-`scale` of `currency`. 1234 units of EUR at scale 2 print as `12.34 EUR`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount {
    /// 1 to [`limits::AMOUNT_UNITS`].
    pub units: u64,
    /// What kind of money, and how fine.
    pub currency: Currency,
}

/// A kind of money with the place of its decimal point. Two scales of one code are two currencies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Currency {
    code: String,
    scale: u8,
}

/// What becomes of reserved money that nobody posted or voided before the hold has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// It goes to the payee.
    Post,
    /// It goes back to the payer.
    Void,
}

/// Money set aside until a time on the ledger's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The hold ends at this time, if nobody ends it earlier.
    pub until: UnixMillis,
    /// How it ends then.
    pub timeout: Timeout,
}

/// A payment as an agreement describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The ledger: the key that signs its receipts.
    pub ledger: PublicKey,
    /// The account that pays, named by the key that signs for it.
    pub payer: PublicKey,
    /// The account that is paid; another one than the payer's.
    pub payee: PublicKey,
    /// How much.
    pub amount: Amount,
    /// Absent: paid at once, and final.
    pub hold: Option<Hold>,
}

impl Currency {
    /// A currency: `code` is 3 to 12 characters `A-Z0-9`, a letter first; `scale` is 0 to 18.
    pub fn new(code: &str, scale: u8) -> Result<Self, Invalid> {
        let letters = code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let first = code.bytes().next().is_some_and(|b| b.is_ascii_uppercase());
        if !letters || !first || !(3..=limits::CURRENCY_BYTES).contains(&code.len()) {
            return Err(Invalid::FieldValue { field: "currency" });
        }
        if scale > limits::CURRENCY_SCALE {
            return Err(Invalid::FieldValue { field: "scale" });
        }
        Ok(Self { code: code.to_owned(), scale })
    }

    /// The code, e.g. `EUR`.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Digits after the decimal point.
    pub const fn scale(&self) -> u8 {
        self.scale
    }

    /// `units` as a person writes them: `12.34 EUR`.
    pub fn show(&self, units: u64) -> String {
        let scale = usize::from(self.scale);
        let digits = format!("{units:0>width$}", width = scale.saturating_add(1));
        let (whole, part) = digits.split_at(digits.len().saturating_sub(scale));
        let dot = if scale == 0 { "" } else { "." };
        format!("{whole}{dot}{part} {}", self.code)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.code, self.scale)
    }
}

impl Amount {
    /// An amount that is allowed: at least one unit.
    pub fn new(units: u64, currency: Currency) -> Result<Self, Invalid> {
        if units == 0 || units > limits::AMOUNT_UNITS {
            return Err(Invalid::FieldValue { field: "units" });
        }
        Ok(Self { units, currency })
    }

    /// Reads what [`Amount`] prints: `12.34 EUR` in a currency of scale 2 needs exactly two digits after the point.
    /// The scale is the number of digits written.
    ///
    /// ```
    /// # use arbiter_protocol::exchange::payment::Amount;
    /// let price = Amount::parse("12.34 EUR")?;
    /// assert_eq!((price.units, price.currency.scale()), (1234, 2));
    /// assert_eq!(price.to_string(), "12.34 EUR");
    /// assert_eq!(Amount::parse("5 JPY")?.to_string(), "5 JPY");
    /// for bad in ["0.00 EUR", "-1 EUR", "1. EUR", ".5 EUR", "1e3 EUR", "1 eur", "1,00 EUR", "007 EUR"] {
    ///     assert!(Amount::parse(bad).is_err());
    /// }
    /// # Ok::<(), arbiter_protocol::error::Invalid>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let bad = Invalid::FieldValue { field: "amount" };
        let (number, code) = text.split_once(' ').ok_or(bad)?;
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let digits = [whole, part].concat();
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad);
        }
        let scale = u8::try_from(part.len()).map_err(|_| bad)?;
        let amount = Self::new(digits.parse().map_err(|_| bad)?, Currency::new(code, scale)?)?;
        if amount.to_string() == text { Ok(amount) } else { Err(bad) }
    }

    fn from_wire(wire: wire::Amount) -> Result<Self, Invalid> {
        let scale = u8::try_from(wire.scale).map_err(|_| Invalid::FieldValue { field: "scale" })?;
        Self::new(wire.units, Currency::new(&wire.currency, scale)?)
    }

    fn to_wire(&self) -> wire::Amount {
        wire::Amount {
            units: self.units,
            currency: self.currency.code.clone(),
            scale: self.currency.scale.into(),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.currency.show(self.units))
    }
}

impl Payment {
    /// What the arbiter can do with such a payment (R-207). Without a hold it can only see it. With one it can also
    /// revoke it, if the money is paid unless somebody acts; or generate it, if it goes back unless somebody acts.
    pub fn properties(&self) -> Properties {
        let held = self.hold.map(|hold| match hold.timeout {
            Timeout::Post => Property::Revocable,
            Timeout::Void => Property::GeneratableByEscrow,
        });
        Properties::new([Some(Property::Observable), held].into_iter().flatten())
    }

    /// Whether the money is only set aside by its making, and paid when the payer or the arbiter posts it.
    pub fn is_generatable(&self) -> bool {
        self.hold.is_some_and(|hold| hold.timeout == Timeout::Void)
    }

    pub(crate) fn from_wire(wire: wire::Payment) -> Result<Self, Invalid> {
        let payer = PublicKey::parse(&wire.payer, "payer")?;
        let payee = PublicKey::parse(&wire.payee, "payee")?;
        if payer == payee {
            return Err(Invalid::FieldValue { field: "payee" });
        }
        Ok(Self {
            ledger: PublicKey::parse(&wire.ledger, "ledger")?,
            payer,
            payee,
            amount: Amount::from_wire(wire.amount.ok_or(Invalid::FieldMissing { field: "amount" })?)?,
            hold: wire.hold.map(hold_from_wire).transpose()?,
        })
    }

    pub(crate) fn to_wire(&self) -> wire::Payment {
        wire::Payment {
            ledger: self.ledger.to_vec(),
            payer: self.payer.to_vec(),
            payee: self.payee.to_vec(),
            amount: Some(self.amount.to_wire()),
            hold: self.hold.map(hold_to_wire),
        }
    }
}

fn hold_from_wire(wire: wire::Hold) -> Result<Hold, Invalid> {
    let timeout = match wire::Timeout::try_from(wire.timeout) {
        Ok(wire::Timeout::Post) => Timeout::Post,
        Ok(wire::Timeout::Void) => Timeout::Void,
        Ok(wire::Timeout::Unspecified) | Err(_) => return Err(Invalid::FieldValue { field: "timeout" }),
    };
    Ok(Hold { until: time_from_wire(wire.until, "until")?, timeout })
}

fn hold_to_wire(hold: Hold) -> wire::Hold {
    let timeout = match hold.timeout {
        Timeout::Post => wire::Timeout::Post,
        Timeout::Void => wire::Timeout::Void,
    };
    wire::Hold { until: hold.until.0, timeout: timeout.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-209: an amount has one form, is never zero, and never rounds.
    #[test]
    fn amounts_print_and_parse_exactly() {
        for text in ["0.01 EUR", "12.34 EUR", "1 JPY", "0.000000000000000001 ETH", "90071992547409.92 EUR"] {
            assert_eq!(Amount::parse(text).unwrap().to_string(), text);
            let currency = Amount::parse(text).unwrap().currency;
            assert_eq!(currency.to_string(), format!("{}/{}", currency.code, currency.scale));
        }
        for text in [
            "",
            "1",
            "EUR 1",
            "0 EUR",
            "0.00 EUR",
            "-1 EUR",
            "+1 EUR",
            "1 EU",
            "1 eur",
            "1 EURO CENT",
            " 1 EUR",
            "1  EUR",
            "01 EUR",
            "1.",
            "1. EUR",
            ".1 EUR",
            "1.2.3 EUR",
            "90071992547409.93 EUR",
            "1 1EU",
            "0.0000000000000000001 ETH",
            "99999999999999999999999 EUR",
            "1 ABCDEFGHIJKLM",
        ] {
            assert!(Amount::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_a_payment_that_is_held_can_be_revoked_or_generated() {
        let key = |byte| PublicKey::from_bytes([byte; 32]);
        let amount = Amount::parse("1.00 EUR").unwrap();
        let payment =
            |hold| Payment { ledger: key(1), payer: key(2), payee: key(3), amount: amount.clone(), hold };
        let held = |timeout| payment(Some(Hold { until: UnixMillis(9), timeout }));
        assert!(!payment(None).properties().revocable());
        assert!(held(Timeout::Post).properties().revocable());
        assert!(!held(Timeout::Void).properties().revocable());
        assert!(held(Timeout::Void).properties().generatable() && held(Timeout::Void).is_generatable());
        assert!(!held(Timeout::Post).properties().generatable() && !held(Timeout::Post).is_generatable());
        assert!(!payment(None).properties().generatable() && !payment(None).is_generatable());
        let wire = |change: fn(&mut wire::Payment)| {
            let mut wire = held(Timeout::Post).to_wire();
            change(&mut wire);
            Payment::from_wire(wire)
        };
        assert_eq!(wire(|_| {}), Ok(held(Timeout::Post)));
        assert!(wire(|it| it.payee = it.payer.clone()).is_err());
        assert!(wire(|it| it.amount = None).is_err());
        assert!(wire(|it| it.amount.as_mut().unwrap().units = 0).is_err());
        assert!(wire(|it| it.amount.as_mut().unwrap().scale = 19).is_err());
        assert!(wire(|it| it.amount.as_mut().unwrap().scale = 256).is_err());
        assert!(wire(|it| it.hold.as_mut().unwrap().until = 0).is_err());
        assert!(wire(|it| it.hold.as_mut().unwrap().timeout = 0).is_err());
        assert!(wire(|it| it.ledger.truncate(31)).is_err());
    }
}
