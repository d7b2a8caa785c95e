//! The REST API: queries with paging, describe, and plain GET and POST of JSON.
//!
//! Every call has a time limit and a bounded answer; an invalid session is renewed once and the call repeated.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{Method, header::HeaderMap};
use serde_json::Value;
use usher_runtime::{
    address::{Allowed, Lookup, Resolver, system},
    clock,
};

use super::{
    auth::{Token, TokenSource, unreachable},
    error::{ApiError, classify},
    limits::Quota,
};
use crate::config::SalesforceConfig;

/// 2,000 wide rows are about 4 MB; an answer beyond this is not one of ours.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A client of one org. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rest {
    config: Arc<SalesforceConfig>,
    http: reqwest::Client,
    tokens: TokenSource,
    quota: Quota,
    /// A field that was asked for is no longer there, or may no longer be read.
    fields_doubted: Arc<AtomicBool>,
}

/// An answer and when it was given, by the source's clock.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The JSON.
    pub body: Value,
    /// The `Date` header, else our clock.
    pub at: Timestamp,
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct RawAnswer {
    headers: HeaderMap,
    /// The bytes.
    pub body: Vec<u8>,
    /// The `Date` header, else our clock.
    pub at: Timestamp,
}

impl RawAnswer {
    /// A header of the answer.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A page of a query.
#[derive(Debug, Clone)]
pub struct QueryPage {
    /// The records.
    pub records: Vec<Value>,
    /// Where the next page is; `None` after the last.
    pub next: Option<String>,
    /// How many records all pages have together.
    pub total: Option<u64>,
    /// When, by the source's clock.
    pub at: Timestamp,
}

/// The HTTP client that all calls to the org share.
///
/// # Errors
/// When the certificate authority cannot be used.
pub fn http_client(config: &SalesforceConfig) -> Result<reqwest::Client, ApiError> {
    client_with(config, system())
}

fn client_with(config: &SalesforceConfig, lookup: Lookup) -> Result<reqwest::Client, ApiError> {
    let unusable = |why: String| ApiError::Configuration(why);
    let allowed = Allowed::parse(&config.allow_addresses).map_err(|wrong| unusable(format!("salesforce.{wrong}")))?;
    let mut builder = reqwest::Client::builder()
        .timeout(config.timeout)
        .connect_timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        // A proxy of the environment would be a host that the configuration does not name.
        .no_proxy()
        .tls_version_min(reqwest::tls::Version::TLS_1_2)
        .dns_resolver(Resolver { allowed, lookup })
        .user_agent(concat!("usher-ingest/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = &config.ca_file {
        let pem =
            std::fs::read(path).map_err(|error| unusable(format!("salesforce.caFile {}: {error}", path.display())))?;
        let authorities = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|_| unusable(format!("salesforce.caFile {} has no PEM certificate", path.display())))?;
        builder = authorities
            .into_iter()
            .fold(builder, reqwest::ClientBuilder::add_root_certificate);
    }
    builder
        .build()
        .map_err(|error| unusable(format!("cannot make an HTTP client: {error}")))
}

impl Rest {
    /// A client with its token source.
    #[must_use]
    pub fn new(config: Arc<SalesforceConfig>, http: reqwest::Client, tokens: TokenSource, quota: Quota) -> Self {
        Self {
            config,
            http,
            tokens,
            quota,
            fields_doubted: Arc::default(),
        }
    }

    /// The path of a resource of the pinned version.
    #[must_use]
    pub fn path(&self, resource: &str) -> String {
        format!("/services/data/{}/{resource}", self.config.api_version)
    }

    /// GET.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn get(&self, what: &str, path: &str, query: &[(&str, &str)]) -> Result<Answer, ApiError> {
        self.call(what, |token| self.http.get(at(token, path)).query(query))
            .await
    }

    /// POST of JSON.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn post(&self, what: &str, path: &str, body: &Value) -> Result<Answer, ApiError> {
        self.call(what, |token| self.http.post(at(token, path)).json(body))
            .await
    }

    /// GET of CSV, with the headers of the answer.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn get_csv(&self, what: &str, path: &str, query: &[(&str, &str)]) -> Result<RawAnswer, ApiError> {
        self.call_raw(what, |token| {
            self.http.get(at(token, path)).header("Accept", "text/csv").query(query)
        })
        .await
    }

    /// PATCH of JSON.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn patch(&self, what: &str, path: &str, body: &Value) -> Result<(), ApiError> {
        let request = |token: &Token| self.http.request(Method::PATCH, at(token, path)).json(body);
        self.call_raw(what, request).await.map(drop)
    }

    /// DELETE.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn delete(&self, what: &str, path: &str) -> Result<(), ApiError> {
        let request = |token: &Token| self.http.delete(at(token, path));
        self.call_raw(what, request).await.map(drop)
    }

    /// The first page of a query.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn query(&self, what: &str, soql: &str) -> Result<QueryPage, ApiError> {
        let answer = self.get(what, &self.path("query"), &[("q", soql)]).await?;
        query_page(what, answer)
    }

    /// The first page of a query that shows deleted records, too (REST API guide, "QueryAll").
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn query_with_deleted(&self, what: &str, soql: &str) -> Result<QueryPage, ApiError> {
        let answer = self.get(what, &self.path("queryAll"), &[("q", soql)]).await?;
        query_page(what, answer)
    }

    /// A further page; `next` is used as it came.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn query_more(&self, what: &str, next: &str) -> Result<QueryPage, ApiError> {
        query_page(what, self.get(what, next, &[]).await?)
    }

    /// The fields of `User` that the integration user may read: name and type.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn describe_user(&self) -> Result<BTreeMap<String, String>, ApiError> {
        let what = "describing the User object";
        let answer = self.get(what, &self.path("sobjects/User/describe"), &[]).await?;
        let fields = answer.body["fields"].as_array().ok_or_else(|| ApiError::Answer {
            what: what.to_owned(),
            reason: "it lists no fields".to_owned(),
        })?;
        Ok(fields
            .iter()
            .filter_map(|field| {
                Some((
                    field["name"].as_str()?.to_owned(),
                    field["type"].as_str().unwrap_or("string").to_owned(),
                ))
            })
            .collect())
    }

    /// The current token, for the Pub/Sub API.
    #[must_use]
    pub fn tokens(&self) -> &TokenSource {
        &self.tokens
    }

    /// What of the org's allocations may be spent.
    #[must_use]
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Whether an answer since the last question said that a field is not there or may not be read.
    #[must_use]
    pub fn take_field_doubt(&self) -> bool {
        self.fields_doubted.swap(false, Ordering::Relaxed)
    }

    async fn call(&self, what: &str, request: impl Fn(&Token) -> reqwest::RequestBuilder) -> Result<Answer, ApiError> {
        let answer = self.call_raw(what, request).await?;
        // As text: bytes would be checked string by string, and a page of a snapshot has a hundred thousand of them.
        let text = std::str::from_utf8(&answer.body).ok();
        let body = text
            .and_then(|text| serde_json::from_str(text).ok())
            .ok_or_else(|| ApiError::Answer {
                what: what.to_owned(),
                reason: "it is not JSON".to_owned(),
            })?;
        Ok(Answer { body, at: answer.at })
    }

    async fn call_raw(
        &self,
        what: &str,
        request: impl Fn(&Token) -> reqwest::RequestBuilder,
    ) -> Result<RawAnswer, ApiError> {
        let token = self.tokens.token().await?;
        match self.send(what, request(&token), &token).await {
            Err(ApiError::Session) => {
                let token = self.tokens.renew(&token).await?;
                self.send(what, request(&token), &token).await
            }
            other => other,
        }
    }

    async fn send(&self, what: &str, request: reqwest::RequestBuilder, token: &Token) -> Result<RawAnswer, ApiError> {
        let broken = |error: &reqwest::Error| ApiError::Transient {
            what: what.to_owned(),
            reason: unreachable(error),
        };
        let mut answer = request
            .bearer_auth(token.access.expose())
            .send()
            .await
            .map_err(|error| broken(&error))?;
        let status = answer.status().as_u16();
        let at = answer
            .headers()
            .get("date")
            .and_then(|date| http_date(date.to_str().ok()?))
            .unwrap_or_else(clock::now);
        let headers = answer.headers().clone();
        self.quota.note_header(answer.headers());
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| broken(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(ApiError::Answer {
                    what: what.to_owned(),
                    reason: format!("more than {ANSWER_BYTES_MAX} bytes"),
                });
            }
            body.extend_from_slice(&chunk);
        }
        if !(200..300).contains(&status) {
            let error = classify(what, status, &body);
            if matches!(error, ApiError::Quota(_)) {
                self.quota.note_spent();
            }
            if error.is_about_a_field() {
                self.fields_doubted.store(true, Ordering::Relaxed);
            }
            return Err(error);
        }
        Ok(RawAnswer { headers, body, at })
    }
}

/// The address of a path at the org. The slash ends the host: a path that an answer names, such as that of the next page, leads
/// nowhere else.
fn at(token: &Token, path: &str) -> String {
    format!("{}/{}", token.instance_url, path.trim_start_matches('/'))
}

/// `Sun, 22 Nov 2026 06:26:00 GMT`.
fn http_date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

fn query_page(what: &str, answer: Answer) -> Result<QueryPage, ApiError> {
    let wrong = |reason: &str| ApiError::Answer {
        what: what.to_owned(),
        reason: reason.to_owned(),
    };
    let Value::Object(mut body) = answer.body else {
        return Err(wrong("it is not a query answer"));
    };
    let done = body
        .get("done")
        .and_then(Value::as_bool)
        .ok_or_else(|| wrong("it does not say whether it is done"))?;
    let next = body.get("nextRecordsUrl").and_then(Value::as_str).map(str::to_owned);
    if !done && next.is_none() {
        return Err(wrong("it is not done and names no next page"));
    }
    let total = body.get("totalSize").and_then(Value::as_u64);
    let Some(Value::Array(records)) = body.remove("records") else {
        return Err(wrong("it has no records"));
    };
    Ok(QueryPage {
        records,
        next: if done { None } else { next },
        total,
        at: answer.at,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_end_of_a_query_is_what_the_answer_says() {
        let at = Timestamp::UNIX_EPOCH;
        let page = |body| query_page("query", Answer { body, at });
        assert_eq!(page(json!({"done": true, "records": []})).unwrap().next, None);
        assert_eq!(
            page(json!({"done": false, "nextRecordsUrl": "/n", "records": []}))
                .unwrap()
                .next
                .as_deref(),
            Some("/n")
        );
        assert!(page(json!({"done": false, "records": []})).is_err());
        assert!(page(json!({"records": []})).is_err());
    }

    #[test]
    fn the_source_clock_is_read_from_the_date_header() {
        assert_eq!(
            http_date("Sun, 22 Nov 2026 06:26:00 GMT"),
            Some("2026-11-22T06:26:00Z".parse().unwrap())
        );
        assert_eq!(http_date("yesterday"), None);
    }

    fn config(url: &str, allowed: &[&str]) -> SalesforceConfig {
        serde_json::from_value(json!({
            "url": url, "orgId": null, "apiVersion": "v66.0", "caFile": null, "timeout": "10s",
            "allowAddresses": allowed, "instanceHosts": [],
            "auth": { "method": "clientCredentials", "clientId": "c", "username": "", "privateKey": null, "audience": "",
                "clientSecret": null },
        }))
        .unwrap()
    }

    #[test]
    fn no_path_of_an_answer_leads_to_another_host() {
        let token = Token {
            access: usher_runtime::secret::Secret::new("s3cret"),
            instance_url: "https://acme.my.salesforce.com".to_owned(),
            org: "00D000000000001EAA".parse().unwrap(),
            user: None,
        };
        for path in [
            "/services/data",
            "@evil.example/services",
            ".evil.example/",
            "//evil.example/",
            ":80@evil.example/",
        ] {
            let url = url::Url::parse(&at(&token, path)).unwrap();
            assert_eq!(url.host_str(), Some("acme.my.salesforce.com"), "{path}");
            assert!(url.port().is_none() && url.username().is_empty(), "{path}");
        }
        assert_eq!(
            at(&token, "/services/data"),
            "https://acme.my.salesforce.com/services/data"
        );
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_connected_to_unless_listed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let reason = async |allowed: &[&str]| {
            let here = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
            let lookup: Lookup = Arc::new(move |_| Box::pin(async move { Ok(vec![here]) }));
            let client = client_with(&config("", allowed), lookup).unwrap();
            let asked = client.get(format!("http://acme.example:{port}/")).send().await;
            unreachable(&asked.unwrap_err())
        };
        assert_eq!(
            reason(&[]).await,
            "acme.example leads to 127.0.0.1, which is this machine; list it under salesforce.allowAddresses if it is meant"
        );
        assert!(reason(&["127.0.0.1"]).await.starts_with("cannot connect"));
        let wrong = http_client(&config("", &["ten"])).unwrap_err().to_string();
        assert!(wrong.starts_with("salesforce.allowAddresses `ten`"), "{wrong}");
    }

    /// Reads the environment as the process that this test starts has it.
    #[expect(clippy::disallowed_methods, reason = "how a proxy reaches a process")]
    fn environment(name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    const TARGET: &str = "USHER_TEST_BEHIND_A_PROXY";

    /// In a process of its own, because the environment of a process is everybody's.
    #[tokio::test]
    async fn a_proxy_of_the_environment_is_not_used() {
        if let Some(target) = environment(TARGET) {
            let client = http_client(&config("", &[])).unwrap();
            client.get(target).send().await.unwrap();
            return;
        }
        let (target, proxy) = (listener().await, listener().await);
        let url = |listener: &tokio::net::TcpListener| format!("http://{}/", listener.local_addr().unwrap());
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
        child.args([
            "--exact",
            "salesforce::rest::tests::a_proxy_of_the_environment_is_not_used",
        ]);
        child.env(TARGET, url(&target)).kill_on_drop(true);
        for name in [
            "HTTP_PROXY",
            "http_proxy",
            "HTTPS_PROXY",
            "https_proxy",
            "ALL_PROXY",
            "all_proxy",
        ] {
            child.env(name, url(&proxy));
        }
        for name in ["NO_PROXY", "no_proxy", "REQUEST_METHOD"] {
            child.env_remove(name);
        }
        let asked = async {
            tokio::select! {
                accepted = target.accept() => {
                    answer(&mut accepted.unwrap().0).await;
                    true
                }
                accepted = proxy.accept() => {
                    answer(&mut accepted.unwrap().0).await;
                    false
                }
            }
        };
        // Nobody asks when the other process fails before.
        let asked = tokio::time::timeout(Duration::from_secs(60), asked);
        let (output, directly) = tokio::join!(child.output(), asked);
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("1 passed"),
            "the test has another name now"
        );
        assert_eq!(directly, Ok(true), "the proxy was asked");
    }

    async fn listener() -> tokio::net::TcpListener {
        tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap()
    }

    async fn answer(stream: &mut tokio::net::TcpStream) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await;
    }
}
