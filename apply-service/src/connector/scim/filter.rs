//! Filters as a typed tree (RFC 7644 section 3.4.2.2): parsed from paths, rendered for queries, evaluated by ourselves.
//!
//! A filter that is sent is always built from this tree, so a value can never become syntax: strings are JSON
//! strings, and the whole filter is percent-encoded once by the renderer. Evaluation is needed because a hit of a
//! server is believed only after we have looked at it.

use std::fmt;

use serde_json::Value;

use super::resource;

mod parser;

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
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

impl Op {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Eq, "eq"),
        (Self::Ne, "ne"),
        (Self::Co, "co"),
        (Self::Sw, "sw"),
        (Self::Ew, "ew"),
        (Self::Gt, "gt"),
        (Self::Ge, "ge"),
        (Self::Lt, "lt"),
        (Self::Le, "le"),
    ];

    /// Operators are case-insensitive; we send lower case.
    fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, name)| name.eq_ignore_ascii_case(word))
            .map(|(op, _)| *op)
    }

    fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(op, _)| *op == self)
            .map_or("eq", |(_, name)| name)
    }
}

/// A filter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Filter {
    /// `attribute op value`.
    Compare {
        attribute: String,
        op: Op,
        value: Value,
    },
    /// `attribute pr`.
    Present {
        attribute: String,
    },
    /// `attribute[filter]`: an element for which the inner filter holds.
    Element {
        attribute: String,
        filter: Box<Filter>,
    },
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
}

impl Filter {
    /// `attribute eq "value"`.
    pub(crate) fn equal(attribute: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::Compare {
            attribute: attribute.into(),
            op: Op::Eq,
            value: value.into(),
        }
    }

    /// `left and right`.
    pub(crate) fn and(self, other: Self) -> Self {
        Self::And(Box::new(self), Box::new(other))
    }

    /// Parses a whole filter.
    #[cfg(test)]
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (filter, rest) = Self::parse_prefix(text)?;
        if rest.trim().is_empty() {
            Ok(filter)
        } else {
            Err(format!("unexpected `{}` after the filter", rest.trim()))
        }
    }

    /// Parses a filter and returns what follows it, so that the end of a bracket is found by syntax and not by
    /// searching for `]`, which may stand in a string.
    pub(crate) fn parse_prefix(text: &str) -> Result<(Self, &str), String> {
        parser::parse_prefix(text)
    }

    /// The fields that an element must have for this filter to hold, when it says so without alternatives:
    /// equalities joined by `and`. Such a filter can be turned round to make the element.
    pub(crate) fn as_template(&self) -> Option<Vec<(String, Value)>> {
        match self {
            Self::Compare {
                attribute,
                op: Op::Eq,
                value,
            } => Some(vec![(attribute.clone(), value.clone())]),
            Self::And(left, right) => {
                let mut fields = left.as_template()?;
                fields.extend(right.as_template()?);
                Some(fields)
            }
            _ => None,
        }
    }

    /// Whether the filter holds for an element or resource. Strings are compared without case: within the elements
    /// of a user (`type`, `value`) nothing is caseExact but references (RFC 7643 section 8.7.1).
    pub(crate) fn matches(&self, element: &Value) -> bool {
        match self {
            Self::And(left, right) => left.matches(element) && right.matches(element),
            Self::Or(left, right) => left.matches(element) || right.matches(element),
            Self::Not(inner) => !inner.matches(element),
            Self::Present { attribute } => !values(element, attribute).is_empty(),
            Self::Element { attribute, filter } => {
                resource::get(element, attribute).is_some_and(|found| elements(found).any(|item| filter.matches(item)))
            }
            Self::Compare {
                attribute,
                op: Op::Ne,
                value,
            } => !values(element, attribute)
                .iter()
                .any(|found| compare(Op::Eq, found, value)),
            Self::Compare { attribute, op, value } => values(element, attribute)
                .iter()
                .any(|found| compare(*op, found, value)),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, nested: u8) -> fmt::Result {
        // `and` binds tighter than `or`; a child that binds looser than its parent is put in parentheses.
        let (level, word, pair) = match self {
            Self::Or(left, right) => (1, "or", Some((left, right))),
            Self::And(left, right) => (2, "and", Some((left, right))),
            _ => (3, "", None),
        };
        if let Some((left, right)) = pair {
            if level < nested {
                f.write_str("(")?;
            }
            left.write(f, level)?;
            write!(f, " {word} ")?;
            right.write(f, level + 1)?;
            if level < nested {
                f.write_str(")")?;
            }
            return Ok(());
        }
        match self {
            Self::Compare { attribute, op, value } => write!(f, "{attribute} {} {value}", op.name()),
            Self::Present { attribute } => write!(f, "{attribute} pr"),
            Self::Element { attribute, filter } => write!(f, "{attribute}[{filter}]"),
            Self::Not(inner) => write!(f, "not ({inner})"),
            Self::And(..) | Self::Or(..) => Ok(()),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

/// The values at `attr` or `attr.sub` of an element, of all elements where there are several.
fn values<'a>(element: &'a Value, attribute: &str) -> Vec<&'a Value> {
    let (head, sub) = attribute
        .split_once('.')
        .map_or((attribute, None), |(head, sub)| (head, Some(sub)));
    let Some(found) = resource::get(element, head) else {
        return Vec::new();
    };
    elements(found)
        .filter_map(|item| match (sub, item) {
            (Some(sub), _) => resource::get(item, sub),
            (None, Value::Object(_)) => resource::get(item, "value"),
            (None, _) => Some(item),
        })
        .filter(|value| !resource::is_unassigned(value))
        .collect()
}

fn elements(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter()),
        other => Box::new(std::iter::once(other)),
    }
}

fn compare(op: Op, found: &Value, wanted: &Value) -> bool {
    // "True" for true occurs in paths and in resources (seen: Entra exports, the miniOrange seed).
    if let (Some(left), Some(right)) = (resource::as_bool(found), resource::as_bool(wanted))
        && (found.is_boolean() || wanted.is_boolean())
    {
        return op == Op::Eq && left == right;
    }
    if let (Some(left), Some(right)) = (found.as_f64(), wanted.as_f64()) {
        return match op {
            Op::Eq => left == right,
            Op::Gt => left > right,
            Op::Ge => left >= right,
            Op::Lt => left < right,
            Op::Le => left <= right,
            Op::Ne | Op::Co | Op::Sw | Op::Ew => false,
        };
    }
    let (Some(left), Some(right)) = (found.as_str(), wanted.as_str()) else {
        return false;
    };
    let (left, right) = (left.to_lowercase(), right.to_lowercase());
    match op {
        Op::Eq => left == right,
        Op::Ne => left != right,
        Op::Co => left.contains(&right),
        Op::Sw => left.starts_with(&right),
        Op::Ew => left.ends_with(&right),
        Op::Gt => left > right,
        Op::Ge => left >= right,
        Op::Lt => left < right,
        Op::Le => left <= right,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_filter_is_written_as_it_was_meant() {
        for (text, written) in [
            (r#"userName eq "ada""#, r#"userName eq "ada""#),
            (r#"userName EQ "a\"b\\c""#, r#"userName eq "a\"b\\c""#),
            (r#"a eq 1 or b eq 2 and c eq 3"#, r#"a eq 1 or b eq 2 and c eq 3"#),
            (r#"(a eq 1 or b eq 2) and c eq 3"#, r#"(a eq 1 or b eq 2) and c eq 3"#),
            (r#"a eq 1 and (b eq 2 and c eq 3)"#, r#"a eq 1 and (b eq 2 and c eq 3)"#),
            (r#"not(title pr)"#, "not (title pr)"),
            (
                r#"emails[type eq "work" and value co "@acme"]"#,
                r#"emails[type eq "work" and value co "@acme"]"#,
            ),
            (r#"primary eq "True""#, "primary eq true"),
            (r#"meta.lastModified gt "2026""#, r#"meta.lastModified gt "2026""#),
        ] {
            assert_eq!(Filter::parse(text).unwrap().to_string(), written, "{text}");
        }
    }

    #[test]
    fn hits_are_judged_by_ourselves() {
        let user = json!({"userName": "Ada@Acme.com", "active": "True", "n": 3, "title": "",
            "emails": [{"type": "work", "value": "a@acme.com", "primary": true}, {"type": "home", "value": "a@home"}]});
        for (text, holds) in [
            (r#"username eq "ada@acme.com""#, true),
            (r#"active eq true"#, true),
            (r#"active eq "true""#, true),
            (r#"emails.value eq "A@HOME""#, true),
            (r#"emails eq "a@home""#, true),
            (r#"emails[type eq "work" and value eq "a@home"]"#, false),
            (r#"emails[type eq "work" and primary eq true]"#, true),
            (r#"nickName pr"#, false),
            (r#"not (nickName pr)"#, true),
            (r#"userName ne "bob""#, true),
            (r#"n gt 2 and n lt 4"#, true),
            (r#"userName sw "ada" and userName ew ".com" and userName co "@""#, true),
        ] {
            assert_eq!(Filter::parse(text).unwrap().matches(&user), holds, "{text}");
        }
    }

    proptest! {
        /// Whatever a value holds, the filter that is sent is one comparison with exactly that value.
        #[test]
        fn no_value_can_become_syntax(value in r#"[\PC"\\\[\]() +%&=#\u{0}-\u{1f}]{0,40}"#) {
            let filter = Filter::equal("userName", value.clone());
            prop_assert_eq!(Filter::parse(&filter.to_string()).unwrap(), filter);
            let both = Filter::equal("type", "work").and(Filter::equal("value", value));
            let element = Filter::Element { attribute: "emails".to_owned(), filter: Box::new(both) };
            prop_assert_eq!(Filter::parse(&element.to_string()).unwrap(), element);
        }
    }
}
