//! Change events about the invented directory: the schema of a live org's shape, and payloads as the stream carries them.

use apache_avro::{Schema, types::Value, writer::datum::GenericDatumWriter};
use ingest_service::logic::field::STANDARD_FIELDS;
use serde_json::json;

use super::people;

/// Fields of a user that every org has and that are not published: a schema is as long as the object is wide.
const OTHERS: &[&str] = &[
    "Alias",
    "AboutMe",
    "BadgeText",
    "BannerPhotoUrl",
    "CallCenterId",
    "CommunityNickname",
    "ContactId",
    "CurrentStatus",
    "DefaultGroupNotificationFrequency",
    "DelegatedApproverId",
    "DigestFrequency",
    "EmailEncodingKey",
    "EmailPreferencesAutoBcc",
    "EndDay",
    "Fax",
    "ForecastEnabled",
    "FullPhotoUrl",
    "GeocodeAccuracy",
    "IsPortalEnabled",
    "IsProfilePhotoActive",
    "LastPasswordChangeDate",
    "MediumPhotoUrl",
    "OfflineTrialExpirationDate",
    "ReceivesAdminInfoEmails",
    "ReceivesInfoEmails",
    "SenderEmail",
    "SenderName",
    "Signature",
    "SmallPhotoUrl",
    "StartDay",
    "StayInTouchNote",
    "StayInTouchSignature",
    "StayInTouchSubject",
    "UserPermissionsCallCenterAutoLogin",
    "UserPermissionsInteractionUser",
    "UserPermissionsKnowledgeUser",
    "UserPermissionsMarketingUser",
    "UserPermissionsOfflineUser",
    "UserPermissionsSFContentUser",
    "UserPermissionsSupportUser",
    "UserPreferencesActivityRemindersPopup",
    "UserPreferencesApexPagesDeveloperMode",
    "UserPreferencesCacheDiagnostics",
    "UserPreferencesContentEmailAsAndWhen",
    "UserPreferencesDisableAllFeedsEmail",
    "UserPreferencesEventRemindersCheckboxDefault",
    "UserPreferencesHideChatterOnboardingSplash",
    "UserPreferencesLightningExperiencePreferred",
];

/// What an edit of the department changes.
const EDITED: [&str; 2] = ["Department", "LastModifiedDate"];

/// Names of the fields after the header.
fn names() -> Vec<&'static str> {
    let standard = STANDARD_FIELDS.iter().map(|field| field.api);
    let standard = standard.filter(|name| !matches!(*name, "FirstName" | "LastName"));
    standard
        .chain(["Badge__c", "Cost_Center__c", "Level__c", "Termination_Date__c"])
        .chain(OTHERS.iter().copied())
        .collect()
}

fn kind(name: &str) -> &'static str {
    match name {
        "IsActive" => "boolean",
        "Level__c" => "double",
        _ if name.ends_with("Date") || name.ends_with("Date__c") => "long",
        _ if name.starts_with("UserPermissions") || name.starts_with("UserPreferences") => "boolean",
        _ => "string",
    }
}

/// The schema.
pub(crate) fn schema() -> Schema {
    let list = json!({"type": "array", "items": "string"});
    let kinds = [
        "CREATE",
        "UPDATE",
        "DELETE",
        "UNDELETE",
        "GAP_CREATE",
        "GAP_UPDATE",
        "GAP_DELETE",
        "GAP_UNDELETE",
        "GAP_OVERFLOW",
    ];
    let header = json!({"type": "record", "name": "ChangeEventHeader", "fields": [
        {"name": "entityName", "type": "string"}, {"name": "recordIds", "type": list},
        {"name": "changeType", "type": {"type": "enum", "name": "ChangeType", "symbols": kinds}},
        {"name": "changeOrigin", "type": "string"}, {"name": "transactionKey", "type": "string"},
        {"name": "sequenceNumber", "type": "int"}, {"name": "commitTimestamp", "type": "long"},
        {"name": "commitNumber", "type": "long"}, {"name": "commitUser", "type": "string"},
        {"name": "nulledFields", "type": list}, {"name": "diffFields", "type": list}, {"name": "changedFields", "type": list}]});
    let parts = ["Salutation", "FirstName", "LastName"]
        .map(|part| json!({"name": part, "type": ["null", "string"], "default": null}));
    let name = json!({"type": "record", "name": "PersonName", "fields": parts});
    let mut fields = vec![
        json!({"name": "ChangeEventHeader", "type": header}),
        json!({"name": "Name", "type": ["null", "string", name], "default": null}),
    ];
    fields.extend(
        names()
            .into_iter()
            .map(|name| json!({"name": name, "type": ["null", kind(name)], "default": null})),
    );
    let schema =
        json!({"type": "record", "name": "UserChangeEvent", "namespace": "com.sforce.eventbus", "fields": fields});
    Schema::parse(&schema).expect("a schema")
}

/// An edit of the department of person `number`; `commit` counts the edits.
pub(crate) fn payload(schema: &Schema, number: u64, commit: u64, committed_at_ms: i64) -> Vec<u8> {
    let strings = |items: Vec<String>| Value::Array(items.into_iter().map(Value::String).collect());
    let (places, bits) = (names(), EDITED);
    // Field 0 is the header, field 1 the name.
    let bitmap = bits
        .iter()
        .filter_map(|name| places.iter().position(|place| place == name))
        .fold(0_u128, |bitmap, place| bitmap | (1 << (place + 2)));
    let header = Value::Record(vec![
        ("entityName".to_owned(), Value::String("User".to_owned())),
        (
            "recordIds".to_owned(),
            strings(vec![people::user_id(number).to_string()]),
        ),
        ("changeType".to_owned(), Value::Enum(1, "UPDATE".to_owned())),
        (
            "changeOrigin".to_owned(),
            Value::String("com/salesforce/api/rest/67.0".to_owned()),
        ),
        (
            "transactionKey".to_owned(),
            Value::String(format!("0003f2a1-7c1e-4b52-9e0a-{commit:012x}")),
        ),
        ("sequenceNumber".to_owned(), Value::Int(1)),
        ("commitTimestamp".to_owned(), Value::Long(committed_at_ms)),
        (
            "commitNumber".to_owned(),
            Value::Long(1_152_921_504_606_846_976 + commit.cast_signed()),
        ),
        ("commitUser".to_owned(), Value::String(people::user_id(0).to_string())),
        ("nulledFields".to_owned(), strings(Vec::new())),
        ("diffFields".to_owned(), strings(Vec::new())),
        ("changedFields".to_owned(), strings(vec![format!("0x{bitmap:X}")])),
    ]);
    let null = || Value::Union(0, Box::new(Value::Null));
    let mut fields = vec![("ChangeEventHeader".to_owned(), header), ("Name".to_owned(), null())];
    fields.extend(places.into_iter().map(|name| {
        let value = match name {
            "Department" => Value::Union(1, Box::new(Value::String(format!("Department {}", commit % 397)))),
            "LastModifiedDate" => Value::Union(1, Box::new(Value::Long(committed_at_ms))),
            _ => null(),
        };
        (name.to_owned(), value)
    }));
    let writer = GenericDatumWriter::builder(schema).build().expect("a writer");
    writer.write_value_to_vec(Value::Record(fields)).expect("a payload")
}
