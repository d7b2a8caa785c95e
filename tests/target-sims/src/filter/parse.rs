//! Text to [`Filter`]. `and` binds tighter than `or`; names are checked while reading, so an unknown one is an error here.

use serde_json::Value;

use super::{Filter, Operator, PartTest};
use crate::error::ScimError;
use crate::path::{AttributePath, Scope};
use crate::schema::Kind;

/// Deeper nesting is refused: a request must not exhaust the stack.
const DEPTH_MAX: u32 = 50;

/// Parses a complete filter.
pub(crate) fn parse(scope: Scope, text: &str) -> Result<Filter, ScimError> {
    let mut parser = Parser::new(text);
    let filter = parser.or(scope, 0)?;
    parser.end()?;
    Ok(filter)
}

/// A position in a text; also used by PATCH paths, which hold filters in brackets.
pub(crate) struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(text: &'a str) -> Parser<'a> {
        Parser { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches(' ').len();
    }

    /// Takes `symbol` if it comes next.
    pub(crate) fn take(&mut self, symbol: char) -> bool {
        let found = self.rest().starts_with(symbol);
        if found {
            self.at += symbol.len_utf8();
        }
        found
    }

    /// An attribute path's text: everything that may stand in a URN or a name.
    pub(crate) fn name(&mut self) -> &'a str {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '$');
        let rest = self.rest();
        let end = rest.find(|c| !allowed(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    pub(crate) fn end(&mut self) -> Result<(), ScimError> {
        self.space();
        if self.rest().is_empty() {
            Ok(())
        } else {
            Err(self.error("unexpected text"))
        }
    }

    fn error(&self, problem: &str) -> ScimError {
        ScimError::invalid_filter(format!("{problem} at position {} of {:?}", self.at, self.text))
    }

    /// Takes a word (case-insensitively) that ends at a space, a bracket or the end.
    fn word(&mut self, word: &str) -> bool {
        let rest = self.rest();
        let found = rest
            .get(..word.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(word))
            && !rest[word.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.');
        if found {
            self.at += word.len();
        }
        found
    }

    pub(crate) fn or(&mut self, scope: Scope, depth: u32) -> Result<Filter, ScimError> {
        let mut left = self.and(scope, depth)?;
        loop {
            self.space();
            if !self.word("or") {
                return Ok(left);
            }
            left = Filter::Or(Box::new(left), Box::new(self.and(scope, depth)?));
        }
    }

    fn and(&mut self, scope: Scope, depth: u32) -> Result<Filter, ScimError> {
        let mut left = self.unary(scope, depth)?;
        loop {
            self.space();
            if !self.word("and") {
                return Ok(left);
            }
            left = Filter::And(Box::new(left), Box::new(self.unary(scope, depth)?));
        }
    }

    fn unary(&mut self, scope: Scope, depth: u32) -> Result<Filter, ScimError> {
        if depth > DEPTH_MAX {
            return Err(self.error("nested too deeply"));
        }
        self.space();
        let start = self.at;
        if self.word("not") {
            self.space();
            if self.take('(') {
                return Ok(Filter::Not(Box::new(self.group(scope, depth)?)));
            }
            // An attribute might be called "not".
            self.at = start;
        }
        if self.take('(') {
            return self.group(scope, depth);
        }
        self.test(scope, depth)
    }

    fn group(&mut self, scope: Scope, depth: u32) -> Result<Filter, ScimError> {
        let inner = self.or(scope, depth + 1)?;
        self.space();
        if self.take(')') {
            Ok(inner)
        } else {
            Err(self.error("missing )"))
        }
    }

    fn test(&mut self, scope: Scope, depth: u32) -> Result<Filter, ScimError> {
        let name = self.name();
        let Some(path) = scope.resolve(name) else {
            return Err(ScimError::invalid_filter(format!(
                "no attribute {name:?} in {:?}",
                self.text
            )));
        };
        if self.take('[') {
            return self.element(path, depth);
        }
        self.space();
        if self.word("pr") {
            return Ok(Filter::Present(path));
        }
        let operator = self.operator()?;
        let value = self.value()?;
        let path = compared(path);
        check(path, operator, &value).map_err(|problem| self.error(problem))?;
        Ok(Filter::Compare { path, operator, value })
    }

    fn element(&mut self, list: AttributePath, depth: u32) -> Result<Filter, ScimError> {
        let inner = self.brackets(list, depth)?;
        let mut part = None;
        if self.take('.') {
            let name = self.name();
            let Some(sub) = list.attribute.sub(name) else {
                return Err(self.error("unknown part of the element"));
            };
            self.space();
            let test = if self.word("pr") {
                PartTest::Present
            } else {
                let operator = self.operator()?;
                let value = self.value()?;
                let path = AttributePath {
                    extension: None,
                    attribute: sub,
                    sub: None,
                };
                check(path, operator, &value).map_err(|problem| self.error(problem))?;
                PartTest::Compare(operator, value)
            };
            part = Some((sub, test));
        }
        Ok(Filter::Element { list, inner, part })
    }

    /// What stands between `[` (already taken) and `]`.
    pub(crate) fn brackets(&mut self, list: AttributePath, depth: u32) -> Result<Box<Filter>, ScimError> {
        if list.sub.is_some() || list.attribute.sub_attributes().is_empty() {
            return Err(self.error("only lists of elements can be filtered"));
        }
        let inner = self.or(Scope::Element(list.attribute), depth + 1)?;
        self.space();
        if self.take(']') {
            Ok(Box::new(inner))
        } else {
            Err(self.error("missing ]"))
        }
    }

    fn operator(&mut self) -> Result<Operator, ScimError> {
        const OPERATORS: [(&str, Operator); 9] = [
            ("eq", Operator::Eq),
            ("ne", Operator::Ne),
            ("co", Operator::Co),
            ("sw", Operator::Sw),
            ("ew", Operator::Ew),
            ("gt", Operator::Gt),
            ("ge", Operator::Ge),
            ("lt", Operator::Lt),
            ("le", Operator::Le),
        ];
        for (word, operator) in OPERATORS {
            if self.word(word) {
                return Ok(operator);
            }
        }
        Err(self.error("expected an operator"))
    }

    /// A JSON value: text, number, true, false or null.
    fn value(&mut self) -> Result<Value, ScimError> {
        self.space();
        // serde_json wants to see a delimiter of JSON after a word, and a closing bracket is none.
        for (word, value) in [
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("null", Value::Null),
        ] {
            if self.word(word) {
                return Ok(value);
            }
        }
        let mut values = serde_json::Deserializer::from_str(self.rest()).into_iter::<Value>();
        let value = match values.next() {
            Some(Ok(value)) if !value.is_array() && !value.is_object() => value,
            _ => return Err(self.error("expected a JSON value")),
        };
        self.at += values.byte_offset();
        Ok(value)
    }
}

/// A list compared as a whole means its `value` (RFC 7644 section 3.4.2.2).
fn compared(path: AttributePath) -> AttributePath {
    match path.sub {
        None => AttributePath {
            sub: path.attribute.sub("value"),
            ..path
        },
        Some(_) => path,
    }
}

/// Strict about types: a boolean is compared with true or false, and never ordered.
fn check(path: AttributePath, operator: Operator, value: &Value) -> Result<(), &'static str> {
    if value.is_null() {
        return match operator {
            Operator::Eq | Operator::Ne => Ok(()),
            _ => Err("null cannot be ordered or searched"),
        };
    }
    match path.sub.unwrap_or(path.attribute).kind {
        Kind::Boolean if !value.is_boolean() => Err("a boolean attribute needs true or false"),
        Kind::Boolean if !matches!(operator, Operator::Eq | Operator::Ne) => {
            Err("a boolean attribute cannot be ordered or searched")
        }
        Kind::Text | Kind::DateTime if !value.is_string() => Err("a text attribute needs a text"),
        Kind::Complex(_) => Err("a complex attribute cannot be compared"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::USER;

    fn error(text: &str) -> ScimError {
        parse(Scope::Resource(&USER), text).expect_err(text)
    }

    #[test]
    fn and_binds_tighter_than_or() {
        let scope = Scope::Resource(&USER);
        let plain = parse(scope, r#"title pr or active eq true and userName eq "a""#);
        let grouped = parse(scope, r#"title pr or (active eq true and userName eq "a")"#);
        assert_eq!(plain, grouped);
        assert!(matches!(plain, Ok(Filter::Or(..))));
    }

    #[test]
    fn bad_filters_are_refused_with_their_type() {
        for text in [
            "",
            "userName",
            "userName eq",
            "userName eq ada",
            r#"userName eq "ada"#,
            r#"userName == "ada""#,
            r#"shoeSize eq "44""#,
            r#"(userName eq "ada""#,
            r#"userName eq "ada" garbage"#,
            r#"emails[type eq "work""#,
            r#"active eq "True""#,
            "active gt true",
            r#"name eq "x""#,
            r#"userName[value eq "x"]"#,
            r#"emails.value[type eq "x"]"#,
        ] {
            assert_eq!(error(text).scim_type, Some("invalidFilter"), "{text}");
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        let text = format!("{}title pr{}", "(".repeat(500), ")".repeat(500));
        assert!(error(&text).detail.contains("too deeply"));
    }

    #[test]
    fn an_equality_that_must_hold_is_found_for_the_index() {
        let scope = Scope::Resource(&USER);
        let filter = parse(scope, r#"active eq true and userName eq "Ada""#).unwrap();
        assert_eq!(filter.required_text("userName", None), Some("Ada"));
        let filter = parse(scope, r#"emails[type eq "work"].value eq "a@b""#).unwrap();
        assert_eq!(filter.required_text("emails", Some("value")), Some("a@b"));
        let filter = parse(scope, r#"emails[type eq "work" and value eq "a@b"]"#).unwrap();
        assert_eq!(filter.required_text("emails", Some("value")), Some("a@b"));
        let filter = parse(scope, r#"title pr or userName eq "Ada""#).unwrap();
        assert_eq!(filter.required_text("userName", None), None);
    }
}
