//! One subscription: credit, delivery, keepalives, and the ways in which it ends (vendor documentation).
//!
//! **Invariant**: an event is delivered only against credit, in replay order, and `pending_num_requested` in the answer is
//! what is still owed after it. Leaves out which events exist: `event/log.rs`.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use super::{
    admission::{self, Admitted, SharedOrg, Topic},
    proto::{ConsumerEvent, FetchRequest, FetchResponse, ProducerEvent, ReplayPreset},
    status::{self, invalid, status},
};

/// Most events that may be owed on a stream; a larger request is clamped.
const PENDING_MAX: i32 = 100;
/// About the vendor's largest answer.
const BATCH_BYTES_MAX: usize = 3 * 1024 * 1024;

/// How long the last word of a stream may take when the server goes away.
const LAST_WORDS: Duration = Duration::from_millis(200);

pub(crate) struct Subscription {
    org: SharedOrg,
    admitted: Admitted,
    answers: mpsc::Sender<Result<FetchResponse, Status>>,
    wake: watch::Receiver<u64>,
    disconnects: u64,
    rewinds: u64,
}

/// What the first request fixes, and how far the stream is.
struct Position {
    topic: String,
    place: u64,
    start: u64,
    pending: i32,
    /// Events committed before then are missed; 0 for none.
    blind_until_ms: i64,
}

/// Why the stream ends without an error.
enum End {
    Closed,
    Error(Status),
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        Self::Error(status)
    }
}

impl Subscription {
    pub(crate) fn new(
        org: SharedOrg,
        admitted: Admitted,
        answers: mpsc::Sender<Result<FetchResponse, Status>>,
    ) -> Self {
        let wake = org.watch();
        let (disconnects, rewinds) = {
            let faults = org.faults.values();
            (faults.disconnects, faults.rewind.0)
        };
        Self {
            org,
            admitted,
            answers,
            wake,
            disconnects,
            rewinds,
        }
    }

    pub(crate) async fn run(mut self, mut requests: Streaming<FetchRequest>, stop: CancellationToken) {
        let ended = tokio::select! {
            ended = self.serve(&mut requests) => ended,
            () = stop.cancelled() => Err(End::Error(Status::unavailable("the server is going away"))),
        };
        if let Err(End::Error(status)) = ended {
            // A reader that takes nothing is waited for, but not at the end of everything.
            tokio::select! {
                _ = self.answers.send(Err(status)) => {}
                () = async { stop.cancelled().await; tokio::time::sleep(LAST_WORDS).await } => {}
            }
        }
    }

    async fn serve(&mut self, requests: &mut Streaming<FetchRequest>) -> Result<(), End> {
        let first = tokio::select! {
            request = requests.message() => request?.ok_or(End::Closed)?,
            () = tokio::time::sleep(self.org.config.idle_close) => return Err(End::Closed),
        };
        let mut position = self.open(&first)?;
        let _counted = Counted::new(&self.org);
        let mut asking = true;
        let mut quiet_since = Instant::now();
        loop {
            self.wake.borrow_and_update();
            self.check(&mut position)?;
            let silent = self.org.faults.values().silent;
            if position.pending > 0 && !silent && self.deliver(&mut position).await? {
                quiet_since = Instant::now();
                continue;
            }
            let wait = if position.pending > 0 {
                self.org.config.keepalive
            } else {
                self.org.config.idle_close
            };
            tokio::select! {
                request = requests.message(), if asking => match request? {
                    Some(request) => {
                        self.more(&request, &mut position)?;
                        if position.pending == 0 {
                            continue;
                        }
                    }
                    None if position.pending == 0 => return Err(End::Closed),
                    None => asking = false,
                },
                _ = self.wake.changed() => {}
                () = sleep_until(quiet_since + wait) => {
                    if position.pending == 0 {
                        // Nothing was asked for in time: the server closes the stream.
                        return Err(End::Closed);
                    }
                    if !silent {
                        self.keepalive(&position).await?;
                    }
                    quiet_since = Instant::now();
                }
                () = self.answers.closed() => return Err(End::Closed),
            }
        }
    }

    fn open(&self, first: &FetchRequest) -> Result<Position, Status> {
        let rpc_id = &self.admitted.rpc_id;
        let topic = admission::topic(&self.org, &first.topic_name, rpc_id)?;
        let preset = ReplayPreset::try_from(first.replay_preset).map_err(|_| {
            invalid(
                "subscription.fetch.request.invalid",
                "The replay preset is unknown.",
                rpc_id,
            )
        })?;
        let now = self.org.now_ms();
        let mut log = self.org.log();
        log.purge(now);
        let place = match preset {
            ReplayPreset::Latest => log.end(),
            ReplayPreset::Earliest => log.earliest(),
            ReplayPreset::Custom => log
                .place_after(&first.replay_id)
                .map_err(|error| status::replay(error, rpc_id))?,
        };
        drop(log);
        let blind = self.org.faults.values().blind_latest.as_millis();
        let blind_until_ms = match preset {
            ReplayPreset::Latest if blind > 0 => now + i64::try_from(blind).unwrap_or(i64::MAX / 2),
            _ => 0,
        };
        let place = if topic == Topic::Silent { u64::MAX } else { place };
        let mut position = Position {
            topic: first.topic_name.clone(),
            place,
            start: place,
            pending: 0,
            blind_until_ms,
        };
        self.credit(first, &mut position)?;
        Ok(position)
    }

    fn credit(&self, request: &FetchRequest, position: &mut Position) -> Result<(), Status> {
        if request.num_requested <= 0 {
            return Err(invalid(
                "subscription.fetch.requested.events.invalid",
                "The number of requested events must be greater than 0.",
                &self.admitted.rpc_id,
            ));
        }
        if !request.auth_refresh.is_empty() {
            return Err(status(
                Code::Unauthenticated,
                "service.auth.refresh.invalid",
                "The auth_refresh field is for internal use.",
                &self.admitted.rpc_id,
            ));
        }
        position.pending = position.pending.saturating_add(request.num_requested).min(PENDING_MAX);
        Ok(())
    }

    fn more(&self, request: &FetchRequest, position: &mut Position) -> Result<(), Status> {
        let rpc_id = &self.admitted.rpc_id;
        if !request.topic_name.is_empty() && request.topic_name != position.topic {
            return Err(invalid(
                "subscription.fetch.topic.mismatch",
                "The topic name must be that of the first request.",
                rpc_id,
            ));
        }
        if request.replay_preset != ReplayPreset::Latest as i32 || !request.replay_id.is_empty() {
            return Err(invalid(
                "subscription.fetch.replay.repeated",
                "The replay preset and ID may be set in the first request only.",
                rpc_id,
            ));
        }
        self.credit(request, position)
    }

    /// Ends the stream when something has happened to it, and repeats events when that was ordered.
    fn check(&mut self, position: &mut Position) -> Result<(), Status> {
        let rpc_id = &self.admitted.rpc_id;
        admission::check_session(&self.org, &self.admitted)?;
        let silent = admission::topic(&self.org, &position.topic, rpc_id)? == Topic::Silent;
        if silent {
            position.place = u64::MAX;
        } else if position.place == u64::MAX {
            position.place = self.org.log().end();
        }
        let faults = self.org.faults.values();
        if faults.disconnects != self.disconnects {
            return Err(Status::unavailable(
                "RST_STREAM closed stream. HTTP/2 error code: NO_ERROR",
            ));
        }
        if faults.throttled {
            return Err(status(
                Code::ResourceExhausted,
                "service.protection.stream.limit.triggered",
                "The service is protecting itself. Try again later.",
                rpc_id,
            ));
        }
        let used = self.org.delivered_events.load(Ordering::Relaxed);
        if faults.allocation_exceeded || used >= self.org.config.daily_delivered_events {
            return Err(status(
                Code::ResourceExhausted,
                "subscription.limit.exceeded",
                "The org has exceeded its daily limit of delivered events.",
                rpc_id,
            ));
        }
        let (rewinds, back) = faults.rewind;
        if rewinds != self.rewinds && !silent {
            self.rewinds = rewinds;
            position.place = position
                .place
                .saturating_sub(back)
                .max(position.start.min(position.place));
        }
        Ok(())
    }

    /// Sends what there is, up to the credit. `false` when there is nothing.
    async fn deliver(&self, position: &mut Position) -> Result<bool, End> {
        if position.place == u64::MAX {
            return Ok(false);
        }
        let count = usize::try_from(position.pending).unwrap_or(0);
        let left = self.org.faults.values().events_left;
        let count = left.map_or(count, |left| count.min(usize::try_from(left).unwrap_or(count)));
        let (events, latest) = {
            let log = self.org.log();
            let bytes_max = self.org.faults.values().answer_bytes_max.unwrap_or(BATCH_BYTES_MAX);
            let (mut events, next) = log.read(position.place, count, bytes_max);
            position.place = next;
            events.retain(|event| event.committed_ms >= position.blind_until_ms);
            let Some(last) = events.last() else {
                return Ok(false);
            };
            let latest = log.id_bytes(last.replay);
            let events: Vec<ConsumerEvent> = events
                .iter()
                .map(|event| ConsumerEvent {
                    event: Some(ProducerEvent {
                        id: event.event_id.clone(),
                        schema_id: event.schema_id.to_string(),
                        payload: event.payload.to_vec(),
                        headers: Vec::new(),
                    }),
                    replay_id: log.id_bytes(event.replay),
                })
                .collect();
            (events, latest)
        };
        let sent = events.len();
        position.pending -= i32::try_from(sent).unwrap_or(position.pending);
        self.org.delivered_events.fetch_add(sent as u64, Ordering::Relaxed);
        self.send(events, latest, position.pending).await?;
        if let Some(left) = left {
            let left = left.saturating_sub(sent as u64);
            self.org.faults.values().events_left = Some(left).filter(|left| *left > 0);
            if left == 0 {
                return Err(End::Error(Status::unavailable(
                    "RST_STREAM closed stream. HTTP/2 error code: NO_ERROR",
                )));
            }
        }
        Ok(true)
    }

    async fn keepalive(&self, position: &Position) -> Result<(), End> {
        let latest = {
            let mut log = self.org.log();
            // An event that came between the last look and now must not be passed by the position.
            if position.place != u64::MAX && position.place < log.end() {
                return Ok(());
            }
            log.current_id()
        };
        self.send(Vec::new(), latest, position.pending).await
    }

    async fn send(&self, events: Vec<ConsumerEvent>, latest_replay_id: Vec<u8>, pending: i32) -> Result<(), End> {
        let answer = FetchResponse {
            events,
            latest_replay_id,
            rpc_id: self.admitted.rpc_id.clone(),
            pending_num_requested: pending,
        };
        // A reader that takes nothing holds the stream up here; it ends when the reader goes.
        self.answers.send(Ok(answer)).await.map_err(|_| End::Closed)
    }
}

/// Counts the stream as open while it lives.
struct Counted(SharedOrg);

impl Counted {
    fn new(org: &SharedOrg) -> Self {
        org.open_streams.fetch_add(1, Ordering::SeqCst);
        Self(SharedOrg::clone(org))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open_streams.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Guards against a keepalive interval of nothing, which would spin.
pub(crate) const KEEPALIVE_MIN: Duration = Duration::from_millis(10);
