//! `lifecycle`: what becomes of an account per cause, leaving on a date, deleting.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::json;

use super::{
    attributes,
    compile::{duration, refuse},
    layers::Layers,
};
use crate::logic::{
    policy::{Disposition, Features, Lifecycle},
    termination::Termination,
};

/// How a termination date is read; `None` when the section is not there.
fn termination(layers: &Layers<'_>, problems: &mut Vec<String>) -> Option<Termination> {
    let at = |key| ["lifecycle", "termination", key];
    layers.get(&at("field")[..2])?;
    let name: String = layers
        .decode(&at("field"), problems)
        .unwrap_or_else(|| "terminationDate".to_owned());
    let field = attributes::named(layers, &at("field"), &name, problems)?;
    let day: Option<String> = layers.decode(&at("at"), problems);
    let end_of_day = match day.as_deref() {
        None | Some("endOfDay") => true,
        Some("startOfDay") => false,
        Some(other) => {
            problems.push(layers.problem(&at("at"), format!("`{other}` is neither startOfDay nor endOfDay")));
            true
        }
    };
    let mut zone = |key: &str| -> Option<TimeZone> {
        let path = ["lifecycle", "termination", key];
        let name: String = layers.decode(&path, problems)?;
        if key == "timeZone" && name == "user" {
            return None;
        }
        TimeZone::get(&name)
            .map_err(|_| {
                problems.push(layers.problem(&path, format!("`{name}` is no time zone such as Europe/Berlin")))
            })
            .ok()
    };
    Some(Termination {
        field,
        end_of_day,
        zone: zone("timeZone"),
        fallback: zone("fallbackTimeZone").unwrap_or(TimeZone::UTC),
    })
}

pub(super) fn lifecycle(
    layers: &Layers<'_>,
    features: Features,
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> Lifecycle {
    let termination = termination(layers, problems);
    let never = layers
        .get(&["lifecycle", "deleteAfter"])
        .is_none_or(|value| *value == json!("never"));
    let delete_after = (!never).then(|| duration(layers, &["lifecycle", "deleteAfter"], Duration::MAX, problems));
    match (delete_after.is_some(), features.delete) {
        (true, false) => problems.push(layers.problem(
            &["lifecycle", "deleteAfter"],
            "deletes accounts for good, which needs features.delete: true",
        )),
        (false, true) => warnings.push(layers.problem(
            &["features", "delete"],
            "has no effect: nothing is deleted while lifecycle.deleteAfter is never",
        )),
        (true, true) => warnings.push(layers.problem(
            &["lifecycle", "deleteAfter"],
            "accounts that have been off for so long are deleted for good",
        )),
        (false, false) => {}
    }
    if termination.is_none() && layers.get(&["lifecycle", "terminated"]).is_some() {
        problems.push(layers.problem(
            &["lifecycle", "terminated"],
            "needs lifecycle.termination, which says where the date stands",
        ));
    }
    // The option as it was before it was split in two.
    let keep_active = layers.decode::<bool>(&["lifecycle", "keepActive"], problems) == Some(true);
    if keep_active {
        warnings.push(layers.problem(
            &["lifecycle", "keepActive"],
            "stands for inactive: keep and outOfScope: keep; write these two instead",
        ));
    }
    // Advanced: off by default, and each account that is kept is counted as long as it is (`kept` in the status).
    for (key, who) in [
        ("removed", "is gone from the source"),
        ("inactive", "is inactive at the source"),
        ("terminated", "has left on their date"),
        ("outOfScope", "does not belong any more"),
    ] {
        let at = ["lifecycle", key];
        if layers.get(&at).and_then(serde_json::Value::as_str) == Some("keep") {
            let words =
                format!("whoever {who} keeps an account that is on; each such account stands in the status as kept");
            warnings.push(layers.problem(&at, words));
        }
    }
    let unless_kept = if keep_active {
        Disposition::Keep
    } else {
        Disposition::Deactivate
    };
    let mut of = |key: &str, default| {
        let path = ["lifecycle", key];
        let Some(word) = layers.decode::<String>(&path, problems) else {
            return default;
        };
        match word.as_str() {
            "deactivate" => Disposition::Deactivate,
            "keep" => Disposition::Keep,
            other => refuse(
                layers,
                &path,
                &format!("`{other}` is not supported; use deactivate or keep"),
                problems,
            )
            .unwrap_or(default),
        }
    };
    Lifecycle {
        inactive: of("inactive", unless_kept),
        removed: of("removed", Disposition::Deactivate),
        terminated: of("terminated", Disposition::Deactivate),
        termination,
        delete_after,
        // Only where somebody says so: an org whose frozen state or report is not read would stop everybody.
        frozen: of("frozen", Disposition::Keep),
        unlisted: of("unlisted", Disposition::Keep),
        out_of_scope: of("outOfScope", unless_kept),
    }
}
