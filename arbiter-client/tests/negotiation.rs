//! both sides come to the same pair of modules, by an oracle that is written another way; and lists that are none.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

use arbiter_client::items;
use arbiter_client::module::{
    Capabilities, Capability, Demand, Format, LIST_BYTES, LIST_MODULES, ListError, Means, Otherwise, What,
    check_negotiated, negotiate, payment_properties,
};
use arbiter_client::protocol::crypto::Signer as _;
use arbiter_client::protocol::escrow::SignatureKey;
use arbiter_client::protocol::exchange::item::Information;
use arbiter_client::protocol::exchange::payment::{Amount, Currency, Payment};
use arbiter_client::protocol::exchange::property::{Properties, Property};
use arbiter_client::protocol::ids::{Digest, PublicKey};
use arbiter_client::signing::Algorithm;
use arbiter_client::testing::{identity, purse, signer};
use proptest::prelude::*;

const RAILS: [&str; 3] = ["rail one", "rail two", "rail three"];
const CODES: [&str; 2] = ["EUR", "USD"];
const TYPES: [&str; 3] = ["text/plain", "application/pdf", "audio/flac"];
const FORMATS: [Format; 3] =
    [Format::Detached(Algorithm::Ed25519), Format::Detached(Algorithm::RSA_DEFAULT), Format::Replacement];

fn key(name: &str) -> PublicKey {
    signer(name).public_key()
}

fn properties() -> impl Strategy<Value = Properties> {
    proptest::sample::subsequence(Property::ALL.to_vec(), 4..=7).prop_map(Properties::new)
}

/// A module of `party`: few values, so that modules meet often.
fn module(party: &'static str) -> impl Strategy<Value = Capability> {
    let largest = || proptest::option::weighted(0.5, 1..20u64);
    let payment = (0..3usize, 0..3usize, largest()).prop_map(move |(rail, code, largest)| Means::Payment {
        ledger: key(RAILS[rail]),
        account: purse(party).public_key(),
        url: String::new(),
        currency: CODES.get(code).map(|code| Currency::new(code, 2).unwrap()),
        largest,
    });
    let signature = (0..3usize, any::<bool>()).prop_map(move |(format, keyed)| Means::Signature {
        format: FORMATS[format],
        key: (keyed && format == 0).then(|| SignatureKey::ed25519(key(party)).unwrap()),
        certificate: Vec::new(),
    });
    let types = proptest::sample::subsequence(TYPES.to_vec(), 0..=2);
    let information = (largest(), types).prop_map(|(largest, types)| Means::Information {
        largest,
        media_types: types.into_iter().map(str::to_owned).collect(),
    });
    let means = prop_oneof![payment, signature, information];
    (prop::bool::weighted(0.8), prop::bool::weighted(0.8), properties(), means)
        .prop_map(|(gives, takes, properties, means)| Capability { gives, takes, properties, means })
}

fn list(party: &'static str) -> impl Strategy<Value = Capabilities> {
    let party_key = identity(party).party().signing_key;
    proptest::collection::vec(module(party), 0..10)
        .prop_map(move |modules| Capabilities { party: party_key, modules })
}

fn demand() -> impl Strategy<Value = Demand> {
    let payment = (1..20u64, 0..2usize).prop_map(|(units, code)| {
        What::Payment(Amount::new(units, Currency::new(CODES[code], 2).unwrap()).unwrap())
    });
    let signature = (0..4usize).prop_map(|format| What::Signature(FORMATS.get(format).copied()));
    let information = (1..20u64, 0..3usize)
        .prop_map(|(size_bytes, kind)| What::Information { size_bytes, media_type: TYPES[kind].to_owned() });
    let needs = proptest::sample::subsequence(Property::ALL.to_vec(), 0..=1).prop_map(Properties::new);
    (prop_oneof![payment, signature, information], needs).prop_map(|(what, needs)| Demand { what, needs })
}

/// Whether a module is within its limits for a demand: said again, without the code that is tried.
fn within(module: &Capability, demand: &Demand) -> bool {
    let able = demand.needs.iter().all(|it| module.properties.iter().any(|has| has == it));
    able && match (&module.means, &demand.what) {
        (Means::Payment { currency, largest, .. }, What::Payment(amount)) => {
            currency.as_ref().is_none_or(|it| it.to_string() == amount.currency.to_string())
                && amount.units <= largest.unwrap_or(u64::MAX)
        }
        (Means::Signature { format, .. }, What::Signature(wanted)) => wanted.is_none_or(|it| it == *format),
        (Means::Information { largest, media_types }, What::Information { size_bytes, media_type }) => {
            *size_bytes <= largest.unwrap_or(u64::MAX)
                && (media_types.is_empty() || media_types.iter().any(|it| it == media_type))
        }
        _ => false,
    }
}

fn meet(giver: &Capability, taker: &Capability) -> bool {
    match (&giver.means, &taker.means) {
        (Means::Payment { ledger: one, .. }, Means::Payment { ledger: other, .. }) => one == other,
        (Means::Signature { format: one, .. }, Means::Signature { format: other, .. }) => one == other,
        (Means::Information { .. }, Means::Information { .. }) => true,
        _ => false,
    }
}

/// Every pair that can do it, by places in both lists.
fn pairs(giver: &Capabilities, taker: &Capabilities, demand: &Demand) -> Vec<(usize, usize)> {
    let mut all = Vec::new();
    for (i, one) in giver.modules.iter().enumerate() {
        for (j, other) in taker.modules.iter().enumerate() {
            let used = one.gives && other.takes && within(one, demand) && within(other, demand);
            if used && meet(one, other) {
                all.push((i, j));
            }
        }
    }
    all
}

/// The places of the pair chosen.
fn chosen(giver: &Capabilities, taker: &Capabilities, demand: &Demand) -> Option<(usize, usize)> {
    let pair = negotiate(giver, taker, demand).ok()?;
    let place = |list: &Capabilities, it: &Capability| {
        list.modules.iter().position(|other| std::ptr::eq(other, it)).expect("out of the list")
    };
    Some((place(giver, pair.giver), place(taker, pair.taker)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// the pair is one that can do it, exactly if there is one; no other is liked better by both; it is the one of
    /// the rule; and it is the same for who holds the lists as they were sent.
    #[test]
    fn both_sides_choose_the_same_pair(giver in list("alice"), taker in list("bob"), demand in demand()) {
        let all = pairs(&giver, &taker, &demand);
        let found = chosen(&giver, &taker, &demand);
        prop_assert_eq!(found.is_some(), !all.is_empty());
        if let Some((i, j)) = found {
            prop_assert!(all.contains(&(i, j)));
            prop_assert!(!all.iter().any(|(a, b)| *a <= i && *b <= j && (*a, *b) != (i, j)), "{all:?}");
            // The rule, said again: ranks among what is in a pair; least sum; then the giver's wish.
            let rank = |places: Vec<usize>, place: usize| {
                let mut different = places;
                different.sort_unstable();
                different.dedup();
                different.iter().position(|it| *it == place).unwrap()
            };
            let best = all.iter().map(|(a, b)| {
                let place = rank(all.iter().map(|it| it.0).collect(), *a);
                (place + rank(all.iter().map(|it| it.1).collect(), *b), place, (*a, *b))
            });
            prop_assert_eq!(best.min().unwrap().2, (i, j));
        }
        let sent = |list: &Capabilities| Capabilities::parse(&list.to_json()).unwrap();
        prop_assert_eq!(&sent(&giver), &giver);
        prop_assert_eq!(chosen(&sent(&giver), &sent(&taker), &demand), found);
    }

    /// what is in no pair changes no answer, wherever it stands.
    #[test]
    fn what_meets_nothing_changes_nothing(
        giver in list("alice"), taker in list("bob"), demand in demand(), more in module("alice"), at in 0..10usize,
    ) {
        let before = negotiate(&giver, &taker, &demand).ok();
        let mut longer = giver.clone();
        longer.modules.insert(at.min(giver.modules.len()), more.clone());
        let only = Capabilities { party: giver.party, modules: vec![more] };
        if pairs(&only, &taker, &demand).is_empty() {
            let after = negotiate(&longer, &taker, &demand).ok();
            prop_assert_eq!(before, after);
        }
    }

    /// no common module is an error that says what each side has, and why it does not do.
    #[test]
    fn no_common_module_is_told(giver in list("alice"), taker in list("bob"), demand in demand()) {
        if let Err(error) = negotiate(&giver, &taker, &demand) {
            let of = |list: &Capabilities, used: fn(&Capability) -> bool| {
                list.modules.iter().filter(|it| it.service() == demand.service() && used(it)).count()
            };
            prop_assert_eq!(error.giver.len(), of(&giver, |it| it.gives));
            prop_assert_eq!(error.taker.len(), of(&taker, |it| it.takes));
            let text = error.to_string();
            prop_assert!(error.giver.iter().chain(&error.taker).all(|it| text.contains(it.as_str())), "{text}");
        }
    }

    /// arbitrary text is a list or an error, and a list has one form.
    #[test]
    fn what_is_read_is_written_again(list in list("alice"), cut in 0..4_000usize, with in any::<u8>()) {
        let mut bytes = list.to_json().into_bytes();
        let place = cut % bytes.len();
        bytes[place] = with;
        if let Ok(text) = String::from_utf8(bytes)
            && let Ok(read) = Capabilities::parse(&text)
        {
            prop_assert_eq!(Capabilities::parse(&read.to_json()).unwrap(), read);
        }
    }
}

/// who gets an offer sees whether it is what both lists lead to: the same rail and accounts, key and format.
#[test]
fn an_offer_of_something_else_is_seen() {
    let of =
        |party: &'static str, modules| Capabilities { party: identity(party).party().signing_key, modules };
    let account = |rail: &str, name: &str| Capability {
        gives: true,
        takes: true,
        properties: payment_properties(None),
        means: Means::Payment {
            ledger: key(rail),
            account: purse(name).public_key(),
            url: String::new(),
            currency: None,
            largest: Some(100),
        },
    };
    let signs = |name: Option<&str>, format| Capability {
        gives: true,
        takes: true,
        properties: Properties::new(Property::ALL),
        means: Means::Signature {
            format,
            key: name.map(|name| SignatureKey::ed25519(key(name)).unwrap()),
            certificate: Vec::new(),
        },
    };
    let [ed25519, _, replacement] = FORMATS;
    let alice = of(
        "alice",
        vec![
            account("one", "alice"),
            account("two", "alice"),
            signs(None, ed25519),
            signs(None, replacement),
        ],
    );
    let bob = of(
        "bob",
        vec![
            account("two", "bob"),
            account("one", "bob"),
            signs(Some("bob"), ed25519),
            signs(None, replacement),
        ],
    );
    let pays = |rail: &str, from: &str, to: &str, units| {
        items::payment(Payment {
            ledger: key(rail),
            payer: purse(from).public_key(),
            payee: purse(to).public_key(),
            amount: Amount::new(units, Currency::new("EUR", 2).unwrap()).unwrap(),
            hold: None,
        })
    };
    let file = Information {
        sha256: Digest::of(&[b"file"]),
        size_bytes: 4,
        media_type: "text/plain".to_owned(),
        name: "file.txt".to_owned(),
    };
    let by = |name: &str| {
        let key = SignatureKey::ed25519(key(name)).unwrap();
        items::detached_signature("T", "", file.clone(), key, Vec::new())
    };
    // Both rails have the same sum: the payer's wish decides.
    assert_eq!(check_negotiated(&pays("one", "alice", "bob", 9), &alice, &bob), Ok(()));
    assert_eq!(check_negotiated(&pays("two", "bob", "alice", 9), &bob, &alice), Ok(()));
    assert_eq!(check_negotiated(&by("bob"), &bob, &alice), Ok(()));
    for (item, giver, taker) in [
        (pays("two", "alice", "bob", 9), &alice, &bob),
        (pays("one", "alice", "other", 9), &alice, &bob),
        (pays("one", "other", "bob", 9), &alice, &bob),
        (by("mallory"), &bob, &alice),
        (items::signature("T", "", file.clone()), &bob, &alice),
    ] {
        let seen = check_negotiated(&item, giver, taker);
        assert!(matches!(seen, Err(Otherwise::Other { .. })), "{item:?}: {seen:?}");
    }
    for item in [pays("one", "alice", "bob", 101), items::file(file.clone())] {
        let seen = check_negotiated(&item, &alice, &bob);
        assert!(matches!(seen, Err(Otherwise::NoCommon(_))), "{item:?}: {seen:?}");
    }
}

/// each thing that a list may not be has an error of its own; what is not known is left out.
#[test]
fn lists_that_are_none() {
    let alice = identity("alice").party().signing_key;
    let means = Means::Signature {
        format: Format::Detached(Algorithm::Ed25519),
        key: Some(SignatureKey::ed25519(alice).unwrap()),
        certificate: Vec::new(),
    };
    let properties = Properties::new([Property::GeneratableByEscrow]);
    let signs = Capability { gives: true, takes: true, properties, means };
    let pays = Capability {
        gives: true,
        takes: true,
        properties: payment_properties(None),
        means: Means::Payment {
            ledger: key("bank"),
            account: key("purse"),
            url: "https://bank.example".to_owned(),
            currency: Some(Currency::new("EUR", 2).unwrap()),
            largest: Some(100),
        },
    };
    let good = Capabilities { party: alice, modules: vec![signs.clone(), pays.clone()] }.to_json();
    let of = |from: &str, to: &str| {
        assert!(good.contains(from), "{from} in {good}");
        Capabilities::parse(&good.replace(from, to))
    };
    assert_eq!(Capabilities::parse(&good).unwrap().modules.len(), 2);
    // Newer than we are: left out, the rest is read.
    assert_eq!(of("\"detached/ed25519\"", "\"detached/ml-dsa-44\"").unwrap().modules, [pays]);
    assert_eq!(of("\"payment\"", "\"credential\"").unwrap().modules, std::slice::from_ref(&signs));
    assert!(of("\"observable\"", "\"audible\"").unwrap().modules[1].properties == Properties::default());
    assert!(matches!(of("\"version\": 1", "\"version\": 2"), Err(ListError::Version(2))));
    for (from, to) in [
        ("\"gives\": true", "\"gives\": 1"),
        ("\"takes\": true,", ""),
        ("\"url\"", "\"uri\""),
        ("\"party\": \"", "\"party\": \"0"),
        ("\"largest\": 100", "\"largest\": -1"),
        ("\"signature\"", "7"),
        ("{", "{{"),
    ] {
        assert!(matches!(of(from, to), Err(ListError::Malformed(_))), "{from} {to}");
    }
    for (from, to) in [
        ("https://bank", "ftp://bank"),
        ("\"EUR\"", "\"eur\""),
        ("\"scale\": 2", "\"scale\": 19"),
        ("\"scale\": 2,", ""),
        ("MCow", "MCo"),
        ("\"account\": \"", "\"account\": \"0"),
    ] {
        assert!(matches!(of(from, to), Err(ListError::Field { .. })), "{from} {to}: {:?}", of(from, to));
    }
    assert!(matches!(of("MCow", "MCox"), Err(ListError::Key { module: 1, .. })));
    let long = Capabilities { party: alice, modules: vec![signs; LIST_MODULES + 1] }.to_json();
    assert!(matches!(Capabilities::parse(&long), Err(ListError::TooLong)));
    assert!(matches!(Capabilities::parse(&" ".repeat(LIST_BYTES + 1)), Err(ListError::TooLong)));
}
