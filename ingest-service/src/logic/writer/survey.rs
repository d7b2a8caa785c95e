//! Surveys: reading many people at once, as a snapshot (everyone) or a recheck (recently touched ones).

use super::{
    BTreeSet, Debtor, HashSet, Known, Origin, Owed, Published, RawUser, Timestamp, User, UserId, UserKey, Writer,
    debts::read_cause, learn_names, normalize,
};
use crate::logic::{record::SnapshotMark, snapshot};

/// What kind of survey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SurveyKind {
    /// Every row of a report. Speaks about `listed`, and only for its columns.
    Report,
    /// Everyone in the population.
    Query,
    /// Those in the population who were touched recently. Never proves an absence.
    Recheck,
}

/// A survey that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survey {
    /// What kind.
    pub kind: SurveyKind,
    /// When, by the source's clock.
    pub began_at: Timestamp,
    /// For a recheck: the window of touches that it looks at.
    pub window: Option<(Timestamp, Timestamp)>,
    /// Whether this is the listing that the configuration names: its completion is the snapshot's.
    pub listing: bool,
    /// An operator asked for it.
    pub reimport: bool,
}

/// The survey under way.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) survey: Survey,
    began: u64,
    seen: HashSet<UserId>,
}

impl Running {
    pub(super) fn new(survey: Survey, now: u64) -> Self {
        Self {
            survey,
            began: now,
            seen: HashSet::new(),
        }
    }
    pub(super) fn rows(&self) -> u64 {
        self.seen.len() as u64
    }
}

impl Writer {
    pub(super) fn survey_rows(&mut self, read_at: Timestamp, rows: Vec<(UserId, RawUser)>, now: Timestamp) {
        let Some(mut running) = self.survey.take() else { return };
        for (id, raw) in rows {
            running.seen.insert(id);
            self.survey_row(&running, id, &raw, read_at, now);
        }
        self.survey = Some(running);
    }

    fn survey_row(&mut self, running: &Running, id: UserId, raw: &RawUser, read_at: Timestamp, now: Timestamp) {
        let report = running.survey.kind == SurveyKind::Report;
        let listed = report.then_some(true);
        if self.debts.has(Debtor::User(id)) {
            if report {
                self.owe(
                    Debtor::User(id),
                    Owed {
                        listed,
                        ..Owed::new(now, "in the report")
                    },
                );
            }
            return;
        }
        let last = self.person(id);
        // A report does not know the population: who is new or was removed is asked there.
        if report && last.is_none_or(|person| person.user.removed) {
            self.owe(
                Debtor::User(id),
                Owed {
                    listed,
                    ..Owed::new(now, "in the report and not published")
                },
            );
            return;
        }
        // Rule 1: an event received since the survey began is newer than its rows. But the row may know more than that
        // event said, so the person is read once more instead of taking either for the whole truth.
        if last.is_some_and(|person| person.touched > running.began) {
            self.owe(
                Debtor::User(id),
                Owed {
                    listed,
                    ..Owed::new(now, "changed while everyone was read")
                },
            );
            return;
        }
        let key = UserKey::new(self.config.org, id);
        let base = last.map_or_else(|| User::unknown(key), |person| person.user.clone());
        let mut next = base.updated_by(normalize(key, raw, &self.config.fields));
        if let Some(listed) = listed {
            next.listed = Known::Value(listed);
        }
        learn_names(&mut self.names, &next);
        self.fill_names(&mut next);
        let origin = match running.survey.kind {
            _ if running.survey.reimport => Origin::Reimport,
            SurveyKind::Report => Origin::Report,
            SurveyKind::Query => Origin::Query,
            SurveyKind::Recheck => Origin::Recheck,
        };
        let baseline = self.baseline && running.survey.kind == SurveyKind::Query;
        let changed = self.stage(next, read_cause(origin, read_at, now), baseline);
        if changed && running.survey.kind == SurveyKind::Recheck {
            self.counts.healed += 1;
        }
        // Staging counts as touching, and only events are meant by rule 1.
        if let Some(person) = self.person_mut(id) {
            person.read_at = person.read_at.max(Some(read_at));
            person.touched = person.touched.min(running.began);
        }
    }

    pub(super) fn survey_ended(&mut self, result: Result<(), String>, accept_size: bool, now: Timestamp) {
        let Some(running) = self.survey.take() else { return };
        let survey = running.survey;
        if let Err(why) = result {
            if survey.kind != SurveyKind::Recheck {
                self.snapshot_problem = Some(format!("the last snapshot failed: {why}"));
            }
            return;
        }
        match survey.kind {
            SurveyKind::Recheck => {
                // Only a look that joins the last one moves the mark: what lies between was not looked at.
                if let Some((from, to)) = survey.window
                    && self.position.rechecked_to.is_none_or(|last| from <= last)
                {
                    self.position.rechecked_to = self.position.rechecked_to.max(Some(to));
                }
                self.pay_everyone(&running);
            }
            SurveyKind::Query => {
                self.baseline = false;
                self.pay_everyone(&running);
                self.complete_snapshot(&running, accept_size, now);
            }
            SurveyKind::Report => self.complete_snapshot(&running, accept_size, now),
        }
    }

    /// A debt about everyone is paid by a survey that began after it was made and looks far enough back.
    fn pay_everyone(&mut self, running: &Running) {
        let Some(owed) = self.debts.everyone() else { return };
        let far_enough = match (running.survey.window, owed.touched_since) {
            (None, _) => true,
            (Some((from, _)), Some(since)) => from <= since,
            (Some(_), None) => false,
        };
        if far_enough && self.debts.everyone_unchanged() {
            self.pay(Debtor::Everyone);
        }
    }

    fn complete_snapshot(&mut self, running: &Running, accept_size: bool, now: Timestamp) {
        let survey = running.survey;
        let last = self
            .position
            .snapshot
            .as_ref()
            .map(|snapshot| snapshot.rows)
            .filter(|_| survey.listing && !accept_size);
        if let Err(why) = snapshot::complete(running.rows(), last) {
            self.snapshot_problem = Some(format!("the last snapshot is incomplete: {why}"));
            return;
        }
        self.snapshot_problem = None;
        if survey.listing {
            self.position.snapshot = Some(SnapshotMark {
                began_at: survey.began_at,
                rows: running.rows(),
            });
        }
        // Rule 3, and only people who were published before it began can be absent from it.
        let report = survey.kind == SurveyKind::Report;
        let absent: BTreeSet<UserId> = self
            .published
            .iter()
            .chain(&self.overlay)
            .filter(|(id, person)| self.is_absent(running, **id, person))
            .map(|(id, _)| *id)
            .collect();
        for id in absent {
            if self.person(id).is_some_and(|person| person.touched > running.began) {
                continue;
            }
            let owed = Owed {
                absent_since: Some(survey.began_at),
                listed: report.then_some(false),
                ..Owed::new(now, "missing from a complete snapshot")
            };
            self.owe(Debtor::User(id), owed);
        }
    }

    /// Rule 3: published before the survey began, not touched since, and not in it.
    fn is_absent(&self, running: &Running, id: UserId, person: &Published) -> bool {
        // Who is known not to be listed is not news to a report.
        let known_already = running.survey.kind == SurveyKind::Report && person.user.listed == Known::Value(false)
            || person.user.removed;
        let touched = person.touched > running.began || self.debts.has(Debtor::User(id));
        !known_already && !touched && !running.seen.contains(&id)
    }
}
