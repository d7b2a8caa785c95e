//! ingest-service.
#![cfg_attr(test, allow(clippy::unwrap_used))]
pub mod logic;
pub mod config;
