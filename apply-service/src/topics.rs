//! The topics that this service reads and writes, with the settings that its records rely on.

use usher_contract::TargetName;
use usher_runtime::kafka::{self, KafkaConfig, TopicSpec, Topics, partition_of};

/// Full state of every person, written by ingest-service.
pub const USER_CHANGE: &str = kafka::USER_CHANGE.name;
/// The targets' own records; its partitions are shared out by the consumer group.
pub const TARGET: &str = "provisioning.target";
/// What each target holds for each person, on the partition of the target.
pub const LINK: &str = "provisioning.link";
/// What was done.
pub const OUTCOME: &str = "provisioning.outcome";
/// What was refused.
pub const DEAD_LETTER: &str = "provisioning.dead-letter";

/// What operators ask of targets, on the partition of the target.
pub const COMMAND: &str = "provisioning.command";

/// Fixed for ever: another count would put a target's records elsewhere.
pub const TARGET_PARTITIONS: i32 = 48;

/// Partitions of the outcomes.
pub(crate) const OUTCOME_PARTITIONS: i32 = 12;

const STATE: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.bytes", "67108864"),
    ("segment.ms", "3600000"),
    ("min.cleanable.dirty.ratio", "0.1"),
];

/// What each topic must be.
#[must_use]
pub fn specs() -> Vec<TopicSpec> {
    vec![
        kafka::USER_CHANGE,
        TopicSpec {
            name: TARGET,
            partitions: TARGET_PARTITIONS,
            settings: STATE,
        },
        TopicSpec {
            name: LINK,
            partitions: TARGET_PARTITIONS,
            settings: STATE,
        },
        TopicSpec {
            name: OUTCOME,
            partitions: OUTCOME_PARTITIONS,
            settings: &[("cleanup.policy", "delete"), ("retention.ms", "7776000000")],
        },
        TopicSpec {
            name: DEAD_LETTER,
            partitions: 12,
            settings: &[("cleanup.policy", "delete"), ("retention.ms", "2592000000")],
        },
        TopicSpec {
            name: COMMAND,
            partitions: TARGET_PARTITIONS,
            settings: &[("cleanup.policy", "delete"), ("retention.ms", "2592000000")],
        },
    ]
}

/// All of them for an installation.
#[must_use]
pub fn all(kafka: &KafkaConfig) -> Topics {
    Topics::new(kafka, specs())
}

/// The partition of a target, on [`TARGET`], on [`LINK`] and on [`COMMAND`].
#[must_use]
pub fn partition_of_target(target: &TargetName) -> i32 {
    partition_of(target.as_str().as_bytes(), TARGET_PARTITIONS)
}
