//! Lists of accounts: a page, and the way to the next one.
//!
//! Paging cannot loop (vendor documentation): it advances by what was received, and it ends on an empty page, at
//! `totalResults`, after a bounded number of pages, and on a page that shows nothing new. Servers that ignore
//! `startIndex` answer page one for ever (observed on scimmy-routers 1.3.2 with Express 5).

use serde_json::Value;

use super::{render::Start, resource};
use crate::connector::{LIST_INCOMPLETE, Refusal};

/// A ListResponse (RFC 7644 section 3.4.2).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ListPage {
    pub(crate) resources: Vec<Value>,
    /// Not said by some servers that page by cursor.
    pub(crate) total: Option<u64>,
    pub(crate) next_cursor: Option<String>,
}

impl ListPage {
    /// Reads a list; `None` when the body is none. `Resources` may be absent when nothing was found.
    pub(crate) fn parse(body: &Value) -> Option<Self> {
        let total = resource::get(body, "totalResults");
        let total = total.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
        let resources = match resource::get(body, "Resources") {
            Some(Value::Array(items)) => items.clone(),
            None | Some(Value::Null) if total.is_some() => Vec::new(),
            _ => return None,
        };
        let cursor = resource::get(body, "nextCursor").and_then(Value::as_str);
        Some(Self {
            resources,
            total,
            next_cursor: cursor.filter(|cursor| !cursor.is_empty()).map(str::to_owned),
        })
    }

    fn ids(&self) -> impl Iterator<Item = String> {
        self.resources
            .iter()
            .filter_map(|resource| match resource::get(resource, "id")? {
                Value::String(id) => Some(id.clone()),
                other => Some(other.to_string()),
            })
    }
}

/// Where a listing stands. It can be written as text and read again, so that each page is its own operation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    received: u64,
    pages: u32,
    /// Fingerprints of the first ids of the first page and of the page before: what a page that repeats starts with.
    first: Option<u64>,
    previous: Option<u64>,
    cursor: Option<String>,
}

impl Progress {
    /// The page to ask for.
    pub(crate) fn start(&self, starts_with_cursor: bool) -> Start {
        match (&self.cursor, self.pages) {
            (Some(cursor), _) => Start::Cursor(cursor.clone()),
            (None, 0) if starts_with_cursor => Start::FirstCursor,
            (None, 0) => Start::First,
            (None, _) => Start::Index(self.received + 1),
        }
    }

    /// Takes a page; whether it brings something new, and whether another one follows.
    pub(crate) fn take(&mut self, page: &ListPage, pages_max: u32) -> (bool, bool) {
        let head = page.ids().next().map(|id| fingerprint(&id));
        let repeats = head.is_some() && (head == self.first || head == self.previous);
        let same_cursor = page.next_cursor.is_some() && page.next_cursor == self.cursor;
        if page.resources.is_empty() || repeats {
            // An empty page with a cursor is legal (RFC 9865 section 2): the server filtered it away.
            let goes_on = !repeats && !same_cursor && page.next_cursor.is_some() && self.pages < pages_max;
            self.pages += 1;
            self.cursor.clone_from(&page.next_cursor);
            return (false, goes_on);
        }
        let by_cursor = self.cursor.is_some();
        self.received += page.resources.len() as u64;
        self.pages += 1;
        self.first = self.first.or(head);
        self.previous = head;
        self.cursor.clone_from(&page.next_cursor);
        // After pages by cursor one without a cursor is the last (RFC 9865 section 2): an index would be refused.
        let more = self.cursor.is_some() || (!by_cursor && page.total.is_none_or(|total| self.received < total));
        (true, more && !same_cursor && self.pages < pages_max)
    }

    /// The same of a page that was asked for in this way: a first page by cursor without a cursor is the last as well.
    pub(crate) fn take_of(&mut self, start: &Start, page: &ListPage, pages_max: u32) -> (bool, bool) {
        let (new, more) = self.take(page, pages_max);
        let last = *start == Start::FirstCursor && page.next_cursor.is_none() && page.total.is_none();
        (new, more && !last)
    }

    /// Whether the listing, which ended with this page, is short of what the target says that there is: accounts were
    /// removed while it ran, pages repeat, a cursor stands still. Nobody's absence follows from such a list.
    pub(crate) fn is_short(&self, last: &ListPage) -> bool {
        last.next_cursor.is_some() || last.total.is_some_and(|total| self.received < total)
    }

    /// Whether the listing was given up because it had too many pages.
    pub(crate) fn is_cut(&self, pages_max: u32) -> bool {
        self.pages >= pages_max
    }

    /// As text, for the cursor of `Operation::List`.
    pub(crate) fn to_text(&self) -> String {
        let number = |value: Option<u64>| value.map_or_else(String::new, |value| format!("{value:x}"));
        let (first, previous) = (number(self.first), number(self.previous));
        let kind = if self.cursor.is_some() { "cursor" } else { "index" };
        format!(
            "{kind}:{}:{}:{first}:{previous}:{}",
            self.received,
            self.pages,
            self.cursor.as_deref().unwrap_or("")
        )
    }

    /// Reads the text back; `None` when it is not ours.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let by_cursor = match parts.next()? {
            "cursor" => true,
            "index" => false,
            _ => return None,
        };
        let received = parts.next()?.parse().ok()?;
        let pages = parts.next()?.parse().ok()?;
        let mut number = || parts.next().map(|text| u64::from_str_radix(text, 16).ok());
        let (first, previous) = (number()?, number()?);
        let cursor = parts.next()?;
        Some(Self {
            received,
            pages,
            first,
            previous,
            cursor: by_cursor.then(|| cursor.to_owned()),
        })
    }
}

/// Why a list that is short of its end is not used.
pub(crate) fn incomplete(progress: &Progress, last: &ListPage) -> Refusal {
    let of = last.total.map_or_else(String::new, |total| format!(" of {total}"));
    Refusal {
        code: LIST_INCOMPLETE.to_owned(),
        reason: format!("listing the accounts: the list ended after {}{of}", progress.received),
    }
}

/// FNV-1a, because the text may be kept over a restart and the standard hasher may change.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn page(ids: &[&str], total: Option<u64>, cursor: Option<&str>) -> ListPage {
        let resources: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
        ListPage {
            resources,
            total,
            next_cursor: cursor.map(str::to_owned),
        }
    }

    #[test]
    fn lists_are_read_and_other_bodies_are_not() {
        let list = json!({"totalresults": "2", "resources": [{"id": "1"}], "nextCursor": ""});
        let expected = ListPage {
            resources: vec![json!({"id": "1"})],
            total: Some(2),
            next_cursor: None,
        };
        assert_eq!(ListPage::parse(&list), Some(expected));
        assert_eq!(
            ListPage::parse(&json!({"totalResults": 0})),
            Some(page(&[], Some(0), None))
        );
        for body in [
            json!({}),
            json!([{"id": "1"}]),
            json!({"Resources": "x"}),
            json!({"users": []}),
        ] {
            assert_eq!(ListPage::parse(&body), None, "{body}");
        }
    }

    #[test]
    fn paging_advances_by_what_was_received_and_ends_at_the_total() {
        let mut progress = Progress::default();
        assert_eq!(progress.start(false), Start::First);
        assert_eq!(progress.take(&page(&["1", "2"], Some(3), None), 10), (true, true));
        assert_eq!(progress.start(false), Start::Index(3));
        assert_eq!(progress.take(&page(&["3"], Some(3), None), 10), (true, false));
    }

    #[test]
    fn paging_ends_on_an_empty_page_a_repeated_one_and_at_the_bound() {
        let first = page(&["1", "2"], None, None);
        let mut progress = Progress::default();
        assert_eq!(progress.take(&first, 10), (true, true));
        assert_eq!(progress.clone().take(&page(&[], None, None), 10), (false, false));
        assert_eq!(
            progress.clone().take(&first, 10),
            (false, false),
            "startIndex is ignored"
        );
        assert_eq!(progress.take(&page(&["3"], None, None), 2), (true, false));
        assert!(progress.is_cut(2));
    }

    #[test]
    fn a_list_that_ends_before_its_total_is_short() {
        let after = |pages: &[ListPage]| {
            let mut progress = Progress::default();
            for page in pages {
                progress.take(page, 10);
            }
            progress.is_short(pages.last().unwrap())
        };
        assert!(!after(&[page(&["1", "2"], Some(2), None)]));
        assert!(!after(&[page(&["1", "2"], None, None), page(&[], None, None)]));
        assert!(!after(&[page(&[], Some(0), None)]));
        assert!(after(&[page(&["1", "2"], Some(3), None), page(&[], Some(3), None)]));
        assert!(after(&[page(&["1"], Some(3), None), page(&["1"], Some(3), None)]));
        assert!(after(&[page(&["1"], None, Some("c")), page(&["2"], None, Some("c"))]));
    }

    #[test]
    fn a_cursor_is_followed_even_when_not_asked_for_and_over_empty_pages() {
        let mut progress = Progress::default();
        assert_eq!(progress.start(true), Start::FirstCursor);
        assert_eq!(progress.take(&page(&["1"], None, Some("c1")), 10), (true, true));
        assert_eq!(progress.start(false), Start::Cursor("c1".to_owned()));
        assert_eq!(progress.clone().take(&page(&[], None, Some("c2")), 10), (false, true));
        assert_eq!(
            progress.clone().take(&page(&["2"], None, Some("c1")), 10),
            (true, false),
            "the cursor stands still"
        );
        // Without one it is the last, whatever else is said; a total that was not reached makes it short.
        for (total, short) in [(Some(9), true), (Some(2), false), (None, false)] {
            let (mut progress, last) = (progress.clone(), page(&["2"], total, None));
            assert_eq!(progress.take(&last, 10), (true, false));
            assert_eq!(progress.is_short(&last), short);
        }
        for (start, more) in [(Start::FirstCursor, false), (Start::First, true)] {
            let only = page(&["1"], None, None);
            assert_eq!(Progress::default().take_of(&start, &only, 10), (true, more));
        }
    }

    #[test]
    fn progress_survives_as_text() {
        let mut progress = Progress::default();
        progress.take(&page(&["1"], Some(3), None), 10);
        assert_eq!(Progress::from_text(&progress.to_text()), Some(progress.clone()));
        progress.take(&page(&["2"], Some(3), Some("a:b")), 10);
        assert_eq!(Progress::from_text(&progress.to_text()), Some(progress));
        for text in ["", "index", "index:x:1:::", "page:1:1:::"] {
            assert_eq!(Progress::from_text(text), None, "{text}");
        }
    }
}
