//! A survey from a Bulk API 2.0 query job: created, awaited, read page by page, removed.
//!
//! A job belongs to the leadership that began it. A new leader begins a new one instead of reading a job that it finds:
//! which events came after the job's beginning is known only to the writer that received them, and without that a row
//! could overwrite what is newer.

use jiff::Timestamp;
use usher_runtime::backoff::Backoff;

use super::{ROWS_MAX, Reading, retrying, said};
use crate::{
    logic::bulk::{JobState, Results},
    salesforce::bulk,
};

/// Between two looks at the job. A small one is done in seconds, a large one takes minutes.
const POLLS: Backoff = Backoff::from_millis(1_000, 30_000);

impl Reading {
    pub(super) async fn read_bulk(&self) -> Result<u64, String> {
        // Rows count from before the job exists.
        let began_at = self.count().await?;
        self.begin(began_at, None).await?;
        let rest = &self.parts.rest;
        let id = bulk::create(rest, &self.population.query_bulk(&self.fields))
            .await
            .map_err(said)?;
        self.watch.job(Some(id.clone()));
        let read = self.read_job(&id).await;
        bulk::discard(rest, &id, read.is_ok()).await;
        self.watch.job(None);
        read
    }

    async fn read_job(&self, id: &str) -> Result<u64, String> {
        let timeout = self.parts.config.snapshot.bulk.timeout;
        let (read_at, records) = tokio::time::timeout(timeout, self.job_done(id))
            .await
            .map_err(|_| format!("the bulk job was not done within snapshot.bulk.timeout ({timeout:?})"))??;
        self.watch.waits(None);
        self.watch.expects(Some(records));
        let rest = &self.parts.rest;
        let most = self.parts.config.snapshot.bulk.page_records;
        let mut results = Results::new(self.fields.names(), records);
        let mut locator: Option<String> = None;
        let mut rows_read = 0;
        loop {
            self.spare().await?;
            let answer = retrying(|| bulk::results(rest, id, locator.as_deref(), most))
                .await
                .map_err(said)?;
            let words = |error: crate::logic::bulk::BulkError| error.to_string();
            let mut page = results.page(&answer.body).map_err(words)?;
            loop {
                let rows = page.next_rows(ROWS_MAX).map_err(words)?;
                if rows.is_empty() {
                    break;
                }
                rows_read += rows.len() as u64;
                self.hand_over(read_at, rows).await?;
            }
            let next = results
                .page_ended(
                    &page,
                    answer.header("Sforce-NumberOfRecords"),
                    answer.header("Sforce-Locator"),
                )
                .map_err(words)?;
            match next {
                Some(next) => locator = Some(next),
                None => return Ok(rows_read),
            }
        }
    }

    /// Waits until the job is done. When that was seen, by the source's clock, and how many records it has.
    async fn job_done(&self, id: &str) -> Result<(Timestamp, u64), String> {
        let mut polls = 0;
        loop {
            let answer = retrying(|| bulk::state(&self.parts.rest, id)).await.map_err(said)?;
            match JobState::try_new(&answer.body).map_err(|error| error.to_string())? {
                JobState::Complete { records } => return Ok((answer.at, records)),
                JobState::Working { records } => {
                    self.watch.waits(Some(format!(
                        "Salesforce works on the bulk job; {records} records so far"
                    )));
                    polls += 1;
                    tokio::time::sleep(POLLS.wait(polls, rand::random())).await;
                }
            }
        }
    }
}
