//! Time-stamp tokens: OpenSSL makes them and verifies them, and so do we.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

mod authority;

use arbiter_client::protocol::ids::Digest;
use arbiter_client::timestamp::{Authorities, TimestampError, Token, granted, query};
use authority::{Authority, Kind};

const TEXT: &str = "arbiter.example/evidence\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n";

fn digest() -> Digest {
    Digest::of(&[TEXT.as_bytes()])
}

fn token(authority: &Authority) -> Vec<u8> {
    granted(&authority.reply(&query(&digest(), 0x0123_4567_89ab_cdef)), &digest(), 0x0123_4567_89ab_cdef)
        .unwrap()
}

fn trusted(authority: &Authority) -> Authorities {
    Authorities::parse(&authority.root()).unwrap()
}

/// RSA and elliptic curves, both ways to name a certificate.
#[test]
fn tokens_of_openssl_verify_here_and_there() {
    for kind in [Kind::RSA, Kind::P256, Kind::P384, Kind { ess: "sha1", ..Kind::P256 }] {
        let authority = Authority::new(kind);
        let token = token(&authority);
        assert!(authority.openssl_verifies(&token, TEXT), "{kind:?}");
        let said = Token::parse(&token).unwrap().verify(TEXT.as_bytes(), &trusted(&authority)).unwrap();
        let now = u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
        assert!(said.time.0 <= now && said.time.0 + 60_000 > now, "{said:?} at {now}");
        assert_eq!((said.accuracy_millis, said.authority.as_str()), (Some(1_501), "CN=tsa"));
    }
}

/// another text, another authority, a certificate for more or for something else, answers to others.
#[test]
fn tokens_that_prove_nothing_are_refused_for_what_they_are() {
    let authority = Authority::new(Kind::P256);
    let good = token(&authority);
    let parsed = Token::parse(&good).unwrap();
    let of_year = |kind, year| {
        let other = Authority::new(kind);
        // Of a time at which the other authority was there already.
        let token = other.sign_again(&authority, &self::token(&authority), year);
        Token::parse(&token).unwrap().verify(TEXT.as_bytes(), &trusted(&other))
    };
    let of = |kind| of_year(kind, None);
    assert!(of(Kind::P256).is_ok());
    // The chain must hold at the time stated: before it began, and after it ended.
    for year in ["2001", "2099"] {
        assert!(matches!(of_year(Kind::P256, Some(year)), Err(TimestampError::Chain(_))), "{year}");
    }
    let other = format!("{TEXT}x");
    assert!(matches!(parsed.verify(other.as_bytes(), &trusted(&authority)), Err(TimestampError::OtherText)));
    let stranger = trusted(&Authority::new(Kind::P256));
    assert!(matches!(parsed.verify(TEXT.as_bytes(), &stranger), Err(TimestampError::Chain(_))));
    for usage in ["critical, timeStamping, emailProtection", "timeStamping", "critical, emailProtection"] {
        let refused = of(Kind { usage, ..Kind::P256 });
        assert!(matches!(refused, Err(TimestampError::NotAnAuthority)), "{usage}: {refused:?}");
    }
    assert!(
        Authorities::parse(b"").is_err() && Authorities::parse(b"-----BEGIN CERTIFICATE-----\n").is_err()
    );

    // Answers to other requests, and refusals.
    let reply = authority.reply(&query(&digest(), 5));
    assert!(matches!(granted(&reply, &digest(), 6), Err(TimestampError::OtherRequest)));
    assert!(matches!(granted(&reply, &Digest::of(&[b"x"]), 5), Err(TimestampError::OtherText)));
    let refused = [0x30, 0x05, 0x30, 0x03, 0x02, 0x01, 0x02];
    assert!(matches!(granted(&refused, &digest(), 5), Err(TimestampError::Refused { status: 2 })));
}

/// no changed, cut or doubled byte makes a token that verifies, or a panic.
#[test]
fn altered_tokens_never_verify() {
    let authority = Authority::new(Kind::P256);
    let (good, trusted) = (token(&authority), trusted(&authority));
    let verifies =
        |bytes: &[u8]| Token::parse(bytes).is_ok_and(|it| it.verify(TEXT.as_bytes(), &trusted).is_ok());
    assert!(verifies(&good));
    for place in 0..good.len() {
        for change in [0x01, 0x80, 0xff, good[place]] {
            let mut bad = good.clone();
            bad[place] ^= change;
            assert!(bad == good || !verifies(&bad), "{place}: {change:#x}");
        }
        assert!(!verifies(&good[..place]), "cut at {place}");
        let mut doubled = good.clone();
        doubled.insert(place, good[place]);
        assert!(!verifies(&doubled), "doubled at {place}");
    }
    assert!(!verifies(&[&good[..], &[0]].concat()));
}
