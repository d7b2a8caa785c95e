//! What a transaction changed, and the change events it puts on the bus, in commit order (Change Data Capture guide).
//!
//! Equal changes to several records in one transaction become one event with many record ids. Runs under the lock of the
//! state, so the order of events is the order of commits. Leaves out which writes are allowed: `write.rs`.

use std::{collections::BTreeSet, sync::Arc};

use super::{Org, state::State};
use crate::{
    event::{
        bitmap,
        encode::{self, Body, Header},
    },
    random,
    value::FieldValue,
};

/// What happened to one user.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) user: Arc<str>,
    pub(crate) kind: ChangeKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    Create,
    /// Positions of the fields that differ.
    Update(BTreeSet<usize>),
    Delete,
    Undelete,
}

impl ChangeKind {
    fn name(&self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update(_) => "UPDATE",
            Self::Delete => "DELETE",
            Self::Undelete => "UNDELETE",
        }
    }
}

/// Who writes, and through which API: the header's `commitUser` and `changeOrigin`.
#[derive(Debug, Clone)]
pub(crate) struct Author {
    pub(crate) user: Arc<str>,
    pub(crate) origin: String,
}

impl Org {
    /// Emits the events of one transaction.
    pub(crate) fn commit(&self, state: &mut State, changes: &[Change], author: &Author, now_ms: i64) {
        let transaction_key = random::uuid(&mut state.rng);
        for (index, group) in merge(state, changes).into_iter().enumerate() {
            if self.faults.take_lost_event() {
                continue;
            }
            let first = &changes[group[0]];
            let ids: Vec<Arc<str>> = group.iter().map(|&member| Arc::clone(&changes[member].user)).collect();
            // Enriched channels send one event per record, and those share their replay id.
            let events: Vec<Vec<Arc<str>>> = match self.faults.values().split_merged {
                true => ids.into_iter().map(|id| vec![id]).collect(),
                false => vec![ids],
            };
            for (sibling, ids) in events.into_iter().enumerate() {
                let header = Header {
                    sequence_number: i32::try_from(index + sibling + 1).unwrap_or(i32::MAX),
                    transaction_key: transaction_key.clone(),
                    ..self.header(state, ids, first.kind.name(), author, now_ms)
                };
                self.append_change(state, header, first, now_ms, sibling > 0);
            }
        }
        self.wake_streams();
    }

    fn append_change(&self, state: &State, mut header: Header, change: &Change, now_ms: i64, sibling: bool) {
        let schema = match self.faults.take_old_schema() {
            // A server that has not heard of the change yet still writes with the schema before it.
            true => Arc::clone(state.schemas.iter().rev().nth(1).unwrap_or_else(|| state.schema())),
            false => Arc::clone(state.schema()),
        };
        let empty = Vec::new();
        let values: &Vec<FieldValue> = state.users().rows.get(&change.user).map_or(&empty, |row| &row.values);
        let body = match &change.kind {
            ChangeKind::Delete => Body::Empty,
            ChangeKind::Create | ChangeKind::Undelete => Body::Full(values),
            ChangeKind::Update(changed) => {
                header.changed_fields = bitmap::encode(changed.iter().filter_map(|&field| schema.place(field)));
                let nulled = changed.iter().filter(|&&field| {
                    !state.unreadable.contains(&field) && values.get(field).is_none_or(FieldValue::is_null)
                });
                header.nulled_fields = bitmap::encode(nulled.filter_map(|&field| schema.place(field)));
                Body::Changed(values, changed)
            }
        };
        let payload = encode::datum(&schema, &header, body, &state.unreadable);
        let mut log = self.log();
        if sibling {
            log.append_sibling(Arc::clone(&schema.id), payload, now_ms);
        } else {
            log.append(Arc::clone(&schema.id), payload, now_ms);
        }
    }

    /// Header of an event that is a transaction of its own.
    pub(crate) fn header(
        &self,
        state: &mut State,
        record_ids: Vec<Arc<str>>,
        change_type: &str,
        author: &Author,
        now_ms: i64,
    ) -> Header {
        state.commit_number += 7;
        Header {
            entity_name: "User".to_owned(),
            record_ids,
            change_type: change_type.to_owned(),
            change_origin: author.origin.clone(),
            transaction_key: random::uuid(&mut state.rng),
            sequence_number: 1,
            commit_timestamp: now_ms,
            commit_number: state.commit_number,
            commit_user: author.user.to_string(),
            nulled_fields: Vec::new(),
            diff_fields: Vec::new(),
            changed_fields: Vec::new(),
        }
    }
}

/// Groups of indexes into `changes`, in order of their first member. Only equal updates and deletions merge.
fn merge(state: &State, changes: &[Change]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        let fits = groups.iter().position(|group| equal(state, &changes[group[0]], change));
        match fits {
            Some(group) => groups[group].push(index),
            None => groups.push(vec![index]),
        }
    }
    groups
}

fn equal(state: &State, left: &Change, right: &Change) -> bool {
    match (&left.kind, &right.kind) {
        (ChangeKind::Delete, ChangeKind::Delete) => true,
        (ChangeKind::Update(fields), ChangeKind::Update(others)) if fields == others => {
            let rows = &state.users().rows;
            match (rows.get(&left.user), rows.get(&right.user)) {
                (Some(left), Some(right)) => fields
                    .iter()
                    .filter(|&&field| state.schema().place(field).is_some())
                    .all(|&field| left.get(field) == right.get(field)),
                _ => false,
            }
        }
        _ => false,
    }
}
