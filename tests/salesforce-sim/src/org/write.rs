//! Creating, changing and removing records, with the rules that need other records. Users emit change events.
//!
//! Leaves out types and lengths of values (`validate.rs`) and the events themselves (`commit.rs`).

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Map, Value};

use super::{
    Org,
    commit::{Author, Change, ChangeKind},
    index::{check_unique, forget, insert, replace},
    state::{Row, State},
    validate::{self, Write},
};
use crate::{
    clock,
    error::SalesforceError,
    field::{FieldKind, ObjectDef},
    id,
    value::FieldValue,
};

impl Org {
    /// Creates records in one transaction; the answers are in the order of the bodies.
    ///
    /// With `all_or_none` nothing is kept when one fails.
    pub(crate) fn create_all(
        &self,
        object: &str,
        bodies: &[Map<String, Value>],
        author: &Author,
        all_or_none: bool,
    ) -> Vec<Result<String, SalesforceError>> {
        let mut state = self.state_mut();
        let now = self.now_ms();
        let mut changes = Vec::new();
        let mut made = Vec::new();
        let results: Vec<_> = bodies
            .iter()
            .map(|body| {
                let row = new_row(&mut state, object, body, author, now)?;
                let id = Arc::clone(&row.id);
                insert(&mut state, object, row);
                made.push(Arc::clone(&id));
                if object == "User" {
                    changes.push(Change {
                        user: Arc::clone(&id),
                        kind: ChangeKind::Create,
                    });
                }
                Ok(id.to_string())
            })
            .collect();
        if all_or_none && results.iter().any(Result::is_err) {
            for id in made {
                forget(&mut state, object, &id);
            }
            return rolled_back(results);
        }
        if !changes.is_empty() {
            self.commit(&mut state, &changes, author, now);
        }
        results
    }

    /// Changes records in one transaction. Same rules as [`Org::create_all`].
    pub(crate) fn update_all(
        &self,
        object: &str,
        bodies: &[(String, Map<String, Value>)],
        author: &Author,
        all_or_none: bool,
    ) -> Vec<Result<(), SalesforceError>> {
        let mut state = self.state_mut();
        let now = self.now_ms();
        let mut before: Vec<Row> = Vec::new();
        let mut changes: Vec<Change> = Vec::new();
        let results: Vec<_> = bodies
            .iter()
            .map(|(id, body)| {
                let (old, changed) = apply(&mut state, object, id, body, author, now)?;
                if object == "User" {
                    record(&mut changes, &old.id, changed);
                }
                before.push(old);
                Ok(())
            })
            .collect();
        if all_or_none && results.iter().any(Result::is_err) {
            for old in before.into_iter().rev() {
                replace(&mut state, object, old);
            }
            return rolled_back(results);
        }
        if !changes.is_empty() {
            self.commit(&mut state, &changes, author, now);
        }
        results
    }

    /// Removes a record. People cannot be removed: they are deactivated.
    pub(crate) fn delete(&self, object: &str, id: &str) -> Result<(), SalesforceError> {
        let mut state = self.state_mut();
        let id = existing(&state, object, id)?;
        if !state.table(object).def.deletable {
            return Err(SalesforceError::bad_request(
                "INSUFFICIENT_ACCESS_OR_READONLY",
                format!("DML operation Delete not allowed on {object}"),
            ));
        }
        forget(&mut state, object, &id);
        Ok(())
    }

    /// Removes a portal user to the bin, as disabling and deleting a contact's user does.
    pub(crate) fn delete_portal_user(&self, id: &str, author: &Author) -> Result<(), SalesforceError> {
        let mut state = self.state_mut();
        let id = existing(&state, "User", id)?;
        let row = state
            .users()
            .rows
            .get(&id)
            .cloned()
            .ok_or_else(SalesforceError::not_found)?;
        if row.get(state.users().def.at("UserType")).as_text() == Some("Standard") {
            return Err(SalesforceError::bad_request(
                "INSUFFICIENT_ACCESS_OR_READONLY",
                "DML operation Delete not allowed on User",
            ));
        }
        forget(&mut state, "User", &id);
        state.bin.insert(Arc::clone(&id), row);
        self.commit(
            &mut state,
            &[Change {
                user: id,
                kind: ChangeKind::Delete,
            }],
            author,
            self.now_ms(),
        );
        Ok(())
    }

    /// Brings a deleted portal user back.
    pub(crate) fn undelete_portal_user(&self, id: &str, author: &Author) -> Result<(), SalesforceError> {
        let mut state = self.state_mut();
        let id = id::normalize(id).ok_or_else(SalesforceError::not_found)?;
        let mut row = state.bin.remove(id.as_str()).ok_or_else(SalesforceError::not_found)?;
        let now = self.now_ms();
        let stamp = state.users().def.at("SystemModstamp");
        row.set(stamp, FieldValue::DateTime(clock::whole_seconds(now)));
        let user = Arc::clone(&row.id);
        insert(&mut state, "User", row);
        self.commit(
            &mut state,
            &[Change {
                user,
                kind: ChangeKind::Undelete,
            }],
            author,
            now,
        );
        Ok(())
    }
}

/// Several changes of one record in one transaction are one change.
fn record(changes: &mut Vec<Change>, user: &Arc<str>, changed: BTreeSet<usize>) {
    let known = changes.iter_mut().find(|change| change.user == *user);
    match known {
        Some(Change {
            kind: ChangeKind::Update(fields),
            ..
        }) => fields.extend(changed),
        Some(_) => {}
        None => changes.push(Change {
            user: Arc::clone(user),
            kind: ChangeKind::Update(changed),
        }),
    }
}

fn rolled_back<T>(results: Vec<Result<T, SalesforceError>>) -> Vec<Result<T, SalesforceError>> {
    let aside = || {
        SalesforceError::bad_request(
            "ALL_OR_NONE_OPERATION_ROLLED_BACK",
            "Record rolled back because not all records were valid and the request was using AllOrNone header",
        )
    };
    results
        .into_iter()
        .map(|result| result.and_then(|_| Err(aside())))
        .collect()
}

pub(crate) fn existing(state: &State, object: &str, id: &str) -> Result<Arc<str>, SalesforceError> {
    let full = id::normalize(id).ok_or_else(SalesforceError::not_found)?;
    let (known, _) = state
        .table(object)
        .rows
        .get_key_value(full.as_str())
        .ok_or_else(SalesforceError::not_found)?;
    Ok(Arc::clone(known))
}

fn new_row(
    state: &mut State,
    object: &str,
    body: &Map<String, Value>,
    author: &Author,
    now: i64,
) -> Result<Row, SalesforceError> {
    let table = state.table(object);
    let def = &table.def;
    if !def.createable {
        return Err(SalesforceError::bad_request(
            "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            format!("entity type cannot be inserted: {object}"),
        ));
    }
    let values = validate::values(state, def, body, Write::Create, &author.user)?;
    validate::required(def, &values)?;
    let prefix = def.prefix;
    let mut row = table.blank(Arc::from(""));
    for (position, value) in values {
        row.set(position, value);
    }
    check_unique(state, object, &row, None)?;
    let stamp = FieldValue::DateTime(clock::whole_seconds(now));
    let by = FieldValue::Text(Arc::clone(&author.user));
    for (field, value) in [
        ("CreatedDate", &stamp),
        ("LastModifiedDate", &stamp),
        ("SystemModstamp", &stamp),
        ("CreatedById", &by),
        ("LastModifiedById", &by),
    ] {
        if let Some(position) = def.position(field) {
            row.set(position, value.clone());
        }
    }
    if object == "User" {
        derive(def, &mut row);
        row.set(def.at("UserType"), user_type(state, &row));
        row.set(def.at("IsActive"), FieldValue::Bool(!is_false(body, "IsActive")));
    }
    if object == "PermissionSetAssignment" {
        row.set(def.at("IsActive"), FieldValue::Bool(true));
    }
    let id = state.ids.next(prefix);
    row.set(0, FieldValue::Text(Arc::clone(&id)));
    row.id = id;
    Ok(row)
}

fn is_false(body: &Map<String, Value>, field: &str) -> bool {
    body.iter()
        .any(|(name, value)| name.eq_ignore_ascii_case(field) && value == &Value::Bool(false))
}

/// `UserType` follows from the profile.
fn user_type(state: &State, row: &Row) -> FieldValue {
    let profiles = state.table("Profile");
    row.get(state.users().def.at("ProfileId"))
        .as_text()
        .and_then(|profile| profiles.rows.get(profile))
        .map_or(FieldValue::Null, |profile| {
            profile.get(profiles.def.at("UserType")).clone()
        })
}

/// `Name` is first and last name.
pub(crate) fn derive(def: &ObjectDef, row: &mut Row) {
    let parts: Vec<&str> = ["FirstName", "LastName"]
        .iter()
        .filter_map(|part| row.get(def.at(part)).as_text())
        .collect();
    let name = FieldValue::text(&parts.join(" "));
    row.set(def.at("Name"), name);
}

/// Applies one body; gives the row as it was and the fields that differ now.
fn apply(
    state: &mut State,
    object: &str,
    id: &str,
    body: &Map<String, Value>,
    author: &Author,
    now: i64,
) -> Result<(Row, BTreeSet<usize>), SalesforceError> {
    let id = existing(state, object, id)?;
    let def = &state.table(object).def;
    if !def.updateable {
        return Err(SalesforceError::bad_request(
            "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            format!("entity type cannot be updated: {object}"),
        ));
    }
    let values = validate::values(state, def, body, Write::Update, &author.user)?;
    let old = state
        .table(object)
        .rows
        .get(&id)
        .cloned()
        .ok_or_else(SalesforceError::not_found)?;
    let mut row = old.clone();
    for (position, value) in values {
        let value = if value.is_null() && def.fields[position].kind == FieldKind::Boolean {
            FieldValue::Bool(false)
        } else {
            value
        };
        row.set(position, value);
    }
    check_unique(state, object, &row, Some(&id))?;
    let mut changed: BTreeSet<usize> = (0..row.values.len())
        .filter(|&field| row.get(field) != old.get(field))
        .collect();
    let stamp = FieldValue::DateTime(clock::whole_seconds(now));
    for (field, value) in [
        ("LastModifiedDate", stamp.clone()),
        ("SystemModstamp", stamp),
        ("LastModifiedById", FieldValue::Text(Arc::clone(&author.user))),
    ] {
        if let Some(position) = def.position(field) {
            // The date counts as changed on every update, the person only when it is another one.
            if field == "LastModifiedDate" || row.get(position) != &value {
                changed.insert(position);
            }
            row.set(position, value);
        }
    }
    if object == "User" {
        derive(def, &mut row);
        if old.get(def.at("ProfileId")) != row.get(def.at("ProfileId")) {
            row.set(def.at("UserType"), user_type(state, &row));
        }
    }
    replace(state, object, row);
    Ok((old, changed))
}
