//! Where every choice of a schedule comes from.
//!
//! ```text
//!  seed ──┐
//!  bytes ─┼─▶ Choices ── below(n) ─▶ a number below n
//!  path ──┘   the path of an odometer, which visits every path in turn
//! ```

use std::collections::VecDeque;

/// Who chooses.
#[derive(Clone, Debug)]
pub enum Choices {
    /// splitmix64: same seed, same numbers, everywhere.
    Seed(u64),
    /// What a fuzzer made up; zeros when it ends.
    Bytes(VecDeque<u8>),
    /// One path of an enumeration.
    Path(Odometer),
}

impl Choices {
    /// A number below `bound`, and 0 if there is none. Of bytes it takes no more than it needs.
    pub fn below(&mut self, bound: usize) -> usize {
        let number = match self {
            Self::Seed(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = *state;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                z ^ (z >> 31)
            }
            Self::Bytes(bytes) => {
                let size = if bound <= 1 << 8 { 1 } else { 3 };
                (0..size).fold(0, |number, _| number << 8 | u64::from(bytes.pop_front().unwrap_or(0)))
            }
            Self::Path(odometer) => return odometer.below(bound),
        };
        usize::try_from(number % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// Whether bytes are left; a seed never ends.
    pub fn has_more(&self) -> bool {
        !matches!(self, Self::Bytes(bytes) if bytes.is_empty())
    }
}

/// Visits every path through a tree of choices, depth first: the last wheel turns fastest.
#[derive(Clone, Debug, Default)]
pub struct Odometer {
    /// What was chosen, and of how many.
    wheels: Vec<(usize, usize)>,
    at: usize,
}

impl Odometer {
    fn below(&mut self, bound: usize) -> usize {
        if bound <= 1 {
            return 0; // No choice: no wheel.
        }
        if self.at == self.wheels.len() {
            self.wheels.push((0, bound));
        }
        let (chosen, known) = self.wheels[self.at];
        assert_eq!(known, bound, "the same choices before lead to the same choice now");
        self.at += 1;
        chosen
    }

    /// The same path from its beginning.
    pub fn again(mut self) -> Self {
        self.at = 0;
        self
    }

    /// The next path. `None` when every one was visited.
    pub fn next(mut self) -> Option<Self> {
        self.wheels.truncate(self.at);
        self.at = 0;
        while let Some((chosen, bound)) = self.wheels.pop() {
            if chosen + 1 < bound {
                self.wheels.push((chosen + 1, bound));
                return Some(self);
            }
        }
        None
    }
}
