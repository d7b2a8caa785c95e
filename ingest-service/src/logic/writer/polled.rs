//! Polls: what change events never say (groups, permission sets, frozen state, names), attached to the people.

use std::collections::{HashMap, HashSet};

use usher_contract::{GroupRef, NamedRef, RecordId, UserId};

use super::{Timestamp, Writer};

/// What a complete poll says about everyone.
#[derive(Debug, Clone, PartialEq)]
pub enum Polled {
    /// Whose log-in is frozen; nobody else's is.
    Frozen(HashSet<UserId>),
    /// Who is in which groups; nobody else is in any.
    Groups(HashMap<UserId, Vec<GroupRef>>),
    /// Who has which permission sets; nobody else has any.
    PermissionSets(HashMap<UserId, Vec<NamedRef>>),
    /// Names of profiles and roles.
    Names(HashMap<RecordId, String>),
}

impl Writer {
    pub(super) fn polled(&mut self, polled: Polled, _read_at: Timestamp, _now: Timestamp) {
        if let Polled::Names(names) = polled {
            self.names.extend(names);
        }
    }
}
