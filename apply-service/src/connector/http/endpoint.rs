//! Asks a token endpoint over HTTP: one POST of a form, with the limits of the sender.

use std::{sync::Arc, time::Duration};

use reqwest::{
    Method,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue},
};
use url::form_urlencoded;

use super::{
    client::{Broken, Clients, broken},
    oauth::{Grant, TOKEN_UNAVAILABLE, TokenFailure, lasting, read_answer},
    token::{Asked, Endpoint, TokenRequest},
};
use crate::connector::{Refusal, answer::retry_after};

/// The largest answer that is read; tokens are a few kilobytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// The longest wait that an endpoint may ask for.
const WAIT_MAX_SECONDS: u32 = 60;

/// The token endpoint of one target.
pub(crate) struct HttpEndpoint {
    clients: Arc<Clients>,
    timeout: Duration,
}

impl HttpEndpoint {
    pub(crate) fn new(clients: Arc<Clients>, timeout: Duration) -> Self {
        Self { clients, timeout }
    }
}

impl Endpoint for HttpEndpoint {
    fn ask(&self, request: TokenRequest) -> Asked {
        let client = self.clients.get(tokio::time::Instant::now().into_std());
        let timeout = self.timeout;
        Box::pin(async move {
            let place = request.url.origin().ascii_serialization();
            let asked = tokio::time::timeout(timeout, ask(&client, request)).await;
            asked.unwrap_or_else(|_| {
                Err(passing(format!(
                    "{place} did not answer within {} ms",
                    timeout.as_millis()
                )))
            })
        })
    }
}

async fn ask(client: &reqwest::Client, request: TokenRequest) -> Result<Grant, TokenFailure> {
    let place = request.url.origin().ascii_serialization();
    let failed = |error: &reqwest::Error| match broken(error) {
        Broken::Address(refused) => passing(format!("{refused}; list it under `allowAddresses` if it is meant")),
        Broken::Tls(why) => passing(format!("no trusted TLS connection to {place}: {why}; see `caFile`")),
        Broken::Connect(why) => passing(format!("cannot connect to {place}: {why}")),
        Broken::Lost(why) => passing(format!("the connection to {place} broke: {why}")),
    };
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&request.form)
        .finish();
    let mut builder = client
        .request(Method::POST, request.url)
        .header(ACCEPT, HeaderValue::from_static("application/json"))
        .header(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        )
        .body(form);
    if let Some((user, secret)) = &request.basic {
        builder = builder.basic_auth(user, Some(secret.expose()));
    }
    let mut response = builder.send().await.map_err(|error| failed(&error))?;
    let status = response.status().as_u16();
    let waits = response.headers().iter().filter_map(|(name, value)| {
        let kept = matches!(name.as_str(), "retry-after" | "date");
        kept.then(|| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))?
    });
    let wait = retry_after(&waits.collect::<Vec<_>>(), WAIT_MAX_SECONDS);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(lasting(format!(
                "no access token: the answer of {place} ({status}) exceeds {BODY_BYTES_MAX} bytes; check connection.oauth.tokenUrl"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    read_answer(status, wait, &body)
}

fn passing(why: String) -> TokenFailure {
    TokenFailure {
        lasts: false,
        refusal: Refusal {
            code: TOKEN_UNAVAILABLE.to_owned(),
            reason: format!("no access token now: {why}"),
        },
        wait: None,
    }
}
