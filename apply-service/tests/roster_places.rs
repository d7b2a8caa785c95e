//! Lists in real places: a folder, an S3 server and a WebDAV server that others wrote. What each says of a second writer, of
//! half a write, and of missing rights; and what another CSV reader makes of the file.
#![allow(clippy::unwrap_used)]

#[path = "roster_places/clouds.rs"]
mod clouds;

use std::{
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex},
};

use apply_service::{
    connector::{
        Failure, Operation, Reply,
        lease::Lease,
        roster::{Desk, desk},
    },
    logic::{
        account::AttributePath,
        lane::{Completeness, Links},
    },
    policy::{Dialect, from_texts},
};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    response::Response,
};
use kafka_harness::{S3Server, WebDavServer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};

const FILE: &str = "spinify-users.csv";

/// The desk of a target as its policy file describes it; `connection` is JSON, which is YAML as well.
fn try_desk(connection: &Value) -> Result<Desk, String> {
    let text = json!({ "target": "list", "preset": "spinify-csv", "mode": "enforce", "sources": ["00D000000000001EAA"],
        "scope": { "filter": "all" }, "connection": connection })
    .to_string();
    let policy = from_texts(&[(PathBuf::from("list.yaml"), text)]).map_err(|error| error.to_string())?;
    let target = policy.targets.values().next().unwrap();
    let Dialect::Roster(config) = &target.connection.dialect else {
        panic!("no list")
    };
    let desk = desk(
        &target.policy.name,
        config,
        &target.connection.http,
        &target.policy.guard,
    )
    .unwrap();
    desk.begin(&Links::default());
    Ok(desk)
}

fn at(place: &Value, more: &Value) -> Desk {
    let mut connection = json!({ "roster": { "place": place, "quiet": "0s" } });
    connection
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    try_desk(&connection).unwrap_or_else(|error| panic!("{error}"))
}

fn create(n: u32, given: &str) -> Operation {
    let values = [
        ("externalId", json!(format!("005{n:012}AAA"))),
        ("userName", json!(format!("u{n}@acme.example"))),
        ("name.givenName", json!(given)),
        ("name.familyName", json!("Byron, \"Countess\"")),
        ("timezone", json!("Europe/London")),
        ("active", json!(true)),
    ];
    Operation::Create {
        values: values
            .into_iter()
            .map(|(path, value)| (AttributePath(path.to_owned()), value))
            .collect(),
    }
}

async fn write(desk: &Desk, operations: Vec<Operation>) -> Vec<Result<Reply, Failure>> {
    let picture = Completeness {
        whole: true,
        writes: operations.len(),
        ..Completeness::default()
    };
    desk.observe(picture);
    let all = futures::future::join_all(operations.into_iter().map(|operation| desk.execute(operation)));
    let lease = Lease::unlimited();
    let replies = tokio::select! {
        biased;
        () = desk.run(&lease) => unreachable!("the writer never ends"),
        replies = all => replies,
    };
    desk.observe(Completeness { writes: 0, ..picture });
    replies
}

fn written(replies: &[Result<Reply, Failure>]) {
    assert!(
        replies.iter().all(|reply| matches!(reply, Ok(Reply::Written { .. }))),
        "{replies:?}"
    );
}

fn refused(reply: Result<Reply, Failure>) -> (String, String) {
    match reply {
        Err(Failure::Halt(refusal)) => (refusal.code, refusal.reason),
        other => panic!("{other:?}"),
    }
}

async fn checked(desk: &Desk) -> Vec<String> {
    match desk.execute(Operation::Check).await {
        Ok(Reply::Checked(words)) => words,
        other => panic!("{other:?}"),
    }
}

/// The rows as Python's reader sees them.
fn by_python(text: &str) -> Vec<Vec<String>> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("list.csv");
    std::fs::write(&file, text).unwrap();
    let script =
        "import csv,json,sys; print(json.dumps(list(csv.reader(open(sys.argv[1], newline='', encoding='utf-8')))))";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What holds of every place. `read` gives a file of it by name.
async fn holds_of<F: Future<Output = Option<String>>>(one: &Desk, two: &Desk, read: impl Fn(&'static str) -> F) {
    assert!(checked(one).await[1].ends_with("is not there yet"));
    assert_eq!(read("spinify-users.csv.usher-check").await, None, "the probe is gone");
    written(&write(one, vec![create(1, "Ada"), create(2, "=cmd|'/C calc'!A0")]).await);
    let first = read(FILE).await.unwrap();
    let rows = by_python(&first);
    assert_eq!(
        rows[0],
        ["First Name", "Last Name", "Email", "Active", "Time Zone", "User ID"]
    );
    assert_eq!(rows[1][..3], ["Ada", "Byron, \"Countess\"", "u1@acme.example"]);
    assert_eq!(rows[2][0], "'=cmd|'/C calc'!A0");
    assert_eq!(rows[2][5], "005000000000002AAA");
    assert_eq!(checked(one).await[1], format!("{FILE} has 2 rows"));

    // Another writer who has seen nothing looks before it replaces: these two rows may go, and are kept beside.
    written(&write(two, vec![create(3, "Cy")]).await);
    assert_eq!(read("spinify-users.csv.previous").await.unwrap(), first);
    assert_eq!(by_python(&read(FILE).await.unwrap()).len(), 2);
    // The first one notices before it writes over what it has not seen, and what it replaces is kept.
    let theirs = read(FILE).await;
    written(&write(one, vec![create(4, "Di")]).await);
    assert_eq!(read("spinify-users.csv.previous").await, theirs);
    assert_eq!(by_python(&read(FILE).await.unwrap()).len(), 4);
    for beside in ["spinify-users.csv.usher-tmp", ".spinify-users.csv.tmp"] {
        assert_eq!(read(beside).await, None);
    }
}

#[tokio::test]
async fn a_list_in_a_folder() {
    let folder = TempDir::new().unwrap();
    let place = json!({ "folder": { "path": folder.path() } });
    let read = |name: &'static str| {
        let path = folder.path().join(name);
        async move { std::fs::read_to_string(path).ok() }
    };
    holds_of(&at(&place, &json!({})), &at(&place, &json!({})), read).await;
    let missing = at(&json!({ "folder": { "path": folder.path().join("no") } }), &json!({}));
    let (code, reason) = refused(missing.execute(Operation::Check).await);
    assert!(code == "folder" && reason.contains("has to exist"), "{reason}");
}

/// A bucket with secrets in files.
struct Bucket {
    server: S3Server,
    secrets: TempDir,
}

impl Bucket {
    async fn new() -> Self {
        let (server, secrets) = (S3Server::start().await, TempDir::new().unwrap());
        let made = reqwest::Client::new()
            .put(format!("{}/lists", server.url()))
            .send()
            .await
            .unwrap();
        assert!(made.status().is_success(), "{made:?}");
        for (name, value) in [("id", "test-id\n"), ("key", "test-secret-key\n")] {
            std::fs::write(secrets.path().join(name), value).unwrap();
        }
        Self { server, secrets }
    }

    fn place(&self, more: &Value) -> Value {
        let mut s3 = json!({ "bucket": "lists", "prefix": "usher/spinify", "endpoint": self.server.url(),
            "accessKeyIdFile": self.secrets.path().join("id"), "secretAccessKeyFile": self.secrets.path().join("key") });
        s3.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "s3": s3 })
    }

    async fn read(&self, name: &str) -> Option<String> {
        let url = format!("{}/lists/usher/spinify/{name}", self.server.url());
        // Somebody with a name; the signature is not looked at.
        let somebody =
            "AWS4-HMAC-SHA256 Credential=test-id/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        let asked = reqwest::Client::new().get(url).header("authorization", somebody);
        let answer = asked.send().await.unwrap();
        match answer.status().as_u16() {
            200 => Some(answer.text().await.unwrap()),
            404 => None,
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_list_on_s3() {
    let bucket = Bucket::new().await;
    let place = bucket.place(&json!({}));
    holds_of(&at(&place, &json!({})), &at(&place, &json!({})), |name| {
        bucket.read(name)
    })
    .await;
    let no_bucket = at(&bucket.place(&json!({ "bucket": "elsewhere" })), &json!({}));
    let (code, reason) = refused(write(&no_bucket, vec![create(1, "Ada")]).await.remove(0));
    assert!(
        code == "place-missing" && reason.contains("no such bucket"),
        "{code}: {reason}"
    );
    std::fs::remove_file(bucket.secrets.path().join("key")).unwrap();
    let (code, reason) = refused(at(&place, &json!({})).execute(Operation::Check).await);
    assert!(
        code == "credential-unreadable" && !reason.contains("test-secret-key"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_list_on_s3_without_conditional_writes() {
    let bucket = Bucket::new().await;
    let place = bucket.place(&json!({ "conditional": false }));
    holds_of(&at(&place, &json!({})), &at(&place, &json!({})), |name| {
        bucket.read(name)
    })
    .await;
}

#[tokio::test]
async fn a_store_that_is_away_stops_the_target_and_confirms_nothing() {
    let bucket = Bucket::new().await;
    let place = bucket.place(&json!({}));
    let desk = at(&place, &json!({ "timeouts": { "request": "2s" } }));
    written(&write(&desk, vec![create(1, "Ada")]).await);
    drop(bucket.server);
    let (code, reason) = refused(write(&desk, vec![create(2, "Bob")]).await.remove(0));
    assert!(
        ["connect", "connection-lost", "timeout"].contains(&code.as_str()),
        "{code}: {reason}"
    );
}

#[tokio::test]
async fn a_list_on_webdav() {
    let server = WebDavServer::start().await;
    let secrets = TempDir::new().unwrap();
    let password = secrets.path().join("password");
    std::fs::write(&password, WebDavServer::PASSWORD).unwrap();
    let connection = json!({ "baseUrl": server.url(), "auth": { "basic": { "user": WebDavServer::USER, "passwordFile": password } } });
    let read = |name: &'static str| {
        let path = server.folder().join(name);
        async move { std::fs::read_to_string(path).ok() }
    };
    for moves in [true, false] {
        let place = json!({ "webdav": { "move": moves } });
        holds_of(&at(&place, &connection), &at(&place, &connection), read).await;
        for name in [FILE, "spinify-users.csv.previous"] {
            std::fs::remove_file(server.folder().join(name)).unwrap();
        }
    }
    let place = json!({ "webdav": {} });
    let below = json!({ "baseUrl": format!("{}/not/there", server.url()), "auth": connection["auth"] });
    let (code, reason) = refused(write(&at(&place, &below), vec![create(1, "Ada")]).await.remove(0));
    assert!(code == "place-missing", "{code}: {reason}");
    std::fs::write(&password, "wrong").unwrap();
    let (code, reason) = refused(at(&place, &connection).execute(Operation::Check).await);
    assert!(
        code == "place-forbidden" && reason.contains("connection.auth") && !reason.contains("wrong"),
        "{reason}"
    );
}

/// Stands between us and a WebDAV server, and lets somebody else come at a moment of a write.
struct Between {
    url: String,
    tape: Arc<Mutex<Tape>>,
    _server: JoinSet<()>,
}

/// What was asked, and who comes when.
#[derive(Default)]
struct Tape {
    asked: Vec<String>,
    comes: Option<Visit>,
}

/// Somebody who writes a file `times` times, before or after a request is answered.
struct Visit {
    at: Moment,
    times: usize,
    file: PathBuf,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    /// The file beside is there, and the version was not looked at.
    Staged,
    /// The version was looked at.
    BeforeMove,
    /// The MOVE is done, and its answer is not there yet.
    AfterMove,
}

impl Tape {
    fn reaches(&mut self, moment: Moment) {
        if let Some(visit) = self
            .comes
            .as_mut()
            .filter(|visit| visit.at == moment && visit.times > 0)
        {
            visit.times -= 1;
            std::fs::write(&visit.file, &visit.text).unwrap();
        }
    }
    fn count(&self, method: &str) -> usize {
        self.asked.iter().filter(|asked| *asked == method).count()
    }
}

impl Between {
    async fn start(server: &str) -> Self {
        let tape = Arc::<Mutex<Tape>>::default();
        let (listener, client) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), reqwest::Client::new());
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (server, heard) = (server.to_owned(), Arc::clone(&tape));
        let pass = move |request: Request| {
            let (client, server, tape) = (client.clone(), server.clone(), Arc::clone(&heard));
            async move {
                let (head, body) = request.into_parts();
                let method = head.method.as_str().to_owned();
                let moves = method == "MOVE";
                if moves {
                    tape.lock().unwrap().reaches(Moment::BeforeMove);
                }
                // With the name by which we were called: the destination of a MOVE has it, too.
                let sent = client
                    .request(head.method, format!("{server}{}", head.uri))
                    .headers(head.headers)
                    .body(to_bytes(body, usize::MAX).await.unwrap())
                    .send()
                    .await
                    .unwrap();
                let mut answer = Response::builder().status(sent.status());
                *answer.headers_mut().unwrap() = sent.headers().clone();
                let bytes = sent.bytes().await.unwrap();
                let mut tape = tape.lock().unwrap();
                if moves {
                    tape.reaches(Moment::AfterMove);
                } else if method == "PUT" {
                    tape.reaches(Moment::Staged);
                }
                tape.asked.push(method);
                answer.body(Body::from(bytes)).unwrap()
            }
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, Router::new().fallback(pass)).await.unwrap() });
        Self {
            url,
            tape,
            _server: tasks,
        }
    }
}

/// The list of somebody else, of so many people.
fn theirs(people: usize) -> String {
    let rows: String = (0..people)
        .map(|n| format!("Eve,Other,eve{n}@acme.example,Yes,Europe/London,{n}\r\n"))
        .collect();
    format!("First Name,Last Name,Email,Active,Time Zone,User ID\r\n{rows}")
}

#[tokio::test]
async fn another_writer_on_webdav_at_any_moment_of_a_write() {
    let server = WebDavServer::start().await;
    let between = Between::start(server.url()).await;
    let secrets = TempDir::new().unwrap();
    let password = secrets.path().join("password");
    std::fs::write(&password, WebDavServer::PASSWORD).unwrap();
    let connection = json!({ "baseUrl": between.url, "auth": { "basic": { "user": WebDavServer::USER, "passwordFile": password } } });
    let place = json!({ "webdav": {} });
    let file = server.folder().join(FILE);
    let read = |name: &str| std::fs::read_to_string(server.folder().join(name)).ok();
    let previous = || read("spinify-users.csv.previous");
    // What they write when, how often; whether it is noticed, and how it ends.
    for (at_moment, people, times, noticed, ends) in [
        (Moment::Staged, 1, 1, true, Ok(())),
        // Two hundred people, of whom nobody has decided that they go.
        (Moment::Staged, 200, 1, true, Err("list-shrinks")),
        // Between the look and the MOVE nothing can be noticed: theirs is replaced, as a whole.
        (Moment::BeforeMove, 1, 1, false, Ok(())),
        (Moment::AfterMove, 1, 1, true, Ok(())),
        (Moment::AfterMove, 200, 1, true, Err("list-shrinks")),
        (Moment::AfterMove, 1, usize::MAX, true, Err("roster-contended")),
    ] {
        let when = format!("{at_moment:?}, {people} people, {times} times");
        let desk = at(&place, &connection);
        written(&write(&desk, vec![create(1, "Ada")]).await);
        let (before, text) = (read(FILE).unwrap(), theirs(people));
        *between.tape.lock().unwrap() = Tape {
            asked: vec![],
            comes: Some(Visit {
                at: at_moment,
                times,
                file: file.clone(),
                text: text.clone(),
            }),
        };
        let reply = write(&desk, vec![create(2, "Bob")]).await.remove(0);
        let tape = std::mem::take(&mut *between.tape.lock().unwrap());
        match ends {
            Ok(()) => {
                written(&[reply]);
                let names: Vec<String> = by_python(&read(FILE).unwrap())
                    .into_iter()
                    .map(|row| row[0].clone())
                    .collect();
                assert_eq!(names, ["First Name", "Ada", "Bob"], "{when}");
                let kept = if noticed { &text } else { &before };
                assert_eq!(previous().as_ref(), Some(kept), "{when}: what was seen is kept");
                assert_eq!(tape.count("PUT"), if noticed { 2 } else { 1 }, "{when}");
            }
            Err(code) => {
                assert_eq!(refused(reply).0, code, "{when}");
                assert_eq!(read(FILE), Some(text), "{when}: theirs stays");
            }
        }
        assert_eq!(read("spinify-users.csv.usher-tmp"), None, "{when}");
        for name in [FILE, "spinify-users.csv.previous"] {
            std::fs::remove_file(server.folder().join(name)).unwrap();
        }
    }
}
