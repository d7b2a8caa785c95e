//! The authorization header, read from files and kept fresh.
//!
//! Files are read again after a while and at once when the target answers 401, so a rotated secret needs no restart.
//! The values are marked sensitive: `Debug` does not show them.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::config::AuthConfig;
use crate::connector::Refusal;

/// How long a read file is believed. Shorter means more reads, longer a later change-over to a rotated secret that
/// the target does not enforce by 401.
pub(super) const FRESH: Duration = Duration::from_secs(10);

/// A header to authorize with.
pub(crate) type Header = (HeaderName, HeaderValue);

/// The credentials of one target.
pub(crate) struct Credential {
    config: AuthConfig,
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
    pub(crate) fn new(config: AuthConfig) -> Self {
        Self {
            config,
            last: Mutex::new(None),
        }
    }

    /// The header; `None` when the target wants none.
    ///
    /// # Errors
    /// The file cannot be read or does not hold one line of text; the message names it.
    pub(crate) async fn header(&self, now: Instant) -> Result<Option<Header>, Refusal> {
        let last = self.last().clone();
        if let Some((header, read)) = last
            && now.saturating_duration_since(read) < FRESH
        {
            return Ok(Some(header));
        }
        self.read(now).await
    }

    /// Reads the file again after a 401; the header only when it is another one than `used`. The same secret would
    /// be refused again, and repeated refusals lock accounts out.
    pub(crate) async fn renewed(&self, used: Option<&Header>, now: Instant) -> Option<Header> {
        let header = self.read(now).await.ok()??;
        (Some(&header) != used).then_some(header)
    }

    async fn read(&self, now: Instant) -> Result<Option<Header>, Refusal> {
        let header = match &self.config {
            AuthConfig::None => return Ok(None),
            AuthConfig::BearerTokenFile(file) => {
                (AUTHORIZATION, value(file, &format!("Bearer {}", secret(file).await?))?)
            }
            AuthConfig::Basic { user, password_file } => {
                let pair = STANDARD.encode(format!("{user}:{}", secret(password_file).await?));
                (AUTHORIZATION, value(password_file, &format!("Basic {pair}"))?)
            }
            AuthConfig::Header { name, value_file } => {
                let name = name.parse::<HeaderName>().map_err(|_| Refusal {
                    code: "credential-unreadable".to_owned(),
                    reason: "the name under `auth.header` is not the name of a header".to_owned(),
                })?;
                (name, value(value_file, &secret(value_file).await?)?)
            }
        };
        *self.last() = Some((header.clone(), now));
        Ok(Some(header))
    }

    fn last(&self) -> MutexGuard<'_, Option<(Header, Instant)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

fn value(file: &Path, text: &str) -> Result<HeaderValue, Refusal> {
    let mut value = HeaderValue::from_str(text).map_err(|_| unreadable(file, "it does not hold one line of text"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn unreadable(file: &Path, why: &str) -> Refusal {
    Refusal {
        code: "credential-unreadable".to_owned(),
        reason: format!("the secret file {} cannot be used: {why}", file.display()),
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
                    password_file: path.clone(),
                },
                "authorization",
                "Basic YWRhOnMzY3JldA==",
            ),
            (
                AuthConfig::Header {
                    name: "X-Key".to_owned(),
                    value_file: path.clone(),
                },
                "x-key",
                "s3cret",
            ),
        ] {
            let credential = Credential::new(config);
            let header = credential.header(start()).await.unwrap().unwrap();
            assert_eq!((header.0.as_str(), header.1.to_str().unwrap()), (name, text));
            assert!(!format!("{credential:?} {header:?}").contains("s3cret"));
        }
        assert_eq!(Credential::new(AuthConfig::None).header(start()).await, Ok(None));
    }

    #[tokio::test]
    async fn a_rotated_secret_is_taken_after_a_while_and_at_once_after_a_refusal() {
        let token = file("old");
        let credential = Credential::new(AuthConfig::BearerTokenFile(token.path().to_owned()));
        let now = start();
        let old = credential.header(now).await.unwrap();
        assert_eq!(
            credential.renewed(old.as_ref(), now).await,
            None,
            "the same secret is not tried again"
        );
        std::fs::write(token.path(), "new").unwrap();
        assert_eq!(credential.header(now).await.unwrap(), old);
        assert_ne!(credential.header(now + FRESH).await.unwrap(), old);
        assert!(credential.renewed(old.as_ref(), now).await.is_some());
    }

    #[tokio::test]
    async fn an_unusable_file_is_named_and_not_quoted() {
        for content in ["", " \n", "s3cret\ns3cret"] {
            let token = file(content);
            let credential = Credential::new(AuthConfig::BearerTokenFile(token.path().to_owned()));
            let refusal = credential.header(start()).await.unwrap_err();
            assert!(
                refusal.reason.contains(&token.path().display().to_string()),
                "{refusal}"
            );
            assert!(!refusal.reason.contains("s3cret"));
        }
        let missing = Credential::new(AuthConfig::BearerTokenFile("/does/not/exist".into()));
        assert_eq!(missing.header(start()).await.unwrap_err().code, "credential-unreadable");
    }
}
