//! The grammar of filters (RFC 7644 figure 1), by recursive descent.

use serde_json::Value;

use super::{Filter, Op, resource};

/// Parses a filter; also returns what follows it.
pub(super) fn parse_prefix(text: &str) -> Result<(Filter, &str), String> {
    let mut parser = Parser { rest: text, depth: 0 };
    let filter = parser.or()?;
    Ok((filter, parser.rest))
}

/// `depth` bounds nesting, so a hostile text cannot exhaust the stack.
struct Parser<'a> {
    rest: &'a str,
    depth: u8,
}

const DEPTH_MAX: u8 = 32;

impl<'a> Parser<'a> {
    fn or(&mut self) -> Result<Filter, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("the filter is nested too deeply".to_owned());
        }
        let mut left = self.and()?;
        while self.keyword("or") {
            left = Filter::Or(Box::new(left), Box::new(self.and()?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn and(&mut self) -> Result<Filter, String> {
        let mut left = self.term()?;
        while self.keyword("and") {
            left = left.and(self.term()?);
        }
        Ok(left)
    }

    fn term(&mut self) -> Result<Filter, String> {
        let before = self.rest;
        if self.keyword("not") && self.symbol('(') {
            let inner = self.or()?;
            return self.close(')', Filter::Not(Box::new(inner)));
        }
        self.rest = before;
        if self.symbol('(') {
            let inner = self.or()?;
            return self.close(')', inner);
        }
        let attribute = self.word();
        if attribute.is_empty() {
            return Err(format!("expected an attribute name before `{}`", excerpt(self.rest)));
        }
        if self.rest.starts_with('[') {
            self.symbol('[');
            let filter = Box::new(self.or()?);
            return self.close(
                ']',
                Filter::Element {
                    attribute: attribute.to_owned(),
                    filter,
                },
            );
        }
        let operator = self.word();
        if operator.eq_ignore_ascii_case("pr") {
            return Ok(Filter::Present {
                attribute: attribute.to_owned(),
            });
        }
        let op = Op::parse(operator)
            .ok_or_else(|| format!("`{operator}` is no operator (eq ne co sw ew pr gt ge lt le)"))?;
        let value = self.value(attribute)?;
        Ok(Filter::Compare {
            attribute: attribute.to_owned(),
            op,
            value,
        })
    }

    fn close(&mut self, symbol: char, filter: Filter) -> Result<Filter, String> {
        if self.symbol(symbol) {
            Ok(filter)
        } else {
            Err(format!("`{symbol}` is missing"))
        }
    }

    /// A JSON string, number, boolean or null. `[primary eq "True"]` becomes the boolean that it means.
    fn value(&mut self, attribute: &str) -> Result<Value, String> {
        self.rest = self.rest.trim_start();
        let end = if self.rest.starts_with('"') {
            let mut stream = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
            stream.next().and_then(Result::ok).map(|_| stream.byte_offset())
        } else {
            self.rest
                .find(|c: char| c.is_whitespace() || matches!(c, ')' | ']'))
                .or(Some(self.rest.len()))
        };
        let expected = || format!("expected a quoted value after `{attribute}`");
        let (text, rest) = self.rest.split_at(end.ok_or_else(expected)?);
        let value: Value = serde_json::from_str(text).map_err(|_| expected())?;
        if value.is_array() || value.is_object() {
            return Err(expected());
        }
        self.rest = rest;
        if attribute.eq_ignore_ascii_case("primary") || attribute.eq_ignore_ascii_case("active") {
            return resource::as_bool(&value)
                .map(Value::Bool)
                .ok_or_else(|| format!("`{attribute}` is compared with true or false"));
        }
        Ok(value)
    }

    fn word(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$' | '.' | ':')))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        let before = self.rest;
        if self.word().eq_ignore_ascii_case(keyword) {
            return true;
        }
        self.rest = before;
        false
    }

    fn symbol(&mut self, symbol: char) -> bool {
        match self.rest.trim_start().strip_prefix(symbol) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

fn excerpt(text: &str) -> String {
    text.trim().chars().take(20).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_filter_is_refused_in_words() {
        for (text, complaint) in [
            ("", "expected an attribute name"),
            ("userName", "is no operator"),
            ("userName eq ada", "expected a quoted value"),
            ("userName is \"ada\"", "`is` is no operator"),
            ("(a eq 1", "`)` is missing"),
            ("a[b eq 1", "`]` is missing"),
            ("primary eq \"maybe\"", "true or false"),
            ("a eq 1 b", "unexpected `b`"),
        ] {
            let error = Filter::parse(text).unwrap_err();
            assert!(error.contains(complaint), "{text}: {error}");
        }
        assert!(
            Filter::parse(&"(".repeat(10_000))
                .unwrap_err()
                .contains("nested too deeply")
        );
    }
}
