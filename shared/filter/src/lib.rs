//! SOQL `WHERE` over published users: parsed, checked and evaluated here, without asking Salesforce.
//!
//! This crate is **pure**: time, time zone and the other people are arguments. It decides about one person at a time.
//!
//! * [`Filter::parse`] takes a condition, or a whole query (`SELECT … FROM User WHERE …`), and says of a mistake where it
//!   is and what to write instead ([`FilterError`]).
//! * [`Filter::evaluate`] says [`Truth::True`], [`Truth::False`], or which unknown field would decide.
//! * [`Filter::reads`] says what an answer depends on, [`Filter::next_change`] when time alone may change it.
//!
//! # What holds
//!
//! Text is compared without regard to case. `< <= > >=` are for numbers and dates. Null is a value: `= null` finds it,
//! `<`, `LIKE` and `IN` do not, and a checkbox that is null counts as false. Whether `!=`, `NOT IN` and `NOT (…)` find it
//! is a setting ([`Nulls`]). *Unknown* is no value: an operand that is unknown and would decide makes the answer unknown.
//!
//! Left out on purpose: the order of texts, functions, variables, aggregates, and semi-joins other than the two whose
//! tables are published.
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod check;
mod days;
mod error;
mod evaluate;
mod fields;
mod grammar;
mod lexer;
mod members;
mod syntax;
#[cfg(test)]
mod tests;
mod text;

use std::{collections::BTreeSet, fmt};

use jiff::Timestamp;
use usher_contract::User;

use self::{
    check::Checker,
    evaluate::{Asked, Node, Test},
    syntax::Expr,
};
pub use self::{
    days::Clock,
    error::FilterError,
    evaluate::{People, Truth},
    fields::{Fields, Nulls},
};

/// A filter that was parsed and checked.
///
/// Two are equal when they say the same in the same form, white space and superfluous parentheses apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    written: Expr,
    node: Node,
    nulls: Nulls,
    notes: Vec<String>,
}

/// What a filter's answer depends on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reads {
    /// Our names of the fields, with `manager.` before those of managers: `department`, `custom.Badge__c`,
    /// `manager.email`, `groups`.
    pub fields: BTreeSet<String>,
    /// How many managers up; 0 when only the person matters.
    pub managers: usize,
    /// Whether time alone may change the answer.
    pub time: bool,
}

impl Filter {
    /// Parses and checks a filter.
    ///
    /// # Errors
    /// The first mistake.
    pub fn parse(text: &str, fields: &Fields) -> Result<Self, FilterError> {
        let parsed = grammar::parse(text)?;
        let node = Checker::new(fields, parsed.alias.as_deref()).filter(&parsed.condition)?;
        Ok(Self {
            written: parsed.condition,
            node,
            nulls: fields.nulls,
            notes: parsed.notes,
        })
    }

    /// What stands in the text and has no effect, in words.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether it holds for a person.
    #[must_use]
    pub fn evaluate<P: People + ?Sized>(&self, user: &User, people: &P, clock: &Clock) -> Truth<'_> {
        self.node.holds(user, &self.asked(people, clock))
    }

    /// Every field that is unknown and would decide; empty when the answer is known.
    #[must_use]
    pub fn unknowns<P: People + ?Sized>(&self, user: &User, people: &P, clock: &Clock) -> Vec<&str> {
        let mut found = Vec::new();
        self.node.unknowns(user, &self.asked(people, clock), &mut found);
        found
    }

    /// What the answer depends on.
    #[must_use]
    pub fn reads(&self) -> Reads {
        let mut reads = Reads::default();
        self.node.each_term(&mut |term| {
            reads.fields.insert(term.operand.name.to_string());
            // Who the manager is matters as well, on every level.
            for level in 0..term.operand.managers {
                reads.fields.insert(format!("{}managerId", "manager.".repeat(level)));
            }
            reads.managers = reads.managers.max(term.operand.managers);
            reads.time |= matches!(term.test, Test::Named(..));
        });
        self.node.each_list(&mut |list| {
            reads.fields.insert(list.name().to_owned());
        });
        reads
    }

    /// When the answer may next be another one although nobody has changed; `None` when it stays. Never too late; too
    /// early when another condition decides anyway.
    #[must_use]
    pub fn next_change<P: People + ?Sized>(&self, user: &User, people: &P, clock: &Clock) -> Option<Timestamp> {
        let mut next: Option<Timestamp> = None;
        self.node.each_term(&mut |term| {
            let change = term.next_change(user, people, clock);
            next = [next, change].into_iter().flatten().min();
        });
        next
    }

    fn asked<'e, P: People + ?Sized>(&self, people: &'e P, clock: &'e Clock) -> Asked<'e, P> {
        Asked {
            people,
            clock,
            nulls: self.nulls,
        }
    }
}

impl fmt::Display for Filter {
    /// The condition in its shortest form; parsed again it is equal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(f)
    }
}
