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
use arbiter_protocol::exchange::kind::{Unfit, package};
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
            let leaves = offer.item(role).description.detached_leaves();
            let alone = leaves.len() == 1;
            for (item, place) in leaves.into_iter().zip(1..) {
                let name =
                    if alone { format!("certificate-{role}") } else { format!("certificate-{role}-{place}") };
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
            self.record(&name, place.check(pledge.clone()), |pledged| match pledged.verified().len() {
                1 => format!(
                    "whole proof checked: the {role}'s finished signature is inside, and the arbiter can open it, until \
                     {until}; the escrow shows nothing of it"
                ),
                2.. => format!(
                    "whole proofs checked: each of the {role}'s finished signatures is inside, and the arbiter can open all \
                     of them, until {until}; the escrows show nothing of them"
                ),
                0 => format!(
                    "receipt signed by the agreed ledger: the {role}'s payment was set aside for exactly this exchange, and \
                     the arbiter could have it posted"
                ),
            })?;
            *sealed.of_mut(role) = !pledge.escrows().is_empty();
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
            if pledge.escrows().is_empty() {
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
            let items = offer.item(role).description.detached_leaves();
            let Some(item) = items.first() else {
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
            let escrows = escrows_of(bundle, role);
            let one = if escrows.is_empty() { "" } else { ", and it is the one that was sealed" };
            self.record(&name, check_all(&items, escrows, signature), |()| {
                if items.len() > 1 {
                    return format!(
                        "{} signatures, each strictly valid under the {role}'s key over its text{one}; ordinary signatures, \
                         they say nothing about this exchange by themselves",
                        items.len()
                    );
                }
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
            let items = offer.item(role).description.detached_leaves();
            let content = bundle.signatures.of(role).as_deref();
            let signatures = content.and_then(|content| package::split(content, items.len()));
            let escrows = escrows_of(bundle, role);
            for (place, item) in items.iter().enumerate() {
                if bytes == item.statement.document().as_bytes() {
                    return Ok(format!("{} is, byte for byte, the text that the {role} signs", file.label));
                }
                let signature = signatures.as_ref().and_then(|all| all.get(place));
                match (signature, check(item, escrows.get(place), bytes)) {
                    (Some(signature), _) if *signature == bytes => {
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
        }
        Err(fault)
    }
}

/// The escrows that signatures must be the content of: what the arbiter opened, else what came from the peer.
fn escrows_of(bundle: &Bundle, role: Role) -> &[Escrow] {
    let opened = bundle.verdict().and_then(|receipt| receipt.evidence.escrows.of(role).as_ref());
    opened.or(bundle.escrows.of(role).as_ref()).map_or(&[], Pledge::escrows)
}

/// What a check of a pledge is called.
fn name_of(pledge: &Pledge, role: Role) -> String {
    match pledge {
        Pledge::Escrows(_) => format!("escrow-{role}"),
        Pledge::Reservation(_) => format!("reservation-{role}"),
    }
}

/// R-320: of a package each, or it is none.
fn check_all(items: &[&DetachedSignature], escrows: &[Escrow], content: &[u8]) -> Result<(), Unfit> {
    let parts = package::split(content, items.len()).ok_or(Unfit::Kind)?;
    items.iter().zip(parts).enumerate().try_for_each(|(place, (item, part))| {
        let fits = check(item, escrows.get(place), part);
        fits.map_err(|why| if items.len() > 1 { Unfit::InPackage { place, why: why.reason() } } else { why })
    })
}

fn check(item: &DetachedSignature, escrow: Option<&Escrow>, signature: &[u8]) -> Result<(), Unfit> {
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
    let owed = |role: Role| {
        let leaves = statements.offer.item(role).description.detached_leaves();
        let content = bundle.signatures.of(role).as_deref().filter(|_| *statements.signed.of(role));
        let parts = content.and_then(|content| package::split(content, leaves.len())).unwrap_or_default();
        let each = leaves.into_iter().enumerate();
        each.map(move |(place, item)| (role, item, parts.get(place).copied())).collect::<Vec<_>>()
    };
    let report = |(role, item, signature): (Role, &DetachedSignature, Option<&[u8]>)| {
        let certificate = keys::certificate(item).ok().flatten();
        SignatureReport {
            signer: role.to_string(),
            algorithm: plain::key(&item.key),
            key_sha256: keys::fingerprint(&item.key).to_string(),
            certificate_subject: certificate.map(|it| it.subject().to_owned()),
            sealed: *statements.sealed.of(role),
            signature_sha256: signature.map(|bytes| Digest::of(&[bytes]).to_string()),
            opened: replaced.as_ref().is_some_and(|roles: &Vec<Role>| roles.contains(&role)),
        }
    };
    Role::BOTH.into_iter().flat_map(owed).map(report).collect()
}
