//! A small client of the simulator for its own tests: REST by reqwest, Pub/Sub by the generated client, payloads decoded
//! with the Avro library and with a bitmap decoder written apart from the encoder.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value as Avro};
use salesforce_sim::{
    Sim, SimConfig,
    eventbus::{ConsumerEvent, FetchRequest, FetchResponse, PubSubClient, ReplayPreset, SchemaRequest},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming, transport::Channel};

pub const TOPIC: &str = "/data/UserChangeEvent";
/// Long enough for a loaded machine; nothing waits for it to pass when all is well.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub async fn small() -> Sim {
    Sim::start(SimConfig {
        users: 60,
        ..SimConfig::default()
    })
    .await
    .unwrap()
}

/// A REST client signed in with the simulator's ready token.
pub struct Rest {
    pub base: String,
    pub token: String,
    pub http: reqwest::Client,
}

impl Rest {
    pub fn new(sim: &Sim) -> Self {
        Self {
            base: format!("{}/services/data/v66.0", sim.http_url()),
            token: sim.access_token().to_owned(),
            http: reqwest::Client::new(),
        }
    }

    pub async fn send(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, None).await
    }

    pub async fn query(&self, soql: &str) -> (u16, Value) {
        let url = reqwest::Url::parse_with_params(&format!("{}/query", self.base), [("q", soql)]).unwrap();
        let response = self.http.get(url).bearer_auth(&self.token).send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// The records of a query that must succeed.
    pub async fn records(&self, soql: &str) -> Vec<Value> {
        let (status, answer) = self.query(soql).await;
        assert_eq!(status, 200, "{soql}: {answer}");
        answer["records"].as_array().unwrap().clone()
    }

    /// The error code of a query that must fail with 400.
    pub async fn query_error(&self, soql: &str) -> String {
        let (status, answer) = self.query(soql).await;
        assert_eq!(status, 400, "{soql}: {answer}");
        answer[0]["errorCode"].as_str().unwrap().to_owned()
    }
}

/// A Pub/Sub client with the three metadata keys.
pub struct Bus {
    pub client: PubSubClient<Channel>,
    token: String,
    instance: String,
    tenant: String,
}

/// A running subscription.
pub struct Stream {
    pub requests: mpsc::Sender<FetchRequest>,
    pub answers: Streaming<FetchResponse>,
    /// Received and not yet looked at.
    pub waiting: VecDeque<ConsumerEvent>,
}

impl Bus {
    pub async fn new(sim: &Sim) -> Self {
        Self {
            client: PubSubClient::connect(sim.grpc_url().to_owned()).await.unwrap(),
            token: sim.access_token().to_owned(),
            instance: sim.http_url().to_owned(),
            tenant: sim.org_id(),
        }
    }

    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        for (key, value) in [
            ("accesstoken", &self.token),
            ("instanceurl", &self.instance),
            ("tenantid", &self.tenant),
        ] {
            request.metadata_mut().insert(key, value.parse().unwrap());
        }
        request
    }

    pub async fn open(&mut self, first: FetchRequest) -> Stream {
        let (requests, outgoing) = mpsc::channel(8);
        requests.send(first).await.unwrap();
        let request = self.request(ReceiverStream::new(outgoing));
        let answers = self.client.subscribe(request).await.unwrap().into_inner();
        Stream {
            requests,
            answers,
            waiting: VecDeque::new(),
        }
    }

    pub async fn latest(&mut self, sim: &Sim, credit: i32) -> Stream {
        let before = sim.org().open_streams();
        let stream = self.open(fetch(ReplayPreset::Latest, b"", credit)).await;
        // The server has the position only after it has read the first request.
        while sim.org().open_streams() == before {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        stream
    }

    pub async fn schema(&mut self, schema_id: &str) -> Schema {
        let request = self.request(SchemaRequest {
            schema_id: schema_id.to_owned(),
        });
        let answer = self.client.get_schema(request).await.unwrap().into_inner();
        assert_eq!(answer.schema_id, schema_id);
        Schema::parse_str(&answer.schema_json).unwrap()
    }

    pub async fn decode(&mut self, event: &ConsumerEvent) -> Event {
        let produced = event.event.as_ref().unwrap();
        let schema = self.schema(&produced.schema_id).await;
        let mut rest = &produced.payload[..];
        let value = GenericDatumReader::builder(&schema)
            .build()
            .unwrap()
            .read_value(&mut rest)
            .unwrap();
        assert!(rest.is_empty(), "bytes left over after the datum");
        Event { schema, value }
    }
}

pub fn fetch(preset: ReplayPreset, replay_id: &[u8], num_requested: i32) -> FetchRequest {
    FetchRequest {
        topic_name: TOPIC.to_owned(),
        replay_preset: preset as i32,
        replay_id: replay_id.to_vec(),
        num_requested,
        auth_refresh: String::new(),
    }
}

pub fn credit(num_requested: i32) -> FetchRequest {
    FetchRequest {
        num_requested,
        ..FetchRequest::default()
    }
}

impl Stream {
    pub async fn next(&mut self) -> Result<FetchResponse, Status> {
        let answer = tokio::time::timeout(PATIENCE, self.answers.message())
            .await
            .expect("an answer in time")?;
        answer.ok_or_else(|| Status::cancelled("the stream has ended"))
    }

    /// Events until there are `count`, over as many answers as it takes.
    pub async fn events(&mut self, count: usize) -> Vec<ConsumerEvent> {
        while self.waiting.len() < count {
            let answer = self.next().await.unwrap();
            self.waiting.extend(answer.events);
        }
        self.waiting.drain(..count).collect()
    }

    /// The error code after the vendor's prefix, when the stream ends with one.
    pub async fn error(&mut self) -> String {
        loop {
            match self.next().await {
                Ok(_) => {}
                Err(status) => return suffix(&status),
            }
        }
    }
}

pub fn suffix(status: &Status) -> String {
    let code = status
        .metadata()
        .get("error-code")
        .map(|value| value.to_str().unwrap().to_owned());
    match code {
        Some(code) => code
            .strip_prefix("sfdc.platform.eventbus.grpc.")
            .expect("the vendor's prefix")
            .to_owned(),
        None => format!("{:?}", status.code()),
    }
}

/// A decoded change event.
pub struct Event {
    schema: Schema,
    value: Avro,
}

pub fn field<'a>(value: &'a Avro, name: &str) -> &'a Avro {
    let Avro::Record(fields) = value else {
        panic!("not a record: {value:?}")
    };
    let found = &fields
        .iter()
        .find(|(field, _)| field == name)
        .unwrap_or_else(|| panic!("no field {name}"))
        .1;
    if let Avro::Union(_, inner) = found {
        inner
    } else {
        found
    }
}

impl Event {
    pub fn get(&self, name: &str) -> Value {
        plain(field(&self.value, name))
    }

    pub fn header(&self, name: &str) -> Value {
        plain(field(field(&self.value, "ChangeEventHeader"), name))
    }

    pub fn changed(&self) -> BTreeSet<String> {
        self.places("changedFields")
    }

    pub fn nulled(&self) -> BTreeSet<String> {
        self.places("nulledFields")
    }

    fn places(&self, list: &str) -> BTreeSet<String> {
        let Schema::Record(root) = &self.schema else {
            panic!("not a record schema")
        };
        let mut names = BTreeSet::new();
        for entry in self.header(list).as_array().unwrap() {
            let entry = entry.as_str().unwrap();
            match entry.split_once('-') {
                None => names.extend(bits(entry).into_iter().map(|bit| root.fields[bit].name.clone())),
                Some((parent, digits)) => {
                    let parent = &root.fields[parent.parse::<usize>().unwrap()];
                    let Schema::Union(union) = &parent.schema else {
                        panic!("not nullable")
                    };
                    let inner = union.variants().iter().find_map(|variant| match variant {
                        Schema::Record(record) => Some(record),
                        _ => None,
                    });
                    let inner = inner.expect("a compound field");
                    names.extend(
                        bits(digits)
                            .into_iter()
                            .map(|bit| format!("{}.{}", parent.name, inner.fields[bit].name)),
                    );
                }
            }
        }
        names
    }
}

/// Decimal places of a big-endian hexadecimal number, by long division and not by nibbles as the encoder's test does it.
fn bits(text: &str) -> Vec<usize> {
    let digits = text.strip_prefix("0x").unwrap();
    let bytes: Vec<u8> = (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect();
    let total = bytes.len() * 8;
    (0..total)
        .filter(|bit| bytes[bytes.len() - 1 - bit / 8] & (1 << (bit % 8)) != 0)
        .collect()
}

fn plain(value: &Avro) -> Value {
    match value {
        Avro::Null => Value::Null,
        Avro::Boolean(flag) => json!(flag),
        Avro::Int(number) => json!(number),
        Avro::Long(number) => json!(number),
        Avro::Double(number) => json!(number),
        Avro::String(text) | Avro::Enum(_, text) => json!(text),
        Avro::Array(items) => Value::Array(items.iter().map(plain).collect()),
        Avro::Union(_, inner) => plain(inner),
        Avro::Record(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| (name.clone(), plain(value)))
                .collect(),
        ),
        other => panic!("unexpected {other:?}"),
    }
}

pub fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
