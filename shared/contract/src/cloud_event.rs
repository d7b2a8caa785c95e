//! CloudEvents 1.0 attributes as Kafka headers, binary mode.
//!
//! Source: CloudEvents Kafka Protocol Binding 1.0.2 section 3.2: each attribute becomes a header `ce_<name>` in UTF-8,
//! the data is the record value and `datacontenttype` becomes the header `content-type`.

use jiff::Timestamp;

use crate::{id::UserKey, user_change::UserChange};

/// Where the JSON Schema of a `UserChange` version 1 is published.
pub const USER_CHANGE_SCHEMA: &str = "https://usher.dev/schema/user-change.v1.json";
/// Where the JSON Schema of an `Outcome` version 1 is published.
pub const OUTCOME_SCHEMA: &str = "https://usher.dev/schema/outcome.v1.json";

const PREFIX: &str = "dev.usher.user.";
const SUFFIX: &str = ".v1";

/// The attributes of one message. Fields are named as in the specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudEvent {
    /// `<key>:<version>`: equal for a repeated message.
    pub id: String,
    /// `/salesforce/<orgId18>`.
    pub source: String,
    /// `dev.usher.user.<kind>.v1`.
    pub ty: String,
    /// The user id.
    pub subject: String,
    /// Commit time at the source, else when the source last touched the record, else when it was read.
    pub time: Timestamp,
    /// Absolute URI of the schema.
    pub dataschema: &'static str,
    /// W3C trace context, when there is one.
    pub traceparent: Option<String>,
}

impl CloudEvent {
    /// The attributes of a user change.
    #[must_use]
    pub fn of_user_change(change: &UserChange, traceparent: Option<String>) -> Self {
        let key: UserKey = change.user.key();
        let cause = &change.cause;
        let time = cause.committed_at.or(cause.recorded_at).or(cause.read_at);
        Self {
            id: format!("{key}:{}", change.version),
            source: format!("/salesforce/{}", key.org),
            ty: format!("{PREFIX}{}{SUFFIX}", change.kind.as_str()),
            subject: key.user.to_string(),
            time: time.unwrap_or(cause.observed_at),
            dataschema: USER_CHANGE_SCHEMA,
            traceparent,
        }
    }

    /// The record headers in the order of the specification.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", self.id.clone()),
            ("ce_source", self.source.clone()),
            ("ce_type", self.ty.clone()),
            ("ce_subject", self.subject.clone()),
            ("ce_time", self.time.to_string()),
            ("ce_dataschema", self.dataschema.to_owned()),
            ("content-type", "application/json".to_owned()),
        ];
        headers.extend(self.traceparent.clone().map(|trace| ("traceparent", trace)));
        headers
    }
}

/// The schema version that a `ce_type` announces: `None` when it is no user change of ours.
#[must_use]
pub fn user_change_version(ce_type: &str) -> Option<u32> {
    let (_, version) = ce_type.strip_prefix(PREFIX)?.rsplit_once(".v")?;
    version.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_type() {
        assert_eq!(user_change_version("dev.usher.user.updated.v1"), Some(1));
        assert_eq!(user_change_version("dev.usher.user.promoted.v12"), Some(12));
        assert_eq!(user_change_version("com.example.user.v1"), None);
        assert_eq!(user_change_version("dev.usher.user.updated"), None);
    }
}
