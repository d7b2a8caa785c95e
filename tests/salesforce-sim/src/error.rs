//! A REST error as Salesforce reports it: an HTTP status and an array of `{errorCode, message, fields}`.
//!
//! Leaves out OAuth errors (one object, see `rest/oauth.rs`) and gRPC status (see `pubsub/status.rs`).

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

/// One entry of the error array, with the HTTP status that goes with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct SalesforceError {
    /// HTTP status.
    pub status: u16,
    /// For example `INVALID_FIELD`.
    pub code: String,
    /// The vendor's English text.
    pub message: String,
    /// The fields concerned, in errors about a record; `None` leaves the key out.
    pub fields: Option<Vec<String>>,
}

impl SalesforceError {
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.into(),
            fields: None,
        }
    }

    pub(crate) fn bad_request(code: &str, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }

    pub(crate) fn on_fields(mut self, fields: &[&str]) -> Self {
        self.fields = Some(fields.iter().map(|&name| name.to_owned()).collect());
        self
    }

    pub(crate) fn not_found() -> Self {
        Self::new(404, "NOT_FOUND", "The requested resource does not exist")
    }

    pub(crate) fn no_such_column(field: &str, object: &str) -> Self {
        Self::bad_request(
            "INVALID_FIELD",
            format!(
                "No such column '{field}' on entity '{object}'. If you are attempting to use a custom field, be sure \
                 to append the '__c' after the custom field name. Please reference your WSDL or the describe call for \
                 the appropriate names."
            ),
        )
    }

    /// The error as collections calls report it inside their own result.
    pub(crate) fn to_save_error(&self) -> Value {
        json!({"statusCode": self.code, "message": self.message, "fields": self.fields.clone().unwrap_or_default()})
    }
}

impl IntoResponse for SalesforceError {
    fn into_response(self) -> Response {
        let mut entry = Map::new();
        entry.insert("message".into(), self.message.into());
        entry.insert("errorCode".into(), self.code.into());
        if let Some(fields) = self.fields {
            entry.insert("fields".into(), fields.into());
        }
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(Value::Array(vec![Value::Object(entry)]))).into_response()
    }
}
