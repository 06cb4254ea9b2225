//! The agreement: an offer by the originator and an acceptance by the responder.
//!
//! Everything that decides the outcome is inside the signed offer (decision D3): parties, arbiter, both
//! items, protocol, order of sending, deadline. The acceptance binds the offer and the responder's nonce;
//! every later statement binds both through the [`AgreementId`] (attacks K1-K3, K9).

use crate::crypto;
use crate::error::{Invalid, Refused, Rejected};
use crate::escrow::signature_key::Kind as KeyKind;
use crate::escrow::{EscrowKey, Suite};
use crate::evidence::checkpoint::Origin;
use crate::exchange::item::{DetachedSignature, Item, check_line};
use crate::exchange::payment::Timeout;
use crate::exchange::selection::{Protocol, Role, Selection, Unfair, one_way, select_affidavit, select_for};
use crate::ids::{AgreementId, ExchangeId, PublicKey, SealingKey};
use crate::limits;
use crate::message::escrow_epoch::EscrowEpoch;
use crate::message::{VERSION, check_version, role_from_wire, role_to_wire, time_from_wire, wire};
use crate::statement::{Envelope, Payload, Signed, Verified};
use crate::time::UnixMillis;

/// A party as the agreement names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// Signs the party's statements.
    pub signing_key: PublicKey,
    /// What is sent to the party is sealed to this key.
    pub sealing_key: SealingKey,
    /// What the party calls itself, at most [`limits::NAME_BYTES`]. Not verified by anybody.
    pub name: String,
}

/// The arbiter as the agreement names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArbiterIdentity {
    /// Signs verdicts, attestations and answers.
    pub key: PublicKey,
    /// Signs the checkpoints of the evidence log.
    pub log_key: PublicKey,
    /// Origin of the evidence log (tlog-checkpoint).
    pub log_origin: Origin,
    /// The rule version that decides, e.g. `arbiter/rules/v1`.
    pub rules: String,
}

/// To which key, and how, the detached signatures of an exchange are put into escrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EscrowTerms {
    /// The arbiter's key, signed by the arbiter.
    pub epoch: Verified<EscrowEpoch>,
    /// The same key, ready for use: clones share its tables.
    pub key: EscrowKey,
    /// How many instances an escrow has, how many are hidden.
    pub suite: Suite,
}

impl EscrowTerms {
    /// Terms for an epoch that was verified under the arbiter's key.
    pub fn new(epoch: Verified<EscrowEpoch>, suite: Suite) -> Self {
        Self { key: epoch.escrow_key(), epoch, suite }
    }

    fn from_wire(wire: wire::EscrowTerms, arbiter: &PublicKey) -> Result<Self, Invalid> {
        let suite = u8::try_from(wire.suite).ok().and_then(|id| Suite::from_id(id).ok());
        let suite = suite.ok_or(Invalid::FieldValue { field: "suite" })?;
        let epoch = Envelope::from_wire(wire.epoch.ok_or(Invalid::FieldMissing { field: "epoch" })?)?;
        Ok(Self::new(Signed::parse(epoch)?.verify(arbiter)?, suite))
    }

    fn to_wire(&self) -> wire::EscrowTerms {
        wire::EscrowTerms { epoch: Some(self.epoch.envelope().to_wire()), suite: self.suite.id().into() }
    }
}

/// The originator's commitment to the whole agreement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// 32 fresh random bytes of the originator.
    pub nonce: [u8; 32],
    /// Makes the offer.
    pub originator: Party,
    /// Is asked to accept.
    pub responder: Party,
    /// Decides, if asked.
    pub arbiter: ArbiterIdentity,
    /// What the originator gives.
    pub originator_item: Item,
    /// What the responder gives.
    pub responder_item: Item,
    /// The protocol and who sends first: must be what [`select_for`] gives.
    pub selection: Selection,
    /// The first sender complains before this time on the arbiter's clock; the second sender may abort from
    /// this time on. Present exactly if the protocol has a deadline, or an item is money that the arbiter can post.
    pub complain_by: Option<UnixMillis>,
    /// P3: the second sender's item is with its peer or with the arbiter before this time on the arbiter's clock; the
    /// first sender may revoke its own from then on. Present exactly in P3, before `complain_by`.
    pub send_by: Option<UnixMillis>,
    /// Present exactly if an item is a detached signature that changes hands in escrow.
    pub escrow: Option<EscrowTerms>,
}

impl Offer {
    /// The party in a role.
    pub const fn party(&self, role: Role) -> &Party {
        match role {
            Role::Originator => &self.originator,
            Role::Responder => &self.responder,
        }
    }

    /// The item that the party in `role` gives.
    pub const fn item(&self, role: Role) -> &Item {
        match role {
            Role::Originator => &self.originator_item,
            Role::Responder => &self.responder_item,
        }
    }

    /// The role of the party with this signing key.
    pub fn role_of(&self, key: &PublicKey) -> Option<Role> {
        [Role::Originator, Role::Responder].into_iter().find(|role| self.party(*role).signing_key == *key)
    }

    /// Until when the arbiter can restore fairness: `complain_by`, or where there is none the end of the escrow key
    ///
    pub fn deadline(&self) -> Option<UnixMillis> {
        self.complain_by.or_else(|| self.escrow.as_ref().map(|terms| terms.epoch.until))
    }

    /// Whether the item of `role` changes hands in escrow first: a detached signature does, unless nothing is given for it
    ///
    pub fn is_escrowed(&self, role: Role) -> bool {
        let one_way = self.selection.protocol == Protocol::Transfer;
        !one_way && !self.item(role).description.detached_leaves().is_empty()
    }

    /// The rules that make an offer one that can be carried out.
    pub fn check(&self) -> Result<(), Refused> {
        let keys =
            [self.originator.signing_key, self.responder.signing_key, self.arbiter.key, self.arbiter.log_key];
        let repeated = keys.iter().enumerate().any(|(i, key)| keys.iter().skip(i + 1).any(|k| k == key));
        if repeated || self.originator.sealing_key == self.responder.sealing_key {
            return Err(Refused::PartiesNotDistinct);
        }
        self.check_signature_keys()?;
        if self.selected() != Ok(self.selection) {
            return Err(Refused::SelectionMismatch);
        }
        self.check_deadlines()?;
        let detached = Role::BOTH.into_iter().any(|role| self.is_escrowed(role));
        match &self.escrow {
            Some(terms) if detached && self.complain_by.is_some_and(|by| by > terms.epoch.until) => {
                Err(Refused::DeadlineMismatch)
            }
            Some(terms) if Role::BOTH.into_iter().any(|role| self.escrows_too_large(role, terms.suite)) => {
                Err(Refused::EscrowsTooLarge)
            }
            Some(_) if detached => Ok(()),
            None if !detached => Ok(()),
            _ => Err(Refused::EscrowTermsMismatch),
        }
    }

    /// whether the escrows of a package could be more than fits beside a message. One alone always fits.
    fn escrows_too_large(&self, role: Role, suite: Suite) -> bool {
        let leaves = self.item(role).description.detached_leaves();
        let most = |it: &&DetachedSignature| limits::FRAME_BYTES.saturating_add(suite.most_bytes(&it.key));
        leaves.iter().map(most).fold(0, usize::saturating_add) > limits::ESCROW_BYTES
    }

    /// the deadlines that the protocol needs, in their order. R-209: money that is held goes to the payee unless
    /// somebody acts, or is generatable; and the hold outlasts every decision of the arbiter. R-210: nobody holds a gift.
    fn check_deadlines(&self) -> Result<(), Refused> {
        let protocol = self.selection.protocol;
        let send_by = protocol == Protocol::RevokeOnSilence;
        let reserved = Role::BOTH.into_iter().any(|role| self.item(role).description.reservation().is_some());
        let complain_by = protocol.has_deadline() || reserved;
        if self.complain_by.is_some() != complain_by || self.send_by.is_some() != send_by {
            return Err(Refused::DeadlineMismatch);
        }
        if self.send_by.is_some() && self.send_by >= self.complain_by {
            return Err(Refused::DeadlineMismatch);
        }
        let undone = matches!(protocol, Protocol::MutualRollback | Protocol::RevokeOnSilence);
        for item in Role::BOTH.map(|role| self.item(role)) {
            let payments = item.description.payments();
            // Of several payments one can fail after another was made: only a verdict that revokes gives that back.
            if payments.len() > 1 && !undone {
                return Err(Refused::PaymentNotEffective);
            }
            for hold in payments.into_iter().filter_map(|payment| payment.hold) {
                let generatable = protocol.generates() && item.properties.generatable();
                let returns = hold.timeout == Timeout::Void && !generatable;
                if returns || protocol == Protocol::Transfer {
                    return Err(Refused::PaymentNotEffective);
                }
                if self.complain_by.is_some_and(|by| hold.until < by.after(limits::HOLD_MARGIN)) {
                    return Err(Refused::DeadlineMismatch);
                }
            }
        }
        Ok(())
    }

    /// R-202 for the keys of detached signatures: a party signs with its own, never with one that the arbiter or the
    /// other party uses (attacks K15, K22).
    fn check_signature_keys(&self) -> Result<(), Refused> {
        let keys = |role: Role| {
            let leaves = self.item(role).description.detached_leaves();
            leaves.into_iter().map(|it| it.key.kind()).collect::<Vec<_>>()
        };
        let foreign = |role: Role| {
            let others = [self.party(role.peer()).signing_key, self.arbiter.key, self.arbiter.log_key]
                .map(KeyKind::Ed25519);
            keys(role).into_iter().any(|key| others.contains(key))
        };
        let theirs = keys(Role::Responder);
        let same = keys(Role::Originator).into_iter().any(|key| theirs.contains(&key));
        if same || Role::BOTH.into_iter().any(foreign) {
            return Err(Refused::PartiesNotDistinct);
        }
        Ok(())
    }

    /// What the matrix selects for the two items; P6 only if it was asked for by name, and nothing better is there.
    pub fn selected(&self) -> Result<Selection, Unfair> {
        let (originator, responder) = (&self.originator_item, &self.responder_item);
        match self.selection.protocol {
            Protocol::Affidavit if one_way(originator, responder).is_none() => {
                select_affidavit(&originator.properties, &responder.properties)
            }
            _ => select_for(originator, responder),
        }
    }
}

impl Payload for Offer {
    const TYPE: &'static str = "application/vnd.arbiter.offer.v1+protobuf";
    const NAME: &'static str = "offer";
    type Wire = wire::Offer;

    fn from_wire(wire: wire::Offer) -> Result<Self, Invalid> {
        check_version(wire.version, Self::NAME)?;
        let protocol = match wire::Protocol::try_from(wire.protocol) {
            Ok(wire::Protocol::Affidavit) => Protocol::Affidavit,
            Ok(wire::Protocol::BothDeposited) => Protocol::BothDeposited,
            Ok(wire::Protocol::ContractSigning) => Protocol::ContractSigning,
            Ok(wire::Protocol::MutualRollback) => Protocol::MutualRollback,
            Ok(wire::Protocol::RevokeOnSilence) => Protocol::RevokeOnSilence,
            Ok(wire::Protocol::Transfer) => Protocol::Transfer,
            Ok(wire::Protocol::VerifyThenGenerate) => Protocol::VerifyThenGenerate,
            _ => return Err(Invalid::FieldValue { field: "protocol" }),
        };
        let deadline = |millis, field| match millis {
            0 => Ok(None),
            millis => time_from_wire(millis, field).map(Some),
        };
        let complain_by = deadline(wire.complain_by, "complain_by")?;
        let send_by = deadline(wire.send_by, "send_by")?;
        let arbiter = arbiter_from_wire(wire.arbiter.ok_or(Invalid::FieldMissing { field: "arbiter" })?)?;
        let escrow = wire.escrow.map(|terms| EscrowTerms::from_wire(terms, &arbiter.key)).transpose()?;
        Ok(Self {
            nonce: nonce(&wire.nonce)?,
            originator: party(wire.originator, "originator")?,
            responder: party(wire.responder, "responder")?,
            arbiter,
            originator_item: item(wire.originator_item, "originator_item")?,
            responder_item: item(wire.responder_item, "responder_item")?,
            selection: Selection {
                protocol,
                first_sender: role_from_wire(wire.first_sender, "first_sender")?,
            },
            complain_by,
            send_by,
            escrow,
        })
    }

    fn to_wire(&self) -> wire::Offer {
        let protocol = match self.selection.protocol {
            Protocol::Affidavit => wire::Protocol::Affidavit,
            Protocol::BothDeposited => wire::Protocol::BothDeposited,
            Protocol::ContractSigning => wire::Protocol::ContractSigning,
            Protocol::MutualRollback => wire::Protocol::MutualRollback,
            Protocol::RevokeOnSilence => wire::Protocol::RevokeOnSilence,
            Protocol::Transfer => wire::Protocol::Transfer,
            Protocol::VerifyThenGenerate => wire::Protocol::VerifyThenGenerate,
        };
        let party = |party: &Party| {
            Some(wire::Party {
                signing_key: party.signing_key.to_vec(),
                sealing_key: party.sealing_key.to_vec(),
                name: party.name.clone(),
            })
        };
        wire::Offer {
            version: VERSION,
            nonce: self.nonce.to_vec(),
            originator: party(&self.originator),
            responder: party(&self.responder),
            arbiter: Some(arbiter_to_wire(&self.arbiter)),
            originator_item: Some(self.originator_item.to_wire()),
            responder_item: Some(self.responder_item.to_wire()),
            protocol: protocol.into(),
            first_sender: role_to_wire(self.selection.first_sender),
            complain_by: self.complain_by.map_or(0, |time| time.0),
            escrow: self.escrow.as_ref().map(EscrowTerms::to_wire),
            send_by: self.send_by.map_or(0, |time| time.0),
        }
    }
}

impl Signed<Offer> {
    /// Verifies under the originator's key, then the rules for offers.
    pub fn verify_offer(self) -> Result<Verified<Offer>, Rejected> {
        let signer = self.unverified().originator.signing_key;
        let offer = self.verify(&signer)?;
        offer.check()?;
        Ok(offer)
    }
}

impl Verified<Offer> {
    /// The exchange that this offer starts.
    pub const fn exchange_id(&self) -> ExchangeId {
        ExchangeId::from_bytes(*self.digest().as_bytes())
    }
}

/// The responder's commitment to an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// The offer accepted.
    pub exchange_id: ExchangeId,
    /// 32 fresh random bytes of the responder.
    pub nonce: [u8; 32],
}

impl Payload for Acceptance {
    const TYPE: &'static str = "application/vnd.arbiter.acceptance.v1+protobuf";
    const NAME: &'static str = "acceptance";
    type Wire = wire::Acceptance;

    fn from_wire(wire: wire::Acceptance) -> Result<Self, Invalid> {
        check_version(wire.version, Self::NAME)?;
        Ok(Self {
            exchange_id: ExchangeId::parse(&wire.exchange_id, "exchange_id")?,
            nonce: nonce(&wire.nonce)?,
        })
    }

    fn to_wire(&self) -> wire::Acceptance {
        wire::Acceptance {
            version: VERSION,
            exchange_id: self.exchange_id.to_vec(),
            nonce: self.nonce.to_vec(),
        }
    }
}

/// An offer and the acceptance that answers it, both verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    offer: Verified<Offer>,
    acceptance: Verified<Acceptance>,
}

impl Agreement {
    /// Joins an offer and an acceptance: right signer, right exchange.
    pub fn new(offer: Verified<Offer>, acceptance: Signed<Acceptance>) -> Result<Self, Rejected> {
        let acceptance = acceptance.verify(&offer.responder.signing_key)?;
        Self::join(offer, acceptance).map_err(Rejected::Refused)
    }

    /// Joins an offer and an acceptance that was just signed or is already verified.
    pub fn join(offer: Verified<Offer>, acceptance: Verified<Acceptance>) -> Result<Self, Refused> {
        let signer = acceptance.signer() == offer.responder.signing_key;
        if !signer || acceptance.exchange_id != offer.exchange_id() {
            return Err(Refused::AcceptanceMismatch);
        }
        Ok(Self { offer, acceptance })
    }

    /// The offer.
    pub const fn offer(&self) -> &Verified<Offer> {
        &self.offer
    }

    /// The acceptance.
    pub const fn acceptance(&self) -> &Verified<Acceptance> {
        &self.acceptance
    }

    /// Names the exchange.
    pub const fn exchange_id(&self) -> ExchangeId {
        self.offer.exchange_id()
    }

    /// Names the agreement.
    pub const fn id(&self) -> AgreementId {
        AgreementId::from_bytes(*self.acceptance.digest().as_bytes())
    }

    /// The context to which content sealed by `sender` is bound (F9): domain, exchange, agreement, role.
    pub fn seal_context(&self, sender: Role) -> Vec<u8> {
        seal_context(&self.exchange_id(), &self.id(), sender)
    }
}

/// [`Agreement::seal_context`] for who knows an agreement by its name only: a deposit can rest on another acceptance than
/// the one at hand.
pub fn seal_context(exchange: &ExchangeId, agreement: &AgreementId, sender: Role) -> Vec<u8> {
    let mut context = b"arbiter content v1\0".to_vec();
    context.extend_from_slice(exchange.as_bytes());
    context.extend_from_slice(agreement.as_bytes());
    context.push(u8::from(sender == Role::Responder));
    context
}

fn nonce(bytes: &[u8]) -> Result<[u8; 32], Invalid> {
    bytes.try_into().map_err(|_| Invalid::FieldLength { field: "nonce" })
}

fn item(wire: Option<wire::Item>, field: &'static str) -> Result<Item, Invalid> {
    Item::from_wire(wire.ok_or(Invalid::FieldMissing { field })?, field)
}

fn party(wire: Option<wire::Party>, field: &'static str) -> Result<Party, Invalid> {
    let wire = wire.ok_or(Invalid::FieldMissing { field })?;
    let signing_key = PublicKey::parse(&wire.signing_key, "signing_key")?;
    crypto::check_key(&signing_key, "signing_key")?;
    let sealing_key = SealingKey::parse(&wire.sealing_key, "sealing_key")?;
    crypto::check_sealing_key(&sealing_key, "sealing_key")?;
    check_line(&wire.name, limits::NAME_BYTES, "name")?;
    Ok(Party { signing_key, sealing_key, name: wire.name })
}

pub(super) fn arbiter_to_wire(arbiter: &ArbiterIdentity) -> wire::Arbiter {
    wire::Arbiter {
        key: arbiter.key.to_vec(),
        log_key: arbiter.log_key.to_vec(),
        log_origin: arbiter.log_origin.to_string(),
        rules: arbiter.rules.clone(),
    }
}

pub(super) fn arbiter_from_wire(wire: wire::Arbiter) -> Result<ArbiterIdentity, Invalid> {
    let key = PublicKey::parse(&wire.key, "key")?;
    crypto::check_key(&key, "key")?;
    let log_key = PublicKey::parse(&wire.log_key, "log_key")?;
    crypto::check_key(&log_key, "log_key")?;
    let log_origin =
        Origin::parse(&wire.log_origin).map_err(|_| Invalid::FieldValue { field: "log_origin" })?;
    check_line(&wire.rules, limits::NAME_BYTES, "rules")?;
    if wire.rules.is_empty() {
        return Err(Invalid::FieldMissing { field: "rules" });
    }
    Ok(ArbiterIdentity { key, log_key, log_origin, rules: wire.rules })
}
