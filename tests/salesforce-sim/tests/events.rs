//! What change events say: kinds, bodies, bitmaps, merging, faults. Facts sections 2 and 3.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Bus, Event, Rest, Stream, names, small};
use salesforce_sim::{FieldDef, FieldKind, Gap, Sim, SimConfig, SimUser, Undecodable};
use serde_json::{Value, json};

async fn listening() -> (Sim, Bus, Stream) {
    let sim = small().await;
    let mut bus = Bus::new(&sim).await;
    let stream = bus.latest(&sim, 100).await;
    (sim, bus, stream)
}

async fn next(bus: &mut Bus, stream: &mut Stream) -> Event {
    let event = stream.events(1).await.remove(0);
    bus.decode(&event).await
}

fn people(sim: &Sim) -> Vec<SimUser> {
    let mut people = sim.org().users();
    people.retain(|user| user.text("UserType") == Some("Standard") && user.is_active());
    people.split_off(people.len() - 5)
}

#[tokio::test]
async fn an_update_by_rest_names_what_changed_and_nothing_else() {
    let (sim, mut bus, mut stream) = listening().await;
    let user = people(&sim).remove(0);
    let rest = Rest::new(&sim);
    let body = json!({"LastName": "O'Brien-Łuczak", "Department": null, "City": "Kraków", "Level__c": 7.5});
    let (status, _) = rest
        .send("PATCH", &format!("/sobjects/User/{}", user.id), Some(body))
        .await;
    assert_eq!(status, 204);
    let event = next(&mut bus, &mut stream).await;
    assert_eq!(event.header("entityName"), "User");
    assert_eq!(event.header("recordIds"), json!([user.id]));
    assert_eq!(event.header("changeType"), "UPDATE");
    assert_eq!(event.header("changeOrigin"), "com/salesforce/api/rest/66.0;client=");
    assert_eq!(event.header("commitUser"), sim.org().integration_user_id());
    assert!(event.header("commitNumber").as_i64().unwrap() > 1 << 53);
    assert_eq!(
        event.changed(),
        names(&[
            "Name.LastName",
            "Department",
            "Address.City",
            "Level__c",
            "LastModifiedDate",
            "LastModifiedById"
        ])
    );
    assert_eq!(event.nulled(), names(&["Department"]));
    assert_eq!(
        event.get("Name"),
        json!({"Salutation": null, "FirstName": null, "LastName": "O'Brien-Łuczak"})
    );
    assert_eq!(event.get("Address")["City"], "Kraków");
    assert_eq!(event.get("Level__c"), 7.5);
    assert_eq!(event.get("Username"), Value::Null);
    assert_eq!(event.get("Email"), Value::Null);
    // The same author again: who modified is not new, when is.
    let path = format!("/sobjects/User/{}", user.id);
    rest.send("PATCH", &path, Some(json!({"IsActive": false}))).await;
    let event = next(&mut bus, &mut stream).await;
    assert_eq!(event.changed(), names(&["IsActive", "LastModifiedDate"]));
    assert_eq!(event.get("IsActive"), false);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_creation_has_full_values_and_no_changed_fields() {
    let (sim, mut bus, mut stream) = listening().await;
    let id = sim
        .org()
        .create_user(json!({
            "Username": "zoë@example.com", "FirstName": "Zoë", "LastName": "山田", "Termination_Date__c": "2031-12-31",
            "Record_Calls__c": true,
        }))
        .unwrap();
    let event = next(&mut bus, &mut stream).await;
    assert_eq!(event.header("changeType"), "CREATE");
    assert_eq!(event.header("recordIds"), json!([id]));
    assert!(event.changed().is_empty());
    assert_eq!(event.get("Username"), "zoë@example.com");
    assert_eq!(
        event.get("Name"),
        json!({"Salutation": null, "FirstName": "Zoë", "LastName": "山田"})
    );
    assert_eq!(event.get("UserType"), "Standard");
    assert_eq!(event.get("Termination_Date__c"), 1_956_441_600_000_i64);
    assert_eq!(event.get("Record_Calls__c"), true);
    assert_eq!(event.get("UserPreferences"), json!([]));
    sim.shutdown().await;
}

#[tokio::test]
async fn equal_changes_of_one_transaction_are_one_event() {
    let (sim, mut bus, mut stream) = listening().await;
    let people = people(&sim);
    let changes: Vec<(String, Value)> = people
        .iter()
        .enumerate()
        .map(|(index, user)| {
            let department = if index == 4 { "Other" } else { "Merged" };
            (user.id.clone(), json!({"Department": department}))
        })
        .collect();
    sim.org().update_users_in_one_transaction(&changes).unwrap();
    let first = next(&mut bus, &mut stream).await;
    let second = next(&mut bus, &mut stream).await;
    assert_eq!(first.header("recordIds").as_array().unwrap().len(), 4);
    assert_eq!(second.header("recordIds"), json!([people[4].id]));
    assert_eq!(first.header("transactionKey"), second.header("transactionKey"));
    assert_eq!(
        (first.header("sequenceNumber"), second.header("sequenceNumber")),
        (json!(1), json!(2))
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn a_transaction_with_one_refusal_changes_nothing() {
    let (sim, _bus, mut stream) = listening().await;
    let people = people(&sim);
    let taken = people[1].text("Username").unwrap().to_uppercase();
    let changes = vec![
        (people[2].id.clone(), json!({"Department": "Half"})),
        (people[0].id.clone(), json!({"Username": taken})),
    ];
    let refusal = sim.org().update_users_in_one_transaction(&changes).unwrap_err();
    assert_eq!(refusal.code, "DUPLICATE_USERNAME");
    assert_eq!(sim.org().user(&people[2].id), Some(people[2].clone()));
    sim.org().update_user(&people[3].id, json!({"Title": "Mark"})).unwrap();
    assert_eq!(stream.events(1).await.len(), 1);
    sim.shutdown().await;
}

#[tokio::test]
async fn portal_users_can_be_deleted_and_come_back() {
    let (sim, mut bus, mut stream) = listening().await;
    let org = sim.org();
    let portal = org
        .users()
        .into_iter()
        .find(|user| user.text("UserType") == Some("CspLitePortal"))
        .unwrap();
    assert_eq!(
        org.delete_user(&people(&sim)[0].id).unwrap_err().code,
        "INSUFFICIENT_ACCESS_OR_READONLY"
    );
    org.delete_user(&portal.id).unwrap();
    let event = next(&mut bus, &mut stream).await;
    assert_eq!(event.header("changeType"), "DELETE");
    assert_eq!(event.get("Username"), Value::Null);
    assert!(org.user(&portal.id).is_none());
    org.undelete_user(&portal.id).unwrap();
    let event = next(&mut bus, &mut stream).await;
    assert_eq!(event.header("changeType"), "UNDELETE");
    assert_eq!(event.get("Username"), portal.fields["Username"]);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_field_hidden_from_the_integration_user_is_null_in_events_and_unknown_to_rest() {
    let (sim, mut bus, mut stream) = listening().await;
    let user = people(&sim).remove(0);
    sim.org().hide_fields(&["Department", "Badge__c"]);
    // The administrator may write it all the same; the event then says that it changed and not to what.
    sim.org()
        .update_user(&user.id, json!({"Title": "Seen", "Department": "Unseen"}))
        .unwrap();
    let event = next(&mut bus, &mut stream).await;
    assert_eq!(event.get("Title"), "Seen");
    assert_eq!(event.get("Department"), Value::Null);
    assert!(event.changed().contains("Department") && event.nulled().is_empty());
    sim.org()
        .create_user(json!({"Username": "x@example.com", "LastName": "X", "Department": "Unseen"}))
        .unwrap();
    assert_eq!(next(&mut bus, &mut stream).await.get("Department"), Value::Null);
    let path = format!("/sobjects/User/{}", user.id);
    let (_, refused) = Rest::new(&sim)
        .send("PATCH", &path, Some(json!({"Department": "Mine"})))
        .await;
    assert_eq!(refused[0]["errorCode"], "INVALID_FIELD");
    let rest = Rest::new(&sim);
    assert_eq!(rest.query_error("SELECT Department FROM User").await, "INVALID_FIELD");
    assert_eq!(
        rest.query_error("SELECT Id FROM User WHERE Badge__c = 'x'").await,
        "INVALID_FIELD"
    );
    let (_, described) = rest.get("/sobjects/User/describe").await;
    let fields = described["fields"].as_array().unwrap();
    assert!(fields.iter().all(|field| field["name"] != "Department"));
    assert!(fields.iter().any(|field| field["name"] == "Title"));
    sim.shutdown().await;
}

#[tokio::test]
async fn many_custom_fields_make_bitmaps_of_more_than_64_bits() {
    let mut config = SimConfig {
        users: 30,
        ..SimConfig::default()
    };
    config
        .custom_fields
        .extend((0..90).map(|number| FieldDef::custom(&format!("Extra_{number}__c"), FieldKind::Text)));
    let sim = Sim::start(config).await.unwrap();
    let mut bus = Bus::new(&sim).await;
    let mut stream = bus.latest(&sim, 10).await;
    let user = people(&sim).remove(0);
    sim.org()
        .update_user(&user.id, json!({"Extra_89__c": "last", "Extra_0__c": "first"}))
        .unwrap();
    let event = next(&mut bus, &mut stream).await;
    let changed = event.changed();
    assert!(changed.contains("Extra_89__c") && changed.contains("Extra_0__c"));
    assert_eq!(event.get("Extra_89__c"), "last");
    assert!(event.header("changedFields")[0].as_str().unwrap().len() > 2 + 16);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_schema_changes_mid_stream_and_old_events_keep_theirs() {
    let (sim, mut bus, mut stream) = listening().await;
    let user = people(&sim).remove(0);
    let org = sim.org();
    org.update_user(&user.id, json!({"Title": "before"})).unwrap();
    org.faults().add_user_field("Pronouns", FieldKind::Picklist);
    org.faults().add_change_type("REDACT");
    org.update_user(&user.id, json!({"Pronouns": "they"})).unwrap();
    org.faults().emit_header_only("REDACT", &[&user.id]);
    let events = stream.events(3).await;
    let schema_of = |index: usize| events[index].event.as_ref().unwrap().schema_id.clone();
    assert_ne!(schema_of(0), schema_of(1));
    assert_eq!(bus.decode(&events[0]).await.get("Title"), "before");
    assert!(bus.decode(&events[1]).await.changed().contains("Pronouns"));
    assert_eq!(bus.decode(&events[2]).await.header("changeType"), "REDACT");
    sim.shutdown().await;
}

#[tokio::test]
async fn gaps_overflow_and_wildcards_come_without_a_body() {
    let (sim, mut bus, mut stream) = listening().await;
    let org = sim.org();
    let ids: Vec<String> = people(&sim).into_iter().map(|user| user.id).collect();
    for (gap, name) in [
        (Gap::Create, "GAP_CREATE"),
        (Gap::Update, "GAP_UPDATE"),
        (Gap::Delete, "GAP_DELETE"),
        (Gap::Undelete, "GAP_UNDELETE"),
    ] {
        org.faults().emit_gap(gap, &[&ids[0], &ids[1]]);
        let event = next(&mut bus, &mut stream).await;
        assert_eq!(event.header("changeType"), name);
        assert_eq!(event.header("recordIds"), json!([ids[0], ids[1]]));
        assert_eq!(event.get("LastModifiedDate"), Value::Null);
    }
    org.faults().emit_overflow();
    let event = next(&mut bus, &mut stream).await;
    assert_eq!(
        (event.header("changeType"), event.header("recordIds")),
        (json!("GAP_OVERFLOW"), json!(["000000000000000AAA"]))
    );
    org.faults().emit_wildcard();
    assert_eq!(next(&mut bus, &mut stream).await.header("recordIds"), json!(["005*"]));
    sim.shutdown().await;
}

#[tokio::test]
async fn events_are_lost_repeated_and_broken_to_order() {
    let (sim, mut bus, mut stream) = listening().await;
    let org = sim.org();
    let user = people(&sim).remove(0);
    org.faults().lose_next_events(1);
    org.update_user(&user.id, json!({"Title": "lost"})).unwrap();
    org.update_user(&user.id, json!({"Title": "seen"})).unwrap();
    let seen = stream.events(1).await.remove(0);
    assert_eq!(bus.decode(&seen).await.get("Title"), "seen");
    org.faults().deliver_again(1);
    let again = stream.events(1).await.remove(0);
    assert_eq!(again, seen);
    org.faults().emit_undecodable(Undecodable::Body, &[&user.id]);
    org.faults().emit_undecodable(Undecodable::Garbage, &[&user.id]);
    let broken = stream.events(2).await;
    let schema = bus.schema(&seen.event.as_ref().unwrap().schema_id).await;
    for event in broken {
        let payload = event.event.unwrap().payload;
        let reader = apache_avro::reader::datum::GenericDatumReader::builder(&schema)
            .build()
            .unwrap();
        assert!(reader.read_value(&mut &payload[..]).is_err());
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn freezing_makes_no_event() {
    let (sim, mut bus, mut stream) = listening().await;
    let people = people(&sim);
    let rest = Rest::new(&sim);
    let logins = rest
        .records(&format!("SELECT Id FROM UserLogin WHERE UserId = '{}'", people[0].id))
        .await;
    let path = format!("/sobjects/UserLogin/{}", logins[0]["Id"].as_str().unwrap());
    assert_eq!(rest.send("PATCH", &path, Some(json!({"IsFrozen": true}))).await.0, 204);
    sim.org().update_user(&people[1].id, json!({"Title": "mark"})).unwrap();
    assert_eq!(
        next(&mut bus, &mut stream).await.header("recordIds"),
        json!([people[1].id])
    );
    let frozen = rest
        .records("SELECT UserId, User.Username FROM UserLogin WHERE IsFrozen = true")
        .await;
    assert_eq!(frozen.len(), 1);
    assert_eq!(frozen[0]["User"]["Username"], people[0].fields["Username"]);
    sim.shutdown().await;
}
