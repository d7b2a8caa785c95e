//! Which keys there are, which are to come, and what was probably meant.

use serde_json::Value;
use usher_runtime::yaml::{Document, Problem, nearest};

/// Keys that this version acts on, by section. `*` stands for any name.
const KNOWN: [(&str, &[&str]); 32] = [
    (
        "",
        &[
            "target",
            "formerly",
            "preset",
            "mode",
            "sources",
            "connection",
            "features",
            "scope",
            "filters",
            "gate",
            "match",
            "attributes",
            "lifecycle",
            "guard",
            "protect",
            "pace",
            "retry",
            "schedule",
            "outcomes",
            "assignments",
            "organization",
            "notify",
            "settings",
            "set",
        ],
    ),
    (
        "connection",
        &[
            "baseUrl",
            "tenant",
            "sharedWith",
            "auth",
            "timeouts",
            "caFile",
            "allowPlaintext",
            "scim",
            "rest",
        ],
    ),
    (
        "connection.auth",
        &["bearerTokenFile", "bearerTokenEnv", "basic", "header"],
    ),
    ("connection.timeouts", &["connect", "request"]),
    (
        "features",
        &[
            "create",
            "update",
            "deactivate",
            "reactivate",
            "delete",
            "groups",
            "invite",
        ],
    ),
    ("scope", &["filter", "skip"]),
    (
        "filters",
        &["timeZone", "weekStarts", "fiscalYearStarts", "nullMatchesNot"],
    ),
    ("gate", &["require", "domains"]),
    ("gate.domains", &["primary", "additional", "convertToPrimary"]),
    ("match", &["by", "person", "firstSync", "inactiveAccount"]),
    (
        "attributes.*",
        &[
            "from",
            "constant",
            "template",
            "map",
            "default",
            "drop",
            "write",
            "whenBlank",
        ],
    ),
    (
        "lifecycle",
        &[
            "inactive",
            "removed",
            "frozen",
            "unlisted",
            "outOfScope",
            "terminated",
            "termination",
            "deleteAfter",
            "keepActive",
        ],
    ),
    (
        "lifecycle.termination",
        &["field", "at", "timeZone", "fallbackTimeZone"],
    ),
    (
        "organization",
        &["managers", "notifyManagers", "managersControlCapture"],
    ),
    ("notify", &["onCreate", "firstImport", "retry"]),
    ("notify.onCreate", &["user", "manager", "webhook"]),
    ("notify.onCreate.user", &["subject", "text", "html"]),
    ("notify.onCreate.manager", &["subject", "text", "html"]),
    ("notify.retry", &["base", "max", "giveUpAfter"]),
    ("protect", &["accounts", "owner"]),
    (
        "guard",
        &["removals", "changes", "windows", "firstImport", "importQuiet"],
    ),
    ("guard.removals", &["percent", "atLeast", "atMost"]),
    ("guard.changes", &["percent"]),
    ("pace", &["perSecond", "perDay", "concurrency", "leaverReserve"]),
    ("retry", &["base", "max", "giveUpAfter", "halt"]),
    ("retry.halt", &["percent", "of"]),
    ("schedule", &["reconcile", "drift"]),
    ("outcomes", &["values"]),
    ("schedule.drift", &["every", "mode"]),
    // Values of these are checked by their own types.
    ("attributes", &[]),
    ("connection.scim", &[]),
    ("connection.rest", &[]),
];

/// Keys of the policy language that are refused for now: silence would look like obedience.
const LATER: [(&str, &[&str]); 1] = [("", &["groups"])];

/// Reports every key that is unknown or not supported yet.
pub(super) fn check(document: &Document, problems: &mut Vec<String>) {
    walk(document, &document.value(), &mut Vec::new(), problems);
}

fn walk<'a>(document: &Document, value: &'a Value, path: &mut Vec<&'a str>, problems: &mut Vec<String>) {
    let section = if path.len() == 2 && path[0] == "attributes" {
        "attributes.*".to_owned()
    } else {
        path.join(".")
    };
    let keys_of = |table: &'static [(&str, &'static [&'static str])]| {
        table.iter().find(|(name, _)| *name == section).map(|(_, keys)| *keys)
    };
    let Some(known) = keys_of(&KNOWN) else { return };
    let Value::Object(entries) = value else {
        // Nothing below the key is nothing said. Rows of attributes and credentials are checked by their own types.
        if !value.is_null()
            && ![
                "attributes",
                "attributes.*",
                "connection.auth",
                "connection.scim",
                "connection.rest",
                "notify.onCreate.user",
                "notify.onCreate.manager",
            ]
            .contains(&&*section)
        {
            let keys = if known.is_empty() {
                String::new()
            } else {
                format!("; known keys here: {}", known.join(", "))
            };
            problems.push(document.show(&Problem {
                place: document.place_at(path),
                path: path.join("."),
                message: format!("must be a map such as {{ key: value }}{keys}"),
            }));
        }
        return;
    };
    let later = keys_of(&LATER).unwrap_or_default();
    for (key, below) in entries {
        path.push(key);
        if known.is_empty() || known.contains(&key.as_str()) {
            if !["connection.scim", "connection.rest"].contains(&&*section) {
                walk(document, below, path, problems);
            }
        } else {
            let message = if later.contains(&key.as_str()) {
                "is not supported in this version; take it out".to_owned()
            } else {
                match nearest(key, known.iter().copied()) {
                    Some(name) => format!("unknown key; did you mean `{name}`?"),
                    None => format!("unknown key; known keys here: {}", known.join(", ")),
                }
            };
            problems.push(document.show(&Problem {
                place: document.place_at(path),
                path: path.join("."),
                message,
            }));
        }
        path.pop();
    }
}
