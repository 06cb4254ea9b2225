//! One schedule: a chooser decides what happens next until it has had enough; then time runs out.

use std::collections::{BTreeMap, VecDeque};

use arbiter_protocol::error::Refused;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::role::{Ask, Input, Outcome, Output, Phase, Session};
use arbiter_protocol::ruling::sequencer::Reply;

use crate::common::{COMPLAIN_BY, CONTENT, Chooser, Kind};
use crate::court::{Answer, Call, Court};
use crate::oracle::Oracle;
use crate::party::{Cut, MARGIN, Party, TIMING};
use crate::stage::{
    CaseKey, Filed, Message, OTHER_CONTENT, TransferKey, agreed, fitting, opening, role_in, stage, transfer,
};

/// When a first sender with the slowest clock has started to complain and the assumption behind the margin
/// begins to count: from here to the deadline its calls take effect. Clocks differ by at most 20 s.
const LAST_CHANCE: u64 = COMPLAIN_BY - 25_000;

/// What the chooser may do in a schedule.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub kinds: [Kind; 2],
    pub cheater: Option<usize>,
    pub loss: bool,
    pub crashes: bool,
    pub outages: bool,
    pub impatience: bool,
    pub steps: usize,
    /// Make and check every receipt in full.
    pub receipts: bool,
}

/// What a schedule reached.
#[derive(Default)]
pub struct Tally(pub BTreeMap<String, u64>);

impl Tally {
    pub fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }
}

struct Packet {
    to: usize,
    message: Message,
}

struct Letter {
    call: Call,
    answer: Answer,
}

pub struct World {
    rules: Rules,
    chooser: Chooser,
    pub oracle: Oracle,
    pub tally: Tally,
    parties: [Party; 2],
    court: Court,
    net: VecDeque<Packet>,
    calls: Vec<Call>,
    letters: Vec<Letter>,
    seen_by_cheater: Vec<Message>,
    cheater_runs_until: usize,
    now: u64,
    step: usize,
    calm: bool,
    time_held: bool,
    offer_left: [bool; 2],
    pub calls_made: u64,
    pub items_sent: u64,
    pub trace: u64,
    pub record: Option<Vec<String>>,
}

impl World {
    pub fn new(choices: impl Into<Chooser>, rules: Rules) -> Self {
        let mut chooser = choices.into();
        let mut skew = || i64::try_from(chooser.below(40_001)).unwrap() - 20_000;
        let skews = [skew(), skew()];
        let cheater_runs_until = chooser.below(rules.steps * 3 / 2);
        Self {
            rules,
            oracle: Oracle::new(rules.kinds),
            tally: Tally::default(),
            parties: [Party::new(0, rules.kinds, skews[0]), Party::new(1, rules.kinds, skews[1])],
            court: Court::new(),
            net: VecDeque::new(),
            calls: Vec::new(),
            letters: Vec::new(),
            seen_by_cheater: Vec::new(),
            cheater_runs_until,
            now: COMPLAIN_BY - 600_000,
            step: 0,
            calm: false,
            time_held: false,
            offer_left: [false; 2],
            calls_made: 0,
            items_sent: 0,
            trace: 0xcbf2_9ce4_8422_2325,
            record: None,
            chooser,
        }
    }

    /// Runs the schedule to the end of time. Panics if a property is broken.
    pub fn run(&mut self) {
        while self.step < self.rules.steps {
            self.step += 1;
            self.choose();
        }
        self.finish();
        for exchange in 0..2 {
            for party in 0..2 {
                if self.rules.cheater != Some(party)
                    && let Some(outcome) = self.oracle.judge(exchange, party)
                {
                    let ending = self.oracle.ending(exchange, party, outcome);
                    self.tally.count(ending);
                }
            }
        }
    }

    /// From now on the schedule is quick: no time passes.
    pub fn hold_time(&mut self) {
        self.time_held = true;
    }

    /// Only what two honest parties and their network do, until nothing is left to do.
    pub fn run_until_quiet(&mut self) {
        for _ in 0..5_000 {
            let (party, exchange) = (self.chooser.below(2), self.chooser.below(2));
            match self.chooser.below(4) {
                0 => self.open(party),
                1 => self.deliver(),
                2 => self.perform(party, exchange),
                _ => self.alarm(party, exchange),
            }
            let idle = self.parties.iter().all(|it| it.desks.iter().all(|desk| desk.outputs.is_empty()));
            if idle
                && self.net.is_empty()
                && self.parties.iter().enumerate().all(|(i, it)| it.desks[i].session().is_some())
            {
                return;
            }
        }
        panic!("two honest parties talk without end");
    }

    fn event(&mut self, name: &'static str, a: usize, b: usize) {
        for byte in name.bytes().chain(a.to_le_bytes()).chain(b.to_le_bytes()).chain(self.now.to_le_bytes()) {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(record) = &mut self.record {
            record.push(format!("{:>7} {name} {a} {b}", i128::from(self.now) - i128::from(COMPLAIN_BY)));
        }
    }

    fn runs(&self, party: usize) -> bool {
        let stopped = self.rules.cheater == Some(party) && (self.calm || self.step > self.cheater_runs_until);
        !stopped && !self.parties[party].asleep
    }

    /// One choice.
    fn choose(&mut self) {
        let party = self.chooser.below(2);
        let exchange = self.chooser.below(2);
        match self.chooser.below(100) {
            0..=11 => self.open(party),
            12..=39 => self.perform(party, exchange),
            40..=59 => self.deliver(),
            60..=66 => self.court_takes(),
            67..=72 => self.court_ends_batch(),
            73..=79 => self.letter_arrives(),
            80..=83 => self.alarm(party, exchange),
            84..=86 => self.pass_time(),
            87..=88 => self.disturb(party, exchange),
            89 => self.crash(party),
            _ => self.cheat(),
        }
    }

    fn open(&mut self, party: usize) {
        if !self.runs(party) || self.parties[party].desks[party].session().is_some() {
            return;
        }
        self.event("open", party, 0);
        let step = Session::open(stage().template(party, self.rules.kinds[party]).offer.clone(), TIMING);
        let cut = self.cut();
        self.parties[party].desks[party].take(step, cut);
        self.engaged_or_crashed(party, party, cut);
    }

    fn engaged_or_crashed(&mut self, exchange: usize, party: usize, cut: Cut) {
        if cut != Cut::BeforePersist {
            self.oracle.facts[exchange][party].engaged = true;
        }
        if cut != Cut::None {
            self.event("crash in step", party, usize::from(cut == Cut::AfterPersist));
            self.tally.count("crash inside a step");
            self.parties[party].restart();
        }
    }

    fn cut(&mut self) -> Cut {
        if self.calm || !self.rules.crashes || !self.chooser.one_in(25) {
            return Cut::None;
        }
        self.chooser.pick(&[Cut::BeforePersist, Cut::AfterPersist])
    }

    fn input(&mut self, party: usize, exchange: usize, input: Input) {
        let cut = self.cut();
        let now = self.parties[party].clock(self.now);
        let desk = &mut self.parties[party].desks[exchange];
        let asked = desk.asks();
        let received = matches!(input, Input::Received(_));
        let fetched = matches!(input, Input::Fetched(_));
        let was = desk.phase();
        let crashed = desk.handle(now, input, cut);
        let is = desk.phase();
        let facts = &mut self.oracle.facts[exchange][party];
        if was != is {
            // What ended a session is what it holds; what it ignored, or lost in a crash, it does not.
            facts.received |= received && is == Some(Phase::Done(Outcome::Completed));
            facts.fetched |= fetched && is == Some(Phase::Done(Outcome::Resolved));
            if received && let Some(ask) = asked {
                self.tally.count(format!("late completion while asking {ask:?}"));
            }
            if asked == Some(Ask::Complain) && is == Some(Phase::Asking(Ask::Abort)) {
                self.tally.count("complaint given up");
            }
        }
        if crashed {
            self.engaged_or_crashed(exchange, party, cut);
        }
    }

    /// Performs the next output of a session, or crashes right before it.
    fn perform(&mut self, party: usize, exchange: usize) {
        if !self.runs(party) {
            return;
        }
        if !self.calm && self.rules.crashes && self.chooser.one_in(60) {
            self.crash(party);
            return;
        }
        let now = self.parties[party].clock(self.now);
        let desk = &mut self.parties[party].desks[exchange];
        let Some(output) = desk.outputs.pop_front() else { return };
        let agreement = desk.agreement();
        let template = desk.template();
        // the driver asks again right before the item leaves.
        let may_send = desk.session().is_some_and(|session| session.may_send_item(now));
        let to = 1 - party;
        match output {
            Output::SendOffer => {
                self.offer_left[exchange] = true;
                self.send(to, Message::Statement(opening(template, 0), true), exchange);
            }
            Output::SendAcceptance => {
                let which = 1 + agreement.expect("accepted");
                self.send(to, Message::Statement(opening(template, which), true), exchange);
            }
            Output::SendItem if may_send => {
                let item = self.item(party, exchange, agreement.expect("R-303: sent without an agreement"));
                if self.rules.cheater != Some(party) {
                    self.oracle.facts[exchange][party].item_left = true;
                }
                self.items_sent += 1;
                self.send(to, item, exchange);
            }
            Output::SendItem => self.tally.count("an item not sent: too late to complain"),
            Output::Ask(ask) => self.ask(party, exchange, ask),
            Output::Observe | Output::Release => unreachable!("no money is in this world"),
            Output::WakeAt(time) => self.parties[party].desks[exchange].alarms.push(time.0),
            Output::Done(outcome) => {
                self.event("done", party, exchange);
                if self.rules.cheater != Some(party) {
                    self.oracle.ended(exchange, party, outcome);
                }
            }
        }
    }

    fn item(&self, party: usize, exchange: usize, agreement: usize) -> Message {
        let kind = self.rules.kinds[exchange];
        let sender = role_in(exchange, party);
        let content = self.content(exchange, sender);
        Message::Item(transfer(TransferKey { exchange, kind, agreement, sender, signer: party }), content)
    }

    /// What follows the transfer of `sender`.
    fn content(&self, exchange: usize, sender: Role) -> Option<&'static [u8]> {
        let kind = self.rules.kinds[exchange];
        let file = (!kind.is_p1() && sender == kind.first()).then_some(CONTENT);
        (*stage().template(exchange, kind).signatures.of(sender)).or(file)
    }

    fn send(&mut self, to: usize, message: Message, exchange: usize) {
        self.event("send", to, exchange);
        if self.rules.cheater == Some(to) && self.seen_by_cheater.len() < 40 {
            self.seen_by_cheater.push(message.clone());
        }
        self.net.push_back(Packet { to, message });
    }

    fn ask(&mut self, party: usize, exchange: usize, ask: Ask) {
        let action = match ask {
            Ask::Abort => Action::Abort,
            Ask::Complain | Ask::Deposit => Action::Deposit,
            Ask::Fetch => Action::Fetch,
            Ask::Resolve => Action::Resolve,
            Ask::Revoke => Action::Revoke,
        };
        self.call(party, exchange, action);
    }

    fn call(&mut self, party: usize, exchange: usize, action: Action) {
        let key = CaseKey {
            kinds: self.rules.kinds,
            exchange,
            filed: exchange,
            agreement: self.parties[party].desks[exchange].agreement(),
            role: role_in(exchange, party),
            action,
            signer: party,
            escrows: if self.parties[party].desks[exchange].escrow_passed {
                Filed::Good
            } else {
                Filed::HollowPeer
            },
        };
        self.file(Call { key });
    }

    fn file(&mut self, call: Call) {
        self.calls_made += 1;
        self.event("call", call.key.signer, call.key.exchange);
        if !self.calls.contains(&call) {
            self.calls.push(call);
        }
    }

    /// The network does something with a message: any message, in any order.
    fn deliver(&mut self) {
        if self.net.is_empty() {
            return;
        }
        let index = if self.rules.loss { self.chooser.below(self.net.len()) } else { 0 };
        let fate = if self.rules.loss { self.chooser.below(10) } else { 9 };
        let packet = match fate {
            0 => {
                self.event("drop", index, 0);
                self.net.remove(index);
                return;
            }
            1 => self.net.get(index).map(|it| Packet { to: it.to, message: it.message.clone() }),
            _ => self.net.remove(index),
        };
        let Some(packet) = packet else { return };
        if self.runs(packet.to) {
            self.event("deliver", packet.to, index);
            self.receive(packet.to, packet.message);
        }
    }

    fn receive(&mut self, party: usize, message: Message) {
        match message {
            Message::Statement(envelope, escrow_passes) if envelope.holds::<Offer>() => {
                let exchange = 1 - party;
                let desk = &self.parties[party].desks[exchange];
                if *envelope != *desk.template().offer.envelope() {
                    return; // Not an offer to this party: an acceptance reflected, or its own offer.
                }
                if desk.session().is_some() {
                    self.input(party, exchange, Input::PeerRepeats);
                    return;
                }
                let now = self.parties[party].clock(self.now);
                let agreement = desk.template().agreements[0].clone();
                let owed = desk.template().escrowed[0].originator.as_ref();
                if owed.is_some() && !escrow_passes {
                    self.tally.count("cheat: offer with a false escrow");
                }
                let escrow = owed.filter(|_| escrow_passes);
                if let Ok(step) = Session::accept(agreement, escrow, now, TIMING) {
                    self.event("accept", party, exchange);
                    self.parties[party].desks[exchange].escrow_passed = escrow_passes;
                    let cut = self.cut();
                    self.parties[party].desks[exchange].take(step, cut);
                    self.engaged_or_crashed(exchange, party, cut);
                }
            }
            Message::Statement(envelope, escrow_passes) => {
                let template = self.parties[party].desks[party].template();
                if let Some(which) = agreed(&envelope, template) {
                    let escrow = template.escrowed[which].responder.clone().filter(|_| escrow_passes);
                    if !escrow_passes && template.escrowed[which].responder.is_some() {
                        self.tally.count("cheat: acceptance with a false escrow");
                    }
                    let before = self.parties[party].desks[party].agreement();
                    self.input(party, party, Input::Accepted(template.agreements[which].clone(), escrow));
                    let desk = &mut self.parties[party].desks[party];
                    if before.is_none() && desk.agreement().is_some() {
                        desk.escrow_passed = escrow_passes;
                    }
                }
            }
            Message::Item(envelope, content) => {
                for exchange in 0..2 {
                    let desk = &self.parties[party].desks[exchange];
                    let Some(agreement) = desk.agreement().map(|index| &desk.template().agreements[index])
                    else {
                        continue;
                    };
                    let sender = role_in(exchange, 1 - party);
                    if let Some(fit) = fitting(&envelope, content, agreement, sender) {
                        self.input(party, exchange, Input::Received(fit));
                    }
                }
            }
            Message::Declined(exchange) => self.input(party, exchange, Input::GiveUp),
            Message::Hello(exchange) => self.input(party, exchange, Input::PeerRepeats),
        }
    }

    fn court_takes(&mut self) {
        if self.calls.is_empty() {
            return;
        }
        let index = self.chooser.below(self.calls.len());
        let call = self.calls.swap_remove(index);
        self.event("take", call.key.signer, call.key.exchange);
        // a clock that steps back.
        let back = if self.chooser.one_in(10) { 5_000 } else { 0 };
        self.court.take(call, self.now - back);
    }

    fn court_ends_batch(&mut self) {
        if self.court.pending() == 0 {
            return;
        }
        let fate = if self.calm || !self.rules.crashes { 9 } else { self.chooser.below(10) };
        if fate == 0 {
            self.event("arbiter dies before commit", 0, 0);
            self.tally.count("arbiter died before commit");
            let lost = self.court.crash();
            self.calls.extend(lost);
            return;
        }
        let (closed, answers) = self.court.close();
        let Some(closed) = closed else { return };
        self.oracle.committed(&closed, &answers);
        self.court.durable.apply(closed);
        if fate == 1 {
            self.event("arbiter dies after commit", 0, 0);
            self.tally.count("arbiter died after commit");
            self.calls.extend(answers.into_iter().map(|(call, _)| call));
            return;
        }
        self.event("commit", answers.len(), 0);
        for (call, answer) in answers {
            self.oracle.released(call, answer, &self.court);
            if self.rules.receipts
                && let Answer::Reply(reply) = answer
            {
                self.oracle.receipt(call, reply, &self.court);
            }
            self.letters.push(Letter { call, answer });
        }
    }

    fn letter_arrives(&mut self) {
        if self.letters.is_empty() {
            return;
        }
        let index = self.chooser.below(self.letters.len());
        let Letter { call, answer } = self.letters.swap_remove(index);
        let (party, exchange) = (call.key.signer, call.key.exchange);
        self.event("letter", party, exchange);
        if self.rules.cheater == Some(party) && self.note_cheaters_letter(call, answer) {
            return;
        }
        let desk = &self.parties[party].desks[exchange];
        if self.parties[party].asleep || desk.session().is_none() {
            return; // The caller is gone; after its restart it asks again.
        }
        let complains = desk.asks() == Some(Ask::Complain);
        match answer {
            Answer::Reply(Reply::Attestation(_)) if complains => self.call(party, exchange, Action::Resolve),
            Answer::Reply(Reply::Attestation(_)) => {}
            Answer::Reply(Reply::Content(_)) => {
                let template = self.parties[party].desks[exchange].template();
                let opened = template.opened(call.key.role.peer());
                self.input(party, exchange, Input::Fetched(opened.unwrap_or_else(|| stage().fit().clone())));
            }
            Answer::Reply(Reply::Verdict) => {
                let verdict = self.oracle.verdict(exchange).expect("released").clone();
                self.tally.count("verdicts delivered");
                if verdict.requested_by != call.key.role || verdict.request != self.digest(call) {
                    self.tally.count("verdicts replayed to another request");
                }
                if verdict.agreement_id
                    == Some(self.parties[party].desks[exchange].template().agreements[1].id())
                {
                    self.tally.count("verdicts on a second acceptance");
                }
                self.input(party, exchange, Input::Ruled(verdict));
            }
            // The verdict is there: ask for it (section 8).
            Answer::Refused(Refused::AlreadyRuled) => self.call(party, exchange, Action::Resolve),
            Answer::Refused(refused) => {
                if self.rules.cheater != Some(party) {
                    // Who behaves is refused only because a clock differs or an outage was long.
                    let expected = matches!(
                        refused,
                        Refused::AbortTooEarly { .. }
                            | Refused::ComplaintTooLate { .. }
                            | Refused::EscrowKeyRetired { .. }
                    );
                    assert!(expected, "an honest request was refused: {refused}");
                    self.tally.count(format!("honest refused: {}", refused.reason()));
                }
                self.input(party, exchange, Input::Refused);
            }
            Answer::Rejected(rejected) => panic!("an honest case was rejected: {rejected}"),
        }
    }

    fn digest(&self, call: Call) -> arbiter_protocol::ids::Digest {
        match crate::court::case_of(call).as_ref() {
            Ok(case) => case.request().digest(),
            Err(_) => arbiter_protocol::ids::Digest::of(&[]),
        }
    }

    /// Counts what a cheater got. True if no machine of its waits for it.
    fn note_cheaters_letter(&mut self, call: Call, answer: Answer) -> bool {
        match answer {
            Answer::Rejected(rejected) => self.tally.count(format!("cheat rejected: {}", rejected.reason())),
            Answer::Refused(refused) => self.tally.count(format!("cheat refused: {}", refused.reason())),
            Answer::Reply(_) => self.tally.count(format!("cheat answered: {:?}", call.key.action)),
        }
        !self.runs(call.key.signer)
            || matches!(answer, Answer::Rejected(_))
            || matches!(answer, Answer::Reply(Reply::Content(_)))
    }

    fn alarm(&mut self, party: usize, exchange: usize) {
        if !self.runs(party) {
            return;
        }
        let now = self.parties[party].clock(self.now).0;
        let alarms = &mut self.parties[party].desks[exchange].alarms;
        let Some(index) = alarms.iter().position(|time| *time <= now) else { return };
        alarms.swap_remove(index);
        self.event("wake", party, exchange);
        self.input(party, exchange, Input::Wake);
    }

    /// Time passes, but an honest first sender whose item left gets its complaint through in time: that is
    /// the assumption behind the complaint margin (section 10).
    fn pass_time(&mut self) {
        if self.time_held {
            return;
        }
        let spans = [200, 1_000, 20_000, 60_000, 200_000];
        let to_deadline = COMPLAIN_BY.saturating_sub(self.now);
        let targets =
            [to_deadline.saturating_sub(1), to_deadline, to_deadline + 1, to_deadline.saturating_sub(MARGIN)];
        let span =
            if self.chooser.one_in(4) { self.chooser.pick(&targets) } else { self.chooser.pick(&spans) };
        self.advance(self.now + span);
    }

    fn advance(&mut self, to: u64) {
        if to >= LAST_CHANCE && self.now < COMPLAIN_BY {
            for exchange in 0..2 {
                for party in 0..2 {
                    self.let_complain(party, exchange);
                }
            }
        }
        self.now = self.now.max(to);
        self.event("time", 0, 0);
    }

    fn owes_complaint(&self, party: usize, exchange: usize) -> bool {
        let kind = self.rules.kinds[exchange];
        let facts = self.oracle.facts[exchange][party];
        let done = matches!(self.parties[party].desks[exchange].phase(), Some(Phase::Done(_)));
        kind.has_deadline() && role_in(exchange, party) == kind.first() && facts.item_left && !done
    }

    fn let_complain(&mut self, party: usize, exchange: usize) {
        if !self.owes_complaint(party, exchange) {
            return;
        }
        self.now = self.now.max(LAST_CHANCE);
        let was_calm = std::mem::replace(&mut self.calm, true);
        if self.parties[party].asleep {
            self.parties[party].restart();
        }
        for _ in 0..60 {
            if !self.owes_complaint(party, exchange) {
                break;
            }
            self.alarm(party, exchange);
            while !self.parties[party].desks[exchange].outputs.is_empty() {
                self.perform(party, exchange);
            }
            self.serve();
            self.now += 300;
        }
        self.calm = was_calm;
        assert!(!self.owes_complaint(party, exchange), "F4: a complaint in time was not answered in time");
        self.tally.count("complaints in the last minute");
    }

    /// The arbiter works off everything that is there.
    fn serve(&mut self) {
        while !self.calls.is_empty() {
            self.court_takes();
        }
        self.court_ends_batch();
        while !self.letters.is_empty() {
            self.letter_arrives();
        }
    }

    fn disturb(&mut self, party: usize, exchange: usize) {
        match self.chooser.below(4) {
            0 if self.rules.impatience && self.runs(party) => {
                self.event("give up", party, exchange);
                self.input(party, exchange, Input::GiveUp);
            }
            1 if self.rules.outages && self.runs(party) => {
                self.event("sleep", party, 0);
                self.parties[party].asleep = true;
            }
            2 if self.parties[party].asleep && self.chooser.one_in(3) => {
                self.event("wake up", party, 0);
                self.parties[party].restart();
            }
            _ if self.runs(party) => self.send(1 - party, Message::Hello(exchange), exchange),
            _ => {}
        }
    }

    fn crash(&mut self, party: usize) {
        if self.rules.crashes && self.runs(party) {
            self.event("crash", party, 0);
            self.tally.count("crash between outputs");
            self.parties[party].restart();
        }
    }

    /// The cheater does one thing that it can do: everything it can sign, everything it has seen, any request.
    fn cheat(&mut self) {
        let Some(cheater) = self.rules.cheater else { return };
        let exchange = self.chooser.below(2);
        let kind = self.rules.kinds[exchange];
        let template = stage().template(exchange, kind);
        let own = role_in(exchange, cheater);
        let victim = 1 - cheater;
        let agreement = self.chooser.below(2);
        if own == Role::Responder && !self.offer_left[exchange] {
            return; // It cannot sign about an offer that it has never seen.
        }
        self.event("cheat", cheater, exchange);
        match self.chooser.below(12) {
            0 if own == Role::Originator => {
                let passes = !self.chooser.one_in(3);
                self.send(victim, Message::Statement(opening(template, 0), passes), exchange)
            }
            0 | 1 if own == Role::Responder => {
                self.tally.count("cheat: second acceptance sent");
                let passes = !self.chooser.one_in(3);
                self.send(victim, Message::Statement(opening(template, 1 + agreement), passes), exchange);
            }
            2..=4 => {
                let sender = if self.chooser.one_in(6) { own.peer() } else { own };
                let good = self.content(exchange, sender);
                let wrong = self.content(exchange, sender.peer()).or(Some(OTHER_CONTENT));
                let content = self.chooser.pick(&[good, good, wrong, Some(OTHER_CONTENT), None]);
                let key = TransferKey { exchange, kind, agreement, sender, signer: cheater };
                self.send(victim, Message::Item(transfer(key), content), exchange);
            }
            5 => self.send(victim, Message::Declined(exchange), exchange),
            6 if !self.seen_by_cheater.is_empty() => {
                let index = self.chooser.below(self.seen_by_cheater.len());
                let message = self.seen_by_cheater[index].clone();
                self.send(victim, message, exchange);
            }
            7 => {
                // Refusals are not signed: whoever sits on the line can make one, and eat the real answer.
                self.letters.retain(|it| it.call.key.signer != victim || it.call.key.exchange != exchange);
                if self.runs(victim) && self.parties[victim].desks[exchange].asks().is_some() {
                    self.tally.count("cheat: forged refusal");
                    self.input(victim, exchange, Input::Refused);
                }
            }
            _ => {
                let actions = [Action::Abort, Action::Resolve, Action::Deposit, Action::Fetch, Action::Query];
                let action = self.chooser.pick(&actions);
                let role = if self.chooser.one_in(10) { own.peer() } else { own };
                let mix = self.chooser.one_in(10) && (self.offer_left[0] && self.offer_left[1]);
                let filed = if mix { 1 - exchange } else { exchange };
                let agreement = self.chooser.pick(&[None, Some(0), Some(0), Some(1)]);
                // Only a responder can make a second acceptance, and only who has the first can file it.
                let known = own == Role::Responder || self.has_accepted(exchange, victim);
                let agreement =
                    agreement.filter(|which| if *which == 1 { own == Role::Responder } else { known });
                let kinds = self.rules.kinds;
                let escrows = self.chooser.pick(&[
                    Filed::Good,
                    Filed::Good,
                    Filed::Hollow,
                    Filed::Missing,
                    Filed::Strange,
                ]);
                self.file(Call {
                    key: CaseKey {
                        kinds,
                        exchange,
                        filed,
                        agreement,
                        role,
                        action,
                        signer: cheater,
                        escrows,
                    },
                });
            }
        }
    }

    fn has_accepted(&self, exchange: usize, responder: usize) -> bool {
        self.parties[responder].desks[exchange].agreement().is_some()
    }

    /// Everybody loses patience, the network calms down, and time passes until all who behave have ended.
    fn finish(&mut self) {
        self.calm = true;
        for round in 0..60 {
            for party in 0..2 {
                if self.parties[party].asleep {
                    self.parties[party].restart();
                }
                for exchange in 0..2 {
                    self.alarm(party, exchange);
                    if self.runs(party) && round > 1 {
                        self.input(party, exchange, Input::GiveUp);
                    }
                    while self.runs(party) && !self.parties[party].desks[exchange].outputs.is_empty() {
                        self.perform(party, exchange);
                    }
                }
            }
            for _ in 0..self.net.len() {
                self.deliver();
            }
            if round < 8 {
                self.cheat();
            }
            self.serve();
            let waiting = (0..2).any(|party| {
                self.rules.cheater != Some(party)
                    && self.parties[party]
                        .desks
                        .iter()
                        .any(|desk| desk.session().is_some() && !matches!(desk.phase(), Some(Phase::Done(_))))
            });
            let busy = self.parties.iter().any(|it| it.desks.iter().any(|desk| !desk.outputs.is_empty()));
            if !waiting && !busy && round > 8 {
                return;
            }
            let span = if round < 4 { 500 } else { MARGIN };
            self.advance(self.now + span);
        }
    }
}
