//! The parsed filter, names and values still as written, and how it is written out again.
//!
//! Where something stands is kept for messages and does not count when two filters are compared.

use std::{fmt, ops::Range};

use jiff::{Timestamp, civil::Date};

use crate::days::Named;

/// Something with its place in the text.
#[derive(Debug, Clone)]
pub(crate) struct Spanned<T> {
    pub(crate) is: T,
    pub(crate) span: Range<usize>,
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.is == other.is
    }
}

/// A condition. Parentheses are where the tree has a branch; a chain of one operator is one branch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expr {
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Compare(Comparison),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Comparison {
    /// `Manager.Email` as it is written.
    pub(crate) field: Spanned<String>,
    pub(crate) operator: Spanned<Operator>,
    pub(crate) right: Right,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Like,
    In,
    NotIn,
    Includes,
    Excludes,
}

impl Operator {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Like => "LIKE",
            Self::In => "IN",
            Self::NotIn => "NOT IN",
            Self::Includes => "INCLUDES",
            Self::Excludes => "EXCLUDES",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Right {
    Literal(Spanned<Literal>),
    List(Vec<Spanned<Literal>>),
    Select(Box<Select>),
}

/// `(SELECT column FROM object WHERE condition)`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Select {
    pub(crate) column: Spanned<String>,
    pub(crate) object: Spanned<String>,
    pub(crate) condition: Option<Expr>,
    pub(crate) whole: Spanned<()>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    Flag(bool),
    /// As written: `3` and `3.0` are equal in value and not in form.
    Number(String),
    /// What stands between the quotes, escapes included.
    Text(String),
    Date(Date),
    /// With the form in which it is written.
    Moment(Timestamp, String),
    Named(Named),
}

impl Literal {
    /// The kind in words, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Flag(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::Date(_) => "a date",
            Self::Moment(..) => "a date with time",
            Self::Named(_) => "a named date",
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Number(written) | Self::Moment(_, written) => f.write_str(written),
            Self::Text(raw) => write!(f, "'{raw}'"),
            Self::Date(date) => write!(f, "{date}"),
            Self::Named(named) => write!(f, "{named}"),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(parts) => chain(f, parts, "AND"),
            Self::Or(parts) => chain(f, parts, "OR"),
            Self::Not(inner) => {
                f.write_str("NOT ")?;
                part(f, inner)
            }
            Self::Compare(comparison) => write!(f, "{comparison}"),
        }
    }
}

fn chain(f: &mut fmt::Formatter<'_>, parts: &[Expr], word: &str) -> fmt::Result {
    for (number, expr) in parts.iter().enumerate() {
        if number > 0 {
            write!(f, " {word} ")?;
        }
        part(f, expr)?;
    }
    Ok(())
}

/// Inside of another condition everything but a comparison needs parentheses.
fn part(f: &mut fmt::Formatter<'_>, expr: &Expr) -> fmt::Result {
    match expr {
        Expr::Compare(comparison) => write!(f, "{comparison}"),
        other => write!(f, "({other})"),
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.field.is, self.operator.is.as_str())?;
        match &self.right {
            Right::Literal(literal) => write!(f, "{}", literal.is),
            Right::List(literals) => {
                for (number, literal) in literals.iter().enumerate() {
                    f.write_str(if number == 0 { "(" } else { ", " })?;
                    write!(f, "{}", literal.is)?;
                }
                f.write_str(")")
            }
            Right::Select(select) => {
                write!(f, "(SELECT {} FROM {}", select.column.is, select.object.is)?;
                if let Some(condition) = &select.condition {
                    write!(f, " WHERE {condition}")?;
                }
                f.write_str(")")
            }
        }
    }
}
