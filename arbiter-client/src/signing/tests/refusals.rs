//! Every refusal, with the file that causes it.

use arbiter_protocol::timestamp::der::{element, integer};

use super::*;
use crate::signing::{pem, public};

fn private(folder: &Folder, name: &str) -> KeyError {
    match PrivateKey::read(&folder.private(name), None).err().expect("a refusal") {
        KeyError::In { reason, path } => {
            assert!(path.ends_with(name));
            *reason
        }
        other => panic!("{other} names no file"),
    }
}

fn public(folder: &Folder, name: &str) -> KeyError {
    match Public::read(&folder.path(name), None).expect_err("a refusal") {
        KeyError::In { reason, .. } => *reason,
        other => panic!("{other} names no file"),
    }
}

#[test]
fn private_keys_of_other_kinds_and_forms() {
    let folder = Folder::new();
    folder.key("rsa", RSA_2048);
    folder.key("ec", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256");
    folder.key("x25519", "-algorithm x25519");
    folder.key("ed448", "-algorithm ed448");
    folder.key("pss", "-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048");
    folder.key("small", "-algorithm RSA -pkeyopt rsa_keygen_bits:1024");
    folder.key("three", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3");
    for command in [
        "openssl pkey -in rsa.pem -aes256 -passout pass:secret -out encrypted.pem",
        "openssl rsa -in rsa.pem -traditional -aes256 -passout pass:secret -out legacy.pem",
        "openssl rsa -in rsa.pem -traditional -out pkcs1.pem",
        "openssl ecparam -name prime256v1 -genkey -out ec-old.pem",
        "openssl pkey -in rsa.pem -outform DER -out rsa.der",
        "openssl req -x509 -new -key rsa.pem -subj /CN=A -out cert.pem",
        "cat rsa.pem ec.pem > two.pem",
        "head -5 rsa.pem > cut.pem",
        "sed 's/RSA PRIVATE/OPENSSH PRIVATE/' pkcs1.pem > openssh.pem",
        "sed 's/RSA PRIVATE KEY/X509 CRL/' pkcs1.pem > crl.pem",
        "sed 's/END PRIVATE/END PUBLIC/' rsa.pem > ends.pem",
        ": > empty.pem",
        "head -c 16385 /dev/zero > long.pem",
    ] {
        folder.run(command);
    }
    assert!(matches!(private(&folder, "encrypted.pem"), KeyError::Encrypted));
    assert!(matches!(private(&folder, "legacy.pem"), KeyError::Encrypted));
    assert!(matches!(private(&folder, "pkcs1.pem"), KeyError::Pkcs1Private));
    assert!(matches!(private(&folder, "ec.pem"), KeyError::Elliptic));
    assert!(matches!(private(&folder, "ec-old.pem"), KeyError::Elliptic));
    assert!(matches!(private(&folder, "x25519.pem"), KeyError::OtherKind));
    assert!(matches!(private(&folder, "ed448.pem"), KeyError::OtherKind));
    assert!(matches!(private(&folder, "pss.pem"), KeyError::PssOnly));
    let small = private(&folder, "small.pem");
    assert!(matches!(small, KeyError::Refused(EscrowError::ModulusSize { bits: 1024 })), "{small}");
    assert!(matches!(private(&folder, "three.pem"), KeyError::RsaRefused { .. }));
    assert!(matches!(private(&folder, "rsa.der"), KeyError::NoPem));
    assert!(matches!(private(&folder, "rsa.pub.pem"), KeyError::NotPrivate));
    assert!(matches!(private(&folder, "cert.pem"), KeyError::NotPrivate));
    assert!(matches!(private(&folder, "two.pem"), KeyError::ManyBlocks { count: 2 }));
    assert!(matches!(private(&folder, "cut.pem"), KeyError::BadPem));
    assert!(matches!(private(&folder, "ends.pem"), KeyError::BadPem));
    assert!(matches!(private(&folder, "openssh.pem"), KeyError::OpenSsh));
    assert!(matches!(private(&folder, "crl.pem"), KeyError::OtherPem { .. }));
    assert!(matches!(private(&folder, "empty.pem"), KeyError::NoPem));
    assert!(matches!(private(&folder, "long.pem"), KeyError::TooLong { .. }));
    let missing = PrivateKey::read(&folder.path("missing.pem"), None).err().unwrap();
    assert!(missing.to_string().contains("missing.pem: No such file"), "{missing}");
    // What the errors advise does help.
    folder.run("openssl pkey -in encrypted.pem -passin pass:secret -out plain.pem");
    folder.run("openssl pkcs8 -topk8 -nocrypt -in pkcs1.pem -out converted.pem");
    folder.run("openssl pkey -inform DER -in rsa.der -out from-der.pem");
    for name in ["plain.pem", "converted.pem", "from-der.pem"] {
        assert!(PrivateKey::read(&folder.private(name), None).is_ok(), "{name}");
    }
    // An exponent of 3 is for verifying only.
    assert!(read_public(&folder.path("three.pub.pem"), None).is_ok());
}

#[test]
fn a_private_key_that_others_can_use() {
    let folder = Folder::new();
    let path = folder.write("key.pem", RFC_8410.as_bytes());
    assert!(PrivateKey::read(&path, None).is_ok());
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = PrivateKey::read(&path, None).err().unwrap();
        assert!(error.to_string().contains("chmod 600"), "{error}");
        let KeyError::In { reason, .. } = error else { panic!("{error}") };
        assert!(matches!(*reason, KeyError::Exposed { mode: got } if got == mode));
    }
}

/// PKCS#8 around a modulus of 4104 bits: refused for its size before anything else is looked at.
#[test]
fn a_large_rsa_key_signs_elsewhere() {
    let modulus = [0xff; 513];
    let key = [integer(&[]), integer(&modulus), integer(&[1, 0, 1])].concat();
    let algorithm = [element(6, public::RSA), element(5, &[])].concat();
    let info = [element(2, &[0]), element(0x30, &algorithm), element(4, &element(0x30, &key))];
    let text = pem::write("PRIVATE KEY", &element(0x30, &info.concat()));
    let error = PrivateKey::from_pem(text.as_bytes(), None).err().unwrap();
    assert!(matches!(error, KeyError::SignElsewhere { bits: 4104 }), "{error}");
    assert!(error.to_string().contains("--signature-from"));
}

#[test]
fn an_algorithm_of_the_other_kind_of_key() {
    let folder = Folder::new();
    let (ed, rsa) = (folder.key("ed", ED25519), folder.key("rsa", RSA_2048));
    for (path, name, algorithm) in [(ed, "ed", Algorithm::RSA_DEFAULT), (rsa, "rsa", Algorithm::Ed25519)] {
        let errors = [
            PrivateKey::read(&path, Some(algorithm)).err().unwrap(),
            read_public(&folder.path(&format!("{name}.pub.pem")), Some(algorithm)).unwrap_err(),
        ];
        for error in errors {
            let KeyError::In { reason, .. } = error else { panic!("{error}") };
            assert!(matches!(*reason, KeyError::Mismatch { asked, .. } if asked == algorithm));
        }
    }
}

#[test]
fn public_keys_of_other_kinds_and_forms() {
    let folder = Folder::new();
    folder.key("rsa", RSA_2048);
    folder.key("ec", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256");
    folder.key("ed448", "-algorithm ed448");
    folder.key("pss", "-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048");
    folder.key("small", "-algorithm RSA -pkeyopt rsa_keygen_bits:1024");
    let comment = "x".repeat(4096);
    for command in [
        "openssl rsa -in rsa.pem -RSAPublicKey_out -out pkcs1.pem",
        "openssl req -x509 -new -key ec.pem -subj /CN=A -out ec-cert.pem",
        "openssl req -x509 -new -key rsa.pem -subj /CN=A -out cert.pem",
        "cat cert.pem cert.pem > chain.pem",
        &format!(
            "openssl req -x509 -new -key rsa.pem -subj /CN=A -addext nsComment={comment} -out large.pem"
        ),
        "openssl x509 -in cert.pem -outform DER -out cert.der; printf x >> cert.der",
        "echo words > words.pem",
    ] {
        folder.run(command);
    }
    assert!(matches!(public(&folder, "rsa.pem"), KeyError::NotPublic));
    assert!(matches!(public(&folder, "ec.pub.pem"), KeyError::Elliptic));
    assert!(matches!(public(&folder, "ec-cert.pem"), KeyError::Elliptic));
    assert!(matches!(public(&folder, "ed448.pub.pem"), KeyError::OtherKind));
    assert!(matches!(public(&folder, "pss.pub.pem"), KeyError::PssOnly));
    assert!(matches!(public(&folder, "pkcs1.pem"), KeyError::Pkcs1Public));
    assert!(matches!(public(&folder, "small.pub.pem"), KeyError::Refused(EscrowError::ModulusSize { .. })));
    assert!(matches!(public(&folder, "chain.pem"), KeyError::ManyBlocks { count: 2 }));
    assert!(matches!(public(&folder, "large.pem"), KeyError::TooLong { most: CERTIFICATE_BYTES }));
    assert!(matches!(public(&folder, "cert.der"), KeyError::Malformed { what: "the certificate" }));
    assert!(matches!(public(&folder, "words.pem"), KeyError::NoPem));
    folder.run("openssl rsa -RSAPublicKey_in -in pkcs1.pem -pubout -out converted.pem");
    assert!(read_public(&folder.path("converted.pem"), None).is_ok());
    // A certificate of a key without escrow can still be shown.
    assert_eq!(Certificate::read(&folder.path("ec-cert.pem")).unwrap().subject(), "CN=A");
}

/// A key in a second encoding, or of small order, is refused.
#[test]
fn second_forms_of_public_keys() {
    let good = PrivateKey::from_pem(RFC_8410.as_bytes(), None).unwrap();
    let der = public_der(good.public());
    let parse = |der: &[u8]| Public::parse(pem::write("PUBLIC KEY", der).as_bytes(), None).map(|it| it.key);
    assert_eq!(parse(&der).unwrap(), *good.public());
    let malformed = |der: &[u8]| matches!(parse(der), Err(KeyError::Malformed { .. }));
    assert!(malformed(&[der.as_slice(), &[0]].concat()), "a byte after the end");
    let body = der.strip_prefix(&[0x30, 0x2a]).unwrap();
    assert!(malformed(&[&[0x30, 0x81, 0x2a], body].concat()), "a long length");
    let null = element(0x30, &[element(6, public::ED25519), element(5, &[])].concat());
    let bits = &der[9..];
    assert!(malformed(&element(0x30, &[&null, bits].concat())), "parameters");
    let mut unused = der.clone();
    unused[11] = 1;
    assert!(malformed(&unused), "unused bits");
    let mut weak = der;
    weak[12..].copy_from_slice(&[0; 32]);
    assert!(matches!(parse(&weak), Err(KeyError::Refused(EscrowError::Key(_)))));
}
