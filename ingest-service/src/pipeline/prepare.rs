//! What a leadership needs before it can step: fence, own state to its end, the fields that may be read.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use tracing::warn;
use usher_contract::OrgId;
use usher_runtime::{
    clock,
    kafka::{OutRecord, TransactionBatch, TransactionalProducer},
    shutdown::chain,
};

use super::{Followed, Parts};
use crate::{
    config::Config,
    logic::{
        field::{FieldType, REQUIRED_FIELDS, STANDARD_FIELDS},
        normalize::{Fields, published},
        population::{Population, QueryFields},
        record::{CheckpointKey, FORMAT},
        writer::WriterConfig,
    },
    published::Leader,
    salesforce::error::ApiError,
    topics,
};

/// Fence, then read to the end, then learn the fields.
pub(super) async fn prepare(
    parts: &Parts,
    org: OrgId,
    followed: &mut Followed,
) -> Result<(TransactionalProducer, Learnt), String> {
    let kafka = &parts.config.kafka;
    let producer = TransactionalProducer::fence(kafka, &format!("{}ingest.{org}", kafka.prefix))
        .await
        .map_err(|error| chain(&error))?;
    followed.catch_up().await.map_err(|error| chain(&error))?;
    refuse_another_org(parts, org, followed)?;
    refuse_other_partitions(parts, followed).await?;
    let leader = Leader {
        format: FORMAT,
        address: parts.address.clone(),
        since: clock::now(),
    };
    let record = bookkeeping(
        parts,
        &CheckpointKey::Leader(org),
        Some(serde_json::to_vec(&leader).map_err(|error| error.to_string())?),
    );
    let batch = TransactionBatch {
        changes: Vec::new(),
        bookkeeping: vec![record],
    };
    producer.commit(batch).await.map_err(|error| chain(&error))?;
    let learnt = learn_fields(parts).await.map_err(|error| chain(&error))?;
    // A typing mistake is refused before anything is published. Later the same means that a field is gone, and that must not
    // keep leavers from being told.
    if let Some(name) = learnt.missing.first()
        && followed.tables.restored.position.is_none()
    {
        return Err(chain(&unreadable(name, true)));
    }
    let missed = learnt.missed();
    if !missed.is_empty() {
        warn!(fields = ?missed, "fields that the integration user may not read are unknown in every message");
    }
    Ok((producer, learnt))
}

/// A refreshed sandbox answers at the same address as another org. Both in one topic is possible, but only on purpose.
fn refuse_another_org(parts: &Parts, org: OrgId, followed: &Followed) -> Result<(), String> {
    let tables = &followed.tables;
    let new_here = tables.restored.position.is_none() && tables.restored.published.is_empty();
    match tables.other_orgs.first() {
        Some(other) if new_here && parts.config.salesforce.org_id.is_none() => Err(format!(
            "the topics hold the org {other}, and {} answers as {org}; after a sandbox refresh choose another \
             kafka.prefix, so that the two directories are not mixed; if both shall be here set salesforce.orgId",
            parts.config.salesforce.url
        )),
        _ => Ok(()),
    }
}

/// With another number of partitions than when the first record was written, keys would change their partition and leave
/// a stale record behind for ever.
async fn refuse_other_partitions(parts: &Parts, followed: &Followed) -> Result<(), String> {
    let recorded = followed.tables.restored.position.as_ref();
    let recorded = recorded.map_or(topics::USER_CHANGE_PARTITIONS, |position| position.partitions);
    let topics = topics::topics(&parts.config.kafka);
    match topics.partitions(topics::USER_CHANGE).await {
        Ok(Some(found)) if found != recorded => Err(format!(
            "{} has {found} partitions and had {recorded} when the first user was written: keys would change their \
             partition; export, recreate the topic with {recorded} partitions and import",
            parts.config.kafka.topic(topics::USER_CHANGE)
        )),
        Ok(_) => Ok(()),
        Err(error) => Err(chain(&error)),
    }
}

/// What `describe` shows.
#[derive(Debug, Clone)]
pub(crate) struct Learnt {
    pub(crate) fields: Fields,
    pub(crate) query_fields: QueryFields,
    /// Custom fields that the configuration names and that do not exist or may not be read.
    pub(crate) missing: Vec<String>,
}

impl Learnt {
    /// API names of what should be published and may not be read.
    pub(crate) fn missed(&self) -> BTreeSet<String> {
        let published = |ours: &str| {
            let always = ["active", "modifiedAt"].contains(&ours);
            always || self.fields.publish.as_ref().is_none_or(|list| list.has(ours))
        };
        let standard = STANDARD_FIELDS
            .iter()
            .filter(|field| published(field.ours) && self.fields.unreadable.contains(field.api))
            .map(|field| field.api.to_owned());
        standard.chain(self.missing.iter().cloned()).collect()
    }
}

/// A field that somebody must do something about.
pub(crate) fn unreadable(name: &str, custom: bool) -> ApiError {
    let hint = if custom {
        "fields.custom or fields.terminationDate names it; check the API name in Setup > Object Manager > User > Fields & \
         Relationships, and grant read access in Setup > Permission Sets > Object Settings > Users > Field Permissions"
    } else {
        "grant the integration user read access to it (field-level security) in Setup > Permission Sets > Object Settings > \
         Users > Field Permissions"
    };
    ApiError::Operator {
        what: format!("reading the field {name}"),
        code: "not visible".to_owned(),
        hint,
    }
}

/// What `describe` shows decides what is asked for and what a null means. A missing custom field is unknown; without a
/// required one nothing works.
pub(crate) async fn learn_fields(parts: &Parts) -> Result<Learnt, ApiError> {
    let described = parts.rest.describe_user().await?;
    if let Some(name) = REQUIRED_FIELDS.iter().find(|name| !described.contains_key(**name)) {
        return Err(unreadable(name, false));
    }
    Ok(learnt(&parts.config, &described))
}

/// The same from an answer that is there already.
pub(crate) fn learnt(config: &Config, described: &BTreeMap<String, String>) -> Learnt {
    let declared = || config.fields.custom.iter().chain(&config.fields.termination_date);
    let missing: BTreeSet<String> = declared()
        .filter(|name| !described.contains_key(*name))
        .cloned()
        .collect();
    let unreadable: BTreeSet<String> = STANDARD_FIELDS
        .iter()
        .map(|field| field.api)
        .filter(|name| !described.contains_key(*name))
        .map(str::to_owned)
        .chain(missing.iter().cloned())
        .collect();
    let type_of = |name: &String| FieldType::of_describe(described.get(name).map_or("string", String::as_str));
    let fields = Fields {
        custom: config
            .fields
            .custom
            .iter()
            .map(|name| (name.clone(), type_of(name)))
            .collect(),
        termination_date: config.fields.termination_date.clone(),
        unreadable,
        publish: Some(published(&config.publish.fields)),
    };
    let query_fields = QueryFields::new(&fields, |name| described.contains_key(name));
    Learnt {
        fields,
        query_fields,
        missing: missing.into_iter().collect(),
    }
}

pub(super) fn writer_config(parts: &Parts, org: OrgId, fields: Fields, population: Population) -> WriterConfig {
    let config = &parts.config;
    WriterConfig {
        org,
        stream: config.pubsub.channel.clone(),
        read_margin: SignedDuration::from_secs(120),
        batch_records_max: 500,
        batch_bytes_max: 4 << 20,
        position_interval: SignedDuration::from_secs(5),
        removals_percent: config.removals.percent,
        removals_at_least: config.removals.at_least,
        removals_at_most: config.removals.at_most,
        publish_before: config.publish.before,
        publish_changed_by: config.publish.changed_by,
        fields,
        population,
    }
}

/// A record of the checkpoint topic.
pub(super) fn bookkeeping(parts: &Parts, key: &CheckpointKey, value: Option<Vec<u8>>) -> OutRecord {
    OutRecord {
        topic: parts.config.kafka.topic(topics::CHECKPOINT),
        key: key.text().into_bytes(),
        value,
        headers: Vec::new(),
        partition: None,
    }
}
