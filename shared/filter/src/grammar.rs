//! From tokens to a condition, or to the condition of a whole query.
//!
//! Mixing AND, OR and NOT at one level without parentheses is refused, as Salesforce refuses it: there is no precedence
//! to guess. Leaves out whether names exist and values fit: `check.rs`.

mod query;
mod values;

use std::ops::Range;

use winnow::{
    Parser,
    combinator::{alt, opt},
    error::ErrMode,
    stream::{Stream, TokenSlice},
    token::one_of,
};

use crate::{
    error::FilterError,
    lexer::{self, Kind, Token},
    syntax::{Comparison, Expr, Operator, Right, Spanned},
};

/// How deep parentheses may be nested. Parsing, printing and evaluating recurse as deep as this.
const DEPTH_MAX: usize = 50;
/// How many comparisons a filter may have.
const TERMS_MAX: usize = 2_000;

type Input<'t, 'a> = TokenSlice<'t, Token<'a>>;
type Parsed<T> = Result<T, ErrMode<FilterError>>;

/// A text, parsed.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) condition: Expr,
    /// The name by which a pasted query calls `User`.
    pub(crate) alias: Option<String>,
    /// What was read and has no effect, in words.
    pub(crate) notes: Vec<String>,
}

pub(crate) fn parse(text: &str) -> Result<Text, FilterError> {
    let tokens = lexer::tokens(text)?;
    if tokens.is_empty() {
        return Err(FilterError::new(
            0..text.len(),
            "the filter is empty",
            "for everybody write the word all",
        ));
    }
    let parser = Grammar { end: text.len() };
    let mut input = TokenSlice::new(&tokens);
    let parsed = parser.text(&mut input).map_err(|error| match error {
        ErrMode::Cut(error) | ErrMode::Backtrack(error) => error,
        ErrMode::Incomplete(_) => FilterError::new(text.len()..text.len(), "the filter ends too early", ""),
    })?;
    let terms = terms(&parsed.condition);
    if terms > TERMS_MAX {
        return Err(FilterError::new(
            0..text.len(),
            format!("{terms} comparisons are more than the {TERMS_MAX} that a filter may have"),
            "use IN ('a', 'b') instead of many OR",
        ));
    }
    Ok(parsed)
}

fn terms(expr: &Expr) -> usize {
    match expr {
        Expr::And(parts) | Expr::Or(parts) => parts.iter().map(terms).sum(),
        Expr::Not(inner) => terms(inner),
        Expr::Compare(comparison) => match &comparison.right {
            Right::Select(select) => 1 + select.condition.as_ref().map_or(0, terms),
            _ => 1,
        },
    }
}

fn refused<T>(span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) -> Parsed<T> {
    Err(ErrMode::Cut(FilterError::new(span, message, hint)))
}

fn is_word(token: &Token<'_>, word: &str) -> bool {
    matches!(token.kind, Kind::Word(found) if found.eq_ignore_ascii_case(word))
}
fn is_symbol(token: &Token<'_>, symbol: &str) -> bool {
    matches!(token.kind, Kind::Symbol(found) if found == symbol)
}
fn keyword<'t, 'a: 't>(word: &'static str) -> impl Parser<Input<'t, 'a>, &'t Token<'a>, ErrMode<FilterError>> {
    one_of(move |token: &Token<'a>| is_word(token, word))
}
fn symbol<'t, 'a: 't>(symbol: &'static str) -> impl Parser<Input<'t, 'a>, &'t Token<'a>, ErrMode<FilterError>> {
    one_of(move |token: &Token<'a>| is_symbol(token, symbol))
}

/// How a token is called in messages.
fn shown(token: &Token<'_>) -> String {
    match &token.kind {
        Kind::Word(word) | Kind::Number(word) | Kind::Moment(_, word) => format!("`{word}`"),
        Kind::Text(raw) => {
            let short: String = raw.chars().take(30).collect();
            format!("`'{short}{}'`", if short.len() < raw.len() { "…" } else { "" })
        }
        Kind::Date(date) => format!("`{date}`"),
        Kind::Symbol(symbol) => format!("`{symbol}`"),
    }
}

struct Grammar {
    /// Where the text ends.
    end: usize,
}

impl Grammar {
    fn here(&self, input: &Input<'_, '_>) -> Range<usize> {
        input
            .peek_token()
            .map_or(self.end..self.end, |token| token.span.clone())
    }

    fn unexpected<T>(&self, input: &Input<'_, '_>, wanted: &str) -> Parsed<T> {
        match input.peek_token() {
            None => refused(
                self.here(input),
                format!("the filter ends where {wanted} is expected"),
                "",
            ),
            Some(token) => refused(
                self.here(input),
                format!("{} stands where {wanted} is expected", shown(token)),
                "",
            ),
        }
    }

    fn need(&self, input: &mut Input<'_, '_>, what: &'static str, wanted: &str) -> Parsed<Range<usize>> {
        match opt(symbol(what)).parse_next(input)? {
            Some(token) => Ok(token.span.clone()),
            None => self.unexpected(input, wanted),
        }
    }

    fn text(&self, input: &mut Input<'_, '_>) -> Parsed<Text> {
        let whole = input.peek_token().is_some_and(|token| is_word(token, "SELECT"));
        let (alias, mut notes) = (if whole { self.head(input)? } else { None }, Vec::new());
        if !whole {
            // Copied together with its keyword.
            let _ = opt(keyword("WHERE")).parse_next(input)?;
        }
        let condition = self.conditions(input, 0)?;
        self.tail(input, &mut notes)?;
        Ok(Text {
            condition,
            alias,
            notes,
        })
    }

    /// One level: a comparison, one NOT, or a chain of one operator.
    fn conditions(&self, input: &mut Input<'_, '_>, depth: usize) -> Parsed<Expr> {
        if depth > DEPTH_MAX {
            return refused(
                self.here(input),
                format!("parentheses are nested more than {DEPTH_MAX} deep"),
                "use IN ('a', 'b'), or fewer parentheses",
            );
        }
        if opt(keyword("NOT")).parse_next(input)?.is_some() {
            let inner = self.simple(input, depth)?;
            if let Some(token) = input.peek_token()
                && (is_word(token, "AND") || is_word(token, "OR"))
            {
                return refused(
                    token.span.clone(),
                    "NOT and another operator stand side by side",
                    "put NOT in parentheses: (NOT Title = 'x') AND Department = 'y'",
                );
            }
            return Ok(Expr::Not(Box::new(inner)));
        }
        let first = self.simple(input, depth)?;
        let Some(operator) = opt(alt((keyword("AND"), keyword("OR")))).parse_next(input)? else {
            return Ok(first);
        };
        let word = if is_word(operator, "AND") { "AND" } else { "OR" };
        let mut parts = vec![first, self.simple(input, depth)?];
        while opt(keyword(word)).parse_next(input)?.is_some() {
            parts.push(self.simple(input, depth)?);
        }
        if let Some(token) = input.peek_token()
            && (is_word(token, "AND") || is_word(token, "OR"))
        {
            return refused(
                token.span.clone(),
                "AND and OR stand side by side without parentheses",
                "say which belong together: (a AND b) OR c, or a AND (b OR c)",
            );
        }
        Ok(if word == "AND" {
            Expr::And(parts)
        } else {
            Expr::Or(parts)
        })
    }

    fn simple(&self, input: &mut Input<'_, '_>, depth: usize) -> Parsed<Expr> {
        if let Some(open) = opt(symbol("(")).parse_next(input)? {
            let open = open.span.clone();
            let inner = self.conditions(input, depth + 1)?;
            if opt(symbol(")")).parse_next(input)?.is_none() {
                if input.peek_token().is_none() {
                    return refused(open, "this parenthesis is never closed", "");
                }
                return self.unexpected(input, "AND, OR or `)`");
            }
            return Ok(inner);
        }
        self.comparison(input, depth).map(Expr::Compare)
    }

    fn comparison(&self, input: &mut Input<'_, '_>, depth: usize) -> Parsed<Comparison> {
        let field = self.field(input)?;
        let at = self.here(input);
        let negated = opt(keyword("NOT")).parse_next(input)?;
        let Some(token) = input.next_token() else {
            return refused(
                field.span.clone(),
                format!("`{}` is compared with nothing", field.is),
                format!("write {} = 'value', or {} = true for a checkbox", field.is, field.is),
            );
        };
        let span = at.start..token.span.end;
        if negated.is_some() && !is_word(token, "IN") {
            let hint = if is_word(token, "LIKE") {
                format!("write (NOT {} LIKE 'x%')", field.is)
            } else if is_word(token, "INCLUDES") {
                "use EXCLUDES".to_owned()
            } else {
                format!("write (NOT {} = 'x'), or `!=`", field.is)
            };
            return refused(
                span,
                format!("SOQL has no {} after a field", words(&["NOT", &plain(token)])),
                hint,
            );
        }
        let operator = match &token.kind {
            Kind::Symbol("=") => Operator::Equal,
            Kind::Symbol("!=") => Operator::NotEqual,
            Kind::Symbol("<") => Operator::Less,
            Kind::Symbol("<=") => Operator::LessOrEqual,
            Kind::Symbol(">") => Operator::Greater,
            Kind::Symbol(">=") => Operator::GreaterOrEqual,
            Kind::Word(_) if is_word(token, "LIKE") => Operator::Like,
            Kind::Word(_) if is_word(token, "IN") && negated.is_some() => Operator::NotIn,
            Kind::Word(_) if is_word(token, "IN") => Operator::In,
            Kind::Word(_) if is_word(token, "INCLUDES") => Operator::Includes,
            Kind::Word(_) if is_word(token, "EXCLUDES") => Operator::Excludes,
            _ => return self.no_operator(&field, token),
        };
        let operator = Spanned { is: operator, span };
        let right = match operator.is {
            Operator::In | Operator::NotIn | Operator::Includes | Operator::Excludes => {
                self.list(input, &operator, depth)?
            }
            _ => Right::Literal(self.literal(input)?),
        };
        Ok(Comparison { field, operator, right })
    }

    fn no_operator<T>(&self, field: &Spanned<String>, token: &Token<'_>) -> Parsed<T> {
        let name = &field.is;
        let word = plain(token).to_ascii_uppercase();
        let hint = match word.as_str() {
            "(" => return self.function(field),
            "IS" => format!("use {name} = null or {name} != null"),
            "BETWEEN" => format!("use {name} >= … AND {name} <= …"),
            "CONTAINS" | "ILIKE" | "RLIKE" | "REGEXP" | "MATCHES" | "STARTS" | "STARTSWITH" | "ENDS" | "ENDSWITH" => {
                format!("use {name} LIKE 'x%' for a beginning, '%x' for an end, '%x%' for what is inside")
            }
            "EQUALS" | "EQ" => format!("use {name} = 'x'"),
            "NE" => format!("use {name} != 'x'"),
            "AND" | "OR" | ")" => {
                return refused(
                    field.span.clone(),
                    format!("`{name}` is compared with nothing"),
                    format!("write {name} = 'value', or {name} = true for a checkbox"),
                );
            }
            _ => "use = != < <= > >= LIKE IN NOT IN INCLUDES EXCLUDES".to_owned(),
        };
        refused(
            token.span.clone(),
            format!("{} stands where an operator is expected", shown(token)),
            hint,
        )
    }

    fn function<T>(&self, field: &Spanned<String>) -> Parsed<T> {
        let name = field.is.to_ascii_uppercase();
        let hint = match name.as_str() {
            "TOLABEL" => "compare with the API value of the picklist",
            "COUNT" | "SUM" | "AVG" | "MIN" | "MAX" | "COUNT_DISTINCT" => "a filter judges one person at a time",
            name if name.starts_with("CALENDAR_")
                || name.starts_with("FISCAL_")
                || name.starts_with("DAY_")
                || name.starts_with("WEEK_")
                || name == "HOUR_IN_DAY"
                || name == "CONVERTTIMEZONE" =>
            {
                "compare the date itself: CreatedDate >= 2026-01-01T00:00:00Z AND …, or CreatedDate = THIS_YEAR"
            }
            _ => "compare the field itself",
        };
        refused(
            field.span.clone(),
            format!("functions such as `{}` are not supported", field.is),
            hint,
        )
    }

    fn field(&self, input: &mut Input<'_, '_>) -> Parsed<Spanned<String>> {
        let Some(token) = input.peek_token() else {
            return self.unexpected(input, "a field");
        };
        let Kind::Word(word) = token.kind else {
            if is_symbol(token, ":") {
                return self.bind(input);
            }
            if matches!(token.kind, Kind::Symbol(_)) {
                return self.unexpected(input, "a field");
            }
            return refused(
                token.span.clone(),
                format!("{} stands where a field is expected", shown(token)),
                "the field comes first: Title = 'x'",
            );
        };
        if ["AND", "OR"].iter().any(|keyword| word.eq_ignore_ascii_case(keyword)) {
            return self.unexpected(input, "a comparison");
        }
        if word.eq_ignore_ascii_case("NOT") {
            return refused(
                token.span.clone(),
                "NOT and another operator stand side by side",
                "put NOT in parentheses: Department = 'y' AND (NOT Title = 'x')",
            );
        }
        if word.eq_ignore_ascii_case("SELECT") {
            return refused(
                token.span.clone(),
                "a query cannot stand here",
                "only Id IN (SELECT …) and Id NOT IN (SELECT …) are supported",
            );
        }
        input.next_token();
        Ok(Spanned {
            is: word.to_owned(),
            span: token.span.clone(),
        })
    }
}

fn plain(token: &Token<'_>) -> String {
    shown(token).trim_matches('`').to_owned()
}

fn words(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| word.to_ascii_uppercase())
        .collect::<Vec<_>>()
        .join(" ")
}
