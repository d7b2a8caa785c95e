//! The topics that ingest-service writes.

use usher_runtime::kafka::{self, KafkaConfig, TopicSpec, Topics};

/// Full state per person.
pub const USER_CHANGE: &str = kafka::USER_CHANGE.name;
/// The writer's bookkeeping.
pub const CHECKPOINT: &str = "user-change.checkpoint";
/// Events that could not be decoded.
pub const DEAD_LETTER: &str = "user-change.dead-letter";

/// Partitions of the user-change topic, fixed: a key that changed its partition would leave a stale record for ever.
pub const USER_CHANGE_PARTITIONS: i32 = kafka::USER_CHANGE.partitions;

/// What the topics must be.
#[must_use]
pub fn topics(config: &KafkaConfig) -> Topics {
    let specs = vec![
        kafka::USER_CHANGE,
        TopicSpec {
            name: CHECKPOINT,
            partitions: 1,
            // Read whole at every take-over: small segments and early compaction keep it short.
            settings: &[
                ("cleanup.policy", "compact"),
                ("segment.bytes", "67108864"),
                ("segment.ms", "3600000"),
                ("min.cleanable.dirty.ratio", "0.1"),
            ],
        },
        TopicSpec {
            name: DEAD_LETTER,
            partitions: 1,
            settings: &[("cleanup.policy", "delete"), ("retention.ms", "2592000000")],
        },
    ];
    Topics::new(config, specs)
}
