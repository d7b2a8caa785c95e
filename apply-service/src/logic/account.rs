//! What a target should hold for one person, and what it was seen to hold.
//!
//! Attributes are addressed by SCIM paths (`name.givenName`, `emails[type eq "work"].value`,
//! `urn:...:enterprise:2.0:User:department`), whatever the connector: one address language for mapping, links,
//! previews and audits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The address of an attribute, in canonical spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttributePath(pub String);

impl AttributePath {
    /// Whether both are of one element of one list, as its value and its display name, or the same attribute.
    #[must_use]
    pub fn shares_element(&self, other: &Self) -> bool {
        let element = |path: &Self| {
            let (element, _) = path.0.rsplit_once('.').filter(|(element, _)| element.ends_with(']'))?;
            Some(element.to_owned())
        };
        self == other || element(self).is_some_and(|one| element(other) == Some(one))
    }
}

impl std::fmt::Display for AttributePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Attribute values to write; `Value::Null` clears the attribute at the target.
pub type AttributeValues = BTreeMap<AttributePath, Value>;

/// The id that a target gave to an account: opaque text, numbers included (some exceed 64 bits).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RemoteId(pub String);

impl std::fmt::Display for RemoteId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A group of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteGroup {
    /// The target's id.
    pub id: RemoteId,
    /// Its name.
    pub name: String,
}

/// An account as the target showed it.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteAccount {
    /// The target's id.
    pub id: RemoteId,
    /// Our key at the target, when it holds one.
    pub external_id: Option<String>,
    /// Log-in name, when shown.
    pub user_name: Option<String>,
    /// Whether the account may log in; `None` when the target does not say.
    pub active: Option<bool>,
    /// Version for conditional writes, only when the target supports them.
    pub etag: Option<String>,
    /// The resource as it came; the connector reads attributes out of it by path.
    pub resource: Value,
}
