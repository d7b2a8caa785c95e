//! Identifiers: Salesforce record ids in their 18-character form, the key of a user, the name of a target.
//!
//! A 15-character id is case-sensitive; the 18-character form appends three characters that encode the case of
//! the first fifteen, so that it survives case-insensitive stores. Everything inside Usher uses 18 characters and
//! compares them exactly (source: Salesforce "Record ID" documentation; check vectors in the tests).

use std::{borrow::Cow, fmt, marker::PhantomData, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};
use thiserror::Error;

/// Why a text is not an identifier. The text itself is not repeated: it may be personal.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// Neither 15 nor 18 characters.
    #[error("a Salesforce id has 15 or 18 characters, this has {0}")]
    Length(usize),
    /// A character other than `0-9 A-Z a-z`.
    #[error("a Salesforce id consists of letters and digits only")]
    Character,
    /// The last three characters do not agree with the first fifteen.
    #[error("the check characters of the 18-character id do not agree with its first 15")]
    Checksum,
    /// Another kind of record.
    #[error("this id must start with {expected}, it starts with {found}")]
    Prefix {
        /// The three characters that this kind of record has.
        expected: &'static str,
        /// What was found.
        found: String,
    },
    /// `<orgId>:<userId>` was expected.
    #[error("a user key has the form <orgId>:<userId>")]
    Key,
    /// A target name that is not usable in topics, metrics and file names.
    #[error("a target name has 1 to 63 characters of a-z, 0-9 and '-', and starts and ends with a letter or digit")]
    TargetName,
}

/// A Salesforce record id of any kind, always 18 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId([u8; 18]);

impl RecordId {
    /// Takes the 15- or the 18-character form.
    ///
    /// # Errors
    /// [`IdError`] when length, characters or checksum are wrong.
    pub fn try_new(text: &str) -> Result<Self, IdError> {
        let bytes = text.as_bytes();
        if bytes.len() != 15 && bytes.len() != 18 {
            return Err(IdError::Length(text.chars().count()));
        }
        if !bytes.iter().all(u8::is_ascii_alphanumeric) {
            return Err(IdError::Character);
        }
        let mut id = [0_u8; 18];
        id[..15].copy_from_slice(&bytes[..15]);
        let check = checksum(&id[..15]);
        id[15..].copy_from_slice(&check);
        // Stores that fold case damage the first 15; the checksum tells. The checksum itself may be folded.
        if bytes.len() == 18 && !bytes[15..].eq_ignore_ascii_case(&check) {
            return Err(IdError::Checksum);
        }
        Ok(Self(id))
    }

    /// The 18 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // **Invariant**: only ASCII letters and digits are ever stored.
        std::str::from_utf8(&self.0).unwrap_or("")
    }

    /// The three characters that tell the kind of record (`005` user, `00D` organization, ...).
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.as_str()[..3]
    }
}

/// Per chunk of five characters, bit i is set when character i is an upper-case letter; the number picks a character.
fn checksum(first15: &[u8]) -> [u8; 3] {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    let mut check = [0; 3];
    for (chunk, slot) in first15.chunks(5).zip(check.iter_mut()) {
        let bits = chunk.iter().enumerate().fold(0_usize, |bits, (i, c)| {
            bits | (usize::from(c.is_ascii_uppercase()) << i)
        });
        *slot = ALPHABET[bits];
    }
    check
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// From a text, wherever it stands: one in the middle of a message is not copied first.
pub(crate) fn from_text<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(d: D) -> Result<T, D::Error> {
    struct Lent<T>(PhantomData<T>);
    impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Lent<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }
    d.deserialize_str(Lent(PhantomData))
}

/// Text-shaped types share their serde and schema code.
macro_rules! text_type {
    ($name:ident, $schema:literal, $pattern:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                from_text(d)
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                $schema.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
            fn inline_schema() -> bool {
                true
            }
        }
    };
}

macro_rules! record_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(RecordId);

        impl $name {
            /// Takes the 15- or the 18-character form.
            ///
            /// # Errors
            /// [`IdError`] when it is no id, or the id of another kind of record.
            pub fn try_new(text: &str) -> Result<Self, IdError> {
                let id = RecordId::try_new(text)?;
                if id.prefix() != $prefix {
                    return Err(IdError::Prefix { expected: $prefix, found: id.prefix().to_owned() });
                }
                Ok(Self(id))
            }
            /// The 18 characters.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::try_new(text)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        text_type!($name, $prefix, $pattern);
    };
}

record_id!(
    /// The id of a Salesforce organization.
    OrgId, "00D", "^00D[0-9A-Za-z]{15}$"
);
record_id!(
    /// The id of a Salesforce user.
    UserId, "005", "^005[0-9A-Za-z]{15}$"
);

impl FromStr for RecordId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::try_new(text)
    }
}
text_type!(RecordId, "RecordId", "^[0-9A-Za-z]{18}$");

/// Who, across organizations: sandbox copies share record ids with production, so the org belongs to the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserKey {
    /// The organization.
    pub org: OrgId,
    /// The user within it.
    pub user: UserId,
}

impl UserKey {
    /// Joins the two.
    #[must_use]
    pub fn new(org: OrgId, user: UserId) -> Self {
        Self { org, user }
    }
}
impl fmt::Display for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.org, self.user)
    }
}
impl FromStr for UserKey {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let (org, user) = text.split_once(':').ok_or(IdError::Key)?;
        Ok(Self {
            org: org.parse()?,
            user: user.parse()?,
        })
    }
}
text_type!(UserKey, "UserKey", "^00D[0-9A-Za-z]{15}:005[0-9A-Za-z]{15}$");

/// The name of a target: part of keys, metrics labels and file names, hence the narrow alphabet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetName(String);

impl TargetName {
    /// Checks the alphabet.
    ///
    /// # Errors
    /// [`IdError::TargetName`].
    pub fn try_new(text: &str) -> Result<Self, IdError> {
        let inner = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == b'-';
        let edge = |c: Option<&u8>| c.is_some_and(|c| *c != b'-');
        let bytes = text.as_bytes();
        if bytes.len() <= 63 && bytes.iter().all(inner) && edge(bytes.first()) && edge(bytes.last()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::TargetName)
        }
    }
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl FromStr for TargetName {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::try_new(text)
    }
}
text_type!(TargetName, "TargetName", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifteen_characters_become_eighteen() {
        for (short, tail) in [
            ("005ZL000000M0x1", "YAC"),
            ("0055f000005mc66", "AAA"),
            ("0055f00000GBZR4", "AAP"),
            ("005AbCdEfGhIjKl", "IVK"),
            ("a01M00000062mPg", "IAI"),
            ("001A000010khO8J", "IAU"),
            ("005XYZABCDEFGHI", "Y55"),
            ("005000000000000", "AAA"),
        ] {
            let id = RecordId::try_new(short).unwrap();
            assert_eq!(id.as_str(), format!("{short}{tail}"));
            assert_eq!(RecordId::try_new(id.as_str()).unwrap(), id);
            assert_eq!(
                RecordId::try_new(&format!("{short}{}", tail.to_lowercase())).unwrap(),
                id
            );
        }
    }

    #[test]
    fn ids_that_are_none_are_refused_with_the_reason() {
        assert_eq!(UserId::try_new("005"), Err(IdError::Length(3)));
        assert_eq!(UserId::try_new("005ZL000000M0x!"), Err(IdError::Character));
        assert_eq!(UserId::try_new("005ZL000000M0x1YAD"), Err(IdError::Checksum));
        assert_eq!(
            UserId::try_new("00DZL000000M0x1"),
            Err(IdError::Prefix {
                expected: "005",
                found: "00D".into()
            })
        );
    }

    #[test]
    fn a_key_is_read_back_as_written() {
        let key: UserKey = "00D000000000001EAA:0055f000005mc66".parse().unwrap();
        assert_eq!(key.to_string(), "00D000000000001EAA:0055f000005mc66AAA");
        assert_eq!(key.to_string().parse::<UserKey>().unwrap(), key);
        assert_eq!("00D000000000001EAA".parse::<UserKey>(), Err(IdError::Key));
    }

    #[test]
    fn target_names_are_narrow() {
        for good in ["gong", "salesforce-emea", "7"] {
            assert!(TargetName::try_new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "Gong", "a/b", "a.b", &"x".repeat(64)] {
            assert!(TargetName::try_new(bad).is_err(), "{bad}");
        }
    }
}
