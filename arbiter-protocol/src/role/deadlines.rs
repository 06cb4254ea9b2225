//! When: until when an item may leave, when a party turns to the arbiter, and when a claim is over.
//!
//! ```text
//!                      enter while      item leaves before       wake, to do what
//!  P1 with a deadline  deadline - 2m    first: deadline - m      deadline - m: resolve
//!  P2 first            complain_by-2m   complain_by - m          complain_by - m: complain
//!  P2 second           the same         whenever (R-303)         complain_by: abort
//!  P3 first (*)        send_by - 2m     send_by - m              send_by: revoke; nothing sent: send_by - m: abort
//!  P3 second           the same         send_by - m              send_by - m: nothing sent: abort; sent: deposit
//!  P4                  complain_by-2m   complain_by - m          complain_by - m: revoke; settling: never
//!  P5                  complain_by-2m   never                    complain_by - m: abort (no acceptance came)
//!  P6 first            complain_by-2m   complain_by - m          complain_by - m: deposit, then the affidavit
//!  P6 second           the same         whenever                 complain_by: abort
//!  T                   whenever         whenever                 never
//! ```
//! The deadline of P1 is `complain_by` if money is reserved, otherwise the end of the escrow key, if there is one.
//! (*) and only if `complain_by` is at least 2m after `send_by`.
//! `m` is the margin: clock difference, network, upload (R-304, R-308, R-312, R-313, R-314).

use crate::exchange::selection::Protocol;
use crate::role::session::{Ask, Outcome, Output, Phase, Session};
use crate::time::UnixMillis;
use crate::weaken::{Countermeasure, off};

impl Session {
    /// The protocol.
    pub fn protocol(&self) -> Protocol {
        self.offer().selection.protocol
    }

    /// Whether the own item may leave at this time, for the first time or again (R-304): who does not hold the peer's item
    /// for good sends only while it can still turn to the arbiter. A driver that performs
    /// [`Output::SendItem`] late, after a queue or a suspended process, asks right before the item leaves.
    pub fn may_send_item(&self, now: UnixMillis) -> bool {
        let completed = self.phase == Phase::Done(Outcome::Completed);
        let in_line = self.protocol() == Protocol::BothDeposited;
        self.sent && !in_line && (completed || self.is_in_time(now))
    }

    /// Once it has ended with the peer's item: whether nothing can come any more of holding the own payment. In P4 that is
    /// never certain.
    pub fn may_release(&self) -> bool {
        let payments = self.offer().item(self.role).description.payments();
        let held = payments.iter().any(|payment| payment.hold.is_some());
        self.sent && self.protocol() != Protocol::MutualRollback && held
    }

    /// R-304, R-312, R-313: a party begins only if turning to the arbiter will still be possible.
    pub(super) fn has_time_to_complain(&self, now: UnixMillis) -> bool {
        let margin = self.timing.complain_margin;
        let offer = self.offer();
        let by = offer.send_by.or_else(|| offer.deadline());
        let in_time = by.is_none_or(|by| now.after(margin).after(margin) <= by);
        (in_time || off(Countermeasure::SendOnlyInTime)) && self.has_time_to_revoke()
    }

    /// R-313: who pays first in P3 can revoke only from `send_by` to `complain_by`, and needs time for that as for any other
    /// claim. The peer may have chosen the times.
    fn has_time_to_revoke(&self) -> bool {
        let margin = self.timing.complain_margin;
        let window = self.offer().send_by.zip(self.offer().complain_by).filter(|_| self.is_first());
        let enough = |(from, to): (UnixMillis, UnixMillis)| from.after(margin).after(margin) <= to;
        window.is_none_or(enough) || off(Countermeasure::TimeToRevoke)
    }

    /// R-304: whether an item that leaves now can still be complained about, or given to the arbiter. Who sends second in P1,
    /// P2 and P6 has the peer's item by then, and need not ask.
    pub(super) fn is_in_time(&self, now: UnixMillis) -> bool {
        let offer = self.offer();
        let by = match self.protocol() {
            Protocol::RevokeOnSilence => offer.send_by,
            _ => offer.deadline(),
        };
        by.is_none_or(|by| now < by.before(self.timing.complain_margin))
            || off(Countermeasure::SendOnlyInTime)
    }

    /// Whether a claim that was refused is too late for certain.
    pub(super) fn claim_is_over(&self, now: UnixMillis, ask: Ask) -> bool {
        let offer = self.offer();
        let by = match ask {
            Ask::Abort | Ask::Fetch => None,
            // An affidavit is signed at the deadline, not before it.
            Ask::Resolve if self.protocol() == Protocol::Affidavit => None,
            Ask::Complain | Ask::Resolve => offer.deadline(),
            Ask::Deposit => offer.send_by,
            Ask::Revoke => offer.complain_by,
        };
        let over = |by: UnixMillis| now >= by.after(self.timing.complain_margin);
        by.is_some_and(|by| over(by) || off(Countermeasure::RefusalsAreNotTrusted))
    }

    /// When a request that was refused is worth asking again, if that is known: what is too early is kept by the arbiter and
    /// decided in its time (R-424).
    pub(super) fn ask_again(&self, now: UnixMillis, ask: Ask) -> UnixMillis {
        let offer = self.offer();
        let later = match ask {
            Ask::Abort | Ask::Resolve if self.protocol() == Protocol::Affidavit => offer.complain_by,
            // It may be the deposit that was refused, or a refusal that was forged: again while there is time for it.
            Ask::Complain if self.protocol() == Protocol::Affidavit => {
                offer.complain_by.map(|by| by.before(self.timing.complain_margin))
            }
            Ask::Revoke => offer.send_by,
            _ => None,
        };
        later.unwrap_or(now)
    }

    /// Whether the own item can be sent through the arbiter.
    pub(super) fn is_own_item_depositable(&self) -> bool {
        self.offer().item(self.role).description.is_depositable()
    }

    /// When to wake, to turn to the arbiter in time or because waiting is over.
    pub(super) fn wake_time(&self) -> Option<UnixMillis> {
        let offer = self.offer();
        let margin = self.timing.complain_margin;
        let in_time = offer.deadline().map(|by| by.before(margin));
        match self.protocol() {
            Protocol::ContractSigning | Protocol::VerifyThenGenerate if self.phase == Phase::Settling => None,
            Protocol::ContractSigning => in_time,
            Protocol::Affidavit | Protocol::VerifyThenGenerate if self.is_first() => in_time,
            Protocol::Affidavit | Protocol::VerifyThenGenerate => offer.complain_by,
            Protocol::RevokeOnSilence if self.is_first() && self.sent => offer.send_by,
            Protocol::RevokeOnSilence => offer.send_by.map(|by| by.before(margin)),
            Protocol::MutualRollback if self.phase == Phase::Settling => None,
            Protocol::BothDeposited | Protocol::MutualRollback => in_time,
            Protocol::Transfer => None,
        }
    }

    pub(super) fn deadline_is_near(&self, now: UnixMillis) -> bool {
        self.wake_time().is_some_and(|time| now >= time)
    }

    pub(super) fn alarm(&self) -> Vec<Output> {
        self.wake_time().map(Output::WakeAt).into_iter().collect()
    }
}
