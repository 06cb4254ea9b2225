//! Requests that came too early are decided when their time has come (R-424), also after a restart.
//!
//! ```text
//!  request, too early ──commit──▶ store, by time ──▶ wait for the arbiter's clock ──▶ file it again ──▶ verdict
//! ```
//! The rules know the time as an argument, so nothing here decides: a party that asked once and went away gets what it would
//! get if it asked again. Who asks while a request stands gets the refusal that says until when.

use std::time::Duration;

use arbiter_protocol::exchange::selection::ByRole;
use arbiter_protocol::role::arbiter::Case;
use arbiter_protocol::time::UnixMillis;
use tokio::task::JoinSet;

use crate::engine::{EngineError, Handle, blocking};
use crate::store::Due;

/// The clock may be set: it is looked at again after this long at the latest.
const LONGEST: Duration = Duration::from_secs(30);
/// What cannot be decided now is tried again after this long.
const AGAIN: Duration = Duration::from_secs(5);
/// Requests read at a time, and filed at once.
const PAGE: usize = 256;

/// Requests with what is known of each.
type Cases = Vec<(Due, Result<Option<Case>, EngineError>)>;

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

/// Decides all that is due; returns how long to wait for the next. What cannot be decided stays, and nobody waits for it.
async fn pass(engine: &Handle) -> Result<Duration, EngineError> {
    let (mut after, mut failed) = (None, false);
    loop {
        let (reader, now) = (engine.clone(), engine.now());
        let (cases, next) = blocking(move || {
            let mut page = reader.standing(after.as_ref(), PAGE)?;
            let next = page.iter().find(|it| it.at > now).map(|it| it.at);
            page.retain(|it| it.at <= now);
            let cases: Cases = page.into_iter().map(|due| (due, reader.standing_case(&due))).collect();
            Ok((cases, next))
        })
        .await?;
        let more = cases.len() == PAGE;
        after = cases.last().map(|(due, _)| *due);
        failed |= !decide(engine, cases).await?;
        if !more {
            let wait = until(now, next);
            return Ok(if failed { wait.min(AGAIN) } else { wait });
        }
    }
}

/// Files requests again, all at once so that they share a commit; whether none of them stands any more.
async fn decide(engine: &Handle, cases: Cases) -> Result<bool, EngineError> {
    let (mut filed, mut all) = (JoinSet::new(), true);
    for (due, case) in cases {
        match case {
            Ok(Some(case)) => {
                let engine = engine.clone();
                filed.spawn(async move { (due, engine.file(case, ByRole::default()).await) });
            }
            Ok(None) => {}
            // The operator has been told.
            Err(EngineError::Damaged) => all = false,
            Err(error) => return Err(error),
        }
    }
    while let Some(answer) = filed.join_next().await {
        let (Due { exchange, role, .. }, answer) = answer.map_err(|_| EngineError::Stopped)?;
        match answer {
            Ok(_) => {
                tracing::info!(%exchange, requested_by = %role, rule = "R-424", "a request was decided in its time");
            }
            Err(error @ (EngineError::ReadOnly | EngineError::Stopped)) => return Err(error),
            Err(error) => {
                tracing::warn!(%exchange, requested_by = %role, %error, "a request that stood cannot be decided");
                all = false;
            }
        }
    }
    Ok(all)
}

fn until(now: UnixMillis, next: Option<UnixMillis>) -> Duration {
    let wait = next.map_or(LONGEST, |next| Duration::from_millis(next.0.saturating_sub(now.0)));
    // Never quite to the millisecond: the clock of the arbiter and the one that wakes are two.
    wait.saturating_add(Duration::from_millis(1)).min(LONGEST)
}
