//! Topics: make the missing ones, refuse wrong settings, count partitions.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use thiserror::Error;

use super::{KafkaConfig, TopicMode, context::LoggingContext};

const TIMEOUT: Duration = Duration::from_secs(10);

/// What a topic must be.
#[derive(Debug, Clone)]
pub struct TopicSpec {
    /// Without the prefix.
    pub name: &'static str,
    /// Fixed at creation: a key that changed its partition would leave a stale record for ever.
    pub partitions: i32,
    /// Settings; `cleanup.policy` is checked on topics that exist.
    pub settings: &'static [(&'static str, &'static str)],
}

/// The topic of the messages. Both services make it, so that either can start first; said once, so that they agree.
pub const USER_CHANGE: TopicSpec = TopicSpec {
    name: "user-change",
    partitions: 12,
    settings: &[
        ("cleanup.policy", "compact"),
        // Subscribers that are a day behind still see every version.
        ("min.compaction.lag.ms", "86400000"),
        ("max.compaction.lag.ms", "604800000"),
        // An erased person's tombstone stays a week, so that slow subscribers see it.
        ("delete.retention.ms", "604800000"),
        ("segment.ms", "86400000"),
    ],
};

/// What is wrong with a topic or the broker.
#[derive(Debug, Error)]
pub enum TopicError {
    /// The broker does not answer.
    #[error("cannot reach Kafka at {bootstrap_servers}; check kafka.bootstrapServers and that the broker runs")]
    Unreachable {
        /// As configured.
        bootstrap_servers: String,
        /// What the client says.
        #[source]
        source: KafkaError,
    },
    /// Missing and not ours to make.
    #[error("topic {0} does not exist and kafka.topics is `trust`; create it or set kafka.topics to `manage`")]
    Missing(String),
    /// Could not be made.
    #[error("cannot create topic {topic}: {reason}")]
    Create {
        /// Full name.
        topic: String,
        /// What the broker says.
        reason: String,
    },
    /// A setting that would lose state.
    #[error(
        "topic {topic} has {setting}={found}, it must be {expected}; run kafka-configs.sh --alter --entity-type topics \
         --entity-name {topic} --add-config {setting}={expected}, or choose another kafka.prefix"
    )]
    Setting {
        /// Full name.
        topic: String,
        /// Which setting.
        setting: &'static str,
        /// The value it has.
        found: String,
        /// The value it must have.
        expected: &'static str,
    },
    /// The settings cannot be seen.
    #[error(
        "cannot read the settings of topic {topic}: {reason}; grant DescribeConfigs on it, or set kafka.topics to `trust`"
    )]
    Describe {
        /// Full name.
        topic: String,
        /// What the broker says.
        reason: String,
    },
    /// Another number of partitions.
    #[error(
        "topic {topic} has {found} partitions, it must have {expected}: keys would change their partition; export, recreate \
         the topic with {expected} partitions and import"
    )]
    Partitions {
        /// Full name.
        topic: String,
        /// What it has.
        found: usize,
        /// What it must have.
        expected: i32,
    },
}

/// The topics of one installation.
#[derive(Debug, Clone)]
pub struct Topics {
    config: KafkaConfig,
    specs: Vec<TopicSpec>,
}

impl Topics {
    /// These topics with this configuration.
    #[must_use]
    pub fn new(config: &KafkaConfig, specs: Vec<TopicSpec>) -> Self {
        Self {
            config: config.clone(),
            specs,
        }
    }

    /// Makes what is missing when topics are managed, then checks.
    ///
    /// # Errors
    /// The first [`TopicError`].
    pub async fn ensure(&self) -> Result<(), TopicError> {
        if self.config.topics == TopicMode::Manage {
            let existing = self.existing().await?;
            let missing: Vec<&TopicSpec> = self
                .specs
                .iter()
                .filter(|spec| !existing.contains_key(&self.config.topic(spec.name)))
                .collect();
            if !missing.is_empty() {
                self.create(&missing).await?;
                self.await_visible().await?;
            }
        }
        match self.problems().await.into_iter().next() {
            Some(problem) => Err(problem),
            None => Ok(()),
        }
    }

    /// Everything that is wrong, without changing anything. Topics that would be made are not a problem.
    pub async fn problems(&self) -> Vec<TopicError> {
        let existing = match self.existing().await {
            Ok(existing) => existing,
            Err(error) => return vec![error],
        };
        let mut problems = Vec::new();
        for spec in &self.specs {
            let topic = self.config.topic(spec.name);
            match existing.get(&topic) {
                None if self.config.topics == TopicMode::Trust => problems.push(TopicError::Missing(topic)),
                None => {}
                Some(found) if usize::try_from(spec.partitions) != Ok(*found) => {
                    problems.push(TopicError::Partitions {
                        topic,
                        found: *found,
                        expected: spec.partitions,
                    });
                }
                Some(_) if self.config.topics == TopicMode::Manage => {
                    problems.extend(self.wrong_settings(spec, topic).await)
                }
                Some(_) => {}
            }
        }
        problems
    }

    /// Names, without the prefix, of the topics that do not exist.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn missing(&self) -> Result<Vec<&'static str>, TopicError> {
        let existing = self.existing().await?;
        let is_missing = |name: &&'static str| !existing.contains_key(&self.config.topic(name));
        Ok(self.specs.iter().map(|spec| spec.name).filter(is_missing).collect())
    }

    /// How many partitions a topic has now; `None` when it does not exist. `name` without the prefix.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn partitions(&self, name: &str) -> Result<Option<i32>, TopicError> {
        let found = self.existing().await?.get(&self.config.topic(name)).copied();
        Ok(found.map(|count| i32::try_from(count).unwrap_or(i32::MAX)))
    }

    /// Names and partition counts of the topics that exist.
    async fn existing(&self) -> Result<BTreeMap<String, usize>, TopicError> {
        let config = self.config.clone();
        let listed = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer<LoggingContext> = config.admin().create_with_context(LoggingContext)?;
            let metadata = consumer.fetch_metadata(None, TIMEOUT)?;
            Ok(metadata
                .topics()
                .iter()
                .map(|topic| (topic.name().to_owned(), topic.partitions().len()))
                .collect())
        })
        .await;
        let unreachable = |source| TopicError::Unreachable {
            bootstrap_servers: self.config.bootstrap_servers.clone(),
            source,
        };
        listed.unwrap_or(Err(KafkaError::Canceled)).map_err(unreachable)
    }

    fn client(&self) -> Result<AdminClient<LoggingContext>, TopicError> {
        AdminClient::from_config_and_context(&self.config.admin(), LoggingContext).map_err(|source| {
            TopicError::Unreachable {
                bootstrap_servers: self.config.bootstrap_servers.clone(),
                source,
            }
        })
    }

    async fn create(&self, missing: &[&TopicSpec]) -> Result<(), TopicError> {
        let client = self.client()?;
        let names: Vec<String> = missing.iter().map(|spec| self.config.topic(spec.name)).collect();
        let topics: Vec<NewTopic<'_>> = missing
            .iter()
            .zip(&names)
            .map(|(spec, name)| {
                let replication = TopicReplication::Fixed(self.config.replication_factor);
                spec.settings.iter().fold(
                    NewTopic::new(name, spec.partitions, replication),
                    |topic, (key, value)| topic.set(key, value),
                )
            })
            .collect();
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        let results = client
            .create_topics(&topics, &options)
            .await
            .map_err(|source| TopicError::Unreachable {
                bootstrap_servers: self.config.bootstrap_servers.clone(),
                source,
            })?;
        for result in results {
            match result {
                // Another replica was quicker.
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => {
                    return Err(TopicError::Create {
                        topic,
                        reason: format!("{code}; check the rights of this user and kafka.replicationFactor"),
                    });
                }
            }
        }
        Ok(())
    }

    /// A created topic reaches the other brokers' metadata a little later.
    async fn await_visible(&self) -> Result<(), TopicError> {
        for _ in 0..50 {
            let existing = self.existing().await?;
            if self.specs.iter().all(|spec| {
                existing
                    .get(&self.config.topic(spec.name))
                    .is_some_and(|count| *count > 0)
            }) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    async fn wrong_settings(&self, spec: &TopicSpec, topic: String) -> Vec<TopicError> {
        let Some((_, expected)) = spec.settings.iter().find(|(key, _)| *key == "cleanup.policy") else {
            return Vec::new();
        };
        let client = match self.client() {
            Ok(client) => client,
            Err(error) => return vec![error],
        };
        let described = client
            .describe_configs([&ResourceSpecifier::Topic(&topic)], &AdminOptions::new())
            .await;
        let described = match described {
            Ok(resources) => resources
                .into_iter()
                .next()
                .unwrap_or(Err(RDKafkaErrorCode::UnknownTopic)),
            Err(error) => {
                return vec![TopicError::Describe {
                    topic,
                    reason: error.to_string(),
                }];
            }
        };
        match described {
            Err(code) => vec![TopicError::Describe {
                topic,
                reason: code.to_string(),
            }],
            Ok(resource) => match resource.get("cleanup.policy").and_then(|entry| entry.value.clone()) {
                Some(found) if found != *expected => {
                    vec![TopicError::Setting {
                        topic,
                        setting: "cleanup.policy",
                        found,
                        expected,
                    }]
                }
                _ => Vec::new(),
            },
        }
    }
}
