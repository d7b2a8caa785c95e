//! `notify` and `organization.notifyManagers`: who is told of new accounts.
//!
//! ```yaml
//! notify:
//!   onCreate:
//!     user: true                       # or { subject, text, html }: templates over the user's fields, manager.* and target
//!     manager: true
//!     webhook: hr                      # or a list: names under `webhooks` of the service's configuration
//!   firstImport: false                 # true: also about accounts made during the first import
//!   retry: { base: 30s, max: 1h, giveUpAfter: 72h }
//! organization: { notifyManagers: recordedTeams }   # recordedTeams | always | never
//! ```

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{compile::duration, layers::Layers};
use crate::logic::{
    assignments::Assignment,
    notification::{Audience, Letter, Notify, Text, bundled},
    policy::Retry,
};

/// A mail: as it is bundled, or with texts of one's own.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected true, false or { subject, text, html }")]
enum Wanted {
    Switch(bool),
    Own(Parts),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    subject: Option<String>,
    text: Option<String>,
    html: Option<String>,
}

/// One name or several.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected the name of an endpoint, or a list of names")]
enum Names {
    One(String),
    Many(Vec<String>),
}

pub(super) fn notify(
    layers: &Layers<'_>,
    assignments: &[Assignment],
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> Notify {
    let (to_user, to_manager) = bundled();
    let user = letter(layers, "user", to_user, problems).flatten();
    let manager = letter(layers, "manager", to_manager.clone(), problems);
    let manager = managers(layers, manager, to_manager, assignments, problems);
    let retry = Retry {
        base: limit(layers, "base", Notify::RETRY.base, problems),
        max: limit(layers, "max", Notify::RETRY.max, problems),
        give_up_after: limit(layers, "giveUpAfter", Notify::RETRY.give_up_after, problems),
        ..Notify::RETRY
    };
    if retry.max < retry.base {
        problems.push(layers.problem(
            &["notify", "retry", "max"],
            "must not be shorter than notify.retry.base",
        ));
    }
    let notify = Notify {
        user,
        manager,
        webhooks: webhooks(layers, problems),
        first_import: layers.decode(&["notify", "firstImport"], problems).unwrap_or(false),
        retry,
    };
    if notify.first_import && (notify.mails() || !notify.webhooks.is_empty()) {
        warnings.push(layers.problem(
            &["notify", "firstImport"],
            "everybody whose account is made during the first import is written to",
        ));
    }
    notify
}

fn limit(layers: &Layers<'_>, key: &str, default: Duration, problems: &mut Vec<String>) -> Duration {
    duration(layers, &["notify", "retry", key], default, problems)
}

/// The mail under a key: absent, switched off, or this one.
#[expect(clippy::option_option, reason = "absent is not the same as switched off")]
fn letter(layers: &Layers<'_>, key: &str, bundled: Letter, problems: &mut Vec<String>) -> Option<Option<Letter>> {
    let at = ["notify", "onCreate", key];
    Some(match layers.decode::<Wanted>(&at, problems)? {
        Wanted::Switch(on) => on.then_some(bundled),
        Wanted::Own(parts) => {
            let mut part = |name: &'static str, text: Option<String>| {
                let parsed = Text::parse(&text?, name == "html");
                parsed
                    .map_err(|why| {
                        let at = ["notify", "onCreate", key, name];
                        problems.push(layers.problem(&at, why));
                    })
                    .ok()
            };
            let (subject, text, html) = (
                part("subject", parts.subject),
                part("text", parts.text.clone()),
                part("html", parts.html.clone()),
            );
            if parts.html.is_some() && parts.text.is_none() {
                let message = "is needed beside html: not everybody reads HTML";
                problems.push(layers.problem(&["notify", "onCreate", key, "text"], message));
            }
            // Bundled HTML beside a text of one's own would be another mail.
            let html = if parts.text.is_some() { html } else { bundled.html };
            Some(Letter {
                subject: subject.unwrap_or(bundled.subject),
                text: text.unwrap_or(bundled.text),
                html,
            })
        }
    })
}

/// The mail to managers, and to which: `organization.notifyManagers` alone switches it on as well.
fn managers(
    layers: &Layers<'_>,
    wanted: Option<Option<Letter>>,
    bundled: Letter,
    assignments: &[Assignment],
    problems: &mut Vec<String>,
) -> Option<(Audience, Letter)> {
    let at = ["organization", "notifyManagers"];
    let said = match layers.get(&at) {
        None => None,
        Some(value) if *value == json!(false) || *value == json!("never") => Some(None),
        Some(value) if *value == json!(true) || *value == json!("always") => Some(Some(Audience::Always)),
        Some(Value::String(word)) if word == "recordedTeams" => Some(Some(Audience::RecordedTeams)),
        Some(_) => {
            problems.push(layers.problem(&at, "is recordedTeams, always or never"));
            return None;
        }
    };
    let letter = match wanted {
        Some(None) | None if said.is_none() => return None,
        Some(None) => {
            if said.flatten().is_some() {
                problems.push(layers.problem(
                    &["notify", "onCreate", "manager"],
                    "is off, and organization.notifyManagers is on; take one of them out",
                ));
            }
            return None;
        }
        Some(Some(letter)) => letter,
        None => bundled,
    };
    let audience = match said {
        Some(None) => {
            if wanted_at(layers) {
                problems.push(layers.problem(&at, "is never, and notify.onCreate.manager is on; take one of them out"));
            }
            return None;
        }
        Some(Some(audience)) => audience,
        None => Audience::RecordedTeams,
    };
    let captures = assignments.iter().any(|assignment| !assignment.capture.is_empty());
    if audience == Audience::RecordedTeams && !captures {
        let place: &[&str] = if said.is_some() {
            &at
        } else {
            &["notify", "onCreate", "manager"]
        };
        problems.push(layers.problem(
            place,
            "only managers whose team is recorded are told, and no setting that is marked capture: true is given here, so \
             no team is known to be; say organization.notifyManagers: always to tell every direct manager",
        ));
    }
    Some((audience, letter))
}

fn wanted_at(layers: &Layers<'_>) -> bool {
    let wanted = layers.get(&["notify", "onCreate", "manager"]);
    wanted.is_some_and(|value| *value != json!(false))
}

fn webhooks(layers: &Layers<'_>, problems: &mut Vec<String>) -> Vec<String> {
    let at = ["notify", "onCreate", "webhook"];
    let mut names = match layers.decode::<Names>(&at, problems) {
        None => Vec::new(),
        Some(Names::One(name)) => vec![name],
        Some(Names::Many(names)) => names,
    };
    for name in &names {
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if !plain {
            // Not repeated: the path of an address may be a secret.
            problems.push(layers.problem(
                &at,
                "names an endpoint by a word (letters, digits, - and _); its url and secretFiles stand under `webhooks` of \
                 the service's configuration",
            ));
        }
    }
    names.sort();
    names.dedup();
    names
}
