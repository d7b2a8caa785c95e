//! The bitmaps of `changedFields`, `nulledFields` and `diffFields` (Change Data Capture guide, "Change Event Header
//! Fields"): `0x<HEX>` for the top level, `<P>-0x<HEX>` for the children of the compound field at position P.
//!
//! Leaves out the decoder: consumers write their own, and the tests here do too, so that one mistake cannot hide in both.

use std::collections::{BTreeMap, BTreeSet};

/// A field's place in the schema: its own, or its parent's and its place inside the parent.
pub(crate) type Place = (usize, Option<usize>);

/// Encodes places as the array of strings of the header. No places give an empty array.
pub(crate) fn encode(places: impl IntoIterator<Item = Place>) -> Vec<String> {
    let mut top = BTreeSet::new();
    let mut nested: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (position, child) in places {
        match child {
            None => {
                top.insert(position);
            }
            Some(child) => {
                nested.entry(position).or_default().insert(child);
            }
        }
    }
    let mut strings = Vec::new();
    if !top.is_empty() {
        strings.push(hex(&top));
    }
    for (parent, children) in &nested {
        strings.push(format!("{parent}-{}", hex(children)));
    }
    strings
}

/// Big-endian, an even number of digits, any length: User passes 64 bits with a few custom fields.
fn hex(bits: &BTreeSet<usize>) -> String {
    let highest = bits.last().copied().unwrap_or(0);
    let mut bytes = vec![0u8; highest / 8 + 1];
    for bit in bits {
        bytes[bit / 8] |= 1 << (bit % 8);
    }
    let digits: String = bytes.iter().rev().map(|byte| format!("{byte:02X}")).collect();
    format!("0x{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(positions: &[usize]) -> Vec<String> {
        encode(positions.iter().map(|&position| (position, None)))
    }

    #[test]
    fn the_vendors_account_examples_come_out() {
        assert_eq!(top(&[11, 22]), ["0x400800"]);
        assert_eq!(encode([(22, None), (4, Some(0))]), ["0x400000", "4-0x01"]);
        assert_eq!(top(&[16]), ["0x010000"]);
        assert_eq!(top(&[16, 22]), ["0x410000"]);
    }

    #[test]
    fn the_worked_user_examples_come_out() {
        assert_eq!(top(&[5, 21, 40]), ["0x010000200020"]);
        assert_eq!(
            encode([(5, None), (21, None), (40, None), (2, Some(2))]),
            ["0x010000200020", "2-0x04"]
        );
        assert_eq!(top(&[5]), ["0x20"]);
        assert_eq!(top(&[6, 40]), ["0x010000000040"]);
        assert_eq!(top(&[8, 40]), ["0x010000000100"]);
        assert_eq!(top(&[35, 40]), ["0x010800000000"]);
        assert_eq!(top(&[1, 8, 40, 41]), ["0x030000000102"]);
        assert_eq!(top(&[60, 40]), ["0x1000010000000000"]);
    }

    #[test]
    fn nothing_changed_is_an_empty_array() {
        assert!(encode([]).is_empty());
    }

    #[test]
    fn more_than_64_bits_decode_to_the_same_places() {
        let places = [
            (0, None),
            (63, None),
            (64, None),
            (130, None),
            (7, Some(0)),
            (7, Some(8)),
        ];
        let mut decoded = BTreeSet::new();
        for entry in encode(places) {
            let (parent, digits) = match entry.split_once('-') {
                Some((parent, rest)) => (Some(parent.parse::<usize>().unwrap()), rest.to_owned()),
                None => (None, entry),
            };
            let digits = digits.strip_prefix("0x").unwrap();
            assert_eq!(digits.len() % 2, 0);
            for (index, digit) in digits.chars().rev().enumerate() {
                let nibble = digit.to_digit(16).unwrap();
                for bit in (0..4).filter(|bit| nibble >> bit & 1 == 1) {
                    let position = index * 4 + bit;
                    decoded.insert(parent.map_or((position, None), |parent| (parent, Some(position))));
                }
            }
        }
        assert_eq!(decoded, BTreeSet::from(places));
    }
}
