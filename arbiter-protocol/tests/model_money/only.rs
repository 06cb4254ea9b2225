//! The countermeasures that only exchanges of money need: `model.rs` leaves them to `model_money.rs`.

use arbiter_protocol::weaken::Countermeasure::{self, *};

pub const OF_MONEY: [Countermeasure; 12] = [
    AffidavitAtTheDeadline,
    AffidavitForWhoAborts,
    BothBeforeGivingOut,
    DepositBlocksAbort,
    DepositBlocksRevocation,
    EveryDepositCounts,
    PayerPostsAll,
    RevokeOnlyAfterSendBy,
    RollBackBoth,
    RollBackInTime,
    TimeToRevoke,
    VoidBeforeMake,
];
