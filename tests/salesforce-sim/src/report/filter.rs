//! Report filters: operators on one column, and the boolean filter that joins them (`(1 OR 4) AND 2`).
//!
//! `equals` with commas means any of them. Comparison of text ignores case, of ids does not. Leaves out SOQL, which has
//! other rules.

use std::cmp::Ordering;

use super::{columns::Column, definition::ReportFilter};
use crate::{
    clock,
    error::SalesforceError,
    field::FieldKind,
    id,
    value::{FieldValue, fold},
};

/// A filter bound to its column's field.
#[derive(Debug)]
pub(crate) struct BoundFilter {
    field: usize,
    kind: FieldKind,
    operator: Comparison,
    values: Vec<FieldValue>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equals,
    NotEqual,
    Less,
    Greater,
    LessOrEqual,
    GreaterOrEqual,
    Contains,
    NotContain,
    StartsWith,
}

fn refused(message: String) -> SalesforceError {
    SalesforceError::bad_request("BAD_REQUEST", message)
}

pub(crate) fn bind(filter: &ReportFilter, columns: &[Column]) -> Result<BoundFilter, SalesforceError> {
    let column = columns
        .iter()
        .find(|column| column.name == filter.column)
        .ok_or_else(|| refused(format!("The filter column {} is invalid.", filter.column)))?;
    let operator = match filter.operator.as_str() {
        "equals" | "includes" => Comparison::Equals,
        "notEqual" | "excludes" => Comparison::NotEqual,
        "lessThan" => Comparison::Less,
        "greaterThan" => Comparison::Greater,
        "lessOrEqual" => Comparison::LessOrEqual,
        "greaterOrEqual" => Comparison::GreaterOrEqual,
        "contains" => Comparison::Contains,
        "notContain" => Comparison::NotContain,
        "startsWith" => Comparison::StartsWith,
        other => return Err(refused(format!("The filter operator {other} is invalid."))),
    };
    let pieces: Vec<&str> = match operator {
        Comparison::Equals
        | Comparison::NotEqual
        | Comparison::Contains
        | Comparison::NotContain
        | Comparison::StartsWith => split_list(&filter.value),
        _ => vec![filter.value.as_str()],
    };
    let values = pieces
        .into_iter()
        .map(|text| parse(column, text.trim()))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(BoundFilter {
        field: column.field,
        kind: column.kind,
        operator,
        values,
    })
}

/// Splits at commas outside double quotes.
fn split_list(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, letter) in text.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => {
                pieces.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    pieces
}

fn parse(column: &Column, text: &str) -> Result<FieldValue, SalesforceError> {
    let text = text
        .strip_prefix('"')
        .and_then(|inner| inner.strip_suffix('"'))
        .unwrap_or(text);
    let wrong = || {
        refused(format!(
            "The filter value {text} for the field {} is invalid.",
            column.label
        ))
    };
    if text.is_empty() {
        return Ok(FieldValue::Null);
    }
    match column.kind {
        FieldKind::Boolean => match fold(text).as_str() {
            "true" | "1" => Ok(FieldValue::Bool(true)),
            "false" | "0" => Ok(FieldValue::Bool(false)),
            _ => Err(wrong()),
        },
        FieldKind::Int | FieldKind::Double => text.parse().map(FieldValue::Double).map_err(|_| wrong()),
        FieldKind::DateTime => clock::parse_datetime(text)
            .or_else(|| clock::parse_date(text))
            .map(FieldValue::DateTime)
            .ok_or_else(wrong),
        FieldKind::Date => clock::parse_date(text).map(FieldValue::Date).ok_or_else(wrong),
        FieldKind::Id | FieldKind::Reference => id::normalize(text).map(|id| FieldValue::text(&id)).ok_or_else(wrong),
        _ => Ok(FieldValue::text(text)),
    }
}

impl BoundFilter {
    pub(crate) fn matches(&self, values: &[FieldValue]) -> bool {
        const NULL: FieldValue = FieldValue::Null;
        let value = values.get(self.field).unwrap_or(&NULL);
        let any = |holds: &dyn Fn(&FieldValue) -> bool| self.values.iter().any(holds);
        let text = |value: &FieldValue| value.as_text().map(fold).unwrap_or_default();
        match self.operator {
            Comparison::Equals => any(&|other| self.order(value, other).is_eq()),
            Comparison::NotEqual => !any(&|other| self.order(value, other).is_eq()),
            Comparison::Contains => any(&|other| text(value).contains(&text(other))),
            Comparison::NotContain => !any(&|other| text(value).contains(&text(other))),
            Comparison::StartsWith => any(&|other| text(value).starts_with(&text(other))),
            _ if value.is_null() => false,
            Comparison::Less => any(&|other| self.order(value, other).is_lt()),
            Comparison::Greater => any(&|other| self.order(value, other).is_gt()),
            Comparison::LessOrEqual => any(&|other| self.order(value, other).is_le()),
            Comparison::GreaterOrEqual => any(&|other| self.order(value, other).is_ge()),
        }
    }

    fn order(&self, left: &FieldValue, right: &FieldValue) -> Ordering {
        order(self.kind, left, right)
    }
}

/// Order of a column's values; ids by their characters, so that paging by id loses nothing.
pub(crate) fn order(kind: FieldKind, left: &FieldValue, right: &FieldValue) -> Ordering {
    match kind {
        FieldKind::Id | FieldKind::Reference => left.as_text().cmp(&right.as_text()),
        FieldKind::Boolean => left.is_true().cmp(&right.is_true()),
        _ => left.order(right),
    }
}

/// A boolean filter over numbered filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Logic {
    Filter(usize),
    Not(Box<Logic>),
    And(Vec<Logic>),
    Or(Vec<Logic>),
}

impl Logic {
    /// Without a boolean filter all filters hold.
    pub(crate) fn parse(text: Option<&str>, filters: usize) -> Result<Self, SalesforceError> {
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
            return Ok(Self::And((0..filters).map(Self::Filter).collect()));
        };
        let spaced = text.replace('(', " ( ").replace(')', " ) ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let mut at = 0;
        let invalid = || refused(format!("The boolean filter {text} is invalid."));
        let logic = Self::level(&words, &mut at, filters).ok_or_else(invalid)?;
        if at < words.len() {
            return Err(invalid());
        }
        for number in 0..filters {
            if !logic.names(number) {
                return Err(refused(format!(
                    "The boolean filter {text} doesn't use filter {}.",
                    number + 1
                )));
            }
        }
        Ok(logic)
    }

    fn level(words: &[&str], at: &mut usize, filters: usize) -> Option<Self> {
        let mut parts = vec![Self::one(words, at, filters)?];
        let mut operator: Option<String> = None;
        while let Some(word) = words.get(*at).map(|word| word.to_ascii_uppercase()) {
            if word != "AND" && word != "OR" {
                break;
            }
            if operator.as_ref().is_some_and(|known| *known != word) {
                return None;
            }
            operator = Some(word);
            *at += 1;
            parts.push(Self::one(words, at, filters)?);
        }
        match operator.as_deref() {
            None => parts.pop(),
            Some("AND") => Some(Self::And(parts)),
            Some(_) => Some(Self::Or(parts)),
        }
    }

    fn one(words: &[&str], at: &mut usize, filters: usize) -> Option<Self> {
        let word = *words.get(*at)?;
        *at += 1;
        if word == "(" {
            let inner = Self::level(words, at, filters)?;
            let closed = words.get(*at) == Some(&")");
            *at += 1;
            return closed.then_some(inner);
        }
        if word.eq_ignore_ascii_case("NOT") {
            return Self::one(words, at, filters).map(|inner| Self::Not(Box::new(inner)));
        }
        let number: usize = word.parse().ok()?;
        (1..=filters).contains(&number).then(|| Self::Filter(number - 1))
    }

    fn names(&self, number: usize) -> bool {
        match self {
            Self::Filter(own) => *own == number,
            Self::Not(inner) => inner.names(number),
            Self::And(parts) | Self::Or(parts) => parts.iter().any(|part| part.names(number)),
        }
    }

    pub(crate) fn holds(&self, filter: &dyn Fn(usize) -> bool) -> bool {
        match self {
            Self::Filter(number) => filter(*number),
            Self::Not(inner) => !inner.holds(filter),
            Self::And(parts) => parts.iter().all(|part| part.holds(filter)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(filter)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boolean_filter_follows_its_parentheses() {
        let logic = Logic::parse(Some("(1 OR 4) AND 2 AND 3"), 4).unwrap();
        assert!(logic.holds(&|number| number != 0));
        assert!(!logic.holds(&|number| number != 1));
    }

    #[test]
    fn a_boolean_filter_must_name_each_filter_once_and_mix_nothing() {
        assert!(Logic::parse(Some("1 AND 2 OR 3"), 3).is_err());
        assert!(Logic::parse(Some("1"), 2).is_err());
        assert!(Logic::parse(Some("1 AND 3"), 2).is_err());
        assert!(Logic::parse(Some("(1 AND 2"), 2).is_err());
        assert!(Logic::parse(None, 2).unwrap().holds(&|_| true));
    }

    #[test]
    fn a_comma_in_quotes_is_no_separator() {
        assert_eq!(split_list("a,\"b,c\",d"), ["a", "\"b,c\"", "d"]);
    }
}
