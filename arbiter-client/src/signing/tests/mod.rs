//! Keys, certificates and signatures against the `openssl` program, every refusal, and arbitrary bytes.

mod bytes;
mod refusals;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use arbiter_protocol::escrow::EscrowError;
use arbiter_protocol::limits::CERTIFICATE_BYTES;
use arbiter_protocol::time::UnixMillis;
use tempfile::TempDir;

use super::*;

const MESSAGE: &[u8] = b"Alice sells her bicycle to Bob.\n";

/// A folder in which `openssl` works.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        std::fs::write(self.path(name), content).unwrap();
        self.private(name)
    }

    fn private(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn shell(&self, command: &str) -> Output {
        Command::new("sh").args(["-c", command]).current_dir(self.0.path()).output().unwrap()
    }

    /// A command that must succeed.
    fn run(&self, command: &str) {
        let output = self.shell(command);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A private key `NAME.pem` and its public half `NAME.pub.pem`.
    fn key(&self, name: &str, kind: &str) -> PathBuf {
        self.run(&format!("openssl genpkey {kind} -out {name}.pem"));
        self.run(&format!("openssl pkey -in {name}.pem -pubout -out {name}.pub.pem"));
        self.private(&format!("{name}.pem"))
    }
}

const ED25519: &str = "-algorithm ed25519";
const RSA_2048: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";

/// What OpenSSL needs beside the key to make a signature of `message` in `signature`.
fn openssl_sign(algorithm: Algorithm) -> String {
    let Some((padding, hash)) = algorithm.name().strip_prefix("rsa-").and_then(|it| it.split_once('-'))
    else {
        return "openssl pkeyutl -sign -rawin -in message -out signature -inkey".to_owned();
    };
    let options =
        if padding == "pss" { " -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20" } else { "" };
    format!("openssl dgst -{hash}{options} -out signature message -sign").replace(" message -sign", " -sign")
}

#[test]
fn every_algorithm_agrees_with_openssl_in_both_directions() {
    let folder = Folder::new();
    folder.write("message", MESSAGE);
    folder.write("other", b"Alice sells her bicycle to Eve.\n");
    folder.key("ed", ED25519);
    folder.key("rsa2", RSA_2048);
    folder.key("rsa3", "-algorithm RSA -pkeyopt rsa_keygen_bits:3072");
    for algorithm in Algorithm::ALL {
        let names: &[&str] = if algorithm == Algorithm::Ed25519 { &["ed"] } else { &["rsa2", "rsa3"] };
        for name in names {
            let key = PrivateKey::read(&folder.path(&format!("{name}.pem")), Some(algorithm)).unwrap();
            let public_path = folder.path(&format!("{name}.pub.pem"));
            let public = read_public(&public_path, Some(algorithm)).unwrap();
            assert_eq!((key.public(), Algorithm::of(&public)), (&public, algorithm));
            // Both write the same file.
            assert_eq!(public_pem(&public).into_bytes(), std::fs::read(&public_path).unwrap());

            let signature = key.sign(MESSAGE).unwrap();
            assert_eq!(signature.len(), public.signature_bytes());
            folder.write("signature", &signature);
            let verify = |message| {
                openssl_verify_command(
                    &public,
                    &public_path,
                    &folder.path(message),
                    &folder.path("signature"),
                )
            };
            folder.run(&verify("message"));
            assert!(!folder.shell(&verify("other")).status.success(), "{algorithm}");

            std::fs::remove_file(folder.path("signature")).unwrap();
            let last = if algorithm == Algorithm::Ed25519 { "" } else { " message" };
            folder.run(&format!("{} {name}.pem{last}", openssl_sign(algorithm)));
            let theirs = folder.read("signature");
            assert!(public.verify(MESSAGE, &theirs), "{algorithm}");
            assert!(!public.verify(b"another message", &theirs), "{algorithm}");
            for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
                let Ok(other) = read_public(&public_path, Some(other)) else { continue };
                assert!(!other.verify(MESSAGE, &theirs), "{algorithm}");
            }
        }
    }
}

/// The command of the default needs no option that is not in every manual.
#[test]
fn an_rsa_key_signs_as_plain_openssl_verifies() {
    let folder = Folder::new();
    let key = PrivateKey::read(&folder.key("rsa", RSA_2048), None).unwrap();
    assert_eq!(Algorithm::of(key.public()), Algorithm::RSA_DEFAULT);
    folder.write("message", MESSAGE);
    folder.write("signature", &key.sign(MESSAGE).unwrap());
    folder.run("openssl dgst -sha256 -verify rsa.pub.pem -signature signature message");
    assert_eq!(read_public(&folder.path("rsa.pub.pem"), None).unwrap(), *key.public());
}

#[test]
fn names_of_algorithms_read_back() {
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.to_string().parse::<Algorithm>().unwrap(), algorithm);
    }
    for bad in ["", "rsa", "RSA-PSS-SHA256", "rsa-pss-sha1", "ed25519 ", "ecdsa-sha256"] {
        assert!(matches!(bad.parse::<Algorithm>(), Err(KeyError::UnknownAlgorithm)), "{bad}");
    }
}

/// RFC 8410 section 10.3: version 2 with an attribute and the public key.
pub(super) const RFC_8410: &str = "-----BEGIN PRIVATE KEY-----
MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB
Z9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PRIVATE KEY-----
";

#[test]
fn the_second_version_of_pkcs8_is_read_and_its_public_key_compared() {
    let key = PrivateKey::from_pem(RFC_8410.as_bytes(), None).unwrap();
    let public = hex::decode("19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1").unwrap();
    assert!(public_der(key.public()).ends_with(&public));
    assert!(key.public().verify(MESSAGE, &key.sign(MESSAGE).unwrap()));
    // Windows line ends and text around the block change nothing.
    let dressed = format!("Bag Attributes\r\n{}trailing words", RFC_8410.replace('\n', "\r\n"));
    assert_eq!(PrivateKey::from_pem(dressed.as_bytes(), None).unwrap().public(), key.public());
    let forged = RFC_8410.replace("ZuE=", "ZuI=");
    assert!(matches!(PrivateKey::from_pem(forged.as_bytes(), None), Err(KeyError::Halves)));
}

#[test]
fn a_certificate_names_key_owner_and_time() {
    let folder = Folder::new();
    let key = PrivateKey::read(&folder.key("rsa", RSA_2048), None).unwrap();
    let other = PrivateKey::read(&folder.key("ed", ED25519), None).unwrap();
    let subject = "/C=DE/O=Bikes, Inc.\\/\\+#1 = \"x\"/CN=Alice";
    folder.run(&format!("openssl req -x509 -new -key rsa.pem -days 30 -subj '{subject}' -out cert.pem"));
    folder.run("openssl x509 -in cert.pem -outform DER -out cert.der");
    let it = Certificate::read(&folder.path("cert.pem")).unwrap();
    assert_eq!(Certificate::read(&folder.path("cert.der")).unwrap(), it);
    assert_eq!(it.der(), folder.read("cert.der"));
    assert_eq!(it.subject(), "C=DE, O=Bikes\\, Inc./\\+#1 \\= \\\"x\\\", CN=Alice");
    assert_eq!(it.issuer(), it.subject());
    assert!(it.matches(key.public()) && !it.matches(other.public()));
    assert_eq!(it.signature_key(None).unwrap(), *key.public());
    assert!(matches!(it.signature_key(Some(Algorithm::Ed25519)), Err(KeyError::Mismatch { .. })));

    let days = 30 * 86_400_000;
    assert_eq!(it.not_after().0, it.not_before().0 + days);
    assert!(it.is_valid_at(it.not_before()) && it.is_valid_at(it.not_after()));
    assert!(!it.is_valid_at(UnixMillis(it.not_before().0 - 1)));
    assert!(!it.is_valid_at(UnixMillis(it.not_after().0 + 1000)));

    let theirs = folder.shell("openssl x509 -in cert.pem -noout -fingerprint -sha256").stdout;
    let theirs = String::from_utf8(theirs).unwrap().replace(':', "").to_lowercase();
    assert!(theirs.trim().ends_with(&hex::encode(it.fingerprint())));

    for file in ["cert.pem", "cert.der"] {
        let public = Public::read(&folder.path(file), Some("rsa-pss-sha384".parse().unwrap())).unwrap();
        assert_eq!(Algorithm::of(&public.key).name(), "rsa-pss-sha384");
        assert_eq!(public.certificate.as_ref(), Some(&it));
        assert!(it.matches(&public.key));
    }
    let command = openssl_public_key_command(&folder.path("cert.pem"), &folder.path("taken.pem"));
    folder.run(&command);
    assert_eq!(folder.read("taken.pem"), folder.read("rsa.pub.pem"));
}

/// A name cannot turn the line around, end it, or hide.
#[test]
fn names_that_lie_about_themselves_are_escaped() {
    let folder = Folder::new();
    folder.key("ed", ED25519);
    folder.write("name", "/O=\u{202e}knaB\u{200b}\u{7}/CN= Żółw ".as_bytes());
    folder.run("openssl req -x509 -utf8 -new -key ed.pem -subj \"$(cat name)\" -out cert.pem");
    let it = Certificate::read(&folder.path("cert.pem")).unwrap();
    assert_eq!(it.subject(), "O=\\u{202e}knaB\\u{200b}\\u{7}, CN=\\ Żółw\\ ");
}

#[test]
fn commands_quote_what_a_shell_would_take_apart() {
    let folder = Folder::new();
    let key = PrivateKey::from_pem(RFC_8410.as_bytes(), None).unwrap();
    let [public, message, signature] = ["-public key's.pem", "a $(touch x) `b`.txt", "s;i g.sig"];
    folder.write(public, public_pem(key.public()).as_bytes());
    folder.write(message, MESSAGE);
    folder.write(signature, &key.sign(MESSAGE).unwrap());
    let command = openssl_verify_command(key.public(), public.as_ref(), message.as_ref(), signature.as_ref());
    folder.run(&command);
    assert!(!folder.path("x").exists());
}
