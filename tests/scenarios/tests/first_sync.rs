//! A target that has 5,000 accounts already: the report before anything is written, the approval, and what is written then;
//! differences that others make afterwards; switched off for a time and on again.
#![allow(clippy::unwrap_used, reason = "tests")]

use scenarios::{Service, eventually, stage::Stage};
use serde_json::{Value, json};

const PEOPLE: u32 = 5_000;
/// Their accounts were edited by hand.
const EDITED: std::ops::RangeInclusive<u32> = 1..=300;
/// Two accounts each, and neither says whose it is.
const AMBIGUOUS: std::ops::RangeInclusive<u32> = 301..=320;
/// No account.
const MISSING: std::ops::RangeInclusive<u32> = 4_601..=PEOPLE;
const UNMANAGED: usize = 50;

fn policy(change: &str) -> Value {
    let mut policy = json!({
        "match": { "firstSync": "approve" }, "pace": { "perSecond": 5000, "concurrency": 16 },
        "guard": { "windows": ["1h", "24h"], "importQuiet": "2s" }, "schedule": { "drift": { "every": "24h", "mode": "report" } },
    });
    match change {
        "" => {}
        "off" => policy["mode"] = json!("off"),
        "drift" => policy["schedule"]["drift"]["every"] = json!("3s"),
        "repair" => policy["schedule"]["drift"] = json!({ "every": "3s", "mode": "repair" }),
        other => panic!("{other}"),
    }
    policy
}

fn account(n: u32) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": format!("u{n}@acme.example"), "active": true,
        "displayName": format!("Ada Byron {n}"), "name": { "familyName": "Byron" }, "title": "SDR",
        "emails": [{ "type": "work", "value": format!("u{n}@acme.example"), "primary": true }] })
}

/// What somebody has made of the application over the years.
fn furnish(stage: &Stage) {
    for n in (1..=PEOPLE).filter(|n| !MISSING.contains(n)) {
        let mut account = account(n);
        if EDITED.contains(&n) {
            account["title"] = json!("Sales Hero");
            account["nickName"] = json!("edited by hand");
        }
        if AMBIGUOUS.contains(&n) {
            for name in ["left", "right"] {
                account["userName"] = json!(format!("{name}{n}"));
                stage.sim.seed_user(account.clone());
            }
        } else {
            stage.sim.seed_user(account);
        }
    }
    for n in 0..UNMANAGED {
        stage
            .sim
            .seed_user(json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": format!("contractor{n}"), "active": n % 2 == 0 }));
    }
}

/// Accounts that nobody manages, as they are.
fn unmanaged(stage: &Stage) -> Vec<Value> {
    let mut users = stage.sim.users();
    users.retain(|user| user["userName"].as_str().unwrap_or_default().starts_with("contractor"));
    users.sort_by_key(|user| user["userName"].to_string());
    users
}

async fn lane(stage: &Stage, service: &Service, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || async {
        let target = stage.target(service).await;
        if holds(&target["lane"]) {
            Ok(target["lane"].clone())
        } else {
            Err(target.to_string())
        }
    })
    .await
}

fn of(stage: &Stage, n: u32) -> Value {
    stage
        .sim
        .user_by_external_id(&Stage::id(n))
        .unwrap_or_else(|| panic!("{n} has no account"))
}

/// Writes by method since the last reset.
fn written(stage: &Stage, method: &str) -> usize {
    stage.sim.writes().iter().filter(|write| write.method == method).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_accounts_are_claimed_after_approval_and_only_differences_are_written() {
    let stage = Stage::set(policy("")).await;
    furnish(&stage);
    let everybody: Vec<_> = (1..=PEOPLE).map(|n| (n, 1, true, Some("SDR"))).collect();
    stage.publish_all(&everybody).await;
    let strangers = unmanaged(&stage);

    let apply = stage.apply("first").await;
    let waiting = lane(&stage, &apply, "the report waits for an operator", |lane| {
        lane["firstSyncWaits"] == true
    })
    .await;
    let report = &waiting["firstSync"];
    let in_doubt = u64::try_from(AMBIGUOUS.count()).unwrap();
    let to_create = u64::try_from(MISSING.count()).unwrap();
    for (what, expected) in [
        ("accounts", 4_600 + in_doubt + UNMANAGED as u64),
        ("matched", 4_600 - in_doubt),
        ("wouldCreate", to_create),
        ("ambiguous", in_doubt),
        ("unmatched", UNMANAGED as u64),
    ] {
        assert_eq!(report[what], expected, "{what}: {report}");
    }
    assert_eq!(report["wouldChange"]["title"], 300, "{report}");
    let (code, shown) = stage.order(&apply, &["held"]).await;
    assert!(code == 0 && shown.contains("first-sync"), "{code} {shown}");
    assert_eq!(
        stage.sim.write_count(),
        0,
        "nothing is written before somebody has looked"
    );

    // A restart asks the same question, not a new one.
    apply.stop().await;
    let apply = stage.apply("second").await;
    lane(&stage, &apply, "it still waits", |lane| lane["firstSyncWaits"] == true).await;
    assert_eq!(stage.sim.write_count(), 0);
    let approve = [
        "approve",
        "first-sync",
        "--target",
        "helpdesk",
        "--reason",
        "looked through",
    ];
    let (code, said) = stage.order(&apply, &approve).await;
    assert_eq!(code, 0, "{said}");
    let links = u64::from(PEOPLE) - in_doubt;
    let done = lane(&stage, &apply, "everybody is worked off", |lane| {
        lane["links"] == links && lane["pending"] == 0 && lane["rejected"] == in_doubt
    })
    .await;
    assert_eq!(
        done["held"], 0,
        "the first import is no change that the guard counts: {done}"
    );
    assert_eq!(
        written(&stage, "POST"),
        MISSING.count(),
        "one account each, for whoever had none"
    );
    for n in EDITED {
        let account = of(&stage, n);
        assert_eq!(account["title"], "SDR", "ours is written");
        assert_eq!(account["nickName"], "edited by hand", "what is not ours stays");
    }
    let doubles = stage
        .sim
        .users()
        .into_iter()
        .filter(|user| user["userName"].as_str().unwrap().starts_with("left"));
    assert!(doubles.clone().count() == AMBIGUOUS.count() && doubles.clone().all(|user| user["externalId"].is_null()));
    assert_eq!(unmanaged(&stage), strangers, "nobody else is touched");
    assert!(
        stage
            .sim
            .requests()
            .iter()
            .all(|request| !request.path.contains("invite")),
        "nobody is notified"
    );
    apply.stop().await;

    // Everything is known: started again, nothing is asked and nothing written.
    stage.sim.reset_log();
    let apply = stage.apply("third").await;
    lane(&stage, &apply, "everybody was planned", |lane| {
        lane["links"] == links && lane["pending"] == 0 && lane["reconciledAt"].is_string()
    })
    .await;
    // The connection check alone: whoever is planned before the links are read would be looked up.
    let asked: Vec<String> = stage.sim.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(asked, ["/ServiceProviderConfig", "/Users"]);
    apply.stop().await;

    // Others write, too: reported, and nothing is changed.
    for n in 1001..=1010 {
        let mut changed = of(&stage, n);
        changed["title"] = json!("by others");
        stage
            .sim
            .overwrite_user(changed["id"].as_str().unwrap(), changed.clone());
    }
    for n in 1011..=1013 {
        stage.sim.remove_user(of(&stage, n)["id"].as_str().unwrap());
    }
    stage.retarget(policy("drift"));
    let apply = stage.apply("fourth").await;
    let seen = |lane: &Value| lane["drift"]["changed"] == 10 && lane["drift"]["missing"] == 3;
    let seen = lane(&stage, &apply, "drift is reported", seen).await;
    assert_eq!(
        seen["drift"]["unmanaged"],
        2 * in_doubt + UNMANAGED as u64,
        "{}",
        seen["drift"]
    );
    assert_eq!(stage.sim.write_count(), 0, "a report writes nothing");
    apply.stop().await;

    // Repaired through plan and guard.
    stage.retarget(policy("repair"));
    let apply = stage.apply("fifth").await;
    eventually("what others changed is ours again", || async {
        let right = |n: u32| {
            stage
                .sim
                .user_by_external_id(&Stage::id(n))
                .is_some_and(|user| user["title"] == "SDR")
        };
        let wrong = (1001..=1013).filter(|n| !right(*n)).count();
        if wrong == 0 {
            Ok(())
        } else {
            Err(format!("{wrong} of 13"))
        }
    })
    .await;
    // Whoever is missing is found out by a write that meets nobody.
    assert_eq!((written(&stage, "POST"), written(&stage, "PATCH")), (3, 13));
    assert_eq!(unmanaged(&stage), strangers);
    apply.stop().await;

    // Switched off while the company goes on, and on again: one batch, through the guard.
    stage.retarget(policy("off"));
    let apply = stage.apply("off").await;
    let mut meanwhile: Vec<_> = (2001..=2400).map(|n| (n, 2, false, Some("SDR"))).collect();
    meanwhile.extend((2401..=2500).map(|n| (n, 2, true, Some("AE"))));
    meanwhile.extend((PEOPLE + 1..=PEOPLE + 60).map(|n| (n, 1, true, Some("SDR"))));
    stage.sim.reset_log();
    stage.publish_all(&meanwhile).await;
    eventually("the news is known", || async {
        let (_, status) = stage.send(&apply, "GET", "/v1/status", json!({})).await;
        if status["users"]["known"] == PEOPLE + 60 && status["targets"]["helpdesk"]["state"] == "off" {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    assert_eq!(stage.sim.requests().len(), 0, "off is off");
    apply.stop().await;
    stage.retarget(policy(""));
    let apply = stage.apply("again").await;
    let held = lane(&stage, &apply, "the leavers are held and the others are done", |lane| {
        lane["held"] == 400 && lane["pending"] == 0 && lane["links"] == links + 60
    })
    .await;
    assert_eq!(
        stage.off(),
        UNMANAGED / 2,
        "nobody is switched off before somebody has looked: {held}"
    );
    assert_eq!(written(&stage, "POST"), 60);
    let set = held["heldSets"].as_object().unwrap().keys().next().unwrap().clone();
    let approve = ["approve", &set, "--target", "helpdesk", "--reason", "a week of leavers"];
    let (code, said) = stage.order(&apply, &approve).await;
    assert_eq!(code, 0, "{said}");
    eventually("they are out", || async {
        let off = stage.off() - UNMANAGED / 2;
        if off == 400 { Ok(()) } else { Err(format!("{off}")) }
    })
    .await;
    assert_eq!(stage.sim.max_writes_in_flight_per_user(), 1);
    apply.stop().await;
}
