//! The token endpoint of the org's own My Domain host: JWT bearer, client credentials, refresh; revoke and introspect.
//!
//! Answers have no `expires_in`; errors are one object `{error, error_description}` (Salesforce Help, "OAuth 2.0 JWT Bearer
//! Flow", "Client Credentials Flow", "OAuth Authorization Errors"). Leaves out flows with a browser and the password flow,
//! which new orgs block.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::org::Org;

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// Farthest `exp` of an assertion, in seconds. The exact window is not published: clients ask for five minutes, and half a
/// minute is for clocks that differ.
const EXP_MAX_S: i64 = 5 * 60 + 30;

/// An OAuth refusal.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    error: &'static str,
    description: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (
            self.status,
            Json(json!({"error": self.error, "error_description": self.description})),
        )
            .into_response()
    }
}

fn refusal(error: &'static str, description: &str) -> Refusal {
    Refusal {
        status: StatusCode::BAD_REQUEST,
        error,
        description: description.to_owned(),
    }
}

fn form(body: &Bytes) -> HashMap<String, String> {
    url::form_urlencoded::parse(body).into_owned().collect()
}

pub(crate) async fn token(State(org): State<Arc<Org>>, headers: HeaderMap, body: Bytes) -> Result<Response, Refusal> {
    let form = form(&body);
    let user = match form.get("grant_type").map(String::as_str) {
        Some(JWT_BEARER) => assertion(&org, form.get("assertion").map(String::as_str).unwrap_or_default())?,
        Some("client_credentials") => {
            check_client(&org, &form, &headers)?;
            if !org.permissions().client_credentials {
                return Err(refusal("invalid_grant", "no client credentials user enabled"));
            }
            Arc::clone(&org.state().integration_id)
        }
        Some("refresh_token") => {
            check_client_id(&org, form.get("client_id"))?;
            let token = form.get("refresh_token").map(String::as_str).unwrap_or_default();
            org.sessions()
                .user_of_refresh(token)
                .ok_or_else(|| refusal("invalid_grant", "expired access/refresh token"))?
        }
        Some("password") => return Err(refusal("invalid_grant", "authentication failure")),
        Some(_) => {
            return Err(refusal("unsupported_grant_type", "grant type not supported"));
        }
        None => return Err(refusal("invalid_request", "grant type is required")),
    };
    check_active(&org, &user)?;
    Ok(answer(&org, user).into_response())
}

fn answer(org: &Org, user: Arc<str>) -> Json<Value> {
    let now = org.now_ms();
    let (id, issued_at) = (identity_url(org, &user), now.to_string());
    let access_token = org.sessions().open(user, now);
    let signature = STANDARD.encode(Sha256::digest(format!("{id}{issued_at}{}", org.client_secret)));
    Json(json!({
        "access_token": access_token, "signature": signature, "scope": "api", "instance_url": org.instance_url(),
        "id": id, "token_type": "Bearer", "issued_at": issued_at,
    }))
}

pub(super) fn identity_url(org: &Org, user: &str) -> String {
    format!("{}/id/{}/{user}", org.instance_url(), org.state().org_id)
}

fn check_client_id(org: &Org, given: Option<&String>) -> Result<(), Refusal> {
    if given.is_some_and(|id| *id == org.client_id) {
        return Ok(());
    }
    Err(refusal("invalid_client_id", "client identifier invalid"))
}

/// By body or by HTTP Basic.
fn check_client(org: &Org, form: &HashMap<String, String>, headers: &HeaderMap) -> Result<(), Refusal> {
    let basic = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Basic "))
        .and_then(|encoded| String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok())
        .and_then(|pair| {
            pair.split_once(':')
                .map(|(id, secret)| (id.to_owned(), secret.to_owned()))
        });
    let (id, secret) = match basic {
        Some((id, secret)) => (Some(id), secret),
        None => (
            form.get("client_id").cloned(),
            form.get("client_secret").cloned().unwrap_or_default(),
        ),
    };
    check_client_id(org, id.as_ref())?;
    if secret == org.client_secret {
        return Ok(());
    }
    Err(refusal("invalid_client", "invalid client credentials"))
}

fn check_active(org: &Org, user: &str) -> Result<(), Refusal> {
    let state = org.state();
    let table = state.users();
    let active = table
        .rows
        .get(user)
        .is_some_and(|row| row.get(table.def.at("IsActive")).is_true());
    let logins = state.table("UserLogin");
    let frozen = state
        .logins
        .get(user)
        .and_then(|id| logins.rows.get(id))
        .is_some_and(|row| row.get(logins.def.at("IsFrozen")).is_true());
    match (active, frozen) {
        (false, _) => Err(refusal("inactive_user", "user is inactive")),
        (true, true) => Err(refusal("invalid_grant", "user is frozen")),
        (true, false) => Ok(()),
    }
}

/// Checks a JWT bearer assertion and gives the user it is for.
fn assertion(org: &Org, text: &str) -> Result<Arc<str>, Refusal> {
    let invalid = || refusal("invalid_grant", "invalid assertion");
    let key = org
        .config
        .jwt_public_key_pem
        .as_ref()
        .and_then(|pem| DecodingKey::from_rsa_pem(pem.as_bytes()).ok())
        .ok_or_else(|| refusal("invalid_client", "no certificate is uploaded to the app"))?;
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let claims: Value = jsonwebtoken::decode(text, &key, &validation)
        .map_err(|_| invalid())?
        .claims;
    let issuer = claims["iss"].as_str().map(ToOwned::to_owned);
    check_client_id(org, issuer.as_ref())?;
    let own = org.instance_url();
    let audience = claims["aud"].as_str().unwrap_or_default().trim_end_matches('/');
    if audience != own && !org.config.jwt_audiences.iter().any(|known| known == audience) {
        return Err(refusal("invalid_grant", "Audience validation failed"));
    }
    let now_s = org.now_ms() / 1000;
    let expiry = claims["exp"].as_i64().ok_or_else(invalid)?;
    if expiry <= now_s || expiry > now_s + EXP_MAX_S {
        return Err(refusal("invalid_grant", "expired authorization code"));
    }
    let subject = claims["sub"].as_str().unwrap_or_default().to_lowercase();
    let unapproved = || refusal("invalid_grant", "user hasn't approved this consumer");
    let user = org.state().usernames.get(&subject).cloned().ok_or_else(unapproved)?;
    if !org.permissions().app_approved {
        return Err(unapproved());
    }
    Ok(user)
}

pub(crate) async fn revoke(State(org): State<Arc<Org>>, body: Bytes) -> Result<StatusCode, Refusal> {
    revoke_token(&org, form(&body).get("token"))
}

pub(crate) async fn revoke_by_get(
    State(org): State<Arc<Org>>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<StatusCode, Refusal> {
    revoke_token(&org, query.get("token"))
}

fn revoke_token(org: &Org, token: Option<&String>) -> Result<StatusCode, Refusal> {
    let known = token.is_some_and(|token| org.sessions().revoke(token));
    if !known {
        return Err(refusal("unsupported_token_type", "this token type is not supported"));
    }
    org.wake_streams();
    Ok(StatusCode::OK)
}

pub(crate) async fn introspect(
    State(org): State<Arc<Org>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let form = form(&body);
    check_client(&org, &form, &headers)?;
    let token = form
        .get("token")
        .ok_or_else(|| refusal("invalid_request", "token is required"))?;
    let Some((session, end)) = org.sessions().peek(token, org.now_ms()) else {
        return Ok(Json(json!({"active": false})));
    };
    let subject = identity_url(&org, &session.user);
    let state = org.state();
    let username = state
        .users()
        .rows
        .get(&session.user)
        .map(|row| row.get(state.users().def.at("Username")).to_json());
    Ok(Json(json!({
        "active": true, "scope": "api", "client_id": org.client_id, "username": username, "sub": subject,
        "token_type": "access_token", "exp": end / 1000, "iat": session.issued_ms / 1000, "nbf": session.issued_ms / 1000,
    })))
}
