//! Normalizing: whatever the source says about a user, as a [`User`] in which everything else is unknown.
//!
//! Queries, reports and change events differ in spelling, not in meaning: all three are first brought to the API
//! names of a query, then read here. A field that is absent from the input stays unknown.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, civil::Date, fmt::strtime, tz::TimeZone};
use serde_json::{Map, Value};
use usher_contract::{FieldSet, Known, NamedRef, RecordId, User, UserId, UserKey};

use super::{
    change_event::Delta,
    field::{FieldType, api_name},
};

/// What is configured about fields of this org.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    /// Declared custom fields by API name, typed by `describe`.
    pub custom: BTreeMap<String, FieldType>,
    /// The custom field with a person's last day.
    pub termination_date: Option<String>,
    /// Fields that the integration user may not read: they arrive as null and mean nothing.
    pub unreadable: BTreeSet<String>,
    /// The fields of `User` that are published; `None` for all. See [`published`].
    pub publish: Option<FieldSet>,
}

/// A raw user: API names, nested objects for parents.
pub type RawUser = Map<String, Value>;

/// Normalizes a raw user.
#[must_use]
pub fn normalize(key: UserKey, raw: &RawUser, fields: &Fields) -> User {
    let mut user = User::unknown(key);
    // Each value once, by its name: looking up each name would take most of the time of a snapshot's rows.
    for (name, value) in raw {
        let text = || known(value, as_text);
        match name.as_str() {
            "Username" => user.username = text(),
            "Email" => user.email = text(),
            "FirstName" => user.given_name = text(),
            "LastName" => user.family_name = text(),
            "Title" => user.title = text(),
            "Department" => user.department = text(),
            "Division" => user.division = text(),
            "CompanyName" => user.company = text(),
            "EmployeeNumber" => user.employee_number = text(),
            "Phone" => user.phone = text(),
            "MobilePhone" => user.mobile_phone = text(),
            "Extension" => user.extension = text(),
            "IsActive" => user.active = known(value, as_bool),
            "TimeZoneSidKey" => user.time_zone = text(),
            "LocaleSidKey" => {
                user.locale_key = text();
                user.locale = user.locale_key.as_ref().map(|key| language_tag(key));
            }
            "LanguageLocaleKey" => user.language = text().map(|key| language_tag(&key)),
            "UserType" => user.user_type = text(),
            "FederationIdentifier" => user.federation_id = text(),
            "ManagerId" => user.manager_id = known(value, |id| UserId::try_new(id.as_str()?).ok()),
            "ProfileId" => user.profile = reference(value, raw.get("Profile")),
            "UserRoleId" => user.role = reference(value, raw.get("UserRole")),
            "CreatedDate" => user.created_at = known(value, as_timestamp),
            "LastModifiedDate" => user.modified_at = known(value, as_timestamp),
            _ => {}
        }
    }
    if let Some(value) = fields.termination_date.as_ref().and_then(|name| raw.get(name)) {
        user.termination_date = known(value, as_date);
    }
    for (name, kind) in &fields.custom {
        if let Some(value) = raw.get(name).and_then(|value| custom_value(value, *kind)) {
            user.custom.insert(name.clone(), value);
        }
    }
    user
}

/// The raw user that a change event's delta describes.
#[must_use]
pub fn raw_of_delta(delta: &Delta, fields: &Fields) -> RawUser {
    let named = delta
        .iter()
        .map(|(name, value)| (api_name(name).to_owned(), value.clone()));
    named.filter(|(name, _)| !fields.unreadable.contains(name)).collect()
}

/// What follows from other fields, and what is not published at all. Applied to every next state before it is compared,
/// so that the same state has the same form whatever observation it came from.
#[must_use]
pub fn complete(mut user: User, fields: &Fields) -> User {
    compose_name(&mut user);
    // What may no longer be read cannot be confirmed either: it is unknown, not what it was.
    for name in &fields.unreadable {
        forget(&mut user, name, fields);
    }
    // A field that is no longer declared would stay for ever with its last value.
    user.custom.retain(|name, _| fields.custom.contains_key(name));
    if let Some(publish) = fields.publish {
        user.keep_only(publish);
    }
    user
}

/// The field with this API name becomes unknown. `active` stays: applications act on it, and nothing is led without it.
fn forget(user: &mut User, api_name: &str, fields: &Fields) {
    match api_name {
        "Username" => user.username = Known::Unknown,
        "Email" => user.email = Known::Unknown,
        "FirstName" | "LastName" => {
            if api_name == "FirstName" {
                user.given_name = Known::Unknown;
            } else {
                user.family_name = Known::Unknown;
            }
            user.display_name = Known::Unknown;
        }
        "Title" => user.title = Known::Unknown,
        "Department" => user.department = Known::Unknown,
        "Division" => user.division = Known::Unknown,
        "CompanyName" => user.company = Known::Unknown,
        "EmployeeNumber" => user.employee_number = Known::Unknown,
        "Phone" => user.phone = Known::Unknown,
        "MobilePhone" => user.mobile_phone = Known::Unknown,
        "Extension" => user.extension = Known::Unknown,
        "TimeZoneSidKey" => user.time_zone = Known::Unknown,
        "LocaleSidKey" => {
            user.locale = Known::Unknown;
            user.locale_key = Known::Unknown;
        }
        "LanguageLocaleKey" => user.language = Known::Unknown,
        "UserType" => user.user_type = Known::Unknown,
        "FederationIdentifier" => user.federation_id = Known::Unknown,
        "ManagerId" => user.manager_id = Known::Unknown,
        "ProfileId" => user.profile = Known::Unknown,
        "UserRoleId" => user.role = Known::Unknown,
        "CreatedDate" => user.created_at = Known::Unknown,
        "LastModifiedDate" => user.modified_at = Known::Unknown,
        _ => {
            if fields.termination_date.as_deref() == Some(api_name) {
                user.termination_date = Known::Unknown;
            }
            user.custom.remove(api_name);
        }
    }
}

/// The full name from its parts; left alone where it is right already.
fn compose_name(user: &mut User) {
    let full = match (&user.given_name, &user.family_name) {
        (Known::Unknown, _) | (_, Known::Unknown) => Known::Unknown,
        (Known::Empty, Known::Empty) => Known::Empty,
        (Known::Value(one), Known::Empty) | (Known::Empty, Known::Value(one)) => Known::Value(one.clone()),
        (Known::Value(given), Known::Value(family)) => {
            let is_right = user.display_name.value().is_some_and(|full| {
                let rest = full.strip_prefix(given.as_str());
                rest.and_then(|rest| rest.strip_prefix(' ')) == Some(family.as_str())
            });
            if is_right {
                return;
            }
            Known::Value(format!("{given} {family}"))
        }
    };
    user.display_name = full;
}

/// The allow-list with what always stays beside the identity: others act on it.
#[must_use]
pub fn published(allowed: &[String]) -> FieldSet {
    let always = ["active", "listed", "modifiedAt"];
    FieldSet::of(allowed.iter().map(String::as_str).chain(always))
}

/// The names that the allow-list may have: every field of `User` but the identity and what is always there.
#[must_use]
pub fn published_names() -> Vec<&'static str> {
    let standard = super::field::STANDARD_FIELDS.iter().map(|field| field.ours);
    let others = [
        "displayName",
        "frozen",
        "locale",
        "groups",
        "permissionSets",
        "terminationDate",
    ];
    standard
        .chain(others)
        .filter(|name| *name != "active" && *name != "modifiedAt")
        .collect()
}

/// Present null is known to be empty; a value of the wrong form is unknown rather than a guess.
fn known<T>(value: &Value, read: impl Fn(&Value) -> Option<T>) -> Known<T> {
    if is_blank(value) {
        return Known::Empty;
    }
    read(value).map_or(Known::Unknown, Known::Value)
}

fn is_blank(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(str::is_empty)
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Reports give booleans as such or as text.
fn as_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) if text.eq_ignore_ascii_case("true") || text == "1" => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") || text == "0" => Some(false),
        _ => None,
    }
}

fn as_id(value: &Value) -> Option<RecordId> {
    RecordId::try_new(value.as_str()?).ok()
}

/// Epoch milliseconds (events), `2026-01-02T03:04:05.000+0000` (queries), `…Z` (bulk, reports).
#[must_use]
pub fn as_timestamp(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(number) => Timestamp::from_millisecond(number.as_i64()?).ok(),
        Value::String(text) => text.parse().ok().or_else(|| {
            strtime::parse("%Y-%m-%dT%H:%M:%S%.f%z", text)
                .and_then(|parsed| parsed.to_timestamp())
                .ok()
        }),
        _ => None,
    }
}

/// Epoch milliseconds at midnight UTC (events), `2026-01-02` (elsewhere).
fn as_date(value: &Value) -> Option<Date> {
    match value {
        Value::Number(number) => Some(
            Timestamp::from_millisecond(number.as_i64()?)
                .ok()?
                .to_zoned(TimeZone::UTC)
                .date(),
        ),
        Value::String(text) => text.get(..10)?.parse().ok(),
        _ => None,
    }
}

/// A custom value in the form that it has in a query, so that events and queries compare equal.
fn custom_value(value: &Value, kind: FieldType) -> Option<Value> {
    if is_blank(value) {
        return Some(Value::Null);
    }
    match kind {
        FieldType::Text => as_text(value).map(Value::String),
        FieldType::Boolean => as_bool(value).map(Value::Bool),
        FieldType::Id => as_id(value).map(|id| Value::String(id.to_string())),
        FieldType::DateTime => as_timestamp(value).map(|at| Value::String(at.to_string())),
        FieldType::Date => as_date(value).map(|day| Value::String(day.to_string())),
        FieldType::Number => match value {
            // 3 and 3.0 are one number.
            Value::Number(number) => number
                .as_f64()
                .and_then(serde_json::Number::from_f64)
                .map(Value::Number),
            Value::String(text) => text
                .parse()
                .ok()
                .and_then(serde_json::Number::from_f64)
                .map(Value::Number),
            _ => None,
        },
    }
}

/// `de_DE_EURO` -> `de-DE`: language, then a region of two letters or three digits; variants have no tag.
fn language_tag(key: &str) -> String {
    let mut parts = key.split('_');
    let language = parts.next().unwrap_or(key).to_owned();
    match parts.next() {
        Some(region) if region.len() == 2 || region.len() == 3 => format!("{language}-{region}"),
        _ => language,
    }
}

/// A parent by id, with its name when the input has the parent itself.
fn reference(id: &Value, parent: Option<&Value>) -> Known<NamedRef> {
    known(id, as_id).map(|id| {
        let name = match parent {
            Some(Value::Object(parent)) => parent.get("Name").map_or(Known::Unknown, |name| known(name, as_text)),
            _ => Known::Unknown,
        };
        NamedRef { id, name }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use usher_packed::arbitrary;

    fn key() -> UserKey {
        "00D000000000001EAA:005ZL000000M0x1".parse().unwrap()
    }
    fn raw(value: Value) -> RawUser {
        value.as_object().unwrap().clone()
    }
    fn fields() -> Fields {
        Fields {
            custom: BTreeMap::from([
                ("Badge__c".into(), FieldType::Text),
                ("Level__c".into(), FieldType::Number),
            ]),
            termination_date: Some("Termination_Date__c".into()),
            ..Fields::default()
        }
    }

    #[test]
    fn query_and_event_of_the_same_state_are_equal() {
        let query = raw(
            json!({"FirstName": "Ada", "LastName": "Byron", "IsActive": true, "Department": null, "ProfileId": "00e000000000001",
            "Profile": {"attributes": {}, "Name": "Sales User"}, "LastModifiedDate": "2026-01-02T00:00:00.000+0000",
            "Termination_Date__c": "2026-12-31", "Badge__c": "B-7", "Level__c": 3}),
        );
        let event = raw_of_delta(
            &Delta::from([
                ("Name.FirstName".into(), json!("Ada")),
                ("Name.LastName".into(), json!("Byron")),
                ("IsActive".into(), json!(true)),
                ("Department".into(), Value::Null),
                ("ProfileId".into(), json!("00e000000000001AAA")),
                ("LastModifiedDate".into(), json!(1_767_312_000_000_i64)),
                ("Termination_Date__c".into(), json!(1_798_675_200_000_i64)),
                ("Badge__c".into(), json!("B-7")),
                ("Level__c".into(), json!(3.0)),
            ]),
            &fields(),
        );
        let mut from_query = normalize(key(), &query, &fields());
        let from_event = normalize(key(), &event, &fields());
        assert_eq!(
            from_query.profile.value().unwrap().name,
            Known::Value("Sales User".into())
        );
        from_query.profile = from_event.profile.clone();
        assert_eq!(from_query, from_event);
        assert_eq!(
            complete(from_query, &fields()).display_name,
            Known::Value("Ada Byron".into())
        );
    }

    #[test]
    fn declared_custom_fields_are_there_by_their_names_and_others_are_not() {
        let raw = raw(json!({"Badge__c": "B-7", "Level__c": 3, "Other__c": "x"}));
        let user = complete(normalize(key(), &raw, &fields()), &fields());
        let expected = [
            ("Badge__c".to_owned(), json!("B-7")),
            ("Level__c".to_owned(), json!(3.0)),
        ];
        assert_eq!(user.custom, BTreeMap::from(expected));
    }

    #[test]
    fn an_unreadable_field_is_unknown_and_not_cleared() {
        let fields = Fields {
            unreadable: BTreeSet::from(["Department".to_owned()]),
            ..fields()
        };
        let raw = raw_of_delta(
            &Delta::from([("Department".into(), Value::Null), ("Title".into(), Value::Null)]),
            &fields,
        );
        let user = normalize(key(), &raw, &fields);
        assert_eq!((user.department, user.title), (Known::Unknown, Known::Empty));
    }

    #[test]
    fn whatever_may_no_longer_be_read_becomes_unknown() {
        for field in super::super::field::STANDARD_FIELDS
            .iter()
            .filter(|field| field.api != "IsActive")
        {
            let value = match field.api {
                "ProfileId" => json!("00e000000000001"),
                "UserRoleId" => json!("00E000000000001"),
                "ManagerId" => json!("005ZL000000M0x1"),
                "CreatedDate" | "LastModifiedDate" => json!("2026-01-02T00:00:00.000+0000"),
                _ => json!("something"),
            };
            let known = complete(
                normalize(key(), &raw(json!({ field.api: value })), &fields()),
                &fields(),
            );
            let shown = serde_json::to_value(&known).unwrap();
            assert!(shown.get(field.ours).is_some(), "{}", field.api);
            let hidden = Fields {
                unreadable: BTreeSet::from([field.api.to_owned()]),
                ..fields()
            };
            let shown = serde_json::to_value(complete(known, &hidden)).unwrap();
            assert_eq!(shown.get(field.ours), None, "{}", field.api);
        }
        let hidden = Fields {
            unreadable: BTreeSet::from(["Badge__c".to_owned(), "Termination_Date__c".to_owned()]),
            ..fields()
        };
        let raw = raw(json!({"Badge__c": "B-7", "Level__c": 3, "Termination_Date__c": "2026-12-31"}));
        let user = complete(normalize(key(), &raw, &fields()), &hidden);
        assert_eq!(user.termination_date, Known::Unknown);
        assert_eq!(user.custom.keys().collect::<Vec<_>>(), ["Level__c"]);
    }

    #[test]
    fn absent_is_unknown_null_is_empty_and_nonsense_is_unknown() {
        let user = normalize(
            key(),
            &raw(json!({"Title": null, "Department": "", "IsActive": "perhaps", "ManagerId": "x"})),
            &fields(),
        );
        assert_eq!((user.title, user.department), (Known::Empty, Known::Empty));
        assert_eq!(
            (user.email, user.active, user.manager_id),
            (Known::Unknown, Known::Unknown, Known::Unknown)
        );
    }

    #[test]
    fn normalizing_twice_is_normalizing_once() {
        let user = complete(
            normalize(key(), &raw(json!({"FirstName": null, "LastName": "Byron"})), &fields()),
            &fields(),
        );
        assert_eq!(complete(user.clone(), &fields()), user);
        assert_eq!(user.display_name, Known::Value("Byron".into()));
    }

    proptest! {
        #[test]
        fn a_newer_state_over_an_older_one_is_the_older_one_updated(
            (older, newer) in (arbitrary::user(), arbitrary::user())
        ) {
            prop_assert_eq!(newer.clone().over(&older), older.updated_by(newer));
        }
    }

    #[test]
    fn locale_keys_become_language_tags() {
        for (key, tag) in [
            ("en_GB", "en-GB"),
            ("de_DE_EURO", "de-DE"),
            ("de", "de"),
            ("es_419", "es-419"),
            ("pt_BR", "pt-BR"),
        ] {
            assert_eq!(language_tag(key), tag);
        }
    }

    #[test]
    fn what_is_not_on_the_allow_list_is_not_published() {
        let fields = Fields {
            publish: Some(published(&["email".into()])),
            ..Fields::default()
        };
        let user = complete(
            normalize(
                key(),
                &raw(json!({"Email": "a@b", "Title": "AE", "IsActive": true})),
                &fields,
            ),
            &fields,
        );
        assert_eq!(user.email, Known::Value("a@b".into()));
        assert_eq!(user.title, Known::Unknown);
        assert_eq!(user.active, Known::Value(true));
    }

    #[test]
    fn every_form_of_a_moment_is_read() {
        let moment: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        for form in [
            json!("2026-01-02T03:04:05.000+0000"),
            json!("2026-01-02T03:04:05.000Z"),
            json!(moment.as_millisecond()),
        ] {
            assert_eq!(as_timestamp(&form), Some(moment), "{form}");
        }
    }
}
