//! The countermeasures that only exchanges of money need: `model.rs` leaves them to `model_money.rs`.

use arbiter_protocol::weaken::Countermeasure::{self, *};

pub const OF_MONEY: [Countermeasure; 8] = [
    BothBeforeGivingOut,
    DepositBlocksRevocation,
    PayerPostsAll,
    RevokeOnlyAfterSendBy,
    RollBackBoth,
    RollBackInTime,
    TimeToRevoke,
    VoidBeforeMake,
];
