//! Batches: what one transaction writes.

use std::sync::Arc;

use super::{
    BTreeMap, BTreeSet, Debtor, Effect, EventDeadLetter, HeldSet, Owed, Position, Published, Suppression, Timestamp,
    UserChange, UserId, Writer,
};

/// What one transaction writes. Opened at the beginning of a step, so no step is split over two.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Messages in order.
    pub changes: Vec<UserChange>,
    /// Events that could not be decoded.
    pub dead_letters: Vec<EventDeadLetter>,
    /// Debts made and (`None`) paid.
    pub owed: BTreeMap<Debtor, Option<Owed>>,
    /// Held sets made or changed and (`None`) ended, by the id of the record.
    pub held: BTreeMap<String, Option<HeldSet>>,
    /// Suppressions made or changed and (`None`) ended.
    pub suppressed: BTreeMap<UserId, Option<Suppression>>,
    /// Who is erased after the changes of this batch: nobody is in the changes of a batch behind an erasure of it.
    pub erased: BTreeSet<UserId>,
    /// About how many bytes the changes and letters are.
    pub bytes: usize,
    /// The position after all of it.
    pub position: Position,
    /// Whether the position differs from that of the batch before.
    pub moved: bool,
}

impl Batch {
    /// How many records it writes.
    #[must_use]
    pub fn records(&self) -> usize {
        self.changes.len()
            + self.dead_letters.len()
            + self.owed.len()
            + self.held.len()
            + self.suppressed.len()
            + self.erased.len()
            + usize::from(self.moved)
    }
    /// Takes a message.
    pub(super) fn push(&mut self, change: UserChange) {
        self.bytes += weigh(&change);
        self.changes.push(change);
    }
    /// Takes a dead letter.
    pub(super) fn push_letter(&mut self, letter: EventDeadLetter) {
        self.bytes += letter.payload.len() + 500;
        self.dead_letters.push(letter);
    }
    /// More than a moved position.
    #[must_use]
    pub fn has_content(&self) -> bool {
        self.records() > usize::from(self.moved)
    }
}

/// About how many bytes a message is on the wire. A transaction is bounded by it, so the order of magnitude is enough.
fn weigh(change: &UserChange) -> usize {
    let user = &change.user;
    let lists = user.groups.value().map_or(0, Vec::len) + user.permission_sets.value().map_or(0, Vec::len);
    let custom: usize = user
        .custom
        .iter()
        .map(|(name, value)| name.len() + value.as_str().map_or(8, str::len))
        .sum();
    1_500 + 80 * lists + custom + change.before.as_ref().map_or(0, |_| 1_000)
}

impl Writer {
    /// Makes sure that the last batch takes this step's consequences.
    pub(super) fn begin_batch(&mut self) {
        let busy = usize::from(self.in_flight);
        let full = self
            .batches
            .back()
            // Whoever was erased could be published again: never in the batch of the tombstone.
            .is_none_or(|batch| {
                batch.records() >= self.config.batch_records_max
                    || batch.bytes >= self.config.batch_bytes_max
                    || !batch.erased.is_empty()
            });
        if self.batches.len() <= busy || full {
            self.batch_numbers.0 += 1;
            self.batches.push_back(Arc::new(Batch {
                changes: Vec::new(),
                dead_letters: Vec::new(),
                owed: BTreeMap::new(),
                held: BTreeMap::new(),
                suppressed: BTreeMap::new(),
                erased: BTreeSet::new(),
                bytes: 0,
                position: self.position.clone(),
                moved: false,
            }));
        }
    }

    /// The batch of this step.
    pub(super) fn batch(&mut self) -> &mut Batch {
        if self.batches.is_empty() {
            self.begin_batch();
        }
        let last = self.batches.len() - 1;
        // Nobody else holds it: the one under way is never the last when something is staged.
        Arc::make_mut(&mut self.batches[last])
    }

    /// Closes the step: the batch's position is the one after it.
    pub(super) fn end_batch(&mut self) {
        self.write_held();
        let position = self.position.clone();
        let batch = self.batch();
        if batch.position != position {
            batch.position = position;
            batch.moved = true;
        }
        if batch.records() == 0 {
            self.batches.pop_back();
            self.batch_numbers.0 -= 1;
        }
    }

    /// Hands over the next batch when none is under way.
    pub(super) fn commit(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.in_flight {
            return;
        }
        let rested = self
            .last_commit
            .is_none_or(|last| now.duration_since(last) >= self.config.position_interval);
        // Whoever asks for a snapshot is answered when that is durable: it does not wait as a moved position may.
        if let Some(batch) = self.batches.front()
            && (batch.has_content() || rested || batch.position.wanted != self.wanted_committed)
        {
            self.in_flight = true;
            effects.push(Effect::Commit(Arc::clone(batch)));
        }
    }

    /// The batch under way has become state.
    pub(super) fn committed(&mut self, now: Timestamp) {
        if !std::mem::take(&mut self.in_flight) {
            return;
        }
        self.last_commit = Some(now);
        let Some(batch) = self.batches.pop_front() else { return };
        self.wanted_committed = batch.position.wanted;
        self.batch_numbers.1 += 1;
        // `begin_batch` has opened this step's batch behind the one under way.
        let erased: BTreeSet<UserId> = self.batches.iter().flat_map(|later| &later.erased).copied().collect();
        let batch = Arc::unwrap_or_clone(batch);
        for change in batch.changes {
            let id = change.user.id;
            match self.overlay.get(&id) {
                // Staged before the person was erased, see `Writer::erase`.
                _ if erased.contains(&id) => {}
                // The newest state of this person is now the committed one.
                Some(newest) if newest.head.version == change.version => {
                    if let Some(newest) = self.overlay.remove(&id) {
                        self.published.insert(id, newest);
                    }
                }
                _ => self.published.insert(id, Published::restored(change)),
            }
        }
        // Messages of this batch may be about somebody whose erasure follows.
        for id in batch
            .erased
            .iter()
            .chain(self.batches.iter().flat_map(|batch| &batch.erased))
        {
            self.published.remove(*id);
        }
        self.begin_batch();
    }

    /// The batch behind the one under way, and its number; more may still be added to its end.
    #[must_use]
    pub fn next_batch(&self) -> Option<(u64, &Batch)> {
        let next = self.batches.get(usize::from(self.in_flight))?;
        Some((self.batch_numbers.1 + u64::from(self.in_flight) + 1, next))
    }
    /// The number of the batch that takes what is staged now. It is durable when [`Writer::committed_batch`] has
    /// reached it.
    #[must_use]
    pub fn open_batch(&self) -> u64 {
        self.batch_numbers.0
    }
    /// As [`Writer::open_batch`], without a batch that only moves the position: that one may wait.
    #[must_use]
    pub fn staged_batch(&self) -> u64 {
        let last = self.batches.iter().rposition(|batch| batch.has_content());
        self.batch_numbers.1 + last.map_or(0, |index| index as u64 + 1)
    }
    /// The number of the last committed batch.
    #[must_use]
    pub fn committed_batch(&self) -> u64 {
        self.batch_numbers.1
    }
}
