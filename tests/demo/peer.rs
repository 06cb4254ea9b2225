//! `demo peer`: a party that cheats, as a process of its own with its own identity.
//!
//! ```text
//!  testing::Cheater ◀─ Told ─▶ gRPC ─▶ the honest peer        then, for some plays, calls to the arbiter
//! ```
//! It writes what it got: a bundle like everybody's, and the file, if it got one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use arbiter_client::Identity;
use arbiter_client::arbiter::grpc::GrpcArbiter;
use arbiter_client::arbiter::{ArbiterPort as _, Filing, PortError};
use arbiter_client::bundle::Bundle;
use arbiter_client::clock::{Clock as _, SystemClock};
use arbiter_client::identity::{ArbiterPin, KeyFile, PublicIdentity};
use arbiter_client::protocol::crypto::{MemorySigner, Opener, SealingSecret};
use arbiter_client::protocol::escrow::{SignatureKey, Suite};
use arbiter_client::protocol::exchange::item::{Description, Information, Item};
use arbiter_client::protocol::exchange::kind::pledge::Pledge;
use arbiter_client::protocol::exchange::selection::{Role, select};
use arbiter_client::protocol::limits;
use arbiter_client::protocol::message::agreement::{Acceptance, Agreement, EscrowTerms, Offer, Party};
use arbiter_client::protocol::message::request::{Action, Request};
use arbiter_client::protocol::message::transfer::Transfer;
use arbiter_client::protocol::message::verdict::{Ruling, Verdict};
use arbiter_client::protocol::role::arbiter::{Escrows, to_file};
use arbiter_client::protocol::ruling::receipt::{Receipt, Ruled};
use arbiter_client::protocol::statement::{Envelope, Signed, Verified};
use arbiter_client::protocol::time::DurationMillis;
use arbiter_client::signing::public_pem;
use arbiter_client::testing::{Cheat, Cheater, Loot};
use arbiter_client::transport::grpc::{Dialer, Listener};
use arbiter_client::transport::{Event, NotSent, PeerMessage, Transport, Want};
use arbiter_client::{items, plain};
use async_trait::async_trait;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_stream::StreamExt as _;

use crate::paper::now;

/// Longer than every run.
const LONGEST: Duration = Duration::from_secs(20);
/// How long before the deadline the late taker files its complaint.
const LAST_MOMENT: DurationMillis = DurationMillis(700);

/// What the cheater does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Play {
    /// Aborts at the arbiter, after a pause, although the offer was accepted.
    Abort,
    /// Sends a signature on another text, or another file; tries the arbiter with the file too.
    Alter,
    /// Withholds from the peer, and takes from the arbiter at the last moment.
    Late,
    /// Takes the peer's item and says nothing more.
    Quiet,
    /// Never sends.
    Withhold,
}

/// The command line of a cheater.
#[derive(Debug, clap::Args)]
pub struct Peer {
    /// A home that `fairx init` made.
    #[arg(long)]
    home: PathBuf,
    #[arg(long)]
    play: Play,
    /// Where the bundle goes.
    #[arg(long)]
    bundle: PathBuf,
    /// Wait for an offer there.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Make an offer there …
    #[arg(long)]
    connect: Option<String>,
    /// … to this party …
    #[arg(long)]
    to: Option<PublicIdentity>,
    /// … about this file …
    #[arg(long)]
    file: Option<PathBuf>,
    /// … which is delivered until then; without, it is a contract.
    #[arg(long)]
    complain_ms: Option<u64>,
    /// From the agreement to the call to the arbiter. Without: the peer ends the connection first.
    #[arg(long)]
    pause_ms: Option<u64>,
    /// The finished signature that it gives, made elsewhere. Without: its identity signs.
    #[arg(long)]
    signature_from: Option<PathBuf>,
}

/// Plays the cheater to its end.
pub async fn play(arguments: Peer) -> Result<()> {
    let keys = KeyFile::load(&arguments.home.join("identity.toml"))?;
    let pin = ArbiterPin::load(&arguments.home.join("arbiter"))?;
    let party = keys.party().clone();
    let (signer, sealing) = keys.into_keys();
    let signer = Arc::new(signer);
    let teller = Teller { me: party.name.clone() };
    let cheat = match arguments.play {
        Play::Alter => Cheat::AlteredItem,
        Play::Quiet => Cheat::QuietAfterReceiving,
        Play::Abort | Play::Late | Play::Withhold => Cheat::WithholdItem,
    };
    let (_, again) = KeyFile::load(&arguments.home.join("identity.toml"))?.into_keys();
    let identity = Identity::new(signer.clone(), again, party.name.clone());
    let mut cheater = Cheater::new(identity, cheat, arguments.file.clone()).for_time(LONGEST);
    if let Some(path) = &arguments.signature_from {
        let signature = std::fs::read(path)?;
        cheater = cheater.with_signatures(signature.clone(), signature);
    }
    let pause = arguments.pause_ms.map(Duration::from_millis);
    let told = |line: Box<dyn Transport>| Told {
        line,
        teller: teller.clone(),
        peer: "peer".to_owned(),
        pause,
        until: None,
        over: false,
    };
    // A listener that is dropped ends its connections: it must live to the end.
    let (role, mut loot, mut line, _listener) = match arguments.listen {
        Some(address) => {
            let mut listener = Listener::bind(address).await?;
            teller.tell(&format!("listening on {}", listener.local_addr()));
            let mut line = told(Box::new(listener.accept().await));
            let loot = cheater.respond(&mut line).await?;
            (Role::Responder, loot, line, Some(listener))
        }
        None => {
            let offer = offer(&arguments, &party, &pin).await?;
            let address = arguments.connect.as_deref().context("--listen or --connect")?;
            let mut line = told(Box::new(Dialer::new(&format!("http://{address}"))?));
            (Role::Originator, cheater.originate(offer, &mut line).await?, line, None)
        }
    };
    let court = Court { pin, signer, sealing, role, teller: teller.clone() };
    match arguments.play {
        Play::Abort => court.abort(&mut loot).await?,
        Play::Alter => court.deposit_altered(&loot, &arguments).await?,
        Play::Late => court.take_late(&mut loot, &arguments).await?,
        Play::Quiet | Play::Withhold => {}
    }
    line.listen_to_the_end().await;
    keep(&loot, role, &arguments)?;
    teller.tell(&format!("ends, and holds {}", held(&loot, role)));
    Ok(())
}

/// The offer that an honest party would make too.
async fn offer(arguments: &Peer, party: &Party, pin: &ArbiterPin) -> Result<Offer> {
    let file = arguments.file.as_deref().context("--file")?;
    let responder = arguments.to.as_ref().context("--to")?.party().clone();
    let described = items::describe(file, None).await?;
    let (ours, theirs) = match arguments.complain_ms {
        None => {
            let words = ("Contract of sale", "I agree to what this file says.");
            (detached(words, &described, party)?, detached(words, &described, &responder)?)
        }
        Some(_) => {
            let receipt = detached(("Receipt", "I have received this file."), &described, &responder)?;
            (items::file(described), receipt)
        }
    };
    let epoch = pin.epochs().last().context("a pin without escrow keys")?.clone();
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|error| anyhow!("no randomness: {error}"))?;
    Ok(Offer {
        nonce,
        originator: party.clone(),
        responder,
        arbiter: pin.identity.clone(),
        selection: select(&ours.properties, &theirs.properties)?,
        originator_item: ours,
        responder_item: theirs,
        complain_by: arguments.complain_ms.map(|span| SystemClock.now().after(DurationMillis(span))),
        send_by: None,
        escrow: Some(EscrowTerms::new(epoch, Suite::DEFAULT)),
    })
}

/// A signature by the identity key of `signer`, as `fairx` offers it.
fn detached((title, text): (&str, &str), subject: &Information, signer: &Party) -> Result<Item> {
    let key = SignatureKey::ed25519(signer.signing_key)?;
    Ok(items::detached_signature(title, text, subject.clone(), key, Vec::new()))
}

/// What the cheater asks of the arbiter.
struct Court {
    pin: ArbiterPin,
    signer: Arc<MemorySigner>,
    sealing: SealingSecret,
    role: Role,
    teller: Teller,
}

impl Court {
    async fn abort(&self, loot: &mut Loot) -> Result<()> {
        self.teller.to_arbiter("asks to end the exchange without items, although it was accepted");
        let filing = self.filing(loot, Action::Abort)?;
        let answer = self.port()?.abort(&filing).await;
        self.answered(&filing, answer, loot)?;
        // The peer was faster, and both escrows are open.
        let ruled = loot.receipts.last().map(|receipt| Signed::<Verdict>::parse(receipt.statement.clone()));
        match ruled.transpose()?.map(|verdict| verdict.unverified().ruling.clone()) {
            Some(Ruling::Replaced(_)) => self.fetch(loot).await,
            Some(Ruling::Aborted | Ruling::Affidavit(_) | Ruling::Revoked(_)) | None => Ok(()),
        }
    }

    /// Only files can be deposited; a cheater that signs has nothing more to try.
    async fn deposit_altered(&self, loot: &Loot, arguments: &Peer) -> Result<()> {
        let Some(Description::Information(_)) = own_description(loot, self.role) else { return Ok(()) };
        let mut bytes = std::fs::read(arguments.file.as_deref().context("--file")?)?;
        if let Some(byte) = bytes.last_mut() {
            *byte ^= 1;
        }
        let swapped = arguments.home.join("swapped.pdf");
        std::fs::write(&swapped, bytes)?;
        self.teller.to_arbiter("deposits the swapped file");
        let filing = self.filing(loot, Action::Deposit)?;
        match self.port()?.deposit(&filing, &swapped).await {
            Ok(_) => self.teller.by_arbiter("attestation: the swapped file was TAKEN"),
            Err(error) => self.teller.by_arbiter(&error.to_string()),
        }
        Ok(())
    }

    async fn take_late(&self, loot: &mut Loot, arguments: &Peer) -> Result<()> {
        let by = loot.offer.as_ref().and_then(|offer| offer.complain_by).context("no deadline")?;
        let file = arguments.file.as_deref().context("--file")?;
        sleep(Duration::from_millis(by.before(LAST_MOMENT).0.saturating_sub(SystemClock.now().0))).await;
        self.teller.to_arbiter("deposits the file that the peer never got");
        let filing = self.filing(loot, Action::Deposit)?;
        let answer = self.port()?.deposit(&filing, file).await;
        self.answered(&filing, answer, loot)?;
        self.teller.to_arbiter("asks to open the escrow of the peer's receipt");
        let filing = self.filing(loot, Action::Resolve)?;
        let answer = self.port()?.resolve(&filing).await;
        self.answered(&filing, answer, loot)?;
        self.fetch(loot).await
    }

    /// Takes what the arbiter holds.
    async fn fetch(&self, loot: &mut Loot) -> Result<()> {
        self.teller.to_arbiter("fetches what it holds");
        let filing = self.filing(loot, Action::Fetch)?;
        let mut deposit = match self.port()?.fetch(&filing).await {
            Ok(deposit) => deposit,
            Err(error) => {
                self.teller.by_arbiter(&error.to_string());
                return Ok(());
            }
        };
        let agreement = loot.agreement.as_ref().context("no agreement")?;
        let context = agreement.seal_context(self.role.peer());
        let mut opener = Opener::new(&self.sealing, &context, &deposit.encapsulated)?;
        let mut chunks = Vec::new();
        while let Some(chunk) = deposit.chunks.next().await {
            chunks.push(chunk?);
        }
        let last = chunks.len().saturating_sub(1);
        let opened: Result<Vec<_>, _> =
            chunks.iter().enumerate().map(|(index, chunk)| opener.open(chunk, index == last)).collect();
        let content = opened?.concat();
        self.teller.by_arbiter(&format!("gives {} bytes, sealed", content.len()));
        loot.content = Some(content);
        Ok(())
    }

    fn answered(&self, filing: &Filing, answer: Result<Receipt, PortError>, loot: &mut Loot) -> Result<()> {
        let receipt = match answer {
            Ok(receipt) => receipt,
            Err(error) => {
                self.teller.by_arbiter(&error.to_string());
                return Ok(());
            }
        };
        let proven = receipt.verify(&filing.offer, Some(filing.request.digest()))?;
        let what = match &proven.ruled {
            Ruled::Attestation(_) => "attestation: holds the file".to_owned(),
            Ruled::Verdict(verdict) => match &verdict.ruling {
                Ruling::Aborted => "verdict: aborted".to_owned(),
                Ruling::Affidavit(_) => "verdict: an affidavit of what was there".to_owned(),
                Ruling::Revoked(_) => "verdict: the money goes back".to_owned(),
                Ruling::Replaced(list) => {
                    let roles: Vec<_> = list.iter().map(|it| it.role.to_string()).collect();
                    format!("verdict: opens the escrow of the {}", roles.join(" and the "))
                }
            },
        };
        self.teller.by_arbiter(&format!("{what}, log {}; proof checked here", proven.leaf.index));
        loot.receipts.push(receipt);
        Ok(())
    }

    fn filing(&self, loot: &Loot, action: Action) -> Result<Filing> {
        let offer = loot.offer.clone().context("there is no offer")?;
        let agreement = loot.agreement.as_ref();
        let request = Request {
            exchange_id: offer.exchange_id(),
            agreement_id: agreement.map(Agreement::id),
            role: self.role,
            action,
        };
        Ok(Filing {
            request: Verified::sign(request, &*self.signer),
            acceptance: agreement.map(|agreement| agreement.acceptance().clone()),
            escrows: self.escrows(loot, action)?,
            offer,
        })
    }

    /// What is to be opened, or posted.
    fn escrows(&self, loot: &Loot, action: Action) -> Result<Escrows> {
        let mut filed = Escrows::default();
        let offer = loot.offer.as_ref().context("there is no offer")?;
        for role in to_file(offer, self.role, action) {
            let bytes = loot.escrows.of(role).as_deref();
            *filed.of_mut(role) = bytes.map(Pledge::from_bytes).transpose()?;
        }
        Ok(filed)
    }

    fn port(&self) -> Result<GrpcArbiter> {
        Ok(GrpcArbiter::new(&self.pin.url, None)?)
    }
}

fn own_description(loot: &Loot, role: Role) -> Option<&Description> {
    Some(&loot.offer.as_ref()?.item(role).description)
}

/// Writes the loot as a bundle and a received file, where an honest party has them too.
fn keep(loot: &Loot, role: Role, arguments: &Peer) -> Result<()> {
    let Some(offer) = &loot.offer else { return Ok(()) };
    let theirs = loot.transfer.as_ref().map(|transfer| transfer.envelope().clone());
    let transfers = match role {
        Role::Originator => [None, theirs],
        Role::Responder => [theirs, None],
    };
    let acceptance = loot.agreement.as_ref().map(|agreement| agreement.acceptance().envelope().clone());
    let bundle = Bundle::new(offer.envelope().clone(), acceptance, transfers, loot.receipts.clone());
    bundle.write(&arguments.bundle)?;
    let Some(content) = &loot.content else { return Ok(()) };
    let peer = role.peer();
    let folder = arguments.home.join("received").join(offer.exchange_id().to_string());
    std::fs::create_dir_all(&folder)?;
    match &offer.item(peer).description {
        Description::Information(described) => {
            let name = Path::new(&described.name).file_name().context("no name")?;
            std::fs::write(folder.join(name), content)?;
        }
        Description::DetachedSignature(item) => {
            let name = Path::new(&item.statement.subject.name).file_name().context("no name")?;
            let name = name.to_string_lossy();
            std::fs::write(folder.join(format!("{name}.document.txt")), item.statement.document())?;
            std::fs::write(folder.join(format!("{name}.{peer}.pem")), public_pem(&item.key))?;
            std::fs::write(folder.join(format!("{name}.{peer}.sig")), content)?;
        }
        // The receipts of payments are the ledger's to show.
        paid if !paid.payments().is_empty() => {}
        Description::Package(_) => {
            let (folder, mut rest) = (folder.join("package"), content.as_slice());
            std::fs::create_dir_all(&folder)?;
            for described in plain::files(offer.item(peer)) {
                let name = Path::new(&described.name).file_name().context("no name")?;
                let (_, bytes) = rest.split_at_checked(limits::FRAME_BYTES).context("no length")?;
                let size = usize::try_from(described.size_bytes)?;
                let (bytes, later) = bytes.split_at_checked(size).context("a file is cut")?;
                std::fs::write(folder.join(name), bytes)?;
                rest = later;
            }
        }
        Description::Nothing | Description::Payment(_) | Description::Signature(_) => {}
    }
    Ok(())
}

fn held(loot: &Loot, role: Role) -> String {
    let Some(offer) = &loot.offer else { return "nothing".to_owned() };
    match (loot.has_item(), loot.receipts.is_empty()) {
        (true, _) => arbiter_client::plain::item(offer.item(role.peer())),
        (false, false) => "the arbiter's answer".to_owned(),
        (false, true) => "nothing".to_owned(),
    }
}

/// Prints lines as `fairx` does.
#[derive(Clone)]
struct Teller {
    me: String,
}

impl Teller {
    fn tell(&self, text: &str) {
        println!(" {} UTC  {:<24} {text}", now(), self.me);
    }

    fn directed(&self, from: &str, to: &str, text: &str) {
        println!(" {} UTC  {from} -> {to} {text}", now());
    }

    fn to_arbiter(&self, text: &str) {
        self.directed(&self.me, "arbiter", text);
    }

    fn by_arbiter(&self, text: &str) {
        self.directed("arbiter", &self.me, text);
    }
}

/// A transport that tells what passes, and closes when it is time for the next step of the cheat.
struct Told {
    line: Box<dyn Transport>,
    teller: Teller,
    peer: String,
    pause: Option<Duration>,
    until: Option<Instant>,
    over: bool,
}

impl Told {
    /// After the cheat: hears what the peer still says, until it closes.
    async fn listen_to_the_end(&mut self) {
        let over = Instant::now() + LONGEST;
        (self.pause, self.until) = (None, None);
        while !self.over {
            tokio::select! {
                () = sleep_until(over) => return,
                _ = self.next(Want::Events) => {}
            }
        }
    }

    fn passes(&mut self, envelope: &Envelope) {
        if let (true, Ok(offer)) = (envelope.holds::<Offer>(), Signed::<Offer>::parse(envelope.clone())) {
            let offer = offer.unverified();
            let names = [&offer.originator.name, &offer.responder.name];
            self.peer = names.into_iter().find(|name| **name != self.teller.me).cloned().unwrap_or_default();
        }
        if envelope.holds::<Acceptance>() && self.until.is_none() {
            self.until = self.pause.map(|pause| Instant::now() + pause);
        }
    }
}

#[async_trait]
impl Transport for Told {
    async fn next(&mut self, want: Want) -> Event {
        let event = match self.until {
            None => self.line.next(want).await,
            Some(until) => tokio::select! {
                biased;
                // The cheater takes it for the end of the connection, which stays open.
                () = sleep_until(until) => return Event::Closed,
                event = self.line.next(want) => event,
            },
        };
        if let Event::Message(PeerMessage::Statement(envelope, _)) = &event {
            self.passes(envelope);
        }
        self.over = event == Event::Closed;
        let (me, peer) = (self.teller.me.clone(), self.peer.clone());
        let told = match &event {
            Event::Connected => Some("connected".to_owned()),
            Event::Lost => Some("connection lost".to_owned()),
            Event::Closed => Some("closes: needs nothing more".to_owned()),
            Event::Message(message) => told(message),
            Event::Room => None,
        };
        match (&event, told) {
            (Event::Connected | Event::Lost, Some(text)) => self.teller.tell(&text),
            (_, Some(text)) => self.teller.directed(&peer, &me, &text),
            (_, None) => {}
        }
        event
    }

    fn send(&mut self, message: PeerMessage) -> Result<(), NotSent> {
        let text = told(&message);
        if let PeerMessage::Statement(envelope, _) = &message {
            self.passes(envelope);
        }
        self.line.send(message)?;
        if let Some(text) = text {
            self.teller.directed(&self.teller.me, &self.peer, &text);
        }
        Ok(())
    }

    fn is_connected(&self) -> bool {
        self.line.is_connected()
    }

    async fn close(&mut self) {
        self.line.close().await;
    }
}

fn told(message: &PeerMessage) -> Option<String> {
    match message {
        PeerMessage::Statement(envelope, _) if envelope.holds::<Offer>() => Some("offer".to_owned()),
        PeerMessage::Statement(envelope, _) if envelope.holds::<Acceptance>() => {
            Some("acceptance".to_owned())
        }
        PeerMessage::Statement(envelope, _) if envelope.holds::<Transfer>() => Some("transfer".to_owned()),
        PeerMessage::Statement(_, _) => Some("a statement".to_owned()),
        PeerMessage::Content(content) if content.last => Some("file, sealed, to its last byte".to_owned()),
        PeerMessage::Content(_) => None,
        PeerMessage::Declined(reason) => Some(format!("says {}", arbiter_client::plain::clip(reason, 40))),
    }
}
