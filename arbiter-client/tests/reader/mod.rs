//! The second reader, `docs/verify.py`: runs it over many bundles in one process.
#![allow(dead_code)] // Each test program uses a part.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

use std::path::Path;
use std::process::Command;

use arbiter_client::protocol::ids::PublicKey;

/// Reads one bundle a line and prints `main`'s exit code for each; what it says goes to the error output.
const HARNESS: &str = r"
import contextlib, importlib.util, json, sys
spec = importlib.util.spec_from_file_location('verify', sys.argv[1])
verify = importlib.util.module_from_spec(spec)
spec.loader.exec_module(verify)
codes = []
for line in open(sys.argv[2], 'rb').read().split(b'\n')[:-1]:
    with open(sys.argv[3], 'wb') as one: one.write(line)
    with contextlib.redirect_stdout(sys.stderr): codes.append(verify.main(sys.argv[4:] + [sys.argv[3]]))
print(json.dumps(codes))
";

/// Whether there is a Python with `cryptography`. A machine without it skips, CI must not.
pub fn there() -> bool {
    let there = Command::new("python3").args(["-c", "import cryptography"]).output();
    if there.is_ok_and(|it| it.status.success()) {
        return true;
    }
    assert!(std::env::var("CI").map_or(true, |it| it != "true"), "CI needs python3 and its cryptography");
    eprintln!("SKIPPED: python3 with the package cryptography is missing, the bundles had no second reader");
    false
}

/// The exit code for each bundle, and everything that was said.
pub fn judge(bundles: &[Vec<u8>], key: Option<PublicKey>, policy: Option<&str>) -> (Vec<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let lines = bundles.iter().map(|json| {
        // Made to one line without reading it: a mutated bundle is not always JSON, and has no line feed inside of a string.
        let line: Vec<u8> = json.iter().copied().filter(|byte| *byte != b'\n').collect();
        [line, vec![b'\n']].concat()
    });
    std::fs::write(path("all"), lines.collect::<Vec<_>>().concat()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/verify.py");
    let mut command = Command::new("python3");
    command.arg("-c").arg(HARNESS).arg(script).arg(path("all")).arg(path("one"));
    if let Some(key) = key {
        command.arg("--key").arg(key.to_string());
    }
    if let Some(policy) = policy {
        std::fs::write(path("policy"), policy).unwrap();
        command.arg("--policy").arg(path("policy"));
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let codes: Vec<i32> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(codes.len(), bundles.len());
    (codes, said)
}
