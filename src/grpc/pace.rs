//! Patience with a peer that sends or takes a deposit.
//!
//! ```text
//!  longest pause           request_timeout
//!  longest waiting in all  request_timeout + bytes moved so far / min_bytes_per_second
//! ```
//!
//! Invariants
//! - Only time spent waiting for the peer counts: an arbiter whose disk is slow blames nobody.
//! - A deposit of `size` bytes waits at most `request_timeout + size / min_bytes_per_second` in all, so a peer
//!   that trickles gives its room back.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tonic::Status;

use super::status;

/// What is left of the arbiter's patience in one transfer.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pause: Duration,
    rate: u64,
    waited: Duration,
}

impl Pace {
    /// Full patience: pauses up to `pause`, and at least `rate` bytes a second.
    pub const fn new(pause: Duration, rate: u64) -> Self {
        Self { pause, rate, waited: Duration::ZERO }
    }

    /// Waits for the peer, which has moved `moved` bytes so far. The error says what it exceeded.
    pub async fn wait<T>(&mut self, moved: u64, event: impl Future<Output = T>) -> Result<T, Status> {
        let left = self.allowed(moved).saturating_sub(self.waited);
        let began = Instant::now();
        let outcome = timeout(left.min(self.pause), event).await;
        self.waited = self.waited.saturating_add(began.elapsed());
        outcome.map_err(|_| {
            if self.pause <= left {
                status::silent(self.pause.as_secs())
            } else {
                status::too_slow(moved, self.rate)
            }
        })
    }

    fn allowed(&self, moved: u64) -> Duration {
        let millis = moved.saturating_mul(1000).checked_div(self.rate).unwrap_or(u64::MAX);
        self.pause.saturating_add(Duration::from_millis(millis))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail")]
mod tests {
    use std::future::{pending, ready};

    use tonic_types::StatusExt as _;

    use super::*;

    #[test]
    fn the_allowance_grows_with_what_was_moved() {
        let pace = Pace::new(Duration::from_secs(30), 1000);
        assert_eq!(pace.allowed(0), Duration::from_secs(30));
        assert_eq!(pace.allowed(2500), Duration::from_millis(32_500));
        assert!(pace.allowed(u64::MAX) > Duration::from_secs(1 << 40));
    }

    #[tokio::test]
    async fn silence_and_trickling_are_told_apart() {
        let reason = |status: Status| status.get_details_error_info().unwrap().reason;
        let pause = Duration::from_millis(10);
        let mut pace = Pace::new(pause, 1);
        assert_eq!(pace.wait(0, ready(7)).await.unwrap(), 7);
        let mut pace = Pace::new(pause, 1);
        assert_eq!(reason(pace.wait(1000, pending::<()>()).await.unwrap_err()), "TIMED_OUT");
        let mut pace = Pace { waited: Duration::from_millis(1), ..Pace::new(pause, 1) };
        assert_eq!(reason(pace.wait(0, pending::<()>()).await.unwrap_err()), "TOO_SLOW");
    }
}
