//! A log that a test grows and signs, a witness over real HTTP, and how to ask it.

use std::path::Path;
use std::time::Duration;

use arbiter::clock::{Clock, ManualClock, SystemClock};
use arbiter::grpc::{Server, Transport};
use arbiter::keys::witness_file::WitnessKeys;
use arbiter::witness::logs::Logs;
use arbiter::witness::mark::Mark;
use arbiter::witness::names::Names;
use arbiter::witness::store::Store;
use arbiter::witness::{Handle, Options, StartError, http};
use arbiter_protocol::crypto::{MemorySigner, Signer as _};
use arbiter_protocol::evidence::checkpoint::{Checkpoint, Origin};
use arbiter_protocol::evidence::merkle::{Frontier, NodeId, consistency_proof};
use arbiter_protocol::evidence::note::{Note, VerifierKey, signature_line};
use arbiter_protocol::ids::Digest;
use arbiter_protocol::time::UnixMillis;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use tokio::net::TcpListener;
use zeroize::Zeroizing;

pub const NAME: &str = "witness.example/w1";
pub const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

pub fn signer(seed: u8) -> MemorySigner {
    MemorySigner::from_seed(&Zeroizing::new([seed; 32]))
}

/// A log: leaves, and a key that signs whatever it is told to.
pub struct Log {
    pub origin: String,
    signer: MemorySigner,
    frontier: Frontier,
    nodes: BTreeMap<NodeId, Digest>,
    roots: Vec<Digest>,
}

impl Log {
    pub fn new(origin: &str, seed: u8) -> Self {
        let frontier = Frontier::new();
        let roots = vec![frontier.root()];
        Self { origin: origin.to_owned(), signer: signer(seed), frontier, nodes: BTreeMap::new(), roots }
    }

    /// With so many leaves; leaf hashes are those of the conformance suite of `siglog`: 42, number, zeroes.
    pub fn grown(origin: &str, seed: u8, size: u64) -> Self {
        let mut log = Self::new(origin, seed);
        (0..size).for_each(|number| {
            let mut leaf = [0; 32];
            leaf[0] = 42;
            leaf[1..9].copy_from_slice(&number.to_le_bytes());
            log.append(Digest::from_bytes(leaf));
        });
        log
    }

    pub fn append(&mut self, leaf_hash: Digest) {
        self.nodes.extend(self.frontier.append(leaf_hash));
        self.roots.push(self.frontier.root());
    }

    pub fn key(&self) -> VerifierKey {
        VerifierKey::new(&self.origin, self.signer.public_key()).unwrap()
    }

    pub fn root(&self, size: u64) -> Digest {
        self.roots[usize::try_from(size).unwrap()]
    }

    pub fn proof(&self, old: u64, new: u64) -> Vec<Digest> {
        consistency_proof(old, new, |id| Ok::<_, ()>(self.nodes[&id])).unwrap()
    }

    /// Signs any text.
    pub fn sign(&self, text: String) -> String {
        let line = signature_line(&self.key(), self.signer.sign(text.as_bytes()));
        Note::new(text, vec![line]).unwrap().to_string()
    }

    pub fn checkpoint(&self, size: u64) -> String {
        self.sign(self.text(size, self.root(size)))
    }

    pub fn text(&self, size: u64, root: Digest) -> String {
        Checkpoint { origin: Origin::parse(&self.origin).unwrap(), size, root }.text()
    }

    /// An honest request.
    pub fn request(&self, old: u64, new: u64) -> String {
        let proof = if old == 0 { vec![] } else { self.proof(old, new) };
        body(old, &proof, &self.checkpoint(new))
    }

    pub fn list(&self) -> String {
        format!("log {}\n", self.key())
    }
}

pub fn body(old: u64, proof: &[Digest], checkpoint: &str) -> String {
    let mut text = format!("old {old}\n");
    for hash in proof {
        text.push_str(&format!("{}\n", STANDARD.encode(hash.as_bytes())));
    }
    format!("{text}\n{checkpoint}")
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub media_type: String,
    pub body: String,
}

impl Answer {
    #[track_caller]
    pub fn expect(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{self:?}");
        assert!(status == 200 || !self.body.contains('\u{2014}'), "a cosignature beside an error: {self:?}");
        &self.body
    }

    #[track_caller]
    pub fn expect_size(&self, size: u64) {
        assert_eq!((self.status, self.media_type.as_str()), (409, "text/x.tlog.size"), "{self:?}");
        assert_eq!(self.body, format!("{size}\n"));
    }
}

/// Keeps its connection, as logs do.
pub struct Caller {
    agent: ureq::Agent,
    base: String,
}

impl Caller {
    pub fn new(base: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .build();
        Self { agent: config.into(), base: base.to_owned() }
    }

    pub fn post(&self, body: &str) -> Answer {
        self.try_post(body).unwrap()
    }

    pub fn try_post(&self, body: &str) -> Result<Answer, ureq::Error> {
        read(self.agent.post(format!("{}/add-checkpoint", self.base)).send(body)?)
    }

    pub fn get(&self, path: &str) -> Answer {
        read(self.agent.get(format!("{}{path}", self.base)).call().unwrap()).unwrap()
    }
}

fn read(mut answer: ureq::http::Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let media_type = answer.headers().get("content-type").map(|it| it.to_str().unwrap().to_owned());
    let body = answer.body_mut().read_to_string()?;
    Ok(Answer { status: answer.status().as_u16(), media_type: media_type.unwrap_or_default(), body })
}

/// A witness in this process, served over HTTP.
pub struct Served {
    pub handle: Handle,
    pub keys: Vec<VerifierKey>,
    pub caller: Caller,
    server: Server,
    runtime: tokio::runtime::Runtime,
}

/// What a witness is made of.
pub struct Made<'a> {
    pub folder: &'a Path,
    pub list: String,
    pub options: Options,
    pub prefix: &'static str,
    pub clock: Option<ManualClock>,
    pub transport: Transport,
    pub listen: String,
    pub seed: u8,
}

impl<'a> Made<'a> {
    /// Its files are in `folder`; those of a new witness are made if there are none.
    pub fn new(folder: &'a Path, logs: &[&Log]) -> Self {
        let list = logs.iter().map(|log| log.list()).collect();
        let options = Options { max_per_second: 10_000, ..Options::default() };
        let (transport, listen) = (Transport::default(), "127.0.0.1:0".to_owned());
        Self { folder, list, options, prefix: "", clock: None, transport, listen, seed: 0x20 }
    }

    pub fn keys(&self) -> WitnessKeys {
        WitnessKeys::from_seeds(
            &Zeroizing::new([self.seed; 32]),
            #[cfg(feature = "ml-dsa")]
            Some(&Zeroizing::new([self.seed ^ 0x80; 32])),
        )
    }

    pub fn start(&self) -> Result<Handle, StartError> {
        let keys = self.keys();
        let names = Names::of(NAME, &keys).unwrap();
        let (data, mark) = (self.folder.join("data"), self.folder.join("mark"));
        if !data.exists() {
            Store::create(&data, names.id()).unwrap();
            Mark::create(&mark, names.id()).unwrap();
        }
        let (store, mark) = (Store::open(&data, names.id())?, Mark::open(&mark, names.id())?);
        let clock: Box<dyn Clock> = match &self.clock {
            Some(clock) => Box::new(clock.clone()),
            None => Box::new(SystemClock),
        };
        Handle::start(names, keys, Logs::parse(&self.list).unwrap(), store, mark, self.options, clock)
    }

    pub fn serve(&self) -> Served {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let handle = self.start().unwrap();
        let server = runtime.block_on(async {
            let listener = TcpListener::bind(&self.listen).await.unwrap();
            let Transport { max_requests, request_timeout, .. } = self.transport;
            let bounds = http::Bounds { max_requests, request_timeout };
            let router = http::router(handle.clone(), self.prefix, bounds);
            Server::start_http(self.transport.clone(), listener, router).await.unwrap()
        });
        let caller = Caller::new(&format!("http://{}{}", server.address(), self.prefix));
        Served { keys: handle.names().keys().cloned().collect(), handle, caller, server, runtime }
    }
}

impl Served {
    pub fn address(&self) -> std::net::SocketAddr {
        self.server.address()
    }

    pub fn stop(self) {
        let Self { handle, server, runtime, .. } = self;
        runtime.block_on(async {
            server.stop().await.unwrap();
            handle.stop().await;
        });
    }
}
