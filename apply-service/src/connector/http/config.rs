//! How a target is reached: address, credentials, limits. Secrets are named by file, never written here.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use serde::{Deserialize, Serialize};
use url::{Host, Url};

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
    /// Allow `http://` to other hosts than this machine. Default false: credentials and people's data would travel
    /// in the clear.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// Files of secrets that requests name, for connectors whose requests do.
    #[serde(default)]
    pub secrets: BTreeMap<String, PathBuf>,
    /// Requests per second at most. Default: as the lane starts operations.
    #[serde(default)]
    pub requests_per_second: Option<f64>,
}

/// How requests are authorized.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum AuthConfig {
    /// Not at all.
    #[default]
    None,
    /// `Authorization: Bearer`, the token being the content of this file.
    BearerTokenFile(PathBuf),
    /// `Authorization: Basic`.
    Basic {
        /// The user name.
        user: String,
        /// The file that holds the password.
        password_file: PathBuf,
    },
    /// A header of the target's own.
    Header {
        /// Its name, as `x-api-key`.
        name: String,
        /// The file that holds its value.
        value_file: PathBuf,
    },
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
        if let AuthConfig::Header { name, .. } = &self.auth
            && name.parse::<reqwest::header::HeaderName>().is_err()
        {
            // Not repeated: somebody may have written the whole header here, value included.
            wrong.push("auth.header.name: not the name of a header".to_owned());
        }
        if let AuthConfig::Basic { user, .. } = &self.auth
            && user.contains(':')
        {
            // RFC 7617 section 2: the first colon ends the user name.
            wrong.push("auth.basic.user: a user name with a colon cannot be sent".to_owned());
        }
        wrong
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
        if !url.username().is_empty() || url.password().is_some() {
            return Err("baseUrl holds credentials; put them into a file and name it under `auth`".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("baseUrl holds a query or a fragment; it ends with a path".to_owned());
        }
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
            Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
            None => return Err("baseUrl names no host; it looks like https://host/path".to_owned()),
        };
        match url.scheme() {
            "https" => {}
            "http" if loopback || config.allow_plaintext => {}
            "http" => {
                return Err("baseUrl is http to another machine; use https, or set `allowPlaintext: true`".to_owned());
            }
            other => return Err(format!("baseUrl has the scheme `{other}`; use https")),
        }
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
    }
}
