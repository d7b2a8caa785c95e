//! Writes a change event as a raw Avro datum: no container, no magic bytes (vendor documentation).
//!
//! Written by hand and not with the Avro library that consumers use: a mistake in either shows in the tests, which decode
//! with the library. Leaves out what changed: the commit decides that.

use std::{collections::BTreeSet, sync::Arc};

use super::schema::{EventSchema, Source};
use crate::value::FieldValue;

/// `ChangeEventHeader` without the entity name, which is always `User`.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) entity_name: String,
    pub(crate) record_ids: Vec<Arc<str>>,
    pub(crate) change_type: String,
    pub(crate) change_origin: String,
    pub(crate) transaction_key: String,
    pub(crate) sequence_number: i32,
    pub(crate) commit_timestamp: i64,
    pub(crate) commit_number: i64,
    pub(crate) commit_user: String,
    pub(crate) nulled_fields: Vec<String>,
    pub(crate) diff_fields: Vec<String>,
    pub(crate) changed_fields: Vec<String>,
}

/// What the event carries beside its header.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Body<'a> {
    /// Deletions and gaps.
    Empty,
    /// Creations and restorations.
    Full(&'a [FieldValue]),
    /// Updates: all other fields are null whatever the record holds.
    Changed(&'a [FieldValue], &'a BTreeSet<usize>),
}

impl<'a> Body<'a> {
    fn value(&self, field: usize) -> Option<&'a FieldValue> {
        let values = match self {
            Self::Empty => return None,
            Self::Full(values) => values,
            Self::Changed(values, changed) => {
                if !changed.contains(&field) {
                    return None;
                }
                values
            }
        };
        values.get(field).filter(|value| !value.is_null())
    }
}

/// Writes header and body. `unreadable` fields stay null: field-level security of the subscriber.
pub(crate) fn datum(schema: &EventSchema, header: &Header, body: Body<'_>, unreadable: &BTreeSet<usize>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    write_header(&mut out, schema, header);
    let value = |field: usize| {
        if unreadable.contains(&field) {
            None
        } else {
            body.value(field)
        }
    };
    for source in &schema.sources {
        match source {
            Source::Absent => write_long(&mut out, 0),
            Source::Scalar(field) => write_nullable(&mut out, value(*field)),
            Source::Compound(children, branch) => {
                let values: Vec<_> = children.iter().map(|child| child.and_then(value)).collect();
                if values.iter().all(Option::is_none) {
                    write_long(&mut out, 0);
                } else {
                    write_long(&mut out, *branch);
                    for child in values {
                        write_nullable(&mut out, child);
                    }
                }
            }
            Source::Flags(flags) => write_flags(&mut out, flags, body, unreadable),
        }
    }
    out
}

/// One changed flag sends all that are set (vendor documentation): the whole word is republished.
fn write_flags(out: &mut Vec<u8>, flags: &[(usize, String)], body: Body<'_>, unreadable: &BTreeSet<usize>) {
    let values = match body {
        Body::Empty => None,
        Body::Full(values) => Some(values),
        Body::Changed(values, changed) => flags.iter().any(|(field, _)| changed.contains(field)).then_some(values),
    };
    let Some(values) = values else {
        write_long(out, 0);
        return;
    };
    let set: Vec<&str> = flags
        .iter()
        .filter(|(field, _)| !unreadable.contains(field) && values.get(*field).is_some_and(FieldValue::is_true))
        .map(|(_, name)| name.as_str())
        .collect();
    write_long(out, 1);
    write_strings(out, set);
}

fn write_header(out: &mut Vec<u8>, schema: &EventSchema, header: &Header) {
    write_string(out, &header.entity_name);
    write_strings(out, header.record_ids.iter().map(|id| &**id));
    let symbol = schema.change_types.iter().position(|name| *name == header.change_type);
    write_long(out, symbol.and_then(|index| i64::try_from(index).ok()).unwrap_or(1));
    write_string(out, &header.change_origin);
    write_string(out, &header.transaction_key);
    write_long(out, i64::from(header.sequence_number));
    write_long(out, header.commit_timestamp);
    write_long(out, header.commit_number);
    write_string(out, &header.commit_user);
    write_strings(out, header.nulled_fields.iter().map(String::as_str));
    write_strings(out, header.diff_fields.iter().map(String::as_str));
    write_strings(out, header.changed_fields.iter().map(String::as_str));
}

fn write_nullable(out: &mut Vec<u8>, value: Option<&FieldValue>) {
    match value {
        None | Some(FieldValue::Null) => write_long(out, 0),
        Some(value) => {
            write_long(out, 1);
            match value {
                FieldValue::Null => {}
                FieldValue::Text(text) => write_string(out, text),
                FieldValue::Bool(flag) => out.push(u8::from(*flag)),
                FieldValue::Int(number) | FieldValue::DateTime(number) | FieldValue::Date(number) => {
                    write_long(out, *number);
                }
                FieldValue::Double(number) => out.extend_from_slice(&number.to_le_bytes()),
            }
        }
    }
}

/// Zigzag variable-length integer (Avro specification, "Primitive Types").
fn write_long(out: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    write_long(out, i64::try_from(text.len()).expect("texts are short"));
    out.extend_from_slice(text.as_bytes());
}

fn write_strings<'a>(out: &mut Vec<u8>, texts: impl IntoIterator<Item = &'a str>) {
    let texts: Vec<&str> = texts.into_iter().collect();
    if !texts.is_empty() {
        write_long(out, i64::try_from(texts.len()).expect("lists are short"));
        for text in texts {
            write_string(out, text);
        }
    }
    write_long(out, 0);
}

#[cfg(test)]
mod tests {
    use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value};

    use super::*;
    use crate::objects;

    fn header(changed_fields: Vec<String>) -> Header {
        Header {
            entity_name: "User".to_owned(),
            record_ids: vec!["0055f0000000001AAA".into()],
            change_type: "UPDATE".into(),
            change_origin: String::new(),
            transaction_key: "key".into(),
            sequence_number: 1,
            commit_timestamp: 1_767_312_000_123,
            commit_number: 11_000_000_000_000_001,
            commit_user: "0055f0000000002AAA".into(),
            nulled_fields: vec![],
            diff_fields: vec![],
            changed_fields,
        }
    }

    fn decode(schema: &Schema, bytes: &mut &[u8]) -> Value {
        let reader = GenericDatumReader::builder(schema).build().unwrap();
        reader.read_value(bytes).unwrap()
    }

    fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
        let Value::Record(fields) = value else {
            panic!("not a record: {value:?}")
        };
        let found = &fields.iter().find(|(field, _)| field == name).unwrap().1;
        if let Value::Union(_, inner) = found {
            inner
        } else {
            found
        }
    }

    #[test]
    fn an_update_decodes_to_the_changed_fields_and_nulls() {
        let user = objects::user(&objects::default_custom_fields());
        let schema = EventSchema::of(&user, &[]);
        let mut values = vec![FieldValue::Null; user.fields.len()];
        values[user.at("LastName")] = FieldValue::text("O’Hara");
        values[user.at("Department")] = FieldValue::text("Sales");
        values[user.at("Level__c")] = FieldValue::Double(2.5);
        values[user.at("Title")] = FieldValue::text("not sent");
        let changed = ["LastName", "Department", "Level__c"].map(|name| user.at(name)).into();
        let bytes = datum(
            &schema,
            &header(vec!["0x20".into()]),
            Body::Changed(&values, &changed),
            &BTreeSet::new(),
        );
        let avro = Schema::parse_str(&schema.json).unwrap();
        let mut rest = &bytes[..];
        let decoded = decode(&avro, &mut rest);
        assert!(rest.is_empty());
        assert_eq!(
            field(field(&decoded, "Name"), "LastName"),
            &Value::String("O’Hara".into())
        );
        assert_eq!(field(&decoded, "Department"), &Value::String("Sales".into()));
        assert_eq!(field(&decoded, "Level__c"), &Value::Double(2.5));
        assert_eq!(field(&decoded, "Title"), &Value::Null);
        assert_eq!(field(&decoded, "UserPreferences"), &Value::Null);
        let header = field(&decoded, "ChangeEventHeader");
        assert_eq!(field(header, "commitNumber"), &Value::Long(11_000_000_000_000_001));
        assert_eq!(field(header, "changeType"), &Value::Enum(1, "UPDATE".into()));
    }

    #[test]
    fn an_unreadable_field_arrives_null() {
        let user = objects::user(&[]);
        let schema = EventSchema::of(&user, &[]);
        let mut values = vec![FieldValue::Null; user.fields.len()];
        values[user.at("Email")] = FieldValue::text("ada@example.com");
        values[user.at("UserPreferencesActivityRemindersPopup")] = FieldValue::Bool(true);
        let bytes = datum(
            &schema,
            &header(vec![]),
            Body::Full(&values),
            &BTreeSet::from([user.at("Email")]),
        );
        let avro = Schema::parse_str(&schema.json).unwrap();
        let decoded = decode(&avro, &mut &bytes[..]);
        assert_eq!(field(&decoded, "Email"), &Value::Null);
        assert_eq!(
            field(&decoded, "UserPreferences"),
            &Value::Array(vec![Value::String("ActivityRemindersPopup".into())])
        );
    }
}
