//! `connect` as an operator meets it, against a provider with PKCE and rotation: with a browser and without, and what the
//! service makes of the token afterwards.
#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
};

use apply_service::{
    connector::{Connector, Failure, Operation, Reply, http::HttpSender, lease::Lease},
    policy,
};
use target_sims::{TokenProvider, VendorSim};
use tempfile::TempDir;

/// A provider, and the files of an installation with one target that authorizes there.
struct Scene {
    provider: VendorSim<TokenProvider>,
    folder: TempDir,
}

impl Scene {
    async fn new(change: impl FnOnce(&mut TokenProvider)) -> Self {
        let mut vendor = TokenProvider::default();
        change(&mut vendor);
        let provider = VendorSim::start(vendor).await;
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("policy")).unwrap();
        std::fs::write(folder.path().join("secret"), "client-s3cret\n").unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let policy = format!(
            "target: hub\npreset: scim\nmode: enforce\nsources: ['00D000000000001EAA']\nscope: {{ filter: all }}\nconnection:\n  \
             baseUrl: '{}/scim'\n  oauth: {{ tokenUrl: /token, authorizeUrl: /authorize, scopes: [api] }}\n  auth: {{ refreshToken: \
             {{ clientId: client, clientSecretFile: '{}', tokenFile: '{}' }} }}\n  scim: {{ discovery: never }}\n",
            provider.base_url(),
            at("secret"),
            at("token")
        );
        std::fs::write(folder.path().join("policy/hub.yaml"), policy).unwrap();
        Self { provider, folder }
    }

    fn connect(&self, arguments: &[&str]) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_apply-service"))
            .args(["connect", "--target", "hub", "--policy"])
            .arg(self.folder.path().join("policy"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (
            child.stdin.take().unwrap(),
            BufReader::new(child.stdout.take().unwrap()),
        );
        Running { child, input, output }
    }

    fn token(&self) -> Option<String> {
        std::fs::read_to_string(self.folder.path().join("token")).ok()
    }

    fn sender(&self) -> (Arc<dyn Connector>, HttpSender) {
        let policy = policy::load(&self.folder.path().join("policy")).unwrap();
        let target = policy.targets.values().next().unwrap();
        let sender = HttpSender::new(target.connection.http.clone()).unwrap();
        (target.connection.connector().unwrap(), sender)
    }
}

struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Running {
    /// The address that somebody opens.
    fn address(&mut self) -> String {
        let mut line = String::new();
        while !line.starts_with("http") {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "no address was said");
        }
        line.trim().to_owned()
    }

    /// Everything that was said until the end, and whether it ended well.
    fn end(mut self) -> (bool, String) {
        drop(self.input);
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.output, &mut said).unwrap();
        let output = self.child.wait_with_output().unwrap();
        said += &String::from_utf8(output.stderr).unwrap();
        (output.status.success(), said)
    }
}

/// A browser that consents: where the provider sends it.
async fn consent(address: &str) -> String {
    let browser = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let answer = browser.get(address).send().await.unwrap();
    assert_eq!(answer.status(), 302);
    answer.headers()["location"].to_str().unwrap().to_owned()
}

async fn check(connector: &Arc<dyn Connector>, sender: &HttpSender) -> Result<Reply, Failure> {
    sender
        .run(connector.begin(Operation::Check), &Lease::unlimited())
        .await
        .0
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_consents_in_a_browser_and_the_service_renews_by_itself() {
    let scene = Scene::new(|_| {}).await;
    let mut running = scene.connect(&["--port", "0"]);
    let back = consent(&running.address()).await;
    // Other pages, and a code that somebody else wants to plant.
    let origin = back.split("/callback").next().unwrap();
    assert_eq!(
        reqwest::get(format!("{origin}/favicon.ico")).await.unwrap().status(),
        404
    );
    let planted = reqwest::get(format!("{origin}/callback?code=planted&state=x"))
        .await
        .unwrap();
    assert_eq!(planted.status(), 400);
    assert_eq!(reqwest::get(&back).await.unwrap().status(), 200);
    let (well, said) = running.end();
    assert!(well && said.contains("target hub answers"), "{said}");
    for secret in scene.provider.with(|provider| provider.handed_out.clone()) {
        assert!(!said.contains(&secret), "{secret} is shown");
    }
    let mode = std::fs::metadata(scene.folder.path().join("token"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    // The check has rotated already; every start and every end of a session rotates once more.
    for round in 2..5 {
        let (connector, sender) = scene.sender();
        let before = scene.token();
        assert!(matches!(check(&connector, &sender).await, Ok(Reply::Checked(_))));
        assert_ne!(scene.token(), before);
        assert_eq!(
            scene.provider.with(|provider| provider.grants["refresh_token"]),
            round * 2 - 2
        );
        scene.provider.with(TokenProvider::end_sessions);
        assert!(matches!(check(&connector, &sender).await, Ok(Reply::Checked(_))));
        assert!(
            sender
                .credential()
                .ends
                .contains_key(&apply_service::connector::http::Ending::AccessToken)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_browser_the_address_is_pasted() {
    let scene = Scene::new(|_| {}).await;
    let mut running = scene.connect(&["--paste", "--redirect-uri", "https://usher.example/done"]);
    let back = consent(&running.address()).await;
    assert!(back.starts_with("https://usher.example/done?"));
    writeln!(running.input, "\nhttps://usher.example/done?code=x&state=y\n{back}").unwrap();
    let (well, said) = running.end();
    assert!(well, "{said}");
    assert!(said.contains("the state differs"), "{said}");
    assert!(scene.token().unwrap().contains("refresh-s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_leaves_everything_as_it_was() {
    let scene = Scene::new(|provider| provider.consents = false).await;
    let mut running = scene.connect(&["--paste"]);
    let back = consent(&running.address()).await;
    writeln!(running.input, "{back}").unwrap();
    let (well, said) = running.end();
    assert!(!well && said.contains("access_denied"), "{said}");
    assert_eq!(scene.token(), None);
    // Nobody has consented: the target stops and says what to do.
    let (connector, sender) = scene.sender();
    let Err(Failure::Halt(refusal)) = check(&connector, &sender).await else {
        panic!("no halt")
    };
    assert!(refusal.reason.contains("apply-service connect"), "{refusal}");
    // A grant that was ended over there, as after a theft.
    std::fs::write(scene.folder.path().join("token"), "refresh-s3cret-9999").unwrap();
    let Err(Failure::Halt(refusal)) = check(&connector, &sender).await else {
        panic!("no halt")
    };
    assert!(
        refusal.reason.contains("invalid_grant") && !refusal.reason.contains("9999"),
        "{refusal}"
    );
}
