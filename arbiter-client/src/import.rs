//! Taking an exchange from an evidence bundle into the journal: for a complaint after the journal was lost.
//!
//! ```text
//!  bundle ─▶ verify offer, acceptance, receipts ─▶ which party are we ─▶ record, as if ours may have left
//! ```
//!
//! Invariants
//! - Nothing is believed: every statement of the bundle is verified as if it came from the peer.
//! - A bundle does not say what was sent after it was written. So a first sender's item counts as sent, a second
//!   sender's does not leave before the peer's is here, and without an acceptance nothing is imported: an abort of
//!   something that was sent could cost the item.

use std::path::Path;

use arbiter_protocol::exchange::item::Description;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::ids::ExchangeId;
use arbiter_protocol::message::agreement::{Acceptance, Offer};
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::role::{Phase, Session};
use arbiter_protocol::statement::Signed;

use crate::bundle::Bundle;
use crate::client::Client;
use crate::error::{Error, PeerFault, Usage};
use crate::journal::Record;

impl Client {
    /// Takes an exchange of ours from a bundle into the journal, to [`Client::complain`]. `file` is the file that
    /// we give, if our item is one: it is deposited with the complaint.
    ///
    /// For a party that lost its journal. Who still has one goes on with that.
    pub async fn import(&self, bundle: &Bundle, file: Option<&Path>) -> Result<ExchangeId, Error> {
        let offer = Signed::<Offer>::parse(bundle.offer.clone()).map_err(PeerFault::from)?;
        let offer = offer.verify_offer().map_err(PeerFault::from)?;
        if offer.arbiter != self.0.pinned {
            return Err(PeerFault::OtherArbiter.into());
        }
        let roles = [Role::Originator, Role::Responder];
        let role = roles.into_iter().find(|role| *offer.party(*role) == self.party());
        let role = role.ok_or(Usage::NotAParty)?;
        let id = offer.exchange_id();
        if self.0.journal.find(&id).await?.is_some() {
            return Err(Usage::Known(id).into());
        }
        let acceptance = bundle.acceptance.clone().ok_or(Usage::NotAgreed)?;
        let acceptance = Signed::<Acceptance>::parse(acceptance).map_err(PeerFault::from)?;
        let acceptance = acceptance.verify(&offer.responder.signing_key).map_err(PeerFault::from)?;

        let timing = self.0.settings.timing_for(&offer, role);
        let sent = offer.selection.first_sender == role;
        let own_file = self.own_file(offer.item(role), file).await?;
        let session = Session::restore(role, offer, Some(acceptance), sent, Phase::Waiting, timing);
        let session = session.map_err(|why| PeerFault::Rejected(why.into()))?;
        let agreement = session.agreement().ok_or(Error::Bug("an acceptance makes no agreement"))?;
        if let Some(transfer) = bundle.transfer(role.peer()) {
            let transfer = Signed::<Transfer>::parse(transfer.clone()).map_err(PeerFault::from)?;
            let transfer = transfer.verify_for(agreement, role.peer()).map_err(PeerFault::from)?;
            let item = agreement.offer().item(role.peer());
            if transfer.item == *item && matches!(item.description, Description::Signature(_)) {
                return Err(Usage::Served.into());
            }
        }
        for receipt in &bundle.receipts {
            receipt.verify(agreement.offer(), None).map_err(|_| Usage::BadBundle)?;
        }
        let mut record = Record::new(session, own_file, self.0.clock.now());
        record.keep(bundle.receipts.clone());
        record.sign_transfer(self.0.identity.signer());
        self.0.journal.put(&record).await?;
        Ok(id)
    }
}
