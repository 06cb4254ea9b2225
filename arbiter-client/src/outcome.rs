//! How far an exchange has come, how it ended, and what a party then holds.

use std::fmt;
use std::path::PathBuf;

use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::ids::ExchangeId;
use arbiter_protocol::message::agreement::{Acceptance, Offer};
use arbiter_protocol::message::payment::PaymentReceipt;
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::role::Phase;
use arbiter_protocol::role::arbiter::Escrows;
use arbiter_protocol::statement::Verified;
use arbiter_protocol::time::UnixMillis;

use crate::bundle::BundledReceipt;

/// How an exchange ended, with everything that proves it. Every way is fair, but for an affidavit: that was agreed to be weak.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// This party no longer waits for an acceptance, or for what it was to get for nothing (T). It has given nothing.
    Abandoned(Evidence),
    /// Neither party gets an item: the arbiter's verdict says so, an abort token or a revocation. Money that was reserved
    /// goes back.
    Aborted(Evidence),
    /// The arbiter has signed which items it had at the deadline (P6). What went directly between the peers it cannot say.
    Affidavit(Evidence),
    /// The items changed hands directly.
    Completed(Evidence),
    /// The arbiter's verdict gave what the peer withheld.
    Resolved(Evidence),
}

impl Outcome {
    /// What proves it.
    pub const fn evidence(&self) -> &Evidence {
        match self {
            Self::Abandoned(evidence)
            | Self::Aborted(evidence)
            | Self::Affidavit(evidence)
            | Self::Completed(evidence)
            | Self::Resolved(evidence) => evidence,
        }
    }
}

/// Everything a party holds of an exchange.
#[derive(Clone)]
pub struct Evidence {
    /// The own role.
    pub role: Role,
    /// The offer.
    pub offer: Verified<Offer>,
    /// The acceptance, once there is one.
    pub acceptance: Option<Verified<Acceptance>>,
    /// The own transfer, once it may have left.
    pub own_transfer: Option<Verified<Transfer>>,
    /// The peer's transfer. With a signature item this is the item.
    pub peer_transfer: Option<Verified<Transfer>>,
    /// The arbiter's receipts, the oldest first, each verified when it came; with the proof under witnesses that came with it,
    /// if it was asked for.
    pub receipts: Vec<BundledReceipt>,
    /// The file that we give; of a package each, in the order of its leaves.
    pub own_files: Vec<PathBuf>,
    /// The file that we got; it fits its description. Of a package of files: the folder that holds them.
    /// Of a detached signature: its bytes alone, as any other program reads them.
    pub received_file: Option<PathBuf>,
    /// The signatures in escrow, as far as they came. They show nothing of what is in them.
    pub escrows: Escrows,
    /// The detached signatures that may be shown: those of an exchange that was completed or resolved. Before that, and
    /// after an abort, our own is a secret and is not here.
    pub signatures: ByRole<Option<Vec<u8>>>,
    /// The newest receipts of the payments, by who pays: of all of its payments, or of none.
    pub payments: ByRole<Vec<Verified<PaymentReceipt>>>,
}

/// Names things; shows neither statements nor files nor signatures.
impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evidence")
            .field("exchange_id", &self.exchange_id())
            .field("role", &self.role)
            .field("agreed", &self.acceptance.is_some())
            .field("own_transfer", &self.own_transfer.is_some())
            .field("peer_transfer", &self.peer_transfer.is_some())
            .field("receipts", &self.receipts.len())
            .field("received_file", &self.received_file.is_some())
            .field("escrows", &self.escrows.map(|_, escrow| escrow.is_some()))
            .field("signatures", &self.signatures.map(|_, signature| signature.is_some()))
            .field(
                "payments",
                &self.payments.map(|_, receipt| receipt.iter().map(|it| it.state).collect::<Vec<_>>()),
            )
            .finish()
    }
}

impl Evidence {
    /// Names the exchange.
    pub const fn exchange_id(&self) -> ExchangeId {
        self.offer.exchange_id()
    }

    /// When it is decided: no decision of the arbiter that gives or undoes anything comes later (R5). Absent where the
    /// protocol has no deadline.
    pub fn decide_by(&self) -> Option<UnixMillis> {
        self.offer.complain_by
    }
}

/// How far an exchange has come.
#[derive(Clone, Debug)]
pub struct Status {
    /// The phase.
    pub phase: Phase,
    /// Whether our item may have left.
    pub sent: bool,
    /// When the exchange entered the journal.
    pub since: UnixMillis,
    /// The newest remark, e.g. why an item of the peer was refused.
    pub remark: Option<String>,
    /// Whether an order of our payment may have left.
    pub ordered: bool,
    /// What we hold.
    pub evidence: Evidence,
}
