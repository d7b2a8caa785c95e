//! The simulator's schema beside schemas that live orgs served, where those are at hand: same header, same shapes, same `doc`
//! texts. Passes without them: they are not part of the repository.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{collections::BTreeSet, fs, path::PathBuf};

use common::{Bus, TOPIC, small};
use salesforce_sim::eventbus::{SchemaRequest, TopicRequest};
use serde_json::Value;

fn captured() -> Vec<Value> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/avro");
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let texts = entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    texts.map(|text| serde_json::from_str(&text).unwrap()).collect()
}

fn field<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema["fields"]
        .as_array()
        .unwrap()
        .iter()
        .find(|field| field["name"] == name)
}

#[tokio::test]
async fn fields_that_objects_share_look_as_live_orgs_have_them() {
    let sim = small().await;
    let mut bus = Bus::new(&sim).await;
    let topic = bus.request(TopicRequest {
        topic_name: TOPIC.to_owned(),
    });
    let schema_id = bus.client.get_topic(topic).await.unwrap().into_inner().schema_id;
    let request = bus.request(SchemaRequest { schema_id });
    let json = bus.client.get_schema(request).await.unwrap().into_inner().schema_json;
    let own: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&own["name"], &own["namespace"]),
        (&"UserChangeEvent".into(), &"com.sforce.eventbus".into())
    );
    for live in captured() {
        assert_eq!(live["namespace"], own["namespace"]);
        assert_eq!(
            field(&own, "ChangeEventHeader"),
            field(&live, "ChangeEventHeader"),
            "{}",
            live["name"]
        );
        let names: BTreeSet<&str> = own["fields"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|f| f["name"].as_str())
            .collect();
        let mut compared = 0;
        for name in names {
            let (Some(ours), Some(theirs)) = (field(&own, name), field(&live, name)) else {
                continue;
            };
            // A custom field is whatever its org made it; Account's Name may be a company's.
            if name.ends_with("__c") || (name == "Name" && live["name"] == "AccountChangeEvent") {
                continue;
            }
            assert_eq!(ours, theirs, "{name} of {}", live["name"]);
            compared += 1;
        }
        assert!(compared > 4, "{} shares only {compared} fields", live["name"]);
    }
    sim.shutdown().await;
}
