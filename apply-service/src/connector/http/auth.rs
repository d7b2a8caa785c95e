//! How requests are authorized, as it is configured. Secrets are named by file or by environment variable, never written
//! here.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use usher_runtime::secret::SecretRef;

/// How requests are authorized.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum AuthConfig {
    /// Not at all.
    #[default]
    None,
    /// `Authorization: Bearer`, the token being the content of this file.
    BearerTokenFile(PathBuf),
    /// `Authorization: Bearer`, the token being the value of this environment variable.
    BearerTokenEnv(String),
    /// `Authorization: Basic`.
    Basic {
        /// The user name.
        user: String,
        /// The file that holds the password.
        #[serde(default)]
        password_file: Option<PathBuf>,
        /// Or the environment variable that does.
        #[serde(default)]
        password_env: Option<String>,
    },
    /// A header of the target's own.
    Header {
        /// Its name, as `x-api-key`.
        name: String,
        /// The file that holds its value.
        #[serde(default)]
        value_file: Option<PathBuf>,
        /// Or the environment variable that does.
        #[serde(default)]
        value_env: Option<String>,
    },
    /// OAuth 2.0 client credentials (RFC 6749 section 4.4).
    ClientCredentials {
        /// The client's id; Salesforce calls it the consumer key.
        client_id: String,
        /// The file that holds the client's secret.
        #[serde(default)]
        client_secret_file: Option<PathBuf>,
        /// Or the environment variable that does.
        #[serde(default)]
        client_secret_env: Option<String>,
    },
    /// OAuth 2.0 with a signed assertion (RFC 7523), RS256.
    JwtBearer {
        /// The client's id: the issuer of assertions.
        client_id: String,
        /// On whose behalf: the subject of assertions, at Salesforce the user name of the integration user.
        user: String,
        /// PEM file of the RSA private key.
        #[serde(default)]
        key_file: Option<PathBuf>,
        /// Or the environment variable that holds the PEM text.
        #[serde(default)]
        key_env: Option<String>,
    },
    /// OAuth 2.0 by a refresh token (RFC 6749 section 6) that `apply-service connect` has obtained.
    RefreshToken {
        /// The client's id.
        client_id: String,
        /// The file that holds the client's secret; public clients have none.
        #[serde(default)]
        client_secret_file: Option<PathBuf>,
        /// Or the environment variable that does.
        #[serde(default)]
        client_secret_env: Option<String>,
        /// The durable home of the refresh token: every replica has to see the same file.
        token_file: PathBuf,
        /// Whether a renewal may hand out another refresh token. Default true: the file must be writable then. With false a
        /// read-only file will do, and a renewal that hands one out all the same stops the target.
        #[serde(default = "yes")]
        rotates: bool,
    },
}

/// What is said about the provider of tokens; a preset's data, mostly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct OAuthConfig {
    /// Where tokens are given out: a URL, or a path at the host of `baseUrl`. Required by the OAuth ways to authorize.
    pub token_url: Option<String>,
    /// Where somebody consents, for `connect`: a URL, or a path at the host of `baseUrl`.
    pub authorize_url: Option<String>,
    /// What is asked for. Default nothing: what the application grants by itself.
    pub scopes: Vec<String>,
    /// What somebody is asked to consent to by `connect`. Default `scopes`.
    pub consent_scopes: Vec<String>,
    /// The audience of assertions. Default the token URL.
    pub audience: Option<String>,
    /// How the client's secret is sent. Default `body`.
    pub client_auth: ClientAuth,
    /// For how long a token is used when its answer does not say (Salesforce's never does); `0s`, the default: until it is
    /// refused.
    #[serde(with = "usher_runtime::duration")]
    #[schemars(with = "String")]
    pub lifetime: Duration,
    /// Further parameters of token requests, such as `resource`. No secrets.
    pub parameters: BTreeMap<String, String>,
}

/// See [`OAuthConfig::client_auth`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ClientAuth {
    /// As `client_secret` in the form.
    Body,
    /// As HTTP Basic (RFC 6749 section 2.3.1).
    Basic,
}

impl Default for OAuthConfig {
    fn default() -> Self {
        Self {
            token_url: None,
            authorize_url: None,
            scopes: Vec::new(),
            consent_scopes: Vec::new(),
            audience: None,
            client_auth: ClientAuth::Body,
            lifetime: Duration::ZERO,
            parameters: BTreeMap::new(),
        }
    }
}

fn yes() -> bool {
    true
}

impl AuthConfig {
    /// What it is called in status and metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::BearerTokenFile(_) | Self::BearerTokenEnv(_) => "bearer",
            Self::Basic { .. } => "basic",
            Self::Header { .. } => "header",
            Self::ClientCredentials { .. } => "client-credentials",
            Self::JwtBearer { .. } => "jwt-bearer",
            Self::RefreshToken { .. } => "refresh-token",
        }
    }

    /// The user whose credentials they are, where they say so.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Basic { user, .. } | Self::JwtBearer { user, .. } => Some(user),
            _ => None,
        }
    }

    /// The key under `auth` that it is written as.
    pub(crate) fn key(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::BearerTokenFile(_) => "bearerTokenFile",
            Self::BearerTokenEnv(_) => "bearerTokenEnv",
            Self::Basic { .. } => "basic",
            Self::Header { .. } => "header",
            Self::ClientCredentials { .. } => "clientCredentials",
            Self::JwtBearer { .. } => "jwtBearer",
            Self::RefreshToken { .. } => "refreshToken",
        }
    }

    /// Whether access tokens are obtained and renewed.
    #[must_use]
    pub fn is_oauth(&self) -> bool {
        matches!(
            self,
            Self::ClientCredentials { .. } | Self::JwtBearer { .. } | Self::RefreshToken { .. }
        )
    }

    /// Where its one secret is: password, token, client secret or key. `None` when it has none.
    ///
    /// # Errors
    /// Both places are named, or neither although one is needed; the text begins with the key.
    pub(crate) fn secret(&self) -> Result<Option<SecretRef>, String> {
        let needed = |file: &Option<PathBuf>, env: &Option<String>, key: &str| match either(file, env, key)? {
            Some(place) => Ok(Some(place)),
            None => Err(format!(
                "{key}File: is required, or {key}Env with the name of a variable"
            )),
        };
        match self {
            Self::None => Ok(None),
            Self::BearerTokenFile(file) => Ok(Some(SecretRef::File(file.clone()))),
            Self::BearerTokenEnv(name) => Ok(Some(SecretRef::Env(name.clone()))),
            Self::Basic {
                password_file,
                password_env,
                ..
            } => needed(password_file, password_env, "basic.password"),
            Self::Header {
                value_file, value_env, ..
            } => needed(value_file, value_env, "header.value"),
            Self::ClientCredentials {
                client_secret_file,
                client_secret_env,
                ..
            } => needed(client_secret_file, client_secret_env, "clientCredentials.clientSecret"),
            Self::JwtBearer { key_file, key_env, .. } => needed(key_file, key_env, "jwtBearer.key"),
            Self::RefreshToken {
                client_secret_file,
                client_secret_env,
                ..
            } => either(client_secret_file, client_secret_env, "refreshToken.clientSecret"),
        }
    }

    /// Everything that is wrong, in words that begin with the key below `auth`; empty when nothing is.
    pub(crate) fn validate(&self) -> Vec<String> {
        let mut wrong: Vec<String> = self.secret().err().into_iter().collect();
        let mut blank = |key: &str, value: &str| {
            if value.trim().is_empty() {
                wrong.push(format!("{key}: must not be empty"));
            }
        };
        match self {
            Self::Header { name, .. } if name.parse::<reqwest::header::HeaderName>().is_err() => {
                // Not repeated: somebody may have written the whole header here, value included.
                wrong.push("header.name: not the name of a header".to_owned());
            }
            Self::Basic { user, .. } if user.contains(':') => {
                // RFC 7617 section 2: the first colon ends the user name.
                wrong.push("basic.user: a user name with a colon cannot be sent".to_owned());
            }
            Self::ClientCredentials { client_id, .. } => blank("clientCredentials.clientId", client_id),
            Self::RefreshToken { client_id, .. } => blank("refreshToken.clientId", client_id),
            Self::JwtBearer { client_id, user, .. } => {
                blank("jwtBearer.clientId", client_id);
                blank("jwtBearer.user", user);
            }
            Self::None
            | Self::BearerTokenFile(_)
            | Self::BearerTokenEnv(_)
            | Self::Basic { .. }
            | Self::Header { .. } => {}
        }
        wrong
    }
}

fn either(file: &Option<PathBuf>, env: &Option<String>, key: &str) -> Result<Option<SecretRef>, String> {
    match (file, env) {
        (Some(_), Some(_)) => Err(format!("{key}Env: stands beside {key}File; take one of them out")),
        (Some(file), None) => Ok(Some(SecretRef::File(file.clone()))),
        (None, Some(name)) => Ok(Some(SecretRef::Env(name.clone()))),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(auth: &str) -> Result<AuthConfig, serde_json::Error> {
        serde_json::from_str(auth)
    }

    #[test]
    fn each_way_names_its_secret_by_file_or_by_variable() {
        for (auth, kind, secret) in [
            (
                r#"{"bearerTokenEnv": "T"}"#,
                "bearer",
                Some(SecretRef::Env("T".to_owned())),
            ),
            (
                r#"{"basic": {"user": "u", "passwordEnv": "P"}}"#,
                "basic",
                Some(SecretRef::Env("P".to_owned())),
            ),
            (
                r#"{"clientCredentials": {"clientId": "c", "clientSecretFile": "/s"}}"#,
                "client-credentials",
                Some(SecretRef::File("/s".into())),
            ),
            (
                r#"{"jwtBearer": {"clientId": "c", "user": "u", "keyFile": "/k"}}"#,
                "jwt-bearer",
                Some(SecretRef::File("/k".into())),
            ),
            (
                r#"{"refreshToken": {"clientId": "c", "tokenFile": "/t"}}"#,
                "refresh-token",
                None,
            ),
        ] {
            let auth = parse(auth).unwrap();
            assert_eq!((auth.kind(), auth.secret()), (kind, Ok(secret)));
            assert!(auth.validate().is_empty());
            assert_eq!(auth.is_oauth(), !["bearer", "basic"].contains(&kind));
        }
    }

    #[test]
    fn no_secret_and_two_secrets_are_mistakes_with_their_keys() {
        for (auth, complaint) in [
            (r#"{"basic": {"user": "u"}}"#, "basic.passwordFile: is required"),
            (
                r#"{"header": {"name": "x", "valueFile": "/v", "valueEnv": "V"}}"#,
                "header.valueEnv: stands beside header.valueFile",
            ),
            (
                r#"{"clientCredentials": {"clientId": " ", "clientSecretEnv": "S"}}"#,
                "clientCredentials.clientId: must not be empty",
            ),
            (
                r#"{"jwtBearer": {"clientId": "c", "user": ""}}"#,
                "jwtBearer.keyFile: is required",
            ),
            (
                r#"{"refreshToken": {"clientId": "c", "tokenFile": "/t", "clientSecretFile": "/s", "clientSecretEnv": "S"}}"#,
                "refreshToken.clientSecretEnv: stands beside",
            ),
        ] {
            let wrong = parse(auth).unwrap().validate();
            assert!(wrong[0].starts_with(complaint), "{auth}: {wrong:?}");
        }
        assert!(parse(r#"{"clientCredentials": {"clientId": "c", "clientSecret": "s3cret"}}"#).is_err());
    }
}
