//! What is read in the world: the source answers at one moment, the answer arrives at another.

use super::{
    super::{
        super::{HashMap, Input, Members, RawUser, SignedDuration, Survey, SurveyKind, UserId},
        source::{PEOPLE, at, id},
    },
    Running, World,
};

/// People per page of a survey.
const PAGE: u32 = 3;

impl World {
    /// The source answers a read, or the answer arrives.
    pub(in super::super) fn answer(&mut self, which: usize) {
        if self.reads.is_empty() {
            return;
        }
        let which = which % self.reads.len();
        if self.reads[which].answer.is_none() {
            let mut answer = Members::default();
            let asked = &self.reads[which].ids;
            // A stranger who cannot be seen counts as no member, until a survey shows otherwise.
            self.source
                .vague
                .extend(self.hidden.iter().filter(|who| asked.contains(&id(**who))));
            for (who, person) in self
                .source
                .people()
                .iter()
                .filter(|(who, _)| !self.hidden.contains(who))
            {
                // Whoever was deleted is shown to such a read.
                if !self.reads[which].ids.contains(&id(*who)) || !person.has_existed() {
                    continue;
                }
                if person.belongs() {
                    answer.members.insert(id(*who), person.row(false));
                } else {
                    answer.others.insert(id(*who));
                }
            }
            self.reads[which].answer = Some((at(self.source.now), answer));
            return;
        }
        let pending = self.reads.remove(which);
        let (read_at, members) = pending.answer.unwrap();
        self.seen(members.members.iter());
        self.step(Input::Read {
            ticket: pending.ticket,
            read_at,
            result: Ok(members),
        });
    }

    pub(in super::super) fn answers(&mut self) {
        while !self.reads.is_empty() {
            self.answer(0);
        }
    }

    pub(in super::super) fn fail_read(&mut self, which: usize) {
        if !self.reads.is_empty() {
            let pending = self.reads.remove(which % self.reads.len());
            self.step(Input::Read {
                ticket: pending.ticket,
                read_at: at(self.source.now),
                result: Err("503".into()),
            });
        }
    }

    /// Being seen as a member ends the hold of a removal, being active that of a deactivation.
    fn seen<'a>(&mut self, rows: impl Iterator<Item = (&'a UserId, &'a RawUser)>) {
        let seen: HashMap<&UserId, &RawUser> = rows.collect();
        for who in 1..=PEOPLE {
            let Some(row) = seen.get(&id(who)) else { continue };
            let removal = self.topics.held.values().any(|set| set.removals.contains(&id(who)));
            if removal || row["IsActive"] == true {
                self.judge.released.insert(who);
            }
        }
    }

    /// `routine`: leaves the newest rows to the stream, whatever is owed.
    pub(in super::super) fn begin(&mut self, kind: SurveyKind, routine: bool) {
        if self.survey.is_some() || self.writer.is_finishing() {
            return;
        }
        let now = self.source.now;
        let owed = self.writer.owes_everyone().and_then(|owed| owed.touched_since);
        let owed = owed.filter(|_| !routine);
        let window = (kind == SurveyKind::Recheck).then(|| match owed {
            Some(since) => (since, at(now + 1)),
            None => {
                let last = self.writer.position().rechecked_to;
                (
                    last.map_or(at(now - 900), |last| last - SignedDuration::from_secs(60)),
                    at(now - 30),
                )
            }
        });
        let survey = Survey {
            kind,
            began_at: at(now),
            window,
            listing: kind == SurveyKind::Report || (kind == SurveyKind::Query && !self.setup.report),
            reimport: false,
            asked_at: at(now + self.setup.offset),
            routine: kind == SurveyKind::Recheck && owed.is_none(),
        };
        self.survey = Some(Running {
            survey,
            next: 0,
            asked: false,
            page: None,
        });
        self.step(Input::SurveyBegan(survey));
    }

    /// A page is read, or arrives; after the last one the survey ends. `lost`: the page comes without its rows.
    pub(in super::super) fn page(&mut self, lost: bool, accept_size: bool) {
        let Some(running) = &mut self.survey else { return };
        let kind = running.survey.kind;
        if let Some((read_at, rows)) = running.page.take() {
            if kind != SurveyKind::Report {
                self.seen(rows.iter().map(|(id, row)| (id, row)));
            }
            self.step(Input::SurveyRows { read_at, rows });
        } else if let (true, false, Some((from, to))) = (running.next >= PEOPLE, running.asked, running.survey.window) {
            running.asked = true;
            let touched = |modstamp| from <= at(modstamp) && at(modstamp) < to;
            let seen = self
                .source
                .people()
                .iter()
                .filter(|(who, person)| person.exists() && touched(person.modstamp) && !self.hidden.contains(who));
            let ids = seen.map(|(who, _)| id(*who)).collect();
            // Whoever is hidden now may have changed unseen.
            self.source.silent.extend(&self.hidden);
            self.step(Input::SurveyTouched(ids));
        } else if running.next >= PEOPLE {
            self.survey = None;
            self.step(Input::SurveyEnded {
                result: Ok(()),
                accept_size,
            });
        } else {
            let (first, last) = (running.next + 1, running.next + PAGE);
            running.next = last;
            let window = running.survey.window;
            let rows = self.source.people().range(first..=last.min(PEOPLE));
            let rows = rows.filter(|(who, person)| {
                let modstamp = at(person.modstamp);
                !lost
                    && !self.hidden.contains(who)
                    && match kind {
                        // A report shows who exists and fits its filter.
                        SurveyKind::Report => person.exists() && person.listed,
                        _ => person.belongs() && window.is_none_or(|(from, to)| from <= modstamp && modstamp < to),
                    }
            });
            let rows = rows.map(|(who, person)| (id(*who), person.row(kind == SurveyKind::Report)));
            running.page = Some((at(self.source.now), rows.collect()));
            if lost {
                let everybody: Vec<u32> = self.source.people().keys().copied().collect();
                self.source.silent.extend(everybody);
            }
        }
    }

    pub(in super::super) fn fail_survey(&mut self) {
        if self.survey.take().is_some() {
            self.step(Input::SurveyEnded {
                result: Err("timed out".into()),
                accept_size: false,
            });
        }
    }

    pub(in super::super) fn whole_survey(&mut self, kind: SurveyKind, accept_size: bool) {
        self.fail_survey();
        self.begin(kind, false);
        while self.survey.is_some() {
            self.source.now += 1;
            self.page(false, accept_size);
        }
    }
}
