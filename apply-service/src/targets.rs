//! Shares out the targets: membership in the consumer group, one task per target.

use std::{collections::BTreeMap, sync::Arc};

use thiserror::Error;
use tokio::{sync::mpsc, task::JoinSet};
use tracing::{error, info};
use usher_runtime::{
    kafka::{KafkaConfig, Membership, MembershipEvent, TopicError},
    shutdown::CancellationToken,
};

use crate::{
    connector::{
        http::{HttpError, HttpSender},
        rest::RestConnector,
        roster,
    },
    inquiry::Lanes,
    logic::policy::Mode,
    metrics::Metrics,
    notifier::Notifier,
    owner::{Order, Owner},
    policy::{Dialect, Target},
    reconciler::{Carrier, Executor, Reader},
    status::StatusHandle,
    topics,
    users::Users,
};

/// Orders that a target may not have got to yet. A rebalance gives two.
const ORDERS_MAX: usize = 16;

/// The targets are not shared out any longer.
#[derive(Debug, Error)]
pub(crate) enum TargetsError {
    /// The group.
    #[error("the consumer group that shares out the targets refuses this process: {0}")]
    Group(String),
    /// It could not be joined.
    #[error("cannot join the consumer group that shares out the targets")]
    Join(#[from] TopicError),
    /// A task has ended although its target was not handed back.
    #[error("the task of a target has ended early")]
    EndedEarly,
}

/// How operations of a target are carried out.
///
/// # Errors
/// When the HTTP client cannot be set up.
pub(crate) fn executor(
    target: &Target,
    metrics: &Arc<Metrics>,
    notifier: &Arc<Notifier>,
) -> Result<Executor, HttpError> {
    let connector = target
        .connection
        .connector()
        .map_err(|mistakes| HttpError::Settings(mistakes.into_iter().map(|(_, message)| message).collect()))?;
    let carrier = carrier(target)?;
    Ok(Executor {
        policy: Arc::clone(&target.policy),
        connector,
        read_back: reader(target, &carrier)?,
        carrier,
        metrics: Arc::clone(metrics),
        notifier: Arc::clone(notifier),
    })
}

fn reader(target: &Target, carrier: &Carrier) -> Result<Option<Reader>, HttpError> {
    let (Some(other), Carrier::Http(sender)) = (&target.connection.read_back, carrier) else {
        return Ok(None);
    };
    let connector = RestConnector::try_new(&other.rest, &other.http.base_url)
        .map_err(|mistakes| HttpError::Settings(mistakes.into_iter().map(|(_, message)| message).collect()))?;
    Ok(Some(Reader {
        connector: Arc::new(connector),
        sender: Arc::new(sender.beside(other.http.clone())?),
    }))
}

fn carrier(target: &Target) -> Result<Carrier, HttpError> {
    let http = &target.connection.http;
    Ok(match &target.connection.dialect {
        Dialect::Scim(_) | Dialect::Rest(_) => Carrier::Http(Arc::new(HttpSender::new(http.clone())?)),
        Dialect::Roster(config) => {
            let desk = roster::desk(&target.policy.name, config, http, &target.policy.guard)?;
            Carrier::Roster(Arc::new(desk))
        }
    })
}

/// Runs the targets that the group gives to this process until `stop` is cancelled and all are handed back.
///
/// # Errors
/// [`TargetsError`].
pub(crate) async fn run(
    executors: Vec<Executor>,
    kafka: KafkaConfig,
    users: Arc<Users>,
    status: StatusHandle,
    lanes: Lanes,
    stop: CancellationToken,
) -> Result<(), TargetsError> {
    let mut tasks = JoinSet::new();
    let mut orders: BTreeMap<i32, Vec<mpsc::Sender<Order>>> = BTreeMap::new();
    for executor in executors
        .into_iter()
        .filter(|executor| executor.policy.mode != Mode::Off)
    {
        let (sender, receiver) = mpsc::channel(ORDERS_MAX);
        orders
            .entry(topics::partition_of_target(&executor.policy.name))
            .or_default()
            .push(sender);
        let owner = Owner::new(
            executor,
            kafka.clone(),
            Arc::clone(&users),
            status.clone(),
            lanes.clone(),
        );
        tasks.spawn(owner.run(receiver));
    }
    // A replica that still reads the users would take targets away from owners that can work.
    tokio::select! {
        () = users.caught_up() => {}
        () = stop.cancelled() => return Ok(()),
    }
    let group = format!("{}apply", kafka.prefix);
    let mut membership = Membership::join(&kafka, &group, &kafka.topic(topics::TARGET))?;
    let mut leaving = false;
    let result = loop {
        let event = tokio::select! {
            () = stop.cancelled(), if !leaving => {
                info!("handing back the targets");
                leaving = true;
                membership.leave();
                continue;
            }
            Some(ended) = tasks.join_next(), if !leaving && !tasks.is_empty() => {
                if let Err(panicked) = ended {
                    error!(error = %panicked, "the task of a target panicked");
                }
                break Err(TargetsError::EndedEarly);
            }
            event = membership.next() => event,
        };
        match event {
            Some(MembershipEvent::Assigned(partitions)) => {
                tell(&orders, &partitions, &Order::Assigned).await;
            }
            Some(MembershipEvent::Revoked(partitions, guard)) => {
                // Dropped when the last target of these partitions is handed back, at once when there is none.
                tell(&orders, &partitions, &Order::Revoked(Some(Arc::new(guard)))).await;
            }
            Some(MembershipEvent::Failed(reason)) => break Err(TargetsError::Group(reason)),
            None if leaving => break Ok(()),
            None => break Err(TargetsError::Group("the membership has ended".to_owned())),
        }
    };
    // No more orders: whoever still runs a target drains and hands back.
    orders.clear();
    while tasks.join_next().await.is_some() {}
    // Leaving joins a thread, which an async worker must not wait for.
    let _ = tokio::task::spawn_blocking(move || drop(membership)).await;
    result
}

async fn tell(orders: &BTreeMap<i32, Vec<mpsc::Sender<Order>>>, partitions: &[i32], order: &Order) {
    for partition in partitions {
        for sender in orders.get(partition).map(Vec::as_slice).unwrap_or_default() {
            // A task that has ended shows itself in the set of tasks.
            let _ = sender.send(order.clone()).await;
        }
    }
}
