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
    /// Whether a query asked for a field that does not exist or may not be read (any more).
    #[must_use]
    pub fn is_unknown_field(&self) -> bool {
        matches!(self, Self::Operator { code, .. } if code == "INVALID_FIELD")
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

/// What the REST API's error answer means.
#[must_use]
pub fn classify(what: &str, status: u16, body: &[u8]) -> ApiError {
    let what = what.to_owned();
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let first = json.as_ref().map(|json| if json.is_array() { &json[0] } else { json });
    let Some(code) = first.and_then(|first| first["errorCode"].as_str()) else {
        return match status {
            401 => ApiError::Session,
            408 | 429 | 500.. => ApiError::Transient {
                what,
                reason: format!("status {status}"),
            },
            _ => ApiError::Answer {
                what,
                reason: format!("status {status} without an error code"),
            },
        };
    };
    let operator = |hint| ApiError::Operator {
        what: what.clone(),
        code: code.to_owned(),
        hint,
    };
    match code {
        "INVALID_SESSION_ID" => ApiError::Session,
        // The code is the one of a missing permission: only the words tell.
        "FORBIDDEN" if says_report_runs(first.and_then(|first| first["message"].as_str())) => ApiError::ReportRuns,
        "REQUEST_LIMIT_EXCEEDED" => ApiError::Quota(code.to_owned()),
        "INVALID_FIELD" => operator(
            "a field does not exist or the integration user may not read it; check fields.custom and field-level security",
        ),
        "MALFORMED_QUERY" | "INVALID_TYPE" | "INVALID_QUERY_FILTER_OPERATOR" => operator("check population.where"),
        "INSUFFICIENT_ACCESS" | "INSUFFICIENT_ACCESS_OR_READONLY" | "FORBIDDEN" => {
            operator("grant the integration user View All Users, and for reports Run Reports and access to the folder")
        }
        "API_CURRENTLY_DISABLED" | "API_DISABLED_FOR_ORG" | "FUNCTIONALITY_NOT_ENABLED" => {
            operator("enable the API for the org and grant API Enabled to the integration user's permission set")
        }
        "NOT_FOUND" => operator("it does not exist or the integration user may not see it"),
        // INVALID_QUERY_LOCATOR: the query is run again. UNABLE_TO_LOCK_ROW, QUERY_TIMEOUT and the like pass.
        _ if status >= 500
            || matches!(
                code,
                LOST_CURSOR | "QUERY_TIMEOUT" | "UNKNOWN_EXCEPTION" | "SERVER_UNAVAILABLE" | "UNABLE_TO_LOCK_ROW"
            ) =>
        {
            ApiError::Transient {
                what,
                reason: code.to_owned(),
            }
        }
        _ => operator("see Salesforce's documentation of this code"),
    }
}

/// `You can't run more than 500 reports synchronously every 60 minutes.` (Reports and Dashboards REST API, limits)
fn says_report_runs(message: Option<&str>) -> bool {
    message.is_some_and(|message| message.contains("reports synchronously") && message.contains("60 minutes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, code: &str) -> ApiError {
        classify(
            "query",
            status,
            format!(r#"[{{"errorCode":"{code}","message":"secret ada@b"}}]"#).as_bytes(),
        )
    }

    #[test]
    fn codes_decide_and_not_statuses() {
        assert_eq!(of(401, "INVALID_SESSION_ID"), ApiError::Session);
        assert!(matches!(of(403, "REQUEST_LIMIT_EXCEEDED"), ApiError::Quota(_)));
        assert!(matches!(of(403, "INSUFFICIENT_ACCESS"), ApiError::Operator { .. }));
        assert!(matches!(of(400, "INVALID_FIELD"), ApiError::Operator { .. }));
        assert!(of(400, "INVALID_QUERY_LOCATOR").is_transient());
        assert!(of(503, "SERVER_UNAVAILABLE").is_transient());
        assert!(of(400, "INVALID_QUERY_LOCATOR").is_lost_cursor() && !of(400, "INVALID_QUERY_LOCATOR").is_passing());
        assert!(of(503, "SERVER_UNAVAILABLE").is_passing() && !of(403, "REQUEST_LIMIT_EXCEEDED").is_passing());
    }

    #[test]
    fn a_used_up_limit_of_report_runs_is_no_missing_permission() {
        let of = |message: &str| {
            let body = serde_json::json!([{ "errorCode": "FORBIDDEN", "message": message }]);
            classify("running", 403, body.to_string().as_bytes())
        };
        let limit = "You can't run more than 500 reports synchronously every 60 minutes.";
        assert_eq!(of(limit), ApiError::ReportRuns);
        let denied = of("You don't have sufficient privileges to perform this operation.");
        assert!(denied.to_string().contains("Run Reports"), "{denied}");
    }

    #[test]
    fn pages_of_maintenance_are_transient_and_strange_answers_are_not() {
        assert!(classify("query", 503, b"<html>").is_transient());
        assert!(matches!(classify("query", 404, b"<html>"), ApiError::Answer { .. }));
    }

    #[test]
    fn messages_of_salesforce_are_not_repeated() {
        assert!(!of(400, "INVALID_FIELD").to_string().contains("ada"));
    }
}
