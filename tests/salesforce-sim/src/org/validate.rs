//! Turns the JSON of a write into field values, with the vendor's refusals (Object Reference and REST guide, "Status
//! Codes and Error Responses"). Leaves out rules that need other records: `write.rs`.

use serde_json::{Map, Value};

use super::state::State;
use crate::{
    clock,
    error::SalesforceError,
    field::{FieldDef, FieldKind, ObjectDef},
    id,
    value::FieldValue,
};

/// Time zones the org offers; others are refused as a restricted picklist does.
pub(crate) const TIME_ZONES: [&str; 16] = [
    "America/Los_Angeles",
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Sao_Paulo",
    "Europe/London",
    "Europe/Berlin",
    "Europe/Paris",
    "Europe/Madrid",
    "Europe/Warsaw",
    "Asia/Tokyo",
    "Asia/Shanghai",
    "Asia/Kolkata",
    "Asia/Jerusalem",
    "Australia/Sydney",
    "GMT",
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    Create,
    Update,
}

/// The fields of a body as positions and values. `attributes` is ignored; `Id` is not writable. Field-level security binds the
/// integration user only.
pub(crate) fn values(
    state: &State,
    def: &ObjectDef,
    body: &Map<String, Value>,
    write: Write,
    author: &str,
) -> Result<Vec<(usize, FieldValue)>, SalesforceError> {
    let mut values = Vec::with_capacity(body.len());
    for (name, json) in body {
        if name == "attributes" {
            continue;
        }
        let position = def
            .position(name)
            .filter(|&position| author != &*state.integration_id || state.readable(def.name, position))
            .ok_or_else(|| no_such_column(name, def.name))?;
        let field = &def.fields[position];
        let allowed = if write == Write::Create {
            field.createable
        } else {
            field.updateable
        };
        if !allowed {
            return Err(SalesforceError::bad_request(
                "INVALID_FIELD_FOR_INSERT_UPDATE",
                format!(
                    "Unable to create/update fields: {}. Please check the security settings of this field and verify \
                     that it is read/write for your profile or permission set.",
                    field.name
                ),
            )
            .on_fields(&[&field.name]));
        }
        let value = value_of(field, json)?;
        if value.is_null() && !field.nillable && field.kind != FieldKind::Boolean {
            return Err(missing(&[&field.name]));
        }
        check_reference(state, field, &value)?;
        values.push((position, value));
    }
    Ok(values)
}

/// Required fields must be there on create.
pub(crate) fn required(def: &ObjectDef, given: &[(usize, FieldValue)]) -> Result<(), SalesforceError> {
    let absent: Vec<&str> = def
        .fields
        .iter()
        .enumerate()
        .filter(|(_, field)| field.createable && !field.nillable && field.kind != FieldKind::Boolean)
        .filter(|(position, _)| !given.iter().any(|(given, value)| given == position && !value.is_null()))
        .map(|(_, field)| field.name.as_str())
        .collect();
    if absent.is_empty() {
        Ok(())
    } else {
        Err(missing(&absent))
    }
}

fn missing(fields: &[&str]) -> SalesforceError {
    SalesforceError::bad_request(
        "REQUIRED_FIELD_MISSING",
        format!("Required fields are missing: [{}]", fields.join(", ")),
    )
    .on_fields(fields)
}

fn no_such_column(name: &str, object: &str) -> SalesforceError {
    SalesforceError::bad_request(
        "INVALID_FIELD",
        format!("No such column '{name}' on sobject of type {object}"),
    )
}

fn check_reference(state: &State, field: &FieldDef, value: &FieldValue) -> Result<(), SalesforceError> {
    let (Some((_, object)), Some(target)) = (&field.reference, value.as_text()) else {
        return Ok(());
    };
    if state
        .find_table(object)
        .is_some_and(|table| table.rows.contains_key(target))
    {
        return Ok(());
    }
    Err(
        SalesforceError::bad_request("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
            .on_fields(&[&field.name]),
    )
}

/// One value, checked against type and length.
pub(crate) fn value_of(field: &FieldDef, json: &Value) -> Result<FieldValue, SalesforceError> {
    let wrong_type = || {
        SalesforceError::bad_request(
            "JSON_PARSER_ERROR",
            format!(
                "Cannot deserialize instance of {} from value {json}",
                field.kind.describe_type()
            ),
        )
    };
    if json.is_null() {
        return Ok(FieldValue::Null);
    }
    match field.kind {
        FieldKind::Boolean => json.as_bool().map(FieldValue::Bool).ok_or_else(wrong_type),
        FieldKind::Int => json.as_i64().map(FieldValue::Int).ok_or_else(wrong_type),
        FieldKind::Double => json.as_f64().map(FieldValue::Double).ok_or_else(wrong_type),
        FieldKind::Address => Err(wrong_type()),
        FieldKind::DateTime => json
            .as_str()
            .and_then(clock::parse_datetime)
            .map(FieldValue::DateTime)
            .ok_or_else(wrong_type),
        FieldKind::Date => json
            .as_str()
            .and_then(clock::parse_date)
            .map(FieldValue::Date)
            .ok_or_else(wrong_type),
        FieldKind::Id | FieldKind::Reference => {
            let text = json.as_str().ok_or_else(wrong_type)?;
            if text.is_empty() {
                return Ok(FieldValue::Null);
            }
            id::normalize(text).map(|id| FieldValue::text(&id)).ok_or_else(|| {
                SalesforceError::bad_request(
                    "MALFORMED_ID",
                    format!("{}: id value of incorrect type: {text}", field.label),
                )
                .on_fields(&[&field.name])
            })
        }
        _ => text_value(field, json.as_str().ok_or_else(wrong_type)?),
    }
}

fn text_value(field: &FieldDef, text: &str) -> Result<FieldValue, SalesforceError> {
    let text = text.trim();
    if text.chars().count() > field.length && field.length > 0 {
        return Err(SalesforceError::bad_request(
            "STRING_TOO_LONG",
            format!(
                "{}: data value too large: {text} (max length={})",
                field.label, field.length
            ),
        )
        .on_fields(&[&field.name]));
    }
    if field.name == "TimeZoneSidKey" && !text.is_empty() && !TIME_ZONES.contains(&text) {
        return Err(SalesforceError::bad_request(
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            format!("{}: bad value for restricted picklist field: {text}", field.label),
        )
        .on_fields(&[&field.name]));
    }
    let mail_like = field.kind == FieldKind::Email || field.name == "Username";
    if mail_like && !text.is_empty() && !is_mail_like(text) {
        let (code, message) = if field.name == "Username" {
            (
                "INVALID_EMAIL_ADDRESS",
                format!("Username: must be in the form of an email address: {text}"),
            )
        } else {
            (
                "INVALID_EMAIL_ADDRESS",
                format!("{}: invalid email address: {text}", field.label),
            )
        };
        return Err(SalesforceError::bad_request(code, message).on_fields(&[&field.name]));
    }
    Ok(FieldValue::text(text))
}

fn is_mail_like(text: &str) -> bool {
    text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && domain.contains('.') && !domain.contains('@') && !text.contains(char::is_whitespace)
    })
}
