//! Counts the calls clients make, by method and path, so that tests can say "no HTTP write" or "one query".
//!
//! Paths lose their API version and ids: `GET /sobjects/User/{id}`. RPCs count as method `RPC`. Leaves out bodies, except
//! that the newest queries are kept as text.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::id;

const QUERIES_KEPT: usize = 1000;

#[derive(Debug, Default)]
struct Inner {
    counts: BTreeMap<(String, String), u64>,
    queries: VecDeque<String>,
}

/// Calls by method and path.
#[derive(Debug, Default)]
pub struct RequestLog {
    inner: Mutex<Inner>,
}

impl RequestLog {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn record(&self, method: &str, path: &str) {
        let key = (method.to_owned(), pattern_of(path));
        *self.inner().counts.entry(key).or_default() += 1;
    }

    pub(crate) fn record_query(&self, soql: &str) {
        let mut inner = self.inner();
        if inner.queries.len() == QUERIES_KEPT {
            inner.queries.pop_front();
        }
        inner.queries.push_back(soql.to_owned());
    }

    /// How often `method` was used on exactly this path pattern.
    pub fn count(&self, method: &str, path: &str) -> u64 {
        self.inner()
            .counts
            .get(&(method.to_owned(), path.to_owned()))
            .copied()
            .unwrap_or(0)
    }

    /// All calls so far.
    pub fn total(&self) -> u64 {
        self.inner().counts.values().sum()
    }

    /// Every method and path pattern with its count.
    pub fn entries(&self) -> Vec<(String, String, u64)> {
        self.inner()
            .counts
            .iter()
            .map(|((method, path), count)| (method.clone(), path.clone(), *count))
            .collect()
    }

    /// The newest SOQL texts, oldest first.
    pub fn queries(&self) -> Vec<String> {
        self.inner().queries.iter().cloned().collect()
    }

    /// Starts counting anew.
    pub fn clear(&self) {
        *self.inner() = Inner::default();
    }
}

fn pattern_of(path: &str) -> String {
    let mut segments: Vec<&str> = path.split('/').collect();
    if segments.len() > 3 && segments[1] == "services" && segments[2] == "data" {
        segments.drain(1..4);
    }
    let named: Vec<&str> = segments
        .into_iter()
        .map(|segment| {
            let id_like = id::normalize(segment).is_some() && segment.bytes().any(|byte| byte.is_ascii_digit());
            if id_like || segment.starts_with("01g") {
                "{id}"
            } else {
                segment
            }
        })
        .collect();
    let joined = named.join("/");
    if joined.is_empty() { "/".to_owned() } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_ids_are_left_out_of_the_path() {
        let log = RequestLog::default();
        log.record("GET", "/services/data/v66.0/sobjects/User/0055f000005mc66AAA");
        log.record("GET", "/services/data/v61.0/sobjects/User/0055f000005mc66");
        log.record("GET", "/services/data/v66.0/query/01g5f0000000001AAA-2000");
        log.record("POST", "/services/oauth2/token");
        assert_eq!(log.count("GET", "/sobjects/User/{id}"), 2);
        assert_eq!(log.count("GET", "/query/{id}"), 1);
        assert_eq!(log.count("POST", "/services/oauth2/token"), 1);
        assert_eq!(log.total(), 4);
    }
}
