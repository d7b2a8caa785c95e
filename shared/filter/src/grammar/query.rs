//! What stands around the condition of a pasted query: passed over where it decides nothing, refused where it would.

use winnow::{Parser, combinator::opt, stream::Stream};

use super::{Grammar, Input, Parsed, is_symbol, is_word, keyword, refused, shown};
use crate::lexer::{Kind, Token};

impl Grammar {
    /// `SELECT … FROM User [alias] WHERE`. Which columns are selected does not matter.
    pub(super) fn head(&self, input: &mut Input<'_, '_>) -> Parsed<Option<String>> {
        let mut depth = 0_usize;
        loop {
            let Some(token) = input.next_token() else {
                return refused(
                    self.end..self.end,
                    "the query has no FROM",
                    "write SELECT Id FROM User WHERE …",
                );
            };
            if is_symbol(token, "(") {
                depth += 1;
            } else if is_symbol(token, ")") {
                depth = depth.saturating_sub(1);
            } else if depth == 0 && is_word(token, "FROM") {
                break;
            }
        }
        match input.next_token() {
            Some(token) if is_word(token, "User") => {}
            Some(token) => {
                return refused(
                    token.span.clone(),
                    format!("the query is about {}, a filter is about users", shown(token)),
                    "write SELECT Id FROM User WHERE …",
                );
            }
            None => return refused(self.end..self.end, "FROM is not followed by User", ""),
        }
        let mut alias = None;
        let _ = opt(keyword("AS")).parse_next(input)?;
        if let Some(token) = input.peek_token()
            && let Kind::Word(word) = token.kind
            && ![
                "WHERE", "USING", "WITH", "GROUP", "ORDER", "LIMIT", "OFFSET", "FOR", "ALL",
            ]
            .iter()
            .any(|keyword| word.eq_ignore_ascii_case(keyword))
        {
            input.next_token();
            alias = Some(word.to_owned());
        }
        if opt(keyword("WHERE")).parse_next(input)?.is_some() {
            return Ok(alias);
        }
        match input.peek_token() {
            Some(token) if is_word(token, "USING") => refused(
                token.span.clone(),
                "USING SCOPE depends on who asks",
                "say in WHERE whom you mean",
            ),
            None => refused(
                self.end..self.end,
                "the query has no WHERE",
                "for everybody write the word all",
            ),
            Some(token) => {
                let clause = self.clause(token);
                match clause {
                    Some((message, hint)) => refused(token.span.clone(), message, hint),
                    None => self.unexpected(input, "WHERE"),
                }
            }
        }
    }

    /// What clauses after WHERE would do, and why that is refused.
    pub(super) fn clause(&self, token: &Token<'_>) -> Option<(&'static str, &'static str)> {
        [
            (
                "LIMIT",
                "LIMIT picks people by chance",
                "a filter says who belongs, not how many; leave it out",
            ),
            (
                "OFFSET",
                "OFFSET picks people by chance",
                "a filter says who belongs, not how many; leave it out",
            ),
            (
                "GROUP",
                "GROUP BY makes rows that are no people",
                "leave it out; a filter judges one person at a time",
            ),
            (
                "HAVING",
                "HAVING makes rows that are no people",
                "leave it out; a filter judges one person at a time",
            ),
            (
                "ORDER",
                "ORDER BY without WHERE selects nobody in particular",
                "for everybody write the word all",
            ),
            (
                "WITH",
                "WITH is not supported",
                "leave it out; what may be read is decided at the source",
            ),
            (
                "FOR",
                "FOR VIEW, FOR REFERENCE and FOR UPDATE are not supported",
                "leave it out; a filter only reads",
            ),
            (
                "ALL",
                "ALL ROWS is not supported",
                "leave it out; users are never deleted in Salesforce",
            ),
            ("USING", "USING SCOPE depends on who asks", "say in WHERE whom you mean"),
        ]
        .iter()
        .find(|(word, ..)| is_word(token, word))
        .map(|(_, message, hint)| (*message, *hint))
    }

    /// What comes after the condition. ORDER BY decides nothing and is passed over.
    pub(super) fn tail(&self, input: &mut Input<'_, '_>, notes: &mut Vec<String>) -> Parsed<()> {
        if opt((keyword("ORDER"), keyword("BY"))).parse_next(input)?.is_some() {
            notes.push("ORDER BY has no effect: a filter says who belongs, not in which order".to_owned());
            while let Some(token) = input.peek_token() {
                if ["LIMIT", "OFFSET", "FOR", "ALL"]
                    .iter()
                    .any(|word| is_word(token, word))
                {
                    break;
                }
                if !matches!(token.kind, Kind::Word(_)) && !is_symbol(token, ",") {
                    return self.unexpected(input, "a field to order by");
                }
                input.next_token();
            }
        }
        let Some(token) = input.peek_token() else {
            return Ok(());
        };
        if let Some((message, hint)) = self.clause(token) {
            return refused(token.span.clone(), message, hint);
        }
        if is_symbol(token, ")") {
            return refused(token.span.clone(), "this parenthesis closes nothing", "");
        }
        self.unexpected(input, "AND, OR or the end")
    }
}
