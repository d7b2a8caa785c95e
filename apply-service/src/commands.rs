//! Commands of operators on their way: written to `provisioning.command` by any replica, read by the lane of the target,
//! and the wait for what came of them.
//!
//! Whether and how a command is carried out is the lane's business (`logic::command`). A record that is no command is
//! reported with its place and passed over: nobody could say what it asks for.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::Semaphore;
use tracing::{info, warn};
use usher_contract::{Approval, Outcome, TargetName};
use usher_runtime::{
    clock,
    kafka::{
        KafkaConfig, OutRecord, Partitions, ProduceError, Producer, ReadFrom, Record, TopicError, TopicInput,
        TopicReader, Window, end_of, read_window,
    },
    shutdown::chain,
};

use crate::{
    config::CommandsConfig,
    link_table::{Unreadable, decode, name_of},
    logic::{
        command::{self, Command, Verb, outcome_id},
        retry::after,
    },
    metrics::Metrics,
    topics,
};

/// Callers that wait at the same time: each reads the end of the outcomes with a client of its own.
const WAITING_MAX: usize = 8;
/// Commands looked at for a list of recent ones, and how long that may take.
const LOOKED_AT_MAX: i64 = 20_000;
const LOOK_WITHIN: Duration = Duration::from_secs(15);

/// A command could not be passed on.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    /// The outcomes cannot be read, or the commands.
    #[error("cannot read what becomes of commands")]
    Read(#[from] TopicError),
    /// The command was not written, as far as is known.
    #[error("cannot pass the command on")]
    Write(#[from] ProduceError),
}

/// A command on its way.
#[derive(Debug)]
pub(crate) struct Sent {
    /// To ask about it later.
    pub(crate) id: String,
    /// What came of it, when that was known in time.
    pub(crate) outcome: Option<Outcome>,
}

/// Writes commands and waits for what comes of them. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Commands {
    kafka: KafkaConfig,
    producer: Producer,
    config: CommandsConfig,
    waiting: Arc<Semaphore>,
}

impl Commands {
    pub(crate) fn new(kafka: &KafkaConfig, config: CommandsConfig) -> Self {
        Self {
            kafka: kafka.clone(),
            producer: Producer::new(kafka, "usher-commands"),
            config,
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        }
    }

    /// Writes a command and waits for its outcome, as long as is configured.
    ///
    /// # Errors
    /// [`CommandError`].
    pub(crate) async fn send(
        &self,
        target: &TargetName,
        verb: Verb,
        actor: &str,
        reason: &str,
    ) -> Result<Sent, CommandError> {
        let now = clock::now();
        let command = Command {
            format: command::FORMAT,
            id: new_id(now),
            target: target.clone(),
            verb,
            by: Approval {
                actor: actor.to_owned(),
                reason: reason.to_owned(),
                at: now,
            },
            expires_at: after(now, self.config.expire),
        };
        let id = command.id.clone();
        info!(target.name = %target, command.id = id, verb = command.verb.as_str(), actor, "a command is passed on");
        // At the end before the command is written: its outcome cannot be missed. Who finds everybody busy does not wait.
        let reader = match self.waiting.try_acquire() {
            Ok(permit) => Some((permit, self.outcomes_from_now().await?)),
            Err(_) => None,
        };
        let record = OutRecord {
            topic: self.kafka.topic(topics::COMMAND),
            key: target.to_string().into_bytes(),
            value: Some(serde_json::to_vec(&command).unwrap_or_default()),
            headers: vec![("content-type", "application/json".to_owned())],
            partition: Some(topics::partition_of_target(target)),
        };
        self.producer.send(&record).await?;
        let Some((_permit, mut reader)) = reader else {
            return Ok(Sent { id, outcome: None });
        };
        let wanted = outcome_id(target, &id);
        let outcome = tokio::time::timeout(self.config.wait, find(&mut reader, &wanted)).await;
        Ok(Sent {
            id,
            outcome: outcome.ok().flatten(),
        })
    }

    async fn outcomes_from_now(&self) -> Result<TopicReader, TopicError> {
        let topic = self.kafka.topic(topics::OUTCOME);
        TopicReader::start_from(&self.kafka, &topic, Partitions::All, ReadFrom::End).await
    }

    /// The newest commands, newest first, and their places; at most `limit`.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub(crate) async fn recent(
        &self,
        target: Option<&TargetName>,
        limit: usize,
    ) -> Result<Vec<(i64, Command)>, TopicError> {
        let partitions = target.map_or(Partitions::All, |target| {
            Partitions::Only(vec![topics::partition_of_target(target)])
        });
        let only = target.cloned();
        let step = move |found: &mut Vec<(i64, Command)>, record: Record| {
            if let Ok(Some(command)) = read(&record, None)
                && only.as_ref().is_none_or(|only| *only == command.target)
            {
                found.push((record.offset, command));
            }
        };
        let window = Window {
            partitions,
            from: None,
            to: None,
            records_max: LOOKED_AT_MAX,
            within: LOOK_WITHIN,
        };
        let topic = self.kafka.topic(topics::COMMAND);
        let (mut found, _) = read_window(&self.kafka, &topic, window, Vec::new(), step).await?;
        found.sort_by(|(_, a), (_, b)| (b.by.at, &b.id).cmp(&(a.by.at, &a.id)));
        found.truncate(limit);
        Ok(found)
    }

    /// What came of a command, from the outcomes since then.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub(crate) async fn outcome(&self, command: &Command) -> Result<Option<Outcome>, TopicError> {
        let wanted = outcome_id(&command.target, &command.id);
        let step = move |found: &mut Option<Outcome>, record: Record| {
            if record.header("ce_id") == Some(&wanted) {
                *found = record.value.and_then(|value| serde_json::from_slice(&value).ok());
            }
        };
        let window = Window {
            partitions: Partitions::All,
            // The clocks of broker and replica may differ a little.
            from: command.by.at.checked_sub(jiff::SignedDuration::from_mins(5)).ok(),
            to: Some(after(command.expires_at, Duration::from_secs(3600))),
            records_max: 10 * LOOKED_AT_MAX,
            within: LOOK_WITHIN,
        };
        let topic = self.kafka.topic(topics::OUTCOME);
        Ok(read_window(&self.kafka, &topic, window, None, step).await?.0)
    }
}

/// Unique among the commands of an installation, and in the order of time for people.
fn new_id(now: Timestamp) -> String {
    format!("{}-{:08x}", now.strftime("%Y%m%dT%H%M%SZ"), rand::random::<u32>())
}

/// The outcome with this id; `None` when reading ended.
async fn find(reader: &mut TopicReader, wanted: &str) -> Option<Outcome> {
    loop {
        match reader.next().await? {
            TopicInput::Records(records) => {
                let found = records
                    .into_iter()
                    .find(|record| record.header("ce_id") == Some(wanted));
                if let Some(value) = found.and_then(|record| record.value) {
                    return serde_json::from_slice(&value).ok();
                }
            }
            TopicInput::CaughtUp(_) => {}
            TopicInput::Failed(_) => return None,
        }
    }
}

/// Why a record is no command that can be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
enum Malformed {
    #[error("no-key")]
    Key,
    #[error("newer-format")]
    Newer,
    #[error("not-a-command")]
    Content,
    #[error("key-of-another-target")]
    OtherTarget,
}

/// The command of a record; `None` when it is for another target than asked.
fn read(record: &Record, asked: Option<&TargetName>) -> Result<Option<Command>, Malformed> {
    let name = name_of(record).ok_or(Malformed::Key)?;
    if asked.is_some_and(|asked| asked.as_str() != name) {
        return Ok(None);
    }
    let command: Command = match decode(record.value.as_deref(), command::FORMAT) {
        Ok(Some(command)) => command,
        Ok(None) | Err(Unreadable::Content) => return Err(Malformed::Content),
        Err(Unreadable::Newer) => return Err(Malformed::Newer),
    };
    if command.target.as_str() != name {
        return Err(Malformed::OtherTarget);
    }
    Ok(Some(command))
}

/// What the lane of a target is told.
#[derive(Debug)]
pub(crate) enum Received {
    /// A command and its place on the topic.
    Command(i64, Box<Command>),
    /// Everything that waited at the start was handed over.
    CaughtUp,
    /// Reading has ended.
    Failed(String),
}

/// The commands for one target, from where its record says.
#[derive(Debug)]
pub(crate) struct Inbox {
    target: TargetName,
    reader: TopicReader,
    waiting: VecDeque<Record>,
    metrics: Arc<Metrics>,
}

impl Inbox {
    /// Opens it. `done` is the offset after the last command that was carried out; it is set back when the topic ends
    /// before it, because then it is a new one.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub(crate) async fn open(
        kafka: &KafkaConfig,
        target: &TargetName,
        done: &mut i64,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, TopicError> {
        let (topic, partition) = (kafka.topic(topics::COMMAND), topics::partition_of_target(target));
        let end = end_of(kafka, &topic, partition).await?;
        if *done > end {
            warn!(target.name = %target, done = *done, end, "the topic of commands was made anew: it is read from its beginning");
            *done = 0;
        }
        let partitions = Partitions::Only(vec![partition]);
        let reader = TopicReader::start_from(kafka, &topic, partitions, ReadFrom::Offset(*done)).await?;
        Ok(Self {
            target: target.clone(),
            reader,
            waiting: VecDeque::new(),
            metrics: Arc::clone(metrics),
        })
    }

    /// What comes next. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Received {
        loop {
            while let Some(record) = self.waiting.pop_front() {
                match read(&record, Some(&self.target)) {
                    Ok(None) => {}
                    Ok(Some(command)) => return Received::Command(record.offset, Box::new(command)),
                    Err(reason) => {
                        self.metrics.command_malformed();
                        warn!(
                            topic = topics::COMMAND,
                            partition = record.partition,
                            offset = record.offset,
                            %reason,
                            "a record is no command and was passed over"
                        );
                    }
                }
            }
            match self.reader.next().await {
                Some(TopicInput::Records(records)) => self.waiting.extend(records),
                Some(TopicInput::CaughtUp(_)) => return Received::CaughtUp,
                Some(TopicInput::Failed(reason)) => return Received::Failed(reason),
                None => return Received::Failed("the reader has ended".to_owned()),
            }
        }
    }
}

impl CommandError {
    /// The whole chain in words.
    pub(crate) fn in_words(&self) -> String {
        chain(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::testing::at;

    fn record(key: &str, value: &str) -> Record {
        Record {
            partition: 1,
            offset: 7,
            key: Some(key.as_bytes().to_vec()),
            value: Some(value.as_bytes().to_vec()),
            headers: vec![],
        }
    }

    #[test]
    fn what_is_no_command_is_told_apart_from_what_is_for_others() {
        let gong = TargetName::try_new("gong").unwrap();
        let command = Command {
            format: command::FORMAT,
            id: "c".into(),
            target: gong.clone(),
            verb: Verb::Pause,
            by: Approval {
                actor: "ada".into(),
                reason: "r".into(),
                at: at(0),
            },
            expires_at: at(9),
        };
        let good = serde_json::to_string(&command).unwrap();
        assert_eq!(read(&record("gong", &good), Some(&gong)), Ok(Some(command)));
        assert_eq!(read(&record("gongs", "{"), Some(&gong)), Ok(None));
        let unknown = good.replace("\"pause\"", "\"explode\"");
        for (key, value, why) in [
            ("gong", "{", Malformed::Content),
            ("gong", unknown.as_str(), Malformed::Content),
            ("gong", "{\"format\":9}", Malformed::Newer),
        ] {
            assert_eq!(read(&record(key, value), Some(&gong)), Err(why), "{value}");
        }
        let other = TargetName::try_new("gongs").unwrap();
        assert_eq!(read(&record("gongs", &good), Some(&other)), Err(Malformed::OtherTarget));
    }

    #[test]
    fn ids_are_in_the_order_of_time() {
        assert!(new_id(at(0)) < new_id(at(1)));
        assert_ne!(new_id(at(0)), new_id(at(0)));
    }
}
