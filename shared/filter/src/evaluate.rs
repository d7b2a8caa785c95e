//! The compiled filter and what it says about a person.
//!
//! Two kinds of "not there" are kept apart. *Null* is a value: SOQL says for each comparison what it gives. *Unknown* is
//! no value: nothing is guessed, and where it would decide, the answer is [`Truth::Unknown`] (Kleene's three values).
//!
//! `NOT` stands at the comparisons only: it was moved there when the filter was checked.

use jiff::{Timestamp, civil::Date};
use usher_contract::{Known, User, UserId, UserKey};

use crate::{
    days::{self, Clock, Named},
    fields::{LEVELS_MAX, Nulls, Operand, Value},
    syntax::Operator,
    text::{Pattern, equals, is_among},
};

/// Whether a filter holds for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth<'f> {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// This field would decide, and it is unknown.
    Unknown(&'f str),
}

impl Truth<'_> {
    fn of(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// The other people: whose manager is asked for.
pub trait People {
    /// Calls `then` with the newest state of this person, and does not call it when nothing is known of such a person.
    fn look(&self, key: UserKey, then: &mut dyn FnMut(&User));
}

/// Nobody else is known.
impl People for () {
    fn look(&self, _key: UserKey, _then: &mut dyn FnMut(&User)) {}
}

/// Names of what is missing when a manager is asked for and cannot be.
const MANAGER_ID: [&str; LEVELS_MAX] = [
    "managerId",
    "manager.managerId",
    "manager.manager.managerId",
    "manager.manager.manager.managerId",
    "manager.manager.manager.manager.managerId",
];
const MANAGER: [&str; LEVELS_MAX] = [
    "manager",
    "manager.manager",
    "manager.manager.manager",
    "manager.manager.manager.manager",
    "manager.manager.manager.manager.manager",
];

/// A condition without NOT.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    All(Box<[Node]>),
    Any(Box<[Node]>),
    Term(Box<Term>),
    Member(Box<Member>),
}

/// One comparison.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Term {
    pub(crate) operand: Operand,
    pub(crate) test: Test,
    pub(crate) negated: bool,
}

/// What is asked of a value. All texts are folded, all lists sorted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test {
    Null,
    Flag(bool),
    /// One of these; whether null is one of them.
    Texts(Box<[Box<str>]>, bool),
    Like(Pattern),
    /// Exactly one of these ids of 18 characters; whether null is one of them.
    Ids(Box<[Box<str>]>, bool),
    Number(Operator, f64),
    Numbers(Box<[f64]>, bool),
    Date(Operator, Date),
    Dates(Box<[Date]>, bool),
    Moment(Operator, Timestamp),
    Moments(Box<[Timestamp]>, bool),
    Named(Operator, Named),
    /// Any of these sets of which all are selected.
    Includes(Box<[Box<[Box<str>]>]>),
}

/// A semi-join over one of the person's lists.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) list: List,
    pub(crate) condition: Entry,
    pub(crate) negated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    PermissionSets,
    Groups,
}

impl List {
    /// Our name of the list.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PermissionSets => "permissionSets",
            Self::Groups => "groups",
        }
    }
}

/// What is asked of one entry of a list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Entry {
    All(Box<[Entry]>),
    Any(Box<[Entry]>),
    Id(Box<[Box<str>]>),
    Name(Box<[Box<str>]>),
    NameLike(Pattern),
}

/// What an evaluation needs beside the person.
pub(crate) struct Asked<'e, P: People + ?Sized> {
    pub(crate) people: &'e P,
    pub(crate) clock: &'e Clock,
    pub(crate) nulls: Nulls,
}

impl Node {
    pub(crate) fn holds<'f, P: People + ?Sized>(&'f self, user: &User, asked: &Asked<'_, P>) -> Truth<'f> {
        match self {
            Self::All(parts) => {
                let mut all = Truth::True;
                for part in parts {
                    match part.holds(user, asked) {
                        Truth::False => return Truth::False,
                        unknown @ Truth::Unknown(_) if all == Truth::True => all = unknown,
                        _ => {}
                    }
                }
                all
            }
            Self::Any(parts) => {
                let mut any = Truth::False;
                for part in parts {
                    match part.holds(user, asked) {
                        Truth::True => return Truth::True,
                        unknown @ Truth::Unknown(_) if any == Truth::False => any = unknown,
                        _ => {}
                    }
                }
                any
            }
            Self::Term(term) => term.holds(user, asked),
            Self::Member(member) => member.holds(user),
        }
    }

    /// Every field that is unknown and would decide.
    pub(crate) fn unknowns<'f, P: People + ?Sized>(
        &'f self,
        user: &User,
        asked: &Asked<'_, P>,
        found: &mut Vec<&'f str>,
    ) {
        let Truth::Unknown(name) = self.holds(user, asked) else {
            return;
        };
        match self {
            Self::All(parts) | Self::Any(parts) => {
                for part in parts {
                    part.unknowns(user, asked, found);
                }
            }
            Self::Term(_) | Self::Member(_) if found.contains(&name) => {}
            Self::Term(_) | Self::Member(_) => found.push(name),
        }
    }

    pub(crate) fn each_term<'f>(&'f self, visit: &mut impl FnMut(&'f Term)) {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.each_term(visit)),
            Self::Term(term) => visit(term),
            Self::Member(_) => {}
        }
    }

    pub(crate) fn each_list(&self, visit: &mut impl FnMut(List)) {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.each_list(visit)),
            Self::Term(_) => {}
            Self::Member(member) => visit(member.list),
        }
    }
}

impl Term {
    fn holds<P: People + ?Sized>(&self, user: &User, asked: &Asked<'_, P>) -> Truth<'_> {
        if self.operand.managers == 0 {
            self.judge(self.operand.read(user), asked)
        } else {
            self.climb(0, user, asked)
        }
    }

    /// Goes up to the manager and on from there. Without a manager every field of him is null.
    fn climb<P: People + ?Sized>(&self, level: usize, user: &User, asked: &Asked<'_, P>) -> Truth<'_> {
        let Some(key) = manager(user) else {
            return match user.manager_id {
                Known::Empty => self.judge(Value::Null, asked),
                _ => Truth::Unknown(MANAGER_ID[level]),
            };
        };
        let mut truth = Truth::Unknown(MANAGER[level]);
        asked.people.look(key, &mut |manager| {
            truth = if level + 1 == self.operand.managers {
                self.judge(self.operand.read(manager), asked)
            } else {
                self.climb(level + 1, manager, asked)
            };
        });
        truth
    }

    fn judge<P: People + ?Sized>(&self, value: Value<'_>, asked: &Asked<'_, P>) -> Truth<'_> {
        let holds = match value {
            Value::Unknown => None,
            Value::Null => match self.test.of_null() {
                Some(holds) => Some(holds),
                // What is asked of a value does not hold for null, and its negation is the rule that is left open.
                None => return Truth::of(self.negated && asked.nulls == Nulls::Match),
            },
            value => self.test.of(value, asked.clock),
        };
        holds.map_or(Truth::Unknown(&self.operand.name), |holds| {
            Truth::of(holds != self.negated)
        })
    }

    /// When the answer about this value may be another one.
    pub(crate) fn next_change<P: People + ?Sized>(&self, user: &User, people: &P, clock: &Clock) -> Option<Timestamp> {
        let Test::Named(operator, named) = self.test else {
            return None;
        };
        let mut next = None;
        self.reached(0, user, people, &mut |value| {
            let day = days_of(value, clock).and_then(|day| named.next_change(operator, day, clock));
            next = day.map(|day| clock.first_moment(day));
        });
        next
    }

    /// Calls `found` with the value, when it can be reached.
    fn reached<P: People + ?Sized>(&self, level: usize, user: &User, people: &P, found: &mut dyn FnMut(Value<'_>)) {
        if level == self.operand.managers {
            found(self.operand.read(user));
        } else if let Some(key) = manager(user) {
            people.look(key, &mut |manager| self.reached(level + 1, manager, people, found));
        }
    }
}

fn manager(user: &User) -> Option<UserKey> {
    let id: &UserId = user.manager_id.value()?;
    Some(UserKey::new(user.org_id, *id))
}

/// The day of a date or a moment.
fn days_of(value: Value<'_>, clock: &Clock) -> Option<i32> {
    match value {
        Value::Date(date) => Some(days::number(date)),
        Value::Moment(at) => Some(clock.day(at)),
        Value::Text(text) => match date_of(text) {
            Some(date) => Some(days::number(date)),
            None => moment_of(text).map(|at| clock.day(at)),
        },
        _ => None,
    }
}

/// Custom dates are texts of ten characters.
fn date_of(text: &str) -> Option<Date> {
    if text.len() == 10 { text.parse().ok() } else { None }
}
fn moment_of(text: &str) -> Option<Timestamp> {
    if text.len() > 10 { text.parse().ok() } else { None }
}

fn ordered<T: PartialOrd>(operator: Operator, value: &T, literal: &T) -> bool {
    match operator {
        Operator::Less => value < literal,
        Operator::LessOrEqual => value <= literal,
        Operator::Greater => value > literal,
        Operator::GreaterOrEqual => value >= literal,
        _ => value == literal,
    }
}

impl Test {
    /// What a test gives for null; `None` when it is one of those that null never passes.
    fn of_null(&self) -> Option<bool> {
        match self {
            Self::Null => Some(true),
            // A checkbox that is null counts as false.
            Self::Flag(flag) => Some(!flag),
            Self::Texts(_, true)
            | Self::Ids(_, true)
            | Self::Numbers(_, true)
            | Self::Dates(_, true)
            | Self::Moments(_, true) => Some(true),
            _ => None,
        }
    }

    /// What a test gives for a value; `None` when the value is of another kind than what it is compared with: a custom
    /// field that is not what the filter takes it for says nothing.
    fn of(&self, value: Value<'_>, clock: &Clock) -> Option<bool> {
        Some(match (self, value) {
            // A checkbox that is false counts as null.
            (Self::Null, Value::Flag(flag)) => !flag,
            (Self::Null, _) => false,
            (Self::Flag(wanted), Value::Flag(flag)) => *wanted == flag,
            (Self::Texts(texts, _), Value::Text(text)) => is_among(text, texts),
            (Self::Ids(ids, _), Value::Text(id)) => ids.binary_search_by(|candidate| (**candidate).cmp(id)).is_ok(),
            (Self::Like(pattern), Value::Text(text)) => pattern.matches(text),
            (Self::Number(operator, number), Value::Number(value)) => ordered(*operator, &value, number),
            (Self::Numbers(numbers, _), Value::Number(value)) => numbers.contains(&value),
            (Self::Date(operator, date), value) => ordered(*operator, &as_date(value)?, date),
            (Self::Dates(dates, _), value) => dates.contains(&as_date(value)?),
            (Self::Moment(operator, at), value) => ordered(*operator, &as_moment(value)?, at),
            (Self::Moments(moments, _), value) => moments.contains(&as_moment(value)?),
            (Self::Named(operator, named), value) => named.holds(*operator, days_of(value, clock)?, clock),
            (Self::Includes(sets), Value::Text(text)) => sets.iter().any(|set| {
                let selected = |wanted: &str| text.split(';').any(|value| equals(value.trim(), wanted));
                set.iter().all(|wanted| selected(wanted))
            }),
            _ => return None,
        })
    }
}

fn as_date(value: Value<'_>) -> Option<Date> {
    match value {
        Value::Date(date) => Some(date),
        Value::Text(text) => date_of(text),
        _ => None,
    }
}
fn as_moment(value: Value<'_>) -> Option<Timestamp> {
    match value {
        Value::Moment(at) => Some(at),
        Value::Text(text) => moment_of(text),
        _ => None,
    }
}

impl Member {
    /// A person is in the list or is not: there is no null to ask about. A name that could not be read is unknown.
    fn holds(&self, user: &User) -> Truth<'_> {
        let unknown = Truth::Unknown(self.list.name());
        let found = match self.list {
            List::PermissionSets => match &user.permission_sets {
                Known::Unknown => return unknown,
                Known::Empty => Some(false),
                Known::Value(sets) => any(sets.iter().map(|set| self.condition.of(set.id.as_str(), &set.name))),
            },
            List::Groups => match &user.groups {
                Known::Unknown => return unknown,
                Known::Empty => Some(false),
                // A row of GroupMember is a direct membership; those of nested groups are not in that table.
                Known::Value(groups) => {
                    let direct = groups.iter().filter(|group| group.direct);
                    any(direct.map(|group| self.condition.of(group.id.as_str(), &group.name)))
                }
            },
        };
        found.map_or(unknown, |found| Truth::of(found != self.negated))
    }
}

/// Kleene's OR; `None` is unknown.
fn any(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut any = Some(false);
    for part in parts {
        match part {
            Some(true) => return Some(true),
            None => any = None,
            Some(false) => {}
        }
    }
    any
}

impl Entry {
    fn of(&self, id: &str, name: &Known<String>) -> Option<bool> {
        let text = |test: &dyn Fn(&str) -> bool| match name {
            Known::Unknown => None,
            Known::Empty => Some(false),
            Known::Value(name) => Some(test(name)),
        };
        match self {
            Self::Any(parts) => any(parts.iter().map(|part| part.of(id, name))),
            // Not any that does not hold.
            Self::All(parts) => any(parts.iter().map(|part| part.of(id, name).map(|holds| !holds))).map(|any| !any),
            Self::Id(ids) => Some(ids.binary_search_by(|candidate| (**candidate).cmp(id)).is_ok()),
            Self::Name(names) => text(&|name| is_among(name, names)),
            Self::NameLike(pattern) => text(&|name| pattern.matches(name)),
        }
    }
}
