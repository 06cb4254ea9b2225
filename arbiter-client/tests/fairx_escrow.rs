//! `fairx escrow` as a real process beside the real `openssl`: keys and signatures made by OpenSSL go into escrow, and
//! what comes out is the same file, which OpenSSL verifies by the very command that the program prints.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

const FAIRX: &str = env!("CARGO_BIN_EXE_fairx");
const ARBITER: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// A folder with keys, message, label, and an arbiter's escrow key.
struct Scene {
    folder: TempDir,
    /// What make, check and open are told alike.
    terms: Vec<String>,
}

impl Scene {
    /// A signature of `message` by a new key, made by OpenSSL.
    fn new(genkey: &str, sign: &str, algorithm: Option<&str>) -> Self {
        let terms = ["--message", "message", "--public", "signer.pub.pem", "--label", "label.toml"];
        let mut scene =
            Self { folder: tempfile::tempdir().unwrap(), terms: terms.map(str::to_owned).to_vec() };
        if let Some(algorithm) = algorithm {
            scene.terms.extend(["--algorithm".to_owned(), algorithm.to_owned()]);
        }
        scene.write("message", b"Alice sells her bicycle to Bob.\n");
        scene.shell(&format!("openssl genpkey {genkey} -out signer.pem"));
        scene.shell("openssl pkey -in signer.pem -pubout -out signer.pub.pem");
        scene.shell(sign);
        let key = scene.good(&["keygen", "--arbiter", ARBITER, "--epoch", "1", "--out", "arbiter.secret"]);
        scene.write("arbiter.key", key.as_bytes());
        let label = scene.good(&["label", "--example"]);
        scene.write("label.toml", label.as_bytes());
        scene
    }

    fn ed25519() -> Self {
        Self::new(
            "-algorithm ed25519",
            "openssl pkeyutl -sign -inkey signer.pem -rawin -in message -out signature",
            None,
        )
    }

    /// With the escrow made.
    fn made() -> Self {
        let scene = Self::ed25519();
        scene.good(&scene.make());
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        std::fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777
    }

    fn shell(&self, command: &str) -> String {
        let output =
            Command::new("sh").args(["-c", command]).current_dir(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "{command}: {}", text(&output));
        text(&output)
    }

    /// Without any environment: neither home folder nor settings.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(FAIRX);
        command.env_clear().current_dir(self.folder.path()).arg("escrow").args(arguments);
        command.output().unwrap()
    }

    fn good(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Refused with this exit code; what it says.
    fn refused(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output));
        assert!(output.stdout.is_empty(), "{}", text(&output));
        String::from_utf8(output.stderr).unwrap()
    }

    fn with_terms<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        arguments.iter().copied().chain(self.terms.iter().map(String::as_str)).collect()
    }

    fn make(&self) -> Vec<&str> {
        self.with_terms(&["make", "--signature", "signature", "--key", "arbiter.key", "--out", "escrow"])
    }

    fn check(&self) -> Vec<&str> {
        self.with_terms(&["check", "--escrow", "escrow", "--key", "arbiter.key"])
    }

    fn open(&self) -> Vec<&str> {
        self.with_terms(&["open", "--escrow", "escrow", "--secret", "arbiter.secret", "--out", "recovered"])
    }

    /// make, check, open; then OpenSSL verifies the recovered file by the commands that were printed.
    fn whole_way(&self) {
        let made = self.good(&self.make());
        assert!(made.starts_with("MADE: escrow, "), "{made}");
        let checked = self.good(&self.check());
        assert!(checked.starts_with("GOOD: "), "{checked}");
        let opened = self.good(&self.open());
        assert!(opened.starts_with("OPENED: recovered, "), "{opened}");
        assert_eq!(self.read("recovered"), self.read("signature"));
        assert_eq!((self.mode("recovered"), self.mode("arbiter.secret")), (0o600, 0o600));
        let commands: Vec<_> = opened.lines().filter(|line| line.starts_with("  openssl ")).collect();
        assert!(commands.last().unwrap().contains("recovered"), "{opened}");
        let said = self.shell(&commands.join(" && "));
        assert!(said.contains("Verified OK") || said.contains("Signature Verified Successfully"), "{said}");

        // Neither the arbiter's secret nor the signature is shown.
        let secret = String::from_utf8(self.read("arbiter.secret")).unwrap();
        let seed = secret.lines().find_map(|line| line.strip_prefix("seed = ")).unwrap().trim_matches('"');
        let signature = hex::encode(self.read("signature"));
        let escrow = hex::encode(self.read("escrow"));
        for shown in [made, checked, opened, String::from_utf8(self.read("arbiter.key")).unwrap(), escrow] {
            assert!(!shown.contains(seed) && !shown.contains(&signature[64..]), "{shown}");
        }
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

#[test]
fn ed25519() {
    Scene::ed25519().whole_way();
}

#[test]
fn rsa_2048_as_openssl_signs_without_options() {
    let sign = "openssl dgst -sha256 -sign signer.pem -out signature message";
    Scene::new("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", sign, None).whole_way();
}

#[test]
fn rsa_3072_pkcs1_sha512() {
    let sign = "openssl dgst -sha512 -sign signer.pem -out signature message";
    Scene::new("-algorithm RSA -pkeyopt rsa_keygen_bits:3072", sign, Some("rsa-pkcs1-sha512")).whole_way();
}

/// Whatever the length of the salt.
#[test]
fn rsa_3072_pss() {
    let sign = "openssl dgst -sha384 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:17 -sign signer.pem -out signature message";
    Scene::new("-algorithm RSA -pkeyopt rsa_keygen_bits:3072", sign, Some("rsa-pss-sha384")).whole_way();
}

#[test]
fn a_certificate_stands_for_its_key() {
    for (form, file) in [("PEM", "cert.pem"), ("DER", "cert of signer.der")] {
        let mut scene = Scene::new(
            "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
            "openssl dgst -sha256 -sign signer.pem -out signature message",
            None,
        );
        scene.shell(&format!(
            "openssl req -x509 -new -key signer.pem -subj '/O=Bikes/CN=Alice' -days 2 -outform {form} -out '{file}'"
        ));
        for term in scene.terms.iter_mut().filter(|term| *term == "signer.pub.pem") {
            *term = file.to_owned();
        }
        scene.whole_way();
        let said = scene.good(&scene.check());
        assert!(said.contains("certificate of O=Bikes, CN=Alice"), "{said}");
        assert!(said.contains("by O=Bikes, CN=Alice (not verified)"), "{said}");
    }
}

/// Every suite, chosen in the label.
#[test]
fn every_suite() {
    for suite in ["132/64", "247/30", "711/20"] {
        let scene = Scene::ed25519();
        scene.shell(&format!("sed -i 's#\"247/30\"#\"{suite}\"#' label.toml"));
        scene.whole_way();
    }
}

#[test]
fn what_differs_from_what_was_agreed_is_found_by_check_and_by_open() {
    let scene = Scene::made();
    let context = "the escrow was made for another label, statement or arbiter key";
    let both = |reason: &str| {
        for arguments in [scene.check(), scene.open()] {
            let said = scene.refused(1, &arguments);
            assert!(said.contains(reason), "{reason}: {said}");
        }
        assert!(!scene.path("recovered").exists());
    };
    let with = |name: &str, content: &[u8], reason: &str| {
        let good = scene.read(name);
        assert_ne!(good, content);
        scene.write(name, content);
        both(reason);
        scene.write(name, &good);
    };

    with("message", b"Alice sells her bicycle to Eve.\n", context);
    scene.shell("openssl genpkey -algorithm ed25519 | openssl pkey -pubout -out other.pem");
    with("signer.pub.pem", &scene.read("other.pem"), context);
    scene.shell(
        "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 | openssl pkey -pubout -out rsa.pem",
    );
    with("signer.pub.pem", &scene.read("rsa.pem"), "another kind of signature");

    let label = String::from_utf8(scene.read("label.toml")).unwrap();
    for (field, value, reason) in [
        ("suite", "\"132/64\"", "another suite than the label"),
        (
            "arbiter",
            "\"2111111111111111111111111111111111111111111111111111111111111111\"",
            "another arbiter",
        ),
        ("epoch", "2", "the label names epoch 2 of the arbiter's key, not 1"),
        ("exchange", "\"3222222222222222222222222222222222222222222222222222222222222222\"", context),
        ("protocol", "2", context),
        ("first", "\"responder\"", context),
        ("signer", "\"responder\"", context),
        ("originator", "\"4333333333333333333333333333333333333333333333333333333333333333\"", context),
        ("responder", "\"5444444444444444444444444444444444444444444444444444444444444444\"", context),
        ("agreement", "\"6555555555555555555555555555555555555555555555555555555555555555\"", context),
        ("item", "\"7666666666666666666666666666666666666666666666666666666666666666\"", context),
        ("counter_item", "\"8777777777777777777777777777777777777777777777777777777777777777\"", context),
        ("expires", "1797768000001", context),
        ("complain_by", "1", context),
    ] {
        let line = label.lines().find(|line| line.starts_with(&format!("{field} = "))).unwrap();
        with("label.toml", label.replace(line, &format!("{field} = {value}")).as_bytes(), reason);
    }

    // Other keys of the arbiter: of another epoch, and another of the same epoch.
    let (key, secret) = (scene.read("arbiter.key"), scene.read("arbiter.secret"));
    for (epoch, reason) in [("2", "the label names epoch 1 of the arbiter's key, not 2"), ("1", context)] {
        std::fs::remove_file(scene.path("arbiter.secret")).unwrap();
        let other =
            scene.good(&["keygen", "--arbiter", ARBITER, "--epoch", epoch, "--out", "arbiter.secret"]);
        scene.write("arbiter.key", other.as_bytes());
        both(reason);
    }
    scene.write("arbiter.key", &key);
    scene.write("arbiter.secret", &secret);
    scene.good(&scene.check());
    scene.good(&scene.open());
}

/// The line itself is as good as a file with it.
#[test]
fn a_key_is_a_line_or_a_file() {
    let scene = Scene::made();
    let key = String::from_utf8(scene.read("arbiter.key")).unwrap();
    let line = key.lines().last().unwrap();
    assert!(line.starts_with("fairx-escrow-key:v1:1111"), "{line}");
    scene.good(&scene.with_terms(&["check", "--escrow", "escrow", "--key", line]));
    for (bad, code, reason) in [
        ("fairx-escrow-key:v1:11", 2, "no escrow key line"),
        ("message", 2, "no escrow key line"),
        ("label.toml", 2, "must hold one fairx-escrow-key:v1:"),
        ("missing", 2, "missing: No such file"),
        (&format!("{}:1:{}", &line[..84], "00".repeat(32)), 1, "no usable Ristretto element"),
    ] {
        let said = scene.refused(code, &scene.with_terms(&["check", "--escrow", "escrow", "--key", bad]));
        assert!(said.contains(reason), "{reason}: {said}");
    }
}

/// One byte that differs: check refuses. The arbiter still opens what can be opened, for one instance is enough.
#[test]
fn altered_escrows_are_refused_and_opening_says_who_is_at_fault() {
    let scene = Scene::made();
    let good = scene.read("escrow");
    let last = good.len() - 1;
    for (position, reason) in [
        (0, "escrow version"),
        (1, "escrow kind"),
        (2, "escrow suite"),
        (35, "the escrow was made for another label, statement or arbiter key"),
        (67, "the escrow proof is false"),
        (140, "the escrow proof is false"),
        (last, "the escrow proof is false"),
    ] {
        let mut altered = good.clone();
        altered[position] ^= 0x40;
        scene.write("escrow", &altered);
        let said = scene.refused(1, &scene.check());
        assert!(said.contains(reason), "{position}: {said}");
    }
    // The nonce: another point, or no point that may be used.
    let mut altered = good.clone();
    altered[3] ^= 0x40;
    scene.write("escrow", &altered);
    let said = scene.refused(1, &scene.check());
    assert!(said.contains("nonce point is refused") || said.contains("made for another"), "{said}");

    let mut altered = good.clone();
    altered[last] ^= 0x40;
    scene.write("escrow", &altered);
    assert!(scene.good(&scene.open()).starts_with("OPENED"));
    assert_eq!(scene.read("recovered"), scene.read("signature"));
    std::fs::remove_file(scene.path("recovered")).unwrap();

    // All 30 sealed seeds altered: nothing opens, and whoever accepted it is to blame.
    let mut altered = good.clone();
    for instance in altered.rchunks_exact_mut(80).take(30) {
        instance[79] ^= 1;
    }
    scene.write("escrow", &altered);
    let said = scene.refused(1, &scene.open());
    assert!(said.contains("cannot be opened, and it is false: the escrow proof is false"), "{said}");
    assert!(said.contains("at fault is who made or changed it, and who accepted it"), "{said}");
    assert!(!scene.path("recovered").exists());

    for (bytes, reason) in [
        (good[..last].to_vec(), "cut off"),
        ([good.as_slice(), &[0]].concat(), "1 bytes after its end"),
        ([good.as_slice(), &[0; 16]].concat(), "1 tree nodes"),
        (Vec::new(), "cut off"),
        (vec![1; 100_000], "more than any escrow"),
    ] {
        scene.write("escrow", &bytes);
        for arguments in [scene.check(), scene.open()] {
            let said = scene.refused(1, &arguments);
            assert!(said.contains(reason), "{reason}: {said}");
        }
    }
}

#[test]
fn only_a_valid_signature_goes_into_escrow() {
    let scene = Scene::ed25519();
    let good = scene.read("signature");
    let mut bad = good.clone();
    bad[40] ^= 1;
    scene.write("signature", &bad);
    let said = scene.refused(1, &scene.make());
    assert!(said.contains("not a valid signature"), "{said}");
    scene.write("signature", &good[..63]);
    let said = scene.refused(1, &scene.make());
    assert!(said.contains("has 63 bytes, a signature by this key has 64"), "{said}");
    assert!(!scene.path("escrow").exists());

    // An RSA signature under another padding than was said.
    let sign = "openssl dgst -sha256 -sign signer.pem -out signature message";
    let scene = Scene::new("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", sign, Some("rsa-pss-sha256"));
    let said = scene.refused(1, &scene.make());
    assert!(said.contains("not a valid signature") && said.contains("--algorithm"), "{said}");
}

#[test]
fn nothing_is_overwritten() {
    let scene = Scene::made();
    scene.good(&scene.open());
    let secret = scene.read("arbiter.secret");
    let keygen = ["keygen", "--arbiter", ARBITER, "--epoch", "1", "--out", "arbiter.secret"].to_vec();
    for (arguments, name) in
        [(scene.make(), "escrow"), (scene.open(), "recovered"), (keygen, "arbiter.secret")]
    {
        let said = scene.refused(2, &arguments);
        assert!(said.contains(&format!("{name} exists already and is never overwritten")), "{said}");
    }
    assert_eq!(scene.read("arbiter.secret"), secret);
    assert_eq!(scene.read("recovered"), scene.read("signature"));
}

#[test]
fn a_secret_that_others_can_use_or_that_is_damaged_is_refused() {
    let scene = Scene::made();
    let set = |mode| {
        std::fs::set_permissions(scene.path("arbiter.secret"), std::fs::Permissions::from_mode(mode))
            .unwrap();
    };
    set(0o640);
    let said = scene.refused(2, &scene.open());
    assert!(said.contains("can be used by others") && said.contains("chmod 600"), "{said}");
    set(0o600);
    let good = String::from_utf8(scene.read("arbiter.secret")).unwrap();
    let seed = good.lines().last().unwrap();
    for bad in [
        "",
        &good.replace("version = 1", "version = 2"),
        &good.replace(seed, "seed = \"11\""),
        &good.replace("epoch = 1", "epoch = 01"),
        &format!("{good}more = 1\n"),
        &"#".repeat(5000),
    ] {
        scene.write("arbiter.secret", bad.as_bytes());
        let said = scene.refused(2, &scene.open());
        assert!(said.contains("no secret file") && !said.contains(seed), "{said}");
    }
}

#[test]
fn labels_are_checked_and_shown() {
    let scene = Scene::ed25519();
    let said = scene.good(&["label", "label.toml"]);
    let encoding = said.lines().find_map(|line| line.strip_prefix("encoding  ")).unwrap();
    // SPEC.md section 11.3: version, suite, N, n, arbiter, epoch, ...
    assert!(encoding.starts_with(&format!("010200f7001e{ARBITER}0000000000000001{}010101", "22".repeat(32))));
    assert_eq!(encoding.len(), 2 * 257);
    let label = String::from_utf8(scene.read("label.toml")).unwrap();
    for (text, reason) in [
        (format!("{label}price = 5\n"), "label.toml: there is no field `price` in a label"),
        (label.replace("\nitem = ", "\n# item = "), "label.toml: the field `item` is missing"),
        (label.replace("epoch = 1", "epoch = one"), "label.toml: line 8: "),
    ] {
        scene.write("label.toml", text.as_bytes());
        for arguments in [vec!["label", "label.toml"], scene.make()] {
            let said = scene.refused(2, &arguments);
            assert!(said.contains(reason) && said.contains("fairx escrow label --example"), "{said}");
        }
    }
}

/// Keys that cannot be in escrow, and files that are no keys, are named as such.
#[test]
fn other_keys_are_refused() {
    let scene = Scene::ed25519();
    let good = scene.read("signer.pub.pem");
    scene.shell(
        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 | openssl pkey -pubout -out ec.pem",
    );
    for (file, reason) in
        [("ec.pem", "no escrow, use --replacement"), ("signer.pem", "this is a private key")]
    {
        scene.write("signer.pub.pem", &scene.read(file));
        let said = scene.refused(2, &scene.make());
        assert!(said.contains("signer.pub.pem: ") && said.contains(reason), "{said}");
    }
    scene.write("signer.pub.pem", &good);
    let said = scene.refused(2, &[scene.make(), vec!["--algorithm", "rsa-pss-sha256"]].concat());
    assert!(said.contains("this is an Ed25519 key, it cannot do rsa-pss-sha256"), "{said}");
    let said = scene.refused(2, &[scene.make(), vec!["--algorithm", "md5"]].concat());
    assert!(said.contains("no such algorithm"), "{said}");
    let said = scene.refused(2, &["keygen", "--arbiter", "11", "--epoch", "1", "--out", "x"]);
    assert!(said.contains("64 hex digits"), "{said}");
}
