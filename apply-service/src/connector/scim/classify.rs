//! One table from an answer to what it means (RFC 7644 section 3.12, RFC 6585).
//!
//! Pure: status, error type, content type and, in one place, the words of the body. Messages never repeat a body,
//! a `detail` text or a query: vendors quote the person's values in them. What is kept of a `detail` is the names of
//! standard attributes occurring in it, so that an operator still learns what the target complained about.

use std::time::Duration;

use serde_json::Value;

use super::{
    config::{ScimConfig, UserNamesUnique},
    resource, schema,
};
pub(crate) use crate::connector::answer::{header, target_time};
use crate::connector::{
    Failure, HttpAnswer, Refusal,
    answer::{is_html, is_ours_to_mend, redirect_place, retry_after},
};

/// What a request was for; the same status means different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Proving address and credentials.
    Check,
    /// A look-up by filter.
    Search,
    /// A page of all accounts.
    List,
    /// One account by id.
    Read,
    /// An entry of a list of the application's own.
    Choose,
    Create,
    Update,
    Delete,
    /// The application's own mail to an account's user.
    Invite,
    /// Groups by name, or a page of them.
    SearchGroup,
    ReadGroup,
    CreateGroup,
    UpdateGroup,
}

impl Purpose {
    /// The request about an account whose answers mean the same.
    fn alike(self) -> Self {
        match self {
            Self::SearchGroup => Self::Search,
            Self::ReadGroup => Self::Read,
            Self::CreateGroup => Self::Create,
            Self::UpdateGroup => Self::Update,
            account => account,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::SearchGroup => "looking up a group",
            Self::ReadGroup => "reading the group",
            Self::CreateGroup => "creating the group",
            Self::UpdateGroup => "changing the group",
            Self::Check => "checking the connection",
            Self::Search => "looking up an account",
            Self::List => "listing the accounts",
            Self::Read => "reading the account",
            Self::Choose => "asking what can be chosen",
            Self::Create => "creating the account",
            Self::Update => "writing the account",
            Self::Delete => "deleting the account",
            Self::Invite => "asking for the activation or password-reset mail",
        }
    }

    /// Whether an account is the object: a 404 says that it is gone, not that the address is wrong.
    fn is_personal(self) -> bool {
        matches!(
            self.alike(),
            Self::Read | Self::Create | Self::Update | Self::Delete | Self::Invite
        )
    }

    /// Whether the request is about the target and nobody in particular.
    fn is_general(self) -> bool {
        matches!(self, Self::Check | Self::List)
    }
}

/// What an answer means; the exchange decides what to do about it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Meaning {
    /// 2xx with the JSON body, when there is one.
    Success(Option<Value>),
    /// 202: taken, not done. Never success (RFC 9967).
    Accepted(Refusal),
    /// 404 or 410 of the resource.
    Absent(Refusal),
    /// The account, or a value that must be unique, is taken.
    Exists(Refusal),
    /// Another version than expected, or a 409 that does not say which conflict it is.
    Version(Refusal),
    /// One other way may work.
    Fallback(Fallback, Refusal),
    /// Sent, and the effect is unknown. The wait is what the target asked for.
    Unknown(Refusal, Option<Duration>),
    /// It ends here.
    Failed(Failure),
}

/// Refusals with one automatic fallback each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// The value filter of a path meets nothing.
    NoTarget,
    /// The path is not understood, or the target does not say what it did not understand.
    Path,
    /// The value may not be written.
    Mutability,
    /// The filter, or paging by this method, is refused.
    Query,
    /// More results than the target gives at once.
    TooMany,
    /// 405 or 501: the method or feature is missing.
    Capability,
    /// 415.
    MediaType,
}

/// The table.
pub(crate) fn classify(purpose: Purpose, answer: &HttpAnswer, config: &ScimConfig) -> Meaning {
    let (status, headers, body) = match answer {
        HttpAnswer::NotSent(refusal) if is_ours_to_mend(&refusal.code) => {
            return Meaning::Failed(Failure::Halt(refusal.clone()));
        }
        HttpAnswer::NotSent(refusal) => {
            return Meaning::Failed(Failure::Retry(refusal.clone(), None));
        }
        HttpAnswer::Broken(refusal) => return Meaning::Unknown(refusal.clone(), None),
        HttpAnswer::Response { status, headers, body } => (*status, headers.as_slice(), body.as_slice()),
    };
    let html = is_html(headers, body);
    let json: Option<Value> = serde_json::from_slice(body)
        .ok()
        .filter(|value: &Value| !value.is_null());
    let kind = json.as_ref().and_then(error_type);
    let asked = purpose;
    let purpose = asked.alike();
    let refusal = || refuse(asked, status, kind.as_deref(), json.as_ref());
    let wait = || retry_after(headers, config.retry_after_max_seconds);
    let retry = || Meaning::Failed(Failure::Retry(refusal(), wait()));
    let halt = || Meaning::Failed(Failure::Halt(refusal()));
    let kind_is = |name: &str| kind.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case(name));
    match status {
        200..=299 if html => Meaning::Failed(Failure::Halt(web_page(asked, status))),
        202 => Meaning::Accepted(refusal()),
        // An error in the body of a success is an error all the same.
        200..=299 if json.as_ref().is_some_and(is_error_body) => Meaning::Unknown(refusal(), wait()),
        200..=299 => Meaning::Success(json),
        300..=399 => Meaning::Failed(Failure::Halt(redirected(asked, status, headers))),
        401 => halt(),
        403 if purpose.is_general() => halt(),
        // One person's, unless everybody is refused: the lane tells by a probe.
        403 => Meaning::Failed(Failure::Reject(refusal())),
        404 | 410 if html => Meaning::Failed(Failure::Halt(web_page(asked, status))),
        404 | 410 => match purpose {
            Purpose::Read | Purpose::Choose | Purpose::Update | Purpose::Delete | Purpose::Invite | Purpose::Check => {
                Meaning::Absent(refusal())
            }
            // Some servers answer a search without hits like this; a wrong base URL does not speak SCIM.
            Purpose::Search if json.as_ref().is_some_and(is_error_body) => Meaning::Absent(refusal()),
            _ => halt(),
        },
        405 | 501 => Meaning::Fallback(Fallback::Capability, refusal()),
        // 408 and gateway errors may come after the request took effect; 425, 429 and 503 are given before.
        425 | 429 | 503 => retry(),
        408 | 500 | 502 | 504 | 505..=506 | 508..=599 => Meaning::Unknown(refusal(), wait()),
        // Out of storage or licences: an operator has to act, and nobody else is served by trying.
        507 => Meaning::Failed(Failure::Reject(refusal())),
        409 if kind_is("uniqueness") => Meaning::Exists(refusal()),
        // RFC 7644 section 3.3 asks for uniqueness here; several servers leave it out.
        409 if purpose == Purpose::Create => Meaning::Exists(refusal()),
        409 | 412 => Meaning::Version(refusal()),
        415 => Meaning::Fallback(Fallback::MediaType, refusal()),
        // Too large: another form of the same is as large. The groups' machine acts on the code and sends half.
        413 if !matches!(purpose, Purpose::Search | Purpose::List | Purpose::Check) => {
            Meaning::Failed(Failure::Reject(refusal()))
        }
        400 | 413 | 422 => bad_request(purpose, kind.as_deref(), body, config, refusal()),
        _ => Meaning::Failed(Failure::Reject(refusal())),
    }
}

fn bad_request(purpose: Purpose, kind: Option<&str>, body: &[u8], config: &ScimConfig, refusal: Refusal) -> Meaning {
    let lower = kind.map(str::to_ascii_lowercase);
    match (lower.as_deref(), purpose) {
        (Some("uniqueness"), _) => Meaning::Exists(refusal),
        // AWS names exceptions instead of using the status.
        (Some(kind), _) if kind.contains("throttl") => Meaning::Failed(Failure::Retry(refusal, None)),
        (Some("toomany"), Purpose::Search | Purpose::List | Purpose::Check) => {
            Meaning::Fallback(Fallback::TooMany, refusal)
        }
        // Any 400 to a search may be the filter's fault: scimmy 1.3.5 answers invalidValue to `emails.value eq` as
        // soon as one stored user has no e-mails. The same for a page that is asked for in a way it does not know.
        (_, Purpose::Search | Purpose::List | Purpose::Check) => Meaning::Fallback(Fallback::Query, refusal),
        (Some("notarget"), Purpose::Update) => Meaning::Fallback(Fallback::NoTarget, refusal),
        (Some("mutability"), Purpose::Update) => Meaning::Fallback(Fallback::Mutability, refusal),
        (Some("invalidpath"), Purpose::Update) => Meaning::Fallback(Fallback::Path, refusal),
        // Only where a name may be taken out of sight: elsewhere a 409 says it, and another encoding may help.
        (None | Some("invalidvalue"), Purpose::Update)
            if config.user_names_unique == UserNamesUnique::Everywhere && says_exists(body, config) =>
        {
            Meaning::Exists(refusal)
        }
        // Without a type the target does not say whether it stumbled over a path (seen: GitHub on value filters).
        (None, Purpose::Update) => Meaning::Fallback(Fallback::Path, refusal),
        // Here and above words decide: both ends concern this person only, and a wrong guess is healed by the look-up that
        // follows a conflict.
        (_, Purpose::Create) if says_exists(body, config) => Meaning::Exists(refusal),
        _ => Meaning::Failed(Failure::Reject(refusal)),
    }
}

/// Why the target refused, without its words.
fn refuse(purpose: Purpose, status: u16, kind: Option<&str>, json: Option<&Value>) -> Refusal {
    let code = match kind {
        // The lane acts on these codes, so an error type must not hide them.
        Some(kind) if !matches!(status, 403 | 413) => format!("scim-{}", kebab(kind)),
        _ => format!("http-{status}"),
    };
    let answered = kind.map_or_else(|| status.to_string(), |kind| format!("{status} {kind}"));
    let names = json.map(|body| schema::names_in(&body.to_string())).unwrap_or_default();
    let about = if names.is_empty() {
        String::new()
    } else {
        format!(" about {}", names.join(", "))
    };
    let hint = match status {
        401 => "; the credentials are missing, wrong or expired",
        403 => "; the credentials do not allow it",
        404 if !purpose.is_personal() => "; check baseUrl and usersPath",
        429 => "; too many requests",
        202 => ", which does not say whether it was done",
        405 | 501 => "; the target does not offer it",
        507 => "; storage or licences are used up",
        _ => "",
    };
    Refusal {
        code,
        reason: format!("{}: the target answered {answered}{about}{hint}", purpose.words()),
    }
}

/// An answer that is no SCIM although the status says success, or a 404 that a web server made.
pub(crate) fn web_page(purpose: Purpose, status: u16) -> Refusal {
    Refusal {
        code: "html-answer".to_owned(),
        reason: format!(
            "{}: the answer ({status}) is a web page; this is not a SCIM endpoint; check baseUrl",
            purpose.words()
        ),
    }
}

/// An answer of the right status that is not what was asked for.
pub(crate) fn not_scim(purpose: Purpose, expected: &str) -> Refusal {
    Refusal {
        code: "not-scim".to_owned(),
        reason: format!(
            "{}: the answer is not {expected}; this is not a SCIM endpoint; check baseUrl",
            purpose.words()
        ),
    }
}

fn redirected(purpose: Purpose, status: u16, headers: &[(String, String)]) -> Refusal {
    let place = redirect_place(headers).map_or_else(String::new, |place| format!(" to {place}"));
    Refusal {
        code: "redirect".to_owned(),
        reason: format!(
            "{}: the target redirects ({status}){place}; redirects are not followed; set baseUrl to the final address",
            purpose.words()
        ),
    }
}

/// The error type: `scimType`, else the name of an exception (AWS). Only a plain word is taken, nothing longer.
fn error_type(body: &Value) -> Option<String> {
    let object = match body {
        Value::Array(items) => items.first()?,
        other => other,
    };
    let nested = resource::get(object, "Errors").or_else(|| resource::get(object, "errors"));
    let nested = nested.map(|errors| errors.as_array().and_then(|items| items.first()).unwrap_or(errors));
    let member = |name: &str| {
        let found = resource::get(object, name).or_else(|| resource::get(nested?, name));
        found.and_then(Value::as_str)
    };
    // `com.example.service#ThrottlingException`
    let exception = || member("__type").and_then(|name| name.rsplit(['#', '.']).next());
    member("scimType")
        .or_else(exception)
        .filter(|text| (1..=40).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphabetic()))
        .map(str::to_owned)
}

fn is_error_body(body: &Value) -> bool {
    resource::get(body, "schemas")
        .and_then(Value::as_array)
        .is_some_and(|schemas| {
            schemas
                .iter()
                .filter_map(Value::as_str)
                .any(|urn| urn.to_ascii_lowercase().ends_with("messages:2.0:error"))
        })
}

fn says_exists(body: &[u8], config: &ScimConfig) -> bool {
    let text = String::from_utf8_lossy(&body[..body.len().min(4096)]).to_lowercase();
    config
        .exists_phrases
        .iter()
        .any(|phrase| text.contains(phrase.as_str()))
}

fn kebab(kind: &str) -> String {
    let mut written = String::new();
    for (index, c) in kind.chars().enumerate() {
        if c.is_ascii_uppercase() && index > 0 {
            written.push('-');
        }
        written.push(c.to_ascii_lowercase());
    }
    written
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
