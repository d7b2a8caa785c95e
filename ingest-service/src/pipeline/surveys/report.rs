//! A survey from a Salesforce report, at the pace that the org's limit of report runs allows.

use std::sync::{MutexGuard, PoisonError};

use tracing::warn;
use usher_runtime::clock;

use super::{Reading, retrying, said, signed};
use crate::{
    logic::{
        pace::{Pace, Wait},
        report::{Pages, row_count},
    },
    salesforce::{
        error::ApiError,
        report::{self, Report},
        rest::Answer,
    },
};

impl Reading {
    pub(super) async fn read_report(&self) -> Result<u64, String> {
        let (rest, config) = (&self.parts.rest, &self.parts.config.snapshot.report);
        let report = report::open(rest, config).await.map_err(|error| error.to_string())?;
        for warning in report.shape.warnings() {
            warn!("{warning}");
        }
        self.begin(report.described_at, None).await?;
        let mut pages = Pages::new(report.shape.clone());
        while !pages.done() {
            self.spare().await?;
            let answer = self.run_paced(&report, &pages).await?;
            if pages.rows() == 0 {
                self.watch.expects(row_count(&answer.body));
            }
            let rows = pages.take(&answer.body).map_err(|error| error.to_string())?;
            self.hand_over(answer.at, rows).await?;
        }
        if pages.uncounted() {
            warn!(
                "the report has several pages and its answers do not count all rows, so rows missed between two pages would not show; turn \
                 on the record count of the report, or use snapshot.source bulk"
            );
        }
        if pages.describes_again() {
            let described = retrying(|| report::describe(rest, &report.id)).await.map_err(said)?;
            pages
                .described_again(&described.body, &config.columns)
                .map_err(|error| error.to_string())?;
        }
        Ok(pages.rows())
    }

    /// Runs the report when there is a run to spare.
    async fn run_paced(&self, report: &Report, pages: &Pages) -> Result<Answer, String> {
        let config = &self.parts.config.snapshot.report;
        loop {
            let wait = self.pace().wait(clock::now());
            if let Some(wait) = wait {
                let until = wait.until();
                self.watch.waits(Some(match wait {
                    Wait::Share(_) => format!(
                        "our share of the org's hourly report runs (snapshot.report.hourlyRuns: {}) is used up; the report goes on at {until}",
                        config.hourly_runs
                    ),
                    Wait::Refused(_) => format!("the org's hourly report runs are used up; tried again at {until}"),
                }));
                let span = until.duration_since(clock::now());
                tokio::time::sleep(span.try_into().unwrap_or_default()).await;
                continue;
            }
            self.watch.waits(None);
            let body = pages.body();
            let answer = retrying(|| {
                self.pace().ran(clock::now());
                report::run(&self.parts.rest, report, &body)
            });
            match answer.await {
                Ok(answer) => {
                    self.pace().answered();
                    return Ok(answer);
                }
                Err(error @ ApiError::ReportRuns) => {
                    let now = clock::now();
                    let since = self.pace().refused(now);
                    warn!("{error}; it is tried again");
                    if now.duration_since(since) > signed(config.limit_wait) {
                        return Err(format!(
                            "{error}, for longer than snapshot.report.limitWait; use fewer reports in that hour, or snapshot.source bulk"
                        ));
                    }
                }
                Err(error) => return Err(said(error)),
            }
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.parts.report_pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
