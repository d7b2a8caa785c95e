//! Patience with a partition whose leader is being chosen: its topic is new, or a broker has gone. That is over in a moment,
//! and is no reason to tell anybody that Kafka cannot be reached.

use std::time::Duration;

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

/// So often is asked, and so far apart: longer than a leader is usually chosen in, shorter than somebody waits.
const TRIES: u32 = 25;
const PAUSE: Duration = Duration::from_millis(200);

/// Asks on a thread that may block, and asks again as long as a leader is being chosen.
pub(super) async fn with_leader<T: Send + 'static>(
    ask: impl Fn() -> KafkaResult<T> + Clone + Send + 'static,
) -> KafkaResult<T> {
    let mut tries = 0;
    loop {
        tries += 1;
        let answer = tokio::task::spawn_blocking(ask.clone()).await;
        match answer.unwrap_or(Err(KafkaError::Canceled)) {
            Err(error) if tries < TRIES && is_choosing(&error) => tokio::time::sleep(PAUSE).await,
            answer => return answer,
        }
    }
}

fn is_choosing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::NotLeaderForPartition | RDKafkaErrorCode::LeaderNotAvailable)
    )
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;

    /// Fails so often with this, then answers; gives the answer and how often was asked.
    async fn asked(failures: u32, code: RDKafkaErrorCode) -> (KafkaResult<u32>, u32) {
        let count = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&count);
        let answer = with_leader(move || match counted.fetch_add(1, Ordering::SeqCst) {
            asked if asked < failures => Err(KafkaError::MetadataFetch(code)),
            _ => Ok(7),
        })
        .await;
        (answer, count.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn a_leader_that_is_being_chosen_is_waited_for_and_nothing_else_is() {
        for code in [
            RDKafkaErrorCode::NotLeaderForPartition,
            RDKafkaErrorCode::LeaderNotAvailable,
        ] {
            let (answer, asked) = asked(2, code).await;
            assert_eq!((answer.unwrap(), asked), (7, 3));
        }
        let (answer, asked) = asked(1, RDKafkaErrorCode::TopicAuthorizationFailed).await;
        assert!(answer.is_err());
        assert_eq!(asked, 1, "what will not change is said at once");
    }
}
