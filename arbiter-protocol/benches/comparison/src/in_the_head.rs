//! `verifiable_encryption` of docknetwork: DKG-in-the-head of one witness.

use ark_ec::{AffineRepr, CurveGroup as _};
use ark_serialize::CanonicalSerialize as _;
use ark_std::UniformRand as _;
use ark_std::rand::SeedableRng as _;
use ark_std::rand::rngs::StdRng;
use blake2::Blake2b512;
use dock_crypto_utils::elgamal::{BatchedHashedElgamalCiphertext, keygen};
use dock_crypto_utils::transcript::{Transcript, new_merlin_transcript};
use sha3::Shake256;
use verifiable_encryption::tz_21::dkgith::DkgithProof;
use verifiable_encryption::tz_21::rdkgith::RdkgithProof;

use super::{Figures, Scheme, timed};

const BLS: &str = "BLS12-381 G1";
const EDWARDS: &str = "edwards25519";

/// A witness with its statement, and the arbiter's keys.
struct World<G: AffineRepr> {
    rng: StdRng,
    generator: G,
    secret: G::ScalarField,
    key: G,
    witness: G::ScalarField,
    base: [G; 1],
    statement: G,
}

impl<G: AffineRepr> World<G> {
    fn new() -> Self {
        let mut rng = StdRng::seed_from_u64(7);
        let generator = G::generator();
        let (secret, key) = keygen::<_, G>(&mut rng, &generator);
        let witness = G::ScalarField::rand(&mut rng);
        let base = [G::generator()];
        let statement = (base[0] * witness).into_affine();
        Self { rng, generator, secret: secret.0, key: key.0, witness, base, statement }
    }

    fn transcript(&self) -> impl Transcript + use<G> {
        let mut transcript = new_merlin_transcript(b"comparison");
        transcript.append(b"comm_key", &self.base[0]);
        transcript.append(b"enc_key", &self.key);
        transcript.append(b"enc_gen", &self.generator);
        transcript.append(b"commitment", &self.statement);
        transcript
    }
}

pub fn all() -> Vec<Scheme> {
    type Bls = ark_bls12_381::G1Affine;
    type Edwards = ark_ed25519::EdwardsAffine;
    vec![
        plain::<Bls, 16, 32, 30>(BLS, "16x32"),
        plain::<Bls, 4, 64, 48>(BLS, "4x64"),
        robust::<Bls, 132, 64, 68>(BLS, "132/64"),
        plain::<Edwards, 16, 32, 30>(EDWARDS, "16x32"),
        plain::<Edwards, 4, 64, 48>(EDWARDS, "4x64"),
        robust::<Edwards, 132, 64, 68>(EDWARDS, "132/64"),
    ]
}

/// `SUBSET` ciphertexts go to the arbiter, as many as in the paper.
fn plain<G: AffineRepr, const PARTIES: usize, const TIMES: usize, const SUBSET: usize>(
    group: &'static str,
    parameters: &'static str,
) -> Scheme {
    let mut it = World::<G>::new();
    let run = move || {
        type Proof<G, const PARTIES: usize, const TIMES: usize> =
            DkgithProof<G, BatchedHashedElgamalCiphertext<G>, PARTIES, TIMES>;
        let (mut made, mut checked) = (it.transcript(), it.transcript());
        let (proof, prove) = timed(|| {
            Proof::<G, PARTIES, TIMES>::new::<_, Blake2b512, Shake256>(
                &mut it.rng,
                vec![it.witness],
                &it.base,
                &it.key,
                &it.generator,
                &mut made,
            )
            .expect("a proof")
        });
        let ((), verify) = timed(|| {
            let result = proof.verify::<Blake2b512, Shake256>(
                &it.statement,
                &it.base,
                &it.key,
                &it.generator,
                &mut checked,
            );
            result.expect("a true proof");
        });
        let ciphertext = proof.compress::<SUBSET, Blake2b512, Shake256>().expect("a ciphertext");
        let (opened, open) = timed(|| {
            ciphertext.decrypt::<Blake2b512>(&it.secret, &it.statement, &it.base).expect("a witness")
        });
        assert_eq!(opened, [it.witness]);
        Figures { prove, verify, open, proof: proof.compressed_size(), to_open: ciphertext.compressed_size() }
    };
    Scheme { name: "DKGitH", group, parameters: parameters.into(), run: Box::new(run) }
}

fn robust<G: AffineRepr, const PARTIES: usize, const THRESHOLD: usize, const SUBSET: usize>(
    group: &'static str,
    parameters: &'static str,
) -> Scheme {
    let mut it = World::<G>::new();
    let run = move || {
        type Proof<G, const PARTIES: usize, const THRESHOLD: usize> =
            RdkgithProof<G, BatchedHashedElgamalCiphertext<G>, PARTIES, THRESHOLD>;
        let (mut made, mut checked) = (it.transcript(), it.transcript());
        let (proof, prove) = timed(|| {
            Proof::<G, PARTIES, THRESHOLD>::new::<_, Blake2b512>(
                &mut it.rng,
                vec![it.witness],
                &it.base,
                &it.key,
                &it.generator,
                &mut made,
            )
            .expect("a proof")
        });
        let ((), verify) = timed(|| {
            let result =
                proof.verify::<Blake2b512>(&it.statement, &it.base, &it.key, &it.generator, &mut checked);
            result.expect("a true proof");
        });
        let ciphertext = proof.compress::<SUBSET, Blake2b512>().expect("a ciphertext");
        let (opened, open) = timed(|| {
            ciphertext.decrypt::<Blake2b512>(&it.secret, &it.statement, &it.base).expect("a witness")
        });
        assert_eq!(opened, [it.witness]);
        Figures { prove, verify, open, proof: proof.compressed_size(), to_open: ciphertext.compressed_size() }
    };
    Scheme { name: "RDKGitH", group, parameters: parameters.into(), run: Box::new(run) }
}
