//! What a Salesforce report must be like to count as a listing of people, and which of its columns is what.
//!
//! Everything is decided from the answer to `describe`; reading the rows is `pages`. Columns are found by the field
//! that they show, because their names are not portable between orgs.

use std::collections::BTreeMap;

use serde_json::Value;
use thiserror::Error;

mod pages;

pub use pages::{Pages, row_count, runs_for};

/// Columns that a report must have: entity column and what people call it.
const REQUIRED: &[(&str, &str)] = &[
    ("FirstName", "First Name"),
    ("LastName", "Last Name"),
    ("Email", "Email"),
    ("IsActive", "Active"),
    ("TimeZoneSidKey", "Time Zone"),
    ("Id", "User ID"),
];

/// Why a report cannot be used. Every message names what to change.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReportError {
    /// Grouped reports lose rows and repeat them.
    #[error("report {0:?} has the format {1}; open it in Salesforce and change the format to Tabular")]
    NotTabular(String, String),
    /// Not about users.
    #[error(
        "report {0:?} is of the type {1:?}; make one of the type Users (Administrative Reports) or a custom report type on User"
    )]
    NotUsers(String, String),
    /// Columns are missing.
    #[error("report {0:?} lacks the column {1}; add it to the report{2}")]
    MissingColumn(String, String, String),
    /// It hides inactive users, so a leaver would look like an absence.
    #[error(
        "report {0:?} filters on the column Active; remove that filter (choose \"All Users\"), inactive users must be in it"
    )]
    FiltersActive(String),
    /// A standard filter or scope hides people.
    #[error("report {0:?} shows {1} only; choose \"All Users\", inactive users must be in it")]
    Narrow(String, String),
    /// A row limit cuts the listing without a sign.
    #[error("report {0:?} has a row limit of {1}; remove it, or people beyond it would look absent")]
    RowLimit(String, u64),
    /// Cross filters select by other objects.
    #[error("report {0:?} has a cross filter; remove it: who is listed would depend on records that are not users")]
    CrossFilter(String),
    /// The answer has not the expected form.
    #[error("the answer to the report {0:?} cannot be read: {1}")]
    Answer(String, String),
    /// Nothing to page by.
    #[error(
        "report {0:?} has more than 2,000 rows and no column to page by; add User ID, Created Date or Username as a filterable column, or \
         use snapshot.source bulk"
    )]
    NoCursor(String),
    /// A page that does not join up with the one before.
    #[error("pages of the report {0:?} do not join up: {1}")]
    Paging(String, String),
    /// One value of the column that pages are cut by is too frequent.
    #[error(
        "more than {1} rows of the report {0:?} have the same value of its column {2}, so it cannot be read page by page; make User ID \
         filterable in the report, or use snapshot.source bulk"
    )]
    Ties(String, usize, String),
    /// Somebody edited it meanwhile.
    #[error("report {0:?} changed while it was read: {1}")]
    Changed(String, String),
}

/// A column that pages can be cut by.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    position: usize,
    column: String,
    order: Order,
}

/// What is known about the order in which the source sorts a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Letters and digits; upper and lower case may be told apart or not.
    Ids,
    /// Moments.
    Moments,
    /// A collation of the source's own.
    Text,
}

/// Columns to page by, the best first: unique and never edited; never edited; unique. Text is the last choice, because
/// its order is the source's secret (Salesforce's advice for reading large reports).
const CURSORS: &[(&str, Order)] = &[
    ("Id", Order::Ids),
    ("CreatedDate", Order::Moments),
    ("Username", Order::Text),
];

/// What `describe` says, reduced to what matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportShape {
    name: String,
    /// `detailColumns` as they came: every page must have the same.
    details: Vec<String>,
    /// Position in `detailColumns` -> API name of the user's field.
    columns: BTreeMap<usize, String>,
    id_column: usize,
    cursor: Option<Cursor>,
    filters: Vec<Value>,
    boolean_filter: Option<String>,
    warnings: Vec<String>,
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn names(value: &Value, pointer: &str) -> Vec<String> {
    let texts = list(value, pointer).iter().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// The field of `User` that a column shows, as far as the report type says so.
fn field_of<'a>(describe: &'a Value, column: &str) -> Option<&'a str> {
    let detail = describe
        .pointer("/reportExtendedMetadata/detailColumnInfo")
        .and_then(|all| all.get(column));
    // A filter may use a column that the report does not show.
    let others = list(describe, "/reportTypeMetadata/categories")
        .iter()
        .filter_map(|category| category["columns"].get(column));
    detail
        .into_iter()
        .chain(others)
        .find_map(|info| info["entityColumnName"].as_str()?.strip_prefix("User."))
}

impl ReportShape {
    /// Reads and checks a `describe` answer. `configured` maps API names of user fields to column names, for report
    /// types that do not say which field a column shows.
    ///
    /// # Errors
    /// Everything that is wrong with the report.
    pub fn try_new(describe: &Value, configured: &BTreeMap<String, String>) -> Result<Self, Vec<ReportError>> {
        let name = text(describe, "/reportMetadata/name").to_owned();
        let mut errors = Vec::new();
        let format = text(describe, "/reportMetadata/reportFormat");
        if format != "TABULAR" {
            errors.push(ReportError::NotTabular(name.clone(), format.to_owned()));
        }
        let details = names(describe, "/reportMetadata/detailColumns");
        let field = |column: &str| {
            let by_name = configured.iter().find(|(_, name)| *name == column);
            by_name.map_or_else(|| field_of(describe, column), |(field, _)| Some(field.as_str()))
        };
        let columns: BTreeMap<usize, String> = details
            .iter()
            .enumerate()
            .filter_map(|(position, column)| Some((position, field(column)?.to_owned())))
            .collect();
        let position_of = |field: &str| {
            columns
                .iter()
                .find(|(_, name)| *name == field)
                .map(|(position, _)| *position)
        };
        if columns.is_empty() {
            let kind = text(describe, "/reportMetadata/reportType/label");
            errors.push(ReportError::NotUsers(name.clone(), kind.to_owned()));
        } else {
            for (field, label) in REQUIRED {
                if position_of(field).is_none() {
                    let hint = format!(", or name the column that shows it in snapshot.report.columns.{field}");
                    errors.push(ReportError::MissingColumn(name.clone(), (*label).to_owned(), hint));
                }
            }
        }
        let filters = list(describe, "/reportMetadata/reportFilters").to_vec();
        let on_active = |filter: &Value| filter["column"].as_str().and_then(field) == Some("IsActive");
        if filters.iter().any(on_active) {
            errors.push(ReportError::FiltersActive(name.clone()));
        }
        let (narrow, warnings) = selection(describe);
        errors.extend(narrow.into_iter().map(|what| ReportError::Narrow(name.clone(), what)));
        if let Some(limit) = describe
            .pointer("/reportMetadata/topRows/rowLimit")
            .and_then(Value::as_u64)
        {
            errors.push(ReportError::RowLimit(name.clone(), limit));
        }
        if !list(describe, "/reportMetadata/crossFilters").is_empty() {
            errors.push(ReportError::CrossFilter(name.clone()));
        }
        let Some(id_column) = position_of("Id").filter(|_| errors.is_empty()) else {
            return Err(errors);
        };
        let filterable = |column: &str| {
            let info = describe.pointer("/reportExtendedMetadata/detailColumnInfo");
            info.and_then(|all| all.get(column)?["filterable"].as_bool())
                .unwrap_or(true)
        };
        let cursor = CURSORS.iter().find_map(|(field, order)| {
            let position = position_of(field)?;
            let column = details.get(position).filter(|column| filterable(column))?.clone();
            Some(Cursor {
                position,
                column,
                order: *order,
            })
        });
        let boolean_filter = describe
            .pointer("/reportMetadata/reportBooleanFilter")
            .and_then(Value::as_str)
            .map(str::to_owned);
        Ok(Self {
            name,
            details,
            columns,
            id_column,
            cursor,
            filters,
            boolean_filter,
            warnings,
        })
    }

    /// The report's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is legal but may hide people, in words.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// What scope, standard filters and date filter do: what hides inactive people, and what only may hide somebody. Their
/// values are not documented for the Users type, so what is not known to hide anybody is said and not refused.
fn selection(describe: &Value) -> (Vec<String>, Vec<String>) {
    let (mut refused, mut warnings) = (Vec::new(), Vec::new());
    let scope = text(describe, "/reportMetadata/scope");
    let lower = scope.to_lowercase();
    if !matches!(lower.as_str(), "" | "organization" | "all" | "allusers") {
        if matches!(lower.as_str(), "user" | "mine" | "team") || lower.contains("active") {
            refused.push(format!("the scope {scope:?}"));
        } else {
            warnings.push(format!(
                "the report's scope is {scope:?} and may hide people; choose \"All Users\" if it does"
            ));
        }
    }
    for filter in list(describe, "/reportMetadata/standardFilters") {
        let (name, value) = (text(filter, "/name"), text(filter, "/value"));
        let all = value.is_empty() || value.to_lowercase().starts_with("all");
        if all {
            continue;
        }
        if format!("{name} {value}").to_lowercase().contains("active") {
            refused.push(format!("people whose standard filter {name:?} is {value:?}"));
        } else {
            warnings.push(format!(
                "the report's standard filter {name:?} is {value:?}: people who do not match it count as not listed"
            ));
        }
    }
    let dates = describe.pointer("/reportMetadata/standardDateFilter");
    if let Some(dates) = dates
        && (dates["startDate"].is_string() || dates["endDate"].is_string())
    {
        warnings.push(format!(
            "the report has a date filter on {:?}: people outside of it count as not listed",
            text(dates, "/column")
        ));
    }
    (refused, warnings)
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
