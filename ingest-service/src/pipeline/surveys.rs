//! Surveys: reading many people from the source and handing their rows to the writer, a page at a time.
//!
//! One survey runs at a time. What is due when is decided by `logic::schedule`; what a row or an absence means, by the
//! writer. Here are queries and what all sources share; reports and bulk jobs have rooms of their own.

use std::time::Duration;

use futures::Future;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::mpsc;
use tracing::{info, warn};
use usher_contract::UserId;
use usher_runtime::backoff::Backoff;

use super::Parts;
use crate::{
    config::{Config, SnapshotSource},
    logic::{
        normalize::RawUser,
        population::{Population, QueryFields},
        quota::Purpose,
        schedule::Plan,
        writer::{Input, Survey, SurveyKind},
    },
    salesforce::{error::ApiError, rest::QueryPage},
};

mod bulk;
mod report;
mod spare;
mod watch;

pub(super) use watch::Watch;

pub(super) use crate::logic::schedule::{Facts, Job, Schedule};

/// The rest after a survey that failed.
const RETRY: Backoff = Backoff::from_millis(2_000, 900_000);
/// The wait before a page is asked for again. A survey of hundreds of pages should not end because of one hiccup.
const PAGE_RETRY: Backoff = Backoff::from_millis(1_000, 10_000);
/// How often a page is asked for again, and a query that has lost its cursor begun again.
const TRIES_MAX: u32 = 3;
/// Rows handed over at once: what bounds the memory, and how long the writer is kept from events.
const ROWS_MAX: usize = 2_000;

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// What the configuration says about surveys.
///
/// # Errors
/// When the schedule or its time zone cannot be read.
pub(super) fn plan(config: &Config) -> Result<Plan, String> {
    Ok(Plan {
        listing: match config.snapshot.source {
            SnapshotSource::Query | SnapshotSource::Bulk => SurveyKind::Query,
            SnapshotSource::Report => SurveyKind::Report,
        },
        cron: config
            .schedule()
            .map_err(|error| format!("snapshot.schedule: {error}"))?,
        zone: config.time_zone().ok_or("snapshot.timeZone is not known")?,
        recheck_every: signed(config.recheck.every),
        recheck_overlap: signed(config.recheck.overlap),
    })
}

/// How long to wait after this many failures in a row.
pub(super) fn rest(failures: u32) -> SignedDuration {
    signed(RETRY.wait(failures, rand::random()))
}

/// What a survey needs, whatever its source.
pub(super) struct Reading {
    pub(super) parts: Parts,
    pub(super) job: Job,
    /// What it is for: whether it may spend the reserve of API requests.
    pub(super) purpose: Purpose,
    pub(super) population: Population,
    pub(super) fields: QueryFields,
    /// Room for one input: see [`Reading::begin`].
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) watch: Watch,
}

/// Reads a survey and hands its rows to the writer. Gives the number of rows, or why it is not complete.
pub(super) async fn run(reading: Reading) -> Result<u64, String> {
    let (job, watch) = (reading.job, reading.watch.clone());
    let bulk = job.listing && reading.parts.config.snapshot.source == SnapshotSource::Bulk;
    info!(kind = ?job.kind, bulk, reimport = job.reimport, "survey begins");
    let read = match job.kind {
        SurveyKind::Report => reading.read_report().await,
        SurveyKind::Query if bulk => reading.read_bulk().await,
        SurveyKind::Query | SurveyKind::Recheck => reading.read_query().await,
    };
    match &read {
        Ok(rows) => info!(kind = ?job.kind, rows, "survey is complete"),
        Err(reason) => warn!(kind = ?job.kind, %reason, "survey is incomplete: its rows count, its absences do not"),
    }
    let result = read.as_ref().map(|_| ()).map_err(Clone::clone);
    // A writer that is gone has no use for it.
    let _ = reading
        .inputs
        .send(Input::SurveyEnded {
            result,
            accept_size: job.accept_size,
        })
        .await;
    watch.ended();
    read
}

const GONE: &str = "the leadership has ended";

fn said(error: ApiError) -> String {
    error.to_string()
}

impl Reading {
    async fn begin(&self, began_at: Timestamp, window: Option<(Timestamp, Timestamp)>) -> Result<(), String> {
        let job = self.job;
        let survey = Survey {
            kind: job.kind,
            began_at,
            window,
            listing: job.listing,
            reimport: job.reimport,
            asked_at: job.asked_at,
            routine: job.kind == SurveyKind::Recheck && !job.to_now,
        };
        self.inputs
            .send(Input::SurveyBegan(survey))
            .await
            .map_err(|_| GONE.to_owned())?;
        // The channel holds one input: a free place means that the writer has taken note. Only then may a row be read, or
        // an event that is received in between would look older than it is (ordering rule 1).
        self.inputs.reserve().await.map(drop).map_err(|_| GONE.to_owned())
    }

    /// `read_at`: not before the rows were read, by the source's clock. Rule 1 counts from the survey's beginning; rule 2
    /// asks whether an event is newer than the row for sure, so the latest moment is the safe one.
    async fn hand_over(&self, read_at: Timestamp, rows: Vec<(UserId, RawUser)>) -> Result<(), String> {
        self.inputs
            .send(Input::SurveyRows { read_at, rows })
            .await
            .map_err(|_| GONE.to_owned())
    }

    /// One cheap call: the source's clock before the first row is read, and how many rows to expect.
    async fn count(&self) -> Result<Timestamp, String> {
        let rest = &self.parts.rest;
        let what = "counting the population";
        let (path, query) = (rest.path("query"), self.population.query_count());
        let query = [("q", query.as_str())];
        let count = retrying(|| rest.get(what, &path, &query)).await.map_err(said)?;
        if self.job.kind == SurveyKind::Query {
            self.watch.expects(count.body["totalSize"].as_u64());
        }
        Ok(count.at)
    }

    async fn read_query(&self) -> Result<u64, String> {
        let began_at = self.count().await?;
        let recheck = &self.parts.config.recheck;
        let window = (self.job.kind == SurveyKind::Recheck).then(|| {
            let from = self
                .job
                .from
                .unwrap_or(began_at - signed(recheck.every) - signed(recheck.overlap) - signed(recheck.grace));
            let to = if self.job.to_now {
                began_at + SignedDuration::from_secs(1)
            } else {
                began_at - signed(recheck.grace)
            };
            (from, to)
        });
        self.begin(began_at, window).await?;
        let mut tries = 0;
        loop {
            match self.read_pages(window).await {
                // The cursor is gone: the query is run again from its start, as a reading of its own. The rows count.
                Err(ReadError::Api(error)) if error.is_lost_cursor() && tries < TRIES_MAX => {
                    tries += 1;
                    warn!(tries, "the query's cursor is gone; the query is run again");
                }
                Err(ReadError::Api(error)) => return Err(said(error)),
                Err(ReadError::Incomplete(why)) => return Err(why),
                Ok(rows) => return Ok(rows),
            }
        }
    }

    async fn read_pages(&self, window: Option<(Timestamp, Timestamp)>) -> Result<u64, ReadError> {
        let query = self.population.query_all(&self.fields, window);
        let rows = self
            .pages("reading the population", &query, |read_at, records| {
                let rows: Vec<(UserId, RawUser)> = records.into_iter().filter_map(user_row).collect();
                (rows.len(), Input::SurveyRows { read_at, rows })
            })
            .await?;
        // Who was touched and does not belong any more is in no answer to that question.
        if let Some(window) = window {
            self.pages(
                "reading who was touched",
                &Population::query_touched(window),
                |_, records| {
                    let ids: Vec<UserId> = records.into_iter().filter_map(|row| Some(user_row(row)?.0)).collect();
                    (ids.len(), Input::SurveyTouched(ids))
                },
            )
            .await?;
        }
        Ok(rows)
    }

    /// All pages of a query, each handed over as `input` makes it of the records. Gives the number of records.
    async fn pages(
        &self,
        what: &str,
        query: &str,
        input: impl Fn(Timestamp, Vec<Value>) -> (usize, Input),
    ) -> Result<u64, ReadError> {
        let rest = &self.parts.rest;
        self.spare().await.map_err(ReadError::Incomplete)?;
        let mut page = retrying(|| rest.query(what, query)).await?;
        let total = page.total;
        let mut rows = 0;
        loop {
            let QueryPage { records, next, at, .. } = page;
            let (read, input) = input(at, records);
            rows += read as u64;
            let sent = self.inputs.send(input).await;
            sent.map_err(|_| ReadError::Incomplete(GONE.to_owned()))?;
            match next {
                Some(next) => {
                    self.spare().await.map_err(ReadError::Incomplete)?;
                    page = retrying(|| rest.query_more(what, &next)).await?;
                }
                None if total.is_some_and(|total| total != rows) => {
                    let total = total.unwrap_or_default();
                    return Err(ReadError::Incomplete(format!(
                        "the query says that it has {total} rows and gave {rows}"
                    )));
                }
                None => return Ok(rows),
            }
        }
    }
}

/// Why a query was not read to its end.
enum ReadError {
    Api(ApiError),
    Incomplete(String),
}

impl From<ApiError> for ReadError {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

/// Asks again, a few times, when that may help at once.
async fn retrying<T, F>(mut call: impl FnMut() -> F) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let mut tries = 0;
    loop {
        match call().await {
            Err(error) if error.is_passing() && tries < TRIES_MAX => {
                tries += 1;
                tokio::time::sleep(PAGE_RETRY.wait(tries, rand::random())).await;
            }
            other => return other,
        }
    }
}

/// A record of a query as id and raw user.
pub(super) fn user_row(record: Value) -> Option<(UserId, RawUser)> {
    let Value::Object(mut raw) = record else { return None };
    raw.remove("attributes");
    let id = UserId::try_new(raw.remove("Id")?.as_str()?).ok()?;
    Some((id, raw))
}

#[cfg(test)]
#[path = "surveys_tests.rs"]
mod tests;
