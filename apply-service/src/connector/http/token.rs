//! Access tokens of one target: obtained, kept and renewed in one place, by one caller at a time.
//!
//! The shell of `oauth`: reads secrets, asks the endpoint, saves refresh tokens. A renewal runs in a task of its own and is
//! not dropped with the caller that began it: a refresh token that was used up and whose successor nobody read is lost.
//!
//! **Invariant**: a refresh token that was handed out is in its file before the access token that came with it is used.

use std::{
    collections::BTreeSet,
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tracing::{info, warn};
use url::Url;
use usher_contract::{OrgId, StateHash};
use usher_runtime::{
    clock,
    oauth::{Claims, JWT_BEARER, assertion},
    secret::{Secret, SecretRef},
};

use super::{
    auth::{AuthConfig, ClientAuth, OAuthConfig},
    oauth::{Grant, Next, TOKEN_REFUSED, TOKEN_UNAVAILABLE, TOKEN_UNSAVED, TokenFailure, Tokens, Wish, lasting},
    organization::refuse_own,
    token_file::{Held, TokenFile},
};
use crate::connector::Refusal;

/// A request to a token endpoint.
pub(crate) struct TokenRequest {
    pub(crate) url: Url,
    pub(crate) form: Vec<(String, String)>,
    /// Sent as HTTP Basic.
    pub(crate) basic: Option<(String, Secret)>,
}

/// The end of a request to a token endpoint.
pub(crate) type Asked = Pin<Box<dyn Future<Output = Result<Grant, TokenFailure>> + Send>>;

/// What gives out tokens.
pub(crate) trait Endpoint: Send + Sync {
    fn ask(&self, request: TokenRequest) -> Asked;
}

/// The clock that never jumps; a test has its own.
pub(crate) type Monotonic = Arc<dyn Fn() -> Instant + Send + Sync>;

/// The tokens of one target. Cheap to clone.
#[derive(Clone)]
pub(crate) struct TokenSource {
    inner: Arc<Inner>,
}

struct Inner {
    auth: AuthConfig,
    oauth: OAuthConfig,
    token_url: Url,
    file: Option<(TokenFile, bool)>,
    endpoint: Arc<dyn Endpoint>,
    clock: Monotonic,
    /// How long another process may take with its renewal.
    patience: Duration,
    /// Organizations of which no token is used.
    refused: BTreeSet<OrgId>,
    state: Arc<tokio::sync::Mutex<State>>,
    shown: Mutex<Shown>,
}

#[derive(Default)]
struct State {
    tokens: Tokens,
    /// Granted, and its refresh token is not saved yet.
    unsaved: Option<(Grant, Held, Instant)>,
}

/// What the status shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// When the access token ends, when that is known.
    pub(crate) token_ends: Option<Timestamp>,
    pub(crate) renewed_at: Option<Timestamp>,
    pub(crate) refresh_ends: Option<Timestamp>,
    pub(crate) problem: Option<Refusal>,
    pub(crate) renewals: u64,
    pub(crate) failures: u64,
}

/// The secrets of one renewal.
struct Inputs {
    secret: Option<Secret>,
    held: Option<Held>,
}

impl Inputs {
    fn hash(&self) -> StateHash {
        let secret = self.secret.as_ref().map_or("", Secret::expose);
        let refresh = self.held.as_ref().map_or("", |held| held.refresh.expose());
        StateHash::of_text(&format!("{secret}\0{refresh}"))
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource")
            .field("auth", &self.inner.auth)
            .finish_non_exhaustive()
    }
}

impl TokenSource {
    pub(crate) fn new(
        auth: AuthConfig,
        oauth: OAuthConfig,
        token_url: Url,
        endpoint: Arc<dyn Endpoint>,
        clock: Monotonic,
        patience: Duration,
    ) -> Self {
        let file = match &auth {
            AuthConfig::RefreshToken {
                token_file, rotates, ..
            } => Some((TokenFile::new(token_file.clone()), *rotates)),
            _ => None,
        };
        Self {
            inner: Arc::new(Inner {
                auth,
                oauth,
                token_url,
                file,
                endpoint,
                clock,
                patience,
                refused: BTreeSet::new(),
                state: Arc::default(),
                shown: Mutex::default(),
            }),
        }
    }

    /// Uses no token of these organizations. Before the first use: a clone goes on as it was.
    pub(crate) fn refusing(mut self, organizations: BTreeSet<OrgId>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.refused = organizations;
        }
        self
    }

    /// A token, renewed when that is due. Callers that come together share one renewal.
    ///
    /// # Errors
    /// Why there is none; with the code `token-refused` nobody's request can pass.
    pub(crate) async fn token(&self, wish: Wish<'_>) -> Result<Secret, Refusal> {
        let inner = &self.inner;
        let mut state = Arc::clone(&inner.state).lock_owned().await;
        let at = (inner.clock)();
        match state.tokens.next(wish, at) {
            Next::Use(token) => return Ok(token),
            // Somebody may have mended it.
            Next::Refused(refusal) => match inner.inputs().await {
                Ok(inputs) if state.tokens.forgive(inputs.hash()) => {}
                _ => return Err(refusal),
            },
            Next::Renew => {}
        }
        if matches!(wish, Wish::Another(_)) {
            state.tokens.force(at);
        }
        let renewing = Arc::clone(inner);
        let refused = match wish {
            Wish::Any => None,
            Wish::Another(refused) => Some(refused.clone()),
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "goes on when the caller is dropped; it ends by its own time limits"
        )]
        let renewal = tokio::spawn(async move {
            renewing.renew(&mut state).await;
            let wish = refused.as_ref().map_or(Wish::Any, Wish::Another);
            state.tokens.next(wish, (renewing.clock)())
        });
        let next = renewal.await.map_err(|_| Refusal {
            code: TOKEN_UNAVAILABLE.to_owned(),
            reason: "no access token: the renewal was broken off".to_owned(),
        })?;
        match (next, wish) {
            (Next::Use(token), _) => Ok(token),
            (Next::Refused(refusal), _) => Err(refusal),
            // Salesforce may hand out the same session again; it would be refused again.
            (Next::Renew, Wish::Another(_)) => Err(Refusal {
                code: TOKEN_REFUSED.to_owned(),
                reason: "the target refuses the access token, and the token endpoint gave no other one".to_owned(),
            }),
            (Next::Renew, Wish::Any) => Err(Refusal {
                code: TOKEN_UNAVAILABLE.to_owned(),
                reason: "no access token: the one that was given ended at once".to_owned(),
            }),
        }
    }

    /// For the status.
    pub(crate) fn shown(&self) -> Shown {
        self.inner.shown().clone()
    }
}

impl Inner {
    async fn renew(&self, state: &mut State) {
        let outcome = self.try_renew(state).await;
        let mut shown = self.shown();
        match outcome {
            Ok((grant, held, at)) => {
                state.tokens.granted(&grant, self.oauth.lifetime, at, rand::random());
                let ends = state
                    .tokens
                    .until()
                    .map(|until| until.saturating_duration_since((self.clock)()));
                shown.token_ends = ends.and_then(|life| clock::now().checked_add(life).ok());
                shown.renewed_at = Some(clock::now());
                shown.refresh_ends = held.and_then(|held| held.expires);
                shown.problem = None;
                shown.renewals += 1;
                info!(auth.kind = self.auth.kind(), "renewed the access token of a target");
            }
            Err((failure, inputs)) => {
                warn!(
                    auth.kind = self.auth.kind(),
                    reason = failure.refusal.reason,
                    "the access token of a target was not renewed"
                );
                shown.problem = Some(failure.refusal.clone());
                shown.failures += 1;
                state.tokens.failed(failure, inputs, (self.clock)(), rand::random());
            }
        }
    }

    async fn try_renew(
        &self,
        state: &mut State,
    ) -> Result<(Grant, Option<Held>, Instant), (TokenFailure, Option<StateHash>)> {
        if let Some((grant, held, at)) = state.unsaved.take() {
            return self.save(state, grant, held, at).await;
        }
        let turn = match &self.file {
            Some((file, true)) => file.turn(self.patience).await,
            _ => Ok(TokenFile::no_turn()),
        };
        let _turn = turn.map_err(|error| (self.file_trouble(&error), None))?;
        // Another process may have renewed and rotated in the meantime: what counts is in the file.
        let inputs = self.inputs().await.map_err(|failure| (failure, None))?;
        let used = inputs.hash();
        let request = self.request(&inputs).map_err(|failure| (failure, Some(used)))?;
        let grant = self
            .endpoint
            .ask(request)
            .await
            .map_err(|failure| (failure, Some(used)))?;
        let at = (self.clock)();
        // A refresh token that came along is lost with it: it is of no use either.
        let own = refuse_own(grant.organization, &self.refused);
        own.map_err(|refusal| {
            (
                TokenFailure {
                    refusal,
                    ..lasting(String::new())
                },
                Some(used),
            )
        })?;
        let Some((file, rotates)) = &self.file else {
            return Ok((grant, None, at));
        };
        let before = inputs.held;
        let Some(refresh) = grant.refresh.clone() else {
            return Ok((grant, before, at));
        };
        let same = before.as_ref().is_some_and(|before| before.refresh == refresh);
        let expires = grant
            .refresh_lifetime
            .and_then(|life| clock::now().checked_add(life).ok());
        if same && (expires.is_none() || !rotates) {
            return Ok((grant, before, at));
        }
        if !rotates {
            let reason = format!(
                "the token endpoint hands out new refresh tokens although auth.refreshToken.rotates is false: what is in {} may \
                 not work any longer; set rotates: true, make the file writable and consent anew with `apply-service connect`",
                file.path().display()
            );
            return Err((lasting(reason), Some(used)));
        }
        self.save(state, grant, Held { refresh, expires }, at).await
    }

    /// Saves first. What could not be saved is kept and saved at the next try; it is never asked for again.
    async fn save(
        &self,
        state: &mut State,
        grant: Grant,
        held: Held,
        at: Instant,
    ) -> Result<(Grant, Option<Held>, Instant), (TokenFailure, Option<StateHash>)> {
        let Some((file, _)) = self.file.clone() else {
            return Ok((grant, None, at));
        };
        let (writing, content) = (file.clone(), held.clone());
        let written = tokio::task::spawn_blocking(move || writing.save(&content, clock::now())).await;
        match written.unwrap_or_else(|_| Err(io::Error::other("writing was broken off"))) {
            Ok(()) => Ok((grant, Some(held), at)),
            Err(error) => {
                state.unsaved = Some((grant, held, at));
                let refusal = Refusal {
                    code: TOKEN_UNSAVED.to_owned(),
                    reason: format!(
                        "the new refresh token cannot be saved to {} ({}): it is not used before it is; do not stop the service",
                        file.path().display(),
                        error.kind()
                    ),
                };
                let failure = TokenFailure {
                    lasts: false,
                    refusal,
                    wait: None,
                };
                Err((failure, None))
            }
        }
    }

    /// Reads the secrets as they are now.
    async fn inputs(&self) -> Result<Inputs, TokenFailure> {
        let secret = match self.auth.secret().map_err(lasting)? {
            Some(place) => Some(read_secret(&place).await.map_err(|reason| TokenFailure {
                lasts: true,
                refusal: reason,
                wait: None,
            })?),
            None => None,
        };
        let Some((file, _)) = self.file.clone() else {
            return Ok(Inputs { secret, held: None });
        };
        let path = file.path().to_owned();
        let read = tokio::task::spawn_blocking(move || file.read()).await;
        match read.unwrap_or_else(|_| Err(io::Error::other("reading was broken off"))) {
            Ok(Some(held)) => Ok(Inputs {
                secret,
                held: Some(held),
            }),
            Ok(None) => Err(lasting(format!(
                "there is no refresh token in {} yet; consent with `apply-service connect`",
                path.display()
            ))),
            Err(error) => Err(self.file_trouble(&error)),
        }
    }

    fn file_trouble(&self, error: &io::Error) -> TokenFailure {
        let path = self.file.as_ref().map(|(file, _)| file.path().display().to_string());
        let passes = error.kind() == io::ErrorKind::TimedOut;
        let code = if passes { TOKEN_UNAVAILABLE } else { TOKEN_REFUSED };
        TokenFailure {
            lasts: !passes,
            refusal: Refusal {
                code: code.to_owned(),
                reason: format!(
                    "the refresh token in {} cannot be used: {error}",
                    path.unwrap_or_default()
                ),
            },
            wait: None,
        }
    }

    fn request(&self, inputs: &Inputs) -> Result<TokenRequest, TokenFailure> {
        let mut form: Vec<(String, String)> = Vec::new();
        let mut add = |key: &str, value: &str| form.push((key.to_owned(), value.to_owned()));
        let mut client = None;
        match &self.auth {
            AuthConfig::ClientCredentials { client_id, .. } => {
                add("grant_type", "client_credentials");
                client = Some(client_id);
            }
            AuthConfig::RefreshToken { client_id, .. } => {
                add("grant_type", "refresh_token");
                if let Some(held) = &inputs.held {
                    add("refresh_token", held.refresh.expose());
                }
                client = Some(client_id);
            }
            AuthConfig::JwtBearer { client_id, user, .. } => {
                let url = self.token_url.as_str();
                let claims = Claims {
                    iss: client_id,
                    sub: user,
                    aud: self.oauth.audience.as_deref().unwrap_or(url),
                };
                let key = inputs.secret.clone().unwrap_or_else(|| Secret::new(""));
                let signed = assertion(&key, &claims, clock::now())
                    .map_err(|error| lasting(format!("no access token: the key of auth.jwtBearer {error}")))?;
                add("grant_type", JWT_BEARER);
                add("assertion", signed.expose());
            }
            AuthConfig::None
            | AuthConfig::BearerTokenFile(_)
            | AuthConfig::BearerTokenEnv(_)
            | AuthConfig::Basic { .. }
            | AuthConfig::Header { .. } => {}
        }
        // Client credentials and assertions say what they want; a refresh keeps what was consented to.
        if !self.oauth.scopes.is_empty() && !matches!(self.auth, AuthConfig::RefreshToken { .. }) {
            add("scope", &self.oauth.scopes.join(" "));
        }
        for (key, value) in &self.oauth.parameters {
            add(key, value);
        }
        let secret = inputs.secret.clone();
        let basic = client.and_then(|id| identify(id, secret, self.oauth.client_auth, &mut form));
        Ok(TokenRequest {
            url: self.token_url.clone(),
            form,
            basic,
        })
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says who asks (RFC 6749 section 2.3.1): in the form, or in a header that is returned. Public clients have no secret.
pub(crate) fn identify(
    client_id: &str,
    secret: Option<Secret>,
    how: ClientAuth,
    form: &mut Vec<(String, String)>,
) -> Option<(String, Secret)> {
    match (secret, how) {
        (Some(secret), ClientAuth::Basic) => {
            // The RFC has both parts encoded like a form before they are joined.
            let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            Some((encoded(client_id), Secret::new(encoded(secret.expose()))))
        }
        (secret, _) => {
            form.push(("client_id".to_owned(), client_id.to_owned()));
            if let Some(secret) = secret {
                form.push(("client_secret".to_owned(), secret.expose().to_owned()));
            }
            None
        }
    }
}

/// Reads a secret from its file or variable.
pub(crate) async fn read_secret(place: &SecretRef) -> Result<Secret, Refusal> {
    match place {
        SecretRef::File(file) => super::credential::secret(file).await.map(Secret::new),
        SecretRef::Env(name) => place.read().map_err(|_| Refusal {
            code: "credential-unreadable".to_owned(),
            reason: format!("the environment variable {name} that is to hold a secret is not set, or empty"),
        }),
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
