//! Salesforce's remote APIs, one file each. Nothing here decides what a change means.

pub mod auth;
pub mod bulk;
mod connect;
pub mod error;
pub mod limits;
pub mod pubsub;
pub mod report;
pub mod rest;

/// The generated client of the Pub/Sub API.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
pub mod eventbus {
    tonic::include_proto!("eventbus.v1");
}
