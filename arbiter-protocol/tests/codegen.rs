//! The checked-in bindings are a fresh generation from `proto/`. `UPDATE_GEN=1` rewrites them.

#![allow(clippy::disallowed_methods)]

use std::{env, fs, path::Path};

use prost::Message as _;

const PROTOS: [&str; 4] = [
    "arbiter/statement/v1/statement.proto",
    "arbiter/v1/arbiter.proto",
    "arbiter/v1/evidence_log.proto",
    "arbiter/peer/v1/peer.proto",
];

#[test]
fn bindings_are_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile(PROTOS, [root.join("../proto")]).unwrap();
    let fresh = tempfile::tempdir().unwrap();
    fs::write(fresh.path().join("descriptors.bin"), descriptors.encode_to_vec()).unwrap();
    tonic_prost_build::configure()
        .build_transport(false)
        .extern_path(".arbiter.statement.v1", "crate::message::wire")
        .out_dir(fresh.path())
        .compile_fds(descriptors.clone())
        .unwrap();
    // The statements are compiled without tonic, so that offline verifiers need none.
    let statements = prost_types::FileDescriptorSet {
        file: descriptors.file.into_iter().filter(|f| f.package() == "arbiter.statement.v1").collect(),
    };
    tonic_prost_build::configure().out_dir(fresh.path()).compile_fds(statements).unwrap();

    let stored = root.join("src/wire/gen");
    let mut stale = Vec::new();
    for entry in fs::read_dir(fresh.path()).unwrap() {
        let path = entry.unwrap().path();
        let (new, kept) = (fs::read(&path).unwrap(), stored.join(path.file_name().unwrap()));
        if fs::read(&kept).ok().as_ref() == Some(&new) {
            continue;
        }
        if env::var_os("UPDATE_GEN").is_some() {
            fs::write(&kept, new).unwrap();
        } else {
            stale.push(kept);
        }
    }
    assert!(stale.is_empty(), "stale, run UPDATE_GEN=1 cargo test -p arbiter-protocol --test codegen: {stale:?}");
}
