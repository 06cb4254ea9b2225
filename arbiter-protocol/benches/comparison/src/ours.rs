//! Ours: an Ed25519 signature, Y = s·B.

use arbiter_protocol::escrow::{
    Escrow, EscrowKey, EscrowSecret, Label, Side, Statement, Suite, check, make, open,
};
use ed25519_dalek::{Signer as _, SigningKey};
use zeroize::Zeroizing;

use super::{Figures, Scheme, timed};

const MESSAGE: &[u8] = b"I sell my bicycle to Bob for 200 euro.";

pub fn all() -> Vec<Scheme> {
    [Suite::FAST, Suite::BALANCED, Suite::COMPACT].map(scheme).into()
}

fn scheme(suite: Suite) -> Scheme {
    let secret = EscrowSecret::from_seed(&Zeroizing::new([1; 32]), [2; 32], 3).expect("a key");
    let label = Label {
        suite,
        arbiter: [2; 32],
        epoch: 3,
        exchange: [4; 32],
        protocol: 1,
        first: Side::Originator,
        signer: Side::Originator,
        originator: [5; 32],
        responder: [6; 32],
        agreement: [7; 32],
        item: [8; 32],
        counter_item: [9; 32],
        expires: 10,
        complain_by: 11,
    };
    let signer = SigningKey::from_bytes(&[12; 32]);
    let signature = signer.sign(MESSAGE).to_bytes();
    // A new key each time: its table of multiples is part of the figures, as it is for the others.
    let bytes = *secret.public().as_bytes();
    let key = move || EscrowKey::from_bytes([2; 32], 3, bytes).expect("a key");
    let run = move || {
        let statement =
            || Statement::ed25519(signer.verifying_key().to_bytes(), MESSAGE).expect("a statement");
        let randomness = Zeroizing::new([13; 32]);
        let (escrow, prove) = timed(|| {
            make(&signature, &statement(), &label, &key(), &randomness).expect("an escrow").to_bytes()
        });
        let (verified, verify) = timed(|| {
            let escrow = Escrow::from_bytes(&escrow).expect("an escrow");
            check(escrow, &statement(), &label, &key()).expect("a true escrow")
        });
        let (opened, open) =
            timed(|| open(verified.escrow(), &statement(), &label, &secret).expect("an open escrow"));
        assert_eq!(*opened, signature);
        Figures { prove, verify, open, proof: escrow.len(), to_open: escrow.len() }
    };
    Scheme { name: "ours", group: "edwards25519", parameters: suite.name(), run: Box::new(run) }
}
