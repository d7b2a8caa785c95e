//! SCIM filters (RFC 7644 section 3.4.2.2): the tree, its parser and its evaluation.

mod evaluate;
mod parse;

use serde_json::Value;

use crate::path::AttributePath;
use crate::schema::Attribute;

pub(crate) use evaluate::matches;
pub(crate) use parse::{Parser, parse};

/// A checked filter: every name in it exists.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Filter {
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
    Present(AttributePath),
    Compare {
        path: AttributePath,
        operator: Operator,
        value: Value,
    },
    /// `emails[type eq "work"]`, optionally with a comparison of one part: `emails[...].value eq "..."`. The latter is not in the
    /// RFC's grammar for filters, but clients send it and servers take it.
    Element {
        list: AttributePath,
        inner: Box<Filter>,
        part: Option<(&'static Attribute, PartTest)>,
    },
}

/// What is asked of one part of a matching element.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PartTest {
    Present,
    Compare(Operator, Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Eq,
    Ne,
    Co,
    Sw,
    Ew,
    Gt,
    Ge,
    Lt,
    Le,
}

impl Filter {
    /// Adds the name of every attribute that is asked for.
    pub(crate) fn attributes(&self, names: &mut Vec<&'static str>) {
        match self {
            Filter::And(left, right) | Filter::Or(left, right) => {
                left.attributes(names);
                right.attributes(names);
            }
            Filter::Not(inner) => inner.attributes(names),
            Filter::Present(path) | Filter::Compare { path, .. } => names.push(path.attribute.name),
            Filter::Element { list, .. } => names.push(list.attribute.name),
        }
    }

    /// The text that `attribute` (or its part `sub`) must equal for this filter to hold, if the filter says so; used to find
    /// candidates in an index.
    pub(crate) fn required_text(&self, attribute: &str, sub: Option<&str>) -> Option<&str> {
        match self {
            Filter::And(left, right) => left
                .required_text(attribute, sub)
                .or_else(|| right.required_text(attribute, sub)),
            Filter::Compare {
                path,
                operator: Operator::Eq,
                value,
            } if path.extension.is_none()
                && path.attribute.name == attribute
                && path.sub.map(|sub| sub.name) == sub =>
            {
                value.as_str()
            }
            Filter::Element { list, inner, part } if list.attribute.name == attribute => match (part, sub) {
                (Some((part, PartTest::Compare(Operator::Eq, value))), Some(sub)) if part.name == sub => value.as_str(),
                (_, Some(sub)) => inner.required_text(sub, None),
                (_, None) => None,
            },
            _ => None,
        }
    }
}
