//! Checks of detached signatures in a bundle: certificates, escrows, the signatures themselves, files beside it.
//!
//! ```text
//!  item ─▶ certificate of its key?       escrow ─▶ whole proof (R-310)       receipt's escrow ─▶ the same one?
//!  signature ─▶ strict check under the item's key ─▶ the one that was sealed? (R-311)
//! ```
//!
//! Invariants
//! - A signature counts only with an exchange that was completed or resolved.
//! - Nothing here is taken from what a signer says about itself but the key that the agreement names.

use arbiter_protocol::escrow::Escrow;
use arbiter_protocol::exchange::item::DetachedSignature;
use arbiter_protocol::exchange::kind::content::ContentCheck;
use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::ids::Digest;
use arbiter_protocol::message::agreement::{Agreement, Offer};
use arbiter_protocol::message::verdict::Ruling;
use arbiter_protocol::ruling::receipt::{Proven, Receipt};
use arbiter_protocol::statement::Verified;

use super::{Desk, FileFacts, SignatureReport, Statements};
use crate::bundle::Bundle;
use crate::explain::keys;
use crate::plain;

impl Desk<'_> {
    pub(super) fn certificates(&mut self, offer: &Offer) {
        for role in Role::BOTH {
            let Some(item) = offer.item(role).description.detached() else { continue };
            let name = format!("certificate-{role}");
            match keys::certificate(item) {
                Ok(None) => {}
                Ok(Some(certificate)) => self.pass(
                    &name,
                    format!(
                        "the certificate is of the key that signs; it names {}, says {} (issuer not checked)",
                        plain::clip(certificate.subject(), 100),
                        plain::clip(certificate.issuer(), 100)
                    ),
                ),
                Err(why) => self.fail(&name, format!("{why}: do not take its name for the signer's")),
            }
        }
    }

    /// R-310 once more, for each pledge in the bundle: which escrows are there. `None` if one does not belong here or is
    /// false.
    pub(super) fn escrows(
        &mut self,
        bundle: &Bundle,
        offer: &Verified<Offer>,
        agreement: Option<&Agreement>,
    ) -> Option<ByRole<bool>> {
        let mut sealed = ByRole::default();
        for (role, pledge) in bundle.escrows.iter() {
            let Some(pledge) = pledge else { continue };
            let name = name_of(pledge, role);
            let place = match (role, agreement) {
                (Role::Originator, _) => Place::originator(offer),
                (Role::Responder, Some(agreement)) => Place::responder(offer, agreement.id()),
                (Role::Responder, None) => {
                    self.fail(
                        &name,
                        "there is a pledge but no acceptance that it could stand beside".to_owned(),
                    );
                    return None;
                }
            };
            let until =
                offer.escrow.as_ref().map_or_else(String::new, |terms| plain::time(terms.epoch.until));
            self.record(&name, place.check(pledge.clone()), |pledged| match pledged.escrow() {
                Some(_) => format!(
                    "whole proof checked: the {role}'s finished signature is inside, and the arbiter can open it, until \
                     {until}; the escrow shows nothing of it"
                ),
                None => format!(
                    "receipt signed by the agreed ledger: the {role}'s payment was set aside for exactly this exchange, and \
                     the arbiter could have it posted"
                ),
            })?;
            *sealed.of_mut(role) = pledge.escrow().is_some();
        }
        Some(sealed)
    }

    /// The pledges that a verdict rests on. That they belong to the agreement was checked with the rules; what the
    /// arbiter opened may have a false proof, for it needs less to open than a peer needs to be sure.
    pub(super) fn opened(
        &mut self,
        bundle: &Bundle,
        receipt: &Receipt,
        proven: &Proven,
        offer: &Verified<Offer>,
    ) {
        for (role, pledge) in receipt.evidence.escrows.iter() {
            let (Some(pledge), Some(agreement)) = (pledge, &proven.agreement) else { continue };
            let name = format!("verdict-{}", name_of(pledge, role));
            if pledge.escrow().is_none() {
                self.pass(
                    &name,
                    format!("the {role}'s payment was reserved: the arbiter ordered it to be posted"),
                );
                continue;
            }
            if bundle.escrows.of(role).as_ref() == Some(pledge) {
                self.pass(&name, format!("what the arbiter opened is the {role}'s escrow in this bundle"));
                continue;
            }
            match Place::of(offer, role, agreement.id()).check(pledge.clone()) {
                Ok(_) => self.pass(
                    &name,
                    format!(
                        "whole proof checked: the {role}'s finished signature is in what the arbiter opened"
                    ),
                ),
                Err(why) => {
                    self.pass(&name, format!("what the arbiter opened was made for the {role} here"));
                    self.warnings.push(format!(
                        "The escrow of the {role}'s signature that the arbiter opened does not pass the whole check \
                         ({why}). Only the arbiter's word says that the signature was in it."
                    ));
                }
            }
        }
    }

    /// R-311: whose signature is here. `None` if one is bad or must not be shown.
    pub(super) fn signatures(&mut self, bundle: &Bundle, offer: &Offer) -> Option<ByRole<bool>> {
        let mut signed = ByRole::default();
        for (role, signature) in bundle.signatures.iter() {
            let Some(signature) = signature else { continue };
            let name = format!("signature-{role}");
            let Some(item) = offer.item(role).description.detached() else {
                self.fail(
                    &name,
                    format!("there is a detached signature, but the {role} was to give something else"),
                );
                return None;
            };
            if !bundle.may_show_signatures() {
                self.fail(
                    &name,
                    format!(
                        "the exchange is {}: no honest bundle shows a signature before both have what they are due",
                        bundle.shown()
                    ),
                );
                return None;
            }
            let escrow = escrow_of(bundle, role);
            let one = if escrow.is_some() { ", and it is the one that was sealed" } else { "" };
            self.record(&name, check(item, escrow, signature), |()| {
                format!(
                    "strictly valid under the {role}'s key ({}) over \"{}\"{one}; an ordinary signature, it says nothing \
                     about this exchange by itself",
                    plain::key(&item.key),
                    plain::clip(&item.statement.title, 60)
                )
            })?;
            *signed.of_mut(role) = true;
        }
        Some(signed)
    }

    /// Whether a file beside the bundle is the text of a signature, or a signature: of this exchange (what it is), a
    /// valid one of another (`Some` reason), or neither.
    pub(super) fn signature_file(
        &self,
        bundle: &Bundle,
        offer: &Offer,
        file: &FileFacts,
    ) -> Result<String, Option<String>> {
        let bytes = file.small().ok_or(None)?;
        let mut fault = None;
        for role in Role::BOTH {
            let Some(item) = offer.item(role).description.detached() else { continue };
            if bytes == item.statement.document().as_bytes() {
                return Ok(format!("{} is, byte for byte, the text that the {role} signs", file.label));
            }
            match (bundle.signatures.of(role), check(item, escrow_of(bundle, role), bytes)) {
                (Some(signature), _) if signature == bytes => {
                    return Ok(format!(
                        "{} is, byte for byte, the {role}'s signature in this bundle",
                        file.label
                    ));
                }
                (None, Ok(())) => {
                    return Ok(format!(
                        "{} is a valid signature by the {role}'s key over the agreed text",
                        file.label
                    ));
                }
                _ if check(item, None, bytes).is_ok() => {
                    fault = Some(format!(
                        "{} is a valid signature by the {role}'s key over the agreed text, but NOT the one of this \
                         exchange",
                        file.label
                    ));
                }
                _ => {}
            }
        }
        Err(fault)
    }
}

/// The escrow that a signature must be the content of: what the arbiter opened, else what came from the peer.
fn escrow_of(bundle: &Bundle, role: Role) -> Option<&Escrow> {
    let opened = bundle.verdict().and_then(|receipt| receipt.evidence.escrows.of(role).as_ref());
    opened.or(bundle.escrows.of(role).as_ref()).and_then(Pledge::escrow)
}

/// What a check of a pledge is called.
fn name_of(pledge: &Pledge, role: Role) -> String {
    match pledge {
        Pledge::Escrow(_) => format!("escrow-{role}"),
        Pledge::Reservation(_) => format!("reservation-{role}"),
    }
}

fn check(
    item: &DetachedSignature,
    escrow: Option<&Escrow>,
    signature: &[u8],
) -> Result<(), arbiter_protocol::exchange::kind::Unfit> {
    let mut check = ContentCheck::signature(item.clone(), escrow.cloned());
    check.update(signature)?;
    check.finish().map(|_| ())
}

/// What there is to say about each detached signature of verified statements.
pub(super) fn summary(bundle: &Bundle, statements: &Statements) -> Vec<SignatureReport> {
    let replaced = statements.verdict().map(|(verdict, _)| match &verdict.ruling {
        Ruling::Aborted | Ruling::Affidavit(_) | Ruling::Revoked(_) => Vec::new(),
        Ruling::Replaced(list) => list.iter().map(|it| it.role).collect(),
    });
    let report = |role: Role| {
        let item = statements.offer.item(role).description.detached()?;
        let certificate = keys::certificate(item).ok().flatten();
        let signature = bundle.signatures.of(role).as_ref().filter(|_| *statements.signed.of(role));
        Some(SignatureReport {
            signer: role.to_string(),
            algorithm: plain::key(&item.key),
            key_sha256: keys::fingerprint(&item.key).to_string(),
            certificate_subject: certificate.map(|it| it.subject().to_owned()),
            sealed: *statements.sealed.of(role),
            signature_sha256: signature.map(|bytes| Digest::of(&[bytes]).to_string()),
            opened: replaced.as_ref().is_some_and(|roles: &Vec<Role>| roles.contains(&role)),
        })
    };
    Role::BOTH.into_iter().filter_map(report).collect()
}
