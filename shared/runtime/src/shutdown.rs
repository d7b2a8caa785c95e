//! Named tasks, signals and the order of a shutdown.
//!
//! Every task has a name and lives in a [`TaskSet`]; one that ends early, well or not, ends the service, because a
//! service without one of its parts looks alive and does nothing.

use std::{future::Future, time::Duration};

use thiserror::Error;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
pub use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// An error of any task, with its chain.
pub type TaskError = Box<dyn std::error::Error + Send + Sync>;

/// Why a service ended.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// A task ended although nobody asked for it.
    #[error("task {0} ended early")]
    EndedEarly(&'static str),
    /// A task failed.
    #[error("task {name} failed")]
    Failed {
        /// Which.
        name: &'static str,
        /// Why.
        #[source]
        source: TaskError,
    },
    /// A task panicked.
    #[error("task {0} panicked")]
    Panicked(&'static str),
    /// Not all tasks ended within the grace period.
    #[error("gave up waiting for {0} tasks after the grace period")]
    GraceOver(usize),
}

/// The tasks of one service.
#[derive(Debug)]
pub struct TaskSet {
    tasks: JoinSet<(&'static str, Result<(), TaskError>)>,
    stop: CancellationToken,
}

impl TaskSet {
    /// An empty set; cancelling `stop` starts the shutdown.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            tasks: JoinSet::new(),
            stop,
        }
    }

    /// The token that tasks watch.
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task. It must end soon after the token is cancelled.
    pub fn spawn<F, E>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<TaskError>,
    {
        self.tasks.spawn(async move { (name, task.await.map_err(Into::into)) });
    }

    /// Waits until the token is cancelled or a task ends early, then for the others, at most `grace`.
    ///
    /// # Errors
    /// The first task that failed or ended early.
    pub async fn run(mut self, grace: Duration) -> Result<(), ServiceError> {
        let mut first = tokio::select! {
            () = self.stop.cancelled() => Ok(()),
            ended = self.tasks.join_next() => match ended {
                Some(ended) => Self::early(ended, &self.stop),
                None => Ok(()),
            },
        };
        self.stop.cancel();
        let drain = async {
            while let Some(ended) = self.tasks.join_next().await {
                if let (Ok(()), Ok((name, Err(source)))) = (&first, ended) {
                    first = Err(ServiceError::Failed { name, source });
                }
            }
        };
        if tokio::time::timeout(grace, drain).await.is_err() {
            let left = self.tasks.len();
            warn!(
                tasks = left,
                "shutdown was not graceful: tasks still running after the grace period"
            );
            self.tasks.abort_all();
            first = first.and(Err(ServiceError::GraceOver(left)));
        } else if first.is_ok() {
            info!("shutdown was graceful");
        }
        first
    }

    fn early(
        ended: Result<(&'static str, Result<(), TaskError>), tokio::task::JoinError>,
        stop: &CancellationToken,
    ) -> Result<(), ServiceError> {
        match ended {
            Ok((_, Ok(()))) if stop.is_cancelled() => Ok(()),
            Ok((name, Ok(()))) => Err(ServiceError::EndedEarly(name)),
            Ok((name, Err(source))) => Err(ServiceError::Failed { name, source }),
            Err(error) => {
                error!(%error, "a task panicked");
                Err(ServiceError::Panicked("unknown"))
            }
        }
    }
}

/// Runs a service until it ends. The first SIGTERM or SIGINT cancels `stop`, which the service must watch; the second ends
/// the process at once.
///
/// # Errors
/// When the handlers cannot be installed; the service is not started then.
pub async fn until_ended<T>(stop: CancellationToken, service: impl Future<Output = T>) -> Result<T, std::io::Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut service = std::pin::pin!(service);
    loop {
        let name = tokio::select! {
            ended = &mut service => return Ok(ended),
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        if stop.is_cancelled() {
            warn!(signal = name, "exiting at once");
            std::process::exit(130)
        }
        info!(signal = name, "shutting down; a second signal exits at once");
        stop.cancel();
    }
}

/// The whole chain of an error in one line, for the place where it is handled.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_early_ends_the_service() {
        let stop = CancellationToken::new();
        let mut tasks = TaskSet::new(stop.clone());
        let watched = stop.clone();
        tasks.spawn("watcher", async move {
            watched.cancelled().await;
            Ok::<_, std::io::Error>(())
        });
        tasks.spawn("short", async { Ok::<_, std::io::Error>(()) });
        let ended = tasks.run(Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(ended.to_string(), "task short ended early");
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn a_service_that_ends_is_not_kept_waiting_for_signals() {
        assert_eq!(until_ended(CancellationToken::new(), async { 7 }).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn cancelling_ends_well() {
        let stop = CancellationToken::new();
        let mut tasks = TaskSet::new(stop.clone());
        let watched = stop.clone();
        tasks.spawn("watcher", async move {
            watched.cancelled().await;
            Ok::<_, std::io::Error>(())
        });
        stop.cancel();
        assert!(tasks.run(Duration::from_secs(5)).await.is_ok());
    }
}
