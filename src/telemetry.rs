//! Logs: `tracing` events to stderr, as text or JSON. stdout belongs to results.
//!
//! What is logged: one line a ruling with exchange id, rule, leaf and role; refusals; start and stop; what an
//! operator must act on. Never items, keys, statements or names of parties.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{ConfigError, LogFormat};

/// Reads a filter such as `info,arbiter=debug`.
pub fn filter(text: &str) -> Result<EnvFilter, ConfigError> {
    EnvFilter::try_new(text).map_err(|_| ConfigError::Value {
        setting: "log_filter",
        found: format!("{text:?}"),
        expected: "it must be a level (error, warn, info, debug, trace) or directives such as info,arbiter=debug",
    })
}

/// Starts logging, once in a process; later calls change nothing.
pub fn start(format: LogFormat, directives: &str) -> Result<(), ConfigError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(directives)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // Only a second start can fail, and then the first one counts.
    let _started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    Ok(())
}
