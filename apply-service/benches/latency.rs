//! How long until a change is written at the application: idle, beside a dead target, behind a long queue, and from the
//! commit at the simulated Salesforce.
//!
//! The service runs in this process against a real Kafka; the applications are sinks on loopback that note when a write comes
//! in. `--changes N`, `--creates N`, `--part idle|dead|leavers|whole`, `--quick`. The last part needs the binary of
//! ingest-service in the same target folder.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a bench"
)]

mod common;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use apply_service::topics;
use common::{
    people::{self, key, leaver, message, person},
    quantile_ms,
    service::{Service, config, policies},
    sink::Sink,
    until,
};
use kafka_harness::{
    Kafka, Process, ProcessSpec, built_binary,
    figures::{machine, size},
    raw::{producer, transaction},
};
use rdkafka::producer::BaseProducer;
use salesforce_sim::{Sim, SimConfig};
use serde_json::{Value, json};
use usher_contract::UserChange;

/// People who are there before anything is measured.
const PEOPLE: u64 = 200;
/// Longer than a commit is young, and not a multiple of anything: changes meet a target that has rested, or one that has not.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(3),
    Duration::from_millis(41),
    Duration::from_millis(157),
    Duration::from_millis(233),
];
/// After this the lane asks for a commit before it writes.
const RESTED: Duration = Duration::from_millis(3_100);
/// What Salesforce's commit to the write may take.
const GOAL_MS: f64 = 50.0;

#[tokio::main]
async fn main() {
    let (changes, creates) = (size("--changes", 300, 20), size("--creates", 100_000, 2_000));
    println!("latency on {}", machine());
    let kafka = Kafka::shared().await;
    let part = std::env::args().skip_while(|argument| argument != "--part").nth(1);
    let runs = |name: &str| part.as_deref().is_none_or(|part| part == name);
    if runs("idle") {
        one_target(&kafka, changes).await;
    }
    if runs("dead") {
        several(&kafka, changes, false).await;
        several(&kafka, changes, true).await;
    }
    if runs("leavers") {
        leavers(&kafka, creates).await;
    }
    if runs("whole") {
        whole(&kafka, changes).await;
    }
}

fn tell(what: &str, times: &[Duration]) {
    println!(
        "{what}: p50 {:>6.1} ms, p99 {:>6.1} ms, longest {:>6.1} ms",
        quantile_ms(times, 0.5),
        quantile_ms(times, 0.99),
        quantile_ms(times, 1.0)
    );
}

/// An installation whose sinks hold everybody of [`PEOPLE`].
struct Installation {
    service: Service,
    producer: BaseProducer,
    topic: String,
    version: u64,
}

impl Installation {
    async fn start(kafka: &Kafka, targets: &[(&str, &Sink)], alive: &[&str]) -> Self {
        let prefix = kafka.unique_prefix();
        let config = config(kafka, &prefix);
        topics::all(&config.kafka).ensure().await.unwrap();
        people::publish(kafka, &prefix, 0..PEOPLE, 0);
        let addresses: Vec<(&str, &str)> = targets.iter().map(|(name, sink)| (*name, sink.url.as_str())).collect();
        let service = Service::start(config, policies(&addresses, 16)).await;
        service.until_rests(alive).await;
        Self {
            service,
            producer: producer(kafka, &format!("{prefix}bench-changes")),
            topic: format!("{prefix}{}", topics::USER_CHANGE),
            version: 0,
        }
    }

    /// Commits one message. Gives when it was committed.
    fn commit(&self, change: &UserChange) -> Instant {
        tokio::task::block_in_place(|| {
            transaction(&self.producer, &self.topic, std::iter::once(&message(change)), None)
        });
        Instant::now()
    }

    /// Changes one person after the other, each when the write of the one before has come to every sink. From the message's
    /// commit to the write, at the last of the sinks.
    async fn changes(&mut self, sinks: &[&Sink], changes: u64, pauses: &[Duration]) -> Vec<Duration> {
        let (mut times, mut raw) = (Vec::new(), Vec::new());
        for number in 0..changes {
            tokio::time::sleep(pauses[number as usize % pauses.len()]).await;
            let began = Instant::now();
            self.version += 1;
            sinks.iter().for_each(|sink| drop(sink.take()));
            let committed = self.commit(&person(number % PEOPLE, self.version));
            raw.push(committed - began);
            until("the change is written", || sinks.iter().all(|sink| sink.writes() > 0)).await;
            let written = sinks.iter().map(|sink| sink.take()[0].at).max().unwrap();
            // The write may come in before the producer is told that its transaction is committed.
            times.push(written.saturating_duration_since(committed));
        }
        tell("  a transaction of the raw producer meanwhile     ", &raw);
        times
    }
}

async fn one_target(kafka: &Kafka, changes: u64) {
    let sink = Sink::start().await;
    let mut installation = Installation::start(kafka, &[("one", &sink)], &["one"]).await;
    let times = installation.changes(&[&sink], changes, &PAUSES).await;
    tell("message committed -> write, idle target           ", &times);
    let times = installation.changes(&[&sink], changes / 20, &[RESTED]).await;
    tell("the same, rested for 3 s: a commit comes first    ", &times);
    installation.service.stop().await;
}

/// Three targets that answer, and another one that does or does not.
async fn several(kafka: &Kafka, changes: u64, dead: bool) {
    let sinks = [
        Sink::start().await,
        Sink::start().await,
        Sink::start().await,
        Sink::start().await,
    ];
    let names = ["one", "two", "three", "other"];
    let targets: Vec<(&str, &Sink)> = names.into_iter().zip(&sinks).collect();
    if dead {
        sinks[3].die();
    }
    let alive = if dead { &names[..3] } else { &names[..] };
    let mut installation = Installation::start(kafka, &targets, alive).await;
    let times = installation
        .changes(&[&sinks[0], &sinks[1], &sinks[2]], changes, &PAUSES)
        .await;
    let what = if dead {
        "the last of three targets, a fourth never answers "
    } else {
        "the last of three targets, a fourth answers       "
    };
    tell(what, &times);
    installation.service.stop().await;
}

/// People leave while everybody else is being created.
async fn leavers(kafka: &Kafka, creates: u64) {
    let sink = Sink::start().await;
    let mut installation = Installation::start(kafka, &[("one", &sink)], &["one"]).await;
    sink.take();
    let first = 1_000_000;
    let numbers = first..first + creates;
    let prefix = installation.topic.trim_end_matches(topics::USER_CHANGE).to_owned();
    let began = Instant::now();
    tokio::task::block_in_place(|| people::publish(kafka, &prefix, numbers, 0));
    println!(
        "{creates} new people published in {:.1} s, {} of them created by then",
        began.elapsed().as_secs_f64(),
        sink.writes()
    );
    let mut times = Vec::new();
    for number in 0..PEOPLE / 4 {
        let done = sink.take();
        assert!(
            done.len() < creates as usize,
            "everybody was created before the leavers left"
        );
        installation.version += 1;
        let committed = installation.commit(&leaver(number, installation.version));
        let (id, mut seen, mut written) = (key(number).user.to_string(), 0, None);
        until("the leaver is out", || {
            let arrivals = sink.since(seen);
            seen += arrivals.len();
            written = arrivals
                .into_iter()
                .find(|arrival| arrival.id == id)
                .map(|arrival| arrival.at);
            written.is_some()
        })
        .await;
        times.push(written.unwrap().saturating_duration_since(committed));
    }
    let left = creates.saturating_sub(sink.accounts() as u64 - PEOPLE);
    tell("a leaver while these are being created            ", &times);
    println!("  {left} of them were not created yet when the last leaver was out");
    installation.service.stop().await;
}

/// From the simulated org to the sink, with both services.
async fn whole(kafka: &Kafka, changes: u64) {
    let prefix = kafka.unique_prefix();
    let sim = Sim::start(SimConfig {
        users: 100,
        org_id: Some(people::ORG.to_owned()),
        keepalive: Duration::from_secs(2),
        daily_delivered_events: u64::MAX / 2,
        ..SimConfig::default()
    });
    let sim = sim.await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = ingest_config(&sim, kafka, &prefix, folder.path());
    let spec = ProcessSpec::new("ingest", built_binary("ingest-service"));
    let ingest = Process::spawn(spec.arg("--config").arg(&file).arg("run"));
    let line = ingest
        .wait_for_line("ingest-service is up", Duration::from_secs(120))
        .await;
    let line: Value = serde_json::from_str(&line).unwrap();
    let url = format!("http://{}/v1/status", line["address"].as_str().unwrap());
    let sink = Sink::start().await;
    let service = Service::start(config(kafka, &prefix), policies(&[("one", &sink.url)], 16)).await;
    let began = Instant::now();
    let users = sim.org().user_ids();
    loop {
        let status: Value = match reqwest::get(&url).await {
            Ok(answer) => answer.json().await.unwrap_or_default(),
            Err(_) => Value::Null,
        };
        let org = &status["orgs"][0];
        if org["stream"]["connected"] == json!(true)
            && org["idle"] == json!(true)
            && service.rests("one")
            && sink.accounts() > 10
        {
            break;
        }
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "{status}\n{}",
            ingest.story()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // An event is merged only when it is two minutes younger than the last read of the person: the org's clock goes ahead.
    sim.org().set_clock_skew_ms(3_600_000);
    let mut times = Vec::new();
    let accounts: Vec<&String> = users.iter().filter(|id| sink.has(id)).collect();
    for number in 0..changes {
        tokio::time::sleep(PAUSES[number as usize % PAUSES.len()]).await;
        let id = accounts[number as usize % accounts.len()];
        sink.take();
        let committed = Instant::now();
        sim.org()
            .update_user(id, json!({ "Title": format!("Title {number}") }))
            .unwrap();
        until("the change is written", || sink.writes() > 0).await;
        times.push(sink.take()[0].at - committed);
    }
    tell("Salesforce commit -> write, both services         ", &times);
    let p99 = quantile_ms(&times, 0.99);
    println!("ratio: {:.2} of the {GOAL_MS} ms that the p99 may be", p99 / GOAL_MS);
    ingest.sigterm();
    service.stop().await;
    sim.shutdown().await;
}

fn ingest_config(sim: &Sim, kafka: &Kafka, prefix: &str, folder: &Path) -> PathBuf {
    let secret = folder.join("client-secret");
    std::fs::write(&secret, sim.client_secret()).unwrap();
    let auth =
        json!({ "method": "clientCredentials", "clientId": sim.client_id(), "clientSecret": { "file": secret } });
    let text = json!({
        "salesforce": { "url": sim.http_url(), "orgId": sim.org_id(), "auth": auth },
        "pubsub": { "endpoint": sim.grpc_url() },
        "snapshot": { "source": "query" },
        "kafka": { "bootstrapServers": kafka.bootstrap(), "prefix": prefix, "topics": "manage", "replicationFactor": 1 },
        "http": { "bind": "127.0.0.1:0" }, "log": { "filter": "info" },
    });
    let file = folder.join("ingest.yaml");
    std::fs::write(&file, text.to_string()).unwrap();
    file
}
