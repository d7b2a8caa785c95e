//! Every source gives the same people, and an answer that is cut, shrunken, edited under the reader or refused removes nobody.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::collections::BTreeMap;

use salesforce_sim::{ReportDefinition, ReportEdit, ReportFilter, ReportFormat, SimConfig};
use scenarios::{OPERATOR, Scene, Service, eventually};
use serde_json::{Value, json};

async fn scene(config: SimConfig) -> Scene {
    Scene::set(SimConfig { seed: 71, ..config }).await
}

/// Only what a scenario is about may run: rechecks are as good as off.
async fn ingest(scene: &Scene, name: &str, snapshot: Value) -> Service {
    let change = json!({ "snapshot": snapshot, "recheck": { "every": "10h" }, "polls": { "groups": false, "permissionSets": false, "frozen": false, "names": false },
        "http": { "tokensFile": scene.tokens_file() } });
    scene.ingest(name, &change).await
}

/// Asks for a snapshot; gives what the service said.
async fn reimport(ingest: &Service) -> String {
    let answer = reqwest::Client::new()
        .post(format!("{}/v1/reimport", ingest.url))
        .bearer_auth(OPERATOR)
        .send()
        .await
        .unwrap();
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(status, 202, "{body}");
    body["result"].as_str().unwrap().to_owned()
}

/// Waits until the log speaks of the end of a survey after `mark`; gives the line.
async fn survey_ended(ingest: &Service, mark: usize, words: &str) -> String {
    let said = |line: &str| line.contains(words) && line.contains("survey is");
    let line = ingest
        .process
        .wait_for_line_after(mark, said, scenarios::PATIENCE)
        .await;
    line.to_string()
}

/// Whether the log says that a survey of this kind begins.
fn begins(line: &str, kind: &str) -> bool {
    line.contains("survey begins") && line.contains(kind)
}

/// The newest state of everyone on the topic, and how many messages there are.
async fn states(scene: &Scene) -> (BTreeMap<String, Value>, usize) {
    let records = scene.user_changes().await;
    let mut states = BTreeMap::new();
    for record in &records {
        let user = record.json()["user"].clone();
        states.insert(user["id"].as_str().unwrap().to_owned(), user);
    }
    (states, records.len())
}

async fn assert_nobody_left(scene: &Scene) {
    let members: Vec<String> = scene.members().into_iter().map(|user| user.id.to_string()).collect();
    let (states, _) = states(scene).await;
    for id in members {
        let state = &states[&id];
        assert_eq!(
            (&state["removed"], state["listed"] == json!(false)),
            (&json!(false), false),
            "{state}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_job_of_5000_people_says_what_the_query_says() {
    let scene = scene(SimConfig {
        users: 5_000,
        ..SimConfig::default()
    })
    .await;
    let org = scene.org();
    // The first job fails at Salesforce's side; the next one is begun by itself.
    org.faults().fail_bulk_jobs(1);
    let bulk = ingest(
        &scene,
        "bulk",
        json!({ "source": "bulk", "bulk": { "pageRecords": 1500 } }),
    )
    .await;
    let status = bulk.settled().await;
    let members = scene.members();
    assert_eq!(status["snapshot"]["lastRows"], json!(members.len()));
    assert_eq!(status["snapshot"]["problem"], Value::Null);
    let (by_bulk, messages) = states(&scene).await;
    assert_eq!(
        (by_bulk.len(), messages),
        (members.len(), members.len()),
        "one message each"
    );
    assert_eq!(org.request_log().count("POST", "/jobs/query"), 2);
    assert_eq!(
        org.request_log().count("DELETE", "/jobs/query/{id}"),
        2,
        "nothing of ours stays there"
    );
    assert!(org.request_log().count("GET", "/jobs/query/{id}/results") >= 3);
    bulk.stop().await;

    let query = ingest(&scene, "query", json!({ "source": "query" })).await;
    query.settled().await;
    // The query loses its cursor in the middle and is run again.
    org.faults().lose_cursors(1);
    let mark = query.process.output().mark();
    reimport(&query).await;
    survey_ended(&query, mark, "survey is complete").await;
    query.settled().await;
    let (by_query, messages) = states(&scene).await;
    assert_eq!(by_query, by_bulk);
    assert_eq!(messages, members.len(), "the query had nothing to add");
    query.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stops_leaves_no_bulk_job_behind_and_the_next_one_begins_its_own() {
    let scene = scene(SimConfig {
        users: 60,
        ..SimConfig::default()
    })
    .await;
    let org = scene.org();
    org.faults().set_latency(std::time::Duration::from_millis(300));
    let first = ingest(&scene, "first", json!({ "source": "bulk" })).await;
    eventually("the job is looked at", || async {
        let looks = org.request_log().count("GET", "/jobs/query/{id}");
        if looks > 0 { Ok(()) } else { Err(looks.to_string()) }
    })
    .await;
    first.stop().await;
    assert_eq!(org.request_log().count("PATCH", "/jobs/query/{id}"), 1, "aborted");
    assert_eq!(org.request_log().count("DELETE", "/jobs/query/{id}"), 1, "and removed");
    org.faults().set_latency(std::time::Duration::ZERO);
    let second = ingest(&scene, "second", json!({ "source": "bulk" })).await;
    second.settled().await;
    assert_eq!(org.request_log().count("POST", "/jobs/query"), 2);
    assert_eq!(states(&scene).await.0.len(), scene.members().len());
    scene.assert_versions_rise_by_one().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_many_pages_waits_for_the_orgs_limit_and_lists_everyone() {
    let scene = scene(SimConfig {
        users: 150,
        max_report_rows: 40,
        hourly_report_runs: 3,
        report_hour: std::time::Duration::from_secs(4),
        ..SimConfig::default()
    })
    .await;
    let ingest = ingest(
        &scene,
        "ingest",
        json!({ "source": "report", "report": { "name": "All Users" } }),
    )
    .await;
    eventually("the status says what is waited for", || async {
        let status = ingest.status().await;
        let waiting = status["snapshot"]["waiting"].as_str().unwrap_or_default().to_owned();
        let expected = status["snapshot"]["expectedRows"] == json!(scene.org().user_ids().len());
        if waiting.contains("hourly report runs are used up") && expected {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    let status = ingest.settled().await;
    assert_eq!(
        status["snapshot"]["lastRows"],
        json!(scene.org().user_ids().len()),
        "every row of every page"
    );
    let (states, _) = states(&scene).await;
    for member in scene.members() {
        assert_eq!(states[&*member.id]["listed"], json!(true), "{}", member.id);
    }
    assert_eq!(
        states.len(),
        scene.members().len(),
        "the report does not decide about the population"
    );
    scene.assert_versions_rise_by_one().await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_is_cut_edited_or_shrunken_removes_nobody() {
    let scene = scene(SimConfig {
        users: 120,
        max_report_rows: 40,
        ..SimConfig::default()
    })
    .await;
    let org = scene.org();
    let report = org.report_id("Spinify Reports", "All Users").unwrap();
    let ingest = ingest(
        &scene,
        "ingest",
        json!({ "source": "report", "report": { "id": report } }),
    )
    .await;
    ingest.settled().await;

    let some = ReportFilter {
        column: "USERNAME".into(),
        operator: "startsWith".into(),
        value: "a".into(),
    };
    // Column and filter change after the second page of the run.
    for edit in [ReportEdit::Column("DEPT".into()), ReportEdit::Filter(some.clone())] {
        org.faults().edit_report_after(2, edit);
        let mark = ingest.process.output().mark();
        reimport(&ingest).await;
        let line = survey_ended(&ingest, mark, "changed while it was read").await;
        assert!(line.contains("survey is incomplete"), "{line}");
        org.replace_report(&report, ReportDefinition::all_users());
    }
    // Cut so short that it cannot be paged.
    org.faults().truncate_reports(Some(1));
    let mark = ingest.process.output().mark();
    reimport(&ingest).await;
    survey_ended(&ingest, mark, "so it cannot be read page by page").await;
    org.faults().truncate_reports(None);
    // Read to its end, and far smaller than the last one; then empty.
    for value in ["a", "nobody has this"] {
        let filters = vec![ReportFilter {
            value: value.to_owned(),
            ..some.clone()
        }];
        org.replace_report(
            &report,
            ReportDefinition {
                filters,
                ..ReportDefinition::all_users()
            },
        );
        let mark = ingest.process.output().mark();
        reimport(&ingest).await;
        survey_ended(&ingest, mark, "Report").await;
        eventually("the status says that it proves nothing", || async {
            let problem = ingest.status().await["snapshot"]["problem"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if problem.contains("incomplete") {
                Ok(())
            } else {
                Err(problem)
            }
        })
        .await;
    }
    assert_nobody_left(&scene).await;
    // Whole again: the problem is over, and still nobody has left.
    org.replace_report(&report, ReportDefinition::all_users());
    reimport(&ingest).await;
    eventually("the snapshot is complete", || async {
        let status = ingest.status().await;
        let well = status["idle"] == json!(true) && status["snapshot"]["problem"] == Value::Null;
        if well { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    assert_nobody_left(&scene).await;
    scene.assert_versions_rise_by_one().await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_reimport_joins_and_a_shrunken_query_removes_nobody() {
    let scene = scene(SimConfig {
        users: 100,
        query_batch: 20,
        ..SimConfig::default()
    })
    .await;
    let org = scene.org();
    let ingest = ingest(&scene, "ingest", json!({ "source": "query" })).await;
    ingest.settled().await;
    org.faults().set_latency(std::time::Duration::from_millis(200));
    let calls = org.request_log().count("GET", "/query");
    let mark = ingest.process.output().mark();
    assert!(!reimport(&ingest).await.contains("joins"));
    assert!(reimport(&ingest).await.contains("this request joins it"));
    survey_ended(&ingest, mark, "survey is complete").await;
    ingest.settled().await;
    assert_eq!(
        org.request_log().count("GET", "/query"),
        calls + 2,
        "one count and one query for both requests"
    );
    org.faults().set_latency(std::time::Duration::ZERO);

    // Half of the people seem to be gone, and no event says why.
    let before = scene.members();
    for person in before.iter().take(before.len() / 2) {
        org.faults().lose_next_events(1);
        org.update_user(&person.id, json!({ "Email": "gone@example.invalid" }))
            .unwrap();
    }
    let mark = ingest.process.output().mark();
    reimport(&ingest).await;
    survey_ended(&ingest, mark, "Query").await;
    eventually("the status says that the snapshot proves nothing", || async {
        let problem = ingest.status().await["snapshot"]["problem"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if problem.contains("more than 20 % apart") {
            Ok(())
        } else {
            Err(problem)
        }
    })
    .await;
    let (states, _) = states(&scene).await;
    for person in before {
        assert_eq!(states[&*person.id]["removed"], json!(false), "{}", person.id);
    }
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reimport_that_is_not_believed_is_read_once_and_keeps_no_recheck_from_running() {
    let scene = scene(SimConfig {
        users: 60,
        ..SimConfig::default()
    })
    .await;
    let org = scene.org();
    let config = json!({ "snapshot": { "source": "query" }, "recheck": { "every": "1s", "grace": "0s", "overlap": "5s" },
        "polls": { "groups": false, "permissionSets": false, "frozen": false, "names": false },
        "http": { "tokensFile": scene.tokens_file() } });
    let ingest = scene.ingest("ingest", &config).await;
    ingest.settled().await;
    let before = scene.members();
    for person in before.iter().take(before.len() / 2) {
        org.faults().lose_next_events(1);
        org.update_user(&person.id, json!({ "Email": "gone@example.invalid" }))
            .unwrap();
    }
    let output = ingest.process.output();
    let asked = output.mark();
    assert!(!reimport(&ingest).await.contains("joins"));
    let patience = scenarios::PATIENCE;
    ingest
        .process
        .wait_for_line_after(asked, |line| begins(line, "Query"), patience)
        .await;
    // Whatever is due for ever would come before them.
    for _ in 0..3 {
        let mark = output.mark();
        ingest
            .process
            .wait_for_line_after(mark, |line| begins(line, "Recheck"), patience)
            .await;
    }
    let lines = output.lines();
    let listings = lines[asked..].iter().filter(|line| begins(line, "Query")).count();
    assert_eq!(listings, 1, "asked for once, read once");
    let problem = ingest.status().await["snapshot"]["problem"].clone();
    let problem = problem.as_str().unwrap_or_default();
    assert!(problem.contains("reimport --accept-size"), "{problem}");
    let (states, _) = states(&scene).await;
    for person in before {
        assert_eq!(states[&*person.id]["removed"], json!(false), "{}", person.id);
    }
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_what_is_wrong_with_a_report_and_run_does_not_believe_it() {
    let scene = scene(SimConfig {
        users: 30,
        ..SimConfig::default()
    })
    .await;
    let org = scene.org();
    let all = ReportDefinition::all_users;
    let config = |report: Value| scene.ingest_config(&json!({ "snapshot": { "source": "report", "report": report } }));
    let named = |name: &str, change: &dyn Fn(&mut ReportDefinition)| {
        let mut definition = all();
        name.clone_into(&mut definition.name);
        change(&mut definition);
        org.add_report(definition)
    };
    let one = named("Twins", &|_| {});
    let other = named("Twins", &|_| {});
    named("Limited", &|report| report.row_limit = Some(10));
    named("Leads", &|report| report.report_type = "Lead".into());
    named("Elsewhere", &|report| report.folder = "Private".into());
    named("Short", &|report| {
        report.columns.retain(|name| name != "USERS.TIMEZONE")
    });
    for (name, words) in [
        (
            "Twins",
            vec!["2 reports of that name", &one, &other, "snapshot.report.id"],
        ),
        ("Limited", vec!["a row limit of 10; remove it"]),
        ("Leads", vec!["make one of the type Users"]),
        (
            "Elsewhere",
            vec![
                "is not in the folder \"Spinify Reports\"",
                "it lies in \"Private\"",
                "\"All Users\"",
            ],
        ),
        ("Short", vec!["lacks the column Time Zone"]),
    ] {
        let file = config(json!({ "name": name }));
        let (code, output) = scene
            .command("ingest-service", &["--config", file.to_str().unwrap(), "check"])
            .await;
        assert_eq!(code, 1, "{output}");
        for words in words {
            assert!(output.contains(words), "{name}: {words} in {output}");
        }
    }
    // `run` serves, says what is wrong, and does not take the report for a listing.
    let ingest = ingest(
        &scene,
        "ingest",
        json!({ "source": "report", "report": { "name": "Limited" } }),
    )
    .await;
    eventually("the problem is said", || async {
        let status = ingest.status().await;
        let said = status["problems"].to_string().contains("a row limit of 10");
        if said && status["snapshot"]["lastComplete"] == Value::Null {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn run_refuses_reports_that_are_no_listing_of_everybody() {
    let scene = scene(SimConfig {
        users: 20,
        ..SimConfig::default()
    })
    .await;
    let org = scene.org();
    let named = |name: &str, change: &dyn Fn(&mut ReportDefinition)| {
        let mut definition = ReportDefinition::all_users();
        name.clone_into(&mut definition.name);
        change(&mut definition);
        org.add_report(definition);
    };
    named("Grouped", &|report| report.format = ReportFormat::Summary);
    named("Leads", &|report| report.report_type = "Lead".into());
    named("Only active", &|report| {
        report.filters = vec![ReportFilter {
            column: "ACTIVE".into(),
            operator: "equals".into(),
            value: "True".into(),
        }];
    });
    for (name, words) in [
        ("Grouped", "change the format to Tabular"),
        ("Leads", "make one of the type Users"),
        ("Only active", "inactive users must be in it"),
    ] {
        let report = json!({ "source": "report", "report": { "name": name } });
        let service = ingest(&scene, name, report).await;
        eventually(words, || async {
            let status = service.status().await;
            let said = status["problems"].to_string().contains(words);
            if said && status["snapshot"]["lastComplete"] == Value::Null {
                Ok(())
            } else {
                Err(status.to_string())
            }
        })
        .await;
        service.stop().await;
    }
    assert_eq!(
        org.request_log().count("POST", "/analytics/reports/{id}"),
        0,
        "none of them was run"
    );
    let (states, _) = states(&scene).await;
    assert!(
        states
            .values()
            .all(|state| state.get("listed").is_none_or(Value::is_null)),
        "nobody was listed by one"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_snapshot_says_how_far_it_is_in_the_status_and_in_the_log() {
    let scene = scene(SimConfig {
        users: 150,
        query_batch: 15,
        ..SimConfig::default()
    })
    .await;
    let org = scene.org();
    org.faults().set_latency(std::time::Duration::from_millis(1_500));
    let ingest = ingest(&scene, "ingest", json!({ "source": "query" })).await;
    let members = scene.members().len() as u64;
    let status = eventually("the status shows progress", || async {
        let status = ingest.status().await;
        let snapshot = &status["snapshot"];
        if snapshot["rows"].as_u64() > Some(15) && snapshot["expectedEnd"].is_string() {
            Ok(status)
        } else {
            Err(status.to_string())
        }
    })
    .await;
    let snapshot = &status["snapshot"];
    assert_eq!(snapshot["running"], json!("query"), "{status}");
    assert_eq!(snapshot["expectedRows"], json!(members), "{status}");
    let rate = snapshot["rowsPerSecond"].as_f64().unwrap();
    // Fifteen rows in a second and a half at most, the first look a little after the first page.
    assert!(rate > 0.0 && snapshot["rows"].as_u64() < Some(members), "{status}");
    let line = ingest
        .process
        .wait_for_line("survey goes on", scenarios::PATIENCE)
        .await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["expected"], json!(members), "{line}");
    assert!(
        line["rows"].as_u64() > Some(0) && line["rows_per_second"].as_f64() > Some(0.0),
        "{line}"
    );
    assert!(line["ends_at"].is_string(), "{line}");
    org.faults().set_latency(std::time::Duration::ZERO);
    let status = ingest.settled().await;
    assert_eq!(status["snapshot"]["lastRows"], json!(members));
    assert_eq!(
        (&status["snapshot"]["rows"], &status["snapshot"]["running"]),
        (&json!(0), &Value::Null)
    );
    ingest.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_population_that_shrinks_beside_a_report_removes_nobody_until_an_operator_says_that_it_is_right() {
    let scene = scene(SimConfig {
        users: 60,
        ..SimConfig::default()
    })
    .await;
    let org = scene.org();
    let config = json!({ "source": "report", "report": { "name": "All Users" } });
    let ingest = ingest(&scene, "ingest", config).await;
    ingest.settled().await;
    let before = scene.members();
    for person in before.iter().take(before.len() / 2) {
        org.faults().lose_next_events(1);
        org.update_user(&person.id, json!({ "Email": "gone@example.invalid" }))
            .unwrap();
    }
    reimport(&ingest).await;
    eventually(
        "the population is not believed, and the report is read all the same",
        || async {
            let status = ingest.status().await;
            let said = status["problems"]
                .to_string()
                .contains("the last reading of the population is incomplete");
            if said && status["idle"] == json!(true) && status["snapshot"]["running"] == Value::Null {
                Ok(())
            } else {
                Err(status.to_string())
            }
        },
    )
    .await;
    let nobody_removed = |states: &BTreeMap<String, Value>| {
        let there = |id: &str| states[id]["removed"] == json!(false);
        before.iter().all(|person| there(&person.id))
    };
    assert!(nobody_removed(&states(&scene).await.0));
    let (code, said) = ingest
        .ask("POST", "/v1/reimport", OPERATOR, &json!({ "acceptSize": true }))
        .await;
    assert_eq!(code, 202, "{said}");
    eventually("so many at once are held", || async {
        let status = ingest.status().await;
        if status["held"] == json!(before.len() / 2) && status["idle"] == json!(true) {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    assert!(nobody_removed(&states(&scene).await.0));
    ingest.stop().await;
}
