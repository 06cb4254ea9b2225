//! The clock: the only place that reads the time of the machine.
//!
//! ```text
//!  SystemClock ──▶ NeverBack ──now──▶ engine, grpc
//! ```
//! [`NeverBack`] keeps the rule that time never goes back (R-409), whatever the machine's clock does.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use arbiter_protocol::time::{DurationMillis, UnixMillis};

/// Tells the time. It may step; [`NeverBack`] takes care of that.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970.
    fn now(&self) -> UnixMillis;
}

/// How far a clock may be ahead of the newest time that is stored: a year. A clock that jumped is more likely wrong than right.
const FAR_AHEAD: DurationMillis = DurationMillis(365 * 24 * 60 * 60 * 1000);

/// Whether a clock is so far ahead of the newest time that is stored that nothing is started on it.
pub(crate) fn is_far_ahead(clock: UnixMillis, latest: UnixMillis) -> bool {
    clock > latest.after(FAR_AHEAD)
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        // A clock before 1970 is as wrong as one that stands still: `NeverBack` warns about both.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock that a test sets. Clones show the same time.
#[cfg(any(test, feature = "testing"))]
#[derive(Clone, Debug)]
pub struct ManualClock(std::sync::Arc<AtomicU64>);

#[cfg(any(test, feature = "testing"))]
impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: UnixMillis) -> Self {
        Self(std::sync::Arc::new(AtomicU64::new(now.0)))
    }

    /// Sets the time, forwards or backwards.
    pub fn set(&self, now: UnixMillis) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

#[cfg(any(test, feature = "testing"))]
impl Clock for ManualClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::SeqCst))
    }
}

/// Makes any clock one that never goes back (R-409).
pub struct NeverBack {
    clock: Box<dyn Clock>,
    latest: AtomicU64,
    uncertainty: DurationMillis,
    behind: AtomicBool,
}

impl NeverBack {
    /// `latest` is the latest time ever used; `uncertainty` is what the operator declares. No time is zero:
    /// statements use zero for "none".
    pub fn new(clock: Box<dyn Clock>, latest: UnixMillis, uncertainty: DurationMillis) -> Self {
        Self { clock, latest: AtomicU64::new(latest.0.max(1)), uncertainty, behind: AtomicBool::new(false) }
    }

    /// The time, never less than any time given before.
    pub fn now(&self) -> UnixMillis {
        let shown = self.clock.now();
        let latest = UnixMillis(self.latest.fetch_max(shown.0, Ordering::SeqCst));
        self.watch(shown, latest);
        latest.max(shown)
    }

    /// One log line each time the machine's clock falls behind by more than is declared, and one when it is back.
    fn watch(&self, shown: UnixMillis, latest: UnixMillis) {
        let behind = shown.after(self.uncertainty) < latest;
        if self.behind.swap(behind, Ordering::SeqCst) == behind {
            return;
        }
        if behind {
            tracing::warn!(%shown, %latest, "the machine's clock is behind: the arbiter's time stands still");
        } else {
            tracing::info!(%shown, "the machine's clock has caught up");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R-409.
    #[test]
    fn time_stands_still_while_the_machine_is_behind() {
        let machine = ManualClock::new(UnixMillis(50));
        let clock = NeverBack::new(Box::new(machine.clone()), UnixMillis(100), DurationMillis(5));
        assert_eq!(clock.now(), UnixMillis(100));
        machine.set(UnixMillis(120));
        assert_eq!(clock.now(), UnixMillis(120));
        machine.set(UnixMillis(1));
        assert_eq!(clock.now(), UnixMillis(120));
        machine.set(UnixMillis(121));
        assert_eq!(clock.now(), UnixMillis(121));
    }
}
