//! What an arbiter can do on a ledger: its operator's word, kept with the pin.

use arbiter_protocol::exchange::payment::{Hold, Timeout};
use arbiter_protocol::ids::PublicKey;

/// What an arbiter can do on one ledger, for sure. An adapter before another rail may be able to do only a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Powers {
    /// The key that signs the receipts there.
    pub ledger: PublicKey,
    /// Have held money go back.
    pub revokes: bool,
    /// Have money paid that is set aside.
    pub generates: bool,
}

impl Powers {
    /// Everything: a ledger of SPEC section 13.
    pub const fn all(ledger: PublicKey) -> Self {
        Self { ledger, revokes: true, generates: true }
    }

    /// What is known of a ledger: everything where nothing is known, nothing where it is not among those that are known.
    pub fn on(ledger: PublicKey, known: Option<&[Self]>) -> Self {
        let Some(known) = known else { return Self::all(ledger) };
        let found = known.iter().find(|it| it.ledger == ledger).copied();
        found.unwrap_or(Self { ledger, revokes: false, generates: false })
    }

    /// Whether verdicts about money held so can be carried out: money that will be paid can only be returned; money that will
    /// go back can be paid, or returned at once (SPEC 6.1).
    pub const fn can_end(&self, hold: Hold) -> bool {
        match hold.timeout {
            Timeout::Post => self.revokes,
            Timeout::Void => self.revokes && self.generates,
        }
    }
}
