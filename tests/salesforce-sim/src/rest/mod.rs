//! The HTTP side: routes, and what holds for every call (session, quota, length limits, ordered faults).
//!
//! Leaves out what the single resources do: one file each.

pub(crate) mod bulk;
mod collections;
mod describe;
mod identity;
mod limits;
mod oauth;
mod query;
mod reports;
mod sobjects;

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Router,
    body::Bytes,
    extract::{Extension, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use serde_json::{Map, Value, json};

use crate::{
    error::SalesforceError,
    org::{Org, commit::Author},
};

/// URI and headers together (vendor documentation).
const HEAD_MAX: usize = 16 * 1024;
/// Largest request body.
const BODY_MAX: usize = 50 * 1024 * 1024;
/// Oldest API version served.
const VERSION_MIN: u32 = 50;
const VERSION_MAX: u32 = 68;

/// Who calls, and through which version.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    user: Arc<str>,
    /// `client=` of the header `Sforce-Call-Options`.
    client: String,
    /// `v66.0`
    version: String,
}

impl Caller {
    /// The author of a write, with the vendor's `changeOrigin`.
    pub(crate) fn author(&self) -> Author {
        let number = self.version.trim_start_matches('v');
        Author {
            user: Arc::clone(&self.user),
            origin: format!("com/salesforce/api/rest/{number};client={}", self.client),
        }
    }
}

pub(crate) type Answer = Result<Response, SalesforceError>;

/// Clients differ in whether they end a path with a slash.
fn both<S: Clone + Send + Sync + 'static>(router: Router<S>, path: &str, methods: MethodRouter<S>) -> Router<S> {
    router.route(path, methods.clone()).route(&format!("{path}/"), methods)
}

pub(crate) fn router(org: Arc<Org>) -> Router {
    let mut api = Router::new();
    for (path, methods) in [
        ("/query", get(query::query)),
        ("/query/{locator}", get(query::more)),
        ("/queryAll", get(query::query_all)),
        ("/queryAll/{locator}", get(query::more)),
        ("/sobjects", get(describe::list)),
        ("/sobjects/{object}", get(describe::basic).post(sobjects::create)),
        ("/sobjects/{object}/describe", get(describe::describe)),
        ("/sobjects/{object}/updated", get(sobjects::updated)),
        (
            "/sobjects/{object}/{id}",
            get(sobjects::read).patch(sobjects::update).delete(sobjects::remove),
        ),
        (
            "/composite/sobjects",
            post(collections::create).patch(collections::update),
        ),
        (
            "/composite/sobjects/{object}",
            post(collections::retrieve).get(collections::retrieve_by_get),
        ),
        ("/analytics/reports", get(reports::list)),
        (
            "/analytics/reports/{id}",
            get(reports::run_saved).post(reports::run_changed),
        ),
        ("/analytics/reports/{id}/describe", get(reports::describe)),
        ("/limits", get(limits::limits)),
        ("/jobs/query", post(bulk::create)),
        (
            "/jobs/query/{id}",
            get(bulk::status).patch(bulk::abort).delete(bulk::remove),
        ),
        ("/jobs/query/{id}/results", get(bulk::results)),
    ] {
        api = both(api, &format!("/services/data/{{version}}{path}"), methods);
    }
    api = both(api, "/services/data/{version}", get(resources));
    let api = api
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(Arc::clone(&org), signed_in));
    let open = Router::new()
        .route("/services/data", get(versions))
        .route("/services/data/", get(versions))
        .route("/services/oauth2/token", post(oauth::token))
        .route("/services/oauth2/revoke", post(oauth::revoke).get(oauth::revoke_by_get))
        .route("/services/oauth2/introspect", post(oauth::introspect))
        .route(
            "/services/oauth2/userinfo",
            get(identity::userinfo).post(identity::userinfo),
        )
        .route("/id/{org}/{user}", get(identity::identity));
    open.merge(api)
        .layer(middleware::from_fn_with_state(Arc::clone(&org), every_call))
        .layer(axum::extract::DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&org), dated))
        .with_state(org)
}

/// Every answer says when it was given, by the org's clock: readers compare it with commit times.
async fn dated(State(org): State<Arc<Org>>, request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    if let Ok(date) = crate::clock::http_date(org.now_ms()).parse() {
        answer.headers_mut().insert(axum::http::header::DATE, date);
    }
    answer
}

/// What holds for every call, signed in or not.
async fn every_call(State(org): State<Arc<Org>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    org.requests.record(request.method().as_str(), &path);
    let latency = org.faults.values().latency;
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let uri = request.uri().path_and_query().map_or(0, |whole| whole.as_str().len());
    if uri > HEAD_MAX {
        return (StatusCode::URI_TOO_LONG, Html("<h1>414 URI Too Long</h1>")).into_response();
    }
    let headers: usize = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if uri + headers > HEAD_MAX {
        return (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Html("<h1>431 Request Header Fields Too Large</h1>"),
        )
            .into_response();
    }
    match org.faults.take_rest(&path) {
        Some(fault) if fault.html => {
            let status = StatusCode::from_u16(fault.error.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            (
                status,
                Html("<html><body><h1>We are down for maintenance.</h1></body></html>"),
            )
                .into_response()
        }
        Some(fault) => fault.error.into_response(),
        None => next.run(request).await,
    }
}

/// Session, version and quota of the API proper.
async fn signed_in(State(org): State<Arc<Org>>, mut request: Request, next: Next) -> Response {
    let caller = match admit(&org, request.uri().path(), request.headers()) {
        Ok(caller) => caller,
        Err(error) => return error.into_response(),
    };
    request.extensions_mut().insert(caller);
    let used = org.api_calls.fetch_add(1, Ordering::Relaxed) + 1;
    let limit = org.config.daily_api_requests;
    let mut response = if used > limit {
        SalesforceError::new(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.").into_response()
    } else {
        next.run(request).await
    };
    if let Ok(usage) = HeaderValue::from_str(&format!("api-usage={used}/{limit}")) {
        response.headers_mut().insert("Sforce-Limit-Info", usage);
    }
    response
}

fn admit(org: &Org, path: &str, headers: &HeaderMap) -> Result<Caller, SalesforceError> {
    let version = path.split('/').nth(3).filter(|_| path.starts_with("/services/data/"));
    let number = version.and_then(|text| text.strip_prefix('v')?.strip_suffix(".0")?.parse::<u32>().ok());
    let known = number.is_some_and(|number| (VERSION_MIN..=VERSION_MAX).contains(&number));
    let invalid = || SalesforceError::new(401, "INVALID_SESSION_ID", "Session expired or invalid");
    let token = bearer(headers).ok_or_else(invalid)?;
    let session = org.sessions().touch(token, org.now_ms()).ok_or_else(invalid)?;
    let version = version
        .filter(|_| known)
        .ok_or_else(SalesforceError::not_found)?
        .to_owned();
    if !org.permissions().api_enabled {
        return Err(SalesforceError::new(
            403,
            "API_DISABLED_FOR_ORG",
            "API is not enabled for this Organization or Partner",
        ));
    }
    let options = headers
        .get("Sforce-Call-Options")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let client = options
        .split([',', ';'])
        .filter_map(|option| option.trim().strip_prefix("client="))
        .next()
        .unwrap_or_default()
        .to_owned();
    Ok(Caller {
        user: session.user,
        client,
        version,
    })
}

/// The token of `Authorization: Bearer x` or `OAuth x`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("Bearer") || scheme.eq_ignore_ascii_case("OAuth")).then_some(token.trim())
}

async fn not_found() -> SalesforceError {
    SalesforceError::not_found()
}

async fn method_not_allowed() -> SalesforceError {
    SalesforceError::new(405, "METHOD_NOT_ALLOWED", "HTTP Method not allowed")
}

async fn versions() -> axum::Json<Value> {
    let list = (VERSION_MIN..=VERSION_MAX)
        .map(|number| json!({"label": format!("Release {number}"), "url": format!("/services/data/v{number}.0"), "version": format!("{number}.0")}))
        .collect();
    axum::Json(Value::Array(list))
}

async fn resources(Extension(caller): Extension<Caller>) -> axum::Json<Value> {
    let base = format!("/services/data/{}", caller.version);
    let names = [
        "query",
        "queryAll",
        "sobjects",
        "composite",
        "analytics",
        "limits",
        "jobs",
    ];
    let map: Map<String, Value> = names
        .iter()
        .map(|name| ((*name).to_owned(), json!(format!("{base}/{name}"))))
        .collect();
    axum::Json(Value::Object(map))
}

/// A JSON object body.
pub(crate) fn body_object(headers: &HeaderMap, body: &Bytes) -> Result<Map<String, Value>, SalesforceError> {
    let json_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().contains("json"));
    if !json_type {
        return Err(SalesforceError::new(
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "Content-Type header specified in HTTP request is not supported",
        ));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(SalesforceError::bad_request(
            "JSON_PARSER_ERROR",
            "Unexpected type: expected an object",
        )),
        Err(error) => Err(SalesforceError::bad_request("JSON_PARSER_ERROR", error.to_string())),
    }
}
