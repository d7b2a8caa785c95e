//! The Reports and Dashboards REST API: find a report, describe it, run it page by page.

use serde_json::Value;
use thiserror::Error;

use super::{
    error::ApiError,
    rest::{Answer, Rest},
};
use crate::{
    config::ReportConfig,
    logic::report::{Pages, ReportError, ReportShape, row_count},
};

/// A report that cannot be used, or a call that failed.
#[derive(Debug, Error)]
pub enum ReportFailure {
    /// The call.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The report; each problem names what to change.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Unusable(Vec<ReportError>),
    /// No such report.
    #[error("{0}")]
    NotFound(String),
}

/// A report that was found and checked.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its id.
    pub id: String,
    /// What it looks like.
    pub shape: ReportShape,
    /// When it was described, by the source's clock.
    pub described_at: jiff::Timestamp,
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}

/// Names of the reports in the configured folder.
///
/// # Errors
/// [`ApiError`].
pub async fn eligible(rest: &Rest, config: &ReportConfig) -> Result<Vec<(String, String)>, ApiError> {
    let soql = format!(
        "SELECT Id, Name FROM Report WHERE FolderName = '{}' ORDER BY Name",
        quoted(&config.folder)
    );
    let page = rest.query("listing the reports of the folder", &soql).await?;
    let text = |record: &Value, field: &str| record[field].as_str().unwrap_or_default().to_owned();
    Ok(page
        .records
        .iter()
        .map(|record| (text(record, "Id"), text(record, "Name")))
        .collect())
}

/// Finds the configured report, checks that it is eligible and has what is needed.
///
/// # Errors
/// [`ReportFailure`] naming everything that is wrong.
pub async fn open(rest: &Rest, config: &ReportConfig) -> Result<Report, ReportFailure> {
    let eligible = eligible(rest, config).await?;
    let names = eligible
        .iter()
        .map(|(_, name)| format!("{name:?}"))
        .collect::<Vec<_>>()
        .join(", ");
    let there = if names.is_empty() {
        "it has no reports that the integration user may see".to_owned()
    } else {
        format!("it has {names}")
    };
    let same_id = |one: &str, other: &str| one.get(..15) == other.get(..15) && one.len() >= 15;
    let found = match (&config.id, &config.name) {
        (Some(id), _) => eligible.iter().find(|(found, _)| same_id(found, id)),
        (None, Some(name)) => eligible.iter().find(|(_, found)| found == name),
        (None, None) => None,
    };
    // By name, two of them cannot be told apart.
    let same_name: Vec<&str> = match (&config.id, &config.name) {
        (None, Some(name)) => eligible
            .iter()
            .filter(|(_, found)| found == name)
            .map(|(id, _)| id.as_str())
            .collect(),
        _ => Vec::new(),
    };
    if same_name.len() > 1 {
        return Err(ReportFailure::NotFound(format!(
            "the folder {:?} has {} reports of that name ({}); rename one, or choose by snapshot.report.id",
            config.folder,
            same_name.len(),
            same_name.join(", ")
        )));
    }
    let Some((id, _)) = found else {
        let wanted = config.name.clone().or_else(|| config.id.clone()).unwrap_or_default();
        let outside = lies_outside(rest, config).await?;
        return Err(ReportFailure::NotFound(format!(
            "report {wanted:?} is not in the folder {:?} ({there}){outside}; move or copy it there, or change snapshot.report",
            config.folder
        )));
    };
    let describe = describe(rest, id).await?;
    let shape = ReportShape::try_new(&describe.body, &config.columns).map_err(ReportFailure::Unusable)?;
    Ok(Report {
        id: id.clone(),
        shape,
        described_at: describe.at,
    })
}

/// What the report looks like now.
///
/// # Errors
/// [`ApiError`].
pub async fn describe(rest: &Rest, id: &str) -> Result<Answer, ApiError> {
    let path = rest.path(&format!("analytics/reports/{id}/describe"));
    rest.get("describing the report", &path, &[]).await
}

/// How many rows the report has, if a run says so. Counts as a run.
///
/// # Errors
/// [`ApiError`].
pub async fn size(rest: &Rest, report: &Report) -> Result<Option<u64>, ApiError> {
    let path = rest.path(&format!("analytics/reports/{}", report.id));
    let body = Pages::new(report.shape.clone()).body();
    let answer = rest.post("counting the rows of the report", &path, &body).await?;
    Ok(row_count(&answer.body))
}

/// Where the wanted report is, when it exists elsewhere.
async fn lies_outside(rest: &Rest, config: &ReportConfig) -> Result<String, ApiError> {
    let condition = match (&config.id, &config.name) {
        (Some(id), _) => format!("Id = '{}'", quoted(id)),
        (None, Some(name)) => format!("Name = '{}'", quoted(name)),
        (None, None) => return Ok(String::new()),
    };
    let page = rest
        .query(
            "looking for the report",
            &format!("SELECT Id, Name, FolderName FROM Report WHERE {condition}"),
        )
        .await?;
    Ok(page
        .records
        .first()
        .and_then(|record| record["FolderName"].as_str())
        .map_or_else(String::new, |folder| format!("; it lies in {folder:?}")))
}

/// Runs it; `body` says for which page.
///
/// # Errors
/// [`ApiError`].
pub async fn run(rest: &Rest, report: &Report, body: &Value) -> Result<Answer, ApiError> {
    let path = rest.path(&format!("analytics/reports/{}?includeDetails=true", report.id));
    rest.post("running the report", &path, body).await
}
