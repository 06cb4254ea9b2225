//! The commands by which anybody checks a detached signature file with OpenSSL, and with nothing of ours.

use std::path::Path;

use arbiter_protocol::escrow::signature_key::Kind;
use arbiter_protocol::escrow::{RsaHash, RsaPadding, SignatureKey};

/// The command that verifies `signature` over `message`. `public` is a file with the public key as PEM
/// (`PUBLIC KEY`, see [`super::public_pem`]).
pub fn openssl_verify_command(key: &SignatureKey, public: &Path, message: &Path, signature: &Path) -> String {
    let [public, message, signature] = [public, message, signature].map(quoted);
    match key.kind() {
        Kind::Ed25519(_) => {
            format!(
                "openssl pkeyutl -verify -pubin -inkey {public} -rawin -in {message} -sigfile {signature}"
            )
        }
        Kind::Rsa { padding, hash, .. } => {
            let hash = match hash {
                RsaHash::Sha256 => "sha256",
                RsaHash::Sha384 => "sha384",
                RsaHash::Sha512 => "sha512",
            };
            let options = match padding {
                RsaPadding::Pkcs1 => "",
                RsaPadding::Pss => " -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:auto",
            };
            format!("openssl dgst -{hash}{options} -verify {public} -signature {signature} {message}")
        }
    }
}

/// The command that takes the public key out of a certificate, as the PEM file that [`openssl_verify_command`] needs.
pub fn openssl_public_key_command(certificate: &Path, public: &Path) -> String {
    format!("openssl x509 -in {} -noout -pubkey > {}", quoted(certificate), quoted(public))
}

/// A path for a shell. Plain names stay as they are; none is taken for an option.
fn quoted(path: &Path) -> String {
    let mut text = path.to_string_lossy().into_owned();
    if text.starts_with('-') {
        text.insert_str(0, "./");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
