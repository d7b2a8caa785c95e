//! REST and SOQL: shapes, refusals, limits. Facts sections 5, 6 and 9.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;

use common::{Rest, small};
use salesforce_sim::{Permissions, Sim, SimConfig};
use serde_json::{Value, json};

fn ids(records: &[Value]) -> Vec<String> {
    records
        .iter()
        .map(|record| record["Id"].as_str().unwrap().to_owned())
        .collect()
}

fn standard(sim: &Sim) -> salesforce_sim::SimUser {
    sim.org()
        .users()
        .into_iter()
        .rev()
        .find(|user| user.text("UserType") == Some("Standard"))
        .unwrap()
}

#[tokio::test]
async fn errors_are_arrays_and_every_answer_tells_the_usage() {
    let sim = small().await;
    let rest = Rest::new(&sim);
    let url = format!("{}/sobjects/User/005000000000000AAA", rest.base);
    let response = rest.http.get(url).bearer_auth(&rest.token).send().await.unwrap();
    assert_eq!(response.status(), 404);
    assert!(
        response.headers()["Sforce-Limit-Info"]
            .to_str()
            .unwrap()
            .starts_with("api-usage=1/")
    );
    assert_eq!(
        response.json::<Value>().await.unwrap(),
        json!([{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}])
    );
    let other = Rest {
        token: "wrong".into(),
        ..Rest::new(&sim)
    };
    assert_eq!(other.get("/limits").await.1[0]["errorCode"], "INVALID_SESSION_ID");
    assert_eq!(rest.get("/nothing").await.0, 404);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_deleted_user_is_shown_by_query_all_only() {
    let sim = small().await;
    let rest = Rest::new(&sim);
    let portal = sim
        .org()
        .users()
        .into_iter()
        .find(|user| user.text("UserType") == Some("CspLitePortal"))
        .unwrap();
    sim.org().delete_user(&portal.id).unwrap();
    let both = async |condition: &str| {
        let soql = format!("SELECT Id FROM User WHERE {condition}");
        let url = reqwest::Url::parse_with_params(&format!("{}/queryAll", rest.base), [("q", &soql)]).unwrap();
        let answer = rest.http.get(url).bearer_auth(&rest.token).send().await.unwrap();
        let all: Value = answer.json().await.unwrap();
        (
            ids(&rest.records(&soql).await).contains(&portal.id),
            ids(all["records"].as_array().unwrap()).contains(&portal.id),
        )
    };
    assert_eq!(both(&format!("Id IN ('{}')", portal.id)).await, (false, true));
    assert_eq!(both("UserType = 'CspLitePortal'").await, (false, true));
    sim.org().set_permissions(Permissions {
        view_all_users: false,
        ..Permissions::default()
    });
    assert_eq!(
        both("UserType = 'CspLitePortal'").await,
        (false, false),
        "nobody sees more in the bin than elsewhere"
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn datetimes_have_an_offset_without_a_colon_and_parents_are_nested() {
    let sim = small().await;
    let rest = Rest::new(&sim);
    let records = rest
        .records(
            "SELECT Id, CreatedDate, Termination_Date__c, Manager.Username, Manager.Profile.Name, Profile.Name, \
             UserRole.Name FROM User WHERE ManagerId != null AND UserRoleId != null LIMIT 1",
        )
        .await;
    let record = &records[0];
    assert!(record["CreatedDate"].as_str().unwrap().ends_with(".000+0000"));
    assert_eq!(record["attributes"]["type"], "User");
    assert_eq!(record["Profile"]["attributes"]["type"], "Profile");
    assert!(record["Manager"]["Profile"]["Name"].is_string());
    let orphans = rest
        .records("SELECT Manager.Email FROM User WHERE Manager.Email = null LIMIT 1")
        .await;
    assert_eq!(orphans[0]["Manager"], Value::Null);
    sim.shutdown().await;
}

#[tokio::test]
async fn what_soql_does_not_allow_is_refused_with_its_code() {
    let sim = small().await;
    let rest = Rest::new(&sim);
    for (soql, code) in [
        (
            "SELECT Id FROM User WHERE IsActive = true AND Title = 'a' OR Title = 'b'",
            "MALFORMED_QUERY",
        ),
        ("SELECT Id FROM User GROUP BY Title", "MALFORMED_QUERY"),
        ("SELECT Nope FROM User", "INVALID_FIELD"),
        ("SELECT Id FROM Account", "INVALID_TYPE"),
        ("SELECT Id, id FROM User", "INVALID_FIELD"),
        ("SELECT Boss.Email FROM User", "INVALID_FIELD"),
        ("SELECT Id FROM User WHERE IsActive = 'true'", "INVALID_FIELD"),
        ("SELECT Id FROM User WHERE Title = 5", "INVALID_FIELD"),
        ("SELECT Id FROM User WHERE CreatedDate > 2026-01-01", "INVALID_FIELD"),
        (
            "SELECT Id FROM User WHERE Termination_Date__c > 2026-01-01T00:00:00Z",
            "INVALID_FIELD",
        ),
        ("SELECT Id FROM User WHERE AboutMe = 'x'", "INVALID_FIELD"),
        ("SELECT Id FROM User WHERE Id = 'x'", "INVALID_QUERY_FILTER_OPERATOR"),
        (
            "SELECT Id FROM User WHERE IsActive > true",
            "INVALID_QUERY_FILTER_OPERATOR",
        ),
        (
            "SELECT Id FROM User ORDER BY Id OFFSET 2001",
            "NUMBER_OUTSIDE_VALID_RANGE",
        ),
    ] {
        assert_eq!(rest.query_error(soql).await, code, "{soql}");
    }
    let (status, _) = rest
        .query(&format!(
            "SELECT Id FROM User WHERE Title IN ('{}')",
            "x".repeat(17_000)
        ))
        .await;
    assert_eq!(status, 414);
    sim.shutdown().await;
}

#[tokio::test]
async fn conditions_mean_what_the_reference_says() {
    let sim = small().await;
    let org = sim.org();
    let rest = Rest::new(&sim);
    let user = standard(&sim);
    org.update_user(
        &user.id,
        json!({"Title": "O'Neill's 100% \"Lead\"", "Department": null, "Level__c": 42}),
    )
    .unwrap();
    let one = |soql: String| {
        let rest = &rest;
        async move { rest.records(&soql).await.len() }
    };
    let id = &user.id;
    for (condition, expected) in [
        (r"Title = 'o\'neill\'s 100% \'lead\''".to_owned(), 0),
        (r#"Title = 'o\'NEILL\'s 100% \"Lead\"'"#.to_owned(), 1),
        (r"Title LIKE 'o\'n%100\%%'".to_owned(), 1),
        (format!("Id = '{}'", &id[..15]), 1),
        (format!("Id = '{id}' AND Department = null"), 1),
        (format!("Id = '{id}' AND Department != 'Sales'"), 1),
        (format!("Id = '{id}' AND Department NOT IN ('Sales')"), 1),
        (format!("Id = '{id}' AND Department LIKE '%'"), 0),
        (format!("Id = '{id}' AND Level__c >= 42"), 1),
        (format!("Id = '{id}' AND (NOT Level__c > 41)"), 0),
        (
            format!("Id IN ('{id}', '005000000000000AAA') AND LastModifiedDate = TODAY"),
            1,
        ),
        (
            format!("Id = '{id}' AND SystemModstamp >= LAST_N_DAYS:1 AND CreatedDate < TOMORROW"),
            1,
        ),
        (format!("Id = '{id}' AND (Title = null OR Profile.Name LIKE '%')"), 1),
    ] {
        assert_eq!(
            one(format!("SELECT Id FROM User WHERE {condition}")).await,
            expected,
            "{condition}"
        );
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn long_answers_come_in_batches_and_cursors_end() {
    let sim = Sim::start(SimConfig {
        users: 1000,
        query_batch: 300,
        ..SimConfig::default()
    })
    .await
    .unwrap();
    let rest = Rest::new(&sim);
    let (_, first) = rest.query("SELECT Id FROM User ORDER BY Id").await;
    assert_eq!(
        (first["totalSize"].as_u64(), first["done"].as_bool()),
        (Some(1000), Some(false))
    );
    let mut all = ids(first["records"].as_array().unwrap());
    let mut next = first["nextRecordsUrl"].as_str().map(ToOwned::to_owned);
    let first_next = next.clone().unwrap();
    while let Some(url) = next {
        let (status, page) = rest.get(url.strip_prefix("/services/data/v66.0").unwrap()).await;
        assert_eq!(status, 200);
        all.extend(ids(page["records"].as_array().unwrap()));
        next = page["nextRecordsUrl"].as_str().map(ToOwned::to_owned);
    }
    assert_eq!(all, sim.org().user_ids());
    sim.org().faults().expire_query_cursors();
    let (status, body) = rest.get(first_next.strip_prefix("/services/data/v66.0").unwrap()).await;
    assert_eq!(
        (status, body[0]["errorCode"].as_str()),
        (400, Some("INVALID_QUERY_LOCATOR"))
    );
    let unordered = ids(&rest.records("SELECT Id FROM User LIMIT 300").await);
    let mut sorted = unordered.clone();
    sorted.sort();
    assert_ne!(unordered, sorted, "an undefined order must not look defined");
    let (_, count) = rest.query("SELECT COUNT() FROM User WHERE IsActive = false").await;
    assert!(count["totalSize"].as_u64().unwrap() > 10);
    sim.shutdown().await;
}

#[tokio::test]
async fn collections_answer_in_request_order_with_nulls() {
    let sim = small().await;
    let rest = Rest::new(&sim);
    let known = sim.org().user_ids();
    let body = json!({"ids": [known[5], "005000000000000AAA", "junk", &known[2][..15]], "fields": ["Username"]});
    let (status, answer) = rest.send("POST", "/composite/sobjects/User", Some(body)).await;
    assert_eq!(status, 200);
    assert_eq!(answer[0]["Id"], known[5]);
    assert_eq!((&answer[1], &answer[2]), (&Value::Null, &Value::Null));
    assert_eq!(answer[3]["Id"], known[2]);
    let body = json!({"ids": [known[0]], "fields": ["Username", "Nope"]});
    let (status, answer) = rest.send("POST", "/composite/sobjects/User", Some(body)).await;
    assert_eq!((status, answer[0]["errorCode"].as_str()), (400, Some("INVALID_FIELD")));
    let body = json!({"ids": vec![known[0].clone(); 2001], "fields": ["Id"]});
    assert_eq!(rest.send("POST", "/composite/sobjects/User", Some(body)).await.0, 400);
    sim.shutdown().await;
}

#[tokio::test]
async fn writes_are_checked_as_the_vendor_checks_them() {
    let sim = small().await;
    let rest = Rest::new(&sim);
    let user = standard(&sim);
    let profile = user.text("ProfileId").unwrap().to_owned();
    let full = json!({
        "Username": "new.person@example.com", "LastName": "Person", "Email": "new@example.com", "Alias": "newp",
        "CommunityNickname": "newp", "TimeZoneSidKey": "Europe/Paris", "LocaleSidKey": "fr_FR", "LanguageLocaleKey": "fr",
        "EmailEncodingKey": "UTF-8", "ProfileId": profile,
    });
    let (status, made) = rest.send("POST", "/sobjects/User", Some(full.clone())).await;
    assert_eq!((status, made["success"].as_bool()), (201, Some(true)));
    let path = format!("/sobjects/User/{}", made["id"].as_str().unwrap());
    let (_, read) = rest.get(&format!("{path}?fields=Name,IsActive,UserType")).await;
    assert_eq!(
        (&read["Name"], &read["IsActive"], &read["UserType"]),
        (&json!("Person"), &json!(true), &json!("Standard"))
    );
    let with = |field: &str, value: Value| {
        let mut body = full.clone();
        body["Username"] = json!("another@example.com");
        body[field] = value;
        body
    };
    for (body, code) in [
        (full.clone(), "DUPLICATE_USERNAME"),
        (with("Username", json!("NEW.person@Example.com")), "DUPLICATE_USERNAME"),
        (with("Username", json!("no-mail")), "INVALID_EMAIL_ADDRESS"),
        (with("LastName", Value::Null), "REQUIRED_FIELD_MISSING"),
        (with("Alias", json!("much too long")), "STRING_TOO_LONG"),
        (
            with("TimeZoneSidKey", json!("Mars/Olympus")),
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        ),
        (
            with("ManagerId", json!("005000000000000AAA")),
            "INVALID_CROSS_REFERENCE_KEY",
        ),
        (with("ManagerId", json!("boss")), "MALFORMED_ID"),
        (with("Nope__c", json!(1)), "INVALID_FIELD"),
        (
            with("SystemModstamp", json!("2026-01-01T00:00:00Z")),
            "INVALID_FIELD_FOR_INSERT_UPDATE",
        ),
        (with("IsActive", json!("yes")), "JSON_PARSER_ERROR"),
    ] {
        let (status, answer) = rest.send("POST", "/sobjects/User", Some(body)).await;
        assert_eq!((status, answer[0]["errorCode"].as_str()), (400, Some(code)));
    }
    let (status, answer) = rest.send("DELETE", &path, None).await;
    assert_eq!(
        (status, answer[0]["errorCode"].as_str()),
        (400, Some("INSUFFICIENT_ACCESS_OR_READONLY"))
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn groups_and_assignments_are_records_like_others() {
    let sim = small().await;
    let rest = Rest::new(&sim);
    let user = standard(&sim).id;
    let (_, group) = rest
        .send(
            "POST",
            "/sobjects/Group",
            Some(json!({"Name": "Pilots", "Type": "Regular"})),
        )
        .await;
    let link = json!({"GroupId": group["id"], "UserOrGroupId": user});
    let (status, member) = rest.send("POST", "/sobjects/GroupMember", Some(link.clone())).await;
    assert_eq!(status, 201);
    assert_eq!(
        rest.send("POST", "/sobjects/GroupMember", Some(link)).await.1[0]["errorCode"],
        "DUPLICATE_VALUE"
    );
    let rows = rest
        .records("SELECT Group.Name, UserOrGroupId FROM GroupMember WHERE Group.Name = 'Pilots'")
        .await;
    assert_eq!((rows.len(), &rows[0]["UserOrGroupId"]), (1, &json!(user)));
    let path = format!("/sobjects/GroupMember/{}", member["id"].as_str().unwrap());
    assert_eq!(rest.send("DELETE", &path, None).await.0, 204);
    let hidden = rest
        .records("SELECT Id FROM PermissionSet WHERE IsOwnedByProfile = true")
        .await;
    assert!(!hidden.is_empty());
    let assigned = rest
        .records("SELECT AssigneeId, PermissionSet.Name FROM PermissionSetAssignment WHERE PermissionSet.IsOwnedByProfile = false")
        .await;
    assert!(!assigned.is_empty());
    sim.shutdown().await;
}

#[tokio::test]
async fn quotas_permissions_and_ordered_failures_answer_as_errors() {
    let sim = Sim::start(SimConfig {
        users: 20,
        daily_api_requests: 3,
        ..SimConfig::default()
    })
    .await
    .unwrap();
    let rest = Rest::new(&sim);
    let org = sim.org();
    let error = |answer: (u16, Value)| (answer.0, answer.1[0]["errorCode"].as_str().unwrap_or("-").to_owned());
    org.faults().fail_next_rest(1, 503, "SERVER_UNAVAILABLE");
    assert_eq!(error(rest.get("/limits").await), (503, "SERVER_UNAVAILABLE".into()));
    org.faults().html_next_rest(1, 503);
    let (status, page) = rest.get("/limits").await;
    assert!(status == 503 && page.as_str().unwrap().contains("<html>"));
    org.set_permissions(Permissions {
        view_setup: false,
        ..org.permissions()
    });
    assert_eq!(error(rest.get("/limits").await), (403, "INSUFFICIENT_ACCESS".into()));
    org.set_permissions(Permissions::default());
    let (_, limits) = rest.get("/limits").await;
    assert_eq!(limits["DailyApiRequests"], json!({"Max": 3, "Remaining": 1}));
    rest.get("/limits").await;
    assert_eq!(error(rest.get("/limits").await), (403, "REQUEST_LIMIT_EXCEEDED".into()));
    assert_eq!(org.request_log().count("GET", "/limits"), 6);
    sim.shutdown().await;
}

#[tokio::test]
async fn bulk_jobs_are_polled_and_read_page_by_page() {
    let sim = small().await;
    let rest = Rest::new(&sim);
    let job = json!({"operation": "query", "query": "SELECT Id, Name, Manager.Email, CreatedDate FROM User"});
    let (_, job) = rest.send("POST", "/jobs/query", Some(job)).await;
    let path = format!("/jobs/query/{}", job["id"].as_str().unwrap());
    assert_eq!(job["state"], "UploadComplete");
    let mut states = BTreeSet::new();
    while rest.get(&path).await.1["state"] != "JobComplete" {
        states.insert("waiting");
    }
    assert!(!states.is_empty());
    let (mut locator, mut rows) = (String::new(), 0);
    loop {
        let url = format!("{}{path}/results?maxRecords=25{locator}", rest.base);
        let response = rest.http.get(url).bearer_auth(&rest.token).send().await.unwrap();
        let next = response.headers()["Sforce-Locator"].to_str().unwrap().to_owned();
        let text = response.text().await.unwrap();
        assert!(text.starts_with("\"Id\",\"Name\",\"Manager.Email\",\"CreatedDate\"\n"));
        assert!(text.contains(".000Z\""));
        rows += text.lines().count() - 1;
        if next == "null" {
            break;
        }
        locator = format!("&locator={next}");
    }
    assert_eq!(rows, 60);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_hundred_thousand_people_are_there_in_seconds_and_the_same_every_time() {
    let started = tokio::time::Instant::now();
    let sim = Sim::start(SimConfig {
        users: 100_000,
        seed: 42,
        ..SimConfig::default()
    })
    .await
    .unwrap();
    let elapsed = started.elapsed();
    assert!(elapsed.as_secs() < 20, "took {elapsed:?}");
    assert_eq!(sim.org().user_count(), 100_000);
    let twin = Sim::start(SimConfig {
        users: 300,
        seed: 42,
        ..SimConfig::default()
    })
    .await
    .unwrap();
    let ids = twin.org().user_ids();
    for id in &ids[3..50] {
        let (left, right) = (sim.org().user(id).unwrap(), twin.org().user(id).unwrap());
        assert_eq!(
            (left.text("Username"), left.text("ManagerId")),
            (right.text("Username"), right.text("ManagerId"))
        );
    }
    let people = twin.org().users();
    let some = |test: &dyn Fn(&salesforce_sim::SimUser) -> bool| people.iter().any(test);
    assert!(some(&|user| !user.is_active()));
    assert!(some(&|user| user
        .text("Email")
        .is_some_and(|email| email.ends_with(".invalid"))));
    assert!(some(&|user| user
        .text("Email")
        .is_some_and(|email| email.contains('+'))));
    assert!(some(&|user| user
        .text("LastName")
        .is_some_and(|name| name.contains('\''))));
    assert!(some(&|user| user
        .text("LastName")
        .is_some_and(|name| name.contains('山') || name.contains('王'))));
    assert!(some(&|user| user
        .text("FirstName")
        .is_some_and(|name| name.contains('م') || name.contains('נ'))));
    for user_type in ["Guest", "CspLitePortal", "AutomatedProcess", "CloudIntegrationUser"] {
        assert!(some(&|user| user.text("UserType") == Some(user_type)), "{user_type}");
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn what_the_integration_user_may_not_see_is_not_there() {
    let sim = Sim::start(SimConfig {
        users: 20,
        ..SimConfig::default()
    })
    .await
    .unwrap();
    let rest = Rest::new(&sim);
    let org = sim.org();
    let own = org.integration_user_id();
    let other = org.user_ids().into_iter().find(|id| *id != own).unwrap();
    let code = |answer: (u16, Value)| (answer.0, answer.1[0]["errorCode"].as_str().unwrap_or("-").to_owned());
    let query = async |soql: &str| rest.get(&format!("/query?q={}", soql.replace(' ', "+"))).await;
    assert_eq!(query("SELECT COUNT() FROM UserLogin").await.0, 200);
    org.set_permissions(Permissions {
        view_all_users: false,
        view_setup: false,
        manage_users: false,
        report_folders: false,
        ..Permissions::default()
    });
    org.hide_objects(&["GroupMember"]);
    let (_, found) = query("SELECT Id FROM User").await;
    assert_eq!(
        (found["totalSize"].as_u64(), &found["records"][0]["Id"]),
        (Some(1), &json!(own))
    );
    assert_eq!(
        code(rest.get(&format!("/sobjects/User/{other}")).await),
        (404, "NOT_FOUND".into())
    );
    for object in ["UserLogin", "PermissionSet", "PermissionSetAssignment", "GroupMember"] {
        let answer = code(query(&format!("SELECT Id FROM {object}")).await);
        assert_eq!(answer, (400, "INVALID_TYPE".into()), "{object}");
    }
    assert_eq!(query("SELECT COUNT() FROM Report").await.1["totalSize"], json!(0));
    assert_eq!(rest.get("/analytics/reports").await.1, json!([]));
    let report = org.report_id("Spinify Reports", "All Users").unwrap();
    assert_eq!(
        code(rest.get(&format!("/analytics/reports/{report}/describe")).await),
        (403, "FORBIDDEN".into())
    );
    sim.shutdown().await;
}
