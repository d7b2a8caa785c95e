//! People are told of new accounts although whoever sends is killed: at every step between the account and the record that it
//! was told of. By mail to a mail server and by webhook to an endpoint, neither written by us.
//!
//! Afterwards nothing is lost, and what was sent before the record of it is sent once more with the same id, at most.
//!
//! | Killed | Sent |
//! |---|---|
//! | the account is made, the answer is not there · it is, the records are in the commit · committed, not known yet | once |
//! | received, not answered · answered, the record of it is in the commit | twice, with one id |
//! | the record of it is committed, not known yet | once |
//!
//! Mistakes that were made on purpose, and the cells that found each:
//!
//! | Mistake | Found by |
//! |---|---|
//! | an account that is found again tells nobody | unanswered |
//! | what was sent is not put into the link | answered: it is sent on and on |
//! | the id of a webhook is drawn anew for each try | received |
//! | what is owed is not due after a restart | committed |
//! | nothing is intended before the account is made | it comes to no account |
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::{fmt, path::Path};

use kafka_harness::{NoticeOptions, NoticeReceiver};
use salesforce_sim::SimConfig;
use scenarios::{Api, KafkaProxy, Keep, Scene, Service, TargetSpec, eventually_none, recording_target};
use serde_json::{Value, json};
use target_sims::{FaultScope, Moment, ScimSim};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Where a cell stands when the service is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    Unanswered,
    Recording,
    Committed,
    Received,
    Answered,
    Recorded,
}

impl Point {
    const ALL: [Self; 6] = [
        Self::Unanswered,
        Self::Recording,
        Self::Committed,
        Self::Received,
        Self::Answered,
        Self::Recorded,
    ];

    /// Whether it comes before anything is sent.
    fn is_unsent(self) -> bool {
        matches!(self, Self::Unanswered | Self::Recording | Self::Committed)
    }

    /// What the proxy keeps of the transaction of this point.
    fn kept(self) -> Option<Keep> {
        match self {
            Self::Unanswered | Self::Received => None,
            Self::Recording | Self::Answered => Some(Keep::Request),
            Self::Committed | Self::Recorded => Some(Keep::Answer),
        }
    }

    /// What is committed of the notice when the service is killed.
    fn on_the_books(self) -> &'static str {
        match self {
            Self::Unanswered | Self::Recording => "intended",
            Self::Committed | Self::Received | Self::Answered => "owed",
            Self::Recorded => "sent",
        }
    }

    /// How often it is sent in all.
    fn sent(self) -> usize {
        match self {
            Self::Unanswered | Self::Recording | Self::Committed | Self::Recorded => 1,
            Self::Received | Self::Answered => 2,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channel {
    Mail,
    Webhook,
}

/// A target with one person, whom one channel is told of.
struct Cell {
    channel: Channel,
    point: Point,
    number: u32,
    sim: ScimSim,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}-{:?}", self.channel, self.point)
    }
}

impl Cell {
    /// Of its target; also of its person's mailbox, and of the file that keeps the answer back.
    fn name(&self) -> String {
        self.to_string().to_lowercase()
    }
    fn org(&self) -> String {
        format!("00D{:012}EAA", self.number)
    }
    fn person(&self) -> String {
        format!("005{:012}AAA", self.number)
    }
    fn client(&self) -> String {
        format!("apply.{}", self.name())
    }
    fn keep(&self, proxy: &KafkaProxy) {
        if let Some(keep) = self.point.kept() {
            proxy.keep(Api::EndTxn, &self.client(), keep);
        }
    }

    /// The ids of everything that was received about it.
    fn received(&self, receiver: &NoticeReceiver) -> Vec<String> {
        let (kind, of, whose) = match self.channel {
            Channel::Mail => ("mail", json!([format!("{}@acme.example", self.name())]), "/recipients"),
            Channel::Webhook => ("webhook", json!(self.name()), "/body/data/target"),
        };
        let mut received = receiver.received(kind);
        received.retain(|notice| notice.pointer(whose) == Some(&of));
        received
            .iter()
            .filter_map(|notice| notice[kind].as_str().map(str::to_owned))
            .collect()
    }
}

/// What the links say of the notices, cell by cell.
async fn books(scene: &Scene, cells: &[Cell]) -> Vec<String> {
    let records = scene.kafka.read_committed(&scene.topic("provisioning.link")).await;
    let of = |cell: &Cell| {
        let key = format!("{}/{}:{}", cell.name(), cell.org(), cell.person());
        let newest = records.iter().rfind(|record| record.key_text() == key);
        let link = newest.map_or(Value::Null, kafka_harness::Record::json);
        link["notices"][0]["state"]["is"]
            .as_str()
            .unwrap_or("nothing")
            .to_owned()
    };
    cells.iter().map(of).collect()
}

async fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for channel in [Channel::Mail, Channel::Webhook] {
        for point in Point::ALL {
            cells.push(Cell {
                channel,
                point,
                number: u32::try_from(cells.len()).unwrap() + 1,
                sim: recording_target().await,
            });
        }
    }
    cells
}

fn policies(scene: &Scene, cells: &[Cell]) {
    let names: Vec<String> = cells.iter().map(Cell::name).collect();
    let policy = |cell: &Cell| {
        let told = match cell.channel {
            Channel::Mail => json!({ "user": true }),
            Channel::Webhook => json!({ "webhook": "hr" }),
        };
        json!({ "sources": [cell.org()], "connection": { "timeouts": { "request": "15s" } }, "notify": { "firstImport": true, "onCreate": told } })
    };
    let mut specs = Vec::new();
    for (cell, name) in cells.iter().zip(&names) {
        specs.push(TargetSpec {
            name,
            base_url: cell.sim.base_url(),
            policy: policy(cell),
        });
    }
    scene.policy(&specs);
}

async fn publish(scene: &Scene, cells: impl Iterator<Item = &Cell>) {
    let record = |cell: &Cell| {
        let (org, id, name) = (cell.org(), cell.person(), cell.name());
        let user = json!({ "id": id, "orgId": org, "username": format!("{name}@acme.example"),
            "email": format!("{name}@acme.example"), "displayName": "Ada Byron", "familyName": "Byron", "active": true });
        let cause = json!({ "origin": "query", "observedAt": "2026-01-02T03:04:05Z" });
        let message = json!({ "version": 1, "kind": "updated", "user": user, "cause": cause });
        (format!("{org}:{id}"), message.to_string().into_bytes())
    };
    let records: Vec<(String, Vec<u8>)> = cells.map(record).collect();
    let records = records
        .iter()
        .map(|(key, value)| (key.as_str(), Some(value.as_slice())));
    scene.kafka.produce_all(&scene.topic("user-change"), records, &[]).await;
}

/// Waits until every target is active and at rest, with so many links each.
async fn at_rest(service: &Service, cells: &[Cell], links: u64) {
    eventually_none("every target is at rest", || async {
        let status = service.whole_status().await;
        let rests = |cell: &&Cell| {
            let target = &status["targets"][cell.name()];
            let lane = &target["lane"];
            let idle = lane["pending"] == 0 && lane["inFlight"] == 0 && lane["noticesOwed"] == 0;
            target["state"] == "active" && lane["links"] == links && idle
        };
        let busy = cells.iter().filter(|cell| !rests(cell));
        busy.map(|cell| format!("{cell}: {}", status["targets"][cell.name()]))
            .collect()
    })
    .await;
}

async fn start(scene: &Scene, name: &str, receiver: &NoticeReceiver, bootstrap: &str) -> Service {
    let secret = scene.path("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let mail = json!({ "server": "127.0.0.1", "port": receiver.smtp_port(), "tls": "none", "from": "usher@acme.example",
        "timeout": "15s" });
    let url = format!("http://127.0.0.1:{}/", receiver.http_port());
    let webhook = json!({ "url": url, "secretFiles": [secret], "timeout": "15s" });
    let change = json!({ "kafka": { "bootstrapServers": bootstrap }, "mail": mail, "webhooks": { "hr": webhook } });
    scene.apply_with(name, &change).await
}

/// Takes every cell to its point.
async fn freeze(scene: &Scene, cells: &[Cell], receiver: &NoticeReceiver, holds: &Path, proxy: &KafkaProxy) {
    let (unsent, sent): (Vec<&Cell>, Vec<&Cell>) = cells.iter().partition(|cell| cell.point.is_unsent());
    for cell in &unsent {
        cell.sim.close_gate(Moment::AfterEffect, FaultScope::Writes);
    }
    publish(scene, unsent.iter().copied()).await;
    let waits = async |what: &str, cells: &[&Cell], there: &dyn Fn(&Cell) -> bool| {
        eventually_none(what, || async {
            let missing = cells.iter().filter(|cell| !there(cell));
            missing.map(ToString::to_string).collect()
        })
        .await;
    };
    waits("accounts are made", &unsent, &|cell| cell.sim.caught_at_gate() == 1).await;
    for cell in unsent.iter().filter(|cell| cell.point != Point::Unanswered) {
        cell.keep(proxy);
        cell.sim.open_gate();
    }
    // Later: an answer that is kept for long is one that does not come in time.
    for cell in &sent {
        std::fs::write(holds.join(cell.name()), "").unwrap();
    }
    publish(scene, sent.iter().copied()).await;
    waits("notices are received", &sent, &|cell| {
        cell.received(receiver).len() == 1
    })
    .await;
    for cell in sent.iter().filter(|cell| cell.point != Point::Received) {
        cell.keep(proxy);
        std::fs::remove_file(holds.join(cell.name())).unwrap();
    }
    let kept: Vec<&Cell> = cells.iter().filter(|cell| cell.point.kept().is_some()).collect();
    waits("transactions are kept", &kept, &|cell| {
        proxy.caught_of(&cell.client()) > 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sends_is_killed_at_every_step_and_nobody_is_told_never_or_thrice() {
    let scene = Scene::set(SimConfig {
        users: 1,
        ..SimConfig::default()
    })
    .await;
    let topic = scene.topic("user-change");
    scene
        .kafka
        .create_topic(&topic, 12, &[("cleanup.policy", "compact")])
        .await;
    let holds = tempfile::tempdir().unwrap();
    let receiver = NoticeReceiver::start(NoticeOptions {
        tls: "none",
        secrets: vec![SECRET.to_owned()],
        hold: Some(holds.path().to_owned()),
        ..NoticeOptions::default()
    })
    .await;
    let cells = cells().await;
    policies(&scene, &cells);
    let proxy = KafkaProxy::start(scene.kafka.bootstrap()).await;
    let struck = start(&scene, "struck", &receiver, &proxy.bootstrap()).await;
    at_rest(&struck, &cells, 0).await;

    freeze(&scene, &cells, &receiver, holds.path(), &proxy).await;
    eventually_none("the books are as they should be", || async {
        let found = books(&scene, &cells).await.into_iter().zip(&cells);
        found
            .filter(|(found, cell)| found != cell.point.on_the_books())
            .map(|(found, cell)| format!("{cell}: {found}"))
            .collect()
    })
    .await;
    for cell in &cells {
        let sent = usize::from(!cell.point.is_unsent());
        assert_eq!(cell.received(&receiver).len(), sent, "{cell}");
        let open = cell.sim.writes().iter().filter(|write| write.ended.is_none()).count();
        let unanswered = usize::from(cell.point == Point::Unanswered);
        assert_eq!(open, unanswered, "{cell}: it has moved on by itself");
    }
    struck.process.sigkill();
    for cell in &cells {
        cell.sim.open_gate();
        let _ = std::fs::remove_file(holds.path().join(cell.name()));
    }

    let successor = start(&scene, "successor", &receiver, scene.kafka.bootstrap()).await;
    let told = async |when: &str| {
        for (cell, book) in cells.iter().zip(books(&scene, &cells).await) {
            let ids = cell.received(&receiver);
            assert_eq!(
                ids.len(),
                cell.point.sent(),
                "{when}, {cell}: {ids:?}{}",
                receiver.story()
            );
            assert!(ids.iter().all(|id| *id == ids[0]), "{when}, {cell}: {ids:?}");
            assert_eq!(book, "sent", "{when}, {cell}");
            let created = cell.sim.created_count_by_external_id();
            assert_eq!(
                (cell.sim.user_count(), created[&cell.person()]),
                (1, 1),
                "{when}, {cell}"
            );
        }
    };
    at_rest(&successor, &cells, 1).await;
    proxy.let_all_on();
    told("after the kill").await;

    // What is on the books is not done again.
    successor.process.sigkill();
    let third = start(&scene, "third", &receiver, scene.kafka.bootstrap()).await;
    at_rest(&third, &cells, 1).await;
    told("after another one").await;
    third.stop().await;
}
