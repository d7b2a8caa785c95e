//! The list for SkyPrep's import, to the letter: from a person's message to the file, in a folder, on S3 and on WebDAV, by the
//! whole service on the client's embedded mock broker. What a place does to a file is in `roster_places.rs`.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use apply_service::{App, Config, config::DEFAULTS, topics};
use kafka_harness::{S3Server, WebDavServer};
use rdkafka::{
    ClientConfig,
    mocking::MockCluster,
    producer::{FutureProducer, FutureRecord},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use usher_runtime::{config::load_text, shutdown::CancellationToken};

const FILE: &str = "skyprep-users.csv";
const PATIENCE: Duration = Duration::from_secs(60);

async fn publish(producer: &FutureProducer, version: u64, number: u32, names: (&str, &str), active: bool) {
    let id = format!("00500000000000{number}AAA");
    let address = format!("p{number}@acme.example");
    let (given, family) = names;
    let message = json!({"version": version, "kind": "updated", "user": {"id": id, "orgId": "00D000000000001EAA", "username": address,
        "email": address, "givenName": given, "familyName": family, "department": "Sales", "active": active},
        "cause": {"origin": "query", "observedAt": "2026-01-02T03:04:05Z"}});
    let (key, message) = (format!("00D000000000001EAA:{id}"), message.to_string());
    let record = FutureRecord::to("user-change").key(&key).payload(&message);
    producer.send(record, Duration::from_secs(5)).await.unwrap();
}

async fn at_s3(server: &S3Server) -> String {
    let somebody = "AWS4-HMAC-SHA256 Credential=id/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
    let url = format!("{}/lists/{FILE}", server.url());
    let asked = reqwest::Client::new().get(url).header("authorization", somebody);
    asked.send().await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_for_skyprep_is_what_its_import_takes_at_every_place() {
    let (folder, dav, s3) = (
        TempDir::new().unwrap(),
        WebDavServer::start().await,
        S3Server::start().await,
    );
    let made = reqwest::Client::new().put(format!("{}/lists", s3.url())).send().await;
    assert!(made.unwrap().status().is_success());
    let cluster = MockCluster::new(1).unwrap();
    for spec in topics::specs() {
        cluster.create_topic(spec.name, spec.partitions, 1).unwrap();
    }
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    };
    std::fs::create_dir(folder.path().join("lists")).unwrap();
    let target = |name: &str, place: Value, connection: Value, more: Value| {
        let mut all = json!({ "roster": { "place": place, "quiet": "100ms", "atMost": "1s" } });
        let mut policy = json!({ "target": name, "preset": "skyprep-csv", "mode": "enforce", "sources": ["00D000000000001EAA"],
            "scope": { "filter": "all" }, "match": { "firstSync": "auto" }, "guard": { "windows": [] } });
        for (object, with) in [(&mut all, &connection), (&mut policy, &more)] {
            object
                .as_object_mut()
                .unwrap()
                .extend(with.as_object().unwrap().clone());
        }
        policy["connection"] = all;
        file(&format!("policy/{name}.yaml"), &policy.to_string());
    };
    target(
        "folder",
        json!({ "folder": { "path": folder.path().join("lists") } }),
        json!({}),
        json!({}),
    );
    let auth =
        json!({ "basic": { "user": WebDavServer::USER, "passwordFile": file("password", WebDavServer::PASSWORD) } });
    target(
        "dav",
        json!({ "webdav": {} }),
        json!({ "baseUrl": dav.url(), "auth": auth }),
        json!({}),
    );
    let bucket = json!({ "s3": { "bucket": "lists", "endpoint": s3.url(), "accessKeyIdFile": file("id", "id"),
        "secretAccessKeyFile": file("key", "key") } });
    target("bucket", bucket, json!({}), json!({}));
    // As the preset's README has it: the import can regroup by a column.
    let readme = include_str!("../presets/skyprep-csv/README.md");
    let grouped = readme
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let with_groups = format!(
        "target: groups\npreset: skyprep-csv\nmode: enforce\nsources: ['00D000000000001EAA']\nscope: {{ filter: all }}\nmatch: {{ firstSync: \
         auto }}\nguard: {{ windows: [] }}\n{}",
        grouped
            .unwrap()
            .replace("/lists", &folder.path().join("lists").display().to_string())
            .replace("quiet: 10s", "quiet: 100ms")
    );
    file("policy/groups.yaml", &with_groups);

    let text = format!(
        "kafka: {{ bootstrapServers: '{}', topics: trust }}\npolicy: {{ folder: '{}' }}\nhttp: {{ bind: '127.0.0.1:0' }}\n",
        cluster.bootstrap_servers(),
        folder.path().join("policy").display()
    );
    let config: Config = load_text(DEFAULTS, Some(("test", &text)), &[]).unwrap();
    let app = App::build(config).await.unwrap_or_else(|error| panic!("{error}"));
    let (status, stop) = (app.status(), CancellationToken::new());
    let run = app.run(stop.clone());
    #[expect(clippy::disallowed_methods, reason = "runs beside the test")]
    let service = tokio::task::spawn(async move { run.await.unwrap() });
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .create()
        .unwrap();

    let lists = async || {
        let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        [
            read(folder.path().join("lists").join(FILE)),
            read(dav.folder().join(FILE)),
            at_s3(&s3).await,
            read(folder.path().join("lists/skyprep-groups.csv")),
        ]
    };
    let become_ = async |plain: &str, grouped: &str| {
        let wanted = [plain, plain, plain, grouped].map(str::to_owned);
        let mut held = lists().await;
        let waited = tokio::time::timeout(PATIENCE, async {
            while held != wanted {
                tokio::time::sleep(Duration::from_millis(100)).await;
                held = lists().await;
            }
        });
        if waited.await.is_err() {
            panic!(
                "{wanted:#?} is wanted, and there is {:#?}: {:#?}",
                lists().await,
                status.snapshot()
            );
        }
    };
    publish(&producer, 1, 1, ("Ada", "Byron, \"Countess\""), true).await;
    publish(&producer, 1, 2, ("=cmd|'/C calc'!A0", "Babbage"), true).await;
    // RFC 4180, UTF-8, no byte order mark; our key in user_identifier; SkyPrep sends no mail.
    become_(
        "email,first_name,last_name,user_identifier,active,email_notifications,send_login_info\r\n\
         p1@acme.example,Ada,\"Byron, \"\"Countess\"\"\",005000000000001AAA,Yes,No,No\r\n\
         p2@acme.example,'=cmd|'/C calc'!A0,Babbage,005000000000002AAA,Yes,No,No\r\n",
        "email,first_name,last_name,user_identifier,active,email_notifications,send_login_info,group\r\n\
         p1@acme.example,Ada,\"Byron, \"\"Countess\"\"\",005000000000001AAA,Yes,No,No,Sales\r\n\
         p2@acme.example,'=cmd|'/C calc'!A0,Babbage,005000000000002AAA,Yes,No,No,Sales\r\n",
    )
    .await;
    // Who leaves stays in the list and is off.
    publish(&producer, 2, 1, ("Adā", "King"), false).await;
    become_(
        "email,first_name,last_name,user_identifier,active,email_notifications,send_login_info\r\n\
         p1@acme.example,Ada,\"Byron, \"\"Countess\"\"\",005000000000001AAA,No,No,No\r\n\
         p2@acme.example,'=cmd|'/C calc'!A0,Babbage,005000000000002AAA,Yes,No,No\r\n",
        "email,first_name,last_name,user_identifier,active,email_notifications,send_login_info,group\r\n\
         p1@acme.example,Ada,\"Byron, \"\"Countess\"\"\",005000000000001AAA,No,No,No,Sales\r\n\
         p2@acme.example,'=cmd|'/C calc'!A0,Babbage,005000000000002AAA,Yes,No,No,Sales\r\n",
    )
    .await;
    stop.cancel();
    service.await.unwrap();
}
