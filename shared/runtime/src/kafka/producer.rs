//! Single records outside transactions: what a person asks for, one at a time.
//!
//! Nothing that must agree with something else is written this way; see [`super::TransactionalProducer`] for that.

use std::sync::{Arc, OnceLock};

use rdkafka::{
    error::KafkaError,
    producer::{FutureProducer, FutureRecord},
    util::Timeout,
};
use thiserror::Error;

use super::{KafkaConfig, OutRecord, context::LoggingContext};

/// A record was not written.
#[derive(Debug, Error)]
#[error("cannot write to {topic}")]
pub struct ProduceError {
    topic: String,
    #[source]
    source: KafkaError,
}

/// Writes single records. The client is made at the first one. Cheap to clone.
#[derive(Clone)]
pub struct Producer {
    config: KafkaConfig,
    client_id: &'static str,
    client: Arc<OnceLock<FutureProducer<LoggingContext>>>,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer")
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

impl Producer {
    /// With the configured broker.
    #[must_use]
    pub fn new(config: &KafkaConfig, client_id: &'static str) -> Self {
        Self {
            config: config.clone(),
            client_id,
            client: Arc::default(),
        }
    }

    /// Writes one record and waits for its acknowledgement, at most ten seconds.
    ///
    /// # Errors
    /// [`ProduceError`]; whether the record was written is not known then.
    pub async fn send(&self, record: &OutRecord) -> Result<(), ProduceError> {
        let failed = |source| ProduceError {
            topic: record.topic.clone(),
            source,
        };
        let client = match self.client.get() {
            Some(client) => client,
            None => {
                let config = self.config.single(self.client_id);
                let made = config.create_with_context(LoggingContext).map_err(failed)?;
                // Whoever was quicker has made the same.
                self.client.get_or_init(|| made)
            }
        };
        let mut out: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&record.topic)
            .key(record.key.as_slice())
            .headers(record.rdkafka_headers());
        out.payload = record.value.as_deref();
        out.partition = record.partition;
        // Time-outs are the client's own: `message.timeout.ms`.
        client
            .send(out, Timeout::Never)
            .await
            .map(|_| ())
            .map_err(|(error, _)| failed(error))
    }
}
