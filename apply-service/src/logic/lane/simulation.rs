//! The lane under drawn histories: changes, failures, lost answers and crashes in any order. When they stop, every
//! account is as it should be, everybody has one, everybody is in their groups and in no other, each group was made once,
//! and nothing was done twice at the same time.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::Value;
use usher_contract::{GroupRef, Known};
use usher_filter::People;

use super::*;
use crate::connector::{Failure, Operation, Refusal};
use crate::logic::{
    account::{AttributePath, AttributeValues, RemoteGroup, RemoteId},
    groups::record::{GroupKey, GroupRecord, Memberships},
    matching::Seen,
    notification::{Delivery, Notify, Undelivered, bundled},
    policy::USER_NAME,
    testing::{Change, OWNER, Table, at, group_rules, person, policy, seen, user_key},
};

const PEOPLE: u32 = 4;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Event {
    Change {
        who: u32,
        title: u8,
        active: bool,
    },
    /// The n-th operation under way ends: `executed` at the target, and how it is answered.
    Answer {
        which: usize,
        executed: bool,
        kind: u8,
    },
    /// The n-th notice on its way ends: arrived, refused, or the server is away.
    Deliver {
        which: usize,
        kind: u8,
    },
    Commit,
    Crash,
    /// Handed back, and taken over by another one.
    HandBack,
    Pass(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..=PEOPLE, 0_u8..4, any::<bool>()).prop_map(|(who, title, active)| Event::Change { who, title, active }),
        8 => (0_usize..4, any::<bool>(), 0_u8..9).prop_map(|(which, executed, kind)| Event::Answer { which, executed, kind }),
        4 => (0_usize..4, 0_u8..5).prop_map(|(which, kind)| Event::Deliver { which, kind }),
        6 => Just(Event::Commit),
        1 => Just(Event::Crash),
        1 => Just(Event::HandBack),
        2 => (0_u8..90).prop_map(Event::Pass),
    ]
}

/// Tells a new user and an endpoint, also during the first import.
fn target() -> TargetPolicy {
    let mut rules = group_rules();
    rules.abilities.at_once = 2;
    TargetPolicy {
        notify: Notify {
            user: Some(bundled().0),
            webhooks: vec!["hr".into()],
            first_import: true,
            ..Notify::default()
        },
        groups: Some(rules),
        ..policy()
    }
}

/// Two groups per bit of the title.
fn groups_of(title: u8) -> Vec<GroupRef> {
    let named = [(1, "North"), (2, "South")];
    let of = named.iter().filter(|(bit, _)| title & bit != 0);
    of.map(|(bit, name)| GroupRef {
        id: format!("00G{bit:012}").parse().unwrap(),
        name: Known::Value((*name).to_owned()),
        direct: true,
    })
    .collect()
}

fn path(name: &str) -> AttributePath {
    AttributePath(name.to_owned())
}

struct World {
    lane: Lane,
    now: Timestamp,
    people: BTreeMap<u32, Arc<UserChange>>,
    accounts: BTreeMap<String, AttributeValues>,
    durable: BTreeMap<UserKey, Link>,
    record: Option<TargetRecord>,
    open: Vec<(OperationId, Operation)>,
    batch: Option<Batch>,
    creations: BTreeMap<String, u32>,
    /// The groups of the target, by id.
    groups: BTreeMap<String, (String, BTreeSet<String>)>,
    group_records: BTreeMap<GroupKey, GroupRecord>,
    memberships: BTreeMap<UserKey, Memberships>,
    /// Notices on their way.
    deliveries: Vec<(OperationId, Delivery)>,
    /// How often each notice has arrived.
    told: BTreeMap<String, u32>,
    crashes: u32,
    table: Arc<Table>,
}

impl World {
    fn new() -> Self {
        let table = Arc::new(Table::default());
        let mut world = Self {
            lane: Lane::new(Arc::new(target()), Links::default(), None, OWNER, at(0))
                .among(Everybody::new(Arc::clone(&table) as Arc<dyn People + Send + Sync>)),
            table,
            now: at(0),
            people: BTreeMap::new(),
            accounts: BTreeMap::new(),
            durable: BTreeMap::new(),
            record: None,
            open: vec![],
            batch: None,
            creations: BTreeMap::new(),
            groups: BTreeMap::new(),
            group_records: BTreeMap::new(),
            memberships: BTreeMap::new(),
            deliveries: vec![],
            told: BTreeMap::new(),
            crashes: 0,
        };
        world.give(Input::AllFed);
        world
    }

    fn give(&mut self, input: Input) {
        for effect in self.lane.step(input, self.now, 0.5) {
            match effect {
                Effect::Execute(id, operation) => {
                    self.is_announced(&operation);
                    self.open.push((id, operation));
                }
                Effect::Commit(batch) => {
                    assert!(self.batch.replace(*batch).is_none(), "two commits at once")
                }
                Effect::Ask(_) | Effect::Again(_) | Effect::Drained => {}
                Effect::Deliver(id, delivery) => self.deliveries.push((id, delivery)),
                Effect::Reconcile => {
                    for change in self.people.values().cloned().collect::<Vec<_>>() {
                        self.give(Input::User { change, again: true });
                    }
                    self.give(Input::AllFed);
                }
            }
        }
        let mut busy = BTreeSet::new();
        for flight in self.lane.flights.values() {
            if let Flight::Look(user, ..) | Flight::Write(user, ..) = flight {
                assert!(busy.insert(*user), "two actions of one person at once");
            }
        }
    }

    /// What a successor has to know was committed before the request.
    fn is_announced(&self, operation: &Operation) {
        let mut records = self.group_records.values();
        let announced = match operation {
            Operation::CreateGroup { name } => records.any(|record| record.name == *name && record.creating),
            Operation::ChangeMembers { id, .. } => {
                records.any(|record| record.id.as_ref() == Some(id) && record.unread)
            }
            _ => true,
        };
        assert!(announced, "not announced: {operation:?}");
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Change { who, title, active } => {
                let version = self.people.get(who).map_or(0, |known| known.version) + 1;
                let change = person(*who).version(version).titled(&format!("title {title}"));
                let mut change = if *active { change } else { change.inactive() };
                change.user.groups = Known::Value(groups_of(*title));
                change.cause.observed_at = self.now;
                let change = Arc::new(change);
                self.table.put(change.user.clone());
                self.people.insert(*who, Arc::clone(&change));
                self.give(Input::User { change, again: false });
            }
            Event::Answer { which, executed, kind } => {
                if self.open.is_empty() {
                    return;
                }
                let (id, operation) = self.open.remove(which % self.open.len());
                let answer = if *executed || (3..8).contains(kind) {
                    Some(self.execute(&operation))
                } else {
                    None
                };
                let refusal = || Refusal {
                    code: format!("drawn-{kind}"),
                    reason: "drawn".into(),
                };
                let result = match (kind, answer) {
                    (0, _) => Err(Failure::Retry(refusal(), None)),
                    (1, _) => Err(Failure::Halt(refusal())),
                    (2, _) => Err(Failure::Retry(refusal(), Some(Duration::from_secs(5)))),
                    // The write was answered, reading back found nobody.
                    (8, _) => Err(Failure::Retry(
                        Refusal {
                            code: "connect".into(),
                            ..refusal()
                        },
                        None,
                    )),
                    (_, Some(answer)) => Ok(answer),
                    (_, None) => Err(Failure::Retry(refusal(), None)),
                };
                self.give(Input::Ended {
                    requests: 1,
                    operation: id,
                    result,
                    took: Duration::ZERO,
                });
            }
            Event::Deliver { which, kind } => {
                if self.deliveries.is_empty() {
                    return;
                }
                let (delivery, told) = self.deliveries.remove(which % self.deliveries.len());
                let refusal = || Refusal {
                    code: "drawn".into(),
                    reason: "drawn".into(),
                };
                let result = match kind {
                    0 => Err(Undelivered::Down(refusal(), None)),
                    1 => Err(Undelivered::Later(refusal())),
                    2 => Err(Undelivered::LeaseOver),
                    _ => {
                        self.arrives(&told);
                        Ok(())
                    }
                };
                self.give(Input::Delivered { delivery, result });
            }
            Event::Commit => {
                if let Some(batch) = self.batch.take() {
                    self.keep(&batch);
                    self.give(Input::Committed);
                }
            }
            Event::Crash => self.crash(),
            Event::HandBack => {
                self.give(Input::Drain);
                while !self.open.is_empty() || !self.deliveries.is_empty() || self.batch.is_some() {
                    self.happens(&Event::Deliver { which: 0, kind: 4 });
                    self.happens(&Event::Answer {
                        which: 0,
                        executed: true,
                        kind: 7,
                    });
                    self.happens(&Event::Commit);
                }
                assert!(self.record.as_ref().is_some_and(|record| record.released));
                self.crash();
                // Handed back whole: nothing is repeated because of it.
                self.crashes -= 1;
            }
            Event::Pass(seconds) => {
                self.now = after(self.now, Duration::from_secs((*seconds).into()));
                self.give(Input::Tick);
            }
        }
    }

    fn keep(&mut self, batch: &Batch) {
        self.durable.extend(batch.links.iter().cloned());
        self.group_records.extend(batch.groups.iter().cloned());
        self.memberships.extend(batch.memberships.iter().cloned());
        self.record = Some(batch.record.clone());
    }

    /// Requests under way may or may not have arrived; a transaction under way may or may not be committed.
    fn crash(&mut self) {
        self.crashes += 1;
        for (at, (_, delivery)) in std::mem::take(&mut self.deliveries).into_iter().enumerate() {
            if at % 2 == 0 {
                self.arrives(&delivery);
            }
        }
        for (at, (_, operation)) in std::mem::take(&mut self.open).into_iter().enumerate() {
            if at % 2 == 0 {
                self.execute(&operation);
            }
        }
        if let Some(batch) = self.batch.take()
            && self.now.as_second() % 2 == 0
        {
            self.keep(&batch);
        }
        let mut links = Links::default();
        for (user, link) in &self.durable {
            links.put(*user, Some(link.clone()));
        }
        for (key, record) in &self.group_records {
            links.groups.restore_group(key, Some(record.clone()));
        }
        for (user, memberships) in &self.memberships {
            links.groups.restore_person(*user, Some(memberships.clone()));
        }
        self.lane = Lane::new(Arc::new(target()), links, self.record.clone(), OWNER, self.now)
            .among(Everybody::new(Arc::clone(&self.table) as Arc<dyn People + Send + Sync>));
        for change in self.people.values().cloned().collect::<Vec<_>>() {
            self.give(Input::User { change, again: false });
        }
        self.give(Input::AllFed);
    }

    fn arrives(&mut self, delivery: &Delivery) {
        let id = match delivery {
            Delivery::Mail(mail) => format!("mail {}", mail.id),
            Delivery::Webhook { id, .. } => format!("webhook {id}"),
        };
        *self.told.entry(id).or_default() += 1;
    }

    fn execute(&mut self, operation: &Operation) -> Answer {
        let text =
            |values: &AttributeValues, name: &str| values.get(&path(name)).and_then(Value::as_str).map(str::to_owned);
        match operation {
            Operation::Check => Answer::Checked,
            Operation::List { .. } | Operation::ReadBack { .. } => Answer::Page(vec![], None),
            Operation::Find { external_id, .. } => {
                let found = self
                    .accounts
                    .iter()
                    .filter(|(_, values)| text(values, "externalId").as_ref() == Some(external_id));
                let found = found.map(|(id, values)| Seen {
                    external_id: Some(external_id.clone()),
                    user_name: text(values, USER_NAME),
                    active: values.get(&path("active")).and_then(Value::as_bool),
                    values: values.clone(),
                    ..seen(id, 0)
                });
                Answer::Found(found.collect())
            }
            Operation::Create { values } => {
                let external_id = text(values, "externalId").unwrap_or_default();
                *self.creations.entry(external_id).or_default() += 1;
                let id = format!("r{}", self.accounts.len() + 1);
                self.accounts.insert(id.clone(), values.clone());
                Answer::Written(RemoteId(id), None)
            }
            Operation::Update { id, values, .. } => match self.accounts.get_mut(&id.0) {
                Some(account) => {
                    account.extend(values.clone());
                    Answer::Written(id.clone(), None)
                }
                None => Answer::Absent,
            },
            Operation::Invite(_) | Operation::Read(_) | Operation::Delete(_) => Answer::Absent,
            Operation::FindGroup { name } => {
                let found = self.groups.iter().filter(|(_, (known, _))| known == name);
                let found = found.map(|(id, (name, _))| RemoteGroup {
                    id: RemoteId(id.clone()),
                    name: name.clone(),
                });
                Answer::Groups(found.collect())
            }
            Operation::CreateGroup { name } => {
                *self.creations.entry(format!("group {name}")).or_default() += 1;
                let id = format!("g{}", self.groups.len() + 1);
                self.groups.insert(id.clone(), (name.clone(), BTreeSet::new()));
                Answer::Group(RemoteId(id))
            }
            Operation::RenameGroup { .. } => unreachable!("nobody renames"),
            Operation::ReadGroup(id) => {
                let members = self.groups.get(&id.0).map(|(_, members)| members);
                Answer::Members(Some(members.into_iter().flatten().cloned().map(RemoteId).collect()))
            }
            Operation::ChangeMembers { id, add, remove, .. } => {
                assert!(add.len() + remove.len() <= 2, "more than the bound");
                if let Some((_, members)) = self.groups.get_mut(&id.0) {
                    members.extend(add.iter().map(|member| member.0.clone()));
                    members.retain(|member| !remove.iter().any(|gone| gone.0 == *member));
                }
                Answer::Changed
            }
        }
    }

    /// Whether something about groups is not done and read back.
    fn groups_open(&self) -> bool {
        let groups = self.lane.status().groups.unwrap_or_default();
        let unread = self.group_records.values().any(|record| record.unread);
        unread || groups.joining + groups.leaving > 0
    }

    /// No more faults: everything is answered, committed, and time goes on.
    fn recover(&mut self) {
        for _ in 0..20_000 {
            if !self.open.is_empty() {
                self.happens(&Event::Answer {
                    which: 0,
                    executed: true,
                    kind: 7,
                });
            } else if self.batch.is_some() {
                self.happens(&Event::Commit);
            } else if !self.deliveries.is_empty() {
                self.happens(&Event::Deliver { which: 0, kind: 4 });
            } else if self.lane.status().pending > 0
                || self.lane.status().circuit.is_some()
                || self.lane.status().notices_owed > 0
                || self.groups_open()
            {
                let next = self.lane.next_wake().expect("something outstanding has a next time");
                self.now = next.max(self.now);
                self.give(Input::Tick);
            } else {
                return;
            }
        }
        panic!("does not come to rest: {:?}", self.lane.status());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_everybody_ends_up_with_one_account_in_the_right_state(events in proptest::collection::vec(event(), 1..120)) {
        let mut world = World::new();
        for event in &events {
            world.happens(event);
        }
        world.recover();
        for (external_id, times) in &world.creations {
            prop_assert_eq!(*times, 1, "{} was made {} times", external_id, times);
        }
        for n in 1..=PEOPLE {
            let Some(person) = world.people.get(&n) else { continue };
            let key = user_key(n).user.to_string();
            let account = world.accounts.values().find(|values| values.get(&path("externalId")) == Some(&Value::from(key.clone())));
            let active = person.user.active == usher_contract::Known::Value(true);
            for (name, members) in world.groups.values().filter(|_| active) {
                let id = world.accounts.iter().find(|(_, values)| values.get(&path("externalId")) == Some(&Value::from(key.clone())));
                let is_in = id.is_some_and(|(id, _)| members.contains(id));
                let groups = person.user.groups.value();
                let wanted = groups.is_some_and(|groups| groups.iter().any(|group| group.name.value() == Some(name)));
                prop_assert_eq!(is_in, wanted, "{} in {}", n, name);
            }
            match account {
                None => prop_assert!(!active, "{n} should have an account"),
                Some(values) => {
                    prop_assert_eq!(values.get(&path("active")), Some(&Value::Bool(active)), "{}", n);
                    if active {
                        let title = person.user.title.value().map(|title| Value::from(title.as_str()));
                        prop_assert_eq!(values.get(&path("title")).cloned(), title);
                    }
                }
            }
        }
        // Every account that was made was told of: once, and once more for each crash at most. The mail only while it is on.
        let webhooks = world.told.keys().filter(|id| id.starts_with("webhook")).count();
        let accounts = world.creations.keys().filter(|made| !made.starts_with("group ")).count();
        prop_assert_eq!(webhooks, accounts, "{:?}", world.told);
        for (id, times) in &world.told {
            prop_assert!(*times <= 1 + world.crashes, "{} {} times after {} crashes", id, times, world.crashes);
        }
        let books = world.lane.links.iter().flat_map(|(_, link)| link.notices);
        let open = books.filter(|notice| !matches!(notice.state, crate::logic::notification::NoticeState::Sent { .. }));
        prop_assert_eq!(open.collect::<Vec<_>>(), Vec::<crate::logic::notification::Notice>::new());
        // A new owner finds nothing to do.
        world.crash();
        let looks: Vec<_> = world.open.iter().filter(|(_, operation)| operation.is_write()).collect();
        prop_assert!(looks.is_empty(), "{:?}", looks);
        prop_assert!(world.deliveries.is_empty(), "{:?}", world.deliveries);
    }
}
