//! When and how the process ends.
//!
//! ```text
//!  SIGTERM, SIGINT ─▶ NOT_SERVING, refuse new ─▶ drain (bounded) ─▶ close connections ─▶ stop engine ─▶ exit 0
//!  engine or listener fails ───────────────────────────────────▶ close connections ─▶ stop engine ─▶ exit 1
//! ```
//! A second signal ends the process at once: nothing acknowledged is lost by that (R-504).

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
