//! What the tests with money share: every kind of trade, and the judgement by the ledger's own books.
#![allow(dead_code)] // Each test program uses a part.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arbiter_client::protocol::crypto::Signer as _;
use arbiter_client::protocol::escrow::Suite;
use arbiter_client::protocol::exchange::item::{Description, Item};
use arbiter_client::protocol::exchange::payment::{Amount, Hold, Payment, Timeout};
use arbiter_client::protocol::exchange::property::{Properties, Property};
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::protocol::message::agreement::Offer;
use arbiter_client::protocol::message::payment::{PaymentState, PaymentTerms};
use arbiter_client::protocol::statement::Verified;
use arbiter_client::protocol::time::{DurationMillis, UnixMillis};
use arbiter_client::testing::{Bench, Cheat, Cheater, identity, purse};
use arbiter_client::{Give, OfferTerms, Outcome, items};

use super::common::{Setting, content, described};

/// The kinds of trade between alice, who offers, and bob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trade {
    /// P3: her file for his money; he sends first.
    Sale,
    /// P3: her money for his file; she sends first.
    Purchase,
    /// P3: his money in two payments for her file; he sends first.
    SaleInParts,
    /// P3: her money in two payments for his file; she sends first.
    PurchaseInParts,
    /// P4: her money in two payments for his in one, all held.
    RollbackInParts,
    /// P3: money for money; she holds, he pays at once.
    Change,
    /// P4: money for money, both held.
    Rollback,
    /// P2: her money, paid at once, for his signature.
    Payment,
    /// P2: her signature for his money, held; he sends first.
    Collection,
    /// P5: file for file.
    Swap,
    /// P2: her file for his reserved money; she sends first.
    SaleReserved,
    /// P2: her reserved money for his file; he sends first.
    PurchaseReserved,
    /// P1: her reserved money for his signature.
    PaymentReserved,
    /// P1: her signature for his reserved money.
    CollectionReserved,
    /// P1: money for money, both reserved.
    ChangeReserved,
}

pub const TRADES: [Trade; 15] = [
    Trade::SaleInParts,
    Trade::PurchaseInParts,
    Trade::RollbackInParts,
    Trade::Sale,
    Trade::Purchase,
    Trade::Change,
    Trade::Rollback,
    Trade::Payment,
    Trade::Collection,
    Trade::Swap,
    Trade::SaleReserved,
    Trade::PurchaseReserved,
    Trade::PaymentReserved,
    Trade::CollectionReserved,
    Trade::ChangeReserved,
];

/// With money that is set aside first.
pub const RESERVED: [Trade; 5] = [
    Trade::SaleReserved,
    Trade::PurchaseReserved,
    Trade::PaymentReserved,
    Trade::CollectionReserved,
    Trade::ChangeReserved,
];

/// What each has at the beginning.
pub const BEGIN: i128 = 10_000;
/// What alice pays, if she does.
pub const HERS: i128 = 2_500;
/// What bob pays, if he does.
pub const HIS: i128 = 3_000;

pub const SEND_BY: u64 = 1_800_000;
pub const COMPLAIN_BY: u64 = 3_600_000;
pub const HOLD_END: u64 = 4_000_000;

impl Trade {
    /// Who sends first.
    pub fn first(self) -> Role {
        match self {
            Self::Sale | Self::SaleInParts | Self::Collection | Self::PurchaseReserved => Role::Responder,
            _ => Role::Originator,
        }
    }

    pub fn pays(self, role: Role) -> bool {
        match self {
            Self::Sale
            | Self::SaleInParts
            | Self::Collection
            | Self::SaleReserved
            | Self::CollectionReserved => role == Role::Responder,
            Self::Purchase
            | Self::PurchaseInParts
            | Self::Payment
            | Self::PurchaseReserved
            | Self::PaymentReserved => role == Role::Originator,
            Self::Change | Self::Rollback | Self::RollbackInParts | Self::ChangeReserved => true,
            Self::Swap => false,
        }
    }

    /// Whether payments are set aside first.
    pub fn reserves(self) -> bool {
        RESERVED.contains(&self)
    }

    /// Whether the arbiter can undo a payment.
    pub fn revokes(self) -> bool {
        matches!(
            self,
            Self::Sale
                | Self::SaleInParts
                | Self::Purchase
                | Self::PurchaseInParts
                | Self::Change
                | Self::Rollback
                | Self::RollbackInParts
        )
    }
}

/// The file that bob gives in a swap.
pub fn other_content() -> Vec<u8> {
    b"%PDF-1.7 another file altogether\n".repeat(3_000)
}

/// Accounts with money in them, and terms.
pub fn trade(bench: &Bench, trade: Trade, folder: &Path) -> Setting {
    for name in ["alice", "bob"] {
        // An account that is there already stays as it is.
        let _ = bench.ledger.open(&purse(name), "100.00 EUR");
    }
    unfunded(bench, trade, folder)
}

/// The same without accounts.
pub fn unfunded(bench: &Bench, trade: Trade, folder: &Path) -> Setting {
    let path = folder.join("notice.txt");
    std::fs::write(&path, content()).unwrap();
    let other = folder.join("other.pdf");
    std::fs::write(&other, other_content()).unwrap();
    let begin = bench.clock.now();
    let at = |millis| begin.after(DurationMillis(millis));
    let hold = Some(Hold { until: at(HOLD_END), timeout: Timeout::Post });
    let aside = Some(Hold { until: at(HOLD_END), timeout: Timeout::Void });
    let hers = |hold| items::payment(payment(bench, "alice", "bob", "25.00 EUR", hold));
    let his = |hold| items::payment(payment(bench, "bob", "alice", "30.00 EUR", hold));
    let file = || items::file(described());
    let receipt = || items::signature("Receipt", "I have got the money.", described());
    let parts = |from, to, parts: [&str; 2]| {
        let leaf = |amount| items::payment(payment(bench, from, to, amount, hold));
        Item::package(parts.map(leaf).to_vec()).unwrap()
    };
    // Only revocable: the matrix has P4 for nothing else.
    let only_revocable = |item: Item| Item { properties: Properties::new([Property::Revocable]), ..item };
    let (originator_item, responder_item) = match trade {
        Trade::Sale => (file(), his(hold)),
        Trade::Purchase => (hers(hold), file()),
        Trade::SaleInParts => (file(), parts("bob", "alice", ["24.00 EUR", "6.00 EUR"])),
        Trade::PurchaseInParts => (parts("alice", "bob", ["20.00 EUR", "5.00 EUR"]), file()),
        Trade::RollbackInParts => {
            (parts("alice", "bob", ["20.00 EUR", "5.00 EUR"]), only_revocable(his(hold)))
        }
        Trade::Change => (hers(hold), his(None)),
        Trade::Rollback => (only_revocable(hers(hold)), only_revocable(his(hold))),
        Trade::Payment => (hers(None), receipt()),
        Trade::Collection => (receipt(), his(hold)),
        Trade::SaleReserved => (file(), his(aside)),
        Trade::PurchaseReserved => (hers(aside), file()),
        Trade::PaymentReserved => (hers(aside), receipt()),
        Trade::CollectionReserved => (receipt(), his(aside)),
        Trade::ChangeReserved => (hers(aside), his(aside)),
        Trade::Swap => {
            let mut other = described();
            other.sha256 = arbiter_client::protocol::ids::Digest::of(&[&other_content()]);
            other.size_bytes = u64::try_from(other_content().len()).unwrap();
            other.media_type = "application/pdf".into();
            other.name = "other.pdf".into();
            (file(), items::file(other))
        }
    };
    let give = |item: &Item| match &item.description {
        Description::Information(it) if it.name == "other.pdf" => Some(other.clone()),
        Description::Information(_) => Some(path.clone()),
        _ => None,
    };
    let (originator_file, responder_file) = (give(&originator_item), give(&responder_item));
    let given = |file: &Option<std::path::PathBuf>| file.clone().map_or(Give::Nothing, Give::File);
    let p3 = matches!(
        trade,
        Trade::Sale | Trade::SaleInParts | Trade::Purchase | Trade::PurchaseInParts | Trade::Change
    );
    Setting {
        terms: OfferTerms {
            responder: identity("bob").party(),
            originator_item,
            responder_item,
            complain_by: Some(at(COMPLAIN_BY)),
            send_by: p3.then(|| at(SEND_BY)),
            suite: Suite::FAST,
        },
        originator: given(&originator_file),
        responder: given(&responder_file),
        originator_file,
        responder_file,
    }
}

pub fn payment(bench: &Bench, from: &str, to: &str, amount: &str, hold: Option<Hold>) -> Payment {
    Payment {
        ledger: bench.ledger.key(),
        payer: purse(from).public_key(),
        payee: purse(to).public_key(),
        amount: Amount::parse(amount).unwrap(),
        hold,
    }
}

/// Who cheats in this role, with an account of its own.
pub fn cheater(bench: &Bench, setting: &Setting, cheating: Role, cheat: Cheat) -> Cheater {
    let (name, file) = match cheating {
        Role::Originator => ("alice", setting.originator_file.clone()),
        Role::Responder => ("bob", setting.responder_file.clone()),
    };
    Cheater::new(identity(name), cheat, file)
        .with_arbiter(Arc::new(bench.arbiter.clone()))
        .with_account(Arc::new(bench.ledger.clone()), Arc::new(purse(name)))
        .for_time(Duration::from_secs(5_000))
}

/// Waits until every hold is over and the arbiter's orders are with the ledger.
pub async fn until_all_is_over(bench: &Bench, setting: &Setting) {
    let end = setting.terms.complain_by.unwrap().0 + HOLD_END - COMPLAIN_BY + 1_000;
    let now = bench.clock.now().0;
    tokio::time::sleep(Duration::from_millis(end.saturating_sub(now))).await;
    bench.arbiter.carry_out();
}

/// Whether the payment of `role` has reached the payee for good, by the ledger's books.
pub fn is_paid(bench: &Bench, offer: &Verified<Offer>, role: Role) -> bool {
    let terms = PaymentTerms::all(offer, role);
    let posted = |terms: &PaymentTerms| PaymentState::Posted(terms.payment.amount.units);
    !terms.is_empty() && terms.iter().all(|terms| bench.ledger.stands(terms) == posted(terms))
}

/// Whether the party of this outcome has what its peer gives: files from outside, money by the ledger's books.
pub fn has(bench: &Bench, outcome: &Outcome) -> bool {
    let evidence = outcome.evidence();
    let peer = evidence.role.peer();
    match &evidence.offer.item(peer).description {
        paid if !paid.payments().is_empty() => is_paid(bench, &evidence.offer, peer),
        Description::Information(it) => evidence.received_file.as_ref().is_some_and(|path| {
            let whole = if it.name == "other.pdf" { other_content() } else { content() };
            std::fs::read(path).unwrap() == whole
        }),
        _ => super::common::has_peers_item(outcome),
    }
}

/// What alice and bob have now.
pub fn balances(bench: &Bench) -> (i128, i128) {
    assert!(bench.ledger.is_sound());
    let of = |name| bench.ledger.available(&purse(name).public_key());
    (of("alice"), of("bob"))
}

/// What they have after everybody has kept its word.
pub fn after_honest(trade: Trade) -> (i128, i128) {
    let hers = if trade.pays(Role::Originator) { HERS } else { 0 };
    let his = if trade.pays(Role::Responder) { HIS } else { 0 };
    (BEGIN - hers + his, BEGIN + hers - his)
}

/// A time on the bench's clock, from the beginning of the trade.
pub fn since(setting: &Setting, now: UnixMillis) -> u64 {
    now.0 - (setting.terms.complain_by.unwrap().0 - COMPLAIN_BY)
}
