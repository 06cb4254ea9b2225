//! One play: who cheats how, what is away, and the judgement.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arbiter_client::protocol::escrow::Suite;
use arbiter_client::protocol::exchange::item::Description;
use arbiter_client::protocol::exchange::selection::{Protocol, Role};
use arbiter_client::protocol::ids::ExchangeId;
use arbiter_client::protocol::message::agreement::{EscrowTerms, Offer};
use arbiter_client::testing::{Bench, Cheat, LedgerCall, Loot, identity};
use arbiter_client::transport::memory::{End, Memory, Wire};
use arbiter_client::{Client, Error, Outcome};

use crate::cells::{Cell, Thing};
use crate::common::{Setting, arbiter_gave};
use crate::outside;
use crate::trades::{self, BEGIN, HOLD_END};

/// Away from the beginning, for a quarter of an hour: deadlines are half an hour and an hour away.
const AWAY: Duration = Duration::from_secs(900);

/// What is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    None,
    Arbiter,
    Ledger,
    Both,
}

/// One play.
#[derive(Clone, Copy, Debug)]
pub struct Play {
    cell: Cell,
    cheat: Option<(Role, Cheat)>,
    outage: Outage,
    means: Means,
}

/// By which modules a party that behaves gives its item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    BuiltIn,
    /// An application's own, see [`outside`].
    Own,
}

/// How it ended.
pub struct Ending {
    pub name: &'static str,
    pub calls: u64,
    pub weak: bool,
    pub unfair: Option<String>,
}

/// Every play of a cell; none where there is no protocol.
pub fn plays(cell: Cell) -> Vec<Play> {
    let Ok(selection) = cell.selection() else { return Vec::new() };
    let mut cheats = vec![None];
    for role in Role::BOTH {
        let first = selection.first_sender == role;
        let money = if cell.of(role).is_money() { &Cheat::MONEY[..] } else { &[] };
        // The last of them needs a signature of its own making.
        let (sealed, together) = match cell.of(role) {
            Thing::Sealed => (&Cheat::ESCROW[..4], &[][..]),
            Thing::SealedPackage => (&Cheat::ESCROW[..4], &Cheat::ESCROWS[..]),
            _ => (&[][..], &[][..]),
        };
        let all = Cheat::ALL.iter().chain(money).chain(sealed).chain(together).copied();
        cheats.extend(all.filter(|cheat| cheat.suits(role, first)).map(|cheat| Some((role, cheat))));
    }
    let pays = Role::BOTH.into_iter().any(|role| cell.of(role).is_money());
    let outages: &[Outage] = match pays {
        true => &[Outage::None, Outage::Arbiter, Outage::Ledger, Outage::Both],
        false => &[Outage::None, Outage::Arbiter],
    };
    let play = |cheat, outage, means| Play { cell, cheat, outage, means };
    let each = |cheat| outages.iter().map(move |outage| play(cheat, *outage, Means::BuiltIn));
    let own = |cheat| play(cheat, Outage::None, Means::Own);
    cheats.iter().copied().flat_map(each).chain(cheats.iter().copied().map(own)).collect()
}

impl Play {
    /// Both behave and everything is there.
    pub fn is_plain(self) -> bool {
        self.cheat.is_none() && self.outage == Outage::None
    }

    pub fn run(self) -> Ending {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        let play = || runtime.unwrap().block_on(self.play());
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(play)).unwrap_or_else(|_| Ending {
            name: "panicked",
            calls: 0,
            weak: false,
            unfair: Some(format!("{}: panicked, see above", self.what())),
        })
    }

    fn what(self) -> String {
        let by = self
            .cheat
            .map_or_else(|| "honest".to_owned(), |(role, cheat)| format!("{cheat:?} by the {role}"));
        format!("{}: {by}, away: {:?}, means: {:?}", self.cell, self.outage, self.means)
    }

    async fn play(self) -> Ending {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        let setting = self.cell.setting(&bench, folder.path());
        let away = async {
            if matches!(self.outage, Outage::Arbiter | Outage::Both) {
                bench.arbiter.set_down(true);
            }
            if matches!(self.outage, Outage::Ledger | Outage::Both) {
                bench.ledger.set_down(&[
                    LedgerCall::Make,
                    LedgerCall::Post,
                    LedgerCall::Void,
                    LedgerCall::Look,
                ]);
            }
            tokio::time::sleep(AWAY).await;
            bench.arbiter.set_down(false);
            bench.ledger.set_down(&[]);
            // orders are told until the ledger has heard them.
            bench.arbiter.carry_out();
        };
        match self.cheat {
            None => {
                let ((alice, bob), ()) = tokio::join!(self.both(&bench, &setting), away);
                self.judge_both(&bench, &alice, &bob).await
            }
            Some((role, cheat)) => {
                let ((outcome, loot), ()) = tokio::join!(self.against(&bench, &setting, role, cheat), away);
                self.judge_one(&bench, outcome.as_ref(), &loot).await
            }
        }
    }

    /// A party that behaves, and how often its own modules gave something.
    async fn party(self, bench: &Bench, name: &str) -> (Client, Arc<AtomicU64>) {
        let (builder, gave) = match self.means {
            Means::BuiltIn => (bench.builder(name), Arc::default()),
            Means::Own => outside::party(bench, name),
        };
        (builder.build().await.unwrap(), gave)
    }

    async fn both(self, bench: &Bench, setting: &Setting) -> (Outcome, Outcome) {
        let ((alice, hers), (bob, his)) = (self.party(bench, "alice").await, self.party(bench, "bob").await);
        let wire = Wire::default();
        let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
        let id = self.offer(&alice, setting).await.unwrap();
        let bobs = async {
            let offer = bob.next_offer(&mut b).await?;
            let id = bob.accept(&offer, setting.responder.clone()).await?;
            Ok::<_, Error>(persist(&bob, id, &mut b).await)
        };
        let (ours, theirs) = tokio::join!(persist(&alice, id, &mut a), bobs);
        for (thing, gave) in [(self.cell.originator, hers), (self.cell.responder, his)] {
            // Files of a package are named one by one, and no module is asked for them.
            let others = [Thing::Files, Thing::Nothing, Thing::Signature, Thing::Signatures];
            let by_module = !others.contains(&thing);
            let gave = gave.load(Ordering::Relaxed) > 0;
            assert_eq!(gave, by_module && self.means == Means::Own, "{}: who gave?", self.what());
        }
        (ours, theirs.unwrap())
    }

    async fn offer(self, client: &Client, setting: &Setting) -> Result<ExchangeId, Error> {
        let (terms, give) = (setting.terms.clone(), setting.originator.clone());
        match self.protocol() {
            Protocol::Affidavit => client.offer_with_affidavit(terms, give).await,
            _ => client.offer(terms, give).await,
        }
    }

    fn protocol(self) -> Protocol {
        self.cell.selection().unwrap().protocol
    }

    /// One party behaves. `None`: it saw through the cheat before it signed anything.
    async fn against(
        self,
        bench: &Bench,
        setting: &Setting,
        cheating: Role,
        cheat: Cheat,
    ) -> (Option<Outcome>, Loot) {
        let cheater = trades::cheater(bench, setting, cheating, cheat);
        let wire = Wire::default();
        let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
        match cheating {
            Role::Responder => {
                let (alice, _) = self.party(bench, "alice").await;
                let id = self.offer(&alice, setting).await.unwrap();
                let (outcome, loot) = tokio::join!(persist(&alice, id, &mut a), cheater.respond(&mut b));
                (Some(outcome), loot.unwrap_or_default())
            }
            Role::Originator => {
                let (bob, _) = self.party(bench, "bob").await;
                let offer = self.false_offer(bench, setting);
                let run = async {
                    let offer = match bob.next_offer(&mut b).await {
                        Ok(offer) => offer,
                        Err(Error::Peer(_)) => {
                            bob.decline(&mut b, "OFFER_REFUSED").await;
                            return None;
                        }
                        Err(error) => panic!("{error}"),
                    };
                    let id = bob.accept(&offer, setting.responder.clone()).await.unwrap();
                    Some(persist(&bob, id, &mut b).await)
                };
                let (outcome, loot) = tokio::join!(run, cheater.originate(offer, &mut a));
                (outcome, loot.unwrap_or_default())
            }
        }
    }

    fn false_offer(self, bench: &Bench, setting: &Setting) -> Offer {
        let terms = setting.terms.clone();
        let is_sealed = |role| matches!(self.cell.of(role), Thing::Sealed | Thing::SealedPackage);
        let sealed = Role::BOTH.into_iter().any(is_sealed) && self.protocol() != Protocol::Transfer;
        Offer {
            escrow: sealed.then(|| EscrowTerms::new(bench.arbiter.escrow_epoch(), Suite::FAST)),
            nonce: [9; 32],
            originator: identity("alice").party(),
            responder: terms.responder,
            arbiter: bench.arbiter.identity(),
            selection: self.cell.selection().unwrap(),
            originator_item: terms.originator_item,
            responder_item: terms.responder_item,
            complain_by: terms.complain_by,
            send_by: terms.send_by,
        }
    }

    /// Both behave: both have what was agreed, or neither has; with everything there both have, and the arbiter heard nothing.
    async fn judge_both(self, bench: &Bench, alice: &Outcome, bob: &Outcome) -> Ending {
        self.all_is_over(bench).await;
        let (hers, his) = (trades::has(bench, alice), trades::has(bench, bob));
        let calls = bench.arbiter.calls();
        let in_line = self.protocol() == Protocol::BothDeposited;
        let one_way = self.protocol() == Protocol::Transfer;
        let weak = self.protocol() == Protocol::Affidavit && hers != his;
        let mut faults = Vec::new();
        if hers != his && !weak && !one_way {
            faults.push(format!("alice has {hers}, bob has {his}"));
        }
        if self.is_plain() && !(hers && his) {
            faults.push("two honest parties did not complete".to_owned());
        }
        if (self.is_plain() || one_way) && calls > 0 && !in_line {
            faults.push(format!("F3: {calls} calls to the arbiter"));
        }
        self.ending(bench, name(alice), calls, weak, faults, &format!("{alice:?} {bob:?}"))
    }

    /// Whoever behaves has what it was promised, or its own item is nobody else's.
    async fn judge_one(self, bench: &Bench, outcome: Option<&Outcome>, loot: &Loot) -> Ending {
        self.all_is_over(bench).await;
        let calls = bench.arbiter.calls();
        let Some(outcome) = outcome else {
            let faults =
                if loot.has_item() { vec!["F1: a false offer got an item".to_owned()] } else { Vec::new() };
            return self.ending(bench, "aborted", calls, false, faults, "refused");
        };
        let evidence = outcome.evidence();
        let offer = &evidence.offer;
        let gave = match &offer.item(evidence.role).description {
            paid if !paid.payments().is_empty() => trades::is_paid(bench, offer, evidence.role),
            Description::Nothing => false,
            // What the arbiter holds for the cheater it can fetch.
            _ => loot.has_item() || arbiter_gave(bench, &offer.exchange_id()),
        };
        let has = trades::has(bench, outcome);
        // Who gives for nothing has what it was promised.
        let lost = gave && !has;
        let weak = lost && self.protocol() == Protocol::Affidavit;
        let mut faults = Vec::new();
        if lost && !weak {
            faults.push("F1: it gave, and has nothing".to_owned());
        }
        if matches!(outcome, Outcome::Completed(_)) && !has {
            faults.push("it says that it has the item, and has not".to_owned());
        }
        self.ending(bench, name(outcome), calls, weak, faults, &format!("{outcome:?}"))
    }

    fn ending(
        self,
        bench: &Bench,
        name: &'static str,
        calls: u64,
        weak: bool,
        mut faults: Vec<String>,
        seen: &str,
    ) -> Ending {
        let (alice, bob) = trades::balances(bench);
        if alice + bob != 2 * BEGIN {
            faults.push(format!("money is lost: {alice} + {bob}"));
        }
        let unfair = (!faults.is_empty()).then(|| format!("{}: {} ({seen})", self.what(), faults.join("; ")));
        Ending { name, calls, weak, unfair }
    }

    /// Every hold has ended, and the arbiter's orders are with the ledger.
    async fn all_is_over(self, bench: &Bench) {
        tokio::time::sleep(Duration::from_millis(HOLD_END + 1_000)).await;
        bench.arbiter.carry_out();
    }
}

/// What is out of reach is asked again, as an application would.
async fn persist(client: &Client, id: ExchangeId, wire: &mut Memory) -> Outcome {
    loop {
        match client.run(id, wire).await {
            Ok(outcome) => return outcome,
            Err(Error::Retry { after, .. }) => tokio::time::sleep(after).await,
            Err(error) => panic!("{error}"),
        }
    }
}

const fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Abandoned(_) => "abandoned",
        Outcome::Aborted(_) => "aborted",
        Outcome::Affidavit(_) => "affidavit",
        Outcome::Completed(_) => "completed",
        Outcome::Resolved(_) => "resolved",
    }
}
