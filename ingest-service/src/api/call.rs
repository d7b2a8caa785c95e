//! A request as the handlers see it: allowed, read within bounds, its query understood.

use std::{borrow::Cow, collections::BTreeMap, net::SocketAddr};

use axum::{
    body::Bytes,
    extract::{ConnectInfo, Request},
    http::{HeaderMap, Method, StatusCode, header::AUTHORIZATION},
};
use serde::de::DeserializeOwned;
use usher_runtime::access::{AccessError, Role};

use super::{Api, BODY_BYTES_MAX, Problem};

/// An allowed request.
#[derive(Debug)]
pub(super) struct Call {
    /// The name of the token.
    pub(super) actor: String,
    pub(super) method: Method,
    /// As it was sent, for forwarding.
    pub(super) path_and_query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    query: BTreeMap<String, String>,
}

impl Call {
    /// Checks the role, then reads. `known`: the query parameters of this route.
    pub(super) async fn read(api: &Api, request: Request, role: Role, known: &[&str]) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let from = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let from = from.map(|ConnectInfo(from)| from.ip()).ok_or_else(|| {
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the server does not know where a request comes from",
            )
        })?;
        let authorization = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let actor = api.access.check(authorization, from, role).map_err(|error| {
            let status = match error {
                AccessError::Unknown => StatusCode::UNAUTHORIZED,
                AccessError::Role { .. } | AccessError::NotConfigured => StatusCode::FORBIDDEN,
                AccessError::File => StatusCode::INTERNAL_SERVER_ERROR,
            };
            Problem::new(status, error.to_string())
        })?;
        let query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .map(|(name, value): (Cow<'_, str>, Cow<'_, str>)| (name.into_owned(), value.into_owned()))
            .collect::<BTreeMap<_, _>>();
        if let Some(unknown) = query.keys().find(|name| !known.contains(&name.as_str())) {
            let hint = usher_runtime::yaml::nearest(unknown, known.iter().copied())
                .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
            return Err(Problem::bad(format!("a query parameter is not known here{hint}")));
        }
        let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
            Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is broken or longer than {BODY_BYTES_MAX} bytes"),
            )
        })?;
        let path_and_query = parts.uri.path_and_query();
        Ok(Self {
            actor,
            path_and_query: path_and_query.map_or_else(|| parts.uri.path().to_owned(), ToString::to_string),
            method: parts.method,
            headers: parts.headers,
            body,
            query,
        })
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// A query parameter that must have some form.
    pub(super) fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Problem>
    where
        T::Err: std::fmt::Display,
    {
        self.parameter(name)
            .map(|text| text.parse().map_err(|error| Problem::bad(format!("?{name}=: {error}"))))
            .transpose()
    }

    /// The body as JSON of a known form; `form` is said when it is another.
    pub(super) fn json<T: DeserializeOwned>(&self, form: &str) -> Result<T, Problem> {
        serde_json::from_slice(&self.body).map_err(|error| Problem::bad(format!("the body is {form}: {error}")))
    }
}
