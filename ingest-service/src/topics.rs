//! The topics that ingest-service writes.

use usher_runtime::kafka::{KafkaConfig, TopicSpec, Topics};

/// Full state per person.
pub const USER_CHANGE: &str = "user-change";
/// The writer's bookkeeping.
pub const CHECKPOINT: &str = "user-change.checkpoint";
/// Events that could not be decoded.
pub const DEAD_LETTER: &str = "user-change.dead-letter";

/// Partitions of the user-change topic, fixed: a key that changed its partition would leave a stale record for ever.
pub const USER_CHANGE_PARTITIONS: i32 = 12;

/// What the topics must be.
#[must_use]
pub fn topics(config: &KafkaConfig) -> Topics {
    let specs = vec![
        TopicSpec {
            name: USER_CHANGE,
            partitions: USER_CHANGE_PARTITIONS,
            settings: &[
                ("cleanup.policy", "compact"),
                // Subscribers that are a day behind still see every version.
                ("min.compaction.lag.ms", "86400000"),
                ("max.compaction.lag.ms", "604800000"),
                // An erased person's tombstone stays a week, so that slow subscribers see it.
                ("delete.retention.ms", "604800000"),
                ("segment.ms", "86400000"),
            ],
        },
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
