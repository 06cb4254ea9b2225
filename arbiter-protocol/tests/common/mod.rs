//! Fixtures that the tests of this crate share: two parties, an arbiter in memory, and everything they sign.
//!
//! ```text
//! Cast (keys) ─▶ offer(Kind) ─▶ acceptance ─▶ Agreement        Notary: sequencer + durable half, no disk
//! ```
#![allow(dead_code, reason = "each test file uses a part")]

pub mod money;
pub mod rulings;

use std::collections::BTreeMap;

use arbiter_protocol::crypto::{MemorySigner, SealingSecret, Signer};
use arbiter_protocol::error::{Refused, Rejected};
use arbiter_protocol::escrow::{Escrow, EscrowSecret, SignatureKey, Suite};
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::evidence::leaf::Pseudonym;
use arbiter_protocol::evidence::merkle::{Frontier, NodeId, inclusion_proof};
use arbiter_protocol::evidence::record::ExchangeKey;
use arbiter_protocol::exchange::item::{Description, DetachedSignature, Information, Item, Statement};
use arbiter_protocol::exchange::kind::Unfit;
use arbiter_protocol::exchange::kind::content::{ContentCheck, FitContent};
use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::kind::package;
use arbiter_protocol::exchange::kind::pledge::{Pledge, Pledged};
use arbiter_protocol::exchange::property::Properties;
use arbiter_protocol::exchange::selection::{ByRole, Protocol, Role, select_affidavit, select_for};
use arbiter_protocol::ids::{AgreementId, Digest, ExchangeId, LeafIndex, PublicKey};
use arbiter_protocol::message::agreement::{
    Acceptance, Agreement, ArbiterIdentity, EscrowTerms, Offer, Party,
};
use arbiter_protocol::message::escrow_epoch::EscrowEpoch;
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::role::arbiter::{Case, Escrows, RULES};
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::ruling::sequencer::{Batch, Closed, ContentId, Desk, Head, Record, Reply, Seals, Veil};
use arbiter_protocol::statement::{Signed, Verified};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use zeroize::Zeroizing;

/// The complaint deadline of every P2 fixture.
pub const COMPLAIN_BY: u64 = 1_800_000_000_000;
/// A time long before the deadline.
pub const EARLY: u64 = COMPLAIN_BY - 3_600_000;
/// The file that is exchanged.
pub const CONTENT: &[u8] = b"%PDF-1.7\nthe goods, in one small file\n";
/// The responder's file where both give one.
pub const OTHER_CONTENT: &[u8] = b"%PDF-1.7\nother goods, in another file\n";

/// One more file of a package.
pub const THIRD_CONTENT: &[u8] = b"%PDF-1.7\nthe third file\n";

/// Which protocol a fixture agrees on, and who holds the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Signature for signature.
    P1,
    /// Detached signature for detached signature; the escrow key ends at [`COMPLAIN_BY`].
    P1Escrow,
    /// The originator gives a detached signature, the responder one that can be replaced.
    P1Mixed,
    /// The originator gives a file, the responder a signature.
    P2OriginatorFirst,
    /// The same with a detached signature.
    P2OriginatorFirstEscrow,
    /// The responder gives a file, the originator a signature.
    P2ResponderFirst,
    /// The same with a detached signature.
    P2ResponderFirstEscrow,
    /// The originator pays at once, the responder gives a signature.
    P2Payment,
    /// The same, the other way round.
    P2ResponderPays,
    /// The first of these with a detached signature.
    P2PaymentEscrow,
    /// The originator pays with a hold, the responder gives a file.
    P3OriginatorPays,
    /// The responder pays with a hold, the originator gives a file.
    P3ResponderPays,
    /// Both pay with a hold; the originator's money can be revoked, the responder's is seen.
    P3Payments,
    /// Both pay with a hold, and neither calls its payment anything but revocable.
    P4,
    /// Both give a file.
    P5,
    /// Money at once for a file; what is seen and what can be sent again.
    P6PaidForFile,
    /// The same, the other way round.
    P6FileForPaid,
    /// Money at once for money at once.
    P6Payments,
    /// The originator gives a file, the responder a signature that nothing can replace.
    P6FileForWord,
    /// The other way round, so the responder sends first.
    P6WordForFile,
    /// The originator gives such a signature, the responder pays at once, and first.
    P6WordForPaid,
    /// A signature that could be replaced for held money that is called revocable and nothing else: neither is seen.
    P6SignatureForHeld,
    /// The other way round.
    P6HeldForSignature,
    /// A package of signatures for a package of signatures.
    P1Package,
    /// The originator gives a package of files, the responder a package of signatures.
    P2Package,
    /// The responder pays with a hold, the originator gives a package of files.
    P3Package,
    /// The originator gives a package of files, the responder one file.
    P5Package,
    /// The originator's money is reserved, the responder gives a detached signature.
    P1OriginatorReserves,
    /// The responder's money is reserved, the originator gives a signature.
    P1ResponderReserves,
    /// Money for money, both reserved.
    P1Reservations,
    /// The originator's money is reserved, the responder gives a file.
    P2OriginatorReserves,
    /// The responder's money is reserved, the originator gives a file.
    P2ResponderReserves,
    /// The originator gives a file for nothing.
    TFile,
    /// The originator gives a detached signature for nothing.
    TDetached,
    /// The responder gives a signature for nothing.
    TSignature,
    /// The responder pays at once, for nothing.
    TPayment,
    /// The responder gives a package of files for nothing.
    TPackage,
}

impl Kind {
    /// Signatures and files.
    pub const ALL: [Self; 7] = [
        Self::P1,
        Self::P1Escrow,
        Self::P1Mixed,
        Self::P2OriginatorFirst,
        Self::P2OriginatorFirstEscrow,
        Self::P2ResponderFirst,
        Self::P2ResponderFirstEscrow,
    ];
    pub const ESCROW: [Self; 4] =
        [Self::P1Escrow, Self::P1Mixed, Self::P2OriginatorFirstEscrow, Self::P2ResponderFirstEscrow];
    /// Money, and what came with it.
    pub const MONEY: [Self; 8] = [
        Self::P2Payment,
        Self::P2ResponderPays,
        Self::P2PaymentEscrow,
        Self::P3OriginatorPays,
        Self::P3ResponderPays,
        Self::P3Payments,
        Self::P4,
        Self::P5,
    ];
    /// Weakly fair, and asked for by name.
    pub const AFFIDAVIT: [Self; 8] = [
        Self::P6PaidForFile,
        Self::P6FileForPaid,
        Self::P6Payments,
        Self::P6FileForWord,
        Self::P6WordForFile,
        Self::P6WordForPaid,
        Self::P6SignatureForHeld,
        Self::P6HeldForSignature,
    ];
    /// Packages, alone or against a lone item.
    pub const PACKAGES: [Self; 4] = [Self::P1Package, Self::P2Package, Self::P3Package, Self::P5Package];
    /// Money that the arbiter can post.
    pub const RESERVED: [Self; 5] = [
        Self::P1OriginatorReserves,
        Self::P1ResponderReserves,
        Self::P1Reservations,
        Self::P2OriginatorReserves,
        Self::P2ResponderReserves,
    ];
    /// An item for nothing.
    pub const ONE_WAY: [Self; 5] =
        [Self::TFile, Self::TDetached, Self::TSignature, Self::TPayment, Self::TPackage];
    /// Two that are weakly fair, for the simulation.
    pub const WEAK: [Self; 2] = [Self::P6PaidForFile, Self::P6SignatureForHeld];
    /// Nothing in escrow.
    pub const PLAIN: [Self; 3] = [Self::P1, Self::P2OriginatorFirst, Self::P2ResponderFirst];

    pub fn first(self) -> Role {
        let responder = matches!(
            self,
            Self::P2ResponderFirst
                | Self::P2ResponderFirstEscrow
                | Self::P2ResponderPays
                | Self::P2OriginatorReserves
                | Self::P3ResponderPays
                | Self::P6WordForFile
                | Self::P6WordForPaid
                | Self::P3Package
                | Self::TFile
                | Self::TDetached
        );
        if responder { Role::Responder } else { Role::Originator }
    }

    pub fn is_p1(self) -> bool {
        matches!(self, Self::P1 | Self::P1Escrow | Self::P1Mixed | Self::P1Package)
            || matches!(self, Self::P1OriginatorReserves | Self::P1ResponderReserves | Self::P1Reservations)
    }

    /// Whether `complain_by` is in the offer: not in P1 where no money is reserved, and not in T.
    fn has_complain_by(self) -> bool {
        !self.is_one_way() && (!self.is_p1() || Self::RESERVED.contains(&self))
    }

    /// Whether the money of `role` is reserved.
    pub fn is_reserved(self, role: Role) -> bool {
        match self {
            Self::P1Reservations => true,
            Self::P1OriginatorReserves | Self::P2OriginatorReserves => role == Role::Originator,
            Self::P1ResponderReserves | Self::P2ResponderReserves => role == Role::Responder,
            _ => false,
        }
    }

    pub fn is_p3(self) -> bool {
        matches!(self, Self::P3OriginatorPays | Self::P3ResponderPays | Self::P3Payments | Self::P3Package)
    }

    pub fn is_p5(self) -> bool {
        matches!(self, Self::P5 | Self::P5Package)
    }

    /// T: who sends first gives nothing.
    pub fn is_one_way(self) -> bool {
        Self::ONE_WAY.contains(&self)
    }

    pub fn is_p6(self) -> bool {
        Self::AFFIDAVIT.contains(&self)
    }

    /// Whether the item of `role` can be given to the arbiter for the peer.
    pub fn is_depositable(self, role: Role) -> bool {
        match self {
            _ if self.is_p1() || self.is_one_way() => false,
            Self::P4 => false,
            Self::P5 | Self::P5Package | Self::P6PaidForFile | Self::P6FileForPaid | Self::P6Payments => true,
            Self::P6FileForWord | Self::P6HeldForSignature => role == Role::Originator,
            Self::P6WordForFile | Self::P6WordForPaid | Self::P6SignatureForHeld => role == Role::Responder,
            _ if self.is_p3() => role != self.first(),
            _ => role == self.first(),
        }
    }

    /// Whether the item of `role` is a detached signature that is in escrow.
    pub fn is_detached(self, role: Role) -> bool {
        match self {
            Self::P1 | Self::P2OriginatorFirst | Self::P2ResponderFirst => false,
            Self::P1OriginatorReserves => role == Role::Responder,
            Self::P1ResponderReserves
            | Self::P1Reservations
            | Self::P2OriginatorReserves
            | Self::P2ResponderReserves => false,
            Self::P1Escrow => true,
            Self::P1Mixed => role == Role::Originator,
            Self::P2OriginatorFirstEscrow | Self::P2ResponderFirstEscrow | Self::P2PaymentEscrow => {
                role != self.first()
            }
            Self::P2Payment
            | Self::P2ResponderPays
            | Self::P3OriginatorPays
            | Self::P3ResponderPays
            | Self::P3Payments
            | Self::P4
            | Self::P5
            | Self::P1Package
            | Self::P2Package
            | Self::P3Package
            | Self::P5Package => false,
            _ if self.is_one_way() => false,
            _ => {
                debug_assert!(self.is_p6());
                false
            }
        }
    }

    /// Whether there is a time from which the arbiter can do nothing more: not in P1 without escrow.
    pub fn has_deadline(self) -> bool {
        self.has_complain_by() || self == Self::P1Escrow
    }
}

/// When the escrow key of a kind ends.
pub fn until(kind: Kind) -> u64 {
    if kind == Kind::P1Escrow { COMPLAIN_BY } else { COMPLAIN_BY + 30 * 86_400_000 }
}

pub fn signer(seed: u8) -> MemorySigner {
    MemorySigner::from_seed(&Zeroizing::new([seed; 32]))
}

pub fn sealing(seed: u8) -> SealingSecret {
    SealingSecret::from_seed(&Zeroizing::new([seed; 32]))
}

/// Everybody's keys.
pub struct Cast {
    pub originator: MemorySigner,
    pub responder: MemorySigner,
    pub arbiter: MemorySigner,
    pub log: MemorySigner,
    pub stranger: MemorySigner,
}

impl Default for Cast {
    fn default() -> Self {
        Self::new()
    }
}

impl Cast {
    pub fn new() -> Self {
        Self {
            originator: signer(1),
            responder: signer(2),
            arbiter: signer(3),
            log: signer(4),
            stranger: signer(5),
        }
    }

    /// The same two parties with their roles swapped.
    pub fn swapped() -> Self {
        Self { originator: signer(2), responder: signer(1), ..Self::new() }
    }

    pub fn key(&self, role: Role) -> &MemorySigner {
        match role {
            Role::Originator => &self.originator,
            Role::Responder => &self.responder,
        }
    }

    pub fn identity(&self) -> ArbiterIdentity {
        ArbiterIdentity {
            key: self.arbiter.public_key(),
            log_key: self.log.public_key(),
            log_origin: Origin::parse("arbiter.test/log").unwrap(),
            rules: RULES.to_owned(),
        }
    }

    pub fn terms(&self, kind: Kind, nonce: u8) -> Offer {
        let detached = |title, role| detached(title, self.key(role));
        let (originator_item, responder_item) = match kind {
            Kind::P1 => (signature("Sale: seller"), signature("Sale: buyer")),
            Kind::P1Escrow => (detached("Sale", Role::Originator), detached("Sale", Role::Responder)),
            Kind::P1Mixed => (detached("Sale: seller", Role::Originator), signature("Sale: buyer")),
            Kind::P2OriginatorFirst => (information(), signature("Receipt")),
            Kind::P2OriginatorFirstEscrow => (information(), detached("Receipt", Role::Responder)),
            Kind::P2ResponderFirst => (signature("Receipt"), information()),
            Kind::P2ResponderFirstEscrow => (detached("Receipt", Role::Originator), information()),
            Kind::P2Payment => (money::paid(Role::Originator, None), signature("Receipt")),
            Kind::P2ResponderPays => (signature("Receipt"), money::paid(Role::Responder, None)),
            Kind::P2PaymentEscrow => {
                (money::paid(Role::Originator, None), detached("Receipt", Role::Responder))
            }
            Kind::P3OriginatorPays => (money::paid(Role::Originator, Some(money::hold())), information()),
            Kind::P3ResponderPays => (information(), money::paid(Role::Responder, Some(money::hold()))),
            Kind::P3Payments => (
                money::paid(Role::Originator, Some(money::hold())),
                money::paid(Role::Responder, Some(money::hold())),
            ),
            Kind::P4 => (money::only_revocable(Role::Originator), money::only_revocable(Role::Responder)),
            Kind::P5 => (information(), Item::new(Description::Information(described(OTHER_CONTENT)))),
            Kind::P6PaidForFile => (money::paid(Role::Originator, None), information()),
            Kind::P6FileForPaid => (information(), money::paid(Role::Responder, None)),
            Kind::P6Payments => (money::paid(Role::Originator, None), money::paid(Role::Responder, None)),
            Kind::P6FileForWord => (information(), word("Receipt")),
            Kind::P6WordForFile => (word("Receipt"), information()),
            Kind::P6WordForPaid => (word("Receipt"), money::paid(Role::Responder, None)),
            Kind::P6SignatureForHeld => (signature("Receipt"), money::only_revocable(Role::Responder)),
            Kind::P6HeldForSignature => (money::only_revocable(Role::Originator), signature("Receipt")),
            Kind::P1Package => (signatures("Seller"), signatures("Buyer")),
            Kind::P2Package => (files(), signatures("Receipt")),
            Kind::P3Package => (files(), money::paid(Role::Responder, Some(money::hold()))),
            Kind::P5Package => (files(), Item::new(Description::Information(described(OTHER_CONTENT)))),
            Kind::P1OriginatorReserves => {
                (money::reserved(Role::Originator), detached("Receipt", Role::Responder))
            }
            Kind::P1ResponderReserves => (signature("Receipt"), money::reserved(Role::Responder)),
            Kind::P1Reservations => (money::reserved(Role::Originator), money::reserved(Role::Responder)),
            Kind::P2OriginatorReserves => (money::reserved(Role::Originator), information()),
            Kind::P2ResponderReserves => (information(), money::reserved(Role::Responder)),
            Kind::TFile => (information(), nothing()),
            Kind::TDetached => (detached("Statement", Role::Originator), nothing()),
            Kind::TSignature => (nothing(), signature("Statement")),
            Kind::TPayment => (nothing(), money::paid(Role::Responder, None)),
            Kind::TPackage => (nothing(), files()),
        };
        let in_escrow = Role::BOTH.into_iter().any(|role| kind.is_detached(role));
        let escrow = in_escrow.then(|| self.escrow_terms(until(kind)));
        let selection = match kind.is_p6() {
            true => select_affidavit(&originator_item.properties, &responder_item.properties),
            false => select_for(&originator_item, &responder_item),
        };
        Offer {
            nonce: [nonce; 32],
            originator: party(&self.originator, 11, "Ada"),
            responder: party(&self.responder, 12, "Bob"),
            arbiter: self.identity(),
            originator_item,
            responder_item,
            selection: selection.unwrap(),
            complain_by: kind.has_complain_by().then_some(UnixMillis(COMPLAIN_BY)),
            send_by: kind.is_p3().then_some(UnixMillis(money::SEND_BY)),
            escrow,
        }
    }

    /// The arbiter's escrow key of epoch 3.
    pub fn escrow_secret(&self) -> EscrowSecret {
        let arbiter = *self.arbiter.public_key().as_bytes();
        EscrowSecret::from_seed(&Zeroizing::new([0x61; 32]), arbiter, 3).unwrap()
    }

    pub fn epoch(&self, until: u64) -> EscrowEpoch {
        let key = *self.escrow_secret().public().as_bytes();
        EscrowEpoch { epoch: 3, key, from: UnixMillis(1_000), until: UnixMillis(until) }
    }

    /// The fastest suite: tests make many escrows.
    pub fn escrow_terms(&self, until: u64) -> EscrowTerms {
        EscrowTerms::new(Verified::sign(self.epoch(until), &self.arbiter), Suite::FAST)
    }

    /// The finished signature of `role`, if its item is detached.
    pub fn finished(&self, offer: &Offer, role: Role) -> Option<[u8; 64]> {
        let item = offer.item(role).description.detached()?;
        Some(self.key(role).sign(item.statement.document().as_bytes()))
    }

    /// The escrow of `role`'s signature, as an honest party makes it.
    pub fn escrow(&self, agreement: &Agreement, role: Role) -> Option<Escrow> {
        let offer = agreement.offer();
        let place = Place::of(offer, role, agreement.id());
        let signature = self.finished(offer, role).filter(|_| offer.is_escrowed(role))?;
        Some(place.put(&signature, &Zeroizing::new([0x62; 32])).unwrap())
    }

    /// What `role`'s peer knows after its check.
    pub fn escrowed(&self, agreement: &Agreement, role: Role) -> Option<Pledged> {
        let pledge = self.pledge(agreement, role)?;
        Some(Place::of(agreement.offer(), role, agreement.id()).check(pledge).unwrap())
    }

    /// What `role` shows beside its offer or acceptance: its signature in escrow, or its money reserved.
    pub fn pledge(&self, agreement: &Agreement, role: Role) -> Option<Pledge> {
        let (offer, item) = (agreement.offer(), &agreement.offer().item(role).description);
        match item.reservation() {
            Some(_) => Some(Pledge::Reservation(money::reservation(offer, role))),
            None if item.detached_leaves().len() > 1 => {
                Some(Pledge::Escrows(self.escrows_of(agreement, role)))
            }
            None => self.escrow(agreement, role).map(Pledge::from),
        }
    }

    /// The signatures of `role`'s package.
    pub fn all_finished(&self, offer: &Offer, role: Role) -> Vec<[u8; 64]> {
        let leaves = offer.item(role).description.detached_leaves().into_iter();
        leaves.map(|it| self.key(role).sign(it.statement.document().as_bytes())).collect()
    }

    /// The escrow of each signature of `role`'s package.
    pub fn escrows_of(&self, agreement: &Agreement, role: Role) -> Vec<Escrow> {
        let place = Place::of(agreement.offer(), role, agreement.id());
        let all = self.all_finished(agreement.offer(), role).into_iter().enumerate();
        all.map(|(leaf, it)| place.put_leaf(leaf, &it, &Zeroizing::new([0x62; 32])).unwrap()).collect()
    }

    /// What an honest party files for `action`.
    pub fn escrows(&self, agreement: &Agreement, role: Role, action: Action) -> Escrows {
        let p1 = agreement.offer().selection.protocol == Protocol::ContractSigning;
        let wanted = |of: Role| action == Action::Resolve && (p1 || of == role.peer());
        let file = |of| wanted(of).then(|| self.pledge(agreement, of)).flatten();
        ByRole { originator: file(Role::Originator), responder: file(Role::Responder) }
    }

    pub fn offer(&self, kind: Kind, nonce: u8) -> Verified<Offer> {
        Verified::sign(self.terms(kind, nonce), &self.originator)
    }

    pub fn acceptance(&self, offer: &Verified<Offer>, nonce: u8) -> Verified<Acceptance> {
        let acceptance = Acceptance { exchange_id: offer.exchange_id(), nonce: [nonce; 32] };
        Verified::sign(acceptance, &self.responder)
    }

    pub fn agreement(&self, kind: Kind) -> Agreement {
        let offer = self.offer(kind, 21);
        let acceptance = self.acceptance(&offer, 22);
        Agreement::join(offer, acceptance).unwrap()
    }

    pub fn request(
        &self,
        exchange_id: ExchangeId,
        agreement_id: Option<AgreementId>,
        role: Role,
        action: Action,
    ) -> Verified<Request> {
        let request = Request { exchange_id, agreement_id, role, action };
        Verified::sign(request, self.key(role))
    }

    /// A case under a full agreement.
    pub fn case(&self, agreement: &Agreement, role: Role, action: Action) -> Case {
        self.admit(agreement.offer(), Some(agreement.acceptance()), role, action).unwrap()
    }

    /// A case with or without an acceptance.
    pub fn admit(
        &self,
        offer: &Verified<Offer>,
        acceptance: Option<&Verified<Acceptance>>,
        role: Role,
        action: Action,
    ) -> Result<Case, Rejected> {
        let agreement = acceptance.map(|it| AgreementId::from_bytes(*it.digest().as_bytes()));
        let request = self.request(offer.exchange_id(), agreement, role, action);
        let escrows = acceptance.map(|acceptance| {
            let agreement = Agreement::join(offer.clone(), acceptance.clone())?;
            Ok::<_, Rejected>(self.escrows(&agreement, role, action))
        });
        let escrows = escrows.transpose()?.unwrap_or_default();
        let acceptance = acceptance.map(unverified);
        Case::admit(&self.identity(), unverified(&request), unverified(offer), acceptance, escrows)
    }

    /// What is handed over as `role`'s item, if it is content: a file, a signature, a ledger's receipt.
    pub fn content(&self, offer: &Verified<Offer>, role: Role) -> Option<Vec<u8>> {
        match &offer.item(role).description {
            Description::Nothing | Description::Signature(_) => None,
            Description::DetachedSignature(_) => self.finished(offer, role).map(|it| it.to_vec()),
            Description::Payment(_) => money::receipt_of(offer, role),
            Description::Information(it) => Some(bytes_of(it)),
            Description::Package(_) if !offer.item(role).description.payments().is_empty() => {
                Some(package::framed(&money::receipts_of(offer, role)))
            }
            several if several.detached_leaves().len() > 1 => {
                Some(package::framed(&self.all_finished(offer, role)))
            }
            Description::Package(items) if items.iter().any(|item| item.description.is_content()) => {
                Some(framed(offer.item(role)))
            }
            Description::Package(_) => None,
        }
    }

    /// The proof that it fits.
    pub fn fits(&self, offer: &Verified<Offer>, role: Role) -> Option<FitContent> {
        check_content(offer, role, &self.content(offer, role)?).ok()
    }

    /// What the arbiter takes out of the escrows of a case.
    pub fn opened(&self, case: &Case) -> ByRole<Option<FitContent>> {
        let mut opened = ByRole::default();
        for role in case.to_open() {
            let Some(pledge) = case.escrows().of(role) else { continue };
            let place = Place::of(case.offer(), role, case.agreement().unwrap().id());
            *opened.of_mut(role) = Some(place.open_all(pledge.escrows(), &self.escrow_secret()).unwrap().0);
        }
        opened
    }

    pub fn desk(&self) -> Desk {
        Desk {
            arbiter: self.identity(),
            build: Digest::of(&[b"test build"]),
            clock_uncertainty: DurationMillis(500),
        }
    }
}

pub fn unverified<T: arbiter_protocol::statement::Payload>(statement: &Verified<T>) -> Signed<T> {
    Signed::parse(statement.envelope().clone()).unwrap()
}

pub fn party(signer: &MemorySigner, seal: u8, name: &str) -> Party {
    Party { signing_key: signer.public_key(), sealing_key: sealing(seal).public_key(), name: name.to_owned() }
}

pub fn described(content: &[u8]) -> Information {
    Information {
        sha256: Digest::of(&[content]),
        size_bytes: u64::try_from(content.len()).unwrap(),
        media_type: "application/pdf".to_owned(),
        name: "goods.pdf".to_owned(),
    }
}

pub fn information() -> Item {
    Item::new(Description::Information(described(CONTENT)))
}

/// What the other item is given for in T.
pub fn nothing() -> Item {
    Item::new(Description::Nothing)
}

pub fn signature(title: &str) -> Item {
    Item::new(Description::Signature(Statement {
        title: title.to_owned(),
        text: "One file for one receipt.".to_owned(),
        subject: described(CONTENT),
    }))
}

/// A signature that the parties agree nothing can stand for.
pub fn word(title: &str) -> Item {
    Item { properties: Properties::new([]), ..signature(title) }
}

/// A detached signature by `signer`, on the same text about the same file.
pub fn detached(title: &str, signer: &MemorySigner) -> Item {
    let Description::Signature(statement) = signature(title).description else { unreachable!() };
    let key = SignatureKey::ed25519(signer.public_key()).unwrap();
    Item::new(Description::DetachedSignature(DetachedSignature { statement, key, certificate: Vec::new() }))
}

/// The bytes of one of the files of these tests.
pub fn bytes_of(file: &Information) -> Vec<u8> {
    let all = [CONTENT, OTHER_CONTENT, THIRD_CONTENT].into_iter();
    all.filter(|bytes| Digest::of(&[bytes]) == file.sha256).collect::<Vec<_>>().concat()
}

/// A file among others.
pub fn named(name: &str, content: &[u8]) -> Item {
    Item::new(Description::Information(Information { name: name.to_owned(), ..described(content) }))
}

/// Three files, two of them in a package of their own.
pub fn files() -> Item {
    let inner = vec![named("other.pdf", OTHER_CONTENT), named("third.pdf", THIRD_CONTENT)];
    Item::package(vec![information(), Item::package(inner).unwrap()]).unwrap()
}

/// Three signatures, two of them in a package of their own.
pub fn signatures(title: &str) -> Item {
    let one = |part| signature(&format!("{title}, {part}"));
    Item::package(vec![Item::package(vec![one("first"), one("second")]).unwrap(), one("third")]).unwrap()
}

/// R-320: the content of a package of files of these tests.
pub fn framed(package: &Item) -> Vec<u8> {
    let mut bytes = Vec::new();
    for leaf in package.leaves() {
        let Description::Information(file) = &leaf.description else { panic!("a file") };
        bytes.extend(file.size_bytes.to_be_bytes());
        bytes.extend(bytes_of(file));
    }
    bytes
}

/// R-305, R-311: bytes against what an offer says of `role`'s item; none fit a signature that is the transfer itself.
pub fn check_content(offer: &Verified<Offer>, role: Role, bytes: &[u8]) -> Result<FitContent, Unfit> {
    let mut check = ContentCheck::of(offer, role, None).ok_or(Unfit::Kind)?;
    check.update(bytes)?;
    check.finish()
}

/// The proof that [`CONTENT`] fits.
pub fn fit() -> FitContent {
    fit_of(CONTENT)
}

pub fn fit_of(content: &[u8]) -> FitContent {
    let mut check = ContentCheck::file(described(content));
    check.update(content).unwrap();
    check.finish().unwrap()
}

/// Keyed hashing as the service does it, with a fixed key.
pub struct TestVeil;

impl Veil for TestVeil {
    fn pseudonym(&self, exchange: &ExchangeId) -> Pseudonym {
        let digest = Digest::of(&[b"veil", exchange.as_bytes()]);
        Pseudonym(digest.as_bytes()[..16].try_into().unwrap())
    }
}

/// The record of an exchange that was never recorded, with a key that is the same each time.
pub fn unrecorded(exchange: &ExchangeId) -> Record {
    let key = Digest::of(&[b"key", exchange.as_bytes()]);
    Record::new(ExchangeKey::new(Zeroizing::new(*key.as_bytes())))
}

/// What is durable in the arbiter.
#[derive(Clone)]
pub struct Durable {
    pub head: Head,
    pub records: BTreeMap<ExchangeId, Record>,
    pub leaves: Vec<Vec<u8>>,
    pub nodes: BTreeMap<NodeId, Digest>,
}

impl Durable {
    pub fn empty() -> Self {
        Self {
            head: Head { frontier: Frontier::new(), time: UnixMillis(0) },
            records: BTreeMap::new(),
            leaves: Vec::new(),
            nodes: BTreeMap::new(),
        }
    }

    pub fn apply(&mut self, closed: Closed) {
        self.head = closed.head;
        self.records.extend(closed.records);
        self.leaves.extend(closed.leaves);
        self.nodes.extend(closed.nodes);
    }

    pub fn record(&self, exchange: &ExchangeId) -> Record {
        self.records.get(exchange).cloned().unwrap_or_else(|| unrecorded(exchange))
    }

    pub fn proof(&self, index: LeafIndex, size: u64) -> Vec<Digest> {
        inclusion_proof(index.0, size, |node| self.nodes.get(&node).copied().ok_or(node)).unwrap()
    }
}

/// The same escrow of an Ed25519 signature with every ciphertext replaced: it belongs where it was made for, and holds
/// nothing.
pub fn hollow(escrow: &Escrow) -> Escrow {
    let mut bytes = escrow.to_bytes();
    let start = bytes.len() - 80 * usize::from(escrow.suite().hidden());
    bytes[start..].chunks_mut(80).for_each(|instance| instance[64] ^= 1);
    Escrow::from_bytes(&bytes).unwrap()
}

/// Where the signature of `role` is held after it was taken out of escrow.
pub fn content_of(role: Role) -> ContentId {
    ContentId(if role == Role::Originator { 101 } else { 102 })
}

/// An arbiter in memory: one case, one commit.
pub struct Notary {
    pub cast: Cast,
    pub desk: Desk,
    pub durable: Durable,
}

impl Default for Notary {
    fn default() -> Self {
        Self::new()
    }
}

impl Notary {
    pub fn new() -> Self {
        Self::of(Cast::new())
    }

    pub fn of(cast: Cast) -> Self {
        let desk = cast.desk();
        let mut durable = Durable::empty();
        let mut batch = Batch::new(&desk, &TestVeil, durable.head.clone());
        batch.genesis(UnixMillis(EARLY - 1));
        let closed = batch.close();
        durable.apply(closed);
        Self { cast, desk, durable }
    }

    /// Files a case at a time, commits, and gives the receipt; a deposit brings the right content.
    pub fn file(&mut self, case: &Case, now: u64) -> Result<Option<Receipt>, Refused> {
        let role = case.request().role;
        let (deposit, opened) = (self.cast.fits(case.offer(), role), self.cast.opened(case));
        let file = fit(); // What has no content is refused, whatever comes with it.
        let held = match case.request().action {
            Action::Deposit => ByRole::only(role, (deposit.as_ref().unwrap_or(&file), ContentId(7))),
            _ => opened.map(|role, fit| fit.as_ref().map(|fit| (fit, content_of(role)))),
        };
        let mut batch = Batch::new(&self.desk, &TestVeil, self.durable.head.clone());
        let reply = batch.file(case, self.durable.record(&case.exchange_id()), UnixMillis(now), held)?;
        let closed = batch.close();
        self.durable.apply(closed);
        Ok(self.receipt(case.exchange_id(), case.request().digest(), reply))
    }

    /// Files cases into one batch: their receipts share one tree.
    pub fn file_together(&mut self, cases: &[&Case], now: u64) -> Vec<Receipt> {
        let mut batch = Batch::new(&self.desk, &TestVeil, self.durable.head.clone());
        let replies: Vec<_> = cases
            .iter()
            .map(|case| {
                let durable = self.durable.record(&case.exchange_id());
                batch.file(case, durable, UnixMillis(now), ByRole::default()).unwrap()
            })
            .collect();
        let closed = batch.close();
        self.durable.apply(closed);
        let pairs = cases.iter().zip(replies);
        pairs
            .map(|(case, reply)| self.receipt(case.exchange_id(), case.request().digest(), reply).unwrap())
            .collect()
    }

    /// The receipt of a durable statement; none for content.
    pub fn receipt(&self, exchange: ExchangeId, request: Digest, reply: Reply) -> Option<Receipt> {
        let record = self.durable.record(&exchange);
        let seals = self.seals();
        match reply {
            Reply::Content(_) => None,
            Reply::Attestation(depositor) => {
                let logged = record.attestations.of(depositor).as_ref().unwrap();
                let leaf = logged.statement.leaf_index;
                let proof = self.durable.proof(leaf, logged.tree_size);
                Some(seals.issue(&self.desk, &record, logged, request, leaf, proof).unwrap())
            }
            Reply::Verdict => {
                let logged = record.verdict.as_ref().unwrap();
                let leaf = logged.statement.leaf_index;
                let proof = self.durable.proof(leaf, logged.tree_size);
                Some(seals.issue(&self.desk, &record, logged, request, leaf, proof).unwrap())
            }
        }
    }

    pub fn seals(&self) -> Seals<'_> {
        Seals { arbiter: &self.cast.arbiter, log: &self.cast.log }
    }
}

/// Who chooses: a small generator of pseudo-random numbers (splitmix64; same seed, same numbers, everywhere), or bytes
/// that a fuzzer made up.
#[derive(Clone)]
pub struct Chooser(Choices);

#[derive(Clone)]
enum Choices {
    Seed(u64),
    Bytes(std::collections::VecDeque<u8>),
}

impl From<u64> for Chooser {
    fn from(seed: u64) -> Self {
        Self::new(seed)
    }
}

impl Chooser {
    pub fn new(seed: u64) -> Self {
        Self(Choices::Seed(seed))
    }

    /// The choices are these bytes, and zeros after them.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Choices::Bytes(bytes.iter().copied().collect()))
    }

    /// Whether there are bytes left to choose with.
    pub fn has_more(&self) -> bool {
        !matches!(&self.0, Choices::Bytes(bytes) if bytes.is_empty())
    }

    pub fn next(&mut self) -> u64 {
        self.number(8)
    }

    /// A number below `bound`. Of bytes it takes no more than it needs.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap();
        let size = if bound <= 1 << 8 { 1 } else { 3 };
        usize::try_from(self.number(size) % bound).unwrap()
    }

    fn number(&mut self, size: usize) -> u64 {
        match &mut self.0 {
            Choices::Seed(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = *state;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                z ^ (z >> 31)
            }
            Choices::Bytes(bytes) => {
                let mut next = || u64::from(bytes.pop_front().unwrap_or(0));
                (0..size).fold(0, |number, _| number << 8 | next())
            }
        }
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// A key's public half as the wire has it.
pub fn public(signer: &MemorySigner) -> PublicKey {
    signer.public_key()
}
