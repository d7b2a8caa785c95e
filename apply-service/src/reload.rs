//! A policy folder that changes while the service runs: a good one takes effect, a bad one changes nothing and is said.
//!
//! The folder is read again every few seconds and at a SIGHUP, and compared by its content: that sees files that are edited,
//! folders that are swapped behind a symbolic link (how Kubernetes mounts them), and network file systems that tell nobody.
//! What takes effect is read by a new start within the process: targets are handed back and taken over as at a restart, so
//! there is one path for both.

use std::{io, path::Path, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};
use usher_contract::StateHash;

use usher_runtime::shutdown::chain;

use crate::{
    Config,
    connector::http::HttpSender,
    notifier,
    policy::{self, PolicyError},
    status::StatusHandle,
};

/// How often the folder is read. Smaller: changes take effect sooner and more is read.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// So long a folder has to stay as it is before it counts: somebody may be copying files into it.
const AT_REST_FOR: Duration = Duration::from_secs(1);

/// Watches one folder.
#[derive(Debug)]
pub(crate) struct Watch {
    hangup: Signal,
    /// The content in effect.
    running: StateHash,
    /// The content that was refused last.
    refused: Option<StateHash>,
}

impl Watch {
    /// Begins with the folder as it is now.
    ///
    /// # Errors
    /// When signals cannot be received.
    pub(crate) fn begin(folder: &Path) -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            // A folder that cannot be read now is not the one that was read before.
            running: content(folder).unwrap_or_else(|_| StateHash::of_text("")),
            refused: None,
        })
    }

    /// Ends when the folder has another content than at the beginning, and it is a good one.
    pub(crate) async fn changed(&mut self, config: &Config, status: &StatusHandle) {
        let folder = config.policy.folder.as_path();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = self.hangup.recv() => info!("SIGHUP: the policy folder is read again"),
            }
            match self.look(folder, config).await {
                Ok(None) => status.policy_problem(None),
                Ok(Some(content)) if content == self.running => status.policy_problem(None),
                Ok(Some(content)) => {
                    info!(folder = %folder.display(), "the policy folder has changed: it takes effect");
                    self.running = content;
                    status.policy_problem(None);
                    return;
                }
                Err((content, problem)) => {
                    // Said once, and kept in the status.
                    if self.refused.replace(content) != Some(content) {
                        error!(folder = %folder.display(), "the policy folder has changed and is refused; the one before stays in effect:\n{problem}");
                    }
                    status.policy_problem(Some(problem.to_string()));
                }
            }
        }
    }

    /// The content when it differs and is at rest; `None` while it is being changed.
    async fn look(&self, folder: &Path, config: &Config) -> Result<Option<StateHash>, (StateHash, PolicyError)> {
        let unreadable = |error| (StateHash::of_text("unreadable"), error);
        let found = content(folder).map_err(unreadable)?;
        if found == self.running {
            return Ok(Some(found));
        }
        tokio::time::sleep(AT_REST_FOR).await;
        if content(folder).map_err(unreadable)? != found {
            return Ok(None);
        }
        let policy = policy::load(folder).map_err(|error| (found, error))?;
        // What a start would refuse must not end the service either: certificates, a refresh token without a home.
        let unusable = policy.targets.iter().filter_map(|(name, target)| {
            let other = target.connection.read_back.as_ref().map(|other| other.http.clone());
            let settings = std::iter::once(target.connection.http.clone()).chain(other);
            let error = settings.into_iter().find_map(|http| HttpSender::new(http).err())?;
            Some(format!("target {name}: {}", chain(&error)))
        });
        // What only both together say.
        let unusable: Vec<String> = unusable.chain(notifier::lacking(&policy, config)).collect();
        if !unusable.is_empty() {
            return Err((found, PolicyError(unusable)));
        }
        Ok(Some(found))
    }
}

/// The names and texts of a folder, as one hash.
fn content(folder: &Path) -> Result<StateHash, PolicyError> {
    let mut text = String::new();
    for (path, content) in policy::texts(folder)? {
        text.push_str(&path.display().to_string());
        text.push('\0');
        text.push_str(&content);
        text.push('\0');
    }
    Ok(StateHash::of_text(&text))
}
