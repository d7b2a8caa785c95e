//! Templates of the mapping: text with fields of the person in it, `{{ givenName }} {{ familyName | upper }}`.
//!
//! Sandboxed: no I/O, no clock, no other template, no functions; only the filters below. Bounded where it is evaluated,
//! whatever the text looks like: fuel pays for instructions and for every byte that operators and filters make, before it is
//! made (`'x' * 1000000000` is out of fuel, not out of memory); filters of our own look at the size of what they would make;
//! what comes out ends at its bound. A field that is unknown makes the whole unknown; a blank one is the empty text. The
//! language is Jinja's; statements that one value does not need (`set`, macros) are refused.

use std::{
    collections::BTreeSet,
    fmt, io,
    sync::{Arc, LazyLock},
};

use jiff::{Timestamp, civil};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, filters};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use usher_contract::{Known, User};

use super::source::SourceField;

/// Characters of a template. Longer ones are programs.
const TEXT_MAX: usize = 2_000;
/// What one rendering may do: an instruction is one, 64 bytes that operators and filters take or make are one (the library's
/// measure). So at most 640 kB are made, however a template is written; a larger number allows more of both.
const FUEL: u64 = 10_000;
/// Bytes of a field that a template takes: what comes out is shorter, and only what is cut out of a text is longer. Larger
/// values are work and memory for nothing.
const INPUT_MAX: usize = 65_536;
/// Characters of a format of dates. Each of its parts may ask for up to 255 characters.
const FORMAT_MAX: usize = 200;
/// Bytes that may come out: more than any attribute of an account takes.
const OUTPUT_MAX: usize = 4_096;
/// The only statements.
const STATEMENTS: [&str; 6] = ["if", "elif", "else", "endif", "for", "endfor"];
/// Filters, for hints.
pub const FILTERS: [&str; 17] = [
    "lower",
    "upper",
    "title",
    "trim",
    "replace",
    "split",
    "join",
    "first",
    "last",
    "default",
    "domain",
    "local_part",
    "date_format",
    "phone",
    "ascii",
    "slug",
    "hash",
];

/// A template that was checked.
#[derive(Clone)]
pub struct Template {
    text: String,
    fields: Vec<SourceField>,
    environment: Arc<Environment<'static>>,
}

/// Why a template is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateError {
    /// In words.
    Wrong(String),
    /// It names something that is no field.
    UnknownField(String),
}

impl Template {
    /// Checks a template: its grammar, its fields, its filters.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let wrong = |words: String| TemplateError::Wrong(words);
        if text.chars().count() > TEXT_MAX {
            return Err(wrong(format!("a template has at most {TEXT_MAX} characters")));
        }
        refuse_statements(text).map_err(wrong)?;
        let mut environment = environment();
        environment
            .add_template_owned("row", text.to_owned())
            .map_err(|error| wrong(in_words(&error)))?;
        let compiled = environment
            .get_template("row")
            .map_err(|error| wrong(in_words(&error)))?;
        let names: BTreeSet<String> = compiled.undeclared_variables(true).into_iter().collect();
        let mut fields = Vec::new();
        for name in names {
            match SourceField::named(&name) {
                Some(SourceField::Manager) => {
                    return Err(wrong(
                        "`manager` is the manager's account, which a text cannot hold; use managerId".to_owned(),
                    ));
                }
                Some(field) => fields.push(field),
                None => return Err(TemplateError::UnknownField(name)),
            }
        }
        if fields.is_empty() {
            return Err(wrong(
                "names no field; for the same value for everybody use constant".to_owned(),
            ));
        }
        drop(compiled);
        let template = Self {
            text: text.to_owned(),
            fields,
            environment: Arc::new(environment),
        };
        // Names of filters are only looked up when they are used.
        for sample in ["", "x"] {
            let context = template.context(|_| Value::String(sample.to_owned()));
            match template.run(&context) {
                // What is too much for a letter is too much for everybody.
                Err(error) if is_name(error.kind()) || is_too_much(error.kind()) => {
                    return Err(wrong(in_words(&error)));
                }
                Ok(_) | Err(_) => {}
            }
        }
        Ok(template)
    }

    /// The fields that it reads.
    #[must_use]
    pub fn fields(&self) -> &[SourceField] {
        &self.fields
    }

    /// The text for a person; unknown with the field that is.
    ///
    /// # Errors
    /// Why it does not work for this person, in words without values.
    pub fn render(&self, user: &User) -> Result<Result<String, &SourceField>, String> {
        let mut values = Map::new();
        for field in &self.fields {
            let value = match field.read(user) {
                Known::Unknown => return Ok(Err(field)),
                Known::Empty => Value::String(String::new()),
                Known::Value(Value::String(text)) if text.len() > INPUT_MAX => {
                    return Err(format!("reads {field}, which has more than {INPUT_MAX} bytes"));
                }
                Known::Value(value) => value,
            };
            place(&mut values, &field.to_string(), value);
        }
        let context = minijinja::Value::from(minijinja::value::Serde(values));
        match self.run(&context) {
            Ok(text) => Ok(Ok(text.trim().to_owned())),
            Err(error) => Err(in_words(&error)),
        }
    }

    fn context(&self, value: impl Fn(&SourceField) -> Value) -> minijinja::Value {
        let mut values = Map::new();
        for field in &self.fields {
            place(&mut values, &field.to_string(), value(field));
        }
        minijinja::Value::from(minijinja::value::Serde(values))
    }

    fn run(&self, context: &minijinja::Value) -> Result<String, Error> {
        render_bounded(&self.environment, context, OUTPUT_MAX)
    }
}

/// Renders the one template of an environment; more than `most` bytes are an error.
pub(crate) fn render_bounded(
    environment: &Environment<'static>,
    context: &minijinja::Value,
    most: usize,
) -> Result<String, Error> {
    let mut output = Bounded(Vec::new(), most);
    environment
        .get_template("row")?
        .render_captured_to(context.clone(), &mut output)?;
    String::from_utf8(output.0).map_err(|_| Error::new(ErrorKind::InvalidOperation, "no text comes out"))
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "template {:?}", self.text)
    }
}
impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Output that ends at its bound.
struct Bounded(Vec<u8>, usize);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > self.1 {
            return Err(io::Error::other("too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Puts a value under a dotted name.
pub(crate) fn place(values: &mut Map<String, Value>, name: &str, value: Value) {
    match name.split_once('.') {
        None => {
            values.insert(name.to_owned(), value);
        }
        Some((first, rest)) => {
            let below = values.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(below) = below {
                place(below, rest, value);
            }
        }
    }
}

/// Refuses every statement but conditions and loops over what is there: one value needs no more. Each `{%` counts, also one that
/// stands inside of quotes. (How much is done is bounded by fuel and not here.)
pub(crate) fn refuse_statements(text: &str) -> Result<(), String> {
    for statement in text.split("{%").skip(1) {
        let word = statement
            .trim_start_matches(['-', '+'])
            .split_whitespace()
            .next()
            .unwrap_or("");
        if !STATEMENTS.contains(&word) {
            return Err(format!(
                "`{word}` is not supported here; there are {}",
                STATEMENTS.join(", ")
            ));
        }
    }
    Ok(())
}

pub(crate) fn environment() -> Environment<'static> {
    let mut env = Environment::empty();
    env.set_fuel(Some(FUEL));
    // Fields are given; whatever else is undefined is a mistake.
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.add_filter("lower", filters::lower);
    env.add_filter("upper", filters::upper);
    env.add_filter("title", filters::title);
    env.add_filter("trim", filters::trim);
    env.add_filter("split", filters::split);
    env.add_filter("join", filters::join);
    env.add_filter("first", filters::first);
    env.add_filter("last", filters::last);
    env.add_filter("replace", replace);
    env.add_filter(
        "default",
        |text: String, other: String| if text.trim().is_empty() { other } else { text },
    );
    env.add_filter("domain", |text: String| part(&text, |(_, domain)| domain));
    env.add_filter("local_part", |text: String| part(&text, |(local, _)| local));
    env.add_filter("date_format", date_format);
    env.add_filter("phone", |text: String, country: Option<String>| {
        phone(&text, country.as_deref())
    });
    env.add_filter("ascii", |text: String| deunicode::deunicode(&text));
    env.add_filter("slug", |text: String| slug(&text));
    env.add_filter("hash", |text: String| {
        Sha256::digest(text.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    });
    env
}

fn too_long() -> Error {
    Error::new(ErrorKind::InvalidOperation, "too long")
}

/// Its size is known beforehand: nothing is made that is too long.
fn replace(text: String, from: String, to: String) -> Result<String, Error> {
    let times = text.matches(from.as_str()).count();
    let grown = times
        .checked_mul(to.len())
        .and_then(|more| more.checked_add(text.len() - times * from.len()));
    match grown {
        Some(bytes) if bytes <= INPUT_MAX => Ok(text.replace(&from, &to)),
        _ => Err(too_long()),
    }
}

fn part(email: &str, take: impl for<'a> Fn((&'a str, &'a str)) -> &'a str) -> String {
    email
        .trim()
        .rsplit_once('@')
        .map_or(String::new(), |parts| take(parts).to_lowercase())
}

/// A date or a time in another format (strftime); blank stays blank.
fn date_format(text: String, format: String) -> Result<String, Error> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(String::new());
    }
    if format.chars().count() > FORMAT_MAX {
        return Err(too_long());
    }
    let wrong = |_| Error::new(ErrorKind::InvalidOperation, "date_format: not a date, or not a format");
    if let Ok(date) = text.parse::<civil::Date>() {
        return jiff::fmt::strtime::format(&format, date).map_err(wrong);
    }
    let time = text.parse::<Timestamp>().map_err(wrong)?;
    jiff::fmt::strtime::format(&format, &time.to_zoned(jiff::tz::TimeZone::UTC)).map_err(wrong)
}

/// Digits with a leading `+` where the country is known: `00` is `+`, and a leading zero gives way to `country`.
fn phone(text: &str, country: Option<&str>) -> String {
    let text = text.trim();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if digits.is_empty() {
        return String::new();
    }
    if text.starts_with('+') {
        return format!("+{digits}");
    }
    if let Some(international) = digits.strip_prefix("00") {
        return format!("+{international}");
    }
    match (
        digits.strip_prefix('0'),
        country.map(|country| country.trim_start_matches('+')),
    ) {
        (Some(national), Some(country)) => format!("+{country}{national}"),
        (None, Some(country)) => format!("+{country}{digits}"),
        (_, None) => digits,
    }
}

/// Lower-case letters, digits and single hyphens.
fn slug(text: &str) -> String {
    let ascii = deunicode::deunicode(text).to_lowercase();
    let words: Vec<&str> = ascii
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    words.join("-")
}

pub(crate) fn is_name(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnknownFilter | ErrorKind::UnknownFunction | ErrorKind::UnknownTest | ErrorKind::UnknownMethod
    )
}

fn is_too_much(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::OutOfFuel | ErrorKind::WriteFailure)
}

/// Without what the error quotes: it may be a person's value. Names of filters are of the template.
pub(crate) fn in_words(error: &Error) -> String {
    static LIST: LazyLock<String> = LazyLock::new(|| FILTERS.join(", "));
    match error.kind() {
        ErrorKind::UnknownFilter | ErrorKind::UnknownFunction | ErrorKind::UnknownTest | ErrorKind::UnknownMethod => {
            format!("{}; filters are {}", error.detail().unwrap_or("unknown name"), *LIST)
        }
        ErrorKind::SyntaxError => {
            let line = error.line().map_or_else(String::new, |line| format!(" in line {line}"));
            format!("{}{line}", error.detail().unwrap_or("not a template"))
        }
        ErrorKind::OutOfFuel => "does too much".to_owned(),
        ErrorKind::WriteFailure => "gives too much text".to_owned(),
        ErrorKind::UndefinedError => "uses something that is not there".to_owned(),
        kind => format!("does not work for this value: {kind}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::logic::testing::person;

    fn ada() -> User {
        let mut user = person(1).user;
        user.given_name = Known::Value("Zoë".into());
        user.family_name = Known::Value("O'Neil".into());
        user.email = Known::Value("Zoe.ONeil@ACME.com".into());
        user.phone = Known::Value("(030) 12 34-5".into());
        user.title = Known::Empty;
        user.department = Known::Value("Sales / EMEA".into());
        user.custom.insert("Start__c".into(), json!("2026-11-02"));
        user
    }

    fn text(template: &str) -> String {
        let parsed = Template::parse(template).unwrap_or_else(|error| panic!("{template}: {error:?}"));
        parsed.render(&ada()).unwrap().unwrap()
    }

    #[test]
    fn every_filter_does_what_it_says() {
        for (template, expected) in [
            ("{{ givenName }} {{ familyName | upper }}", "Zoë O'NEIL"),
            ("{{ familyName | lower }}", "o'neil"),
            ("{{ department | lower | title }}", "Sales / Emea"),
            ("{{ givenName ~ ' ' | trim }}", "Zoë"),
            ("{{ familyName | replace(\"'\", '') }}", "ONeil"),
            ("{{ department | split(' / ') | last }}", "EMEA"),
            ("{{ department | split(' / ') | first }}", "Sales"),
            ("{{ department | split(' / ') | join('-') }}", "Sales-EMEA"),
            ("{{ title | default('none') }}", "none"),
            ("{{ email | domain }}", "acme.com"),
            ("{{ email | local_part }}", "zoe.oneil"),
            ("{{ title | domain }}", ""),
            ("{{ custom.Start__c | date_format('%d.%m.%Y') }}", "02.11.2026"),
            ("{{ title | date_format('%d.%m.%Y') }}", ""),
            ("{{ phone | phone }}", "03012345"),
            ("{{ phone | phone('49') }}", "+493012345"),
            ("{{ givenName | ascii }}", "Zoe"),
            ("{{ givenName }}-{{ department | slug }}", "Zoë-sales-emea"),
            (
                "{{ email | lower | hash }}",
                "154b6713c14545a88b75a1e37ad98c5aa6594e0a7d0afb6b4eba403223a20d77",
            ),
            (
                "{% if title %}{{ title }}{% else %}{{ department }}{% endif %}",
                "Sales / EMEA",
            ),
            (
                "{% for word in department | split(' ') %}{{ word | first }}{% endfor %}",
                "S/E",
            ),
            ("  {{ title }}  ", ""),
        ] {
            assert_eq!(text(template), expected, "{template}");
        }
        let used: String = include_str!("template.rs").to_owned();
        for filter in FILTERS {
            assert!(used.contains(&format!("| {filter}")), "{filter} is shown above");
        }
    }

    #[test]
    fn an_unknown_field_makes_the_whole_unknown() {
        let template = Template::parse("{{ givenName }} {{ division }}").unwrap();
        let mut user = ada();
        user.division = Known::Unknown;
        assert_eq!(template.render(&user).unwrap().unwrap_err().to_string(), "division");
    }

    #[test]
    fn what_is_wrong_is_said_at_load() {
        let wrong = |text: &str| match Template::parse(text) {
            Err(TemplateError::Wrong(words)) => words,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(
            Template::parse("{{ givenname }}"),
            Err(TemplateError::UnknownField("givenname".into()))
        );
        assert_eq!(
            Template::parse("{{ custom }}"),
            Err(TemplateError::UnknownField("custom".into()))
        );
        for (text, words) in [
            ("{{ givenName ", "end of"),
            ("{{ givenName | shout }}", "shout"),
            ("{{ now() }}", "now"),
            ("{% set x = givenName %}{{ x }}", "`set` is not supported here"),
            ("{% include 'x' %}", "`include` is not supported here"),
            ("{{ 'x' * 1000000 }}{{ givenName }}", "does too much"),
            ("{{ 'x' * 5000 }}{{ givenName }}", "gives too much text"),
            ("{{ '{% set x = 1 %}' }}{{ givenName }}", "`set` is not supported here"),
            ("the same for all", "names no field"),
            ("{{ manager }}", "use managerId"),
        ] {
            match Template::parse(text) {
                Err(TemplateError::Wrong(said)) => assert!(said.contains(words), "{text}: {said}"),
                // A function is a name that is no field.
                Err(TemplateError::UnknownField(name)) => assert_eq!(name, words, "{text}"),
                Ok(_) => panic!("{text} is accepted"),
            }
        }
        assert!(wrong(&format!("{}{{{{ givenName }}}}", "x".repeat(TEXT_MAX))).contains("at most"));
    }

    #[test]
    fn time_and_size_are_bounded_and_errors_quote_nobody() {
        let nested =
            "{% for a in email %}{% for b in email %}{% for c in email %}{% endfor %}{% endfor %}{% endfor %}x";
        let mut user = ada();
        user.email = Known::Value("a".repeat(200) + "@acme.com");
        assert_eq!(
            Template::parse(nested).unwrap().render(&user),
            Err("does too much".to_owned())
        );
        let wide = "{{ email }}{{ email }}".repeat(20);
        assert!(
            Template::parse(&wide)
                .unwrap()
                .render(&user)
                .unwrap_err()
                .contains("too much text")
        );
        let grown = "{{ email | replace('a', 'aaaaaaaaaa') | replace('a', 'aaaaaaaaaa') }}";
        assert!(Template::parse(grown).unwrap().render(&user).is_err());
        let date = Template::parse("{{ email | date_format('%Y') }}").unwrap();
        let said = date.render(&ada()).unwrap_err();
        assert!(!said.to_lowercase().contains("oneil"), "{said}");
    }
}
