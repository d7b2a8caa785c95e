//! The assertion of the OAuth 2.0 JWT bearer grant (RFC 7523 section 3), as Salesforce takes it.

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;
use thiserror::Error;

use crate::secret::Secret;

/// The grant type of the form that carries an assertion.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// How long an assertion is valid; Salesforce accepts three to five minutes.
const VALID_SECONDS: i64 = 180;

/// Who says what to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Claims<'a> {
    /// The client's id.
    pub iss: &'a str,
    /// The user on whose behalf.
    pub sub: &'a str,
    /// The token endpoint, or what it takes for itself.
    pub aud: &'a str,
}

/// The key is no RSA private key in PEM form.
#[derive(Debug, Error)]
#[error("is not an RSA private key in PEM form")]
pub struct KeyError;

/// An assertion, signed with RS256.
///
/// # Errors
/// The key is unusable; nothing of it is repeated.
pub fn assertion(key: &Secret, claims: &Claims<'_>, now: Timestamp) -> Result<Secret, KeyError> {
    #[derive(Serialize)]
    struct Signed<'a> {
        #[serde(flatten)]
        claims: &'a Claims<'a>,
        exp: i64,
    }
    let key = EncodingKey::from_rsa_pem(key.expose().as_bytes()).map_err(|_| KeyError)?;
    let exp = now.as_second() + VALID_SECONDS;
    let signed = encode(&Header::new(Algorithm::RS256), &Signed { claims, exp }, &key).map_err(|_| KeyError)?;
    Ok(Secret::new(signed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_none_is_refused_without_being_quoted() {
        let claims = Claims {
            iss: "i",
            sub: "s",
            aud: "a",
        };
        for key in [
            "",
            "s3cret",
            "-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\n",
        ] {
            let error = assertion(&Secret::new(key), &claims, Timestamp::UNIX_EPOCH).unwrap_err();
            assert!(!error.to_string().contains("s3cret"));
        }
    }
}
