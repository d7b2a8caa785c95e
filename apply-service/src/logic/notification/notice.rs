//! The record of one notice within a link, and of how far a new user is in.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use usher_contract::{StateHash, TargetName, UserKey};

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum NoticeKind {
    /// The new user, by mail.
    NewUser,
    /// The direct manager that the new user had then, by mail.
    Manager {
        /// Who that is.
        manager: UserKey,
    },
    /// An endpoint of the service's configuration.
    Webhook {
        /// Its name.
        endpoint: String,
    },
    /// The user, by the target's own activation or password-reset mail: an operator wants it.
    Invite {
        /// Who.
        actor: String,
    },
}

/// What notices share: when one does not get through, the others of its channel wait as well.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// The mail server.
    Mail,
    /// An endpoint.
    Webhook(String),
    /// The target itself, which has its own circuit.
    Target,
}

impl NoticeKind {
    /// The word of outcomes and of ids. Fixed for ever: ids are made of it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NewUser => "mail-user",
            Self::Manager { .. } => "mail-manager",
            Self::Webhook { .. } => "webhook",
            Self::Invite { .. } => "invite",
        }
    }

    /// The action of its outcomes: `notify`, or `invite`, which is something done at the target.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Self::NewUser | Self::Manager { .. } | Self::Webhook { .. } => "notify",
            Self::Invite { .. } => "invite",
        }
    }

    /// What it goes through.
    #[must_use]
    pub fn channel(&self) -> Channel {
        match self {
            Self::NewUser | Self::Manager { .. } => Channel::Mail,
            Self::Webhook { endpoint } => Channel::Webhook(endpoint.clone()),
            Self::Invite { .. } => Channel::Target,
        }
    }

    /// Whether both tell the same addressee. A manager is one addressee, whoever it is: a user's account is announced
    /// to one manager once.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Webhook { endpoint: one }, Self::Webhook { endpoint: other }) => one == other,
            _ => self.as_str() == other.as_str(),
        }
    }

    /// In words, for outcomes. No names: managers by their key.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Self::NewUser => "mail to the new user".to_owned(),
            Self::Manager { manager } => format!("mail to the direct manager {manager}"),
            Self::Webhook { endpoint } => format!("webhook {endpoint}"),
            Self::Invite { .. } => "the target's own activation or password-reset mail".to_owned(),
        }
    }
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum NoticeState {
    /// An account is about to be made: becomes owed with it, also when the answer is lost and the account found later.
    Intended,
    /// To be sent.
    Owed {
        /// Since when.
        since: Timestamp,
        /// How often it failed.
        attempts: u32,
        /// Not before.
        next_try: Timestamp,
        /// Stable code of the last failure.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
    /// Taken by the mail server, the endpoint, the target.
    Sent {
        /// When.
        at: Timestamp,
    },
    /// Refused, or given up after its time. `redrive` owes it again.
    Failed {
        /// When.
        at: Timestamp,
        /// Stable code.
        code: String,
    },
}

/// One notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// Deterministic: the Message-ID and the `webhook-id` are made of it, so a repetition is recognized as one.
    pub id: String,
    /// Who is told.
    #[serde(flatten)]
    pub kind: NoticeKind,
    /// When what it tells of happened, or was intended.
    pub at: Timestamp,
    /// How far it is.
    pub state: NoticeState,
}

impl Notice {
    /// Owed from now on.
    #[must_use]
    pub fn owed(kind: NoticeKind, id: String, now: Timestamp) -> Self {
        Self {
            id,
            kind,
            at: now,
            state: owed(now),
        }
    }
    /// To be owed once the account is there.
    #[must_use]
    pub fn intended(kind: NoticeKind, id: String, now: Timestamp) -> Self {
        Self {
            id,
            kind,
            at: now,
            state: NoticeState::Intended,
        }
    }
    /// Owes it (again).
    pub fn owe(&mut self, now: Timestamp) {
        self.state = owed(now);
    }
    /// When it is to be tried; `None` when it is not owed.
    #[must_use]
    pub fn next_try(&self) -> Option<Timestamp> {
        match self.state {
            NoticeState::Owed { next_try, .. } => Some(next_try),
            NoticeState::Intended | NoticeState::Sent { .. } | NoticeState::Failed { .. } => None,
        }
    }
}

fn owed(now: Timestamp) -> NoticeState {
    NoticeState::Owed {
        since: now,
        attempts: 0,
        next_try: now,
        code: None,
    }
}

/// The id of a notice: of whose link it is, whom it tells, and what it is about.
#[must_use]
pub fn notice_id(target: &TargetName, user: &UserKey, kind: &NoticeKind, cause: &str) -> String {
    let addressee = match kind {
        NoticeKind::Webhook { endpoint } => endpoint.as_str(),
        NoticeKind::NewUser | NoticeKind::Manager { .. } | NoticeKind::Invite { .. } => "",
    };
    StateHash::of_text(&format!("{target}/{user}/{}/{addressee}/{cause}", kind.as_str())).to_string()
}

/// How far somebody is in, as the target says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Onboarding {
    /// Was sent an invitation and has not followed it yet.
    Invited,
    /// Has followed it: chose a password, logged in.
    Activated,
}

impl Onboarding {
    /// The word of status and description.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invited => "invited",
            Self::Activated => "activated",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::testing::{at, user_key};

    fn kinds() -> [NoticeKind; 4] {
        [
            NoticeKind::NewUser,
            NoticeKind::Manager { manager: user_key(9) },
            NoticeKind::Webhook { endpoint: "hr".into() },
            NoticeKind::Invite { actor: "ada".into() },
        ]
    }

    #[test]
    fn a_notice_is_read_back_as_written() {
        for kind in kinds() {
            for state in [
                NoticeState::Intended,
                NoticeState::Owed {
                    since: at(1),
                    attempts: 3,
                    next_try: at(9),
                    code: Some("smtp-451".into()),
                },
                NoticeState::Sent { at: at(2) },
                NoticeState::Failed {
                    at: at(3),
                    code: "smtp-550".into(),
                },
            ] {
                let notice = Notice {
                    id: "i".into(),
                    kind: kind.clone(),
                    at: at(1),
                    state,
                };
                let text = serde_json::to_string(&notice).unwrap();
                assert_eq!(serde_json::from_str::<Notice>(&text).unwrap(), notice, "{text}");
            }
        }
    }

    #[test]
    fn an_id_is_the_same_for_a_repetition_and_another_for_everything_else() {
        let gong = TargetName::try_new("gong").unwrap();
        let other = TargetName::try_new("gon").unwrap();
        let id = |target: &TargetName, n, kind: &NoticeKind, cause: &str| notice_id(target, &user_key(n), kind, cause);
        let [user, manager, webhook, invite] = kinds();
        assert_eq!(id(&gong, 1, &user, "create/1"), id(&gong, 1, &user, "create/1"));
        let all = [
            id(&gong, 1, &user, "create/1"),
            id(&other, 1, &user, "create/1"),
            id(&gong, 2, &user, "create/1"),
            id(&gong, 1, &manager, "create/1"),
            id(&gong, 1, &webhook, "create/1"),
            id(&gong, 1, &NoticeKind::Webhook { endpoint: "it".into() }, "create/1"),
            id(&gong, 1, &invite, "create/1"),
            id(&gong, 1, &user, "create/2"),
        ];
        let different: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        // Whoever reports to somebody else by now is still announced once.
        let moved = NoticeKind::Manager { manager: user_key(8) };
        assert_eq!(id(&gong, 1, &manager, "c"), id(&gong, 1, &moved, "c"));
        assert!(manager.is_same(&moved) && !user.is_same(&manager));
    }
}
