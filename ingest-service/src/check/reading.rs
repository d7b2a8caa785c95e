//! Whether the limits, what is polled, and reports may be read.

use usher_runtime::shutdown::chain;

use super::Findings;
use crate::{
    config::SnapshotSource,
    logic::{place, polls::PollKind, report::runs_for},
    pipeline::Parts,
    salesforce::{
        error::ApiError,
        report::{self, ReportFailure},
    },
};

/// The org's allocations. Without them the service works, and knows less.
pub(super) async fn limits(parts: &Parts, findings: &mut Findings) {
    let quota = parts.rest.quota();
    match quota.look(&parts.rest).await {
        Ok(()) => {
            let shown = quota.report(&parts.metrics);
            let words = |usage: Option<crate::salesforce::limits::UsageStatus>, what: &str| {
                usage.map_or_else(
                    || format!("{what} not told"),
                    |usage| format!("{} of {} {what} used", usage.used, usage.max),
                )
            };
            findings.fine(
                "limits",
                format!(
                    "{}, {}",
                    words(shown.api_requests, "API requests of the last 24 hours"),
                    words(shown.delivered_events, "event deliveries")
                ),
            );
        }
        Err(error @ ApiError::Operator { .. }) => findings.warn(
            "limits",
            format!(
                "delivered events and report runs are not known ({}); grant View Setup and Configuration in {}",
                error.operator_code().unwrap_or_default(),
                place::VIEW_SETUP
            ),
        ),
        Err(error) => findings.warn("limits", chain(&error)),
    }
    for problem in quota.problems() {
        findings.warn("limits", problem);
    }
}

/// What has no change events: the poll, what stays unknown without it, object, and where reading it is granted.
const POLLED: &[(PollKind, &str, &str, &str)] = &[
    (PollKind::Groups, "groups", "Group", place::VIEW_SETUP),
    (PollKind::Groups, "groups", "GroupMember", place::VIEW_SETUP),
    (
        PollKind::PermissionSets,
        "permissionSets",
        "PermissionSet",
        place::VIEW_SETUP,
    ),
    (
        PollKind::PermissionSets,
        "permissionSets",
        "PermissionSetAssignment",
        place::VIEW_SETUP,
    ),
    (PollKind::Frozen, "frozen", "UserLogin", place::MANAGE_USERS),
    (PollKind::Names, "names of profiles", "Profile", place::VIEW_SETUP),
    (PollKind::Names, "names of roles", "UserRole", place::VIEW_SETUP),
];

/// The objects behind fields that have no change events. Without them these fields stay unknown.
pub(super) async fn polled_objects(parts: &Parts, findings: &mut Findings) {
    let wanted = parts.config.wanted_polls();
    let mut fine = Vec::new();
    for (_, field, object, place) in POLLED.iter().filter(|(kind, ..)| wanted.contains(kind)) {
        match parts
            .rest
            .query("looking at an object", &format!("SELECT Id FROM {object} LIMIT 1"))
            .await
        {
            Ok(_) => fine.push(*object),
            Err(error @ ApiError::Operator { .. }) => findings.warn(
                "polled objects",
                format!(
                    "the integration user may not read {object} ({}), so {field} stay unknown; grant it in {place}, or switch the poll off \
                     (polls)",
                    error.operator_code().unwrap_or_default()
                ),
            ),
            Err(error) => findings.warn("polled objects", format!("{object}: {}", chain(&error))),
        }
    }
    if !fine.is_empty() {
        findings.fine("polled objects", format!("{} may be read", fine.join(", ")));
    }
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

/// The reports, when one is configured.
pub(super) async fn reports(parts: &Parts, findings: &mut Findings) {
    let config = &parts.config.snapshot.report;
    if parts.config.snapshot.source != SnapshotSource::Report {
        return;
    }
    match report::eligible(&parts.rest, config).await {
        Ok(reports) if reports.is_empty() => {
            findings.problem(
                "reports",
                format!(
                    "the integration user sees no report in the folder {:?}; share the folder with it in {}, or correct snapshot.report.folder",
                    config.folder,
                    place::REPORT_FOLDER
                ),
            );
            return;
        }
        Ok(reports) => {
            let names = reports
                .into_iter()
                .map(|(id, name)| format!("{name:?} ({id})"))
                .collect::<Vec<_>>()
                .join(", ");
            findings.fine("reports", format!("eligible in {:?}: {names}", config.folder));
        }
        Err(error) => findings.problem("reports", chain(&error)),
    }
    match report::open(&parts.rest, config).await {
        Ok(report) => {
            findings.fine(
                "report",
                format!("{:?} has every column that is needed", report.shape.name()),
            );
            for warning in report.shape.warnings() {
                findings.warn("report", warning);
            }
            match report::size(&parts.rest, &report).await {
                Ok(rows) => findings.fine("report", size(rows, config.hourly_runs as u64)),
                Err(error) => findings.problem("report", chain(&error)),
            }
        }
        Err(ReportFailure::Unusable(problems)) => {
            for problem in problems {
                findings.problem("report", problem.to_string());
            }
        }
        // The folder is visible, so this is about running.
        Err(ReportFailure::Api(error))
            if matches!(error.operator_code(), Some("FORBIDDEN" | "INSUFFICIENT_ACCESS")) =>
        {
            findings.problem(
                "report",
                format!(
                    "the integration user may not run it ({}); grant Run Reports in {}",
                    error.operator_code().unwrap_or_default(),
                    place::RUN_REPORTS
                ),
            );
        }
        Err(error) => findings.problem("report", error.to_string()),
    }
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
