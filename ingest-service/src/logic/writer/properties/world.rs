//! The world around the writer: a stream, reads and surveys that take their time, topics, crashes, operators.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    super::{
        Approval, Batch, Effect, HashSet, Input, Members, RawUser, Restored, Survey, SurveyKind, Ticket, Timestamp,
        UserId, Writer, WriterConfig, tests,
    },
    judge::Judge,
    source::{Change, PEOPLE, Source, Told, at, id},
};
use crate::logic::table::Published;

mod reading;

/// How a history is set up.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    /// Our clock minus the source's, seconds.
    pub(super) offset: i64,
    pub(super) siblings: bool,
    /// The configured listing is a report.
    pub(super) report: bool,
    /// Removals that are made without asking.
    pub(super) limit: u64,
    pub(super) batch_records: usize,
}

/// A read on its way: captured when the source answers, which may be long before the answer arrives.
struct Pending {
    ticket: Ticket,
    ids: Vec<UserId>,
    answer: Option<(Timestamp, Members)>,
}

struct Running {
    survey: Survey,
    next: u32,
    /// Whether it has been asked who was touched.
    asked: bool,
    page: Option<(Timestamp, Vec<(UserId, RawUser)>)>,
}

pub(super) struct World {
    setup: Setup,
    pub(super) source: Source,
    pub(super) judge: Judge,
    writer: Writer,
    topics: Restored,
    in_flight: Option<Batch>,
    reads: Vec<Pending>,
    survey: Option<Running>,
    cursor: usize,
    hidden: BTreeSet<u32>,
    traced: bool,
    /// What happened, for whoever must understand a failure.
    pub(super) trace: Vec<String>,
}

fn config(setup: &Setup) -> WriterConfig {
    WriterConfig {
        stream: if setup.siblings {
            "/data/People__chn"
        } else {
            "/data/UserChangeEvent"
        }
        .into(),
        batch_records_max: setup.batch_records,
        removals_at_least: setup.limit,
        ..tests::config()
    }
}

pub(super) fn by() -> Approval {
    Approval {
        actor: "ada".into(),
        reason: "checked".into(),
        at: at(0),
    }
}

impl World {
    /// After the first start: a position, and everybody published.
    pub(super) fn new(setup: Setup, traced: bool) -> Self {
        let mut world = Self {
            source: Source::new(setup.siblings),
            judge: Judge::default(),
            writer: Writer::restore(config(&setup), Restored::default(), 12),
            topics: Restored::default(),
            in_flight: None,
            reads: vec![],
            survey: None,
            cursor: 0,
            hidden: BTreeSet::new(),
            traced,
            trace: vec![],
            setup,
        };
        world.step(Input::Keepalive("0".into()));
        world.whole_survey(SurveyKind::Query, true);
        world.settle();
        world
    }

    /// Notes what happens, at the source's time.
    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        if self.traced {
            self.trace.push(format!("{:>5} {}", self.source.now, what()));
        }
    }

    pub(super) fn step(&mut self, input: Input) {
        self.note(|| format!("{input:?}"));
        let now = at(self.source.now + self.setup.offset);
        let effects = self.writer.step(input, now);
        self.judge.kept(&self.writer.held());
        for effect in effects {
            match effect {
                Effect::Commit(batch) => {
                    assert!(self.in_flight.is_none(), "one transaction at a time");
                    self.in_flight = Some(Arc::unwrap_or_clone(batch));
                }
                Effect::Read { ticket, ids, .. } => self.reads.push(Pending {
                    ticket,
                    ids,
                    answer: None,
                }),
            }
        }
    }

    /// What is in flight becomes durable, whether or not the writer hears of it.
    fn durable(&mut self) -> bool {
        let Some(batch) = self.in_flight.take() else {
            return false;
        };
        self.note(|| format!("committed {batch:?}"));
        self.judge.batch(&batch, &self.source, &self.topics.held);
        for change in batch.changes {
            self.topics
                .published
                .insert(change.user.id, Published::restored(change));
        }
        for user in batch.erased {
            self.topics.published.remove(user);
        }
        tests::fold(&mut self.topics.owed, batch.owed);
        tests::fold(&mut self.topics.held, batch.held);
        tests::fold(&mut self.topics.suppressed, batch.suppressed);
        self.topics.position = Some(batch.position);
        true
    }

    pub(super) fn commit(&mut self) {
        if self.durable() {
            self.step(Input::Committed);
        }
    }

    /// The process dies; the result of the commit in flight is not known to it.
    pub(super) fn crash(&mut self, applied: bool) {
        self.note(|| format!("crash, applied: {applied}"));
        if applied {
            self.durable();
        }
        self.in_flight = None;
        self.reads.clear();
        self.survey = None;
        self.writer = Writer::restore(config(&self.setup), tests::copy(&self.topics), 12);
        self.open();
    }

    /// The stream is opened where the writer says.
    pub(super) fn open(&mut self) {
        let position = self.writer.position().replay_id.clone();
        let cursor = position.as_ref().map(|position| self.source.after(position));
        if let Some(Some(cursor)) = cursor {
            self.cursor = cursor;
            return;
        }
        // What is in no committed position may be known to nobody.
        let covered = self.judge.covered;
        self.cursor = self.source.log.partition_point(|event| event.replay <= covered);
        self.forget();
        if cursor.is_some() {
            self.step(Input::PositionLost);
        }
    }

    /// The position is of no use, and the oldest events are gone.
    pub(super) fn lose(&mut self, gone: usize) {
        self.source.retained = (self.source.retained + gone).min(self.source.log.len());
        self.forget();
        self.step(Input::PositionLost);
    }

    /// The stream goes on with the earliest event; nobody hears of those between.
    fn forget(&mut self) {
        let retained = self.source.retained;
        let lost: Vec<_> = self.source.log[self.cursor.min(retained)..retained].to_vec();
        for event in lost {
            // Everyone is read again, which is an overflow's remedy, too.
            event
                .who
                .iter()
                .for_each(|who| self.source.told(*who, event.change, Told::Overflow));
        }
        self.cursor = retained;
    }

    pub(super) fn deliver(&mut self, events: usize) {
        let to = (self.cursor + events).min(self.source.log.len());
        let events: Vec<_> = self.source.log[self.cursor..to].to_vec();
        if events.is_empty() {
            return;
        }
        for event in &events {
            let speaks = matches!(event.change, Change::Active(_) | Change::Delete | Change::Undelete);
            if speaks || event.told != Told::Plainly {
                self.judge.released.extend(&event.who);
            }
        }
        self.cursor = to;
        self.step(Input::Events(
            events.iter().map(super::source::Logged::received).collect(),
        ));
    }

    /// The server sends events once more; where ids are shared, only after the position that is safe.
    pub(super) fn redeliver(&mut self, events: usize) {
        if self.setup.siblings {
            return self.open();
        }
        self.cursor = self.cursor.saturating_sub(events).max(self.source.retained);
    }

    pub(super) fn keepalive(&mut self) {
        if self.cursor == self.source.log.len() {
            let replay = self.source.log.last().map_or(0, |event| event.replay);
            self.step(Input::Keepalive(replay.to_string()));
        }
    }

    pub(super) fn hide(&mut self, who: Option<u32>) {
        match who {
            Some(who) => {
                self.hidden.insert(who);
            }
            None => self.hidden.clear(),
        }
    }

    pub(super) fn approve(&mut self) {
        if let Some(set) = self.writer.held().into_keys().next() {
            self.step(Input::Approve { id: set, by: by() });
        }
    }

    pub(super) fn erase(&mut self, who: u32) {
        if self.writer.may_erase(id(who)).is_ok() {
            self.step(Input::Erase {
                user: id(who),
                by: by(),
            });
        }
    }

    pub(super) fn lift(&mut self, who: u32) {
        if self.writer.may_lift(id(who)).is_ok() {
            self.step(Input::Lift {
                user: id(who),
                by: by(),
            });
        }
    }

    /// No more faults: whatever is on its way arrives, whatever is owed is asked for.
    pub(super) fn settle(&mut self) {
        self.hidden.clear();
        if self.writer.unseen() > 0 {
            // Whoever grants what was missing says so, or it could take hours until they are looked for.
            self.step(Input::Want { accept_size: false });
        }
        for _ in 0..200 {
            self.source.now += 7;
            self.deliver(100);
            self.keepalive();
            self.answers();
            if let Some(owed) = self.writer.owes_everyone() {
                let recheck = owed.touched_since.is_some();
                self.whole_survey(
                    if recheck {
                        SurveyKind::Recheck
                    } else {
                        SurveyKind::Query
                    },
                    // A size that is not believed pays nothing until an operator says that it is right.
                    true,
                );
            }
            self.step(Input::Tick);
            while self.in_flight.is_some() {
                self.commit();
            }
            let waiting = self.writer.owes_everyone().is_some() || (1..=PEOPLE).any(|who| self.writer.owes(id(who)));
            let released = self.writer.held().values().any(|set| set.approved.is_some());
            let there = self.cursor == self.source.log.len();
            let finishing = self.writer.is_finishing();
            if !waiting && !released && !finishing && there && self.reads.is_empty() && self.writer.backlog() == 0 {
                self.writer_is_as_durable();
                return;
            }
        }
        panic!("it does not come to rest: {} owed", self.writer.owed());
    }

    /// At rest nothing is only in memory.
    fn writer_is_as_durable(&self) {
        let sets: HashSet<UserId> = self
            .writer
            .held()
            .values()
            .flat_map(|set| set.removals.clone())
            .collect();
        let durable: HashSet<UserId> = self.topics.held.values().flat_map(|set| set.removals.clone()).collect();
        assert_eq!(sets, durable, "held removals");
        assert_eq!(self.writer.owed(), self.topics.owed.len(), "debts");
        for who in 1..=PEOPLE {
            let durable = self.topics.published.get(id(who)).map(|person| person.user);
            assert_eq!(self.writer.user(id(who)), durable, "state of {who}");
        }
    }

    /// Comes to rest, and to the right state: without a snapshot, with one, and after the operator has said yes.
    pub(super) fn judge_the_end(&mut self, crash: bool) {
        if crash {
            self.crash(false);
        }
        self.settle();
        let source = &self.source;
        let named = |who| !source.vague.contains(&who) && !source.silent.contains(&who);
        self.judge.verdict(source, &self.topics.held, named, false);
        self.whole_survey(SurveyKind::Query, true);
        self.settle();
        if self.setup.report {
            self.whole_survey(SurveyKind::Report, true);
            self.settle();
        }
        self.verdict();
        while !self.writer.held().is_empty() {
            self.approve();
            self.settle();
        }
        self.verdict();
        // What lies behind changes nothing any more: the whole stream once again, from a fresh start.
        let messages = self.judge.messages;
        self.crash(false);
        self.lose(0);
        self.settle();
        assert_eq!(self.judge.messages, messages, "old events have changed something");
        self.verdict();
    }

    fn verdict(&self) {
        let listing = self.setup.report;
        self.judge.verdict(&self.source, &self.topics.held, |_| true, listing);
    }
}
