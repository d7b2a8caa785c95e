//! Tests of the writer: each is a short history of inputs. What holds for every history is in `properties`.

use serde_json::{Value, json};
use usher_contract::ChangeKind;

use super::*;
use crate::logic::change_event::Delta;

mod absentees;
mod debts;
mod erase;
mod events;
mod held;
mod letters;
mod operators;
mod pages;
mod polls;
mod population;
mod portions;
mod surveys;
mod unbelieved;
mod unseen;
mod waiting;

const ORG: &str = "00D000000000001EAA";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_312_000 + seconds).unwrap()
}

fn id(number: u32) -> UserId {
    UserId::try_new(&format!("005{number:012}")).unwrap()
}

pub(super) fn config() -> WriterConfig {
    WriterConfig {
        org: ORG.parse().unwrap(),
        stream: "/data/UserChangeEvent".into(),
        read_margin: SignedDuration::from_secs(120),
        batch_records_max: 500,
        batch_bytes_max: 4 << 20,
        position_interval: SignedDuration::from_secs(5),
        removals_percent: 5,
        removals_at_least: 5,
        removals_at_most: 100,
        publish_before: false,
        publish_changed_by: false,
        fields: Fields::default(),
        population: Population::new("UserType = 'Standard'", &[], &[]),
    }
}

fn raw(department: &str, active: bool) -> RawUser {
    json!({"Email": "a@b", "LastName": "Byron", "FirstName": "Ada", "Department": department, "IsActive": active})
        .as_object()
        .unwrap()
        .clone()
}

/// Runs a writer and keeps what it commits, as a reader of the topics would see it.
struct Bench {
    writer: Writer,
    clock: i64,
    replay: u64,
    messages: Vec<UserChange>,
    reads: Vec<(Ticket, Vec<UserId>)>,
    in_flight: Option<Batch>,
    topics: Restored,
    /// The last version of everybody, also beyond a tombstone.
    versions: HashMap<UserId, u64>,
    letters: Vec<EventDeadLetter>,
    /// Records of the largest transaction.
    largest: usize,
}

impl Bench {
    fn new() -> Self {
        Self::with(Restored::default())
    }
    fn with(restored: Restored) -> Self {
        Self {
            writer: Writer::restore(config(), restored, 12),
            clock: 0,
            replay: 0,
            messages: vec![],
            reads: vec![],
            in_flight: None,
            topics: Restored::default(),
            versions: HashMap::new(),
            letters: vec![],
            largest: 0,
        }
    }
    fn step(&mut self, input: Input) {
        for effect in self.writer.step(input, at(self.clock)) {
            match effect {
                Effect::Commit(batch) => {
                    assert!(self.in_flight.is_none(), "one transaction at a time");
                    self.in_flight = Some(Arc::unwrap_or_clone(batch));
                }
                Effect::Read { ticket, ids, .. } => self.reads.push((ticket, ids)),
            }
        }
    }
    /// What is in flight becomes durable; the writer has not heard of it yet.
    fn durable(&mut self) -> bool {
        let Some(batch) = self.in_flight.take() else {
            return false;
        };
        self.largest = self.largest.max(batch.records());
        for change in batch.changes {
            let version = self.versions.entry(change.user.id).or_default();
            *version += 1;
            assert_eq!(change.version, *version, "versions rise by one");
            let published = Published::restored(change.clone());
            self.topics.published.insert(change.user.id, published);
            self.messages.push(change);
        }
        for user in batch.erased {
            self.topics.published.remove(user);
        }
        fold(&mut self.topics.owed, batch.owed);
        fold(&mut self.topics.held, batch.held);
        fold(&mut self.topics.suppressed, batch.suppressed);
        self.letters.extend(batch.dead_letters);
        self.topics.position = Some(batch.position);
        true
    }
    /// Commits until nothing is staged.
    fn settle(&mut self) {
        self.clock += 6;
        self.step(Input::Tick);
        while self.durable() {
            self.step(Input::Committed);
            self.clock += 6;
            self.step(Input::Tick);
        }
    }
    fn event(&mut self, who: u32, committed: i64, change_type: ChangeType, fields: &[(&str, Value)]) {
        self.replay += 1;
        let header = Header {
            change_type,
            concerned: Concerned::Users(vec![id(who)]),
            committed_at: at(committed),
            commit_number: committed,
            transaction_key: "tx".into(),
            commit_user: id(1).to_string(),
        };
        let delta: Delta = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        let reread = (change_type != ChangeType::Update && change_type != ChangeType::Delete).then_some("gap event");
        self.received(Ok(ChangeEvent { header, delta, reread }));
    }
    fn received(&mut self, event: Result<ChangeEvent, DecodeError>) {
        self.replay += 1;
        let event = StreamEvent {
            replay_id: format!("r{}", self.replay),
            schema_id: "s".into(),
            payload: String::new(),
            event,
        };
        self.step(Input::Events(vec![event]));
    }
    fn update(&mut self, who: u32, committed: i64, fields: &[(&str, Value)]) {
        self.event(who, committed, ChangeType::Update, fields);
    }
    /// Whoever is not among the members exists all the same.
    fn answer(&mut self, read_at: i64, members: &[(u32, RawUser)]) {
        self.answer_with(read_at, members, true);
    }
    /// Whoever is not among the members cannot be seen.
    fn answer_blindly(&mut self, read_at: i64) {
        self.answer_with(read_at, &[], false);
    }
    fn answer_with(&mut self, read_at: i64, members: &[(u32, RawUser)], others_exist: bool) {
        let members: HashMap<UserId, RawUser> = members.iter().map(|(who, raw)| (id(*who), raw.clone())).collect();
        for (ticket, asked) in std::mem::take(&mut self.reads) {
            let others = asked
                .into_iter()
                .filter(|id| others_exist && !members.contains_key(id))
                .collect();
            let result = Ok(Members {
                members: members.clone(),
                others,
            });
            self.step(Input::Read {
                ticket,
                read_at: at(read_at),
                result,
            });
        }
    }
    fn begin(&mut self, kind: SurveyKind, began: i64) {
        let window = (kind == SurveyKind::Recheck).then(|| (at(began - 600), at(began + 1)));
        self.step(Input::SurveyBegan(Survey {
            kind,
            began_at: at(began),
            window,
            listing: kind != SurveyKind::Recheck,
            reimport: false,
            asked_at: at(self.clock),
            routine: kind == SurveyKind::Recheck,
        }));
    }
    fn rows(&mut self, read_at: i64, rows: &[(u32, RawUser)]) {
        self.step(Input::SurveyRows {
            read_at: at(read_at),
            rows: rows.iter().map(|(who, raw)| (id(*who), raw.clone())).collect(),
        });
    }
    fn end(&mut self) {
        self.step(Input::SurveyEnded {
            result: Ok(()),
            accept_size: false,
        });
    }
    fn snapshot(&mut self, kind: SurveyKind, began: i64, rows: &[(u32, RawUser)]) {
        self.begin(kind, began);
        self.rows(began, rows);
        self.end();
        self.settle();
    }
    /// Ten people, published by a baseline at second 0.
    fn baseline() -> Self {
        let mut bench = Self::new();
        let everyone: Vec<(u32, RawUser)> = (1..=10).map(|who| (who, raw("Sales", true))).collect();
        bench.snapshot(SurveyKind::Query, 0, &everyone);
        assert_eq!(bench.messages.len(), 10);
        bench.messages.clear();
        bench
    }
    fn kinds(&self) -> Vec<ChangeKind> {
        self.messages.iter().map(|change| change.kind).collect()
    }
    fn state(&self, who: u32) -> User {
        self.topics.published.get(id(who)).unwrap().user
    }
    /// The process dies: what was not committed is gone.
    fn restart(self) -> Self {
        let mut next = Self::with(copy(&self.topics));
        next.clock = self.clock;
        next.replay = self.replay;
        next.versions = self.versions;
        next.topics = self.topics;
        next
    }
    /// Members of held sets: removals, deactivations.
    fn held(&self) -> (Vec<UserId>, Vec<UserId>) {
        let sets: Vec<HeldSet> = self.writer.held().into_values().collect();
        assert_eq!(self.writer.held().len(), sets.len());
        (
            sets.iter().flat_map(|set| set.removals.clone()).collect(),
            sets.iter().flat_map(|set| set.deactivations.clone()).collect(),
        )
    }
    /// An operator releases every set.
    fn approve(&mut self) {
        for id in self.writer.held().into_keys() {
            self.step(Input::Approve { id, by: by() });
        }
        self.settle();
    }
}

fn by() -> Approval {
    Approval {
        actor: "ada".into(),
        reason: "checked".into(),
        at: at(0),
    }
}

/// Rows of these people, as in the baseline.
fn rows(people: impl IntoIterator<Item = u32>) -> Vec<(u32, RawUser)> {
    people.into_iter().map(|who| (who, raw("Sales", true))).collect()
}

/// What a compacted topic makes of a batch.
pub(super) fn fold<K: Ord, V>(table: &mut BTreeMap<K, V>, changes: BTreeMap<K, Option<V>>) {
    for (key, value) in changes {
        match value {
            Some(value) => table.insert(key, value),
            None => table.remove(&key),
        };
    }
}

/// The topics as a new writer reads them.
pub(super) fn copy(topics: &Restored) -> Restored {
    Restored {
        published: topics.published.clone(),
        position: topics.position.clone(),
        owed: topics.owed.clone(),
        held: topics.held.clone(),
        suppressed: topics.suppressed.clone(),
    }
}

#[test]
fn what_an_operator_wants_is_committed_at_once() {
    let mut bench = Bench::new();
    bench.step(Input::Keepalive("a".into()));
    bench.in_flight = None;
    bench.step(Input::Committed);
    bench.step(Input::Keepalive("b".into()));
    assert!(bench.in_flight.is_none(), "a moved position waits");
    bench.step(Input::Want { accept_size: false });
    assert!(bench.in_flight.as_ref().unwrap().position.wanted.is_some());
    // Also when another commit is under way: right after it.
    bench.step(Input::Want { accept_size: true });
    bench.in_flight = None;
    bench.step(Input::Committed);
    assert!(bench.in_flight.unwrap().position.wanted.unwrap().accept_size);
}
