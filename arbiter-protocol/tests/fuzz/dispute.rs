//! The dispute path with a party that holds keys: it signs anything, claims the keys of others, files in any order, with
//! escrows that were altered, at any time; the arbiter dies and starts again. The oracle knows who signed what.
//!
//! ```text
//!  bytes ─▶ kind, who cheats ─▶ up to 16 steps: file a case │ commit │ die │ let time pass (or go back)
//!                                  └ Case::admit ─▶ Batch::file ─▶ commit ─▶ receipt
//! ```
//! Fair means here: one verdict (R-401), given to who may have it (R-402 to R-408), time never goes back (R-409), the
//! same question gets the same bytes (R-410), and nothing is proved by a signature that its owner did not make (R-106).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use arbiter_protocol::crypto::Signer as _;
use arbiter_protocol::error::{Refused, Rejected};
use arbiter_protocol::escrow::Escrow;
use arbiter_protocol::evidence::leaf::Leaf;
use arbiter_protocol::exchange::item::Description;
use arbiter_protocol::exchange::kind::content::FitContent;
use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::ids::{AgreementId, Digest, ExchangeId};
use arbiter_protocol::message::agreement::{Acceptance, ArbiterIdentity, Offer};
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::message::wire;
use arbiter_protocol::role::arbiter::{Case, Escrows};
use arbiter_protocol::ruling::sequencer::ContentId;
use arbiter_protocol::statement::{Envelope, Payload, Signed, Verified, pae};
use arbiter_protocol::time::UnixMillis;
use prost::Message as _;

use super::court::{Court, Filed};
use super::verdicts::lawful;
use crate::common::{COMPLAIN_BY, Cast, Chooser, EARLY, Kind, content_of, fit};
use crate::stage::{Template, stage};

/// What one input does to the arbiter.
struct Dispute<'a> {
    chooser: Chooser,
    cast: &'a Cast,
    /// The party whose keys the fuzzer holds.
    cheater: Role,
    template: &'static Template,
    /// Offers that the cheater made up.
    offers: Vec<Envelope>,
    court: Court<'a>,
}

pub fn dispute(bytes: &[u8]) -> bool {
    let mut chooser = Chooser::of(bytes);
    let kind = chooser.pick(&Kind::ALL);
    let cast = &stage().casts[0];
    let mut dispute = Dispute {
        cheater: chooser.pick(&Role::BOTH),
        chooser,
        cast,
        template: stage().template(0, kind),
        offers: Vec::new(),
        court: Court::new(cast, &cast.arbiter),
    };
    for _ in 0..16 {
        if !dispute.chooser.has_more() {
            break;
        }
        dispute.step();
    }
    dispute.commit();
    dispute.check_log();
    dispute.court.ruled
}

impl Dispute<'_> {
    fn step(&mut self) {
        match self.chooser.below(8) {
            0..=3 => self.file(),
            4 | 5 => self.commit(),
            6 => self.court.die(),
            _ => {
                let times = [
                    self.court.now + 1,
                    self.court.now.saturating_sub(3_600_000),
                    COMPLAIN_BY - 1,
                    COMPLAIN_BY,
                    COMPLAIN_BY + 1,
                    COMPLAIN_BY + 30 * 86_400_000,
                ];
                self.court.now = self.chooser.pick(&times);
            }
        }
    }

    fn honest(&self) -> Role {
        self.cheater.peer()
    }

    /// Signs as the cheater can: with its own key, with a stranger's, or with none under any name.
    fn sign<T: Payload>(&mut self, payload: Vec<u8>) -> Envelope {
        let cast = self.cast;
        let own = cast.key(self.cheater);
        let signer = self.chooser.pick(&[own, own, own, &cast.stranger]);
        let claimed =
            self.chooser.pick(&[signer, signer, signer, cast.key(self.cheater.peer()), &cast.arbiter]);
        let mut signature = signer.sign(&pae(T::TYPE, &payload));
        if self.chooser.below(8) == 7 {
            signature[self.chooser.below(64)] ^= 1 << self.chooser.below(8);
        }
        let wire = wire::Envelope {
            payload_type: T::TYPE.to_owned(),
            payload,
            signatures: vec![wire::Signature {
                key_id: claimed.public_key().to_vec(),
                signature: signature.to_vec(),
            }],
        };
        Envelope::from_wire(wire).expect("within the limits")
    }

    /// The honest offer, or one that the cheater altered and signed.
    fn offer(&mut self) -> Envelope {
        match self.chooser.below(6) {
            0..=3 => self.template.offer.envelope().clone(),
            4 if !self.offers.is_empty() => {
                let index = self.chooser.below(self.offers.len());
                self.offers[index].clone()
            }
            _ => {
                let mut wire = self.template.offer.to_wire();
                self.alter(&mut wire);
                let envelope = self.sign::<Offer>(wire.encode_to_vec());
                self.offers.push(envelope.clone());
                envelope
            }
        }
    }

    fn alter(&mut self, offer: &mut wire::Offer) {
        let originator = self.cast.originator.public_key().to_vec();
        let chooser = &mut self.chooser;
        let other = Kind::ALL[chooser.below(Kind::ALL.len())];
        let other = || stage().template(0, other).offer.to_wire();
        match chooser.below(12) {
            0 => offer.nonce = vec![u8::try_from(chooser.below(256)).expect("a byte"); 32],
            1 => std::mem::swap(&mut offer.originator_item, &mut offer.responder_item),
            2 => offer.first_sender = 3 - offer.first_sender,
            3 => offer.protocol = 3 - offer.protocol,
            4 => offer.complain_by = chooser.pick(&[0, 1, EARLY, COMPLAIN_BY, COMPLAIN_BY + 1, 1 << 53]),
            5 => offer.originator_item = other().originator_item,
            6 => offer.responder_item = other().responder_item,
            7 => offer.escrow = other().escrow,
            8 => {
                let item =
                    if chooser.one_in(2) { &mut offer.originator_item } else { &mut offer.responder_item };
                if let Some(item) = item {
                    item.properties = (0..chooser.below(4)).map(|_| 0).collect();
                    for property in &mut item.properties {
                        *property = i32::try_from(chooser.below(9)).expect("small");
                    }
                }
            }
            9 => std::mem::swap(&mut offer.originator, &mut offer.responder),
            10 => {
                if let Some(party) = &mut offer.responder {
                    party.signing_key = originator;
                }
            }
            _ => {
                if let Some(arbiter) = &mut offer.arbiter {
                    arbiter.rules.push('2');
                }
            }
        }
    }

    /// An acceptance of `exchange`: honest ones are of the honest offer and by who holds the responder's key.
    fn acceptance(&mut self, exchange: ExchangeId) -> Option<Envelope> {
        match self.chooser.below(5) {
            0 => None,
            1 | 2 => {
                // Of the two, an honest responder signed only the first.
                let second = self.cheater == Role::Responder && self.chooser.one_in(2);
                Some(self.template.agreements[usize::from(second)].acceptance().envelope().clone())
            }
            _ => {
                let nonce = [u8::try_from(self.chooser.below(4)).expect("small"); 32];
                Some(self.sign::<Acceptance>(
                    Acceptance { exchange_id: exchange, nonce }.to_wire().encode_to_vec(),
                ))
            }
        }
    }

    /// The request: by the cheater, as it likes; or by the honest party, about what it knows.
    fn request(&mut self, offer: &Envelope, acceptance: Option<&Envelope>) -> Envelope {
        let actions = [Action::Abort, Action::Resolve, Action::Deposit, Action::Fetch, Action::Query];
        let action = self.chooser.pick(&actions);
        let agreement_id = acceptance.map(|it| AgreementId::from_bytes(*it.digest().as_bytes()));
        let exchange_id = ExchangeId::from_bytes(*offer.digest().as_bytes());
        let known = exchange_id == self.template.offer.exchange_id()
            && agreement_id.is_none_or(|it| self.template.agreements.iter().any(|known| known.id() == it));
        if known && self.chooser.one_in(3) {
            let request = Request { exchange_id, agreement_id, role: self.honest(), action };
            return Verified::sign(request, self.cast.key(self.honest())).envelope().clone();
        }
        let agreements = [agreement_id, agreement_id, None, Some(self.template.agreements[1].id())];
        let exchanges = [exchange_id, exchange_id, exchange_id, self.template.offer.exchange_id()];
        let request = Request {
            exchange_id: self.chooser.pick(&exchanges),
            agreement_id: self.chooser.pick(&agreements),
            role: self.chooser.pick(&[self.cheater, self.cheater, self.honest()]),
            action,
        };
        self.sign::<Request>(request.to_wire().encode_to_vec())
    }

    fn escrows(&mut self) -> Escrows {
        if self.chooser.below(3) == 2 {
            return Escrows::default();
        }
        let index = self.chooser.below(2);
        let template = self.template;
        let chooser = &mut self.chooser;
        let mut one = |role: Role| {
            let from = if chooser.below(8) == 7 { role.peer() } else { role };
            let good = template.escrowed[index].of(from).as_ref()?.escrow()?;
            match chooser.below(4) {
                0 | 1 => Some(good.clone()),
                2 => {
                    let mut bytes = good.to_bytes();
                    let place = chooser.below(bytes.len());
                    // Every instance, or one byte.
                    if chooser.one_in(2) {
                        let start = bytes.len() - 80 * usize::from(good.suite().hidden());
                        bytes[start..].chunks_mut(80).for_each(|it| it[place % 80] ^= 1);
                    } else {
                        bytes[place] ^= 1;
                    }
                    Escrow::from_bytes(&bytes).ok()
                }
                _ => None,
            }
        };
        ByRole { originator: one(Role::Originator), responder: one(Role::Responder) }
            .map(|_, it| it.clone().map(Pledge::from))
    }

    fn file(&mut self) {
        let offer = self.offer();
        let exchange = ExchangeId::from_bytes(*offer.digest().as_bytes());
        let acceptance = self.acceptance(exchange);
        let request = self.request(&offer, acceptance.as_ref());
        let escrows = self.escrows();
        let Ok(case) = admit(&self.cast.identity(), request, offer, acceptance, escrows) else { return };
        self.check_signers(&case);
        let record = self.court.record(&case.exchange_id());
        let opened = if record.verdict.is_some() { Ok(ByRole::default()) } else { open(&case, self.cast) };
        let Ok(opened) = opened else { return };
        let content = fit();
        let mut held = opened.map(|role, fit| fit.as_ref().map(|fit| (fit, content_of(role))));
        if case.request().action == Action::Deposit && self.chooser.below(8) != 7 {
            held = ByRole::only(case.request().role, (&content, ContentId(7)));
        }
        let Filed { before, after, refused, .. } = self.court.file(case, held);
        if refused {
            return;
        }
        assert!(before.verdict.is_none() || before.verdict == after.verdict, "R-401: a second verdict");
        for (role, deposit) in before.attestations.iter() {
            let kept = deposit.is_none() || deposit == after.attestations.of(role);
            assert!(kept, "R-407: a second deposit");
        }
    }

    /// R-106, R-402: whatever was admitted, the right keys signed it.
    fn check_signers(&self, case: &Case) {
        let offer = case.offer();
        let theirs = self.cast.key(self.honest()).public_key();
        assert_eq!(offer.envelope().key(), offer.originator.signing_key, "R-106");
        assert_eq!(case.request().signer(), offer.party(case.request().role).signing_key, "R-402");
        assert_eq!(case.request().exchange_id, offer.exchange_id(), "R-205");
        // The honest party signed one offer, and one acceptance of it.
        if offer.originator.signing_key == theirs {
            assert_eq!(offer.digest(), self.template.offer.digest(), "a forged offer");
        }
        if let Some(agreement) = case.agreement()
            && offer.responder.signing_key == theirs
        {
            assert_eq!(agreement.id(), self.template.agreements[0].id(), "a forged acceptance");
        }
    }

    fn commit(&mut self) {
        self.court.commit(|case, record| {
            let verdict = record.verdict.as_ref().expect("a new verdict");
            let first = case.offer().selection.first_sender;
            let deposit = record.attestations.of(first).as_ref().map(|it| &it.statement);
            lawful(&verdict.statement, case.offer(), case.request(), deposit);
            check_content(case, &record.held);
        });
    }

    /// Every leaf at its place, times ascending.
    fn check_log(&self) {
        let mut time = UnixMillis(0);
        for (place, bytes) in self.court.durable.leaves.iter().enumerate() {
            let leaf = Leaf::decode(bytes).expect("R-501");
            assert_eq!(usize::try_from(leaf.index.0), Ok(place));
            assert!(leaf.time >= time, "R-409");
            time = leaf.time;
        }
    }
}

/// R-411: what a verdict says is taken out of escrow is there for the peer, and nothing else is.
fn check_content(case: &Case, held: &ByRole<Option<ContentId>>) {
    let resolved = case.request().action == Action::Resolve;
    for role in Role::BOTH {
        let opened = *held.of(role) == Some(content_of(role));
        assert_eq!(opened, resolved && case.to_open().contains(&role), "R-411: {role:?}");
    }
}

/// Admission of the same bytes is the same: one input tries many variants of few cases, and signatures are slow.
fn admit(
    identity: &ArbiterIdentity,
    request: Envelope,
    offer: Envelope,
    acceptance: Option<Envelope>,
    escrows: Escrows,
) -> Result<Rc<Case>, Rejected> {
    thread_local! {
        static CASES: RefCell<BTreeMap<Digest, Result<Rc<Case>, Rejected>>> = RefCell::default();
    }
    let escrow = |role| escrows.of(role).as_ref().map(Pledge::to_bytes).unwrap_or_default();
    let parts = [
        request.encode(),
        offer.encode(),
        acceptance.as_ref().map(Envelope::encode).unwrap_or_default(),
        escrow(Role::Originator),
        escrow(Role::Responder),
    ];
    let key =
        Digest::of(&parts.each_ref().map(|part| Digest::of(&[part])).each_ref().map(|it| &it.as_bytes()[..]));
    CASES.with_borrow_mut(|cases| {
        if cases.len() > 2_000 {
            cases.clear();
        }
        let admit = || {
            let acceptance = acceptance.map(Signed::parse).transpose()?;
            Case::admit(identity, Signed::parse(request)?, Signed::parse(offer)?, acceptance, escrows)
                .map(Rc::new)
        };
        cases.entry(key).or_insert_with(admit).clone()
    })
}

/// R-411: what the arbiter takes out of the escrows; it never opens what the signer did not sign.
pub fn open(case: &Case, cast: &Cast) -> Result<ByRole<Option<FitContent>>, Refused> {
    let mut opened = ByRole::default();
    let Some(agreement) = case.agreement() else { return Ok(opened) };
    for role in case.to_open() {
        let Some(escrow) = case.escrows().of(role).as_ref().and_then(Pledge::escrow) else { continue };
        let place = Place::of(case.offer(), role, agreement.id());
        match place.open(escrow, &cast.escrow_secret()) {
            Ok((fit, signature)) => {
                let Description::DetachedSignature(item) = &case.offer().item(role).description else {
                    panic!("R-411: opened what is no detached signature")
                };
                assert!(item.key.verify(item.statement.document().as_bytes(), &signature), "R-411");
                *opened.of_mut(role) = Some(fit);
            }
            Err(Rejected::Refused(refused)) => return Err(refused),
            Err(Rejected::Invalid(invalid)) => panic!("admitted, and then {invalid}"),
        }
    }
    Ok(opened)
}
