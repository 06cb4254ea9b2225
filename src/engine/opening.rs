//! Opening escrows: what a verdict takes out of escrow is sealed to the signer's peer before the case is filed (R-411).
//!
//! ```text
//!  resolve ─▶ precheck ─┬─ replayed or refused ─▶ file: nothing is opened
//!                       └─ would be ruled now ─▶ open each escrow ─▶ seal to the peer ─▶ draft ─▶ file
//!                                                   │ none of its instances opens
//!                                                   └─▶ full check: false? the filer's fault    true? alarm
//! ```
//!
//! Invariants
//! - A signature is in the clear only between opening and sealing, on one thread, and wiped there. It is never
//!   stored, logged or counted otherwise.
//! - The signatures of a package are opened, sealed and stored as one content (R-320): all of them or none.
//! - At most [`openings`] escrows are opened at one time. Full checks, which a false escrow can make long, have one
//!   place of their own: who files false escrows waits for other false escrows, not the honest for them.
//! - Whoever goes away before the case is filed leaves nothing: drafts remove themselves.

use std::sync::Arc;

use arbiter_protocol::crypto::Sealer;
use arbiter_protocol::error::{Refused, Rejected};
use arbiter_protocol::escrow::Escrow;
use arbiter_protocol::exchange::kind::content::FitContent;
use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::message::agreement::Agreement;
use arbiter_protocol::role::arbiter::Case;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::draft::Draft;
use super::{EngineError, Filed, Handle, Precheck};
use crate::store::ContentHead;
use std::sync::atomic::Ordering;

/// Opened signatures, sealed and stored, by the role of the signer.
type Drafts = ByRole<Option<(FitContent, Draft)>>;

/// Room for the work on escrows.
#[derive(Debug)]
pub(super) struct Benches {
    /// Opening: well below a millisecond for a good escrow, some milliseconds for a false one.
    openings: Arc<Semaphore>,
    /// Full checks: up to a second for the largest RSA key.
    blames: Arc<Semaphore>,
    /// The caller's thread does the work, after having been polled once more.
    #[cfg(any(test, feature = "testing"))]
    by_hand: std::sync::atomic::AtomicBool,
}

impl Default for Benches {
    fn default() -> Self {
        Self {
            openings: Arc::new(Semaphore::new(openings())),
            blames: Arc::new(Semaphore::new(1)),
            #[cfg(any(test, feature = "testing"))]
            by_hand: std::sync::atomic::AtomicBool::new(false),
        }
    }
}

/// How many escrows are opened at one time: one a core.
fn openings() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

impl Benches {
    /// Runs work that takes milliseconds off the threads that serve.
    async fn on_worker<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        #[cfg(any(test, feature = "testing"))]
        if self.is_by_hand() {
            once_more().await;
            return Ok(work());
        }
        tokio::task::spawn_blocking(work).await.or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(EngineError::Stopped),
        })
    }

    /// Goes on to the end, even if nobody waits for it any more.
    async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, EngineError> {
        #[cfg(any(test, feature = "testing"))]
        if self.is_by_hand() {
            return Ok(work.await);
        }
        tokio::spawn(work).await.map_err(|_| EngineError::Stopped)
    }

    /// From now on nothing runs on another thread or as a task: who polls does it, and polls to the end.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn by_hand(&self) {
        self.by_hand.store(true, Ordering::SeqCst);
        // The same on every machine: openings that are polled in turn must not wait for a core.
        self.openings.add_permits(1_000);
    }

    #[cfg(any(test, feature = "testing"))]
    fn is_by_hand(&self) -> bool {
        self.by_hand.load(Ordering::SeqCst)
    }
}

/// Ready when it is polled again: there others may come in between.
#[cfg(any(test, feature = "testing"))]
async fn once_more() {
    let mut polled = false;
    std::future::poll_fn(|_| match std::mem::replace(&mut polled, true) {
        false => std::task::Poll::Pending,
        true => std::task::Poll::Ready(()),
    })
    .await;
}

/// Why an escrow was not opened.
enum Unopened {
    /// Nothing in it opens: whose fault that is takes a full check.
    Nothing(Role),
    /// Anything else.
    Because(EngineError),
}

impl From<EngineError> for Unopened {
    fn from(error: EngineError) -> Self {
        Self::Because(error)
    }
}

impl From<Refused> for Unopened {
    fn from(refused: Refused) -> Self {
        Self::Because(refused.into())
    }
}

impl Handle {
    /// Files a request to resolve. If a verdict would be made now that takes signatures out of escrow, they are
    /// opened first. There is no limit to what is held then: a full arbiter must still restore fairness, and a signature
    /// is small.
    pub async fn resolve(&self, case: Case) -> Result<Filed, EngineError> {
        if case.to_open().is_empty() {
            return self.file(case, ByRole::default()).await;
        }
        let case = Arc::new(case);
        let (engine, asked) = (self.clone(), Arc::clone(&case));
        let benches = &self.shared.benches;
        if benches.on_worker(move || engine.precheck(&asked)).await?? != Precheck::EscrowsWanted {
            return self.file(Arc::unwrap_or_clone(case), ByRole::default()).await;
        }
        let drafts = self.open(&case).await?;
        // A task of its own: a caller that goes away now must not decide what becomes of the contents.
        benches.to_the_end(self.clone().settle(Arc::unwrap_or_clone(case), drafts)).await?
    }

    async fn settle(self, case: Case, drafts: Drafts) -> Result<Filed, EngineError> {
        let named = drafts.map(|_, draft| draft.as_ref().map(|(fit, draft)| (fit.clone(), draft.content())));
        let filed = self.file(case, named).await;
        // After `Overloaded` the engine does not know of the contents: the drafts remove themselves.
        if filed != Err(EngineError::Overloaded) {
            let ByRole { originator, responder } = drafts;
            [originator, responder].into_iter().flatten().for_each(|(_, draft)| draft.keep());
        }
        filed
    }

    async fn open(&self, case: &Arc<Case>) -> Result<Drafts, EngineError> {
        let opening = Arc::clone(&self.shared.benches.openings).acquire_owned().await;
        let (engine, asked) = (self.clone(), Arc::clone(case));
        let opened = self.shared.benches.on_worker(move || {
            let _opening = opening;
            engine.open_all(&asked)
        });
        let role = match opened.await? {
            Ok(drafts) => return Ok(drafts),
            Err(Unopened::Because(error)) => return Err(error),
            Err(Unopened::Nothing(role)) => role,
        };
        let blame = Arc::clone(&self.shared.benches.blames).acquire_owned().await;
        let (engine, asked) = (self.clone(), Arc::clone(case));
        let blamed = self.shared.benches.on_worker(move || {
            let _blame = blame;
            engine.blame(&asked, role)
        });
        Err(blamed.await?)
    }

    fn open_all(&self, case: &Case) -> Result<Drafts, Unopened> {
        let mut drafts = Drafts { originator: None, responder: None };
        for role in case.to_open() {
            *drafts.of_mut(role) = Some(self.open_one(case, role)?);
        }
        Ok(drafts)
    }

    fn open_one(&self, case: &Case, role: Role) -> Result<(FitContent, Draft), Unopened> {
        let (agreement, escrows) = filed(case, role)?;
        let offer = agreement.offer();
        let terms = offer.escrow.as_ref().ok_or(Refused::EscrowNotAgreed)?;
        let keys = self.escrow_keys();
        let Some(secret) = keys.secret(&terms.key) else {
            let (now, epoch, until) = (self.now(), terms.epoch.epoch, terms.epoch.until);
            if now >= until {
                return Err(Refused::EscrowKeyRetired { now, until }.into());
            }
            let exchange = case.exchange_id();
            tracing::error!(%exchange, epoch, %until, "ALARM: the escrow key of this epoch is lost: restore its file");
            return Err(Refused::EscrowKeyUnknown.into());
        };
        let (fit, signature) = match Place::of(offer, role, agreement.id()).open_all(escrows, secret) {
            Ok(opened) => opened,
            // What does not even belong here was refused when the case was admitted.
            Err(Rejected::Refused(Refused::EscrowUnopenable { .. }) | Rejected::Invalid(_)) => {
                return Err(Unopened::Nothing(role));
            }
            Err(Rejected::Refused(refused)) => return Err(refused.into()),
        };
        let draft = self.seal(agreement, role, signature)?;
        let opened = u64::try_from(escrows.len()).unwrap_or(u64::MAX);
        self.shared.tally.escrows_opened.fetch_add(opened, Ordering::Relaxed);
        Ok((fit, draft))
    }

    /// Seals an opened signature to the signer's peer and stores it. The signature is wiped on the way out.
    fn seal(
        &self,
        agreement: &Agreement,
        signer: Role,
        signature: Zeroizing<Vec<u8>>,
    ) -> Result<Draft, EngineError> {
        let unsealed = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "a signature out of escrow cannot be sealed");
            EngineError::Unsealed
        };
        let mut randomness = Zeroizing::new([0; 32]);
        getrandom::fill(randomness.as_mut_slice()).map_err(|error| unsealed(&error))?;
        let peer = &agreement.offer().party(signer.peer()).sealing_key;
        let sealer = Sealer::new(peer, &agreement.seal_context(signer), &randomness);
        let mut sealer = sealer.map_err(|error| unsealed(&error))?;
        let sealed = sealer.seal(&signature, true).map_err(|error| unsealed(&error))?;
        let size = u64::try_from(signature.len()).unwrap_or(u64::MAX);
        let draft = Draft::begin(self.clone(), size, u64::MAX)?;
        draft.put(0, &sealed)?;
        draft.finish(&ContentHead { encapsulated: *sealer.encapsulated(), chunks: 1 })?;
        Ok(draft)
    }

    /// Nothing opens. A false proof is the fault of who filed it; a true one means that our key, our program or the
    /// scheme is broken, and nobody else may be told that it is their fault.
    fn blame(&self, case: &Case, role: Role) -> EngineError {
        let (agreement, escrows) = match filed(case, role) {
            Ok(filed) => filed,
            Err(refused) => return refused.into(),
        };
        let exchange = case.exchange_id();
        let place = Place::of(agreement.offer(), role, agreement.id());
        match place.check(Pledge::Escrows(escrows.to_vec())) {
            Err(rejected) => {
                self.shared.tally.escrows_false.fetch_add(1, Ordering::Relaxed);
                let (requested_by, proof) = (case.request().role, rejected.reason());
                tracing::warn!(%exchange, signer = %role, %requested_by, proof, rule = "R-411", "a false escrow was filed");
                Refused::EscrowUnopenable { signer: role.name() }.into()
            }
            Ok(_) => {
                tracing::error!(
                    %exchange, signer = %role,
                    "ALARM: an escrow that passes the full check does not open: the key file is not the one that was \
                     published, or this program is broken; stop, and compare with another copy of both"
                );
                EngineError::Damaged
            }
        }
    }
}

/// What was filed for `role`: of a package the escrow of each of its signatures.
fn filed(case: &Case, role: Role) -> Result<(&Agreement, &[Escrow]), Refused> {
    let agreement = case.agreement().ok_or(Refused::AcceptanceRequired)?;
    let escrows = case.escrows().of(role).as_ref().map_or(&[][..], Pledge::escrows);
    if escrows.is_empty() {
        Err(Refused::EscrowRequired { signer: role.name() })
    } else {
        Ok((agreement, escrows))
    }
}
