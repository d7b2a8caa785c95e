//! Events: merged where that is safe, else the person is owed a read.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use sha2::{Digest as _, Sha256};
use usher_contract::CutPayload;

use super::{
    Cause, ChangeEvent, ChangeType, Concerned, Debtor, DecodeError, EventDeadLetter, Header, Known, Origin, Owed,
    StreamEvent, Timestamp, User, UserId, UserKey, Writer, api_name, normalize, raw_of_delta,
};

/// The bytes of a dead letter, as base64, stay below what a broker takes by default (1 MB per record). A multiple of 4, so that
/// what is left can be decoded.
const LETTER_BYTES_MAX: usize = 700_000;

/// The payload as it fits into a record, and what it was when that is less.
fn fit(mut payload: String) -> (String, Option<CutPayload>) {
    if payload.len() <= LETTER_BYTES_MAX {
        return (payload, None);
    }
    let bytes = BASE64.decode(&payload).unwrap_or_default();
    let sha256 = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    // Base64 is ASCII: every index is a boundary.
    payload.truncate(LETTER_BYTES_MAX);
    let bytes = bytes.len() as u64;
    (payload, Some(CutPayload { bytes, sha256 }))
}

/// Whether an event is about records of another object, as on a channel of several.
fn is_foreign(event: &Result<ChangeEvent, DecodeError>) -> bool {
    let header = match event {
        Ok(event) => Some(&event.header),
        Err(error) => error.header.as_deref(),
    };
    header.is_some_and(|header| header.concerned == Concerned::OtherObject)
}

impl Writer {
    pub(super) fn event(&mut self, received: StreamEvent, now: Timestamp) {
        self.counts.events += 1;
        match received.event {
            // Nobody of ours, whether or not it can be decoded.
            event if is_foreign(&event) => self.counts.foreign += 1,
            Ok(event) => {
                self.position.committed_at = self.position.committed_at.max(Some(event.header.committed_at));
                match event.header.concerned.clone() {
                    Concerned::Everyone => self.owe(
                        Debtor::Everyone,
                        Owed::new(now, event.reread.unwrap_or("everyone may have changed")),
                    ),
                    Concerned::Users(ids) => ids.into_iter().for_each(|id| self.event_of(id, &event, now)),
                    Concerned::OtherObject => {}
                }
            }
            Err(error) => {
                self.counts.undecodable += 1;
                let remedy = self.owe_undecodable(error.header.as_deref(), now);
                let (payload, cut) = fit(received.payload);
                let letter = EventDeadLetter {
                    org_id: self.config.org,
                    stream: self.config.stream.clone(),
                    replay_id: received.replay_id.clone(),
                    schema_id: received.schema_id,
                    payload,
                    cut,
                    reason: error.reason,
                    remedy: remedy.to_owned(),
                    at: now,
                };
                self.batch().push_letter(letter);
            }
        }
        if let Some(position) = self.progress.event(&received.replay_id) {
            self.position.replay_id = Some(position);
        }
    }

    fn owe_undecodable(&mut self, header: Option<&Header>, now: Timestamp) -> &'static str {
        match header.map(|header| header.concerned.clone()) {
            Some(Concerned::Users(ids)) => {
                let deleted = header.is_some_and(|header| header.change_type.is_deletion());
                for id in ids {
                    if self.is_suppressed(id) || self.covered_by_debt(id, deleted) {
                        continue;
                    }
                    self.owe(
                        Debtor::User(id),
                        Owed {
                            deleted,
                            ..Owed::new(now, "its change event could not be decoded")
                        },
                    );
                }
                "the users of its header are read again"
            }
            Some(Concerned::Everyone) => {
                self.owe(Debtor::Everyone, Owed::new(now, "a change event could not be decoded"));
                "everyone is read again"
            }
            Some(Concerned::OtherObject) => "nothing: it is about another object",
            None => {
                let touched_since = self.position.committed_at.map(|at| at - self.config.read_margin);
                self.owe(
                    Debtor::Everyone,
                    Owed {
                        touched_since,
                        ..Owed::new(now, "a change event could not be decoded")
                    },
                );
                "everyone touched since the last good event is read again"
            }
        }
    }

    /// Rule 2 and everything else that decides whether an event can be merged.
    fn event_of(&mut self, id: UserId, event: &ChangeEvent, now: Timestamp) {
        let deleted = event.header.change_type.is_deletion();
        if self.is_suppressed(id) {
            return;
        }
        // An event speaks for itself, also when a read has to say it: whoever it deactivates or deletes is no question for
        // an operator any more.
        let leaves = deleted || event.delta.get("IsActive") == Some(&false.into());
        if self.covered_by_debt(id, deleted) {
            if leaves {
                self.settled(id, true);
            }
            return;
        }
        let Some(person) = self.person(id) else {
            if event.header.change_type == ChangeType::Delete {
                self.touch_stranger(id);
            } else {
                self.owe(Debtor::User(id), Owed::new(now, "unknown user"));
            }
            return;
        };
        let committed_at = event.header.committed_at;
        let margin = self.config.read_margin;
        let late = self.handled_before.is_some_and(|before| committed_at <= before)
            || person.head.committed_at.is_some_and(|last| committed_at <= last)
            || person
                .head
                .read_at
                .is_some_and(|read| committed_at.duration_since(read) <= margin);
        let reread = event
            .reread
            .or(late.then_some("an event as old as the last read"))
            .or(person.user.removed.then_some("an event of somebody removed"));
        let population = &self.config.population;
        let reread = reread.or(event
            .delta
            .keys()
            .any(|name| population.depends_on(api_name(name)))
            .then_some("may have left the population"));
        // Nobody gets access back on the word of an event alone: that the person has left the population meanwhile may
        // have been told by nobody (an overflow, an event that cannot be read).
        let enables = event.delta.get("IsActive") == Some(&true.into()) && person.user.active != Known::Value(true);
        let reread = reread.or(enables.then_some("active again"));
        if let Some(reason) = reread {
            if leaves {
                self.settled(id, true);
            }
            self.owe(
                Debtor::User(id),
                Owed {
                    deleted,
                    ..Owed::new(now, reason)
                },
            );
            return;
        }
        let mut next = if event.header.change_type == ChangeType::Delete {
            User {
                removed: true,
                ..person.user.clone()
            }
        } else {
            let raw = raw_of_delta(&event.delta, &self.config.fields);
            normalize(UserKey::new(self.config.org, id), &raw, &self.config.fields).over(&person.user)
        };
        if !self.fill_names(&mut next) {
            self.owe(Debtor::User(id), Owed::new(now, "the name behind an id is not known"));
            return;
        }
        let cause = Cause {
            origin: Origin::ChangeEvent,
            committed_at: Some(committed_at),
            observed_at: now,
            read_at: None,
            recorded_at: None,
            commit_number: Some(event.header.commit_number.to_string()),
            transaction_key: Some(event.header.transaction_key.clone()),
            changed_by: self.config.publish_changed_by.then(|| event.header.commit_user.clone()),
            approval: None,
        };
        if deleted || event.delta.contains_key("IsActive") {
            self.settled(id, deleted);
        }
        self.stage(Some(&person), next, cause, false, true);
        let seq = self.now;
        self.update_head(id, |head| {
            head.committed_at = head.committed_at.max(Some(committed_at));
            head.touched = seq;
        });
    }
}
