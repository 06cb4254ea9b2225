//! An arbiter goes on under other keys: the statement that old and new sign (R-537).
//!
//! ```text
//!  old key ──signs──▶ Succession { from, to, time } ◀──signs── new key
//!                        digest = token of the leaf `key-rotation` in the old log
//! ```
//! Both signatures are needed: the old one says who follows, the new one that it agrees to. Who has pinned the old
//! arbiter and verifies both may pin the new one, without asking anybody.

use crate::error::{Invalid, Refused, Rejected};
use crate::ids::Digest;
use crate::message::agreement::{ArbiterIdentity, arbiter_from_wire, arbiter_to_wire};
use crate::message::{VERSION, check_version, time_from_wire, wire};
use crate::statement::{Envelope, Payload, Signed, Verified};
use crate::time::UnixMillis;

/// "From now on I am that one."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Succession {
    /// The old arbiter. It goes on serving the agreements that name it.
    pub from: ArbiterIdentity,
    /// The new one: of another key, log key and origin.
    pub to: ArbiterIdentity,
    /// When it was signed, by the old arbiter's clock.
    pub time: UnixMillis,
}

impl Succession {
    /// R-537: no key and no origin is used by both.
    pub fn is_usable(&self) -> Result<(), Invalid> {
        let Self { from, to, .. } = self;
        let old = [from.key, from.log_key];
        let again = old.contains(&to.key) || old.contains(&to.log_key) || from.log_origin == to.log_origin;
        if again { Err(Invalid::FieldValue { field: "to" }) } else { Ok(()) }
    }
}

impl Payload for Succession {
    const TYPE: &'static str = "application/vnd.arbiter.succession.v1+protobuf";
    const NAME: &'static str = "succession";
    type Wire = wire::Succession;

    fn from_wire(wire: wire::Succession) -> Result<Self, Invalid> {
        check_version(wire.version, Self::NAME)?;
        let from = arbiter_from_wire(wire.from.ok_or(Invalid::FieldMissing { field: "from" })?)?;
        let to = arbiter_from_wire(wire.to.ok_or(Invalid::FieldMissing { field: "to" })?)?;
        let succession = Self { from, to, time: time_from_wire(wire.time, "time")? };
        succession.is_usable()?;
        Ok(succession)
    }

    fn to_wire(&self) -> wire::Succession {
        wire::Succession {
            version: VERSION,
            from: Some(arbiter_to_wire(&self.from)),
            to: Some(arbiter_to_wire(&self.to)),
            time: self.time.0,
        }
    }
}

/// A succession with both signatures, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedSuccession {
    by_old: Verified<Succession>,
    by_new: Verified<Succession>,
}

impl SignedSuccession {
    /// Joins what the old and the new arbiter signed.
    pub fn join(by_old: Verified<Succession>, by_new: Verified<Succession>) -> Result<Self, Invalid> {
        let signed = by_old.signer() == by_old.from.key && by_new.signer() == by_old.to.key;
        if !signed || *by_old != *by_new {
            return Err(Invalid::Signer { what: Succession::NAME });
        }
        Ok(Self { by_old, by_new })
    }

    /// Verifies both envelopes: each under the key that it names itself. Whoever relies on it compares `from`
    /// with what it pinned; [`SignedSuccession::after`] does.
    pub fn verify(by_old: Envelope, by_new: Envelope) -> Result<Self, Invalid> {
        let (old, new) = (Signed::<Succession>::parse(by_old)?, Signed::<Succession>::parse(by_new)?);
        let (from, to) = (old.unverified().from.key, old.unverified().to.key);
        Self::join(old.verify(&from)?, new.verify(&to)?)
    }

    /// Verifies that `pinned` names its successor.
    pub fn after(pinned: &ArbiterIdentity, by_old: Envelope, by_new: Envelope) -> Result<Self, Rejected> {
        let signed = Self::verify(by_old, by_new)?;
        if signed.statement().from != *pinned {
            return Err(Refused::OtherArbiter.into());
        }
        Ok(signed)
    }

    /// What both signed.
    pub fn statement(&self) -> &Succession {
        &self.by_old
    }

    /// The token of the leaf `key-rotation`. Signatures are not part of it.
    pub fn digest(&self) -> Digest {
        self.by_old.digest()
    }

    /// Signed by the old key.
    pub const fn by_old(&self) -> &Envelope {
        self.by_old.envelope()
    }

    /// Signed by the new key.
    pub const fn by_new(&self) -> &Envelope {
        self.by_new.envelope()
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::crypto::{MemorySigner, Signer as _};
    use crate::evidence::checkpoint::Origin;

    fn key(byte: u8) -> MemorySigner {
        MemorySigner::from_seed(&Zeroizing::new([byte; 32]))
    }

    fn identity(byte: u8) -> ArbiterIdentity {
        ArbiterIdentity {
            key: key(byte).public_key(),
            log_key: key(byte + 1).public_key(),
            log_origin: Origin::parse(&format!("arbiter.test/{byte}")).unwrap(),
            rules: "arbiter/rules/v1".into(),
        }
    }

    fn succession() -> Succession {
        Succession { from: identity(1), to: identity(11), time: UnixMillis(7) }
    }

    fn both(statement: &Succession) -> (Envelope, Envelope) {
        let sign = |by| Verified::sign(statement.clone(), &key(by)).envelope().clone();
        (sign(1), sign(11))
    }

    /// R-537: who pinned the old arbiter learns the new one from two signatures, and from nothing less.
    #[test]
    fn a_successor_is_named_by_old_and_new_together() {
        let (old, new) = both(&succession());
        let signed = SignedSuccession::after(&identity(1), old.clone(), new.clone()).unwrap();
        assert_eq!(signed.statement(), &succession());
        assert_eq!((signed.by_old(), signed.by_new()), (&old, &new));
        assert_eq!(signed.digest(), new.digest());
        let other = SignedSuccession::after(&identity(3), old.clone(), new.clone());
        assert_eq!(other, Err(Refused::OtherArbiter.into()));
        for (a, b) in [(&new, &old), (&old, &old), (&new, &new)] {
            assert!(SignedSuccession::verify(a.clone(), b.clone()).is_err(), "one of them signed twice");
        }
        let (_, later) = both(&Succession { time: UnixMillis(8), ..succession() });
        assert!(SignedSuccession::verify(old.clone(), later).is_err(), "two statements");
        let stranger = Verified::sign(succession(), &key(21)).envelope().clone();
        assert!(SignedSuccession::verify(old, stranger.clone()).is_err());
        assert!(SignedSuccession::verify(stranger, new).is_err());
        let sign = |by| Verified::sign(succession(), &key(by));
        assert!(SignedSuccession::join(sign(1), sign(11)).is_ok());
        for (one, other) in [(1, 21), (21, 11)] {
            assert!(SignedSuccession::join(sign(one), sign(other)).is_err(), "{one} {other}");
        }
    }

    /// R-537: no key and no origin is used again.
    #[test]
    fn the_successor_shares_no_key_and_no_origin() {
        let (from, to) = (identity(1), identity(11));
        let same = [
            ArbiterIdentity { key: from.key, ..to.clone() },
            ArbiterIdentity { key: from.log_key, ..to.clone() },
            ArbiterIdentity { log_key: from.log_key, ..to.clone() },
            ArbiterIdentity { log_key: from.key, ..to.clone() },
            ArbiterIdentity { log_origin: from.log_origin.clone(), ..to },
        ];
        for to in same {
            let statement = Succession { to, ..succession() };
            let envelope = Verified::sign(statement, &key(1)).envelope().clone();
            let refused = Signed::<Succession>::parse(envelope).unwrap_err();
            assert_eq!(refused, Invalid::FieldValue { field: "to" });
        }
    }
}
