//! Who belongs to a target: people of the organizations it lists for whom its filter holds and none of its skip rules does.
//!
//! Three-valued: a field that would decide and is unknown leaves it open, and nothing is written. A rule that decides
//! whatever the unknown field holds, decides.

use std::{fmt, sync::Arc};

use jiff::{Timestamp, civil::Weekday, tz::TimeZone};
use usher_contract::{Known, RecordId, User, UserKey};
use usher_filter::{Clock, Filter, People, Truth};

use super::{
    groups::rules::folded,
    policy::{AttributeRule, TargetPolicy},
};

/// Whether a person is of an organization that the target lists. A sandbox org never reaches a target that does not.
#[must_use]
pub fn in_sources(user: &User, target: &TargetPolicy) -> bool {
    target.sources.contains(&user.org_id)
}

/// The rules of one target.
#[derive(Debug, Clone, PartialEq)]
pub struct Scope {
    /// Who belongs; `None` for everybody.
    pub filter: Option<Filter>,
    /// Who does not, although the filter holds: import rules.
    pub skip: Vec<Filter>,
    /// Groups of the source that let somebody in, uppermost first; empty: groups do not decide.
    pub access: Vec<Access>,
    /// Where *today* is.
    pub zone: TimeZone,
    /// The first day of a week.
    pub week_starts: Weekday,
    /// The first month of a fiscal year.
    pub fiscal_year_starts: i8,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            filter: None,
            skip: Vec::new(),
            access: Vec::new(),
            zone: TimeZone::UTC,
            week_starts: Weekday::Sunday,
            fiscal_year_starts: 1,
        }
    }
}

/// A group of the source whose members belong: joining it provisions, leaving it is leaving the scope.
#[derive(Debug, Clone, PartialEq)]
pub struct Access {
    /// Its name, for people.
    pub name: String,
    /// The group, by name or id.
    pub group: String,
    /// How its members log in, where that matters to the application.
    pub login: Option<String>,
    /// Who is in the group.
    pub members: Members,
    /// What is written for its members.
    pub rows: Vec<AttributeRule>,
}

/// Who is in a public group, directly or through what is nested in it: as `groups` counts them. A filter over GroupMember
/// is about rows of that table, which are direct memberships alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Members {
    /// Of the group with this id.
    OfId(RecordId),
    /// Of every group with this name, whatever its case.
    OfName(String),
}

impl Members {
    /// Of the group that somebody writes by its name or its id.
    #[must_use]
    pub fn of(group: &str) -> Self {
        match RecordId::try_new(group) {
            Ok(id) if group.starts_with("00G") => Self::OfId(id),
            _ => Self::OfName(folded(group)),
        }
    }

    /// Whether somebody is; `None` when the groups, or the name of one that it might be, are unknown.
    #[must_use]
    pub fn has(&self, user: &User) -> Option<bool> {
        let groups = match &user.groups {
            Known::Unknown => return None,
            Known::Empty => return Some(false),
            Known::Value(groups) => groups,
        };
        let mut open = false;
        for group in groups {
            let is = match (self, &group.name) {
                (Self::OfId(id), _) => group.id == *id,
                (Self::OfName(name), Known::Value(own)) => folded(own) == *name,
                (Self::OfName(_), Known::Empty) => false,
                (Self::OfName(_), Known::Unknown) => {
                    open = true;
                    false
                }
            };
            if is {
                return Some(true);
            }
        }
        (!open).then_some(false)
    }
}

impl Access {
    /// In words.
    #[must_use]
    pub fn in_words(&self) -> String {
        let login = self
            .login
            .as_ref()
            .map_or_else(String::new, |login| format!(", login by {login}"));
        format!("access policy {} of group {}{login}", self.name, self.group)
    }
}

/// Whether somebody belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Belonging {
    /// They do.
    In,
    /// They do not, for this reason.
    Out(String),
    /// These fields would decide and are unknown.
    Unknown(Vec<String>),
}

impl Scope {
    /// Judges somebody, and says when time alone may change the answer.
    #[must_use]
    pub fn judge(&self, user: &User, people: &dyn People, now: Timestamp) -> (Belonging, Option<Timestamp>) {
        if self.filter.is_none() && self.skip.is_empty() && self.access.is_empty() {
            return (Belonging::In, None);
        }
        let clock = self.clock(now);
        let rules = || self.filter.iter().chain(&self.skip);
        let next = rules().filter_map(|rule| rule.next_change(user, people, &clock)).min();
        (self.belonging(user, people, &clock), next)
    }

    /// The clock of this target's rules.
    #[must_use]
    pub fn clock(&self, now: Timestamp) -> Clock {
        Clock::new(now, self.zone.clone())
            .week_starting(self.week_starts)
            .fiscal_year_starting(self.fiscal_year_starts)
    }

    fn belonging(&self, user: &User, people: &dyn People, clock: &Clock) -> Belonging {
        let mut unknown: Vec<String> = Vec::new();
        let mut open = |rule: &Filter| {
            for name in rule.unknowns(user, people, clock) {
                if !unknown.iter().any(|known| known == name) {
                    unknown.push(name.to_owned());
                }
            }
        };
        if let Some(filter) = &self.filter {
            match filter.evaluate(user, people, clock) {
                Truth::True => {}
                Truth::False => return Belonging::Out("scope.filter does not hold".to_owned()),
                Truth::Unknown(_) => open(filter),
            }
        }
        for rule in &self.skip {
            match rule.evaluate(user, people, clock) {
                Truth::True => return Belonging::Out(format!("scope.skip says so: {rule}")),
                Truth::False => {}
                Truth::Unknown(_) => open(rule),
            }
        }
        if !self.access.is_empty() {
            let mut open = Vec::new();
            let mut lets_in = false;
            for access in &self.access {
                match access.members.has(user) {
                    Some(is) => lets_in |= is,
                    None => open.push("groups"),
                }
            }
            if !lets_in && open.is_empty() {
                let groups: Vec<&str> = self.access.iter().map(|access| access.group.as_str()).collect();
                return Belonging::Out(format!("in none of the groups of access: {}", groups.join(", ")));
            }
            for name in open.into_iter().filter(|_| !lets_in) {
                if !unknown.iter().any(|known| known == name) {
                    unknown.push(name.to_owned());
                }
            }
        }
        if unknown.is_empty() {
            Belonging::In
        } else {
            Belonging::Unknown(unknown)
        }
    }

    /// The uppermost access policy that lets somebody in. Of one who belongs: another one above it that is unknown waits
    /// until it is known.
    #[must_use]
    pub fn access_of(&self, user: &User) -> Option<&Access> {
        let mut lets_in = self.access.iter();
        lets_in.find(|access| access.members.has(user) == Some(true))
    }

    /// How many managers up the rules look: whoever they are to somebody, their changes concern that person.
    #[must_use]
    pub fn managers(&self) -> usize {
        let rules = self.filter.iter().chain(&self.skip);
        rules.map(|rule| rule.reads().managers).max().unwrap_or(0)
    }
}

/// The table of people, as the rules see it.
#[derive(Clone)]
pub struct Everybody(Arc<dyn People + Send + Sync>);

impl Everybody {
    /// This table.
    #[must_use]
    pub fn new(people: Arc<dyn People + Send + Sync>) -> Self {
        Self(people)
    }
}

impl Default for Everybody {
    /// Nobody is known.
    fn default() -> Self {
        Self(Arc::new(()))
    }
}
impl People for Everybody {
    fn look(&self, key: UserKey, then: &mut dyn FnMut(&User)) {
        self.0.look(key, then);
    }
}
impl fmt::Debug for Everybody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Everybody")
    }
}

#[cfg(test)]
mod tests {
    use usher_contract::Known;
    use usher_filter::Fields;

    use super::*;
    use crate::logic::testing::{at, person};

    fn scope(filter: &str, skip: &[&str]) -> Scope {
        let parse = |text: &str| Filter::parse(text, &Fields::default()).unwrap();
        Scope {
            filter: (filter != "all").then(|| parse(filter)),
            skip: skip.iter().map(|text| parse(text)).collect(),
            ..Scope::default()
        }
    }

    #[test]
    fn the_filter_and_every_skip_rule_decide() {
        let mut user = person(1).user;
        user.department = Known::Value("Sales".to_owned());
        user.company = Known::Empty;
        let out = |reason: &str| Belonging::Out(reason.to_owned());
        let open = |fields: &[&str]| Belonging::Unknown(fields.iter().map(|field| (*field).to_owned()).collect());
        for (filter, skip, expected) in [
            ("all", &[][..], Belonging::In),
            ("Department = 'sales'", &[], Belonging::In),
            ("Department = 'IT'", &[], out("scope.filter does not hold")),
            ("Phone = '1'", &[], open(&["phone"])),
            ("all", &["Title = 'AE'"], out("scope.skip says so: Title = 'AE'")),
            ("all", &["Title = 'x'", "CompanyName LIKE '%Sky%'"], Belonging::In),
            (
                "Department = 'Sales'",
                &["Phone = '1'", "Division = 'x'"],
                open(&["phone", "division"]),
            ),
            ("Phone = '1'", &["Phone != '1'"], open(&["phone"])),
            // One rule that holds is enough, whatever is unknown.
            (
                "Phone = '1'",
                &["Title = 'AE'"],
                out("scope.skip says so: Title = 'AE'"),
            ),
            ("Department = 'IT'", &["Phone = '1'"], out("scope.filter does not hold")),
            ("Manager.Email = 'x'", &[], open(&["managerId"])),
        ] {
            let (found, next) = scope(filter, skip).judge(&user, &(), at(0));
            assert_eq!((found, next), (expected, None), "{filter} {skip:?}");
        }
    }

    #[test]
    fn the_nearest_change_of_any_rule_counts() {
        let mut user = person(1).user;
        user.termination_date = Known::Value("2027-01-20".parse().unwrap());
        // The tests' time is 15 January 2027, eight in the morning.
        let (_, next) = scope("terminationDate > TODAY", &["terminationDate = N_DAYS_AGO:1"]).judge(&user, &(), at(0));
        assert_eq!(next, Some("2027-01-20T00:00:00Z".parse().unwrap()));
        let (_, never) = scope("terminationDate < TODAY", &[]).judge(&person(1).user, &(), at(0));
        assert_eq!(never, None);
    }

    #[test]
    fn rules_say_how_far_up_they_look() {
        assert_eq!(scope("all", &[]).managers(), 0);
        assert_eq!(
            scope("Title = 'x'", &["Manager.Manager.Title = 'y'", "Manager.Title = 'x'"]).managers(),
            2
        );
    }
}
