//! Spinify's API, which shows who is there and writes nobody: read back, linked, compared, and never asked for anything else.

use serde_json::{Value, json};
use target_sims::{Spinify, VendorSim};

use super::world::{Start, World, assert_polite, company, hire, secret};

#[tokio::test(flavor = "multi_thread")]
async fn spinify_is_read_back_and_whoever_its_own_report_brings_is_linked() {
    let scene = company().await;
    let person = |name: &str, more: Value| hire(&scene, name, more);
    let (ada, bob) = (person("ada", json!({})), person("bob", json!({})));
    let (cid, dora) = (person("cid", json!({})), person("dora", json!({})));
    person("gone", json!({ "IsActive": false }));
    let mut vendor = Spinify::default();
    let adas = vendor.seed("Ada@acme.example", "by", "hand");
    vendor.seed("bob@acme.example", "Bob", "Byron");
    vendor.seed("cid@acme.example", "Cid", "Byron");
    vendor.seed("CID@acme.example", "Cid", "Byron");
    vendor.seed("stranger@acme.example", "Nobody", "Here");
    let sim = VendorSim::start(vendor).await;
    let key = secret(&scene, "spinify", "spinify-api-key");
    let start = Start {
        preset: "spinify-api",
        blanks: &[("file with the API key", key)],
        edits: &[("mode: observe", "mode: link")],
        defaults: json!({ "connection": { "baseUrl": format!("{}/v1", sim.base_url()) },
            "pace": { "perSecond": 100 }, "schedule": { "reconcile": "5s", "drift": { "every": "3s" } } }),
    };
    let mut world = World::start(scene, &start).await;

    world.rests(2, 1).await;
    world.refused(&cid, "match-ambiguous", "several accounts match").await;
    let said = world
        .lane("it is read back", |lane| lane["drift"]["at"].is_string())
        .await;
    assert_eq!(said["drift"]["unmanaged"], 3, "{said}");
    let doras = world.person(&dora).await;
    assert!(doras["state"].as_str().unwrap().contains("no account"), "{doras}");

    // Spinify's own report brings somebody; others are edited, change their address, leave; and the service dies in it.
    world.change(&ada, json!({ "LastName": "King", "Email": "ada.king@acme.example" }));
    sim.with(|sim| sim.seed("dora@acme.example", "Dora", "Byron"));
    let finn = hire(&world.scene, "finn", json!({}));
    world.kill().await;
    sim.with(|sim| sim.seed("finn@acme.example", "Finn", "Byron"));
    world.rests(4, 1).await;
    let finns = world.person(&finn).await;
    assert!(finns["link"]["remoteId"].is_string(), "{finns}");

    // Somebody leaves, and somebody else's account is taken out over there: seen, and nothing is done.
    world.change(&bob, json!({ "IsActive": false }));
    sim.with(|sim| sim.remove(&adas));
    let said = world.lane("missed", |lane| lane["drift"]["missing"] == 1).await;
    assert_eq!(said["links"], 4, "{said}");
    let requests = sim.take_requests();
    let asked = requests
        .iter()
        .all(|request| (request.method.as_str(), request.path.as_str()) == ("GET", "/v1/users"));
    assert!(asked && !requests.is_empty(), "a list, and nothing else");
    assert_polite(&sim.refused(), "nothing is refused");
    world.stop().await;
}
