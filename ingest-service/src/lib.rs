//! ingest-service: turns Salesforce change events and report polls into normalized user-change messages.
//!
//! Rooms: `salesforce` (remote APIs) ▶ `logic` (what decides, pure) ▶ `pipeline` (the shell of the writer) ▶ Kafka.
//! `published` rebuilds the writer's tables from the topics; `api`, `check`, `cli`, `config`, `metrics`, `status` face people.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod api;
pub mod app;
pub mod check;
pub mod cli;
pub mod config;
pub mod logic;
pub mod metrics;
pub mod pipeline;
pub mod published;
pub mod salesforce;
pub mod status;
pub mod topics;
