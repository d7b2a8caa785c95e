//! What both services share outside their rules: configuration, telemetry, the admin server, named tasks, Kafka.
//!
//! Nothing here knows what a user is or decides anything about one.
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod access;
pub mod address;
pub mod admin;
pub mod backoff;
pub mod clock;
pub mod config;
pub mod duration;
pub mod kafka;
pub mod oauth;
pub mod secret;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
pub mod yaml;
