//! `fairx` as real processes with real files and a ledger over gRPC: a sale, a purchase, a payment; and no arbiter
//! running at all.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use arbiter_client::bundle::{Bundle, Claim};
use arbiter_client::clock::SystemClock;
use arbiter_client::identity::ArbiterPin;
use arbiter_client::ledger::{LedgerError, LedgerPort as _, Powers};
use arbiter_client::testing::{TestLedger, purse};
use arbiter_protocol::crypto::{MemorySigner, Signer as _};
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::message::payment::PaymentTerms;
use arbiter_protocol::role::arbiter::RULES;
use arbiter_protocol::statement::Envelope;
use arbiter_protocol::time::DurationMillis;
use arbiter_protocol::wire::ledger as proto;
use arbiter_protocol::wire::ledger::ledger_service_server::{LedgerService, LedgerServiceServer};
use tempfile::TempDir;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use zeroize::Zeroizing;

const FAIRX: &str = env!("CARGO_BIN_EXE_fairx");
const SONG: &[u8] = b"%PDF-1.7\nthe score of a song\n%%EOF\n";

/// A ledger over gRPC on a port of loopback.
#[derive(Clone)]
struct Bank {
    ledger: TestLedger,
    address: SocketAddr,
}

impl Bank {
    fn open() -> Self {
        let ledger = TestLedger::new("bank", Arc::new(SystemClock));
        ledger.open(&purse("operator"), "1.00 EUR").unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let bank = Self { ledger, address: listener.local_addr().unwrap() };
        let served = bank.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
                let service = LedgerServiceServer::new(served);
                tonic::transport::Server::builder()
                    .add_service(service)
                    .serve_with_incoming(incoming)
                    .await
                    .unwrap();
            });
        });
        bank
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn status(error: LedgerError) -> Status {
    match error {
        LedgerError::Refused { reason, message, .. } => {
            let details =
                ErrorDetails::with_error_info(reason, "ledger.arbiter.v1", std::collections::HashMap::new());
            Status::with_error_details(Code::FailedPrecondition, message, details)
        }
        other => Status::unavailable(other.to_string()),
    }
}

type Wire = arbiter_protocol::message::wire::Envelope;

fn envelope(wire: Option<Wire>) -> Envelope {
    Envelope::from_wire(wire.unwrap()).unwrap()
}

#[tonic::async_trait]
impl LedgerService for Bank {
    async fn get_ledger_info(
        &self,
        _: Request<proto::GetLedgerInfoRequest>,
    ) -> Result<Response<proto::GetLedgerInfoResponse>, Status> {
        Ok(Response::new(proto::GetLedgerInfoResponse {
            key: self.ledger.key().to_vec(),
            name: "Bank of the test".to_owned(),
            currencies: vec![proto::Currency { code: "EUR".to_owned(), scale: 2 }],
            ..Default::default()
        }))
    }

    async fn order_account(
        &self,
        request: Request<proto::OrderAccountRequest>,
    ) -> Result<Response<proto::OrderAccountResponse>, Status> {
        let answer = self.ledger.order_account(&envelope(request.into_inner().order)).await;
        let statement = Some(answer.map_err(status)?.to_wire());
        Ok(Response::new(proto::OrderAccountResponse { statement }))
    }

    async fn get_account(
        &self,
        request: Request<proto::GetAccountRequest>,
    ) -> Result<Response<proto::GetAccountResponse>, Status> {
        let answer = self.ledger.account(&envelope(request.into_inner().query)).await;
        Ok(Response::new(proto::GetAccountResponse { statement: Some(answer.map_err(status)?.to_wire()) }))
    }

    async fn order_payment(
        &self,
        request: Request<proto::OrderPaymentRequest>,
    ) -> Result<Response<proto::OrderPaymentResponse>, Status> {
        let answer = self.ledger.order(&envelope(request.into_inner().order)).await;
        Ok(Response::new(proto::OrderPaymentResponse { receipt: Some(answer.map_err(status)?.to_wire()) }))
    }

    async fn get_payment(
        &self,
        request: Request<proto::GetPaymentRequest>,
    ) -> Result<Response<proto::GetPaymentResponse>, Status> {
        let terms = PaymentTerms::from_wire(request.into_inner().terms.unwrap()).unwrap();
        let answer = self.ledger.payment(&terms).await;
        Ok(Response::new(proto::GetPaymentResponse { receipt: Some(answer.map_err(status)?.to_wire()) }))
    }

    async fn list_payments(
        &self,
        request: Request<proto::ListPaymentsRequest>,
    ) -> Result<Response<proto::ListPaymentsResponse>, Status> {
        let page = self.ledger.payments(&envelope(request.into_inner().query), "").await.map_err(status)?;
        let receipts = page.receipts.iter().map(Envelope::to_wire).collect();
        Ok(Response::new(proto::ListPaymentsResponse { receipts, next_page_token: String::new() }))
    }
}

/// A pin of an arbiter that nobody runs: port 9 of loopback answers nobody.
fn pin(bank: &Bank) -> ArbiterPin {
    let key = |byte| MemorySigner::from_seed(&Zeroizing::new([byte; 32])).public_key();
    let identity = ArbiterIdentity {
        key: key(3),
        log_key: key(4),
        log_origin: Origin::parse("arbiter.example/evidence").unwrap(),
        rules: RULES.into(),
    };
    let pin = ArbiterPin::new(identity, "http://127.0.0.1:9").unwrap();
    pin.with_money(DurationMillis(5_000), vec![Powers::all(bank.ledger.key())])
}

/// A party: a home folder and files beside it.
struct Party {
    folder: TempDir,
    id: String,
    line: String,
    account: PublicKey,
}

impl Party {
    fn new(name: &str, bank: &Bank) -> Self {
        let mut party = Self {
            folder: tempfile::tempdir().unwrap(),
            id: String::new(),
            line: String::new(),
            account: PublicKey::from_bytes([0; 32]),
        };
        let pin_file = party.folder.path().join("arbiter.pin");
        pin(bank).create(&pin_file).unwrap();
        party.good(&["init", "--name", name, "--arbiter", pin_file.to_str().unwrap()]);
        party.id = party.good(&["id"]).trim().to_owned();
        let made = party.good(&[
            "purse",
            "create",
            "main",
            "--ledger",
            &bank.url(),
            "--ledger-key",
            &bank.ledger.key().to_string(),
        ]);
        let account = made.lines().find_map(|line| line.strip_prefix("account  ")).unwrap();
        party.account = PublicKey::from_bytes(hex::decode(account).unwrap().try_into().unwrap());
        party.line = party.good(&["purse", "account", "main"]).trim().to_owned();
        party
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("setsid");
        command.args(["--wait", FAIRX, "--home"]).arg(self.folder.path().join("home")).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn good(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts `accept` and waits until it listens.
    fn accept(&self, arguments: &[&str]) -> Accepting {
        let common = ["accept", "--listen", "127.0.0.1:0", "--linger", "200ms", "--patience", "30s", "--yes"];
        let mut child = self.command(&[&common, arguments].concat()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while !said.contains("listening on ") {
            assert_ne!(output.read_line(&mut said).unwrap(), 0, "{said}");
        }
        let address = said.rsplit("listening on ").next().unwrap().trim().to_owned();
        Accepting { child, output, said, address }
    }

    fn offer(&self, to: &Self, accepting: &Accepting, arguments: &[&str]) -> Output {
        let rest = [
            "--to",
            &to.id,
            "--connect",
            &accepting.address,
            "--yes",
            "--linger",
            "200ms",
            "--retry-for",
            "300ms",
            "--patience",
            "30s",
        ];
        self.run(&[&["offer"], arguments, &rest].concat())
    }

    fn bundle(&self) -> PathBuf {
        let mut files = std::fs::read_dir(self.folder.path().join("home/evidence")).unwrap();
        files.next().expect("a bundle").unwrap().path()
    }

    fn received(&self, name: &str) -> Vec<u8> {
        let exchanges = std::fs::read_dir(self.folder.path().join("home/received")).unwrap();
        let mut found = exchanges.map(|it| it.unwrap().path().join(name)).filter(|path| path.exists());
        std::fs::read(found.next().expect("received")).unwrap()
    }

    /// The bundle verifies offline, and says what was paid.
    fn proves(&self, words: &str) {
        let bundle = self.bundle();
        assert_eq!(Bundle::read(&bundle).unwrap().outcome, Claim::Completed);
        let said = self.good(&["verify", bundle.to_str().unwrap()]);
        assert!(said.contains(words), "{said}");
        assert!(self.good(&["explain", bundle.to_str().unwrap()]).contains(words));
    }
}

struct Accepting {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    said: String,
    address: String,
}

/// A test that fails leaves no process behind.
impl Drop for Accepting {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

impl Accepting {
    fn end(mut self) -> (Option<i32>, String) {
        self.output.read_to_string(&mut self.said).unwrap();
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        (self.child.wait().unwrap().code(), std::mem::take(&mut self.said) + &errors)
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn cents(bank: &Bank, party: &Party) -> i128 {
    bank.ledger.available(&party.account)
}

/// A file for money: held, then the seller's as soon as the buyer has the file. No arbiter is needed.
#[test]
fn a_sale_with_real_files() {
    let bank = Bank::open();
    let (seller, buyer) = (Party::new("Sally", &bank), Party::new("Bert", &bank));
    bank.ledger.issue(buyer.account, "50.00 EUR").unwrap();
    let song = seller.file("song.pdf", SONG);
    let accepting = buyer.accept(&["--purse", "main", "--file", song.to_str().unwrap()]);
    let sale =
        ["sale", "--file", song.to_str().unwrap(), "--price", "9.00 EUR", "--from-account", &buyer.line];
    let offered = seller.offer(&buyer, &accepting, &sale);
    let (code, said) = accepting.end();
    assert_eq!((offered.status.code(), code), (Some(0), Some(0)), "{}\n{said}", text(&offered));
    assert_eq!((cents(&bank, &seller), cents(&bank, &buyer)), (900, 4100));
    assert_eq!(buyer.received("song.pdf"), SONG);

    // The screen says what leaves, what can come back, until when.
    for words in ["9.00 EUR, exactly this amount", "All of it can come back to you until", "Decided by"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    for words in ["orders 9.00 EUR to be held until", "gives 9.00 EUR to the payee for good"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    seller.proves("9.00 EUR paid for good");
    buyer.proves("9.00 EUR");

    // Purses tell what was paid and why.
    assert!(seller.good(&["purse", "list"]).contains("9.00 EUR, 0.00 EUR held"));
    let history = buyer.good(&["purse", "history", "main"]);
    assert!(history.contains("posted") && history.contains("the file song.pdf"), "{history}");
    let csv = buyer.good(&["purse", "export", "main"]);
    assert_eq!(csv.lines().count(), 2, "{csv}");
    assert!(csv.contains(",out,9.00 EUR,900,EUR,2,posted,") && csv.contains("Sally"), "{csv}");
    let json = seller.good(&["purse", "export", "main", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json[0]["direction"], &json[0]["state"]), (&"in".into(), &"posted".into()), "{json}");
}

/// Money for a described file: the same, offered by who pays; and a payment at once for a signed receipt.
#[test]
fn a_purchase_and_a_payment_with_real_files() {
    let bank = Bank::open();
    let (buyer, seller) = (Party::new("Bert", &bank), Party::new("Sally", &bank));
    bank.ledger.issue(buyer.account, "50.00 EUR").unwrap();
    let song = seller.file("song.pdf", SONG);
    let want = seller.good(&["describe", song.to_str().unwrap()]).trim().to_owned();
    let accepting = seller.accept(&["--give", song.to_str().unwrap()]);
    let purchase = ["purchase", "--want", &want, "--price", "9.00 EUR", "--to-account", &seller.line];
    let offered = buyer.offer(&seller, &accepting, &purchase);
    let (code, said) = accepting.end();
    assert_eq!((offered.status.code(), code), (Some(0), Some(0)), "{}\n{said}", text(&offered));
    assert_eq!((cents(&bank, &seller), cents(&bank, &buyer)), (900, 4100));
    assert_eq!(buyer.received("song.pdf"), SONG);
    seller.proves("9.00 EUR paid for good");

    let (payer, shop) = (Party::new("Paula", &bank), Party::new("Shop", &bank));
    bank.ledger.issue(payer.account, "20.00 EUR").unwrap();
    let invoice = payer.file("invoice.pdf", SONG);
    let accepting = shop.accept(&["--file", invoice.to_str().unwrap()]);
    let payment = [
        "payment",
        "--replacement",
        "--file",
        invoice.to_str().unwrap(),
        "--amount",
        "20.00 EUR",
        "--to-account",
        &shop.line,
    ];
    let offered = payer.offer(&shop, &accepting, &payment);
    let (code, said) = accepting.end();
    assert_eq!((offered.status.code(), code), (Some(0), Some(0)), "{}\n{said}", text(&offered));
    assert_eq!((cents(&bank, &payer), cents(&bank, &shop)), (0, 2000));
    payer.proves("20.00 EUR paid for good");
}

/// price and tax, all or none, without an arbiter; what cannot be undone, or does not match up, is refused before it is signed.
#[test]
fn a_purchase_paid_in_parts() {
    let bank = Bank::open();
    let (buyer, seller) = (Party::new("Bert", &bank), Party::new("Sally", &bank));
    bank.ledger.issue(buyer.account, "50.00 EUR").unwrap();
    let song = seller.file("song.pdf", SONG);
    let want = seller.good(&["describe", song.to_str().unwrap()]).trim().to_owned();
    let parts = ["--price", "9.00 EUR", "--to-account", &seller.line, "--price", "1.80 EUR"];
    let purchase = [&["purchase", "--want", &want], &parts[..]].concat();
    let to = ["--to", &seller.id, "--connect", "127.0.0.1:9", "--yes"];
    let both = [&purchase[..], &["--to-account", &seller.line]].concat();
    for (more, why) in [
        (&[][..], "as many accounts as prices"),
        (&["--to-account", &seller.line, "--reserve"], "can be undone"),
        (&["--to-account", &seller.line, "--affidavit"], "can be undone"),
        (&["--to-account", &seller.line, "--price", "1 JPY", "--to-account", &seller.line], "one currency"),
    ] {
        let refused = buyer.run(&[&["offer"], &purchase[..], more, &to].concat());
        assert_ne!(refused.status.code(), Some(0), "{}", text(&refused));
        assert!(text(&refused).contains(why), "{}", text(&refused));
    }
    let accepting = seller.accept(&["--give", song.to_str().unwrap()]);
    let offered = buyer.offer(&seller, &accepting, &both);
    let (code, said) = accepting.end();
    assert_eq!((offered.status.code(), code), (Some(0), Some(0)), "{}\n{said}", text(&offered));
    assert_eq!((cents(&bank, &seller), cents(&bank, &buyer)), (1080, 3920));
    assert_eq!(buyer.received("song.pdf"), SONG);
    for amount in ["9.00 EUR", "1.80 EUR"] {
        assert!(text(&offered).contains(amount) && said.contains(amount), "{}\n{said}", text(&offered));
        seller.proves(&format!("{amount} paid for good"));
    }
}

/// money that is set aside first: a payment for a receipt (P1), and a file for money (P2). The screens say so; no
/// arbiter is needed.
#[test]
fn reserved_money_for_a_receipt_and_for_a_file() {
    let bank = Bank::open();
    let (payer, shop) = (Party::new("Paula", &bank), Party::new("Shop", &bank));
    bank.ledger.issue(payer.account, "29.00 EUR").unwrap();
    let invoice = payer.file("invoice.pdf", SONG);
    let file = invoice.to_str().unwrap();
    let accepting = shop.accept(&["--file", file]);
    let amount = ["--amount", "20.00 EUR", "--to-account", &shop.line];
    let payment = [&["payment", "--replacement", "--reserve", "--file", file][..], &amount].concat();
    let offered = payer.offer(&shop, &accepting, &payment);
    let (code, said) = accepting.end();
    assert_eq!((offered.status.code(), code), (Some(0), Some(0)), "{}\n{said}", text(&offered));
    assert_eq!((cents(&bank, &payer), cents(&bank, &shop)), (900, 2000));
    payer.proves("20.00 EUR paid for good");
    shop.proves("20.00 EUR paid for good");
    let flat = |screen: &str| screen.split_whitespace().collect::<Vec<_>>().join(" ");
    let screens = [flat(&text(&offered)), flat(&said)];
    for screen in &screens {
        assert!(screen.contains("Set aside on the ledger before anything is handed over"), "{screen}");
        assert!(screen.contains("Until then either side can turn to the arbiter"), "{screen}");
    }
    assert!(screens[0].contains("the arbiter can have the money that you have set aside paid to them"));
    assert!(
        screens[1].contains("the arbiter orders the ledger to pay you the money that they have set aside")
    );
    assert!(screens[0].contains("orders 20.00 EUR to be set aside until"), "{}", screens[0]);

    let song = shop.file("song.pdf", SONG);
    let accepting = payer.accept(&["--purse", "main", "--file", song.to_str().unwrap()]);
    let price = ["--price", "9.00 EUR", "--from-account", &payer.line];
    let sale = [&["sale", "--reserve", "--file", song.to_str().unwrap()][..], &price].concat();
    let offered = shop.offer(&payer, &accepting, &sale);
    let (code, said) = accepting.end();
    assert_eq!((offered.status.code(), code), (Some(0), Some(0)), "{}\n{said}", text(&offered));
    assert_eq!((cents(&bank, &payer), cents(&bank, &shop)), (0, 2900));
    assert_eq!(payer.received("song.pdf"), SONG);

    // One deadline, nothing at once, and nothing without money.
    let to = ["--to", &shop.id, "--connect", "127.0.0.1:9", "--yes"];
    let want = shop.good(&["describe", song.to_str().unwrap()]).trim().to_owned();
    let purchase = [
        "offer",
        "purchase",
        "--reserve",
        "--want",
        &want,
        "--price",
        "9.00 EUR",
        "--to-account",
        &shop.line,
    ];
    for (more, why) in
        [(&["--deliver-by", "1m"][..], "leave out --deliver-by"), (&["--affidavit"], "leave out --reserve")]
    {
        let refused = payer.run(&[&purchase[..], more, &to].concat());
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
        assert!(text(&refused).contains(why), "{}", text(&refused));
    }
    let poor = payer.run(&[&purchase[..], &to].concat());
    assert_ne!(poor.status.code(), Some(0));
    assert!(
        text(&poor).contains("INSUFFICIENT_FUNDS") && text(&poor).contains("nothing was said"),
        "{}",
        text(&poor)
    );
}

/// R-314, P6: weak only by name. The screens of both say so, and an honest exchange needs no arbiter.
#[test]
fn a_purchase_paid_at_once_is_weak_and_only_by_name() {
    let bank = Bank::open();
    let (buyer, seller) = (Party::new("Bert", &bank), Party::new("Sally", &bank));
    bank.ledger.issue(buyer.account, "50.00 EUR").unwrap();
    let song = seller.file("song.pdf", SONG);
    let want = seller.good(&["describe", song.to_str().unwrap()]).trim().to_owned();
    let accepting = seller.accept(&["--give", song.to_str().unwrap()]);
    let purchase = ["purchase", "--want", &want, "--price", "9.00 EUR", "--to-account", &seller.line];
    let weak = [purchase.as_slice(), &["--affidavit"]].concat();
    let offered = buyer.offer(&seller, &accepting, &weak);
    let (code, said) = accepting.end();
    assert_eq!((offered.status.code(), code), (Some(0), Some(0)), "{}\n{said}", text(&offered));
    assert_eq!((cents(&bank, &seller), cents(&bank, &buyer)), (900, 4100));
    assert_eq!(buyer.received("song.pdf"), SONG);
    for screen in [text(&offered), said] {
        let words: Vec<_> = screen.split_whitespace().collect();
        assert!(words.join(" ").contains("IT CANNOT RESTORE FAIRNESS"), "{screen}");
    }
    buyer.proves("9.00 EUR");

    // Two deadlines are for money that is held.
    let both =
        [weak.as_slice(), &["--deliver-by", "1m", "--to", &seller.id, "--connect", "127.0.0.1:9", "--yes"]];
    let refused = buyer.run(&[&["offer"], both.concat().as_slice()].concat());
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    assert!(text(&refused).contains("leave out --deliver-by"), "{}", text(&refused));
}

/// with the list of the other side nobody names an account; both sides come to the same purse, an offer of
/// another one is declined, and where nothing meets both lists are told.
#[test]
fn a_sale_by_what_both_can_do() {
    let bank = Bank::open();
    let (seller, buyer) = (Party::new("Sally", &bank), Party::new("Bert", &bank));
    let spare = ["purse", "create", "spare", "--ledger", &bank.url()];
    let made = buyer.good(&spare);
    let spare = made.lines().find_map(|line| line.strip_prefix("account  ")).unwrap();
    let spare = PublicKey::from_bytes(hex::decode(spare).unwrap().try_into().unwrap());
    bank.ledger.issue(spare, "50.00 EUR").unwrap();
    // The first purse is the one that is liked, and pays too little.
    buyer.good(&["purse", "configure", "main", "--limit", "8.99 EUR", "--preferred", "true"]);
    let listed = |party: &Party, name: &str| {
        let path = party.folder.path().join(name).to_str().unwrap().to_owned();
        party.good(&["capabilities", "--out", &path]);
        path
    };
    let (hers, his) = (listed(&seller, "hers.json"), listed(&buyer, "his.json"));
    let printed = buyer.good(&["capabilities"]);
    assert_eq!(printed, std::fs::read_to_string(&his).unwrap());
    assert!(
        !printed.contains("spare") && !printed.contains("main"),
        "names of purses are nobody's business: {printed}"
    );

    let song = seller.file("song.pdf", SONG);
    let sale = |price: &'static str| ["sale", "--file", song.to_str().unwrap(), "--price", price];
    let accepting = buyer.accept(&["--peer-capabilities", &hers]);
    let offered =
        seller.offer(&buyer, &accepting, &[&sale("9.00 EUR")[..], &["--peer-capabilities", &his]].concat());
    let (code, said) = accepting.end();
    assert_eq!((offered.status.code(), code), (Some(0), Some(0)), "{}\n{said}", text(&offered));
    assert_eq!((cents(&bank, &seller), bank.ledger.available(&spare)), (900, 4100));

    // An offer of another means than both lists lead to.
    let line = buyer.good(&["purse", "account", "spare"]).trim().to_owned();
    let accepting = buyer.accept(&["--peer-capabilities", &hers]);
    let other =
        seller.offer(&buyer, &accepting, &[&sale("8.00 EUR")[..], &["--from-account", &line]].concat());
    let (code, said) = accepting.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("the offer is not what was negotiated: both lists lead to EUR/2 on ledger"),
        "{said}"
    );
    assert_ne!(other.status.code(), Some(0), "{}", text(&other));

    // what the buyer does not take is declined before anything is signed, with and without lists.
    let preferences = buyer.folder.path().join("home/preferences.toml");
    std::fs::write(&preferences, "largest_file = 10\nsignatures = [\"replacement\"]\n").unwrap();
    assert!(!buyer.good(&["capabilities"]).contains("detached"));
    let accepting = buyer.accept(&["--purse", "spare"]);
    let spare = [&sale("8.00 EUR")[..], &["--from-account", &line]].concat();
    let refused = seller.offer(&buyer, &accepting, &spare);
    let (code, said) = accepting.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no module here takes this information: files: at most 10 bytes"), "{said}");
    assert_ne!(refused.status.code(), Some(0), "{}", text(&refused));
    std::fs::write(&preferences, "signatures = [\"detached/wax\"]\n").unwrap();
    let wrong = buyer.run(&["capabilities"]);
    assert!(wrong.status.code() == Some(2) && text(&wrong).contains("is no format"), "{}", text(&wrong));
    std::fs::remove_file(&preferences).unwrap();

    // Nothing in common, a list of somebody else, a list that is none, nothing said at all.
    let away = ["--to", &buyer.id, "--connect", "127.0.0.1:9", "--yes"];
    let none = seller.file("none.json", b"{}").to_str().unwrap().to_owned();
    for (price, list, code, why) in [
        ("9.00 USD", Some(&his), 1, "who gives has: EUR/2 on ledger"),
        ("9.000 EUR", Some(&his), 1, "no common module for a payment of 9.000 EUR that is observable"),
        ("9.00 EUR", Some(&hers), 1, "this list is of another party"),
        ("9.00 EUR", Some(&none), 1, "this is no list of capabilities"),
        ("9.00 EUR", None, 2, "--from-account"),
    ] {
        let list: Vec<&str> = list.map_or_else(Vec::new, |it| vec!["--peer-capabilities", it]);
        let refused = seller.run(&[&["offer"], &sale(price)[..], &list, &away].concat());
        assert_eq!(refused.status.code(), Some(code), "{}", text(&refused));
        assert!(text(&refused).contains(why), "{why}: {}", text(&refused));
    }
}

/// What cannot be paid is refused before anything is signed, and says what to do.
#[test]
fn offers_that_cannot_be_paid_are_refused() {
    let bank = Bank::open();
    let (seller, buyer) = (Party::new("Sally", &bank), Party::new("Bert", &bank));
    let song = seller.file("song.pdf", SONG);
    let sale =
        ["sale", "--file", song.to_str().unwrap(), "--price", "9.00 EUR", "--from-account", &buyer.line];
    // Above the limit of the purse.
    buyer.good(&["purse", "configure", "main", "--limit", "8.99 EUR", "--preferred", "true"]);
    let accepting = buyer.accept(&[]);
    let offered = seller.offer(&buyer, &accepting, &sale);
    let (code, said) = accepting.end();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("pays at most 8.99 EUR at a time"), "{said}");
    assert_ne!(offered.status.code(), Some(0), "{}", text(&offered));

    for (arguments, why) in [
        (["sale", "--price", "9 EUR"], "write the amount in that currency"),
        (["sale", "--price", "nine euros"], "is no amount"),
        (["sale", "--purse", "other"], "there is no purse other"),
    ] {
        let mut line: Vec<&str> = sale.to_vec();
        match line.iter().position(|it| *it == arguments[1]) {
            Some(place) => line[place + 1] = arguments[2],
            None => line.extend(&arguments[1..]),
        }
        let refused = seller.run(
            &[&["offer"], &line[..], &["--to", &buyer.id, "--connect", "127.0.0.1:9", "--yes"]].concat(),
        );
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
        assert!(text(&refused).contains(why), "{}", text(&refused));
    }
    let closed = buyer.good(&["purse", "close", "main"]);
    assert!(closed.contains("closed, for ever"), "{closed}");
    assert!(buyer.good(&["purse", "list"]).contains("CLOSED"));

    let purses = seller.folder.path().join("home/purses.toml");
    let away = std::fs::read_to_string(&purses).unwrap().replace(&bank.url(), "http://127.0.0.1:9");
    std::fs::write(&purses, away).unwrap();
    let list = seller.good(&["purse", "list"]);
    assert!(list.trim_end().ends_with("not known: the ledger is out of reach: tcp connect error"), "{list}");
}
