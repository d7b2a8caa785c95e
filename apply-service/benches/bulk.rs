//! What a SCIM Bulk would bring (RFC 7644 section 3.7): new users one by one, several at a time, and in bulks, at a server that others
//! wrote. The service sends none; `docs/scim.md` says why, with the figures of this.
//!
//! `--people N`, `--bulk N` operations of one, `--rounds N`, `--quick`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a bench"
)]

use std::time::Instant;

use futures::{StreamExt as _, stream};
use kafka_harness::{
    Scim2Options, Scim2Server,
    figures::{machine, size},
};
use serde_json::{Value, json};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const BULK: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
const AT_ONCE: usize = 4;

fn user(round: u64, way: &str, n: u64) -> Value {
    let name = format!("u{n}-{way}-{round}@acme.example");
    json!({ "schemas": [USER], "userName": name, "active": true, "name": { "givenName": "Ada", "familyName": "Byron" },
        "emails": [{ "type": "work", "value": name, "primary": true }] })
}

async fn post(client: &reqwest::Client, url: String, body: Value) -> Value {
    let sent = client.post(url).header("content-type", "application/scim+json");
    let answer = sent.body(body.to_string()).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

#[tokio::main]
async fn main() {
    let (many, bulk) = (size("--people", 200, 20), size("--bulk", 100, 10));
    println!("{many} new users at scim2-server, bulks of {bulk}, on {}", machine());
    let server = Scim2Server::start(Scim2Options::default()).await;
    let (client, base) = (reqwest::Client::new(), server.base_url().to_owned());
    for round in 1..=size("--rounds", 3, 1) {
        let started = Instant::now();
        for n in 0..many {
            post(&client, format!("{base}/Users"), user(round, "one", n)).await;
        }
        let one = many as f64 / started.elapsed().as_secs_f64();
        let started = Instant::now();
        let each = stream::iter(0..many).map(|n| post(&client, format!("{base}/Users"), user(round, "some", n)));
        each.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
        let some = many as f64 / started.elapsed().as_secs_f64();
        let started = Instant::now();
        for from in (0..many).step_by(usize::try_from(bulk).unwrap()) {
            let of = |n: u64| json!({ "method": "POST", "path": "/Users", "bulkId": n.to_string(), "data": user(round, "bulk", n) });
            let operations: Vec<Value> = (from..many.min(from + bulk)).map(of).collect();
            let count = operations.len();
            let body = json!({ "schemas": [BULK], "Operations": operations });
            let answer = post(&client, format!("{base}/Bulk"), body).await;
            let made = answer["Operations"].as_array().unwrap().iter();
            let made = made
                .filter(|made| made["status"].as_str().is_some_and(|status| status == "201") || made["status"] == 201);
            assert_eq!(made.count(), count, "{answer}");
        }
        let bulks = many as f64 / started.elapsed().as_secs_f64();
        println!(
            "round {round}: one by one {one:>6.0}/s, {AT_ONCE} at a time {some:>6.0}/s, in bulks {bulks:>6.0}/s; ratio {:.1}",
            bulks / one.max(some)
        );
    }
}
