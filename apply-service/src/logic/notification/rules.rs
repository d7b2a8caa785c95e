//! Who is told when an account was made.

use std::time::Duration;

use serde_json::Value;
use usher_contract::{User, UserKey};

use super::{Letter, NoticeKind};
use crate::logic::{
    assignments::Assignment,
    map::value_of,
    policy::{Retry, TargetPolicy},
    source::is_blank,
};

/// Which direct managers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Only those of whose team data is captured: the new user's own, or that of anybody else who reports to them.
    RecordedTeams,
    /// All.
    Always,
}

/// Who is told, and how. Nobody unless the policy says so.
#[derive(Debug, Clone, PartialEq)]
pub struct Notify {
    /// The mail to the new user.
    pub user: Option<Letter>,
    /// The mail to the direct manager, and to which.
    pub manager: Option<(Audience, Letter)>,
    /// Endpoints by their name in the service's configuration.
    pub webhooks: Vec<String>,
    /// Also about accounts that are made during the first import. Whoever was found there is never told.
    pub first_import: bool,
    /// How long what does not get through is tried again.
    pub retry: Retry,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            user: None,
            manager: None,
            webhooks: Vec::new(),
            first_import: false,
            retry: Self::RETRY,
        }
    }
}

impl Notify {
    /// What does not get through is tried again for three days: a weekend without anybody at the mail server.
    pub const RETRY: Retry = Retry {
        base: Duration::from_secs(30),
        max: Duration::from_secs(3600),
        give_up_after: Duration::from_secs(72 * 3600),
        // A failing server is left alone by its channel, not by the circuit of the target.
        halt_at: u32::MAX,
        halt_of: u32::MAX,
    };

    /// Whether a mail server is needed.
    #[must_use]
    pub fn mails(&self) -> bool {
        self.user.is_some() || self.manager.is_some()
    }

    /// Whether it has to be known who reports to whom.
    #[must_use]
    pub fn looks_at_teams(&self) -> bool {
        matches!(self.manager, Some((Audience::RecordedTeams, _)))
    }

    /// Whether this is still wanted: the policy may have changed since it was owed.
    #[must_use]
    pub fn wants(&self, kind: &NoticeKind) -> bool {
        match kind {
            NoticeKind::NewUser => self.user.is_some(),
            NoticeKind::Manager { .. } => self.manager.is_some(),
            NoticeKind::Webhook { endpoint } => self.webhooks.contains(endpoint),
            // Asked for by an operator, not by the policy.
            NoticeKind::Invite { .. } => true,
        }
    }
}

/// Who is to be told of an account that is about to be made for this person. `recorded` says of a manager whether data of
/// their team is captured.
#[must_use]
pub fn on_create(notify: &Notify, user: &User, recorded: impl Fn(&UserKey) -> bool) -> Vec<NoticeKind> {
    let mut kinds = Vec::new();
    kinds.extend(notify.user.as_ref().map(|_| NoticeKind::NewUser));
    let key = user.key();
    let manager = user.manager_id.value().map(|id| UserKey::new(key.org, *id));
    // Some are their own manager at the source.
    if let (Some((audience, _)), Some(manager)) = (&notify.manager, manager.filter(|manager| *manager != key))
        && (*audience == Audience::Always || recorded(&manager))
    {
        kinds.push(NoticeKind::Manager { manager });
    }
    kinds.extend(notify.webhooks.iter().map(|endpoint| NoticeKind::Webhook {
        endpoint: endpoint.clone(),
    }));
    kinds
}

/// Whether an assignment has data of this person captured: one of its settings that are marked `capture: true` is on.
/// What is unknown is not taken to be on.
#[must_use]
pub fn captures(assignment: &Assignment, user: &User, target: &TargetPolicy) -> bool {
    assignment
        .rows
        .iter()
        .filter(|row| assignment.capture.contains(&row.path))
        .filter_map(|row| value_of(user, row, target))
        .any(|value| is_on(&value))
}

fn is_on(value: &Value) -> bool {
    match value {
        Value::Bool(on) => *on,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => {
            let word = text.trim().to_lowercase();
            !matches!(word.as_str(), "" | "false" | "off" | "no" | "none" | "0")
        }
        other => !is_blank(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use usher_contract::Known;

    use super::{super::bundled, *};
    use crate::logic::testing::{person, user_key};

    #[test]
    fn who_is_told_of_a_new_account() {
        let (user, manager) = bundled();
        let nobody = Notify::default();
        let user_only = Notify {
            user: Some(user.clone()),
            ..nobody.clone()
        };
        let always = Notify {
            manager: Some((Audience::Always, manager.clone())),
            ..nobody.clone()
        };
        let recorded = Notify {
            manager: Some((Audience::RecordedTeams, manager)),
            ..nobody.clone()
        };
        let hooks = Notify {
            webhooks: vec!["hr".into(), "it".into()],
            ..nobody.clone()
        };
        // reports to: nobody (known), nobody knows, themselves, person 2
        let reports = [Known::Empty, Known::Unknown, Known::Value(1), Known::Value(2)];
        for (notify, expected) in [
            (&nobody, ["", "", "", ""]),
            (&user_only, ["mail-user", "mail-user", "mail-user", "mail-user"]),
            (&always, ["", "", "", "mail-manager"]),
            (&recorded, ["", "", "", "mail-manager"]),
            (&hooks, ["webhook webhook"; 4]),
        ] {
            for (manager, expected) in reports.iter().zip(expected) {
                let mut someone = person(1).user;
                someone.manager_id = match manager {
                    Known::Unknown => Known::Unknown,
                    Known::Empty => Known::Empty,
                    Known::Value(n) => Known::Value(user_key(*n).user),
                };
                let told = |is_recorded: bool| -> String {
                    let kinds = on_create(notify, &someone, |_| is_recorded);
                    kinds.iter().map(NoticeKind::as_str).collect::<Vec<_>>().join(" ")
                };
                assert_eq!(told(true), expected, "{notify:?} {manager:?}");
                let without = if notify.looks_at_teams() { "" } else { expected };
                assert_eq!(
                    told(false),
                    without,
                    "a team that is not recorded: {notify:?} {manager:?}"
                );
            }
        }
    }

    #[test]
    fn a_capture_setting_counts_when_it_is_on() {
        for (value, on) in [
            (json!(true), true),
            (json!(false), false),
            (json!("on"), true),
            (json!(" Off "), false),
            (json!("none"), false),
            (json!(""), false),
            (json!(1), true),
            (json!(0), false),
            (json!(null), false),
            (json!(["calls"]), true),
            (json!([]), false),
        ] {
            assert_eq!(is_on(&value), on, "{value}");
        }
    }
}
