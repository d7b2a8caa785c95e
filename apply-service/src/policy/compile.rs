//! From the merged layers of a target to its policy, section by section, so that one problem does not hide the next.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};
use usher_contract::{OrgId, StateHash, TargetName};
use usher_runtime::yaml::nearest;

use super::{PRESETS, Target, attributes, connection::connection, layers::Layers};
use crate::{
    connector::scim::{ScimConfig, ScimConnector},
    logic::policy::{
        Disposition, Features, Gate, Lifecycle, Match, MatchKey, Mode, Pace, Retry, TargetPolicy, WORK_EMAIL,
    },
};

/// Compiles one target. `None` when something that the rest needs is missing; every problem is in `problems`.
pub(super) fn target(
    layers: &Layers<'_>,
    file: &Path,
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> Option<Target> {
    let name: Option<TargetName> = layers.require(&["target"], "the name of the target", problems);
    preset(layers, problems);
    let mode = mode(layers, problems);
    let sources: Option<BTreeSet<OrgId>> = layers.require(
        &["sources"],
        "the ids of the organizations whose people belong here",
        problems,
    );
    if sources.as_ref().is_some_and(BTreeSet::is_empty) {
        problems.push(layers.problem(&["sources"], "names no organization: nobody would ever belong"));
    }
    let connection = connection(layers, problems, warnings);
    let features = features(layers, problems);
    scope(layers, problems);
    let gate = gate(layers, problems);
    let scim = connection
        .as_ref()
        .map_or_else(ScimConfig::default, |connection| connection.scim.clone());
    let matching = matching(layers, scim.external_id, problems);
    let attributes = attributes::attributes(layers, &ScimConnector::new(scim), problems);
    let by_email = matching
        .as_ref()
        .is_some_and(|matching| matching.by.contains(&MatchKey::Email));
    if by_email && !attributes.iter().any(|rule| rule.path.0 == WORK_EMAIL) {
        problems.push(layers.problem(
            &["match", "by"],
            format!("has email, and there is no row `{WORK_EMAIL}` that says where the address comes from"),
        ));
    }
    let lifecycle = lifecycle(layers, problems);
    let pace = pace(layers, problems);
    let retry = retry(layers, problems);
    let reconcile = duration(
        layers,
        &["schedule", "reconcile"],
        Duration::from_secs(24 * 3600),
        problems,
    );
    let policy = TargetPolicy {
        hash: hash(layers, &attributes),
        name: name?,
        mode: mode?,
        sources: sources?,
        features,
        gate,
        matching: matching?,
        attributes,
        lifecycle,
        pace,
        retry,
        reconcile,
    };
    Some(Target {
        policy: Arc::new(policy),
        connection: connection?,
        file: file.to_owned(),
    })
}

fn preset(layers: &Layers<'_>, problems: &mut Vec<String>) {
    let known = || PRESETS.iter().map(|(name, _)| *name);
    let list = known().collect::<Vec<_>>().join(", ");
    let Some(preset) = layers.require::<String>(&["preset"], &format!("one of {list}"), problems) else {
        return;
    };
    if !known().any(|name| name == preset) {
        let hint = nearest(&preset, known()).map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        problems.push(layers.problem(
            &["preset"],
            format!("there is no preset `{preset}`; this version has {list}{hint}"),
        ));
    }
}

fn mode(layers: &Layers<'_>, problems: &mut Vec<String>) -> Option<Mode> {
    let word: String = layers.require(&["mode"], "off, observe or enforce", problems)?;
    match word.as_str() {
        "off" => Some(Mode::Off),
        "observe" => Some(Mode::Observe),
        "enforce" => Some(Mode::Enforce),
        "link" => refuse(
            layers,
            &["mode"],
            "link is not supported in this version; use off, observe or enforce",
            problems,
        ),
        // YAML 1.1 reads a bare `off` as false; so may whoever generated the file.
        other => refuse(
            layers,
            &["mode"],
            &format!("`{other}` is no mode; use off, observe or enforce"),
            problems,
        ),
    }
}

fn features(layers: &Layers<'_>, problems: &mut Vec<String>) -> Features {
    for key in ["delete", "groups", "invite"] {
        if layers.decode::<bool>(&["features", key], problems) == Some(true) {
            problems.push(layers.problem(
                &["features", key],
                "is not supported in this version; leave it out or set it to false",
            ));
        }
    }
    let mut on = |key| layers.decode(&["features", key], problems).unwrap_or(true);
    Features {
        create: on("create"),
        update: on("update"),
        deactivate: on("deactivate"),
        reactivate: on("reactivate"),
    }
}

fn scope(layers: &Layers<'_>, problems: &mut Vec<String>) {
    let path = ["scope", "filter"];
    if let Some(filter) = layers.require::<String>(
        &path,
        "which users belong; all users are said with the word all",
        problems,
    ) && filter.trim() != "all"
    {
        problems.push(layers.problem(&path, "only `all` is supported in this version; filters are not"));
    }
}

fn gate(layers: &Layers<'_>, problems: &mut Vec<String>) -> Gate {
    let names: Vec<String> = layers.decode(&["gate", "require"], problems).unwrap_or_default();
    let require = names
        .iter()
        .filter_map(|name| attributes::named(layers, &["gate", "require"], name, problems))
        .collect();
    if layers.decode::<bool>(&["gate", "domains", "convertToPrimary"], problems) == Some(true) {
        problems.push(layers.problem(
            &["gate", "domains", "convertToPrimary"],
            "is not supported in this version; set it to false",
        ));
    }
    let primary: Option<String> = layers.decode(&["gate", "domains", "primary"], problems);
    let additional: Vec<String> = layers
        .decode(&["gate", "domains", "additional"], problems)
        .unwrap_or_default();
    let domains = primary
        .into_iter()
        .chain(additional)
        .map(|domain| domain.trim().trim_start_matches('@').to_lowercase());
    Gate {
        require,
        domains: domains.collect(),
    }
}

fn matching(layers: &Layers<'_>, keeps_external_ids: bool, problems: &mut Vec<String>) -> Option<Match> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    enum By {
        ExternalId,
        UserName,
        Email,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    enum Inactive {
        Reject,
        Adopt,
    }
    let by: Vec<By> = layers
        .decode(&["match", "by"], problems)
        .unwrap_or_else(|| vec![By::ExternalId, By::UserName, By::Email]);
    let by: Vec<MatchKey> = by
        .iter()
        .map(|by| match by {
            By::ExternalId => MatchKey::ExternalId,
            By::UserName => MatchKey::UserName,
            By::Email => MatchKey::Email,
        })
        .collect();
    if by.first() != Some(&MatchKey::ExternalId) {
        problems.push(layers.problem(
            &["match", "by"],
            "must begin with externalId: it tells our own accounts from others",
        ));
    }
    let first: String = layers.require(
        &["match", "firstSync"],
        "auto (approve is not available in this version)",
        problems,
    )?;
    match first.as_str() {
        "auto" => {}
        "approve" => {
            refuse::<()>(
                layers,
                &["match", "firstSync"],
                "only `auto` is available in this version; try with mode: observe and the plan command first",
                problems,
            );
        }
        other => {
            refuse::<()>(
                layers,
                &["match", "firstSync"],
                &format!("`{other}` is neither auto nor approve"),
                problems,
            );
        }
    }
    let inactive = layers
        .decode(&["match", "inactiveAccount"], problems)
        .unwrap_or(Inactive::Reject);
    Some(Match {
        by,
        adopt_inactive: matches!(inactive, Inactive::Adopt),
        keeps_external_ids,
    })
}

fn lifecycle(layers: &Layers<'_>, problems: &mut Vec<String>) -> Lifecycle {
    if layers
        .get(&["lifecycle", "deleteAfter"])
        .is_some_and(|value| *value != json!("never"))
    {
        problems.push(layers.problem(
            &["lifecycle", "deleteAfter"],
            "only `never` is supported in this version",
        ));
    }
    let mut of = |key: &str, default| {
        let path = ["lifecycle", key];
        let Some(word) = layers.decode::<String>(&path, problems) else {
            return default;
        };
        match word.as_str() {
            "deactivate" => Disposition::Deactivate,
            "keep" => Disposition::Keep,
            other => refuse(
                layers,
                &path,
                &format!("`{other}` is not supported; use deactivate or keep"),
                problems,
            )
            .unwrap_or(default),
        }
    };
    Lifecycle {
        inactive: of("inactive", Disposition::Deactivate),
        removed: of("removed", Disposition::Deactivate),
        // Only where somebody says so: an org whose frozen state or report is not read would stop everybody.
        frozen: of("frozen", Disposition::Keep),
        unlisted: of("unlisted", Disposition::Keep),
    }
}

fn pace(layers: &Layers<'_>, problems: &mut Vec<String>) -> Pace {
    let per_second: f64 = layers.decode(&["pace", "perSecond"], problems).unwrap_or(10.0);
    if !(per_second.is_finite() && (0.01..=10_000.0).contains(&per_second)) {
        problems.push(layers.problem(&["pace", "perSecond"], "must be between 0.01 and 10000"));
    }
    let concurrency: usize = layers.decode(&["pace", "concurrency"], problems).unwrap_or(4);
    if !(1..=256).contains(&concurrency) {
        problems.push(layers.problem(&["pace", "concurrency"], "must be between 1 and 256"));
    }
    Pace {
        per_second,
        concurrency,
    }
}

fn retry(layers: &Layers<'_>, problems: &mut Vec<String>) -> Retry {
    let retry = Retry {
        base: duration(layers, &["retry", "base"], Duration::from_secs(2), problems),
        max: duration(layers, &["retry", "max"], Duration::from_secs(15 * 60), problems),
        give_up_after: duration(
            layers,
            &["retry", "giveUpAfter"],
            Duration::from_secs(24 * 3600),
            problems,
        ),
    };
    if retry.base > retry.max {
        problems.push(layers.problem(&["retry", "base"], "must not be larger than retry.max"));
    }
    retry
}

/// A duration such as `500ms`, `30s`, `15m`, `24h`.
pub(super) fn duration(layers: &Layers<'_>, path: &[&str], default: Duration, problems: &mut Vec<String>) -> Duration {
    let Some(value) = layers.get(path) else {
        return default;
    };
    let parsed = value.as_str().and_then(|text| text.parse::<SignedDuration>().ok());
    match parsed
        .and_then(|parsed| Duration::try_from(parsed).ok())
        .filter(|parsed| !parsed.is_zero())
    {
        Some(parsed) => parsed,
        None => {
            problems.push(layers.problem(path, "must be a duration with its unit, such as 500ms, 30s, 15m or 24h"));
            default
        }
    }
}

/// What a plan depends on. Pace, retries, schedule and credentials may change without anybody being planned anew.
fn hash(layers: &Layers<'_>, attributes: &[crate::logic::policy::AttributeRule]) -> StateHash {
    let rows: Vec<Value> = attributes.iter().map(|rule| json!(format!("{rule:?}"))).collect();
    let section = |name: &str| layers.get(&[name]).cloned().unwrap_or_default();
    StateHash::of_value(&json!({
        "sources": section("sources"),
        "features": section("features"),
        "scope": section("scope"),
        "gate": section("gate"),
        "match": section("match"),
        "lifecycle": section("lifecycle"),
        "baseUrl": layers.get(&["connection", "baseUrl"]),
        "scim": layers.get(&["connection", "scim"]),
        "attributes": rows,
    }))
}

fn refuse<T>(layers: &Layers<'_>, path: &[&str], message: &str, problems: &mut Vec<String>) -> Option<T> {
    problems.push(layers.problem(path, message));
    None
}
