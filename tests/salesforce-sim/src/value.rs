//! One field's value, compactly, and its JSON forms. Written for rows of a hundred thousand people.
//!
//! Leaves out which values a field accepts: see `field.rs` and `org/validate.rs`.

use std::{cmp::Ordering, sync::Arc};

use serde_json::{Number, Value};

use crate::clock;

#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum FieldValue {
    #[default]
    Null,
    Text(Arc<str>),
    Bool(bool),
    Int(i64),
    Double(f64),
    /// Milliseconds since 1970.
    DateTime(i64),
    /// Milliseconds since 1970, at midnight UTC.
    Date(i64),
}

impl FieldValue {
    /// Salesforce stores an empty string as null.
    pub(crate) fn text(text: &str) -> Self {
        if text.is_empty() {
            Self::Null
        } else {
            Self::Text(text.into())
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is_true(&self) -> bool {
        matches!(self, Self::Bool(true))
    }

    /// The form of REST answers.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Text(text) => Value::from(&**text),
            Self::Bool(flag) => Value::Bool(*flag),
            Self::Int(number) => Value::from(*number),
            Self::Double(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
            Self::DateTime(ms) => Value::from(clock::rest_datetime(*ms)),
            Self::Date(ms) => Value::from(clock::iso_date(*ms)),
        }
    }

    /// The form of Bulk API results, where null is an empty cell.
    pub(crate) fn to_csv(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Text(text) => text.to_string(),
            Self::Bool(flag) => flag.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Double(number) => number.to_string(),
            Self::DateTime(ms) => clock::bulk_datetime(*ms),
            Self::Date(ms) => clock::iso_date(*ms),
        }
    }

    /// Order of values of one field: nulls first, text without case.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Null, _) => Ordering::Less,
            (_, Self::Null) => Ordering::Greater,
            (Self::Text(left), Self::Text(right)) => fold(left).cmp(&fold(right)),
            (Self::Bool(left), Self::Bool(right)) => left.cmp(right),
            (Self::Int(left), Self::Int(right))
            | (Self::DateTime(left) | Self::Date(left), Self::DateTime(right) | Self::Date(right)) => left.cmp(right),
            (left, right) => match (left.number(), right.number()) {
                (Some(left), Some(right)) => left.total_cmp(&right),
                _ => Ordering::Equal,
            },
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "numbers of records are small; comparison only"
    )]
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Double(number) => Some(*number),
            _ => None,
        }
    }
}

/// Text comparison ignores case (SOQL and SOSL Reference, "Comparison Operators"). The two small sigmas are one letter,
/// wherever they stand: `to_lowercase` tells them apart by what follows.
pub(crate) fn fold(text: &str) -> String {
    text.to_lowercase().replace('ς', "σ")
}
