//! Bulk API 2.0 query jobs: what a job's state means, and its results as rows like those of a query.
//!
//! Results are CSV in pages that are joined by opaque locators; every page repeats the header row. Nothing is believed
//! that does not add up: header, records per page, records of the job (Bulk API 2.0 guide, "Get Results for a Query Job").

use std::collections::HashSet;

use serde_json::{Map, Value};
use thiserror::Error;
use usher_contract::UserId;

use super::normalize::RawUser;

/// Why the results of a job are not complete.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BulkError {
    /// The job ended without results.
    #[error("the bulk job ended as {state}{code}")]
    Ended {
        /// `Failed` or `Aborted`.
        state: String,
        /// Salesforce's code, when it gives one.
        code: String,
    },
    /// The answer has not the form that the API promises.
    #[error("the bulk job's {what} cannot be read: {reason}")]
    Answer {
        /// Which answer.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The numbers differ.
    #[error("the bulk job's results do not add up: {0}")]
    Count(String),
}

fn unreadable(what: &'static str, reason: impl Into<String>) -> BulkError {
    let reason = reason.into();
    BulkError::Answer { what, reason }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Not done yet.
    Working {
        /// Records so far, as the job says.
        records: u64,
    },
    /// Its results can be read.
    Complete {
        /// How many records they have.
        records: u64,
    },
}

impl JobState {
    /// Reads what the job says about itself.
    ///
    /// # Errors
    /// When it failed or was aborted, and when it says nothing that is known.
    pub fn try_new(job: &Value) -> Result<Self, BulkError> {
        let records = job["numberRecordsProcessed"].as_u64();
        match job["state"].as_str() {
            Some("UploadComplete" | "InProgress") => Ok(Self::Working {
                records: records.unwrap_or(0),
            }),
            Some("JobComplete") => Ok(Self::Complete {
                records: records.ok_or_else(|| unreadable("state", "it does not say how many records it has"))?,
            }),
            Some(state @ ("Failed" | "Aborted")) => Err(BulkError::Ended {
                state: state.to_owned(),
                code: code(job["errorMessage"].as_str().unwrap_or_default()),
            }),
            _ => Err(unreadable("state", "it names no known state")),
        }
    }
}

/// The code at the beginning of an error message. The rest may hold values of people.
fn code(message: &str) -> String {
    let end = message
        .find(|letter: char| !(letter.is_ascii_uppercase() || letter == '_'))
        .unwrap_or(message.len());
    match &message[..end] {
        "" => String::new(),
        code => format!(" ({code})"),
    }
}

/// The results of one job, page by page.
#[derive(Debug, Clone)]
pub struct Results {
    columns: Vec<String>,
    records: u64,
    read: u64,
    locators: HashSet<String>,
}

impl Results {
    /// `columns`: what the query selects, in order. `records`: what the complete job says.
    #[must_use]
    pub fn new(columns: &[String], records: u64) -> Self {
        Self {
            columns: columns.to_vec(),
            records,
            read: 0,
            locators: HashSet::new(),
        }
    }

    /// Opens a page.
    ///
    /// # Errors
    /// When its header row is not what the query selects.
    pub fn page<'a>(&self, body: &'a [u8]) -> Result<PageRows<'a>, BulkError> {
        let mut reader = csv::ReaderBuilder::new().from_reader(body);
        let header = reader
            .headers()
            .map_err(|_| unreadable("results", "it has no header row"))?;
        let same = header.len() == self.columns.len()
            && header
                .iter()
                .zip(&self.columns)
                .all(|(one, other)| one.eq_ignore_ascii_case(other));
        if !same {
            return Err(unreadable("results", "its columns are not those that the query names"));
        }
        Ok(PageRows {
            columns: self.columns.clone(),
            records: reader.into_records(),
            read: 0,
        })
    }

    /// A page has been read to its end. `number` and `locator` are its headers `Sforce-NumberOfRecords` and
    /// `Sforce-Locator`. Gives the locator of the next page.
    ///
    /// # Errors
    /// When the page has not as many records as it says, and when nothing says what comes next.
    pub fn page_ended(
        &mut self,
        page: &PageRows<'_>,
        number: Option<&str>,
        locator: Option<&str>,
    ) -> Result<Option<String>, BulkError> {
        let said: Option<u64> = number.and_then(|number| number.trim().parse().ok());
        if said != Some(page.read) {
            let said = said.map_or_else(|| "nothing".to_owned(), |said| said.to_string());
            return Err(BulkError::Count(format!(
                "a page says {said} and has {} records",
                page.read
            )));
        }
        self.read += page.read;
        match locator.map(str::trim) {
            // The text `null` is the end. A header that is missing is none: a proxy may have dropped it.
            Some("null") if self.read == self.records => Ok(None),
            Some("null") => Err(BulkError::Count(format!(
                "the job has {} records and its pages {}",
                self.records, self.read
            ))),
            Some(next) if !next.is_empty() && self.locators.insert(next.to_owned()) => Ok(Some(next.to_owned())),
            Some(_) => Err(unreadable("results", "a locator comes again")),
            None => Err(unreadable("results", "it does not say whether more pages follow")),
        }
    }
}

/// The rows of one page.
#[expect(missing_debug_implementations, reason = "the reader behind it has none")]
pub struct PageRows<'a> {
    columns: Vec<String>,
    records: csv::StringRecordsIntoIter<&'a [u8]>,
    read: u64,
}

impl PageRows<'_> {
    /// The next rows, at most `most`; none after the last.
    ///
    /// # Errors
    /// When a row has not the form of the header, or names nobody.
    pub fn next_rows(&mut self, most: usize) -> Result<Vec<(UserId, RawUser)>, BulkError> {
        let mut rows = Vec::new();
        while rows.len() < most
            && let Some(record) = self.records.next()
        {
            let record = record.map_err(|_| unreadable("results", "a row has not the form of the header"))?;
            self.read += 1;
            rows.push(row(&self.columns, &record).ok_or_else(|| unreadable("results", "a row has no user id"))?);
        }
        Ok(rows)
    }
}

/// As a record of a query would be: empty is null, parents are nested.
fn row(columns: &[String], record: &csv::StringRecord) -> Option<(UserId, RawUser)> {
    let mut raw = RawUser::new();
    let mut id = None;
    for (column, text) in columns.iter().zip(record) {
        let value = if text.is_empty() {
            Value::Null
        } else {
            Value::String(text.to_owned())
        };
        match column.split_once('.') {
            None if column == "Id" => id = UserId::try_new(text).ok(),
            None => {
                raw.insert(column.clone(), value);
            }
            // No parent, or one without this value: a query has null for the first, and the second does not occur.
            Some((parent, _)) if value.is_null() => {
                raw.entry(parent).or_insert(Value::Null);
            }
            Some((parent, field)) => {
                let parent = raw.entry(parent).or_insert(Value::Null);
                if !parent.is_object() {
                    *parent = Value::Object(Map::new());
                }
                parent[field] = value;
            }
        }
    }
    Some((id?, raw))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn columns() -> Vec<String> {
        [
            "Id",
            "LastName",
            "IsActive",
            "ProfileId",
            "Profile.Name",
            "UserRole.Name",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    const HEAD: &str = "\"Id\",\"LastName\",\"IsActive\",\"ProfileId\",\"Profile.Name\",\"UserRole.Name\"\n";

    fn page(rows: &[&str]) -> String {
        let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
        format!("{HEAD}{lines}")
    }

    fn read(results: &Results, text: &str) -> Result<Vec<(UserId, RawUser)>, BulkError> {
        results.page(text.as_bytes())?.next_rows(100)
    }

    #[test]
    fn rows_are_as_those_of_a_query() {
        let text =
            page(&["\"005ZL000000M0x1YAC\",\"By,\"\"ron\nof\",\"false\",\"00e000000000001AAA\",\"Sales User\",\"\""]);
        let rows = read(&Results::new(&columns(), 1), &text).unwrap();
        assert_eq!(rows[0].0.as_str(), "005ZL000000M0x1YAC");
        let expected = json!({"LastName": "By,\"ron\nof", "IsActive": "false", "ProfileId": "00e000000000001AAA",
            "Profile": {"Name": "Sales User"}, "UserRole": null});
        assert_eq!(Value::Object(rows[0].1.clone()), expected);
    }

    #[test]
    fn a_page_of_another_form_proves_nothing() {
        let results = Results::new(&columns(), 1);
        for text in [
            "",
            "\"Id\",\"LastName\"\n\"005ZL000000M0x1YAC\",\"x\"\n",
            &page(&["\"005ZL000000M0x1YAC\",\"x\""]),
            &page(&["\"\",\"x\",\"true\",\"\",\"\",\"\""]),
            "<html><body>maintenance</body></html>",
        ] {
            assert!(read(&results, text).is_err(), "{text}");
        }
    }

    #[test]
    fn pages_go_on_by_locator_until_the_text_null_and_must_add_up() {
        let row = "\"005ZL000000M0x1YAC\",\"x\",\"true\",\"\",\"\",\"\"";
        let text = page(&[row]);
        let ended = |results: &mut Results, number, locator| {
            let mut rows = results.page(text.as_bytes()).unwrap();
            rows.next_rows(100).unwrap();
            results.page_ended(&rows, number, locator)
        };
        let mut results = Results::new(&columns(), 2);
        assert_eq!(ended(&mut results, Some("1"), Some("MT1")), Ok(Some("MT1".into())));
        assert_eq!(ended(&mut results, Some("1"), Some("null")), Ok(None));
        for (number, locator) in [
            (Some("2"), Some("MT2")),
            (None, Some("MT2")),
            (Some("1"), None),
            // The end before the job's records were all there, and a locator that turns in circles.
            (Some("1"), Some("null")),
            (Some("1"), Some("MT1")),
        ] {
            let mut results = Results::new(&columns(), 3);
            ended(&mut results, Some("1"), Some("MT1")).unwrap();
            assert!(ended(&mut results, number, locator).is_err(), "{number:?} {locator:?}");
        }
    }

    #[test]
    fn the_state_of_a_job_is_read_and_a_failed_one_is_named_without_its_message() {
        let state = |state: &str| {
            JobState::try_new(&json!({"state": state, "numberRecordsProcessed": 7,
                "errorMessage": "INVALID_FIELD: near ada@b"}))
        };
        assert_eq!(state("UploadComplete"), Ok(JobState::Working { records: 7 }));
        assert_eq!(state("InProgress"), Ok(JobState::Working { records: 7 }));
        assert_eq!(state("JobComplete"), Ok(JobState::Complete { records: 7 }));
        let failed = state("Failed").unwrap_err().to_string();
        assert!(
            failed.contains("Failed (INVALID_FIELD)") && !failed.contains("ada"),
            "{failed}"
        );
        assert!(state("Aborted").is_err() && state("Open").is_err());
        assert!(JobState::try_new(&json!({"state": "JobComplete"})).is_err());
    }
}
