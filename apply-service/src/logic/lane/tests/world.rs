//! A lane with a target, a log and a clock in memory.

use std::collections::BTreeMap;

use serde_json::Value;
use usher_contract::Outcome;

use super::super::*;
use crate::connector::{Failure, Operation, Refusal};
use crate::logic::{
    account::{AttributePath, AttributeValues, RemoteGroup, RemoteId},
    groups::record::{GroupKey, GroupRecord, Memberships},
    matching::Seen,
    notification::{Delivery, Onboarding},
    policy::USER_NAME,
    testing::{OWNER, at, person, policy, seen},
};

/// A lane with everything around it.
pub(super) struct World {
    pub(super) lane: Lane,
    pub(super) now: Timestamp,
    pub(super) begun: Timestamp,
    /// Operations that wait for their answer.
    pub(super) open: Vec<(OperationId, Operation)>,
    /// Notices that wait for their end.
    pub(super) deliveries: Vec<(OperationId, Delivery)>,
    pub(super) batch: Option<Batch>,
    pub(super) accounts: BTreeMap<String, AttributeValues>,
    /// What accounts say about their users.
    pub(super) onboarding: BTreeMap<String, Onboarding>,
    pub(super) people: BTreeMap<UserKey, Arc<UserChange>>,
    pub(super) given: std::collections::BTreeSet<String>,
    pub(super) writes: Vec<String>,
    pub(super) outcomes: Vec<Outcome>,
    /// Their ids: subscribers take two of one id for one.
    told: std::collections::BTreeSet<String>,
    pub(super) dead_letters: usize,
    pub(super) drained: bool,
    pub(super) record: Option<TargetRecord>,
    /// The groups of the target: id -> name and members.
    pub(super) groups: BTreeMap<String, (String, std::collections::BTreeSet<String>)>,
    /// The records of groups and memberships as they are on the log.
    pub(super) group_records: BTreeMap<GroupKey, GroupRecord>,
    pub(super) memberships: BTreeMap<UserKey, Memberships>,
    /// The connection check with which a lane begins is answered at once.
    pub(super) check_passes: bool,
}

impl World {
    pub(super) fn new(target: TargetPolicy) -> Self {
        Self::over(target, Links::default(), None)
    }
    pub(super) fn over(target: TargetPolicy, links: Links, record: Option<TargetRecord>) -> Self {
        let mut world = Self::begun(target, links, record, at(0));
        world.give(Input::AllFed);
        world
    }
    /// Before anybody was fed.
    pub(super) fn begun(target: TargetPolicy, links: Links, record: Option<TargetRecord>, now: Timestamp) -> Self {
        Self {
            lane: Lane::new(Arc::new(target), links, record, OWNER, now),
            now,
            begun: now,
            open: vec![],
            deliveries: vec![],
            batch: None,
            accounts: BTreeMap::new(),
            onboarding: BTreeMap::new(),
            people: BTreeMap::new(),
            given: std::collections::BTreeSet::new(),
            writes: vec![],
            outcomes: vec![],
            told: std::collections::BTreeSet::new(),
            dead_letters: 0,
            drained: false,
            record: None,
            groups: BTreeMap::new(),
            group_records: BTreeMap::new(),
            memberships: BTreeMap::new(),
            check_passes: true,
        }
    }

    pub(super) fn give(&mut self, input: Input) {
        let effects = self.lane.step(input, self.now, 0.5);
        for effect in effects {
            match effect {
                Effect::Execute(id, operation) => {
                    if operation.is_write() {
                        let young = self
                            .lane
                            .commits
                            .young(self.now, crate::logic::ownership::WRITE_STARTS_WITHIN);
                        assert!(young, "a write under an old commit");
                    }
                    self.open.push((id, operation));
                }
                Effect::Deliver(id, delivery) => {
                    let young = self
                        .lane
                        .commits
                        .young(self.now, crate::logic::ownership::WRITE_STARTS_WITHIN);
                    assert!(young, "a notice under an old commit");
                    self.deliveries.push((id, delivery));
                }
                Effect::Commit(batch) => {
                    assert!(self.batch.is_none(), "two commits at the same time");
                    self.batch = Some(*batch);
                }
                Effect::Ask(users) => {
                    for user in users {
                        if let Some(change) = self.people.get(&user).cloned() {
                            self.give(Input::User { change, again: false });
                        }
                    }
                }
                Effect::Reconcile => {
                    for change in self.people.values().cloned().collect::<Vec<_>>() {
                        self.give(Input::User { change, again: true });
                    }
                    self.give(Input::AllFed);
                }
                Effect::Again(users) => {
                    for change in users
                        .iter()
                        .filter_map(|user| self.people.get(user))
                        .cloned()
                        .collect::<Vec<_>>()
                    {
                        self.give(Input::User { change, again: true });
                    }
                }
                Effect::Drained => self.drained = true,
            }
        }
        if self.check_passes && self.lane.circuit.is_unchecked() {
            let check = self.open.iter().find(|(_, operation)| *operation == Operation::Check);
            if let Some((id, _)) = check.cloned() {
                self.end(id, Ok(Answer::Checked));
            }
        }
        let mut users: Vec<_> = self
            .lane
            .flights
            .values()
            .filter_map(|flight| match flight {
                Flight::Look(user, ..) | Flight::Write(user, ..) => Some(*user),
                Flight::Invite(..)
                | Flight::Page
                | Flight::DriftPage
                | Flight::Probe
                | Flight::Trial
                | Flight::Group(..) => None,
            })
            .collect();
        let all = users.len();
        users.sort();
        users.dedup();
        assert_eq!(users.len(), all, "two actions of one person in flight");
    }

    /// Another owner takes over what is on the log, and is fed everybody.
    pub(super) fn restart(&mut self) {
        self.settle();
        self.crash();
    }

    /// The same without an end to what is under way.
    pub(super) fn crash(&mut self) {
        let mut links = Links::default();
        for (user, link) in self.lane.links.iter() {
            links.put(*user, Some(link.clone()));
        }
        for (key, record) in &self.group_records {
            links.groups.restore_group(key, Some(record.clone()));
        }
        for (user, memberships) in &self.memberships {
            links.groups.restore_person(*user, Some(memberships.clone()));
        }
        self.lane = Lane::new(
            Arc::clone(&self.lane.target),
            links,
            self.record.clone(),
            OWNER,
            self.now,
        );
        self.open.clear();
        self.batch = None;
        for change in self.people.values().cloned().collect::<Vec<_>>() {
            self.give(Input::User { change, again: false });
        }
        self.give(Input::AllFed);
        self.settle();
    }

    pub(super) fn change(&mut self, change: UserChange) {
        let change = Arc::new(change);
        self.people.insert(change.user.key(), Arc::clone(&change));
        self.give(Input::User { change, again: false });
    }

    pub(super) fn commit(&mut self) -> bool {
        let Some(batch) = self.batch.take() else {
            return false;
        };
        for outcome in &batch.outcomes {
            assert!(self.told.insert(outcome.id.clone()), "told under one id: {outcome:?}");
        }
        self.outcomes.extend(batch.outcomes);
        self.dead_letters += batch.dead_letters.len();
        self.record = Some(batch.record);
        self.group_records.extend(batch.groups);
        self.memberships.extend(batch.memberships);
        self.give(Input::Committed);
        true
    }

    pub(super) fn end(&mut self, id: OperationId, result: Result<Answer, Failure>) {
        self.open.retain(|(open, _)| *open != id);
        self.give(Input::Ended {
            requests: 1,
            operation: id,
            result,
            took: Duration::from_millis(5),
        });
    }

    /// What a well-behaved target answers.
    pub(super) fn answer(&mut self, operation: &Operation) -> Answer {
        let show = |id: &str, values: &AttributeValues| {
            let text = |path: &str| values.get(&AttributePath(path.into())).and_then(Value::as_str);
            Seen {
                external_id: text("externalId").map(str::to_owned),
                user_name: text(USER_NAME).map(str::to_owned),
                active: values.get(&AttributePath("active".into())).and_then(Value::as_bool),
                values: values.clone(),
                onboarding: self.onboarding.get(id).copied(),
                ..seen(id, 0)
            }
        };
        match operation {
            Operation::Check => Answer::Checked,
            Operation::List { .. } => Answer::Page(
                self.accounts.iter().map(|(id, values)| show(id, values)).collect(),
                None,
            ),
            // With ids of its own, and without our keys.
            Operation::ReadBack { .. } => {
                let other = |(id, values): (&String, &AttributeValues)| Seen {
                    id: RemoteId(format!("other-{id}")),
                    external_id: None,
                    ..show(id, values)
                };
                Answer::Page(self.accounts.iter().map(other).collect(), None)
            }
            Operation::Find { external_id, by } => {
                let shown: Vec<Seen> = self.accounts.iter().map(|(id, values)| show(id, values)).collect();
                let name = by.iter().find(|(path, _)| path.0 == USER_NAME).map(|(_, name)| name);
                let by_id: Vec<Seen> = shown
                    .iter()
                    .filter(|a| a.external_id.as_ref() == Some(external_id))
                    .cloned()
                    .collect();
                let by_name = || shown.iter().filter(|a| a.user_name.as_ref() == name).cloned().collect();
                Answer::Found(if by_id.is_empty() { by_name() } else { by_id })
            }
            Operation::Create { values } => {
                // An id is never given twice, also when an account was deleted.
                let id = (1..)
                    .map(|number| format!("r{number}"))
                    .find(|id| !self.accounts.contains_key(id) && self.given.insert(id.clone()))
                    .expect("there is always a next number");
                self.writes.push(format!("create {id}"));
                self.accounts.insert(id.clone(), values.clone());
                Answer::Written(RemoteId(id), None)
            }
            Operation::Update { id, values, .. } => {
                self.writes.push(format!(
                    "update {id} {:?}",
                    values.keys().map(|path| path.0.as_str()).collect::<Vec<_>>()
                ));
                match self.accounts.get_mut(&id.0) {
                    Some(account) => {
                        account.extend(values.clone());
                        Answer::Written(id.clone(), None)
                    }
                    None => Answer::Absent,
                }
            }
            Operation::Delete(id) => {
                self.writes.push(format!("delete {id}"));
                self.accounts.remove(&id.0);
                Answer::Absent
            }
            Operation::FindGroup { name } => {
                let found = self
                    .groups
                    .iter()
                    .filter(|(_, (known, _))| known.eq_ignore_ascii_case(name));
                Answer::Groups(
                    found
                        .map(|(id, (name, _))| RemoteGroup {
                            id: RemoteId(id.clone()),
                            name: name.clone(),
                        })
                        .collect(),
                )
            }
            Operation::CreateGroup { name } => {
                let id = (1..)
                    .map(|number| format!("g{number}"))
                    .find(|id| !self.groups.contains_key(id) && self.given.insert(id.clone()))
                    .expect("there is always a next number");
                self.writes.push(format!("create group {name} as {id}"));
                self.groups.insert(id.clone(), (name.clone(), Default::default()));
                Answer::Group(RemoteId(id))
            }
            Operation::RenameGroup { id, name } => match self.groups.get_mut(&id.0) {
                Some(group) => {
                    self.writes.push(format!("rename group {id} to {name}"));
                    group.0.clone_from(name);
                    Answer::Group(id.clone())
                }
                None => Answer::Absent,
            },
            Operation::ReadGroup(id) => match self.groups.get(&id.0) {
                Some((_, members)) => Answer::Members(Some(members.iter().cloned().map(RemoteId).collect())),
                None => Answer::Absent,
            },
            Operation::ChangeMembers { id, add, remove, .. } => {
                self.writes
                    .push(format!("change group {id} +{} -{}", add.len(), remove.len()));
                match self.groups.get_mut(&id.0) {
                    Some((_, members)) => {
                        members.extend(add.iter().map(|member| member.0.clone()));
                        remove.iter().for_each(|member| {
                            members.remove(&member.0);
                        });
                        Answer::Changed
                    }
                    None => Answer::Absent,
                }
            }
            Operation::Invite(id) => {
                self.writes.push(format!("invite {id}"));
                match self.accounts.contains_key(&id.0) {
                    true => Answer::Taken,
                    false => Answer::Absent,
                }
            }
            Operation::Read(_) => unreachable!("the lane does not do that"),
        }
    }

    /// Lets the target answer and the log commit until nothing moves. Time passes only when told.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            if let Some((id, operation)) = self.open.first().cloned() {
                let answer = self.answer(&operation);
                self.end(id, Ok(answer));
            } else if !self.commit() {
                return;
            }
        }
        panic!("does not come to rest");
    }

    /// Time passes, in the steps that the lane asks for.
    pub(super) fn pass(&mut self, seconds: i64) {
        let until = self.now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
        self.settle();
        let mut wakes = 0;
        while let Some(next) = self.lane.next_wake().filter(|next| *next <= until) {
            wakes += 1;
            assert!(wakes < 20_000, "time does not pass: {next} at {}", self.now);
            self.now = next.max(self.now);
            self.give(Input::Tick);
            self.settle();
        }
        self.now = until;
        self.give(Input::Tick);
        self.settle();
    }

    pub(super) fn pop(&mut self) -> (OperationId, Operation) {
        self.open.first().cloned().expect("an operation under way")
    }
}

pub(super) fn refusal(code: &str) -> Refusal {
    Refusal {
        code: code.into(),
        reason: "because".into(),
    }
}

/// A lane whose first sync is done and that holds these people.
pub(super) fn with_people(numbers: std::ops::RangeInclusive<u32>) -> World {
    let mut world = World::new(policy());
    for n in numbers {
        world.change(person(n));
    }
    world.pass(60);
    world.writes.clear();
    world
}
