//! `check`: configuration, credentials, permissions, report columns, topics. Writes nothing.
//!
//! Each part is looked at even when another fails, as far as that makes sense, so that one run shows everything.

use std::sync::Arc;

use usher_runtime::shutdown::chain;

use crate::{
    config::{Config, SnapshotSource},
    logic::report::runs_for,
    pipeline::{Parts, polls, prepare::learn_fields},
    salesforce::report,
    topics,
};

/// One line of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// What is fine, or what is wrong and the way out.
    pub result: Result<String, String>,
}

/// What the size of a report means.
fn size(rows: Option<u64>, hourly_runs: u64) -> String {
    let Some(rows) = rows else {
        return "warning: its runs do not say how many rows it has".to_owned();
    };
    let runs = runs_for(rows);
    if runs <= hourly_runs {
        return format!("{rows} rows, read by {runs} runs");
    }
    format!(
        "warning: {rows} rows need {runs} runs, and snapshot.report.hourlyRuns allows {hourly_runs} an hour: a snapshot takes about {} hours; \
         snapshot.source bulk or query reads as many in minutes",
        runs.div_ceil(hourly_runs.max(1))
    )
}

/// Looks at everything.
pub async fn check(parts: &Parts) -> Vec<Finding> {
    let config: Arc<Config> = Arc::clone(&parts.config);
    let mut findings = Vec::new();
    let mut say = |subject, result| findings.push(Finding { subject, result });
    for warning in config.warnings() {
        say("configuration", Ok(format!("warning: {warning}")));
    }
    let problems = topics::topics(&config.kafka).problems().await;
    if problems.is_empty() {
        say(
            "kafka",
            Ok(format!("{} answers and its topics fit", config.kafka.bootstrap_servers)),
        );
    }
    for problem in problems {
        say("kafka", Err(chain(&problem)));
    }
    let token = match parts.rest.tokens().token().await {
        Ok(token) => {
            say("salesforce log-in", Ok(format!("org {}", token.org)));
            token
        }
        Err(error) => {
            say("salesforce log-in", Err(chain(&error)));
            return findings;
        }
    };
    match learn_fields(parts).await {
        Ok((fields, _)) if fields.unreadable.is_empty() => {
            say("fields", Ok("all standard fields may be read".to_owned()))
        }
        Ok((fields, _)) => {
            let names = fields.unreadable.into_iter().collect::<Vec<_>>().join(", ");
            say(
                "fields",
                Ok(format!(
                    "warning: unknown in every message, because the integration user may not read them: {names}"
                )),
            );
        }
        Err(error) => say("fields", Err(chain(&error))),
    }
    let population = &config.population;
    let count = crate::logic::population::Population::new(
        &population.r#where,
        &population.exclude_profiles,
        &population.exclude_usernames,
    );
    match parts
        .rest
        .get(
            "counting the population",
            &parts.rest.path("query"),
            &[("q", &count.query_count())],
        )
        .await
    {
        Ok(answer) if answer.body["totalSize"].as_u64() == Some(0) => {
            say("population", Err("nobody is in it; check population.where".to_owned()))
        }
        Ok(answer) => say("population", Ok(format!("{} people", answer.body["totalSize"]))),
        Err(error) => say("population", Err(chain(&error))),
    }
    for kind in config.wanted_polls() {
        say("polls", polls::check(parts, kind).await);
    }
    match parts.pubsub.check(&token).await {
        Ok(()) => say(
            "event stream",
            Ok(format!("{} may be subscribed", config.pubsub.channel)),
        ),
        Err(error) => say("event stream", Err(error.to_string())),
    }
    if config.snapshot.source == SnapshotSource::Report {
        match report::eligible(&parts.rest, &config.snapshot.report).await {
            Ok(reports) => {
                let names = reports
                    .into_iter()
                    .map(|(id, name)| format!("{name:?} ({id})"))
                    .collect::<Vec<_>>()
                    .join(", ");
                say(
                    "reports",
                    Ok(format!("eligible in {:?}: {names}", config.snapshot.report.folder)),
                );
            }
            Err(error) => say("reports", Err(chain(&error))),
        }
        match report::open(&parts.rest, &config.snapshot.report).await {
            Ok(report) => {
                say(
                    "report",
                    Ok(format!("{:?} has every column that is needed", report.shape.name())),
                );
                for warning in report.shape.warnings() {
                    say("report", Ok(format!("warning: {warning}")));
                }
                match report::size(&parts.rest, &report).await {
                    Ok(rows) => say("report", Ok(size(rows, config.snapshot.report.hourly_runs as u64))),
                    Err(error) => say("report", Err(chain(&error))),
                }
            }
            Err(error) => say("report", Err(error.to_string())),
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_does_not_fit_into_an_hour_is_said() {
        assert_eq!(size(Some(1_500), 400), "1500 rows, read by 1 runs");
        assert_eq!(size(Some(5_000), 400), "5000 rows, read by 3 runs");
        let large = size(Some(1_000_000), 400);
        assert!(
            large.starts_with("warning: ") && large.contains("501 runs") && large.contains("about 2 hours"),
            "{large}"
        );
        assert!(size(None, 400).starts_with("warning: "));
    }
}
