//! Snapshots from reports: which column is what, which page comes next, and whether the whole is complete.
//!
//! One run of a report returns at most 2,000 rows, so larger ones are read by keyset: sorted by one unique column,
//! each page starting after the last value of the page before. Only a *complete* snapshot proves an absence.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value, json};
use thiserror::Error;
use usher_contract::UserId;

use super::normalize::RawUser;

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
    /// The answer has not the expected form.
    #[error("the answer to the report {0:?} cannot be read: {1}")]
    Answer(String, String),
    /// Nothing to page by.
    #[error(
        "report {0:?} has more than 2,000 rows and no unique column to page by; add User ID or Username as a filterable column"
    )]
    NoCursor(String),
    /// A page that does not join up with the one before.
    #[error("pages of the report {0:?} do not join up: {1}")]
    Paging(String, String),
}

/// What `describe` says, reduced to what matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportShape {
    name: String,
    /// Position in `detailColumns` -> API name of the user's field.
    columns: BTreeMap<usize, String>,
    id_column: usize,
    cursor: Option<Cursor>,
    filters: Vec<Value>,
    boolean_filter: Option<String>,
}

/// The column that pages are cut by.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    position: usize,
    column: String,
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
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
        let details: Vec<String> = describe
            .pointer("/reportMetadata/detailColumns")
            .and_then(Value::as_array)
            .map(|columns| columns.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            .unwrap_or_default();
        let described = |column: &str| {
            describe
                .pointer("/reportExtendedMetadata/detailColumnInfo")
                .and_then(|all| all.get(column))
        };
        let mut columns = BTreeMap::new();
        for (position, column) in details.iter().enumerate() {
            let by_name = configured
                .iter()
                .find(|(_, name)| *name == column)
                .map(|(field, _)| field.clone());
            let entity = described(column)
                .and_then(|info| info["entityColumnName"].as_str())
                .and_then(|name| name.strip_prefix("User."));
            if let Some(field) = by_name.or_else(|| entity.map(str::to_owned)) {
                columns.insert(position, field);
            }
        }
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
        let filters = describe
            .pointer("/reportMetadata/reportFilters")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let active = position_of("IsActive").map(|position| details[position].clone());
        if filters
            .iter()
            .any(|filter| filter["column"].as_str() == active.as_deref() && active.is_some())
        {
            errors.push(ReportError::FiltersActive(name.clone()));
        }
        let Some(id_column) = position_of("Id").filter(|_| errors.is_empty()) else {
            return Err(errors);
        };
        let cursor = ["Id", "Username"].iter().find_map(|field| {
            let position = position_of(field)?;
            let filterable =
                described(&details[position]).is_none_or(|info| info["filterable"].as_bool().unwrap_or(true));
            filterable.then(|| Cursor {
                position,
                column: details[position].clone(),
            })
        });
        let boolean_filter = describe
            .pointer("/reportMetadata/reportBooleanFilter")
            .and_then(Value::as_str)
            .map(str::to_owned);
        Ok(Self {
            name,
            columns,
            id_column,
            cursor,
            filters,
            boolean_filter,
        })
    }

    /// The report's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The body of a run that returns the page after `after` (the cursor's raw value), or the first page.
    #[must_use]
    pub fn run_body(&self, after: Option<&str>) -> Value {
        let Some(cursor) = &self.cursor else {
            return json!({ "reportMetadata": {} });
        };
        let mut metadata = Map::new();
        metadata.insert(
            "sortBy".to_owned(),
            json!([{ "sortColumn": cursor.column, "sortOrder": "Asc" }]),
        );
        if let Some(after) = after {
            let mut filters = self.filters.clone();
            filters.push(json!({ "column": cursor.column, "operator": "greaterThan", "value": after }));
            if let Some(boolean) = &self.boolean_filter {
                metadata.insert(
                    "reportBooleanFilter".to_owned(),
                    json!(format!("({boolean}) AND {}", filters.len())),
                );
            }
            metadata.insert("reportFilters".to_owned(), json!(filters));
        }
        json!({ "reportMetadata": metadata })
    }

    /// Reads the answer of a run.
    ///
    /// # Errors
    /// When it has not the form that `describe` announced, or is cut and there is nothing to page by.
    pub fn read_page(&self, answer: &Value) -> Result<Page, ReportError> {
        let wrong = |what: &str| ReportError::Answer(self.name.clone(), what.to_owned());
        let all_data = answer["allData"].as_bool().ok_or_else(|| wrong("allData is missing"))?;
        let rows = answer
            .pointer("/factMap/T!T/rows")
            .and_then(Value::as_array)
            .ok_or_else(|| wrong("factMap has no T!T rows"))?;
        let mut page = Page {
            rows: Vec::with_capacity(rows.len()),
            next: None,
        };
        for row in rows {
            let cells = row["dataCells"].as_array().ok_or_else(|| wrong("a row has no cells"))?;
            // The raw value: labels are localized and formatted for the running user.
            let value = |position: usize| cells.get(position).map(|cell| cell["value"].clone());
            let id = value(self.id_column)
                .and_then(|id| UserId::try_new(id.as_str()?).ok())
                .ok_or_else(|| wrong("a row has no user id"))?;
            let mut raw = RawUser::new();
            for (position, field) in self.columns.iter().filter(|(_, field)| *field != "Id") {
                raw.insert(
                    field.clone(),
                    value(*position).ok_or_else(|| wrong("a row is shorter than the columns"))?,
                );
            }
            page.rows.push((id, raw));
        }
        if !all_data {
            let cursor = self
                .cursor
                .as_ref()
                .ok_or_else(|| ReportError::NoCursor(self.name.clone()))?;
            let last = rows
                .last()
                .and_then(|row| row["dataCells"].get(cursor.position)?["value"].as_str());
            page.next = Some(
                last.ok_or_else(|| wrong("the answer is cut and the last row has no value to go on from"))?
                    .to_owned(),
            );
        }
        Ok(page)
    }
}

/// One page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The rows: whom they concern and what they say.
    pub rows: Vec<(UserId, RawUser)>,
    /// The cursor value that the next page starts after; `None` after the last.
    pub next: Option<String>,
}

/// Follows the pages of one run and tells whether they join up.
#[derive(Debug, Clone, Default)]
pub struct Paging {
    seen: HashSet<UserId>,
    last_cursor: Option<String>,
}

impl Paging {
    /// Takes the next page.
    ///
    /// # Errors
    /// When a page brings nothing new although it claims to go on: the reader would turn in circles or miss rows.
    pub fn page(&mut self, name: &str, page: &Page) -> Result<(), ReportError> {
        let wrong = |what: &str| ReportError::Paging(name.to_owned(), what.to_owned());
        let before = self.seen.len();
        self.seen.extend(page.rows.iter().map(|(id, _)| *id));
        // Fewer new ids than rows within one page are duplicates of the report; across pages the filter excludes them.
        if page.next.is_some() && self.seen.len() == before {
            return Err(wrong("a page brought nobody new"));
        }
        if page.next.is_some() && page.next == self.last_cursor {
            return Err(wrong("a page ended where the one before ended"));
        }
        self.last_cursor.clone_from(&page.next);
        Ok(())
    }
    /// How many people were seen.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.seen.len() as u64
    }
}

/// Whether a snapshot that was read to its end may prove absences.
///
/// # Errors
/// In words, why not.
pub fn complete(rows: u64, last_complete: Option<u64>) -> Result<(), String> {
    match last_complete {
        _ if rows == 0 => Err("it has no rows".to_owned()),
        Some(last) if rows.abs_diff(last) * 5 > last => Err(format!(
            "it has {rows} rows and the last complete one had {last}: more than 20 % apart; if that is right, run `ingest-service reimport --accept-size`"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
