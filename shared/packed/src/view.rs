//! A person as they are packed: texts borrowed from a [`User`], or from the message itself, so that nothing is
//! copied on the way from a topic into the table.
#![allow(missing_docs, reason = "the fields are those of `User`")]

use std::{borrow::Cow, collections::BTreeMap, fmt};

use jiff::{Timestamp, civil::Date};
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};
use serde_json::Value;
use usher_contract::{GroupRef, Known, NamedRef, OrgId, RecordId, Source, User, UserId};

/// Text that is copied only where the message has escapes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lent;
        impl<'de> Visitor<'de> for Lent {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Lent)
    }
}

/// As [`NamedRef`] and [`GroupRef`]; a role is always direct.
#[derive(Debug, PartialEq, Deserialize)]
pub struct Reference<'a> {
    pub id: RecordId,
    #[serde(default, borrow)]
    pub name: Known<Text<'a>>,
    #[serde(default)]
    pub direct: bool,
}

impl Reference<'_> {
    fn named(&self) -> NamedRef {
        NamedRef {
            id: self.id,
            name: self.name.as_ref().map(|name| name.0.clone().into_owned()),
        }
    }
}

/// The groups of a message. The contract has no group that leaves open whether the membership is direct: taken for one that
/// is not, it would put people out of a filter that looks at groups.
fn groups<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Known<Vec<Reference<'a>>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(bound(deserialize = "'de: 'a"))]
    struct Group<'a> {
        id: RecordId,
        #[serde(default)]
        name: Known<Text<'a>>,
        direct: bool,
    }
    let groups = Known::<Vec<Group<'a>>>::deserialize(deserializer)?;
    let reference = |Group { id, name, direct }: Group<'a>| Reference { id, name, direct };
    Ok(groups.map(|groups| groups.into_iter().map(reference).collect()))
}

/// As [`User`], by the same names. A property holds the two together.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub struct View<'a> {
    pub id: UserId,
    pub org_id: OrgId,
    #[serde(default)]
    pub source: Source,
    #[serde(default)]
    pub removed: bool,
    #[serde(default)]
    pub username: Known<Text<'a>>,
    #[serde(default)]
    pub email: Known<Text<'a>>,
    #[serde(default)]
    pub given_name: Known<Text<'a>>,
    #[serde(default)]
    pub family_name: Known<Text<'a>>,
    #[serde(default)]
    pub display_name: Known<Text<'a>>,
    #[serde(default)]
    pub title: Known<Text<'a>>,
    #[serde(default)]
    pub department: Known<Text<'a>>,
    #[serde(default)]
    pub division: Known<Text<'a>>,
    #[serde(default)]
    pub company: Known<Text<'a>>,
    #[serde(default)]
    pub employee_number: Known<Text<'a>>,
    #[serde(default)]
    pub phone: Known<Text<'a>>,
    #[serde(default)]
    pub mobile_phone: Known<Text<'a>>,
    #[serde(default)]
    pub extension: Known<Text<'a>>,
    #[serde(default)]
    pub active: Known<bool>,
    #[serde(default)]
    pub frozen: Known<bool>,
    #[serde(default)]
    pub listed: Known<bool>,
    #[serde(default)]
    pub time_zone: Known<Text<'a>>,
    #[serde(default)]
    pub locale: Known<Text<'a>>,
    #[serde(default)]
    pub locale_key: Known<Text<'a>>,
    #[serde(default)]
    pub language: Known<Text<'a>>,
    #[serde(default)]
    pub user_type: Known<Text<'a>>,
    #[serde(default)]
    pub federation_id: Known<Text<'a>>,
    #[serde(default)]
    pub manager_id: Known<UserId>,
    #[serde(default)]
    pub profile: Known<Reference<'a>>,
    #[serde(default)]
    pub role: Known<Reference<'a>>,
    #[serde(default, deserialize_with = "groups")]
    pub groups: Known<Vec<Reference<'a>>>,
    #[serde(default)]
    pub permission_sets: Known<Vec<Reference<'a>>>,
    #[serde(default)]
    pub termination_date: Known<Date>,
    #[serde(default)]
    pub created_at: Known<Timestamp>,
    #[serde(default)]
    pub modified_at: Known<Timestamp>,
    #[serde(default)]
    pub custom: BTreeMap<Text<'a>, Cow<'a, Value>>,
}

fn text(text: &Known<String>) -> Known<Text<'_>> {
    text.as_ref().map(|text| Text(Cow::Borrowed(text.as_str())))
}

fn named(reference: &NamedRef) -> Reference<'_> {
    let NamedRef { id, name } = reference;
    Reference {
        id: *id,
        name: text(name),
        direct: false,
    }
}

fn group(group: &GroupRef) -> Reference<'_> {
    let GroupRef { id, name, direct } = group;
    Reference {
        id: *id,
        name: text(name),
        direct: *direct,
    }
}

impl<'a> View<'a> {
    /// Of somebody.
    #[must_use]
    pub fn of(user: &'a User) -> Self {
        // Every field by name: one that is added later does not compile until it is packed.
        let User {
            id,
            org_id,
            source,
            removed,
            username,
            email,
            given_name,
            family_name,
            display_name,
            title,
            department,
            division,
            company,
            employee_number,
            phone,
            mobile_phone,
            extension,
            active,
            frozen,
            listed,
            time_zone,
            locale,
            locale_key,
            language,
            user_type,
            federation_id,
            manager_id,
            profile,
            role,
            groups,
            permission_sets,
            termination_date,
            created_at,
            modified_at,
            custom,
        } = user;
        Self {
            id: *id,
            org_id: *org_id,
            source: *source,
            removed: *removed,
            username: text(username),
            email: text(email),
            given_name: text(given_name),
            family_name: text(family_name),
            display_name: text(display_name),
            title: text(title),
            department: text(department),
            division: text(division),
            company: text(company),
            employee_number: text(employee_number),
            phone: text(phone),
            mobile_phone: text(mobile_phone),
            extension: text(extension),
            active: active.clone(),
            frozen: frozen.clone(),
            listed: listed.clone(),
            time_zone: text(time_zone),
            locale: text(locale),
            locale_key: text(locale_key),
            language: text(language),
            user_type: text(user_type),
            federation_id: text(federation_id),
            manager_id: manager_id.clone(),
            profile: profile.as_ref().map(named),
            role: role.as_ref().map(named),
            groups: groups.as_ref().map(|groups| groups.iter().map(group).collect()),
            permission_sets: permission_sets.as_ref().map(|sets| sets.iter().map(named).collect()),
            termination_date: termination_date.clone(),
            created_at: created_at.clone(),
            modified_at: modified_at.clone(),
            custom: custom
                .iter()
                .map(|(name, value)| (Text(Cow::Borrowed(name.as_str())), Cow::Borrowed(value)))
                .collect(),
        }
    }

    /// The groups in the form that marks are made of.
    #[must_use]
    pub fn groups(&self) -> Known<Vec<GroupRef>> {
        let group = |group: &Reference<'_>| {
            let NamedRef { id, name } = group.named();
            let direct = group.direct;
            GroupRef { id, name, direct }
        };
        self.groups.as_ref().map(|groups| groups.iter().map(group).collect())
    }

    /// The permission sets, likewise.
    #[must_use]
    pub fn permission_sets(&self) -> Known<Vec<NamedRef>> {
        self.permission_sets
            .as_ref()
            .map(|sets| sets.iter().map(Reference::named).collect())
    }
}
