//! What a bucket costs at most, and what is said when it cannot be reached: over real connections.

use std::net::SocketAddr;

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::connector::{Refusal, lease::Lease};

/// What a store does after it has read the head of a request.
#[derive(Clone)]
enum Store {
    Mute,
    Says(String),
    /// A head, and then bytes without an end.
    Endless(String),
}

async fn serve(store: Store) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            match &store {
                Store::Mute => open.push(stream),
                Store::Says(text) => {
                    let _ = stream.write_all(text.as_bytes()).await;
                    let _ = stream.shutdown().await;
                }
                Store::Endless(head) => {
                    let _ = stream.write_all(head.as_bytes()).await;
                    // No letters, and slowly: what reads on without a limit fails by its time, not by memory.
                    while stream.write_all(&[0xff; 8192]).await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
        }
    });
    address
}

/// A bucket behind a name that leads to this machine, and the folder of its secrets.
fn bucket(host: &str, address: SocketAddr, allowed: &[&str], request_timeout_ms: u64) -> (Objects, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, "s3cret").unwrap();
        path
    };
    let config = serde_json::json!({ "s3": { "bucket": "b", "endpoint": format!("http://{host}:{}", address.port()),
        "accessKeyIdFile": file("id"), "secretAccessKeyFile": file("key") } });
    let config: PlaceConfig = serde_json::from_value(config).unwrap();
    let http = HttpConfig {
        allow_addresses: allowed.iter().map(|range| (*range).to_owned()).collect(),
        request_timeout_ms,
        ..HttpConfig::new("")
    };
    let here = SocketAddr::from(([127, 0, 0, 1], 0));
    let clients = Clients::new(&http, Arc::new(move |_| Box::pin(async move { Ok(vec![here]) })), now()).unwrap();
    (Objects::with_clients(config, Arc::new(clients), &http, 1000), folder)
}

fn failed<T>(answer: Result<T, PlaceError>) -> Refusal {
    match answer {
        Err(PlaceError::Failed(refusal)) => refusal,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it went well"),
    }
}

#[tokio::test]
async fn whatever_a_mute_store_is_asked_ends_within_the_limit() {
    let address = serve(Store::Mute).await;
    let ((place, _secrets), gate) = (bucket("localhost", address, &[], 100), Gate::new(Lease::unlimited()));
    let all = async {
        [
            failed(place.version("a.csv").await),
            failed(place.read("a.csv").await),
            failed(place.copy("a.csv", "b.csv").await),
            failed(place.remove("a.csv").await),
            failed(place.replace("a.csv", b"one", None, &gate).await),
        ]
    };
    // Not a measurement: without a limit this would wait for ever.
    let all = tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
    for refusal in &all {
        assert_eq!(refusal.code, "timeout", "{}", refusal.reason);
    }
    assert_eq!(
        all[0].reason,
        "looking at S3 b failed: the store did not answer within 100 ms (connection.timeouts.request)"
    );
}

#[tokio::test]
async fn of_an_explanation_without_an_end_the_beginning_is_read_and_of_a_list_no_more_than_allowed() {
    let head = |status: &str| {
        Store::Endless(format!(
            "HTTP/1.1 {status}\r\ncontent-length: 999999999999\r\nlast-modified: Sun, 22 Nov 2026 10:00:00 GMT\r\netag: \"e\"\r\n\r\n\
             <Error><Code>Broken</Code>\u{e9}"
        ))
    };
    let limit = 60_000;
    let (bad, _secrets) = bucket("localhost", serve(head("400 Bad Request")).await, &[], limit);
    let refusal = failed(bad.read("a.csv").await);
    assert_eq!(refusal.code, "place-failed", "{}", refusal.reason);
    assert!(refusal.reason.ends_with("(Broken)"), "{}", refusal.reason);
    let (missing, _secrets) = bucket("localhost", serve(head("404 Not Found")).await, &[], limit);
    assert_eq!(missing.read("a.csv").await, Ok(None));
    let (good, _secrets) = bucket("localhost", serve(head("200 OK")).await, &[], limit);
    let refusal = failed(good.read("a.csv").await);
    assert_eq!(refusal.code, "answer-too-large", "{}", refusal.reason);
    assert!(refusal.reason.contains("maxBytes"), "{}", refusal.reason);
}

#[tokio::test]
async fn heads_of_answers_are_limited() {
    let many = format!("x-long: {}\r\n", "x".repeat(4000)).repeat(20);
    let head = |more: &str| Store::Says(format!("HTTP/1.1 404 Not Found\r\n{more}content-length: 0\r\n\r\n"));
    let (small, _secrets) = bucket("localhost", serve(head("")).await, &[], 60_000);
    assert_eq!(small.version("a.csv").await, Ok(None));
    let (large, _secrets) = bucket("localhost", serve(head(&many)).await, &[], 60_000);
    assert_eq!(failed(large.version("a.csv").await).code, "answer-too-large");
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_says_what_is_missing() {
    let nothing = Store::Says("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned());
    let address = serve(nothing).await;
    let refusal = failed(bucket("store.example", address, &[], 60_000).0.version("a.csv").await);
    assert_eq!(refusal.code, "address-refused");
    assert_eq!(
        refusal.reason,
        "looking at S3 b failed: store.example leads to 127.0.0.1, which is this machine; list it under connection.allowAddresses \
         if it is meant"
    );
    let (listed, _secrets) = bucket("store.example", address, &["127.0.0.0/8"], 60_000);
    assert_eq!(listed.version("a.csv").await, Ok(None));
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refusal = failed(bucket("localhost", gone, &[], 60_000).0.version("a.csv").await);
    assert_eq!(refusal.code, "connect", "{}", refusal.reason);
    assert!(!refusal.reason.contains("s3cret"), "{}", refusal.reason);
}
