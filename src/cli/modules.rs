//! Payment modules from the configuration: ledgers and adapters. Nothing is connected yet.

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::pem;
use crate::config::{AdapterSettings, ConfigError, LedgerSettings, Settings};
use crate::modules::{Entry, GrpcAdapter, GrpcLedger, MESSAGE_BYTES, Modules, Reach};

/// Questions that a ledger is asked at one time.
const LEDGER_CALLS: usize = 64;

/// Every module that the configuration names. At most half of the uploads wait for modules, and a quarter for one of them: who
/// deposits a file finds a place, whatever modules do.
pub(super) fn load(settings: &Settings) -> Result<Modules, ConfigError> {
    let uploads = usize::try_from(settings.max_uploads()).unwrap_or(usize::MAX);
    let most = (uploads / 4).max(1);
    let ledgers = settings.ledgers.iter().map(|it| ledger(it, most));
    let adapters = settings.adapters.iter().map(|it| adapter(it, most));
    let entries = ledgers.chain(adapters).collect::<Result<Vec<_>, _>>()?;
    Ok(Modules::new(entries, (uploads / 2).max(1)))
}

fn ledger(settings: &LedgerSettings, most: usize) -> Result<Entry, ConfigError> {
    let timeout = Duration::from_secs(settings.timeout_seconds.clamp(1, 60));
    let ca = settings.ca.as_deref().map(|path| pem("ledgers.ca", path)).transpose()?;
    let reach = Reach { ca, ..Reach::plain(&settings.url, timeout) };
    let key = settings.public_key()?;
    let module = GrpcLedger::new(key, &reach)
        .map_err(|reason| ConfigError::Ledger { url: settings.url.clone(), reason })?;
    let (kind, calls) = (String::from("ledger"), LEDGER_CALLS.min(most));
    Ok(Entry { key, kind, module: Arc::new(module), calls, timeout })
}

fn adapter(settings: &AdapterSettings, most: usize) -> Result<Entry, ConfigError> {
    let wrong = |reason| ConfigError::Adapter { url: settings.url.clone(), reason };
    let timeout = Duration::from_secs(settings.timeout_seconds);
    let identity = match (&settings.client_cert, &settings.client_key) {
        (Some(cert), Some(key)) => {
            let key = Zeroizing::new(pem("adapters.client_key", key)?);
            Some((pem("adapters.client_cert", cert)?, key))
        }
        _ => None,
    };
    let reach = Reach {
        ca: settings.ca.as_deref().map(|path| pem("adapters.ca", path)).transpose()?,
        identity,
        token: settings.token.as_ref().map(|token| token.read().map_err(wrong)).transpose()?,
        max_message_bytes: usize::try_from(settings.max_message_bytes).unwrap_or(MESSAGE_BYTES),
        ..Reach::plain(&settings.url, timeout)
    };
    let key = settings.public_key()?;
    let kind = settings.kind.clone();
    let module = Arc::new(GrpcAdapter::new(key, kind.clone(), &reach).map_err(wrong)?);
    let calls = usize::try_from(settings.max_calls).unwrap_or(most).min(most);
    Ok(Entry { key, kind, module, calls, timeout })
}
