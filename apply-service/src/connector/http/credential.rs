//! The header that authorizes: read from files or variables and kept fresh, or a token of the token source.
//!
//! Secrets are read again after a while and at once when the target answers 401, so a rotated secret needs no restart.
//! The values are marked sensitive: `Debug` does not show them.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use usher_runtime::secret::{Secret, SecretRef};

use super::{
    auth::AuthConfig,
    oauth::Wish,
    token::{TokenSource, read_secret},
};
use crate::connector::Refusal;

/// How long a read secret is believed. Shorter means more reads, longer a later change-over to a rotated secret that
/// the target does not enforce by 401.
pub(super) const FRESH: Duration = Duration::from_secs(10);

/// A header to authorize with.
pub(crate) type Header = (HeaderName, HeaderValue);

/// The credentials of one target.
pub(crate) struct Credential {
    config: AuthConfig,
    tokens: Option<TokenSource>,
    last: Mutex<Option<(Header, Instant)>>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Credential {
    /// `tokens` for the ways to authorize that have some.
    pub(crate) fn new(config: AuthConfig, tokens: Option<TokenSource>) -> Self {
        Self {
            config,
            tokens,
            last: Mutex::new(None),
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        self.config.kind()
    }

    pub(crate) fn tokens(&self) -> Option<&TokenSource> {
        self.tokens.as_ref()
    }

    /// The header; `None` when the target wants none.
    ///
    /// # Errors
    /// The secret cannot be read or is not one line of text, or there is no token; the message names the place.
    pub(crate) async fn header(&self, now: Instant) -> Result<Option<Header>, Refusal> {
        if let Some(tokens) = &self.tokens {
            return tokens.token(Wish::Any).await.and_then(|token| bearer(&token)).map(Some);
        }
        let last = self.last().clone();
        if let Some((header, read)) = last
            && now.saturating_duration_since(read) < FRESH
        {
            return Ok(Some(header));
        }
        self.read(now).await
    }

    /// Another header than `used`, which the target has answered with 401: the secret read again, or a new token. `None`
    /// when there is no other: the same would be refused again, and repeated refusals lock accounts out.
    ///
    /// # Errors
    /// Why no new token was given.
    pub(crate) async fn renewed(&self, used: Option<&Header>, now: Instant) -> Result<Option<Header>, Refusal> {
        if let Some(tokens) = &self.tokens {
            let used = used.and_then(|(_, value)| value.to_str().ok()?.strip_prefix("Bearer "));
            let used = Secret::new(used.unwrap_or_default());
            return tokens
                .token(Wish::Another(&used))
                .await
                .and_then(|token| bearer(&token))
                .map(Some);
        }
        let header = self.read(now).await.ok().flatten();
        Ok(header.filter(|header| Some(header) != used))
    }

    async fn read(&self, now: Instant) -> Result<Option<Header>, Refusal> {
        let place = self.config.secret().map_err(unreadable_setting)?;
        let Some(place) = place.filter(|_| !self.config.is_oauth()) else {
            return Ok(None);
        };
        let secret = read_secret(&place).await?;
        let secret = secret.expose();
        let header = match &self.config {
            AuthConfig::Basic { user, .. } => {
                let pair = STANDARD.encode(format!("{user}:{secret}"));
                (AUTHORIZATION, value(&place, &format!("Basic {pair}"))?)
            }
            AuthConfig::Header { name, .. } => {
                let name = name
                    .parse::<HeaderName>()
                    .map_err(|_| unreadable_setting("header.name: not the name of a header".to_owned()))?;
                (name, value(&place, secret)?)
            }
            _ => (AUTHORIZATION, value(&place, &format!("Bearer {secret}"))?),
        };
        *self.last() = Some((header.clone(), now));
        Ok(Some(header))
    }

    fn last(&self) -> MutexGuard<'_, Option<(Header, Instant)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bearer(token: &Secret) -> Result<Header, Refusal> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| Refusal {
        code: "credential-unreadable".to_owned(),
        reason: "the token endpoint gave a token that no header can carry".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok((AUTHORIZATION, value))
}

/// The content of a secret file without the line end that editors add.
pub(super) async fn secret(file: &PathBuf) -> Result<String, Refusal> {
    let text = tokio::fs::read_to_string(file)
        .await
        .map_err(|error| unreadable(file, &error.kind().to_string()))?;
    let text = text.trim().to_owned();
    if text.is_empty() {
        Err(unreadable(file, "it is empty"))
    } else {
        Ok(text)
    }
}

fn value(place: &SecretRef, text: &str) -> Result<HeaderValue, Refusal> {
    let mut value = HeaderValue::from_str(text).map_err(|_| match place {
        SecretRef::File(file) => unreadable(file, "it does not hold one line of text"),
        SecretRef::Env(name) => Refusal {
            code: "credential-unreadable".to_owned(),
            reason: format!("the environment variable {name} does not hold one line of text"),
        },
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn unreadable(file: &Path, why: &str) -> Refusal {
    Refusal {
        code: "credential-unreadable".to_owned(),
        reason: format!("the secret file {} cannot be used: {why}", file.display()),
    }
}

fn unreadable_setting(wrong: String) -> Refusal {
    Refusal {
        code: "credential-unreadable".to_owned(),
        reason: format!("connection.auth.{wrong}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn file(content: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    #[tokio::test]
    async fn each_way_makes_its_header_and_shows_no_secret() {
        let token = file("s3cret\n");
        let path = token.path().to_owned();
        for (config, name, text) in [
            (
                AuthConfig::BearerTokenFile(path.clone()),
                "authorization",
                "Bearer s3cret",
            ),
            (
                AuthConfig::Basic {
                    user: "ada".to_owned(),
                    password_file: Some(path.clone()),
                    password_env: None,
                },
                "authorization",
                "Basic YWRhOnMzY3JldA==",
            ),
            (
                AuthConfig::Header {
                    name: "X-Key".to_owned(),
                    value_file: Some(path.clone()),
                    value_env: None,
                },
                "x-key",
                "s3cret",
            ),
        ] {
            let credential = Credential::new(config, None);
            let header = credential.header(start()).await.unwrap().unwrap();
            assert_eq!((header.0.as_str(), header.1.to_str().unwrap()), (name, text));
            assert!(!format!("{credential:?} {header:?}").contains("s3cret"));
        }
        assert_eq!(Credential::new(AuthConfig::None, None).header(start()).await, Ok(None));
    }

    #[tokio::test]
    async fn a_rotated_secret_is_taken_after_a_while_and_at_once_after_a_refusal() {
        let token = file("old");
        let credential = Credential::new(AuthConfig::BearerTokenFile(token.path().to_owned()), None);
        let now = start();
        let old = credential.header(now).await.unwrap();
        assert_eq!(
            credential.renewed(old.as_ref(), now).await,
            Ok(None),
            "the same secret is not tried again"
        );
        std::fs::write(token.path(), "new").unwrap();
        assert_eq!(credential.header(now).await.unwrap(), old);
        assert_ne!(credential.header(now + FRESH).await.unwrap(), old);
        assert!(credential.renewed(old.as_ref(), now).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_variable_that_is_not_set_is_named() {
        let credential = Credential::new(AuthConfig::BearerTokenEnv("USHER_TEST_NOT_SET".to_owned()), None);
        let refusal = credential.header(start()).await.unwrap_err();
        assert!(refusal.reason.contains("USHER_TEST_NOT_SET"), "{refusal}");
        // Every test process has one.
        let credential = Credential::new(AuthConfig::BearerTokenEnv("CARGO_MANIFEST_DIR".to_owned()), None);
        let (_, value) = credential.header(start()).await.unwrap().unwrap();
        assert!(value.to_str().unwrap().ends_with("apply-service"));
    }

    #[tokio::test]
    async fn an_unusable_file_is_named_and_not_quoted() {
        for content in ["", " \n", "s3cret\ns3cret"] {
            let token = file(content);
            let credential = Credential::new(AuthConfig::BearerTokenFile(token.path().to_owned()), None);
            let refusal = credential.header(start()).await.unwrap_err();
            assert!(
                refusal.reason.contains(&token.path().display().to_string()),
                "{refusal}"
            );
            assert!(!refusal.reason.contains("s3cret"));
        }
        let missing = Credential::new(AuthConfig::BearerTokenFile("/does/not/exist".into()), None);
        assert_eq!(missing.header(start()).await.unwrap_err().code, "credential-unreadable");
    }
}
