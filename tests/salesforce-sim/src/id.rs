//! Record ids: the 15-character case-sensitive form, its 18-character form, and a source of new ids.
//!
//! Algorithm and prefixes: REST API guide, "Record ids"; the check characters make ids safe in case-insensitive stores.
//! Leaves out which ids exist: that is the tables' business.

use std::sync::Arc;

const CHECKSUM: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The 18-character form of an id given in 15 or 18 characters, or `None` when it is no id at all.
///
/// An 18-character id with wrong check characters is refused, as Salesforce refuses it.
pub fn normalize(id: &str) -> Option<String> {
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    match id.len() {
        15 => Some(with_checksum(id)),
        18 => (with_checksum(&id[..15]) == id).then(|| id.to_owned()),
        _ => None,
    }
}

/// The 15-character form, as reports, formulas and page addresses show it.
pub fn short(id: &str) -> &str {
    id.get(..15).unwrap_or(id)
}

fn with_checksum(id15: &str) -> String {
    let mut full = String::with_capacity(18);
    full.push_str(id15);
    for chunk in id15.as_bytes().chunks(5) {
        let index = chunk.iter().enumerate().fold(0usize, |bits, (place, byte)| {
            bits | (usize::from(byte.is_ascii_uppercase()) << place)
        });
        full.push(char::from(CHECKSUM[index]));
    }
    full
}

/// Hands out ids of one org in rising order. Neighbours often differ only in case, as real ones do.
#[derive(Debug, Clone)]
pub(crate) struct IdSource {
    /// Five characters after the prefix that tell orgs apart, for example `5f000`.
    instance: String,
    next: u64,
}

impl IdSource {
    pub(crate) fn new(instance: &str) -> Self {
        Self {
            instance: instance.to_owned(),
            next: 1,
        }
    }

    pub(crate) fn next(&mut self, prefix: &str) -> Arc<str> {
        let mut digits = [b'0'; 7];
        let mut rest = self.next;
        self.next += 1;
        for slot in digits.iter_mut().rev() {
            *slot = DIGITS[usize::try_from(rest % 62).expect("a remainder of 62 fits")];
            rest /= 62;
        }
        let tail = std::str::from_utf8(&digits).expect("digits are ASCII");
        with_checksum(&format!("{prefix}{}{tail}", self.instance)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_characters_match_the_published_vectors() {
        for (short_id, tail) in [
            ("005ZL000000M0x1", "YAC"),
            ("0055f000005mc66", "AAA"),
            ("0055f00000GBZR4", "AAP"),
            ("005AbCdEfGhIjKl", "IVK"),
            ("a01M00000062mPg", "IAI"),
            ("001A000010khO8J", "IAU"),
            ("005XYZABCDEFGHI", "Y55"),
            ("005000000000000", "AAA"),
        ] {
            assert_eq!(
                normalize(short_id).as_deref(),
                Some(format!("{short_id}{tail}").as_str())
            );
        }
    }

    #[test]
    fn wrong_check_characters_and_wrong_lengths_are_no_id() {
        assert_eq!(normalize("005ZL000000M0x1AAA"), None);
        assert_eq!(normalize("005"), None);
        assert_eq!(normalize("005ZL000000M0x!"), None);
    }

    #[test]
    fn new_ids_rise_and_are_valid() {
        let mut source = IdSource::new("5f000");
        let ids: Vec<_> = (0..200).map(|_| source.next("005")).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(ids.iter().all(|id| normalize(id).as_deref() == Some(id)));
    }
}
