//! The edge over real connections: addresses, heads of answers, certificates on both sides, tokens on 401.

use std::{net::SocketAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::connector::{
    Connector, Operation,
    scim::{ScimConfig, ScimConnector},
};

async fn check(sender: &HttpSender) -> Result<Reply, String> {
    let connector = ScimConnector::new(ScimConfig {
        discovery: crate::connector::scim::config::Discovery::Never,
        ..ScimConfig::default()
    });
    let (result, _) = sender.run(connector.begin(Operation::Check), &Lease::unlimited()).await;
    result.map_err(|failure| match failure {
        Failure::Halt(refusal) => format!("halt {}: {}", refusal.code, refusal.reason),
        Failure::Reject(refusal) => format!("reject {}: {}", refusal.code, refusal.reason),
        Failure::Retry(refusal, _) => format!("retry {}: {}", refusal.code, refusal.reason),
    })
}

fn leads_to(address: &str) -> Lookup {
    let address: SocketAddr = address.parse().unwrap();
    Arc::new(move |_| Box::pin(async move { Ok(vec![address]) }))
}

/// Answers every request with this text; the address.
async fn server(answer: String) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve(stream, &answer).await;
        }
    });
    address
}

/// The same over TLS, for whoever shows a certificate of the authority.
async fn tls_server(authority: &Authority, answer: String) -> SocketAddr {
    let (cert, key) = authority.issue("localhost", 2090);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap())
        .unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, &answer).await;
            }
        }
    });
    address
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) {
    let mut buffer = [0; 4096];
    let _ = stream.read(&mut buffer).await;
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn list() -> String {
    let body = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":0,"Resources":[]}"#;
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/scim+json\r\ncontent-length: {}\r\nconnection: close\r\n",
        body.len()
    ) + "\r\n"
        + body
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_connected_to_unless_listed() {
    let address = server(list()).await;
    let mut config = HttpConfig::new(format!("http://target.example:{}/scim", address.port()));
    config.allow_plaintext = true;
    let inside = || leads_to("127.0.0.1:0");
    let sender = HttpSender::with_lookup(config.clone(), inside()).unwrap();
    let refused = check(&sender).await.unwrap_err();
    assert!(
        refused.starts_with("halt address-refused: target.example leads to 127.0.0.1, which is this machine"),
        "{refused}"
    );
    config.allow_addresses = vec!["127.0.0.1".to_owned()];
    let sender = HttpSender::with_lookup(config.clone(), inside()).unwrap();
    check(&sender).await.unwrap();
    let sender = HttpSender::with_lookup(config, leads_to("169.254.169.254:0")).unwrap();
    let refused = check(&sender).await.unwrap_err();
    assert!(refused.contains("which is a metadata service"), "{refused}");
}

#[tokio::test]
async fn the_token_endpoint_is_held_to_the_same_addresses() {
    let address = server(list()).await;
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "s3cret").unwrap();
    let mut config = HttpConfig::new(format!("http://localhost:{}/scim", address.port()));
    config.allow_plaintext = true;
    config.auth = AuthConfig::ClientCredentials {
        client_id: "client".to_owned(),
        client_secret_file: Some(secret.path().to_owned()),
        client_secret_env: None,
    };
    config.oauth.token_url = Some(format!("http://login.example:{}/token", address.port()));
    let sender = HttpSender::with_lookup(config, leads_to("127.0.0.1:0")).unwrap();
    let refused = check(&sender).await.unwrap_err();
    assert!(refused.starts_with("halt token-unavailable"), "{refused}");
    assert!(refused.contains("login.example leads to 127.0.0.1"), "{refused}");
    assert!(!refused.contains("s3cret"));
    assert!(sender.credential().problem.unwrap().contains("login.example"));
}

#[tokio::test]
async fn heads_of_answers_are_limited() {
    for (headers, fine) in [(1, true), (20, false), (200, false)] {
        let long = format!("x-long: {}\r\n", "x".repeat(4000)).repeat(headers);
        let answer = list().replacen("\r\n", &format!("\r\n{long}"), 1);
        let address = server(answer).await;
        let sender = HttpSender::new(HttpConfig::new(format!("http://{address}/"))).unwrap();
        let checked = check(&sender).await;
        assert_eq!(checked.is_ok(), fine, "{headers}: {checked:?}");
    }
}

#[tokio::test]
async fn a_refresh_token_without_a_durable_home_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = HttpConfig::new("https://target.example");
    config.oauth.token_url = Some("/token".to_owned());
    let home = |file: PathBuf, rotates| AuthConfig::RefreshToken {
        client_id: "client".to_owned(),
        client_secret_file: None,
        client_secret_env: None,
        token_file: file,
        rotates,
    };
    config.auth = home(folder.path().join("no/such/folder/token"), true);
    let error = HttpSender::new(config.clone()).unwrap_err().to_string();
    assert!(
        error.contains("nothing can be saved to") && error.contains("rotates: false"),
        "{error}"
    );
    config.auth = home(folder.path().join("no/such/folder/token"), false);
    HttpSender::new(config.clone()).unwrap();
    config.auth = home(folder.path().join("token"), true);
    HttpSender::new(config).unwrap();
}

/// An authority with certificates for a server at `localhost` and for a client.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(parameters, key),
        }
    }

    /// Certificate and key for a name, valid until a year.
    fn issue(&self, name: &str, year: i32) -> (String, String) {
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

#[tokio::test]
async fn both_sides_show_certificates_and_a_renewed_one_counts_without_a_restart() {
    let authority = Authority::new();
    let address = tls_server(&authority, list()).await;
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = authority.issue("usher", 2030);
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    let mut config = HttpConfig::new(format!("https://localhost:{}/scim", address.port()));
    let untrusted = check(&HttpSender::new(config.clone()).unwrap()).await.unwrap_err();
    assert!(
        untrusted.starts_with("halt tls") && untrusted.contains("caFile"),
        "{untrusted}"
    );
    config.ca_file = put("ca.pem", &authority.pem);
    assert!(
        check(&HttpSender::new(config.clone()).unwrap()).await.is_err(),
        "no certificate was shown"
    );

    config.client_cert_file = put("client.pem", &cert);
    config.client_key_file = put("client.key", &authority.issue("other", 2030).1);
    let unfit = HttpSender::new(config.clone()).unwrap_err();
    assert!(unfit.to_string().contains("connection.clientKeyFile"), "{unfit}");
    put("client.key", &key);
    let sender = HttpSender::new(config.clone()).unwrap();
    check(&sender).await.unwrap();
    let ends = |sender: &HttpSender| sender.credential().ends[&Ending::ClientCertificate].to_string();
    assert_eq!(ends(&sender), "2030-01-01T00:00:00Z");

    let (cert, key) = authority.issue("usher", 2040);
    put("client.pem", &cert);
    let later = now() + Duration::from_secs(61);
    sender.clients.get(later);
    assert_eq!(ends(&sender), "2030-01-01T00:00:00Z", "half a change is none");
    put("client.key", &key);
    sender.clients.get(later + Duration::from_secs(61));
    assert_eq!(ends(&sender), "2040-01-01T00:00:00Z");
    check(&sender).await.unwrap();
}

/// The vendor counts both interfaces together: a request to one of them takes the place of one to the other.
#[tokio::test]
async fn a_sender_beside_another_takes_from_the_same_limit() {
    let limited = |rate| {
        let mut config = HttpConfig::new("https://h.example");
        config.requests_per_second = rate;
        config
    };
    let main = HttpSender::new(limited(Some(1.0))).unwrap();
    let beside = main.beside(limited(Some(1000.0))).unwrap();
    let (one, two) = (main.pace.as_ref().unwrap(), beside.pace.as_ref().unwrap());
    assert!(Arc::ptr_eq(one, two), "one limit for both");
    // Where nothing is counted, the other interface's own limit stands.
    let alone = HttpSender::new(limited(None)).unwrap();
    assert!(alone.beside(limited(Some(1.0))).unwrap().pace.is_some());
    assert!(alone.beside(limited(None)).unwrap().pace.is_none());
}

const BEHIND_A_PROXY: &str = "USHER_TEST_BEHIND_A_PROXY";

/// In a process of its own, because the environment of a process is everybody's.
#[tokio::test]
async fn a_proxy_of_the_environment_is_not_used() {
    #[expect(clippy::disallowed_methods, reason = "how a proxy reaches a process")]
    let target = std::env::var(BEHIND_A_PROXY).ok();
    if let Some(target) = target {
        check(&HttpSender::new(HttpConfig::new(target)).unwrap()).await.unwrap();
        return;
    }
    let (target, proxy) = (
        server(list()).await,
        tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(),
    );
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child.args([
        "--exact",
        "connector::http::sender_tests::a_proxy_of_the_environment_is_not_used",
    ]);
    child
        .env(BEHIND_A_PROXY, format!("http://{target}/"))
        .kill_on_drop(true);
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        child.env(name, format!("http://{}/", proxy.local_addr().unwrap()));
    }
    for name in ["NO_PROXY", "no_proxy", "REQUEST_METHOD"] {
        child.env_remove(name);
    }
    let output = tokio::select! {
        output = child.output() => output.unwrap(),
        _ = proxy.accept() => panic!("the proxy was asked"),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// The versions of TLS that a client offers with its first message, and what it says to a server that answers with an old one.
async fn offered(versions_max: [u8; 2]) -> (Vec<[u8; 2]>, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 5];
        stream.read_exact(&mut head).await.unwrap();
        let mut hello = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
        stream.read_exact(&mut hello).await.unwrap();
        // RFC 5246 section 7.4.1.3: version, random, no session, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, no compression.
        let [major, minor] = versions_max;
        let mut answer = vec![22, major, minor, 0, 42, 2, 0, 0, 38, major, minor];
        answer.extend([7; 32]);
        answer.extend([0, 0xc0, 0x13, 0]);
        let _ = stream.write_all(&answer).await;
        let _ = stream.read(&mut [0; 64]).await;
        hello
    };
    let sender = HttpSender::new(HttpConfig::new(format!("https://localhost:{port}/"))).unwrap();
    let (hello, refused) = tokio::join!(serve, check(&sender));
    // RFC 8446 section 4.1.2: type and length, version, random; then session, suites, compression, extensions.
    let byte = |at: usize| usize::from(hello[at]);
    let word = |at: usize| byte(at) << 8 | byte(at + 1);
    let mut at = 4 + 2 + 32;
    at += 1 + byte(at);
    at += 2 + word(at);
    at += 1 + byte(at);
    let end = at + 2 + word(at);
    at += 2;
    let mut versions = vec![];
    while at < end {
        let (kind, length) = (word(at), word(at + 2));
        // supported_versions (RFC 8446 section 4.2.1).
        if kind == 43 {
            versions = hello[at + 5..at + 4 + length]
                .chunks(2)
                .map(|two| [two[0], two[1]])
                .collect();
        }
        at += 4 + length;
    }
    (versions, refused.unwrap_err())
}

#[tokio::test]
async fn no_tls_below_1_2_is_offered_or_accepted() {
    let (tls_1_0, tls_1_1, tls_1_2, tls_1_3) = ([3, 1], [3, 2], [3, 3], [3, 4]);
    for old in [tls_1_0, tls_1_1] {
        let (versions, refused) = offered(old).await;
        assert!(
            versions.contains(&tls_1_2) && versions.contains(&tls_1_3),
            "{versions:?}"
        );
        assert!(versions.iter().all(|version| *version >= tls_1_2), "{versions:?}");
        assert!(refused.starts_with("halt tls"), "{old:?}: {refused}");
    }
}

#[tokio::test]
async fn nothing_is_sent_to_the_organization_whose_people_these_are() {
    let address = server(list()).await;
    let token = tempfile::NamedTempFile::new().unwrap();
    let mut config = HttpConfig::new(format!("http://{address}/"));
    config.auth = AuthConfig::BearerTokenFile(token.path().to_owned());
    config.own_organizations = ["00D000000000001EAA".parse().unwrap()].into();
    for (text, fine) in [
        ("00D000000000001!AQs3cret", false),
        ("00D000000000002!AQs3cret", true),
        ("eyJ.a.b", true),
    ] {
        std::fs::write(token.path(), text).unwrap();
        let sender = HttpSender::new(config.clone()).unwrap();
        let (result, trace) = sender
            .run(
                ScimConnector::new(ScimConfig::default()).begin(Operation::Check),
                &Lease::unlimited(),
            )
            .await;
        assert_eq!(trace.requests > 0, fine, "{text}: {result:?}");
        if !fine {
            let refused = check(&sender).await.unwrap_err();
            assert!(
                refused.starts_with("halt own-organization: the credentials belong to organization 00D000000000001EAA"),
                "{refused}"
            );
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }
    // A token that does not say it itself: the answer of the token endpoint does.
    for (org, fine) in [("00D000000000001EAA", false), ("00D000000000002EAA", true)] {
        let body = format!(
            r#"{{"access_token":"eyJ.a.b","token_type":"Bearer","id":"https://login.example/id/{org}/005000000000001AAA"}}"#
        );
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
        let tokens = server(format!("{head}content-length: {}\r\n\r\n{body}", body.len())).await;
        std::fs::write(token.path(), "s3cret").unwrap();
        config.auth = AuthConfig::ClientCredentials {
            client_id: "client".to_owned(),
            client_secret_file: Some(token.path().to_owned()),
            client_secret_env: None,
        };
        config.oauth.token_url = Some(format!("http://{tokens}/token"));
        let sender = HttpSender::new(config.clone()).unwrap();
        let checked = check(&sender).await;
        assert_eq!(checked.is_ok(), fine, "{checked:?}");
        assert!(fine || checked.unwrap_err().starts_with("halt own-organization"));
        assert_eq!(sender.credential().problem.is_none(), fine);
    }
}
