//! What a run is about: exchanges, who cheats, and everything that anybody can sign in them. Signed, put into escrow
//! and admitted once, by the production code, before the search begins.

use arbiter_protocol::crypto::MemorySigner;
use arbiter_protocol::error::Refused;
use arbiter_protocol::exchange::kind::content::FitContent;
use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::kind::pledge::{Pledge, Pledged};
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::message::agreement::{Agreement, Offer};
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::role::arbiter::{Case, Escrows};
use arbiter_protocol::statement::{Signed, Verified};
use arbiter_protocol::weaken::Countermeasure;

use crate::common::{COMPLAIN_BY, CONTENT, Cast, Kind, hollow, party, signer};

/// The complaint margin of everybody who behaves.
pub const MARGIN: u64 = 60_000;
/// How far a clock may be off (A2: less than the margin).
pub const SKEW: u64 = 20_000;
/// The instants that a clock can show, on the arbiter's clock: each lies between two of the times that rules name, by
/// the own clock of who is exact, fast or slow.
pub const INSTANTS: [u64; 6] = [
    COMPLAIN_BY - 600_000,
    COMPLAIN_BY - 2 * MARGIN + SKEW / 2,
    COMPLAIN_BY - MARGIN + SKEW / 2,
    COMPLAIN_BY - 1,
    COMPLAIN_BY,
    COMPLAIN_BY + MARGIN + SKEW + 1,
];
/// What they are called in a story.
pub const INSTANT_NAMES: [&str; 6] = [
    "long before the deadline",
    "less than two margins before the deadline",
    "less than a margin before the deadline",
    "the last moment before the deadline",
    "the deadline",
    "more than a margin after the deadline",
];

/// One search.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Kind, and whether Ada is the responder.
    pub exchanges: Vec<(Kind, bool)>,
    /// Ada is 0, Bob is 1.
    pub cheater: Option<usize>,
    /// Indexes into [`INSTANTS`].
    pub instants: Vec<usize>,
    /// Ada's and Bob's clocks, in milliseconds after the arbiter's.
    pub skews: Vec<i64>,
    /// How many cases a commit may hold.
    pub batch: usize,
    /// Parties crash between steps, and the peer says that it is back.
    pub crashes: bool,
    /// What is switched off.
    pub weakness: Option<Countermeasure>,
}

impl Setup {
    pub fn one(kind: Kind, cheater: Option<usize>) -> Self {
        // Where nothing has a deadline, time means nothing.
        let timeless = kind == Kind::P1;
        let skew = i64::try_from(SKEW).unwrap();
        Self {
            exchanges: vec![(kind, false)],
            cheater,
            instants: if timeless { vec![0] } else { (0..INSTANTS.len()).collect() },
            skews: if timeless { vec![0] } else { vec![0, skew, -skew] },
            batch: 2,
            crashes: true,
            weakness: None,
        }
    }

    /// Two exchanges between the same people; fewer instants, exact clocks.
    pub fn two(exchanges: [(Kind, bool); 2], cheater: Option<usize>) -> Self {
        let timeless = exchanges.iter().all(|(kind, _)| *kind == Kind::P1);
        Self {
            exchanges: exchanges.to_vec(),
            cheater,
            instants: if timeless { vec![0] } else { vec![0, 3, 5] },
            skews: vec![0],
            batch: 1,
            crashes: false,
            weakness: None,
        }
    }

    pub fn without(self, weakness: Option<Countermeasure>) -> Self {
        Self { weakness, ..self }
    }

    /// The role of a person in an exchange.
    pub fn role(&self, exchange: usize, person: usize) -> Role {
        if (person == 0) == self.exchanges[exchange].1 { Role::Responder } else { Role::Originator }
    }

    pub fn person(&self, exchange: usize, role: Role) -> usize {
        usize::from(self.role(exchange, 0) != role)
    }

    pub fn honest(&self, person: usize) -> bool {
        self.cheater != Some(person)
    }
}

/// What is filed beside a request to resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filed {
    /// What an honest party files.
    Good,
    /// There is nothing in the escrow of who files.
    Hollow,
    /// There is nothing in the peer's: only who did not check it has no other.
    HollowPeer,
    /// None.
    Missing,
    /// Those of the other acceptance.
    Strange,
}

/// A request as somebody can sign it, and what it is filed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey {
    /// What the request names.
    pub exchange: usize,
    /// Whose offer and acceptance are filed: who behaves files those of the same exchange.
    pub filed: usize,
    pub agreement: Option<usize>,
    pub role: Role,
    pub action: Action,
    pub signer: usize,
    pub escrows: Filed,
}

pub struct Call {
    pub key: CallKey,
    pub case: Case,
    /// What the arbiter takes out of the escrows.
    pub opened: Result<ByRole<Option<FitContent>>, Refused>,
}

/// One exchange, with two acceptances, of which an honest responder signs the first.
pub struct Template {
    pub kind: Kind,
    pub cast: Cast,
    pub offer: Verified<Offer>,
    pub agreements: [Agreement; 2],
    pub escrowed: [ByRole<Option<Pledged>>; 2],
    hollow: [ByRole<Option<Pledge>>; 2],
    pub signatures: ByRole<Option<[u8; 64]>>,
}

impl Template {
    fn new(cast: Cast, kind: Kind, nonce: u8) -> Self {
        let mut terms = cast.terms(kind, nonce);
        if kind == Kind::P1Mixed {
            terms.escrow = Some(cast.escrow_terms(COMPLAIN_BY)); // so that its deadline lies among the instants
        }
        let offer = Verified::sign(terms, &cast.originator);
        let agree = |nonce| Agreement::join(offer.clone(), cast.acceptance(&offer, nonce)).unwrap();
        let agreements = [agree(1), agree(2)];
        let escrowed = [0, 1].map(|index: usize| ByRole {
            originator: cast.escrowed(&agreements[index], Role::Originator),
            responder: cast.escrowed(&agreements[index], Role::Responder),
        });
        let hollow = [0, 1].map(|index: usize| {
            escrowed[index]
                .map(|_, it| it.as_ref().and_then(|it: &Pledged| Some(hollow(it.escrow()?).into())))
        });
        let signatures = ByRole {
            originator: cast.finished(&offer, Role::Originator),
            responder: cast.finished(&offer, Role::Responder),
        };
        Self { kind, cast, offer, agreements, escrowed, hollow, signatures }
    }

    /// What follows the transfer of `sender`.
    pub fn content(&self, sender: Role) -> Option<Vec<u8>> {
        let file = (!self.kind.is_p1() && sender == self.kind.first()).then(|| CONTENT.to_vec());
        self.signatures.of(sender).map(|it| it.to_vec()).or(file)
    }
}

pub struct Stage {
    pub setup: Setup,
    pub templates: Vec<Template>,
    pub calls: Vec<Call>,
    /// Indexes of the calls that the cheater can make of its own.
    pub cheats: Vec<u16>,
    /// A case of an exchange that the cheater made up with an accomplice, with the honest party's escrow in it.
    pub sham: Option<(Case, ByRole<Option<FitContent>>)>,
}

impl Stage {
    pub fn new(setup: Setup) -> Self {
        let casts =
            setup.exchanges.iter().map(|(_, swapped)| if *swapped { Cast::swapped() } else { Cast::new() });
        let templates: Vec<_> = casts
            .zip(&setup.exchanges)
            .zip(31..)
            .map(|((cast, (kind, _)), nonce)| Template::new(cast, *kind, nonce))
            .collect();
        let mut stage = Self { setup, templates, calls: Vec::new(), cheats: Vec::new(), sham: None };
        for key in stage.honest_keys() {
            stage.add(key);
        }
        for key in stage.cheats_keys() {
            if let Some(index) = stage.add(key) {
                stage.cheats.push(index);
            }
        }
        stage.sham = stage.sham();
        stage
    }

    /// What is rejected on admission changes nothing and is left out.
    fn add(&mut self, key: CallKey) -> Option<u16> {
        let case = self.admit(key)?;
        let same = |call: &Call| {
            call.case.request().digest() == case.request().digest()
                && (call.key.filed, call.key.signer) == (key.filed, key.signer)
                && call.case.escrows() == case.escrows()
        };
        if self.calls.iter().any(same) {
            return None;
        }
        let opened = self.open(&case);
        self.calls.push(Call { key, case, opened });
        u16::try_from(self.calls.len() - 1).ok()
    }

    fn honest_keys(&self) -> Vec<CallKey> {
        let mut keys = Vec::new();
        let honest = (0..2).filter(|person| self.setup.honest(*person));
        for (signer, exchange) in honest.flat_map(|it| (0..self.templates.len()).map(move |e| (it, e))) {
            let role = self.setup.role(exchange, signer);
            for action in [Action::Abort, Action::Resolve, Action::Deposit, Action::Fetch] {
                for agreement in [None, Some(0), Some(1)] {
                    for escrows in [Filed::Good, Filed::HollowPeer] {
                        let key =
                            CallKey { exchange, filed: exchange, agreement, role, action, signer, escrows };
                        keys.push(key);
                    }
                }
            }
        }
        keys
    }

    /// Everything that the cheater can sign, beside everything it has; and the requests of who behaves, elsewhere.
    fn cheats_keys(&self) -> Vec<CallKey> {
        let mut keys = Vec::new();
        let Some(cheater) = self.setup.cheater else { return keys };
        let exchanges = 0..self.templates.len();
        for (exchange, filed) in exchanges.clone().flat_map(|e| exchanges.clone().map(move |f| (e, f))) {
            for (signer, role) in [0, 1].into_iter().flat_map(|it| Role::BOTH.map(|role| (it, role))) {
                let own = signer == cheater;
                if !own && (exchange == filed || role != self.setup.role(exchange, signer)) {
                    continue;
                }
                for action in [Action::Abort, Action::Resolve, Action::Deposit, Action::Fetch] {
                    for agreement in [None, Some(0), Some(1)] {
                        for escrows in [Filed::Good, Filed::Hollow, Filed::Missing, Filed::Strange] {
                            let key = CallKey { exchange, filed, agreement, role, action, signer, escrows };
                            let escrows_matter = action == Action::Resolve && agreement.is_some();
                            if escrows == Filed::Good || escrows_matter {
                                keys.push(key);
                            }
                        }
                    }
                }
            }
        }
        keys
    }

    fn admit(&self, key: CallKey) -> Option<Case> {
        let named = &self.templates[key.exchange];
        let filed = &self.templates[key.filed];
        let request = Request {
            exchange_id: named.offer.exchange_id(),
            agreement_id: key.agreement.map(|index| named.agreements[index].id()),
            role: key.role,
            action: key.action,
        };
        let request = Verified::sign(request, &person(key.signer));
        let acceptance = key
            .agreement
            .map(|index| Signed::parse(filed.agreements[index].acceptance().envelope().clone()).unwrap());
        Case::admit(
            &filed.cast.identity(),
            Signed::parse(request.envelope().clone()).unwrap(),
            Signed::parse(filed.offer.envelope().clone()).unwrap(),
            acceptance,
            escrows(filed, key),
        )
        .ok()
    }

    fn open(&self, case: &Case) -> Result<ByRole<Option<FitContent>>, Refused> {
        let mut opened = ByRole::default();
        for role in case.to_open() {
            let Some(escrow) = case.escrows().of(role).as_ref().and_then(Pledge::escrow) else { continue };
            let place = Place::of(case.offer(), role, case.agreement().unwrap().id());
            match place.open(escrow, &self.templates[0].cast.escrow_secret()) {
                Ok((fit, _)) => *opened.of_mut(role) = Some(fit),
                Err(rejected) => match rejected {
                    arbiter_protocol::error::Rejected::Refused(refused) => return Err(refused),
                    other => panic!("admitted, and then {other}"),
                },
            }
        }
        Ok(opened)
    }

    /// K8: the cheater and an accomplice agree on a signature *of the honest originator's key*, and file its escrow.
    fn sham(&self) -> Option<(Case, ByRole<Option<FitContent>>)> {
        let real = &self.templates[0];
        let cheats =
            self.setup.cheater == Some(1) && real.kind.is_p1() && real.kind.is_detached(Role::Originator);
        if !cheats {
            return None;
        }
        let accomplice = signer(5);
        let terms =
            Offer { originator: party(&accomplice, 15, "Eve"), nonce: [77; 32], ..(*real.offer).clone() };
        let offer = Verified::sign(terms, &accomplice);
        let agreement = Agreement::join(offer.clone(), real.cast.acceptance(&offer, 5)).unwrap();
        let request = Request {
            exchange_id: offer.exchange_id(),
            agreement_id: Some(agreement.id()),
            role: Role::Responder,
            action: Action::Resolve,
        };
        let request = Verified::sign(request, &person(1));
        let stolen = real.escrowed[0].originator.as_ref().map(Pledged::pledge);
        let escrows = ByRole { originator: stolen, responder: real.cast.pledge(&agreement, Role::Responder) };
        let case = Case::admit(
            &real.cast.identity(),
            Signed::parse(request.envelope().clone()).unwrap(),
            Signed::parse(offer.envelope().clone()).unwrap(),
            Some(Signed::parse(agreement.acceptance().envelope().clone()).unwrap()),
            escrows,
        )
        .ok()?;
        let opened = self.open(&case).ok()?;
        Some((case, opened))
    }

    /// The call that an honest party makes.
    pub fn call_of(&self, key: CallKey) -> Option<u16> {
        let index = self.calls.iter().position(|call| call.key == key)?;
        u16::try_from(index).ok()
    }
}

pub fn person(index: usize) -> MemorySigner {
    signer(if index == 0 { 1 } else { 2 })
}

fn escrows(filed: &Template, key: CallKey) -> Escrows {
    let Some(agreement) = key.agreement.filter(|_| key.action == Action::Resolve) else {
        return Escrows::default();
    };
    let p1 = filed.kind.is_p1();
    let wanted = |role: Role| p1 || role == key.role.peer();
    filed.escrowed[agreement].map(|role, good| {
        let good = good.as_ref().filter(|_| wanted(role))?.pledge();
        match key.escrows {
            Filed::Good => Some(good),
            Filed::Hollow if role == key.role || !p1 => filed.hollow[agreement].of(role).clone(),
            Filed::HollowPeer if role != key.role => filed.hollow[agreement].of(role).clone(),
            Filed::Hollow | Filed::HollowPeer => Some(good),
            Filed::Missing => None,
            Filed::Strange => filed.escrowed[1 - agreement].of(role).as_ref().map(Pledged::pledge),
        }
    })
}
