//! The event bus of the org: retained events in commit order, opaque replay ids, retention.
//!
//! A replay id is ten bytes: a rising number with gaps, then two check bytes bound to the bus's history. So ids are not
//! contiguous, computing one fails, and ids from before a stream reset are refused (Pub/Sub API, "Event Message
//! Durability"). The eight-byte form, which `salesforce-pubsub-api-client` squeezes ids into, is accepted as the vendor
//! accepts it. Leaves out streams and their flow control (`pubsub/`).

use std::{collections::VecDeque, sync::Arc};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sha2::{Digest as _, Sha256};

/// The bus carries other topics too: ids of neighbours on one topic differ by up to this.
const LARGEST_GAP: u64 = 9;

#[derive(Debug, Clone)]
pub(crate) struct StoredEvent {
    pub(crate) replay: u64,
    pub(crate) committed_ms: i64,
    pub(crate) schema_id: Arc<str>,
    pub(crate) event_id: String,
    pub(crate) payload: Arc<[u8]>,
}

/// Why a replay id cannot be resumed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplayError {
    /// Not a replay id at all.
    Invalid,
    /// From another history, computed, or out of retention.
    Corrupted,
}

#[derive(Debug)]
pub(crate) struct EventLog {
    events: VecDeque<StoredEvent>,
    /// Place in the log's whole history of `events[0]`; streams remember places, not ids.
    first_place: u64,
    next_replay: u64,
    purged_through: u64,
    history: u64,
    retention_ms: i64,
    rng: StdRng,
}

impl EventLog {
    pub(crate) fn new(seed: u64, retention_ms: i64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x00e0_e0e0);
        let start = 10_000_000 + rng.random_range(0..1_000_000u64);
        Self {
            events: VecDeque::new(),
            first_place: 0,
            next_replay: start,
            purged_through: start - 1,
            history: rng.random(),
            retention_ms,
            rng,
        }
    }

    pub(crate) fn append(&mut self, schema_id: Arc<str>, payload: Vec<u8>, committed_ms: i64) {
        let replay = self.take_id();
        let event_id = crate::random::uuid(&mut self.rng);
        self.events.push_back(StoredEvent {
            replay,
            committed_ms,
            schema_id,
            event_id,
            payload: payload.into(),
        });
    }

    /// An event that shares the replay id of the newest one, as events of one transaction do on enriched channels.
    pub(crate) fn append_sibling(&mut self, schema_id: Arc<str>, payload: Vec<u8>, committed_ms: i64) {
        let replay = self.events.back().map(|event| event.replay);
        self.append(schema_id, payload, committed_ms);
        if let (Some(replay), Some(event)) = (replay, self.events.back_mut()) {
            event.replay = replay;
        }
    }

    fn take_id(&mut self) -> u64 {
        let id = self.next_replay;
        self.next_replay += self.rng.random_range(1..=LARGEST_GAP);
        id
    }

    /// The place after the newest event.
    pub(crate) fn end(&self) -> u64 {
        self.first_place + self.events.len() as u64
    }

    pub(crate) fn earliest(&self) -> u64 {
        self.first_place
    }

    /// Drops what has left retention.
    pub(crate) fn purge(&mut self, now_ms: i64) {
        while let Some(event) = self.events.front() {
            if event.committed_ms + self.retention_ms > now_ms {
                break;
            }
            self.drop_first();
        }
    }

    /// Drops everything: what a full retention period without a subscriber does.
    pub(crate) fn expire_all(&mut self) {
        while !self.events.is_empty() {
            self.drop_first();
        }
        self.purged_through = self.take_id();
    }

    /// A stream reset: retained events are gone and earlier ids mean nothing any more.
    pub(crate) fn reset_history(&mut self) {
        self.expire_all();
        self.history = self.rng.random();
    }

    fn drop_first(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.first_place += 1;
            self.purged_through = event.replay;
        }
    }

    /// The place after the event with this id.
    pub(crate) fn place_after(&self, id: &[u8]) -> Result<u64, ReplayError> {
        let number: [u8; 8] = id
            .get(..8)
            .and_then(|head| head.try_into().ok())
            .ok_or(ReplayError::Invalid)?;
        let replay = u64::from_be_bytes(number);
        match id.len() {
            8 => {}
            10 if self.id_bytes(replay) == id => {}
            10 => return Err(ReplayError::Corrupted),
            _ => return Err(ReplayError::Invalid),
        }
        if replay <= self.purged_through || replay >= self.next_replay {
            return Err(ReplayError::Corrupted);
        }
        Ok(self.first_place + self.events.partition_point(|event| event.replay <= replay) as u64)
    }

    /// Up to `count` events and roughly `bytes` bytes from a place on. A place before retention starts at the earliest.
    pub(crate) fn read(&self, place: u64, count: usize, bytes: usize) -> (Vec<StoredEvent>, u64) {
        let from = place.max(self.first_place);
        let skip = usize::try_from(from - self.first_place).unwrap_or(usize::MAX);
        let mut size = 0;
        let events: Vec<StoredEvent> = self
            .events
            .iter()
            .skip(skip)
            .take(count)
            .take_while(|event| {
                let first = size == 0;
                size += event.payload.len() + 64;
                first || size <= bytes
            })
            .cloned()
            .collect();
        let next = from + events.len() as u64;
        (events, next)
    }

    pub(crate) fn id_bytes(&self, replay: u64) -> Vec<u8> {
        let mut hash = Sha256::new();
        hash.update(self.history.to_be_bytes());
        hash.update(replay.to_be_bytes());
        let check = hash.finalize();
        let mut id = replay.to_be_bytes().to_vec();
        id.extend_from_slice(&check[..2]);
        id
    }

    /// The bus's own position, past all that was filtered from the reader: later than every event so far.
    pub(crate) fn current_id(&mut self) -> Vec<u8> {
        let replay = self.take_id();
        self.id_bytes(replay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(count: usize) -> EventLog {
        let mut log = EventLog::new(7, 1000);
        for number in 0..count {
            log.append("schema".into(), vec![1], i64::try_from(number).unwrap());
        }
        log
    }

    fn ids(log: &EventLog) -> Vec<Vec<u8>> {
        log.read(0, 1000, 1 << 20)
            .0
            .iter()
            .map(|event| log.id_bytes(event.replay))
            .collect()
    }

    #[test]
    fn resuming_starts_after_the_event() {
        let log = log_of(3);
        let ids = ids(&log);
        assert_eq!(log.place_after(&ids[0]), Ok(1));
        assert_eq!(log.place_after(&ids[2]), Ok(3));
        assert_eq!(log.place_after(&ids[1][..8]), Ok(2));
    }

    #[test]
    fn a_computed_id_is_corrupted_and_a_garbled_one_invalid() {
        let log = log_of(3);
        let mut next = ids(&log)[0].clone();
        next[7] = next[7].wrapping_add(1);
        assert_eq!(log.place_after(&next), Err(ReplayError::Corrupted));
        assert_eq!(log.place_after(b"abc"), Err(ReplayError::Invalid));
        assert_eq!(log.place_after(&[]), Err(ReplayError::Invalid));
    }

    #[test]
    fn an_id_out_of_retention_is_corrupted() {
        let mut log = log_of(3);
        let ids = ids(&log);
        log.purge(1001);
        assert_eq!(log.place_after(&ids[1]), Err(ReplayError::Corrupted));
        assert_eq!(log.place_after(&ids[2]), Ok(3));
        assert_eq!(log.earliest(), 2);
    }

    #[test]
    fn a_reset_refuses_ids_from_before_it() {
        let mut log = log_of(3);
        let before = log.current_id();
        log.reset_history();
        assert_eq!(log.place_after(&before), Err(ReplayError::Corrupted));
        let after = log.current_id();
        assert_eq!(log.place_after(&after), Ok(3));
    }

    #[test]
    fn a_keepalive_id_lies_between_the_events_around_it() {
        let mut log = log_of(2);
        let between = log.current_id();
        log.append("schema".into(), vec![2], 5);
        assert_eq!(log.place_after(&between), Ok(2));
    }
}
