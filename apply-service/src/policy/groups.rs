//! `groups` and `access`: in which groups of the application people are to be, and which groups of the source let them in.
//!
//! ```yaml
//! groups:
//!   from: [groups, permissionSets, assignments, role, profile]    # whose names
//!   map: { EMEA: sf-emea, 00G5f000000AbCd: sf-apac, Everyone: null }  # by name or id; null is no group
//!   unmapped: sameName                       # or ignore
//!   create: true                             # missing ones are made
//!   removeStale: false                       # leave what the source does not say any more, of ours and of the map
//!   leavers: keep                            # or remove: whose account is switched off leaves their groups
//! access:                                    # in one of them, or in a group nested in one, or out of scope
//!   - { group: Sales EMEA, name: Gong sellers, login: password }
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;
use usher_contract::RecordId;
use usher_runtime::yaml::nearest;

use super::{assignments::Reading, layers::Layers};
use crate::{
    connector::Connector,
    logic::{
        groups::rules::{GroupRules, GroupSource, folded},
        policy::AttributeRule,
        scope::{Access, Members},
    },
};

/// The setting under which a target keeps how somebody logs in.
const LOGIN: &str = "login";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Unmapped {
    SameName,
    Ignore,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Leavers {
    Keep,
    Remove,
}

/// Reads `groups`; `None` when the target has none. Whether they are switched off is for the caller.
pub(super) fn groups(
    layers: &Layers<'_>,
    connector: Option<&dyn Connector>,
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> Option<GroupRules> {
    let switched: Option<bool> = layers.decode(&["features", "groups"], problems);
    if layers.get(&["groups"]).is_none() {
        if switched == Some(true) {
            problems.push(layers.problem(
                &["features", "groups"],
                "is on, and there is no section `groups` that says whose names the groups have",
            ));
        }
        return None;
    }
    let words: Vec<String> = layers
        .require(
            &["groups", "from"],
            "whose names the groups have, of groups, permissionSets, assignments, role, profile",
            problems,
        )
        .unwrap_or_default();
    let mut from: Vec<GroupSource> = Vec::new();
    for word in &words {
        match GroupSource::WORDS.iter().find(|(known, _)| known == word) {
            Some((_, source)) if from.contains(source) => {
                problems.push(layers.problem(&["groups", "from"], format!("has {word} twice")));
            }
            Some((_, source)) => from.push(*source),
            None => {
                let known = || GroupSource::WORDS.iter().map(|(word, _)| *word);
                let hint = nearest(word, known()).map_or_else(
                    || format!("there are {}", known().collect::<Vec<_>>().join(", ")),
                    |word| format!("did you mean `{word}`?"),
                );
                problems.push(layers.problem(
                    &["groups", "from"],
                    format!("`{word}` is nothing that has groups; {hint}"),
                ));
            }
        }
    }
    if layers
        .get(&["groups", "from"])
        .and_then(serde_json::Value::as_array)
        .is_some_and(Vec::is_empty)
    {
        problems.push(layers.problem(&["groups", "from"], "an empty list has no groups; take the section out"));
    }
    if from.contains(&GroupSource::Assignments) && layers.get(&["assignments"]).is_none() {
        problems.push(layers.problem(&["groups", "from"], "has assignments, and this target has none"));
    }
    let map = map(layers, problems);
    let same_name = match layers.decode::<Unmapped>(&["groups", "unmapped"], problems) {
        Some(Unmapped::Ignore) => false,
        Some(Unmapped::SameName) | None => true,
    };
    if !same_name && !map.values().any(Option::is_some) {
        problems.push(layers.problem(
            &["groups", "unmapped"],
            "with ignore and nothing in groups.map nobody would be in any group",
        ));
    }
    let remove_stale = layers.decode(&["groups", "removeStale"], problems).unwrap_or(false);
    let leavers = layers.decode::<Leavers>(&["groups", "leavers"], problems);
    let remove_leavers = matches!(leavers, Some(Leavers::Remove));
    if remove_leavers && !remove_stale {
        problems.push(layers.problem(&["groups", "leavers"], "remove needs groups.removeStale: true"));
    }
    let wants_create: Option<bool> = layers.decode(&["groups", "create"], problems);
    let connector = connector?;
    let Some(abilities) = connector.groups() else {
        problems.push(layers.problem(
            &["groups"],
            "this application offers no way to put people into groups; take the section out, or describe its calls under \
             connection.rest.groups",
        ));
        return None;
    };
    if wants_create == Some(true) && !abilities.create {
        problems.push(layers.problem(
            &["groups", "create"],
            "is on, and this application offers no way to make groups",
        ));
    }
    if remove_stale && !abilities.remove {
        problems.push(layers.problem(
            &["groups", "removeStale"],
            "is on, and this application offers no way to take somebody out of a group",
        ));
    }
    if !abilities.read {
        warnings.push(layers.problem(
            &["groups"],
            "this application does not show who is in a group: what was written is believed",
        ));
    }
    Some(GroupRules {
        from,
        map,
        same_name,
        create: wants_create.unwrap_or(true) && abilities.create,
        remove_stale,
        remove_leavers,
        abilities,
    })
}

fn map(layers: &Layers<'_>, problems: &mut Vec<String>) -> BTreeMap<String, Option<String>> {
    let given: BTreeMap<String, Option<String>> = layers.decode(&["groups", "map"], problems).unwrap_or_default();
    let mut map = BTreeMap::new();
    for (name, group) in given {
        let at = ["groups", "map", name.as_str()];
        if group.as_ref().is_some_and(|group| group.trim().is_empty()) {
            problems.push(layers.problem(&at, "must be the name of a group, or null for none"));
            continue;
        }
        // An id in its 15-character form is the same.
        let is_group = ["00G", "0PS", "00E", "00e"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        let id = RecordId::try_new(&name).ok().filter(|_| is_group);
        let key = id.map_or_else(|| folded(&name), |id| folded(id.as_str()));
        if map.insert(key, group.map(|group| group.trim().to_owned())).is_some() {
            problems.push(layers.problem(&at, "stands there twice: capital letters do not count"));
        }
    }
    map
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    group: String,
    name: Option<String>,
    login: Option<String>,
}

/// Reads `access`. `rows` are everybody's attributes.
pub(super) fn access(
    layers: &Layers<'_>,
    connector: &dyn Connector,
    rows: &[AttributeRule],
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> Vec<Access> {
    let entries: Vec<Entry> = layers.decode(&["access"], problems).unwrap_or_default();
    if layers
        .get(&["access"])
        .and_then(serde_json::Value::as_array)
        .is_some_and(Vec::is_empty)
    {
        problems.push(layers.problem(
            &["access"],
            "an empty list would let nobody in; take the key out when groups do not decide",
        ));
    }
    let mut found: Vec<Access> = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        let place = number.to_string();
        let at = |key| ["access", place.as_str(), key];
        let group = entry.group.trim();
        if group.is_empty() {
            problems.push(layers.problem(&at("group"), "must be the name or the id of a public group"));
            continue;
        }
        let name = entry.name.as_deref().unwrap_or(group).trim().to_owned();
        if found.iter().any(|other| other.name.eq_ignore_ascii_case(&name)) {
            problems.push(layers.problem(&at("name"), format!("`{name}` is the name of another access policy")));
        }
        let login = entry.login.as_deref().map(str::trim).filter(|login| !login.is_empty());
        let login_rows = login.map_or_else(Vec::new, |login| {
            let mut reading = Reading::new(layers, connector, problems, warnings);
            if reading.means(LOGIN) {
                reading.rows(LOGIN, &serde_json::json!(login), &at("login"))
            } else {
                warnings.push(layers.problem(
                    &at("login"),
                    "is only reported: `settings.login` does not say where this application keeps how somebody logs in",
                ));
                Vec::new()
            }
        });
        for row in login_rows
            .iter()
            .filter(|row| rows.iter().any(|other| other.path == row.path))
        {
            problems.push(layers.problem(
                &at("login"),
                format!(
                    "`{}` is written for everybody by a row of attributes; only one of both can be",
                    row.path
                ),
            ));
        }
        found.push(Access {
            name,
            group: group.to_owned(),
            login: login.map(str::to_owned),
            members: Members::of(group),
            rows: login_rows,
        });
    }
    found
}
