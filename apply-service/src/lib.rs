//! apply-service: provisions each target application from the `user-change` topic.
//!
//! ```text
//! users (table) ─▶ reconciler ─▶ logic::lane ─▶ connector ─▶ target
//!                      ▲             │
//! targets ─▶ owner ────┘             └─▶ recorder ─▶ link, target record, outcome, dead letter (one transaction)
//! ```
//!
//! Everything that decides is in [`logic`]; the rest carries out what was decided.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod api;
mod app;
pub mod cli;
mod commands;
pub mod config;
pub mod connector;
mod directory;
mod history;
mod inquiry;
mod link_import;
mod link_table;
pub mod logic;
pub mod metrics;
mod notifier;
mod owner;
pub mod policy;
mod reconciler;
mod recorder;
mod reload;
mod rename;
pub mod status;
mod targets;
pub mod topics;
pub mod users;

pub use api::ForwarderError;
pub use app::{App, BuildError};
pub use config::Config;
pub use notifier::{MailConfig, MailTls, WebhookConfig};
pub use status::StatusHandle;
