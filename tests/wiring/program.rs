//! The real program: started, stopped and measured.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use arbiter_client::clock::SystemClock;
use arbiter_client::protocol::escrow::Suite;
use arbiter_protocol::message::agreement::EscrowTerms;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::common::{Cast, Parties, epoch};
use super::scene::{Scene, in_time};

/// A folder with an arbiter in it.
pub struct Home(pub TempDir);

impl Home {
    pub async fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("wiring").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let home = Self(folder.unwrap());
        home.run(&["init", "--dir", ".", "--origin", "wiring.example/log"]).await;
        home
    }

    /// Runs a subcommand that must succeed: what it says.
    pub async fn run(&self, arguments: &[&str]) -> String {
        let output = in_time("a subcommand", program(self.0.path(), arguments).output()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    pub async fn serve(&self, arguments: &[&str]) -> Serving {
        let all = [
            "serve",
            "--config",
            ".",
            "--listen",
            "127.0.0.1:0",
            "--listen-log",
            "127.0.0.1:0",
            "--log-filter",
            "error",
        ];
        let mut command = program(self.0.path(), &[&all, arguments].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line =
            in_time("the start", lines.next_line()).await.unwrap().expect("it ended instead of serving");
        let address = line.split_whitespace().find_map(|word| word.strip_prefix("address=")).unwrap();
        Serving { child, address: address.parse().unwrap() }
    }
}

fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arbiter"));
    command.args(arguments).current_dir(folder).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A serving process; killed if the test ends before it does.
pub struct Serving {
    pub child: Child,
    pub address: SocketAddr,
}

impl Serving {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub async fn parties(&self) -> Parties {
        let endpoint = tonic::transport::Endpoint::from_shared(self.url()).unwrap();
        Parties::new(endpoint.connect().await.unwrap())
    }

    pub fn terminate(&self) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    }

    /// The exit code.
    pub async fn end(mut self) -> Option<i32> {
        in_time("the end", self.child.wait()).await.unwrap().code()
    }

    /// What the process takes of memory: now, and at most since its start, in KiB.
    pub fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        (value("VmRSS:"), value("VmHWM:"))
    }

    /// The clients' view of it.
    pub async fn scene(&self) -> Scene {
        let info = arbiter_client::arbiter::grpc::GrpcArbiter::new(&self.url(), None).unwrap().info().await;
        let info = info.unwrap();
        Scene::new(info.identity, info.escrow_epochs.last().unwrap().clone(), Arc::new(SystemClock))
    }

    /// The same for cases that are filed by hand.
    pub async fn cast(&self) -> Cast {
        let request = arbiter_protocol::wire::arbiter::GetArbiterInfoRequest {};
        let wire = self.parties().await.get_arbiter_info(request).await.unwrap().into_inner();
        let mut cast = Cast::new(self.scene().await.arbiter);
        let newest = epoch(wire.escrow_epochs.last().unwrap().clone(), &cast.arbiter);
        cast.terms = Some(EscrowTerms::new(newest, Suite::FAST));
        cast
    }
}
