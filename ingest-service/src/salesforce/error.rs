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
        matches!(self, Self::Transient { .. } | Self::Quota(_) | Self::Session)
    }
    /// The least wait before trying again.
    #[must_use]
    pub fn wait(&self) -> Duration {
        match self {
            Self::Quota(_) => Duration::from_secs(300),
            Self::Transient { .. } | Self::Session => Duration::from_secs(1),
            _ => Duration::from_secs(60),
        }
    }
}

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
        "REQUEST_LIMIT_EXCEEDED" => ApiError::Quota(code.to_owned()),
        "INVALID_FIELD" => operator(
            "a field does not exist or the integration user may not read it; check fields.custom and field-level security",
        ),
        "MALFORMED_QUERY" | "INVALID_TYPE" | "INVALID_QUERY_FILTER_OPERATOR" => operator("check population.where"),
        "INSUFFICIENT_ACCESS" | "INSUFFICIENT_ACCESS_OR_READONLY" => {
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
                "INVALID_QUERY_LOCATOR"
                    | "QUERY_TIMEOUT"
                    | "UNKNOWN_EXCEPTION"
                    | "SERVER_UNAVAILABLE"
                    | "UNABLE_TO_LOCK_ROW"
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
