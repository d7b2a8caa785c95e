//! The SCIM connector against servers that others wrote: scim2-server (Python) in the shapes it can take, scimmy (JavaScript) on two
//! versions of Express, SCIM-SDK (Java).
#![allow(clippy::unwrap_used)]

mod scim_support;

use apply_service::connector::{
    Failure, Operation, Reply,
    scim::{
        ScimConfig,
        config::{FilterMode, PatchMode},
    },
};
use kafka_harness::{Express, Scim2Options, Scim2Server, ScimSdk, Scimmy};
use scim_support::{DEPARTMENT, Target, WORK, find, live, live_groups, person, values};
use serde_json::{Value, json};

const TOKEN: &str = "s3cret";

/// A ServiceProviderConfig with everything on, to be changed.
fn features(change: impl FnOnce(&mut Value)) -> Value {
    let mut config = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": true},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": true, "maxResults": 1000},
        "changePassword": {"supported": true},
        "sort": {"supported": true},
        "etag": {"supported": true},
        "authenticationSchemes": [{"type": "oauthbearertoken", "name": "Bearer", "description": "A token"}],
    });
    change(&mut config);
    config
}

async fn server(service_provider_config: Option<Value>) -> Scim2Server {
    Scim2Server::start(Scim2Options {
        bearer_token: Some(TOKEN.to_owned()),
        service_provider_config,
    })
    .await
}

fn target(server: &Scim2Server, change: impl FnOnce(&mut ScimConfig)) -> Target {
    let mut config = ScimConfig::default();
    change(&mut config);
    Target::new(server.base_url(), Some(TOKEN), config)
}

#[tokio::test]
async fn the_server_as_it_comes() {
    let server = server(None).await;
    let checked = target(&server, |_| {});
    let words = checked.check().await;
    assert!(words.contains(&"patch: yes".to_owned()), "{words:?}");
    live(&checked).await;
    // Without discovery everything is learnt from answers.
    live(&target(&server, |_| {})).await;
    live(&target(&server, |config| config.patch = PatchMode::Pathless)).await;
    live(&target(&server, |config| config.patch = PatchMode::Put)).await;
}

#[tokio::test]
async fn groups_of_the_server_as_it_comes_and_with_less() {
    let whole = server(None).await;
    live_groups(&target(&whole, |_| {}), "a").await;
    live_groups(&target(&whole, |config| config.filter = FilterMode::None), "b").await;
    let put = |config: &mut ScimConfig| config.patch = PatchMode::Put;
    live_groups(&target(&whole, put), "c").await;
    let less = server(Some(features(|config| {
        config["patch"]["supported"] = json!(false);
        config["filter"]["supported"] = json!(false);
    })))
    .await;
    live_groups(&target(&less, |_| {}), "d").await;
}

#[tokio::test]
async fn a_server_without_patch() {
    let server = server(Some(features(|config| config["patch"]["supported"] = json!(false)))).await;
    live(&target(&server, |_| {})).await;
    let checked = target(&server, |_| {});
    assert!(checked.check().await.contains(&"patch: no".to_owned()));
    live(&checked).await;
}

#[tokio::test]
async fn a_server_without_filter() {
    let server = server(Some(features(|config| config["filter"]["supported"] = json!(false)))).await;
    live(&target(&server, |config| config.page_size = 1)).await;
    let checked = target(&server, |_| {});
    checked.check().await;
    live(&checked).await;
}

#[tokio::test]
async fn a_server_that_pages_by_cursor_only() {
    let server = server(Some(features(|config| {
        config["filter"]["maxResults"] = json!(2);
        config["pagination"] = json!({"cursor": true, "index": false, "defaultPaginationMethod": "cursor",
            "defaultPageSize": 2, "maxPageSize": 2, "cursorTimeout": 60});
    })))
    .await;
    for check in [true, false] {
        let target = target(&server, |_| {});
        if check {
            target.check().await;
        }
        let mut made = Vec::new();
        for number in 0..5 {
            let name = format!("p{number}-{check}");
            made.push(target.create(&person(&name, &name)).await);
        }
        let listed: Vec<_> = target.list().await.into_iter().map(|account| account.id).collect();
        assert!(made.iter().all(|id| listed.contains(id)), "{listed:?}");
        live(&target).await;
        // Groups over several pages: whether there is one is seen at the end of the list alone.
        for number in 0..5 {
            let name = format!("Team {number}-{check}");
            let made = target.run(Operation::CreateGroup { name }).await;
            assert!(matches!(made, Ok(Reply::GroupWritten(_))), "{made:?}");
        }
        live_groups(&target, &format!("cursor-{check}")).await;
    }
    let listing = target(&server, |config| config.filter = FilterMode::None);
    let found = |name: &str| listing.run(Operation::FindGroup { name: name.to_owned() });
    for (name, count) in [("Team 4-true", 1), ("Team 0-true", 1), ("nobody's", 0)] {
        match found(name).await {
            Ok(Reply::Groups(groups)) => assert_eq!(groups.len(), count, "{name}"),
            other => panic!("no groups: {other:?}"),
        }
    }
}

#[tokio::test]
async fn versions_are_checked_where_they_are_declared() {
    let server = server(None).await;
    let target = target(&server, |_| {});
    target.check().await;
    let ada = target.create(&person("005A", "ada")).await;
    let stale = target.read(&ada).await.unwrap().etag;
    assert!(stale.is_some());
    target.update(&ada, &[("title", json!("first"))]).await;
    // The stale version is refused with 412, read again, and the change made on the new one.
    let operation = Operation::Update {
        id: ada.clone(),
        values: values(&[("title", json!("second"))]),
        etag: stale,
    };
    let (result, trace) = target.traced(operation).await;
    assert!(matches!(result, Ok(Reply::Written { .. })), "{result:?}");
    assert_eq!((trace.requests, trace.writes), (3, 2));
    assert_eq!(target.held(&ada, &["title"]).await, [json!("second")]);
}

#[tokio::test]
async fn refusals_end_with_their_verdict() {
    let server = server(None).await;
    let target = target(&server, |config| config.extra_attributes = vec!["shoeSize".to_owned()]);
    let ada = target.create(&person("005A", "ada")).await;
    let result = target
        .run(Operation::Create {
            values: values(&[("title", json!("no user name"))]),
        })
        .await;
    assert!(matches!(result, Err(Failure::Reject(_))), "{result:?}");
    let unknown = values(&[("shoeSize", json!("42"))]);
    let result = target
        .run(Operation::Update {
            id: ada,
            values: unknown,
            etag: None,
        })
        .await;
    assert!(matches!(result, Err(Failure::Reject(_))), "{result:?}");

    let wrong = Target::new(server.base_url(), Some("wrong"), ScimConfig::default());
    let Err(Failure::Halt(refusal)) = wrong.run(Operation::Check).await else {
        panic!("a halt")
    };
    assert_eq!(refusal.code, "http-401");
    assert!(refusal.reason.contains(server.base_url()), "{refusal}");
    let elsewhere = format!("{}/nowhere", server.base_url());
    let result = Target::new(&elsewhere, Some(TOKEN), ScimConfig::default())
        .run(Operation::Check)
        .await;
    assert!(matches!(result, Err(Failure::Halt(_))), "{result:?}");
}

#[tokio::test]
async fn an_added_work_address_does_not_disturb_the_others() {
    let server = server(None).await;
    let target = target(&server, |_| {});
    let home = r#"emails[type eq "home"].value"#;
    let mut pairs = person("005A", "ada");
    pairs.retain(|(path, _)| *path != WORK && *path != DEPARTMENT);
    pairs.push((home, json!("ada@home.example")));
    let ada = target.create(&pairs).await;
    target
        .update(&ada, &[(WORK, json!("ada@acme.com")), (DEPARTMENT, json!("R"))])
        .await;
    let held = target.held(&ada, &[WORK, home, DEPARTMENT]).await;
    assert_eq!(held, [json!("ada@acme.com"), json!("ada@home.example"), json!("R")]);
}

#[tokio::test]
async fn absence_is_proven_once() {
    let server = server(None).await;
    let target = target(&server, |config| config.page_size = 2);
    for name in ["ann", "bob", "cy"] {
        target.create(&person(name, name)).await;
    }
    let nobody = || find("005X", &[("userName", "nobody"), (WORK, "nobody@acme.com")]);
    let (result, first) = target.traced(nobody()).await;
    assert_eq!(result, Ok(Reply::Found(Vec::new())));
    assert_eq!(first.requests, 7, "three filters, one page, three proofs");
    let (result, second) = target.traced(nobody()).await;
    assert_eq!(result, Ok(Reply::Found(Vec::new())));
    assert_eq!(second.requests, 3);
}

#[tokio::test]
async fn scimmy_lets_much_pass_and_tells_little() {
    let server = Scimmy::start(Express::Four, TOKEN).await;
    for check in [true, false] {
        let target = Target::new(server.base_url(), Some(TOKEN), ScimConfig::default());
        if check {
            target.check().await;
        }
        live(&target).await;
    }
    for patch in [PatchMode::Pathless, PatchMode::Put] {
        let config = ScimConfig {
            patch,
            ..ScimConfig::default()
        };
        live(&Target::new(server.base_url(), Some(TOKEN), config)).await;
    }
}

#[tokio::test]
async fn scimmy_on_express_5_pages_in_circles_and_every_listing_ends() {
    let server = Scimmy::start(Express::Five, TOKEN).await;
    let target = Target::new(server.base_url(), Some(TOKEN), ScimConfig::default());
    target.check().await;
    live(&target).await;
    // One page holds twenty, and it is given out whatever is asked for.
    for number in 0..20 {
        let name = format!("p{number}");
        target.create(&person(&name, &name)).await;
    }
    assert_eq!(target.list().await.len(), 20);
    target.create(&person("p20", "p20")).await;
    let listed = target.list_all().await;
    assert!(
        matches!(listed, Err(Failure::Retry(ref refusal, None)) if refusal.code == "list-incomplete"),
        "{listed:?}"
    );
}

#[tokio::test]
async fn scim_sdk_checks_every_value() {
    let server = ScimSdk::start(TOKEN).await;
    for check in [true, false] {
        let target = Target::new(server.base_url(), Some(TOKEN), ScimConfig::default());
        if check {
            target.check().await;
        }
        live(&target).await;
    }
    for patch in [PatchMode::Pathless, PatchMode::Put] {
        let config = ScimConfig {
            patch,
            ..ScimConfig::default()
        };
        live(&Target::new(server.base_url(), Some(TOKEN), config)).await;
    }
}
