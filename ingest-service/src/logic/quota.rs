//! What of the org's allocations may still be spent, and on what.
//!
//! Sources: API Request Limits and Allocations; Change Data Capture, "Event Delivery Allocation"; `Sforce-Limit-Info` and the
//! `limits` resource of the REST API. API requests and delivered events count over the last 24 hours, report runs over the
//! last hour.
//!
//! The order of precedence: what the stream needs is never held up. Work of the schedule is made less often from a
//! threshold on, and rests when only the reserve is left. What an operator asks for goes on until then.
//! Delivered events cannot be saved by asking less: below their reserve people are told, in time to buy more.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// How much of an allocation: a share or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// Of a hundred.
    Percent(u8),
    /// So many.
    Number(u64),
}

impl Amount {
    /// Of an allocation of `max`; a share is rounded up, so that a reserve is never smaller than it says.
    #[must_use]
    pub fn of(self, max: u64) -> u64 {
        match self {
            Self::Percent(percent) => max.saturating_mul(u64::from(percent)).div_ceil(100),
            Self::Number(number) => number.min(max),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Percent(_) => s.collect_str(self),
            Self::Number(number) => s.serialize_u64(*number),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Form;
        impl de::Visitor<'_> for Form {
            type Value = Amount;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share such as 10% or a whole number such as 5000")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Amount, E> {
                Ok(Amount::Number(number))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Amount, E> {
                u64::try_from(number)
                    .map(Amount::Number)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                let wrong = || E::invalid_value(de::Unexpected::Str(text), &self);
                match text.strip_suffix('%') {
                    Some(percent) => match percent.trim().parse() {
                        Ok(percent @ 0..=100) => Ok(Amount::Percent(percent)),
                        _ => Err(wrong()),
                    },
                    None => text.trim().parse().map(Amount::Number).map_err(|_| wrong()),
                }
            }
        }
        d.deserialize_any(Form)
    }
}

/// The rules that decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// API requests that only the stream's needs may spend.
    pub api_reserve: Amount,
    /// Delivered events below which people are told.
    pub events_reserve: Amount,
    /// From this use on, work of the schedule is made less often.
    pub stretch_from: Amount,
    /// At most this many times less often, just before it rests.
    pub stretch_at_most: u32,
}

/// An allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Spent in its window.
    pub used: u64,
    /// What there is.
    pub max: u64,
    /// When that was said, by the source's clock or ours.
    pub as_of: Timestamp,
}

impl Usage {
    /// What is left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.max.saturating_sub(self.used)
    }
}

/// Everything that is known about the org's allocations. Unknown ones hold nothing up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picture {
    /// API requests of the last 24 hours, by all clients of the org.
    pub api: Option<Usage>,
    /// Events delivered in the last 24 hours, to all subscribers together.
    pub delivered: Option<Usage>,
    /// Synchronous report runs of the last hour.
    pub report_runs: Option<Usage>,
    /// Bulk API 2.0 query jobs of the last 24 hours.
    pub bulk_jobs: Option<Usage>,
    /// Why the limits cannot be looked at, in words; `None` when they can.
    pub limits_refused: Option<String>,
}

/// `api-usage=1018/100000; per-app-api-usage=17/250(appName=x)`: the first pair, wherever it stands.
#[must_use]
pub fn api_usage_of_header(text: &str) -> Option<(u64, u64)> {
    text.split([';', ',']).find_map(|part| {
        let (name, pair) = part.split_once('=')?;
        let (used, max) = pair.split_once('/')?;
        let digits = |text: &str| {
            let text = text.trim();
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            text[..end].parse().ok()
        };
        name.trim()
            .eq_ignore_ascii_case("api-usage")
            .then(|| Some((digits(used)?, digits(max)?)))?
    })
}

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The stream's needs: owed re-reads of people or of everyone. Never held up.
    Stream,
    /// A snapshot that somebody waits for: an operator's, or the first one.
    Reimport,
    /// A snapshot of the schedule.
    Snapshot,
    /// A look-back of the schedule.
    Recheck,
    /// A poll of what has no change events: groups, permission sets, names, frozen state.
    Poll,
}

/// What a call spends besides API requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// Nothing else.
    Requests,
    /// Report runs.
    Report,
    /// A bulk query job.
    Bulk,
}

/// Whether it may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permit {
    /// Now.
    Go,
    /// Now, and people are told this.
    Warn(String),
    /// Only every so many times, see [`Pace`]; why.
    Stretch(u32, String),
    /// Not until something frees; why.
    Wait(String),
}

impl Permit {
    /// Why it is not simply allowed.
    #[must_use]
    pub fn words(&self) -> Option<&str> {
        match self {
            Self::Go => None,
            Self::Warn(words) | Self::Stretch(_, words) | Self::Wait(words) => Some(words),
        }
    }
}

/// Runs of something that is due again and again: carries out [`Permit::Stretch`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// Times it was due and left out.
    left_out: u32,
}

impl Pace {
    /// It is due: whether it runs now. When not, it is due again after its usual interval.
    pub fn runs(&mut self, permit: &Permit) -> bool {
        let runs = match permit {
            Permit::Go | Permit::Warn(_) => true,
            Permit::Stretch(factor, _) => self.left_out + 1 >= *factor,
            Permit::Wait(_) => false,
        };
        self.left_out = if runs { 0 } else { self.left_out.saturating_add(1) };
        runs
    }
}

/// How much the work of the schedule is thinned out: 1 for not at all, `None` for resting.
fn factor(usage: &Usage, rules: &Rules) -> Option<u32> {
    let from = rules.stretch_from.of(usage.max);
    let until = usage.max.saturating_sub(rules.api_reserve.of(usage.max));
    if usage.used >= until {
        return None;
    }
    if usage.used < from || rules.stretch_at_most <= 1 {
        return Some(1);
    }
    // Here from <= used < until. In equal steps from 2 just above the threshold to the most just below the reserve.
    let steps = u64::from(rules.stretch_at_most - 1);
    let step = (usage.used - from).saturating_mul(steps) / (until - from);
    Some(2 + u32::try_from(step.min(steps - 1)).unwrap_or(0))
}

/// An hourly or daily figure says nothing once its window is over.
fn fresh(usage: Option<Usage>, window: SignedDuration, now: Timestamp) -> Option<Usage> {
    usage.filter(|usage| now.duration_since(usage.as_of) < window)
}

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Decides about one call or one survey.
#[must_use]
pub fn allows(picture: &Picture, rules: &Rules, purpose: Purpose, means: Means, now: Timestamp) -> Permit {
    if purpose == Purpose::Stream {
        return Permit::Go;
    }
    let special = match means {
        Means::Requests => None,
        Means::Report => fresh(picture.report_runs, HOUR, now).map(|usage| (usage, "report runs of the last hour")),
        Means::Bulk => fresh(picture.bulk_jobs, DAY, now).map(|usage| (usage, "bulk query jobs of the last 24 hours")),
    };
    if let Some((usage, what)) = special
        && usage.left() == 0
    {
        return Permit::Wait(format!("all {} {what} are used; it goes on when some free", usage.max));
    }
    let Some(api) = fresh(picture.api, DAY, now) else {
        return Permit::Go;
    };
    let spent = || format!("{} of {} API requests of the last 24 hours are used", api.used, api.max);
    let reserve = || {
        format!(
            "{}; the rest is the reserve of quota.reserve.apiRequests ({}), which only the stream's needs may spend",
            spent(),
            rules.api_reserve
        )
    };
    match (factor(&api, rules), purpose) {
        (None, _) => Permit::Wait(reserve()),
        (Some(1), _) => Permit::Go,
        (Some(_), Purpose::Reimport) => Permit::Warn(spent()),
        (Some(factor), _) => Permit::Stretch(factor, format!("{}: every {factor}th run is made", spent())),
    }
}

/// What is wrong with the allocations, in words for an operator.
#[must_use]
pub fn problems(picture: &Picture, rules: &Rules, now: Timestamp) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(api) = fresh(picture.api, DAY, now)
        && factor(&api, rules).is_none()
    {
        problems.push(format!(
            "{} of {} API requests of the last 24 hours are used, by all clients of the org together: rechecks, polls and snapshots \
             rest until some free; see Setup > Company Information",
            api.used, api.max
        ));
    }
    if let Some(events) = fresh(picture.delivered, DAY, now)
        && events.left() <= rules.events_reserve.of(events.max)
    {
        problems.push(format!(
            "{} of {} event deliveries of the last 24 hours are used, by all subscribers of the org together: when all are, Salesforce \
             closes the stream and only the recheck finds changes; see Setup > Event Manager, buy more or stop other subscribers",
            events.used, events.max
        ));
    }
    problems
}

/// What is made less often or rests now, in words.
#[must_use]
pub fn slowed(picture: &Picture, rules: &Rules, now: Timestamp) -> Vec<String> {
    let Some(api) = fresh(picture.api, DAY, now) else {
        return Vec::new();
    };
    match factor(&api, rules) {
        None => vec!["rechecks, polls and snapshots rest: only the reserve of API requests is left".to_owned()],
        Some(1) => Vec::new(),
        Some(factor) => vec![format!(
            "rechecks, polls and scheduled snapshots run {factor} times less often: {} of {} API requests are used",
            api.used, api.max
        )],
    }
}

#[cfg(test)]
#[path = "quota_tests.rs"]
mod tests;
