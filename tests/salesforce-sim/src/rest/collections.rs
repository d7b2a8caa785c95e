//! Many records in one call (REST API guide, "sObject Collections"): retrieve up to 2,000 by id in request order, create
//! and change up to 200.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{Extension, Path, Query, State},
    http::HeaderMap,
    response::IntoResponse as _,
};
use serde_json::{Map, Value, json};

use super::{Answer, Caller, body_object, sobjects};
use crate::{error::SalesforceError, id, org::Org};

const RETRIEVE_MAX: usize = 2000;
const WRITE_MAX: usize = 200;

pub(crate) async fn retrieve(
    State(org): State<Arc<Org>>,
    Extension(caller): Extension<Caller>,
    Path(parameters): Path<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let body = body_object(&headers, &body)?;
    let list = |name: &str| -> Result<Vec<String>, SalesforceError> {
        let entries = body.get(name).and_then(Value::as_array).ok_or_else(|| missing(name))?;
        Ok(entries
            .iter()
            .map(|entry| entry.as_str().unwrap_or_default().to_owned())
            .collect())
    };
    answer(&org, &caller, &parameters["object"], &list("ids")?, &list("fields")?)
}

pub(crate) async fn retrieve_by_get(
    State(org): State<Arc<Org>>,
    Extension(caller): Extension<Caller>,
    Path(parameters): Path<HashMap<String, String>>,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let list = |name: &str| -> Result<Vec<String>, SalesforceError> {
        Ok(query
            .get(name)
            .ok_or_else(|| missing(name))?
            .split(',')
            .map(|entry| entry.trim().to_owned())
            .collect())
    };
    answer(&org, &caller, &parameters["object"], &list("ids")?, &list("fields")?)
}

fn missing(name: &str) -> SalesforceError {
    SalesforceError::bad_request("MISSING_ARGUMENT", format!("The {name} parameter is required"))
}

fn answer(org: &Org, caller: &Caller, object: &str, ids: &[String], fields: &[String]) -> Answer {
    let object = org.object_name(object)?;
    if ids.len() > RETRIEVE_MAX {
        return Err(SalesforceError::bad_request(
            "EXCEEDED_ID_LIMIT",
            format!("record limit reached. cannot submit more than {RETRIEVE_MAX} records into this call"),
        ));
    }
    if ids.is_empty() || fields.is_empty() {
        return Err(missing(if ids.is_empty() { "ids" } else { "fields" }));
    }
    let state = org.state();
    let names: Vec<&str> = fields.iter().map(String::as_str).collect();
    let columns = sobjects::columns(&state, object, Some(&names))?;
    let rows = &state.table(object).rows;
    let records: Vec<Value> = ids
        .iter()
        .map(|text| {
            let row = id::normalize(text)
                .filter(|id| state.visible(object, id))
                .and_then(|id| rows.get(id.as_str()));
            row.map_or(Value::Null, |row| {
                sobjects::project(&state, object, row, &columns, &caller.version)
            })
        })
        .collect();
    Ok(Json(Value::Array(records)).into_response())
}

/// The records of a write by object type, and whether all must succeed.
fn records(body: &Map<String, Value>) -> Result<(Vec<Map<String, Value>>, bool), SalesforceError> {
    let list = body
        .get("records")
        .and_then(Value::as_array)
        .ok_or_else(|| missing("records"))?;
    if list.len() > WRITE_MAX {
        return Err(SalesforceError::bad_request(
            "EXCEEDED_MAX_SIZE_REQUEST",
            format!("record limit reached. cannot submit more than {WRITE_MAX} records into this call"),
        ));
    }
    let maps = list
        .iter()
        .map(|record| {
            record
                .as_object()
                .cloned()
                .ok_or_else(|| SalesforceError::bad_request("JSON_PARSER_ERROR", "a record is not an object"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let all_or_none = body.get("allOrNone").and_then(Value::as_bool).unwrap_or(false);
    Ok((maps, all_or_none))
}

/// One object type per call: mixed calls are not needed for people.
fn object_of(org: &Org, records: &[Map<String, Value>]) -> Result<&'static str, SalesforceError> {
    let types: Vec<&str> = records
        .iter()
        .map(|record| {
            record
                .get("attributes")
                .and_then(|attributes| attributes["type"].as_str())
                .unwrap_or_default()
        })
        .collect();
    let first = types.first().copied().ok_or_else(|| missing("records"))?;
    if types.iter().any(|name| *name != first) {
        return Err(SalesforceError::bad_request(
            "INVALID_TYPE",
            "the simulator takes one object type per call",
        ));
    }
    org.object_name(first)
        .map_err(|_| SalesforceError::bad_request("INVALID_TYPE", format!("unknown type '{first}'")))
}

pub(crate) async fn create(
    State(org): State<Arc<Org>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let (records, all_or_none) = records(&body_object(&headers, &body)?)?;
    let object = object_of(&org, &records)?;
    let results = org.create_all(object, &records, &caller.author(), all_or_none);
    let list = results
        .into_iter()
        .map(|result| match result {
            Ok(id) => json!({"id": id, "success": true, "errors": []}),
            Err(error) => json!({"success": false, "errors": [error.to_save_error()]}),
        })
        .collect();
    Ok(Json(Value::Array(list)).into_response())
}

pub(crate) async fn update(
    State(org): State<Arc<Org>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let (records, all_or_none) = records(&body_object(&headers, &body)?)?;
    let object = object_of(&org, &records)?;
    let changes: Vec<(String, Map<String, Value>)> = records
        .into_iter()
        .map(|mut record| {
            let key = record.keys().find(|key| key.eq_ignore_ascii_case("id")).cloned();
            let id = key
                .and_then(|key| record.remove(&key))
                .and_then(|id| id.as_str().map(ToOwned::to_owned));
            (id.unwrap_or_default(), record)
        })
        .collect();
    let results = org.update_all(object, &changes, &caller.author(), all_or_none);
    let list = results
        .into_iter()
        .zip(&changes)
        .map(|(result, (id, _))| match result {
            Ok(()) => json!({"id": id, "success": true, "errors": []}),
            Err(error) => json!({"id": id, "success": false, "errors": [error.to_save_error()]}),
        })
        .collect();
    Ok(Json(Value::Array(list)).into_response())
}
