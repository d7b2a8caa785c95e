//! The memory of every request, and what can be read from it.

use std::collections::HashMap;
use std::time::{Instant, SystemTime};

use serde_json::Value;

use crate::clock;

/// One request as it arrived and ended.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// Rises by one in order of arrival, also across [`crate::ScimSim::reset_log`].
    pub sequence: u64,
    pub started: Instant,
    pub started_at: SystemTime,
    /// `None` while it is being served.
    pub ended: Option<Instant>,
    pub ended_at: Option<SystemTime>,
    /// As sent: tells clients apart that have a credential each.
    pub authorization: Option<String>,
    pub method: String,
    /// Below the base URL, for example `/Users/1`.
    pub path: String,
    /// As sent, percent-encoded.
    pub query: String,
    /// `None` for an empty body; a text if it is not JSON.
    pub body: Option<Value>,
    /// Of the answer that was sent or, for a lost one, would have been. `None` while unanswered.
    pub status: Option<u16>,
    /// Whether it was meant to change a resource: POST, PUT, PATCH or DELETE, search requests aside.
    pub write: bool,
    /// Whether it was executed; a planned fault may have prevented that.
    pub executed: bool,
    /// When it was.
    pub executed_at: Option<Instant>,
    /// Whether the client got an answer.
    pub answered: bool,
    /// The resource that it was about: its id, or for a create the id that was assigned. A create that was refused has its
    /// `externalId` or `userName` here instead.
    pub resource: Option<String>,
}

/// Everything recorded since the last reset.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    next: u64,
    /// The sequence number of the first entry of `requests`.
    first: u64,
    requests: Vec<RequestRecord>,
    created: HashMap<String, usize>,
}

impl Recording {
    /// Enters a request; its number is the handle for [`Recording::update`].
    pub(crate) fn start(&mut self, method: &str, path: &str, query: &str, body: Option<Value>, write: bool) -> u64 {
        let sequence = self.next;
        self.next += 1;
        self.requests.push(RequestRecord {
            sequence,
            started: clock::monotonic(),
            started_at: clock::wall(),
            ended: None,
            ended_at: None,
            authorization: None,
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            body,
            status: None,
            write,
            executed: false,
            executed_at: None,
            answered: false,
            resource: None,
        });
        sequence
    }

    /// Changes an entry; one that was reset away in the meantime is gone.
    pub(crate) fn update(&mut self, sequence: u64, change: impl FnOnce(&mut RequestRecord)) {
        let index = sequence
            .checked_sub(self.first)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(record) = index.and_then(|index| self.requests.get_mut(index)) {
            change(record);
        }
    }

    pub(crate) fn created(&mut self, external_id: Option<&str>) {
        if let Some(external_id) = external_id {
            *self.created.entry(external_id.to_owned()).or_default() += 1;
        }
    }

    pub(crate) fn reset(&mut self) {
        self.first = self.next;
        self.requests.clear();
        self.created.clear();
    }

    pub(crate) fn requests(&self) -> &[RequestRecord] {
        &self.requests
    }

    pub(crate) fn created_count_by_external_id(&self) -> &HashMap<String, usize> {
        &self.created
    }
}

/// The largest number of writes about one resource that were being served at the same moment; 1 is what a correct client causes.
pub(crate) fn max_writes_in_flight(requests: &[RequestRecord]) -> usize {
    let mut by_resource: HashMap<&str, Vec<(Instant, i32)>> = HashMap::new();
    for request in requests.iter().filter(|request| request.write) {
        let Some(resource) = &request.resource else {
            continue;
        };
        let moments = by_resource.entry(resource).or_default();
        moments.push((request.started, 1));
        // A request that takes effect after its client has gone is in flight until then.
        if let Some(ended) = request
            .ended
            .max(request.executed_at.filter(|_| request.ended.is_some()))
        {
            moments.push((ended, -1));
        }
    }
    let mut most = 0;
    for mut moments in by_resource.into_values() {
        // An end sorts before a start at the same moment: touching is not overlapping.
        moments.sort();
        let mut now = 0;
        for (_, step) in moments {
            now += step;
            most = most.max(now);
        }
    }
    usize::try_from(most).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn writes(spans: &[(&str, u64, Option<u64>)]) -> Vec<RequestRecord> {
        let origin = clock::monotonic();
        let mut recording = Recording::default();
        for (resource, start, end) in spans {
            let sequence = recording.start("PATCH", "/Users/1", "", None, true);
            recording.update(sequence, |record| {
                record.resource = Some((*resource).to_owned());
                record.started = origin + Duration::from_millis(*start);
                record.ended = end.map(|end| origin + Duration::from_millis(end));
            });
        }
        recording.requests().to_vec()
    }

    #[test]
    fn overlap_is_counted_per_resource() {
        let apart = writes(&[("a", 0, Some(10)), ("a", 10, Some(20)), ("b", 0, Some(99))]);
        assert_eq!(max_writes_in_flight(&apart), 1);
        let over = writes(&[("a", 0, Some(10)), ("a", 9, Some(20)), ("b", 9, Some(10))]);
        assert_eq!(max_writes_in_flight(&over), 2);
        let unfinished = writes(&[("a", 0, None), ("a", 100, Some(101))]);
        assert_eq!(max_writes_in_flight(&unfinished), 2);
        assert_eq!(max_writes_in_flight(&[]), 0);
    }

    #[test]
    fn numbers_go_on_after_a_reset_and_late_ends_are_harmless() {
        let mut recording = Recording::default();
        let before = recording.start("GET", "/Users", "", None, false);
        recording.reset();
        let after = recording.start("GET", "/Users", "", None, false);
        recording.update(before, |_| panic!("it was reset away"));
        recording.update(after, |record| record.status = Some(200));
        assert_eq!(recording.requests().len(), 1);
        assert_eq!(recording.requests()[0].sequence, 1);
    }
}
