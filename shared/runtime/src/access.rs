//! Who may do what through HTTP: roles by bearer token, or by a client's certificate.
//!
//! The file holds one line per token: `role sha256-hex name`. Roles include those below them: approver > operator >
//! viewer. It is read again at every request that carries a token, so a revoked one stops working at once. Without a
//! file, reading is allowed from loopback and changing is not allowed at all.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{admin::HttpConfig, tls::ClientNames};

/// What a person or program may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Viewer,
    /// Start things that repeat what would happen anyway.
    Operator,
    /// Release what was held back.
    Approver,
}

/// A request that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AccessError {
    /// No or an unknown token.
    #[error("give a known token as `Authorization: Bearer …`; tokens are listed by hash in http.tokensFile")]
    Unknown,
    /// Known, but the role does not reach.
    #[error("this needs the role {needed}, the caller has {has}")]
    Role {
        /// What it takes.
        needed: &'static str,
        /// What the caller has.
        has: &'static str,
    },
    /// Nothing is configured.
    #[error("changing something needs a token: configure http.tokensFile")]
    NotConfigured,
    /// The file cannot be used.
    #[error("http.tokensFile cannot be read")]
    File,
}

impl Role {
    /// The word for it in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Approver => "approver",
        }
    }
    fn parse(word: &str) -> Option<Self> {
        [Self::Viewer, Self::Operator, Self::Approver]
            .into_iter()
            .find(|role| role.as_str() == word)
    }
}

/// The access rules of one server.
#[derive(Debug, Clone, Default)]
pub struct Access {
    file: Option<PathBuf>,
    /// Roles by the names of certificates.
    certificates: BTreeMap<String, Role>,
}

impl Access {
    /// With the configured file.
    #[must_use]
    pub fn new(file: Option<PathBuf>) -> Self {
        Self {
            file,
            certificates: BTreeMap::new(),
        }
    }

    /// With everything that is configured.
    #[must_use]
    pub fn configured(http: &HttpConfig) -> Self {
        let certificates = http.tls.as_ref().map(|tls| tls.roles.clone()).unwrap_or_default();
        Self {
            file: http.tokens_file.clone(),
            certificates,
        }
    }

    /// As [`Access::check`], for a client that may have shown a certificate. A token that is shown as well counts when
    /// its role reaches further.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn check_client(
        &self,
        names: Option<&ClientNames>,
        authorization: Option<&str>,
        from: IpAddr,
        needed: Role,
    ) -> Result<String, AccessError> {
        let known = names.into_iter().flat_map(|names| &names.0);
        let known = known.filter_map(|name| Some((*self.certificates.get(name)?, name)));
        match known.max() {
            Some((role, name)) if role >= needed => Ok(name.clone()),
            Some((role, _)) if authorization.is_none() => Err(AccessError::Role {
                needed: needed.as_str(),
                has: role.as_str(),
            }),
            _ if self.file.is_none() && !self.certificates.is_empty() => Err(AccessError::Unknown),
            _ => self.check(authorization, from, needed),
        }
    }

    /// The actor's name when the request may do what `needed` may.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn check(&self, authorization: Option<&str>, from: IpAddr, needed: Role) -> Result<String, AccessError> {
        let Some(file) = &self.file else {
            return match needed {
                Role::Viewer if from.is_loopback() => Ok("loopback".to_owned()),
                Role::Viewer => Err(AccessError::Unknown),
                Role::Operator | Role::Approver => Err(AccessError::NotConfigured),
            };
        };
        let text = std::fs::read_to_string(file).map_err(|_| AccessError::File)?;
        check_tokens(&text, authorization, needed)
    }
}

fn check_tokens(file: &str, authorization: Option<&str>, needed: Role) -> Result<String, AccessError> {
    let token = authorization
        .and_then(|header| header.strip_prefix("Bearer "))
        .ok_or(AccessError::Unknown)?;
    let hash = sha256_hex(token.trim());
    let found = file
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .find_map(|line| {
            let mut words = line.split_whitespace();
            let (role, known) = (Role::parse(words.next()?)?, words.next()?);
            known
                .eq_ignore_ascii_case(&hash)
                .then(|| (role, words.next().unwrap_or("unnamed").to_owned()))
        });
    match found {
        Some((role, name)) if role >= needed => Ok(name),
        Some((role, _)) => Err(AccessError::Role {
            needed: needed.as_str(),
            has: role.as_str(),
        }),
        None => Err(AccessError::Unknown),
    }
}

/// The hash of a token as the file has it.
#[must_use]
pub fn sha256_hex(token: &str) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(token.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A token that nobody guesses, from 32 random bytes.
#[must_use]
pub fn token_of(random: [u8; 32]) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_what_its_role_may_do() {
        let file = format!("# ours\noperator {} ada\n", sha256_hex("t1"));
        assert_eq!(
            check_tokens(&file, Some("Bearer t1"), Role::Viewer),
            Ok("ada".to_owned())
        );
        assert_eq!(
            check_tokens(&file, Some("Bearer t1"), Role::Operator),
            Ok("ada".to_owned())
        );
        assert!(matches!(
            check_tokens(&file, Some("Bearer t1"), Role::Approver),
            Err(AccessError::Role { .. })
        ));
        assert_eq!(
            check_tokens(&file, Some("Bearer t2"), Role::Viewer),
            Err(AccessError::Unknown)
        );
        assert_eq!(check_tokens(&file, None, Role::Viewer), Err(AccessError::Unknown));
    }

    #[test]
    fn a_certificate_counts_like_a_token_and_strangers_have_none() {
        let here: IpAddr = [127, 0, 0, 1].into();
        let access = Access {
            file: None,
            certificates: [
                ("ops".to_owned(), Role::Operator),
                ("ops.acme".to_owned(), Role::Viewer),
            ]
            .into(),
        };
        let names = |names: &[&str]| ClientNames(names.iter().map(ToString::to_string).collect());
        let ops = names(&["x", "ops.acme", "ops"]);
        assert_eq!(
            access.check_client(Some(&ops), None, here, Role::Operator),
            Ok("ops".to_owned())
        );
        assert!(matches!(
            access.check_client(Some(&ops), None, here, Role::Approver),
            Err(AccessError::Role { has: "operator", .. })
        ));
        for stranger in [None, Some(&names(&["y"]))] {
            assert_eq!(
                access.check_client(stranger, None, here, Role::Viewer),
                Err(AccessError::Unknown),
                "loopback is no pass when somebody is configured"
            );
        }
    }

    #[test]
    fn without_a_file_only_loopback_may_look() {
        let access = Access::default();
        let (here, there): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), [10, 0, 0, 1].into());
        assert!(access.check(None, here, Role::Viewer).is_ok());
        assert_eq!(access.check(None, there, Role::Viewer), Err(AccessError::Unknown));
        assert_eq!(
            access.check(None, here, Role::Operator),
            Err(AccessError::NotConfigured)
        );
    }
}
