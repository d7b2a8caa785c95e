//! What the client library logs, as our log lines.

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};
use tracing::{debug, info, warn};

/// Sends the client's log lines and errors to `tracing`.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoggingContext;

pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        // One line per partition whenever a broker comes back; it says nothing that the errors do not.
        _ if facility == "METADATAUPDATE" => debug!(target: "kafka", facility, "{message}"),
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            // The client repairs most of these itself; what it cannot reaches the caller as an error.
            warn!(target: "kafka", facility, "{message}");
        }
        RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => info!(target: "kafka", facility, "{message}"),
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => debug!(target: "kafka", facility, "{message}"),
    }
}

impl ClientContext for LoggingContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition is announced as an error and is none.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            info!(target: "kafka", %error, "{reason}");
        }
    }
}
impl ConsumerContext for LoggingContext {}
