//! What the writer shows of itself: for the shell, the status and the metrics.

use super::{Batch, Counts, Debtor, Owed, Position, SurveyKind, UserId, Writer};

impl Writer {
    /// Where the stream must go on; `None` at the first start or after the position was lost.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }
    /// Records staged and not yet committed: what bounds the memory.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.batches.iter().map(Batch::records).sum()
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
    /// Removals that were not made because they were too many, in words.
    #[must_use]
    pub fn refused_removals(&self) -> Option<&str> {
        self.refused_removals.as_deref()
    }
    /// Why the last snapshot proves no absence, in words.
    #[must_use]
    pub fn snapshot_problem(&self) -> Option<&str> {
        self.snapshot_problem.as_deref()
    }
    /// Counters.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }
    /// Whether nothing but a moved position is staged or under way, and nothing is owed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.batches.iter().any(Batch::has_content) && self.debts.len() == 0
    }
}
