//! DER (X.690), as much as time-stamps and public keys need: elements with definite, shortest lengths and one-byte tags.

/// What is left to read of a sequence of elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

/// One element: tag, content, and all of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) whole: &'a [u8],
}

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
/// The tag of a string of bits.
pub const BIT_STRING: u8 = 0x03;
pub(super) const OCTETS: u8 = 0x04;
/// The tag of nothing.
pub const NULL: u8 = 0x05;
/// The tag of an object identifier.
pub const OID: u8 = 0x06;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
/// The tag of a sequence.
pub const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// The tag `[number]` of a constructed element.
pub(super) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// The bytes are not the DER of what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The only element in `bytes`, of this tag: what is inside of it.
    pub(super) fn only(bytes: &'a [u8], tag: u8) -> Result<Self, Malformed> {
        let mut outer = Self(bytes);
        let inside = outer.enter(tag)?;
        outer.end()?;
        Ok(inside)
    }

    /// The next element, whatever its tag.
    pub(super) fn any(&mut self) -> Result<Element<'a>, Malformed> {
        let (&tag, rest) = self.0.split_first().ok_or(Malformed)?;
        let (&first, rest) = rest.split_first().ok_or(Malformed)?;
        // 31 would be a longer tag.
        if tag & 0x1f == 0x1f {
            return Err(Malformed);
        }
        let (length, rest) = match first {
            short @ 0..0x80 => (usize::from(short), rest),
            long => {
                let count = usize::from(long & 0x7f);
                let (bytes, rest) = rest.split_at_checked(count).ok_or(Malformed)?;
                // Two bytes are more than any token here has; the first is not zero, and less than 128 has the short form.
                let length = match bytes {
                    [length @ 0x80..=0xff] => usize::from(*length),
                    [high @ 1..=0xff, low] => usize::from(u16::from_be_bytes([*high, *low])),
                    _ => return Err(Malformed),
                };
                (length, rest)
            }
        };
        let (content, after) = rest.split_at_checked(length).ok_or(Malformed)?;
        let whole = self.0.get(..self.0.len().saturating_sub(after.len())).ok_or(Malformed)?;
        self.0 = after;
        Ok(Element { tag, content, whole })
    }

    /// The next element, which must have this tag.
    pub(super) fn take(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        self.optional(tag)?.ok_or(Malformed).map(|element| element.content)
    }

    /// What is inside of the next element, which must have this tag.
    pub(super) fn enter(&mut self, tag: u8) -> Result<Self, Malformed> {
        self.take(tag).map(Self)
    }

    /// The next element if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, Malformed> {
        if self.0.first() == Some(&tag) { self.any().map(Some) } else { Ok(None) }
    }

    /// A number that is not negative, in at most eight bytes.
    pub(super) fn number(&mut self, tag: u8) -> Result<u64, Malformed> {
        let bytes = match self.take(tag)? {
            [0, rest @ ..] if rest.first().is_none_or(|first| *first >= 0x80) => rest,
            bytes @ [1..=0x7f, ..] => bytes,
            _ => return Err(Malformed),
        };
        if bytes.len() > 8 {
            return Err(Malformed);
        }
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Whether there is nothing more.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Nothing may follow.
    pub(super) const fn end(&self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// One element: tag, length, content.
pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = significant(&length);
    let mut out = vec![tag];
    match length {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        _ => {
            // At most eight bytes of length: a usize has no more.
            out.push(0x80 | u8::try_from(length.len()).unwrap_or(0x7f));
            out.extend(length);
        }
    }
    out.extend(content);
    out
}

/// An INTEGER that is not negative, from its big-endian bytes.
pub fn integer(bytes: &[u8]) -> Vec<u8> {
    let bytes = significant(bytes);
    let sign: &[u8] = if bytes.first().is_none_or(|first| *first >= 0x80) { &[0] } else { &[] };
    element(INTEGER, &[sign, bytes].concat())
}

fn significant(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_has_one_form() {
        let read = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes);
            reader.any().map(|it| (it.tag, it.content.len(), it.whole.len()))
        };
        assert_eq!(read(&[4, 1, 9]), Ok((4, 1, 3)));
        assert_eq!(read(&[&[4, 0x81, 0x80][..], &[0; 128]].concat()), Ok((4, 128, 131)));
        assert_eq!(read(&[&[4, 0x82, 1, 0][..], &[0; 256]].concat()), Ok((4, 256, 260)));
        let bad: [&[u8]; 8] = [
            &[],
            &[4],
            &[4, 1],
            &[4, 0x80, 0, 0],
            &[4, 0x81, 1, 9],
            &[4, 0x82, 0, 1, 9],
            &[0x1f, 1, 9],
            &[4, 0x83, 0, 0, 1, 9],
        ];
        for bytes in bad {
            assert_eq!(read(bytes), Err(Malformed), "{bytes:?}");
        }
        let number = |bytes: &[u8]| Reader::new(bytes).number(INTEGER);
        assert_eq!(
            (number(&[2, 1, 0]), number(&[2, 1, 127]), number(&[2, 2, 0, 128])),
            (Ok(0), Ok(127), Ok(128))
        );
        for bytes in
            [&[2, 0][..], &[2, 1, 128], &[2, 2, 0, 1], &[2, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0], &[4, 1, 0]]
        {
            assert_eq!(number(bytes), Err(Malformed), "{bytes:?}");
        }
    }
}
