//! Reports: truncation, keyset paging, labels, formats, broken reports. Facts section 5.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;

use common::{Rest, small};
use salesforce_sim::{Permissions, ReportDefinition, ReportFilter, ReportFormat, Sim, SimConfig, normalize_id};
use serde_json::{Value, json};

fn rows(answer: &Value) -> Vec<Value> {
    answer["factMap"]["T!T"]["rows"].as_array().unwrap().clone()
}

fn column(answer: &Value, entity: &str) -> usize {
    let columns = answer["reportMetadata"]["detailColumns"].as_array().unwrap();
    let info = &answer["reportExtendedMetadata"]["detailColumnInfo"];
    columns
        .iter()
        .position(|name| info[name.as_str().unwrap()]["entityColumnName"] == entity)
        .unwrap()
}

async fn found(sim: &Sim, rest: &Rest) -> String {
    let soql = "SELECT Id, Format FROM Report WHERE Name = 'All Users' AND FolderName = 'Spinify Reports'";
    let reports = rest.records(soql).await;
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0]["Format"], "Tabular");
    let id = reports[0]["Id"].as_str().unwrap().to_owned();
    assert_eq!(sim.org().report_id("Spinify Reports", "All Users"), Some(id.clone()));
    format!("/analytics/reports/{id}")
}

#[tokio::test]
async fn more_than_2000_rows_are_read_by_keyset_over_the_id() {
    let sim = Sim::start(SimConfig {
        users: 4500,
        ..SimConfig::default()
    })
    .await
    .unwrap();
    let rest = Rest::new(&sim);
    let report = found(&sim, &rest).await;
    let run = format!("{report}?includeDetails=true");
    let (mut seen, mut after, mut runs) = (BTreeSet::new(), None::<String>, 0);
    loop {
        let mut metadata = json!({"sortBy": [{"sortColumn": "USER_ID", "sortOrder": "Asc"}]});
        if let Some(value) = &after {
            metadata["reportFilters"] = json!([{"column": "USER_ID", "operator": "greaterThan", "value": value}]);
        }
        let (status, answer) = rest.send("POST", &run, Some(json!({"reportMetadata": metadata}))).await;
        assert_eq!(status, 200, "{answer}");
        runs += 1;
        let id_column = column(&answer, "User.Id");
        let rows = rows(&answer);
        assert!(rows.len() <= 2000);
        for row in &rows {
            let id = row["dataCells"][id_column]["value"].as_str().unwrap();
            assert_eq!(id.len(), 15);
            assert!(seen.insert(normalize_id(id).unwrap()), "{id} twice");
            after = Some(id.to_owned());
        }
        if answer["allData"] == true {
            break;
        }
        assert_eq!(rows.len(), 2000);
    }
    assert_eq!(runs, 3);
    assert_eq!(seen, sim.org().user_ids().into_iter().collect());
    let (_, limits) = rest.get("/limits").await;
    assert_eq!(limits["HourlySyncReportRuns"]["Remaining"], 497);
    sim.shutdown().await;
}

#[tokio::test]
async fn labels_are_for_people_and_values_are_raw() {
    let sim = small().await;
    let rest = Rest::new(&sim);
    let report = found(&sim, &rest).await;
    let (_, answer) = rest.get(&format!("{report}?includeDetails=true")).await;
    let active = column(&answer, "User.IsActive");
    let manager = column(&answer, "User.ManagerId");
    let modified = column(&answer, "User.LastModifiedDate");
    let rows = rows(&answer);
    assert!(
        rows.iter()
            .any(|row| row["dataCells"][active] == json!({"label": "Wahr", "value": true}))
    );
    assert!(
        rows.iter()
            .any(|row| row["dataCells"][manager] == json!({"label": "-", "value": null}))
    );
    let with_manager = rows
        .iter()
        .find(|row| row["dataCells"][manager]["value"].is_string())
        .unwrap();
    assert_ne!(
        with_manager["dataCells"][manager]["label"],
        with_manager["dataCells"][manager]["value"]
    );
    assert!(rows[0]["dataCells"][modified]["value"].as_str().unwrap().ends_with('Z'));
    assert_eq!(answer["hasDetailRows"], true);
    let (_, without) = rest.get(&report).await;
    assert_eq!(
        (&without["hasDetailRows"], &without["factMap"]["T!T"]["rows"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(without["factMap"]["T!T"]["aggregates"][0]["value"], 60);
    sim.shutdown().await;
}

#[tokio::test]
async fn filters_join_by_the_boolean_filter_and_bad_metadata_is_refused() {
    let sim = small().await;
    let rest = Rest::new(&sim);
    let run = format!("{}?includeDetails=true", found(&sim, &rest).await);
    let filter =
        |column: &str, operator: &str, value: &str| json!({"column": column, "operator": operator, "value": value});
    let post = |metadata: Value| {
        let (rest, run) = (&rest, &run);
        async move { rest.send("POST", run, Some(json!({"reportMetadata": metadata}))).await }
    };
    let either = json!({
        "reportFilters": [filter("USERNAME", "startsWith", "admin"), filter("USERNAME", "startsWith", "usher"), filter("ACTIVE", "equals", "True")],
        "reportBooleanFilter": "(1 OR 2) AND 3",
    });
    assert_eq!(rows(&post(either).await.1).len(), 2);
    let listed = json!({"reportFilters": [filter("LAST_NAME", "equals", "System Administrator,Usher Integration")]});
    assert_eq!(rows(&post(listed).await.1).len(), 2);
    for bad in [
        json!({"sortBy": [{"sortColumn": "CREATED_DATE", "sortOrder": "Asc"}]}),
        json!({"sortBy": [{"sortColumn": "USER_ID"}, {"sortColumn": "USERNAME"}]}),
        json!({"detailColumns": ["USER_ID", "NOPE"]}),
        json!({"reportFilters": [filter("NOPE", "equals", "1")]}),
        json!({"reportFilters": [filter("USERNAME", "resembles", "1")]}),
        json!({"reportFilters": [filter("ACTIVE", "equals", "perhaps")]}),
        json!({"reportFilters": [filter("ACTIVE", "equals", "1")], "reportBooleanFilter": "1 AND 2"}),
    ] {
        let (status, answer) = post(bad.clone()).await;
        assert_eq!(
            (status, answer[0]["errorCode"].as_str()),
            (400, Some("BAD_REQUEST")),
            "{bad}"
        );
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn reports_go_wrong_in_the_known_ways() {
    let sim = small().await;
    let rest = Rest::new(&sim);
    let org = sim.org();
    let path = found(&sim, &rest).await;
    let id = path.rsplit('/').next().unwrap().to_owned();
    org.faults().truncate_reports(Some(10));
    let (_, cut) = rest.get(&format!("{path}?includeDetails=true")).await;
    assert_eq!((rows(&cut).len(), &cut["allData"]), (10, &json!(false)));
    org.faults().truncate_reports(None);
    assert!(org.rename_report_column(&id, "USERS.EMAIL", "USERS.MAIL"));
    assert_eq!(rest.get(&path).await.0, 400);
    let (_, described) = rest.get(&format!("{path}/describe")).await;
    let columns = described["reportMetadata"]["detailColumns"].as_array().unwrap();
    assert!(columns.iter().all(|name| name != "USERS.MAIL" && name != "USERS.EMAIL"));
    let summary = org.add_report(ReportDefinition {
        name: "Grouped".into(),
        format: ReportFormat::Summary,
        filters: vec![ReportFilter {
            column: "ACTIVE".into(),
            operator: "equals".into(),
            value: "True".into(),
        }],
        ..ReportDefinition::all_users()
    });
    let (_, grouped) = rest.get(&format!("/analytics/reports/{summary}/describe")).await;
    assert_eq!(grouped["reportMetadata"]["reportFormat"], "SUMMARY");
    assert_eq!(grouped["reportMetadata"]["reportFilters"][0]["value"], "True");
    org.set_permissions(Permissions {
        run_reports: false,
        ..org.permissions()
    });
    assert_eq!(rest.get(&path).await.0, 403);
    org.set_permissions(Permissions::default());
    assert!(org.remove_report(&id));
    assert_eq!(rest.get(&path).await.0, 404);
    sim.shutdown().await;
}
