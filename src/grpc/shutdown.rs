//! When and how the process ends.
//!
//! ```text
//!  SIGTERM, SIGINT ─▶ NOT_SERVING, refuse new ─▶ drain (bounded) ─▶ close connections ─▶ stop engine ─▶ exit 0
//!  engine or listener fails ───────────────────────────────────▶ close connections ─▶ stop engine ─▶ exit 1
//! ```
//! SIGHUP ends nothing: the files of the escrow keys are read again. A second signal ends the process at once: nothing acknowledged is lost by that (R-504).

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for SIGTERM or SIGINT.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on both signals are caught. Call it before the process says that it is ready.
    pub fn catch() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The name of the next signal.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Waits for SIGHUP.
pub struct Hangup(Signal);

impl Hangup {
    /// From now on SIGHUP is caught. Call it before the process says that it is ready.
    pub fn catch() -> std::io::Result<Self> {
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// The next one.
    pub async fn next(&mut self) {
        // Ends only with the process.
        let _ = self.0.recv().await;
    }
}
