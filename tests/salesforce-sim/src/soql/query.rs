//! Runs a query: which records, in which order, and how each one looks in the answer.
//!
//! Without ORDER BY the order is undefined, and here it is scrambled so that nobody relies on it. Leaves out paging:
//! `cursor.rs`.

use std::{cmp::Ordering, sync::Arc};

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    ast::{Query, Select},
    eval,
    resolve::{self, Bound, Test},
};
use crate::{
    error::SalesforceError,
    org::state::{Row, State},
};

/// Largest OFFSET.
const OFFSET_MAX: usize = 2000;

/// The records a query found, and what is wanted of each.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) object: &'static str,
    pub(crate) ids: Vec<Arc<str>>,
    pub(crate) columns: Vec<Bound>,
    /// `SELECT COUNT()`: only the number is answered.
    pub(crate) count_only: bool,
    /// As of `queryAll`: records in the bin are shown, too.
    pub(crate) deleted: bool,
}

/// `deleted`: as `queryAll` (REST API guide, "QueryAll").
pub(crate) fn run(state: &State, query: &Query, now_ms: i64, deleted: bool) -> Result<Found, SalesforceError> {
    let object = state
        .find_table(&query.from)
        .filter(|table| state.object_readable(table.def.name))
        .map(|table| table.def.name)
        .ok_or_else(|| {
            SalesforceError::bad_request(
                "INVALID_TYPE",
                format!("sObject type '{}' is not supported.", query.from),
            )
        })?;
    if query.offset.is_some_and(|offset| offset > OFFSET_MAX) {
        return Err(SalesforceError::bad_request(
            "NUMBER_OUTSIDE_VALID_RANGE",
            "Maximum SOQL offset allowed is 2000",
        ));
    }
    let columns = match &query.select {
        Select::Count => Vec::new(),
        Select::Fields(paths) => {
            let columns: Vec<Bound> = paths
                .iter()
                .map(|path| resolve::bind(state, object, path))
                .collect::<Result<_, _>>()?;
            if let Some(twin) = columns
                .iter()
                .enumerate()
                .find(|(index, column)| columns[..*index].contains(column))
            {
                let name = &state.table(twin.1.object).def.fields[twin.1.field].name;
                return Err(SalesforceError::bad_request(
                    "INVALID_FIELD",
                    format!("duplicate field selected: {name}"),
                ));
            }
            columns
        }
    };
    let test = query
        .condition
        .as_ref()
        .map(|condition| resolve::test(state, object, condition, now_ms))
        .transpose()?;
    let mut rows = matching(state, object, test.as_ref(), deleted);
    rows.retain(|row| state.visible(object, &row.id));
    sort(state, object, query, &mut rows)?;
    let skip = query.offset.unwrap_or(0);
    let ids = rows
        .into_iter()
        .skip(skip)
        .take(query.limit.unwrap_or(usize::MAX))
        .map(|row| Arc::clone(&row.id))
        .collect();
    Ok(Found {
        object,
        ids,
        columns,
        count_only: query.select == Select::Count,
        deleted,
    })
}

fn matching<'a>(state: &'a State, object: &str, test: Option<&Test>, deleted: bool) -> Vec<&'a Row> {
    let rows = state.rows(object, deleted);
    let Some(test) = test else {
        return rows.collect();
    };
    match eval::pinned_ids(test) {
        Some(ids) => {
            let mut found: Vec<&Row> = ids.iter().filter_map(|id| state.row(object, id, deleted)).collect();
            found.retain(|row| eval::matches(state, row, test));
            found.sort_by(|left, right| left.id.cmp(&right.id));
            found.dedup_by(|left, right| left.id == right.id);
            found
        }
        None => rows.filter(|row| eval::matches(state, row, test)).collect(),
    }
}

fn sort(state: &State, object: &'static str, query: &Query, rows: &mut [&Row]) -> Result<(), SalesforceError> {
    if query.order.is_empty() {
        if query.limit != Some(1) && query.select != Select::Count {
            rows.sort_by_cached_key(|row| {
                let digest = Sha256::digest(row.id.as_bytes());
                u64::from_be_bytes(std::array::from_fn(|index| digest[index]))
            });
        }
        return Ok(());
    }
    let keys = query
        .order
        .iter()
        .map(|order| {
            let bound = resolve::bind(state, object, &order.path)?;
            let field = &state.table(bound.object).def.fields[bound.field];
            if !field.sortable() {
                return Err(SalesforceError::bad_request(
                    "INVALID_FIELD",
                    format!("field '{}' can not be sorted in a query call", field.name),
                ));
            }
            let is_id = bound.field == 0;
            Ok((bound, order.descending, order.nulls_last, is_id))
        })
        .collect::<Result<Vec<_>, SalesforceError>>()?;
    rows.sort_by(|left, right| {
        for (bound, descending, nulls_last, is_id) in &keys {
            let (left, right) = (eval::value(state, left, bound), eval::value(state, right, bound));
            let order = match (left.is_null(), right.is_null()) {
                (true, true) => Ordering::Equal,
                (true, false) if *nulls_last => Ordering::Greater,
                (true, false) => Ordering::Less,
                (false, true) if *nulls_last => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => {
                    let order = if *is_id {
                        left.as_text().cmp(&right.as_text())
                    } else {
                        left.order(right)
                    };
                    if *descending { order.reverse() } else { order }
                }
            };
            if order.is_ne() {
                return order;
            }
        }
        Ordering::Equal
    });
    Ok(())
}

/// `attributes` of a record.
pub(crate) fn attributes(object: &str, id: &str, version: &str) -> Value {
    json!({"type": object, "url": format!("/services/data/{version}/sobjects/{object}/{id}")})
}

/// One record of the answer; parents are nested.
pub(crate) fn record(state: &State, found: &Found, row: &Row, version: &str) -> Value {
    let mut record = Map::new();
    record.insert("attributes".into(), attributes(found.object, &row.id, version));
    for column in &found.columns {
        put(state, row, column, &mut record, 0, version);
    }
    Value::Object(record)
}

fn put(state: &State, row: &Row, column: &Bound, record: &mut Map<String, Value>, level: usize, version: &str) {
    let Some(hop) = column.hops.get(level) else {
        let table = state.table(column.object);
        record.insert(
            table.def.fields[column.field].name.clone(),
            table.json(row, column.field),
        );
        return;
    };
    let parent = row
        .get(hop.field)
        .as_text()
        .and_then(|id| state.table(hop.object).rows.get(id));
    let Some(parent) = parent else {
        record.insert(hop.name.clone(), Value::Null);
        return;
    };
    let entry = record.entry(hop.name.clone()).or_insert_with(|| {
        let mut nested = Map::new();
        nested.insert("attributes".into(), attributes(hop.object, &parent.id, version));
        Value::Object(nested)
    });
    if let Value::Object(nested) = entry {
        put(state, parent, column, nested, level + 1, version);
    }
}
