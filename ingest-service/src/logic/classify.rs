//! What a broken stream means: the error table of the Pub/Sub API as one function, and how long to wait after it.
//!
//! Source: Pub/Sub API guide, "Handle Errors"; codes come in the trailer `error-code` and all start with
//! `sfdc.platform.eventbus.grpc.`. Unknown codes are judged by their gRPC status.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::place;

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Reconnect after a short, growing wait from the same position.
    Reconnect,
    /// Get a new token, then reconnect; after a few tries an operator must look, and tries go on slowly.
    Reauthenticate,
    /// Reconnect after a minute or more: Salesforce throttles, or somebody else holds the subscription.
    BackOff,
    /// The delivery allocation of 24 hours is used up: rest for minutes to hours. The position stays valid for 72 h.
    Exhausted,
    /// The position is of no use: subscribe from the earliest event and read everyone again.
    PositionLost,
    /// Our request was refused as wrong: reconnect once; the second one within an hour is for an operator.
    Defect,
    /// An operator must change something in Salesforce; look again every few minutes.
    Operator,
    /// Nothing gets better by asking again with the same credentials and addresses: look again once an hour.
    Misconfigured,
}

/// A reaction with what to tell people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classified {
    /// What to do.
    pub reaction: Reaction,
    /// In words, with the way out.
    pub advice: &'static str,
    /// Where in Salesforce the way out is, when it is there.
    pub place: Option<&'static str>,
}

const PREFIX: &str = "sfdc.platform.eventbus.grpc.";

/// Classifies. `status` is the gRPC status code (0 to 16), `error_code` the trailer.
#[must_use]
pub fn classify(status: i32, error_code: Option<&str>) -> Classified {
    use Reaction::{BackOff, Defect, Exhausted, Misconfigured, Operator, PositionLost, Reauthenticate, Reconnect};
    let code = error_code.map(|code| code.strip_prefix(PREFIX).unwrap_or(code));
    let (reaction, advice, place) = match code {
        Some(
            "service.unavailable" | "subscription.internal.error" | "topic.api.unavailable" | "schema.api.unavailable",
        ) => (Reconnect, "Salesforce is temporarily unavailable", None),
        Some("service.auth.error") => (
            Reauthenticate,
            "the token was refused; if this stays, check that the integration user is active and may use the app from here",
            Some(place::LOGIN_HISTORY),
        ),
        Some("service.auth.headers.invalid") => (
            Misconfigured,
            "the credentials headers were refused; check salesforce.url, salesforce.orgId and pubsub.endpoint",
            Some(place::MY_DOMAIN),
        ),
        Some(
            "service.protection.triggered"
            | "service.protection.stream.limit.triggered"
            | "concurrent.client.limit.exceeded",
        ) => (
            BackOff,
            "Salesforce throttles; reduce the number of clients of the Pub/Sub API",
            None,
        ),
        Some("subscription.limit.exceeded") => (
            Exhausted,
            "the org's delivery allocation of the last 24 hours is used up; buy more, reduce subscribers, or wait; meanwhile \
             the recheck finds the changes",
            Some(place::EVENT_USAGE),
        ),
        Some("service.tenant.license") => (
            Operator,
            "the org has no licence for the Pub/Sub API; it needs Enterprise, Performance, Unlimited or Developer Edition",
            Some(place::COMPANY_INFORMATION),
        ),
        Some("topic.not.found") => (
            Operator,
            "the channel does not exist; select User, or check pubsub.channel",
            Some(place::CHANGE_DATA_CAPTURE),
        ),
        Some("topic.meta.permission" | "schema.meta.permission" | "subscription.topic.cannot.subscribe") => (
            Operator,
            "the integration user may not subscribe; grant View All Users",
            Some(place::VIEW_ALL_USERS),
        ),
        Some("subscription.fetch.replayid.corrupted" | "subscription.fetch.replayid.validation.failed") => (
            PositionLost,
            "the stored position is expired or invalid; everyone is read again",
            None,
        ),
        Some(
            "service.auth.refresh.invalid"
            | "topic.validation.empty"
            | "schema.validation.failed"
            | "subscription.fetch.replay.repeated"
            | "subscription.fetch.requested.events.invalid"
            | "subscription.fetch.topic.mismatch"
            | "subscription.fetch.request.invalid"
            | "subscription.fetch.overflow"
            | "managed.subscription.fetch.request.events.invalid"
            | "managed.subscription.fetch.request.invalid"
            | "managed.subscription.fetch.request.commit.request.restricted"
            | "managed.subscription.fetch.request.auth.request.restricted",
        ) => (
            Defect,
            "the request was refused as wrong; when this repeats it is a defect of this service: report it with the code",
            None,
        ),
        Some("managed.subscription.already.active") => (
            BackOff,
            "another client holds the managed subscription; stop it, or wait until it lets go",
            None,
        ),
        Some(
            "managed.subscription.config.stopped"
            | "managed.subscription.config.deleted"
            | "managed.subscription.developer.name.not.found"
            | "managed.subscription.subscription.id.not.found"
            | "managed.subscription.subscription.id.invalid"
            | "managed.subscription.id.or.developer.name.empty",
        ) => (
            Operator,
            "the managed subscription cannot be used, and this service asks for none; check pubsub.endpoint and pubsub.channel",
            None,
        ),
        // Codes of calls that are never made, whatever else a release adds to them.
        Some(code) if code.starts_with("managed.subscription.") || code.starts_with("publish.") => (
            Operator,
            "an answer to a call that is never made; check pubsub.endpoint",
            None,
        ),
        Some(code) if code.starts_with("subscription.fetch.") => (
            Defect,
            "the request was refused as wrong; report it with the code",
            None,
        ),
        // UNAUTHENTICATED has a meaning whatever the code says.
        _ if status == 16 => (Reauthenticate, "the token was refused", Some(place::LOGIN_HISTORY)),
        // INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, UNIMPLEMENTED.
        _ if matches!(status, 3 | 5 | 7 | 12) => (Operator, "Salesforce refuses the subscription", None),
        _ => (Reconnect, "the stream was interrupted", None),
    };
    Classified {
        reaction,
        advice,
        place,
    }
}

/// After how many tries in vain a schema is given up, and its events are read from the source instead; `None` when the trouble is
/// not about the schema. A refusal stays a refusal; what may pass gets as many tries as a short outage has reconnects.
#[must_use]
pub fn schema_tries(reaction: Reaction) -> Option<u32> {
    match reaction {
        Reaction::Defect | Reaction::Operator => Some(3),
        Reaction::Reconnect => Some(12),
        Reaction::Reauthenticate
        | Reaction::BackOff
        | Reaction::Exhausted
        | Reaction::PositionLost
        | Reaction::Misconfigured => None,
    }
}

/// A second defect within this time is no accident.
const DEFECT_MEMORY: SignedDuration = SignedDuration::from_hours(1);
/// Refused tokens and lost positions count as in a row within this time, although the stream worked in between: logging in
/// and reading everyone are too expensive for a loop.
const EXPENSIVE_MEMORY: SignedDuration = SignedDuration::from_mins(5);
/// From this failure in a row on, readiness says what is wrong; one or two broken connections are normal operation.
const UNREADY_FROM: u32 = 3;

/// Failures in a row, and what follows from the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Streak {
    /// Since the stream last delivered something.
    in_a_row: u32,
    /// The last failure that is remembered although the stream worked since: which, how many, when.
    remembered: Option<(Reaction, u32, Timestamp)>,
}

/// What to do after a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The reaction; a repeated [`Reaction::Defect`] has become [`Reaction::Operator`].
    pub reaction: Reaction,
    /// How long to wait before the next try.
    pub wait: Duration,
    /// Somebody should be told: readiness says it.
    pub tell: bool,
    /// A new token is needed before the next try.
    pub new_token: bool,
}

/// Waits: (upper bound after the first failure, upper bound of any), in seconds.
const RECONNECT: (f64, f64) = (0.2, 30.0);
const TOKEN: (f64, f64) = (15.0, 300.0);
const BACK_OFF: (f64, f64) = (60.0, 3_600.0);
/// The window frees by the hour, not by the minute; a position is good for 72 h, so two hours risk nothing.
const EXHAUSTED: (f64, f64) = (300.0, 7_200.0);
/// A permission that was granted takes up to ten minutes to show, and somebody is waiting for it.
const OPERATOR: (f64, f64) = (15.0, 300.0);
const MISCONFIGURED: (f64, f64) = (3_600.0, 3_600.0);

impl Streak {
    /// Something was delivered, be it a keepalive.
    pub fn worked(&mut self) {
        self.in_a_row = 0;
    }

    /// A failure. `random` is uniform in 0..1: waits are drawn from their upper half, so that they spread and none
    /// hammers.
    pub fn failed(&mut self, reaction: Reaction, now: Timestamp, random: f64) -> Decision {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let memory = match reaction {
            Reaction::Defect => Some(DEFECT_MEMORY),
            Reaction::Reauthenticate | Reaction::PositionLost => Some(EXPENSIVE_MEMORY),
            Reaction::Reconnect
            | Reaction::BackOff
            | Reaction::Exhausted
            | Reaction::Operator
            | Reaction::Misconfigured => None,
        };
        let mut count = self.in_a_row;
        if let Some(memory) = memory {
            let before = match self.remembered {
                Some((same, count, at)) if same == reaction && now.duration_since(at) <= memory => count,
                _ => 0,
            };
            self.remembered = Some((reaction, before + 1, now));
            count = if reaction == Reaction::Defect {
                before + 1
            } else {
                count.max(before + 1)
            };
        }
        let reaction = if reaction == Reaction::Defect && count > 1 {
            Reaction::Operator
        } else {
            reaction
        };
        let few = count < UNREADY_FROM;
        let (bounds, attempt, tell) = match reaction {
            Reaction::Reconnect | Reaction::Defect => (RECONNECT, count, !few),
            // The first new token is tried at once, a refused one not in a loop: log-ins are counted and lock out.
            Reaction::Reauthenticate if count == 1 => ((0.0, 0.0), count, false),
            Reaction::Reauthenticate if few => (RECONNECT, count + 3, false),
            Reaction::Reauthenticate => (TOKEN, count + 1 - UNREADY_FROM, true),
            // Once is normal; an end point that refuses the earliest event too is not hammered.
            Reaction::PositionLost if count == 1 => ((0.0, 0.0), count, false),
            Reaction::PositionLost => (RECONNECT, count + 3, !few),
            Reaction::BackOff => (BACK_OFF, count, true),
            Reaction::Exhausted => (EXHAUSTED, count, true),
            Reaction::Operator => (OPERATOR, count, true),
            Reaction::Misconfigured => (MISCONFIGURED, count, true),
        };
        Decision {
            reaction,
            wait: wait(bounds, attempt, random),
            tell,
            new_token: matches!(reaction, Reaction::Reauthenticate | Reaction::Misconfigured),
        }
    }
}

fn wait((base, max): (f64, f64), attempt: u32, random: f64) -> Duration {
    let doublings = i32::try_from(attempt.saturating_sub(1).min(31)).unwrap_or(31);
    let ceiling = (base * 2f64.powi(doublings)).min(max);
    Duration::from_secs_f64(ceiling * (0.5 + 0.5 * random.clamp(0.0, 1.0)))
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
