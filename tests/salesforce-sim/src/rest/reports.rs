//! Reports over HTTP (Reports and Dashboards REST API guide): the list of recent ones, describe, synchronous runs.
//!
//! Leaves out asynchronous instances: a run is fast here, and the row limit is the same.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{Extension, Path, Query, State},
    http::HeaderMap,
    response::IntoResponse as _,
};
use serde_json::{Map, Value, json};

use super::{Answer, Caller, body_object};
use crate::{
    error::SalesforceError,
    id,
    org::Org,
    report::{
        ReportDefinition,
        run::{self, Show},
    },
};

/// The list shows recently viewed reports only.
const RECENT_MAX: usize = 200;

fn find(org: &Org, report_id: &str) -> Result<(String, ReportDefinition), SalesforceError> {
    let permissions = org.permissions();
    if !permissions.run_reports || !permissions.report_folders {
        return Err(SalesforceError::new(
            403,
            "FORBIDDEN",
            "You don't have sufficient privileges to perform this operation.",
        ));
    }
    let missing = || SalesforceError::new(404, "NOT_FOUND", "The data you’re trying to access is unavailable.");
    let full = id::normalize(report_id).ok_or_else(missing)?;
    let definition = org.state().reports.get(full.as_str()).cloned().ok_or_else(missing)?;
    Ok((full, definition))
}

pub(crate) async fn list(State(org): State<Arc<Org>>, Extension(caller): Extension<Caller>) -> Answer {
    let state = org.state();
    let list: Vec<Value> = state
        .reports
        .iter()
        .filter(|(id, _)| state.visible("Report", id))
        .take(RECENT_MAX)
        .map(|(id, report)| {
            let base = format!("/services/data/{}/analytics/reports/{id}", caller.version);
            json!({
                "id": &**id, "name": report.name, "url": base, "describeUrl": format!("{base}/describe"),
                "instancesUrl": format!("{base}/instances"),
            })
        })
        .collect();
    Ok(Json(Value::Array(list)).into_response())
}

pub(crate) async fn describe(State(org): State<Arc<Org>>, Path(parameters): Path<HashMap<String, String>>) -> Answer {
    let (id, definition) = find(&org, &parameters["id"])?;
    Ok(Json(run::describe(&org.state(), &id, &definition)).into_response())
}

pub(crate) async fn run_saved(
    State(org): State<Arc<Org>>,
    Path(parameters): Path<HashMap<String, String>>,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let (id, definition) = find(&org, &parameters["id"])?;
    answer(&org, &id, &definition, &query)
}

pub(crate) async fn run_changed(
    State(org): State<Arc<Org>>,
    Path(parameters): Path<HashMap<String, String>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let (id, definition) = find(&org, &parameters["id"])?;
    let metadata = if body.is_empty() {
        Map::new()
    } else {
        match body_object(&headers, &body)?.remove("reportMetadata") {
            Some(Value::Object(metadata)) => metadata,
            _ => {
                return Err(SalesforceError::bad_request(
                    "BAD_REQUEST",
                    "The request body has no reportMetadata.",
                ));
            }
        }
    };
    let definition = run::changed(definition, &metadata)?;
    answer(&org, &id, &definition, &query)
}

fn answer(org: &Org, id: &str, definition: &ReportDefinition, query: &HashMap<String, String>) -> Answer {
    let most = org.config.hourly_report_runs;
    let mut runs = org.report_runs();
    if runs.len() as u64 >= most {
        return Err(SalesforceError::new(
            403,
            "FORBIDDEN",
            format!("You can't run more than {most} reports synchronously every 60 minutes."),
        ));
    }
    runs.push_back(org.now_ms());
    drop(runs);
    if let Some(change) = org.faults.take_report_edit() {
        // For whoever reads on; this run still sees the report as it was.
        let mut edited = definition.clone();
        change.apply(&mut edited);
        org.replace_report(id, edited);
    }
    let show = Show {
        details: query
            .get("includeDetails")
            .is_some_and(|value| value.eq_ignore_ascii_case("true")),
        rows_max: org
            .faults
            .values()
            .report_rows_max
            .unwrap_or(org.config.max_report_rows),
        ids: org.config.report_ids,
        localized: org.config.localized_labels,
    };
    Ok(Json(run::run(&org.state(), id, definition, show)?).into_response())
}
