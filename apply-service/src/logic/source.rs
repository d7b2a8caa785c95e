//! What a rule may take from a person: the published fields by name, custom fields, the manager's account, and what the
//! manager holds.
//!
//! Three-valued: *unknown* stays unknown. Nothing here turns it into blank.

use std::fmt;

use serde_json::Value;
use usher_contract::{Known, NamedRef, User, UserKey};
use usher_filter::People;

type Read = fn(&User) -> Known<Value>;

fn text(value: &Known<String>) -> Known<Value> {
    value.as_ref().map(|text| Value::String(text.clone()))
}
fn shown<T: fmt::Display>(value: &Known<T>) -> Known<Value> {
    value.as_ref().map(|value| Value::String(value.to_string()))
}
fn flag(value: &Known<bool>) -> Known<Value> {
    value.as_ref().map(|flag| Value::Bool(*flag))
}
fn name_of(value: &Known<NamedRef>) -> Known<Value> {
    match value {
        Known::Unknown => Known::Unknown,
        Known::Empty => Known::Empty,
        Known::Value(named) => text(&named.name),
    }
}
fn id_of(value: &Known<NamedRef>) -> Known<Value> {
    value.as_ref().map(|named| Value::String(named.id.to_string()))
}

/// Every published field that a rule may name. Lists (groups, permission sets) need rules of their own and are not here.
const FIELDS: [(&str, Read); 29] = [
    ("id", |u| Known::Value(Value::String(u.id.to_string()))),
    ("orgId", |u| Known::Value(Value::String(u.org_id.to_string()))),
    ("username", |u| text(&u.username)),
    ("email", |u| text(&u.email)),
    ("givenName", |u| text(&u.given_name)),
    ("familyName", |u| text(&u.family_name)),
    ("displayName", |u| text(&u.display_name)),
    ("title", |u| text(&u.title)),
    ("department", |u| text(&u.department)),
    ("division", |u| text(&u.division)),
    ("company", |u| text(&u.company)),
    ("employeeNumber", |u| text(&u.employee_number)),
    ("phone", |u| text(&u.phone)),
    ("mobilePhone", |u| text(&u.mobile_phone)),
    ("extension", |u| text(&u.extension)),
    ("active", |u| flag(&u.active)),
    ("frozen", |u| flag(&u.frozen)),
    ("timeZone", |u| text(&u.time_zone)),
    ("locale", |u| text(&u.locale)),
    ("localeKey", |u| text(&u.locale_key)),
    ("language", |u| text(&u.language)),
    ("userType", |u| text(&u.user_type)),
    ("federationId", |u| text(&u.federation_id)),
    ("managerId", |u| shown(&u.manager_id)),
    ("profile.id", |u| id_of(&u.profile)),
    ("profile.name", |u| name_of(&u.profile)),
    ("role.id", |u| id_of(&u.role)),
    ("role.name", |u| name_of(&u.role)),
    ("terminationDate", |u| shown(&u.termination_date)),
];

/// The name under which the manager's account at the target is a source.
pub const MANAGER: &str = "manager";

/// Where a value comes from.
#[derive(Clone)]
pub enum SourceField {
    /// A published field.
    Published(&'static str, Read),
    /// A declared custom field, `custom.Name__c`.
    Custom(String),
    /// The id of the manager's account at the target; a reference that may not be there yet.
    Manager,
    /// A field of the manager, `manager.email`; only rows of the mapping have it.
    OfManager(Box<SourceField>),
}

impl SourceField {
    /// The field of a name; `None` when there is no such field.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if name == MANAGER {
            return Some(Self::Manager);
        }
        if let Some(custom) = name.strip_prefix("custom.") {
            let valid = !custom.is_empty() && custom.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
            return valid.then(|| Self::Custom(custom.to_owned()));
        }
        FIELDS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(known, read)| Self::Published(known, *read))
    }

    /// As [`SourceField::named`], for rows of the mapping: also a field of the manager, `manager.email`.
    #[must_use]
    pub fn mapped(name: &str) -> Option<Self> {
        match name.strip_prefix("manager.") {
            // One level: whose manager the manager's manager is, is nobody's attribute.
            Some(of) if of != MANAGER => Self::named(of).map(|field| Self::OfManager(Box::new(field))),
            Some(_) => None,
            None => Self::named(name),
        }
    }

    /// All names, for hints.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FIELDS.iter().map(|(name, _)| *name).chain([MANAGER])
    }

    /// The value of a person; a manager's reference is resolved elsewhere and gives the manager's user id here. What the
    /// manager holds is unknown here: [`SourceField::read_among`] has it.
    #[must_use]
    pub fn read(&self, user: &User) -> Known<Value> {
        match self {
            Self::Published(_, read) => read(user),
            Self::Custom(name) => match user.custom.get(name) {
                None => Known::Unknown,
                Some(Value::Null) => Known::Empty,
                Some(value) => Known::Value(value.clone()),
            },
            Self::Manager => shown(&user.manager_id),
            Self::OfManager(_) => Known::Unknown,
        }
    }

    /// The value of a person among others. A manager of whom there is no state (yet) leaves it unknown; nobody as a manager
    /// is blank. `seen_as` is how a person is seen, the manager as well.
    pub fn read_among(&self, user: &User, people: &dyn People, seen_as: &dyn Fn(&User) -> User) -> Known<Value> {
        let Self::OfManager(field) = self else {
            return self.read(user);
        };
        match &user.manager_id {
            Known::Unknown => Known::Unknown,
            Known::Empty => Known::Empty,
            Known::Value(id) => {
                let mut found = Known::Unknown;
                people.look(UserKey::new(user.org_id, *id), &mut |manager| {
                    found = field.read(&seen_as(manager));
                });
                found
            }
        }
    }
}

impl fmt::Display for SourceField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Published(name, _) => f.write_str(name),
            Self::Custom(name) => write!(f, "custom.{name}"),
            Self::Manager => f.write_str(MANAGER),
            Self::OfManager(field) => write!(f, "manager.{field}"),
        }
    }
}
impl fmt::Debug for SourceField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl PartialEq for SourceField {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

/// Whether a known value counts as blank: null, empty, or white space only.
#[must_use]
pub fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::logic::testing::person;

    #[test]
    fn every_name_leads_to_a_field_of_that_name() {
        for name in SourceField::names() {
            assert_eq!(SourceField::named(name).unwrap().to_string(), name);
        }
        assert!(SourceField::named("shoeSize").is_none());
        assert!(SourceField::named("custom.").is_none());
        assert!(SourceField::named("custom.a b").is_none());
    }

    #[test]
    fn a_field_of_the_manager_is_named_in_rows_alone_and_on_one_level() {
        for name in [
            "manager.email",
            "manager.custom.Badge__c",
            "manager.profile.name",
            "manager.managerId",
        ] {
            assert_eq!(SourceField::mapped(name).unwrap().to_string(), name);
            assert!(SourceField::named(name).is_none(), "{name}");
        }
        for name in [
            "manager.shoeSize",
            "manager.manager",
            "manager.manager.email",
            "manager.",
        ] {
            assert!(SourceField::mapped(name).is_none(), "{name}");
        }
        assert!(matches!(SourceField::mapped("manager"), Some(SourceField::Manager)));
    }

    #[test]
    fn an_absent_custom_field_is_unknown_and_null_is_empty() {
        let mut user = person(1).user;
        let badge = SourceField::named("custom.Badge__c").unwrap();
        assert_eq!(badge.read(&user), Known::Unknown);
        user.custom.insert("Badge__c".into(), Value::Null);
        assert_eq!(badge.read(&user), Known::Empty);
        user.custom.insert("Badge__c".into(), json!("B-7"));
        assert_eq!(badge.read(&user), Known::Value(json!("B-7")));
    }

    #[test]
    fn white_space_is_blank_and_false_is_not() {
        for blank in [json!(null), json!(""), json!(" \t\u{a0}"), json!([]), json!({})] {
            assert!(is_blank(&blank), "{blank}");
        }
        for value in [json!(false), json!(0), json!("x")] {
            assert!(!is_blank(&value), "{value}");
        }
    }
}
