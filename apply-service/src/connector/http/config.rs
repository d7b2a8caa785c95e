//! How a target is reached: address, credentials, limits. Secrets are named by file, never written here.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::{Host, Url};
use usher_runtime::{
    address::{Allowed, is_own_name},
    secret::SecretRef,
};

use super::auth::{AuthConfig, OAuthConfig};

/// Settings of the sender of one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HttpConfig {
    /// Where the target's interface begins, as `https://api.example.com/scim/v2`. Required. May carry a path, a
    /// tenant, a trailing slash; not credentials, query or fragment.
    pub base_url: String,
    /// How requests are authorized. Default `none`.
    #[serde(default)]
    pub auth: AuthConfig,
    /// Time to connect, TLS included, in milliseconds; default 5000.
    #[serde(default = "connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Time of one request from its start to the last byte of its answer, in milliseconds; default 10000. A write
    /// also ends with the lease.
    #[serde(default = "request_timeout_ms")]
    pub request_timeout_ms: u64,
    /// The largest answer that is read, in bytes; default 8 MiB, which holds some thousand accounts per page.
    #[serde(default = "max_body_bytes")]
    pub max_body_bytes: usize,
    /// PEM file of further certificate authorities, for targets with a private one. Default none.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate that we show (mutual TLS), with what leads to its authority. Default none.
    #[serde(default)]
    pub client_cert_file: Option<PathBuf>,
    /// PEM file of its private key. Both or neither.
    #[serde(default)]
    pub client_key_file: Option<PathBuf>,
    /// Private, link-local and other special addresses that may be connected to, as `10.0.0.0/8`. Default none: see `address`.
    #[serde(default)]
    pub allow_addresses: Vec<String>,
    /// Where tokens are given out, for the OAuth ways to authorize.
    #[serde(default)]
    pub oauth: OAuthConfig,
    /// When the secret under `auth` ends, as far as somebody knows; warned of before.
    #[serde(default)]
    pub credential_expires_at: Option<Timestamp>,
    /// Allow `http://` to other hosts than this machine. Default false: credentials and people's data would travel
    /// in the clear.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// Where the secrets are that requests name, for connectors whose requests do.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretRef>,
    /// Requests per second at most. Default: as the lane starts operations.
    #[serde(default)]
    pub requests_per_second: Option<f64>,
}

fn connect_timeout_ms() -> u64 {
    5_000
}

fn request_timeout_ms() -> u64 {
    10_000
}

fn max_body_bytes() -> usize {
    8 * 1024 * 1024
}

impl HttpConfig {
    /// Defaults for an address.
    #[must_use]
    pub fn new(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            auth: AuthConfig::None,
            connect_timeout_ms: connect_timeout_ms(),
            request_timeout_ms: request_timeout_ms(),
            max_body_bytes: max_body_bytes(),
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            allow_addresses: Vec::new(),
            oauth: OAuthConfig::default(),
            credential_expires_at: None,
            allow_plaintext: false,
            secrets: BTreeMap::new(),
            requests_per_second: None,
        }
    }

    /// Everything that is wrong, in words; empty when nothing is. Files are not looked at.
    #[must_use]
    pub fn validate(&self) -> Vec<String> {
        let mut wrong: Vec<String> = Base::parse(self).err().into_iter().collect();
        for (name, value) in [
            ("connectTimeoutMs", self.connect_timeout_ms),
            ("requestTimeoutMs", self.request_timeout_ms),
            ("maxBodyBytes", self.max_body_bytes as u64),
        ] {
            if value == 0 {
                wrong.push(format!("{name} 0: at least 1"));
            }
        }
        if self
            .requests_per_second
            .is_some_and(|rate| !(rate.is_finite() && rate > 0.0))
        {
            wrong.push("requestsPerSecond: more than 0".to_owned());
        }
        wrong.extend(Allowed::parse(&self.allow_addresses).err());
        if self.client_cert_file.is_some() != self.client_key_file.is_some() {
            wrong.push("clientCertFile and clientKeyFile: both or neither".to_owned());
        }
        wrong.extend(self.auth.validate().into_iter().map(|wrong| format!("auth.{wrong}")));
        for (key, url) in [
            ("oauth.tokenUrl", &self.oauth.token_url),
            ("oauth.authorizeUrl", &self.oauth.authorize_url),
        ] {
            match url {
                Some(url) => wrong.extend(self.provider_url(key, url).err()),
                None if key == "oauth.tokenUrl" && self.auth.is_oauth() => {
                    wrong.push(format!(
                        "auth.{}: needs {key}, where tokens are given out",
                        self.auth.key()
                    ));
                }
                None => {}
            }
        }
        wrong
    }
}

impl HttpConfig {
    /// An address of the provider of tokens: a URL, or a path at the host of the base URL.
    ///
    /// # Errors
    /// What is wrong with it; the text begins with the key.
    pub(crate) fn provider_url(&self, key: &str, text: &str) -> Result<Url, String> {
        if text.starts_with('/') {
            let base = Base::parse(self)?;
            return base
                .at_host(text)
                .ok_or_else(|| format!("{key}: not a path such as /services/oauth2/token"));
        }
        let url = Url::parse(text).map_err(|error| format!("{key}: not a URL ({error})"))?;
        self.check_url(&url)
            .map(|()| url)
            .map_err(|wrong| format!("{key} {wrong}"))
    }

    /// Whether a configured address may be called at all.
    fn check_url(&self, url: &Url) -> Result<(), String> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err("holds credentials; put them into a file and name it under `auth`".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("holds a query or a fragment; it ends with a path".to_owned());
        }
        let literal = match url.host() {
            Some(Host::Domain(_)) => None,
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            None => return Err("names no host; it looks like https://host/path".to_owned()),
        };
        let own = match literal {
            Some(address) => address.is_loopback(),
            None => url.host_str().is_some_and(is_own_name),
        };
        match url.scheme() {
            "https" => {}
            "http" if own || self.allow_plaintext => {}
            "http" => return Err("is http to another machine; use https, or set `allowPlaintext: true`".to_owned()),
            other => return Err(format!("has the scheme `{other}`; use https")),
        }
        // What is no list of ranges is reported by itself.
        let allowed = Allowed::parse(&self.allow_addresses).unwrap_or_default();
        match literal.and_then(|address| allowed.refusal(address, own)) {
            Some(why) => Err(format!(
                "names an address of {why}; list it under `allowAddresses` if it is meant"
            )),
            None => Ok(()),
        }
    }
}

/// A base URL that paths can be joined to safely.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    url: Url,
    text: String,
}

impl Base {
    pub(crate) fn parse(config: &HttpConfig) -> Result<Self, String> {
        let text = config.base_url.trim().trim_end_matches('/').to_owned();
        // The text itself is not repeated in errors: credentials may have been written into it by mistake.
        let url = Url::parse(&text)
            .map_err(|error| format!("baseUrl is not a URL ({error}); it looks like https://host/path"))?;
        config.check_url(&url).map_err(|wrong| format!("baseUrl {wrong}"))?;
        let text = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { url, text })
    }

    /// The address of a path. Joined as text and then compared: whatever the path holds, the host and the base path
    /// stay the configured ones.
    pub(crate) fn join(&self, path: &str) -> Option<Url> {
        let url = Url::parse(&format!("{}{path}", self.text)).ok()?;
        let base_path = self.url.path().trim_end_matches('/');
        let below = url
            .path()
            .strip_prefix(base_path)
            .is_some_and(|rest| rest.starts_with('/'));
        (path.starts_with('/') && url.origin() == self.url.origin() && url.username().is_empty() && below)
            .then_some(url)
    }

    /// The address of a path at the same host, wherever the base path lies.
    pub(crate) fn at_host(&self, path: &str) -> Option<Url> {
        let url = self.url.join(path).ok()?;
        (path.starts_with('/') && url.origin() == self.url.origin() && url.username().is_empty()).then_some(url)
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_below_the_base_whatever_it_ends_with() {
        for base in [
            "https://h.example/scim/v2",
            "https://h.example/scim/v2/",
            " https://h.example/scim/v2// ",
        ] {
            let base = Base::parse(&HttpConfig::new(base)).unwrap();
            assert_eq!(
                base.join("/Users?count=1").unwrap().as_str(),
                "https://h.example/scim/v2/Users?count=1"
            );
        }
        let bare = Base::parse(&HttpConfig::new("https://h.example")).unwrap();
        assert_eq!(
            bare.join("/Users/a%2Fb").unwrap().as_str(),
            "https://h.example/Users/a%2Fb"
        );
    }

    #[test]
    fn no_path_leads_elsewhere() {
        let base = Base::parse(&HttpConfig::new("https://h.example/scim")).unwrap();
        for path in [
            "@evil.example/",
            ".evil.example/",
            "/../admin",
            "/%2e%2e/admin",
            "Users",
            ":8443/x",
            "x/Users",
        ] {
            assert!(base.join(path).is_none(), "{path}");
        }
        assert_eq!(base.at_host("/x/a%2Fb").unwrap().as_str(), "https://h.example/x/a%2Fb");
        for path in [
            "//evil.example/x",
            "/\\evil.example",
            "https://evil.example/",
            "x",
            "\\\\evil.example/",
        ] {
            assert!(base.at_host(path).is_none(), "{path}");
        }
    }

    #[test]
    fn unsafe_addresses_are_refused_without_being_repeated() {
        for (url, complaint) in [
            ("", "not a URL"),
            ("https://u:s3cret@h.example", "holds credentials"),
            ("https://h.example/?token=s3cret", "query"),
            ("http://h.example", "allowPlaintext"),
            ("ftp://h.example", "scheme `ftp`"),
        ] {
            let error = Base::parse(&HttpConfig::new(url)).unwrap_err();
            assert!(error.contains(complaint) && !error.contains("s3cret"), "{url}: {error}");
        }
        for url in ["http://127.0.0.1:8080/v2", "http://[::1]/", "http://localhost/"] {
            assert!(Base::parse(&HttpConfig::new(url)).is_ok(), "{url}");
        }
    }

    #[test]
    fn the_ways_to_authorize_are_written_as_in_the_policy_file() {
        let parse = |auth: &str| {
            serde_json::from_str::<HttpConfig>(&format!(r#"{{"baseUrl": "https://h.example", "auth": {auth}}}"#))
        };
        let bearer = parse(r#"{"bearerTokenFile": "/secrets/token"}"#).unwrap();
        assert_eq!(bearer.auth, AuthConfig::BearerTokenFile("/secrets/token".into()));
        assert_eq!(bearer.request_timeout_ms, 10_000);
        let basic = parse(r#"{"basic": {"user": "a:b", "passwordFile": "/p"}}"#).unwrap();
        assert_eq!(
            basic.validate(),
            ["auth.basic.user: a user name with a colon cannot be sent"]
        );
        let header = parse(r#"{"header": {"name": "x y", "valueFile": "/p"}}"#).unwrap();
        assert!(header.validate()[0].contains("not the name of a header"));
        assert!(
            parse(r#"{"bearerToken": "s3cret"}"#).is_err(),
            "secrets come from files only"
        );
        let oauth = parse(r#"{"clientCredentials": {"clientId": "c", "clientSecretFile": "/s"}}"#).unwrap();
        assert_eq!(
            oauth.validate(),
            ["auth.clientCredentials: needs oauth.tokenUrl, where tokens are given out"]
        );
    }

    #[test]
    fn addresses_of_the_provider_are_urls_or_paths_at_the_same_host() {
        let config = HttpConfig::new("https://acme.my.salesforce.com/services/scim/v2/");
        let url = |text: &str| config.provider_url("oauth.tokenUrl", text).map(|url| url.to_string());
        assert_eq!(
            url("/services/oauth2/token").as_deref(),
            Ok("https://acme.my.salesforce.com/services/oauth2/token")
        );
        assert_eq!(url("https://login.example/t").as_deref(), Ok("https://login.example/t"));
        for (text, complaint) in [
            ("http://login.example/t", "allowPlaintext"),
            ("https://u:s3cret@login.example/t", "credentials"),
            ("https://login.example/t?x=s3cret", "query"),
            ("//evil.example/t", "not a path"),
            ("token", "not a URL"),
            ("https://10.0.0.1/t", "a private network"),
        ] {
            let error = url(text).unwrap_err();
            assert!(
                error.contains(complaint) && !error.contains("s3cret"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn literal_addresses_inside_have_to_be_listed() {
        let parse = |url: &str, allowed: &[&str]| {
            let mut config = HttpConfig::new(url);
            config.allow_addresses = allowed.iter().map(|range| (*range).to_owned()).collect();
            config.validate()
        };
        assert!(parse("https://10.1.2.3/scim", &[])[0].contains("allowAddresses"));
        assert!(parse("https://[::ffff:10.1.2.3]/scim", &[])[0].contains("allowAddresses"));
        assert!(parse("https://10.1.2.3/scim", &["10.0.0.0/8"]).is_empty());
        assert!(parse("https://169.254.169.254/", &["169.254.0.0/16"])[0].contains("a metadata service"));
        assert!(parse("https://h.example", &["ten"])[0].starts_with("allowAddresses `ten`"));
        assert!(parse("http://127.0.0.1:80/", &[]).is_empty());
        let mut half = HttpConfig::new("https://h.example");
        half.client_cert_file = Some("/c".into());
        assert_eq!(half.validate(), ["clientCertFile and clientKeyFile: both or neither"]);
    }
}
