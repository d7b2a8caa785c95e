//! miniOrange's admin API: every call signed, failures with status 200 in the body, user names that are keys and may belong to
//! another customer for ever. Users are written and nothing else, least of all leads.

use salesforce_sim::SimUser;
use serde_json::{Value, json};
use target_sims::{MiniOrange, VendorSim};

use super::world::{Start, World, assert_polite, company, department, hire, secret, text};

fn name(user: &str) -> String {
    format!("{user}@crm.acme.example")
}

fn wanted(user: &SimUser) -> Value {
    json!({ "email": text(user, "Email"), "firstName": text(user, "FirstName"), "lastName": text(user, "LastName"),
        "company": "Acme", "enabled": user.is_active() })
}

/// What differs for these people, by the user names that they were made with.
fn differences(world: &World, sim: &VendorSim<MiniOrange>, people: &[(&str, &String)]) -> Vec<String> {
    let department = department(&world.scene);
    let mut complaints = Vec::new();
    for (user, id) in people {
        let held = sim.with(|sim| sim.user(&name(user))).unwrap_or_default();
        let mut found = json!({});
        for field in ["email", "firstName", "lastName", "company", "enabled"] {
            found[field] = held[field].clone();
        }
        let wanted = wanted(&department[*id]);
        if found != wanted {
            complaints.push(format!("{found} instead of {wanted}"));
        }
    }
    complaints
}

#[tokio::test(flavor = "multi_thread")]
async fn miniorange_follows_the_department_with_signed_calls_and_failures_in_the_body() {
    let scene = company().await;
    let person = |name: &str, more: Value| hire(&scene, name, more);
    let (ada, dora, eve) = (
        person("ada", json!({})),
        person("dora", json!({})),
        person("eve", json!({})),
    );
    // miniOrange asks for a first name, and says so with status 200; and a name that another customer has is taken for ever.
    let (mono, otto) = (person("mono", json!({ "FirstName": null })), person("otto", json!({})));
    person("gone", json!({ "IsActive": false }));
    person("other", json!({ "Department": "Support" }));
    let mut vendor = MiniOrange::default();
    vendor.seed(&name("Ada"));
    vendor.edit(&name("ada"), "email", json!("by.hand@acme.example"));
    vendor.edit(&name("ada"), "alternateEmail", json!("ada@home.example"));
    vendor.seed("stranger@acme.example");
    vendor.others.insert(name("otto"));
    let unmanaged = vendor.user("stranger@acme.example");
    let sim = VendorSim::start(vendor).await;
    let keys = [("customer", "173025"), ("api", "orange-api-key")].map(|(file, key)| secret(&scene, file, key));
    let [customer, api] = keys;
    let start = Start {
        preset: "miniorange",
        blanks: &[("file with the customer key", customer), ("file with the API key", api)],
        // Whoever leaves the first name out of the gate is told by miniOrange.
        edits: &[
            ("mode: observe", "mode: enforce"),
            ("[username, email, givenName, familyName]", "[username, email]"),
        ],
        defaults: json!({ "connection": { "baseUrl": format!("{}/moas/api/admin", sim.base_url()) } }),
    };
    let mut world = World::start(scene, &start).await;

    // The application has no list: that is said, and people are looked up one by one.
    let report = world.approves_first_sync(&[]).await;
    assert!(report["notListed"].is_string(), "{report}");
    let first = [("ada", &ada), ("dora", &dora), ("eve", &eve)];
    world
        .until("the first sync", || differences(&world, &sim, &first))
        .await;
    world.rests(3, 2).await;
    world
        .refused(&otto, "name-of-another-customer", "another customer of miniOrange")
        .await;
    world.refused(&mono, "attribute-missing", "first and last name").await;
    assert_eq!(
        sim.with(|sim| sim.user(&name("ada"))).unwrap()["alternateEmail"],
        "ada@home.example",
        "what is not ours stays"
    );

    // A day with everything, and the service dies in it. A user name at the source is not the account's any more.
    world.change(&ada, json!({ "LastName": "King", "Email": "ada.king@acme.example" }));
    world.change(
        &dora,
        json!({ "Username": name("theodora"), "Email": "theodora@acme.example" }),
    );
    world.change(&eve, json!({ "IsActive": false }));
    let finn = hire(&world.scene, "finn", json!({}));
    world
        .until("the leaver is out", || {
            let out = sim.with(|sim| sim.user(&name("eve"))).unwrap()["enabled"] == false;
            if out { Vec::new() } else { vec!["not yet".to_owned()] }
        })
        .await;
    world.kill().await;
    let all = [("ada", &ada), ("dora", &dora), ("eve", &eve), ("finn", &finn)];
    world.until("the day", || differences(&world, &sim, &all)).await;
    world.rests(4, 2).await;

    // Who comes back has the same account; and whoever is given what was missing gets one.
    world.change(&eve, json!({ "IsActive": true, "LastName": "Back" }));
    world.change(&mono, json!({ "FirstName": "Mono" }));
    world.change(&otto, json!({ "Username": name("otto.2") }));
    let all = [
        ("ada", &ada),
        ("dora", &dora),
        ("eve", &eve),
        ("finn", &finn),
        ("mono", &mono),
        ("otto.2", &otto),
    ];
    world.until("rehired", || differences(&world, &sim, &all)).await;
    world.rests(6, 0).await;

    let (count, created) = sim.with(|sim| (sim.user_count(), sim.created.clone()));
    assert_eq!(count, 7);
    assert!(
        created.len() == 5 && created.values().all(|times| *times == 1),
        "{created:?}"
    );
    assert_eq!(
        sim.with(|sim| sim.user("stranger@acme.example")),
        unmanaged,
        "nobody else is touched"
    );
    assert!(sim.with(|sim| sim.invited.is_empty()), "nobody is sent a mail");
    for request in sim.take_requests() {
        assert!(
            request.path.starts_with("/moas/api/admin/users/"),
            "users and nothing else: {}",
            request.path
        );
        assert!(!request.path.ends_with("/delete"));
    }
    assert_polite(&sim.refused(), "exists already");
    world.stop().await;
}
