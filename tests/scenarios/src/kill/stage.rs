//! A stage: cells, replicas of apply-service with a proxy in front of the broker each, and what a stage play needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant, SystemTime},
};

use salesforce_sim::SimConfig;
use serde_json::{Value, json};
use target_sims::RequestRecord;

use super::{
    cell::Cell,
    judge::{Commit, Write, judge, said},
    people::{Group, Round},
    point::Point,
};
use crate::{KafkaProxy, Scene, Service, TargetSpec, eventually_within};

/// Everybody who is there from the start.
const SETTLED: [Group; 4] = [Group::Neighbour, Group::Changed, Group::Leaver, Group::Returner];
/// Everybody.
pub(super) const ALL: [Group; 5] = [
    Group::Neighbour,
    Group::Newcomer,
    Group::Changed,
    Group::Leaver,
    Group::Returner,
];
/// How long a step of a stage play may take. Six replicas run beside each other, on a machine that may be busy with more;
/// a deposed owner alone takes 35 s to come back.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);
/// The partitions of the topic by which targets are shared out.
const PARTITIONS: usize = 48;

/// How a replica is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGKILL.
    Kill,
    /// SIGSTOP, and SIGCONT when another one has done the work.
    Stop,
}

/// A replica, and its own way to the broker.
#[derive(Debug)]
pub struct Replica {
    pub service: Service,
    pub proxy: KafkaProxy,
    /// What the cells' targets see of it.
    credential: String,
    /// Neither killed nor stopped.
    pub lives: bool,
}

impl Replica {
    pub fn strike(&mut self, signal: Signal) {
        self.lives = false;
        match signal {
            Signal::Kill => self.service.process.sigkill(),
            Signal::Stop => self.service.process.sigstop(),
        }
    }
}

/// Cells, and replicas that share them out.
pub struct Stage {
    /// What is played, for failures.
    name: String,
    scene: Scene,
    pub cells: Vec<Cell>,
    pub replicas: Vec<Replica>,
}

impl Stage {
    /// Sets a stage with a cell per point, everybody settled, and the targets shared out evenly.
    pub async fn set(points: &[Point], replicas: usize, signal: Signal) -> Self {
        let scene = Scene::set(SimConfig {
            users: 1,
            ..SimConfig::default()
        })
        .await;
        let mut cells = Vec::new();
        for (number, point) in points.iter().enumerate() {
            cells.push(Cell::new(*point, number).await);
        }
        let mut stage = Self {
            name: format!("{signal:?} with {replicas} at first"),
            scene,
            cells,
            replicas: Vec::new(),
        };
        for _ in 0..replicas {
            stage.start_replica(|_, _| {}).await;
        }
        stage.shared_out(replicas).await;
        stage.say(Round::Start, |_| SETTLED.to_vec()).await;
        stage.equal("everybody is there").await;
        stage.say(Round::Leave, |_| SETTLED.to_vec()).await;
        stage.equal("those who will return have left").await;
        stage
    }

    /// Starts one more; `hinder` is told its proxy and the cells before it runs.
    pub async fn start_replica(&mut self, hinder: impl FnOnce(&[Cell], &KafkaProxy)) {
        let name = format!("apply-{}", self.replicas.len() + 1);
        let proxy = KafkaProxy::start(self.scene.kafka.bootstrap()).await;
        hinder(&self.cells, &proxy);
        // A policy folder of its own, which differs by the token: so the target's record tells replicas apart.
        let token_file = self.scene.token_file(&name);
        let specs: Vec<TargetSpec<'_>> = self.cells.iter().map(|cell| cell.spec(&token_file)).collect();
        let folder = self.scene.policy_in(&format!("policy-{name}"), &specs);
        let change = json!({ "kafka": { "bootstrapServers": proxy.bootstrap() }, "policy": { "folder": folder } });
        self.replicas.push(Replica {
            service: self.scene.apply_with(&name, &change).await,
            proxy,
            credential: format!("Bearer {name}"),
            lives: true,
        });
    }

    /// Waits until the group has `members` who share evenly.
    pub async fn shared_out(&self, members: usize) {
        let group = self.scene.topic("apply");
        self.eventually("the targets are shared out evenly", || async {
            match self.scene.kafka.group_shares(&group).await {
                Some(shares)
                    if shares.len() == members
                        && shares.iter().sum::<usize>() == if members == 0 { 0 } else { PARTITIONS }
                        && shares.last().unwrap_or(&0) - shares.first().unwrap_or(&0) <= 1 =>
                {
                    Ok(())
                }
                shares => Err(format!("{shares:?}")),
            }
        })
        .await;
    }

    /// Says the same round in every cell, about the groups that are named for it.
    pub async fn say(&self, round: Round, about: impl Fn(&Cell) -> Vec<Group>) {
        let mut messages = Vec::new();
        for cell in &self.cells {
            messages.extend(cell.people.say(round, &about(cell)));
        }
        let records = messages
            .iter()
            .map(|(key, value)| (key.as_str(), Some(value.as_slice())));
        let headers = [
            ("ce_specversion", "1.0"),
            ("ce_type", "dev.usher.user.updated.v1"),
            ("content-type", "application/json"),
        ];
        let topic = self.scene.topic("user-change");
        self.scene.kafka.produce_all(&topic, records, &headers).await;
    }

    /// Says what is to be under way, and waits until every cell is frozen at its point.
    pub async fn freeze(&self, owner: usize) {
        self.cells.iter().for_each(|cell| cell.point.prepare(cell));
        self.say(Round::Strike, |cell| cell.point.struck().to_vec()).await;
        let proxy = &self.replicas[owner].proxy;
        for cell in &self.cells {
            cell.point.freeze(cell, proxy).await;
        }
    }

    /// Every cell is still at its point: otherwise the strike would prove nothing.
    pub fn assert_frozen(&self, owner: usize) {
        let proxy = &self.replicas[owner].proxy;
        for cell in &self.cells {
            assert!(
                cell.point.is_frozen(cell, proxy),
                "{} has moved on by itself",
                cell.target
            );
        }
    }

    /// What happens while the owner can do nothing: what was not struck happens now, and then everybody meets their fate.
    pub async fn meanwhile(&self) {
        self.say(Round::Strike, |cell| cell.point.not_struck()).await;
        self.say(Round::Meanwhile, |_| ALL.to_vec()).await;
    }

    /// Waits until every target is what people were told to be.
    pub async fn equal(&self, what: &str) {
        self.eventually(what, || async {
            let differences: Vec<String> = self.cells.iter().flat_map(Cell::differences).collect();
            if differences.is_empty() {
                Ok(())
            } else {
                Err(format!("{differences:?}"))
            }
        })
        .await;
    }

    async fn eventually<F>(&self, what: &str, holds: impl FnMut() -> F)
    where
        F: Future<Output = Result<(), String>>,
    {
        eventually_within(PATIENCE, &format!("{}: {what}", self.name), holds).await;
    }

    /// Waits until nothing is under way in any cell.
    pub async fn at_rest(&self) {
        self.who_says("nothing is under way", |cell, status, _| {
            let lane = &cell.status(status)["lane"];
            lane["pending"] == json!(0) && lane["inFlight"] == json!(0)
        })
        .await;
    }

    /// What the living say about a cell: index and state.
    pub async fn states(&self, cell: &Cell) -> Vec<(usize, String)> {
        let mut states = Vec::new();
        for (number, replica) in self.replicas.iter().enumerate() {
            if replica.lives {
                let status = replica.service.status().await;
                let state = cell.status(&status)["state"].as_str().unwrap_or("silent");
                states.push((number, state.to_owned()));
            }
        }
        states
    }

    /// Waits until one of the living is in such a state with every cell, and says who.
    pub async fn who<F>(&self, what: &str, mut holds: F) -> usize
    where
        F: FnMut(&Cell, &str, &KafkaProxy) -> bool,
    {
        self.who_says(what, |cell, status, proxy| {
            holds(cell, cell.status(status)["state"].as_str().unwrap_or_default(), proxy)
        })
        .await
    }

    async fn who_says<F>(&self, what: &str, mut holds: F) -> usize
    where
        F: FnMut(&Cell, &Value, &KafkaProxy) -> bool,
    {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut last = String::new();
            for (number, replica) in self.replicas.iter().enumerate().filter(|(_, replica)| replica.lives) {
                let status = replica.service.status().await;
                if self.cells.iter().all(|cell| holds(cell, &status, &replica.proxy)) {
                    return number;
                }
                let states = self.cells.iter().map(|cell| cell.status(&status)["state"].to_string());
                last += &format!("{}: {:?}; ", replica.service.process.name(), states.collect::<Vec<_>>());
            }
            assert!(
                Instant::now() < deadline,
                "{}: nobody is the one where {what}: {last}",
                self.name
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until every cell has exactly one active owner.
    pub async fn one_owner_each(&self) {
        self.eventually("each target has one owner", || async {
            let mut wrong = Vec::new();
            for cell in &self.cells {
                let states = self.states(cell).await;
                if states.iter().filter(|(_, state)| state == "active").count() != 1 {
                    wrong.push(format!("{}: {states:?}", cell.target));
                }
            }
            if wrong.is_empty() {
                Ok(())
            } else {
                Err(format!("{wrong:?}"))
            }
        })
        .await;
    }

    /// The fence of somebody who was overtaken comes after that of a living owner, which notices it.
    pub async fn the_last_owner_was_deposed(&self) {
        self.eventually("a late fence deposes the owner", || async {
            let living = self.replicas.iter().filter(|replica| replica.lives);
            let lines = living.flat_map(|replica| replica.service.process.output().lines());
            let deposed =
                |line: &str| line.contains(r#""to":"dropped""#) && line.contains(r#""target.name":"fencing-"#);
            if lines.into_iter().any(|line| deposed(&line)) {
                Ok(())
            } else {
                Err("not yet".to_owned())
            }
        })
        .await;
    }

    /// Judges every cell by its target's record, in which at least so many replicas have written.
    pub async fn judge(&self, writers_min: usize) {
        let owners = self.owners().await;
        let mut complaints = Vec::new();
        for cell in &self.cells {
            let (writes, commits) = (self.writes(cell), owners.get(&cell.target).cloned().unwrap_or_default());
            let writers: BTreeSet<&str> = writes.iter().map(|write| write.by.as_str()).collect();
            let mut found = judge(&writes, &commits, &cell.people.told());
            if writers.len() < writers_min {
                found.push(format!("only {writers:?} have written"));
            }
            let created = cell.sim.created_count_by_external_id();
            let twice = created.iter().filter(|(_, count)| **count > 1);
            found.extend(twice.map(|(person, count)| format!("{person} was created {count} times")));
            if cell.sim.max_writes_in_flight_per_user() > 1 {
                found.push("writes about somebody overlap".to_owned());
            }
            complaints.extend(
                found
                    .into_iter()
                    .map(|complaint| format!("{}: {complaint}", cell.target)),
            );
        }
        assert!(complaints.is_empty(), "{}: {complaints:#?}", self.name);
    }

    /// The writes at a cell's target, in order of arrival.
    fn writes(&self, cell: &Cell) -> Vec<Write> {
        let accounts: BTreeMap<String, String> = cell
            .sim
            .users()
            .iter()
            .filter_map(|account| {
                Some((
                    account["id"].as_str()?.to_owned(),
                    account["externalId"].as_str()?.to_owned(),
                ))
            })
            .collect();
        let write = |request: RequestRecord| {
            let body = request.body.unwrap_or(Value::Null);
            let id = request.path.strip_prefix("/Users/").map(|id| accounts.get(id).cloned());
            let external = || said(&body, "externalId").and_then(Value::as_str).map(str::to_owned);
            let credential = request.authorization.unwrap_or_default();
            let by = self.replicas.iter().find(|replica| replica.credential == credential);
            Write {
                by: by.map_or(credential.clone(), |replica| replica.service.process.name().to_owned()),
                person: id.flatten().or_else(external).unwrap_or_default(),
                started_at: request.started_at,
                executed_at: request
                    .executed_at
                    .filter(|_| request.status.is_some_and(|status| status < 400))
                    .map(|executed| request.started_at + executed.saturating_duration_since(request.started)),
                title: said(&body, "title").and_then(Value::as_str).map(str::to_owned),
                active: said(&body, "active").and_then(Value::as_bool),
            }
        };
        cell.sim.writes().into_iter().map(write).collect()
    }

    /// The committed records of every target's owners, in order.
    async fn owners(&self) -> BTreeMap<String, Vec<Commit>> {
        let mut owners: BTreeMap<String, Vec<Commit>> = BTreeMap::new();
        for record in self
            .scene
            .kafka
            .read_committed(&self.scene.topic("provisioning.target"))
            .await
        {
            let value = record.json();
            // A successor's mark says nothing about an owner.
            let Some(owner) = value["owner"].as_str() else { continue };
            let by = self
                .replicas
                .iter()
                .find(|replica| replica.service.url.ends_with(owner));
            let begun_ms = u64::try_from(record.timestamp_ms.unwrap_or(0)).unwrap_or(0);
            owners.entry(record.key_text().to_owned()).or_default().push(Commit {
                by: by.map_or(owner.to_owned(), |replica| replica.service.process.name().to_owned()),
                begun_at: SystemTime::UNIX_EPOCH + Duration::from_millis(begun_ms),
                released: value["released"] == json!(true),
            });
        }
        owners
    }

    /// Ends everybody who lives in the orderly way.
    pub async fn end(self) {
        for replica in self.replicas {
            if replica.lives {
                replica.service.stop().await;
            }
        }
    }
}
