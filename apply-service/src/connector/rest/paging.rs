//! Lists of accounts, groups and members, page by page, without going in circles.
//!
//! A list ends on an empty page, at the total that the application names, where no next page is named, and on a page
//! that shows nothing new. A full page that repeats says that the way of paging is ignored: nothing follows from such
//! a list, least of all that somebody is not in it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    account::text_at,
    classify::{Meaning, classify},
    config::{PagingStyle, Verb},
    description::{Call, Description},
    draft::{RestDraft, context},
};
use crate::{
    connector::{CURSOR_REFUSED, Failure, HttpAnswer, LIST_INCOMPLETE, Refusal},
    logic::account::{AttributeValues, RemoteAccount},
};

/// Where a listing stands. As text it survives between operations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    received: u64,
    pages: u32,
    /// How many accounts there are, as a page has said.
    total: Option<u64>,
    /// Fingerprints of the first page and of the page before.
    first: Option<u64>,
    previous: Option<u64>,
    /// A cursor, or the address of the next page.
    next: Option<String>,
}

impl Progress {
    pub(crate) fn to_text(&self) -> String {
        let number = |value: Option<u64>| value.map_or_else(String::new, |value| format!("{value:x}"));
        let (first, previous) = (number(self.first), number(self.previous));
        let total = number(self.total);
        let (mark, next) = self.next.as_ref().map_or(("n", ""), |next| ("c", next.as_str()));
        format!(
            "{mark}:{}:{}:{total}:{first}:{previous}:{next}",
            self.received, self.pages
        )
    }

    /// `None` when it is not ours.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.splitn(7, ':');
        let has_next = match parts.next()? {
            "c" => true,
            "n" => false,
            _ => return None,
        };
        let received = parts.next()?.parse().ok()?;
        let pages = parts.next()?.parse().ok()?;
        let mut number = || parts.next().map(|text| u64::from_str_radix(text, 16).ok());
        let (total, first, previous) = (number()?, number()?, number()?);
        let next = parts.next()?;
        Some(Self {
            received,
            pages,
            total,
            first,
            previous,
            next: has_next.then(|| next.to_owned()),
        })
    }
}

/// A list of anything under way: its requests, and when it ends.
#[derive(Debug)]
pub(crate) struct Pages {
    description: Arc<Description>,
    call: Call,
    base_url: String,
    /// What its templates read besides the page.
    names: Vec<(&'static str, Value)>,
    pub(crate) progress: Progress,
}

/// What becomes of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Another one follows.
    More,
    /// It was the last one.
    Last,
    /// It shows what was shown before: that was everything, and this page counts for nothing.
    Again,
}

impl Pages {
    pub(crate) fn new(
        description: &Arc<Description>,
        call: &Call,
        base_url: &str,
        names: Vec<(&'static str, Value)>,
    ) -> Self {
        Self {
            description: Arc::clone(description),
            call: call.clone(),
            base_url: base_url.trim().trim_end_matches('/').to_owned(),
            names,
            progress: Progress::default(),
        }
    }

    /// The request of the next page.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn ask(&self) -> Result<Box<RestDraft>, Refusal> {
        let mut page = json!({});
        let mut link = None;
        if let Some(paging) = &self.call.paging {
            let number = paging.first + u64::from(self.progress.pages);
            page = json!({"size": paging.size, "number": number, "offset": paging.first + self.progress.received});
            if paging.style == PagingStyle::Link {
                link.clone_from(&self.progress.next);
            } else if let Some(cursor) = &self.progress.next {
                page["cursor"] = json!(cursor);
            }
        }
        let mut names = vec![("page", page)];
        names.extend(self.names.iter().cloned());
        let context = context(&self.description.config, &names);
        RestDraft::new(&self.description, &self.call, context, &AttributeValues::new(), link)
    }

    /// What follows a page with so many entries, of which the first has this id.
    ///
    /// # Errors
    /// The list cannot be believed.
    pub(crate) fn turn(
        &mut self,
        answer: &HttpAnswer,
        body: &Value,
        count: usize,
        head: Option<&str>,
    ) -> Result<Turn, Failure> {
        let Some(paging) = self.call.paging.clone() else {
            self.progress.pages += 1;
            self.progress.received += count as u64;
            return Ok(Turn::Last);
        };
        let total = paging
            .total
            .as_ref()
            .and_then(|path| text_at(path, body)?.parse::<u64>().ok());
        // A page that only says that there is nobody on it does not repeat the number.
        let total = total.or(self.progress.total);
        self.progress.total = total;
        let next = match paging.style {
            PagingStyle::Cursor => paging.next.as_ref().and_then(|path| text_at(path, body)),
            PagingStyle::Link => self.link(answer)?,
            PagingStyle::Page | PagingStyle::Offset => None,
        };
        let marked = matches!(paging.style, PagingStyle::Cursor | PagingStyle::Link);
        let head = head.map(fingerprint);
        let repeats = head.is_some() && (head == self.progress.first || head == self.progress.previous);
        let stands_still = next.is_some() && next == self.progress.next;
        self.progress.pages += 1;
        if repeats || stands_still {
            return if repeats && !stands_still && (count as u64) < u64::from(paging.size) && !marked {
                // One short page, shown again: this was everybody.
                self.end(Turn::Again, total)
            } else {
                Err(self.incomplete("the pages repeat"))
            };
        }
        self.progress.received += count as u64;
        self.progress.first = self.progress.first.or(head);
        self.progress.previous = head.or(self.progress.previous);
        self.progress.next.clone_from(&next);
        let more = if marked {
            next.is_some()
        } else {
            count > 0 && total.is_none_or(|total| self.progress.received < total)
        };
        if !more {
            return self.end(Turn::Last, total);
        }
        if self.progress.pages >= self.description.config.pages_max {
            return Err(Failure::Halt(Refusal {
                code: "list-too-long".to_owned(),
                reason: format!(
                    "{}: no end after {} pages; raise pagesMax",
                    self.words(),
                    self.progress.pages
                ),
            }));
        }
        Ok(Turn::More)
    }

    /// What a page that is refused means: a page mark that has expired begins the list anew.
    pub(crate) fn refused(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Reject(refusal) if self.progress.next.is_some() => {
                let code = CURSOR_REFUSED.to_owned();
                Failure::Retry(Refusal { code, ..refusal }, None)
            }
            other => other,
        }
    }

    fn words(&self) -> String {
        format!("listing the {}", self.call.verb.listed())
    }

    fn end(&self, turn: Turn, total: Option<u64>) -> Result<Turn, Failure> {
        match total {
            Some(total) if self.progress.received < total => Err(self.incomplete(&format!("the target names {total}"))),
            _ => Ok(turn),
        }
    }

    fn incomplete(&self, why: &str) -> Failure {
        let refusal = Refusal {
            code: LIST_INCOMPLETE.to_owned(),
            reason: format!(
                "{}: the list ended after {}, and {why}",
                self.words(),
                self.progress.received
            ),
        };
        Failure::Retry(refusal, None)
    }

    /// The address of the next page below the base URL.
    fn link(&self, answer: &HttpAnswer) -> Result<Option<String>, Failure> {
        let HttpAnswer::Response { headers, .. } = answer else {
            return Ok(None);
        };
        // Several lines of one name are one list (RFC 9110 section 5.3).
        let lines = headers.iter().filter(|(name, _)| name == "link");
        let Some(target) = lines.map(|(_, value)| value).find_map(|value| next_link(value)) else {
            return Ok(None);
        };
        let below = match target.strip_prefix(&self.base_url) {
            Some(below) => Some(below.to_owned()),
            // From the root of the host (RFC 3986 section 4.2): with the path of the base URL.
            None if target.starts_with('/') && !target.starts_with("//") => {
                let path = url::Url::parse(&self.base_url).map(|url| url.path().trim_end_matches('/').to_owned());
                target.strip_prefix(&path.unwrap_or_default()).map(str::to_owned)
            }
            None if target.starts_with('?') => {
                let path = self.call.path.text(&context(&self.description.config, &self.names));
                path.ok().flatten().map(|path| format!("{path}{target}"))
            }
            None => None,
        };
        match below.filter(|below| below.starts_with('/')) {
            Some(below) => Ok(Some(below)),
            None => Err(Failure::Halt(Refusal {
                code: "link-elsewhere".to_owned(),
                reason: format!(
                    "{}: the next page is said to be at an address outside of baseUrl",
                    self.words()
                ),
            })),
        }
    }
}

/// The list of accounts under way.
#[derive(Debug)]
pub(crate) struct Pager(pub(crate) Pages);

impl Pager {
    /// `None` when the application does not list its accounts.
    pub(crate) fn new(description: &Arc<Description>, base_url: &str, progress: Progress) -> Option<Self> {
        let pages = Pages::new(description, description.call(Verb::List)?, base_url, Vec::new());
        Some(Self(Pages { progress, ..pages }))
    }

    /// The request of the next page.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn ask(&self) -> Result<Box<RestDraft>, Refusal> {
        self.0.ask()
    }

    /// The accounts of a page, and whether another one follows.
    ///
    /// # Errors
    /// The page did not come, or the list cannot be believed.
    pub(crate) fn take(&mut self, answer: &HttpAnswer) -> Result<(Vec<RemoteAccount>, bool), Failure> {
        let body = match classify(&self.0.description, &self.0.call, answer) {
            Meaning::Success(body) => body,
            Meaning::Failed(failure) => return Err(self.0.refused(failure)),
            Meaning::Unclear(refusal, wait) => return Err(Failure::Retry(refusal, wait)),
            // Only by a pattern of the description: some applications answer a page without accounts with 404.
            Meaning::Absent => {
                let turn = self.0.turn(answer, &Value::Null, 0, None)?;
                return Ok((Vec::new(), turn == Turn::More));
            }
            Meaning::Exists(refusal) => return Err(Failure::Halt(refusal)),
        };
        let accounts = self.0.description.accounts(&self.0.call, &body, None);
        let accounts = accounts.map_err(Failure::Halt)?;
        let head = accounts.first().map(|account| account.id.0.as_str());
        Ok(match self.0.turn(answer, &body, accounts.len(), head)? {
            Turn::More => (accounts, true),
            Turn::Last => (accounts, false),
            Turn::Again => (Vec::new(), false),
        })
    }
}

/// The target of `rel="next"` in a `Link` header (RFC 8288).
fn next_link(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let end = rest[start..].find('>')? + start;
        let target = &rest[start + 1..end];
        rest = &rest[end + 1..];
        let parameters = &rest[..rest.find('<').unwrap_or(rest.len())];
        let is_next = parameters.split([';', ',']).any(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else {
                return false;
            };
            let value = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel")
                && value
                    .split_ascii_whitespace()
                    .any(|rel| rel.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target);
        }
    }
    None
}

/// FNV-1a, because the text may be kept over a restart.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_survives_as_text() {
        for next in [None, Some("a:b".to_owned()), Some(String::new())] {
            let progress = Progress {
                received: 7,
                pages: 2,
                total: Some(300),
                first: Some(1),
                previous: None,
                next,
            };
            assert_eq!(Progress::from_text(&progress.to_text()), Some(progress));
        }
        for text in ["", "n", "c:x:1::::", "page:1:1::::", "n:1:1:::"] {
            assert_eq!(Progress::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn the_next_link_is_found_among_others() {
        for (text, expected) in [
            (r#"<https://h/u?page=2>; rel="next""#, Some("https://h/u?page=2")),
            (r#"<a,b>; rel=prev, <c;d>; title="x"; rel="last next""#, Some("c;d")),
            (r#"<a>; rel="prev""#, None),
            ("<a", None),
            ("", None),
        ] {
            assert_eq!(next_link(text), expected, "{text}");
        }
    }
}
