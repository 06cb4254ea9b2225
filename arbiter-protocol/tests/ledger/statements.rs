//! Account and payment statements: one form each, every field checked, and no bytes at all make the decoders panic
//!

use std::fmt::Debug;

use arbiter_protocol::crypto::Signer as _;
use arbiter_protocol::error::Invalid;
use arbiter_protocol::exchange::payment::{Amount, Currency, Hold, Payment, Timeout};
use arbiter_protocol::ids::Digest;
use arbiter_protocol::limits;
use arbiter_protocol::message::account::{
    AccountAction, AccountOrder, AccountQuery, AccountState, AccountStatement,
};
use arbiter_protocol::message::payment::{
    PaymentAction, PaymentOrder, PaymentReceipt, PaymentState, PaymentTerms,
};
use arbiter_protocol::message::wire;
use arbiter_protocol::statement::{Envelope, Payload, Signed, Verified, pae};
use arbiter_protocol::time::UnixMillis;
use prost::Message as _;

use super::stage::{Dice, key, signer};

fn enclosed<T: Payload>(payload: Vec<u8>) -> Result<Signed<T>, Invalid> {
    let signature = signer(0).sign(&pae(T::TYPE, &payload)).to_vec();
    let signatures = vec![wire::Signature { key_id: key(0).to_vec(), signature }];
    Signed::parse(Envelope::from_wire(wire::Envelope {
        payload_type: T::TYPE.to_owned(),
        payload,
        signatures,
    })?)
}

fn euro() -> Currency {
    Currency::new("EUR", 2).unwrap()
}

fn statement() -> AccountStatement {
    AccountStatement {
        ledger: key(0),
        account: key(1),
        currency: euro(),
        state: AccountState::Open,
        available: 7,
        reserved: 8,
        incoming: 9,
        entry: 10,
        time: UnixMillis(11),
    }
}

fn terms(hold: Option<Hold>) -> PaymentTerms {
    let amount = Amount::new(300, euro()).unwrap();
    let payment = Payment { ledger: key(0), payer: key(1), payee: key(2), amount, hold };
    PaymentTerms { payment, authority: hold.map(|_| key(3)), reference: Digest::of(&[b"x"]) }
}

fn held() -> PaymentTerms {
    terms(Some(Hold { until: UnixMillis(2_000), timeout: Timeout::Post }))
}

/// Every sample of a kind of statement: read back as written, in one form only, whatever happens to its bytes.
fn one_form<T: Payload + PartialEq + Debug>(samples: Vec<T>) {
    let mut dice = Dice(7);
    for sample in samples {
        let signed = Verified::sign(sample, &signer(0));
        let envelope = Envelope::decode(&signed.envelope().encode()).unwrap();
        assert_eq!(*Signed::<T>::parse(envelope.clone()).unwrap().unverified(), *signed, "{}", T::NAME);
        let payload = envelope.payload().to_vec();
        let canonical = |bytes: Vec<u8>| {
            // Whatever is accepted is written again as it was.
            if let Ok(read) = enclosed::<T>(bytes.clone()) {
                assert_eq!(read.unverified().to_wire().encode_to_vec(), bytes, "{}", T::NAME);
            }
        };
        for at in 0..payload.len() {
            canonical(payload[..at].to_vec());
            for bit in 0..8 {
                let mut bytes = payload.clone();
                bytes[at] ^= 1 << bit;
                canonical(bytes);
            }
        }
        for _ in 0..2_000 {
            let mut bytes = payload.clone();
            for _ in 0..=dice.below(4) {
                match dice.below(3) {
                    0 => bytes.insert(dice.below(bytes.len() + 1), u8::try_from(dice.below(256)).unwrap()),
                    1 if !bytes.is_empty() => drop(bytes.remove(dice.below(bytes.len()))),
                    _ => bytes.extend_from_within(..dice.below(bytes.len() + 1)),
                }
            }
            canonical(bytes);
        }
        // A field that nobody knows, and the version twice.
        for more in [vec![0x98, 0x06, 0x01], vec![0x08, 0x01]] {
            let reason = enclosed::<T>([payload.clone(), more].concat()).map(drop).unwrap_err().reason();
            assert_eq!(reason, "STATEMENT_NOT_CANONICAL");
        }
        let mut version = payload.clone();
        version[1] = 2;
        let error = enclosed::<T>(version).map(drop).unwrap_err();
        assert_eq!(error, Invalid::Version { what: T::NAME, version: 2 });
        let mut other = envelope.to_wire();
        other.payload_type.push('x');
        let error = Signed::<T>::parse(Envelope::from_wire(other).unwrap()).map(drop).unwrap_err();
        assert_eq!(error, Invalid::PayloadType { expected: T::NAME });
    }
}

///
#[test]
fn account_and_payment_statements_have_one_form() {
    let order = |action| AccountOrder { ledger: key(0), account: key(1), currency: euro(), action };
    one_form(vec![order(AccountAction::Open), order(AccountAction::Close)]);
    one_form(vec![AccountQuery { ledger: key(0), account: key(1), time: UnixMillis(5) }]);
    let most = i64::try_from(limits::CIRCULATION_UNITS).unwrap();
    let zero = AccountStatement { available: 0, reserved: 0, incoming: 0, ..statement() };
    one_form(vec![
        statement(),
        AccountStatement { state: AccountState::Closed, ..zero },
        AccountStatement { available: most, ..statement() },
        AccountStatement { account: key(0), available: -most, ..statement() },
    ]);
    let order = |action| PaymentOrder { terms: held(), action };
    one_form(vec![
        order(PaymentAction::Make),
        order(PaymentAction::Post(300)),
        order(PaymentAction::Void),
        PaymentOrder { terms: terms(None), action: PaymentAction::Make },
    ]);
    let receipt = |terms, state, entry, order: Option<&[u8]>| {
        let order = order.map(|bytes| Digest::of(&[bytes]));
        PaymentReceipt { terms, state, entry, time: UnixMillis(9), order }
    };
    one_form(vec![
        receipt(held(), PaymentState::Absent, 0, None),
        receipt(held(), PaymentState::Reserved, 3, Some(b"make")),
        receipt(held(), PaymentState::Posted(1), 4, Some(b"post")),
        receipt(held(), PaymentState::Voided, 4, None),
        receipt(terms(None), PaymentState::Posted(300), 4, Some(b"make")),
    ]);
}

/// Each field of an account statement has its own fault.
#[test]
fn every_field_of_account_statements_is_checked() {
    fn refusal<T: Payload>(statement: &T, change: impl FnOnce(&mut T::Wire)) -> Invalid {
        let mut wire = statement.to_wire();
        change(&mut wire);
        enclosed::<T>(wire.encode_to_vec()).map(drop).unwrap_err()
    }
    let value = |field| Invalid::FieldValue { field };
    let length = |field| Invalid::FieldLength { field };

    let order =
        AccountOrder { ledger: key(0), account: key(1), currency: euro(), action: AccountAction::Open };
    assert_eq!(refusal(&order, |it| it.ledger.truncate(31)), length("ledger"));
    assert_eq!(refusal(&order, |it| it.account.push(1)), length("account"));
    for code in ["", "EU", "eur", "1EU", "EUR ", "ABCDEFGHIJKLM"] {
        assert_eq!(refusal(&order, |it| it.currency = code.to_owned()), value("currency"));
    }
    for scale in [19, 256, u32::MAX] {
        assert_eq!(refusal(&order, |it| it.scale = scale), value("scale"));
    }
    for action in [0, 3, -1] {
        assert_eq!(refusal(&order, |it| it.action = action), value("action"));
    }

    let query = AccountQuery { ledger: key(0), account: key(1), time: UnixMillis(5) };
    assert_eq!(refusal(&query, |it| it.ledger.clear()), length("ledger"));
    assert_eq!(refusal(&query, |it| it.account.clear()), length("account"));
    for time in [0, limits::TIME_MILLIS + 1] {
        assert_eq!(refusal(&query, |it| it.time = time), value("time"));
    }

    let statement = statement();
    let most = i64::try_from(limits::CIRCULATION_UNITS).unwrap();
    for available in [-1, most + 1, i64::MIN, i64::MAX] {
        assert_eq!(refusal(&statement, |it| it.available = available), value("available"));
    }
    // Only an issue is below zero, and only so far.
    let issue = AccountStatement { account: key(0), available: -5, ..statement.clone() };
    assert_eq!(refusal(&issue, |it| it.available = -most - 1), value("available"));
    assert_eq!(refusal(&issue, |it| it.account = key(1).to_vec()), value("available"));
    assert_eq!(refusal(&statement, |it| it.reserved = limits::CIRCULATION_UNITS + 1), value("reserved"));
    assert_eq!(refusal(&statement, |it| it.incoming = u64::MAX), value("incoming"));
    assert_eq!(refusal(&statement, |it| it.entry = 0), value("entry"));
    assert_eq!(refusal(&statement, |it| it.time = 0), value("time"));
    // Whatever is closed is empty.
    let closed = AccountStatement {
        state: AccountState::Closed,
        available: 0,
        reserved: 0,
        incoming: 0,
        ..statement.clone()
    };
    let one: [fn(&mut wire::AccountStatement); 3] =
        [|it| it.available = 1, |it| it.reserved = 1, |it| it.incoming = 1];
    for left in one {
        assert_eq!(refusal(&closed, left), value("state"));
    }
    for state in [0, 2, 3] {
        assert_eq!(refusal(&statement, |it| it.state = state), value("state"));
    }
}
