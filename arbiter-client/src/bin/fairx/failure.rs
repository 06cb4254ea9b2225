//! What went wrong, whose fault it is, and what to do next; and the exit code that says so.

use std::fmt;
use std::path::Path;

use arbiter_client::bundle::BundleError;
use arbiter_client::charge::ChargeError;
use arbiter_client::error::{Error, MoneyFault, PeerFault, StoreError, Usage};
use arbiter_client::identity::IdentityError;
use arbiter_client::ledger::LedgerError;
use arbiter_client::purse::PurseError;
use arbiter_client::signing::KeyError;

/// Why the program ends without success.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    what: String,
    next: Option<String>,
}

/// Bad evidence, a refusal, a failed exchange.
const BAD: u8 = 1;
/// The command makes no sense.
const USAGE: u8 = 2;
/// The arbiter is out of reach.
const LATER: u8 = 4;

impl Failure {
    /// Something is bad or failed.
    pub fn bad(what: impl Into<String>) -> Self {
        Self { code: BAD, what: what.into(), next: None }
    }

    /// The arbiter is out of reach.
    pub fn later(what: impl Into<String>) -> Self {
        Self { code: LATER, what: what.into(), next: None }
    }

    /// The command makes no sense.
    pub fn usage(what: impl Into<String>) -> Self {
        Self { code: USAGE, what: what.into(), next: None }
    }

    /// A file of the user's that cannot be read.
    pub fn file(path: &Path, error: &std::io::Error) -> Self {
        Self::usage(format!("{}: {error}", path.display()))
    }

    /// With advice.
    #[must_use]
    pub fn next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }

    /// The exit code.
    pub const fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.next {
            Some(next) => write!(f, "\n  what to do: {next}"),
            None => Ok(()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (code, next) = match &error {
            Error::Retry { .. } => {
                (LATER, Some("nothing is lost: run `fairx resume ID` when the arbiter is back"))
            }
            Error::Peer(PeerFault::OtherArbiter) => (
                BAD,
                Some("agree with the other party on one arbiter; both pin it with `fairx init --arbiter`"),
            ),
            Error::Peer(PeerFault::NotForUs) => {
                (BAD, Some("send the other party the line that `fairx id` prints here"))
            }
            Error::Peer(PeerFault::TooLate) => {
                (BAD, Some("ask for a later --complain-by, or use a smaller --margin"))
            }
            Error::Peer(PeerFault::Money(fault)) | Error::Usage(Usage::Money(fault)) => {
                (BAD, Some(money(fault)))
            }
            Error::Peer(PeerFault::NoOffer) => (BAD, Some("wait again with `fairx accept`")),
            Error::Peer(_) => (BAD, Some("nothing of yours was signed; tell the other party")),
            Error::Arbiter { .. } => (BAD, None),
            Error::Misbehaviour(_) => (
                BAD,
                Some(
                    "do not use this arbiter again; what it did is kept in the journal, and what convicts it before others \
                      in the evidence folder (*.fxp)",
                ),
            ),
            Error::Store(StoreError::InUse(_)) => {
                (BAD, Some("another fairx works on this home; wait for it or stop it, nothing is lost"))
            }
            Error::Store(_) => {
                (BAD, Some("repair the disk, then `fairx resume ID`: nothing was sent that is not kept"))
            }
            Error::File { .. } => (USAGE, None),
            Error::Module { .. } => (BAD, Some("nothing of it was used; repair it, or use another means")),
            Error::Usage(Usage::Module(_)) => {
                (USAGE, Some("`fairx capabilities` shows what this home gives and takes, and its limits"))
            }
            Error::Usage(Usage::NotApproved) => (BAD, None),
            Error::Usage(Usage::DeadlineTooClose(_)) => {
                (USAGE, Some("say a later --complain-by, or a smaller --margin"))
            }
            Error::Usage(Usage::Known(_)) => {
                (USAGE, Some("`fairx status` lists it, `fairx resume ID` goes on"))
            }
            Error::Usage(Usage::NoEscrowKey) => (
                USAGE,
                Some(
                    "`fairx pin refresh` asks the arbiter for its escrow keys; or offer with --replacement, which needs none",
                ),
            ),
            Error::Usage(Usage::EscrowEndsTooSoon(_)) => {
                (USAGE, Some("`fairx pin refresh` asks the arbiter for its newest escrow key"))
            }
            Error::Usage(Usage::UnknownExchange(_)) => (USAGE, Some("`fairx status` lists all exchanges")),
            _ => (USAGE, None),
        };
        Self { code, what: error.to_string(), next: next.map(str::to_owned) }
    }
}

/// What to do about payments that cannot be carried out.
const fn money(fault: &MoneyFault) -> &'static str {
    match fault {
        MoneyFault::ArbiterCannotReach(_) => {
            "agree on a ledger that the arbiter reaches; `fairx pin refresh` asks it for all of them"
        }
        MoneyFault::ArbiterCannotEnd(_) => {
            "nothing was signed; agree on another ledger, or pay in a way that needs nothing of the arbiter there"
        }
        MoneyFault::HoldTooShort { .. } => "nothing was signed; `fairx pin refresh`, then offer again",
        MoneyFault::NotOurAccount(_) | MoneyFault::NotOurPurse(_) => {
            "nothing was signed; give the other party the line that `fairx purse account` prints"
        }
        MoneyFault::NotReserved(_) => {
            "nothing was said to the other party; put it right and `fairx resume`, or end the exchange with `fairx complain`"
        }
        MoneyFault::UnknownLedger(_) => {
            "nothing was signed; make a purse on that ledger with `fairx purse create`"
        }
        _ => "nothing was signed",
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<PurseError> for Failure {
    fn from(error: PurseError) -> Self {
        let (code, next) = match &error {
            PurseError::Ledger(LedgerError::Unavailable { .. }) => {
                (LATER, Some("nothing is lost: run the same command when the ledger is back"))
            }
            PurseError::Ledger(_) | PurseError::LedgerChanged(_) => (BAD, None),
            _ => (USAGE, None),
        };
        Self { code, what: error.to_string(), next: next.map(str::to_owned) }
    }
}

impl From<ChargeError> for Failure {
    fn from(error: ChargeError) -> Self {
        match error {
            ChargeError::Io(_) => Self::usage(error.to_string()),
            _ => Self::bad(error.to_string()),
        }
    }
}

impl From<BundleError> for Failure {
    fn from(error: BundleError) -> Self {
        match error {
            BundleError::Io { .. } => Self::usage(error.to_string()),
            _ => Self::bad(error.to_string()),
        }
    }
}
