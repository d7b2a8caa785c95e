//! Batches: what one transaction writes.

use super::{BTreeMap, Debtor, Effect, EventDeadLetter, Owed, Position, Timestamp, UserChange, Writer};

/// What one transaction writes. Opened at the beginning of a step, so no step is split over two.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Messages in order.
    pub changes: Vec<UserChange>,
    /// Events that could not be decoded.
    pub dead_letters: Vec<EventDeadLetter>,
    /// Debts made and (`None`) paid.
    pub owed: BTreeMap<Debtor, Option<Owed>>,
    /// The position after all of it.
    pub position: Position,
    /// Whether the position differs from that of the batch before.
    pub moved: bool,
}

impl Batch {
    /// How many records it writes.
    #[must_use]
    pub fn records(&self) -> usize {
        self.changes.len() + self.dead_letters.len() + self.owed.len() + usize::from(self.moved)
    }
    /// More than a moved position.
    #[must_use]
    pub fn has_content(&self) -> bool {
        self.records() > usize::from(self.moved)
    }
}

impl Writer {
    /// Makes sure that the last batch takes this step's consequences.
    pub(super) fn begin_batch(&mut self) {
        let busy = usize::from(self.in_flight);
        let full = self
            .batches
            .back()
            .is_none_or(|batch| batch.records() >= self.config.batch_records_max);
        if self.batches.len() <= busy || full {
            self.batches.push_back(Batch {
                changes: Vec::new(),
                dead_letters: Vec::new(),
                owed: BTreeMap::new(),
                position: self.position.clone(),
                moved: false,
            });
        }
    }

    /// The batch of this step.
    pub(super) fn batch(&mut self) -> &mut Batch {
        if self.batches.is_empty() {
            self.begin_batch();
        }
        let last = self.batches.len() - 1;
        &mut self.batches[last]
    }

    /// Closes the step: the batch's position is the one after it.
    pub(super) fn end_batch(&mut self) {
        let position = self.position.clone();
        let batch = self.batch();
        if batch.position != position {
            batch.position = position;
            batch.moved = true;
        }
        if batch.records() == 0 {
            self.batches.pop_back();
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
        if let Some(batch) = self.batches.front()
            && (batch.has_content() || rested)
        {
            self.in_flight = true;
            effects.push(Effect::Commit(batch.clone()));
        }
    }

    /// The batch under way has become state.
    pub(super) fn committed(&mut self, now: Timestamp) {
        if !std::mem::take(&mut self.in_flight) {
            return;
        }
        self.last_commit = Some(now);
        let Some(batch) = self.batches.pop_front() else { return };
        // `begin_batch` has opened this step's batch behind the one under way.
        for change in batch.changes {
            let id = change.user.id;
            match self.overlay.get(&id) {
                // The newest state of this person is now the committed one.
                Some(newest) if newest.version == change.version => {
                    if let Some(newest) = self.overlay.remove(&id) {
                        self.published.insert(id, newest);
                    }
                }
                _ => {
                    self.published.insert(id, super::Published::restored(change));
                }
            }
        }
        self.begin_batch();
    }
}
