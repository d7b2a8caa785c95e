//! How an application is reached: address, credentials, time limits, the connector's own settings.

use std::time::Duration;

use serde_json::Value;

use super::{compile::duration, layers::Layers};
use crate::{
    connector::{
        http::{AuthConfig, HttpConfig},
        scim::ScimConfig,
    },
    logic::ownership::WRITE_ENDS_WITHIN,
};

/// How an application is reached.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The sender's settings.
    pub http: HttpConfig,
    /// The settings of the `scim` connector.
    pub scim: ScimConfig,
}

pub(super) fn connection(
    layers: &Layers<'_>,
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> Option<Connection> {
    let base_url: Option<String> = layers.require(
        &["connection", "baseUrl"],
        "the address of the SCIM service, such as https://example.com/scim/v2",
        problems,
    );
    let auth = auth(layers, problems);
    let connect = duration(
        layers,
        &["connection", "timeouts", "connect"],
        Duration::from_secs(5),
        problems,
    );
    let request = duration(
        layers,
        &["connection", "timeouts", "request"],
        Duration::from_secs(10),
        problems,
    );
    if request > WRITE_ENDS_WITHIN {
        // A successor waits that long for requests of its predecessor; a longer one would overlap with its own.
        problems.push(layers.problem(
            &["connection", "timeouts", "request"],
            "is at most 15s: the lease of a target counts on it",
        ));
    }
    let scim: ScimConfig = match layers.get(&["connection", "scim"]) {
        None => ScimConfig::default(),
        Some(_) => layers.decode(&["connection", "scim"], problems)?,
    };
    for message in scim.validate() {
        // The messages begin with the key.
        let key = message.split([' ', '`']).next().unwrap_or_default().to_owned();
        problems.push(layers.problem(&["connection", "scim", &key], message));
    }
    let (base_url, auth) = (base_url?, auth?);
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1);
    let http = HttpConfig {
        auth,
        connect_timeout_ms: millis(connect),
        request_timeout_ms: millis(request),
        ca_file: layers.decode(&["connection", "caFile"], problems),
        allow_plaintext: layers
            .decode(&["connection", "allowPlaintext"], problems)
            .unwrap_or(false),
        ..HttpConfig::new(base_url)
    };
    for message in http.validate() {
        problems.push(layers.problem(&["connection", "baseUrl"], message));
    }
    if http.allow_plaintext && http.auth != AuthConfig::None {
        let message = "warning: credentials and people's data may travel in the clear";
        warnings.push(layers.problem(&["connection", "allowPlaintext"], message));
    }
    Some(Connection { http, scim })
}

fn auth(layers: &Layers<'_>, problems: &mut Vec<String>) -> Option<AuthConfig> {
    const HINT: &str =
        "none, { bearerTokenFile: /path }, { basic: { user, passwordFile } } or { header: { name, valueFile } }";
    let path = ["connection", "auth"];
    let value: Value = layers.require(&path, HINT, problems)?;
    if value.get("bearerTokenEnv").is_some() {
        problems.push(layers.problem(
            &["connection", "auth", "bearerTokenEnv"],
            "is not supported in this version; mount the token as a file and name it under bearerTokenFile",
        ));
        return None;
    }
    match serde_json::from_value(value) {
        Ok(auth) => Some(auth),
        // The text is not repeated: a token may have been written into it by mistake.
        Err(_) => {
            problems.push(layers.problem(&path, format!("must be exactly one of: {HINT}")));
            None
        }
    }
}
