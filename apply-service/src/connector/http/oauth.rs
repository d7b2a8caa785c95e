//! Tokens as a step machine, and the messages of a token endpoint (RFC 6749): pure, time and randomness are arguments.
//!
//! `next` says whether to use the token that is there, to renew now, or why neither is possible. Rules:
//! - A token is renewed before it ends, by a margin with jitter, so that replicas and targets do not ask together.
//! - While a token still works, a renewal that fails does no harm: the old one is used and renewal is tried again later.
//! - What only passes (no answer, 5xx, too many) is tried again after a growing wait. What lasts (a refused grant) is
//!   not tried again before somebody changed a secret or a longer wait is over: repeated log-ins lock accounts out.
//! - A token that was refused is renewed at once, but only a few times a minute.
//!
//! No text of an answer is ever repeated but its error code: descriptions may name people.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use serde_json::Value;
use usher_contract::{OrgId, StateHash};
use usher_runtime::secret::Secret;

use super::organization::of_identity;
use crate::connector::Refusal;

/// A token is renewed at the latest so long before its end, and at the earliest twice that. Longer means more renewals,
/// shorter less time for tries when the provider is away.
const LEAD_MAX: Duration = Duration::from_secs(150);
/// Of short lives only this part is the margin.
const LEAD_PART: u32 = 10;
/// Between tries after a passing failure: from the one, doubled, to the other.
const PASSING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The same after a lasting one. Salesforce locks users out who log in wrongly again and again.
const LASTING: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(900));
/// So many renewals because of refusals within [`FORCED_WITHIN`]: a target that refuses every token must not make us
/// log in once per request.
const FORCED_MAX: usize = 3;
const FORCED_WITHIN: Duration = Duration::from_secs(60);

/// Refused, and no request of anybody can pass.
pub(crate) const TOKEN_REFUSED: &str = "token-refused";
/// Not obtained now.
pub(crate) const TOKEN_UNAVAILABLE: &str = "token-unavailable";
/// Obtained, but the refresh token that came with it could not be saved.
pub(crate) const TOKEN_UNSAVED: &str = "token-unsaved";

/// An access token with its times.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Access {
    value: Secret,
    /// When it ends; `None` when nobody said.
    until: Option<Instant>,
    /// From when on it is renewed.
    renew_from: Option<Instant>,
}

/// The last renewal failed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trouble {
    failure: TokenFailure,
    times: u32,
    not_before: Instant,
    /// The secrets that were used.
    inputs: Option<StateHash>,
}

/// What is known of the tokens of one target.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    access: Option<Access>,
    trouble: Option<Trouble>,
    forced: VecDeque<Instant>,
}

/// Which token is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish<'a> {
    /// One that works as far as we know.
    Any,
    /// Another one than this, which the target has refused.
    Another(&'a Secret),
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Use this one.
    Use(Secret),
    /// Ask the provider; afterwards the question is put again.
    Renew,
    /// Neither: the last failure counts still. With changed secrets it may be worth a try, see [`Tokens::forgive`].
    Refused(Refusal),
}

/// Why no token was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenFailure {
    /// Whether trying again by itself is pointless.
    pub(crate) lasts: bool,
    /// In words, with a stable code.
    pub(crate) refusal: Refusal,
    /// What the provider asked to wait.
    pub(crate) wait: Option<Duration>,
}

/// What the provider has granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) access: Secret,
    /// For how long, when said.
    pub(crate) lifetime: Option<Duration>,
    /// A refresh token, when one came along.
    pub(crate) refresh: Option<Secret>,
    /// How long that one lives, when said.
    pub(crate) refresh_lifetime: Option<Duration>,
    /// The organization of Salesforce that has granted it, when said.
    pub(crate) organization: Option<OrgId>,
}

impl Tokens {
    /// What to do now.
    pub(crate) fn next(&self, wish: Wish<'_>, now: Instant) -> Next {
        let waits = self.trouble.as_ref().filter(|trouble| now < trouble.not_before);
        let works = |access: &&Access| {
            access.until.is_none_or(|until| now < until)
                && !matches!(wish, Wish::Another(refused) if *refused == access.value)
        };
        match (self.access.as_ref().filter(works), waits) {
            (Some(access), Some(_)) => Next::Use(access.value.clone()),
            (Some(access), None) if access.renew_from.is_none_or(|from| now < from) => Next::Use(access.value.clone()),
            (None, Some(trouble)) => Next::Refused(trouble.failure.refusal.clone()),
            (None, None) if matches!(wish, Wish::Another(_)) && self.is_forced_out(now) => Next::Refused(Refusal {
                code: TOKEN_REFUSED.to_owned(),
                reason: format!("the target refuses every token: {FORCED_MAX} new ones within a minute did not help"),
            }),
            (Some(_) | None, None) => Next::Renew,
        }
    }

    fn is_forced_out(&self, now: Instant) -> bool {
        let recent = |at: &&Instant| now.saturating_duration_since(**at) < FORCED_WITHIN;
        self.forced.iter().filter(recent).count() >= FORCED_MAX
    }

    /// A renewal begins because the target has refused the token.
    pub(crate) fn force(&mut self, now: Instant) {
        self.forced.push_back(now);
        if self.forced.len() > FORCED_MAX {
            self.forced.pop_front();
        }
    }

    /// A token was granted. `random` is in [0, 1).
    pub(crate) fn granted(&mut self, grant: &Grant, assumed: Duration, now: Instant, random: f64) {
        let lifetime = grant.lifetime.or(Some(assumed)).filter(|lifetime| !lifetime.is_zero());
        let until = lifetime.and_then(|lifetime| now.checked_add(lifetime));
        let lead = lifetime.map(|lifetime| (lifetime / LEAD_PART).min(LEAD_MAX).mul_f64(1.0 + random));
        self.access = Some(Access {
            value: grant.access.clone(),
            until,
            renew_from: until.zip(lead).and_then(|(until, lead)| until.checked_sub(lead)),
        });
        self.trouble = None;
    }

    /// No token was granted. `inputs` are the secrets that were used, hashed.
    pub(crate) fn failed(&mut self, failure: TokenFailure, inputs: Option<StateHash>, now: Instant, random: f64) {
        let times = self
            .trouble
            .as_ref()
            .map_or(0, |trouble| trouble.times)
            .saturating_add(1);
        let (least, most) = if failure.lasts { LASTING } else { PASSING };
        let step = least.saturating_mul(1 << (times - 1).min(16)).min(most);
        // At least half: several targets of one provider must not fall into step.
        let wait = step.mul_f64(0.5 + random / 2.0).max(failure.wait.unwrap_or_default());
        self.trouble = Some(Trouble {
            not_before: now.checked_add(wait.min(most)).unwrap_or(now),
            failure,
            times,
            inputs,
        });
    }

    /// Forgets a failure when other secrets are there now; whether it did.
    pub(crate) fn forgive(&mut self, inputs: StateHash) -> bool {
        let other = |trouble: &Trouble| trouble.failure.lasts && trouble.inputs.is_none_or(|used| used != inputs);
        if self.trouble.as_ref().is_some_and(other) {
            self.trouble = None;
            return true;
        }
        false
    }

    /// When the token ends, when that is known.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.access.as_ref()?.until
    }

    /// Why the last renewal failed.
    #[cfg(test)]
    pub(crate) fn trouble(&self) -> Option<&Refusal> {
        self.trouble.as_ref().map(|trouble| &trouble.failure.refusal)
    }
}

/// Reads the answer of a token endpoint (RFC 6749 sections 5.1 and 5.2).
///
/// # Errors
/// Why there is no token in it. Holds nothing of the answer but the error code.
pub(crate) fn read_answer(status: u16, wait: Option<Duration>, body: &[u8]) -> Result<Grant, TokenFailure> {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    if (200..300).contains(&status)
        && let Some(access) = text(&json, "access_token")
    {
        let seconds = |key: &str| {
            let value = json.get(key)?;
            let seconds = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())?;
            // Nothing lives for a hundred years, and a clock must not overflow.
            (seconds > 0).then(|| Duration::from_secs(seconds.min(100 * 365 * 86_400)))
        };
        let bearer = text(&json, "token_type").is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
        if !bearer {
            return Err(lasting(
                "the token endpoint gives tokens that are no bearer tokens".to_owned(),
            ));
        }
        return Ok(Grant {
            access: Secret::new(access),
            lifetime: seconds("expires_in"),
            refresh: text(&json, "refresh_token").map(Secret::new),
            refresh_lifetime: seconds("refresh_token_expires_in").or_else(|| seconds("refresh_expires_in")),
            organization: text(&json, "id").and_then(of_identity),
        });
    }
    Err(refused(status, wait, text(&json, "error")))
}

fn refused(status: u16, wait: Option<Duration>, error: Option<&str>) -> TokenFailure {
    // Only a plain word is repeated: somebody's proxy may put anything there.
    let plain = |error: &&str| error.len() <= 60 && error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let error = error.filter(plain);
    let said = error.map_or_else(|| status.to_string(), |error| format!("{status} {error}"));
    let passes = matches!(status, 408 | 425 | 429 | 500..=599)
        || matches!(
            error,
            Some("rate_limit_exceeded" | "slow_down" | "temporarily_unavailable" | "server_error")
        );
    if passes {
        return TokenFailure {
            lasts: false,
            refusal: Refusal {
                code: TOKEN_UNAVAILABLE.to_owned(),
                reason: format!("no access token now: the token endpoint answered {said}"),
            },
            wait,
        };
    }
    let hint = match error {
        Some("invalid_grant") => {
            "the grant is expired, revoked or not approved: consent anew with `apply-service connect`, or check user, audience, \
             key, approval of the app and the clock of this machine"
        }
        Some("invalid_client" | "invalid_client_id") => "check clientId and the client's secret or certificate",
        Some("unauthorized_client" | "unsupported_grant_type") => {
            "the app does not allow this flow; switch it on there"
        }
        Some("invalid_scope") => "check connection.oauth.scopes",
        Some("inactive_user") => "the user of the credentials is inactive",
        Some("inactive_org") => "the organization is suspended",
        Some(_) => "see the log-in history of the application",
        None if (300..400).contains(&status) => {
            "it redirects, and redirects are not followed; check connection.oauth.tokenUrl"
        }
        None => "this is no token endpoint; check connection.oauth.tokenUrl",
    };
    lasting(format!("no access token: the token endpoint answered {said}; {hint}"))
}

pub(crate) fn lasting(reason: String) -> TokenFailure {
    TokenFailure {
        lasts: true,
        refusal: Refusal {
            code: TOKEN_REFUSED.to_owned(),
            reason,
        },
        wait: None,
    }
}

fn text<'a>(json: &'a Value, key: &str) -> Option<&'a str> {
    json.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
#[path = "oauth_tests.rs"]
mod tests;
