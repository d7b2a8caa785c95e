//! The lane of one target: a step machine. `step(input, now, random) -> effects`.
//!
//! Guarantees:
//! * **Invariant**: one slot per person; the newest state wins; at most one action of a person is in flight.
//! * Nobody waits for another: what fails is set aside with its own next try.
//! * Leavers first, then people coming (back), then edits.
//! * A write starts only under a young commit; links change only after they were committed.
//! * Every collection is bounded by the people of the target, what is in flight by `concurrency`.
//!
//! What it deliberately leaves out: HTTP, Kafka, the clock, and which people there are; the shell feeds them.

mod circuit;
mod commanded;
mod commits;
mod completeness;
mod drifting;
mod erased;
mod execute;
mod grouping;
mod guarding;
mod inviting;
mod links;
mod messages;
mod notifying;
mod outcomes;
mod pace;
mod queue;
mod results;
mod settle;
#[cfg(test)]
mod simulation;
mod status;
#[cfg(test)]
mod tests;
mod waking;
mod whole;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use usher_contract::{UserChange, UserKey};
use usher_packed::Differences;

use self::{circuit::Circuit, commits::Commits, guarding::Pass, pace::Pacer, queue::Queue, results::Accused};
pub use self::{
    completeness::Completeness,
    links::{Glance, Links},
    messages::{Answer, Batch, Effect, Input, OperationId},
    status::{CircuitStatus, HeldSetStatus, LaneStatus},
};
pub(crate) use self::{
    execute::{look_up, match_values},
    guarding::ledger,
};
use super::{
    assignments::seen,
    first_sync::Listing,
    groups::GroupNo,
    guard::{Budget, Ledger},
    link::Link,
    plan::{Action, Plan, Remote},
    policy::{Mode, TargetPolicy},
    retry::{after, elapsed},
    scope::Everybody,
    target_record::{FORMAT, OwnerId, PolicySeen, TargetRecord},
    uses::Uses,
};

/// A write is not started, and a commit is asked for first, when the last commit is older. Below the five seconds of
/// [`super::ownership::WRITE_STARTS_WITHIN`] by what a commit and a way through the queue take.
const COMMIT_YOUNG: Duration = Duration::from_secs(3);
/// How far the clocks of the services may be apart when the last states of a predecessor are told from later ones.
const CLOCKS_APART: Duration = Duration::from_secs(300);
/// How often the lower bound of what is outstanding is made exact: it costs a look at everybody who waits.
const OUTSTANDING_EVERY: Duration = Duration::from_secs(1);
/// A state that is older than what was acted on says nothing for so long: the table may just be catching up.
const BEHIND_AFTER: Duration = Duration::from_secs(180);
/// No new work starts and nobody is fed while more results than this wait to be committed.
const RESULTS_MAX: usize = 500;

/// One person with something outstanding.
#[derive(Debug)]
struct Slot {
    newest: Arc<UserChange>,
    /// When the oldest state that was put into this slot had been observed.
    observed: Timestamp,
    /// Since when something is outstanding.
    since: Timestamp,
    again: bool,
    /// The intent on the books is of this very try: no earlier request may have made an account.
    fresh_intent: bool,
    /// This try was brought forward because a name was given up: it does not count.
    woken: bool,
    stage: Stage,
}

/// How far a person is.
#[derive(Debug)]
enum Stage {
    /// Waits for a place.
    Ready(Action, u64),
    /// Waits for the next try.
    Delayed(Timestamp),
    /// A look-up is under way.
    Looking,
    /// The intent to create or to take over is being committed.
    Intent,
    /// Goes on with what the look-up has shown.
    Resuming,
    /// A write is under way.
    Writing,
    /// Was answered with "forbidden": a probe tells whether that concerns the person or the target.
    Accused,
    /// The result is being committed.
    Recording,
}

/// What an operation under way is for.
#[derive(Debug)]
enum Flight {
    Look(UserKey, Plan, Arc<UserChange>),
    Write(UserKey, Plan, Arc<UserChange>),
    Page,
    /// The target's own mail to somebody: the notice.
    Invite(UserKey, String),
    /// A page of a look at the whole target.
    DriftPage,
    Probe,
    /// A probe about people who were answered with "forbidden".
    Trial,
    /// A step of a group, and whether it changes something.
    Group(GroupNo, bool),
}

/// How far the first look at the application is.
#[derive(Debug)]
enum FirstSync {
    Done,
    Listing {
        listing: Listing,
        cursor: Option<String>,
        under_way: bool,
        attempts: u32,
        /// How often it was begun anew.
        restarts: u32,
        next_try: Timestamp,
    },
}

impl FirstSync {
    fn begin(now: Timestamp) -> Self {
        Self::Listing {
            listing: Listing::default(),
            cursor: None,
            under_way: false,
            attempts: 0,
            restarts: 0,
            next_try: now,
        }
    }
}

/// The lane of one target. See the module documentation.
#[derive(Debug)]
pub struct Lane {
    target: Arc<TargetPolicy>,
    /// What of a person matters here; `None`: everything.
    uses: Option<Uses>,
    links: Links,
    record: TargetRecord,
    slots: HashMap<UserKey, Slot>,
    queue: Queue,
    flights: HashMap<OperationId, Flight>,
    /// Look-ups among them, and writes: counted, because it is asked before each start.
    looks: usize,
    writes: usize,
    /// Those about groups, invitations, and pages of a look at the whole target.
    others: usize,
    next_operation: OperationId,
    /// Who waits for whose account.
    waiting_for: HashMap<UserKey, BTreeSet<UserKey>>,
    /// Undecided because a field is unknown.
    undecided: BTreeSet<UserKey>,
    /// Deliberately left alone, and reported.
    skipped: BTreeSet<UserKey>,
    /// People whose account is on only because the policy keeps it.
    kept: BTreeSet<UserKey>,
    /// Behind another one's name: tried again when a name was given up.
    conflicts: BTreeSet<UserKey>,
    /// Who was refused because somebody holds the account: planned again when that person's account goes off or is given up.
    claimants: HashMap<UserKey, BTreeSet<UserKey>>,
    /// Since when nobody has waited for a place in the first import.
    quiet_since: Option<Timestamp>,
    /// The links are of another application: until an operator says that they are void, nothing is done.
    moved: bool,
    /// The operator has said so, and the links are being given up.
    voiding: bool,
    /// In `observe`: what would be done.
    observed: HashMap<UserKey, Action>,
    /// Versions on the topic are behind what a link names, and since when: the table is not complete yet, or the topic has
    /// lost something.
    behind: BTreeMap<UserKey, Timestamp>,
    /// People with a link of whom there is no state any more, and those among them who are to be looked at.
    erased: BTreeSet<UserKey>,
    to_report: BTreeSet<UserKey>,
    /// What their links say may be older than what the target holds.
    doubtful: BTreeSet<UserKey>,
    /// The version that a predecessor may have been writing when it died: the next one makes their links doubtful.
    suspects: HashMap<UserKey, u64>,
    /// A predecessor did not hand back: it may have written after this time without recording it. Kept in the record
    /// until every doubt that came of it is cleared, over any number of owners.
    unrecorded_since: Option<Timestamp>,
    /// A lower bound of when what is outstanding was observed, and when it was last exact.
    outstanding: (Option<Timestamp>, Timestamp),
    /// Who was answered with "forbidden", and whether the probe about them is under way.
    accused: BTreeMap<UserKey, Accused>,
    trial: bool,
    pacer: Pacer,
    ledger: Ledger,
    /// How what is under way has passed the guard.
    passes: HashMap<UserKey, (Budget, Pass)>,
    /// Nothing is written before everybody was fed: the whole is judged by the guard first.
    batch: bool,
    circuit: Circuit,
    drifting: Option<drifting::Drifting>,
    notifying: notifying::Notifying,
    /// Managers of people, and everybody else whom the rules may look at.
    everybody: Everybody,
    reports: waking::Reports,
    due: waking::Due,
    commits: Commits,
    first: FirstSync,
    last_success: Option<Timestamp>,
    /// Something would have started, had the pace allowed it.
    paced: Option<Timestamp>,
    /// Everybody has been fed once: the report of a first sync speaks of all of them.
    all_fed: bool,
    draining: bool,
    drained: bool,
    /// When the last step was taken.
    seen_at: Timestamp,
}

impl Lane {
    /// A lane over what was restored.
    #[must_use]
    pub fn new(
        target: Arc<TargetPolicy>,
        links: Links,
        restored: Option<TargetRecord>,
        owner: OwnerId<'_>,
        now: Timestamp,
    ) -> Self {
        let elsewhere = restored.as_ref().is_some_and(|record| record.is_moved(&target));
        let moved = elsewhere && links.bound() > 0;
        let anew = elsewhere && !moved;
        let restored = restored.map(|record| if anew { record.at_another_application() } else { record });
        let first_sync = restored.as_ref().and_then(|record| record.first_sync.clone());
        let looks = matches!(target.mode, Mode::Enforce | Mode::Link);
        let first = if first_sync.is_some() || links.linked() > 0 || !looks {
            FirstSync::Done
        } else {
            FirstSync::begin(now)
        };
        let tenant = restored.as_ref().and_then(|record| record.tenant);
        let moved_before = restored.as_ref().and_then(|record| record.moved_since);
        let record = TargetRecord {
            format: FORMAT,
            owner: owner.address.to_owned(),
            owner_run: Some(owner.run.to_owned()),
            released: false,
            renamed_to: None,
            given_up: false,
            mode: target.mode.as_str().to_owned(),
            first_sync,
            // Whoever has changed to `auto`, or only links, does not wait any longer.
            first_sync_waits: restored.as_ref().is_some_and(|record| record.first_sync_waits)
                && target.matching.approve_first_sync
                && target.mode == Mode::Enforce,
            // Start-up plans everybody: that is a reconcile.
            reconciled_at: Some(now),
            reimported_at: restored.as_ref().and_then(|record| record.reimported_at),
            policy: Some(PolicySeen::of(
                &target,
                restored.as_ref().and_then(|record| record.policy),
                now,
            )),
            settings: restored.as_ref().map_or_else(
                || seen(&target.assignments, &BTreeMap::new(), now),
                |record| seen(&target.assignments, &record.settings, now),
            ),
            outstanding_since: None,
            held: restored.as_ref().map(|record| record.held.clone()).unwrap_or_default(),
            allowances: restored
                .as_ref()
                .map(|record| record.allowances.clone())
                .unwrap_or_default(),
            paused: restored.as_ref().and_then(|record| record.paused.clone()),
            tenant: Some(if moved {
                tenant.unwrap_or(target.tenant)
            } else {
                target.tenant
            }),
            moved_since: moved.then(|| moved_before.unwrap_or(now)),
            drifted_at: restored.as_ref().and_then(|record| record.drifted_at).or(Some(now)),
            drift: restored.as_ref().and_then(|record| record.drift.clone()),
            day: restored.as_ref().and_then(|record| record.day),
            rests_until: restored.as_ref().and_then(|record| record.rests_until),
            commands_done: restored.as_ref().map_or(0, |record| record.commands_done),
            imported: Some(
                restored
                    .as_ref()
                    .and_then(|record| record.imported)
                    .unwrap_or(links.linked() > 0),
            ),
            at: now,
        };
        let mut record = record;
        let target = match target.remembering(Some(&record)) {
            Cow::Borrowed(_) => target,
            Cow::Owned(policy) => Arc::new(policy),
        };
        let mut links = links;
        if anew {
            links.groups.void();
        } else {
            guarding::find_sets_again(&mut record, &links, now);
        }
        links
            .groups
            .begin(|set| record.held.contains_key(set), target.reconcile, now);
        let (restored_day, restored_rest) = (record.day, record.rests_until);
        links.await_everybody();
        let mut lane = Self {
            ledger: guarding::ledger(&links, &target.guard.windows, now),
            notifying: notifying::Notifying::over(links.iter()),
            passes: HashMap::new(),
            batch: true,
            links,
            record,
            slots: HashMap::new(),
            queue: Queue::default(),
            flights: HashMap::new(),
            looks: 0,
            writes: 0,
            others: 0,
            next_operation: 1,
            waiting_for: HashMap::new(),
            undecided: BTreeSet::new(),
            skipped: BTreeSet::new(),
            kept: BTreeSet::new(),
            conflicts: BTreeSet::new(),
            claimants: HashMap::new(),
            quiet_since: None,
            moved,
            voiding: false,
            observed: HashMap::new(),
            behind: BTreeMap::new(),
            erased: BTreeSet::new(),
            to_report: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            suspects: HashMap::new(),
            unrecorded_since: restored.and_then(|record| match (record.released, record.outstanding_since) {
                (true, doubts) => doubts,
                (false, since) => Some(since.map_or(record.at, |since| since.min(record.at))),
            }),
            outstanding: (None, now),
            accused: BTreeMap::new(),
            trial: false,
            pacer: Pacer::new(target.pace, restored_day, restored_rest, now),
            circuit: if looks {
                Circuit::unchecked(now)
            } else {
                Circuit::closed()
            },
            drifting: None,
            everybody: Everybody::default(),
            reports: waking::Reports::new(target.managers_read(), target.notify.looks_at_teams()),
            due: waking::Due::default(),
            // The first commit says who the owner is and makes the first write start without waiting for one.
            commits: Commits::asked(),
            first,
            last_success: None,
            paced: None,
            all_fed: false,
            draining: false,
            drained: false,
            seen_at: now,
            uses: Uses::of(&target),
            target,
        };
        lane.tell_moved(moved_before, now);
        if anew {
            lane.tell_begins_anew(now);
        }
        lane
    }

    /// The table in which the rules find people's managers.
    #[must_use]
    pub fn among(mut self, everybody: Everybody) -> Self {
        self.everybody = everybody;
        self
    }

    /// Takes one step. `random` is in `[0, 1)`.
    pub fn step(&mut self, input: Input, now: Timestamp, random: f64) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.seen_at = now;
        if self.drained {
            return effects;
        }
        match input {
            Input::User { change, again } => {
                let touched = self.note_address(&change, now);
                effects.extend((!touched.is_empty()).then_some(Effect::Again(touched)));
                self.note_manager(&change, &mut effects);
                self.consider(change, again, now);
            }
            Input::Ended {
                operation,
                result,
                took,
                requests,
            } => {
                self.pacer.requests(requests);
                self.ended(operation, result, took, now, random, &mut effects);
            }
            Input::Delivered { delivery, result } => self.delivered(delivery, result, now, random),
            Input::Committed => self.committed(now, &mut effects),
            Input::Tick => {}
            Input::Renew => self.commits.ask(),
            Input::Erased(user) => {
                let touched = self.links.addresses.forget(user);
                effects.extend((!touched.is_empty()).then_some(Effect::Again(touched)));
                self.forget_manager(user, &mut effects);
                self.erase(user, now);
            }
            Input::Command { offset, command } => self.command(offset, &command, now, &mut effects),
            Input::AllFed => {
                self.everybody_fed();
                self.judge_batch(now);
            }
            Input::Drain => self.drain(),
        }
        self.void_links(&mut effects, now);
        self.wake_delayed(now);
        self.wake_due(now, &mut effects);
        self.reconcile(now, &mut effects);
        self.wake_groups(now);
        self.dispatch(now, &mut effects);
        self.invite(now, &mut effects);
        self.notify(now, &mut effects);
        self.look_for_drift(now, &mut effects);
        self.report_erased(now);
        self.note_import(now);
        self.commit(now, &mut effects);
        effects
    }

    /// When [`Input::Tick`] is due although nothing happens. `None`: not before something happens.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        if self.draining {
            return None;
        }
        let looks = matches!(self.target.mode, Mode::Enforce | Mode::Link);
        let works = looks && self.record.paused.is_none() && !self.moved;
        let listing = match &self.first {
            FirstSync::Listing {
                under_way: false,
                next_try,
                ..
            } if self.circuit.is_closed() && self.all_fed && !self.batch => Some(*next_try),
            FirstSync::Listing { .. } | FirstSync::Done => None,
        };
        let reconcile = self
            .record
            .reconciled_at
            .filter(|_| matches!(self.first, FirstSync::Done) && !self.moved && !self.batch)
            .map(|last| after(last, self.target.reconcile));
        // What does not come to anything now must not wake anybody: the lane would spin.
        // And what waits for a start is due when there is one.
        let paced = |due: Timestamp| self.paced.map_or(due, |paced| paced.max(due));
        let working = [
            self.circuit.next_probe().map(paced),
            listing.map(paced),
            self.paced,
            self.next_drift(),
            self.next_group().map(paced),
        ]
        .into_iter()
        .flatten()
        .filter(|_| works);
        let import = self
            .quiet_since
            .map(|since| after(since, self.target.guard.import_quiet));
        working
            .chain(self.queue.next_due())
            .chain(reconcile)
            .chain(import)
            .chain(self.next_notice().filter(|_| works))
            .chain(self.due.first())
            .min()
    }

    /// Nothing new starts. Only writes are waited for: what a look-up would show does not matter any more.
    fn drain(&mut self) {
        self.draining = true;
        self.flights
            .retain(|_, flight| matches!(flight, Flight::Write(..) | Flight::Group(_, true) | Flight::Invite(..)));
        self.looks = 0;
        self.others = self.flights.len() - self.writes;
    }

    /// Operations under way that take a place.
    fn busy(&self) -> usize {
        self.looks + self.writes + self.others
    }

    /// The link of a person, without the values where they are doubtful.
    fn known(&self, user: &UserKey) -> Option<Link> {
        let link = self.links.get(user)?;
        Some(if self.doubtful.contains(user) {
            link.doubted()
        } else {
            link
        })
    }

    /// Plans a person against the link and what a look has shown.
    fn plan(&self, change: &UserChange, remote: &Remote, again: bool, now: Timestamp) -> Plan {
        let link = self.known(&change.user.key());
        let mut plan = super::plan::plan(&super::plan::Question {
            change,
            link: link.as_ref(),
            remote,
            target: &self.target,
            accounts: &self.links,
            people: &self.everybody,
            reimported_at: self.record.reimported_at,
            again,
            now,
        });
        if plan.action == Action::SetGroups {
            // Groups are not done person by person: see `grouping`.
            plan.action = Action::Noop;
        }
        plan
    }

    fn reconcile(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let due = self
            .record
            .reconciled_at
            .is_none_or(|last| elapsed(last, now) >= self.target.reconcile);
        // One after the other: nothing is written before everybody was fed, so one that begins while another is being fed,
        // again and again, would keep everybody waiting.
        if due && !self.batch && !self.draining && !self.moved && matches!(self.first, FirstSync::Done) {
            self.links.groups.again(now);
            self.record.reconciled_at = Some(now);
            self.batch = true;
            self.commits.ask();
            effects.push(Effect::Reconcile);
        }
    }

    /// Whether more people may be fed: settling somebody takes no answer of the target, so only what is recorded about
    /// them bounds how many are taken.
    #[must_use]
    pub fn takes_people(&self) -> bool {
        self.unrecorded() < RESULTS_MAX
    }

    /// Whether a person who differs by no more than this from the state last fed need not be fed: nothing was to be done about them
    /// then, nothing has happened since that would be planned otherwise, and nothing that this target looks at differs.
    #[must_use]
    pub fn is_unaffected(&self, user: &UserKey, differing: &Differences) -> bool {
        self.uses.is_some_and(|uses| !uses.meet(differing))
            // While a predecessor's last writes are in doubt, each version counts.
            && self.all_fed
            && !self.suspects.contains_key(user)
            && !self.doubtful.contains(user)
            && !self.behind.contains_key(user)
            && !self.erased.contains(user)
            && !self.slots.contains_key(user)
            && !self.commits.holds(user)
            && self.links.rests(user)
    }

    /// The present state in numbers.
    #[must_use]
    pub fn status(&self) -> LaneStatus {
        status::of(self, self.seen_at)
    }

    /// What is known, by person.
    #[must_use]
    pub fn links(&self) -> &Links {
        &self.links
    }
}
