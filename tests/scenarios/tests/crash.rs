//! Both services killed in the middle of the work, on a real Kafka, against a target that records every request.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::time::Duration;

use salesforce_sim::{SimConfig, SimUser};
use scenarios::{Scene, TargetSpec, eventually, eventually_none, recording_target};
use serde_json::{Value, json};

const USERS: usize = 5_000;
const CHANGES: usize = 2_000;

fn report_source() -> Value {
    json!({ "snapshot": { "source": "report", "report": { "name": "All Users" } }, "recheck": { "every": "15s", "grace": "2s" } })
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_the_work_both_go_on_where_the_topics_say() {
    let scene = Scene::set(SimConfig {
        users: USERS,
        seed: 21,
        ..SimConfig::default()
    })
    .await;
    let target = recording_target().await;
    let policy = json!({ "pace": { "perSecond": 2000, "concurrency": 16 } });
    scene.policy(&[TargetSpec {
        name: "helpdesk",
        base_url: target.base_url(),
        policy,
    }]);
    let ingest = scene.ingest("ingest", &report_source()).await;
    let apply = scene.apply("apply").await;
    eventually_none("5,000 people through the report", || async {
        scene.differences(&target.users())
    })
    .await;
    assert!(
        scene.org().request_log().count("POST", "/analytics/reports/{id}") >= 3,
        "more than 2,000 rows take several runs"
    );

    // 2,000 changes; both services are killed a third and two thirds through.
    let org = scene.org();
    let own = [org.admin_id(), org.integration_user_id()];
    let people: Vec<SimUser> = scene
        .members()
        .into_iter()
        .filter(|user| !own.contains(&user.id))
        .collect();
    let mut ingest = ingest;
    let mut apply = apply;
    for number in 0..CHANGES {
        let person = &people[(number * 7919) % people.len()];
        let edit = match number % 10 {
            0 => json!({ "IsActive": false }),
            1 => json!({ "IsActive": true }),
            2 => json!({ "Email": format!("crash+{number}@acme.example") }),
            3 => json!({ "LastName": format!("O'Neil {number}") }),
            _ => json!({ "Title": format!("Title {number}") }),
        };
        org.update_user(&person.id, edit).unwrap();
        if number.is_multiple_of(50) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if number == CHANGES / 3 || number == CHANGES * 2 / 3 {
            ingest.process.sigkill();
            apply.process.sigkill();
            ingest = scene.ingest("ingest-again", &report_source()).await;
            apply = scene.apply("apply-again").await;
        }
    }
    eventually_none("the target equals the org again", || async {
        scene.differences(&target.users())
    })
    .await;

    let twice: Vec<String> = target
        .created_count_by_external_id()
        .into_iter()
        .filter(|(_, count)| *count > 1)
        .map(|(id, _)| id)
        .collect();
    assert!(twice.is_empty(), "created twice: {twice:?}");
    assert_eq!(
        target.max_writes_in_flight_per_user(),
        1,
        "never two actions in flight for one person"
    );
    scene.assert_versions_rise_by_one().await;
    scene.assert_contract_holds(USERS as u64 * 8 / 10).await;

    // Restarted with nothing to do: nothing is written.
    eventually("both are idle", || async {
        let (one, other) = (ingest.status().await, apply.status().await);
        let lane = &other["targets"]["helpdesk"]["lane"];
        if one["idle"] == json!(true) && lane["pending"] == json!(0) {
            Ok(())
        } else {
            Err(format!("{one} {other}"))
        }
    })
    .await;
    ingest.stop().await;
    apply.stop().await;
    target.reset_log();
    let ingest = scene.ingest("ingest-third", &report_source()).await;
    let apply = scene.apply("apply-third").await;
    eventually("everybody was planned again", || async {
        let status = apply.status().await;
        let lane = &status["targets"]["helpdesk"]["lane"];
        let links = lane["links"].as_u64().unwrap_or(0);
        if links > 0 && lane["pending"] == json!(0) && lane["reconciledAt"].is_string() && ingest.ready().await {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    let writes = target.writes();
    assert!(
        writes.is_empty(),
        "{} writes, the first: {:?}",
        writes.len(),
        writes.first()
    );
    apply.stop().await;
    ingest.stop().await;
}
