//! What stands on the right of an operator: one value, a list, a query.

use std::ops::Range;

use winnow::{
    Parser,
    combinator::{opt, separated},
    stream::Stream,
};

use super::{Grammar, Input, Parsed, is_symbol, is_word, keyword, refused, symbol};
use crate::{
    days::{COUNT_MAX, Named, NamedProblem},
    fields::{self, nearest},
    lexer::{Kind, Token},
    syntax::{Literal, Operator, Right, Select, Spanned},
};

impl Grammar {
    pub(super) fn bind<T>(&self, input: &mut Input<'_, '_>) -> Parsed<T> {
        let mut span = self.here(input);
        input.next_token();
        if let Some(token) = input.peek_token().filter(|token| matches!(token.kind, Kind::Word(_))) {
            span.end = token.span.end;
        }
        refused(
            span,
            "variables such as `:name` have no value here",
            "write the value itself",
        )
    }

    pub(super) fn literal(&self, input: &mut Input<'_, '_>) -> Parsed<Spanned<Literal>> {
        let Some(token) = input.peek_token() else {
            return self.unexpected(input, "a value");
        };
        let span = token.span.clone();
        let literal = match &token.kind {
            Kind::Text(raw) => Literal::Text((*raw).to_owned()),
            Kind::Number(written) => Literal::Number((*written).to_owned()),
            Kind::Date(date) => Literal::Date(*date),
            Kind::Moment(at, written) => Literal::Moment(*at, (*written).to_owned()),
            Kind::Word(word) if word.eq_ignore_ascii_case("null") => Literal::Null,
            Kind::Word(word) if word.eq_ignore_ascii_case("true") => Literal::Flag(true),
            Kind::Word(word) if word.eq_ignore_ascii_case("false") => Literal::Flag(false),
            Kind::Word(word) => return self.named(input, word, span),
            Kind::Symbol(":") => return self.bind(input),
            Kind::Symbol("(") => {
                return refused(span, "a list or query stands where one value is expected", "use IN (…)");
            }
            Kind::Symbol(_) => return self.unexpected(input, "a value"),
        };
        input.next_token();
        Ok(Spanned { is: literal, span })
    }

    /// A word in the place of a value: a named date, or a text without quotes.
    pub(super) fn named(&self, input: &mut Input<'_, '_>, word: &str, span: Range<usize>) -> Parsed<Spanned<Literal>> {
        input.next_token();
        let mut span = span;
        let mut count = None;
        if opt(symbol(":")).parse_next(input)?.is_some() {
            let here = self.here(input);
            span.end = here.end;
            let parsed = match input.peek_token().map(|token| &token.kind) {
                Some(Kind::Number(written)) => Some(written.parse::<i32>().unwrap_or(-1)),
                _ => None,
            };
            let Some(parsed) = parsed else {
                return self.unexpected(input, "a number of days, weeks, …");
            };
            input.next_token();
            count = Some(parsed);
        }
        let problem = match Named::new(word, count) {
            Ok(named) => {
                return Ok(Spanned {
                    is: Literal::Named(named),
                    span,
                });
            }
            Err(problem) => problem,
        };
        match problem {
            NamedProblem::NeedsCount => refused(span, format!("`{word}` needs a number"), format!("write {word}:7")),
            NamedProblem::TakesNoCount => refused(span, format!("`{word}` takes no number"), ""),
            NamedProblem::Count => refused(
                span,
                format!("the number of `{word}` must be a whole number from 1 to {COUNT_MAX}"),
                "",
            ),
            NamedProblem::Unknown if fields::names().any(|name| name.eq_ignore_ascii_case(word)) => refused(
                span,
                "two fields cannot be compared with each other, in Salesforce neither",
                format!("write a value; texts stand in single quotes: '{word}'"),
            ),
            NamedProblem::Unknown => {
                let near = nearest(word, Named::names());
                let hint = if near.is_empty() || !word.contains('_') && word.len() < 5 {
                    format!("texts stand in single quotes: '{word}'")
                } else {
                    format!("texts stand in single quotes; or did you mean {}?", near.join(" or "))
                };
                refused(span, format!("`{word}` is no value"), hint)
            }
        }
    }

    pub(super) fn list<'t, 'a>(
        &self,
        input: &mut Input<'t, 'a>,
        operator: &Spanned<Operator>,
        depth: usize,
    ) -> Parsed<Right> {
        let word = operator.is.as_str();
        if let Some(token) = input.peek_token()
            && !is_symbol(token, "(")
        {
            if is_symbol(token, ":") {
                return self.bind(input);
            }
            return refused(
                token.span.clone(),
                format!("{word} needs a list"),
                format!("write {word} ('a', 'b')"),
            );
        }
        if input.get(1).is_some_and(|token| is_word(token, "SELECT")) {
            return self.select(input, operator, depth).map(Right::Select);
        }
        if let [open, close, ..] = &**input
            && is_symbol(open, "(")
            && is_symbol(close, ")")
        {
            return refused(
                open.span.start..close.span.end,
                "the list is empty",
                "an empty list would match nobody; leave the condition out",
            );
        }
        self.need(input, "(", "`(`")?;
        let values: Vec<_> =
            separated(1.., |input: &mut Input<'t, 'a>| self.literal(input), symbol(",")).parse_next(input)?;
        self.need(input, ")", "`,` or `)`")?;
        Ok(Right::List(values))
    }

    pub(super) fn select(
        &self,
        input: &mut Input<'_, '_>,
        operator: &Spanned<Operator>,
        depth: usize,
    ) -> Parsed<Box<Select>> {
        let start = self.need(input, "(", "`(`")?.start;
        let select = self.here(input);
        if !matches!(operator.is, Operator::In | Operator::NotIn) {
            return refused(
                select,
                format!("{} takes no query", operator.is.as_str()),
                "only IN and NOT IN do",
            );
        }
        input.next_token();
        let name = |input: &mut Input<'_, '_>, wanted: &str| match input.peek_token() {
            Some(Token {
                kind: Kind::Word(word),
                span,
            }) => {
                input.next_token();
                Ok(Spanned {
                    is: (*word).to_owned(),
                    span: span.clone(),
                })
            }
            _ => self.unexpected(input, wanted),
        };
        let column = name(input, "a field")?;
        if opt(keyword("FROM")).parse_next(input)?.is_none() {
            return self.unexpected(input, "FROM");
        }
        let object = name(input, "PermissionSetAssignment or GroupMember")?;
        let condition = match opt(keyword("WHERE")).parse_next(input)? {
            Some(_) => Some(self.conditions(input, depth + 1)?),
            None => None,
        };
        if let Some(token) = input.peek_token()
            && let Some((message, hint)) = self.clause(token)
        {
            return refused(token.span.clone(), message, hint);
        }
        let end = self.need(input, ")", "AND, OR or `)`")?.end;
        Ok(Box::new(Select {
            column,
            object,
            condition,
            whole: Spanned {
                is: (),
                span: start..end,
            },
        }))
    }
}
