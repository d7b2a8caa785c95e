//! What the writer shows of itself: for the shell, the status and the metrics.

use super::{
    BTreeMap, Counts, Debtor, HeldSet, Owed, Position, SurveyKind, Timestamp, User, UserId, Writer, held::set_of,
};

impl Writer {
    /// Where the stream must go on; `None` at the first start or after the position was lost.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }
    /// Records staged and not yet committed: what bounds the memory.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.batches.iter().map(|batch| batch.records()).sum()
    }
    /// How many people are published, removed ones included.
    #[must_use]
    pub fn published(&self) -> usize {
        self.published.len()
    }
    /// How many people are owed a read and could not be seen: neither members nor others.
    #[must_use]
    pub fn unseen(&self) -> usize {
        self.debts.unseen()
    }
    /// How many re-reads are owed.
    #[must_use]
    pub fn owed(&self) -> usize {
        self.debts.len()
    }
    /// Since when everyone is owed, and from which touch on: the shell runs a survey then.
    #[must_use]
    pub fn owes_everyone(&self) -> Option<&Owed> {
        self.debts.everyone()
    }
    /// Whether this user's read is still owed.
    #[must_use]
    pub fn owes(&self, id: UserId) -> bool {
        self.debts.has(Debtor::User(id))
    }
    /// Rows of the running survey.
    #[must_use]
    pub fn survey_progress(&self) -> Option<(SurveyKind, u64)> {
        self.survey
            .as_ref()
            .map(|running| (running.survey.kind, running.rows()))
    }
    /// What is kept back, by the id of the set; parts of one set together.
    #[must_use]
    pub fn held(&self) -> BTreeMap<String, HeldSet> {
        let mut sets: BTreeMap<String, HeldSet> = BTreeMap::new();
        for (part, record) in self.held.parts() {
            match sets.get_mut(set_of(part)) {
                Some(set) => {
                    set.removals.extend(&record.removals);
                    set.deactivations.extend(&record.deactivations);
                }
                None => {
                    sets.insert(set_of(part).to_owned(), record.clone());
                }
            }
        }
        sets
    }
    /// How many people are kept back, and since when the oldest set is, our clock.
    #[must_use]
    pub fn held_people(&self) -> (usize, Option<Timestamp>) {
        let parts = self.held.parts().values();
        let people = parts.clone().map(HeldSet::len).sum();
        (people, parts.map(|record| record.held_at).min())
    }
    /// How many people are erased and must not come back.
    #[must_use]
    pub fn suppressed(&self) -> usize {
        self.suppressed.len()
    }
    /// How many routine rechecks in a row found what the stream had not delivered.
    #[must_use]
    pub fn healing_in_a_row(&self) -> u32 {
        self.healing_in_a_row
    }
    /// The version of this person that was published last, and whether as removed.
    #[must_use]
    pub fn version(&self, id: UserId) -> Option<(u64, bool)> {
        self.head(id).map(|head| (head.version, head.removed))
    }
    /// What is known about a person in words of the contract; for people.
    #[must_use]
    pub fn user(&self, id: UserId) -> Option<User> {
        self.person(id).map(|person| person.user)
    }
    /// Why the last snapshot proves no absence, in words.
    #[must_use]
    pub fn snapshot_problem(&self) -> Option<&str> {
        self.snapshot_problem.as_deref()
    }
    /// Why the last reading of the population beside a report proves no absence, in words.
    #[must_use]
    pub fn population_problem(&self) -> Option<&str> {
        self.population_problem.as_deref()
    }
    /// Whether consequences of the last survey are still to be staged: another one waits for that.
    #[must_use]
    pub fn is_finishing(&self) -> bool {
        self.finishing.is_some()
    }
    /// Counters.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }
    /// Whether nothing but a moved position is staged or under way, and nothing is owed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.batches.iter().any(|batch| batch.has_content()) && self.debts.len() == 0 && self.finishing.is_none()
    }
}
