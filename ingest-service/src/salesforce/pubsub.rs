//! The Pub/Sub API: one subscription with flow control and watchdog, and decoding by schema id.
//!
//! Flow control (source: Pub/Sub API guide, "Pull Subscription and Flow Control"): a request adds to what is
//! outstanding, at most 100; while something is outstanding Salesforce answers at least every 270 s; when nothing is,
//! a request must come within 60 s. Backpressure is asking for nothing more.

use std::{collections::HashMap, sync::Arc, time::Duration};

use apache_avro::Schema;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use thiserror::Error;
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Status, Streaming,
    metadata::MetadataValue,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use usher_runtime::address::{AddressRefused, Allowed, Lookup, Resolver, system};

use super::{
    auth::Token,
    connect::{CONNECT_TIMEOUT, connector},
    error::ApiError,
    eventbus::{
        ConsumerEvent, FetchRequest, FetchResponse, ReplayPreset, SchemaRequest, TopicRequest,
        pub_sub_client::PubSubClient,
    },
};
use crate::{
    config::{PubSubConfig, SalesforceConfig},
    logic::{
        change_event,
        change_event::DecodeError,
        classify::{Classified, Reaction, classify, schema_tries},
        writer::StreamEvent,
    },
};

/// A batch is about 3 MB at most; the library's own limit is 4 MB.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Where to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Only what comes from now on.
    Latest,
    /// Everything that is retained.
    Earliest,
    /// After this event; opaque, base64.
    After(String),
}

/// The stream ended.
#[derive(Debug, Clone, Error)]
#[error("{advice} ({code})")]
pub struct StreamError {
    /// What to do.
    pub reaction: Reaction,
    /// In words.
    pub advice: String,
    /// Salesforce's code or the gRPC status.
    pub code: String,
}

impl StreamError {
    fn of_status(status: &Status) -> Self {
        if let Some(refused) = AddressRefused::within(status) {
            return Self {
                reaction: Reaction::Reconnect,
                advice: format!("{refused}; list it under salesforce.allowAddresses if it is meant"),
                code: "address-refused".to_owned(),
            };
        }
        let trailer = status.metadata().get("error-code").and_then(|code| code.to_str().ok());
        let Classified {
            reaction,
            advice,
            place,
        } = classify(status.code() as i32, trailer);
        let code = trailer.map_or_else(|| format!("{:?}", status.code()), str::to_owned);
        Self {
            reaction,
            advice: place.map_or_else(|| advice.to_owned(), |place| format!("{advice} in {place}")),
            code,
        }
    }
    /// What a code means, without a status.
    fn of_code(code: &str) -> Self {
        let mut status = Status::unknown(code);
        if let Ok(value) = MetadataValue::try_from(code) {
            status.metadata_mut().insert("error-code", value);
        }
        Self::of_status(&status)
    }
    fn interrupted(advice: &str) -> Self {
        Self {
            reaction: Reaction::Reconnect,
            advice: advice.to_owned(),
            code: "client".to_owned(),
        }
    }
}

/// Before a refused schema is asked for again within one try.
const SCHEMA_PAUSE: Duration = Duration::from_millis(500);
/// So long a schema that was given up is not asked for: its events are dead letters at once.
const SCHEMA_REST: Duration = Duration::from_secs(300);

/// A connection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PubSub {
    config: Arc<PubSubConfig>,
    channel: Channel,
    schemas: Arc<tokio::sync::Mutex<Schemas>>,
}

/// What is known about schemas, by their ids.
#[derive(Debug, Default)]
struct Schemas {
    /// Immutable, so kept for ever.
    known: HashMap<String, Arc<Schema>>,
    refused: HashMap<String, Refused>,
}

/// A schema that was asked for in vain, or is none.
#[derive(Debug)]
struct Refused {
    tries: u32,
    reason: String,
    /// Since when it is given up.
    given_up: Option<Instant>,
}

/// One answer of the stream.
#[derive(Debug)]
pub enum Received {
    /// Events in order.
    Events(Vec<StreamEvent>),
    /// Nothing happened up to this position, base64, when one was named.
    Keepalive(Option<String>),
}

impl PubSub {
    /// Prepares a connection; it is opened by the first call.
    ///
    /// # Errors
    /// When the address or certificate authority cannot be used.
    pub fn new(config: Arc<PubSubConfig>, salesforce: &SalesforceConfig) -> Result<Self, ApiError> {
        Self::with_lookup(config, salesforce, system())
    }

    fn with_lookup(config: Arc<PubSubConfig>, salesforce: &SalesforceConfig, lookup: Lookup) -> Result<Self, ApiError> {
        let wrong = |why: String| ApiError::Configuration(why);
        let allowed =
            Allowed::parse(&salesforce.allow_addresses).map_err(|range| wrong(format!("salesforce.{range}")))?;
        let mut endpoint = Endpoint::from_shared(config.endpoint.clone())
            .map_err(|error| wrong(format!("pubsub.endpoint: {error}")))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(Duration::from_secs(60))
            .keep_alive_timeout(Duration::from_secs(20));
        if config.endpoint.starts_with("https://") {
            let mut tls = ClientTlsConfig::new().with_webpki_roots();
            if let Some(path) = &salesforce.ca_file {
                let pem = std::fs::read(path)
                    .map_err(|error| wrong(format!("salesforce.caFile {}: {error}", path.display())))?;
                tls = tls.ca_certificate(Certificate::from_pem(pem));
            }
            endpoint = endpoint
                .tls_config(tls)
                .map_err(|error| wrong(format!("pubsub.endpoint: {error}")))?;
        }
        Ok(Self {
            config,
            channel: endpoint.connect_with_connector_lazy(connector(Resolver { allowed, lookup })),
            schemas: Arc::default(),
        })
    }

    fn client(&self) -> PubSubClient<Channel> {
        PubSubClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Whether a channel exists and may be subscribed.
    ///
    /// # Errors
    /// [`StreamError`] with the way out.
    pub async fn check(&self, token: &Token, channel: &str) -> Result<(), StreamError> {
        let request = TopicRequest {
            topic_name: channel.to_owned(),
        };
        let topic = self.client().get_topic(with_credentials(request, token)?).await;
        let topic = topic.map_err(|status| StreamError::of_status(&status))?.into_inner();
        if topic.can_subscribe {
            Ok(())
        } else {
            let code = "subscription.topic.cannot.subscribe";
            Err(StreamError::of_code(code))
        }
    }

    /// Opens the subscription.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn subscribe(&self, token: &Token, start: &Start) -> Result<Subscription, StreamError> {
        let (requests, requests_in) = mpsc::channel(4);
        let replay_id = match start {
            Start::After(id) => BASE64.decode(id).map_err(|_| StreamError {
                reaction: Reaction::PositionLost,
                advice: "the stored position is not valid".to_owned(),
                code: "client".to_owned(),
            })?,
            Start::Latest | Start::Earliest => Vec::new(),
        };
        let preset = match start {
            Start::Latest => ReplayPreset::Latest,
            Start::Earliest => ReplayPreset::Earliest,
            Start::After(_) => ReplayPreset::Custom,
        };
        let first = FetchRequest {
            topic_name: self.config.channel.clone(),
            replay_preset: preset.into(),
            replay_id,
            num_requested: self.config.window,
            ..FetchRequest::default()
        };
        requests
            .send(first)
            .await
            .map_err(|_| StreamError::interrupted("the stream could not be opened"))?;
        let call = with_credentials(ReceiverStream::new(requests_in), token)?;
        let opened = tokio::time::timeout(Duration::from_secs(30), self.client().subscribe(call)).await;
        let opened = opened.map_err(|_| StreamError::interrupted("the stream was not opened within 30 s"))?;
        let stream = opened.map_err(|status| StreamError::of_status(&status))?.into_inner();
        Ok(Subscription {
            pubsub: self.clone(),
            token: token.clone(),
            requests,
            stream,
            outstanding: self.config.window,
            renew_by: Instant::now() + self.config.renew_within,
        })
    }

    /// The schema of an id. One that is refused again and again is given up for a while: no event may block all others.
    async fn schema(&self, token: &Token, id: &str) -> Result<Arc<Schema>, SchemaError> {
        let mut schemas = self.schemas.lock().await;
        if let Some(schema) = schemas.known.get(id) {
            return Ok(Arc::clone(schema));
        }
        if let Some(refused) = schemas.refused.get(id)
            && refused.given_up.is_some_and(|since| since.elapsed() < SCHEMA_REST)
        {
            return Err(SchemaError::Unusable(refused.reason.clone()));
        }
        loop {
            let error = match self.ask_schema(token, id).await {
                Ok(json) => match Schema::parse_str(&json) {
                    Ok(schema) => {
                        let schema = Arc::new(schema);
                        schemas.refused.remove(id);
                        schemas.known.insert(id.to_owned(), Arc::clone(&schema));
                        return Ok(schema);
                    }
                    // It is immutable: asked for again, it is the same.
                    Err(error) => {
                        let refused = Refused {
                            tries: 1,
                            reason: error.to_string(),
                            given_up: Some(Instant::now()),
                        };
                        schemas.refused.insert(id.to_owned(), refused);
                        return Err(SchemaError::Unusable(error.to_string()));
                    }
                },
                Err(error) => error,
            };
            let refused = schemas.refused.entry(id.to_owned()).or_insert_with(|| Refused {
                tries: 0,
                reason: String::new(),
                given_up: None,
            });
            let Some(tries) = schema_tries(error.reaction) else {
                return Err(SchemaError::Stream(error));
            };
            refused.tries += 1;
            if refused.tries >= tries {
                refused.reason = format!("Salesforce does not give it: {error}");
                refused.given_up = Some(Instant::now());
                return Err(SchemaError::Unusable(refused.reason.clone()));
            }
            // What may pass with another connection is tried with one.
            if error.reaction == Reaction::Reconnect {
                return Err(SchemaError::Stream(error));
            }
            tokio::time::sleep(SCHEMA_PAUSE).await;
        }
    }

    async fn ask_schema(&self, token: &Token, id: &str) -> Result<String, StreamError> {
        let request = SchemaRequest {
            schema_id: id.to_owned(),
        };
        let request = with_credentials(request, token)?;
        let answer = tokio::time::timeout(Duration::from_secs(30), self.client().get_schema(request)).await;
        let answer = answer.map_err(|_| StreamError::interrupted("a schema was not answered within 30 s"))?;
        let answer = answer.map_err(|status| StreamError::of_status(&status))?;
        Ok(answer.into_inner().schema_json)
    }
}

enum SchemaError {
    Stream(StreamError),
    Unusable(String),
}

/// An open subscription.
#[derive(Debug)]
pub struct Subscription {
    pubsub: PubSub,
    token: Token,
    requests: mpsc::Sender<FetchRequest>,
    stream: Streaming<FetchResponse>,
    outstanding: i32,
    /// When to ask for something at the latest, unless another answer comes before. Counted from the last answer, because
    /// nothing tells how far Salesforce has come with answers that wait to be taken.
    renew_by: Instant,
}

impl Subscription {
    /// The next answer, decoded. Silence beyond the watchdog is an error.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn next(&mut self) -> Result<Received, StreamError> {
        let watchdog = self.pubsub.config.watchdog;
        let answer = tokio::time::timeout(watchdog, self.stream.message()).await;
        let answer = answer.map_err(|_| StreamError::interrupted("the stream was silent for too long"))?;
        let answer = answer.map_err(|status| StreamError::of_status(&status))?;
        let answer = answer.ok_or_else(|| StreamError::interrupted("Salesforce ended the stream"))?;
        self.outstanding = answer.pending_num_requested;
        self.renew_by = Instant::now() + self.pubsub.config.renew_within;
        if answer.events.is_empty() {
            // An empty position is none: stored, it would be refused as corrupt after a restart.
            let position = (!answer.latest_replay_id.is_empty()).then(|| BASE64.encode(&answer.latest_replay_id));
            return Ok(Received::Keepalive(position));
        }
        let mut events = Vec::with_capacity(answer.events.len());
        for event in answer.events {
            events.push(self.decode(event).await?);
        }
        Ok(Received::Events(events))
    }

    async fn decode(&self, received: ConsumerEvent) -> Result<StreamEvent, StreamError> {
        let event = received.event.unwrap_or_default();
        let decoded = match self.pubsub.schema(&self.token, &event.schema_id).await {
            Ok(schema) => change_event::decode(&schema, &event.payload),
            Err(SchemaError::Unusable(reason)) => Err(DecodeError {
                reason: format!("the schema cannot be read: {reason}"),
                header: None,
            }),
            // The event is not lost: the stream is opened again before it.
            Err(SchemaError::Stream(error)) => return Err(error),
        };
        let payload = if decoded.is_err() {
            BASE64.encode(&event.payload)
        } else {
            String::new()
        };
        Ok(StreamEvent {
            replay_id: BASE64.encode(&received.replay_id),
            schema_id: event.schema_id,
            payload,
            event: decoded,
        })
    }

    /// Asks for more when the reader keeps up. Call after every answer that was taken.
    ///
    /// # Errors
    /// When the stream has ended.
    pub async fn ask(&mut self, keeping_up: bool) -> Result<(), StreamError> {
        let window = self.pubsub.config.window;
        if keeping_up && self.outstanding * 2 <= window {
            let more = FetchRequest {
                topic_name: self.pubsub.config.channel.clone(),
                num_requested: window - self.outstanding,
                ..FetchRequest::default()
            };
            self.requests
                .send(more)
                .await
                .map_err(|_| StreamError::interrupted("the stream has ended"))?;
            self.outstanding = window;
        }
        Ok(())
    }

    /// Whether Salesforce owes no answer: then nothing comes before something is asked for.
    #[must_use]
    pub fn is_owed_nothing(&self) -> bool {
        self.outstanding == 0
    }

    /// When to [ask for one](Self::ask_for_one) at the latest while no answer is taken: with nothing outstanding
    /// Salesforce closes the stream after 60 s.
    #[must_use]
    pub fn renew_by(&self) -> Instant {
        self.renew_by
    }

    /// Asks for one event, so that the stream stays open however far behind the reader is.
    ///
    /// # Errors
    /// When the stream has ended.
    pub fn ask_for_one(&mut self) -> Result<(), StreamError> {
        let one = FetchRequest {
            topic_name: self.pubsub.config.channel.clone(),
            num_requested: 1,
            ..FetchRequest::default()
        };
        self.renew_by = Instant::now() + self.pubsub.config.renew_within;
        match self.requests.try_send(one) {
            Ok(()) => self.outstanding = self.outstanding.max(1),
            // Requests that have not gone out yet do as well, and waiting for them could hold up the reader.
            Err(mpsc::error::TrySendError::Full(_)) => {}
            Err(mpsc::error::TrySendError::Closed(_)) => {
                return Err(StreamError::interrupted("the stream has ended"));
            }
        }
        Ok(())
    }
}

/// The three metadata keys that every call needs.
fn with_credentials<T>(message: T, token: &Token) -> Result<Request<T>, StreamError> {
    let value = |text: &str| {
        MetadataValue::try_from(text).map_err(|_| StreamError {
            reaction: Reaction::Operator,
            advice: "the token answer holds characters that no header can carry".to_owned(),
            code: format!("{:?}", Code::InvalidArgument),
        })
    };
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("accesstoken", value(token.access.expose())?);
    request
        .metadata_mut()
        .insert("instanceurl", value(&token.instance_url)?);
    request.metadata_mut().insert("tenantid", value(token.org.as_str())?);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_stream_whose_name_leads_inside_is_not_opened_unless_listed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let refused = async |allowed: &[&str]| {
            let salesforce: SalesforceConfig = serde_json::from_value(json!({
                "url": "", "orgId": null, "apiVersion": "v66.0", "caFile": null, "timeout": "10s", "allowAddresses": allowed,
                "instanceHosts": [], "auth": { "method": "clientCredentials", "clientId": "c", "username": "", "privateKey": null,
                    "audience": "", "clientSecret": null },
            }))
            .unwrap();
            let config: PubSubConfig = serde_json::from_value(json!({
                "endpoint": format!("http://stream.example:{port}"), "channel": "/data/UserChangeEvent", "watchdog": "300s",
                "window": 100, "renewWithin": "45s",
            }))
            .unwrap();
            let here = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
            let lookup: Lookup = Arc::new(move |_| Box::pin(async move { Ok(vec![here]) }));
            let stream = PubSub::with_lookup(Arc::new(config), &salesforce, lookup).unwrap();
            let token = Token {
                access: usher_runtime::secret::Secret::new("s3cret"),
                instance_url: "https://acme.my.salesforce.com".to_owned(),
                org: "00D000000000001EAA".parse().unwrap(),
                user: None,
            };
            stream.check(&token, "/data/UserChangeEvent").await.unwrap_err()
        };
        let error = refused(&[]).await;
        assert_eq!(error.code, "address-refused", "{error}");
        assert_eq!(
            error.advice,
            "stream.example leads to 127.0.0.1, which is this machine; list it under salesforce.allowAddresses if it is meant"
        );
        let error = refused(&["127.0.0.1"]).await;
        assert_ne!(error.code, "address-refused", "{error}");
    }
}
