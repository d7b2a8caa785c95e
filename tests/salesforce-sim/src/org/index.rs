//! Rows in and out of the tables with their indexes: user names are unique whatever their case, a user has a login record,
//! a link exists once.
//!
//! Leaves out everything that happens before a row is ready (`write.rs`).

use std::sync::Arc;

use super::state::{Row, State};
use crate::{
    error::SalesforceError,
    value::{FieldValue, fold},
};

pub(super) fn check_unique(
    state: &State,
    object: &str,
    row: &Row,
    own: Option<&Arc<str>>,
) -> Result<(), SalesforceError> {
    let def = &state.table(object).def;
    match object {
        "User" => {
            let username = row.get(def.at("Username")).as_text().map(fold).unwrap_or_default();
            if state.usernames.get(&username).is_some_and(|holder| Some(holder) != own) {
                return Err(SalesforceError::bad_request(
                    "DUPLICATE_USERNAME",
                    "Duplicate Username.The username already exists in this or another Salesforce organization. \
                     Usernames must be unique across all Salesforce organizations. To resolve, use a different \
                     username (it doesn't need to match the user's email address).",
                )
                .on_fields(&["Username"]));
            }
            Ok(())
        }
        "GroupMember" => unique_pair(state, object, row, own, ["GroupId", "UserOrGroupId"]),
        "PermissionSetAssignment" => unique_pair(state, object, row, own, ["PermissionSetId", "AssigneeId"]),
        _ => Ok(()),
    }
}

fn unique_pair(
    state: &State,
    object: &str,
    row: &Row,
    own: Option<&Arc<str>>,
    pair: [&str; 2],
) -> Result<(), SalesforceError> {
    let table = state.table(object);
    let fields = pair.map(|name| table.def.at(name));
    let twin = table
        .rows
        .values()
        .find(|other| Some(&other.id) != own && fields.iter().all(|&field| other.get(field) == row.get(field)));
    match twin {
        None => Ok(()),
        Some(twin) => Err(SalesforceError::bad_request(
            "DUPLICATE_VALUE",
            format!(
                "duplicate value found: {} duplicates value on record with id: {}",
                pair[1], twin.id
            ),
        )),
    }
}

/// Puts a new row in, with its indexes and, for a user, its login record.
pub(crate) fn insert(state: &mut State, object: &str, row: Row) {
    if object == "User" && !state.logins.contains_key(&row.id) {
        let login_id = state.ids.next("0Yw");
        let table = state.table("UserLogin");
        let mut login = table.blank(Arc::clone(&login_id));
        login.set(table.def.at("UserId"), FieldValue::Text(Arc::clone(&row.id)));
        let users = &state.users().def;
        login.set(
            table.def.at("LastModifiedDate"),
            row.get(users.at("CreatedDate")).clone(),
        );
        login.set(
            table.def.at("LastModifiedById"),
            row.get(users.at("CreatedById")).clone(),
        );
        state.logins.insert(Arc::clone(&row.id), Arc::clone(&login_id));
        state.table_mut("UserLogin").rows.insert(login_id, login);
    }
    replace(state, object, row);
}

/// Puts a row in the place of the one with its id, keeping the indexes true.
pub(super) fn replace(state: &mut State, object: &str, row: Row) {
    if object == "User" {
        let position = state.users().def.at("Username");
        if let Some(old) = state
            .users()
            .rows
            .get(&row.id)
            .and_then(|old| old.get(position).as_text())
            .map(fold)
        {
            state.usernames.remove(&old);
        }
        if let Some(username) = row.get(position).as_text() {
            let username = fold(username);
            state.usernames.insert(username, Arc::clone(&row.id));
        }
    }
    state.table_mut(object).rows.insert(Arc::clone(&row.id), row);
}

pub(super) fn forget(state: &mut State, object: &str, id: &Arc<str>) {
    let removed = state.table_mut(object).rows.remove(id);
    if object == "User" {
        if let Some(login) = state.logins.remove(id) {
            state.table_mut("UserLogin").rows.remove(&login);
        }
        let position = state.users().def.at("Username");
        if let Some(username) = removed.as_ref().and_then(|row| row.get(position).as_text()) {
            state.usernames.remove(&fold(username));
        }
    }
}
