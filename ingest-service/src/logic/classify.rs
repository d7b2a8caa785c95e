//! What a broken stream means: the error table of the Pub/Sub API as one function.
//!
//! Source: Pub/Sub API guide, "Handle Errors"; codes come in the trailer `error-code` and all start with
//! `sfdc.platform.eventbus.grpc.`. Unknown codes are judged by their gRPC status.

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Reconnect after a short, growing wait from the same position.
    Reconnect,
    /// Get a new token, then reconnect; after a few tries an operator must look.
    Reauthenticate,
    /// Reconnect after minutes: throttled, or the delivery allocation is used up.
    BackOff,
    /// The position is of no use: subscribe from the earliest event and read everyone again.
    PositionLost,
    /// An operator must change something; look again every few minutes.
    Operator,
}

/// A reaction with what to tell people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classified {
    /// What to do.
    pub reaction: Reaction,
    /// In words, with the way out.
    pub advice: &'static str,
}

const PREFIX: &str = "sfdc.platform.eventbus.grpc.";

/// Classifies. `status` is the gRPC status code (0 to 16), `error_code` the trailer.
#[must_use]
pub fn classify(status: i32, error_code: Option<&str>) -> Classified {
    use Reaction::{BackOff, Operator, PositionLost, Reauthenticate, Reconnect};
    let code = error_code.map(|code| code.strip_prefix(PREFIX).unwrap_or(code));
    let (reaction, advice) = match code {
        Some(
            "service.unavailable" | "subscription.internal.error" | "topic.api.unavailable" | "schema.api.unavailable",
        ) => (Reconnect, "Salesforce is temporarily unavailable"),
        Some("service.auth.error") => (
            Reauthenticate,
            "the token was refused; if this stays, check that the integration user is active and may use the app",
        ),
        Some("service.auth.headers.invalid" | "service.auth.refresh.invalid") => (
            Operator,
            "the credentials headers were refused; check salesforce.url and salesforce.orgId",
        ),
        Some(
            "service.protection.triggered"
            | "service.protection.stream.limit.triggered"
            | "concurrent.client.limit.exceeded",
        ) => (
            BackOff,
            "Salesforce throttles; reduce the number of clients of the Pub/Sub API",
        ),
        Some("subscription.limit.exceeded") => (
            BackOff,
            "the org's delivery allocation of the last 24 hours is used up; buy more, reduce subscribers, or wait",
        ),
        Some("service.tenant.license") => (Operator, "the org has no licence for the Pub/Sub API"),
        Some("topic.not.found") => (
            Operator,
            "the channel does not exist; select User in Setup > Change Data Capture, or check pubsub.channel",
        ),
        Some("topic.meta.permission" | "schema.meta.permission" | "subscription.topic.cannot.subscribe") => (
            Operator,
            "the integration user may not subscribe; grant View All Users in its permission set",
        ),
        Some("subscription.fetch.replayid.corrupted" | "subscription.fetch.replayid.validation.failed") => (
            PositionLost,
            "the stored position is expired or invalid; everyone is read again",
        ),
        Some(code)
            if code.starts_with("subscription.fetch.")
                || code == "topic.validation.empty"
                || code == "schema.validation.failed" =>
        {
            (
                Reconnect,
                "the request was refused as wrong; this is a defect if it repeats",
            )
        }
        Some(code) if code.starts_with("managed.subscription.") || code.starts_with("publish.") => (
            Operator,
            "an answer to a call that is never made; check pubsub.endpoint",
        ),
        // UNAUTHENTICATED has a meaning whatever the code says.
        _ if status == 16 => (Reauthenticate, "the token was refused"),
        // INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, UNIMPLEMENTED.
        _ if matches!(status, 3 | 5 | 7 | 12) => (Operator, "Salesforce refuses the subscription"),
        _ => (Reconnect, "the stream was interrupted"),
    };
    Classified { reaction, advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_has_its_reaction() {
        for (code, reaction) in [
            ("service.unavailable", Reaction::Reconnect),
            ("service.auth.error", Reaction::Reauthenticate),
            ("service.auth.headers.invalid", Reaction::Operator),
            ("service.auth.refresh.invalid", Reaction::Operator),
            ("service.protection.triggered", Reaction::BackOff),
            ("service.protection.stream.limit.triggered", Reaction::BackOff),
            ("concurrent.client.limit.exceeded", Reaction::BackOff),
            ("service.tenant.license", Reaction::Operator),
            ("topic.not.found", Reaction::Operator),
            ("topic.meta.permission", Reaction::Operator),
            ("schema.meta.permission", Reaction::Operator),
            ("subscription.topic.cannot.subscribe", Reaction::Operator),
            ("subscription.fetch.replayid.corrupted", Reaction::PositionLost),
            ("subscription.fetch.replayid.validation.failed", Reaction::PositionLost),
            ("subscription.limit.exceeded", Reaction::BackOff),
            ("topic.validation.empty", Reaction::Reconnect),
            ("subscription.fetch.requested.events.invalid", Reaction::Reconnect),
            ("subscription.fetch.overflow", Reaction::Reconnect),
            ("subscription.internal.error", Reaction::Reconnect),
            ("managed.subscription.already.active", Reaction::Operator),
        ] {
            assert_eq!(
                classify(13, Some(&format!("{PREFIX}{code}"))).reaction,
                reaction,
                "{code}"
            );
        }
    }

    #[test]
    fn unknown_codes_are_judged_by_their_status() {
        for (status, reaction) in [
            (14, Reaction::Reconnect),
            (13, Reaction::Reconnect),
            (8, Reaction::Reconnect),
            (4, Reaction::Reconnect),
            (10, Reaction::Reconnect),
            (16, Reaction::Reauthenticate),
            (3, Reaction::Operator),
            (5, Reaction::Operator),
            (7, Reaction::Operator),
            (12, Reaction::Operator),
        ] {
            assert_eq!(
                classify(status, Some("sfdc.platform.eventbus.grpc.brand.new")).reaction,
                reaction,
                "{status}"
            );
            assert_eq!(classify(status, None).reaction, reaction, "{status}");
        }
    }
}
