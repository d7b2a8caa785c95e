//! Bitmap-encoded field lists of a change event header: `changedFields`, `nulledFields`, `diffFields`.
//!
//! Source: Salesforce Pub/Sub API guide, "Event Deserialization Considerations". `0x<HEX>` names fields of the top-level
//! record, `<P>-0x<HEX>` those of the compound field at index P. HEX is an unsigned big-endian number of any length,
//! so bytes are read one by one: with custom fields it exceeds 64 and 128 bits.

use thiserror::Error;

/// A bitmap that does not fit its schema: the event is treated like a gap.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BitmapError {
    /// Neither of the two forms.
    #[error("bitmap {0:?} has neither the form 0x<HEX> nor <N>-0x<HEX>")]
    Form(String),
    /// A bit that no field of the schema has.
    #[error("bitmap names field {0} and the schema has only {1}")]
    Range(usize, usize),
}

/// One list entry: the compound field's index, when nested, and the indexes of the set bits in ascending order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitmap {
    /// Index of the compound field in the top-level record; `None` for the top level itself.
    pub parent: Option<usize>,
    /// Indexes of the set bits.
    pub bits: Vec<usize>,
}

/// Reads one list entry.
///
/// # Errors
/// [`BitmapError::Form`].
pub fn parse(text: &str) -> Result<Bitmap, BitmapError> {
    let wrong = || BitmapError::Form(text.to_owned());
    let (parent, hex) = match text.split_once('-') {
        Some((parent, hex)) => (Some(parent.parse().map_err(|_| wrong())?), hex),
        None => (None, text),
    };
    let digits = hex
        .strip_prefix("0x")
        .filter(|digits| !digits.is_empty())
        .ok_or_else(wrong)?;
    let mut bits = Vec::new();
    for (nibble, digit) in digits.chars().rev().enumerate() {
        let value = digit.to_digit(16).ok_or_else(wrong)?;
        bits.extend((0..4).filter(|bit| value & (1 << bit) != 0).map(|bit| nibble * 4 + bit));
    }
    Ok(Bitmap { parent, bits })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(text: &str) -> Vec<usize> {
        parse(text).unwrap().bits
    }

    #[test]
    fn the_examples_of_the_guide() {
        assert_eq!(bits("0x400800"), [11, 22]);
        assert_eq!(bits("0x010000"), [16]);
        assert_eq!(
            parse("4-0x01").unwrap(),
            Bitmap {
                parent: Some(4),
                bits: vec![0]
            }
        );
        assert_eq!(bits("0x010000200020"), [5, 21, 40]);
        assert_eq!(bits("0x030000000102"), [1, 8, 40, 41]);
        assert_eq!(bits("0x1000010000000000"), [40, 60]);
        assert_eq!(
            parse("2-0x04").unwrap(),
            Bitmap {
                parent: Some(2),
                bits: vec![2]
            }
        );
    }

    #[test]
    fn what_is_no_bitmap_is_refused() {
        for wrong in ["", "0x", "12", "x-0x01", "0xZZ", "1-2-0x01"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_length_is_read_back(mut fields in prop::collection::btree_set(0_usize..300, 0..40)) {
            fields.insert(0);
            let last = *fields.iter().max().unwrap();
            let nibbles: String = (0..=last / 4)
                .rev()
                .map(|nibble| {
                    let value = (0..4).filter(|bit| fields.contains(&(nibble * 4 + bit))).fold(0, |v, bit| v | 1 << bit);
                    char::from_digit(value, 16).unwrap().to_ascii_uppercase()
                })
                .collect();
            prop_assert_eq!(bits(&format!("0x{nibbles}")), fields.into_iter().collect::<Vec<_>>());
        }
    }
}
