//! F12 with another implementation on both ends: OpenSSL signs, the arbiter opens, OpenSSL verifies, and the two
//! signature files are the same bytes.

use std::path::Path;
use std::process::Command;

use arbiter_protocol::escrow::{RsaHash, RsaPadding, Suite};

use crate::support::{Case, Owned, arbiter, label};

/// Whether there is an `openssl` that can sign with Ed25519. A machine without it skips, CI must not.
fn available() -> bool {
    let found = Command::new("openssl").args(["pkeyutl", "-help"]).output();
    let found = found.is_ok_and(|it| String::from_utf8_lossy(&it.stderr).contains("-rawin"));
    let ci = std::env::var("CI").is_ok_and(|it| it == "true");
    assert!(found || !ci, "CI needs the program openssl, version 1.1.1 or later");
    if !found {
        eprintln!("SKIPPED: no openssl program, signatures of OpenSSL were not put into escrow");
    }
    found
}

fn run(folder: &Path, line: &str) -> Vec<u8> {
    let output = Command::new("openssl").args(line.split_whitespace()).current_dir(folder).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {line}: {err}");
    output.stdout
}

/// Escrow, check, open; the opened file next to the released one.
fn exchange(folder: &Path, statement: Owned) {
    let signature = std::fs::read(folder.join("released.sig")).unwrap();
    let label = label(Suite::BALANCED);
    let case = Case { statement, signature: signature.clone(), label, key: arbiter().public().clone() };
    let escrow = case.make(1).to_bytes();
    case.check(&escrow).unwrap();
    let opened = case.open(&escrow).unwrap();
    assert!(opened == signature, "the opened signature is the released one, byte for byte");
    std::fs::write(folder.join("opened.sig"), opened).unwrap();
}

#[test]
fn ed25519_of_openssl() {
    if !available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("message"), b"signed by a program that knows nothing of escrow").unwrap();
    run(folder, "genpkey -algorithm ed25519 -out key.pem");
    run(folder, "pkey -in key.pem -pubout -out public.pem");
    run(folder, "pkeyutl -sign -inkey key.pem -rawin -in message -out released.sig");
    let der = run(folder, "pkey -in key.pem -pubout -outform DER");
    let key = *der.last_chunk().unwrap();
    exchange(folder, Owned::Ed25519 { key, message: std::fs::read(folder.join("message")).unwrap() });
    run(folder, "pkeyutl -verify -pubin -inkey public.pem -rawin -in message -sigfile opened.sig");
}

#[test]
fn rsa_of_openssl() {
    if !available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let message = b"signed by a program that knows nothing of escrow".to_vec();
    std::fs::write(folder.join("message"), &message).unwrap();
    for bits in [2048, 3072] {
        run(folder, &format!("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:{bits} -out key.pem"));
        run(folder, "pkey -in key.pem -pubout -out public.pem");
        let text = String::from_utf8(run(folder, "rsa -pubin -in public.pem -noout -modulus")).unwrap();
        let modulus = hex::decode(text.trim().strip_prefix("Modulus=").unwrap()).unwrap();
        let pss = "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen";
        for (padding, hash, options) in [
            (RsaPadding::Pkcs1, RsaHash::Sha256, "-sha256".to_owned()),
            (RsaPadding::Pkcs1, RsaHash::Sha512, "-sha512".to_owned()),
            (RsaPadding::Pss, RsaHash::Sha256, format!("-sha256 {pss}:-1")),
            (RsaPadding::Pss, RsaHash::Sha384, format!("-sha384 {pss}:20")),
            (RsaPadding::Pss, RsaHash::Sha512, format!("-sha512 {pss}:0")),
        ] {
            run(folder, &format!("dgst {options} -sign key.pem -out released.sig message"));
            let (modulus, message) = (modulus.clone(), message.clone());
            exchange(folder, Owned::Rsa { modulus, exponent: vec![1, 0, 1], padding, hash, message });
            run(folder, &format!("dgst {options} -verify public.pem -signature opened.sig message"));
        }
        // The default of openssl dgst: the longest salt that fits.
        let options = "-sha256 -sigopt rsa_padding_mode:pss";
        run(folder, &format!("dgst {options} -sign key.pem -out released.sig message"));
        let (modulus, exponent, message) = (modulus.clone(), vec![1, 0, 1], message.clone());
        let (padding, hash) = (RsaPadding::Pss, RsaHash::Sha256);
        exchange(folder, Owned::Rsa { modulus, exponent, padding, hash, message });
        run(folder, &format!("dgst {options} -verify public.pem -signature opened.sig message"));
    }
}
