//! What a module says about itself: shown to parties, compared with the configuration, asked before a question.
//!
//! ```text
//!  GetAdapterInfo ─▶ read: version, key, sizes, one form ─▶ About ─▶ serves(payment)? ─▶ is asked at all
//! ```

use std::collections::BTreeSet;

use arbiter_protocol::exchange::payment::{Currency, Payment};
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::limits;
use arbiter_protocol::time::DurationMillis;
use arbiter_protocol::wire::{adapter as adapter_proto, ledger as ledger_proto};
use thiserror::Error;

use super::ModuleError;

/// The version of the adapter protocol that this arbiter speaks.
pub const PROTOCOL_VERSION: u32 = 1;
/// Longest name of a sort of rail.
pub const KIND_BYTES: usize = 32;
/// Currencies that one module may name.
pub const CURRENCIES: usize = 64;

/// Something that a module can do on its rail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Power {
    /// Payers can make payments through it.
    Make,
    /// Say how a payment stands.
    Verify,
    /// Give held money back.
    Revoke,
    /// Give it back, unless that fails.
    RevokeWeak,
    /// Give held money to the payee.
    Generate,
    /// Give it to the payee, unless that fails.
    GenerateWeak,
}

impl Power {
    const fn from_wire(wire: adapter_proto::Power) -> Option<Self> {
        Some(match wire {
            adapter_proto::Power::Unspecified => return None,
            adapter_proto::Power::Make => Self::Make,
            adapter_proto::Power::Verify => Self::Verify,
            adapter_proto::Power::Revoke => Self::Revoke,
            adapter_proto::Power::RevokeWeak => Self::RevokeWeak,
            adapter_proto::Power::Generate => Self::Generate,
            adapter_proto::Power::GenerateWeak => Self::GenerateWeak,
        })
    }
}

/// The payments that a module takes in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepts {
    /// The currency.
    pub currency: Currency,
    /// The smallest payment.
    pub least: u64,
    /// The largest payment.
    pub most: u64,
}

/// What a module says about itself. True or not: only its receipts are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Signs its receipts.
    pub key: PublicKey,
    /// What sort of rail it is.
    pub kind: String,
    /// What its operator calls it.
    pub name: String,
    /// What it can do.
    pub powers: BTreeSet<Power>,
    /// What it takes.
    pub currencies: Vec<Accepts>,
    /// How long it holds money at most; zero: it holds none.
    pub longest_hold: DurationMillis,
}

/// The module behind the key does not serve such a payment. Who agreed on it is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unserved {
    /// Another currency, or another scale.
    #[error("the payment's rail does not take {currency}")]
    Currency {
        /// What was agreed.
        currency: Currency,
    },
    /// Too little or too much.
    #[error("the payment's rail takes {least} to {most}, and {units} were agreed")]
    Amount {
        /// What was agreed.
        units: String,
        /// The smallest payment.
        least: String,
        /// The largest payment.
        most: String,
    },
    /// It holds no money, or cannot surely give it back.
    #[error("the payment's rail cannot surely give held money back, and a hold was agreed")]
    Hold,
    /// It cannot surely pay what was set aside.
    #[error("the payment's rail cannot surely pay what was set aside, and reserved money was agreed")]
    Reserved,
    /// It cannot say how payments stand.
    #[error("the payment's rail cannot be asked how a payment stands")]
    Blind,
}

impl About {
    /// Whether the module can.
    pub fn can(&self, power: Power) -> bool {
        self.powers.contains(&power)
    }

    /// Whether it serves a payment, by what it says (R-707).
    pub fn serves(&self, payment: &Payment) -> Result<(), Unserved> {
        if !self.can(Power::Verify) {
            return Err(Unserved::Blind);
        }
        if payment.hold.is_some() && (self.longest_hold.0 == 0 || !self.can(Power::Revoke)) {
            return Err(Unserved::Hold);
        }
        if payment.is_generatable() && !self.can(Power::Generate) {
            return Err(Unserved::Reserved);
        }
        let (units, currency) = (payment.amount.units, &payment.amount.currency);
        match self.currencies.iter().find(|it| it.currency == *currency) {
            None => Err(Unserved::Currency { currency: currency.clone() }),
            Some(Accepts { least, most, .. }) if !(*least..=*most).contains(&units) => {
                let [units, least, most] = [units, *least, *most].map(|it| currency.show(it));
                Err(Unserved::Amount { units, least, most })
            }
            Some(_) => Ok(()),
        }
    }

    /// Reads what an adapter says. `key` and `kind` are those of the configuration.
    pub(super) fn of_adapter(
        wire: adapter_proto::GetAdapterInfoResponse,
        key: &PublicKey,
        kind: &str,
    ) -> Result<Self, ModuleError> {
        if wire.protocol_version != PROTOCOL_VERSION {
            let version = wire.protocol_version;
            return Err(ModuleError::Unfit(format!(
                "it speaks version {version} of the adapter protocol, this arbiter version {PROTOCOL_VERSION}"
            )));
        }
        check_key(&wire.key, key)?;
        if wire.kind != kind {
            return Err(ModuleError::Unfit(format!("it is of the kind {:?}", words(&wire.kind))));
        }
        let powers: BTreeSet<_> = wire.powers().filter_map(Power::from_wire).collect();
        // Ascending, without repetition: unknown powers of a later minor revision are left out, and harm nothing.
        if !wire.powers.is_sorted_by(|a, b| a < b) {
            return Err(nonsense("its powers are not in order"));
        }
        if wire.currencies.len() > CURRENCIES {
            return Err(nonsense("too many currencies"));
        }
        let currencies = wire.currencies.iter().map(accepts).collect::<Result<Vec<_>, _>>()?;
        if !currencies.is_sorted_by(|a, b| a.currency < b.currency) {
            return Err(nonsense("its currencies are not in order"));
        }
        let longest_hold = DurationMillis(wire.longest_hold_ms.min(limits::TIME_MILLIS));
        Ok(Self {
            key: *key,
            kind: kind.to_owned(),
            name: words(&wire.name),
            powers,
            currencies,
            longest_hold,
        })
    }

    /// Reads what a ledger says.
    pub(super) fn of_ledger(
        wire: ledger_proto::GetLedgerInfoResponse,
        key: &PublicKey,
    ) -> Result<Self, ModuleError> {
        check_key(&wire.key, key)?;
        if wire.currencies.len() > CURRENCIES {
            return Err(nonsense("too many currencies"));
        }
        let all = |currency: &ledger_proto::Currency| {
            let currency = self::currency(&currency.code, currency.scale)?;
            Ok(Accepts { currency, least: 1, most: limits::AMOUNT_UNITS })
        };
        let currencies = wire.currencies.iter().map(all).collect::<Result<_, ModuleError>>()?;
        let longest = wire.limits.map_or(0, |limits| limits.longest_hold_ms);
        Ok(Self {
            key: *key,
            kind: String::from(LEDGER),
            name: words(&wire.name),
            powers: [Power::Make, Power::Verify, Power::Revoke, Power::Generate].into(),
            currencies,
            longest_hold: DurationMillis(longest.min(limits::TIME_MILLIS)),
        })
    }
}

/// The kind of every ledger.
pub(super) const LEDGER: &str = "ledger";

fn accepts(wire: &adapter_proto::CurrencyLimits) -> Result<Accepts, ModuleError> {
    let currency = currency(&wire.code, wire.scale)?;
    let (least, most) = (wire.least_units, wire.most_units);
    if least == 0 || least > most || most > limits::AMOUNT_UNITS {
        return Err(nonsense("amounts that no payment can have"));
    }
    Ok(Accepts { currency, least, most })
}

fn currency(code: &str, scale: u32) -> Result<Currency, ModuleError> {
    let scale = u8::try_from(scale).map_err(|_| nonsense("a currency that cannot be"))?;
    Currency::new(code, scale).map_err(|_| nonsense("a currency that cannot be"))
}

fn check_key(found: &[u8], expected: &PublicKey) -> Result<(), ModuleError> {
    let same = found == expected.as_bytes().as_slice();
    let found =
        || PublicKey::parse(found, "key").map_or_else(|_| String::from("none"), |key| key.to_string());
    if same { Ok(()) } else { Err(ModuleError::Unfit(format!("its key is {}, not {expected}", found()))) }
}

fn nonsense(what: &str) -> ModuleError {
    ModuleError::Nonsense(String::from(what))
}

/// What a module calls itself, fit to be shown and logged: a line of at most [`limits::NAME_BYTES`].
pub(super) fn words(text: &str) -> String {
    let mut line: String = text.chars().filter(|it| !it.is_control()).collect();
    while line.len() > limits::NAME_BYTES {
        line.pop();
    }
    line
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail")]
mod tests {
    use arbiter_protocol::exchange::payment::{Amount, Hold, Timeout};
    use arbiter_protocol::time::UnixMillis;

    use super::*;

    const KEY: PublicKey = PublicKey::from_bytes([7; 32]);

    fn takes(code: &str, scale: u32, least_units: u64, most_units: u64) -> adapter_proto::CurrencyLimits {
        adapter_proto::CurrencyLimits { code: code.into(), scale, least_units, most_units }
    }

    fn info() -> adapter_proto::GetAdapterInfoResponse {
        adapter_proto::GetAdapterInfoResponse {
            protocol_version: PROTOCOL_VERSION,
            key: KEY.to_vec(),
            kind: "card".into(),
            name: "Card\n\u{1b}[31m of the house".into(),
            powers: vec![1, 2, 3, 77],
            currencies: vec![takes("EUR", 2, 100, 1000), takes("JPY", 0, 1, 9)],
            longest_hold_ms: u64::MAX,
            clock: 0,
        }
    }

    fn read(change: impl FnOnce(&mut adapter_proto::GetAdapterInfoResponse)) -> Result<About, ModuleError> {
        let mut wire = info();
        change(&mut wire);
        About::of_adapter(wire, &KEY, "card")
    }

    /// R-707: what an adapter says has one form and sizes; another version, key or kind is another module.
    #[test]
    fn what_an_adapter_says_is_read_strictly() {
        let about = read(|_| {}).unwrap();
        assert_eq!(about.powers, [Power::Make, Power::Verify, Power::Revoke].into());
        assert_eq!(about.name, "Card[31m of the house");
        assert_eq!(about.longest_hold.0, limits::TIME_MILLIS);
        let long = read(|it| it.name = "ä".repeat(1000)).unwrap();
        assert!(long.name.len() <= limits::NAME_BYTES);
        for unfit in [
            read(|it| it.protocol_version = 0),
            read(|it| it.protocol_version = 2),
            read(|it| it.key = vec![8; 32]),
            read(|it| it.key.clear()),
            read(|it| it.kind = "bank".into()),
        ] {
            assert!(matches!(unfit, Err(ModuleError::Unfit(_))), "{unfit:?}");
        }
        for nonsense in [
            read(|it| it.powers = vec![2, 1]),
            read(|it| it.powers = vec![1, 1]),
            read(|it| it.currencies.reverse()),
            read(|it| it.currencies = vec![takes("EUR", 2, 1, 2); 2]),
            read(|it| it.currencies = vec![takes("EUR", 2, 0, 2)]),
            read(|it| it.currencies = vec![takes("EUR", 2, 3, 2)]),
            read(|it| it.currencies = vec![takes("EUR", 2, 1, u64::MAX)]),
            read(|it| it.currencies = vec![takes("eur", 2, 1, 2)]),
            read(|it| it.currencies = vec![takes("EUR", 258, 1, 2)]),
            read(|it| it.currencies = (0..65).map(|n| takes(&format!("C{n:0>3}"), 2, 1, 2)).collect()),
        ] {
            assert!(matches!(nonsense, Err(ModuleError::Nonsense(_))), "{nonsense:?}");
        }
    }

    /// R-707: a payment outside of what the module says is not served; weak powers do not count.
    #[test]
    fn a_payment_is_served_within_what_was_said() {
        let pay = |amount: &str, until: Option<u64>| Payment {
            ledger: KEY,
            payer: PublicKey::from_bytes([1; 32]),
            payee: PublicKey::from_bytes([2; 32]),
            amount: Amount::parse(amount).unwrap(),
            hold: until.map(|until| Hold { until: UnixMillis(until), timeout: Timeout::Post }),
        };
        let about = read(|_| {}).unwrap();
        for good in [pay("1.00 EUR", None), pay("10.00 EUR", Some(9)), pay("9 JPY", None)] {
            assert_eq!(about.serves(&good), Ok(()));
        }
        for bad in ["0.99 EUR", "10.01 EUR"] {
            assert!(matches!(about.serves(&pay(bad, None)), Err(Unserved::Amount { .. })), "{bad}");
        }
        for bad in ["1.000 EUR", "1.00 USD", "1 EUR"] {
            assert!(matches!(about.serves(&pay(bad, None)), Err(Unserved::Currency { .. })), "{bad}");
        }
        let (weak, short) = (read(|it| it.powers = vec![2, 4]), read(|it| it.longest_hold_ms = 0));
        for about in [weak.unwrap(), short.unwrap()] {
            assert_eq!(about.serves(&pay("1.00 EUR", Some(9))), Err(Unserved::Hold));
            assert_eq!(about.serves(&pay("1.00 EUR", None)), Ok(()));
        }
        // Reserved money is returned by a void and paid by a post: the rail must surely do both.
        let mut reserved = pay("1.00 EUR", Some(9));
        reserved.hold.as_mut().unwrap().timeout = Timeout::Void;
        assert_eq!(about.serves(&reserved), Err(Unserved::Reserved));
        let posts = About { powers: [Power::Verify, Power::Revoke, Power::Generate].into(), ..about.clone() };
        assert_eq!(posts.serves(&reserved), Ok(()));
        let blind = read(|it| it.powers = vec![1, 3]).unwrap();
        assert_eq!(blind.serves(&pay("1.00 EUR", None)), Err(Unserved::Blind));
    }
}
