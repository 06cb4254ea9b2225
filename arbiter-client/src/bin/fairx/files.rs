//! The files that a finished exchange of signatures leaves: what any other program needs to check them.
//!
//! ```text
//!  contract.pdf.document.txt                    exactly what is signed
//!  contract.pdf.originator.sig  .pem  .crt      signature, public key, certificate if there is one
//!  contract.pdf.responder.sig   .pem  .crt
//! ```
//! Those of a package are in a folder of each signer, and begin with their place in it: `signatures.responder/2.annex.pdf.…`.
//!
//! Invariants
//! - A file is whole or not there, and one with other content is never overwritten.
//! - Beside a received file nothing is written.
//! - A signature that was sent and one that the arbiter opened make the same files.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use arbiter_client::Evidence;
use arbiter_client::items::signed_about;
use arbiter_client::protocol::exchange::item::DetachedSignature;
use arbiter_client::protocol::exchange::kind::package;
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::signing::{Certificate, openssl_verify_command, public_pem};

use crate::failure::Failure;

/// What was written for the peer's signature, and how to check it.
pub struct Written {
    /// The peer's signature; of a package the folder with all of them.
    pub signature: PathBuf,
    /// The command for OpenSSL; of a package one for each, in lines.
    pub command: String,
}

/// Writes the signatures that the evidence has, ours as well. `out` is where, instead of beside what was received.
pub fn write(evidence: &Evidence, home: &Path, out: Option<&Path>) -> Result<Option<Written>, Failure> {
    let peer = evidence.role.peer();
    if out.is_none() && evidence.signatures.of(peer).is_none() {
        return Ok(None); // We got a file: our own signature does not belong beside it.
    }
    let received = home.join("received").join(evidence.exchange_id().to_string());
    let folder = out.unwrap_or(&received);
    let mut written = None;
    for role in Role::BOTH {
        let items = evidence.offer.item(role).description.detached_leaves();
        let content = evidence.signatures.of(role).as_ref();
        let Some(signatures) = content.and_then(|content| package::split(content, items.len())) else {
            continue;
        };
        let place = match items.len() {
            1 => folder.to_owned(),
            _ => folder.join(format!("signatures.{role}")),
        };
        let mut commands = Vec::new();
        let mut last = place.clone();
        for (at, (item, signature)) in items.iter().zip(signatures).enumerate() {
            let name = match items.len() {
                1 => item.statement.subject.name.clone(),
                _ => signed_about(at, item),
            };
            let (path, command) = write_one((&place, &name), role, item, signature)?;
            commands.push(command);
            last = path;
        }
        if role == peer {
            let signature = if items.len() == 1 { last } else { place };
            written = Some(Written { signature, command: commands.join("\n") });
        }
    }
    Ok(written)
}

/// Writes the files of one signature: where it is, and the command that checks it.
fn write_one(
    (folder, name): (&Path, &str),
    signer: Role,
    item: &DetachedSignature,
    signature: &[u8],
) -> Result<(PathBuf, String), Failure> {
    std::fs::create_dir_all(folder).map_err(|error| Failure::file(folder, &error))?;
    let path = |end: &str| folder.join(format!("{name}{end}"));
    let (document, signature_path) = (path(".document.txt"), path(&format!(".{signer}.sig")));
    let public = path(&format!(".{signer}.pem"));
    write_new(&document, item.statement.document().as_bytes())?;
    write_new(&public, public_pem(&item.key).as_bytes())?;
    if let Ok(certificate) = Certificate::parse(&item.certificate) {
        write_new(&path(&format!(".{signer}.crt")), certificate.der())?;
    }
    write_new(&signature_path, signature)?;
    let command = openssl_verify_command(&item.key, &public, &document, &signature_path);
    Ok((signature_path, command))
}

/// Writes a file durably, unless it is there with the same content. One with other content stays as it is.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let io = |error: std::io::Error| Failure::file(path, &error);
    if let Ok(there) = std::fs::read(path) {
        return if there == bytes {
            Ok(())
        } else {
            Err(Failure::usage(format!(
                "{}: there is another file of this name, it is not overwritten",
                path.display()
            ))
            .next("name another place"))
        };
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".part{}", std::process::id()));
    let part = path.with_file_name(name);
    let written = (|| {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o644).open(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // Another program may have made the file meanwhile: a link, unlike a rename, never replaces it.
        std::fs::hard_link(&part, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    })();
    // Linked or not, the part has done its work; a failure to remove it changes nothing.
    let _ = std::fs::remove_file(&part);
    written.map_err(io)
}
