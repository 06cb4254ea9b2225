//! Mutations that keep the shape of protobuf: one field, at any depth, is changed, dropped, repeated or moved, and the
//! lengths around it are right again. So the checks behind the decoder are reached.

use libfuzzer_sys::fuzzer_mutate;

/// The targets whose input is a protobuf message.
pub fn is_protobuf(name: &str) -> bool {
    const NAMES: [&str; 21] = [
        "acceptance",
        "account-order",
        "account-query",
        "account-statement",
        "answer",
        "attestation",
        "case",
        "envelope",
        "escrow-epoch",
        "journal-exchange",
        "journal-misbehaviour",
        "offer",
        "offer-shown",
        "payment-order",
        "payment-receipt",
        "peer-message",
        "receipt",
        "request",
        "succession",
        "transfer",
        "verdict",
    ];
    NAMES.contains(&name)
}

/// Changes the message in `data[..size]`; returns its new size.
pub fn protobuf(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random(u64::from(seed) << 1 | 1);
    let changed = data.get(..size).and_then(|message| change(message, &mut random, max_size, 0));
    match changed {
        Some(new) if new.len() <= max_size && new.len() <= data.len() => {
            if let Some(place) = data.get_mut(..new.len()) {
                place.copy_from_slice(&new);
            }
            new.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
}

/// A field: its number, and a number or bytes.
#[derive(Clone)]
struct Field {
    number: u64,
    value: Value,
}

#[derive(Clone)]
enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

fn change(message: &[u8], random: &mut Random, room: usize, depth: u32) -> Option<Vec<u8>> {
    let mut fields = parse(message)?;
    if fields.is_empty() {
        return None;
    }
    let at = random.below(fields.len());
    match random.below(16) {
        0 => drop(fields.remove(at)),
        1 => {
            let copy = fields.get(at)?.clone();
            fields.insert(at, copy);
        }
        2 => {
            let other = random.below(fields.len());
            fields.swap(at, other);
        }
        3 => fields.get_mut(at)?.number = 1 + u64::try_from(random.below(16)).ok()?,
        _ => match &mut fields.get_mut(at)?.value {
            Value::Number(number) => {
                let near = [
                    0,
                    1,
                    2,
                    3,
                    4,
                    number.wrapping_add(1),
                    number.wrapping_sub(1),
                    *number ^ 1 << random.below(63),
                ];
                *number = near[random.below(near.len())];
            }
            Value::Bytes(bytes) => {
                let inside =
                    (depth < 6 && random.below(8) != 0).then(|| change(bytes, random, room, depth + 1));
                *bytes = inside.flatten().unwrap_or_else(|| {
                    let mut copy = bytes.clone();
                    let most = (bytes.len() + 64).min(room);
                    copy.resize(most.max(bytes.len()), 0);
                    let size = fuzzer_mutate(&mut copy, bytes.len(), most.max(bytes.len()));
                    copy.truncate(size);
                    copy
                });
            }
        },
    }
    Some(write(&fields))
}

fn parse(mut rest: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut rest)?),
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let (bytes, after) = rest.split_at_checked(length)?;
                rest = after;
                Value::Bytes(bytes.to_vec())
            }
            _ => return None,
        };
        fields.push(Field { number: key >> 3, value });
    }
    Some(fields)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn write(fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields {
        let mut number = |mut value: u64| {
            while value > 0x7f {
                out.push(value as u8 | 0x80);
                value >>= 7;
            }
            out.push(value as u8);
        };
        match &field.value {
            Value::Number(value) => {
                number(field.number << 3);
                number(*value);
            }
            Value::Bytes(bytes) => {
                number(field.number << 3 | 2);
                number(bytes.len() as u64);
                out.extend(bytes);
            }
        }
    }
    out
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}
