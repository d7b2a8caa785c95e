//! Logging in: OAuth 2.0 JWT bearer (RFC 7523) and client credentials. One token, renewed by one caller at a time.
//!
//! Salesforce's token answers have no `expires_in`: renewal is driven by `INVALID_SESSION_ID` and
//! `service.auth.error`.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::Mutex;
use tracing::info;
use usher_contract::{OrgId, UserId};
use usher_runtime::{
    address::AddressRefused,
    clock,
    oauth::{Claims, JWT_BEARER, assertion},
    secret::Secret,
};

use super::error::ApiError;
use crate::config::{AuthMethod, SalesforceConfig};

/// Org and user of `https://login.salesforce.com/id/<orgId>/<userId>`.
fn identity(url: &str) -> (Option<OrgId>, Option<UserId>) {
    let mut parts = url.rsplit('/');
    let user = parts.next().and_then(|user| UserId::try_new(user).ok());
    (parts.next().and_then(|org| OrgId::try_new(org).ok()), user)
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The access token.
    pub access: Secret,
    /// Where the org answers.
    pub instance_url: String,
    /// Which org it is.
    pub org: OrgId,
    /// Who logged in: the integration user; `None` when the answer does not say.
    pub user: Option<UserId>,
}

/// Gets and keeps the token. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TokenSource {
    config: Arc<SalesforceConfig>,
    http: reqwest::Client,
    current: Arc<Mutex<Option<Token>>>,
    /// The org of the first log-in: everything is kept under its id.
    first: Arc<OnceLock<OrgId>>,
}

impl TokenSource {
    /// Nothing is fetched yet.
    #[must_use]
    pub fn new(config: Arc<SalesforceConfig>, http: reqwest::Client) -> Self {
        Self {
            config,
            http,
            current: Arc::default(),
            first: Arc::default(),
        }
    }

    /// The token, fetched when there is none.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn token(&self) -> Result<Token, ApiError> {
        self.token_but_not(None).await
    }

    /// A token other than the one that was refused. Callers that come together share one log-in.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn renew(&self, refused: &Token) -> Result<Token, ApiError> {
        self.token_but_not(Some(refused)).await
    }

    async fn token_but_not(&self, refused: Option<&Token>) -> Result<Token, ApiError> {
        let mut current = self.current.lock().await;
        if let Some(token) = current.as_ref()
            && Some(token) != refused
        {
            return Ok(token.clone());
        }
        let token = self.log_in(clock::now()).await?;
        let expected = self.config.org_id.unwrap_or(*self.first.get_or_init(|| token.org));
        if expected != token.org {
            return Err(ApiError::Configuration(format!(
                "the org is {expected} (salesforce.orgId, or the first log-in) and {} answers as {}; after a sandbox refresh set the new id and another kafka.prefix, so that the \
                 two directories are not mixed",
                self.config.url, token.org
            )));
        }
        info!(org.id = %token.org, "logged in to Salesforce");
        *current = Some(token.clone());
        Ok(token)
    }

    async fn log_in(&self, now: Timestamp) -> Result<Token, ApiError> {
        let what = || "logging in to Salesforce".to_owned();
        let secret = |secret: &Option<usher_runtime::secret::SecretRef>, key: &str| match secret {
            Some(reference) => reference
                .read()
                .map_err(|error| ApiError::Configuration(format!("salesforce.auth.{key}: {error}"))),
            None => Err(ApiError::Configuration(format!(
                "salesforce.auth.{key} is not configured"
            ))),
        };
        let auth = &self.config.auth;
        let form: Vec<(&str, String)> = match auth.method {
            AuthMethod::JwtBearer => {
                let key = secret(&auth.private_key, "privateKey")?;
                vec![
                    ("grant_type", JWT_BEARER.to_owned()),
                    ("assertion", self.assertion(&key, now)?),
                ]
            }
            AuthMethod::ClientCredentials => vec![
                ("grant_type", "client_credentials".to_owned()),
                ("client_id", auth.client_id.clone()),
                (
                    "client_secret",
                    secret(&auth.client_secret, "clientSecret")?.expose().to_owned(),
                ),
            ],
        };
        let url = format!("{}/services/oauth2/token", self.config.url.trim_end_matches('/'));
        let answer = self.http.post(url).form(&form).send().await;
        let answer = answer.map_err(|error| ApiError::Transient {
            what: what(),
            reason: unreachable(&error),
        })?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|error| ApiError::Transient {
            what: what(),
            reason: unreachable(&error),
        })?;
        if !status.is_success() {
            return Err(refused(status.as_u16(), &body));
        }
        let session: Session = serde_json::from_slice(&body).map_err(|_| ApiError::Answer {
            what: what(),
            reason: "not a token answer".to_owned(),
        })?;
        let (org, user) = identity(&session.id);
        let org = org.ok_or_else(|| ApiError::Answer {
            what: what(),
            reason: "the token answer names no org".to_owned(),
        })?;
        Ok(Token {
            access: Secret::new(session.access_token),
            instance_url: instance(&self.config, &session.instance_url)?,
            org,
            user,
        })
    }

    fn assertion(&self, key: &Secret, now: Timestamp) -> Result<String, ApiError> {
        let auth = &self.config.auth;
        let claims = Claims {
            iss: &auth.client_id,
            sub: &auth.username,
            aud: &auth.audience,
        };
        let signed = assertion(key, &claims, now);
        let signed = signed.map_err(|error| ApiError::Configuration(format!("salesforce.auth.privateKey {error}")))?;
        Ok(signed.expose().to_owned())
    }
}

#[derive(Deserialize)]
struct Session {
    access_token: String,
    instance_url: String,
    id: String,
}

/// Salesforce's own domains: commercial, government, and the one operated in China (Salesforce Help, "My Domain URL Formats").
const SALESFORCE_DOMAINS: [&str; 3] = ["salesforce.com", "salesforce.mil", "sfcrmproducts.cn"];

/// Where the org answers, as the log-in says, when that is a host that may be shown the token: that of `salesforce.url`, one that
/// is configured, or, for an org at Salesforce's own domains, one of the same domain. Never in the clear where the log-in was not.
fn instance(config: &SalesforceConfig, said: &str) -> Result<String, ApiError> {
    let parse = |text: &str| url::Url::parse(text).ok().filter(url::Url::has_host);
    let (Some(own), Some(named)) = (parse(&config.url), parse(said)) else {
        return Err(ApiError::Answer {
            what: "logging in to Salesforce".to_owned(),
            reason: "the token answer names no address of the org".to_owned(),
        });
    };
    let host = |url: &url::Url| {
        url.host_str()
            .unwrap_or_default()
            .trim_end_matches('.')
            .to_ascii_lowercase()
    };
    let (own_host, host) = (host(&own), host(&named));
    let within = |host: &str, domain: &str| {
        host.strip_suffix(domain)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let of_salesforce = SALESFORCE_DOMAINS
        .iter()
        .any(|domain| within(&own_host, domain) && within(&host, domain))
        && named.port().is_none();
    let listed = config
        .instance_hosts
        .iter()
        .any(|listed| listed.eq_ignore_ascii_case(&host));
    let is_known = host == own_host || of_salesforce || listed;
    let is_clear = named.scheme() != "https" && named.scheme() != own.scheme();
    let is_plain = named.username().is_empty() && named.password().is_none() && named.query().is_none();
    if is_known && is_plain && !is_clear {
        return Ok(said.trim_end_matches('/').to_owned());
    }
    Err(ApiError::Configuration(format!(
        "the log-in at salesforce.url names {} as the org's address, which is not called with its token; put the org's own address from {} \
         into salesforce.url, or list its host under salesforce.instanceHosts",
        named.origin().ascii_serialization(),
        crate::logic::place::MY_DOMAIN
    )))
}

/// Network errors without the URL: it may hold a query with personal values.
pub(crate) fn unreachable(error: &reqwest::Error) -> String {
    if let Some(refused) = AddressRefused::within(error) {
        return format!("{refused}; list it under salesforce.allowAddresses if it is meant");
    }
    let kind = if error.is_timeout() {
        "it timed out"
    } else if error.is_connect() {
        "cannot connect; check salesforce.url, DNS, firewall and certificates"
    } else {
        "the connection broke"
    };
    let mut source = std::error::Error::source(error);
    let mut innermost = None;
    while let Some(cause) = source {
        innermost = Some(cause.to_string());
        source = cause.source();
    }
    innermost.map_or_else(|| kind.to_owned(), |cause| format!("{kind} ({cause})"))
}

/// What a refused log-in means. The description is Salesforce's own and holds no secret.
fn refused(status: u16, body: &[u8]) -> ApiError {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
        #[serde(default)]
        error_description: String,
    }
    let what = "logging in to Salesforce".to_owned();
    let Ok(Refusal {
        error,
        error_description: description,
    }) = serde_json::from_slice(body)
    else {
        return if status >= 500 {
            ApiError::Transient {
                what,
                reason: format!("status {status}"),
            }
        } else {
            ApiError::Answer {
                what,
                reason: format!("status {status} without an OAuth error"),
            }
        };
    };
    if status >= 500 || error == "rate_limit_exceeded" {
        return ApiError::Transient { what, reason: error };
    }
    // OAuth has one code for many mistakes: only the description tells them apart. Where it is not one of these the hint
    // names all that it can be.
    let said = description.to_lowercase();
    let hint = match error.as_str() {
        "invalid_grant" if said.contains("audience") => {
            "set salesforce.auth.audience to https://login.salesforce.com, or https://test.salesforce.com for a sandbox"
        }
        "invalid_grant" if said.contains("approved") => {
            "pre-authorize the integration user (\"Admin approved users are pre-authorized\", then its permission set) in \
             Setup > External Client App Manager > Policies > OAuth Policies; check salesforce.auth.username too"
        }
        "invalid_grant" if said.contains("domain") => {
            "put the org's own address into salesforce.url; it is in Setup > My Domain"
        }
        "invalid_grant" if said.contains("client credentials") => {
            "enable the client credentials flow in Setup > External Client App Manager > Settings > OAuth Settings, and \
             choose the integration user to run as in Setup > External Client App Manager > Policies > OAuth Policies"
        }
        "invalid_grant" if said.contains("expired") => {
            "this machine's clock is wrong: Salesforce takes assertions of the next five minutes only"
        }
        "invalid_grant" if said.contains("assertion") || said.contains("signature") => {
            "the key does not belong to the app's certificate, or this machine's clock is wrong; see the certificate in Setup > \
             External Client App Manager > Settings > OAuth Settings"
        }
        "invalid_grant" => {
            "check that the integration user exists, is active and not frozen (Setup > Users), and may log in from here at this \
             hour (Setup > Login History says why not)"
        }
        "invalid_client_id" | "invalid_client" => {
            "check salesforce.auth.clientId, and clientSecret or the uploaded certificate, against Setup > External Client App \
             Manager > Settings > OAuth Settings"
        }
        "unsupported_grant_type" | "unauthorized_client" => {
            "enable the flow of salesforce.auth.method in Setup > External Client App Manager > Settings > OAuth Settings"
        }
        "inactive_user" => "reactivate the integration user in Setup > Users",
        "inactive_org" => "the org is suspended or deleted; ask Salesforce",
        _ => "see Setup > External Client App Manager > Settings > OAuth Settings, and Setup > Login History",
    };
    ApiError::Login {
        error,
        description,
        hint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::place;

    #[test]
    fn a_refusal_names_the_way_out() {
        for (error, description, way_out) in [
            (
                "invalid_grant",
                "Audience validation failed",
                "salesforce.auth.audience",
            ),
            (
                "invalid_grant",
                "user hasn't approved this consumer",
                place::APP_POLICIES,
            ),
            ("invalid_grant", "invalid assertion", place::APP_SETTINGS),
            ("invalid_grant", "expired authorization code", "clock"),
            (
                "invalid_grant",
                "request not supported on this domain",
                place::MY_DOMAIN,
            ),
            (
                "invalid_grant",
                "no client credentials user enabled",
                place::APP_SETTINGS,
            ),
            ("invalid_grant", "authentication failure", place::USERS),
            (
                "invalid_grant",
                "ip restricted or invalid login hours",
                place::LOGIN_HISTORY,
            ),
            ("invalid_client_id", "client identifier invalid", place::APP_SETTINGS),
            ("invalid_client", "invalid client credentials", place::APP_SETTINGS),
            (
                "unsupported_grant_type",
                "grant type not supported",
                place::APP_SETTINGS,
            ),
            ("inactive_user", "user is inactive", place::USERS),
            ("inactive_org", "inactive organization", "suspended"),
            ("invalid_request", "something new", place::LOGIN_HISTORY),
            ("unknown_error", "", place::LOGIN_HISTORY),
        ] {
            let body = format!(r#"{{"error":"{error}","error_description":"{description}"}}"#);
            let refused = refused(400, body.as_bytes());
            assert!(!refused.is_transient(), "{refused}");
            assert!(refused.to_string().contains(way_out), "{way_out} is not in {refused}");
        }
    }

    #[test]
    fn maintenance_and_a_limit_pass_by_themselves() {
        assert!(refused(503, b"<html>").is_transient());
        assert!(refused(503, b"").is_transient());
        assert!(refused(400, br#"{"error":"rate_limit_exceeded"}"#).is_transient());
        assert!(matches!(refused(404, b"<html>"), ApiError::Answer { .. }));
    }

    fn config(url: &str, instance_hosts: &[&str]) -> SalesforceConfig {
        serde_json::from_value(serde_json::json!({
            "url": url, "orgId": null, "apiVersion": "v66.0", "caFile": null, "timeout": "10s",
            "allowAddresses": [], "instanceHosts": instance_hosts,
            "auth": { "method": "clientCredentials", "clientId": "c", "username": "", "privateKey": null, "audience": "",
                "clientSecret": null },
        }))
        .unwrap()
    }

    #[test]
    fn the_token_is_shown_to_the_configured_host_and_to_salesforce_only() {
        let own = "https://acme.my.salesforce.com";
        for (url, hosts, said, is_known) in [
            (own, &[][..], own, true),
            (own, &[], "https://ACME.my.salesforce.com/", true),
            ("https://login.salesforce.com", &[], own, true),
            (own, &[], "https://na139.salesforce.com", true),
            (
                "https://acme.my.salesforce.mil/",
                &[],
                "https://other.my.salesforce.mil",
                true,
            ),
            // Not in the clear, not at another port, not elsewhere.
            (own, &[], "http://acme.my.salesforce.com", false),
            (own, &[], "https://login.salesforce.com:8443", false),
            (own, &[], "https://evil.example", false),
            (own, &[], "https://evilsalesforce.com", false),
            (own, &[], "https://acme.my.salesforce.com.evil.example", false),
            (own, &[], "https://acme.my.salesforce.com@evil.example", false),
            (own, &[], "https://u@acme.my.salesforce.com", false),
            (own, &[], "https://acme.my.salesforce.mil", false),
            // A host of one's own speaks for itself.
            ("https://sf.acme.example", &[], own, false),
            ("https://sf.acme.example", &["acme.my.salesforce.com"], own, true),
            (own, &["sf.acme.example"], "https://sf.acme.example:8443", true),
            (own, &["sf.acme.example"], "http://sf.acme.example", false),
            ("http://127.0.0.1:4000", &[], "http://127.0.0.1:4001", true),
            ("http://127.0.0.1:4000", &[], "http://10.0.0.1:4000", false),
        ] {
            let found = instance(&config(url, hosts), said);
            assert_eq!(found.is_ok(), is_known, "{url} {hosts:?} {said}: {found:?}");
            if let Err(error) = found {
                assert!(
                    !error.is_transient() && error.to_string().contains("salesforce.instanceHosts"),
                    "{error}"
                );
            }
        }
        assert!(matches!(
            instance(&config(own, &[]), "nowhere"),
            Err(ApiError::Answer { .. })
        ));
    }

    #[tokio::test]
    async fn a_log_in_that_names_another_host_gives_no_token() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            let body = r#"{"access_token":"s3cret","instance_url":"https://evil.example","id":"https://x/id/00D000000000001EAA/005"}"#;
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all((head + body).as_bytes()).await.unwrap();
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret").unwrap();
        let mut config = config(&url, &[]);
        config.auth.client_secret = Some(usher_runtime::secret::SecretRef::File(file.path().to_owned()));
        let http = super::super::rest::http_client(&config).unwrap();
        let tokens = TokenSource::new(Arc::new(config), http);
        let (token, ()) = tokio::join!(tokens.token(), serve);
        let error = token.unwrap_err().to_string();
        assert!(
            error.contains("names https://evil.example as the org's address"),
            "{error}"
        );
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn the_identity_names_org_and_user() {
        let url = "https://login.salesforce.com/id/00D000000000001EAA/005ZL000000M0x1YAC";
        let (org, user) = identity(url);
        assert_eq!(org.unwrap().as_str(), "00D000000000001EAA");
        assert_eq!(user.unwrap().as_str(), "005ZL000000M0x1YAC");
        assert_eq!(identity("https://login.salesforce.com/id/00D000000000001EAA/").1, None);
    }
}
