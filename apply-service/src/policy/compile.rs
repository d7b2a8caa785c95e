//! From the merged layers of a target to its policy, section by section, so that one problem does not hide the next.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;
use usher_contract::{OrgId, StateHash, TargetName};
use usher_runtime::yaml::nearest;

use super::{
    PRESETS, Spots, Target, assignments, attributes,
    connection::{Connection, Dialect, connection},
    groups,
    layers::Layers,
    lifecycle::lifecycle,
    limits::{drift, guard, pace, retry},
    notify, read_back, roster, scope,
};
use crate::{
    connector::scim::{ScimConfig, ScimConnector},
    logic::{
        account::AttributePath,
        policy::{
            AttributeRule, Features, Gate, Match, MatchKey, Mode, TargetPolicy, USER_NAME, ValueSource, WORK_EMAIL,
        },
        source::SourceField,
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
    let formerly: Option<TargetName> = layers.decode(&["formerly"], problems);
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
    let connection = own_organization(layers, connection, sources.as_ref(), problems);
    let features = features(layers, problems);
    let mut scope = scope::scope(layers, problems, warnings);
    let gate = gate(layers, problems, warnings);
    // Without a usable connection everything else is held against SCIM, so that its problems are found as well; what an
    // application that is described can hold is not known then.
    let described = layers.get(&["connection", "rest"]).is_some() || roster::is_roster(layers);
    let connector = connection.as_ref().and_then(|connection| connection.connector().ok());
    let rows_known = connector.is_some() || !described;
    let connector = connector.unwrap_or_else(|| Arc::new(ScimConnector::new(ScimConfig::default())));
    lacking(layers, features, &connector.lacks(), problems);
    if !features.deactivate && mode != Some(Mode::Off) && !connector.lacks().contains(&"deactivate") {
        warnings.push(layers.problem(
            &["features", "deactivate"],
            "whoever leaves keeps an account that is on: it is reported, and nobody switches it off",
        ));
    }
    let keeps = connection.as_ref().is_none_or(Connection::keeps_external_ids);
    let matching = matching(layers, keeps, problems, warnings);
    let mut protected: Vec<String> = layers.decode(&["protect", "accounts"], problems).unwrap_or_default();
    if layers.decode::<bool>(&["protect", "owner"], problems) == Some(true) {
        match connection.as_ref().and_then(|connection| connection.http.auth.user()) {
            Some(user) => protected.push(user.to_owned()),
            // The connection check finds out.
            None if connector.tells_owner() => {}
            None => problems.push(layers.problem(
                &["protect", "owner"],
                "this application does not say whose credentials they are; name the account under protect.accounts",
            )),
        }
    }
    let attributes = if rows_known {
        attributes::attributes(layers, &*connector, problems)
    } else {
        Vec::new()
    };
    let attributes = organization(layers, attributes, problems, warnings);
    // A mistake in `filters` was said with the scope.
    let reader = scope::reader(layers, &mut Vec::new());
    let assignments = assignments::assignments(layers, &*connector, &attributes, problems, warnings, reader);
    let list = connection.as_ref().and_then(|connection| match &connection.dialect {
        Dialect::Roster(list) => Some(&**list),
        Dialect::Scim(_) | Dialect::Rest(_) => None,
    });
    let attributes = match list {
        Some(list) => {
            let rows = assignments.iter().flat_map(|assignment| &assignment.rows);
            let settings: Vec<&AttributePath> = rows.map(|row| &row.path).collect();
            roster::shown(layers, list, attributes, &settings, problems)
        }
        None => attributes,
    };
    scope.access = groups::access(layers, &*connector, &attributes, problems, warnings);
    let grouping = (rows_known || connection.is_some()).then_some(&*connector);
    let (groups, groups_off) = match groups::groups(layers, grouping, problems, warnings) {
        found if layers.get(&["features", "groups"]) == Some(&Value::Bool(false)) => (None, found),
        found => (found, None),
    };
    let by_email = matching
        .as_ref()
        .is_some_and(|matching| matching.by.contains(&MatchKey::Email));
    if by_email && rows_known && !attributes.iter().any(|rule| rule.path.0 == WORK_EMAIL) {
        problems.push(layers.problem(
            &["match", "by"],
            format!("has email, and there is no row `{WORK_EMAIL}` that says where the address comes from"),
        ));
    }
    for (key, word, path) in [
        (MatchKey::UserName, "userName", USER_NAME),
        (MatchKey::Email, "email", WORK_EMAIL),
    ] {
        let asked = matching.as_ref().is_some_and(|matching| matching.by.contains(&key));
        if asked && rows_known && !connector.looks_by(&AttributePath(path.to_owned())) {
            problems.push(layers.problem(
                &["match", "by"],
                format!("has {word}, and this application neither finds nor shows `{path}`; take it out"),
            ));
        }
    }
    let unshown = attributes.iter().map(|rule| rule.path.clone());
    let unshown = unshown.filter(|path| !connector.shows(path)).collect();
    let recorded = recorded(layers, &attributes, problems, warnings);
    let lifecycle = lifecycle(layers, features, problems, warnings);
    let guard = guard(layers, problems, warnings);
    let serial = connection.as_ref().is_some_and(Connection::is_serial);
    let pace = if roster::is_roster(layers) {
        roster::pace(layers, problems)
    } else {
        pace(layers, serial, problems)
    };
    let retry = retry(layers, problems);
    let reconcile = duration(
        layers,
        &["schedule", "reconcile"],
        Duration::from_secs(24 * 3600),
        problems,
    );
    let drift = drift(layers, problems);
    let shared_with: Option<BTreeSet<TargetName>> = layers.decode(&["connection", "sharedWith"], problems);
    let shared_with = shared_with.unwrap_or_default();
    let notify = notify::notify(layers, &assignments, problems, warnings);
    // Only its shape: the hash below takes it as it is written.
    let _: Option<String> = layers.decode(&["connection", "tenant"], problems);
    let tenant = |address: fn(&Value) -> Value| match list {
        Some(list) => roster::tenant(layers, list, address),
        None => StateHash::of_value(&json!({
            "baseUrl": layers.get(&["connection", "baseUrl"]).map(address),
            "tenant": layers.get(&["connection", "tenant"]),
        })),
    };
    let read_back = connection.as_ref().and_then(|connection| connection.read_back.as_ref());
    let read_back =
        read_back.and_then(|other| read_back::compared(layers, other, &attributes, drift, problems, warnings));
    let policy = TargetPolicy {
        tenant: tenant(same_address),
        tenant_as_written: tenant(Value::clone),
        hash: hash(layers, &attributes),
        since: None,
        unit: StateHash::of_value(layers.merged()),
        name: name?,
        formerly,
        mode: mode?,
        sources: sources?,
        scope,
        features,
        gate,
        matching: matching?,
        protected: protected.iter().map(|account| account.trim().to_lowercase()).collect(),
        recorded,
        attributes,
        assignments,
        managers_at: assignments::managers_places(layers, &*connector),
        keeps_values: list.is_some(),
        groups,
        groups_off,
        needed: connector.needs(),
        unshown,
        lifecycle,
        guard,
        pace,
        retry,
        reconcile,
        drift,
        read_back,
        notify,
    };
    Some(Target {
        policy: Arc::new(policy),
        connection: connection?,
        shared_with,
        spots: Spots {
            connection: layers.spot(&["connection"]),
            formerly: layers.spot(&["formerly"]),
            notify: layers.spot(&["notify", "onCreate"]),
        },
        file: file.to_owned(),
    })
}

/// An organization is not written from itself. The file says which one it is only in `connection.tenant`; else the credentials
/// tell, with the first request.
fn own_organization(
    layers: &Layers<'_>,
    connection: Option<Connection>,
    sources: Option<&BTreeSet<OrgId>>,
    problems: &mut Vec<String>,
) -> Option<Connection> {
    let own = sources.cloned().unwrap_or_default();
    let at = ["connection", "tenant"];
    let tenant = layers
        .get(&at)
        .and_then(Value::as_str)
        .and_then(|text| text.trim().parse::<OrgId>().ok());
    // Elsewhere a tenant is a name that somebody has given.
    let url = layers
        .get(&["connection", "baseUrl"])
        .and_then(Value::as_str)
        .unwrap_or_default();
    let salesforce = layers.get(&["preset"]).and_then(Value::as_str) == Some("salesforce")
        || url.contains(".salesforce.com")
        || url.contains(".force.com");
    if let Some(tenant) = tenant.filter(|tenant| salesforce && own.contains(tenant)) {
        problems.push(layers.problem(
            &at,
            format!(
                "{tenant} is among the sources: an organization is not the target of its own people; connect another one, or \
                 take it out of sources"
            ),
        ));
    }
    connection.map(|mut connection| {
        connection.http.own_organizations = own;
        connection
    })
}

/// `organization`: whether the hierarchy of managers is the application's business.
fn organization(
    layers: &Layers<'_>,
    rows: Vec<AttributeRule>,
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> Vec<AttributeRule> {
    if layers.decode::<bool>(&["organization", "managers"], problems) != Some(false) {
        return rows;
    }
    warnings.push(layers.problem(
        &["organization", "managers"],
        "leaves the hierarchy to the application: managers that change at the source do not change there",
    ));
    let refers = |row: &AttributeRule| matches!(&row.source, ValueSource::From(fields) if fields.iter().any(|field| matches!(field, SourceField::Manager | SourceField::OfManager(_))));
    rows.into_iter().filter(|row| !refers(row)).collect()
}

/// Attributes whose written values outcomes carry.
fn recorded(
    layers: &Layers<'_>,
    attributes: &[AttributeRule],
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> BTreeSet<AttributePath> {
    let at = ["outcomes", "values"];
    let names: Vec<String> = layers.decode(&at, problems).unwrap_or_default();
    let paths: BTreeSet<AttributePath> = names.into_iter().map(AttributePath).collect();
    let rows = || attributes.iter().map(|rule| &rule.path);
    for unknown in paths.iter().filter(|path| !rows().any(|row| row == *path)) {
        let hint = nearest(&unknown.0, rows().map(|path| path.0.as_str()))
            .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        problems.push(layers.problem(&at, format!("no row of attributes writes `{unknown}`{hint}")));
    }
    if !paths.is_empty() {
        warnings.push(layers.problem(
            &at,
            "values of these attributes stay on the topic of outcomes as long as it keeps its records",
        ));
    }
    paths
}

fn preset(layers: &Layers<'_>, problems: &mut Vec<String>) {
    let known = || PRESETS.iter().map(|preset| preset.name);
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
    // YAML 1.1 reads a bare `off` as false, and so does this reader.
    if layers.get(&["mode"]) == Some(&Value::Bool(false)) {
        return Some(Mode::Off);
    }
    let word: String = layers.require(&["mode"], "off, observe, link or enforce", problems)?;
    match word.as_str() {
        "off" => Some(Mode::Off),
        "observe" => Some(Mode::Observe),
        "enforce" => Some(Mode::Enforce),
        "link" => Some(Mode::Link),
        other => refuse(
            layers,
            &["mode"],
            &format!("`{other}` is no mode; use off, observe, link or enforce"),
            problems,
        ),
    }
}

fn features(layers: &Layers<'_>, problems: &mut Vec<String>) -> Features {
    let mut on = |key| layers.decode(&["features", key], problems).unwrap_or(true);
    Features {
        create: on("create"),
        update: on("update"),
        deactivate: on("deactivate"),
        reactivate: on("reactivate"),
        // What cannot be taken back is said, never assumed.
        delete: layers.decode(&["features", "delete"], problems).unwrap_or(false),
        invite: layers.decode(&["features", "invite"], problems).unwrap_or(false),
    }
}

/// What is switched on and cannot be done.
fn lacking(layers: &Layers<'_>, features: Features, lacks: &[&str], problems: &mut Vec<String>) {
    let on = [
        ("create", features.create),
        ("update", features.update),
        ("deactivate", features.deactivate),
        ("reactivate", features.reactivate),
        ("delete", features.delete),
        ("invite", features.invite),
    ];
    for (feature, _) in on.iter().filter(|(feature, on)| *on && lacks.contains(feature)) {
        let said = if layers.get(&["features", feature]).is_some() {
            "is on"
        } else {
            "is on unless it is switched off"
        };
        let what = if *feature == "invite" {
            "has no activation or password-reset mail of its own that is known"
        } else {
            &format!("offers no way to {feature} accounts")
        };
        problems.push(layers.problem(
            &["features", feature],
            format!("{said}, and this application {what}; set it to false"),
        ));
    }
}

/// A list, or one text of parts between commas or new lines.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a list, or one text of parts between commas or new lines"
)]
enum Words {
    Text(String),
    List(Vec<String>),
}

fn gate(layers: &Layers<'_>, problems: &mut Vec<String>, warnings: &mut Vec<String>) -> Gate {
    let names: Vec<String> = layers.decode(&["gate", "require"], problems).unwrap_or_default();
    let require = names
        .iter()
        .filter_map(|name| attributes::named(layers, &["gate", "require"], name, problems))
        .collect();
    let primary: Option<String> = layers.decode(&["gate", "domains", "primary"], problems);
    let additional: Option<Words> = layers.decode(&["gate", "domains", "additional"], problems);
    let additional = match additional {
        None => Vec::new(),
        Some(Words::Text(text)) => vec![text],
        Some(Words::List(list)) => list,
    };
    let mut domain = |key: &str, text: &str| {
        let domain = text.trim().trim_start_matches('@').to_lowercase();
        let plain = domain.contains('.') && !domain.contains(|c: char| c.is_whitespace() || c == '@' || c == '/');
        if !domain.is_empty() && !plain {
            problems.push(layers.problem(
                &["gate", "domains", key],
                format!("`{domain}` is no domain such as acme.com"),
            ));
        }
        domain
    };
    let primary = primary
        .map(|text| domain("primary", &text))
        .filter(|domain| !domain.is_empty());
    let additional: Vec<String> = additional
        .iter()
        .flat_map(|text| text.split([',', '\n']))
        .map(|text| domain("additional", text))
        .filter(|domain| !domain.is_empty())
        .collect();
    let converts = layers.decode(&["gate", "domains", "convertToPrimary"], problems) == Some(true);
    if converts && primary.is_none() {
        problems.push(layers.problem(
            &["gate", "domains", "convertToPrimary"],
            "needs gate.domains.primary: the domain that addresses are given",
        ));
    }
    if converts && primary.is_some() {
        warnings.push(layers.problem(
            &["gate", "domains", "convertToPrimary"],
            "gives everybody an address in the primary domain, also whoever has none there",
        ));
    }
    if !converts && !additional.is_empty() {
        warnings.push(layers.problem(
            &["gate", "domains", "additional"],
            "lets in people whose address is in none of the application's own domains; some applications refuse them",
        ));
    }
    if converts && !additional.is_empty() {
        warnings.push(layers.problem(
            &["gate", "domains", "additional"],
            "has no effect with convertToPrimary: every address is given the primary domain",
        ));
    }
    Gate {
        require,
        convert_to: primary.clone().filter(|_| converts),
        domains: primary.into_iter().chain(additional).collect(),
    }
}

fn matching(
    layers: &Layers<'_>,
    keeps_external_ids: bool,
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> Option<Match> {
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
    let first: String = layers
        .decode(&["match", "firstSync"], problems)
        .unwrap_or_else(|| "approve".to_owned());
    match first.as_str() {
        "auto" | "approve" => {}
        other => {
            refuse::<()>(
                layers,
                &["match", "firstSync"],
                &format!("`{other}` is neither auto nor approve"),
                problems,
            );
        }
    }
    let person: Option<String> = layers.decode(&["match", "person"], problems);
    let person = person.and_then(|name| attributes::named(layers, &["match", "person"], &name, problems));
    let inactive = layers
        .decode(&["match", "inactiveAccount"], problems)
        .unwrap_or(Inactive::Reject);
    if matches!(inactive, Inactive::Adopt) {
        warnings.push(layers.problem(
            &["match", "inactiveAccount"],
            "switches accounts on again that somebody has switched off, when their name or address is that of an active person",
        ));
    }
    Some(Match {
        by,
        person,
        approve_first_sync: first == "approve",
        adopt_inactive: matches!(inactive, Inactive::Adopt),
        keeps_external_ids,
    })
}

/// A duration such as `500ms`, `30s`, `15m`, `24h`.
pub(super) fn duration(layers: &Layers<'_>, path: &[&str], default: Duration, problems: &mut Vec<String>) -> Duration {
    let Some(value) = layers.get(path) else {
        return default;
    };
    // Days of 24 hours: nobody means a day of a calendar here.
    let in_days = |text: &str| {
        let span = text.parse::<jiff::Span>().ok()?;
        span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()
    };
    let parsed = value
        .as_str()
        .and_then(|text| text.parse::<SignedDuration>().ok().or_else(|| in_days(text)));
    match parsed
        .and_then(|parsed| Duration::try_from(parsed).ok())
        .filter(|parsed| !parsed.is_zero())
    {
        Some(parsed) => parsed,
        None => {
            problems.push(layers.problem(
                path,
                "must be a duration with its unit, such as 500ms, 30s, 15m, 24h or 90d",
            ));
            default
        }
    }
}

/// An address in the one form that all ways of writing it have (RFC 3986 section 6.2: case of scheme and host, default
/// port, dots in the path), and without the slashes at its end, which nobody looks at. What is no address stays as it is.
pub(super) fn same_address(written: &Value) -> Value {
    let parsed = written.as_str().and_then(|text| Url::parse(text.trim()).ok());
    match parsed.filter(|url| url.has_host() && url.query().is_none() && url.fragment().is_none()) {
        Some(url) => json!(url.as_str().trim_end_matches('/')),
        None => written.clone(),
    }
}

/// What a plan depends on. Pace, retries, schedule and credentials may change without anybody being planned anew.
fn hash(layers: &Layers<'_>, attributes: &[AttributeRule]) -> StateHash {
    // Not where a row stands: moving a line changes nobody.
    let rows: Vec<Value> = attributes
        .iter()
        .map(|rule| {
            let words = format!(
                "{:?} {:?} {:?} {:?}",
                rule.source, rule.values, rule.write, rule.when_blank
            );
            json!([rule.path, words])
        })
        .collect();
    let section = |name: &str| layers.get(&[name]).cloned().unwrap_or_default();
    let mut parts = json!({
        "sources": section("sources"),
        "features": section("features"),
        "scope": section("scope"),
        "filters": section("filters"),
        "gate": section("gate"),
        "match": section("match"),
        "lifecycle": section("lifecycle"),
        "protect": section("protect"),
        "baseUrl": layers.get(&["connection", "baseUrl"]).map(same_address),
        "scim": layers.get(&["connection", "scim"]),
        "attributes": rows,
        "assignments": section("assignments"),
        "settings": section("settings"),
        "set": section("set"),
    });
    // Absent where nobody uses them: then nobody is planned anew.
    for name in ["groups", "access"] {
        if let Some(section) = layers.get(&[name]) {
            parts[name] = section.clone();
        }
    }
    if let Some(rest) = layers.get(&["connection", "rest"]) {
        // Where secrets lie does not matter to anybody's account.
        let mut rest = rest.clone();
        if let Some(rest) = rest.as_object_mut() {
            rest.remove("secrets");
        }
        parts["rest"] = rest;
    }
    StateHash::of_value(&parts)
}

pub(super) fn refuse<T>(layers: &Layers<'_>, path: &[&str], message: &str, problems: &mut Vec<String>) -> Option<T> {
    problems.push(layers.problem(path, message));
    None
}
