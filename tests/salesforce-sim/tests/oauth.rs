//! The token endpoint: what is granted, and the vendor's refusals. Facts section 7.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Rest, small};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use salesforce_sim::{JwtKeyPair, Permissions, Sim, SimConfig, generate_jwt_key_pair};
use serde_json::{Value, json};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

async fn post(sim: &Sim, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
    let url = format!("{}/services/oauth2/{path}", sim.http_url());
    let response = reqwest::Client::new().post(url).form(form).send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

fn sign(pair: &JwtKeyPair, claims: &Value) -> String {
    let key = EncodingKey::from_rsa_pem(pair.private_pem.as_bytes()).unwrap();
    jsonwebtoken::encode(&Header::new(Algorithm::RS256), claims, &key).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "an assertion expires in real time")]
fn now_s() -> i64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

#[tokio::test]
async fn a_signed_assertion_is_exchanged_and_a_wrong_one_refused_with_the_vendors_words() {
    let pair = generate_jwt_key_pair();
    let other = generate_jwt_key_pair();
    let config = SimConfig {
        users: 20,
        jwt_public_key_pem: Some(pair.public_pem.clone()),
        ..SimConfig::default()
    };
    let sim = Sim::start(config).await.unwrap();
    let good = json!({
        "iss": sim.client_id(), "sub": sim.integration_username(), "aud": "https://login.salesforce.com", "exp": now_s() + 180,
    });
    let ask = |assertion: String| {
        let sim = &sim;
        async move { post(sim, "token", &[("grant_type", JWT_BEARER), ("assertion", &assertion)]).await }
    };
    let (status, answer) = ask(sign(&pair, &good)).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["instance_url"], sim.http_url());
    assert!(answer.get("expires_in").is_none() && answer.get("refresh_token").is_none());
    assert!(answer["access_token"].as_str().unwrap().starts_with("00D"));
    assert!(answer["issued_at"].is_string());
    let tenant = answer["id"].as_str().unwrap().rsplit('/').nth(1).unwrap().to_owned();
    assert_eq!(tenant, sim.org_id());
    let rest = Rest {
        token: answer["access_token"].as_str().unwrap().into(),
        ..Rest::new(&sim)
    };
    assert_eq!(rest.get("/limits").await.0, 200);
    let with = |claim: &str, value: Value| {
        let mut claims = good.clone();
        claims[claim] = value;
        sign(&pair, &claims)
    };
    for (assertion, error, words) in [
        (sign(&other, &good), "invalid_grant", "invalid assertion"),
        ("junk".to_owned(), "invalid_grant", "invalid assertion"),
        (
            with("iss", json!("nobody")),
            "invalid_client_id",
            "client identifier invalid",
        ),
        (
            with("aud", json!("https://example.com")),
            "invalid_grant",
            "Audience validation failed",
        ),
        (
            with("exp", json!(now_s() - 10)),
            "invalid_grant",
            "expired authorization code",
        ),
        (
            with("exp", json!(now_s() + 4000)),
            "invalid_grant",
            "expired authorization code",
        ),
        (
            with("sub", json!("nobody@example.com")),
            "invalid_grant",
            "user hasn't approved this consumer",
        ),
    ] {
        let (status, answer) = ask(assertion).await;
        assert_eq!(
            (status, &answer["error"], &answer["error_description"]),
            (400, &json!(error), &json!(words))
        );
    }
    sim.org().set_permissions(Permissions {
        app_approved: false,
        ..Permissions::default()
    });
    assert_eq!(
        ask(sign(&pair, &good)).await.1["error_description"],
        "user hasn't approved this consumer"
    );
    sim.org().set_permissions(Permissions::default());
    sim.org()
        .update_user(&sim.org().integration_user_id(), json!({"IsActive": false}))
        .unwrap();
    assert_eq!(ask(sign(&pair, &good)).await.1["error"], "inactive_user");
    sim.shutdown().await;
}

#[tokio::test]
async fn client_credentials_work_by_body_and_by_basic() {
    let sim = small().await;
    let (id, secret) = (sim.client_id().to_owned(), sim.client_secret().to_owned());
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &id),
        ("client_secret", &secret),
    ];
    let (status, answer) = post(&sim, "token", &form).await;
    assert_eq!(status, 200, "{answer}");
    let url = format!("{}/services/oauth2/token", sim.http_url());
    let basic = reqwest::Client::new()
        .post(url)
        .basic_auth(&id, Some(&secret))
        .form(&[("grant_type", "client_credentials")])
        .send()
        .await
        .unwrap();
    assert_eq!(basic.status(), 200);
    let wrong = [
        ("grant_type", "client_credentials"),
        ("client_id", &id),
        ("client_secret", "guess"),
    ];
    assert_eq!(post(&sim, "token", &wrong).await.1["error"], "invalid_client");
    assert_eq!(
        post(&sim, "token", &[("grant_type", "magic")]).await.1["error"],
        "unsupported_grant_type"
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn tokens_are_refreshed_introspected_and_revoked() {
    let sim = small().await;
    let refresh = sim.issue_refresh_token();
    let (id, secret) = (sim.client_id().to_owned(), sim.client_secret().to_owned());
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", id.as_str()),
        ("refresh_token", refresh.as_str()),
    ];
    let (status, answer) = post(&sim, "token", &form).await;
    assert_eq!(status, 200);
    let token = answer["access_token"].as_str().unwrap().to_owned();
    let inspect = [
        ("token", token.as_str()),
        ("client_id", &id),
        ("client_secret", &secret),
    ];
    let (_, seen) = post(&sim, "introspect", &inspect).await;
    assert_eq!(
        (&seen["active"], &seen["username"]),
        (&json!(true), &json!(sim.integration_username()))
    );
    let url = format!("{}/services/oauth2/userinfo", sim.http_url());
    let info: Value = reqwest::Client::new()
        .get(&url)
        .bearer_auth(&token)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(info["organization_id"], sim.org_id());
    assert_eq!(post(&sim, "revoke", &[("token", &token)]).await.0, 200);
    assert_eq!(post(&sim, "introspect", &inspect).await.1, json!({"active": false}));
    assert_eq!(
        Rest {
            token,
            ..Rest::new(&sim)
        }
        .get("/limits")
        .await
        .0,
        401
    );
    assert_eq!(post(&sim, "revoke", &[("token", &refresh)]).await.0, 200);
    assert_eq!(post(&sim, "token", &form).await.1["error"], "invalid_grant");
    sim.shutdown().await;
}
