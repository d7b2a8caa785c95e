//! The Avro schema of `UserChangeEvent` for one state of the User object, and where each User field sits in it.
//!
//! Order: the Change Data Capture guide's User sample, then what an administrator or a release added. Shapes and `doc`
//! texts are those of schemas captured from live orgs: nullable unions, `doc` with the Salesforce type, custom fields with
//! their field id. Leaves out writing events (`encode.rs`).

use std::{collections::HashMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::bitmap::Place;
use crate::{
    field::{FieldKind, ObjectDef},
    objects::{self, FLAG_LISTS},
};

/// Schema order after the header, as in the guide's sample.
const STANDARD: [&str; 59] = [
    "Username",
    "Name",
    "CompanyName",
    "Division",
    "Department",
    "Title",
    "Address",
    "Email",
    "EmailPreferences",
    "SenderEmail",
    "SenderName",
    "Signature",
    "StayInTouchSubject",
    "StayInTouchSignature",
    "StayInTouchNote",
    "Phone",
    "Fax",
    "MobilePhone",
    "Alias",
    "CommunityNickname",
    "IsActive",
    "IsSystemControlled",
    "TimeZoneSidKey",
    "UserRoleId",
    "LocaleSidKey",
    "ReceivesInfoEmails",
    "ReceivesAdminInfoEmails",
    "EmailEncodingKey",
    "ProfileId",
    "UserType",
    "UserSubtype",
    "LanguageLocaleKey",
    "EmployeeNumber",
    "DelegatedApproverId",
    "ManagerId",
    "LastLoginDate",
    "LastPasswordChangeDate",
    "CreatedDate",
    "CreatedById",
    "LastModifiedDate",
    "LastModifiedById",
    "NumberOfFailedLogins",
    "OfflineTrialExpirationDate",
    "OfflinePdaTrialExpirationDate",
    "UserPermissions",
    "ForecastEnabled",
    "UserPreferences",
    "ContactId",
    "AccountId",
    "CallCenterId",
    "Extension",
    "FederationIdentifier",
    "AboutMe",
    "DigestFrequency",
    "DefaultGroupNotificationFrequency",
    "JigsawImportLimitOverride",
    "WorkspaceId",
    "IsProfilePhotoActive",
    "IndividualId",
];

/// Change types every org knows, in the order of the enum.
pub(crate) const CHANGE_TYPES: [&str; 10] = [
    "CREATE",
    "UPDATE",
    "DELETE",
    "UNDELETE",
    "GAP_CREATE",
    "GAP_UPDATE",
    "GAP_DELETE",
    "GAP_UNDELETE",
    "GAP_OVERFLOW",
    "SNAPSHOT",
];

const PERSON_NAME: [&str; 3] = ["Salutation", "FirstName", "LastName"];
const ADDRESS: [&str; 8] = [
    "Street",
    "City",
    "State",
    "PostalCode",
    "Country",
    "Latitude",
    "Longitude",
    "GeocodeAccuracy",
];

/// Where the value of an event field comes from. Numbers are positions in the User object.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Scalar(usize),
    /// The children, and the branch of the union that the record is.
    Compound(Vec<Option<usize>>, i64),
    /// The names of the flags that are set.
    Flags(Vec<(usize, String)>),
    /// In the schema, but this org never fills it.
    Absent,
}

#[derive(Debug)]
pub(crate) struct EventSchema {
    /// Fingerprint of the JSON: the same schema always has the same id.
    pub(crate) id: Arc<str>,
    pub(crate) json: Arc<str>,
    /// Sources of the fields after the header: entry 0 is schema position 1.
    pub(crate) sources: Vec<Source>,
    pub(crate) change_types: Vec<String>,
    places: HashMap<usize, Place>,
}

impl EventSchema {
    pub(crate) fn of(user: &ObjectDef, extra_change_types: &[String]) -> Self {
        Self::of_shape(user, extra_change_types, false)
    }

    /// `switchable_name`: the name is a union of three, text or record, as objects have it that can be a person or a company.
    pub(crate) fn of_shape(user: &ObjectDef, extra_change_types: &[String], switchable_name: bool) -> Self {
        let mut change_types: Vec<String> = CHANGE_TYPES.iter().map(|&name| name.to_owned()).collect();
        change_types.extend_from_slice(extra_change_types);
        let mut fields = vec![header(&change_types)];
        let mut sources = Vec::new();
        for name in STANDARD {
            let (field, source) = standard(name, user, switchable_name);
            fields.push(field);
            sources.push(source);
        }
        let base = objects::user(&[]).fields.len();
        for (position, field) in user.fields.iter().enumerate().skip(base) {
            let doc = if field.custom {
                format!("{}:00N5f00000{:05}", field.kind.event_doc(), position)
            } else {
                field.kind.event_doc().to_owned()
            };
            fields.push(nullable(&field.name, field.kind.avro_type(), &doc));
            sources.push(Source::Scalar(position));
        }
        let json = json!({
            "name": "UserChangeEvent", "type": "record", "namespace": "com.sforce.eventbus", "fields": fields,
        })
        .to_string();
        let fingerprint = Sha256::digest(json.as_bytes());
        Self {
            id: URL_SAFE_NO_PAD.encode(&fingerprint[..16]).into(),
            json: json.into(),
            places: places(&sources),
            sources,
            change_types,
        }
    }

    /// Where a User field sits; `None` for fields that events never carry, such as `SystemModstamp`.
    pub(crate) fn place(&self, user_field: usize) -> Option<Place> {
        self.places.get(&user_field).copied()
    }
}

fn places(sources: &[Source]) -> HashMap<usize, Place> {
    let mut places = HashMap::new();
    for (index, source) in sources.iter().enumerate() {
        let position = index + 1;
        match source {
            Source::Scalar(field) => {
                places.insert(*field, (position, None));
            }
            Source::Compound(children, _) => {
                for (child, field) in children.iter().enumerate() {
                    if let Some(field) = field {
                        places.insert(*field, (position, Some(child)));
                    }
                }
            }
            Source::Flags(flags) => {
                for (field, _) in flags {
                    places.insert(*field, (position, None));
                }
            }
            Source::Absent => {}
        }
    }
    places
}

fn standard(name: &str, user: &ObjectDef, switchable_name: bool) -> (Value, Source) {
    if name == "Name" {
        let children = PERSON_NAME.iter().map(|child| user.position(child)).collect();
        if switchable_name {
            let mut field = compound(
                name,
                "Switchable_PersonName",
                "Data:Switchable_PersonName",
                &PERSON_NAME,
            );
            if let Some(branches) = field["type"].as_array_mut() {
                branches.insert(1, json!("string"));
            }
            return (field, Source::Compound(children, 2));
        }
        return (
            compound(name, "PersonName", "Data:PersonName", &PERSON_NAME),
            Source::Compound(children, 1),
        );
    }
    if name == "Address" {
        let children = ADDRESS.iter().map(|child| user.position(child)).collect();
        return (
            compound(name, "Address", "Data:Address", &ADDRESS),
            Source::Compound(children, 1),
        );
    }
    if let Some((_, prefix)) = FLAG_LISTS.iter().find(|(list, _)| *list == name) {
        let flags = user
            .fields
            .iter()
            .enumerate()
            .filter(|(_, field)| field.kind == FieldKind::Boolean)
            .filter_map(|(position, field)| Some((position, field.name.strip_prefix(prefix)?.to_owned())))
            .collect();
        let field = json!({
            "name": name, "type": ["null", {"type": "array", "items": "string"}], "doc": "Data:MultiEnum", "default": null,
        });
        return (field, Source::Flags(flags));
    }
    let Some(position) = user.position(name) else {
        let avro = match name {
            "IsSystemControlled" => "boolean",
            "OfflineTrialExpirationDate" | "OfflinePdaTrialExpirationDate" => "long",
            "JigsawImportLimitOverride" => "int",
            _ => "string",
        };
        let doc = match avro {
            "boolean" => "Data:Boolean",
            "long" => "Data:DateTime",
            "int" => "Data:Integer",
            _ => "Data:Text",
        };
        return (nullable(name, avro, doc), Source::Absent);
    };
    let kind = user.fields[position].kind;
    let doc = if name == "CreatedDate" {
        "CreatedDate:DateTime"
    } else {
        kind.event_doc()
    };
    (nullable(name, kind.avro_type(), doc), Source::Scalar(position))
}

fn nullable(name: &str, avro: &str, doc: &str) -> Value {
    json!({"name": name, "type": ["null", avro], "doc": doc, "default": null})
}

fn compound(name: &str, record: &str, doc: &str, children: &[&str]) -> Value {
    let fields: Vec<Value> = children
        .iter()
        .map(|&child| {
            let avro = if child == "Latitude" || child == "Longitude" {
                "double"
            } else {
                "string"
            };
            json!({"name": child, "type": ["null", avro], "default": null})
        })
        .collect();
    let inner = json!({"name": record, "type": "record", "fields": fields});
    json!({"name": name, "type": ["null", inner], "doc": doc, "default": null})
}

fn header(change_types: &[String]) -> Value {
    let strings = json!({"type": "array", "items": "string"});
    json!({
        "name": "ChangeEventHeader", "doc": "Data:ComplexValueType",
        "type": {"name": "ChangeEventHeader", "type": "record", "fields": [
            {"name": "entityName", "type": "string"},
            {"name": "recordIds", "type": strings},
            {"name": "changeType", "type": {"name": "ChangeType", "type": "enum", "symbols": change_types}},
            {"name": "changeOrigin", "type": "string"},
            {"name": "transactionKey", "type": "string"},
            {"name": "sequenceNumber", "type": "int"},
            {"name": "commitTimestamp", "type": "long"},
            {"name": "commitNumber", "type": "long"},
            {"name": "commitUser", "type": "string"},
            {"name": "nulledFields", "type": strings},
            {"name": "diffFields", "type": strings},
            {"name": "changedFields", "type": strings},
        ]},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position_in_schema(schema: &EventSchema, user: &ObjectDef, field: &str) -> Option<Place> {
        schema.place(user.at(field))
    }

    #[test]
    fn fields_sit_where_the_guides_sample_has_them() {
        let user = objects::user(&objects::default_custom_fields());
        let schema = EventSchema::of(&user, &[]);
        for (field, place) in [
            ("Username", (1, None)),
            ("FirstName", (2, Some(1))),
            ("LastName", (2, Some(2))),
            ("Department", (5, None)),
            ("City", (7, Some(1))),
            ("Email", (8, None)),
            ("IsActive", (21, None)),
            ("ManagerId", (35, None)),
            ("LastModifiedDate", (40, None)),
            ("IndividualId", (59, None)),
            ("Badge__c", (60, None)),
        ] {
            assert_eq!(position_in_schema(&schema, &user, field), Some(place), "{field}");
        }
        assert_eq!(position_in_schema(&schema, &user, "SystemModstamp"), None);
        assert_eq!(position_in_schema(&schema, &user, "Id"), None);
    }

    #[test]
    fn the_json_is_a_valid_avro_schema() {
        let user = objects::user(&objects::default_custom_fields());
        let schema = EventSchema::of(&user, &[]);
        apache_avro::Schema::parse_str(&schema.json).unwrap();
        assert_eq!(schema.id.len(), 22);
    }

    #[test]
    fn another_field_is_another_schema_id() {
        let user = objects::user(&[]);
        let more = objects::user(&objects::default_custom_fields());
        assert_eq!(EventSchema::of(&user, &[]).id, EventSchema::of(&user, &[]).id);
        assert_ne!(EventSchema::of(&user, &[]).id, EventSchema::of(&more, &[]).id);
    }
}
