//! Paging where values differ in case only: whatever the source's order is, nobody is lost or read twice without notice.

use std::cmp::Reverse;

use proptest::prelude::*;

use super::*;

/// How the source compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compares {
    WithCase,
    WithoutCase,
}

impl Compares {
    fn key(self, id: &str) -> String {
        match self {
            Self::WithCase => id.to_owned(),
            Self::WithoutCase => id.to_lowercase(),
        }
    }
}

/// A report of people whose ids are much alike.
#[derive(Debug, Clone)]
struct Source {
    ids: Vec<String>,
    sorts: Compares,
    filters: Compares,
    page: usize,
    counts: bool,
}

impl Source {
    /// One run. Those who are equal to the source come in another order each time.
    fn run(&self, pages: &Pages, run: usize) -> Value {
        let body = pages.body();
        let from = body
            .pointer("/reportMetadata/reportFilters/0/value")
            .and_then(Value::as_str);
        let fits = |id: &&String| from.is_none_or(|from| self.filters.key(id) >= self.filters.key(from));
        let mut ids: Vec<&String> = self.ids.iter().filter(fits).collect();
        ids.sort_by_key(|id| (id[12..].len(), Reverse((*id).clone())));
        if run % 2 == 1 {
            ids.reverse();
        }
        ids.sort_by_key(|id| self.sorts.key(id));
        let rows: Vec<Value> = ids.iter().take(self.page).map(|id| row(id, true)).collect();
        let mut answer = answer(rows.len() == ids.len(), &rows);
        if self.counts {
            answer["reportMetadata"]["aggregates"] = json!(["RowCount"]);
            answer["factMap"]["T!T"]["aggregates"] = json!([{ "label": "x", "value": ids.len() }]);
        }
        answer
    }

    /// Everybody as read, in the order of the pages.
    fn read(&self) -> Result<Vec<String>, ReportError> {
        let (mut pages, mut all, mut runs) = (pages(), Vec::new(), 0);
        while !pages.done() {
            let answer = self.run(&pages, runs);
            runs += 1;
            all.extend(ids(&pages.take(&answer)?));
        }
        assert_eq!(pages.rows(), all.len() as u64);
        assert_eq!(pages.uncounted(), runs > 1 && !self.counts);
        Ok(all)
    }
}

fn alike(letters: &str) -> String {
    format!("005ZL0000000{letters}")
}

fn compares() -> impl Strategy<Value = Compares> {
    prop_oneof![Just(Compares::WithCase), Just(Compares::WithoutCase)]
}

/// Three letters of two: at most eight ids differ in case only, fewer than a page has.
fn source() -> impl Strategy<Value = Source> {
    let ids = proptest::collection::btree_set("[abAB]{3}", 1..60);
    (ids, compares(), compares(), 10_usize..16, any::<bool>()).prop_map(|(ids, sorts, filters, page, counts)| Source {
        ids: ids.iter().map(|letters| alike(letters)).collect(),
        sorts,
        filters,
        page,
        counts,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(2_000), ..ProptestConfig::default() })]

    #[test]
    fn nobody_is_lost_or_read_twice_without_notice(source in source()) {
        let mut everybody = source.ids.clone();
        everybody.sort();
        match source.read() {
            Ok(mut read) => {
                read.sort();
                // A filter that does not agree with the order shows in the counts.
                if source.counts || source.sorts == source.filters {
                    prop_assert_eq!(read, everybody);
                }
            }
            Err(error) => prop_assert!(source.sorts != source.filters, "{}", error),
        }
    }
}

#[test]
fn a_page_may_end_between_two_ids_that_differ_in_case_only() {
    let page = |all, letters: &[&str]| {
        let rows: Vec<Value> = letters.iter().map(|letters| row(&alike(letters), true)).collect();
        answer(all, &rows)
    };
    let names = |letters: &[&str]| letters.iter().map(|letters| alike(letters)).collect::<Vec<_>>();
    // The one behind the cut comes first on the next page, and one before it comes again.
    let mut pages = pages();
    assert_eq!(
        ids(&pages.take(&page(false, &["aaa", "aAb", "aab"])).unwrap()),
        names(&["aaa", "aAb", "aab"])
    );
    let next = pages.take(&page(true, &["AAB", "aab", "aAb", "aac"])).unwrap();
    assert_eq!(ids(&next), names(&["AAB", "aac"]));
    assert_eq!(pages.rows(), 5);
    // Further back is out of order all the same.
    let mut pages = super::pages();
    pages.take(&page(false, &["aaa", "aab"])).unwrap();
    assert!(pages.take(&page(true, &["aaa", "aab"])).is_err());
}

#[test]
fn ids_that_fill_a_page_and_differ_in_case_only_stop_with_the_way_out() {
    let page: Vec<Value> = ["aab", "aAb", "AAB"]
        .iter()
        .map(|letters| row(&alike(letters), true))
        .collect();
    let error = pages().take(&answer(false, &page)).unwrap_err();
    assert!(matches!(error, ReportError::Ties(..)), "{error}");
}
