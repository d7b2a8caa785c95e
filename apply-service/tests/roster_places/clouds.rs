//! Lists in Azure Blob Storage and in Google Cloud Storage: over HTTP, with conditional writes and a second writer. Azure's server is
//! Microsoft's; of Google's there is none that keeps conditions and can be installed, so one of ours follows its description.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

use apply_service::connector::Operation;
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::HeaderMap,
    response::Response,
};
use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use kafka_harness::AzureServer;
use object_store::{ObjectStore, ObjectStoreExt as _, azure::MicrosoftAzureBuilder, path::Path as ObjectPath};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};

use super::{FILE, at, create, holds_of, refused, write, written};

fn azure(server: &AzureServer, key: &Path, more: &Value) -> Value {
    let mut azure = json!({ "account": AzureServer::ACCOUNT, "container": "lists", "prefix": "usher/spinify",
        "endpoint": server.url(), "accessKeyFile": key });
    azure.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "azure": azure })
}

/// The container, with the rights that an administrator has.
fn container(server: &AzureServer) -> impl ObjectStore {
    MicrosoftAzureBuilder::new()
        .with_account(AzureServer::ACCOUNT)
        .with_access_key(AzureServer::KEY)
        .with_container_name("lists")
        .with_endpoint(server.url().to_owned())
        .with_allow_http(true)
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_list_in_azure_blob_storage() {
    let (server, secrets) = (AzureServer::start().await, TempDir::new().unwrap());
    let key = secrets.path().join("key");
    std::fs::write(&key, format!("{}\n", AzureServer::KEY)).unwrap();
    let place = azure(&server, &key, &json!({}));
    let missing = at(&place, &json!({}));
    let (code, reason) = refused(write(&missing, vec![create(1, "Ada")]).await.remove(0));
    assert!(code == "place-missing", "{code}: {reason}");
    make_container(&server).await;
    let store = container(&server);
    let read = |name: &'static str| {
        let path = ObjectPath::from(format!("usher/spinify/{name}"));
        let store = &store;
        async move {
            let bytes = store.get(&path).await.ok()?.bytes().await.unwrap();
            Some(String::from_utf8(bytes.to_vec()).unwrap())
        }
    };
    holds_of(&at(&place, &json!({})), &at(&place, &json!({})), read).await;
    // Azurite checks signatures: another key is refused, and not repeated.
    std::fs::write(&key, "bm90LXRoZS1rZXk=").unwrap();
    let (code, reason) = refused(at(&place, &json!({})).execute(Operation::Check).await);
    assert!(
        code == "place-forbidden" && !reason.contains("bm90LXRoZS1rZXk"),
        "{code}: {reason}"
    );
}

/// Makes the container: a request signed with the account's key ("Authorize with Shared Key" in Microsoft's documentation).
async fn make_container(server: &AzureServer) {
    #[expect(clippy::disallowed_methods, reason = "the server compares it with its own clock")]
    let now = Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let (version, account) = ("2021-08-06", AzureServer::ACCOUNT);
    // Eleven headers that are not sent, then ours, then the resource; the account stands in the path as well.
    let signed = format!(
        "PUT{}x-ms-date:{now}\nx-ms-version:{version}\n/{account}/{account}/lists\nrestype:container",
        "\n".repeat(12)
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(&BASE64.decode(AzureServer::KEY).unwrap()).unwrap();
    mac.update(signed.as_bytes());
    let signature = BASE64.encode(mac.finalize().into_bytes());
    let answer = reqwest::Client::new()
        .put(format!("{}/lists?restype=container", server.url()))
        .header("x-ms-date", now)
        .header("x-ms-version", version)
        .header("authorization", format!("SharedKey {account}:{signature}"))
        .header("content-length", "0")
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
}

/// A bucket of Google's as its XML interface describes it: a generation per write, and writes only over the one that is named.
#[derive(Default)]
struct Google {
    objects: BTreeMap<String, (u64, Vec<u8>)>,
    generations: u64,
    /// Conditions of writes, in order.
    conditions: Vec<String>,
    /// Somebody else writes this right before the next write of the list.
    comes: Option<Vec<u8>>,
}

impl Google {
    fn put(&mut self, path: &str, bytes: Vec<u8>) -> u64 {
        self.generations += 1;
        self.objects.insert(path.to_owned(), (self.generations, bytes));
        self.generations
    }

    fn answer(&mut self, method: &str, path: &str, headers: &HeaderMap, body: Vec<u8>) -> (u16, u64, Vec<u8>) {
        let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let held = self.objects.get(path).cloned();
        if !path.starts_with("/lists/") {
            return (404, 0, b"<Error><Code>NoSuchBucket</Code></Error>".to_vec());
        }
        match (method, held) {
            ("PUT", _) if header("x-goog-copy-source").is_some() => {
                let from = format!("/{}", header("x-goog-copy-source").unwrap());
                match self.objects.get(&from).cloned() {
                    Some((_, bytes)) => (200, self.put(path, bytes), b"<CopyObjectResult/>".to_vec()),
                    None => (404, 0, Vec::new()),
                }
            }
            ("PUT", _) => {
                if path.ends_with("csv")
                    && let Some(theirs) = self.comes.take()
                {
                    self.put(path, theirs);
                }
                let wanted = header("x-goog-if-generation-match");
                let is = self.objects.get(path).map_or(0, |(generation, _)| *generation);
                self.conditions.push(wanted.clone().unwrap_or_default());
                if wanted.is_some_and(|wanted| wanted != is.to_string()) {
                    return (412, 0, Vec::new());
                }
                (200, self.put(path, body), Vec::new())
            }
            ("GET" | "HEAD", Some((generation, bytes))) => (200, generation, bytes),
            ("DELETE", Some(_)) => {
                self.objects.remove(path);
                (204, 0, Vec::new())
            }
            _ => (404, 0, Vec::new()),
        }
    }
}

async fn google() -> (String, Arc<Mutex<Google>>, JoinSet<()>) {
    let (bucket, listener) = (
        Arc::<Mutex<Google>>::default(),
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    );
    let (url, heard) = (
        format!("http://{}", listener.local_addr().unwrap()),
        Arc::clone(&bucket),
    );
    let serve = move |request: Request| {
        let bucket = Arc::clone(&heard);
        async move {
            let (head, body) = request.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
            let (method, path) = (head.method.as_str(), head.uri.path());
            let (status, generation, bytes) = bucket.lock().unwrap().answer(method, path, &head.headers, body);
            Response::builder()
                .status(status)
                .header("x-goog-generation", generation.to_string())
                .header("etag", format!("\"{generation}\""))
                .header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")
                .body(Body::from(bytes))
                .unwrap()
        }
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, Router::new().fallback(serve)).await.unwrap() });
    (url, bucket, tasks)
}

#[tokio::test]
async fn a_list_in_google_cloud_storage() {
    let (url, bucket, _server) = google().await;
    let secrets = TempDir::new().unwrap();
    let key = secrets.path().join("key.json");
    let account = json!({ "private_key": "k", "private_key_id": "i", "client_email": "e", "disable_oauth": true });
    std::fs::write(&key, account.to_string()).unwrap();
    let place = |name: &str| json!({ "gcs": { "bucket": name, "prefix": "usher/spinify", "endpoint": url, "serviceAccountFile": key } });
    let held = |name: &str| {
        // As the client encodes it.
        let path = format!(
            "/lists/usher%2Fspinify%2F{}",
            name.replace('-', "%2D").replace('.', "%2E")
        );
        let found = bucket.lock().unwrap().objects.get(&path).cloned();
        found.map(|(_, bytes)| String::from_utf8(bytes).unwrap())
    };
    holds_of(
        &at(&place("lists"), &json!({})),
        &at(&place("lists"), &json!({})),
        |name| std::future::ready(held(name)),
    )
    .await;
    {
        let mut bucket = bucket.lock().unwrap();
        let conditions = std::mem::take(&mut bucket.conditions);
        assert!(
            conditions.len() > 3 && conditions.iter().all(|condition| condition.parse::<u64>().is_ok()),
            "every write names what it replaces: {conditions:?}"
        );
        // Somebody is faster by a moment: what they wrote is kept beside, and only then replaced.
        bucket.comes = Some(b"First Name,Last Name,Email,Active,Time Zone,User ID\r\n".to_vec());
    }
    let desk = at(&place("lists"), &json!({}));
    written(&write(&desk, vec![create(7, "Eve")]).await);
    assert!(held("spinify-users.csv.previous").unwrap().lines().count() == 1);
    assert!(held(FILE).unwrap().contains("Eve"));
    let (code, reason) = refused(
        write(&at(&place("elsewhere"), &json!({})), vec![create(1, "Ada")])
            .await
            .remove(0),
    );
    assert!(code == "place-missing", "{code}: {reason}");
}
