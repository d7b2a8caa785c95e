//! What was done: outcomes of the topic, page by page, as JSON or CSV.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::{
        HeaderMap,
        header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use usher_runtime::{clock, shutdown::chain};

use super::{
    Served,
    call::{Problem, bounded},
};
use crate::history::{self, Filter, Place};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutcomesQuery {
    user: Option<String>,
    target: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    result: Option<String>,
    action: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
    format: Option<String>,
}

pub(super) async fn list(
    State(served): State<Served>,
    headers: HeaderMap,
    query: Result<Query<OutcomesQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|rejection| Problem::wrong(rejection.body_text()))?;
    let accepts = |kind: &str| {
        let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        accepted.is_some_and(|accepted| accepted.contains(kind))
    };
    let as_csv = match query.format.as_deref() {
        Some("csv") => true,
        Some("json") => false,
        Some(_) => return Err(Problem::wrong("format is json or csv")),
        None => accepts("text/csv"),
    };
    let filter = filter(&served, &query)?;
    let _turn = served.turn().await?;
    let page = history::read(&served.kafka, filter).await;
    let page = page.map_err(|error| Problem::later(chain(&error)))?;
    if !as_csv {
        return Ok(Json(page).into_response());
    }
    let mut response = (
        [
            (CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
            (CONTENT_DISPOSITION, "attachment; filename=\"outcomes.csv\""),
        ],
        history::csv(&page.outcomes),
    )
        .into_response();
    // A table has no room for it.
    if let Some(next) = page.next.and_then(|next| next.parse().ok()) {
        response.headers_mut().insert("x-usher-next", next);
    }
    response.headers_mut().insert(
        "x-usher-cut",
        axum::http::HeaderValue::from_static(if page.cut { "true" } else { "false" }),
    );
    Ok(response)
}

fn filter(served: &Served, query: &OutcomesQuery) -> Result<Filter, Problem> {
    let user = query.user.as_deref().map(|user| served.known_user(user)).transpose()?;
    // Targets of the past have outcomes as well: only the form of the name is checked.
    let target = query.target.as_deref().map(str::parse).transpose();
    let target = target.map_err(|error: usher_contract::IdError| Problem::wrong(error.to_string()))?;
    let result = match &query.result {
        None => None,
        Some(word) => Some(
            history::result_of(word)
                .ok_or_else(|| Problem::wrong("result is done, retry, rejected, halted, held, released or skipped"))?,
        ),
    };
    let after = match &query.after {
        None => None,
        Some(text) => Some(Place::parse(text).ok_or_else(|| Problem::wrong("after is the `next` of the page before"))?),
    };
    let default_from = || {
        let end = query.to.unwrap_or_else(clock::now);
        end.checked_sub(SignedDuration::from_hours(24)).ok()
    };
    if let (Some(from), Some(to)) = (query.from, query.to)
        && from >= to
    {
        return Err(Problem::wrong("from is before to"));
    }
    Ok(Filter {
        user,
        target,
        result,
        action: query.action.clone(),
        from: query
            .from
            .or_else(|| if user.is_some() { None } else { default_from() }),
        to: query.to,
        after,
        limit: bounded(query.limit, 100, 1, 1000)?,
    })
}
