//! Single records: read, create, change, remove, and the feed of updated ids (REST API guide, "sObject Rows").

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{Extension, Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse as _,
};
use serde_json::{Map, Value, json};

use super::{Answer, Caller, body_object};
use crate::{
    clock,
    error::SalesforceError,
    org::{
        Org,
        state::{Row, State as Tables},
        write,
    },
    soql::query::attributes,
    value::FieldValue,
};

pub(crate) async fn create(
    State(org): State<Arc<Org>>,
    Extension(caller): Extension<Caller>,
    Path(parameters): Path<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let object = org.object_name(&parameters["object"])?;
    let body = body_object(&headers, &body)?;
    let id = org.create_all(object, &[body], &caller.author(), true).remove(0)?;
    let location = format!("/services/data/{}/sobjects/{object}/{id}", caller.version);
    let answer = Json(json!({"id": id, "success": true, "errors": []}));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], answer).into_response())
}

pub(crate) async fn read(
    State(org): State<Arc<Org>>,
    Extension(caller): Extension<Caller>,
    Path(parameters): Path<HashMap<String, String>>,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let object = org.object_name(&parameters["object"])?;
    let state = org.state();
    let id = write::existing(&state, object, &parameters["id"])?;
    let names: Option<Vec<&str>> = query.get("fields").map(|list| list.split(',').map(str::trim).collect());
    let columns = columns(&state, object, names.as_deref())?;
    let row = state
        .table(object)
        .rows
        .get(&id)
        .filter(|row| state.visible(object, &row.id))
        .ok_or_else(SalesforceError::not_found)?;
    Ok(Json(project(&state, object, row, &columns, &caller.version)).into_response())
}

/// Positions of the named fields, or of all readable ones. One unknown name is an error for the whole call.
pub(super) fn columns(state: &Tables, object: &str, names: Option<&[&str]>) -> Result<Vec<usize>, SalesforceError> {
    let def = &state.table(object).def;
    let Some(names) = names else {
        return Ok((0..def.fields.len())
            .filter(|&position| state.readable(object, position))
            .collect());
    };
    names
        .iter()
        .map(|name| {
            def.position(name)
                .filter(|&position| state.readable(object, position))
                .ok_or_else(|| SalesforceError::no_such_column(name, object))
        })
        .collect()
}

pub(super) fn project(state: &Tables, object: &str, row: &Row, columns: &[usize], version: &str) -> Value {
    let table = state.table(object);
    let mut record = Map::new();
    record.insert("attributes".into(), attributes(object, &row.id, version));
    for &position in columns {
        record.insert(table.def.fields[position].name.clone(), table.json(row, position));
    }
    // The id comes along whether asked for or not.
    record.entry("Id").or_insert_with(|| Value::from(&*row.id));
    Value::Object(record)
}

pub(crate) async fn update(
    State(org): State<Arc<Org>>,
    Extension(caller): Extension<Caller>,
    Path(parameters): Path<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let object = org.object_name(&parameters["object"])?;
    let body = body_object(&headers, &body)?;
    org.update_all(object, &[(parameters["id"].clone(), body)], &caller.author(), false)
        .remove(0)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn remove(State(org): State<Arc<Org>>, Path(parameters): Path<HashMap<String, String>>) -> Answer {
    let object = org.object_name(&parameters["object"])?;
    org.delete(object, &parameters["id"])?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn updated(
    State(org): State<Arc<Org>>,
    Path(parameters): Path<HashMap<String, String>>,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let object = org.object_name(&parameters["object"])?;
    let time = |name: &str| {
        query
            .get(name)
            .and_then(|text| clock::parse_datetime(&text.replace(' ', "+")))
            .ok_or_else(|| {
                SalesforceError::bad_request("INVALID_REPLICATION_DATE", format!("{name} is not a datetime"))
            })
    };
    let (start, end) = (time("start")?, time("end")?);
    if start > end || start < org.now_ms() - 30 * clock::DAY_MS {
        return Err(SalesforceError::bad_request(
            "INVALID_REPLICATION_DATE",
            "startDate before org replication enabled date",
        ));
    }
    let state = org.state();
    let table = state.table(object);
    let stamp = table.def.at("SystemModstamp");
    let ids: Vec<&str> = table
        .rows
        .values()
        .filter(|row| matches!(row.get(stamp), FieldValue::DateTime(ms) if (start..end).contains(ms)))
        .map(|row| &*row.id)
        .collect();
    let covered = clock::rest_datetime(end.min(clock::whole_seconds(org.now_ms())));
    Ok(Json(json!({"ids": ids, "latestDateCovered": covered})).into_response())
}
