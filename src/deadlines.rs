//! Requests that came too early are decided when their time has come (R-424), also after a restart.
//!
//! ```text
//!  request, too early ──commit──▶ store, by time ──▶ wait for the arbiter's clock ──▶ file it again ──▶ verdict
//! ```
//! The rules know the time as an argument, so nothing here decides: a party that asked once and went away gets what it would
//! get if it asked again. Who asks while a request stands gets the refusal that says until when.

use std::time::Duration;

use arbiter_protocol::exchange::selection::ByRole;
use arbiter_protocol::time::UnixMillis;

use crate::engine::{EngineError, Handle, blocking};
use crate::store::Due;

/// The clock may be set: it is looked at again after this long at the latest.
const LONGEST: Duration = Duration::from_secs(30);
/// What cannot be decided now is tried again after this long.
const AGAIN: Duration = Duration::from_secs(5);
/// Requests read at a time.
const PAGE: usize = 256;

/// Runs until it is dropped or the engine has ended.
pub async fn run(engine: Handle) {
    let mut changed = engine.new_standing();
    loop {
        changed.mark_unchanged();
        let wait = match pass(&engine).await {
            Ok(wait) => wait,
            Err(EngineError::ReadOnly | EngineError::Stopped) => return,
            Err(error) => {
                tracing::error!(%error, "requests that wait for their time cannot be decided");
                AGAIN
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = changed.changed() => if changed.is_err() { return },
            _ = engine.ended() => return,
        }
    }
}

/// Decides all that is due; returns how long to wait for the next.
async fn pass(engine: &Handle) -> Result<Duration, EngineError> {
    loop {
        let (store, now) = (engine.clone(), engine.now());
        let page = blocking(move || store.standing(PAGE)).await?;
        let due = page.iter().filter(|due| due.at <= now).count();
        let mut decided = 0usize;
        for due in page.iter().take(due) {
            decided = decided.saturating_add(usize::from(decide(engine, *due).await?));
        }
        if due == 0 || decided < due {
            let next = page.get(due).map(|it| it.at);
            let failed = decided < due;
            return Ok(if failed { AGAIN } else { until(now, next) });
        }
    }
}

/// Files one request again; whether it does not stand any more.
async fn decide(engine: &Handle, due: Due) -> Result<bool, EngineError> {
    let reader = engine.clone();
    let case = match blocking(move || reader.standing_case(&due)).await {
        Ok(Some(case)) => case,
        Ok(None) => return Ok(true),
        // The operator has been told; others must not wait for it.
        Err(EngineError::Damaged) => return Ok(false),
        Err(error) => return Err(error),
    };
    let (exchange, role) = (due.exchange, due.role);
    match engine.file(case, ByRole::default()).await {
        Ok(_) => {
            tracing::info!(%exchange, requested_by = %role, rule = "R-424", "a request was decided in its time");
            Ok(true)
        }
        Err(error @ (EngineError::ReadOnly | EngineError::Stopped)) => Err(error),
        Err(error) => {
            tracing::warn!(%exchange, requested_by = %role, %error, "a request that stood cannot be decided");
            Ok(false)
        }
    }
}

fn until(now: UnixMillis, next: Option<UnixMillis>) -> Duration {
    let wait = next.map_or(LONGEST, |next| Duration::from_millis(next.0.saturating_sub(now.0)));
    // Never quite to the millisecond: the clock of the arbiter and the one that wakes are two.
    wait.saturating_add(Duration::from_millis(1)).min(LONGEST)
}
