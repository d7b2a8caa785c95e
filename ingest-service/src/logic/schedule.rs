//! When which survey is due: the first ones, those of the schedule, what an operator wants, what is owed, rechecks.
//!
//! Time and jitter are arguments. One survey runs at a time; a request that comes meanwhile joins or waits.

use croner::Cron;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{
    quota::{Pace, Permit, Purpose},
    record::{Owed, Wanted},
    writer::{SurveyKind, Writer},
};

/// How far before the first opening of the stream the first recheck looks: what was committed while it was opened.
const FIRST_LOOK_BACK: SignedDuration = SignedDuration::from_mins(10);

/// Looks that something undecodable owes are made at once, but not in a loop: when every event is undecodable (a schema that nobody
/// gives), each look would owe the next one, and all of them may use the reserve of API requests. The rest doubles up to this.
const OWED_REST_MAX: SignedDuration = SignedDuration::from_secs(60);
/// After so long without one the rests begin anew.
const OWED_MEMORY: SignedDuration = SignedDuration::from_mins(5);

/// What waits for everyone to be read waits for an operator when the size is not believed: read again, the source says the same. The
/// first rest is short enough for what was a hiccup of the source; each further one is twice as long, up to the other. What waits
/// may use the reserve of API requests, so smaller spends it.
const UNBELIEVED_REST_FIRST: SignedDuration = SignedDuration::from_mins(1);
const UNBELIEVED_REST_MAX: SignedDuration = SignedDuration::from_hours(4);

/// How soon something that waits for the org's allocations looks again; it costs nothing.
const FREES_SOON: SignedDuration = SignedDuration::from_secs(5);

/// What the configuration says.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The kind of survey that is the listing: [`SurveyKind::Query`] or [`SurveyKind::Report`].
    pub listing: SurveyKind,
    /// When the listing is read, besides the first start and on demand.
    pub cron: Cron,
    /// What the cron expression is meant in.
    pub zone: TimeZone,
    /// Between rechecks.
    pub recheck_every: SignedDuration,
    /// Consecutive rechecks overlap by this.
    pub recheck_overlap: SignedDuration,
}

/// A survey to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// What kind.
    pub kind: SurveyKind,
    /// Whether this is the listing that the configuration names.
    pub listing: bool,
    /// An operator asked for it.
    pub reimport: bool,
    /// An operator has confirmed that the size is right.
    pub accept_size: bool,
    /// For a recheck: from when.
    pub from: Option<Timestamp>,
    /// When it was found to be due, our clock.
    pub asked_at: Timestamp,
    /// For a recheck: up to now. A routine one leaves the newest rows to the stream.
    pub to_now: bool,
}

impl Job {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.kind {
            SurveyKind::Report => "the report",
            SurveyKind::Query => "the population",
            SurveyKind::Recheck => "recently touched users",
        }
    }
}

/// What the writer knows that decides about surveys.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// When the last complete snapshot began; `None`: there was none.
    pub snapshot: Option<Timestamp>,
    /// Up to where rechecks have looked.
    pub rechecked_to: Option<Timestamp>,
    /// Whether the stream has a position.
    pub has_position: bool,
    /// A snapshot that an operator asked for.
    pub wanted: Option<Wanted>,
    /// The debt about everyone.
    pub everyone: Option<Owed>,
}

impl Facts {
    /// As the writer has them now.
    #[must_use]
    pub fn of(writer: &Writer) -> Self {
        let position = writer.position();
        Self {
            snapshot: position.snapshot.as_ref().map(|snapshot| snapshot.began_at),
            rechecked_to: position.rechecked_to,
            has_position: position.replay_id.is_some(),
            wanted: position.wanted,
            everyone: writer.owes_everyone().cloned(),
        }
    }
}

/// What has become of a survey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// What was due is done: also when it is not believed, as long as nothing waits for it.
    Well,
    /// It was not read to its end, or proves nothing at the first start: tried again soon.
    Failed,
    /// It was read to its end and is not believed, and the debt about everyone waits for it: only an operator can help.
    Unbelieved,
}

impl Outcome {
    /// Of a survey that has just ended. `read`: to its end.
    #[must_use]
    pub fn of(job: Job, read: bool, writer: &Writer) -> Self {
        let position = writer.position();
        let problem = if job.listing {
            writer.snapshot_problem()
        } else {
            writer.population_problem()
        };
        let owed = writer.owes_everyone().is_some_and(|owed| owed.touched_since.is_none());
        let waited_for = job.kind == SurveyKind::Query && owed && problem.is_some();
        // Its mark comes with the last portion of what it found.
        let marked = position.snapshot.is_some() || (writer.is_finishing() && writer.snapshot_problem().is_none());
        if !read || (job.listing && !marked) || (waited_for && position.snapshot.is_none()) {
            Self::Failed
        } else if waited_for {
            Self::Unbelieved
        } else {
            Self::Well
        }
    }
}

/// When which survey is due.
#[derive(Debug)]
pub struct Schedule {
    plan: Plan,
    opened_at: Timestamp,
    next_snapshot: Option<Timestamp>,
    next_recheck: Timestamp,
    /// With a report: whether the population was read since the last one. The report does not know who left the population.
    population_read: bool,
    /// With a report: the population was read last and is not believed. While it rests, the report is read without it.
    population_unbelieved: bool,
    /// For which request the population was read with its size accepted, our clock.
    population_accepted: Option<Timestamp>,
    /// Failures in a row and the next try, of listings, of the population beside a report, and of rechecks: one that does not
    /// work keeps none of the others from being done, but for the report, which is read after the population.
    listing: Retry,
    population: Retry,
    other: Retry,
    /// Owed looks in a row, and when the last one ended.
    owed_looks: (u32, Option<Timestamp>),
    /// How often listings and rechecks of the schedule were left out in a row, to spare the org's allocations.
    listing_pace: Pace,
    recheck_pace: Pace,
}

#[derive(Debug)]
struct Retry {
    failures: u32,
    /// How often in a row it was not believed while something waited for it.
    unbelieved: u32,
    not_before: Timestamp,
}

impl Retry {
    fn ended(&mut self, well: bool, now: Timestamp, rest: impl FnOnce(u32) -> SignedDuration) {
        self.failures = if well { 0 } else { self.failures + 1 };
        self.not_before = if well {
            now
        } else {
            now.saturating_add(rest(self.failures)).unwrap_or(now)
        };
        if well {
            self.unbelieved = 0;
        }
    }
    fn unbelieved(&mut self, now: Timestamp) {
        let rest = (0..self.unbelieved.min(8)).fold(UNBELIEVED_REST_FIRST, |rest, _| rest + rest);
        self.unbelieved += 1;
        self.not_before = now + rest.min(UNBELIEVED_REST_MAX);
    }
}

impl Schedule {
    /// A leadership begins.
    #[must_use]
    pub fn new(plan: Plan, last_snapshot: Option<Timestamp>, now: Timestamp) -> Self {
        let fresh = || Retry {
            failures: 0,
            unbelieved: 0,
            not_before: now,
        };
        Self {
            // A run that was missed while nobody led is due at once.
            next_snapshot: next_run(&plan, last_snapshot.unwrap_or(now)),
            next_recheck: now + plan.recheck_every,
            plan,
            opened_at: now,
            population_read: false,
            population_unbelieved: false,
            population_accepted: None,
            listing: fresh(),
            population: fresh(),
            other: fresh(),
            owed_looks: (0, None),
            listing_pace: Pace::default(),
            recheck_pace: Pace::default(),
        }
    }

    /// Whether a request for a snapshot joins one that is wanted or running already.
    #[must_use]
    pub fn joins(&self, accept_size: bool, running: Option<SurveyKind>, wanted: Option<Wanted>) -> bool {
        let as_wanted = wanted.is_some_and(|wanted| wanted.accept_size || !accept_size);
        as_wanted || (running == Some(self.plan.listing) && !accept_size)
    }

    /// Somebody waits: no rest after a failure.
    pub fn hurry(&mut self) {
        self.listing.not_before = self.opened_at;
        self.population.not_before = self.opened_at;
    }

    /// What is to run now.
    #[must_use]
    pub fn due(&self, facts: &Facts, now: Timestamp) -> Option<Job> {
        let may = |retry: &Retry| now >= retry.not_before;
        let (listing_may, population_may, other_may) = (may(&self.listing), may(&self.population), may(&self.other));
        let job = |kind, listing| Job {
            kind,
            listing,
            reimport: false,
            accept_size: false,
            from: None,
            asked_at: now,
            to_now: false,
        };
        // Whoever reads it for another reason reads it for the operator as well: who says that its size is right says it of this one.
        let listing = Job {
            reimport: facts.wanted.is_some(),
            accept_size: facts.wanted.is_some_and(|wanted| wanted.accept_size),
            ..job(self.plan.listing, true)
        };
        let recheck = |from: Option<Timestamp>| Job {
            from,
            to_now: from.is_some(),
            ..job(SurveyKind::Recheck, false)
        };
        // With a report: the population is read before each of them, and once more when somebody says that its size is right.
        let accepts = facts.wanted.filter(|wanted| wanted.accept_size).map(|wanted| wanted.at);
        let unread =
            !self.population_read || accepts.is_some_and(|at| self.population_accepted.is_none_or(|last| last < at));
        let unread = unread && (population_may || !self.population_unbelieved);
        let population = (self.plan.listing == SurveyKind::Report && unread).then(|| Job {
            accept_size: accepts.is_some(),
            ..job(SurveyKind::Query, false)
        });
        let listing_may = listing_may && (population_may || population.is_none());
        let first = facts.snapshot.is_none();
        if first && listing_may {
            // First start: everyone in the population, then the report, which speaks about `listed`.
            return Some(population.unwrap_or(listing));
        }
        // It looks back from the opening, so the stream must have a position by then.
        if other_may && facts.rechecked_to.is_none() && facts.has_position && (!first || self.population_read) {
            let began_at = facts.snapshot.unwrap_or(self.opened_at);
            return Some(recheck(Some(began_at.min(self.opened_at) - FIRST_LOOK_BACK)));
        }
        if let Some(owed) = &facts.everyone {
            if owed.touched_since.is_some() {
                if other_may && self.owed_rest_is_over(now) {
                    return Some(recheck(owed.touched_since));
                }
            } else if self.plan.listing == SurveyKind::Query {
                if listing_may {
                    return Some(listing);
                }
            } else if population_may {
                return Some(population.unwrap_or(job(SurveyKind::Query, false)));
            }
        }
        if listing_may && (facts.wanted.is_some() || self.next_snapshot.is_some_and(|at| at <= now)) {
            return Some(population.unwrap_or(listing));
        }
        // The next look begins where the last complete one ended, however long ago that is.
        let from = facts.rechecked_to.map(|to| to - self.plan.recheck_overlap);
        (other_may && self.next_recheck <= now).then_some(Job { from, ..recheck(None) })
    }

    /// Whether a due survey begins, as far as the org's allocations go. When not, it is due again later.
    pub fn may(&mut self, job: Job, purpose: Purpose, permit: &Permit, now: Timestamp) -> bool {
        let pace = match purpose {
            Purpose::Recheck => &mut self.recheck_pace,
            Purpose::Snapshot => &mut self.listing_pace,
            Purpose::Stream | Purpose::Reimport | Purpose::Poll => &mut Pace::default(),
        };
        if pace.runs(permit) {
            return true;
        }
        let again = now + FREES_SOON;
        match (permit, purpose) {
            // What rests begins soon after something has freed; nothing else waits for it.
            (Permit::Wait(_), Purpose::Recheck) => self.next_recheck = again,
            (Permit::Wait(_), _) if job.listing => self.listing.not_before = again,
            (Permit::Wait(_), _) => {
                self.listing.not_before = again;
                self.population.not_before = again;
            }
            (_, Purpose::Recheck) => self.next_recheck = now + self.plan.recheck_every,
            _ => self.next_snapshot = next_run(&self.plan, now),
        }
        false
    }

    /// A survey has ended. `rest`: how long to wait after this many failures in a row.
    pub fn ended(&mut self, job: Job, well: bool, now: Timestamp, rest: impl FnOnce(u32) -> SignedDuration) {
        let retry = match job.kind {
            _ if job.listing => &mut self.listing,
            SurveyKind::Query | SurveyKind::Report => &mut self.population,
            SurveyKind::Recheck => &mut self.other,
        };
        retry.ended(well, now, rest);
        if job.accept_size && !job.listing && well {
            self.population_accepted = Some(job.asked_at);
        }
        if job.listing && well {
            self.next_snapshot = next_run(&self.plan, now);
        }
        match job.kind {
            SurveyKind::Query => {
                self.population_read |= well;
                self.population_unbelieved = false;
            }
            SurveyKind::Report => self.population_read &= !well,
            SurveyKind::Recheck => self.next_recheck = now + self.plan.recheck_every,
        }
        if job.kind == SurveyKind::Recheck && job.to_now {
            let (looks, last) = self.owed_looks;
            let in_a_row = last.is_some_and(|last| now.duration_since(last) < OWED_MEMORY);
            self.owed_looks = (if in_a_row { looks.saturating_add(1) } else { 0 }, Some(now));
        }
    }

    /// A survey has ended with [`Outcome::Unbelieved`]: it rests for hours, unless somebody has asked meanwhile.
    pub fn unbelieved(&mut self, job: Job, now: Timestamp) {
        if job.listing {
            self.listing.unbelieved(now);
        } else {
            self.population.unbelieved(now);
            self.population_unbelieved = true;
        }
    }

    fn owed_rest_is_over(&self, now: Timestamp) -> bool {
        let (looks, last) = self.owed_looks;
        let rest = SignedDuration::from_secs((1 << looks.min(6)) - 1).min(OWED_REST_MAX);
        last.is_none_or(|last| now.duration_since(last) >= rest)
    }
}

/// The next run after `now`, in the plan's own time zone. A time of day that does not exist on the day of a change to
/// summer time is run at the first moment that does; one that exists twice is run once.
fn next_run(plan: &Plan, now: Timestamp) -> Option<Timestamp> {
    let now = now.to_zoned(plan.zone.clone());
    let next = plan.cron.find_next_occurrence(&now, false).ok()?;
    Some(next.timestamp())
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
