//! The SCIM service of another Salesforce org: tokens of its own, exactly one profile which is looked at after the write, user
//! names that are kept in lower case and may be taken in an org that nobody here sees, and nobody deleted.

use std::sync::Arc;

use salesforce_sim::{Sim, SimConfig, SimUser, generate_jwt_key_pair};
use serde_json::{Value, json};
use target_sims::{SalesforceScim, VendorSim};

use super::world::{HUB_PROFILE, Start, World, assert_polite, company, department, hire, secret, text};

const SALES: &str = "00e5f000000sales01";
const CHATTER: &str = "00e5f000000chatt01";
const ADMIN: &str = "00e5f000000admin01";
const FORECAST: &str = "0PS5f0000000forec1";

fn name(user: &str) -> String {
    format!("{user}@crm.acme.example.hub")
}

fn wanted(user: &SimUser) -> Value {
    json!({ "userName": format!("{}.hub", text(user, "Username").to_lowercase()), "given": text(user, "FirstName"),
        "family": text(user, "LastName"), "title": user.text("Title"), "email": text(user, "Email"),
        "active": user.is_active(), "profiles": [text(user, HUB_PROFILE)] })
}

fn differences(world: &World, sim: &VendorSim<SalesforceScim>, ids: &[&String]) -> Vec<String> {
    let department = department(&world.scene);
    let mut complaints = Vec::new();
    for id in ids {
        let wanted = wanted(&department[*id]);
        let held = sim
            .with(|sim| sim.user(wanted["userName"].as_str().unwrap()))
            .unwrap_or_default();
        let profiles = held["entitlements"].as_array().into_iter().flatten();
        let profiles: Vec<&str> = profiles
            .filter(|held| held["type"] == "Profile")
            .filter_map(|held| held["value"].as_str())
            .collect();
        let found = json!({ "userName": held["userName"], "given": held["name"]["givenName"],
            "family": held["name"]["familyName"], "title": held["title"], "email": held["emails"][0]["value"],
            "active": held["active"], "profiles": profiles });
        if found != wanted {
            complaints.push(format!("{found} instead of {wanted}"));
        }
    }
    complaints
}

#[tokio::test(flavor = "multi_thread")]
async fn another_salesforce_org_follows_the_department_with_one_profile_each_and_names_in_lower_case() {
    let scene = company().await;
    let keys = generate_jwt_key_pair();
    let hub = Sim::start(SimConfig {
        users: 3,
        seed: 53,
        jwt_public_key_pem: Some(keys.public_pem),
        ..SimConfig::default()
    })
    .await
    .unwrap();
    let person = |name: &str, more: Value| {
        let mut fields = json!({ HUB_PROFILE: SALES });
        for (field, value) in more.as_object().unwrap() {
            fields[field] = value.clone();
        }
        hire(&scene, name, fields)
    };
    let ada = person("ada", json!({}));
    let bob = person(
        "bob",
        json!({ "Username": "BOB@CRM.Acme.Example", HUB_PROFILE: CHATTER }),
    );
    let (cid, eve, finn) = (
        person("cid", json!({})),
        person("eve", json!({})),
        person("finn", json!({})),
    );
    // A user name that is taken in an org that nobody here sees; and nobody without a profile gets past us.
    let (otto, nix) = (person("otto", json!({})), person("nix", json!({ HUB_PROFILE: null })));
    person("gone", json!({ "IsActive": false }));
    let mut vendor = SalesforceScim::default();
    let tokens = hub.org();
    vendor.accepts = Arc::new(move |token| tokens.accepts_token(token));
    let there = |user: &str, title: &str| {
        json!({ "userName": name(user), "name": { "givenName": "Addie", "familyName": "Byron" }, "title": title,
            "emails": [{ "type": "work", "value": "old@acme.example", "primary": true }],
            "entitlements": [{ "value": SALES }, { "value": FORECAST }], "active": true })
    };
    let adas = vendor.seed(&there("ada", "by hand"));
    // Somebody else's key stands on it.
    let mut foreign = there("cid", "AE");
    foreign["externalId"] = json!("E-1815");
    vendor.seed(&foreign);
    vendor.seed(&there("stranger", "AE"));
    vendor.elsewhere.insert(name("otto"));
    let unmanaged = ["cid", "stranger"].map(|user| vendor.user(&name(user)));
    let sim = VendorSim::start(vendor).await;
    let key = secret(&scene, "key.pem", &keys.private_pem);
    let start = Start {
        preset: "salesforce",
        blanks: &[
            (
                "https address of the target org",
                format!("{}/services/scim/v2", sim.base_url()),
            ),
            ("consumer key", hub.client_id().to_owned()),
            ("user name of its integration user", hub.integration_username()),
            ("file with the private key", key),
        ],
        edits: &[("mode: observe", "mode: enforce")],
        defaults: json!({ "connection": { "oauth": { "tokenUrl": format!("{}/services/oauth2/token", hub.http_url()) } } }),
    };
    let mut world = World::start(scene, &start).await;

    let report = [("accounts", 3), ("matched", 1), ("ambiguous", 1), ("unmatched", 1)];
    let said = world.approves_first_sync(&report).await;
    assert_eq!(said["wouldChange"]["title"], 1, "{said}");
    let first = [&ada, &bob, &eve, &finn];
    world
        .until("the first sync", || differences(&world, &sim, &first))
        .await;
    world.rests(4, 3).await;
    world
        .refused(&cid, "match-foreign", "carries another external id")
        .await;
    world.refused(&otto, "user-name-taken-elsewhere", "another org").await;
    world.refused(&nix, "choice-missing", "exactly one Profile").await;
    let held = |user: &str| sim.with(|sim| sim.user(&name(user))).unwrap_or_default();
    assert_eq!(held("ada")["id"], json!(adas), "whoever had an account keeps it");
    let sets = held("ada")["entitlements"].to_string();
    assert!(sets.contains(FORECAST), "what is not ours stays: {sets}");

    // The org takes another profile and keeps the one it had: seen after the write, and said.
    sim.with(|sim| sim.keeps_profile = true);
    world.change(&finn, json!({ HUB_PROFILE: ADMIN }));
    world.rests(4, 4).await;
    world.refused(&finn, "choice-not-taken", "entitlements").await;
    sim.with(|sim| sim.keeps_profile = false);

    // A day with everything, and the service dies in it.
    let eves = held("eve")["id"].clone();
    world.change(
        &ada,
        json!({ "LastName": "King", "Email": "ada.king@acme.example", "Title": null }),
    );
    world.change(
        &bob,
        json!({ "Username": "Robert@CRM.acme.example", HUB_PROFILE: SALES }),
    );
    world.change(&eve, json!({ "IsActive": false }));
    let gil = hire(&world.scene, "gil", json!({ HUB_PROFILE: ADMIN }));
    world
        .until("the leaver is out", || {
            if held("eve")["active"] == false {
                Vec::new()
            } else {
                vec!["not yet".to_owned()]
            }
        })
        .await;
    world.kill().await;
    world
        .until("the day", || differences(&world, &sim, &[&ada, &bob, &eve, &gil]))
        .await;
    world.rests(5, 4).await;

    // Who comes back has the same account; who gets a profile, or a name that is free, gets one.
    world.change(&eve, json!({ "IsActive": true, "LastName": "Back" }));
    world.change(&nix, json!({ HUB_PROFILE: CHATTER }));
    world.change(&otto, json!({ "Username": "otto.2@crm.acme.example" }));
    world.change(&finn, json!({ HUB_PROFILE: CHATTER }));
    let all = [&ada, &bob, &eve, &finn, &gil, &nix, &otto];
    world.until("rehired", || differences(&world, &sim, &all)).await;
    world.rests(7, 1).await;
    assert_eq!(held("eve")["id"], eves, "the same account");

    let (count, created) = sim.with(|sim| (sim.users().len(), sim.created));
    assert_eq!((count, created), (9, 6), "one account each");
    assert_eq!(
        ["cid", "stranger"].map(|user| sim.with(|sim| sim.user(&name(user)))),
        unmanaged,
        "nobody else is touched"
    );
    for request in sim.take_requests() {
        assert_ne!(request.method, "DELETE");
        assert!(request.path.starts_with("/services/scim/v2/"), "{}", request.path);
    }
    assert_polite(&sim.refused(), "nothing is tried twice");
    world.stop().await;
}
