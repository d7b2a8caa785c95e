//! A transactional producer: fence, then one batch after the other, each all or nothing.
//!
//! Guarantees:
//! * [`TransactionalProducer::fence`] returns after every earlier producer with the same transactional id can no
//!   longer commit and its open transaction is settled.
//! * **Invariant** (checkpoint): the bookkeeping records of a batch are sent only after every change of the batch was
//!   acknowledged, and both become visible together or not at all.
//! * After [`CommitError::Unknown`] or [`CommitError::Fenced`] the producer is of no further use: drop it, fence
//!   again with a new one, and read the topics to their end to learn what was committed.
//!
//! The client blocks in `init`, `commit` and `abort`, so it lives on a thread of its own.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Message,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
};
use thiserror::Error;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::{KafkaConfig, context};
use crate::clock;

/// Settling a predecessor's transaction takes at most its timeout (15 s) and a little.
const INIT_TIMEOUT: Duration = Duration::from_secs(30);
/// After this the broker aborts a transaction of its own accord.
pub(super) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);
/// Below [`TRANSACTION_TIMEOUT`]: a batch that takes longer would be aborted by the broker anyway.
const BATCH_TIMEOUT: Duration = Duration::from_secs(12);

/// A record to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutRecord {
    /// Full name.
    pub topic: String,
    /// Key.
    pub key: Vec<u8>,
    /// Value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(&'static str, String)>,
    /// Fixed partition; `None` for that of the key.
    pub partition: Option<i32>,
}

impl OutRecord {
    /// The headers as the client takes them.
    pub(super) fn rdkafka_headers(&self) -> OwnedHeaders {
        self.headers.iter().fold(
            OwnedHeaders::new_with_capacity(self.headers.len()),
            |headers, (key, value)| {
                headers.insert(Header {
                    key,
                    value: Some(value),
                })
            },
        )
    }
}

/// What one transaction writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransactionBatch {
    /// Sent first.
    pub changes: Vec<OutRecord>,
    /// Sent after every change was acknowledged.
    pub bookkeeping: Vec<OutRecord>,
}

impl TransactionBatch {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.bookkeeping.is_empty()
    }
}

/// A producer could not take over its transactional id.
#[derive(Debug, Error)]
#[error("cannot take over transactional id {transactional_id}")]
pub struct FenceError {
    transactional_id: String,
    /// Whether trying again may help.
    pub retriable: bool,
    #[source]
    source: KafkaError,
}

/// How a batch failed.
#[derive(Debug, Error)]
pub enum CommitError {
    /// Nothing of the batch is visible; the producer can go on.
    #[error("the transaction was aborted: {0}")]
    Aborted(String),
    /// A newer producer has the transactional id: stop.
    #[error("another process has taken over")]
    Fenced,
    /// Nobody knows whether the batch is visible.
    #[error("the result of the transaction is unknown: {0}")]
    Unknown(String),
}

type Job = (TransactionBatch, oneshot::Sender<Result<(), CommitError>>);

/// One producer with one transactional id.
#[derive(Debug)]
pub struct TransactionalProducer {
    jobs: mpsc::Sender<Job>,
}

impl TransactionalProducer {
    /// Takes over the transactional id.
    ///
    /// # Errors
    /// [`FenceError`].
    pub async fn fence(config: &KafkaConfig, transactional_id: &str) -> Result<Self, FenceError> {
        let failed = |source: KafkaError| FenceError {
            transactional_id: transactional_id.to_owned(),
            retriable: !matches!(&source, KafkaError::Transaction(error) if error.is_fatal()),
            source,
        };
        let client = config.producer(transactional_id);
        let (jobs, jobs_in) = mpsc::channel();
        let (ready, is_ready) = oneshot::channel();
        // The client blocks in init, commit and abort.
        let started = thread::Builder::new()
            .name(format!("produce {transactional_id}"))
            .spawn(move || {
                let delivery = Delivery::default();
                let producer = client.create_with_context::<_, Client>(delivery.clone());
                let producer =
                    producer.and_then(|producer| producer.init_transactions(INIT_TIMEOUT).map(|()| producer));
                let (producer, result) = match producer {
                    Ok(producer) => (Some(producer), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                if ready.send(result).is_ok()
                    && let Some(producer) = producer
                {
                    work(&producer, &delivery, &jobs_in);
                }
            });
        started.map_err(|error| failed(KafkaError::ClientCreation(error.to_string())))?;
        is_ready.await.unwrap_or(Err(KafkaError::Canceled)).map_err(failed)?;
        Ok(Self { jobs })
    }

    /// Writes one batch. Batches are written in the order of the calls.
    ///
    /// # Errors
    /// [`CommitError`]; see its variants for what to do.
    pub async fn commit(&self, batch: TransactionBatch) -> Result<(), CommitError> {
        self.commit_later(batch).await
    }

    /// As [`Self::commit`]; the batch is on its way when this returns, the future waits for its result.
    pub fn commit_later(
        &self,
        batch: TransactionBatch,
    ) -> impl Future<Output = Result<(), CommitError>> + Send + 'static {
        let (done, is_done) = oneshot::channel();
        let gone = || CommitError::Unknown("the producer has ended".to_owned());
        let sent = self.jobs.send((batch, done)).is_ok();
        async move {
            if sent {
                is_done.await.unwrap_or_else(|_| Err(gone()))
            } else {
                Err(gone())
            }
        }
    }
}

/// Its own thread serves acknowledgements as they come: waiting for them with `poll` of the other kind takes a whole core,
/// because less than a millisecond is no time to it (measured).
type Client = ThreadedProducer<Delivery>;

/// The acknowledgements of the running transaction.
#[derive(Debug, Clone, Default)]
struct Delivery(Arc<(Mutex<Acknowledgements>, Condvar)>);

#[derive(Debug, Default)]
struct Acknowledgements {
    /// Records sent and not acknowledged yet.
    awaited: usize,
    /// Why records were not written.
    failures: Vec<String>,
}

impl Delivery {
    fn lock(&self) -> MutexGuard<'_, Acknowledgements> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// A new transaction: nothing is awaited. Committing and aborting return after every acknowledgement was served.
    fn begin(&self) {
        *self.lock() = Acknowledgements::default();
    }
    fn sent(&self) {
        self.lock().awaited += 1;
    }
    fn ended(&self, failure: Option<String>) {
        let mut acknowledgements = self.lock();
        acknowledgements.awaited = acknowledgements.awaited.saturating_sub(1);
        acknowledgements.failures.extend(failure);
        if acknowledgements.awaited == 0 {
            self.0.1.notify_all();
        }
    }
    /// Waits until nothing is awaited.
    fn all(&self, deadline: Instant) -> Result<(), String> {
        let left = deadline.saturating_duration_since(clock::monotonic());
        let waited = self.0.1.wait_timeout_while(self.lock(), left, |now| now.awaited > 0);
        let (acknowledgements, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match acknowledgements.failures.first() {
            Some(failure) => Err(failure.clone()),
            None if acknowledgements.awaited > 0 => Err("not every record was acknowledged in time".to_owned()),
            None => Ok(()),
        }
    }
}
impl ClientContext for Delivery {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        context::log(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        info!(target: "kafka", %error, "{reason}");
    }
}
impl ProducerContext for Delivery {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let failure = |(error, message): &(KafkaError, _)| format!("{}: {error}", Message::topic(message));
        self.ended(result.as_ref().err().map(failure));
    }
}

fn work(producer: &Client, delivery: &Delivery, jobs: &mpsc::Receiver<Job>) {
    while let Ok((batch, done)) = jobs.recv() {
        let result = write(producer, delivery, &batch);
        let usable = matches!(result, Ok(()) | Err(CommitError::Aborted(_)));
        let _ = done.send(result);
        if !usable {
            return;
        }
    }
}

fn write(producer: &Client, delivery: &Delivery, batch: &TransactionBatch) -> Result<(), CommitError> {
    if batch.is_empty() {
        return Ok(());
    }
    let begun = clock::monotonic();
    let deadline = begun + BATCH_TIMEOUT;
    delivery.begin();
    producer
        .begin_transaction()
        .map_err(|error| fatal_or_unknown(producer, begun, &error))?;
    let sent = send_all(producer, delivery, &batch.changes, deadline)
        .and_then(|()| send_all(producer, delivery, &batch.bookkeeping, deadline));
    match sent {
        Ok(()) => commit(producer, begun, deadline),
        Err(reason) => abort(producer, begun, reason),
    }
}

/// Sends and waits for every acknowledgement.
fn send_all(producer: &Client, delivery: &Delivery, records: &[OutRecord], deadline: Instant) -> Result<(), String> {
    for record in records {
        delivery.sent();
        if let Err(reason) = send(producer, record, deadline) {
            delivery.ended(None);
            return Err(reason);
        }
    }
    delivery.all(deadline)?;
    // The last acknowledgement has been told and still counts for a moment. Committing in that moment would wait for it in
    // slices of 100 ms (measured: one transaction in ten).
    while producer.in_flight_count() > 0 && clock::monotonic() < deadline {
        thread::yield_now();
    }
    Ok(())
}

fn send(producer: &Client, record: &OutRecord, deadline: Instant) -> Result<(), String> {
    let mut out: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&record.topic)
        .key(record.key.as_slice())
        .headers(record.rdkafka_headers());
    out.payload = record.value.as_deref();
    out.partition = record.partition;
    loop {
        match producer.send(out) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again))
                if clock::monotonic() < deadline =>
            {
                // Room comes with acknowledgements.
                thread::park_timeout(Duration::from_millis(1));
                out = again;
            }
            Err((error, _)) => return Err(format!("{}: {error}", record.topic)),
        }
    }
}

fn commit(producer: &Client, begun: Instant, deadline: Instant) -> Result<(), CommitError> {
    loop {
        match producer.commit_transaction(left(deadline)) {
            Ok(()) => return Ok(()),
            Err(KafkaError::Transaction(error)) if error.is_retriable() && clock::monotonic() < deadline => {
                warn!(%error, "committing again");
            }
            Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
                return abort(producer, begun, error.to_string());
            }
            Err(error) => return Err(fatal_or_unknown(producer, begun, &error)),
        }
    }
}

fn abort(producer: &Client, begun: Instant, reason: String) -> Result<(), CommitError> {
    match producer.abort_transaction(BATCH_TIMEOUT) {
        Ok(()) => Err(CommitError::Aborted(reason)),
        Err(error) => Err(fatal_or_unknown(producer, begun, &error)),
    }
}

/// What an error says that ends the use of the producer. The broker aborts a transaction that has grown too old, and says
/// then what it says to a producer that has a successor: only of a younger one is it certain that there is one.
fn fatal_or_unknown(producer: &Client, begun: Instant, error: &KafkaError) -> CommitError {
    let codes = [
        error.rdkafka_error_code(),
        producer.client().fatal_error().map(|(code, _)| code),
    ];
    let fenced = [
        RDKafkaErrorCode::Fenced,
        RDKafkaErrorCode::ProducerFenced,
        RDKafkaErrorCode::InvalidProducerEpoch,
    ];
    let young = clock::monotonic().duration_since(begun) < TRANSACTION_TIMEOUT;
    if codes.iter().flatten().any(|code| fenced.contains(code)) && young {
        CommitError::Fenced
    } else {
        CommitError::Unknown(error.to_string())
    }
}

fn left(deadline: Instant) -> Duration {
    deadline
        .saturating_duration_since(clock::monotonic())
        .max(Duration::from_millis(1))
}
