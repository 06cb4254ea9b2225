//! How accounts are stored: one form, of fixed fields.
//!
//! ```text
//!  name     01 │ key, 32 bytes                    of a holder
//!           00 │ scale │ code                     of an issue
//!  account  01 │ scale │ code length │ code │ available, 16 │ reserved, 16 │ incoming, 16
//!              │ opened: entry, 8 │ time, 8 │ closed: entry, 8, or 0 │ time, 8 │ newest entry, 8
//! ```

use arbiter_protocol::exchange::payment::Currency;
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::ledger::{Account, AccountName, Mark};
use arbiter_protocol::time::UnixMillis;

/// The key of an account.
pub fn encode_name(name: &AccountName) -> Vec<u8> {
    match name {
        AccountName::Holder(key) => [&[HOLDER], &key.as_bytes()[..]].concat(),
        AccountName::Issue(currency) => [&[ISSUE, currency.scale()], currency.code().as_bytes()].concat(),
    }
}

/// Reads the key of an account.
pub fn decode_name(bytes: &[u8]) -> Option<AccountName> {
    match bytes {
        [HOLDER, key @ ..] => Some(AccountName::Holder(PublicKey::parse(key, "account").ok()?)),
        [ISSUE, scale, code @ ..] => Some(AccountName::Issue(currency(*scale, code)?)),
        _ => None,
    }
}

/// What is stored of an account.
pub fn encode_account(account: &Account) -> Vec<u8> {
    let (code, scale) = (account.currency.code(), account.currency.scale());
    let length = u8::try_from(code.len()).expect("invariant: a code has 3 to 12 bytes");
    let closed = account.closed.unwrap_or(Mark { entry: 0, time: UnixMillis(0) });
    [
        &[FORMAT, scale, length],
        code.as_bytes(),
        &account.available.to_be_bytes(),
        &account.reserved.to_be_bytes(),
        &account.incoming.to_be_bytes(),
        &account.opened.entry.to_be_bytes(),
        &account.opened.time.0.to_be_bytes(),
        &closed.entry.to_be_bytes(),
        &closed.time.0.to_be_bytes(),
        &account.entry.to_be_bytes(),
    ]
    .concat()
}

/// Reads what [`encode_account`] writes.
pub fn decode_account(bytes: &[u8]) -> Option<Account> {
    let [FORMAT, scale, length, rest @ ..] = bytes else { return None };
    let (code, mut rest) = rest.split_at_checked(usize::from(*length))?;
    let account = Account {
        currency: currency(*scale, code)?,
        available: i128::from_be_bytes(take(&mut rest)?),
        reserved: u128::from_be_bytes(take(&mut rest)?),
        incoming: u128::from_be_bytes(take(&mut rest)?),
        opened: mark(&mut rest)?,
        closed: Some(mark(&mut rest)?).filter(|mark| mark.entry > 0),
        entry: u64::from_be_bytes(take(&mut rest)?),
    };
    rest.is_empty().then_some(account)
}

const FORMAT: u8 = 1;
const ISSUE: u8 = 0;
const HOLDER: u8 = 1;

fn currency(scale: u8, code: &[u8]) -> Option<Currency> {
    Currency::new(std::str::from_utf8(code).ok()?, scale).ok()
}

fn mark(rest: &mut &[u8]) -> Option<Mark> {
    let (entry, time) = (u64::from_be_bytes(take(rest)?), u64::from_be_bytes(take(rest)?));
    Some(Mark { entry, time: UnixMillis(time) })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, more) = rest.split_first_chunk()?;
    *rest = more;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_their_names_are_read_as_they_were_written() {
        let mark = |entry| Mark { entry, time: UnixMillis(entry * 7) };
        let account = Account {
            currency: Currency::new("EUR", 2).unwrap(),
            available: -5,
            reserved: 6,
            incoming: 7,
            opened: mark(3),
            closed: None,
            entry: 9,
        };
        let closed = Account { closed: Some(mark(9)), ..account.clone() };
        for account in [account, closed] {
            let bytes = encode_account(&account);
            assert_eq!(decode_account(&bytes), Some(account));
            for cut in 0..bytes.len() {
                assert_eq!(decode_account(&bytes[..cut]), None);
            }
            assert_eq!(decode_account(&[&bytes[..], &[0]].concat()), None);
        }
        for name in [
            AccountName::Holder(PublicKey::from_bytes([7; 32])),
            AccountName::Issue(Currency::new("ABCDEFGHIJKL", 18).unwrap()),
        ] {
            let bytes = encode_name(&name);
            assert_eq!(decode_name(&bytes), Some(name));
            assert_eq!(decode_name(&bytes[..2]), None);
        }
        assert_eq!(decode_name(&[2; 33]), None);
    }
}
