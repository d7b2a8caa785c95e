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
    ($($(#[$doc:meta])* $field:ident : $type:ty),* $(,)?) => {
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
                #[serde(default, skip_serializing_if = "Known::is_unknown")]
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
        }
    };
}

users! {
    /// Log-in name in the form of an e-mail address; mutable.
    username: String,
    /// E-mail address; not unique.
    email: String,
    /// First name.
    given_name: String,
    /// Last name.
    family_name: String,
    /// Full name as the source composes it.
    display_name: String,
    /// Job title.
    title: String,
    /// Department.
    department: String,
    /// Division.
    division: String,
    /// Company name.
    company: String,
    /// Employee number; not unique.
    employee_number: String,
    /// Phone, free text.
    phone: String,
    /// Mobile phone, free text.
    mobile_phone: String,
    /// Phone extension.
    extension: String,
    /// Whether the person may log in to the source: the life-cycle flag.
    active: bool,
    /// Log-in frozen by an administrator; the licence stays and `active` stays true.
    frozen: bool,
    /// Whether the last complete report had the person.
    listed: bool,
    /// IANA time zone.
    time_zone: String,
    /// Locale as a language tag, `en-GB`.
    locale: String,
    /// Locale as the source writes it, `en_GB`.
    locale_key: String,
    /// Language as the source writes it, as a language tag.
    language: String,
    /// Kind of user in the source, `Standard` for employees.
    user_type: String,
    /// Subject for single sign-on.
    federation_id: String,
    /// The manager's user id.
    manager_id: UserId,
    /// Profile: licence and base permissions.
    profile: NamedRef,
    /// Role in the hierarchy.
    role: NamedRef,
    /// Public groups, sorted by id; `[]` is known to be in none.
    groups: Vec<GroupRef>,
    /// Permission sets, sorted by id, without those owned by profiles.
    permission_sets: Vec<NamedRef>,
    /// Last day, from a declared custom field.
    termination_date: Date,
    /// When the record was created at the source, UTC.
    created_at: Timestamp,
    /// When the record was last modified at the source, UTC.
    modified_at: Timestamp,
}

impl User {
    /// The message key.
    #[must_use]
    pub fn key(&self) -> UserKey {
        UserKey::new(self.org_id, self.id)
    }
}
