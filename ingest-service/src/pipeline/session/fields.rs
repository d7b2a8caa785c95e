//! Which fields may be read, while a leadership runs: permissions are withdrawn and fields deleted without notice.
//!
//! A query that names such a field is refused as a whole (`INVALID_FIELD`), and change events carry null for it. So the
//! fields are learnt again at once when that happens, and once an hour in any case. A field that may no longer be read is
//! unknown from then on: never cleared, never kept at a value that nobody can confirm.

use std::{collections::BTreeSet, future::Future, pin::Pin};

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};
use usher_runtime::{clock, shutdown::chain};

use super::Session;
use crate::{
    logic::{
        place,
        quota::{Means, Permit, Purpose},
    },
    pipeline::prepare::{Learnt, learn_fields},
    salesforce::error::ApiError,
};

/// What is granted shows within this time without anybody doing anything.
const EVERY: SignedDuration = SignedDuration::from_hours(1);
/// A query can be wrong for other reasons than permissions: describing again helps then as little as the first time.
const NOT_SOONER: SignedDuration = SignedDuration::from_secs(10);

type Look = Pin<Box<dyn Future<Output = Result<Learnt, ApiError>> + Send>>;

/// What is known of the fields, and the look under way.
pub(super) struct FieldWatch {
    look: Option<Look>,
    looked_at: Timestamp,
    doubted: bool,
    /// Published, and not to be read: API names.
    unreadable: BTreeSet<String>,
    problem: Option<String>,
}

impl FieldWatch {
    pub(super) fn new(learnt: &Learnt, now: Timestamp) -> Self {
        Self {
            look: None,
            looked_at: now,
            doubted: false,
            unreadable: learnt.missed(),
            problem: None,
        }
    }

    /// The result of the look under way; never, when there is none.
    pub(super) async fn learnt(&mut self) -> Result<Learnt, ApiError> {
        match &mut self.look {
            Some(look) => look.await,
            None => std::future::pending().await,
        }
    }

    /// What should be published and may not be read: API names.
    pub(super) fn unreadable(&self) -> Vec<String> {
        self.unreadable.iter().cloned().collect()
    }

    /// What is wrong, in words.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> + '_ {
        let names = self
            .unreadable
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        let unknown = (!names.is_empty()).then(|| {
            format!(
                "unknown in every message, because the integration user may not read them or they do not exist: {names}; grant read access in \
                 {}, or take them out of publish.fields and fields; their values come back with the next snapshot",
                place::FIELDS
            )
        });
        let failed = self.problem.as_ref();
        unknown
            .into_iter()
            .chain(failed.map(|problem| format!("the fields cannot be learnt: {problem}")))
    }
}

impl Session<'_> {
    /// Begins a look when there is a reason.
    pub(super) fn look_at_fields(&mut self) {
        let (rest, watch, now) = (&self.parts.rest, &mut self.fields, clock::now());
        watch.doubted |= rest.take_field_doubt();
        let since = now.duration_since(watch.looked_at);
        let doubted = watch.doubted && since >= NOT_SOONER;
        let routine = since >= EVERY && !matches!(rest.quota().allows(Purpose::Poll, Means::Requests), Permit::Wait(_));
        if watch.look.is_some() || !(doubted || routine) {
            return;
        }
        (watch.doubted, watch.looked_at) = (false, now);
        let parts = self.parts.clone();
        watch.look = Some(Box::pin(async move { learn_fields(&parts).await }));
    }

    /// A look has ended: from now on the writer and every query go by it.
    pub(super) fn fields_learnt(&mut self, result: Result<Learnt, ApiError>) {
        self.fields.look = None;
        match result {
            Ok(learnt) => {
                let missed = learnt.missed();
                if missed != self.fields.unreadable {
                    let lost: Vec<&String> = missed.difference(&self.fields.unreadable).collect();
                    let back: Vec<&String> = self.fields.unreadable.difference(&missed).collect();
                    if !lost.is_empty() {
                        warn!(fields = ?lost, "fields may no longer be read and are unknown from now on");
                    }
                    if !back.is_empty() {
                        info!(fields = ?back, "fields may be read again; their values come with the next snapshot");
                    }
                }
                self.fields.unreadable = missed;
                self.fields.problem = None;
                self.writer.learn_fields(learnt.fields);
                self.query_fields = learnt.query_fields;
            }
            Err(error) => {
                let reason = chain(&error);
                warn!(%reason, "the fields cannot be learnt");
                // What passes by itself is asked again soon; what an operator must change, with the next doubt or hour.
                self.fields.doubted |= error.is_transient();
                self.fields.problem = Some(reason);
            }
        }
    }
}
