//! miniOrange as a SCIM service: six required attributes, and an option by which whoever is switched off is deleted. Either way
//! a leaver is out, stays out, and comes back as one user.

use salesforce_sim::SimUser;
use serde_json::{Value, json};
use target_sims::{MiniOrangeScim, VendorSim};

use super::world::{Start, World, assert_polite, company, department, hire, secret, text};

fn user(name: &str, active: bool) -> Value {
    let (user_name, email) = (format!("{name}@crm.acme.example"), format!("{name}@acme.example"));
    json!({ "userName": user_name, "name": { "givenName": "Addie", "familyName": "Byron" }, "displayName": "by hand",
        "emails": [{ "type": "work", "value": email }], "active": active, "nickName": "not ours" })
}

fn wanted(user: &SimUser) -> Value {
    let (first, last) = (text(user, "FirstName"), text(user, "LastName"));
    json!([
        text(user, "Username"),
        first,
        last,
        format!("{first} {last}"),
        text(user, "Email"),
        user.is_active()
    ])
}

/// What differs for these people. Of somebody who is off, nothing at all is right as well where the option deletes them.
fn differences(world: &World, sim: &VendorSim<MiniOrangeScim>, ids: &[&String]) -> Vec<String> {
    let department = department(&world.scene);
    let mut complaints = Vec::new();
    for id in ids {
        let wanted = wanted(&department[*id]);
        let name = wanted[0].as_str().unwrap();
        let (held, deletes) = sim.with(|sim| (sim.user(name), sim.deletes_deactivated));
        let Some(held) = held else {
            if !(deletes && wanted[5] == false) {
                complaints.push(format!("nobody instead of {wanted}"));
            }
            continue;
        };
        let found = json!([
            held["userName"],
            held["name"]["givenName"],
            held["name"]["familyName"],
            held["displayName"],
            held["emails"][0]["value"],
            held["active"]
        ]);
        if found != wanted {
            complaints.push(format!("{found} instead of {wanted}"));
        }
    }
    complaints
}

#[tokio::test(flavor = "multi_thread")]
async fn miniorange_over_scim_follows_the_department_and_disables_leavers() {
    life(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn miniorange_over_scim_follows_the_department_and_deletes_whoever_is_switched_off() {
    life(true).await;
}

async fn life(deletes: bool) {
    let scene = company().await;
    let person = |name: &str, more: Value| hire(&scene, name, more);
    let (ada, cid) = (person("ada", json!({})), person("cid", json!({})));
    let (dora, eve) = (person("dora", json!({})), person("eve", json!({})));
    person("mono", json!({ "FirstName": null }));
    person("gone", json!({ "IsActive": false }));
    let mut vendor = MiniOrangeScim::default();
    let adas = vendor.seed(user("ADA", true));
    // Somebody else's key stands on it: whose it is, nobody can say.
    let mut foreign = user("cid", true);
    foreign["externalId"] = json!("E-1815");
    vendor.seed(foreign);
    vendor.seed(user("stranger", true));
    let unmanaged = ["cid", "stranger"].map(|name| vendor.user(&format!("{name}@crm.acme.example")));
    vendor.deletes_deactivated = deletes;
    let sim = VendorSim::start(vendor).await;
    let token = secret(&scene, "orange", "orange-token");
    let start = Start {
        preset: "miniorange-scim",
        blanks: &[
            ("https address", format!("{}/scim/v2", sim.base_url())),
            ("file with the token", token),
        ],
        edits: &[("mode: observe", "mode: enforce")],
        defaults: json!({}),
    };
    let mut world = World::start(scene, &start).await;

    let report = [
        ("accounts", 3),
        ("matched", 1),
        ("wouldCreate", 2),
        ("ambiguous", 1),
        ("unmatched", 1),
    ];
    let said = world.approves_first_sync(&report).await;
    assert_eq!(said["wouldChange"]["displayName"], 1, "{said}");
    world
        .until("the first sync", || differences(&world, &sim, &[&ada, &dora, &eve]))
        .await;
    world.rests(3, 1).await;
    world
        .refused(&cid, "match-foreign", "carries another external id")
        .await;
    let held = |name: &str| {
        sim.with(|sim| sim.user(&format!("{name}@crm.acme.example")))
            .unwrap_or_default()
    };
    assert_eq!(
        (&held("ada")["id"], &held("ada")["nickName"]),
        (&json!(adas), &json!("not ours"))
    );

    // A day with everything, and the service dies in it.
    let eves = held("eve")["id"].clone();
    world.change(&ada, json!({ "LastName": "King", "Email": "ada.king@acme.example" }));
    world.change(&eve, json!({ "IsActive": false }));
    let finn = hire(&world.scene, "finn", json!({}));
    // A user name that somebody else has.
    world.change(&dora, json!({ "Username": "stranger@crm.acme.example" }));
    world
        .until("the leaver is out", || {
            let out = held("eve").is_null() || held("eve")["active"] == false;
            if out { Vec::new() } else { vec!["not yet".to_owned()] }
        })
        .await;
    world.kill().await;
    world
        .until("the day", || differences(&world, &sim, &[&ada, &eve, &finn]))
        .await;
    // Whether a link remains of whoever is deleted depends on who saw it: the one who was killed, or the next.
    world
        .lane("the day", |lane| lane["pending"] == 0 && lane["rejected"] == 2)
        .await;
    world
        .refused(&dora, "scim-uniqueness", "409 uniqueness about userName")
        .await;

    // Who comes back is one user, the same where there still is one; and everybody's other name is taken.
    world.change(&eve, json!({ "IsActive": true, "LastName": "Back" }));
    world.change(&dora, json!({ "Username": "theodora@crm.acme.example" }));
    let all = [&ada, &dora, &eve, &finn];
    world.until("rehired", || differences(&world, &sim, &all)).await;
    world.rests(4, 1).await;
    assert_eq!(held("eve")["id"] == eves, !deletes);

    let (count, deleted, created) = sim.with(|sim| (sim.user_count(), sim.deleted, sim.created.clone()));
    assert_eq!((count, deleted), (6, usize::from(deletes)));
    let times = |name: &str| created.get(&format!("{name}@crm.acme.example")).copied().unwrap_or(0);
    assert_eq!(
        ["ada", "dora", "eve", "finn"].map(times),
        [0, 1, 1 + usize::from(deletes), 1],
        "{created:?}"
    );
    assert_eq!(
        ["cid", "stranger"].map(|name| sim.with(|sim| sim.user(&format!("{name}@crm.acme.example")))),
        unmanaged,
        "nobody else is touched"
    );
    assert!(sim.take_requests().iter().all(|request| request.method != "DELETE"));
    assert_polite(&sim.refused(), "uniqueness");
    world.stop().await;
}
