//! Taking an exchange from an evidence bundle into the journal: for a complaint after the journal was lost.
//!
//! ```text
//!  bundle ─▶ verify offer, acceptance, receipts ─▶ which party are we ─▶ record, as if ours may have left
//! ```
//!
//! Invariants
//! - Nothing is believed: every statement of the bundle is verified as if it came from the peer.
//! - A bundle does not say what was sent after it was written. So a first sender's item counts as sent, also that of a
//!   second sender whom the bundle shows to have seen the peer's money; another's does not leave before the peer's is here, and without an acceptance nothing is imported: an abort of
//!   something that was sent could cost the item.
//! - A detached signature of ours is the one in escrow, or it is not sent again: the peer would refuse another (R-311).

use std::io::Read as _;
use std::path::{Path, PathBuf};

use arbiter_protocol::escrow::signature_key::Kind;
use arbiter_protocol::exchange::item::Description;
use arbiter_protocol::exchange::kind::content::ContentCheck;
use arbiter_protocol::exchange::kind::pledge::{self, Pledge};
use arbiter_protocol::exchange::selection::{Protocol, Role};
use arbiter_protocol::ids::ExchangeId;
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::{Acceptance, Agreement, Offer};
use arbiter_protocol::message::payment::PaymentTerms;
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::role::{Ask, Phase, Session};
use arbiter_protocol::statement::Signed;
use zeroize::Zeroizing;

use crate::bundle::Bundle;
use crate::client::{Client, Give};
use crate::error::{Error, PeerFault, Usage};
use crate::give::{Own, check_pledge};
use crate::journal::Record;
use crate::ledger::till;

impl Client {
    /// Takes an exchange of ours from a bundle into the journal, to [`Client::complain`]. `files` are the file
    /// that we give, or the files of a package: they are deposited with the complaint. If our item is a detached signature that
    /// was made elsewhere, it may be the signature file; the complaint needs only the escrow that is in the bundle.
    ///
    /// For a party that lost its journal. Who still has one goes on with that.
    pub async fn import(&self, bundle: &Bundle, files: &[PathBuf]) -> Result<ExchangeId, Error> {
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
        if offer.selection.protocol == Protocol::Transfer {
            return Err(Usage::Given.into());
        }
        let acceptance = bundle.acceptance.clone().ok_or(Usage::NotAgreed)?;
        let acceptance = Signed::<Acceptance>::parse(acceptance).map_err(PeerFault::from)?;
        let acceptance = acceptance.verify(&offer.responder.signing_key).map_err(PeerFault::from)?;

        let timing = self.0.settings.timing_for(&offer, role);
        // Of a package the receipts of all payments, or none: what is missing is asked for again.
        let receipts = |role| {
            let (kept, terms) = (bundle.payments.of(role), PaymentTerms::all(&offer, role));
            if kept.len() != terms.len() {
                return Ok(Vec::new());
            }
            let both = kept.iter().zip(&terms);
            let read = both.map(|(envelope, terms)| till::receipt(envelope.clone(), terms));
            read.collect::<Result<Vec<_>, _>>().map_err(|_| Usage::BadBundle)
        };
        let (own_receipts, peer_receipts) = (receipts(role)?, receipts(role.peer())?);
        let (sent, phase) = reached(&offer, role, !peer_receipts.is_empty());
        let session = Session::restore(role, offer, Some(acceptance), sent, phase, timing);
        let session = session.map_err(|why| PeerFault::Rejected(why.into()))?;
        let agreement = session.agreement().ok_or(Error::Bug("an acceptance makes no agreement"))?;
        if let Some(transfer) = bundle.transfer(role.peer()) {
            let transfer = Signed::<Transfer>::parse(transfer.clone()).map_err(PeerFault::from)?;
            let transfer = transfer.verify_for(agreement, role.peer()).map_err(PeerFault::from)?;
            let item = agreement.offer().item(role.peer());
            if transfer.item == *item && !item.description.is_content() {
                return Err(Usage::Served.into());
            }
        }
        if bundle.signatures.of(role.peer()).is_some() {
            return Err(Usage::Served.into());
        }
        for receipt in &bundle.receipts {
            receipt.verify(agreement.offer(), None).map_err(|_| Usage::BadBundle)?;
        }
        let peer_pledge = match self.in_bundle(bundle, agreement, role.peer()).await? {
            None if pledge::is_owed(agreement.offer(), role.peer()) => return Err(Usage::BadBundle.into()),
            pledge => pledge,
        };
        let own = self.own_again(bundle, agreement, role, files).await?;
        let ordered = sent && own.files.is_empty();
        let own = Own { ordered, receipts: own_receipts, ..own };
        let mut record = Record::new(session, own, self.0.clock.now());
        record.peer_receipts = peer_receipts;
        record.peer_pledge = peer_pledge;
        record.keep(bundle.receipts.iter().map(|it| it.receipt.clone().into()).collect());
        record.sign_transfer(self.0.identity.signer());
        self.0.journal.put(&record).await?;
        Ok(id)
    }

    /// The pledge for a party's item in the bundle, fully checked (R-310).
    async fn in_bundle(
        &self,
        bundle: &Bundle,
        agreement: &Agreement,
        role: Role,
    ) -> Result<Option<Pledge>, Error> {
        let Some(pledge) = bundle.escrows.of(role) else { return Ok(None) };
        let id = (role == Role::Responder).then(|| agreement.id());
        let checked = check_pledge(agreement.offer(), id, pledge.to_bytes()).await?;
        Ok(Some(checked.map_err(|_| Usage::BadBundle)?.pledge()))
    }

    /// What we give, as it was: files, or a signature with its escrow.
    async fn own_again(
        &self,
        bundle: &Bundle,
        agreement: &Agreement,
        role: Role,
        files: &[PathBuf],
    ) -> Result<Own, Error> {
        let item = agreement.offer().item(role);
        let detached = item.description.detached_leaves();
        if detached.is_empty() {
            let give = match (&item.description, files) {
                (_, []) => Give::Nothing,
                (Description::Package(_), files) => Give::Files(files.to_vec()),
                (_, [file]) => Give::File(file.clone()),
                (_, files) => Give::Files(files.to_vec()),
            };
            let pledge = self.in_bundle(bundle, agreement, role).await?;
            return Ok(Own { pledge, ..self.own(item, give).await? });
        }
        let pledge = self.in_bundle(bundle, agreement, role).await?;
        let own_key = Kind::Ed25519(self.party().signing_key);
        let ours = detached.iter().all(|it| *it.key.kind() == own_key);
        let own = match (files, pledge.is_some()) {
            ([path], _) => self.own(item, Give::Signature(read_signature(path)?)).await?,
            ([_, ..], _) => {
                let all = files.iter().map(|path| read_signature(path)).collect::<Result<_, _>>()?;
                self.own(item, Give::Signatures(all)).await?
            }
            // Signed elsewhere: the arbiter can open what is in the bundle.
            ([], true) if !ours => return Ok(Own { pledge, ..Own::default() }),
            ([], _) => self.own(item, Give::Nothing).await?,
        };
        let own = self.sign(item, own).await?;
        let Some(pledge) = pledge else {
            let id = (role == Role::Responder).then(|| agreement.id());
            return self.put_into_escrow(agreement.offer(), id, own).await;
        };
        let check = ContentCheck::of(agreement.offer(), role, Some(&pledge));
        let mut check = check.ok_or(Error::Bug("a signature is no content"))?;
        let same = check.update(own.signature.as_deref().map_or(&[][..], Vec::as_slice));
        same.and_then(|()| check.finish()).map_err(|_| Usage::SignatureUnfit)?;
        Ok(Own { pledge: Some(pledge), ..own })
    }
}

/// How far an exchange may have come after its bundle was written: whether the own item may have left, and where to go on.
/// Who has seen the peer's money may have given its item for it.
fn reached(offer: &Offer, role: Role, peer_has_paid: bool) -> (bool, Phase) {
    let first = offer.selection.first_sender == role;
    match offer.selection.protocol {
        Protocol::BothDeposited => (true, Phase::Asking(Ask::Complain)),
        Protocol::MutualRollback | Protocol::RevokeOnSilence if !first && peer_has_paid => {
            (true, Phase::Settling)
        }
        _ => (first, Phase::Waiting),
    }
}

/// At most as many bytes as a signature has.
fn read_signature(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(limits::MODULUS_BYTES + 1));
    let limit = u64::try_from(limits::MODULUS_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let read = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|error| Error::file(path, error))?;
    Ok(bytes)
}
