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
