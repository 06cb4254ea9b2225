//! The real program with modules in its configuration: what it shows, what it refuses, what it asks.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use arbiter_protocol::crypto::Signer as _;
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::exchange::selection::Role::Originator;
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::message::request::Action::{Deposit, Resolve};
use arbiter_protocol::wire::arbiter as proto;

use super::key;
use super::rails::{Sample, Way};
use super::scene::{Cast, Parties, make, observe, parties, resolve};

const TOKEN: &str = "hunter2-hunter2";

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        assert!(home.run(&["init", "--dir", ".", "--origin", "modules.example/log"]).status.success());
        std::fs::write(home.0.path().join("card.token"), TOKEN).unwrap();
        home
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arbiter"));
        command.args(arguments).current_dir(self.0.path()).env_clear().stdin(Stdio::null());
        command.env("CARD_TOKEN", TOKEN);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The configuration of `init`, and this.
    fn configure(&self, more: &str) -> &Self {
        let path = self.0.path().join("arbiter.toml");
        let kept = self.0.path().join("first.toml");
        if !kept.exists() {
            std::fs::copy(&path, &kept).unwrap();
        }
        let first = std::fs::read_to_string(kept).unwrap();
        std::fs::write(path, format!("{first}\n{more}")).unwrap();
        self
    }

    /// What `check-config` says, on both streams.
    fn check(&self) -> (bool, String) {
        let output = self.run(&["check-config", "--config", "."]);
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }
}

fn adapter(url: &str, key: PublicKey, more: &str) -> String {
    format!("[[adapters]]\nkind = \"card\"\nkey = \"{key}\"\nurl = \"{url}\"\n{more}\n")
}

/// what counts is shown, secrets by reference only.
#[test]
fn check_config_shows_modules_and_no_secret() {
    let home = Home::new();
    let own = key(5).public_key();
    for (reference, shown) in [("file:card.token", "/card.token\""), ("env:CARD_TOKEN", "env:CARD_TOKEN\"")] {
        let more = format!("token = \"{reference}\"\nmax_calls = 3");
        let (good, said) = home.configure(&adapter("http://127.0.0.1:1", own, &more)).check();
        assert!(good, "{said}");
        let wanted = [
            "[[adapters]]",
            "kind = \"card\"",
            &own.to_string(),
            "max_calls = 3",
            "timeout_seconds = 10",
            shown,
        ];
        for line in wanted {
            assert!(said.contains(line), "{line} in {said}");
        }
        assert!(!said.contains("hunter2"), "{said}");
    }
}

/// what is wrong is refused before anything starts, in words that repeat no secret.
#[test]
fn what_is_wrong_with_a_module_is_said() {
    let home = Home::new();
    let own = key(5).public_key();
    let local = "http://127.0.0.1:1";
    let ledger = format!("[[ledgers]]\nkey = \"{own}\"\nurl = \"{local}\"\n");
    for (more, words) in [
        (adapter(local, own, "token = \"hunter2\""), "file:PATH or env:NAME"),
        (adapter(local, own, "token = \"env:NO_SUCH_TOKEN\""), "env:NO_SUCH_TOKEN"),
        (adapter(local, own, "token = \"file:no-such-file\""), "no-such-file"),
        (adapter(local, own, "secret = \"hunter2\""), "secret"),
        (adapter("http://card.example:1", own, ""), "https://"),
        (adapter("card.example:1", own, ""), "https://"),
        (adapter("https://card.example:1", own, ""), "ca"),
        (adapter(local, own, "client_cert = \"card.token\""), "client_key"),
        (adapter(local, own, "client_cert = \"card.token\"\nclient_key = \"card.token\""), "https"),
        (adapter(local, own, "ca = \"no-such-ca\""), "no-such-ca"),
        (adapter(local, own, "timeout_seconds = 0"), "1 to 60"),
        (adapter(local, own, "max_calls = 0"), "1 to 1024"),
        (adapter(local, own, "max_message_bytes = 100"), "40960"),
        (adapter(local, own, "").replace("card\"", "Card Scheme\""), "adapters.kind"),
        (adapter(local, own, "").replace(&own.to_string(), "abc"), "64 hexadecimal digits"),
        ([adapter(local, own, ""), adapter(local, own, "")].concat(), "once"),
        ([ledger.clone(), adapter(local, own, "")].concat(), "once"),
    ] {
        let (good, said) = home.configure(&more).check();
        assert!(!good && said.contains(words), "{words:?} in {said}\n{more}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    assert!(home.configure(&ledger).check().0);
}

struct Serving {
    child: Child,
    url: String,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serving {
    fn start(home: &Home) -> Self {
        let mut command = home.command(&[
            "serve",
            "--config",
            ".",
            "--listen",
            "127.0.0.1:0",
            "--listen-log",
            "127.0.0.1:0",
        ]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split_whitespace().find_map(|word| word.strip_prefix("address="));
        let url =
            format!("http://{}", address.unwrap_or_else(|| panic!("it ended instead of serving: {line}")));
        Self { child, url }
    }

    /// Ends it, and returns what it logged.
    fn end(mut self) -> String {
        self.child.kill().unwrap();
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        log
    }
}

async fn info(parties: &mut Parties) -> proto::GetArbiterInfoResponse {
    parties.get_arbiter_info(proto::GetArbiterInfoRequest {}).await.unwrap().into_inner()
}

/// two of three modules are out of order. The program says so, serves, and sees a payment on the third.
#[tokio::test(flavor = "multi_thread")]
async fn the_program_serves_with_the_modules_that_are_there() {
    let Some(sample) = Sample::start(5, Some(TOKEN)) else { return };
    let home = Home::new();
    let [dead, other] = [key(6), key(7)].map(|it| it.public_key());
    home.configure(
        &[
            adapter(&sample.url, sample.key, "token = \"file:card.token\""),
            adapter(&sample.url, other, "token = \"file:card.token\""),
            adapter("http://127.0.0.1:9", dead, "timeout_seconds = 2"),
        ]
        .concat(),
    );
    let serving = Serving::start(&home);
    let mut parties = parties(&serving.url).await;
    let mut said = info(&mut parties).await;
    for _ in 0..600 {
        if said.modules.iter().any(|it| it.ready) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        said = info(&mut parties).await;
    }
    let ready: Vec<_> = said.modules.iter().filter(|it| it.ready).collect();
    assert_eq!(ready.len(), 1);
    assert_eq!((ready[0].key.as_slice(), ready[0].name.as_str()), (&sample.key.to_vec()[..], "Sample card"));
    assert_eq!((said.ledgers.len(), said.modules.len()), (3, 3));

    let arbiter = ArbiterIdentity {
        key: PublicKey::parse(&said.key, "key").unwrap(),
        log_key: VerifierKey::parse(&said.log_key).unwrap().public_key().expect("a key of type 1"),
        log_origin: Origin::parse(&said.log_origin).unwrap(),
        rules: said.rules.clone(),
    };
    let cast = Cast::new(arbiter);
    let agreement = cast.purchase(sample.key);
    let order = make(&agreement, Originator).envelope().to_wire();
    sample.rail().orders.give(Way::Make, order).await.unwrap();
    observe(&mut parties, cast.case(&agreement, Originator, Deposit)).await.unwrap();
    resolve(&mut parties, cast.case(&agreement, Originator, Resolve)).await.unwrap();
    // Long enough for the address where nobody is.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let log = serving.end();
    assert!(log.contains("payment module ready"), "{log}");
    assert!(log.contains("its key is"), "{log}");
    assert!(log.contains("does not answer"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}
