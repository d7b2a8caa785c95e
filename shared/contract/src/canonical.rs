//! Canonical JSON and the hash of a state.
//!
//! Two equal states must hash equal whatever produced them: keys are sorted, no white space, `null` and absent stay
//! different because known and unknown are. Numbers keep serde_json's shortest form, which is stable.

use std::fmt;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The canonical text of a value: object keys in ascending order of their bytes, no white space.
///
/// # Errors
/// When the value cannot be expressed as JSON (a map with keys that are no strings).
pub fn canonical_json<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    let mut value = serde_json::to_value(value)?;
    value.sort_all_objects();
    serde_json::to_string(&value)
}

/// Longer texts are copied to be hashed.
const SHORT: usize = 126;

/// The first 128 bits of SHA-256 over the canonical text, as 32 hexadecimal digits.
///
/// Half of SHA-256 is kept because links store several of them per person and target; collisions would need about
/// 2^64 states.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateHash([u8; 16]);

impl StateHash {
    /// The hash of a value's canonical text.
    ///
    /// # Errors
    /// As [`canonical_json`].
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        canonical_json(value).map(|text| Self::of_text(&text))
    }
    /// The hash of a JSON value.
    #[must_use]
    pub fn of_value(value: &Value) -> Self {
        match value {
            // Only objects have an order to bring about, and most values are texts: several per person and decision.
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::of_text(&value.to_string()),
            Value::String(text) => Self::of_string(text),
            Value::Array(_) | Value::Object(_) => {
                let mut value = value.clone();
                value.sort_all_objects();
                Self::of_text(&value.to_string())
            }
        }
    }
    /// The hash of a text as a JSON value: of the text in quotes.
    #[must_use]
    pub fn of_string(text: &str) -> Self {
        // What JSON escapes: nothing else is another text in quotes (RFC 8259 section 7; as serde_json writes it).
        let plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
        if text.as_bytes().iter().all(plain) {
            return match text.len() {
                // Nearly every value: in one piece.
                length @ ..=SHORT => {
                    let mut quoted = [b'"'; SHORT + 2];
                    quoted[1..=length].copy_from_slice(text.as_bytes());
                    Self::of_bytes(&quoted[..length + 2])
                }
                _ => Self::of_bytes(format!("\"{text}\"").as_bytes()),
            };
        }
        Self::of_text(&Value::String(text.to_owned()).to_string())
    }
    fn of_bytes(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        let mut hash = [0; 16];
        hash.copy_from_slice(&digest[..16]);
        Self(hash)
    }
    /// The hash as its bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }
    /// From [`StateHash::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
    /// The hash of a text that is canonical already.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        Self::of_bytes(text.as_bytes())
    }
}

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
impl fmt::Debug for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl std::str::FromStr for StateHash {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a state hash has 32 hexadecimal digits";
        // Not `from_str_radix`: a start reads a dozen of these per link, and it takes a sign.
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            b'A'..=b'F' => Ok(byte - b'A' + 10),
            _ => Err(WRONG),
        };
        let mut hash = [0; 16];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != hash.len() || !rest.is_empty() {
            return Err(WRONG);
        }
        for (slot, [high, low]) in hash.iter_mut().zip(pairs) {
            *slot = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Self(hash))
    }
}
impl Serialize for StateHash {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> serde::Deserialize<'de> for StateHash {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::id::from_text(d)
    }
}
impl schemars::JsonSchema for StateHash {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StateHash".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-f]{32}$" })
    }
    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn order_of_keys_and_white_space_do_not_count() {
        let one: Value = serde_json::from_str(r#"{"b":[1,{"y":null,"x":2}],"a":"é"}"#).unwrap();
        let two: Value = serde_json::from_str("{ \"a\":\"\\u00e9\", \"b\":[1,{\"x\":2,\"y\":null}] }").unwrap();
        assert_eq!(canonical_json(&one).unwrap(), r#"{"a":"é","b":[1,{"x":2,"y":null}]}"#);
        assert_eq!(StateHash::of_value(&one), StateHash::of_value(&two));
    }

    #[test]
    fn null_and_absent_differ() {
        assert_ne!(
            StateHash::of_value(&json!({"a": null})),
            StateHash::of_value(&json!({}))
        );
    }

    #[test]
    fn a_text_hashes_as_the_json_that_it_is() {
        for code in (0..0x300).chain([0x2028, 0xfeff, 0x1_f600]) {
            let text = format!("a{}b", char::from_u32(code).unwrap());
            let written = serde_json::to_string(&text).unwrap();
            assert_eq!(StateHash::of_string(&text), StateHash::of_text(&written), "{code:x}");
        }
        for length in [0, 1, SHORT - 1, SHORT, SHORT + 1, 1000] {
            let text = "a".repeat(length);
            assert_eq!(
                StateHash::of_string(&text),
                StateHash::of_text(&format!("\"{text}\"")),
                "{length}"
            );
        }
    }

    #[test]
    fn a_hash_is_read_back_and_never_changes() {
        let hash = StateHash::of_value(&json!({"a": 1}));
        // SHA-256 of {"a":1}; a change of the canonical form would make every link act again.
        assert_eq!(hash.to_string(), "015abd7f5cc57a2dd94b7590f04ad808");
        assert_eq!(hash.to_string().parse::<StateHash>().unwrap(), hash);
        assert_eq!(StateHash::from_bytes(hash.to_bytes()), hash);
        for wrong in [
            "xyz",
            "015abd7f5cc57a2dd94b7590f04ad80",
            "015abd7f5cc57a2dd94b7590f04ad8+8",
            "015abd7f5cc57a2dd94b7590f04ad8é",
        ] {
            assert!(wrong.parse::<StateHash>().is_err(), "{wrong}");
        }
    }
}
