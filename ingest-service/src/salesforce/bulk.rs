//! Bulk API 2.0 query jobs: create, look, read results, remove. What the answers mean is in `logic::bulk`.

use serde_json::json;
use tracing::debug;

use super::{
    error::ApiError,
    rest::{Answer, RawAnswer, Rest},
};

fn path(rest: &Rest, id: &str) -> String {
    rest.path(&format!("jobs/query/{id}"))
}

/// Creates a job for this query; gives its id.
///
/// # Errors
/// [`ApiError`].
pub async fn create(rest: &Rest, query: &str) -> Result<String, ApiError> {
    let what = "creating a bulk query job";
    let body = json!({ "operation": "query", "query": query, "contentType": "CSV", "columnDelimiter": "COMMA", "lineEnding": "LF" });
    let answer = rest.post(what, &rest.path("jobs/query"), &body).await?;
    let id = answer.body["id"]
        .as_str()
        .filter(|id| id.chars().all(|letter| letter.is_ascii_alphanumeric()));
    id.map(str::to_owned).ok_or_else(|| ApiError::Answer {
        what: what.to_owned(),
        reason: "it names no job".to_owned(),
    })
}

/// What the job says about itself.
///
/// # Errors
/// [`ApiError`].
pub async fn state(rest: &Rest, id: &str) -> Result<Answer, ApiError> {
    rest.get("looking at the bulk job", &path(rest, id), &[]).await
}

/// A page of the results, from `locator` on, at most `most` records.
///
/// # Errors
/// [`ApiError`].
pub async fn results(rest: &Rest, id: &str, locator: Option<&str>, most: u32) -> Result<RawAnswer, ApiError> {
    let most = most.to_string();
    let mut query = vec![("maxRecords", most.as_str())];
    query.extend(locator.map(|locator| ("locator", locator)));
    let path = format!("{}/results", path(rest, id));
    rest.get_csv("reading the results of the bulk job", &path, &query).await
}

/// Removes a job; one that is not `done` is aborted first. As far as that is possible: Salesforce keeps what stays for
/// seven days and removes it then.
pub async fn discard(rest: &Rest, id: &str, done: bool) {
    let (path, aborted) = (path(rest, id), json!({ "state": "Aborted" }));
    if !done && let Err(error) = rest.patch("aborting the bulk job", &path, &aborted).await {
        debug!(job.id = id, %error, "the bulk job was not aborted");
    }
    if let Err(error) = rest.delete("removing the bulk job", &path).await {
        debug!(job.id = id, %error, "the bulk job was not removed");
    }
}
