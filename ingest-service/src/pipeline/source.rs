//! The stream as a task: connect, hand over, ask for more, reconnect.
//!
//! Within one leadership the stream goes on after the last event that was handed to the writer; after a failed commit
//! the whole leadership starts again from the committed position.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};
use usher_runtime::backoff::Backoff;

use super::Parts;
use crate::{
    logic::{classify::Reaction, replay::Progress, writer::Input},
    salesforce::pubsub::{PubSub, Received, Start, StreamError, Subscription},
};

const RECONNECT: Backoff = Backoff::from_millis(200, 30_000);
const BACK_OFF: Backoff = Backoff::from_millis(60_000, 3_600_000);
const OPERATOR: Backoff = Backoff::from_millis(15_000, 300_000);

/// Feeds the writer until the receiver is gone. `behind`: whether the writer has more than it can commit.
pub(super) async fn feed(
    parts: Parts,
    mut start: Start,
    inputs: mpsc::Sender<Input>,
    mut behind: watch::Receiver<bool>,
) {
    let mut failures = 0;
    loop {
        let Err(error) = stream(&parts, &mut start, &inputs, &mut behind, &mut failures).await else {
            return;
        };
        failures += 1;
        parts.metrics.stream_connected.set(0);
        parts.status.update(|status| {
            status.stream.connected = false;
            status.stream.problem = Some(error.to_string());
        });
        let wait = match error.reaction {
            Reaction::Reconnect => RECONNECT.wait(failures, rand::random()),
            Reaction::BackOff => BACK_OFF.wait(failures, rand::random()),
            Reaction::Operator => OPERATOR.wait(failures, rand::random()),
            Reaction::Reauthenticate => reauthenticate(&parts, failures).await,
            Reaction::PositionLost => {
                warn!(code = %error.code, "the stored position is lost: everyone is read again and the stream starts at its earliest event");
                start = Start::Earliest;
                if inputs.send(Input::PositionLost).await.is_err() {
                    return;
                }
                // Once is normal; an end point that refuses the earliest event too is not hammered.
                if failures <= 1 {
                    Duration::ZERO
                } else {
                    RECONNECT.wait(failures + 3, rand::random())
                }
            }
        };
        // A broken connection or two is normal operation; what stays is said by readiness.
        if failures >= 3 || error.reaction == Reaction::Operator {
            parts.readiness.unmet("stream", error.to_string());
        }
        warn!(code = %error.code, reason = %error, wait_ms = wait.as_millis(), failures, "the stream is opened again");
        // A first start that was interrupted before it knew its position must not skip what came in between.
        if start == Start::Latest {
            start = Start::Earliest;
        }
        tokio::time::sleep(wait).await;
    }
}

async fn reauthenticate(parts: &Parts, failures: u32) -> Duration {
    let tokens = parts.rest.tokens();
    if let Ok(token) = tokens.token().await
        && let Err(error) = tokens.renew(&token).await
    {
        parts
            .status
            .update(|status| status.stream.problem = Some(error.to_string()));
    }
    // The first new token is tried at once, a refused one not in a loop.
    if failures <= 1 {
        Duration::ZERO
    } else {
        RECONNECT.wait(failures + 3, rand::random())
    }
}

async fn connect(parts: &Parts, start: &Start) -> Result<Subscription, StreamError> {
    let token = parts.rest.tokens().token().await.map_err(|error| StreamError {
        reaction: if error.is_transient() {
            Reaction::Reconnect
        } else {
            Reaction::Operator
        },
        advice: error.to_string(),
        code: "login".to_owned(),
    })?;
    let pubsub: &PubSub = &parts.pubsub;
    pubsub.subscribe(&token, start).await
}

/// One connection. `Ok` when the writer is gone.
async fn stream(
    parts: &Parts,
    start: &mut Start,
    inputs: &mpsc::Sender<Input>,
    behind: &mut watch::Receiver<bool>,
    failures: &mut u32,
) -> Result<(), StreamError> {
    let mut subscription = connect(parts, start).await?;
    info!(start = ?StartName(start), "the stream is open");
    parts.metrics.stream_connected.set(1);
    parts.readiness.met("stream");
    parts.status.update(|status| {
        status.stream.connected = true;
        status.stream.problem = None;
    });
    // Siblings that share a replay id may be split over two answers: the stream goes on after the last id that no sibling
    // can follow, as the writer stores it.
    let mut progress = Progress::of_channel(&parts.config.pubsub.channel);
    loop {
        let (input, position) = match subscription.next().await? {
            Received::Events(events) => {
                let ids = events.iter().map(|event| event.replay_id.as_str());
                let position = ids.filter_map(|id| progress.event(id)).last();
                (Input::Events(events), position)
            }
            Received::Keepalive(position) => {
                let position = position.map(|position| progress.keepalive(&position));
                (position.clone().map_or(Input::Tick, Input::Keepalive), position)
            }
        };
        *failures = 0;
        let room = loop {
            tokio::select! {
                room = inputs.reserve() => break room,
                () = tokio::time::sleep_until(subscription.renew_by()) => subscription.ask_for_one()?,
            }
        };
        let Ok(room) = room else { return Ok(()) };
        room.send(input);
        if let Some(position) = position {
            *start = Start::After(position);
        }
        // Backpressure is asking for nothing more, within the time that Salesforce allows.
        while *behind.borrow_and_update() && subscription.is_owed_nothing() {
            tokio::select! {
                changed = behind.changed() => if changed.is_err() { return Ok(()) },
                () = tokio::time::sleep_until(subscription.renew_by()) => subscription.ask_for_one()?,
            }
        }
        let keeping_up = !*behind.borrow();
        subscription.ask(keeping_up).await?;
    }
}

/// Positions are opaque and long: only the way of starting is worth a log line.
struct StartName<'a>(&'a Start);
impl std::fmt::Debug for StartName<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Start::Latest => "latest",
            Start::Earliest => "earliest",
            Start::After(_) => "stored position",
        })
    }
}
