//! Escrows: any bytes, and good escrows in which some bytes were changed (section 11 of `SPEC.md`).

use std::sync::OnceLock;

use arbiter_protocol::escrow::{Escrow, SignatureKey, holds};
use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::Agreement;

use crate::common::{Cast, Chooser, Kind};

pub fn escrow(bytes: &[u8]) -> bool {
    let Ok(escrow) = Escrow::from_bytes(bytes) else { return false };
    assert!(bytes.len() <= limits::ESCROW_BYTES);
    assert_eq!(escrow.to_bytes(), bytes, "an escrow has one form");
    // It is of another exchange, and it holds nothing that anybody signed.
    let fixed = fixed();
    let place = Place::of(fixed.agreement.offer(), Role::Originator, fixed.agreement.id());
    assert!(
        place.belongs(&escrow.clone().into()).is_err() || bytes[35..67] == fixed.bytes[35..67],
        "the context is bound"
    );
    let key = SignatureKey::ed25519(fixed.agreement.offer().originator.signing_key).expect("a good key");
    assert!(!holds(&escrow, &[0; 64], &key.statement(b"x").expect("a good key")));
    true
}

struct Fixed {
    cast: Cast,
    agreement: Agreement,
    bytes: Vec<u8>,
    signature: [u8; 64],
}

fn fixed() -> &'static Fixed {
    static FIXED: OnceLock<Fixed> = OnceLock::new();
    FIXED.get_or_init(|| {
        let cast = Cast::new();
        let agreement = cast.agreement(Kind::P1Escrow);
        let bytes = cast.escrow(&agreement, Role::Originator).expect("detached").to_bytes();
        let signature = cast.finished(agreement.offer(), Role::Originator).expect("detached");
        Fixed { cast, agreement, bytes, signature }
    })
}

/// Pairs of place (two bytes) and change (one byte), at most eight, on a good escrow. What was changed in any way does
/// not pass the check. What the arbiter opens is the very signature that was put in, or nothing.
pub fn altered(input: &[u8]) -> bool {
    let fixed = fixed();
    let mut bytes = fixed.bytes.clone();
    let mut chooser = Chooser::of(input);
    for _ in 0..8 {
        if !chooser.has_more() {
            break;
        }
        let place = chooser.below(bytes.len());
        bytes[place] ^= u8::try_from(chooser.below(256)).expect("a byte");
    }
    let Ok(escrow) = Escrow::from_bytes(&bytes) else { return false };
    assert_eq!(escrow.to_bytes(), bytes);
    let place = Place::of(fixed.agreement.offer(), Role::Originator, fixed.agreement.id());
    let same = bytes == fixed.bytes;
    let belongs = place.belongs(&escrow.clone().into()).is_ok();
    let passes = place.check(escrow.clone()).is_ok();
    assert_eq!(passes, same, "an altered escrow passes the check");
    assert!(belongs || !passes);
    match place.open(&escrow, &fixed.cast.escrow_secret()) {
        Ok((_, signature)) => {
            assert_eq!(signature.as_slice(), fixed.signature, "the arbiter opens another signature");
            assert!(belongs, "the arbiter opens what does not belong to the exchange");
            true
        }
        Err(_) => {
            assert!(!passes, "an escrow passes the check and does not open");
            false
        }
    }
}
