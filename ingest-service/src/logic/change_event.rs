//! Decoding: schema and payload of one Change Data Capture event into a [`ChangeEvent`].
//!
//! The payload is a raw Avro datum; the schema is the one that the event names. Fields are looked up by name, because
//! order and number differ per org and release. In an UPDATE every field that did not change is null although the
//! record may have a value: only the bitmaps tell (source: Salesforce CDC guide, "Change Event Header Fields").

use std::{collections::BTreeMap, io::Read};

use apache_avro::{Schema, reader::datum::GenericDatumReader, schema::RecordSchema, types::Value};
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use thiserror::Error;
use usher_contract::UserId;

use super::{bitmap, field::STANDARD_FIELDS};

/// The header's name in every change event.
const HEADER: &str = "ChangeEventHeader";

/// What kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeType {
    /// A record was made; all its non-empty fields are there.
    Create,
    /// Only changed fields are there.
    Update,
    /// Gone; for users only portal users.
    Delete,
    /// Back; all non-empty fields are there.
    Undelete,
    /// Something changed and the event does not say what: read the records. Also kinds of later releases.
    Gap,
    /// A record is probably gone: read it.
    GapDelete,
    /// More changed than the stream can say: read everything.
    Overflow,
}

impl ChangeType {
    /// Whether the records are gone.
    #[must_use]
    pub fn is_deletion(self) -> bool {
        matches!(self, Self::Delete | Self::GapDelete)
    }
}

/// Whom a change concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concerned {
    /// These users; equal changes of one transaction are merged into one event.
    Users(Vec<UserId>),
    /// Everyone (`005*`, or the dummy id of an overflow).
    Everyone,
    /// Records of another object: a channel of one's own may carry several.
    OtherObject,
}

/// The header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What kind of change.
    pub change_type: ChangeType,
    /// Whom it concerns.
    pub concerned: Concerned,
    /// When it was committed, by the clock of the source.
    pub committed_at: Timestamp,
    /// The source's commit number; exceeds 2^53.
    pub commit_number: i64,
    /// Equal for all events of one transaction.
    pub transaction_key: String,
    /// Who made the change, a user id.
    pub commit_user: String,
}

/// Changed fields by their API name (`Name.LastName` for compounds); null means cleared.
pub type Delta = BTreeMap<String, Json>;

/// One event, decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeEvent {
    /// The header.
    pub header: Header,
    /// What the event says about fields; empty for gaps and deletes.
    pub delta: Delta,
    /// The event cannot be merged and the records must be read: why.
    pub reread: Option<&'static str>,
}

/// An event that cannot be decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodeError {
    /// Why.
    pub reason: String,
    /// The header, when at least that could be read: its records are read again.
    pub header: Option<Box<Header>>,
}

#[derive(Debug, Error)]
enum HeaderError {
    #[error("header field {0} is missing or of another type")]
    Field(&'static str),
    #[error("a record id of the header is not a user id")]
    RecordId,
}

/// Decodes an event.
///
/// # Errors
/// [`DecodeError`], with the header when that much could be read.
pub fn decode(schema: &Schema, payload: &[u8]) -> Result<ChangeEvent, DecodeError> {
    let failed = |reason: String| DecodeError { reason, header: None };
    let Schema::Record(record) = schema else {
        return Err(failed("the schema is not a record".to_owned()));
    };
    let value = match read_datum(schema, payload) {
        Ok(value) => value,
        Err(error) => {
            return Err(DecodeError {
                reason: format!("payload does not fit the schema: {error}"),
                header: header_alone(record, payload),
            });
        }
    };
    let Value::Record(fields) = value else {
        return Err(failed("the payload is not a record".to_owned()));
    };
    let raw = find(&fields, HEADER)
        .and_then(as_record)
        .ok_or_else(|| failed(format!("no {HEADER}")))?;
    let header = read_header(raw).map_err(|error| failed(error.to_string()))?;
    if header.concerned == Concerned::OtherObject {
        return Ok(ChangeEvent {
            header,
            delta: Delta::new(),
            reread: None,
        });
    }
    Ok(match header.change_type {
        ChangeType::Update => match changed_fields(record, &fields, raw) {
            Ok(delta) if list(raw, "diffFields").next().is_some() => ChangeEvent {
                header,
                delta,
                reread: Some("a text was sent as a difference"),
            },
            Ok(delta) => {
                let reread = (unexplained_null(record, &fields, raw, &delta)
                    .then_some("a field may not be readable any more"))
                .or(is_undivided(&delta).then_some("a compound field came as a whole"));
                ChangeEvent { header, delta, reread }
            }
            // A bit beyond the schema: the event says that something changed but not what.
            Err(_) => ChangeEvent {
                header,
                delta: Delta::new(),
                reread: Some("the field bitmaps do not fit the schema"),
            },
        },
        ChangeType::Create => ChangeEvent {
            header,
            delta: Delta::new(),
            reread: Some("created"),
        },
        ChangeType::Undelete => ChangeEvent {
            header,
            delta: Delta::new(),
            reread: Some("undeleted"),
        },
        ChangeType::Gap => ChangeEvent {
            header,
            delta: Delta::new(),
            reread: Some("gap event"),
        },
        ChangeType::GapDelete => ChangeEvent {
            header,
            delta: Delta::new(),
            reread: Some("gap event of a deletion"),
        },
        ChangeType::Overflow => ChangeEvent {
            header,
            delta: Delta::new(),
            reread: Some("gap overflow"),
        },
        ChangeType::Delete => ChangeEvent {
            header,
            delta: Delta::new(),
            reread: None,
        },
    })
}

/// Reads a datum that must fill `bytes` exactly. The library takes the end of the input at a union for null, so that a body
/// that was cut off would look like one whose fields are empty.
fn read_datum(schema: &Schema, bytes: &[u8]) -> Result<Value, String> {
    let mut exact = Exact {
        left: bytes,
        overrun: false,
    };
    let value = read_prefix(schema, &mut exact)?;
    match (exact.overrun, exact.left.len()) {
        (true, _) => Err("the payload is cut off".to_owned()),
        (false, 0) => Ok(value),
        (false, surplus) => Err(format!("{surplus} bytes follow the payload")),
    }
}

fn read_prefix(schema: &Schema, input: &mut Exact<'_>) -> Result<Value, String> {
    let value = GenericDatumReader::builder(schema)
        .build()
        .and_then(|reader| reader.read_value(input));
    value.map_err(|error| error.to_string())
}

/// Notes whether somebody asked for more than there is.
struct Exact<'a> {
    left: &'a [u8],
    overrun: bool,
}
impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.overrun |= buffer.len() > self.left.len();
        self.left.read(buffer)
    }
}

/// The header is the first field, so it can often be read although the rest does not fit.
fn header_alone(record: &RecordSchema, payload: &[u8]) -> Option<Box<Header>> {
    let first = record.fields.first().filter(|field| field.name == HEADER)?;
    let mut input = Exact {
        left: payload,
        overrun: false,
    };
    let value = read_prefix(&first.schema, &mut input).ok().filter(|_| !input.overrun)?;
    read_header(as_record(&value)?).ok().map(Box::new)
}

type Fields = [(String, Value)];

fn find<'a>(fields: &'a Fields, name: &str) -> Option<&'a Value> {
    fields
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| branch(value))
}

/// Unions of any number of branches are resolved to the branch that is there.
fn branch(value: &Value) -> &Value {
    match value {
        Value::Union(_, inner) => branch(inner),
        other => other,
    }
}

fn as_record(value: &Value) -> Option<&Fields> {
    match branch(value) {
        Value::Record(fields) => Some(fields),
        _ => None,
    }
}

fn text(fields: &Fields, name: &'static str) -> Result<String, HeaderError> {
    match find(fields, name) {
        Some(Value::String(text) | Value::Enum(_, text)) => Ok(text.clone()),
        _ => Err(HeaderError::Field(name)),
    }
}

fn long(fields: &Fields, name: &'static str) -> Result<i64, HeaderError> {
    match find(fields, name) {
        Some(Value::Long(number)) => Ok(*number),
        Some(Value::Int(number)) => Ok(i64::from(*number)),
        _ => Err(HeaderError::Field(name)),
    }
}

fn list<'a>(fields: &'a Fields, name: &str) -> impl Iterator<Item = &'a str> {
    let items = match find(fields, name) {
        Some(Value::Array(items)) => items.as_slice(),
        _ => &[],
    };
    items.iter().filter_map(|item| match branch(item) {
        Value::String(text) => Some(text.as_str()),
        _ => None,
    })
}

fn read_header(fields: &Fields) -> Result<Header, HeaderError> {
    let foreign = text(fields, "entityName")? != "User";
    let change_type = match text(fields, "changeType")?.as_str() {
        "CREATE" => ChangeType::Create,
        "UPDATE" => ChangeType::Update,
        "DELETE" => ChangeType::Delete,
        "UNDELETE" => ChangeType::Undelete,
        "GAP_DELETE" => ChangeType::GapDelete,
        "GAP_OVERFLOW" => ChangeType::Overflow,
        // GAP_CREATE, GAP_UPDATE, GAP_UNDELETE, SNAPSHOT and whatever a later release adds.
        _ => ChangeType::Gap,
    };
    let everyone = change_type == ChangeType::Overflow
        || list(fields, "recordIds").any(|id| id.ends_with('*') || id.starts_with("000000000000000"));
    let concerned = if foreign {
        Concerned::OtherObject
    } else if everyone {
        Concerned::Everyone
    } else {
        let ids: Result<Vec<UserId>, _> = list(fields, "recordIds").map(UserId::try_new).collect();
        Concerned::Users(ids.map_err(|_| HeaderError::RecordId)?)
    };
    Ok(Header {
        change_type,
        concerned,
        committed_at: Timestamp::from_millisecond(long(fields, "commitTimestamp")?)
            .map_err(|_| HeaderError::Field("commitTimestamp"))?,
        commit_number: long(fields, "commitNumber")?,
        transaction_key: text(fields, "transactionKey")?,
        commit_user: text(fields, "commitUser").unwrap_or_default(),
    })
}

/// A changed field that is null and was not nulled: what field-level security hides looks like this.
fn unexplained_null(schema: &RecordSchema, fields: &Fields, header: &Fields, delta: &Delta) -> bool {
    let nulled = named_fields(schema, fields, list(header, "nulledFields")).unwrap_or_default();
    delta.iter().any(|(name, value)| {
        let parent = name.split_once('.').map(|(parent, _)| parent);
        value.is_null() && !nulled.contains_key(name) && !parent.is_some_and(|parent| nulled.contains_key(parent))
    })
}

/// A compound field whose parts are published came as one text, or was cleared as a whole: the delta names no part.
fn is_undivided(delta: &Delta) -> bool {
    let parents = STANDARD_FIELDS.iter().filter_map(|field| field.event.split_once('.'));
    parents
        .map(|(parent, _)| parent)
        .any(|parent| delta.contains_key(parent))
}

/// The fields that changed, with their values.
fn changed_fields(schema: &RecordSchema, fields: &Fields, header: &Fields) -> Result<Delta, bitmap::BitmapError> {
    // `nulledFields` is a subset of `changedFields` by contract; reading both costs nothing and trusts less.
    named_fields(
        schema,
        fields,
        list(header, "changedFields").chain(list(header, "nulledFields")),
    )
}

/// The fields that bitmaps name, with their values.
fn named_fields<'a>(
    schema: &RecordSchema,
    fields: &Fields,
    bitmaps: impl Iterator<Item = &'a str>,
) -> Result<Delta, bitmap::BitmapError> {
    let mut delta = Delta::new();
    for entry in bitmaps {
        let bitmap = bitmap::parse(entry)?;
        match bitmap.parent {
            None => {
                for bit in bitmap.bits {
                    let (name, value) = fields.get(bit).ok_or(bitmap::BitmapError::Range(bit, fields.len()))?;
                    add(&mut delta, name, value);
                }
            }
            Some(parent) => {
                let (name, value) = fields
                    .get(parent)
                    .ok_or(bitmap::BitmapError::Range(parent, fields.len()))?;
                let names = inner_names(schema, parent);
                for bit in bitmap.bits {
                    let child = names.get(bit).ok_or(bitmap::BitmapError::Range(bit, names.len()))?;
                    let value = as_record(value)
                        .and_then(|inner| find(inner, child))
                        .map_or(Json::Null, to_json);
                    delta.insert(format!("{name}.{child}"), value);
                }
            }
        }
    }
    delta.remove(HEADER);
    Ok(delta)
}

/// A field, or every child of a compound one. A compound that is null as a whole has been cleared as a whole.
fn add(delta: &mut Delta, name: &str, value: &Value) {
    match branch(value) {
        Value::Record(children) => {
            for (child, value) in children {
                delta.insert(format!("{name}.{child}"), to_json(branch(value)));
            }
        }
        other => {
            delta.insert(name.to_owned(), to_json(other));
        }
    }
}

/// The names of a compound field's children, whatever branch of its union the record is. The type may be defined at an
/// earlier field and only named here; then its own definition is looked for.
fn inner_names(schema: &RecordSchema, index: usize) -> Vec<String> {
    fn record<'a>(root: &'a RecordSchema, schema: &'a Schema) -> Option<&'a RecordSchema> {
        match schema {
            Schema::Record(record) => Some(record),
            Schema::Union(union) => union.variants().iter().find_map(|variant| record(root, variant)),
            Schema::Ref { name } => root.fields.iter().find_map(|field| match &field.schema {
                Schema::Union(union) => union.variants().iter().find_map(|variant| match variant {
                    Schema::Record(found) if found.name == *name => Some(found),
                    _ => None,
                }),
                Schema::Record(found) if found.name == *name => Some(found),
                _ => None,
            }),
            _ => None,
        }
    }
    let field = schema.fields.get(index).and_then(|field| record(schema, &field.schema));
    field
        .map(|record| record.fields.iter().map(|field| field.name.clone()).collect())
        .unwrap_or_default()
}

/// An Avro value as JSON. Dates stay numbers; the field's type tells what they mean.
fn to_json(value: &Value) -> Json {
    match branch(value) {
        Value::Null => Json::Null,
        Value::Boolean(flag) => json!(flag),
        Value::Int(number) => json!(number),
        Value::Long(number) => json!(number),
        Value::Float(number) => json!(number),
        Value::Double(number) => json!(number),
        Value::String(text) | Value::Enum(_, text) => json!(text),
        Value::Array(items) => items.iter().map(to_json).collect(),
        Value::Record(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), to_json(value)))
            .collect(),
        Value::Map(entries) => entries
            .iter()
            .map(|(name, value)| (name.clone(), to_json(value)))
            .collect(),
        _ => Json::Null,
    }
}

#[cfg(test)]
#[path = "change_event_tests.rs"]
mod tests;
