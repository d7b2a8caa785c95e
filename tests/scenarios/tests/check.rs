//! `check` names each missing permission in one run, says where to grant it, and writes nothing.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use salesforce_sim::{Permissions, ReportDefinition, SimConfig, generate_jwt_key_pair};
use scenarios::Scene;
use serde_json::{Value, json};

async fn scene(config: SimConfig) -> Scene {
    Scene::set(SimConfig {
        users: 40,
        seed: 71,
        ..config
    })
    .await
}

async fn check(scene: &Scene, change: &Value) -> (i32, String) {
    let config = scene.ingest_config(change);
    scene
        .command("ingest-service", &["check", "--config", config.to_str().unwrap()])
        .await
}

/// The lines about one subject.
fn lines<'a>(said: &'a str, begin: &str) -> Vec<&'a str> {
    said.lines().filter(|line| line.starts_with(begin)).collect()
}

#[track_caller]
fn one_line(said: &str, begin: &str, parts: &[&str]) {
    let fits = |line: &&str| parts.iter().all(|part| line.contains(part));
    let found = lines(said, begin).into_iter().filter(fits).count();
    assert_eq!(found, 1, "{begin:?} with {parts:?} in:\n{said}");
}

const SYSTEM: &str = "Setup > Permission Sets > System Permissions";

#[tokio::test(flavor = "multi_thread")]
async fn every_missing_permission_is_a_finding_of_its_own_in_one_run() {
    let scene = scene(SimConfig::default()).await;
    let org = scene.org();
    let report = json!({ "snapshot": { "source": "report", "report": { "name": "All Users" } }, "fields": { "custom": ["Badge__c", "Nope__c"] } });
    let fine = json!({ "snapshot": { "source": "report", "report": { "name": "All Users" } }, "fields": { "custom": ["Badge__c"] } });
    let (code, said) = check(&scene, &fine).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        !said.contains("PROBLEM") && lines(&said, "ok       limits").len() == 1,
        "{said}"
    );
    assert!(
        lines(&said, "ok       polled objects: Group, GroupMember").len() == 1,
        "{said}"
    );

    org.set_permissions(Permissions {
        view_all_users: false,
        run_reports: false,
        view_setup: false,
        manage_users: false,
        ..Permissions::default()
    });
    org.hide_fields(&["Email", "Department", "Title"]);
    org.hide_objects(&["GroupMember"]);
    org.request_log().clear();
    let (code, said) = check(&scene, &report).await;
    assert_eq!(code, 1, "{said}");
    let place = |name: &str| format!("{SYSTEM} > {name}");
    let field_place = "Setup > Permission Sets > Object Settings > Users > Field Permissions";
    one_line(&said, "PROBLEM  fields", &["Email", field_place]);
    one_line(
        &said,
        "PROBLEM  fields",
        &["Nope__c", "fields.custom", field_place, "Setup > Object Manager"],
    );
    one_line(&said, "ok       fields: warning", &["Department", field_place]);
    one_line(&said, "ok       fields: warning", &["Title", field_place]);
    one_line(
        &said,
        "PROBLEM  users",
        &["sees nobody but itself", &place("View All Users")],
    );
    one_line(&said, "PROBLEM  event stream", &[&place("View All Users")]);
    one_line(
        &said,
        "ok       limits: warning",
        &[&place("View Setup and Configuration")],
    );
    one_line(
        &said,
        "ok       polled objects: warning",
        &["GroupMember", "so groups stay unknown"],
    );
    one_line(
        &said,
        "ok       polled objects: warning",
        &["PermissionSetAssignment", &place("View Setup")],
    );
    one_line(
        &said,
        "ok       polled objects: warning",
        &["UserLogin", "so frozen stay unknown", &place("Manage Users")],
    );
    one_line(&said, "PROBLEM  report:", &[&place("Run Reports")]);
    let writes: Vec<_> = org
        .request_log()
        .entries()
        .into_iter()
        .filter(|(method, path, _)| !["GET", "RPC"].contains(&method.as_str()) && path != "/services/oauth2/token")
        .collect();
    assert!(writes.is_empty(), "check writes nothing: {writes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_channels_and_the_api_itself_are_told_apart() {
    let scene = scene(SimConfig {
        channels: vec!["/data/People__chn".to_owned()],
        ..SimConfig::default()
    })
    .await;
    let org = scene.org();
    let report = json!({ "snapshot": { "source": "report", "report": { "name": "All Users" } } });
    let without = |permissions: Permissions| org.set_permissions(permissions);
    let all = Permissions::default();

    without(Permissions {
        report_folders: false,
        ..all
    });
    let (code, said) = check(&scene, &report).await;
    assert_eq!(code, 1, "{said}");
    one_line(
        &said,
        "PROBLEM  reports",
        &["Spinify Reports", "Reports > All Folders > Share"],
    );
    assert_eq!(lines(&said, "PROBLEM").len(), 1, "{said}");

    without(Permissions {
        users_captured: false,
        ..all
    });
    let (code, said) = check(&scene, &json!({})).await;
    assert_eq!(code, 1, "{said}");
    one_line(
        &said,
        "PROBLEM  event stream",
        &["select User", "Setup > Change Data Capture"],
    );
    assert_eq!(lines(&said, "PROBLEM").len(), 1, "{said}");

    // A channel of one's own opens without View All Users, and says nothing.
    without(Permissions {
        view_all_users: false,
        ..all
    });
    let (code, said) = check(&scene, &json!({ "pubsub": { "channel": "/data/People__chn" } })).await;
    assert_eq!(code, 1, "{said}");
    one_line(&said, "ok       event stream", &["/data/People__chn"]);
    one_line(&said, "PROBLEM  view all users", &[SYSTEM]);

    without(Permissions {
        api_enabled: false,
        ..all
    });
    let (code, said) = check(&scene, &report).await;
    assert_eq!(code, 1, "{said}");
    one_line(
        &said,
        "PROBLEM  api",
        &["API_DISABLED_FOR_ORG", "System Permissions > API Enabled"],
    );
    assert_eq!(lines(&said, "PROBLEM").len(), 1, "one cause, one finding:\n{said}");

    without(all);
    org.add_report(ReportDefinition {
        name: "Narrow".into(),
        columns: vec!["USERNAME".into()],
        ..ReportDefinition::all_users()
    });
    let (code, said) = check(
        &scene,
        &json!({ "snapshot": { "source": "report", "report": { "name": "Narrow" } } }),
    )
    .await;
    assert_eq!(code, 1, "{said}");
    assert!(
        lines(&said, "PROBLEM  report:").len() > 3,
        "each missing column is named:\n{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refused_log_in_says_what_to_change_and_where() {
    let pair = generate_jwt_key_pair();
    let other = generate_jwt_key_pair();
    let scene = scene(SimConfig {
        jwt_public_key_pem: Some(pair.public_pem.clone()),
        ..SimConfig::default()
    })
    .await;
    let org = scene.org();
    for (name, pem) in [("key", &pair.private_pem), ("other-key", &other.private_pem)] {
        std::fs::write(scene.path(name), pem).unwrap();
    }
    std::fs::write(scene.path("wrong-secret"), "wrong").unwrap();
    let username = scene.sim.integration_username();
    let jwt = |key: &str, user: &str, audience: &str| {
        json!({ "salesforce": { "auth": { "method": "jwtBearer", "username": user, "audience": audience,
                "privateKey": { "file": scene.path(key) }, "clientSecret": null } } })
    };
    let login = "https://login.salesforce.com";
    let settings = "Setup > External Client App Manager > Settings > OAuth Settings";
    let policies = "Setup > External Client App Manager > Policies > OAuth Policies";
    for (change, way_out) in [
        (jwt("other-key", &username, login), settings),
        (jwt("key", "nobody@example.com", login), policies),
        (
            jwt("key", &username, "https://nowhere.example"),
            "salesforce.auth.audience",
        ),
        (json!({ "salesforce": { "auth": { "clientId": "nobody" } } }), settings),
        (
            json!({ "salesforce": { "auth": { "clientSecret": { "file": scene.path("wrong-secret") } } } }),
            settings,
        ),
    ] {
        let (code, said) = check(&scene, &change).await;
        assert_eq!(code, 1, "{said}");
        one_line(&said, "PROBLEM  salesforce log-in", &[way_out]);
    }
    org.set_permissions(Permissions {
        app_approved: false,
        client_credentials: false,
        ..Permissions::default()
    });
    let (_, said) = check(&scene, &jwt("key", &username, login)).await;
    one_line(&said, "PROBLEM  salesforce log-in", &["pre-authorize", policies]);
    let (_, said) = check(&scene, &json!({})).await;
    one_line(
        &said,
        "PROBLEM  salesforce log-in",
        &["client credentials flow", settings, policies],
    );
    org.set_permissions(Permissions::default());
    org.update_user(&org.integration_user_id(), json!({ "IsActive": false }))
        .unwrap();
    let (_, said) = check(&scene, &json!({})).await;
    one_line(&said, "PROBLEM  salesforce log-in", &["inactive_user", "Setup > Users"]);
}
