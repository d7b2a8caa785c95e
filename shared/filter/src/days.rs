//! Named date literals: `TODAY`, `LAST_N_DAYS:7`, `THIS_FISCAL_YEAR`. Each is a run of whole days, weeks, months, quarters
//! or years around today (SOQL Reference, "Date Formats and Date Literals").
//!
//! A value is compared by the number of the day, week or month that it lies in, so no boundary is ever computed for a
//! comparison. When an answer changes follows from the same numbers.

use std::fmt;

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, Weekday, date},
    tz::TimeZone,
};

use crate::syntax::Operator;

/// Largest number that a literal such as `LAST_N_DAYS:n` may have: 273 years of days. More is a mistake.
pub(crate) const COUNT_MAX: i32 = 100_000;

const EPOCH: Date = date(1970, 1, 1);

/// What *now*, *today* and *this week* mean. At the source they follow the running user's time zone and locale.
#[derive(Debug, Clone)]
pub struct Clock {
    now: Timestamp,
    zone: TimeZone,
    /// Days that the week's first day is after Monday.
    week_starts: i32,
    /// Months that the fiscal year begins after January.
    fiscal_starts: i32,
    today: i32,
}

impl Clock {
    /// Weeks begin on Sunday, as in the locale `en_US`, and fiscal years in January.
    #[must_use]
    pub fn new(now: Timestamp, zone: TimeZone) -> Self {
        let mut clock = Self {
            now,
            zone,
            week_starts: 6,
            fiscal_starts: 0,
            today: 0,
        };
        clock.today = clock.day(now);
        clock
    }
    /// The first day of a week.
    #[must_use]
    pub fn week_starting(mut self, day: Weekday) -> Self {
        self.week_starts = i32::from(day.to_monday_zero_offset());
        self
    }
    /// The first month of a fiscal year, 1 to 12.
    #[must_use]
    pub fn fiscal_year_starting(mut self, month: i8) -> Self {
        self.fiscal_starts = i32::from(month.clamp(1, 12)) - 1;
        self
    }
    /// The same rules at another time.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        let mut clock = self.clone();
        clock.now = now;
        clock.today = clock.day(now);
        clock
    }
    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The number of the day that a moment lies in. A day lasts from its first moment to the first moment of the next one,
    /// so days never run backwards, not even where the clock is set back over midnight (`America/St_Johns` did).
    pub(crate) fn day(&self, at: Timestamp) -> i32 {
        let local = self.zone.to_datetime(at);
        let day = number(local.date());
        // Clocks go back by an hour or two, seldom more (a change of the whole zone).
        if local.hour() >= 20 && self.first_moment(day + 1) <= at {
            day + 1
        } else {
            day
        }
    }

    /// The first moment of a day.
    pub(crate) fn first_moment(&self, day: i32) -> Timestamp {
        let start = of_number(day).to_zoned(self.zone.clone());
        start
            .and_then(|start| start.start_of_day())
            .map_or(Timestamp::MAX, |start| start.timestamp())
    }
}

/// Days since 1970.
pub(crate) fn number(day: Date) -> i32 {
    i32::try_from(day.duration_since(EPOCH).as_hours() / 24).unwrap_or(0)
}

fn of_number(day: i32) -> Date {
    EPOCH.saturating_add(i64::from(day).days())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Day,
    Week,
    Month,
    Quarter,
    Year,
    FiscalQuarter,
    FiscalYear,
}

impl Unit {
    /// Months in a unit and how many months after January it is counted from; `None` for days and weeks.
    fn months(self, clock: &Clock) -> Option<(i32, i32)> {
        match self {
            Self::Day | Self::Week => None,
            Self::Month => Some((1, 0)),
            Self::Quarter => Some((3, 0)),
            Self::Year => Some((12, 0)),
            Self::FiscalQuarter => Some((3, clock.fiscal_starts)),
            Self::FiscalYear => Some((12, clock.fiscal_starts)),
        }
    }

    /// The number of the unit that a day lies in.
    fn of(self, day: i32, clock: &Clock) -> i32 {
        let Some((months, shift)) = self.months(clock) else {
            // The first of January 1970 was a Thursday, three days after a Monday.
            return if self == Self::Day {
                day
            } else {
                (day + 3 - clock.week_starts).div_euclid(7)
            };
        };
        let date = of_number(day);
        (i32::from(date.year()) * 12 + i32::from(date.month()) - 1 - shift).div_euclid(months)
    }

    /// The first day of a unit.
    fn start(self, unit: i32, clock: &Clock) -> i32 {
        let Some((months, shift)) = self.months(clock) else {
            return if self == Self::Day {
                unit
            } else {
                unit * 7 - 3 + clock.week_starts
            };
        };
        let month = unit * months + shift;
        let year = i16::try_from(month.div_euclid(12)).unwrap_or(if month < 0 { i16::MIN } else { i16::MAX });
        let month = i8::try_from(month.rem_euclid(12) + 1).unwrap_or(1);
        number(Date::new(year, month, 1).unwrap_or(if year < 0 { Date::MIN } else { Date::MAX }))
    }
}

/// A named literal: units from `first` to `last`, counted from the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named {
    unit: Unit,
    first: i32,
    last: i32,
    name: &'static str,
    count: Option<i32>,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.count.map_or(Ok(()), |count| write!(f, ":{count}"))
    }
}

/// How the units of a literal with a number follow from it.
#[derive(Clone, Copy)]
enum Run {
    /// Without a number: these units.
    Fixed(i32, i32),
    /// `LAST_N_…`: n units before the current one.
    Last,
    /// `LAST_N_DAYS`: today counts as well.
    LastToNow,
    /// `NEXT_N_…`: n units after the current one.
    Next,
    /// `N_…_AGO`.
    Ago,
}

const NAMES: [(&str, Unit, Run); 44] = {
    use Run::{Ago, Fixed, Last, LastToNow, Next};
    use Unit::{Day, FiscalQuarter, FiscalYear, Month, Quarter, Week, Year};
    [
        ("YESTERDAY", Day, Fixed(-1, -1)),
        ("TODAY", Day, Fixed(0, 0)),
        ("TOMORROW", Day, Fixed(1, 1)),
        ("LAST_90_DAYS", Day, Fixed(-90, 0)),
        ("NEXT_90_DAYS", Day, Fixed(1, 90)),
        ("LAST_N_DAYS", Day, LastToNow),
        ("NEXT_N_DAYS", Day, Next),
        ("N_DAYS_AGO", Day, Ago),
        ("LAST_WEEK", Week, Fixed(-1, -1)),
        ("THIS_WEEK", Week, Fixed(0, 0)),
        ("NEXT_WEEK", Week, Fixed(1, 1)),
        ("LAST_N_WEEKS", Week, Last),
        ("NEXT_N_WEEKS", Week, Next),
        ("N_WEEKS_AGO", Week, Ago),
        ("LAST_MONTH", Month, Fixed(-1, -1)),
        ("THIS_MONTH", Month, Fixed(0, 0)),
        ("NEXT_MONTH", Month, Fixed(1, 1)),
        ("LAST_N_MONTHS", Month, Last),
        ("NEXT_N_MONTHS", Month, Next),
        ("N_MONTHS_AGO", Month, Ago),
        ("LAST_QUARTER", Quarter, Fixed(-1, -1)),
        ("THIS_QUARTER", Quarter, Fixed(0, 0)),
        ("NEXT_QUARTER", Quarter, Fixed(1, 1)),
        ("LAST_N_QUARTERS", Quarter, Last),
        ("NEXT_N_QUARTERS", Quarter, Next),
        ("N_QUARTERS_AGO", Quarter, Ago),
        ("LAST_YEAR", Year, Fixed(-1, -1)),
        ("THIS_YEAR", Year, Fixed(0, 0)),
        ("NEXT_YEAR", Year, Fixed(1, 1)),
        ("LAST_N_YEARS", Year, Last),
        ("NEXT_N_YEARS", Year, Next),
        ("N_YEARS_AGO", Year, Ago),
        ("LAST_FISCAL_QUARTER", FiscalQuarter, Fixed(-1, -1)),
        ("THIS_FISCAL_QUARTER", FiscalQuarter, Fixed(0, 0)),
        ("NEXT_FISCAL_QUARTER", FiscalQuarter, Fixed(1, 1)),
        ("LAST_N_FISCAL_QUARTERS", FiscalQuarter, Last),
        ("NEXT_N_FISCAL_QUARTERS", FiscalQuarter, Next),
        ("N_FISCAL_QUARTERS_AGO", FiscalQuarter, Ago),
        ("LAST_FISCAL_YEAR", FiscalYear, Fixed(-1, -1)),
        ("THIS_FISCAL_YEAR", FiscalYear, Fixed(0, 0)),
        ("NEXT_FISCAL_YEAR", FiscalYear, Fixed(1, 1)),
        ("LAST_N_FISCAL_YEARS", FiscalYear, Last),
        ("NEXT_N_FISCAL_YEARS", FiscalYear, Next),
        ("N_FISCAL_YEARS_AGO", FiscalYear, Ago),
    ]
};

/// Why a name and its number are no literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedProblem {
    Unknown,
    NeedsCount,
    TakesNoCount,
    Count,
}

impl Named {
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, ..)| *name)
    }

    pub(crate) fn new(word: &str, count: Option<i32>) -> Result<Self, NamedProblem> {
        let (name, unit, run) = NAMES
            .iter()
            .find(|(name, ..)| name.eq_ignore_ascii_case(word))
            .ok_or(NamedProblem::Unknown)?;
        let (first, last) = match (run, count) {
            (Run::Fixed(first, last), None) => (*first, *last),
            (Run::Fixed(..), Some(_)) => return Err(NamedProblem::TakesNoCount),
            (_, None) => return Err(NamedProblem::NeedsCount),
            (_, Some(count)) if !(0..=COUNT_MAX).contains(&count) => return Err(NamedProblem::Count),
            // A run of no units would match nobody.
            (Run::Last | Run::Next, Some(0)) => return Err(NamedProblem::Count),
            (Run::Last, Some(count)) => (-count, -1),
            (Run::LastToNow, Some(count)) => (-count, 0),
            (Run::Next, Some(count)) => (1, count),
            (Run::Ago, Some(count)) => (-count, -count),
        };
        Ok(Self {
            unit: *unit,
            first,
            last,
            name,
            count,
        })
    }

    /// Whether the comparison of a day with this literal holds.
    pub(crate) fn holds(self, operator: Operator, day: i32, clock: &Clock) -> bool {
        let unit = self.unit.of(day, clock);
        let current = self.unit.of(clock.today, clock);
        let (first, last) = (current + self.first, current + self.last);
        match operator {
            Operator::Less => unit < first,
            Operator::LessOrEqual => unit <= last,
            Operator::Greater => unit > last,
            Operator::GreaterOrEqual => unit >= first,
            _ => (first..=last).contains(&unit),
        }
    }

    /// The first day after today on which the comparison gives another answer.
    pub(crate) fn next_change(self, operator: Operator, day: i32, clock: &Clock) -> Option<i32> {
        let unit = self.unit.of(day, clock);
        let current = self.unit.of(clock.today, clock);
        // From this unit on the value is no longer after the end, and from that one on it is before the start.
        let (reached, passed) = (unit - self.last, unit - self.first + 1);
        let turns: &[i32] = match operator {
            Operator::Less | Operator::GreaterOrEqual => &[passed],
            Operator::LessOrEqual | Operator::Greater => &[reached],
            _ => &[reached, passed],
        };
        let next = turns.iter().filter(|turn| **turn > current).min()?;
        Some(self.unit.start(*next, clock))
    }
}

#[cfg(test)]
#[path = "days_tests.rs"]
mod tests;
