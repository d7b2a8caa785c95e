//! The rows that there are, by the links, and what they become with what is wanted.
//!
//! **Invariant**: the book follows committed links alone. What is under way is laid over a copy; so what a write has not
//! made true is nowhere.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::Value;
use usher_contract::UserKey;

use super::{
    columns::cells,
    config::RosterConfig,
    render::{key_column, key_of, listed},
};
use crate::{
    connector::{Failure, Operation, Refusal, Reply},
    logic::{
        account::{AttributePath, AttributeValues, RemoteAccount, RemoteId},
        link::Link,
        policy::{ACTIVE, EXTERNAL_ID, USER_NAME, WORK_EMAIL},
    },
};

/// One person's row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Who has it; nobody yet while it is new.
    pub(super) holder: Option<UserKey>,
    /// Its values, without nulls.
    pub(super) values: AttributeValues,
    /// Whether the person is switched on.
    pub(super) on: bool,
}

impl Row {
    fn text(&self, path: &str) -> Option<&str> {
        self.values.get(&AttributePath(path.to_owned()))?.as_str()
    }

    /// The row as an account.
    pub(super) fn account(&self, id: &RemoteId) -> RemoteAccount {
        let resource = self.values.iter().map(|(path, value)| (path.0.clone(), value.clone()));
        RemoteAccount {
            id: id.clone(),
            external_id: self.text(EXTERNAL_ID).map(str::to_owned),
            user_name: self.text(USER_NAME).map(str::to_owned),
            active: Some(self.on),
            etag: None,
            resource: Value::Object(resource.collect()),
        }
    }
}

/// Every row of a target.
#[derive(Debug, Clone, Default)]
pub(super) struct Book {
    rows: BTreeMap<RemoteId, Arc<Row>>,
    of_user: HashMap<UserKey, RemoteId>,
    /// Who goes by a log-in name or address, lower case.
    names: HashMap<(&'static str, String), BTreeSet<RemoteId>>,
}

/// What becomes of the book with what is wanted.
pub(super) struct Staged {
    pub(super) book: Book,
    /// One per operation, in their order.
    pub(super) replies: Vec<Result<Reply, Failure>>,
    /// Keys of rows that an operation was allowed to change or to take out.
    pub(super) explained: BTreeSet<String>,
}

impl Book {
    /// Takes note of a link as it is now; `None` for a tombstone. Whether that changed a row.
    pub(super) fn note(&mut self, user: UserKey, link: Option<&Link>) -> bool {
        let link = link.and_then(|link| Some((link, link.remote_id.as_ref()?)));
        let mut changed = false;
        if let Some(before) = self.of_user.get(&user)
            && link.is_none_or(|(_, id)| id != before)
        {
            let before = before.clone();
            self.of_user.remove(&user);
            // Given to somebody else in the same transaction: it is theirs now, whichever is noted first.
            if self.rows.get(&before).is_some_and(|row| row.holder == Some(user)) {
                self.set(&before, None);
                changed = true;
            }
        }
        if let Some((link, id)) = link {
            let row = Row {
                holder: Some(user),
                values: link.values.clone(),
                on: link.active != Some(false),
            };
            changed |= self
                .rows
                .get(id)
                .is_none_or(|before| before.values != row.values || before.on != row.on);
            self.of_user.insert(user, id.clone());
            self.set(id, Some(row));
        }
        changed
    }

    fn set(&mut self, id: &RemoteId, row: Option<Row>) {
        if let Some(before) = self.rows.remove(id) {
            for name in names(&before) {
                if let Some(ids) = self.names.get_mut(&name) {
                    ids.remove(id);
                    if ids.is_empty() {
                        self.names.remove(&name);
                    }
                }
            }
        }
        if let Some(row) = row {
            for name in names(&row) {
                self.names.entry(name).or_default().insert(id.clone());
            }
            self.rows.insert(id.clone(), Arc::new(row));
        }
    }

    /// The rows, ordered by id.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&RemoteId, &Row)> {
        self.rows.iter().map(|(id, row)| (id, &**row))
    }

    /// One row.
    pub(super) fn row(&self, id: &RemoteId) -> Option<&Row> {
        self.rows.get(id).map(|row| &**row)
    }

    /// Rows by our key, else by the first attribute that some row has.
    pub(super) fn find(&self, external_id: &str, by: &[(AttributePath, String)]) -> Vec<RemoteAccount> {
        let id = RemoteId(external_id.to_owned());
        if let Some(row) = self.row(&id) {
            return vec![row.account(&id)];
        }
        let hits = by.iter().find_map(|(path, value)| {
            let name = NAMES.into_iter().find(|name| *name == path.0)?;
            self.names.get(&(name, value.trim().to_lowercase()))
        });
        let hits = hits.into_iter().flatten();
        hits.filter_map(|id| Some(self.row(id)?.account(id))).collect()
    }

    /// What the book becomes with these operations. A name that two rows would have goes to the one that had it.
    pub(super) fn stage(&self, operations: &[Operation], config: &RosterConfig) -> Staged {
        let mut refused: BTreeMap<usize, Result<Reply, Failure>> = BTreeMap::new();
        loop {
            let mut staged = self.apply(operations, &refused, config);
            let conflicts = staged.conflicts(self, config);
            if conflicts.is_empty() {
                for (number, reply) in refused {
                    staged.replies[number] = reply;
                }
                return staged;
            }
            // Without them others may collide that had stepped aside: again, with fewer each time.
            refused.extend(conflicts);
        }
    }

    fn apply(
        &self,
        operations: &[Operation],
        refused: &BTreeMap<usize, Result<Reply, Failure>>,
        config: &RosterConfig,
    ) -> Staged {
        let mut staged = Staged {
            book: self.clone(),
            replies: Vec::with_capacity(operations.len()),
            explained: BTreeSet::new(),
        };
        for (number, operation) in operations.iter().enumerate() {
            let reply = if refused.contains_key(&number) {
                Ok(Reply::Absent)
            } else {
                staged.take(operation, config)
            };
            staged.replies.push(reply);
        }
        staged
    }
}

const NAMES: [&str; 2] = [USER_NAME, WORK_EMAIL];

fn names(row: &Row) -> impl Iterator<Item = (&'static str, String)> {
    NAMES
        .into_iter()
        .filter_map(|path| Some((path, row.text(path)?.trim().to_lowercase())))
}

impl Staged {
    fn take(&mut self, operation: &Operation, config: &RosterConfig) -> Result<Reply, Failure> {
        let (id, values) = match operation {
            Operation::Create { values } => {
                let id = values
                    .get(&AttributePath(EXTERNAL_ID.to_owned()))
                    .and_then(Value::as_str);
                let Some(id) = id else {
                    return Err(Failure::Reject(refusal(
                        "roster-no-key",
                        "a row without the person's key",
                    )));
                };
                (RemoteId(id.to_owned()), values)
            }
            Operation::Update { id, values, .. } => {
                if self.book.row(id).is_none() {
                    return Ok(Reply::Absent);
                }
                (id.clone(), values)
            }
            Operation::Delete(id) => {
                self.explain(id, config);
                self.book.set(id, None);
                return Ok(Reply::Deleted);
            }
            Operation::Check
            | Operation::Find { .. }
            | Operation::Read(_)
            | Operation::List { .. }
            | Operation::ReadBack { .. }
            | Operation::Invite(_)
            | Operation::FindGroup { .. }
            | Operation::CreateGroup { .. }
            | Operation::RenameGroup { .. }
            | Operation::ReadGroup(_)
            | Operation::ChangeMembers { .. } => return Ok(Reply::Absent),
        };
        let before = self.book.row(&id).cloned();
        let mut row = before.unwrap_or(Row {
            holder: None,
            values: AttributeValues::new(),
            on: true,
        });
        for (path, value) in values {
            if path.0 == ACTIVE {
                row.on = *value != Value::Bool(false);
            } else if value.is_null() {
                row.values.remove(path);
            } else {
                row.values.insert(path.clone(), value.clone());
            }
        }
        if let Err(unfit) = cells(&row.values, row.on, config) {
            return Err(Failure::Reject(refusal("roster-cell", &unfit.0)));
        }
        self.explain(&id, config);
        let account = row.account(&id);
        self.book.set(&id, Some(row));
        Ok(Reply::Written {
            id,
            account: Some(account),
        })
    }

    /// The row may go, or be called something else.
    fn explain(&mut self, id: &RemoteId, config: &RosterConfig) {
        if let Some(row) = self.book.row(id)
            && let Ok(cells) = cells(&row.values, row.on, config)
        {
            self.explained.extend(cells.get(key_column(config)).map(key_of));
        }
    }

    /// Operations that gave a row a name which another row of the list has. Whoever had it before keeps it, else the first.
    fn conflicts(&self, before: &Book, config: &RosterConfig) -> BTreeMap<usize, Result<Reply, Failure>> {
        let mut written: BTreeMap<&RemoteId, usize> = BTreeMap::new();
        for (number, reply) in self.replies.iter().enumerate() {
            if let Ok(Reply::Written { id, .. }) = reply {
                written.insert(id, number);
            }
        }
        let mut conflicts = BTreeMap::new();
        for (id, number) in &written {
            let Some(name) = self.book.listed_name(id, config) else {
                continue;
            };
            let ids = self.book.names.get(&(USER_NAME, name.clone()));
            let others: Vec<&RemoteId> = ids
                .into_iter()
                .flatten()
                .filter(|other| other != id && self.book.listed_name(other, config).is_some())
                .collect();
            let had = |id: &RemoteId| before.listed_name(id, config).as_ref() == Some(&name);
            let loses = |other: &&RemoteId| match written.get(*other) {
                // Nobody asked to take the name from them.
                None => true,
                Some(theirs) => !had(id) && (had(other) || theirs < number),
            };
            if others.iter().any(loses) {
                conflicts.insert(
                    *number,
                    Ok(Reply::Conflict(refusal(
                        "name-taken",
                        "another row of the list has this log-in name",
                    ))),
                );
            }
        }
        conflicts
    }
}

impl Book {
    fn listed_name(&self, id: &RemoteId, config: &RosterConfig) -> Option<String> {
        let row = self.row(id).filter(|row| listed(row, config))?;
        Some(row.text(USER_NAME)?.trim().to_lowercase())
    }
}

pub(super) fn refusal(code: &str, reason: &str) -> Refusal {
    Refusal {
        code: code.to_owned(),
        reason: reason.to_owned(),
    }
}
