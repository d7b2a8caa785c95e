//! Surveys: reading many people at once, as a snapshot (everyone) or a recheck (recently touched ones).
//!
//! Here is what becomes of their rows; what follows from the whole of one is in `finish`.

use super::{
    BTreeSet, Cause, Debtor, HashSet, Head, Known, Origin, Owed, RawUser, Timestamp, UserId, UserKey, Writer,
    debts::{read_cause, recorded_at},
    held::Kept,
    normalize,
};

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
    /// When it was decided to read, our clock.
    pub asked_at: Timestamp,
    /// A look-back of the schedule: what it finds, the stream should have delivered.
    pub routine: bool,
}

/// The survey under way.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) survey: Survey,
    began: u64,
    pub(super) number: u32,
    rows: u64,
    /// Rows of people without a head to note it in.
    strangers: HashSet<UserId>,
    /// Touched since it began, without a head to note it in.
    touched: HashSet<UserId>,
    /// Published as active, inactive here.
    pub(super) leavers: BTreeSet<UserId>,
    /// Touched within the window of a recheck, published, and not among its rows.
    pub(super) missing: BTreeSet<UserId>,
    pub(super) healed: u64,
}

impl Running {
    pub(super) fn new(survey: Survey, now: u64, number: u32) -> Self {
        Self {
            survey,
            began: now,
            number,
            rows: 0,
            strangers: HashSet::new(),
            touched: HashSet::new(),
            leavers: BTreeSet::new(),
            missing: BTreeSet::new(),
            healed: 0,
        }
    }
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }
    /// Something newer than its rows is known of this person.
    pub(super) fn is_touched(&self, head: Head) -> bool {
        head.touched > self.began
    }
}

impl Writer {
    /// Somebody who is not published was found to be no member, or deleted: an older row must not say otherwise.
    pub(super) fn touch_stranger(&mut self, id: UserId) {
        if let Some(running) = &mut self.survey {
            running.touched.insert(id);
        }
    }

    pub(super) fn survey_rows(&mut self, read_at: Timestamp, rows: Vec<(UserId, RawUser)>, now: Timestamp) {
        let Some(mut running) = self.survey.take() else { return };
        for (id, raw) in rows {
            if self.is_suppressed(id) {
                // A row all the same: the size of the snapshot is compared with the last one.
                running.rows += u64::from(running.strangers.insert(id));
                continue;
            }
            let new = match self.head(id) {
                Some(head) => head.seen != running.number,
                None => running.strangers.insert(id),
            };
            if new {
                running.rows += 1;
                self.survey_row(&mut running, id, &raw, read_at, now);
                let number = running.number;
                self.update_head(id, |head| head.seen = number);
            }
        }
        self.survey = Some(running);
    }

    fn survey_row(&mut self, running: &mut Running, id: UserId, raw: &RawUser, read_at: Timestamp, now: Timestamp) {
        let report = running.survey.kind == SurveyKind::Report;
        let listed = report.then_some(true);
        if self.debts.has(Debtor::User(id)) {
            self.debts.hurry_unseen(id);
            if report {
                self.owe(
                    Debtor::User(id),
                    Owed {
                        listed,
                        ..Owed::new(now, "in the report")
                    },
                );
            } else if self.debts.is_absentee(id) {
                // Here among the members: an answer that says otherwise may be older, and is asked for again.
                self.owe(Debtor::User(id), Owed::new(now, "among the members"));
            }
            return;
        }
        let last = self.person(id);
        // A report does not know the population: who is new, was removed or is about to be, or would get access back is asked
        // there.
        let key = UserKey::new(self.config.org, id);
        let mut row = normalize(key, raw, &self.config.fields);
        let leaving = self.held.kept(id) == Some(Kept::Removal);
        let enables = |head: Head| head.removed || row.active == Known::Value(true) && !head.active;
        if report && (leaving || last.as_ref().is_none_or(|person| enables(person.head))) {
            self.owe(
                Debtor::User(id),
                Owed {
                    listed,
                    ..Owed::new(now, "in the report, and not known to be in the population and active")
                },
            );
            return;
        }
        // Rule 1: an event received since the survey began is newer than its rows. But the row may know more than that
        // event said, so the person is read once more instead of taking either for the whole truth.
        let touched = last.as_ref().map_or(running.touched.contains(&id), |person| {
            person.head.touched > running.began
        });
        if touched {
            self.owe(
                Debtor::User(id),
                Owed {
                    listed,
                    ..Owed::new(now, "changed while everyone was read")
                },
            );
            return;
        }
        self.learn_names(&mut row, read_at);
        let mut next = match &last {
            Some(person) => row.over(&person.user),
            None => row,
        };
        if let Some(listed) = listed {
            next.listed = Known::Value(listed);
        }
        self.fill_names(&mut next);
        self.keep_back(last.as_ref(), &mut next, true);
        // Many leavers at once may be a mistake of the source: their number is looked at first. The rest of what the row
        // says is published.
        if running.survey.kind != SurveyKind::Recheck
            && next.active == Known::Value(false)
            && last
                .as_ref()
                .is_some_and(|person| person.head.active && !person.head.removed)
        {
            // About who is kept back as gone, a report knows nothing.
            if !report || self.held.kept(id) != Some(Kept::Removal) {
                running.leavers.insert(id);
            }
            next.active = Known::Value(true);
        }
        let origin = match running.survey.kind {
            _ if running.survey.reimport => Origin::Reimport,
            SurveyKind::Report => Origin::Report,
            SurveyKind::Query => Origin::Query,
            SurveyKind::Recheck => Origin::Recheck,
        };
        let baseline = self.baseline && running.survey.kind == SurveyKind::Query;
        let cause = Cause {
            recorded_at: recorded_at(raw),
            ..read_cause(origin, read_at, now)
        };
        // Being read is no touch: only what comes from elsewhere is meant by rule 1.
        let changed = self.stage(last.as_ref(), next, cause, baseline, false);
        if changed && running.survey.kind == SurveyKind::Recheck {
            self.counts.healed += 1;
            running.healed += 1;
        }
        self.update_head(id, |head| head.read_at = head.read_at.max(Some(read_at)));
    }

    /// Ids of whoever was touched within the window of the recheck under way, members of the population or not. Who is published
    /// and was not among the rows has left the population, and no event has said so.
    pub(super) fn survey_touched(&mut self, ids: &[UserId]) {
        let Some(mut running) = self.survey.take() else { return };
        let missing = |id: &UserId| self.head(*id).is_some_and(|head| self.is_missing(&running, *id, head));
        let missing: Vec<UserId> = ids.iter().copied().filter(missing).collect();
        running.missing.extend(missing);
        self.survey = Some(running);
    }

    /// A debt about everyone is paid by a survey that began after it was made and looks far enough back.
    pub(super) fn pay_everyone(&mut self, running: &Running) {
        let Some(owed) = self.debts.everyone() else { return };
        let survey = running.survey;
        let far_enough = match (survey.window, owed.touched_since) {
            (None, _) => true,
            // A routine look leaves the newest rows to the stream: just those may be owed.
            (Some((from, to)), Some(since)) => from <= since && to > survey.began_at,
            (Some(_), None) => false,
        };
        if far_enough && self.debts.everyone_unchanged() {
            self.pay(Debtor::Everyone);
        }
    }

    /// Rule 3: published before the survey began, not touched since, and not in it.
    pub(super) fn is_absent(&self, running: &Running, id: UserId, head: Head) -> bool {
        self.is_missing(running, id, head) && !running.is_touched(head) && !self.debts.has(Debtor::User(id))
    }

    /// Not in the survey, and that is news.
    pub(super) fn is_missing(&self, running: &Running, id: UserId, head: Head) -> bool {
        // Who is known not to be listed is not news to a report; who is kept back is known to be absent.
        let known_already = running.survey.kind == SurveyKind::Report && head.unlisted
            || head.removed
            || self.held.kept(id) == Some(Kept::Removal)
            || self.suppressed.contains_key(&id);
        !known_already && head.seen != running.number
    }
}
