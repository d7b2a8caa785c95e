//! Surveys: when one is due, and reading it. One at a time; a request that comes meanwhile joins or waits.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::mpsc;
use tracing::{info, warn};
use usher_contract::UserId;
use usher_runtime::backoff::Backoff;

use super::Parts;
use crate::{
    config::SnapshotSource,
    logic::{
        normalize::RawUser,
        population::{Population, QueryFields},
        record::Wanted,
        snapshot::Paging,
        writer::{Input, Survey, SurveyKind, Writer},
    },
    salesforce::{report, rest::QueryPage},
};

/// How far before the first opening of the stream the first recheck looks: what was committed while it was opened.
const FIRST_LOOK_BACK: SignedDuration = SignedDuration::from_mins(10);
const RETRY: Backoff = Backoff::from_millis(2_000, 900_000);

/// A survey to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) kind: SurveyKind,
    pub(super) listing: bool,
    pub(super) reimport: bool,
    pub(super) accept_size: bool,
    /// For a recheck: from when.
    pub(super) from: Option<Timestamp>,
    /// When it was found to be due, our clock.
    pub(super) asked_at: Timestamp,
    /// For a recheck: up to now. A routine one leaves the newest rows to the stream.
    pub(super) to_now: bool,
}

/// When which survey is due.
#[derive(Debug)]
pub(super) struct Schedule {
    source: SnapshotSource,
    opened_at: Timestamp,
    next_snapshot: Option<Timestamp>,
    next_recheck: Timestamp,
    every: SignedDuration,
    overlap: SignedDuration,
    /// With a report: whether the population was read since the last one. The report does not know who left the population.
    population_read: bool,
    /// Failures in a row and the next try, of listings and of everything else: a report that does not work must not keep
    /// rechecks and debts from being done.
    listing: Retry,
    other: Retry,
}

#[derive(Debug)]
struct Retry {
    failures: u32,
    not_before: Timestamp,
}

impl Retry {
    fn ended(&mut self, well: bool, now: Timestamp) {
        self.failures = if well { 0 } else { self.failures + 1 };
        self.not_before = if well {
            now
        } else {
            now + signed(RETRY.wait(self.failures, rand::random()))
        };
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

impl Job {
    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self.kind {
            SurveyKind::Report => "the report",
            SurveyKind::Query => "the population",
            SurveyKind::Recheck => "recently touched users",
        }
    }
}

impl Schedule {
    pub(super) fn new(parts: &Parts, last_snapshot: Option<Timestamp>, now: Timestamp) -> Self {
        let every = signed(parts.config.recheck.every);
        let mut schedule = Self {
            source: parts.config.snapshot.source,
            opened_at: now,
            next_snapshot: None,
            next_recheck: now + every,
            every,
            overlap: signed(parts.config.recheck.overlap),
            population_read: false,
            listing: Retry {
                failures: 0,
                not_before: now,
            },
            other: Retry {
                failures: 0,
                not_before: now,
            },
        };
        // A run that was missed while nobody led is due at once.
        schedule.plan_snapshot(parts, last_snapshot.unwrap_or(now));
        schedule
    }

    fn plan_snapshot(&mut self, parts: &Parts, now: Timestamp) {
        self.next_snapshot = next_run(parts, now);
    }

    /// Whether a request for a snapshot joins one that is wanted or running already.
    pub(super) fn joins(&self, accept_size: bool, running: Option<SurveyKind>, wanted: Option<Wanted>) -> bool {
        let as_wanted = wanted.is_some_and(|wanted| wanted.accept_size || !accept_size);
        as_wanted || (running == Some(self.listing_kind()) && !accept_size)
    }

    /// Somebody waits: no rest after a failure.
    pub(super) fn hurry(&mut self) {
        self.listing.not_before = self.opened_at;
    }

    fn listing_kind(&self) -> SurveyKind {
        match self.source {
            SnapshotSource::Query => SurveyKind::Query,
            SnapshotSource::Report => SurveyKind::Report,
        }
    }

    /// What is to run now.
    pub(super) fn due(&self, writer: &Writer, now: Timestamp) -> Option<Job> {
        let (listing_may, other_may) = (now >= self.listing.not_before, now >= self.other.not_before);
        let listing = |reimport, accept_size| Job {
            kind: self.listing_kind(),
            listing: true,
            reimport,
            accept_size,
            from: None,
            asked_at: now,
            to_now: false,
        };
        let recheck = |from| Job {
            kind: SurveyKind::Recheck,
            listing: false,
            reimport: false,
            accept_size: false,
            from,
            asked_at: now,
            to_now: from.is_some(),
        };
        let first = writer.position().snapshot.is_none();
        if first && listing_may && (other_may || self.reads_population_first(now).is_none()) {
            // First start: everyone in the population, then the report, which speaks about `listed`.
            return Some(
                self.reads_population_first(now)
                    .unwrap_or_else(|| listing(false, false)),
            );
        }
        let never = writer.position().rechecked_to.is_none();
        // It looks back from the opening, so the stream must have a position by then.
        if other_may && never && writer.position().replay_id.is_some() && (!first || self.population_read) {
            let began_at = writer
                .position()
                .snapshot
                .as_ref()
                .map_or(self.opened_at, |snapshot| snapshot.began_at);
            return Some(recheck(Some(began_at.min(self.opened_at) - FIRST_LOOK_BACK)));
        }
        if let Some(owed) = writer.owes_everyone()
            && (if owed.touched_since.is_none() && self.source == SnapshotSource::Query {
                listing_may
            } else {
                other_may
            })
        {
            let everyone = Job {
                kind: SurveyKind::Query,
                listing: self.listing_kind() == SurveyKind::Query,
                reimport: false,
                accept_size: false,
                from: None,
                asked_at: now,
                to_now: false,
            };
            return Some(if owed.touched_since.is_some() {
                recheck(owed.touched_since)
            } else {
                everyone
            });
        }
        if listing_may && let Some(wanted) = writer.position().wanted {
            return Some(
                self.reads_population_first(now)
                    .unwrap_or_else(|| listing(true, wanted.accept_size)),
            );
        }
        if listing_may && self.next_snapshot.is_some_and(|at| at <= now) {
            return Some(
                self.reads_population_first(now)
                    .unwrap_or_else(|| listing(false, false)),
            );
        }
        // The next look begins where the last complete one ended, however long ago that is.
        let from = writer.position().rechecked_to.map(|to| to - self.overlap);
        (other_may && self.next_recheck <= now).then_some(Job { from, ..recheck(None) })
    }

    /// With a report: the population is read before each of them.
    fn reads_population_first(&self, now: Timestamp) -> Option<Job> {
        let needed = self.source == SnapshotSource::Report && !self.population_read;
        let (kind, listing) = (SurveyKind::Query, false);
        needed.then_some(Job {
            kind,
            listing,
            reimport: false,
            accept_size: false,
            from: None,
            asked_at: now,
            to_now: false,
        })
    }

    /// A survey has ended.
    pub(super) fn ended(&mut self, parts: &Parts, job: Job, well: bool, now: Timestamp) {
        if job.listing {
            &mut self.listing
        } else {
            &mut self.other
        }
        .ended(well, now);
        match job.kind {
            SurveyKind::Query => self.population_read |= well,
            SurveyKind::Report => self.population_read &= !well,
            SurveyKind::Recheck => {}
        }
        if job.listing && well {
            self.plan_snapshot(parts, now);
        }
        if job.kind != SurveyKind::Recheck {
            return;
        }
        self.next_recheck = now + self.every;
    }
}

/// The next run of the schedule, in its own time zone.
fn next_run(parts: &Parts, now: Timestamp) -> Option<Timestamp> {
    let schedule = parts.config.schedule().ok()?;
    let zone = parts.config.time_zone()?;
    schedule
        .find_next_occurrence(&now.to_zoned(zone), false)
        .ok()
        .map(|next| next.timestamp())
}

/// Reads a survey and hands its rows to the writer. Gives the number of rows, or why it is not complete.
pub(super) async fn run(
    parts: Parts,
    job: Job,
    population: Population,
    fields: QueryFields,
    inputs: mpsc::Sender<Input>,
) -> Result<u64, String> {
    info!(kind = ?job.kind, reimport = job.reimport, "survey begins");
    let read = match job.kind {
        SurveyKind::Report => read_report(&parts, job, &inputs).await,
        SurveyKind::Query | SurveyKind::Recheck => read_query(&parts, job, &population, &fields, &inputs).await,
    };
    match &read {
        Ok(rows) => info!(kind = ?job.kind, rows, "survey is complete"),
        Err(reason) => warn!(kind = ?job.kind, %reason, "survey is incomplete: its rows count, its absences do not"),
    }
    let result = read.as_ref().map(|_| ()).map_err(Clone::clone);
    // A writer that is gone has no use for it.
    let _ = inputs
        .send(Input::SurveyEnded {
            result,
            accept_size: job.accept_size,
        })
        .await;
    read
}

const GONE: &str = "the leadership has ended";

async fn begin(
    job: Job,
    began_at: Timestamp,
    window: Option<(Timestamp, Timestamp)>,
    inputs: &mpsc::Sender<Input>,
) -> Result<(), String> {
    let survey = Survey {
        kind: job.kind,
        began_at,
        window,
        listing: job.listing,
        reimport: job.reimport,
        asked_at: job.asked_at,
        routine: job.kind == SurveyKind::Recheck && !job.to_now,
    };
    inputs
        .send(Input::SurveyBegan(survey))
        .await
        .map_err(|_| GONE.to_owned())?;
    // The channel holds one input: a free place means that the writer has taken note. Only then may a row be read, or
    // an event that is received in between would look older than it is (ordering rule 1).
    inputs.reserve().await.map(drop).map_err(|_| GONE.to_owned())
}

async fn read_query(
    parts: &Parts,
    job: Job,
    population: &Population,
    fields: &QueryFields,
    inputs: &mpsc::Sender<Input>,
) -> Result<u64, String> {
    let what = "reading the population";
    let failed = |error: crate::salesforce::error::ApiError| error.to_string();
    // One cheap call tells the source's clock before the first row is read.
    let count = parts
        .rest
        .get(what, &parts.rest.path("query"), &[("q", &population.query_count())])
        .await
        .map_err(failed)?;
    let began_at = count.at;
    let recheck = &parts.config.recheck;
    let window = (job.kind == SurveyKind::Recheck).then(|| {
        let from = job
            .from
            .unwrap_or(began_at - signed(recheck.every) - signed(recheck.overlap) - signed(recheck.grace));
        (
            from,
            if job.to_now {
                began_at + SignedDuration::from_secs(1)
            } else {
                began_at - signed(recheck.grace)
            },
        )
    });
    begin(job, began_at, window, inputs).await?;
    let mut page = parts
        .rest
        .query(what, &population.query_all(fields, window))
        .await
        .map_err(failed)?;
    let mut rows = 0;
    loop {
        let QueryPage { records, next, at } = page;
        let read: Vec<(UserId, RawUser)> = records.into_iter().filter_map(user_row).collect();
        rows += read.len() as u64;
        inputs
            .send(Input::SurveyRows {
                read_at: at,
                rows: read,
            })
            .await
            .map_err(|_| GONE.to_owned())?;
        match next {
            Some(next) => page = parts.rest.query_more(what, &next).await.map_err(failed)?,
            None => return Ok(rows),
        }
    }
}

async fn read_report(parts: &Parts, job: Job, inputs: &mpsc::Sender<Input>) -> Result<u64, String> {
    let report = report::open(&parts.rest, &parts.config.snapshot.report)
        .await
        .map_err(|error| error.to_string())?;
    begin(job, report.described_at, None, inputs).await?;
    let mut paging = Paging::default();
    let mut after: Option<String> = None;
    loop {
        let answer = report::run(&parts.rest, &report, after.as_deref())
            .await
            .map_err(|error| error.to_string())?;
        let page = report
            .shape
            .read_page(&answer.body)
            .map_err(|error| error.to_string())?;
        paging
            .page(report.shape.name(), &page)
            .map_err(|error| error.to_string())?;
        inputs
            .send(Input::SurveyRows {
                read_at: answer.at,
                rows: page.rows,
            })
            .await
            .map_err(|_| GONE.to_owned())?;
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(paging.rows()),
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
