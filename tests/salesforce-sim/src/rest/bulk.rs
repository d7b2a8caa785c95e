//! Bulk API 2.0 query jobs (Bulk API 2.0 guide): created, polled, read page by page with opaque locators.
//!
//! A job takes a poll or two to finish, as real ones do. Leaves out parallel result pages and ingest jobs.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{Extension, Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse as _,
};
use serde_json::{Value, json};

use super::{Answer, Caller, body_object};
use crate::{
    clock,
    error::SalesforceError,
    org::{Org, state::State as Tables},
    soql::{
        ast::Select,
        eval, parser,
        query::{self as soql_query, Found},
        resolve::Bound,
    },
};

/// Polls until a job is done.
const POLLS: u32 = 2;

#[derive(Debug)]
pub(crate) struct Job {
    query: String,
    version: String,
    delimiter: char,
    line_ending: &'static str,
    head: String,
    rows: Vec<String>,
    created_ms: i64,
    polls: u32,
    aborted: bool,
    fails: bool,
}

impl Job {
    fn state(&self) -> &'static str {
        match (self.aborted, self.polls) {
            (true, _) => "Aborted",
            (false, 0) => "UploadComplete",
            (false, polls) if polls < POLLS => "InProgress",
            _ if self.fails => "Failed",
            _ => "JobComplete",
        }
    }

    fn describe(&self, id: &str) -> Value {
        let error = (self.state() == "Failed").then_some("InternalServerError: could not read it");
        json!({
            "id": id, "errorMessage": error, "operation": "query", "object": "User", "state": self.state(), "contentType": "CSV",
            "apiVersion": self.version.trim_start_matches('v').parse::<f64>().unwrap_or_default(), "jobType": "V2Query",
            "concurrencyMode": "Parallel", "createdDate": clock::rest_datetime(self.created_ms),
            "systemModstamp": clock::rest_datetime(self.created_ms), "lineEnding": "LF", "columnDelimiter": "COMMA",
            "numberRecordsProcessed": if self.state() == "JobComplete" { self.rows.len() } else { 0 }, "retries": 0,
        })
    }
}

pub(crate) async fn create(
    State(org): State<Arc<Org>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let body = body_object(&headers, &body)?;
    let refused = |message: &str| SalesforceError::bad_request("INVALIDJOB", message);
    let deleted = match body.get("operation").and_then(Value::as_str) {
        Some("query") => false,
        Some("queryAll") => true,
        _ => return Err(refused("operation must be query or queryAll")),
    };
    let text = body
        .get("query")
        .and_then(Value::as_str)
        .ok_or_else(|| refused("query is required"))?;
    let delimiter = match body.get("columnDelimiter").and_then(Value::as_str) {
        None | Some("COMMA") => ',',
        Some("TAB") => '\t',
        Some("PIPE") => '|',
        Some("SEMICOLON") => ';',
        Some("CARET") => '^',
        Some("BACKQUOTE") => '`',
        Some(_) => return Err(refused("unknown columnDelimiter")),
    };
    let line_ending = if body.get("lineEnding").and_then(Value::as_str) == Some("CRLF") {
        "\r\n"
    } else {
        "\n"
    };
    org.requests.record_query(text);
    let query = parser::parse(text)?;
    if query.offset.is_some() || query.select == Select::Count {
        return Err(SalesforceError::bad_request(
            "API_ERROR",
            "Aggregate queries and OFFSET are not supported in Bulk Query",
        ));
    }
    let (head, rows) = {
        let state = org.state();
        let found = soql_query::run(&state, &query, org.now_ms(), deleted)?;
        csv(&state, &found, delimiter)
    };
    let id = org.state_mut().ids.next("750").to_string();
    let mut jobs = org.bulk_jobs();
    let job = Job {
        query: text.to_owned(),
        version: caller.version,
        delimiter,
        line_ending,
        head,
        rows,
        created_ms: org.now_ms(),
        polls: 0,
        aborted: false,
        fails: org.faults.take_failing_job(),
    };
    tracing::debug!(job.id = id, delimiter = %job.delimiter, query_length = job.query.len(), "bulk query job created");
    let answer = job.describe(&id);
    jobs.insert(id, job);
    Ok(Json(answer).into_response())
}

fn csv(state: &Tables, found: &Found, delimiter: char) -> (String, Vec<String>) {
    let name = |column: &Bound| {
        let field = state.table(column.object).def.fields[column.field].name.as_str();
        column
            .hops
            .iter()
            .map(|hop| hop.name.as_str())
            .chain([field])
            .collect::<Vec<_>>()
            .join(".")
    };
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let separator = delimiter.to_string();
    let head = found
        .columns
        .iter()
        .map(|column| quoted(&name(column)))
        .collect::<Vec<_>>()
        .join(&separator);
    let rows = found
        .ids
        .iter()
        .filter_map(|id| state.row(found.object, id, found.deleted))
        .map(|row| {
            let cells: Vec<String> = found
                .columns
                .iter()
                .map(|column| quoted(&eval::value(state, row, column).to_csv()))
                .collect();
            cells.join(&separator)
        })
        .collect();
    (head, rows)
}

fn missing() -> SalesforceError {
    SalesforceError::not_found()
}

pub(crate) async fn status(State(org): State<Arc<Org>>, Path(parameters): Path<HashMap<String, String>>) -> Answer {
    let mut jobs = org.bulk_jobs();
    let id = &parameters["id"];
    let job = jobs.get_mut(id).ok_or_else(missing)?;
    job.polls += 1;
    Ok(Json(job.describe(id)).into_response())
}

pub(crate) async fn results(
    State(org): State<Arc<Org>>,
    Extension(caller): Extension<Caller>,
    Path(parameters): Path<HashMap<String, String>>,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let jobs = org.bulk_jobs();
    let job = jobs.get(&parameters["id"]).ok_or_else(missing)?;
    if job.version != caller.version {
        return Err(SalesforceError::new(
            409,
            "API_ERROR",
            "Job was created with another API version",
        ));
    }
    if job.state() != "JobComplete" {
        return Err(SalesforceError::bad_request("INVALIDJOBSTATE", "Job is not complete"));
    }
    let start = match query.get("locator").map(|text| locator_offset(text)) {
        None => 0,
        Some(Some(offset)) if offset < job.rows.len() => offset,
        Some(_) => {
            return Err(SalesforceError::bad_request(
                "INVALID_QUERY_LOCATOR",
                "invalid query locator",
            ));
        }
    };
    let most = query
        .get("maxRecords")
        .and_then(|text| text.parse::<usize>().ok())
        .unwrap_or(50_000)
        .max(1);
    let end = (start + most).min(job.rows.len());
    let mut text = String::new();
    for line in [&job.head].into_iter().chain(&job.rows[start..end]) {
        text.push_str(line);
        text.push_str(job.line_ending);
    }
    let locator = if end < job.rows.len() {
        locator(end)
    } else {
        "null".to_owned()
    };
    let headers = [
        (header::CONTENT_TYPE.as_str(), "text/csv; charset=UTF-8".to_owned()),
        ("Sforce-NumberOfRecords", (end - start).to_string()),
        ("Sforce-Locator", locator),
    ];
    Ok((headers, text).into_response())
}

/// Opaque to the client.
fn locator(offset: usize) -> String {
    format!("MT{:x}", offset ^ 0x5a5a5a)
}

fn locator_offset(text: &str) -> Option<usize> {
    usize::from_str_radix(text.strip_prefix("MT")?, 16)
        .ok()
        .map(|number| number ^ 0x5a5a5a)
}

pub(crate) async fn abort(State(org): State<Arc<Org>>, Path(parameters): Path<HashMap<String, String>>) -> Answer {
    let mut jobs = org.bulk_jobs();
    let id = &parameters["id"];
    let job = jobs.get_mut(id).ok_or_else(missing)?;
    if matches!(job.state(), "JobComplete" | "Failed") {
        return Err(SalesforceError::bad_request(
            "INVALIDJOBSTATE",
            "Aborting a job that has ended is not allowed",
        ));
    }
    job.aborted = true;
    Ok(Json(job.describe(id)).into_response())
}

pub(crate) async fn remove(State(org): State<Arc<Org>>, Path(parameters): Path<HashMap<String, String>>) -> Answer {
    let mut jobs = org.bulk_jobs();
    let job = jobs.get(&parameters["id"]).ok_or_else(missing)?;
    if matches!(job.state(), "UploadComplete" | "InProgress") {
        return Err(SalesforceError::bad_request(
            "INVALIDJOBSTATE",
            "Deleting a job that has not ended is not allowed",
        ));
    }
    jobs.remove(&parameters["id"]);
    Ok(StatusCode::NO_CONTENT.into_response())
}
