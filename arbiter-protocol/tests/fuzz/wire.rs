//! What arrives in one piece: receipts, cases, messages of the peer, sealed content, files.

use std::sync::OnceLock;

use arbiter_protocol::crypto::{Opener, Sealer, SealingSecret};
use arbiter_protocol::escrow::Escrow;
use arbiter_protocol::exchange::item::Information;
use arbiter_protocol::exchange::kind::content::ContentCheck;
use arbiter_protocol::ids::Digest;
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::statement::{Envelope, Verified};
use arbiter_protocol::wire::arbiter as proto;
use arbiter_protocol::wire::peer;
use prost::Message as _;
use zeroize::Zeroizing;

use super::decoders::any_statement;
use crate::common::{Cast, EARLY, Kind, Notary, sealing};

/// The receipts that an honest arbiter gives, with the offers that they are about.
pub fn receipts() -> &'static [(Verified<Offer>, Receipt)] {
    static RECEIPTS: OnceLock<Vec<(Verified<Offer>, Receipt)>> = OnceLock::new();
    RECEIPTS.get_or_init(|| {
        let (cast, mut notary) = (Cast::new(), Notary::new());
        let mut list = Vec::new();
        for kind in Kind::ALL {
            let agreement = cast.agreement(kind);
            let actions: &[Action] =
                if kind.is_p1() { &[Action::Resolve] } else { &[Action::Deposit, Action::Resolve] };
            for action in actions {
                let case = cast.case(&agreement, kind.first(), *action);
                let receipt = notary.file(&case, EARLY).expect("honest").expect("a receipt");
                list.push((agreement.offer().clone(), receipt));
            }
        }
        for kind in Kind::PLAIN {
            let offer = cast.offer(kind, 71);
            let case = cast.admit(&offer, None, kind.first(), Action::Abort).expect("honest");
            let receipt = notary.file(&case, EARLY).expect("honest").expect("a receipt");
            list.push((offer, receipt));
        }
        list
    })
}

/// The receipt as it travels. It proves something beside an offer that it is about, and then it is one that the arbiter
/// really gave: no signature of it can be forged.
pub fn receipt(bytes: &[u8]) -> bool {
    let Ok(wire) = proto::Receipt::decode(bytes) else { return false };
    let Ok(receipt) = Receipt::try_from(wire) else { return false };
    let again = proto::Receipt::from(&receipt);
    assert_eq!(Receipt::try_from(again), Ok(receipt.clone()), "a receipt survives the round trip");
    let mut proven = false;
    for (offer, _) in receipts() {
        let Ok(it) = receipt.verify(offer, None) else { continue };
        assert!(receipts().iter().any(|(_, good)| good.statement == receipt.statement), "forged");
        assert_eq!(it.checkpoint.checkpoint().size, it.leaf.index.0 + 1);
        assert!(receipt.verify(offer, Some(Digest::of(&[b"another request"]))).is_err());
        proven = true;
    }
    proven
}

/// What a party files with the arbiter.
pub fn case(bytes: &[u8]) -> bool {
    let Ok(wire) = proto::Case::decode(bytes) else { return false };
    let Ok(case) = wire.admit(&Cast::new().identity()) else { return false };
    let party = case.offer().party(case.request().role).signing_key;
    assert_eq!(case.request().signer(), party);
    let acceptance = case.agreement().map(|it| it.acceptance());
    let filed = proto::Case::file(case.request(), case.offer(), acceptance, case.escrows());
    assert!(filed.admit(&Cast::new().identity()).is_ok(), "an admitted case is admitted again");
    true
}

/// What the peer sends over the network.
pub fn peer_message(bytes: &[u8]) -> bool {
    let Ok(message) = peer::Message::decode(bytes) else { return false };
    if message.escrow.len() > limits::ESCROW_BYTES {
        return false;
    }
    let escrow = Escrow::from_bytes(&message.escrow);
    match message.kind {
        Some(peer::message::Kind::Statement(envelope)) => {
            let Ok(envelope) = Envelope::from_wire(envelope) else { return false };
            assert_eq!(Envelope::decode(&envelope.encode()).as_ref(), Ok(&envelope));
            any_statement(&envelope);
            escrow.is_ok() || message.escrow.is_empty()
        }
        Some(peer::message::Kind::Content(content)) => {
            let opener = Opener::new(&secret(), CONTEXT, &content.encapsulated_key);
            opener.is_ok_and(|mut opener| opener.open(&content.sealed_chunk, content.last).is_ok())
        }
        Some(peer::message::Kind::Declined(_)) | None => false,
    }
}

/// What content of the corpus is sealed for.
pub const CONTEXT: &[u8] = b"fuzz";

fn secret() -> SealingSecret {
    sealing(12)
}

/// `encapsulated key 32 · (last 1 · length 2 · sealed chunk)…`: a stream opens only as it was sealed.
pub fn sealed(bytes: &[u8]) -> bool {
    let Some((encapsulated, mut rest)) = bytes.split_first_chunk::<32>() else { return false };
    let Ok(mut opener) = Opener::new(&secret(), CONTEXT, encapsulated) else { return false };
    let mut opened = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([head[1], head[2]])).min(after.len());
        let (chunk, after) = after.split_at(length);
        let last = head[0] & 1 == 1;
        let Ok(plain) = opener.open(chunk, last) else { return false };
        assert_eq!(plain.len() + 16, chunk.len());
        opened.push((plain, last));
        rest = after;
        if last {
            break;
        }
    }
    // Only the corpus is sealed with this randomness: what opens is what it gives again.
    let sealer = Sealer::new(&secret().public_key(), CONTEXT, &Zeroizing::new([4; 32]));
    let mut sealer = sealer.expect("a good key");
    if !opened.is_empty() && sealer.encapsulated() == encapsulated {
        let again = opened.iter().map(|(plain, last)| sealer.seal(plain, *last).expect("short"));
        let again: Vec<u8> = again.flatten().collect();
        assert!(bytes.len() > again.len() + 32 && opened.iter().rev().skip(1).all(|(_, last)| !last));
    }
    opened.last().is_some_and(|(_, last)| *last)
}

/// `number of a media type 1 · bytes of a file`: the check of magic bytes takes any file.
pub fn content(bytes: &[u8]) -> bool {
    const TYPES: [&str; 8] = [
        "application/pdf",
        "application/zip",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "image/png",
        "image/jpeg",
        "video/mp4",
        "text/plain",
        "application/octet-stream",
    ];
    let Some((first, file)) = bytes.split_first() else { return false };
    let agreed = Information {
        sha256: Digest::of(&[file]),
        size_bytes: u64::try_from(file.len()).expect("short"),
        media_type: TYPES[usize::from(*first) % TYPES.len()].to_owned(),
        name: "file".to_owned(),
    };
    let check = |step: usize| {
        let mut check = ContentCheck::file(agreed.clone());
        file.chunks(step).try_for_each(|part| check.update(part))?;
        check.finish()
    };
    let whole = check(file.len().max(1));
    assert_eq!(whole, check(7), "how a file is cut into parts does not matter");
    assert!(whole.is_ok() || usize::from(*first) % TYPES.len() < 6, "types without magic bytes are taken");
    whole.is_ok()
}
