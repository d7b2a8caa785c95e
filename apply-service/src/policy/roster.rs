//! `connection.roster`: a list that is written whole.

use serde_json::{Value, json};
use usher_contract::StateHash;
use usher_runtime::yaml::nearest;

use super::layers::Layers;
use crate::{
    connector::roster::{PlaceConfig, RosterConfig},
    logic::{
        account::AttributePath,
        policy::{ACTIVE, AttributeRule, EXTERNAL_ID, Pace, USER_NAME},
    },
};

const AT: [&str; 2] = ["connection", "roster"];

/// Whether the target is a list.
pub(super) fn is_roster(layers: &Layers<'_>) -> bool {
    layers.get(&AT).is_some()
}

/// Reads the list; every mistake is in `problems`.
pub(super) fn roster(layers: &Layers<'_>, problems: &mut Vec<String>) -> Option<RosterConfig> {
    for other in ["scim", "rest"] {
        if layers.get(&["connection", other]).is_some() {
            problems.push(layers.problem(
                &["connection", other],
                format!(
                    "belongs to another kind of connection, and this target has connection.roster; take {other} out"
                ),
            ));
        }
    }
    for (key, needed) in [
        ("place", "where the list lies: folder, s3, gcs, azure or webdav"),
        ("file", "the name of the file, such as users.csv"),
    ] {
        if layers.get(&["connection", "roster", key]).is_none() {
            problems.push(layers.problem(&["connection", "roster", key], format!("is required: {needed}")));
            return None;
        }
    }
    let config: RosterConfig = layers.decode(&AT, problems)?;
    let mistakes = config.validate();
    for (below, message) in &mistakes {
        let path: Vec<&str> = AT.into_iter().chain(below.iter().map(String::as_str)).collect();
        problems.push(layers.problem(&path, message));
    }
    endpoint(layers, &config, problems);
    let webdav = matches!(config.place, PlaceConfig::Webdav { .. });
    for key in ["baseUrl", "auth"] {
        if !webdav && layers.get(&["connection", key]).is_some() {
            problems.push(layers.problem(
                &["connection", key],
                "has no use here: only a list on WebDAV is reached by an address of its own; take it out",
            ));
        }
    }
    mistakes.is_empty().then_some(config)
}

/// Another address of a store has to be as safe as every other address.
fn endpoint(layers: &Layers<'_>, config: &RosterConfig, problems: &mut Vec<String>) {
    let (kind, endpoint) = match &config.place {
        PlaceConfig::S3(s3) => ("s3", s3.endpoint.as_ref()),
        PlaceConfig::Azure(azure) => ("azure", azure.endpoint.as_ref()),
        PlaceConfig::Gcs(gcs) => ("gcs", gcs.endpoint.as_ref()),
        PlaceConfig::Folder { .. } | PlaceConfig::Webdav { .. } => return,
    };
    let Some(endpoint) = endpoint else { return };
    let allow_plaintext = layers.get(&["connection", "allowPlaintext"]) == Some(&Value::Bool(true));
    // What is no list of ranges is said where the connection is read.
    let allow_addresses = layers
        .decode(&["connection", "allowAddresses"], &mut Vec::new())
        .unwrap_or_default();
    let http = crate::connector::http::HttpConfig {
        allow_plaintext,
        allow_addresses,
        ..crate::connector::http::HttpConfig::new(endpoint)
    };
    let of_endpoint = |message: &String| message.starts_with("baseUrl");
    for message in http.validate().into_iter().filter(of_endpoint) {
        let message = message.replace("baseUrl", "endpoint");
        problems.push(layers.problem(&["connection", "roster", "place", kind, "endpoint"], message));
    }
}

/// The rows that columns show, and columns that nothing fills. `settings` are the attributes of assignments.
pub(super) fn shown(
    layers: &Layers<'_>,
    config: &RosterConfig,
    rows: Vec<AttributeRule>,
    settings: &[&AttributePath],
    problems: &mut Vec<String>,
) -> Vec<AttributeRule> {
    let shows = |path: &str| config.columns.iter().any(|column| column.attribute == path);
    for column in &config.columns {
        let attribute = column.attribute.as_str();
        let filled = [EXTERNAL_ID, ACTIVE].contains(&attribute)
            || rows.iter().any(|row| row.path.0 == attribute)
            || settings.iter().any(|path| path.0 == attribute);
        if !filled {
            problems.push(layers.problem(
                &["connection", "roster", "columns"],
                format!(
                    "nothing fills the column `{}`: there is no row `{attribute}` under attributes",
                    column.name
                ),
            ));
        }
    }
    let hint = |path: &str| {
        let known = config.columns.iter().map(|column| column.attribute.as_str());
        let near = nearest(path, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        format!("no column of connection.roster.columns shows `{path}`{near}")
    };
    for path in settings.iter().filter(|path| !shows(&path.0)) {
        problems.push(layers.problem(&["assignments"], hint(&path.0)));
    }
    // The log-in name tells rows apart, also where the list does not show it.
    let (shown, hidden): (Vec<_>, Vec<_>) = rows
        .into_iter()
        .partition(|row| shows(&row.path.0) || row.path.0 == USER_NAME);
    // A preset's rows are for the preset's columns; what somebody has written is not passed over in silence.
    for row in hidden.iter().filter(|row| row.row != "preset") {
        problems.push(layers.problem(&["attributes", &row.path.0], hint(&row.path.0)));
    }
    shown
}

/// Everybody at once: how often the list is written is said by `quiet` and `atMost`.
pub(super) fn pace(layers: &Layers<'_>, problems: &mut Vec<String>) -> Pace {
    if layers.get(&["pace"]).is_some() {
        problems.push(layers.problem(
            &["pace"],
            "has no use for a list that is written whole; connection.roster.quiet and atMost say how often",
        ));
    }
    Pace {
        per_second: 1_000_000.0,
        per_day: None,
        leaver_reserve_percent: 0,
        concurrency: usize::MAX,
    }
}

/// Which list this is: another one has none of our rows.
/// `address` gives addresses the form in which they are compared.
pub(super) fn tenant(layers: &Layers<'_>, config: &RosterConfig, address: fn(&Value) -> Value) -> StateHash {
    let mut place = layers
        .get(&["connection", "roster", "place"])
        .cloned()
        .unwrap_or_default();
    // How the place is reached is not what it is.
    for kind in ["s3", "gcs", "azure", "webdav"] {
        if let Some(of_kind) = place.get_mut(kind).and_then(Value::as_object_mut) {
            of_kind.retain(|key, _| ["bucket", "prefix", "endpoint", "account", "container"].contains(&key.as_str()));
            if let Some(endpoint) = of_kind.get_mut("endpoint") {
                *endpoint = address(endpoint);
            }
        }
    }
    StateHash::of_value(&json!({
        "place": place,
        "file": config.file,
        "baseUrl": layers.get(&["connection", "baseUrl"]).map(address),
        "tenant": layers.get(&["connection", "tenant"]),
    }))
}
