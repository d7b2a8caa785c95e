//! `limits`: what has been used of the rolling 24 hours (REST API guide, "Limits"). Values here do not lag as real ones do.

use std::sync::{Arc, atomic::Ordering};

use axum::{Json, extract::State, response::IntoResponse as _};
use serde_json::{Value, json};

use super::Answer;
use crate::{error::SalesforceError, org::Org};

fn entry(most: u64, used: u64) -> Value {
    json!({"Max": most, "Remaining": most.saturating_sub(used)})
}

pub(crate) async fn limits(State(org): State<Arc<Org>>) -> Answer {
    if !org.permissions().view_setup {
        return Err(SalesforceError::new(
            403,
            "INSUFFICIENT_ACCESS",
            "insufficient access rights on cross-reference id",
        ));
    }
    let delivered = org.delivered_events.load(Ordering::Relaxed);
    Ok(Json(json!({
        "DailyApiRequests": entry(org.config.daily_api_requests, org.api_calls.load(Ordering::Relaxed)),
        "DailyDeliveredPlatformEvents": entry(org.config.daily_delivered_events, delivered),
        "MonthlyPlatformEvents": entry(org.config.daily_delivered_events * 30, delivered),
        "HourlySyncReportRuns": entry(org.config.hourly_report_runs, org.report_runs().len() as u64),
        "HourlyAsyncReportRuns": entry(1200, 0),
        "ConcurrentSyncReportRuns": entry(20, 0),
        "ConcurrentAsyncGetReportInstances": entry(200, 0),
        "DailyBulkV2QueryJobs": entry(10_000, 0),
        "DailyBulkV2QueryFileStorageMB": entry(976_562, 0),
    }))
    .into_response())
}
