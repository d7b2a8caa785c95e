//! The first consent: authorization code with PKCE (RFC 6749 section 4.1, RFC 7636), for `apply-service connect`.
//!
//! Building and judging are pure: the random bytes are an argument. Only `exchange` asks somebody.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use url::{Url, form_urlencoded};
use usher_runtime::{clock, secret::Secret};

use super::{
    auth::AuthConfig,
    client::Clients,
    config::HttpConfig,
    endpoint::HttpEndpoint,
    oauth::lasting,
    token::{Endpoint, TokenRequest, identify, read_secret},
    token_file::{Held, TokenFile},
};
use crate::connector::Refusal;

/// Random bytes that a consent takes: for the state, and for the verifier (RFC 7636 section 4.1 asks for 32).
pub(crate) const RANDOM_BYTES: usize = 16 + 32;

/// One consent under way.
pub(crate) struct Consent {
    /// Where somebody consents.
    pub(crate) url: Url,
    redirect: String,
    state: String,
    verifier: Secret,
}

/// What came back with the browser.
pub(crate) enum Returned {
    /// The code to exchange.
    Code(Secret),
    /// Not of this consent, or no consent at all: go on waiting.
    Other(&'static str),
    /// Refused, with the error code.
    Refused(String),
}

impl Consent {
    /// Begins one.
    pub(crate) fn begin(
        mut authorize: Url,
        client_id: &str,
        redirect: &str,
        scopes: &[String],
        random: &[u8; RANDOM_BYTES],
    ) -> Self {
        let (state, verifier) = random.split_at(16);
        let (state, verifier) = (URL_SAFE_NO_PAD.encode(state), URL_SAFE_NO_PAD.encode(verifier));
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        authorize
            .query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", client_id)
            .append_pair("redirect_uri", redirect)
            .append_pair("state", &state)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        if !scopes.is_empty() {
            authorize.query_pairs_mut().append_pair("scope", &scopes.join(" "));
        }
        Self {
            url: authorize,
            redirect: redirect.to_owned(),
            state,
            verifier: Secret::new(verifier),
        }
    }

    /// Judges the address that the browser was sent to: a URL, a path with query, or what stands behind the `?`.
    pub(crate) fn returned(&self, address: &str) -> Returned {
        let query = address
            .trim()
            .rsplit_once('?')
            .map_or(address.trim(), |(_, query)| query);
        let query = query.split('#').next().unwrap_or_default();
        let find = |name: &str| {
            form_urlencoded::parse(query.as_bytes())
                .find(|(key, value)| key == name && !value.is_empty())
                .map(|(_, value)| value.into_owned())
        };
        // Without our state it may be anybody's code (RFC 6749 section 10.12).
        if find("state").as_deref() != Some(self.state.as_str()) {
            return Returned::Other("it does not belong to this consent: the state differs");
        }
        match (find("code"), find("error")) {
            (Some(code), None) => Returned::Code(Secret::new(code)),
            (_, Some(error)) => {
                let plain = error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
                let shown = plain && error.len() <= 60;
                Returned::Refused(if shown { error } else { "an error".to_owned() })
            }
            (None, None) => Returned::Other("it holds neither a code nor an error"),
        }
    }
}

/// Exchanges the code for a refresh token and saves that.
///
/// # Errors
/// Why there is none.
pub(crate) async fn exchange(config: &HttpConfig, consent: &Consent, code: &Secret) -> Result<(), Refusal> {
    let refused = |why: String| lasting(why).refusal;
    let AuthConfig::RefreshToken {
        client_id, token_file, ..
    } = &config.auth
    else {
        return Err(refused("the target does not authorize by auth.refreshToken".to_owned()));
    };
    let token_url = config.oauth.token_url.as_deref().unwrap_or_default();
    let url = config.provider_url("oauth.tokenUrl", token_url).map_err(refused)?;
    let secret = match config.auth.secret().map_err(refused)? {
        Some(place) => Some(read_secret(&place).await?),
        None => None,
    };
    let mut form: Vec<(String, String)> = [
        ("grant_type", "authorization_code"),
        ("code", code.expose()),
        ("redirect_uri", &consent.redirect),
        ("code_verifier", consent.verifier.expose()),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec();
    let basic = identify(client_id, secret, config.oauth.client_auth, &mut form);
    let now = tokio::time::Instant::now().into_std();
    let clients = Clients::new(config, super::system(), now).map_err(|error| refused(error.to_string()))?;
    let endpoint = HttpEndpoint::new(Arc::new(clients), Duration::from_millis(config.request_timeout_ms));
    let grant = endpoint
        .ask(TokenRequest { url, form, basic })
        .await
        .map_err(|failure| failure.refusal)?;
    let Some(refresh) = grant.refresh else {
        return Err(refused(
            "the token endpoint gave no refresh token: ask for it by connection.oauth.consentScopes (Salesforce: refresh_token; others: \
             offline_access)"
                .to_owned(),
        ));
    };
    let expires = grant
        .refresh_lifetime
        .and_then(|life| clock::now().checked_add(life).ok());
    let file = TokenFile::new(token_file.clone());
    // A service that renews by this file at the moment must not write over the new token.
    let turn = file.turn(Duration::from_secs(30)).await;
    let saved = turn.and_then(|_turn| file.save(&Held { refresh, expires }, clock::now()));
    saved.map_err(|error| {
        refused(format!(
            "the refresh token cannot be saved to {}: {error}",
            token_file.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consent() -> Consent {
        let url = "https://login.example/authorize?prompt=login".parse().unwrap();
        let scopes = ["api".to_owned(), "refresh_token".to_owned()];
        Consent::begin(
            url,
            "client",
            "http://localhost:8765/callback",
            &scopes,
            &[7; RANDOM_BYTES],
        )
    }

    #[test]
    fn the_address_carries_the_challenge_and_not_the_verifier() {
        let consent = consent();
        let of = |name: &str| {
            let mut pairs = consent.url.query_pairs();
            pairs
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned())
                .unwrap()
        };
        assert_eq!(
            (of("response_type"), of("scope")),
            ("code".to_owned(), "api refresh_token".to_owned())
        );
        assert_eq!(of("prompt"), "login");
        let digest = Sha256::digest(consent.verifier.expose().as_bytes());
        assert_eq!(of("code_challenge"), URL_SAFE_NO_PAD.encode(digest));
        assert_eq!(of("code_challenge_method"), "S256");
        assert!(!consent.url.as_str().contains(consent.verifier.expose()));
        assert!(
            (43..=128).contains(&consent.verifier.expose().len()),
            "RFC 7636 section 4.1"
        );
    }

    #[test]
    fn only_an_answer_to_this_consent_counts() {
        let consent = consent();
        let state = consent.state.clone();
        for address in [
            format!("http://localhost:8765/callback?code=a%2Bb&state={state}"),
            format!("/callback?state={state}&code=a%2Bb#_"),
            format!("code=a%2Bb&state={state}\n"),
        ] {
            let Returned::Code(code) = consent.returned(&address) else {
                panic!("{address}")
            };
            assert_eq!(code.expose(), "a+b");
        }
        for address in [
            "/callback?code=x",
            "/callback?code=x&state=other",
            "/favicon.ico",
            "",
            "x",
        ] {
            assert!(matches!(consent.returned(address), Returned::Other(_)), "{address}");
        }
        let refused = |error: &str| match consent.returned(&format!("?error={error}&state={state}")) {
            Returned::Refused(error) => error,
            _ => panic!("not refused"),
        };
        assert_eq!(refused("access_denied"), "access_denied");
        assert_eq!(refused("Ada%20Byron"), "an error");
        assert!(matches!(
            consent.returned(&format!("?state={state}")),
            Returned::Other(_)
        ));
    }
}
