//! Offering, accepting, resuming and complaining: the commands that sign or send.
//!
//! ```text
//!  offer ──▶ Client::offer (approval) ──▶ connect ─┐
//!  accept ─▶ listen ─▶ next_offer ─▶ Client::accept (approval) ─┴▶ run ─▶ finish: outcome, file, bundle
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arbiter_client::arbiter::Retry;
use arbiter_client::arbiter::grpc::GrpcArbiter;
use arbiter_client::builder::DEPOSIT_LIMIT;
use arbiter_client::bundle::{Bundle, EXTENSION};
use arbiter_client::clock::{Clock as _, SystemClock};
use arbiter_client::error::{Error, PeerFault, Usage};
use arbiter_client::fingerprint::Fingerprint;
use arbiter_client::identity::PublicIdentity;
use arbiter_client::protocol::exchange::item::{Description, Information, Item};
use arbiter_client::protocol::exchange::selection::Protocol;
use arbiter_client::protocol::ids::{Digest, ExchangeId};
use arbiter_client::protocol::message::agreement::Offer;
use arbiter_client::protocol::role::{Ask, Outcome as End, Phase, Timing};
use arbiter_client::protocol::statement::Verified;
use arbiter_client::protocol::time::{DurationMillis, UnixMillis};
use arbiter_client::transport::grpc::{Dialer, Listener};
use arbiter_client::transport::{Nobody, Transport};
use arbiter_client::verify::{FileFacts, described};
use arbiter_client::{Client, Evidence, Identity, OfferTerms, Outcome, Status, explain, items, plain};

use crate::approval::Approval;
use crate::args::{Accept, Conduct, Template, Words};
use crate::events::{Teller, Watched, WatchedPort};
use crate::failure::Failure;
use crate::home::Home;
use crate::out::say;

/// `fairx offer`.
pub async fn offer(home: &Home, template: Template) -> Result<u8, Failure> {
    let (ours, theirs, complain_by, give, read, deal) = match &template {
        Template::Contract { file, words, deal } => {
            let described = items::describe(file, words.media_type.as_deref()).await?;
            let item = statement(words, "Contract", "I agree to what this file says.", described)?;
            (item.clone(), item, None, None, vec![file.clone()], deal)
        }
        Template::Delivery { file, words, deadline, deal } => {
            let described = items::describe(file, words.media_type.as_deref()).await?;
            let receipt = statement(words, "Receipt", "I have received this file.", described.clone())?;
            let by = Some(deadline.complain_by);
            (items::file(described), receipt, by, Some(file.clone()), vec![file.clone()], deal)
        }
        Template::Request { want, words, deadline, deal } => {
            let described = wanted(want)?;
            let receipt = statement(words, "Receipt", "I have received this file.", described.clone())?;
            (receipt, items::file(described), Some(deadline.complain_by), None, Vec::new(), deal)
        }
    };
    let to: PublicIdentity = deal.to.parse()?;
    let party = Party::open(home, &deal.conduct, facts(&read)?).await?;
    let terms = OfferTerms {
        responder: to.party().clone(),
        originator_item: ours,
        responder_item: theirs,
        complain_by: complain_by.map(later).transpose()?,
    };
    let id = party.client.offer(terms, give.as_deref()).await?;
    party.teller.own(&format!("offer signed: exchange {id}"));
    party.run(id, Box::new(dial(&deal.connect)?)).await
}

/// `fairx accept`.
pub async fn accept(home: &Home, accept: Accept) -> Result<u8, Failure> {
    let from: Option<PublicIdentity> = accept.from.as_deref().map(str::parse).transpose()?;
    let mut read = accept.files.clone();
    read.extend(accept.give.clone());
    let facts = facts(&read)?;
    let party = Party::open(home, &accept.conduct, facts.clone()).await?;
    let mut listener = listen(&party, accept.listen).await?;
    let (offer, mut transport) = wanted_offer(&party, &mut listener, from.as_ref()).await?;
    if let Err(failure) = fits(&offer, &facts) {
        party.client.decline(&mut transport, "OFFER_NOT_AS_EXPECTED").await;
        return Err(failure);
    }
    match party.client.accept(&offer, accept.give.as_deref()).await {
        Ok(id) => {
            party.teller.own(&format!("acceptance signed: exchange {id}"));
            party.carry_out(id, &mut transport).await
        }
        // Accepted before a crash: go on where it stopped.
        Err(Error::Usage(Usage::Known(id))) => {
            party.teller.own("this offer was accepted before: going on");
            party.carry_out(id, &mut transport).await
        }
        Err(error) => {
            party.client.decline(&mut transport, reason(&error)).await;
            Err(error.into())
        }
    }
}

/// `fairx resume`.
pub async fn resume(
    home: &Home,
    id: &str,
    connect: Option<String>,
    listen_on: Option<SocketAddr>,
    conduct: &Conduct,
) -> Result<u8, Failure> {
    let party = Party::open_approved(home, conduct).await?;
    let id = party.find(id).await?;
    match (connect, listen_on) {
        (Some(address), _) => party.run(id, Box::new(dial(&address)?)).await,
        (None, Some(address)) => {
            // The listener must live as long as its exchange.
            let listener = listen(&party, address).await?;
            party.run(id, Box::new(listener.exchange(id))).await
        }
        (None, None) => party.run(id, Box::new(Nobody)).await,
    }
}

/// `fairx complain`. The exchange is in the journal, or comes from a bundle with the file that we give.
pub async fn complain(
    home: &Home,
    id: Option<&str>,
    import: Option<(&Path, Option<&Path>)>,
    conduct: &Conduct,
) -> Result<u8, Failure> {
    let party = Party::open_approved(home, conduct).await?;
    let id = match import {
        Some((bundle, give)) => party.client.import(&Bundle::read(bundle)?, give).await?,
        None => party.find(id.unwrap_or_default()).await?,
    };
    let result = party.client.complain(id).await;
    party.finish(id, result).await
}

/// `fairx status`.
pub async fn status(home: &Home, id: Option<&str>) -> Result<u8, Failure> {
    let party = Party::open_approved(home, &Conduct::default()).await?;
    if let Some(id) = id {
        let id = party.find(id).await?;
        let status = party.client.status(id).await?;
        say!("{}", row(&status));
        explain::offer(&status.evidence.offer).iter().for_each(|line| say!("    {line}"));
        say!("    {}", held(&status.evidence));
        return Ok(0);
    }
    let list = party.client.list().await?;
    if list.is_empty() {
        say!("no exchange in {}", home.folder().display());
    }
    list.iter().for_each(|status| say!("{}", row(status)));
    for fault in party.client.misbehaviours().await? {
        say!("THE ARBITER MISBEHAVED: {fault}");
    }
    Ok(0)
}

/// A party at work: its client and what tells about it.
struct Party {
    client: Client,
    teller: Arc<Teller>,
    bundle: Option<PathBuf>,
    evidence: PathBuf,
}

impl Party {
    /// Opens the home for signing: there must be somebody, or a program, to approve.
    async fn open(home: &Home, conduct: &Conduct, files: Vec<FileFacts>) -> Result<Self, Failure> {
        // Who has no identity yet needs no terminal yet.
        home.identity()?;
        home.arbiter()?;
        let approval = Approval::prepare(conduct.yes, files)?;
        Self::build(home, conduct, Some(approval)).await
    }

    /// Opens the home for what needs no approval: everything was approved when it was signed.
    async fn open_approved(home: &Home, conduct: &Conduct) -> Result<Self, Failure> {
        Self::build(home, conduct, None).await
    }

    async fn build(home: &Home, conduct: &Conduct, approval: Option<Approval>) -> Result<Self, Failure> {
        let keys = home.identity()?;
        let pin = home.arbiter()?;
        let name = keys.party().name.clone();
        let teller = Teller::new(&name);
        let (signer, sealing) = keys.into_keys();
        let ca = match &conduct.arbiter_ca {
            Some(path) => Some(std::fs::read(path).map_err(|error| Failure::file(path, &error))?),
            None => None,
        };
        let url = conduct.arbiter_url.as_deref().unwrap_or(&pin.url);
        // Connects only when the arbiter is needed, which in an honest exchange is never.
        let port = WatchedPort::new(GrpcArbiter::new(url, ca)?, teller.clone());
        let margin = u64::try_from(conduct.margin.as_millis()).unwrap_or(u64::MAX);
        let mut builder = Client::builder()
            .arbiter_identity(pin.identity)
            .arbiter_port(Arc::new(port))
            .identity(Identity::new(Arc::new(signer), sealing, name))
            .store(home.folder())
            .patience(conduct.patience)
            .linger(conduct.linger)
            .retry(Retry { total: conduct.retry_for, ..Retry::default() })
            .timing(Timing { complain_margin: DurationMillis(margin) })
            .deposit_limit(pin.deposit_bytes.unwrap_or(DEPOSIT_LIMIT));
        if let Some(approval) = approval {
            builder = builder.approver(Arc::new(approval));
        }
        let client = builder.build().await?;
        Ok(Self { client, teller, bundle: conduct.bundle.clone(), evidence: home.evidence()? })
    }

    /// The exchange with this id, or the only one whose id starts so.
    async fn find(&self, text: &str) -> Result<ExchangeId, Failure> {
        let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase();
        let list = self.client.list().await?;
        let mut found = list
            .iter()
            .map(|status| status.evidence.exchange_id())
            .filter(|id| digits.len() >= 4 && id.to_string().starts_with(&digits));
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(id),
            (Some(_), Some(_)) => {
                Err(Failure::usage(format!("several exchanges start with {digits}")).next("give more digits"))
            }
            (None, _) => {
                Err(Failure::usage(format!("no exchange starts with {digits:?} (4 digits or more)"))
                    .next("`fairx status` lists all exchanges"))
            }
        }
    }

    async fn run(&self, id: ExchangeId, transport: Box<dyn Transport + '_>) -> Result<u8, Failure> {
        let evidence = self.client.status(id).await?.evidence;
        let known = Some((evidence.offer, evidence.acceptance));
        self.carry_out(id, &mut Watched::new(transport, self.teller.clone(), known)).await
    }

    async fn carry_out(&self, id: ExchangeId, transport: &mut Watched<'_>) -> Result<u8, Failure> {
        let result = self.client.run(id, transport).await;
        self.finish(id, result).await
    }

    /// Says how it ended and keeps the bundle, also after a failure: it may be needed.
    async fn finish(&self, id: ExchangeId, result: Result<Outcome, Error>) -> Result<u8, Failure> {
        let evidence = match &result {
            Ok(outcome) => outcome.evidence().clone(),
            Err(_) => self.client.status(id).await?.evidence,
        };
        let short: String = id.to_string().chars().take(16).collect();
        let path = self.bundle.clone().unwrap_or_else(|| self.evidence.join(format!("{short}.{EXTENSION}")));
        Bundle::of(&evidence).write(&path)?;
        let (code, outcome) = match result {
            Ok(Outcome::Completed(_)) => (0, "completed: both hold what was agreed"),
            Ok(Outcome::Resolved(_)) => (0, "resolved: the arbiter's verdict stands for what was withheld"),
            Ok(Outcome::Aborted(_)) => (ABORTED, "aborted: neither item counts as given, and none ever will"),
            Err(error) => {
                say!(" bundle   {} (as far as it goes)", path.display());
                return Err(error.into());
            }
        };
        say!(" outcome  {outcome}");
        say!(" exchange {id}  ({})", Fingerprint::of(id.as_bytes()));
        say!(" you hold {}", held(&evidence));
        say!(" bundle   {}", path.display());
        say!(" check it fairx verify {}", path.display());
        Ok(code)
    }
}

async fn listen(party: &Party, address: SocketAddr) -> Result<Listener, Failure> {
    let listener = Listener::bind(address).await?;
    party.teller.own(&format!("listening on {}", listener.local_addr()));
    Ok(listener)
}

fn dial(address: &str) -> Result<Dialer, Failure> {
    let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    Ok(Dialer::new(&url)?)
}

/// What to tell the other party: enough for it to know whether another offer makes sense, nothing about us.
const fn reason(error: &Error) -> &'static str {
    match error {
        Error::Peer(PeerFault::NotForUs) => "OFFER_NOT_FOR_US",
        Error::Peer(PeerFault::OtherArbiter) => "OFFER_OTHER_ARBITER",
        Error::Peer(PeerFault::TooLate) => "OFFER_DEADLINE_TOO_CLOSE",
        Error::Peer(_) => "OFFER_REFUSED",
        _ => "OFFER_NOT_WANTED",
    }
}

/// Waits for an offer that may be ours. What a stranger sends is told and declined, and ends nothing: an offer
/// that does not verify, is for somebody else, names another arbiter, or comes from another party than `from`.
async fn wanted_offer<'a>(
    party: &Party,
    listener: &mut Listener,
    from: Option<&PublicIdentity>,
) -> Result<(Verified<Offer>, Watched<'a>), Failure> {
    loop {
        let mut transport = Watched::new(Box::new(listener.accept().await), party.teller.clone(), None);
        let (why, told) = match party.client.next_offer(&mut transport).await {
            Ok(offer) if from.is_none_or(|from| *from.party() == offer.originator) => {
                return Ok((offer, transport));
            }
            Ok(offer) => (
                "OFFER_NOT_AS_EXPECTED",
                format!("it is from somebody else: {}", explain::who(&offer.originator)),
            ),
            Err(error @ Error::Peer(_)) => (reason(&error), error.to_string()),
            Err(error) => return Err(error.into()),
        };
        party.teller.own(&format!("declines an offer: {told}; waits on"));
        party.client.decline(&mut transport, why).await;
    }
}

/// What the user said about the offer, before any screen.
fn fits(offer: &Offer, files: &[FileFacts]) -> Result<(), Failure> {
    let described = described(offer);
    match files.iter().find(|file| !described.iter().any(|it| file.is(it))) {
        None => Ok(()),
        Some(file) => Err(Failure::bad(format!(
            "the offer is NOT about your file {}: at least one byte differs, or it is another file",
            file.label
        ))
        .next("nothing was signed; compare the SHA-256 with the other party, then try again")),
    }
}

fn facts(paths: &[PathBuf]) -> Result<Vec<FileFacts>, Failure> {
    paths
        .iter()
        .map(|path| {
            let read =
                std::fs::File::open(path).and_then(|file| FileFacts::read(&path.display().to_string(), file));
            read.map_err(|error| Failure::file(path, &error))
        })
        .collect()
}

/// The statement to sign: our words where the user gave none.
fn statement(words: &Words, title: &str, text: &str, subject: Information) -> Result<Item, Failure> {
    let title = words.title.clone().unwrap_or_else(|| title.to_owned());
    let text = match (&words.text, &words.text_file) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?,
        (None, None) => text.to_owned(),
    };
    Ok(items::signature(title, text, subject))
}

/// Reads `sha256:HEX,SIZE,TYPE,NAME`; the name may hold commas.
fn wanted(text: &str) -> Result<Information, Failure> {
    let mut parts = text.splitn(4, ',');
    let mut part = || parts.next();
    let information = (|| {
        Some(Information {
            sha256: Digest::parse_hex(part()?.strip_prefix("sha256:")?, "sha256").ok()?,
            size_bytes: part()?.parse().ok()?,
            media_type: part()?.to_owned(),
            name: part()?.to_owned(),
        })
    })();
    information.ok_or_else(|| {
        Failure::usage("--want must be sha256:HEX,SIZE,TYPE,NAME")
            .next("the other party prints this line with `fairx describe FILE`")
    })
}

fn later(span: std::time::Duration) -> Result<UnixMillis, Failure> {
    let span =
        u64::try_from(span.as_millis()).map_err(|_| Failure::usage("--complain-by is too far away"))?;
    Ok(SystemClock.now().after(DurationMillis(span)))
}

/// What a party holds, and where.
fn held(evidence: &Evidence) -> String {
    let got = evidence.offer.item(evidence.role.peer());
    let what = plain::item(got);
    match (&evidence.received_file, &evidence.peer_transfer) {
        (Some(path), _) => format!("{what}: {}", path.display()),
        (None, Some(_)) if !is_file(got) => format!("{what}: in the bundle"),
        _ if Bundle::of(evidence).verdict().is_some() => "the arbiter's verdict: in the bundle".to_owned(),
        _ => format!("nothing yet; due is {what}"),
    }
}

const fn is_file(item: &Item) -> bool {
    matches!(item.description, Description::Information(_))
}

/// One line about an exchange.
fn row(status: &Status) -> String {
    let offer = &status.evidence.offer;
    let id = status.evidence.exchange_id();
    let short: String = id.to_string().chars().take(16).collect();
    let phase = match status.phase {
        Phase::Offered => "offered, no acceptance yet",
        Phase::Waiting if status.sent => "ours is sent, waiting for theirs",
        Phase::Waiting => "waiting for theirs",
        Phase::Asking(Ask::Abort) => "asking the arbiter to end it",
        Phase::Asking(Ask::Complain | Ask::Resolve) => "asking the arbiter to replace what is withheld",
        Phase::Asking(Ask::Fetch) => "fetching the file from the arbiter",
        Phase::Done(End::Aborted) => "aborted",
        Phase::Done(End::Completed) => "completed",
        Phase::Done(End::Resolved) => "resolved by the arbiter",
    };
    let kind = match offer.selection.protocol {
        Protocol::ContractSigning => "contract",
        Protocol::VerifyThenGenerate => "delivery",
    };
    let peer = plain::clip(&offer.party(status.evidence.role.peer()).name, 30);
    let remark =
        status.remark.as_ref().map(|text| format!("; {}", plain::clip(text, 100))).unwrap_or_default();
    format!(
        "{short}  {:<10} {kind} with {peer}, we are the {}, since {}: {phase}{remark}",
        Fingerprint::of(id.as_bytes()).first_word(),
        status.evidence.role,
        plain::time(status.since),
    )
}

/// Exit code of an exchange that ended without items.
const ABORTED: u8 = 3;
