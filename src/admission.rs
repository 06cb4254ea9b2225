//! Admission: from what a party sent to a verified case. No state, no store, no clock.
//!
//! ```text
//!  gRPC message ──▶ worker (one a core): decode, canonical form, signatures, offer rules ──▶ Case ──▶ engine
//! ```
//!
//! Invariants
//! - Nothing reaches the engine that a party to the exchange did not sign (R-402).
//! - Signatures are verified on worker threads: a flood of bad ones delays others, it does not stop the
//!   threads that serve connections.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

use arbiter_protocol::error::Rejected;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::role::arbiter::Case;
use arbiter_protocol::wire::arbiter as proto;
use thiserror::Error;
use tokio::sync::Semaphore;

/// Verifies what parties file with one arbiter.
#[derive(Clone, Debug)]
pub struct Admission {
    arbiter: Arc<ArbiterIdentity>,
    workers: Arc<Semaphore>,
}

/// Why a case does not reach the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotAdmitted {
    /// The party is at fault.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The process is about to end.
    #[error("the arbiter is about to stop")]
    Stopped,
}

impl Admission {
    /// Admits cases of `arbiter` with one worker a core.
    pub fn new(arbiter: ArbiterIdentity) -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        Self { arbiter: Arc::new(arbiter), workers: Arc::new(Semaphore::new(cores)) }
    }

    /// Verifies one case.
    pub async fn admit(&self, case: proto::Case) -> Result<Case, NotAdmitted> {
        let permit = Arc::clone(&self.workers).acquire_owned().await.map_err(|_| NotAdmitted::Stopped)?;
        let arbiter = Arc::clone(&self.arbiter);
        let verified = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            case.admit(&arbiter)
        });
        match verified.await {
            Ok(admitted) => Ok(admitted?),
            // A panic is a bug of ours: let it end this request as it would without the worker.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(NotAdmitted::Stopped),
        }
    }
}
