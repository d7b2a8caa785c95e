//! A recursive-descent parser for queries. Mixing AND, OR and NOT at one level without parentheses is refused, as
//! Salesforce refuses it (SOQL Reference, "Logical Operators").
//!
//! Leaves out whether names exist and types fit: `resolve.rs`.

use super::{
    ast::{Condition, Literal, Operator, Order, Path, Query, Select},
    lexer::{self, Token},
};
use crate::error::SalesforceError;

/// Longest statement.
const QUERY_MAX: usize = 100_000;

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, usize)>,
    next: usize,
}

pub(crate) fn parse(text: &str) -> Result<Query, SalesforceError> {
    if text.chars().count() > QUERY_MAX {
        return Err(malformed("SOQL statements cannot be longer than 100000 characters."));
    }
    let tokens = lexer::tokens(text).map_err(|(message, at)| at_place(text, at, &message))?;
    let mut parser = Parser { text, tokens, next: 0 };
    let query = parser.query()?;
    if parser.next < parser.tokens.len() {
        return Err(parser.unexpected());
    }
    Ok(query)
}

fn malformed(message: impl Into<String>) -> SalesforceError {
    SalesforceError::bad_request("MALFORMED_QUERY", message)
}

fn at_place(text: &str, at: usize, message: &str) -> SalesforceError {
    let excerpt: String = text[at..].chars().take(40).collect();
    let row = text[..at].matches('\n').count() + 1;
    let column = text[..at].rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    malformed(format!("\n{excerpt}\n^\nERROR at Row:{row}:Column:{column}\n{message}"))
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(token, _)| token)
    }

    fn unexpected(&self) -> SalesforceError {
        match self.tokens.get(self.next) {
            None => malformed("unexpected token: '<EOF>'"),
            Some((token, at)) => {
                let shown = match token {
                    Token::Word(word) => word.clone(),
                    Token::Symbol(symbol) => (*symbol).to_owned(),
                    Token::Text(text) => format!("'{text}'"),
                    Token::Number(number) => number.to_string(),
                    Token::DateTime(_) | Token::Date(_) => "date".to_owned(),
                };
                at_place(self.text, *at, &format!("unexpected token: '{shown}'"))
            }
        }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.next += usize::from(found);
        found
    }

    fn need_word(&mut self, word: &str) -> Result<(), SalesforceError> {
        if self.take_word(word) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(found)) if *found == symbol);
        self.next += usize::from(found);
        found
    }

    fn need_symbol(&mut self, symbol: &str) -> Result<(), SalesforceError> {
        if self.take_symbol(symbol) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn name(&mut self) -> Result<String, SalesforceError> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.next += 1;
                Ok(word)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn path(&mut self) -> Result<Path, SalesforceError> {
        let path: Path = self.name()?.split('.').map(ToOwned::to_owned).collect();
        if path.iter().any(String::is_empty) || path.len() > 6 {
            return Err(malformed("relationship path is malformed or has more than five levels"));
        }
        Ok(path)
    }

    fn query(&mut self) -> Result<Query, SalesforceError> {
        self.need_word("SELECT")?;
        let select = self.select()?;
        self.need_word("FROM")?;
        let from = self.name()?;
        let condition = if self.take_word("WHERE") {
            Some(self.conditions()?)
        } else {
            None
        };
        let mut order = Vec::new();
        if self.take_word("ORDER") {
            self.need_word("BY")?;
            order.push(self.order()?);
            while self.take_symbol(",") {
                order.push(self.order()?);
            }
        }
        let limit = if self.take_word("LIMIT") {
            Some(self.count()?)
        } else {
            None
        };
        let offset = if self.take_word("OFFSET") {
            Some(self.count()?)
        } else {
            None
        };
        Ok(Query {
            select,
            from,
            condition,
            order,
            limit,
            offset,
        })
    }

    fn select(&mut self) -> Result<Select, SalesforceError> {
        if self.is_word("COUNT") {
            self.next += 1;
            self.need_symbol("(")?;
            self.need_symbol(")")?;
            return Ok(Select::Count);
        }
        let mut fields = vec![self.path()?];
        while self.take_symbol(",") {
            fields.push(self.path()?);
        }
        Ok(Select::Fields(fields))
    }

    fn order(&mut self) -> Result<Order, SalesforceError> {
        let path = self.path()?;
        let descending = self.take_word("DESC");
        if !descending {
            self.take_word("ASC");
        }
        let mut nulls_last = false;
        if self.take_word("NULLS") {
            nulls_last = self.take_word("LAST");
            if !nulls_last {
                self.need_word("FIRST")?;
            }
        }
        Ok(Order {
            path,
            descending,
            nulls_last,
        })
    }

    fn count(&mut self) -> Result<usize, SalesforceError> {
        match self.peek() {
            Some(Token::Number(number)) if *number >= 0.0 && number.fract() == 0.0 && *number < 1e9 => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "checked to be a small whole number"
                )]
                let count = *number as usize;
                self.next += 1;
                Ok(count)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// One level: a chain of one kind of operator.
    fn conditions(&mut self) -> Result<Condition, SalesforceError> {
        if self.take_word("NOT") {
            let inner = self.simple()?;
            if self.is_word("AND") || self.is_word("OR") {
                return Err(self.unexpected());
            }
            return Ok(Condition::Not(Box::new(inner)));
        }
        let first = self.simple()?;
        let Some(operator) = ["AND", "OR"].into_iter().find(|word| self.is_word(word)) else {
            return Ok(first);
        };
        let mut parts = vec![first];
        while self.take_word(operator) {
            parts.push(self.simple()?);
        }
        if self.is_word("AND") || self.is_word("OR") {
            return Err(self.unexpected());
        }
        Ok(if operator == "AND" {
            Condition::And(parts)
        } else {
            Condition::Or(parts)
        })
    }

    fn simple(&mut self) -> Result<Condition, SalesforceError> {
        if self.take_symbol("(") {
            let inner = self.conditions()?;
            self.need_symbol(")")?;
            return Ok(inner);
        }
        if self.is_word("NOT") || self.is_word("AND") || self.is_word("OR") {
            return Err(self.unexpected());
        }
        let path = self.path()?;
        let negated = self.take_word("NOT");
        if self.take_word("IN") {
            return self.list(path, negated);
        }
        if negated {
            return Err(self.unexpected());
        }
        let operator = self.operator()?;
        Ok(Condition::Compare(path, operator, self.literal()?))
    }

    fn list(&mut self, path: Path, negated: bool) -> Result<Condition, SalesforceError> {
        self.need_symbol("(")?;
        let mut literals = vec![self.literal()?];
        while self.take_symbol(",") {
            literals.push(self.literal()?);
        }
        self.need_symbol(")")?;
        Ok(Condition::In(path, negated, literals))
    }

    fn operator(&mut self) -> Result<Operator, SalesforceError> {
        if self.take_word("LIKE") {
            return Ok(Operator::Like);
        }
        for (symbol, operator) in [
            ("=", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ] {
            if self.take_symbol(symbol) {
                return Ok(operator);
            }
        }
        Err(self.unexpected())
    }

    fn literal(&mut self) -> Result<Literal, SalesforceError> {
        let literal = match self.peek() {
            Some(Token::Text(text)) => Literal::Text(text.clone()),
            Some(Token::Number(number)) => Literal::Number(*number),
            Some(Token::DateTime(ms)) => Literal::DateTime(*ms),
            Some(Token::Date(ms)) => Literal::Date(*ms),
            Some(Token::Word(word)) => match word.to_ascii_uppercase().as_str() {
                "NULL" => Literal::Null,
                "TRUE" => Literal::Bool(true),
                "FALSE" => Literal::Bool(false),
                "SELECT" => return Err(self.unexpected()),
                named => Literal::Named(named.to_owned(), None),
            },
            _ => return Err(self.unexpected()),
        };
        self.next += 1;
        if let Literal::Named(name, None) = literal {
            if !self.take_symbol(":") {
                return Ok(Literal::Named(name, None));
            }
            let count = self.count()?;
            return Ok(Literal::Named(name, i64::try_from(count).ok()));
        }
        Ok(literal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) {
        assert_eq!(parse(text).unwrap_err().code, "MALFORMED_QUERY", "{text}");
    }

    #[test]
    fn the_usual_query_is_read() {
        let query = parse(
            "select Id, Manager.Email from User where (UserType = 'Standard' AND IsActive = true) \
             AND SystemModstamp >= 2026-01-02T03:04:05Z order by SystemModstamp, Id desc nulls last limit 10 offset 5",
        )
        .unwrap();
        assert_eq!(query.from, "User");
        assert_eq!(
            query.select,
            Select::Fields(vec![vec!["Id".into()], vec!["Manager".into(), "Email".into()]])
        );
        assert_eq!(query.order.len(), 2);
        assert_eq!((query.limit, query.offset), (Some(10), Some(5)));
    }

    #[test]
    fn mixing_operators_without_parentheses_is_refused() {
        refused("SELECT Id FROM User WHERE a = 1 AND b = 2 OR c = 3");
        refused("SELECT Id FROM User WHERE NOT a = 1 AND b = 2");
        refused("SELECT Id FROM User WHERE a = 1 AND NOT b = 2");
        assert!(parse("SELECT Id FROM User WHERE a = 1 AND (b = 2 OR c = 3)").is_ok());
        assert!(parse("SELECT Id FROM User WHERE a = 1 AND (NOT b LIKE 'x%')").is_ok());
    }

    #[test]
    fn what_is_not_known_is_refused() {
        refused("SELECT FROM User");
        refused("SELECT Id FROM User WHERE Id IN (SELECT OwnerId FROM Account)");
        refused("SELECT Id FROM User WHERE Title NOT LIKE 'x'");
        refused("SELECT Id FROM User GROUP BY Title");
        refused("SELECT Id FROM User WHERE Title = \"x\"");
        refused("SELECT Id FROM User; DELETE");
        refused("DELETE FROM User");
        refused("");
    }
}
