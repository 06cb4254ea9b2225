//! Arbitrary and altered bytes: an error or a key, never a panic, and never a key in a second form.

use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;
use crate::signing::pem;

/// The DER of good files: private keys, public keys, certificates.
struct Good {
    private: Vec<Vec<u8>>,
    public: Vec<Vec<u8>>,
    certificates: Vec<Vec<u8>>,
}

fn good() -> &'static Good {
    static GOOD: OnceLock<Good> = OnceLock::new();
    GOOD.get_or_init(|| {
        let folder = Folder::new();
        let mut good = Good { private: Vec::new(), public: Vec::new(), certificates: Vec::new() };
        for kind in [ED25519, RSA_2048] {
            folder.key("key", kind);
            folder.run("openssl req -x509 -new -key key.pem -subj /C=DE/O=A/CN=B -out cert.pem");
            let der = |name: &str| pem::only_block(&folder.read(name)).unwrap().der.to_vec();
            good.private.push(der("key.pem"));
            good.public.push(der("key.pub.pem"));
            good.certificates.push(der("cert.pem"));
        }
        good.private.push(pem::only_block(RFC_8410.as_bytes()).unwrap().der.to_vec());
        good
    })
}

/// One change: a byte replaced, removed or inserted, or the rest cut off.
type Change = (u8, prop::sample::Index, u8);

fn change(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for (how, position, byte) in changes {
        if bytes.is_empty() {
            break;
        }
        let position = position.index(bytes.len());
        match how % 8 {
            0 => bytes.truncate(position),
            1 => drop(bytes.remove(position)),
            2 => bytes.insert(position, *byte),
            _ => bytes[position] = *byte,
        }
    }
    bytes
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(any::<Change>(), 1..4)
}

/// What holds for all bytes.
fn try_all(bytes: &[u8]) {
    for algorithm in [None, Some(Algorithm::Ed25519), Some(Algorithm::RSA_DEFAULT)] {
        if let Ok(public) = Public::parse(bytes, algorithm) {
            assert!(public.certificate.is_none_or(|it| it.matches(&public.key)));
            let again = Public::parse(public_pem(&public.key).as_bytes(), algorithm).unwrap();
            assert_eq!(again.key, public.key);
        }
        if let Ok(key) = PrivateKey::from_pem(bytes, algorithm)
            && let Ok(signature) = key.sign(MESSAGE)
        {
            assert!(key.public().verify(MESSAGE, &signature));
        }
    }
    if let Ok(it) = Certificate::parse(bytes) {
        assert_eq!(it.der(), bytes);
        for text in [it.subject(), it.issuer()] {
            arbiter_protocol::exchange::item::check_line(text, usize::MAX, "name").unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        try_all(&bytes);
        for label in ["PRIVATE KEY", "PUBLIC KEY", "CERTIFICATE"] {
            try_all(pem::write(label, &bytes).as_bytes());
            try_all(pem::write(label, &[&[0x30, 0x82, 0x01, 0x00], bytes.as_slice()].concat()).as_bytes());
        }
    }

    #[test]
    fn altered_der(changes in changes()) {
        for der in &good().private {
            try_all(pem::write("PRIVATE KEY", &change(der.clone(), &changes)).as_bytes());
        }
        for der in &good().public {
            let altered = change(der.clone(), &changes);
            let text = pem::write("PUBLIC KEY", &altered);
            try_all(text.as_bytes());
            if let Ok(public) = Public::parse(text.as_bytes(), None) {
                prop_assert_eq!(public_der(&public.key), altered);
            }
        }
        for der in &good().certificates {
            let altered = change(der.clone(), &changes);
            try_all(&altered);
            try_all(pem::write("CERTIFICATE", &altered).as_bytes());
        }
    }

    #[test]
    fn altered_pem(changes in changes()) {
        let lists = [("PRIVATE KEY", &good().private), ("PUBLIC KEY", &good().public), ("CERTIFICATE", &good().certificates)];
        for (label, list) in lists {
            for der in list {
                try_all(&change(pem::write(label, der).into_bytes(), &changes));
            }
        }
    }
}

/// Every single altered byte of a public key is refused, or is another key.
#[test]
fn each_byte_of_a_public_key_counts() {
    for der in &good().public {
        let key = Public::parse(pem::write("PUBLIC KEY", der).as_bytes(), None).unwrap().key;
        for position in 0..der.len() {
            let mut altered = der.clone();
            altered[position] ^= 1;
            if let Ok(other) = Public::parse(pem::write("PUBLIC KEY", &altered).as_bytes(), None) {
                assert_ne!(other.key, key);
                assert_eq!(public_der(&other.key), altered);
            }
        }
    }
}
