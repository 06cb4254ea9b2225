//! The content of a package: that of its leaves one after the other, each checked against its own description (R-320).
//!
//! ```text
//!  length, 8 bytes, big endian │ bytes of the first leaf │ length │ bytes of the second │ … │ nothing after the last
//! ```
//! One stream, so a package is sealed, deposited and fetched as one item is; bytes that fit no leaf end it.

use std::collections::VecDeque;

use crate::escrow::Escrow;
use crate::exchange::item::{Description, Item};
use crate::exchange::kind::Unfit;
use crate::exchange::kind::content::ContentCheck;
use crate::ids::PaymentId;
use crate::limits;
use crate::message::payment::PaymentTerms;

/// R-320: the content of a package whose leaves have these contents, which are at hand.
pub fn framed(parts: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let sizes = parts.iter().map(|part| part.as_ref().len().saturating_add(limits::FRAME_BYTES));
    // Reserved at once: growing would leave copies of secrets behind.
    let mut content = Vec::with_capacity(sizes.fold(0, usize::saturating_add));
    for part in parts.iter().map(AsRef::as_ref) {
        content.extend(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        content.extend_from_slice(part);
    }
    content
}

/// The content of an item whose leaves have these contents: of a lone item its own. Nothing of nothing.
pub fn joined(parts: &[impl AsRef<[u8]>]) -> Vec<u8> {
    if let [alone] = parts { alone.as_ref().to_vec() } else { framed(parts) }
}

/// Reads what [`joined`] writes of so many leaves.
pub fn split(content: &[u8], leaves: usize) -> Option<Vec<&[u8]>> {
    let parts = if leaves == 1 { vec![content] } else { parts(content)? };
    (parts.len() == leaves).then_some(parts)
}

/// The contents of the leaves in the content of a package. `None` if it is cut off.
pub fn parts(mut content: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    while !content.is_empty() {
        let (length, rest) = content.split_first_chunk::<{ limits::FRAME_BYTES }>()?;
        let (part, rest) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
        parts.push(part);
        content = rest;
    }
    Some(parts)
}

/// Checks the content of a package as it arrives.
pub(super) struct PackageCheck {
    agreed: Vec<Item>,
    payments: Vec<PaymentId>,
    /// Of the leaves that are not whole yet.
    parts: VecDeque<ContentCheck>,
    /// The length of the next leaf, as far as it is here.
    length: Vec<u8>,
    /// What is still to come of the first of `parts`.
    left: u64,
    place: usize,
    found: u64,
    size: u64,
}

impl PackageCheck {
    /// `None` if nothing follows the transfer of such a package.
    /// `paid` are the terms of its payments, `escrows` those of its signatures, in the order of the leaves.
    pub(super) fn new(agreed: Vec<Item>, paid: Vec<PaymentTerms>, escrows: &[Escrow]) -> Option<Self> {
        let payments = paid.iter().map(PaymentTerms::id).collect();
        let (mut paid, mut escrows) = (paid.into_iter(), escrows.iter());
        let part = |leaf: &Item| match &leaf.description {
            Description::DetachedSignature(it) => {
                Some(ContentCheck::signature(it.clone(), escrows.next().cloned()))
            }
            Description::Information(it) => Some(ContentCheck::file(it.clone())),
            Description::Payment(it) => {
                paid.next().filter(|terms| terms.payment == *it).map(ContentCheck::payment)
            }
            _ => None,
        };
        let parts: VecDeque<_> = agreed.iter().flat_map(Item::leaves).map(part).collect::<Option<_>>()?;
        // Of receipts, which have no fixed size, the most that can come; of signatures less does.
        let receipts = parts.len().saturating_mul(limits::FRAME_BYTES.saturating_add(limits::ENVELOPE_BYTES));
        let size = Description::Package(agreed.clone()).content_bytes();
        let size = size.unwrap_or(u64::try_from(receipts).unwrap_or(u64::MAX));
        Some(Self { agreed, payments, parts, length: Vec::new(), left: 0, place: 0, found: 0, size })
    }

    pub(super) fn update(&mut self, mut more: &[u8]) -> Result<(), Unfit> {
        while !more.is_empty() {
            let Some(part) = self.parts.front_mut() else {
                let found = self.found.saturating_add(1);
                return Err(Unfit::Size { found, agreed: self.size });
            };
            let reading_length = self.length.len() < limits::FRAME_BYTES;
            let most = match reading_length {
                true => limits::FRAME_BYTES.saturating_sub(self.length.len()),
                false => usize::try_from(self.left).unwrap_or(usize::MAX),
            };
            let (now, later) = more.split_at(most.min(more.len()));
            let taken = u64::try_from(now.len()).unwrap_or(u64::MAX);
            (self.found, more) = (self.found.saturating_add(taken), later);
            if reading_length {
                self.length.extend_from_slice(now);
                if let Ok(length) = <[u8; limits::FRAME_BYTES]>::try_from(self.length.as_slice()) {
                    self.left = u64::from_be_bytes(length);
                }
            } else {
                part.update(now).map_err(|why| why.in_package(self.place))?;
                self.left = self.left.saturating_sub(taken);
            }
            if self.left == 0 && self.length.len() == limits::FRAME_BYTES {
                self.next()?;
            }
        }
        Ok(())
    }

    pub(super) const fn found(&self) -> u64 {
        self.found
    }

    pub(super) fn finish(self) -> Result<(Vec<Item>, Vec<PaymentId>), Unfit> {
        if self.parts.is_empty() {
            return Ok((self.agreed, self.payments));
        }
        Err(Unfit::Size { found: self.found, agreed: self.size }.in_package(self.place))
    }

    fn next(&mut self) -> Result<(), Unfit> {
        if let Some(part) = self.parts.pop_front() {
            part.finish().map_err(|why| why.in_package(self.place))?;
        }
        self.length.clear();
        self.place = self.place.saturating_add(1);
        Ok(())
    }
}
