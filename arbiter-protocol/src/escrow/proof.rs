//! The proof, for any homomorphism ψ and statement Y = ψ(w): cut and choose, made non-interactive.
//!
//! ```text
//!   prove    seeds from one root; r_i, e_i from seed i;  C_i = ψ(r_i)  E_i = e_i·G  K_i = e_i·P
//!            sealed_i = seed_i xor KDF(i, E_i, K_i);  challenge = H(all C, E, sealed) chooses the hidden set
//!            shown: the seeds that are not hidden; for the hidden ones z_i = r_i + w (or r_i · w), E_i, sealed_i
//!   check    shown seeds again; hidden ones C_i = ψ(z_i) - Y (or / Y); same challenge?
//!   open     K_i = d·E_i gives seed_i; does it give E_i again? then w = z_i - r_i (or / r_i)
//! ```
//!
//! Everything is bound to the *session*: a hash of label, suite, statement, arbiter key and salt, which goes into
//! every seed, every scalar, every pad and the challenge. Coins come from the seed that they encrypt
//! (Fujisaki-Okamoto), so a ciphertext that was changed, or moved to another label, does not open (K8, S27).

use curve25519_dalek::ristretto::{RistrettoBasepointTable, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use zeroize::{Zeroize as _, Zeroizing};

use super::encoding::Hidden;
use super::error::EscrowError;
use super::key::{EscrowKey, EscrowSecret, element};
use super::suite::Suite;
use super::transcript::{Hash, challenge, hidden_set};
use super::tree::{Seed, Tree, regrow};

/// Instances that one thread handles together: they share one field inversion per group.
const CHUNK: usize = 36;

/// A group homomorphism with a statement Y = ψ(w), and the signature that w completes.
pub(super) trait Homomorphism: Sync {
    /// An element of the domain, secret. It wipes itself.
    type Element: Send + Sync;
    /// What takes Y off an image.
    type Divisor: Sync;

    /// The encoding of Y.
    fn statement(&self) -> Vec<u8>;
    /// r: uniform in the domain, from a seed.
    fn mask(&self, session: &[u8; 32], index: u16, seed: &Seed) -> Self::Element;
    /// The encodings of ψ(r), in constant time.
    fn images(&self, masks: &[Self::Element]) -> Vec<Vec<u8>>;
    /// The encodings of z, from r and w.
    fn blind<'a>(
        &self,
        masks: impl Iterator<Item = &'a Self::Element>,
        witness: &Self::Element,
    ) -> Vec<Vec<u8>>
    where
        Self: 'a;
    /// The encoding of w, to draw randomness from it.
    fn encode(&self, witness: &Self::Element) -> Zeroizing<Vec<u8>>;
    /// Reads z, when it has the right length and is in its canonical range.
    fn response(&self, bytes: &[u8]) -> Option<Self::Element>;
    /// What takes Y off the images of these z, all of which must be invertible.
    fn divisor(&self, responses: &[Self::Element]) -> Result<Self::Divisor, EscrowError>;
    /// The encodings of ψ(z) with Y taken off. Nothing here is secret.
    fn hidden_images(&self, responses: &[Self::Element], divisor: &Self::Divisor) -> Vec<Vec<u8>>;
    /// w from z and r, when z is invertible, ψ(w) = Y, and the finished signature passes the strict check. The
    /// signature's bytes.
    fn finish(&self, response: &Self::Element, mask: &Self::Element) -> Option<Zeroizing<Vec<u8>>>;
}

/// What all instances of one escrow share.
pub(super) struct Session {
    pub(super) id: [u8; 32],
    pub(super) suite: Suite,
}

impl Session {
    pub(super) fn new(context: &[u8; 32], salt: &[u8; 32], suite: Suite) -> Self {
        Self { id: *Hash::new("session").part(context).part(salt).short(), suite }
    }

    /// e_i, the secret scalar of ciphertext i.
    pub(super) fn coins(&self, index: u16, seed: &Seed) -> Zeroizing<Scalar> {
        Hash::new("coins").part(&self.id).number(index.into()).part(&**seed).scalar()
    }

    /// sealed_i from seed_i, and back: exclusive or with the pad of E_i and K_i.
    pub(super) fn pad(&self, index: u16, point: &[u8; 32], shared: &[u8; 32], seed: &[u8; 16]) -> Seed {
        let mut pad =
            Hash::new("pad").part(&self.id).number(index.into()).part(point).part(shared).short::<16>();
        pad.iter_mut().zip(seed).for_each(|(to, from)| *to ^= from);
        pad
    }

    /// What the challenge sees of instance i.
    pub(super) fn digest(&self, index: u16, image: &[u8], point: &[u8; 32], sealed: &[u8; 16]) -> [u8; 64] {
        let hash = Hash::new("instance").part(&self.id).number(index.into());
        *hash.part(image).part(point).part(sealed).wide()
    }
}

/// An instance whose seed is known.
pub(super) struct Instance<E> {
    pub(super) index: u16,
    pub(super) mask: E,
    pub(super) point: [u8; 32],
    pub(super) sealed: [u8; 16],
    pub(super) digest: [u8; 64],
}

/// Makes instances from their seeds: the prover all of them, the verifier those that are shown.
pub(super) fn instances<H: Homomorphism>(
    map: &H,
    session: &Session,
    table: &RistrettoBasepointTable,
    seeds: &[(u16, Seed)],
) -> Vec<Instance<H::Element>> {
    in_chunks(seeds, |seeds| {
        let masks: Vec<H::Element> =
            seeds.iter().map(|(index, seed)| map.mask(&session.id, *index, seed)).collect();
        let images = map.images(&masks);
        // Half of e_i, since only the doubles of points can be encoded with one inversion for all.
        let halves = seeds.iter().map(|(index, seed)| Zeroizing::new(session.coins(*index, seed).div_by_2()));
        let mut points = Zeroizing::new(Vec::with_capacity(2 * seeds.len()));
        for half in halves {
            points.extend([RistrettoPoint::mul_base(&half), &*half * table]);
        }
        let mut encoded = RistrettoPoint::double_and_compress_batch(points.iter());
        let pairs = encoded.as_chunks::<2>().0;
        let made = seeds.iter().zip(masks).zip(images.iter().zip(pairs));
        let made = made.map(|(((index, seed), mask), (image, [point, shared]))| {
            let sealed = *session.pad(*index, point.as_bytes(), shared.as_bytes(), seed);
            let digest = session.digest(*index, image, point.as_bytes(), &sealed);
            Instance { index: *index, mask, point: point.to_bytes(), sealed, digest }
        });
        let made = made.collect();
        encoded.zeroize();
        made
    })
}

/// Makes the challenge, the cover nodes and the hidden instances.
pub(super) fn prove<H: Homomorphism>(
    map: &H,
    session: &Session,
    key: &EscrowKey,
    root: &Seed,
    witness: &H::Element,
) -> ([u8; 32], Vec<[u8; 16]>, Vec<Hidden>) {
    let tree = Tree::grow(&session.id, root, session.suite);
    let instances = instances(map, session, key.table(), &tree.leaves());
    let challenge = challenge(&session.id, instances.iter().map(|it| &it.digest));
    let chosen = hidden_set(&challenge, session.suite);
    let hidden = || instances.iter().filter(|it| chosen.binary_search(&it.index).is_ok());
    let responses = map.blind(hidden().map(|it| &it.mask), witness);
    let hidden = hidden().zip(responses);
    let hidden =
        hidden.map(|(it, response)| Hidden { response, point: it.point, sealed: it.sealed }).collect();
    (challenge, tree.cover(&chosen), hidden)
}

/// Checks the proof: cheap checks of form first, then the work.
pub(super) fn verify<H: Homomorphism>(
    map: &H,
    session: &Session,
    key: &EscrowKey,
    expected: &[u8; 32],
    nodes: &[[u8; 16]],
    hidden: &[Hidden],
) -> Result<(), EscrowError> {
    let read = |(position, it): (usize, &Hidden)| {
        map.response(&it.response).ok_or(EscrowError::Response { position })
    };
    let responses = hidden.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
    let divisor = map.divisor(&responses)?;
    let readable = in_chunks(hidden, |hidden| hidden.iter().map(|it| element(&it.point).is_some()).collect());
    if let Some(position) = readable.iter().position(|it| !it) {
        return Err(EscrowError::Ciphertext { position });
    }
    let chosen = hidden_set(expected, session.suite);
    let shown = regrow(&session.id, &chosen, nodes, session.suite);
    let mut digests: Vec<(u16, [u8; 64])> =
        instances(map, session, key.table(), &shown).iter().map(|it| (it.index, it.digest)).collect();
    let images = in_chunks(&responses, |responses| map.hidden_images(responses, &divisor));
    for ((index, it), image) in chosen.iter().zip(hidden).zip(images) {
        digests.push((*index, session.digest(*index, &image, &it.point, &it.sealed)));
    }
    digests.sort_unstable_by_key(|(index, _)| *index);
    let complete = digests.len() == usize::from(session.suite.total());
    let found = challenge(&session.id, digests.iter().map(|(_, digest)| digest));
    if complete && found == *expected { Ok(()) } else { Err(EscrowError::Challenge) }
}

/// Decrypts the first hidden instance that holds the signature. It does not check the proof.
pub(super) fn open<H: Homomorphism>(
    map: &H,
    session: &Session,
    secret: &EscrowSecret,
    challenge: &[u8; 32],
    hidden: &[Hidden],
) -> Option<Zeroizing<Vec<u8>>> {
    hidden_set(challenge, session.suite).into_iter().zip(hidden).find_map(|(index, it)| {
        let response = map.response(&it.response)?;
        let point = element(&it.point)?;
        let seed = session.pad(index, &it.point, &secret.agree(&point), &it.sealed);
        // The coins must come from the seed: without this test the arbiter's answers would help a forger. Points are
        // compared in constant time.
        if RistrettoPoint::mul_base(&session.coins(index, &seed)) != point {
            return None;
        }
        map.finish(&response, &map.mask(&session.id, index, &seed))
    })
}

/// Maps chunks of items in order, with feature `parallel` on all cores.
fn in_chunks<T: Sync, R: Send>(items: &[T], f: impl Fn(&[T]) -> Vec<R> + Send + Sync) -> Vec<R> {
    #[cfg(feature = "parallel")]
    {
        use rayon::prelude::*;
        items.par_chunks(CHUNK).flat_map_iter(f).collect()
    }
    #[cfg(not(feature = "parallel"))]
    items.chunks(CHUNK).flat_map(f).collect()
}
