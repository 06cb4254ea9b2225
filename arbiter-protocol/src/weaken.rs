//! Countermeasures that tests switch off, to see that the attack behind each is found again.
//!
//! ```text
//!   without feature `weaken`    off(…) is the constant false: the compiler removes the branch
//!   with it, in tests           off(…) asks what this thread has entered with `within`; by default nothing
//! ```
//!
//! A line that defends against an attack reads `if weaken::off(…) || <the rule holds>`. Only
//! `tests/model.rs` and `tests/fuzz_corpus.rs` enter a weakness, and `make release-graph` refuses the feature in what ships.

/// What can be switched off. Each names the rule and, where there is one, the attack of `SPEC.md` section 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(not(feature = "weaken"), expect(dead_code, reason = "two are named by the model only"))]
pub enum Countermeasure {
    /// R-405: the second sender of P2 may not abort before `complain_by` (S18).
    AbortOnlyAfterTheDeadline,
    /// R-403: the originator may abort (K11).
    AbortByTheOriginator,
    /// R-305: a transfer binds the agreement, and with it the responder's nonce (K1).
    AgreementInTransfer,
    /// R-410, R-506: an answer is for this request in this exchange (K3).
    AnswerForThisRequest,
    /// R-310: the peer's escrow is checked before anything leaves (K10).
    EscrowCheck,
    /// R-411: an escrow says for which exchange and between whom it was made (K8).
    EscrowContext,
    /// R-411: no escrow is opened with a key that is over.
    EscrowKeyEnds,
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
    /// R-504: the arbiter answers after the commit. The engine does it; in tests, the model.
    PersistBeforeReply,
    /// R-301: a party performs after its state is durable. The driver does it; in tests, the model.
    PersistBeforeSending,
    /// R-308, R-312: a claim is not given up because of a refusal that came in time.
    RefusalsAreNotTrusted,
    /// R-402: who has the role signed the request.
    RequestBySigner,
    /// R-417: the first sender of P3 may not revoke before `send_by`.
    RevokeOnlyAfterSendBy,
    /// R-418: both transfers of P4 are undone, or none.
    RollBackBoth,
    /// R-303: the second sender's item leaves after the first sender's is there.
    SecondSendsSecond,
    /// R-304: nothing leaves when it is too late to complain.
    SendOnlyInTime,
    /// R-606: a payment that was voided before it was made never is made. The ledger does it; in tests, the model.
    VoidLeavesTombstone,
    /// R-309: a verdict counts whichever acceptance it rests on (K1).
    VerdictOnAnyAcceptance,
}

impl Countermeasure {
    /// All of them.
    #[cfg(feature = "weaken")]
    pub const ALL: [Self; 23] = [
        Self::AbortOnlyAfterTheDeadline,
        Self::AbortByTheOriginator,
        Self::AgreementInTransfer,
        Self::AnswerForThisRequest,
        Self::EscrowCheck,
        Self::EscrowContext,
        Self::EscrowKeyEnds,
        Self::ExchangeInTransfer,
        Self::ExchangeInRequest,
        Self::FetchByThePeer,
        Self::FetchAfterAVerdict,
        Self::NothingAfterAnAbort,
        Self::OneVerdict,
        Self::PersistBeforeReply,
        Self::PersistBeforeSending,
        Self::RefusalsAreNotTrusted,
        Self::RequestBySigner,
        Self::RevokeOnlyAfterSendBy,
        Self::RollBackBoth,
        Self::SecondSendsSecond,
        Self::SendOnlyInTime,
        Self::VerdictOnAnyAcceptance,
        Self::VoidLeavesTombstone,
    ];
}

/// Whether a countermeasure is switched off: never.
#[cfg(not(feature = "weaken"))]
pub const fn off(_: Countermeasure) -> bool {
    false
}

#[cfg(feature = "weaken")]
pub use switched::{off, within};

#[cfg(feature = "weaken")]
mod switched {
    use std::cell::Cell;

    use super::Countermeasure;

    thread_local! {
        static OFF: Cell<Option<Countermeasure>> = const { Cell::new(None) };
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
