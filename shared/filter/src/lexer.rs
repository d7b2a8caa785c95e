//! From text to tokens. What looks like another language (double quotes, `==`, `&&`, comments) is named here, because here
//! it is seen first.
//!
//! Leaves out what tokens mean together: `grammar.rs`.

use std::ops::Range;

use jiff::{Timestamp, civil::Date};
use winnow::{
    Parser,
    combinator::{alt, opt, preceded, repeat},
    error::ErrMode,
    stream::{LocatingSlice, Location},
    token::{any, none_of, one_of, take_while},
};

use crate::error::FilterError;

/// Characters of a whole statement.
const TEXT_MAX: usize = 100_000;
/// The dates that Salesforce has.
const YEARS: std::ops::RangeInclusive<i16> = 1700..=4000;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind<'a> {
    /// A keyword, or a name with dots.
    Word(&'a str),
    /// What stands between single quotes, escapes included.
    Text(&'a str),
    Number(&'a str),
    Date(Date),
    Moment(Timestamp, &'a str),
    /// `= != < <= > >= ( ) , :`
    Symbol(&'static str),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind<'a>,
    pub(crate) span: Range<usize>,
}

impl Location for Token<'_> {
    fn previous_token_end(&self) -> usize {
        self.span.end
    }
    fn current_token_start(&self) -> usize {
        self.span.start
    }
}

const SYMBOLS: [&str; 10] = ["=", "!=", "<", "<=", ">", ">=", "(", ")", ",", ":"];

type Input<'a> = LocatingSlice<&'a str>;
type Lexed<T> = Result<T, ErrMode<FilterError>>;

/// The tokens of a text.
///
/// # Errors
/// The first thing that is no token, with what to write instead.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token<'_>>, FilterError> {
    if text.len() > TEXT_MAX && text.chars().count() > TEXT_MAX {
        return Err(FilterError::new(
            0..0,
            format!("the filter is longer than {TEXT_MAX} characters"),
            "Salesforce refuses it as well; a group or a permission set can hold the people instead of a list",
        ));
    }
    let mut input = LocatingSlice::new(text);
    let mut found = Vec::new();
    let whole = |error: ErrMode<FilterError>| match error {
        ErrMode::Backtrack(error) | ErrMode::Cut(error) => error,
        ErrMode::Incomplete(_) => FilterError::new(text.len()..text.len(), "the filter ends too early", ""),
    };
    loop {
        let _: &str = take_while(0.., |c: char| c.is_whitespace() || c == '\u{feff}')
            .parse_next(&mut input)
            .map_err(whole)?;
        if input.is_empty() {
            return Ok(found);
        }
        let (kind, span) = token.with_span().parse_next(&mut input).map_err(whole)?;
        found.push(Token { kind, span });
    }
}

fn token<'a>(input: &mut Input<'a>) -> Lexed<Kind<'a>> {
    alt((symbol, word, string, numeric, foreign)).parse_next(input)
}

fn symbol<'a>(input: &mut Input<'a>) -> Lexed<Kind<'a>> {
    let start = input.current_token_start();
    if let Some(found) = opt(alt(("==", "<=>", "=!", "=<", "=>", "!<", "!>"))).parse_next(input)? {
        let hint = match found {
            "=<" => "use `<=`",
            "=>" => "use `>=`",
            "=!" => "use `!=`",
            "!<" => "use `>=`",
            "!>" => "use `<=`",
            _ => "use `=`",
        };
        return Err(refused(
            start..start + found.len(),
            format!("SOQL has no `{found}`"),
            hint,
        ));
    }
    let pairs = alt(("!=", "<>".value("!="), "<=", ">="));
    alt((pairs, alt(("=", "<", ">", "(", ")", ",", ":"))))
        .map(|found: &str| Kind::Symbol(SYMBOLS.iter().find(|symbol| **symbol == found).unwrap_or(&"=")))
        .parse_next(input)
}

fn word<'a>(input: &mut Input<'a>) -> Lexed<Kind<'a>> {
    (
        one_of(|c: char| c.is_alphabetic() || c == '_'),
        take_while(0.., |c: char| c.is_alphanumeric() || c == '_' || c == '.'),
    )
        .take()
        .map(Kind::Word)
        .parse_next(input)
}

/// Which escapes there are is checked where the text is used: `LIKE` has two more.
fn string<'a>(input: &mut Input<'a>) -> Lexed<Kind<'a>> {
    let start = input.current_token_start();
    let inside = repeat::<_, _, (), _, _>(0.., alt((none_of(['\\', '\'']).void(), ('\\', any).void()))).take();
    let raw = preceded('\'', inside).parse_next(input)?;
    if opt('\'').parse_next(input)?.is_none() {
        return Err(refused(
            start..start + 1 + raw.len(),
            "this text has no end",
            r"texts end with a single quote `'`; one inside of a text is written `\'`",
        ));
    }
    Ok(Kind::Text(raw))
}

fn numeric<'a>(input: &mut Input<'a>) -> Lexed<Kind<'a>> {
    let start = input.current_token_start();
    let written = (
        one_of(|c: char| c.is_ascii_digit() || c == '-' || c == '+'),
        take_while(0.., |c: char| c.is_ascii_alphanumeric() || "+-:.".contains(c)),
    )
        .take()
        .parse_next(input)?;
    let span = start..start + written.len();
    if written.starts_with("--") {
        return Err(comment(span));
    }
    if let Ok((_, zone)) = shape.parse(LocatingSlice::new(written)) {
        return dated(written, zone, span);
    }
    if decimal.parse(LocatingSlice::new(written)).is_ok() {
        return Ok(Kind::Number(written));
    }
    Err(refused(
        span,
        format!("`{written}` is neither a number nor a date"),
        "write 3, -1.5, 2026-01-31, 2026-01-31T08:00:00Z or 2026-01-31T08:00:00+01:00",
    ))
}

/// The form of a date, and what there is of a time.
fn shape<'a>(input: &mut Input<'a>) -> Lexed<(&'a str, Option<Zone>)> {
    let digits = |count: usize| take_while(count..=count, |c: char| c.is_ascii_digit());
    let zone = alt((
        'Z'.value(Zone::Said),
        (one_of(['+', '-']), digits(2), ':', digits(2)).value(Zone::Said),
        "".value(Zone::Missing),
    ));
    let fraction = opt(('.', take_while(1..=9, |c: char| c.is_ascii_digit())));
    let time = (digits(2), ':', digits(2), ':', digits(2), fraction);
    let day = (digits(4), '-', digits(2), '-', digits(2)).take();
    (day, opt(preceded(('T', time), zone))).parse_next(input)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zone {
    Said,
    Missing,
}

fn decimal(input: &mut Input<'_>) -> Lexed<()> {
    let digits = || take_while(1.., |c: char| c.is_ascii_digit());
    (
        opt(one_of(['+', '-'])),
        alt(((digits(), opt(('.', opt(digits())))).void(), ('.', digits()).void())),
    )
        .void()
        .parse_next(input)
}

fn dated<'a>(written: &'a str, zone: Option<Zone>, span: Range<usize>) -> Lexed<Kind<'a>> {
    let none = |what: &str| refused(span.clone(), format!("there is no such {what}"), "");
    let kind = match zone {
        None => Kind::Date(written.parse().map_err(|_| none("day"))?),
        Some(Zone::Missing) => {
            return Err(refused(
                span,
                "this time has no time zone",
                format!("write {written}Z for UTC, or {written}+01:00"),
            ));
        }
        Some(Zone::Said) => Kind::Moment(written.parse().map_err(|_| none("time"))?, written),
    };
    let year = match &kind {
        Kind::Date(date) => date.year(),
        Kind::Moment(at, _) => jiff::tz::TimeZone::UTC.to_datetime(*at).year(),
        _ => 2000,
    };
    if YEARS.contains(&year) {
        Ok(kind)
    } else {
        Err(refused(
            span,
            "Salesforce has the years 1700 to 4000",
            "compare with null to find out whether there is a date",
        ))
    }
}

/// What people write who think of another language.
fn foreign<'a>(input: &mut Input<'a>) -> Lexed<Kind<'a>> {
    let start = input.current_token_start();
    let rest: &str = input;
    let first = rest.chars().next().unwrap_or(' ');
    let (length, message, hint): (usize, String, &str) = match first {
        '"' => {
            let length = rest[1..].find('"').map_or(1, |end| end + 2);
            (length, "texts stand in single quotes".to_owned(), "write 'text'")
        }
        '‘' | '’' | '‚' | '‛' | '“' | '”' | '„' | '`' | '´' | '«' | '»' => (
            first.len_utf8(),
            "this quote is none that SOQL has".to_owned(),
            "texts stand in straight single quotes: 'text'",
        ),
        '&' => (
            run(rest, '&'),
            format!("SOQL has no `{}`", &rest[..run(rest, '&')]),
            "use AND",
        ),
        '|' => (
            run(rest, '|'),
            format!("SOQL has no `{}`", &rest[..run(rest, '|')]),
            "use OR",
        ),
        '!' => (
            1,
            "SOQL has no `!`".to_owned(),
            "use NOT, as in (NOT Title = 'x'), or `!=`",
        ),
        '/' | '#' => return Err(comment(start..start + run(rest, first))),
        ';' => (1, "a filter does not end with `;`".to_owned(), "leave it out"),
        '*' => (
            1,
            "`*` has no meaning in SOQL".to_owned(),
            "use LIKE 'x%' for a beginning, or SELECT Id in a pasted query",
        ),
        '%' => (1, "`%` stands inside of a text only".to_owned(), "write LIKE 'x%'"),
        '{' | '$' | '?' | '@' => (
            1,
            format!("`{first}` begins no value"),
            "placeholders are not filled in; write the value itself",
        ),
        '[' | ']' | '}' => (
            1,
            format!("`{first}` has no meaning in SOQL"),
            "lists stand in parentheses: IN ('a', 'b')",
        ),
        other => (other.len_utf8(), format!("`{other}` is not understood here"), ""),
    };
    Err(refused(start..start + length, message, hint))
}

fn run(text: &str, c: char) -> usize {
    text.chars().take_while(|found| *found == c).map(char::len_utf8).sum()
}

fn comment(span: Range<usize>) -> ErrMode<FilterError> {
    refused(
        span,
        "SOQL has no comments",
        "use a comment of the YAML file: # before the key",
    )
}

fn refused(span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) -> ErrMode<FilterError> {
    ErrMode::Cut(FilterError::new(span, message, hint))
}
