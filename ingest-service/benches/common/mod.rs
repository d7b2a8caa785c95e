//! What the benches share: an invented directory, and a writer for it.
#![allow(dead_code, reason = "each bench uses a part")]

pub(crate) mod events;
pub(crate) mod kafka;
pub(crate) mod people;

use ingest_service::logic::{population::Population, writer::WriterConfig};
use jiff::SignedDuration;
use usher_contract::OrgId;

/// As in the service's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The organization of the invented directory.
pub(crate) const ORG: &str = "00D000000000001EAA";

/// A writer as the service configures it, for the invented directory.
pub(crate) fn writer_config() -> WriterConfig {
    WriterConfig {
        org: org(),
        stream: "/data/UserChangeEvent".to_owned(),
        read_margin: SignedDuration::from_secs(120),
        batch_records_max: 500,
        batch_bytes_max: 4 << 20,
        position_interval: SignedDuration::from_secs(5),
        removals_percent: 5,
        removals_at_least: 5,
        removals_at_most: 100,
        publish_before: false,
        publish_changed_by: false,
        fields: people::fields(),
        population: Population::new("UserType = 'Standard'", &[], &[]),
    }
}

/// The organization's id.
pub(crate) fn org() -> OrgId {
    ORG.parse().expect("an id")
}
