//! Known or unknown: the difference between "has none" and "could not be read".
//!
//! On the wire an unknown value is an absent key and a known empty one is `null`. Nothing may treat unknown as
//! empty: that is how a person loses an account because a column was missing from a report.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that may be unknown, known to be empty, or known.
///
/// Use with `#[serde(default, skip_serializing_if = "Known::is_unknown")]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Known<T> {
    /// Nobody could tell. On the wire: no key.
    #[default]
    Unknown,
    /// Known to be empty. On the wire: `null`.
    Empty,
    /// Known. On the wire: the value.
    Value(T),
}

impl<T> Known<T> {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }
    /// The value when there is one; `None` for both empty and unknown.
    #[must_use]
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Unknown | Self::Empty => None,
        }
    }
    /// A known value from an optional one.
    #[must_use]
    pub fn from_option(value: Option<T>) -> Self {
        value.map_or(Self::Empty, Self::Value)
    }
    /// Applies `f` to the value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Known<U> {
        match self {
            Self::Unknown => Known::Unknown,
            Self::Empty => Known::Empty,
            Self::Value(value) => Known::Value(f(value)),
        }
    }
    /// As [`Option::as_ref`].
    #[must_use]
    pub fn as_ref(&self) -> Known<&T> {
        match self {
            Self::Unknown => Known::Unknown,
            Self::Empty => Known::Empty,
            Self::Value(value) => Known::Value(value),
        }
    }
    /// `newer` where it is known, else `self`: an observation speaks only for what it has seen.
    #[must_use]
    pub fn updated_by(self, newer: Self) -> Self {
        match newer {
            Self::Unknown => self,
            known => known,
        }
    }
}

impl<T> From<T> for Known<T> {
    fn from(value: T) -> Self {
        Self::Value(value)
    }
}

impl<T: Serialize> Serialize for Known<T> {
    /// Unknown inside a list or when the field forgets `skip_serializing_if` would look like empty: refused.
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unknown => Err(serde::ser::Error::custom(
                "an unknown value is written by leaving its key out",
            )),
            Self::Empty => s.serialize_none(),
            Self::Value(value) => value.serialize(s),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Known<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Option::<T>::deserialize(d).map(Self::from_option)
    }
}

impl<T: JsonSchema> JsonSchema for Known<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Known_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }
    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Row {
        #[serde(default, skip_serializing_if = "Known::is_unknown")]
        title: Known<String>,
    }

    #[test]
    fn absent_null_and_value_are_three_things() {
        for (json, title) in [
            ("{}", Known::Unknown),
            (r#"{"title":null}"#, Known::Empty),
            (r#"{"title":"AE"}"#, Known::Value("AE".to_owned())),
        ] {
            let row: Row = serde_json::from_str(json).unwrap();
            assert_eq!(row, Row { title });
            assert_eq!(serde_json::to_string(&row).unwrap(), json);
        }
    }

    #[test]
    fn unknown_never_becomes_null_by_accident() {
        assert!(serde_json::to_string(&vec![Known::<u8>::Unknown]).is_err());
    }

    #[test]
    fn an_observation_speaks_only_for_what_it_saw() {
        assert_eq!(Known::Value(1).updated_by(Known::Unknown), Known::Value(1));
        assert_eq!(Known::Value(1).updated_by(Known::Empty), Known::Empty);
        assert_eq!(Known::Value(1).updated_by(Known::Value(2)), Known::Value(2));
    }
}
