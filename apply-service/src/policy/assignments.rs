//! `assignments`, `settings` and `set`: who gets which settings, and what a setting is at this target.
//!
//! ```yaml
//! settings:                                   # mostly in the preset: what a setting means here
//!   profile: { attribute: 'roles[primary eq "True"].value', needs: gong }      # has no effect without this seat
//!   seats: { attribute: 'entitlements[type eq "{item}"].value', value: "true" }  # a list: one attribute per item; also
//!                                             # { from: custom.Seats__c, items: [gong] } and { gong: { from: custom.Gong__c } }
//!   workspaces: { attribute: 'roles[type eq "{key}"].value' }                  # a map: one attribute per key
//! assignments:                                # the uppermost whose filter holds
//!   - { name: sellers, filter: "Profile.Name = 'Sales User'", updates: automatic, set: { seats: [gong], profile: AE } }
//! set: { profile: AE }                        # instead of assignments: one set of settings for everybody
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use usher_contract::StateHash;
use usher_filter::Filter;
use usher_runtime::yaml::nearest;

use super::{attributes, layers::Layers};
use crate::{
    connector::Connector,
    logic::{
        account::AttributePath,
        assignments::{Assignment, SettingPlace},
        policy::{ACTIVE, AttributeRule, EXTERNAL_ID, USER_NAME, WhenBlank, Write},
    },
};

/// The setting whose items are seats, which other settings may need.
const SEATS: &str = "seats";
/// The seats that a field of the source may list.
const ITEMS: &str = "items";
/// Whether managers decide what is captured.
const CONTROL: [&str; 2] = ["organization", "managersControlCapture"];

/// What a setting means at the target.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Meaning {
    /// Where it is written; `{item}` stands for each item of a list, `{key}` for each key of a map.
    attribute: String,
    /// What is written for an item of a list; default true.
    value: Option<Value>,
    /// Whether it says which data is captured: with `organization.managersControlCapture` managers decide after the start.
    #[serde(default)]
    capture: bool,
    /// The seat without which it has no effect.
    needs: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Entry {
    name: String,
    filter: String,
    updates: Option<Updates>,
    #[serde(default)]
    apply_on_change: bool,
    #[serde(default)]
    set: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
enum Updates {
    Automatic,
    Manual,
}

/// Where settings are written that managers decide about: they are none of ours once they were written.
pub(super) fn managers_places(layers: &Layers<'_>, connector: &dyn Connector) -> Vec<SettingPlace> {
    /// Stands for an item or a key: letters alone, so that it can stand wherever one can.
    const STAND_IN: &str = "usherStandIn";
    // Mistakes are said with the assignments.
    let quiet = &mut Vec::new();
    let meanings: BTreeMap<String, Meaning> = layers.decode(&["settings"], quiet).unwrap_or_default();
    let managers = layers.decode(&CONTROL, quiet) == Some(true);
    let theirs = meanings.values().filter(|meaning| managers && meaning.capture);
    theirs
        .map(|meaning| {
            let whole = meaning.attribute.replace("{item}", STAND_IN).replace("{key}", STAND_IN);
            let path = connector.check_path(&whole).map_or(whole, |path| path.0);
            match path.split_once(STAND_IN) {
                Some((before, after)) => SettingPlace {
                    before: before.to_owned(),
                    after: Some(after.to_owned()),
                },
                None => SettingPlace {
                    before: path,
                    after: None,
                },
            }
        })
        .collect()
}

/// What is needed to read settings.
pub(super) struct Reading<'a> {
    layers: &'a Layers<'a>,
    connector: &'a dyn Connector,
    meanings: BTreeMap<String, Meaning>,
    managers_control_capture: bool,
    problems: &'a mut Vec<String>,
    warnings: &'a mut Vec<String>,
}

/// Reads the sections. `rows` are everybody's attributes: a setting must not write one of them.
pub(super) fn assignments(
    layers: &Layers<'_>,
    connector: &dyn Connector,
    rows: &[AttributeRule],
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
    mut filter: impl FnMut(&[&str], &str, &mut Vec<String>, &mut Vec<String>) -> Option<Filter>,
) -> Vec<Assignment> {
    let basic: Option<BTreeMap<String, Value>> = layers.decode(&["set"], problems);
    let listed = layers.get(&["assignments"]).is_some();
    let entries: Vec<Entry> = layers.decode(&["assignments"], problems).unwrap_or_default();
    if listed
        && entries.is_empty()
        && layers
            .get(&["assignments"])
            .and_then(Value::as_array)
            .is_some_and(Vec::is_empty)
    {
        problems.push(layers.problem(
            &["assignments"],
            "an empty list would leave everybody out; take the key out for one set of settings for all",
        ));
    }
    if listed && basic.is_some() {
        problems.push(layers.problem(
            &["set"],
            "stands beside assignments; settings of everybody go into an assignment with filter: all",
        ));
    }
    let mut reading = Reading::new(layers, connector, problems, warnings);
    if reading.managers_control_capture && !reading.meanings.values().any(|meaning: &Meaning| meaning.capture) {
        reading.warnings.push(layers.problem(
            &CONTROL,
            "has no effect: no setting of this target is marked capture: true",
        ));
    }
    if reading.managers_control_capture && reading.meanings.values().any(|meaning| meaning.capture) {
        reading.warnings.push(layers.problem(
            &CONTROL,
            "leaves what is captured to managers: settings marked capture: true are written with the account and never again",
        ));
    }
    let mut found = Vec::new();
    if let Some(set) = basic {
        found.push(reading.assignment("", None, false, false, &set, &["set"]));
    }
    let mut names = BTreeSet::new();
    let last = entries.len().saturating_sub(1);
    for (number, entry) in entries.iter().enumerate() {
        let place = number.to_string();
        let at = |key| ["assignments", place.as_str(), key];
        if entry.name.trim().is_empty() || !names.insert(entry.name.trim().to_lowercase()) {
            reading
                .problems
                .push(layers.problem(&at("name"), "must be a name that no other assignment of the target has"));
        }
        let all = entry.filter.trim().eq_ignore_ascii_case("all");
        if all && number < last {
            reading.problems.push(layers.problem(
                &at("filter"),
                "`all` leaves nobody for the assignments below; it goes last",
            ));
        }
        let condition = if all {
            None
        } else {
            filter(&at("filter"), &entry.filter, reading.problems, reading.warnings)
        };
        let manual = entry.updates == Some(Updates::Manual);
        if manual && entry.apply_on_change {
            reading
                .problems
                .push(layers.problem(&at("applyOnChange"), "has no use with updates: manual"));
        }
        found.push(reading.assignment(
            entry.name.trim(),
            condition,
            manual,
            entry.apply_on_change,
            &entry.set,
            &at("set"),
        ));
    }
    for assignment in &found {
        for row in assignment
            .rows
            .iter()
            .filter(|row| rows.iter().any(|other| other.path == row.path))
        {
            problems.push(layers.problem(
                &["settings"],
                format!(
                    "`{}` is written for everybody by a row of attributes; only one of both can be",
                    row.path
                ),
            ));
        }
    }
    for needed in connector.needs() {
        if rows.iter().any(|row| row.path.shares_element(&needed)) {
            continue;
        }
        for (number, assignment) in found.iter().enumerate() {
            if assignment.rows.iter().any(|row| row.path.shares_element(&needed)) {
                continue;
            }
            let place = number.to_string();
            let at = if listed {
                vec!["assignments", place.as_str(), "name"]
            } else {
                vec!["set"]
            };
            warnings.push(layers.problem(
                &at,
                format!(
                    "gives no `{needed}`, which every account must have: nobody gets an account by it, and whoever moves \
                     to it keeps the one they had; say which under `set`, or give everybody one under attributes"
                ),
            ));
        }
    }
    found
}

impl<'a> Reading<'a> {
    /// What settings mean at this target.
    pub(super) fn new(
        layers: &'a Layers<'a>,
        connector: &'a dyn Connector,
        problems: &'a mut Vec<String>,
        warnings: &'a mut Vec<String>,
    ) -> Self {
        Self {
            meanings: layers.decode(&["settings"], problems).unwrap_or_default(),
            managers_control_capture: layers.decode(&CONTROL, problems) == Some(true),
            layers,
            connector,
            problems,
            warnings,
        }
    }

    /// Whether the target has such a setting.
    pub(super) fn means(&self, setting: &str) -> bool {
        self.meanings.contains_key(setting)
    }

    fn assignment(
        &mut self,
        name: &str,
        filter: Option<Filter>,
        manual: bool,
        apply_on_change: bool,
        set: &BTreeMap<String, Value>,
        at: &[&str],
    ) -> Assignment {
        let seats: Option<Vec<&str>> = set.get(SEATS).and_then(grantable);
        let (mut rows, mut pending): (Vec<AttributeRule>, Vec<String>) = (Vec::new(), Vec::new());
        let mut waiting: BTreeSet<AttributePath> = BTreeSet::new();
        let mut capture = BTreeSet::new();
        for (setting, value) in set {
            let at: Vec<&str> = at.iter().copied().chain([setting.as_str()]).collect();
            let Some(meaning) = self.meanings.get(setting) else {
                let hint = nearest(setting, self.meanings.keys().map(String::as_str)).map_or_else(
                    || "`settings` says what a setting is at this target".to_owned(),
                    |name| format!("did you mean `{name}`?"),
                );
                self.problems.push(
                    self.layers
                        .problem(&at, format!("`{setting}` is no setting of this target; {hint}")),
                );
                continue;
            };
            // Seats from a field of the source are not known here: the target says then what takes effect.
            let lacking = meaning.needs.as_deref().filter(|needed| {
                let dynamic = set.get(SEATS).is_some() && seats.is_none();
                !dynamic && !seats.as_deref().unwrap_or_default().contains(needed)
            });
            if let Some(needed) = lacking {
                let words = format!("{setting} waits for the seat {needed}, which is not granted");
                self.warnings
                    .push(self.layers.problem(&at, format!("has no effect: {words}")));
                pending.push(words);
                // What an account holds there is left until the seat is granted again.
                waiting.extend(self.rows(setting, value, &at).into_iter().map(|row| row.path));
                continue;
            }
            let captures = meaning.capture;
            let written = self.rows(setting, value, &at);
            if captures {
                capture.extend(written.iter().map(|row| row.path.clone()));
            }
            rows.extend(written);
        }
        let mut seen = BTreeSet::new();
        for row in &rows {
            if !seen.insert(&row.path) {
                self.problems
                    .push(self.layers.problem(at, format!("two settings write `{}`", row.path)));
            }
        }
        // Everything that decides what is written: an edit of any of it waits like every edit.
        let mut words: Vec<Value> = rows
            .iter()
            .map(|row| {
                let source = format!("{:?} {:?}", row.source, row.values);
                // As settings are unless a file says otherwise: links remember the hash of the shorter words.
                match row.when_blank {
                    WhenBlank::Clear => json!([row.path, source]),
                    other => json!([row.path, source, format!("{other:?}")]),
                }
            })
            .collect();
        if manual {
            words.push(json!("manual"));
        }
        Assignment {
            name: name.to_owned(),
            filter,
            manual,
            apply_on_change,
            rows,
            capture,
            pending,
            waiting,
            settings: StateHash::of_value(&json!(words)),
            since: None,
        }
    }

    /// The rows that one setting becomes.
    pub(super) fn rows(&mut self, setting: &str, value: &Value, at: &[&str]) -> Vec<AttributeRule> {
        let Some(meaning) = self.meanings.get(setting) else {
            return Vec::new();
        };
        let (attribute, per_item) = (meaning.attribute.clone(), meaning.value.clone().unwrap_or(json!(true)));
        // What nobody has written is written as the application holds it.
        let granted = (value.is_array() || attribute.contains("{item}")) && meaning.value.is_none();
        let constant = |value: &Value| Map::from_iter([("constant".to_owned(), value.clone())]);
        let of = |value: &Value| match value {
            Value::Object(row) => row.clone(),
            plain => constant(plain),
        };
        let named: Vec<(String, Map<String, Value>)> = match value {
            Value::Array(items) if attribute.contains("{item}") => items
                .iter()
                .filter_map(Value::as_str)
                .map(|item| (attribute.replace("{item}", &escaped(item)), constant(&per_item)))
                .collect(),
            Value::Object(entries) if attribute.contains("{item}") => seats_by_field(entries, &per_item)
                .unwrap_or_default()
                .into_iter()
                .map(|(item, row)| (attribute.replace("{item}", &escaped(&item)), row))
                .collect(),
            Value::Object(entries) if attribute.contains("{key}") => entries
                .iter()
                .map(|(key, value)| (attribute.replace("{key}", &escaped(key)), of(value)))
                .collect(),
            Value::Array(_) | Value::Null => Vec::new(),
            other if !attribute.contains("{item}") && !attribute.contains("{key}") => {
                vec![(attribute.clone(), of(other))]
            }
            _ => Vec::new(),
        };
        let expected = match (attribute.contains("{item}"), attribute.contains("{key}")) {
            (true, _) => {
                "a list of texts, { from: custom.Seats__c, items: [a, b] }, or a map such as { a: { from: custom.A__c } }"
            }
            (_, true) => "a map of names to values",
            _ => "a text, a number, true/false, or a row such as { from: custom.Profile__c }",
        };
        let nobody = attribute.contains("{item}")
            && value
                .as_object()
                .and_then(|entries| seats_by_field(entries, &per_item))
                .is_some_and(|seats| seats.is_empty());
        let whole = value.as_array().is_none_or(|items| items.iter().all(Value::is_string));
        if (named.is_empty()
            && !nobody
            && value
                .as_array()
                .is_none_or(|items| !items.is_empty() || !attribute.contains("{item}")))
            || !whole
        {
            self.problems
                .push(self.layers.problem(at, format!("must be {expected}")));
            return Vec::new();
        }
        let mut rows = Vec::new();
        for (path, mut row) in named {
            // Blank sources take a setting back: what the source does not say nobody has. What no account can be without
            // stays: the target would refuse the whole write.
            let checked = self.connector.check_path(&path);
            let needed = checked
                .as_ref()
                .is_ok_and(|path| self.connector.needs().iter().any(|needed| needed.shares_element(path)));
            row.entry("whenBlank")
                .or_insert_with(|| json!(if needed { "keep" } else { "clear" }));
            match checked {
                Ok(path) if [EXTERNAL_ID, ACTIVE, USER_NAME].contains(&path.0.as_str()) => {
                    self.problems.push(self.layers.problem(
                        &["settings", setting, "attribute"],
                        format!(
                            "`{path}` is no setting: the person's key, the life cycle and the log-in name are written by \
                             Usher itself and by rows of attributes"
                        ),
                    ));
                }
                Ok(path) => {
                    let kind = self.connector.kind(&path);
                    if granted && let Some(value) = row.get_mut("constant") {
                        *value = kind.fit(value.take()).unwrap_or_default();
                    }
                    if granted && let Some(Value::Object(map)) = row.get_mut("map") {
                        let given = map.values_mut().filter(|value| **value == json!(true));
                        given.for_each(|value| *value = kind.fit(value.take()).unwrap_or_default());
                    }
                    rows.extend(attributes::rule(self.layers, at, (path, kind), row, self.problems));
                }
                Err(reason) => self.problems.push(
                    self.layers
                        .problem(&["settings", setting, "attribute"], format!("`{path}`: {reason}")),
                ),
            }
        }
        let left_to_managers =
            self.managers_control_capture && self.meanings.get(setting).is_some_and(|meaning| meaning.capture);
        if left_to_managers {
            rows.iter_mut()
                .for_each(|row: &mut AttributeRule| row.write = Write::OnCreate);
        }
        for row in rows
            .iter()
            .filter(|row| row.write == Write::OnCreate && !left_to_managers)
        {
            self.problems.push(self.layers.problem(
                at,
                format!(
                    "`{}`: write: onCreate belongs to attributes; for settings say updates: manual",
                    row.path
                ),
            ));
        }
        rows
    }
}

/// The seats that may be granted; `None` when a field of the source says which, and here nobody knows.
fn grantable(seats: &Value) -> Option<Vec<&str>> {
    match seats {
        Value::Array(list) => Some(list.iter().filter_map(Value::as_str).collect()),
        Value::Object(entries) => match entries.get(ITEMS).and_then(Value::as_array) {
            Some(items) => Some(items.iter().filter_map(Value::as_str).collect()),
            None if is_row(entries) => None,
            None => {
                let on = entries.iter().filter(|(_, value)| **value != Value::Bool(false));
                Some(on.map(|(seat, _)| seat.as_str()).collect())
            }
        },
        _ => None,
    }
}

/// Whether these are the keys of a row of the mapping.
fn is_row(entries: &Map<String, Value>) -> bool {
    ["from", "constant", "template"]
        .iter()
        .any(|key| entries.contains_key(*key))
}

/// The row of each seat where fields of the source decide: one field that lists seats, or a field per seat. `None` when it is
/// written in neither way.
fn seats_by_field(entries: &Map<String, Value>, granted: &Value) -> Option<Vec<(String, Map<String, Value>)>> {
    let yes = |row: &mut Map<String, Value>| {
        let words = ["true", "yes", "1"].map(|word| (word.to_owned(), granted.clone()));
        row.entry("map").or_insert_with(|| Value::Object(Map::from_iter(words)));
    };
    if let Some(items) = entries.get(ITEMS) {
        let fields: Vec<&str> = match entries.get("from")? {
            Value::String(field) => vec![field],
            Value::Array(fields) => fields.iter().map(Value::as_str).collect::<Option<_>>()?,
            _ => return None,
        };
        let known = entries
            .keys()
            .all(|key| key == ITEMS || key == "from" || key == "whenBlank");
        let items: Option<Vec<&str>> = items.as_array()?.iter().map(Value::as_str).collect();
        return items.filter(|_| known && !fields.is_empty()).map(|items| {
            let row = |item: &str| {
                let mut row = Map::from_iter([("template".to_owned(), json!(is_listed(&fields, item)))]);
                row.extend(
                    entries
                        .get("whenBlank")
                        .map(|value| ("whenBlank".to_owned(), value.clone())),
                );
                yes(&mut row);
                (item.to_owned(), row)
            };
            items.into_iter().map(row).collect()
        });
    }
    if is_row(entries) {
        return None;
    }
    let mut seats = Vec::new();
    for (seat, value) in entries {
        match value {
            Value::Bool(false) => {}
            Value::Bool(true) => seats.push((seat.clone(), Map::from_iter([("constant".to_owned(), granted.clone())]))),
            Value::Object(row) => {
                let mut row = row.clone();
                if !row.contains_key("constant") {
                    yes(&mut row);
                }
                seats.push((seat.clone(), row));
            }
            _ => return None,
        }
    }
    Some(seats)
}

/// A template that says 1 when the first of these fields that is not blank lists an item: as a multi-select picklist, or
/// between commas; capital letters and blanks do not count.
fn is_listed(fields: &[&str], item: &str) -> String {
    let mut of = fields.iter().rev().map(|field| format!("({field} ~ '')"));
    let last = of.next().unwrap_or_default();
    let list = of.fold(last, |rest, field| format!("({field} | default({rest}))"));
    let item = item
        .to_lowercase()
        .replace(' ', "")
        .replace('\\', "\\\\")
        .replace('\'', "\\'");
    let list = format!("({list} | lower | replace(' ', '') | replace(',', ';'))");
    format!("{{% if ';{item};' in (';' ~ {list} ~ ';') %}}1{{% endif %}}")
}

/// A name inside the quotes of a value filter.
fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"")
}
