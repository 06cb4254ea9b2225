//! Calls to the arbiter, its life, and its answers.

use arbiter_protocol::error::{Refused, Rejected};
use arbiter_protocol::exchange::kind::content::{ContentCheck, FitContent};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::verdict::Verdict;
use arbiter_protocol::role::{Ask, Input};

use crate::common::check_content;
use crate::event::Fate;
use crate::oracle::request_of;
use crate::party::Cut;
use crate::signed::{CaseKey, Content, Filed};
use crate::stage::{role_in, stage};
use crate::words::{answered, asks, family, ruling};
use crate::world::{NAMES, World};

/// What the arbiter answers.
#[derive(Debug)]
pub enum Answer {
    Attested,
    /// A content, as the party finds it.
    Content(Option<Vec<u8>>),
    Refused(Refused),
    Rejected(Rejected),
    /// No ruling: ask again.
    Trouble(String),
    /// A deposit of something that does not fit.
    Unfit,
    Verdict(Box<Verdict>),
}

/// An answer on its way.
pub struct Letter {
    pub key: CaseKey,
    pub answer: Answer,
}

impl World {
    pub fn call(&mut self, party: usize, exchange: usize, action: Action) {
        let one_way = self.setup.kinds[exchange].is_one_way();
        self.oracle.must(!one_way, || format!("R-316: a party asks to {action:?} about an item for nothing"));
        if action == Action::Deposit
            && self.rail.down
            && self.content(exchange, role_in(exchange, party)).is_none()
        {
            // The receipt cannot be had now: asked again soon.
            let soon = self.parties[party].clock(self.now).0 + 500;
            return self.parties[party].desks[exchange].alarms.push(soon);
        }
        if action == Action::Deposit && !self.has_paid(party, exchange) {
            self.tally.count("nothing to deposit: nothing was paid");
            return self.input(party, exchange, Input::Refused, Cut::None);
        }
        let desk = &self.parties[party].desks[exchange];
        let escrows = if desk.pledge_passed { Filed::Good } else { Filed::HollowPeer };
        let set_aside = self.words_at_hand(party, exchange);
        let (kinds, agreement, role) = (self.setup.kinds, desk.agreement(), role_in(exchange, party));
        self.file(CaseKey {
            kinds,
            exchange,
            filed: exchange,
            agreement,
            role,
            action,
            signer: party,
            escrows,
            set_aside,
        });
    }

    pub fn file(&mut self, key: CaseKey) {
        self.calls_made += 1;
        self.tell(|_| format!("{} calls the arbiter: {}", NAMES[key.signer], asks(key)));
        self.repeat(key);
    }

    /// The same request again until it is answered (section 8).
    pub fn repeat(&mut self, key: CaseKey) {
        if !self.calls.contains(&key) {
            self.calls.push(key);
        }
    }

    pub fn reach(&mut self, nth: usize) {
        let key = self.calls.remove(nth % self.calls.len());
        let content = self.brought(key);
        self.court.reach(key, content);
        self.poll(self.court.serves() - 1);
    }

    pub fn poll(&mut self, nth: usize) {
        self.set_court_clock();
        let nth = nth % self.court.serves();
        let Some((key, answer)) = self.court.poll(nth, &mut self.oracle, self.setup.fully) else { return };
        if let Answer::Trouble(error) = &answer {
            self.tally.count(format!("trouble: {error}"));
            self.tell(|_| format!("the arbiter cannot answer {}: {error}", NAMES[key.signer]));
            self.repeat(key);
            return;
        }
        self.letters.push(Letter { key, answer });
    }

    /// What comes with a deposit.
    fn brought(&mut self, key: CaseKey) -> Option<Content> {
        if key.action != Action::Deposit {
            return None;
        }
        let Some(good) = self.content(key.exchange, key.role) else {
            return self.receipt_of(key.signer, key.exchange, key.role);
        };
        let template = stage().template(key.exchange, self.setup.kinds[key.exchange]);
        let spoilt = template.spoilt.of(key.role).map(|it| it.map(Content::Known));
        let [other, short] = spoilt.map_or([None, None], |it| it.map(Some));
        match key.escrows {
            Filed::Good | Filed::HollowPeer => Some(good),
            Filed::Hollow => other,
            Filed::Missing => None,
            Filed::Strange => short,
        }
    }

    pub fn set_court_clock(&mut self) {
        let step = if self.calm { 0 } else { self.step };
        self.court.set_clock(self.now.saturating_add_signed(step));
    }

    pub fn turn(&mut self, fate: Fate) {
        self.set_court_clock();
        let fate = if self.calm { Fate::Stored } else { fate };
        let failed = self.court.turn(fate);
        self.witness();
        self.court.settle_own();
        if fate != Fate::Stored {
            self.tell(|_| format!("the arbiter's commit fails, {fate:?}"));
        }
        if failed {
            // the process ends.
            self.tally.count(format!("a commit failed: {fate:?}"));
            self.kill(false);
        }
    }

    fn witness(&mut self) {
        let witnessed = self.court.witnessed();
        for it in witnessed.iter().filter(|it| it.stored) {
            let rulings: Vec<_> = it.records.values().map(ruling).collect();
            if !rulings.is_empty() {
                let leaves = it.size;
                let line = format!("the arbiter commits ({leaves} leaves): {}", rulings.join("; "));
                self.tell(|_| line);
            }
        }
        self.oracle.committed(witnessed, &self.court.reached);
    }

    pub fn kill(&mut self, power: bool) {
        let how = if power { "loses power" } else { "ends" };
        self.tell(|_| format!("the arbiter's process {how}"));
        self.tally.count(if power { "the arbiter lost power" } else { "the arbiter's process ended" });
        for key in self.court.kill(power) {
            self.repeat(key);
        }
    }

    pub fn boot(&mut self, fate: Fate) {
        self.set_court_clock();
        let fate = if self.calm { Fate::Stored } else { fate };
        self.starts += 1;
        let booted = self.court.boot(fate);
        self.witness();
        match booted {
            Ok(()) => {
                self.tell(|_| "the arbiter starts".to_owned());
                self.audit(true);
            }
            Err(error) => {
                self.tell(|_| format!("the arbiter does not start: {error}"));
                self.tally.count("a start failed");
                self.oracle.must(fate != Fate::Stored, || format!("R-505: a good log is refused: {error}"));
            }
        }
    }

    /// Looks at the store from outside; where nothing is on its way, also at the contents.
    pub fn audit(&mut self, contents: bool) {
        self.court.go_blind(None);
        self.court.audit(&mut self.oracle, contents);
    }

    pub fn letter(&mut self, nth: usize, cut: Cut) {
        let Letter { key, answer } = self.letters.remove(nth % self.letters.len());
        let (party, exchange) = (key.signer, key.exchange);
        self.tell(|_| format!("{} is answered: {} to {}", NAMES[party], answered(&answer), asks(key)));
        if !self.is_honest(party) && self.note_cheaters_letter(key, &answer) {
            return;
        }
        let desk = &self.parties[party].desks[exchange];
        if self.parties[party].asleep || desk.session().is_none() {
            return; // The caller is gone; after its restart it asks again.
        }
        let asks = desk.asks();
        match answer {
            Answer::Verdict(verdict) => self.ruled(key, *verdict, cut),
            Answer::Attested if asks == Some(Ask::Complain) => self.call(party, exchange, Action::Resolve),
            Answer::Attested => self.input(party, exchange, Input::Attested, cut),
            Answer::Content(plain) => match plain.and_then(|plain| self.fit(key, &plain)) {
                Some(fit) => self.input(party, exchange, Input::Fetched(fit), cut),
                None => self.oracle.must(false, || "F12: what was held does not fit".to_owned()),
            },
            // The verdict is there: ask for it (section 8).
            Answer::Refused(Refused::AlreadyRuled) => self.call(party, exchange, Action::Query),
            Answer::Refused(refused) => {
                if self.is_honest(party) {
                    // Who behaves is refused only because a clock differs, an outage was long, or it was stopped before it
                    // had said anything.
                    let unsaid = self.owes_pledge(party, exchange);
                    let expected = matches!(
                        refused,
                        Refused::AbortTooEarly { .. }
                            | Refused::AffidavitTooEarly { .. }
                            | Refused::ComplaintTooLate { .. }
                            | Refused::DepositRequired
                            | Refused::DepositTooLate { .. }
                            | Refused::EscrowKeyRetired { .. }
                            | Refused::RevokeTooEarly { .. }
                    ) || (unsaid && matches!(refused, Refused::ReservationRequired { .. }));
                    self.oracle.must(expected, || format!("F4: an honest request was refused: {refused}"));
                    self.tally.count(format!("honest refused: {}", refused.reason()));
                }
                self.input(party, exchange, Input::Refused, cut);
            }
            Answer::Rejected(rejected) => {
                self.oracle.must(false, || format!("F4: an honest case was rejected: {rejected}"));
            }
            Answer::Unfit => {
                self.oracle.must(!self.is_honest(party), || "F4: an honest deposit does not fit".to_owned());
            }
            Answer::Trouble(_) => {}
        }
    }

    fn ruled(&mut self, key: CaseKey, verdict: Verdict, cut: Cut) {
        let (party, exchange) = (key.signer, key.exchange);
        let agreements = &self.parties[party].desks[exchange].template().agreements;
        let named = agreements.iter().position(|it| Some(it.id()) == verdict.agreement_id);
        self.ruled[exchange][party] = named;
        self.tally.count("verdicts delivered");
        if verdict.requested_by != key.role || Some(verdict.request) != request_of(key) {
            self.tally.count("verdicts replayed to another request");
        }
        if named == Some(1) {
            self.tally.count("verdicts on a second acceptance");
        }
        self.input(party, exchange, Input::Ruled(verdict), cut);
    }

    /// the one in escrow, or the file agreed.
    fn fit(&self, key: CaseKey, plain: &[u8]) -> Option<FitContent> {
        let (exchange, owner) = (key.exchange, key.role.peer());
        let template = stage().template(exchange, key.kinds[exchange]);
        let Some(item) = template.offer.item(owner).description.detached() else {
            return check_content(&template.offer, owner, plain).ok();
        };
        let named = self.ruled[exchange][key.signer]?;
        let escrow = template.escrowed[named].of(owner).as_ref()?.pledge().escrow()?.clone();
        let mut check = ContentCheck::signature(item.clone(), Some(escrow));
        check.update(plain).ok()?;
        check.finish().ok()
    }

    /// Counts what a cheater got. True if no machine of its waits for it.
    fn note_cheaters_letter(&mut self, key: CaseKey, answer: &Answer) -> bool {
        let what = match answer {
            Answer::Rejected(rejected) => format!("cheat rejected: {}", rejected.reason()),
            Answer::Refused(refused) => format!("cheat refused: {}", refused.reason()),
            Answer::Unfit => "cheat: a deposit that does not fit".to_owned(),
            _ => format!("cheat answered: {:?}", key.action),
        };
        self.tally.count(format!("{} {what}", family(key.kinds[key.exchange])));
        self.tally.count(what);
        !self.runs(key.signer) || matches!(answer, Answer::Rejected(_) | Answer::Content(_) | Answer::Unfit)
    }
}
