//! What an administrator does in Setup, and what a test wants to see: the org's records by plain calls.
//!
//! Writes here are the administrator's: field-level security does not bind them, and `changeOrigin` is empty as for changes
//! in the user interface. Leaves out reports (`reports.rs`).

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    Org, SimUser,
    commit::Author,
    state::{Row, State},
    write,
};
use crate::{error::SalesforceError, people};

impl Org {
    /// The administrator, who makes the changes that the methods here are asked for.
    pub fn admin_id(&self) -> String {
        self.state().admin_id.to_string()
    }

    /// The integration user.
    pub fn integration_user_id(&self) -> String {
        self.state().integration_id.to_string()
    }

    /// Whether an access token is good now; asking is a use of its session. For services of the org that others simulate.
    pub fn accepts_token(&self, token: &str) -> bool {
        let now_ms = self.now_ms();
        self.sessions().touch(token, now_ms).is_some()
    }

    fn admin(&self) -> Author {
        Author {
            user: Arc::clone(&self.state().admin_id),
            origin: String::new(),
        }
    }

    fn snapshot(state: &State, object: &str, row: &Row) -> SimUser {
        SimUser {
            id: row.id.to_string(),
            fields: state.full_json(object, row),
        }
    }

    /// Everybody, by id.
    pub fn users(&self) -> Vec<SimUser> {
        self.records("User")
    }

    /// The ids of everybody, without copying their fields.
    pub fn user_ids(&self) -> Vec<String> {
        self.state().users().rows.keys().map(ToString::to_string).collect()
    }

    /// How many users there are.
    pub fn user_count(&self) -> usize {
        self.state().users().rows.len()
    }

    /// One user, by the 15- or 18-character id.
    pub fn user(&self, id: &str) -> Option<SimUser> {
        self.record("User", id)
    }

    /// The user with this `Username`.
    pub fn user_by_username(&self, username: &str) -> Option<SimUser> {
        let state = self.state();
        let id = state.usernames.get(&username.to_lowercase())?;
        state
            .users()
            .rows
            .get(id)
            .map(|row| Self::snapshot(&state, "User", row))
    }

    /// All records of an object such as `Group` or `Profile`; none for an unknown object.
    pub fn records(&self, object: &str) -> Vec<SimUser> {
        let state = self.state();
        let Some(table) = state.tables.get(object) else {
            return Vec::new();
        };
        table
            .rows
            .values()
            .map(|row| Self::snapshot(&state, object, row))
            .collect()
    }

    /// One record of any object.
    pub fn record(&self, object: &str, id: &str) -> Option<SimUser> {
        let state = self.state();
        let id = crate::id::normalize(id)?;
        let row = state.tables.get(object)?.rows.get(id.as_str())?;
        Some(Self::snapshot(&state, object, row))
    }

    /// Creates a user as the administrator. Fields that Setup fills in by itself may be left out.
    ///
    /// # Errors
    /// What Salesforce would refuse, for example `DUPLICATE_USERNAME`.
    pub fn create_user(&self, fields: Value) -> Result<String, SalesforceError> {
        let body = people::with_defaults(&self.state(), object_of(fields)?);
        self.create_one("User", body)
    }

    /// Changes a user as the administrator; emits the change event.
    ///
    /// # Errors
    /// What Salesforce would refuse.
    pub fn update_user(&self, id: &str, fields: Value) -> Result<(), SalesforceError> {
        self.update("User", id, fields)
    }

    /// Changes several users in one transaction: equal changes become one event with many record ids.
    ///
    /// # Errors
    /// The first refusal; nothing is changed then.
    pub fn update_users_in_one_transaction(&self, changes: &[(String, Value)]) -> Result<(), SalesforceError> {
        let bodies = changes
            .iter()
            .map(|(id, fields)| Ok((id.clone(), object_of(fields.clone())?)))
            .collect::<Result<Vec<_>, SalesforceError>>()?;
        self.update_all("User", &bodies, &self.admin(), true)
            .into_iter()
            .filter_map(Result::err)
            .find(|error| error.code != "ALL_OR_NONE_OPERATION_ROLLED_BACK")
            .map_or(Ok(()), Err)
    }

    /// Deletes a portal user; other people cannot be deleted.
    ///
    /// # Errors
    /// For a standard user, as Salesforce refuses it.
    pub fn delete_user(&self, id: &str) -> Result<(), SalesforceError> {
        self.delete_portal_user(id, &self.admin())
    }

    /// Brings a deleted portal user back.
    ///
    /// # Errors
    /// When no such user was deleted.
    pub fn undelete_user(&self, id: &str) -> Result<(), SalesforceError> {
        self.undelete_portal_user(id, &self.admin())
    }

    /// Freezes or unfreezes a user. There is no change event for that.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn freeze(&self, user_id: &str, frozen: bool) -> Result<(), SalesforceError> {
        let login = {
            let state = self.state();
            let id = write::existing(&state, "User", user_id)?;
            state
                .logins
                .get(&id)
                .map(ToString::to_string)
                .ok_or_else(SalesforceError::not_found)?
        };
        self.update("UserLogin", &login, serde_json::json!({"IsFrozen": frozen}))
    }

    /// Creates a record of any object as the administrator.
    ///
    /// # Errors
    /// What Salesforce would refuse.
    pub fn create(&self, object: &str, fields: Value) -> Result<String, SalesforceError> {
        self.create_one(object, object_of(fields)?)
    }

    fn create_one(&self, object: &str, body: Map<String, Value>) -> Result<String, SalesforceError> {
        let object = self.object_name(object)?;
        self.create_all(object, &[body], &self.admin(), true).remove(0)
    }

    /// Changes a record of any object as the administrator.
    ///
    /// # Errors
    /// What Salesforce would refuse.
    pub fn update(&self, object: &str, id: &str, fields: Value) -> Result<(), SalesforceError> {
        let object = self.object_name(object)?;
        self.update_all(object, &[(id.to_owned(), object_of(fields)?)], &self.admin(), false)
            .remove(0)
    }

    /// Removes a record of any object that has deletion.
    ///
    /// # Errors
    /// What Salesforce would refuse.
    pub fn remove(&self, object: &str, id: &str) -> Result<(), SalesforceError> {
        self.delete(self.object_name(object)?, id)
    }

    /// The object's own spelling of a name.
    pub(crate) fn object_name(&self, object: &str) -> Result<&'static str, SalesforceError> {
        self.state()
            .find_table(object)
            .map(|table| table.def.name)
            .ok_or_else(SalesforceError::not_found)
    }
}

fn object_of(fields: Value) -> Result<Map<String, Value>, SalesforceError> {
    match fields {
        Value::Object(map) => Ok(map),
        other => Err(SalesforceError::bad_request(
            "JSON_PARSER_ERROR",
            format!("not an object: {other}"),
        )),
    }
}
