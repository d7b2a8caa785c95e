//! Numbers, texts and JSON values as bytes, and back. Nothing of this is ever written out, so whatever is read was put by the same
//! process: reading panics where that does not hold.
#![allow(clippy::missing_panics_doc, reason = "said above, of all of them")]

use jiff::{Timestamp, civil::Date};
use serde_json::{Map, Number, Value};

/// Bytes that were packed here are unpacked here, so they are never cut short or malformed.
pub(crate) const INTACT: &str = "**Invariant**: packed bytes are read as they were written";

/// Seven bits per byte, low ones first.
pub fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Small numbers of either sign stay short.
pub fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_number(out, (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned());
}

/// A text with its length in front.
pub fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text);
}

/// The last three of the 18 characters follow from the others.
pub fn put_id(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(&id.as_bytes()[..15]);
}

/// To the nanosecond.
pub fn put_timestamp(out: &mut Vec<u8>, at: Timestamp) {
    put_signed(out, at.as_second());
    put_signed(out, at.subsec_nanosecond().into());
}

/// A day.
pub fn put_date(out: &mut Vec<u8>, day: Date) {
    out.extend_from_slice(&day.year().to_le_bytes());
    out.extend([day.month().cast_unsigned(), day.day().cast_unsigned()]);
}

/// Any JSON value, numbers to the bit.
pub fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(0),
        Value::Bool(flag) => out.push(1 + u8::from(*flag)),
        Value::Number(number) => {
            if let Some(number) = number.as_u64() {
                out.push(3);
                put_number(out, number);
            } else if let Some(number) = number.as_i64() {
                out.push(4);
                put_signed(out, number);
            } else {
                out.push(5);
                out.extend(number.as_f64().unwrap_or_default().to_bits().to_le_bytes());
            }
        }
        Value::String(text) => {
            out.push(6);
            put_text(out, text.as_bytes());
        }
        Value::Array(items) => {
            out.push(7);
            put_number(out, items.len() as u64);
            items.iter().for_each(|item| put_value(out, item));
        }
        Value::Object(map) => {
            out.push(8);
            put_number(out, map.len() as u64);
            for (name, value) in map {
                put_text(out, name.as_bytes());
                put_value(out, value);
            }
        }
    }
}

/// Reads what was put, in the same order.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }
    /// So many bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        self.bytes(N).try_into().expect(INTACT)
    }
    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.bytes(1)[0]
    }
    /// Eight bytes.
    pub fn fixed(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }
    /// What [`put_number`] has put.
    pub fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return number;
            }
            shift += 7;
        }
    }
    /// A number of things that fit in memory.
    pub fn count(&mut self) -> usize {
        usize::try_from(self.number()).expect(INTACT)
    }
    /// What [`put_signed`] has put.
    pub fn signed(&mut self) -> i64 {
        let number = self.number();
        (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
    }
    /// What [`put_text`] has put.
    pub fn text(&mut self) -> &'a [u8] {
        let length = self.count();
        self.bytes(length)
    }
    /// The first fifteen characters that [`put_id`] has put: all that the contract's ids need.
    pub fn short_id(&mut self) -> &'a str {
        text(self.bytes(15))
    }
    /// What [`put_timestamp`] has put.
    pub fn timestamp(&mut self) -> Timestamp {
        let (second, nanosecond) = (self.signed(), self.signed());
        moment(second, nanosecond)
    }
    /// What [`put_date`] has put.
    pub fn date(&mut self) -> Date {
        let year = i16::from_le_bytes(self.array());
        let [month, day] = self.array();
        Date::new(year, month.cast_signed(), day.cast_signed()).expect(INTACT)
    }
    /// What [`put_value`] has put.
    pub fn value(&mut self) -> Value {
        match self.byte() {
            0 => Value::Null,
            1 => Value::Bool(false),
            2 => Value::Bool(true),
            3 => Value::from(self.number()),
            4 => Value::from(self.signed()),
            5 => {
                let number = f64::from_bits(self.fixed());
                Number::from_f64(number).map_or(Value::Null, Value::Number)
            }
            6 => Value::String(owned(self.text())),
            7 => {
                let count = self.count();
                Value::Array((0..count).map(|_| self.value()).collect())
            }
            _ => {
                let count = self.count();
                let members = (0..count).map(|_| (owned(self.text()), self.value()));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }
}

/// The moment of [`Timestamp::as_second`] and [`Timestamp::subsec_nanosecond`].
#[must_use]
pub fn moment(second: i64, nanosecond: i64) -> Timestamp {
    let nanosecond = i32::try_from(nanosecond).expect(INTACT);
    Timestamp::new(second, nanosecond).expect(INTACT)
}

/// Text that was text when it was put.
#[must_use]
pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect(INTACT)
}

/// The same, copied.
#[must_use]
pub fn owned(bytes: &[u8]) -> String {
    text(bytes).to_owned()
}
