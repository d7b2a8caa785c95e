//! The API in process: who may do what, which bodies it takes, where it sends them.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc};
use usher_contract::Approval;
use usher_runtime::access::sha256_hex;

use super::*;
use crate::{pipeline::Refusal, status::Role as ReplicaRole};

const USER: &str = "005ZL000000M0x1YAC";
const VIEWER: Option<&str> = Some("v");
const OPERATOR: Option<&str> = Some("o");
const APPROVER: Option<&str> = Some("a");

/// A replica of one or several orgs, with three tokens.
struct Replica {
    api: Api,
    commands: Vec<mpsc::Receiver<Command>>,
    folder: tempfile::TempDir,
}

impl Replica {
    fn of(names: &[&str], role: ReplicaRole) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        let line = |role: &str, token: &str, name: &str| format!("{role} {} {name}\n", sha256_hex(token));
        let lines = [
            line("viewer", "v", "vera"),
            line("operator", "o", "otto"),
            line("approver", "a", "ada"),
        ];
        std::fs::write(&file, lines.concat()).unwrap();
        let (mut orgs, mut commands) = (Vec::new(), Vec::new());
        for (number, name) in names.iter().enumerate() {
            let (sender, receiver) = mpsc::channel(4);
            let status = StatusHandle::of(name);
            status.update(|status| {
                status.role = role;
                let id = usher_contract::OrgId::try_new(&format!("00D00000000000{number}")).unwrap();
                status.org_id = Some(id.to_string());
            });
            orgs.push(OrgApi {
                name: (*name).to_owned(),
                status,
                commands: sender,
            });
            commands.push(receiver);
        }
        let api = Api {
            status: ServiceStatusHandle::new(orgs.iter().map(|org| org.status.clone()).collect()),
            orgs: Arc::new(orgs),
            access: Arc::new(Access::new(Some(file))),
            forwarder: Forwarder::new().unwrap(),
        };
        Self { api, commands, folder }
    }
    fn leader() -> Self {
        Self::of(&["acme"], ReplicaRole::Leader)
    }
    /// A standby that has been told of this leader.
    fn standby(leader: Option<&str>) -> Self {
        let replica = Self::of(&["acme"], ReplicaRole::Standby);
        replica.api.orgs[0]
            .status
            .update(|status| status.leader = leader.map(str::to_owned));
        replica
    }
    async fn ask(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> (u16, Value) {
        let (status, _, body) = self.ask_with(method, path, token, body, false).await;
        (status, body)
    }
    async fn ask_with(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &str,
        forwarded: bool,
    ) -> (u16, reqwest::header::HeaderMap, Value) {
        let url = format!("http://{}{path}", serve(self.api.clone()).await);
        let method = method.parse::<reqwest::Method>().unwrap();
        let mut request = reqwest::Client::new().request(method, url).body(body.to_owned());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if forwarded {
            request = request.header(forward::FORWARDED, "1");
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        (status, headers, answer.json().await.unwrap_or(Value::Null))
    }
    /// Asks, and plays the leader's loop meanwhile.
    async fn answered(
        &mut self,
        path: &str,
        token: Option<&str>,
        body: &str,
        said: Result<&str, Refusal>,
    ) -> (u16, Value, Option<Approval>) {
        let mut commands = self.commands.remove(0);
        let said = said.map(str::to_owned);
        let leader = async {
            let (answer, by) = match commands.recv().await.unwrap() {
                Command::Reimport { answer, .. } => (answer, None),
                Command::Approve { answer, by, .. } | Command::Erase { answer, by, .. } => (answer, Some(by)),
                other => panic!("{other:?}"),
            };
            answer.send(said).unwrap();
            by
        };
        let ((status, body), by) = tokio::join!(self.ask("POST", path, token, body), leader);
        self.commands.insert(0, commands);
        (status, body, by)
    }
}

#[tokio::test]
async fn each_route_takes_the_role_that_the_document_names() {
    let replica = Replica::leader();
    for endpoint in ENDPOINTS {
        let Some(role) = endpoint.role else { continue };
        let path = endpoint.path.replace("{id}", USER);
        let method = endpoint.method.to_uppercase();
        assert_eq!(replica.ask(&method, &path, None, "").await.0, 401, "{path}");
        assert_eq!(replica.ask(&method, &path, Some("wrong"), "").await.0, 401, "{path}");
        let too_low = match role {
            Role::Viewer => None,
            Role::Operator => VIEWER,
            Role::Approver => OPERATOR,
        };
        if let Some(token) = too_low {
            let (status, body) = replica.ask(&method, &path, Some(token), "").await;
            assert_eq!(status, 403, "{path}");
            assert!(
                body["error"].as_str().unwrap().contains("this needs the role"),
                "{body}"
            );
        }
    }
}

#[tokio::test]
async fn the_document_has_every_route_and_only_those() {
    let replica = Replica::leader();
    let (status, document) = replica.ask("GET", "/v1/openapi.json", None, "").await;
    assert_eq!(status, 200);
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            if !path.starts_with("/v1") {
                continue;
            }
            let asked = path.replace("{id}", USER);
            let (status, _) = replica.ask(&method.to_uppercase(), &asked, None, "").await;
            assert!(!matches!(status, 404 | 405), "{method} {path} answers {status}");
            let other = if method == "get" { "DELETE" } else { "GET" };
            assert_eq!(replica.ask(other, &asked, None, "").await.0, 405, "{other} {path}");
        }
    }
    for endpoint in ENDPOINTS {
        assert!(
            document["paths"][endpoint.path][endpoint.method].is_object(),
            "{}",
            endpoint.path
        );
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in ["ServiceStatus", "Status", "HeldView", "EraseRequest", "Erred"] {
        assert!(schemas.contains_key(name), "{name}");
    }
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is referred to and not there");
    }
}

#[tokio::test]
async fn bodies_and_parameters_that_are_not_understood_are_refused_with_words() {
    let replica = Replica::leader();
    let long = format!("{{\"reason\":\"{}\"}}", "x".repeat(501));
    let huge = "x".repeat(BODY_BYTES_MAX + 1);
    for (path, body, status) in [
        ("/v1/removals/s/approve", "", 400),
        ("/v1/removals/s/approve", "{\"reason\":\"  \"}", 400),
        ("/v1/removals/s/approve", "{\"reason\":\"a\\nb\"}", 400),
        ("/v1/removals/s/approve", "{\"reason\":\"x\",\"actor\":\"me\"}", 400),
        ("/v1/removals/s/approve", long.as_str(), 400),
        ("/v1/removals/s/approve", huge.as_str(), 413),
        ("/v1/erase", "{\"user\":\"005\",\"reason\":\"x\"}", 400),
        ("/v1/erase", "{\"user\":\"005ZL000000M0x1YAC\"}", 400),
        ("/v1/reimport", "{\"users\":1}", 400),
        ("/v1/reimport?orgg=acme", "", 400),
        ("/v1/reimport?org=unknown", "", 404),
    ] {
        let (answered, said) = replica.ask("POST", path, APPROVER, body).await;
        assert_eq!(answered, status, "{path} {said}");
        assert!(said["error"].is_string(), "{path} {said}");
    }
    for path in [
        "/v1/removals?limit=0",
        "/v1/removals?limit=x",
        "/v1/removals?after=x",
        "/v1/users/x",
    ] {
        assert_eq!(replica.ask("GET", path, VIEWER, "").await.0, 400, "{path}");
    }
}

#[tokio::test]
async fn the_actor_is_the_tokens_name_and_the_kind_of_refusal_is_the_status() {
    let mut replica = Replica::leader();
    let approve = "/v1/removals/20260102T000000Z/approve";
    let (status, body, by) = replica
        .answered(approve, APPROVER, "{\"reason\":\" new report \"}", Ok("150 people"))
        .await;
    assert_eq!((status, body["result"].as_str()), (202, Some("150 people")));
    let by = by.unwrap();
    assert_eq!((by.actor.as_str(), by.reason.as_str()), ("ada", "new report"));
    let erase = format!("{{\"user\":\"{USER}\",\"reason\":\"asked for\"}}");
    for (said, expected) in [
        (Ok("erased"), 200),
        (Err(Refusal::NotFound("nobody".to_owned())), 404),
        (Err(Refusal::Conflict("active".to_owned())), 409),
        (Err(Refusal::Unavailable("standby".to_owned())), 503),
    ] {
        let words = match &said {
            Ok(words) => (*words).to_owned(),
            Err(Refusal::NotFound(words) | Refusal::Conflict(words) | Refusal::Unavailable(words)) => words.clone(),
        };
        let (status, body, _) = replica.answered("/v1/erase", APPROVER, &erase, said).await;
        assert_eq!(status, expected);
        let field = if expected == 200 { "result" } else { "error" };
        assert_eq!(body[field].as_str(), Some(words.as_str()));
    }
}

#[tokio::test]
async fn several_orgs_want_to_be_told_apart() {
    let mut replica = Replica::of(&["production", "sandbox"], ReplicaRole::Leader);
    let (status, body) = replica.ask("POST", "/v1/reimport", OPERATOR, "").await;
    assert_eq!(status, 400);
    let words = body["error"].as_str().unwrap();
    assert!(
        words.contains("--org") && words.contains("production, sandbox"),
        "{words}"
    );
    let id = replica.api.orgs[1].status.get().org_id.unwrap();
    replica.commands.remove(0);
    for named in ["sandbox", &id, &id[..15]] {
        let path = format!("/v1/reimport?org={named}");
        let (status, _, _) = replica.answered(&path, OPERATOR, "", Ok("begins")).await;
        assert_eq!(status, 202, "{named}");
    }
    let (_, status) = replica.ask("GET", "/v1/status", VIEWER, "").await;
    assert_eq!(status["orgs"][1]["name"], "sandbox");
    assert_eq!(status["orgs"].as_array().unwrap().len(), 2);
}

/// Serves a replica as the other ones reach it; gives its address.
async fn serve(api: Api) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let service = api.routes().into_make_service_with_connect_info::<SocketAddr>();
    #[expect(
        clippy::disallowed_methods,
        reason = "a server beside the test, gone with its runtime"
    )]
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

#[tokio::test]
async fn a_standby_forwards_with_the_callers_own_token() {
    let mut leader = Replica::leader();
    let mut commands = leader.commands.remove(0);
    let standby = Replica::standby(Some(&serve(leader.api.clone()).await));
    let body = "{\"reason\":\"checked\"}";
    let play = async {
        match commands.recv().await.unwrap() {
            Command::Approve { id, by, answer } => {
                answer.send(Ok(format!("{id} by {}", by.actor))).unwrap();
            }
            other => panic!("{other:?}"),
        }
    };
    let (answer, ()) = tokio::join!(standby.ask("POST", "/v1/removals/s1/approve", APPROVER, body), play);
    assert_eq!((answer.0, answer.1["result"].as_str()), (202, Some("s1 by ada")));
    // The leader looks at the token itself: a replica lends nobody its rights.
    std::fs::write(leader.folder.path().join("tokens"), "").unwrap();
    let (status, _) = standby.ask("POST", "/v1/removals/s1/approve", APPROVER, body).await;
    assert_eq!(status, 401);
    // Whatever the leader refuses comes through with its words.
    let (status, _) = standby.ask("GET", "/v1/removals?limit=0", VIEWER, "").await;
    assert_eq!(status, 400, "and nonsense is not even forwarded");
}

#[tokio::test]
async fn a_request_is_forwarded_at_most_once() {
    // Two replicas that each take the other for the leader.
    let one = Replica::standby(None);
    let other = Replica::standby(Some(&serve(one.api.clone()).await));
    one.api.orgs[0]
        .status
        .update(|status| status.leader = Some("127.0.0.1:1".to_owned()));
    let (status, headers, body) = other.ask_with("GET", "/v1/removals", VIEWER, "", false).await;
    assert_eq!(status, 503);
    assert!(headers.contains_key("retry-after"));
    assert!(
        body["error"].as_str().unwrap().contains("does not lead either"),
        "{body}"
    );
    let (status, _, _) = one.ask_with("GET", "/v1/removals", VIEWER, "", true).await;
    assert_eq!(status, 503);
}

#[tokio::test]
async fn without_a_leader_that_answers_it_is_later_and_not_wrong() {
    for (leader, words) in [(None, "no replica leads yet"), (Some("127.0.0.1:1"), "does not answer")] {
        let standby = Replica::standby(leader);
        let (status, headers, body) = standby.ask_with("GET", "/v1/removals", VIEWER, "", false).await;
        assert_eq!(status, 503);
        assert!(headers.contains_key("retry-after"));
        assert!(body["error"].as_str().unwrap().contains(words), "{body}");
        let (status, _) = standby.ask("GET", "/v1/status", VIEWER, "").await;
        assert_eq!(status, 200, "the status is each replica's own");
    }
}
