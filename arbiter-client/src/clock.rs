//! Where time comes from.
//!
//! Deadlines are on the arbiter's clock; [`Timing::complain_margin`] covers the difference.
//!
//! [`Timing::complain_margin`]: arbiter_protocol::role::Timing

use std::time::{SystemTime, UNIX_EPOCH};

use arbiter_protocol::time::UnixMillis;

/// Tells the time of day.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> UnixMillis;
}

/// The clock of the operating system: the only place that reads it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
