//! One line for each real event of the protocol, with its time and the parties.
//!
//! ```text
//!  Client ─▶ Watched transport ─▶ transport         12:00:01.123 UTC  Alice -> Bob      acceptance ...
//!  Client ─▶ Watched port ─────▶ arbiter            12:00:09.456 UTC  Alice -> arbiter  asks to resolve ...
//! ```
//!
//! Both wrappers only look. What they say about a statement was checked here, in this process (rule 11): a
//! statement that does not verify is reported as such, and the client decides what happens.

mod ledger;

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;

use arbiter_client::arbiter::{ArbiterPort, Deposit, Filing, PortError};
use arbiter_client::clock::{Clock as _, SystemClock};
use arbiter_client::fingerprint::Fingerprint;
use arbiter_client::plain;
use arbiter_client::protocol::exchange::item::Description;
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::protocol::ids::Digest;
use arbiter_client::protocol::message::agreement::{Acceptance, Agreement, Offer};
use arbiter_client::protocol::message::transfer::Transfer;
use arbiter_client::protocol::message::verdict::{Replacement, Ruling};
use arbiter_client::protocol::ruling::receipt::{Receipt, Ruled};
use arbiter_client::protocol::statement::{Envelope, Signed, Verified};
use arbiter_client::transport::{Content, Event, NotSent, PeerMessage, Transport, Want};
use async_trait::async_trait;

use crate::out::say;

pub use ledger::WatchedLedger;

/// Prints event lines.
pub struct Teller {
    me: String,
    colour: bool,
}

/// How to print an event.
#[derive(Clone, Copy)]
enum Tone {
    Bad,
    Good,
    Plain,
}

impl Teller {
    /// For the party of this name. Colours only on a terminal, and not if `NO_COLOR` is set.
    pub fn new(me: &str) -> Arc<Self> {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Arc::new(Self { me: plain::clip(me, NAME), colour })
    }

    /// Something that this party does by itself.
    pub fn own(&self, text: &str) {
        self.line(&self.me, text, Tone::Plain);
    }

    fn line(&self, who: &str, text: &str, tone: Tone) {
        let now = SystemClock.now().to_string();
        let clock = now.get(11..23).unwrap_or(&now);
        let (start, end) = match tone {
            _ if !self.colour => ("", ""),
            Tone::Bad => ("\u{1b}[31m", "\u{1b}[0m"),
            Tone::Good => ("\u{1b}[32m", "\u{1b}[0m"),
            Tone::Plain => ("", ""),
        };
        say!(" {clock} UTC  {who:<24} {start}{text}{end}");
    }
}

/// A transport whose events are told.
pub struct Watched<'a> {
    inner: Box<dyn Transport + 'a>,
    teller: Arc<Teller>,
    peer: String,
    offer: Option<Verified<Offer>>,
    agreement: Option<Agreement>,
    sent_bytes: u64,
    received_bytes: u64,
}

impl<'a> Watched<'a> {
    /// Watches `inner`. Statements already known are given, so that later ones can be checked.
    pub fn new(
        inner: Box<dyn Transport + 'a>,
        teller: Arc<Teller>,
        known: Option<(Verified<Offer>, Option<Verified<Acceptance>>)>,
    ) -> Self {
        let (offer, acceptance) = known.map_or((None, None), |(offer, acceptance)| (Some(offer), acceptance));
        let agreement = offer.clone().zip(acceptance).and_then(|(offer, it)| Agreement::join(offer, it).ok());
        let mut this = Self {
            inner,
            teller,
            peer: "peer".to_owned(),
            offer: None,
            agreement,
            sent_bytes: 0,
            received_bytes: 0,
        };
        if let Some(offer) = offer {
            this.learn(offer);
        }
        this
    }

    fn learn(&mut self, offer: Verified<Offer>) {
        let names = [&offer.originator.name, &offer.responder.name];
        if let Some(peer) = names.into_iter().find(|name| plain::clip(name, NAME) != self.teller.me) {
            self.peer = plain::clip(peer, NAME);
        }
        self.offer = Some(offer);
    }

    fn out(&self, text: &str) {
        self.teller.line(&format!("{} -> {}", self.teller.me, self.peer), text, Tone::Plain);
    }

    fn arrived(&self, text: &str, tone: Tone) {
        self.teller.line(&format!("{} -> {}", self.peer, self.teller.me), text, tone);
    }

    fn sent(&mut self, message: &PeerMessage) {
        match message {
            PeerMessage::Declined(reason) => self.out(&format!("declines: {}", plain::clip(reason, 60))),
            PeerMessage::Statement(envelope, escrow) => {
                let told = self.read(envelope).unwrap_or_else(|| "a statement".to_owned());
                let sealed = escrow.as_ref().map_or_else(String::new, |bytes| beside("our", bytes));
                self.out(&format!("{told}{sealed}"));
            }
            PeerMessage::Content(content) => {
                let short = self.short(true);
                if let Some(text) = pieces(content, &mut self.sent_bytes, short) {
                    self.out(&text);
                }
            }
        }
    }

    fn received(&mut self, message: &PeerMessage) {
        match message {
            PeerMessage::Declined(reason) => {
                self.arrived(&format!("declines: {} (not signed)", plain::clip(reason, 60)), Tone::Bad);
            }
            PeerMessage::Statement(envelope, escrow) => match self.read(envelope) {
                Some(told) => {
                    let sealed = escrow.as_ref().map_or_else(String::new, |bytes| beside("their", bytes));
                    self.arrived(&format!("{told}; signature checked here{sealed}"), Tone::Good);
                }
                None => self.arrived("a statement that does not verify here", Tone::Bad),
            },
            PeerMessage::Content(content) => {
                let short = self.short(false);
                if let Some(text) = pieces(content, &mut self.received_bytes, short) {
                    self.arrived(&text, Tone::Plain);
                }
            }
        }
    }

    /// What we give, or they give, if it is not a file but short.
    fn short(&self, ours: bool) -> Option<&'static str> {
        let offer = self.offer.as_ref()?;
        let role = if plain::clip(&offer.originator.name, NAME) == self.peer {
            Role::Responder
        } else {
            Role::Originator
        };
        let role = if ours { role } else { role.peer() };
        match &offer.item(role).description {
            Description::DetachedSignature(_) => Some("the signature"),
            Description::Payment(_) => Some("the ledger's receipt"),
            several if !several.payments().is_empty() => Some("the ledger's receipts"),
            several if !several.detached_leaves().is_empty() => Some("the signatures"),
            Description::Information(_)
            | Description::Nothing
            | Description::Package(_)
            | Description::Signature(_) => None,
        }
    }

    /// What a statement is, if it verifies.
    fn read(&mut self, envelope: &Envelope) -> Option<String> {
        if envelope.holds::<Offer>() {
            let offer = Signed::<Offer>::parse(envelope.clone()).ok()?.verify_offer().ok()?;
            let fingerprint = Fingerprint::of(offer.exchange_id().as_bytes());
            let told = format!(
                "offer: {} for {}; {}",
                plain::item(&offer.originator_item),
                plain::item(&offer.responder_item),
                fingerprint.groups()
            );
            self.learn(offer);
            return Some(told);
        }
        if envelope.holds::<Acceptance>() {
            let acceptance = Signed::<Acceptance>::parse(envelope.clone()).ok()?;
            let agreement = Agreement::new(self.offer.clone()?, acceptance).ok()?;
            let told =
                format!("acceptance of {}", Fingerprint::of(agreement.exchange_id().as_bytes()).groups());
            // The first acceptance makes the agreement (attack K1).
            self.agreement.get_or_insert(agreement);
            return Some(told);
        }
        let transfer = Signed::<Transfer>::parse(envelope.clone()).ok()?;
        let agreement = self.agreement.as_ref()?;
        let sender = transfer.unverified().sender;
        let transfer = transfer.verify_for(agreement, sender).ok()?;
        let item = agreement.offer().item(sender);
        (transfer.item == *item).then(|| format!("transfer of {}", plain::item(item)))
    }
}

#[async_trait]
impl Transport for Watched<'_> {
    async fn next(&mut self, want: Want) -> Event {
        let event = self.inner.next(want).await;
        match &event {
            Event::Closed => self.arrived("closes: needs nothing more", Tone::Plain),
            Event::Connected => self.teller.own("connected"),
            Event::Lost => self.teller.line(&self.teller.me, "connection lost", Tone::Bad),
            Event::Message(message) => self.received(message),
            Event::Room => {}
        }
        event
    }

    fn is_connected(&self) -> bool {
        self.inner.is_connected()
    }

    fn send(&mut self, message: PeerMessage) -> Result<(), NotSent> {
        self.inner.send(message.clone())?;
        self.sent(&message);
        Ok(())
    }

    async fn close(&mut self) {
        self.inner.close().await;
    }
}

/// A way to the arbiter whose calls are told.
pub struct WatchedPort<P> {
    inner: P,
    teller: Arc<Teller>,
}

impl<P> WatchedPort<P> {
    /// Watches `inner`.
    pub const fn new(inner: P, teller: Arc<Teller>) -> Self {
        Self { inner, teller }
    }

    fn ask(&self, text: &str) {
        self.teller.line(&format!("{} -> arbiter", self.teller.me), text, Tone::Plain);
    }

    fn answer(&self, filing: &Filing, result: Result<Receipt, PortError>) -> Result<Receipt, PortError> {
        let who = format!("arbiter -> {}", self.teller.me);
        match &result {
            Ok(receipt) => match receipt.verify(&filing.offer, Some(filing.request.digest())) {
                Ok(proven) => {
                    let what = match &proven.ruled {
                        Ruled::Attestation(it) => {
                            let rule = proven.ruled.rule(filing.offer.selection.protocol);
                            format!("attestation: holds what the {} left with it, {rule}", it.depositor)
                        }
                        Ruled::Verdict(verdict) => {
                            let ruling = match &verdict.ruling {
                                Ruling::Aborted => "aborted; no item will ever be replaced".to_owned(),
                                Ruling::Affidavit(performed) => match performed.as_slice() {
                                    [] => "affidavit: neither item was left with it in time".to_owned(),
                                    [role] => {
                                        format!("affidavit: only the {role}'s item was left with it in time")
                                    }
                                    _ => "affidavit: both items were left with it".to_owned(),
                                },
                                Ruling::Revoked(roles) => {
                                    let roles: Vec<_> = roles.iter().map(ToString::to_string).collect();
                                    format!("the money of the {} goes back", roles.join(" and the "))
                                }
                                Ruling::Replaced(_) if !filing.offer.selection.protocol.generates() => {
                                    "gives out what was left with it".to_owned()
                                }
                                Ruling::Replaced(list)
                                    if list.iter().any(|it| it.item.description.reservation().is_some()) =>
                                {
                                    let each = |it: &Replacement| match &it.item.description {
                                        Description::Payment(_) => format!("has the {} pay", it.role),
                                        Description::DetachedSignature(_) => {
                                            format!("opens the sealed signature of the {}", it.role)
                                        }
                                        several if !several.detached_leaves().is_empty() => {
                                            format!("opens the sealed signatures of the {}", it.role)
                                        }
                                        _ => format!("replaces the signature of the {}", it.role),
                                    };
                                    list.iter().map(each).collect::<Vec<_>>().join(", ")
                                }
                                Ruling::Replaced(list) => {
                                    let roles: Vec<_> = list.iter().map(|it| it.role.to_string()).collect();
                                    let opened = list
                                        .iter()
                                        .all(|it| !it.item.description.detached_leaves().is_empty());
                                    let done = if opened { "opens the sealed" } else { "replaces the" };
                                    let several = list.iter().any(|it| it.item.leaves().len() > 1);
                                    let what = if several { "signatures" } else { "signature" };
                                    format!("{done} {what} of the {}", roles.join(" and the "))
                                }
                            };
                            format!("verdict: {ruling}, {}", verdict.rule)
                        }
                    };
                    let text = format!("{what}, log {}; proof checked here", proven.leaf.index);
                    self.teller.line(&who, &text, Tone::Good);
                }
                Err(fault) => {
                    self.teller.line(&who, &format!("an answer that does NOT verify: {fault}"), Tone::Bad)
                }
            },
            Err(error) => self.refused(error),
        }
        result
    }

    fn refused(&self, error: &PortError) {
        let text = plain::clip(&error.to_string(), 120);
        self.teller.line(&format!("arbiter -> {}", self.teller.me), &text, Tone::Bad);
    }
}

#[async_trait]
impl<P: ArbiterPort> ArbiterPort for WatchedPort<P> {
    async fn abort(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.ask("asks to end the exchange without items");
        self.answer(filing, self.inner.abort(filing).await)
    }

    async fn resolve(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.ask(match filing.offer.escrow {
            Some(_) => "asks to open what is withheld",
            None => "asks to replace what is withheld",
        });
        self.answer(filing, self.inner.resolve(filing).await)
    }

    async fn revoke(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.ask("asks for what is withheld, or the money back");
        self.answer(filing, self.inner.revoke(filing).await)
    }

    async fn query(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.ask("asks for the verdict");
        self.answer(filing, self.inner.query(filing).await)
    }

    async fn deposit(&self, filing: &Filing, content: &Path) -> Result<Receipt, PortError> {
        let item = filing.offer.item(filing.request.role);
        self.ask(match plain::thing(item) {
            "money" => "deposits the ledger's receipt",
            "package of files" => "deposits the package of files",
            _ => "deposits the file",
        });
        self.answer(filing, self.inner.deposit(filing, content).await)
    }

    async fn fetch(&self, filing: &Filing) -> Result<Deposit, PortError> {
        self.ask("fetches what the arbiter holds for us");
        self.inner.fetch(filing).await.inspect_err(|error| self.refused(error))
    }

    async fn consistency(&self, old_size: u64, new_size: u64) -> Result<Vec<Digest>, PortError> {
        self.inner.consistency(old_size, new_size).await
    }
}

/// What to say about an escrow beside a statement.
fn beside(whose: &str, escrow: &[u8]) -> String {
    let length = u64::try_from(escrow.len()).unwrap_or(u64::MAX);
    format!("; {whose} signature beside it, sealed for the arbiter ({})", plain::size(length))
}

/// What to say about a piece of content: only about the first and the last.
fn pieces(content: &Content, bytes: &mut u64, short: Option<&str>) -> Option<String> {
    let first = content.encapsulated.is_some();
    if first {
        *bytes = 0;
    }
    let length = u64::try_from(content.sealed.len()).unwrap_or(u64::MAX);
    *bytes = bytes.saturating_add(length);
    if let Some(short) = short {
        return content.last.then(|| format!("{short}, sealed for the receiver: {}", plain::size(*bytes)));
    }
    match (first, content.last) {
        (_, true) => Some(format!("file, sealed, to its last byte: {}", plain::size(*bytes))),
        (true, false) => Some("file, sealed: the first bytes".to_owned()),
        (false, false) => None,
    }
}

/// Longest name in an event line.
const NAME: usize = 30;
