//! Misbehaviour to order: what the vendor's documentation says can happen, and what connectors in the field met.
//!
//! [`Faults`] is the test's handle; `FaultState` is what REST and the streams look at. Leaves out ordinary limits, which
//! are configuration.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    error::SalesforceError,
    event::{
        bitmap,
        encode::{self, Body},
    },
    field::{FieldDef, FieldKind},
    org::{Org, commit::Author, validate},
    report::{ReportDefinition, ReportFilter},
    value::FieldValue,
};

#[derive(Debug, Clone)]
pub(crate) struct RestFault {
    remaining: u32,
    path_contains: String,
    pub(crate) error: SalesforceError,
    /// A page instead of the error array, as during maintenance.
    pub(crate) html: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct RpcFault {
    remaining: u32,
    pub(crate) code: tonic::Code,
    /// After `sfdc.platform.eventbus.grpc.`; empty leaves the trailer out.
    pub(crate) suffix: String,
}

#[derive(Debug, Default)]
pub(crate) struct FaultValues {
    lost_events: u32,
    old_schema_events: u32,
    /// Streams opened at LATEST miss what is committed within this time.
    pub(crate) blind_latest: Duration,
    pub(crate) split_merged: bool,
    /// Streams end after so many more events.
    pub(crate) events_left: Option<u64>,
    pub(crate) answer_bytes_max: Option<usize>,
    pub(crate) silent: bool,
    pub(crate) disconnects: u64,
    /// Generation and how many events back.
    pub(crate) rewind: (u64, u64),
    rest: VecDeque<RestFault>,
    rpc: VecDeque<RpcFault>,
    pub(crate) latency: Duration,
    /// Schemas that `GetSchema` refuses, with what goes after `sfdc.platform.eventbus.grpc.`.
    pub(crate) refused_schemas: BTreeMap<String, String>,
    /// Schemas that `GetSchema` gives as something that is no schema.
    pub(crate) mangled_schemas: BTreeSet<String>,
    pub(crate) allocation_exceeded: bool,
    pub(crate) throttled: bool,
    pub(crate) report_rows_max: Option<usize>,
    report_edits: VecDeque<Option<ReportEdit>>,
    /// The next bulk jobs end as `Failed`.
    failing_jobs: u32,
    /// The next cursors or locators that a read goes on from are gone.
    lost_cursors: u32,
}

/// What an administrator does to a report while somebody reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportEdit {
    /// Takes a column away.
    Column(String),
    /// Adds a filter.
    Filter(ReportFilter),
}

impl ReportEdit {
    pub(crate) fn apply(self, definition: &mut ReportDefinition) {
        match self {
            Self::Column(column) => definition.columns.retain(|name| *name != column),
            Self::Filter(filter) => definition.filters.push(filter),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct FaultState {
    values: Mutex<FaultValues>,
}

impl FaultState {
    pub(crate) fn values(&self) -> MutexGuard<'_, FaultValues> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take_lost_event(&self) -> bool {
        let mut values = self.values();
        let lost = values.lost_events > 0;
        values.lost_events = values.lost_events.saturating_sub(1);
        lost
    }

    pub(crate) fn take_old_schema(&self) -> bool {
        let mut values = self.values();
        let old = values.old_schema_events > 0;
        values.old_schema_events = values.old_schema_events.saturating_sub(1);
        old
    }

    pub(crate) fn take_rest(&self, path: &str) -> Option<RestFault> {
        let mut values = self.values();
        let index = values
            .rest
            .iter()
            .position(|fault| path.contains(&fault.path_contains))?;
        let fault = values.rest.get_mut(index)?;
        fault.remaining = fault.remaining.saturating_sub(1);
        let taken = fault.clone();
        if taken.remaining == 0 {
            values.rest.remove(index);
        }
        Some(taken)
    }

    /// The edit that happens right after this run.
    pub(crate) fn take_report_edit(&self) -> Option<ReportEdit> {
        self.values().report_edits.pop_front().flatten()
    }

    pub(crate) fn take_failing_job(&self) -> bool {
        let mut values = self.values();
        let fails = values.failing_jobs > 0;
        values.failing_jobs = values.failing_jobs.saturating_sub(1);
        fails
    }

    pub(crate) fn take_lost_cursor(&self) -> bool {
        let mut values = self.values();
        let lost = values.lost_cursors > 0;
        values.lost_cursors = values.lost_cursors.saturating_sub(1);
        lost
    }

    pub(crate) fn take_rpc(&self) -> Option<RpcFault> {
        let mut values = self.values();
        let fault = values.rpc.front_mut()?;
        fault.remaining = fault.remaining.saturating_sub(1);
        let taken = fault.clone();
        if taken.remaining == 0 {
            values.rpc.pop_front();
        }
        Some(taken)
    }
}

/// Kinds of gap event; all but overflow name records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// `GAP_CREATE`
    Create,
    /// `GAP_UPDATE`
    Update,
    /// `GAP_DELETE`
    Delete,
    /// `GAP_UNDELETE`
    Undelete,
}

/// How an event's payload is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecodable {
    /// Nothing of it can be read.
    Garbage,
    /// The header is whole, the rest names a branch that no union has.
    ///
    /// Not merely cut off: a reader that takes the end of the input for null would accept that.
    Body,
}

/// The test's handle on misbehaviour. Every method takes effect at once, on running streams too.
#[derive(Debug, Clone, Copy)]
pub struct Faults<'a> {
    org: &'a Org,
}

impl<'a> Faults<'a> {
    pub(crate) fn new(org: &'a Org) -> Self {
        Self { org }
    }

    fn set(&self, change: impl FnOnce(&mut FaultValues)) {
        change(&mut self.org.faults.values());
        self.org.wake_streams();
    }

    /// A gap event for these ids: header only.
    pub fn emit_gap(&self, gap: Gap, ids: &[&str]) {
        let name = match gap {
            Gap::Create => "GAP_CREATE",
            Gap::Update => "GAP_UPDATE",
            Gap::Delete => "GAP_DELETE",
            Gap::Undelete => "GAP_UNDELETE",
        };
        self.emit_header_only(name, ids);
    }

    /// `GAP_OVERFLOW` with its dummy record id.
    pub fn emit_overflow(&self) {
        self.emit_header_only("GAP_OVERFLOW", &["000000000000000AAA"]);
    }

    /// A `GAP_UPDATE` for every user at once: record id `005*`.
    pub fn emit_wildcard(&self) {
        self.emit_header_only("GAP_UPDATE", &["005*"]);
    }

    /// An event without body, of any change type of the current schema (see [`Faults::add_change_type`]).
    pub fn emit_header_only(&self, change_type: &str, ids: &[&str]) {
        self.emit(change_type, ids, |payload| payload);
    }

    /// An `UPDATE` event that cannot be decoded.
    pub fn emit_undecodable(&self, kind: Undecodable, ids: &[&str]) {
        self.emit("UPDATE", ids, |payload| match kind {
            Undecodable::Garbage => vec![0xff; 24],
            // The body of a header-only event is one null branch per field, one byte each.
            Undecodable::Body => {
                let mut payload = payload;
                let from = payload.len().saturating_sub(40);
                payload[from..].fill(0x54);
                payload
            }
        });
    }

    fn emit(&self, change_type: &str, ids: &[&str], finish: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        let mut state = self.org.state_mut();
        let author = Author {
            user: Arc::clone(&state.admin_id),
            origin: String::new(),
        };
        let now = self.org.now_ms();
        let ids = ids.iter().map(|&id| Arc::from(id)).collect();
        let header = self.org.header(&mut state, ids, change_type, &author, now);
        let schema = Arc::clone(state.schema());
        let payload = encode::datum(&schema, &header, Body::Empty, &state.unreadable);
        self.org.log().append(Arc::clone(&schema.id), finish(payload), now);
        drop(state);
        self.org.wake_streams();
    }

    /// The next `count` change events are never published although the records change.
    pub fn lose_next_events(&self, count: u32) {
        self.set(|values| values.lost_events = count);
    }

    /// The next `count` change events are written with the schema before the current one, as by a server that has not heard
    /// of the change yet.
    pub fn write_next_with_old_schema(&self, count: u32) {
        self.set(|values| values.old_schema_events = count);
    }

    /// An `UPDATE` that sends a text field as a difference (`diffFields`): the value is a patch and not the text.
    ///
    /// # Errors
    /// When the field does not exist.
    pub fn emit_difference(&self, id: &str, field: &str) -> Result<(), SalesforceError> {
        let mut state = self.org.state_mut();
        let id = crate::org::write::existing(&state, "User", id)?;
        let position = state
            .users()
            .def
            .position(field)
            .ok_or_else(|| SalesforceError::no_such_column(field, "User"))?;
        let author = Author {
            user: Arc::clone(&state.admin_id),
            origin: String::new(),
        };
        let now = self.org.now_ms();
        let mut header = self
            .org
            .header(&mut state, vec![Arc::clone(&id)], "UPDATE", &author, now);
        let schema = Arc::clone(state.schema());
        header.changed_fields = bitmap::encode(schema.place(position));
        header.diff_fields = header.changed_fields.clone();
        let mut values = state
            .users()
            .rows
            .get(&id)
            .map(|row| row.values.clone())
            .unwrap_or_default();
        if let Some(value) = values.get_mut(position) {
            *value = FieldValue::text("--- \n+++ 5f8e…\n@@ -1 +1 @@\n-old\n+new\n");
        }
        let body = Body::Changed(&values, &BTreeSet::from([position]));
        let payload = encode::datum(&schema, &header, body, &state.unreadable);
        self.org.log().append(Arc::clone(&schema.id), payload, now);
        drop(state);
        self.org.wake_streams();
        Ok(())
    }

    /// Streams opened at LATEST from now on miss events that are committed within this time after opening (about 3 s were
    /// observed by another connector).
    pub fn blind_latest(&self, time: Duration) {
        self.set(|values| values.blind_latest = time);
    }

    /// Answers of streams hold up to this many bytes of events; `None` restores the vendor's 3 MB.
    pub fn enlarge_answers(&self, bytes_max: Option<usize>) {
        self.set(|values| values.answer_bytes_max = bytes_max);
    }

    /// What would be one event for many records is one event per record, all with the same replay id (as on enriched channels).
    pub fn split_merged_events(&self, split: bool) {
        self.set(|values| values.split_merged = split);
    }

    /// The stream ends as in a release, once, when it has delivered this many more events.
    pub fn disconnect_after_events(&self, count: u64) {
        self.set(|values| values.events_left = Some(count));
    }

    /// From now on names are a union of three branches in events (text, or a record), under a new schema id.
    pub fn make_names_switchable(&self) {
        let mut state = self.org.state_mut();
        state.switchable_name = true;
        state.refresh_schema();
    }

    /// Every stream delivers the last `count` events again, same ids and all.
    pub fn deliver_again(&self, count: u64) {
        self.set(|values| values.rewind = (values.rewind.0 + 1, count));
    }

    /// All retained events leave retention: replay ids up to now are refused.
    pub fn expire_replay_ids(&self) {
        self.org.log().expire_all();
    }

    /// A stream reset: replay ids from before mean nothing any more.
    pub fn corrupt_replay_ids(&self) {
        self.org.log().reset_history();
    }

    /// Ends all streams as a release does: bare `UNAVAILABLE`, no error code.
    pub fn disconnect_streams(&self) {
        self.set(|values| values.disconnects += 1);
    }

    /// Streams stay open and say nothing, not even keepalives.
    pub fn silence_streams(&self, silent: bool) {
        self.set(|values| values.silent = silent);
    }

    /// Adds a field to User: events from now on carry a new schema id, events on the bus keep theirs.
    pub fn add_user_field(&self, name: &str, kind: FieldKind) {
        let mut state = self.org.state_mut();
        if state.users().def.position(name).is_none() {
            state.table_mut("User").def.push(FieldDef::custom(name, kind));
        }
        state.refresh_schema();
    }

    /// Adds a symbol to the change types of the schema, as a release may.
    pub fn add_change_type(&self, name: &str) {
        let mut state = self.org.state_mut();
        state.extra_change_types.push(name.to_owned());
        state.refresh_schema();
    }

    /// Writes a value straight into the database: no event, no stamp.
    ///
    /// # Errors
    /// When the user or the field does not exist.
    pub fn change_in_secret(&self, id: &str, field: &str, value: &serde_json::Value) -> Result<(), SalesforceError> {
        let mut state = self.org.state_mut();
        let id = crate::org::write::existing(&state, "User", id)?;
        let def = &state.users().def;
        let position = def
            .position(field)
            .ok_or_else(|| SalesforceError::no_such_column(field, "User"))?;
        let value: FieldValue = validate::value_of(&def.fields[position], value)?;
        if let Some(row) = state.table_mut("User").rows.get_mut(&id) {
            row.set(position, value);
        }
        Ok(())
    }

    /// The next `count` REST calls fail with this status and error code.
    pub fn fail_next_rest(&self, count: u32, status: u16, error_code: &str) {
        self.fail_next_rest_at("", count, status, error_code);
    }

    /// The next `count` REST calls whose path contains `path_contains` fail.
    pub fn fail_next_rest_at(&self, path_contains: &str, count: u32, status: u16, error_code: &str) {
        let error = SalesforceError::new(status, error_code, format!("{error_code} (ordered by a test)"));
        self.push_rest(path_contains, count, error, false);
    }

    /// Ends all ordered failures of REST calls.
    pub fn stop_failing_rest(&self) {
        self.set(|values| values.rest.clear());
    }

    /// The next `count` REST calls answer an HTML page.
    pub fn html_next_rest(&self, count: u32, status: u16) {
        self.push_rest("", count, SalesforceError::new(status, "HTML", "maintenance"), true);
    }

    fn push_rest(&self, path_contains: &str, count: u32, error: SalesforceError, html: bool) {
        if count > 0 {
            let fault = RestFault {
                remaining: count,
                path_contains: path_contains.to_owned(),
                error,
                html,
            };
            self.set(|values| values.rest.push_back(fault));
        }
    }

    /// REST calls are well again: what was ordered and has not happened yet is taken back.
    pub fn clear_rest(&self) {
        self.set(|values| values.rest.clear());
    }

    /// The next `count` RPCs fail with this status; `suffix` goes after `sfdc.platform.eventbus.grpc.` in the trailer.
    pub fn fail_next_rpcs(&self, count: u32, code: tonic::Code, suffix: &str) {
        if count > 0 {
            let fault = RpcFault {
                remaining: count,
                code,
                suffix: suffix.to_owned(),
            };
            self.set(|values| values.rpc.push_back(fault));
        }
    }

    /// From now on `GetSchema` refuses the current schema, as when the one that writes events knows more than the one that is asked.
    /// `suffix` goes after `sfdc.platform.eventbus.grpc.` in the trailer.
    pub fn refuse_newest_schema(&self, suffix: &str) {
        let id = self.org.state().schema().id.to_string();
        self.set(|values| drop(values.refused_schemas.insert(id, suffix.to_owned())));
    }

    /// From now on `GetSchema` gives the current schema as something that is no schema.
    pub fn mangle_newest_schema(&self) {
        let id = self.org.state().schema().id.to_string();
        self.set(|values| {
            values.mangled_schemas.insert(id);
        });
    }

    /// `GetSchema` answers for every schema again.
    pub fn refuse_no_schema(&self) {
        self.set(|values| values.refused_schemas.clear());
    }

    /// An event of another object, as a channel of several objects carries them: the header names it, and the record is no user.
    pub fn emit_foreign(&self, entity: &str) {
        let mut state = self.org.state_mut();
        let author = Author {
            user: Arc::clone(&state.admin_id),
            origin: String::new(),
        };
        let now = self.org.now_ms();
        let ids = vec![Arc::from("001000000000001AAA")];
        let mut header = self.org.header(&mut state, ids, "UPDATE", &author, now);
        header.entity_name = entity.to_owned();
        let schema = Arc::clone(state.schema());
        let payload = encode::datum(&schema, &header, Body::Empty, &state.unreadable);
        self.org.log().append(Arc::clone(&schema.id), payload, now);
        drop(state);
        self.org.wake_streams();
    }

    /// Ends the life of all query cursors: `INVALID_QUERY_LOCATOR`.
    pub fn expire_query_cursors(&self) {
        self.org.cursors().clear();
    }

    /// Every REST answer takes this much longer.
    pub fn set_latency(&self, latency: Duration) {
        self.set(|values| values.latency = latency);
    }

    /// Ends all sessions: REST answers 401, streams end with `service.auth.error`.
    pub fn revoke_sessions(&self) {
        self.org.sessions().revoke_all();
        self.org.wake_streams();
    }

    /// While set, streams end with `subscription.limit.exceeded`.
    pub fn exceed_delivery_allocation(&self, exceeded: bool) {
        self.set(|values| values.allocation_exceeded = exceeded);
    }

    /// While set, RPCs are refused with `service.protection.triggered`.
    pub fn throttle_rpcs(&self, throttled: bool) {
        self.set(|values| values.throttled = throttled);
    }

    /// An administrator edits the report that is being read, after `runs` further runs of any report.
    pub fn edit_report_after(&self, runs: usize, edit: ReportEdit) {
        self.set(|values| {
            values.report_edits.resize(runs.saturating_sub(1), None);
            values.report_edits.push_back(Some(edit));
        });
    }

    /// The next `count` bulk query jobs end as `Failed`.
    pub fn fail_bulk_jobs(&self, count: u32) {
        self.set(|values| values.failing_jobs = count);
    }

    /// The next `count` continuations of queries find their cursor gone.
    pub fn lose_cursors(&self, count: u32) {
        self.set(|values| values.lost_cursors = count);
    }

    /// Cuts report runs to this many rows, with `allData` false; `None` restores the configured limit.
    pub fn truncate_reports(&self, rows_max: Option<usize>) {
        self.set(|values| values.report_rows_max = rows_max);
    }
}
