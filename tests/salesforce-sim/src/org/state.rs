//! The org's tables: objects, rows, indexes. One lock guards all of it, so that a commit is atomic and ordered.
//!
//! Leaves out the rules for writing (`validate.rs`, `write.rs`) and the events that writes cause (`commit.rs`).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::{Map, Value, json};

use super::Permissions;
use crate::{
    event::schema::EventSchema,
    field::{FieldDef, FieldKind, ObjectDef},
    id::IdSource,
    objects,
    report::ReportDefinition,
    value::FieldValue,
};

#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: Arc<str>,
    pub(crate) values: Vec<FieldValue>,
}

impl Row {
    /// A field added after the row was written reads as null.
    pub(crate) fn get(&self, position: usize) -> &FieldValue {
        const NULL: FieldValue = FieldValue::Null;
        self.values.get(position).unwrap_or(&NULL)
    }

    pub(crate) fn set(&mut self, position: usize, value: FieldValue) {
        if self.values.len() <= position {
            self.values.resize(position + 1, FieldValue::Null);
        }
        self.values[position] = value;
    }
}

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) def: ObjectDef,
    pub(crate) rows: BTreeMap<Arc<str>, Row>,
}

impl Table {
    /// A row with booleans false and all else null, with its id.
    pub(crate) fn blank(&self, id: Arc<str>) -> Row {
        let values = self
            .def
            .fields
            .iter()
            .map(|field| match field.kind {
                FieldKind::Boolean => FieldValue::Bool(false),
                FieldKind::Id => FieldValue::Text(Arc::clone(&id)),
                _ => FieldValue::Null,
            })
            .collect();
        Row { id, values }
    }

    /// The value for JSON, where compound fields are derived and booleans are never null.
    pub(crate) fn json(&self, row: &Row, position: usize) -> Value {
        match self.def.fields[position].kind {
            FieldKind::Address => address(&self.def, row),
            FieldKind::Boolean => Value::Bool(row.get(position).is_true()),
            _ => row.get(position).to_json(),
        }
    }
}

fn address(def: &ObjectDef, row: &Row) -> Value {
    let part = |name: &str| row.get(def.at(name)).to_json();
    let parts = ["Street", "City", "State", "PostalCode", "Country"];
    if parts.iter().all(|name| part(name).is_null()) {
        return Value::Null;
    }
    json!({
        "city": part("City"), "country": part("Country"), "geocodeAccuracy": part("GeocodeAccuracy"),
        "latitude": part("Latitude"), "longitude": part("Longitude"), "postalCode": part("PostalCode"),
        "state": part("State"), "street": part("Street"),
    })
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) tables: BTreeMap<&'static str, Table>,
    pub(crate) org_id: Arc<str>,
    /// Who writes when nobody signed in does: the administrator in Setup.
    pub(crate) admin_id: Arc<str>,
    pub(crate) integration_id: Arc<str>,
    /// Lower-case user name to user id.
    pub(crate) usernames: HashMap<String, Arc<str>>,
    /// User id to `UserLogin` id.
    pub(crate) logins: HashMap<Arc<str>, Arc<str>>,
    /// Portal users that were deleted and can come back.
    pub(crate) bin: BTreeMap<Arc<str>, Row>,
    /// All schemas ever current; the last one is.
    pub(crate) schemas: Vec<Arc<EventSchema>>,
    pub(crate) extra_change_types: Vec<String>,
    /// User fields that the integration user may not read.
    pub(crate) unreadable: BTreeSet<usize>,
    /// The name is a union of three branches in events.
    pub(crate) switchable_name: bool,
    /// Objects that the integration user may not read at all.
    pub(crate) hidden_objects: BTreeSet<String>,
    /// What the integration user may do.
    pub(crate) granted: Permissions,
    pub(crate) reports: BTreeMap<Arc<str>, ReportDefinition>,
    /// Ids in the order in which records are made.
    pub(crate) ids: IdSource,
    pub(crate) commit_number: i64,
    pub(crate) rng: StdRng,
}

impl State {
    pub(crate) fn new(custom_fields: &[FieldDef], seed: u64) -> Self {
        let user = objects::user(custom_fields);
        let schema = Arc::new(EventSchema::of(&user, &[]));
        let tables = objects::others()
            .into_iter()
            .chain([user])
            .map(|def| {
                (
                    def.name,
                    Table {
                        def,
                        rows: BTreeMap::new(),
                    },
                )
            })
            .collect();
        let mut ids = IdSource::new(&format!("5f{:03}", seed % 1000));
        let org_id = ids.next("00D");
        Self {
            tables,
            org_id,
            admin_id: Arc::from(""),
            integration_id: Arc::from(""),
            usernames: HashMap::new(),
            logins: HashMap::new(),
            bin: BTreeMap::new(),
            schemas: vec![schema],
            extra_change_types: Vec::new(),
            unreadable: BTreeSet::new(),
            switchable_name: false,
            hidden_objects: BTreeSet::new(),
            granted: Permissions::default(),
            reports: BTreeMap::new(),
            ids,
            // Above 2^53 on purpose: it must not pass through a floating-point number.
            commit_number: 11_000_000_000_000_000 + i64::try_from(seed % 1_000_000).unwrap_or(0),
            rng: StdRng::seed_from_u64(seed ^ 0x5a1e_5f0c),
        }
    }

    /// A table that this crate's own code names.
    pub(crate) fn table(&self, object: &str) -> &Table {
        self.tables
            .get(object)
            .expect("the simulator names only objects it declares")
    }

    pub(crate) fn table_mut(&mut self, object: &str) -> &mut Table {
        self.tables
            .get_mut(object)
            .expect("the simulator names only objects it declares")
    }

    /// All records of an object; `deleted`: those in the bin, too.
    pub(crate) fn rows(&self, object: &str, deleted: bool) -> impl Iterator<Item = &Row> {
        let bin = (deleted && object == "User").then_some(&self.bin);
        let bin = bin.into_iter().flat_map(BTreeMap::values);
        self.table(object).rows.values().chain(bin)
    }

    /// A record; `deleted`: also when it is in the bin.
    pub(crate) fn row(&self, object: &str, id: &str, deleted: bool) -> Option<&Row> {
        let binned = || self.bin.get(id).filter(|_| deleted && object == "User");
        self.table(object).rows.get(id).or_else(binned)
    }

    /// A table by any spelling of its name, as clients give it.
    pub(crate) fn find_table(&self, object: &str) -> Option<&Table> {
        self.tables
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(object))
            .map(|(_, table)| table)
    }

    pub(crate) fn users(&self) -> &Table {
        self.table("User")
    }

    pub(crate) fn schema(&self) -> &Arc<EventSchema> {
        self.schemas.last().expect("an org has a schema from its start")
    }

    /// Whether the field exists for the integration user.
    pub(crate) fn readable(&self, object: &str, position: usize) -> bool {
        object != "User" || !self.unreadable.contains(&position)
    }

    /// Whether the object exists for the integration user (Object Reference, "Special Access Rules" of UserLogin, PermissionSet
    /// and PermissionSetAssignment).
    pub(crate) fn object_readable(&self, object: &str) -> bool {
        let permitted = match object {
            "UserLogin" => self.granted.manage_users,
            "PermissionSet" | "PermissionSetAssignment" => self.granted.view_setup,
            _ => true,
        };
        permitted && !self.hidden_objects.contains(object)
    }

    /// Whether the integration user sees the record: without View All Users only its own, and only reports of folders that are
    /// shared with it.
    pub(crate) fn visible(&self, object: &str, id: &str) -> bool {
        match object {
            "User" => self.granted.view_all_users || *id == *self.integration_id,
            "Report" | "Folder" => self.granted.report_folders,
            _ => true,
        }
    }

    /// The record with all its fields, whatever the integration user may read.
    pub(crate) fn full_json(&self, object: &str, row: &Row) -> Map<String, Value> {
        let table = self.table(object);
        table
            .def
            .fields
            .iter()
            .enumerate()
            .map(|(position, field)| (field.name.clone(), table.json(row, position)))
            .collect()
    }

    /// Takes over a changed User object: events from now on carry the new schema.
    pub(crate) fn refresh_schema(&mut self) {
        let schema = EventSchema::of_shape(&self.users().def, &self.extra_change_types, self.switchable_name);
        if schema.id != self.schema().id {
            self.schemas.push(Arc::new(schema));
        }
    }
}
