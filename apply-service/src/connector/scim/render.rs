//! Requests: paths, queries and headers. Everything variable is percent-encoded exactly once, here.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{
    abilities::Abilities,
    config::{InviteCall, InviteMethod, ScimConfig},
    filter::Filter,
};
use crate::{
    connector::{Refusal, Request},
    logic::account::RemoteId,
};

/// All but the unreserved characters of RFC 3986 section 2.3. So `+` in an e-mail becomes %2B and never a space.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where one page of a list starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    /// The first page: neither index nor cursor, which every server understands. A cursor-only server refuses
    /// `startIndex` (observed on scim2-server 0.8.3: 501).
    First,
    /// The first page, asking for cursor paging (RFC 9865 section 2: an empty cursor).
    FirstCursor,
    /// From this 1-based position.
    Index(u64),
    /// From this cursor.
    Cursor(String),
}

impl Start {
    /// As a parameter of the query.
    pub(crate) fn parameter(&self) -> Option<String> {
        match self {
            Self::First => None,
            Self::FirstCursor => Some("cursor=".to_owned()),
            Self::Index(position) => Some(format!("startIndex={position}")),
            Self::Cursor(cursor) => Some(format!("cursor={}", encode(cursor))),
        }
    }
}

/// Percent-encodes a query value or path segment.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// A page of accounts, of all or of those a filter finds.
pub(crate) fn list(config: &ScimConfig, filter: Option<&Filter>, start: &Start, count: u32) -> Request {
    let mut query = Vec::new();
    if let Some(filter) = filter {
        query.push(format!("filter={}", encode(&filter.to_string())));
    }
    query.extend(start.parameter());
    query.push(format!("count={count}"));
    get(format!("{}?{}", config.users_path, query.join("&")))
}

/// A plain GET.
pub(crate) fn get(path: String) -> Request {
    Request {
        method: "GET",
        path,
        from_host: false,
        headers: Vec::new(),
        body: None,
        write: false,
    }
}

/// The path of one account.
///
/// # Errors
/// An id that cannot be a path segment: empty, or one that URLs treat as "here" or "above" even when encoded.
pub(crate) fn account_path(config: &ScimConfig, id: &RemoteId) -> Result<String, Refusal> {
    if matches!(id.0.as_str(), "" | "." | "..") {
        return Err(Refusal {
            code: "unusable-id".to_owned(),
            reason: "the target's id of this account is empty or a dot, so it has no address".to_owned(),
        });
    }
    Ok(format!("{}/{}", config.users_path, encode(&id.0)))
}

/// The request that has the application send its own mail to an account's user.
///
/// # Errors
/// As [`account_path`].
pub(crate) fn invite(call: &InviteCall, config: &ScimConfig, id: &RemoteId) -> Result<Request, Refusal> {
    account_path(config, id)?;
    Ok(Request {
        method: match call.method {
            InviteMethod::Post => "POST",
            InviteMethod::Put => "PUT",
            InviteMethod::Delete => "DELETE",
        },
        path: call.path.replace("{id}", &encode(&id.0)),
        from_host: true,
        headers: Vec::new(),
        body: None,
        write: true,
    })
}

/// A request that changes something.
pub(crate) fn write(
    method: &'static str,
    path: String,
    body: Option<Value>,
    etag: Option<&str>,
    abilities: &Abilities,
) -> Request {
    let mut headers = Vec::new();
    if body.is_some() && abilities.plain_json {
        headers.push(("content-type", "application/json".to_owned()));
    }
    // A version that no header can carry is left out: better unconditional than never.
    if let Some(etag) = etag.filter(|etag| etag.chars().all(|c| matches!(c, ' '..='~'))) {
        headers.push(("if-match", etag.to_owned()));
    }
    Request {
        method,
        path,
        from_host: false,
        headers,
        body,
        write: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded_once() {
        let config = ScimConfig::default();
        let filter = Filter::equal("userName", r#"a+b "c"\é&x=%2B"#);
        let request = list(&config, Some(&filter), &Start::Index(101), 50);
        assert_eq!(
            request.path,
            "/Users?filter=userName%20eq%20%22a%2Bb%20%5C%22c%5C%22%5C%5C%C3%A9%26x%3D%252B%22&startIndex=101&count=50"
        );
        assert!(!request.write);
        let by_cursor = |start| list(&config, None, &start, 2).path;
        assert_eq!(by_cursor(Start::First), "/Users?count=2");
        assert_eq!(by_cursor(Start::FirstCursor), "/Users?cursor=&count=2");
        assert_eq!(
            by_cursor(Start::Cursor("a=/b".to_owned())),
            "/Users?cursor=a%3D%2Fb&count=2"
        );
    }

    #[test]
    fn an_id_is_one_path_segment_or_refused() {
        let path = |id: &str| account_path(&ScimConfig::default(), &RemoteId(id.to_owned()));
        assert_eq!(path("a/../b?c#d").as_deref(), Ok("/Users/a%2F..%2Fb%3Fc%23d"));
        for id in ["", ".", ".."] {
            assert_eq!(path(id).unwrap_err().code, "unusable-id");
        }
    }

    #[test]
    fn a_write_is_marked_and_carries_what_the_target_wants() {
        let mut abilities = Abilities::default();
        let body = || Some(serde_json::json!({}));
        let request = write("PATCH", "/Users/1".to_owned(), body(), Some("W/\"1\""), &abilities);
        assert!(request.write);
        assert_eq!(request.headers, [("if-match", "W/\"1\"".to_owned())]);
        abilities.plain_json = true;
        let request = write("PUT", "/Users/1".to_owned(), body(), None, &abilities);
        assert_eq!(request.headers, [("content-type", "application/json".to_owned())]);
    }
}
