//! From an answer to what it means: the patterns of the description in order, then the usual meanings of statuses.
//!
//! A web page is never a success, whatever a pattern says: a wrong key, a maintenance page and a login form all come
//! with status 200 somewhere. Messages never repeat a body: vendors quote the person's values in them.

use std::{ops::RangeInclusive, time::Duration};

use regex::Regex;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::{
    config::{Condition, Conditions, OneOrMany, Pattern, Verb, Verdict},
    description::{Call, Description},
    json,
    template::plain,
};
use crate::connector::{
    Failure, HttpAnswer, Refusal,
    answer::{header, is_html, is_ours_to_mend, redirect_place, retry_after},
};

/// Compiled size of a regular expression, in bytes. Larger ones are mistakes.
const REGEX_MAX: usize = 1 << 20;

impl Verb {
    fn words(self) -> &'static str {
        match self {
            Self::Check => "checking the connection",
            Self::List => "listing the accounts",
            Self::Find => "looking up an account",
            Self::Read => "reading the account",
            Self::Create => "creating the account",
            Self::Update => "writing the account",
            Self::Reactivate => "switching the account on",
            Self::Deactivate => "switching the account off",
            Self::Delete => "deleting the account",
            Self::Invite => "asking for the activation or password-reset mail",
            Self::ListGroups => "listing the groups",
            Self::FindGroup => "looking up a group",
            Self::CreateGroup => "creating the group",
            Self::RenameGroup => "renaming the group",
            Self::ReadMembers => "reading the group",
            Self::AddMember => "adding to the group",
            Self::RemoveMember => "removing from the group",
        }
    }

    /// Whether it is a call about groups.
    pub(crate) fn is_of_groups(self) -> bool {
        matches!(
            self,
            Self::ListGroups
                | Self::FindGroup
                | Self::CreateGroup
                | Self::RenameGroup
                | Self::ReadMembers
                | Self::AddMember
                | Self::RemoveMember
        )
    }

    /// What its answers list.
    pub(crate) fn listed(self) -> &'static str {
        match self {
            Self::ReadMembers => "members",
            verb if verb.is_of_groups() => "groups",
            _ => "accounts",
        }
    }

    pub(crate) fn is_write(self) -> bool {
        match self {
            Self::Check | Self::List | Self::Find | Self::Read => false,
            Self::ListGroups | Self::FindGroup | Self::ReadMembers => false,
            Self::Create | Self::Update | Self::Reactivate | Self::Deactivate | Self::Delete | Self::Invite => true,
            Self::CreateGroup | Self::RenameGroup | Self::AddMember | Self::RemoveMember => true,
        }
    }
}

/// What an answer means; the exchange decides what to do about it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Meaning {
    /// Done, with the body; null when there is none.
    Success(Value),
    /// There is no such account.
    Absent,
    /// It, or a value that must be unique, is taken.
    Exists(Refusal),
    /// Sent, and the effect is unknown.
    Unclear(Refusal, Option<Duration>),
    /// It ends here.
    Failed(Failure),
}

/// A pattern that was checked.
#[derive(Debug, Clone)]
pub(crate) struct CompiledPattern {
    verdict: Verdict,
    of: Vec<Verb>,
    statuses: Vec<RangeInclusive<u16>>,
    content_type: Option<String>,
    header: Option<(String, Test)>,
    body: Vec<(JsonPath, Test)>,
    code: Option<String>,
    hint: Option<String>,
}

#[derive(Debug, Clone)]
struct Test {
    kind: TestKind,
    ignore_case: bool,
}

#[derive(Debug, Clone)]
enum TestKind {
    In(Vec<String>),
    Matches(Regex),
    Exists(bool),
    Says(bool),
}

impl CompiledPattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// Every mistake: the key, and why in words.
    pub(crate) fn compile(pattern: &Pattern) -> Result<Self, Vec<(&'static str, String)>> {
        let mut wrong = Vec::new();
        let status = match &pattern.status {
            None => Vec::new(),
            Some(OneOrMany::One(status)) => vec![status.clone()],
            Some(OneOrMany::Many(statuses)) => statuses.clone(),
        };
        let mut statuses = Vec::new();
        for text in status.iter().map(plain) {
            match statuses_of(&text) {
                Some(range) => statuses.push(range),
                None => wrong.push(("status", format!("`{text}` is no status; write 404, 4xx or 500-599"))),
            }
        }
        let header = pattern.header.as_ref().and_then(|condition| {
            let test = Test::compile(condition).map_err(|message| wrong.push(("header", message)));
            Some((condition.at.to_ascii_lowercase(), test.ok()?))
        });
        let conditions = match &pattern.body {
            None => [].as_slice(),
            Some(Conditions::One(condition)) => std::slice::from_ref(condition),
            Some(Conditions::All(conditions)) => conditions,
        };
        let mut body = Vec::new();
        for condition in conditions {
            match (JsonPath::parse(&condition.at), Test::compile(condition)) {
                (Ok(path), Ok(test)) => body.push((path, test)),
                (Err(error), _) => wrong.push(("body", format!("`{}` is no JSONPath: {error}", condition.at))),
                (_, Err(message)) => wrong.push(("body", message)),
            }
        }
        if pattern.status.is_none() && pattern.content_type.is_none() && pattern.header.is_none() && body.is_empty() {
            wrong.push((
                "is",
                "has no condition: name a status, contentType, header or body".to_owned(),
            ));
        }
        if let Some(code) = &pattern.code
            && (code.is_empty()
                || !code
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'))
        {
            wrong.push(("code", format!("`{code}` is no code such as name-taken")));
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Self {
            verdict: pattern.is,
            of: pattern.of.clone(),
            statuses,
            content_type: pattern.content_type.as_ref().map(|text| text.to_ascii_lowercase()),
            header,
            body,
            code: pattern.code.clone(),
            hint: pattern.hint.clone(),
        })
    }

    fn holds(&self, verb: Verb, status: u16, headers: &[(String, String)], body: Option<&Value>) -> bool {
        let content_type = || header(headers, "content-type").unwrap_or_default().to_ascii_lowercase();
        (self.of.is_empty() || self.of.contains(&verb))
            && if self.statuses.is_empty() {
                speaks_by_body(status)
            } else {
                self.statuses.iter().any(|range| range.contains(&status))
            }
            && self
                .content_type
                .as_ref()
                .is_none_or(|wanted| content_type().contains(wanted))
            && self.header.as_ref().is_none_or(|(name, test)| {
                let held: Vec<String> = header(headers, name).map(str::to_owned).into_iter().collect();
                test.holds(&held)
            })
            && self.body.iter().all(|(path, test)| {
                let found = body.map(|body| path.query(body).all()).unwrap_or_default();
                let texts: Vec<String> = found.into_iter().filter(|value| !value.is_null()).map(plain).collect();
                test.holds(&texts)
            })
    }

    fn is_success_of(&self, verb: Verb) -> bool {
        self.verdict == Verdict::Success && (self.of.is_empty() || self.of.contains(&verb))
    }
}

impl Test {
    fn compile(condition: &Condition) -> Result<Self, String> {
        let fold = |value: &Value| {
            let text = plain(value);
            if condition.ignore_case {
                text.to_lowercase()
            } else {
                text
            }
        };
        let matches = |text: &String| {
            regex::RegexBuilder::new(text)
                .case_insensitive(condition.ignore_case)
                .size_limit(REGEX_MAX)
                .build()
                .map_err(|_| format!("`{text}` is no regular expression"))
        };
        let (exists, says) = (condition.exists, condition.says);
        let kind = match (&condition.equals, &condition.r#in, &condition.matches, exists, says) {
            (Some(value), None, None, None, None) => TestKind::In(vec![fold(value)]),
            (None, Some(values), None, None, None) if !values.is_empty() => {
                TestKind::In(values.iter().map(fold).collect())
            }
            (None, None, Some(text), None, None) => TestKind::Matches(matches(text)?),
            (None, None, None, Some(exists), None) => TestKind::Exists(exists),
            (None, None, None, None, Some(says)) => TestKind::Says(says),
            _ => {
                return Err(format!(
                    "`{}` needs exactly one of equals, in, matches, exists, says",
                    condition.at
                ));
            }
        };
        Ok(Self {
            kind,
            ignore_case: condition.ignore_case,
        })
    }

    fn holds(&self, texts: &[String]) -> bool {
        match &self.kind {
            TestKind::Exists(wanted) => *wanted != texts.is_empty(),
            TestKind::Says(wanted) => *wanted == texts.iter().any(|text| says(text)),
            TestKind::Matches(regex) => texts.iter().any(|text| regex.is_match(text)),
            TestKind::In(words) => texts.iter().any(|text| {
                if self.ignore_case {
                    words.contains(&text.to_lowercase())
                } else {
                    words.contains(text)
                }
            }),
        }
    }
}

/// Whether a text, or what it is as JSON, says anything: not `false`, `0`, `[]`, `{}` or `[""]`.
fn says(text: &str) -> bool {
    let word = text.trim().to_lowercase();
    if matches!(word.as_str(), "" | "false" | "0" | "null" | "none") {
        return false;
    }
    match serde_json::from_str::<Value>(&word) {
        Ok(Value::Array(items)) => items.iter().any(|item| says(&plain(item))),
        Ok(Value::Object(map)) => map.values().any(|value| says(&plain(value))),
        Ok(_) | Err(_) => true,
    }
}

/// Statuses under which a body decides without being asked for by status: not those that say "log in", "later" or
/// "broken" whatever comes with them.
fn speaks_by_body(status: u16) -> bool {
    matches!(status, 200..=299 | 400..=499) && !matches!(status, 401 | 403 | 408 | 425 | 429)
}

/// `404`, `4xx`, `500-599`.
fn statuses_of(text: &str) -> Option<RangeInclusive<u16>> {
    let valid = |status: u16| (100..=599).contains(&status).then_some(status);
    if let Some(class) = text.strip_suffix("xx") {
        let first = valid(class.parse::<u16>().ok()?.checked_mul(100)?)?;
        return Some(first..=first + 99);
    }
    if let Some((from, to)) = text.split_once('-') {
        let (from, to) = (valid(from.trim().parse().ok()?)?, valid(to.trim().parse().ok()?)?);
        return (from <= to).then_some(from..=to);
    }
    let status = valid(text.trim().parse().ok()?)?;
    Some(status..=status)
}

/// The meaning of an answer to a call.
pub(crate) fn classify(description: &Description, call: &Call, answer: &HttpAnswer) -> Meaning {
    let verb = call.verb;
    let (status, headers, body) = match answer {
        HttpAnswer::NotSent(refusal) if is_ours_to_mend(&refusal.code) => {
            return Meaning::Failed(Failure::Halt(refusal.clone()));
        }
        HttpAnswer::NotSent(refusal) => return Meaning::Failed(Failure::Retry(refusal.clone(), None)),
        HttpAnswer::Broken(refusal) => return Meaning::Unclear(refusal.clone(), None),
        HttpAnswer::Response { status, headers, body } => (*status, headers.as_slice(), body.as_slice()),
    };
    let html = is_html(headers, body);
    let json = json::parse(body);
    let wait = || retry_after(headers, description.config.retry_after_max_seconds);
    let patterns = || call.answers.iter().chain(&description.answers);
    if let Some(pattern) = patterns().find(|pattern| pattern.holds(verb, status, headers, json.as_ref())) {
        let refusal = || named(verb, status, pattern);
        return match pattern.verdict {
            Verdict::Success if html => Meaning::Failed(Failure::Halt(web_page(verb, status))),
            Verdict::Success => Meaning::Success(json.unwrap_or_default()),
            Verdict::Absent => Meaning::Absent,
            Verdict::Exists => Meaning::Exists(refusal()),
            Verdict::Retry => Meaning::Failed(Failure::Retry(refusal(), wait())),
            Verdict::Unclear => Meaning::Unclear(refusal(), wait()),
            Verdict::Reject => Meaning::Failed(Failure::Reject(refusal())),
            Verdict::Halt => Meaning::Failed(Failure::Halt(refusal())),
        };
    }
    let refusal = || refuse(verb, status);
    let halt = || Meaning::Failed(Failure::Halt(refusal()));
    let is_json = || {
        let content_type = header(headers, "content-type").unwrap_or_default().to_ascii_lowercase();
        content_type.contains(&description.config.answer_type.to_ascii_lowercase())
    };
    match status {
        200..=299 if html => Meaning::Failed(Failure::Halt(web_page(verb, status))),
        // Said to be decided by the body, and the body says something unheard of.
        200..=299 if patterns().any(|pattern| pattern.is_success_of(verb)) => unheard(verb, status),
        202 => Meaning::Unclear(refusal(), wait()),
        200..=299 if body.trim_ascii().is_empty() => Meaning::Success(Value::Null),
        200..=299 => match json {
            Some(json) if is_json() => Meaning::Success(json),
            Some(_) | None => Meaning::Failed(Failure::Halt(unexpected(
                verb,
                "not of the expected type; check baseUrl and answerType",
            ))),
        },
        300..=399 => {
            let place = redirect_place(headers).map_or_else(String::new, |place| format!(" to {place}"));
            Meaning::Failed(Failure::Halt(Refusal {
                code: "redirect".to_owned(),
                reason: format!(
                    "{}: the target redirects ({status}){place}; redirects are not followed; set baseUrl to the final \
                     address",
                    verb.words()
                ),
            }))
        }
        401 => halt(),
        403 if matches!(verb, Verb::Check | Verb::List) => halt(),
        // One person's, unless everybody is refused: the lane tells by a probe.
        403 => Meaning::Failed(Failure::Reject(refusal())),
        404 | 410 if html => Meaning::Failed(Failure::Halt(web_page(verb, status))),
        // Where the address does not name the account, a 404 says that there is no such call.
        404 | 410 if call.addresses_account && verb != Verb::Create => Meaning::Absent,
        404 | 410 => halt(),
        425 | 429 | 503 => Meaning::Failed(Failure::Retry(refusal(), wait())),
        408 | 500 | 502 | 504 | 505..=506 | 508..=599 => Meaning::Unclear(refusal(), wait()),
        409 if matches!(verb, Verb::Create | Verb::Update) => Meaning::Exists(refusal()),
        409 if matches!(verb, Verb::CreateGroup | Verb::RenameGroup | Verb::AddMember) => Meaning::Exists(refusal()),
        _ => Meaning::Failed(Failure::Reject(refusal())),
    }
}

fn unheard(verb: Verb, status: u16) -> Meaning {
    let refusal = Refusal {
        code: "unknown-answer".to_owned(),
        reason: format!(
            "{}: the target answered {status} with a body that no pattern of the description knows",
            verb.words()
        ),
    };
    if verb.is_write() {
        Meaning::Unclear(refusal, None)
    } else {
        Meaning::Failed(Failure::Halt(refusal))
    }
}

fn named(verb: Verb, status: u16, pattern: &CompiledPattern) -> Refusal {
    let (usual, words) = match pattern.verdict {
        Verdict::Success | Verdict::Absent => ("answer", "answered"),
        Verdict::Exists => ("exists", "says that it exists"),
        Verdict::Retry => ("retry", "asks to try later"),
        Verdict::Unclear => ("unclear", "leaves open whether it was done"),
        Verdict::Reject => ("refused", "refused"),
        Verdict::Halt => ("halt", "does not work"),
    };
    let code = match (status, &pattern.code) {
        (_, Some(code)) => code.clone(),
        // The lane acts on these codes.
        (401 | 403 | 429, None) => format!("http-{status}"),
        (_, None) => format!("answer-{usual}"),
    };
    let hint = pattern
        .hint
        .as_ref()
        .map_or_else(String::new, |hint| format!("; {hint}"));
    Refusal {
        code,
        reason: format!("{}: the target {words} ({status}){hint}", verb.words()),
    }
}

fn refuse(verb: Verb, status: u16) -> Refusal {
    let hint = match status {
        401 => "; the credentials are missing, wrong or expired",
        403 => "; the credentials do not allow it",
        404 | 410 => "; there is no such call; check baseUrl and the path of the operation",
        429 => "; too many requests",
        202 => ", which does not say whether it was done",
        405 | 501 => "; the target does not offer it",
        507 => "; storage or licences are used up",
        _ => "",
    };
    Refusal {
        code: format!("http-{status}"),
        reason: format!("{}: the target answered {status}{hint}", verb.words()),
    }
}

/// A web page where data should be.
pub(crate) fn web_page(verb: Verb, status: u16) -> Refusal {
    Refusal {
        code: "html-answer".to_owned(),
        reason: format!(
            "{}: the answer ({status}) is a web page, not data; check baseUrl and the credentials",
            verb.words()
        ),
    }
}

/// An answer that is not what was asked for.
pub(crate) fn unexpected(verb: Verb, what: &str) -> Refusal {
    Refusal {
        code: "unexpected-answer".to_owned(),
        reason: format!("{}: the answer is {what}", verb.words()),
    }
}
