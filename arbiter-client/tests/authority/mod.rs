//! A time-stamping authority made with OpenSSL: root, intermediate, and a certificate that is for time-stamping.
#![allow(dead_code)] // Each test program uses a part.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const CONFIG: &str = "\
[tsa]
default_tsa = one
[one]
serial = DIR/serial
crypto_device = builtin
signer_cert = DIR/tsa.pem
certs = DIR/middle.pem
signer_key = DIR/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1, millisecs:500, microsecs:100
ordering = no
tsa_name = no
ess_cert_id_chain = no
ess_cert_id_alg = ESS
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = USAGE
[req]
distinguished_name = dn
[dn]
";

/// An authority in a folder.
pub struct Authority {
    folder: tempfile::TempDir,
}

fn openssl(folder: &Path, line: &str) {
    let output = Command::new("openssl").args(line.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What a certificate and its signatures are like.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// For `openssl genpkey -algorithm`.
    pub key: &'static str,
    /// The extended key usage.
    pub usage: &'static str,
    /// The hash that names the certificate: sha1 makes the older attribute.
    pub ess: &'static str,
    /// For how long it is valid.
    pub days: u32,
}

impl Kind {
    pub const RSA: Self = Self {
        key: "RSA -pkeyopt rsa_keygen_bits:2048",
        usage: "critical, timeStamping",
        ess: "sha256",
        days: 30,
    };
    pub const P256: Self = Self { key: "EC -pkeyopt ec_paramgen_curve:P-256", ..Self::RSA };
    pub const P384: Self = Self { key: "EC -pkeyopt ec_paramgen_curve:P-384", ..Self::RSA };
}

impl Authority {
    pub fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let config = CONFIG
            .replace("DIR", path.to_str().unwrap())
            .replace("USAGE", kind.usage)
            .replace("ESS", kind.ess);
        std::fs::write(path.join("conf"), config).unwrap();
        std::fs::write(path.join("serial"), "01\n").unwrap();
        for name in ["root", "middle", "tsa"] {
            openssl(path, &format!("genpkey -algorithm {} -out {name}.key", kind.key));
        }
        let days = kind.days;
        openssl(
            path,
            &format!(
                "req -x509 -new -key root.key -config conf -extensions root -subj /CN=root -days {days} -out root.pem"
            ),
        );
        for (name, issuer, extensions) in [("middle", "root", "root"), ("tsa", "middle", "leaf")] {
            openssl(path, &format!("req -new -key {name}.key -config conf -subj /CN={name} -out {name}.csr"));
            openssl(
                path,
                &format!(
                    "x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial -extfile conf -extensions {extensions} -days {days} -out {name}.pem"
                ),
            );
        }
        Self { folder }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The certificates to trust.
    pub fn root(&self) -> Vec<u8> {
        std::fs::read(self.file("root.pem")).unwrap()
    }

    /// The response to a query.
    pub fn reply(&self, query: &[u8]) -> Vec<u8> {
        std::fs::write(self.file("query"), query).unwrap();
        openssl(self.folder.path(), "ts -reply -config conf -section one -queryfile query -out reply");
        std::fs::read(self.file("reply")).unwrap()
    }

    /// A token with the statement of another one, in this year if one is given, signed by this authority: for certificates with which OpenSSL itself signs
    /// no time-stamp.
    pub fn sign_again(&self, other: &Self, token: &[u8], year: Option<&str>) -> Vec<u8> {
        std::fs::write(other.file("token"), token).unwrap();
        openssl(other.folder.path(), "cms -verify -noverify -inform DER -in token -out info");
        let mut info = std::fs::read(other.file("info")).unwrap();
        if let Some(year) = year {
            // GeneralizedTime of 15 characters.
            let at = info.windows(2).position(|it| it == [0x18, 15]).unwrap() + 2;
            info[at..at + 4].copy_from_slice(year.as_bytes());
        }
        std::fs::write(self.file("info"), info).unwrap();
        openssl(
            self.folder.path(),
            "cms -sign -in info -binary -econtent_type 1.2.840.113549.1.9.16.1.4 -nodetach -cades -md sha256 -signer \
             tsa.pem -inkey tsa.key -certfile middle.pem -outform DER -nosmimecap -out forged",
        );
        std::fs::read(self.file("forged")).unwrap()
    }

    /// What OpenSSL says of a token over a text.
    pub fn openssl_verifies(&self, token: &[u8], text: &str) -> bool {
        std::fs::write(self.file("token"), token).unwrap();
        std::fs::write(self.file("text"), text).unwrap();
        let line = "ts -verify -data text -in token -token_in -CAfile root.pem";
        let output =
            Command::new("openssl").args(line.split(' ')).current_dir(self.folder.path()).output().unwrap();
        output.status.success()
    }

    /// Serves it over HTTP until the test ends; answers as many requests as come. Returns the URL.
    pub fn serve(self: Arc<Self>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/tsa", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut bytes = Vec::new();
                let body = loop {
                    let mut buffer = [0; 4096];
                    let count = stream.read(&mut buffer).unwrap();
                    assert!(count > 0, "the request is whole");
                    bytes.extend(&buffer[..count]);
                    let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") else { continue };
                    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
                    assert!(head.starts_with("post /tsa "), "{head}");
                    assert!(head.contains("content-type: application/timestamp-query"), "{head}");
                    let length: usize = head
                        .lines()
                        .find_map(|line| line.strip_prefix("content-length: "))
                        .map(|it| it.trim().parse().unwrap())
                        .unwrap();
                    if bytes.len() >= end + 4 + length {
                        break bytes[end + 4..].to_vec();
                    }
                };
                let reply = self.reply(&body);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    reply.len()
                );
                stream.write_all(&[head.as_bytes(), &reply].concat()).unwrap();
            }
        });
        url
    }
}
