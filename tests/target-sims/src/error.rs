//! SCIM errors (RFC 7644 section 3.12).

use serde_json::{Value, json};

/// An error answer: status, scimType where the RFC has one, and a text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScimError {
    pub(crate) status: u16,
    pub(crate) scim_type: Option<&'static str>,
    pub(crate) detail: String,
}

impl ScimError {
    pub(crate) fn new(status: u16, detail: impl Into<String>) -> ScimError {
        ScimError {
            status,
            scim_type: None,
            detail: detail.into(),
        }
    }

    fn typed(status: u16, scim_type: &'static str, detail: impl Into<String>) -> ScimError {
        ScimError {
            status,
            scim_type: Some(scim_type),
            detail: detail.into(),
        }
    }

    pub(crate) fn invalid_filter(detail: impl Into<String>) -> ScimError {
        ScimError::typed(400, "invalidFilter", detail)
    }

    pub(crate) fn invalid_path(detail: impl Into<String>) -> ScimError {
        ScimError::typed(400, "invalidPath", detail)
    }

    pub(crate) fn invalid_syntax(detail: impl Into<String>) -> ScimError {
        ScimError::typed(400, "invalidSyntax", detail)
    }

    pub(crate) fn invalid_value(detail: impl Into<String>) -> ScimError {
        ScimError::typed(400, "invalidValue", detail)
    }

    pub(crate) fn mutability(detail: impl Into<String>) -> ScimError {
        ScimError::typed(400, "mutability", detail)
    }

    pub(crate) fn no_target(detail: impl Into<String>) -> ScimError {
        ScimError::typed(400, "noTarget", detail)
    }

    pub(crate) fn uniqueness(detail: impl Into<String>) -> ScimError {
        ScimError::typed(409, "uniqueness", detail)
    }

    pub(crate) fn body(&self) -> Value {
        let mut body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
            // A string, says the RFC.
            "status": self.status.to_string(),
            "detail": self.detail,
        });
        if let Some(scim_type) = self.scim_type {
            body["scimType"] = Value::from(scim_type);
        }
        body
    }
}
