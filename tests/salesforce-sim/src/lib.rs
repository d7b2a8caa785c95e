//! A simulated Salesforce org: OAuth, REST, reports, Bulk queries and the Pub/Sub API, with the vendor's rules.
//!
//! It is meant to be awkward where the vendor is awkward, so that a client which works here has met those rules. It is a
//! library for tests and the sandbox ([`Sim`], [`Org`], [`Faults`]) and a binary. It deliberately leaves out CometD, SOSL,
//! Apex, sharing rules, managed subscriptions, asynchronous report instances, Bulk ingest and everything that provisioning
//! does not touch. What the vendor leaves undocumented is a setting or is said where it is decided.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod clock;
mod config;
mod error;
mod event;
mod faults;
mod field;
mod id;
mod keys;
mod objects;
mod org;
mod people;
mod pubsub;
mod random;
mod report;
mod request_log;
mod rest;
mod sim;
mod soql;
mod tls;
mod value;

pub use self::{
    config::{IdForm, SimConfig, TlsConfig},
    error::SalesforceError,
    faults::{Faults, Gap, ReportEdit, Undecodable},
    field::{FieldDef, FieldKind},
    id::{normalize as normalize_id, short as short_id},
    keys::{JwtKeyPair, generate_jwt_key_pair},
    org::{Org, Permissions, SimUser},
    report::{ReportDefinition, ReportFilter, ReportFormat},
    request_log::RequestLog,
    sim::{Sim, SimError},
};

/// The Pub/Sub API's own types and client, for tests that talk to the simulator directly.
pub mod eventbus {
    pub use crate::pubsub::{
        ConsumerEvent, FetchRequest, FetchResponse, ProducerEvent, PubSubClient, ReplayPreset, SchemaInfo,
        SchemaRequest, TopicInfo, TopicRequest,
    };
}
