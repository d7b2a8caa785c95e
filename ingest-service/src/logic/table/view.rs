//! A person as the table packs them: texts borrowed from a [`User`], or from the message itself, so that nothing is
//! copied on the way from a topic into the table.

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
pub(super) struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
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
pub(super) struct Reference<'a> {
    pub(super) id: RecordId,
    #[serde(default, borrow)]
    pub(super) name: Known<Text<'a>>,
    #[serde(default)]
    pub(super) direct: bool,
}

impl Reference<'_> {
    fn named(&self) -> NamedRef {
        NamedRef {
            id: self.id,
            name: self.name.as_ref().map(|name| name.0.clone().into_owned()),
        }
    }
}

/// As [`User`], by the same names. A property holds the two together.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(super) struct View<'a> {
    pub(super) id: UserId,
    pub(super) org_id: OrgId,
    #[serde(default)]
    pub(super) source: Source,
    #[serde(default)]
    pub(super) removed: bool,
    #[serde(default)]
    pub(super) username: Known<Text<'a>>,
    #[serde(default)]
    pub(super) email: Known<Text<'a>>,
    #[serde(default)]
    pub(super) given_name: Known<Text<'a>>,
    #[serde(default)]
    pub(super) family_name: Known<Text<'a>>,
    #[serde(default)]
    pub(super) display_name: Known<Text<'a>>,
    #[serde(default)]
    pub(super) title: Known<Text<'a>>,
    #[serde(default)]
    pub(super) department: Known<Text<'a>>,
    #[serde(default)]
    pub(super) division: Known<Text<'a>>,
    #[serde(default)]
    pub(super) company: Known<Text<'a>>,
    #[serde(default)]
    pub(super) employee_number: Known<Text<'a>>,
    #[serde(default)]
    pub(super) phone: Known<Text<'a>>,
    #[serde(default)]
    pub(super) mobile_phone: Known<Text<'a>>,
    #[serde(default)]
    pub(super) extension: Known<Text<'a>>,
    #[serde(default)]
    pub(super) active: Known<bool>,
    #[serde(default)]
    pub(super) frozen: Known<bool>,
    #[serde(default)]
    pub(super) listed: Known<bool>,
    #[serde(default)]
    pub(super) time_zone: Known<Text<'a>>,
    #[serde(default)]
    pub(super) locale: Known<Text<'a>>,
    #[serde(default)]
    pub(super) locale_key: Known<Text<'a>>,
    #[serde(default)]
    pub(super) language: Known<Text<'a>>,
    #[serde(default)]
    pub(super) user_type: Known<Text<'a>>,
    #[serde(default)]
    pub(super) federation_id: Known<Text<'a>>,
    #[serde(default)]
    pub(super) manager_id: Known<UserId>,
    #[serde(default)]
    pub(super) profile: Known<Reference<'a>>,
    #[serde(default)]
    pub(super) role: Known<Reference<'a>>,
    #[serde(default)]
    pub(super) groups: Known<Vec<Reference<'a>>>,
    #[serde(default)]
    pub(super) permission_sets: Known<Vec<Reference<'a>>>,
    #[serde(default)]
    pub(super) termination_date: Known<Date>,
    #[serde(default)]
    pub(super) created_at: Known<Timestamp>,
    #[serde(default)]
    pub(super) modified_at: Known<Timestamp>,
    #[serde(default)]
    pub(super) custom: BTreeMap<Text<'a>, Cow<'a, Value>>,
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
    pub(super) fn of(user: &'a User) -> Self {
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
    pub(super) fn groups(&self) -> Known<Vec<GroupRef>> {
        let group = |group: &Reference<'_>| {
            let NamedRef { id, name } = group.named();
            let direct = group.direct;
            GroupRef { id, name, direct }
        };
        self.groups.as_ref().map(|groups| groups.iter().map(group).collect())
    }

    /// The permission sets, likewise.
    pub(super) fn permission_sets(&self) -> Known<Vec<NamedRef>> {
        self.permission_sets
            .as_ref()
            .map(|sets| sets.iter().map(Reference::named).collect())
    }
}
