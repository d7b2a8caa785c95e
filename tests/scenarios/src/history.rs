//! A history of edits, and the proof that no committed position was ever ahead of the messages and debts.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use kafka_harness::Record;
use serde_json::{Value, json};

use crate::Scene;

/// Edits of titles, each of which is one event on the bus; nobody else may edit while it is made.
#[derive(Debug)]
pub struct History {
    /// The place on the bus before the first edit.
    began: u64,
    /// Whose title became what, in order.
    edits: Vec<(String, String)>,
}

impl History {
    pub fn begin(scene: &Scene) -> Self {
        Self {
            began: scene.org().bus_end(),
            edits: Vec::new(),
        }
    }

    /// Gives the person a title that nobody had before.
    pub fn edit(&mut self, scene: &Scene, person: &str) -> String {
        let title = format!("edit {}", self.edits.len());
        scene
            .org()
            .update_user(person, json!({ "Title": title }))
            .expect("the edit is allowed");
        self.edits.push((person.to_owned(), title.clone()));
        assert_eq!(
            scene.org().bus_end(),
            self.began + self.edits.len() as u64,
            "one edit, one event"
        );
        title
    }

    /// Who lacks the newest title on the topic.
    pub async fn missing(&self, scene: &Scene) -> Vec<String> {
        let newest: BTreeMap<&str, &str> = self
            .edits
            .iter()
            .map(|(who, title)| (who.as_str(), title.as_str()))
            .collect();
        let mut found = BTreeMap::new();
        for record in scene.user_changes().await {
            let user = record.json()["user"].clone();
            found.insert(
                user["id"].as_str().unwrap_or_default().to_owned(),
                user["title"].clone(),
            );
        }
        newest
            .into_iter()
            .filter(|(who, title)| found.get(*who) != Some(&json!(title)))
            .map(|(who, title)| format!("{who}: {title}"))
            .collect()
    }

    /// Where on the bus a position record stands, as [`salesforce_sim::Org::bus_end`] counts.
    pub fn place_of(&self, scene: &Scene, record: &Record) -> Option<u64> {
        place(&scene.org(), record)
    }

    /// Looks at every committed position: each edit on the bus up to it was in an earlier or equal message, or owed.
    /// Gives how many positions were looked at.
    pub async fn assert_position_was_never_ahead(&self, scene: &Scene) -> usize {
        let org = scene.org();
        let org_id = scene.sim.org_id();
        let mut shown: BTreeMap<String, Vec<(i64, usize)>> = BTreeMap::new();
        for record in scene.user_changes().await {
            let user = record.json()["user"].clone();
            let (who, title) = (user["id"].as_str().unwrap_or_default(), user["title"].as_str());
            let number = self
                .edits
                .iter()
                .position(|edit| Some(edit.1.as_str()) == title && edit.0 == who);
            if let Some(number) = number {
                let at = record.timestamp_ms.unwrap_or(i64::MAX);
                shown.entry(who.to_owned()).or_default().push((at, number));
            }
        }
        let checkpoint = scene.kafka.read_committed(&scene.topic("user-change.checkpoint")).await;
        let mut owed: BTreeSet<String> = BTreeSet::new();
        let mut looked_at = 0;
        for record in &checkpoint {
            let key = record.key_text();
            if let Some(debtor) = key.strip_prefix(&format!("{org_id}/owed/")) {
                match record.value {
                    Some(_) => owed.insert(debtor.to_owned()),
                    None => owed.remove(debtor),
                };
            }
            if !key.starts_with(&format!("{org_id}/position/")) {
                continue;
            }
            let Some(place) = place(&org, record) else { continue };
            looked_at += 1;
            let passed = usize::try_from(place.saturating_sub(self.began)).unwrap_or(usize::MAX);
            let passed = &self.edits[..passed.min(self.edits.len())];
            let last: BTreeMap<&str, usize> = passed
                .iter()
                .enumerate()
                .map(|(number, (who, _))| (who.as_str(), number))
                .collect();
            let at = record.timestamp_ms.unwrap_or(i64::MIN);
            for (who, number) in last {
                let is_shown = shown
                    .get(who)
                    .is_some_and(|messages| messages.iter().any(|(when, shown)| *when <= at && *shown >= number));
                assert!(
                    is_shown || owed.contains(who) || owed.contains("all"),
                    "the position at offset {} is past edit {number} of {who}, which is neither on the topic nor owed",
                    record.offset
                );
            }
        }
        looked_at
    }
}

/// Where on the bus a position record stands; `None` when it names no replay id, or one that is refused by now.
fn place(org: &salesforce_sim::Org, record: &Record) -> Option<u64> {
    let value: Value = serde_json::from_slice(record.value.as_deref()?).ok()?;
    let id = BASE64.decode(value["replayId"].as_str()?).ok()?;
    org.bus_place_after(&id)
}
