//! From the values of a row to its cells.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date, fmt::strtime, tz::TimeZone};
use serde_json::Value;

use super::{
    config::{Column, Format, Formulas, RosterConfig},
    formula::neutralise,
};
use crate::logic::{
    account::{AttributePath, AttributeValues},
    policy::ACTIVE,
};

/// A value that cannot stand in its column. Names the column, never the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfit(pub(super) String);

/// Whether a pattern can be used.
pub(super) fn try_pattern(pattern: &str) -> Result<(), String> {
    let zoned = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    strtime::format(pattern, &zoned)
        .map(drop)
        .map_err(|error| error.to_string())
}

/// The cells of a row: texts of CSV as they stand between separators, values of JSON.
pub(super) fn cells(values: &AttributeValues, on: bool, config: &RosterConfig) -> Result<Vec<Value>, Unfit> {
    config
        .columns
        .iter()
        .map(|column| cell(values, on, column, &config.format))
        .collect()
}

fn cell(values: &AttributeValues, on: bool, column: &Column, format: &Format) -> Result<Value, Unfit> {
    let switched = Value::Bool(on);
    let value = if column.attribute == ACTIVE {
        Some(&switched)
    } else {
        values
            .get(&AttributePath(column.attribute.clone()))
            .filter(|value| !value.is_null())
    };
    let Some(value) = value else {
        return Ok(match (&column.null, format) {
            (Some(text), _) => Value::String(text.clone()),
            (None, Format::Csv(_)) => Value::String(String::new()),
            (None, Format::JsonLines {}) => Value::Null,
        });
    };
    let value = if let Some(pattern) = &column.date {
        Value::String(date(value, pattern, column)?)
    } else if let (Some((yes, no)), Some(is)) = (&column.words, truth(value)) {
        Value::String(if is { yes } else { no }.clone())
    } else {
        value.clone()
    };
    let Format::Csv(csv) = format else { return Ok(value) };
    Ok(Value::String(match value {
        // A number is no formula, whatever its sign.
        Value::Number(number) => number.to_string(),
        Value::String(text) => neutralise(&text, column.formulas.unwrap_or(csv.formulas)),
        other => neutralise(&other.to_string(), Formulas::Prefix),
    }))
}

fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(is) => Some(*is),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// A date (`2026-12-31`) or a moment (RFC 3339), in the form of the column.
fn date(value: &Value, pattern: &str, column: &Column) -> Result<String, Unfit> {
    let unfit = || Unfit(format!("column `{}`: the value is no date", column.name));
    let text = value.as_str().ok_or_else(unfit)?.trim();
    let zone = column.time_zone.as_deref().map_or(Ok(TimeZone::UTC), TimeZone::get);
    let zone = zone.map_err(|_| unfit())?;
    let zoned = match text.parse::<Timestamp>() {
        Ok(moment) => moment.to_zoned(zone),
        // A date without a time is the same day everywhere.
        Err(_) => text
            .parse::<Date>()
            .and_then(|day| day.to_zoned(TimeZone::UTC))
            .map_err(|_| unfit())?,
    };
    strtime::format(pattern, &zoned).map_err(|_| unfit())
}

/// The cells of a row that others may have made, by heading.
pub(super) type Read = BTreeMap<String, Value>;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn column(more: Value) -> Column {
        let mut column = json!({ "name": "X", "attribute": "x" });
        column
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value(column).unwrap()
    }

    fn one(value: Value, more: Value) -> Result<Value, Unfit> {
        let values = [(AttributePath("x".into()), value)].into();
        cell(&values, true, &column(more), &Format::default())
    }

    #[test]
    fn each_kind_of_value_has_its_form() {
        for (value, more, text) in [
            (json!("Ada"), json!({}), "Ada"),
            (json!(null), json!({}), ""),
            (json!(null), json!({ "null": "NULL" }), "NULL"),
            (json!(-5), json!({}), "-5"),
            (json!("-5"), json!({}), "'-5"),
            (json!("-5"), json!({ "formulas": "keep" }), "-5"),
            (json!("+49 30 123456"), json!({ "formulas": "phone" }), "+49 30 123456"),
            (json!(true), json!({}), "true"),
            (json!(true), json!({ "words": ["Yes", "No"] }), "Yes"),
            (json!("FALSE"), json!({ "words": ["Yes", "No"] }), "No"),
            (json!("2026-02-01"), json!({ "date": "%d/%m/%Y" }), "01/02/2026"),
            (
                json!("2026-01-31T23:30:00Z"),
                json!({ "date": "%d/%m/%Y", "timeZone": "Europe/Berlin" }),
                "01/02/2026",
            ),
            (
                json!("2026-02-01"),
                json!({ "date": "%d/%m/%Y", "timeZone": "America/Los_Angeles" }),
                "01/02/2026",
            ),
            (
                json!("2026-01-31T23:30:00+02:00"),
                json!({ "date": "%Y-%m-%dT%H:%M:%SZ" }),
                "2026-01-31T21:30:00Z",
            ),
        ] {
            assert_eq!(one(value.clone(), more.clone()), Ok(json!(text)), "{value} {more}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused_without_being_shown() {
        let Unfit(why) = one(json!("soon, s3cret"), json!({ "date": "%d/%m/%Y" })).unwrap_err();
        assert!(why.contains("`X`") && !why.contains("s3cret"), "{why}");
    }

    #[test]
    fn json_keeps_types() {
        let values = [(AttributePath("x".into()), json!("=1"))].into();
        let lines = Format::JsonLines {};
        assert_eq!(cell(&values, true, &column(json!({})), &lines), Ok(json!("=1")));
        assert_eq!(cell(&[].into(), true, &column(json!({})), &lines), Ok(json!(null)));
        let active = Column {
            attribute: ACTIVE.into(),
            ..column(json!({}))
        };
        assert_eq!(cell(&values, false, &active, &lines), Ok(json!(false)));
    }
}
