//! A target's policy in the form that the rules use: checked, merged, nothing left to look up.
//!
//! How it is read from files is in `crate::policy`; the meaning of each rule is in the file of the rule.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;
use usher_contract::{OrgId, StateHash, TargetName};

use super::{
    account::AttributePath,
    assignments::{Assignment, SettingPlace, remember},
    groups::rules::GroupRules,
    guard::Guard,
    notification::Notify,
    read_back::ReadBack,
    scope::Scope,
    source::SourceField,
    target_record::TargetRecord,
    template::Template,
    termination::Termination,
};

/// How far a target is switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Nothing happens; the lane does not run.
    Off,
    /// Plans and reports, asks and writes nothing.
    Observe,
    /// Looks people up and links their accounts; writes nothing at the target.
    Link,
    /// Plans and writes.
    Enforce,
}

impl Mode {
    /// The word of the policy file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Observe => "observe",
            Self::Link => "link",
            Self::Enforce => "enforce",
        }
    }
}

/// What may be done at the target. What is off is reported, not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one switch per verb, as in the policy file"
)]
pub struct Features {
    /// Make accounts.
    pub create: bool,
    /// Write attributes of accounts.
    pub update: bool,
    /// Switch accounts off.
    pub deactivate: bool,
    /// Switch accounts on again.
    pub reactivate: bool,
    /// Delete accounts for good, a time after they were switched off.
    pub delete: bool,
    /// Have the target send its own activation or password-reset mail, when an operator asks.
    pub invite: bool,
}

/// What a person must have to be created or adopted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Gate {
    /// Fields that must not be blank.
    pub require: Vec<SourceField>,
    /// Domains of the e-mail address that are accepted, lower case; empty = every domain.
    pub domains: Vec<String>,
    /// The domain that every e-mail address is given before anything looks at it; `None`: addresses stay as they are.
    pub convert_to: Option<String>,
}

/// An attribute by which accounts that exist are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MatchKey {
    /// Our key at the target. Always the first.
    ExternalId,
    /// The log-in name.
    UserName,
    /// The work e-mail address.
    Email,
}

/// Which account is a person's.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// Attributes to look by, in order.
    pub by: Vec<MatchKey>,
    /// The field that tells that two user records are one person (an employee number): then the account moves to the new
    /// record when the old one has left.
    pub person: Option<SourceField>,
    /// Whether an account that is switched off may be adopted for an active person.
    pub adopt_inactive: bool,
    /// Whether the first sync waits for an operator after its report.
    pub approve_first_sync: bool,
    /// Whether the target stores our key: then an account without it was not made by us.
    pub keeps_external_ids: bool,
}

/// When an attribute is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// Whenever it differs.
    Always,
    /// Once, with the new account.
    OnCreate,
}

/// What a blank source means for an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenBlank {
    /// The target's value stays.
    Keep,
    /// The target's value is cleared.
    Clear,
    /// The person is left as is, and that is reported.
    Skip,
}

/// Where an attribute's value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueSource {
    /// Primary, secondary, ...: the first that is not blank.
    From(Vec<SourceField>),
    /// The same for everybody.
    Constant(Value),
    /// A text over fields.
    Template(Template),
}

/// What other words a target has for values of the source.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ValueMap {
    /// Source value, lower case -> value at the target. Empty: values are taken as they are.
    pub values: BTreeMap<String, Value>,
    /// For whatever is not in the map, and for blank sources; without it both count as blank.
    pub default: Option<Value>,
}

/// One row of the mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct AttributeRule {
    /// Where the row stands, `file:line`; `preset` for rows that no file has touched.
    pub row: String,
    /// The attribute at the target.
    pub path: AttributePath,
    /// Its source.
    pub source: ValueSource,
    /// Other words for its values.
    pub values: ValueMap,
    /// When it is written.
    pub write: Write,
    /// What a blank source means.
    pub when_blank: WhenBlank,
    /// What the target holds there.
    pub kind: ValueKind,
}

/// What an attribute of the target holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ValueKind {
    /// Not known: values are written as they are.
    #[default]
    Any,
    /// A text.
    Text,
    /// True or false.
    Boolean,
}

impl ValueKind {
    /// The value as the target holds it; `None` when there is no such value.
    #[must_use]
    pub fn fit(self, value: Value) -> Option<Value> {
        match (self, value) {
            (Self::Text, Value::Number(number)) => Some(Value::String(number.to_string())),
            (Self::Text, Value::Bool(flag)) => Some(Value::String(flag.to_string())),
            (Self::Boolean, Value::String(text)) => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" => Some(Value::Bool(true)),
                "false" | "0" | "no" => Some(Value::Bool(false)),
                _ => None,
            },
            (Self::Boolean, Value::Number(number)) => match number.as_i64() {
                Some(1) => Some(Value::Bool(true)),
                Some(0) => Some(Value::Bool(false)),
                _ => None,
            },
            (_, value) => Some(value),
        }
    }
}

/// What becomes of the account of somebody who is no longer to have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It is switched off.
    Deactivate,
    /// It stays as it is.
    Keep,
}

/// The disposition per cause.
#[derive(Debug, Clone, PartialEq)]
pub struct Lifecycle {
    /// Gone from the source or outside the population.
    pub removed: Disposition,
    /// `active` is false.
    pub inactive: Disposition,
    /// The termination date has come.
    pub terminated: Disposition,
    /// How that date is read; `None`: there is none.
    pub termination: Option<Termination>,
    /// So long after an account was switched off by us it is deleted; `None`: never.
    pub delete_after: Option<Duration>,
    /// Log-in frozen.
    pub frozen: Disposition,
    /// Missing from the last complete report.
    pub unlisted: Disposition,
    /// Not of those for whom the target is, by filter or skip rule.
    pub out_of_scope: Disposition,
}

/// How fast the target may be asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Operations started per second.
    pub per_second: f64,
    /// Requests per day (UTC); no limit when absent.
    pub per_day: Option<u64>,
    /// Of the day, per hundred: kept for people who leave.
    pub leaver_reserve_percent: u64,
    /// Operations at the same time.
    pub concurrency: usize,
}

/// What a look at the whole target does about differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriftMode {
    /// Tells them.
    Report,
    /// Has them written again, through plan and guard.
    Repair,
}

/// The scheduled look at the whole target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drift {
    /// How often.
    pub every: Duration,
    /// What is done about differences.
    pub mode: DriftMode,
}

/// How long a person is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Ceiling of the first delay; doubles per attempt.
    pub base: Duration,
    /// Ceiling of every delay.
    pub max: Duration,
    /// After so long without success the person is parked as rejected.
    pub give_up_after: Duration,
    /// So many failures (5xx, time-outs, broken connections) ...
    pub halt_at: u32,
    /// ... among so many answers, at most 64, whoever they concern: the application as a whole is taken to be sick.
    pub halt_of: u32,
}

/// Everything that decides about one target.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetPolicy {
    /// The target.
    pub name: TargetName,
    /// The name that it had: what is known under that one is taken over.
    pub formerly: Option<TargetName>,
    /// How far it is switched on.
    pub mode: Mode,
    /// Whose people.
    pub sources: BTreeSet<OrgId>,
    /// Who of them belongs.
    pub scope: Scope,
    /// What may be done.
    pub features: Features,
    /// What a person must have.
    pub gate: Gate,
    /// Which account is whose.
    pub matching: Match,
    /// Accounts that are never written, by user name, e-mail address or the target's id; lower case.
    pub protected: BTreeSet<String>,
    /// Attributes whose written values outcomes carry.
    pub recorded: BTreeSet<AttributePath>,
    /// The mapping, ordered by path.
    pub attributes: Vec<AttributeRule>,
    /// Whether links hold the values themselves: a list that is written whole is made of them.
    pub keeps_values: bool,
    /// Attributes that the application takes and never shows: nothing follows from their absence.
    pub unshown: BTreeSet<AttributePath>,
    /// Attributes that no account can be without: they are never taken back.
    pub needed: Vec<AttributePath>,
    /// Who gets which settings, uppermost first; empty: the target has none.
    pub assignments: Vec<Assignment>,
    /// Where settings of this target are written that managers decide about.
    pub managers_at: Vec<SettingPlace>,
    /// In which groups people are to be; `None`: groups are not our business.
    pub groups: Option<GroupRules>,
    /// In which groups people would be, where `features.groups` is off: said, not done.
    pub groups_off: Option<GroupRules>,
    /// What becomes of leavers.
    pub lifecycle: Lifecycle,
    /// How much at once.
    pub guard: Guard,
    /// How fast.
    pub pace: Pace,
    /// How long.
    pub retry: Retry,
    /// How often everybody is planned again.
    pub reconcile: Duration,
    /// The look at the whole target; `None` when it is switched off.
    pub drift: Option<Drift>,
    /// The interface by which that look is taken, when it is not the one that is written to.
    pub read_back: Option<ReadBack>,
    /// Who is told of new accounts.
    pub notify: Notify,
    /// Which application this is: hash of its address and tenant. Another one voids every link.
    pub tenant: StateHash,
    /// The same with the address as it is written: what records of earlier versions hold.
    pub tenant_as_written: StateHash,
    /// The hash of everything above that a plan depends on.
    pub hash: StateHash,
    /// Since when that is so, as the target's record remembers it.
    pub since: Option<Timestamp>,
    /// The hash of all that the policy says about the target, mode, guard and pace included: outcomes carry it.
    pub unit: StateHash,
}

/// The attribute that holds our key at the target.
pub const EXTERNAL_ID: &str = "externalId";
/// The attribute that switches an account on and off.
pub const ACTIVE: &str = "active";
/// The log-in name at the target; without it no account can be made.
pub const USER_NAME: &str = "userName";
/// The work e-mail address at the target.
pub const WORK_EMAIL: &str = "emails[type eq \"work\"].value";

impl TargetPolicy {
    /// Whether a record speaks of the application that this target is.
    #[must_use]
    pub fn is_tenant(&self, recorded: StateHash) -> bool {
        recorded == self.tenant || recorded == self.tenant_as_written
    }

    /// With what the target's record remembers of it, so that a preview decides as the lane does.
    #[must_use]
    pub fn remembering<'a>(&'a self, record: Option<&TargetRecord>) -> Cow<'a, Self> {
        let matters = !self.assignments.is_empty() || self.lifecycle.termination.is_some();
        match record.filter(|_| matters) {
            None => Cow::Borrowed(self),
            Some(record) => {
                let mut policy = self.clone();
                let seen = record.policy.filter(|seen| seen.hash == self.hash);
                policy.since = seen.map(|seen| seen.since);
                remember(&mut policy.assignments, &record.settings);
                Cow::Owned(policy)
            }
        }
    }

    /// How many managers up the rules look: those of scope, filters of assignments, and rows that take something from the manager.
    #[must_use]
    pub fn managers_read(&self) -> usize {
        let settings = self.assignments.iter().flat_map(|assignment| &assignment.rows);
        let logins = self.scope.access.iter().flat_map(|access| &access.rows);
        let of_manager = |row: &AttributeRule| {
            matches!(&row.source, ValueSource::From(fields)
                if fields.iter().any(|field| matches!(field, SourceField::OfManager(_))))
        };
        let rows = self.attributes.iter().chain(settings).chain(logins).any(of_manager);
        let filters = self
            .assignments
            .iter()
            .filter_map(|assignment| assignment.filter.as_ref());
        let filters = filters.map(|filter| filter.reads().managers).max().unwrap_or(0);
        self.scope.managers().max(filters).max(usize::from(rows))
    }

    /// The paths that a plan compares with what an account holds.
    pub fn paths(&self) -> impl Iterator<Item = &AttributePath> {
        let rows = self.attributes.iter().map(|rule| &rule.path);
        let logins = self.scope.access.iter().flat_map(|access| &access.rows);
        rows.chain(super::assignments::paths(self))
            .chain(logins.map(|row| &row.path))
    }
}

/// Whether an attribute identifies the account: such ones flow to inactive accounts too, or the old name would block
/// its successor.
#[must_use]
pub fn is_identifier(path: &AttributePath) -> bool {
    path.0 == USER_NAME || path.0 == WORK_EMAIL
}
