//! Simulated target applications that record every request.
//!
//! [`ScimSim`] is a strict SCIM 2.0 service (RFC 7643, RFC 7644) on a local port. It differs from the third-party servers in three
//! ways that tests need: it is fast, it can be told to misbehave as real applications do ([`Behaviour`], [`Fault`], a gate at a [`Moment`]), and it
//! remembers every request ([`RequestRecord`]), so that a test can prove what was *not* sent.
//!
//! Layers, each knowing only those above it:
//! `schema` what attributes exist · `path`, `filter` how they are named and searched · `patch`, `resource` how they change ·
//! `store` where they are kept · `service` which request does what, as a plain function · `server` HTTP · `sim` the handle for tests.
//!
//! [`SkyPrep`], [`Spinify`], [`MiniOrange`], [`MiniOrangeScim`], [`Gong`], [`SalesforceScim`] and [`TokenProvider`] run in a [`VendorSim`]: they keep the rules that their vendors state, the awkward ones first.
//!
//! Left out on purpose: anything of Usher's own code. A simulator that shared the connector's ideas would share its mistakes.

mod behaviour;
mod clock;
mod connection;
mod discovery;
mod error;
mod fault;
mod filter;
mod gate;
mod patch;
mod path;
mod query;
mod recording;
mod resource;
pub mod rules;
mod schema;
mod server;
mod service;
mod sim;
mod store;
mod vendors;

pub use behaviour::{Behaviour, Latency};
pub use fault::{Fault, FaultScope};
pub use gate::Moment;
pub use recording::RequestRecord;
pub use rules::Rules;
pub use sim::{ScimSim, ScimSimConfig};
pub use vendors::{
    VendorAnswer, VendorRequest, VendorSim,
    gong::{Gong, GongAssignment, GongRest},
    miniorange::MiniOrange,
    miniorange_scim::MiniOrangeScim,
    provider::TokenProvider,
    salesforce::SalesforceScim,
    skyprep::{SkyPrep, SkyPrepGroup},
    spinify::Spinify,
};
