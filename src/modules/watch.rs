//! Asks every module what it is: at the start, then every minute. The operator reads what is wrong; the rest is served.
//!
//! ```text
//!  start, every minute ─▶ about, all at once ─▶ kept: what is published, and what is not even asked
//!                                            └▶ changed? one log line
//! ```

use std::sync::Arc;
use std::time::Duration;

use arbiter_protocol::ids::PublicKey;
use tokio::task::JoinSet;

use super::{About, ModuleError, Modules, Power, Seat, too_slow};

/// Modules come, go and change behind their addresses.
const AGAIN: Duration = Duration::from_secs(60);

impl Modules {
    /// Runs until it is dropped.
    pub async fn watch(self: Arc<Self>) {
        if self.seats.is_empty() {
            return;
        }
        loop {
            Arc::clone(&self).ask().await;
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Asks every module once, all at the same time.
    pub async fn ask(self: Arc<Self>) {
        let mut asking = JoinSet::new();
        for key in self.keys() {
            let modules = Arc::clone(&self);
            asking.spawn(async move {
                if let Some(seat) = modules.seats.get(&key) {
                    ask(&key, seat).await;
                }
            });
        }
        asking.join_all().await;
    }
}

async fn ask(key: &PublicKey, seat: &Seat) {
    let said = tokio::time::timeout(seat.timeout, seat.module.about()).await;
    let said = said.unwrap_or_else(|_| Err(too_slow()));
    let before = seat.keep(said.clone());
    if before.as_ref() != Some(&said) {
        report(key, &seat.kind, &said);
    }
}

/// One line for the operator, and what parties had better not agree on.
fn report(module: &PublicKey, kind: &str, said: &Result<About, ModuleError>) {
    let about = match said {
        Ok(about) => about,
        Err(error @ ModuleError::Unreachable(_)) => {
            return tracing::warn!(%module, kind, %error, "a payment module does not answer; the others are served");
        }
        Err(error) => {
            return tracing::error!(%module, kind, %error, "a payment module is not usable; the others are served");
        }
    };
    let (name, currencies) = (&about.name, about.currencies.len());
    tracing::info!(%module, kind, name, powers = ?about.powers, currencies, "payment module ready");
    if !about.can(Power::Verify) {
        tracing::warn!(%module, kind, "this module cannot be asked how a payment stands: parties must bring its receipts");
    }
    if !about.can(Power::Revoke) {
        tracing::warn!(
            %module,
            kind,
            "this module cannot surely give held money back: agreements on held payments there are not fair"
        );
    }
}
