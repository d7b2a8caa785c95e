//! `connection.readBack`: another interface of the application that shows its accounts, for the look at the whole target.
//! Off until it has an address. It is only ever read: calls that write have no place in its description.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use super::{
    compile::duration,
    connection::{Dialect, auth},
    layers::Layers,
};
use crate::{
    connector::{
        Connector,
        http::{AuthConfig, HttpConfig},
        rest::{RestConfig, RestConnector, config::Operations},
    },
    logic::{
        account::AttributePath,
        policy::{AttributeRule, Drift},
        read_back::ReadBack,
    },
};

/// How that interface is reached, and what it looks like.
#[derive(Debug, Clone)]
pub struct OtherInterface {
    /// The sender's settings; its pace is that of the target's own sender.
    pub http: HttpConfig,
    /// Its description: a list of accounts, and a harmless call.
    pub rest: Box<RestConfig>,
    /// The attribute that accounts are joined by.
    by: AttributePath,
    delay: Duration,
}

const AT: [&str; 2] = ["connection", "readBack"];

/// Below `connection.readBack`.
fn at<'a>(more: &[&'a str]) -> Vec<&'a str> {
    AT.into_iter().chain(more.iter().copied()).collect()
}

/// `None` when it is off, or something is wrong.
pub(super) fn read_back(
    layers: &Layers<'_>,
    main: &HttpConfig,
    dialect: &Dialect,
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> Option<OtherInterface> {
    layers.get(&AT)?;
    // Also while it is off: a mistake is not found on the day on which it is switched on.
    let by: Option<String> = layers.decode(&at(&["by"]), problems);
    let delay = duration(layers, &at(&["delay"]), Duration::from_secs(600), problems);
    let ca_file = layers.decode(&at(&["caFile"]), problems);
    let allow_addresses = layers.decode(&at(&["allowAddresses"]), problems).unwrap_or_default();
    let allow_plaintext = layers.decode(&at(&["allowPlaintext"]), problems).unwrap_or(false);
    // A preset describes it; a file switches it on by saying where it is and how one gets in.
    let said = ["baseUrl", "auth"].iter().any(|key| layers.get(&at(&[*key])).is_some());
    if !said {
        return None;
    }
    if matches!(dialect, Dialect::Roster(_)) {
        problems.push(layers.problem(&AT, "a list is looked at where it lies; take this out"));
        return None;
    }
    let base_url: Option<String> = layers.require(
        &at(&["baseUrl"]),
        "the address of the interface that shows the accounts, such as https://api.example.com",
        problems,
    );
    let auth = auth(layers, &at(&["auth"]), problems);
    if let Some(auth) = auth.as_ref().filter(|auth| auth.is_oauth()) {
        let words = format!(
            "{} is not for this interface; use basic, a bearer token or a header",
            auth.key()
        );
        problems.push(layers.problem(&at(&["auth"]), words));
        return None;
    }
    let rest = described(layers, base_url.as_deref(), problems);
    if by.is_none() && layers.get(&at(&["by"])).is_none() {
        problems.push(layers.problem(
            &at(&["by"]),
            "is required: the attribute that both interfaces show of an account, such as userName",
        ));
    }
    let (base_url, auth, rest, by) = (base_url?, auth?, rest?, by?);
    let http = HttpConfig {
        auth,
        connect_timeout_ms: main.connect_timeout_ms,
        request_timeout_ms: main.request_timeout_ms,
        ca_file,
        allow_addresses,
        allow_plaintext,
        secrets: rest.secrets.clone(),
        requests_per_second: rest.requests_per_second,
        ..HttpConfig::new(base_url)
    };
    for message in http.validate() {
        let key = message.split([':', ' ', '.']).next().unwrap_or_default();
        let key = ["auth", "allowAddresses"]
            .into_iter()
            .find(|known| *known == key)
            .unwrap_or("baseUrl");
        problems.push(layers.problem(&at(&[key]), message));
    }
    let secret = http.auth != AuthConfig::None || !http.secrets.is_empty();
    if http.allow_plaintext && secret {
        let message = "warning: credentials and people's data may travel in the clear";
        warnings.push(layers.problem(&at(&["allowPlaintext"]), message));
    }
    Some(OtherInterface {
        http,
        rest: Box::new(rest),
        by: AttributePath(by),
        delay,
    })
}

/// The description, when it can be carried out and only reads.
fn described(layers: &Layers<'_>, base_url: Option<&str>, problems: &mut Vec<String>) -> Option<RestConfig> {
    let place = at(&["rest"]);
    let config: RestConfig = layers.require(&place, "what the interface looks like; see docs/rest.md", problems)?;
    let mut mistakes = match RestConnector::try_new(&config, base_url.unwrap_or_default()) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes,
    };
    let Operations {
        check: _,
        list,
        read: _,
        find,
        create,
        update,
        reactivate,
        deactivate,
        delete,
        invite,
    } = &config.operations;
    let named = |key: &str| vec!["operations".to_owned(), key.to_owned()];
    for (key, there) in [
        ("find", !find.is_empty()),
        ("create", create.is_some()),
        ("update", update.is_some()),
        ("reactivate", reactivate.is_some()),
        ("deactivate", deactivate.is_some()),
        ("delete", delete.is_some()),
        ("invite", invite.is_some()),
    ] {
        if there {
            mistakes.push((
                named(key),
                "this interface is only read: it has check and list".to_owned(),
            ));
        }
    }
    if config.groups.is_some() {
        mistakes.push((
            vec!["groups".to_owned()],
            "this interface only shows accounts".to_owned(),
        ));
    }
    if list.is_none() {
        mistakes.push((named("list"), "is required: how the accounts are listed".to_owned()));
    }
    for (below, message) in &mistakes {
        let path: Vec<&str> = place.iter().copied().chain(below.iter().map(String::as_str)).collect();
        problems.push(layers.problem(&path, message.clone()));
    }
    mistakes.is_empty().then_some(config)
}

/// What of the mapping is compared there.
pub(super) fn compared(
    layers: &Layers<'_>,
    other: &OtherInterface,
    attributes: &[AttributeRule],
    drift: Option<Drift>,
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> Option<ReadBack> {
    let connector = RestConnector::try_new(&other.rest, &other.http.base_url).ok()?;
    let shown = |path: &AttributePath| connector.shows(path);
    if !shown(&other.by) || attributes.iter().all(|row| row.path != other.by) {
        let words = format!(
            "`{}` is not both a row of attributes and a field under connection.readBack.rest.account.fields",
            other.by
        );
        problems.push(layers.problem(&at(&["by"]), words));
        return None;
    }
    if drift.is_none() {
        warnings.push(layers.problem(&AT, "is never read: schedule.drift.every is never"));
    }
    let rows = attributes.iter().map(|row| &row.path);
    let compares: BTreeSet<AttributePath> = rows.filter(|path| shown(path) && **path != other.by).cloned().collect();
    Some(ReadBack {
        by: other.by.clone(),
        compares,
        delay: other.delay,
    })
}

/// Whether there is a description, switched on or not.
pub(super) fn is_offered(layers: &Layers<'_>) -> bool {
    layers.get(&at(&["rest"])).is_some_and(Value::is_object)
}
