//! Kafka: everything that touches the client library. Its types do not leave this module.
//!
//! Facts about librdkafka that the code relies on are said where it relies on them.

pub mod config;
pub mod context;
mod leader;
pub mod membership;
pub mod partition;
pub mod producer;
pub mod reader;
pub mod topics;
pub mod transaction;
pub mod window;

pub use config::{KafkaConfig, TopicMode};
pub use membership::{Membership, MembershipEvent, ReleaseGuard};
pub use partition::partition_of;
pub use producer::{ProduceError, Producer};
pub use reader::{Partitions, ReadFrom, Record, RecordRef, TopicInput, TopicReader};
pub use topics::{TopicError, TopicSpec, Topics, USER_CHANGE};
pub use transaction::{CommitError, FenceError, OutRecord, TransactionBatch, TransactionalProducer};
pub use window::{Window, end_of, read_window};
