//! Proves the checked-in bindings current (`codegen check`), or rewrites them (`codegen update`).
//! Needs no protoc.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use prost::Message as _;

const PROTOS: [&str; 6] = [
    "arbiter/statement/v1/statement.proto",
    "arbiter/v1/arbiter.proto",
    "arbiter/v1/evidence_log.proto",
    "arbiter/peer/v1/peer.proto",
    "arbiter/ledger/v1/ledger.proto",
    "arbiter/adapter/v1/adapter.proto",
];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let update = match std::env::args().nth(1).as_deref() {
        Some("check") => false,
        Some("update") => true,
        _ => {
            eprintln!("usage: codegen check | update");
            return Ok(ExitCode::from(2));
        }
    };
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fresh = tempfile::tempdir()?;
    generate(&here.join(".."), fresh.path())?;

    let stored = here.join("../../arbiter-protocol/src/wire/gen");
    let mut stale = false;
    for entry in fs::read_dir(fresh.path())? {
        let path = entry?.path();
        let kept = stored.join(path.file_name().ok_or("a generated file has a name")?);
        let new = fs::read(&path)?;
        if fs::read(&kept).ok().as_ref() == Some(&new) {
            continue;
        }
        if update {
            fs::write(&kept, new)?;
            println!("wrote {}", kept.display());
        } else {
            stale = true;
            eprintln!("stale: {}", kept.display());
        }
    }
    if stale {
        eprintln!("run `make proto`");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn generate(protos: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let descriptors = protox::compile(PROTOS, [protos])?;
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_transport(false)
        .extern_path(".arbiter.statement.v1", "crate::message::wire")
        .out_dir(out)
        .compile_fds(descriptors.clone())?;
    // The statements are compiled without tonic, so that offline verifiers need none.
    let statements = prost_types::FileDescriptorSet {
        file: descriptors.file.into_iter().filter(|file| file.package() == "arbiter.statement.v1").collect(),
    };
    tonic_prost_build::configure().out_dir(out).compile_fds(statements)?;
    Ok(())
}
