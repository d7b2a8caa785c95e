//! A list instead of an interface: everybody who is wanted, in one file that is written whole.
//!
//! | What | In |
//! |---|---|
//! | a list as data, and its mistakes | `config` |
//! | cells: dates, truth, blanks; formulas made harmless | `columns`, `formula` |
//! | the file, and reading one | `render` |
//! | rows by the links, and what they become | `book` |
//! | when it is due; what it may not have lost | `debounce`, `shrink` |
//! | one write; the writer | `publish`, `desk` |
//! | folders, buckets, servers | `place` |
//!
//! To the lane a row is an account: it enters by a create, changes by an update, and is switched off or deleted. So scope,
//! plan, guard, first sync, drift and commands are those of every target. What differs: the values are in the links, because
//! no application keeps them, and an operation ends when the file that carries it is at its place.
//!
//! Deliberately left out: parts and deltas (a list is whole), compression, encryption, and SFTP (mount it, or let the reader
//! fetch).

use std::sync::Arc;

use serde_json::Value;
use usher_contract::TargetName;

use super::{
    Connector, Exchange, Failure, HttpAnswer, Operation, Step,
    http::{HttpConfig, HttpError, HttpSender},
};
use crate::logic::{
    account::{AttributePath, RemoteAccount},
    guard::Guard,
};

mod book;
mod columns;
pub mod config;
mod debounce;
mod desk;
mod formula;
mod place;
mod publish;
mod render;
mod shrink;
#[cfg(test)]
mod tests;

pub use super::rest::Mistake;
pub use config::{PlaceConfig, RosterConfig};
pub use desk::Desk;

use place::{Place, folder::Folder, objects::Objects, webdav::WebDav};

/// How rows are read as accounts. Their operations go to a [`Desk`], not over requests.
#[derive(Debug, Default)]
pub struct RosterConnector;

/// Operations of a list that went the way of requests.
struct NoRequests;

impl Exchange for NoRequests {
    fn step(&mut self, _: Option<HttpAnswer>) -> Step {
        let why = "a list has no requests: its operations belong to the writer of the list";
        Step::Done(Err(Failure::Halt(book::refusal("roster-request", why))))
    }
}

impl Connector for RosterConnector {
    fn begin(&self, _: Operation) -> Box<dyn Exchange> {
        Box::new(NoRequests)
    }

    fn read_attribute(&self, account: &RemoteAccount, path: &AttributePath) -> Option<Value> {
        account.resource.get(&path.0).cloned()
    }

    /// Any: whether a column shows it is told together with the columns (`policy::roster`), because a preset may bring rows
    /// that columns of somebody's own leave out.
    fn check_path(&self, path: &str) -> Result<AttributePath, String> {
        Ok(AttributePath(path.to_owned()))
    }

    fn lacks(&self) -> Vec<&'static str> {
        vec!["invite"]
    }
}

/// The desk of a target. Connects nowhere.
///
/// # Errors
/// Certificates that cannot be read, settings of a server that cannot work.
pub fn desk(target: &TargetName, config: &RosterConfig, http: &HttpConfig, guard: &Guard) -> Result<Desk, HttpError> {
    let place: Box<dyn Place> = match &config.place {
        PlaceConfig::Folder { path } => Box::new(Folder::new(path.clone())),
        PlaceConfig::Webdav { moves } => {
            let sender = Arc::new(HttpSender::new(http.clone())?);
            Box::new(WebDav::new(sender, &http.base_url, *moves))
        }
        PlaceConfig::S3(_) | PlaceConfig::Gcs(_) | PlaceConfig::Azure(_) => {
            Box::new(Objects::new(config.place.clone(), http, config.max_bytes)?)
        }
    };
    Ok(Desk::new(
        target.clone(),
        Arc::new(config.clone()),
        guard.clone(),
        place,
    ))
}
