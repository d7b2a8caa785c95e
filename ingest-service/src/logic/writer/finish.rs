//! The end of a survey: whether it may prove absences, and what follows from it, a portion at a time.
//!
//! One snapshot can find half a million absentees. Each is a record, and a transaction is bounded: so they are owed a read in
//! portions, each in a step of its own. What the survey pays and the marks that it moves come with the last portion. A
//! leader that dies before that leaves some debts behind, and [`Judged`] says how many absentees there were altogether.

use std::collections::VecDeque;

use super::{
    BTreeSet, Debtor, Owed, SurveyKind, Timestamp, UserId, Writer,
    held::Kept,
    survey::{Running, Survey},
};
use crate::logic::{
    record::{Judged, SnapshotMark},
    snapshot,
};

/// A survey that was read, and what of it is still to be done.
#[derive(Debug)]
pub(super) struct Finishing {
    running: Running,
    /// Published as active, inactive in the snapshot.
    pub(super) leavers: BTreeSet<UserId>,
    /// Whether the leavers are kept back.
    hold: bool,
    absent: VecDeque<UserId>,
    /// It was read to its end.
    read: bool,
    /// It was read to its end and is believed.
    complete: bool,
    /// It pays for what no event has said: who was touched since it began is not absent, but is read.
    pays: bool,
}

impl Writer {
    pub(super) fn survey_ended(&mut self, result: Result<(), String>, accept_size: bool, now: Timestamp) {
        let Some(mut running) = self.survey.take() else { return };
        let survey = running.survey;
        // An event or a read may have said since what became of somebody.
        let in_question = |id: &UserId| self.head(*id).is_some_and(|head| head.active && !head.removed);
        let leavers: BTreeSet<UserId> = running.leavers.iter().copied().filter(in_question).collect();
        // Many leavers at once may be a mistake of the source.
        let hold = leavers.len() as u64 + self.held_besides(&leavers) > self.removals_limit();
        let read = result.is_ok();
        let complete = self.believes(&running, result, accept_size);
        // A report does not know who belongs: it may well show who has left the population.
        if complete && survey.kind == SurveyKind::Query {
            self.let_go_of_seen(running.number);
        }
        let absent: VecDeque<UserId> = match survey.kind {
            _ if !complete => VecDeque::new(),
            SurveyKind::Recheck => std::mem::take(&mut running.missing).into_iter().collect(),
            SurveyKind::Query | SurveyKind::Report => self.absentees(&running).into(),
        };
        let pays = match survey.kind {
            SurveyKind::Recheck => true,
            SurveyKind::Query => self.owes_everyone().is_some(),
            SurveyKind::Report => false,
        };
        let many = leavers.len() + absent.len() > self.portion();
        if !absent.is_empty() && (survey.kind != SurveyKind::Recheck || many) {
            self.position.judged = Some(Judged {
                began_at: survey.began_at,
                deactivations: if hold { 0 } else { leavers.len() as u64 },
                absent: if many { absent.len() as u64 } else { 0 },
            });
        }
        self.finishing = Some(Finishing {
            running,
            leavers,
            hold,
            absent,
            read,
            complete,
            pays,
        });
        self.finish(now);
    }

    /// Records of one step that come from the end of a survey.
    pub(super) fn portion(&self) -> usize {
        self.config.batch_records_max.max(1)
    }

    /// Goes on with what has been put off to keep transactions small, unless more important things wait.
    pub(super) fn go_on(&mut self, now: Timestamp) {
        let busy = self.backlog() >= self.portion();
        if !busy && self.finishing.is_some() {
            self.finish(now);
        } else if !busy && self.deciding {
            self.decide_removals(now);
        }
    }

    /// Whether the survey may prove absences and pay debts. Says in the status why not.
    fn believes(&mut self, running: &Running, result: Result<(), String>, accept_size: bool) -> bool {
        let survey = running.survey;
        let problem = match result {
            Err(why) => Some(format!("failed: {why}")),
            Ok(()) if survey.kind == SurveyKind::Recheck => None,
            Ok(()) => self
                .proves_absence(running, accept_size)
                .err()
                .map(|why| format!("is incomplete: {why}")),
        };
        let complete = problem.is_none();
        match survey.kind {
            SurveyKind::Recheck => {}
            _ if survey.listing => self.snapshot_problem = problem.map(|why| format!("the last snapshot {why}")),
            SurveyKind::Query | SurveyKind::Report => {
                self.population_problem = problem.map(|why| format!("the last reading of the population {why}"));
            }
        }
        complete
    }

    fn proves_absence(&self, running: &Running, accept_size: bool) -> Result<(), String> {
        let Survey { kind, listing, .. } = running.survey;
        let position = &self.position;
        // The population beside a report has a size of its own.
        let of_listing = position.snapshot.as_ref().filter(|_| listing);
        let last = match kind {
            SurveyKind::Query => position.population.as_ref().or(of_listing),
            SurveyKind::Report | SurveyKind::Recheck => of_listing,
        };
        snapshot::complete(running.rows(), last.map(|mark| mark.rows).filter(|_| !accept_size))
    }

    /// Only people who were published before it began can be absent from it. Whether they are is asked for each portion.
    fn absentees(&self, running: &Running) -> Vec<UserId> {
        let mut absent: Vec<UserId> = self
            .published
            .heads()
            .filter(|(id, _)| !self.overlay.contains_key(id))
            .chain(self.overlay.iter().map(|(id, person)| (*id, person.head)))
            .filter(|(id, head)| self.is_missing(running, *id, *head))
            .map(|(id, _)| id)
            .collect();
        absent.sort_unstable();
        absent
    }

    /// The next portion: leavers are read again or kept back, absentees are owed a read.
    fn finish(&mut self, now: Timestamp) {
        let Some(mut finishing) = self.finishing.take() else {
            return;
        };
        let survey = finishing.running.survey;
        let mut leavers = BTreeSet::new();
        while leavers.len() < self.portion()
            && let Some(id) = finishing.leavers.pop_first()
        {
            if self.head(id).is_some_and(|head| head.active && !head.removed) {
                leavers.insert(id);
            }
        }
        let mut room = self.portion() - leavers.len();
        if finishing.hold {
            self.hold(survey.began_at, &leavers, Kept::Deactivation, now);
        } else {
            for id in leavers {
                self.owe(Debtor::User(id), Owed::new(now, "inactive in a snapshot"));
            }
        }
        while room > 0
            && let Some(id) = finishing.absent.pop_front()
        {
            let Some(head) = self.head(id) else { continue };
            let running = &mut finishing.running;
            if self.is_absent(running, id, head) {
                self.owe(Debtor::User(id), absence(survey, now));
                if survey.kind == SurveyKind::Recheck {
                    self.counts.healed += 1;
                    running.healed += 1;
                }
            } else if finishing.pays && self.is_missing(running, id, head) && !self.owes(id) {
                // Rule 3: touched since, so not absent. But what touched the person may not have said that it has left the population.
                // When the read says so it counts with the absentees: a wrong condition takes out whoever changes, too.
                let owed = Owed {
                    absent_since: Some(survey.began_at),
                    ..Owed::new(now, "changed while everyone was read")
                };
                self.owe(Debtor::User(id), owed);
            } else {
                continue;
            }
            room -= 1;
        }
        if finishing.leavers.is_empty() && finishing.absent.is_empty() {
            self.conclude(&finishing);
        } else {
            self.finishing = Some(finishing);
        }
    }

    /// Everything that follows from the survey is staged: it pays, and the marks move.
    fn conclude(&mut self, finishing: &Finishing) {
        let (running, survey) = (&finishing.running, finishing.running.survey);
        if let Some(judged) = self
            .position
            .judged
            .as_mut()
            .filter(|it| it.began_at == survey.began_at)
        {
            judged.absent = 0;
        }
        // Reads of the first portions may have been answered already.
        self.deciding = true;
        // Whoever asked for it is answered by a reading to its end, believed or not: asked again, the source would say the same, and
        // only an operator can say that it is right. A request that came while it ran wants another one.
        let asked_for = finishing.read && survey.listing && survey.reimport;
        if asked_for && self.position.wanted.is_some_and(|wanted| wanted.at <= survey.asked_at) {
            self.position.wanted = None;
        }
        if !finishing.complete {
            return;
        }
        let mark = || SnapshotMark {
            began_at: survey.began_at,
            rows: running.rows(),
        };
        match survey.kind {
            SurveyKind::Recheck => {
                if survey.routine {
                    self.healing_in_a_row = if running.healed == 0 {
                        0
                    } else {
                        self.healing_in_a_row + 1
                    };
                }
                // Only a look that joins the last one moves the mark: what lies between was not looked at.
                if let Some((from, to)) = survey.window
                    && self.position.rechecked_to.is_none_or(|last| from <= last)
                {
                    self.position.rechecked_to = self.position.rechecked_to.max(Some(to));
                }
                self.pay_everyone(running);
            }
            SurveyKind::Query => {
                // Of an answer that lacks people nobody knows whom else it lacks: it pays nothing, and whoever comes first in a
                // later one was there before. So this is of complete ones only.
                self.baseline = false;
                self.pay_everyone(running);
                self.position.population = Some(mark());
            }
            SurveyKind::Report => {}
        }
        if survey.listing {
            self.position.snapshot = Some(mark());
        }
    }
}

/// What an absentee is owed.
fn absence(survey: Survey, now: Timestamp) -> Owed {
    let why = match survey.kind {
        SurveyKind::Recheck => "touched, and not among the members of the population",
        SurveyKind::Query | SurveyKind::Report => "missing from a complete snapshot",
    };
    Owed {
        absent_since: Some(survey.began_at),
        listed: (survey.kind == SurveyKind::Report).then_some(false),
        ..Owed::new(now, why)
    }
}
