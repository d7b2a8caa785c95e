//! What can go wrong with a call, sorted by what to do about it.
//!
//! Salesforce's REST errors are an array of `{errorCode, message}`; codes decide, not HTTP statuses: a used-up quota is
//! a 403 and no authorization problem. Messages may hold personal values, so only codes are kept.

use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApiError {
    /// The log-in was refused: an operator must look.
    #[error("Salesforce refuses the log-in: {error} ({description}); {hint}")]
    Login {
        /// OAuth error code.
        error: String,
        /// Salesforce's own words.
        description: String,
        /// What to check.
        hint: &'static str,
    },
    /// The token is no longer valid.
    #[error("the session is no longer valid")]
    Session,
    /// The request allocation is used up.
    #[error("the org's API request allocation is used up ({0}); polls wait until it frees")]
    Quota(String),
    /// The org's limit of report runs per hour is used up.
    #[error("the org's limit of synchronous report runs per hour is used up")]
    ReportRuns,
    /// An operator must change something.
    #[error("Salesforce refuses {what}: {code}; {hint}")]
    Operator {
        /// What was attempted.
        what: String,
        /// Salesforce's code.
        code: String,
        /// What to change and where.
        hint: &'static str,
    },
    /// Worth trying again.
    #[error("{what} failed: {reason}")]
    Transient {
        /// What was attempted.
        what: String,
        /// Why.
        reason: String,
    },
    /// The answer is not what the API promises.
    #[error("{what} gave an answer that cannot be read: {reason}; check salesforce.url")]
    Answer {
        /// What was attempted.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A secret or key cannot be used.
    #[error("{0}")]
    Configuration(String),
}

impl ApiError {
    /// Whether a field that was asked for does not exist any more, or may not be read any more.
    #[must_use]
    pub fn is_about_a_field(&self) -> bool {
        matches!(self, Self::Operator { code, .. } if code == "INVALID_FIELD")
    }
    /// Salesforce's code, when an operator must change something.
    #[must_use]
    pub fn operator_code(&self) -> Option<&str> {
        match self {
            Self::Operator { code, .. } => Some(code),
            _ => None,
        }
    }
    /// Whether trying again later may help without anybody doing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Transient { .. } | Self::Quota(_) | Self::ReportRuns | Self::Session
        )
    }
    /// Whether the same call may well succeed in a few seconds.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Transient { .. }) && !self.is_lost_cursor()
    }
    /// Whether the rest of a query's answer is gone: the query must be run again from its start.
    #[must_use]
    pub fn is_lost_cursor(&self) -> bool {
        matches!(self, Self::Transient { reason, .. } if reason == LOST_CURSOR)
    }
    /// The least wait before trying again.
    #[must_use]
    pub fn wait(&self) -> Duration {
        match self {
            Self::Quota(_) | Self::ReportRuns => Duration::from_secs(300),
            Self::Transient { .. } | Self::Session => Duration::from_secs(1),
            _ => Duration::from_secs(60),
        }
    }
}

/// The rest of a query's answer is gone.
const LOST_CURSOR: &str = "INVALID_QUERY_LOCATOR";
/// Codes that say that the integration user may not use the API at all.
pub const API_DISABLED: &[&str] = &["API_CURRENTLY_DISABLED", "API_DISABLED_FOR_ORG"];

/// What the REST API's error answer means. Source: REST API Developer Guide, "Status Codes and Error Responses".
#[must_use]
pub fn classify(what: &str, status: u16, body: &[u8]) -> ApiError {
    let what = what.to_owned();
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let first = json.as_ref().map(|json| if json.is_array() { &json[0] } else { json });
    let code = first.and_then(|first| first["errorCode"].as_str());
    let operator = |code: &str, hint| ApiError::Operator {
        what: what.clone(),
        code: code.to_owned(),
        hint,
    };
    let transient = |reason: String| ApiError::Transient {
        what: what.clone(),
        reason,
    };
    let Some(code) = code else {
        // A page of HTML or nothing at all: from a proxy, during maintenance, or before the API proper.
        return match status {
            401 => ApiError::Session,
            408 | 429 | 500.. => transient(format!("status {status}")),
            414 | 431 => operator(
                if status == 414 { "status 414" } else { "status 431" },
                "the request is too long; shorten population.where and the exclusions, or declare fewer custom fields",
            ),
            _ => ApiError::Answer {
                what,
                reason: format!("status {status} without an error code"),
            },
        };
    };
    match code {
        "INVALID_SESSION_ID" => ApiError::Session,
        // The code is the one of a missing permission: only the words tell.
        "FORBIDDEN" if says_report_runs(first.and_then(|first| first["message"].as_str())) => ApiError::ReportRuns,
        "REQUEST_LIMIT_EXCEEDED" => ApiError::Quota(code.to_owned()),
        "INVALID_FIELD" => operator(
            code,
            "a field does not exist or the integration user may not read it; check population.where, fields.custom, and \
             field-level security in Setup > Permission Sets > Object Settings > Users > Field Permissions",
        ),
        "MALFORMED_QUERY" | "INVALID_QUERY_FILTER_OPERATOR" => operator(code, "check population.where"),
        "INVALID_TYPE" => operator(
            code,
            "the object does not exist or the integration user may not read it",
        ),
        "INSUFFICIENT_ACCESS" | "INSUFFICIENT_ACCESS_OR_READONLY" => operator(
            code,
            "grant the integration user View All Users in Setup > Permission Sets > System Permissions > View All Users",
        ),
        // Reports and dashboards answer this for a missing permission, a folder that is not shared, and a used-up hourly
        // limit alike; `check` tells them apart.
        "FORBIDDEN" => operator(
            code,
            "grant Run Reports in Setup > Permission Sets > System Permissions > Run Reports, share the folder in Reports > \
             All Folders > Share, or wait until the hourly limit of report runs frees",
        ),
        _ if API_DISABLED.contains(&code) => operator(
            code,
            "enable the API for the org and grant API Enabled in Setup > Permission Sets > System Permissions > API Enabled",
        ),
        "FUNCTIONALITY_NOT_ENABLED" => operator(
            code,
            "the org does not have this function; see its edition in Setup > Company Information",
        ),
        "NOT_FOUND" => operator(
            code,
            "it does not exist or the integration user may not see it; check salesforce.apiVersion",
        ),
        // The query is run again. The others pass by themselves.
        "INVALID_QUERY_LOCATOR"
        | "UNABLE_TO_LOCK_ROW"
        | "QUERY_TIMEOUT"
        | "UNKNOWN_EXCEPTION"
        | "SERVER_UNAVAILABLE" => transient(code.to_owned()),
        _ if status >= 500 || matches!(status, 408 | 429) => transient(code.to_owned()),
        _ if status == 409 => operator(
            code,
            "the call contradicts the state of the job; report it with the code",
        ),
        _ => operator(code, "see Salesforce's documentation of this code"),
    }
}

/// `You can't run more than 500 reports synchronously every 60 minutes.` (Reports and Dashboards REST API, limits)
fn says_report_runs(message: Option<&str>) -> bool {
    message.is_some_and(|message| message.contains("reports synchronously") && message.contains("60 minutes"))
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
