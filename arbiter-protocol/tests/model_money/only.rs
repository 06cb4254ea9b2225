//! The countermeasures that only exchanges of money need: `model.rs` leaves them to `model_money.rs`.

use arbiter_protocol::weaken::Countermeasure::{self, *};

pub const OF_MONEY: [Countermeasure; 17] = [
    AbortVoidsReserved,
    AffidavitAtTheDeadline,
    AffidavitForWhoAborts,
    BothBeforeGivingOut,
    DepositBlocksAbort,
    DepositBlocksRevocation,
    EveryDepositCounts,
    PayerPostsAll,
    PaymentForThisExchange,
    ReplacementIsPosted,
    ReservationIsMade,
    ResolveInTime,
    RevokeOnlyAfterSendBy,
    RollBackBoth,
    RollBackInTime,
    TimeToRevoke,
    VoidBeforeMake,
];
