//! `guard`, `pace`, `retry` and `schedule.drift`: how much at once, how fast, how long, how often.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;

use super::{compile::duration, layers::Layers};
use crate::logic::{
    guard::{Guard, RemovalLimit},
    policy::{Drift, DriftMode, Pace, Retry},
};

pub(super) fn guard(layers: &Layers<'_>, problems: &mut Vec<String>, warnings: &mut Vec<String>) -> Guard {
    let default = Guard::default();
    let number = |path: &[&str], default: u64, problems: &mut Vec<String>| {
        layers.decode::<u64>(path, problems).unwrap_or(default)
    };
    let percent = |path: &[&str], default: u64, problems: &mut Vec<String>| {
        let percent = number(path, default, problems);
        if percent > 100 {
            problems.push(layers.problem(path, "must be between 0 and 100"));
        }
        percent
    };
    let removals = RemovalLimit {
        percent: percent(&["guard", "removals", "percent"], default.removals.percent, problems),
        at_least: number(&["guard", "removals", "atLeast"], default.removals.at_least, problems),
        at_most: number(&["guard", "removals", "atMost"], default.removals.at_most, problems),
    };
    if removals.at_least > removals.at_most {
        problems.push(layers.problem(
            &["guard", "removals", "atLeast"],
            "must not be larger than guard.removals.atMost",
        ));
    }
    let words: Vec<String> = layers
        .decode(&["guard", "windows"], problems)
        .unwrap_or_else(|| vec!["1h".to_owned(), "24h".to_owned()]);
    let mut windows = Vec::new();
    for word in &words {
        match word
            .parse::<SignedDuration>()
            .ok()
            .and_then(|window| Duration::try_from(window).ok())
        {
            Some(window) if !window.is_zero() => windows.push(window),
            _ => problems.push(layers.problem(
                &["guard", "windows"],
                format!("`{word}` is no duration with its unit, such as 1h or 24h"),
            )),
        }
    }
    if windows.is_empty() && problems.is_empty() {
        warnings.push(layers.problem(
            &["guard", "windows"],
            "no window: the guard is off, and one mistake can switch everybody off",
        ));
    }
    let first: Option<String> = layers.decode(&["guard", "firstImport"], problems);
    let counts_first_import = match first.as_deref() {
        None | Some("allow") => false,
        Some("hold") => true,
        Some(other) => {
            problems.push(layers.problem(
                &["guard", "firstImport"],
                format!("`{other}` is neither hold nor allow"),
            ));
            false
        }
    };
    Guard {
        removals,
        changes_percent: percent(&["guard", "changes", "percent"], default.changes_percent, problems),
        windows,
        counts_first_import,
        import_quiet: duration(layers, &["guard", "importQuiet"], default.import_quiet, problems),
    }
}

pub(super) fn pace(layers: &Layers<'_>, serial: bool, problems: &mut Vec<String>) -> Pace {
    let per_second: f64 = layers.decode(&["pace", "perSecond"], problems).unwrap_or(10.0);
    if !(per_second.is_finite() && (0.01..=10_000.0).contains(&per_second)) {
        problems.push(layers.problem(&["pace", "perSecond"], "must be between 0.01 and 10000"));
    }
    let concurrency: usize = layers
        .decode(&["pace", "concurrency"], problems)
        .unwrap_or(if serial { 1 } else { 4 });
    if serial && concurrency > 1 {
        problems.push(layers.problem(
            &["pace", "concurrency"],
            "must be 1: the description of this application says `serial`",
        ));
    }
    if !(1..=256).contains(&concurrency) {
        problems.push(layers.problem(&["pace", "concurrency"], "must be between 1 and 256"));
    }
    let per_day: Option<u64> = layers.decode(&["pace", "perDay"], problems);
    if per_day == Some(0) {
        problems.push(layers.problem(
            &["pace", "perDay"],
            "must be at least 1; to stop a target use mode: off",
        ));
    }
    let reserve: Option<String> = layers.decode(&["pace", "leaverReserve"], problems);
    let reserve = reserve.map_or(Some(10), |text| text.strip_suffix('%')?.trim().parse::<u64>().ok());
    let leaver_reserve_percent = reserve.filter(|percent| *percent <= 100).unwrap_or_else(|| {
        problems.push(layers.problem(&["pace", "leaverReserve"], "must be a percentage such as 10%"));
        10
    });
    Pace {
        per_second,
        per_day,
        leaver_reserve_percent,
        concurrency,
    }
}

pub(super) fn drift(layers: &Layers<'_>, problems: &mut Vec<String>) -> Option<Drift> {
    let every = match layers.get(&["schedule", "drift", "every"]).and_then(Value::as_str) {
        Some("never") => return None,
        _ => duration(
            layers,
            &["schedule", "drift", "every"],
            Duration::from_secs(24 * 3600),
            problems,
        ),
    };
    let word: Option<String> = layers.decode(&["schedule", "drift", "mode"], problems);
    let mode = match word.as_deref() {
        None | Some("report") => DriftMode::Report,
        Some("repair") => DriftMode::Repair,
        Some(other) => {
            problems.push(layers.problem(
                &["schedule", "drift", "mode"],
                format!("`{other}` is neither report nor repair"),
            ));
            DriftMode::Report
        }
    };
    Some(Drift { every, mode })
}

pub(super) fn retry(layers: &Layers<'_>, problems: &mut Vec<String>) -> Retry {
    let (halt_at, halt_of) = halt(layers, problems);
    let retry = Retry {
        base: duration(layers, &["retry", "base"], Duration::from_secs(2), problems),
        max: duration(layers, &["retry", "max"], Duration::from_secs(15 * 60), problems),
        give_up_after: duration(
            layers,
            &["retry", "giveUpAfter"],
            Duration::from_secs(24 * 3600),
            problems,
        ),
        halt_at,
        halt_of,
    };
    if retry.base > retry.max {
        problems.push(layers.problem(&["retry", "base"], "must not be larger than retry.max"));
    }
    retry
}

/// How many failures among how many answers open the circuit.
fn halt(layers: &Layers<'_>, problems: &mut Vec<String>) -> (u32, u32) {
    let mut bounded = |key: &str, default: u32, least: u32, most: u32| {
        let value: Option<u32> = layers.decode(&["retry", "halt", key], problems);
        let value = value.unwrap_or(default);
        if !(least..=most).contains(&value) {
            problems.push(layers.problem(&["retry", "halt", key], format!("must be between {least} and {most}")));
            return default;
        }
        value
    };
    let of = bounded("of", 20, 5, 64);
    let percent = bounded("percent", 50, 1, 100);
    ((of * percent).div_ceil(100), of)
}
