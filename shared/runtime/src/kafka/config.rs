//! Every client setting by name, in one place, with its reason.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize, Serializer};

use super::transaction::TRANSACTION_TIMEOUT;

/// The broker and how to talk to it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KafkaConfig {
    /// `host:port`, comma separated.
    pub bootstrap_servers: String,
    /// Put before every topic, group and transactional id, so that several installations share a cluster.
    pub prefix: String,
    /// Who makes the topics.
    pub topics: TopicMode,
    /// Replication factor of topics that we make.
    pub replication_factor: i32,
    /// Further client properties (`security.protocol`, `sasl.*`, `ssl.*`), as librdkafka names them. Shown without values
    /// that may be secret.
    #[serde(serialize_with = "without_secrets")]
    pub properties: BTreeMap<String, String>,
}

/// Names are shown, values of properties that may be secret are not.
fn without_secrets<S: Serializer>(properties: &BTreeMap<String, String>, s: S) -> Result<S::Ok, S::Error> {
    let secret = |name: &str| {
        ["password", "secret", "key", "token", "jaas"]
            .iter()
            .any(|word| name.contains(word))
    };
    s.collect_map(
        properties
            .iter()
            .map(|(name, value)| (name, if secret(name) { "[secret]" } else { value.as_str() })),
    )
}

/// Who makes the topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TopicMode {
    /// Missing ones are made, wrong settings refused.
    Manage,
    /// Taken as they are.
    Trust,
}

impl std::fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl KafkaConfig {
    /// A topic's full name.
    #[must_use]
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn base(&self, client_id: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("client.id", client_id)
            // A broker that restarts is found again within a second, not within ten.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            // Idle connections closed by the broker are normal and reconnect by themselves.
            .set("log.connection.close", "false");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }

    /// For administration calls.
    #[must_use]
    pub(crate) fn admin(&self) -> ClientConfig {
        self.base("usher-admin")
    }

    /// For reading whole topics: by assignment, without a group.
    #[must_use]
    pub(crate) fn reader(&self, name: &str) -> ClientConfig {
        let mut config = self.base(name);
        config
            // A consumer without a group still has to name one; nothing is ever committed under it.
            .set("group.id", format!("{}reader", self.prefix))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // Aborted records never become state.
            .set("isolation.level", "read_committed")
            // The end of a partition is announced, not computed: control records take offsets.
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            // Per partition; 64 MB (the default) times 48 partitions would not fit.
            .set("queued.max.messages.kbytes", "8192")
            // The default of one second stalls a restore whenever the small queue above was full.
            .set("fetch.queue.backoff.ms", "5")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.message.max.bytes", "4194304");
        config
    }

    /// For the consumer group that shares out partitions; its messages are never read.
    #[must_use]
    pub(crate) fn member(&self, group: &str, client_id: &str) -> ClientConfig {
        let mut config = self.base(client_id);
        config
            .set("group.id", group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            // Take-over within 15 s: 6 s until the group notices, the rest for fencing and catching up.
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "2000")
            .set("max.poll.interval.ms", "30000")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "latest")
            .set("topic.metadata.refresh.interval.ms", "5000");
        config
    }

    /// For single records outside transactions.
    #[must_use]
    pub(crate) fn single(&self, client_id: &str) -> ClientConfig {
        let mut config = self.base(client_id);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random")
            // Somebody waits for it: better a clear error than a record that comes minutes later.
            .set("message.timeout.ms", "10000")
            .set("linger.ms", "0");
        config
    }

    /// For a transactional producer.
    #[must_use]
    pub(crate) fn producer(&self, transactional_id: &str) -> ClientConfig {
        let mut config = self.base(transactional_id);
        config
            .set("transactional.id", transactional_id)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // What Java clients use; librdkafka's default is CRC32 and would put keys elsewhere.
            .set("partitioner", "murmur2_random")
            // A transaction left open by a dead process blocks readers for at most this long.
            .set("transaction.timeout.ms", TRANSACTION_TIMEOUT.as_millis().to_string())
            .set("message.timeout.ms", "10000")
            // Without it a batch leaves in many small requests, and the broker works longer than the millisecond (measured).
            .set("linger.ms", "1")
            .set("compression.type", "lz4")
            .set("queue.buffering.max.messages", "200000")
            .set("message.max.bytes", "4194304");
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_properties_are_not_shown() {
        let properties = [("sasl.password", "s3cret"), ("security.protocol", "SASL_SSL")];
        let config = KafkaConfig {
            bootstrap_servers: String::new(),
            prefix: String::new(),
            topics: TopicMode::Trust,
            replication_factor: 3,
            properties: properties
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        let shown = serde_json::to_string(&config).unwrap();
        assert!(
            !shown.contains("s3cret") && shown.contains("sasl.password") && shown.contains("SASL_SSL"),
            "{shown}"
        );
    }
}
