//! Secrets: given by file or environment reference, never printed.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A secret value. `Debug` and `Display` never show it and it cannot be serialized.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }
    /// The value, for the one call that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Where a secret is found: exactly one of a file or an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SecretRef {
    /// A file; white space around the content is removed.
    File(PathBuf),
    /// The name of an environment variable.
    Env(String),
}

/// A secret that could not be read.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The file.
    #[error("cannot read the secret file {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The variable.
    #[error("the environment variable {0} named for a secret is not set")]
    Env(String),
    /// Nothing in it.
    #[error("the secret {0} is empty")]
    Empty(String),
}

impl SecretRef {
    /// Reads the secret now; call again to pick up a rotated one.
    ///
    /// # Errors
    /// [`SecretError`] naming the file or variable.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let (name, value) = match self {
            Self::File(path) => {
                let value = std::fs::read_to_string(path).map_err(|source| SecretError::File {
                    path: path.clone(),
                    source,
                })?;
                (path.display().to_string(), value)
            }
            Self::Env(name) => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "secrets may come from the environment, by name only"
                )]
                let value = std::env::var(name).map_err(|_| SecretError::Env(name.clone()))?;
                (name.clone(), value)
            }
        };
        let value = value.trim();
        if value.is_empty() {
            Err(SecretError::Empty(name))
        } else {
            Ok(Secret::new(value))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("s3cret");
        assert_eq!(format!("{secret:?} {secret}"), "[secret] [secret]");
        assert_eq!(secret.expose(), "s3cret");
    }

    #[test]
    fn a_missing_secret_names_its_place() {
        let missing = SecretRef::File("/nonexistent/token".into()).read().unwrap_err();
        assert_eq!(missing.to_string(), "cannot read the secret file /nonexistent/token");
        assert!(
            SecretRef::Env("USHER_TEST_NOT_SET".into())
                .read()
                .unwrap_err()
                .to_string()
                .contains("USHER_TEST_NOT_SET")
        );
    }
}
