//! What the benches compare with, on the same disk and in the same run: an fsync, and a PostgreSQL table.
//!
//! The machine may have other things to do. So what is compared is measured in turns, round by round, and what is said is the
//! median of the rounds' ratios; where it is about work and not about waiting, processor time counts and not the clock.
#![allow(dead_code)] // Each bench uses a part.

pub mod ours;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// One fsync after another, each of so many bytes appended; how many a second.
pub fn fsyncs(folder: &Path, bytes: usize, rounds: u32) -> f64 {
    let mut file = std::fs::File::create(folder.join("fsync")).unwrap();
    let started = Instant::now();
    for _ in 0..rounds {
        file.write_all(&vec![9; bytes]).unwrap();
        file.sync_data().unwrap();
    }
    f64::from(rounds) / started.elapsed().as_secs_f64()
}

/// Processor time of this process, all threads: fields 14 and 15 of `/proc/self/stat`, in hundredths.
pub fn processor() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let fields = after.split(' ').skip(11).take(2).filter_map(|it| it.parse::<u64>().ok());
    Duration::from_millis(fields.sum::<u64>() * 10)
}

/// How busy the machine is beside this: the average length of its queue over a minute.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}

/// The one in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// So many hundredths of them are not above it.
pub fn percentile(sorted: &[Duration], hundredths: usize) -> Duration {
    sorted[(sorted.len() * hundredths / 100).min(sorted.len() - 1)]
}

/// Bytes of the files in a folder.
pub fn folder_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| entry.metadata().map_or(0, |about| about.len())).sum()
}

/// A PostgreSQL server of its own, with default durability. Ends when it is dropped.
pub struct Postgres {
    bin: PathBuf,
    folder: tempfile::TempDir,
}

impl Postgres {
    /// `None` if the Debian package is not installed, or this is not root.
    pub fn start() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let bin = versions.filter_map(Result::ok).map(|it| it.path().join("bin")).max()?;
        // Its user can read no folder of ours.
        let folder = tempfile::Builder::new().prefix("bench-postgres").tempdir().ok()?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).ok()?;
        let this = Self { bin, folder };
        std::fs::create_dir(this.home()).ok()?;
        Command::new("chown").arg("postgres").arg(this.home()).status().ok()?;
        let (data, sockets) = (this.data(), this.home().display().to_string());
        this.run("initdb", &["-D", &data, "-A", "trust"])?;
        let options = format!("-k {sockets} -c listen_addresses= -c max_connections=400");
        this.run("pg_ctl", &["-D", &data, "-w", "-o", &options, "-l", "log", "start"])?;
        let table = "create table leaf (id bigserial primary key, bytes bytea not null)";
        this.run("psql", &["-h", &sockets, "-c", table])?;
        Some(this)
    }

    /// Inserts a second, each of so many bytes and committed, with so many clients.
    pub fn inserts(&self, bytes: usize, clients: usize, seconds: u32) -> Option<f64> {
        let script = self.home().join("insert.sql");
        let insert = format!("insert into leaf (bytes) values (decode(repeat('ab', {bytes}), 'hex'));\n");
        std::fs::write(&script, insert).ok()?;
        let (script, sockets) = (script.display().to_string(), self.home().display().to_string());
        let (clients, seconds) = (clients.to_string(), seconds.to_string());
        let how = ["-n", "-M", "prepared", "-T", &seconds, "-c", &clients, "-j", "2", "-f", &script];
        let said = self.run("pgbench", &[&["-h", &sockets], &how[..], &["postgres"]].concat())?;
        let tps = said.lines().find_map(|line| line.strip_prefix("tps = "))?;
        tps.split(' ').next()?.parse().ok()
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("postgres")
    }

    fn data(&self) -> String {
        self.home().join("data").display().to_string()
    }

    /// It refuses to run as root.
    fn run(&self, program: &str, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(self.bin.join(program)).args(arguments);
        let output = command.current_dir(self.home()).output().ok()?;
        if !output.status.success() {
            eprintln!("{program}: {}", String::from_utf8_lossy(&output.stderr));
        }
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "stop"]);
    }
}
