//! What every connector reads out of an answer in the same way: headers, times, web pages, redirects.

use std::time::Duration;

/// Refusals of the sender that no other person's request can pass either.
pub(crate) fn is_ours_to_mend(code: &str) -> bool {
    matches!(
        code,
        "credential-unreadable"
            | "tls"
            | "address"
            | "address-refused"
            | "request-unsendable"
            | "token-refused"
            | "token-unavailable"
            | "token-unsaved"
            | "own-organization"
    )
}

/// Whether it is a web page, by its type or by how it begins.
pub(crate) fn is_html(headers: &[(String, String)], body: &[u8]) -> bool {
    let start = String::from_utf8_lossy(&body[..body.len().min(64)])
        .trim_start()
        .to_ascii_lowercase();
    header(headers, "content-type").is_some_and(|value| value.to_ascii_lowercase().contains("html"))
        || start.starts_with("<!doctype html")
        || start.starts_with("<html")
}

/// A header by its lower-case name.
pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

/// The target's own time in seconds since 1970, from `Date`.
pub(crate) fn target_time(headers: &[(String, String)]) -> Option<i64> {
    header(headers, "date").and_then(http_date)
}

/// How long the target asks to wait: seconds, or a date compared with the answer's own `Date`, so that neither our
/// clock nor its offset matters. Bounded, because a mistaken year must not park a person.
pub(crate) fn retry_after(headers: &[(String, String)], max_seconds: u32) -> Option<Duration> {
    let text = header(headers, "retry-after")?.trim();
    let seconds = match text.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => u64::try_from(http_date(text)?.saturating_sub(target_time(headers)?)).unwrap_or(0),
    };
    Some(Duration::from_secs(seconds.min(u64::from(max_seconds))))
}

fn http_date(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(text.trim())
        .ok()
        .map(|time| time.timestamp().as_second())
}

/// Where a redirect leads, as far as it may be shown: query and user part of a location may carry tokens.
pub(crate) fn redirect_place(headers: &[(String, String)]) -> Option<String> {
    let plain = header(headers, "location")?.split(['?', '#']).next()?;
    let (scheme, rest) = plain
        .split_once("://")
        .map_or((None, plain), |(scheme, rest)| (Some(scheme), rest));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = if scheme.is_some() {
        authority.rsplit('@').next()?
    } else {
        authority
    };
    let scheme = scheme.map_or(String::new(), |scheme| format!("{scheme}://"));
    let shown: String = format!("{scheme}{host}{path}")
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect();
    (!shown.is_empty()).then_some(shown)
}
