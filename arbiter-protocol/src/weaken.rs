//! Countermeasures that tests switch off, to see that the attack behind each is found again.
//!
//! ```text
//!   without feature `weaken`    off(…) is the constant false: the compiler removes the branch
//!   with it, in tests           off(…) asks what this thread has entered with `within`; by default nothing
//! ```
//!
//! A line that defends against an attack reads `if weaken::off(…) || <the rule holds>`. Only `tests/model.rs`,
//! `tests/model_money.rs` and `tests/fuzz_corpus.rs` enter a weakness, only fuzz targets forge, and `make release-graph` refuses the feature in what ships.

/// What can be switched off. Each names the rule and, where there is one, the attack of `SPEC.md` section 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(not(feature = "weaken"), expect(dead_code, reason = "some are named by the models only"))]
pub enum Countermeasure {
    /// R-403, R-405, R-427: who sends second may not abort before the deadline, and without one never (S18).
    AbortOnlyAfterTheDeadline,
    /// R-403: the originator may abort (K11).
    AbortByTheOriginator,
    /// R-423: a verdict that aborts orders reserved money to be voided.
    AbortVoidsReserved,
    /// R-426: no affidavit before everybody could deposit.
    AffidavitAtTheDeadline,
    /// R-427: who asks for an abort where there is a deposit gets the affidavit at the deadline.
    AffidavitForWhoAborts,
    /// R-305: a transfer binds the agreement, and with it the responder's nonce (K1).
    AgreementInTransfer,
    /// R-410, R-506: an answer is for this request in this exchange (K3).
    AnswerForThisRequest,
    /// R-421: nothing is given out in P5 before both items are there.
    BothBeforeGivingOut,
    /// R-406: who complains has given its item to the arbiter.
    DepositBeforeComplaint,
    /// R-427: no abort in P6 once there is a deposit.
    DepositBlocksAbort,
    /// R-416: a deposit counts against a revocation, whichever acceptance it rests on (K1).
    DepositBlocksRevocation,
    /// R-310: the peer's escrow is checked before anything leaves (K10).
    EscrowCheck,
    /// R-411: an escrow says for which exchange and between whom it was made (K8).
    EscrowContext,
    /// R-411: no escrow is opened with a key that is over.
    EscrowKeyEnds,
    /// R-426: both deposits of P6 are given out, whichever acceptances they rest on (K1).
    EveryDepositCounts,
    /// R-305: a transfer binds the exchange, and with it both nonces (K2).
    ExchangeInTransfer,
    /// R-205: a request is about the exchange whose offer is filed (K9).
    ExchangeInRequest,
    /// R-408: content is given to the peer of who gave it, and not to another.
    FetchByThePeer,
    /// R-408: nothing that is held is given out before a verdict that replaces (K4).
    FetchAfterAVerdict,
    /// R-302: nothing is agreed or sent any more once an abort was asked for.
    NothingAfterAnAbort,
    /// R-401: a verdict is written once.
    OneVerdict,
    /// Section 3: a payment's terms name the exchange and the role (K2).
    PaymentForThisExchange,
    /// Section 3: who pays cannot post a part, and so take the rest back.
    PayerPostsAll,
    /// R-504: the arbiter answers after the commit. The engine does it; in tests, the model.
    PersistBeforeReply,
    /// R-301: a party performs after its state is durable. The driver does it; in tests, the model.
    PersistBeforeSending,
    /// R-423: a verdict that replaces reserved money orders it to be posted.
    ReplacementIsPosted,
    /// R-308, R-312: a claim is not given up because of a refusal that came in time.
    RefusalsAreNotTrusted,
    /// R-310: a receipt is a pledge only if it says that the money is set aside.
    ReservationIsMade,
    /// R-404: nothing is replaced in P1 when the holds may end before a ledger hears of it.
    ResolveInTime,
    /// R-402: who has the role signed the request.
    RequestBySigner,
    /// R-417: the first sender of P3 may not revoke before `send_by`.
    RevokeOnlyAfterSendBy,
    /// R-418: both transfers of P4 are undone, or none.
    RollBackBoth,
    /// R-418: nothing is rolled back when the holds may end before a ledger hears of it.
    RollBackInTime,
    /// R-303: the second sender's item leaves after the first sender's is there.
    SecondSendsSecond,
    /// R-304: nothing leaves when it is too late to complain.
    SendOnlyInTime,
    /// R-304, R-313: who pays first in P3 has time to revoke between `send_by` and `complain_by`.
    TimeToRevoke,
    /// R-309: a verdict counts whichever acceptance it rests on (K1).
    VerdictOnAnyAcceptance,
    /// R-423: a payment that was voided before it was made is never made. The ledger does it; in tests, the model.
    VoidBeforeMake,
}

impl Countermeasure {
    /// All of them.
    #[cfg(feature = "weaken")]
    pub const ALL: [Self; 38] = [
        Self::AbortOnlyAfterTheDeadline,
        Self::AbortByTheOriginator,
        Self::AbortVoidsReserved,
        Self::AffidavitAtTheDeadline,
        Self::AffidavitForWhoAborts,
        Self::AgreementInTransfer,
        Self::AnswerForThisRequest,
        Self::BothBeforeGivingOut,
        Self::DepositBeforeComplaint,
        Self::DepositBlocksAbort,
        Self::DepositBlocksRevocation,
        Self::EscrowCheck,
        Self::EscrowContext,
        Self::EscrowKeyEnds,
        Self::EveryDepositCounts,
        Self::ExchangeInTransfer,
        Self::ExchangeInRequest,
        Self::FetchByThePeer,
        Self::FetchAfterAVerdict,
        Self::NothingAfterAnAbort,
        Self::OneVerdict,
        Self::PaymentForThisExchange,
        Self::PayerPostsAll,
        Self::PersistBeforeReply,
        Self::PersistBeforeSending,
        Self::RefusalsAreNotTrusted,
        Self::ReplacementIsPosted,
        Self::RequestBySigner,
        Self::ReservationIsMade,
        Self::ResolveInTime,
        Self::RevokeOnlyAfterSendBy,
        Self::RollBackBoth,
        Self::RollBackInTime,
        Self::SecondSendsSecond,
        Self::SendOnlyInTime,
        Self::TimeToRevoke,
        Self::VerdictOnAnyAcceptance,
        Self::VoidBeforeMake,
    ];
}

/// Whether a countermeasure is switched off: never.
#[cfg(not(feature = "weaken"))]
pub const fn off(_: Countermeasure) -> bool {
    false
}

/// Whether a signature of a statement is [`FORGED`] and taken for good: never.
#[cfg(not(feature = "weaken"))]
pub const fn forged(_: &[u8; 64]) -> bool {
    false
}

#[cfg(feature = "weaken")]
pub use switched::{FORGED, forged, forging, off, within};

#[cfg(feature = "weaken")]
mod switched {
    use std::cell::Cell;

    use super::Countermeasure;

    thread_local! {
        static OFF: Cell<Option<Countermeasure>> = const { Cell::new(None) };
        static FORGING: Cell<bool> = const { Cell::new(false) };
    }

    /// Of any statement by anybody, while this thread is [`forging`]: the fuzzer needs no keys.
    pub const FORGED: [u8; 64] = [0xf0; 64];

    /// Whether this signature is taken for good whatever it is under.
    pub fn forged(signature: &[u8; 64]) -> bool {
        FORGING.get() && *signature == FORGED
    }

    /// Runs `f` in this thread with a suite in which everybody can sign for everybody. Only statements are concerned: checkpoints,
    /// and what is in escrow, are verified as ever.
    pub fn forging<T>(f: impl FnOnce() -> T) -> T {
        struct Before(bool);
        impl Drop for Before {
            fn drop(&mut self) {
                FORGING.set(self.0);
            }
        }
        let _before = Before(FORGING.replace(true));
        f()
    }

    /// Whether this thread has switched it off.
    pub fn off(countermeasure: Countermeasure) -> bool {
        OFF.get() == Some(countermeasure)
    }

    /// Runs `f` in this thread without a countermeasure, or with all.
    pub fn within<T>(weakness: Option<Countermeasure>, f: impl FnOnce() -> T) -> T {
        struct Before(Option<Countermeasure>);
        impl Drop for Before {
            fn drop(&mut self) {
                OFF.set(self.0);
            }
        }
        let _before = Before(OFF.replace(weakness));
        f()
    }
}
