//! The stream as a task: connect, hand over, ask for more, reconnect.
//!
//! Within one leadership the stream goes on after the last event that was handed to the writer; after a failed commit
//! the whole leadership starts again from the committed position.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};
use usher_runtime::clock;

use super::Parts;
use crate::{
    logic::{
        classify::{Reaction, Streak},
        replay::Progress,
        writer::Input,
    },
    salesforce::pubsub::{PubSub, Received, Start, StreamError, Subscription},
};

/// Feeds the writer until the receiver is gone. `behind`: whether the writer has more than it can commit.
pub(super) async fn feed(
    parts: Parts,
    mut start: Start,
    inputs: mpsc::Sender<Input>,
    mut behind: watch::Receiver<bool>,
) {
    let mut streak = Streak::default();
    loop {
        let Err(broken) = stream(&parts, &mut start, &inputs, &mut behind, &mut streak).await else {
            return;
        };
        let now = clock::now();
        let decision = streak.failed(broken.reaction, now, rand::random());
        parts.metrics.stream_connected.set(0);
        let mut problem = broken.to_string();
        if decision.new_token
            && let Some(refused) = renew(&parts).await
        {
            problem = format!("{problem}; {refused}");
        }
        let wait = decision.wait;
        let again = later(now, wait);
        parts.status.update(|status| {
            status.stream.connected = false;
            status.stream.problem = Some(problem.clone());
            status.stream.next_try = Some(again);
        });
        // A broken connection or two is normal operation; what stays, or needs somebody, is said by readiness.
        if decision.tell {
            parts.readiness.unmet("stream", problem.clone());
        }
        match decision.reaction {
            Reaction::Operator | Reaction::Misconfigured => {
                error!(code = %broken.code, reason = %problem, wait_ms = wait.as_millis(), "the stream needs an operator");
            }
            Reaction::PositionLost => {
                warn!(code = %broken.code, "the stored position is lost: everyone is read again and the stream starts at its earliest event");
                start = Start::Earliest;
                if inputs.send(Input::PositionLost).await.is_err() {
                    return;
                }
            }
            Reaction::Reconnect
            | Reaction::Reauthenticate
            | Reaction::BackOff
            | Reaction::Exhausted
            | Reaction::Defect => {}
        }
        warn!(code = %broken.code, reason = %problem, wait_ms = wait.as_millis(), "the stream is opened again");
        // A first start that was interrupted before it knew its position must not skip what came in between.
        if start == Start::Latest {
            start = Start::Earliest;
        }
        tokio::time::sleep(wait).await;
    }
}

fn later(now: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait)
        .ok()
        .and_then(|wait| now.checked_add(wait).ok())
        .unwrap_or(now)
}

/// Asks for another token; why not, when it is refused.
async fn renew(parts: &Parts) -> Option<String> {
    let tokens = parts.rest.tokens();
    match tokens.token().await {
        Ok(token) => tokens.renew(&token).await.err(),
        Err(error) => Some(error),
    }
    .map(|error| error.to_string())
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
    streak: &mut Streak,
) -> Result<(), StreamError> {
    let mut subscription = connect(parts, start).await?;
    info!(start = ?StartName(start), "the stream is open");
    parts.metrics.stream_connected.set(1);
    parts.readiness.met("stream");
    parts.status.update(|status| {
        status.stream.connected = true;
        status.stream.problem = None;
        status.stream.next_try = None;
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
        streak.worked();
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

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
