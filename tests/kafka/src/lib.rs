//! Real servers for tests: Apache Kafka, third-party SCIM servers, and the processes under test.
//!
//! Tests about transactions, fencing, compaction or restarts need a broker that really does these things; the client's
//! embedded mock broker does not. This crate fetches an unmodified Apache Kafka once, starts it on free ports, and makes
//! sure that nothing is left running, also when a test panics or is killed. Benches find here what they compare with ([`raw`])
//! and how they measure ([`figures`]).
//!
//! Left out on purpose: anything about Usher's own topics or messages. A helper that panics does so because its caller is a
//! test, and says what to do next.

mod broker;
mod cache;
mod contract_consumer;
mod distribution;
pub mod figures;
mod file_servers;
mod groups;
mod machine;
mod node_packages;
mod notice_receiver;
mod output;
mod ports;
mod process;
pub mod raw;
mod records;
mod scim2_server;
mod scim_sdk;
mod scimmy;
mod venv;
mod watcher;

pub use broker::{ExternalCluster, Kafka};
pub use cache::{cache_dir, repository_root};
pub use contract_consumer::{ConsumerReport, ContractConsumer};
pub use distribution::KAFKA_VERSION;
pub use file_servers::{AzureServer, S3Server, WebDavServer};
pub use machine::{built_binary, node_is_at_least};
pub use notice_receiver::{NoticeOptions, NoticeReceiver};
pub use output::Output;
pub use process::{Process, ProcessSpec};
pub use records::Record;
pub use scim_sdk::ScimSdk;
pub use scim2_server::{Scim2Options, Scim2Server};
pub use scimmy::{Express, Scimmy};
pub use venv::VirtualEnv;
