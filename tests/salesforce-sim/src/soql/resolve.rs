//! Binds names to fields and literals to types, and refuses what does not fit (vendor documentation).
//!
//! Leaves out running the query: `eval.rs`.

use std::collections::HashSet;

use super::{
    ast::{Condition, Literal, Operator, Path},
    lexer,
};
use crate::{
    clock::DAY_MS,
    error::SalesforceError,
    field::{FieldDef, FieldKind},
    id,
    org::state::State,
    value::{FieldValue, fold},
};

/// A path bound to fields: references to follow, then the field itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bound {
    pub(crate) hops: Vec<Hop>,
    pub(crate) object: &'static str,
    pub(crate) field: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hop {
    /// Relationship name in its own spelling.
    pub(crate) name: String,
    /// Reference field in the object the hop starts from.
    pub(crate) field: usize,
    /// Object the hop leads to.
    pub(crate) object: &'static str,
}

#[derive(Debug, Clone)]
pub(crate) enum Test {
    And(Vec<Test>),
    Or(Vec<Test>),
    Not(Box<Test>),
    Compare(Bound, Operator, Operand),
    /// Negated; folded texts or ids; whether null is in the list.
    In(Bound, bool, HashSet<String>, bool),
}

#[derive(Debug, Clone)]
pub(crate) enum Operand {
    Value(FieldValue),
    /// A LIKE pattern, with its backslash pairs.
    Pattern(String),
    /// A named date literal: first and last millisecond.
    Range(i64, i64),
}

pub(crate) fn bind(state: &State, object: &'static str, path: &[String]) -> Result<Bound, SalesforceError> {
    let (last, relationships) = path
        .split_last()
        .ok_or_else(|| SalesforceError::no_such_column("", object))?;
    let mut hops = Vec::new();
    let mut current = object;
    for relationship in relationships {
        // `User.Title FROM User` names the object itself.
        if hops.is_empty()
            && relationship.eq_ignore_ascii_case(object)
            && state.table(object).def.relationship(relationship).is_none()
        {
            continue;
        }
        let def = &state.table(current).def;
        let (field, target) = def
            .relationship(relationship)
            .filter(|(field, _)| state.readable(current, *field))
            .ok_or_else(|| {
                SalesforceError::bad_request(
                    "INVALID_FIELD",
                    format!(
                        "Didn't understand relationship '{relationship}' in field path. If you are attempting to use a \
                         custom relationship, be sure to append the '__r' after the custom relationship name."
                    ),
                )
            })?;
        let target = state.find_table(target).map_or("User", |table| table.def.name);
        let name = def.fields[field]
            .reference
            .as_ref()
            .map(|(name, _)| name.clone())
            .unwrap_or_default();
        hops.push(Hop {
            name,
            field,
            object: target,
        });
        current = target;
    }
    let def = &state.table(current).def;
    let field = def
        .position(last)
        .filter(|&field| state.readable(current, field))
        .ok_or_else(|| SalesforceError::no_such_column(last, def.name))?;
    Ok(Bound {
        hops,
        object: current,
        field,
    })
}

pub(crate) fn test(
    state: &State,
    object: &'static str,
    condition: &Condition,
    now_ms: i64,
) -> Result<Test, SalesforceError> {
    let all = |parts: &[Condition]| {
        parts
            .iter()
            .map(|part| test(state, object, part, now_ms))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(match condition {
        Condition::And(parts) => Test::And(all(parts)?),
        Condition::Or(parts) => Test::Or(all(parts)?),
        Condition::Not(inner) => Test::Not(Box::new(test(state, object, inner, now_ms)?)),
        Condition::Compare(path, operator, literal) => {
            let (bound, field) = filterable(state, object, path)?;
            let operand = operand(field, *operator, literal, now_ms)?;
            Test::Compare(bound, *operator, operand)
        }
        Condition::In(path, negated, literals) => {
            let (bound, field) = filterable(state, object, path)?;
            let mut texts = HashSet::new();
            let mut null = false;
            for literal in literals {
                match operand(field, Operator::Equal, literal, now_ms)? {
                    Operand::Value(FieldValue::Null) => null = true,
                    Operand::Value(value) => {
                        texts.insert(list_key(field.kind, &value));
                    }
                    _ => return Err(wrong_type(field)),
                }
            }
            Test::In(bound, *negated, texts, null)
        }
    })
}

/// How a value is looked up in an IN list.
pub(crate) fn list_key(kind: FieldKind, value: &FieldValue) -> String {
    match (kind, value) {
        (FieldKind::Id | FieldKind::Reference, FieldValue::Text(text)) => text.to_string(),
        (_, FieldValue::Text(text)) => fold(text),
        (FieldKind::Int | FieldKind::Double, number) => number.number().unwrap_or_default().to_string(),
        (_, other) => other.to_csv(),
    }
}

fn filterable<'a>(
    state: &'a State,
    object: &'static str,
    path: &Path,
) -> Result<(Bound, &'a FieldDef), SalesforceError> {
    let bound = bind(state, object, path)?;
    let field = &state.table(bound.object).def.fields[bound.field];
    if field.filterable() {
        return Ok((bound, field));
    }
    Err(SalesforceError::bad_request(
        "INVALID_FIELD",
        format!("field '{}' can not be filtered in a query call", field.name),
    ))
}

fn wrong_type(field: &FieldDef) -> SalesforceError {
    let quoted = field.kind.is_text() || matches!(field.kind, FieldKind::Id | FieldKind::Reference);
    let should = if quoted { "should be" } else { "should not be" };
    let name = match field.kind {
        FieldKind::DateTime => "dateTime",
        other => other.describe_type(),
    };
    SalesforceError::bad_request(
        "INVALID_FIELD",
        format!(
            "value of filter criterion for field '{}' must be of type {name} and {should} enclosed in quotes",
            field.name
        ),
    )
}

fn operand(field: &FieldDef, operator: Operator, literal: &Literal, now_ms: i64) -> Result<Operand, SalesforceError> {
    let invalid_operator = || {
        SalesforceError::bad_request(
            "INVALID_QUERY_FILTER_OPERATOR",
            format!("invalid operator on field '{}'", field.name),
        )
    };
    let plain =
        |text: &str| lexer::plain(text).map_err(|message| SalesforceError::bad_request("MALFORMED_QUERY", message));
    let equality = matches!(operator, Operator::Equal | Operator::NotEqual);
    if field.kind == FieldKind::Boolean && !equality {
        return Err(invalid_operator());
    }
    if operator == Operator::Like {
        if !field.kind.is_text() {
            return Err(invalid_operator());
        }
        return match literal {
            Literal::Text(pattern) => Ok(Operand::Pattern(fold(pattern))),
            _ => Err(wrong_type(field)),
        };
    }
    let value = match (field.kind, literal) {
        (_, Literal::Null) if equality => FieldValue::Null,
        (_, Literal::Null) => return Err(invalid_operator()),
        (FieldKind::Boolean, Literal::Bool(flag)) => FieldValue::Bool(*flag),
        (FieldKind::Int | FieldKind::Double, Literal::Number(number)) => FieldValue::Double(*number),
        (FieldKind::DateTime, Literal::DateTime(ms)) => FieldValue::DateTime(*ms),
        (FieldKind::Date, Literal::Date(ms)) => FieldValue::Date(*ms),
        (FieldKind::DateTime | FieldKind::Date, Literal::Named(name, count)) => {
            let (start, end) = named_range(name, *count, now_ms).ok_or_else(|| wrong_type(field))?;
            return Ok(Operand::Range(start, end));
        }
        (FieldKind::Id | FieldKind::Reference, Literal::Text(text)) => {
            let text = plain(text)?;
            if text.is_empty() {
                FieldValue::Null
            } else {
                let id = id::normalize(&text).ok_or_else(|| {
                    SalesforceError::bad_request("INVALID_QUERY_FILTER_OPERATOR", format!("invalid ID field: {text}"))
                })?;
                FieldValue::text(&id)
            }
        }
        (kind, Literal::Text(text)) if kind.is_text() => FieldValue::text(&plain(text)?),
        _ => return Err(wrong_type(field)),
    };
    Ok(Operand::Value(value))
}

/// First and last millisecond of a named literal, in UTC days (SOQL Reference, "Date Formats and Date Literals").
fn named_range(name: &str, count: Option<i64>, now_ms: i64) -> Option<(i64, i64)> {
    let today = now_ms.div_euclid(DAY_MS) * DAY_MS;
    let days = |first: i64, last: i64| Some((today + first * DAY_MS, today + (last + 1) * DAY_MS - 1));
    match (name, count) {
        ("TODAY", None) => days(0, 0),
        ("YESTERDAY", None) => days(-1, -1),
        ("TOMORROW", None) => days(1, 1),
        ("LAST_90_DAYS", None) => days(-90, 0),
        ("NEXT_90_DAYS", None) => days(1, 90),
        ("LAST_N_DAYS", Some(count)) => days(-count, 0),
        ("NEXT_N_DAYS", Some(count)) => days(1, count),
        ("N_DAYS_AGO", Some(count)) => days(-count, -count),
        _ => None,
    }
}
