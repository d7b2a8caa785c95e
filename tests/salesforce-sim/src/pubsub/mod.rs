//! The Pub/Sub API over gRPC (vendor documentation): topics, schemas, subscriptions.
//!
//! Leaves out publishing (change events only come from record changes) and managed subscriptions (the service keeps its
//! own position).

mod admission;
mod service;
mod status;
mod subscribe;

pub use self::proto::{
    ConsumerEvent, FetchRequest, FetchResponse, ProducerEvent, ReplayPreset, SchemaInfo, SchemaRequest, TopicInfo,
    TopicRequest, pub_sub_client::PubSubClient,
};
pub(crate) use self::{service::Service, subscribe::KEEPALIVE_MIN};

/// Generated from `pubsub_api.proto`.
#[allow(
    clippy::all,
    clippy::pedantic,
    missing_docs,
    unreachable_pub,
    reason = "generated code"
)]
pub(crate) mod proto {
    tonic::include_proto!("eventbus.v1");
}
