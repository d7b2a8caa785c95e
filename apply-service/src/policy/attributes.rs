//! The rows of the mapping: preset, defaults and file merged by attribute, then key by key.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use usher_runtime::yaml::{decode, nearest};

use super::{
    layers::Layers,
    secrets::{REFUSED, names_secret},
};
use crate::{
    connector::Connector,
    logic::{
        account::AttributePath,
        policy::{ACTIVE, AttributeRule, EXTERNAL_ID, USER_NAME, ValueKind, ValueMap, ValueSource, WhenBlank, Write},
        source::SourceField,
        template::{Template, TemplateError},
    },
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    from: Option<OneOrMany>,
    constant: Option<Value>,
    template: Option<String>,
    map: Option<BTreeMap<String, Value>>,
    default: Option<Value>,
    #[serde(default)]
    drop: bool,
    write: Option<WriteWord>,
    when_blank: Option<BlankWord>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected the name of a field, or a list of names")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum WriteWord {
    Always,
    OnCreate,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum BlankWord {
    Keep,
    Clear,
    Skip,
}

/// The keys of which a row has one.
const SOURCES: [&str; 4] = ["from", "constant", "template", "drop"];

/// The rows of a target, ordered by path.
pub(super) fn attributes(
    layers: &Layers<'_>,
    connector: &dyn Connector,
    problems: &mut Vec<String>,
) -> Vec<AttributeRule> {
    // By canonical path: the name as somebody wrote it (for messages) and the merged row.
    let mut rows: BTreeMap<AttributePath, (String, Map<String, Value>)> = BTreeMap::new();
    for layer in layers.by_layer(&["attributes"]) {
        let Value::Object(layer) = layer else {
            problems.push(layers.problem(&["attributes"], "must be rows of `attribute: { from: field }`"));
            continue;
        };
        for (name, row) in layer {
            let at = ["attributes", name.as_str()];
            let path = match connector.check_path(name) {
                Ok(path) if path.0 == EXTERNAL_ID || path.0 == ACTIVE => {
                    problems.push(layers.problem(
                        &at,
                        "is written by Usher itself (the person's key, the life cycle); take the row out",
                    ));
                    continue;
                }
                Ok(path) => path,
                Err(reason) => {
                    problems.push(layers.problem(&at, reason));
                    continue;
                }
            };
            let Value::Object(row) = row else {
                problems.push(layers.problem(&at, "must be a row such as { from: title }"));
                continue;
            };
            let (shown, merged) = rows.entry(path).or_default();
            shown.clone_from(name);
            // A row has one source: a new one takes the place of the old one, whatever its kind.
            if SOURCES.iter().any(|key| row.contains_key(*key)) {
                merged.retain(|key, _| !SOURCES.contains(&key.as_str()));
            }
            merged.extend(row.clone());
        }
    }
    if !rows.contains_key(&AttributePath(USER_NAME.to_owned())) {
        problems.push(layers.problem(
            &["attributes"],
            "userName has no row; no account can be made without it",
        ));
    }
    let names: BTreeMap<AttributePath, String> = rows
        .iter()
        .map(|(path, (name, _))| (path.clone(), name.clone()))
        .collect();
    let rules: Vec<AttributeRule> = rows
        .into_iter()
        .filter_map(|(path, (name, row))| {
            let kind = connector.kind(&path);
            rule(layers, &["attributes", &name], (path, kind), row, problems)
        })
        .collect();
    for rule in &rules {
        if rule.write == Write::Always && connector.only_with_new_accounts(&rule.path) {
            let name = names.get(&rule.path).map_or(rule.path.0.as_str(), String::as_str);
            problems.push(layers.problem(
                &["attributes", name],
                "cannot be changed at this application once the account is there; say write: onCreate",
            ));
        }
    }
    rules
}

/// A row of the mapping that is written at `at`.
pub(super) fn rule(
    layers: &Layers<'_>,
    at: &[&str],
    (path, kind): (AttributePath, ValueKind),
    row: Map<String, Value>,
    problems: &mut Vec<String>,
) -> Option<AttributeRule> {
    let row: Row = match decode(Value::Object(row)) {
        Ok(row) => row,
        Err((key, message)) => {
            problems.push(layers.problem(&below(at, &[&key]), message));
            return None;
        }
    };
    if row.drop {
        if path.0 == USER_NAME {
            problems.push(layers.problem(at, "userName cannot be dropped; no account can be made without it"));
        }
        return None;
    }
    if names_secret(&path.0) {
        problems.push(layers.problem(at, REFUSED));
        return None;
    }
    let values = values(layers, at, row.map, row.default, problems);
    misfits(layers, at, kind, &values, row.constant.as_ref(), problems);
    let source = match (row.from, row.constant, row.template) {
        (Some(from), None, None) => {
            let fields = fields(layers, at, from, problems)?;
            if kind == ValueKind::Boolean && values.values.is_empty() {
                unlike_truth(layers, at, &fields, problems);
            }
            ValueSource::From(fields)
        }
        (None, Some(constant), None) => {
            if !is_plain(&constant) {
                problems.push(layers.problem(&below(at, &["constant"]), PLAIN));
                return None;
            }
            if values != ValueMap::default() {
                problems.push(layers.problem(at, "map and default have no use with a constant; take them out"));
            }
            ValueSource::Constant(constant)
        }
        (None, None, Some(text)) => ValueSource::Template(template(layers, at, &text, problems)?),
        _ => {
            problems.push(layers.problem(at, "needs exactly one of from, constant, template and drop"));
            return None;
        }
    };
    let write = match row.write {
        None | Some(WriteWord::Always) => Write::Always,
        Some(WriteWord::OnCreate) => Write::OnCreate,
    };
    let when_blank = match row.when_blank {
        None | Some(BlankWord::Keep) => WhenBlank::Keep,
        Some(BlankWord::Clear) => WhenBlank::Clear,
        Some(BlankWord::Skip) => WhenBlank::Skip,
    };
    if path.0 == USER_NAME && when_blank == WhenBlank::Clear {
        problems.push(layers.problem(
            &below(at, &["whenBlank"]),
            "userName cannot be cleared; use keep or skip",
        ));
    }
    Some(AttributeRule {
        row: layers.place(at),
        values,
        path,
        source,
        write,
        when_blank,
        kind,
    })
}

/// Values of the file that the application does not hold at this place.
fn misfits(
    layers: &Layers<'_>,
    at: &[&str],
    kind: ValueKind,
    values: &ValueMap,
    constant: Option<&Value>,
    problems: &mut Vec<String>,
) {
    let constant = constant.into_iter().map(|value| ("constant", value));
    let default = values.default.iter().map(|value| ("default", value));
    let mapped = values.values.values().map(|value| ("map", value));
    for (key, value) in constant
        .chain(default)
        .chain(mapped)
        .filter(|(_, value)| is_plain(value))
    {
        let message = match kind {
            ValueKind::Text if !value.is_string() => {
                format!("`{value}` is a text at this application; write \"{value}\"")
            }
            ValueKind::Boolean if !value.is_boolean() => {
                format!("is true or false at this application, and {value} is neither")
            }
            _ => continue,
        };
        problems.push(layers.problem(&below(at, &[key]), message));
    }
}

/// Fields that never hold true or false, for a place that holds nothing else: everybody would be left alone because of it.
/// (Custom fields may hold anything.)
fn unlike_truth(layers: &Layers<'_>, at: &[&str], fields: &[SourceField], problems: &mut Vec<String>) {
    for field in fields {
        let holds = match field {
            SourceField::Custom(_) => true,
            SourceField::Published(name, _) => matches!(*name, "active" | "frozen"),
            SourceField::Manager => false,
            SourceField::OfManager(of) => {
                matches!(&**of, SourceField::Custom(_))
                    || matches!(&**of, SourceField::Published("active" | "frozen", _))
            }
        };
        if !holds {
            let words = format!(
                "is true or false at this application, and `{field}` never says either; translate it with map, as \
                 {{ map: {{ Sales: true }}, default: false }}"
            );
            problems.push(layers.problem(&below(at, &["from"]), words));
        }
    }
}

const PLAIN: &str = "must be a text, a number or true/false";

fn is_plain(value: &Value) -> bool {
    value.is_string() || value.is_number() || value.is_boolean()
}

/// The words of the target for values of the source.
fn values(
    layers: &Layers<'_>,
    at: &[&str],
    map: Option<BTreeMap<String, Value>>,
    default: Option<Value>,
    problems: &mut Vec<String>,
) -> ValueMap {
    let mut values = BTreeMap::new();
    for (word, value) in map.into_iter().flatten() {
        let at = below(at, &["map", &word]);
        if !is_plain(&value) {
            problems.push(layers.problem(&at, PLAIN));
        }
        if values.insert(word.trim().to_lowercase(), value).is_some() {
            problems.push(layers.problem(&at, "stands twice, apart from capital letters, which do not count"));
        }
    }
    if default.as_ref().is_some_and(|default| !is_plain(default)) {
        problems.push(layers.problem(&below(at, &["default"]), PLAIN));
    }
    ValueMap { values, default }
}

fn template(layers: &Layers<'_>, at: &[&str], text: &str, problems: &mut Vec<String>) -> Option<Template> {
    let at = below(at, &["template"]);
    match Template::parse(text) {
        Ok(template) if template.fields().iter().any(|field| names_secret(&field.to_string())) => {
            problems.push(layers.problem(&at, REFUSED));
            None
        }
        Ok(template) => Some(template),
        Err(TemplateError::Wrong(words)) => {
            problems.push(layers.problem(&at, words));
            None
        }
        Err(TemplateError::UnknownField(field)) => {
            named(layers, &at, &field, problems);
            None
        }
    }
}

fn fields(layers: &Layers<'_>, at: &[&str], from: OneOrMany, problems: &mut Vec<String>) -> Option<Vec<SourceField>> {
    let names = match from {
        OneOrMany::One(name) => vec![name],
        OneOrMany::Many(names) if names.is_empty() => {
            problems.push(layers.problem(&below(at, &["from"]), "names no field"));
            return None;
        }
        OneOrMany::Many(names) => names,
    };
    let at = below(at, &["from"]);
    if names.iter().any(|name| names_secret(name)) {
        problems.push(layers.problem(&at, REFUSED));
        return None;
    }
    let fields: Vec<SourceField> = names
        .iter()
        .filter_map(|field| SourceField::mapped(field).or_else(|| named(layers, &at, field, problems)))
        .collect();
    (fields.len() == names.len()).then_some(fields)
}

/// A path and what stands below it.
fn below<'a>(at: &[&'a str], keys: &[&'a str]) -> Vec<&'a str> {
    at.iter().chain(keys).copied().collect()
}

/// A source field by its name, or a problem with the nearest name.
pub(super) fn named(layers: &Layers<'_>, at: &[&str], name: &str, problems: &mut Vec<String>) -> Option<SourceField> {
    let field = SourceField::named(name);
    if let Some(of) = name.strip_prefix("manager.")
        && SourceField::mapped(name).is_some()
    {
        let message = format!(
            "`{name}` is a source of rows alone (`from: {name}`), not of what is asked here; `{of}` is the person's own"
        );
        problems.push(layers.problem(at, message));
    } else if field.is_none() {
        let hint = nearest(name, SourceField::names()).map_or_else(
            || "fields of the org are written custom.Name__c".to_owned(),
            |nearest| format!("did you mean `{nearest}`? Fields of the org are written custom.Name__c"),
        );
        problems.push(layers.problem(at, format!("unknown field `{name}`; {hint}")));
    }
    field
}
