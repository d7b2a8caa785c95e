//! `query`, `queryAll` and their continuation (REST API guide, "Query", "QueryAll").
//!
//! Batches hold up to 2,000 records; the hint `Sforce-Query-Options: batchSize` is followed within 200 to 2,000, though
//! large rows may make smaller batches at the vendor. Leaves out SOQL itself: `soql/`.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    extract::{Extension, Path, Query, State},
    http::HeaderMap,
    response::IntoResponse as _,
};
use serde_json::{Value, json};

use super::{Answer, Caller};
use crate::{
    error::SalesforceError,
    org::Org,
    soql::{
        cursor, parser,
        query::{self as soql_query, Found},
    },
};

pub(crate) async fn query(
    State(org): State<Arc<Org>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Query(parameters): Query<HashMap<String, String>>,
) -> Answer {
    answer(&org, &caller, &headers, &parameters, false)
}

/// Deleted records, too.
pub(crate) async fn query_all(
    State(org): State<Arc<Org>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Query(parameters): Query<HashMap<String, String>>,
) -> Answer {
    answer(&org, &caller, &headers, &parameters, true)
}

fn answer(
    org: &Org,
    caller: &Caller,
    headers: &HeaderMap,
    parameters: &HashMap<String, String>,
    deleted: bool,
) -> Answer {
    let text = parameters
        .get("q")
        .filter(|text| !text.trim().is_empty())
        .ok_or_else(|| SalesforceError::bad_request("MALFORMED_QUERY", "A query string has to be specified"))?;
    org.requests.record_query(text);
    let query = parser::parse(text)?;
    let found = soql_query::run(&org.state(), &query, org.now_ms(), deleted)?;
    if found.count_only {
        return Ok(Json(json!({"totalSize": found.ids.len(), "done": true, "records": []})).into_response());
    }
    Ok(page(org, Arc::new(found), None, 0, batch_size(org, headers), &caller.version).into_response())
}

pub(crate) async fn more(
    State(org): State<Arc<Org>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Path(parameters): Path<HashMap<String, String>>,
) -> Answer {
    let locator = parameters.get("locator").map(String::as_str).unwrap_or_default();
    if org.faults.take_lost_cursor() {
        org.cursors().clear();
    }
    let open = org.cursors().find(locator);
    let (number, found, offset) = open
        .filter(|(_, found, offset)| *offset < found.ids.len())
        .ok_or_else(|| SalesforceError::bad_request("INVALID_QUERY_LOCATOR", "invalid query locator"))?;
    Ok(page(
        &org,
        found,
        Some(number),
        offset,
        batch_size(&org, &headers),
        &caller.version,
    )
    .into_response())
}

fn batch_size(org: &Org, headers: &HeaderMap) -> usize {
    let most = org.config.query_batch;
    headers
        .get("Sforce-Query-Options")
        .and_then(|value| {
            value
                .to_str()
                .ok()?
                .split("batchSize=")
                .nth(1)?
                .trim()
                .parse::<usize>()
                .ok()
        })
        .map_or(most, |wanted| wanted.clamp(200.min(most), most))
}

fn page(org: &Org, found: Arc<Found>, number: Option<u64>, offset: usize, batch: usize, version: &str) -> Json<Value> {
    let end = (offset + batch).min(found.ids.len());
    let records: Vec<Value> = {
        let state = org.state();
        found.ids[offset..end]
            .iter()
            .filter_map(|id| state.row(found.object, id, found.deleted))
            .map(|row| soql_query::record(&state, &found, row, version))
            .collect()
    };
    let total = found.ids.len();
    if end >= total {
        return Json(json!({"totalSize": total, "done": true, "records": records}));
    }
    let number = number.unwrap_or_else(|| org.cursors().keep(found));
    let next = format!("/services/data/{version}/query/{}", cursor::locator(number, end));
    Json(json!({"totalSize": total, "done": false, "nextRecordsUrl": next, "records": records}))
}
