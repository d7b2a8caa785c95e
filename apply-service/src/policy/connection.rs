//! How an application is reached: address, credentials, time limits, the connector's own settings.

use std::{sync::Arc, time::Duration};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde_json::Value;

use usher_runtime::yaml::nearest;

use super::{
    compile::duration,
    dialects::DIALECTS,
    layers::Layers,
    read_back::{self, OtherInterface},
    roster::{is_roster, roster},
    secrets,
};
use crate::{
    connector::{
        Connector,
        http::{AuthConfig, HttpConfig, OAuthConfig},
        rest::{Mistake, RestConfig, RestConnector},
        roster::{PlaceConfig, RosterConfig, RosterConnector},
        scim::{ScimConfig, ScimConnector},
    },
    logic::{ownership::WRITE_ENDS_WITHIN, policy::EXTERNAL_ID},
};

/// How an application is reached.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The sender's settings. Of a list only its limits and certificates count, and on WebDAV the rest, too.
    pub http: HttpConfig,
    /// What speaks to it.
    pub dialect: Dialect,
    /// Another interface of the application, for the look at the whole target.
    pub read_back: Option<OtherInterface>,
    /// Whether the preset describes such an interface.
    pub offers_read_back: bool,
}

/// Which connector a target has, with its settings.
#[derive(Debug, Clone)]
pub enum Dialect {
    /// SCIM 2.0.
    Scim(Box<ScimConfig>),
    /// An interface that is described.
    Rest(Box<RestConfig>),
    /// A list that is written whole.
    Roster(Box<RosterConfig>),
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
            Dialect::Roster(_) => Arc::new(RosterConnector),
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
            Dialect::Roster(_) => true,
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
    secrets::connection(layers, problems);
    let list = if is_roster(layers) {
        Some(roster(layers, problems)?)
    } else {
        None
    };
    let addressed = list
        .as_ref()
        .is_none_or(|list| matches!(list.place, PlaceConfig::Webdav { .. }));
    let (base_url, auth) = if addressed {
        (
            base_url(layers, problems),
            auth(layers, &["connection", "auth"], problems),
        )
    } else {
        (Some(String::new()), Some(AuthConfig::None))
    };
    let oauth: OAuthConfig = layers.decode(&["connection", "oauth"], problems).unwrap_or_default();
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
    let dialect = match (list, layers.get(&["connection", "rest"])) {
        (Some(list), _) => Some(Dialect::Roster(Box::new(list))),
        (None, None) => scim(layers, problems).map(|config| Dialect::Scim(Box::new(config))),
        (None, Some(_)) => rest(layers, problems).map(|config| Dialect::Rest(Box::new(config))),
    };
    let (base_url, auth, mut dialect) = (base_url?, auth?, dialect?);
    if let Dialect::Scim(config) = &mut dialect {
        // What is wrong with the key is said with the rest of its section.
        let protect = layers.get(&["protect", "owner"]) == Some(&Value::Bool(true));
        config.ask_owner = protect && auth.user().is_none();
    }
    let (secrets, requests_per_second, max_body_bytes) = match &dialect {
        Dialect::Scim(config) => (Default::default(), config.requests_per_second, None),
        Dialect::Rest(config) => (config.secrets.clone(), config.requests_per_second, None),
        Dialect::Roster(config) => (Default::default(), None, Some(config.max_bytes)),
    };
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1);
    let mut http = HttpConfig {
        auth,
        connect_timeout_ms: millis(connect),
        request_timeout_ms: millis(request),
        ca_file: layers.decode(&["connection", "caFile"], problems),
        client_cert_file: layers.decode(&["connection", "clientCertFile"], problems),
        client_key_file: layers.decode(&["connection", "clientKeyFile"], problems),
        allow_addresses: layers
            .decode(&["connection", "allowAddresses"], problems)
            .unwrap_or_default(),
        oauth,
        credential_expires_at: ends(layers, problems),
        allow_plaintext: layers
            .decode(&["connection", "allowPlaintext"], problems)
            .unwrap_or(false),
        secrets,
        requests_per_second,
        ..HttpConfig::new(base_url)
    };
    http.max_body_bytes = max_body_bytes.unwrap_or(http.max_body_bytes);
    // A list in a folder or a bucket has no address of its own here; how it is reached is said here all the same.
    let meant = |message: &String| addressed || !message.starts_with("baseUrl");
    for message in http.validate().into_iter().filter(meant) {
        let place = place_of(&message);
        // The place is said already.
        let name = place[1..].join(".");
        let words = message.strip_prefix(&format!("{name}: ")).unwrap_or(&message);
        problems.push(layers.problem(&place, words));
    }
    if let Dialect::Scim(config) = &dialect
        && let Some(end) = &config.base_url_path
        && !http.base_url.trim().trim_end_matches('/').ends_with(end)
    {
        problems.push(layers.problem(
            &["connection", "baseUrl"],
            format!("ends with {end} at this application, as https://<your domain>{end}"),
        ));
    }
    let secret = http.auth != AuthConfig::None || !http.secrets.is_empty();
    if http.allow_plaintext && (secret || !addressed) {
        let message = "warning: credentials and people's data may travel in the clear";
        warnings.push(layers.problem(&["connection", "allowPlaintext"], message));
    }
    let read_back = read_back::read_back(layers, &http, &dialect, problems, warnings);
    Some(Connection {
        http,
        dialect,
        read_back,
        offers_read_back: read_back::is_offered(layers),
    })
}

fn base_url(layers: &Layers<'_>, problems: &mut Vec<String>) -> Option<String> {
    layers.require(
        &["connection", "baseUrl"],
        if layers.get(&["connection", "rest"]).is_some() {
            "the address of the application's interface, such as https://api.example.com"
        } else if is_roster(layers) {
            "the address of the folder on the WebDAV server, such as https://files.example.com/users"
        } else {
            "the address of the SCIM service, such as https://example.com/scim/v2"
        },
        problems,
    )
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

/// Where a setting stands that a message of the sender begins with.
fn place_of(message: &str) -> Vec<&str> {
    let name = message.split([':', ' ']).next().unwrap_or_default();
    let known = ["auth.", "oauth.", "allowAddresses", "clientCertFile"];
    let path = if known.iter().any(|known| name.starts_with(known)) {
        name
    } else {
        "baseUrl"
    };
    std::iter::once("connection").chain(path.split('.')).collect()
}

/// `credentialExpiresAt`: a day, or a time.
fn ends(layers: &Layers<'_>, problems: &mut Vec<String>) -> Option<Timestamp> {
    let at = ["connection", "credentialExpiresAt"];
    let text: String = layers.decode(&at, problems)?;
    let time = text.parse::<Timestamp>().ok();
    // From the first moment of the day on, wherever that is first.
    let day = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok();
    let found = time.or_else(|| day().map(|zoned| zoned.timestamp()));
    if found.is_none() {
        problems.push(layers.problem(
            &at,
            "must be a day such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z",
        ));
    }
    found
}

pub(super) fn auth(layers: &Layers<'_>, path: &[&str], problems: &mut Vec<String>) -> Option<AuthConfig> {
    const HINT: &str = "none, { bearerTokenFile: /path }, { basic: { user, passwordFile } }, { header: { name, valueFile } }, \
                        { clientCredentials: { clientId, clientSecretFile } }, { jwtBearer: { clientId, user, keyFile } } or \
                        { refreshToken: { clientId, clientSecretFile, tokenFile } }; …Env instead of …File names a variable";
    let value: Value = layers.require(path, HINT, problems)?;
    match serde_json::from_value(value) {
        Ok(auth) => Some(auth),
        // The text is not repeated: a token may have been written into it by mistake.
        Err(_) => {
            problems.push(layers.problem(path, format!("must be exactly one of: {HINT}")));
            None
        }
    }
}
