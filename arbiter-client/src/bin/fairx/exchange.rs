//! Offering, accepting, resuming and complaining: the commands that sign or send.
//!
//! ```text
//!  offer ──▶ Client::offer (approval) ──▶ connect ─┐
//!  accept ─▶ listen ─▶ next_offer ─▶ Client::accept (approval) ─┴▶ run ─▶ finish: outcome, file, bundle
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use arbiter_client::bundle::Bundle;
use arbiter_client::error::{Error, PeerFault, Usage};
use arbiter_client::explain::keys::certificate;
use arbiter_client::identity::PublicIdentity;
use arbiter_client::protocol::exchange::payment::{Amount, Payment};
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::protocol::message::agreement::Offer;
use arbiter_client::protocol::time::DurationMillis;
use arbiter_client::purse::PurseBook;
use arbiter_client::transport::Nobody;
use arbiter_client::transport::grpc::{Dialer, Listener};
use arbiter_client::verify::{FileFacts, described};
use arbiter_client::{Proposal, explain};

use crate::args::{Accept, Conduct, Deal, Template};
use crate::capabilities::{self, Both};
use crate::events::Watched;
use crate::failure::Failure;
use crate::home::Home;
use crate::keys::Answer;
use crate::out::say;
use crate::party::{Party, held, row};
use crate::terms::{self, Wallet};

/// `fairx offer`.
pub async fn offer(home: &Home, template: Template) -> Result<u8, Failure> {
    let Deal { to, connect, peer_capabilities, conduct } = template.deal();
    let to: PublicIdentity = to.parse()?;
    let identity = home.identity()?.party().signing_key;
    let allowance = home.arbiter()?.money.map_or(DurationMillis(300_000), |money| money.hold_allowance);
    let both = match peer_capabilities {
        Some(path) => Some(Both::read(home, path, to.party().signing_key, None).await?),
        None => None,
    };
    let wallet = Wallet { book: home.purses()?, hold_allowance: allowance, both };
    let proposed = terms::propose(&template, identity, to.party(), &wallet).await?;
    wallet.both.iter().try_for_each(|both| both.check_files(&proposed.terms))?;
    let party = Party::open(home, conduct, facts(&proposed.read)?).await?;
    let id = match proposed.weak {
        false => party.client.offer(proposed.terms, proposed.give).await?,
        true => party.client.offer_with_affidavit(proposed.terms, proposed.give).await?,
    };
    party.teller.own(&format!("offer signed: exchange {id}"));
    party.run(id, Box::new(dial(connect)?)).await
}

/// `fairx accept`.
pub async fn accept(home: &Home, accept: Accept) -> Result<u8, Failure> {
    let from: Option<PublicIdentity> = accept.from.as_deref().map(str::parse).transpose()?;
    let mut read = accept.files.clone();
    read.extend(accept.give.clone());
    let facts = facts(&read)?;
    let answer = Answer::new(&accept)?;
    let party = Party::open(home, &accept.conduct, facts.clone()).await?;
    let mut listener = listen(&party, accept.listen).await?;
    let (proposal, mut transport) = wanted_offer(&party, &mut listener, from.as_ref()).await?;
    if let Err(failure) = fits(proposal.offer(), &facts) {
        party.client.decline(&mut transport, "OFFER_NOT_AS_EXPECTED").await;
        return Err(failure);
    }
    let (list, key) = (accept.peer_capabilities.as_deref(), accept.key.as_deref());
    if let Err(failure) = capabilities::check(home, proposal.offer(), list, key).await {
        party.client.decline(&mut transport, "OFFER_NOT_AS_EXPECTED").await;
        return Err(failure);
    }
    if let Err(failure) = payable(proposal.offer(), &home.purses()?, accept.purse.as_deref()) {
        party.client.decline(&mut transport, "OFFER_NOT_WANTED").await;
        return Err(failure);
    }
    let give = match answer.give(proposal.offer()) {
        Ok(give) => give,
        Err(failure) => {
            party.client.decline(&mut transport, "OFFER_NOT_WANTED").await;
            return Err(failure);
        }
    };
    match party.client.accept(&proposal, give).await {
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

/// `fairx complain`. The exchange is in the journal, or comes from a bundle with the files that we give.
pub async fn complain(
    home: &Home,
    id: Option<&str>,
    import: Option<(&Path, &[PathBuf])>,
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
        say!("    {}", held(&status.evidence, None));
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
    for proof in party.write_charges().await? {
        say!("    proof for others: {}", proof.display());
    }
    Ok(0)
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
) -> Result<(Proposal, Watched<'a>), Failure> {
    loop {
        let mut transport = Watched::new(Box::new(listener.accept().await), party.teller.clone(), None);
        let (why, told) = match party.client.next_offer(&mut transport).await {
            Ok(proposal) if from.is_none_or(|from| *from.party() == proposal.offer().originator) => {
                return Ok((proposal, transport));
            }
            Ok(proposal) => (
                "OFFER_NOT_AS_EXPECTED",
                format!("it is from somebody else: {}", explain::who(&proposal.offer().originator)),
            ),
            Err(error @ Error::Peer(_)) => (reason(&error), error.to_string()),
            Err(error) => return Err(error.into()),
        };
        party.teller.own(&format!("declines an offer: {told}; waits on"));
        party.client.decline(&mut transport, why).await;
    }
}

/// What the user said about the offer, and certificates that lie: before any screen.
fn fits(offer: &Offer, files: &[FileFacts]) -> Result<(), Failure> {
    for item in Role::BOTH.into_iter().flat_map(|role| offer.item(role).description.detached_leaves()) {
        certificate(item).map_err(|why| {
            Failure::bad(format!("the offer is not to be trusted: {why}"))
                .next("nothing was signed; tell the other party")
        })?;
    }
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

/// The purses that the offer names: the one that the user means, within its limit.
fn payable(offer: &Offer, book: &PurseBook, named: Option<&str>) -> Result<(), Failure> {
    let payments: Vec<_> =
        Role::BOTH.iter().flat_map(|role| offer.item(*role).description.payments()).collect();
    if let Some(name) = named {
        let purse = book.find(name)?;
        if !terms::uses(&payments, purse) {
            return Err(Failure::bad(format!("the offer pays neither from nor into your purse {name}"))
                .next(
                    "nothing was signed; give the other party the line that `fairx purse account` prints",
                ));
        }
    }
    let ours = offer.item(Role::Responder).description.payments();
    for payment in &ours {
        // Not ours at all: refused by the client, which says so.
        let Some(purse) = book.of_account(&payment.payer) else { continue };
        let same = ours.iter().filter(|it| it.payer == payment.payer && it.ledger == payment.ledger);
        let units = same.map(|it| it.amount.units).fold(0, u64::saturating_add);
        let amount = Amount { units, currency: payment.amount.currency.clone() };
        purse.may_make(&Payment { amount, ..(*payment).clone() })?;
    }
    Ok(())
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
