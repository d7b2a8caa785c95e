//! A date on which somebody leaves, known beforehand: from which moment it counts, and when it does not count any more.
//!
//! A date acts on its day and not on receipt: the plan says when its answer changes, and the person is planned again then.
//! A date before the last reactivation is of an earlier employment: a rehire is not locked out again.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde_json::Value;
use usher_contract::{ChangeKind, Known, User, UserChange};

use super::{link::Link, source::SourceField};

/// How the date is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Termination {
    /// Where it stands.
    pub field: SourceField,
    /// At the end of the day, else at its start.
    pub end_of_day: bool,
    /// Where the day is; `None`: where the person is.
    pub zone: Option<TimeZone>,
    /// For people whose time zone is blank, unknown or no name of a zone.
    pub fallback: TimeZone,
}

/// What the date says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// There is none.
    None,
    /// It has come.
    Over,
    /// It comes then.
    At(Timestamp),
    /// It is of before the person came back, then.
    Stale(Timestamp),
    /// It cannot be read.
    Unknown,
}

impl Termination {
    /// Judges the date of a person who is active at the source.
    #[must_use]
    pub fn judge(&self, change: &UserChange, link: Option<&Link>, now: Timestamp) -> Judgement {
        let text = match self.field.read(&change.user) {
            Known::Unknown => return Judgement::Unknown,
            Known::Empty | Known::Value(Value::Null) => return Judgement::None,
            Known::Value(Value::String(text)) if text.trim().is_empty() => return Judgement::None,
            Known::Value(Value::String(text)) => text,
            Known::Value(_) => return Judgement::Unknown,
        };
        let Some(moment) = self.moment(text.trim(), &change.user) else {
            return Judgement::Unknown;
        };
        let (left_at, active_since) = remembered(link, change);
        if let Some(back) = left_at.max(active_since).filter(|back| moment <= *back) {
            return Judgement::Stale(back);
        }
        if moment <= now {
            Judgement::Over
        } else {
            Judgement::At(moment)
        }
    }

    /// A date is a whole day where the person is; a time is itself.
    fn moment(&self, text: &str, user: &User) -> Option<Timestamp> {
        let Ok(date) = text.parse::<Date>() else {
            return text.parse().ok();
        };
        // A time that is parsed as a date would lose its hour.
        if text.len() > 10 {
            return text.parse().ok();
        }
        let own = || user.time_zone.value().and_then(|name| TimeZone::get(name).ok());
        let zone = self.zone.clone().or_else(own).unwrap_or_else(|| self.fallback.clone());
        let day = if self.end_of_day { date.tomorrow().ok()? } else { date };
        day.to_zoned(zone).ok().map(|start| start.timestamp())
    }
}

/// When the source last said that somebody is out, and since when they are back, as far as is known: from the link, and
/// from the state at hand.
#[must_use]
pub fn remembered(link: Option<&Link>, change: &UserChange) -> (Option<Timestamp>, Option<Timestamp>) {
    let said = change.cause.committed_at.unwrap_or(change.cause.observed_at);
    let (left_at, active_since) = link.map_or((None, None), |link| (link.left_at, link.active_since));
    if change.user.removed || change.user.active == Known::Value(false) {
        // The first word about it: later ones say the same.
        let known = left_at.filter(|left| active_since.is_none_or(|since| since <= *left));
        return (known.or(Some(said)), active_since);
    }
    let back = matches!(change.kind, ChangeKind::Reactivated | ChangeKind::Restored);
    (left_at, if back { Some(said) } else { active_since })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::testing::{Change, person, policy};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn rule(end_of_day: bool, zone: Option<&str>) -> Termination {
        Termination {
            field: SourceField::named("custom.End__c").unwrap(),
            end_of_day,
            zone: zone.map(|name| TimeZone::get(name).unwrap()),
            fallback: TimeZone::UTC,
        }
    }

    fn leaving(date: Value, zone: Option<&str>) -> UserChange {
        let mut change = person(1);
        change.user.custom.insert("End__c".into(), date);
        change.user.time_zone = zone.map_or(Known::Empty, |zone| Known::Value(zone.to_owned()));
        change
    }

    #[test]
    fn a_date_counts_on_its_day_where_the_person_is() {
        let now = at("2026-11-22T12:00:00Z");
        let say = |rule: Termination, zone| rule.judge(&leaving("2026-11-22".into(), zone), None, now);
        for (end_of_day, fixed, own, expected) in [
            (
                true,
                None,
                Some("America/Los_Angeles"),
                Judgement::At(at("2026-11-23T08:00:00Z")),
            ),
            (
                true,
                None,
                Some("Asia/Tokyo"),
                Judgement::At(at("2026-11-22T15:00:00Z")),
            ),
            (true, None, Some("Pacific/Kiritimati"), Judgement::Over),
            (true, None, None, Judgement::At(at("2026-11-23T00:00:00Z"))),
            (
                true,
                None,
                Some("Mars/Olympus"),
                Judgement::At(at("2026-11-23T00:00:00Z")),
            ),
            (
                true,
                Some("Asia/Tokyo"),
                Some("America/Los_Angeles"),
                Judgement::At(at("2026-11-22T15:00:00Z")),
            ),
            (false, None, Some("America/Los_Angeles"), Judgement::Over),
            (false, Some("Pacific/Pago_Pago"), None, Judgement::Over),
        ] {
            assert_eq!(
                say(rule(end_of_day, fixed), own),
                expected,
                "{end_of_day} {fixed:?} {own:?}"
            );
        }
    }

    #[test]
    fn past_dates_count_at_once_times_are_themselves_and_what_is_no_date_decides_nothing() {
        let now = at("2026-11-22T12:00:00Z");
        let say = |date: Value| rule(true, None).judge(&leaving(date, None), None, now);
        assert_eq!(say("2020-01-01".into()), Judgement::Over);
        assert_eq!(
            say("2026-11-22T13:00:00Z".into()),
            Judgement::At(at("2026-11-22T13:00:00Z"))
        );
        assert_eq!(say("2026-11-22T12:00:00Z".into()), Judgement::Over, "to the moment");
        for none in [Value::Null, "".into(), "  ".into()] {
            assert_eq!(say(none), Judgement::None);
        }
        for unreadable in ["soon".into(), "2026-02-30".into(), 7.into()] {
            assert_eq!(say(unreadable), Judgement::Unknown);
        }
        assert_eq!(
            rule(true, None).judge(&person(1), None, now),
            Judgement::Unknown,
            "not published"
        );
    }

    #[test]
    fn a_date_of_an_earlier_employment_is_stale() {
        let now = at("2026-11-22T12:00:00Z");
        let mut back = leaving("2026-01-10".into(), None);
        back.kind = ChangeKind::Reactivated;
        back.cause.committed_at = Some(at("2026-03-01T09:00:00Z"));
        let stale = Judgement::Stale(at("2026-03-01T09:00:00Z"));
        assert_eq!(rule(true, None).judge(&back, None, now), stale, "told by the message");
        let mut link = Link::unlinked(1, policy().hash);
        (link.left_at, link.active_since) = remembered(None, &back);
        let mut later = leaving("2026-01-10".into(), None);
        later.cause.committed_at = Some(at("2026-05-01T09:00:00Z"));
        assert_eq!(
            rule(true, None).judge(&later, Some(&link), now),
            stale,
            "and by the link afterwards"
        );
        // A new date is a new end.
        let again = leaving("2026-06-30".into(), None);
        assert_eq!(rule(true, None).judge(&again, Some(&link), now), Judgement::Over);
        // The message that said so is gone: being out is known, and what came before it is over.
        let left = leaving("2026-01-10".into(), None).inactive();
        let mut out = Link::unlinked(1, policy().hash);
        out.left_at = Some(at("2026-01-12T00:00:00Z"));
        (out.left_at, out.active_since) = remembered(Some(&out), &left);
        assert_eq!(out.left_at, Some(at("2026-01-12T00:00:00Z")), "the first word counts");
        let missed = leaving("2026-01-10".into(), None);
        assert!(matches!(
            rule(true, None).judge(&missed, Some(&out), now),
            Judgement::Stale(_)
        ));
        let doubtful = leaving("2026-02-10".into(), None);
        assert_eq!(
            rule(true, None).judge(&doubtful, Some(&out), now),
            Judgement::Over,
            "when in doubt, out"
        );
    }
}
