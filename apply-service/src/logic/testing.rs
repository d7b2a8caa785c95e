//! Builders for the tests of the rules.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use jiff::Timestamp;
use usher_contract::{Cause, ChangeKind, Known, Origin, StateHash, TargetName, User, UserChange, UserKey};
use usher_filter::People;

use super::{
    account::{AttributePath, RemoteId},
    groups::rules::{GroupAbilities, GroupRules, GroupSource},
    guard::Guard,
    matching::Seen,
    notification::Notify,
    plan::Accounts,
    policy::{
        AttributeRule, Disposition, Features, Gate, Lifecycle, Match, MatchKey, Mode, Pace, Retry, TargetPolicy,
        ValueMap, ValueSource, WhenBlank, Write,
    },
    scope::Scope,
    source::SourceField,
    target_record::OwnerId,
};

/// Who runs the lanes of the tests.
pub(crate) const OWNER: OwnerId<'static> = OwnerId {
    address: "test",
    run: "1",
};

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

pub(crate) fn user_key(n: u32) -> UserKey {
    UserKey::new(
        "00D000000000001EAA".parse().unwrap(),
        format!("005{n:012}").parse().unwrap(),
    )
}

/// An active person with everything that the test policy asks for.
pub(crate) fn person(n: u32) -> UserChange {
    let mut user = User::unknown(user_key(n));
    user.username = Known::Value(format!("u{n}@acme.example"));
    user.email = Known::Value(format!("u{n}@acme.example"));
    user.given_name = Known::Value("Ada".into());
    user.family_name = Known::Value(format!("Byron {n}"));
    user.title = Known::Value("AE".into());
    user.active = Known::Value(true);
    let cause = Cause {
        origin: Origin::ChangeEvent,
        committed_at: Some(at(0)),
        observed_at: at(0),
        read_at: None,
        commit_number: None,
        transaction_key: None,
        changed_by: None,
        recorded_at: None,
        approval: None,
    };
    UserChange {
        version: 1,
        kind: ChangeKind::Created,
        changed: vec![],
        before: None,
        user,
        cause,
    }
}

pub(crate) trait Change {
    fn version(self, version: u64) -> Self;
    fn titled(self, title: &str) -> Self;
    fn named(self, username: &str) -> Self;
    fn inactive(self) -> Self;
}
impl Change for UserChange {
    fn version(mut self, version: u64) -> Self {
        self.version = version;
        self
    }
    fn titled(mut self, title: &str) -> Self {
        self.user.title = Known::Value(title.to_owned());
        self
    }
    fn named(mut self, username: &str) -> Self {
        self.user.username = Known::Value(username.to_owned());
        self
    }
    fn inactive(mut self) -> Self {
        self.user.active = Known::Value(false);
        self
    }
}

pub(crate) fn row(path: &str, from: &[&str]) -> AttributeRule {
    AttributeRule {
        row: "test".to_owned(),
        values: ValueMap::default(),
        path: AttributePath(path.to_owned()),
        source: ValueSource::From(from.iter().map(|name| SourceField::named(name).unwrap()).collect()),
        write: Write::Always,
        when_blank: WhenBlank::Clear,
        kind: crate::logic::policy::ValueKind::Any,
    }
}

/// Groups of the source by their own names, made where missing, left where not wanted any more.
pub(crate) fn group_rules() -> GroupRules {
    GroupRules {
        from: vec![GroupSource::Groups],
        map: BTreeMap::new(),
        same_name: true,
        create: true,
        remove_stale: true,
        remove_leavers: false,
        abilities: GroupAbilities {
            create: true,
            rename: true,
            remove: true,
            read: true,
            at_once: 100,
        },
    }
}

pub(crate) fn policy() -> TargetPolicy {
    TargetPolicy {
        name: TargetName::try_new("gong").unwrap(),
        formerly: None,
        mode: Mode::Enforce,
        sources: [user_key(1).org].into(),
        scope: Scope::default(),
        features: Features {
            create: true,
            update: true,
            deactivate: true,
            reactivate: true,
            delete: false,
            invite: false,
        },
        gate: Gate {
            require: vec![SourceField::named("familyName").unwrap()],
            domains: vec![],
            convert_to: None,
        },
        matching: Match {
            by: vec![MatchKey::ExternalId, MatchKey::UserName],
            person: None,
            adopt_inactive: false,
            approve_first_sync: false,
            keeps_external_ids: true,
        },
        recorded: [AttributePath("title".into())].into(),
        keeps_values: false,
        needed: vec![],
        unshown: std::collections::BTreeSet::new(),
        read_back: None,
        protected: std::collections::BTreeSet::new(),
        attributes: vec![
            row("name.familyName", &["familyName"]),
            row("title", &["title"]),
            row("userName", &["username"]),
        ],
        assignments: vec![],
        managers_at: vec![],
        groups: None,
        groups_off: None,
        lifecycle: Lifecycle {
            removed: Disposition::Deactivate,
            inactive: Disposition::Deactivate,
            frozen: Disposition::Keep,
            unlisted: Disposition::Keep,
            out_of_scope: Disposition::Deactivate,
            terminated: Disposition::Deactivate,
            termination: None,
            delete_after: None,
        },
        pace: Pace {
            per_second: 1000.0,
            per_day: None,
            leaver_reserve_percent: 10,
            concurrency: 4,
        },
        retry: Retry {
            base: Duration::from_secs(1),
            max: Duration::from_secs(60),
            give_up_after: Duration::from_secs(3600),
            halt_at: 10,
            halt_of: 20,
        },
        guard: Guard {
            windows: vec![],
            ..Guard::default()
        },
        reconcile: Duration::from_secs(86_400),
        drift: None,
        notify: Notify::default(),
        tenant: StateHash::of_text("https://one.example"),
        tenant_as_written: StateHash::of_text("https://one.example"),
        hash: StateHash::of_text("policy 1"),
        since: None,
        unit: StateHash::of_text("unit 1"),
    }
}

/// An account whose log-in name is that of person `n`.
pub(crate) fn seen(id: &str, n: u32) -> Seen {
    Seen {
        id: RemoteId(id.to_owned()),
        external_id: None,
        user_name: Some(format!("u{n}@acme.example")),
        active: Some(true),
        values: BTreeMap::new(),
        onboarding: None,
    }
}

/// The newest states of people, as rules look at them.
#[derive(Debug, Default)]
pub(crate) struct Table(Mutex<BTreeMap<UserKey, User>>);

impl Table {
    pub(crate) fn put(&self, user: User) {
        self.0.lock().unwrap().insert(user.key(), user);
    }
}

impl People for Table {
    fn look(&self, key: UserKey, then: &mut dyn FnMut(&User)) {
        let found = self.0.lock().unwrap().get(&key).cloned();
        if let Some(user) = found {
            then(&user);
        }
    }
}

/// A target at which nobody has an account.
pub(crate) struct Nobody;
impl Accounts for Nobody {
    fn holder(&self, _: &RemoteId) -> Option<UserKey> {
        None
    }
    fn account_of(&self, _: &UserKey) -> Option<RemoteId> {
        None
    }
}

/// One account is held by one person.
pub(crate) struct Held(pub(crate) &'static str, pub(crate) UserKey);
impl Accounts for Held {
    fn holder(&self, account: &RemoteId) -> Option<UserKey> {
        (account.0 == self.0).then_some(self.1)
    }
    fn account_of(&self, user: &UserKey) -> Option<RemoteId> {
        (*user == self.1).then(|| RemoteId(self.0.to_owned()))
    }
}
