//! From what is written to what is evaluated: names become fields, values become tests that fit them, NOT moves to the
//! comparisons.
//!
//! What cannot be judged here as Salesforce would judge it is refused, never guessed: the order of texts, for one, depends
//! on the org's language.

use std::ops::Range;

use usher_contract::RecordId;

use crate::{
    error::FilterError,
    evaluate::{Node, Term, Test},
    fields::{Fields, Operand, Type},
    members,
    syntax::{Comparison, Expr, Literal, Operator, Right, Spanned},
    text::{self, Pattern, Step, fold, fold_char},
};

/// What a comparison stands in.
#[derive(Debug, Clone, Copy)]
struct Place {
    negated: bool,
    below_or: bool,
    below_not: bool,
}

pub(crate) struct Checker<'a> {
    pub(crate) fields: &'a Fields,
    pub(crate) alias: Option<&'a str>,
    /// Semi-joins so far.
    joins: usize,
}

type Checked<T> = Result<T, FilterError>;

/// Semi-joins in one filter (SOQL Reference, "Semi-Joins with IN and Anti-Joins with NOT IN").
const JOINS_MAX: usize = 2;

impl<'a> Checker<'a> {
    pub(crate) fn new(fields: &'a Fields, alias: Option<&'a str>) -> Self {
        Self {
            fields,
            alias,
            joins: 0,
        }
    }

    pub(crate) fn filter(&mut self, expr: &Expr) -> Checked<Node> {
        let place = Place {
            negated: false,
            below_or: false,
            below_not: false,
        };
        self.node(expr, place)
    }

    /// De Morgan's laws hold for three values as well, so NOT can be moved inwards.
    fn node(&mut self, expr: &Expr, place: Place) -> Checked<Node> {
        let below_or = Place {
            below_or: true,
            ..place
        };
        Ok(match expr {
            Expr::Not(inner) => {
                let place = Place {
                    negated: !place.negated,
                    below_not: true,
                    ..place
                };
                self.node(inner, place)?
            }
            Expr::And(parts) if place.negated => Node::Any(self.nodes(parts, place)?),
            Expr::And(parts) => Node::All(self.nodes(parts, place)?),
            Expr::Or(parts) if place.negated => Node::All(self.nodes(parts, below_or)?),
            Expr::Or(parts) => Node::Any(self.nodes(parts, below_or)?),
            Expr::Compare(comparison) => self.comparison(comparison, place)?,
        })
    }

    fn nodes(&mut self, parts: &[Expr], place: Place) -> Checked<Box<[Node]>> {
        parts.iter().map(|part| self.node(part, place)).collect()
    }

    fn comparison(&mut self, comparison: &Comparison, place: Place) -> Checked<Node> {
        let (field, operator) = (&comparison.field, &comparison.operator);
        let operand = self.fields.resolve(&field.is, self.alias, &field.span)?;
        if let Right::Select(select) = &comparison.right {
            self.joins += 1;
            let refuse = |message: &str, hint: &str| Err(FilterError::new(select.whole.span.clone(), message, hint));
            if self.joins > JOINS_MAX {
                return refuse(
                    "a filter may have two queries in parentheses, as in Salesforce",
                    "a LIKE or OR inside of one query may replace several",
                );
            }
            if place.below_not {
                return refuse(
                    "a query in parentheses cannot stand below NOT",
                    "use Id NOT IN (SELECT …)",
                );
            }
            if place.below_or {
                return refuse(
                    "a query in parentheses cannot stand below OR, as in Salesforce",
                    "join it with AND; for either of two groups use OR inside of the query",
                );
            }
            let not_in = operator.is == Operator::NotIn;
            return members::member(&operand, field, select, not_in).map(|member| Node::Member(Box::new(member)));
        }
        let (test, negative) = test(&operand, field, operator, &comparison.right)?;
        Ok(Node::Term(Box::new(Term {
            operand,
            test,
            negated: place.negated != negative,
        })))
    }
}

/// The test of a comparison, and whether the comparison holds when the test does not.
fn test(
    operand: &Operand,
    field: &Spanned<String>,
    operator: &Spanned<Operator>,
    right: &Right,
) -> Checked<(Test, bool)> {
    let subject = Subject {
        operand,
        name: &field.is,
        operator,
    };
    match right {
        Right::Literal(literal) => subject.single(literal),
        Right::List(literals) if matches!(operator.is, Operator::Includes | Operator::Excludes) => {
            Ok((subject.includes(literals)?, operator.is == Operator::Excludes))
        }
        Right::List(literals) => Ok((subject.list(literals)?, operator.is == Operator::NotIn)),
        // Handled before.
        Right::Select(select) => Err(FilterError::new(
            select.whole.span.clone(),
            "a query cannot stand here",
            "",
        )),
    }
}

struct Subject<'a> {
    operand: &'a Operand,
    name: &'a str,
    operator: &'a Spanned<Operator>,
}

impl Subject<'_> {
    fn single(&self, literal: &Spanned<Literal>) -> Checked<(Test, bool)> {
        let operator = self.operator.is;
        let equality = matches!(operator, Operator::Equal | Operator::NotEqual);
        if operator == Operator::Like {
            return Ok((self.like(literal)?, false));
        }
        let negative = operator == Operator::NotEqual;
        if matches!(literal.is, Literal::Null) || is_empty(&literal.is) && self.takes_text() {
            if !equality {
                return self.no_order(
                    "null has no order",
                    format!("use {} = null or {} != null", self.name, self.name),
                );
            }
            let checkbox = self.operand.holds() == Type::Flag;
            return Ok((if checkbox { Test::Flag(false) } else { Test::Null }, negative));
        }
        // `!=` is the negation of `=`.
        let positive = if negative { Operator::Equal } else { operator };
        let ordered = |what: &str, hint: &str| self.no_order(what, hint.to_owned());
        let test = match (self.operand.holds(), &literal.is) {
            (Type::Text | Type::Custom, Literal::Text(_)) if !equality => {
                return ordered(
                    "texts have no order here: it would depend on the org's language",
                    "use LIKE 'a%', or IN ('a', 'b')",
                );
            }
            (Type::Flag | Type::Custom, Literal::Flag(_)) if !equality => {
                return ordered("true and false have no order", "use = or !=");
            }
            (Type::Id(_), Literal::Text(_)) if !equality => return ordered("ids have no order", "use = or IN"),
            (Type::Text | Type::Custom, Literal::Text(_)) => {
                Test::Texts(self.texts(std::slice::from_ref(literal))?, false)
            }
            (Type::Flag | Type::Custom, Literal::Flag(flag)) => Test::Flag(*flag),
            (Type::Id(prefix), Literal::Text(raw)) => Test::Ids([id(raw, prefix, &literal.span)?].into(), false),
            (Type::Custom, Literal::Number(written)) => Test::Number(positive, number(written, &literal.span)?),
            (Type::Date | Type::Custom, Literal::Date(date)) => Test::Date(positive, *date),
            (Type::Moment | Type::Custom, Literal::Moment(at, _)) => Test::Moment(positive, *at),
            (Type::Date | Type::Moment | Type::Custom, Literal::Named(named)) => Test::Named(positive, *named),
            _ => return Err(self.mismatch(literal)),
        };
        Ok((test, negative))
    }

    fn list(&self, literals: &[Spanned<Literal>]) -> Checked<Test> {
        if self.operand.holds() == Type::Flag {
            return Err(FilterError::new(
                self.operator.span.clone(),
                format!("`{}` is true or false and takes no list", self.name),
                format!("use {} = true", self.name),
            ));
        }
        let is_null = |literal: &&Spanned<Literal>| {
            matches!(literal.is, Literal::Null) || is_empty(&literal.is) && self.takes_text()
        };
        let null = literals.iter().any(|literal| is_null(&literal));
        let values: Vec<Spanned<Literal>> = literals.iter().filter(|literal| !is_null(literal)).cloned().collect();
        let Some(first) = values.first() else {
            return Ok(Test::Null);
        };
        if let Some(named) = values.iter().find(|value| matches!(value.is, Literal::Named(_))) {
            return Err(FilterError::new(
                named.span.clone(),
                "a named date cannot stand in a list",
                format!("use ({} = {} OR …)", self.name, named.is),
            ));
        }
        if let Some(other) = values.iter().find(|value| value.is.kind() != first.is.kind()) {
            if self.operand.holds() != Type::Custom {
                return Err(self.mismatch(if self.fits(&first.is) { other } else { first }));
            }
            return Err(FilterError::new(
                other.span.clone(),
                format!(
                    "{} stands in a list of which another is {}",
                    other.is.kind(),
                    first.is.kind()
                ),
                "all values of a list are of one kind",
            ));
        }
        if !self.fits(&first.is) {
            return Err(self.mismatch(first));
        }
        Ok(match (self.operand.holds(), &first.is) {
            (Type::Id(prefix), _) => {
                let ids = values.iter().map(|value| match &value.is {
                    Literal::Text(raw) => id(raw, prefix, &value.span),
                    _ => Err(self.mismatch(value)),
                });
                let mut ids = ids.collect::<Checked<Vec<_>>>()?;
                ids.sort_unstable();
                Test::Ids(ids.into(), null)
            }
            (_, Literal::Text(_)) => Test::Texts(self.texts(&values)?, null),
            (_, Literal::Number(_)) => {
                let numbers = values.iter().filter_map(|value| match &value.is {
                    Literal::Number(written) => Some(number(written, &value.span)),
                    _ => None,
                });
                Test::Numbers(numbers.collect::<Checked<_>>()?, null)
            }
            (_, Literal::Date(_)) => {
                let dates = values.iter().filter_map(|value| {
                    if let Literal::Date(date) = value.is {
                        Some(date)
                    } else {
                        None
                    }
                });
                Test::Dates(dates.collect(), null)
            }
            (_, Literal::Moment(..)) => {
                let moments = values.iter().filter_map(|value| {
                    if let Literal::Moment(at, _) = value.is {
                        Some(at)
                    } else {
                        None
                    }
                });
                Test::Moments(moments.collect(), null)
            }
            _ => return Err(self.mismatch(first)),
        })
    }

    /// Whether values of this kind can be compared with the field at all.
    fn fits(&self, literal: &Literal) -> bool {
        match self.operand.holds() {
            Type::Text | Type::Id(_) => matches!(literal, Literal::Text(_)),
            Type::Flag => matches!(literal, Literal::Flag(_)),
            Type::Date => matches!(literal, Literal::Date(_) | Literal::Named(_)),
            Type::Moment => matches!(literal, Literal::Moment(..) | Literal::Named(_)),
            Type::Custom => !matches!(literal, Literal::Flag(_)),
        }
    }

    fn takes_text(&self) -> bool {
        matches!(self.operand.holds(), Type::Text | Type::Id(_) | Type::Custom)
    }

    fn includes(&self, literals: &[Spanned<Literal>]) -> Checked<Test> {
        if self.operand.holds() != Type::Custom {
            return Err(FilterError::new(
                self.operator.span.clone(),
                format!("`{}` is no picklist with several values", self.name),
                format!("use {} IN ('a', 'b')", self.name),
            ));
        }
        let sets = literals.iter().map(|literal| {
            let Literal::Text(raw) = &literal.is else {
                let message = format!("{} takes texts, not {}", self.operator.is.as_str(), literal.is.kind());
                return Err(FilterError::new(literal.span.clone(), message, "write ('A;B', 'C')"));
            };
            let text = text::literal(raw, &literal.span)?;
            let all: Box<[Box<str>]> = text.split(';').map(|value| fold(value.trim())).collect();
            if all.iter().any(|value| value.is_empty()) {
                return Err(FilterError::new(
                    literal.span.clone(),
                    "a value is empty",
                    "'A;B' asks for both, 'A', 'B' for either; for none use = null",
                ));
            }
            Ok(all)
        });
        Ok(Test::Includes(sets.collect::<Checked<_>>()?))
    }

    fn like(&self, literal: &Spanned<Literal>) -> Checked<Test> {
        if !matches!(self.operand.holds(), Type::Text | Type::Custom) {
            return Err(FilterError::new(
                self.operator.span.clone(),
                format!("LIKE is for texts, and `{}` is {}", self.name, self.described()),
                "use = or IN",
            ));
        }
        let Literal::Text(raw) = &literal.is else {
            return Err(FilterError::new(
                literal.span.clone(),
                format!("LIKE takes a text, not {}", literal.is.kind()),
                "write LIKE 'x%'",
            ));
        };
        let swapped = |c: char| if self.operand.underscores { swap(c) } else { c };
        let steps = text::pattern(raw, &literal.span)?;
        let folded = steps.into_iter().map(|step| match step {
            Step::Char(c) => Step::Char(fold_char(swapped(c))),
            wild => wild,
        });
        Ok(Test::Like(Pattern::new(folded.collect())))
    }

    fn texts(&self, literals: &[Spanned<Literal>]) -> Checked<Box<[Box<str>]>> {
        let mut texts = Vec::with_capacity(literals.len());
        for literal in literals {
            let Literal::Text(raw) = &literal.is else {
                return Err(self.mismatch(literal));
            };
            let mut text = text::literal(raw, &literal.span)?;
            if self.operand.underscores {
                text = text.chars().map(swap).collect();
            }
            // A custom field may be a reference, whose ids are published with 18 characters.
            if self.operand.holds() == Type::Custom
                && text.len() == 15
                && let Ok(id) = RecordId::try_new(&text)
            {
                texts.push(fold(id.as_str()));
            }
            texts.push(fold(&text));
        }
        texts.sort_unstable();
        texts.dedup();
        Ok(texts.into())
    }

    fn no_order<T>(&self, what: &str, hint: String) -> Checked<T> {
        Err(FilterError::new(self.operator.span.clone(), what, hint))
    }

    fn described(&self) -> &'static str {
        match self.operand.holds() {
            Type::Text => "a text",
            Type::Flag => "true or false",
            Type::Id(_) => "an id",
            Type::Date => "a date",
            Type::Moment => "a date with time",
            Type::Custom => "a custom field",
        }
    }

    fn mismatch(&self, literal: &Spanned<Literal>) -> FilterError {
        let hint = match (self.operand.holds(), &literal.is) {
            (Type::Text | Type::Id(_), Literal::Number(written)) => format!("write '{written}' in single quotes"),
            (Type::Text | Type::Id(_), other) => format!("write '{other}' in single quotes if that text is meant"),
            (Type::Flag, Literal::Text(raw)) if ["true", "false"].iter().any(|word| raw.eq_ignore_ascii_case(word)) => {
                format!("write {} without quotes", raw.to_ascii_lowercase())
            }
            (Type::Flag, _) => "write true or false".to_owned(),
            (Type::Date, Literal::Moment(_, written)) => format!("write {}", &written[..10]),
            (Type::Date, Literal::Text(_)) => "write 2026-01-31 without quotes, or TODAY".to_owned(),
            (Type::Date, _) => "write 2026-01-31, or TODAY".to_owned(),
            (Type::Moment, Literal::Date(date)) => format!("write {date}T00:00:00Z"),
            (Type::Moment, Literal::Text(_)) => "write 2026-01-31T08:00:00Z without quotes, or TODAY".to_owned(),
            (Type::Moment, _) => "write 2026-01-31T08:00:00Z, or TODAY".to_owned(),
            (Type::Custom, _) => "a checkbox is compared with = and !=".to_owned(),
        };
        let message = format!("`{}` is {}, this is {}", self.name, self.described(), literal.is.kind());
        FilterError::new(literal.span.clone(), message, hint)
    }
}

/// `en_US` is published as `en-US`. Exchanged, not replaced: `en-US` is none that Salesforce stores and must match nobody.
fn swap(c: char) -> char {
    match c {
        '_' => '-',
        '-' => '_',
        other => other,
    }
}

fn is_empty(literal: &Literal) -> bool {
    matches!(literal, Literal::Text(raw) if raw.is_empty())
}

/// The 18 characters of an id of the right kind.
pub(crate) fn id(raw: &str, prefix: &str, span: &Range<usize>) -> Checked<Box<str>> {
    let text = text::literal(raw, span)?;
    let id = RecordId::try_new(&text).map_err(|error| {
        FilterError::new(
            span.clone(),
            error.to_string(),
            "copy it from the address of the record",
        )
    })?;
    if id.prefix() == prefix {
        Ok(id.as_str().into())
    } else {
        let message = format!("this id must start with {prefix}, it starts with {}", id.prefix());
        Err(FilterError::new(
            span.clone(),
            message,
            "it is the id of another kind of record",
        ))
    }
}

fn number(written: &str, span: &Range<usize>) -> Checked<f64> {
    let parsed = written.parse::<f64>().ok().filter(|number| number.is_finite());
    parsed.ok_or_else(|| FilterError::new(span.clone(), format!("`{written}` is no number"), ""))
}
