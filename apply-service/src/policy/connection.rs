//! How an application is reached: address, credentials, time limits, the connector's own settings.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use usher_runtime::yaml::nearest;

use super::{compile::duration, dialects::DIALECTS, layers::Layers};
use crate::{
    connector::{
        Connector,
        http::{AuthConfig, HttpConfig},
        rest::{Mistake, RestConfig, RestConnector},
        scim::{ScimConfig, ScimConnector},
    },
    logic::{ownership::WRITE_ENDS_WITHIN, policy::EXTERNAL_ID},
};

/// How an application is reached.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The sender's settings.
    pub http: HttpConfig,
    /// What speaks to it.
    pub dialect: Dialect,
}

/// Which connector a target has, with its settings.
#[derive(Debug, Clone)]
pub enum Dialect {
    /// SCIM 2.0.
    Scim(Box<ScimConfig>),
    /// An interface that is described.
    Rest(Box<RestConfig>),
}

impl Connection {
    /// The connector.
    ///
    /// # Errors
    /// What is wrong with a description; none of a connection that was loaded.
    pub fn connector(&self) -> Result<Arc<dyn Connector>, Vec<Mistake>> {
        Ok(match &self.dialect {
            Dialect::Scim(config) => Arc::new(ScimConnector::new((**config).clone())),
            Dialect::Rest(config) => Arc::new(RestConnector::try_new(config, &self.http.base_url)?),
        })
    }

    /// Whether the application keeps our key.
    #[must_use]
    pub fn keeps_external_ids(&self) -> bool {
        match &self.dialect {
            Dialect::Scim(config) => config.external_id,
            Dialect::Rest(config) => {
                let field = config.account.fields.get(EXTERNAL_ID);
                field.is_some_and(|field| field.read.is_some())
            }
        }
    }

    /// Whether it takes one operation at a time.
    #[must_use]
    pub fn is_serial(&self) -> bool {
        matches!(&self.dialect, Dialect::Rest(config) if config.serial)
    }
}

pub(super) fn connection(
    layers: &Layers<'_>,
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> Option<Connection> {
    let base_url: Option<String> = layers.require(
        &["connection", "baseUrl"],
        if layers.get(&["connection", "rest"]).is_some() {
            "the address of the application's interface, such as https://api.example.com"
        } else {
            "the address of the SCIM service, such as https://example.com/scim/v2"
        },
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
    let dialect = match layers.get(&["connection", "rest"]) {
        None => scim(layers, problems).map(|config| Dialect::Scim(Box::new(config))),
        Some(_) => rest(layers, problems).map(|config| Dialect::Rest(Box::new(config))),
    };
    let (base_url, auth, dialect) = (base_url?, auth?, dialect?);
    let (secrets, requests_per_second) = match &dialect {
        Dialect::Scim(_) => Default::default(),
        Dialect::Rest(config) => (config.secrets.clone(), config.requests_per_second),
    };
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1);
    let http = HttpConfig {
        auth,
        connect_timeout_ms: millis(connect),
        request_timeout_ms: millis(request),
        ca_file: layers.decode(&["connection", "caFile"], problems),
        allow_plaintext: layers
            .decode(&["connection", "allowPlaintext"], problems)
            .unwrap_or(false),
        secrets,
        requests_per_second,
        ..HttpConfig::new(base_url)
    };
    for message in http.validate() {
        problems.push(layers.problem(&["connection", "baseUrl"], message));
    }
    if http.allow_plaintext && (http.auth != AuthConfig::None || !http.secrets.is_empty()) {
        let message = "warning: credentials and people's data may travel in the clear";
        warnings.push(layers.problem(&["connection", "allowPlaintext"], message));
    }
    Some(Connection { http, dialect })
}

fn scim(layers: &Layers<'_>, problems: &mut Vec<String>) -> Option<ScimConfig> {
    let scim: ScimConfig = match layers.get(&["connection", "scim"]) {
        None => ScimConfig::default(),
        Some(_) => layers.decode(&["connection", "scim"], problems)?,
    };
    if let Some(name) = scim
        .dialect
        .as_ref()
        .filter(|name| DIALECTS.iter().all(|known| known.name != **name))
    {
        let names: Vec<&str> = DIALECTS.iter().map(|known| known.name).collect();
        let meant = nearest(name, names.iter().copied()).map_or_else(
            || format!("there are: {}", names.join(", ")),
            |meant| format!("did you mean `{meant}`? `apply-service dialects` lists them"),
        );
        let message = format!("there is no dialect `{name}`; {meant}");
        problems.push(layers.problem(&["connection", "scim", "dialect"], message));
    }
    for message in scim.validate() {
        // The messages begin with the key.
        let key = message.split([' ', '`', ':']).next().unwrap_or_default().to_owned();
        problems.push(layers.problem(&["connection", "scim", &key], message));
    }
    Some(scim)
}

fn rest(layers: &Layers<'_>, problems: &mut Vec<String>) -> Option<RestConfig> {
    let at = ["connection", "rest"];
    if layers.get(&["connection", "scim"]).is_some() {
        problems.push(layers.problem(
            &["connection", "scim"],
            "belongs to SCIM, and this target is described under connection.rest; take one of them out",
        ));
    }
    if layers.get(&["preset"]).and_then(Value::as_str) == Some("scim") {
        problems.push(layers.problem(
            &at,
            "the preset scim speaks SCIM; what is described here belongs to `preset: rest`",
        ));
    }
    let config: RestConfig = layers.decode(&at, problems)?;
    let base_url = layers.get(&["connection", "baseUrl"]).and_then(Value::as_str);
    match RestConnector::try_new(&config, base_url.unwrap_or_default()) {
        Ok(_) => Some(config),
        Err(mistakes) => {
            for (below, message) in mistakes {
                let path: Vec<&str> = at.into_iter().chain(below.iter().map(String::as_str)).collect();
                problems.push(layers.problem(&path, message));
            }
            None
        }
    }
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
