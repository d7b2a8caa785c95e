//! Gong over SCIM: addresses of the company's domains alone, seats by groups that an administrator has bound, nobody deleted,
//! no address with two members, 3 requests a second and 10,000 a day for the whole company. The preset's own pace is kept.

use salesforce_sim::SimUser;
use scenarios::Scene;
use serde_json::{Value, json};
use target_sims::{Gong, GongAssignment, VendorSim};

use super::world::{Start, World, assert_polite, busiest, company, department, hire, secret, text};

/// What a reader of the starting file's comments does who knows that Gong wants the manager's address.
const BY_ADDRESS: (&str, &str) = (
    "# attributes:\n#   urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value:",
    "attributes:\n  urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value:",
);

fn profile(scene: &Scene, name: &str) -> String {
    let profiles = scene.org().records("Profile").into_iter();
    let found = profiles.filter(|profile| profile.text("Name") == Some(name));
    found.map(|profile| profile.id).next().unwrap()
}

/// A member as Gong had it before.
fn member(name: &str, title: &str, active: bool) -> Value {
    let email = format!("{name}@acme.example");
    json!({ "userName": email, "name": { "givenName": "Addie", "familyName": "Byron" }, "title": title, "active": active,
        "emails": [{ "type": "work", "value": email, "primary": true }] })
}

/// What Gong should show of somebody, with the manager under the name that Gong knows managers by.
fn wanted(user: &SimUser, sellers: &str, manager: &Value) -> Value {
    let seller = user.text("ProfileId") == Some(sellers);
    let (phone, extension) = (user.text("Phone"), user.text("Extension"));
    json!({ "emailaddress": text(user, "Email"), "firstname": user.text("FirstName"), "lastname": user.text("LastName"),
        "title": user.text("Title"), "phone_number": phone, "phoneExtension": phone.and(extension),
        "cellphone_number": user.text("MobilePhone"), "active": user.is_active(), "usertimezone": "Europe/London",
        "userlocale": "en-GB", "manager": manager, "group": if seller { "Gong sellers" } else { "Gong listeners" } })
}

fn differences(world: &World, sim: &VendorSim<Gong>, by_email: bool, sellers: &str, ids: &[&String]) -> Vec<String> {
    let people = department(&world.scene);
    let mut complaints = Vec::new();
    for id in ids {
        let user = &people[*id];
        let manager = user.text("ManagerId").and_then(|manager| people.get(manager));
        let manager = manager.map_or(Value::Null, |manager| {
            let email = text(manager, "Email");
            let held = sim.with(|gong| gong.user(email)).unwrap_or_default();
            if by_email { json!(email) } else { held["id"].clone() }
        });
        let email = text(user, "Email");
        let mut found = sim.with(|gong| gong.member(email)).unwrap_or_default();
        found["group"] = json!(sim.with(|gong| gong.groups_of(email).join(", ")));
        let wanted = wanted(user, sellers, &manager);
        if found != wanted {
            complaints.push(format!("{found} instead of {wanted}"));
        }
    }
    complaints
}

#[tokio::test(flavor = "multi_thread")]
async fn gong_follows_the_department_within_its_pace_and_its_domains_with_seats_by_groups() {
    life(false, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gong_is_told_managers_by_the_address_that_it_has_of_them() {
    life(true, &[BY_ADDRESS]).await;
}

/// What a reader of the starting file does who has an access key for the REST API.
const READ_BACK: &str = "# readBack: { baseUrl: https://api.gong.io, auth: { basic: { user: access key, passwordFile: /secrets/gong/key } } }";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_by_hand_at_gong_is_seen_through_its_rest_api_and_mended_over_scim() {
    let scene = company().await;
    let [ada, bob, cid] = ["ada", "bob", "cid"].map(|name| hire(&scene, name, json!({})));
    let mut vendor = Gong::default();
    (vendor.per_second, vendor.per_day) = (Some(3), Some(10_000));
    // The second page is full, and the third one is answered with 404.
    vendor.rest.page_size = 2;
    vendor.seed(member("visitor", "nobody's", true));
    let unmanaged = vendor.user("visitor@acme.example");
    let sim = VendorSim::start(vendor).await;
    let (token, key) = (
        secret(&scene, "gong", "gong-token"),
        secret(&scene, "gong-key", "gong-secret"),
    );
    let blanks = [
        (
            "https address of the SCIM service",
            format!("{}/scim/v2", sim.base_url()),
        ),
        ("file with the token", token),
        ("domain of the company", "acme.example".to_owned()),
    ];
    let read_back = format!(
        "readBack: {{ baseUrl: '{}', auth: {{ basic: {{ user: gong-key, passwordFile: '{key}' }} }} }}",
        sim.base_url()
    );
    let start = Start {
        preset: "gong",
        blanks: &blanks,
        edits: &[("mode: observe", "mode: enforce"), (READ_BACK, &read_back)],
        defaults: json!({ "schedule": { "drift": { "every": "4s", "mode": "repair" } }, "guard": { "importQuiet": "2s" },
            "connection": { "readBack": { "delay": "1s" } } }),
    };
    let world = World::start(scene, &start).await;
    let read = [("accounts", 1), ("wouldCreate", 3), ("unmatched", 1)];
    world.approves_first_sync(&read).await;
    world.rests(3, 0).await;
    // Nobody has done anything, and that is what is found.
    let quiet = world.lane("read back", |lane| lane["drift"]["accounts"] == 4).await;
    let found = |what: &str| quiet["drift"][what].clone();
    assert_eq!(
        (
            found("changed"),
            found("missing"),
            found("unmanaged"),
            found("readBack")
        ),
        (json!(0), json!(0), json!(1), json!(true)),
        "{quiet}"
    );

    sim.with(|gong| {
        gong.change_by_hand("ada@acme.example", &json!({ "title": "Boss" }));
        gong.change_by_hand("bob@acme.example", &json!({ "active": false }));
        gong.vanish("cid@acme.example");
    });
    let told = async |id: &str, words: &str| {
        scenarios::eventually(words, || async {
            let person = world.person(id).await;
            let outcomes = person["outcomes"].as_array().unwrap();
            let says =
                |outcome: &&Value| outcome["action"] == "drift" && outcome["reasons"].to_string().contains(words);
            match outcomes.iter().filter(says).count() {
                0 => Err(person.to_string()),
                _ => Ok(()),
            }
        })
        .await;
    };
    told(&ada, "changed by others: title").await;
    told(&bob, "was left on and is off").await;
    told(&cid, "does not list the account any more").await;
    let shows = |name: &str| {
        sim.with(|gong| gong.member(&format!("{name}@acme.example")))
            .unwrap_or_default()
    };
    world
        .until("mended", || {
            let held = json!([shows("ada")["title"], shows("bob")["active"], shows("cid")["active"]]);
            if held == json!(["AE", true, true]) {
                Vec::new()
            } else {
                vec![held.to_string()]
            }
        })
        .await;
    world.rests(3, 0).await;
    assert_eq!(
        sim.with(|gong| gong.user("visitor@acme.example")),
        unmanaged,
        "nobody else is touched"
    );
    let (status, checked) = world
        .apply
        .ask("POST", "/v1/targets/gong/check", scenarios::OPERATOR, &Value::Null)
        .await;
    assert!(
        status == 200 && checked["works"] == true && checked["readBack"]["works"] == true,
        "{checked}"
    );
    let scene = world.stop().await;
    let requests = sim.take_requests();
    assert!(busiest(&requests, 1_000) <= 3, "both interfaces count into one limit");
    let rest: Vec<_> = requests
        .iter()
        .filter(|request| request.path.starts_with("/v2/"))
        .collect();
    assert!(
        rest.len() >= 6
            && rest
                .iter()
                .all(|request| request.method == "GET" && request.path == "/v2/users")
    );
    assert_eq!(sim.with(|gong| gong.erasures), 0);
    assert_polite(&sim.refused(), "belongs to another");

    // `check` asks both, and says of each what is missing. Its requests keep the pace as well.
    let config = scene.apply_config(&json!({}));
    let check = async || {
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        scene
            .command("apply-service", &["check", "--config", config.to_str().unwrap()])
            .await
    };
    let (code, said) = check().await;
    assert!(
        code == 0 && said.contains("target gong: the read-back answers"),
        "{said}"
    );
    sim.with(|gong| gong.rest.may_read_users = false);
    let (code, said) = check().await;
    assert!(
        code == 1 && said.contains("target gong: read-back") && said.contains("api:users:read"),
        "{said}"
    );
    std::fs::write(&key, "another").unwrap();
    let (code, said) = check().await;
    assert!(
        code == 1 && said.contains("target gong: read-back") && said.contains("401"),
        "{said}"
    );
    assert!(
        !said.contains("another") && said.contains("see connection.readBack in"),
        "{said}"
    );
}

async fn life(by_email: bool, edits: &[(&str, &str)]) {
    let scene = company().await;
    let (sellers, support) = (profile(&scene, "Sales User"), profile(&scene, "Service User"));
    let person = |name: &str, more: Value| hire(&scene, name, more);
    let ada = person("ada", json!({ "Phone": "(865) 365-1900", "Extension": "3437" }));
    let bob = person("bob", json!({ "ManagerId": ada, "MobilePhone": "540.946.4600" }));
    let cid = person("cid", json!({}));
    let eve = person("eve", json!({ "ManagerId": ada, "ProfileId": support }));
    // Of no domain of the company: Gong is not asked about them at all.
    person("ext", json!({ "Email": "ext@partner.example" }));
    // The address belongs to a member of another name: refused for good.
    let mel = person("mel", json!({}));
    let mut vendor = Gong::default();
    (vendor.per_second, vendor.per_day) = (Some(3), Some(10_000));
    vendor.manager_by_email = by_email;
    let given = |seats: &[&str]| GongAssignment {
        seats: seats.iter().map(|seat| (*seat).to_owned()).collect(),
        ..GongAssignment::default()
    };
    vendor
        .assignments
        .insert("Gong sellers".to_owned(), given(&["gong", "engage"]));
    let adas = vendor.seed(member("ADA", "by hand", true));
    vendor.seed(member("cid", "left once", false));
    let mut stranger = member("visitor", "nobody's", true);
    stranger["emails"][0]["value"] = json!("mel@acme.example");
    vendor.seed(stranger);
    let unmanaged = vendor.user("visitor@acme.example");
    let sim = VendorSim::start(vendor).await;
    let token = secret(&scene, "gong", "gong-token");
    let blanks = [
        (
            "https address of the SCIM service",
            format!("{}/scim/v2", sim.base_url()),
        ),
        ("file with the token", token),
        ("domain of the company", "acme.example".to_owned()),
    ];
    let mut lines = vec![("mode: observe", "mode: enforce")];
    lines.extend(edits);
    let start = Start {
        preset: "gong",
        blanks: &blanks,
        edits: &lines,
        defaults: json!({}),
    };
    let mut world = World::start(scene, &start).await;
    let follows = async |world: &World, what: &str, ids: &[&String]| {
        world
            .until(what, || differences(world, &sim, by_email, &sellers, ids))
            .await;
    };

    // Whose account is switched off is in doubt as well.
    let report = [
        ("accounts", 3),
        ("matched", 1),
        ("wouldCreate", 3),
        ("ambiguous", 1),
        ("unmatched", 1),
    ];
    let said = world.approves_first_sync(&report).await;
    assert_eq!(said["wouldChange"]["title"], 1, "{said}");
    follows(&world, "the first sync", &[&ada, &bob, &eve]).await;
    world.rests(3, 2).await;
    world.refused(&cid, "match-inactive", "is switched off").await;
    world.refused(&mel, "scim-uniqueness", "409 uniqueness").await;
    let id = |name: &str| sim.with(|gong| gong.user(name)).unwrap()["id"].clone();
    assert_eq!(id("ada@acme.example"), json!(adas), "whoever had an account keeps it");
    let seats = |name: &str| sim.with(|gong| gong.assigned(name).seats.len());
    assert_eq!((seats("ada@acme.example"), seats("eve@acme.example")), (2, 0));

    // A day with everything, and the service dies in it.
    let (bobs, eves) = (id("bob@acme.example"), id("eve@acme.example"));
    world.change(&ada, json!({ "Title": "VP", "Phone": null, "ProfileId": support }));
    world.change(&bob, json!({ "Email": "Robert@acme.example", "FirstName": "Robert" }));
    world.change(&eve, json!({ "IsActive": false }));
    let finn = hire(&world.scene, "finn", json!({ "ManagerId": bob }));
    let so_far = sim.take_requests();
    world
        .until("the leaver is out", || {
            let out = sim.with(|gong| gong.member("eve@acme.example")).unwrap()["active"] == false;
            if out { Vec::new() } else { vec!["not yet".to_owned()] }
        })
        .await;
    world.kill().await;
    follows(&world, "the day", &[&ada, &bob, &eve, &finn]).await;
    world.rests(4, 2).await;
    assert_eq!(seats("ada@acme.example"), 0, "what the former group gave is gone");

    // Who comes back has the same account, whoever has got another address as well.
    world.change(&eve, json!({ "IsActive": true, "Title": "Back", "ProfileId": sellers }));
    follows(&world, "rehired", &[&ada, &bob, &eve, &finn]).await;
    world.rests(4, 2).await;
    assert_eq!((id("eve@acme.example"), id("robert@acme.example")), (eves, bobs));

    let (count, erasures) = sim.with(|gong| (gong.member_count(), gong.erasures));
    assert_eq!((count, erasures), (6, 0));
    assert_eq!(
        sim.with(|gong| gong.user("visitor@acme.example")),
        unmanaged,
        "nobody else is touched"
    );
    let requests: Vec<_> = so_far.into_iter().chain(sim.take_requests()).collect();
    assert!(busiest(&requests, 1_000) <= 3);
    for request in &requests {
        assert!(
            request.method != "DELETE" && request.path.starts_with("/scim/v2/"),
            "{} {}",
            request.method,
            request.path
        );
        assert!(!format!("{}{}", request.query, request.body).contains("partner"));
    }
    assert_polite(&sim.refused(), "belongs to another");
    world.stop().await;
}
