//! A plain HTTP load generator: so many loops, each sends one request after the other and reads the answer. Nothing is
//! decided, looked up, recorded or committed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use reqwest::{Client, Method, header::CONTENT_TYPE};
use usher_contract::UserKey;

use super::{people::key, sink::Sink};

/// What is sent for each person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// A look-up by external id, then a POST.
    Create,
    /// One PATCH.
    Update,
}

/// Requests per second at this concurrency, for so many people.
pub(crate) async fn run(sink: &Sink, mix: Mix, people: u64, concurrency: usize, body: &str) -> f64 {
    let client = Client::builder().no_proxy().build().unwrap();
    let (next, body, url) = (
        Arc::<AtomicU64>::default(),
        Arc::<str>::from(body),
        Arc::<str>::from(sink.url.as_str()),
    );
    let before = sink.requests();
    let began = Instant::now();
    let loops: Vec<_> = (0..concurrency)
        .map(|_| {
            let (client, next, body, url) = (client.clone(), Arc::clone(&next), Arc::clone(&body), Arc::clone(&url));
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= people {
                        return;
                    }
                    one(&client, mix, &url, &body, key(number)).await;
                }
            })
        })
        .collect();
    for each in loops {
        each.await.unwrap();
    }
    (sink.requests() - before) as f64 / began.elapsed().as_secs_f64()
}

async fn one(client: &Client, mix: Mix, url: &str, body: &str, key: UserKey) {
    let id = key.user;
    let (method, address) = match mix {
        Mix::Create => {
            let filter = format!("{url}/Users?filter=externalId%20eq%20%22{id}%22&startIndex=1&count=10");
            let answer = client.get(filter).send().await.unwrap();
            assert!(answer.status().is_success());
            answer.bytes().await.unwrap();
            (Method::POST, format!("{url}/Users"))
        }
        Mix::Update => (Method::PATCH, format!("{url}/Users/{id}")),
    };
    let request = client
        .request(method, address)
        .header(CONTENT_TYPE, "application/scim+json");
    let answer = request.body(body.to_owned()).send().await.unwrap();
    assert!(answer.status().is_success());
    answer.bytes().await.unwrap();
}
