//! `scope` and `filters`: who belongs, and how filters are read. A mistake inside of a filter is shown where it stands in
//! the YAML text; where that cannot be told (escapes, folded lines), the filter itself is shown below.

use jiff::{civil::Weekday, tz::TimeZone};
use usher_filter::{Fields, Filter, Nulls};
use usher_runtime::yaml::nearest;

use super::layers::Layers;
use crate::logic::scope::Scope;

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// How a filter of the target is read: with the null rule that `filters` says.
pub(super) fn reader<'a>(
    layers: &'a Layers<'a>,
    problems: &mut Vec<String>,
) -> impl Fn(&[&str], &str, &mut Vec<String>, &mut Vec<String>) -> Option<Filter> + 'a {
    let matches: Option<bool> = layers.decode(&["filters", "nullMatchesNot"], problems);
    let fields = Fields {
        nulls: if matches == Some(false) {
            Nulls::Omit
        } else {
            Nulls::Match
        },
        ..Fields::default()
    };
    move |path, text, problems, warnings| match Filter::parse(text, &fields) {
        Ok(filter) => {
            warnings.extend(filter.notes().iter().map(|note| layers.problem(path, note.as_str())));
            Some(filter)
        }
        Err(error) => {
            problems.push(layers.problem_inside(path, text, &error));
            None
        }
    }
}

/// Reads both sections.
pub(super) fn scope(layers: &Layers<'_>, problems: &mut Vec<String>, warnings: &mut Vec<String>) -> Scope {
    let read = reader(layers, problems);
    let mut parse = |path: &[&str], text: &str, problems: &mut Vec<String>| read(path, text, problems, warnings);
    let path = ["scope", "filter"];
    let text: Option<String> = layers.require(
        &path,
        "which users belong, as SOQL such as \"Department = 'Sales'\"; all users are said with the word all",
        problems,
    );
    let filter = text
        .filter(|text| !text.trim().eq_ignore_ascii_case("all"))
        .and_then(|text| parse(&path, &text, problems));
    let rules: Vec<String> = layers.decode(&["scope", "skip"], problems).unwrap_or_default();
    let mut skip = Vec::new();
    for (number, text) in rules.iter().enumerate() {
        let number = number.to_string();
        let path = ["scope", "skip", number.as_str()];
        if text.trim().eq_ignore_ascii_case("all") {
            problems.push(layers.problem(&path, "would leave everybody out; use mode: off to stop a target"));
        } else {
            skip.extend(parse(&path, text, problems));
        }
    }
    Scope {
        filter,
        skip,
        access: Vec::new(),
        zone: zone(layers, problems),
        week_starts: week_starts(layers, problems),
        fiscal_year_starts: fiscal_year_starts(layers, problems),
    }
}

fn zone(layers: &Layers<'_>, problems: &mut Vec<String>) -> TimeZone {
    let path = ["filters", "timeZone"];
    let Some(name) = layers.decode::<String>(&path, problems) else {
        return TimeZone::UTC;
    };
    TimeZone::get(&name).unwrap_or_else(|_| {
        problems.push(layers.problem(
            &path,
            format!("`{name}` is no time zone; write one such as Europe/Berlin"),
        ));
        TimeZone::UTC
    })
}

fn week_starts(layers: &Layers<'_>, problems: &mut Vec<String>) -> Weekday {
    let path = ["filters", "weekStarts"];
    let Some(name) = layers.decode::<String>(&path, problems) else {
        return Weekday::Sunday;
    };
    let known = WEEKDAYS.iter().find(|(word, _)| word.eq_ignore_ascii_case(&name));
    known.map_or_else(
        || {
            let names = WEEKDAYS.iter().map(|(word, _)| *word);
            problems.push(layers.problem(&path, no_word(&name, "day of the week", names)));
            Weekday::Sunday
        },
        |(_, day)| *day,
    )
}

fn fiscal_year_starts(layers: &Layers<'_>, problems: &mut Vec<String>) -> i8 {
    let path = ["filters", "fiscalYearStarts"];
    let Some(name) = layers.decode::<String>(&path, problems) else {
        return 1;
    };
    let known = MONTHS.iter().position(|word| word.eq_ignore_ascii_case(&name));
    known.and_then(|place| i8::try_from(place + 1).ok()).unwrap_or_else(|| {
        problems.push(layers.problem(&path, no_word(&name, "month", MONTHS.into_iter())));
        1
    })
}

fn no_word(wrong: &str, what: &str, names: impl Iterator<Item = &'static str> + Clone) -> String {
    let hint = nearest(wrong, names.clone()).map_or_else(
        || format!("use one of {}", names.collect::<Vec<_>>().join(", ")),
        |name| format!("did you mean `{name}`?"),
    );
    format!("`{wrong}` is no {what}; {hint}")
}
