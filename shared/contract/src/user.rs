//! `User`: the normalized full state of one person in the source.
//!
//! Names are ours and the same for every source; what is specific to an org goes into `custom`. Every field except
//! the identity may be unknown. What the fields mean at the source is in `docs` of each one.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    id::{OrgId, RecordId, UserId, UserKey},
    known::Known,
};

/// Which kind of system the person was read from. Open: later versions may add kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A Salesforce organization.
    #[default]
    Salesforce,
}

/// A record with an id and, where it could be read, a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct NamedRef {
    /// The record's id.
    pub id: RecordId,
    /// Its name; unknown when only the id was delivered and names could not be read.
    #[serde(default, skip_serializing_if = "Known::is_unknown")]
    pub name: Known<String>,
}

/// A public group that the person is in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct GroupRef {
    /// The group's id.
    pub id: RecordId,
    /// Its name.
    #[serde(default, skip_serializing_if = "Known::is_unknown")]
    pub name: Known<String>,
    /// Whether the membership is direct; false when it comes through a nested group.
    pub direct: bool,
}

macro_rules! users {
    ($($(#[$doc:meta])* $name:literal $field:ident : $type:ty),* $(,)?) => {
        /// The full state of one person. See the module documentation.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct User {
            /// The user's id in the source.
            pub id: UserId,
            /// The organization of the source.
            pub org_id: OrgId,
            /// The kind of source.
            #[serde(default)]
            pub source: Source,
            /// No longer a member of the population, or gone. The record stays; a tombstone on the topic means erased.
            #[serde(default)]
            pub removed: bool,
            $(
                $(#[$doc])*
                #[serde(rename = $name, default, skip_serializing_if = "Known::is_unknown")]
                pub $field: Known<$type>,
            )*
            /// Declared custom fields by their name in the source. A key that is absent is unknown.
            #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
            pub custom: BTreeMap<String, Value>,
        }

        impl User {
            /// A person of whom nothing but the identity is known.
            #[must_use]
            pub fn unknown(key: UserKey) -> Self {
                Self {
                    id: key.user,
                    org_id: key.org,
                    source: Source::Salesforce,
                    removed: false,
                    $($field: Known::Unknown,)*
                    custom: BTreeMap::new(),
                }
            }

            /// `newer` wherever it knows something, else `self`. `removed` is taken from `newer`.
            #[must_use]
            pub fn updated_by(self, newer: Self) -> Self {
                let mut custom = self.custom;
                custom.extend(newer.custom);
                Self {
                    id: self.id,
                    org_id: self.org_id,
                    source: newer.source,
                    removed: newer.removed,
                    $($field: self.$field.updated_by(newer.$field),)*
                    custom,
                }
            }

            /// As `older.updated_by(self)`; of the older state only what is missing is copied.
            #[must_use]
            pub fn over(mut self, older: &Self) -> Self {
                (self.id, self.org_id) = (older.id, older.org_id);
                $(if self.$field.is_unknown() {
                    self.$field = older.$field.clone();
                })*
                for (name, value) in &older.custom {
                    if !self.custom.contains_key(name) {
                        self.custom.insert(name.clone(), value.clone());
                    }
                }
                self
            }

            /// The names on the wire of everything that may be unknown, `custom` apart.
            pub const FIELDS: &[&str] = &[$($name),*];

            /// Calls `found` with the name of each of [`User::FIELDS`] that is not the same in both.
            pub fn differences(&self, other: &Self, mut found: impl FnMut(&'static str)) {
                $(if self.$field != other.$field {
                    found($name);
                })*
            }

            /// Calls `found` with the name of each of [`User::FIELDS`] that is known.
            pub fn known_fields(&self, mut found: impl FnMut(&'static str)) {
                $(if !self.$field.is_unknown() {
                    found($name);
                })*
            }

            /// What stands on the wire under one of [`User::FIELDS`]; `None` when it is unknown or no such name.
            #[must_use]
            pub fn wire_value(&self, name: &str) -> Option<Value> {
                match name {
                    // Unknown inside a value is left out by the value itself, so nothing that is known fails.
                    $($name => serde_json::to_value(&self.$field).ok(),)*
                    _ => None,
                }
            }

            /// Makes everything unknown that is not in the set; identity, `removed` and `custom` stay.
            pub fn keep_only(&mut self, kept: FieldSet) {
                let mut bit = 1_u64;
                $(
                    if kept.0 & bit == 0 {
                        self.$field = Known::Unknown;
                    }
                    bit <<= 1;
                )*
                // The last shift is for nobody.
                let _ = bit;
            }
        }
    };
}

users! {
    /// Log-in name in the form of an e-mail address; mutable.
    "username" username: String,
    /// E-mail address; not unique.
    "email" email: String,
    /// First name.
    "givenName" given_name: String,
    /// Last name.
    "familyName" family_name: String,
    /// Full name as the source composes it.
    "displayName" display_name: String,
    /// Job title.
    "title" title: String,
    /// Department.
    "department" department: String,
    /// Division.
    "division" division: String,
    /// Company name.
    "company" company: String,
    /// Employee number; not unique.
    "employeeNumber" employee_number: String,
    /// Phone, free text.
    "phone" phone: String,
    /// Mobile phone, free text.
    "mobilePhone" mobile_phone: String,
    /// Phone extension.
    "extension" extension: String,
    /// Whether the person may log in to the source: the life-cycle flag.
    "active" active: bool,
    /// Log-in frozen by an administrator; the licence stays and `active` stays true.
    "frozen" frozen: bool,
    /// Whether the last complete report had the person.
    "listed" listed: bool,
    /// IANA time zone.
    "timeZone" time_zone: String,
    /// Locale as a language tag, `en-GB`.
    "locale" locale: String,
    /// Locale as the source writes it, `en_GB`.
    "localeKey" locale_key: String,
    /// Language as the source writes it, as a language tag.
    "language" language: String,
    /// Kind of user in the source, `Standard` for employees.
    "userType" user_type: String,
    /// Subject for single sign-on.
    "federationId" federation_id: String,
    /// The manager's user id.
    "managerId" manager_id: UserId,
    /// Profile: licence and base permissions.
    "profile" profile: NamedRef,
    /// Role in the hierarchy.
    "role" role: NamedRef,
    /// Public groups, sorted by id; `[]` is known to be in none.
    "groups" groups: Vec<GroupRef>,
    /// Permission sets, sorted by id, without those owned by profiles.
    "permissionSets" permission_sets: Vec<NamedRef>,
    /// Last day, from a declared custom field.
    "terminationDate" termination_date: Date,
    /// When the record was created at the source, UTC.
    "createdAt" created_at: Timestamp,
    /// When the record was last modified at the source, UTC.
    "modifiedAt" modified_at: Timestamp,
}

/// Some of [`User::FIELDS`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FieldSet(u64);

impl FieldSet {
    /// The set of these names; others than [`User::FIELDS`] are passed over.
    #[must_use]
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        const { assert!(User::FIELDS.len() <= 64, "a bit for each field") }
        let place = |name: &str| User::FIELDS.iter().position(|field| *field == name);
        Self(
            names
                .into_iter()
                .filter_map(place)
                .fold(0, |set, place| set | (1 << place)),
        )
    }
}

impl FieldSet {
    /// Every field.
    pub const ALL: Self = Self(u64::MAX);
    /// No field.
    pub const NONE: Self = Self(0);

    /// The field at this place of [`User::FIELDS`].
    #[must_use]
    pub fn at(place: usize) -> Self {
        Self(1 << place)
    }
    /// Whatever is in one or the other.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// Whether something is in both.
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
    /// Whether the field of this name is in the set.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let place = User::FIELDS.iter().position(|field| *field == name);
        place.is_some_and(|place| self.0 & (1 << place) != 0)
    }
}

impl User {
    /// The message key.
    #[must_use]
    pub fn key(&self) -> UserKey {
        UserKey::new(self.org_id, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> User {
        let key: UserKey = "00D000000000001EAA:005ZL000000M0x1".parse().unwrap();
        User {
            email: "ada@acme.example".to_owned().into(),
            title: Known::Empty,
            active: true.into(),
            ..User::unknown(key)
        }
    }

    #[test]
    fn fields_are_named_as_on_the_wire() {
        let mut known = Vec::new();
        ada().known_fields(|name| known.push(name));
        let wire = serde_json::to_value(ada()).unwrap();
        assert_eq!(known, ["email", "title", "active"]);
        for name in known {
            assert_eq!(ada().wire_value(name).as_ref(), Some(&wire[name]), "{name}");
        }
        assert_eq!((ada().wire_value("phone"), ada().wire_value("id")), (None, None));
    }

    #[test]
    fn what_is_not_kept_is_unknown() {
        let mut user = ada();
        user.keep_only(FieldSet::of(["email", "shoeSize"]));
        let email = ada().email;
        assert_eq!(
            user,
            User {
                email,
                ..User::unknown(ada().key())
            }
        );
    }
}
