//! The newest state of every person, as the `user-change` topic has it. Every replica holds all of it.
//!
//! Lanes are told *who* changed and *where*, never *to what*: they take the newest state when they get to it. So a slow lane costs
//! no memory beyond one key per person. People are kept packed and unpacked when they are asked for.

mod about;
mod table;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tracing::{info, warn};
use usher_contract::{Known, User, UserChange, UserId, UserKey, cloud_event::user_change_version};
use usher_filter::People;
use usher_packed::Differences;
use usher_runtime::{
    kafka::{KafkaConfig, Partitions, Record, RecordRef, TopicInput, TopicReader},
    shutdown::CancellationToken,
};

use self::table::{Packed, Table};
use crate::{metrics::Metrics, topics::USER_CHANGE};

/// The version of the message that this service understands.
const SCHEMA_VERSION: u32 = 1;

/// Why a record was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
enum Malformed {
    #[error("no-key")]
    Key,
    #[error("schema-version")]
    SchemaVersion,
    #[error("not-a-user-change")]
    Content,
    #[error("key-of-somebody-else")]
    OtherKey,
}

/// A record of the topic, read: on a reading thread, so that whoever takes it has little left to do.
#[derive(Debug)]
enum Message {
    /// A newer state.
    Change(UserKey, Box<Packed>),
    /// Nobody any more.
    Erased(UserKey),
    /// What is known already, or older: nothing of it is looked at but its version.
    Repeated,
    /// Not what it should be, and where it is.
    Malformed(i32, i64, Malformed),
}

/// Reading does not go on.
#[derive(Debug, Error)]
pub enum UsersError {
    /// The client gave up.
    #[error("reading {topic} failed: {reason}")]
    Failed {
        /// Which topic.
        topic: String,
        /// Why.
        reason: String,
    },
    /// It could not begin.
    #[error("cannot read the users")]
    Start(#[from] usher_runtime::kafka::TopicError),
}

/// The table in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct UsersStatus {
    /// People.
    pub known: usize,
    /// Whether the topic was read to its end once.
    pub caught_up: bool,
    /// Records passed over because they are not what they should be.
    pub malformed: u64,
    /// Where the last of them is: `topic/partition/offset: reason`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_malformed: Option<String>,
}

/// The newest state of every person.
#[derive(Debug)]
pub struct Users {
    table: RwLock<Table>,
    caught_up: watch::Sender<bool>,
    subscribers: Mutex<Vec<Weak<Subscription>>>,
    /// Erasures that are read and not put yet: what comes behind one is not a repetition of what the table still has.
    erasing: Mutex<HashMap<UserKey, usize>>,
    malformed: AtomicU64,
    last_malformed: Mutex<Option<String>>,
}

/// Who changed since one last asked, and what about them.
#[derive(Debug, Default)]
pub struct Subscription {
    changed: Mutex<BTreeMap<UserKey, Differences>>,
    wake: Notify,
}

impl Subscription {
    /// Waits until somebody has changed. Cancel-safe.
    pub async fn changed(&self) {
        loop {
            let woken = self.wake.notified();
            if !lock(&self.changed).is_empty() {
                return;
            }
            woken.await;
        }
    }
    /// Takes at most `limit` people who changed, with everything that has changed about them since they were last taken.
    pub fn take(&self, limit: usize) -> Vec<(UserKey, Differences)> {
        let mut changed = lock(&self.changed);
        if changed.len() <= limit {
            return std::mem::take(&mut *changed).into_iter().collect();
        }
        let rest = changed.keys().nth(limit).copied();
        let rest = rest.map_or_else(BTreeMap::new, |first| changed.split_off(&first));
        std::mem::replace(&mut *changed, rest).into_iter().collect()
    }
    /// Feeds people again although they did not change: as if everything about them had.
    pub fn again(&self, users: impl IntoIterator<Item = UserKey>) {
        self.put(users.into_iter().map(|user| (user, Differences::EVERYTHING)));
    }
    fn put(&self, users: impl IntoIterator<Item = (UserKey, Differences)>) {
        let mut changed = lock(&self.changed);
        for (user, differing) in users {
            changed
                .entry(user)
                .and_modify(|known| *known = known.and(differing))
                .or_insert(differing);
        }
        drop(changed);
        self.wake.notify_one();
    }
}

impl Default for Users {
    fn default() -> Self {
        Self {
            table: RwLock::default(),
            caught_up: watch::Sender::new(false),
            subscribers: Mutex::default(),
            erasing: Mutex::default(),
            malformed: AtomicU64::new(0),
            last_malformed: Mutex::default(),
        }
    }
}

impl Users {
    /// The newest state of a person.
    #[must_use]
    pub fn get(&self, user: &UserKey) -> Option<Arc<UserChange>> {
        self.table
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(user)
            .map(Arc::new)
    }

    /// Everybody, in no order.
    #[must_use]
    pub fn keys(&self) -> Vec<UserKey> {
        self.table
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .collect()
    }

    /// People by e-mail address, user name, displayed name, employee number or id, whole or in part and whatever the case;
    /// exact hits first, then by name. Also says whether there are more than `limit`.
    ///
    /// Looks at everybody; the table can be written meanwhile.
    #[must_use]
    pub fn find(&self, text: &str, limit: usize) -> (Vec<Hit>, bool) {
        let text = text.trim().to_lowercase();
        let id = UserId::try_new(text.trim()).ok();
        let mut found: Vec<(u8, String, Hit)> = Vec::new();
        // One by one: nobody waits for a whole look.
        for change in self.keys().iter().filter_map(|user| self.get(user)) {
            if let Some(rank) = rank(&change, &text, id) {
                let name = value(&change.user.display_name).unwrap_or_default().to_lowercase();
                found.push((rank, name, Hit(change)));
            }
        }
        found.sort_by(|a, b| (a.0, &a.1, a.2.0.user.key()).cmp(&(b.0, &b.1, b.2.0.user.key())));
        let more = found.len() > limit;
        found.truncate(limit);
        (found.into_iter().map(|(_, _, hit)| hit).collect(), more)
    }

    /// Told of everybody who changes from now on.
    #[must_use]
    pub fn subscribe(&self) -> Arc<Subscription> {
        let subscription = Arc::new(Subscription::default());
        let mut subscribers = lock(&self.subscribers);
        subscribers.retain(|subscriber| subscriber.strong_count() > 0);
        subscribers.push(Arc::downgrade(&subscription));
        subscription
    }

    /// Waits until the topic was read to its end once. Cancel-safe.
    pub async fn caught_up(&self) {
        let mut caught_up = self.caught_up.subscribe();
        // The sender lives as long as the table.
        let _ = caught_up.wait_for(|yes| *yes).await;
    }

    /// The table in numbers.
    #[must_use]
    pub fn status(&self) -> UsersStatus {
        UsersStatus {
            known: self.table.read().unwrap_or_else(PoisonError::into_inner).len(),
            caught_up: *self.caught_up.borrow(),
            malformed: self.malformed.load(Ordering::Relaxed),
            last_malformed: lock(&self.last_malformed).clone(),
        }
    }

    /// Takes records; those that are not what they should be are counted and passed over.
    pub fn take(&self, topic: &str, records: &[Record], metrics: &Metrics) {
        let messages = records.iter().map(|record| self.read(&record.as_ref())).collect();
        self.put(topic, messages, metrics);
    }

    /// Reads a record; the table stays as it is.
    fn read(&self, record: &RecordRef<'_>) -> Message {
        let known = |user: &UserKey| {
            // Asked in this order: once the erasure is put, the table no longer has them.
            if lock(&self.erasing).contains_key(user) {
                return None;
            }
            let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
            table.version(user)
        };
        let message = decode(record, known)
            .unwrap_or_else(|reason| Message::Malformed(record.partition(), record.offset(), reason));
        if let Message::Erased(user) = message {
            *lock(&self.erasing).entry(user).or_default() += 1;
        }
        message
    }

    fn put(&self, topic: &str, messages: Vec<Message>, metrics: &Metrics) {
        let mut changed = Vec::new();
        {
            let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
            for message in messages {
                match message {
                    // Erased: whoever has an account keeps it; there is nobody to decide about any more. Lanes are told, so
                    // that what is outstanding ends and the account is reported.
                    Message::Erased(user) => {
                        if table.remove(&user) {
                            changed.push((user, Differences::EVERYTHING));
                        }
                        let mut erasing = lock(&self.erasing);
                        if let Some(count) = erasing.get_mut(&user) {
                            *count -= 1;
                            if *count == 0 {
                                erasing.remove(&user);
                            }
                        }
                    }
                    // A repeated or older record changes nothing.
                    Message::Change(user, change) => {
                        if let Some(differing) = table.put(&change) {
                            changed.push((user, differing));
                        }
                    }
                    Message::Repeated => {}
                    Message::Malformed(partition, offset, reason) => {
                        self.pass_over(topic, partition, offset, reason, metrics);
                    }
                }
            }
            metrics.users_known.set(i64::try_from(table.len()).unwrap_or(i64::MAX));
        }
        if changed.is_empty() {
            return;
        }
        for subscriber in lock(&self.subscribers).iter().filter_map(Weak::upgrade) {
            subscriber.put(changed.iter().copied());
        }
    }

    /// Place and reason are said, the content never: it is somebody's data.
    fn pass_over(&self, topic: &str, partition: i32, offset: i64, reason: Malformed, metrics: &Metrics) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
        metrics.users_malformed.inc();
        let place = format!("{topic}/{partition}/{offset}: {reason}");
        warn!(topic, partition, offset, %reason, "a record is not a user change and was passed over");
        *lock(&self.last_malformed) = Some(place);
    }

    /// Reads the topic from its beginning and follows it until `stop` is cancelled.
    ///
    /// # Errors
    /// [`UsersError`].
    pub async fn follow(
        self: Arc<Self>,
        kafka: KafkaConfig,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Result<(), UsersError> {
        let topic = kafka.topic(USER_CHANGE);
        let users = Arc::clone(&self);
        let read = move |record: RecordRef<'_>| users.read(&record);
        let mut reader = TopicReader::start_with(&kafka, &topic, Partitions::All, reading_threads(), read).await?;
        loop {
            let input = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                input = reader.next() => input,
            };
            match input {
                Some(TopicInput::Records(messages)) => self.put(&topic, messages, &metrics),
                Some(TopicInput::CaughtUp(_)) => {
                    let status = self.status();
                    info!(users = status.known, malformed = status.malformed, "the users are read");
                    self.caught_up.send_replace(true);
                }
                Some(TopicInput::Failed(reason)) => {
                    return Err(UsersError::Failed { topic, reason });
                }
                None => {
                    return Err(UsersError::Failed {
                        topic,
                        reason: "the reader has ended".to_owned(),
                    });
                }
            }
        }
    }
}

impl People for Users {
    fn look(&self, key: UserKey, then: &mut dyn FnMut(&User)) {
        if let Some(change) = self.get(&key) {
            then(&change.user);
        }
    }
}

/// Somebody who was looked for.
#[derive(Debug, Clone)]
pub struct Hit(pub Arc<UserChange>);

/// How well somebody fits a text in lower case: 0 exactly, 1 as a beginning, 2 somewhere inside.
fn rank(change: &UserChange, text: &str, id: Option<UserId>) -> Option<u8> {
    let user = &change.user;
    if id == Some(user.id) || user.key().to_string().to_lowercase() == text {
        return Some(0);
    }
    let fields = [&user.email, &user.username, &user.display_name, &user.employee_number];
    fields
        .into_iter()
        .filter_map(value)
        .filter_map(|field| {
            let field = field.to_lowercase();
            match field.find(text) {
                Some(0) if field.len() == text.len() => Some(0),
                Some(0) => Some(1),
                Some(_) => Some(2),
                None => None,
            }
        })
        .min()
}

fn value(field: &Known<String>) -> Option<&str> {
    match field {
        Known::Value(text) => Some(text),
        _ => None,
    }
}

/// Threads that read the topic. More than four gain nothing: they meet in the one who takes.
fn reading_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(4)
}

/// `known` tells the version of a person in the table.
fn decode(record: &RecordRef<'_>, known: impl Fn(&UserKey) -> Option<u64>) -> Result<Message, Malformed> {
    let key = record.key().and_then(|key| std::str::from_utf8(key).ok());
    let (key, user): (&str, UserKey) = key
        .and_then(|key| Some((key, key.parse().ok()?)))
        .ok_or(Malformed::Key)?;
    let Some(value) = record.value() else {
        return Ok(Message::Erased(user));
    };
    if let Some(ce_type) = record.header("ce_type")
        && user_change_version(ce_type) != Some(SCHEMA_VERSION)
    {
        return Err(Malformed::SchemaVersion);
    }
    // The id is `<key>:<version>`. Of a repeated message nothing else is read.
    let version: Option<u64> = record
        .header("ce_id")
        .and_then(|id| id.strip_prefix(key)?.strip_prefix(':')?.parse().ok());
    if version.is_some_and(|version| known(&user).is_some_and(|known| version <= known)) {
        return Ok(Message::Repeated);
    }
    Packed::of_message(user, value).map(|packed| Message::Change(user, Box::new(packed)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
