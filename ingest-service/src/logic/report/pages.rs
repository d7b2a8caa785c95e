//! Reading a report of any size: one run returns at most 2,000 rows, so pages are cut by the values of one column.
//!
//! Each page begins *with* the value that the page before ended with, so that one row at least must come again. That
//! proves that pages join up whatever the source's order is, and lets a column be used whose values are not unique. Rows
//! that come again are dropped. Salesforce compares texts without regard to case, and the 15 letters of an id tell case apart:
//! values that differ in case only count as one here, whichever of them a page ended with. Leaves out whether the size is plausible: `snapshot`.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashSet},
};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use usher_contract::UserId;

use super::{Cursor, Order, ReportError, ReportShape, list, names, text};
use crate::logic::normalize::{RawUser, as_timestamp};

/// Rows that one run returns at most (Reports and Dashboards REST API, limits).
const ROWS_PER_RUN_MAX: u64 = 2_000;

/// How many rows a run had altogether, also those that it did not return, if the answer says so.
#[must_use]
pub fn row_count(answer: &Value) -> Option<u64> {
    let position = list(answer, "/reportMetadata/aggregates")
        .iter()
        .position(|name| name == "RowCount")?;
    list(answer, "/factMap/T!T/aggregates").get(position)?["value"].as_u64()
}

/// How many runs that many rows need: each page after the first repeats a row.
#[must_use]
pub fn runs_for(rows: u64) -> u64 {
    rows.saturating_sub(1).div_ceil(ROWS_PER_RUN_MAX - 1).max(1)
}

/// Where the last page ended.
#[derive(Debug, Clone)]
struct End {
    /// The cursor's raw value in the last row.
    value: String,
    /// The person of the last row.
    id: UserId,
    /// How many rows the run had altogether, when the answer says so.
    count: Option<u64>,
}

/// The pages of one reading, in order.
#[derive(Debug, Clone)]
pub struct Pages {
    shape: ReportShape,
    end: Option<End>,
    /// People of the last page.
    previous: HashSet<UserId>,
    /// Values that pages ended with: none may come again.
    ends: HashSet<String>,
    uncounted: bool,
    pages: u64,
    rows: u64,
    done: bool,
}

impl Pages {
    /// Before the first page.
    #[must_use]
    pub fn new(shape: ReportShape) -> Self {
        Self {
            shape,
            end: None,
            previous: HashSet::new(),
            ends: HashSet::new(),
            uncounted: false,
            pages: 0,
            rows: 0,
            done: false,
        }
    }

    /// Whether the last page was read.
    #[must_use]
    pub fn done(&self) -> bool {
        self.done
    }

    /// People so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The body of the run that returns the next page.
    #[must_use]
    pub fn body(&self) -> Value {
        let Some(cursor) = &self.shape.cursor else {
            return json!({ "reportMetadata": {} });
        };
        let mut metadata = Map::new();
        let sort = json!([{ "sortColumn": cursor.column, "sortOrder": "Asc" }]);
        metadata.insert("sortBy".to_owned(), sort);
        if let Some(end) = &self.end {
            let mut filters = self.shape.filters.clone();
            filters.push(json!({ "column": cursor.column, "operator": "greaterOrEqual", "value": end.value }));
            if let Some(boolean) = &self.shape.boolean_filter {
                let boolean = format!("({boolean}) AND {}", filters.len());
                metadata.insert("reportBooleanFilter".to_owned(), json!(boolean));
            }
            metadata.insert("reportFilters".to_owned(), json!(filters));
        }
        json!({ "reportMetadata": metadata })
    }

    /// Takes the answer to the run: the rows that are new.
    ///
    /// # Errors
    /// When it has not the form that `describe` announced, does not join up with the page before, or is cut and there is
    /// nothing to go on by. The reading is incomplete then.
    pub fn take(&mut self, answer: &Value) -> Result<Vec<(UserId, RawUser)>, ReportError> {
        self.unchanged(answer)?;
        let all = self.all_data(answer)?;
        let rows = self.shape.rows(answer)?;
        let count = self.counted(answer, all, rows.len() as u64)?;
        let cursor = self.shape.cursor.clone();
        if let Some(cursor) = &cursor {
            self.sorted(cursor, &rows)?;
        }
        self.joins(&rows, count)?;
        if all {
            self.done = true;
        } else {
            let cursor = cursor.ok_or_else(|| ReportError::NoCursor(self.shape.name.clone()))?;
            self.end = Some(self.end_of(&cursor, &rows, count)?);
        }
        self.pages += 1;
        let ids: HashSet<UserId> = rows.iter().map(|row| row.id).collect();
        if ids.len() < rows.len() {
            return Err(self.wrong("it has somebody twice on one page; a report of the type Users has everybody once"));
        }
        let fresh: Vec<_> = rows
            .into_iter()
            .filter(|row| !self.previous.contains(&row.id))
            .map(|row| (row.id, row.raw))
            .collect();
        self.previous = ids;
        self.rows += fresh.len() as u64;
        Ok(fresh)
    }

    /// Whether pages were cut whose answers do not say how many rows there are: should the column's filter and order not agree,
    /// rows between two pages would be missed and nothing would show it.
    #[must_use]
    pub fn uncounted(&self) -> bool {
        self.uncounted
    }

    /// Whether it must be described once more: somebody may have edited it between two pages without a sign in either,
    /// because the pages after the first carry the filters that it had at first.
    #[must_use]
    pub fn describes_again(&self) -> bool {
        self.pages > 1
    }

    /// Compares with what `describe` says after the last page.
    ///
    /// # Errors
    /// When it is not what it was.
    pub fn described_again(&self, describe: &Value, configured: &BTreeMap<String, String>) -> Result<(), ReportError> {
        match ReportShape::try_new(describe, configured) {
            Ok(shape) if shape == self.shape => Ok(()),
            Ok(_) => Err(self.changed("its columns or filters are not those that it had at first")),
            Err(errors) => Err(errors
                .into_iter()
                .next()
                .unwrap_or_else(|| self.changed("it can no longer be used"))),
        }
    }

    fn wrong(&self, what: &str) -> ReportError {
        ReportError::Answer(self.shape.name.clone(), what.to_owned())
    }
    fn changed(&self, what: &str) -> ReportError {
        ReportError::Changed(self.shape.name.clone(), what.to_owned())
    }
    fn apart(&self, what: &str) -> ReportError {
        ReportError::Paging(self.shape.name.clone(), what.to_owned())
    }

    fn unchanged(&self, answer: &Value) -> Result<(), ReportError> {
        if names(answer, "/reportMetadata/detailColumns") != self.shape.details {
            return Err(self.changed("its columns are not those that it had at first"));
        }
        if text(answer, "/reportMetadata/reportFormat") != "TABULAR" {
            return Err(self.changed("it is no longer tabular"));
        }
        // Later pages say what was asked for.
        let filters = list(answer, "/reportMetadata/reportFilters");
        let boolean = answer
            .pointer("/reportMetadata/reportBooleanFilter")
            .and_then(Value::as_str);
        if self.end.is_none() && (filters != self.shape.filters || boolean != self.shape.boolean_filter.as_deref()) {
            return Err(self.changed("its filters are not those that it had at first"));
        }
        Ok(())
    }

    /// Newer versions also say `hasExceededTabularRowLimit`. Either sign of a cut counts.
    fn all_data(&self, answer: &Value) -> Result<bool, ReportError> {
        let all = answer["allData"].as_bool();
        let exceeded = answer["hasExceededTabularRowLimit"].as_bool();
        match (all, exceeded) {
            (None, None) => Err(self.wrong("it does not say whether all data are in it")),
            (all, exceeded) => Ok(all.unwrap_or(true) && !exceeded.unwrap_or(false)),
        }
    }

    /// The number of rows that the answer speaks of.
    fn counted(&self, answer: &Value, all: bool, rows: u64) -> Result<Option<u64>, ReportError> {
        let count = row_count(answer);
        if count.is_some_and(|count| if all { count != rows } else { count < rows }) {
            return Err(self.apart(&format!(
                "a run counts {} rows and returns {rows}",
                count.unwrap_or_default()
            )));
        }
        Ok(count)
    }

    /// Within a page, values rise. For texts the source's collation is unknown, and only joining up is looked at.
    fn sorted(&self, cursor: &Cursor, rows: &[Row]) -> Result<(), ReportError> {
        let rises = |order: &dyn Fn(&str, &str) -> Ordering| {
            rows.windows(2).all(|pair| {
                pair[0]
                    .cursor_text()
                    .zip(pair[1].cursor_text())
                    .is_none_or(|(a, b)| order(a, b).is_le())
            })
        };
        let holds = match cursor.order {
            Order::Text => true,
            Order::Ids => rises(&|a, b| a.cmp(b)) || rises(&|a, b| a.to_ascii_lowercase().cmp(&b.to_ascii_lowercase())),
            Order::Moments => {
                let moment = |text: &str| as_timestamp(&json!(text)).unwrap_or(Timestamp::MIN);
                rises(&|a, b| moment(a).cmp(&moment(b)))
            }
        };
        if holds {
            Ok(())
        } else {
            Err(self.apart(&format!("rows are not sorted by the column {}", cursor.column)))
        }
    }

    /// A page begins with rows of the page before: exactly those with the value that it was asked for.
    fn joins(&self, rows: &[Row], count: Option<u64>) -> Result<(), ReportError> {
        let Some(end) = &self.end else { return Ok(()) };
        if !rows.iter().any(|row| row.id == end.id) {
            return Err(self.apart(
                "the person whom the page before ended with is not on the next one; the column's filter and order do not agree, or the \
                 person has left the report meanwhile",
            ));
        }
        let again = || rows.iter().filter(|row| self.previous.contains(&row.id));
        if again().any(|row| !row.cursor_text().is_some_and(|value| self.same(value, &end.value))) {
            return Err(self.apart("rows of the page before came again out of order"));
        }
        // Whatever was counted then and has not come on that page must be counted now, however the source compares values.
        let taken = (self.previous.len() - again().count()) as u64;
        if let (Some(before), Some(count)) = (end.count, count)
            && count + taken < before
        {
            return Err(self.apart(&format!(
                "{} rows that were counted before have gone; if the report changes that often, use snapshot.source bulk",
                before - taken - count
            )));
        }
        Ok(())
    }

    fn end_of(&mut self, cursor: &Cursor, rows: &[Row], count: Option<u64>) -> Result<End, ReportError> {
        let last = rows
            .last()
            .and_then(|row| Some((row.id, row.cursor_text()?.to_owned())));
        let Some((id, value)) = last else {
            return Err(self.wrong("it is cut and its last row has no value to go on from"));
        };
        // All of one value: the next page would begin with the same rows, in whatever order.
        let one_value = rows
            .iter()
            .all(|row| row.cursor_text().is_some_and(|other| self.same(other, &value)));
        if one_value || self.end.as_ref().is_some_and(|end| end.value == value) {
            let (name, column) = (self.shape.name.clone(), cursor.column.clone());
            return Err(ReportError::Ties(name, rows.len(), column));
        }
        if !self.ends.insert(value.clone()) {
            return Err(self.apart("a page ended where an earlier one ended"));
        }
        // An answer that counts only what it returns says nothing about the rest.
        self.uncounted |= count.is_none_or(|count| count <= rows.len() as u64);
        Ok(End { value, id, count })
    }

    /// Whether a filter takes two values of the cursor's column for the same.
    fn same(&self, one: &str, other: &str) -> bool {
        let moments = self
            .shape
            .cursor
            .as_ref()
            .is_some_and(|cursor| cursor.order == Order::Moments);
        one == other || (!moments && one.to_lowercase() == other.to_lowercase())
    }
}

/// A row as it came.
#[derive(Debug)]
struct Row {
    id: UserId,
    raw: RawUser,
    cursor: Value,
}

impl Row {
    fn cursor_text(&self) -> Option<&str> {
        self.cursor.as_str().filter(|text| !text.is_empty())
    }
}

impl ReportShape {
    /// The rows of an answer, by position. The raw value counts: labels are localized and formatted for the running user.
    fn rows(&self, answer: &Value) -> Result<Vec<Row>, ReportError> {
        let wrong = |what: &str| ReportError::Answer(self.name.clone(), what.to_owned());
        let rows = answer
            .pointer("/factMap/T!T/rows")
            .and_then(Value::as_array)
            .ok_or_else(|| wrong("factMap has no T!T rows"))?;
        let read = |row: &Value| {
            let cells = row["dataCells"].as_array().ok_or_else(|| wrong("a row has no cells"))?;
            if cells.len() != self.details.len() {
                return Err(wrong("a row has not as many cells as there are columns"));
            }
            let value = |position: usize| cells.get(position).map_or(Value::Null, |cell| cell["value"].clone());
            let id = value(self.id_column);
            let id = id
                .as_str()
                .and_then(|id| UserId::try_new(id).ok())
                .ok_or_else(|| wrong("a row has no user id"))?;
            let fields = self.columns.iter().filter(|(_, field)| *field != "Id");
            let raw = fields
                .map(|(position, field)| (field.clone(), value(*position)))
                .collect();
            let cursor = self
                .cursor
                .as_ref()
                .map_or(Value::Null, |cursor| value(cursor.position));
            Ok(Row { id, raw, cursor })
        };
        rows.iter().map(read).collect()
    }
}
