//! Fingerprints: the hash that is signed, short enough to compare by eye or over the telephone.
//!
//! ```text
//!   32-byte id   9f2c 41d0 7be3 0a55 · amber-comet-iris-...-tulip
//!   bytes        0 1  2 3  4 5  6 7    8     9     10      15
//! ```
//!
//! The hex groups show the first 64 bits, the words the next 64: who compares both compares 128 bits, who
//! compares one compares 64. To find another offer with the same 64 bits takes about 2^64 attempts, with the
//! same 128 bits 2^128. The whole id is always printed beside it, and it is the id, never the fingerprint,
//! that statements and verdicts are bound to.

use std::fmt;

/// Shows 16 bytes of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of an id: an exchange id, or the hash of an arbiter's identity.
    pub const fn of(id: &[u8; 32]) -> Self {
        Self(*id)
    }

    /// The first 64 bits as four groups of four hex digits.
    pub fn groups(&self) -> String {
        let groups: Vec<_> = self.0.chunks(2).take(4).map(hex::encode).collect();
        groups.join(" ")
    }

    /// The next 64 bits as eight words, 8 bits a word.
    pub fn words(&self) -> [&'static str; 8] {
        let mut words = [""; 8];
        for (word, byte) in words.iter_mut().zip(self.0.iter().skip(8)) {
            // The list has exactly one word for each value of a byte.
            *word = WORDS.get(usize::from(*byte)).copied().unwrap_or_default();
        }
        words
    }

    /// The first word: what a person types to approve.
    pub fn first_word(&self) -> &'static str {
        self.words().first().copied().unwrap_or_default()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} · {}", self.groups(), self.words().join("-"))
    }
}

/// One word for each value of a byte, sorted; no two share their first three letters.
#[rustfmt::skip]
const WORDS: [&str; 256] = [
    "acorn", "actor", "adobe", "album", "alder", "almond", "alpha", "amber", "anchor", "angle", "anvil",
    "apple", "apron", "arbor", "arch", "arrow", "artist", "aspen", "atlas", "autumn", "axle", "bacon",
    "badge", "bagel", "bamboo", "banjo", "barn", "basil", "beach", "berry", "bicycle", "birch", "bishop",
    "blanket", "board", "bonnet", "book", "border", "boulder", "bowl", "branch", "bread", "brick", "brush",
    "bucket", "buffalo", "bugle", "butter", "cactus", "camel", "canal", "captain", "carbon", "cedar",
    "cellar", "chair", "cherry", "cider", "cinema", "circle", "citrus", "clay", "clock", "cobalt",
    "coconut", "coffee", "comet", "coral", "cotton", "crane", "crystal", "cup", "cypress", "dagger",
    "daisy", "dancer", "denim", "desert", "diamond", "dinner", "doctor", "donkey", "door", "dragon",
    "drum", "eagle", "easel", "echo", "elbow", "elm", "ember", "engine", "falcon", "farmer", "feather",
    "fern", "fiddle", "field", "finch", "flag", "forest", "fossil", "fox", "friend", "frost", "garden",
    "gate", "geyser", "ginger", "giraffe", "glove", "goat", "gold", "gondola", "guitar", "hammer",
    "harbor", "hazel", "helmet", "hill", "honey", "horizon", "hotel", "husky", "indigo", "insect", "iris",
    "iron", "ivory", "jacket", "jaguar", "jasmine", "jewel", "jungle", "kayak", "kettle", "kitchen",
    "koala", "lagoon", "lamp", "lantern", "laurel", "lava", "leopard", "letter", "lilac", "lime", "lion",
    "lizard", "lobster", "locket", "lotus", "mango", "maple", "marble", "meadow", "melon", "mirror",
    "monk", "moon", "mosaic", "museum", "needle", "nickel", "north", "nurse", "ocean", "olive", "onion",
    "opal", "orange", "orchid", "otter", "oval", "owl", "oxygen", "paddle", "palace", "panda", "paper",
    "parrot", "pebble", "pelican", "pencil", "pepper", "piano", "pigeon", "pillow", "pine", "pirate",
    "plum", "pocket", "poet", "pony", "poplar", "prism", "puzzle", "pyramid", "quartz", "quill", "radar",
    "rain", "raven", "ribbon", "robin", "rocket", "rose", "ruby", "saddle", "salmon", "sandal", "satin",
    "school", "scissor", "shell", "silver", "siren", "sketch", "slate", "sofa", "spider", "spoon",
    "square", "stone", "sugar", "summer", "sunset", "swan", "tango", "teapot", "temple", "thunder",
    "tiger", "tomato", "topaz", "tower", "train", "tulip", "turtle", "uncle", "urban", "valley", "velvet",
    "violin", "vulture", "wagon", "walnut", "whale", "wheat", "willow", "window", "wizard", "yacht",
    "yellow", "zebra", "zenith",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn words_are_sorted_lower_case_and_differ_in_their_first_three_letters() {
        assert!(WORDS.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(WORDS.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase())));
        let starts: BTreeSet<_> = WORDS.iter().map(|word| &word[..3]).collect();
        assert_eq!(starts.len(), 256);
    }

    #[test]
    fn every_one_of_the_first_128_bits_changes_the_fingerprint() {
        let base = Fingerprint::of(&[0x5a; 32]).to_string();
        for bit in 0..256 {
            let mut id = [0x5a; 32];
            id[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Fingerprint::of(&id).to_string() != base, bit < 128, "bit {bit}");
        }
    }

    #[test]
    fn it_prints_groups_then_words() {
        let id: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        let text = Fingerprint::of(&id).to_string();
        assert!(text.starts_with("0001 0203 0405 0607 · "), "{text}");
        assert_eq!(Fingerprint::of(&id).first_word(), WORDS[8]);
    }
}
