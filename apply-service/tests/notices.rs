//! Notices on the wire: real mails to a mail server that others wrote, parsed by Python's own parser, and webhooks verified by
//! the reference library of Standard Webhooks; the whole service on the client's embedded mock broker.
#![allow(clippy::unwrap_used)]

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::Duration,
};

use apply_service::{App, Config, StatusHandle, config::DEFAULTS, topics};
use kafka_harness::{NoticeOptions, NoticeReceiver};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    mocking::MockCluster,
    producer::{DefaultProducerContext, FutureProducer, FutureRecord},
};
use serde_json::{Value, json};
use target_sims::{MiniOrange, ScimSim, ScimSimConfig, VendorSim};
use usher_runtime::{config::load_text, shutdown::CancellationToken};

const ORG: &str = "00D000000000001EAA";
const OLD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// An authority, and certificates by it, as files.
struct Authority {
    folder: PathBuf,
    file: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A file of certificate and one of its key.
type Pair = (String, String);

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let mut authority = CertificateParams::new(vec![]).unwrap();
        authority.distinguished_name.push(DnType::CommonName, name);
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let pem = authority.self_signed(&key).unwrap().pem();
        std::fs::write(folder.join("ca.pem"), pem).unwrap();
        Self {
            folder: folder.to_owned(),
            file: folder.join("ca.pem").display().to_string(),
            issuer: Issuer::new(authority, key),
        }
    }

    /// Of this name, changed before it is signed.
    fn certificate(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut server = CertificateParams::new(vec![name.to_owned()]).unwrap();
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.use_authority_key_identifier_extension = true;
        change(&mut server);
        let key = KeyPair::generate().unwrap();
        let certificate = server.signed_by(&key, &self.issuer).unwrap().pem();
        let files = std::fs::read_dir(&self.folder).unwrap().count();
        let file = |kind: &str, text: &str| {
            let path = self.folder.join(format!("server-{files}.{kind}"));
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        (file("pem", &certificate), file("key", &key.serialize_pem()))
    }
}

/// An authority and a certificate of this machine by it.
fn certificates(folder: &Path) -> (String, Pair) {
    let authority = Authority::new(folder, "test authority");
    let pair = authority.certificate("localhost", |server| {
        let address = SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST));
        server.subject_alt_names.push(address);
    });
    (authority.file, pair)
}

/// The service with one target.
struct Installation {
    status: StatusHandle,
    stop: CancellationToken,
    service: tokio::task::JoinHandle<()>,
    producer: FutureProducer,
    target: ScimSim,
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Installation {
    async fn start(folder: &Path, notify: &str, service: &str) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        for spec in topics::specs() {
            cluster.create_topic(spec.name, spec.partitions, 1).unwrap();
        }
        let target = ScimSim::start(ScimSimConfig::default()).await;
        std::fs::create_dir_all(folder.join("policy")).unwrap();
        let policy = format!(
            "target: helpdesk\npreset: scim\nmode: enforce\nsources: ['{ORG}']\nconnection: {{ baseUrl: '{}', auth: none }}\n\
             scope: {{ filter: all }}\nmatch: {{ firstSync: auto }}\nguard: {{ windows: [] }}\n{notify}",
            target.base_url()
        );
        std::fs::write(folder.join("policy/helpdesk.yaml"), policy).unwrap();
        let text = format!(
            "kafka: {{ bootstrapServers: '{}', topics: trust }}\npolicy: {{ folder: '{}' }}\nhttp: {{ bind: '127.0.0.1:0' }}\n{service}",
            cluster.bootstrap_servers(),
            folder.join("policy").display()
        );
        let config: Config = load_text(DEFAULTS, Some(("test", &text)), &[]).unwrap();
        assert_eq!(config.validate(), Vec::<String>::new());
        let app = App::build(config).await.unwrap_or_else(|error| panic!("{error}"));
        let (status, stop) = (app.status(), CancellationToken::new());
        let run = app.run(stop.clone());
        #[expect(clippy::disallowed_methods, reason = "runs beside the test")]
        let service = tokio::task::spawn(async move { run.await.unwrap() });
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .create()
            .unwrap();
        Self {
            status,
            stop,
            service,
            producer,
            target,
            cluster,
        }
    }

    async fn publish(&self, n: u32, email: &str, name: &str, manager: Option<u32>) {
        let id = |n: u32| format!("00500000000000{n}AAA");
        let user = json!({"id": id(n), "orgId": ORG, "username": format!("u{n}@acme.example"), "email": email,
            "givenName": name, "familyName": "Byron", "displayName": format!("{name} Byron"), "active": true,
            "managerId": manager.map(id)});
        let message = json!({"version": 1, "kind": "updated", "user": user,
            "cause": {"origin": "query", "observedAt": "2026-01-02T03:04:05Z"}});
        let (key, payload) = (format!("{ORG}:{}", id(n)), message.to_string());
        let record = FutureRecord::to("user-change").key(&key).payload(&payload);
        self.producer.send(record, Duration::from_secs(5)).await.unwrap();
    }

    fn has_account(&self, n: u32) -> bool {
        self.target
            .user_by_external_id(&format!("00500000000000{n}AAA"))
            .is_some()
    }

    async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let arrived = tokio::time::timeout(Duration::from_secs(60), async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(arrived.await.is_ok(), "{what}: {:#?}", self.status.snapshot());
    }

    fn lane(&self) -> apply_service::logic::lane::LaneStatus {
        let name = usher_contract::TargetName::try_new("helpdesk").unwrap();
        self.status
            .snapshot()
            .targets
            .get(&name)
            .and_then(|target| target.lane.clone())
            .unwrap_or_default()
    }

    /// What was done and refused so far.
    fn outcomes(&self) -> Vec<Value> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .set("group.id", "test")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let patience = Duration::from_secs(30);
        let metadata = consumer.fetch_metadata(Some(topics::OUTCOME), patience).unwrap();
        let (mut list, mut left) = (TopicPartitionList::new(), 0);
        for partition in metadata.topics()[0].partitions() {
            let from = Offset::Beginning;
            list.add_partition_offset(topics::OUTCOME, partition.id(), from)
                .unwrap();
            left += 1;
        }
        consumer.assign(&list).unwrap();
        let mut outcomes = Vec::new();
        while left > 0 {
            match consumer.poll(patience).expect("an answer of the broker") {
                Ok(record) => outcomes.extend(serde_json::from_slice(record.payload().unwrap_or_default()).ok()),
                Err(KafkaError::PartitionEOF(_)) => left -= 1,
                Err(error) => panic!("{error}"),
            }
        }
        outcomes
    }

    async fn stop(self) {
        self.stop.cancel();
        self.service.await.unwrap();
    }
}

fn mail_to<'a>(mails: &'a [Value], recipient: &str) -> &'a Value {
    let found = mails.iter().find(|mail| mail["recipients"] == json!([recipient]));
    found.unwrap_or_else(|| panic!("nothing to {recipient}: {mails:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn people_managers_and_endpoints_are_told_by_real_mails_and_signed_messages() {
    let folder = tempfile::TempDir::new().unwrap();
    let (ca, certificate) = certificates(folder.path());
    let receiver = NoticeReceiver::start(NoticeOptions {
        tls: "starttls",
        certificate: Some(certificate),
        login: Some(("usher".into(), "s3cret pässword".into())),
        secrets: vec![OLD_SECRET.into(), NEW_SECRET.into()],
        ..NoticeOptions::default()
    })
    .await;
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{text}\n")).unwrap();
        path.display().to_string()
    };
    let service = format!(
        "mail: {{ server: 127.0.0.1, port: {}, caFile: '{ca}', user: usher, passwordFile: '{}', from: 'Usher <usher@acme.example>' }}\n\
         webhooks: {{ hr: {{ url: 'http://127.0.0.1:{}/in?tenant=1', secretFiles: ['{}', '{}'] }} }}\n",
        receiver.smtp_port(),
        file("password", "s3cret pässword"),
        receiver.http_port(),
        file("new", NEW_SECRET),
        file("old", OLD_SECRET),
    );
    let notify = "notify:\n  firstImport: true\n  onCreate:\n    webhook: hr\n    manager: true\n    user:\n      \
                  subject: 'Welcome {{ displayName }}'\n      text: \"Hello {{ givenName }} from {{ target }}\\n.\\nend\"\n      \
                  html: '<p>Hello {{ givenName }}</p>'\norganization: { notifyManagers: always }\n";
    let installation = Installation::start(folder.path(), notify, &service).await;
    installation.publish(1, "grace@acme.example", "Grace", None).await;
    installation
        .until("the manager has an account", || installation.has_account(1))
        .await;
    let evil = "Zoë <b>\r\nBcc: all@evil.example\r\n\r\nBody";
    installation.publish(2, "zoe@acme.example", evil, Some(1)).await;
    installation
        .until("three mails", || receiver.received("mail").len() == 3)
        .await;
    installation
        .until("two messages", || receiver.received("webhook").len() == 2)
        .await;

    let mails = receiver.received("mail");
    let zoe = mail_to(&mails, "zoe@acme.example");
    assert_eq!((&zoe["encrypted"], &zoe["user"]), (&json!(true), &json!("usher")));
    assert_eq!(
        (&zoe["from"], &zoe["to"]),
        (&json!("usher@acme.example"), &json!("zoe@acme.example"))
    );
    assert_eq!(zoe["sender"], "Usher <usher@acme.example>");
    assert_eq!(
        zoe["subject"], "Welcome Zoë <b> Bcc: all@evil.example Body Byron",
        "one line"
    );
    let headers: Vec<&str> = zoe["headers"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(!headers.contains(&"bcc"), "{headers:?}");
    assert!(zoe["counts"].as_object().unwrap().values().all(|count| *count == 1));
    assert_eq!(zoe["auto"], "auto-generated");
    assert!(
        zoe["text"]
            .as_str()
            .unwrap()
            .replace("\r\n", "\n")
            .contains("from helpdesk\n.\nend"),
        "a lone dot ends nothing"
    );
    let html = zoe["html"].as_str().unwrap();
    assert!(html.contains("Zoë &lt;b&gt;") && !html.contains("<b>"), "{html}");
    let id = zoe["mail"].as_str().unwrap();
    assert!(
        id.starts_with('<') && id.ends_with("@acme.example>") && id.len() == 32 + 15,
        "{id}"
    );
    let grace: Vec<&Value> = mails
        .iter()
        .filter(|mail| mail["recipients"] == json!(["grace@acme.example"]))
        .collect();
    assert_eq!(grace.len(), 2, "her own, and one about her new report");
    assert!(
        grace
            .iter()
            .any(|mail| mail["subject"].as_str().unwrap().contains("has an account at helpdesk"))
    );
    assert!(receiver.received("login").iter().all(|login| login["login"] == true));

    for message in receiver.received("webhook") {
        assert_eq!(message["verified"], json!([true, true]), "by each secret");
        assert_eq!(
            (&message["path"], &message["type"]),
            (&json!("/in?tenant=1"), &json!("application/json"))
        );
        let body = &message["body"];
        assert_eq!(
            (&body["id"], &body["type"]),
            (&message["webhook"], &json!("account.created"))
        );
        assert_eq!(body["data"]["target"], "helpdesk");
        assert!(
            body["data"]["account"].is_string() && !body.to_string().contains("acme"),
            "{body}"
        );
    }
    installation
        .until("all on the books", || installation.lane().notices_owed == 0)
        .await;
    assert_eq!(installation.lane().notices_failed, 0);
    installation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_is_away_delays_nobody_and_refusals_concern_whom_they_should() {
    let folder = tempfile::TempDir::new().unwrap();
    let (ca, certificate) = certificates(folder.path());
    let options = NoticeOptions {
        tls: "implicit",
        certificate: Some(certificate),
        login: Some(("usher".into(), "right".into())),
        mechanism: Some("LOGIN"),
        ..NoticeOptions::default()
    };
    let receiver = NoticeReceiver::start(options.clone()).await;
    let ports = (receiver.smtp_port(), receiver.http_port());
    drop(receiver);
    let password = folder.path().join("password");
    std::fs::write(&password, "wrong").unwrap();
    let service = format!(
        "mail: {{ server: localhost, port: {}, tls: implicit, caFile: '{ca}', user: usher, passwordFile: '{}', from: usher@acme.example, \
         messageIdDomain: usher.acme.example, timeout: 5s }}\n",
        ports.0,
        password.display(),
    );
    let notify = "notify: { firstImport: true, onCreate: { user: true }, retry: { base: 100ms, max: 1s } }\n";
    let installation = Installation::start(folder.path(), notify, &service).await;
    installation.publish(1, "ada@acme.example", "Ada", None).await;
    installation.publish(2, "refused@acme.example", "Bob", None).await;
    installation.publish(3, "later@acme.example", "Eve", None).await;
    installation
        .until("everybody has an account", || {
            (1..=3).all(|n| installation.has_account(n))
        })
        .await;
    installation
        .until("owed", || installation.lane().notices_owed == 3)
        .await;

    // It is back, with another password: that is nobody's refusal.
    let receiver = NoticeReceiver::start(NoticeOptions {
        ports: Some(ports),
        ..options
    })
    .await;
    installation
        .until("the log-in is refused", || !receiver.received("login").is_empty())
        .await;
    assert_eq!(
        (installation.lane().notices_owed, installation.lane().notices_failed),
        (3, 0)
    );
    std::fs::write(&password, "right").unwrap();
    installation
        .until("the mail", || !receiver.received("mail").is_empty())
        .await;
    let mails = receiver.received("mail");
    let ada = mail_to(&mails, "ada@acme.example");
    assert_eq!((&ada["encrypted"], &ada["user"]), (&json!(true), &json!("usher")));
    assert!(ada["mail"].as_str().unwrap().ends_with("@usher.acme.example>"));
    assert!(ada["text"].as_str().unwrap().contains("Hello Ada") && ada["html"].as_str().unwrap().contains("helpdesk"));
    installation
        .until("one refused for good, one for now", || {
            let lane = installation.lane();
            (lane.notices_owed, lane.notices_failed) == (1, 1)
        })
        .await;
    assert_eq!(receiver.received("mail").len(), 1, "once");
    installation.stop().await;
}

/// What can be wrong with a mail server, and the words for it.
struct Trouble {
    tls: &'static str,
    /// How the server offers it.
    offers: &'static str,
    certificate: Option<Pair>,
    password: &'static str,
    code: &'static str,
    words: &'static str,
}

#[tokio::test(flavor = "multi_thread")]
async fn each_trouble_of_a_mail_server_is_said_in_words_loses_nothing_and_delays_nobody() {
    let folder = tempfile::TempDir::new().unwrap();
    let authority = Authority::new(folder.path(), "test authority");
    let good = authority.certificate("localhost", |_| {});
    let stranger = folder.path().join("stranger");
    std::fs::create_dir(&stranger).unwrap();
    let unknown = Authority::new(&stranger, "stranger").certificate("localhost", |_| {});
    let elsewhere = authority.certificate("smtp.elsewhere.example", |_| {});
    let expired = authority.certificate("localhost", |server| {
        server.not_before = rcgen::date_time_ymd(2020, 1, 1);
        server.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let starttls = |offers, certificate, code, words| Trouble {
        tls: "starttls",
        offers,
        certificate,
        password: "right",
        code,
        words,
    };
    let implicit = |offers, certificate, words| Trouble {
        tls: "implicit",
        ..starttls(offers, certificate, "tls", words)
    };
    let troubles = [
        Trouble {
            password: "wrong",
            ..starttls(
                "starttls",
                Some(good.clone()),
                "smtp-535",
                "refuses the log-in with 535",
            )
        },
        // It offers a log-in, which would carry the password in the clear.
        starttls(
            "no-starttls",
            None,
            "smtp-no-starttls",
            "does not offer STARTTLS; see mail.tls",
        ),
        starttls(
            "starttls",
            Some(unknown.clone()),
            "tls",
            "UnknownIssuer; see mail.tls and mail.caFile",
        ),
        starttls(
            "starttls",
            Some(elsewhere.clone()),
            "tls",
            "not valid for name \"localhost\"",
        ),
        starttls("starttls", Some(expired.clone()), "tls", "certificate expired"),
        implicit("implicit", Some(unknown), "UnknownIssuer; see mail.tls and mail.caFile"),
        implicit("implicit", Some(elsewhere), "not valid for name \"localhost\""),
        implicit("implicit", Some(expired), "certificate expired"),
        // The wrong port.
        implicit("no-starttls", None, "see mail.tls and mail.caFile"),
    ];
    let all = troubles.into_iter().enumerate();
    let suffering = all.map(|(number, trouble)| suffers(number, trouble, folder.path(), &authority.file, good.clone()));
    futures::future::join_all(suffering).await;
}

/// Somebody comes while the server is sick, and one more; then it is well.
async fn suffers(number: usize, trouble: Trouble, folder: &Path, ca: &str, good: Pair) {
    let what = format!("{number}: {} with {}", trouble.words, trouble.tls);
    let sick = NoticeReceiver::start(NoticeOptions {
        tls: trouble.offers,
        certificate: trouble.certificate,
        login: Some(("usher".into(), trouble.password.into())),
        ..NoticeOptions::default()
    })
    .await;
    let ports = (sick.smtp_port(), sick.http_port());
    let place = folder.join(number.to_string());
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("password"), "right").unwrap();
    let service = format!(
        "mail: {{ server: localhost, port: {}, tls: {}, caFile: '{}', user: usher, passwordFile: '{}', from: usher@acme.example, \
         timeout: 5s }}\n",
        ports.0,
        trouble.tls,
        ca,
        place.join("password").display(),
    );
    let notify = "notify: { firstImport: true, onCreate: { user: true }, retry: { base: 50ms, max: 1s } }\n";
    let installation = Installation::start(&place, notify, &service).await;
    installation.publish(1, "ada@acme.example", "Ada", None).await;
    let said = |outcome: &Value| {
        let words = outcome["error"].as_str().unwrap_or_default();
        outcome["errorCode"] == trouble.code && outcome["result"] == "retry" && words.contains(trouble.words)
    };
    installation
        .until(&what, || installation.outcomes().iter().any(said))
        .await;
    // While the server is known to be sick somebody else comes.
    installation.publish(2, "eve@acme.example", "Eve", None).await;
    installation
        .until(&what, || (1..=2).all(|n| installation.has_account(n)))
        .await;
    installation
        .until(&what, || installation.lane().notices_owed == 2)
        .await;
    assert_eq!(installation.lane().notices_failed, 0, "{what}");
    assert_eq!(sick.received("mail"), Vec::<Value>::new(), "{what}");
    let shown = sick.received("login").len();
    assert_eq!(
        shown > 0,
        trouble.code == "smtp-535",
        "{what}: the password, {}",
        sick.story()
    );
    drop(sick);

    let well = NoticeReceiver::start(NoticeOptions {
        tls: trouble.tls,
        certificate: Some(good),
        login: Some(("usher".into(), "right".into())),
        ports: Some(ports),
        ..NoticeOptions::default()
    })
    .await;
    installation
        .until(&what, || installation.lane().notices_owed == 0)
        .await;
    let mails = well.received("mail");
    assert_eq!((mails.len(), installation.lane().notices_failed), (2, 0), "{what}");
    mail_to(&mails, "ada@acme.example");
    mail_to(&mails, "eve@acme.example");
    installation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wanted_and_not_configured_is_said_at_the_start() {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::create_dir_all(folder.path().join("policy")).unwrap();
    let policy = format!(
        "target: helpdesk\npreset: scim\nmode: observe\nsources: ['{ORG}']\nconnection: {{ baseUrl: 'https://h.example', auth: none }}\n\
         scope: {{ filter: all }}\nnotify: {{ onCreate: {{ user: true, webhook: [hr, audit] }} }}\n"
    );
    std::fs::write(folder.path().join("policy/helpdesk.yaml"), policy).unwrap();
    let text = format!(
        "policy: {{ folder: '{}' }}\nwebhooks: {{ audits: {{ url: 'https://h.example/', secretFiles: [x] }} }}\n",
        folder.path().join("policy").display()
    );
    let config: Config = load_text(DEFAULTS, Some(("test", &text)), &[]).unwrap();
    let Err(error) = App::build(config).await else {
        panic!("it starts")
    };
    let said = error.to_string();
    for words in ["has no mail server", "`hr`", "did you mean `audits`?", "helpdesk.yaml"] {
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_have_a_target_send_its_own_mail_to_one_person_and_to_a_selection() {
    let folder = tempfile::TempDir::new().unwrap();
    let sim = VendorSim::start(MiniOrange::default()).await;
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{text}\n")).unwrap();
        path.display().to_string()
    };
    let cluster = MockCluster::new(1).unwrap();
    for spec in topics::specs() {
        cluster.create_topic(spec.name, spec.partitions, 1).unwrap();
    }
    std::fs::create_dir(folder.path().join("policy")).unwrap();
    let policy = format!(
        "target: orange\npreset: miniorange\nmode: enforce\nsources: ['{ORG}']\nscope: {{ filter: all }}\nmatch: {{ firstSync: auto }}\n\
         features: {{ invite: true }}\ngate: {{ require: [username] }}\nconnection:\n  baseUrl: '{}/moas/api/admin'\n  rest:\n    secrets: \
         {{ customerKey: '{}', apiKey: '{}' }}\n",
        sim.base_url(),
        file("customer", "173025"),
        file("api", "orange-api-key"),
    );
    std::fs::write(folder.path().join("policy/orange.yaml"), policy).unwrap();
    let tokens = format!("operator {} night-shift", usher_runtime::access::sha256_hex("operator"));
    let config = format!(
        "kafka: {{ bootstrapServers: '{}', topics: trust }}\npolicy: {{ folder: '{}' }}\nhttp: {{ bind: '127.0.0.1:0', tokensFile: '{}' }}\n",
        cluster.bootstrap_servers(),
        folder.path().join("policy").display(),
        file("tokens", &tokens),
    );
    let config: Config = load_text(DEFAULTS, Some(("test", &config)), &[]).unwrap();
    let app = App::build(config).await.unwrap_or_else(|error| panic!("{error}"));
    let (status, stop, url) = (
        app.status(),
        CancellationToken::new(),
        format!("http://{}", app.address()),
    );
    let run = app.run(stop.clone());
    #[expect(clippy::disallowed_methods, reason = "runs beside the test")]
    let service = tokio::task::spawn(async move { run.await.unwrap() });
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .create()
        .unwrap();
    let until = async |what: &str, holds: &dyn Fn() -> bool| {
        let arrived = tokio::time::timeout(Duration::from_secs(60), async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(arrived.await.is_ok(), "{what}: {:#?}", status.snapshot());
    };
    for (n, department) in [(1, "Sales"), (2, "IT"), (3, "Sales")] {
        let id = format!("00500000000000{n}AAA");
        let message = json!({"version": 1, "kind": "updated", "cause": {"origin": "query", "observedAt": "2026-01-02T03:04:05Z"},
            "user": {"id": id, "orgId": ORG, "username": format!("u{n}@acme.example"), "email": format!("u{n}@acme.example"),
                "givenName": "Ada", "familyName": "Byron", "company": "Acme", "department": department, "active": true}});
        let (key, payload) = (format!("{ORG}:{id}"), message.to_string());
        let record = FutureRecord::to("user-change").key(&key).payload(&payload);
        producer.send(record, Duration::from_secs(5)).await.unwrap();
    }
    until("accounts", &|| sim.with(|sim| sim.user_count()) == 3).await;
    let token = file("token", "operator");
    let ask = async |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--url", url.as_str(), "--token-file", token.as_str()]);
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_apply-service"))
            .args(all)
            .output()
            .await
            .unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), text)
    };
    let why = ["--target", "orange", "--reason", "onboarding"];
    let (code, said) = ask(&[&["invite", "--where", "Department = 'Sales'"], &why[..]].concat()).await;
    assert!(
        code == Some(0) && said.contains("asked for 2 people"),
        "{code:?} {said}"
    );
    until("both", &|| sim.with(|sim| sim.invited.len()) == 2).await;
    let (code, said) = ask(&[&["invite", "--user", "u2@acme.example"], &why[..]].concat()).await;
    assert!(
        code == Some(0) && said.contains("asked for 1 people"),
        "{code:?} {said}"
    );
    until("all", &|| sim.with(|sim| sim.invited.len()) == 3).await;
    let mut invited = sim.with(|sim| sim.invited.clone());
    invited.sort();
    assert_eq!(invited, ["u1@acme.example", "u2@acme.example", "u3@acme.example"]);
    for (arguments, words) in [
        (&["--where", "Departmnt = 'x'"][..], "did you mean"),
        (&["--user", "nobody@acme.example"], "nobody found"),
    ] {
        let (code, said) = ask(&[&["invite"], arguments, &why[..]].concat()).await;
        assert!(code == Some(1) && said.contains(words), "{code:?} {said}");
    }
    let lane_rests = || {
        let name = usher_contract::TargetName::try_new("orange").unwrap();
        let lane = status
            .snapshot()
            .targets
            .get(&name)
            .and_then(|target| target.lane.clone());
        lane.is_some_and(|lane| lane.notices_owed == 0)
    };
    until("on the books", &lane_rests).await;
    let (code, said) = ask(&["where", "u2@acme.example"]).await;
    assert!(code == Some(0) && said.contains("onboarding: invited"), "{said}");
    assert!(
        said.contains("the target's own activation or password-reset mail: sent at"),
        "{said}"
    );
    let (_, said) = ask(&["report", "--action", "invite"]).await;
    assert_eq!(
        said.matches("night-shift").count(),
        5,
        "three people and two commands: {said}"
    );
    let (code, _) = ask(&["invite", "--target", "orange", "--reason", "r"]).await;
    assert_eq!(code, Some(64), "one person, or a filter");
    stop.cancel();
    service.await.unwrap();
}
